// SPDX-License-Identifier: MIT
// IPv4 routes for the fastest lookup: an entry for each of the 16 million /24, so that one load answers for most
// addresses. (Gupta, Lin and McKeown, "Routing lookups in hardware at memory access speeds", 1998.)
//
// The routes lie in a compact trie. The table of 2^24 entries of 16 bits in front of it is what the trie says, written
// out; where a /24 has longer routes, its entry leads to a group of 256 entries. A group is numbered as the trie
// numbers its node for that /24; where the memory has no group of this number, that node is asked, so that groups do
// not run out.
#ifndef RUNNEL_IP_DIR_24_8_HPP
#define RUNNEL_IP_DIR_24_8_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint16_t, uint32_t, uintptr_t

#include <runnel/base/byte_count.hpp>
#include <runnel/base/bytes.hpp>
#include <runnel/base/prefetch.hpp>
#include <runnel/config.hpp>
#include <runnel/ip/compact_trie.hpp>
#include <runnel/ip/fib.hpp>
#include <runnel/ip/gathers.hpp>
#include <runnel/wire/address.hpp>

namespace runnel {

class dir_24_8;

namespace detail {
// The two ways to look up many, which have to agree: a test calls both. That by gathers answers for as many as are a
// multiple of 16, says how many these were, and is for processors for which `gathers_work`.
inline void lookup_by_loads(const dir_24_8& table, const ipv4_address* addresses, next_hop_number* answers,
                            std::size_t n) noexcept;
#if RUNNEL_HAS_GATHERS
[[gnu::target(RUNNEL_GATHERS_TARGET)]] inline std::size_t lookup_by_gathers(const dir_24_8& table,
                                                                            const ipv4_address* addresses,
                                                                            next_hop_number* answers,
                                                                            std::size_t n) noexcept;
#else
inline std::size_t lookup_by_gathers(const dir_24_8&, const ipv4_address*, next_hop_number*, std::size_t) noexcept {
  return 0;
}
#endif
}  // namespace detail

/// IPv4 routes in memory that the caller owns, on huge pages if possible. Limits as for `compact_trie`. Never
/// allocates. For one thread, or for several that only ask.
class dir_24_8 {
  using trie = compact_trie<ipv4_address>;

 public:
  /// What it finds, and what routes cover. @{
  using address_type = ipv4_address;
  using prefix_type = ipv4_prefix;
  /// @}
  /// How memory must be aligned.
  static constexpr std::size_t alignment = trie::alignment;

  /// The memory for `routes` routes that are spread as those of the internet are: 32 MiB, and twice that of a compact
  /// trie, half of it for groups.
  [[nodiscard]] static constexpr std::size_t bytes_for(std::size_t routes) noexcept {
    return (byte_count{2} * trie::bytes_for(routes) + table_bytes).value();
  }
  /// An empty table in `memory`, which stays the caller's, must outlive it, be aligned to `alignment` and have at least
  /// `bytes_for(0)` bytes (asserted). It writes to the first `bytes_for(0)`.
  explicit dir_24_8(mutable_bytes memory) noexcept
      : dir_24_8(memory, (memory.size() - table_bytes) / 2 & ~(alignment - 1)) {}

