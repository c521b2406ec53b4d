// SPDX-License-Identifier: MIT
// What a loop collects from its attachments before it sleeps: what to wait for, and how long.
#ifndef RUNNEL_FLOW_WAIT_HPP
#define RUNNEL_FLOW_WAIT_HPP

#include <cstddef>  // size_t

#include <runnel/base/time.hpp>
#include <runnel/config.hpp>

namespace runnel {

/// A file descriptor to wait on: until there is something to read, or room to write.
struct wait_entry {
  int handle = -1;        ///< the file descriptor
  bool for_room = false;  ///< until it can be written to (POLLOUT), else until it can be read from (POLLIN)
};

/// Filled by the attachments of a loop that is about to sleep.
class wait_list {
 public:
  /// What nobody can tell is asked for again after this time: a full device without `transmit_handle()`, a ring whose
  /// producer does not know whom to wake.
  static constexpr duration retry = microseconds(100);

  /// Writes to `entries`, which has room for `capacity`. It is `now`.
  constexpr wait_list(wait_entry* entries, std::size_t capacity, instant now) noexcept
      : entries_(entries), capacity_(capacity), now_(now) {}

  /// Waits for this descriptor too. What has no room in the list is asked for again after `retry`.
  constexpr void add(wait_entry e) noexcept {
    if (size_ < capacity_) entries_[size_++] = e;
    else again();
  }
  /// Waits no longer than until `t`.
  constexpr void until(instant t) noexcept {
    if (t < due_) due_ = t;
  }
  /// Waits no longer than `retry`.
  constexpr void again() noexcept { until(now_ + retry); }
  /// Does not wait at all: there is something to do.
  constexpr void ready() noexcept { ready_ = true; }

  /// How many descriptors.
  [[nodiscard]] constexpr std::size_t size() const noexcept { return size_; }
  /// Until when.
  [[nodiscard]] constexpr instant due() const noexcept { return due_; }
  /// Whether there is something to do already.
  [[nodiscard]] constexpr bool is_ready() const noexcept { return ready_; }

 private:
  wait_entry* entries_;
  std::size_t capacity_;
  std::size_t size_ = 0;
  instant now_;
  instant due_ = never;
  bool ready_ = false;
};

}  // namespace runnel

#endif
