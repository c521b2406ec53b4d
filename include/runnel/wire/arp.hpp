// SPDX-License-Identifier: MIT
// ARP for Ethernet and IPv4: a checked view over the packet's own bytes, the builder. RFC 826, RFC 5227.
#ifndef RUNNEL_WIRE_ARP_HPP
#define RUNNEL_WIRE_ARP_HPP

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
#include <runnel/wire/ethernet.hpp>
#include <runnel/wire/field.hpp>

namespace runnel {

/// What an ARP packet wants (RFC 826; the others are of RARP and its kin).
namespace arp_operation {

/// An operation code. @{
inline constexpr std::uint16_t request = 1;
inline constexpr std::uint16_t reply = 2;
/// @}

}  // namespace arp_operation

/// A view of an ARP packet that resolves IPv4 addresses to MAC addresses, the only kind there is today. `arp` reads,
/// `mut<arp>` also writes. Does not own: valid as long as the bytes.
template <class Byte>
class basic_arp {
 public:
  /// What the library asks of a header view; see `header_view`. @{
  using mutable_view = basic_arp<std::byte>;
  static constexpr header in_header = header::arp;
  static constexpr std::size_t min_size = 28;
  /// @}

  /// A field, for match expressions. @{
  static constexpr field<header::arp, 0, 16, std::uint16_t> htype{"arp htype"};
  static constexpr field<header::arp, 16, 16, std::uint16_t> ptype{"arp ptype"};
  static constexpr field<header::arp, 32, 8, std::uint8_t> hlen{"arp hlen"};
  static constexpr field<header::arp, 40, 8, std::uint8_t> plen{"arp plen"};
  static constexpr field<header::arp, 48, 16, std::uint16_t> operation{"arp operation"};
  static constexpr field<header::arp, 64, 48, mac_address> saddr_ether{"arp saddr ether"};
  static constexpr field<header::arp, 112, 32, ipv4_address> saddr_ip{"arp saddr ip"};
  static constexpr field<header::arp, 144, 48, mac_address> daddr_ether{"arp daddr ether"};
  static constexpr field<header::arp, 192, 32, ipv4_address> daddr_ip{"arp daddr ip"};
  /// @}

  /// Checks that all is there, and that it is about Ethernet (hardware type 1, or 6 as some old bridges say) and IPv4.
  [[nodiscard]] static constexpr result<basic_arp, drop_reason> parse(byte_window<Byte> b) noexcept {
    if (b.size() < min_size) return drop_reason::arp_malformed;
    const std::byte* p = b.data();
    const std::uint16_t hardware = load_be16(p);
    if ((hardware != 1 && hardware != 6) || load_be16(p + 2) != ethertype::ipv4 || load_be16(p + 4) != 0x0604)
      return drop_reason::arp_malformed;
    return basic_arp{b.data(), min_size};
  }
  /// A view over bytes that were checked before: at least `min_size` of them. Checks nothing.
  [[nodiscard]] static constexpr basic_arp unchecked(byte_window<Byte> b) noexcept { return {b.data(), b.size()}; }

  /// A view that may write can be read through as well.
  constexpr operator basic_arp<const std::byte>() const noexcept
    requires(!std::is_const_v<Byte>)
  {
    return basic_arp<const Byte>::unchecked({p_, n_});
  }

