// SPDX-License-Identifier: MIT
// Packets byte by byte, made without the library, for tests that compare what it made.
#ifndef RUNNEL_TESTS_IP_PLAIN_PACKETS_HPP
#define RUNNEL_TESTS_IP_PLAIN_PACKETS_HPP

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <runnel/flow/parse.hpp>
#include <runnel/packet.hpp>
#include <runnel/wire/dissect.hpp>

namespace runnel::test {

using octets = std::vector<std::uint8_t>;

inline void put16(octets& to, std::size_t v) {
  to.push_back(static_cast<std::uint8_t>(v >> 8));
  to.push_back(static_cast<std::uint8_t>(v));
}
inline void put32(octets& to, std::uint32_t v) {
  put16(to, v >> 16);
  put16(to, v & 0xffff);
}
inline void append(octets& to, const octets& more) { to.insert(to.end(), more.begin(), more.end()); }
inline octets join(std::initializer_list<octets> parts) {
  octets all;
  for (const octets& part : parts) append(all, part);
  return all;
}
/// `n` bytes that count up from `first`.
inline octets counting(std::size_t n, std::uint8_t first = 0) {
  octets all;
  for (std::size_t i = 0; i < n; ++i) all.push_back(static_cast<std::uint8_t>(first + i));
  return all;
}
/// The Internet checksum, as RFC 1071 §1 describes it: word by word.
inline std::uint16_t plain_checksum(const octets& all) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < all.size(); i += 2) {
    sum += std::uint32_t{all[i]} << 8 | (i + 1 < all.size() ? all[i + 1] : 0u);
    if (sum > 0xffff) sum = (sum & 0xffff) + 1;
  }
  return static_cast<std::uint16_t>(~sum);
}
inline void set16(octets& in, std::size_t at, std::uint16_t v) {
  in[at] = static_cast<std::uint8_t>(v >> 8);
  in[at + 1] = static_cast<std::uint8_t>(v);
}

/// Ethernet with an IPv4 packet from 02:..:01 to 02:..:02; `tags` are four bytes each, and stand before the type.
inline octets link4(const octets& tags = {}) { return join({{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1}, tags, {8, 0}}); }
inline octets link6() { return {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x86, 0xdd}; }
/// The way back.
inline octets turned(octets link) {
  for (std::size_t i = 0; i < 6; ++i) std::swap(link[i], link[i + 6]);
  return link;
}

struct plain_ip4 {
  std::uint32_t source = 0x0a00'0001, destination = 0xc000'0201;  // 10.0.0.1 > 192.0.2.1
  std::uint8_t protocol = 17, ttl = 64, tos = 0;
  std::uint16_t id = 0x1234, flags_and_offset = 0x4000;
  octets options{};
};
/// An IPv4 datagram.
inline octets datagram4(const plain_ip4& h, const octets& payload) {
  octets all{static_cast<std::uint8_t>(0x45 + h.options.size() / 4), h.tos};
  put16(all, 20 + h.options.size() + payload.size());
  put16(all, h.id);
  put16(all, h.flags_and_offset);
  all.push_back(h.ttl);
  all.push_back(h.protocol);
  put16(all, 0);
  put32(all, h.source);
  put32(all, h.destination);
  append(all, h.options);
  set16(all, 10, plain_checksum(all));
  append(all, payload);
  return all;
}
inline octets address6(std::uint8_t last, std::uint16_t first = 0x2001) {
  return {static_cast<std::uint8_t>(first >> 8),
          static_cast<std::uint8_t>(first),
          0x0d,
          0xb8,
          0,
          0,
          0,
          0,
          0,
          0,
          0,
          0,
          0,
          0,
          0,
          last};
}
struct plain_ip6 {
  octets source = address6(1), destination = address6(2);
  std::uint8_t next = 17, hop_limit = 64, traffic_class = 0;
};
/// An IPv6 datagram.
inline octets datagram6(const plain_ip6& h, const octets& payload) {
  octets all;
  put32(all, 6u << 28 | std::uint32_t{h.traffic_class} << 20);
  put16(all, payload.size());
  all.push_back(h.next);
  all.push_back(h.hop_limit);
  append(all, h.source);
  append(all, h.destination);
  append(all, payload);
  return all;
}
/// An ICMP message with its checksum.
inline octets icmp4(std::uint8_t type, std::uint8_t code, std::uint32_t rest, const octets& payload) {
  octets all{type, code, 0, 0};
  put32(all, rest);
  append(all, payload);
  set16(all, 2, plain_checksum(all));
  return all;
}
/// The checksum of an IPv6 payload.
inline std::uint16_t checksum6(const octets& source, const octets& destination, std::uint8_t next,
                               const octets& payload) {
  octets pseudo = join({source, destination});
  put32(pseudo, static_cast<std::uint32_t>(payload.size()));
  put32(pseudo, next);
  append(pseudo, payload);
  return plain_checksum(pseudo);
}
inline octets icmp6(const octets& source, const octets& destination, std::uint8_t type, std::uint8_t code,
                    std::uint32_t rest, const octets& payload) {
  octets all{type, code, 0, 0};
  put32(all, rest);
  append(all, payload);
  set16(all, 2, checksum6(source, destination, 58, all));
  return all;
}
/// UDP without a checksum.
inline octets udp_of(const octets& payload) {
  octets all{0x03, 0xe8, 0, 53};
  put16(all, 8 + payload.size());
  put16(all, 0);
  append(all, payload);
  return all;
}

/// A packet of these bytes, dissected; chained behind `first` bytes if that is not 0.
inline packet packet_of(pool& memory, const octets& all, std::size_t first = 0, link_type link = link_type::ethernet) {
  packet p = memory.allocate();
  REQUIRE(p);
  const auto part = [&](packet& to, std::size_t from, std::size_t n) {
    REQUIRE(to.append(bytes{reinterpret_cast<const std::byte*>(all.data()) + from, n}));
  };
  part(p, 0, first == 0 ? all.size() : first);
  if (first != 0) {
    packet rest = memory.allocate();
    REQUIRE(rest);
    part(rest, first, all.size() - first);
    REQUIRE(p.append(static_cast<packet&&>(rest)));
  }
  const layers found =
      dissect(p.contents(), link, {.head_offset = p.headroom(), .chained = p.total_length() - p.length()});
  REQUIRE(found.fault == drop_reason::none);
  p.layers(found);
  p.iif(1);
  return p;
}
/// All bytes of a packet.
inline octets octets_of(const packet& p) {
  octets all;
  p.for_each_fragment([&](bytes part) {
    for (const std::byte b : part) all.push_back(std::to_integer<std::uint8_t>(b));
  });
  return all;
}
/// Whether what is known of a packet's headers is what a fresh look finds.
inline bool knows_itself(const packet& p) {
  return p.layers() == dissect(p.contents(), p.layers().link_kind(),
                               {.head_offset = p.headroom(), .chained = p.total_length() - p.length()});
}
/// Bytes in hexadecimal, for messages of failed tests.
inline std::string hex(const octets& all) {
  std::string out;
  for (const std::uint8_t b : all) {
    out += "0123456789abcdef"[b >> 4];
    out += "0123456789abcdef"[b & 15];
  }
  return out;
}

}  // namespace runnel::test

#endif
