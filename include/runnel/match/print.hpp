// SPDX-License-Identifier: MIT
// Prints match expressions and rules as nft writes them, so that they can be read, compared and loaded there.
//
// A rule is one line, or several where it takes several: nft joins conditions by "and" only, so a rule with || is
// printed once for each alternative, all with its verdict, and `!(...)` is resolved: `!(tcp::dport == 22)` becomes the
// lines `meta protocol != { ip, ip6 }`, `meta l4proto != tcp` and `tcp dport != 22`. A rule with more than 64
// alternatives is printed as one line with `or` and `not`, which nft does not know.
//
// What nft does not know either is printed in its manner: `meta hash` and `meta queue`; fields of `cvlan`, `mpls`,
// `llc` and `snap`; `gre key` and its like; what neighbour discovery has beside `icmpv6 taddr` and `daddr`; IP options
// by number; `ipip`; the verdicts `tx`, `redirect 2`, `stolen` and `aborted`. What versions newer
// than 1.0.6 know: `vxlan`, `gre` and what is inside them, `icmpv6 taddr` and `daddr`.
//
// Three times nft's words mean a little more: `has<tcp>` is printed as `meta l4proto tcp`, which also holds for later
// fragments; an option that is there, but too short for the field, is not among the lines of a negation; and for nft
// the list of TCP options does not end at the "end of list".
#ifndef RUNNEL_MATCH_PRINT_HPP
#define RUNNEL_MATCH_PRINT_HPP

#include <cstddef>  // size_t

#include <runnel/base/text.hpp>
#include <runnel/match/expression.hpp>
#include <runnel/match/in.hpp>
#include <runnel/match/meta.hpp>
#include <runnel/match/print_condition.hpp>
#include <runnel/match/rules.hpp>
#include <runnel/packet/drop_reason.hpp>
#include <runnel/packet/verdict.hpp>

namespace runnel {
namespace match {
namespace detail {

// When an operand has no value: how many lines say so, and what they say. -1 when nft has no words for it.
template <class Operand>
struct absence {
  static constexpr int lines = -1;
};
template <header H, unsigned Offset, unsigned Bits, class V>
struct absence<field<H, Offset, Bits, V>> {
  static constexpr int lines = static_cast<int>(lines_without(H));
  static constexpr void print(line& l, std::size_t which) noexcept { print_without(l, H, which); }
};
template <meta_key Key, unsigned Bits, class V>
struct absence<meta_field<Key, Bits, V>> {
  static constexpr int lines = Key == meta_key::l4proto ? 1 : 0;
  static constexpr void print(line& l, std::size_t) noexcept { l.next() << "meta protocol != { ip, ip6 }"; }
};
template <class Operand>
struct absence<masked<Operand>> : absence<Operand> {};

// Each kind of expression: `lines<Positive>`, how many lines it takes to say that it holds (or not), and
// `print<Positive>`, which prints one of them.
template <class Expression>
struct printer {
  template <bool Positive>
  static constexpr std::size_t lines = 1;
  template <bool Positive>
  static constexpr void print(line& l, const Expression& e, std::size_t) noexcept {
    l.next() << (Positive ? "" : "not (");
    if constexpr (requires { e.print(l.out); }) e.print(l.out);
    else l.out << "custom";
    if (!Positive) l.out << ')';
  }
};

// A condition on an operand: prints itself, its opposite, or that the operand has no value.
template <class Expression>
struct leaf_printer {
  using operand_type = typename Expression::operand_type;
  using without = absence<operand_type>;
  template <bool Positive>
  static constexpr std::size_t lines =
      Positive || without::lines < 0 ? 1 : 1 + static_cast<std::size_t>(without::lines);

  template <bool Positive>
  static constexpr void print(line& l, const Expression& e, std::size_t which) noexcept {
    if constexpr (Positive) {
      print_condition<true>(l, e);
    } else if constexpr (without::lines < 0) {
      l.next() << "not (";
      line inner{l.out};
      print_condition<true>(inner, e);
      l.out << ')';
    } else {
      if (which < static_cast<std::size_t>(without::lines)) without::print(l, which);
      else print_condition<false>(l, e);
    }
  }
  template <bool Positive>
  static constexpr void print_condition(line& l, const Expression& e) noexcept {
    if constexpr (told_before<operand_type>::needed) print_with(l, told_before<operand_type>::what);
    text_writer& out = l.next();
    print_operand(out, e.left);
    print_rest<Positive>(out, e);
  }
};

template <class Operand, relation Relation>
struct printer<comparison<Operand, Relation>> : leaf_printer<comparison<Operand, Relation>> {};
template <class Operand, bool Inside>
struct printer<in_range<Operand, Inside>> : leaf_printer<in_range<Operand, Inside>> {};
template <class Operand, bool Inside>
struct printer<in_prefix<Operand, Inside>> : leaf_printer<in_prefix<Operand, Inside>> {};
template <class Operand, class V, std::size_t N, bool Inside>
struct printer<in_constants<Operand, V, N, Inside>> : leaf_printer<in_constants<Operand, V, N, Inside>> {};
template <class Operand, class Set, bool Inside>
struct printer<in_set<Operand, Set, Inside>> : leaf_printer<in_set<Operand, Set, Inside>> {};

template <header H>
struct printer<has_header<H>> {
  template <bool Positive>
  static constexpr std::size_t lines = Positive ? 1 : lines_without(H);
  template <bool Positive>
  static constexpr void print(line& l, const has_header<H>&, std::size_t which) noexcept {
    if constexpr (Positive) print_with(l, H);
    else print_without(l, H, which);
  }
};
template <>
struct printer<always> {
  template <bool Positive>
  static constexpr std::size_t lines = Positive ? 1 : 0;
  template <bool Positive>
  static constexpr void print(line&, const always&, std::size_t) noexcept {}
};
template <class Inner>
struct printer<negation<Inner>> {
  template <bool Positive>
  static constexpr std::size_t lines = printer<Inner>::template lines<!Positive>;
  template <bool Positive>
  static constexpr void print(line& l, const negation<Inner>& e, std::size_t which) noexcept {
    printer<Inner>::template print<!Positive>(l, e.inner, which);
  }
};
// "And" and "or", and each the other when it is not to hold: all pairs of lines, or the lines of both in turn.
template <class Pair, class Left, class Right, bool IsBoth>
struct pair_printer {
  template <bool Positive>
  static constexpr std::size_t left = printer<Left>::template lines<Positive>;
  template <bool Positive>
  static constexpr std::size_t right = printer<Right>::template lines<Positive>;
  template <bool Positive>
  static constexpr std::size_t lines =
      Positive == IsBoth ? left<Positive> * right<Positive> : left<Positive> + right<Positive>;

