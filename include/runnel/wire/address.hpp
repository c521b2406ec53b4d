// SPDX-License-Identifier: MIT
// Link and network addresses as distinct types in wire order, prefixes, and their text forms: printed as RFC 5952
// says, read strictly as RFC 6943 §3.1.1 advises, checked by the compiler where they stand in the program.
#ifndef RUNNEL_WIRE_ADDRESS_HPP
#define RUNNEL_WIRE_ADDRESS_HPP

#include <compare>      // strong_ordering
#include <cstddef>      // byte, size_t
#include <cstdint>      // uint8_t, uint32_t
#include <type_traits>  // is_constant_evaluated

#include <runnel/base/endian.hpp>
#include <runnel/base/result.hpp>
#include <runnel/base/text.hpp>
#include <runnel/config.hpp>

namespace runnel {

/// A 48-bit link-layer address. `octets[0]` is first on the wire.
struct mac_address {
  /// The octets as they lie in a frame.
  std::uint8_t octets[6] = {};

  /// Reads six bytes.
  [[nodiscard]] static constexpr mac_address load(const std::byte* p) noexcept {
    mac_address a;
    if (!std::is_constant_evaluated()) {
      __builtin_memcpy(a.octets, p, 6);
      return a;
    }
    for (std::size_t i = 0; i < 6; ++i) a.octets[i] = load_u8(p + i);
    return a;
  }
  /// Writes six bytes.
  constexpr void store(std::byte* p) const noexcept {
    if (!std::is_constant_evaluated()) {
      __builtin_memcpy(p, octets, 6);
      return;
    }
    for (std::size_t i = 0; i < 6; ++i) store_u8(p + i, octets[i]);
  }
  /// The address as a number, the first octet most significant.
  [[nodiscard]] constexpr std::uint64_t value() const noexcept {
    std::uint64_t v = 0;
    for (const std::uint8_t o : octets) v = v << 8 | o;
    return v;
  }
  /// Group bit set: multicast, and broadcast too.
  [[nodiscard]] constexpr bool is_multicast() const noexcept { return (octets[0] & 1u) != 0; }
  /// Whether it is ff:ff:ff:ff:ff:ff.
  [[nodiscard]] constexpr bool is_broadcast() const noexcept { return value() == 0xffff'ffff'ffff; }
  /// Equal when all their parts are.
  friend constexpr bool operator==(const mac_address&, const mac_address&) noexcept = default;
  /// In the order of their bytes on the wire.
  friend constexpr std::strong_ordering operator<=>(const mac_address&, const mac_address&) noexcept = default;
};
/// ff:ff:ff:ff:ff:ff
inline constexpr mac_address mac_broadcast{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};

/// An IPv4 address. `value()` counts in host order (10.0.0.1 is 0x0a000001).
class ipv4_address {
 public:
  constexpr ipv4_address() noexcept = default;
  /// a.b.c.d
  constexpr ipv4_address(std::uint8_t a, std::uint8_t b, std::uint8_t c, std::uint8_t d) noexcept
      : value_(std::uint32_t{a} << 24 | std::uint32_t{b} << 16 | std::uint32_t{c} << 8 | d) {}
  /// From a number in host order.
  constexpr explicit ipv4_address(std::uint32_t host_order) noexcept : value_(host_order) {}

  /// Reads four bytes in network order.
  [[nodiscard]] static constexpr ipv4_address load(const std::byte* p) noexcept { return ipv4_address{load_be32(p)}; }
  /// Writes four bytes in network order.
  constexpr void store(std::byte* p) const noexcept { store_be32(p, value_); }
  /// As a number in host order.
  [[nodiscard]] constexpr std::uint32_t value() const noexcept { return value_; }
  /// Whether it is 0.0.0.0.
  [[nodiscard]] constexpr bool is_unspecified() const noexcept { return value_ == 0; }
  /// Whether it lies in 127.0.0.0/8.
  [[nodiscard]] constexpr bool is_loopback() const noexcept { return value_ >> 24 == 127; }
  /// Whether it lies in 224.0.0.0/4.
  [[nodiscard]] constexpr bool is_multicast() const noexcept { return value_ >> 28 == 14; }
  /// Whether it is 255.255.255.255.
  [[nodiscard]] constexpr bool is_broadcast() const noexcept { return value_ == 0xffff'ffff; }
  /// Equal when all their parts are.
  friend constexpr bool operator==(ipv4_address, ipv4_address) noexcept = default;
  /// In the order of their bytes on the wire.
  friend constexpr std::strong_ordering operator<=>(ipv4_address, ipv4_address) noexcept = default;

 private:
  std::uint32_t value_ = 0;
};

/// An IPv6 address: its two halves in host order, the first eight octets in `high`.
class ipv6_address {
 public:
  constexpr ipv6_address() noexcept = default;
  /// From its halves as numbers in host order.
  constexpr ipv6_address(std::uint64_t high, std::uint64_t low) noexcept : high_(high), low_(low) {}

