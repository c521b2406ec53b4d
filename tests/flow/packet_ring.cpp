// SPDX-License-Identifier: MIT
// Rings between threads, here with both sides on one: order, the end, what is dropped, and what is copied. With
// threads: tests/device/threads.cpp.
#include <flow/test_device.hpp>

using namespace runnel;
using namespace runnel::test;

namespace {

struct fixture {
  counted_pool memory;
  test_device wire{memory};
  numbers arrived;
  manual_clock time;
};

// Counts how often it is woken.
struct counting_clock : manual_clock, sleeper {
  int kicks = 0;
  counting_clock() : sleeper([](sleeper& s) noexcept { ++static_cast<counting_clock&>(s).kicks; }) {}
  numbers waits;
  void wait_until(instant t, const wait_entry*, std::size_t) {
    waits.add(t == never ? 0 : static_cast<unsigned>(t.ns));
  }
};

}  // namespace

TEST_CASE("what goes into a ring comes out in order, and the consumer's loop ends when it is closed and empty") {
  fixture t;
  packet_ring<16> ring;
  t.wire.several(1, 10);
  run(attach<4>(t.wire, parse() | enqueue(ring)));
  loop l{t.time, attach<3>(ring, note(t.arrived))};
  CHECK(ring.size() == 10);
  CHECK(l.poll() == 10);
  CHECK(t.arrived == "1 2 3 4 5 6 7 8 9 10");
  CHECK_FALSE(l.done());
  t.wire.udp(11);
  run(attach(t.wire, enqueue(ring)));
  ring.close();
  CHECK_FALSE(l.done());
  l.run();
  CHECK(t.arrived == "1 2 3 4 5 6 7 8 9 10 11");
}

TEST_CASE("a full ring refuses newcomers, and they are counted where they were to go in") {
  fixture t;
  packet_ring<4> ring;
  t.wire.several(1, 6);
  auto path = parse() | enqueue(ring);
  run(attach(t.wire, path));
  CHECK(counters_of<1>(path).dropped(drop_reason::queue_full) == 2);
  CHECK(counters_of<1>(path).passed() == 4);
  packet one = t.memory->allocate();
  CHECK(ring.push(std::move(one)) == drop(drop_reason::queue_full));
  CHECK_FALSE(one);
  loop{t.time, attach(ring, note(t.arrived))}.poll();
  CHECK(t.arrived == "1 2 3 4");
}

TEST_CASE("what a device lent is copied before it crosses, and dropped with the cause when there is no slot for that") {
  counted_pool memory{pool_config{.packets = 3, .bytes = 256, .headroom = 16, .bare = 8}};
  test_device wire{memory};
  wire.lend_bytes();
  wire.several(1, 5);
  packet_ring<8> ring;
  auto path = parse() | enqueue(ring);
  run(attach(wire, path));
  CHECK(memory->lent(1) == 0);
  CHECK(counters_of<1>(path).dropped(drop_reason::no_packet) == 2);
  numbers arrived;
  manual_clock time;
  loop{time, attach(ring, note(arrived))}.poll();
  CHECK(arrived == "1 2 3");
}

TEST_CASE("what crosses is away from home, and its own: no unshare() before a stage that writes") {
  fixture t;
  packet_ring<8> ring;
  t.wire.several(1, 3);
  numbers beside, lives;
  auto path = parse() | tee(parse() | [&](ipv4 ip) { beside.add(ip.time_to_live()); } | discard) | enqueue(ring);
  queue<drop_tail, 8> kept;
  auto with_clones = parse() | tee(enqueue(kept)) | enqueue(ring);
  run(attach(t.wire, with_clones));
  bool away = true;
  auto behind = parse() | [](mut<ipv4> ip) { ip.time_to_live(9); } | [&](packet& p, ipv4 ip) {
    away = away && p.is_away() && !p.is_shared();
    lives.add(ip.time_to_live());
  } | discard;
  loop{t.time, attach(ring, behind)}.poll();
  CHECK(away);
  CHECK(lives == "9 9 9");
  // The clones that stayed have the bytes that they had.
  loop{t.time, attach(kept, parse() | [&](ipv4 ip) { beside.add(ip.time_to_live()); } | discard)}.poll();
  CHECK(beside == "64 64 64");
  (void)path;
}

TEST_CASE("what is still in a ring goes home with it") {
  fixture t;
  packet_ring<8> ring;
  t.wire.several(1, 5);
  run(attach(t.wire, enqueue(ring)));
  CHECK(ring.size() == 5);
}

TEST_CASE("a ring in given memory is as large as that allows") {
  fixture t;
  alignas(8) std::byte slots[8 * 9];
  counting_clock time;
  packet_ring<> ring{time, mutable_bytes{slots}};
  CHECK(ring.capacity() >= 8);
  CHECK(ring.wakes(time));
  t.wire.several(1, 3);
  run(attach(t.wire, enqueue(ring)));
  loop{time, attach(ring, note(t.arrived))}.poll();
  CHECK(t.arrived == "1 2 3");
}

TEST_CASE("a consumer is woken only when it sleeps, and once; and it looks again before it does") {
  fixture t;
  counting_clock time;
  packet_ring<16> ring{time};
  loop l{time, attach(ring, note(t.arrived))};
  t.wire.several(1, 3);
  run(attach<1>(t.wire, enqueue(ring)));
  CHECK(time.kicks == 0);
  l.wait();  // there is something
  CHECK(time.waits == "");
  l.poll();
  l.wait();
  CHECK(time.waits == "0");  // for ever
  time.prepare_to_wait();
  t.wire.several(4, 3);
  run(attach<1>(t.wire, enqueue(ring)));
  CHECK(time.kicks == 1);
  time.prepare_to_wait();
  ring.close();
  CHECK(time.kicks == 2);
  l.run();
  CHECK(t.arrived == "1 2 3 4 5 6");
}

TEST_CASE("a ring that wakes nobody, or another loop, is looked at after a while") {
  counting_clock time, other;
  packet_ring<4> deaf, wrong{other};
  loop l{time, attach(deaf, discard)};
  l.wait();
  CHECK(time.waits == "100000");
  loop m{time, attach(wrong, discard)};
  m.wait();
  CHECK(time.waits == "100000 100000");
}
