// SPDX-License-Identifier: MIT
// The ends of a pipeline: what takes ownership of the packets that arrive.
#ifndef RUNNEL_FLOW_ENDS_HPP
#define RUNNEL_FLOW_ENDS_HPP

#include <cstddef>      // size_t
#include <cstdint>      // uint64_t
#include <type_traits>  // remove_reference_t, is_lvalue_reference_v, is_invocable_v
#include <utility>      // move

#include <runnel/flow/device_concepts.hpp>
#include <runnel/flow/engine.hpp>
#include <runnel/flow/wait.hpp>
#include <runnel/flow/when_full.hpp>

namespace runnel {

namespace detail {

// Sends what the device takes, and says how many. A device that takes packets and then fails to send them says how many
// it lost.
template <class Device, class Counters>
RUNNEL_INLINE std::size_t transmit_some(Device& device, packet* packets, std::size_t n, instant now,
                                        Counters& counters) noexcept {
  std::uint64_t lost = 0;
  if constexpr (requires { device.lost(); }) lost = device.lost();
  const std::size_t sent = device.transmit(packets, n, now);
  if constexpr (requires { device.lost(); })
    if (device.lost() != lost) [[unlikely]]
      counters.add(drop(drop_reason::transmit_error), device.lost() - lost);
  return sent;
}

template <class Device>
struct transmit_stage : stage_defaults {
  static constexpr stage_kind kind = stage_kind::end;
  static constexpr const char* name = "transmit";
  Device* device;

  constexpr explicit transmit_stage(Device& d) noexcept : device(&d) {}
  template <place, class Counters>
  void take(packet* packets, std::size_t n, std::uint64_t, Counters& counters, context& c) noexcept {
    const std::size_t sent = transmit_some(*device, packets, n, c.now, counters);
    if (sent == n) [[likely]]
      return;
    counters.add(drop(drop_reason::transmit_full), n - sent);
    for (std::size_t i = sent; i < n; ++i) packets[i].reset();
  }
  void print_name(text_writer& out) const noexcept { out << name; }
};

// Packets that a full device did not take, oldest first. A copy of a path has none of them. The engine looks through
// paths as constants, and sends these on the way.
class held_packets {
 public:
  held_packets() noexcept = default;
  held_packets(const held_packets&) noexcept {}
  held_packets& operator=(const held_packets&) = delete;

  [[nodiscard]] std::size_t size() const noexcept { return end_ - begin_; }
  [[nodiscard]] packet* data() noexcept { return packets_ + begin_; }
  void sent(std::size_t n) noexcept {
    begin_ += n;
    if (begin_ == end_) begin_ = end_ = 0;
  }
  // False when there is no room left, or none to keep a lent packet.
  [[nodiscard]] drop_reason add(packet&& p) noexcept {
    if (end_ == max_burst) return drop_reason::transmit_full;
    if (!p.keep()) return drop_reason::no_packet;
    packets_[end_++] = static_cast<packet&&>(p);
    return drop_reason::none;
  }

 private:
  packet packets_[max_burst];
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

template <class Device>
struct holding_transmit_stage : stage_defaults {
  static constexpr stage_kind kind = stage_kind::end;
  static constexpr const char* name = "transmit, hold";
  Device* device;
  mutable held_packets held;
  mutable std::uint64_t lost_later = 0;  // of what was held, the device lost so many, which its counters do not say yet

  constexpr explicit holding_transmit_stage(Device& d) noexcept : device(&d) {}
  template <place, class Counters>
  void take(packet* packets, std::size_t n, std::uint64_t, Counters& counters, context& c) noexcept {
    send_held(c.now);
    if (lost_later != 0) [[unlikely]]
      counters.add(drop(drop_reason::transmit_error), lost_later);
    lost_later = 0;
    const std::size_t sent = held.size() == 0 ? transmit_some(*device, packets, n, c.now, counters) : 0;
    for (std::size_t i = sent; i < n; ++i) {
      const drop_reason why = held.add(static_cast<packet&&>(packets[i]));
      if (why == drop_reason::none) [[likely]]
        continue;
      counters.add(drop(why));
      packets[i].reset();
    }
  }
  [[nodiscard]] std::size_t room(instant now) const noexcept {
    send_held(now);
    return held.size() == 0 ? max_burst : 0;
  }
  void wait_for_room(wait_list& waits) const noexcept {
    if (held.size() == 0) return;
    if constexpr (requires {
                    { device->transmit_handle() } -> std::same_as<int>;
                  }) {
      if (const int handle = device->transmit_handle(); handle >= 0) return waits.add({handle, true});
    }
    waits.again();
  }
  [[nodiscard]] bool holds_packets() const noexcept { return held.size() != 0; }

 private:
  struct later {
    std::uint64_t* lost;
    void add(verdict, std::uint64_t n) noexcept { *lost += n; }
  };
  void send_held(instant now) const noexcept {
    if (held.size() == 0) return;
    later counters{&lost_later};
    held.sent(transmit_some(*device, held.data(), held.size(), now, counters));
  }
};

struct discard_stage : stage_defaults {
  static constexpr stage_kind kind = stage_kind::end;
  static constexpr bool wants_packet = false;
  static constexpr const char* name = "discard";

  template <place, class Counters>
  void take(packet* packets, std::size_t n, std::uint64_t, Counters& counters, context&) noexcept {
    counters.add(drop(drop_reason::discarded), n);
    pool::release(packets, n);
  }
  template <class Counters>
  void take_frames(const frame* frames, std::size_t n, pool& memory, Counters& counters, context&) noexcept {
    counters.add(drop(drop_reason::discarded), n);
    memory.release(frames, n);
  }
};

template <class F>
struct deliver_stage : stage_defaults {
  static constexpr stage_kind kind = stage_kind::end;
  static constexpr const char* name = "deliver";
  F function;

