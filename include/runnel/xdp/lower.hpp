// SPDX-License-Identifier: MIT
// Match expressions and rules as XDP programs: the same expression runs in the kernel, on the driver's own buffer,
// before there is an sk_buff.
//
//     result<bpf::program, error> p = bpf::lower(condition(udp::dport == 7), bpf::to_socket);   // the rest passes
//     result<bpf::program, error> q = bpf::lower(rules(when(ip::saddr.in(blocklist)) >> drop, otherwise >> pass));
//
// For every packet the program decides as the expression does behind `xdp(...)`: it dissects the packet with the checks
// of `dissect`, and tests with jumps that leave out what does not matter any more. Hash sets and prefix sets become
// maps, which `device::xdp_hook` fills, also while the program runs.
//
// A program sees the whole packet: one that lies in several buffers (jumbo frames, LRO) the kernel puts together first
// in generic mode, and a driver that may receive such (i40e and ice from an MTU of 3047 on, veth from about 3500)
// refuses the program in native mode, unless `has_frags` says that it takes them. It decides the same then, if the
// packet's headers lie in the first buffer, which has 2 KiB or more: behind that it finds no headers. A VLAN tag that
// the card has taken out of a packet it does not see: `ethtool -K eth0 rxvlan off` where rules ask for it. `meta iif`
// is the number that the options say: a program stands at one interface.
//
// Not lowered: IPv4 and TCP options, IPv6 extension headers and what stands in them, GRE's optional words, LLC and
// SNAP, packets in tunnels, `meta time`, interval sets, expressions and sets of your own, the verdict `stolen`; and
// what no packet has yet when it comes there: `ct`, and `meta mark`, `priority`, `hash` and `oif`.
#ifndef RUNNEL_XDP_LOWER_HPP
#define RUNNEL_XDP_LOWER_HPP

#include <cstddef>      // size_t
#include <cstdint>      // uint16_t, uint32_t, uint64_t
#include <type_traits>  // is_convertible_v

#include <runnel/base/error.hpp>
#include <runnel/base/result.hpp>
#include <runnel/base/text.hpp>
#include <runnel/match/condition.hpp>
#include <runnel/match/print.hpp>
#include <runnel/match/print_condition.hpp>
#include <runnel/match/rule_list.hpp>
#include <runnel/match/rules.hpp>
#include <runnel/xdp/assembler.hpp>
#include <runnel/xdp/bpf_action.hpp>
#include <runnel/xdp/bpf_condition.hpp>
#include <runnel/xdp/bpf_dissect.hpp>
#include <runnel/xdp/bpf_program.hpp>
#include <runnel/xdp/lowerable.hpp>

namespace runnel::bpf {

/// What is said beside the rules.
struct lower_options {
  bool counters = true;        ///< whether packets and bytes are counted for each rule
  std::uint32_t sockets = 64;  ///< room for AF_XDP sockets, one for each receive queue
  std::uint32_t devices = 64;  ///< room for interfaces to redirect to
  std::uint16_t iif = 0;       ///< what `meta iif` is: the interface's number in its device
  bool has_frags = false;      ///< whether packets may lie in several buffers: for MTUs beyond 3046, Linux 5.18
};

}  // namespace runnel::bpf

namespace runnel::detail::ebpf {

using namespace bpf;

/// Puts a program together: `begin` with what it needs, each rule, `end`.
class rules_writer {
  using op = alu_op;
  using jump = jmp_op;

 public:
  explicit rules_writer(const lower_options& options) noexcept
      : options_(options), conditions_(a_, options.iif), decided_(a_.make_label()) {
    if (options.has_frags) a_.accept_frags();
  }

