// SPDX-License-Identifier: MIT
// Fuzz target: any bytes, dissected as any link type. What dissect says has to be consistent; no view, walker, printer
// or field of a match expression may then read outside the bytes; and what dissect accepts, the views' own parse has to
// accept too.
//
// The first byte of an input chooses: bits 0 to 2 the link type, bit 3 that a capture cut the packet, bit 4 that it
// goes on in chained buffers, bit 5 that there is headroom. The rest is the packet.
#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include <runnel/base/text.hpp>
#include <runnel/match.hpp>
#include <runnel/wire/arp.hpp>
#include <runnel/wire/dissect.hpp>
#include <runnel/wire/ethernet.hpp>
#include <runnel/wire/gre.hpp>
#include <runnel/wire/header_map.hpp>
#include <runnel/wire/icmp.hpp>
#include <runnel/wire/icmpv6.hpp>
#include <runnel/wire/ipv4.hpp>
#include <runnel/wire/ipv6.hpp>
#include <runnel/wire/ipv6_extension.hpp>
#include <runnel/wire/llc.hpp>
#include <runnel/wire/mpls.hpp>
#include <runnel/wire/ndp.hpp>
#include <runnel/wire/print_packet.hpp>
#include <runnel/wire/tcp.hpp>
#include <runnel/wire/tunnel.hpp>
#include <runnel/wire/udp.hpp>
#include <runnel/wire/vlan.hpp>
#include <runnel/wire/vxlan.hpp>