  constexpr explicit deliver_stage(F f) noexcept : function(std::move(f)) {}
  template <place, class Counters>
  void take(packet* packets, std::size_t n, std::uint64_t, Counters&, context&) noexcept {
    for (std::size_t i = 0; i < n; ++i) function(static_cast<packet&&>(packets[i]));
    // What the function did not move out of the handle is released, as at the end of any scope.
    for (std::size_t i = 0; i < n; ++i) packets[i].reset();
  }
};

template <class Pipeline>
struct shared_stage : stage_defaults {
  static constexpr stage_kind kind = stage_kind::end;
  static constexpr const char* name = "shared";
  using target_type = Pipeline;
  Pipeline* target;

  constexpr explicit shared_stage(Pipeline& p) noexcept : target(&p) {}
  template <place At>
  static constexpr auto check_inside() noexcept {
    // What arrives there are packets, also where this stage is the first one.
    using checked [[maybe_unused]] = decltype(Pipeline::template check<after<shared_stage>(At)>());
  }
  template <place At, class Counters>
  void take(packet* packets, std::size_t n, std::uint64_t length, Counters&, context& c) noexcept {
    run<At>(target->stages(), packets, n, length, c);
  }
};

// What is given to transmit() by mistake: a device that would be gone, one that only receives, the result of an open().
// Nothing else, for users have functions of this name.
template <class Device>
concept no_device_to_transmit_by =
    (transmitting_device<std::remove_reference_t<Device>> && !std::is_lvalue_reference_v<Device>) ||
    (!transmitting_device<std::remove_reference_t<Device>> &&
     (receiving_device<std::remove_reference_t<Device>> || requires(Device& d) {
       d.error();
       d.has_value();
       *d;
     }));
// What stands in for its end, so that one error does not bring more.
template <class Device>
[[nodiscard]] constexpr discard_stage cannot_transmit() noexcept {
  constexpr bool takes_packets = transmitting_device<std::remove_reference_t<Device>>;
  static_assert(takes_packets,
                "runnel: transmit() needs a device that takes packets: pcap_writer, af_packet, ...; what open() "
                "returned is a result: if it is good, transmit(*out)");
  static_assert(!takes_packets || std::is_lvalue_reference_v<Device>,
                "runnel: transmit() refers to the device, and this one would be gone: give it a name first");
  return {};
}

}  // namespace detail

/// Ends a path at a device. What the device does not take is dropped (drop_reason::transmit_full); what
/// it takes and loses, if it says so by `lost()`, counts as drop_reason::transmit_error. Refers to the
/// device, which must outlive the pipeline.
template <transmitting_device Device>
[[nodiscard]] constexpr auto transmit(Device& device) noexcept {
  return detail::transmit_stage<Device>{device};
}
/// An error that says what is missing.
template <detail::no_device_to_transmit_by Device>
[[nodiscard]] constexpr auto transmit(Device&&) noexcept {
  return detail::cannot_transmit<Device>();
}

/// The same, but what the device does not take is held, up to a burst of 256, and offered again in each round; until it
/// has taken all, the sources of the path are not polled. So nothing is lost where the sender can wait: behind
/// `queue<hold, n>`, or a capture that is replayed. A loop that has nothing else to do sleeps until the device has room
/// (`transmit_handle()`), or asks every 100 us where it does not tell. A path that makes several of one packet, or that
/// several sources share, may bring more than there is room for: that is dropped (drop_reason::transmit_full). What a
/// path holds when it is destroyed goes back to its pool.
///
///     attach(lan, parse() | policy | transmit<hold>(wan))
template <std::same_as<hold>, transmitting_device Device>
[[nodiscard]] constexpr auto transmit(Device& device) noexcept {
  return detail::holding_transmit_stage<Device>{device};
}
/// An error that says what is missing.
template <std::same_as<hold>, detail::no_device_to_transmit_by Device>
[[nodiscard]] constexpr auto transmit(Device&&) noexcept {
  return detail::cannot_transmit<Device>();
}

/// Ends a path on purpose: each packet is dropped and counted as drop_reason::discarded. Takes frames as they are, so a
/// pipeline of early verdicts that ends in it never makes a packet.
inline constexpr detail::discard_stage discard{};

/// Ends a path at a function that takes ownership: `deliver([&](packet p) {...})`. A packet that it keeps beyond the
/// call needs `keep()`.
template <class F>
[[nodiscard]] RUNNEL_INLINE constexpr auto deliver(F function) noexcept {
  static_assert(std::is_invocable_v<F&, packet>,
                "runnel: deliver() needs a function that takes a packet: [](packet p) {...}");
  return detail::deliver_stage<F>{std::move(function)};
}

/// Ends a path at the beginning of another pipeline, which several ways may share. Refers to it: it must outlive the
/// pipelines that end in it. That is how ways are joined again; since it has to exist before, there are no loops.
template <class Pipeline>
[[nodiscard]] constexpr auto shared(Pipeline& target) noexcept {
  static_assert(detail::is_pipeline<Pipeline>,
                "runnel: shared() needs a pipeline: auto egress = a | b | transmit(wan); ... shared(egress)");
  if constexpr (detail::is_pipeline<Pipeline>) return detail::shared_stage<Pipeline>{target};
  else return discard;
}

}  // namespace runnel

#endif
