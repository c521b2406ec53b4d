// SPDX-License-Identifier: MIT
// Who talks to whom, as a value: addresses, ports and protocol in whole 64-bit words, to compare, turn around and
// hash. What connection tables, fair queues and receive steering look packets up by.
#ifndef RUNNEL_WIRE_FLOW_KEY_HPP
#define RUNNEL_WIRE_FLOW_KEY_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t, uint64_t

#include <runnel/base/bytes.hpp>
#include <runnel/base/endian.hpp>
#include <runnel/base/hash.hpp>
#include <runnel/base/text.hpp>
#include <runnel/wire/address.hpp>
#include <runnel/wire/ipv4.hpp>
#include <runnel/wire/ipv6.hpp>

namespace runnel {

namespace detail {

/// A transport view with ports: tcp, udp and their kin.
template <class T>
concept has_ports = requires(const T& t) {
  t.source_port();
  t.destination_port();
};

// Odd numbers without pattern, those of wyhash. The low 24 bits of the one that meets ports and protocol are not
// zero where theirs are, so that no packet can make a factor zero.
inline constexpr std::uint64_t flow_hash_keys[5] = {0xa076'1d64'78bd'642f, 0xe703'7ed1'a0b4'28db, 0x8ebc'6af0'9c88'c6e3,
                                                    0x5899'65cc'7537'4cc3, 0x1d8e'4e27'c47d'124f};

// Source port, destination port, protocol, 24 zero bits: the last word of a key.
[[nodiscard]] constexpr std::uint64_t ports_word(std::uint32_t ports, std::uint8_t protocol) noexcept {
  return std::uint64_t{ports} << 32 | std::uint64_t{protocol} << 24;
}
[[nodiscard]] constexpr std::uint64_t swap_ports(std::uint64_t word) noexcept {
  const auto ports = static_cast<std::uint32_t>(word >> 32);
  return std::uint64_t{ports << 16 | ports >> 16} << 32 | (word & 0xffff'ffff);
}
[[nodiscard]] constexpr std::uint32_t load_ports(bytes transport) noexcept {
  return transport.size() < 4 ? 0 : load_be32(transport.data());
}
template <has_ports Transport>
[[nodiscard]] constexpr std::uint32_t load_ports(const Transport& transport) noexcept {
  if constexpr (requires { transport.ports(); }) return transport.ports();
  else return std::uint32_t{transport.source_port()} << 16 | transport.destination_port();
}

}  // namespace detail

/// The flow of an IPv4 packet: 16 bytes in two words, compared and hashed in registers. Made from a packet with whole
/// loads and written as whole words, so that a lookup never waits for store forwarding. ICMP and protocols without
/// ports have zeros there, or what the caller chooses (an echo identifier as both ports, say).
class flow_key4 {
 public:
  /// The first words hold the addresses, the last one ports, protocol and zeros, all as they lie on the wire, the
  /// first byte most significant.
  static constexpr std::size_t words = 2;

  constexpr flow_key4() noexcept = default;
  /// From its parts; ports are in host order.
  constexpr flow_key4(ipv4_address source, ipv4_address destination, std::uint16_t source_port,
                      std::uint16_t destination_port, std::uint8_t protocol) noexcept
      : flow_key4(source, destination, std::uint32_t{source_port} << 16 | destination_port, protocol) {}

  /// Of a packet whose transport has ports. A fragment's ports are the caller's to doubt.
  template <class Byte, detail::has_ports Transport>
  [[nodiscard]] static constexpr flow_key4 from(const basic_ipv4<Byte>& outer, const Transport& transport) noexcept {
    return flow_key4{outer.addresses(), detail::ports_word(detail::load_ports(transport), outer.protocol_number())};
  }
  /// Of a packet whose transport header begins with two ports; zeros when it is shorter than those.
  template <class Byte>
  [[nodiscard]] static constexpr flow_key4 from(const basic_ipv4<Byte>& outer, bytes transport) noexcept {
    return flow_key4{outer.addresses(), detail::ports_word(detail::load_ports(transport), outer.protocol_number())};
  }
  /// Of a packet without ports, or with ports as given.
  template <class Byte>
  [[nodiscard]] static constexpr flow_key4 from(const basic_ipv4<Byte>& outer, std::uint16_t source_port = 0,
                                                std::uint16_t destination_port = 0) noexcept {
    return {outer.source(), outer.destination(), source_port, destination_port, outer.protocol_number()};
  }

