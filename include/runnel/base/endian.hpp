// SPDX-License-Identifier: MIT
// Loads and stores of whole numbers in network (big-endian), little-endian and host order, at any alignment.
#ifndef RUNNEL_BASE_ENDIAN_HPP
#define RUNNEL_BASE_ENDIAN_HPP

#include <cstddef>      // byte, size_t
#include <cstdint>      // uint16_t, uint32_t, uint64_t
#include <type_traits>  // is_constant_evaluated

#include <runnel/config.hpp>

namespace runnel {

/// Whether this target stores the least significant byte first.
inline constexpr bool little_endian_host = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__;

/// The same number with its bytes in the other order. @{
[[nodiscard]] constexpr std::uint16_t byte_swap(std::uint16_t v) noexcept { return __builtin_bswap16(v); }
[[nodiscard]] constexpr std::uint32_t byte_swap(std::uint32_t v) noexcept { return __builtin_bswap32(v); }
[[nodiscard]] constexpr std::uint64_t byte_swap(std::uint64_t v) noexcept { return __builtin_bswap64(v); }
/// @}

namespace detail {

template <class T>
[[nodiscard]] RUNNEL_INLINE constexpr T load(const std::byte* p) noexcept {
  if (std::is_constant_evaluated()) {
    T v = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i) {
      const std::size_t shift = 8 * (little_endian_host ? i : sizeof(T) - 1 - i);
      v = static_cast<T>(v | static_cast<T>(static_cast<T>(p[i]) << shift));
    }
    return v;
  }
  T v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}

template <class T>
RUNNEL_INLINE constexpr void store(std::byte* p, T v) noexcept {
  if (std::is_constant_evaluated()) {
    for (std::size_t i = 0; i < sizeof(T); ++i) {
      const std::size_t shift = 8 * (little_endian_host ? i : sizeof(T) - 1 - i);
      p[i] = static_cast<std::byte>((v >> shift) & 0xff);
    }
    return;
  }
  __builtin_memcpy(p, &v, sizeof v);
}

template <class T>
[[nodiscard]] constexpr T to_big(T v) noexcept {
  return little_endian_host ? byte_swap(v) : v;
}
template <class T>
[[nodiscard]] constexpr T to_little(T v) noexcept {
  return little_endian_host ? v : byte_swap(v);
}

// Stores four members that lie side by side, the first at `to`, as one word.
template <class Word>
RUNNEL_INLINE void store_side_by_side(void* to, Word a, Word b, Word c, Word d) noexcept {
  constexpr unsigned width = sizeof(Word) * 2;
  const Word word = little_endian_host ? static_cast<Word>(a | b << width | c << width * 2 | d << width * 3)
                                       : static_cast<Word>(d | c << width | b << width * 2 | a << width * 3);
  __builtin_memcpy(to, &word, sizeof word);
}

}  // namespace detail

// Each reads or writes exactly the bytes of its width at `p`, which needs no alignment.
/// Reads a number in the order and size of its name from any address: `be` is network order. Nothing is checked. @{
[[nodiscard]] constexpr std::uint8_t load_u8(const std::byte* p) noexcept { return static_cast<std::uint8_t>(*p); }
[[nodiscard]] constexpr std::uint16_t load_be16(const std::byte* p) noexcept {
  return detail::to_big(detail::load<std::uint16_t>(p));
}
[[nodiscard]] constexpr std::uint32_t load_be32(const std::byte* p) noexcept {
  return detail::to_big(detail::load<std::uint32_t>(p));
}
[[nodiscard]] constexpr std::uint64_t load_be64(const std::byte* p) noexcept {
  return detail::to_big(detail::load<std::uint64_t>(p));
}
[[nodiscard]] constexpr std::uint16_t load_le16(const std::byte* p) noexcept {
  return detail::to_little(detail::load<std::uint16_t>(p));
}
[[nodiscard]] constexpr std::uint32_t load_le32(const std::byte* p) noexcept {
  return detail::to_little(detail::load<std::uint32_t>(p));
}
[[nodiscard]] constexpr std::uint64_t load_le64(const std::byte* p) noexcept {
  return detail::to_little(detail::load<std::uint64_t>(p));
}
/// @}
/// Writes a number in the order and size of its name to any address: `be` is network order. Nothing is checked. @{
constexpr void store_u8(std::byte* p, std::uint8_t v) noexcept { *p = static_cast<std::byte>(v); }
constexpr void store_be16(std::byte* p, std::uint16_t v) noexcept { detail::store(p, detail::to_big(v)); }
constexpr void store_be32(std::byte* p, std::uint32_t v) noexcept { detail::store(p, detail::to_big(v)); }
constexpr void store_be64(std::byte* p, std::uint64_t v) noexcept { detail::store(p, detail::to_big(v)); }
constexpr void store_le16(std::byte* p, std::uint16_t v) noexcept { detail::store(p, detail::to_little(v)); }
constexpr void store_le32(std::byte* p, std::uint32_t v) noexcept { detail::store(p, detail::to_little(v)); }
constexpr void store_le64(std::byte* p, std::uint64_t v) noexcept { detail::store(p, detail::to_little(v)); }
/// @}

/// The three bytes at `p` as a number, most significant first (MPLS labels, VXLAN network identifiers).
[[nodiscard]] constexpr std::uint32_t load_be24(const std::byte* p) noexcept {
  return static_cast<std::uint32_t>(load_u8(p)) << 16 | load_be16(p + 1);
}
/// Writes the low 24 bits of `v` to the three bytes at `p`, most significant first.
constexpr void store_be24(std::byte* p, std::uint32_t v) noexcept {
  store_u8(p, static_cast<std::uint8_t>(v >> 16));
  store_be16(p + 1, static_cast<std::uint16_t>(v));
}

}  // namespace runnel

#endif
