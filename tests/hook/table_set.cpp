// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <cstdint>
#include <string>

#include <match/nft.hpp>

#include "place_of_chains.hpp"
#include "asked_table.hpp"

using namespace runnel;
using namespace runnel::test;

namespace {

constexpr hook_point input = hook_point::input;

// As `nft list ruleset` prints it, long lines aside.
constexpr const char* with_sets =
    "table inet filter {\n"
    "\tset blocklist {\n"
    "\t\ttype ipv4_addr\n"
    "\t\tflags interval\n"
    "\t\telements = { 0.0.0.0/8, 10.0.0.1, 192.0.2.0/28, 198.51.100.1-198.51.100.9, 240.0.0.0/4 }\n"
    "\t}\n"
    "\n"
    "\tset blocklist6 {\n"
    "\t\ttype ipv6_addr\n"
    "\t\tflags interval\n"
    "\t\telements = { ::/16, 2001:db8::1, 2001:db8:1::/48, 2001:db8:2::-2001:db8:2::9 }\n"
    "\t}\n"
    "\n"
    "\tset ports {\n"
    "\t\ttype inet_service\n"
    "\t\tflags interval\n"
    "\t\telements = { 22, 80-90, 65535 }\n"
    "\t}\n"
    "\n"
    "\tset cards {\n"
    "\t\ttype ether_addr\n"
    "\t\telements = { 02:00:00:00:00:01, 02:00:00:00:00:02 }\n"
    "\t}\n"
    "\n"
    "\tset none {\n"
    "\t\ttype mark\n"
    "\t}\n"
    "\n"
    "\tchain input {\n"
    "\t\ttype filter hook input priority filter; policy accept;\n"
    "\t\tip saddr @blocklist drop\n"
    "\t\tip6 saddr @blocklist6 drop\n"
    "\t\ttcp dport @ports drop\n"
    "\t\tmeta mark @none drop\n"
    "\t}\n"
    "}\n";

}  // namespace

TEST_CASE("sets are printed as they were read, and nft takes them") {
  rules_for_test t;
  const auto rules = load(t, with_sets);
  REQUIRE_MESSAGE(rules, (rules ? "" : rules.error().message()));
  CHECK(printed(t) == with_sets);
  if (!runnel_test::can_ask_nft()) return;
  CHECK(runnel_test::nft_says(with_sets) == "");
}

