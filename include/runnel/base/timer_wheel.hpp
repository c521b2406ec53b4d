// SPDX-License-Identifier: MIT
// Timers by the hundred thousand: a hierarchical timing wheel over timers that live in their owners' objects.
// Varghese and Lauck, "Hashed and Hierarchical Timing Wheels", SOSP 1987.
//
// Theory of operation. Time is cut into ticks. A wheel has `Levels` rings of 64 slots; a slot of level 0 is one tick
// wide, one of level 1 is 64, one of level 2 is 4096. A timer lies in the lowest level whose ring reaches it:
//
//     level 0   |. . . now x . . . x . . .|          runs when its tick has come
//     level 1   |. . now . . . x . . . . .|          moves down to level 0 when its slot begins
//     level 2   |now . . . . . . . . x . .|          ... to level 1 or 0
//
// All of a level lies before the next slot of the level above, so the lowest level that holds a timer holds the
// next one, and a word of 64 bits for each level finds it. Time without timers costs nothing, however long. Each
// timer moves at most `Levels - 1` times.
//
// A timer that is cancelled or destroyed only leaves its list. The bit of its slot goes when somebody looks there.
#ifndef RUNNEL_BASE_TIMER_WHEEL_HPP
#define RUNNEL_BASE_TIMER_WHEEL_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint64_t, SIZE_MAX

#include <runnel/base/numeric.hpp>
#include <runnel/base/time.hpp>
#include <runnel/config.hpp>

namespace runnel {

namespace detail {

// A place in a circular list. A list is a node whose neighbours are its first and last member, or itself.
struct timer_node {
  timer_node* next = nullptr;  // null: in no list
  timer_node* previous = nullptr;

  void unlink() noexcept {
    next->previous = previous;
    previous->next = next;
    next = nullptr;
  }
};

}  // namespace detail

/// Something to be called at a time: a member of the object that it belongs to. 40 bytes; never copied or moved,
/// since a wheel points to it. Destroying it cancels it.
///
///     struct session {
///       void expire(instant now);
///       timer idle = timer::calling<&session::expire>(*this);
///     };
///     wheel.schedule(s.idle, now + seconds(30));
class timer : private detail::timer_node {
 public:
  /// What is called; `now` is the time that `advance` was given, never before `due()`.
  using function = void (*)(void* context, instant now);

  /// A timer that calls `f(context)`.
  timer(function f, void* context) noexcept : function_(f), context_(context) {}
  /// A timer that calls `(object.*Member)(now)`. The object must outlive it, which it does as its owner.
  template <auto Member, class T>
  [[nodiscard]] static timer calling(T& object) noexcept {
    return timer{[](void* p, instant now) { (static_cast<T*>(p)->*Member)(now); }, &object};
  }
  timer(const timer&) = delete;
  timer& operator=(const timer&) = delete;
  ~timer() { cancel(); }

  /// Whether it will run. It is not scheduled any more when its function is called.
  [[nodiscard]] bool is_scheduled() const noexcept { return next != nullptr; }
  /// When it will run, or ran last: exactly the time it was scheduled for, not rounded to ticks.
  [[nodiscard]] instant due() const noexcept { return due_; }
  /// Takes it out of its wheel; nothing happens when it is in none. O(1). Allowed at any time, in callbacks too.
  void cancel() noexcept {
    if (is_scheduled()) unlink();
  }

 private:
  template <unsigned Levels>
  friend class basic_timer_wheel;

  instant due_{};
  function function_;
  void* context_;
};

/// A wheel of timers. Holds no memory but its own (`Levels` KiB on 64-bit targets, half of it on 32-bit ones) and
/// takes any number of timers. Not thread-safe: one for each worker.
///
/// A timer never runs early, and at most one tick late when `advance` is called in time. Timers run in the order of
/// their ticks, and those of one tick in the order in which they were scheduled (but for timers scheduled more than
/// `span()` ahead of where `advance` is: these keep no order among those of their tick). A timer that is due already
/// when it is scheduled runs in the next call of `advance`, before all others.
template <unsigned Levels>
class basic_timer_wheel {
 public:
  static_assert(Levels >= 2 && Levels <= 8, "runnel: a timer wheel has 2 to 8 levels");

