// SPDX-License-Identifier: MIT
// Makes the nodes of a condition: one after the other, and from the types of a match expression.
#ifndef RUNNEL_MATCH_CONDITION_BUILD_HPP
#define RUNNEL_MATCH_CONDITION_BUILD_HPP

#include <cstddef>      // size_t
#include <cstdint>      // uint8_t, uint16_t, uint64_t
#include <type_traits>  // is_same_v

#include <runnel/config.hpp>
#include <runnel/match/condition_node.hpp>
#include <runnel/match/constant_set.hpp>
#include <runnel/match/expression.hpp>
#include <runnel/match/in.hpp>
#include <runnel/match/meta.hpp>
#include <runnel/match/value.hpp>
#include <runnel/wire/field.hpp>

namespace runnel {
class condition;

namespace match::detail {

// Appends nodes to memory of the caller's. When there is no room any more, `full()` says so, and the rest is lost.
class condition_builder {
 public:
  constexpr condition_builder(condition_node* nodes, std::size_t node_room, std::uint64_t* words,
                              std::size_t word_room) noexcept
      : nodes_(nodes), words_(words), node_room_(node_room), word_room_(word_room) {}

  [[nodiscard]] constexpr std::size_t size() const noexcept { return size_; }
  [[nodiscard]] constexpr std::size_t words() const noexcept { return word_count_; }
  [[nodiscard]] constexpr bool full() const noexcept { return full_; }
  [[nodiscard]] constexpr condition_node& operator[](std::size_t i) noexcept { return nodes_[i]; }
  [[nodiscard]] constexpr condition_view view() const noexcept { return {nodes_, size_, words_}; }

  // Returns where the node is. Words that are appended next are its own.
  constexpr std::size_t add(const condition_node& n) noexcept {
    if (size_ == node_room_) {
      full_ = true;
      return size_ - 1;
    }
    nodes_[size_] = n;
    nodes_[size_].word = static_cast<std::uint16_t>(word_count_);
    return size_++;
  }
  constexpr void add_word(std::uint64_t w) noexcept {
    if (word_count_ == word_room_) full_ = true;
    else words_[word_count_++] = w;
  }
  constexpr void add_key(std::uint64_t k) noexcept { add_word(k); }
  constexpr void add_key(const ipv6_address& k) noexcept {
    add_word(k.high());
    add_word(k.low());
  }
  // `both` or `either` of the tree at `left` and the one that is last.
  constexpr void join(node_kind kind, std::size_t left) noexcept {
    condition_node n;
    n.kind = kind;
    n.left = static_cast<std::uint16_t>(left);
    add(n);
  }
  constexpr void negate() noexcept {
    condition_node n;
    n.kind = node_kind::negation;
    add(n);
  }
  // A copy of a whole tree.
  constexpr void add_tree(const condition_view& c) noexcept {
    const std::size_t begin = size_;
    for (std::size_t i = 0; i < c.size && !full_; ++i) {
      const std::size_t from = c.nodes[i].word, count = c.nodes[i].has_operand() ? c.nodes[i].words() : 0;
      const std::size_t at = add(c.nodes[i]);
      if (full_) return;
      nodes_[at].left = static_cast<std::uint16_t>(c.nodes[i].left + begin);
      for (std::size_t w = 0; w < count; ++w) add_word(c.words[from + w]);
    }
  }
  // Drops the last nodes, and their words, so that `size` are left.
  constexpr void cut(std::size_t size) noexcept {
    if (size >= size_) return;
    word_count_ = nodes_[size].word;
    size_ = size;
  }
  // Holds for no packet.
  constexpr void make_never() noexcept {
    size_ = word_count_ = 0;
    full_ = false;
    add({});
    negate();
  }
  // Says where each node goes on. Parents come first here: a node knows where to go before its children ask.
  constexpr void link() noexcept {
    if (size_ == 0) return;
    nodes_[size_ - 1].yes = condition_node::holds;
    nodes_[size_ - 1].no = condition_node::fails;
    for (std::size_t i = size_; i-- != 0;) {
      const condition_node& n = nodes_[i];
      if (!n.has_children()) continue;
      condition_node& last = nodes_[i - 1];
      last.yes = n.kind == node_kind::negation ? n.no : n.yes;
      last.no = n.kind == node_kind::negation ? n.yes : n.no;
      if (n.kind == node_kind::negation) continue;
      // The tree of the right child begins behind the left one.
      const auto right = static_cast<std::uint16_t>(n.left + 1u);
      nodes_[n.left].yes = n.kind == node_kind::both ? right : n.yes;
      nodes_[n.left].no = n.kind == node_kind::both ? n.no : right;
    }
  }

 private:
  condition_node* nodes_;
  std::uint64_t* words_;
  std::size_t node_room_;
  std::size_t word_room_;
  std::size_t size_ = 0;
  std::size_t word_count_ = 0;
  bool full_ = false;
};

// The description of an operand, from its type.
template <class Operand>
struct description_of {
  static constexpr bool exists = false;
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
template <class Operand>
struct description_of<masked<Operand>> {
  // A mask under a mask has no description.
  static constexpr bool exists = description_of<Operand>::exists && !requires(const Operand& o) { o.mask; };
  static constexpr operand_description make(const masked<Operand>& m) noexcept {
    operand_description d = description_of<Operand>::make(m.whole);
    d.is_masked = true;
    return d;
  }
  static constexpr const auto& mask(const masked<Operand>& m) noexcept { return m.mask; }
};

// Each kind of expression: how many nodes and words it takes, and `append`, which makes them.
template <class Expression>
struct run_time_form {
  static constexpr bool exists = false;
};
template <class Expression, node_kind Kind, std::size_t Values>
struct leaf_form {
  using operand_type = typename Expression::operand_type;
  using description = description_of<operand_type>;
  static constexpr bool exists = description::exists;
  static constexpr bool is_masked = requires { &description::mask; };
  static constexpr std::size_t nodes = 1;
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
  static constexpr std::size_t nodes = 1, words = 0;
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
  static constexpr std::size_t nodes = 1, words = 0;
  static constexpr void append(condition_builder& to, const always&) noexcept { to.add({}); }
};
template <class Inner>
struct run_time_form<negation<Inner>> {
  using inner = run_time_form<Inner>;
  static constexpr bool exists = inner::exists;
  static constexpr std::size_t nodes = [] {
    if constexpr (exists) return inner::nodes + 1;
    else return std::size_t{0};
  }();
  static constexpr std::size_t words = [] {
    if constexpr (exists) return inner::words;
    else return std::size_t{0};
  }();
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
  static constexpr std::size_t nodes = [] {
    if constexpr (exists) return left::nodes + right::nodes + 1;
    else return std::size_t{0};
  }();
  static constexpr std::size_t words = [] {
    if constexpr (exists) return left::words + right::words;
    else return std::size_t{0};
  }();
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
  static constexpr std::size_t nodes = 1, words = 0;
  static constexpr void append(condition_builder& to, const condition_view& c) noexcept { to.add_tree(c); }
};

}  // namespace match::detail
}  // namespace runnel

#endif
