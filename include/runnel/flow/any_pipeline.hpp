// SPDX-License-Identifier: MIT
// A path that can be replaced while the program runs: the one place where a pipeline's type is forgotten.
#ifndef RUNNEL_FLOW_ANY_PIPELINE_HPP
#define RUNNEL_FLOW_ANY_PIPELINE_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint64_t

#include <runnel/flow/engine.hpp>

namespace runnel {

namespace detail {
struct replaceable_stage;
}  // namespace detail

/// Refers to a pipeline of any type. Costs two indirect calls for a burst: how much it has room for, and the run. What
/// it refers to must outlive it or be replaced before; replace it between two rounds of the loop, or from a stage that
/// does not lie behind it. Tables live outside pipelines, so nothing is forgotten when a path is replaced; but what a
/// `transmit<hold>` of it holds at that time stays there, until that path is back or ends. The pipeline begins where
/// there are packets and nothing is known of them: it needs its own `parse()`, which is free for packets that were
/// parsed before.
class any_pipeline {
 public:
  /// Runs `p`, which must outlive it or be replaced before it ends.
  template <class Pipeline>
    requires(!std::same_as<Pipeline, any_pipeline>)
  explicit any_pipeline(Pipeline& p) noexcept {
    replace(p);
  }
  any_pipeline(const any_pipeline&) = delete;
  any_pipeline& operator=(const any_pipeline&) = delete;

  /// Runs `p` from the next burst on.
  template <class Pipeline>
  void replace(Pipeline& p) noexcept {
    static_assert(detail::is_pipeline<Pipeline>,
                  "runnel: any_pipeline refers to a pipeline: auto p = parse() | ... | transmit(wan);");
    using checked [[maybe_unused]] = decltype(Pipeline::template check<start>());
    target_ = &p;
    run_ = [](void* target, packet* packets, std::size_t n, std::uint64_t length, context& c) noexcept {
      // The burst outside may be larger than the one that the arrays inside are made for.
      auto& stages = static_cast<Pipeline*>(target)->stages();
      if (n <= start.burst) [[likely]]
        return detail::run<start>(stages, packets, n, length, c);
      for (std::size_t at = 0; at < n; at += start.burst) {
        const std::size_t part = n - at < start.burst ? n - at : start.burst;
        detail::run<start>(stages, packets + at, part, detail::sum_of_lengths(packets + at, part), c);
      }
    };
    room_ = [](void* target, instant now) noexcept {
      const manual_clock time{now};
      return detail::room_in(static_cast<Pipeline*>(target)->stages(), time);
    };
    wait_for_room_ = [](void* target, wait_list& waits) noexcept {
      detail::wait_for_room(static_cast<Pipeline*>(target)->stages(), waits);
    };
    holds_packets_ = [](void* target) noexcept {
      return detail::holds_packets(static_cast<Pipeline*>(target)->stages());
    };
  }

 private:
  friend struct detail::replaceable_stage;
  static constexpr place start{.packets = true, .burst = default_burst};
  void* target_ = nullptr;
  void (*run_)(void*, packet*, std::size_t, std::uint64_t, context&) = nullptr;
  std::size_t (*room_)(void*, instant) noexcept = nullptr;
  void (*wait_for_room_)(void*, wait_list&) noexcept = nullptr;
  bool (*holds_packets_)(void*) noexcept = nullptr;
};

namespace detail {
struct replaceable_stage : stage_defaults {
  static constexpr stage_kind kind = stage_kind::end;
  static constexpr const char* name = "replaceable";
  any_pipeline* path_now;

  constexpr explicit replaceable_stage(any_pipeline& p) noexcept : path_now(&p) {}
  template <place At>
  static constexpr auto check_inside() noexcept {
    static_assert(!At.shared,
                  "runnel: the packet's bytes may be shared with a clone at this place, and a replaceable path may "
                  "write to them: put unshare() before it");
  }
  template <place, class Counters>
  void take(packet* packets, std::size_t n, std::uint64_t length, Counters&, context& c) noexcept {
    path_now->run_(path_now->target_, packets, n, length, c);
  }
  [[nodiscard]] std::size_t room(instant now) const noexcept { return path_now->room_(path_now->target_, now); }
  void wait_for_room(wait_list& waits) const noexcept { path_now->wait_for_room_(path_now->target_, waits); }
  [[nodiscard]] bool holds_packets() const noexcept { return path_now->holds_packets_(path_now->target_); }
};
}  // namespace detail

/// Ends a path at whatever pipeline `slot` refers to at that time. Refers to the slot.
[[nodiscard]] constexpr auto replaceable(any_pipeline& slot) noexcept { return detail::replaceable_stage{slot}; }

}  // namespace runnel

#endif
