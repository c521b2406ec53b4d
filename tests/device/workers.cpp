// SPDX-License-Identifier: MIT
// Workers: threads, processors, errors in words, flows that meet, and how it all ends.
#include <doctest/doctest.h>

#include <runnel/device/workers.hpp>

#if defined(__linux__)

#include <atomic>
#include <csignal>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <flow/flow_of.hpp>
#include <flow/test_device.hpp>
#include <ip/cut.hpp>
#include <ip/replay.hpp>

#include <runnel/base/text.hpp>
#include <runnel/device/null.hpp>
#include <runnel/device/pcap.hpp>
#include <runnel/ip.hpp>

using namespace runnel;
using namespace runnel::test;

namespace {

std::string example_capture() {
  const std::string here = __FILE__;
  return here.substr(0, here.size() - std::string("tests/device/workers.cpp").size()) + "examples/capture.pcap";
}

constexpr pool_config small{.packets = 1024, .bytes = 1600, .headroom = 64, .bare = 256};

// Lets one of `n` packets pass, the one whose turn it is.
auto every(unsigned n, unsigned which) {
  return [n, which, i = 0u](packet&) mutable { return i++ % n == which ? pass : drop; };
}

}  // namespace

TEST_CASE("each worker is a thread of its own, with its number, its pool and its processor") {
  const detail::processor_set before = detail::processor_set::allowed();
  REQUIRE(before.count() > 0);
  workers crew{{.memory = small}};
  CHECK(crew.count() == before.count());
  std::mutex lock;
  std::set<unsigned> numbers_seen;
  std::set<int> processors;
  std::set<std::thread::id> threads;
  std::set<const pool*> pools;
  bool pinned = true;
  const auto ended = crew.run([&](worker& self) {
    const detail::processor_set mine = detail::processor_set::allowed();
    const std::lock_guard<std::mutex> hold{lock};
    pinned = pinned && mine.count() == 1 && self.processor() >= 0 && mine.has(static_cast<unsigned>(self.processor()));
    numbers_seen.insert(self.index());
    processors.insert(self.processor());
    threads.insert(std::this_thread::get_id());
    pools.insert(&self.memory());
    pinned = pinned && self.count() == crew.count();
  });
  REQUIRE(ended);
  CHECK(*ended == before.count());
  CHECK(pinned);
  CHECK(numbers_seen.size() == before.count());
  CHECK(processors.size() == before.count());
  CHECK(threads.size() == before.count());
  CHECK(threads.count(std::this_thread::get_id()) == 0);
  CHECK(pools.size() == before.count());
  CHECK(detail::processor_set::allowed().count() == before.count());  // the caller stays as it was
}

TEST_CASE("what is not possible is said in words, and nobody is left running") {
  const auto run = [](const workers_options& o) -> std::string {
    workers crew{o};
    std::atomic<bool> ran{false};
    const auto ended = crew.run([&](worker& self) {
      ran = true;
      self.run(attach(self.rings(), discard));
    });
    return !ended ? ended.error().message() : ran ? "ran" : "did not run";
  };
  const unsigned nowhere[] = {8000, 8000};
  const std::string pinned = run({.count = 2, .processors = nowhere, .memory = small});
  CHECK(pinned.find("workers: pin worker ") == 0);
  CHECK(pinned.find(" to processor 8000: Invalid argument: choose among those that ") != std::string::npos);
  const unsigned one[] = {0};
  CHECK(run({.processors = one, .memory = small}) ==
        "workers: pin to .processors: it is not said how many these are: give .count with them");
  CHECK(run({.count = 257}) == "workers: start 257 workers: more than 256: ask for fewer");
  CHECK(run({.count = 2, .pin = false, .ring = 100}) ==
        "workers: make rings of 100: not a power of two: choose 256, 1024 or the like");
  CHECK(run({.count = 2, .pin = false, .memory = {.packets = 10, .bytes = 70000}}).find("pool: configure bytes") == 0);
  const std::string too_many = run({.count = 256, .memory = small});
  CHECK(too_many.find("workers: pin 256 workers: this process may run on ") == 0);
  CHECK(run({.count = 2, .pin = false, .memory = small}) == "ran");
}

TEST_CASE("a crew runs once") {
  workers crew{{.count = 1, .pin = false, .memory = small}};
  CHECK(crew.run([](worker&) {}));
  const auto again = crew.run([](worker&) {});
  REQUIRE_FALSE(again);
  CHECK(std::string(again.error().message()) == "workers: run: they have run already: make new ones");
}

TEST_CASE("when one worker fails, all end, and what it said comes out") {
  workers crew{{.count = 3, .pin = false, .memory = small}};
  const auto ended = crew.run([](worker& self) {
    if (self.index() == 1) return self.fail(error("test", "open", "nothing", "it is not there"));
    null_device endless{self.memory(), {.length = 60}};
    self.run(attach(endless, discard), attach(self.rings(), discard));
  });
  REQUIRE_FALSE(ended);
  CHECK(std::string(ended.error().message()) == "test: open nothing: it is not there");
}

