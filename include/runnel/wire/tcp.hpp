// SPDX-License-Identifier: MIT
// TCP header: a checked view over the segment's own bytes, the builder, the printer. RFC 9293, RFC 3168.
#ifndef RUNNEL_WIRE_TCP_HPP
#define RUNNEL_WIRE_TCP_HPP

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
#include <runnel/wire/tcp_options.hpp>

namespace runnel {

/// The control bits of a TCP header as numbers: `tcp::flags == tcp_flags::syn`, `.flags = tcp_flags::syn |
/// tcp_flags::ack`.
struct tcp_flags {
  static constexpr std::uint8_t fin = 0x01;  ///< no more data from the sender
  static constexpr std::uint8_t syn = 0x02;  ///< synchronise sequence numbers
  static constexpr std::uint8_t rst = 0x04;  ///< reset the connection
  static constexpr std::uint8_t psh = 0x08;  ///< push function
  static constexpr std::uint8_t ack = 0x10;  ///< the acknowledgment number counts
  static constexpr std::uint8_t urg = 0x20;  ///< the urgent pointer counts
  static constexpr std::uint8_t ece = 0x40;  ///< ECN echo (RFC 3168 §6.1)
  static constexpr std::uint8_t cwr = 0x80;  ///< congestion window reduced (RFC 3168 §6.1)
};

/// A view of a TCP segment: header and payload. `tcp` reads, `mut<tcp>` also writes. Does not own: valid as long as
/// the bytes. No accessor reads outside the bytes that it was made over, even when they change after `parse`.
///
/// The setters take the checksum for a whole one. Where a device has left it partial (`packet::checksum()`), it is set
/// right behind every handler that asks for `mut<tcp>`; behind a view that was made by hand, over `packet::writable()`,
/// that is the writer's to do.
template <class Byte>
class basic_tcp {
 public:
  /// What the library asks of a header view; see `header_view`. @{
  using mutable_view = basic_tcp<std::byte>;
  static constexpr header in_header = header::tcp;
  static constexpr std::size_t min_size = 20;
  /// @}

  /// Options for match expressions: `has<tcp::option::sack_perm>`, `tcp::option::maxseg::size`.
  using option = tcp_option_fields<>;

  /// A field, for match expressions. @{
  static constexpr field<header::tcp, 0, 16, std::uint16_t> sport{"tcp sport"};
  static constexpr field<header::tcp, 16, 16, std::uint16_t> dport{"tcp dport"};
  static constexpr field<header::tcp, 32, 32, std::uint32_t> sequence{"tcp sequence"};
  static constexpr field<header::tcp, 64, 32, std::uint32_t> ackseq{"tcp ackseq"};
  static constexpr field<header::tcp, 96, 4, std::uint8_t> doff{"tcp doff"};
  static constexpr field<header::tcp, 104, 8, std::uint8_t> flags{"tcp flags"};
  static constexpr field<header::tcp, 112, 16, std::uint16_t> window{"tcp window"};
  static constexpr field<header::tcp, 128, 16, std::uint16_t> checksum{"tcp checksum"};
  static constexpr field<header::tcp, 144, 16, std::uint16_t> urgptr{"tcp urgptr"};
  /// @}

  /// Checks the data offset against `b`, which is the whole segment: the IP payload, no link padding. Neither the
  /// checksum nor the options are looked at.
  [[nodiscard]] static constexpr result<basic_tcp, drop_reason> parse(byte_window<Byte> b) noexcept {
    if (b.size() < min_size) return drop_reason::tcp_too_short;
    const std::size_t header_size = (load_u8(b.data() + 12) >> 4) * std::size_t{4};
    if (header_size < min_size || header_size > b.size()) return drop_reason::tcp_data_offset;
    return basic_tcp{b.data(), b.size()};
  }
  /// A view over bytes that were checked before: at least `min_size` of them. Checks nothing.
  [[nodiscard]] static constexpr basic_tcp unchecked(byte_window<Byte> b) noexcept { return {b.data(), b.size()}; }

  /// A view that may write can be read through as well.
  constexpr operator basic_tcp<const std::byte>() const noexcept
    requires(!std::is_const_v<Byte>)
  {
    return basic_tcp<const Byte>::unchecked({p_, n_});
  }

