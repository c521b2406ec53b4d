// SPDX-License-Identifier: MIT
// Prints match expressions and rules as nft writes them, so that they can be read, compared and loaded there.
//
// A rule is one line, or several where it takes several: nft joins conditions by "and" only, so a rule with || is
// printed once for each alternative, all with its verdict (but `tcp dport { 80-90, 22 }` is one), and `!(...)` is
// resolved: `!(tcp::dport == 22)` becomes the lines `meta protocol != { ip, ip6 }`, `meta l4proto != tcp` and `tcp
// dport != 22`. A rule with more than 64 alternatives is printed as one line with `or` and `not`, which nft does not
// know.
//
// What nft does not know either is printed in its manner: `meta hash` and `meta queue`; fields of `cvlan`, `mpls`,
// `llc` and `snap`; `gre key` and its like; what neighbour discovery has beside `icmpv6 taddr` and `daddr`; IP options
// by number; `ipip`; the verdicts `tx`, `redirect 2`, `stolen` and `aborted`. What versions newer
// than 1.0.6 know: `vxlan`, `gre` and what is inside them, `icmpv6 taddr` and `daddr`.
//
// At times nft's words mean something else: `has<tcp>` is printed as `meta l4proto tcp`, which also holds for later
// fragments; an option that is there, but too short for the field, is not among the lines of a negation, nor is a
// packet without a connection among those of `!(ct::mark == 7)`; for nft the list of TCP options does not end at the
// "end of list", and 1.0.6 makes one comparison of two `!=` of neighbouring fields (see parse_condition.hpp).
#ifndef RUNNEL_MATCH_PRINT_HPP
#define RUNNEL_MATCH_PRINT_HPP

#include <cstddef>      // size_t
#include <cstdint>      // uint64_t
#include <type_traits>  // is_same_v

#include <runnel/base/text.hpp>
#include <runnel/config.hpp>
#include <runnel/match/condition.hpp>
#include <runnel/match/condition_form.hpp>
#include <runnel/match/condition_node.hpp>
#include <runnel/match/expression.hpp>
#include <runnel/match/print_condition.hpp>
#include <runnel/match/rules.hpp>
#include <runnel/packet/drop_reason.hpp>
#include <runnel/packet/verdict.hpp>

namespace runnel {
namespace match {
namespace detail {

// How many lines it takes to say that the tree at `i` holds, or that it does not; 65 and more are all one.
[[nodiscard]] constexpr std::size_t lines_of(const printed_tree& t, std::size_t i, bool positive) noexcept {
  const condition_node& n = t[i];
  switch (n.kind) {
    case node_kind::always: return positive ? 1 : 0;
    case node_kind::custom: return 1;
    case node_kind::has: return positive ? 1 : lines_without(n.operand.in_header);
    case node_kind::negation: return lines_of(t, i - 1, !positive);
    case node_kind::both:
    case node_kind::either: {
      if (positive && (is_missing(t, i) || (n.kind == node_kind::either && is_in_braces(t, i)))) return 1;
      const std::size_t left = lines_of(t, n.left, positive), right = lines_of(t, i - 1, positive);
      const std::size_t both = positive == (n.kind == node_kind::both) ? left * right : left + right;
      return both < 65 ? both : 65;
    }
    default: break;
  }
  const int absent = lines_without_value(n.operand);
  return positive || absent < 0 ? 1 : 1 + static_cast<std::size_t>(absent);
}
// Prints one of them.
constexpr void print_line(line& l, const printed_tree& t, std::size_t i, bool positive, std::size_t which) noexcept {
  const condition_node& n = t[i];
  switch (n.kind) {
    case node_kind::always: return;
    case node_kind::custom:
      RUNNEL_ASSERT(t.customs != nullptr);  // only a condition of the program's has one
      l.next() << (positive ? "" : "not (");
      t.customs[n.left].print(l.out, t.customs[n.left].what);
      l.out << (positive ? "" : ")");
      return;
    case node_kind::has:
      return positive ? print_with(l, n.operand.in_header) : print_without(l, n.operand.in_header, which);
    case node_kind::negation: return print_line(l, t, i - 1, !positive, which);
    case node_kind::both:
    case node_kind::either: {
      if (positive && is_missing(t, i)) return print_missing(l.next(), t[i - 2].operand.in_header);
      if (positive && n.kind == node_kind::either && is_in_braces(t, i)) return print_in_braces(l, t, i);
      // All pairs of lines, or the lines of both in turn.
      if (positive == (n.kind == node_kind::both)) {
        const std::size_t right = lines_of(t, i - 1, positive);
        print_line(l, t, n.left, positive, which / right);
        return print_line(l, t, i - 1, positive, which % right);
      }
      const std::size_t left = lines_of(t, n.left, positive);
      return which < left ? print_line(l, t, n.left, positive, which) : print_line(l, t, i - 1, positive, which - left);
    }
    default: break;
  }
  const int absent = lines_without_value(n.operand);
  if (positive) return print_leaf(l, t, n, true);
  if (absent >= 0 && which < static_cast<std::size_t>(absent)) return print_without_value(l, n.operand, which);
  if (absent >= 0) return print_leaf(l, t, n, false);
  l.next() << "not (";
  line inner{l.out};
  print_leaf(inner, t, n, true);
  l.out << ')';
}

// One line for the whole tree.
constexpr void print_tree(line& l, const printed_tree& t, std::size_t i) noexcept;
constexpr void print_in_brackets(line& l, const printed_tree& t, std::size_t i, const char* bracket) noexcept {
  l.next() << bracket;
  line inner{l.out};
  print_tree(inner, t, i);
  l.out << ')';
}
constexpr void print_part(line& l, const printed_tree& t, std::size_t i, node_kind other) noexcept {
  const bool is_one = is_missing(t, i) || (other == node_kind::either && t[i].kind == other && is_in_braces(t, i));
  if (t[i].kind == other && !is_one) print_in_brackets(l, t, i, "(");
  else print_tree(l, t, i);
}
constexpr void print_tree(line& l, const printed_tree& t, std::size_t i) noexcept {
  const condition_node& n = t[i];
  if (is_missing(t, i)) return print_missing(l.next(), t[i - 2].operand.in_header);
  switch (n.kind) {
    case node_kind::negation: return print_in_brackets(l, t, i - 1, "not (");
    case node_kind::both:
      print_part(l, t, n.left, node_kind::either);
      return print_part(l, t, i - 1, node_kind::either);
    case node_kind::either:
      if (is_in_braces(t, i)) return print_in_braces(l, t, i);
      print_part(l, t, n.left, node_kind::both);
      l.next() << "or";
      return print_part(l, t, i - 1, node_kind::both);
    case node_kind::always: l.next() << "always"; return;
    default: print_line(l, t, i, true, 0);
  }
}

// The nodes of any expression, as long as they are printed.
template <class Expression>
class printable {
  using form = run_time_form<Expression>;

