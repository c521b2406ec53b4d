// SPDX-License-Identifier: MIT
// Rules that choose between route tables.
#include <runnel/ip/routing_rules.hpp>

#include <cstdint>
#include <cstring>

#include <doctest/doctest.h>

#include <runnel/ip/sorted_routes.hpp>

using namespace runnel;

namespace {

using table = route_table<sorted_routes<ipv4_address>, sorted_routes<ipv6_address>>;

static_assert(routing_source<table>);
static_assert(routing_source<routing_rules<table, 5>>);

struct fixture {
  next_hop_table_of<8> hops;
  sorted_routes_of<ipv4_address, 8> main4, other4;
  sorted_routes_of<ipv6_address, 8> main6, other6;
  table main{hops, main4, main6}, other{hops, other4, other6};
  routing_rules<table, 5> rules{hops};

  std::uint16_t way(ipv4_address from, ipv4_address to, std::uint32_t mark = 0, std::uint16_t iif = 0) const {
    const next_hop_number n = rules.lookup(route_query<ipv4_address>{to, from, mark, iif});
    return n == no_next_hop ? std::uint16_t{0} : hops[n].oif;
  }
};

}  // namespace

TEST_CASE("a rule is about source, destination, mark and interface; the lowest priority is first") {
  fixture t;
  REQUIRE(t.main.insert(net("0.0.0.0/0"), next_hop::on_link(1)));
  REQUIRE(t.main.insert(net("2001:db8::/32"), next_hop::on_link(1)));
  REQUIRE(t.other.insert(net("0.0.0.0/0"), next_hop::on_link(2)));
  CHECK(t.way(addr4("10.2.0.1"), addr4("192.0.2.1")) == 0);  // no rules, no route
  REQUIRE(t.rules.add(32766, {}, t.main, 254));
  REQUIRE(t.rules.add(100, {.from = net("10.2.0.0/16")}, t.other, 100));
  REQUIRE(t.rules.add(90, {.mark = 1, .mark_mask = 0xff, .iif = 7}, t.other, 100));
  REQUIRE(t.rules.add(80, {.to = net("203.0.113.0/24")}, route_type::prohibit));
  REQUIRE(t.rules.add(100, {.from = net("10.2.1.0/24")}, t.main, 254));
  CHECK_FALSE(t.rules.add(1, {}, t.main, 254));  // five are all there is room for
  CHECK_FALSE(t.rules.add(1, {}, route_type::blackhole));
  CHECK(t.way(addr4("10.1.0.1"), addr4("192.0.2.1")) == 1);
  CHECK(t.way(addr4("10.2.0.1"), addr4("192.0.2.1")) == 2);
  CHECK(t.way(addr4("10.2.1.1"), addr4("192.0.2.1")) == 2);  // equal priority: the one that came first
  CHECK(t.way(addr4("10.1.0.1"), addr4("192.0.2.1"), 0x101, 7) == 2);
  CHECK(t.way(addr4("10.1.0.1"), addr4("192.0.2.1"), 0x101, 8) == 1);
  CHECK(t.way(addr4("10.1.0.1"), addr4("192.0.2.1"), 0x102, 7) == 1);
  const next_hop_number n = t.rules.lookup(route_query<ipv4_address>{addr4("203.0.113.9"), addr4("10.2.0.1")});
  REQUIRE(t.hops.is_hop(n));
  CHECK(t.hops[n].type == route_type::prohibit);
  // Rules with IPv4 prefixes are not about IPv6.
  const next_hop_number six = t.rules.lookup(route_query<ipv6_address>{addr6("2001:db8::1"), addr6("2001:db8::2")});
  REQUIRE(t.hops.is_hop(six));
  CHECK(t.hops[six].oif == 1);

  text<512> screen;
  print(screen, t.rules, [](std::uint16_t) { return "eth6"; });
  CHECK(std::strcmp(screen.c_str(),
                    "80:\tfrom all to 203.0.113.0/24 prohibit\n"
                    "90:\tfrom all fwmark 0x1/0xff iif eth6 lookup 100\n"
                    "100:\tfrom 10.2.0.0/16 lookup 100\n"
                    "100:\tfrom 10.2.1.0/24 lookup main\n"
                    "32766:\tfrom all lookup main\n") == 0);

  CHECK(t.rules.erase(100, {.from = net("10.2.0.0/16")}));
  CHECK_FALSE(t.rules.erase(100, {.from = net("10.2.0.0/16")}));
  CHECK(t.way(addr4("10.2.0.1"), addr4("192.0.2.1")) == 1);
  CHECK(t.rules.size() == 4);
}

TEST_CASE("a mark without a mask is the whole mark, as in ip rule") {
  fixture t;
  REQUIRE(t.main.insert(net("0.0.0.0/0"), next_hop::on_link(1)));
  REQUIRE(t.other.insert(net("0.0.0.0/0"), next_hop::on_link(2)));
  REQUIRE(t.rules.add(100, {.mark = 1}, t.other, 100));
  REQUIRE(t.rules.add(101, {.mark = 0, .mark_mask = 0xf0}, t.main, 254));
  CHECK(t.way(addr4("10.0.0.1"), addr4("192.0.2.1"), 1) == 2);
  CHECK(t.way(addr4("10.0.0.1"), addr4("192.0.2.1"), 0) == 1);
  CHECK(t.way(addr4("10.0.0.1"), addr4("192.0.2.1"), 0x101) == 1);
  CHECK(t.way(addr4("10.0.0.1"), addr4("192.0.2.1"), 0x11) == 0);
  text<128> screen;
  print(screen, t.rules);
  CHECK(std::strcmp(screen.c_str(),
                    "100:\tfrom all fwmark 0x1 lookup 100\n"
                    "101:\tfrom all fwmark 0x0/0xf0 lookup main\n") == 0);
}

TEST_CASE("rules that are cleared hold no next hops") {
  fixture t;
  REQUIRE(t.rules.add(1, {}, route_type::prohibit));
  REQUIRE(t.rules.add(2, {}, t.main, 254));
  const next_hop_number n = t.rules.lookup(route_query<ipv4_address>{});
  REQUIRE(t.hops.is_hop(n));
  t.rules.clear();
  CHECK(t.rules.size() == 0);
  CHECK_FALSE(t.hops.is_hop(n));
  CHECK(t.rules.lookup(route_query<ipv4_address>{}) == no_next_hop);
}

TEST_CASE("a table without a route, and a throw route, let the next rule try; a refusal does not") {
  fixture t;
  REQUIRE(t.main.insert(net("0.0.0.0/0"), next_hop::on_link(1)));
  REQUIRE(t.other.insert(net("192.0.2.0/24"), next_hop::on_link(2)));
  REQUIRE(t.other.insert(net("192.0.2.128/25"), next_hop::of(route_type::throw_)));
  REQUIRE(t.other.insert(net("198.51.100.0/24"), next_hop::of(route_type::unreachable, 9)));
  REQUIRE(t.rules.add(1, {}, t.other, 100));
  REQUIRE(t.rules.add(2, {}, t.main, 254));
  CHECK(t.way(addr4("10.0.0.1"), addr4("192.0.2.1")) == 2);
  CHECK(t.way(addr4("10.0.0.1"), addr4("192.0.2.129")) == 1);
  CHECK(t.way(addr4("10.0.0.1"), addr4("203.0.113.1")) == 1);
  CHECK(t.way(addr4("10.0.0.1"), addr4("198.51.100.1")) == 9);
}
