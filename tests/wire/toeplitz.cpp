// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <runnel/wire/toeplitz.hpp>

#include "wire_bytes.hpp"

using namespace runnel;

namespace {

const toeplitz ordinary;
const toeplitz symmetric(symmetric_rss_key);

// The definition, bit by bit: for each set bit of the input, the 32 key bits from there on.
std::uint32_t by_definition(const rss_key& key, bytes input) {
  const auto bit = [](auto octets, std::size_t i) {
    return (static_cast<unsigned>(octets[i / 8]) >> (7 - i % 8) & 1u) != 0;
  };
  std::uint32_t h = 0;
  for (std::size_t i = 0; i < input.size() * 8; ++i) {
    if (!bit(input, i)) continue;
    for (std::size_t j = 0; j < 32; ++j) h ^= (bit(key.octets, i + j) ? 1u : 0u) << (31 - j);
  }
  return h;
}

constexpr std::uint32_t first_vector() {
  return toeplitz{}(flow_key4{{66, 9, 149, 187}, {161, 142, 100, 80}, 2794, 1766, 6});
}
static_assert(first_vector() == 0x51cc'c178);

}  // namespace

TEST_CASE("Microsoft's verification suite for IPv4, with and without ports") {
  const struct {
    flow_key4 key;
    std::uint32_t addresses, with_ports;
  } suite[] = {
      {{{66, 9, 149, 187}, {161, 142, 100, 80}, 2794, 1766, 6}, 0x323e8fc2, 0x51ccc178},
      {{{199, 92, 111, 2}, {65, 69, 140, 83}, 14230, 4739, 6}, 0xd718262a, 0xc626b0ea},
      {{{24, 19, 198, 95}, {12, 22, 207, 184}, 12898, 38024, 6}, 0xd2d0a5de, 0x5c2b394a},
      {{{38, 27, 205, 30}, {209, 142, 163, 6}, 48228, 2217, 6}, 0x82989176, 0xafc7327f},
      {{{153, 39, 163, 191}, {202, 188, 127, 2}, 44251, 1303, 6}, 0x5d1809c5, 0x10e828a2},
  };
  for (const auto& v : suite) {
    CHECK(ordinary.addresses(v.key) == v.addresses);
    CHECK(ordinary(v.key) == v.with_ports);
  }
}

TEST_CASE("Microsoft's verification suite for IPv6, with and without ports") {
  const struct {
    flow_key6 key;
    std::uint32_t addresses, with_ports;
  } suite[] = {
      {{{0x3ffe'2501'0200'1fff, 7}, {0x3ffe'2501'0200'0003, 1}, 2794, 1766, 6}, 0x2cc18cd5, 0x40207d3d},
      {{{0x3ffe'0501'0008'0000, 0x0260'97ff'fe40'efab}, {0xff02'0000'0000'0000, 1}, 14230, 4739, 6},
       0x0f0c461c,
       0xdde51bbf},
      {{{0x3ffe'1900'4545'0003, 0x0200'f8ff'fe21'67cf},
        {0xfe80'0000'0000'0000, 0x0200'f8ff'fe21'67cf},
        44251,
        38024,
        6},
       0x4b61e985,
       0x02d1feef},
  };
  for (const auto& v : suite) {
    CHECK(ordinary.addresses(v.key) == v.addresses);
    CHECK(ordinary(v.key) == v.with_ports);
  }
}

TEST_CASE("the tables say what the definition says, for any key and any input") {
  runnel_test::xorshift random;
  for (int round = 0; round < 20; ++round) {
    rss_key key;
    for (auto& o : key.octets) o = static_cast<std::uint8_t>(random() >> 20);
    const toeplitz t(key);
    for (std::size_t size = 0; size <= toeplitz::longest_input; ++size) {
      std::byte input[toeplitz::longest_input];
      random.fill(input);
      CHECK(t(bytes{input, size}) == by_definition(key, {input, size}));
    }
  }
}

TEST_CASE("under the symmetric key both directions hash alike, and the short way equals the long one") {
  runnel_test::xorshift random;
  for (int i = 0; i < 2000; ++i) {
    const flow_key4 k{ipv4_address{static_cast<std::uint32_t>(random())},
                      ipv4_address{static_cast<std::uint32_t>(random())}, static_cast<std::uint16_t>(random()),
                      static_cast<std::uint16_t>(random()), 6};
    CHECK(symmetric(k) == symmetric(k.reversed()));
    CHECK(symmetric_toeplitz(k) == symmetric(k));
    CHECK(symmetric_toeplitz_addresses(k) == symmetric.addresses(k));
    const flow_key6 s{{random(), random()}, {random(), random()}, static_cast<std::uint16_t>(random()), 443, 17};
    CHECK(symmetric(s) == symmetric(s.reversed()));
    CHECK(symmetric_toeplitz(s) == symmetric(s));
    CHECK(symmetric_toeplitz_addresses(s) == symmetric.addresses(s));
  }
}
