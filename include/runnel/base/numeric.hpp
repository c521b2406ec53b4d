// SPDX-License-Identifier: MIT
// Small sums that sizes, rings and tables keep needing: powers of two, rounding up, checked narrowing.
#ifndef RUNNEL_BASE_NUMERIC_HPP
#define RUNNEL_BASE_NUMERIC_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint32_t, uint64_t

#include <runnel/config.hpp>

namespace runnel {

/// Whether `n` is 1, 2, 4, 8, ...
[[nodiscard]] constexpr bool is_power_of_two(std::uint64_t n) noexcept { return n != 0 && (n & (n - 1)) == 0; }

/// The exponent of the largest power of two that is not above `n`: 0 for 1, 1 for 2 and 3. `n` is not 0 (asserted).
[[nodiscard]] constexpr unsigned floor_log2(std::uint64_t n) noexcept {
  RUNNEL_ASSERT(n != 0);
  return 63u - static_cast<unsigned>(__builtin_clzll(n));
}

/// The largest power of two that is not above `n`; 0 for 0.
[[nodiscard]] constexpr std::uint64_t floor_power_of_two(std::uint64_t n) noexcept {
  return n == 0 ? 0 : std::uint64_t{1} << floor_log2(n);
}

/// The smallest power of two that is not below `n`; 1 for 0. `n` is at most 2^63 (asserted).
[[nodiscard]] constexpr std::uint64_t ceil_power_of_two(std::uint64_t n) noexcept {
  RUNNEL_ASSERT(n <= std::uint64_t{1} << 63);
  return n <= 1 ? 1 : std::uint64_t{1} << (floor_log2(n - 1) + 1);
}

/// `n / by`, rounded up. `by` is not 0. No overflow, whatever `n`.
[[nodiscard]] constexpr std::size_t divide_up(std::size_t n, std::size_t by) noexcept {
  return n / by + (n % by != 0 ? 1 : 0);
}

/// `value` as a `To`, which must be able to hold it (RUNNEL_ASSERT).
template <class To, class From>
[[nodiscard]] constexpr To narrow(From value) noexcept {
  const To result = static_cast<To>(value);
  RUNNEL_ASSERT(static_cast<From>(result) == value && (result < To{}) == (value < From{}));
  return result;
}

/// Spreads a hash of 32 evenly distributed bits over `[0, n)` with one multiplication (Lemire). For `n` that are not
/// powers of two; the high bits of the hash decide.
[[nodiscard]] constexpr std::uint32_t spread_over(std::uint32_t hash, std::uint32_t n) noexcept {
  return static_cast<std::uint32_t>((std::uint64_t{hash} * n) >> 32);
}

}  // namespace runnel

#endif
