// SPDX-License-Identifier: MIT
// The stage that takes what neighbours say: ARP, and neighbour solicitations and advertisements. It checks, learns,
// answers, and notices who else uses an address of this host. RFC 826, RFC 5227, RFC 1812 §3.3.2, RFC 4861 §7.
// What routers say, and what they are asked, passes by: `hear_routers`.
//
// Several threads with a table each for one link, and an `ip_interface` of its own under it, since tables change
// theirs: an answer comes to any of them, not to the one that has asked. Who receives a message tells the others, and
// is the only one to answer it. The same stage hears what it is told, and neither answers that nor tells it again:
//
//     auto path = parse() | answer_neighbours(neighbours, self.rings()) | ...;
//     self.run(attach(nic, parse() | steer(self.rings()) | shared(path)), attach(self.rings(), path),
//              attach(neighbours, transmit(nic)));
//
// Behind `steer` a thread copies into a pool of its own, `others.copies_to(pool)`, as workers with `.memory` have: of
// what was handed over there is no copy otherwise. Without one the stage stands before `steer` as well.
#ifndef RUNNEL_IP_ANSWER_NEIGHBOURS_HPP
#define RUNNEL_IP_ANSWER_NEIGHBOURS_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t

#include <runnel/base/bytes.hpp>
#include <runnel/base/result.hpp>
#include <runnel/base/time.hpp>
#include <runnel/config.hpp>
#include <runnel/flow/handoff.hpp>
#include <runnel/flow/stage.hpp>
#include <runnel/ip/neighbour.hpp>
#include <runnel/ip/neighbour_messages.hpp>
#include <runnel/ip/neighbour_table.hpp>
#include <runnel/packet/drop_reason.hpp>
#include <runnel/packet/packet.hpp>
#include <runnel/packet/verdict.hpp>
#include <runnel/wire/arp.hpp>
#include <runnel/wire/ethernet.hpp>
#include <runnel/wire/header_map.hpp>
#include <runnel/wire/icmpv6.hpp>
#include <runnel/wire/ipv6.hpp>
#include <runnel/wire/ndp.hpp>