#if defined(__SANITIZE_ADDRESS__) || (defined(__has_feature) && __has_feature(address_sanitizer))
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, size) ((void)(at), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(at, size) ((void)(at), (void)(size))
#endif

#include "check.hpp"

namespace {

using namespace runnel;

// ---- reading everything that a view offers

std::uint64_t sink;

template <class T>
void use(const T& v)
  requires std::is_arithmetic_v<T> || std::is_enum_v<T>
{
  sink += static_cast<std::uint64_t>(v);
}
void use(const mac_address& v) { sink += v.value(); }
void use(ipv4_address v) { sink += v.value(); }
void use(const ipv6_address& v) { sink += v.high() + v.low(); }
void use(bytes b) {
  for (std::byte x : b) sink += static_cast<std::uint64_t>(x);
}
template <class... T>
void use_all(const T&... v) {
  (use(v), ...);
}
template <class View>
void print_it(const View& v) {
  text<4096> long_line;
  print(long_line, v);
  text<16> short_line;
  print(short_line, v);
  use(long_line.size() + short_line.size());
}

void touch(const ethernet& v) {
  use_all(v.destination(), v.source(), v.ethertype(), v.is_802_3(), v.header_size(), v.payload());
}
void touch(const vlan& v) {
  use_all(v.priority_code(), v.drop_eligible(), v.vlan_id(), v.ethertype(), v.header_size(), v.payload());
}
void touch(const llc& v) {
  use_all(v.header_size(), v.destination_sap(), v.source_sap(), v.control(), v.is_snap(), v.organisation(),
          v.protocol_identifier(), v.payload());
}
void touch(const mpls& v) {
  use_all(v.label_value(), v.traffic_class(), v.bottom_of_stack(), v.time_to_live(), v.header_size(), v.payload());
}
void touch(const arp& v) {
  use_all(v.hardware_type(), v.protocol_type(), v.operation_code(), v.sender_hardware(), v.sender_protocol(),
          v.target_hardware(), v.target_protocol(), v.is_request(), v.is_reply(), v.is_probe(), v.is_announcement());
}
void touch(const gre& v) {
  use_all(v.header_size(), v.has_checksum(), v.has_key(), v.has_sequence_number(), v.version_number(),
          v.protocol_type(), v.key(), v.sequence_number(), v.payload(), v.checksum_ok());
}
void touch(const vxlan& v) { use_all(v.header_size(), v.flag_bits(), v.network_identifier(), v.payload()); }
void touch(const ipv4& v) {
  use_all(v.header_size(), v.codepoint(), v.ecn_bits(), v.total_length(), v.identification(), v.dont_fragment(),
          v.more_fragments(), v.fragment_offset(), v.is_fragment(), v.time_to_live(), v.protocol_number(),
          v.header_checksum(), v.source(), v.destination(), v.options(), v.payload(), v.checksum_ok(),
          v.pseudo_header_sum());
  std::size_t count = 0;
  ipv4_options o(v.options());
  for (; o; o.next(), ++count) use_all(o.kind(), o.data());
  CHECK(count <= 40);
  use(o.malformed());
}
void touch(const ipv6_extensions& chain) {
  ipv6_extensions e = chain;
  for (; e; e.next()) {
    use_all(e.kind(), e.data(), e.offset(), e.named_at(), e.rest());
    if (const auto r = ipv6_routing::parse(e.data())) use_all(r->routing_type(), r->segments_left(), r->data());
    if (e.kind() == ipv6_extension::fragment || e.kind() == ipv6_extension::authentication) continue;
    ipv6_options o(e.data());
    for (; o; o.next()) {
      use_all(o.kind(), o.action(), o.changes_en_route(), o.data(), o.offset());
      CHECK(o.offset() < e.data().size());
    }
    use(o.malformed());
  }
  use_all(e.malformed(), e.has_upper_layer(), e.protocol(), e.rest(), e.is_fragment());
  print_it(chain);
}
void touch(const ipv6& v) {
  use_all(v.header_size(), v.codepoint(), v.ecn_bits(), v.flow_label(), v.payload_length(), v.next_header(),
          v.hop_limit(), v.source(), v.destination(), v.payload(), v.pseudo_header_sum());
  touch(ipv6_extensions(v));
}
void touch(const ipv6_fragment& v) {
  use_all(v.next_header(), v.fragment_offset(), v.more_fragments(), v.identification(), v.is_atomic(), v.payload());
}
void touch(const tcp& v) {
  use_all(v.source_port(), v.destination_port(), v.sequence_number(), v.acknowledgment_number(), v.header_size(),
          v.control_bits(), v.fin(), v.syn(), v.rst(), v.psh(), v.ack(), v.urg(), v.ece(), v.cwr(), v.window_size(),
          v.segment_checksum(), v.urgent_pointer(), v.options(), v.payload(), v.checksum_ok(1));
  tcp_options o(v.options());
  std::size_t count = 0;
  for (; o; o.next(), ++count) {
    use_all(o.kind(), o.data(), o.remaining(), o.maximum_segment_size(), o.window_scale(), o.is_sack_permitted(),
            o.sack_count(), o.has_timestamps(), o.timestamps().value, o.timestamps().echo_reply, o.is_fast_open(),
            o.fast_open_cookie(), o.user_timeout_seconds(), o.md5_digest(), o.authentication(), o.multipath_subtype());
    for (std::size_t i = 0; i <= o.sack_count(); ++i) use_all(o.sack_block(i).left, o.sack_block(i).right);
  }
  CHECK(count <= 40);
  use(o.malformed());
  // What is understood can be written, and is understood again.
  const tcp_option_values values = tcp_option_values::parse(v.options());
  std::byte written[40];
  CHECK(values.size() <= sizeof written);
  values.write(written);
  const tcp_option_values again = tcp_option_values::parse({written, values.size()});
  CHECK(again.maximum_segment_size == values.maximum_segment_size && again.window_scale == values.window_scale);
  CHECK(again.sack_permitted == values.sack_permitted && again.has_timestamps == values.has_timestamps);
  CHECK(again.timestamps == values.timestamps && again.sack_count == values.sack_written());
  CHECK(again.has_fast_open == values.has_fast_open && equal(again.fast_open_cookie, values.fast_open_cookie));
}
void touch(const udp& v) {
  use_all(v.source_port(), v.destination_port(), v.datagram_length(), v.datagram_checksum(), v.has_checksum(),
          v.header_size(), v.payload(), v.checksum_ok(1));
}
void touch(const icmp& v) {
  use_all(v.message_type(), v.message_code(), v.message_checksum(), v.identifier(), v.sequence_number(),
          v.next_hop_mtu(), v.gateway_address(), v.pointer(), v.is_error(), v.is_query(), v.header_size(), v.payload(),
          v.quoted(), v.extensions(), v.checksum_ok());
}
void touch(const icmpv6& v) {
  use_all(v.message_type(), v.message_code(), v.message_checksum(), v.identifier(), v.sequence_number(),
          v.next_hop_mtu(), v.pointer(), v.is_error(), v.is_query(), v.header_size(), v.payload(), v.quoted(),
          v.extensions(), v.checksum_ok(1));
}

// ---- neighbour discovery

template <class Message>
void touch_discovery(bytes message, const ipv6& around) {
  const auto m = Message::parse(message, around);
  if (!m) return;
  use(m->contents());
  std::size_t count = 0;
  ndp_options o(m->options());
  for (; o; o.next(), ++count) {
    use_all(o.kind(), o.data(), o.redirected(), o.mtu(), o.dns_count(), o.dns_lifetime());
    if (const auto a = o.link_address()) use(*a);
    if (const auto p = o.prefix()) use_all(p->prefix, p->prefix_length, p->valid_lifetime);
    if (const auto r = o.route()) use_all(r->prefix, r->prefix_length, r->lifetime);
    for (std::size_t i = 0; i <= o.dns_count(); ++i) use(o.dns_server(i));
  }
  CHECK(!o.malformed() && count <= message.size() / 8);
  if (const auto a = m->link_address(ndp_option::source_link_address)) use(*a);
  if constexpr (requires { m->target(); }) use(m->target());
  if constexpr (requires { m->destination(); }) use(m->destination());
  if constexpr (requires { m->is_router(); }) use_all(m->is_router(), m->is_solicited(), m->is_override());
  if constexpr (requires { m->router_lifetime(); })
    use_all(m->hop_limit(), m->is_managed(), m->is_other_configuration(), m->preference(), m->router_lifetime(),
            m->reachable_time(), m->retransmit_timer());
  print_it(*m);
}
void touch_discovery_of_any_kind(bytes message, const ipv6& around) {
  touch_discovery<router_solicitation>(message, around);
  touch_discovery<router_advertisement>(message, around);
  touch_discovery<neighbour_solicitation>(message, around);
  touch_discovery<neighbour_advertisement>(message, around);
  touch_discovery<ndp_redirect>(message, around);
}

// ---- views

bool within(bytes inner, bytes outer) { return inner.begin() >= outer.begin() && inner.end() <= outer.end(); }

template <class View>
void touch_in(const header_map& map, bytes packet) {
  CHECK(map.has<View>() == (map.at<View::in_header, View::min_size>() != nullptr));
  if (!map.has<View>()) return;
  CHECK(within({map.at<View::in_header, View::min_size>(), View::min_size}, packet));
  const View v = map.get<View>();
  if constexpr (requires { v.payload(); }) CHECK(within(v.payload(), packet));
  touch(v);
  print_it(v);
}
template <class... View>
void touch_each_in(const header_map& map, bytes packet) {
  (touch_in<View>(map, packet), ...);
}
// Any bytes, as if they were this header.
template <class View>
void parse_directly(bytes b) {
  const auto v = View::parse(b);
  if (!v) return;
  if constexpr (requires { v->payload(); }) CHECK(within(v->payload(), b));
  touch(*v);
  print_it(*v);
}
template <class... View>
void parse_each_directly(bytes b) {
  (parse_directly<View>(b), ...);
}

// ---- what dissect says

// The walker and dissect agree about where the labels end, and whether they do.
void touch_stack(bytes stack, const layers& found, bytes packet, std::size_t head) {
  mpls_stack s(stack);
  for (; s; s.next()) use(s.entry().label_value());
  if (s.malformed()) CHECK(found.fault == drop_reason::mpls_malformed || found.fault == drop_reason::truncated_capture);
  else CHECK(s.payload().data() == packet.data() + (found.network - head));
}

unsigned has(const layers& found, protocol p) { return found.has(p) ? 1u : 0u; }

void check_layers(const layers& found, bytes packet, std::size_t head, link_type link) {
  CHECK(found.link_kind() == link);
  CHECK(found.has(protocol::parsed) == (found.fault == drop_reason::none));
  CHECK(found.fault < drop_reason::count_);
  const unsigned ip = has(found, protocol::ipv4) + has(found, protocol::ipv6);
  CHECK(ip + has(found, protocol::arp) <= 1);
  const unsigned transports = has(found, protocol::tcp) + has(found, protocol::udp) + has(found, protocol::icmp) +
                              has(found, protocol::icmpv6) + has(found, protocol::gre);
  CHECK(transports <= 1);
  CHECK(transports == 0 || ip == 1);
  CHECK(!found.has(protocol::transport) || ip == 1);
  CHECK(!found.has(protocol::fragment) || ip == 1);
  CHECK(!found.has(protocol::icmp) || found.has(protocol::ipv4));
  CHECK(!found.has(protocol::icmpv6) || found.has(protocol::ipv6));
  if (found.has(protocol::parsed)) CHECK(transports == 0 || found.has(protocol::transport));
  if (found.fault == drop_reason::too_big && found.network == 0) return;
  CHECK(found.network >= head && found.network <= head + packet.size());
  CHECK(found.network - found.link == head);
  if (!found.has(protocol::transport)) return;
  CHECK(found.transport > found.network && found.transport <= head + packet.size());
}

// IP behind an Ethernet header, or one tag more, goes a short way through dissect; without a link header it does not.
void check_short_ways(const layers& found, bytes packet, std::size_t head, const dissect_options& options) {
  if (found.link_kind() != link_type::ethernet || (!found.has(protocol::ipv4) && !found.has(protocol::ipv6))) return;
  if (found.link != 14 && !(found.link == 18 && load_be16(packet.data() + 12) == ethertype::vlan)) return;
  dissect_options bare = options;
  bare.head_offset = found.network;
  const layers again = dissect(packet.from(found.network - head), link_type::raw_ip, bare);
  constexpr unsigned link_bits = 7u | static_cast<unsigned>(protocol::vlan);
  CHECK((found.protocols & ~link_bits) == (again.protocols & ~link_bits));
  CHECK(found.network == again.network && found.transport == again.transport && found.fault == again.fault);
}

// What dissect accepts, the views accept. Only for a packet that is all there.
void check_against_views(const layers& found, bytes packet, std::size_t head) {
  if (!found.has(protocol::parsed)) return;
  const bytes network = packet.from(found.network - head);
  bytes payload;
  if (found.has(protocol::ipv4)) {
    const auto ip = ipv4::parse(network);
    CHECK(ip.has_value());
    CHECK(ip->is_fragment() == found.has(protocol::fragment));
    CHECK((ip->fragment_offset() == 0) == found.has(protocol::transport));
    payload = ip->payload();
  } else if (found.has(protocol::ipv6)) {
    const auto ip = ipv6::parse(network);
    CHECK(ip.has_value());
    ipv6_extensions e(*ip);
    bool fragment = false;
    for (; e; e.next()) fragment |= e.kind() == ipv6_extension::fragment;
    CHECK(!e.malformed());
    CHECK(fragment == found.has(protocol::fragment));
    if (e.has_upper_layer()) CHECK(found.has(protocol::transport));
    payload = e.rest();
  }
  if (found.has(protocol::arp)) CHECK(arp::parse(network).has_value());
  if (!found.has(protocol::transport)) return;
  CHECK(payload.data() == packet.data() + (found.transport - head));
  if (found.has(protocol::tcp)) CHECK(tcp::parse(payload).has_value());
  if (found.has(protocol::icmp)) CHECK(icmp::parse(payload).has_value());
  if (found.has(protocol::icmpv6)) CHECK(icmpv6::parse(payload).has_value());
  if (found.has(protocol::gre)) CHECK(gre::parse(payload).has_value());
  if (found.has(protocol::udp) && !found.has(protocol::fragment)) CHECK(udp::parse(payload).has_value());
}

// ---- writing: the setters that keep checksums right

template <class View>
void keeps_checksum(const View& v, std::uint32_t pseudo_header) {
  const auto right = [&] {
    if constexpr (requires { v.checksum_ok(); }) return v.checksum_ok();
    else return v.checksum_ok(pseudo_header);
  };
  if constexpr (requires { v.update_checksum(); }) v.update_checksum();
  else v.update_checksum(pseudo_header);
  CHECK(right());
  if constexpr (requires { v.source_port(); }) {
    v.source_port(static_cast<std::uint16_t>(v.source_port() + 12345u));
    CHECK(right());
    v.destination_port(static_cast<std::uint16_t>(~unsigned{v.destination_port()}));
    CHECK(right());
  }
  if constexpr (requires { v.time_to_live(); }) {
    v.time_to_live(static_cast<std::uint8_t>(v.time_to_live() - 1u));
    v.codepoint(46);
    v.ecn_bits(3);
    v.identification(0xffff);
    v.source(ipv4_address{0x0a00'0001});
    v.destination(ipv4_address{0xffff'ffff});
    CHECK(right());
  }
  if constexpr (requires { v.clamp_maximum_segment_size(std::uint16_t{1200}); }) {
    v.sequence_number(0xffff'ffff);
    v.acknowledgment_number(0);
    v.control_bits(0x12);
    v.window_size(0);
    v.urgent_pointer(7);
    CHECK(right());
    (void)v.clamp_maximum_segment_size(1200);
    CHECK(right());
  }
  if constexpr (requires { v.identifier(); }) {
    v.identifier(0xabcd);
    v.sequence_number(1);
    CHECK(right());
    v.next_hop_mtu(1400);
    CHECK(right());
  }
}
void write_everything(const mutable_header_map& map) {
  std::uint32_t pseudo_header = 0;
  if (map.has<ipv4>()) pseudo_header = map.get<mut<ipv4>>().pseudo_header_sum();
  if (map.has<ipv6>()) pseudo_header = map.get<mut<ipv6>>().pseudo_header_sum();
  // From the inside out: a length in the IP header says where the others end.
  if (map.has<tcp>()) keeps_checksum(map.get<mut<tcp>>(), pseudo_header);
  if (map.has<udp>() && map.get<udp>().datagram_length() <= map.get<udp>().payload().size() + 8)
    keeps_checksum(map.get<mut<udp>>(), pseudo_header);
  if (map.has<icmp>()) keeps_checksum(map.get<mut<icmp>>(), pseudo_header);
  if (map.has<icmpv6>()) keeps_checksum(map.get<mut<icmpv6>>(), pseudo_header);
  if (map.has<gre>()) {
    const mut<gre> v = map.get<mut<gre>>();
    const bool right = v.checksum_ok();
    v.key(0x1234'5678);
    v.sequence_number(0);
    CHECK(v.checksum_ok() == right || !right);
  }
  if (map.has<vxlan>()) map.get<mut<vxlan>>().network_identifier(0xff'ffff);
  if (map.has<arp>()) map.get<mut<arp>>().operation_code(2);
  if (map.has<mpls>()) map.get<mut<mpls>>().label_value(0xf'ffff);
  if (map.has<ipv4>()) keeps_checksum(map.get<mut<ipv4>>(), 0);
  if (map.has<ethernet>()) map.get<mut<ethernet>>().swap_addresses();
  if (map.has<vlan>()) map.get<mut<vlan>>().vlan_id(4095);
}

// ---- matching: every field that is found by a walk, and agreement with the views' walkers

template <class... Operand>
void load_all(const subject& s, const Operand&... o) {
  const auto one = [&](const auto& operand) {
    match::key_t<typename std::remove_cvref_t<decltype(operand)>::value_type> k{};
    if (match::load(s, operand, k)) use(k);
  };
  (one(o), ...);
}
template <class Options>
unsigned count_of(Options o, std::uint8_t number) {
  unsigned n = 0;
  for (; o; o.next()) n += static_cast<std::uint8_t>(o.kind()) == number ? 1u : 0u;
  return n;
}
void match_everything(const subject& s, bytes packet) {
  using topt = tcp::option;
  using iopt = ip::option;
  using nopt = icmpv6::option;
  using ext = ip6::exthdr;
  load_all(s, topt::maxseg::size, topt::maxseg::length, topt::window::count, topt::sack::left, topt::sack::right,
           topt::timestamp::tsval, topt::timestamp::tsecr, topt::mptcp::subtype, topt::number<1>::length);
  load_all(s, iopt::rr::ptr, iopt::rr::addr, iopt::lsrr::addr, iopt::ssrr::addr, iopt::ra::value);
  load_all(s, ext::hbh::nexthdr, ext::dst::hdrlength, ext::rt::type, ext::rt::seg_left, ext::mh::type,
           ext::mh::checksum, ipv6_fragment::id);
  load_all(s, icmp::id, icmp::mtu, icmp::gateway, icmpv6::mtu, icmpv6::id, icmpv6::max_delay);
  load_all(s, icmpv6::taddr, icmpv6::daddr, icmpv6::ra::retrans_timer, icmpv6::na::solicited, nopt::slla::address,
           nopt::tlla::address, nopt::prefix::address, nopt::mtu::value, nopt::route::lifetime, nopt::rdnss::address);
  load_all(s, gre::option::checksum::value, gre::option::key::value, gre::option::sequence::value);
  load_all(s, llc::dsap, llc::ctrl, snap::oui, snap::type, cvlan::id, meta::protocol, meta::l4proto, meta::nfproto);
  load_all(s, vxlan::inner(ether::saddr), vxlan::inner(ip::saddr), vxlan::inner(topt::maxseg::size),
           gre::inner(ip6::daddr), gre::inner(th::dport), gretap::inner(vlan::id), gretap::inner(icmpv6::taddr),
           ipip::inner(ip::ttl), ipip::inner(ip6::hoplimit), ipip::inner(ext::rt::type), ipip::inner(udp::dport));

  const header_map& map = s.headers;
  if (map.has<tcp>())
    CHECK(runnel::has<tcp::option::maxseg>(s) == (count_of(tcp_options(map.get<tcp>().options()), 2) != 0));
  if (map.has<ipv4>())
    CHECK(runnel::has<ip::option::rr>(s) == (count_of(ipv4_options(map.get<ipv4>().options()), 7) != 0));
  if (map.has<ipv6>()) CHECK(runnel::has<ip6::exthdr::dst>(s) == (count_of(ipv6_extensions(map.get<ipv6>()), 60) != 0));
  if (map.has<llc>()) CHECK(within(map.get<llc>().payload(), packet));
}
// What is inside, and the tunnel inside that.
void look_inside(const header_map& map, bytes packet, int depth);
template <class View>
void look_inside_of(const header_map& map, bytes packet, int depth) {
  if (!map.has<View>()) return;
  const header_map in = inside(map.get<View>());
  touch_each_in<ethernet, vlan, llc, arp, ipv4, ipv6, tcp, udp, icmp, icmpv6, gre, vxlan>(in, packet);
  look_inside(in, packet, depth - 1);
}
void look_inside(const header_map& map, bytes packet, int depth) {
  if (depth == 0) return;
  look_inside_of<ipv4>(map, packet, depth);
  look_inside_of<ipv6>(map, packet, depth);
  look_inside_of<gre>(map, packet, depth);
  look_inside_of<vxlan>(map, packet, depth);
}

// ---- one packet

struct chosen {
  link_type link;
  bool cut, chained;
};

void one_packet(mutable_bytes packet, std::size_t head, const chosen& how) {
  const dissect_options options{
      .head_offset = head, .chained = how.chained ? 2000u : 0u, .missing = how.cut ? 64u : 0u};
  const layers found = dissect(packet, how.link, options);
  check_layers(found, packet, head, how.link);
  check_short_ways(found, packet, head, options);
  if (!how.chained && !how.cut) check_against_views(found, packet, head);

  layers shown = found;  // the headers before a fault can be read as well
  if (found.fault != drop_reason::too_big) shown.protocols |= static_cast<std::uint16_t>(protocol::parsed);
  const header_map map(packet, head, shown);
  touch_each_in<ethernet, vlan, llc, mpls, arp, ipv4, ipv6, ipv6_fragment, tcp, udp, icmp, icmpv6, gre, vxlan>(map,
                                                                                                               packet);
  if (head == 0) {
    match_everything(subject{packet, shown}, packet);
    match_everything(subject{packet, found}, packet);
  }
  look_inside(map, packet, 3);
  if (map.has<mpls>())
    touch_stack(bytes{packet}.from(static_cast<std::size_t>(map.at<header::mpls, 4>() - packet.data())), found, packet,
                head);
  if (map.has<icmpv6>()) {
    ipv6_extensions e(map.get<ipv6>());
    while (e) e.next();
    touch_discovery_of_any_kind(e.rest(), map.get<ipv6>());
  }
  for (const bool with_link : {false, true}) {
    text<8192> line;
    print_packet(line, map, {.link_header = with_link});
    print_packet(line, header_map(packet, head, found), {.link_header = with_link, .tunnels = 1});
    text<40> short_line;
    print_packet(short_line, map, {.link_header = with_link});
    use(line.size() + short_line.size());
  }
  if (found.has(protocol::parsed) && !how.cut && !how.chained)
    write_everything(mutable_header_map(packet, head, shown));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0 || size > 65536 + 300) return 0;
  const unsigned choice = *data++;
  --size;
  const chosen how{static_cast<link_type>((choice & 7u) % 6), (choice & 8u) != 0, (choice & 16u) != 0};
  const std::size_t head = (choice & 32u) != 0 ? 64 : 0;

  // Of exactly its size, so that the sanitizer sees one byte too far.
  auto* const buffer = static_cast<std::byte*>(std::malloc(head + size + (head + size == 0)));
  const mutable_bytes packet{buffer + head, size};
  copy_bytes(packet.data(), reinterpret_cast<const std::byte*>(data), size);
  ASAN_POISON_MEMORY_REGION(buffer, head);

  parse_each_directly<ethernet, vlan, llc, mpls, arp, ipv4, ipv6, ipv6_fragment, tcp, udp, icmp, icmpv6, gre, vxlan>(
      packet);
  if (const auto ip = ipv6::parse(packet)) touch_discovery_of_any_kind(ip->payload(), *ip);
  one_packet(packet, head, how);

  ASAN_UNPOISON_MEMORY_REGION(buffer, head);
  std::free(buffer);
  return 0;
}
