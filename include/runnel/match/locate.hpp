// SPDX-License-Identifier: MIT
// Finds the header that a field belongs to, all of it that is needed: also options, extension headers, and what is
// inside a tunnel.
#ifndef RUNNEL_MATCH_LOCATE_HPP
#define RUNNEL_MATCH_LOCATE_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t

#include <runnel/base/bytes.hpp>
#include <runnel/base/endian.hpp>
#include <runnel/config.hpp>
#include <runnel/packet/layers.hpp>
#include <runnel/wire/ethernet.hpp>
#include <runnel/wire/field.hpp>
#include <runnel/wire/gre.hpp>
#include <runnel/wire/header_map.hpp>
#include <runnel/wire/icmp.hpp>
#include <runnel/wire/icmpv6.hpp>
#include <runnel/wire/ipv4.hpp>
#include <runnel/wire/ipv6.hpp>
#include <runnel/wire/ipv6_extension.hpp>
#include <runnel/wire/ndp_options.hpp>
#include <runnel/wire/tcp.hpp>
#include <runnel/wire/tcp_options.hpp>
#include <runnel/wire/tunnel.hpp>
#include <runnel/wire/vxlan.hpp>

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
    case header::llc: return 3;
    case header::snap: return 8;
    case header::icmp_echo: return 8;
    case header::icmpv6_echo: return 8;
    case header::icmpv6_target: return 24;
  }
  switch (family_of(h)) {
    case header_family::single: break;
    case header_family::ipv4_option:
    case header_family::tcp_option: return 1;
    case header_family::ipv6_extension:
    case header_family::icmp_message:
    case header_family::icmpv6_message:
    case header_family::nd_option: return 8;
    case header_family::gre_word: return 4;
  }
  return 0;
}

namespace detail {

// Each of these returns null when there is no such thing, or fewer than `need` bytes of it. IPv4's and TCP's walkers
// are alike.
template <class Options>
[[nodiscard]] constexpr const std::byte* find_option(Options o, std::uint8_t number, std::size_t need) noexcept {
  for (; o; o.next())
    if (static_cast<std::uint8_t>(o.kind()) == number) return o.whole().size() >= need ? o.whole().data() : nullptr;
  return nullptr;
}
[[nodiscard]] constexpr const std::byte* find_extension(const ipv6& datagram, std::uint8_t number,
                                                        std::size_t need) noexcept {
  ipv6_extensions e(datagram);
  for (; e; e.next())
    if (e.kind() == number) return e.data().size() >= need ? e.data().data() : nullptr;
  // Whoever does not know the mobility header takes it for a transport. It says its size as the others do.
  constexpr std::uint8_t mobility = 135;
  if (number != mobility || e.protocol() != mobility || !e.has_upper_layer() || e.rest().size() < 8) return nullptr;
  const std::size_t size = (load_u8(e.rest().data() + 1) + std::size_t{1}) * 8;
  return size >= need && size <= e.rest().size() ? e.rest().data() : nullptr;
}
// A message of ICMP or ICMPv6 of a type from `first` to `last`.
[[nodiscard]] constexpr const std::byte* find_message(bytes message, std::uint8_t first, std::uint8_t last,
                                                      std::size_t need) noexcept {
  if (message.size() < need || message.empty()) return nullptr;
  const std::uint8_t type = load_u8(message.data());
  return first <= type && type <= last ? message.data() : nullptr;
}
// Of the types from echo request to reply ICMP has others in between.
[[nodiscard]] constexpr const std::byte* find_echo(bytes message, std::size_t need) noexcept {
  const std::byte* p = find_message(message, 0, 8, need);
  return p == nullptr || (load_u8(p) != 0 && load_u8(p) != 8) ? nullptr : p;
}
// All from the listener query to the redirect but two have it at the same place.
[[nodiscard]] constexpr const std::byte* find_target(bytes message, std::size_t need) noexcept {
  const std::byte* p = find_message(message, 130, 137, need);
  return p == nullptr || load_u8(p) == 133 || load_u8(p) == 134 ? nullptr : p;
}
[[nodiscard]] constexpr const std::byte* find_nd_option(bytes message, std::uint8_t number, std::size_t need) noexcept {
  if (find_message(message, 133, 137, 8) == nullptr) return nullptr;
  constexpr std::uint8_t before[] = {8, 16, 24, 24, 40};  // the options, from type 133 on
  for (ndp_options o(message.from(before[load_u8(message.data()) - 133])); o; o.next())
    if (static_cast<std::uint8_t>(o.kind()) == number) return o.data().size() >= need ? o.data().data() : nullptr;
  return nullptr;
}
// Words follow in the order of their bits: checksum, key, sequence number.
[[nodiscard]] constexpr const std::byte* find_gre_word(bytes header, std::uint8_t bit) noexcept {
  if (header.empty()) return nullptr;
  const unsigned flags = load_u8(header.data());
  std::size_t at = 4;
  for (unsigned earlier = 0x80; earlier > bit; earlier >>= 1)
    if ((flags & earlier) != 0) at += 4;
  return (flags & bit) != 0 && at + 4 <= header.size() ? header.data() + at : nullptr;
}

// A header and what it carries; empty without one.
template <header_view V>
[[nodiscard]] RUNNEL_INLINE constexpr bytes whole(const header_map& m) noexcept {
  if (!m.has<V>()) return {};
  const V v = m.get<V>();
  return {m.at<V::in_header, V::min_size>(), v.header_size() + v.payload().size()};
}
// Whether the packet goes on behind the bytes that are there.
[[nodiscard]] constexpr bool is_cut(const header_map& m) noexcept {
  if (m.layers().has(protocol::fragment)) return true;
  if (m.has<ipv4>()) {
    const ipv4 v = m.get<ipv4>();
    return v.total_length() > v.header_size() + v.payload().size();
  }
  return m.has<ipv6>() && m.get<ipv6>().payload_length() > m.get<ipv6>().payload().size();
}
// The headers inside a tunnel of one kind. A call, so that it stands once for all fields that are asked for.
template <tunnel Around>
[[nodiscard, gnu::noinline]] constexpr header_map inside_of(header_map outer) noexcept {
  if constexpr (Around == tunnel::vxlan) {
    if (outer.has<vxlan>()) return inside(outer.get<vxlan>(), is_cut(outer));
  } else if constexpr (Around == tunnel::ipip) {
    if (outer.has<ipv4>()) return inside(outer.get<ipv4>());
    if (outer.has<ipv6>()) return inside(outer.get<ipv6>());
  } else if (outer.has<gre>()) {
    const gre v = outer.get<gre>();
    if ((v.protocol_type() == ethertype::bridging) == (Around == tunnel::gretap)) return inside(v, is_cut(outer));
  }
  return runnel::detail::no_packet();
}

}  // namespace detail

