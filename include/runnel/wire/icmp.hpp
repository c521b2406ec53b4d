// SPDX-License-Identifier: MIT
// ICMP messages: a checked view, the names of types and codes, the quoted datagram, the builder, the printer.
// RFC 792, RFC 950, RFC 1191, RFC 1812, RFC 4884.
#ifndef RUNNEL_WIRE_ICMP_HPP
#define RUNNEL_WIRE_ICMP_HPP

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

namespace runnel {

/// Type and code of an ICMP message. The known ones have names: `icmp::echo_request`, `icmp::unreachable::port`.
struct icmp_kind {
  /// The message's type.
  std::uint8_t type = 0;
  /// Its code, whose meaning is the type's.
  std::uint8_t code = 0;
  /// Equal when all their parts are.
  friend constexpr bool operator==(icmp_kind, icmp_kind) noexcept = default;
};

/// A view of an ICMP message: header and what follows. `icmp` reads, `mut<icmp>` also writes. Does not own: valid as
/// long as the bytes. No accessor reads outside the bytes that it was made over, even when they change after `parse`.
template <class Byte>
class basic_icmp {
 public:
  /// What the library asks of a header view; see `header_view`. @{
  using mutable_view = basic_icmp<std::byte>;
  static constexpr header in_header = header::icmp;
  static constexpr std::size_t min_size = 8;
  /// @}

  /// A message, by type and code as IANA lists them.
  static constexpr icmp_kind echo_reply{0, 0};
  static constexpr icmp_kind source_quench{4, 0};  ///< to be ignored (RFC 6633)
  /// A message, by type and code as IANA lists them. @{
  static constexpr icmp_kind echo_request{8, 0};
  static constexpr icmp_kind router_advertisement{9, 0};
  static constexpr icmp_kind router_solicitation{10, 0};
  static constexpr icmp_kind timestamp_request{13, 0};
  static constexpr icmp_kind timestamp_reply{14, 0};
  /// @}
  /// Destination unreachable: RFC 792, RFC 1122 §3.2.2.1, RFC 1812 §5.2.7.1.
  struct unreachable {
    /// The type of these messages.
    static constexpr std::uint8_t type = 3;
    static constexpr icmp_kind network{3, 0};               ///< no route
    static constexpr icmp_kind host{3, 1};                  ///< routed, but the last hop does not answer
    static constexpr icmp_kind protocol{3, 2};              ///< nobody listens to this IP protocol
    static constexpr icmp_kind port{3, 3};                  ///< nobody listens on this UDP port
    static constexpr icmp_kind fragmentation_needed{3, 4};  ///< too big and DF set (RFC 1191)
    /// A message, by type and code as IANA lists them. @{
    static constexpr icmp_kind source_route_failed{3, 5};
    static constexpr icmp_kind network_unknown{3, 6};
    static constexpr icmp_kind host_unknown{3, 7};
    /// @}
    /// A message, by type and code as IANA lists them. @{
    static constexpr icmp_kind network_prohibited{3, 9};
    static constexpr icmp_kind host_prohibited{3, 10};
    /// @}
    static constexpr icmp_kind network_service{3, 11};  ///< not with this type of service
    static constexpr icmp_kind host_service{3, 12};     ///< not with this type of service
    static constexpr icmp_kind prohibited{3, 13};  ///< a filter says no ("communication administratively prohibited")
  };
  /// There is a better first hop: RFC 792, RFC 1812 §5.2.7.2.
  struct redirect {
    /// The type of these messages.
    static constexpr std::uint8_t type = 5;
    static constexpr icmp_kind network{5, 0};  ///< routers no longer send it
    /// A message, by type and code as IANA lists them. @{
    static constexpr icmp_kind host{5, 1};
    static constexpr icmp_kind network_service{5, 2};
    static constexpr icmp_kind host_service{5, 3};
    /// @}
  };
  /// What ran out.
  struct time_exceeded {
    /// The type of these messages.
    static constexpr std::uint8_t type = 11;
    static constexpr icmp_kind transit{11, 0};     ///< TTL ran out on the way
    static constexpr icmp_kind reassembly{11, 1};  ///< fragments did not all arrive in time
  };
  /// What is wrong with the header.
  struct parameter_problem {
    /// The type of these messages.
    static constexpr std::uint8_t type = 12;
    static constexpr icmp_kind pointer{12, 0};  ///< the octet pointed at is wrong
    /// A message, by type and code as IANA lists them. @{
    static constexpr icmp_kind option_missing{12, 1};
    static constexpr icmp_kind length{12, 2};
    /// @}
  };

