// SPDX-License-Identifier: MIT
// IPv4 header: a checked view over the packet's own bytes, the options walker, the builder. RFC 791, RFC 6864.
#ifndef RUNNEL_WIRE_IPV4_HPP
#define RUNNEL_WIRE_IPV4_HPP

#include <cstddef>      // byte, size_t
#include <cstdint>      // uint8_t, uint16_t
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

/// A view of an IPv4 header and what it carries. `ipv4` reads, `mut<ipv4>` also writes. Does not own: valid as
/// long as the bytes. No accessor reads outside the bytes that it was made over, even when they change after
/// `parse`.
template <class Byte>
class basic_ipv4 {
 public:
  /// What the library asks of a header view; see `header_view`. @{
  using mutable_view = basic_ipv4<std::byte>;
  static constexpr header in_header = header::ipv4;
  static constexpr std::size_t min_size = 20;
  /// @}

  /// Options for match expressions: `has<ip::option::rr>`, `ip::option::lsrr::ptr`.
  using option = ipv4_option_fields<>;

  /// A field, for match expressions. @{
  static constexpr field<header::ipv4, 0, 4, std::uint8_t> version{"ip version"};
  static constexpr field<header::ipv4, 4, 4, std::uint8_t> hdrlength{"ip hdrlength"};
  static constexpr field<header::ipv4, 8, 6, std::uint8_t> dscp{"ip dscp"};
  static constexpr field<header::ipv4, 14, 2, std::uint8_t> ecn{"ip ecn"};
  static constexpr field<header::ipv4, 16, 16, std::uint16_t> length{"ip length"};
  static constexpr field<header::ipv4, 32, 16, std::uint16_t> id{"ip id"};
  static constexpr field<header::ipv4, 48, 16, std::uint16_t> frag_off{"ip frag-off"};
  static constexpr field<header::ipv4, 64, 8, std::uint8_t> ttl{"ip ttl"};
  static constexpr field<header::ipv4, 72, 8, std::uint8_t> protocol{"ip protocol"};
  static constexpr field<header::ipv4, 80, 16, std::uint16_t> checksum{"ip checksum"};
  static constexpr field<header::ipv4, 96, 32, ipv4_address> saddr{"ip saddr"};
  static constexpr field<header::ipv4, 128, 32, ipv4_address> daddr{"ip daddr"};
  /// @}

  /// Checks version, IHL and total length against `b`, which begins at the header and may run on behind the
  /// datagram (Ethernet padding). The view then ends where the total length says. The checksum is not looked at.
  [[nodiscard]] static constexpr result<basic_ipv4, drop_reason> parse(byte_window<Byte> b) noexcept {
    if (b.size() < min_size) return drop_reason::ip_too_short;
    const std::byte* p = b.data();
    if (load_u8(p) >> 4 != 4) return drop_reason::ip_version;
    const std::size_t header_size = (load_u8(p) & 15u) * std::size_t{4};
    const std::size_t total = load_be16(p + 2);
    if (header_size < min_size || header_size > b.size()) return drop_reason::ip_header_length;
    if (total < header_size || total > b.size()) return drop_reason::ip_total_length;
    return basic_ipv4{b.data(), total};
  }
  /// A view over bytes that were checked before: at least `min_size` of them. Checks nothing.
  [[nodiscard]] static constexpr basic_ipv4 unchecked(byte_window<Byte> b) noexcept { return {b.data(), b.size()}; }

  /// A view that may write can be read through as well.
  constexpr operator basic_ipv4<const std::byte>() const noexcept
    requires(!std::is_const_v<Byte>)
  {
    return basic_ipv4<const Byte>::unchecked({p_, n_});
  }

