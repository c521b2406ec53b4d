// SPDX-License-Identifier: MIT
// Turns a packet into the ICMP or ICMPv6 error about it. RFC 792, RFC 1122 §3.2.2, RFC 1191, RFC 1812 §4.3, RFC 4443.
//
//     [ link | IP |   the packet ...    ]        becomes
//     [ link | IP | ICMP | IP |   the packet ... ]       with the link header turned round,
//
// in its own memory, moved there only as far as the room in front of it is too small. As much of it is quoted as may
// be: 576 bytes of IPv4 datagram in all (RFC 1812 §4.3.2.3), 1280 of IPv6 (RFC 4443 §2.4 (c)).
//
// What it does not do: IPv6 redirects, which are neighbour discovery (`send_redirect`); extensions of RFC 4884; options
// in its own header, as Linux echoes them: a source route turned round (RFC 1812 §4.3.2.6), recorded routes and times.
#ifndef RUNNEL_IP_ICMP_ERROR_HPP
#define RUNNEL_IP_ICMP_ERROR_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t

#include <runnel/ip/answer.hpp>
#include <runnel/packet/connection_state.hpp>
#include <runnel/packet/verdict.hpp>
#include <runnel/wire/build.hpp>
#include <runnel/wire/icmp.hpp>
#include <runnel/wire/icmpv6.hpp>
#include <runnel/wire/ipv4.hpp>
#include <runnel/wire/ipv6.hpp>
#include <runnel/wire/ipv6_extension.hpp>

namespace runnel {

/// An error in both families: what is sent about an IPv4 packet, and what about an IPv6 one.
struct icmp_error {
  icmp_kind v4{};    ///< about IPv4; a kind that is no error: nothing
  icmpv6_kind v6{};  ///< about IPv6; a kind that is no error: nothing
  /// What the kind has beside: the MTU of the next hop in bytes, the octet that a parameter problem points at, the
  /// better router's address (`ipv4_address::value()`) of a redirect.
  std::uint32_t value = 0;

  /// The kind for each family.
  constexpr icmp_error(icmp_kind about4, icmpv6_kind about6, std::uint32_t extra = 0) noexcept
      : v4(about4), v6(about6), value(extra) {}
  /// An ICMP error, and ICMPv6's nearest to it.
  constexpr icmp_error(icmp_kind about4, std::uint32_t extra = 0) noexcept
      : v4(about4), v6(nearest(about4)), value(extra) {}
  /// About IPv6 alone.
  constexpr icmp_error(icmpv6_kind about6, std::uint32_t extra = 0) noexcept : v6(about6), value(extra) {}

