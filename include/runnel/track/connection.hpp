// SPDX-License-Identifier: MIT
// One tracked connection: two cache lines in a table. The first has what every packet needs, the second what TCP needs.
#ifndef RUNNEL_TRACK_CONNECTION_HPP
#define RUNNEL_TRACK_CONNECTION_HPP

#include <cstdint>  // uint8_t, uint16_t, uint32_t, uint64_t

#include <runnel/flow/stage.hpp>
#include <runnel/packet/connection_state.hpp>

namespace runnel {

class connection_table;

namespace detail {

// What was seen of one side of a TCP connection; the kernel's struct ip_ct_tcp_state, after "Real Stateful TCP Packet
// Filtering in IP Filter" by Guido van Rooij.
struct tcp_side {
  std::uint32_t end = 0;         // the highest sequence number that it sent, and its length
  std::uint32_t max_end = 0;     // the highest that its peer lets it send
  std::uint32_t max_window = 0;  // the largest window that it offered; 0: nothing seen of it yet
  std::uint32_t max_ack = 0;     // the highest acknowledgement that it sent
};
struct tcp_window {
  tcp_side side[2];
  std::uint8_t scale[2] = {};  // of each side
  std::uint8_t flags[2] = {};
  std::uint32_t last_sequence = 0;
  std::uint32_t last_ack = 0;
  std::uint32_t last_end = 0;
  std::uint16_t last_window = 0;
  std::uint8_t last_index = 0;  // of the kind of the last segment: see tcp_tracker.hpp
  std::uint8_t last_direction = 0;
  std::uint8_t last_scale = 0;
  std::uint8_t last_flags = 0;
  std::uint8_t retransmits = 0;
};
static_assert(sizeof(tcp_window) == 56);

struct fast_follow;
struct fast_tracker;
struct tracker;
struct transfer;
struct translated;

}  // namespace detail

/// A connection: handlers behind `track()` may ask for `connection&`, or `const connection&`. It belongs to its table
/// and stays where it is as long as it lives; after the burst it may be gone. Counters are those of the packets that
/// `track()` saw and did not find invalid, in whole IP packets, as the kernel counts them.
class alignas(64) connection : private connection_facts {
 public:
  /// Made by tables.
  connection() noexcept {  // what is not set there is set when it is first wanted: the second line may never be
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Winvalid-offsetof"  // of a class with a base: both compilers have it
    static_assert(__builtin_offsetof(connection, tcp_state_) == detail::connection_tcp_state_at);
#pragma GCC diagnostic pop
  }
  connection(const connection&) = delete;
  connection& operator=(const connection&) = delete;

  /// Bits of `connection_status`.
  [[nodiscard]] std::uint16_t status() const noexcept { return detail::public_status_of(facts().status); }
  /// Whether all of some bits are set.
  [[nodiscard]] bool has_status(std::uint16_t bits) const noexcept { return (facts().status & bits) == bits; }
  /// The IP protocol.
  [[nodiscard]] std::uint8_t protocol_number() const noexcept { return protocol_; }
  /// What has become of a TCP connection; `none` for others.
  [[nodiscard]] tcp_connection_state tcp_state() const noexcept {
    return static_cast<tcp_connection_state>(tcp_state_ & tcp_state_bits);
  }
  /// Whether a helper reads what its packets say, as ours for FTP and TFTP tell: then none of them goes past it on the
  /// fast path (the kernel's IPS_HELPER). One of your own says so at each packet: it is not exported. @{
  [[nodiscard]] bool helper() const noexcept { return (tcp_state_ & is_read) != 0; }
  void helper(bool on) noexcept {
    tcp_state_ = static_cast<std::uint8_t>((tcp_state_ & ~unsigned{is_read}) | (on ? unsigned{is_read} : 0u));
  }
  /// @}
  /// A number that rules and handlers give it. @{
  [[nodiscard]] std::uint32_t mark() const noexcept { return facts().mark; }
  void mark(std::uint32_t v) noexcept { connection_facts::mark = v; }
  /// @}
  /// 32 bits, each a label; the kernel has 128. @{
  [[nodiscard]] std::uint32_t labels() const noexcept { return (facts().status & has_labels) != 0 ? labels_ : 0; }
  void labels(std::uint32_t v) noexcept {
    labels_ = v;
    bits() |= has_labels;
  }
  /// @}
  /// The zone of the track stage that it began at.
  [[nodiscard]] std::uint16_t zone() const noexcept { return facts().zone; }
  /// What went one way. @{
  [[nodiscard]] std::uint64_t packets(connection_direction d) const noexcept {
    return packets_[static_cast<std::uint8_t>(d)];
  }
  [[nodiscard]] std::uint64_t octets(connection_direction d) const noexcept {
    return octets_[static_cast<std::uint8_t>(d)];
  }
  /// @}
  /// Whether it belongs to somebody: false of a place that is free. For those who keep numbers.
  [[nodiscard]] bool is_alive() const noexcept { return (facts().status & alive) != 0; }

 private:
  friend class connection_table;
  friend struct detail::fast_follow;
  friend struct detail::fast_tracker;
  friend struct detail::tracker;
  friend struct detail::transfer;
  friend struct detail::translated;
  static constexpr std::uint16_t alive = detail::connection_is_alive, is_ipv6 = 1u << 14, has_labels = 1u << 12,
                                 maps_destination = 1u << 11, maps_source = 1u << 10,
                                 has_mapping = maps_destination | maps_source;
  // Another connection has its reply tuple. Such a one is never confirmed, and only one that is dies by an event.
  static constexpr std::uint16_t one_way = connection_status::dying;
  static_assert(((alive | is_ipv6 | has_labels | has_mapping) & (detail::connection_is_counted | 0x3ffu)) == 0 &&
                detail::connection_is_counted > 0x3ff);

  // Of tcp_state_, whatever the protocol. That it had a mapping is for `nat_table::restore`, which makes it again.
  static constexpr std::uint8_t tcp_state_bits = 15, had_mapping = 1u << 6, is_read = 1u << 7;

  [[nodiscard]] const connection_facts& facts() const noexcept { return *this; }
  [[nodiscard]] std::uint16_t& bits() noexcept { return connection_facts::status; }
  [[nodiscard]] std::uint16_t bits() const noexcept { return connection_facts::status; }

  // ---- every packet
  std::uint32_t deadline_;  // in ticks
  std::uint32_t timer_;     // its place in the wheel; unconfirmed: its place in the ring of those
  std::uint32_t original_;  // places in the index
  std::uint32_t reply_;     // that of `original_` when both directions are found in one place
  std::uint32_t created_;   // in ticks; unconfirmed: in which burst
  std::uint8_t protocol_;
  std::uint8_t tcp_state_;  // and whether a helper reads it
  std::uint16_t touched_;   // lower bits of the number of the burst that had a packet of it last
  std::uint64_t packets_[2];
  std::uint64_t octets_[2];
  // ---- TCP, labels, and where IPv6 tuples lie: set when there are such
  union {
    detail::tcp_window tcp_;
  };
  std::uint32_t labels_;
  std::uint32_t tuples6_;
};
static_assert(sizeof(connection) == detail::connection_stride && sizeof(connection_facts) == 8);

}  // namespace runnel

#endif
