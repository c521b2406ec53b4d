// SPDX-License-Identifier: MIT
// What connection tracking says about one packet, in the 32 bits that travel with it: the state, the direction, and
// which connection; and what rules may ask about the connection itself. The names are the kernel's
// (include/uapi/linux/netfilter/nf_conntrack_common.h).
#ifndef RUNNEL_PACKET_CONNECTION_STATE_HPP
#define RUNNEL_PACKET_CONNECTION_STATE_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t

namespace runnel {

/// What a packet is to its connection; `ct::state == established`.
enum class connection_state : std::uint8_t {
  none,         ///< never seen by `track()`, or no packet that is tracked (ARP)
  new_,         ///< of a connection of which nothing came back yet
  established,  ///< of a connection that was seen in both directions
  related,      ///< about a connection (an ICMP error), one that a connection announced (FTP data), or a later fragment
                ///< behind `virtual_defragment()` of a datagram of a connection of which nothing came back yet
  invalid,      ///< belongs to no connection, and begins none
  untracked,    ///< tracking was left out on purpose: `notrack()`, neighbour discovery
};

/// The states of a tracked TCP connection; the kernel's `enum tcp_conntrack`.
enum class tcp_connection_state : std::uint8_t {
  none,         ///< not TCP
  syn_sent,     ///< a SYN was seen
  syn_recv,     ///< and a SYN/ACK
  established,  ///< and the ACK; or picked up in its middle
  fin_wait,     ///< one side sent a FIN
  close_wait,   ///< which was acknowledged
  last_ack,     ///< the other side sent one too
  time_wait,    ///< which was acknowledged
  close,        ///< a reset was seen
  syn_sent2,    ///< both sides sent a SYN
};

/// The name as `conntrack -L` writes it.
[[nodiscard]] constexpr const char* name(tcp_connection_state s) noexcept {
  constexpr const char* names[] = {"NONE",       "SYN_SENT", "SYN_RECV",  "ESTABLISHED", "FIN_WAIT",
                                   "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSE",       "SYN_SENT2"};
  const auto i = static_cast<std::uint8_t>(s);
  return i < sizeof names / sizeof *names ? names[i] : "UNKNOWN";
}

/// The states by name, for `ct::state == established`. @{
inline constexpr connection_state new_ = connection_state::new_;
inline constexpr connection_state established = connection_state::established;
inline constexpr connection_state related = connection_state::related;
inline constexpr connection_state invalid = connection_state::invalid;
inline constexpr connection_state untracked = connection_state::untracked;
/// @}

/// The name as nft spells it.
[[nodiscard]] constexpr const char* name(connection_state s) noexcept {
  switch (s) {
    case connection_state::none: return "none";
    case connection_state::new_: return "new";
    case connection_state::established: return "established";
    case connection_state::related: return "related";
    case connection_state::invalid: return "invalid";
    case connection_state::untracked: return "untracked";
  }
  return "unknown";
}

/// Which way a packet goes: that of the packet that began the connection, or back; `ct::direction == original`.
enum class connection_direction : std::uint8_t { original, reply };

/// The name as nft spells it.
[[nodiscard]] constexpr const char* name(connection_direction d) noexcept {
  return d == connection_direction::original ? "original" : "reply";
}

/// Bits of `connection::status()`, those of the kernel's `enum ip_conntrack_status`, which has more. They are numbers,
/// to be joined with `|`.
namespace connection_status {
inline constexpr std::uint16_t expected = 1u << 0;    ///< an expectation announced it
inline constexpr std::uint16_t seen_reply = 1u << 1;  ///< packets went both ways
inline constexpr std::uint16_t assured =
    1u << 2;  ///< not given up for a new one when the table is full, unless it is closing
inline constexpr std::uint16_t confirmed = 1u << 3;     ///< its first packet got through: it counts
inline constexpr std::uint16_t src_nat = 1u << 4;       ///< its source is translated
inline constexpr std::uint16_t dst_nat = 1u << 5;       ///< its destination is translated
inline constexpr std::uint16_t seq_adjust = 1u << 6;    ///< its TCP sequence numbers are changed: text became longer
inline constexpr std::uint16_t src_nat_done = 1u << 7;  ///< it is decided whether its source is translated
inline constexpr std::uint16_t dst_nat_done = 1u << 8;  ///< the same of its destination
inline constexpr std::uint16_t dying =
    1u << 9;  ///< it is being destroyed: behind the reset that ended it, and in events from there on
}  // namespace connection_status

/// What `packet::connection()` holds: the state in bits 0 to 2, the direction in bit 3, and in the others the number of
/// the connection in its table plus one; 0 there when it has none. All zero: never tracked.
struct connection_word {
  /// The number.
  std::uint32_t value = 0;

