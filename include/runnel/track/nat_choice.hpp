// SPDX-License-Identifier: MIT
// Which addresses and ports a connection may be given, and in which order they are tried. The classes of ports are the
// kernel's (nf_nat_l4proto_unique_tuple()). Nothing here is for users.
#ifndef RUNNEL_TRACK_NAT_CHOICE_HPP
#define RUNNEL_TRACK_NAT_CHOICE_HPP

#include <cstdint>  // uint8_t, uint16_t, uint32_t, uint64_t

#include <runnel/base/hash.hpp>
#include <runnel/hook/nat_target.hpp>
#include <runnel/track/connection_tuple.hpp>
#include <runnel/track/nat_rewrite.hpp>

namespace runnel::detail {

// ---- one side of a tuple; addresses are mapped where they are IPv4

[[nodiscard]] constexpr ipv6_address nat_address(const connection_tuple& t, bool source) noexcept {
  if (t.is_ipv6()) return source ? t.source6() : t.destination6();
  return mapped(source ? t.source4() : t.destination4());
}
// The port of a side; of ICMP queries the identifier, which both sides share.
[[nodiscard]] constexpr std::uint16_t nat_port(const connection_tuple& t, bool source) noexcept {
  const bool icmp_query = t.protocol_number() == 1 || t.protocol_number() == 58;
  return source || icmp_query ? t.source_port() : t.destination_port();
}
// The tuple with another address and port at one side.
[[nodiscard]] constexpr connection_tuple nat_with(const connection_tuple& t, bool source, const ipv6_address& a,
                                                  std::uint16_t port) noexcept {
  const connection_tuple to = t.with_address(source, a);
  if (!nat_has_ports(t.protocol_number())) return to;
  const bool icmp_query = t.protocol_number() == 1 || t.protocol_number() == 58;
  return source || icmp_query ? to.with_ports(port, t.destination_port()) : to.with_ports(t.source_port(), port);
}

// ---- what a target says

// Whether this host's own address is wanted.
[[nodiscard]] constexpr bool nat_is_own(const nat_target& t) noexcept {
  return t.kind == nat_kind::masquerade || t.kind == nat_kind::redirect_here;
}
// Whether there is but one address, and the port stays what it is if nobody else has it: nothing is to be chosen.
[[nodiscard]] constexpr bool nat_keeps_port(const nat_target& t) noexcept {
  constexpr std::uint8_t chosen = nat_flags::random | nat_flags::fully_random | nat_flags::prefix;
  return !t.has_ports() && (t.flags & chosen) == 0 && (nat_is_own(t) || (t.has_address() && t.first == t.last));
}

// ---- addresses

// Whether packets of a family can have it.
[[nodiscard]] constexpr bool nat_can_have(const ipv6_address& a, bool is_ipv6) noexcept {
  if (is_mapped(a)) return !is_ipv6 && !unmapped(a).is_unspecified();
  return is_ipv6 && !a.is_unspecified();
}
[[nodiscard]] constexpr bool nat_in_range(const ipv6_address& a, const nat_target& t) noexcept {
  const auto less = [](const ipv6_address& x, const ipv6_address& y) {
    return x.high() != y.high() ? x.high() < y.high() : x.low() < y.low();
  };
  return !less(a, t.first) && !less(t.last, a);
}
[[nodiscard]] constexpr std::uint64_t nat_mask(unsigned bits) noexcept {
  return bits == 0 ? 0 : bits >= 64 ? ~std::uint64_t{0} : ~(~std::uint64_t{0} >> bits);
}
// The address in the prefix of `t` with the host part of `a`.
[[nodiscard]] constexpr ipv6_address nat_in_prefix(const ipv6_address& a, const nat_target& t) noexcept {
  const unsigned length = t.prefix_length + (is_mapped(t.first) ? 96u : 0u);
  const std::uint64_t high = nat_mask(length), low = length > 64 ? nat_mask(length - 64) : 0;
  return {(t.first.high() & high) | (a.high() & ~high), (t.first.low() & low) | (a.low() & ~low)};
}
// By which the address of a range is chosen, of what has these replies.
[[nodiscard]] constexpr std::uint64_t nat_hash(const connection_tuple& back, bool with_peer,
                                               std::uint64_t seed) noexcept {
  const ipv6_address a = nat_address(back, false), b = nat_address(back, true);
  const std::uint64_t h = hash_words(a.high(), a.low(), seed);
  return with_peer ? hash_words(b.high() ^ h, b.low(), seed) : h;
}
// The address of a range that a hash chooses, or one of those behind it.
[[nodiscard]] constexpr ipv6_address nat_pick(const nat_target& t, std::uint64_t hash, std::uint32_t skip) noexcept {
  if (t.first == t.last) return t.first;
  const std::uint64_t last_high = t.last.high() - t.first.high();
  if (last_high == 0) {
    const std::uint64_t size = t.last.low() - t.first.low() + 1;  // 0: all 2^64
    hash += skip;
    return {t.first.high(), t.first.low() + (size == 0 ? hash : hash % size)};
  }
  const std::uint64_t high = t.first.high() + (last_high == ~std::uint64_t{0} ? hash : hash % (last_high + 1));
  std::uint64_t low = mix(hash) + skip;
  if (high == t.first.high() && low < t.first.low()) low = t.first.low();
  if (high == t.last.high() && low > t.last.low()) low = t.last.low();
  return {high, low};
}

// ---- ports

// `count` ports from `first` on, `step` apart; 0: there are none to choose from.
struct nat_ports {
  std::uint32_t first = 0;
  std::uint32_t count = 0;
  std::uint32_t step = 1;
  [[nodiscard]] constexpr std::uint16_t operator[](std::uint32_t i) const noexcept {
    return static_cast<std::uint16_t>(first + i % count * step);
  }
  [[nodiscard]] constexpr bool contains(std::uint16_t port) const noexcept {
    return port >= first && port - first < count * step && (port - first) % step == 0;
  }
};
// What `own` may become by a rule, or, for a source, where no rule names ports.
[[nodiscard]] constexpr nat_ports nat_ports_for(const nat_target& t, std::uint8_t protocol, bool source,
                                                std::uint16_t own) noexcept {
  if (!nat_has_ports(protocol)) return {};
  nat_ports p;
  if (t.has_ports()) p = {t.first_port, t.last_port - std::uint32_t{t.first_port} + 1, 1};
  else if (!source) return {};
  else if (protocol == 1 || protocol == 58) p = {0, 65536, 1};
  else if (own < 512) p = {1, 511, 1};
  else if (own < 1024) p = {600, 424, 1};
  else p = {1024, 64512, 1};
  if ((t.flags & nat_flags::parity) != 0 && (protocol == 6 || protocol == 17)) {
    const std::uint32_t last = p.first + p.count - 1;
    if (((p.first ^ own) & 1u) != 0) ++p.first;
    p.count = p.first > last ? 0 : (last - p.first) / 2 + 1;
    p.step = 2;
  }
  return p;
}

}  // namespace runnel::detail

#endif
