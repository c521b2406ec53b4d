// SPDX-License-Identifier: MIT
#include <initializer_list>

#include <doctest/doctest.h>

#include <runnel/base/random.hpp>

using namespace runnel;

TEST_CASE("the same seed gives the same numbers, on every machine, for ever") {
  random_generator a(0), b(0), c(1);
  // From the reference implementation, seeded with four numbers of splitmix64(0).
  CHECK(a.next() == 0x99ec5f36cb75f2b4);
  CHECK(a.next() == 0xbf6e1f784956452a);
  CHECK(a.next() == 0x1a5f849d4933e6e0);
  CHECK(b.next() == 0x99ec5f36cb75f2b4);
  CHECK(c.next() != 0x99ec5f36cb75f2b4);
  static_assert(random_generator(0).next() == 0x99ec5f36cb75f2b4);
}

TEST_CASE("numbers below a bound stay below it, and each comes as often as the others") {
  random_generator random(42);
  CHECK(random.below(0) == 0);
  CHECK(random.below(1) == 0);
  for (std::uint64_t n : {std::uint64_t{2}, std::uint64_t{3}, std::uint64_t{7}, std::uint64_t{10}}) {
    int count[10] = {};
    for (int i = 0; i < 100'000; ++i) {
      const std::uint64_t v = random.below(n);
      REQUIRE(v < n);
      ++count[v];
    }
    const double each = 100'000.0 / static_cast<double>(n);
    double chi_squared = 0;
    for (std::uint64_t v = 0; v < n; ++v) chi_squared += (count[v] - each) * (count[v] - each) / each;
    CHECK(chi_squared < 30);  // 9 degrees of freedom: once in 2000 seeds
  }
  // Where a mere remainder would come out below the middle twice as often as above it.
  const std::uint64_t third = std::uint64_t{3} << 62;
  int low = 0;
  for (int i = 0; i < 30'000; ++i) {
    const std::uint64_t v = random.below(third);
    REQUIRE(v < third);
    low += v < third / 2;
  }
  CHECK(low > 14'500);
  CHECK(low < 15'500);
  for (int i = 0; i < 1000; ++i) CHECK(random.below(0xffff'ffff) < 0xffff'ffff);
  for (int i = 0; i < 1000; ++i) CHECK(random.below(0x1'0000'0000) <= 0xffff'ffff);
}

TEST_CASE("a chance comes true as often as it says") {
  random_generator random(1);
  for (int i = 0; i < 1000; ++i) {
    CHECK_FALSE(random.chance(0));
    CHECK(random.chance(1'000'000));
    CHECK(random.chance(2'000'000));
  }
  int hits = 0;
  for (int i = 0; i < 100'000; ++i) hits += random.chance(250'000);
  CHECK(hits > 24'000);
  CHECK(hits < 26'000);
}

TEST_CASE("bytes are filled to the last one") {
  random_generator random(1);
  std::byte b[13]{};
  random.fill(mutable_bytes{b, 12});
  CHECK(b[11] != std::byte{0});
  CHECK(b[12] == std::byte{0});
}
