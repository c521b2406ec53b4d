// SPDX-License-Identifier: MIT
// The routing decision as a branch of a pipeline: for this host, onwards, or nowhere.
//
//     auto path = parse()
//               | route(routes).on<local>   (answer)
//                              .on<forward> (to_next_hop)
//                              .on<no_route>(reject);
//
// The number of the next hop is left in the packet's `scratch` for the stages behind it, `routes.hops()[number]`, and
// the interface that it leads to, `oif_of(packet)`, which rules know as `meta::oif`.
#ifndef RUNNEL_IP_ROUTE_HPP
#define RUNNEL_IP_ROUTE_HPP

#include <concepts>     // same_as
#include <cstdint>      // uint16_t, uint32_t, uint64_t
#include <type_traits>  // remove_cvref_t

#include <runnel/config.hpp>
#include <runnel/flow/branch.hpp>
#include <runnel/flow/ports.hpp>
#include <runnel/ip/next_hop.hpp>
#include <runnel/ip/route_table.hpp>
#include <runnel/packet/drop_reason.hpp>
#include <runnel/packet/packet.hpp>
#include <runnel/wire/flow_key.hpp>
#include <runnel/wire/header_map.hpp>

namespace runnel {

/// The way of packets for this host: local and broadcast routes.
struct local {
  static constexpr const char* name = "local";  ///< in drawings
};
/// The way of packets that go on to a next hop.
struct forward {
  static constexpr const char* name = "forward";  ///< in drawings
};
/// The way of packets that no route takes: there is none, or it is `unreachable` or `prohibit`. `refusal_of` says
/// which.
struct no_route {
  static constexpr const char* name = "no_route";  ///< in drawings
};

/// Something that knows a next hop for a packet: a `route_table`, or `routing_rules` over several.
template <class R>
concept routing_source = requires(const R& r, const route_query<ipv4_address>& a, const route_query<ipv6_address>& b) {
  { r.lookup(a) } -> std::same_as<next_hop_number>;
  { r.lookup(b) } -> std::same_as<next_hop_number>;
  { r.hops() } -> std::same_as<next_hop_table&>;
};

/// The hash that spreads flows over a group of next hops: addresses, the ports of TCP and UDP, for IPv4 the protocol. A
/// fragment, the first too, and what has no ports goes without them (IPv6: with its flow label, RFC 6437), so that all
/// of a datagram take one way (RFC 8900 §4.4). What is not IP has 0. The seed keeps routers in a row from deciding
/// alike, and strangers from choosing.
[[nodiscard, gnu::noinline]] inline std::uint64_t multipath_hash(const packet& p, std::uint64_t seed) noexcept {
  const header_map found{p};
  const std::byte* const ports = p.layers().has(protocol::fragment) ? nullptr : found.at<header::th, 4>();
  if (found.has<ipv4>()) {
    const auto outer = found.get<ipv4>();
    return (ports == nullptr ? flow_key4::from(outer) : flow_key4::from(outer, bytes{ports, 4})).hash(seed);
  }
  if (found.has<ipv6>()) {
    const auto outer = found.get<ipv6>();
    if (ports != nullptr) return flow_key6::from(outer, 0, bytes{ports, 4}).hash(seed);
    const std::uint32_t label = outer.flow_label();
    return flow_key6::from(outer, 0, static_cast<std::uint16_t>(label >> 16), static_cast<std::uint16_t>(label))
        .hash(seed);
  }
  return 0;
}

/// A thread's view of routes that are replaced as a whole: a `snapshot_reader` of a routing source.
template <class R>
concept routing_snapshot =
    requires(const R& r) { requires routing_source<std::remove_cvref_t<decltype(r.current())>>; };

namespace detail {

// The routes of now, of a `routing_source` or of a reader's snapshot of one.
template <class R>
[[nodiscard]] RUNNEL_INLINE constexpr const auto& current_routes(const R& from) noexcept {
  if constexpr (routing_snapshot<R>) return from.current();
  else return from;
}

template <class R>
struct routing_decision {
  using ways = ports<local, forward, no_route>;
  static constexpr const char* name = "route";
  static constexpr bool needs_parsed = true;
  static constexpr bool resizes = false;
  const R* from;
  std::uint64_t seed;

