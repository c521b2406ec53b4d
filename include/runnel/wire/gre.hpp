// SPDX-License-Identifier: MIT
// GRE header: a checked view over the packet's own bytes, with checksum, key and sequence number; the builder.
// RFC 2784, RFC 2890.
#ifndef RUNNEL_WIRE_GRE_HPP
#define RUNNEL_WIRE_GRE_HPP

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
#include <runnel/wire/ethernet.hpp>
#include <runnel/wire/field.hpp>
#include <runnel/wire/option_fields.hpp>

namespace runnel {

/// A view of a GRE header (version 0) and what it carries. `gre` reads, `mut<gre>` also writes. Does not own: valid as
/// long as the bytes. No accessor reads outside the bytes that it was made over, even when they change after `parse`.
template <class Byte>
class basic_gre {
 public:
  /// What the library asks of a header view; see `header_view`. @{
  using mutable_view = basic_gre<std::byte>;
  static constexpr header in_header = header::gre;
  static constexpr std::size_t min_size = 4;
  /// @}

  /// What may follow, for match expressions: `gre::option::key::value`, `has<gre::option::key>`.
  using option = gre_option_fields<>;
  /// A field of the IP packet inside, for match expressions: `gre::inner(ip::saddr)`.
  template <class Field>
  [[nodiscard]] static constexpr match::inner_field<match::tunnel::gre, Field> inner(const Field& f) noexcept {
    return match::inner_field<match::tunnel::gre, Field>{f};
  }

  /// A field, for match expressions. @{
  static constexpr field<header::gre, 0, 5, std::uint8_t> flags{"gre flags"};
  static constexpr field<header::gre, 13, 3, std::uint8_t> version{"gre version"};
  static constexpr field<header::gre, 16, 16, std::uint16_t> protocol{"gre protocol"};
  /// @}

  /// Checks that the header is there with all that its flags promise. What RFC 1701 had beyond that (routing, a strict
  /// source route, recursion) is refused, as RFC 2784 §2.3 says, and so is version 1, which is PPTP's.
  [[nodiscard]] static constexpr result<basic_gre, drop_reason> parse(byte_window<Byte> b) noexcept {
    if (b.size() < min_size || (load_be16(b.data()) & 0x4c07u) != 0) return drop_reason::gre_malformed;
    const basic_gre v{b.data(), b.size()};
    if (v.said_size() > b.size()) return drop_reason::gre_malformed;
    return v;
  }
  /// A view over bytes that were checked before: at least `min_size` of them. Checks nothing.
  [[nodiscard]] static constexpr basic_gre unchecked(byte_window<Byte> b) noexcept { return {b.data(), b.size()}; }

  /// A view that may write can be read through as well.
  constexpr operator basic_gre<const std::byte>() const noexcept
    requires(!std::is_const_v<Byte>)
  {
    return basic_gre<const Byte>::unchecked({p_, n_});
  }

  /// 4 bytes, and 4 more for each of checksum, key and sequence number; never more than the view holds.
  [[nodiscard]] constexpr std::size_t header_size() const noexcept { return said_size() < n_ ? said_size() : n_; }
  /// Whether the optional field is there. @{
  [[nodiscard]] constexpr bool has_checksum() const noexcept { return (load_u8(p_) & 0x80u) != 0; }
  [[nodiscard]] constexpr bool has_key() const noexcept { return (load_u8(p_) & 0x20u) != 0; }
  [[nodiscard]] constexpr bool has_sequence_number() const noexcept { return (load_u8(p_) & 0x10u) != 0; }
  /// @}
  /// The version number.
  [[nodiscard]] constexpr std::uint8_t version_number() const noexcept { return load_u8(p_ + 1) & 7u; }
  /// What it carries: an EtherType.
  [[nodiscard]] constexpr std::uint16_t protocol_type() const noexcept { return load_be16(p_ + 2); }
  /// Which tunnel between the same two ends it is (RFC 2890 §2.1); 0 without a key.
  [[nodiscard]] constexpr std::uint32_t key() const noexcept { return has_key() ? word(key_at()) : 0; }
  /// RFC 2890 §2.2; 0 without a sequence number.
  [[nodiscard]] constexpr std::uint32_t sequence_number() const noexcept {
    return has_sequence_number() ? word(sequence_at()) : 0;
  }
  /// What the tunnel carries.
  [[nodiscard]] constexpr byte_window<Byte> payload() const noexcept {
    return byte_window<Byte>{p_, n_}.from(header_size());
  }
  /// Whether the checksum is right, or the sender computed none. Reads header and payload.
  [[nodiscard]] constexpr bool checksum_ok() const noexcept {
    return !has_checksum() || fold_checksum(add_checksum(bytes{p_, n_})) == 0xffff;
  }

