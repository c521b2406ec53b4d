// SPDX-License-Identifier: MIT
// ICMPv6 messages: a checked view, the names of types and codes, the quoted datagram, the builder, the printer.
// RFC 4443, RFC 4884, RFC 7112. The bodies of neighbour discovery are in <runnel/wire/ndp.hpp>.
#ifndef RUNNEL_WIRE_ICMPV6_HPP
#define RUNNEL_WIRE_ICMPV6_HPP

#include <cstddef>      // byte, size_t
#include <cstdint>      // uint8_t, uint16_t, uint32_t
#include <type_traits>  // is_const_v

#include <runnel/base/bytes.hpp>
#include <runnel/base/endian.hpp>
#include <runnel/base/result.hpp>
#include <runnel/base/text.hpp>
#include <runnel/packet/drop_reason.hpp>
#include <runnel/packet/layers.hpp>
#include <runnel/wire/build.hpp>
#include <runnel/wire/checksum.hpp>
#include <runnel/wire/field.hpp>
#include <runnel/wire/option_fields.hpp>

namespace runnel {

/// Type and code of an ICMPv6 message. The known ones have names: `icmpv6::echo_request`, `icmpv6::unreachable::port`.
struct icmpv6_kind {
  /// The message's type.
  std::uint8_t type = 0;
  /// Its code, whose meaning is the type's.
  std::uint8_t code = 0;
  /// Equal when all their parts are.
  friend constexpr bool operator==(icmpv6_kind, icmpv6_kind) noexcept = default;
};

/// A view of an ICMPv6 message: header and what follows. `icmpv6` reads, `mut<icmpv6>` also writes. Does not own:
/// valid as long as the bytes. No accessor reads outside the bytes that it was made over, even when they change after
/// `parse`. Every accessor that touches the checksum needs the sum over the pseudo-header of the IPv6 header around.
template <class Byte>
class basic_icmpv6 {
 public:
  /// What the library asks of a header view; see `header_view`. @{
  using mutable_view = basic_icmpv6<std::byte>;
  static constexpr header in_header = header::icmpv6;
  static constexpr std::size_t min_size = 8;
  /// @}

  /// A message, by type and code as IANA lists them. @{
  static constexpr icmpv6_kind packet_too_big{2, 0};
  static constexpr icmpv6_kind echo_request{128, 0};
  static constexpr icmpv6_kind echo_reply{129, 0};
  /// @}
  static constexpr icmpv6_kind listener_query{130, 0};   ///< MLD, RFC 2710 and RFC 3810
  static constexpr icmpv6_kind listener_report{131, 0};  ///< MLDv1
  static constexpr icmpv6_kind listener_done{132, 0};    ///< MLDv1
  /// A message, by type and code as IANA lists them. @{
  static constexpr icmpv6_kind router_solicitation{133, 0};
  static constexpr icmpv6_kind router_advertisement{134, 0};
  static constexpr icmpv6_kind neighbour_solicitation{135, 0};
  static constexpr icmpv6_kind neighbour_advertisement{136, 0};
  static constexpr icmpv6_kind redirect{137, 0};
  /// @}
  static constexpr icmpv6_kind listener_report_v2{143, 0};  ///< MLDv2, RFC 3810 §5.2
  /// Destination unreachable, RFC 4443 §3.1.
  struct unreachable {
    /// The type of these messages.
    static constexpr std::uint8_t type = 1;
    /// A message, by type and code as IANA lists them.
    static constexpr icmpv6_kind no_route{1, 0};
    static constexpr icmpv6_kind prohibited{1, 1};    ///< a filter says no
    static constexpr icmpv6_kind beyond_scope{1, 2};  ///< of the source address
    static constexpr icmpv6_kind address{1, 3};       ///< the last hop does not answer
    static constexpr icmpv6_kind port{1, 4};          ///< nobody listens
    static constexpr icmpv6_kind policy{1, 5};        ///< the source address failed a policy
    /// A message, by type and code as IANA lists them.
    static constexpr icmpv6_kind reject_route{1, 6};
  };
  /// RFC 4443 §3.3.
  struct time_exceeded {
    /// The type of these messages.
    static constexpr std::uint8_t type = 3;
    /// A message, by type and code as IANA lists them. @{
    static constexpr icmpv6_kind hop_limit{3, 0};
    static constexpr icmpv6_kind reassembly{3, 1};
    /// @}
  };
  /// RFC 4443 §3.4.
  struct parameter_problem {
    /// The type of these messages.
    static constexpr std::uint8_t type = 4;
    /// A message, by type and code as IANA lists them.
    static constexpr icmpv6_kind header_field{4, 0};
    static constexpr icmpv6_kind next_header{4, 1};     ///< unrecognised
    static constexpr icmpv6_kind option{4, 2};          ///< unrecognised
    static constexpr icmpv6_kind first_fragment{4, 3};  ///< lacks a part of the header chain (RFC 7112 §5)
  };

