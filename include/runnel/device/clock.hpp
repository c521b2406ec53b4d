// SPDX-License-Identifier: MIT
// The system's clock, for programs that run in real time.
#ifndef RUNNEL_DEVICE_CLOCK_HPP
#define RUNNEL_DEVICE_CLOCK_HPP

#include <climits>  // INT_MAX
#include <cstddef>  // size_t
#include <cstdint>  // int64_t

#include <runnel/base/time.hpp>

#if defined(__unix__) || defined(__APPLE__)

#include <poll.h>  // poll
#include <time.h>  // clock_gettime

namespace runnel {

/// Counts from 1970-01-01 UTC and never goes back. Set once by CLOCK_REALTIME, at construction, so that what it stamps
/// can be written to a capture; driven by CLOCK_MONOTONIC from then on, so that no timer fires early or waits for hours
/// because somebody set the date. A date that is set later is not seen: make a new clock for that.
///
/// `now` costs some 20 ns where the system answers without a system call: ask once per round, not per packet.
class real_clock {
 public:
  real_clock() noexcept : offset_(read(CLOCK_REALTIME) - read(CLOCK_MONOTONIC)) {}
  [[nodiscard]] instant now() const noexcept { return read(CLOCK_MONOTONIC) + offset_; }

  /// Sleeps until `due`, or until one of `n` file descriptors has something to read, at most 64 of which are looked
  /// at. Returns at once when `due` is over, up to a millisecond late otherwise, and early on a signal.
  void wait_until(instant due, const int* handles, std::size_t n) const noexcept {
    ::pollfd watched[64];
    if (n > sizeof watched / sizeof *watched) n = sizeof watched / sizeof *watched;
    for (std::size_t i = 0; i < n; ++i) watched[i] = {handles[i], POLLIN, 0};
    (void)::poll(watched, static_cast<::nfds_t>(n), timeout(due));
  }

 private:
  // In milliseconds, rounded up; -1 is for ever.
  [[nodiscard]] int timeout(instant due) const noexcept {
    if (due == never) return -1;
    const instant t = now();
    if (due <= t) return 0;
    const std::int64_t milliseconds_left = (due.ns - t.ns - 1) / 1'000'000 + 1;
    return milliseconds_left < INT_MAX ? static_cast<int>(milliseconds_left) : INT_MAX;
  }

  static instant read(::clockid_t id) noexcept {
    ::timespec t{};
    (void)::clock_gettime(id, &t);
    return {std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec};
  }
  duration offset_;
};
static_assert(runnel::clock<real_clock>);

}  // namespace runnel

#endif  // defined(__unix__) || defined(__APPLE__)

#endif
