// SPDX-License-Identifier: MIT
// Reads a field out of a packet: finds its header, checks that all of it is there, and takes the bits.
#ifndef RUNNEL_MATCH_LOAD_HPP
#define RUNNEL_MATCH_LOAD_HPP

#include <cstddef>      // byte, size_t
#include <cstdint>      // uint64_t
#include <type_traits>  // is_same_v

#include <runnel/base/endian.hpp>
#include <runnel/config.hpp>
#include <runnel/match/subject.hpp>
#include <runnel/match/value.hpp>
#include <runnel/wire/address.hpp>
#include <runnel/wire/field.hpp>

namespace runnel::match {

/// Bytes of a header that every packet with it has: a header that is cut off before is no header.
[[nodiscard]] constexpr std::size_t fixed_size(header h) noexcept {
  switch (h) {
    case header::ethernet: return 14;
    case header::vlan: return 4;
    case header::cvlan: return 4;
    case header::mpls: return 4;
    case header::arp: return 28;
    case header::ipv4: return 20;
    case header::ipv6: return 40;
    case header::ipv6_fragment: return 8;
    case header::icmp: return 8;
    case header::icmpv6: return 8;
    case header::tcp: return 20;
    case header::udp: return 8;
    case header::th: return 8;
    case header::gre: return 4;
    case header::vxlan: return 8;
  }
  return 0;
}

namespace detail {

// `N` bytes, first one most significant.
template <std::size_t N>
[[nodiscard]] RUNNEL_INLINE constexpr std::uint64_t load_be(const std::byte* p) noexcept {
  static_assert(N >= 1 && N <= 8);
  if constexpr (N == 1) return load_u8(p);
  else if constexpr (N == 2) return load_be16(p);
  else if constexpr (N == 3) return load_be24(p);
  else if constexpr (N == 4) return load_be32(p);
  else if constexpr (N == 8) return load_be64(p);
  else return load_be<4>(p) << (8 * (N - 4)) | load_be<N - 4>(p + 4);
}
template <unsigned Offset, unsigned Bits, class Key>
[[nodiscard]] RUNNEL_INLINE constexpr Key take_bits(const std::byte* header) noexcept {
  const std::byte* p = header + Offset / 8;
  if constexpr (std::is_same_v<Key, ipv6_address>) {
    static_assert(Offset % 8 == 0 && Bits == 128);
    return ipv6_address::load(p);
  } else {
    constexpr unsigned first = Offset % 8;
    constexpr unsigned size = (first + Bits + 7) / 8;
    return load_be<size>(p) >> (size * 8 - first - Bits) & ~std::uint64_t{0} >> (64 - Bits);
  }
}

}  // namespace detail

/// The value of an operand in a packet. False, and `to` as it was, when the packet has none.
template <header Header, unsigned Offset, unsigned Bits, class Value>
[[nodiscard]] RUNNEL_INLINE constexpr bool load(const subject& s, const field<Header, Offset, Bits, Value>&,
                                                key_t<Value>& to) noexcept {
  constexpr std::size_t needed = (Offset + Bits + 7) / 8;
  constexpr std::size_t fixed = fixed_size(Header);
  const std::byte* p = s.headers.template at<Header, (needed > fixed ? needed : fixed)>();
  if (p == nullptr) return false;
  to = detail::take_bits<Offset, Bits, key_t<Value>>(p);
  return true;
}
template <match_operand Operand>
  requires requires(const Operand& o, const subject& s, key_t<typename Operand::value_type>& to) { o.load(s, to); }
[[nodiscard]] RUNNEL_INLINE constexpr bool load(const subject& s, const Operand& o,
                                                key_t<typename Operand::value_type>& to) noexcept {
  return o.load(s, to);
}

}  // namespace runnel::match

#endif
