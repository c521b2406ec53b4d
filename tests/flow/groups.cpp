// SPDX-License-Identifier: MIT
// Stages that prefetch: the loop runs them some packets behind the stages before, whatever is dropped on the way.
#include <algorithm>
#include <vector>

#include <flow/test_device.hpp>
#include <runnel/xdp.hpp>

using namespace runnel;
using namespace runnel::test;

namespace {

struct fixture {
  counted_pool memory{pool_config{.packets = 256, .bytes = 256, .headroom = 64, .bare = 64}};
  test_device wire{memory};
  numbers arrived;
};

// For which packets a stage has prefetched, and whether it saw just those, in that order.
struct journal {
  std::vector<unsigned> fetched;
  std::size_t seen = 0;
  bool in_order = true;

  void see(unsigned number) {
    in_order = in_order && seen < fetched.size() && fetched[seen] == number;
    ++seen;
  }
};
struct table {
  journal* j;
  unsigned refused = 0;  // drops those whose number it divides
  void prefetch(packet& p) { j->fetched.push_back(number_of(p)); }
  verdict operator()(ipv4, const packet& p) {
    j->see(number_of(p));
    return refused != 0 && number_of(p) % refused == 0 ? drop(drop_reason::policy) : pass;
  }
};
struct table_by_port {
  numbers* order;
  void prefetch(udp u) { order->add(1000 + u.destination_port()); }
  void operator()(udp u) { order->add(2000 + u.destination_port()); }
};
struct first_table {
  numbers* order;
  void prefetch(udp u, packet& p) {
    p.flow_hash(u.destination_port());
    order->add(100 + u.destination_port());
  }
  verdict operator()(udp u, const packet& p) {
    CHECK(p.flow_hash() == u.destination_port());
    order->add(200 + u.destination_port());
    return u.destination_port() == 2 ? drop : pass;
  }
};

std::string without_multiples(unsigned last, std::initializer_list<unsigned> of) {
  numbers n;
  for (unsigned i = 1; i <= last; ++i)
    if (std::none_of(of.begin(), of.end(), [i](unsigned f) { return i % f == 0; })) n.add(i);
  return n.text();
}

}  // namespace

TEST_CASE("a stage has prefetched for 16 packets more than it sees, as long as the burst goes on") {
  fixture t;
  t.wire.several(1, 64);
  journal first, second;
  std::size_t first_at_20 = 0, second_at_20 = 0;
  auto path = parse() | table{&first} |
              [&](const packet& p) {
                if (number_of(p) != 20) return;
                first_at_20 = first.fetched.size();
                second_at_20 = second.fetched.size();
              } |
              table{&second} | note(t.arrived);
  run(attach(t.wire, path));
  CHECK(first.seen == 64);
  CHECK(second.seen == 64);
  CHECK(first.in_order);
  CHECK(second.in_order);
  CHECK(first_at_20 >= 20 + 16);
  CHECK(first_at_20 < 64);
  CHECK(second_at_20 == 19);
  CHECK(t.arrived.text() == without_multiples(64, {}));
}

TEST_CASE("drops in every group of a segment: the others go on in order, and each stage counts what it saw") {
  for (const unsigned burst : {1u, 3u, 16u, 17u, 63u, 64u, 150u}) {
    CAPTURE(burst);
    fixture t;
    t.wire.several(1, burst);
    journal first, second;
    auto path = parse() | [](const packet& p) { return number_of(p) % 7 == 0 ? drop(drop_reason::blocklist) : pass; } |
                table{&first, 5} |
                [](packet& p) { return number_of(p) % 11 == 0 ? drop(drop_reason::no_match) : pass; } |
                table{&second, 3} | note(t.arrived);
    run(attach(t.wire, path));
    CHECK(t.arrived.text() == without_multiples(burst, {3, 5, 7, 11}));
    CHECK(first.in_order);
    CHECK(second.in_order);
    CHECK(first.seen == first.fetched.size());
    CHECK(second.seen == second.fetched.size());
    const auto left = [&](std::initializer_list<unsigned> of) {
      std::uint64_t n = 0;
      for (unsigned i = 1; i <= burst; ++i)
        n += std::none_of(of.begin(), of.end(), [i](unsigned f) { return i % f == 0; });
      return n;
    };
    CHECK(counters_of<1>(path).packets == burst);
    CHECK(counters_of<2>(path).packets == left({7}));
    CHECK(counters_of<3>(path).packets == left({7, 5}));
    CHECK(counters_of<4>(path).packets == left({7, 5, 11}));
    CHECK(counters_of<5>(path).packets == left({7, 5, 11, 3}));
    CHECK(counters_of<5>(path).bytes == 60 * left({7, 5, 11, 3}));
    CHECK(counters_of<1>(path).dropped(drop_reason::blocklist) == burst - left({7}));
    CHECK(counters_of<2>(path).dropped(drop_reason::policy) == left({7}) - left({7, 5}));
    CHECK(counters_of<3>(path).dropped(drop_reason::no_match) == left({7, 5}) - left({7, 5, 11}));
  }
}

