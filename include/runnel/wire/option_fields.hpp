// SPDX-License-Identifier: MIT
// What may or may not stand in a packet, as match expressions name it: options of IPv4, TCP and neighbour discovery,
// IPv6 extension headers, the words behind a GRE header. Users reach these names through the views: `tcp::option`.
//
// Each is a header of its own: `has<tcp::option::sack_perm>` asks whether it is there, and its fields are false in
// every comparison when it is not, or is too short for them. Of several the first one counts. What stands behind an
// option of an impossible length is not there. Everything is a template so that a field costs a compiler nothing before
// it is used.
#ifndef RUNNEL_WIRE_OPTION_FIELDS_HPP
#define RUNNEL_WIRE_OPTION_FIELDS_HPP

#include <cstdint>  // uint8_t, uint16_t, uint32_t

#include <runnel/wire/address.hpp>
#include <runnel/wire/field.hpp>

namespace runnel {

/// `ip::option`: RFC 791 §3.1, RFC 2113. nft knows those with a name.
template <header_family Family = header_family::ipv4_option>
struct ipv4_option_fields {
  /// Any option, by its type octet. The end of the list, 0, is never found.
  template <std::uint8_t Type>
  struct number {
    /// What the library asks of a header view; see `header_view`.
    static constexpr header in_header = header_in(Family, Type);
    static constexpr field<in_header, 8, 8, std::uint8_t> length{"length"};  ///< bytes, type and length included
  };
  /// A list of addresses; `addr` is its first one.
  template <std::uint8_t Type>
  struct route : number<Type> {
    /// A field, for match expressions. @{
    static constexpr field<header_in(Family, Type), 16, 8, std::uint8_t> ptr{"ptr"};
    static constexpr field<header_in(Family, Type), 24, 32, ipv4_address> addr{"addr"};
    /// @}
  };
  using rr = route<7>;      ///< record route
  using lsrr = route<131>;  ///< loose source and record route
  using ssrr = route<137>;  ///< strict source and record route
  /// Router alert.
  struct ra : number<148> {
    /// A field, for match expressions.
    static constexpr field<header_in(Family, 148), 16, 16, std::uint16_t> value{"value"};
  };
};

/// `tcp::option`: RFC 9293 §3.2 and those that `tcp_option` cites.
template <header_family Family = header_family::tcp_option>
struct tcp_option_fields {
  /// Any option, by its kind octet. The end of the list, 0, is never found.
  template <std::uint8_t Kind>
  struct number {
    /// What the library asks of a header view; see `header_view`.
    static constexpr header in_header = header_in(Family, Kind);
    static constexpr field<in_header, 8, 8, std::uint8_t> length{"length"};  ///< bytes, kind and length included
  };
  /// Maximum segment size.
  struct maxseg : number<2> {
    /// A field, for match expressions.
    static constexpr field<header_in(Family, 2), 16, 16, std::uint16_t> size{"size"};
  };
  /// Window scale; `count` is the shift.
  struct window : number<3> {
    /// A field, for match expressions.
    static constexpr field<header_in(Family, 3), 16, 8, std::uint8_t> count{"count"};
  };
  /// The option without a value.
  using sack_perm = number<4>;
  /// Selective acknowledgment; these are of its first block.
  struct sack : number<5> {
    /// A field, for match expressions. @{
    static constexpr field<header_in(Family, 5), 16, 32, std::uint32_t> left{"left"};
    static constexpr field<header_in(Family, 5), 48, 32, std::uint32_t> right{"right"};
    /// @}
  };
  /// Timestamps.
  struct timestamp : number<8> {
    /// A field, for match expressions. @{
    static constexpr field<header_in(Family, 8), 16, 32, std::uint32_t> tsval{"tsval"};
    static constexpr field<header_in(Family, 8), 48, 32, std::uint32_t> tsecr{"tsecr"};
    /// @}
  };
  /// The option without a value.
  using md5sig = number<19>;
  /// Multipath TCP.
  struct mptcp : number<30> {
    /// A field, for match expressions.
    static constexpr field<header_in(Family, 30), 16, 4, std::uint8_t> subtype{"subtype"};
  };
  /// The option without a value.
  using fastopen = number<34>;
};

/// `ip6::exthdr`: RFC 8200 §4, RFC 6275 §6.1. The fragment header is a view, `ipv6_fragment`.
template <header_family Family = header_family::ipv6_extension>
struct ipv6_exthdr_fields {
  /// Any extension header, by the number that announces it. `hdrlength` counts 8 bytes each behind the first 8.
  template <std::uint8_t Number>
  struct number {
    /// What the library asks of a header view; see `header_view`.
    static constexpr header in_header = header_in(Family, Number);
    /// The number that announces what follows.
    static constexpr field<in_header, 0, 8, std::uint8_t> nexthdr{"nexthdr"};
    /// The length, in units of 8 bytes behind the first 8.
    static constexpr field<in_header, 8, 8, std::uint8_t> hdrlength{"hdrlength"};
  };
  using hbh = number<0>;   ///< hop-by-hop options
  using dst = number<60>;  ///< destination options
  /// Routing.
  struct rt : number<43> {
    /// A field, for match expressions. @{
    static constexpr field<header_in(Family, 43), 16, 8, std::uint8_t> type{"type"};
    static constexpr field<header_in(Family, 43), 24, 8, std::uint8_t> seg_left{"seg-left"};
    /// @}
  };
  /// Mobility. Nothing is behind it: for `meta::l4proto` it is the transport.
  struct mh : number<135> {
    /// A field, for match expressions. @{
    static constexpr field<header_in(Family, 135), 16, 8, std::uint8_t> type{"type"};
    static constexpr field<header_in(Family, 135), 32, 16, std::uint16_t> checksum{"checksum"};
    /// @}
  };
};

/// `icmpv6::ra`: router advertisements, RFC 4861 §4.2. nft has no words for these fields, nor for those below.
template <header In = header_in(header_family::icmpv6_message, 134)>
struct router_advertisement_fields {
  /// What the library asks of a header view; see `header_view`.
  static constexpr header in_header = In;
  /// A field, for match expressions. @{
  static constexpr field<In, 32, 8, std::uint8_t> cur_hop_limit{"icmpv6 ra cur-hop-limit"};
  static constexpr field<In, 40, 1, std::uint8_t> managed{"icmpv6 ra managed"};
  static constexpr field<In, 41, 1, std::uint8_t> other{"icmpv6 ra other"};
  /// @}
  static constexpr field<In, 48, 16, std::uint16_t> router_lifetime{"icmpv6 ra router-lifetime"};  ///< seconds
  static constexpr field<In, 64, 32, std::uint32_t> reachable_time{"icmpv6 ra reachable-time"};    ///< milliseconds
  static constexpr field<In, 96, 32, std::uint32_t> retrans_timer{"icmpv6 ra retrans-timer"};      ///< milliseconds
};
/// `icmpv6::na`: the flags of neighbour advertisements, RFC 4861 §4.4. Their target is `icmpv6::taddr`.
template <header In = header_in(header_family::icmpv6_message, 136)>
struct neighbour_advertisement_fields {
  /// What the library asks of a header view; see `header_view`.
  static constexpr header in_header = In;
  /// A field, for match expressions. @{
  static constexpr field<In, 32, 1, std::uint8_t> router{"icmpv6 na router"};
  static constexpr field<In, 33, 1, std::uint8_t> solicited{"icmpv6 na solicited"};
  static constexpr field<In, 34, 1, std::uint8_t> overrides{"icmpv6 na override"};
  /// @}
};
/// `icmpv6::option`: options of neighbour discovery messages, RFC 4861 §4.6, RFC 4191 §2.3, RFC 8106 §5.1.
template <header_family Family = header_family::nd_option>
struct nd_option_fields {
  /// Any option, by its type octet.
  template <std::uint8_t Type>
  struct number {
    /// What the library asks of a header view; see `header_view`.
    static constexpr header in_header = header_in(Family, Type);
    static constexpr field<in_header, 8, 8, std::uint8_t> length{"length"};  ///< in units of 8 bytes
  };
  /// A link-layer address.
  template <std::uint8_t Type>
  struct link_address : number<Type> {
    /// A field, for match expressions.
    static constexpr field<header_in(Family, Type), 16, 48, mac_address> address{"address"};
  };
  using slla = link_address<1>;  ///< source link-layer address, of 48 bits
  using tlla = link_address<2>;  ///< target link-layer address, of 48 bits
  /// Prefix information; lifetimes in seconds.
  struct prefix : number<3> {
    /// A field, for match expressions. @{
    static constexpr field<header_in(Family, 3), 16, 8, std::uint8_t> prefix_length{"prefix-length"};
    static constexpr field<header_in(Family, 3), 24, 1, std::uint8_t> on_link{"on-link"};
    static constexpr field<header_in(Family, 3), 25, 1, std::uint8_t> autonomous{"autonomous"};
    static constexpr field<header_in(Family, 3), 32, 32, std::uint32_t> valid_lifetime{"valid-lifetime"};
    static constexpr field<header_in(Family, 3), 64, 32, std::uint32_t> preferred_lifetime{"preferred-lifetime"};
    static constexpr field<header_in(Family, 3), 128, 128, ipv6_address> address{"address"};
    /// @}
  };
  /// The MTU of the link.
  struct mtu : number<5> {
    /// A field, for match expressions.
    static constexpr field<header_in(Family, 5), 32, 32, std::uint32_t> value{"value"};
  };
  /// Route information; its prefix has no fixed length.
  struct route : number<24> {
    /// A field, for match expressions. @{
    static constexpr field<header_in(Family, 24), 16, 8, std::uint8_t> prefix_length{"prefix-length"};
    static constexpr field<header_in(Family, 24), 32, 32, std::uint32_t> lifetime{"lifetime"};
    /// @}
  };
  /// Recursive DNS servers; `address` is the first one's.
  struct rdnss : number<25> {
    /// A field, for match expressions. @{
    static constexpr field<header_in(Family, 25), 32, 32, std::uint32_t> lifetime{"lifetime"};
    static constexpr field<header_in(Family, 25), 64, 128, ipv6_address> address{"address"};
    /// @}
  };
};

/// `gre::option`: the words that flags announce, RFC 2784 §2.1, RFC 2890 §2. nft has no words for them.
template <header_family Family = header_family::gre_word>
struct gre_option_fields {
  /// An optional word of the header.
  template <std::uint8_t Flag, class Value>
  struct word {
    /// What the library asks of a header view; see `header_view`.
    static constexpr header in_header = header_in(Family, Flag);
    /// A field, for match expressions.
    static constexpr field<in_header, 0, 8 * sizeof(Value), Value> value{"value"};
  };
  /// The optional words.
  using checksum = word<0x80, std::uint16_t>;
  /// What its values are compared as.
  using key = word<0x20, std::uint32_t>;
  /// A field of the header, in host byte order.
  using sequence = word<0x10, std::uint32_t>;
};

}  // namespace runnel

#endif
