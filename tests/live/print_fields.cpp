// SPDX-License-Identifier: MIT
// Prints what the views read from every packet of a capture, one line each, tab-separated. The first line names the
// columns as Wireshark names its fields, so that compare_with_tshark can ask tshark for the same ones. Only the
// outer headers count: what a tunnel or an ICMP error carries is not looked into.
//
//     print_fields capture.pcap
#include <cinttypes>
#include <cstdio>
#include <optional>
#include <vector>

#include <runnel/base/text.hpp>
#include <runnel/device/mapped_pool.hpp>
#include <runnel/device/pcap_reader.hpp>
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
#include <runnel/wire/tcp.hpp>
#include <runnel/wire/udp.hpp>
#include <runnel/wire/vlan.hpp>
#include <runnel/wire/vxlan.hpp>

namespace {

using namespace runnel;

struct seen_packet {
  std::uint64_t number;
  const frame& f;
  layers found;
  header_map map;
};
using cell = void (*)(text_writer&, const seen_packet&);
struct column {
  const char* name;
  cell print_cell;
};

void put(text_writer& out, bool v) { out << (v ? '1' : '0'); }
void put(text_writer& out, std::size_t v) { out << std::uint64_t{v}; }
void put(text_writer& out, std::uint32_t v) { out << v; }
void put(text_writer& out, std::uint16_t v) { out << v; }
void put(text_writer& out, std::uint8_t v) { out << v; }
void put(text_writer& out, const mac_address& v) { print(out, v); }
void put(text_writer& out, ipv4_address v) { print(out, v); }
void put(text_writer& out, const ipv6_address& v) { print(out, v); }
template <class T>
void put(text_writer& out, const std::optional<T>& v) {
  if (v) put(out, *v);
}

// A column that is empty where the packet has no `View`. `Read` takes the view, or the view and the packet.
template <class View, auto Read>
void of(text_writer& out, const seen_packet& p) {
  if (!p.map.has<View>()) return;
  const View v = p.map.get<View>();
  if constexpr (requires { Read(v, p); }) put(out, Read(v, p));
  else put(out, Read(v));
}

// ---- what more than one column needs

std::optional<std::uint32_t> pseudo_header(const seen_packet& p) {
  if (p.map.has<ipv4>()) return p.map.get<ipv4>().pseudo_header_sum();
  if (p.map.has<ipv6>()) return p.map.get<ipv6>().pseudo_header_sum();
  return {};
}
// A fragment has only a part of what its transport checksum covers; 1 is Wireshark's "good".
template <class View>
std::optional<bool> checksum_status(const View& v, const seen_packet& p) {
  if (p.found.has(protocol::fragment)) return {};
  if constexpr (requires { v.checksum_ok(); }) return v.checksum_ok();
  else return v.checksum_ok(*pseudo_header(p));
}
// The first TCP option for which `read` has a value.
template <class Read>
auto first_option(const tcp& v, Read read) -> decltype(read(tcp_options{v.options()})) {
  for (tcp_options o(v.options()); o; o.next())
    if (auto found = read(o)) return found;
  return {};
}
template <class T>
std::optional<T> only_if(bool condition, T v) {
  return condition ? std::optional<T>(v) : std::optional<T>();
}
std::optional<vlan> second_tag(const seen_packet& p) {
  if (const std::byte* tag = p.map.at<header::cvlan, 4>()) return vlan::unchecked({tag, 4});
  return {};
}
// Wireshark has two names for tags, by the type in front of them.
std::optional<vlan> tag_of_type(const seen_packet& p, std::uint16_t type) {
  if (!p.map.has<vlan>()) return {};
  const vlan outer = p.map.get<vlan>();
  if (p.map.get<ethernet>().ethertype() == type) return outer;
  return outer.ethertype() == type ? second_tag(p) : std::nullopt;
}
template <std::uint16_t Type, auto Read>
void of_tag(text_writer& out, const seen_packet& p) {
  if (const auto tag = tag_of_type(p, Type)) put(out, Read(*tag));
}

// LLC is no header of the map: it is where 802.3 says so.
template <auto Read>
void of_llc(text_writer& out, const seen_packet& p) {
  if (!p.map.has<ethernet>() || !p.map.get<ethernet>().is_802_3()) return;
  if (const auto v = llc::parse(p.map.get<ethernet>().payload())) put(out, Read(*v));
}
// A message of neighbour discovery, where it is one.
template <class Message>
auto message_of(const seen_packet& p) {
  ipv6_extensions e(p.map.get<ipv6>());
  while (e) e.next();
  return Message::parse(e.rest(), p.map.get<ipv6>());
}
template <class Message, auto Read>
void of_message(text_writer& out, const seen_packet& p) {
  if (!p.map.has<icmpv6>()) return;
  if (const auto m = message_of<Message>(p)) put(out, Read(*m));
}
// The link-layer address in the first option that has one.
void link_address(text_writer& out, const seen_packet& p) {
  const auto of_options = [&](bytes options) {
    for (ndp_options o(options); o; o.next())
      if (const auto a = o.link_address()) return print(out, *a);
  };
  if (!p.map.has<icmpv6>()) return;
  if (const auto m = message_of<router_solicitation>(p)) of_options(m->options());
  if (const auto m = message_of<router_advertisement>(p)) of_options(m->options());
  if (const auto m = message_of<neighbour_solicitation>(p)) of_options(m->options());
  if (const auto m = message_of<neighbour_advertisement>(p)) of_options(m->options());
  if (const auto m = message_of<ndp_redirect>(p)) of_options(m->options());
}
// As Wireshark's table of fields has them, the flags of GRE are one number with the version.
std::uint16_t flags_and_version(const gre& v) {
  return static_cast<std::uint16_t>((v.has_checksum() ? 0x8000u : 0u) | (v.has_key() ? 0x2000u : 0u) |
                                    (v.has_sequence_number() ? 0x1000u : 0u) | v.version_number());
}

// ---- the columns

#define FIELD(view, expression) of<view, [](const view& v) { return expression; }>
#define LLC(expression) of_llc<[](const llc& v) { return expression; }>
#define MESSAGE(message, expression) of_message<message, [](const message& m) { return expression; }>
#define TAG(type, expression) of_tag<type, [](const vlan& v) { return expression; }>

constexpr column columns[] = {
    {"frame.number", [](text_writer& out, const seen_packet& p) { out << p.number; }},
    {"frame.time_epoch", [](text_writer& out, const seen_packet& p) { out << p.f.timestamp.ns; }},
    {"frame.len", [](text_writer& out, const seen_packet& p) { put(out, std::size_t{p.f.length} + p.f.missing); }},
    {"runnel.verdict",
     [](text_writer& out, const seen_packet& p) {
       out << (p.found.fault == drop_reason::none ? "ok" : name(p.found.fault));
     }},

    {"eth.dst", FIELD(ethernet, v.destination())},
    {"eth.src", FIELD(ethernet, v.source())},
    {"eth.type", FIELD(ethernet, only_if(!v.is_802_3(), v.ethertype()))},
    {"eth.len", FIELD(ethernet, only_if(v.is_802_3(), v.ethertype()))},
    {"ieee8021ad.priority", TAG(ethertype::qinq, v.priority_code())},
    {"ieee8021ad.dei", TAG(ethertype::qinq, v.drop_eligible())},
    {"ieee8021ad.id", TAG(ethertype::qinq, v.vlan_id())},
    {"vlan.priority", TAG(ethertype::vlan, v.priority_code())},
    {"vlan.dei", TAG(ethertype::vlan, v.drop_eligible())},
    {"vlan.id", TAG(ethertype::vlan, v.vlan_id())},
    {"vlan.etype", TAG(ethertype::vlan, v.ethertype())},

    {"llc.dsap", LLC(v.destination_sap())},
    {"llc.ssap", LLC(v.source_sap())},
    {"llc.control", LLC(v.control())},
    {"llc.oui", LLC(only_if(v.is_snap(), v.organisation()))},
    {"llc.type", LLC(only_if(v.is_snap() && v.organisation() == 0, v.protocol_identifier()))},
    {"mpls.label", FIELD(mpls, v.label_value())},
    {"mpls.exp", FIELD(mpls, v.traffic_class())},
    {"mpls.bottom", FIELD(mpls, v.bottom_of_stack())},
    {"mpls.ttl", FIELD(mpls, v.time_to_live())},

    {"arp.hw.type", FIELD(arp, v.hardware_type())},
    {"arp.proto.type", FIELD(arp, v.protocol_type())},
    {"arp.opcode", FIELD(arp, v.operation_code())},
    {"arp.src.hw_mac", FIELD(arp, v.sender_hardware())},
    {"arp.src.proto_ipv4", FIELD(arp, v.sender_protocol())},
    {"arp.dst.hw_mac", FIELD(arp, v.target_hardware())},
    {"arp.dst.proto_ipv4", FIELD(arp, v.target_protocol())},

    {"ip.version", of<ipv4, [](const ipv4&) { return std::uint8_t{4}; }>},
    {"ip.hdr_len", FIELD(ipv4, v.header_size())},
    {"ip.dsfield.dscp", FIELD(ipv4, v.codepoint())},
    {"ip.dsfield.ecn", FIELD(ipv4, v.ecn_bits())},
    {"ip.len", FIELD(ipv4, v.total_length())},
    {"ip.id", FIELD(ipv4, v.identification())},
    {"ip.flags.df", FIELD(ipv4, v.dont_fragment())},
    {"ip.flags.mf", FIELD(ipv4, v.more_fragments())},
    {"ip.frag_offset", FIELD(ipv4, v.fragment_offset() / 8)},
    {"ip.ttl", FIELD(ipv4, v.time_to_live())},
    {"ip.proto", FIELD(ipv4, v.protocol_number())},
    {"ip.checksum", FIELD(ipv4, v.header_checksum())},
    {"ip.checksum.status", FIELD(ipv4, v.checksum_ok())},
    {"ip.src", FIELD(ipv4, v.source())},
    {"ip.dst", FIELD(ipv4, v.destination())},
    {"ip.opt.type", of<ipv4,
                       [](const ipv4& v) -> std::optional<std::uint8_t> {
                         const ipv4_options o(v.options());
                         return o ? std::optional<std::uint8_t>(o.kind()) : std::nullopt;
                       }>},

    {"ipv6.version", of<ipv6, [](const ipv6&) { return std::uint8_t{6}; }>},
    {"ipv6.tclass.dscp", FIELD(ipv6, v.codepoint())},
    {"ipv6.tclass.ecn", FIELD(ipv6, v.ecn_bits())},
    {"ipv6.flow", FIELD(ipv6, v.flow_label())},
    {"ipv6.plen", FIELD(ipv6, v.payload_length())},
    {"ipv6.nxt", FIELD(ipv6, v.next_header())},
    {"ipv6.hlim", FIELD(ipv6, v.hop_limit())},
    {"ipv6.src", FIELD(ipv6, v.source())},
    {"ipv6.dst", FIELD(ipv6, v.destination())},
    {"ipv6.fraghdr.nxt", FIELD(ipv6_fragment, v.next_header())},
    {"ipv6.fraghdr.offset", FIELD(ipv6_fragment, v.fragment_offset() / 8)},
    {"ipv6.fraghdr.more", FIELD(ipv6_fragment, v.more_fragments())},
    {"ipv6.fraghdr.ident", FIELD(ipv6_fragment, v.identification())},

    {"tcp.srcport", FIELD(tcp, v.source_port())},
    {"tcp.dstport", FIELD(tcp, v.destination_port())},
    {"tcp.seq_raw", FIELD(tcp, v.sequence_number())},
    {"tcp.ack_raw", FIELD(tcp, v.acknowledgment_number())},
    {"tcp.hdr_len", FIELD(tcp, v.header_size())},
    {"tcp.flags", FIELD(tcp, v.control_bits())},
    {"tcp.window_size_value", FIELD(tcp, v.window_size())},
    {"tcp.checksum", FIELD(tcp, v.segment_checksum())},
    {"tcp.checksum.status", (of<tcp, [](const tcp& v, const seen_packet& p) { return checksum_status(v, p); }>)},
    {"tcp.urgent_pointer", FIELD(tcp, v.urgent_pointer())},
    {"tcp.len", FIELD(tcp, v.payload().size())},
    {"tcp.options.mss_val", FIELD(tcp, first_option(v,
                                                    [](const tcp_options& o) {
                                                      return only_if(o.maximum_segment_size() != 0,
                                                                     o.maximum_segment_size());
                                                    }))},
    {"tcp.options.wscale.shift",
     FIELD(tcp, first_option(v,
                             [](const tcp_options& o) {
                               return only_if(o.window_scale() != tcp_options::no_window_scale, o.window_scale());
                             }))},
    {"tcp.options.sack_perm",
     FIELD(tcp, first_option(v, [](const tcp_options& o) { return only_if(o.is_sack_permitted(), true); }))},
    {"tcp.options.timestamp.tsval",
     FIELD(tcp,
           first_option(v, [](const tcp_options& o) { return only_if(o.has_timestamps(), o.timestamps().value); }))},
    {"tcp.options.timestamp.tsecr",
     FIELD(tcp, first_option(
                    v, [](const tcp_options& o) { return only_if(o.has_timestamps(), o.timestamps().echo_reply); }))},
    {"tcp.options.sack_le",
     FIELD(tcp,
           first_option(v, [](const tcp_options& o) { return only_if(o.sack_count() != 0, o.sack_block(0).left); }))},
    {"tcp.options.sack_re",
     FIELD(tcp,
           first_option(v, [](const tcp_options& o) { return only_if(o.sack_count() != 0, o.sack_block(0).right); }))},

    {"udp.srcport", FIELD(udp, v.source_port())},
    {"udp.dstport", FIELD(udp, v.destination_port())},
    {"udp.length", FIELD(udp, v.datagram_length())},
    {"udp.checksum", FIELD(udp, v.datagram_checksum())},
    {"udp.checksum.status",
     (of<udp,
         [](const udp& v, const seen_packet& p) { return v.has_checksum() ? checksum_status(v, p) : std::nullopt; }>)},

    {"icmp.type", FIELD(icmp, v.message_type())},
    {"icmp.code", FIELD(icmp, v.message_code())},
    {"icmp.checksum", FIELD(icmp, v.message_checksum())},
    {"icmp.checksum.status", (of<icmp, [](const icmp& v, const seen_packet& p) { return checksum_status(v, p); }>)},
    {"icmp.ident", FIELD(icmp, only_if(v.is_query(), v.identifier()))},
    {"icmp.seq", FIELD(icmp, only_if(v.is_query(), v.sequence_number()))},
    {"icmp.mtu", FIELD(icmp, only_if(v.kind() == icmp::unreachable::fragmentation_needed, v.next_hop_mtu()))},

    {"icmpv6.type", FIELD(icmpv6, v.message_type())},
    {"icmpv6.code", FIELD(icmpv6, v.message_code())},
    {"icmpv6.checksum", FIELD(icmpv6, v.message_checksum())},
    {"icmpv6.checksum.status",
     (of<icmpv6, [](const icmpv6& v, const seen_packet& p) { return checksum_status(v, p); }>)},
    {"icmpv6.echo.identifier", FIELD(icmpv6, only_if(v.is_query(), v.identifier()))},
    {"icmpv6.echo.sequence_number", FIELD(icmpv6, only_if(v.is_query(), v.sequence_number()))},
    {"icmpv6.mtu", FIELD(icmpv6, only_if(v.kind() == icmpv6::packet_too_big, v.next_hop_mtu()))},
    {"icmpv6.nd.ns.target_address", MESSAGE(neighbour_solicitation, m.target())},
    {"icmpv6.nd.na.target_address", MESSAGE(neighbour_advertisement, m.target())},
    {"icmpv6.nd.na.flag.r", MESSAGE(neighbour_advertisement, m.is_router())},
    {"icmpv6.nd.na.flag.s", MESSAGE(neighbour_advertisement, m.is_solicited())},
    {"icmpv6.nd.na.flag.o", MESSAGE(neighbour_advertisement, m.is_override())},
    {"icmpv6.nd.ra.cur_hop_limit", MESSAGE(router_advertisement, m.hop_limit())},
    {"icmpv6.nd.ra.flag.m", MESSAGE(router_advertisement, m.is_managed())},
    {"icmpv6.nd.ra.flag.o", MESSAGE(router_advertisement, m.is_other_configuration())},
    {"icmpv6.nd.ra.router_lifetime", MESSAGE(router_advertisement, m.router_lifetime())},
    {"icmpv6.nd.ra.reachable_time", MESSAGE(router_advertisement, m.reachable_time())},
    {"icmpv6.nd.ra.retrans_timer", MESSAGE(router_advertisement, m.retransmit_timer())},
    {"icmpv6.opt.linkaddr", link_address},

    {"gre.flags_and_version", FIELD(gre, flags_and_version(v))},
    {"gre.proto", FIELD(gre, v.protocol_type())},
    {"vxlan.flag_i", FIELD(vxlan, (v.flag_bits() & 8u) != 0)},
    {"vxlan.vni", FIELD(vxlan, v.network_identifier())},
};

void print_line(const frame& f, std::uint64_t number) {
  layers found = dissect({f.data, f.length}, f.link, {.head_offset = f.headroom, .missing = f.missing});
  // The headers before a fault were found and checked as well: let the map show them.
  layers shown = found;
  shown.protocols |= static_cast<std::uint16_t>(protocol::parsed);
  const seen_packet p{number, f, found, header_map(f, shown)};
  text<4096> line;
  for (const column& c : columns) {
    if (&c != columns) line << '\t';
    c.print_cell(line, p);
  }
  std::puts(line.c_str());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return std::fprintf(stderr, "usage: print_fields CAPTURE\n"), 2;
  auto memory = mapped_pool::open({.packets = 16});
  if (!memory) return std::fprintf(stderr, "%s\n", memory.error().message()), 1;
  auto in = pcap_reader::open(argv[1], *memory);
  if (!in) return std::fprintf(stderr, "%s\n", in.error().message()), 1;

  for (const column& c : columns) std::printf("%s%s", &c == columns ? "" : "\t", c.name);
  std::puts("");
  std::uint64_t number = 0;
  frame frames[64];
  while (!in->done()) {
    const std::size_t n = in->receive(64, instant{}, into_array(frames));
    for (std::size_t i = 0; i < n; ++i) print_line(frames[i], ++number);
    in->memory().release(frames, n);
  }
  if (in->failure() != nullptr) return std::fprintf(stderr, "%s\n", in->failure()->message()), 1;
}