namespace runnel {

namespace detail {

// What a neighbour has said, in a frame for this host alone or not. Says why it is refused. `answers`: no other thread
// does.
// RFC 826 with the checks of RFC 1812 §3.3.2, and the kernel's (net/ipv4/arp.c).
[[nodiscard]] inline drop_reason hear(neighbour_table& table, const arp& m, bool to_us, bool answers,
                                      instant now) noexcept {
  const mac_address who = m.sender_hardware();
  const ipv4_address sender = m.sender_protocol(), target = m.target_protocol();
  if (!m.is_request() && !m.is_reply()) return drop_reason::arp_malformed;
  if (who.is_multicast() || who == mac_address{}) return drop_reason::arp_malformed;
  if (sender.is_multicast() || sender.is_loopback() || sender.is_broadcast()) return drop_reason::arp_malformed;
  if (target.is_multicast() || target.is_loopback()) return drop_reason::arp_malformed;
  if (who == table.link().mac) return drop_reason::none;  // it has come back
  const own_addresses& own = table.link().addresses;
  if (const interface_address* const a = own.find(mapped(sender)); a != nullptr && a->is_claimed()) {
    table.in_conflict(mapped(sender), who, now, answers);
    return drop_reason::none;
  }
  // RFC 5227 §2.1.1: two want the same address at the same time.
  if (const interface_address* const a = own.find(mapped(target));
      a != nullptr && a->state == address_state::tentative) {
    if (m.is_probe()) table.in_conflict(mapped(target), who, now, answers);
    return drop_reason::none;
  }
  const bool for_us = own.contains(mapped(target));
  if (!sender.is_unspecified() && own.is_on_link(mapped(sender))) {
    const bool answer = m.is_reply() && to_us;
    if (answer || m.is_announcement()) table.advertised(mapped(sender), &who, answer, true, false, now);
    else table.learn(mapped(sender), who, for_us && m.is_request(), now);
  }
  if (!m.is_request() || m.is_announcement()) return drop_reason::none;
  if (answers && (for_us || table.options().is_proxied(mapped(target))))
    table.send(arp_answer(table.memory(), table.link().mac, target, who, sender));
  return drop_reason::none;
}

// RFC 4861 §7.2.3 and §7.2.4.
[[nodiscard]] inline drop_reason hear(neighbour_table& table, const neighbour_solicitation& m, const ipv6& around,
                                      const mac_address& from, bool answers, instant now) noexcept {
  if (from == table.link().mac) return drop_reason::none;
  const ipv6_address source = around.source(), target = m.target();
  if (is_mapped(source) || is_mapped(target)) return drop_reason::neighbour_malformed;  // IPv4 neighbours are ARP's
  const own_addresses& own = table.link().addresses;
  if (const interface_address* const a = own.find(target); a != nullptr && a->state == address_state::tentative) {
    if (source.is_unspecified()) table.in_conflict(target, from, now, answers);  // RFC 4862 §5.4.3
    return drop_reason::none;
  }
  const bool for_us = own.contains(target);
  if (!for_us && !table.options().is_proxied(target)) return drop_reason::none;
  const bool router = table.options().router;
  const ipv6_address answerer =
      for_us ? target : own.source_for(source.is_unspecified() ? all_nodes_multicast : source);
  if (answerer.is_unspecified()) return drop_reason::none;
  if (source.is_unspecified()) {  // it wants to use our address (RFC 4862 §5.4.3)
    if (answers) table.send(advertisement(table.memory(), table.link().mac, target, router, answerer, nullptr, {}));
    return drop_reason::none;
  }
  if (source.is_multicast() || from.is_multicast()) return drop_reason::neighbour_malformed;
  if (own.contains(source)) {
    table.in_conflict(source, from, now, answers);
    return drop_reason::none;
  }
  mac_address asker = from;
  if (const auto said = m.link_address(ndp_option::source_link_address)) {
    if (said->is_multicast()) return drop_reason::neighbour_malformed;
    asker = *said;
    table.learn(source, asker, for_us && own.is_on_link(source), now);
  } else if (around.destination().is_multicast()) {
    return drop_reason::neighbour_malformed;  // §4.3: it must be there
  }
  if (answers) table.send(advertisement(table.memory(), table.link().mac, target, router, answerer, &source, asker));
  return drop_reason::none;
}

// §7.2.5.
[[nodiscard]] inline drop_reason hear(neighbour_table& table, const neighbour_advertisement& m, const mac_address& from,
                                      bool answers, instant now) noexcept {
  if (from == table.link().mac) return drop_reason::none;
  const auto said = m.link_address(ndp_option::target_link_address);
  if ((said && said->is_multicast()) || is_mapped(m.target())) return drop_reason::neighbour_malformed;
  const interface_address* const own = table.link().addresses.find(m.target());
  if (own != nullptr && own->is_claimed()) {
    table.in_conflict(m.target(), said ? *said : from, now, answers);
    return drop_reason::none;
  }
  table.advertised(m.target(), said ? &*said : nullptr, m.is_solicited(), m.is_override(), m.is_router(), now);
  return drop_reason::none;
}

// Who listens on a link: the only one, or that of the interface by which a packet came.
template <class Listener>
struct one_listener {
  Listener* only;
  [[nodiscard]] RUNNEL_INLINE Listener* of(const packet&) const noexcept { return only; }
};
template <class Listener>
struct listener_of_interface {
  Listener* const* all;
  std::size_t n;
  [[nodiscard]] RUNNEL_INLINE Listener* of(const packet& p) const noexcept {
    return p.iif() < n ? all[p.iif()] : nullptr;
  }
};

// What one thread has heard for all: they get a copy each.
[[nodiscard, gnu::noinline]] inline verdict taken_message(packet& p, drop_reason why, handoff* others) noexcept {
  if (why == drop_reason::none && others != nullptr) others->copy_to_others(p);
  return taken_message(p, why);
}

template <class Tables>
struct answer_neighbours_stage : stage_defaults {
  static constexpr stage_kind kind = stage_kind::each;
  static constexpr bool needs_parsed = true;
  static constexpr const char* name = "answer_neighbours";

