// SPDX-License-Identifier: MIT
// LLC and SNAP, what 802.3 frames carry in place of an EtherType: a checked view, the builders. IEEE 802.2, RFC 1042.
#ifndef RUNNEL_WIRE_LLC_HPP
#define RUNNEL_WIRE_LLC_HPP

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
#include <runnel/wire/ethernet.hpp>
#include <runnel/wire/field.hpp>

namespace runnel {

/// A view of an LLC header, with the SNAP header behind it where there is one. `llc` reads, `mut<llc>` also writes.
/// Does not own: valid as long as the bytes. No accessor reads outside the bytes that it was made over, even when they
/// change after `parse`.
template <class Byte>
class basic_llc {
 public:
  /// What the library asks of a header view; see `header_view`. @{
  using mutable_view = basic_llc<std::byte>;
  static constexpr header in_header = header::llc;
  static constexpr std::size_t min_size = 3;
  /// @}

  /// A field, for match expressions. @{
  static constexpr field<header::llc, 0, 8, std::uint8_t> dsap{"llc dsap"};
  static constexpr field<header::llc, 8, 8, std::uint8_t> ssap{"llc ssap"};
  static constexpr field<header::llc, 16, 8, std::uint8_t> ctrl{"llc ctrl"};
  /// @}

  /// Checks that the header is there, the SNAP header included when it says that there is one.
  [[nodiscard]] static constexpr result<basic_llc, drop_reason> parse(byte_window<Byte> b) noexcept {
    if (b.size() < min_size) return drop_reason::llc_malformed;
    const basic_llc v{b.data(), b.size()};
    if (v.said_size() > b.size()) return drop_reason::llc_malformed;
    return v;
  }
  /// A view over bytes that were checked before: at least `min_size` of them. Checks nothing.
  [[nodiscard]] static constexpr basic_llc unchecked(byte_window<Byte> b) noexcept { return {b.data(), b.size()}; }

  /// A view that may write can be read through as well.
  constexpr operator basic_llc<const std::byte>() const noexcept
    requires(!std::is_const_v<Byte>)
  {
    return basic_llc<const Byte>::unchecked({p_, n_});
  }

  /// 3 bytes; 4 with a control field of two; 8 with SNAP. Never more than the view holds.
  [[nodiscard]] constexpr std::size_t header_size() const noexcept { return said_size() < n_ ? said_size() : n_; }
  /// Who it is for: 0x42 spanning tree, 0xaa SNAP, 0xfe OSI.
  [[nodiscard]] constexpr std::uint8_t destination_sap() const noexcept { return load_u8(p_); }
  /// The field of the header, in host byte order.
  [[nodiscard]] constexpr std::uint8_t source_sap() const noexcept { return load_u8(p_ + 1); }
  /// The first byte of the control field; 3 is "unnumbered information", which all but old protocols use.
  [[nodiscard]] constexpr std::uint8_t control() const noexcept { return load_u8(p_ + 2); }
  /// Whether a SNAP header follows.
  [[nodiscard]] constexpr bool is_snap() const noexcept { return load_be16(p_) == 0xaaaa && control() == 3 && n_ >= 8; }
  /// SNAP: who numbers the protocols, 24 bits; 0 for EtherTypes. 0 without SNAP.
  [[nodiscard]] constexpr std::uint32_t organisation() const noexcept { return is_snap() ? load_be24(p_ + 3) : 0; }
  /// SNAP: the protocol, an EtherType when the organisation is 0. 0 without SNAP.
  [[nodiscard]] constexpr std::uint16_t protocol_identifier() const noexcept {
    return is_snap() ? load_be16(p_ + 6) : std::uint16_t{0};
  }
  /// What follows the header.
  [[nodiscard]] constexpr byte_window<Byte> payload() const noexcept {
    return byte_window<Byte>{p_, n_}.from(header_size());
  }

  /// Writes the field. @{
  constexpr void destination_sap(std::uint8_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_u8(p_, v);
  }
  constexpr void source_sap(std::uint8_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_u8(p_ + 1, v);
  }
  /// @}

 private:
  constexpr basic_llc(Byte* p, std::size_t n) noexcept : p_(p), n_(n) {}
  // Information and supervisory frames have sequence numbers in a second control byte.
  [[nodiscard]] constexpr std::size_t said_size() const noexcept {
    if (load_be16(p_) == 0xaaaa && control() == 3) return 8;
    return (control() & 3u) == 3 ? 3 : 4;
  }

  Byte* p_;
  std::size_t n_;
};

/// The view to read; `mut<>` of it also writes.
using llc = basic_llc<const std::byte>;

/// The fields of a SNAP header for match expressions, which call it by this name: `snap::type == ethertype::arp`. The
/// view is that of `llc`. nft knows neither.
struct snap {
  /// What the library asks of a header view; see `header_view`.
  static constexpr header in_header = header::snap;
  /// A field, for match expressions. @{
  static constexpr field<header::snap, 24, 24, std::uint32_t> oui{"snap oui"};
  static constexpr field<header::snap, 48, 16, std::uint16_t> type{"snap type"};
  /// @}
};

/// An LLC header to be written; the Ethernet header around it writes the length.
struct llc_header {
  /// A field of the header, in host byte order. @{
  std::uint8_t destination_sap = 0;
  std::uint8_t source_sap = 0;
  std::uint8_t control = 3;
  /// @}

  /// What `build` asks of a header; see `header_value`. @{
  [[nodiscard]] static constexpr std::size_t size() noexcept { return 3; }
  constexpr void write(mutable_bytes whole, const neighbours_of_header&) const noexcept {
    std::byte* p = whole.data();
    store_u8(p, destination_sap);
    store_u8(p + 1, source_sap);
    store_u8(p + 2, control);
  }
  /// @}
};

/// LLC with SNAP to be written: `write_headers(packet, ethernet_header{...}, snap_header{}, ipv4_header{...})`.
struct snap_header {
  /// A field of the header, in host byte order.
  std::uint32_t organisation = 0;
  std::uint16_t protocol = 0;  ///< 0: the EtherType of the header inside

  /// What `build` asks of a header; see `header_value`. @{
  [[nodiscard]] static constexpr std::size_t size() noexcept { return 8; }
  constexpr void write(mutable_bytes whole, const neighbours_of_header& around) const noexcept {
    std::byte* p = whole.data();
    store_be24(p, 0xaaaa03);
    store_be24(p + 3, organisation);
    store_be16(p + 6, protocol != 0 ? protocol : around.ethertype);
  }
  /// @}
};

/// One line in tcpdump's manner: `LLC, dsap 0x42, ssap 0x42, ctrl 0x03, length 38`, or `SNAP, oui 0x000000, ethertype
/// IPv4 (0x0800), length 28`, the length being the payload's.
template <class Byte>
constexpr void print(text_writer& out, const basic_llc<Byte>& v) noexcept {
  if (v.is_snap()) {
    out << "SNAP, oui 0x";
    out.hex(v.organisation(), 6);
    if (v.organisation() == 0) out << ", ethertype " << ethertype::name(v.protocol_identifier()) << " (0x";
    else out << ", pid (0x";
    out.hex(v.protocol_identifier(), 4) << ')';
  } else {
    out << "LLC, dsap 0x";
    out.hex(v.destination_sap(), 2) << ", ssap 0x";
    out.hex(v.source_sap(), 2) << ", ctrl 0x";
    out.hex(v.control(), 2);
  }
  out << ", length " << std::uint64_t{v.payload().size()};
}

}  // namespace runnel

#endif