  /// Neighbour discovery for match expressions: `icmpv6::ra::router_lifetime`, `icmpv6::option::slla::address`.
  using ra = router_advertisement_fields<>;
  /// Fields of this message, in match expressions.
  using na = neighbour_advertisement_fields<>;
  /// Options of neighbour discovery, in match expressions.
  using option = nd_option_fields<>;

  /// A field, for match expressions. @{
  static constexpr field<header::icmpv6, 0, 8, std::uint8_t> type{"icmpv6 type"};
  static constexpr field<header::icmpv6, 8, 8, std::uint8_t> code{"icmpv6 code"};
  static constexpr field<header::icmpv6, 16, 16, std::uint16_t> checksum{"icmpv6 checksum"};
  /// @}
  // These are false in every comparison with a message of another type.
  /// Of "packet too big".
  static constexpr field<header_in(header_family::icmpv6_message, 2), 32, 32, std::uint32_t> mtu{"icmpv6 mtu"};
  /// Of a parameter problem: which octet is wrong.
  static constexpr field<header_in(header_family::icmpv6_message, 4), 32, 32, std::uint32_t> param_problem{
      "icmpv6 param-problem"};
  /// A field, for match expressions. @{
  static constexpr field<header::icmpv6_echo, 32, 16, std::uint16_t> id{"icmpv6 id"};
  static constexpr field<header::icmpv6_echo, 48, 16, std::uint16_t> sequence{"icmpv6 sequence"};
  /// @}
  /// Of a multicast listener query: milliseconds.
  static constexpr field<header_in(header_family::icmpv6_message, 130), 32, 16, std::uint16_t> max_delay{
      "icmpv6 max-delay"};
  /// Whom a neighbour solicitation, its answer or a redirect is about, or which group a listener's message.
  static constexpr field<header::icmpv6_target, 64, 128, ipv6_address> taddr{"icmpv6 taddr"};
  /// Which destination a redirect is about.
  static constexpr field<header_in(header_family::icmpv6_message, 137), 192, 128, ipv6_address> daddr{"icmpv6 daddr"};

  /// Checks that the header is there; `b` is what follows the last extension header. The checksum is not looked at.
  /// Every message defined so far has at least these eight bytes.
  [[nodiscard]] static constexpr result<basic_icmpv6, drop_reason> parse(byte_window<Byte> b) noexcept {
    if (b.size() < min_size) return drop_reason::icmp_too_short;
    return basic_icmpv6{b.data(), b.size()};
  }
  /// A view over bytes that were checked before: at least `min_size` of them. Checks nothing.
  [[nodiscard]] static constexpr basic_icmpv6 unchecked(byte_window<Byte> b) noexcept { return {b.data(), b.size()}; }

  /// A view that may write can be read through as well.
  constexpr operator basic_icmpv6<const std::byte>() const noexcept
    requires(!std::is_const_v<Byte>)
  {
    return basic_icmpv6<const Byte>::unchecked({p_, n_});
  }

