// SPDX-License-Identifier: MIT
// The nodes of a compact trie, and the log of entries behind them. See compact_trie.hpp for how they are used.
#ifndef RUNNEL_IP_TRIE_NODE_HPP
#define RUNNEL_IP_TRIE_NODE_HPP

#include <cstddef>      // byte, size_t
#include <cstdint>      // uint16_t, uint32_t, uint64_t
#include <type_traits>  // conditional_t

#include <runnel/base/bytes.hpp>
#include <runnel/base/numeric.hpp>
#include <runnel/config.hpp>
#include <runnel/ip/fib.hpp>
#include <runnel/ip/gathers.hpp>

namespace runnel::detail {

// 256 slots, each for one value of 8 bits of an address. Routes are numbered as in a heap: those that look at d of the
// 8 bits are 2^d and what follows, so a route's number halved is that of the prefix one bit shorter.
struct trie_node {
  // Of 32 slots; a lookup reads no more of a node.
  struct group {
    std::uint32_t runs;   // bit s: a run of equal entries begins at slot s; bit 0 is always set
    std::uint32_t first;  // where the entry of the first run lies in the log, less one
  };
  group groups[8];
  std::uint64_t routes[8];  // bit h: the route of this number is there
  std::uint32_t inherited;  // the next hop of what no route covers; the next free node in one that is not used
  std::uint16_t children;   // how many slots lead to further nodes
  std::uint8_t hidden;      // how many routes of which nothing is visible: pairs of number and next hop behind them
  std::uint8_t quarters;    // how many times four words of the log it has

  // Where its part of the log begins, how many words that has, and how many runs there are.
  [[nodiscard]] std::uint32_t block() const noexcept { return groups[0].first + 1; }
  [[nodiscard]] std::uint32_t capacity() const noexcept { return quarters * 4u; }
  [[nodiscard]] std::uint32_t entries() const noexcept { return place(255) + 1 - block(); }
  // Where the entry of a slot lies.
  [[nodiscard]] RUNNEL_INLINE std::uint32_t place(unsigned slot) const noexcept {
    const group& g = groups[slot / 32];
    return g.first + static_cast<unsigned>(__builtin_popcount(g.runs << (31 - slot % 32)));
  }

  [[nodiscard]] bool has(unsigned h) const noexcept { return (routes[h / 64] >> h % 64 & 1) != 0; }
  [[nodiscard]] bool begins(unsigned slot) const noexcept { return (groups[slot / 32].runs >> slot % 32 & 1) != 0; }
  [[nodiscard]] bool is_empty() const noexcept {
    std::uint64_t any = children;
    for (const std::uint64_t r : routes) any |= r;
    return any == 0;
  }
  // The longest route that covers a slot or a prefix, itself counted; 0 when there is none.
  [[nodiscard]] unsigned longest(unsigned h) const noexcept {
    while (h > 1 && !has(h)) h >>= 1;
    return h > 1 ? h : 0;
  }
  [[nodiscard]] unsigned owner(unsigned slot) const noexcept { return longest(256 | slot); }
  // The slot behind the run that `slot` is in.
  [[nodiscard]] unsigned behind_run(unsigned slot) const noexcept {
    const std::uint32_t later = slot % 32 == 31 ? 0 : groups[slot / 32].runs >> (slot % 32 + 1);
    return later == 0 ? (slot / 32 + 1) * 32 : slot + 1 + static_cast<unsigned>(__builtin_ctz(later));
  }
  // The slots that a route covers.
  [[nodiscard]] static unsigned first_slot(unsigned h) noexcept { return (h << (8 - floor_log2(h))) & 255; }
  [[nodiscard]] static unsigned behind_slot(unsigned h) noexcept { return first_slot(h) + (256u >> floor_log2(h)); }
};
static_assert(sizeof(trie_node) == 136);

template <class Address>
class trie_store {
 public:
  using node = trie_node;
  using entry = std::conditional_t<sizeof(Address) == 4, std::uint16_t, std::uint32_t>;
  // Set in an entry that leads to a further node, whose number follows. For IPv4 15 bits are too few for that, and the
  // number is found in a table of its own.
  static constexpr entry child = static_cast<entry>(entry{1} << (sizeof(entry) * 8 - 1));
  static constexpr std::uint32_t most_links = sizeof(entry) == 2 ? 32768 : 0;
  // Set in an entry of the root that leads to a node, whose number follows.
  static constexpr std::uint32_t is_node = 0x8000'0000;
  static constexpr std::size_t fixed_bytes = most_links * sizeof(std::uint32_t);

