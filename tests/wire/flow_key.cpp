// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <vector>

#include <runnel/wire/flow_key.hpp>
#include <runnel/wire/tcp.hpp>

#include "wire_bytes.hpp"

using namespace runnel;

namespace {

constexpr flow_key4 there{{10, 0, 0, 1}, {192, 168, 0, 9}, 40000, 80, 6};
static_assert(there.reversed().reversed() == there);
static_assert(there.canonical() == there.reversed().canonical());
static_assert(there.is_canonical() != there.reversed().is_canonical());
static_assert(there.hash() != there.reversed().hash());
static_assert(there.canonical().hash(7) == there.reversed().canonical().hash(7));

// The plain reference of the multiplication, for targets without 128-bit integers.
std::uint64_t slow_fold(std::uint64_t a, std::uint64_t b) {
  std::uint64_t high = 0, low = 0;
  for (unsigned i = 0; i < 64; ++i) {
    if ((b >> i & 1u) == 0) continue;
    const std::uint64_t add_low = a << i;
    high += (i == 0 ? 0 : a >> (64 - i)) + (low + add_low < low ? 1u : 0u);
    low += add_low;
  }
  return high ^ low;
}

}  // namespace

TEST_CASE("a flow key is made from a packet, whichever way its ports are told") {
  std::byte b[40]{};
  REQUIRE(write_headers(b, ipv4_header{.source = {10, 0, 0, 1}, .destination = {192, 168, 0, 9}},
                        tcp_header{.source_port = 40000, .destination_port = 80}));
  const auto ip = ipv4::parse(b);
  REQUIRE(ip);
  const auto segment = tcp::parse(ip->payload());
  REQUIRE(segment);
  CHECK(flow_key4::from(*ip, *segment) == there);
  CHECK(flow_key4::from(*ip, ip->payload()) == there);
  CHECK(flow_key4::from(*ip, 40000, 80) == there);
  CHECK(flow_key4::from(*ip, bytes{b, 3}) == flow_key4{{10, 0, 0, 1}, {192, 168, 0, 9}, 0, 0, 6});
  CHECK(flow_key4::from(*ip) == flow_key4::from(*ip, 0, 0));
  CHECK(there.source() == ipv4_address{10, 0, 0, 1});
  CHECK(there.destination_port() == 80);
  CHECK(there.protocol_number() == 6);
  text<> line;
  print(line, there);
  CHECK(same_text(line.c_str(), "tcp 10.0.0.1:40000 > 192.168.0.9:80"));
}

TEST_CASE("the same for IPv6") {
  std::byte b[60]{};
  REQUIRE(write_headers(b, ipv6_header{.source = {1, 2}, .destination = {1, 3}},
                        tcp_header{.source_port = 7, .destination_port = 8}));
  const auto ip = ipv6::parse(b);
  REQUIRE(ip);
  const flow_key6 k{{1, 2}, {1, 3}, 7, 8, 6};
  CHECK(flow_key6::from(*ip, 6, *tcp::parse(ip->payload())) == k);
  CHECK(flow_key6::from(*ip, 6, ip->payload()) == k);
  CHECK(flow_key6::from(*ip, 6, 7, 8) == k);
  CHECK(flow_key6::from(*ip, 6) != k);
  CHECK(k.reversed() == flow_key6{{1, 3}, {1, 2}, 8, 7, 6});
  CHECK(k.reversed().canonical() == k);
  text<> line;
  print(line, k.reversed());
  CHECK(same_text(line.c_str(), "tcp [::1:0:0:0:3]:8 > [::1:0:0:0:2]:7"));
}

TEST_CASE("both directions of any flow have one canonical key, which is one of them") {
  runnel_test::xorshift random;
  for (int i = 0; i < 20000; ++i) {
    // Few distinct values, so that equal addresses and equal ports occur.
    const auto a = static_cast<std::uint32_t>(random.below(3)), b = static_cast<std::uint32_t>(random.below(3));
    const auto p = static_cast<std::uint16_t>(random.below(3)), q = static_cast<std::uint16_t>(random.below(3));
    const flow_key4 k{ipv4_address{a}, ipv4_address{b}, p, q, 17};
    CHECK(k.canonical() == k.reversed().canonical());
    CHECK((k.canonical() == k || k.canonical() == k.reversed()));
    CHECK(k.canonical().is_canonical());
    const flow_key6 s{{a, b}, {b, a}, p, q, 17};
    CHECK(s.canonical() == s.reversed().canonical());
    CHECK((s.canonical() == s || s.canonical() == s.reversed()));
    CHECK(s.canonical().is_canonical());
  }
}

