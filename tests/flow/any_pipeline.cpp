// SPDX-License-Identifier: MIT
// Paths that are replaced while packets flow.
#include <flow/test_device.hpp>

using namespace runnel;
using namespace runnel::test;

TEST_CASE("a path is replaced between two rounds, and nothing is lost") {
  counted_pool memory;
  test_device wire{memory};
  numbers to_first, to_second;
  auto first = parse() | [](udp) {} | note(to_first);
  auto second = parse() | [](packet& p) { return number_of(p) % 2 == 0 ? drop : pass; } | note(to_second);
  any_pipeline slot{first};
  auto path = [](packet&) {} | replaceable(slot);
  manual_clock time;
  loop l{time, attach(wire, path)};
  wire.several(1, 3);
  l.poll();
  slot.replace(second);
  wire.several(4, 4);
  l.poll();
  slot.replace(first);
  wire.several(8, 1);
  l.poll();
  CHECK(to_first == "1 2 3 8");
  CHECK(to_second == "5 7");
  CHECK(counters_of<1>(path).packets == 8);
  CHECK(counters_of<0>(first).packets == 4);
  CHECK(counters_of<1>(second).dropped(drop_reason::policy) == 2);
}

TEST_CASE("a burst larger than the replaceable path was made for goes through it in parts, in order") {
  counted_pool memory{pool_config{.packets = 256, .bytes = 128, .headroom = 0, .bare = 0}};
  test_device wire{memory};
  unsigned seen = 0;
  bool in_order = true;
  numbers sizes;
  auto inner = parse() | [&](burst& b) { sizes.add(static_cast<unsigned>(b.size())); } |
               deliver([&](packet p) { in_order = in_order && number_of(p) == ++seen; });
  any_pipeline slot{inner};
  wire.several(1, 200);
  run(attach<256>(wire, replaceable(slot)));
  CHECK(sizes == "64 64 64 8");
  CHECK(in_order);
  CHECK(seen == 200);
  CHECK(counters_of<0>(inner).packets == 200);
  CHECK(counters_of<0>(inner).bytes == 200 * 60);
}

TEST_CASE("a stage before the slot may replace the path for the burst that it is in") {
  counted_pool memory;
  test_device wire{memory};
  numbers to_first, to_second;
  auto first = parse() | note(to_first);
  auto second = uncounted | parse() | note(to_second);
  any_pipeline slot{first};
  auto path = parse() | [&](packet& p) {
    if (number_of(p) == 3) slot.replace(second);
  } | replaceable(slot);
  wire.several(1, 6);
  run(attach<2>(wire, path));
  CHECK(to_first == "1 2");
  CHECK(to_second == "3 4 5 6");
}
