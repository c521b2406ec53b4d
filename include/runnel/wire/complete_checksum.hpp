// SPDX-License-Identifier: MIT
// Completes the transport checksum of a packet whose device left it partial, where no device will do it.
#ifndef RUNNEL_WIRE_COMPLETE_CHECKSUM_HPP
#define RUNNEL_WIRE_COMPLETE_CHECKSUM_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint16_t

#include <runnel/base/bytes.hpp>
#include <runnel/base/endian.hpp>
#include <runnel/packet/frame.hpp>
#include <runnel/packet/layers.hpp>
#include <runnel/packet/packet.hpp>
#include <runnel/wire/checksum.hpp>

namespace runnel {

/// Completes the checksum of TCP or UDP that a device left partial, in a packet that was parsed: before headers are put
/// in front of it, or it is cut, for a device completes what it finds itself. Does nothing to others, nor to a packet
/// that stands for many segments, each of which has a checksum of its own, or of which not all is there. Where that
/// header was taken off, nothing is left to the device. False when the bytes are shared and cannot be copied.
[[nodiscard]] inline bool complete_checksum(packet& p) noexcept {
  const layers l = p.layers();
  if (p.checksum() != checksum_status::partial || (!l.has(protocol::tcp) && !l.has(protocol::udp))) return true;
  if (l.transport < p.headroom()) return p.checksum(checksum_status::unknown), true;
  if (p.segment_size() != 0 || l.network < p.headroom()) return true;
  const std::size_t network = std::size_t{l.network} - p.headroom(), start = std::size_t{l.transport} - p.headroom(),
                    field = start + (l.has(protocol::tcp) ? 16 : 6);
  if (field + 2 > p.length()) return true;
  const std::byte* const datagram = p.data() + network;
  // Padding of the link does not count.
  const std::size_t end =
      network + (l.has(protocol::ipv4) ? load_be16(datagram + 2) : load_be16(datagram + 4) + std::size_t{40});
  if (end < field + 2 || end > p.total_length()) return true;
  if (p.is_shared() && !p.unshare()) return false;
  std::size_t left = end - start;
  std::size_t skip = start;
  running_checksum sum;
  p.for_each_fragment([&](bytes part) {
    const bytes counted = part.from(skip).first(left);
    skip -= skip < part.size() ? skip : part.size();
    left -= counted.size();
    sum.add(counted);
  });
  store_be16(p.writable().data() + field, sum.checksum() != 0 ? sum.checksum() : std::uint16_t{0xffff});
  p.checksum(checksum_status::unknown);
  return true;
}

}  // namespace runnel

#endif
