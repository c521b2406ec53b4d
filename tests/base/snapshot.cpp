// SPDX-License-Identifier: MIT
// Tables that are replaced while others read them.
#include <runnel/base/snapshot.hpp>

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

using namespace runnel;

TEST_CASE("a reader keeps its table until it comes by, and the writer knows when all have") {
  const int a = 1, b = 2, c = 3;
  snapshot<int, 2> s{a};
  auto& one = s.reader(0);
  auto& two = s.reader(1);
  one.refresh();
  two.refresh();
  CHECK(&one.current() == &a);
  CHECK(s.is_quiet());
  CHECK(&s.replace(b) == &a);
  CHECK(&s.newest() == &b);
  CHECK_FALSE(s.is_quiet());
  CHECK(&one.current() == &a);
  one.refresh();
  CHECK(&one.current() == &b);
  CHECK_FALSE(s.is_quiet());
  two.rest();  // nobody waits for who rests
  CHECK(s.is_quiet());
  CHECK(&s.replace(c) == &b);
  CHECK_FALSE(s.is_quiet());
  two.refresh();
  CHECK(&two.current() == &c);
  CHECK_FALSE(s.is_quiet());
  one.refresh();
  CHECK(s.is_quiet());
}

TEST_CASE("no thread ever sees a table that is being filled") {
  struct table {
    std::uint64_t values[64];
  };
  static table tables[2];
  for (table& t : tables)
    for (std::uint64_t& v : t.values) v = 1;
  snapshot<table, 2> s{tables[0]};
  std::atomic<bool> stop{false};
  std::atomic<unsigned> torn{0}, older{0}, rounds{0};
  const auto read = [&](unsigned i) {
    auto& mine = s.reader(i);
    std::uint64_t last = 0;
    for (unsigned n = 0; !stop.load(std::memory_order_relaxed); ++n) {
      if (n % 7 == 0) mine.rest();
      mine.refresh();
      const table& t = mine.current();
      for (const std::uint64_t v : t.values)
        if (v != t.values[0]) ++torn;
      if (t.values[0] < last) ++older;
      last = t.values[0];
      ++rounds;
    }
    mine.rest();
  };
  std::vector<std::thread> readers;
  for (unsigned i = 0; i < 2; ++i) readers.emplace_back(read, i);
  for (std::uint64_t n = 2; n < 2000 || rounds.load() < 100; ++n) {
    while (!s.is_quiet()) std::this_thread::yield();
    table& spare = tables[&s.newest() == &tables[0] ? 1 : 0];
    for (std::uint64_t& v : spare.values) v = n;
    s.replace(spare);
  }
  stop = true;
  for (std::thread& t : readers) t.join();
  CHECK(torn == 0);
  CHECK(older == 0);
}
