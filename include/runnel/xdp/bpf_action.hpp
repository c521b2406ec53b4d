// SPDX-License-Identifier: MIT
// What an XDP program does with a packet: the verdicts that the kernel knows, and the way to an AF_XDP socket.
#ifndef RUNNEL_XDP_BPF_ACTION_HPP
#define RUNNEL_XDP_BPF_ACTION_HPP

#include <cstdint>  // uint8_t, uint16_t, int32_t

#include <runnel/packet/verdict.hpp>

namespace runnel::bpf {

/// What becomes of a packet in the kernel. The first four are what the program returns: `enum xdp_action`.
enum class action_kind : std::uint8_t {
  aborted,  ///< XDP_ABORTED: dropped, and the tracepoint xdp:xdp_exception is hit
  drop,     ///< XDP_DROP
  pass,     ///< XDP_PASS: on into the network stack
  tx,       ///< XDP_TX: out again by the same interface
  device,   ///< XDP_REDIRECT to the interface at place `number` of the map of devices; dropped when there is none
  socket,   ///< XDP_REDIRECT to the AF_XDP socket of its receive queue; passed on when there is none
  none,     ///< nothing that the kernel could do
};

/// What becomes of a packet. Made from a verdict: `stolen` is not for the kernel and makes `none`.
struct action {
  /// What it is.
  action_kind kind = action_kind::pass;
  std::uint16_t number = 0;  ///< which device, for `device`

  /// What the constructor from a verdict is for: an action with these parts. @{
  constexpr action() noexcept = default;
  constexpr explicit action(action_kind k, std::uint16_t n = 0) noexcept : kind(k), number(n) {}
  /// @}
  /// The same as a verdict. Its reason is not kept: the counters of the rules tell the causes apart.
  constexpr action(const verdict& v) noexcept {
    switch (v.code) {
      case verdict_code::aborted: kind = action_kind::aborted; break;
      case verdict_code::drop: kind = action_kind::drop; break;
      case verdict_code::pass: kind = action_kind::pass; break;
      case verdict_code::tx: kind = action_kind::tx; break;
      case verdict_code::redirect:
        kind = action_kind::device;
        number = v.port;
        break;
      case verdict_code::stolen:
      case verdict_code::count_: kind = action_kind::none; break;
    }
  }
  /// Equal when both parts are.
  friend constexpr bool operator==(const action&, const action&) noexcept = default;
};

/// To the AF_XDP socket of the packet's receive queue; to the kernel's stack when there is none.
inline constexpr action to_socket{action_kind::socket};

}  // namespace runnel::bpf

#endif