  /// The ICMPv6 error that says the same, as far as there is one (RFC 7915 §4.2, nft's icmpx).
  [[nodiscard]] static constexpr icmpv6_kind nearest(icmp_kind k) noexcept {
    if (k == icmp::unreachable::fragmentation_needed) return icmpv6::packet_too_big;
    if (k.type == icmp::time_exceeded::type) return {icmpv6::time_exceeded::type, k.code};
    if (k.type == icmp::parameter_problem::type) return icmpv6::parameter_problem::header_field;
    if (k.type != icmp::unreachable::type) return {};
    switch (k.code) {
      case 1:  // host, its network not known either, or not with this service
      case 7:
      case 12: return icmpv6::unreachable::address;
      case 2: return icmpv6::parameter_problem::next_header;
      case 3: return icmpv6::unreachable::port;
      case 9:  // prohibited, in five ways
      case 10:
      case 13:
      case 14:
      case 15: return icmpv6::unreachable::prohibited;
      default: return icmpv6::unreachable::no_route;
    }
  }
  /// Equal when all their parts are.
  friend constexpr bool operator==(const icmp_error&, const icmp_error&) noexcept = default;
};

namespace detail {

// DSCP CS6: ICMP errors have precedence 6, "internetwork control", and the rest of the packet's own type of service
// (RFC 1812 §4.3.2.5).
[[nodiscard]] constexpr std::uint8_t precedence_6(std::uint8_t codepoint) noexcept {
  return static_cast<std::uint8_t>(0x30u | (codepoint & 7u));
}

// Whether an ICMP error may be sent about an IPv4 packet: RFC 1122 §3.2.2, RFC 1812 §4.3.2.7.
[[nodiscard]] inline bool may_report(const header_map& found, const ipv4& ip, const ip_interfaces& here) noexcept {
  const ipv4_address from = ip.source(), to = ip.destination();
  if (!is_one_host(from) || here.is_directed_broadcast(from)) return false;
  if (to.is_multicast() || to.is_broadcast() || here.is_directed_broadcast(to)) return false;
  if (ip.fragment_offset() != 0) return false;
  if (ip.protocol_number() != icmp_header::ip_protocol) return true;
  // What is neither question nor answer may be an error that this library does not know.
  return found.has<icmp>() && found.get<icmp>().is_query();
}
// Whether an ICMPv6 error may be sent about an IPv6 packet: RFC 4443 §2.4 (e). Two kinds go to the sender of a
// multicast as well: they tell of a path that only it can mend.
[[nodiscard]] inline bool may_report(const header_map& found, const ipv6& ip, icmpv6_kind k, bool to_many) noexcept {
  if (!is_one_host(ip.source()) || is_mapped(ip.destination())) return false;
  if ((to_many || ip.destination().is_multicast()) && k != icmpv6::packet_too_big &&
      k != icmpv6::parameter_problem::option)
    return false;
  ipv6_extensions chain{ip};
  while (chain) chain.next();
  if (found.layers().has(protocol::fragment) && !found.layers().has(protocol::transport)) return false;
  if (chain.protocol() != icmpv6_header::ip_protocol) return true;
  if (!found.has<icmpv6>()) return false;
  const icmpv6 message = found.get<icmpv6>();
  return !message.is_error() && message.kind() != icmpv6::redirect;
}

// Makes room for `more` bytes before the network header of a packet of which `quote` bytes of datagram are to stay
// behind them, `least` at any rate.
[[nodiscard]] inline verdict make_room(packet& p, std::size_t link, std::size_t more, std::size_t quote,
                                       std::size_t least) noexcept {
  if (p.total_length() > link + quote) (void)p.trim(link + quote);
  // Of a chain that cannot be copied, for it is of another thread's pool or longer than a slot, the first part is
  // quoted.
  if (!p.linearize() && (p.length() < link + least || !p.trim(p.length()))) return drop(drop_reason::no_packet);
  if (!p.unshare()) return drop(drop_reason::no_packet);
  const auto room = [&] { return p.headroom() + p.length() + p.tailroom(); };
  if (room() < p.length() + more && !p.keep()) return drop(drop_reason::no_packet);
  if (room() < p.length() + more) {
    if (room() < link + more + least) return drop(drop_reason::no_packet);
    (void)p.trim(room() - more);
  }
  if (p.headroom() < more) {
    // The same bytes a little further behind.
    const std::size_t shift = more - p.headroom(), size = p.length();
    if (p.put(shift) == nullptr) return drop(drop_reason::no_packet);
    std::byte* const at = p.writable().data();
    __builtin_memmove(at + shift, at, size);
    if (!p.pull(shift)) return drop(drop_reason::no_packet);
  }
  std::byte* const front = p.push(more);
  if (front == nullptr) return drop(drop_reason::no_packet);
  __builtin_memmove(front, front + more, link);
  return pass;
}

template <class Outer, class Message>
[[nodiscard]] verdict become_error(packet& p, std::size_t link, std::size_t quote, std::size_t least,
                                   const Outer& outer, const Message& message) noexcept {
  const verdict made = make_room(p, link, size_of_headers(outer, message), quote, least);
  if (made.code != verdict_code::pass) return made;
  const mutable_bytes whole = p.writable();
  turn_link_round(whole, link, p.layers().link_kind(), whole.size() - link);
  if (!write_headers(whole.from(link), outer, message)) return drop(drop_reason::no_packet);
  constexpr bool six = sizeof(outer.source) == 16;
  const std::uint32_t about = p.connection();
  know_answer(p, link, six ? protocol::ipv6 : protocol::ipv4, outer.size(), six ? protocol::icmpv6 : protocol::icmp);
  p.connection(answer_about::word_for(about));
  return pass;
}

[[nodiscard]] inline verdict report4(packet& p, const answer_place& at, const icmp_error& what, icmp_sender& sender,
                                     instant now) noexcept {
  const header_map found{static_cast<const packet&>(p)};
  const ipv4 ip = found.get<ipv4>();
  const ip_interfaces& here = sender.interfaces();
  const bool is_kind = what.v4.type == icmp::unreachable::type || what.v4.type == icmp::redirect::type ||
                       what.v4.type == icmp::time_exceeded::type || what.v4.type == icmp::parameter_problem::type;
  // To whom it was sent knows best; else the one that it came to (RFC 1812 §4.3.2.4).
  const ipv4_address from = here.is_own(ip.destination()) ? ip.destination() : here.source_for(p.iif(), ip.source());
  if (!is_kind || at.to_many || from.is_unspecified() || !may_report(found, ip, here))
    return drop(drop_reason::unanswerable);
  if (!ip.checksum_ok()) return drop(drop_reason::ip_checksum);
  if (!sender.take(now)) return drop(drop_reason::icmp_rate);
  const ipv4_header outer{
      .source = from, .destination = ip.source(), .ttl = sender.ttl(), .dscp = precedence_6(ip.codepoint())};
  const icmp_header message{.kind = what.v4,
                            .next_hop_mtu = static_cast<std::uint16_t>(what.value < 0xffff ? what.value : 0xffff),
                            .gateway = ipv4_address{what.value},
                            .pointer = static_cast<std::uint8_t>(what.value)};
  const std::size_t most = 576 - outer.size() - message.size();
  const std::size_t quote = ip.total_length() < most ? ip.total_length() : most;
  return become_error(p, at.link, quote, ip.header_size() + 8, outer, message);
}

[[nodiscard]] inline verdict report6(packet& p, const answer_place& at, const icmp_error& what, icmp_sender& sender,
                                     instant now) noexcept {
  const header_map found{static_cast<const packet&>(p)};
  const ipv6 ip = found.get<ipv6>();
  const ip_interfaces& here = sender.interfaces();
  const bool is_kind = what.v6.type >= 1 && what.v6.type <= 4;
  const ipv6_address from = here.is_own(ip.destination()) ? ip.destination() : here.source_for(p.iif(), ip.source());
  if (!is_kind || from.is_unspecified() || !may_report(found, ip, what.v6, at.to_many))
    return drop(drop_reason::unanswerable);
  if (!sender.take(now)) return drop(drop_reason::icmp_rate);
  std::uint32_t pointer = what.value;
  if (what.v6 == icmpv6::parameter_problem::next_header && pointer == 0) {
    ipv6_extensions chain{ip};
    while (chain) chain.next();
    pointer = static_cast<std::uint32_t>(chain.named_at());
  }
  const ipv6_header outer{
      .source = from, .destination = ip.source(), .hop_limit = sender.ttl(), .dscp = precedence_6(0)};
  const icmpv6_header message{.kind = what.v6, .next_hop_mtu = what.value, .pointer = pointer};
  constexpr std::size_t most = 1280 - 40 - 8;
  const std::size_t datagram = std::size_t{ip.payload_length()} + 40;
  return become_error(p, at.link, datagram < most ? datagram : most, 48, outer, message);
}

}  // namespace detail

/// Turns a packet into the error about it, ready to go back by the interface that it came from: source is the address
/// of this host that it was sent to, else that of the interface; precedence is 6; an Ethernet header is turned round
/// and keeps its VLAN tags. `pass`, and the packet is the error; or a drop, and its headers are as they were:
/// - `unanswerable` when none may be sent: about an ICMP error or redirect, a packet to many (on the link too), a later
///   fragment, a sender that is not one host; or when this host has no address there, or the kind is no error;
/// - `ip_checksum` about an IPv4 header with a wrong one (RFC 1812 §4.3.2.7);
/// - `icmp_rate` when the sender's limit is used up;
/// - `no_packet` when it has to be copied, being shared, chained or lent, and the pool has no slot left.
/// The packet must have been parsed. Whether checksums behind its IP header are right is not looked at; nft's `reject`
/// says nothing where they are wrong. It loses its mark and its connection: this host has sent it. Of the latter it
/// keeps what `track` needs, by which NAT translates errors about packets that it has changed already.
[[nodiscard]] inline verdict answer_with_error(packet& p, const icmp_error& what, icmp_sender& sender,
                                               instant now) noexcept {
  const detail::answer_place at = detail::place_of(p);
  if (!at.good) return drop(drop_reason::unanswerable);
  const header_map found{static_cast<const packet&>(p)};
  if (found.has<ipv4>()) return detail::report4(p, at, what, sender, now);
  if (found.has<ipv6>()) return detail::report6(p, at, what, sender, now);
  return drop(drop_reason::not_ip);
}

}  // namespace runnel

#endif
