// SPDX-License-Identifier: MIT
// One direction of a connection: addresses, ports or what stands for them, protocol and zone, as whole words. What
// packets are looked up by, and what NAT changes. The kernel's struct nf_conntrack_tuple.
#ifndef RUNNEL_TRACK_CONNECTION_TUPLE_HPP
#define RUNNEL_TRACK_CONNECTION_TUPLE_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t, uint64_t

#include <runnel/base/hash.hpp>
#include <runnel/config.hpp>
#include <runnel/wire/address.hpp>
#include <runnel/wire/flow_key.hpp>

namespace runnel {

namespace detail {

// ---- the last word of a tuple: two ports, protocol, family (0 or 6), zone

inline constexpr std::uint64_t ipv6_tuple = std::uint64_t{6} << 16;

[[nodiscard]] constexpr std::uint64_t tuple_rest(std::uint32_t ports, std::uint8_t protocol,
                                                 std::uint16_t zone) noexcept {
  return std::uint64_t{ports} << 32 | std::uint64_t{protocol} << 24 | zone;
}
// The type of the message that answers, or that is answered; the type itself when it is no query.
[[nodiscard]] constexpr std::uint8_t opposite_icmp(std::uint8_t type) noexcept {
  if (type == 0 || type == 8) return static_cast<std::uint8_t>(8 - type);
  if (type >= 13 && type <= 18) return static_cast<std::uint8_t>(((type - 1) ^ 1) + 1);
  return type;
}
[[nodiscard]] constexpr std::uint8_t opposite_icmpv6(std::uint8_t type) noexcept {
  return type == 128 || type == 129 || type == 139 || type == 140
             ? static_cast<std::uint8_t>(type <= 129 ? type ^ 1 : 279 - type)
             : type;
}
[[nodiscard, gnu::noinline]] constexpr std::uint64_t opposite_rest_slow(std::uint64_t rest) noexcept {
  const auto protocol = static_cast<std::uint8_t>(rest >> 24);
  if (protocol == 47) return rest;  // the key of a tunnel is the same both ways
  if (protocol != 1 && protocol != 58) return swap_ports(rest);
  const auto type = static_cast<std::uint8_t>(rest >> 40);
  const std::uint64_t other = protocol == 1 ? opposite_icmp(type) : opposite_icmpv6(type);
  return (rest & ~(std::uint64_t{0xff} << 40)) | other << 40;
}
[[nodiscard]] RUNNEL_INLINE constexpr std::uint64_t opposite_rest(std::uint64_t rest) noexcept {
  const auto protocol = static_cast<std::uint8_t>(rest >> 24);
  if (protocol == 6 || protocol == 17) [[likely]]
    return swap_ports(rest);
  return opposite_rest_slow(rest);
}

// What a place in the index is found by: of an IPv4 tuple everything, of an IPv6 tuple a digest. Both directions have
// the same, the lesser of the two; `turned` says that the tuple is the other one.
struct tuple_key {
  std::uint64_t a;
  std::uint64_t b;
  unsigned turned;
};
// Of TCP and UDP. Nobody can predict which one is the lesser: not by a branch, which compilers make of any comparison.
[[nodiscard]] RUNNEL_INLINE constexpr tuple_key key_of_ports(std::uint64_t addresses, std::uint64_t rest) noexcept {
  std::uint64_t source = addresses >> 32, destination = addresses & 0xffff'ffff;
  if (source == destination) [[unlikely]]
    source = rest >> 48, destination = rest >> 32 & 0xffff;
  const auto turned = static_cast<unsigned>((destination - source) >> 63);
  const auto ports = static_cast<std::uint32_t>(rest >> 32);
  return {addresses << 32 * turned | addresses >> (-(32 * turned) & 63u),
          std::uint64_t{ports << 16 * turned | ports >> (-(16 * turned) & 31u)} << 32 | (rest & 0xffff'ffff), turned};
}
[[nodiscard]] RUNNEL_INLINE constexpr tuple_key key_of(std::uint64_t addresses, std::uint64_t rest) noexcept {
  const auto protocol = static_cast<std::uint8_t>(rest >> 24);
  if (protocol == 6 || protocol == 17) [[likely]]
    return key_of_ports(addresses, rest);
  const std::uint64_t back = addresses << 32 | addresses >> 32, rest_back = opposite_rest_slow(rest);
  const bool turned = back < addresses || (back == addresses && rest_back < rest);
  return turned ? tuple_key{back, rest_back, 1} : tuple_key{addresses, rest, 0};
}

}  // namespace detail

/// Addresses, ports, protocol and zone of the packets that go one way. 40 bytes; an IPv4 address lies in the lower half
/// of a word of its own.
///
/// ICMP queries have their identifier for the source port, type and code for the destination port. GRE (version 0) has
/// the upper and lower half of its key there, zeros without one. All other protocols but TCP and UDP have zeros.
class connection_tuple {
 public:
  constexpr connection_tuple() noexcept = default;
  /// From its parts; ports are in host order. @{
  constexpr connection_tuple(ipv4_address source, ipv4_address destination, std::uint16_t source_port,
                             std::uint16_t destination_port, std::uint8_t protocol, std::uint16_t zone = 0) noexcept
      : words_{0, source.value(), 0, destination.value(),
               detail::tuple_rest(std::uint32_t{source_port} << 16 | destination_port, protocol, zone)} {}
  constexpr connection_tuple(const ipv6_address& source, const ipv6_address& destination, std::uint16_t source_port,
                             std::uint16_t destination_port, std::uint8_t protocol, std::uint16_t zone = 0) noexcept
      : words_{source.high(), source.low(), destination.high(), destination.low(),
               detail::ipv6_tuple |
                   detail::tuple_rest(std::uint32_t{source_port} << 16 | destination_port, protocol, zone)} {}
  /// @}
  /// Of the words that `addresses4` and `rest` give back: IPv4.
  [[nodiscard]] static constexpr connection_tuple from4(std::uint64_t addresses, std::uint64_t rest) noexcept {
    return {addresses >> 32, addresses & 0xffff'ffff, rest};
  }
  /// The same in place, for who reads it at once: a tuple that is made elsewhere and copied has to wait for all stores
  /// before it.
  RUNNEL_INLINE constexpr void become4(std::uint64_t addresses, std::uint64_t rest) noexcept {
    words_[0] = words_[2] = 0;
    words_[1] = addresses >> 32, words_[3] = addresses & 0xffff'ffff, words_[4] = rest;
  }

  /// Whether its addresses are IPv6 addresses.
  [[nodiscard]] constexpr bool is_ipv6() const noexcept { return (words_[4] & detail::ipv6_tuple) != 0; }
  /// The address, of an IPv4 tuple; of an IPv6 tuple it is an error (RUNNEL_ASSERT), ask `is_ipv6()` before. @{
  [[nodiscard]] constexpr ipv4_address source4() const noexcept {
    RUNNEL_ASSERT(!is_ipv6() && "the addresses of an IPv6 tuple are source6() and destination6()");
    return ipv4_address{static_cast<std::uint32_t>(words_[1])};
  }
  [[nodiscard]] constexpr ipv4_address destination4() const noexcept {
    RUNNEL_ASSERT(!is_ipv6() && "the addresses of an IPv6 tuple are source6() and destination6()");
    return ipv4_address{static_cast<std::uint32_t>(words_[3])};
  }
  /// @}
  /// The address, of an IPv6 tuple. @{
  [[nodiscard]] constexpr ipv6_address source6() const noexcept { return {words_[0], words_[1]}; }
  [[nodiscard]] constexpr ipv6_address destination6() const noexcept { return {words_[2], words_[3]}; }
  /// @}
  /// A part, in host order. @{
  [[nodiscard]] constexpr std::uint16_t source_port() const noexcept {
    return static_cast<std::uint16_t>(words_[4] >> 48);
  }
  [[nodiscard]] constexpr std::uint16_t destination_port() const noexcept {
    return static_cast<std::uint16_t>(words_[4] >> 32);
  }
  [[nodiscard]] constexpr std::uint8_t protocol_number() const noexcept {
    return static_cast<std::uint8_t>(words_[4] >> 24);
  }
  [[nodiscard]] constexpr std::uint16_t zone() const noexcept { return static_cast<std::uint16_t>(words_[4]); }
  /// @}
  /// Of an ICMP query. @{
  [[nodiscard]] constexpr std::uint16_t icmp_identifier() const noexcept { return source_port(); }
  [[nodiscard]] constexpr std::uint8_t icmp_type() const noexcept { return static_cast<std::uint8_t>(words_[4] >> 40); }
  [[nodiscard]] constexpr std::uint8_t icmp_code() const noexcept { return static_cast<std::uint8_t>(words_[4] >> 32); }
  /// @}
  /// Both IPv4 addresses in one word, the source in the upper half.
  [[nodiscard]] constexpr std::uint64_t addresses4() const noexcept { return words_[1] << 32 | words_[3]; }
  /// Ports, protocol, family and zone in one word.
  [[nodiscard]] constexpr std::uint64_t rest() const noexcept { return words_[4]; }

  /// The tuple of the packets that go the other way, when nothing is translated: addresses and ports swapped, of an
  /// ICMP query the type that answers it. Twice is the tuple itself.
  [[nodiscard]] constexpr connection_tuple inverted() const noexcept {
    connection_tuple t;
    t.words_[0] = words_[2], t.words_[1] = words_[3], t.words_[2] = words_[0], t.words_[3] = words_[1];
    t.words_[4] = detail::opposite_rest(words_[4]);
    return t;
  }
  /// The same with other ports.
  [[nodiscard]] constexpr connection_tuple with_ports(std::uint16_t source, std::uint16_t destination) const noexcept {
    connection_tuple t = *this;
    t.words_[4] = (t.words_[4] & 0xffff'ffff) | std::uint64_t{source} << 48 | std::uint64_t{destination} << 32;
    return t;
  }
  /// The same with another source or destination address of its family; IPv4 ones `mapped`.
  [[nodiscard]] constexpr connection_tuple with_address(bool source, const ipv6_address& a) const noexcept {
    if (!is_ipv6()) [[likely]] {
      const std::uint64_t to = unmapped(a).value();
      return {source ? to : words_[1], source ? words_[3] : to, words_[4]};
    }
    connection_tuple t = *this;
    t.words_[source ? 0 : 2] = a.high(), t.words_[source ? 1 : 3] = a.low();
    return t;
  }
  /// Internal: what the tables find it by. Written word by word into `to`: a key that is put together elsewhere and
  /// then copied is read before it is all there, and waits for all stores before it.
  RUNNEL_INLINE constexpr void key(std::uint64_t seed, detail::tuple_key& to) const noexcept {
    if (is_ipv6()) [[unlikely]] {
      digest(seed, to);
      return;
    }
    const detail::tuple_key k = detail::key_of(addresses4(), rest());
    to.a = k.a, to.b = k.b, to.turned = k.turned;
  }
  /// The same, returned.
  [[nodiscard]] constexpr detail::tuple_key key(std::uint64_t seed) const noexcept {
    if (!is_ipv6()) [[likely]]
      return detail::key_of(addresses4(), rest());
    detail::tuple_key k;
    digest(seed, k);
    return k;
  }
  /// Equal when all their parts are.
  friend constexpr bool operator==(const connection_tuple& x, const connection_tuple& y) noexcept {
    std::uint64_t different = 0;
    for (std::size_t i = 0; i < 5; ++i) different |= x.words_[i] ^ y.words_[i];
    return different == 0;
  }

 private:
  constexpr connection_tuple(std::uint64_t source4, std::uint64_t destination4, std::uint64_t rest) noexcept
      : words_{0, source4, 0, destination4, rest} {}
  [[gnu::noinline]] constexpr void digest(std::uint64_t seed, detail::tuple_key& to) const noexcept {
    const connection_tuple back = inverted();
    const bool turned = back.less(*this);
    const connection_tuple& least = turned ? back : *this;
    const auto& k = detail::flow_hash_keys;
    // Two hashes that share nothing but the seed; the family's bits keep them apart from all IPv4 tuples. The seed is
    // in both factors of each product: whoever knew one of them could make it 0, and all products alike.
    const std::uint64_t* w = least.words_;
    using detail::multiply_fold;
    const std::uint64_t other = seed << 32 | seed >> 32;
    const std::uint64_t a = multiply_fold(multiply_fold(w[0] ^ k[0] ^ seed, w[1] ^ k[1] ^ other) ^
                                              multiply_fold(w[2] ^ k[2] ^ seed, w[3] ^ k[3] ^ other) ^ seed,
                                          w[4] ^ k[4]);
    const std::uint64_t b = multiply_fold(multiply_fold(w[0] ^ k[3] ^ seed, w[2] ^ k[4] ^ other) ^
                                              multiply_fold(w[3] ^ k[0] ^ seed, w[1] ^ k[2] ^ other) ^ seed,
                                          w[4] ^ k[1]);
    to.a = a, to.b = (b & ~std::uint64_t{0xff'0000}) | detail::ipv6_tuple, to.turned = turned ? 1u : 0u;
  }
  [[nodiscard]] constexpr bool less(const connection_tuple& other) const noexcept {
    for (std::size_t i = 0; i < 4; ++i)
      if (words_[i] != other.words_[i]) return words_[i] < other.words_[i];
    return words_[4] < other.words_[4];
  }

  std::uint64_t words_[5] = {};  // source, destination, the rest
};
static_assert(sizeof(connection_tuple) == 40);

}  // namespace runnel

#endif
