// SPDX-License-Identifier: MIT
// What a stage says about a packet: the verdicts of XDP, netfilter's for those who take a packet over, and the
// cause when it is a drop.
#ifndef RUNNEL_PACKET_VERDICT_HPP
#define RUNNEL_PACKET_VERDICT_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint8_t, uint16_t

#include <runnel/config.hpp>
#include <runnel/packet/drop_reason.hpp>

namespace runnel {

/// What is to happen with a packet.
enum class verdict_code : std::uint8_t {
  aborted,   ///< the program failed on this packet; it is dropped and counted as drop_reason::aborted (XDP_ABORTED)
  drop,      ///< end of the journey; the reason says why (XDP_DROP, NF_DROP)
  pass,      ///< on to the next stage (XDP_PASS, NF_ACCEPT)
  tx,        ///< out again by the device it came from (XDP_TX)
  redirect,  ///< out by another device, the one that `port` names (XDP_REDIRECT)
  stolen,    ///< the stage took ownership of the packet (NF_STOLEN)
  count_     ///< how many there are
};

/// How many codes there are.
inline constexpr std::size_t verdict_code_count = static_cast<std::size_t>(verdict_code::count_);

/// A verdict with its cause or target: four bytes, passed by value.
struct [[nodiscard]] verdict {
  /// What happens with the packet.
  verdict_code code = verdict_code::pass;
  drop_reason reason = drop_reason::none;  ///< why, for `drop` and `aborted`
  std::uint16_t port = 0;                  ///< which device, for `redirect`

  /// A drop with its cause: `return drop(drop_reason::blocklist);` Nothing else has one (RUNNEL_ASSERT). A member of
  /// all verdicts, so that they are of one type: a lambda may return `drop` in one place, and `pass` in another.
  constexpr verdict operator()(drop_reason why) const noexcept {
    RUNNEL_ASSERT(code == verdict_code::drop && "only a drop has a cause");
    return {verdict_code::drop, why, 0};
  }
  /// Equal when all their parts are.
  friend constexpr bool operator==(const verdict&, const verdict&) noexcept = default;
};

namespace detail {
struct redirect_verdict {
  /// Sends the packet to the device at place `port` of the list that the early verdict was given.
  constexpr verdict operator()(std::uint16_t port) const noexcept {
    return {verdict_code::redirect, drop_reason::none, port};
  }
};
}  // namespace detail

/// The verdicts by name; see `verdict_code`. @{
inline constexpr verdict aborted{verdict_code::aborted, drop_reason::aborted, 0};
inline constexpr verdict drop{verdict_code::drop, drop_reason::policy, 0};
inline constexpr verdict pass{verdict_code::pass, drop_reason::none, 0};
/// @}
/// The same verdict as `pass`, by the name that rules use for it. Where <sys/socket.h> is included too, the
/// system's function of this name makes an unqualified `accept` ambiguous: write `runnel::accept` there.
inline constexpr verdict accept = pass;
/// The verdicts by name; see `verdict_code`. @{
inline constexpr verdict tx{verdict_code::tx, drop_reason::none, 0};
inline constexpr detail::redirect_verdict redirect{};
inline constexpr verdict stolen{verdict_code::stolen, drop_reason::none, 0};
/// @}

/// The name of a verdict as XDP and netfilter spell it, in lower case.
[[nodiscard]] constexpr const char* name(verdict_code code) noexcept {
  switch (code) {
    case verdict_code::aborted: return "aborted";
    case verdict_code::drop: return "drop";
    case verdict_code::pass: return "pass";
    case verdict_code::tx: return "tx";
    case verdict_code::redirect: return "redirect";
    case verdict_code::stolen: return "stolen";
    case verdict_code::count_: break;
  }
  return "unknown";
}

}  // namespace runnel

#endif
