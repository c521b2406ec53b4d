// SPDX-License-Identifier: MIT
// The loop: polls each source for at most its budget, in turn, and runs what comes through the source's pipeline.
//
// NAPI's rule. A source that used up its budget has more, and has its turn again when every other one had its own: so
// under overload, sources share the processor as their budgets are to each other, a slow one is served once a round,
// and timers are late by one round at most. A round ends in sleep only when no source had anything, and not at once
// under load (recent_load.hpp). Then the loop waits, in one system call, for all devices, for the next timer, and for
// other threads: see sleeper.hpp for why none of them is missed. What cannot be polled, because the path behind it is
// full, is not waited for either; its full end is.
#ifndef RUNNEL_FLOW_LOOP_HPP
#define RUNNEL_FLOW_LOOP_HPP

#include <concepts>     // move_constructible
#include <cstddef>      // size_t
#include <cstdint>      // uint64_t
#include <type_traits>  // remove_reference_t
#include <utility>      // forward

#include <runnel/base/sleeper.hpp>
#include <runnel/base/time.hpp>
#include <runnel/flow/attachment_group.hpp>
#include <runnel/flow/device_concepts.hpp>
#include <runnel/flow/engine.hpp>
#include <runnel/flow/frame_engine.hpp>
#include <runnel/flow/recent_load.hpp>
#include <runnel/flow/timed_attachment.hpp>
#include <runnel/flow/wait.hpp>

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
  // What a queue holds may have been cloned by a tee before it. What crossed threads is its own.
  static constexpr bool may_be_shared = of_packets && !requires { requires Source::makes_own; };
  static constexpr place start{.packets = of_packets, .shared = may_be_shared, .burst = Burst};
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
    held_back_ = false;
    while (total < options_.budget) {
      std::size_t room = options_.budget - total < Burst ? options_.budget - total : Burst;
      const std::size_t downstream = detail::room_in(path_.stages(), clock);
      if (downstream < room) room = downstream;
      if (room == 0) {
        held_back_ = true;
        break;
      }
      const std::size_t n = poll_once(clock, room);
      total += n;
      if (n < room) break;
    }
    return total;
  }
  /// Whether nothing will ever come again, and nothing is held by a full end.
  [[nodiscard]] bool done() noexcept { return source_->done() && !detail::holds_packets(path_.stages()); }
  /// Says what to wait for. `by` is who sleeps, null when nobody can wake him.
  template <class Clock>
  void prepare_to_wait(wait_list& waits, Clock& time, const sleeper* by) noexcept {
    if (detail::room_in(path_.stages(), time) == 0) return detail::wait_for_room(path_.stages(), waits);
    // Also of one that is done: it keeps no loop alive, but may have something to do by itself as long as others do.
    if constexpr (requires {
                    { source_->next_due() } -> std::same_as<instant>;
                  })
      waits.until(source_->next_due());
    if (source_->done()) return;
    // There was no room in the round before, and is now: what the source has would not be seen until it gets more.
    if (held_back_) return waits.ready();
    // Nobody says when packets come home, and the handle would wake us for what we cannot take.
    const bool lacks = lacks_memory();
    if (lacks) waits.again();
    if constexpr (requires {
                    { source_->wait_handle() } -> std::same_as<int>;
                  })
      if (const int handle = source_->wait_handle(); handle >= 0 && !lacks) waits.add({handle, false});
    // What an attachment behind it, or another thread, has filled since it had its turn.
    if constexpr (requires { source_->empty(); })
      if (!source_->empty()) waits.ready();
    // What other threads fill later, perhaps without a word to this loop.
    if constexpr (requires { source_->wakes(*by); }) {
      if (by == nullptr) waits.ready();
      else if (!source_->wakes(*by)) waits.again();
    }
  }
  /// Whether the source can wait by itself until it has something.
  static constexpr bool waits_by_itself = requires(Source& source) { source.wait(); };
  /// Has it wait, if it can; not while a full end holds packets.
  void wait_by_itself() noexcept {
    if constexpr (waits_by_itself)
      if (!detail::holds_packets(path_.stages())) source_->wait();
  }
  /// The pipeline, for `describe` and `totals`.
  [[nodiscard]] auto& path() noexcept { return path_; }

 private:
  [[nodiscard]] bool lacks_memory() noexcept {
    if constexpr (requires {
                    { source_->lacks_memory() } -> std::same_as<bool>;
                  })
      return source_->lacks_memory();
    else return false;
  }
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
      attach.template run_rest<detail::with_packets(start, false)>(c);
      return n;
    } else {
      return detail::receive_frames<start, sees_time<Clock>>(path_.stages(), *source_, room, c,
                                                             [&](instant last) { see(clock, last, c); });
    }
  }
  // A clock that goes by the packets' own time is told of it.
  template <class Clock>
  static constexpr bool sees_time = requires(Clock& clock, instant last) { clock.seen(last); };
  template <class Clock>
  static void see(Clock& clock, instant last, context& c) noexcept {
    if constexpr (sees_time<Clock>) {
      clock.seen(last);
      c.now = clock.now();
    }
  }

  Source* source_;
  Pipeline path_;
  attach_options options_;
  bool held_back_ = false;  // it was not polled in the last round, for lack of room
};

