// SPDX-License-Identifier: MIT
// Completes the transport checksum of a packet whose device left it partial (`checksum_status::partial`), for devices
// that put packets on a wire where nobody does it for them. Nothing here is for users.
#ifndef RUNNEL_DEVICE_PARTIAL_CHECKSUM_HPP
#define RUNNEL_DEVICE_PARTIAL_CHECKSUM_HPP

#include <cstddef>  // byte, size_t

#include <runnel/base/bytes.hpp>
#include <runnel/base/endian.hpp>
#include <runnel/packet/packet.hpp>
#include <runnel/wire/checksum.hpp>
#include <runnel/wire/dissect.hpp>

namespace runnel::detail {

/// Where the checksum of a TCP segment or UDP datagram lies, counted from the first byte of the packet. All of the
/// header lies in the first fragment.
struct transport_checksum_place {
  std::size_t start = 0;   ///< of the transport header; 0 when there is no such checksum
  std::size_t field = 0;   ///< from there to the checksum: 16 for TCP, 6 for UDP
  std::size_t end = 0;     ///< of the IP packet; padding may follow
  std::size_t header = 0;  ///< bytes of the transport header
  bool ipv4 = false;
};

/// `first` begins with the link header; `chained` bytes follow it in further fragments.
[[nodiscard]] inline transport_checksum_place find_transport_checksum(bytes first, link_type link,
                                                                      std::size_t chained = 0) noexcept {
  const layers found = dissect(first, link, {.chained = chained});
  const bool tcp = found.has(protocol::tcp);
  if (!tcp && !found.has(protocol::udp)) return {};
  const std::byte* ip = first.data() + found.network;
  const bool ipv4 = found.has(protocol::ipv4);
  const std::size_t size = ipv4 ? load_be16(ip + 2) : std::size_t{40} + load_be16(ip + 4);
  const std::size_t header = tcp ? std::size_t{load_u8(first.data() + found.transport + 12)} / 16 * 4 : 8;
  return {found.transport, tcp ? std::size_t{16} : std::size_t{6}, found.network + size, header, ipv4};
}

/// Whether a packet of `length` bytes, of which `first` is the first fragment, is at most one segment with `segment`
/// bytes of payload, and so need not be cut by a device that cannot. False when it is neither TCP nor UDP.
[[nodiscard]] inline bool is_one_segment(bytes first, link_type link, std::size_t length,
                                         std::size_t segment) noexcept {
  const transport_checksum_place at = find_transport_checksum(first, link, length - first.size());
  return at.start != 0 && at.end <= at.start + at.header + segment;
}

/// Completes the partial checksum of a TCP or UDP packet that begins with its link header; padding behind the IP packet
/// does not count. Leaves alone what is something else.
inline void complete_transport_checksum(mutable_bytes whole, link_type link) noexcept {
  const transport_checksum_place at = find_transport_checksum(whole, link);
  if (at.start == 0 || at.end > whole.size()) return;
  (void)complete_checksum(whole.first(at.end), at.start, at.field);
}

/// The same for a packet of any number of fragments, if its checksum is partial; it is verified then. Copies shared
/// bytes first. False, and nothing changed, when the pool has no slot for that. `link` is what it begins with.
[[nodiscard]] inline bool complete_transport_checksum(packet& p, link_type link) noexcept {
  if (p.checksum() != checksum_status::partial) return true;
  if (!p.unshare()) return false;
  const std::size_t length = p.total_length();
  const transport_checksum_place at = find_transport_checksum(p.contents(), link, length - p.length());
  if (at.start == 0 || at.end > length) return true;
  running_checksum sum;
  std::size_t behind = at.start, left = at.end - at.start;
  p.for_each_fragment([&](bytes part) {
    const std::size_t skipped = behind < part.size() ? behind : part.size();
    behind -= skipped;
    part = part.from(skipped);
    part = part.first(left < part.size() ? left : part.size());
    left -= part.size();
    sum.add(part);
  });
  store_be16(p.writable().data() + at.start + at.field, sum.checksum() != 0 ? sum.checksum() : 0xffff);
  p.checksum(checksum_status::verified);
  return true;
}

}  // namespace runnel::detail

#endif
