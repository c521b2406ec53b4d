// SPDX-License-Identifier: MIT
// What is inside a tunnel: IP in IP, GRE, VXLAN. `inside(view)` dissects it, every bound checked, and gives a map of
// its headers, from which views are taken as from any other packet:
//
//     [](ipv4 outer) {
//       const header_map in = inside(outer);
//       if (in.has<ipv4>() && in.has<tcp>()) use(in.get<ipv4>().source(), in.get<tcp>());
//     }
//
// One tunnel deep; the views found may be asked in turn. What it does not do: reassemble; look into MPLS, or into other
// ports than VXLAN's. RFC 2003, RFC 2473, RFC 4213 (IP in IP), RFC 2784, RFC 7348.
#ifndef RUNNEL_WIRE_TUNNEL_HPP
#define RUNNEL_WIRE_TUNNEL_HPP

#include <cstdint>  // uint8_t, uint16_t

#include <runnel/base/bytes.hpp>
#include <runnel/base/endian.hpp>
#include <runnel/packet/drop_reason.hpp>
#include <runnel/packet/layers.hpp>
#include <runnel/wire/dissect.hpp>
#include <runnel/wire/ethernet.hpp>
#include <runnel/wire/field.hpp>
#include <runnel/wire/gre.hpp>
#include <runnel/wire/header_map.hpp>
#include <runnel/wire/ipv4.hpp>
#include <runnel/wire/ipv6.hpp>
#include <runnel/wire/ipv6_extension.hpp>
#include <runnel/wire/vxlan.hpp>

namespace runnel {
namespace detail {

[[nodiscard]] constexpr header_map no_packet(drop_reason why = drop_reason::none) noexcept {
  return {bytes{}, 0, {.protocols = static_cast<std::uint16_t>(link_type::unknown), .fault = why}};
}
// `type` is the EtherType of what is in `b`. IP has to be of the version that it says.
[[nodiscard]] constexpr header_map packet_of_type(std::uint16_t type, bytes b, bool cut) noexcept {
  const dissect_options options{.missing = cut ? 0xffffu : 0u};
  if (type == ethertype::bridging) return {b, 0, dissect(b, link_type::ethernet, options)};
  if (type != ethertype::ipv4 && type != ethertype::ipv6) return no_packet();
  if (!b.empty() && load_u8(b.data()) >> 4 != (type == ethertype::ipv4 ? 4u : 6u))
    return no_packet(drop_reason::ip_version);
  return {b, 0, dissect(b, link_type::raw_ip, options)};
}
[[nodiscard]] constexpr header_map ip_in_ip(std::uint8_t number, bytes b, bool cut) noexcept {
  if (number != ipv4_header::ip_protocol && number != ipv6_header::ip_protocol) return no_packet();
  return packet_of_type(number == ipv4_header::ip_protocol ? ethertype::ipv4 : ethertype::ipv6, b, cut);
}

}  // namespace detail

/// The headers of the packet inside. A view: valid as long as the bytes. Without any header when nothing is inside that
/// can be looked into, and when something is wrong with it, which `layers().fault` names; the whole chain is as
/// `dissect` checks it.
///
/// `cut`: the packet around is a fragment or was not captured whole, so that a length inside that goes on behind the
/// end is no fault. The IP headers around say so themselves.
[[nodiscard]] constexpr header_map inside(const vxlan& v, bool cut = false) noexcept {
  // Without the I flag it is not a frame of any virtual network (RFC 7348 §5).
  if ((v.flag_bits() & 0x08u) == 0) return detail::no_packet(drop_reason::vxlan_malformed);
  return detail::packet_of_type(ethertype::bridging, v.payload(), cut);
}
/// The same for what lies behind a GRE header.
[[nodiscard]] constexpr header_map inside(const gre& v, bool cut = false) noexcept {
  return detail::packet_of_type(v.protocol_type(), v.payload(), cut);
}
/// IP in IPv4: protocol 4 or 41, in a datagram or its first fragment.
[[nodiscard]] constexpr header_map inside(const ipv4& v) noexcept {
  if (v.fragment_offset() != 0) return detail::no_packet();
  const bool cut = v.is_fragment() || v.total_length() > v.header_size() + v.payload().size();
  return detail::ip_in_ip(v.protocol_number(), v.payload(), cut);
}
/// IP in IPv6, behind its extension headers.
[[nodiscard]] constexpr header_map inside(const ipv6& v) noexcept {
  ipv6_extensions e(v);
  while (e) e.next();
  if (!e.has_upper_layer()) return detail::no_packet(e.malformed() ? drop_reason::ipv6_extension : drop_reason::none);
  return detail::ip_in_ip(e.protocol(), e.rest(), e.is_fragment() || v.payload_length() > v.payload().size());
}

/// IP in IP, as match expressions name it: `ipip::inner(tcp::dport)`, in IPv4 or IPv6. nft has no word for it.
struct ipip {
  /// A field of the packet inside: `ipip::inner(ip::saddr)`.
  template <class Field>
  [[nodiscard]] static constexpr match::inner_field<match::tunnel::ipip, Field> inner(const Field& f) noexcept {
    return match::inner_field<match::tunnel::ipip, Field>{f};
  }
};

}  // namespace runnel

#endif