namespace detail {
// What stands in for an attachment that cannot be, so that one error does not bring more.
struct nothing_attached {
  template <class Clock>
  std::size_t poll(Clock&) noexcept {
    return 0;
  }
  bool done() noexcept { return true; }
  template <class Clock>
  void prepare_to_wait(wait_list&, Clock&, const sleeper*) noexcept {}
  void wait_by_itself() noexcept {}
};
// Whether time may stand still while an attachment waits. A source that others fill, and that cannot wait by itself, is
// a device in the network.
template <class Attachment>
inline constexpr bool goes_by_its_packets = true;
template <std::uint16_t Burst, class Source, class Pipeline>
inline constexpr bool goes_by_its_packets<attachment<Burst, Source, Pipeline>> =
    requires(Source& s) { s.wait(); } || !requires(Source& s) { s.wait_handle(); };
template <class Attachment>
inline constexpr bool goes_by_its_packets<attachment_group<Attachment>> = goes_by_its_packets<Attachment>;

// What a loop takes packets from.
template <class T>
concept pollable = receiving_device<T> || pulled_source<T>;
// What is given to a loop by mistake: a source without its path, or a table or timers, which stay where they are,
// without `attach`.
template <class T>
concept unattached =
    pollable<T> ||
    (!std::move_constructible<T> &&
     (requires(T& t) { attach(t); } || requires(T& t) { requires pollable<std::remove_cvref_t<decltype(t.get())>>; }));
// The clock of a loop that was given none, for its error.
struct no_clock {
  [[nodiscard]] constexpr instant now() const noexcept { return {}; }
};
}  // namespace detail

/// Joins a source - a receiving device, or a queue - to the pipeline that its packets go through, `Burst` at a time. A
/// pipeline that the user keeps is referred to, one given as a temporary is moved in. The pipeline is checked here: see
/// the compile errors. Refers to the source, which must outlive it.
template <std::uint16_t Burst = default_burst, class Source, class Pipeline>
[[nodiscard]] constexpr auto attach(Source& source, Pipeline&& path, attach_options options = {}) noexcept {
  constexpr bool is_source = detail::pollable<Source>;
  static_assert(
      is_source,
      "runnel: attach() needs a device that receives, or a queue: see device_concepts.hpp; what open() returned "
      "is a result: if it is good, attach(*in, ...)");
  using path_type = decltype(runnel::as_pipeline(std::forward<Pipeline>(path)));
  if constexpr (!is_source) {
    return detail::nothing_attached{};
  } else if constexpr (!path_type::complete) {
    using checked [[maybe_unused]] = decltype(path_type::template check<place{}>());
    return detail::nothing_attached{};
  } else if constexpr (detail::pipeline_type<Pipeline>) {
    return attachment<Burst, Source, Pipeline>{source, std::forward<Pipeline>(path), options};
  } else {
    auto whole = runnel::as_pipeline(std::forward<Pipeline>(path));
    return attachment<Burst, Source, decltype(whole)>{source, std::move(whole), options};
  }
}