  /// What `build` asks of a header; see `header_value`.
  [[nodiscard]] static constexpr std::size_t header_size() noexcept { return min_size; }
  /// The field of the header, in host byte order. @{
  [[nodiscard]] constexpr std::uint8_t message_type() const noexcept { return load_u8(p_); }
  [[nodiscard]] constexpr std::uint8_t message_code() const noexcept { return load_u8(p_ + 1); }
  /// @}
  /// Type and code together: `if (message.kind() == icmpv6::packet_too_big)`.
  [[nodiscard]] constexpr icmpv6_kind kind() const noexcept { return {message_type(), message_code()}; }
  /// The field of the header, in host byte order.
  [[nodiscard]] constexpr std::uint16_t message_checksum() const noexcept { return load_be16(p_ + 2); }
  /// Of an echo message; other types have something else there.
  [[nodiscard]] constexpr std::uint16_t identifier() const noexcept { return load_be16(p_ + 4); }
  /// The field of the header, in host byte order.
  [[nodiscard]] constexpr std::uint16_t sequence_number() const noexcept { return load_be16(p_ + 6); }
  /// Of "packet too big": bytes that the next link carries. Below 1280 it must not be believed (RFC 8201 §4).
  [[nodiscard]] constexpr std::uint32_t next_hop_mtu() const noexcept { return load_be32(p_ + 4); }
  /// Of a parameter problem: which octet of the quoted datagram is wrong; may lie beyond what is quoted.
  [[nodiscard]] constexpr std::uint32_t pointer() const noexcept { return load_be32(p_ + 4); }
  /// Whether it reports about another datagram, which it quotes: types below 128 (RFC 4443 §2.1).
  [[nodiscard]] constexpr bool is_error() const noexcept { return message_type() < 128; }
  /// Whether it asks or answers an echo.
  [[nodiscard]] constexpr bool is_query() const noexcept {
    return message_type() == echo_request.type || message_type() == echo_reply.type;
  }
  /// The whole message, header and all: what the views of ndp.hpp are parsed from.
  [[nodiscard]] constexpr byte_window<Byte> contents() const noexcept { return {p_, n_}; }
  /// What follows the eight bytes of header.
  [[nodiscard]] constexpr byte_window<Byte> payload() const noexcept {
    return byte_window<Byte>{p_, n_}.from(min_size);
  }
  /// The beginning of the datagram that an error is about, from its IPv6 header on; empty in other messages. Without
  /// the extensions behind it, where the length attribute tells where it ends (RFC 4884 §4.2). It is cut: parse it
  /// with lengths checked against what is there, not against what its header says.
  [[nodiscard]] constexpr byte_window<Byte> quoted() const noexcept {
    if (!is_error()) return {};
    const std::size_t said = quoted_length();
    return said == 0 ? payload() : payload().first(said);
  }
  /// The extension structure behind the quoted datagram (RFC 4884 §7), 4 bytes of header first; empty without one.
  [[nodiscard]] constexpr bytes extensions() const noexcept {
    const std::size_t said = quoted_length();
    return said < 128 ? bytes{} : bytes{payload()}.from(said);
  }
  /// Whether the checksum is right (RFC 4443 §2.3), `pseudo_header_sum` being that of the IPv6 header around. Reads
  /// the whole message.
  [[nodiscard]] constexpr bool checksum_ok(std::uint32_t pseudo_header_sum) const noexcept {
    return fold_checksum(add_checksum(bytes{p_, n_}, pseudo_header_sum + std::uint64_t{58} + n_)) == 0xffff;
  }

  // Setters. Each also updates the checksum (RFC 1624), unless it says otherwise.
  /// Writes the field and updates the checksum (RFC 1624). @{
  constexpr void kind(icmpv6_kind k) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    set16(0, static_cast<std::uint16_t>(k.type << 8 | k.code));
  }
  constexpr void identifier(std::uint16_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    set16(4, v);
  }
  constexpr void sequence_number(std::uint16_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    set16(6, v);
  }
  constexpr void next_hop_mtu(std::uint32_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    set16(4, static_cast<std::uint16_t>(v >> 16));
    set16(6, static_cast<std::uint16_t>(v));
  }
  /// @}
  /// Stores a checksum as given.
  constexpr void message_checksum(std::uint16_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_be16(p_ + 2, v);
  }
  /// Updates the checksum after addresses in the IPv6 header around changed: with its `pseudo_header_sum()` from
  /// before and from after.
  constexpr void update_checksum(std::uint32_t from, std::uint32_t to) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_be16(p_ + 2, update_checksum32(load_be16(p_ + 2), from, to));
  }
  /// Computes the checksum anew, `pseudo_header_sum` being that of the IPv6 header around. Reads the whole message.
  constexpr void update_checksum(std::uint32_t pseudo_header_sum) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_be16(p_ + 2, 0);
    store_be16(p_ + 2, runnel::checksum(bytes{p_, n_}, pseudo_header_sum + std::uint64_t{58} + n_));
  }

 private:
  constexpr basic_icmpv6(Byte* p, std::size_t n) noexcept : p_(p), n_(n) {}
  // RFC 4884 §4.2: in 64-bit words, at the types that may have extensions; 0 from everybody who knows nothing of it.
  [[nodiscard]] constexpr std::size_t quoted_length() const noexcept {
    const std::uint8_t t = message_type();
    if (t != unreachable::type && t != time_exceeded::type) return 0;
    return load_u8(p_ + 4) * std::size_t{8};
  }
  constexpr void set16(std::size_t at, std::uint16_t v) const noexcept {
    store_be16(p_ + 2, update_checksum16(load_be16(p_ + 2), load_be16(p_ + at), v));
    store_be16(p_ + at, v);
  }

  Byte* p_;
  std::size_t n_;
};

