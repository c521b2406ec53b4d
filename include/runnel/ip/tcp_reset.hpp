// SPDX-License-Identifier: MIT
// Turns a TCP segment into the reset that answers it where no connection is. RFC 9293 §3.5.2, §3.10.7.1.
#ifndef RUNNEL_IP_TCP_RESET_HPP
#define RUNNEL_IP_TCP_RESET_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint32_t

#include <runnel/ip/answer.hpp>
#include <runnel/ip/icmp_error.hpp>
#include <runnel/packet/connection_state.hpp>
#include <runnel/packet/verdict.hpp>
#include <runnel/wire/build.hpp>
#include <runnel/wire/ipv4.hpp>
#include <runnel/wire/ipv6.hpp>
#include <runnel/wire/tcp.hpp>

namespace runnel {

namespace detail {

// The reset about a segment with `payload` bytes of data. One that acknowledges something is answered as from whom it
// acknowledges; else the reset acknowledges all of it, the SYN and the FIN too.
[[nodiscard]] inline tcp_header reset_for(const tcp& segment, std::size_t payload) noexcept {
  tcp_header reset{.source_port = segment.destination_port(), .destination_port = segment.source_port()};
  if (segment.ack()) {
    reset.sequence_number = segment.acknowledgment_number();
    reset.flags = tcp_flags::rst;
    return reset;
  }
  reset.acknowledgment_number = segment.sequence_number() + static_cast<std::uint32_t>(payload) +
                                (segment.syn() ? 1u : 0u) + (segment.fin() ? 1u : 0u);
  reset.flags = tcp_flags::rst | tcp_flags::ack;
  return reset;
}

// The answer takes the place of the headers: there is always room for it.
template <class Outer>
[[nodiscard]] verdict become_reset(packet& p, std::size_t link, const Outer& outer, const tcp_header& reset) noexcept {
  const std::size_t size = size_of_headers(outer, reset);
  // First, so that no more than that has to be copied.
  if (!p.trim(link + size) || !p.linearize() || !p.unshare()) return drop(drop_reason::no_packet);
  const mutable_bytes whole = p.writable();
  turn_link_round(whole, link, p.layers().link_kind(), size);
  if (!write_headers(whole.from(link), outer, reset)) return drop(drop_reason::no_packet);
  const std::uint32_t about = p.connection();
  know_answer(p, link, sizeof(outer.source) == 16 ? protocol::ipv6 : protocol::ipv4, outer.size(), protocol::tcp);
  p.connection(answer_about::word_for(about));
  return pass;
}

}  // namespace detail

/// Turns a TCP segment into its reset, ready to go back by the interface that it came from; the reset comes from the
/// address that the segment was for. `pass`, and the packet is the reset; or a drop, and its headers are as they were:
/// `unanswerable` for what is no TCP segment, a reset itself, a fragment, sent to many, or not from one host;
/// `ip_checksum`, `icmp_rate` and `no_packet` as with `answer_with_error`. The packet must have been parsed. Whether
/// the segment's checksum is right is not looked at.
[[nodiscard]] inline verdict answer_with_tcp_reset(packet& p, icmp_sender& sender, instant now) noexcept {
  const detail::answer_place at = detail::place_of(p);
  const header_map found{static_cast<const packet&>(p)};
  if (!at.good || at.to_many || !found.has<tcp>() || p.layers().has(protocol::fragment))
    return drop(drop_reason::unanswerable);
  const tcp segment = found.get<tcp>();
  if (segment.rst()) return drop(drop_reason::unanswerable);
  const std::size_t before = std::size_t{p.layers().transport} - p.layers().network + segment.header_size();
  if (found.has<ipv4>()) {
    const ipv4 about = found.get<ipv4>();
    const ip_interfaces& here = sender.interfaces();
    if (!detail::may_report(found, about, here)) return drop(drop_reason::unanswerable);
    if (!about.checksum_ok()) return drop(drop_reason::ip_checksum);
    if (!sender.take(now)) return drop(drop_reason::icmp_rate);
    const std::size_t payload = about.total_length() < before ? 0 : about.total_length() - before;
    const ipv4_header outer{.source = about.destination(), .destination = about.source(), .ttl = sender.ttl()};
    return detail::become_reset(p, at.link, outer, detail::reset_for(segment, payload));
  }
  const ipv6 about = found.get<ipv6>();
  if (!detail::may_report(found, about, icmpv6_kind{}, at.to_many)) return drop(drop_reason::unanswerable);
  if (!sender.take(now)) return drop(drop_reason::icmp_rate);
  const std::size_t datagram = std::size_t{about.payload_length()} + 40;
  const std::size_t payload = datagram < before ? 0 : datagram - before;
  const ipv6_header outer{.source = about.destination(), .destination = about.source(), .hop_limit = sender.ttl()};
  return detail::become_reset(p, at.link, outer, detail::reset_for(segment, payload));
}

}  // namespace runnel

#endif