/// Where header `H` begins, or null when the packet has none, or fewer than `Need` bytes of it. `Need` is at least
/// `fixed_size(H)`.
template <header H, std::size_t Need>
[[nodiscard]] RUNNEL_INLINE constexpr const std::byte* locate(const header_map& m) noexcept {
  static_assert(Need >= fixed_size(H));
  constexpr header_family family = family_of(H);
  constexpr std::uint8_t number = number_of(H);
  if constexpr (family == header_family::ipv4_option) {
    return m.has<ipv4>() ? detail::find_option(ipv4_options(m.get<ipv4>().options()), number, Need) : nullptr;
  } else if constexpr (family == header_family::tcp_option) {
    return m.has<tcp>() ? detail::find_option(tcp_options(m.get<tcp>().options()), number, Need) : nullptr;
  } else if constexpr (family == header_family::ipv6_extension) {
    return m.has<ipv6>() ? detail::find_extension(m.get<ipv6>(), number, Need) : nullptr;
  } else if constexpr (family == header_family::icmp_message) {
    return detail::find_message(detail::whole<icmp>(m), number, number, Need);
  } else if constexpr (family == header_family::icmpv6_message) {
    return detail::find_message(detail::whole<icmpv6>(m), number, number, Need);
  } else if constexpr (family == header_family::nd_option) {
    return detail::find_nd_option(detail::whole<icmpv6>(m), number, Need);
  } else if constexpr (family == header_family::gre_word) {
    return detail::find_gre_word(detail::whole<gre>(m), number);
  } else if constexpr (H == header::icmp_echo) {
    return detail::find_echo(detail::whole<icmp>(m), Need);
  } else if constexpr (H == header::icmpv6_echo) {
    return detail::find_message(detail::whole<icmpv6>(m), 128, 129, Need);
  } else if constexpr (H == header::icmpv6_target) {
    return detail::find_target(detail::whole<icmpv6>(m), Need);
  } else {
    return m.at<H, Need>();
  }
}

}  // namespace runnel::match

#endif
