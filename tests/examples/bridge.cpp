// SPDX-License-Identifier: MIT
// The switch of examples/bridge.cpp on wires in memory, at literal times.
#include <doctest/doctest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include <packet/counted_pool.hpp>

#define main bridge_main  // the example as it is, but for this name
#include "../../examples/bridge.cpp"
#undef main

namespace {

constexpr mac_address alice = mac("02:00:00:00:00:0a"), bob = mac("02:00:00:00:00:0b"),
                      carol = mac("02:00:00:00:00:0c");

void append(std::string& list, std::size_t port) {
  if (!list.empty()) list += ' ';
  list += std::to_string(port);
}

// A switch with wires in its ports; the test has their other ends.
struct testbed {
  test::counted_pool memory{{.packets = 1024, .bytes = 128, .headroom = 64, .bare = 1024}};
  std::vector<std::unique_ptr<virtual_link<>>> wires;
  std::unique_ptr<learning_switch<link_end>> bridge;
  manual_clock time{instant{1'000'000'000'000}};

  explicit testbed(std::size_t ports, std::int64_t floods_per_second = 1'000'000) {
    std::vector<link_end*> ends;
    for (std::size_t i = 0; i < ports; ++i) {
      wires.push_back(std::make_unique<virtual_link<>>(memory.get()));
      ends.push_back(&wires.back()->b());
    }
    bridge = std::make_unique<learning_switch<link_end>>(ends, floods_per_second, 1);
  }
  void send(std::size_t port, mac_address from, mac_address to, int tag = -1, std::size_t length = 60) {
    packet p = memory->allocate();
    REQUIRE(p);
    std::byte* at = p.put(length);
    REQUIRE(at != nullptr);
    zero_bytes(at, length);
    if (length >= 12) to.store(at), from.store(at + 6);
    if (length >= 14) store_be16(at + 12, 0x0800);
    if (tag >= 0) store_be16(at + 12, 0x8100);
    if (tag >= 0 && length >= 16) store_be16(at + 14, static_cast<std::uint16_t>(tag));
    REQUIRE(wires[port]->a().transmit(&p, 1, time.now()) == 1);
  }
  void forward() {
    for (unsigned i = 0; i < wires.size(); ++i) {
      auto in = attach(wires[i]->b(), bridge->path(i));
      while (in.poll(time) != 0) {}
    }
  }
  // Sends one frame, and says at which ports it came out: "1 2".
  std::string where(std::size_t port, mac_address from, mac_address to, int tag = -1, std::size_t length = 60) {
    send(port, from, to, tag, length);
    forward();
    std::string ports;
    for (std::size_t i = 0; i < wires.size(); ++i)
      for (std::size_t n = drain(i); n != 0; --n) append(ports, i);
    memory.check_all_home();
    return ports;
  }
  std::size_t drain(std::size_t port) {
    frame f[64];
    std::size_t all = 0;
    while (const std::size_t n = wires[port]->a().receive(64, time.now(), into_array(f))) {
      memory->release(f, n);
      all += n;
    }
    return all;
  }
};

}  // namespace

TEST_CASE("a frame to an unknown address goes everywhere but back, the answer only to who asked") {
  testbed t(3);
  CHECK(t.where(0, alice, bob) == "1 2");
  CHECK(t.where(1, bob, alice) == "0");
  CHECK(t.where(0, alice, bob) == "1");
  CHECK(t.where(2, carol, mac_broadcast) == "0 1");
  CHECK(t.where(0, alice, mac_address{}) == "1 2");
  CHECK(t.where(1, bob, mac("01:00:5e:00:00:01")) == "0 2");
  CHECK(t.bridge->counters(0).received == 3);
  CHECK(t.bridge->counters(0).flooded == 2);
  CHECK(t.bridge->counters(0).sent == 3);
}

TEST_CASE("with two ports a flood takes no clone, with one port nothing goes anywhere") {
  testbed t(2);
  CHECK(t.where(0, alice, bob) == "1");
  CHECK(t.where(1, carol, mac_broadcast) == "0");
}

