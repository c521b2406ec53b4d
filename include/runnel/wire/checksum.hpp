// SPDX-License-Identifier: MIT
// The Internet checksum: over bytes, in pieces, updated in place, completed where a device left it partial.
// RFC 1071, RFC 1624.
#ifndef RUNNEL_WIRE_CHECKSUM_HPP
#define RUNNEL_WIRE_CHECKSUM_HPP

#include <cstddef>      // byte, size_t
#include <cstdint>      // uint16_t, uint32_t, uint64_t
#include <type_traits>  // conditional_t, is_constant_evaluated

#include <runnel/base/bytes.hpp>
#include <runnel/base/endian.hpp>
#include <runnel/config.hpp>

namespace runnel {

/// Folds a sum of 16-bit words to 16 bits, without the final complement.
[[nodiscard]] constexpr std::uint16_t fold_checksum(std::uint64_t sum) noexcept {
  // Adding the halves crosswise leaves their sum with the end-around carry in the upper half.
  sum += sum >> 32 | sum << 32;
  auto half = static_cast<std::uint32_t>(sum >> 32);
  half += half >> 16 | half << 16;
  return static_cast<std::uint16_t>(half >> 16);
}

namespace detail {

// The sum is taken in words of the host's order and of any width that is handy, for that gives the bytes of the same
// sum (RFC 1071 §2 (B)); only the result is swapped.

// What the processor adds at once.
using native_word = std::conditional_t<sizeof(std::size_t) == 8, std::uint64_t, std::uint32_t>;

// A sum of words with its carries, which count as words themselves. Of several such sums, none waits for the others.
struct carrying_sum {
  std::uint64_t words = 0, carries = 0;

