// SPDX-License-Identifier: MIT
// A match expression as plain data: the nodes of a tree, the values that they compare with, the sets that they ask.
// Whoever translates conditions walks these; `condition` (condition.hpp) makes and holds them.
//
// Children stand before their parents. The right child of `both` and `either`, and the only one of `negation`, is the
// node right before them; `left` says where the other one is; the last node is the root. `tcp dport 22 and not arp`:
//
//     0  comparison tcp dport 22     yes 1     no never
//     1  has arp                     yes never no always
//     2  negation of 1
//     3  both, left 0, right 2
//
// To decide, nobody needs the tree: each node without children says where to go on, `yes` or `no`. Jumps only go
// forward, so that a packet costs at most one test for each.
#ifndef RUNNEL_MATCH_CONDITION_NODE_HPP
#define RUNNEL_MATCH_CONDITION_NODE_HPP

#include <cstddef>      // size_t
#include <cstdint>      // uint8_t, uint16_t, uint64_t
#include <type_traits>  // is_same_v, is_base_of_v

#include <runnel/config.hpp>
#include <runnel/match/expression.hpp>
#include <runnel/match/hash_set.hpp>
#include <runnel/match/interval_set.hpp>
#include <runnel/match/meta.hpp>
#include <runnel/match/prefix_set.hpp>
#include <runnel/match/value.hpp>
#include <runnel/wire/address.hpp>
#include <runnel/wire/field.hpp>

namespace runnel::match {

/// What a node asks. The types of the same names in expression.hpp and in.hpp say what each means.
enum class node_kind : std::uint8_t {
  always,        ///< holds for every packet
  has,           ///< the packet has header `operand.in_header`, `fixed_size` bytes of it
  comparison,    ///< `operand` `how` the one value
  in_range,      ///< `operand` lies from the first of two values to the second
  in_prefix,     ///< the highest `length` bits of `operand` are those of the one value
  in_constants,  ///< `operand` is one of the values, which rise
  in_set,        ///< `operand` is in `set`
  both,          ///< the nodes at `left` and right before this one hold
  either,        ///< one of them holds
  negation,      ///< the node right before this one does not hold
  custom,        ///< an expression of a type of the user's. Only printing makes such a node: a `condition` has none
};
/// What the values of an operand are, as text has them.
enum class value_kind : std::uint8_t { number, ipv4, ipv6, mac, time };

/// What is compared: a header field or a value of namespace `meta`, perhaps inside a tunnel, perhaps under a mask.
struct operand_description {
  /// `field::name`; null for metadata, and for bytes without a name.
  const char* name = nullptr;
  /// The header that the field belongs to; as for `field`.
  header in_header = header::ethernet;
  /// The first bit of the field in it.
  std::uint16_t offset = 0;
  /// How many bits there are: 128 for an IPv6 address, 64 at most otherwise.
  std::uint8_t bits = 0;
  /// What the value is.
  value_kind value = value_kind::number;
  /// Whether it is the value `which` of namespace `meta`, and no field.
  bool is_meta = false;
  /// Which metadata.
  meta_key which = meta_key::length;
  /// Whether the field is one of the packet inside a tunnel.
  bool is_inner = false;
  /// Which tunnel.
  tunnel around = tunnel::vxlan;
  /// Whether a mask is laid over the value first.
  bool is_masked = false;
  /// Whether it is an operand of a type of the user's. Only printing makes such a description.
  bool is_custom = false;

