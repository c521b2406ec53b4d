// SPDX-License-Identifier: MIT
// A bounded queue: the one place where push becomes pull, and where a graph may lead back to an earlier stage.
#ifndef RUNNEL_FLOW_QUEUE_HPP
#define RUNNEL_FLOW_QUEUE_HPP

#include <cstddef>      // size_t
#include <cstdint>      // uint64_t
#include <type_traits>  // is_lvalue_reference_v, remove_reference_t

#include <runnel/config.hpp>
#include <runnel/flow/engine.hpp>
#include <runnel/flow/packet_ring.hpp>
#include <runnel/flow/when_full.hpp>

namespace runnel {

/// Holds up to `Capacity` packets between an `enqueue(queue)` and an `attach(queue, pipeline)`, in order. Lives outside
/// pipelines, on one thread. Packets that a device only lent are copied when they come in (`keep`).
template <class WhenFull, std::size_t Capacity>
class queue {
 public:
  static_assert(std::same_as<WhenFull, drop_tail> || std::same_as<WhenFull, drop_head> || std::same_as<WhenFull, hold>,
                "runnel: a queue says what happens when it is full: queue<drop_tail, n>, queue<drop_head, n> or "
                "queue<hold, n>");
  static_assert(Capacity > 0, "runnel: a queue holds at least one packet");

  queue() noexcept = default;
  queue(const queue&) = delete;
  queue& operator=(const queue&) = delete;

  /// How many packets fit.
  [[nodiscard]] static constexpr std::size_t capacity() noexcept { return Capacity; }
  /// How many packets it holds.
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  /// How many packets more fit.
  [[nodiscard]] std::size_t room() const noexcept { return Capacity - size_; }

  /// Puts a packet at the end. Returns `pass`, or the drop that happened: of `p`, or with drop_head of the oldest.
  verdict push(packet&& p) noexcept {
    if constexpr (!std::same_as<WhenFull, drop_head>) {
      if (size_ == Capacity) {
        p.reset();
        return drop(drop_reason::queue_full);
      }
    }
    if (!p.keep()) {
      p.reset();
      return drop(drop_reason::no_packet);
    }
    verdict v = pass;
    if (size_ == Capacity) {
      packets_[head_].reset();
      advance();
      v = drop(drop_reason::queue_head);
    }
    std::size_t tail = head_ + size_;
    if (tail >= Capacity) tail -= Capacity;
    packets_[tail] = static_cast<packet&&>(p);
    ++size_;
    return v;
  }
  /// Moves up to `room` packets from the front into handles that hold nothing.
  std::size_t pull(packet* packets, std::size_t room, instant) noexcept {
    std::size_t n = 0;
    for (; n < room && size_ != 0; ++n) {
      ::new (static_cast<void*>(&packets[n])) packet{static_cast<packet&&>(packets_[head_])};
      advance();
    }
    return n;
  }
  /// Whether there is none.
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  /// Whether it is empty: a loop ends when its other sources are done too.
  [[nodiscard]] bool done() const noexcept { return size_ == 0; }

 private:
  void advance() noexcept {
    head_ = head_ + 1 == Capacity ? 0 : head_ + 1;
    --size_;
  }

  packet packets_[Capacity];
  std::size_t head_ = 0;
  std::size_t size_ = 0;
};

namespace detail {

template <class Queue>
inline constexpr bool holds = false;
template <std::size_t Capacity>
inline constexpr bool holds<queue<hold, Capacity>> = true;

template <class Queue>
struct enqueue_stage : stage_defaults {
  static constexpr stage_kind kind = stage_kind::end;
  static constexpr const char* name = "enqueue";
  Queue* target;

  constexpr explicit enqueue_stage(Queue& q) noexcept : target(&q) {}
  template <place, class Counters>
  void take(packet* packets, std::size_t n, std::uint64_t, Counters& counters, context&) noexcept {
    if constexpr (requires { target->push(packets, n); }) {
      push_all(*target, packets, n, [&](std::size_t i, drop_reason why) noexcept {
        counters.add(drop(why));
        packets[i].reset();
      });
    } else {
      for (std::size_t i = 0; i < n; ++i) {
        const verdict v = target->push(static_cast<packet&&>(packets[i]));
        if (v.code != verdict_code::pass) [[unlikely]]
          counters.add(v);
      }
    }
  }
  [[nodiscard]] std::size_t room(instant) const noexcept
    requires holds<Queue>
  {
    return target->room();
  }
};

}  // namespace detail

/// Ends a path at a queue, or at a ring to another thread (`packet_ring`). What does not fit, or a queue gives up, is
/// counted here. Refers to the queue, which must outlive the pipeline.
template <class Queue>
[[nodiscard]] constexpr auto enqueue(Queue& target) noexcept {
  static_assert(
      requires(packet p) { target.push(static_cast<packet&&>(p)); },
      "runnel: enqueue() needs a queue with a name: queue<drop_tail, 1024> q; ... enqueue(q), or a packet_ring");
  return detail::enqueue_stage<Queue>{target};
}
/// An error that says what is missing: the queue would be gone.
template <class Queue>
  requires(!std::is_lvalue_reference_v<Queue> && requires(Queue& q, packet p) { q.push(static_cast<packet&&>(p)); })
[[nodiscard]] constexpr auto enqueue(Queue&& target) noexcept {
  static_assert(
      std::is_lvalue_reference_v<Queue>,
      "runnel: enqueue() needs a queue with a name: queue<drop_tail, 1024> q; ... enqueue(q), or a packet_ring");
  return detail::enqueue_stage<Queue>{target};
}

}  // namespace runnel

#endif
