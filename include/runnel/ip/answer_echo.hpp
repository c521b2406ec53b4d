// SPDX-License-Identifier: MIT
// Answers ping: echo requests in both families. RFC 1122 §3.2.2.6, RFC 1812 §4.3.3.6, RFC 4443 §4.1.
//
//     route(routes).on<local>(answer_echo(interfaces).on<answered>(transmit(lan)).on<other>(deliver(host)))
//
// The request itself becomes the reply, and goes back by the interface that it came by, its link header turned round:
// not through `resolve`, which would look for the asker on the link.
#ifndef RUNNEL_IP_ANSWER_ECHO_HPP
#define RUNNEL_IP_ANSWER_ECHO_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint16_t

#include <runnel/flow/branch.hpp>
#include <runnel/flow/ports.hpp>
#include <runnel/ip/answer.hpp>
#include <runnel/wire/icmp.hpp>
#include <runnel/wire/icmpv6.hpp>
#include <runnel/wire/ipv4.hpp>
#include <runnel/wire/ipv6.hpp>
#include <runnel/wire/ipv6_extension.hpp>

namespace runnel {

/// The way of packets that have become an answer.
struct answered {
  static constexpr const char* name = "answered";  ///< in drawings
};

namespace detail {

// Takes `n` bytes out of a packet which lie behind its first `before` ones.
[[nodiscard]] inline bool cut_out(packet& p, std::size_t before, std::size_t n) noexcept {
  if (n == 0) return true;
  std::byte* const at = p.writable().data();
  __builtin_memmove(at + n, at, before);
  return p.pull(n);
}

struct echo_decision {
  using ways = ports<answered, other>;
  static constexpr const char* name = "answer_echo";
  static constexpr bool needs_parsed = true;
  ip_interfaces here;
  std::uint8_t ttl;

  ways operator()(packet& p) const noexcept {
    const layers& l = p.layers();
    if (!l.has(protocol::icmp) && !l.has(protocol::icmpv6)) return other{};
    const header_map found{static_cast<const packet&>(p)};
    if (found.has<ipv4>() && found.has<icmp>()) {
      if (l.has(protocol::fragment) || found.get<icmp>().message_type() != icmp::echo_request.type) return other{};
      return here.is_own(found.get<ipv4>().destination()) ? answer4(p, found) : ways{other{}};
    }
    if (found.has<ipv6>() && found.has<icmpv6>()) {
      if (found.get<icmpv6>().message_type() != icmpv6::echo_request.type) return other{};
      const ipv6_address to = found.get<ipv6>().destination();
      return here.is_own(to) && !is_mapped(to) ? answer6(p, found) : ways{other{}};
    }
    return other{};
  }

 private:
  // The header's identification and its "don't fragment" stay: what is too long for the way back may be cut as the
  // request was, and the numbers are the asker's own, who does not use them twice for this host.
  [[nodiscard]] ways answer4(packet& p, const header_map& found) const noexcept {
    const ipv4 ip = found.get<ipv4>();
    const answer_place at = place_of(p);
    if (!at.good || !is_one_host(ip.source()) || here.is_directed_broadcast(ip.source()))
      return drop(drop_reason::unanswerable);
    if (at.to_many) return drop(drop_reason::link_broadcast);
    if (!ip.checksum_ok()) return drop(drop_reason::ip_checksum);
    ipv4_options options{ip.options()};
    for (; options; options.next())
      if (options.kind() == loose_source_route || options.kind() == strict_source_route)
        return drop(drop_reason::source_route);
    const std::size_t cut = ip.header_size() - 20;
    if (!p.unshare() || !cut_out(p, at.link + 20, cut)) return drop(drop_reason::no_packet);
    const mutable_bytes frame = p.writable();
    const auto header = basic_ipv4<std::byte>::unchecked(frame.from(at.link));
    store_u8(frame.data() + at.link, 0x45);
    store_be16(frame.data() + at.link + 2, static_cast<std::uint16_t>(header.total_length() - cut));
    const ipv4_address asker = header.source();
    header.source(header.destination());
    header.destination(asker);
    header.time_to_live(ttl);
    header.update_checksum();
    basic_icmp<std::byte>::unchecked(frame.from(at.link + 20)).kind(icmp::echo_reply);
    turn_link_round(frame, at.link, p.layers().link_kind(), header.total_length());
    know_answer(p, at.link, protocol::ipv4, 20, protocol::icmp);
    return answered{};
  }
  [[nodiscard]] ways answer6(packet& p, const header_map& found) const noexcept {
    const ipv6 ip = found.get<ipv6>();
    const answer_place at = place_of(p);
    if (!at.good || !is_one_host(ip.source())) return drop(drop_reason::unanswerable);
    if (at.to_many) return drop(drop_reason::link_broadcast);
    // The checksum is over the final destination, which a routing header may keep elsewhere.
    ipv6_extensions chain{ip};
    for (; chain; chain.next())
      if (chain.kind() == ipv6_extension::routing) return drop(drop_reason::source_route);
    if (chain.is_fragment()) return other{};  // an atomic one is whole (RFC 6946)
    const std::size_t cut = std::size_t{p.layers().transport} - p.layers().network - 40;
    if (!p.unshare() || !cut_out(p, at.link + 40, cut)) return drop(drop_reason::no_packet);
    const mutable_bytes frame = p.writable();
    const auto header = basic_ipv6<std::byte>::unchecked(frame.from(at.link));
    header.payload_length(static_cast<std::uint16_t>(header.payload_length() - cut));
    header.next_header(icmpv6_header::ip_protocol);
    header.hop_limit(ttl);
    const ipv6_address asker = header.source();
    header.source(header.destination());
    header.destination(asker);
    basic_icmpv6<std::byte>::unchecked(frame.from(at.link + 40)).kind(icmpv6::echo_reply);
    turn_link_round(frame, at.link, p.layers().link_kind(), std::size_t{header.payload_length()} + 40);
    know_answer(p, at.link, protocol::ipv6, 40, protocol::icmpv6);
    return answered{};
  }
};

}  // namespace detail

/// A branch with the ways `answered` and `other`. An echo request to an address of these interfaces becomes the reply,
/// from the very address that it was sent to, with its data and its type of service; it does not matter how long the
/// data are, or in how many pieces behind the headers. Everything else goes by `other`: fragments too, so reassemble
/// before, and requests to broadcast and multicast addresses. Requests that come from no single host (`unanswerable`),
/// by a broadcast of the link (`link_broadcast`), with a wrong header checksum or by a source route are dropped. The
/// reply has no options and no extension headers. Its checksum is updated, not computed: a request with a wrong one
/// gets a reply with a wrong one. Needs `parse()` before it; the interfaces must outlive the pipeline.
[[nodiscard]] constexpr auto answer_echo(ip_interfaces interfaces, std::uint8_t ttl = 64) noexcept {
  return branch(detail::echo_decision{interfaces, ttl});
}

}  // namespace runnel

#endif