  /// The field of the header, in host byte order. @{
  [[nodiscard]] constexpr std::uint16_t source_port() const noexcept { return load_be16(p_); }
  [[nodiscard]] constexpr std::uint16_t destination_port() const noexcept { return load_be16(p_ + 2); }
  /// @}
  /// Both ports as they lie there, the source in the upper half.
  [[nodiscard]] constexpr std::uint32_t ports() const noexcept { return load_be32(p_); }
  /// Of the first payload octet; in a SYN that of the SYN itself.
  [[nodiscard]] constexpr std::uint32_t sequence_number() const noexcept { return load_be32(p_ + 4); }
  /// The next sequence number that the sender of this segment expects; counts when `ack()`.
  [[nodiscard]] constexpr std::uint32_t acknowledgment_number() const noexcept { return load_be32(p_ + 8); }
  /// Header length in bytes, options included: the data offset; never more than the view holds.
  [[nodiscard]] constexpr std::size_t header_size() const noexcept {
    const std::size_t said = (load_u8(p_ + 12) >> 4) * std::size_t{4};
    return said < min_size ? min_size : said < n_ ? said : n_;
  }
  /// All eight control bits, as in `tcp_flags`.
  [[nodiscard]] constexpr std::uint8_t control_bits() const noexcept { return load_u8(p_ + 13); }
  /// Whether the control bit is set. @{
  [[nodiscard]] constexpr bool fin() const noexcept { return (control_bits() & tcp_flags::fin) != 0; }
  [[nodiscard]] constexpr bool syn() const noexcept { return (control_bits() & tcp_flags::syn) != 0; }
  [[nodiscard]] constexpr bool rst() const noexcept { return (control_bits() & tcp_flags::rst) != 0; }
  [[nodiscard]] constexpr bool psh() const noexcept { return (control_bits() & tcp_flags::psh) != 0; }
  [[nodiscard]] constexpr bool ack() const noexcept { return (control_bits() & tcp_flags::ack) != 0; }
  [[nodiscard]] constexpr bool urg() const noexcept { return (control_bits() & tcp_flags::urg) != 0; }
  [[nodiscard]] constexpr bool ece() const noexcept { return (control_bits() & tcp_flags::ece) != 0; }
  [[nodiscard]] constexpr bool cwr() const noexcept { return (control_bits() & tcp_flags::cwr) != 0; }
  /// @}
  /// Octets that the sender of this segment accepts, before window scaling (RFC 7323 §2.3).
  [[nodiscard]] constexpr std::uint16_t window_size() const noexcept { return load_be16(p_ + 14); }
  /// The field of the header, in host byte order.
  [[nodiscard]] constexpr std::uint16_t segment_checksum() const noexcept { return load_be16(p_ + 16); }
  /// Offset from the sequence number to the octet behind the urgent data; counts when `urg()`.
  [[nodiscard]] constexpr std::uint16_t urgent_pointer() const noexcept { return load_be16(p_ + 18); }
  /// The option bytes; walk them with `tcp_options`, or read the usual ones with `tcp_option_values::parse`.
  [[nodiscard]] constexpr bytes options() const noexcept { return bytes{p_, header_size()}.from(min_size); }
  /// What follows the header.
  [[nodiscard]] constexpr byte_window<Byte> payload() const noexcept {
    return byte_window<Byte>{p_, n_}.from(header_size());
  }
  /// SEG.LEN of RFC 9293 §3.4: payload bytes, and one each for SYN and FIN. Of the bytes that are there: what a snap
  /// length cut off, or lies in chained buffers, is told by the IP header's length.
  [[nodiscard]] constexpr std::uint32_t sequence_length() const noexcept {
    return static_cast<std::uint32_t>(n_ - header_size()) + (syn() ? 1u : 0u) + (fin() ? 1u : 0u);
  }
  /// Whether the checksum is right, `pseudo_header_sum` being that of the IP header around (§3.1, MUST-3). Reads the
  /// whole segment.
  [[nodiscard]] constexpr bool checksum_ok(std::uint32_t pseudo_header_sum) const noexcept {
    return fold_checksum(add_checksum(bytes{p_, n_}, pseudo_header_sum + std::uint64_t{6} + n_)) == 0xffff;
  }

  // Setters. Each also updates the checksum (RFC 1624), unless it says otherwise.
  /// Writes the field and updates the checksum (RFC 1624). @{
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
  constexpr void sequence_number(std::uint32_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    set32(4, v);
  }
  constexpr void acknowledgment_number(std::uint32_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    set32(8, v);
  }
  constexpr void control_bits(std::uint8_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    set16(12, static_cast<std::uint16_t>((load_be16(p_ + 12) & 0xff00u) | v));
  }
  constexpr void window_size(std::uint16_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    set16(14, v);
  }
  constexpr void urgent_pointer(std::uint16_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    set16(18, v);
  }
  /// @}
  /// Stores a checksum as given.
  constexpr void segment_checksum(std::uint16_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_be16(p_ + 16, v);
  }
  /// Updates the checksum after addresses in the IP header around changed (address translation): with the
  /// `pseudo_header_sum()` from before and from after, or with the old and the new IPv4 address as numbers.
  constexpr void update_checksum(std::uint32_t from, std::uint32_t to) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_be16(p_ + 16, update_checksum32(load_be16(p_ + 16), from, to));
  }
  /// Computes the checksum anew, `pseudo_header_sum` being that of the IP header around. Reads the whole segment.
  constexpr void update_checksum(std::uint32_t pseudo_header_sum) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_be16(p_ + 16, 0);
    store_be16(p_ + 16, runnel::checksum(bytes{p_, n_}, pseudo_header_sum + std::uint64_t{6} + n_));
  }
  /// Lowers the maximum segment size option to `limit` where it says more ("MSS clamping"); adds none. True when it
  /// changed. Only meaningful on a SYN.
  constexpr bool clamp_maximum_segment_size(std::uint16_t limit) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    const bytes all = options();
    for (tcp_options o(all); o; o.next()) {
      const std::uint16_t said = o.maximum_segment_size();
      if (said <= limit) continue;
      const std::size_t at = min_size + all.size() - o.remaining() + 2;
      store_be16(p_ + at, limit);
      // An option at an odd place has its bytes in the other halves of the checksum's words.
      const bool odd = at % 2 != 0;
      store_be16(p_ + 16,
                 update_checksum16(load_be16(p_ + 16), odd ? byte_swap(said) : said, odd ? byte_swap(limit) : limit));
      return true;
    }
    return false;
  }

 private:
  constexpr basic_tcp(Byte* p, std::size_t n) noexcept : p_(p), n_(n) {}
  constexpr void set16(std::size_t at, std::uint16_t v) const noexcept {
    store_be16(p_ + 16, update_checksum16(load_be16(p_ + 16), load_be16(p_ + at), v));
    store_be16(p_ + at, v);
  }
  constexpr void set32(std::size_t at, std::uint32_t v) const noexcept {
    store_be16(p_ + 16, update_checksum32(load_be16(p_ + 16), load_be32(p_ + at), v));
    store_be32(p_ + at, v);
  }

  Byte* p_;
  std::size_t n_;
};

