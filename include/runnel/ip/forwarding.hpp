// SPDX-License-Identifier: MIT
// Forwarding: what a router does with a packet between the routing decision and the next hop. RFC 1812 §5.2 and §5.3,
// RFC 8200 §3 and §4, RFC 3704, RFC 5095.
//
//     route(routes)
//         .on<forward>(forwarding(routes, {.interfaces = interfaces, .reverse_path = reverse_path_filter::strict})
//                          .on<forwarded>(resolve(neighbours) | transmit(wan))
//                          .on<oversized>(discard)                            // or what cuts it into fragments
//                          .on<refused>  (reject(errors) | shared(answers)))  // time exceeded, too big, ...
//
// In this order: sent to many on the link, header checksum, addresses that are never forwarded, reverse path, options;
// then TTL, and the MTU of the next hop. A packet that does not go on is unchanged.
//
// What it does not do: options that routers write to. Record route, timestamp and router alert pass as they are, as
// through the fast paths of routers; source routes are refused (RFC 7126). Multicast is not forwarded.
#ifndef RUNNEL_IP_FORWARDING_HPP
#define RUNNEL_IP_FORWARDING_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t

#include <runnel/config.hpp>
#include <runnel/flow/branch.hpp>
#include <runnel/flow/context.hpp>
#include <runnel/flow/ports.hpp>
#include <runnel/flow/stage.hpp>
#include <runnel/hook/ways.hpp>
#include <runnel/ip/answer.hpp>
#include <runnel/ip/interfaces.hpp>
#include <runnel/ip/next_hop.hpp>
#include <runnel/ip/reject.hpp>
#include <runnel/ip/route.hpp>
#include <runnel/packet/packet.hpp>
#include <runnel/wire/header_map.hpp>
#include <runnel/wire/icmp.hpp>
#include <runnel/wire/icmpv6.hpp>
#include <runnel/wire/ipv4.hpp>
#include <runnel/wire/ipv6.hpp>
#include <runnel/wire/ipv6_extension.hpp>
#include <runnel/wire/tcp.hpp>

namespace runnel {

/// The way of packets that go on, their TTL or hop limit one less.
struct forwarded {
  static constexpr const char* name = "forwarded";  ///< in drawings
};
/// The same for IPv4 packets that are longer than the next hop takes, and may be fragmented.
struct oversized {
  static constexpr const char* name = "oversized";  ///< in drawings
};
/// How the source of a packet is checked against the routes: Linux's rp_filter.
enum class reverse_path_filter : std::uint8_t {
  off,     ///< not at all
  loose,   ///< it can be reached somehow (RFC 3704 §2.4)
  strict,  ///< it is reached by the interface that the packet came by (RFC 3704 §2.2)
};

/// How a `forwarding()` stage forwards.
struct forwarding_options {
  ip_interfaces interfaces{};  ///< for MTUs (one that is not there has 1500 bytes), own addresses and broadcasts
  reverse_path_filter reverse_path = reverse_path_filter::off;  ///< how sources are checked
  bool directed_broadcast = false;  ///< whether packets to all hosts of an interface's subnet go on (RFC 2644: no)
};

namespace detail {

// Destinations that no router passes on, and sources that nobody on another link has: "this" network, loopback,
// multicast, class E and limited broadcast (RFC 1812 §4.2.2.11, §5.3.7), link-local (RFC 3927 §7).
[[nodiscard]] constexpr bool is_martian(ipv4_address a) noexcept {
  return !is_one_host(a) || a.value() >> 16 == 0xa9fe;
}
// The same for IPv6, without link-local addresses (RFC 4291 §2.5).
[[nodiscard]] constexpr bool is_martian(const ipv6_address& a) noexcept { return !is_one_host(a); }

// How long what goes on the wire is, from the IP header on: of a packet that will be cut into segments, one of them.
[[nodiscard, gnu::noinline]] inline std::size_t length_of_segment(const packet& p, std::size_t datagram) noexcept {
  const header_map found{p};
  const layers& l = p.layers();
  const std::size_t before = std::size_t{l.transport} - l.network;
  const std::size_t header = found.has<tcp>() ? found.get<tcp>().header_size() : 8u;
  const std::size_t segment = before + header + p.segment_size();
  return segment < datagram ? segment : datagram;
}
[[nodiscard]] RUNNEL_INLINE std::size_t length_on_wire(const packet& p, std::size_t datagram) noexcept {
  return p.segment_size() == 0 ? datagram : length_of_segment(p, datagram);
}

template <class R>
struct forwarding_decision {
  using ways = ports<forwarded, oversized, refused>;
  static constexpr const char* name = "forwarding";
  static constexpr bool needs_parsed = true;
  static constexpr bool resizes = false;
  static constexpr bool moves = true;
  const R* routes;
  forwarding_options options;

