// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <unistd.h>  // has a function `link`, which must not be in the way

#include <algorithm>
#include <map>
#include <vector>

#include <device/numbered.hpp>

#include <runnel/base/endian.hpp>
#include <runnel/device/link.hpp>

using namespace runnel;
using runnel::test::number_in;
using runnel::test::numbered;

namespace {

using memory_type = static_pool<pool_config{.packets = 64, .bytes = 256, .headroom = 64, .bare = 16}>;

void send(link_end& from, packet p, instant now) {
  REQUIRE(from.transmit(&p, 1, now) == 1);
  CHECK_FALSE(p);
}

struct arrival {
  std::uint32_t number;
  std::int64_t at;
  friend bool operator==(const arrival&, const arrival&) = default;
};

std::vector<arrival> arrivals(link_end& to, instant now) {
  std::vector<arrival> all;
  frame f[4];
  while (const std::size_t n = to.receive(4, now, into_array(f))) {
    for (std::size_t i = 0; i < n; ++i) all.push_back({number_in(f[i]), f[i].timestamp.ns});
    to.memory().release(f, n);
  }
  return all;
}
using list = std::vector<arrival>;

}  // namespace

TEST_CASE("a plain wire hands over at once, in order, in the same slots, in both directions") {
  memory_type memory;
  virtual_link wire(memory);
  CHECK(wire.next_due() == never);
  packet p = numbered(memory, 1);
  const std::byte* where = p.data();
  p.timestamp(instant{5});
  p.mark(7);
  send(wire.a(), std::move(p), instant{100});
  send(wire.a(), numbered(memory, 2), instant{100});
  send(wire.b(), numbered(memory, 3), instant{101});
  CHECK(wire.next_due() == instant{100});
  CHECK(wire.a().next_due() == instant{101});
  CHECK(wire.a().in_flight() == 2);
  frame f{};
  REQUIRE(wire.b().receive(1, instant{100}, into_array(&f)) == 1);
  CHECK(f.data == where);
  CHECK(f.length == 64);
  CHECK(f.headroom == 64);
  CHECK(f.timestamp == instant{100});
  // The same slot goes back, as an early `tx` does it.
  REQUIRE(wire.b().transmit(&f, 1, instant{102}) == 1);
  CHECK(arrivals(wire.b(), instant{100}) == list{{2, 100}});
  CHECK(arrivals(wire.a(), instant{200}) == list{{3, 101}, {1, 102}});
  CHECK(wire.next_due() == never);
  CHECK(memory->available() == 64);
}

TEST_CASE("packets come after the latency and not before, equal ones in the order they were sent") {
  memory_type memory;
  virtual_link wire(memory, {.latency = milliseconds(20)}, {});
  for (std::uint32_t i = 0; i < 10; ++i) send(wire.a(), numbered(memory, i), instant{i / 5});
  CHECK(arrivals(wire.b(), instant{19'999'999}).empty());
  CHECK(wire.next_due() == instant{20'000'000});
  CHECK(arrivals(wire.b(), instant{20'000'000}) ==
        list{{0, 20'000'000}, {1, 20'000'000}, {2, 20'000'000}, {3, 20'000'000}, {4, 20'000'000}});
  send(wire.b(), numbered(memory, 99), instant{30'000'000});
  CHECK(arrivals(wire.a(), instant{30'000'000}) == list{{99, 30'000'000}});
  CHECK(arrivals(wire.b(), instant{30'000'000}).size() == 5);
}