TEST_CASE("keys that differ in one field are different and hash differently") {
  const flow_key4 others[] = {{{10, 0, 0, 2}, {192, 168, 0, 9}, 40000, 80, 6},
                              {{10, 0, 0, 1}, {192, 168, 0, 8}, 40000, 80, 6},
                              {{10, 0, 0, 1}, {192, 168, 0, 9}, 40001, 80, 6},
                              {{10, 0, 0, 1}, {192, 168, 0, 9}, 40000, 81, 6},
                              {{10, 0, 0, 1}, {192, 168, 0, 9}, 40000, 80, 17}};
  for (const auto& k : others) {
    CHECK(k != there);
    CHECK(k.hash() != there.hash());
  }
}

TEST_CASE("with a secret seed no half of an address makes the hash forget the other half") {
  constexpr std::uint64_t seed = 0x0123'4567'89ab'cdef;
  constexpr ipv6_address somebody{0x2001'0db8'0000'0000, 7};
  for (const std::uint64_t known : detail::flow_hash_keys)
    for (std::uint64_t i = 0; i < 64; ++i) {
      const ipv6_address one{0x2001'0db8'0000'0000 + i, known}, other{0x2001'0db8'0000'0040 + i, known};
      CHECK(flow_key6(one, somebody, 1, 2, 17).hash(seed) != flow_key6(other, somebody, 1, 2, 17).hash(seed));
      CHECK(flow_key6(somebody, one, 1, 2, 17).hash(seed) != flow_key6(somebody, other, 1, 2, 17).hash(seed));
    }
}

TEST_CASE("the hash multiplies as a target without 128-bit integers does") {
  runnel_test::xorshift random;
  for (int i = 0; i < 1000; ++i) {
    const std::uint64_t a = random(), b = random();
    REQUIRE(detail::multiply_fold(a, b) == slow_fold(a, b));
  }
}

TEST_CASE("flows as they occur fill a table evenly, by the low and by the high bits of the hash") {
  // Chi-squared over 4096 buckets: 4095 expected, standard deviation 90.5.
  const auto even = [](const char* what, auto key_of) {
    CAPTURE(what);
    for (unsigned shift : {0u, 32u, 52u}) {
      std::vector<unsigned> count(4096);
      for (std::uint32_t i = 0; i < 65536; ++i) ++count[key_of(i).hash(1) >> shift & 4095];
      double chi = 0;
      for (unsigned c : count) chi += (c - 16.0) * (c - 16.0) / 16.0;
      CHECK(chi < 4095 + 6 * 90.5);
    }
  };
  const ipv4_address server{192, 0, 2, 1};
  even("one client, all ports",
       [&](std::uint32_t i) { return flow_key4{{10, 0, 0, 1}, server, static_cast<std::uint16_t>(i), 443, 6}; });
  even("clients in a row, one port",
       [&](std::uint32_t i) { return flow_key4{ipv4_address{0x0a00'0000 + i}, server, 5000, 53, 17}; });
  even("clients 256 apart", [&](std::uint32_t i) { return flow_key4{ipv4_address{i << 8}, server, 5000, 53, 17}; });
  even("a port scan of neighbours", [&](std::uint32_t i) {
    return flow_key4{server, ipv4_address{0x0a00'0000 + i % 256}, 4444, static_cast<std::uint16_t>(i / 256), 6};
  });
  even("IPv6 hosts in a row",
       [&](std::uint32_t i) { return flow_key6{{0x2001'0db8'0000'0000, i}, {9, 9}, 5000, 53, 17}; });
  even("IPv6 networks in a row",
       [&](std::uint32_t i) { return flow_key6{{0x2001'0db8'0000'0000u + i, 1}, {9, 9}, 5000, 53, 17}; });
  even("IPv6 ports", [&](std::uint32_t i) { return flow_key6{{1, 1}, {9, 9}, static_cast<std::uint16_t>(i), 53, 17}; });
  even("IPv6 both ends move together", [&](std::uint32_t i) { return flow_key6{{1, i}, {2, i}, 1, 1, 17}; });
}

TEST_CASE("every bit of a key turns about half of the bits of its hash") {
  runnel_test::xorshift random;
  for (unsigned bit = 0; bit < 104; ++bit) {
    unsigned turned = 0;
    for (int i = 0; i < 500; ++i) {
      const std::uint64_t w0 = random(), w1 = random();
      const auto key = [](std::uint64_t a, std::uint64_t b) {
        return flow_key4{ipv4_address{static_cast<std::uint32_t>(a >> 32)}, ipv4_address{static_cast<std::uint32_t>(a)},
                         static_cast<std::uint16_t>(b >> 48), static_cast<std::uint16_t>(b >> 32),
                         static_cast<std::uint8_t>(b >> 24)};
      };
      const std::uint64_t f0 = bit < 64 ? std::uint64_t{1} << bit : 0,
                          f1 = bit < 64 ? 0 : std::uint64_t{1} << (bit - 40);
      turned += static_cast<unsigned>(__builtin_popcountll(key(w0, w1).hash() ^ key(w0 ^ f0, w1 ^ f1).hash()));
    }
    CAPTURE(bit);
    CHECK(turned > 500 * 30);
    CHECK(turned < 500 * 34);
  }
}
