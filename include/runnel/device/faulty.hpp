// SPDX-License-Identifier: MIT
// A device around a device that treats packets as a bad wire does, in both directions: loss, corruption, delay,
// duplication, reordering, a slow line. Repeatable bit for bit from a seed.
//
//     device::faulty wan(*nic, {.latency = milliseconds(20), .loss = 10'000, .seed = 7});   // 1 % of a million
//     loop work{time, attach(wan, ... | transmit(wan))};
//
// Theory of operation. Between the device and its user lie the two directions of a virtual wire (link.hpp), each a
// queue ordered by when a packet is due:
//
//     device > receive > [ in: line > loss > corruption > delay > due ] > receive(now) > user
//     device < [ out: due < delay < corruption < loss < line ] < transmit(now) < user
//
// Packets that are due outwards go whenever the loop polls, which next_due() makes it do. So it is to be attached to a
// loop, even when nothing comes from it.
#ifndef RUNNEL_DEVICE_FAULTY_HPP
#define RUNNEL_DEVICE_FAULTY_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint64_t

#include <runnel/base/time.hpp>
#include <runnel/device/around.hpp>
#include <runnel/device/device.hpp>
#include <runnel/device/link.hpp>
#include <runnel/flow/engine.hpp>  // raw_array
#include <runnel/packet/drop_reason.hpp>
#include <runnel/packet/packet.hpp>
#include <runnel/packet/pool.hpp>

namespace runnel::device {

/// What a faulty device did to packets, in each direction.
struct faulty_statistics {
  link_counters received;     ///< on their way from the device
  link_counters transmitted;  ///< on their way to it
};

/// One line: "received: sent 10, delivered 8, 2 lost; transmitted: sent 3, delivered 3".
inline void print(text_writer& out, const faulty_statistics& s) noexcept {
  print(out << "received: ", s.received);
  print(out << "; transmitted: ", s.transmitted);
}

/// Refers to `device`, which must outlive it, and holds up to `Capacity` packets on the way in each direction, in slots
/// of the device's pool. Packets that lie elsewhere, or are lent, are copied there.
template <class Device, std::size_t Capacity = 1024>
  requires receiving_device<Device>
class faulty : public detail::around_device<Device> {
 public:
  /// Both directions alike, with random numbers of their own.
  faulty(Device& device, const link_options& both) noexcept : faulty(device, both, both) {}
  /// What is received and what is transmitted, each in its way.
  faulty(Device& device, const link_options& received, const link_options& transmitted) noexcept
      : detail::around_device<Device>(device),
        in_(device.memory(), in_heap_, Capacity, received, received.seed),
        out_(device.memory(), out_heap_, Capacity, transmitted, ~transmitted.seed) {}

  /// What is due by `now`. The timestamp of a frame is when it was due.
  template <class Take>
  [[nodiscard]] std::size_t receive(std::size_t room, instant now, Take&& take) noexcept {
    send_due(now);
    detail::raw_array<frame, batch> frames;
    for (std::size_t left = room; left != 0;) {
      const std::size_t some = left < batch ? left : batch;
      const std::size_t n = this->inner().receive(some, now, into_array(frames.data()));
      for (std::size_t i = 0; i < n; ++i) enter(frames[i], now);
      left -= n;
      if (n < some) break;
    }
    return in_.receive(room, now, take);
  }
  /// Whether the device is, and nothing is on the way.
  [[nodiscard]] bool done() noexcept {
    return this->inner().done() && in_.size() == 0 && out_.size() == 0 && waiting_ == 0;
  }
  /// Takes all of them at `now`, which must not go back from call to call.
  [[nodiscard]] std::size_t transmit(packet* packets, std::size_t n, instant now) noexcept
    requires transmitting_device<Device>
  {
    for (std::size_t i = 0; i < n; ++i) out_.send(static_cast<packet&&>(packets[i]), now);
    send_due(now);
    return n;
  }
  /// The same for frames that came from here.
  [[nodiscard]] std::size_t transmit(const frame* frames, std::size_t n, instant now) noexcept
    requires transmitting_device<Device>
  {
    for (std::size_t i = 0; i < n; ++i) out_.send(this->memory().attach(frames[i]), now);
    send_due(now);
    return n;
  }
  /// When the next packet is due in either direction, or the device has something.
  [[nodiscard]] instant next_due() noexcept {
    instant due = detail::around_device<Device>::next_due();
    if (in_.next_due() < due) due = in_.next_due();
    const instant out = waiting_ != 0 ? next_try_ : out_.next_due();
    if (out < due) due = out;
    return due;
  }

  /// How many received packets, and how many transmitted ones, were lost on the way for this reason: link_loss,
  /// queue_full (as when the device has no room for long), too_big, no_packet (the pool was empty). @{
  [[nodiscard]] std::uint64_t dropped_in(drop_reason why) const noexcept { return in_.dropped(why); }
  [[nodiscard]] std::uint64_t dropped_out(drop_reason why) const noexcept { return out_.dropped(why); }
  /// @}
  /// What was done to received and to transmitted packets. The device itself has its own: `inner().statistics()`.
  [[nodiscard]] faulty_statistics statistics() const noexcept { return {in_.counters(), out_.counters()}; }
  /// How many packets are on the way outwards, those included that the device has no room for.
  [[nodiscard]] std::size_t in_flight() const noexcept { return out_.size() + waiting_; }

 private:
  static constexpr std::size_t batch = 64;

  void enter(const frame& f, instant now) noexcept {
    packet p = this->memory().attach(f);
    if (p) return in_.send(static_cast<packet&&>(p), now);
    // No descriptor for lent bytes.
    this->memory().release(&f, 1);
    in_.lose_newcomer(drop_reason::no_packet);
  }
  // A full device gets the same packets again the next time, at most 100 us later.
  void send_due(instant now) noexcept {
    if constexpr (transmitting_device<Device>) {
      for (;;) {
        (void)out_.receive(batch - waiting_, now,
                           [this](const frame& f) { outbox_[waiting_++] = this->memory().attach(f); });
        if (waiting_ == 0) return;
        const std::size_t sent = this->inner().transmit(outbox_, waiting_, now);
        for (std::size_t i = sent; i < waiting_; ++i) outbox_[i - sent] = static_cast<packet&&>(outbox_[i]);
        waiting_ -= sent;
        if (waiting_ == 0) continue;
        next_try_ = now + microseconds(100);
        return;
      }
    }
  }

  detail::link_entry in_heap_[Capacity];
  detail::link_entry out_heap_[Capacity];
  detail::link_direction in_;
  detail::link_direction out_;
  packet outbox_[batch];
  std::size_t waiting_ = 0;  // in the outbox: the device had no room
  instant next_try_{};
};
template <class Device>
faulty(Device&, const link_options&) -> faulty<Device>;
template <class Device>
faulty(Device&, const link_options&, const link_options&) -> faulty<Device>;

}  // namespace runnel::device

#endif
