// SPDX-License-Identifier: MIT
// Rules: `when(expression) >> verdict`, tried in order. The first that matches decides.
#ifndef RUNNEL_MATCH_RULES_HPP
#define RUNNEL_MATCH_RULES_HPP

#include <cstddef>      // size_t
#include <cstdint>      // uint64_t
#include <type_traits>  // is_convertible_v, is_same_v

#include <runnel/config.hpp>
#include <runnel/match/expression.hpp>
#include <runnel/match/subject.hpp>
#include <runnel/packet/verdict.hpp>

namespace runnel {

namespace detail {

// Two targets, one after the other.
template <class First, class Next>
struct target_steps {
  First first;
  Next next;
};
// What may stand as a target beside verdicts: what a chain of hook/ runs. Which of them it can run, it says itself.
template <class T>
concept acting_target = requires { T::kind; } || requires { T::is_target; } || requires { &T::operator(); };
template <class Target>
constexpr auto as_target(const Target& t) noexcept {
  static_assert(std::is_convertible_v<const Target&, verdict> || acting_target<Target>,
                "runnel: behind when(...) >> stands a verdict: accept, drop, drop(drop_reason::...), tx, redirect(n); "
                "or for chains something that acts: set_mark(5), jump(rules), a stage or a handler");
  if constexpr (std::is_convertible_v<const Target&, verdict>) return verdict{t};
  else if constexpr (acting_target<Target>) return t;
  else return verdict{drop};
}

}  // namespace detail

/// A condition and what happens with the packets that meet it. The target is a verdict; in the rules of a chain (see
/// hook/chain.hpp) it may be something that acts on the packet, and another target may follow.
template <match::match_expression Expression, class Target = verdict>
struct rule {
  /// What the library knows it by. @{
  static constexpr bool is_rule = true;
  static constexpr bool only_decides = std::is_same_v<Target, verdict>;
  static constexpr bool is_otherwise = only_decides && std::is_same_v<Expression, match::always>;
  /// @}

  /// When the rule decides.
  Expression condition;
  /// What it decides.
  Target target;

  /// One more target behind one that acts: `when(...) >> set_mark(5) >> accept`.
  template <class Next>
  [[nodiscard]] constexpr auto operator>>(const Next& next) const noexcept {
    static_assert(!only_decides, "runnel: no packet comes to a target behind a verdict: make the verdict the last one");
    using second = decltype(detail::as_target(next));
    return rule<Expression, detail::target_steps<Target, second>>{condition, {target, detail::as_target(next)}};
  }
};

namespace detail {

// What `when` returns: a condition that still needs its `>> verdict`.
template <match::match_expression Expression>
struct when_clause {
  Expression expression;

  template <class Target>
  [[nodiscard]] constexpr auto operator>>(const Target& t) const noexcept {
    return rule<Expression, decltype(as_target(t))>{expression, as_target(t)};
  }
};

}  // namespace detail

/// The condition of a rule: `when(tcp::dport == 22) >> accept`.
template <class Expression>
[[nodiscard]] constexpr auto when(const Expression& e) noexcept {
  static_assert(
      !match::match_operand<Expression>,
      "runnel: when(...) takes a condition, and this is only a field: compare it, tcp::dport == 22, or ask for its "
      "header, has<tcp>");
  static_assert(match::match_operand<Expression> || match::match_expression<Expression>,
                "runnel: when(...) takes a match expression: a comparison of a field with a value (tcp::dport == 22), "
                ".in(...), has<tcp>, or some of these joined with && || !; for code of your own write a handler");
  if constexpr (match::match_expression<Expression>) return detail::when_clause<Expression>{e};
  else return detail::when_clause<match::always>{};
}
/// The condition of the last rule, for packets that none before it decided about: `otherwise >> drop`.
inline constexpr detail::when_clause<match::always> otherwise{};

namespace detail {

template <class... Rules>
struct rule_chain {
  [[nodiscard]] RUNNEL_INLINE constexpr bool decide(const subject&, verdict&, std::size_t&) const noexcept {
    return false;
  }
  template <class F>
  constexpr void for_each(F&) const {}
};
template <class First, class... More>
struct rule_chain<First, More...> {
  First first;
  rule_chain<More...> more;

  // Finds the verdict, and adds to `at` the place of the rule that has it, or the number of rules.
  [[nodiscard]] RUNNEL_INLINE constexpr bool decide(const subject& s, verdict& v, std::size_t& at) const noexcept {
    if (first.condition(s)) {
      v = first.target;
      return true;
    }
    ++at;
    return more.decide(s, v, at);
  }
  template <class F>
  constexpr void for_each(F& f) const {
    f(first);
    more.for_each(f);
  }
};
template <class... Rules>
constexpr rule_chain<Rules...> make_rule_chain(const Rules&... all) noexcept {
  if constexpr (sizeof...(Rules) == 0) return {};
  else
    return [](const auto& first, const auto&... more) {
      return rule_chain<Rules...>{first, make_rule_chain(more...)};
    }(all...);
}

template <class R>
inline constexpr bool is_a_rule = requires { requires R::is_rule; };

// Whether a rule stands behind `otherwise`.
template <class... Rules>
constexpr bool some_rule_is_out_of_reach() noexcept {
  const bool is_last[] = {Rules::is_otherwise..., false};
  for (std::size_t i = 0; i + 1 < sizeof...(Rules); ++i)
    if (is_last[i]) return true;
  return false;
}

}  // namespace detail

/// Rules in their order: what `rules(...)` makes. A stage of a pipeline, a program for early verdicts, a filter.
///
/// The rule's expressions are kept by value, sets by pointer. Nothing is allocated, nothing changes: may be `constexpr`
/// and used by several threads.
template <class... Rules>
class rules_of {
 public:
  /// What the library knows it by. Rules that act are for chains only.
  static constexpr bool is_rules = (true && ... && Rules::only_decides);
  static constexpr std::size_t size = sizeof...(Rules);  ///< how many rules, `otherwise` included

