// SPDX-License-Identifier: MIT
// Reads a field out of a packet: finds its header, checks that all of it is there, and takes the bits.
#ifndef RUNNEL_MATCH_LOAD_HPP
#define RUNNEL_MATCH_LOAD_HPP

#include <cstddef>      // byte, size_t
#include <cstdint>      // uint64_t
#include <type_traits>  // is_same_v

#include <runnel/base/endian.hpp>
#include <runnel/config.hpp>
#include <runnel/match/locate.hpp>
#include <runnel/match/subject.hpp>
#include <runnel/match/value.hpp>
#include <runnel/wire/address.hpp>
#include <runnel/wire/field.hpp>
#include <runnel/wire/header_map.hpp>

namespace runnel::match {

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

template <header Header, unsigned Offset, unsigned Bits, class Value>
[[nodiscard]] RUNNEL_INLINE constexpr bool load_field(const header_map& m, const field<Header, Offset, Bits, Value>&,
                                                      key_t<Value>& to) noexcept {
  constexpr std::size_t needed = (Offset + Bits + 7) / 8;
  constexpr std::size_t fixed = fixed_size(Header);
  const std::byte* p = locate<Header, (needed > fixed ? needed : fixed)>(m);
  if (p == nullptr) return false;
  to = take_bits<Offset, Bits, key_t<Value>>(p);
  return true;
}

}  // namespace detail

/// The value of an operand in a packet. False, and `to` as it was, when the packet has none.
template <header Header, unsigned Offset, unsigned Bits, class Value>
[[nodiscard]] RUNNEL_INLINE constexpr bool load(const subject& s, const field<Header, Offset, Bits, Value>& f,
                                                key_t<Value>& to) noexcept {
  return detail::load_field(s.headers, f, to);
}
/// Of a field inside a tunnel. The packet inside is dissected anew each time.
template <tunnel Around, class Field>
[[nodiscard]] constexpr bool load(const subject& s, const inner_field<Around, Field>& f,
                                  key_t<typename Field::value_type>& to) noexcept {
  return detail::load_field(detail::inside_of<Around>(s.headers), f.inside, to);
}
/// Loads a value in the form in which it is compared. False when the packet has no such value.
template <match_operand Operand>
  requires requires(const Operand& o, const subject& s, key_t<typename Operand::value_type>& to) { o.load(s, to); }
[[nodiscard]] RUNNEL_INLINE constexpr bool load(const subject& s, const Operand& o,
                                                key_t<typename Operand::value_type>& to) noexcept {
  return o.load(s, to);
}

}  // namespace runnel::match

#endif
