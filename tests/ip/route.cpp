// SPDX-License-Identifier: MIT
// Routes, their next hops, and the routing decision in a pipeline.
#include <runnel/ip.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include <doctest/doctest.h>

#include <runnel/base/random.hpp>
#include <runnel/base/snapshot.hpp>
#include <runnel/match/expression.hpp>
#include <runnel/match/meta.hpp>

#include <flow/flow_of.hpp>
#include <flow/test_device.hpp>

using namespace runnel;
using namespace runnel::test;

namespace {

constexpr std::uint16_t lan = 1, wan = 2;

struct fixture {
  next_hop_table_of<20, 2> hops;
  sorted_routes_of<ipv4_address, 16> v4;
  sorted_routes_of<ipv6_address, 16> v6;
  route_table<sorted_routes_of<ipv4_address, 16>, sorted_routes_of<ipv6_address, 16>> routes{hops, v4, v6};
  counted_pool memory{pool_config{.packets = 300, .bytes = 256, .headroom = 64, .bare = 64}};
  test_device wire{memory};

  void to(unsigned n, ipv4_address destination, std::uint16_t sport = 1000) {
    wire.put(n, 18, {}, eth, ipv4_header{.source = {10, 0, 0, 1}, .destination = destination},
             udp_header{.source_port = sport, .destination_port = 53});
  }
  void to(unsigned n, ipv6_address destination) {
    wire.put(n, 18, {}, eth, ipv6_header{.source = {0x2001'0db8'0000'0000, 1}, .destination = destination},
             udp_header{.source_port = 1000, .destination_port = 53});
  }
};

}  // namespace

TEST_CASE("each packet goes the way that its route says, and knows its next hop") {
  fixture t;
  REQUIRE(t.routes.insert(net("10.1.0.0/16"), next_hop::on_link(lan)));
  REQUIRE(t.routes.insert(net("10.1.0.1/32"), next_hop::of(route_type::local)));
  REQUIRE(t.routes.insert(net("10.1.255.255/32"), next_hop::of(route_type::broadcast)));
  REQUIRE(t.routes.insert(net("10.2.0.0/16"), next_hop::via(addr4("10.1.0.2"), lan, 1400)));
  REQUIRE(t.routes.insert(net("10.2.9.0/24"), next_hop::of(route_type::blackhole)));
  REQUIRE(t.routes.insert(net("10.3.0.0/16"), next_hop::of(route_type::unreachable)));
  REQUIRE(t.routes.insert(net("10.4.0.0/16"), next_hop::of(route_type::prohibit)));
  REQUIRE(t.routes.insert(net("10.6.0.0/16"), next_hop::of(route_type::throw_)));
  REQUIRE(t.routes.insert(net("2001:db8:2::/48"), next_hop::via(addr6("fe80::1"), wan)));
  t.to(1, addr4("10.1.0.9"));
  t.to(2, addr4("10.1.0.1"));
  t.to(3, addr4("10.1.255.255"));
  t.to(4, addr4("10.2.0.1"));
  t.to(5, addr4("10.2.9.1"));
  t.to(6, addr4("10.3.0.1"));
  t.to(7, addr4("10.4.0.1"));
  t.to(8, addr4("10.5.0.1"));
  t.to(9, addr6("2001:db8:2::1"));
  t.to(10, addr6("2001:db8:3::1"));
  t.wire.unknown(11);
  t.to(12, addr4("10.6.0.1"));
  numbers here, on, nowhere;
  next_hop found[16];
  route_type refused[16] = {};
  auto path = parse() | route(t.routes)
                            .on<local>([](packet& p) { CHECK(oif_of(p) == 0); } | note(here))
                            .on<forward>([&](packet& p) {
                              found[number_of(p)] = t.hops[static_cast<next_hop_number>(p.scratch())];
                              CHECK(oif_of(p) == found[number_of(p)].oif);
                              CHECK((meta::oif == oif_of(p) && meta::iif == 0)(p));
                            } | note(on))
                            .on<no_route>([&](packet& p) {
                              refused[number_of(p)] = refusal_of(p, t.hops);
                              CHECK(oif_of(p) == 0);
                            } | note(nowhere));
  run(attach(t.wire, path));
  CHECK(here == "2 3");
  CHECK(on == "1 4 9");
  CHECK(nowhere == "6 7 8 10 12");
  CHECK(found[1] == next_hop::on_link(lan));
  CHECK(found[4].ipv4_gateway() == addr4("10.1.0.2"));
  CHECK(found[4].mtu == 1400);
  CHECK(found[9].gateway == addr6("fe80::1"));
  CHECK_FALSE(found[9].has_ipv4_gateway());
  CHECK(refused[6] == route_type::unreachable);
  CHECK(refused[7] == route_type::prohibit);
  CHECK(refused[8] == route_type::unicast);
  CHECK(refused[12] == route_type::unicast);  // no further table was asked
  CHECK(icmp_for(refused[6]) == icmp::unreachable::host);
  CHECK(icmp_for(refused[7]) == icmp::unreachable::prohibited);
  CHECK(icmp_for(refused[8]) == icmp::unreachable::network);
  CHECK(icmpv6_for(refused[10]) == icmpv6::unreachable::no_route);
  const stage_counters& c = counters_of<1>(path);
  CHECK(c.dropped(drop_reason::route_blackhole) == 1);
  CHECK(c.dropped(drop_reason::not_ip) == 1);
}

TEST_CASE("a table prints as ip route does") {
  fixture t;
  REQUIRE(t.routes.insert(net("0.0.0.0/0"), next_hop::via(addr4("192.0.2.1"), wan)));
  REQUIRE(t.routes.insert(net("10.0.0.0/8"), next_hop::via(addr4("10.1.0.2"), lan, 1400)));
  REQUIRE(t.routes.insert(net("10.1.0.0/16"), next_hop::on_link(lan)));
  REQUIRE(t.routes.insert(net("192.0.2.9/32"), next_hop::of(route_type::local, wan)));
  REQUIRE(t.routes.insert(net("198.51.100.0/24"), next_hop::of(route_type::blackhole)));
  REQUIRE(t.routes.insert(net("2001:db8::/32"), next_hop::via(addr6("fe80::1"), wan)));
  const weighted_hop both[] = {{t.hops.add(next_hop::via(addr4("192.0.2.1"), wan)), 1},
                               {t.hops.add(next_hop::via(addr4("10.1.0.3"), lan)), 3}};
  const next_hop_number group = t.hops.add_group(both, 2);
  REQUIRE(group != no_next_hop);
  REQUIRE(t.routes.insert(net("203.0.113.0/24"), group));
  text<1024> screen;
  print(screen, t.routes, [](std::uint16_t n) { return n == lan ? "eth0" : "eth1"; });
  CHECK(std::strcmp(screen.c_str(),
                    "default via 192.0.2.1 dev eth1\n"
                    "10.0.0.0/8 via 10.1.0.2 dev eth0 mtu 1400\n"
                    "10.1.0.0/16 dev eth0 scope link\n"
                    "local 192.0.2.9 dev eth1\n"
                    "blackhole 198.51.100.0/24\n"
                    "203.0.113.0/24\n"
                    "\tnexthop via 192.0.2.1 dev eth1 weight 1\n"
                    "\tnexthop via 10.1.0.3 dev eth0 weight 3\n"
                    "2001:db8::/32 via fe80::1 dev eth1\n") == 0);
}

TEST_CASE("equal next hops share a place, which is free again when the last route goes") {
  next_hop_table_of<2> hops;
  sorted_routes_of<ipv4_address, 3> v4;
  route_table routes{hops, v4};
  CHECK(routes.insert(net("10.0.0.0/8"), next_hop::on_link(lan)));
  CHECK(routes.insert(net("11.0.0.0/8"), next_hop::on_link(lan)));
  CHECK(routes.find(net("10.0.0.0/8")) == routes.find(net("11.0.0.0/8")));
  CHECK(routes.insert(net("12.0.0.0/8"), next_hop::on_link(wan)));
  CHECK_FALSE(routes.insert(net("12.0.0.0/8"), next_hop::on_link(7)));       // no third next hop
  CHECK_FALSE(routes.insert(net("13.0.0.0/8"), next_hop::on_link(lan)));     // no fourth route
  CHECK_FALSE(routes.insert(net("2001:db8::/32"), next_hop::on_link(lan)));  // no table for it
  CHECK(routes.size() == 3);
  CHECK(routes.erase(net("12.0.0.0/8")));
  CHECK_FALSE(routes.erase(net("12.0.0.0/8")));
  CHECK(routes.insert(net("11.0.0.0/8"), next_hop::on_link(7)));  // in the place of the one that is not used
  CHECK(hops[routes.lookup(addr4("11.0.0.1"))].oif == 7);
  CHECK(hops[routes.lookup(addr4("10.0.0.1"))].oif == lan);
}

TEST_CASE("a table that is cleared holds no next hops, and no groups") {
  fixture t;
  const weighted_hop both[] = {{t.hops.add(next_hop::on_link(lan)), 1}, {t.hops.add(next_hop::on_link(wan)), 1}};
  const next_hop_number group = t.hops.add_group(both, 2);
  REQUIRE(t.routes.insert(net("10.0.0.0/8"), group));
  REQUIRE(t.routes.insert(net("2001:db8::/32"), group));
  REQUIRE(t.routes.insert(net("11.0.0.0/8"), next_hop::on_link(7)));
  for (const weighted_hop& w : both) t.hops.release(w.hop);
  t.hops.release(group);
  const next_hop_number seven = t.routes.find(net("11.0.0.0/8"));
  CHECK(t.hops.is_group(group));
  t.routes.clear();
  CHECK(t.routes.size() == 0);
  CHECK(t.routes.lookup(addr4("10.0.0.1")) == no_next_hop);
  CHECK_FALSE(t.hops.is_group(group));
  CHECK_FALSE(t.hops.is_hop(seven));
  for (const weighted_hop& w : both) CHECK_FALSE(t.hops.is_hop(w.hop));
}

namespace {
void count(const next_hop_table& hops, next_hop_number group, std::size_t (&shares)[4]) {
  for (std::size_t& s : shares) s = 0;
  for (const next_hop_number n : hops.group_at(group).bucket) {
    REQUIRE(n < 4);
    ++shares[n];
  }
}
}  // namespace

TEST_CASE("flows are spread by weight, and only those of a member that leaves or of its share move") {
  next_hop_table_of<4, 1> hops;
  weighted_hop members[3];
  for (std::uint16_t i = 0; i < 3; ++i)
    members[i] = {hops.add(next_hop::on_link(i)), static_cast<std::uint8_t>(i == 2 ? 2 : 1)};
  const next_hop_number g = hops.add_group(members, 3);
  REQUIRE(hops.is_group(g));
  CHECK(hops.add_group(members, 3) == no_next_hop);  // no second place
  std::size_t shares[4];
  count(hops, g, shares);
  CHECK(shares[0] == 32);
  CHECK(shares[1] == 32);
  CHECK(shares[2] == 64);

  next_hop_table::group before = hops.group_at(g);
  CHECK(hops.leave(g, 1));
  CHECK_FALSE(hops.leave(g, 1));
  for (std::size_t i = 0; i < next_hop_table::buckets; ++i) {
    const next_hop_number now = hops.group_at(g).bucket[i];
    if (before.bucket[i] == 1) CHECK(now != 1);
    else CHECK(now == before.bucket[i]);
  }
  count(hops, g, shares);
  CHECK(shares[0] + shares[2] == 128);
  CHECK(shares[0] >= 42);
  CHECK(shares[0] <= 43);

  before = hops.group_at(g);
  CHECK(hops.join(g, {1, 1}));
  for (std::size_t i = 0; i < next_hop_table::buckets; ++i) {
    const next_hop_number now = hops.group_at(g).bucket[i];
    if (now != 1) CHECK(now == before.bucket[i]);
  }
  count(hops, g, shares);
  CHECK(shares[1] == 32);

  CHECK_FALSE(hops.join(g, {3, 1}));  // there is no such next hop
  for (next_hop_number n = 0; n < 3; ++n) CHECK(hops.leave(g, n));
  CHECK(hops.choose(g, [] { return std::uint64_t{5}; }) == no_next_hop);
  hops.release(g);
  CHECK_FALSE(hops.is_group(g));
}

TEST_CASE("whatever the weights, each member has its share of the flows, and no other flow moves than must") {
  random_generator r{11};
  for (int round = 0; round < 40; ++round) {
    next_hop_table_of<16, 1> hops;
    std::uint32_t weight[16] = {};
    const std::uint64_t most = round % 2 == 0 ? 255 : 2;
    const weighted_hop first{hops.add(next_hop::on_link(0)), static_cast<std::uint8_t>(1 + r.below(most))};
    for (std::uint16_t i = 1; i < 16; ++i) REQUIRE(hops.add(next_hop::on_link(i)) == i);
    const next_hop_number g = hops.add_group(&first, 1);
    weight[0] = first.weight;
    for (int step = 0; step < 60; ++step) {
      const auto who = static_cast<next_hop_number>(r.below(16));
      const next_hop_table::group before = hops.group_at(g);
      const bool goes = weight[who] != 0 && (before.members > 1);
      const bool joins = weight[who] == 0;
      if (goes) {
        REQUIRE(hops.leave(g, who));
        weight[who] = 0;
      } else if (joins) {
        weight[who] = static_cast<std::uint32_t>(1 + r.below(most));
        REQUIRE(hops.join(g, {who, static_cast<std::uint8_t>(weight[who])}));
      } else {
        continue;
      }
      std::uint32_t sum = 0;
      for (const std::uint32_t w : weight) sum += w;
      std::uint32_t has[16] = {}, had[16] = {};
      for (std::size_t b = 0; b < next_hop_table::buckets; ++b) {
        const next_hop_number was = before.bucket[b], is = hops.group_at(g).bucket[b];
        REQUIRE(is < 16);
        ++has[is];
        ++had[was];
        if (goes && was != who) REQUIRE(is == was);
        if (goes) REQUIRE(is != who);
      }
      for (next_hop_number i = 0; i < 16; ++i) {
        if (weight[i] == 0) {
          REQUIRE(has[i] == 0);
          continue;
        }
        REQUIRE(has[i] >= 1);
        if (joins && i != who) REQUIRE(has[i] <= had[i]);
        if (most != 2) continue;  // what some have at least is more than their weight says
        REQUIRE((has[i] + 1) * sum > 128 * weight[i]);
        if (joins) REQUIRE((has[i] - 1) * sum < 128 * weight[i]);
      }
    }
  }
}

TEST_CASE("a flow keeps its next hop, and all fragments of a datagram go one way") {
  fixture t;
  weighted_hop members[4];
  for (std::uint16_t i = 0; i < 4; ++i) members[i] = {t.hops.add(next_hop::on_link(i)), 1};
  const next_hop_number g = t.hops.add_group(members, 4);
  REQUIRE(t.routes.insert(net("0.0.0.0/0"), g));
  t.hops.release(g);  // the route holds it
  for (unsigned i = 0; i < 100; ++i) t.to(i, addr4("192.0.2.1"), static_cast<std::uint16_t>(1000 + i / 2));
  for (unsigned i = 100; i < 110; ++i)  // the first fragment has ports, the others have none
    t.wire.put(i, 18, {}, eth,
               ipv4_header{.source = {10, 0, 0, 1},
                           .destination = {192, 0, 2, 1},
                           .dont_fragment = false,
                           .more_fragments = i != 109,
                           .fragment_offset = static_cast<std::uint16_t>(i == 100 ? 0 : 64 * (i - 100)),
                           .protocol = 17},
               udp_header{.source_port = 1, .destination_port = static_cast<std::uint16_t>(i)});
  std::uint32_t by[110] = {};
  numbers on;
  auto path = parse() | route(t.routes, 77)
                            .on<local>(discard)
                            .on<forward>([&](packet& p) {
                              by[number_of(p)] = static_cast<next_hop_number>(p.scratch());
                            } | note(on))
                            .on<no_route>(discard);
  run(attach(t.wire, path));
  CHECK(on.count() == 110);
  bool taken[4] = {};
  for (unsigned i = 0; i < 100; i += 2) {
    CHECK(by[i] == by[i + 1]);
    REQUIRE(by[i] < 4);
    taken[by[i]] = true;
  }
  for (const bool one : taken) CHECK(one);
  for (unsigned i = 101; i < 110; ++i) CHECK(by[i] == by[100]);
}

TEST_CASE("routes are replaced between two bursts, and the old ones are free when the reader has come by") {
  fixture t;
  sorted_routes_of<ipv4_address, 16> next4;
  sorted_routes_of<ipv6_address, 16> next6;
  decltype(t.routes) next{t.hops, next4, next6};
  REQUIRE(t.routes.insert(net("0.0.0.0/0"), next_hop::on_link(lan)));
  REQUIRE(next.insert(net("0.0.0.0/0"), next_hop::on_link(wan)));
  snapshot<decltype(t.routes), 1> current{t.routes};
  auto& mine = current.reader(0);
  std::uint16_t by[8] = {};
  numbers on;
  auto path = parse() | [&](burst&) { mine.refresh(); } |
              route(mine)
                  .on<local>(discard)
                  .on<forward>([&](packet& p) {
                    by[number_of(p)] = t.hops[static_cast<next_hop_number>(p.scratch())].oif;
                  } | note(on))
                  .on<no_route>(discard);
  t.to(1, addr4("192.0.2.1"));
  run(attach(t.wire, path));
  CHECK(&current.replace(next) == &t.routes);
  CHECK_FALSE(current.is_quiet());
  t.to(2, addr4("192.0.2.1"));
  run(attach(t.wire, path));
  CHECK(current.is_quiet());
  CHECK(by[1] == lan);
  CHECK(by[2] == wan);
}

TEST_CASE("the routes of a pipeline may lie in tables of any kind") {
  using trie4 = compact_trie<ipv4_address>;
  using trie6 = compact_trie<ipv6_address>;
  alignas(64) static std::byte memory4[trie4::bytes_for(16)];
  alignas(64) static std::byte memory6[trie6::bytes_for(16)];
  fixture t;
  trie4 v4{memory4};
  trie6 v6{memory6};
  route_table routes{t.hops, v4, v6};
  REQUIRE(routes.insert(net("192.0.2.0/24"), next_hop::on_link(wan)));
  REQUIRE(routes.insert(net("192.0.2.64/26"), next_hop::of(route_type::local)));
  REQUIRE(routes.insert(net("2001:db8:2::/48"), next_hop::via(addr6("fe80::1"), wan)));
  for (unsigned i = 0; i < 128; ++i) t.to(i, ipv4_address{addr4("192.0.2.0").value() + i});
  t.to(128, addr6("2001:db8:2::1"));
  t.to(129, addr6("2001:db8:3::1"));
  numbers here, on, nowhere;
  auto path = parse() | route(routes).on<local>(note(here)).on<forward>(note(on)).on<no_route>(note(nowhere));
  run(attach(t.wire, path));
  CHECK(here.count() == 64);
  CHECK(on.count() == 65);
  CHECK(nowhere == "129");
}
