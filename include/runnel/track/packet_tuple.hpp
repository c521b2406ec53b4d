// SPDX-License-Identifier: MIT
// Which tuple a packet has, and what else tracking has to know about it. Nothing here is for users.
#ifndef RUNNEL_TRACK_PACKET_TUPLE_HPP
#define RUNNEL_TRACK_PACKET_TUPLE_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t

#include <runnel/base/bytes.hpp>
#include <runnel/base/endian.hpp>
#include <runnel/config.hpp>
#include <runnel/match/meta.hpp>
#include <runnel/packet/connection_state.hpp>
#include <runnel/packet/packet.hpp>
#include <runnel/track/connection_tuple.hpp>
#include <runnel/wire/dissect.hpp>
#include <runnel/wire/gre.hpp>
#include <runnel/wire/header_map.hpp>
#include <runnel/wire/icmp.hpp>
#include <runnel/wire/icmpv6.hpp>
#include <runnel/wire/ipv4.hpp>
#include <runnel/wire/ipv6.hpp>
#include <runnel/wire/ipv6_extension.hpp>

namespace runnel::detail {

enum class tuple_kind : std::uint8_t {
  none,       // not IP: nothing to track
  whole,      // it has a tuple
  error,      // an ICMP error: its tuple is that of the packet that it is about
  untracked,  // neighbour discovery and the like
  invalid,    // IP without a tuple: a later fragment, an ICMP message that nobody knows
  later,      // a later fragment, whose tuple is that of the first one
};

// What tracking reads in a packet.
struct packet_tuple {
  connection_tuple tuple{};
  const std::byte* transport = nullptr;  // where the transport header begins, whose fixed part is there
  std::uint32_t size = 0;                // of the IP packet, as it says
  std::uint32_t payload = 0;             // bytes from the transport header to its end, as it says
  std::uint32_t held = 0;                // how many of these are there, in one piece
  tuple_kind kind = tuple_kind::none;
  ipv4_address outer4{};  // of an error: whom it was sent to
  ipv6_address outer6{};
};

// ---- ICMP

// Redirects are none of the errors that RFC 1812 names, but are about a packet too.
[[nodiscard]] inline tuple_kind kind_of_icmp(const icmp& m) noexcept {
  if (m.is_error()) return tuple_kind::error;
  return m.message_type() <= 18 ? tuple_kind::whole : tuple_kind::invalid;
}
[[nodiscard]] inline tuple_kind kind_of_icmpv6(std::uint8_t type) noexcept {
  if (type < 128) return tuple_kind::error;
  // Multicast listeners and routers, neighbour discovery: they come and go without a conversation.
  if ((type >= 130 && type <= 136) || type == 143 || (type >= 151 && type <= 152)) return tuple_kind::untracked;
  return tuple_kind::whole;
}
// The last word of the tuple of a transport header, of which `size` bytes are there: false when there are too few.
inline bool ports_of(std::uint8_t protocol, const std::byte* p, std::size_t size, std::uint32_t& ports) noexcept {
  ports = 0;
  switch (protocol) {
    case 6:
    case 17:
      if (size < 4) return false;
      ports = load_be32(p);
      return true;
    case 1:
    case 58:
      if (size < 8) return false;
      ports = std::uint32_t{load_be16(p + 4)} << 16 | load_be16(p);
      return true;
    case 47:
      // Of a quoted header perhaps only the first eight bytes are there.
      if (size >= gre::min_size && (load_be16(p) & 0x4c07u) == 0) ports = gre::unchecked({p, size}).key();
      return true;
    default: return true;
  }
}
// The tuple of a packet of which only the beginning is there, as an error quotes it. False when it has none.
inline bool quoted_tuple(bytes b, std::uint16_t zone, connection_tuple& to) noexcept {
  std::uint32_t ports = 0;
  if (b.size() < 20) return false;
  const std::byte* const p = b.data();
  if (load_u8(p) >> 4 == 4) {
    const std::size_t header = (load_u8(p) & 15u) * std::size_t{4};
    if (header < 20 || header > b.size() || (load_be16(p + 6) & 0x1fffu) != 0) return false;
    const std::uint8_t protocol = load_u8(p + 9);
    if (!ports_of(protocol, p + header, b.size() - header, ports)) return false;
    to = {ipv4_address::load(p + 12),
          ipv4_address::load(p + 16),
          static_cast<std::uint16_t>(ports >> 16),
          static_cast<std::uint16_t>(ports),
          protocol,
          zone};
    return true;
  }
  if (load_u8(p) >> 4 != 6 || b.size() < 40) return false;
  std::uint8_t protocol = load_u8(p + 6);
  std::size_t at = 40;
  while (protocol == 0 || protocol == 43 || protocol == 44 || protocol == 51 || protocol == 60) {
    if (at + 8 > b.size()) return false;
    if (protocol == 44 && (load_be16(p + at + 2) & 0xfff8u) != 0) return false;
    const std::size_t said = load_u8(p + at + 1);
    const std::size_t size = protocol == 44 ? 8 : protocol == 51 ? (said + 2) * 4 : (said + 1) * 8;
    protocol = load_u8(p + at);
    at += size;
  }
  if (at > b.size() || !ports_of(protocol, p + at, b.size() - at, ports)) return false;
  to = {ipv6_address::load(p + 8),
        ipv6_address::load(p + 24),
        static_cast<std::uint16_t>(ports >> 16),
        static_cast<std::uint16_t>(ports),
        protocol,
        zone};
  return true;
}

// ---- whole packets

[[gnu::noinline]] inline void read_carefully(const packet& p, std::uint16_t zone, packet_tuple& to) noexcept {
  const header_map map{p};
  const layers& found = map.layers();
  to.kind = tuple_kind::none;
  const bool is_ipv4 = map.has<ipv4>();
  if (!is_ipv4 && !map.has<ipv6>()) return;
  to.kind = tuple_kind::invalid;
  const std::byte* const network = p.head() + found.network;
  to.size = is_ipv4 ? load_be16(network + 2) : load_be16(network + 4) + 40u;
  if (!found.has(protocol::transport)) return;
  const std::byte* const transport = p.head() + found.transport;
  const bytes whole = p.contents();
  const auto before = static_cast<std::uint32_t>(transport - network);
  if (transport > whole.end() || before > to.size) return;
  to.transport = transport;
  to.payload = to.size - before;
  auto held = static_cast<std::size_t>(whole.end() - transport);
  if (held > to.payload) held = to.payload;
  to.held = static_cast<std::uint32_t>(held);
  std::uint64_t number = 0;
  if (!match::detail::l4proto_of(subject{p, map}, number)) return;
  const auto protocol_number = static_cast<std::uint8_t>(number);
  if (!is_ipv4 && protocol_number == 59) return;  // no next header: nothing there to track

  if (found.has(protocol::icmp)) {
    if (held < icmp::min_size) return;
    const icmp m = icmp::unchecked({transport, held});
    to.kind = is_ipv4 ? kind_of_icmp(m) : tuple_kind::invalid;
    if (to.kind == tuple_kind::error) {
      to.outer4 = map.get<ipv4>().destination();
      if (!quoted_tuple(m.payload(), zone, to.tuple) || to.tuple.is_ipv6()) to.kind = tuple_kind::invalid;
    }
  } else if (found.has(protocol::icmpv6)) {
    if (held < 8) return;
    to.kind = is_ipv4 ? tuple_kind::invalid : kind_of_icmpv6(load_u8(transport));
    if (to.kind == tuple_kind::error) {
      to.outer6 = map.get<ipv6>().destination();
      if (!quoted_tuple(bytes{transport, held}.from(8), zone, to.tuple) || !to.tuple.is_ipv6())
        to.kind = tuple_kind::invalid;
    }
  } else {
    to.kind = tuple_kind::whole;
  }
  if (to.kind != tuple_kind::whole) return;
  std::uint32_t ports = 0;
  if (!ports_of(protocol_number, transport, held, ports) || (protocol_number == 6 && held < 20)) {
    to.kind = tuple_kind::invalid;
    return;
  }
  const auto upper = static_cast<std::uint16_t>(ports >> 16), lower = static_cast<std::uint16_t>(ports);
  if (is_ipv4) {
    const ipv4 ip = map.get<ipv4>();
    to.tuple = {ip.source(), ip.destination(), upper, lower, protocol_number, zone};
  } else {
    const ipv6 ip = map.get<ipv6>();
    to.tuple = {ip.source(), ip.destination(), upper, lower, protocol_number, zone};
  }
}

// What tracking has to know of a packet, when that is IPv4 with TCP or UDP; else false, and nothing is said. The words
// of the tuple are given for themselves too, for who would else have to read again what was just written.
[[nodiscard]] RUNNEL_INLINE bool read_tuple4(const packet& p, std::uint16_t zone, packet_tuple& to,
                                             std::uint64_t& addresses, std::uint64_t& rest) noexcept {
  const layers found = p.layers();
  constexpr unsigned wanted = static_cast<unsigned>(protocol::parsed) | static_cast<unsigned>(protocol::ipv4) |
                              static_cast<unsigned>(protocol::transport);
  constexpr unsigned either = static_cast<unsigned>(protocol::tcp) | static_cast<unsigned>(protocol::udp);
  const std::byte* const network = p.head() + found.network;
  const std::byte* const transport = p.head() + found.transport;
  const std::byte* const end = p.data() + p.length();
  if ((found.protocols & wanted) != wanted || (found.protocols & either) == 0 || network + 20 > end ||
      transport + (found.has(protocol::tcp) ? 20 : 8) > end) [[unlikely]]
    return false;
  to.size = load_be16(network + 2);
  to.payload = to.size - static_cast<std::uint32_t>(transport - network);
  to.held = static_cast<std::uint32_t>(end - transport);
  to.transport = transport;
  to.kind = tuple_kind::whole;
  addresses = load_be64(network + 12);
  rest = tuple_rest(load_be32(transport), found.has(protocol::tcp) ? 6 : 17, zone);
  to.tuple.become4(addresses, rest);
  return true;
}
// The same of any packet.
inline void read_tuple(const packet& p, std::uint16_t zone, packet_tuple& to) noexcept {
  std::uint64_t addresses = 0, rest = 0;
  if (!read_tuple4(p, zone, to, addresses, rest)) read_carefully(p, zone, to);
}

// What tracking has to know of a later fragment that `virtual_defragment` has marked.
[[gnu::noinline]] inline void read_later_fragment(const packet& p, std::uint16_t zone, packet_tuple& to) noexcept {
  const header_map map{p};
  const std::uint32_t word = p.connection(), ports = p.scratch();
  const auto upper = static_cast<std::uint16_t>(ports >> 16), lower = static_cast<std::uint16_t>(ports);
  const auto protocol_or = [word](std::uint8_t said, std::uint8_t icmp) {
    if (word == later_fragment::of_other) return said;
    return word == later_fragment::of_tcp ? std::uint8_t{6} : word == later_fragment::of_udp ? std::uint8_t{17} : icmp;
  };
  to.kind = tuple_kind::invalid;
  if (map.has<ipv4>()) {
    const ipv4 ip = map.get<ipv4>();
    to.tuple = {ip.source(), ip.destination(), upper, lower, protocol_or(ip.protocol_number(), 1), zone};
    to.size = static_cast<std::uint32_t>(ip.total_length());
    to.payload = to.size - static_cast<std::uint32_t>(ip.header_size());
  } else if (map.has<ipv6_fragment>()) {
    const ipv6 ip = map.get<ipv6>();
    const ipv6_fragment fragment = map.get<ipv6_fragment>();
    to.tuple = {ip.source(), ip.destination(), upper, lower, protocol_or(fragment.next_header(), 58), zone};
    to.size = static_cast<std::uint32_t>(ip.payload_length() + ipv6::min_size);
    const auto* const behind = map.at<header::ipv6_fragment, 8>() + ipv6_fragment::min_size;
    to.payload = to.size - static_cast<std::uint32_t>(behind - (p.head() + p.layers().network));
  } else {
    return;
  }
  if (to.payload <= to.size) to.kind = tuple_kind::later;
}

}  // namespace runnel::detail

#endif
