// SPDX-License-Identifier: MIT
// IPv6 header: a checked view over the packet's own bytes, the builder, the printer. RFC 8200, RFC 6437, RFC 2474.
// Jumbograms (RFC 2675: payload length 0 and a hop-by-hop header) are refused. Extension headers are walked by
// <runnel/wire/ipv6_extension.hpp>.
#ifndef RUNNEL_WIRE_IPV6_HPP
#define RUNNEL_WIRE_IPV6_HPP

#include <cstddef>      // byte, size_t
#include <cstdint>      // uint8_t, uint16_t, uint32_t
#include <type_traits>  // is_const_v

#include <runnel/base/bytes.hpp>
#include <runnel/base/endian.hpp>
#include <runnel/base/result.hpp>
#include <runnel/base/text.hpp>
#include <runnel/packet/drop_reason.hpp>
#include <runnel/packet/layers.hpp>
#include <runnel/wire/address.hpp>
#include <runnel/wire/build.hpp>
#include <runnel/wire/checksum.hpp>
#include <runnel/wire/field.hpp>
#include <runnel/wire/option_fields.hpp>

namespace runnel {

/// A view of an IPv6 header and what it carries. `ipv6` reads, `mut<ipv6>` also writes. Does not own: valid as long as
/// the bytes. No accessor reads outside the bytes that it was made over, even when they change after `parse`.
template <class Byte>
class basic_ipv6 {
 public:
  /// What the library asks of a header view; see `header_view`. @{
  using mutable_view = basic_ipv6<std::byte>;
  static constexpr header in_header = header::ipv6;
  static constexpr std::size_t min_size = 40;
  /// @}

  /// Extension headers for match expressions: `has<ip6::exthdr::hbh>`, `ip6::exthdr::rt::type`.
  using exthdr = ipv6_exthdr_fields<>;

  /// A field, for match expressions. @{
  static constexpr field<header::ipv6, 0, 4, std::uint8_t> version{"ip6 version"};
  static constexpr field<header::ipv6, 4, 6, std::uint8_t> dscp{"ip6 dscp"};
  static constexpr field<header::ipv6, 10, 2, std::uint8_t> ecn{"ip6 ecn"};
  static constexpr field<header::ipv6, 12, 20, std::uint32_t> flowlabel{"ip6 flowlabel"};
  static constexpr field<header::ipv6, 32, 16, std::uint16_t> length{"ip6 length"};
  static constexpr field<header::ipv6, 48, 8, std::uint8_t> nexthdr{"ip6 nexthdr"};
  static constexpr field<header::ipv6, 56, 8, std::uint8_t> hoplimit{"ip6 hoplimit"};
  static constexpr field<header::ipv6, 64, 128, ipv6_address> saddr{"ip6 saddr"};
  static constexpr field<header::ipv6, 192, 128, ipv6_address> daddr{"ip6 daddr"};
  /// @}

  /// Checks version and payload length against `b`, which begins at the header and may run on behind the datagram
  /// (Ethernet padding). The view then ends where the payload length says. A payload length of 0 is an empty payload;
  /// with a hop-by-hop header announced it would be a jumbogram, which is refused (`ip_total_length`).
  [[nodiscard]] static constexpr result<basic_ipv6, drop_reason> parse(byte_window<Byte> b) noexcept {
    if (b.size() < min_size) return drop_reason::ip_too_short;
    const std::byte* p = b.data();
    if (load_u8(p) >> 4 != 6) return drop_reason::ip_version;
    const std::size_t payload_length = load_be16(p + 4);
    if (payload_length > b.size() - min_size) return drop_reason::ip_total_length;
    if (payload_length == 0 && load_u8(p + 6) == 0) return drop_reason::ip_total_length;
    return basic_ipv6{b.data(), min_size + payload_length};
  }
  /// A view over bytes that were checked before: at least `min_size` of them. Checks nothing.
  [[nodiscard]] static constexpr basic_ipv6 unchecked(byte_window<Byte> b) noexcept { return {b.data(), b.size()}; }

  /// A view that may write can be read through as well.
  constexpr operator basic_ipv6<const std::byte>() const noexcept
    requires(!std::is_const_v<Byte>)
  {
    return basic_ipv6<const Byte>::unchecked({p_, n_});
  }