  /// A field, for match expressions. @{
  static constexpr field<header::icmp, 0, 8, std::uint8_t> type{"icmp type"};
  static constexpr field<header::icmp, 8, 8, std::uint8_t> code{"icmp code"};
  static constexpr field<header::icmp, 16, 16, std::uint16_t> checksum{"icmp checksum"};
  /// @}
  // These are false in every comparison with a message of another type.
  /// A field, for match expressions. @{
  static constexpr field<header::icmp_echo, 32, 16, std::uint16_t> id{"icmp id"};
  static constexpr field<header::icmp_echo, 48, 16, std::uint16_t> sequence{"icmp sequence"};
  /// @}
  /// Of an unreachable destination; it says something when a fragment was needed.
  static constexpr field<header_in(header_family::icmp_message, 3), 48, 16, std::uint16_t> mtu{"icmp mtu"};
  /// Of a redirect.
  static constexpr field<header_in(header_family::icmp_message, 5), 32, 32, ipv4_address> gateway{"icmp gateway"};

  /// Checks that the header is there; `b` is the whole IP payload, no link padding. The checksum is not looked at.
  [[nodiscard]] static constexpr result<basic_icmp, drop_reason> parse(byte_window<Byte> b) noexcept {
    if (b.size() < min_size) return drop_reason::icmp_too_short;
    return basic_icmp{b.data(), b.size()};
  }
  /// A view over bytes that were checked before: at least `min_size` of them. Checks nothing.
  [[nodiscard]] static constexpr basic_icmp unchecked(byte_window<Byte> b) noexcept { return {b.data(), b.size()}; }

  /// A view that may write can be read through as well.
  constexpr operator basic_icmp<const std::byte>() const noexcept
    requires(!std::is_const_v<Byte>)
  {
    return basic_icmp<const Byte>::unchecked({p_, n_});
  }

  /// What `build` asks of a header; see `header_value`.
  [[nodiscard]] static constexpr std::size_t header_size() noexcept { return min_size; }
  /// The field of the header, in host byte order. @{
  [[nodiscard]] constexpr std::uint8_t message_type() const noexcept { return load_u8(p_); }
  [[nodiscard]] constexpr std::uint8_t message_code() const noexcept { return load_u8(p_ + 1); }
  /// @}
  /// Type and code together: `if (message.kind() == icmp::unreachable::port)`.
  [[nodiscard]] constexpr icmp_kind kind() const noexcept { return {message_type(), message_code()}; }
  /// The field of the header, in host byte order.
  [[nodiscard]] constexpr std::uint16_t message_checksum() const noexcept { return load_be16(p_ + 2); }
  /// Of an echo, timestamp, information or mask message; other types have something else there.
  [[nodiscard]] constexpr std::uint16_t identifier() const noexcept { return load_be16(p_ + 4); }
  /// The field of the header, in host byte order.
  [[nodiscard]] constexpr std::uint16_t sequence_number() const noexcept { return load_be16(p_ + 6); }
  /// Of "fragmentation needed": bytes that the next link carries; 0 from routers older than RFC 1191.
  [[nodiscard]] constexpr std::uint16_t next_hop_mtu() const noexcept { return load_be16(p_ + 6); }
  /// Of a redirect: the better first hop.
  [[nodiscard]] constexpr ipv4_address gateway_address() const noexcept { return ipv4_address::load(p_ + 4); }
  /// Of a parameter problem: which octet of the quoted datagram is wrong.
  [[nodiscard]] constexpr std::uint8_t pointer() const noexcept { return load_u8(p_ + 4); }
  /// Whether it reports about another datagram, which it quotes. No error is ever sent about an error (RFC 1122
  /// §3.2.2).
  [[nodiscard]] constexpr bool is_error() const noexcept {
    const std::uint8_t t = message_type();
    return t == unreachable::type || t == source_quench.type || t == redirect::type || t == time_exceeded::type ||
           t == parameter_problem::type;
  }
  /// Whether it asks or answers, with an identifier that tells the asker: echo, timestamp, information, mask.
  [[nodiscard]] constexpr bool is_query() const noexcept { return is_query_type(message_type()); }
  /// The same of a type alone.
  [[nodiscard]] static constexpr bool is_query_type(std::uint8_t t) noexcept {
    return t == echo_reply.type || t == echo_request.type || (t >= 13 && t <= 18);
  }
  /// What follows the eight bytes of header.
  [[nodiscard]] constexpr byte_window<Byte> payload() const noexcept {
    return byte_window<Byte>{p_, n_}.from(min_size);
  }
  /// The beginning of the datagram that an error is about, from its IP header on; empty in other messages. Without
  /// the extensions behind it, where the length attribute tells where it ends (RFC 4884 §4.1). It is cut: parse it
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
  /// Whether the checksum is right. Reads the whole message.
  [[nodiscard]] constexpr bool checksum_ok() const noexcept {
    return fold_checksum(add_checksum(bytes{p_, n_})) == 0xffff;
  }

  // Setters. Each also updates the checksum (RFC 1624), unless it says otherwise.
  /// Writes the field and updates the checksum (RFC 1624). @{
  constexpr void kind(icmp_kind k) const noexcept
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
  constexpr void next_hop_mtu(std::uint16_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    set16(6, v);
  }
  /// @}
  /// Stores a checksum as given.
  constexpr void message_checksum(std::uint16_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_be16(p_ + 2, v);
  }
  /// Computes the checksum anew. Reads the whole message.
  constexpr void update_checksum() const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_be16(p_ + 2, 0);
    store_be16(p_ + 2, runnel::checksum(bytes{p_, n_}));
  }