TEST_CASE("a set holds exactly its values, ranges and prefixes") {
  place_of_chains t;
  rules_for_test rules;
  REQUIRE(load(rules, with_sets));
  rule_table_slot slot{rules};
  const auto passes = [&](ipv4_address from, std::uint16_t port) {
    t.device.put(1, 4, {}, eth, ipv4_header{.source = from, .destination = {192, 0, 2, 1}},
                 tcp_header{.source_port = 1, .destination_port = port});
    t.run(hook<input>(slot));
    return t.passed.count() == 1;
  };
  for (const ipv4_address a : {ipv4_address{0, 0, 0, 0}, ipv4_address{0, 255, 255, 255}, ipv4_address{10, 0, 0, 1},
                               ipv4_address{192, 0, 2, 0}, ipv4_address{192, 0, 2, 15}, ipv4_address{198, 51, 100, 1},
                               ipv4_address{198, 51, 100, 9}, ipv4_address{255, 255, 255, 255}})
    CHECK_FALSE(passes(a, 1));
  for (const ipv4_address a :
       {ipv4_address{1, 0, 0, 0}, ipv4_address{10, 0, 0, 0}, ipv4_address{10, 0, 0, 2}, ipv4_address{192, 0, 2, 16},
        ipv4_address{198, 51, 100, 0}, ipv4_address{198, 51, 100, 10}, ipv4_address{239, 255, 255, 255}})
    CHECK(passes(a, 1));
  for (const unsigned port : {22u, 80u, 85u, 90u, 65535u})
    CHECK_FALSE(passes(ipv4_address{9, 9, 9, 9}, static_cast<std::uint16_t>(port)));
  for (const unsigned port : {21u, 23u, 79u, 91u, 65534u})
    CHECK(passes(ipv4_address{9, 9, 9, 9}, static_cast<std::uint16_t>(port)));
  const auto passes6 = [&](const ipv6_address& from) {
    t.device.put(1, 4, {}, eth, ipv6_header{.source = from, .destination = {1, 1}},
                 udp_header{.source_port = 1, .destination_port = 22});
    t.run(hook<input>(slot));
    return t.passed.count() == 1;
  };
  CHECK_FALSE(passes6({0x2001'0db8'0000'0000, 1}));
  CHECK_FALSE(passes6({0x2001'0db8'0001'ffff, ~std::uint64_t{0}}));
  CHECK_FALSE(passes6({0x2001'0db8'0002'0000, 9}));
  CHECK(passes6({0x2001'0db8'0000'0000, 2}));
  CHECK(passes6({0x2001'0db8'0002'0000, 10}));
}

TEST_CASE("ten thousand elements are found as ten are") {
  static static_rule_table<rule_table_config{.elements = 10000}> large;
  std::string said = "table ip t { set s { type ipv4_addr; elements = { ";
  // In no order; every third address.
  for (std::uint32_t i = 0; i < 10000; ++i) {
    text<32> a;
    print(a, ipv4_address{0x0a00'0000u + i * 7919u % 10000u * 3u});
    said += a.c_str();
    said += ", ";
  }
  said += "} }\n chain c { type filter hook input priority 0\n ip saddr @s drop\n } }";
  REQUIRE(load(large, said.c_str()));
  place_of_chains t;
  rule_table_slot slot{large};
  unsigned wrong = 0;
  for (std::uint32_t i = 0; i < 30010; i += 7) {
    t.device.put(1, 4, {}, eth, ipv4_header{.source = ipv4_address{0x0a00'0000u + i}, .destination = {192, 0, 2, 1}},
                 udp_header{.source_port = 1, .destination_port = 22});
    t.run(hook<input>(slot));
    const bool listed = i % 3 == 0 && i < 30000;
    if ((t.passed.count() == 0) != listed) ++wrong;
  }
  CHECK(wrong == 0);
}

TEST_CASE("a range of marks may be written with a length, as nft lists it") {
  asked_table t(table_of("set m { type mark; flags interval; elements = { 5, 0x10/28 }; }",
                         "udp dport 1 meta mark set 0x1f\nudp dport 2 meta mark set 0x20\nudp dport 3 meta mark set 5\n"
                         "meta mark != @m drop\nmeta mark vmap { 0x1e/31 : accept, 0/29 : drop }"));
  CHECK(t.ask({10, 0, 0, 1}, 1) == "31");
  CHECK(t.ask({10, 0, 0, 1}, 2) == "drop");
  CHECK(t.ask({10, 0, 0, 1}, 3) == "drop");
}
TEST_CASE("what is wrong with a set is said") {
  const auto set = [](const std::string& said) {
    return why_not(("table ip t {\n set s {\n  " + said + "\n }\n chain c { ip saddr @s drop\n }\n}").c_str());
  };
  CHECK(set("type ipv4_addr\n flags interval\n elements = { 10.0.0.0/8, 10.0.0.0/8, 11.0.0.1, }") == "");
  CHECK(set("type ipv4_addr\n flags interval\n elements = { 10.0.0.0/8, 10.0.0.1 }") ==
        "rules: line 2, column 6: elements of this set overlap: say auto-merge");
  CHECK(set("type ipv4_addr\n flags interval\n auto-merge\n elements = { 10.0.0.0/8, 10.0.0.1 }") == "");
  CHECK(set("type ipv4_addr\n elements = { 10.0.0.0/8 }") ==
        "rules: line 4, column 15: ranges and prefixes need flags interval before them");
  CHECK(set("type ipv4_addr\n flags interval\n elements = { 10.0.0.1/8 }") ==
        "rules: line 5, column 15: a length that cuts off bits of the address");
  CHECK(set("type ipv4_addr\n flags interval\n elements = { 10.0.0.9-10.0.0.1 }") ==
        "rules: line 5, column 15: the first value of this range is above its last");
  CHECK(set("type ipv4_address") ==
        "rules: line 3, column 8: expected one of ipv4_addr, ipv6_addr, ether_addr, inet_service, inet_proto, mark, "
        "ct_state, icmp_type, icmpv6_type, dscp, ether_type, not \"ipv4_address\"");
  CHECK(set("elements = { 1 }") ==
        "rules: line 3, column 3: expected type, flags, size, timeout, counter or auto-merge, not \"elements\"");
  CHECK(set("flags interval") == "rules: line 2, column 6: a set needs a type, such as type ipv4_addr");
  CHECK(set("type ipv4_addr\n gc-interval 1h") ==
        "rules: line 4, column 2: expected flags, size, timeout, counter, auto-merge, elements or \"}\", not "
        "\"gc-interval\"");
  CHECK(set("type ipv4_addr\n elements = { 10.0.0.1 timeout 1h }") ==
        "rules: line 4, column 24: times of elements need flags timeout before them");
  CHECK(set("type ipv4_addr\n timeout 1h30") ==
        "rules: line 4, column 10: expected a time, such as 1h30m, up to 10000d, "
        "not \"1h30\"");
  CHECK(set("type ipv4_addr\n flags timeout\n elements = { 10.0.0.1 timeout 0s }") ==
        "rules: line 5, column 24: a time above 0");
  CHECK(set("type ipv4_addr\n elements = { 10.0.0.1 counter }") ==
        "rules: line 4, column 24: counters of elements need counter before them");
  CHECK(set("type ipv4_addr\n flags dynamic") == "rules: line 2, column 6: a set that packets add to needs a size");
  CHECK(set("type ipv4_addr\n flags dynamic,interval\n size 5") ==
        "rules: line 2, column 6: packets add no ranges: flags dynamic or interval");
  CHECK(set("type ipv4_addr\n size 1\n elements = { 10.0.0.1, 10.0.0.2 }") ==
        "rules: line 2, column 6: this set has more elements than its size");
  CHECK(set("type ipv4_addr\n flags dynamic\n size 257").find("rule_table_config::elements") != std::string::npos);
  CHECK(set("type ipv4_addr\n size 0") == "rules: line 4, column 7: a size of at least 1");
  CHECK(set("type inet_service\n elements = { 1 }") ==
        "rules: line 6, column 22: this set holds values of another kind");
  CHECK(set("type ipv4_addr\n }\n set s {").find("a set or map of this name is there already") != std::string::npos);
  // A set belongs to its table.
  CHECK(why_not("table ip a { set s { type ipv4_addr; }; }\ntable ip b { chain c { ip saddr @s drop\n } }") != "");
  CHECK(why_not("table ip a { set s { type ipv4_addr; }; }\ntable ip b { set s { type mark; }; }\n"
                "table ip a { chain c { ip saddr @s drop\n } }") == "");
}

TEST_CASE("a set or map has one type: what its elements lead to cannot change behind them") {
  CHECK(why_not("table ip t { set s { type ipv4_addr; elements = { 10.0.0.1 } type ipv6_addr } }") != "");
  CHECK(why_not("table ip t {\n"
                "map m { type inet_service : verdict; elements = { 80 : jump b } type inet_service : ipv4_addr }\n"
                "chain b { counter }\n"
                "chain c { type nat hook prerouting priority 0; dnat to tcp dport map @m } }") != "");
}
