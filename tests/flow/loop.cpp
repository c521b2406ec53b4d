// SPDX-License-Identifier: MIT
// The loop: budgets, turns, the end, clocks and timers.
#include <flow/test_device.hpp>

using namespace runnel;
using namespace runnel::test;

namespace {

// A source that says when it has something next, in the time of a clock.
struct scheduled_source {
  pool* memory_;
  instant next;
  int left;
  numbers asked_at;

  pool& memory() { return *memory_; }
  bool done() const { return left == 0; }
  instant next_due() const { return left == 0 ? never : next; }
  template <class Take>
  std::size_t receive(std::size_t room, instant now, Take&& take) {
    asked_at.add(static_cast<unsigned>(now.ns));
    if (room == 0 || left == 0 || now < next) return 0;
    frame f = memory_->allocate_frame();
    store_be16(f.put(60), 0);
    f.timestamp = now;
    take(f);
    next = next + nanoseconds(10);
    --left;
    return 1;
  }
};

// A source that is done, but has something to do at `next`.
struct lingering_source {
  pool* memory_;
  instant next;
  numbers asked_at{};

  pool& memory() { return *memory_; }
  bool done() const { return true; }
  instant next_due() const { return next; }
  template <class Take>
  std::size_t receive(std::size_t, instant now, Take&&) {
    if (now >= next) asked_at.add(static_cast<unsigned>(now.ns)), next = never;
    return 0;
  }
};

// A source that an interrupt fills, and that cannot wait for it.
struct ring_of_a_card {
  pool* memory_;

  pool& memory() { return *memory_; }
  bool done() const { return false; }
  template <class Take>
  std::size_t receive(std::size_t, instant, Take&&) {
    return 0;
  }
};

// A source that always has more: after `all` packets it only counts.
struct endless_source {
  pool* memory_;
  std::size_t given = 0;

  pool& memory() { return *memory_; }
  bool done() const { return false; }
  template <class Take>
  std::size_t receive(std::size_t room, instant, Take&& take) {
    for (std::size_t i = 0; i < room; ++i) take(memory_->allocate_frame());
    given += room;
    return room;
  }
};

// A clock that writes down what it was asked to wait for, and then it is that time.
struct noting_clock : manual_clock {
  numbers waits;
  void wait_until(instant t) {
    waits.add(t == never ? 0 : static_cast<unsigned>(t.ns));
    if (t != never) set(t);
  }
};

}  // namespace

TEST_CASE("two sources have their turns, each with at most its budget") {
  counted_pool memory;
  test_device a{memory}, b{memory};
  a.several(1, 10);
  b.several(101, 5);
  numbers arrived;
  auto path = [](packet&) {} | note(arrived);
  auto from_a = uncounted | note(arrived);
  manual_clock time;
  loop l{time, attach(a, std::move(from_a), {.budget = 4}), attach(b, note(arrived), {.budget = 2})};
  CHECK(l.poll() == 6);
  CHECK(arrived == "1 2 3 4 101 102");
  CHECK(l.poll() == 6);
  CHECK(arrived == "1 2 3 4 101 102 5 6 7 8 103 104");
  l.run();
  CHECK(arrived == "1 2 3 4 101 102 5 6 7 8 103 104 9 10 105");
  CHECK(a.bursts == "4 4 2");
  CHECK(l.done());
  (void)path;
}

TEST_CASE("a budget is used up in bursts") {
  counted_pool memory;
  test_device wire{memory};
  wire.several(1, 40);
  manual_clock time;
  loop l{time, attach<16>(wire, discard, {.budget = 36})};
  CHECK(l.poll() == 36);
  CHECK(wire.bursts == "16 16 4");
  CHECK(l.poll() == 4);
}

TEST_CASE("bursts may be as small as one packet and as large as 256") {
  counted_pool memory{pool_config{.packets = 300, .bytes = 128, .headroom = 0, .bare = 0}};
  test_device wire{memory};
  numbers arrived;
  auto path = parse() | [](packet& p) { return number_of(p) % 2 == 0 ? drop : pass; } | note(arrived);
  wire.several(1, 3);
  run(attach<1>(wire, path));
  CHECK(wire.bursts == "1 1 1");
  wire.bursts.clear();
  wire.several(1, 256);
  run(attach<256>(wire, path));
  CHECK(wire.bursts == "256");
  CHECK(arrived.count() == 2 + 128);
}