  /// Ticks are `resolution` wide, rounded down to a power of two of nanoseconds, at least 1 ns. Nothing is scheduled
  /// before `start`, and time begins there.
  explicit basic_timer_wheel(duration resolution, instant start = {}) noexcept
      : shift_(resolution.ns < 1 ? 0u : floor_log2(static_cast<std::uint64_t>(resolution.ns))), start_(start) {
    for (auto& level : slots_)
      for (node& slot : level) make_empty(slot);
    make_empty(due_);
    make_empty(overdue_);
  }
  basic_timer_wheel(const basic_timer_wheel&) = delete;
  basic_timer_wheel& operator=(const basic_timer_wheel&) = delete;
  /// Cancels all timers. O(slots + timers).
  ~basic_timer_wheel() {
    for (auto& level : slots_)
      for (node& slot : level) unlink_all(slot);
    unlink_all(due_);
    unlink_all(overdue_);
  }

  /// How wide a tick is.
  [[nodiscard]] duration resolution() const noexcept { return {std::int64_t{1} << shift_}; }
  /// How far ahead timers keep their order within a tick. Timers further ahead run in time all the same.
  [[nodiscard]] duration span() const noexcept {
    const unsigned bits = 6 * Levels + shift_;
    return {bits < 63 ? (std::int64_t{1} << bits) - (std::int64_t{1} << (bits - 6)) : INT64_MAX};
  }

  /// Makes `t` run at `due`, and no more at the time it was scheduled for before. `never` cancels it. O(1).
  void schedule(timer& t, instant due) noexcept {
    t.cancel();
    t.due_ = due;
    if (due == never) return;
    const std::uint64_t tick = tick_of(due);
    if (tick <= now_) append(overdue_, t);
    else place(t, tick);
  }

  /// Runs what is due at `now`, at most `limit` timers, and says how many ran; the rest stays due. A function may
  /// schedule and cancel any timer, its own too, and destroy its own or any other; it may not call `advance`. What it
  /// schedules for a tick that is over waits for the next call, so a timer that is always due does not run for ever.
  /// A `now` before the tick of an earlier call, or before the start, runs nothing.
  std::size_t advance(instant now, std::size_t limit = SIZE_MAX) noexcept {
    RUNNEL_ASSERT(!running_);
    if (now < start_) return 0;
    const std::uint64_t target = since_start(now) >> shift_;
    if (target < now_) return 0;
    running_ = true;
    move_all(due_, overdue_);
    std::size_t ran = 0;
    while (run_due(now, limit, ran)) {
      const event e = next_event();
      if (e.slot == nullptr || e.tick > target) {
        now_ = target;
        break;
      }
      now_ = e.tick;
      occupied_[e.level] &= ~(std::uint64_t{1} << (e.slot - slots_[e.level]));
      if (e.level == 0) move_all(due_, *e.slot);
      else move_down(*e.slot);
    }
    running_ = false;
    return ran;
  }

  /// The time before which `advance` has nothing to do: how long a loop may sleep. Never after the time at which the
  /// next timer can run; before it when a timer further ahead has to move between levels first. `never` when nothing
  /// is scheduled. O(Levels) but for slots that were emptied by cancelling, each of which is looked at once.
  [[nodiscard]] instant next_due() noexcept {
    if (!is_empty(due_) || !is_empty(overdue_)) return time_of(now_);
    const event e = next_event();
    return e.slot == nullptr ? never : time_of(e.tick);
  }

 private:
  using node = detail::timer_node;
  static constexpr unsigned top = Levels - 1;

  // The beginning of a slot that holds timers.
  struct event {
    node* slot;
    unsigned level;
    std::uint64_t tick;
  };

