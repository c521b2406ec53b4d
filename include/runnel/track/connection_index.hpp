// SPDX-License-Identifier: MIT
// The hash index of a connection table: cache lines of three places each. Nothing here is for users.
//
// Theory of operation. A place holds 16 bytes of key and a reference of 4, so a line of 64 bytes has three of them, and
// a search that finds what it looks for reads one line. A key whose own line is full lies in a line behind it; every
// line counts the keys that passed it, so that a search ends where nobody went on. Nothing ever moves: connections
// remember their places.
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

struct alignas(64) index_line {
  std::uint64_t a[3];
  std::uint64_t b[3];
  place_reference to[3];
  std::uint32_t passed;  // how many keys lie in lines behind this one, on whose way it is
};
static_assert(sizeof(index_line) == 64);

class connection_index {
 public:
  static constexpr std::uint32_t none = 0xffff'ffff;  // no place

  // `lines` of them, at least one, which are set to zero here.
  connection_index(index_line* lines, std::uint32_t count, std::uint64_t seed) noexcept
      : lines_(lines), count_(count), seed_(seed) {
    for (std::uint32_t i = 0; i < count; ++i) lines_[i] = {};
  }

  [[nodiscard]] std::uint64_t seed() const noexcept { return seed_; }
  // The line where the search for a key begins.
  [[nodiscard]] RUNNEL_INLINE std::uint32_t home(std::uint64_t a, std::uint64_t b) const noexcept {
    const std::uint64_t h =
        multiply_fold(multiply_fold(a ^ flow_hash_keys[0] ^ seed_, b ^ flow_hash_keys[1]) ^ seed_, flow_hash_keys[4]);
    return static_cast<std::uint32_t>((h >> 32) * count_ >> 32);
  }
  RUNNEL_INLINE void prefetch(std::uint32_t line) const noexcept { prefetch_to_read(lines_ + line); }
  void prefetch_place(std::uint32_t place) const noexcept { prefetch_to_write(lines_ + place / 3); }

  // The place of a key that means packets with this turn, from its home on; `none` when there is none. `holds(number)`
  // is asked about a place that fits: a digest may be that of another.
  template <class Holds>
  [[nodiscard]] RUNNEL_INLINE std::uint32_t find(const tuple_key& k, std::uint32_t home, Holds holds) const noexcept {
    for (std::uint32_t line = home;;) {
      const index_line& l = lines_[line];
      // All three without a branch: nobody can predict which it is.
      unsigned fits = 0;
      for (unsigned i = 0; i < 3; ++i)
        fits |= (((l.a[i] ^ k.a) | (l.b[i] ^ k.b)) == 0 ? 1u : 0u) << i & (l.to[i].value >> k.turned & 1u) << i;
      for (; fits != 0; fits &= fits - 1) {
        const auto i = static_cast<unsigned>(__builtin_ctz(fits));
        if (holds(l.to[i].number())) [[likely]]
          return line * 3 + i;
      }
      if (l.passed == 0) [[likely]]
        return none;
      line = next(line);
      if (line == home) return none;  // of few lines, all may have been overrun at some time
    }
  }
  // Puts a key into the first free place from its home on. There is one: see `connection_table`.
  std::uint32_t insert(const tuple_key& k, std::uint32_t line, place_reference to) noexcept {
    for (;; line = next(line)) {
      index_line& l = lines_[line];
      const unsigned free =
          (l.to[0].value == 0 ? 1u : 0u) | (l.to[1].value == 0 ? 2u : 0u) | (l.to[2].value == 0 ? 4u : 0u);
      if (free != 0) [[likely]] {
        const auto i = static_cast<unsigned>(__builtin_ctz(free));
        l.a[i] = k.a, l.b[i] = k.b, l.to[i] = to;
        return line * 3 + i;
      }
      ++l.passed;
    }
  }
  void erase(std::uint32_t place) noexcept {
    const std::uint32_t at = place / 3;
    index_line& l = lines_[at];
    l.to[place % 3] = {};
    for (std::uint32_t line = home(l.a[place % 3], l.b[place % 3]); line != at; line = next(line))
      --lines_[line].passed;
  }

  [[nodiscard]] place_reference& at(std::uint32_t place) const noexcept { return lines_[place / 3].to[place % 3]; }
  [[nodiscard]] tuple_key key_at(std::uint32_t place) const noexcept {
    const index_line& l = lines_[place / 3];
    return {l.a[place % 3], l.b[place % 3], l.to[place % 3].turned()};
  }
  // The IPv4 tuple that was put at a place.
  [[nodiscard]] connection_tuple tuple4_at(std::uint32_t place) const noexcept {
    const tuple_key k = key_at(place);
    const connection_tuple t = connection_tuple::from4(k.a, k.b);
    return k.turned != 0 ? t.inverted() : t;
  }
  [[nodiscard]] std::uint32_t next(std::uint32_t line) const noexcept { return line + 1 == count_ ? 0 : line + 1; }
  [[nodiscard]] std::uint32_t lines() const noexcept { return count_; }
  [[nodiscard]] const index_line& line(std::uint32_t i) const noexcept { return lines_[i]; }

 private:
  index_line* lines_;
  std::uint32_t count_;
  std::uint64_t seed_;
};

}  // namespace runnel::detail

#endif
