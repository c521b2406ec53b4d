// SPDX-License-Identifier: MIT
// A whole packet on one line, in the manner of `tcpdump -nn`: addresses with their ports, then what the transport
// says, then what is inside a tunnel.
//
//     IP 192.0.2.1.40000 > 192.0.2.2.80: Flags [S], seq 1, win 64240, options [mss 1460], length 0
//     vlan 5, p 0, IP6 fe80::1 > ff02::2: ICMP6, router solicitation, length 16
//     IP 192.0.2.1 > 192.0.2.2: ip-proto-6, length 16 [tcp_data_offset]
//
// Unlike tcpdump it names VLAN tags always, prints sequence numbers as they are, keeps tunnels on the same line, and
// ends with the fault of a malformed packet in brackets. It prints no payload and decodes no application.
#ifndef RUNNEL_WIRE_PRINT_PACKET_HPP
#define RUNNEL_WIRE_PRINT_PACKET_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint16_t, uint64_t

#include <runnel/base/bytes.hpp>
#include <runnel/base/text.hpp>
#include <runnel/packet/drop_reason.hpp>
#include <runnel/packet/frame.hpp>
#include <runnel/packet/layers.hpp>
#include <runnel/packet/packet.hpp>
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

namespace runnel {

/// What `print_packet` shows.
struct print_options {
  bool link_header = false;  ///< the Ethernet header as well, as `tcpdump -e` does
  unsigned tunnels = 4;      ///< how many packets inside the packet are shown, each inside the one before
};

namespace detail {

// What was found of a malformed packet, shown as if it were all of it: the headers before the fault are all right. But
// not when offsets did not fit, for then there are none.
[[nodiscard]] constexpr layers as_found(layers found) noexcept {
  if (found.fault != drop_reason::none && found.fault != drop_reason::too_big) found.protocols |= bit(protocol::parsed);
  return found;
}

// One packet, at one depth of tunnels. Prints through the views' own printers. A template, so that only a program that
// prints packets pays for compiling all of them.
template <class = void>
class packet_printer {
 public:
  constexpr packet_printer(text_writer& out, const print_options& options, bool cut = false) noexcept
      : out_(out), options_(options), cut_(cut) {}

  constexpr void print_all(const header_map& map) noexcept {
    bytes rest;
    std::uint16_t type = 0;
    if (map.has<ethernet>()) {
      const ethernet link = map.get<ethernet>();
      type = link.ethertype();
      rest = link.payload();
      link_header(link);
      vlan_tags(type, rest);
      if (type < ethertype::first) rest = rest.first(type);
    }
    network(map, type, rest);
    if (map.layers().fault != drop_reason::none) out_ << " [" << name(map.layers().fault) << ']';
  }

 private:
  // ---- pieces of lines. Templates stand before their users: constant evaluation needs that with Clang 14.

  // A view's own line from the first `c` in it on, and `skip` more characters.
  template <class View>
  constexpr void print_from(char c, const View& v, std::size_t skip = 0) noexcept {
    text<512> line;
    print(line, v);
    const char* from = line.c_str();
    while (*from != '\0' && *from != c) ++from;
    for (; *from != '\0' && skip != 0; --skip) ++from;
    out_ << from;
  }
  // Without the ports, with which the printers of TCP and UDP begin: those stand beside the addresses.
  template <class View>
  constexpr void behind_ports(const View& v) noexcept {
    print_from(':', v, 2);
  }
  // With the ports beside them, where there are some.
  template <class Ip>
  constexpr void addresses(const header_map& map, const Ip& ip) noexcept {
    const std::byte* ports = map.at<header::th, 4>();
    print(out_, ip.source());
    if (ports != nullptr) out_ << '.' << load_be16(ports);
    print(out_ << " > ", ip.destination());
    if (ports != nullptr) out_ << '.' << load_be16(ports + 2);
    out_ << ": ";
  }
  template <class Message>
  constexpr bool discovery(bytes message, const ipv6& ip) noexcept {
    const auto m = Message::parse(message, ip);
    if (!m) return false;
    print(out_, *m);
    out_ << ", length " << std::uint64_t{message.size()};
    return true;
  }

  // ---- the link