TEST_CASE("a handler stops the loop after the round that it is in") {
  counted_pool memory;
  test_device wire{memory};
  wire.several(1, 20);
  numbers arrived;
  stoppable* self = nullptr;
  auto path = parse() | [&](packet& p) {
    if (number_of(p) == 5) self->stop();
  } | note(arrived);
  manual_clock time;
  loop l{time, attach<4>(wire, path, {.budget = 8})};
  self = &l;
  l.run();
  CHECK(arrived == "1 2 3 4 5 6 7 8");
  CHECK_FALSE(l.done());
}

TEST_CASE("a loop over sources that are done returns at once, with nothing received") {
  counted_pool memory;
  test_device wire{memory};
  run(attach(wire, discard));
  CHECK(wire.bursts == "");
}

TEST_CASE("without a clock, the time is that of the packets") {
  counted_pool memory;
  test_device wire{memory};
  for (unsigned i = 1; i <= 3; ++i) wire.put(i, 46, instant{std::int64_t{i} * 1000}, eth);
  numbers times;
  run(attach<1>(wire, [&](instant now, packet&) { times.add(static_cast<unsigned>(now.ns)); } | discard));
  CHECK(times == "1000 2000 3000");
}

TEST_CASE("a burst of a capture has the time of its newest packet, and time does not go back") {
  counted_pool memory;
  test_device wire{memory};
  for (unsigned t : {10u, 30u, 20u, 25u}) wire.put(t, 46, instant{t}, eth);
  numbers times;
  run(attach<2>(wire, [&](instant now, packet&) { times.add(static_cast<unsigned>(now.ns)); } | discard));
  CHECK(times == "30 30 30 30");
}

TEST_CASE("a manual clock tells the time that it was set to") {
  counted_pool memory;
  test_device wire{memory};
  wire.put(1, 46, instant{99}, eth);
  wire.put(2, 46, instant{99}, eth);
  numbers times;
  manual_clock time{instant{5}};
  loop l{time, attach<1>(wire, [&](instant now, packet&) { times.add(static_cast<unsigned>(now.ns)); } | discard,
                         {.budget = 1})};
  l.poll();
  time.advance(nanoseconds(2));
  l.poll();
  CHECK(times == "5 7");
}

TEST_CASE(
    "a round that finds nothing waits for what is due next, of all sources; one that finds something does not wait") {
  counted_pool memory;
  scheduled_source a{&memory.get(), instant{10}, 2, {}}, b{&memory.get(), instant{15}, 1, {}};
  noting_clock time;
  run(time, attach(a, discard), attach(b, discard));
  // At 10 and 20 a has a frame, at 15 b.
  CHECK(time.waits == "10 15 20");
  CHECK(a.done());
  CHECK(b.done());
}

TEST_CASE("the capture clock jumps to what is due when no packet comes before") {
  counted_pool memory;
  scheduled_source a{&memory.get(), instant{100}, 2, {}};
  run(attach(a, discard));
  CHECK(a.done());
}

// A pipe: has what others wrote when somebody waits for it, with times of its own.
struct piped_source {
  pool* memory_;
  unsigned left;
  bool has = false;
  instant at{1'000'000};

  pool& memory() { return *memory_; }
  bool done() const { return left == 0; }
  int wait_handle() const { return 0; }
  void wait() { has = true; }
  template <class Take>
  std::size_t receive(std::size_t, instant, Take&& take) {
    if (!has || left == 0) return 0;
    has = false;
    --left;
    frame f = memory_->allocate_frame();
    store_be16(f.put(60), 0);
    f.timestamp = at;
    at = at + milliseconds(1);
    take(f);
    return 1;
  }
};

