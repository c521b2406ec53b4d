// SPDX-License-Identifier: MIT
// Redirects of IPv6, as a router: tells a host of a better first hop. RFC 4861 §8.2. Those of IPv4 are ICMP errors:
// `redirect_for`.
#ifndef RUNNEL_IP_SEND_REDIRECT_HPP
#define RUNNEL_IP_SEND_REDIRECT_HPP

#include <cstddef>  // byte, size_t

#include <runnel/base/bytes.hpp>
#include <runnel/base/time.hpp>
#include <runnel/ip/answer.hpp>
#include <runnel/ip/neighbour_messages.hpp>
#include <runnel/ip/neighbour_table.hpp>
#include <runnel/ip/next_hop.hpp>
#include <runnel/packet/packet.hpp>
#include <runnel/wire/address.hpp>
#include <runnel/wire/build.hpp>
#include <runnel/wire/ethernet.hpp>
#include <runnel/wire/header_map.hpp>
#include <runnel/wire/ipv6.hpp>
#include <runnel/wire/ndp.hpp>
#include <runnel/wire/ndp_options.hpp>

namespace runnel {

/// Tells the sender of an IPv6 packet, behind `route(routes)` and before `forwarding()`, that it could have sent it to
/// the next hop itself: when that is on the link of this table, on which the packet came and its sender is too, and is
/// the destination or has a link-local address. The message quotes the packet, as much as fits into 1280 bytes, and
/// leaves by the table, from this host's link-local address there, to where the frame came from. False when none is to
/// be sent, the limit of `sender` is used up, or for want of memory. The packet is not changed.
[[nodiscard]] inline bool send_redirect(const packet& p, const next_hop_table& hops, neighbour_table& neighbours,
                                        icmp_sender& sender, instant now) noexcept {
  const header_map found{p};
  const auto number = static_cast<next_hop_number>(p.scratch());
  if (!found.has<ipv6>() || !found.has<ethernet>() || detail::place_of(p).to_many || !hops.is_hop(number)) return false;
  const next_hop& hop = hops[number];
  if (hop.type != route_type::unicast || hop.oif != p.iif()) return false;
  const ipv6 about = found.get<ipv6>();
  const ipv6_address host = about.source(), destination = about.destination();
  const ipv6_address target = hop.has_gateway() ? hop.gateway : destination;
  const own_addresses& own = neighbours.link().addresses;
  if (!detail::is_one_host(host) || !own.is_on_link(host) || destination.is_multicast()) return false;
  if (is_mapped(target) || (target != destination && !target.is_link_local())) return false;
  const ipv6_address from = own.source_for(all_nodes_multicast);
  const mac_address to = found.get<ethernet>().source();
  if (!from.is_link_local() || to.is_multicast() || !sender.take(now)) return false;

  const ethernet_header frame{.source = neighbours.link().mac, .destination = to};
  const ipv6_header outer{.source = from, .destination = host, .hop_limit = 255};
  const ndp_redirect_header message{.target = target, .destination = destination};
  const neighbour known = neighbours.find(target, now);
  const bytes held = p.contents().from(p.layers().network - p.headroom());
  packet made = neighbours.memory().allocate();
  const auto write = [&](const auto&... link_address) {
    const std::size_t headers = size_of_headers(frame, outer, message, link_address..., ndp_redirected{});
    std::size_t quote = std::size_t{about.payload_length()} + 40;
    if (quote > held.size()) quote = held.size();
    if (quote > 1280 + frame.size() - headers) quote = 1280 + frame.size() - headers;
    quote -= quote % 8;
    std::byte* const at = made ? made.put(headers + quote) : nullptr;
    if (at == nullptr) return false;
    __builtin_memcpy(at + headers, held.data(), quote);
    return write_headers({at, headers + quote}, frame, outer, message, link_address..., ndp_redirected{});
  };
  const bool written = known.is_valid() ? write(ndp_target_link_address{known.lladdr}) : write();
  if (!written) made.reset();
  return neighbours.send(static_cast<packet&&>(made));
}

}  // namespace runnel

#endif
