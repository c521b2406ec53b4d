// SPDX-License-Identifier: MIT
// The loop: polls each source for at most its budget, in turn, and runs what comes through the source's pipeline.
// NAPI's rule.
#ifndef RUNNEL_FLOW_LOOP_HPP
#define RUNNEL_FLOW_LOOP_HPP

#include <cstddef>      // size_t
#include <cstdint>      // uint64_t
#include <type_traits>  // remove_reference_t
#include <utility>      // forward

#include <runnel/base/time.hpp>
#include <runnel/base/timer_wheel.hpp>
#include <runnel/flow/device_concepts.hpp>
#include <runnel/flow/engine.hpp>
#include <runnel/flow/frame_engine.hpp>

namespace runnel {

/// How a source is polled.
struct attach_options {
  std::size_t budget = 256;  ///< packets at most before the next source has its turn; at least 1
};

/// A source of packets and the pipeline behind it. Made by `attach`.
template <std::uint16_t Burst, class Source, class Pipeline>
class attachment {
  static_assert(Burst >= 1 && Burst <= max_burst, "runnel: a burst holds 1 to 256 packets");
  static constexpr bool of_packets = pulled_source<Source>;
  // What a queue holds may have been cloned by a tee before it.
  static constexpr place start{.packets = of_packets, .shared = of_packets, .burst = Burst};
  using list_type = typename std::remove_reference_t<Pipeline>::list_type;
  using checked = decltype(std::remove_reference_t<Pipeline>::template check<start>());

 public:
  /// Use `attach`.
  constexpr attachment(Source& source, Pipeline&& path, attach_options options) noexcept
      : source_(&source), path_(std::forward<Pipeline>(path)), options_(options) {
    RUNNEL_ASSERT(options.budget != 0 && "a source without a budget is never polled, and never done");
  }

  /// Receives packets and runs them through the pipeline, a burst at a time, up to the budget. How many there were.
  template <class Clock>
  std::size_t poll(Clock& clock) noexcept {
    std::size_t total = 0;
    while (total < options_.budget) {
      std::size_t room = options_.budget - total < Burst ? options_.budget - total : Burst;
      const std::size_t downstream = detail::room_in(path_.stages());
      if (downstream < room) room = downstream;
      if (room == 0) break;
      const std::size_t n = poll_once(clock, room);
      total += n;
      if (n < room) break;
    }
    return total;
  }
  /// Whether nothing will ever come again.
  [[nodiscard]] bool done() noexcept { return source_->done(); }
  /// When the source has something next, as far as it knows; `never` when it does not.
  [[nodiscard]] instant next_due() noexcept {
    if constexpr (requires {
                    { source_->next_due() } -> std::same_as<instant>;
                  })
      return source_->next_due();
    else return never;
  }
  /// The file descriptor that tells when the source has more; -1 when there is none.
  [[nodiscard]] int wait_handle() noexcept {
    if constexpr (requires {
                    { source_->wait_handle() } -> std::same_as<int>;
                  })
      return source_->wait_handle();
    else return -1;
  }
  /// Waits until the source has something, if it can do that by itself.
  void wait_by_itself() noexcept {
    if constexpr (requires { source_->wait(); }) source_->wait();
  }
  /// The pipeline, for `describe` and `totals`.
  [[nodiscard]] auto& path() noexcept { return path_; }

