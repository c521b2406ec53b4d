// SPDX-License-Identifier: MIT
// The hash index of a connection table: cache lines of three places each. Nothing here is for users.
//
// Theory of operation. A place holds 16 bytes of key and a reference of 4, so a line of 64 bytes has three of them, and
// a search that finds what it looks for reads one line. The last word of a line has a byte of each place's hash, so
// that a search compares all three at once, and mostly no key but the right one. A key whose own line is full lies in
// the other line of its pair, which processors like to fetch together, or else in another pair, so far behind as its
// hash says: neighbours of a full pair do not fill up with it. Every line counts the keys that passed it, so that a
// search ends where nobody went on. Nothing ever moves: connections remember their places.
//
// Both directions of a connection have the same key (see `tuple_key`), and are found in one place, unless addresses
// are translated: then each has a place of its own, good for its own direction only.
#ifndef RUNNEL_TRACK_CONNECTION_INDEX_HPP
#define RUNNEL_TRACK_CONNECTION_INDEX_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint32_t, uint64_t

#include <runnel/base/prefetch.hpp>
#include <runnel/config.hpp>
#include <runnel/track/connection_tuple.hpp>

namespace runnel::detail {

// What a place refers to. Bits 0 and 1: packets whose tuple is the key itself, or the one turned round, are meant.
// Bit 2: the tuple that was put here was turned. Bit 3: it was that of the replies. Then the connection's number + 1.
// All zero: the place is free.
struct place_reference {
  std::uint32_t value = 0;

  static constexpr std::uint32_t both_ways = 3;
  [[nodiscard]] static constexpr place_reference to(std::uint32_t number, unsigned turned, bool reply,
                                                    std::uint32_t ways) noexcept {
    return {(number + 1) << 4 | (reply ? 8u : 0u) | turned << 2 | ways};
  }
  [[nodiscard]] constexpr bool means(unsigned turned) const noexcept { return (value >> turned & 1u) != 0; }
  [[nodiscard]] constexpr unsigned turned() const noexcept { return value >> 2 & 1u; }
  [[nodiscard]] constexpr std::uint32_t number() const noexcept { return (value >> 4) - 1; }
  // 0 for a packet in the original direction, 1 for a reply.
  [[nodiscard]] constexpr unsigned direction(unsigned packet_turned) const noexcept {
    return (packet_turned ^ value >> 2 ^ value >> 3) & 1u;
  }
};

// Where the search for a key begins, and the byte that marks its place, three times. One word, which is written and
// read as a whole: two that are written one by one and read at once would have to wait for all stores before them.
struct index_home {
  std::uint64_t value;
  [[nodiscard]] constexpr std::uint32_t line() const noexcept { return static_cast<std::uint32_t>(value >> 32); }
  [[nodiscard]] constexpr std::uint32_t marks() const noexcept { return static_cast<std::uint32_t>(value); }
};

// An IPv4 address and a port.
struct tuple_end {
  std::uint32_t address;
  std::uint16_t port;
};

struct alignas(64) index_line {
  std::uint64_t a[3];
  std::uint64_t b[3];
  place_reference to[3];
  std::uint32_t marks;  // lower bytes: of each place, never 0 where it is taken; above: how many keys passed

  static constexpr std::uint32_t ones = 0x01'0101, tops = ones << 7, one_passed = 1u << 24, most_passed = 255u << 24;
  // Other lines have keys on whose way it is.
  [[nodiscard]] constexpr bool was_passed() const noexcept { return marks >= one_passed; }
  // How many, as long as that is less than 255: more are not counted, nor forgotten.
  [[nodiscard]] constexpr std::uint32_t passed() const noexcept { return marks >> 24; }
};
static_assert(sizeof(index_line) == 64);

class connection_index {
 public:
  static constexpr std::uint32_t none = 0xffff'ffff;  // no place

  // `lines` of them, an even number, which are set to zero here.
  connection_index(index_line* lines, std::uint32_t count, std::uint64_t seed) noexcept
      : lines_(lines), count_(count), far_(count > 512 ? 255 : 0), seed_(seed) {
    for (std::uint32_t i = 0; i < count; ++i) lines_[i] = {};
  }

