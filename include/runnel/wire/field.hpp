// SPDX-License-Identifier: MIT
// A header field as a value: where it lies, how wide it is, what nft calls it. Views declare their fields with
// it, match expressions compare them, and what can be read from a packet is thereby said once.
#ifndef RUNNEL_WIRE_FIELD_HPP
#define RUNNEL_WIRE_FIELD_HPP

#include <cstdint>  // uint16_t

namespace runnel {

/// The header that a field belongs to: how its first byte is found in a dissected packet.
enum class header : std::uint8_t {
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
  vxlan,  ///< behind a UDP header to port 4789
};

namespace match {

/// Base of everything that may stand left of a comparison in a match expression, `Self` being the type itself. The
/// operators are found through it; they, and what `in` needs, come with <runnel/match.hpp>.
template <class Self>
struct operand {
  static constexpr bool is_match_operand = true;

  /// Whether the value is in a set, a `range(first, last)` or a prefix: `ip::saddr.in(net("10.0.0.0/8"))`.
  template <class... What>
  [[nodiscard]] constexpr auto in(What&&... what) const noexcept {
    return match_in<true>(static_cast<const Self&>(*this), static_cast<What&&>(what)...);
  }
  /// Whether there is a value that is not in it. Where the header is missing, both `in` and `not_in` are false.
  template <class... What>
  [[nodiscard]] constexpr auto not_in(What&&... what) const noexcept {
    return match_in<false>(static_cast<const Self&>(*this), static_cast<What&&>(what)...);
  }
};

}  // namespace match

/// `Bits` bits at bit `Offset` of header `Header`, most significant first (RFC numbering: bit 0 is the highest
/// of byte 0), read as a `Value` in host order. A field of at most 64 bits lies within 8 bytes; addresses are
/// whole bytes. Costs nothing: an empty-ish constant that only carries its name.
template <header Header, unsigned Offset, unsigned Bits, class Value>
struct field : match::operand<field<Header, Offset, Bits, Value>> {
  static constexpr header in_header = Header;
  static constexpr unsigned offset = Offset;  ///< in bits
  static constexpr unsigned bits = Bits;
  using value_type = Value;

  constexpr explicit field(const char* as_in_nft) noexcept : name(as_in_nft) {}

  const char* name;  ///< as nft spells it, header included: "ip saddr"
};

/// The writable form of a view: `mut<ipv4>` has setters. A stage that asks for one says that it writes to the
/// packet.
template <class View>
using mut = typename View::mutable_view;

}  // namespace runnel

#endif