  [[nodiscard]] RUNNEL_INLINE const auto& routes() const noexcept { return current_routes(*from); }

  void prefetch(packet& p) const noexcept {
    if constexpr (requires { routes().prefetch(ipv4_address{}); }) {
      const header_map found{static_cast<const packet&>(p)};
      if (found.has<ipv4>()) routes().prefetch(found.get<ipv4>().destination());
      else if (found.has<ipv6>()) routes().prefetch(found.get<ipv6>().destination());
    }
  }
  ways operator()(packet& p) const noexcept {
    const header_map found{static_cast<const packet&>(p)};
    next_hop_number n = no_next_hop;
    if (found.has<ipv4>()) [[likely]] {
      const auto ip = found.get<ipv4>();
      n = routes().lookup(route_query<ipv4_address>{ip.destination(), ip.source(), p.mark(), p.iif()});
    } else if (found.has<ipv6>()) {
      const auto ip = found.get<ipv6>();
      n = routes().lookup(route_query<ipv6_address>{ip.destination(), ip.source(), p.mark(), p.iif()});
    } else {
      return drop(drop_reason::not_ip);
    }
    const next_hop_table& hops = routes().hops();
    n = hops.choose(n, [&] { return multipath_hash(p, seed); });
    p.scratch(n);
    if (n == no_next_hop) return no_route{};
    switch (hops[n].type) {
      case route_type::unicast: p.scratch(std::uint32_t{hops[n].oif} << 16 | n); return forward{};
      case route_type::local:
      case route_type::broadcast: return local{};
      case route_type::blackhole: return drop(drop_reason::route_blackhole);
      default: return no_route{};
    }
  }
};

}  // namespace detail

/// A branch with the ways `local`, `forward` and `no_route`. Puts the number of the next hop into the lower half of the
/// packet's `scratch`, `no_next_hop` without a route, and into the upper one the interface of what is forwarded.
/// Blackhole routes drop (`drop_reason::route_blackhole`), and so does what is not IP (`not_ip`): ARP is to be branched
/// off before. What the routes do not say is nothing special here, addresses of multicast and 255.255.255.255 among it.
/// `seed` is that of `multipath_hash`. Needs `parse()` before it; `routes` must outlive the pipeline, and is not
/// changed while a burst is under way: where other threads change routes, it is the thread's own `snapshot_reader` of
/// them, which a stage before refreshes. The tables of a snapshot share their next hops, by which the stages behind go.
/// What is kept for longer than a burst is routed again.
template <class R>
  requires routing_source<R> || routing_snapshot<R>
[[nodiscard]] constexpr auto route(const R& routes, std::uint64_t seed = 0) noexcept {
  return branch(detail::routing_decision<R>{&routes, seed});
}
/// Refused: the routes would be gone before the pipeline runs.
template <class R>
  requires routing_source<R> || routing_snapshot<R>
void route(const R&& routes, std::uint64_t seed = 0) = delete;

/// The interface by which a packet goes out, the next hop's `oif`, behind `route()`; 0 of one that is not forwarded.
[[nodiscard]] inline std::uint16_t oif_of(const packet& p) noexcept {
  return static_cast<std::uint16_t>(p.scratch() >> 16);
}

/// Why a packet that took the way `no_route` has none, for the ICMP error: `unreachable` or `prohibit`, else
/// `route_type::unicast`: there was no route, or but one of type `throw`. See `icmp_for` and `icmpv6_for`.
[[nodiscard]] inline route_type refusal_of(const packet& p, const next_hop_table& hops) noexcept {
  const auto n = static_cast<next_hop_number>(p.scratch());
  const route_type t = hops.is_hop(n) ? hops[n].type : route_type::unicast;
  return t == route_type::unreachable || t == route_type::prohibit ? t : route_type::unicast;
}

}  // namespace runnel

#endif
