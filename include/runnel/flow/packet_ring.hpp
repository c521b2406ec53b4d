// SPDX-License-Identifier: MIT
// A ring that packets cross threads by: the end of a path on one thread, `enqueue(ring)`, and a source on another,
// `attach(ring, path)`.
//
// Who is awake is left alone: a producer wakes the consumer's loop only when it sleeps, so under load a crossing costs
// no system call (see sleeper.hpp). What crosses is the packet's own: bytes that are shared with a clone, or lent by a
// device, are copied before. It goes home by its pool's lock-free list, from whatever thread lets go of it.
#ifndef RUNNEL_FLOW_PACKET_RING_HPP
#define RUNNEL_FLOW_PACKET_RING_HPP

#include <cstddef>  // size_t

#include <runnel/base/ring.hpp>
#include <runnel/base/sleeper.hpp>
#include <runnel/base/time.hpp>
#include <runnel/packet/packet.hpp>
#include <runnel/packet/pool.hpp>
#include <runnel/packet/verdict.hpp>

namespace runnel {

/// A bounded ring of `Capacity` packets (a power of two) between two threads, or, with `Capacity` 0, in memory given at
/// construction. One thread puts packets in, by `enqueue(ring)` or `push`, and another takes them out, by `attach(ring,
/// path)`. A full ring refuses newcomers, and `enqueue` counts them (drop_reason::queue_full). In order. Must outlive
/// both threads' loops; the pools of the packets in it, and the consumer's clock, must outlive the ring.
///
///     real_clock here, there;
///     packet_ring<1024> ring{there};
///     std::thread other{[&] { run(there, attach(ring, parse() | slow_work | transmit(wan))); }};
///     run(here, attach(lan, enqueue(ring)));
///     ring.close();
///     other.join();
template <std::size_t Capacity = 0>
class packet_ring {
 public:
  static constexpr bool makes_own = true;  ///< what comes out of it may be written to

  /// A ring whose consumer is not woken: its loop looks every 100 us.
  packet_ring() noexcept
    requires(Capacity != 0)
  = default;
  /// A ring whose consumer's loop sleeps by this clock.
  explicit packet_ring(sleeper& consumer) noexcept
    requires(Capacity != 0)
      : consumer_(&consumer) {}
  /// The same in `memory`, which stays the caller's and must outlive it: 8 bytes (a pointer) for each packet, aligned
  /// to that; it holds the largest power of two that fits, at least one (RUNNEL_ASSERT).
  packet_ring(sleeper& consumer, mutable_bytes memory) noexcept
    requires(Capacity == 0)
      : ring_(memory), consumer_(&consumer) {}
  packet_ring(const packet_ring&) = delete;
  packet_ring& operator=(const packet_ring&) = delete;

  /// How many packets fit.
  [[nodiscard]] std::size_t capacity() const noexcept { return ring_.capacity(); }
  /// How many packets it holds, and how many more fit: what it was a moment ago. @{
  [[nodiscard]] std::size_t size() const noexcept { return ring_.size(); }
  [[nodiscard]] std::size_t room() const noexcept { return capacity() - size(); }
  /// @}

  // ---- for the thread that puts packets in

  /// Takes packets in order from the first, and says how many: those handles are empty afterwards. It stops where the
  /// ring is full, and at a packet whose bytes are shared or lent and for whose copy its pool has no slot.
  [[nodiscard]] std::size_t push(packet* packets, std::size_t n) noexcept {
    if (const std::size_t fit = room(); fit < n) n = fit;
    std::size_t own = 0;
    while (own < n && packets[own].send_away()) ++own;
    if (own == 0) return 0;
    const std::size_t taken = ring_.push(packets, own);
    RUNNEL_ASSERT(taken == own && "one thread puts packets into a ring");
    if (consumer_ != nullptr) consumer_->wake_up();
    return taken;
  }
  /// Takes one packet, as a queue does. Returns `pass`, or the drop that happened.
  verdict push(packet&& p) noexcept {
    const bool full = room() == 0;
    if (!full && push(&p, 1) == 1) return pass;
    p.reset();
    return drop(full ? drop_reason::queue_full : drop_reason::no_packet);
  }
  /// Says that nothing more will come: the consumer's loop ends when it has what is in the ring and its other sources
  /// are done too.
  void close() noexcept {
    __atomic_store_n(&closed_, true, __ATOMIC_RELEASE);
    if (consumer_ != nullptr) consumer_->wake_up();
  }

  // ---- for the thread that takes them out

  /// Moves up to `n` packets from the front into handles that hold nothing.
  std::size_t pull(packet* packets, std::size_t n, instant) noexcept {
    if (const std::size_t some = ring_.size(); some < n) n = some;
    for (std::size_t i = 0; i < n; ++i) ::new (static_cast<void*>(&packets[i])) packet;
    return ring_.pop(packets, n);
  }
  /// Whether there is none.
  [[nodiscard]] bool empty() const noexcept { return ring_.empty(); }
  /// Whether it is empty and closed.
  [[nodiscard]] bool done() const noexcept { return __atomic_load_n(&closed_, __ATOMIC_ACQUIRE) && empty(); }
  /// Whether whoever puts packets in wakes this sleeper.
  [[nodiscard]] bool wakes(const sleeper& who) const noexcept { return &who == consumer_; }

 private:
  spsc_ring<packet, Capacity> ring_;
  sleeper* const consumer_ = nullptr;
  bool closed_ = false;
};

namespace detail {
// Gives all packets to a ring. `lose(i, why)` for those that it does not take, which stay in their handles.
template <class Ring, class Lose>
void push_all(Ring& ring, packet* packets, std::size_t n, Lose&& lose) noexcept {
  for (std::size_t i = 0; i < n;) {
    // The other side may make room at any time: only what was there before says why nothing was taken.
    if (ring.room() == 0) {
      for (; i < n; ++i) lose(i, drop_reason::queue_full);
      return;
    }
    const std::size_t taken = ring.push(packets + i, n - i);
    i += taken;
    if (taken == 0) lose(i++, drop_reason::no_packet);
  }
}
}  // namespace detail

}  // namespace runnel

#endif
