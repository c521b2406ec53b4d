// SPDX-License-Identifier: MIT
// Chains: rules at a hook point, with a priority and a policy, as a stage of a pipeline. Known at compile time; for
// rules that are loaded while the program runs see rule_table.hpp.
//
//     static constexpr auto policy = rules(when(ct::state == established) >> accept,
//                                          when(tcp::dport == 22) >> limit(logins) >> accept,
//                                          when(udp::dport == 53) >> set_mark(5),        // and on to the next rule
//                                          when(ip::saddr.in(guests)) >> jump(guest_rules));
//     parse() | track(connections) | chain<hook_point::forward>(policy, drop) | ...
//
// Verdicts mean what they mean in netfilter: `accept` ends its own chain, and the next one of the hook goes on; every
// other one is final. A packet about which no rule decides meets the policy of the chain.
//
// A target that acts goes on to what stands behind it, and then to the next rule. Any stage or handler is one: a
// verdict other than `pass` that it returns is that of the rule.
#ifndef RUNNEL_HOOK_CHAIN_HPP
#define RUNNEL_HOOK_CHAIN_HPP

#include <cstddef>      // size_t
#include <cstdint>      // int32_t, uint16_t
#include <type_traits>  // is_same_v
#include <utility>      // declval

#include <runnel/config.hpp>
#include <runnel/flow/context.hpp>
#include <runnel/flow/stage.hpp>
#include <runnel/hook/hook_point.hpp>
#include <runnel/hook/nat_target.hpp>
#include <runnel/hook/targets.hpp>
#include <runnel/hook/ways.hpp>
#include <runnel/match/rules.hpp>
#include <runnel/match/subject.hpp>
#include <runnel/packet/packet.hpp>
#include <runnel/packet/verdict.hpp>

namespace runnel {
namespace detail {

template <class T>
inline constexpr bool is_rules_of = false;
template <class... Rules>
inline constexpr bool is_rules_of<rules_of<Rules...>> = true;

// One packet on its way through the rules.
struct rule_run {
  packet& p;
  context& c;
  const layers* found;
  subject s;
  verdict decided = pass;
  const nat_target* translation = nullptr;  // what a rule said about it, beside `accept`
  std::uint16_t port = 0;                   // of the local handler that it goes to when it is accepted

