// SPDX-License-Identifier: MIT
// Routes in a compact trie: a million of the internet's in 8 MiB, and a lookup that takes a few loads.
//
// Theory of operation. A table of 65536 entries is indexed by the first 16 bits of an address. An entry is the next
// hop, or a node for the 8 bits that follow; the node's entries are next hops, or nodes for the next 8 bits, and so on.
// Only runs of equal entries are kept: a bit for each of the 256 slots says whether a run begins there, and the number
// of bits up to a slot is the place of its entry. (Degermark et al., "Small forwarding tables for fast routing
// lookups", 1997, with the population count of Asai and Ohara's Poptrie, 2015.)
//
//     root[2^16] ──> node: runs     1 0 0 0 1 1 0 0 ...      which slots begin a run
//                          first    ────────────┐            where the entries of each 32 slots lie
//                          routes   a bit for each prefix    /17 to /24 of this /16, as a heap: 2, 3 are the two /17
//                                               v
//                    log of entries  [ A  B  C  node ... | hidden routes | owner ]
//
// The routes themselves are the second bitmap, and their next hops are read back from the entries, where each route
// that covers anything can be seen; the few that longer ones cover wholly are kept in pairs behind the entries. A run
// ends where another route begins to be the longest, whatever its next hop: so a change of a next hop changes no
// layout.
//
// Memory is one piece. Nodes grow from its beginning, entries from its end, as a log: what is replaced stays as garbage
// until the two meet, then the entries are moved together, which takes about a millisecond for a million routes. A
// table is full when there would be less than 1/32 of the memory to gain; an insert makes sure of its room before it
// changes anything.
#ifndef RUNNEL_IP_COMPACT_TRIE_HPP
#define RUNNEL_IP_COMPACT_TRIE_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint16_t, uint32_t, uint64_t, uintptr_t

#include <runnel/base/byte_count.hpp>
#include <runnel/base/bytes.hpp>
#include <runnel/base/numeric.hpp>
#include <runnel/base/prefetch.hpp>
#include <runnel/config.hpp>
#include <runnel/ip/fib.hpp>
#include <runnel/ip/gathers.hpp>
#include <runnel/ip/trie_node.hpp>
#include <runnel/wire/address.hpp>

namespace runnel {

/// Routes of one family in memory that the caller owns. Never allocates.
///
///     alignas(64) static std::byte memory[compact_trie<ipv4_address>::bytes_for(10'000)];
///     compact_trie<ipv4_address> routes{memory};
///     if (!routes.insert({addr4("192.0.2.0"), 24}, 7)) ...  // full
///     routes.lookup(addr4("192.0.2.1"));                    // 7
///
/// Limits: the memory, next hops up to `no_next_hop - 1`, and for IPv4 routes longer than /24 in at most 32768
/// different /24. For one thread, or for several that only ask.
template <class Address>
class compact_trie {
  using store = detail::trie_store<Address>;
  using node = typename store::node;
  using entry = typename store::entry;

 public:
  /// What it finds, and what routes cover. @{
  using address_type = Address;
  using prefix_type = basic_prefix<Address>;
  /// @}
  /// How memory must be aligned.
  static constexpr std::size_t alignment = 64;

  /// The memory for `routes` routes that are spread as those of the internet are: 8 MiB for a million, 640 KiB and up
  /// to 160 bytes each for few (IPv6: 184 bytes each). Routes that all lie apart take more: a node of 136 bytes (IPv6:
  /// up to 14) for each /16, and for each /24 with longer ones.
  [[nodiscard]] static constexpr std::size_t bytes_for(std::size_t routes) noexcept {
    constexpr std::size_t apart = sizeof(Address) == 4 ? 16384 : ~std::size_t{0};
    const byte_count first = byte_count{sizeof(Address) == 4 ? 160 : 184} * (routes < apart ? routes : apart);
    const byte_count others = byte_count{5} * (routes < apart ? 0 : routes - apart);
    return (first + others + (fixed_bytes + 8192)).aligned(alignment).value();
  }
  /// An empty table in `memory`, which stays the caller's, must outlive it, be aligned to `alignment` and have at least
  /// `bytes_for(0)` bytes (asserted). It writes to the first `bytes_for(0)`; others are touched when they are needed.
  explicit compact_trie(mutable_bytes memory) noexcept
      : root_(static_cast<std::uint32_t*>(static_cast<void*>(memory.data()))),
        short_(static_cast<std::uint16_t*>(static_cast<void*>(memory.data() + root_bytes))),
        store_(memory.from(root_bytes + short_bytes)) {
    RUNNEL_ASSERT(memory.size() >= bytes_for(0));
    RUNNEL_ASSERT(reinterpret_cast<std::uintptr_t>(memory.data()) % alignment == 0);
    clear();
  }
  compact_trie(const compact_trie&) = delete;
  compact_trie& operator=(const compact_trie&) = delete;

