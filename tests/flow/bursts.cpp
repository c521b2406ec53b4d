// SPDX-License-Identifier: MIT
// Stages that see a whole burst.
#include <flow/test_device.hpp>

using namespace runnel;
using namespace runnel::test;

namespace {

struct fixture {
  counted_pool memory;
  test_device wire{memory};
  numbers arrived;
};

// Says that it resizes nothing.
template <class F>
struct steady : detail::stage_defaults {
  static constexpr stage_kind kind = stage_kind::burst;
  static constexpr bool resizes = false;
  F function;
  constexpr explicit steady(F f) noexcept : function(f) {}
  void operator()(burst& b, context&) noexcept { function(b); }
  constexpr void print_name(text_writer& out) const noexcept { out << "steady"; }
};

}  // namespace

TEST_CASE("a burst stage sees all packets at once, and lets them pass unless it says otherwise") {
  fixture t;
  t.wire.several(1, 5);
  numbers seen;
  auto path = parse() | [&](burst& b) {
    CHECK(b.size() == 5);
    for (packet& p : b) seen.add(number_of(p));
  } | note(t.arrived);
  run(attach(t.wire, path));
  CHECK(seen == "1 2 3 4 5");
  CHECK(t.arrived == "1 2 3 4 5");
}

TEST_CASE("a burst stage is told the time when it asks for it") {
  fixture t;
  manual_clock clock;
  clock.advance(milliseconds(7));
  t.wire.several(1, 3);
  instant seen{};
  auto path = parse() | [&](burst& b, instant now = {}) {
    seen = now;
    b.verdict_on(1) = drop;
  } | note(t.arrived);
  run(clock, attach(t.wire, path));
  CHECK(seen == instant{} + milliseconds(7));
  CHECK(t.arrived == "1 3");
}

TEST_CASE("a burst stage sets verdicts, and each is carried out and counted") {
  fixture t;
  t.wire.several(1, 6);
  auto path = [](burst& b) {
    b.verdict_on(0) = drop(drop_reason::blocklist);
    b.verdict_on(2) = tx;
    b.verdict_on(3) = aborted;
    b.verdict_on(5) = redirect(1);
  } | note(t.arrived);
  run(attach(t.wire, as_pipeline(path)));
  CHECK(t.arrived == "2 5");
  CHECK(t.wire.sent == "3");
}

TEST_CASE("the counters of a burst stage add up") {
  fixture t;
  t.wire.several(1, 6);
  auto path = parse() | [](burst& b) {
    b.verdict_on(0) = drop(drop_reason::blocklist);
    b.verdict_on(2) = tx;
    b.verdict_on(5) = redirect(1);
  } | note(t.arrived);
  run(attach(t.wire, path));
  const stage_counters& c = counters_of<1>(path);
  CHECK(c.packets == 6);
  CHECK(c.bytes == 360);
  CHECK(c.passed() == 3);
  CHECK(c.dropped(drop_reason::blocklist) == 1);
  CHECK(c.dropped(drop_reason::no_target) == 1);
  CHECK(c.count(verdict_code::tx) == 1);
  CHECK(counters_of<2>(path).bytes == 180);
}

TEST_CASE("behind a burst stage that resizes nothing the bytes are counted that go on") {
  fixture t;
  int round = 0;
  auto path = parse() | steady{[&](burst& b) {
                ++round;
                if (round == 2) b.verdict_on(0) = drop;
                if (round == 3) {
                  b.verdict_on(1) = drop;
                  packet longer = t.memory.get().allocate();
                  REQUIRE(longer.put(77) != nullptr);
                  CHECK(b.push_back(static_cast<packet&&>(longer)));
                }
              }} |
              deliver([](packet) {});
  for (const std::uint64_t bytes_in_all : {300u, 300u + 240u, 300u + 240u + 317u}) {
    t.wire.several(1, 5);
    run(attach(t.wire, path));
    CHECK(counters_of<2>(path).bytes == bytes_in_all);
  }
}

TEST_CASE("moving a packet out of a burst steals it, and the others close up") {
  fixture t;
  t.wire.several(1, 4);
  packet kept[2];
  auto path = parse() | [&](burst& b) {
    kept[0] = static_cast<packet&&>(b[0]);
    kept[1] = static_cast<packet&&>(b[2]);
  } | note(t.arrived);
  run(attach(t.wire, path));
  CHECK(t.arrived == "2 4");
  CHECK(number_of(kept[0]) == 1);
  CHECK(number_of(kept[1]) == 3);
  CHECK(counters_of<1>(path).count(verdict_code::stolen) == 2);
  CHECK(counters_of<1>(path).passed() == 2);
}

TEST_CASE("a burst that is stolen as a whole does not go on") {
  fixture t;
  t.wire.several(1, 3);
  auto path = parse() | [](burst& b) {
    for (packet& p : b) p.reset();
  } | note(t.arrived);
  run(attach(t.wire, path));
  CHECK(t.arrived == "");
  CHECK(counters_of<1>(path).count(verdict_code::stolen) == 3);
  CHECK(counters_of<2>(path).packets == 0);
}

TEST_CASE("clear() takes all packets out of the burst, and they are counted as taken") {
  fixture t;
  t.wire.several(1, 3);
  auto path = parse() | [](burst& b) { b.clear(); } | note(t.arrived);
  run(attach(t.wire, path));
  CHECK(t.arrived == "");
  CHECK(counters_of<1>(path).packets == 3);
  CHECK(counters_of<1>(path).passed() == 0);
  CHECK(counters_of<1>(path).count(verdict_code::stolen) == 3);
}

TEST_CASE("packets that a burst stage appends go on behind the others, up to the capacity") {
  fixture t;
  t.wire.several(1, 3);
  std::size_t appended = 0;
  auto path = parse() | [&](burst& b) {
    CHECK(b.capacity() == 8);
    for (;;) {
      packet p = b[0].copy();
      store_be16(p.writable().data() + p.length() - 2, static_cast<std::uint16_t>(100 + appended));
      if (!b.push_back(static_cast<packet&&>(p))) break;
      ++appended;
    }
    b.verdict_on(6) = drop;
  } | note(t.arrived);
  run(attach<8>(t.wire, path));
  CHECK(appended == 5);
  CHECK(t.arrived == "1 2 3 100 101 102 104");
  const stage_counters& c = counters_of<1>(path);
  CHECK(c.packets == 8);  // those that were made here came in here
  CHECK(c.passed() == 7);
}

TEST_CASE("a burst stage may give one packet for many") {
  fixture t;
  t.wire.several(1, 4);
  auto merge = [](burst& b) {
    for (std::size_t i = 1; i < b.size(); ++i) {
      packet next = static_cast<packet&&>(b[i]);
      REQUIRE(b[0].append(static_cast<packet&&>(next)));
    }
  };
  std::size_t length = 0;
  auto path = merge | deliver([&](packet p) { length = p.total_length(); });
  run(attach(t.wire, as_pipeline(path)));
  CHECK(length == 240);
}