TEST_CASE("a frame between two hosts behind one port stays there") {
  testbed t(2);
  (void)t.where(0, alice, mac_broadcast);
  (void)t.where(0, bob, mac_broadcast);
  CHECK(t.where(0, alice, bob) == "");
  CHECK(t.bridge->counters(0).local == 1);
}

TEST_CASE("each VLAN learns for itself, and a tag with id 0 is none") {
  testbed t(3);
  (void)t.where(0, alice, mac_broadcast);
  (void)t.where(1, alice, mac_broadcast, 5);
  (void)t.where(2, alice, mac_broadcast, 6);
  CHECK(t.where(1, bob, alice) == "0");
  CHECK(t.where(1, bob, alice, 0) == "0");
  CHECK(t.where(1, bob, alice, 0x6000) == "0");  // only a priority
  CHECK(t.where(0, bob, alice, 5) == "1");
  CHECK(t.where(0, bob, alice, 0x6005) == "1");
  CHECK(t.where(0, bob, alice, 6) == "2");
  CHECK(t.where(0, bob, alice, 7) == "1 2");
}

TEST_CASE("spanning tree and its neighbours among the reserved addresses stay here") {
  testbed t(2);
  for (std::uint8_t last = 0; last < 16; ++last) CHECK(t.where(0, alice, {{1, 0x80, 0xc2, 0, 0, last}}) == "");
  CHECK(t.bridge->counters(0).reserved == 16);
  CHECK(t.where(0, alice, mac("01:80:c2:00:00:10")) == "1");
  CHECK(t.bridge->stations().held(0) == 1);
}

TEST_CASE("what no host can have sent is dropped, and not learned") {
  testbed t(2);
  CHECK(t.where(0, mac("03:00:00:00:00:0a"), bob) == "");
  CHECK(t.where(0, mac_broadcast, bob) == "");
  CHECK(t.where(0, mac_address{}, bob) == "");
  CHECK(t.where(0, alice, bob, -1, 13) == "");
  CHECK(t.where(0, alice, bob, 5, 17) == "");  // a tag that is cut off
  CHECK(t.bridge->counters(0).malformed == 5);
  CHECK(t.bridge->stations().held(0) == 0);
}

TEST_CASE("who has said nothing for 300 seconds is forgotten") {
  testbed t(3);
  (void)t.where(0, alice, mac_broadcast);
  t.time.advance(seconds(299));
  t.bridge->age(t.time.now());
  CHECK(t.where(1, bob, alice) == "0");  // being spoken to is not speaking
  t.time.advance(seconds(1));
  t.bridge->age(t.time.now());
  CHECK(t.where(1, bob, alice) == "0 2");
  CHECK(t.bridge->stations().held(0) == 0);
  CHECK(t.bridge->stations().held(1) == 1);
}

TEST_CASE("who moves to another port is found there") {
  testbed t(3);
  (void)t.where(0, alice, mac_broadcast);
  (void)t.where(1, alice, mac_broadcast);
  CHECK(t.where(2, bob, alice) == "1");
  CHECK(t.bridge->stations().held(0) == 0);
}

TEST_CASE("a flood of made-up sources neither pushes out who is known nor takes another port's room") {
  testbed t(2);
  (void)t.where(0, alice, mac_broadcast);
  const std::size_t share = t.bridge->stations().share();
  CHECK(share == station_table::capacity / 2);
  for (std::uint32_t i = 0; i < 3 * share; ++i) {
    mac_address made_up{{2, 1, 0, 0, 0, 0}};
    for (unsigned k = 0; k < 3; ++k) made_up.octets[3 + k] = static_cast<std::uint8_t>(i >> 8 * k);
    t.send(0, made_up, bob);
    if (i % 256 == 255) t.forward(), t.drain(1);
    t.time.advance(microseconds(10));
  }
  CHECK(t.bridge->stations().held(0) <= share);
  CHECK(t.bridge->stations().held(0) > share - 10);
  CHECK(t.bridge->counters(0).no_room >= 2 * share);
  CHECK(t.where(1, bob, alice) == "0");
  CHECK(t.where(0, alice, bob) == "1");
  t.time.advance(seconds(300));
  t.bridge->age(t.time.now());
  CHECK(t.where(0, carol, bob) == "1");
  CHECK(t.bridge->stations().held(0) == 1);
}