  /// Adds a route, or gives the one that is there another next hop, which is below `no_next_hop` (asserted). False, and
  /// nothing has changed, when the table is full. A route of length n takes 2^(24 - n) writes: below a microsecond on
  /// average for those of the internet, about 10 ms for a default route.
  [[nodiscard]] bool insert(const ipv4_prefix& p, next_hop_number next_hop) noexcept {
    if (!routes_.insert(p, next_hop)) return false;
    write_out(p);
    return true;
  }
  /// Removes a route. False when the very route is not there.
  bool erase(const ipv4_prefix& p) noexcept {
    if (!routes_.erase(p)) return false;
    write_out(p);
    return true;
  }
  /// The next hop of the very route; `no_next_hop` when it is not there.
  [[nodiscard]] next_hop_number find(const ipv4_prefix& p) const noexcept { return routes_.find(p); }
  /// The next hop of the longest route that covers the address. One load, another where the /24 has longer routes.
  [[nodiscard]] RUNNEL_INLINE next_hop_number lookup(ipv4_address a) const noexcept {
    const std::uint16_t e = table_[a.value() >> 8];
    return (e & child) == 0 ? e : in_group(e, a);
  }
  /// The same for `n` addresses, whose loads overlap. On x86-64 16 loads are one instruction where that is fast,
  /// whatever the compiler was told, but not under sanitizers.
  void lookup(const ipv4_address* addresses, next_hop_number* answers, std::size_t n) const noexcept {
    const std::size_t done = gathers_ ? detail::lookup_by_gathers(*this, addresses, answers, n) : 0;
    if (done != n) detail::lookup_by_loads(*this, addresses + done, answers + done, n - done);
  }
  /// Begins to load the entry of an address.
  RUNNEL_INLINE void prefetch(ipv4_address a) const noexcept { prefetch_to_read(table_ + (a.value() >> 8)); }
  /// How many routes it holds.
  [[nodiscard]] std::size_t size() const noexcept { return routes_.size(); }
  /// How much of its memory is in use, garbage of former changes not counted.
  [[nodiscard]] std::size_t bytes_used() const noexcept {
    const std::size_t groups = routes_.store_.links_begun();
    return table_bytes + 512 * (groups < most_groups_ ? groups : most_groups_) + routes_.bytes_used();
  }
  /// Removes all routes.
  void clear() noexcept {
    routes_.clear();
    for (std::size_t i = 0; i < table_bytes / sizeof *table_; ++i) table_[i] = no_next_hop;
  }
  /// Calls `f(prefix, next hop)` for each route: those of up to 16 bits, then /16 by /16, shorter ones first.
  template <class F>
  void for_each(F f) const {
    routes_.for_each(f);
  }

 private:
  friend void detail::lookup_by_loads(const dir_24_8&, const ipv4_address*, next_hop_number*, std::size_t) noexcept;
  friend std::size_t detail::lookup_by_gathers(const dir_24_8&, const ipv4_address*, next_hop_number*,
                                               std::size_t) noexcept;
  static constexpr std::uint16_t child = trie::store::child;
  static constexpr std::size_t table_bytes = std::size_t{32} << 20;

  dir_24_8(mutable_bytes memory, std::size_t group_bytes) noexcept
      : table_(static_cast<std::uint16_t*>(static_cast<void*>(memory.data()))),
        groups_(table_ + (std::size_t{1} << 24)),
        most_groups_(group_bytes / 512),
        routes_(memory.from(table_bytes + group_bytes)) {
    clear();
  }

