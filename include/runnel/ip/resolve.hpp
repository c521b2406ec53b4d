// SPDX-License-Identifier: MIT
// The last stage before a packet is sent: gives it the Ethernet addresses of its way to the next hop.
//
//     auto status = wan.settings().status();    // of its device
//     static ip_interface link{.mac = status->mac, .addresses = {{addr4("192.0.2.1"), 24}}};
//     static static_neighbour_table<neighbour_config{}> neighbours{memory, link, seed};
//
//     auto in  = parse() | answer_neighbours(neighbours) | ...;                    // from wan
//     auto out = parse() | route(routes).on<forward>(resolve(neighbours, routes) | transmit(wan)) ...;
//     run(time, attach(wan, in), attach(lan, out), attach(neighbours, transmit(wan)));
//
// The third attachment sends questions, answers, and the packets that have waited for them.
#ifndef RUNNEL_IP_RESOLVE_HPP
#define RUNNEL_IP_RESOLVE_HPP

#include <cstddef>      // byte, size_t
#include <cstdint>      // uint16_t, uint32_t
#include <type_traits>  // is_same_v

#include <runnel/base/endian.hpp>
#include <runnel/config.hpp>
#include <runnel/flow/stage.hpp>
#include <runnel/ip/neighbour_table.hpp>
#include <runnel/ip/next_hop.hpp>
#include <runnel/ip/route.hpp>
#include <runnel/packet/drop_reason.hpp>
#include <runnel/packet/layers.hpp>
#include <runnel/packet/packet.hpp>
#include <runnel/packet/verdict.hpp>
#include <runnel/wire/ethernet.hpp>
#include <runnel/wire/header_map.hpp>
#include <runnel/wire/ipv4.hpp>
#include <runnel/wire/ipv6.hpp>

namespace runnel {

namespace detail {

// Puts an Ethernet header without tags in front of the network header, whatever was there before; its destination is
// still to be written. False when the bytes cannot be made the packet's own, or there is no room.
[[nodiscard]] inline bool begin_frame(packet& p, const mac_address& source, std::uint16_t type) noexcept {
  if (p.is_shared() && !p.unshare()) [[unlikely]]
    return false;
  layers l = p.layers();
  const std::size_t before = std::size_t{l.network} - p.headroom();
  if (before != 14 || l.link != 14) [[unlikely]] {
    if (before > 14 ? !p.pull(before - 14) : before < 14 && p.push(14 - before) == nullptr) return false;
    constexpr auto tags = static_cast<std::uint16_t>(protocol::vlan) | static_cast<std::uint16_t>(protocol::mpls);
    l.protocols = static_cast<std::uint16_t>(l.protocols & ~(7u | tags));
    l.link = 14;
    p.layers(l);
  }
  std::byte* const at = p.writable().data();
  source.store(at + 6);
  store_be16(at + 12, type);
  return true;
}

// Where every destination is on the link.
struct no_routes {};
inline constexpr no_routes all_on_link{};

// Which table of neighbours a packet goes by: the only one, or that of the interface which route() has chosen.
struct one_link {
  neighbour_table* table;
  [[nodiscard]] RUNNEL_INLINE neighbour_table* of(const packet&) const noexcept { return table; }
};
struct link_of_interface {
  neighbour_table* const* tables;
  std::size_t n;
  [[nodiscard]] RUNNEL_INLINE neighbour_table* of(const packet& p) const noexcept {
    return oif_of(p) < n ? tables[oif_of(p)] : nullptr;
  }
};

template <class Links, class R>
struct resolve_stage : stage_defaults {
  static constexpr stage_kind kind = stage_kind::each;
  static constexpr bool needs_parsed = true;
  static constexpr bool makes_own = true;
  static constexpr const char* name = "resolve";

