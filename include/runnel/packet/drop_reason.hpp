// SPDX-License-Identifier: MIT
// Why a packet was dropped: one list for the whole library, each entry counted and printable. The idea is the
// kernel's include/net/dropreason.h: a drop without a reason is a bug.
#ifndef RUNNEL_PACKET_DROP_REASON_HPP
#define RUNNEL_PACKET_DROP_REASON_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint8_t

namespace runnel {

/// The cause of a drop. The comment at each entry is what to look at when its counter grows.
enum class drop_reason : std::uint8_t {
  none,                 ///< not dropped
  policy,               ///< a rule or a handler said so without naming a cause
  blocklist,            ///< an address or port is on a list of unwanted ones
  no_match,             ///< no rule matched and the policy is to drop
  rejected,             ///< a rule refuses it, and the hook has no way `refused` on which its sender would be told
  over_limit,           ///< more came than a rate allows (a handler with a `token_bucket`)
  discarded,            ///< the pipeline ends here on purpose (`discard`)
  aborted,              ///< an early verdict reported a fault of its own
  truncated_capture,    ///< the capture cut the packet short before its headers ended
  other_host,           ///< sent to another host's link address, or into a VLAN of others
  link_too_short,       ///< shorter than its link-layer header
  vlan_malformed,       ///< a VLAN tag is cut off, or more tags are stacked than are accepted
  llc_malformed,        ///< an 802.3 length or an LLC/SNAP header that does not fit
  mpls_malformed,       ///< an MPLS label stack without a bottom
  arp_malformed,        ///< ARP with wrong hardware or protocol lengths, or cut off
  ip_version,           ///< the version nibble does not fit the link layer's protocol
  ip_too_short,         ///< shorter than an IP header
  ip_header_length,     ///< IHL below 5, or the header longer than the packet
  ip_total_length,      ///< total or payload length beyond the end of the frame, or below the header
  ip_checksum,          ///< wrong IPv4 header checksum
  ip_fragment,          ///< a fragment that cannot be right (beyond 65535 bytes, tiny first, overlapping)
  fragment_duplicate,   ///< the same fragment was there already
  fragments_full,       ///< a datagram in more fragments, or more memory, than reassembly may spend on it
  fragment_lost,        ///< it was held for its datagram, which did not become whole
  ip_option,            ///< an IP option with an impossible length, or an unknown one that says to drop
  ipv6_extension,       ///< an IPv6 extension header that is cut off or in an impossible order
  tcp_too_short,        ///< shorter than a TCP header
  tcp_data_offset,      ///< data offset below 5 or beyond the segment
  tcp_checksum,         ///< wrong TCP checksum
  tcp_option,           ///< a TCP option with an impossible length
  udp_too_short,        ///< shorter than a UDP header
  udp_length,           ///< UDP length below 8 or beyond the IP payload
  udp_checksum,         ///< wrong UDP checksum
  icmp_too_short,       ///< shorter than an ICMP header
  icmp_checksum,        ///< wrong ICMP or ICMPv6 checksum
  neighbour_malformed,  ///< a neighbour discovery message that RFC 4861 says to discard
  gre_malformed,        ///< GRE with reserved bits or fields cut off
  vxlan_malformed,      ///< VXLAN without its I flag, or cut off
  connections_full,     ///< the connection table has no room for a new connection
  connection_undone,    ///< the packet that began its connection did not get through
  connection_clash,     ///< another connection has the same tuple (the kernel's insert_failed)
  nat_exhausted,        ///< no address and port, or no memory, is free for a connection that is to be translated
  nat_subscriber,       ///< its sender has as many mappings as one may have
  nat_filtered,         ///< it comes from outside to a mapping that is not open to its sender
  nat_untranslatable,   ///< what would have to be translated is cut off, wrong, or of a connection that has ended
  not_ip,               ///< neither IPv4 nor IPv6 where only that can go on
  link_broadcast,       ///< sent to all or many on the link, where only what is meant for one may pass
  martian,              ///< a source or destination that no forwarded packet has (RFC 1812 §5.3.7)
  reverse_path,         ///< its source is not reached by the interface that it came by (RFC 3704)
  source_route,         ///< its sender chooses the way (loose or strict source route)
  route_blackhole,      ///< a blackhole route covers the destination
  unanswerable,         ///< no ICMP error, echo reply or reset may be sent about it, and it ends here
  icmp_rate,            ///< it would be answered, but more were answered lately than the limit allows
  neighbours_full,      ///< the neighbour table has no room for one more that is not known yet
  neighbour_queue,      ///< it waited for a neighbour's address, and newer packets to it took its place
  neighbour_failed,     ///< the next hop does not answer ARP or neighbour solicitations
  no_packet,            ///< the pool had no descriptor or slot left
  other_thread,         ///< a packet of another thread's pool, which cannot be cloned here: `copy(pool)` it first
  queue_full,           ///< a bounded queue refused the packet
  queue_head,           ///< a bounded queue gave up its oldest packet for a newer one
  transmit_full,        ///< a device did not take the packet
  transmit_error,       ///< a device failed to send or write the packet
  too_big,              ///< longer than the device, the slot or the format can carry
  link_loss,            ///< a simulated wire lost it
  no_target,            ///< redirected to a device or a local handler that is not there
  count_                ///< how many there are
};

/// How many reasons there are.
inline constexpr std::size_t drop_reason_count = static_cast<std::size_t>(drop_reason::count_);

/// The name of a drop reason as it is spelled in the enumeration.
[[nodiscard]] constexpr const char* name(drop_reason reason) noexcept {
  // clang-format off: one a line
  constexpr const char* names[] = {
      "none",
      "policy",
      "blocklist",
      "no_match",
      "rejected",
      "over_limit",
      "discarded",
      "aborted",
      "truncated_capture",
      "other_host",
      "link_too_short",
      "vlan_malformed",
      "llc_malformed",
      "mpls_malformed",
      "arp_malformed",
      "ip_version",
      "ip_too_short",
      "ip_header_length",
      "ip_total_length",
      "ip_checksum",
      "ip_fragment",
      "fragment_duplicate",
      "fragments_full",
      "fragment_lost",
      "ip_option",
      "ipv6_extension",
      "tcp_too_short",
      "tcp_data_offset",
      "tcp_checksum",
      "tcp_option",
      "udp_too_short",
      "udp_length",
      "udp_checksum",
      "icmp_too_short",
      "icmp_checksum",
      "neighbour_malformed",
      "gre_malformed",
      "vxlan_malformed",
      "connections_full",
      "connection_undone",
      "connection_clash",
      "nat_exhausted",
      "nat_subscriber",
      "nat_filtered",
      "nat_untranslatable",
      "not_ip",
      "link_broadcast",
      "martian",
      "reverse_path",
      "source_route",
      "route_blackhole",
      "unanswerable",
      "icmp_rate",
      "neighbours_full",
      "neighbour_queue",
      "neighbour_failed",
      "no_packet",
      "other_thread",
      "queue_full",
      "queue_head",
      "transmit_full",
      "transmit_error",
      "too_big",
      "link_loss",
      "no_target",
  };
  // clang-format on
  static_assert(sizeof names / sizeof *names == drop_reason_count, "runnel: every drop_reason has a name");
  const auto i = static_cast<std::size_t>(reason);
  return i < drop_reason_count ? names[i] : "unknown";
}

}  // namespace runnel

#endif