TEST_CASE("the flows of the example capture meet, each on one worker, and every packet is accounted for") {
  counted_pool of_one{pool_config{.packets = 64, .bytes = 2048, .headroom = 64, .bare = 256}};
  const std::string file = example_capture();
  std::map<std::string, unsigned> alone;
  std::size_t total = 0;
  {
    auto in = pcap_reader::open(file.c_str(), of_one);
    REQUIRE(in);
    run(attach(*in, parse() | [&](packet& p) { ++alone[flow_of(p)], ++total; } | discard));
  }
  REQUIRE(total > 100);

  constexpr unsigned n = 3;
  workers crew{{.count = n, .pin = false, .memory = {.packets = 4096, .bytes = 2048, .headroom = 64, .bare = 256}}};
  struct part {
    std::map<std::string, unsigned> flows;
    std::uint64_t received = 0, lost = 0, handed_over = 0;
  } parts[n];
  // Each sees every third packet, so that nearly every flow comes in by all of them.
  const auto ended = crew.run([&](worker& self) {
    part& mine = parts[self.index()];
    auto in = pcap_reader::open(file.c_str(), self.memory());
    if (!in) return self.fail(in.error());
    auto path = parse() | [&](packet& p) { ++mine.flows[flow_of(p)], ++mine.received; } | discard;
    auto all = parse() | every(n, self.index()) | steer(self.rings()) | shared(path);
    self.run(attach(*in, all), attach(self.rings(), path));
    mine.lost =
        counters_of<2>(all).dropped(drop_reason::queue_full) + counters_of<2>(all).dropped(drop_reason::no_packet);
    mine.handed_over = counters_of<2>(all).count(stolen.code);
  });
  REQUIRE_MESSAGE(ended, doctest::String(ended.error().message()));
  std::map<std::string, unsigned> together;
  std::uint64_t received = 0, flows = 0, handed_over = 0;
  for (const part& p : parts) {
    CHECK(p.lost == 0);
    received += p.received;
    handed_over += p.handed_over;
    flows += p.flows.size();
    for (const auto& [flow, packets] : p.flows) together[flow] += packets;
  }
  CHECK(received == total);
  CHECK(together == alone);         // nothing is missing, nothing twice
  CHECK(flows == together.size());  // and no flow is in two places
  CHECK(handed_over > total / n);
}

TEST_CASE("what came in pieces reaches the worker of its flow whole, up to the last of it that was received") {
  constexpr unsigned n = 3;
  constexpr std::uint16_t datagrams = 200;
  unsigned missing = 0;
  for (int round = 0; round < 20; ++round) {
    workers crew{{.count = n, .pin = false, .memory = {.packets = 2048, .bytes = 512, .headroom = 64, .bare = 256}}};
    struct alignas(128) part {
      unsigned here = 0, elsewhere = 0;
    } parts[n];
    // Only one of them receives.
    const auto ended = crew.run([&](worker& self) {
      part& mine = parts[self.index()];
      static_fragment_table<fragment_config{.fragments = 256, .datagrams = 64}> fragments{self.index() + 1u};
      fragments->copies_to(self.memory());
      auto path = parse() | steer(self.rings()) | defragment(fragments) | steer(self.rings()) |
                  [&](packet& p, udp) { ++(p.flow_hash() % n == self.index() ? mine.here : mine.elsewhere); } | discard;
      if (self.index() != 0) return self.run(attach(self.rings(), path));
      replay wire{self.memory()};
      for (std::uint16_t i = 0; i < datagrams; ++i) {
        const octets whole = frame_of(
            292, link_header,
            ipv4_header{.source = {10, 0, 0, static_cast<std::uint8_t>(i)}, .destination = {192, 0, 2, 1}, .id = i},
            udp_header{.source_port = i, .destination_port = 53});
        for (const octets& piece : cut(whole, {80, 160})) wire.add(piece);
      }
      self.run(attach(wire, path), attach(self.rings(), path));
    });
    REQUIRE(ended);
    unsigned here = 0;
    for (const part& p : parts) {
      here += p.here;
      CHECK(p.elsewhere == 0);
    }
    missing += datagrams - here;
  }
  CHECK(missing == 0);
}

TEST_CASE("stop ends all workers, asleep or under load, whenever and from wherever it comes") {
  static workers* running;
  struct sigaction action{}, before{};
  action.sa_handler = [](int) { running->stop(); };
  REQUIRE(::sigaction(SIGUSR1, &action, &before) == 0);
  for (int round = 0; round < 60; ++round) {
    workers crew{{.count = 3, .pin = false, .ring = 64, .memory = {.packets = 256, .bytes = 128, .bare = 0}}};
    running = &crew;
    if (round == 0) crew.stop();  // before they run
    std::thread other{[&crew, round] {
      std::this_thread::sleep_for(std::chrono::microseconds(round * 20));
      if (round % 2 == 0) crew.stop();
      else ::raise(SIGUSR1);
    }};
    const auto ended = crew.run([&](worker& self) {
      // Two are flooded with one flow, which belongs to one of the three; the third sleeps.
      std::byte bytes_of_frame[60] = {};
      const bool written =
          write_headers({bytes_of_frame, 60}, eth, ipv4_header{.source = {10, 0, 0, 1}, .destination = {10, 0, 0, 2}},
                        udp_header{.source_port = 1, .destination_port = 2});
      if (!written) return self.fail(error("test", "write", "", "no room"));
      null_device flood{self.memory(), {.length = 60, .fill = bytes{bytes_of_frame}}};
      auto path = parse() | discard;
      if (self.index() == 0) return self.run(attach(self.rings(), path));
      self.run(attach(flood, parse() | steer(self.rings()) | shared(path)), attach(self.rings(), path));
    });
    other.join();
    CHECK(ended);
  }
  ::sigaction(SIGUSR1, &before, nullptr);
}

#endif
