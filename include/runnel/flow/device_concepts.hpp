// SPDX-License-Identifier: MIT
// What the engine asks of a device: something that hands out frames, something that takes packets.
#ifndef RUNNEL_FLOW_DEVICE_CONCEPTS_HPP
#define RUNNEL_FLOW_DEVICE_CONCEPTS_HPP

#include <concepts>  // same_as
#include <cstddef>   // size_t

#include <runnel/base/time.hpp>
#include <runnel/packet/frame.hpp>
#include <runnel/packet/packet.hpp>
#include <runnel/packet/pool.hpp>

namespace runnel {

namespace detail {
// Not to be copied, so that a device that would copy the engine's is none.
struct any_taker {
  any_taker(const any_taker&) = delete;
  any_taker& operator=(const any_taker&) = delete;
  void operator()(const frame&) const noexcept {}
};
}  // namespace detail

/// A device that frames come from.
/// - `memory()`: the pool whose slots its frames are, or whose bare descriptors show the bytes that it lends.
/// - `receive(room, now, take)`: calls `take(f)` for up to `room` frames, in the order in which they came, and says for
///   how many. 0 is "nothing now", at once. `take` counts what it took: it comes as `Take&&` and is not copied. A frame
///   belongs to whoever took it until it is given to `memory().release`, attached, or transmitted. Lent bytes stay
///   valid until the next `receive`: a device that still has frames out (`memory().lent(id) != 0`) hands out nothing. A
///   template, so that the frame need not exist in memory: what becomes a packet at once is written to its descriptor.
/// - `done()`: whether nothing will ever come again (the end of a capture).
/// It may also have
/// - `wait_handle()`: a file descriptor that can be read from when `receive` has something, -1 for none. A loop that
///   has nothing to do sleeps on those of all its devices;
/// - `wait()`: sleeps until `receive` may have something, a second at most, for loops whose clock cannot; returns at
///   once where there is nothing to wait for. A source with a handle and without this is one in the network: `run` asks
///   for a clock;
/// - `lacks_memory()`: whether `receive` needs packets to come home, for want of slots: it can hand out nothing, or has
///   to get slots to go on as before. The handle may be readable all the while, or not at all: a loop does not wait on
///   it, and looks again each 100 us;
/// - `next_due()`: when it has something next (an `instant`), `never` when it does not know;
/// - `static constexpr bool bytes_are_near`: whether the bytes of frames are in the processor's cache when they are
///   handed out, so that who looks at them at once waits for nothing: `take` may then run the early verdicts.
template <class D>
concept receiving_device = requires(D& d, std::size_t room, instant now, detail::any_taker take) {
  { d.memory() } -> std::same_as<pool&>;
  { d.receive(room, now, take) } -> std::same_as<std::size_t>;
  { d.done() } -> std::same_as<bool>;
};

/// A device that packets go to.
/// - `transmit(packets, n, now)`: takes the packets that it can, in order from the first, and says how many: those
///   handles are empty afterwards. What it did not take is still the caller's, who may offer it again: a packet that it
///   can never send, one that is too long, it takes all the same and counts as lost.
/// It may also have
/// - `transmit_handle()`: a file descriptor that can be written to (POLLOUT) when a full device has room again, -1 for
///   none. `transmit<hold>` waits for it;
/// - `lost()`: how many packets it took and did not send, so far.
template <class D>
concept transmitting_device = requires(D& d, packet* packets, std::size_t n, instant now) {
  { d.transmit(packets, n, now) } -> std::same_as<std::size_t>;
};

/// A device that also takes frames, its own and from its own pool, as they are: what an early `tx` sends back needs no
/// descriptor then. `transmit(frames, n, now)` says how many it took, in order from the first; the rest is the
/// caller's.
template <class D>
concept frame_transmitting_device = requires(D& d, const frame* frames, std::size_t n, instant now) {
  { d.transmit(frames, n, now) } -> std::same_as<std::size_t>;
};

/// A source that holds packets already, such as a queue: `pull(packets, room, now)` moves up to `room` of them into
/// handles that hold nothing (their old value is overwritten) and says how many. One that other threads fill also has
/// `empty()` and `wakes(clock)`: whether they wake the loop that sleeps by that clock.
template <class Q>
concept pulled_source = requires(Q& q, packet* packets, std::size_t room, instant now) {
  { q.pull(packets, room, now) } -> std::same_as<std::size_t>;
  { q.done() } -> std::same_as<bool>;
};

}  // namespace runnel

#endif