  /// Header length in bytes, options included; never more than the view holds.
  [[nodiscard]] constexpr std::size_t header_size() const noexcept {
    const std::size_t said = (load_u8(p_) & 15u) * std::size_t{4};
    if (said <= min_size) [[likely]]
      return min_size;
    return said < n_ ? said : n_;
  }
  /// Differentiated services code point, 6 bits (RFC 2474).
  [[nodiscard]] constexpr std::uint8_t codepoint() const noexcept {
    return static_cast<std::uint8_t>(load_u8(p_ + 1) >> 2);
  }
  /// Explicit congestion notification, 2 bits (RFC 3168).
  [[nodiscard]] constexpr std::uint8_t ecn_bits() const noexcept { return load_u8(p_ + 1) & 3u; }
  /// Header and payload in bytes, as the header says.
  [[nodiscard]] constexpr std::uint16_t total_length() const noexcept { return load_be16(p_ + 2); }
  /// The field of the header, in host byte order.
  [[nodiscard]] constexpr std::uint16_t identification() const noexcept { return load_be16(p_ + 4); }
  /// Whether the header says so. @{
  [[nodiscard]] constexpr bool dont_fragment() const noexcept { return (load_u8(p_ + 6) & 0x40u) != 0; }
  [[nodiscard]] constexpr bool more_fragments() const noexcept { return (load_u8(p_ + 6) & 0x20u) != 0; }
  /// @}
  /// Where this fragment's payload belongs in the datagram, in bytes.
  [[nodiscard]] constexpr std::size_t fragment_offset() const noexcept {
    return (load_be16(p_ + 6) & 0x1fffu) * std::size_t{8};
  }
  /// Whether the header says so.
  [[nodiscard]] constexpr bool is_fragment() const noexcept { return (load_be16(p_ + 6) & 0x3fffu) != 0; }
  /// The field of the header, in host byte order.
  [[nodiscard]] constexpr std::uint8_t time_to_live() const noexcept { return load_u8(p_ + 8); }
  /// What the payload is: an IANA protocol number.
  [[nodiscard]] constexpr std::uint8_t protocol_number() const noexcept { return load_u8(p_ + 9); }
  /// The field of the header, in host byte order. @{
  [[nodiscard]] constexpr std::uint16_t header_checksum() const noexcept { return load_be16(p_ + 10); }
  [[nodiscard]] constexpr ipv4_address source() const noexcept { return ipv4_address::load(p_ + 12); }
  [[nodiscard]] constexpr ipv4_address destination() const noexcept { return ipv4_address::load(p_ + 16); }
  /// @}
  /// Both addresses as they lie there, the source in the upper half: one load for what compares or hashes them.
  [[nodiscard]] constexpr std::uint64_t addresses() const noexcept { return load_be64(p_ + 12); }
  /// The option bytes; walk them with `ipv4_options`.
  [[nodiscard]] constexpr bytes options() const noexcept { return bytes{p_, header_size()}.from(min_size); }
  /// What the datagram (or fragment) carries, without padding of the link.
  [[nodiscard]] constexpr byte_window<Byte> payload() const noexcept {
    return byte_window<Byte>{p_, n_}.from(header_size());
  }
  /// Whether the header checksum is right. Reads the header once.
  [[nodiscard]] constexpr bool checksum_ok() const noexcept {
    return fold_checksum(add_checksum(bytes{p_, header_size()})) == 0xffff;
  }
  /// Sum over the pseudo-header without protocol and length: what TCP and UDP checksums begin with (RFC 9293 §3.1).
  [[nodiscard]] constexpr std::uint32_t pseudo_header_sum() const noexcept {
    return static_cast<std::uint32_t>(add_checksum(bytes{p_ + 12, 8}));
  }