  RUNNEL_INLINE ways decide(packet& p, context& c, const layers* known) const noexcept {
    const header_map found = packet_source{p, c, known}.map();
    if (place_of(p, found.layers()).to_many) return drop(drop_reason::link_broadcast);
    const next_hop* const hop = next_hop_of(p);
    if (found.has<ipv4>()) [[likely]] {
      if (hop == nullptr) return refuse(p, icmp::unreachable::network);
      return forward4(p, found.get<ipv4>(), *hop);
    }
    if (found.has<ipv6>()) {
      if (hop == nullptr) return refuse(p, icmpv6::unreachable::no_route);
      return forward6(p, found.get<ipv6>(), *hop);
    }
    return drop(drop_reason::not_ip);
  }

 private:
  // Where it goes on to, by the number in its `scratch`; null when that is nobody who takes packets.
  [[nodiscard]] RUNNEL_INLINE const next_hop* next_hop_of(const packet& p) const noexcept {
    const auto number = static_cast<next_hop_number>(p.scratch());
    const next_hop_table& hops = current_routes(*routes).hops();
    return hops.is_hop(number) && hops[number].type == route_type::unicast ? &hops[number] : nullptr;
  }
  template <class Kind>
  [[nodiscard]] static ways refuse(packet& p, Kind k, std::size_t value = 0) noexcept {
    p.scratch(refusal::packed(k.type, k.code, static_cast<std::uint32_t>(value)));
    return refused{};
  }
  [[nodiscard]] std::size_t mtu_of(const next_hop& hop) const noexcept {
    return hop.mtu != 0 ? hop.mtu : options.interfaces[hop.oif].mtu;
  }

  // The header that was read, where it is now: `unshare` may have moved it.
  template <class View>
  [[nodiscard]] static mut<View> header_to_write(packet& p) noexcept {
    const std::size_t network = std::size_t{p.layers().network} - p.headroom();
    return mut<View>::unchecked({p.writable().data() + network, View::min_size});
  }
  [[nodiscard]] ways forward4(packet& p, ipv4 ip, const next_hop& hop) const noexcept {
    if (!ip.checksum_ok()) return drop(drop_reason::ip_checksum);
    const ipv4_address from = ip.source(), to = ip.destination();
    if (is_martian(from) || is_martian(to) || options.interfaces.is_own(from)) return drop(drop_reason::martian);
    if (options.interfaces.is_directed_broadcast(from)) return drop(drop_reason::martian);
    if (!options.directed_broadcast && options.interfaces.is_directed_broadcast(to)) return drop(drop_reason::martian);
    if (!comes_the_right_way(p, from, to)) return drop(drop_reason::reverse_path);
    if (ip.header_size() > 20) [[unlikely]] {
      const verdict v = look_at_options(p, ip);
      if (v.code == verdict_code::drop) return v;
      if (v.code == verdict_code::stolen) return refused{};
    }
    if (ip.time_to_live() <= 1) return refuse(p, icmp::time_exceeded::transit);
    const std::size_t mtu = mtu_of(hop);
    const bool fits = length_on_wire(p, ip.total_length()) <= mtu;
    if (!fits && ip.dont_fragment()) return refuse(p, icmp::unreachable::fragmentation_needed, mtu);
    if (p.is_shared() && !p.unshare()) return drop(drop_reason::no_packet);
    header_to_write<ipv4>(p).decrement_time_to_live();
    if (!fits) return oversized{};
    return forwarded{};
  }

