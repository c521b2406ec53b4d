// SPDX-License-Identifier: MIT
// Ways out of a hook beside "accepted": packets whose sender is to be told, and packets for a local handler.
//
//     hook<hook_point::forward>(live)
//         .on<accepted>(forwarding(routes)...)
//         .on<refused> (reject(errors) | shared(output))    // with the error that the rule says
//         .on<diverted>(deliver(proxy))                     // packet::scratch() is the port of `tproxy to :port`
//
// Without ways, as a stage that is followed by others, a hook drops both kinds, and counts them by reasons of their
// own.
#ifndef RUNNEL_HOOK_WAYS_HPP
#define RUNNEL_HOOK_WAYS_HPP

#include <cstdint>  // uint8_t, uint16_t, uint32_t
#include <utility>  // move

#include <runnel/config.hpp>
#include <runnel/flow/branch.hpp>
#include <runnel/flow/context.hpp>
#include <runnel/flow/ports.hpp>
#include <runnel/flow/stage.hpp>
#include <runnel/hook/targets.hpp>
#include <runnel/match/meta.hpp>
#include <runnel/match/subject.hpp>
#include <runnel/packet/drop_reason.hpp>
#include <runnel/packet/packet.hpp>
#include <runnel/packet/verdict.hpp>
#include <runnel/wire/icmp.hpp>
#include <runnel/wire/icmpv6.hpp>
#include <runnel/wire/ipv4.hpp>
#include <runnel/wire/tcp.hpp>

namespace runnel {

/// The way of packets that the chains of a hook accept.
struct accepted {
  static constexpr const char* name = "accepted";  ///< in drawings
};
/// The way of packets that do not go on, and whose sender is to be told: `reject(sender)` knows why.
struct refused {
  static constexpr const char* name = "refused";  ///< in drawings
};
/// The way of packets that a rule hands to a local handler, unchanged: nft's `tproxy`. `packet::scratch()` is the port
/// that the rule names.
struct diverted {
  static constexpr const char* name = "diverted";  ///< in drawings
};

namespace detail {

// What is left in the packet's scratch for `reject(sender)`: type, code and 16 bits of value of an ICMP error,
// whichever the family.
struct refusal {
  static constexpr std::uint32_t tcp_reset = 0xffff'ffff;  // no error has this type
  [[nodiscard]] static constexpr std::uint32_t packed(std::uint8_t type, std::uint8_t code,
                                                      std::uint32_t value = 0) noexcept {
    return std::uint32_t{type} << 24 | std::uint32_t{code} << 16 | (value < 0xffff ? value : 0xffff);
  }
};

// The verdicts that a hook makes ways of. Whoever knows nothing of them drops the packet. The drops of rules have no
// port.
inline constexpr verdict refused_by_rule{verdict_code::drop, drop_reason::rejected, 1};
inline constexpr verdict diverted_by_rule{verdict_code::drop, drop_reason::no_target, 2};

using hook_ways = ports<accepted, refused, diverted>;
[[nodiscard]] RUNNEL_INLINE hook_ways way_of(verdict v) noexcept {
  if (v.code == verdict_code::pass) return accepted{};
  if (v == refused_by_rule) return refused{};
  if (v == diverted_by_rule) return diverted{};
  return v;
}

// The same stage as a branch.
template <class Stage>
struct hook_decision {
  using ways = hook_ways;
  static constexpr bool needs_parsed = Stage::needs_parsed;
  static constexpr bool needs_tracked = Stage::needs_tracked;
  static constexpr bool writes = Stage::writes;
  static constexpr bool resizes = Stage::resizes;
  static constexpr bool moves = Stage::moves;
  Stage stage;
  RUNNEL_INLINE ways decide(packet& p, context& c, const layers* found) noexcept { return way_of(stage(p, c, found)); }
  constexpr void print_name(text_writer& out) const noexcept { stage.print_name(out); }
};
// What a stage needs to be connected: `.on<accepted>(...)` makes a branch of it.
template <class Way, class Stage, class Path>
[[nodiscard]] constexpr auto connect_hook(const Stage& stage, Path path) noexcept {
  return branch(hook_decision<Stage>{stage}).template on<Way>(std::move(path));
}

// Refuses a packet: the error for its family; nothing about packets of the other.
struct refuse_target {
  static constexpr bool is_target = true;
  icmp_kind v4;
  icmpv6_kind v6;
  bool reset = false;