/// What can be stopped: every loop, whatever its type. A handler in one of the loop's own pipelines holds a pointer to
/// this, for the type of the loop contains that of the handler.
class stoppable {
 public:
  /// Ends `run()` after the round that it is in, or its sleep at once; where a source waits by itself, for the clock
  /// cannot, within a second. May come from a handler, another thread or a signal handler.
  void stop() noexcept {
    __atomic_store_n(&stop_, true, __ATOMIC_RELAXED);
    if (sleeper_ != nullptr) sleeper_->wake_up();
  }
  /// Has the loop look at all its sources, at once if it sleeps: for a source of one's own that another thread has
  /// filled. May come from any thread or signal handler. `packet_ring` does it by itself, and costs less.
  void wake() noexcept {
    __atomic_store_n(&look_, true, __ATOMIC_RELEASE);
    if (sleeper_ != nullptr) sleeper_->wake_up();
  }

 protected:
  /// `by` is whom to wake; null when the clock is no sleeper, and never sleeps longer than until it is due.
  constexpr explicit stoppable(sleeper* by) noexcept : sleeper_(by) {}
  /// Whether `stop` was called.
  [[nodiscard]] bool stopped() const noexcept {
    return __atomic_load_n(&stop_, __ATOMIC_RELAXED) ||
           (others_ != nullptr && __atomic_load_n(others_, __ATOMIC_RELAXED));
  }
  /// It counts as stopped too when this is true. Whoever sets it wakes the sleeper then.
  void stops_with(const bool& others) noexcept { others_ = &others; }
  /// Whether `wake` was called since this was asked last.
  [[nodiscard]] bool woken() noexcept {
    return __atomic_load_n(&look_, __ATOMIC_RELAXED) && __atomic_exchange_n(&look_, false, __ATOMIC_ACQUIRE);
  }
  /// Who sleeps.
  [[nodiscard]] constexpr sleeper* sleeps() const noexcept { return sleeper_; }

 private:
  sleeper* sleeper_;
  const bool* others_ = nullptr;
  bool stop_ = false;
  bool look_ = false;
};

/// Polls its attachments in turn until all are done or `stop()` is called. One thread runs it.
template <clock Clock, class... Attachments>
class loop : public stoppable {
  static_assert(!(detail::unattached<Attachments> || ...),
                "runnel: a loop needs attachments: loop work{time, attach(in, path), attach(connections)}");
  static_assert(!std::same_as<Clock, detail::no_clock>,
                "runnel: a loop needs a clock before its attachments: real_clock time; loop work{time, attach(in, "
                "path)}; for captures it is a capture_clock");

 public:
  /// Refers to the clock, which must outlive it; takes over the attachments. A clock that loops sleep by (a `sleeper`,
  /// as `real_clock` is) has one loop at a time.
  constexpr explicit loop(Clock& time, Attachments... attachments) noexcept
      : stoppable(sleeper_of(time)), clock_(&time), attachments_(std::move(attachments)...) {}