  [[nodiscard]] ways forward6(packet& p, ipv6 ip, const next_hop& hop) const noexcept {
    const ipv6_address from = ip.source(), to = ip.destination();
    if (is_martian(from) || is_martian(to) || to.is_link_local() || options.interfaces.is_own(from))
      return drop(drop_reason::martian);
    if (from.is_link_local()) return refuse(p, icmpv6::unreachable::beyond_scope);
    if (!comes_the_right_way(p, from, to)) return drop(drop_reason::reverse_path);
    for (ipv6_extensions chain{ip}; chain; chain.next()) {
      const bool by_options = chain.kind() == ipv6_extension::hop_by_hop;
      if (!by_options && chain.kind() != ipv6_extension::routing) continue;
      const verdict v = by_options ? look_at_options(p, chain) : look_at_routing(p, chain);
      if (v.code == verdict_code::drop) return v;
      if (v.code == verdict_code::stolen) return refused{};
    }
    if (ip.hop_limit() <= 1) return refuse(p, icmpv6::time_exceeded::hop_limit);
    // A link that takes less has to cut and join by itself (RFC 8200 §5).
    const std::size_t mtu = mtu_of(hop) < 1280 ? 1280 : mtu_of(hop);
    if (length_on_wire(p, std::size_t{ip.payload_length()} + 40) > mtu) return refuse(p, icmpv6::packet_too_big, mtu);
    if (!p.unshare()) return drop(drop_reason::no_packet);
    const auto header = header_to_write<ipv6>(p);
    header.hop_limit(static_cast<std::uint8_t>(header.hop_limit() - 1));
    return forwarded{};
  }
  // What a router looks at in the options and extension headers of packets for others. `stolen` says that it is
  // refused.
  [[nodiscard, gnu::noinline]] static verdict look_at_options(packet& p, ipv4 ip) noexcept {
    std::size_t at = 20;
    ipv4_options walk{ip.options()};
    for (; walk; walk.next()) {
      if (walk.kind() == loose_source_route || walk.kind() == strict_source_route)
        return drop(drop_reason::source_route);
      at += walk.whole().size();
    }
    if (!walk.malformed()) return pass;
    (void)refuse(p, icmp::parameter_problem::pointer, at);
    return stolen;
  }
  // RFC 8200 §4.2: the two highest bits of an unknown option say what to do. The destination is no multicast here, so
  // that 10 and 11 are alike.
  [[nodiscard]] static verdict look_at_options(packet& p, const ipv6_extensions& chain) noexcept {
    ipv6_options walk{chain.data()};
    for (; walk; walk.next()) {
      if (walk.kind() == ipv6_options::router_alert || walk.action() == ipv6_option_action::skip) continue;
      if (walk.action() == ipv6_option_action::discard_silently) return drop(drop_reason::ip_option);
      (void)refuse(p, icmpv6::parameter_problem::option, chain.offset() + walk.offset());
      return stolen;
    }
    return walk.malformed() ? verdict{drop(drop_reason::ip_option)} : pass;
  }
  // Type 0 makes packets go round in circles: it is treated as unknown (RFC 5095 §3).
  [[nodiscard]] static verdict look_at_routing(packet& p, const ipv6_extensions& chain) noexcept {
    const std::byte* const header = chain.data().data();
    if (load_u8(header + 2) != 0 || load_u8(header + 3) == 0) return pass;
    (void)refuse(p, icmpv6::parameter_problem::header_field, chain.offset() + 2);
    return stolen;
  }

