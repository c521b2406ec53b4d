// SPDX-License-Identifier: MIT
// Stages that run together in one loop: each still counts what is its own, and prefetches come first.
#include <flow/test_device.hpp>

using namespace runnel;
using namespace runnel::test;

namespace {

struct fixture {
  counted_pool memory;
  test_device wire{memory};
  numbers arrived;
};

// Drops the packet with one number.
auto drop_number(unsigned n, drop_reason why) {
  return [n, why](packet& p) -> verdict { return number_of(p) == n ? drop(why) : pass; };
}

void check_counts(const stage_counters& c, std::uint64_t in, std::uint64_t on, std::uint64_t length) {
  CHECK(c.packets == in);
  CHECK(c.passed() == on);
  CHECK(c.bytes == in * length);
}

}  // namespace

TEST_CASE(
    "a drop is counted with its cause at the stage that said so, and the stages behind it do not count the packet") {
  for (unsigned where = 0; where < 3; ++where) {
    CAPTURE(where);
    fixture t;
    t.wire.several(1, 3);
    constexpr std::uint64_t length = 14 + 20 + 8 + 18;
    const unsigned number[3] = {where == 0 ? 2u : 0u, where == 1 ? 2u : 0u, where == 2 ? 2u : 0u};
    auto path = parse() | drop_number(number[0], drop_reason::blocklist) |
                drop_number(number[1], drop_reason::no_match) | drop_number(number[2], drop_reason::policy) |
                note(t.arrived);
    run(attach(t.wire, path));
    CHECK(t.arrived == "1 3");
    check_counts(counters_of<0>(path), 3, 3, length);
    check_counts(counters_of<1>(path), 3, where == 0 ? 2 : 3, length);
    check_counts(counters_of<2>(path), where < 1 ? 2 : 3, where <= 1 ? 2 : 3, length);
    check_counts(counters_of<3>(path), where < 2 ? 2 : 3, 2, length);
    check_counts(counters_of<4>(path), 2, 2, length);
    CHECK(counters_of<1>(path).dropped(drop_reason::blocklist) == (where == 0 ? 1 : 0));
    CHECK(counters_of<2>(path).dropped(drop_reason::no_match) == (where == 1 ? 1 : 0));
    CHECK(counters_of<3>(path).dropped(drop_reason::policy) == (where == 2 ? 1 : 0));
  }
}

TEST_CASE("a burst that is dropped as a whole leaves nothing for the stages behind it") {
  fixture t;
  t.wire.several(1, 8);
  int later = 0;
  auto path = parse() | [](ipv4) { return drop; } | [&](ipv4) { ++later; } | note(t.arrived);
  run(attach(t.wire, path));
  CHECK(later == 0);
  CHECK(t.arrived == "");
  CHECK(counters_of<1>(path).dropped(drop_reason::policy) == 8);
  CHECK(counters_of<2>(path).packets == 0);
  CHECK(counters_of<2>(path).bytes == 0);
  CHECK(counters_of<3>(path).packets == 0);
}

TEST_CASE("stages run packet by packet in one loop as long as none of them prefetches") {
  fixture t;
  t.wire.several(1, 3);
  numbers order;
  auto path = parse() | [&](packet& p) { order.add(100 + number_of(p)); } |
              [&](packet& p) { order.add(200 + number_of(p)); } | discard;
  run(attach(t.wire, path));
  CHECK(order == "101 201 102 202 103 203");
}

namespace {
struct lookup {
  numbers* order;
  void prefetch(packet& p) { order->add(200 + number_of(p)); }
  verdict operator()(packet& p) {
    order->add(300 + number_of(p));
    return number_of(p) == 2 ? drop : pass;
  }
};
struct deciding_lookup {
  using ways = ports<other>;
  numbers* order;
  void prefetch(packet& p) { order->add(400 + number_of(p)); }
  ways operator()(packet& p) {
    order->add(500 + number_of(p));
    return other{};
  }
};
}  // namespace

TEST_CASE("a stage prefetches for every packet before it runs on the first, for each behind the stages before it") {
  fixture t;
  t.wire.several(1, 3);
  numbers order;
  auto path = parse() | [&](packet& p) { order.add(100 + number_of(p)); } | lookup{&order} | note(t.arrived);
  run(attach(t.wire, path));
  CHECK(order == "101 201 102 202 103 203 301 302 303");
  CHECK(t.arrived == "1 3");
}

namespace {
struct lookup_of_udp {
  numbers* order;
  void prefetch(udp u, const packet& p, instant now) {
    order->add(1000 + u.destination_port());
    order->add(static_cast<unsigned>(now.ns) + number_of(p));
  }
  void operator()(ipv4, const packet& p) { order->add(300 + number_of(p)); }
};
}  // namespace

TEST_CASE("a prefetch asks for what it needs by its parameters, and is left out for packets without it") {
  fixture t;
  t.wire.udp(1, 53);
  t.wire.tcp(2);
  t.wire.unknown(3);
  t.wire.udp(4, 54);
  manual_clock clock(instant{200});
  numbers order;
  SUBCASE("in the same loop as parse(), where what it found is still at hand") {
    run(clock, attach(t.wire, parse() | lookup_of_udp{&order} | note(t.arrived)));
  }
  SUBCASE("behind a stage that may have moved the headers") {
    auto push_and_pull = [](packet& p) {
      REQUIRE(p.push(4) != nullptr);
      REQUIRE(p.pull(4));
    };
    run(clock, attach(t.wire, parse() | push_and_pull | lookup_of_udp{&order} | note(t.arrived)));
  }
  SUBCASE("before the first loop of the pipeline") {
    run(clock, attach(t.wire, parse() | [](burst&) {} | lookup_of_udp{&order} | note(t.arrived)));
  }
  CHECK(order == "1053 201 1054 204 301 302 304");
  CHECK(t.arrived == "1 2 3 4");
}