  /// Length of the fixed header, 40 bytes: extension headers belong to the payload.
  [[nodiscard]] static constexpr std::size_t header_size() noexcept { return min_size; }
  /// Differentiated services code point, 6 bits (RFC 2474).
  [[nodiscard]] constexpr std::uint8_t codepoint() const noexcept {
    return static_cast<std::uint8_t>(load_be16(p_) >> 6 & 63u);
  }
  /// Explicit congestion notification, 2 bits (RFC 3168).
  [[nodiscard]] constexpr std::uint8_t ecn_bits() const noexcept { return load_u8(p_ + 1) >> 4 & 3u; }
  /// 20 bits; 0 when the source labels no flows (RFC 6437 §2).
  [[nodiscard]] constexpr std::uint32_t flow_label() const noexcept { return load_be32(p_) & 0xf'ffffu; }
  /// Bytes behind the fixed header, extension headers included, as the header says.
  [[nodiscard]] constexpr std::uint16_t payload_length() const noexcept { return load_be16(p_ + 4); }
  /// What comes first behind the fixed header: an extension header or a transport, an IANA protocol number.
  [[nodiscard]] constexpr std::uint8_t next_header() const noexcept { return load_u8(p_ + 6); }
  /// The field of the header, in host byte order. @{
  [[nodiscard]] constexpr std::uint8_t hop_limit() const noexcept { return load_u8(p_ + 7); }
  [[nodiscard]] constexpr ipv6_address source() const noexcept { return ipv6_address::load(p_ + 8); }
  [[nodiscard]] constexpr ipv6_address destination() const noexcept { return ipv6_address::load(p_ + 24); }
  /// @}
  /// What follows the fixed header, extension headers first, without padding of the link.
  [[nodiscard]] constexpr byte_window<Byte> payload() const noexcept {
    return byte_window<Byte>{p_, n_}.from(min_size);
  }
  /// Sum over the pseudo-header without next header and length: what TCP, UDP and ICMPv6 checksums begin with (§8.1).
  /// Behind a routing header with segments left the final destination counts instead, which this does not know.
  [[nodiscard]] constexpr std::uint32_t pseudo_header_sum() const noexcept {
    return static_cast<std::uint32_t>(add_checksum(bytes{p_ + 8, 32}));
  }

  // Setters. IPv6 has no header checksum; where addresses change, a transport checksum is the caller's to update.
  /// Writes the field. @{
  constexpr void codepoint(std::uint8_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_be16(p_, static_cast<std::uint16_t>((load_be16(p_) & 0xf03fu) | (v & 63u) << 6));
  }
  constexpr void ecn_bits(std::uint8_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_u8(p_ + 1, static_cast<std::uint8_t>((load_u8(p_ + 1) & 0xcfu) | (v & 3u) << 4));
  }
  constexpr void flow_label(std::uint32_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_be32(p_, (load_be32(p_) & 0xfff0'0000u) | (v & 0xf'ffffu));
  }
  constexpr void payload_length(std::uint16_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_be16(p_ + 4, v);
  }
  constexpr void next_header(std::uint8_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_u8(p_ + 6, v);
  }
  constexpr void hop_limit(std::uint8_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_u8(p_ + 7, v);
  }
  constexpr void source(const ipv6_address& a) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    a.store(p_ + 8);
  }
  constexpr void destination(const ipv6_address& a) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    a.store(p_ + 24);
  }
  /// @}

 private:
  constexpr basic_ipv6(Byte* p, std::size_t n) noexcept : p_(p), n_(n) {}

  Byte* p_;
  std::size_t n_;
};

/// The view to read; `mut<>` of it also writes.
using ipv6 = basic_ipv6<const std::byte>;
/// The name under which match expressions read best: `ip6::saddr == ...`, as in nft.
using ip6 = ipv6;

/// An IPv6 header to be written. Payload length comes from what is inside, and so does `next_header`; set that one
/// when the payload is not a header that this library writes.
struct ipv6_header {
  static constexpr std::uint16_t ethertype = 0x86dd;  ///< what a link header says of this one
  static constexpr std::uint8_t ip_protocol = 41;     ///< what an IP header around this one says (RFC 2473, RFC 4213)

  /// A field of the header, in host byte order. @{
  ipv6_address source{};
  ipv6_address destination{};
  std::uint8_t hop_limit = 64;
  std::uint8_t dscp = 0;
  std::uint8_t ecn = 0;
  std::uint32_t flow_label = 0;
  /// @}
  std::uint8_t next_header = 0;  ///< 0: that of the header inside, or 59 when there is none

  /// What `build` asks of a header; see `header_value`.
  [[nodiscard]] static constexpr std::size_t size() noexcept { return 40; }
  /// Unfolded sum over the addresses, for the checksum of a transport inside.
  [[nodiscard]] constexpr std::uint32_t pseudo_header_sum() const noexcept {
    return sum(source.high()) + sum(source.low()) + sum(destination.high()) + sum(destination.low());
  }
  /// What `build` asks of a header; see `header_value`.
  constexpr void write(mutable_bytes whole, const neighbours_of_header& around) const noexcept {
    RUNNEL_ASSERT(whole.size() - size() <= 65535);
    std::byte* p = whole.data();
    store_be32(p, 6u << 28 | (dscp & 63u) << 22 | (ecn & 3u) << 20 | (flow_label & 0xf'ffffu));
    store_be16(p + 4, static_cast<std::uint16_t>(whole.size() - size()));
    store_u8(p + 6, next_header != 0 ? next_header : around.ip_protocol);
    store_u8(p + 7, hop_limit);
    source.store(p + 8);
    destination.store(p + 24);
  }

 private:
  [[nodiscard]] static constexpr std::uint32_t sum(std::uint64_t half) noexcept {
    return static_cast<std::uint32_t>((half >> 48) + (half >> 32 & 0xffff) + (half >> 16 & 0xffff) + (half & 0xffff));
  }
};

/// One line in tcpdump's manner: `fe80::1 > ff02::1: hlim 64, next 58, length 24`, with what is unusual (code point,
/// ECN, flow label) named.
template <class Byte>
constexpr void print(text_writer& out, const basic_ipv6<Byte>& v) noexcept {
  print(out, v.source());
  out << " > ";
  print(out, v.destination());
  out << ": hlim " << v.hop_limit();
  if (v.codepoint() != 0) out << ", dscp " << v.codepoint();
  if (v.ecn_bits() != 0) out << ", ecn " << v.ecn_bits();
  if (v.flow_label() != 0) (out << ", flowlabel 0x").hex(v.flow_label(), 5);
  out << ", next " << v.next_header() << ", length " << v.payload_length();
}

}  // namespace runnel

#endif