  /// Adds a route, or gives the one that is there another next hop, which is below `no_next_hop` (asserted). False, and
  /// nothing has changed, when the table is full. Below a microsecond on average; a short prefix of which much is
  /// visible takes as long as writing to all of that.
  [[nodiscard]] bool insert(const prefix_type& p, next_hop_number next_hop) noexcept {
    RUNNEL_ASSERT(next_hop < no_next_hop);
    if (p.length() <= 16) {
      std::uint16_t& at = short_[short_index(p)];
      if (at == absent) ++size_;
      at = next_hop;
      paint_short(short_index(p), next_hop);
      return true;
    }
    node* n = reach(p);
    if (n == nullptr) return false;
    if (store_.insert(*n, index_in_node(p), next_hop)) ++size_;
    return true;
  }
  /// Removes a route. False when the very route is not there.
  bool erase(const prefix_type& p) noexcept {
    if (p.length() <= 16) {
      const std::uint32_t h = short_index(p);
      if (short_[h] == absent) return false;
      short_[h] = absent;
      paint_short(h, short_above(h));
      --size_;
      return true;
    }
    path way;
    if (!follow(p, way) || !way.at[way.last]->has(index_in_node(p))) return false;
    store_.erase(*way.at[way.last], index_in_node(p));
    --size_;
    for (unsigned k = way.last + 1; k != 0 && way.at[k - 1]->is_empty();) {
      --k;
      const auto inherited = static_cast<entry>(way.at[k]->inherited);
      if (k == 0) {
        store_.release(root_[top(p.address())] & ~is_node);
        root_[top(p.address())] = inherited;
      } else {
        store_.remove_child(*way.at[k - 1], octet(p.address(), k + 1), inherited);
      }
    }
    return true;
  }
  /// The next hop of the very route; `no_next_hop` when it is not there.
  [[nodiscard]] next_hop_number find(const prefix_type& p) const noexcept {
    if (p.length() <= 16) {
      const std::uint16_t at = short_[short_index(p)];
      return at == absent ? no_next_hop : at;
    }
    path way;
    if (!follow(p, way) || !way.at[way.last]->has(index_in_node(p))) return no_next_hop;
    return static_cast<next_hop_number>(store_.value_of(*way.at[way.last], index_in_node(p)));
  }
  /// The next hop of the longest route that covers the address. Loads: 1 for what no longer route than /16 covers, else
  /// 4, and 3 for each 8 bits beyond the 24th that routes there look at.
  [[nodiscard]] RUNNEL_INLINE next_hop_number lookup(const Address& a) const noexcept {
    const std::uint32_t r = root_[top(a)];
    if ((r & is_node) == 0) return static_cast<next_hop_number>(r);
    return lookup_below(r & ~is_node, 2, a);
  }
  /// The same for `n` addresses, whose loads overlap. On x86-64 it counts bits with the processor's instruction where
  /// there is one, and for IPv4 16 loads are one instruction where that is fast, whatever the compiler was told; the
  /// latter not under sanitizers.
  void lookup(const Address* addresses, next_hop_number* answers, std::size_t n) const noexcept {
    std::size_t done = 0;
    if constexpr (levels == 2)
      if (gathers_) done = lookup_by_gathers(addresses, answers, n);
    if (done != n) lookup_by_loads(addresses + done, answers + done, n - done);
  }
  /// Begins to load the first node for an address. Reads the entry of its first 16 bits.
  RUNNEL_INLINE void prefetch(const Address& a) const noexcept {
    const std::uint32_t r = root_[top(a)];
    if ((r & is_node) != 0) prefetch_to_read(&store_.at(r & ~is_node));
  }
  /// How many routes it holds.
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  /// How much of its memory is in use, garbage of former changes not counted.
  [[nodiscard]] std::size_t bytes_used() const noexcept { return root_bytes + short_bytes + store_.bytes_used(); }
  /// Removes all routes.
  void clear() noexcept {
    for (std::size_t i = 0; i < 65536; ++i) root_[i] = no_next_hop;
    for (std::size_t i = 0; i < 131072; ++i) short_[i] = absent;
    store_.clear();
    size_ = 0;
  }
  /// Calls `f(prefix, next hop)` for each route: those of up to 16 bits, then /16 by /16, shorter ones first.
  template <class F>
  void for_each(F f) const {
    for (unsigned length = 0; length <= 16; ++length)
      for (std::uint32_t i = 0; i < 1u << length; ++i)
        if (const std::uint16_t at = short_[1u << length | i]; at != absent)
          f(prefix_type{put_top(static_cast<std::uint32_t>(std::uint64_t{i} << (16 - length))), length}, at);
    for (std::uint32_t i = 0; i < 65536; ++i)
      if ((root_[i] & is_node) != 0) each_in(store_.at(root_[i] & ~is_node), put_top(i), 2, f);
  }

