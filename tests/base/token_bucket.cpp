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

TEST_CASE("a token bucket knows its edges") {
  token_bucket none{0, 2};
  CHECK(taken(none, {}) == 2);
  CHECK(taken(none, never) == 0);
  token_bucket one{1, 0};
  CHECK(taken(one, {}) == 1);
  token_bucket fast{~std::uint64_t{0}, ~std::uint32_t{0}};
  CHECK(taken(fast, {}) == 100);
  token_bucket slow{1, ~std::uint32_t{0}, seconds(86400)};
  CHECK(taken(slow, {}) == 100);
}
