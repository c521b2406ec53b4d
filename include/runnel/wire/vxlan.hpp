// SPDX-License-Identifier: MIT
// VXLAN header: a checked view over what a UDP datagram to port 4789 carries, and the builder. RFC 7348.
#ifndef RUNNEL_WIRE_VXLAN_HPP
#define RUNNEL_WIRE_VXLAN_HPP

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
#include <runnel/wire/field.hpp>

namespace runnel {

/// The port on which VXLAN is expected.
inline constexpr std::uint16_t vxlan_port = 4789;

/// A view of a VXLAN header and the Ethernet frame that it carries. `vxlan` reads, `mut<vxlan>` also writes. Does not
/// own: valid as long as the bytes.
template <class Byte>
class basic_vxlan {
 public:
  /// What the library asks of a header view; see `header_view`. @{
  using mutable_view = basic_vxlan<std::byte>;
  static constexpr header in_header = header::vxlan;
  static constexpr std::size_t min_size = 8;
  /// @}

  /// A field of the frame inside, for match expressions: `vxlan::inner(ip::saddr)`.
  template <class Field>
  [[nodiscard]] static constexpr match::inner_field<match::tunnel::vxlan, Field> inner(const Field& f) noexcept {
    return match::inner_field<match::tunnel::vxlan, Field>{f};
  }

  /// A field, for match expressions. @{
  static constexpr field<header::vxlan, 0, 8, std::uint8_t> flags{"vxlan flags"};
  static constexpr field<header::vxlan, 32, 24, std::uint32_t> vni{"vxlan vni"};
  /// @}

  /// Checks that the header is there and its network identifier valid (the I flag). Reserved bits are not looked at
  /// (RFC 7348 §5).
  [[nodiscard]] static constexpr result<basic_vxlan, drop_reason> parse(byte_window<Byte> b) noexcept {
    if (b.size() < min_size || (load_u8(b.data()) & 0x08u) == 0) return drop_reason::vxlan_malformed;
    return basic_vxlan{b.data(), b.size()};
  }
  /// A view over bytes that were checked before: at least `min_size` of them. Checks nothing.
  [[nodiscard]] static constexpr basic_vxlan unchecked(byte_window<Byte> b) noexcept { return {b.data(), b.size()}; }

  /// A view that may write can be read through as well.
  constexpr operator basic_vxlan<const std::byte>() const noexcept
    requires(!std::is_const_v<Byte>)
  {
    return basic_vxlan<const Byte>::unchecked({p_, n_});
  }

  /// What `build` asks of a header; see `header_value`.
  [[nodiscard]] static constexpr std::size_t header_size() noexcept { return min_size; }
  /// All eight flags; only 0x08 has a meaning.
  [[nodiscard]] constexpr std::uint8_t flag_bits() const noexcept { return load_u8(p_); }
  /// VNI, 24 bits: which of the virtual networks the frame belongs to.
  [[nodiscard]] constexpr std::uint32_t network_identifier() const noexcept { return load_be24(p_ + 4); }
  /// The frame inside, beginning with its Ethernet header.
  [[nodiscard]] constexpr byte_window<Byte> payload() const noexcept { return {p_ + min_size, n_ - min_size}; }

  /// The UDP checksum around it, when there is one, is the caller's to update.
  constexpr void network_identifier(std::uint32_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_be24(p_ + 4, v);
  }

 private:
  constexpr basic_vxlan(Byte* p, std::size_t n) noexcept : p_(p), n_(n) {}

  Byte* p_;
  std::size_t n_;
};

/// The view to read; `mut<>` of it also writes.
using vxlan = basic_vxlan<const std::byte>;

/// A VXLAN header to be written: `write_headers(packet, ..., udp_header{.source_port = hash}, vxlan_header{.vni = 100},
/// ethernet_header{...}, ...)`. A UDP header without a destination port takes it from here; its source port should come
/// from a hash over the inner headers (RFC 7348 §5).
struct vxlan_header {
  static constexpr std::uint16_t udp_port = vxlan_port;  ///< what a UDP header around this one says

  /// A field of the header, in host byte order.
  std::uint32_t vni = 0;

  /// What `build` asks of a header; see `header_value`. @{
  [[nodiscard]] static constexpr std::size_t size() noexcept { return 8; }
  constexpr void write(mutable_bytes whole, const neighbours_of_header&) const noexcept {
    RUNNEL_ASSERT(vni < 1u << 24);
    store_be32(whole.data(), 0x0800'0000);
    store_be32(whole.data() + 4, vni << 8);
  }
  /// @}
};

/// One line in tcpdump's manner: `VXLAN, flags [I] (0x08), vni 100`.
template <class Byte>
constexpr void print(text_writer& out, const basic_vxlan<Byte>& v) noexcept {
  out << "VXLAN, flags [" << ((v.flag_bits() & 0x08u) != 0 ? 'I' : '.') << "] (0x";
  out.hex(v.flag_bits(), 2) << "), vni " << v.network_identifier();
}

}  // namespace runnel

#endif