TEST_CASE("while a pipe may have older packets, the capture clock does not jump to what is due") {
  counted_pool memory;
  piped_source pipe{&memory.get(), 4};
  struct alarm {
    numbers* rung;
    void ring(instant now) { rung->add(static_cast<unsigned>(now.ns / 1'000'000)); }
  };
  numbers rung, came;
  alarm a{&rung};
  timer_wheel timers{nanoseconds(1)};
  timer between = timer::calling<&alarm::ring>(a), after = timer::calling<&alarm::ring>(a);
  timers.schedule(between, instant{2'500'000});
  timers.schedule(after, instant{60'000'000'000});
  auto path = [&](instant now, packet&) { came.add(static_cast<unsigned>(now.ns / 1'000'000)); } | discard;
  run(attach(pipe, path), attach(timers));
  CHECK(came == "1 2 3 4");
  CHECK(rung == "3");  // at the first packet behind it
}

TEST_CASE("by a clock that goes on by itself, a quiet pipe keeps no timer waiting") {
  // All that such a clock has is the time.
  struct ticking_clock {
    instant t{};
    instant now() { return t = t + milliseconds(1); }
  };
  struct quiet_pipe : piped_source {
    const bool* over;
    unsigned* waited;
    bool done() const { return *over; }
    void wait() { ++*waited; }
  };
  counted_pool memory;
  struct alarm {
    bool rung = false;
    void ring(instant) { rung = true; }
  } a;
  unsigned waited = 0;
  quiet_pipe pipe{{&memory.get(), 1}, &a.rung, &waited};
  timer_wheel timers{nanoseconds(1)};
  timer soon = timer::calling<&alarm::ring>(a);
  timers.schedule(soon, instant{50'000'000});
  ticking_clock time;
  run(time, attach(pipe, discard), attach(timers));
  CHECK(a.rung);
  CHECK(waited == 0);
}

TEST_CASE("the clock waits for the only source that is left, where that cannot wait by itself") {
  counted_pool memory;
  ring_of_a_card in{&memory.get()};
  noting_clock time;
  loop l{time, attach(in, discard)};
  CHECK(l.poll() == 0);
  l.wait();
  CHECK(time.waits == "0");  // for ever, or until an interrupt

  // One with a file descriptor, on which this clock cannot wait, is looked at again, also beside others.
  struct tap_of_a_board : ring_of_a_card {
    int wait_handle() const { return 0; }
  };
  tap_of_a_board tap{{&memory.get()}}, other{{&memory.get()}};
  noting_clock again;
  loop only{again, attach(tap, discard)};
  only.wait();
  only.wait();
  CHECK(again.waits == "100000 200000");
  noting_clock both;
  loop two{both, attach(tap, discard), attach(other, discard)};
  two.wait();
  CHECK(both.waits == "100000");
}

TEST_CASE("timers among the attachments run when they are due, and do not keep the loop alive") {
  counted_pool memory;
  scheduled_source source{&memory.get(), instant{3'000'000}, 1, {}};
  numbers rung;
  struct alarm {
    numbers* rung;
    void ring(instant now) { rung->add(static_cast<unsigned>(now.ns / 1'000'000)); }
  } first{&rung}, later{&rung};
  timer_wheel timers{nanoseconds(1)};
  timer one = timer::calling<&alarm::ring>(first), other_one = timer::calling<&alarm::ring>(later);
  timers.schedule(one, instant{2'000'000});
  timers.schedule(other_one, instant{9'000'000});
  noting_clock time;
  run(time, attach(source, discard), attach(timers));
  CHECK(rung == "2");
  CHECK(source.done());
}

TEST_CASE("a source that is done, but has something to do later, is asked then as long as others are not done") {
  counted_pool memory;
  scheduled_source source{&memory.get(), instant{300}, 1, {}};
  lingering_source early{&memory.get(), instant{200}}, late{&memory.get(), instant{900}};
  noting_clock time;
  run(time, attach(source, discard), attach(early, discard), attach(late, discard));
  CHECK(source.done());
  CHECK(early.asked_at == "200");
  CHECK(late.asked_at == "");
}

TEST_CASE("under overload sources share the loop as their budgets are to each other, and a slow one is not starved") {
  counted_pool memory;
  endless_source a{&memory.get()}, b{&memory.get()}, c{&memory.get()};
  test_device slow{memory};
  numbers arrived;
  manual_clock time;
  loop l{time, attach(a, discard, {.budget = 64}), attach<16>(b, discard, {.budget = 64}),
         attach(c, discard, {.budget = 192}), attach(slow, note(arrived))};
  for (unsigned round = 1; round <= 100; ++round) {
    slow.udp(round);
    CHECK(l.poll() == 64 + 64 + 192 + 1);
    CHECK(arrived.count() == round);
  }
  CHECK(a.given == 6400);
  CHECK(b.given == 6400);
  CHECK(c.given == 3 * 6400);
}

TEST_CASE("a timer that is due while packets come is late by no more than a round") {
  counted_pool memory;
  endless_source flood{&memory.get()};
  struct alarm {
    numbers* rung;
    void ring(instant now) { rung->add(static_cast<unsigned>(now.ns)); }
  };
  numbers rung;
  alarm a{&rung};
  timer_wheel timers{nanoseconds(1)};
  timer one = timer::calling<&alarm::ring>(a);
  timers.schedule(one, instant{1005});
  noting_clock time;
  time.set(instant{1000});
  // Each burst takes a nanosecond, and a round has eight.
  auto path = [&](burst&) { time.advance(nanoseconds(1)); } | discard;
  loop l{time, attach<8>(flood, path, {.budget = 64}), attach(timers)};
  l.poll();
  CHECK(rung == "1008");
  CHECK(time.waits == "");
}

TEST_CASE("what waits at a full end is not lost, and its source is not polled before there is room again") {
  counted_pool memory;
  test_device in{memory}, out{memory};
  in.several(1, 20);
  out.transmits_at_most(5);
  auto path = parse() | transmit<hold>(out);
  noting_clock time;
  loop l{time, attach<8>(in, path)};
  CHECK(l.poll() == 8);
  CHECK(l.poll() == 0);
  CHECK(out.sent == "1 2 3 4 5");
  CHECK_FALSE(l.done());
  l.wait();  // until it makes sense to ask again
  CHECK(time.waits == "100000");
  out.transmits_at_most(10);
  CHECK(l.poll() == 8);  // what was held goes first
  CHECK(out.sent == "1 2 3 4 5 6 7 8 9 10");
  out.transmits_at_most(18);
  CHECK(l.poll() == 4);
  CHECK(in.done());
  CHECK_FALSE(l.done());
  out.transmits_at_most(20);
  l.run();
  CHECK(out.sent == "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20");
  CHECK(in.bursts == "8 8 4");
  CHECK(counters_of<1>(path).passed() == 20);
}

TEST_CASE("a full device fills the queue before it, which holds the source back; lent packets are copied meanwhile") {
  counted_pool memory;
  test_device in{memory}, out{memory};
  in.lend_bytes();
  in.several(1, 30);
  out.transmits_at_most(3);
  queue<hold, 8> q;
  auto path = parse() | enqueue(q);
  manual_clock time;
  loop l{time, attach<4>(in, path), attach<4>(q, transmit<hold>(out))};
  for (int i = 0; i < 10; ++i) l.poll();
  CHECK(out.sent == "1 2 3");
  CHECK(q.size() == 8);
  CHECK_FALSE(in.done());
  for (std::size_t room = 4; room <= 30; ++room) {
    out.transmits_at_most(room);
    l.poll();
    CHECK(out.sent.count() == room);
  }
  l.run();
  CHECK(counters_of<1>(path).passed() == 30);
}

TEST_CASE("a path that brings more than a full end can hold drops the rest, with the cause") {
  counted_pool memory{pool_config{.packets = 200, .bytes = 128, .headroom = 0, .bare = 200}};
  test_device in{memory}, out{memory};
  in.several(1, 200);
  out.transmits_at_most(0);
  auto egress = parse() | transmit<hold>(out);
  auto path = parse() | tee(shared(egress)) | shared(egress);
  manual_clock time;
  loop l{time, attach<200>(in, path)};
  CHECK(l.poll() == 200);
  CHECK(counters_of<1>(egress).dropped(drop_reason::transmit_full) == 400 - 256);
  out.transmits_at_most(1000);
  l.run();
  CHECK(out.sent.count() == 256);
}

TEST_CASE("a full end holds back what goes through a path that can be replaced") {
  counted_pool memory;
  test_device in{memory}, out{memory};
  in.several(1, 20);
  out.transmits_at_most(7);
  auto egress = parse() | transmit<hold>(out);
  any_pipeline slot{egress};
  auto path = parse() | replaceable(slot);
  noting_clock time;
  loop l{time, attach<10>(in, path, {.budget = 10})};
  CHECK(l.poll() == 10);
  CHECK(l.poll() == 0);
  CHECK_FALSE(l.done());
  l.wait();
  CHECK(time.waits == "100000");
  out.transmits_at_most(100);
  l.run();
  CHECK(out.sent.count() == 20);
}

TEST_CASE("what a path holds goes home with it, and a copy of the path holds nothing") {
  counted_pool memory;
  test_device in{memory}, out{memory};
  in.several(1, 4);
  out.transmits_at_most(0);
  auto path = parse() | transmit<hold>(out);
  manual_clock time;
  loop l{time, attach(in, path)};
  l.poll();
  auto copy = path;
  loop other{time, attach(in, copy)};
  CHECK(other.done());
  CHECK_FALSE(l.done());
}

namespace {

// A clock that loops sleep by, on which each look at the time takes `step`. A sleep lasts until it is due, and is
// noted.
struct stepping_clock : sleeper {
  explicit stepping_clock(duration a_step, duration a_tick = nanoseconds(1))
      : sleeper([](sleeper&) noexcept {}), step(a_step), tick(a_tick) {}
  instant now() {
    time = time + step;
    return {time.ns - time.ns % tick.ns};
  }
  void wait_until(instant due, const wait_entry*, std::size_t) {
    slept.add(static_cast<unsigned>((due - time).ns / 1000));
    if (due > time) time = due;
  }
  duration step;
  duration tick;  // it shows whole ones only
  instant time{1'000'000'000};
  numbers slept;  // how long, in us
};
static_assert(runnel::clock<stepping_clock>);

// Gives `size` packets each `period`, `left` times.
struct periodic_source {
  pool* memory_;
  unsigned size;
  duration period;
  int left;
  instant next{1'000'000'000};

  pool& memory() { return *memory_; }
  bool done() const { return left == 0; }
  instant next_due() const { return left == 0 ? never : next; }
  template <class Take>
  std::size_t receive(std::size_t room, instant now, Take&& take) {
    if (left == 0 || now < next || room < size) return 0;
    for (unsigned i = 0; i < size; ++i) take(memory_->allocate_frame());
    next = next + period;
    --left;
    return size;
  }
};
numbers sleeps_of(unsigned size, duration period, duration step = nanoseconds(100), duration tick = nanoseconds(1)) {
  counted_pool memory{pool_config{.packets = 64, .bytes = 64, .headroom = 0, .bare = 0}};
  periodic_source in{&memory.get(), size, period, 10};
  stepping_clock time{step, tick};
  loop l{time, attach(in, discard)};
  l.run();
  return time.slept;
}

}  // namespace

TEST_CASE("a loop stays awake while bursts of 64 come every 50 us or more often") {
  // The first burst tells nothing of how often they come.
  CHECK(sleeps_of(64, microseconds(20)) == "19");
  CHECK(sleeps_of(64, microseconds(49)) == "48");
  CHECK(sleeps_of(1, nanoseconds(700)) == "0");
  // By a clock that counts in 1 MHz or 24 MHz, as that of many a small board, looks come faster than it does.
  CHECK(sleeps_of(64, microseconds(20), nanoseconds(40), microseconds(1)) == "19");
  CHECK(sleeps_of(64, microseconds(20), nanoseconds(20), nanoseconds(42)) == "19");
}

TEST_CASE("a loop looks no more often than it may because its clock is coarse, or was set back") {
  detail::recent_load load;
  CHECK_FALSE(load.goes_on(instant{1'000'000}));
  load.came(64);
  CHECK_FALSE(load.goes_on(instant{1'000'000} + microseconds(60)));
  load.came(64);
  const instant busy = instant{1'000'000} + microseconds(80);
  CHECK(load.goes_on(busy));
  CHECK_FALSE(load.goes_on(busy - seconds(1)));
  CHECK_FALSE(load.goes_on(busy - milliseconds(1)));
  CHECK_FALSE(load.goes_on(busy + microseconds(1)));
  load.came(64);
  CHECK_FALSE(load.goes_on(busy - seconds(2)));
  load.came(64);
  CHECK_FALSE(load.goes_on(busy - seconds(2) + microseconds(20)));  // the last one was in vain
  load.came(64);
  CHECK(load.goes_on(busy - seconds(2) + microseconds(40)));

  // What comes in the same tick as the packets before says nothing of how much comes.
  detail::recent_load coarse;
  for (std::int64_t ms = 0; ms < 3; ++ms)
    for (int i = 0; i < 5; ++i) {
      coarse.came(1);
      CHECK_FALSE(coarse.goes_on(instant{} + milliseconds(ms)));
    }
  // Until it has moved on.
  coarse.came(2000);
  CHECK_FALSE(coarse.goes_on(instant{} + milliseconds(2)));
  CHECK(coarse.goes_on(instant{} + milliseconds(3)));
  int looks = 1;
  while (coarse.goes_on(instant{} + milliseconds(3)) && looks < 1000) ++looks;
  CHECK(looks < 100);
}

TEST_CASE("a loop soon gives up looking on where nothing comes before it sleeps, and takes it up again where it does") {
  detail::recent_load load;
  instant now{1'000'000'000};
  unsigned looks = 0;
  const auto burst = [&](bool comes_while_it_looks) {
    now = now + microseconds(10);
    load.came(64);
    while (load.goes_on(now)) {
      ++looks;
      if (comes_while_it_looks) break;
      now = now + microseconds(1);
    }
  };
  // As with a sender on the same processor.
  for (int i = 0; i < 1000; ++i) burst(false);
  CHECK(looks > 0);
  CHECK(looks <= 50u * 12);
  looks = 0;
  for (int i = 0; i < 1000; ++i) burst(true);
  CHECK(looks > 700);
  // Once in vain costs one, and the time in vain makes the next one look slow.
  looks = 0;
  burst(false);
  for (int i = 0; i < 3; ++i) burst(true);
  CHECK(looks == 51);
}

TEST_CASE("a loop sleeps at once when less comes, and after 50 us when what came that fast has ended") {
  CHECK(sleeps_of(64, microseconds(60)).count() == 9);
  CHECK(sleeps_of(1, microseconds(20)).count() == 9);
  CHECK(sleeps_of(63, microseconds(50)).count() == 9);
  counted_pool memory{pool_config{.packets = 64, .bytes = 64, .headroom = 0, .bare = 0}};
  periodic_source fast{&memory.get(), 64, microseconds(20), 10}, late{&memory.get(), 1, milliseconds(1), 2};
  late.next = fast.next + milliseconds(1);
  stepping_clock time{nanoseconds(100)};
  loop l{time, attach(fast, discard), attach(late, discard)};
  l.run();
  // The last burst comes after 180 us.
  CHECK(time.slept == "19 769 999");
}

TEST_CASE("a clock that goes on only while the loop sleeps is slept by under load, too") {
  counted_pool memory{pool_config{.packets = 64, .bytes = 64, .headroom = 0, .bare = 0}};
  periodic_source in{&memory.get(), 64, microseconds(20), 10};
  stepping_clock time{nanoseconds(0)};
  loop l{time, attach(in, discard)};
  l.run();
  CHECK(in.left == 0);
  CHECK(time.slept == "20 20 20 20 20 20 20 20 20");
}

TEST_CASE("wake has a loop look again instead of waiting") {
  counted_pool memory;
  scheduled_source a{&memory.get(), instant{10}, 1, {}};
  struct sleeping_clock : noting_clock, sleeper {
    int kicks = 0;
    sleeping_clock() : sleeper([](sleeper& s) noexcept { ++static_cast<sleeping_clock&>(s).kicks; }) {}
    using noting_clock::wait_until;
    void wait_until(instant t, const wait_entry*, std::size_t) { noting_clock::wait_until(t); }
  } time;
  loop l{time, attach(a, discard)};
  l.wake();
  l.wait();
  CHECK(time.waits == "");
  CHECK(time.kicks == 0);  // nobody slept
  time.prepare_to_wait();
  l.wake();
  l.stop();
  CHECK(time.kicks == 1);
  l.wait();
  CHECK(time.waits == "");
  l.run();
  CHECK(a.left == 1);
}