  /// What a rule needs, or why it cannot be.
  void look_at(const match::condition_view& c, action what) noexcept {
    for (std::size_t i = 0; i < c.size; ++i) {
      const match::condition_node& n = c.nodes[i];
      if (needs_dissection(n)) dissects_ = true;
      refuse(obstacle_in(n), &c, i);
    }
    if (what.kind == action_kind::none) refuse(obstacle::stolen, nullptr, 0);
    if (what.kind == action_kind::socket) has_sockets_ = true;
    if (what.kind == action_kind::device) has_devices_ = true;
    ++rules_;
  }
  void begin() noexcept {
    dissection_writer::write_start(a_);
    if (dissects_) {
      dissection_writer dissection(a_);
      dissection.write();
    }
    if (options_.counters)
      counters_ = a_.add({.config = {.kind = map_kind::per_cpu_array,
                                     .value_bytes = 16,
                                     .entries = static_cast<std::uint32_t>(rules_ + 1),
                                     .name = "rule_counters"},
                          .use = map_use::counters});
    if (has_sockets_)
      sockets_ = a_.add({.config = {.kind = map_kind::xsk_map, .entries = options_.sockets, .name = "sockets"},
                         .use = map_use::sockets});
    if (has_devices_)
      devices_ = a_.add({.config = {.kind = map_kind::dev_map, .entries = options_.devices, .name = "devices"},
                         .use = map_use::devices});
  }
  void add(const match::condition_view& c, action what) noexcept {
    const label holds = a_.make_label(), fails = a_.make_label(), behind = a_.make_label();
    conditions_.write(c, holds, fails);
    a_.jump(behind);
    a_.place(holds);
    decide(what);
    a_.place(behind);
    ++at_;
  }
  [[nodiscard]] result<program, error> end(action otherwise) noexcept {
    if (obstacle_ != obstacle::none) return refusal();
    decide(otherwise);
    a_.place(decided_);
    finish_packet();
    return a_.finish();
  }

 private:
  // r9 becomes the rule, r5 the action.
  void decide(action what) noexcept {
    a_.move(r9, std::uint64_t{at_});
    a_.move(r5, static_cast<std::uint64_t>(what.kind) | std::uint64_t{what.number} << 8);
    a_.jump(decided_);
  }
  void finish_packet() noexcept {
    const label counted = a_.make_label(), to_device = a_.make_label(), to_socket = a_.make_label();
    if (a_.so_far().has_frags()) a_.load(width::w, r8, r10, length_at);
    else a_.alu(op::sub, r8, r7);
    a_.move(r7, r5);
    if (options_.counters) count(counted);
    a_.move(r0, r7);
    a_.alu(op::and_, r0, 0xff);
    if (has_sockets_) a_.jump_if(jump::jeq, r0, static_cast<std::int32_t>(action_kind::socket), to_socket);
    if (has_devices_) a_.jump_if(jump::jeq, r0, static_cast<std::int32_t>(action_kind::device), to_device);
    a_.exit();
    a_.place(to_socket);
    a_.load(width::w, r2, r6, 16);  // rx_queue_index
    redirect(sockets_, action_kind::pass);
    a_.place(to_device);
    a_.move(r2, r7);
    a_.alu(op::rsh, r2, 8);
    redirect(devices_, action_kind::drop);
  }
  void count(label counted) noexcept {
    a_.store(width::w, r10, prefix_key_at, r9);
    a_.move(r2, r10);
    a_.alu(op::add, r2, prefix_key_at);
    a_.load_map(r1, counters_);
    a_.call(helper::map_lookup_elem);
    a_.jump_if(jump::jeq, r0, 0, counted);
    a_.load(width::dw, r1, r0, 0);
    a_.alu(op::add, r1, 1);
    a_.store(width::dw, r0, 0, r1);
    a_.load(width::dw, r1, r0, 8);
    a_.alu(op::add, r1, r8);
    a_.store(width::dw, r0, 8, r1);
    a_.place(counted);
  }
  // To the place r2 of a map; where there is nothing, the other action.
  void redirect(std::size_t map, action_kind otherwise) noexcept {
    if (!a_.is_reachable()) return;
    a_.load_map(r1, map);
    a_.move(r3, static_cast<std::uint64_t>(otherwise));
    a_.call(helper::redirect_map);
    a_.exit();
  }

