// SPDX-License-Identifier: MIT
// How large tables are: sums and products of counts that do not wrap around, also where size_t has 32 bits.
#ifndef RUNNEL_BASE_BYTE_COUNT_HPP
#define RUNNEL_BASE_BYTE_COUNT_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint64_t

namespace runnel {

/// A number of bytes. What is more than can be counted is the largest number, which no memory has: so a size that was
/// made of absurd counts is refused by whoever gives memory, and is never a small one.
class byte_count {
 public:
  /// So many bytes.
  constexpr byte_count(std::uint64_t n = 0) noexcept : n_(n) {}
  /// `n` objects of type `T`.
  template <class T>
  [[nodiscard]] static constexpr byte_count of(byte_count n) noexcept {
    return n * byte_count{sizeof(T)};
  }
  /// The sum, or the largest number.
  friend constexpr byte_count operator+(byte_count a, byte_count b) noexcept {
    std::uint64_t n = 0;
    return __builtin_add_overflow(a.n_, b.n_, &n) ? byte_count{most} : byte_count{n};
  }
  /// The product, or the largest number.
  friend constexpr byte_count operator*(byte_count a, byte_count b) noexcept {
    std::uint64_t n = 0;
    return __builtin_mul_overflow(a.n_, b.n_, &n) ? byte_count{most} : byte_count{n};
  }
  /// The smallest multiple of `to`, a power of two, that is not below it; or the largest number.
  [[nodiscard]] constexpr byte_count aligned(std::size_t to) const noexcept {
    const byte_count n = *this + byte_count{to - 1};
    return n.n_ == most ? n : byte_count{n.n_ & ~(std::uint64_t{to} - 1)};
  }
  /// As a `size_t`; the largest one where it has not enough bits.
  [[nodiscard]] constexpr std::size_t value() const noexcept {
    constexpr std::size_t largest = ~std::size_t{0};
    return n_ > largest ? largest : static_cast<std::size_t>(n_);
  }

 private:
  static constexpr std::uint64_t most = ~std::uint64_t{0};
  std::uint64_t n_;
};

}  // namespace runnel

#endif
