// SPDX-License-Identifier: MIT
// IPv6 routes for the fastest lookup: two tables of 16 bits each for the first half of a prefix of a site, and for what
// lies behind one cache line of ranges.
//
// Theory of operation. The routes lie in a compact trie, which alone knows all of them. In front of it is what it says,
// written out: a table of 65536 entries for the first 16 bits of an address; a page of 65536 entries for the next 16,
// for each of the few /16 in which there are routes; and for a /32 with longer routes, as large networks and providers
// have them, lines of 64 bytes:
//
//     root[2^16] ──> page[2^16] ──> line: 16 starts    0  8  9  f00 ...   where ranges of bits 32 to 47 begin
//                                         16 results   A  B  A  C   ...   and what holds from there on
//
// How many starts are not above those bits of the address is the place of its result: counted without a branch, so that
// nothing is guessed wrong; for the same reason a page leads to a line, one for each next hop, where there are no
// longer routes. A /32 with more than 16 ranges has 2, 4, 8, ... lines, for the values of its first bits. (Ranges
// instead of prefixes are those of Zec, Rizzo and Mikuc, "DXR: Towards a billion routing lookups per second in
// software", 2012.)
//
// What does not fit asks the trie, which is slower and always right: for routes longer than /48 from the node for their
// /48 on, for many ranges close together, and for all when no memory is left for lines and pages, from its root.
#ifndef RUNNEL_IP_DIR_16_16_HPP
#define RUNNEL_IP_DIR_16_16_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint16_t, uint32_t, uint64_t

#include <runnel/base/byte_count.hpp>
#include <runnel/base/bytes.hpp>
#include <runnel/base/prefetch.hpp>
#include <runnel/config.hpp>
#include <runnel/ip/compact_trie.hpp>
#include <runnel/ip/fib.hpp>
#include <runnel/ip/gathers.hpp>
#include <runnel/ip/range_lines.hpp>
#include <runnel/wire/address.hpp>

namespace runnel {

/// IPv6 routes in memory that the caller owns, on huge pages if possible. Limits as for `compact_trie`. Never
/// allocates. For one thread, or for several that only ask.
class dir_16_16 {
  using trie = compact_trie<ipv6_address>;
  using node = detail::trie_node;
  using lines = detail::range_lines;

 public:
  /// What it finds, and what routes cover. @{
  using address_type = ipv6_address;
  using prefix_type = ipv6_prefix;
  /// @}
  /// How memory must be aligned.
  static constexpr std::size_t alignment = trie::alignment;

  /// The memory for `routes` routes that are spread as those of the internet are: that of a compact trie, 512 KiB, 256
  /// KiB for each of up to 96 different /16, and 40 bytes a route. With many more different /16 than these the lookup
  /// in some is slower.
  [[nodiscard]] static constexpr std::size_t bytes_for(std::size_t routes) noexcept {
    return (byte_count{root_bytes} + front_bytes(routes) + trie::bytes_for(routes)).value();
  }
  /// An empty table in `memory`, which stays the caller's, must outlive it, be aligned to `alignment` and have at least
  /// `bytes_for(0)` bytes (asserted). It is divided as for the most routes that `bytes_for` takes no more for.
  explicit dir_16_16(mutable_bytes memory) noexcept : dir_16_16(memory, front_bytes(routes_for(memory.size()))) {}

  /// Adds a route, or gives the one that is there another next hop, which is below `no_next_hop` (asserted). False, and
  /// nothing has changed, when the table is full. Half a microsecond on average for those of the internet; a route of
  /// length n up to 32 takes 2^(32 - n) writes, but only in the /16 in which there are others, and writes the lines in
  /// it anew.
  [[nodiscard]] bool insert(const ipv6_prefix& p, next_hop_number next_hop) noexcept {
    prefetch(p.address());  // for write_out: the trie's loads go beside it
    if (!routes_.insert(p, next_hop)) return false;
    write_out(p);
    return true;
  }
  /// Removes a route. False when the very route is not there. The lines of a /32 stay as many as they are until its
  /// last longer route has gone.
  bool erase(const ipv6_prefix& p) noexcept {
    if (!routes_.erase(p)) return false;
    write_out(p);
    return true;
  }
  /// The next hop of the very route; `no_next_hop` when it is not there.
  [[nodiscard]] next_hop_number find(const ipv6_prefix& p) const noexcept { return routes_.find(p); }
  /// The next hop of the longest route that covers the address. Three loads, four for some, unless the trie must be
  /// asked.
  [[nodiscard]] RUNNEL_INLINE next_hop_number lookup(const ipv6_address& a) const noexcept {
    const std::uint32_t found = lines_.line(line_for(a)).result(below(a));
    return (found & lines::ask) == 0 ? static_cast<next_hop_number>(found) : ask(found, a);
  }
  /// The same for `n` addresses, whose loads overlap. On x86-64 with AVX-512 and BF16 a line is searched by one
  /// comparison, whatever the compiler was told, but not under sanitizers.
  void lookup(const ipv6_address* addresses, next_hop_number* answers, std::size_t n) const noexcept {
    const std::size_t done = at_once_ ? lookup_at_once(addresses, answers, n) : lookup_by_loads(addresses, answers, n);
    for (std::size_t i = done; i < n; ++i) answers[i] = lookup(addresses[i]);
  }
  /// Begins to load the line for an address. Reads the entries of its first 32 bits.
  RUNNEL_INLINE void prefetch(const ipv6_address& a) const noexcept { prefetch_to_read(&lines_.line(line_for(a))); }
  /// How many routes it holds.
  [[nodiscard]] std::size_t size() const noexcept { return routes_.size(); }
  /// How much of its memory is in use, garbage of former changes not counted.
  [[nodiscard]] std::size_t bytes_used() const noexcept {
    return root_bytes + lines_.bytes_used() + routes_.bytes_used();
  }
  /// Removes all routes.
  void clear() noexcept {
    routes_.clear();
    lines_.clear();
    for (std::size_t i = 0; i < 65536; ++i) root_[i] = lines_.entry_for(no_next_hop);
  }
  /// Calls `f(prefix, next hop)` for each route: those of up to 16 bits, then /16 by /16, shorter ones first.
  template <class F>
  void for_each(F f) const {
    routes_.for_each(f);
  }

