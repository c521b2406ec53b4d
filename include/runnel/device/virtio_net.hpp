// SPDX-License-Identifier: MIT
// The header that virtual devices put before a packet to say what is left to do for it: the checksum and the cutting
// into segments. TAP (IFF_VNET_HDR) and packet sockets (PACKET_VNET_HDR) speak it. virtio 1.2 §5.1.6, struct
// virtio_net_hdr in <linux/virtio_net.h>. Nothing here is for users.
//
//     NEEDS_CSUM, csum_start, csum_offset  <->  checksum_status::partial
//     DATA_VALID                            ->  checksum_status::verified
//     gso_type, gso_size                   <->  segment_size
#ifndef RUNNEL_DEVICE_VIRTIO_NET_HPP
#define RUNNEL_DEVICE_VIRTIO_NET_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint16_t

#include <runnel/base/bytes.hpp>
#include <runnel/base/endian.hpp>
#include <runnel/device/partial_checksum.hpp>
#include <runnel/packet/frame.hpp>
#include <runnel/packet/packet.hpp>
#include <runnel/wire/checksum.hpp>
#include <runnel/wire/tcp.hpp>  // tcp_flags

namespace runnel::detail {

/// As it lies before the packet, in the host's byte order, which both kinds of device use unless told otherwise.
struct virtio_net_header {
  std::uint8_t flags = 0;
  std::uint8_t gso_type = 0;
  std::uint16_t header_length = 0;    ///< of all headers of a packet to be cut; a hint, and not looked at
  std::uint16_t segment_size = 0;     ///< payload bytes of each segment
  std::uint16_t checksum_start = 0;   ///< from the first byte of the packet
  std::uint16_t checksum_offset = 0;  ///< from there
};
static_assert(sizeof(virtio_net_header) == 10);

/// Bits of `flags` and values of `gso_type`. @{
inline constexpr std::uint8_t virtio_needs_checksum = 1, virtio_data_valid = 2;
inline constexpr std::uint8_t virtio_gso_none = 0, virtio_gso_tcpv4 = 1, virtio_gso_tcpv6 = 4, virtio_gso_udp = 5;
inline constexpr std::uint8_t virtio_gso_ecn = 0x80;  // with one of TCP: the first segment alone has CWR
/// @}

/// Takes over what the header says into `checksum` and `segment_size` of the frame, which lies behind it and begins
/// with its link header. A checksum at another place than where the library looks for the transport checksum (inside of
/// a tunnel) is completed here. False when the header cannot be right: a place outside of the packet, a kind of
/// segmentation that was not asked for or is not that of the packet. What is in such a frame is not to be used.
[[nodiscard]] inline bool read_virtio_net_header(const virtio_net_header& h, frame& f) noexcept {
  f.checksum = (h.flags & virtio_data_valid) != 0 ? checksum_status::verified : checksum_status::unknown;
  f.segment_size = 0;
  const bool partial = (h.flags & virtio_needs_checksum) != 0;
  if (!partial && h.gso_type == virtio_gso_none) [[likely]]
    return true;
  if (f.missing != 0) {  // cut off by the receiver: nothing can be completed, nor cut
    if (partial) f.checksum = checksum_status::partial;
    return true;
  }
  const transport_checksum_place at = find_transport_checksum(f.contents(), f.link);
  if (h.gso_type != virtio_gso_none) {
    const unsigned kind = h.gso_type & ~unsigned{virtio_gso_ecn};
    const unsigned expected = at.field == 6 ? virtio_gso_udp : at.ipv4 ? virtio_gso_tcpv4 : virtio_gso_tcpv6;
    if (at.start == 0 || kind != expected || h.segment_size == 0) return false;
    f.segment_size = h.segment_size;
  }
  if (!partial) return true;
  if (at.start == h.checksum_start && at.field == h.checksum_offset && at.start != 0) {
    f.checksum = checksum_status::partial;
    return true;
  }
  f.checksum = checksum_status::verified;
  return f.segment_size == 0 && complete_checksum(f.contents(), h.checksum_start, h.checksum_offset);
}

/// Whether a header that `read_virtio_net_header` refused is of segments of TCP inside of a tunnel over UDP, for which
/// it has no word (virtio_net_hdr_from_skb() in <linux/virtio_net.h> leaves the tunnel out). Nobody could be told to
/// cut them in their place.
[[nodiscard]] inline bool is_segmented_in_tunnel(const virtio_net_header& h, const frame& f) noexcept {
  const unsigned kind = h.gso_type & ~unsigned{virtio_gso_ecn};
  return (kind == virtio_gso_tcpv4 || kind == virtio_gso_tcpv6) && h.segment_size != 0 &&
         find_transport_checksum(f.contents(), f.link).field == 6;
}

/// The header for a packet of which `first` is the first fragment, `chained` bytes follow. A packet with nothing left
/// to do, or without a TCP or UDP checksum where `dissect` finds it, gets a header of zeros.
[[nodiscard]] inline virtio_net_header make_virtio_net_header(bytes first, link_type link, std::size_t chained,
                                                              checksum_status checksum,
                                                              std::uint16_t segment_size) noexcept {
  virtio_net_header h;
  if (checksum != checksum_status::partial && segment_size == 0) [[likely]]
    return h;
  const transport_checksum_place at = find_transport_checksum(first, link, chained);
  if (at.start == 0) return h;
  if (checksum == checksum_status::partial) {
    h.flags = virtio_needs_checksum;
    h.checksum_start = static_cast<std::uint16_t>(at.start);
    h.checksum_offset = static_cast<std::uint16_t>(at.field);
  }
  if (segment_size == 0) return h;
  h.segment_size = segment_size;
  h.header_length = static_cast<std::uint16_t>(at.start + at.header);
  if (at.field == 6) {
    h.gso_type = virtio_gso_udp;
    return h;
  }
  h.gso_type = at.ipv4 ? virtio_gso_tcpv4 : virtio_gso_tcpv6;
  if ((load_u8(first.data() + at.start + 13) & tcp_flags::cwr) != 0) h.gso_type |= virtio_gso_ecn;
  return h;
}
/// The same for a packet and for a frame. @{
[[nodiscard]] inline virtio_net_header make_virtio_net_header(const packet& p) noexcept {
  return make_virtio_net_header(p.contents(), p.layers().link_kind(), p.total_length() - p.length(), p.checksum(),
                                p.segment_size());
}
[[nodiscard]] inline virtio_net_header make_virtio_net_header(const frame& f) noexcept {
  return make_virtio_net_header(f.contents(), f.link, 0, f.checksum, f.segment_size);
}
/// @}

}  // namespace runnel::detail

#endif