  constexpr void link_header(const ethernet& link) noexcept {
    if (!options_.link_header) return;
    print(out_, link);
    out_ << ": ";
    type_is_printed_ = !link.is_802_3();
  }
  // Takes the tags off `rest`, and leaves in `type` what they carry.
  constexpr void vlan_tags(std::uint16_t& type, bytes& rest) noexcept {
    for (unsigned tags = 0; ethertype::is_vlan(type) && tags < max_vlan_tags; ++tags) {
      const auto tag = vlan::parse(rest);
      if (!tag) return;
      if (options_.link_header) print(out_, *tag);
      else out_ << "vlan " << tag->vlan_id() << ", p " << tag->priority_code() << (tag->drop_eligible() ? ", DEI" : "");
      out_ << ", ";
      type = tag->ethertype();
      rest = tag->payload();
    }
  }
  // Returns what the stack carries.
  constexpr bytes labels(bytes stack) noexcept {
    mpls_stack s(stack);
    for (bool first = true; s; s.next(), first = false) {
      print_from(first ? 'M' : '(', s.entry());
      out_ << ' ';
    }
    type_is_printed_ = false;
    return s.payload();
  }

  // ---- the network

  constexpr void network(const header_map& map, std::uint16_t type, bytes rest) noexcept {
    if (map.has<mpls>()) {
      const std::byte* const stack = map.at<header::mpls, mpls::min_size>();
      rest = labels({stack, map.get<mpls>().payload().size() + mpls::min_size});
      type = ethertype::mpls;
    }
    if (map.has<arp>()) return print_from(type_is_printed_ ? ',' : 'A', map.get<arp>(), type_is_printed_ ? 2 : 0);
    if (map.has<ipv4>()) return ipv4_packet(map, map.get<ipv4>());
    if (map.has<ipv6>()) return ipv6_packet(map, map.get<ipv6>());
    if (!map.has<ethernet>()) {
      out_ << "unknown link payload";
      return;
    }
    if (type < ethertype::first) {
      if (const auto v = llc::parse(rest)) return print(out_, *v);
      out_ << "LLC, ";
    } else if (!type_is_printed_ && !map.has<mpls>()) {
      (out_ << "ethertype " << ethertype::name(type) << " (0x").hex(type, 4) << "), ";
    }
    out_ << "length " << std::uint64_t{rest.size()};
  }
  constexpr void ipv4_packet(const header_map& map, const ipv4& ip) noexcept {
    cut_ = cut_ || ip.is_fragment() || ip.total_length() > ip.header_size() + ip.payload().size();
    if (!type_is_printed_) out_ << "IP ";
    addresses(map, ip);
    if (ip.is_fragment()) {
      (out_ << "frag (0x").hex(ip.identification(), 4)
          << ':' << std::uint64_t{ip.fragment_offset()} << '|' << std::uint64_t{ip.payload().size()} << ')'
          << (ip.more_fragments() ? "+ " : " ");
    }
    transport(map, ip.protocol_number(), ip.payload());
  }
  constexpr void ipv6_packet(const header_map& map, const ipv6& ip) noexcept {
    ipv6_extensions e(ip);
    cut_ = cut_ || map.layers().has(protocol::fragment) || ip.payload_length() > ip.payload().size();
    if (!type_is_printed_) out_ << "IP6 ";
    addresses(map, ip);
    for (; e; e.next()) {
      if (e.kind() == ipv6_extension::fragment) print(out_, ipv6_fragment::unchecked(e.rest()));
      else
        out_ << (e.kind() == ipv6_extension::hop_by_hop       ? "HBH"
                 : e.kind() == ipv6_extension::routing        ? "RT"
                 : e.kind() == ipv6_extension::authentication ? "AH"
                                                              : "DSTOPT");
      out_ << ' ';
    }
    transport(map, e.protocol(), e.rest());
  }
  // ---- the transport

  constexpr void transport(const header_map& map, std::uint8_t number, bytes payload) noexcept {
    if (map.has<tcp>()) return behind_ports(map.get<tcp>());
    if (map.has<vxlan>()) return vxlan_frame(map.get<vxlan>());
    if (map.has<udp>()) return behind_ports(map.get<udp>());
    if (map.has<icmp>()) return icmp_message(map.get<icmp>());
    if (map.has<icmpv6>()) return icmpv6_message(map.get<icmpv6>(), payload, map.get<ipv6>());
    if (map.has<gre>()) return gre_packet(map.get<gre>());
    if (map.layers().has(protocol::transport)) {
      if (number == ipv4_header::ip_protocol) return inside(ethertype::ipv4, payload);
      if (number == ipv6_header::ip_protocol) return inside(ethertype::ipv6, payload);
      if (number == mpls_header::ip_protocol) return inside(ethertype::mpls, payload);
    }
    if (number == ipv6_extension::no_next_header && map.has<ipv6>()) out_ << "no next header";
    else out_ << "ip-proto-" << number;
    out_ << ", length " << std::uint64_t{payload.size()};
  }
  constexpr void icmp_message(const icmp& v) noexcept {
    print(out_, v);
    quoted(ethertype::ipv4, v.quoted());
  }
  // `message` is what follows the last extension header.
  constexpr void icmpv6_message(const icmpv6& v, bytes message, const ipv6& ip) noexcept {
    if (discovery<router_solicitation>(message, ip) || discovery<router_advertisement>(message, ip) ||
        discovery<neighbour_solicitation>(message, ip) || discovery<neighbour_advertisement>(message, ip) ||
        discovery<ndp_redirect>(message, ip))
      return;
    print(out_, v);
    quoted(ethertype::ipv6, v.quoted());
  }
  // ---- tunnels

