// SPDX-License-Identifier: MIT
// The ends of a pipeline.
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

TEST_CASE("transmit sends a burst in order, and what the device does not take is dropped with the cause") {
  counted_pool memory;
  test_device wire{memory}, out{memory};
  wire.several(1, 5);
  out.transmits_at_most(3);
  auto path = parse() | transmit(out);
  run(attach(wire, path));
  CHECK(out.sent == "1 2 3");
  CHECK(counters_of<1>(path).dropped(drop_reason::transmit_full) == 2);
  CHECK(counters_of<1>(path).passed() == 3);
}

TEST_CASE("deliver hands over packets one by one; what the function does not keep goes home") {
  counted_pool memory;
  test_device wire{memory};
  wire.several(1, 4);
  std::vector<packet> kept;
  run(attach(wire, parse() | deliver([&](packet p) {
                     if (number_of(p) % 2 == 0) kept.push_back(static_cast<packet&&>(p));
                   })));
  REQUIRE(kept.size() == 2);
  CHECK(number_of(kept[0]) == 2);
  CHECK(number_of(kept[1]) == 4);
  CHECK(memory->available() == memory->capacity() - 2);
}

TEST_CASE("deliver works with a function that takes packet&& and leaves it") {
  counted_pool memory;
  test_device wire{memory};
  wire.several(1, 3);
  int calls = 0;
  run(attach(wire, deliver([&](packet&&) { ++calls; })));
  CHECK(calls == 3);
}

TEST_CASE("discard drops on purpose, and counts it as that") {
  counted_pool memory;
  test_device wire{memory};
  wire.several(1, 3);
  auto path = parse() | discard;
  run(attach(wire, path));
  CHECK(counters_of<1>(path).dropped(drop_reason::discarded) == 3);
  CHECK(counters_of<1>(path).passed() == 0);
  CHECK(counters_of<1>(path).bytes == 180);
}

TEST_CASE("a pipeline is moved into attach, or referred to when the user keeps it") {
  counted_pool memory;
  test_device wire{memory};
  wire.several(1, 2);
  auto path = parse() | discard;
  auto copy = path;
  run(attach(wire, path));
  wire.several(3, 1);
  run(attach(wire, std::move(copy)));
  CHECK(counters_of<1>(path).packets == 2);
}

TEST_CASE("pipelines are joined to longer ones") {
  counted_pool memory;
  test_device wire{memory};
  wire.several(1, 4);
  numbers arrived;
  auto head = parse() | [](packet& p) { return number_of(p) == 1 ? drop : pass; };
  auto tail = [](packet& p) { return number_of(p) == 3 ? drop : pass; } | note(arrived);
  auto whole = head | [](ipv4) {} | tail;
  run(attach(wire, whole));
  CHECK(arrived == "2 4");
  CHECK(counters_of<1>(whole).packets == 4);
  CHECK(counters_of<3>(whole).packets == 3);
}

TEST_CASE("what a device takes and then loses is counted at its transmit stage, with that cause") {
  fixture t;
  struct failing_device {
    std::uint64_t lost_ = 0;
    std::size_t transmit(packet* packets, std::size_t n, instant) {
      for (std::size_t i = 0; i < n; ++i) packets[i].reset();
      lost_ += n - 1;
      return n;
    }
    std::uint64_t lost() const { return lost_; }
  } disk;
  t.wire.several(1, 4);
  auto path = parse() | transmit(disk);
  run(attach(t.wire, path));
  CHECK(counters_of<1>(path).dropped(drop_reason::transmit_error) == 3);
  CHECK(counters_of<1>(path).passed() == 1);
}

TEST_CASE("a handler that moves the packet out and returns nothing has stolen it") {
  fixture t;
  t.wire.several(1, 3);
  std::vector<packet> kept;
  auto path = parse() | [&](packet& p) {
    if (number_of(p) == 2) kept.push_back(std::move(p));
  } | note(t.arrived);
  run(attach(t.wire, path));
  CHECK(t.arrived == "1 3");
  CHECK(counters_of<1>(path).count(verdict_code::stolen) == 1);
  CHECK(counters_of<2>(path).packets == 2);
  CHECK(kept.size() == 1);
}
