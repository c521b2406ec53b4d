// SPDX-License-Identifier: MIT
// Ethernet header: a checked view over Ethernet II and 802.3 frames, the builder, the names of EtherTypes.
// IEEE 802.3 clause 3, RFC 894, RFC 1042.
#ifndef RUNNEL_WIRE_ETHERNET_HPP
#define RUNNEL_WIRE_ETHERNET_HPP

#include <cstddef>      // byte, size_t
#include <cstdint>      // uint16_t
#include <type_traits>  // is_const_v

#include <runnel/base/bytes.hpp>
#include <runnel/base/endian.hpp>
#include <runnel/base/result.hpp>
#include <runnel/base/text.hpp>
#include <runnel/packet/drop_reason.hpp>
#include <runnel/packet/layers.hpp>
#include <runnel/wire/address.hpp>
#include <runnel/wire/build.hpp>
#include <runnel/wire/field.hpp>

namespace runnel {

/// EtherTypes, as IEEE 802 numbers them.
namespace ethertype {

/// A value of the type field, as IANA lists it. @{
inline constexpr std::uint16_t ipv4 = 0x0800;
inline constexpr std::uint16_t arp = 0x0806;
inline constexpr std::uint16_t wake_on_lan = 0x0842;
/// @}
inline constexpr std::uint16_t bridging = 0x6558;  ///< an Ethernet frame inside GRE (RFC 1701)
/// A value of the type field, as IANA lists it.
inline constexpr std::uint16_t rarp = 0x8035;
inline constexpr std::uint16_t vlan = 0x8100;  ///< 802.1Q customer tag
/// A value of the type field, as IANA lists it.
inline constexpr std::uint16_t ipv6 = 0x86dd;
inline constexpr std::uint16_t slow_protocols = 0x8809;  ///< LACP and OAM
/// A value of the type field, as IANA lists it.
inline constexpr std::uint16_t mpls = 0x8847;
inline constexpr std::uint16_t mpls_upstream = 0x8848;  ///< upstream-assigned labels (RFC 5332)
/// A value of the type field, as IANA lists it. @{
inline constexpr std::uint16_t pppoe_discovery = 0x8863;
inline constexpr std::uint16_t pppoe_session = 0x8864;
inline constexpr std::uint16_t eapol = 0x888e;
/// @}
inline constexpr std::uint16_t qinq = 0x88a8;  ///< 802.1ad service tag
/// A value of the type field, as IANA lists it. @{
inline constexpr std::uint16_t lldp = 0x88cc;
inline constexpr std::uint16_t macsec = 0x88e5;
inline constexpr std::uint16_t ptp = 0x88f7;
/// @}
inline constexpr std::uint16_t qinq_old = 0x9100;  ///< service tags from before 802.1ad
inline constexpr std::uint16_t first = 0x0600;     ///< what is below is no type but an 802.3 length

/// Whether a VLAN tag follows a type field with this value.
[[nodiscard]] constexpr bool is_vlan(std::uint16_t type) noexcept {
  return type == vlan || type == qinq || type == qinq_old;
}
/// Whether an MPLS label stack follows a type field with this value.
[[nodiscard]] constexpr bool is_mpls(std::uint16_t type) noexcept { return type == mpls || type == mpls_upstream; }

/// The name of an EtherType as tcpdump spells it; "Unknown" when it is not in the list above.
[[nodiscard]] constexpr const char* name(std::uint16_t type) noexcept {
  switch (type) {
    case ipv4: return "IPv4";
    case arp: return "ARP";
    case wake_on_lan: return "Wake-on-LAN";
    case bridging: return "TEB";
    case rarp: return "Reverse ARP";
    case vlan: return "802.1Q";
    case ipv6: return "IPv6";
    case slow_protocols: return "Slow Protocols";
    case mpls: return "MPLS unicast";
    case mpls_upstream: return "MPLS multicast";
    case pppoe_discovery: return "PPPoE D";
    case pppoe_session: return "PPPoE S";
    case eapol: return "EAPOL";
    case qinq: return "802.1Q-QinQ";
    case lldp: return "LLDP";
    case macsec: return "802.1AE MACsec";
    case ptp: return "PTP";
    case qinq_old: return "802.1Q-9100";
    default: return "Unknown";
  }
}

}  // namespace ethertype

/// A view of an Ethernet header and what it carries. `ethernet` reads, `mut<ethernet>` also writes. Does not own:
/// valid as long as the bytes. The frame check sequence is taken off before software sees a frame: none is here.
template <class Byte>
class basic_ethernet {
 public:
  /// What the library asks of a header view; see `header_view`. @{
  using mutable_view = basic_ethernet<std::byte>;
  static constexpr header in_header = header::ethernet;
  static constexpr std::size_t min_size = 14;
  /// @}

  /// A field, for match expressions. @{
  static constexpr field<header::ethernet, 0, 48, mac_address> daddr{"ether daddr"};
  static constexpr field<header::ethernet, 48, 48, mac_address> saddr{"ether saddr"};
  static constexpr field<header::ethernet, 96, 16, std::uint16_t> type{"ether type"};
  /// @}

