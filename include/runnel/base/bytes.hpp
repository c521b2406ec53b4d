// SPDX-License-Identifier: MIT
// A window onto bytes that somebody else owns: pointer and length, nothing more. The standard's span would do,
// but its header alone costs more to parse than the rest of `base` together.
#ifndef RUNNEL_BASE_BYTES_HPP
#define RUNNEL_BASE_BYTES_HPP

#include <cstddef>      // byte, size_t
#include <type_traits>  // is_constant_evaluated

#include <runnel/config.hpp>

namespace runnel {

/// A non-owning window onto `size()` bytes, `Byte` being `std::byte` (writable) or `const std::byte`.
/// The bytes must outlive it. Converts from anything contiguous that has `data()` and `size()`.
template <class Byte>
class byte_window {
 public:
  constexpr byte_window() noexcept = default;
  /// `size` bytes from `data` on.
  constexpr byte_window(Byte* data, std::size_t size) noexcept : data_(data), size_(size) {}
  /// All of an array.
  template <std::size_t N>
  constexpr byte_window(Byte (&array)[N]) noexcept : data_(array), size_(N) {}
  /// All of anything contiguous that has `data()` and `size()`.
  template <class Range>
    requires requires(Range& r) {
      static_cast<Byte*>(r.data());
      static_cast<std::size_t>(r.size());
    }
  constexpr byte_window(Range&& range) noexcept : data_(range.data()), size_(static_cast<std::size_t>(range.size())) {}

  /// The first byte; null only in a window that was given none.
  [[nodiscard]] constexpr Byte* data() const noexcept { return data_; }
  /// How many bytes.
  [[nodiscard]] constexpr std::size_t size() const noexcept { return size_; }
  /// Whether there are none.
  [[nodiscard]] constexpr bool empty() const noexcept { return size_ == 0; }
  /// For loops over the bytes. @{
  [[nodiscard]] constexpr Byte* begin() const noexcept { return data_; }
  [[nodiscard]] constexpr Byte* end() const noexcept { return data_ + size_; }
  /// @}
  /// The byte at `i`; `i < size()` is the caller's promise, asserted.
  [[nodiscard]] constexpr Byte& operator[](std::size_t i) const noexcept {
    RUNNEL_ASSERT(i < size_);
    return data_[i];
  }
  /// The first `n` bytes, or all of them when there are fewer.
  [[nodiscard]] constexpr byte_window first(std::size_t n) const noexcept { return {data_, n < size_ ? n : size_}; }
  /// What follows the first `n` bytes; empty when there are no more than `n`.
  [[nodiscard]] constexpr byte_window from(std::size_t n) const noexcept {
    return n < size_ ? byte_window{data_ + n, size_ - n} : byte_window{data_ + size_, 0};
  }

 private:
  Byte* data_ = nullptr;
  std::size_t size_ = 0;
};

/// Bytes to read.
using bytes = byte_window<const std::byte>;
/// Bytes to write to.
using mutable_bytes = byte_window<std::byte>;

/// Whether two windows hold the same bytes.
[[nodiscard]] constexpr bool equal(bytes a, bytes b) noexcept {
  if (a.size() != b.size()) return false;
  if (!std::is_constant_evaluated()) return a.empty() || __builtin_memcmp(a.data(), b.data(), a.size()) == 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (a[i] != b[i]) return false;
  return true;
}

/// Copies `n` bytes; the ranges do not overlap.
constexpr void copy_bytes(std::byte* to, const std::byte* from, std::size_t n) noexcept {
  if (!std::is_constant_evaluated()) {
    if (n != 0) __builtin_memcpy(to, from, n);
    return;
  }
  for (std::size_t i = 0; i < n; ++i) to[i] = from[i];
}

/// Sets `n` bytes to zero.
constexpr void zero_bytes(std::byte* at, std::size_t n) noexcept {
  if (!std::is_constant_evaluated()) {
    if (n != 0) __builtin_memset(at, 0, n);
    return;
  }
  for (std::size_t i = 0; i < n; ++i) at[i] = std::byte{0};
}

}  // namespace runnel

#endif
