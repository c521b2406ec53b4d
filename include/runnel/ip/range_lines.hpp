// SPDX-License-Identifier: MIT
// Pages of entries, and the lines of ranges that they lead to. See dir_16_16.hpp for how they are used.
#ifndef RUNNEL_IP_RANGE_LINES_HPP
#define RUNNEL_IP_RANGE_LINES_HPP

#include <cstddef>  // size_t
#include <cstdint>  // int8_t, int16_t, uint16_t, uint32_t, uint64_t

#include <runnel/base/bytes.hpp>
#include <runnel/config.hpp>
#include <runnel/ip/fib.hpp>
#include <runnel/ip/gathers.hpp>
#include <runnel/ip/trie_node.hpp>
#include <runnel/wire/address.hpp>

namespace runnel::detail {

// Up to 16 ranges of 16 bits, in order. Starts are less 32768, since processors compare signed numbers. The first range
// begins at the lowest; behind the last, starts are the highest there are, with its result.
struct alignas(64) range_line {
  std::int16_t starts[16];
  std::uint16_t results[16];

  // What holds for the value `x` of 16 bits, those above are not looked at: 15 less as many starts as are above it.
  [[nodiscard]] RUNNEL_INLINE std::uint32_t result(std::uint32_t x) const noexcept {
    using words [[gnu::vector_size(16)]] = std::int16_t;
    using octets [[gnu::vector_size(8)]] = std::int8_t;
    words low, high;
    __builtin_memcpy(&low, starts, sizeof low);
    __builtin_memcpy(&high, starts + 8, sizeof high);
    const std::int16_t v = start_of(x);
    const words all = {v, v, v, v, v, v, v, v};
    // Eight times 0, 1 or 2; then their sum, in the highest octet.
    const octets above = __builtin_convertvector(-((low > all) + (high > all)), octets);
    std::uint64_t sum = 0;
    __builtin_memcpy(&sum, &above, sizeof sum);
    return results[15 - (sum * 0x0101'0101'0101'0101u >> 56)];
  }
#if RUNNEL_HAS_GATHERS
  // The same by one comparison.
  [[gnu::target(RUNNEL_GATHERS_TARGET)]] RUNNEL_INLINE std::uint32_t result_at_once(std::uint32_t x) const noexcept {
    return results[15 - count_above(starts, start_of(x))];
  }
#endif
  [[nodiscard]] static std::int16_t start_of(std::uint32_t x) noexcept { return static_cast<std::int16_t>(x ^ 0x8000); }
};

// All of it in one piece of memory: lines from its beginning, pages from its end. An entry of a page leads to 2^n
// lines, for the values of n bits of the address, by 32 - n and the number of the first of them; what holds for all of
// its addresses has a line that all such entries share, with 33 instead. The entry of a /16 is one of these, or the
// number of the first line of a page.
class range_lines {
 public:
  // The bit in a result that means: ask the trie, from the node on that `node_for` tells, or for 0 from its root.
  static constexpr std::uint32_t ask = 0x8000;
  static constexpr std::size_t page_bytes = 65536 * sizeof(std::uint32_t);
  static constexpr std::size_t table_bytes = 32768 * sizeof(std::uint32_t);
  static constexpr std::size_t least_bytes = 2 * table_bytes + 4 * sizeof(range_line);

  explicit range_lines(mutable_bytes memory) noexcept
      : hops_(static_cast<std::uint32_t*>(static_cast<void*>(memory.data()))),
        nodes_(hops_ + 32768),
        lines_(static_cast<range_line*>(static_cast<void*>(memory.data() + 2 * table_bytes))) {
    const std::size_t lines = (memory.size() - 2 * table_bytes) / sizeof(range_line);
    end_ = static_cast<std::uint32_t>(lines < number ? lines : number);
    clear();
  }
  void clear() noexcept {
    fresh_line_ = used_ = 1;
    fresh_page_ = end_;
    for (std::uint32_t& f : free_) f = none;
    free_page_ = free_node_ = none;
    fresh_node_ = 1;
    fill_all(lines_[0], ask);
    for (std::size_t i = 0; i < 32768; ++i) hops_[i] = 0;
  }
  [[nodiscard]] std::size_t bytes_used() const noexcept {
    return 2 * table_bytes + std::size_t{used_} * sizeof(range_line);
  }

  [[nodiscard]] RUNNEL_INLINE static bool is_page(std::uint32_t e) noexcept { return e <= number; }
  // All bits for a /16 that has a page, else none.
  [[nodiscard]] RUNNEL_INLINE static std::uint32_t if_page(std::uint32_t e) noexcept {
    static_assert(number >> 31 == 0 && same >> 31 == 1);
    return (e >> 31) - 1;
  }
  [[nodiscard]] RUNNEL_INLINE std::uint32_t* page(std::uint32_t e) const noexcept {
    return static_cast<std::uint32_t*>(static_cast<void*>(lines_ + e));
  }
  // The number of the line for `rest`, what follows the 32 bits of an entry.
  [[nodiscard]] RUNNEL_INLINE static std::uint32_t line_for(std::uint32_t e, std::uint32_t rest) noexcept {
    return (e & number) + static_cast<std::uint32_t>(std::uint64_t{rest} >> (e >> shift));
  }
  [[nodiscard]] RUNNEL_INLINE const range_line& line(std::uint32_t n) const noexcept { return lines_[n]; }
  [[nodiscard]] RUNNEL_INLINE std::uint32_t node_for(std::uint32_t result) const noexcept {
    return nodes_[result & (ask - 1)];
  }

  // The entry where one next hop holds for all.
  [[nodiscard]] std::uint32_t entry_for(std::uint32_t hop) noexcept {
    if (hops_[hop] == 0) {
      const std::uint32_t made = make_lines(0);
      if (made == ask_entry) return ask_entry;
      hops_[hop] = made & number;
      fill_all(lines_[made & number], hop);
    }
    return same | hops_[hop];
  }
  // A page for a /16, all of it without routes; an entry that asks when there is no memory for one.
  [[nodiscard]] std::uint32_t make_page() noexcept {
    const std::uint32_t nothing = entry_for(no_next_hop);
    std::uint32_t n = free_page_;
    if (n != none) {
      free_page_ = page(n)[0];
    } else {
      if (fresh_page_ - fresh_line_ < page_lines) return ask_entry;
      n = fresh_page_ -= page_lines;
    }
    used_ += page_lines;
    for (std::size_t i = 0; i < 65536; ++i) page(n)[i] = nothing;
    return n;
  }
  void free_page(std::uint32_t n) noexcept {
    for (std::size_t i = 0; i < 65536; ++i) set(page(n)[i], ask_entry);
    page(n)[0] = free_page_;
    free_page_ = n;
    used_ -= page_lines;
  }
  // Makes an entry of a page one where the same holds for all.
  void set(std::uint32_t& e, std::uint32_t says) noexcept {
    if (is_own(e)) free_lines(e);
    e = says;
  }
  // Writes what a node of the trie, for bits 32 to 39, says about `from` to `to` to the lines of an entry, which get
  // more when they are too few.
  template <class Store>
  void write(std::uint32_t& e, const Store& store, const trie_node& n, std::uint32_t from, std::uint32_t to) noexcept {
    if (!is_own(e)) {
      e = make_lines(0);
      from = 0, to = 65536;
    }
    if (e == ask_entry || fill(e, store, n, from, to, false)) return;
    // More lines, but no more than there are ranges.
    std::uint32_t ranges = 0;
    std::uint32_t was = none;
    for (walk<Store> at(store, n, 0); at.x < 65536; was = at.says, at.go_on()) ranges += at.says != was ? 1 : 0;
    for (std::uint32_t log = log_of(e) + 1; log <= most_log && 1u << log <= ranges; ++log) {
      const std::uint32_t more = make_lines(log);
      if (more == ask_entry) break;
      if (fill(more, store, n, 0, 65536, false)) {
        free_lines(e);
        e = more;
        return;
      }
      free_lines(more);
    }
    fill(e, store, n, from, to, true);
  }

 private:
  static constexpr unsigned shift = 26;
  static constexpr std::uint32_t number = (1u << shift) - 1;
  static constexpr std::uint32_t same = 33u << shift;
  static constexpr std::uint32_t ask_entry = same;  // line 0
  static constexpr std::uint32_t most_log = 12;     // then a line is for 16 values, and has room for all of them
  static constexpr std::uint32_t page_lines = page_bytes / sizeof(range_line);
  static constexpr std::uint32_t none = 0xffff'ffff;

  [[nodiscard]] static bool is_own(std::uint32_t e) noexcept { return e < same; }
  [[nodiscard]] static std::uint32_t log_of(std::uint32_t e) noexcept { return 32 - (e >> shift); }

  static void fill_all(range_line& line, std::uint32_t says) noexcept {
    for (unsigned i = 0; i < 16; ++i) {
      line.starts[i] = i == 0 ? -32768 : 32767;
      line.results[i] = static_cast<std::uint16_t>(says);
    }
  }
  [[nodiscard]] std::uint32_t make_lines(std::uint32_t log) noexcept {
    std::uint32_t n = free_[log];
    if (n != none) {
      __builtin_memcpy(&free_[log], lines_ + n, sizeof n);
    } else {
      if (fresh_page_ - fresh_line_ < 1u << log) return ask_entry;
      n = fresh_line_;
      fresh_line_ += 1u << log;
    }
    used_ += 1u << log;
    for (std::uint32_t i = 0; i < 1u << log; ++i) fill_all(lines_[n + i], 0);
    return (32 - log) << shift | n;
  }
  void free_lines(std::uint32_t e) noexcept {
    const std::uint32_t log = log_of(e), n = e & number;
    for (std::uint32_t i = 0; i < 1u << log; ++i) free_nodes(lines_[n + i], 0, ranges_of(lines_[n + i]));
    __builtin_memcpy(static_cast<void*>(lines_ + n), &free_[log], sizeof n);
    free_[log] = n;
    used_ -= 1u << log;
  }
  // A result that leads to a node of the trie.
  [[nodiscard]] std::uint32_t link(std::uint32_t node) noexcept {
    std::uint32_t n = free_node_;
    if (n != none) free_node_ = nodes_[n];
    else if (fresh_node_ == 32768) return ask;
    else n = fresh_node_++;
    nodes_[n] = node;
    return ask | n;
  }
  void free_nodes(const range_line& line, unsigned from, unsigned to) noexcept {
    for (unsigned i = from; i < to; ++i) {
      if (line.results[i] <= ask) continue;
      nodes_[line.results[i] & (ask - 1)] = free_node_;
      free_node_ = line.results[i] & (ask - 1);
    }
  }
  // The last range may begin at the highest value: what is behind it says the same once more.
  [[nodiscard]] static unsigned ranges_of(const range_line& line) noexcept {
    unsigned n = 1;
    while (n < 16 && (line.starts[n] != 32767 || line.results[n] != line.results[n - 1])) ++n;
    return n;
  }
  // A walk through what the trie says about bits 32 to 47, from `x` on: `says`, an entry of the trie, which is a next
  // hop or leads to a node for what follows, holds from `x` to before `behind`. Entries of neighbouring runs are
  // neighbours: where one lies is counted once a node.
  template <class Store>
  class walk {
   public:
    walk(const Store& store, const trie_node& n, std::uint32_t from) noexcept
        : x(from), store_(store), n_(n), place_(n.place(from >> 8)) {
      look();
    }
    void go_on() noexcept {
      x = behind;
      if (x == 65536) return;
      if ((x & 255) == 0) ++place_, look();
      else ++inner_place_, look_inside();
    }

    std::uint32_t x, behind = 0, says = 0;

   private:
    void look() noexcept {
      says = store_.entry_at(place_);
      behind = n_.behind_run(x >> 8) << 8;
      if ((says & Store::child) == 0) return;
      inner_ = &store_.of(says);
      inner_place_ = inner_->place(x & 255);
      look_inside();
    }
    void look_inside() noexcept {
      says = store_.entry_at(inner_place_);
      behind = (x & 0xff00) + inner_->behind_run(x & 255);
    }

    const Store& store_;
    const trie_node& n_;
    const trie_node* inner_ = nullptr;
    std::uint32_t place_, inner_place_ = 0;
  };
  // False when a line has too few ranges, unless `anyhow`: then it asks.
  template <class Store>
  bool fill(std::uint32_t e, const Store& store, const trie_node& n, std::uint32_t from, std::uint32_t to,
            bool anyhow) noexcept {
    const unsigned width = 16 - log_of(e);
    for (std::uint32_t k = from >> width; k <= (to - 1) >> width; ++k) {
      range_line& line = lines_[(e & number) + k];
      const std::uint32_t first = k << width, behind = (k + 1) << width;
      // One that asks does not know what could stay.
      const bool all = line.results[0] == ask;
      if (write(line, first, behind, store, n, all || from < first ? first : from, all || to > behind ? behind : to))
        continue;
      if (!anyhow) return false;
      free_nodes(line, 0, ranges_of(line));
      fill_all(line, ask);
    }
    return true;
  }
  // Writes what the trie says about `from` to `to` to the line for `first` to `behind`; the rest stays, so that its
  // nodes need not be looked at. False when there are too many ranges, and nothing has changed.
  template <class Store>
  bool write(range_line& line, std::uint32_t first, std::uint32_t behind, const Store& store, const trie_node& n,
             std::uint32_t from, std::uint32_t to) noexcept {
    range_line made;
    unsigned used = 0;
    const auto add = [&](std::uint32_t x, std::uint32_t says) {
      if (used != 0 && made.results[used - 1] == says) return true;
      if (used == 16) return false;
      made.starts[used] = static_cast<std::int16_t>(used == 0 ? -32768 : static_cast<std::int32_t>(x) - 32768);
      made.results[used++] = static_cast<std::uint16_t>(says);
      return true;
    };
    const unsigned had = ranges_of(line);
    const auto start = [&](unsigned i) { return i == 0 ? first : static_cast<std::uint32_t>(line.starts[i] + 32768); };
    unsigned old = 0;
    for (; old != had && start(old) < from; ++old) add(start(old), line.results[old]);
    const unsigned stays = old, fresh = used;
    bool fits = true;
    for (walk<Store> at(store, n, from); fits && at.x < to; at.go_on()) {
      const bool leads = (at.says & Store::child) != 0;
      fits = used != 16 || (!leads && made.results[15] == at.says);
      if (fits) add(at.x, leads ? link(store.number_of(at.says)) : at.says);
    }
    const unsigned behind_fresh = used;
    while (old != had && start(old) < to) ++old;
    const unsigned goes = old;
    if (to != behind && (old == had || start(old) != to)) fits = fits && add(to, line.results[old - 1]);
    for (; fits && old != had; ++old) fits = add(start(old), line.results[old]);
    if (!fits) {
      free_nodes(made, fresh, behind_fresh);
      return false;
    }
    free_nodes(line, stays, goes);
    for (; used < 16; ++used) {
      made.starts[used] = 32767;
      made.results[used] = made.results[used - 1];
    }
    line = made;
    return true;
  }

  std::uint32_t* hops_;   // of each next hop: the line that says so for all, if not 0
  std::uint32_t* nodes_;  // of each result that asks: the node of the trie
  range_line* lines_;
  std::uint32_t end_ = 0;
  std::uint32_t fresh_line_ = 0, fresh_page_ = 0, used_ = 0, fresh_node_ = 0;
  std::uint32_t free_[most_log + 1] = {}, free_page_ = none, free_node_ = none;
};

}  // namespace runnel::detail

#endif