TEST_CASE("the same behind early verdicts, whose frames become packets in the loop of the first stages") {
  for (const unsigned burst : {1u, 16u, 64u, 150u}) {
    CAPTURE(burst);
    fixture t;
    bool lent = false;
    SUBCASE("in slots of the pool") {}
    SUBCASE("lent by the device, with a descriptor for 64 of them at once") { lent = true; }
    if (lent) t.wire.lend_bytes();
    t.wire.several(1, burst);
    journal first, second;
    auto path = xdp([](ipv4, const frame& f) { return number_of(f) % 2 == 0 ? drop(drop_reason::blocklist) : pass; }) |
                parse() | table{&first, 5} | table{&second, 3} | note(t.arrived);
    run(attach(t.wire, path));
    CHECK(t.arrived.text() == without_multiples(burst, {2, 3, 5}));
    CHECK(first.in_order);
    CHECK(second.in_order);
    CHECK(counters_of<0>(path).packets == burst);
    CHECK(counters_of<0>(path).dropped(drop_reason::blocklist) == burst / 2);
    CHECK(counters_of<1>(path).packets == burst - burst / 2);
    CHECK(counters_of<4>(path).packets == t.arrived.count());
  }
}

TEST_CASE("frames for which there is no descriptor are lost where packets begin, and the others go on") {
  counted_pool memory{pool_config{.packets = 4, .bytes = 256, .headroom = 0, .bare = 20}};
  test_device wire{memory};
  wire.lend_bytes();
  wire.several(1, 50);
  numbers arrived;
  journal j;
  auto path =
      xdp([](ipv4, const frame& f) { return number_of(f) == 3 ? drop : pass; }) | parse() | table{&j} | note(arrived);
  run(attach(wire, path));
  CHECK(arrived == "1 2 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21");
  CHECK(counters_of<1>(path).packets == 49);
  CHECK(counters_of<1>(path).dropped(drop_reason::no_packet) == 29);
}

TEST_CASE("what is prefetched by headers alone is prefetched for together with the stage in front") {
  fixture t;
  for (std::uint16_t port = 1; port <= 3; ++port) t.wire.udp(port, port);
  numbers order;
  run(attach(t.wire, parse() | first_table{&order} | table_by_port{&order} | note(t.arrived)));
  CHECK(order == "101 1001 102 1002 103 1003 201 2001 202 203 2003");
  CHECK(t.arrived == "1 3");
}

TEST_CASE("not so when a stage between them writes to packets, or has them to cut") {
  fixture t;
  for (std::uint16_t port = 1; port <= 3; ++port) t.wire.udp(port, port);
  numbers order;
  SUBCASE("writes") {
    auto up = [](mut<udp> u) { u.destination_port(static_cast<std::uint16_t>(u.destination_port() + 10)); };
    run(attach(t.wire, parse() | first_table{&order} | up | table_by_port{&order} | note(t.arrived)));
    CHECK(order == "101 102 103 201 1011 202 203 1013 2011 2013");
  }
  SUBCASE("has them to cut") {
    auto cut = [](packet& p) { REQUIRE(p.trim(number_of(p) == 1 ? 30 : p.length())); };
    run(attach(t.wire, parse() | first_table{&order} | cut | table_by_port{&order} | discard));
    CHECK(order == "101 102 103 201 202 203 1003 2003");
  }
}

TEST_CASE("a branch behind stages that prefetch: what goes which way does not depend on what was dropped before") {
  fixture t;
  for (unsigned i = 1; i <= 64; ++i) {
    if (i % 2 == 0) t.wire.tcp(i);
    else t.wire.udp(i);
  }
  journal j;
  numbers to_tcp, to_udp;
  auto path = parse() | table{&j, 3} |
              by_protocol()
                  .on<udp>(note(to_udp))
                  .on<tcp>(note(to_tcp))
                  .on<icmp>(discard)
                  .on<icmpv6>(discard)
                  .on<other>(discard);
  run(attach(t.wire, path));
  CHECK(j.in_order);
  numbers even, odd;
  for (unsigned i = 1; i <= 64; ++i)
    if (i % 3 != 0) (i % 2 == 0 ? even : odd).add(i);
  CHECK(to_tcp == even);
  CHECK(to_udp == odd);
}

TEST_CASE("headers that a stage cut off are there for no stage behind it, in its own group or in the next") {
  fixture t;
  t.wire.several(1, 3);
  journal j;
  int in_group = 0, in_next = 0, before = 0;
  auto path = parse() | [&](udp) { ++before; } |
              [](packet& p) { REQUIRE(p.trim(number_of(p) != 2 ? p.length() : 36)); } | [&](udp) { ++in_group; } |
              table{&j} | [&](udp) { ++in_next; } | discard;
  run(attach(t.wire, path));
  CHECK(before == 3);
  CHECK(in_group == 2);
  CHECK(in_next == 2);
}
