// SPDX-License-Identifier: MIT
// Makes the nodes of a condition, one after the other.
#ifndef RUNNEL_MATCH_CONDITION_BUILD_HPP
#define RUNNEL_MATCH_CONDITION_BUILD_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint16_t, uint64_t

#include <runnel/base/text.hpp>
#include <runnel/match/condition_node.hpp>
#include <runnel/wire/address.hpp>

namespace runnel::match::detail {

// A part of an expression that is of a type of the user's: who prints it. `print_value` may be null.
struct custom_part {
  const void* what = nullptr;
  void (*print)(text_writer& out, const void* what) noexcept = nullptr;
  void (*print_value)(text_writer& out, const void* what, const std::uint64_t* words) noexcept = nullptr;
};

// Appends nodes to memory of the caller's. When there is no room any more, `full()` says so, and the rest is lost.
class condition_builder {
 public:
  // `customs` has room for all there are.
  constexpr condition_builder(condition_node* nodes, std::size_t node_room, std::uint64_t* words, std::size_t word_room,
                              custom_part* customs = nullptr) noexcept
      : nodes_(nodes), words_(words), customs_(customs), node_room_(node_room), word_room_(word_room) {}

  [[nodiscard]] constexpr std::size_t size() const noexcept { return size_; }
  [[nodiscard]] constexpr std::size_t words() const noexcept { return word_count_; }
  [[nodiscard]] constexpr bool full() const noexcept { return full_; }
  [[nodiscard]] constexpr condition_node& operator[](std::size_t i) const noexcept { return nodes_[i]; }
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
  // The last node is about this.
  constexpr void add_custom(const custom_part& part) noexcept {
    nodes_[size_ - 1].left = static_cast<std::uint16_t>(custom_count_);
    customs_[custom_count_++] = part;
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
    // The first one is a leaf.
    for (std::size_t i = size_ - 1; i != 0; --i) {
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
  custom_part* customs_;
  std::size_t node_room_;
  std::size_t word_room_;
  std::size_t size_ = 0;
  std::size_t word_count_ = 0;
  std::size_t custom_count_ = 0;
  bool full_ = false;
};

}  // namespace runnel::match::detail

#endif
