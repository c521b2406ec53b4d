// SPDX-License-Identifier: MIT
// What a loop calls once in each period.
#include <runnel/flow/every.hpp>

#include <flow/test_device.hpp>

using namespace runnel;
using namespace runnel::test;

namespace {

// Until when the loop may sleep.
template <class Attachment>
instant due_of(Attachment& a, manual_clock& time) {
  wait_entry none[1];
  wait_list waits{none, 0, time.now()};
  a.prepare_to_wait(waits, time, nullptr);
  return waits.due();
}

}  // namespace

TEST_CASE("a function is called once in each period, the first time when one is over") {
  numbers at;
  manual_clock time{instant{1000}};
  auto a = every(nanoseconds(100), [&](instant now) { at.add(static_cast<unsigned>(now.ns)); });
  for (const std::int64_t t : {1000, 1099, 1100, 1150, 1200}) {
    time.set(instant{t});
    CHECK(a.poll(time) == 0);
  }
  CHECK(at == "1100 1200");
  CHECK(due_of(a, time) == instant{1300});
  CHECK(a.done());
}

TEST_CASE("what is late keeps its beat, and what was missed is not made up for") {
  numbers at;
  manual_clock time{instant{1000}};
  auto a = every(nanoseconds(100), [&](instant now) { at.add(static_cast<unsigned>(now.ns)); });
  for (const std::int64_t t : {1000, 1130, 1200, 1750, 1800, 1850}) {
    time.set(instant{t});
    (void)a.poll(time);
  }
  CHECK(at == "1130 1200 1750 1850");
  CHECK(due_of(a, time) == instant{1950});
}

TEST_CASE("a clock of the user's may begin at 0") {
  unsigned called = 0;
  manual_clock time;
  auto a = every(nanoseconds(100), [&] { ++called; });
  (void)a.poll(time);
  CHECK(due_of(a, time) == instant{100});
  time.set(instant{100});
  (void)a.poll(time);
  CHECK(called == 1);
}

TEST_CASE("by the time of a capture the first period begins with the first packet") {
  counted_pool memory;
  test_device source{memory};
  constexpr std::int64_t start = 1'700'000'000'000'000'000;
  for (unsigned i = 0; i < 5; ++i)
    source.put(i, 18, instant{start} + milliseconds(700) * i, eth, ipv4_header{}, udp_header{});
  unsigned packets = 0;
  numbers seen;
  run(attach<1>(source, [&](packet&) { ++packets; } | discard, {.budget = 1}),
      every(seconds(1), [&] { seen.add(packets); }));
  CHECK(packets == 5);
  CHECK(seen == "3 4");  // at 1.4 s and 2.1 s; the third, at 2.8 s, is not over one period after that
}

TEST_CASE("it keeps no loop alive") {
  counted_pool memory;
  test_device source{memory};
  source.udp(1);
  bool called = false;
  manual_clock time{instant{1}};
  run(time, attach(source, discard), every(seconds(1), [&] { called = true; }));
  CHECK(!called);
}
