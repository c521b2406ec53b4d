// SPDX-License-Identifier: MIT
// A value or the reason why there is none: the return type of everything that opens, configures or parses.
#ifndef RUNNEL_BASE_RESULT_HPP
#define RUNNEL_BASE_RESULT_HPP

#include <new>  // placement new

#include <runnel/config.hpp>

namespace runnel {

namespace detail {

// A value or an error, copied and destroyed trivially if both are. Two classes, because Clang below 16 cannot choose
// between two constrained destructors of one. The builtin, because each result would instantiate a dozen classes of the
// standard traits.
template <class T, class E, bool Trivial = __is_trivially_copyable(T) && __is_trivially_copyable(E)>
struct result_storage {
  constexpr explicit result_storage(T&& value) noexcept : value_(static_cast<T&&>(value)), good_(true) {}
  constexpr explicit result_storage(E&& error) noexcept : error_(static_cast<E&&>(error)), good_(false) {}
  union {
    T value_;
    E error_;
  };
  const bool good_;  // so a result cannot be assigned to
};
template <class T, class E>
struct result_storage<T, E, false> {
  constexpr explicit result_storage(T&& value) noexcept : value_(static_cast<T&&>(value)), good_(true) {}
  constexpr explicit result_storage(E&& error) noexcept : error_(static_cast<E&&>(error)), good_(false) {}
  constexpr result_storage(result_storage&& other) noexcept : nothing_{}, good_(other.good_) {
    if (good_) ::new (static_cast<void*>(&value_)) T(static_cast<T&&>(other.value_));
    else ::new (static_cast<void*>(&error_)) E(static_cast<E&&>(other.error_));
  }
  constexpr ~result_storage() {
    if (good_) value_.~T();
    else error_.~E();
  }
  union {
    char nothing_;
    T value_;
    E error_;
  };
  const bool good_;
};

}  // namespace detail

/// Holds either a `T` or an `E`. Test it like a pointer, then read it like one:
///
///     auto header = ipv4::parse(bytes);
///     if (!header) return drop(header.error());
///     use(header->source());
///
/// Reading the value of a failed result, or the error of a good one, is a programming error (RUNNEL_ASSERT). It can be
/// moved, and copied where both can be without a function call; it cannot be assigned to.
template <class T, class E>
class [[nodiscard]] result : private detail::result_storage<T, E> {
 public:
  /// What it holds. @{
  using value_type = T;
  using error_type = E;
  /// @}

  /// A good result.
  constexpr result(T value) noexcept : storage(static_cast<T&&>(value)) {}
  /// A failed one.
  constexpr result(E error) noexcept : storage(static_cast<E&&>(error)) {}

  /// Whether it holds a value. @{
  [[nodiscard]] constexpr explicit operator bool() const noexcept { return good_; }
  [[nodiscard]] constexpr bool has_value() const noexcept { return good_; }
  /// @}
  /// The value. Asking a failed result for it is a programming error (RUNNEL_ASSERT). @{
  [[nodiscard]] constexpr T& operator*() & noexcept { return value(); }
  [[nodiscard]] constexpr const T& operator*() const& noexcept { return value(); }
  [[nodiscard]] constexpr T&& operator*() && noexcept { return static_cast<T&&>(value()); }
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
    return static_cast<T&&>(value_);
  }
  /// @}
  /// The error. Asking a good result for it is a programming error (RUNNEL_ASSERT).
  [[nodiscard]] constexpr const E& error() const noexcept {
    RUNNEL_ASSERT(!good_);
    return error_;
  }

 private:
  using storage = detail::result_storage<T, E>;
  using storage::error_;
  using storage::good_;
  using storage::value_;
};

}  // namespace runnel

#endif
