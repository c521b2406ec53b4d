// SPDX-License-Identifier: MIT
// Link and network addresses as distinct types in wire order, prefixes, their text forms (RFC 5952 for IPv6).
#ifndef RUNNEL_WIRE_ADDRESS_HPP
#define RUNNEL_WIRE_ADDRESS_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint32_t

#include <runnel/base/endian.hpp>
#include <runnel/base/text.hpp>
#include <runnel/config.hpp>

namespace runnel {

/// A 48-bit link-layer address. `octets[0]` is first on the wire.
struct mac_address {
  std::uint8_t octets[6] = {};

  [[nodiscard]] static constexpr mac_address load(const std::byte* p) noexcept {
    mac_address a;
    for (std::size_t i = 0; i < 6; ++i) a.octets[i] = load_u8(p + i);
    return a;
  }
  constexpr void store(std::byte* p) const noexcept {
    for (std::size_t i = 0; i < 6; ++i) store_u8(p + i, octets[i]);
  }
  /// The address as a number, the first octet most significant.
  [[nodiscard]] constexpr std::uint64_t value() const noexcept {
    std::uint64_t v = 0;
    for (std::uint8_t o : octets) v = v << 8 | o;
    return v;
  }
  /// Group bit set: multicast, and broadcast too.
  [[nodiscard]] constexpr bool is_multicast() const noexcept { return (octets[0] & 1u) != 0; }
  [[nodiscard]] constexpr bool is_broadcast() const noexcept { return value() == 0xffff'ffff'ffff; }
  friend constexpr bool operator==(const mac_address&, const mac_address&) noexcept = default;
};
inline constexpr mac_address mac_broadcast{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};

/// An IPv4 address. `value()` counts in host order (10.0.0.1 is 0x0a000001).
class ipv4_address {
 public:
  constexpr ipv4_address() noexcept = default;
  constexpr ipv4_address(std::uint8_t a, std::uint8_t b, std::uint8_t c, std::uint8_t d) noexcept
      : value_(std::uint32_t{a} << 24 | std::uint32_t{b} << 16 | std::uint32_t{c} << 8 | d) {}
  constexpr explicit ipv4_address(std::uint32_t host_order) noexcept : value_(host_order) {}

  [[nodiscard]] static constexpr ipv4_address load(const std::byte* p) noexcept { return ipv4_address{load_be32(p)}; }
  constexpr void store(std::byte* p) const noexcept { store_be32(p, value_); }
  [[nodiscard]] constexpr std::uint32_t value() const noexcept { return value_; }
  [[nodiscard]] constexpr bool is_unspecified() const noexcept { return value_ == 0; }
  [[nodiscard]] constexpr bool is_loopback() const noexcept { return value_ >> 24 == 127; }
  [[nodiscard]] constexpr bool is_multicast() const noexcept { return value_ >> 28 == 14; }
  [[nodiscard]] constexpr bool is_broadcast() const noexcept { return value_ == 0xffff'ffff; }
  friend constexpr bool operator==(ipv4_address, ipv4_address) noexcept = default;

 private:
  std::uint32_t value_ = 0;
};

/// An IPv6 address: its two halves in host order, the first eight octets in `high`.
class ipv6_address {
 public:
  constexpr ipv6_address() noexcept = default;
  constexpr ipv6_address(std::uint64_t high, std::uint64_t low) noexcept : high_(high), low_(low) {}

  [[nodiscard]] static constexpr ipv6_address load(const std::byte* p) noexcept {
    return ipv6_address{load_be64(p), load_be64(p + 8)};
  }
  constexpr void store(std::byte* p) const noexcept {
    store_be64(p, high_);
    store_be64(p + 8, low_);
  }
  [[nodiscard]] constexpr std::uint64_t high() const noexcept { return high_; }
  [[nodiscard]] constexpr std::uint64_t low() const noexcept { return low_; }
  /// Group `i` of the eight 16-bit groups, as they are written between the colons.
  [[nodiscard]] constexpr std::uint16_t group(unsigned i) const noexcept {
    return static_cast<std::uint16_t>((i < 4 ? high_ : low_) >> (48 - 16 * (i % 4)));
  }
  [[nodiscard]] constexpr bool is_unspecified() const noexcept { return high_ == 0 && low_ == 0; }
  [[nodiscard]] constexpr bool is_loopback() const noexcept { return high_ == 0 && low_ == 1; }
  [[nodiscard]] constexpr bool is_multicast() const noexcept { return high_ >> 56 == 0xff; }
  [[nodiscard]] constexpr bool is_link_local() const noexcept { return high_ >> 54 == 0xfe80u >> 6; }
  friend constexpr bool operator==(const ipv6_address&, const ipv6_address&) noexcept = default;

 private:
  std::uint64_t high_ = 0;
  std::uint64_t low_ = 0;
};

constexpr void print(text_writer& out, const mac_address& a) noexcept {
  for (std::size_t i = 0; i < 6; ++i) (i == 0 ? out : out << ':').hex(a.octets[i], 2);
}
constexpr void print(text_writer& out, ipv4_address a) noexcept {
  out << (a.value() >> 24) << '.' << (a.value() >> 16 & 0xffu) << '.' << (a.value() >> 8 & 0xffu) << '.'
      << (a.value() & 0xffu);
}
/// RFC 5952: lower case, no leading zeros, the longest run of two or more zero groups shortened to `::` (the
/// first of equal ones), IPv4-mapped addresses with their last 32 bits in dotted form (§5).
constexpr void print(text_writer& out, const ipv6_address& a) noexcept {
  if (a.high() == 0 && a.low() >> 32 == 0xffff) {
    out << "::ffff:";
    return print(out, ipv4_address{static_cast<std::uint32_t>(a.low())});
  }
  unsigned best = 8, best_length = 1;
  for (unsigned i = 0; i < 8; ++i) {
    unsigned length = 0;
    while (i + length < 8 && a.group(i + length) == 0) ++length;
    if (length > best_length) best = i, best_length = length;
  }
  for (unsigned i = 0; i < 8; ++i) {
    if (i == best) {
      out << "::";
      i += best_length - 1;
      continue;
    }
    if (i != 0 && i != best + best_length) out << ':';
    out.hex(a.group(i));
  }
}

}  // namespace runnel

#endif
