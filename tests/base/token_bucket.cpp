// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <runnel/base/token_bucket.hpp>

using namespace runnel;

namespace {

constexpr unsigned taken(token_bucket& b, instant now, unsigned wanted = 100) {
  unsigned n = 0;
  while (n < wanted && b.take(now)) ++n;
  return n;
}

}  // namespace

TEST_CASE("a token bucket gives a burst, then its rate, and never more than a burst") {
  token_bucket b{10, 3};
  const instant t{};
  CHECK(taken(b, t) == 3);
  CHECK(taken(b, t + milliseconds(99)) == 0);
  CHECK(taken(b, t + milliseconds(100)) == 1);
  CHECK(taken(b, t + milliseconds(350)) == 2);
  CHECK(taken(b, t + milliseconds(400)) == 1);
  CHECK(taken(b, t + seconds(100)) == 3);
  CHECK(taken(b, t) == 0);  // the clock went back
  token_bucket hourly{2, 1, seconds(3600)};
  CHECK(taken(hourly, t) == 1);
  CHECK(taken(hourly, t + seconds(1799)) == 0);
  CHECK(taken(hourly, t + seconds(1800)) == 1);
}

TEST_CASE("a token bucket counts bytes, and parts of a nanosecond for each") {
  token_bucket b{1'500'000'000, 9'000};  // two thirds of a nanosecond each
  const instant t{};
  CHECK(b.take(t, 7'500));
  CHECK(!b.take(t, 1'800));  // and takes nothing
  CHECK(b.take(t, 1'500));
  CHECK(!b.take(t + nanoseconds(990), 1'500));
  CHECK(b.take(t + nanoseconds(1'000), 1'500));
  CHECK(!b.take(t + seconds(9), 9'010));  // so many there never are
  CHECK(b.take(t + seconds(9), 9'000));
  std::uint64_t bytes = 0;
  const instant from = t + seconds(10);
  for (instant now = from; now < from + milliseconds(10); now = now + nanoseconds(900))
    if (b.take(now, 1500)) bytes += 1500;
  CHECK(bytes >= 14'990'000);
  CHECK(bytes <= 15'040'000);
  token_bucket wide{std::uint64_t{1} << 40, std::uint64_t{1} << 41};
  CHECK(wide.take(t, std::uint64_t{1} << 41));
  CHECK(!wide.take(t + milliseconds(999), std::uint64_t{1} << 40));
  CHECK(wide.take(t + milliseconds(1001), std::uint64_t{1} << 40));
  token_bucket counted{0, 100};
  CHECK(counted.take(t, 60));
  CHECK(!counted.take(t, 60));
  CHECK(counted.take(t, 40));
  CHECK(!b.take(t + seconds(20), ~std::uint64_t{0}));
}

TEST_CASE("a token bucket knows its edges") {
  token_bucket none{0, 2};
  CHECK(taken(none, {}) == 2);
  CHECK(taken(none, never) == 0);
  token_bucket one{1, 0};
  CHECK(taken(one, {}) == 1);
  token_bucket fast{1'000'000'000, ~std::uint32_t{0}};
  CHECK(taken(fast, {}) == 100);
  token_bucket faster{~std::uint64_t{0}};  // one in a nanosecond
  CHECK(taken(faster, {}) == 1);
  CHECK(taken(faster, instant{} + nanoseconds(1)) == 1);
  token_bucket slow{1, ~std::uint32_t{0}, seconds(86400)};
  CHECK(taken(slow, {}) == 100);
}
