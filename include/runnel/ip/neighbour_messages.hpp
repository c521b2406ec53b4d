// SPDX-License-Identifier: MIT
// The messages between neighbours as packets: who has this address, I have it. RFC 826, RFC 5227, RFC 4861.
#ifndef RUNNEL_IP_NEIGHBOUR_MESSAGES_HPP
#define RUNNEL_IP_NEIGHBOUR_MESSAGES_HPP

#include <cstddef>  // byte, size_t

#include <runnel/base/bytes.hpp>
#include <runnel/ip/neighbour.hpp>
#include <runnel/packet/drop_reason.hpp>
#include <runnel/packet/packet.hpp>
#include <runnel/packet/verdict.hpp>
#include <runnel/wire/address.hpp>
#include <runnel/wire/arp.hpp>
#include <runnel/wire/build.hpp>
#include <runnel/wire/ethernet.hpp>
#include <runnel/wire/header_map.hpp>
#include <runnel/wire/icmpv6.hpp>
#include <runnel/wire/ipv6.hpp>
#include <runnel/wire/ndp.hpp>
#include <runnel/wire/ndp_options.hpp>

namespace runnel::detail {

// An empty handle when the pool has no packet, or too small ones. Where the pool has little headroom, as where memory
// is scarce, the message reaches into the bytes behind it.
template <class... Headers>
[[nodiscard]] packet message_of(pool& memory, const Headers&... headers) noexcept {
  packet p = memory.allocate();
  const std::size_t size = size_of_headers(headers...);
  if (p && p.headroom() < size) (void)p.reserve(size - p.headroom());
  if (p && build(p, bytes{}, headers...)) return p;
  return {};
}

// What came as ICMPv6, from its first byte to the end of the datagram.
[[nodiscard]] inline bytes icmpv6_bytes(const header_map& found) noexcept {
  const std::byte* const begin = found.at<header::icmpv6, icmpv6::min_size>();
  const bytes rest = found.get<ipv6>().payload();
  return {begin, static_cast<std::size_t>(rest.data() + rest.size() - begin)};
}
// Why an ICMPv6 message cannot be read: it does not lie in one piece, or is not what was sent.
[[nodiscard]] inline drop_reason icmpv6_fault(const packet& p, const header_map& found) noexcept {
  if (p.is_chained()) return drop_reason::neighbour_malformed;
  const bool right = found.get<icmpv6>().checksum_ok(found.get<ipv6>().pseudo_header_sum());
  return right ? drop_reason::none : drop_reason::icmp_checksum;
}
// What becomes of a message that was read: it is taken, or there was something wrong with it.
[[nodiscard]] inline verdict taken_message(packet& p, drop_reason why) noexcept {
  if (why != drop_reason::none) return drop(why);
  p.reset();
  return stolen;
}
// From where its frame came; zeros without an Ethernet header.
[[nodiscard]] inline mac_address sender_of_frame(const header_map& found) noexcept {
  return found.has<ethernet>() ? found.get<ethernet>().source() : mac_address{};
}

// Asks for the link-layer address of `target`: everybody, or with `who` just the one that has had it.
[[nodiscard]] inline packet solicitation(pool& memory, const mac_address& own, const ipv6_address& source,
                                         const ipv6_address& target, const mac_address* who) noexcept {
  if (is_mapped(target)) {
    return message_of(memory, ethernet_header{.source = own, .destination = who == nullptr ? mac_broadcast : *who},
                      arp_header{.operation = arp_operation::request,
                                 .sender_hardware = own,
                                 .sender_protocol = unmapped(source),
                                 .target_hardware = who == nullptr ? mac_address{} : *who,
                                 .target_protocol = unmapped(target)});
  }
  const ipv6_address to = who == nullptr ? solicited_node_multicast(target) : target;
  return message_of(memory, ethernet_header{.source = own, .destination = who == nullptr ? multicast_mac(to) : *who},
                    ipv6_header{.source = source, .destination = to, .hop_limit = 255},
                    neighbour_solicitation_header{.target = target}, ndp_source_link_address{own});
}
// Asks whether anybody has an address: RFC 5227 §2.1.1, RFC 4862 §5.4.2.
[[nodiscard]] inline packet probe(pool& memory, const mac_address& own, const ipv6_address& target) noexcept {
  if (is_mapped(target))
    return message_of(memory, ethernet_header{.source = own, .destination = mac_broadcast},
                      arp_header{.sender_hardware = own, .target_protocol = unmapped(target)});
  const ipv6_address to = solicited_node_multicast(target);
  return message_of(memory, ethernet_header{.source = own, .destination = multicast_mac(to)},
                    ipv6_header{.destination = to, .hop_limit = 255}, neighbour_solicitation_header{.target = target});
}
// Asks for routers, from an own address or, without one, from nobody (§6.3.7).
[[nodiscard]] inline packet router_question(pool& memory, const mac_address& own, const ipv6_address& source) noexcept {
  const ethernet_header frame{.source = own, .destination = multicast_mac(all_routers_multicast)};
  const ipv6_header outer{.source = source, .destination = all_routers_multicast, .hop_limit = 255};
  if (source.is_unspecified()) return message_of(memory, frame, outer, router_solicitation_header{});
  return message_of(memory, frame, outer, router_solicitation_header{}, ndp_source_link_address{own});
}
// Answers an ARP request from `asker`, which has `whose` address (0.0.0.0: a probe).
[[nodiscard]] inline packet arp_answer(pool& memory, const mac_address& own, ipv4_address target,
                                       const mac_address& asker, ipv4_address whose) noexcept {
  return message_of(memory, ethernet_header{.source = own, .destination = asker},
                    arp_header{.operation = arp_operation::reply,
                               .sender_hardware = own,
                               .sender_protocol = target,
                               .target_hardware = asker,
                               .target_protocol = whose});
}
// Says that this host has an address: RFC 5227 §2.3, an ARP request for oneself.
[[nodiscard]] inline packet arp_announcement(pool& memory, const mac_address& own, ipv4_address a) noexcept {
  return message_of(
      memory, ethernet_header{.source = own, .destination = mac_broadcast},
      arp_header{
          .operation = arp_operation::request, .sender_hardware = own, .sender_protocol = a, .target_protocol = a});
}
// Says the same to `to`, or to all (§7.2.4, §7.2.6), from `source`: the address itself, or another of this host, which
// answers for whom it belongs to (§7.2.8).
[[nodiscard]] inline packet advertisement(pool& memory, const mac_address& own, const ipv6_address& target, bool router,
                                          const ipv6_address& source, const ipv6_address* to,
                                          const mac_address& to_mac) noexcept {
  const bool asked = to != nullptr;
  return message_of(memory,
                    ethernet_header{.source = own, .destination = asked ? to_mac : multicast_mac(all_nodes_multicast)},
                    ipv6_header{.source = source, .destination = asked ? *to : all_nodes_multicast, .hop_limit = 255},
                    neighbour_advertisement_header{
                        .target = target, .router = router, .solicited = asked, .override_cached = source == target},
                    ndp_target_link_address{own});
}

}  // namespace runnel::detail

#endif
