// SPDX-License-Identifier: MIT
// What has times of its own and no packets to give, among the attachments of a loop: timers, tables that expire.
#ifndef RUNNEL_FLOW_TIMED_ATTACHMENT_HPP
#define RUNNEL_FLOW_TIMED_ATTACHMENT_HPP

#include <cstddef>  // size_t

#include <runnel/base/sleeper.hpp>
#include <runnel/base/time.hpp>
#include <runnel/base/timer_wheel.hpp>
#include <runnel/flow/wait.hpp>

namespace runnel {

/// Lets a table or a wheel of timers do in each round what is due, and tells the loop how long it may sleep: anything
/// with `next_due()` and either `expire(now, limit)`, of which at most 256 entries are asked in a round, or
/// `advance(now)`. Does not keep a loop alive whose sources are done.
template <class Timed>
class timed_attachment {
 public:
  /// `attach` makes it of the library's tables and timers; of something of your own, `timed_attachment{mine}`. Refers
  /// to what it is given, which must outlive it.
  constexpr explicit timed_attachment(Timed& t) noexcept : timed_(&t) {}
  /// What the loop asks of an attachment. @{
  template <class Clock>
  std::size_t poll(Clock& clock) noexcept {
    if constexpr (requires(instant now) { timed_->advance(now); }) timed_->advance(clock.now());
    else timed_->expire(clock.now(), 256);
    return 0;
  }
  [[nodiscard]] bool done() const noexcept { return true; }
  template <class Clock>
  void prepare_to_wait(wait_list& waits, Clock&, const sleeper*) noexcept {
    waits.until(timed_->next_due());
  }
  void wait_by_itself() const noexcept {}
  /// @}

 private:
  Timed* timed_;
};

/// Joins timers to a loop: `run(clock, attach(lan, path), attach(timers))`. Refers to the wheel, which must outlive it.
template <unsigned Levels>
[[nodiscard]] constexpr auto attach(basic_timer_wheel<Levels>& timers) noexcept {
  return timed_attachment<basic_timer_wheel<Levels>>{timers};
}

}  // namespace runnel

#endif
