// SPDX-License-Identifier: MIT
// UDP header: a checked view over the packet's own bytes, and the builder. RFC 768, RFC 6935 for checksums of zero.
#ifndef RUNNEL_WIRE_UDP_HPP
#define RUNNEL_WIRE_UDP_HPP

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

namespace runnel {

/// A view of a UDP header and what it carries. `udp` reads, `mut<udp>` also writes. Does not own: valid as long as
/// the bytes. No accessor reads outside the bytes that it was made over, even when they change after `parse`.
///
/// The setters take the checksum for a whole one. Where a device has left it partial (`packet::checksum()`), it is set
/// right behind every handler that asks for `mut<udp>`; behind a view that was made by hand, over `packet::writable()`,
/// that is the writer's to do.
template <class Byte>
class basic_udp {
 public:
  /// What the library asks of a header view; see `header_view`. @{
  using mutable_view = basic_udp<std::byte>;
  static constexpr header in_header = header::udp;
  static constexpr std::size_t min_size = 8;
  /// @}

  /// A field, for match expressions. @{
  static constexpr field<header::udp, 0, 16, std::uint16_t> sport{"udp sport"};
  static constexpr field<header::udp, 16, 16, std::uint16_t> dport{"udp dport"};
  static constexpr field<header::udp, 32, 16, std::uint16_t> length{"udp length"};
  static constexpr field<header::udp, 48, 16, std::uint16_t> checksum{"udp checksum"};
  /// @}

  /// Checks the length against `b`, the payload of an IP datagram, which may run on behind what UDP uses of it. The
  /// checksum is not looked at.
  [[nodiscard]] static constexpr result<basic_udp, drop_reason> parse(byte_window<Byte> b) noexcept {
    if (b.size() < min_size) return drop_reason::udp_too_short;
    const std::size_t said = load_be16(b.data() + 4);
    if (said < min_size || said > b.size()) return drop_reason::udp_length;
    return basic_udp{b.data(), said};
  }
  /// A view over bytes that were checked before: at least `min_size` of them. Checks nothing.
  [[nodiscard]] static constexpr basic_udp unchecked(byte_window<Byte> b) noexcept { return {b.data(), b.size()}; }

  /// A view that may write can be read through as well.
  constexpr operator basic_udp<const std::byte>() const noexcept
    requires(!std::is_const_v<Byte>)
  {
    return basic_udp<const Byte>::unchecked({p_, n_});
  }

  /// What `build` asks of a header; see `header_value`.
  [[nodiscard]] static constexpr std::size_t header_size() noexcept { return min_size; }
  /// The field of the header, in host byte order. @{
  [[nodiscard]] constexpr std::uint16_t source_port() const noexcept { return load_be16(p_); }
  [[nodiscard]] constexpr std::uint16_t destination_port() const noexcept { return load_be16(p_ + 2); }
  /// @}
  /// Both ports as they lie there, the source in the upper half.
  [[nodiscard]] constexpr std::uint32_t ports() const noexcept { return load_be32(p_); }
  /// Header and payload in bytes, as the header says.
  [[nodiscard]] constexpr std::uint16_t datagram_length() const noexcept { return load_be16(p_ + 4); }
  /// The field of the header, in host byte order.
  [[nodiscard]] constexpr std::uint16_t datagram_checksum() const noexcept { return load_be16(p_ + 6); }
  /// Whether the sender computed a checksum. Without one IPv6 accepts tunnels only (RFC 6935, RFC 6936).
  [[nodiscard]] constexpr bool has_checksum() const noexcept { return datagram_checksum() != 0; }
  /// What the datagram carries, as far as the view reaches.
  [[nodiscard]] constexpr byte_window<Byte> payload() const noexcept { return datagram().from(min_size); }
  /// Whether the checksum is right, or the sender computed none. `pseudo_header` is the `pseudo_header_sum()` of the
  /// IP header around it. Reads the whole datagram.
  [[nodiscard]] constexpr bool checksum_ok(std::uint32_t pseudo_header) const noexcept {
    return !has_checksum() || fold_checksum(sum(pseudo_header)) == 0xffff;
  }