 public:
  constexpr explicit printable(const Expression& e) noexcept {
    condition_builder to{nodes_, node_room, words_, word_room, customs_};
    form::append(to, e);
    size_ = to.size();
  }
  [[nodiscard]] constexpr printed_tree tree() const noexcept { return {{nodes_, size_, words_}, customs_}; }

 private:
  static constexpr std::size_t node_room = form::nodes + form::conditions * condition::max_nodes;
  static constexpr std::size_t word_room = form::words + form::conditions * condition::max_words + 1;
  condition_node nodes_[node_room];
  std::uint64_t words_[word_room]{};
  custom_part customs_[form::customs + 1]{};
  std::size_t size_ = 0;
};

constexpr void print_on_one_line(text_writer& out, const printed_tree& t) noexcept {
  line l{out};
  const std::size_t root = t.condition.root();
  if (t[root].kind != node_kind::always) print_tree(l, t, root);
}

}  // namespace detail

/// The expression on one line, as the left side of an nft rule. What joins conditions in another way than nft's "and"
/// is printed as `a or b`, `(a or b) c`, `not (a)`. What holds for every packet prints as nothing.
template <match_expression Expression>
constexpr void print(text_writer& out, const Expression& e) noexcept {
  if constexpr (std::is_same_v<Expression, condition>) detail::print_on_one_line(out, {e});
  else detail::print_on_one_line(out, detail::printable<Expression>{e}.tree());
}

}  // namespace match

/// A verdict as at the end of an nft rule: `accept`, `drop`, with the cause of a drop as its comment.
constexpr void print(text_writer& out, const verdict& v) noexcept {
  switch (v.code) {
    case verdict_code::pass: out << "accept"; return;
    case verdict_code::redirect: out << "redirect " << v.port; return;
    case verdict_code::drop:
      out << "drop";
      if (v.reason != drop_reason::policy && v.reason != drop_reason::none)
        out << " comment \"" << name(v.reason) << '"';
      return;
    default: out << name(v.code);
  }
}

namespace detail {

// All lines of a rule; `hits` may be null.
constexpr void print_rule(text_writer& out, const match::detail::printed_tree& t, const verdict& target,
                          const rule_counter* hits) noexcept {
  const std::size_t root = t.condition.root();
  const std::size_t lines = match::detail::lines_of(t, root, true);
  const bool all = lines <= 64;
  for (std::size_t i = 0; i < (all ? lines : 1); ++i) {
    match::detail::line l{out};
    if (all) match::detail::print_line(l, t, root, true, i);
    else match::detail::print_tree(l, t, root);
    if (hits != nullptr && i == 0) l.next() << "counter packets " << hits->packets << " bytes " << hits->bytes;
    print(l.next(), target);
    out << '\n';
  }
}
template <class Expression>
constexpr void print_rule_of(text_writer& out, const rule<Expression>& r, const rule_counter* hits) noexcept {
  if constexpr (std::is_same_v<Expression, condition>) print_rule(out, {r.condition}, r.target, hits);
  else print_rule(out, match::detail::printable<Expression>{r.condition}.tree(), r.target, hits);
}

}  // namespace detail

/// The lines of a rule, each with a newline.
template <match::match_expression Expression>
constexpr void print(text_writer& out, const rule<Expression>& r) noexcept {
  detail::print_rule_of(out, r, nullptr);
}
/// All rules, as they would stand in a chain with `policy accept`.
template <class... Rules>
constexpr void print(text_writer& out, const rules_of<Rules...>& all) noexcept {
  all.for_each([&](const auto& r) { print(out, r); });
}
/// All rules with their counters, each on the first line of its rule.
template <class Rules>
void print(text_writer& out, const counted_rules<Rules>& all) noexcept {
  std::size_t i = 0;
  all.without_counters().for_each([&](const auto& r) { detail::print_rule_of(out, r, &all.hits(i++)); });
}

}  // namespace runnel

#endif