  /// Use `rules(...)`.
  constexpr explicit rules_of(const Rules&... all) noexcept : list_(detail::make_rule_chain(all...)) {}

  /// The verdict of the first rule that matches; `accept`, as with nft's default policy, when none does.
  RUNNEL_INLINE constexpr verdict operator()(const subject& s) const noexcept
    requires is_rules
  {
    verdict v = accept;
    std::size_t unused = 0;
    (void)list_.decide(s, v, unused);
    return v;
  }
  /// The same, and which rule it was, counting from 0; `size` when none matched.
  RUNNEL_INLINE constexpr verdict decide(const subject& s, std::size_t& which) const noexcept
    requires is_rules
  {
    verdict v = accept;
    which = 0;
    (void)list_.decide(s, v, which);
    return v;
  }
  /// Calls `f(rule)` for each rule in turn.
  template <class F>
  constexpr void for_each(F f) const {
    list_.for_each(f);
  }
  /// Internal: what a chain is made from.
  [[nodiscard]] constexpr const detail::rule_chain<Rules...>& list() const noexcept { return list_; }

 private:
  [[no_unique_address]] detail::rule_chain<Rules...> list_;
};

/// The rules of a policy, first match wins:
///
///     constexpr auto policy = rules(
///         when(tcp::dport == 22 && ip::saddr.in(net("10.0.0.0/8"))) >> accept,
///         when(tcp::dport.in(constant_set{80, 443}))                >> accept,
///         otherwise                                                 >> drop);
///     verdict v = policy(packet);
template <class... Rules>
[[nodiscard]] constexpr auto rules(const Rules&... all) noexcept {
  constexpr bool good = (true && ... && detail::is_a_rule<Rules>);
  static_assert(good, "runnel: rules(...) takes rules: when(expression) >> verdict, ..., otherwise >> verdict");
  if constexpr (good) {
    static_assert(!detail::some_rule_is_out_of_reach<Rules...>(),
                  "runnel: no packet comes to a rule behind 'otherwise': make 'otherwise' the last rule");
    return rules_of<Rules...>{all...};
  } else {
    return rules_of<>{};
  }
}

/// How many packets a rule decided about, and their bytes.
struct rule_counter {
  /// How many packets.
  std::uint64_t packets = 0;
  /// Their bytes, link header included.
  std::uint64_t bytes = 0;
};

/// Rules that count their hits: what `counted(rules(...))` makes. Sixteen bytes a rule; an add to memory per packet.
/// For one thread; each worker has its own.
template <class Rules>
class counted_rules {
 public:
  /// What the library knows it by.
  static constexpr bool is_rules = true;
  /// How many rules, `otherwise` included.
  static constexpr std::size_t size = Rules::size;

  /// Use `counted(rules(...))`.
  constexpr explicit counted_rules(const Rules& r) noexcept : rules_(r) {}

  /// Decides, and counts the hit.
  RUNNEL_INLINE verdict operator()(const subject& s) const noexcept {
    std::size_t which = 0;
    const verdict v = rules_.decide(s, which);
    ++hits_[which].packets;
    hits_[which].bytes += s.length;
    return v;
  }
  /// The counter of rule `i`; that of `size` is for packets that no rule decided about.
  [[nodiscard]] const rule_counter& hits(std::size_t i) const noexcept {
    RUNNEL_ASSERT(i <= size);
    return hits_[i];
  }
  /// Sets all counters to 0.
  void reset() noexcept {
    for (rule_counter& c : hits_) c = {};
  }
  /// The rules alone.
  [[nodiscard]] constexpr const Rules& without_counters() const noexcept { return rules_; }

 private:
  Rules rules_;
  mutable rule_counter hits_[size + 1]{};
};

/// The same rules with a counter each, as nft's `counter`. A pipeline takes a copy, which counts for itself: to read
/// the counters of rules in a pipeline, let `[&](const subject& s) { return policy(s); }` stand there.
template <class Rules>
  requires requires { Rules::is_rules; }
[[nodiscard]] constexpr auto counted(const Rules& r) noexcept {
  static_assert(Rules::is_rules,
                "runnel: rules that do more than decide are counted by their chain: rule_counter hits[rules.size + 1]; "
                "chain<hook_point::forward>(rules, policy, hits)");
  if constexpr (Rules::is_rules) return counted_rules<Rules>{r};
  else return counted_rules<rules_of<>>{rules_of<>{}};
}

}  // namespace runnel

#endif