  rule_run(packet& of, context& in, const layers* f) noexcept : p(of), c(in), found(f), s(look()) {}
  [[nodiscard]] RUNNEL_INLINE subject look() const noexcept {
    return subject{static_cast<const packet&>(p), packet_source{p, c, found}.map(), c.connections};
  }
};

template <class Stage>
RUNNEL_INLINE verdict call_stage(Stage& s, packet& p, context& c, const layers* found) noexcept {
  if constexpr (requires { s(p, c, found); }) return s(p, c, found);
  else return s(p, c);
}

// Each kind of target as the chain holds and runs it. This one is a stage.
template <class Stage>
struct prepared : Stage {
  static constexpr unsigned translates = 0;  // 1: sources, 2: destinations
  static constexpr bool moves = Stage::moves || Stage::makes_own;
  static_assert(Stage::kind == stage_kind::each,
                "runnel: a target of a rule looks at one packet at a time: a verdict, set_mark(...) and the like, a "
                "handler, or a stage that is neither a branch nor an end of a pipeline");
  RUNNEL_INLINE target_end run(rule_run& r) noexcept {
    const verdict v = call_stage(static_cast<Stage&>(*this), r.p, r.c, r.found);
    if (v.code != verdict_code::pass) {
      r.decided = v;
      return target_end::verdict;
    }
    if constexpr (Stage::resizes || moves) r.found = nullptr;
    r.s = r.look();
    return target_end::next;
  }
};
template <>
struct prepared<verdict> : stage_defaults {
  static constexpr bool resizes = false;
  static constexpr unsigned translates = 0;
  verdict v;
  RUNNEL_INLINE target_end run(rule_run& r) const noexcept {
    r.decided = v;
    return target_end::verdict;
  }
};
template <class Target>
struct prepared_simple : stage_defaults {
  static constexpr bool resizes = false;
  static constexpr unsigned translates = 0;
  Target target;
  RUNNEL_INLINE target_end run(rule_run& r) const noexcept { return target.run(r.p, r.c); }
};
template <class First, class Next>
struct prepared_steps {
  static constexpr bool needs_tracked = First::needs_tracked || Next::needs_tracked;
  static constexpr bool writes = First::writes || Next::writes;
  static constexpr bool resizes = First::resizes || Next::resizes;
  static constexpr bool moves = First::moves || Next::moves;
  static constexpr bool asks_for_frame = First::asks_for_frame || Next::asks_for_frame;
  static constexpr unsigned translates = First::translates | Next::translates;
  First first;
  Next next;
  RUNNEL_INLINE target_end run(rule_run& r) noexcept {
    const target_end e = first.run(r);
    return e == target_end::next ? next.run(r) : e;
  }
};

template <class T>
constexpr auto prepare(const T& t) noexcept {
  if constexpr (std::is_same_v<T, verdict>) return prepared<verdict>{{}, t};
  else if constexpr (requires { t.prepare(); }) return t.prepare();
  else if constexpr (requires { T::is_target; }) return prepared_simple<T>{{}, t};
  else return prepared<stage_of<T>>{as_stage(t)};
}
template <class First, class Next>
constexpr auto prepare(const target_steps<First, Next>& t) noexcept {
  using one = decltype(prepare(t.first));
  using two = decltype(prepare(t.next));
  return prepared_steps<one, two>{prepare(t.first), prepare(t.next)};
}

// Whether a rule with these targets is about a packet: where one refuses, only about what it can refuse, as in a
// rule_table. What stands before it is done to no others.
template <class Target>
RUNNEL_INLINE bool is_about(const Target&, const subject&) noexcept {
  return true;
}
RUNNEL_INLINE bool is_about(const refuse_target::prepared_refusal& t, const subject& s) noexcept { return t.fits(s); }
template <class First, class Next>
RUNNEL_INLINE bool is_about(const prepared_steps<First, Next>& t, const subject& s) noexcept {
  return is_about(t.first, s) && is_about(t.next, s);
}

// The rules of a chain, prepared. `Number` is the place of the first one.
template <std::size_t Number, class... Rules>
struct prepared_rules {
  static constexpr bool needs_tracked = false, writes = false, resizes = false, moves = false, asks_for_frame = false;
  static constexpr unsigned translates = 0;
  RUNNEL_INLINE target_end run(rule_run&, rule_counter*) noexcept { return target_end::next; }
};
template <std::size_t Number, class Expression, class Target, class... More>
struct prepared_rules<Number, rule<Expression, Target>, More...> {
  using target_type = decltype(prepare(std::declval<const Target&>()));
  using more_type = prepared_rules<Number + 1, More...>;
  static constexpr bool needs_tracked = target_type::needs_tracked || more_type::needs_tracked;
  static constexpr bool writes = target_type::writes || more_type::writes;
  static constexpr bool resizes = target_type::resizes || more_type::resizes;
  static constexpr bool moves = target_type::moves || more_type::moves;
  static constexpr bool asks_for_frame = target_type::asks_for_frame || more_type::asks_for_frame;
  static constexpr unsigned translates = target_type::translates | more_type::translates;

  Expression condition;
  target_type target;
  more_type more;

  RUNNEL_INLINE target_end run(rule_run& r, rule_counter* hits) noexcept {
    if (condition(r.s) && is_about(target, r.s)) {
      const std::size_t length = r.s.length;  // the target may take the packet away
      const target_end e = target.run(r);
      if (hits != nullptr && e != target_end::next_rule) {
        ++hits[Number].packets;
        hits[Number].bytes += length;
      }
      if (e == target_end::verdict || e == target_end::back) return e;
    }
    return more.run(r, hits);
  }
};
template <std::size_t Number>
constexpr prepared_rules<Number> prepare_rules(const rule_chain<>&) noexcept {
  return {};
}
template <std::size_t Number, class First, class... More>
constexpr prepared_rules<Number, First, More...> prepare_rules(const rule_chain<First, More...>& all) noexcept {
  return {all.first.condition, prepare(all.first.target), prepare_rules<Number + 1>(all.more)};
}

// `jump` and `goto`. They lead to rules that are there already, and so never in a circle.
template <class Rules, bool ComesBack>
struct jump_target {
  static constexpr bool is_target = true;
  Rules to;
  rule_counter* hits;

  [[nodiscard]] constexpr auto prepare() const noexcept {
    using body = decltype(prepare_rules<0>(to.list()));
    struct jump_there : body {
      rule_counter* hits;
      RUNNEL_INLINE target_end run(rule_run& r) noexcept {
        const target_end e = body::run(r, hits);
        if (e == target_end::verdict) return e;
        return ComesBack ? target_end::next : target_end::back;
      }
    };
    return jump_there{prepare_rules<0>(to.list()), hits};
  }
};

// What a chain consists of: rules, or any stage.
template <hook_point Point, int Priority, class Body>
struct chain_stage : stage_defaults {
  static constexpr stage_kind kind = stage_kind::each;
  static constexpr hook_point point = Point;
  static constexpr int priority = Priority;
  static constexpr bool needs_parsed = true;
  static constexpr bool needs_tracked = Body::needs_tracked;
  static constexpr bool writes = Body::writes;
  static constexpr bool resizes = Body::resizes;
  static constexpr bool moves = Body::moves || requires { requires Body::makes_own; };
  static constexpr bool asks_for_frame = Body::asks_for_frame;