  // Setters of ports also update the checksum (RFC 1624) when there is one.
  /// Writes the port and updates the checksum (RFC 1624), if there is one. @{
  constexpr void source_port(std::uint16_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    set16(0, v);
  }
  constexpr void destination_port(std::uint16_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    set16(2, v);
  }
  /// @}
  /// Stores a length as given; the checksum, which covers it twice, is the caller's to update.
  constexpr void datagram_length(std::uint16_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_be16(p_ + 4, v);
  }
  /// Stores a checksum as given.
  constexpr void datagram_checksum(std::uint16_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_be16(p_ + 6, v);
  }
  /// Computes the checksum anew; one that comes out as 0 is stored as 0xffff, for 0 means none.
  constexpr void update_checksum(std::uint32_t pseudo_header) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    datagram_checksum(0);
    datagram_checksum(not_zero(static_cast<std::uint16_t>(~fold_checksum(sum(pseudo_header)))));
  }
  /// Updates the checksum, when there is one, after addresses in the IP header around changed (address translation):
  /// with the `pseudo_header_sum()` from before and from after, or with the old and the new IPv4 address as numbers.
  constexpr void update_checksum(std::uint32_t from, std::uint32_t to) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    if (has_checksum()) datagram_checksum(not_zero(update_checksum32(datagram_checksum(), from, to)));
  }

 private:
  constexpr basic_udp(Byte* p, std::size_t n) noexcept : p_(p), n_(n) {}
  [[nodiscard]] constexpr byte_window<Byte> datagram() const noexcept {
    return byte_window<Byte>{p_, n_}.first(datagram_length());
  }
  [[nodiscard]] constexpr std::uint64_t sum(std::uint32_t pseudo_header) const noexcept {
    return add_checksum(datagram(), std::uint64_t{pseudo_header} + 17 + datagram_length());
  }
  [[nodiscard]] static constexpr std::uint16_t not_zero(std::uint16_t v) noexcept { return v != 0 ? v : 0xffff; }
  constexpr void set16(std::size_t at, std::uint16_t v) const noexcept {
    if (has_checksum()) datagram_checksum(not_zero(update_checksum16(datagram_checksum(), load_be16(p_ + at), v)));
    store_be16(p_ + at, v);
  }

  Byte* p_;
  std::size_t n_;
};

/// The view to read; `mut<>` of it also writes.
using udp = basic_udp<const std::byte>;

/// A UDP header to be written: `write_headers(packet, ..., ipv4_header{...}, udp_header{.destination_port = 53})`.
/// Length and checksum are computed, so the payload must be in place before.
struct udp_header {
  static constexpr std::uint8_t ip_protocol = 17;  ///< what an IP header around this one says

  /// A field of the header, in host byte order.
  std::uint16_t source_port = 0;
  std::uint16_t destination_port = 0;  ///< 0: that of the header inside, when it has one (VXLAN)
  bool checksum = true;                ///< false: send none (IPv4, and tunnels over IPv6)

  /// What `build` asks of a header; see `header_value`. @{
  [[nodiscard]] static constexpr std::size_t size() noexcept { return 8; }
  constexpr void write(mutable_bytes whole, const neighbours_of_header& around) const noexcept {
    RUNNEL_ASSERT(whole.size() <= 65535);
    std::byte* p = whole.data();
    store_be16(p, source_port);
    store_be16(p + 2, destination_port != 0 ? destination_port : around.udp_port);
    store_be16(p + 4, static_cast<std::uint16_t>(whole.size()));
    store_be16(p + 6, 0);
    if (checksum) basic_udp<std::byte>::unchecked(whole).update_checksum(around.pseudo_header);
  }
  /// @}
};

/// One line in tcpdump's manner, the length being the payload's: `5000 > 53: UDP, length 20`.
template <class Byte>
constexpr void print(text_writer& out, const basic_udp<Byte>& v) noexcept {
  out << v.source_port() << " > " << v.destination_port() << ": UDP, length " << std::uint64_t{v.payload().size()};
  if (v.datagram_length() < v.min_size) out << ", bad length " << v.datagram_length();
  if (!v.has_checksum()) out << ", no checksum";
}

}  // namespace runnel

#endif
