// SPDX-License-Identifier: MIT
// What everything has in common that turns a packet into an answer to its sender: who may be answered, the link header
// turned round, and what is known of the packet afterwards. RFC 1122 §3.2.2, RFC 1812 §4.3.2, RFC 4443 §2.4.
#ifndef RUNNEL_IP_ANSWER_HPP
#define RUNNEL_IP_ANSWER_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t

#include <runnel/base/bytes.hpp>
#include <runnel/base/endian.hpp>
#include <runnel/base/time.hpp>
#include <runnel/base/token_bucket.hpp>
#include <runnel/ip/fib.hpp>
#include <runnel/ip/interfaces.hpp>
#include <runnel/packet/layers.hpp>
#include <runnel/packet/packet.hpp>
#include <runnel/wire/address.hpp>
#include <runnel/wire/ethernet.hpp>
#include <runnel/wire/header_map.hpp>

namespace runnel {

/// Who answers, and how often: the addresses of this host, and a limit for ICMP errors and TCP resets together (RFC
/// 1812 §4.3.2.8, RFC 4443 §2.4 (f)). Lives outside pipelines, which refer to it; for one thread.
class icmp_sender {
 public:
  /// Answers come from these interfaces, with this TTL or hop limit; at first as many as Linux sends: 1000 a second, 50
  /// at once (icmp_msgs_per_sec, icmp_msgs_burst).
  constexpr explicit icmp_sender(ip_interfaces interfaces, token_bucket limit = token_bucket{1000, 50},
                                 std::uint8_t ttl = 64) noexcept
      : interfaces_(interfaces), limit_(limit), ttl_(ttl) {}

  /// The interfaces.
  [[nodiscard]] constexpr const ip_interfaces& interfaces() const noexcept { return interfaces_; }
  /// TTL or hop limit of answers.
  [[nodiscard]] constexpr std::uint8_t ttl() const noexcept { return ttl_; }
  /// Takes one from the limit; false when it is used up for now.
  [[nodiscard]] constexpr bool take(instant now) noexcept { return limit_.take(now); }

 private:
  ip_interfaces interfaces_;
  token_bucket limit_;
  std::uint8_t ttl_;
};

namespace detail {

// Whether a source address stands for one host that can be answered (RFC 1812 §4.3.2.7, RFC 4443 §2.4 (e.6)).
[[nodiscard]] constexpr bool is_one_host(ipv4_address a) noexcept {
  const std::uint32_t first = a.value() >> 24;
  return first != 0 && first != 127 && first < 224;
}
// IPv4-mapped ones are for programs, not for packets: an IPv6 packet must not reach what is known of IPv4.
[[nodiscard]] constexpr bool is_one_host(const ipv6_address& a) noexcept {
  return !a.is_unspecified() && !a.is_loopback() && !a.is_multicast() && !is_mapped(a);
}

// Options by which the sender chooses the way (RFC 791 §3.1): the type octets.
inline constexpr std::uint8_t loose_source_route = 131, strict_source_route = 137;

// Where the parts of a packet lie that was dissected: `link` bytes of link header at its very beginning, then the
// network header.
struct answer_place {
  std::size_t link = 0;
  bool good = false;     // the packet begins with its link header, and that can be turned round
  bool to_many = false;  // the link header says: to all, or to a group
};
[[nodiscard]] inline answer_place place_of(const packet& p, const layers& l) noexcept {
  answer_place a;
  // Labels are not turned round: the way back has others, or none.
  if (!l.has(protocol::parsed) || l.has(protocol::mpls)) return a;
  if (l.network != p.headroom() + l.link || l.link > p.length()) return a;
  a.link = l.link;
  a.good = true;
  const std::byte* const at = p.data();
  if (l.link_kind() == link_type::ethernet) [[likely]] {
    a.to_many = (load_u8(at) & 1u) != 0;
    a.good = l.link >= 14 && (load_u8(at + 6) & 1u) == 0;
    return a;
  }
  switch (l.link_kind()) {
    // "Broadcast" and "multicast", as a cooked capture says it.
    case link_type::linux_sll: a.to_many = l.link >= 16 && (load_be16(at) == 1 || load_be16(at) == 2); break;
    case link_type::linux_sll2: a.to_many = l.link >= 20 && (load_u8(at + 10) == 1 || load_u8(at + 10) == 2); break;
    default: break;
  }
  return a;
}
[[nodiscard]] inline answer_place place_of(const packet& p) noexcept { return place_of(p, p.layers()); }

// Sends the frame back to where it came from: the addresses change places, tags stay. An 802.3 frame says how long its
// payload is, which is `payload` bytes of datagram now.
inline void turn_link_round(mutable_bytes frame, std::size_t link, link_type kind, std::size_t payload) noexcept {
  if (kind != link_type::ethernet) return;
  std::byte* const p = frame.data();
  basic_ethernet<std::byte>::unchecked(frame).swap_addresses();
  std::size_t type_at = 12;
  while (ethertype::is_vlan(load_be16(p + type_at)) && type_at + 6 <= link) type_at += 4;
  if (load_be16(p + type_at) < ethertype::first)
    store_be16(p + type_at, static_cast<std::uint16_t>(link - type_at - 2 + payload));
}

// What is known of a packet that has become one of this host's own: its headers, and nothing of what it was.
inline void know_answer(packet& p, std::size_t link, protocol family, std::size_t header, protocol transport) noexcept {
  constexpr auto bit = [](protocol b) { return static_cast<unsigned>(b); };
  layers l = p.layers();
  l.protocols = static_cast<std::uint16_t>((l.protocols & (7u | bit(protocol::vlan))) | bit(protocol::parsed) |
                                           bit(protocol::transport) | bit(family) | bit(transport));
  l.network = static_cast<std::uint16_t>(p.headroom() + link);
  l.transport = static_cast<std::uint16_t>(l.network + header);
  l.link = static_cast<std::uint8_t>(link);
  p.layers(l);
  p.connection(0);
  p.scratch(no_next_hop);
  p.flow_hash(0);
  p.mark(0);
  p.segment_size(0);
  p.checksum(checksum_status::unknown);
}

}  // namespace detail

}  // namespace runnel

#endif
