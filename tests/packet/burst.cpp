// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <utility>

#include <runnel/packet.hpp>

#include "packet/counted_pool.hpp"

namespace {

using namespace runnel;
using runnel::test::counted_pool;

TEST_CASE("a burst takes packets up to its capacity, each with the verdict pass") {
  counted_pool pool;
  burst_of<3> b;
  CHECK(b.empty());
  CHECK(b.capacity() == 3);
  for (std::uint32_t i = 0; i < 3; ++i) {
    packet p = pool->allocate();
    p.mark(i);
    REQUIRE(b.push_back(std::move(p)));
    CHECK_FALSE(p);
    CHECK(b.verdict_on(i) == pass);
  }
  packet fourth = pool->allocate();
  CHECK_FALSE(b.push_back(std::move(fourth)));
  CHECK(fourth);
  CHECK(b.size() == 3);
  std::uint32_t next = 0;
  for (packet& p : b) CHECK(p.mark() == next++);
  CHECK(b[2].mark() == 2);
}

TEST_CASE("verdicts are set per packet, and a cleared burst begins anew") {
  counted_pool pool;
  burst_of<4> b;
  for (int i = 0; i < 4; ++i) REQUIRE(b.push_back(pool->allocate()));
  b.verdict_on(1) = drop(drop_reason::queue_full);
  b.verdict_on(2) = redirect(7);
  b.verdict_on(3) = drop;
  CHECK(b.verdict_on(0) == pass);
  CHECK(b.verdict_on(1).reason == drop_reason::queue_full);
  CHECK(b.verdict_on(2).port == 7);
  CHECK(b.verdict_on(3) == verdict{verdict_code::drop, drop_reason::policy, 0});
  packet stolen_one = std::move(b[0]);
  b.verdict_on(0) = stolen;
  b.clear();
  CHECK(b.empty());
  CHECK(pool->available() == pool->capacity() - 1);
  REQUIRE(b.push_back(pool->allocate()));
  REQUIRE(b.push_back(pool->allocate()));
  CHECK(b.verdict_on(1) == pass);
}

TEST_CASE("a burst over arrays of somebody else leaves the packets there") {
  counted_pool pool;
  packet packets[2];
  verdict verdicts[2];
  {
    burst b{packets, verdicts, 0, 2};
    REQUIRE(b.push_back(pool->allocate()));
  }
  CHECK(packets[0]);
  burst again{packets, verdicts, 1, 2};
  CHECK(again.size() == 1);
  again.clear();
  CHECK_FALSE(packets[0]);
}

}  // namespace
