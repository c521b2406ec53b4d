// SPDX-License-Identifier: MIT
// Queues: order, what happens when they are full, and how the loop ends.
#include <flow/test_device.hpp>

using namespace runnel;
using namespace runnel::test;

namespace {

struct fixture {
  counted_pool memory;
  test_device wire{memory};
  numbers arrived;
};

}  // namespace

TEST_CASE("what goes into a queue comes out in order, and the loop ends when it is empty and the device is done") {
  fixture t;
  t.wire.several(1, 10);
  queue<drop_tail, 16> q;
  auto in = parse() | enqueue(q);
  auto out = [](packet&) {} | note(t.arrived);
  run(attach(t.wire, in), attach(q, as_pipeline(out)));
  CHECK(t.arrived == "1 2 3 4 5 6 7 8 9 10");
  CHECK(q.size() == 0);
  CHECK(counters_of<1>(in).packets == 10);
  CHECK(counters_of<1>(in).passed() == 10);
}

TEST_CASE("drop_tail refuses newcomers, with the cause") {
  fixture t;
  t.wire.several(1, 6);
  queue<drop_tail, 4> q;
  auto in = parse() | enqueue(q);
  run(attach(t.wire, in), attach(q, note(t.arrived)));
  CHECK(t.arrived == "1 2 3 4");
  CHECK(counters_of<1>(in).dropped(drop_reason::queue_full) == 2);
}

TEST_CASE("drop_head gives up the oldest, with the cause") {
  fixture t;
  t.wire.several(1, 6);
  queue<drop_head, 4> q;
  auto in = parse() | enqueue(q);
  run(attach(t.wire, in), attach(q, note(t.arrived)));
  CHECK(t.arrived == "3 4 5 6");
  CHECK(counters_of<1>(in).dropped(drop_reason::queue_head) == 2);
}

TEST_CASE("hold holds the source back: nothing is lost, and nothing more is received than there is room for") {
  fixture t;
  t.wire.several(1, 11);
  queue<hold, 4> q;
  auto in = parse() | enqueue(q);
  run(attach(t.wire, in), attach(q, note(t.arrived)));
  CHECK(t.arrived == "1 2 3 4 5 6 7 8 9 10 11");
  CHECK(t.wire.bursts == "4 4 3");
  CHECK(counters_of<1>(in).passed() == 11);
}

TEST_CASE("hold holds back across branches, tees and shared pipelines: the fullest queue counts") {
  fixture t;
  t.wire.several(1, 9);
  queue<hold, 8> wide;
  queue<hold, 2> narrow;
  numbers from_wide, from_narrow;
  struct left {};
  struct right {};
  auto tail = [](packet&) {} | enqueue(narrow);
  auto in = parse() | tee(enqueue(wide)) |
            branch([](packet& p) -> ports<left, right> {
              if (number_of(p) % 3 == 0) return left{};
              return right{};
            })
                .on<left>(discard)
                .on<right>(shared(tail));
  run(attach(t.wire, in), attach(wide, note(from_wide)), attach(narrow, note(from_narrow)));
  CHECK(from_wide == "1 2 3 4 5 6 7 8 9");
  CHECK(from_narrow == "1 2 4 5 7 8");
  CHECK(t.wire.bursts == "2 2 1 2 1 1");
}

TEST_CASE("hold holds back behind a path that can be replaced, by the queue that lies behind it at that time") {
  fixture t;
  queue<hold, 3> narrow;
  queue<hold, 5> wide;
  auto to_narrow = parse() | enqueue(narrow);
  auto to_wide = parse() | enqueue(wide);
  auto to_nobody = parse() | discard;
  any_pipeline inner{to_narrow};
  auto between = [](packet&) {} | replaceable(inner);
  any_pipeline slot{between};
  auto in = parse() | replaceable(slot);
  manual_clock time;
  loop l{time, attach(t.wire, in), attach(narrow, note(t.arrived)), attach(wide, note(t.arrived))};
  t.wire.several(1, 40);
  CHECK(l.poll() == 6);  // three in, three out
  inner.replace(to_wide);
  CHECK(l.poll() == 10);
  inner.replace(to_nobody);
  l.run();
  CHECK(t.arrived == "1 2 3 4 5 6 7 8");
  CHECK(t.wire.bursts == "3 5 32");
  CHECK(counters_of<1>(to_narrow).passed() == 3);
  CHECK(counters_of<1>(to_wide).passed() == 5);
}