 private:
  template <class Clock>
  std::size_t poll_once(Clock& clock, std::size_t room) noexcept {
    context c = detail::context_of(*source_, clock.now());
    if constexpr (of_packets) {
      detail::handle_array<Burst> packets;
      const std::size_t n = source_->pull(packets.data(), room, c.now);
      if (n != 0) detail::run<start>(path_.stages(), packets.data(), n, detail::sum_of_lengths(packets.data(), n), c);
      return n;
    } else if constexpr (detail::begins_with_packets<list_type>) {
      detail::handle_array<Burst> packets;
      detail::attacher<list_type> attach{path_.stages(), source_->memory(), packets.data(), room};
      const std::size_t n = source_->receive(room, c.now, attach);
      RUNNEL_ASSERT(n == attach.taken() && "a device says how often it called take, which it may not copy");
      if (n == 0) return 0;
      see(clock, attach.last(), c);
      attach.template run_rest<start>(c);
      return n;
    } else {
      detail::raw_array<frame, Burst> frames;
      const std::size_t n = source_->receive(room, c.now, detail::frame_taker{frames.data(), room});
      if (n == 0) return 0;
      see(clock, frames[n - 1].timestamp, c);
      detail::run_frames<start>(path_.stages(), frames.data(), n, source_->memory(), c);
      return n;
    }
  }
  // A clock that goes by the packets' own time is told of it.
  template <class Clock>
  static void see(Clock& clock, instant last, context& c) noexcept {
    if constexpr (requires { clock.seen(last); }) {
      clock.seen(last);
      c.now = clock.now();
    }
  }

  Source* source_;
  Pipeline path_;
  attach_options options_;
};

namespace detail {
// What stands in for an attachment that cannot be, so that one error does not bring more.
struct nothing_attached {
  template <class Clock>
  std::size_t poll(Clock&) noexcept {
    return 0;
  }
  bool done() noexcept { return true; }
  instant next_due() noexcept { return never; }
  void wait_by_itself() noexcept {}
  int wait_handle() noexcept { return -1; }
};
}  // namespace detail

/// Joins a source - a receiving device, or a queue - to the pipeline that its packets go through, `Burst` at a time. A
/// pipeline that the user keeps is referred to, one given as a temporary is moved in. The pipeline is checked here: see
/// the compile errors. Refers to the source, which must outlive it.
template <std::uint16_t Burst = default_burst, class Source, class Pipeline>
[[nodiscard]] constexpr auto attach(Source& source, Pipeline&& path, attach_options options = {}) noexcept {
  constexpr bool is_source = receiving_device<Source> || pulled_source<Source>;
  static_assert(is_source, "runnel: attach() needs a device that receives, or a queue: see device_concepts.hpp");
  using path_type = decltype(detail::as_pipeline(std::forward<Pipeline>(path)));
  if constexpr (!is_source) {
    return detail::nothing_attached{};
  } else if constexpr (!path_type::complete) {
    using checked [[maybe_unused]] = decltype(path_type::template check<place{}>());
    return detail::nothing_attached{};
  } else if constexpr (detail::pipeline_type<Pipeline>) {
    return attachment<Burst, Source, Pipeline>{source, std::forward<Pipeline>(path), options};
  } else {
    auto whole = detail::as_pipeline(std::forward<Pipeline>(path));
    return attachment<Burst, Source, decltype(whole)>{source, std::move(whole), options};
  }
}

/// A wheel of timers among the attachments of a loop: runs what is due in each round, and tells the loop how long it
/// may sleep. Does not keep a loop alive whose sources are done.
template <unsigned Levels>
class timer_attachment {
 public:
  /// Use `attach`.
  constexpr explicit timer_attachment(basic_timer_wheel<Levels>& timers) noexcept : timers_(&timers) {}
  /// What the loop asks of an attachment. @{
  template <class Clock>
  std::size_t poll(Clock& clock) noexcept {
    timers_->advance(clock.now());
    return 0;
  }
  [[nodiscard]] bool done() const noexcept { return true; }
  [[nodiscard]] instant next_due() noexcept { return timers_->next_due(); }
  [[nodiscard]] int wait_handle() const noexcept { return -1; }
  void wait_by_itself() const noexcept {}
  /// @}

 private:
  basic_timer_wheel<Levels>* timers_;
};

/// Joins timers to a loop: `run(clock, attach(lan, path), attach(timers))`. Refers to the wheel, which must outlive it.
template <unsigned Levels>
[[nodiscard]] constexpr auto attach(basic_timer_wheel<Levels>& timers) noexcept {
  return timer_attachment<Levels>{timers};
}

/// What can be stopped: every loop, whatever its type. A handler in one of the loop's own pipelines holds a pointer to
/// this, for the type of the loop contains that of the handler.
class stoppable {
 public:
  /// Ends `run()` after the round that it is in. May come from a handler, another thread or a signal handler.
  void stop() noexcept { __atomic_store_n(&stop_, true, __ATOMIC_RELAXED); }