/// The view to read; `mut<>` of it also writes.
using icmpv6 = basic_icmpv6<const std::byte>;

/// An ICMPv6 message header to be written in front of its payload: `icmpv6_header{.kind = icmpv6::echo_request,
/// .identifier = 7}`. Of the fields below only those are written that a message of this kind has.
struct icmpv6_header {
  /// What `build` asks of a header; see `header_value`.
  static constexpr std::uint8_t ip_protocol = 58;

  /// Which message: type and code.
  icmpv6_kind kind = icmpv6::echo_request;
  std::uint16_t identifier = 0;       ///< echo messages
  std::uint16_t sequence_number = 0;  ///< echo messages
  std::uint32_t next_hop_mtu = 0;     ///< packet_too_big, bytes
  std::uint32_t pointer = 0;          ///< parameter problems

  /// What `build` asks of a header; see `header_value`. @{
  [[nodiscard]] static constexpr std::size_t size() noexcept { return 8; }
  constexpr void write(mutable_bytes whole, const neighbours_of_header& around) const noexcept {
    std::byte* p = whole.data();
    store_u8(p, kind.type);
    store_u8(p + 1, kind.code);
    store_be16(p + 2, 0);
    store_be32(p + 4, kind == icmpv6::packet_too_big                 ? next_hop_mtu
                      : kind.type == icmpv6::parameter_problem::type ? pointer
                      : kind.type == icmpv6::echo_request.type || kind.type == icmpv6::echo_reply.type
                          ? std::uint32_t{identifier} << 16 | sequence_number
                          : 0);
    store_be16(p + 2, checksum(whole, std::uint64_t{around.pseudo_header} + ip_protocol + whole.size()));
  }
  /// @}
};

/// The name of a kind in tcpdump's words, or null where it has none.
[[nodiscard]] constexpr const char* name(icmpv6_kind k) noexcept {
  constexpr const char* unreachable[] = {
      "unreachable route", "unreachable prohibited",       "beyond scope", "unreachable address",
      "unreachable port",  "source address failed policy", "reject route"};
  constexpr const char* informational[] = {"echo request",
                                           "echo reply",
                                           "multicast listener query",
                                           "multicast listener report",
                                           "multicast listener done",
                                           "router solicitation",
                                           "router advertisement",
                                           "neighbor solicitation",
                                           "neighbor advertisement",
                                           "redirect"};
  switch (k.type) {
    case 1: return k.code < sizeof unreachable / sizeof *unreachable ? unreachable[k.code] : "unreachable";
    case 2: return "packet too big";
    case 3: return k.code == 1 ? "time exceeded (reassembly)" : "time exceeded in-transit";
    case 4: return "parameter problem";
    case 143: return "multicast listener report v2";
    default: return k.type >= 128 && k.type <= 137 ? informational[k.type - 128] : nullptr;
  }
}

/// One line in tcpdump's manner: `ICMP6, echo request, id 7, seq 1, length 64`.
template <class Byte>
constexpr void print(text_writer& out, const basic_icmpv6<Byte>& v) noexcept {
  const icmpv6_kind kind = v.kind();
  out << "ICMP6, ";
  if (const char* known = name(kind)) out << known;
  else out << "type " << kind.type << ", code " << kind.code;
  if (v.is_query()) out << ", id " << v.identifier() << ", seq " << v.sequence_number();
  if (kind == icmpv6::packet_too_big) out << ", mtu " << v.next_hop_mtu();
  if (kind.type == icmpv6::parameter_problem::type) out << ", octet " << v.pointer();
  out << ", length " << std::uint64_t{v.payload().size() + 8};
}

}  // namespace runnel

#endif