  /// What the packet is to its connection.
  [[nodiscard]] constexpr connection_state state() const noexcept { return static_cast<connection_state>(value & 7u); }
  /// Which way it goes.
  [[nodiscard]] constexpr connection_direction direction() const noexcept {
    return static_cast<connection_direction>(value >> 3 & 1u);
  }
  /// Whether it belongs to a connection.
  [[nodiscard]] constexpr bool has_connection() const noexcept { return (value >> 4) != 0; }
  /// The number of its connection; `has_connection()` is the caller's promise.
  [[nodiscard]] constexpr std::uint32_t number() const noexcept { return (value >> 4) - 1; }
  /// Of a packet without a connection.
  [[nodiscard]] static constexpr connection_word of(connection_state s) noexcept {
    return {static_cast<std::uint32_t>(s)};
  }
  /// Of a packet of connection `number`.
  [[nodiscard]] static constexpr connection_word of(connection_state s, connection_direction d,
                                                    std::uint32_t number) noexcept {
    return {(number + 1) << 4 | static_cast<std::uint32_t>(d) << 3 | static_cast<std::uint32_t>(s)};
  }
};

/// What is known of a connection besides its packets: the beginning of each record in a connection table. Zero in one
/// that has just begun.
struct connection_facts {
  std::uint32_t mark = 0;    ///< a number that rules and handlers give it
  std::uint16_t status = 0;  ///< bits of connection_status; those above `dying` are internal, and mean nothing to you
  std::uint16_t zone = 0;    ///< of the track stage that it began at
};

namespace detail {
// How far apart the records of connections lie in a table.
inline constexpr std::size_t connection_stride = 128;
// How far from the beginning of a record the state of a TCP connection lies, in the lower four bits of a byte.
inline constexpr std::size_t connection_tcp_state_at = 29;
// What `virtual_defragment` tells `track` of a later fragment, in the packet's connection word: whose ports, or what
// stands for them, are in the packet's scratch. States that nothing has behind `track`, and no number.
namespace later_fragment {
inline constexpr std::uint8_t of_tcp = 6, of_udp = 14, of_icmp = 7, of_other = 15;
[[nodiscard]] constexpr std::uint8_t word_for(std::uint8_t protocol) noexcept {
  return protocol == 6 ? of_tcp : protocol == 17 ? of_udp : protocol == 1 || protocol == 58 ? of_icmp : of_other;
}
[[nodiscard]] constexpr bool is_word(std::uint32_t word) noexcept { return word < 16 && (word & 6u) == 6; }
}  // namespace later_fragment
// What an error or reset of this host tells `track`, in its connection word: the connection of the packet that it is
// about, whose headers may by now look like neither of its directions. A state that nothing has behind `track`, and a
// number.
namespace answer_about {
[[nodiscard]] constexpr std::uint32_t word_for(std::uint32_t word) noexcept {
  return (word >> 4) == 0 || (word & 7u) >= 6 ? 0 : ((word ^ 8u) & ~std::uint32_t{7}) | 6u;
}
[[nodiscard]] constexpr bool is_word(std::uint32_t word) noexcept { return word >= 16 && (word & 7u) == 6; }
}  // namespace answer_about
// In `status`: there is such a connection; not in a record that is free.
inline constexpr std::uint16_t connection_is_alive = 1u << 15;
// In `status` too: a rule that counts connections has counted it.
inline constexpr std::uint16_t connection_is_counted = 1u << 13;
// Notes that a TCP connection was reset by this host, of whose reset `track` sees nothing. `connections` are the
// records of its table, or null. What is not confirmed leaves nothing behind anyway.
inline void note_reset(void* connections, connection_word word) noexcept {
  if (connections == nullptr || !word.has_connection()) return;
  auto* const record = static_cast<std::uint8_t*>(connections) + word.number() * connection_stride;
  const auto* const known = static_cast<const connection_facts*>(static_cast<const void*>(record));
  constexpr unsigned both = connection_is_alive | connection_status::confirmed;
  std::uint8_t& state = record[connection_tcp_state_at];
  if ((known->status & both) != both || (state & 15u) == 0) return;
  state = static_cast<std::uint8_t>((state & ~15u) | static_cast<unsigned>(tcp_connection_state::close));
}
// What of `status` others see. All bits are taken: that of `dying` has another meaning in connections that are not
// confirmed, see `connection::one_way`.
[[nodiscard]] constexpr std::uint16_t public_status_of(std::uint16_t status) noexcept {
  constexpr unsigned known = 0x03ff;
  const bool is_confirmed = (status & connection_status::confirmed) != 0;
  return static_cast<std::uint16_t>(status & (is_confirmed ? known : known & ~unsigned{connection_status::dying}));
}
}  // namespace detail

}  // namespace runnel

#endif
