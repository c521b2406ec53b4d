// SPDX-License-Identifier: MIT
// Stages that refuse packets, and say so to the sender: with an ICMP error, or with a TCP reset.
//
//     icmp_sender errors{interfaces};
//     auto answers = as_pipeline(transmit(lan));
//
//     route(routes)
//         .on<no_route>(reject(routes.hops(), errors) | shared(answers))     // what the route's type says
//         .on<local>   (reject(icmp::unreachable::port, errors) | shared(answers))
//         .on<forward> (forwarding(routes).on<refused>(reject(errors) | shared(answers))...)
//
// The packet itself becomes the answer, and goes back by the interface that it came by: its link header is turned
// round. It has no next hop, so it does not go through `resolve`, which would look for the asker on the link.
#ifndef RUNNEL_IP_REJECT_HPP
#define RUNNEL_IP_REJECT_HPP

#include <cstdint>  // uint8_t, uint16_t, uint32_t

#include <runnel/flow/context.hpp>
#include <runnel/flow/stage.hpp>
#include <runnel/hook/ways.hpp>
#include <runnel/ip/icmp_error.hpp>
#include <runnel/ip/next_hop.hpp>
#include <runnel/ip/route.hpp>
#include <runnel/ip/tcp_reset.hpp>
#include <runnel/packet/connection_state.hpp>

namespace runnel {

namespace detail {

// The same error about every packet.
struct always_the_same {
  icmp_error what;
  [[nodiscard]] constexpr icmp_error operator()(const packet&) const noexcept { return what; }
};
// What the type of the route says.
struct as_the_route_says {
  const next_hop_table* hops;
  [[nodiscard]] icmp_error operator()(const packet& p) const noexcept {
    const route_type t = refusal_of(p, *hops);
    return {icmp_for(t), icmpv6_for(t)};
  }
};
// What a stage before has left in the packet's scratch: see refusal.
struct as_the_packet_says {
  [[nodiscard]] static bool is_reset(const packet& p) noexcept { return p.scratch() == refusal::tcp_reset; }
  [[nodiscard]] icmp_error operator()(const packet& p) const noexcept {
    const std::uint32_t word = p.scratch();
    const auto type = static_cast<std::uint8_t>(word >> 24), code = static_cast<std::uint8_t>(word >> 16);
    return {icmp_kind{type, code}, icmpv6_kind{type, code}, word & 0xffff};
  }
};

// The kernel's nf_reject closes the connection too. Else it would be established for days, with nobody at its end.
[[nodiscard]] inline verdict reset_and_close(packet& p, icmp_sender& sender, context& c) noexcept {
  const connection_word word{p.connection()};
  const verdict answer = answer_with_tcp_reset(p, sender, c.now);
  if (answer.code == verdict_code::pass) note_reset(c.connections, word);
  return answer;
}

template <class What>
struct reject_stage : stage_defaults {
  static constexpr stage_kind kind = stage_kind::each;
  static constexpr bool needs_parsed = true;
  static constexpr bool makes_own = true;
  static constexpr const char* name = "reject";

  constexpr reject_stage(What w, icmp_sender& s) noexcept : what(w), sender(&s) {}
  verdict operator()(packet& p, context& c) const noexcept {
    if constexpr (requires { what.is_reset(p); })
      if (what.is_reset(p)) return reset_and_close(p, *sender, c);
    return answer_with_error(p, what(p), *sender, c.now);
  }
  constexpr void print_name(text_writer& out) const noexcept { out << name; }

  What what;
  icmp_sender* sender;
};

struct tcp_reset_stage : stage_defaults {
  static constexpr stage_kind kind = stage_kind::each;
  static constexpr bool needs_parsed = true;
  static constexpr bool makes_own = true;
  static constexpr const char* name = "reject_with_tcp_reset";

  constexpr explicit tcp_reset_stage(icmp_sender& s) noexcept : sender(&s) {}
  verdict operator()(packet& p, context& c) const noexcept { return reset_and_close(p, *sender, c); }
  constexpr void print_name(text_writer& out) const noexcept { out << name; }

  icmp_sender* sender;
};

}  // namespace detail

/// Turns each packet into an ICMP error about it, which goes on: `reject(icmp::unreachable::port, errors) |
/// shared(output)`. An ICMP kind stands for ICMPv6's nearest as well. Packets about which none may be sent are dropped
/// (see `answer_with_error`). The sender must outlive the pipeline, and is for one thread.
[[nodiscard]] constexpr auto reject(const icmp_error& what, icmp_sender& sender) noexcept {
  return detail::reject_stage<detail::always_the_same>{{what}, sender};
}
/// The same behind `route(routes)`, on its way `no_route`: `unreachable` and `prohibit` routes are told apart, and the
/// lack of one. `hops` are `routes.hops()`, and must outlive the pipeline.
[[nodiscard]] constexpr auto reject(const next_hop_table& hops, icmp_sender& sender) noexcept {
  return detail::reject_stage<detail::as_the_route_says>{{&hops}, sender};
}
/// The same on the way `refused` of `forwarding()` and of hooks, which knows what is wrong with each packet; where a
/// rule says so it is a TCP reset, and the packet's connection is closed: `tcp_connection_state::close`, as after a
/// reset of its own. When nothing more of it comes it stays as long as it would have, but makes room in a full table.
[[nodiscard]] constexpr auto reject(icmp_sender& sender) noexcept {
  return detail::reject_stage<detail::as_the_packet_says>{{}, sender};
}
/// Turns each TCP segment into the reset that a host sends where nobody listens, and closes its connection; everything
/// else is dropped (see `answer_with_tcp_reset`). The sender must outlive the pipeline, and is for one thread.
[[nodiscard]] constexpr auto reject_with_tcp_reset(icmp_sender& sender) noexcept {
  return detail::tcp_reset_stage{sender};
}

}  // namespace runnel

#endif