TEST_CASE("floods are limited for each port by itself, and what is known goes on") {
  testbed t(2, 100);
  (void)t.where(1, bob, mac_broadcast);
  for (unsigned i = 0; i < 500; ++i) t.send(0, alice, mac_broadcast);
  t.forward();
  CHECK(t.drain(1) == 11);  // a tenth of a second's worth, and the first
  CHECK(t.bridge->counters(0).flood_limit == 489);
  CHECK(t.where(0, alice, bob) == "1");
  CHECK(t.where(1, bob, mac_broadcast) == "0");
  t.time.advance(milliseconds(10));
  CHECK(t.where(0, alice, mac_broadcast) == "1");
  CHECK(t.where(0, alice, mac_broadcast) == "");
}

TEST_CASE("what a port does not take is counted, and comes home") {
  struct one_at_a_time {
    std::size_t transmit(packet* p, std::size_t n, instant) {
      if (n != 0) p[0].reset();
      return n != 0 ? 1 : 0;
    }
  };
  test::counted_pool memory;
  one_at_a_time a, b;
  learning_switch<one_at_a_time> bridge({&a, &b}, 1000, 1);
  virtual_link<> wire(memory.get());
  for (unsigned i = 0; i < 5; ++i) {
    packet p = memory->allocate();
    std::byte* at = p.put(60);
    REQUIRE(at != nullptr);
    zero_bytes(at, 60);
    alice.store(at + 6);
    REQUIRE(wire.a().transmit(&p, 1, instant{}) == 1);
  }
  manual_clock time;
  auto in = attach(wire.b(), bridge.path(0));
  CHECK(in.poll(time) == 5);
  CHECK(bridge.counters(1).sent == 1);
  CHECK(bridge.counters(1).refused == 4);
}

TEST_CASE("a flood takes no more memory at once than there is, however many ports") {
  struct sends_at_once {
    std::size_t sent = 0;
    std::size_t transmit(packet* p, std::size_t n, instant) {
      for (std::size_t i = 0; i < n; ++i) p[i].reset();
      sent += n;
      return n;
    }
  };
  test::counted_pool memory;  // 64 clones, where a burst to nine ports wants 320
  sends_at_once ends[9];
  std::vector<sends_at_once*> ports;
  for (sends_at_once& end : ends) ports.push_back(&end);
  learning_switch<sends_at_once> bridge(ports, 1'000'000, 1);
  virtual_link<> wire(memory.get());
  for (unsigned i = 0; i < 40; ++i) {
    packet p = memory->allocate();
    std::byte* at = p.put(60);
    REQUIRE(at != nullptr);
    zero_bytes(at, 60);
    mac_broadcast.store(at), alice.store(at + 6);
    REQUIRE(wire.a().transmit(&p, 1, instant{}) == 1);
  }
  manual_clock time;
  auto in = attach(wire.b(), bridge.path(0));
  while (in.poll(time) != 0) {}
  for (unsigned port = 1; port < 9; ++port) {
    CHECK(ends[port].sent == 40);
    CHECK(bridge.counters(port).no_clone == 0);
  }
}

TEST_CASE("random traffic goes where a map of everything heard says") {
  testbed t(4);
  std::map<std::pair<std::uint64_t, int>, unsigned> heard;
  random_generator random(7);
  for (unsigned i = 0; i < 3000; ++i) {
    const auto from = static_cast<unsigned>(random.below(4));
    const mac_address source{{2, 0, 0, 0, 0, static_cast<std::uint8_t>(random.below(50))}};
    const mac_address to{{2, 0, 0, 0, 0, static_cast<std::uint8_t>(random.below(60))}};
    const int vlan_id = static_cast<int>(random.below(3)) - 1;
    heard[{source.value(), vlan_id < 0 ? 0 : vlan_id}] = from;
    const auto known = heard.find({to.value(), vlan_id < 0 ? 0 : vlan_id});
    std::string expected;
    for (unsigned port = 0; port < 4; ++port)
      if (port != from && (known == heard.end() || known->second == port)) append(expected, port);
    CHECK(t.where(from, source, to, vlan_id) == expected);
    t.time.advance(milliseconds(1));
  }
}