  // Whether it says something about this packet. A later fragment of TCP is TCP too, as for nft: it is not
  // answered, and does not pass.
  [[nodiscard]] RUNNEL_INLINE bool fits(const subject& s) const noexcept {
    std::uint64_t number = 0;
    if (reset)
      return s.headers.has<tcp>() || (match::detail::l4proto_of(s, number) && number == tcp_header::ip_protocol);
    return (s.headers.has<ipv4>() ? v4.type : v6.type) != 0;
  }
  [[nodiscard]] constexpr bool is_for_both() const noexcept { return v4.type != 0 && v6.type != 0; }
  template <class Run>
  RUNNEL_INLINE target_end run(Run& r) const noexcept {
    if (!fits(r.s)) return target_end::next_rule;
    const bool four = r.s.headers.template has<ipv4>();
    r.p.scratch(reset  ? refusal::tcp_reset
                : four ? refusal::packed(v4.type, v4.code)
                       : refusal::packed(v6.type, v6.code));
    r.decided = refused_by_rule;
    return target_end::verdict;
  }
  struct prepared_refusal;
  [[nodiscard]] constexpr prepared_refusal prepare() const noexcept;
};
struct refuse_target::prepared_refusal : stage_defaults, refuse_target {
  static constexpr bool resizes = false;
  static constexpr unsigned translates = 0;
  constexpr explicit prepared_refusal(const refuse_target& t) noexcept : refuse_target(t) {}
};
constexpr refuse_target::prepared_refusal refuse_target::prepare() const noexcept { return prepared_refusal{*this}; }

struct divert_target : stage_defaults {
  static constexpr bool is_target = true;
  static constexpr bool resizes = false;
  static constexpr unsigned translates = 0;
  std::uint16_t port;
  constexpr explicit divert_target(std::uint16_t p) noexcept : port(p) {}
  template <class Run>
  RUNNEL_INLINE target_end run(Run& r) const noexcept {
    r.p.scratch(port);
    r.decided = diverted_by_rule;
    return target_end::verdict;
  }
  [[nodiscard]] constexpr divert_target prepare() const noexcept { return *this; }
};

}  // namespace detail

/// Ends the way of a packet through a hook, and its sender is told: the hook's way `refused` takes it, where
/// `reject(sender)` makes the error. nft's `reject with icmp`, `icmpv6` and `icmpx`. A kind of type 0 (not set) says
/// nothing about packets of that family: the rule has not matched, and what stands before in it is not done either.
[[nodiscard]] constexpr detail::refuse_target refuse(icmp_kind about4, icmpv6_kind about6) noexcept {
  return {about4, about6};
}
/// The same with nft's default: nobody listens on that port.
[[nodiscard]] constexpr detail::refuse_target refuse() noexcept {
  return {icmp::unreachable::port, icmpv6::unreachable::port};
}
/// The same with a reset, for TCP; for others the rule has not matched. Later fragments of TCP do not pass either, and
/// are not answered. nft's `reject with tcp reset`.
[[nodiscard]] constexpr detail::refuse_target refuse_with_reset() noexcept { return {{}, {}, true}; }
/// Hands a packet to a local handler: the hook's way `diverted` takes it, with the port in its `scratch`. Nothing in
/// the packet changes. nft's `tproxy to :port accept`.
[[nodiscard]] constexpr detail::divert_target divert(std::uint16_t port) noexcept {
  return detail::divert_target{port};
}

}  // namespace runnel

#endif