TEST_CASE("a queue goes round: order is kept over many turns of its ring") {
  fixture t;
  queue<drop_tail, 7> q;
  unsigned next = 1, expected = 1;
  bool in_order = true;
  auto in = parse() | enqueue(q);
  auto out = [&](packet& p) { in_order = in_order && number_of(p) == expected++; } | discard;
  manual_clock time;
  loop l{time, attach(t.wire, in), attach(q, as_pipeline(out), {.budget = 3})};
  for (int i = 0; i < 50; ++i) {
    t.wire.several(next, 3);
    next += 3;
    l.poll();
  }
  l.run();
  CHECK(in_order);
  CHECK(expected == next);
}

TEST_CASE("a queue leads back to an earlier stage: a loop in the graph") {
  fixture t;
  t.wire.several(1, 4);
  queue<drop_tail, 8> again;
  struct more {};
  struct done {};
  auto path = parse() | unshare() |
              [](mut<ipv4> ip) { ip.time_to_live(static_cast<std::uint8_t>(ip.time_to_live() - 1)); } |
              branch([](ipv4 ip) -> ports<more, done, other> {
                if (ip.time_to_live() > 60) return more{};
                return done{};
              })
                  .on<more>(enqueue(again))
                  .on<done>(note(t.arrived))
                  .on<other>(discard);
  run(attach(t.wire, path), attach(again, path));
  CHECK(t.arrived == "1 2 3 4");
  CHECK(counters_of<2>(path).packets == 4 * 4);
}

TEST_CASE("a queue keeps lent packets by copying them, and drops when the pool has no slot for that") {
  counted_pool memory{pool_config{.packets = 2, .bytes = 256, .headroom = 16, .bare = 8}};
  test_device wire{memory};
  wire.lend_bytes();
  wire.several(1, 4);
  queue<drop_tail, 8> q;
  numbers arrived;
  auto in = parse() | enqueue(q);
  run(attach(wire, in), attach(q, note(arrived)));
  CHECK(arrived == "1 2");
  CHECK(counters_of<1>(in).dropped(drop_reason::no_packet) == 2);
}

TEST_CASE("a full queue refuses a lent packet as it is, without a copy") {
  counted_pool memory{pool_config{.packets = 2, .bytes = 256, .headroom = 16, .bare = 8}};
  test_device wire{memory};
  wire.lend_bytes();
  wire.several(1, 4);
  queue<drop_tail, 2> q;
  numbers arrived;
  auto in = parse() | enqueue(q);
  run(attach(wire, in), attach(q, note(arrived)));
  CHECK(arrived == "1 2");
  CHECK(counters_of<1>(in).dropped(drop_reason::queue_full) == 2);
  CHECK(counters_of<1>(in).dropped(drop_reason::no_packet) == 0);
}

TEST_CASE("packets that are still in a queue go home with it") {
  fixture t;
  t.wire.several(1, 4);
  queue<drop_tail, 8> q;
  run(attach(t.wire, parse() | enqueue(q)));
  CHECK(q.size() == 4);
  CHECK(q.room() == 4);
}

TEST_CASE("a clone that waits in a queue is not written to by who gets the other one") {
  fixture t;
  t.wire.several(1, 2);
  queue<drop_tail, 8> first, second;
  numbers before, after;
  auto in = parse() | tee(enqueue(first)) | enqueue(second);
  auto write = parse() | unshare() | [](mut<ipv4> ip) { ip.time_to_live(1); } |
               [&](ipv4 ip) { after.add(ip.time_to_live()); } | discard;
  auto read = parse() | [&](ipv4 ip) { before.add(ip.time_to_live()); } | discard;
  run(attach(t.wire, in), attach(first, write), attach(second, read));
  CHECK(after == "1 1");
  CHECK(before == "64 64");
}
