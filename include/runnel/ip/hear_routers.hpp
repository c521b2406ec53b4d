// SPDX-License-Identifier: MIT
// The stage that takes what routers and hosts say of routers: solicitations and advertisements, redirects. As a router
// it answers the first, as a host it goes by the others. RFC 4861 §6 and §8.
#ifndef RUNNEL_IP_HEAR_ROUTERS_HPP
#define RUNNEL_IP_HEAR_ROUTERS_HPP

#include <cstddef>  // size_t

#include <runnel/base/bytes.hpp>
#include <runnel/base/result.hpp>
#include <runnel/base/time.hpp>
#include <runnel/flow/handoff.hpp>
#include <runnel/flow/stage.hpp>
#include <runnel/ip/answer_neighbours.hpp>
#include <runnel/ip/neighbour_messages.hpp>
#include <runnel/ip/router_advertiser.hpp>
#include <runnel/ip/router_discovery.hpp>
#include <runnel/packet/drop_reason.hpp>
#include <runnel/packet/packet.hpp>
#include <runnel/packet/verdict.hpp>
#include <runnel/wire/header_map.hpp>
#include <runnel/wire/icmpv6.hpp>
#include <runnel/wire/ipv6.hpp>
#include <runnel/wire/ndp.hpp>

namespace runnel {

namespace detail {

// What a listener has a `hear` for; the rest passes by.
template <class Listeners>
struct hear_routers_stage : stage_defaults {
  static constexpr stage_kind kind = stage_kind::each;
  static constexpr bool needs_parsed = true;
  static constexpr const char* name = "hear_routers";

  constexpr explicit hear_routers_stage(Listeners l, handoff* o = nullptr) noexcept : listeners(l), others(o) {}
  RUNNEL_INLINE verdict operator()(packet& p, context& c) noexcept {
    const header_map found{static_cast<const packet&>(p)};
    if (found.has<icmpv6>()) [[unlikely]]
      return hear(p, found, c.now);
    return pass;
  }
  constexpr void print_name(text_writer& out) const noexcept { out << name; }

  Listeners listeners;
  handoff* others;

 private:
  template <class Message, class Listener>
  [[nodiscard]] verdict take(Listener* listener, packet& p, const header_map& found, instant now) const noexcept {
    if constexpr (requires(const Message& m) { listener->hear(m, found.get<ipv6>(), mac_address{}, now); }) {
      const ipv6 around = found.get<ipv6>();
      const ipv6_address to = around.destination();
      if (!to.is_multicast() && !listener->neighbours().link().addresses.contains(to)) return pass;
      const drop_reason fault = icmpv6_fault(p, found);
      if (fault != drop_reason::none) return drop(fault);
      const auto m = Message::parse(icmpv6_bytes(found), around);
      return taken_message(p, m ? listener->hear(*m, around, sender_of_frame(found), now) : m.error(), others);
    } else {
      return pass;
    }
  }
  [[nodiscard, gnu::noinline]] verdict hear(packet& p, const header_map& found, instant now) const noexcept {
    auto* const listener = listeners.of(p);
    if (listener == nullptr) return pass;
    switch (found.get<icmpv6>().kind().type) {
      case icmpv6::router_solicitation.type: return take<router_solicitation>(listener, p, found, now);
      case icmpv6::router_advertisement.type: return take<router_advertisement>(listener, p, found, now);
      case icmpv6::redirect.type: return take<ndp_redirect>(listener, p, found, now);
      default: return pass;
    }
  }
};

}  // namespace detail

/// Takes router solicitations and the advertisements of other routers, as a router; lets everything else pass. What
/// they must not be is dropped (RFC 4861 §6.1: `neighbour_malformed`, `icmp_checksum`). The answer goes out where the
/// advertiser's neighbour table is attached. Needs `parse()` before it; the advertiser must outlive the pipeline.
[[nodiscard]] constexpr auto hear_routers(router_advertiser& advertiser) noexcept {
  return detail::hear_routers_stage{detail::one_listener<router_advertiser>{&advertiser}};
}
/// The same on several links, as with `answer_neighbours`: `advertisers[packet.iif()]`, of `n`.
[[nodiscard]] constexpr auto hear_routers(router_advertiser* const* advertisers, std::size_t n) noexcept {
  return detail::hear_routers_stage{detail::listener_of_interface<router_advertiser>{advertisers, n}};
}
/// Takes router advertisements and redirects, as a host, in the same manner.
[[nodiscard]] constexpr auto hear_routers(router_discovery& discovery) noexcept {
  return detail::hear_routers_stage{detail::one_listener<router_discovery>{&discovery}};
}
/// The same on one of several threads that have a discovery each for one link: what it takes the others get too, as
/// with `answer_neighbours(neighbours, others)`, and take it by the same stage.
[[nodiscard]] constexpr auto hear_routers(router_discovery& discovery, handoff& others) noexcept {
  return detail::hear_routers_stage{detail::one_listener<router_discovery>{&discovery}, &others};
}

}  // namespace runnel

#endif