  RUNNEL_INLINE constexpr void add(std::uint32_t word) noexcept { words += word; }
  RUNNEL_INLINE constexpr void add(std::uint64_t word) noexcept {
    words += word;
    carries += words < word ? 1u : 0u;
  }
  // The last carry brings none with it.
  [[nodiscard]] RUNNEL_INLINE constexpr std::uint64_t all() const noexcept {
    const std::uint64_t sum = words + carries;
    return sum + (sum < carries ? 1u : 0u);
  }
};

// Vectors have no carries: whole words are added letting them go, and beside that the words' upper halves; what was
// lost is then known, for the sum of the lower halves is the difference.
[[nodiscard]] constexpr std::uint64_t sum_of_halves(std::uint64_t words, std::uint64_t upper) noexcept {
  return words - (upper << 32) + upper;
}

// Width in bytes of the vectors that this target adds at once; 0 when it has none.
#if defined(__AVX512F__)
inline constexpr std::size_t vector_bytes = 64;
#elif defined(__AVX2__)
inline constexpr std::size_t vector_bytes = 32;
#elif defined(__SSE2__) || defined(__ARM_NEON) || defined(__ALTIVEC__)
inline constexpr std::size_t vector_bytes = 16;
#else
inline constexpr std::size_t vector_bytes = 0;
#endif

template <std::size_t Width>
struct vector_of_words {
  using type [[gnu::vector_size(Width)]] = std::uint64_t;
};

// The sum of `blocks` blocks of four vectors.
template <std::size_t Width>
[[gnu::noinline]] inline std::uint64_t sum_of_blocks(const std::byte* p, std::size_t blocks) noexcept {
  using vector = typename vector_of_words<Width>::type;
  vector words0{}, words1{}, upper0{}, upper1{};
  for (; blocks != 0; --blocks, p += 4 * Width) {
    // Each vector is loaded by itself: GCC 12 copies an array of them in halves, through memory, and waits for that.
    vector a, b, c, d;
    __builtin_memcpy(&a, p, Width);
    __builtin_memcpy(&b, p + Width, Width);
    __builtin_memcpy(&c, p + 2 * Width, Width);
    __builtin_memcpy(&d, p + 3 * Width, Width);
    words0 += a + c;
    upper0 += (a >> 32) + (c >> 32);
    words1 += b + d;
    upper1 += (b >> 32) + (d >> 32);
  }
  const vector words = words0 + words1, upper = upper0 + upper1;
  std::uint64_t sum = 0;
  for (std::size_t lane = 0; lane < Width / 8; ++lane) sum += sum_of_halves(words[lane], upper[lane]);
  return sum;
}

// The sum of the bytes in host order. An odd last byte is the first of a word.
[[nodiscard]] RUNNEL_INLINE std::uint64_t sum_in_host_order(const std::byte* p, std::size_t size) noexcept {
  carrying_sum even, odd;
  constexpr std::size_t step = sizeof(native_word);
  for (; size >= 4 * step; size -= 4 * step, p += 4 * step) {
    even.add(load<native_word>(p));
    odd.add(load<native_word>(p + step));
    even.add(load<native_word>(p + 2 * step));
    odd.add(load<native_word>(p + 3 * step));
  }
  for (; size >= step; size -= step, p += step) even.add(load<native_word>(p));
  if (step == 8 && (size & 4) != 0) {
    even.carries += load<std::uint32_t>(p);
    p += 4;
  }
  if ((size & 2) != 0) {
    even.carries += load<std::uint16_t>(p);
    p += 2;
  }
  if ((size & 1) != 0) even.carries += little_endian_host ? load_u8(p) : unsigned{load_u8(p)} << 8;
  even.add(odd.words);
  even.carries += odd.carries;
  return even.all();
}

// The same of so many that vectors are worth their while, at least one block. A function of its own: what keeps
// registers for it would be more than half of a small sum.
template <std::size_t Width>
[[nodiscard]] [[gnu::noinline]] std::uint64_t sum_of_many_bytes(const std::byte* p, std::size_t size) noexcept {
  constexpr std::size_t block = 4 * Width;
  carrying_sum sum{sum_of_blocks<Width>(p, size / block)};
  sum.add(sum_in_host_order(p + size / block * block, size % block));
  return sum.all();
}
[[nodiscard]] [[gnu::noinline]] inline std::uint64_t sum_of_any_size(const std::byte* p, std::size_t size) noexcept {
  constexpr std::size_t many = vector_bytes < 32 ? 128 : 4 * vector_bytes;
  if constexpr (vector_bytes != 0)
    if (size >= many) return sum_of_many_bytes<vector_bytes>(p, size);
  return sum_in_host_order(p, size);
}
// Inlined where the size is known (addresses), and for an IPv4 header without options, which every router sums.
[[nodiscard]] RUNNEL_INLINE std::uint64_t sum_of_bytes(const std::byte* p, std::size_t size) noexcept {
  if (__builtin_constant_p(size) && size <= 64) return sum_in_host_order(p, size);
  return size == 20 ? sum_in_host_order(p, 20) : sum_of_any_size(p, size);
}

}  // namespace detail

/// The sum of the 16-bit big-endian words of `data` added to `sum`, unfolded; an odd last byte counts as the high
/// byte of a word (RFC 1071). Feed the result of one call to the next only over an even number of bytes, or use
/// `running_checksum`. Each call adds at most 0xffff, so sums may be added up as numbers.
[[nodiscard]] constexpr std::uint64_t add_checksum(bytes data, std::uint64_t sum = 0) noexcept {
  if (!std::is_constant_evaluated())
    return sum + detail::to_big(fold_checksum(detail::sum_of_bytes(data.data(), data.size())));
  std::uint64_t words = 0;
  std::size_t i = 0;
  for (; i + 1 < data.size(); i += 2) words += load_be16(data.data() + i);
  if (i < data.size()) words += static_cast<std::uint64_t>(load_u8(data.data() + i)) << 8;
  return sum + fold_checksum(words);
}

/// The Internet checksum of `data`, as it is stored in a header in host order.
[[nodiscard]] constexpr std::uint16_t checksum(bytes data, std::uint64_t sum = 0) noexcept {
  return static_cast<std::uint16_t>(~fold_checksum(add_checksum(data, sum)));
}

/// The checksum after a 16-bit word under it changed from `from` to `to` (RFC 1624, equation 3).
[[nodiscard]] constexpr std::uint16_t update_checksum16(std::uint16_t old, std::uint16_t from,
                                                        std::uint16_t to) noexcept {
  const std::uint64_t sum = std::uint64_t{static_cast<std::uint16_t>(~old)} + static_cast<std::uint16_t>(~from) + to;
  return static_cast<std::uint16_t>(~fold_checksum(sum));
}
/// The same for a 32-bit word.
[[nodiscard]] constexpr std::uint16_t update_checksum32(std::uint16_t old, std::uint32_t from,
                                                        std::uint32_t to) noexcept {
  const std::uint64_t sum = std::uint64_t{static_cast<std::uint16_t>(~old)} + static_cast<std::uint32_t>(~from) + to;
  return static_cast<std::uint16_t>(~fold_checksum(sum));
}

/// A checksum over bytes that come in pieces of any length, odd ones too: the fragments of a chained packet.
class running_checksum {
 public:
  /// Begins with a sum taken before, as of a pseudo-header.
  constexpr explicit running_checksum(std::uint64_t sum = 0) noexcept : sum_(sum) {}
  /// Adds the next piece.
  constexpr void add(bytes piece) noexcept {
    const auto words = static_cast<std::uint16_t>(add_checksum(piece));
    sum_ += odd_ ? byte_swap(words) : words;
    odd_ ^= (piece.size() & 1) != 0;
  }
  /// The sum so far, folded, without the final complement: 0xffff over data that hold a right checksum.
  [[nodiscard]] constexpr std::uint16_t sum() const noexcept { return fold_checksum(sum_); }
  /// The checksum, as it is stored in a header in host order.
  [[nodiscard]] constexpr std::uint16_t checksum() const noexcept { return static_cast<std::uint16_t>(~sum()); }

 private:
  std::uint64_t sum_;
  bool odd_ = false;
};

/// Completes a transport checksum that a virtual device left partial: the field at `start + field` holds the folded
/// sum of the pseudo-header, and the checksum covers everything from `start` on (`csum_start` and `csum_offset` of
/// virtio, CHECKSUM_PARTIAL in Linux). A result of 0 is stored as 0xffff, which is the same to TCP, and what UDP needs.
/// False, and nothing written, when the field does not lie in the packet.
[[nodiscard]] constexpr bool complete_checksum(mutable_bytes packet, std::size_t start, std::size_t field) noexcept {
  if (start > packet.size() || packet.size() - start < 2 || field > packet.size() - start - 2) return false;
  const std::uint16_t sum = checksum(packet.from(start));
  store_be16(packet.data() + start + field, sum != 0 ? sum : 0xffff);
  return true;
}

}  // namespace runnel

#endif