  explicit trie_store(mutable_bytes memory) noexcept
      : links_(static_cast<std::uint32_t*>(static_cast<void*>(memory.data()))),
        nodes_(static_cast<node*>(static_cast<void*>(memory.data() + fixed_bytes))),
        words_(static_cast<entry*>(static_cast<void*>(memory.data() + fixed_bytes))) {
    const std::size_t n = (memory.size() - fixed_bytes) / sizeof(entry);
    // Numbers of nodes have 31 bits, places in the log 32: 4 GiB of entries, far beyond any table.
    end_ = static_cast<std::uint32_t>(n < 0xffff'fff0 ? n : 0xffff'fff0) & ~std::uint32_t{1};
    clear();
  }
  void clear() noexcept {
    low_ = end_;
    garbage_ = fresh_node_ = free_nodes_ = fresh_link_ = free_links_ = 0;
    free_node_ = free_link_ = none;
    nodes_[0] = node{};  // read, and not used, for addresses that no node is for
  }
  [[nodiscard]] std::size_t bytes_used() const noexcept {
    return fixed_bytes + std::size_t{fresh_node_ - free_nodes_} * sizeof(node) +
           std::size_t{end_ - low_ - garbage_} * sizeof(entry);
  }

  // Links have numbers below this.
  [[nodiscard]] std::uint32_t links_begun() const noexcept { return fresh_link_; }

  // ---- lookup

  [[nodiscard]] RUNNEL_INLINE node& at(std::uint32_t number) const noexcept { return nodes_[number]; }
  [[nodiscard]] RUNNEL_INLINE node& of(entry e) const noexcept { return nodes_[number_of(e)]; }
  [[nodiscard]] RUNNEL_INLINE std::uint32_t number_of(entry e) const noexcept {
    const auto n = static_cast<std::uint32_t>(e & (child - 1));
    if constexpr (most_links != 0) return links_[n];
    else return n;
  }
  [[nodiscard]] RUNNEL_INLINE const entry* word(std::uint32_t i) const noexcept { return words_ + i; }
  [[nodiscard]] RUNNEL_INLINE entry get(const node& n, unsigned slot) const noexcept { return words_[n.place(slot)]; }
  // The entry at a node's `place`; those of its runs follow one another.
  [[nodiscard]] RUNNEL_INLINE entry entry_at(std::uint32_t place) const noexcept { return words_[place]; }

  // The end of a burst of 32 of IPv4: where the bits of `deeper`, the first address's the lowest, say that an answer is
  // an entry that leads to a node, takes the step to there.
  RUNNEL_INLINE void last_steps(std::uint32_t deeper, const Address* addresses,
                                next_hop_number* answers) const noexcept {
    for (; deeper != 0; deeper &= deeper - 1) {
      const auto i = static_cast<unsigned>(__builtin_ctz(deeper));
      answers[i] = get(of(answers[i]), addresses[i].value() & 255);
    }
  }

