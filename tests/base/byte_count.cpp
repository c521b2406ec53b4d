// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>

#include <runnel/base/byte_count.hpp>

using namespace runnel;

namespace {
constexpr std::uint64_t many = std::uint64_t{1} << 63;
constexpr std::size_t too_many = ~std::size_t{0};
}  // namespace

TEST_CASE("byte counts are sums, products and multiples") {
  static_assert((byte_count{3} + byte_count::of<std::uint32_t>(5) * 2).value() == 43);
  static_assert(byte_count{}.value() == 0);
  CHECK(byte_count{0}.aligned(64).value() == 0);
  CHECK(byte_count{1}.aligned(64).value() == 64);
  CHECK(byte_count{64}.aligned(64).value() == 64);
  CHECK(byte_count{65}.aligned(1).value() == 65);
}

TEST_CASE("byte counts do not wrap around: what is too much stays too much") {
  CHECK((byte_count{many} + many).value() == too_many);
  CHECK((byte_count{many} * 2).value() == too_many);
  CHECK((byte_count{many} * 2 + 1).aligned(64).value() == too_many);
  CHECK((byte_count{many} * 2 * 0).value() == 0);
  CHECK(byte_count{many + (many - 2)}.aligned(64).value() == too_many);
  CHECK(byte_count::of<std::uint64_t>(many).value() == too_many);
  const std::uint64_t four_gigabytes = std::uint64_t{1} << 32;
  CHECK(byte_count{four_gigabytes}.value() == (sizeof(std::size_t) == 4 ? too_many : four_gigabytes));
}
