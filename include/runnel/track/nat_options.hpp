// SPDX-License-Identifier: MIT
// What can be set about address translation: sizes, behaviour in the words of RFC 4787, limits; and what it counts.
#ifndef RUNNEL_TRACK_NAT_OPTIONS_HPP
#define RUNNEL_TRACK_NAT_OPTIONS_HPP

#include <cstdint>  // uint8_t, uint32_t, uint64_t

#include <runnel/base/text.hpp>
#include <runnel/base/time.hpp>
#include <runnel/track/tracking_options.hpp>

namespace runnel {

/// How large a `nat_table` is. Its memory is taken at construction: `nat_table::bytes_needed`. Translated connections
/// need none of it: they are in the connection table. All zero is a table for `nat_mapping::per_connection`.
struct nat_config {
  std::uint32_t mappings = 0;     ///< endpoint-independent mappings at once; below 2^31
  std::uint32_t subscribers = 0;  ///< hosts inside that have such mappings at once
  std::uint32_t permissions = 0;  ///< pairs of a mapping and an address outside: for nat_filtering::address_dependent
  std::uint32_t sequences = 0;    ///< FTP connections at once whose text is changed: for `nat_ftp`
  std::uint64_t seed = 0;         ///< of ports and hashes: from a random source
};

/// What a source is translated to when it sends to another destination (RFC 4787 §4.1).
enum class nat_mapping : std::uint8_t {
  per_connection,        ///< each connection for itself, as the kernel does: "address and port-dependent mapping"
  endpoint_independent,  ///< address and port inside have one address and port outside, which nobody else has
};
/// Who may send to a mapping from outside (RFC 4787 §5). For `nat_mapping::endpoint_independent`.
enum class nat_filtering : std::uint8_t {
  address_and_port_dependent,  ///< only who was sent something, from the port that it was sent to
  address_dependent,           ///< who was sent something, from any port
  endpoint_independent,        ///< everybody
};

/// How connections are translated.
struct nat_options {
  nat_mapping mapping = nat_mapping::per_connection;                    ///< see there
  nat_filtering filtering = nat_filtering::address_and_port_dependent;  ///< see there
  std::uint32_t ports_per_subscriber = 0;  ///< mappings that a host inside may have (RFC 6888 REQ-4); 0: no limit
  /// How long nobody else gets the address and port of a mapping that is over (RFC 6888 REQ-8: two minutes). For
  /// `nat_mapping::endpoint_independent`.
  duration reuse_delay{};
};

/// Timeouts of connections as the RFCs ask of a NAT: `tracking_options{.timeouts = nat_timeouts}`. UDP 5 minutes (RFC
/// 4787 REQ-5), TCP 2 hours and 4 minutes when established and 4 minutes otherwise (RFC 5382 REQ-5, RFC 7857 §2.1),
/// ICMP queries one minute (RFC 5508 REQ-2). The kernel's, which are the default, are shorter for UDP and for TCP that
/// opens or closes.
inline constexpr connection_timeouts nat_timeouts{
    .tcp_syn_sent = seconds(240),
    .tcp_syn_recv = seconds(240),
    .tcp_established = seconds(7440),
    .tcp_fin_wait = seconds(240),
    .tcp_close_wait = seconds(240),
    .tcp_last_ack = seconds(240),
    .tcp_time_wait = seconds(240),
    .tcp_close = seconds(240),
    .tcp_max_retrans = seconds(7440),
    .tcp_unacknowledged = seconds(7440),
    .udp = seconds(300),
    .udp_stream = seconds(300),
    .icmp = seconds(60),
    .icmpv6 = seconds(60),
};

/// What a NAT table has counted since it was made.
struct nat_statistics {
  std::uint64_t translated = 0;      ///< connections that were given another address or port, once for each side
  std::uint64_t tries = 0;           ///< ports that were looked at and found taken
  std::uint64_t exhausted = 0;       ///< packets dropped because no address and port, or no memory, was free
  std::uint64_t over_limit = 0;      ///< packets dropped because a subscriber had as many mappings as it may
  std::uint64_t filtered = 0;        ///< packets from outside that a mapping was not open to
  std::uint64_t untranslatable = 0;  ///< packets dropped because what had to be changed was cut off or wrong
  std::uint64_t errors = 0;          ///< ICMP errors whose quoted packet was translated
};

/// `translated=3 tries=0 ...`, in one line.
constexpr void print(text_writer& out, const nat_statistics& s) noexcept {
  out << "translated=" << s.translated << " tries=" << s.tries << " exhausted=" << s.exhausted
      << " over_limit=" << s.over_limit << " filtered=" << s.filtered << " untranslatable=" << s.untranslatable
      << " errors=" << s.errors;
}

}  // namespace runnel

#endif