  template <class Address>
  [[nodiscard]] bool comes_the_right_way(const packet& p, const Address& from, const Address& to) const noexcept {
    return options.reverse_path == reverse_path_filter::off || has_way_back(p, from, to);
  }
  template <class Address>
  [[nodiscard, gnu::noinline]] bool has_way_back(const packet& p, const Address& from,
                                                 const Address& to) const noexcept {
    const bool anywhere = options.reverse_path == reverse_path_filter::loose;
    const next_hop_table& hops = current_routes(*routes).hops();
    const next_hop_number back = current_routes(*routes).lookup(route_query<Address>{from, to, p.mark(), 0});
    if (hops.is_group(back)) {
      const next_hop_table::group& g = hops.group_at(back);
      for (std::size_t i = 0; i < g.members; ++i)
        if (anywhere || hops[g.member[i].hop].oif == p.iif()) return true;
      return false;
    }
    if (!hops.is_hop(back) || hops[back].type != route_type::unicast) return false;
    return anywhere || hops[back].oif == p.iif();
  }
};

}  // namespace detail

/// A branch with the ways `forwarded`, `oversized` and `refused`, behind `route(routes)` on its way `forward`: it reads
/// the number of the next hop from the packet's `scratch`, and leaves it there for what goes on; in what is refused
/// `scratch` tells `reject(sender)` which error. Decrements TTL and hop limit, and copies shared bytes to do so. Drops
/// - `link_broadcast`: sent to all or to a group on the link (RFC 1812 §5.3.4);
/// - `ip_checksum`: a wrong IPv4 header checksum (§5.2.2);
/// - `martian`: from or to an address that is never forwarded (§5.3.7), a directed broadcast among it (§5.3.5.2, as a
///   source in any case: §4.2.2.11); from an address of this host, which nobody else has;
/// - `reverse_path`, `source_route`, `ip_option` (an IPv6 option that says so), `no_packet`.
/// Refuses
/// - a TTL or hop limit of 1 or 0 (§5.3.1): time exceeded;
/// - IPv4 with "don't fragment", and IPv6, longer than the next hop's MTU, or else its interface's;
/// - impossible options, unknown IPv6 options that ask for it, a routing header of type 0: parameter problem;
/// - a link-local IPv6 source: beyond scope (RFC 4443 §3.1).
/// Needs `parse()` before it; routes and interfaces must outlive the pipeline. The routes are those that `route` had,
/// or the same `snapshot_reader` of them.
template <class R>
  requires routing_source<R> || routing_snapshot<R>
[[nodiscard]] constexpr auto forwarding(const R& routes, forwarding_options options = {}) noexcept {
  return branch(detail::forwarding_decision<R>{&routes, options});
}
/// Refused: the routes would be gone before the pipeline runs.
template <class R>
  requires routing_source<R> || routing_snapshot<R>
void forwarding(const R&& routes, forwarding_options options = {}) = delete;

/// The redirect that the sender of an IPv4 packet may be told behind `route(routes)`, before `forwarding()`: when it
/// goes out by the interface that it came by, and sender and next hop are on that interface's subnet (RFC 1812
/// §5.2.7.2). An error without kind when there is none to be sent. Nothing sends redirects by itself:
/// `answer_with_error` of a copy does.
[[nodiscard]] inline icmp_error redirect_for(const packet& p, const next_hop_table& hops,
                                             const ip_interfaces& interfaces) noexcept {
  constexpr icmp_error none{icmp_kind{}, icmpv6_kind{}};
  const header_map found{p};
  const auto number = static_cast<next_hop_number>(p.scratch());
  if (!found.has<ipv4>() || !hops.is_hop(number)) return none;
  const next_hop& hop = hops[number];
  if (hop.type != route_type::unicast || hop.oif != p.iif()) return none;
  const ipv4 datagram = found.get<ipv4>();
  for (ipv4_options walk{datagram.options()}; walk; walk.next())
    if (walk.kind() == detail::loose_source_route || walk.kind() == detail::strict_source_route) return none;
  if (hop.has_gateway() && !hop.has_ipv4_gateway()) return none;
  const ipv4_address better = hop.has_gateway() ? hop.ipv4_gateway() : datagram.destination();
  for (const interface_address& one : interfaces[hop.oif].addresses)
    if (is_mapped(one.address) && one.subnet().contains(mapped(datagram.source())) &&
        one.subnet().contains(mapped(better)))
      return {icmp::redirect::host, icmpv6_kind{}, better.value()};
  return none;
}

}  // namespace runnel

#endif
