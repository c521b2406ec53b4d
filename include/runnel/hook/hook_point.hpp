// SPDX-License-Identifier: MIT
// Where chains stand on a packet's way, and in which order: netfilter's five hooks and its priorities.
#ifndef RUNNEL_HOOK_HOOK_POINT_HPP
#define RUNNEL_HOOK_HOOK_POINT_HPP

#include <cstdint>  // uint8_t

namespace runnel {

/// The five places of <linux/netfilter.h>. `prerouting` and `postrouting` have short names too; the others would
/// clash with what routes call their ways: write `hook_point::forward`.
enum class hook_point : std::uint8_t {
  prerouting,   ///< before the routing decision
  input,        ///< what is for this host
  forward,      ///< what goes on to another
  output,       ///< what this host sends
  postrouting,  ///< before a packet leaves
};
/// The hook points around routing. @{
inline constexpr hook_point prerouting = hook_point::prerouting;
inline constexpr hook_point postrouting = hook_point::postrouting;
/// @}

/// The name as nft spells it.
[[nodiscard]] constexpr const char* name(hook_point p) noexcept {
  switch (p) {
    case hook_point::prerouting: return "prerouting";
    case hook_point::input: return "input";
    case hook_point::forward: return "forward";
    case hook_point::output: return "output";
    case hook_point::postrouting: return "postrouting";
  }
  return "unknown";
}

/// Priorities of chains, those of <linux/netfilter_ipv4.h>: chains of one hook run from the lowest to the highest.
/// Numbers between are as good.
namespace hook_priority {
inline constexpr int raw = -300;        ///< before tracking: what shall not be tracked
inline constexpr int conntrack = -200;  ///< not of chains: tracking stands behind those below, before the others
inline constexpr int mangle = -150;     ///< marks, DSCP, TTL
inline constexpr int dstnat = -100;     ///< destination NAT
inline constexpr int filter = 0;        ///< what may pass
inline constexpr int security = 50;     ///< what may pass, a second time
inline constexpr int srcnat = 100;      ///< source NAT
}  // namespace hook_priority

/// Which of the chains at `prerouting` and `output` stand in one place of a pipeline: tracking may lie between them.
enum class hook_part : std::uint8_t {
  all,              ///< every chain
  before_tracking,  ///< those of a priority below `hook_priority::conntrack`: `notrack` works there
  behind_tracking,  ///< the others
};

}  // namespace runnel

#endif
