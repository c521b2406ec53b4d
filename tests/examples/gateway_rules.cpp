// SPDX-License-Identifier: MIT
// Policy routing in the configuration of examples/gateway: route tables and the rules that choose between them.
#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <utility>

#include "../../examples/gateway/configuration.hpp"
#include "../../examples/gateway/router.hpp"

using namespace runnel;

namespace {

const std::string three_networks =
    "interface lan { device \"null:\" address 10.0.0.1/24, fd00::1/64 }\n"
    "interface cable { device \"null:\" address 203.0.113.2/24, 2001:db8:1::2/64 }\n"
    "interface dsl { device \"null:\" address 198.51.100.2/24, 2001:db8:2::2/64 }\n";
const std::string two_uplinks = three_networks +
                                "route default via 203.0.113.1 route default via 2001:db8:1::1\n"
                                "route default via 198.51.100.1 table dsl\n"
                                "route default via 2001:db8:2::1 table dsl\n";

// "ok", or what is wrong with the lines behind the interfaces: "4:14 expected ...".
std::string read_rules(const std::string& lines, gateway::configuration* to = nullptr) {
  gateway::configuration made;
  const std::string text = three_networks + lines;
  gateway::configuration_reader reader(text, made);
  const bool good = reader.read();
  const gateway::fault f = reader.why();
  if (to != nullptr) *to = std::move(made);
  return good ? "ok" : std::to_string(f.line) + ':' + std::to_string(f.column) + ' ' + f.what;
}
std::unique_ptr<gateway::rule_set> loaded(const std::string& text, gateway::configuration& c) {
  gateway::configuration_reader reader(text, c);
  REQUIRE_MESSAGE(reader.read(), reader.why().what);
  auto rules = std::make_unique<gateway::rule_set>(c);
  REQUIRE(rules->load(c));
  return rules;
}

struct asking_router {
  explicit asking_router(const std::string& text) : asking_router(text, gateway::configuration{}) {}
  asking_router(const std::string& text, gateway::configuration c) : now(made(text, c)) {}
  static std::unique_ptr<gateway::router> made(const std::string& text, gateway::configuration& c) {
    auto rules = loaded(text, c);
    return std::make_unique<gateway::router>(std::move(c), std::move(rules));
  }
  // "dsl", or what else becomes of such a packet.
  template <class Address>
  std::string way(const Address& from, const Address& to, std::uint32_t mark = 0, std::uint16_t iif = 1) const {
    const next_hop_number n = now->all_routes->newest().lookup(route_query<Address>{to, from, mark, iif});
    if (n == no_next_hop) return "none";
    const next_hop& hop = now->hops[n];
    return hop.type == route_type::unicast ? now->config.interfaces[hop.oif - 1u].name : name(hop.type);
  }
  std::string way(const char* from, const char* to, std::uint32_t mark = 0, std::uint16_t iif = 1) const {
    const auto a = parse_ipv4(from), b = parse_ipv4(to);
    if (a && b) return way(*a, *b, mark, iif);
    return way(*parse_ipv6(from), *parse_ipv6(to), mark, iif);
  }
  std::unique_ptr<gateway::router> now;
};

}  // namespace