 private:
  friend struct detail::lookup_ways;
  friend class dir_24_8;
  friend class dir_16_16;
  static constexpr std::uint32_t is_node = store::is_node;
  static constexpr std::uint16_t absent = 0xffff;
  static constexpr std::size_t root_bytes = 65536 * sizeof(std::uint32_t);
  static constexpr std::size_t short_bytes = 131072 * sizeof(std::uint16_t);
  static constexpr std::size_t fixed_bytes = root_bytes + short_bytes + store::fixed_bytes;
  static constexpr unsigned levels = (sizeof(Address) * 8 - 16) / 8;

  // The nodes from the root to where a route lies, or to where the trie ends before.
  struct path {
    node* at[levels];
    unsigned last = 0;
  };

  static constexpr std::uint32_t top(ipv4_address a) noexcept { return a.value() >> 16; }
  static constexpr std::uint32_t top(const ipv6_address& a) noexcept {
    return static_cast<std::uint32_t>(a.high() >> 48);
  }
  static constexpr unsigned octet(ipv4_address a, unsigned i) noexcept { return a.value() >> (24 - 8 * i) & 255; }
  static constexpr unsigned octet(const ipv6_address& a, unsigned i) noexcept {
    return static_cast<unsigned>((i < 8 ? a.high() : a.low()) >> (56 - 8 * (i & 7)) & 255);
  }
  static constexpr Address put_top(std::uint32_t t) noexcept {
    if constexpr (sizeof(Address) == 4) return Address{t << 16};
    else return Address{std::uint64_t{t} << 48, 0};
  }
  static constexpr Address put_octet(const Address& a, unsigned i, unsigned value) noexcept {
    if constexpr (sizeof(Address) == 4) return Address{a.value() | value << (24 - 8 * i)};
    else {
      const std::uint64_t v = std::uint64_t{value} << (56 - 8 * (i & 7));
      return i < 8 ? Address{a.high() | v, 0} : Address{a.high(), a.low() | v};
    }
  }
  // Where a route of up to 16 bits lies in the heap of these.
  static constexpr std::uint32_t short_index(const prefix_type& p) noexcept {
    return 1u << p.length() | top(p.address()) >> (16 - p.length());
  }
  // The level of the node that a longer one lies in, and its place in the heap of that.
  static constexpr unsigned level(const prefix_type& p) noexcept { return (p.length() - 17) / 8; }
  static constexpr unsigned index_in_node(const prefix_type& p) noexcept {
    const unsigned depth = (p.length() - 17) % 8 + 1;
    return 1u << depth | octet(p.address(), 2 + level(p)) >> (8 - depth);
  }

