// SPDX-License-Identifier: MIT
// What is counted at each stage. The numbers are added once for a burst, not for a packet.
#ifndef RUNNEL_FLOW_COUNTERS_HPP
#define RUNNEL_FLOW_COUNTERS_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint64_t

#include <runnel/packet/drop_reason.hpp>
#include <runnel/packet/verdict.hpp>

namespace runnel {

/// The counters of one stage: what came in, and what did not go on to the next stage. What passed is the rest. Stages
/// that are fused into one loop count bytes as they were at its beginning, whatever a stage before them in it pushed or
/// pulled.
struct stage_counters {
  std::uint64_t packets = 0;                        ///< that came in
  std::uint64_t bytes = 0;                          ///< that came in, with the lengths at the beginning of the loop
  std::uint64_t verdicts[verdict_code_count] = {};  ///< by verdict_code; `pass` is not counted here, see passed()
  std::uint64_t reasons[drop_reason_count] = {};    ///< drops and aborts by cause

  /// Packets that went on.
  [[nodiscard]] constexpr std::uint64_t passed() const noexcept {
    std::uint64_t rest = packets;
    for (const std::uint64_t v : verdicts) rest -= v;
    return rest;
  }
  /// Packets with this verdict.
  [[nodiscard]] constexpr std::uint64_t count(verdict_code code) const noexcept {
    return code == verdict_code::pass ? passed() : verdicts[static_cast<std::size_t>(code)];
  }
  /// Drops and aborts with this cause.
  [[nodiscard]] constexpr std::uint64_t dropped(drop_reason why) const noexcept {
    return reasons[static_cast<std::size_t>(why)];
  }
  /// Counts `n` packets of `length` bytes in all.
  constexpr void add(std::uint64_t n, std::uint64_t length) noexcept {
    packets += n;
    bytes += length;
  }
  /// Counts `n` packets with a verdict other than `pass`.
  constexpr void add(verdict v, std::uint64_t n = 1) noexcept {
    verdicts[static_cast<std::size_t>(v.code)] += n;
    if (v.code == verdict_code::drop || v.code == verdict_code::aborted)
      reasons[static_cast<std::size_t>(v.reason)] += n;
  }
  /// Counts something that was lost beside the path: a cause, and no packet of the path.
  constexpr void add_aside(verdict v) noexcept { reasons[static_cast<std::size_t>(v.reason)] += 1; }
};

/// Counting left out: takes no space and no time. `uncounted | parse() | ...` builds a pipeline with it.
struct no_counters {
  /// Counts nothing. @{
  constexpr void add(std::uint64_t, std::uint64_t) noexcept {}
  constexpr void add(verdict, std::uint64_t = 1) noexcept {}
  constexpr void add_aside(verdict) noexcept {}
  /// @}
};

}  // namespace runnel

#endif
