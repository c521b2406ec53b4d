// SPDX-License-Identifier: MIT
// What can be set about connection tracking: sizes, timeouts, switches; and what it counts. Names and defaults are
// those of the kernel's net.netfilter.nf_conntrack_*.
#ifndef RUNNEL_TRACK_TRACKING_OPTIONS_HPP
#define RUNNEL_TRACK_TRACKING_OPTIONS_HPP

#include <cstdint>  // uint8_t, uint32_t, uint64_t

#include <runnel/base/text.hpp>
#include <runnel/base/time.hpp>

namespace runnel {

/// How large a connection table is. Its memory is taken at construction: `connection_table::bytes_needed`.
///
/// Give room for twice as many connections as you expect. A table that is nearly full still has a place for every
/// connection, but translated ones, which take two, are looked for in several cache lines then: a new one costs about
/// 1.7 times as much as in a table that is half full.
struct connection_config {
  std::uint32_t connections = 65536;       ///< at most this many at once, both families together; below 2^28
  std::uint32_t ipv6_connections = 16384;  ///< how many of them may be IPv6
  /// How many may be between `track()` and `confirm()` at once: at least as many as a burst has packets, or the rest of
  /// a burst of new connections is dropped.
  std::uint32_t unconfirmed = 1024;
  std::uint32_t expectations = 64;  ///< how many announced connections may be waited for; 0: none
  std::uint64_t seed = 0;  ///< of the hash: from a random source, or others can choose connections that collide
};

/// How long a connection lives after its last packet. At most 26 days; longer ones become that.
struct connection_timeouts {
  /// A TCP connection in this state: nf_conntrack_tcp_timeout_*. @{
  duration tcp_syn_sent = seconds(120);
  duration tcp_syn_recv = seconds(60);
  duration tcp_established = seconds(432'000);
  duration tcp_fin_wait = seconds(120);
  duration tcp_close_wait = seconds(60);
  duration tcp_last_ack = seconds(30);
  duration tcp_time_wait = seconds(120);
  duration tcp_close = seconds(10);
  /// @}
  duration tcp_max_retrans = seconds(300);     ///< when one side keeps sending the same
  duration tcp_unacknowledged = seconds(300);  ///< while something waits for its acknowledgement
  duration udp = seconds(30);                  ///< until packets went both ways for two seconds
  duration udp_stream = seconds(120);          ///< then
  duration icmp = seconds(30);                 ///< queries
  duration icmpv6 = seconds(30);               ///< queries
  duration gre = seconds(30);                  ///< until a packet came back
  duration gre_stream = seconds(180);          ///< then
  duration generic = seconds(600);             ///< all other protocols
};

/// How packets are judged.
struct tracking_options {
  connection_timeouts timeouts{};       ///< see there
  bool tcp_loose = true;                ///< a connection may be picked up in its middle
  bool tcp_be_liberal = false;          ///< what is outside the window is not invalid
  bool tcp_ignore_invalid_rst = false;  ///< a reset below what was acknowledged is judged like any other
  std::uint8_t tcp_max_retrans = 3;     ///< as often as this, and the timeout falls to `tcp_max_retrans`

  /// Packets with a wrong transport checksum are invalid. The kernel's default is on. Here it is off: it reads every
  /// byte of every packet, and who can forge what the window check lets through can also compute a checksum. Of a
  /// datagram that was put together from fragments it is not looked at.
  bool checksum = false;
};

/// What a connection table has counted since it was made; in the words of `conntrack -S`.
struct connection_statistics {
  std::uint64_t insert = 0;         ///< connections confirmed
  std::uint64_t invalid = 0;        ///< packets that belong to no connection and begin none
  std::uint64_t insert_failed = 0;  ///< packets lost because another connection has the same tuple
  std::uint64_t drop = 0;           ///< packets lost because the table was full
  std::uint64_t early_drop = 0;     ///< connections given up for new ones because the table was full
  std::uint64_t unconfirmed = 0;    ///< connections whose first packet did not get through
  std::uint64_t expired = 0;        ///< connections whose time ran out
};

/// `insert=3 invalid=0 ...`, in one line.
constexpr void print(text_writer& out, const connection_statistics& s) noexcept {
  out << "insert=" << s.insert << " invalid=" << s.invalid << " insert_failed=" << s.insert_failed << " drop=" << s.drop
      << " early_drop=" << s.early_drop << " unconfirmed=" << s.unconfirmed << " expired=" << s.expired;
}

/// What happened to a connection.
enum class connection_event : std::uint8_t {
  created,    ///< it was confirmed
  updated,    ///< its status or TCP state changed
  destroyed,  ///< it is about to go; only confirmed ones say so
};

/// The name as `conntrack -E` writes it.
[[nodiscard]] constexpr const char* name(connection_event e) noexcept {
  return e == connection_event::created ? "NEW" : e == connection_event::updated ? "UPDATE" : "DESTROY";
}

namespace detail {

// A tick of 2^20 nanoseconds, 1.05 milliseconds: what deadlines are counted in.
inline constexpr unsigned tick_shift = 20;
[[nodiscard]] constexpr std::uint64_t ticks_at(instant t) noexcept {
  return t.ns < 0 ? 0 : static_cast<std::uint64_t>(t.ns) >> tick_shift;
}
// Rounded up, and less than half of what 32 bits count.
[[nodiscard]] constexpr std::uint32_t ticks_in(duration d) noexcept {
  if (d.ns <= 0) return 0;
  const std::uint64_t n = (static_cast<std::uint64_t>(d.ns) + (1u << tick_shift) - 1) >> tick_shift;
  return n < 0x7fff'ffff ? static_cast<std::uint32_t>(n) : 0x7fff'ffffu;
}

}  // namespace detail

}  // namespace runnel

#endif