 private:
  friend struct detail::lookup_ways;
  static constexpr std::size_t root_bytes = 65536 * sizeof(std::uint32_t);
  static constexpr std::size_t most_pages = 96;
  // Counted in entries: where the first line lies behind the root, and how long a line is.
  static constexpr std::uint32_t first_line = (root_bytes + 2 * lines::table_bytes) / sizeof(std::uint32_t);
  static constexpr std::uint32_t line_entries = sizeof(detail::range_line) / sizeof(std::uint32_t);

  static constexpr std::size_t front_bytes(std::size_t routes) noexcept {
    const std::size_t pages = routes < most_pages ? routes : most_pages;
    const byte_count of_routes = byte_count{40} * routes;
    return (of_routes + (lines::least_bytes + pages * lines::page_bytes)).aligned(alignment).value();
  }
  static constexpr std::size_t routes_for(std::size_t room) noexcept {
    std::size_t fewest = 0, most = room / 40;
    while (fewest != most) {
      const std::size_t middle = most - (most - fewest) / 2;
      if (bytes_for(middle) <= room) fewest = middle;
      else most = middle - 1;
    }
    return fewest;
  }
  dir_16_16(mutable_bytes memory, std::size_t front) noexcept
      : root_(static_cast<std::uint32_t*>(static_cast<void*>(memory.data()))),
        lines_(memory.from(root_bytes).first(front)),
        routes_(memory.from(root_bytes + front)) {
    RUNNEL_ASSERT(lines_.page(0) == root_ + first_line);
    clear();
  }