  [[nodiscard]] std::uint64_t seed() const noexcept { return seed_; }
  [[nodiscard]] RUNNEL_INLINE index_home home(const tuple_key& k) const noexcept {
    const std::uint64_t h = multiply_fold(
        multiply_fold(k.a ^ flow_hash_keys[0] ^ seed_, k.b ^ flow_hash_keys[1]) ^ seed_, flow_hash_keys[4]);
    const std::uint64_t mark = (h & 0xffu) != 0 ? h & 0xffu : 1u;
    return {((h >> 32) * count_ & ~std::uint64_t{0xffff'ffff}) | mark * index_line::ones};
  }
  RUNNEL_INLINE void prefetch(std::uint32_t line) const noexcept { prefetch_to_read(lines_ + line); }
  void prefetch_place(std::uint32_t place) const noexcept { prefetch_to_write(lines_ + place / 4); }

  // The place of a key that means packets with this turn, from its home on; `none` when there is none. `holds(number)`
  // is asked about a place that fits: a digest may be that of another.
  template <class Holds>
  [[nodiscard]] RUNNEL_INLINE std::uint32_t find(const tuple_key& k, index_home home, Holds holds) const noexcept {
    return search(k, home, [&](place_reference to) { return to.means(k.turned) && holds(to.number()); });
  }
  // Whether no place has this key, whichever turn it means; a digest may be that of another.
  [[nodiscard]] RUNNEL_INLINE bool is_absent(const tuple_key& k, index_home home) const noexcept {
    return search(k, home, [](place_reference) { return true; }) == none;
  }
  // Whether a key cannot lie in the line of its home, should it be put somewhere now.
  [[nodiscard]] RUNNEL_INLINE bool is_full(index_home home) const noexcept {
    return zero_bytes(lines_[home.line()].marks) == 0;
  }
  // Where in that line it can be put; 0 when it cannot, or that line alone does not say that no place has it.
  [[nodiscard]] RUNNEL_INLINE std::uint32_t room_at(index_home home) const noexcept {
    const index_line& l = lines_[home.line()];
    return zero_bytes(l.marks ^ home.marks()) != 0 || l.was_passed() ? 0 : zero_bytes(l.marks);
  }
  // Puts it there.
  RUNNEL_INLINE std::uint32_t insert_at(std::uint32_t room, const tuple_key& k, index_home home,
                                        place_reference to) noexcept {
    return put(home.line(), room, k, home, to);
  }
  // Puts a key into the first free place from its home on. There is one: see `connection_table`.
  RUNNEL_INLINE std::uint32_t insert(const tuple_key& k, index_home home, place_reference to) noexcept {
    for (path at{home.line()};; go_on(at, home)) {
      index_line& l = lines_[at.line];
      const std::uint32_t free = zero_bytes(l.marks);
      if (free != 0) [[likely]]
        return put(at.line, free, k, home, to);
      if (l.marks < index_line::most_passed) l.marks += index_line::one_passed;
    }
  }
  void erase(std::uint32_t place) noexcept {
    const std::uint32_t at = place / 4, i = place % 4;
    index_line& l = lines_[at];
    l.to[i] = {};
    l.marks &= ~(0xffu << 8 * i);
    const index_home from = home({l.a[i], l.b[i], 0});
    for (path to{from.line()}; to.line != at; go_on(to, from))
      if (lines_[to.line].marks < index_line::most_passed) lines_[to.line].marks -= index_line::one_passed;
  }

  [[nodiscard]] bool has_key(std::uint32_t place, const tuple_key& k) const noexcept {
    const index_line& l = lines_[place / 4];
    return ((l.a[place % 4] ^ k.a) | (l.b[place % 4] ^ k.b)) == 0;
  }
  [[nodiscard]] place_reference& at(std::uint32_t place) const noexcept { return lines_[place / 4].to[place % 4]; }
  // The IPv4 tuple that was put at a place, or the one turned round.
  [[nodiscard]] RUNNEL_INLINE connection_tuple tuple4_at(std::uint32_t place, bool turned_round) const noexcept {
    const index_line& l = lines_[place / 4];
    const std::uint64_t a = l.a[place % 4], b = l.b[place % 4];
    const std::uint64_t mask = std::uint64_t{0} - ((l.to[place % 4].turned() ^ (turned_round ? 1u : 0u)) & 1u);
    return connection_tuple::from4(a ^ ((a ^ (a << 32 | a >> 32)) & mask), b ^ ((b ^ opposite_rest(b)) & mask));
  }
  // One end of it, of TCP or UDP.
  [[nodiscard]] RUNNEL_INLINE tuple_end end4_at(std::uint32_t place, bool turned_round, bool source) const noexcept {
    const index_line& l = lines_[place / 4];
    const unsigned upper = (l.to[place % 4].turned() ^ (turned_round ? 1u : 0u) ^ (source ? 1u : 0u)) & 1u;
    return {static_cast<std::uint32_t>(l.a[place % 4] >> 32 * upper),
            static_cast<std::uint16_t>(l.b[place % 4] >> (32 + 16 * upper))};
  }
  // The line that keys go to which do not fit into that of their home.
  RUNNEL_INLINE void prefetch_second(index_home home) const noexcept { prefetch(home.line() ^ 1u); }
  // The lines that a key with some home may be in, `n` of them: `f(line)` says whether that is enough.
  template <class F>
  void along(index_home home, std::uint32_t n, F f) const noexcept {
    for (path at{home.line()}; n-- != 0; go_on(at, home))
      if (f(lines_[at.line])) return;
  }
  [[nodiscard]] std::uint32_t lines() const noexcept { return count_; }
  [[nodiscard]] const index_line& line(std::uint32_t i) const noexcept { return lines_[i]; }

 private:
  // The way of a search: the lines of a pair, then those of another one. After eight pairs, one after the other.
  struct path {
    std::uint32_t line;
    std::uint32_t gone = 0;
  };
  RUNNEL_INLINE void go_on(path& at, index_home home) const noexcept {
    at.line ^= 1u;
    if ((++at.gone & 1u) != 0) return;
    at.line += at.gone < 16 ? 2 * ((home.marks() & far_) | 1u) : 2;
    if (at.line >= count_) at.line -= count_;
  }
  // The highest bit of each of the lower three bytes that is zero; above such a byte perhaps also of one that is 1.
  [[nodiscard]] static constexpr std::uint32_t zero_bytes(std::uint32_t v) noexcept {
    return (v - index_line::ones) & ~v & index_line::tops;
  }
  RUNNEL_INLINE std::uint32_t put(std::uint32_t line, std::uint32_t free, const tuple_key& k, index_home home,
                                  place_reference to) noexcept {
    index_line& l = lines_[line];
    const unsigned top = static_cast<unsigned>(__builtin_ctz(free)), i = top >> 3;
    l.a[i] = k.a, l.b[i] = k.b, l.to[i] = to;
    l.marks |= (home.marks() & 0xffu) << (top - 7);
    return line * 4 + i;
  }
  // The place of a key for which `fits(reference)`.
  template <class Fits>
  [[nodiscard]] RUNNEL_INLINE std::uint32_t search(const tuple_key& k, index_home home, Fits fits) const noexcept {
    for (path at{home.line()};;) {
      const index_line& l = lines_[at.line];
      for (std::uint32_t same = zero_bytes(l.marks ^ home.marks()); same != 0; same &= same - 1) {
        const unsigned i = static_cast<unsigned>(__builtin_ctz(same)) >> 3;
        if (((l.a[i] ^ k.a) | (l.b[i] ^ k.b)) == 0 && fits(l.to[i])) [[likely]]
          return at.line * 4 + i;
      }
      if (!l.was_passed()) [[likely]]
        return none;
      go_on(at, home);
      if (at.gone == count_ + 16) return none;  // of few lines, all may have been overrun at some time
    }
  }

  index_line* lines_;
  std::uint32_t count_;
  std::uint32_t far_;  // how far apart the pairs are that a key goes to: 0 where there are few
  std::uint64_t seed_;
};

}  // namespace runnel::detail

#endif
