// SPDX-License-Identifier: MIT
// What a stage may know beside the packet: the time, and the device that the burst came from.
#ifndef RUNNEL_FLOW_CONTEXT_HPP
#define RUNNEL_FLOW_CONTEXT_HPP

#include <cstddef>  // size_t

#include <runnel/base/text.hpp>
#include <runnel/base/time.hpp>
#include <runnel/packet/packet.hpp>

namespace runnel {

/// Passed along with a burst. Valid for the call.
struct context {
  instant now{};  ///< when the burst was received, by the loop's clock
  /// Sends packets out by the device that the burst came from; null when that device cannot transmit.
  std::size_t (*transmit_back)(void* device, packet* packets, std::size_t n, instant now) noexcept = nullptr;
  /// The same for its own frames, which need no descriptor for it; null when that device takes packets only.
  std::size_t (*transmit_frames_back)(void* device, const frame* frames, std::size_t n, instant now) noexcept = nullptr;
  /// Internal: the device of the source.
  void* device = nullptr;
  void* connections = nullptr;   ///< Internal: the records of the table that `track` asked, by their numbers.
  text_writer* trace = nullptr;  ///< where traced packets are reported; set by `trace`
};

}  // namespace runnel

#endif
