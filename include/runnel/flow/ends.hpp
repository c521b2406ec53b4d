// SPDX-License-Identifier: MIT
// The ends of a pipeline: what takes ownership of the packets that arrive.
#ifndef RUNNEL_FLOW_ENDS_HPP
#define RUNNEL_FLOW_ENDS_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint64_t
#include <utility>  // move

#include <runnel/flow/device_concepts.hpp>
#include <runnel/flow/engine.hpp>

namespace runnel {

namespace detail {

template <class Device>
struct transmit_stage : stage_defaults {
  static constexpr stage_kind kind = stage_kind::end;
  static constexpr const char* name = "transmit";
  Device* device;

  constexpr explicit transmit_stage(Device& d) noexcept : device(&d) {}
  template <place, class Counters>
  void take(packet* packets, std::size_t n, std::uint64_t, Counters& counters, context& c) noexcept {
    // A device that takes packets and then fails to send them says how many it lost.
    std::uint64_t lost = 0;
    if constexpr (requires { device->lost(); }) lost = device->lost();
    const std::size_t sent = device->transmit(packets, n, c.now);
    if constexpr (requires { device->lost(); })
      if (device->lost() != lost) [[unlikely]]
        counters.add(drop(drop_reason::transmit_error), device->lost() - lost);
    if (sent == n) [[likely]]
      return;
    counters.add(drop(drop_reason::transmit_full), n - sent);
    for (std::size_t i = sent; i < n; ++i) packets[i].reset();
  }
  void print_name(text_writer& out) const noexcept { out << name; }
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

}  // namespace detail

/// Ends a path at a device. What the device does not take is dropped (drop_reason::transmit_full); what
/// it takes and loses, if it says so by `lost()`, counts as drop_reason::transmit_error. Refers to the
/// device, which must outlive the pipeline.
template <transmitting_device Device>
[[nodiscard]] constexpr auto transmit(Device& device) noexcept {
  return detail::transmit_stage<Device>{device};
}

/// Ends a path on purpose: each packet is dropped and counted as drop_reason::discarded. Takes frames as they are, so a
/// pipeline of early verdicts that ends in it never makes a packet.
inline constexpr detail::discard_stage discard{};

/// Ends a path at a function that takes ownership: `deliver([&](packet p) {...})`. A packet that it keeps beyond the
/// call needs `keep()`.
template <class F>
[[nodiscard]] constexpr auto deliver(F function) noexcept {
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
