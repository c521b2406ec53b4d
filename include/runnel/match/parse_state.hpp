// SPDX-License-Identifier: MIT
// What the parts of the parser of rule texts share: where they read, where nodes go, which sets have names.
#ifndef RUNNEL_MATCH_PARSE_STATE_HPP
#define RUNNEL_MATCH_PARSE_STATE_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint8_t, uint16_t, uint64_t

#include <runnel/match/condition_build.hpp>
#include <runnel/match/condition_node.hpp>
#include <runnel/match/parse_text.hpp>
#include <runnel/match/print_condition.hpp>
#include <runnel/wire/field.hpp>

namespace runnel {

/// What a text may name: sets, `ip saddr @blocklist`, and interfaces, `iifname "lan"`. Lists that the caller keeps; the
/// sets must outlive what was read.
///
///     const match::set_reference sets[] = {blocklist, ports};
///     auto read = parse_rules(text, sets);
struct named_sets {
  /// The sets, and how many there are. @{
  const match::set_reference* begin = nullptr;
  std::size_t size = 0;
  /// @}
  /// The names of the interfaces 1, 2, ..., as `iif` and `oif` count them, and how many there are. A null pointer has
  /// no name. @{
  const char* const* interfaces = nullptr;
  std::size_t interface_count = 0;
  /// @}

  constexpr named_sets() noexcept = default;
  /// All of a list.
  template <std::size_t N>
  constexpr named_sets(const match::set_reference (&all)[N]) noexcept : begin(all), size(N) {}
};

namespace match::detail {

// Where nodes go, with what they all need. The tree that was added last is at `last()`.
class node_writer {
 public:
  node_writer(text_cursor& in, condition_builder& to) noexcept : in_(in), to_(to) {}

  [[nodiscard]] std::size_t size() const noexcept { return to_.size(); }
  [[nodiscard]] std::size_t last() const noexcept { return to_.size() - 1; }
  [[nodiscard]] const condition_node& operator[](std::size_t i) const noexcept { return to_[i]; }
  [[nodiscard]] condition_view view() const noexcept { return to_.view(); }

  void always() noexcept { add({}); }
  void has(header h) noexcept {
    condition_node n;
    n.kind = node_kind::has;
    n.operand.in_header = h;
    add(n);
  }
  // A node about an operand, its mask and values; the values follow in `keys`.
  template <class Key>
  void leaf(const condition_node& n, const Key& mask, const Key* keys) noexcept {
    if (!add(n)) return;
    if (n.operand.is_masked) to_.add_key(mask);
    for (std::size_t i = 0; i < n.values; ++i) to_.add_key(keys[i]);
    check();
  }
  template <class Key>
  void compare(const operand_description& d, relation how, const Key& key) noexcept {
    condition_node n;
    n.operand = d;
    n.kind = node_kind::comparison;
    n.how = how;
    n.values = 1;
    leaf(n, Key{}, &key);
  }
  template <class Key>
  void prefix(const operand_description& d, const Key& address, unsigned length) noexcept {
    condition_node n;
    n.operand = d;
    n.kind = node_kind::in_prefix;
    n.length = static_cast<std::uint8_t>(length);
    n.values = 1;
    leaf(n, Key{}, &address);
  }
  template <class Key>
  void range(const operand_description& d, const Key& first, const Key& last) noexcept {
    const Key both[] = {first, last};
    condition_node n;
    n.operand = d;
    n.kind = node_kind::in_range;
    n.values = 2;
    leaf(n, Key{}, both);
  }
  template <std::size_t N>
  void constants(const operand_description& d, const std::uint64_t (&keys)[N]) noexcept {
    condition_node n;
    n.operand = d;
    n.kind = node_kind::in_constants;
    n.values = N;
    leaf(n, std::uint64_t{0}, keys);
  }
  void negate() noexcept {
    condition_node n;
    n.kind = node_kind::negation;
    add(n);
  }
  // `both` or `either` of the tree at `left` and the last one. A chain leans to the left, however it was written, as
  // the brackets of a chain are not printed.
  void join(node_kind kind, std::size_t left) noexcept {
    std::size_t first = last();
    if (!in_.good()) return;
    while (to_[first].kind == kind && !is_missing({to_.view()}, first)) first = to_[first].left;
    const bool leans = first == last();
    condition_node n;
    n.kind = kind;
    n.left = static_cast<std::uint16_t>(left);
    if (!add(n) || leans) return;
    for (std::size_t i = last(); i > first + 1; --i) {
      const std::size_t word = to_[i].word;
      to_[i] = to_[i - 1];
      if (i == last()) to_[i].word = static_cast<std::uint16_t>(word);
      if (to_[i].has_children() && to_[i].left >= first) ++to_[i].left;
    }
    const std::uint16_t word = to_[first + 2].word;
    to_[first + 1] = n;
    to_[first + 1].word = word;
  }
  // How many brackets stand inside each other when the last tree is printed. Kept where the jumps will be.
  [[nodiscard]] unsigned printed_depth() noexcept {
    for (std::size_t i = 0; i < size(); ++i) {
      condition_node& n = to_[i];
      n.yes = 0;
      if (n.kind == node_kind::negation) n.yes = static_cast<std::uint16_t>(to_[i - 1].yes + 1u);
      if (n.kind != node_kind::both && n.kind != node_kind::either) continue;
      const auto depth_of = [&n](const condition_node& part) {
        const node_kind other = n.kind == node_kind::both ? node_kind::either : node_kind::both;
        return static_cast<std::uint16_t>(part.yes + (part.kind == other ? 1u : 0u));
      };
      const std::uint16_t left = depth_of(to_[n.left]), right = depth_of(to_[i - 1]);
      n.yes = left < right ? right : left;
    }
    return to_[last()].yes;
  }
  // Drops nodes from the end.
  void cut(std::size_t size) noexcept { to_.cut(size); }

 private:
  bool add(const condition_node& n) noexcept {
    if (!in_.good()) return false;
    to_.add(n);
    return check();
  }
  bool check() noexcept {
    if (to_.full()) in_.fail("too many parts: put values into a set with a name, or make several rules of it");
    return in_.good();
  }

  text_cursor& in_;
  condition_builder& to_;
};

// What stood before a value in tcpdump's way: `src host`, `tcp dst port`.
struct qualifiers {
  enum class kind : std::uint8_t { none, host, net, port, portrange, protocol, ether };
  enum class direction : std::uint8_t { either, both, source, destination };
  kind what = kind::none;
  direction way = direction::either;
  const char* header = "";  // "ip", "tcp" and so on; empty when it was not said
};

// Functions take it as `auto&`: so only a program that reads rules compiles them and what they call.
struct parser {
  text_cursor& in;
  node_writer to;
  named_sets sets{};
  named_sets own_sets{};  // of the text itself
  bool beside = false;    // another condition stands right before the next one
  unsigned depth = 0;     // how many brackets are open
  unsigned tags = 0;      // how many VLAN tags were asked for, side by side
  // For `port 80 or 443`: what stood before the value that was last.
  qualifiers said{};
  // The last condition in its group when it is a single node: it may only tell what the next one implies.
  std::size_t told = none;
  bool took_told = false;
  bool of_rule = false;         // a verdict may follow the whole
  bool of_chain = false;        // and the other statements of a chain's rule (hook/)
  bool verdict_may_be = false;  // a verdict may stand in the place of the next condition
  static constexpr std::size_t none = ~std::size_t{0};
};

}  // namespace match::detail
}  // namespace runnel

#endif
