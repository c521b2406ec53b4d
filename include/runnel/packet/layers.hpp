// SPDX-License-Identifier: MIT
// Which headers a packet carries and where they begin: what `dissect` finds once, so that nobody after it has to
// look again.
#ifndef RUNNEL_PACKET_LAYERS_HPP
#define RUNNEL_PACKET_LAYERS_HPP

#include <cstdint>  // uint8_t, uint16_t

#include <runnel/packet/drop_reason.hpp>

namespace runnel {

/// How the first bytes of a frame are to be read. The order is that of `layers`' lowest three bits.
enum class link_type : std::uint8_t {
  ethernet,    ///< Ethernet II or 802.3 (LINKTYPE_ETHERNET, 1)
  raw_ip,      ///< an IPv4 or IPv6 header at once (LINKTYPE_RAW, 101; 228, 229)
  null_loop,   ///< four bytes of address family, in host or network order (LINKTYPE_NULL, 0; LINKTYPE_LOOP, 108)
  linux_sll,   ///< Linux cooked capture, version 1 (LINKTYPE_LINUX_SLL, 113)
  linux_sll2,  ///< Linux cooked capture, version 2 (LINKTYPE_LINUX_SLL2, 276)
  unknown,     ///< nothing that this library can read
};

/// The headers that `dissect` tells apart, each a bit of `layers::protocols`.
enum class protocol : std::uint16_t {
  parsed = 1u << 3,      ///< the bits below were looked for (nothing was found wrong)
  vlan = 1u << 4,        ///< at least one 802.1Q or 802.1ad tag
  mpls = 1u << 5,        ///< an MPLS label stack
  arp = 1u << 6,         ///< ARP at the network offset
  ipv4 = 1u << 7,        ///< IPv4 at the network offset
  ipv6 = 1u << 8,        ///< IPv6 at the network offset
  fragment = 1u << 9,    ///< a fragment of an IP datagram, the first or a later one
  tcp = 1u << 10,        ///< TCP at the transport offset
  udp = 1u << 11,        ///< UDP at the transport offset
  icmp = 1u << 12,       ///< ICMP at the transport offset
  icmpv6 = 1u << 13,     ///< ICMPv6 at the transport offset
  gre = 1u << 14,        ///< GRE at the transport offset
  transport = 1u << 15,  ///< the IP payload begins at the transport offset, whatever it is; not set in later fragments
};

/// The result of a dissection, eight bytes. Offsets count from the beginning of the buffer (`frame::head()`,
/// `packet::head()`), so that they stay right when a header is pushed or pulled in front of them.
struct layers {
  std::uint16_t protocols = 0;            ///< bits of `protocol`, and the `link_type` in the lowest three
  std::uint16_t network = 0;              ///< where the network header (or an unknown link payload) begins, bytes
  std::uint16_t transport = 0;            ///< where the transport header begins, bytes; valid with protocol::transport
  std::uint8_t link = 0;                  ///< how many bytes before `network` the link header begins
  drop_reason fault = drop_reason::none;  ///< what was wrong, when it could not be parsed

  /// Whether a protocol was found.
  [[nodiscard]] constexpr bool has(protocol p) const noexcept {
    return (protocols & static_cast<std::uint16_t>(p)) != 0;
  }
  /// What the first header is.
  [[nodiscard]] constexpr link_type link_kind() const noexcept { return static_cast<link_type>(protocols & 7u); }
  /// Equal when all their parts are.
  friend constexpr bool operator==(const layers&, const layers&) noexcept = default;
};
static_assert(sizeof(layers) == 8);

}  // namespace runnel

#endif
