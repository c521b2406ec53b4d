// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <vector>

#include <runnel/wire/checksum.hpp>
#include <runnel/wire/ipv4.hpp>
#include <runnel/wire/udp.hpp>

using namespace runnel;

// RFC 1071 §4.1, word by word.
static std::uint16_t plain_sum(const std::byte* p, std::size_t n) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < n; ++i) sum += static_cast<std::uint64_t>(load_u8(p + i)) << (i % 2 == 0 ? 8 : 0);
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(sum);
}
static std::vector<std::byte> noise(std::size_t n, std::uint64_t state, unsigned ones_in_16) {
  std::vector<std::byte> out(n);
  for (std::byte& b : out) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    b = state >> 20 & 15 && (state >> 32 & 15) >= ones_in_16 ? static_cast<std::byte>(state >> 8) : std::byte{0xff};
  }
  return out;
}

TEST_CASE("the checksum of RFC 1071's example is the RFC's") {
  constexpr std::byte words[] = {std::byte{0x00}, std::byte{0x01}, std::byte{0xf2}, std::byte{0x03},
                                 std::byte{0xf4}, std::byte{0xf5}, std::byte{0xf6}, std::byte{0xf7}};
  static_assert(fold_checksum(add_checksum(words)) == 0xddf2);
  CHECK(fold_checksum(add_checksum(words)) == 0xddf2);
  CHECK(checksum(words) == 0x220d);
  CHECK(add_checksum({}) == 0);
  CHECK(checksum({}) == 0xffff);
}

TEST_CASE("the fast sum is the plain one, at every length and alignment, whatever the carries") {
  for (unsigned ones : {0u, 8u, 16u}) {
    const std::vector<std::byte> data = noise(1024, 0x1234567 + ones, ones);
    unsigned wrong = 0;
    for (std::size_t length = 0; length <= 600; ++length)
      for (std::size_t at = 0; at < 64; ++at) {
        // An exact copy, so that a sanitizer sees a read behind it.
        if (at < 8 && length < 300) {
          std::byte* exact = new std::byte[length + at];
          copy_bytes(exact + at, data.data() + at, length);
          wrong += fold_checksum(add_checksum({exact + at, length})) != plain_sum(exact + at, length);
          delete[] exact;
        }
        wrong += fold_checksum(add_checksum({data.data() + at, length})) != plain_sum(data.data() + at, length);
      }
    CHECK(wrong == 0);
  }
}

TEST_CASE("the fast sum is the plain one over large buffers too") {
  for (unsigned ones : {0u, 16u}) {
    const std::vector<std::byte> data = noise(1u << 20, 99, ones);
    for (std::size_t length : {4095u, 4096u, 9000u, 65535u, 65536u, 1048575u, 1048575u - 7})
      CHECK(fold_checksum(add_checksum({data.data() + 1, length})) == plain_sum(data.data() + 1, length));
  }
}

TEST_CASE("the ways to sum agree for vectors of every width, and without any") {
  const std::vector<std::byte> data = noise(4096, 7, 4);
  const std::uint16_t right = plain_sum(data.data(), data.size());
  const auto swapped = [](std::uint64_t sum) { return detail::to_big(fold_checksum(sum)); };
  CHECK(swapped(detail::sum_of_blocks<16>(data.data(), 64)) == right);
  CHECK(swapped(detail::sum_of_blocks<32>(data.data(), 32)) == right);
  CHECK(swapped(detail::sum_of_blocks<64>(data.data(), 16)) == right);
}

TEST_CASE("partial sums can be added up as numbers") {
  const std::vector<std::byte> data = noise(512, 5, 10);
  for (std::size_t cut = 0; cut <= 512; cut += 2) {
    const std::uint64_t both = add_checksum(bytes{data}.from(cut), add_checksum(bytes{data}.first(cut)));
    const std::uint32_t sum = static_cast<std::uint32_t>(add_checksum(bytes{data}.first(cut))) +
                              static_cast<std::uint32_t>(add_checksum(bytes{data}.from(cut)));
    CHECK(fold_checksum(both) == plain_sum(data.data(), 512));
    CHECK(fold_checksum(sum) == plain_sum(data.data(), 512));
  }
}

TEST_CASE("a running checksum takes pieces of odd lengths") {
  const std::vector<std::byte> data = noise(301, 5, 10);
  for (std::size_t first = 0; first <= 301; ++first)
    for (std::size_t second : {std::size_t{0}, std::size_t{1}, (301 - first) / 2}) {
      running_checksum sum;
      sum.add(bytes{data}.first(first));
      sum.add(bytes{data}.from(first).first(second));
      sum.add(bytes{data}.from(first).from(second));
      CHECK(sum.sum() == plain_sum(data.data(), 301));
    }
}

TEST_CASE("an updated checksum is the one that would be computed anew") {
  std::vector<std::byte> data = noise(64, 11, 2);
  for (std::uint32_t to : {0u, 1u, 0xffffu, 0x10000u, 0xffff0000u, 0xffffffffu, 0x0a000001u}) {
    std::uint16_t sum = checksum(data);
    sum = update_checksum32(sum, load_be32(&data[12]), to);
    store_be32(&data[12], to);
    CHECK(sum == checksum(data));
    sum = update_checksum16(sum, load_be16(&data[20]), static_cast<std::uint16_t>(to));
    store_be16(&data[20], static_cast<std::uint16_t>(to));
    CHECK(sum == checksum(data));
  }
}

TEST_CASE("folding keeps zero apart from minus zero") {
  CHECK(fold_checksum(0) == 0);
  CHECK(fold_checksum(0xffff) == 0xffff);
  CHECK(fold_checksum(0x10000) == 1);
  CHECK(fold_checksum(0x1ffff) == 1);
  CHECK(fold_checksum(0xffff'0000) == 0xffff);
  CHECK(fold_checksum(0xffff'ffff'ffff'ffff) == 0xffff);
  CHECK(fold_checksum(0x8000'0000'8000'0000) == 1);
  CHECK(fold_checksum(0x1'0000'0000) == 1);
}

TEST_CASE("a checksum that was left partial is completed") {
  std::byte b[20 + 8 + 5]{};
  b[30] = std::byte{0x7f};
  REQUIRE(write_headers(b, ipv4_header{.source = {10, 0, 0, 1}, .destination = {10, 0, 0, 2}},
                        udp_header{.source_port = 1, .destination_port = 2}));
  const auto ip = mut<ipv4>::parse(b);
  const auto u = mut<udp>::parse(ip->payload());
  REQUIRE(u);
  const std::uint16_t right = u->datagram_checksum();
  u->datagram_checksum(fold_checksum(std::uint64_t{ip->pseudo_header_sum()} + 17 + 13));
  CHECK(complete_checksum(b, 20, 6));
  CHECK(u->datagram_checksum() == right);
  CHECK(u->checksum_ok(ip->pseudo_header_sum()));

  SUBCASE("but not when its field lies outside") {
    CHECK_FALSE(complete_checksum(b, 20, 12));
    CHECK(complete_checksum(b, 20, 11));
    CHECK_FALSE(complete_checksum(b, 34, 0));
    CHECK_FALSE(complete_checksum(b, 33, 0));
    CHECK_FALSE(complete_checksum(b, 0, static_cast<std::size_t>(-1)));
    CHECK_FALSE(complete_checksum({}, 0, 0));
  }
}
