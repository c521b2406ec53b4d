// SPDX-License-Identifier: MIT
// Neighbours: the states of RFC 4861 §7.3.2 by Linux' names, what can be set about a table of them, what it counts, and
// a line of `ip neigh`.
#ifndef RUNNEL_IP_NEIGHBOUR_HPP
#define RUNNEL_IP_NEIGHBOUR_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t, uint64_t

#include <runnel/base/text.hpp>
#include <runnel/base/time.hpp>
#include <runnel/ip/own_addresses.hpp>
#include <runnel/packet/packet.hpp>
#include <runnel/wire/address.hpp>
#include <runnel/wire/ndp.hpp>

namespace runnel {

/// What is known about a neighbour: the kernel's NUD_ states.
enum class neighbour_state : std::uint8_t {
  none,        ///< nothing
  incomplete,  ///< it is being asked for its address
  reachable,   ///< it has answered, or shown to be alive, a short time ago
  stale,       ///< its address is known; whether it is still there is not
  delay,       ///< a packet was sent to the address that may be out of date; asked if nothing is heard
  probe,       ///< it is being asked whether it is still there
  failed,      ///< it did not answer
  permanent,   ///< the user has said what its address is
};
/// As `ip neigh` writes it.
[[nodiscard]] constexpr const char* name(neighbour_state s) noexcept {
  constexpr const char* names[] = {"NONE", "INCOMPLETE", "REACHABLE", "STALE", "DELAY", "PROBE", "FAILED", "PERMANENT"};
  const auto i = static_cast<std::size_t>(s);
  return i < sizeof names / sizeof *names ? names[i] : "?";
}

/// The Ethernet address of an IPv4 multicast group: its last 23 bits (RFC 1112 §6.4).
[[nodiscard]] constexpr mac_address multicast_mac(ipv4_address group) noexcept {
  const std::uint32_t v = group.value();
  return {{0x01, 0x00, 0x5e, static_cast<std::uint8_t>(v >> 16 & 0x7f), static_cast<std::uint8_t>(v >> 8),
           static_cast<std::uint8_t>(v)}};
}

/// A neighbour, as a table tells of it.
struct neighbour {
  ipv6_address address{};                         ///< IPv4 ones are `mapped`
  mac_address lladdr{};                           ///< its link-layer address, in all states from `reachable` to `probe`
  neighbour_state state = neighbour_state::none;  ///< what is known; `none` when it is not in the table
  bool router = false;                            ///< it has said so (IPv6)
  bool former_router = false;                     ///< and then that it is one no more