  [[nodiscard]] entry short_above(std::uint32_t h) const noexcept {
    while ((h >>= 1) != 0)
      if (short_[h] != absent) return short_[h];
    return no_next_hop;
  }
  // Gives what is covered by the route at `h`, and by no longer one, its next hop.
  void paint_short(std::uint32_t h, entry next_hop) noexcept {
    if (h >= 65536) {
      std::uint32_t& r = root_[h - 65536];
      if ((r & is_node) != 0) store_.set_inherited(store_.at(r & ~is_node), next_hop);
      else r = next_hop;
      return;
    }
    const std::size_t below = std::size_t{h} * 2;
    if (short_[below] == absent) paint_short(2 * h, next_hop);
    if (short_[below + 1] == absent) paint_short(2 * h + 1, next_hop);
  }
  // Whether there is a node for the route; `way` ends there, or before.
  bool follow(const prefix_type& p, path& way) const noexcept {
    const std::uint32_t r = root_[top(p.address())];
    if ((r & is_node) == 0) return false;
    way.at[0] = &store_.at(r & ~is_node);
    for (way.last = 0; way.last != level(p); ++way.last) {
      const entry e = store_.get(*way.at[way.last], octet(p.address(), 2 + way.last));
      if ((e & store::child) == 0) return false;
      way.at[way.last + 1] = &store_.of(e);
    }
    return true;
  }
  // The node for a route, made when it is not there, with room in it for one more route; null when there is none.
  node* reach(const prefix_type& p) noexcept {
    path way;
    if (follow(p, way)) {
      node& n = *way.at[way.last];
      return store_.make_room(0, 0, &n, store_.words_for(n, index_in_node(p))) ? &n : nullptr;
    }
    std::uint32_t& r = root_[top(p.address())];
    const bool begun = (r & is_node) != 0;
    unsigned made = begun ? way.last + 1 : 0;
    const unsigned links = level(p) - (begun ? way.last : 0);
    if (!store_.make_room(level(p) + 1 - made, links, begun ? way.at[way.last] : nullptr, 2)) return nullptr;
    if (!begun) {
      const std::uint32_t number = store_.make(static_cast<entry>(r));
      r = is_node | number;
      way.at[0] = &store_.at(number);
      made = 1;
    }
    for (; made <= level(p); ++made) way.at[made] = &store_.add_child(*way.at[made - 1], octet(p.address(), 1 + made));
    return way.at[level(p)];
  }
  template <class F>
  void each_in(const node& n, const Address& base, unsigned i, F& f) const {
    for (unsigned h = 2; h < 512; ++h)
      if (n.has(h)) {
        const unsigned depth = floor_log2(h);
        f(prefix_type{put_octet(base, i, (h << (8 - depth)) & 255), 8 * i + depth},
          static_cast<next_hop_number>(store_.value_of(n, h)));
      }
    if (n.children == 0) return;
    for (unsigned slot = 0; slot < 256; ++slot)
      if (const entry e = store_.get(n, slot); (e & store::child) != 0)
        each_in(store_.of(e), put_octet(base, i, slot), i + 1, f);
  }
  // Level by level for all addresses at once, so that their loads overlap; those that have arrived leave the list,
  // without a branch that would be guessed wrong.
  RUNNEL_INLINE void lookup_each(const Address* addresses, next_hop_number* answers, std::size_t n) const noexcept {
    constexpr std::size_t most = 32;
    if constexpr (levels == 2) {
      for (; n >= most; n -= most, addresses += most, answers += most) lookup_burst(addresses, answers);
      for (std::size_t i = 0; i < n; ++i) answers[i] = lookup(addresses[i]);
      return;
    }
    for (std::size_t done = 0; done < n; done += most) {
      const std::size_t part = n - done < most ? n - done : most;
      lookup_some(addresses + done, answers + done, static_cast<unsigned>(part));
    }
  }
  // From a node on, which looks at an octet of the address.
  [[nodiscard]] RUNNEL_INLINE next_hop_number lookup_below(std::uint32_t number, unsigned i,
                                                           const Address& a) const noexcept {
    entry e = store_.get(store_.at(number), octet(a, i));
    while ((e & store::child) != 0) e = store_.get(store_.of(e), octet(a, ++i));
    return static_cast<next_hop_number>(e);
  }
  // 32 of IPv4: first the root for all of them, then the nodes, and no branch for what nearly all need.
  RUNNEL_INLINE void lookup_burst(const Address* addresses, next_hop_number* answers) const noexcept {
    std::uint32_t roots[32], deeper = 0;
    for (unsigned part = 0; part < 32; part += 8)
      for (unsigned i = part; i < part + 8; ++i) {
        const std::uint32_t r = root_[top(addresses[i])];
        roots[i] = r;
        prefetch_to_read(&store_.at(r & ~is_node & (0u - (r >> 31))));
      }
    for (unsigned part = 0; part < 32; part += 8)
      for (unsigned i = part; i < part + 8; ++i) {
        const std::uint32_t r = roots[i], leads = 0u - (r >> 31);
        const std::uint32_t there = store_.get(store_.at(r & ~is_node & leads), octet(addresses[i], 2));
        const std::uint32_t e = (there & leads) | (r & ~leads);
        answers[i] = static_cast<next_hop_number>(e);
        deeper = deeper >> 1 | (e >> 15 & 1) << 31;
      }
    store_.last_steps(deeper, addresses, answers);
  }
  RUNNEL_INLINE void lookup_some(const Address* addresses, next_hop_number* answers, unsigned n) const noexcept {
    std::uint32_t number[32], at[32];
    std::uint8_t who[32];
    unsigned left = 0;
    for (unsigned j = 0; j < n; ++j) {
      const std::uint32_t r = root_[top(addresses[j])];
      answers[j] = static_cast<next_hop_number>(r);
      number[left] = r & ~is_node;
      who[left] = static_cast<std::uint8_t>(j);
      left += r >> 31;
    }
    for (unsigned i = 2; left != 0; ++i) {
      for (unsigned j = 0; j < left; ++j) { at[j] = store_.at(number[j]).place(octet(addresses[who[j]], i)); }
      unsigned still = 0;
      for (unsigned j = 0; j < left; ++j) {
        const entry e = *store_.word(at[j]);
        answers[who[j]] = static_cast<next_hop_number>(e);
        who[still] = who[j];
        if (store::most_links == 0 || (e & store::child) != 0) number[still] = store_.number_of(e);
        still += (e & store::child) != 0 ? 1u : 0u;
      }
      left = still;
    }
  }
  void lookup_by_loads(const Address* addresses, next_hop_number* answers, std::size_t n) const noexcept {
#if defined(__x86_64__) && defined(__gnu_linux__)
    if (__builtin_cpu_supports("popcnt") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2"))
      return lookup_counting(addresses, answers, n);
#endif
    lookup_each(addresses, answers, n);
  }
#if defined(__x86_64__) && defined(__gnu_linux__)
  [[gnu::target("popcnt,bmi,bmi2")]] void lookup_counting(const Address* addresses, next_hop_number* answers,
                                                          std::size_t n) const noexcept {
    lookup_each(addresses, answers, n);
  }
#endif
#if RUNNEL_HAS_GATHERS
  // Answers for as many as are a multiple of 32, and says how many these were.
  [[gnu::target(RUNNEL_GATHERS_TARGET)]] std::size_t lookup_by_gathers(const Address* addresses,
                                                                       next_hop_number* answers,
                                                                       std::size_t n) const noexcept {
    const std::size_t whole = n & ~std::size_t{31};
    for (const Address* const end = addresses + whole; addresses != end; addresses += 32, answers += 32) {
      detail::sixteen a, b, found_a{}, found_b{}, place_a, place_b;
      typename store::sixteen_groups groups_a, groups_b;
      __builtin_memcpy(&a, addresses, sizeof a);
      __builtin_memcpy(&b, addresses + 16, sizeof b);
      detail::gather<4>(found_a, root_, a >> 16, 0xffff);
      detail::gather<4>(found_b, root_, b >> 16, 0xffff);
      store_.load_groups(groups_a, found_a, a >> 8 & 255u);
      store_.load_groups(groups_b, found_b, b >> 8 & 255u);
      store_.places(place_a, groups_a, a >> 8 & 255u);
      store_.places(place_b, groups_b, b >> 8 & 255u);
      store_.load_entries(found_a, place_a);
      store_.load_entries(found_b, place_b);
      const auto entries_a = __builtin_convertvector(found_a, detail::sixteen_halves);
      const auto entries_b = __builtin_convertvector(found_b, detail::sixteen_halves);
      __builtin_memcpy(answers, &entries_a, sizeof entries_a);
      __builtin_memcpy(answers + 16, &entries_b, sizeof entries_b);
      const std::uint32_t deeper_a = detail::lanes_with(found_a, detail::sixteen{} + std::uint32_t{store::child});
      const std::uint32_t deeper_b = detail::lanes_with(found_b, detail::sixteen{} + std::uint32_t{store::child});
      store_.last_steps(deeper_a | deeper_b << 16, addresses, answers);
    }
    return whole;
  }
#else
  static std::size_t lookup_by_gathers(const Address*, next_hop_number*, std::size_t) noexcept { return 0; }
#endif

  std::uint32_t* root_;
  std::uint16_t* short_;
  store store_;
  std::size_t size_ = 0;
  bool gathers_ = levels == 2 && detail::gathers_fast() && store_.gathers_reach();
};

}  // namespace runnel

#endif
