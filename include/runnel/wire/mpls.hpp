// SPDX-License-Identifier: MIT
// MPLS label stack: a checked view over one entry, the walk down to the bottom, the builder. RFC 3032, RFC 5462.
#ifndef RUNNEL_WIRE_MPLS_HPP
#define RUNNEL_WIRE_MPLS_HPP

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

/// How many labels of a stack are followed.
inline constexpr unsigned max_mpls_labels = 16;

/// Labels with a meaning of their own (RFC 3032 §2.1).
namespace mpls_label {

/// A reserved label. @{
inline constexpr std::uint32_t ipv4_explicit_null = 0;
inline constexpr std::uint32_t router_alert = 1;
inline constexpr std::uint32_t ipv6_explicit_null = 2;
/// @}
inline constexpr std::uint32_t implicit_null = 3;  ///< in signalling only, never in a packet
/// Labels from here on mean what the network says.
inline constexpr std::uint32_t first_ordinary = 16;

}  // namespace mpls_label

/// A view of one entry of a label stack and what follows it. `mpls` reads, `mut<mpls>` also writes. Does not own: valid
/// as long as the bytes.
template <class Byte>
class basic_mpls {
 public:
  /// What the library asks of a header view; see `header_view`. @{
  using mutable_view = basic_mpls<std::byte>;
  static constexpr header in_header = header::mpls;
  static constexpr std::size_t min_size = 4;
  /// @}

  /// A field, for match expressions. @{
  static constexpr field<header::mpls, 0, 20, std::uint32_t> label{"mpls label"};
  static constexpr field<header::mpls, 20, 3, std::uint8_t> tc{"mpls tc"};
  static constexpr field<header::mpls, 23, 1, std::uint8_t> bos{"mpls bos"};
  static constexpr field<header::mpls, 24, 8, std::uint8_t> ttl{"mpls ttl"};
  /// @}

  /// Checks that the entry is there.
  [[nodiscard]] static constexpr result<basic_mpls, drop_reason> parse(byte_window<Byte> b) noexcept {
    if (b.size() < min_size) return drop_reason::mpls_malformed;
    return basic_mpls{b.data(), b.size()};
  }
  /// A view over bytes that were checked before: at least `min_size` of them. Checks nothing.
  [[nodiscard]] static constexpr basic_mpls unchecked(byte_window<Byte> b) noexcept { return {b.data(), b.size()}; }

  /// A view that may write can be read through as well.
  constexpr operator basic_mpls<const std::byte>() const noexcept
    requires(!std::is_const_v<Byte>)
  {
    return basic_mpls<const Byte>::unchecked({p_, n_});
  }

  /// What `build` asks of a header; see `header_value`.
  [[nodiscard]] static constexpr std::size_t header_size() noexcept { return min_size; }
  /// 20 bits.
  [[nodiscard]] constexpr std::uint32_t label_value() const noexcept { return load_be32(p_) >> 12; }
  /// 3 bits, once called EXP (RFC 5462).
  [[nodiscard]] constexpr std::uint8_t traffic_class() const noexcept {
    return static_cast<std::uint8_t>(load_u8(p_ + 2) >> 1 & 7u);
  }
  /// Whether this is the last entry of the stack.
  [[nodiscard]] constexpr bool bottom_of_stack() const noexcept { return (load_u8(p_ + 2) & 1u) != 0; }
  /// The field of the header, in host byte order.
  [[nodiscard]] constexpr std::uint8_t time_to_live() const noexcept { return load_u8(p_ + 3); }
  /// What follows: the next entry, or at the bottom what the stack carries.
  [[nodiscard]] constexpr byte_window<Byte> payload() const noexcept { return {p_ + min_size, n_ - min_size}; }

  /// Writes the field. @{
  constexpr void label_value(std::uint32_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_be32(p_, (load_be32(p_) & 0xfffu) | v << 12);
  }
  constexpr void traffic_class(std::uint8_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_u8(p_ + 2, static_cast<std::uint8_t>((load_u8(p_ + 2) & 0xf1u) | (v & 7u) << 1));
  }
  constexpr void time_to_live(std::uint8_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_u8(p_ + 3, v);
  }
  /// @}

 private:
  constexpr basic_mpls(Byte* p, std::size_t n) noexcept : p_(p), n_(n) {}

  Byte* p_;
  std::size_t n_;
};

/// The view to read; `mut<>` of it also writes.
using mpls = basic_mpls<const std::byte>;

/// Walks a label stack from its top: `for (mpls_stack s(bytes); s; s.next()) use(s.entry());` Ends behind the bottom,
/// where the bytes end, or after `max_mpls_labels` entries; `malformed()` tells the last two cases.
class mpls_stack {
 public:
  /// Walks a label stack.
  constexpr explicit mpls_stack(bytes stack) noexcept : rest_(stack), malformed_(stack.size() < mpls::min_size) {}
  /// Whether there is an entry at the current place.
  [[nodiscard]] constexpr explicit operator bool() const noexcept { return !malformed_ && !done_; }
  /// The entry that it stands at.
  [[nodiscard]] constexpr mpls entry() const noexcept { return mpls::unchecked(rest_); }
  /// Goes to the next entry.
  constexpr void next() noexcept {
    done_ = entry().bottom_of_stack();
    rest_ = rest_.from(mpls::min_size);
    ++count_;
    malformed_ = !done_ && (rest_.size() < mpls::min_size || count_ == max_mpls_labels);
  }
  /// No bottom was found.
  [[nodiscard]] constexpr bool malformed() const noexcept { return malformed_; }
  /// What follows the entries that were walked over: after the walk, what the stack carries.
  [[nodiscard]] constexpr bytes payload() const noexcept { return rest_; }

 private:
  bytes rest_;
  unsigned count_ = 0;
  bool done_ = false;
  bool malformed_;
};

/// An entry of a label stack to be written; several in a row make a stack, whose last one gets the bottom bit:
/// `write_headers(packet, ethernet_header{}, mpls_header{.label = 100}, mpls_header{.label = 17}, ipv4_header{...})`.
struct mpls_header {
  static constexpr std::uint16_t ethertype = runnel::ethertype::mpls;  ///< what a link header says of this one
  static constexpr std::uint8_t ip_protocol = 137;                     ///< what an IP header around it says (RFC 4023)

  /// A field of the header, in host byte order. @{
  std::uint32_t label = 0;
  std::uint8_t traffic_class = 0;
  std::uint8_t ttl = 64;
  /// @}

  /// What `build` asks of a header; see `header_value`. @{
  [[nodiscard]] static constexpr std::size_t size() noexcept { return 4; }
  constexpr void write(mutable_bytes whole, const neighbours_of_header& around) const noexcept {
    RUNNEL_ASSERT(label < 1u << 20 && traffic_class < 8);
    const bool bottom = around.ethertype != ethertype;
    store_be32(whole.data(), label << 12 | (traffic_class & 7u) << 9 | (bottom ? 0x100u : 0u) | ttl);
  }
  /// @}
};

/// One entry in tcpdump's manner: `MPLS (label 100, tc 0, [S], ttl 64)`.
template <class Byte>
constexpr void print(text_writer& out, const basic_mpls<Byte>& v) noexcept {
  out << "MPLS (label " << v.label_value() << ", tc " << v.traffic_class() << (v.bottom_of_stack() ? ", [S]" : "")
      << ", ttl " << v.time_to_live() << ')';
}

}  // namespace runnel

#endif