  /// Changes the key of a header that has one, else nothing; updates the checksum when there is one (RFC 1624).
  constexpr void key(std::uint32_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    if (has_key()) set_word(key_at(), v);
  }
  /// Changes the sequence number of a header that has one, else nothing; updates the checksum when there is one.
  constexpr void sequence_number(std::uint32_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    if (has_sequence_number()) set_word(sequence_at(), v);
  }

 private:
  constexpr basic_gre(Byte* p, std::size_t n) noexcept : p_(p), n_(n) {}
  [[nodiscard]] constexpr std::size_t key_at() const noexcept { return has_checksum() ? 8 : 4; }
  [[nodiscard]] constexpr std::size_t sequence_at() const noexcept { return key_at() + (has_key() ? 4 : 0); }
  [[nodiscard]] constexpr std::size_t said_size() const noexcept {
    return sequence_at() + (has_sequence_number() ? 4 : 0);
  }
  [[nodiscard]] constexpr std::uint32_t word(std::size_t at) const noexcept {
    return at + 4 <= n_ ? load_be32(p_ + at) : 0;
  }
  constexpr void set_word(std::size_t at, std::uint32_t v) const noexcept {
    if (at + 4 > n_) return;
    if (has_checksum() && n_ >= 8) store_be16(p_ + 4, update_checksum32(load_be16(p_ + 4), load_be32(p_ + at), v));
    store_be32(p_ + at, v);
  }

  Byte* p_;
  std::size_t n_;
};

/// The view to read; `mut<>` of it also writes.
using gre = basic_gre<const std::byte>;

/// The name under which match expressions ask for the Ethernet frame inside GRE ("transparent Ethernet bridging"), as
/// in nft: `gretap::inner(ether::saddr)`.
struct gretap {
  /// A field of the frame inside: `gretap::inner(ip::saddr)`.
  template <class Field>
  [[nodiscard]] static constexpr match::inner_field<match::tunnel::gretap, Field> inner(const Field& f) noexcept {
    return match::inner_field<match::tunnel::gretap, Field>{f};
  }
};

/// A GRE header to be written: `write_headers(packet, ipv4_header{...}, gre_header{.has_key = true, .key = 7},
/// ipv4_header{...})`. Around an `ethernet_header` it says "transparent Ethernet bridging".
struct gre_header {
  static constexpr std::uint8_t ip_protocol = 47;  ///< what an IP header around this one says

  std::uint16_t protocol = 0;  ///< 0: the EtherType of the header inside
  bool checksum = false;       ///< over header and payload, which must be in place before
  /// Whether there is a key, and which. @{
  bool has_key = false;
  std::uint32_t key = 0;
  /// @}
  /// Whether there is a sequence number, and which. @{
  bool has_sequence = false;
  std::uint32_t sequence = 0;
  /// @}

  /// What `build` asks of a header; see `header_value`. @{
  [[nodiscard]] constexpr std::size_t size() const noexcept {
    return 4 + (checksum ? 4u : 0u) + (has_key ? 4u : 0u) + (has_sequence ? 4u : 0u);
  }
  constexpr void write(mutable_bytes whole, const neighbours_of_header& around) const noexcept {
    std::byte* p = whole.data();
    store_be16(p, static_cast<std::uint16_t>((checksum ? 0x8000u : 0u) | (has_key ? 0x2000u : 0u) |
                                             (has_sequence ? 0x1000u : 0u)));
    store_be16(p + 2, protocol != 0 ? protocol : around.ethertype);
    std::size_t at = 4;
    if (checksum) {
      store_be32(p + at, 0);
      at += 4;
    }
    if (has_key) {
      store_be32(p + at, key);
      at += 4;
    }
    if (has_sequence) store_be32(p + at, sequence);
    if (checksum) store_be16(p + 4, runnel::checksum(whole));
  }
  /// @}
};

/// One line in tcpdump's manner: `GREv0, key=0x7, seq 1, proto IPv4 (0x0800), length 40`, header included.
template <class Byte>
constexpr void print(text_writer& out, const basic_gre<Byte>& v) noexcept {
  out << "GREv" << v.version_number();
  if (v.has_key()) {
    out << ", key=0x";
    out.hex(v.key());
  }
  if (v.has_sequence_number()) out << ", seq " << v.sequence_number();
  out << ", proto " << ethertype::name(v.protocol_type()) << " (0x";
  out.hex(v.protocol_type(), 4) << "), length " << std::uint64_t{v.header_size() + v.payload().size()};
}

}  // namespace runnel

#endif