TEST_CASE("prefetching stages one behind the other do not prefetch for packets that are gone") {
  fixture t;
  t.wire.several(1, 3);
  numbers order;
  auto path = lookup{&order} | branch(deciding_lookup{&order}).on<other>(note(t.arrived));
  run(attach(t.wire, path));
  CHECK(order == "201 202 203 301 401 302 303 403 501 503");
  CHECK(t.arrived == "1 3");
  CHECK(counters_of<1>(path).packets == 2);
}

TEST_CASE("bytes are counted as they are where they are counted, when stages grow and shorten packets") {
  fixture t;
  t.wire.several(1, 4);
  constexpr std::uint64_t length = 14 + 20 + 8 + 18;
  auto path = parse() | [](packet& p) -> verdict {
    if (p.push(4) == nullptr) return drop(drop_reason::too_big);
    return number_of(p) == 2 ? drop : pass;
  } | named("burst", [](burst&) {}) | [](packet& p) -> verdict { return p.pull(14) ? pass : drop; } | note(t.arrived);
  run(attach(t.wire, path));
  CHECK(t.arrived == "1 3 4");
  CHECK(counters_of<1>(path).bytes == 4 * length);
  CHECK(counters_of<2>(path).bytes == 3 * (length + 4));
  CHECK(counters_of<3>(path).bytes == 3 * (length + 4));
  CHECK(counters_of<4>(path).bytes == 3 * (length - 10));
}

TEST_CASE("a packet that grew or shrank before it was dropped leaves the byte counts of later stages in order") {
  fixture t;
  t.wire.several(1, 3);
  auto path = [](packet& p) { (void)p.push(40); } |
              named("drop", [](packet& p) { return number_of(p) == 1 ? drop : pass; }) |
              [](packet& p) { (void)p.pull(50); } | [](packet& p) { return number_of(p) == 2 ? drop : pass; } |
              [](packet&) {} | note(t.arrived);
  run(attach(t.wire, path));
  CHECK(t.arrived == "3");
  // Within one loop, a packet counts with the length that it came in with.
  CHECK(counters_of<0>(path).bytes == 180);
  CHECK(counters_of<1>(path).bytes == 180);
  CHECK(counters_of<2>(path).bytes == 120);
  CHECK(counters_of<3>(path).bytes == 120);
  CHECK(counters_of<4>(path).bytes == 60);
  CHECK(counters_of<5>(path).bytes == 50);
}

TEST_CASE("a drop without a packet: the pool has no descriptor left for bytes that a device lends") {
  counted_pool memory{pool_config{.packets = 4, .bytes = 256, .headroom = 0, .bare = 2}};
  test_device wire{memory};
  wire.lend_bytes();
  wire.several(1, 5);
  numbers arrived;
  auto path = parse() | note(arrived);
  run(attach(wire, path));
  CHECK(arrived == "1 2");
  CHECK(counters_of<0>(path).packets == 5);
  CHECK(counters_of<0>(path).bytes == 5 * 60);
  CHECK(counters_of<0>(path).passed() == 2);
  CHECK(counters_of<0>(path).dropped(drop_reason::no_packet) == 3);
  CHECK(counters_of<1>(path).packets == 2);
}

TEST_CASE("an uncounted pipeline has no counters, and does the same") {
  fixture t;
  t.wire.several(1, 3);
  auto drop_two = [](packet& p) { return number_of(p) == 2 ? drop : pass; };
  auto path = uncounted | parse() | drop_two | lookup{&t.arrived} | note(t.arrived);
  auto counted = parse() | drop_two | lookup{&t.arrived} | note(t.arrived);
  CHECK(sizeof path <= 4 * sizeof(void*));
  CHECK(sizeof counted >= 4 * sizeof(stage_counters));
  run(attach(t.wire, path));
  CHECK(t.arrived == "201 203 301 303 1 3");
}

TEST_CASE("an uncounted pipeline has no counters on the ways of its branches and the paths of its tees either") {
  fixture t;
  t.wire.udp(1);
  t.wire.tcp(2);
  t.wire.udp(3);
  numbers to_udp, copied;
  auto counted = [](packet&) {} | note(t.arrived);
  const auto kinds = [&] {
    return named("kinds", by_protocol()
                              .on<udp>(tee(parse() | note(copied)) | note(to_udp))
                              .on<tcp>(shared(counted))
                              .on<icmp>(discard)
                              .on<icmpv6>([](packet&) {} | discard)
                              .on<other>(discard));
  };
  auto path = uncounted | parse() | kinds();
  CHECK(sizeof path < sizeof(stage_counters));
  CHECK(sizeof(parse() | kinds()) > 8 * sizeof(stage_counters));
  run(attach(t.wire, path));
  CHECK(to_udp == "1 3");
  CHECK(copied == "1 3");
  CHECK(t.arrived == "2");
  CHECK(counters_of<1>(counted).packets == 1);  // a pipeline that is only referred to counts for itself

  text<2000> drawn;
  describe(drawn, path);
  CHECK(std::string{drawn.c_str()} ==
        "parse\nkinds\n|- udp\n|     tee\n|     |- copy\n|     |     parse\n|     |     deliver\n"
        "|     deliver\n|- tcp\n|     shared #1\n|     handler(packet)                       1 packets\n"
        "|     deliver                               1 packets\n|- icmp\n|     discard\n|- icmpv6\n"
        "|     handler(packet)\n|     discard\n`- other\n      discard\n");
}
