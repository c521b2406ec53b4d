// SPDX-License-Identifier: MIT
// The system's clock, for programs that run in real time, and how their loops sleep.
#ifndef RUNNEL_DEVICE_CLOCK_HPP
#define RUNNEL_DEVICE_CLOCK_HPP

#include <climits>  // INT_MAX
#include <cstddef>  // size_t
#include <cstdint>  // int64_t

#include <runnel/base/sleeper.hpp>
#include <runnel/base/time.hpp>
#include <runnel/device/bell.hpp>
#include <runnel/flow/wait.hpp>

#if defined(__unix__) || defined(__APPLE__)

#include <poll.h>  // poll, ppoll
#include <time.h>  // clock_gettime

namespace runnel {

/// Counts from 1970-01-01 UTC and never goes back. Set once by CLOCK_REALTIME, at construction, so that what it stamps
/// can be written to a capture; driven by CLOCK_MONOTONIC from then on, so that no timer fires early or waits for hours
/// because somebody set the date. A date that is set later is not seen: make a new clock for that.
///
/// `now` costs some 20 ns where the system answers without a system call: ask once per round, not per packet.
///
/// A loop sleeps by its clock, so a loop has a clock of its own; others may only read the time. Its first sleep opens
/// an eventfd, by which `stop()`, `wake()` and the rings that other threads fill end it. When there is no file
/// descriptor left it looks for those every 10 ms.
class real_clock : public sleeper {
 public:
  real_clock() noexcept : sleeper(&kick), offset_(read(CLOCK_REALTIME) - read(CLOCK_MONOTONIC)) {}
  /// The time, with a resolution of nanoseconds.
  [[nodiscard]] instant now() const noexcept { return read(CLOCK_MONOTONIC) + offset_; }

  /// See `sleeper`: for the thread that sleeps.
  void prepare_to_wait() noexcept {
    can_be_woken_ = bell_.open();
    sleeper::prepare_to_wait();
  }
  /// Sleeps, in one system call, until `due`, until one of the first `n` entries has something to read or room to
  /// write, until `wake_up`, until a signal, or for a day. Returns at once when `due` is over; otherwise as late as the
  /// system's timers are, 50 us unless the thread set its timer slack (prctl), up to a millisecond where there is no
  /// ppoll. A descriptor that only reports an error, as that of a device that is gone, cuts the sleep to a millisecond
  /// instead of ending it, so that it costs no core.
  template <std::size_t Most>
  void wait_until(instant due, const wait_entry (&entries)[Most], std::size_t n) noexcept {
    ::pollfd watched[Most + 1];
    watched[0] = {bell_.handle(), POLLIN, 0};
    for (std::size_t i = 0; i < n; ++i)
      watched[i + 1] = {entries[i].handle, static_cast<short>(entries[i].for_room ? POLLOUT : POLLIN), 0};
    if (!can_be_woken_ && now() + look_after < due) due = now() + look_after;
    sleep(watched, n + 1, due);
    if (watched[0].revents != 0) bell_.answer();
  }

 private:
  static constexpr duration look_after = milliseconds(10);
  static constexpr duration after_an_error = milliseconds(1);

  static void kick(sleeper& self) noexcept { static_cast<real_clock&>(self).bell_.ring(); }

  void sleep(::pollfd* watched, std::size_t n, instant due) const noexcept {
    const int ready = wait_on(watched, n, due);
    if (ready <= 0) return;
    for (std::size_t i = 0; i < n; ++i)
      if ((watched[i].revents & (POLLIN | POLLOUT)) != 0) return;
    const instant limit = now() + after_an_error;
    for (std::size_t i = 0; i < n; ++i)
      if (watched[i].revents != 0) watched[i].fd = -1;
    (void)wait_on(watched, n, due < limit ? due : limit);
  }
  // Nanoseconds, 0 when it is over; a source that always has something says the earliest instant there is. At most a
  // day, for a time of the system's may have 32 bits: the loop then looks once, and sleeps again.
  std::int64_t until(instant due) const noexcept {
    const instant at = now();
    if (due <= at) return 0;
    constexpr duration day = seconds(86'400);
    return (due - at < day ? due - at : day).ns;
  }
#if defined(__linux__)
  int wait_on(::pollfd* watched, std::size_t n, instant due) const noexcept {
    constexpr std::int64_t second = 1'000'000'000;
    const std::int64_t wait = until(due);
    const ::timespec timeout{static_cast<::time_t>(wait / second), static_cast<long>(wait % second)};
    return ::ppoll(watched, static_cast<::nfds_t>(n), due == never ? nullptr : &timeout, nullptr);
  }
#else
  int wait_on(::pollfd* watched, std::size_t n, instant due) const noexcept {
    const std::int64_t left = until(due);
    const std::int64_t rounded_up = left > 0 ? (left - 1) / 1'000'000 + 1 : 0;
    const int timeout = due == never ? -1 : rounded_up < INT_MAX ? static_cast<int>(rounded_up) : INT_MAX;
    return ::poll(watched, static_cast<::nfds_t>(n), timeout);
  }
#endif

  static instant read(::clockid_t id) noexcept {
    ::timespec t{};
    (void)::clock_gettime(id, &t);
    return {std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec};
  }

  duration offset_;
  detail::bell bell_;
  bool can_be_woken_ = true;
};
static_assert(runnel::clock<real_clock>);

}  // namespace runnel

#endif  // defined(__unix__) || defined(__APPLE__)

#endif
