// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <runnel/packet/verdict.hpp>

using namespace runnel;

TEST_CASE("any two verdicts can stand on the two sides of a conditional") {
  const auto choose = [](bool first, int pair) -> verdict {
    switch (pair) {
      case 0: return first ? drop : pass;
      case 1: return first ? drop : tx;
      case 2: return first ? drop : redirect(3);
      case 3: return first ? drop : drop(drop_reason::blocklist);
      case 4: return first ? pass : drop(drop_reason::blocklist);
      default: return first ? redirect(1) : drop(drop_reason::blocklist);
    }
  };
  CHECK(choose(true, 0) == verdict{drop});
  CHECK(choose(false, 1) == tx);
  CHECK(choose(false, 2).port == 3);
  CHECK(choose(false, 3).reason == drop_reason::blocklist);
  CHECK(choose(true, 3).reason == drop_reason::policy);
  CHECK(choose(false, 4).code == verdict_code::drop);
  CHECK(choose(true, 5).port == 1);
}

TEST_CASE("a lambda may return any verdict in any place, without saying its type") {
  const auto decide = [](int port) {
    if (port == 53) return drop;
    if (port == 54) return drop(drop_reason::blocklist);
    if (port == 55) return redirect(2);
    return pass;
  };
  CHECK(decide(53).reason == drop_reason::policy);
  CHECK(decide(54).reason == drop_reason::blocklist);
  CHECK(decide(55).port == 2);
  CHECK(decide(56) == pass);
  static_assert(sizeof(verdict) == 4);
}

TEST_CASE("every drop reason and every verdict has a name of its own") {
  for (std::size_t i = 0; i < drop_reason_count; ++i) {
    CHECK(name(static_cast<drop_reason>(i))[0] != '\0');
    for (std::size_t k = 0; k < i; ++k)
      CHECK(doctest::String(name(static_cast<drop_reason>(i))) != name(static_cast<drop_reason>(k)));
  }
  CHECK(doctest::String(name(drop_reason::count_)) == "unknown");
  CHECK(doctest::String(name(verdict_code::stolen)) == "stolen");
}
