// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <ctime>

#include <runnel/device/clock.hpp>

using namespace runnel;

TEST_CASE("the system's clock counts from 1970 and never goes back") {
  const real_clock clock;
  const instant first = clock.now();
  const auto date = static_cast<std::int64_t>(std::time(nullptr));
  CHECK(first > instant{} + seconds(date - 5));
  CHECK(first < instant{} + seconds(date + 5));
  instant last = first;
  for (int i = 0; i < 1000; ++i) {
    const instant now = clock.now();
    REQUIRE(now >= last);
    last = now;
  }
}