  // The number that the trie has for the node of a /24 is that of its group.
  static constexpr std::size_t number_of_group(std::uint16_t e) noexcept { return e & (child - 1u); }
  [[nodiscard]] RUNNEL_INLINE next_hop_number in_group(std::uint16_t e, ipv4_address a) const noexcept {
    const std::size_t group = number_of_group(e);
    if (group < most_groups_) [[likely]]
      return groups_[group * 256 + (a.value() & 255)];
    return routes_.store_.get(routes_.store_.of(e), a.value() & 255);
  }
  [[nodiscard]] bool has_all_groups() const noexcept { return routes_.store_.links_begun() <= most_groups_; }
  // Copies what the trie says about a prefix.
  void write_out(const ipv4_prefix& p) noexcept {
    const std::uint32_t first = p.address().value() >> 8;
    const std::uint32_t last = first + (p.length() >= 24 ? 0 : (1u << (24 - p.length())) - 1);
    for (std::uint32_t block = first >> 8; block <= last >> 8; ++block) {
      const std::uint32_t from = block == first >> 8 ? first & 255 : 0;
      const std::uint32_t to = block == last >> 8 ? (last & 255) + 1 : 256;
      std::uint16_t* const at = table_ + std::size_t{block} * 256;
      const std::uint32_t r = routes_.root_[block];
      if ((r & trie::is_node) == 0) {
        for (std::uint32_t i = from; i < to; ++i) at[i] = static_cast<std::uint16_t>(r);
        continue;
      }
      const auto& n = routes_.store_.at(r & ~trie::is_node);
      for (std::uint32_t i = from; i < to;) {
        const std::uint16_t e = routes_.store_.get(n, i);
        const std::uint32_t behind = n.behind_run(i) < to ? n.behind_run(i) : to;
        if ((e & child) != 0) write_group(e);
        for (; i < behind; ++i) at[i] = e;
      }
    }
  }
  void write_group(std::uint16_t e) noexcept {
    const std::size_t group = number_of_group(e);
    if (group >= most_groups_) return;
    const auto& n = routes_.store_.of(e);
    for (std::uint32_t i = 0; i < 256;) {
      const std::uint16_t next_hop = routes_.store_.get(n, i);
      for (const std::uint32_t behind = n.behind_run(i); i < behind; ++i) groups_[group * 256 + i] = next_hop;
    }
  }

  std::uint16_t* table_;
  std::uint16_t* groups_;
  std::size_t most_groups_;
  trie routes_;
  bool gathers_ = detail::gathers_fast();
};

inline void detail::lookup_by_loads(const dir_24_8& table, const ipv4_address* addresses, next_hop_number* answers,
                                    std::size_t n) noexcept {
  constexpr std::size_t step = 16;
  for (; n >= step; n -= step, addresses += step, answers += step) {
    unsigned any = 0;
    for (std::size_t i = 0; i < step; ++i) any |= answers[i] = table.table_[addresses[i].value() >> 8];
    if ((any & dir_24_8::child) == 0) [[likely]]
      continue;
    for (std::size_t i = 0; i < step; ++i)
      if ((answers[i] & dir_24_8::child) != 0) answers[i] = table.in_group(answers[i], addresses[i]);
  }
  for (std::size_t i = 0; i < n; ++i) answers[i] = table.lookup(addresses[i]);
}

#if RUNNEL_HAS_GATHERS
// Few instructions for each address leave the processor room to begin with many more before the loads of the first are
// done. A gather takes 32 bits an entry, of which the upper half is the next one: behind the last one are the groups,
// or the trie where there are none.
std::size_t detail::lookup_by_gathers(const dir_24_8& table, const ipv4_address* addresses, next_hop_number* answers,
                                      std::size_t n) noexcept {
  static_assert(sizeof(ipv4_address) == 4);
  const std::size_t whole = n & ~std::size_t{15};
  const sixteen child_bit = sixteen{} + std::uint32_t{dir_24_8::child};
  const bool all_groups = table.has_all_groups();
  for (const ipv4_address* const end = addresses + whole; addresses != end; addresses += 16, answers += 16) {
    sixteen a, at, found{};
    __builtin_memcpy(&a, addresses, sizeof a);
    at = a >> 8;
    gather<2>(found, table.table_, at, 0xffff);
    std::uint16_t children = lanes_with(found, child_bit);
    if (children != 0 && all_groups) {
      at = (found & (dir_24_8::child - 1u)) << 8 | (a & 255u);
      gather<2>(found, table.groups_, at, children);
      children = 0;
    }
    const sixteen_halves e = __builtin_convertvector(found, sixteen_halves);
    __builtin_memcpy(answers, &e, sizeof e);
    if (children == 0) [[likely]]
      continue;
    for (std::size_t i = 0; i < 16; ++i)
      if ((children >> i & 1) != 0) answers[i] = table.in_group(answers[i], addresses[i]);
  }
  return whole;
}
#endif

}  // namespace runnel

#endif
