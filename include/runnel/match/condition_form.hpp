// SPDX-License-Identifier: MIT
// Makes the nodes of a condition from the types of a match expression.
#ifndef RUNNEL_MATCH_CONDITION_FORM_HPP
#define RUNNEL_MATCH_CONDITION_FORM_HPP

#include <cstddef>      // size_t
#include <cstdint>      // uint8_t, uint16_t, uint64_t
#include <type_traits>  // is_same_v

#include <runnel/base/text.hpp>
#include <runnel/match/condition_build.hpp>
#include <runnel/match/condition_node.hpp>
#include <runnel/match/constant_set.hpp>
#include <runnel/match/expression.hpp>
#include <runnel/match/in.hpp>
#include <runnel/match/meta.hpp>
#include <runnel/match/value.hpp>
#include <runnel/wire/address.hpp>
#include <runnel/wire/field.hpp>

namespace runnel {
class condition;

namespace match::detail {

// The description of an operand, from its type. Of one of the user's there is none but for printing.
template <class Operand>
struct description_of {
  static constexpr bool exists = false;
  static constexpr operand_description make(const Operand&) noexcept {
    operand_description d;
    d.bits = Operand::bits;
    d.value = kind_of_value<typename Operand::value_type>;
    d.is_custom = true;
    return d;
  }
  static custom_part part(const Operand& o) noexcept {
    custom_part p;
    p.what = &o;
    p.print = [](text_writer& out, const void* what) noexcept { static_cast<const Operand*>(what)->print(out); };
    if constexpr (requires(text_writer& out, const key& k) { o.print_value(out, k); })
      p.print_value = [](text_writer& out, const void* what, const std::uint64_t* words) noexcept {
        if constexpr (std::is_same_v<key, ipv6_address>)
          static_cast<const Operand*>(what)->print_value(out, ipv6_address{words[0], words[1]});
        else static_cast<const Operand*>(what)->print_value(out, words[0]);
      };
    return p;
  }

 private:
  using key = key_t<typename Operand::value_type>;
};
template <header H, unsigned Offset, unsigned Bits, class V>
struct description_of<field<H, Offset, Bits, V>> {
  static constexpr bool exists = true;
  static constexpr operand_description make(const field<H, Offset, Bits, V>& f) noexcept {
    operand_description d;
    d.name = f.name;
    d.in_header = H;
    d.offset = Offset;
    d.bits = Bits;
    d.value = kind_of_value<V>;
    return d;
  }
};
template <meta_key Key, unsigned Bits, class V>
struct description_of<meta_field<Key, Bits, V>> {
  static constexpr bool exists = true;
  static constexpr operand_description make(const meta_field<Key, Bits, V>&) noexcept {
    operand_description d;
    d.bits = Bits;
    d.value = kind_of_value<V>;
    d.is_meta = true;
    d.which = Key;
    return d;
  }
};
template <tunnel Around, class Field>
struct description_of<inner_field<Around, Field>> {
  static constexpr bool exists = true;
  static constexpr operand_description make(const inner_field<Around, Field>& f) noexcept {
    operand_description d = description_of<Field>::make(f.inside);
    d.is_inner = true;
    d.around = Around;
    return d;
  }
};
// A mask under a mask is what both have in common.
template <class Operand>
struct description_of<masked<Operand>> {
  using whole = description_of<Operand>;
  static constexpr bool exists = whole::exists;
  static constexpr operand_description make(const masked<Operand>& m) noexcept {
    operand_description d = whole::make(m.whole);
    d.is_masked = true;
    return d;
  }
  static constexpr typename masked<Operand>::key mask(const masked<Operand>& m) noexcept {
    if constexpr (requires { whole::mask(m.whole); }) return key_and(whole::mask(m.whole), m.mask);
    else return m.mask;
  }
  static custom_part part(const masked<Operand>& m) noexcept { return whole::part(m.whole); }
};

// The compile error that names `Part`, an operand or an expression, when that is of a type of the user's.
template <class Part, bool Known>
constexpr bool has_run_time_form() noexcept {
  static_assert(
      Known,
      "runnel: this part of an expression has no run-time form: conditions and rule lists are made of fields, "
      "meta::, has<>, ranges, prefixes, constants and sets, and know no operands or expressions of your own; "
      "use it in rules(...) or a handler");
  return Known;
}

// Each kind of expression: whether a condition can be made of it, how many nodes and words it takes, and `append`,
// which makes them. For printing there is a form of everything: `customs` counts the parts of types of the user's, and
// `conditions` those whose size is known when the program runs.
template <class Expression>
struct run_time_form {
  static constexpr bool exists = false;
  static constexpr bool check() noexcept { return has_run_time_form<Expression, false>(); }
  static constexpr std::size_t nodes = 1, words = 0, customs = 1, conditions = 0;
  static void append(condition_builder& to, const Expression& e) noexcept {
    condition_node n;
    n.kind = node_kind::custom;
    to.add(n);
    to.add_custom({&e, [](text_writer& out, const void* what) noexcept {
                     if constexpr (requires { e_of(what).print(out); }) e_of(what).print(out);
                     else out << "custom";
                   }});
  }

 private:
  static const Expression& e_of(const void* what) noexcept { return *static_cast<const Expression*>(what); }
};
template <class Expression, node_kind Kind, std::size_t Values>
struct leaf_form {
  using operand_type = typename Expression::operand_type;
  using description = description_of<operand_type>;
  static constexpr bool exists = description::exists;
  static constexpr bool check() noexcept { return has_run_time_form<operand_type, exists>(); }
  static constexpr bool is_masked = requires { &description::mask; };
  static constexpr std::size_t nodes = 1, customs = exists ? 0 : 1, conditions = 0;
  static constexpr std::size_t words =
      (Values + (is_masked ? 1 : 0)) *
      (std::is_same_v<key_t<typename operand_type::value_type>, ipv6_address> ? std::size_t{2} : std::size_t{1});