/// The view to read; `mut<>` of it also writes.
using tcp = basic_tcp<const std::byte>;

/// A TCP header to be written: `write_headers(packet, ipv4_header{...}, tcp_header{.flags = tcp_flags::syn, ...})`.
/// Data offset and checksum come from what is around and inside.
struct tcp_header {
  /// What `build` asks of a header; see `header_value`.
  static constexpr std::uint8_t ip_protocol = 6;

  /// A field of the header, in host byte order. @{
  std::uint16_t source_port = 0;
  std::uint16_t destination_port = 0;
  std::uint32_t sequence_number = 0;
  std::uint32_t acknowledgment_number = 0;
  /// @}
  std::uint8_t flags = 0;         ///< of `tcp_flags`
  std::uint16_t window_size = 0;  ///< as it goes on the wire: already scaled down
  /// A field of the header, in host byte order. @{
  std::uint16_t urgent_pointer = 0;
  tcp_option_values options{};
  /// @}
  bytes more_options{};  ///< encoded ones, written behind `options`; together at most 40 bytes

  /// Header bytes, options padded with zeros to a multiple of 4.
  [[nodiscard]] constexpr std::size_t size() const noexcept {
    const std::size_t n = options.size() + more_options.size();
    RUNNEL_ASSERT(n <= 40);
    return 20 + (n + 3) / 4 * 4;
  }
  /// What `build` asks of a header; see `header_value`.
  constexpr void write(mutable_bytes whole, const neighbours_of_header& around) const noexcept {
    std::byte* p = whole.data();
    const std::size_t header_size = size();
    store_be16(p, source_port);
    store_be16(p + 2, destination_port);
    store_be32(p + 4, sequence_number);
    store_be32(p + 8, acknowledgment_number);
    store_u8(p + 12, static_cast<std::uint8_t>(header_size / 4 << 4));
    store_u8(p + 13, flags);
    store_be16(p + 14, window_size);
    store_be16(p + 16, 0);
    store_be16(p + 18, urgent_pointer);
    options.write(p + 20);
    const std::size_t behind = 20 + options.size();
    zero_bytes(p + behind, header_size - behind);
    copy_bytes(p + behind, more_options.data(), more_options.size());
    store_be16(p + 16, checksum(whole, std::uint64_t{around.pseudo_header} + ip_protocol + whole.size()));
  }
};

/// One line in tcpdump's manner: `40000 > 80: Flags [S], seq 1, win 64240, options [mss 1460], length 0`.
template <class Byte>
constexpr void print(text_writer& out, const basic_tcp<Byte>& v) noexcept {
  out << v.source_port() << " > " << v.destination_port() << ": Flags [";
  if (v.control_bits() == 0) out << "none";
  for (unsigned i = 0; i < 8; ++i)
    if ((unsigned{v.control_bits()} >> i & 1u) != 0) out << "FSRP.UEW"[i];
  out << ']';
  const std::size_t length = v.payload().size();
  if (length != 0 || v.syn() || v.fin() || v.rst()) out << ", seq " << v.sequence_number();
  if (length != 0) out << ':' << static_cast<std::uint32_t>(v.sequence_number() + length);
  if (v.ack()) out << ", ack " << v.acknowledgment_number();
  out << ", win " << v.window_size();
  if (v.urg()) out << ", urg " << v.urgent_pointer();
  if (!v.options().empty()) {
    out << ", options [";
    print(out, tcp_options{v.options()});
    out << ']';
  }
  out << ", length " << std::uint64_t{length};
}

}  // namespace runnel

#endif