  /// A part of the key, in host order. @{
  [[nodiscard]] constexpr ipv4_address source() const noexcept {
    return ipv4_address{static_cast<std::uint32_t>(word_[0] >> 32)};
  }
  [[nodiscard]] constexpr ipv4_address destination() const noexcept {
    return ipv4_address{static_cast<std::uint32_t>(word_[0])};
  }
  [[nodiscard]] constexpr std::uint16_t source_port() const noexcept {
    return static_cast<std::uint16_t>(word_[1] >> 48);
  }
  [[nodiscard]] constexpr std::uint16_t destination_port() const noexcept {
    return static_cast<std::uint16_t>(word_[1] >> 32);
  }
  [[nodiscard]] constexpr std::uint8_t protocol_number() const noexcept {
    return static_cast<std::uint8_t>(word_[1] >> 24);
  }
  /// @}
  /// Word `i < words`, for tables and hashes of one's own.
  [[nodiscard]] constexpr std::uint64_t word(std::size_t i) const noexcept { return word_[i]; }

  /// The key of the packets that go the other way.
  [[nodiscard]] constexpr flow_key4 reversed() const noexcept {
    return flow_key4{word_[0] << 32 | word_[0] >> 32, detail::swap_ports(word_[1])};
  }
  /// Whether the source is the lesser end (address first, then port): true of exactly one direction of a flow, of both
  /// when the ends are the same.
  [[nodiscard]] constexpr bool is_canonical() const noexcept {
    const std::uint64_t from = (word_[0] >> 32) << 16 | word_[1] >> 48;
    const std::uint64_t to = (word_[0] & 0xffff'ffff) << 16 | (word_[1] >> 32 & 0xffff);
    return from <= to;
  }
  /// The same key for both directions of a flow.
  [[nodiscard]] constexpr flow_key4 canonical() const noexcept { return is_canonical() ? *this : reversed(); }
  /// An ordinary fast hash, all 64 bits good; the same on every target. With a secret random `seed` a stranger cannot
  /// choose flows that collide; without one they can. Directions hash apart: take `canonical()` first to join them.
  [[nodiscard]] constexpr std::uint64_t hash(std::uint64_t seed = 0) const noexcept {
    const auto& k = detail::flow_hash_keys;
    return detail::multiply_fold(detail::multiply_fold(word_[0] ^ k[0] ^ seed, word_[1] ^ k[1]) ^ seed, k[4]);
  }
  /// Equal when all their parts are.
  friend constexpr bool operator==(const flow_key4& a, const flow_key4& b) noexcept {
    return ((a.word_[0] ^ b.word_[0]) | (a.word_[1] ^ b.word_[1])) == 0;
  }

 private:
  constexpr flow_key4(std::uint64_t addresses, std::uint64_t rest) noexcept : word_{addresses, rest} {}
  constexpr flow_key4(ipv4_address source, ipv4_address destination, std::uint32_t ports,
                      std::uint8_t protocol) noexcept
      : word_{std::uint64_t{source.value()} << 32 | destination.value(), detail::ports_word(ports, protocol)} {}

  std::uint64_t word_[words] = {};
};
static_assert(sizeof(flow_key4) == 16);

/// The flow of an IPv6 packet: 40 bytes in five words. See `flow_key4`. The protocol is that of the transport, behind
/// the extension headers; the flow label is no part of it.
class flow_key6 {
 public:
  static constexpr std::size_t words = 5;  ///< as in `flow_key4`

  constexpr flow_key6() noexcept = default;
  /// From its parts; ports are in host order.
  constexpr flow_key6(const ipv6_address& source, const ipv6_address& destination, std::uint16_t source_port,
                      std::uint16_t destination_port, std::uint8_t protocol) noexcept
      : flow_key6(source, destination, std::uint32_t{source_port} << 16 | destination_port, protocol) {}

  /// Of a packet whose transport has ports; `protocol` is the transport's number.
  template <class Byte, detail::has_ports Transport>
  [[nodiscard]] static constexpr flow_key6 from(const basic_ipv6<Byte>& outer, std::uint8_t protocol,
                                                const Transport& transport) noexcept {
    return {outer.source(), outer.destination(), detail::load_ports(transport), protocol};
  }
  /// Of a packet whose transport header begins with two ports; zeros when it is shorter than those.
  template <class Byte>
  [[nodiscard]] static constexpr flow_key6 from(const basic_ipv6<Byte>& outer, std::uint8_t protocol,
                                                bytes transport) noexcept {
    return {outer.source(), outer.destination(), detail::load_ports(transport), protocol};
  }
  /// Of a packet without ports, or with ports as given.
  template <class Byte>
  [[nodiscard]] static constexpr flow_key6 from(const basic_ipv6<Byte>& outer, std::uint8_t protocol,
                                                std::uint16_t source_port = 0,
                                                std::uint16_t destination_port = 0) noexcept {
    return {outer.source(), outer.destination(), source_port, destination_port, protocol};
  }