  static constexpr std::size_t start(condition_builder& to, const Expression& e) noexcept {
    condition_node n;
    n.kind = Kind;
    n.operand = description::make(e.left);
    n.values = Values;
    if constexpr (requires { Expression::inside; }) n.inside = Expression::inside;
    const std::size_t at = to.add(n);
    if constexpr (!exists) to.add_custom(description::part(e.left));
    if constexpr (is_masked) to.add_key(description::mask(e.left));
    return at;
  }
};
template <class Operand, relation Relation>
struct run_time_form<comparison<Operand, Relation>>
    : leaf_form<comparison<Operand, Relation>, node_kind::comparison, 1> {
  static constexpr void append(condition_builder& to, const comparison<Operand, Relation>& e) noexcept {
    to[run_time_form::start(to, e)].how = Relation;
    to.add_key(e.right);
  }
};
template <class Operand, bool Inside>
struct run_time_form<in_range<Operand, Inside>> : leaf_form<in_range<Operand, Inside>, node_kind::in_range, 2> {
  static constexpr void append(condition_builder& to, const in_range<Operand, Inside>& e) noexcept {
    run_time_form::start(to, e);
    to.add_key(e.first);
    to.add_key(e.last);
  }
};
template <class Operand, bool Inside>
struct run_time_form<in_prefix<Operand, Inside>> : leaf_form<in_prefix<Operand, Inside>, node_kind::in_prefix, 1> {
  static constexpr void append(condition_builder& to, const in_prefix<Operand, Inside>& e) noexcept {
    to[run_time_form::start(to, e)].length = static_cast<std::uint8_t>(e.length);
    to.add_key(e.address);
  }
};
template <class Operand, class V, std::size_t N, bool Inside>
struct run_time_form<in_constants<Operand, V, N, Inside>>
    : leaf_form<in_constants<Operand, V, N, Inside>, node_kind::in_constants, N> {
  static constexpr void append(condition_builder& to, const in_constants<Operand, V, N, Inside>& e) noexcept {
    const std::size_t at = run_time_form::start(to, e);
    std::uint16_t count = 0;
    for (std::size_t i = 0; i < N; ++i) {
      if (i != 0 && e.set.keys()[i] == e.set.keys()[i - 1]) continue;
      to.add_key(e.set.keys()[i]);
      ++count;
    }
    to[at].values = count;
  }
};
template <class Operand, class Set, bool Inside>
struct run_time_form<in_set<Operand, Set, Inside>> : leaf_form<in_set<Operand, Set, Inside>, node_kind::in_set, 0> {
  static constexpr void append(condition_builder& to, const in_set<Operand, Set, Inside>& e) noexcept {
    to[run_time_form::start(to, e)].set = {e.set, &functions_of_set<Set, typename Operand::value_type>};
  }
};
template <header H>
struct run_time_form<has_header<H>> {
  static constexpr bool exists = true;
  static constexpr bool check() noexcept { return true; }
  static constexpr std::size_t nodes = 1, words = 0, customs = 0, conditions = 0;
  static constexpr void append(condition_builder& to, const has_header<H>&) noexcept {
    condition_node n;
    n.kind = node_kind::has;
    n.operand.in_header = H;
    to.add(n);
  }
};
template <>
struct run_time_form<always> {
  static constexpr bool exists = true;
  static constexpr bool check() noexcept { return true; }
  static constexpr std::size_t nodes = 1, words = 0, customs = 0, conditions = 0;
  static constexpr void append(condition_builder& to, const always&) noexcept { to.add({}); }
};
template <class Inner>
struct run_time_form<negation<Inner>> {
  using inner = run_time_form<Inner>;
  static constexpr bool exists = inner::exists;
  static constexpr bool check() noexcept { return inner::check(); }
  static constexpr std::size_t nodes = inner::nodes + 1, words = inner::words, customs = inner::customs,
                               conditions = inner::conditions;
  static constexpr void append(condition_builder& to, const negation<Inner>& e) noexcept {
    inner::append(to, e.inner);
    to.negate();
  }
};
template <class Pair, class Left, class Right, node_kind Kind>
struct pair_form {
  using left = run_time_form<Left>;
  using right = run_time_form<Right>;
  static constexpr bool exists = left::exists && right::exists;
  static constexpr bool check() noexcept { return left::check() && right::check(); }
  static constexpr std::size_t nodes = left::nodes + right::nodes + 1, words = left::words + right::words,
                               customs = left::customs + right::customs,
                               conditions = left::conditions + right::conditions;
  static constexpr void append(condition_builder& to, const Pair& e) noexcept {
    left::append(to, e.left);
    const std::size_t at = to.size() - 1;
    right::append(to, e.right);
    to.join(Kind, at);
  }
};
template <class Left, class Right>
struct run_time_form<both<Left, Right>> : pair_form<both<Left, Right>, Left, Right, node_kind::both> {};
template <class Left, class Right>
struct run_time_form<either<Left, Right>> : pair_form<either<Left, Right>, Left, Right, node_kind::either> {};
// At least one node; how many there are is known when it runs.
template <>
struct run_time_form<condition> {
  static constexpr bool exists = true;
  static constexpr bool check() noexcept { return true; }
  static constexpr std::size_t nodes = 1, words = 0, customs = 0, conditions = 1;
  static constexpr void append(condition_builder& to, const condition_view& c) noexcept { to.add_tree(c); }
};

}  // namespace match::detail
}  // namespace runnel

#endif