  constexpr resolve_stage(Links l, const R& r) noexcept : links(l), routes(&r) {}
  RUNNEL_INLINE void prefetch(packet& p, context&, const layers*) noexcept {
    const header_map found{static_cast<const packet&>(p)};
    const neighbour_table* const table = links.of(p);
    if (table == nullptr) return;
    if (const next_hop* const hop = hop_of(p); hop != nullptr && hop->has_gateway()) table->prefetch(hop->gateway);
    else if (found.has<ipv4>()) table->prefetch(mapped(found.get<ipv4>().destination()));
    else if (found.has<ipv6>()) table->prefetch(found.get<ipv6>().destination());
  }
  RUNNEL_INLINE verdict operator()(packet& p, context& c) noexcept {
    const header_map found{static_cast<const packet&>(p)};
    neighbour_table* const table = links.of(p);
    if (table == nullptr) [[unlikely]]
      return drop(drop_reason::neighbour_failed);
    const bool v4 = found.has<ipv4>();
    if (!v4 && !found.has<ipv6>()) return drop(drop_reason::not_ip);
    const std::uint16_t type = v4 ? ethertype::ipv4 : ethertype::ipv6;
    if (const next_hop* const hop = hop_of(p); hop != nullptr && hop->has_gateway()) {
      if (!begin_frame(p, table->link().mac, type)) [[unlikely]]
        return drop(drop_reason::no_packet);
      return table->send_to(hop->gateway, p, c.now);
    }
    const ipv6_address to = v4 ? mapped(found.get<ipv4>().destination()) : found.get<ipv6>().destination();
    if (!v4 && is_mapped(to)) return drop(drop_reason::neighbour_failed);  // IPv4 neighbours are ARP's
    if (!begin_frame(p, table->link().mac, type)) [[unlikely]]
      return drop(drop_reason::no_packet);
    if (const verdict v = send_to_many(*table, to, p); v.code != verdict_code::stolen) return v;
    return table->send_to(to, p, c.now);
  }
  constexpr void print_name(text_writer& out) const noexcept { out << name; }

  Links links;
  const R* routes;

 private:
  [[nodiscard]] RUNNEL_INLINE const next_hop* hop_of(const packet& p) const noexcept {
    if constexpr (std::is_same_v<R, no_routes>) {
      (void)p;
      return nullptr;
    } else {
      const next_hop_table& hops = current_routes(*routes).hops();
      const auto n = static_cast<next_hop_number>(p.scratch());
      return hops.is_hop(n) ? &hops[n] : nullptr;
    }
  }
  // Of destinations that are no neighbour; `stolen` when it is one.
  [[nodiscard]] RUNNEL_INLINE static verdict send_to_many(const neighbour_table& table, const ipv6_address& to,
                                                          packet& p) noexcept {
    mac_address mac;
    if (is_mapped(to)) {
      const ipv4_address a = unmapped(to);
      if (a.is_multicast()) mac = multicast_mac(a);
      else if (table.link().addresses.is_broadcast(a)) mac = mac_broadcast;
      else if (!a.is_unspecified()) return stolen;
      else return drop(drop_reason::neighbour_failed);
    } else {
      if (to.is_multicast()) mac = multicast_mac(to);
      else if (!to.is_unspecified()) return stolen;
      else return drop(drop_reason::neighbour_failed);
    }
    mac.store(p.writable().data());
    return pass;
  }
};

}  // namespace detail

/// Writes the Ethernet header of packets that go out on the link of this table: to the gateway of the next hop whose
/// number `route` has put into the packet's scratch word, else to the destination itself. Whatever lay before the IP
/// header, tags too, is replaced. Multicast goes to the group's address (RFC 1112, RFC 2464), broadcast of the link to
/// all. When the neighbour's address is not known yet, the packet waits in the table, and comes out where that is
/// attached. Drops: `neighbours_full`, `neighbour_queue`, `no_packet`; `neighbour_failed` when there is no
/// destination; `not_ip`. Needs `parse()` before it. Table and routes must outlive the pipeline; these may be a
/// `snapshot_reader`, as with `route`. @{
template <class R>
  requires routing_source<R> || routing_snapshot<R>
[[nodiscard]] constexpr auto resolve(neighbour_table& neighbours, const R& routes) noexcept {
  return detail::resolve_stage<detail::one_link, R>{{&neighbours}, routes};
}
/// Refused: the routes would be gone before the pipeline runs.
template <class R>
  requires routing_source<R> || routing_snapshot<R>
void resolve(neighbour_table& neighbours, const R&& routes) = delete;
/// The same where every destination is on the link.
[[nodiscard]] constexpr auto resolve(neighbour_table& neighbours) noexcept {
  return detail::resolve_stage<detail::one_link, detail::no_routes>{{&neighbours}, detail::all_on_link};
}
/// @}
/// The same on several links: each packet by the table of the interface that its next hop is on, `tables[oif]`, of `n`.
/// Drops what goes to an interface without one (`neighbour_failed`). The list must outlive the pipeline too. @{
template <class R>
  requires routing_source<R> || routing_snapshot<R>
[[nodiscard]] constexpr auto resolve(neighbour_table* const* tables, std::size_t n, const R& routes) noexcept {
  return detail::resolve_stage<detail::link_of_interface, R>{{tables, n}, routes};
}
template <class R>
  requires routing_source<R> || routing_snapshot<R>
void resolve(neighbour_table* const* tables, std::size_t n, const R&& routes) = delete;
/// @}

}  // namespace runnel

#endif
