// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include <runnel/packet.hpp>

#include "packet/counted_pool.hpp"

namespace {

using namespace runnel;
using runnel::test::counted_pool;

TEST_CASE("a packet that was sent away neither clones nor copies at home, and comes home by reclaim") {
  counted_pool pool;
  counted_pool there;
  packet p = pool->allocate();
  REQUIRE(p.append(bytes{p.head(), 10}));
  REQUIRE(p.append(pool->allocate()));
  CHECK_FALSE(p.is_away());
  REQUIRE(p.send_away());
  CHECK(p.is_away());
  CHECK_FALSE(p.is_plain());
  CHECK_FALSE(p.clone());
  CHECK_FALSE(p.copy());
  CHECK_FALSE(p.linearize());
  CHECK(p.unshare());
  CHECK(p.keep());
  packet copy = p.copy(there);
  CHECK(copy.length() == 10);
  p.reset();
  CHECK(pool->available() == pool->capacity() - 2);
  pool->reclaim();
  CHECK(pool->available() == pool->capacity());
}

TEST_CASE("a packet that has come home is as any other there") {
  counted_pool pool;
  packet p = pool->allocate();
  REQUIRE(p.append(bytes{p.head(), 10}));
  REQUIRE(p.append(pool->allocate()));
  REQUIRE(p.send_away());
  p.come_home();
  CHECK_FALSE(p.is_away());
  CHECK(p.copy().length() == 10);
  CHECK(p.clone());
  CHECK(p.linearize());
  CHECK(p.is_plain());
  p.reset();
  CHECK(pool->available() == pool->capacity());
}

TEST_CASE("a shared packet goes away as a copy, a clone that is alone as it is, a lent one in slots") {
  counted_pool pool;
  packet original = pool->allocate();
  packet clone = original.clone();
  REQUIRE(clone.send_away());
  CHECK_FALSE(original.is_shared());
  packet other = original.clone();
  original.reset();
  const std::byte* const where = other.data();
  REQUIRE(other.send_away());
  CHECK(other.data() == where);

  std::byte ring[100]{};
  frame f;
  f.data = ring;
  f.length = 100;
  f.lender = pool->add_lender();
  pool->lend(f.lender, 1);
  packet lent = pool->attach(f);
  REQUIRE(lent.send_away());
  CHECK(pool->lent(f.lender) == 0);
}

TEST_CASE("a shared packet that cannot be copied is not sent away") {
  counted_pool pool{{.packets = 1, .bytes = 64, .headroom = 0, .bare = 1}};
  packet p = pool->allocate();
  packet clone = p.clone();
  CHECK_FALSE(clone.send_away());
  CHECK(clone.is_shared());
  clone.reset();
  CHECK(p.send_away());
}

TEST_CASE("packets that other threads release come home, and an empty pool fetches them by itself") {
  counted_pool pool{{.packets = 16, .bytes = 64, .headroom = 0, .bare = 16}};
  constexpr int rounds = 20'000;
  constexpr int workers = 2;
  std::mutex lock[workers];
  std::vector<packet> inbox[workers];
  bool done[workers] = {};

  std::vector<std::thread> threads;
  for (int w = 0; w < workers; ++w) {
    threads.emplace_back([&, w] {
      for (;;) {
        std::vector<packet> mine;
        bool last;
        {
          const std::lock_guard<std::mutex> hold{lock[w]};
          mine.swap(inbox[w]);
          last = done[w];
        }
        for (packet& p : mine)
          for (std::byte& b : p.writable()) b = std::byte{0xaa};
        if (w == 0) pool::release(mine.data(), mine.size());  // in bulk
        mine.clear();
        if (last) return;
        std::this_thread::yield();
      }
    });
  }
  int sent = 0;
  while (sent < rounds) {
    packet p = pool->allocate();
    if (!p) {
      std::this_thread::yield();
      continue;
    }
    REQUIRE(p.put(32) != nullptr);
    if (sent % 3 == 1) {  // a chain
      packet q = pool->allocate();
      if (q) REQUIRE(p.append(std::move(q)));
    } else if (sent % 3 == 2) {  // a clone left alone
      packet c = p.clone();
      if (c) p = std::move(c);
    }
    if (!p.send_away()) continue;
    const std::lock_guard<std::mutex> hold{lock[sent % workers]};
    inbox[sent % workers].push_back(std::move(p));
    ++sent;
  }
  for (int w = 0; w < workers; ++w) {
    const std::lock_guard<std::mutex> hold{lock[w]};
    done[w] = true;
  }
  for (std::thread& t : threads) t.join();
}

}  // namespace