  constexpr explicit answer_neighbours_stage(Tables t, handoff* o = nullptr) noexcept : tables(t), others(o) {}
  RUNNEL_INLINE verdict operator()(packet& p, context& c) noexcept {
    const header_map found{static_cast<const packet&>(p)};
    const bool is_arp = found.has<arp>();
    if (!is_arp && !found.has<icmpv6>()) [[likely]]
      return pass;
    neighbour_table* const table = tables.of(p);
    if (table == nullptr) return pass;
    if (!is_arp) return hear_icmpv6(table, p, found, c.now);
    return taken_message(p, hear(*table, found.get<arp>(), is_for_us(*table, found), !p.is_told(), c.now), others);
  }
  constexpr void print_name(text_writer& out) const noexcept { out << name; }

  Tables tables;
  handoff* others;

 private:
  [[nodiscard]] static bool is_for_us(const neighbour_table& table, const header_map& found) noexcept {
    return found.has<ethernet>() && found.get<ethernet>().destination() == table.link().mac;
  }
  [[nodiscard]] verdict hear_icmpv6(neighbour_table* table, packet& p, const header_map& found,
                                    instant now) const noexcept {
    const auto around = found.get<ipv6>();
    const std::uint8_t type = found.get<icmpv6>().kind().type;
    const bool asks = type == icmpv6::neighbour_solicitation.type;
    if (!asks && type != icmpv6::neighbour_advertisement.type) return pass;
    const ipv6_address to = around.destination();
    if (!to.is_multicast() && !table->link().addresses.contains(to) && !table->options().is_proxied(to)) return pass;
    const drop_reason fault = icmpv6_fault(p, found);
    if (fault != drop_reason::none) return drop(fault);
    const mac_address from = sender_of_frame(found);
    const bytes whole = icmpv6_bytes(found);
    if (asks) {
      const auto m = neighbour_solicitation::parse(whole, around);
      return taken_message(p, m ? hear(*table, *m, around, from, !p.is_told(), now) : m.error(), others);
    }
    const auto m = neighbour_advertisement::parse(whole, around);
    return taken_message(p, m ? hear(*table, *m, from, !p.is_told(), now) : m.error(), others);
  }
};

}  // namespace detail

/// Takes ARP messages, and IPv6 neighbour solicitations and advertisements that are for all or for this host, and lets
/// everything else pass. What they say goes into the table: a neighbour is added when it asks for an own address from
/// an address of the link and more than a quarter of the table is free, else only what is there is changed
/// (`accept_untracked` for more). Answers for own addresses,
/// and for those of `proxies`, come out where the table is attached. Drops what RFC 4861 §7.1, RFC 826 and RFC 1812
/// §3.3.2 refuse (`arp_malformed`, `neighbour_malformed`, `icmp_checksum`). A solicitation without the sender's
/// link-layer address is answered to where its frame came from. Needs `parse()` before it; refers to the table, which
/// must outlive the pipeline.
///
/// A network card lets in only what is for groups that it was told of. Where the kernel's own IPv6 is off nobody tells
/// it, and solicitations do not come: have all groups let in (PACKET_MR_ALLMULTI, `ip link set eth0 allmulticast on`).
[[nodiscard]] constexpr auto answer_neighbours(neighbour_table& neighbours) noexcept {
  return detail::answer_neighbours_stage{detail::one_listener<neighbour_table>{&neighbours}};
}
/// The same on several links: each packet by the table of the interface that it came by, `tables[packet.iif()]`, of
/// `n`. One that came by an interface without a table passes. The list must outlive the pipeline too.
[[nodiscard]] constexpr auto answer_neighbours(neighbour_table* const* tables, std::size_t n) noexcept {
  return detail::answer_neighbours_stage{detail::listener_of_interface<neighbour_table>{tables, n}};
}
/// The same on one of several threads that have a table each for the same links: what it takes it also gives to the
/// others, a copy each. Those come to their `attach(others, ...)`, where this stage stands too: it learns from them,
/// but neither answers nor defends addresses. What finds no room on its way is counted in `others.missed()`; the
/// neighbour is asked again then. @{
[[nodiscard]] constexpr auto answer_neighbours(neighbour_table& neighbours, handoff& others) noexcept {
  return detail::answer_neighbours_stage{detail::one_listener<neighbour_table>{&neighbours}, &others};
}
[[nodiscard]] constexpr auto answer_neighbours(neighbour_table* const* tables, std::size_t n,
                                               handoff& others) noexcept {
  return detail::answer_neighbours_stage{detail::listener_of_interface<neighbour_table>{tables, n}, &others};
}
/// @}

}  // namespace runnel

#endif