  /// How many words a value takes.
  [[nodiscard]] constexpr unsigned words() const noexcept { return value == value_kind::ipv6 ? 2 : 1; }
};

/// What is known of the type of a set.
enum class set_kind : std::uint8_t {
  hash_set,
  prefix_set,
  interval_set,
  other,  ///< one of the user's: its values are not known
};
/// What a set holds, in the form that all sets have: the values from `first` to `last`. Numbers are in the lower half.
struct set_element {
  /// The smallest and the largest value. @{
  ipv6_address first;
  ipv6_address last;
  /// @}
  /// Of a prefix its length; else all bits of the value.
  unsigned length;
};
/// What can be done with a set whose type is not known any more.
struct set_functions {
  /// What kind of a set it is.
  set_kind kind;
  /// What its values are, and how many bits they have. @{
  value_kind value;
  std::uint8_t bits;
  /// @}
  /// Whether a value is in it: the one for IPv6 addresses or the one for all others; the other one is null. @{
  bool (*contains)(const void* set, std::uint64_t key) noexcept;
  bool (*contains_ipv6)(const void* set, const ipv6_address& key) noexcept;
  /// @}
  /// What it is called: "set" when it says nothing.
  const char* (*name)(const void* set) noexcept;
  /// How many values it has room for; 0 when it does not say.
  std::size_t (*capacity)(const void* set) noexcept;
  /// Calls `take(context, element)` for each of its elements. Null for a set of kind `other`.
  void (*for_each)(const void* set, void* context, void (*take)(void* context, const set_element&));
};

namespace detail {

template <class Value>
inline constexpr value_kind kind_of_value = std::is_same_v<Value, ipv4_address>   ? value_kind::ipv4
                                            : std::is_same_v<Value, ipv6_address> ? value_kind::ipv6
                                            : std::is_same_v<Value, mac_address>  ? value_kind::mac
                                            : std::is_same_v<Value, instant>      ? value_kind::time
                                                                                  : value_kind::number;
template <class Value>
inline constexpr std::uint8_t bits_of_value =
    static_cast<std::uint8_t>(std::is_same_v<Value, mac_address> ? 48 : sizeof(Value) * 8);

[[nodiscard]] constexpr ipv6_address wide(std::uint64_t k) noexcept { return {0, k}; }
[[nodiscard]] constexpr ipv6_address wide(const ipv6_address& k) noexcept { return k; }

template <class T>
inline constexpr bool is_interval_set = false;
template <class V, std::size_t N>
inline constexpr bool is_interval_set<interval_set<V, N>> = true;
// The type of the values in a set; that of what it is asked about when it does not say.
template <class Set, class Value>
struct stored_in {
  using type = Value;
};
template <class Set, class Value>
  requires requires { typename Set::value_type; }
struct stored_in<Set, Value> {
  using type = typename Set::value_type;
};

// The functions of a set that is asked about values of type `Value`.
template <class Set, class Value>
struct set_access {
  using key = key_t<Value>;
  using stored = typename stored_in<Set, Value>::type;

  static const Set& of(const void* set) noexcept { return *static_cast<const Set*>(set); }
  static bool contains(const void* set, std::uint64_t k) noexcept {
    if constexpr (std::is_same_v<key, std::uint64_t>)
      return to_key(from_key<stored>(k)) == k && of(set).contains(from_key<stored>(k));
    else return false;
  }
  static bool contains_ipv6(const void* set, const ipv6_address& k) noexcept {
    if constexpr (std::is_same_v<key, ipv6_address>) return of(set).contains(k);
    else return false;
  }
  static const char* name(const void* set) noexcept {
    if constexpr (requires { static_cast<const char*>(of(set).name()); }) return of(set).name();
    else return "set";
  }
  static constexpr set_kind kind_of() noexcept {
    if constexpr (is_interval_set<Set>) return set_kind::interval_set;
    else if constexpr (std::is_base_of_v<hash_set<stored>, Set>) return set_kind::hash_set;
    else if constexpr (std::is_same_v<stored, ipv4_address> || std::is_same_v<stored, ipv6_address>)
      return std::is_base_of_v<prefix_set<stored>, Set> ? set_kind::prefix_set : set_kind::other;
    else return set_kind::other;
  }
  static constexpr set_kind kind = kind_of();

  static std::size_t capacity(const void* set) noexcept {
    if constexpr (requires { static_cast<std::size_t>(of(set).capacity()); }) return of(set).capacity();
    else return 0;
  }
  static void for_each(const void* set, void* context, void (*take)(void*, const set_element&)) {
    constexpr unsigned all = bits_of_value<stored>;
    if constexpr (kind == set_kind::hash_set) {
      of(set).for_each([&](const stored& v) { take(context, {wide(to_key(v)), wide(to_key(v)), all}); });
    } else if constexpr (kind == set_kind::prefix_set) {
      of(set).for_each([&](const basic_prefix<stored>& p) {
        const ipv6_address first = wide(to_key(p.address()));
        const ipv6_address mask = wide(prefix_mask<key_t<stored>, all>(p.length()));
        const ipv6_address whole = wide(prefix_mask<key_t<stored>, all>(all));
        take(context, {first,
                       {first.high() | (whole.high() & ~mask.high()), first.low() | (whole.low() & ~mask.low())},
                       p.length()});
      });
    } else if constexpr (kind == set_kind::interval_set) {
      of(set).for_each([&](const auto& a, const auto& b) { take(context, {wide(to_key(a)), wide(to_key(b)), all}); });
    }
  }
};
template <class Set, class Value>
inline constexpr set_functions functions_of_set{
    set_access<Set, Value>::kind,
    kind_of_value<Value>,
    bits_of_value<Value>,
    std::is_same_v<Value, ipv6_address> ? nullptr : &set_access<Set, Value>::contains,
    std::is_same_v<Value, ipv6_address> ? &set_access<Set, Value>::contains_ipv6 : nullptr,
    &set_access<Set, Value>::name,
    &set_access<Set, Value>::capacity,
    set_access<Set, Value>::kind == set_kind::other ? nullptr : &set_access<Set, Value>::for_each};

}  // namespace detail

/// A set whose type is not known any more, by pointer: the set must outlive it, and may change.
struct set_reference {
  /// The set; null for none.
  const void* set = nullptr;
  /// What can be done with it.
  const set_functions* functions = nullptr;