  // Setters. Each that changes a field under the header checksum also updates the checksum (RFC 1624), unless it
  // says otherwise.
  /// Writes the field and updates the header checksum (RFC 1624). @{
  constexpr void codepoint(std::uint8_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    set16(0, static_cast<std::uint16_t>((load_be16(p_) & 0xff03u) | (v & 63u) << 2));
  }
  constexpr void ecn_bits(std::uint8_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    set16(0, static_cast<std::uint16_t>((load_be16(p_) & 0xfffcu) | (v & 3u)));
  }
  constexpr void identification(std::uint16_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    set16(4, v);
  }
  constexpr void dont_fragment(bool on) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    set16(6, static_cast<std::uint16_t>((load_be16(p_ + 6) & 0xbfffu) | (on ? 0x4000u : 0u)));
  }
  constexpr void more_fragments(bool on) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    set16(6, static_cast<std::uint16_t>((load_be16(p_ + 6) & 0xdfffu) | (on ? 0x2000u : 0u)));
  }
  constexpr void protocol_number(std::uint8_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    set16(8, static_cast<std::uint16_t>((load_be16(p_ + 8) & 0xff00u) | v));
  }
  constexpr void time_to_live(std::uint8_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    const auto from = detail::load<std::uint16_t>(p_ + 8);
    const unsigned to = little_endian_host ? (from & 0xff00u) | v : (from & 0xffu) | unsigned{v} << 8;
    update_checksum(from, static_cast<std::uint16_t>(to));
    store_u8(p_ + 8, v);
  }
  /// @}
  /// The same in bytes, a multiple of 8 below 65536.
  constexpr void fragment_offset(std::size_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    set16(6, static_cast<std::uint16_t>((load_be16(p_ + 6) & 0xe000u) | (v / 8 & 0x1fffu)));
  }
  /// The same for header and payload. This view still ends where it did.
  constexpr void total_length(std::uint16_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    set16(2, v);
  }
  /// The TTL, which is not 0, becomes one less, and the header checksum follows (RFC 1141).
  constexpr void decrement_time_to_live() const noexcept
    requires(!std::is_const_v<Byte>)
  {
    const std::uint32_t sum =
        std::uint32_t{detail::load<std::uint16_t>(p_ + 10)} + detail::to_big(std::uint16_t{0x0100});
    detail::store(p_ + 10, static_cast<std::uint16_t>(sum + (sum >= 0xffff ? 1u : 0u)));
    store_u8(p_ + 8, static_cast<std::uint8_t>(load_u8(p_ + 8) - 1));
  }
  /// Stores a checksum as given.
  constexpr void header_checksum(std::uint16_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_be16(p_ + 10, v);
  }
  /// Changes the address and the header checksum; a transport checksum is the caller's to update.
  constexpr void source(ipv4_address a) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    set32(12, a.value());
  }
  /// Changes the address and the header checksum; a transport checksum is the caller's to update.
  constexpr void destination(ipv4_address a) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    set32(16, a.value());
  }
  /// Computes the header checksum anew.
  constexpr void update_checksum() const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_be16(p_ + 10, 0);
    store_be16(p_ + 10, runnel::checksum(bytes{p_, header_size()}));
  }

 private:
  constexpr basic_ipv4(Byte* p, std::size_t n) noexcept : p_(p), n_(n) {}
  constexpr void set16(std::size_t at, std::uint16_t v) const noexcept {
    update_checksum(detail::load<std::uint16_t>(p_ + at), detail::to_big(v));
    store_be16(p_ + at, v);
  }
  // In the order of the host: the bytes of the sum are the same in either (RFC 1071 §2 (B)).
  constexpr void update_checksum(std::uint16_t from, std::uint16_t to) const noexcept {
    detail::store(p_ + 10, update_checksum16(detail::load<std::uint16_t>(p_ + 10), from, to));
  }
  constexpr void set32(std::size_t at, std::uint32_t v) const noexcept {
    store_be16(p_ + 10, update_checksum32(load_be16(p_ + 10), load_be32(p_ + at), v));
    store_be32(p_ + at, v);
  }

  Byte* p_;
  std::size_t n_;
};

/// The view to read; `mut<>` of it also writes.
using ipv4 = basic_ipv4<const std::byte>;
/// The name under which match expressions read best: `ip::saddr == ...`, as in nft.
using ip = ipv4;

/// Walks IPv4 options: `for (ipv4_options o(header.options()); o; o.next()) use(o.kind(), o.data());`
/// Ends at End of Option List, at the last byte, or at an option whose length cannot be; `malformed()` tells the
/// last case. RFC 791 §3.1.
class ipv4_options {
 public:
  /// Walks the options of a header, `ip.options()`.
  constexpr explicit ipv4_options(bytes options) noexcept : rest_(options) { look(); }
  /// Whether there is an option at the current place.
  [[nodiscard]] constexpr explicit operator bool() const noexcept { return size_ != 0; }
  /// The option's type octet: copied flag, class and number.
  [[nodiscard]] constexpr std::uint8_t kind() const noexcept { return load_u8(rest_.data()); }
  /// The option's data, without type and length octets.
  [[nodiscard]] constexpr bytes data() const noexcept { return rest_.first(size_).from(2); }
  /// The option from its type octet on.
  [[nodiscard]] constexpr bytes whole() const noexcept { return rest_.first(size_); }
  /// Goes to the next option.
  constexpr void next() noexcept {
    rest_ = rest_.from(size_);
    look();
  }
  /// Whether the walk ended at a fault.
  [[nodiscard]] constexpr bool malformed() const noexcept { return malformed_; }