  template <bool Positive>
  static constexpr void print(line& l, const Pair& e, std::size_t which) noexcept {
    if constexpr (Positive == IsBoth) {
      printer<Left>::template print<Positive>(l, e.left, which / right<Positive>);
      printer<Right>::template print<Positive>(l, e.right, which % right<Positive>);
    } else if (which < left<Positive>) {
      printer<Left>::template print<Positive>(l, e.left, which);
    } else {
      printer<Right>::template print<Positive>(l, e.right, which - left<Positive>);
    }
  }
};
template <class Left, class Right>
struct printer<both<Left, Right>> : pair_printer<both<Left, Right>, Left, Right, true> {};
template <class Left, class Right>
struct printer<either<Left, Right>> : pair_printer<either<Left, Right>, Left, Right, false> {};

// One line for the whole tree.
template <class Expression>
constexpr void print_tree(line& l, const Expression& e) noexcept {
  printer<Expression>::template print<true>(l, e, 0);
}
template <class Part>
inline constexpr bool is_either = false;
template <class Left, class Right>
inline constexpr bool is_either<either<Left, Right>> = true;
template <class Part>
inline constexpr bool is_both = false;
template <class Left, class Right>
inline constexpr bool is_both<both<Left, Right>> = true;

template <class Left, class Right>
constexpr void print_tree(line& l, const both<Left, Right>& e) noexcept;
template <class Left, class Right>
constexpr void print_tree(line& l, const either<Left, Right>& e) noexcept;
template <class Inner>
constexpr void print_tree(line& l, const negation<Inner>& e) noexcept {
  l.next() << "not (";
  line inner{l.out};
  print_tree(inner, e.inner);
  l.out << ')';
}
template <bool InBrackets, class Part>
constexpr void print_part(line& l, const Part& e) noexcept {
  if constexpr (InBrackets) {
    l.next() << '(';
    line inner{l.out};
    print_tree(inner, e);
    l.out << ')';
  } else {
    print_tree(l, e);
  }
}
template <class Left, class Right>
constexpr void print_tree(line& l, const both<Left, Right>& e) noexcept {
  print_part<is_either<Left>>(l, e.left);
  print_part<is_either<Right>>(l, e.right);
}
template <class Left, class Right>
constexpr void print_tree(line& l, const either<Left, Right>& e) noexcept {
  print_part<is_both<Left>>(l, e.left);
  l.next() << "or";
  print_part<is_both<Right>>(l, e.right);
}

template <class Expression>
inline constexpr std::size_t lines_of = printer<Expression>::template lines<true>;

}  // namespace detail

/// The expression on one line, as the left side of an nft rule. What joins conditions in another way than nft's "and"
/// is printed as `a or b`, `(a or b) c`, `not (a)`.
template <match_expression Expression>
constexpr void print(text_writer& out, const Expression& e) noexcept {
  detail::line l{out};
  detail::print_tree(l, e);
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

template <class Expression>
constexpr void print_rule(text_writer& out, const rule<Expression>& r, const rule_counter* hits) noexcept {
  constexpr std::size_t lines = match::detail::lines_of<Expression>;
  constexpr bool all = lines <= 64;
  for (std::size_t i = 0; i < (all ? lines : 1); ++i) {
    match::detail::line l{out};
    if constexpr (all) match::detail::printer<Expression>::template print<true>(l, r.condition, i);
    else match::detail::print_tree(l, r.condition);
    if (hits != nullptr && i == 0) l.next() << "counter packets " << hits->packets << " bytes " << hits->bytes;
    print(l.next(), r.target);
    out << '\n';
  }
}

}  // namespace detail

/// The lines of a rule, each with a newline.
template <match::match_expression Expression>
constexpr void print(text_writer& out, const rule<Expression>& r) noexcept {
  detail::print_rule(out, r, nullptr);
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
  all.without_counters().for_each([&](const auto& r) { detail::print_rule(out, r, &all.hits(i++)); });
}

}  // namespace runnel

#endif