  /// Checks that the header is there, and in an 802.3 frame that its length is at most 1500 and within `b`, which
  /// may run on behind it (padding).
  [[nodiscard]] static constexpr result<basic_ethernet, drop_reason> parse(byte_window<Byte> b) noexcept {
    if (b.size() < min_size) return drop_reason::link_too_short;
    const basic_ethernet v{b.data(), b.size()};
    if (v.is_802_3() && (v.ethertype() > 1500 || v.ethertype() > b.size() - min_size))
      return drop_reason::llc_malformed;
    return v;
  }
  /// A view over bytes that were checked before: at least `min_size` of them. Checks nothing.
  [[nodiscard]] static constexpr basic_ethernet unchecked(byte_window<Byte> b) noexcept { return {b.data(), b.size()}; }

  /// A view that may write can be read through as well.
  constexpr operator basic_ethernet<const std::byte>() const noexcept
    requires(!std::is_const_v<Byte>)
  {
    return basic_ethernet<const Byte>::unchecked({p_, n_});
  }

  /// Always 14: tags that follow are headers of their own.
  [[nodiscard]] static constexpr std::size_t header_size() noexcept { return min_size; }
  /// The field of the header, in host byte order. @{
  [[nodiscard]] constexpr mac_address destination() const noexcept { return mac_address::load(p_); }
  [[nodiscard]] constexpr mac_address source() const noexcept { return mac_address::load(p_ + 6); }
  /// @}
  /// What the frame carries; below 0x0600 the length of an 802.3 frame (then an LLC header follows).
  [[nodiscard]] constexpr std::uint16_t ethertype() const noexcept { return load_be16(p_ + 12); }
  /// Whether the type field is a length. IEEE 802.3 §3.2.6.
  [[nodiscard]] constexpr bool is_802_3() const noexcept { return ethertype() < runnel::ethertype::first; }
  /// What follows the header, with padding in an Ethernet II frame and without it in an 802.3 frame.
  [[nodiscard]] constexpr byte_window<Byte> payload() const noexcept {
    const byte_window<Byte> rest{p_ + min_size, n_ - min_size};
    const std::uint16_t said = ethertype();
    return said < runnel::ethertype::first ? rest.first(said) : rest;
  }

  /// Writes the field. @{
  constexpr void destination(const mac_address& a) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    a.store(p_);
  }
  constexpr void source(const mac_address& a) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    a.store(p_ + 6);
  }
  constexpr void ethertype(std::uint16_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_be16(p_ + 12, v);
  }
  /// @}
  /// Sends the frame back to where it came from.
  constexpr void swap_addresses() const noexcept
    requires(!std::is_const_v<Byte>)
  {
    if (std::is_constant_evaluated()) {
      const mac_address to = source();
      source(destination());
      destination(to);
      return;
    }
    // In registers: an address as a value of six bytes goes through memory, several times.
    std::uint32_t to4, from4;
    std::uint16_t to2, from2;
    __builtin_memcpy(&to4, p_, 4);
    __builtin_memcpy(&to2, p_ + 4, 2);
    __builtin_memcpy(&from4, p_ + 6, 4);
    __builtin_memcpy(&from2, p_ + 10, 2);
    __builtin_memcpy(p_, &from4, 4);
    __builtin_memcpy(p_ + 4, &from2, 2);
    __builtin_memcpy(p_ + 6, &to4, 4);
    __builtin_memcpy(p_ + 10, &to2, 2);
  }

 private:
  constexpr basic_ethernet(Byte* p, std::size_t n) noexcept : p_(p), n_(n) {}

  Byte* p_;
  std::size_t n_;
};

/// The view to read; `mut<>` of it also writes.
using ethernet = basic_ethernet<const std::byte>;
/// The name under which match expressions read best: `ether::saddr == ...`, as in nft.
using ether = ethernet;

namespace detail {

// The type field in front of a payload: its type, or when it has none its length, which 802.3 limits.
[[nodiscard]] constexpr std::uint16_t type_or_length(std::uint16_t type, std::size_t payload) noexcept {
  RUNNEL_ASSERT(type != 0 || payload <= 1500);
  return type != 0 ? type : static_cast<std::uint16_t>(payload);
}

}  // namespace detail

/// An Ethernet header to be written: `write_headers(packet, ethernet_header{...}, ipv4_header{...})`. Padding to 60
/// bytes is the caller's, who owns the buffer.
struct ethernet_header {
  static constexpr std::uint16_t ethertype = runnel::ethertype::bridging;  ///< what GRE says of a frame inside it

  /// A field of the header, in host byte order. @{
  mac_address source{};
  mac_address destination{};
  /// @}
  std::uint16_t type = 0;  ///< 0: that of the header inside; when it has none, the length of the payload (802.3)

  /// What `build` asks of a header; see `header_value`. @{
  [[nodiscard]] static constexpr std::size_t size() noexcept { return 14; }
  constexpr void write(mutable_bytes whole, const neighbours_of_header& around) const noexcept {
    std::byte* p = whole.data();
    destination.store(p);
    source.store(p + 6);
    store_be16(p + 12, detail::type_or_length(type != 0 ? type : around.ethertype, whole.size() - size()));
  }
  /// @}
};

/// One line in tcpdump's manner: `02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff, ethertype ARP (0x0806), length 60`.
template <class Byte>
constexpr void print(text_writer& out, const basic_ethernet<Byte>& v) noexcept {
  print(out, v.source());
  out << " > ";
  print(out, v.destination());
  if (v.is_802_3()) {
    out << ", 802.3, length " << v.ethertype();
    return;
  }
  out << ", ethertype " << ethertype::name(v.ethertype()) << " (0x";
  out.hex(v.ethertype(), 4) << "), length " << std::uint64_t{v.header_size() + v.payload().size()};
}

}  // namespace runnel

#endif