  // The datagram that an ICMP error is about, or rather its beginning.
  constexpr void quoted(std::uint16_t type, bytes datagram) noexcept {
    if (datagram.empty()) return;
    out_ << ": ";
    cut_ = true;
    inside(type, datagram);
  }

  constexpr void vxlan_frame(const vxlan& v) noexcept {
    print(out_, v);
    out_ << ": ";
    inside(ethertype::bridging, v.payload());
  }
  constexpr void gre_packet(const gre& v) noexcept {
    print(out_, v);
    out_ << ": ";
    inside(v.protocol_type(), v.payload());
  }
  // What is inside a tunnel, `type` being its EtherType: dissected and printed like any other packet.
  constexpr void inside(std::uint16_t type, bytes packet) noexcept {
    if (ethertype::is_mpls(type)) packet = labels(packet);
    const bool ip = type == ethertype::ipv4 || type == ethertype::ipv6 || ethertype::is_mpls(type);
    if ((!ip && type != ethertype::bridging) || options_.tunnels == 0) {
      out_ << (options_.tunnels == 0 ? "..., length " : "length ") << std::uint64_t{packet.size()};
      return;
    }
    const link_type link = ip ? link_type::raw_ip : link_type::ethernet;
    // In a fragment, or in a packet that is not all there, what is missing at the end is no fault.
    const layers found = dissect(packet, link, {.missing = cut_ ? 0xffffu : 0u});
    packet_printer inner(out_, {.link_header = options_.link_header, .tunnels = options_.tunnels - 1}, cut_);
    inner.print_all(header_map(packet, 0, as_found(found)));
  }

  text_writer& out_;
  print_options options_;
  bool cut_;                      // bytes are missing at the end
  bool type_is_printed_ = false;  // and need not be said again
};

}  // namespace detail

/// Prints a packet as `map` shows it. Where it was not dissected yet and is an Ethernet frame, it is now. Lengths are
/// those of what is there: a packet that a capture cut, or that goes on in chained buffers, seems shorter.
template <class Printer = detail::packet_printer<>>
constexpr void print_packet(text_writer& out, const header_map& map, const print_options& options = {}) noexcept {
  Printer printer(out, options);
  const layers& known = map.layers();
  if (!known.has(protocol::parsed) && known.fault == drop_reason::none && map.has<ethernet>()) {
    const bytes frame{map.at<header::ethernet, 14>(), map.get<ethernet>().payload().size() + 14};
    return printer.print_all(header_map(frame, 0, detail::as_found(dissect(frame))));
  }
  printer.print_all(map);
}
/// Prints a packet; dissects it first where nobody has.
template <class Printer = detail::packet_printer<>>
void print_packet(text_writer& out, const packet& p, const print_options& options = {}) noexcept {
  layers found = p.layers();
  if (!found.has(protocol::parsed) && found.fault == drop_reason::none)
    found = dissect(p.contents(), found.link_kind(),
                    {.head_offset = p.headroom(), .chained = p.total_length() - p.length(), .missing = p.missing()});
  Printer(out, options).print_all(header_map(p.contents(), p.headroom(), detail::as_found(found)));
}
/// Prints a frame, `found` being what `dissect` said of it; dissects it when that is empty.
template <class Printer = detail::packet_printer<>>
void print_packet(text_writer& out, const frame& f, layers found = {}, const print_options& options = {}) noexcept {
  if (!found.has(protocol::parsed) && found.fault == drop_reason::none)
    found = dissect(f.contents(), f.link, {.head_offset = f.headroom, .missing = f.missing});
  Printer(out, options).print_all(header_map(f, detail::as_found(found)));
}

}  // namespace runnel

#endif