 private:
  constexpr basic_icmp(Byte* p, std::size_t n) noexcept : p_(p), n_(n) {}
  // RFC 4884 §4.1: in 32-bit words, at the types that may have extensions; 0 from everybody who knows nothing of it.
  [[nodiscard]] constexpr std::size_t quoted_length() const noexcept {
    const std::uint8_t t = message_type();
    if (t != unreachable::type && t != time_exceeded::type && t != parameter_problem::type) return 0;
    return load_u8(p_ + 5) * std::size_t{4};
  }
  constexpr void set16(std::size_t at, std::uint16_t v) const noexcept {
    store_be16(p_ + 2, update_checksum16(load_be16(p_ + 2), load_be16(p_ + at), v));
    store_be16(p_ + at, v);
  }

  Byte* p_;
  std::size_t n_;
};

/// The view to read; `mut<>` of it also writes.
using icmp = basic_icmp<const std::byte>;

/// An ICMP message header to be written in front of its payload: `icmp_header{.kind = icmp::echo_request, .identifier
/// = 7, .sequence_number = 1}`. Of the fields below only those are written that a message of this kind has.
struct icmp_header {
  /// What `build` asks of a header; see `header_value`.
  static constexpr std::uint8_t ip_protocol = 1;

  /// Which message: type and code.
  icmp_kind kind = icmp::echo_request;
  std::uint16_t identifier = 0;       ///< queries
  std::uint16_t sequence_number = 0;  ///< queries
  std::uint16_t next_hop_mtu = 0;     ///< unreachable::fragmentation_needed, bytes
  ipv4_address gateway{};             ///< redirects
  std::uint8_t pointer = 0;           ///< parameter problems

  /// What `build` asks of a header; see `header_value`. @{
  [[nodiscard]] static constexpr std::size_t size() noexcept { return 8; }
  constexpr void write(mutable_bytes whole, const neighbours_of_header&) const noexcept {
    std::byte* p = whole.data();
    store_u8(p, kind.type);
    store_u8(p + 1, kind.code);
    zero_bytes(p + 2, 6);
    if (kind == icmp::unreachable::fragmentation_needed) store_be16(p + 6, next_hop_mtu);
    else if (kind.type == icmp::redirect::type) gateway.store(p + 4);
    else if (kind.type == icmp::parameter_problem::type) store_u8(p + 4, pointer);
    else if (icmp::is_query_type(kind.type)) {
      store_be16(p + 4, identifier);
      store_be16(p + 6, sequence_number);
    }
    store_be16(p + 2, checksum(whole));
  }
  /// @}
};

/// The name of a kind in tcpdump's words, or null where it has none.
[[nodiscard]] constexpr const char* name(icmp_kind k) noexcept {
  constexpr const char* unreachable[] = {"net unreachable",
                                         "host unreachable",
                                         "protocol unreachable",
                                         "port unreachable",
                                         "need to frag",
                                         "source route failed",
                                         "net unknown",
                                         "host unknown",
                                         "host isolated",
                                         "net prohibited",
                                         "host prohibited",
                                         "net unreachable for TOS",
                                         "host unreachable for TOS",
                                         "admin prohibited filter",
                                         "host precedence violation",
                                         "precedence cutoff"};
  switch (k.type) {
    case 0: return "echo reply";
    case 3: return k.code < sizeof unreachable / sizeof *unreachable ? unreachable[k.code] : "unreachable";
    case 4: return "source quench";
    case 5: return "redirect";
    case 8: return "echo request";
    case 9: return "router advertisement";
    case 10: return "router solicitation";
    case 11: return k.code == 1 ? "ip reassembly time exceeded" : "time exceeded in-transit";
    case 12: return "parameter problem";
    case 13: return "time stamp query";
    case 14: return "time stamp reply";
    default: return nullptr;
  }
}

/// One line in tcpdump's manner: `ICMP echo request, id 7, seq 1, length 64`.
template <class Byte>
constexpr void print(text_writer& out, const basic_icmp<Byte>& v) noexcept {
  const icmp_kind kind = v.kind();
  out << "ICMP ";
  if (const char* known = name(kind)) out << known;
  else out << "type " << kind.type << ", code " << kind.code;
  if (v.is_query()) out << ", id " << v.identifier() << ", seq " << v.sequence_number();
  if (kind == icmp::unreachable::fragmentation_needed) out << " (mtu " << v.next_hop_mtu() << ')';
  if (kind.type == icmp::redirect::type) print(out << " to ", v.gateway_address());
  if (kind.type == icmp::parameter_problem::type) out << ", octet " << v.pointer();
  out << ", length " << std::uint64_t{v.payload().size() + 8};
}

}  // namespace runnel

#endif
