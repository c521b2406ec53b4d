// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <cstdint>
#include <initializer_list>
#include <utility>

#include <runnel/packet.hpp>

#include "packet/counted_pool.hpp"

namespace {

using namespace runnel;
using runnel::test::counted_pool;

// Bytes 1, 2, 3, ... in fragments of the given sizes.
packet in_fragments(pool& from, std::initializer_list<std::size_t> sizes) {
  packet whole;
  std::uint8_t next = 1;
  for (const std::size_t n : sizes) {
    packet p = from.allocate();
    std::byte* at = p.put(n);
    REQUIRE(at != nullptr);
    for (std::size_t i = 0; i < n; ++i) at[i] = static_cast<std::byte>(next++);
    if (!whole) whole = std::move(p);
    else REQUIRE(whole.append(std::move(p)));
  }
  return whole;
}

constexpr std::uint64_t sum_of_reads() {
  constexpr std::byte b[] = {std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}, std::byte{5}, std::byte{6}};
  cursor c{bytes{b}};
  const std::uint64_t sum = c.u8() + c.be16() * 1000ull;
  c.skip(1);
  const std::uint64_t last = c.be16();
  return c.ok() && c.remaining() == 0 ? sum + last : 0;
}
static_assert(sum_of_reads() == 1 + 0x0203 * 1000 + 0x0506);

TEST_CASE("a cursor reads numbers across the ends of fragments, whatever their sizes") {
  counted_pool pool;
  for (const packet& p : {in_fragments(pool, {15}), in_fragments(pool, {1, 14}), in_fragments(pool, {3, 0, 0, 4, 8}),
                          in_fragments(pool, {0, 2, 2, 2, 2, 2, 2, 2, 1, 0}), in_fragments(pool, {14, 1})}) {
    cursor c{p};
    CHECK(c.remaining() == 15);
    CHECK(c.u8() == 1);
    CHECK(c.be16() == 0x0203);
    CHECK(c.be32() == 0x04050607);
    CHECK(c.be64() == 0x08090a0b0c0d0e0f);
    CHECK(c.ok());
    CHECK(c.remaining() == 0);
    CHECK(c.u8() == 0);
    CHECK_FALSE(c.ok());
  }
}

TEST_CASE("the first read beyond the end fails, yields zero, and every later one fails too") {
  counted_pool pool;
  const packet p = in_fragments(pool, {2, 3});
  cursor c{p};
  c.skip(2);
  CHECK(c.be32() == 0);
  CHECK_FALSE(c.ok());
  CHECK(c.u8() == 0);  // which would have been there
  std::byte to[2] = {std::byte{7}, std::byte{7}};
  c.copy_to(to);
  CHECK(to[0] == std::byte{0});
  CHECK(to[1] == std::byte{0});
  CHECK_FALSE(c.ok());

  cursor far{p};
  far.skip(std::size_t{0} - 1);
  CHECK_FALSE(far.ok());

  cursor exact{p};
  exact.skip(5);
  CHECK(exact.ok());
  exact.skip(0);
  CHECK(exact.ok());
  exact.skip(1);
  CHECK_FALSE(exact.ok());
}

TEST_CASE("a cursor over nothing reads nothing") {
  cursor none{bytes{}};
  CHECK(none.ok());
  CHECK(none.remaining() == 0);
  CHECK(none.be64() == 0);
  CHECK_FALSE(none.ok());
}

}  // namespace