  /// Reads sixteen bytes in network order.
  [[nodiscard]] static constexpr ipv6_address load(const std::byte* p) noexcept {
    return ipv6_address{load_be64(p), load_be64(p + 8)};
  }
  /// Writes sixteen bytes in network order.
  constexpr void store(std::byte* p) const noexcept {
    store_be64(p, high_);
    store_be64(p + 8, low_);
  }
  /// The first eight bytes as a number in host order.
  [[nodiscard]] constexpr std::uint64_t high() const noexcept { return high_; }
  /// The last eight bytes as a number in host order.
  [[nodiscard]] constexpr std::uint64_t low() const noexcept { return low_; }
  /// Group `i` of the eight 16-bit groups, as they are written between the colons.
  [[nodiscard]] constexpr std::uint16_t group(unsigned i) const noexcept {
    return static_cast<std::uint16_t>((i < 4 ? high_ : low_) >> (48 - 16 * (i % 4)));
  }
  /// Whether it is `::`.
  [[nodiscard]] constexpr bool is_unspecified() const noexcept { return high_ == 0 && low_ == 0; }
  /// Whether it is `::1`.
  [[nodiscard]] constexpr bool is_loopback() const noexcept { return high_ == 0 && low_ == 1; }
  /// Whether it lies in ff00::/8.
  [[nodiscard]] constexpr bool is_multicast() const noexcept { return high_ >> 56 == 0xff; }
  /// Whether it lies in fe80::/10.
  [[nodiscard]] constexpr bool is_link_local() const noexcept { return high_ >> 54 == 0xfe80u >> 6; }
  /// Equal when all their parts are.
  friend constexpr bool operator==(const ipv6_address&, const ipv6_address&) noexcept = default;
  /// In the order of their bytes on the wire.
  friend constexpr std::strong_ordering operator<=>(const ipv6_address&, const ipv6_address&) noexcept = default;

