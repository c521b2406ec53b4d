// SPDX-License-Identifier: MIT
// A value or the reason why there is none: the return type of everything that opens, configures or parses.
#ifndef RUNNEL_BASE_RESULT_HPP
#define RUNNEL_BASE_RESULT_HPP

#include <new>          // placement new
#include <type_traits>  // is_trivially_destructible_v
#include <utility>      // move

#include <runnel/config.hpp>

namespace runnel {

/// Holds either a `T` or an `E`. Test it like a pointer, then read it like one:
///
///     auto header = ipv4::parse(bytes);
///     if (!header) return drop(header.error());
///     use(header->source());
///
/// Reading the value of a failed result, or the error of a good one, is a programming error (RUNNEL_ASSERT).
template <class T, class E>
class [[nodiscard]] result {
 public:
  using value_type = T;
  using error_type = E;

  constexpr result(T value) noexcept : value_(std::move(value)), good_(true) {}
  constexpr result(E error) noexcept : error_(std::move(error)), good_(false) {}

  constexpr result(result&& other) noexcept
    requires std::is_trivially_move_constructible_v<T> && std::is_trivially_move_constructible_v<E>
  = default;
  constexpr result(result&& other) noexcept : good_(other.good_) {
    if (good_) ::new (static_cast<void*>(&value_)) T(std::move(other.value_));
    else ::new (static_cast<void*>(&error_)) E(std::move(other.error_));
  }
  constexpr result(const result& other) noexcept
    requires std::is_trivially_copy_constructible_v<T> && std::is_trivially_copy_constructible_v<E>
  = default;
  result& operator=(const result&) = delete;
  result& operator=(result&&) = delete;
  constexpr ~result()
    requires std::is_trivially_destructible_v<T> && std::is_trivially_destructible_v<E>
  = default;
  constexpr ~result() {
    if (good_) value_.~T();
    else error_.~E();
  }

  [[nodiscard]] constexpr explicit operator bool() const noexcept { return good_; }
  [[nodiscard]] constexpr bool has_value() const noexcept { return good_; }
  [[nodiscard]] constexpr T& operator*() & noexcept { return value(); }
  [[nodiscard]] constexpr const T& operator*() const& noexcept { return value(); }
  [[nodiscard]] constexpr T&& operator*() && noexcept { return std::move(value()); }
  [[nodiscard]] constexpr T* operator->() noexcept { return &value(); }
  [[nodiscard]] constexpr const T* operator->() const noexcept { return &value(); }
  [[nodiscard]] constexpr T& value() & noexcept {
    RUNNEL_ASSERT(good_);
    return value_;
  }
  [[nodiscard]] constexpr const T& value() const& noexcept {
    RUNNEL_ASSERT(good_);
    return value_;
  }
  [[nodiscard]] constexpr T&& value() && noexcept {
    RUNNEL_ASSERT(good_);
    return std::move(value_);
  }
  [[nodiscard]] constexpr const E& error() const noexcept {
    RUNNEL_ASSERT(!good_);
    return error_;
  }

 private:
  union {
    T value_;
    E error_;
  };
  bool good_;
};

}  // namespace runnel

#endif