TEST_CASE("gateway: rules choose a table by source, destination, mark and interface, for both families") {
  const asking_router r(two_uplinks +
                        "rule from 10.0.0.64/26 table dsl\n"
                        "rule table dsl from fd00::99\n"  // in any order
                        "rule fwmark 2 table dsl\n"
                        "rule fwmark 0x30/0xf0 to 192.0.2.0/24 prohibit\n"
                        "rule iif dsl to 192.0.2.1 table dsl\n"
                        "rule priority 100 fwmark 9 blackhole\n");
  CHECK(r.way("10.0.0.5", "192.0.2.1") == "cable");
  CHECK(r.way("10.0.0.65", "192.0.2.1") == "dsl");
  CHECK(r.way("fd00::5", "2001:db8::1") == "cable");
  CHECK(r.way("fd00::99", "2001:db8::1") == "dsl");
  CHECK(r.way("10.0.0.5", "192.0.2.1", 2) == "dsl");
  CHECK(r.way("fd00::5", "2001:db8::1", 2) == "dsl");
  CHECK(r.way("10.0.0.5", "192.0.2.1", 0x132) == "prohibit");
  CHECK(r.way("10.0.0.5", "192.0.2.1", 0x22) == "cable");
  CHECK(r.way("fd00::5", "2001:db8::1", 0x132) == "cable");
  CHECK(r.way("10.0.0.5", "192.0.2.1", 0, 3) == "dsl");
  CHECK(r.way("10.0.0.5", "192.0.2.2", 0, 3) == "cable");
  CHECK(r.way("10.0.0.65", "192.0.2.1", 9) == "blackhole");  // before the others
  // Its own addresses come before all of them, and a table without a fitting route is passed over.
  CHECK(r.way("10.0.0.65", "203.0.113.2", 9) == "local");
  CHECK(r.way("10.0.0.65", "10.0.0.255", 2) == "broadcast");
  CHECK(r.way("10.0.0.65", "255.255.255.255", 2) == "broadcast");
  CHECK(r.way("fd00::99", "ff02::1", 2) == "broadcast");
  CHECK(asking_router(three_networks + "route 192.0.2.0/24 via 10.0.0.9 table 7 rule fwmark 1 table 7")
            .way("10.0.0.5", "198.18.0.1", 1) == "none");
}

TEST_CASE("gateway: the rule of the lowest priority is asked first, then main, then the others") {
  const asking_router r(three_networks +
                        "route 192.0.2.0/24 via 203.0.113.1\n"
                        "route default via 198.51.100.1 table 7\n"
                        "route 192.0.2.0/25 throw table 8\n"
                        "route 192.0.2.0/24 unreachable table 8\n"
                        "rule table 7 priority 40000\n"
                        "rule from 10.0.0.8 table 8\n"
                        "rule from 10.0.0.8 prohibit\n"
                        "rule from 10.0.0.9 table 7\n"
                        "rule from 10.0.0.9 table main priority 5\n");
  CHECK(r.way("10.0.0.5", "192.0.2.1") == "cable");
  CHECK(r.way("10.0.0.5", "198.18.0.1") == "dsl");  // main has no such route
  CHECK(r.way("10.0.0.8", "192.0.2.200") == "unreachable");
  CHECK(r.way("10.0.0.8", "192.0.2.1") == "prohibit");  // thrown, to the next one
  CHECK(r.way("10.0.0.9", "192.0.2.1") == "cable");
  CHECK(r.way("10.0.0.9", "198.18.0.1") == "dsl");
}

TEST_CASE("gateway: a rule for main without its default routes keeps what is near off the uplinks") {
  const std::string rules = "route 10.9.0.0/16 via 10.0.0.9\nrule fwmark 2 table dsl\n";
  const asking_router without(two_uplinks + rules);
  CHECK(without.way("198.18.0.1", "10.9.0.5", 2) == "dsl");
  const asking_router with(two_uplinks + rules + "rule priority 10 table main suppress_prefixlength 0\n");
  CHECK(with.way("198.18.0.1", "10.9.0.5", 2) == "lan");
  CHECK(with.way("198.18.0.1", "10.0.0.5", 2) == "lan");
  CHECK(with.way("2001:db8::1", "fd00::5", 2) == "lan");
  CHECK(with.way("10.0.0.5", "198.18.0.1", 2) == "dsl");
  CHECK(with.way("fd00::5", "2001:db8::1", 2) == "dsl");
  CHECK(with.way("10.0.0.5", "198.18.0.1") == "cable");
  const asking_router more(two_uplinks + rules + "rule priority 10 table main suppress_prefixlength 16\n");
  CHECK(more.way("198.18.0.1", "10.9.0.5", 2) == "dsl");
  CHECK(more.way("198.18.0.1", "10.0.0.5", 2) == "lan");
}