  /// The field of the header, in host byte order. @{
  [[nodiscard]] constexpr std::uint16_t hardware_type() const noexcept { return load_be16(p_); }
  [[nodiscard]] constexpr std::uint16_t protocol_type() const noexcept { return load_be16(p_ + 2); }
  /// @}
  /// One of `arp_operation::…`.
  [[nodiscard]] constexpr std::uint16_t operation_code() const noexcept { return load_be16(p_ + 6); }
  /// The field of the header, in host byte order. @{
  [[nodiscard]] constexpr mac_address sender_hardware() const noexcept { return mac_address::load(p_ + 8); }
  [[nodiscard]] constexpr ipv4_address sender_protocol() const noexcept { return ipv4_address::load(p_ + 14); }
  [[nodiscard]] constexpr mac_address target_hardware() const noexcept { return mac_address::load(p_ + 18); }
  [[nodiscard]] constexpr ipv4_address target_protocol() const noexcept { return ipv4_address::load(p_ + 24); }
  /// @}
  /// What kind of message it is. @{
  [[nodiscard]] constexpr bool is_request() const noexcept { return operation_code() == arp_operation::request; }
  [[nodiscard]] constexpr bool is_reply() const noexcept { return operation_code() == arp_operation::reply; }
  /// @}
  /// A request from nobody: somebody asks whether an address is free before using it (RFC 5227 §2.1). Nothing may be
  /// learned from it.
  [[nodiscard]] constexpr bool is_probe() const noexcept { return is_request() && sender_protocol().is_unspecified(); }
  /// Somebody says that an address is now its own: a request for it (RFC 5227 §2.3), or an unasked reply, which older
  /// systems send ("gratuitous ARP").
  [[nodiscard]] constexpr bool is_announcement() const noexcept {
    return sender_protocol() == target_protocol() && !sender_protocol().is_unspecified();
  }

  /// Writes the field. @{
  constexpr void operation_code(std::uint16_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_be16(p_ + 6, v);
  }
  constexpr void sender_hardware(const mac_address& a) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    a.store(p_ + 8);
  }
  constexpr void sender_protocol(ipv4_address a) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    a.store(p_ + 14);
  }
  constexpr void target_hardware(const mac_address& a) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    a.store(p_ + 18);
  }
  constexpr void target_protocol(ipv4_address a) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    a.store(p_ + 24);
  }
  /// @}

 private:
  constexpr basic_arp(Byte* p, std::size_t n) noexcept : p_(p), n_(n) {}

  Byte* p_;
  std::size_t n_;
};

/// The view to read; `mut<>` of it also writes.
using arp = basic_arp<const std::byte>;

/// An ARP packet to be written: `write_headers(packet, ethernet_header{.destination = mac_broadcast, ...},
/// arp_header{.sender_hardware = ..., .sender_protocol = ..., .target_protocol = ...})`. Nothing goes inside it.
struct arp_header {
  static constexpr std::uint16_t ethertype = runnel::ethertype::arp;  ///< what a link header says of this one

  /// A field of the header, in host byte order. @{
  std::uint16_t operation = arp_operation::request;
  mac_address sender_hardware{};
  ipv4_address sender_protocol{};
  mac_address target_hardware{};
  ipv4_address target_protocol{};
  /// @}

  /// What `build` asks of a header; see `header_value`. @{
  [[nodiscard]] static constexpr std::size_t size() noexcept { return 28; }
  constexpr void write(mutable_bytes whole, const neighbours_of_header&) const noexcept {
    std::byte* p = whole.data();
    store_be16(p, 1);
    store_be16(p + 2, runnel::ethertype::ipv4);
    store_be16(p + 4, 0x0604);
    store_be16(p + 6, operation);
    sender_hardware.store(p + 8);
    sender_protocol.store(p + 14);
    target_hardware.store(p + 18);
    target_protocol.store(p + 24);
  }
  /// @}
};

/// One line in tcpdump's manner: `ARP, Request who-has 10.0.0.2 tell 10.0.0.1, length 28`, `ARP, Reply 10.0.0.2 is-at
/// 02:00:00:00:00:02, length 28`, `ARP, Probe 10.0.0.2, length 28`, `ARP, Announcement 10.0.0.2, length 28`.
template <class Byte>
constexpr void print(text_writer& out, const basic_arp<Byte>& v) noexcept {
  out << "ARP, ";
  if (v.is_probe() || (v.is_request() && v.is_announcement())) {
    out << (v.is_probe() ? "Probe " : "Announcement ");
    print(out, v.target_protocol());
  } else if (v.is_request()) {
    out << "Request who-has ";
    print(out, v.target_protocol());
    out << " tell ";
    print(out, v.sender_protocol());
  } else if (v.is_reply()) {
    out << "Reply ";
    print(out, v.sender_protocol());
    out << " is-at ";
    print(out, v.sender_hardware());
  } else {
    out << "operation " << v.operation_code();
  }
  out << ", length " << std::uint64_t{v.min_size};
}

}  // namespace runnel

#endif