  static constexpr std::uint32_t above(const ipv6_address& a) noexcept {
    return static_cast<std::uint32_t>(a.high() >> 32);
  }
  static constexpr std::uint32_t behind(const ipv6_address& a) noexcept { return static_cast<std::uint32_t>(a.high()); }
  static constexpr std::uint32_t below(const ipv6_address& a) noexcept { return behind(a) >> 16; }
  // Which entry an address has, counted from the root on: one of the page for its /16, or where there is none that of
  // the root. Both lie in one piece of memory, so that no branch is needed, which would be guessed wrong.
  [[nodiscard]] RUNNEL_INLINE std::uint32_t entry_for(const ipv6_address& a) const noexcept {
    const std::uint32_t top = above(a) >> 16, r = root_[top];
    const std::uint32_t in_page = first_line + r * line_entries + (above(a) & 0xffff);
    return top ^ ((top ^ in_page) & lines::if_page(r));
  }
  [[nodiscard]] RUNNEL_INLINE std::uint32_t line_for(const ipv6_address& a) const noexcept {
    return lines::line_for(root_[entry_for(a)], behind(a));
  }
  [[nodiscard]] next_hop_number ask(std::uint32_t found, const ipv6_address& a) const noexcept {
    return found == lines::ask ? routes_.lookup(a) : routes_.lookup_below(lines_.node_for(found), 6, a);
  }
  // Two ways to answer for as many as are a multiple of 32, how many these were: they have to agree. One loop for both
  // is not to be had: what has the instructions of one processor is not inlined into what has those of all.
  std::size_t lookup_by_loads(const ipv6_address* addresses, next_hop_number* answers, std::size_t n) const noexcept {
    const std::size_t whole = n & ~std::size_t{31};
    for (const ipv6_address* const end = addresses + whole; addresses != end; addresses += 32, answers += 32) {
      std::uint32_t numbers[32], deeper = 0;
      find_lines(addresses, numbers);
      for (unsigned part = 0; part < 32; part += 8)
        for (unsigned i = part; i < part + 8; ++i)
          take(answers[i], lines_.line(numbers[i]).result(below(addresses[i])), deeper);
      if (deeper != 0) ask_for(deeper, addresses, answers);
    }
    return whole;
  }
#if RUNNEL_HAS_GATHERS
  [[gnu::target(RUNNEL_GATHERS_TARGET)]] std::size_t lookup_at_once(const ipv6_address* addresses,
                                                                    next_hop_number* answers,
                                                                    std::size_t n) const noexcept {
    const std::size_t whole = n & ~std::size_t{31};
    for (const ipv6_address* const end = addresses + whole; addresses != end; addresses += 32, answers += 32) {
      std::uint32_t numbers[32], deeper = 0;
      find_lines(addresses, numbers);
      for (unsigned part = 0; part < 32; part += 8)
        for (unsigned i = part; i < part + 8; ++i)
          take(answers[i], lines_.line(numbers[i]).result_at_once(below(addresses[i])), deeper);
      if (deeper != 0) ask_for(deeper, addresses, answers);
    }
    return whole;
  }
#else
  static std::size_t lookup_at_once(const ipv6_address*, next_hop_number*, std::size_t) noexcept { return 0; }
#endif
  // First where the entries of all are, then where their lines are: few instructions between loads that take long, so
  // that the processor begins many of them before it has to wait.
  RUNNEL_INLINE void find_lines(const ipv6_address* addresses, std::uint32_t* numbers) const noexcept {
    std::uint32_t entries[32];
    for (unsigned part = 0; part < 32; part += 8)
      for (unsigned i = part; i < part + 8; ++i) {
        entries[i] = entry_for(addresses[i]);
        prefetch_to_read(root_ + entries[i]);
      }
    for (unsigned part = 0; part < 32; part += 8)
      for (unsigned i = part; i < part + 8; ++i) {
        numbers[i] = lines::line_for(root_[entries[i]], behind(addresses[i]));
        prefetch_to_read(&lines_.line(numbers[i]));
      }
  }
  RUNNEL_INLINE static void take(next_hop_number& answer, std::uint32_t found, std::uint32_t& deeper) noexcept {
    answer = static_cast<next_hop_number>(found);
    deeper = deeper * 2 + found / lines::ask;
  }
  // Asks the trie where the bits of `deeper`, the first address's the highest, say so.
  RUNNEL_INLINE void ask_for(std::uint32_t deeper, const ipv6_address* addresses,
                             next_hop_number* answers) const noexcept {
    for (; deeper != 0; deeper &= deeper - 1) {
      const auto i = 31u - static_cast<unsigned>(__builtin_ctz(deeper));
      answers[i] = ask(answers[i], addresses[i]);
    }
  }

  // ---- what the trie says

  void write_out(const ipv6_prefix& p) noexcept {
    const std::uint32_t a = above(p.address());
    if (p.length() <= 16) {
      const std::uint32_t end = (a >> 16) + (1u << (16 - p.length()));
      for (std::uint32_t top = a >> 16; top != end; ++top) write_top(top, 0, 65536);
    } else if (p.length() <= 32) {
      write_top(a >> 16, a & 0xffff, (a & 0xffff) + (1u << (32 - p.length())));
    } else {
      const std::uint32_t from = below(p.address());
      write_top(a >> 16, a & 0xffff, (a & 0xffff) + 1, from, from + (p.length() < 48 ? 1u << (48 - p.length()) : 1));
    }
  }
  // The entries `from` to `to` of a page, and of their lines what holds for `first` to `last`.
  void write_top(std::uint32_t top, std::uint32_t from, std::uint32_t to, std::uint32_t first = 0,
                 std::uint32_t last = 65536) noexcept {
    std::uint32_t& r = root_[top];
    const std::uint32_t says = routes_.root_[top];
    if ((says & trie::is_node) == 0) {
      if (lines::is_page(r)) lines_.free_page(r);
      r = lines_.entry_for(says);
      return;
    }
    if (!lines::is_page(r)) {
      r = lines_.make_page();
      from = 0, to = 65536, first = 0, last = 65536;
      if (!lines::is_page(r)) return;
    }
    std::uint32_t* const page = lines_.page(r);
    const node& n = routes_.store_.at(says & ~trie::is_node);
    for (std::uint32_t i = from; i < to;) {
      const std::uint32_t e = routes_.store_.get(n, i >> 8);
      const std::uint32_t next = (i | 255) + 1 < to ? (i | 255) + 1 : to;
      if ((e & trie::store::child) == 0) {
        const std::uint32_t same = lines_.entry_for(e);
        for (; i < next; ++i) lines_.set(page[i], same);
        continue;
      }
      const node& longer = routes_.store_.of(e);
      for (; i < next; ++i) {
        const std::uint32_t deeper = routes_.store_.get(longer, i & 255);
        if ((deeper & trie::store::child) == 0) lines_.set(page[i], lines_.entry_for(deeper));
        else lines_.write(page[i], routes_.store_, routes_.store_.of(deeper), first, last);
      }
    }
  }

  std::uint32_t* root_;
  lines lines_;
  trie routes_;
  bool at_once_ = detail::gathers_fast();
};

}  // namespace runnel

#endif