TEST_CASE("gateway: what is wrong with a rule or a table has a line and a column") {
  CHECK(read_rules("rule from 10.0.0.0/24 table 7") ==
        "4:29 no route is in this table: route default via ... table NAME");
  CHECK(read_rules("rule from 10.0.0.7/24 table main") ==
        "4:20 a network such as 10.0.0.0/8, the address of a host, or all: a length that cuts off bits of the address");
  CHECK(read_rules("rule from lan table main") ==
        "4:11 expected a network such as 10.0.0.0/8, the address of a host, or all, not \"lan\"");
  CHECK(read_rules("rule from 10.0.0.1 to fd00::1 table main") == "4:6 one rule from one family to the other");
  CHECK(read_rules("rule iif lab table main") == "4:10 expected the name of an interface, not \"lab\"");
  CHECK(read_rules("rule fwmark two table main") == "4:13 expected a number from 0 to 4294967295, not \"two\"");
  CHECK(read_rules("rule fwmark 0x1/0x100000000 table main") ==
        "4:19 expected a number from 1 to 4294967295, not \"100000000\"");
  CHECK(read_rules("rule fwmark 1/0 table main") == "4:15 expected a number from 1 to 4294967295, not \"0\"");
  CHECK(read_rules("rule fwmark 1") ==
        "4:14 expected priority, from, to, fwmark, iif, table, blackhole, unreachable or prohibit, not the end");
  CHECK(read_rules("rule fwmrk 1 table main") ==
        "4:6 expected priority, from, to, fwmark, iif, table, blackhole, unreachable or prohibit, not \"fwmrk\"");
  CHECK(read_rules("rule fwmark 1 iif lan fwmark 2 table main") == "4:23 this is said twice");
  CHECK(read_rules("rule table main priority 4294967296") ==
        "4:26 expected a number from 0 to 4294967295, not \"4294967296\"");
  CHECK(read_rules("rule table main suppress_prefixlength 129") == "4:39 expected a number from 0 to 128, not \"129\"");
  CHECK(read_rules("rule table local") == "4:12 table local is made of the addresses of this host");
  CHECK(read_rules("route default via 203.0.113.1 table 255") ==
        "4:37 table local is made of the addresses of this host");
  CHECK(read_rules("route default via 203.0.113.1 table {") ==
        "4:37 expected the number or the name of a table, not \"{\"");
  std::string many;
  for (int i = 0; i <= 62; ++i) many += "rule fwmark " + std::to_string(i) + " table main\n";
  CHECK(read_rules(many) == "66:6 more than 62 rules");
}

TEST_CASE("gateway: a table of routes is told from one of nft, which begins a line") {
  gateway::configuration c;
  CHECK(read_rules(
            "route default via 203.0.113.1 table ip\ntable ip f { chain c { type filter hook forward priority 0; } }",
            &c) == "ok");
  CHECK(c.routes[0].table == 1);
  CHECK(c.tables[1] == "ip");
  CHECK(c.nft.find("table ip f {") != std::string::npos);
  CHECK(read_rules("route default via 203.0.113.1 # no table\ntable ip f { chain c { counter } }", &c) == "ok");
  CHECK(c.routes[0].table == 0);
  CHECK(c.nft.find("table ip f {") != std::string::npos);
  CHECK(read_rules("route default via 203.0.113.1 mtu 1400 table 254", &c) == "ok");
  CHECK(c.routes[0].table == 0);
  CHECK(c.tables.size() == 1);
}

TEST_CASE("gateway: a reload changes tables and rules, again and again") {
  const asking_router r(two_uplinks + "rule fwmark 2 table dsl\nrule fwmark 3 blackhole\n");
  CHECK(r.way("10.0.0.5", "192.0.2.1", 2) == "dsl");
  for (int times = 0; times < 200; ++times) {  // what was there before is given back
    gateway::configuration next;
    auto rules = loaded(two_uplinks +
                            "route default via 203.0.113.1 weight 2 via 198.51.100.1 table both\n"
                            "rule table main suppress_prefixlength 0\n"
                            "rule fwmark 2 prohibit rule fwmark 3 table dsl rule fwmark 4 table both\n",
                        next);
    REQUIRE(r.now->reload(std::move(next), std::move(rules)) == "");
  }
  CHECK(r.way("10.0.0.5", "192.0.2.1", 2) == "prohibit");
  CHECK(r.way("10.0.0.5", "192.0.2.1", 3) == "dsl");
  CHECK(r.way("10.0.0.5", "192.0.2.1", 1) == "cable");
}