 private:
  std::uint64_t high_ = 0;
  std::uint64_t low_ = 0;
};

/// An IPv4 address as an IPv6 one, where both families have one place: IPv4-mapped (RFC 4291 §2.5.5.2).
[[nodiscard]] constexpr ipv6_address mapped(ipv4_address a) noexcept {
  return {0, std::uint64_t{0xffff} << 32 | a.value()};
}
/// Whether an address is such a one.
[[nodiscard]] constexpr bool is_mapped(const ipv6_address& a) noexcept {
  return a.high() == 0 && a.low() >> 32 == 0xffff;
}
/// The IPv4 address in it.
[[nodiscard]] constexpr ipv4_address unmapped(const ipv6_address& a) noexcept {
  return ipv4_address{static_cast<std::uint32_t>(a.low())};
}

/// In the usual form: `02:00:5e:00:00:01`.
constexpr void print(text_writer& out, const mac_address& a) noexcept {
  for (std::size_t i = 0; i < 6; ++i) (i == 0 ? out : out << ':').hex(a.octets[i], 2);
}
/// In the usual form: `192.0.2.1`.
constexpr void print(text_writer& out, ipv4_address a) noexcept {
  out << (a.value() >> 24) << '.' << (a.value() >> 16 & 0xffu) << '.' << (a.value() >> 8 & 0xffu) << '.'
      << (a.value() & 0xffu);
}
/// RFC 5952: lower case, no leading zeros, the longest run of two or more zero groups shortened to `::` (the
/// first of equal ones), IPv4-mapped addresses with their last 32 bits in dotted form (§5).
constexpr void print(text_writer& out, const ipv6_address& a) noexcept {
  if (is_mapped(a)) {
    out << "::ffff:";
    return print(out, unmapped(a));
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

/// A block of addresses of one family: those that agree with `address()` in their first `length()` bits.
template <class Address>
class basic_prefix {
 public:
  /// Bits of an address.
  static constexpr unsigned bits = sizeof(Address) * 8;

  /// The whole address space, 0.0.0.0/0 or ::/0.
  constexpr basic_prefix() noexcept = default;
  /// Bits of `a` behind `length` (at most `bits`, asserted) do not count and become zero.
  constexpr basic_prefix(const Address& a, unsigned length) noexcept
      : address_(cut(a, length)), length_(static_cast<std::uint8_t>(length)) {
    RUNNEL_ASSERT(length <= bits);
  }
  /// The first address of the block.
  [[nodiscard]] constexpr const Address& address() const noexcept { return address_; }
  /// How many bits its addresses agree in.
  [[nodiscard]] constexpr unsigned length() const noexcept { return length_; }
  /// Whether an address lies in the block.
  [[nodiscard]] constexpr bool contains(const Address& a) const noexcept { return cut(a, length_) == address_; }
  /// Equal when all their parts are.
  friend constexpr bool operator==(const basic_prefix&, const basic_prefix&) noexcept = default;

 private:
  // The highest `length` of 32 or 64 bits.
  template <class Word>
  static constexpr Word highest(unsigned length) noexcept {
    return length == 0 ? Word{0} : static_cast<Word>(~Word{0} << (sizeof(Word) * 8 - length));
  }
  static constexpr ipv4_address cut(ipv4_address a, unsigned length) noexcept {
    return ipv4_address{a.value() & highest<std::uint32_t>(length < 32 ? length : 32)};
  }
  static constexpr ipv6_address cut(const ipv6_address& a, unsigned length) noexcept {
    const unsigned in_low = length <= 64 ? 0 : length < 128 ? length - 64 : 64;
    return {a.high() & highest<std::uint64_t>(length < 64 ? length : 64), a.low() & highest<std::uint64_t>(in_low)};
  }

  Address address_{};
  std::uint8_t length_ = 0;
};

/// A block of IPv4 addresses.
using ipv4_prefix = basic_prefix<ipv4_address>;
/// A block of IPv6 addresses.
using ipv6_prefix = basic_prefix<ipv6_address>;

/// A block of addresses of either family. One that was not given a value contains nothing.
class prefix {
 public:
  constexpr prefix() noexcept = default;
  /// A block of one family. @{
  constexpr prefix(const ipv4_prefix& p) noexcept : v4_(p), family_(4) {}
  constexpr prefix(const ipv6_prefix& p) noexcept : v6_(p), family_(6) {}
  /// @}
  /// The block of addresses that agree with `a` in their first `length` bits. @{
  [[nodiscard]] static constexpr prefix v4(ipv4_address a, unsigned length) noexcept { return ipv4_prefix{a, length}; }
  [[nodiscard]] static constexpr prefix v6(const ipv6_address& a, unsigned length) noexcept {
    return ipv6_prefix{a, length};
  }
  /// @}

  /// Whether it is a block of this family. @{
  [[nodiscard]] constexpr bool is_v4() const noexcept { return family_ == 4; }
  [[nodiscard]] constexpr bool is_v6() const noexcept { return family_ == 6; }
  /// @}
  /// How many bits its addresses agree in.
  [[nodiscard]] constexpr unsigned length() const noexcept { return is_v6() ? v6_.length() : v4_.length(); }
  /// False for addresses of the other family.
  [[nodiscard]] constexpr bool contains(ipv4_address a) const noexcept { return is_v4() && v4_.contains(a); }
  /// False for addresses of the other family.
  [[nodiscard]] constexpr bool contains(const ipv6_address& a) const noexcept { return is_v6() && v6_.contains(a); }
  /// The same as a prefix of one family, `ipv4_address` or `ipv6_address`; that it is of that family is the caller's
  /// promise, asserted.
  template <class Address>
  [[nodiscard]] constexpr const basic_prefix<Address>& as() const noexcept {
    RUNNEL_ASSERT(family_ == (sizeof(Address) == 4 ? 4 : 6));
    if constexpr (sizeof(Address) == 4) return v4_;
    else return v6_;
  }
  /// Equal when all their parts are.
  friend constexpr bool operator==(const prefix&, const prefix&) noexcept = default;

 private:
  ipv4_prefix v4_{};
  ipv6_prefix v6_{};
  std::uint8_t family_ = 0;
};

/// In the usual form: `192.0.2.0/24`.
template <class Address>
constexpr void print(text_writer& out, const basic_prefix<Address>& p) noexcept {
  print(out, p.address());
  out << '/' << std::uint32_t{p.length()};
}
/// In the usual form: `192.0.2.0/24`.
constexpr void print(text_writer& out, const prefix& p) noexcept {
  if (p.is_v4()) print(out, p.as<ipv4_address>());
  else if (p.is_v6()) print(out, p.as<ipv6_address>());
  else out << "none";
}

/// Why a text is no address, and where.
struct address_error {
  const char* reason;    ///< a few words: "a part above 255"
  std::size_t position;  ///< of the first character that is wrong, counted from 0
};
/// What is wrong with the text, in words.
constexpr void print(text_writer& out, const address_error& e) noexcept {
  out << e.reason << " at character " << std::uint64_t{e.position + 1};
}

namespace detail {

// Reads an address from the beginning of a text and stops behind it. After an error, nothing more is read.
class address_reader {
 public:
  constexpr explicit address_reader(const char* text) noexcept : text_(text) {}
  [[nodiscard]] constexpr bool good() const noexcept { return reason_ == nullptr; }
  [[nodiscard]] constexpr address_error error() const noexcept { return {reason_, at_}; }

  constexpr bool accept(char c) noexcept {
    if (!good() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  constexpr void fail(const char* reason) noexcept {
    if (good()) reason_ = reason;
  }
  constexpr void expect(char c, const char* reason) noexcept {
    if (!accept(c)) fail(reason);
  }
  constexpr void expect_end() noexcept {
    if (good() && text_[at_] != '\0') fail("something behind the end");
  }
  // A number without leading zeros, in decimal as everybody reads it.
  constexpr unsigned decimal(unsigned highest, const char* reason) noexcept {
    unsigned value = 0, digits = 0;
    const std::size_t start = at_;
    for (; good() && digit(10) >= 0 && digits < 4; ++digits, ++at_)
      value = value * 10 + static_cast<unsigned>(digit(10));
    if (digits == 0) fail("a number is missing");
    const bool zero_first = digits > 1 && text_[start] == '0';
    if (zero_first || value > highest) at_ = start;
    if (zero_first) fail("a number that begins with zero");
    if (value > highest) fail(reason);
    return value;
  }
  constexpr unsigned hexadecimal(unsigned least_digits, unsigned most_digits) noexcept {
    unsigned value = 0, digits = 0;
    for (; good() && digit(16) >= 0 && digits < most_digits; ++digits, ++at_)
      value = value * 16 + static_cast<unsigned>(digit(16));
    if (digits < least_digits) fail("a hexadecimal digit is missing");
    return value;
  }

  constexpr mac_address mac() noexcept {
    mac_address a;
    char between = ':';
    for (std::size_t i = 0; i < 6; ++i) {
      if (i == 1 && good() && text_[at_] == '-') between = '-';
      if (i != 0) expect(between, "a separator is missing");
      a.octets[i] = static_cast<std::uint8_t>(hexadecimal(2, 2));
    }
    return a;
  }
  constexpr ipv4_address ipv4() noexcept {
    std::uint32_t value = 0;
    for (unsigned i = 0; i < 4; ++i) {
      if (i != 0) expect('.', "a dot is missing: an IPv4 address has four parts");
      value = value << 8 | decimal(255, "a part above 255");
    }
    return ipv4_address{value};
  }
  // RFC 4291 §2.2.
  constexpr ipv6_address ipv6() noexcept {
    constexpr unsigned no_gap = 9;
    std::uint16_t groups[8] = {};
    unsigned count = 0, gap = no_gap;  // gap: how many groups stand before the "::"
    if (accept(':')) {
      expect(':', "a single colon at the beginning");
      gap = 0;
    }
    while (good() && (digit(16) >= 0 || gap != count)) {
      if (count == 8) fail("more than eight groups");
      if (dotted_next()) {
        if (count > 6) fail("an IPv4 address behind more than six groups");
        const std::uint32_t last = ipv4().value();
        if (!good()) break;
        groups[count++] = static_cast<std::uint16_t>(last >> 16);
        groups[count++] = static_cast<std::uint16_t>(last);
        break;
      }
      const unsigned group = hexadecimal(1, 4);
      if (!good()) break;
      groups[count++] = static_cast<std::uint16_t>(group);
      if (!accept(':')) break;
      if (!accept(':')) continue;
      if (gap != no_gap) fail("a second \"::\"");
      gap = count;
    }
    if (gap == no_gap && count < 8) fail("fewer than eight groups and no \"::\"");
    if (gap != no_gap && count == 8) fail("a \"::\" that stands for nothing");
    std::uint64_t halves[2] = {};
    for (unsigned i = 0; i < count; ++i) {
      const unsigned at = i < gap ? i : 8 - (count - i);
      halves[at / 4] |= std::uint64_t{groups[i]} << (48 - 16 * (at % 4));
    }
    return {halves[0], halves[1]};
  }
  constexpr prefix either_prefix() noexcept {
    std::size_t colon = 0;
    while (text_[colon] != '\0' && text_[colon] != ':') ++colon;
    const bool six = text_[colon] == ':';
    const ipv6_address a6 = six ? ipv6() : ipv6_address{};
    const ipv4_address a4 = six ? ipv4_address{} : ipv4();
    expect('/', "a slash and a length are missing");
    const std::size_t start = at_;
    const unsigned length = decimal(six ? 128 : 32, "a length beyond the address");
    if (!good()) return {};
    const ipv4_prefix p4{a4, six ? 0 : length};
    const ipv6_prefix p6{a6, six ? length : 0};
    if (six ? p6.address() != a6 : p4.address() != a4) {
      at_ = start;
      fail("a length that cuts off bits of the address");
    }
    return six ? prefix{p6} : prefix{p4};
  }

 private:
  constexpr int digit(int base) const noexcept {
    const char c = text_[at_];
    if (c >= '0' && c <= '9') return c - '0';
    if (base == 16 && c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (base == 16 && c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  }
  constexpr bool dotted_next() const noexcept {
    std::size_t i = at_;
    while (text_[i] >= '0' && text_[i] <= '9') ++i;
    return i != at_ && text_[i] == '.';
  }

  const char* text_;
  std::size_t at_ = 0;
  const char* reason_ = nullptr;
};

template <class T>
[[nodiscard]] constexpr result<T, address_error> finish(address_reader& reader, const T& value) noexcept {
  reader.expect_end();
  if (!reader.good()) return reader.error();
  return value;
}

// Not constant expressions: calling one is how a wrong text becomes a compile error that says what is wrong.
inline void this_text_is_no_ipv4_address() noexcept {}
inline void this_text_is_no_ipv6_address() noexcept {}
inline void this_text_is_no_mac_address() noexcept {}
inline void this_text_is_no_prefix() noexcept {}

}  // namespace detail

/// Reads "02:00:5e:10:00:ff": six pairs of hexadecimal digits, with colons or dashes between them.
[[nodiscard]] constexpr result<mac_address, address_error> parse_mac(const char* text) noexcept {
  detail::address_reader reader{text};
  const mac_address a = reader.mac();
  return detail::finish(reader, a);
}
/// Reads "192.0.2.1" and nothing else: four decimal parts, none of them with a zero in front, which some read as octal.
[[nodiscard]] constexpr result<ipv4_address, address_error> parse_ipv4(const char* text) noexcept {
  detail::address_reader reader{text};
  const ipv4_address a = reader.ipv4();
  return detail::finish(reader, a);
}
/// Reads all forms of RFC 4291 §2.2, "2001:db8::1" and "::ffff:192.0.2.1". Zone identifiers are not addresses.
[[nodiscard]] constexpr result<ipv6_address, address_error> parse_ipv6(const char* text) noexcept {
  detail::address_reader reader{text};
  const ipv6_address a = reader.ipv6();
  return detail::finish(reader, a);
}
/// Reads "10.0.0.0/8" or "2001:db8::/32". Bits behind the length must be zero: "10.1.0.0/8" is more likely a slip than
/// meant; build a `prefix::v4` from its parts where it is meant.
[[nodiscard]] constexpr result<prefix, address_error> parse_prefix(const char* text) noexcept {
  detail::address_reader reader{text};
  const prefix p = reader.either_prefix();
  return detail::finish(reader, p);
}

// Addresses in the program's own text, read by the compiler: a wrong one does not compile, a right one costs nothing.
// For text that is known at run time only there are the functions above.

/// `addr4("192.0.2.1")`.
[[nodiscard]] consteval ipv4_address addr4(const char* text) noexcept {
  const auto a = parse_ipv4(text);
  if (!a) detail::this_text_is_no_ipv4_address();
  return *a;
}
/// `addr6("2001:db8::1")`.
[[nodiscard]] consteval ipv6_address addr6(const char* text) noexcept {
  const auto a = parse_ipv6(text);
  if (!a) detail::this_text_is_no_ipv6_address();
  return *a;
}
/// `mac("02:00:00:00:00:01")`.
[[nodiscard]] consteval mac_address mac(const char* text) noexcept {
  const auto a = parse_mac(text);
  if (!a) detail::this_text_is_no_mac_address();
  return *a;
}
/// `net("10.0.0.0/8")`, `net("2001:db8::/32")`.
[[nodiscard]] consteval prefix net(const char* text) noexcept {
  const auto p = parse_prefix(text);
  if (!p) detail::this_text_is_no_prefix();
  return *p;
}

}  // namespace runnel

#endif
