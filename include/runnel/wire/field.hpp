// SPDX-License-Identifier: MIT
// A header field as a value: where it lies, how wide it is, what nft calls it. Views declare their fields with
// it, match expressions compare them, and what can be read from a packet is thereby said once.
#ifndef RUNNEL_WIRE_FIELD_HPP
#define RUNNEL_WIRE_FIELD_HPP

#include <cstdint>  // uint8_t, uint16_t

#include <runnel/config.hpp>

namespace runnel {

/// The header that a field belongs to: how its first byte is found in a dissected packet. What there are many of,
/// options and the like, is made by `header_in`.
enum class header : std::uint16_t {
  ethernet,  ///< the link header of an Ethernet frame
  vlan,      ///< the outermost VLAN tag
  cvlan,     ///< the second VLAN tag
  mpls,      ///< the topmost MPLS label stack entry
  arp,
  ipv4,
  ipv6,
  ipv6_fragment,  ///< the fragment extension header
  icmp,
  icmpv6,
  tcp,
  udp,
  th,  ///< TCP or UDP: what their headers share
  gre,
  vxlan,          ///< behind a UDP header to port 4789
  llc,            ///< behind an 802.3 length
  snap,           ///< an LLC header with a SNAP header behind it
  icmp_echo,      ///< an ICMP echo request or reply
  icmpv6_echo,    ///< an ICMPv6 echo request or reply
  icmpv6_target,  ///< an ICMPv6 message with an address: multicast listeners', neighbour solicitations and answers,
                  ///< redirects
};

/// Headers of which there is one for every number.
enum class header_family : std::uint8_t {
  single,          ///< all others: `header` names them
  ipv4_option,     ///< the first IPv4 option of this type
  tcp_option,      ///< the first TCP option of this kind
  ipv6_extension,  ///< the first extension header that is announced by this number; the mobility header, 135, as well
  icmp_message,    ///< an ICMP message of this type
  icmpv6_message,  ///< an ICMPv6 message of this type
  nd_option,       ///< the first option of this type in a neighbour discovery message
  gre_word,        ///< what this bit in the first octet of a GRE header says is there
};
/// The header that stands for number `number` of a family of options.
[[nodiscard]] constexpr header header_in(header_family f, std::uint8_t number) noexcept {
  return static_cast<header>(static_cast<unsigned>(f) << 8 | number);
}
/// The family of such a header.
[[nodiscard]] constexpr header_family family_of(header h) noexcept {
  return static_cast<header_family>(static_cast<unsigned>(h) >> 8);
}
/// The number of such a header in its family.
[[nodiscard]] constexpr std::uint8_t number_of(header h) noexcept { return static_cast<std::uint8_t>(h); }

namespace match {

/// Base of everything that may stand left of a comparison in a match expression, `Self` being the type itself. The
/// operators are found through it; they, and what `in` needs, come with <runnel/match.hpp>. `Members` are classes whose
/// members it has.
template <class Self, class... Members>
struct operand : Members... {
  /// What the library knows it by.
  static constexpr bool is_match_operand = true;

  /// Whether the value is in a set, a `range(first, last)` or a prefix: `ip::saddr.in(net("10.0.0.0/8"))`.
  template <class... What>
  [[nodiscard]] RUNNEL_INLINE constexpr auto in(What&&... what) const noexcept {
    return match_in<true>(static_cast<const Self&>(*this), static_cast<What&&>(what)...);
  }
  /// Whether there is a value that is not in it. Where the header is missing, both `in` and `not_in` are false.
  template <class... What>
  [[nodiscard]] RUNNEL_INLINE constexpr auto not_in(What&&... what) const noexcept {
    return match_in<false>(static_cast<const Self&>(*this), static_cast<What&&>(what)...);
  }
};

}  // namespace match

/// What a field is called.
struct field_name {
  /// As nft spells it, header included: "ip saddr". Of an option or extension header without what its number says:
  /// "size" for "tcp option maxseg size". A literal.
  const char* name;
};

/// `Bits` bits at bit `Offset` of header `Header`, most significant first (RFC numbering: bit 0 is the highest
/// of byte 0), read as a `Value` in host order. A field of at most 64 bits lies within 8 bytes; addresses are
/// whole bytes. Costs nothing: an empty-ish constant that only carries its name.
///
///     static constexpr field<header::ipv4, 64, 8, std::uint8_t> ttl{"ip ttl"};
// An aggregate without members of its own: who uses a view makes all of its fields, and a constructor would be compiled
// for each. With a single base and nothing else no compiler asks for more braces.
template <header Header, unsigned Offset, unsigned Bits, class Value>
struct field : match::operand<field<Header, Offset, Bits, Value>, field_name> {
  /// What the library asks of a header view; see `header_view`.
  static constexpr header in_header = Header;
  static constexpr unsigned offset = Offset;  ///< in bits
  /// How many bits it has.
  static constexpr unsigned bits = Bits;
  /// The type of its values.
  using value_type = Value;
};

namespace match {

/// What is around a packet inside a packet.
enum class tunnel : std::uint8_t {
  vxlan,   ///< an Ethernet frame behind a VXLAN header
  gre,     ///< IP behind a GRE header
  gretap,  ///< an Ethernet frame behind a GRE header
  ipip,    ///< IP behind an IP header
};

/// A field of the packet inside a tunnel, made by `vxlan::inner(ip::saddr)`.
template <tunnel Around, class Field>
struct inner_field : operand<inner_field<Around, Field>> {
  static_assert(
      requires { Field::in_header; },
      "runnel: inner(...) takes a header field: vxlan::inner(ip::saddr); a tunnel in a tunnel is not looked into");
  /// How many bits it has.
  static constexpr unsigned bits = Field::bits;
  /// The type of its values.
  using value_type = typename Field::value_type;

  /// Use `inner` of the tunnel.
  constexpr explicit inner_field(const Field& f) noexcept : inside(f) {}

  /// The field in the packet inside.
  [[no_unique_address]] Field inside;
};

}  // namespace match

/// The writable form of a view: `mut<ipv4>` has setters. A stage that asks for one says that it writes to the
/// packet.
template <class View>
using mut = typename View::mutable_view;

}  // namespace runnel

#endif