  Body body;
  verdict policy;
  rule_counter* hits;
  std::size_t size;

  constexpr chain_stage(const Body& b, verdict p, rule_counter* h, std::size_t n) noexcept
      : body(b), policy(p), hits(h), size(n) {}
  RUNNEL_INLINE verdict operator()(packet& p, context& c, const layers* found = nullptr) noexcept {
    if constexpr (requires(rule_run& r) { body.run(r, hits); }) {
      rule_run r{p, c, found};
      if (body.run(r, hits) == target_end::verdict) return r.decided;
      if (hits != nullptr) {
        ++hits[size].packets;
        hits[size].bytes += p.total_length();
      }
      return policy;
    } else {
      return call_stage(body, p, c, found);
    }
  }
  /// Connects one of its ways, and makes a branch of it: see ways.hpp.
  template <class Way, class Path>
  [[nodiscard]] constexpr auto on(Path path) && noexcept {
    return connect_hook<Way>(*this, std::move(path));
  }
  constexpr void print_name(text_writer& out) const noexcept {
    out << "chain " << runnel::name(Point);
    if constexpr (Priority != hook_priority::filter) out << ' ' << std::int32_t{Priority};
  }
};

// Chains in the order of their priorities; those with the same one stay as they were given.
template <class... Chains>
struct chain_list {
  static constexpr bool needs_tracked = false, writes = false, resizes = false, moves = false, asks_for_frame = false;
  RUNNEL_INLINE verdict run(packet&, context&, const layers*) noexcept { return pass; }
  constexpr void print(text_writer&) const noexcept {}
};
template <class First, class... More>
struct chain_list<First, More...> {
  using more_type = chain_list<More...>;
  static constexpr bool needs_tracked = First::needs_tracked || more_type::needs_tracked;
  static constexpr bool writes = First::writes || more_type::writes;
  static constexpr bool resizes = First::resizes || more_type::resizes;
  static constexpr bool moves = First::moves || more_type::moves;
  static constexpr bool asks_for_frame = First::asks_for_frame || more_type::asks_for_frame;
  First first;
  more_type more;
  RUNNEL_INLINE verdict run(packet& p, context& c, const layers* found) noexcept {
    const verdict v = first(p, c, found);
    if (v.code != verdict_code::pass) return v;
    return more.run(p, c, First::resizes || First::moves ? nullptr : found);
  }
  constexpr void print(text_writer& out) const noexcept {
    out << ' ' << std::int32_t{First::priority};
    more.print(out);
  }
};
template <class Chain>
constexpr chain_list<Chain> insert_chain(const Chain& c, const chain_list<>&) noexcept {
  return {c, {}};
}
template <class Chain, class First, class... More>
constexpr auto insert_chain(const Chain& c, const chain_list<First, More...>& all) noexcept {
  if constexpr (Chain::priority < First::priority) {
    return chain_list<Chain, First, More...>{c, all};
  } else {
    return [&]<class... Rest>(const chain_list<Rest...>& rest) {
      return chain_list<First, Rest...>{all.first, rest};
    }(insert_chain(c, all.more));
  }
}
constexpr chain_list<> sort_chains(const chain_list<>& sorted) noexcept { return sorted; }
template <class... Sorted, class First, class... More>
constexpr auto sort_chains(const chain_list<Sorted...>& sorted, const First& first, const More&... more) noexcept {
  if constexpr (sizeof...(More) == 0) return insert_chain(first, sorted);
  else return sort_chains(insert_chain(first, sorted), more...);
}

template <class List, hook_point Point>
struct hook_stage : stage_defaults {
  static constexpr stage_kind kind = stage_kind::each;
  static constexpr hook_point point = Point;
  static constexpr bool needs_parsed = true;
  static constexpr bool needs_tracked = List::needs_tracked;
  static constexpr bool writes = List::writes;
  static constexpr bool resizes = List::resizes;
  static constexpr bool moves = List::moves;
  static constexpr bool asks_for_frame = List::asks_for_frame;
  List chains;
  constexpr explicit hook_stage(const List& all) noexcept : chains(all) {}
  RUNNEL_INLINE verdict operator()(packet& p, context& c, const layers* found = nullptr) noexcept {
    return chains.run(p, c, found);
  }
  /// Connects one of its ways, and makes a branch of it: see ways.hpp.
  template <class Way, class Path>
  [[nodiscard]] constexpr auto on(Path path) && noexcept {
    return connect_hook<Way>(*this, std::move(path));
  }
  constexpr void print_name(text_writer& out) const noexcept {
    out << "hook " << runnel::name(Point);
    chains.print(out);
  }
};
template <class T>
inline constexpr bool is_chain = false;
template <hook_point Point, int Priority, class Body>
inline constexpr bool is_chain<chain_stage<Point, Priority, Body>> = true;

}  // namespace detail

/// Runs other rules. When none of them decides, what stands behind the jump goes on. `hits`, if there is one, counts
/// for each of them; it has room for `to.size` and must outlive the chain.
template <class... Rules>
[[nodiscard]] constexpr auto jump(const rules_of<Rules...>& to, rule_counter* hits = nullptr) noexcept {
  return detail::jump_target<rules_of<Rules...>, true>{to, hits};
}
/// The same without coming back: when none of them decides, what goes on is where these rules were jumped from, or the
/// policy of the chain. nft's `goto`.
template <class... Rules>
[[nodiscard]] constexpr auto go_to(const rules_of<Rules...>& to, rule_counter* hits = nullptr) noexcept {
  return detail::jump_target<rules_of<Rules...>, false>{to, hits};
}

/// A chain at a hook point: rules, and what is decided where none of them does. Copies the rules. A stage, which may
/// stand alone, or among others in `hook(...)`.
///
///     chain<prerouting>(port_forwards)
///     chain<hook_point::forward, hook_priority::filter>(policy, drop)
template <hook_point Point, int Priority = hook_priority::filter, class... Rules>
[[nodiscard]] constexpr auto chain(const rules_of<Rules...>& all, verdict policy = accept) noexcept {
  using body = decltype(detail::prepare_rules<0>(all.list()));
  static_assert(body::translates == 0,
                "runnel: snat, masquerade, dnat and redirect_here stand in the rules of nat<...>(translations, rules)");
  return detail::chain_stage<Point, Priority, body>{detail::prepare_rules<0>(all.list()), policy, nullptr,
                                                    sizeof...(Rules)};
}
/// The same with counters: `hits[i]` for rule `i`, and the last one for packets that met the policy. They must outlive
/// the chain, and are for its thread.
template <hook_point Point, int Priority = hook_priority::filter, class... Rules, std::size_t Counters>
[[nodiscard]] constexpr auto chain(const rules_of<Rules...>& all, verdict policy,
                                   rule_counter (&hits)[Counters]) noexcept {
  static_assert(Counters == sizeof...(Rules) + 1,
                "runnel: a chain counts for each of its rules and for its policy: rule_counter hits[rules.size + 1]");
  auto made = chain<Point, Priority>(all, policy);
  made.hits = hits;
  return made;
}
/// A stage or a handler as a chain: `chain<postrouting, hook_priority::srcnat>(masquerade(wan))`. It is its own policy.
template <hook_point Point, int Priority = hook_priority::filter, class Stage>
  requires(!detail::is_rules_of<Stage>)
[[nodiscard]] constexpr auto chain(const Stage& stage) noexcept {
  using body = detail::stage_of<Stage>;
  static_assert(body::kind == stage_kind::each,
                "runnel: a chain is made of rules(...), or of a stage that looks at one packet at a time");
  return detail::chain_stage<Point, Priority, body>{detail::as_stage(stage), accept, nullptr, 0};
}

/// All chains of one hook point, given in any order: they run in the order of their priorities, and those with the same
/// one as they were given. What one of them does not accept, the next does not see.
///
///     hook(chain<prerouting, hook_priority::dstnat>(port_forwards), chain<prerouting, hook_priority::raw>(early))
template <class First, class... More>
[[nodiscard]] constexpr auto hook(const First& first, const More&... more) noexcept {
  constexpr bool good = (detail::is_chain<First> && ... && detail::is_chain<More>);
  static_assert(good, "runnel: hook(...) takes chains: chain<prerouting>(rules(...)), ...");
  if constexpr (good) {
    static_assert(((First::point == More::point) && ...), "runnel: the chains of hook(...) stand at one hook point");
    using list = decltype(detail::sort_chains(detail::chain_list<>{}, first, more...));
    return detail::hook_stage<list, First::point>{detail::sort_chains(detail::chain_list<>{}, first, more...)};
  } else {
    return detail::not_a_stage{};
  }
}

}  // namespace runnel

#endif
