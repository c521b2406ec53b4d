// SPDX-License-Identifier: MIT
// Branches: which way packets go, in which order, and what becomes of those that go none.
#include <flow/test_device.hpp>

using namespace runnel;
using namespace runnel::test;

namespace {

struct even {};
struct odd {};
struct large {};
struct small {};

struct fixture {
  counted_pool memory{pool_config{.packets = 300, .bytes = 256, .headroom = 64, .bare = 64}};
  test_device wire{memory};
};

using parity = ports<even, odd>;
parity by_parity(packet& p) { return number_of(p) % 2 == 0 ? parity{even{}} : parity{odd{}}; }

// The same about all packets of a burst at once.
struct parity_of_all {
  using ways = parity;
  unsigned* asked;
  ways operator()(packet& p) const { return by_parity(p); }
  bool decide_all(packet* packets, verdict* to, std::size_t n, context&) const {
    ++*asked;
    for (std::size_t i = 0; i < n; ++i) to[i] = by_parity(packets[i]).decision();
    return false;
  }
};

}  // namespace

TEST_CASE("packets go the way that the branch says, and keep their order on each way") {
  fixture t;
  t.wire.several(1, 9);
  numbers to_even, to_odd;
  auto path = parse() | branch(&by_parity).on<even>(note(to_even)).on<odd>(note(to_odd));
  run(attach(t.wire, path));
  CHECK(to_even == "2 4 6 8");
  CHECK(to_odd == "1 3 5 7 9");
}

TEST_CASE("ways may be connected in any order") {
  fixture t;
  t.wire.several(1, 4);
  numbers to_even, to_odd;
  auto path = branch(&by_parity).on<odd>(note(to_odd)).on<even>(note(to_even));
  run(attach(t.wire, as_pipeline(path)));
  CHECK(to_even == "2 4");
  CHECK(to_odd == "1 3");
}

TEST_CASE("a branch on headers sends packets without them by 'other'") {
  fixture t;
  t.wire.udp(1, 53);
  t.wire.tcp(2, 53);
  t.wire.udp(3, 99);
  t.wire.unknown(4);
  struct dns {};
  numbers to_dns, to_other;
  auto path = parse() | branch([](ipv4, udp u) -> ports<dns, other> {
                          if (u.destination_port() == 53) return dns{};
                          return other{};
                        })
                            .on<dns>(note(to_dns))
                            .on<other>(note(to_other));
  run(attach(t.wire, path));
  CHECK(to_dns == "1");
  CHECK(to_other == "2 3 4");
}

TEST_CASE("a branch may drop, send back and steal instead of choosing a way, and counts that") {
  fixture t;
  t.wire.several(0, 8);
  numbers to_even, to_odd;
  packet kept;
  auto decide = [&](packet& p) -> parity {
    switch (number_of(p)) {
      case 1: return drop;
      case 2: return drop(drop_reason::blocklist);
      case 3: return tx;
      case 4: kept = static_cast<packet&&>(p); return stolen;
      case 5: return aborted;
      default: return by_parity(p);
    }
  };
  auto path = parse() | branch(decide).on<even>(note(to_even)).on<odd>(note(to_odd));
  run(attach(t.wire, path));
  CHECK(to_even == "0 6");
  CHECK(to_odd == "7");
  CHECK(t.wire.sent == "3");
  REQUIRE(kept);
  CHECK(number_of(kept) == 4);
  const stage_counters& c = counters_of<1>(path);
  CHECK(c.packets == 8);
  CHECK(c.passed() == 3);
  CHECK(c.dropped(drop_reason::policy) == 1);
  CHECK(c.dropped(drop_reason::blocklist) == 1);
  CHECK(c.count(verdict_code::tx) == 1);
  CHECK(c.count(verdict_code::stolen) == 1);
  CHECK(c.count(verdict_code::aborted) == 1);
}

TEST_CASE("a branch that drops the whole burst hands over nothing") {
  fixture t;
  t.wire.several(1, 5);
  numbers to_even, to_odd;
  auto path = parse() | branch([](packet&) -> parity { return drop; }).on<even>(note(to_even)).on<odd>(note(to_odd));
  run(attach(t.wire, path));
  CHECK(to_even == "");
  CHECK(to_odd == "");
  CHECK(counters_of<1>(path).dropped(drop_reason::policy) == 5);
}

TEST_CASE("a burst that goes one way is handed on whole") {
  fixture t;
  t.wire.several(1, 6);
  numbers sizes;
  numbers unused;
  auto path = parse() | branch([](packet&) -> parity { return odd{}; }).on<even>(note(unused)).on<odd>([&](burst& b) {
    sizes.add(static_cast<unsigned>(b.size()));
  } | discard);
  run(attach(t.wire, path));
  CHECK(sizes == "6");
  CHECK(unused == "");
}