 private:
  constexpr void look() noexcept {
    size_ = 0;
    if (rest_.empty() || kind() == 0) return;
    if (kind() == 1) {
      size_ = 1;
      return;
    }
    if (rest_.size() < 2 || load_u8(rest_.data() + 1) < 2 || load_u8(rest_.data() + 1) > rest_.size()) {
      malformed_ = true;
      return;
    }
    size_ = load_u8(rest_.data() + 1);
  }

  bytes rest_;
  std::size_t size_ = 0;
  bool malformed_ = false;
};

/// An IPv4 header to be written: `write_headers(packet, ethernet_header{...}, ipv4_header{...}, udp_header{...})`.
/// `protocol`, total length and checksum come from what is inside; set `protocol` when the payload is not a header
/// that this library writes.
struct ipv4_header {
  static constexpr std::uint16_t ethertype = 0x0800;  ///< what a link header says of this one
  static constexpr std::uint8_t ip_protocol = 4;      ///< what an IP header around this one says (RFC 2003)

  /// A field of the header, in host byte order. @{
  ipv4_address source{};
  ipv4_address destination{};
  std::uint8_t ttl = 64;
  std::uint8_t dscp = 0;
  std::uint8_t ecn = 0;
  std::uint16_t id = 0;
  bool dont_fragment = true;
  bool more_fragments = false;
  /// @}
  std::uint16_t fragment_offset = 0;  ///< in bytes, a multiple of 8
  std::uint8_t protocol = 0;          ///< 0: that of the header inside
  bytes options{};                    ///< at most 40 bytes; written with padding to a multiple of 4

  /// What `build` asks of a header; see `header_value`.
  [[nodiscard]] constexpr std::size_t size() const noexcept {
    RUNNEL_ASSERT(options.size() <= 40);
    return 20 + (options.first(40).size() + 3) / 4 * 4;
  }
  /// Unfolded sum over the addresses, for the checksum of a transport inside.
  [[nodiscard]] constexpr std::uint32_t pseudo_header_sum() const noexcept {
    return (source.value() >> 16) + (source.value() & 0xffffu) + (destination.value() >> 16) +
           (destination.value() & 0xffffu);
  }
  /// What `build` asks of a header; see `header_value`.
  constexpr void write(mutable_bytes whole, const neighbours_of_header& around) const noexcept {
    RUNNEL_ASSERT(whole.size() <= 65535);
    std::byte* p = whole.data();
    store_u8(p, static_cast<std::uint8_t>(0x40u | size() / 4));
    store_u8(p + 1, static_cast<std::uint8_t>(unsigned{dscp} << 2 | (ecn & 3u)));
    store_be16(p + 2, static_cast<std::uint16_t>(whole.size()));
    store_be16(p + 4, id);
    store_be16(p + 6, static_cast<std::uint16_t>((dont_fragment ? 0x4000u : 0u) | (more_fragments ? 0x2000u : 0u) |
                                                 fragment_offset / 8u));
    store_u8(p + 8, ttl);
    store_u8(p + 9, protocol != 0 ? protocol : around.ip_protocol);
    store_be16(p + 10, 0);
    source.store(p + 12);
    destination.store(p + 16);
    zero_bytes(p + 20, size() - 20);
    const bytes said = options.first(40);
    copy_bytes(p + 20, said.data(), said.size());
    store_be16(p + 10, checksum(bytes{p, size()}));
  }
};

/// One line in tcpdump's manner: `10.0.0.1 > 10.0.0.2: ttl 64, id 1, proto 17, length 48`, with what is unusual
/// (DF, fragments, dscp, options) named.
template <class Byte>
constexpr void print(text_writer& out, const basic_ipv4<Byte>& v) noexcept {
  print(out, v.source());
  out << " > ";
  print(out, v.destination());
  out << ": ttl " << v.time_to_live() << ", id " << v.identification();
  if (v.is_fragment()) out << ", offset " << std::uint64_t{v.fragment_offset()} << (v.more_fragments() ? "+" : "");
  if (v.dont_fragment()) out << ", DF";
  if (v.codepoint() != 0) out << ", dscp " << v.codepoint();
  if (v.ecn_bits() != 0) out << ", ecn " << v.ecn_bits();
  if (!v.options().empty()) out << ", options " << std::uint64_t{v.options().size()};
  out << ", proto " << v.protocol_number() << ", length " << v.total_length();
}

}  // namespace runnel

#endif