  /// Whether packets can be sent to it: its link-layer address is known.
  [[nodiscard]] constexpr bool is_valid() const noexcept {
    return state != neighbour_state::none && state != neighbour_state::incomplete && state != neighbour_state::failed;
  }
};
/// A line of `ip neigh`: `192.0.2.1 dev eth0 lladdr 02:00:00:00:00:01 REACHABLE`; without `device` the part about it is
/// left out, as `ip neigh show dev eth0` does.
constexpr void print(text_writer& out, const neighbour& n, const char* device = "") noexcept {
  if (is_mapped(n.address)) print(out, unmapped(n.address));
  else print(out, n.address);
  if (*device != '\0') out << " dev " << device;
  if (n.is_valid()) print(out << " lladdr ", n.lladdr);
  if (n.router) out << " router";
  out << ' ' << name(n.state);
}

/// How large a neighbour table is. Its memory is taken at construction: `neighbour_table::bytes_needed`.
struct neighbour_config {
  std::uint32_t entries = 1024;    ///< neighbours at most, both families together; at least 1
  std::uint32_t unresolved = 256;  ///< how many of them may be `incomplete` at once: what a scan may occupy
  std::uint32_t packets = 512;     ///< that wait to be sent; up to three quarters of them for a neighbour's address
  std::uint64_t seed = 0;  ///< of the hash and of the times that vary: from a random source, or others can collide
};

/// What is done when another host uses an own IPv4 address: RFC 5227 §2.4. IPv6 addresses are kept.
enum class conflict_policy : std::uint8_t {
  give_up,      ///< (a) this host does not use it any more
  defend_once,  ///< (b) it announces its address; when that is not the end of it within `defend_interval`, it gives up
  defend,       ///< (c) it keeps its address, which others depend on, and announces it once all `defend_interval`
};

/// How neighbours are treated. Names and defaults are those of the kernel's net.ipv[46].neigh.*, where it has one.
struct neighbour_options {
  duration base_reachable_time = seconds(30);    ///< `reachable` lasts 0.5 to 1.5 times this, drawn anew all 5 minutes
  duration delay_first_probe_time = seconds(5);  ///< from the first packet to a stale one to the first question
  duration retrans_time = seconds(1);            ///< between questions
  duration gc_age = seconds(5);                  ///< a stale one younger than this does not make room for another
  std::uint8_t mcast_solicit = 3;                ///< questions to all before it has failed
  std::uint8_t ucast_solicit = 3;                ///< questions to itself before it has failed
  std::uint16_t unres_qlen = 16;                 ///< packets that wait for one neighbour, at least 1
  std::uint32_t solicit_rate = 1000;             ///< questions in a second, over all neighbours; at least 1
  std::uint32_t solicit_burst = 100;             ///< questions at once after a rest; at least 1
  bool accept_untracked = false;                 ///< learn also from announcements that nobody asked for (arp_accept)
  bool router = false;                           ///< this host is one: what its IPv6 advertisements say
  std::uint8_t dad_transmits = 1;                ///< questions before an IPv6 address is used; 0: used within a second
  conflict_policy on_conflict = conflict_policy::defend;  ///< what is done about another host with an own address
  duration defend_interval = seconds(10);                 ///< between two defences (RFC 5227 §2.4)
  /// Addresses that are not on this link, for which this host answers nevertheless, since it forwards to them: proxy
  /// ARP (RFC 1027) and proxy neighbour discovery (RFC 4861 §7.2.8). They must outlive the table. @{
  const prefix* proxies = nullptr;
  std::size_t proxy_count = 0;
  /// @}
  /// Whether an address is one of them.
  [[nodiscard]] constexpr bool is_proxied(const ipv6_address& a) const noexcept {
    for (std::size_t i = 0; i < proxy_count; ++i)
      if (is_mapped(a) ? proxies[i].contains(unmapped(a)) : proxies[i].contains(a)) return true;
    return false;
  }
  /// Gets the packets whose neighbour has failed, as for an ICMP error; without it they are dropped. It may not call
  /// the table.
  void (*failed)(void* context, packet&& p) = nullptr;
  /// Is told that `who` uses the own address `a` too, or wants to. It may not call the table.
  void (*conflict)(void* context, const ipv6_address& a, const mac_address& who) = nullptr;
  /// Is told of an own address whose state has changed by itself: `preferred`, it was asked for and is used now;
  /// `duplicate`, it is another's; `deprecated`; `expired`, and it is gone. It may not call the table.
  void (*address_changed)(void* context, const interface_address& a) = nullptr;
  void* context = nullptr;  ///< for all of them
};

/// What a neighbour table has counted since it was made. Names are those of /proc/net/stat/arp_cache, where it has one.
struct neighbour_statistics {
  std::uint64_t allocs = 0;           ///< neighbours that came into the table
  std::uint64_t destroys = 0;         ///< that went
  std::uint64_t forced_gc_runs = 0;   ///< of these, to make room for another
  std::uint64_t table_fulls = 0;      ///< packets refused for want of room: drop_reason::neighbours_full
  std::uint64_t res_failed = 0;       ///< neighbours that did not answer
  std::uint64_t queue_discards = 0;   ///< waiting packets given up for newer ones: drop_reason::neighbour_queue
  std::uint64_t failed_discards = 0;  ///< waiting packets whose neighbour failed: drop_reason::neighbour_failed
  std::uint64_t solicitations = 0;    ///< questions sent
  std::uint64_t advertisements = 0;   ///< answers, announcements and probes sent
  std::uint64_t no_packet = 0;        ///< messages not sent for want of memory: drop_reason::no_packet
  std::uint64_t conflicts = 0;        ///< somebody else uses an own address
};
/// In one line.
constexpr void print(text_writer& out, const neighbour_statistics& s) noexcept {
  out << "allocs " << s.allocs << ", destroys " << s.destroys << ", forced_gc_runs " << s.forced_gc_runs
      << ", table_fulls " << s.table_fulls << ", res_failed " << s.res_failed << ", queue_discards " << s.queue_discards
      << ", failed_discards " << s.failed_discards << ", solicitations " << s.solicitations << ", advertisements "
      << s.advertisements << ", no_packet " << s.no_packet << ", conflicts " << s.conflicts;
}

}  // namespace runnel

#endif