TEST_CASE("a line of limited rate sends one packet after the other") {
  memory_type memory;
  virtual_link wire(memory, {.latency = nanoseconds(7), .rate = 1'000'000'000, .capacity = 3}, {});
  for (std::uint32_t i = 0; i < 4; ++i) send(wire.a(), numbered(memory, i, 125), instant{0});
  CHECK(wire.a().dropped(drop_reason::queue_full) == 1);
  CHECK(arrivals(wire.b(), instant{10'000}) == list{{0, 1007}, {1, 2007}, {2, 3007}});
  send(wire.a(), numbered(memory, 4, 125), instant{10'000});
  CHECK(arrivals(wire.b(), instant{20'000}) == list{{4, 11'007}});
}

TEST_CASE("every packet arrives or is counted, and a seed repeats it all") {
  memory_type memory;
  const auto run = [&](std::uint64_t seed) {
    virtual_link<32> wire(memory, {.latency = microseconds(10),
                                   .jitter = microseconds(30),
                                   .loss = 100'000,
                                   .duplication = 50'000,
                                   .reordering = 20'000,
                                   .max_length = 100,
                                   .seed = seed});
    list all;
    const std::uint32_t sent = 20'000;
    for (std::uint32_t i = 0; i < sent; ++i) {
      const instant now = instant{} + microseconds(i);
      send(wire.a(), numbered(memory, i, i % 100 == 7 ? 101 : 64), now);
      for (const arrival& x : arrivals(wire.b(), now)) all.push_back(x);
    }
    for (const arrival& x : arrivals(wire.b(), never)) all.push_back(x);
    CHECK(wire.a().dropped(drop_reason::too_big) == sent / 100);
    const auto lost = wire.a().dropped(drop_reason::link_loss) + wire.a().dropped(drop_reason::queue_full);
    CHECK(wire.a().dropped(drop_reason::link_loss) > sent / 10 - 300);
    CHECK(wire.a().dropped(drop_reason::link_loss) < sent / 10 + 300);
    std::map<std::uint32_t, int> times;
    bool in_order = true;
    for (std::size_t i = 0; i < all.size(); ++i) {
      ++times[all[i].number];
      CHECK((i == 0 || all[i - 1].at <= all[i].at));
      if (i != 0 && all[i - 1].number > all[i].number) in_order = false;
    }
    CHECK_FALSE(in_order);
    std::size_t twice = 0;
    for (const auto& [number, n] : times) {
      CHECK(n <= 2);
      twice += n == 2;
    }
    // Either one of a pair may be what a full queue refused.
    CHECK(times.size() + lost + sent / 100 >= sent);
    CHECK(twice > 500);
    return all;
  };
  const auto first = run(1);
  CHECK((first == run(1)));
  CHECK_FALSE((first == run(2)));
  CHECK(memory->available() == 64);
}

TEST_CASE("with keep_order, jitter does not make packets overtake") {
  memory_type memory;
  virtual_link wire(memory, {.latency = microseconds(10), .jitter = microseconds(30), .keep_order = true});
  for (std::uint32_t i = 0; i < 50; ++i) send(wire.a(), numbered(memory, i), instant{i * 100});
  const auto all = arrivals(wire.b(), never);
  REQUIRE(all.size() == 50);
  for (std::uint32_t i = 0; i < 50; ++i) CHECK(all[i].number == i);
}

TEST_CASE("the queue is in order for any times (against a sorted list)") {
  memory_type memory;
  random_generator random(7);
  for (int round = 0; round < 200; ++round) {
    virtual_link<40> wire(memory, {.jitter = nanoseconds(20), .seed = random.next()});
    std::vector<std::int64_t> due;
    for (std::uint32_t i = 0; i < 40; ++i) send(wire.a(), numbered(memory, i), instant{});
    list all;
    frame f{};
    while (wire.b().next_due() != never) {
      const instant next = wire.b().next_due();
      CHECK(wire.b().receive(1, next - nanoseconds(1), into_array(&f)) == 0);
      REQUIRE(wire.b().receive(1, next, into_array(&f)) == 1);
      all.push_back({number_in(f), f.timestamp.ns});
      wire.b().memory().release(&f, 1);
    }
    REQUIRE(all.size() == 40);
    CHECK(std::is_sorted(all.begin(), all.end(), [](const arrival& x, const arrival& y) {
      return x.at < y.at || (x.at == y.at && x.number < y.number);
    }));
  }
}

TEST_CASE("packets of another pool, shared, chained or lent ones are copied; what does not fit a slot is lost") {
  memory_type memory;
  memory_type other;
  static_pool<pool_config{.packets = 2, .bytes = 1000, .headroom = 64, .bare = 1}> large;
  virtual_link wire(memory);
  send(wire.a(), numbered(other, 1), {});
  CHECK(other->available() == 64);
  packet p = numbered(memory, 2);
  packet q = p.clone();
  send(wire.a(), std::move(p), {});
  CHECK(memory->available() == 61);  // 1, the clone's bytes, the copy
  q.reset();
  packet chain = numbered(memory, 3);
  REQUIRE(chain.append(numbered(memory, 3)));
  send(wire.a(), std::move(chain), {});
  send(wire.a(), numbered(large, 4, 900), {});
  CHECK(large->available() == 2);
  CHECK(wire.a().dropped(drop_reason::too_big) == 1);
  frame f[8];
  REQUIRE(wire.b().receive(8, {}, into_array(f)) == 3);
  CHECK(f[2].length == 128);
  memory->release(f, 3);

  std::vector<packet> hoard;
  while (packet h = memory->allocate()) hoard.push_back(std::move(h));
  send(wire.a(), numbered(other, 5), {});
  CHECK(wire.a().dropped(drop_reason::no_packet) == 1);
}

TEST_CASE("a packet that was on another thread and has come back is passed on as it is") {
  memory_type memory;
  virtual_link wire(memory);
  packet p = numbered(memory, 1);
  const std::byte* const where = p.data();
  REQUIRE(p.send_away());
  send(wire.a(), std::move(p), {});
  frame f;
  REQUIRE(wire.b().receive(1, {}, into_array(&f)) == 1);
  CHECK(f.data == where);
  memory->release(&f, 1);
  packet chain = numbered(memory, 2);
  REQUIRE(chain.append(numbered(memory, 2)));
  REQUIRE(chain.send_away());
  send(wire.a(), std::move(chain), {});
  CHECK(arrivals(wire.b(), {}) == list{{2, 0}});
  CHECK(memory->available() == 64);
}

TEST_CASE("a closed wire delivers what is on the way, and is done") {
  memory_type memory;
  virtual_link wire(memory, {.latency = nanoseconds(5)});
  send(wire.a(), numbered(memory, 1), {});
  CHECK_FALSE(wire.b().done());
  wire.close();
  send(wire.a(), numbered(memory, 2), {});
  CHECK(wire.a().dropped(drop_reason::no_target) == 1);
  CHECK(wire.a().done());
  CHECK_FALSE(wire.b().done());
  CHECK(arrivals(wire.b(), instant{5}) == list{{1, 5}});
  CHECK(wire.b().done());
  CHECK(memory->available() == 64);
}

TEST_CASE("a wire that is destroyed gives back what was on the way") {
  memory_type memory;
  {
    virtual_link wire(memory, {.latency = seconds(1)});
    send(wire.a(), numbered(memory, 1), {});
    send(wire.b(), numbered(memory, 2), {});
  }
  CHECK(memory->available() == 64);
}