TEST_CASE("a branch that decides about whole bursts is not asked about an empty one") {
  fixture t;
  unsigned asked = 0;
  numbers to_even, to_odd;
  auto path = as_pipeline(branch(parity_of_all{&asked}).on<even>(note(to_even)).on<odd>(note(to_odd)));
  context c;
  detail::run<place{.packets = true, .burst = 8}>(path.stages(), nullptr, 0, 0, c);
  CHECK(asked == 0);
  t.wire.several(1, 3);
  run(attach(t.wire, path));
  CHECK(asked == 1);
  CHECK(to_even == "2");
  CHECK(to_odd == "1 3");
}

TEST_CASE("by_protocol sends each transport its way, and the rest by 'other'") {
  fixture t;
  t.wire.udp(1);
  t.wire.tcp(2);
  t.wire.icmp(3);
  t.wire.udp6(4);
  t.wire.unknown(5);
  t.wire.put(6, 18, {}, eth,
             ipv4_header{.source = {10, 0, 0, 1}, .dont_fragment = false, .fragment_offset = 800, .protocol = 6});
  t.wire.put(7, 18, {}, eth, ipv6_header{.next_header = 58}, icmp_header{});
  numbers to_tcp, to_udp, to_icmp, to_icmpv6, to_other;
  auto path = parse() | by_protocol()
                            .on<tcp>(note(to_tcp))
                            .on<udp>(note(to_udp))
                            .on<icmp>(note(to_icmp))
                            .on<icmpv6>(note(to_icmpv6))
                            .on<other>(note(to_other));
  run(attach(t.wire, path));
  CHECK(to_udp == "1 4");
  CHECK(to_tcp == "2");
  CHECK(to_icmp == "3");
  CHECK(to_icmpv6 == "7");
  CHECK(to_other == "5 6");
}

TEST_CASE("branches behind branches") {
  fixture t;
  t.wire.several(1, 12);
  numbers even_small, even_large, odds;
  using size = ports<small, large>;
  auto path =
      parse() | branch(&by_parity)
                    .on<even>(named("seen", [](ipv4) {}) |
                              branch([](packet& p) -> size { return number_of(p) < 7 ? size{small{}} : size{large{}}; })
                                  .on<small>(note(even_small))
                                  .on<large>(note(even_large)))
                    .on<odd>(note(odds));
  run(attach(t.wire, path));
  CHECK(even_small == "2 4 6");
  CHECK(even_large == "8 10 12");
  CHECK(odds == "1 3 5 7 9 11");
}

TEST_CASE("shared() joins ways: what several of them send arrives in one place, in order within each way") {
  fixture t;
  t.wire.several(1, 6);
  numbers arrived;
  auto egress = named("ttl", [](mut<ipv4> ip) { ip.time_to_live(1); }) | note(arrived);
  auto path = parse() | branch(&by_parity).on<even>(shared(egress)).on<odd>([](packet&) {} | shared(egress));
  run(attach(t.wire, path));
  CHECK(arrived == "2 4 6 1 3 5");
  CHECK(counters_of<0>(egress).packets == 6);
  CHECK(counters_of<0>(egress).bytes == 360);
}

TEST_CASE("a way's pipeline drops for itself") {
  fixture t;
  t.wire.several(1, 6);
  numbers arrived;
  auto path = parse() | branch(&by_parity)
                            .on<even>([](packet& p) { return number_of(p) == 4 ? drop : pass; } | note(arrived))
                            .on<odd>(discard);
  run(attach(t.wire, path));
  CHECK(arrived == "2 6");
}

namespace {
template <unsigned N>
struct way {};
template <unsigned... N>
using many_ways = ports<way<N>...>;
}  // namespace

TEST_CASE("the order is kept on each of eight ways, over bursts of every mixture and size") {
  fixture t;
  using eight = many_ways<0, 1, 2, 3, 4, 5, 6, 7>;
  unsigned last[8] = {};
  unsigned seen = 0;
  bool in_order = true;
  std::uint32_t random = 1;
  unsigned spread = 1;
  auto pick = [&](packet&) -> eight {
    random = random * 1664525u + 1013904223u;
    switch ((random >> 20) % spread) {
      case 0: return way<0>{};
      case 1: return way<1>{};
      case 2: return way<2>{};
      case 3: return way<3>{};
      case 4: return way<4>{};
      case 5: return way<5>{};
      case 6: return way<6>{};
      default: return way<7>{};
    }
  };
  auto arrive = [&](unsigned i) {
    return deliver([&, i](packet p) {
      in_order = in_order && number_of(p) > last[i];
      last[i] = number_of(p);
      ++seen;
    });
  };
  auto path = parse() | branch(pick)
                            .on<way<0>>(arrive(0))
                            .on<way<1>>(arrive(1))
                            .on<way<2>>(arrive(2))
                            .on<way<3>>(arrive(3))
                            .on<way<4>>(arrive(4))
                            .on<way<5>>(arrive(5))
                            .on<way<6>>(arrive(6))
                            .on<way<7>>(arrive(7));
  unsigned next = 1;
  for (unsigned round = 0; round < 200; ++round) {
    spread = 1 + round % 8;
    const unsigned n = 1 + round * 7 % 130;
    t.wire.several(next, n);
    next += n;
    run(attach<256>(t.wire, path));
    REQUIRE(in_order);
  }
  CHECK(seen == next - 1);
}