  static void make_empty(node& list) noexcept { list.next = list.previous = &list; }
  static bool is_empty(const node& list) noexcept { return list.next == &list; }
  static void append(node& list, node& n) noexcept {
    n.next = &list;
    n.previous = list.previous;
    list.previous->next = &n;
    list.previous = &n;
  }
  static void unlink_all(node& list) noexcept {
    while (!is_empty(list)) list.next->unlink();
  }
  static void move_all(node& to, node& from) noexcept {
    if (is_empty(from)) return;
    from.next->previous = to.previous;
    to.previous->next = from.next;
    from.previous->next = &to;
    to.previous = from.previous;
    make_empty(from);
  }

  [[nodiscard]] std::uint64_t since_start(instant t) const noexcept {
    return static_cast<std::uint64_t>(t.ns) - static_cast<std::uint64_t>(start_.ns);
  }
  // The first tick that does not begin before `t`.
  [[nodiscard]] std::uint64_t tick_of(instant t) const noexcept {
    if (t < start_) return 0;
    const std::uint64_t ns = since_start(t);
    return (ns >> shift_) + ((ns & ((std::uint64_t{1} << shift_) - 1)) != 0 ? 1 : 0);
  }
  [[nodiscard]] instant time_of(std::uint64_t tick) const noexcept {
    const std::uint64_t most = static_cast<std::uint64_t>(INT64_MAX) - static_cast<std::uint64_t>(start_.ns);
    if (tick > most >> shift_) return never;
    return {static_cast<std::int64_t>(static_cast<std::uint64_t>(start_.ns) + (tick << shift_))};
  }

  // Puts a timer of a tick that is not before now_ into the level in which the two first differ.
  void place(timer& t, std::uint64_t tick) noexcept {
    unsigned level = floor_log2((tick ^ now_) | 63u) / 6;
    std::uint64_t at = tick;
    if (level >= top) {
      // The top level is a ring without an end: what lies further ahead waits in the slot that comes last.
      level = top;
      const std::uint64_t last = (now_ >> 6 * top) + 63;
      if ((tick >> 6 * top) > last) at = last << 6 * top;
    }
    const unsigned slot = (at >> 6 * level) & 63u;
    append(slots_[level][slot], t);
    occupied_[level] |= std::uint64_t{1} << slot;
  }

  void move_down(node& slot) noexcept {
    node moving;
    make_empty(moving);
    move_all(moving, slot);
    while (!is_empty(moving)) {
      timer& t = static_cast<timer&>(*moving.next);
      t.unlink();
      place(t, tick_of(t.due_));
    }
  }

  // Runs the timers in due_; false when the limit was reached before its end.
  bool run_due(instant now, std::size_t limit, std::size_t& ran) noexcept {
    while (!is_empty(due_)) {
      if (ran == limit) return false;
      timer& t = static_cast<timer&>(*due_.next);
      t.unlink();
      ++ran;
      t.function_(t.context_, now);  // which may destroy t
    }
    return true;
  }

  [[nodiscard]] event next_event() noexcept {
    for (unsigned level = 0; level < Levels; ++level) {
      const std::uint64_t here = now_ >> 6 * level;
      const unsigned from = level == top ? here & 63u : 0;  // below the top nothing lies behind the current slot
      while (occupied_[level] != 0) {
        const std::uint64_t bits = occupied_[level];
        const std::uint64_t turned = from == 0 ? bits : bits >> from | bits << (64 - from);
        const unsigned slot = (from + static_cast<unsigned>(__builtin_ctzll(turned))) & 63u;
        if (is_empty(slots_[level][slot])) {
          occupied_[level] &= ~(std::uint64_t{1} << slot);
          continue;
        }
        const std::uint64_t ahead = (slot - here) & 63u;
        return {&slots_[level][slot], level, (here + ahead) << 6 * level};
      }
    }
    return {nullptr, 0, 0};
  }

  unsigned shift_;
  bool running_ = false;
  instant start_;
  std::uint64_t now_ = 0;  // in ticks; all timers up to it have run or lie in due_ or overdue_
  std::uint64_t occupied_[Levels] = {};
  node due_;
  node overdue_;
  node slots_[Levels][64];
};

/// Six levels: 6 KiB, 68 thousand million ticks, two years at a millisecond.
using timer_wheel = basic_timer_wheel<6>;

}  // namespace runnel

#endif