  // Whether places in the log have so few bits as a gather takes.
  [[nodiscard]] bool gathers_reach() const noexcept { return end_ < 0x8000'0000; }
#if RUNNEL_HAS_GATHERS
  static constexpr std::uint64_t lower = 0xffff'ffff;
  // A step for 16 addresses of IPv4 at once, in three parts, so that the loads of one 16 overlap with those of another.
  // Lanes of `found` that have `is_node` set, and then the number of a node, take part.
  struct sixteen_groups {
    eight_wide even, odd;  // groups have 64 bits, so those of lanes with even and with odd numbers are loaded apart
  };
  [[gnu::target(RUNNEL_GATHERS_TARGET)]] RUNNEL_INLINE void load_groups(sixteen_groups& groups, const sixteen& found,
                                                                        const sixteen& slot) const noexcept {
    static_assert(sizeof(node) == 17 * sizeof(trie_node::group));
    const sixteen number = found & ~is_node;
    const auto at = reinterpret_cast<eight_wide>((number << 4) + number + (slot >> 5));
    const auto leads = reinterpret_cast<eight_wide>(found);
    groups.even = groups.odd = eight_wide{};
    gather(groups.even, nodes_, at & lower, lanes_with(leads, eight_wide{} + is_node));
    gather(groups.odd, nodes_, at >> 32, lanes_with(leads, eight_wide{} + (std::uint64_t{is_node} << 32)));
  }
  [[gnu::target(RUNNEL_GATHERS_TARGET)]] RUNNEL_INLINE static void places(sixteen& place, const sixteen_groups& groups,
                                                                          const sixteen& slot) noexcept {
    const auto runs = reinterpret_cast<sixteen>((groups.even & lower) | groups.odd << 32);
    const auto first = reinterpret_cast<sixteen>(groups.even >> 32 | (groups.odd & ~lower));
    place = runs << (~slot & 31u);
    count_bits(place);
    place += first;
  }
  // The lanes get the entry of their slot, and above it the one that follows in the log, which has a tag behind the
  // last.
  [[gnu::target(RUNNEL_GATHERS_TARGET)]] RUNNEL_INLINE void load_entries(sixteen& found,
                                                                         const sixteen& place) const noexcept {
    gather<2>(found, words_, place, lanes_with(found, sixteen{} + is_node));
  }
#endif

  // ---- changes: those that need memory are made after `make_room`

  // How many words a route adds to a node: one for each run that it begins or ends, and a pair for what is hidden then.
  [[nodiscard]] unsigned words_for(const node& n, unsigned h) const noexcept {
    if (n.has(h)) return 0;
    const unsigned first = node::first_slot(h), behind = node::behind_slot(h), above = n.longest(h >> 1);
    unsigned words = words_for_runs(n, first, behind);
    if (!owns_any(n, above, first, behind)) words += 2;
    else if (above != 0 && !owns_any(n, above, node::first_slot(above), first) &&
             !owns_any(n, above, behind, node::behind_slot(above)))
      words += 2;
    return words;
  }
  [[nodiscard]] static unsigned words_for_runs(const node& n, unsigned first, unsigned behind) noexcept {
    return (n.begins(first) ? 0u : 1u) + (behind == 256 || n.begins(behind) ? 0u : 1u);
  }
  // Room for `nodes` new nodes, `links` of them below others, and for `extra` words more in `n`, if any.
  [[nodiscard]] bool make_room(unsigned nodes, unsigned links, node* n, unsigned extra) noexcept {
    if (most_links != 0 && links > free_links_ + (most_links - fresh_link_)) return false;
    const std::uint32_t fresh = nodes > free_nodes_ ? nodes - free_nodes_ : 0;
    std::uint32_t words = nodes * (new_capacity + tag_words);
    if (n != nullptr && n->entries() + 2u * n->hidden + extra > n->capacity())
      words += grown(n->entries() + 2u * n->hidden + extra) + tag_words;
    constexpr std::uint64_t node_words = sizeof(node) / sizeof(entry);
    const std::uint64_t need = fresh * node_words + words;
    const std::uint64_t gap = low_ - fresh_node_ * node_words;
    if (need > gap) {
      if (need + end_ / 32 > gap + garbage_) return false;
      move_together();
    }
    if (n != nullptr) reserve(*n, extra);
    return true;
  }
  // A node without routes.
  std::uint32_t make(entry inherited) noexcept {
    std::uint32_t number = free_node_;
    if (number != none) {
      free_node_ = nodes_[number].inherited;
      --free_nodes_;
    } else {
      number = fresh_node_++;
    }
    node& n = nodes_[number];
    n = node{};
    n.inherited = inherited;
    const std::uint32_t block = allocate(n, new_capacity);
    for (unsigned i = 0; i < 8; ++i) {
      n.groups[i] = {1, block + i - 1};
      words_[block + i] = inherited;
    }
    return number;
  }
  void release(std::uint32_t number) noexcept {
    free_block(nodes_[number]);
    nodes_[number].inherited = free_node_;
    free_node_ = number;
    ++free_nodes_;
  }
  node& add_child(node& n, unsigned slot) noexcept {
    split(n, slot);
    split(n, slot + 1);
    entry& e = words_[n.place(slot)];
    const std::uint32_t number = make(e);
    words_[n.place(slot)] = static_cast<entry>(child | link(number));
    ++n.children;
    return nodes_[number];
  }
  void remove_child(node& n, unsigned slot, entry inherited) noexcept {
    entry& e = words_[n.place(slot)];
    release(number_of(e));
    unlink(e);
    e = inherited;
    --n.children;
    join(n, slot);
    join(n, slot + 1);
  }
  // Adds a route or replaces its next hop. True when it is new.
  bool insert(node& n, unsigned h, entry next_hop) noexcept {
    const bool is_new = !n.has(h);
    const unsigned above = n.longest(h >> 1);
    const auto of_above = is_new && above != 0 ? value_of(n, above) : entry{};
    if (is_new) {
      n.routes[h / 64] |= std::uint64_t{1} << h % 64;
      split(n, node::first_slot(h));
      split(n, node::behind_slot(h));
    }
    if (!paint(n, h, h, next_hop)) hide(n, h, next_hop);
    if (is_new && above != 0 && !owns_any(n, above, node::first_slot(above), node::behind_slot(above)))
      hide(n, above, of_above);
    return is_new;
  }
  void erase(node& n, unsigned h) noexcept {
    const unsigned above = n.longest(h >> 1);
    const auto next_hop = above != 0 ? value_of(n, above) : static_cast<entry>(n.inherited);
    if (!paint(n, h, h, next_hop)) unhide(n, h);
    else if (above != 0) unhide(n, above);
    n.routes[h / 64] &= ~(std::uint64_t{1} << h % 64);
    join(n, node::first_slot(h));
    join(n, node::behind_slot(h));
  }
  void set_inherited(node& n, entry next_hop) noexcept {
    n.inherited = next_hop;
    for (unsigned slot = 0; slot < 256; slot = n.behind_run(slot))
      if (n.owner(slot) == 0) set(words_[n.place(slot)], next_hop);
  }
  // The next hop of a route that is there.
  [[nodiscard]] entry value_of(const node& n, unsigned h) const noexcept {
    for (unsigned slot = node::first_slot(h); slot < node::behind_slot(h); slot = n.behind_run(slot))
      if (n.owner(slot) == h) {
        const entry e = get(n, slot);
        return (e & child) != 0 ? static_cast<entry>(of(e).inherited) : e;
      }
    return *find_hidden(n, h);
  }

 private:
  static constexpr std::uint32_t none = 0xffff'ffff;
  // Behind each block of the log: the number of its node, or that it is garbage and how long, itself counted.
  static constexpr std::uint32_t tag_words = sizeof(entry) == 2 ? 2 : 1;
  static constexpr std::uint32_t is_garbage = 0x8000'0000;
  static constexpr unsigned new_capacity = 12;
  static constexpr std::uint32_t grown(std::uint32_t words) noexcept { return (words + 3) & ~std::uint32_t{3}; }

  [[nodiscard]] std::uint32_t load_tag(std::uint32_t behind) const noexcept {
    std::uint32_t tag = 0;
    __builtin_memcpy(&tag, words_ + behind - tag_words, sizeof tag);
    return tag;
  }
  void store_tag(std::uint32_t behind, std::uint32_t tag) noexcept {
    __builtin_memcpy(words_ + behind - tag_words, &tag, sizeof tag);
  }
  std::uint32_t allocate(node& n, std::uint32_t capacity) noexcept {
    const std::uint32_t behind = low_;
    low_ -= capacity + tag_words;
    store_tag(behind, static_cast<std::uint32_t>(&n - nodes_));
    n.quarters = static_cast<std::uint8_t>(capacity / 4);
    return low_;
  }
  void free_block(const node& n) noexcept {
    const std::uint32_t whole = n.capacity() + tag_words;
    store_tag(n.block() + whole, is_garbage | whole);
    garbage_ += whole;
  }
  // Moves what is in use to the end of the memory, from the last block to the first.
  void move_together() noexcept {
    std::uint32_t to = end_;
    for (std::uint32_t from = end_; from != low_;) {
      const std::uint32_t tag = load_tag(from);
      if ((tag & is_garbage) != 0) {
        from -= tag & ~is_garbage;
        continue;
      }
      node& n = nodes_[tag];
      const std::uint32_t whole = n.capacity() + tag_words;
      from -= whole;
      to -= whole;
      if (to == from) continue;
      __builtin_memmove(words_ + to, words_ + from, whole * sizeof(entry));
      for (auto& g : n.groups) g.first += to - from;
    }
    low_ = to;
    garbage_ = 0;
  }
  void reserve(node& n, unsigned extra) noexcept {
    const std::uint32_t used = n.entries() + 2u * n.hidden;
    if (used + extra <= n.capacity()) return;
    const std::uint32_t old = n.block();
    free_block(n);
    const std::uint32_t block = allocate(n, grown(used + extra));
    __builtin_memcpy(words_ + block, words_ + old, used * sizeof(entry));
    for (auto& g : n.groups) g.first += block - old;  // modulo 2^32
  }
  // Begins a run at a slot that is inside of one.
  void split(node& n, unsigned slot) noexcept {
    if (slot == 256 || n.begins(slot)) return;
    reserve(n, 1);
    const std::uint32_t at = n.place(slot);
    const std::uint32_t behind = n.block() + n.entries() + 2u * n.hidden;
    __builtin_memmove(words_ + at + 1, words_ + at, (behind - at) * sizeof(entry));
    n.groups[slot / 32].runs |= std::uint32_t{1} << slot % 32;
    for (unsigned g = slot / 32 + 1; g < 8; ++g) ++n.groups[g].first;
  }
  // Ends the run that begins at a slot when what lies before it has the same owner.
  void join(node& n, unsigned slot) noexcept {
    if (slot % 32 == 0 || !n.begins(slot)) return;
    const std::uint32_t at = n.place(slot);
    if (((words_[at] | words_[at - 1]) & child) != 0 || n.owner(slot) != n.owner(slot - 1)) return;
    const std::uint32_t behind = n.block() + n.entries() + 2u * n.hidden;
    __builtin_memmove(words_ + at, words_ + at + 1, (behind - at - 1) * sizeof(entry));
    n.groups[slot / 32].runs &= ~(std::uint32_t{1} << slot % 32);
    for (unsigned g = slot / 32 + 1; g < 8; ++g) --n.groups[g].first;
  }
  void set(entry& e, entry next_hop) noexcept {
    if ((e & child) != 0) set_inherited(of(e), next_hop);
    else e = next_hop;
  }
  // Gives the slots in the range of `h` that belong to `owner` a next hop. False when there are none.
  bool paint(node& n, unsigned h, unsigned owner, entry next_hop) noexcept {
    bool any = false;
    for (unsigned slot = node::first_slot(h); slot < node::behind_slot(h); slot = n.behind_run(slot))
      if (n.owner(slot) == owner) {
        set(words_[n.place(slot)], next_hop);
        any = true;
      }
    return any;
  }
  // Whether anything from `slot` on, before `behind`, belongs to a route.
  [[nodiscard]] static bool owns_any(const node& n, unsigned h, unsigned slot, unsigned behind) noexcept {
    for (; slot < behind; slot = n.behind_run(slot))
      if (n.owner(slot) == h) return true;
    return false;
  }
  [[nodiscard]] entry* find_hidden(const node& n, unsigned h) const noexcept {
    entry* pair = words_ + n.block() + n.entries();
    for (unsigned i = 0; i < n.hidden; ++i, pair += 2)
      if (pair[0] == h) return pair + 1;
    return nullptr;
  }
  void hide(node& n, unsigned h, entry next_hop) noexcept {
    if (entry* const there = find_hidden(n, h)) {
      *there = next_hop;
      return;
    }
    reserve(n, 2);
    entry* const pair = words_ + n.block() + n.entries() + 2u * n.hidden++;
    pair[0] = static_cast<entry>(h);
    pair[1] = next_hop;
  }
  void unhide(node& n, unsigned h) noexcept {
    entry* const there = find_hidden(n, h);
    if (there == nullptr) return;
    const entry* const last = words_ + n.block() + n.entries() + 2u * --n.hidden;
    there[-1] = last[0];
    there[0] = last[1];
  }
  entry link(std::uint32_t number) noexcept {
    if constexpr (most_links == 0) return number;
    else {
      std::uint32_t l = free_link_;
      if (l != none) {
        free_link_ = links_[l];
        --free_links_;
      } else {
        l = fresh_link_++;
      }
      links_[l] = number;
      return static_cast<entry>(l);
    }
  }
  void unlink(entry e) noexcept {
    if constexpr (most_links != 0) {
      const std::uint32_t l = e & (child - 1u);
      links_[l] = free_link_;
      free_link_ = l;
      ++free_links_;
    }
  }

  std::uint32_t* links_;
  node* nodes_;   // from the beginning of the memory on
  entry* words_;  // the same memory, seen as entries: the log lies at its end
  std::uint32_t end_ = 0;
  std::uint32_t low_ = 0;      // where the log begins
  std::uint32_t garbage_ = 0;  // how much of it is none's
  std::uint32_t fresh_node_ = 0, free_node_ = none, free_nodes_ = 0;
  std::uint32_t fresh_link_ = 0, free_link_ = none, free_links_ = 0;
};

}  // namespace runnel::detail

#endif
