// SPDX-License-Identifier: MIT
// What a program does once a second, say: counters shown, a file read again, something looked at.
#ifndef RUNNEL_FLOW_EVERY_HPP
#define RUNNEL_FLOW_EVERY_HPP

#include <concepts>  // invocable
#include <cstddef>   // size_t
#include <utility>   // move

#include <runnel/base/sleeper.hpp>
#include <runnel/base/time.hpp>
#include <runnel/config.hpp>
#include <runnel/flow/wait.hpp>

namespace runnel {

/// Calls a function from time to time, among the attachments of a loop. Made by `every`.
template <class F>
class periodic_call {
 public:
  /// Use `every`.
  constexpr periodic_call(duration period, F f) noexcept : function_(std::move(f)), period_(period) {
    RUNNEL_ASSERT(period.ns > 0 && "a period of nothing would keep the loop awake");
  }
  /// What the loop asks of an attachment. @{
  template <class Clock>
  std::size_t poll(Clock& clock) noexcept {
    const instant now = clock.now();
    if (!begun_) {
      // A clock that goes by packets stands at 0 until there is one.
      constexpr bool by_packets = requires { clock.seen(now); };
      begun_ = !by_packets || now != instant{};
      next_ = now + period_;
    } else if (now >= next_) {
      next_ = next_ + period_;
      if (next_ <= now) next_ = now + period_;
      if constexpr (std::invocable<F&, instant>) function_(now);
      else function_();
    }
    return 0;
  }
  [[nodiscard]] bool done() const noexcept { return true; }
  template <class Clock>
  void prepare_to_wait(wait_list& waits, Clock&, const sleeper*) noexcept {
    if (begun_) waits.until(next_);
  }
  void wait_by_itself() const noexcept {}
  /// @}

 private:
  F function_;
  duration period_;
  instant next_{};
  bool begun_ = false;
};

/// Has the loop call `f(now)`, or `f()`, once in each period, for the first time when one is over; between two rounds,
/// so that counters may be read and tables changed. What is late is called once, however much was missed. Does not
/// keep a loop alive whose sources are done, and is not called at its end.
///
///     loop work{time, attach(*nic, path), every(seconds(1), [&](instant) { report(totals(path)); })};
template <class F>
  requires std::invocable<F&, instant> || std::invocable<F&>
[[nodiscard]] constexpr auto every(duration period, F f) noexcept {
  return periodic_call<F>{period, std::move(f)};
}

}  // namespace runnel

#endif
