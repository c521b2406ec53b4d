// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include <runnel/base.hpp>

namespace {

using namespace runnel;

enum class reason : std::uint8_t { bad = 1, worse };

constexpr result<int, reason> half(int n) {
  if (n % 2 != 0) return reason::worse;
  return n / 2;
}
static_assert(half(8) && *half(8) == 4 && half(8).has_value());
static_assert(!half(7) && half(7).error() == reason::worse);
static_assert(std::is_trivially_copy_constructible_v<result<int, reason>>);
static_assert(std::is_trivially_destructible_v<result<int, reason>>);
static_assert(!std::is_trivially_destructible_v<result<std::string, reason>>);
static_assert(!std::is_copy_constructible_v<result<std::unique_ptr<int>, reason>>);
static_assert(!std::is_convertible_v<result<int, reason>, bool>);

TEST_CASE("a result holds a value or the reason why there is none") {
  struct point {
    int x, y;
  };
  result<point, reason> good = point{1, 2};
  REQUIRE(good);
  CHECK(good->x == 1);
  good->x = 5;
  CHECK((*good).x == 5);
  CHECK(good.value().y == 2);
  const result<point, reason> bad = reason::bad;
  CHECK_FALSE(bad);
  CHECK(bad.error() == reason::bad);
}

TEST_CASE("a result moves what it holds, and destroys it once") {
  const auto watched = std::make_shared<int>(1);
  {
    result<std::shared_ptr<int>, std::string> r = watched;
    CHECK(watched.use_count() == 2);
    result<std::shared_ptr<int>, std::string> moved = std::move(r);
    CHECK(watched.use_count() == 2);
    const std::shared_ptr<int> out = *std::move(moved);
    CHECK(watched.use_count() == 2);
    result<std::shared_ptr<int>, std::string> failed = std::string(100, 'x');
    const result<std::shared_ptr<int>, std::string> moved_failed = std::move(failed);
    CHECK(moved_failed.error() == std::string(100, 'x'));
  }
  CHECK(watched.use_count() == 1);
}

TEST_CASE("a result with an error sentence") {
  const auto open = [](bool there) -> result<std::unique_ptr<int>, error> {
    if (!there) return error{"pcap", "open", "x.pcap", "no such file", "give the path of a capture", 2};
    return std::unique_ptr<int>{new int(3)};
  };
  CHECK(*open(true).value() == 3);
  CHECK(open(false).error().number() == 2);
}

// ---- time

static_assert(seconds(1) == milliseconds(1000) && milliseconds(1) == microseconds(1000) &&
              microseconds(1) == nanoseconds(1000));
static_assert(seconds(1) - milliseconds(1) == milliseconds(999) && seconds(2) * 3 == seconds(6) &&
              seconds(6) / 4 == milliseconds(1500));
static_assert(nanoseconds(-1) < nanoseconds(0) && nanoseconds(1) >= nanoseconds(1) && nanoseconds(2) > nanoseconds(1));
static_assert(instant{5} + nanoseconds(3) == instant{8} && instant{5} - nanoseconds(8) == instant{-3});
static_assert(instant{5} - instant{8} == nanoseconds(-3) && instant{5} <= instant{5} && instant{4} != instant{5});
static_assert(instant{INT64_MAX - 1} < never && never == instant{INT64_MAX});
static_assert(runnel::clock<manual_clock> && !runnel::clock<int>);  // qualified: the C library has a ::clock too

TEST_CASE("a manual clock stands still until it is moved") {
  manual_clock c{instant{100}};
  CHECK(c.now() == instant{100});
  c.advance(nanoseconds(5));
  CHECK(c.now() == instant{105});
  c.set(instant{1});
  CHECK(c.now() == instant{1});
  CHECK(manual_clock{}.now() == instant{0});
}

}  // namespace
