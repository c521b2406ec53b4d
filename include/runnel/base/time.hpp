// SPDX-License-Identifier: MIT
// Time as an argument: a duration and an instant in nanoseconds, and the clocks that need no operating system.
#ifndef RUNNEL_BASE_TIME_HPP
#define RUNNEL_BASE_TIME_HPP

#include <concepts>  // same_as
#include <cstdint>   // int64_t

namespace runnel {

/// A span of time in nanoseconds, signed. About 292 years to either side.
struct duration {
  /// Nanoseconds; may be negative.
  std::int64_t ns = 0;

  /// Compared as numbers. @{
  friend constexpr bool operator==(duration, duration) noexcept = default;
  friend constexpr bool operator<(duration a, duration b) noexcept { return a.ns < b.ns; }
  friend constexpr bool operator>(duration a, duration b) noexcept { return b < a; }
  friend constexpr bool operator<=(duration a, duration b) noexcept { return !(b < a); }
  friend constexpr bool operator>=(duration a, duration b) noexcept { return !(a < b); }
  /// @}
  /// Sums, multiples and parts; an overflow is not looked for. @{
  friend constexpr duration operator+(duration a, duration b) noexcept { return {a.ns + b.ns}; }
  friend constexpr duration operator-(duration a, duration b) noexcept { return {a.ns - b.ns}; }
  friend constexpr duration operator*(duration a, std::int64_t k) noexcept { return {a.ns * k}; }
  friend constexpr duration operator/(duration a, std::int64_t k) noexcept { return {a.ns / k}; }
  /// @}
};

/// A duration of so many of the unit. @{
[[nodiscard]] constexpr duration nanoseconds(std::int64_t n) noexcept { return {n}; }
[[nodiscard]] constexpr duration microseconds(std::int64_t n) noexcept { return {n * 1'000}; }
[[nodiscard]] constexpr duration milliseconds(std::int64_t n) noexcept { return {n * 1'000'000}; }
[[nodiscard]] constexpr duration seconds(std::int64_t n) noexcept { return {n * 1'000'000'000}; }
/// @}

/// A point in time: nanoseconds since an origin that the clock chooses. Captures count from 1970-01-01 UTC.
struct instant {
  /// Nanoseconds since the origin of the clock.
  std::int64_t ns = 0;

  /// The earlier is the smaller. @{
  friend constexpr bool operator==(instant, instant) noexcept = default;
  friend constexpr bool operator<(instant a, instant b) noexcept { return a.ns < b.ns; }
  friend constexpr bool operator>(instant a, instant b) noexcept { return b < a; }
  friend constexpr bool operator<=(instant a, instant b) noexcept { return !(b < a); }
  friend constexpr bool operator>=(instant a, instant b) noexcept { return !(a < b); }
  /// @}
  /// A later or earlier instant, and the time between two; an overflow is not looked for. @{
  friend constexpr instant operator+(instant t, duration d) noexcept { return {t.ns + d.ns}; }
  friend constexpr instant operator-(instant t, duration d) noexcept { return {t.ns - d.ns}; }
  friend constexpr duration operator-(instant a, instant b) noexcept { return {a.ns - b.ns}; }
  /// @}
};

/// An instant that never comes.
inline constexpr instant never{INT64_MAX};

/// A clock tells the time. Everything that needs it takes one as an argument.
template <class C>
concept clock = requires(C& c) {
  { c.now() } -> std::same_as<instant>;
};

/// A clock that stands still until it is told to move: for tests, and wherever time comes from outside.
class manual_clock {
 public:
  constexpr manual_clock() noexcept = default;
  /// Stands at `start`.
  constexpr explicit manual_clock(instant start) noexcept : now_(start) {}
  /// The time that it was told last.
  [[nodiscard]] constexpr instant now() const noexcept { return now_; }
  /// Moves on by `d`.
  constexpr void advance(duration d) noexcept { now_ = now_ + d; }
  /// Moves to `t`, which may lie in the past.
  constexpr void set(instant t) noexcept { now_ = t; }

 private:
  instant now_{};
};

/// A clock that what is seen moves: the time of the newest packet, for replays in the capture's own time. Starts at 0,
/// never goes back.
class capture_clock {
 public:
  /// The time of the packet that was read last.
  [[nodiscard]] constexpr instant now() const noexcept { return now_; }
  /// A packet with this timestamp has come.
  constexpr void seen(instant t) noexcept {
    if (t > now_) now_ = t;
  }
  /// Nothing will come before `t`: it is `t` now.
  constexpr void wait_until(instant t) noexcept {
    if (t != never) seen(t);
  }

 private:
  instant now_{};
};

}  // namespace runnel

#endif
