// SPDX-License-Identifier: MIT
// How the journeys of packets end by a verdict other than `pass`: a part of the engine.
#ifndef RUNNEL_FLOW_SETTLE_HPP
#define RUNNEL_FLOW_SETTLE_HPP

#include <cstddef>  // size_t

#include <runnel/config.hpp>
#include <runnel/flow/context.hpp>
#include <runnel/packet/drop_reason.hpp>
#include <runnel/packet/packet.hpp>
#include <runnel/packet/verdict.hpp>

namespace runnel::detail {

// Sends those of `n` packets back that say `tx`. What stand in a row go in one call, for a call of a device may be one
// of the system. The handles of those that the device took are empty; one that it refuses does not keep back those
// behind it, which may go by another queue.
inline void send_back(packet* packets, const verdict* verdicts, std::size_t n, context& c) noexcept {
  if (c.transmit_back == nullptr) return;
  for (std::size_t i = 0; i < n; ++i) {
    std::size_t row = 0;
    while (i + row < n && verdicts[i + row].code == verdict_code::tx && packets[i + row]) ++row;
    if (row != 0) i += c.transmit_back(c.device, packets + i, row, c.now);
  }
}

// What became of a packet that does not go on, behind `send_back`. One that is dropped stays in its handle, for the
// caller to release.
[[nodiscard]] inline verdict settled(const packet& p, verdict v, const context& c) noexcept {
  if (!p) return v.code == verdict_code::tx ? v : verdict{verdict_code::stolen, drop_reason::none, 0};
  if (v.code == verdict_code::tx && c.transmit_back != nullptr) return drop(drop_reason::transmit_full);
  if (v.code == verdict_code::tx || v.code == verdict_code::redirect) return drop(drop_reason::no_target);
  RUNNEL_ASSERT(v.code != verdict_code::stolen && "a stage that says stolen moves the packet out of the handle");
  return v;
}
// The same for one packet.
inline verdict settle(packet& p, verdict v, context& c) noexcept {
  send_back(&p, &v, 1, c);
  return settled(p, v, c);
}

}  // namespace runnel::detail

#endif