  // Remembers the first part that cannot be lowered, as nft would write it.
  void refuse(obstacle o, const match::condition_view* c, std::size_t at) noexcept {
    if (o == obstacle::none || obstacle_ != obstacle::none) return;
    obstacle_ = o;
    refused_ << "rule " << std::uint64_t{rules_ + 1};
    if (c == nullptr) return;
    refused_ << ", ";
    match::detail::line l{refused_};
    match::detail::print_line(l, {*c}, at, true, 0);
  }
  [[nodiscard]] error refusal() const noexcept {
    return {"xdp", "lower", refused_.c_str(), text_of(obstacle_).why, text_of(obstacle_).advice};
  }

  lower_options options_;
  assembler a_;
  condition_writer conditions_;
  label decided_;
  bool dissects_ = false, has_sockets_ = false, has_devices_ = false;
  obstacle obstacle_ = obstacle::none;
  text<80> refused_;
  std::size_t counters_ = 0, sockets_ = 0, devices_ = 0, rules_ = 0, at_ = 0;
};

// Calls `f(condition_view)` for an expression of whatever type.
template <class Expression, class F>
void with_view(const Expression& e, F f) noexcept {
  if constexpr (std::is_convertible_v<const Expression&, match::condition_view>) {
    f(match::condition_view(e));
  } else {
    const condition c(e);
    f(match::condition_view(c));
  }
}
template <class Rule>
void check_rule(const Rule&) noexcept {
  // Its own errors are enough.
  constexpr bool good = type_check<decltype(Rule::condition)>::good;
  (void)good;
}
template <class Rules>
[[nodiscard]] result<program, error> lower_rules(const Rules& rules, action otherwise,
                                                 const lower_options& options) noexcept {
  rules_writer w(options);
  rules.for_each([&](const auto& rule) {
    check_rule(rule);
    with_view(rule.condition, [&](const match::condition_view& c) { w.look_at(c, rule.target); });
  });
  w.begin();
  rules.for_each([&](const auto& rule) {
    with_view(rule.condition, [&](const match::condition_view& c) { w.add(c, rule.target); });
  });
  return w.end(otherwise);
}

}  // namespace runnel::detail::ebpf

namespace runnel::bpf {

/// A program that does `match` with the packets for which `take` holds, and `otherwise` with all others. Fails when the
/// condition cannot be lowered, saying which part and why, and when it makes too many instructions. Needs about 150 KB
/// of stack.
[[nodiscard]] inline result<program, error> lower(const condition& take, action match, action otherwise = action{},
                                                  const lower_options& options = {.counters = false}) noexcept {
  detail::ebpf::rules_writer w(options);
  w.look_at(take, match);
  w.look_at(condition{}, otherwise);
  w.begin();
  w.add(take, match);
  return w.end(otherwise);
}
/// The same for an expression whose type is known: one that cannot be lowered is a compile error.
template <match::match_expression Expression>
[[nodiscard]] result<program, error> lower(const Expression& take, action match, action otherwise = action{},
                                           const lower_options& options = {.counters = false}) noexcept {
  constexpr bool good = detail::ebpf::type_check<Expression>::good;  // its own errors are enough
  (void)good;
  return lower(condition(take), match, otherwise, options);
}

/// A program that decides as rules do, and `pass` where none matches. Counts hits for each rule, unless told not to. A
/// rule that cannot be lowered is a compile error. What `redirect(n)` is, whoever loads the program says.
template <class Rules>
  requires requires { requires Rules::is_rules; }
[[nodiscard]] result<program, error> lower(const Rules& rules, const lower_options& options = {}) noexcept {
  if constexpr (requires { rules.without_counters(); }) return lower(rules.without_counters(), options);
  else return detail::ebpf::lower_rules(rules, pass, options);
}
/// The same for rules that are known at run time only. Fails where a rule cannot be lowered, and says which and why.
template <std::size_t Rules, std::size_t Nodes, std::size_t Words>
[[nodiscard]] result<program, error> lower(const basic_rule_list<Rules, Nodes, Words>& rules,
                                           const lower_options& options = {}) noexcept {
  return detail::ebpf::lower_rules(rules, rules.fallback(), options);
}

}  // namespace runnel::bpf

#endif
