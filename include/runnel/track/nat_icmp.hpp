// SPDX-License-Identifier: MIT
// Translates ICMP errors about translated connections: the packet that they quote, and their own address. RFC 5508 §4,
// the kernel's nf_nat_icmp_reply_translation(). Nothing here is for users.
//
// The quoted packet goes the other way than the error: where the error's destination becomes that inside, the quoted
// source does. Its IPv4 header has to have a right checksum, its transport checksum is only carried on, as far as it is
// there (RFC 5508 REQ-3). The error's own checksum has to be right, and is computed anew; so everything of it has to be
// there, in one piece. Redirects about translated connections are refused: they would name a gateway that is not for
// the one that they come to.
#ifndef RUNNEL_TRACK_NAT_ICMP_HPP
#define RUNNEL_TRACK_NAT_ICMP_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint16_t, uint64_t

#include <runnel/base/bytes.hpp>
#include <runnel/base/endian.hpp>
#include <runnel/track/connection_tuple.hpp>
#include <runnel/track/nat_rewrite.hpp>
#include <runnel/wire/checksum.hpp>

namespace runnel::detail {

// Finds the headers of a packet of which only the beginning is there. False when something in front of the transport
// header is cut off or wrong, or when it is a later fragment.
[[nodiscard]] inline bool quoted_headers(mutable_bytes b, nat_headers& to) noexcept {
  if (b.size() < 20) return false;
  std::byte* const p = b.data();
  to.network = p;
  to.is_ipv6 = load_u8(p) >> 4 == 6;
  std::size_t at = (load_u8(p) & 15u) * std::size_t{4};
  if (!to.is_ipv6) {
    if (load_u8(p) >> 4 != 4 || at < 20 || at > b.size() || (load_be16(p + 6) & 0x1fffu) != 0) return false;
    if (fold_checksum(add_checksum({p, at})) != 0xffff) return false;
    to.protocol = load_u8(p + 9);
  } else {
    at = 40;
    if (b.size() < at) return false;
    to.protocol = load_u8(p + 6);
    while (to.protocol == 0 || to.protocol == 43 || to.protocol == 44 || to.protocol == 51 || to.protocol == 60) {
      if (at + 8 > b.size()) return false;
      if (to.protocol == 44 && (load_be16(p + at + 2) & 0xfff8u) != 0) return false;
      const std::size_t said = load_u8(p + at + 1);
      const std::size_t size = to.protocol == 44 ? 8 : to.protocol == 51 ? (said + 2) * 4 : (said + 1) * 8;
      to.protocol = load_u8(p + at);
      at += size;
    }
    if (at > b.size()) return false;
  }
  to.transport = p + at;
  to.held = b.size() - at;
  return true;
}

[[nodiscard]] inline std::uint64_t icmp_pseudo_header(const nat_headers& outer, std::size_t size) noexcept {
  return outer.is_ipv6 ? add_checksum({outer.network + 8, 32}) + size + 58 : 0;
}

// Translates an error whose headers are `outer`, with `message` bytes from its ICMP header on, as its IP header says.
// It goes to, or comes from, the connection's side `source` where `other` is what packets of the opposite direction
// look like when they come. False, and nothing changed, when it cannot be translated.
[[nodiscard]] inline bool rewrite_error(const nat_headers& outer, std::size_t message, const connection_tuple& other,
                                        bool source) noexcept {
  if (message < 8 || outer.transport == nullptr || message > outer.held) return false;
  const bool v6 = outer.is_ipv6;
  if (!v6 && load_u8(outer.transport) == 5) return false;  // a redirect
  const bytes whole{outer.transport, message};
  if (!outer.partial && fold_checksum(add_checksum(whole, icmp_pseudo_header(outer, message))) != 0xffff) return false;
  nat_headers inner;
  if (!quoted_headers({outer.transport + 8, message - 8}, inner) || inner.is_ipv6 != v6) return false;

  rewrite_headers(inner, other, !source);
  nat_headers address_only = outer;
  address_only.transport = nullptr;
  rewrite_headers(address_only, other.inverted(), source);
  std::byte* const field = outer.transport + 2;
  store_be16(field, 0);
  const std::uint64_t pseudo = icmp_pseudo_header(outer, message);
  if (outer.partial) store_be16(field, fold_checksum(pseudo));
  else store_be16(field, checksum(whole, pseudo));
  return true;
}

}  // namespace runnel::detail

#endif