 protected:
  /// Whether `stop` was called.
  [[nodiscard]] bool stopped() const noexcept { return __atomic_load_n(&stop_, __ATOMIC_RELAXED); }

 private:
  bool stop_ = false;
};

/// Polls its attachments in turn until all are done or `stop()` is called. One thread runs it.
template <clock Clock, class... Attachments>
class loop : public stoppable {
 public:
  /// Refers to the clock, which must outlive it; takes over the attachments.
  constexpr explicit loop(Clock& time, Attachments... attachments) noexcept
      : clock_(&time), attachments_(std::move(attachments)...) {}

  /// One round over all sources. How many packets there were.
  std::size_t poll() noexcept { return attachments_.poll(*clock_); }
  /// Waits until a source may have something, for a round that found nothing; not at all when none ever will. The clock
  /// does the waiting, if it can: `wait_until(due, handles, n)` on file descriptors, or `wait_until(due)`. With a clock
  /// that cannot, the only source that is left waits by itself (`wait()`), as a reader of a pipe does.
  void wait() noexcept {
    if (done()) return;
    const instant due = attachments_.next_due();
    if constexpr (requires(const int* handles) { clock_->wait_until(due, handles, std::size_t{1}); }) {
      int handles[sizeof...(Attachments) + 1];
      clock_->wait_until(due, handles, attachments_.wait_handles(handles));
    } else if (due == never && attachments_.left() == 1) {
      attachments_.wait_by_itself();
    } else if constexpr (requires { clock_->wait_until(due); }) {
      clock_->wait_until(due);
    }
  }
  /// Runs until every source is done and a round finds nothing, or until `stop()`. Waits when a round finds nothing,
  /// never under load.
  void run() noexcept {
    while (!stopped()) {
      if (poll() != 0) continue;
      if (done()) return;
      wait();
    }
  }
  /// Whether no source will ever have anything again.
  [[nodiscard]] bool done() noexcept { return attachments_.done(); }

 private:
  // The attachments as a recursive struct, for the reason given at stage_list.
  template <class... More>
  struct list {
    std::size_t poll(Clock&) noexcept { return 0; }
    bool done() noexcept { return true; }
    instant next_due() noexcept { return never; }
    std::size_t wait_handles(int*) noexcept { return 0; }
    std::size_t left() noexcept { return 0; }
    void wait_by_itself() noexcept {}
  };
  template <class First, class... More>
  struct list<First, More...> {
    constexpr explicit list(First&& f, More&&... m) noexcept : first(std::move(f)), more(std::move(m)...) {}
    std::size_t poll(Clock& time) noexcept {
      const std::size_t n = first.poll(time);
      return n + more.poll(time);
    }
    bool done() noexcept { return first.done() && more.done(); }
    instant next_due() noexcept {
      const instant a = first.next_due(), b = more.next_due();
      return a < b ? a : b;
    }
    std::size_t wait_handles(int* to) noexcept {
      const int handle = first.wait_handle();
      if (handle >= 0) *to++ = handle;
      return (handle >= 0 ? 1u : 0u) + more.wait_handles(to);
    }
    std::size_t left() noexcept { return (first.done() ? 0u : 1u) + more.left(); }
    void wait_by_itself() noexcept {
      if (!first.done()) first.wait_by_itself();
      else more.wait_by_itself();
    }
    First first;
    list<More...> more;
  };

  Clock* clock_;
  list<Attachments...> attachments_;
};

/// Runs attachments until all their sources are done, by a clock of the user's.
template <clock Clock, class... Attachments>
void run(Clock& time, Attachments... attachments) noexcept {
  loop<Clock, Attachments...>{time, std::move(attachments)...}.run();
}
/// Runs attachments until all their sources are done, in the time of their packets: for captures and benchmarks.
template <class... Attachments>
  requires(!(clock<Attachments> || ...))
void run(Attachments... attachments) noexcept {
  capture_clock time;
  run(time, std::move(attachments)...);
}

}  // namespace runnel

#endif