  constexpr set_reference() noexcept = default;
  /// Of a set and its functions.
  constexpr set_reference(const void* s, const set_functions* f) noexcept : set(s), functions(f) {}
  /// Of a set of the library, or one of your own that names its `value_type`. Implicit, for lists of named sets.
  template <class Set>
    requires requires { typename Set::value_type; }
  constexpr set_reference(const Set& s) noexcept
      : set(&s), functions(&detail::functions_of_set<Set, typename Set::value_type>) {}

  /// What the set is called.
  [[nodiscard]] const char* name() const noexcept { return functions->name(set); }
};

/// One node of a condition. Of its members those count that its kind names.
struct condition_node {
  /// What is asked about; of `has` its `in_header`.
  operand_description operand{};
  /// The set of `in_set`.
  set_reference set{};
  /// What the node asks.
  node_kind kind = node_kind::always;
  /// How `comparison` compares.
  relation how = relation::equal;
  /// Of the kinds with `in`: false for `not_in`.
  bool inside = true;
  /// The length of the prefix of `in_prefix`.
  std::uint8_t length = 0;
  /// Where its words begin: the mask, if there is one, then the values. Each takes `operand.words()`.
  std::uint16_t word = 0;
  /// How many values there are, the mask left aside.
  std::uint16_t values = 0;
  /// The left child of `both` and `either`; for printing, which of the user's operands or expressions it is.
  std::uint16_t left = 0;
  /// Where to go on when the node holds, and when it does not. For nodes without children. @{
  std::uint16_t yes = 0;
  std::uint16_t no = 0;
  /// @}

  /// The places behind all nodes where the answer is known. @{
  static constexpr std::uint16_t holds = 0xffff;
  static constexpr std::uint16_t fails = 0xfffe;
  /// @}

  /// Whether it is about an operand.
  [[nodiscard]] constexpr bool has_operand() const noexcept {
    return kind >= node_kind::comparison && kind <= node_kind::in_set;
  }
  /// Whether it has children.
  [[nodiscard]] constexpr bool has_children() const noexcept {
    return kind == node_kind::both || kind == node_kind::either || kind == node_kind::negation;
  }
  /// How many words it has.
  [[nodiscard]] constexpr std::size_t words() const noexcept {
    return std::size_t{operand.words()} * ((operand.is_masked ? 1u : 0u) + std::size_t{values});
  }
};

/// A condition that somebody else holds: its nodes and their words. At least one node.
struct condition_view {
  /// The nodes, children before their parents.
  const condition_node* nodes;
  /// How many there are.
  std::size_t size;
  /// The values of all nodes: host order, of an IPv6 address the upper half first.
  const std::uint64_t* words;

  /// The last node.
  [[nodiscard]] constexpr std::size_t root() const noexcept { return size - 1; }
  /// The mask of a node that has one; a number. `Key` is what values are compared as.
  template <class Key>
  [[nodiscard]] constexpr Key mask(const condition_node& n) const noexcept {
    return at<Key>(n.word);
  }
  /// Value `i` of a node.
  template <class Key>
  [[nodiscard]] constexpr Key value(const condition_node& n, std::size_t i) const noexcept {
    constexpr std::size_t width = std::is_same_v<Key, ipv6_address> ? 2 : 1;
    return at<Key>(n.word + (n.operand.is_masked ? width : 0) + width * i);
  }

  /// The value that begins at a word.
  template <class Key>
  [[nodiscard]] constexpr Key at(std::size_t word) const noexcept {
    if constexpr (std::is_same_v<Key, ipv6_address>) return {words[word], words[word + 1]};
    else return words[word];
  }
};

}  // namespace runnel::match

#endif
