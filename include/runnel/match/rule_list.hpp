// SPDX-License-Identifier: MIT
// Rules that are known at run time only: `rules(...)` of conditions, in memory of fixed size.
#ifndef RUNNEL_MATCH_RULE_LIST_HPP
#define RUNNEL_MATCH_RULE_LIST_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint16_t, uint64_t

#include <runnel/base/text.hpp>
#include <runnel/config.hpp>
#include <runnel/match/condition.hpp>
#include <runnel/match/condition_build.hpp>
#include <runnel/match/condition_form.hpp>
#include <runnel/match/condition_node.hpp>
#include <runnel/match/condition_test.hpp>
#include <runnel/match/print.hpp>
#include <runnel/match/rules.hpp>
#include <runnel/match/subject.hpp>
#include <runnel/packet/verdict.hpp>

namespace runnel {

/// One of the rules of a list. Valid as long as the list is neither changed nor gone.
struct rule_view {
  /// When the rule decides.
  match::condition_view condition;
  /// What it decides.
  verdict target;
};

/// Up to `Rules` rules in their order, the first that matches decides, as with `rules(...)`: a stage of a pipeline, a
/// program for early verdicts, what an XDP hook runs. `Nodes` and `Words` are the room for all their conditions; see
/// `condition`. Counts what each rule decided about. For one thread; each worker has its own.
///
///     auto read = parse_rules("tcp dport { 22, 80 } accept\n drop\n");   // result<rule_list, error>
///     rule_list policy = rules(when(tcp::dport == 22) >> accept, otherwise >> drop);
///
/// Holds everything but the sets itself, 36 KB unless told otherwise; copied freely, no heap. A pipeline takes a copy,
/// which counts for itself: to read the counters, let `[&](const subject& s) { return policy(s); }` stand there.
template <std::size_t Rules = 128, std::size_t Nodes = 4 * Rules, std::size_t Words = 4 * Rules>
class basic_rule_list {
  static_assert(Rules >= 1 && Nodes >= 1 && Words >= 1 && Nodes < match::condition_node::fails && Words < 0x10000,
                "runnel: a rule list has room for one rule at least, and for 65533 nodes and 65535 words at most");

 public:
  /// How many rules fit.
  static constexpr std::size_t capacity = Rules;

  /// No rule: everything is accepted.
  constexpr basic_rule_list() noexcept = default;
  /// The same rules as those. More than there is room for are an assertion; the rest is then missing, and dropped is
  /// what comes to its place.
  template <class... Each>
  constexpr basic_rule_list(const rules_of<Each...>& all) noexcept {
    static_assert(sizeof...(Each) <= Rules, "runnel: more rules than the list has room for: basic_rule_list<N>");
    bool good = true;
    all.for_each([&](const auto& r) { good = good && add(r.condition, r.target); });
    RUNNEL_ASSERT(good && "runnel: the conditions of these rules need a larger list: basic_rule_list<Rules, Nodes>");
    if (!good) fallback_ = drop;
  }

  /// Appends a rule. False, and nothing changed, when there is no room for it.
  template <match::match_expression Expression>
  [[nodiscard]] constexpr bool add(const Expression& when, const verdict& target) noexcept {
    using form = match::detail::run_time_form<Expression>;
    if constexpr (form::check())
      return add_built([&](match::detail::condition_builder& to) { form::append(to, when); }, target);
    else return false;
  }
  /// The same for a condition that somebody else holds.
  [[nodiscard]] constexpr bool add(const match::condition_view& when, const verdict& target) noexcept {
    return add_built([&](match::detail::condition_builder& to) { to.add_tree(when); }, target);
  }
  /// The same for a condition that `fill(builder)` makes; see `condition::build`.
  template <class Fill>
  [[nodiscard]] constexpr bool add_built(Fill fill, const verdict& target) noexcept {
    if (size_ == Rules || node_count_ == Nodes) return false;
    match::detail::condition_builder to{nodes_ + node_count_, Nodes - node_count_, words_ + word_count_,
                                        Words - word_count_};
    fill(to);
    if (to.full()) return false;
    to.link();
    rules_[size_++] = {static_cast<std::uint16_t>(node_count_), static_cast<std::uint16_t>(to.size()),
                       static_cast<std::uint16_t>(word_count_), target};
    node_count_ += to.size();
    word_count_ += to.words();
    return true;
  }
  /// Removes all rules, and their counters.
  constexpr void clear() noexcept {
    reset();
    size_ = node_count_ = word_count_ = 0;
    fallback_ = accept;
  }

  /// What is decided where no rule matches: `accept`.
  [[nodiscard]] constexpr verdict fallback() const noexcept { return fallback_; }
  /// How many rules there are.
  [[nodiscard]] constexpr std::size_t size() const noexcept { return size_; }
  /// Rule `i`.
  [[nodiscard]] constexpr rule_view operator[](std::size_t i) const noexcept {
    RUNNEL_ASSERT(i < size_);
    return {{nodes_ + rules_[i].node, rules_[i].nodes, words_ + rules_[i].word}, rules_[i].target};
  }
  /// Calls `f(rule_view)` for each rule in turn.
  template <class F>
  constexpr void for_each(F f) const {
    for (std::size_t i = 0; i < size_; ++i) f((*this)[i]);
  }

  /// The verdict of the first rule that matches, which is counted; `accept`, as with nft's default policy, when none
  /// does.
  verdict operator()(const subject& s) const noexcept {
    std::size_t which = 0;
    const verdict v = decide(s, which);
    rule_counter& hit = hits_[which == size_ ? Rules : which];
    ++hit.packets;
    hit.bytes += s.length;
    return v;
  }
  /// The same without counting, and which rule it was, counting from 0; `size()` when none matched.
  constexpr verdict decide(const subject& s, std::size_t& which) const noexcept {
    for (which = 0; which < size_; ++which)
      if (match::detail::holds((*this)[which].condition, s)) return rules_[which].target;
    return fallback_;
  }
  /// The counter of rule `i`; that of `size()` is for packets that no rule decided about.
  [[nodiscard]] constexpr const rule_counter& hits(std::size_t i) const noexcept {
    RUNNEL_ASSERT(i <= size_);
    return hits_[i == size_ ? Rules : i];
  }
  /// Sets all counters to 0.
  constexpr void reset() noexcept {
    for (rule_counter& c : hits_) c = {};
  }

 private:
  struct place {
    std::uint16_t node = 0, nodes = 0, word = 0;
    verdict target{};
  };
  place rules_[Rules]{};
  mutable rule_counter hits_[Rules + 1]{};
  match::condition_node nodes_[Nodes];
  std::uint64_t words_[Words]{};
  std::size_t size_ = 0;
  std::size_t node_count_ = 0;
  std::size_t word_count_ = 0;
  verdict fallback_ = accept;
};

/// A list with room for 128 rules.
using rule_list = basic_rule_list<>;

/// What to print of a rule list.
enum class rule_counters : bool {
  hidden,  ///< the rules alone
  shown    ///< each with what it has counted
};
/// All rules, as they would stand in a chain with `policy accept`.
template <std::size_t Rules, std::size_t Nodes, std::size_t Words>
constexpr void print(text_writer& out, const basic_rule_list<Rules, Nodes, Words>& all,
                     rule_counters counters = rule_counters::hidden) noexcept {
  for (std::size_t i = 0; i < all.size(); ++i)
    detail::print_rule(out, {all[i].condition}, all[i].target,
                       counters == rule_counters::shown ? &all.hits(i) : nullptr);
}

}  // namespace runnel

#endif