  /// One round over all sources. How many packets there were.
  std::size_t poll() noexcept { return attachments_.poll(*clock_); }
  /// Waits until a source may have something, for a round that found nothing; not at all when none ever will. The clock
  /// does the waiting, if it can: `wait_until(due, entries, n)` on file descriptors, or `wait_until(due)`. By a clock
  /// that cannot wait on file descriptors, what has one is looked at again after `wait_list::retry`; but the only
  /// source that is left waits by itself (`wait()`), if it can, as a reader of a pipe does. A clock that goes by its
  /// packets (`seen()`) stands still meanwhile, whatever is due: what comes may be older.
  void wait() noexcept {
    if (done()) return;
    constexpr std::size_t handles = (detail::handles_of<Attachments> + ... + 0);
    wait_entry entries[handles + 1];
    if constexpr (std::derived_from<Clock, sleeper>) {
      clock_->prepare_to_wait();
      // From here on nothing is missed: what came before is seen here, what comes later wakes us.
      wait_list waits{entries, handles, clock_->now()};
      attachments_.prepare_to_wait(waits, *clock_, sleeps());
      if (!stopped() && !woken() && !waits.is_ready() && !done())
        clock_->wait_until(waits.due(), entries, waits.size());
      clock_->finish_wait();
    } else {
      wait_list waits{entries, handles, clock_->now()};
      attachments_.prepare_to_wait(waits, *clock_, nullptr);
      if (waits.is_ready()) return;
      if constexpr (requires { clock_->wait_until(waits.due(), entries, waits.size()); }) {
        clock_->wait_until(waits.due(), entries, waits.size());
      } else {
        // What others fill may have something at any time, and of any time: a clock that goes by it stands still.
        constexpr bool by_packets = requires(instant t) { clock_->seen(t); };
        const bool anything_may_come = by_packets && waits.size() != 0;
        if ((anything_may_come || waits.due() == never) && attachments_.left() == 1 && attachments_.waits_by_itself())
          attachments_.wait_by_itself();
        else if constexpr (requires { clock_->wait_until(waits.due()); }) {
          if (waits.size() != 0) waits.again();
          if (!anything_may_come) clock_->wait_until(waits.due());
        }
      }
    }
  }
  /// Runs until every source is done and a round finds nothing, or until `stop()`. Waits when a round finds nothing;
  /// after much traffic, more than a packet in 0.8 us, it looks on for 50 us before: see recent_load.hpp. Once stopped,
  /// it stays so.
  void run() noexcept {
    detail::recent_load load;
    while (!stopped()) {
      if (const std::size_t n = poll(); n != 0) {
        load.came(n);
        continue;
      }
      if (done()) return;
      if constexpr (std::derived_from<Clock, sleeper>)
        if (load.goes_on(clock_->now())) continue;
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
    void prepare_to_wait(wait_list&, Clock&, const sleeper*) noexcept {}
    std::size_t left() noexcept { return 0; }
    bool waits_by_itself() noexcept { return false; }
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
    void prepare_to_wait(wait_list& waits, Clock& time, const sleeper* by) noexcept {
      first.prepare_to_wait(waits, time, by);
      more.prepare_to_wait(waits, time, by);
    }
    std::size_t left() noexcept { return detail::left_in(first) + more.left(); }
    bool waits_by_itself() noexcept { return first.done() ? more.waits_by_itself() : detail::waits_by_itself<First>; }
    void wait_by_itself() noexcept {
      if (!first.done()) first.wait_by_itself();
      else more.wait_by_itself();
    }
    First first;
    list<More...> more;
  };
  static constexpr sleeper* sleeper_of(Clock& time) noexcept {
    if constexpr (std::derived_from<Clock, sleeper>) return &time;
    else return nullptr;
  }

  Clock* clock_;
  list<Attachments...> attachments_;
};

/// An error that says what is missing, a clock.
template <class First, class... More>
  requires(!clock<First>)
loop(First, More...) -> loop<detail::no_clock, First, More...>;

/// Runs attachments until all their sources are done, by a clock of the user's.
template <clock Clock, class... Attachments>
  requires(!(detail::unattached<Attachments> || ...))
void run(Clock& time, Attachments... attachments) noexcept {
  loop<Clock, Attachments...>{time, std::move(attachments)...}.run();
}
/// Runs attachments until all their sources are done, in the time of their packets: for captures and benchmarks. A
/// device in the network needs a clock that goes on when nothing comes; one whose kind is only known at run time is
/// let through, and then connections and neighbours grow older with packets only.
template <class... Attachments>
  requires(!(clock<Attachments> || ...) && !(detail::unattached<Attachments> || ...))
void run(Attachments... attachments) noexcept {
  static_assert(
      (detail::goes_by_its_packets<Attachments> && ...),
      "runnel: run() without a clock is for captures: a device in the network needs a clock that goes on when "
      "nothing comes: real_clock time; run(time, attach(...))");
  capture_clock time;
  run(time, std::move(attachments)...);
}
/// An error that says what is missing: `run(in, path)` is `run(attach(in, path))`.
template <class... Things>
  requires(detail::unattached<std::remove_cvref_t<Things>> || ...)
void run(Things&&...) noexcept {
  static_assert(sizeof...(Things) == 0,
                "runnel: run() needs attachments: run(attach(in, path)), run(time, "
                "attach(in, path), attach(connections))");
}

}  // namespace runnel

#endif