  /// A part of the key, in host order. @{
  [[nodiscard]] constexpr ipv6_address source() const noexcept { return {word_[0], word_[1]}; }
  [[nodiscard]] constexpr ipv6_address destination() const noexcept { return {word_[2], word_[3]}; }
  [[nodiscard]] constexpr std::uint16_t source_port() const noexcept {
    return static_cast<std::uint16_t>(word_[4] >> 48);
  }
  [[nodiscard]] constexpr std::uint16_t destination_port() const noexcept {
    return static_cast<std::uint16_t>(word_[4] >> 32);
  }
  [[nodiscard]] constexpr std::uint8_t protocol_number() const noexcept {
    return static_cast<std::uint8_t>(word_[4] >> 24);
  }
  /// @}
  /// Word `i < words`, for tables and hashes of one's own.
  [[nodiscard]] constexpr std::uint64_t word(std::size_t i) const noexcept { return word_[i]; }

  /// The key of the packets that go the other way.
  [[nodiscard]] constexpr flow_key6 reversed() const noexcept {
    flow_key6 k;
    k.word_[0] = word_[2], k.word_[1] = word_[3], k.word_[2] = word_[0], k.word_[3] = word_[1];
    k.word_[4] = detail::swap_ports(word_[4]);
    return k;
  }
  /// Whether the source is the lesser end (address first, then port): true of exactly one direction of a flow, of both
  /// when the ends are the same.
  [[nodiscard]] constexpr bool is_canonical() const noexcept {
    if (word_[0] != word_[2]) return word_[0] < word_[2];
    if (word_[1] != word_[3]) return word_[1] < word_[3];
    return source_port() <= destination_port();
  }
  /// The same key for both directions of a flow.
  [[nodiscard]] constexpr flow_key6 canonical() const noexcept { return is_canonical() ? *this : reversed(); }
  /// As `flow_key4::hash`.
  [[nodiscard]] constexpr std::uint64_t hash(std::uint64_t seed = 0) const noexcept {
    const auto& k = detail::flow_hash_keys;
    // The seed is in every factor of an address: one without it could be made zero by a chosen half of one, and then
    // the other half would not count.
    const std::uint64_t turned = seed << 32 | seed >> 32;
    const std::uint64_t addresses = detail::multiply_fold(word_[0] ^ k[0] ^ seed, word_[1] ^ k[1] ^ turned) ^
                                    detail::multiply_fold(word_[2] ^ k[2] ^ seed, word_[3] ^ k[3] ^ turned);
    return detail::multiply_fold(detail::multiply_fold(addresses ^ seed, word_[4] ^ k[1]) ^ seed, k[4]);
  }
  /// Equal when all their parts are.
  friend constexpr bool operator==(const flow_key6& a, const flow_key6& b) noexcept {
    std::uint64_t different = 0;
    for (std::size_t i = 0; i < words; ++i) different |= a.word_[i] ^ b.word_[i];
    return different == 0;
  }

 private:
  constexpr flow_key6(const ipv6_address& source, const ipv6_address& destination, std::uint32_t ports,
                      std::uint8_t protocol) noexcept
      : word_{source.high(), source.low(), destination.high(), destination.low(), detail::ports_word(ports, protocol)} {
  }

  std::uint64_t word_[words] = {};
};
static_assert(sizeof(flow_key6) == 40);

namespace detail {
constexpr void print_protocol(text_writer& out, std::uint8_t protocol) noexcept {
  switch (protocol) {
    case 1: out << "icmp "; break;
    case 6: out << "tcp "; break;
    case 17: out << "udp "; break;
    case 58: out << "icmp6 "; break;
    default: out << "proto " << protocol << ' ';
  }
}
}  // namespace detail

/// `tcp 10.0.0.1:40000 > 10.0.0.2:80`.
constexpr void print(text_writer& out, const flow_key4& k) noexcept {
  detail::print_protocol(out, k.protocol_number());
  print(out, k.source());
  out << ':' << k.source_port() << " > ";
  print(out, k.destination());
  out << ':' << k.destination_port();
}
/// `tcp [fe80::1]:40000 > [fe80::2]:80`.
constexpr void print(text_writer& out, const flow_key6& k) noexcept {
  detail::print_protocol(out, k.protocol_number());
  print(out << '[', k.source());
  out << "]:" << k.source_port() << " > ";
  print(out << '[', k.destination());
  out << "]:" << k.destination_port();
}

}  // namespace runnel

#endif
