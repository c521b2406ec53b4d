// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <string>

#include <match/nft.hpp>

#include "asked_table.hpp"
#include "rulesets.hpp"

using namespace runnel;
using namespace runnel::test;

namespace {

// As `nft list ruleset` prints it.
constexpr const char* with_translations =
    "table ip nat {\n"
    "\tmap services {\n"
    "\t\ttype inet_service : ipv4_addr . inet_service\n"
    "\t\telements = { 80 : 10.0.0.1 . 8080, 443 : 10.0.0.2 . 8443 }\n"
    "\t}\n"
    "\n"
    "\tmap hosts {\n"
    "\t\ttype ipv4_addr : ipv4_addr\n"
    "\t\tflags interval\n"
    "\t\telements = { 192.0.2.0/28 : 10.0.0.3, 192.0.2.99 : 10.0.0.4 }\n"
    "\t}\n"
    "\n"
    "\tchain prerouting {\n"
    "\t\ttype nat hook prerouting priority dstnat; policy accept;\n"
    "\t\ttcp dport 80 dnat to 10.0.0.1\n"
    "\t\ttcp dport 81 counter packets 0 bytes 0 dnat to 10.0.0.1:8080\n"
    "\t\ttcp dport 82 dnat to 10.0.0.1-10.0.0.9:1000-2000 random\n"
    "\t\tudp dport 53 redirect to :5353\n"
    "\t\tdnat to ip daddr map @hosts\n"
    "\t\tdnat ip to udp dport map @services\n"
    "\t\tdnat to tcp dport map { 22 : 10.0.0.5, 25 : 10.0.0.6 } persistent\n"
    "\t\tdnat ip to tcp dport map { 110 : 10.0.0.7 . 1100, 143 : 10.0.0.8 . 1430 }\n"
    "\t\tdnat ip prefix to ip daddr map { 192.0.2.0/24 : 10.1.0.0/24, 198.51.100.0/25 : 10.2.0.128/25 }\n"
    "\t}\n"
    "\n"
    "\tchain postrouting {\n"
    "\t\ttype nat hook postrouting priority srcnat; policy accept;\n"
    "\t\tip saddr 10.0.0.9 snat to 203.0.113.1\n"
    "\t\tip saddr 10.0.0.8 snat to 203.0.113.1-203.0.113.9 persistent\n"
    "\t\tip saddr 10.3.0.0/16 meta l4proto tcp snat to 203.0.113.2:1024-65535 random,persistent\n"
    "\t\tip saddr 10.4.0.0/16 jump outside\n"
    "\t\tip saddr 10.5.0.0/16 snat prefix to 203.0.113.0/24\n"
    "\t\tip saddr 10.6.0.0/16 drop\n"
    "\t\tmeta l4proto udp masquerade to :1024-65535 fully-random\n"
    "\t}\n"
    "\n"
    "\tchain outside {\n"
    "\t\tmasquerade random,fully-random,persistent\n"
    "\t}\n"
    "}\n"
    "table inet both {\n"
    "\tchain prerouting {\n"
    "\t\ttype nat hook prerouting priority -90; policy accept;\n"
    "\t\ttcp dport 90 dnat ip to 10.0.0.20\n"
    "\t\ttcp dport 90 dnat ip6 to [2001:db8::20]:9090\n"
    "\t\tdnat ip6 to tcp dport map { 91 : 2001:db8::21 }\n"
    "\t}\n"
    "}\n"
    "table ip6 six {\n"
    "\tchain output {\n"
    "\t\ttype nat hook output priority -100; policy accept;\n"
    "\t\ttcp dport 80 dnat to 2001:db8::1-2001:db8::9\n"
    "\t\ttcp dport 81 dnat to [2001:db8::1]-[2001:db8::9]:80\n"
    "\t\tredirect\n"
    "\t}\n"
    "}\n";

// What the rules of a hook say about a packet: a statement, "nothing" or "drop".
std::string translation(asked_table& t, hook_point hook, packet p) {
  const nat_target* to = nullptr;
  const verdict v = t.rules->translation(hook, p, t.at, nullptr, to);
  if (v != accept) return "drop";
  if (to == nullptr) return "nothing";
  text<128> out;
  print(out, *to);
  return out.c_str();
}
std::string why_no_chain(const std::string& head, const std::string& rule) {
  return why_not(("table inet t {\n chain c {\n  " + head + "\n  " + rule + "\n }\n}").c_str());
}

}  // namespace

TEST_CASE("translations are printed as they were read, and nft takes them") {
  rules_for_test t;
  const auto rules = load(t, with_translations);
  REQUIRE_MESSAGE(rules, (rules ? "" : rules.error().message()));
  CHECK(printed(t) == with_translations);
  if (!runnel_test::can_ask_nft()) return;
  CHECK(runnel_test::nft_says(with_translations) == "");
}

TEST_CASE("rules and maps say what is translated") {
  asked_table t(with_translations);
  const ipv4_address a{9, 9, 9, 9};
  const auto before = [&](packet p) { return translation(t, prerouting, std::move(p)); };
  const auto behind = [&](packet p) { return translation(t, postrouting, std::move(p)); };
  CHECK(before(t.tcp(a, 80)) == "dnat to 10.0.0.1");
  CHECK(before(t.tcp(a, 81)) == "dnat to 10.0.0.1:8080");
  CHECK(printed(t.rules).find("counter packets 1 bytes 58 dnat to 10.0.0.1:8080") != std::string::npos);
  CHECK(before(t.tcp(a, 82)) == "dnat to 10.0.0.1-10.0.0.9:1000-2000 random");
  CHECK(before(t.udp(a, 53)) == "redirect to :5353");
  CHECK(before(t.tcp(a, 7, {192, 0, 2, 5})) == "dnat to 10.0.0.3");
  CHECK(before(t.tcp(a, 7, {192, 0, 2, 99})) == "dnat to 10.0.0.4");
  CHECK(before(t.udp(a, 443, {1, 2, 3, 4})) == "dnat to 10.0.0.2:8443");
  CHECK(before(t.tcp(a, 25, {1, 2, 3, 4})) == "dnat to 10.0.0.6 persistent");
  CHECK(before(t.tcp(a, 143, {1, 2, 3, 4})) == "dnat to 10.0.0.8:1430");
  CHECK(before(t.tcp(a, 7, {192, 0, 2, 16})) == "dnat prefix to 10.1.0.0/24");
  CHECK(before(t.tcp(a, 7, {198, 51, 100, 9})) == "dnat prefix to 10.2.0.128/25");
  CHECK(before(t.tcp(a, 7, {198, 51, 100, 129})) == "nothing");
  CHECK(before(t.tcp(a, 90, {1, 2, 3, 4})) == "dnat to 10.0.0.20");
  const auto tcp6 = [&t](std::uint16_t port) {
    return t.make(eth, ipv6_header{.source = {1, 1}, .destination = {1, 2}},
                  tcp_header{.source_port = 1, .destination_port = port});
  };
  CHECK(before(tcp6(90)) == "dnat to [2001:db8::20]:9090");
  CHECK(before(tcp6(91)) == "dnat to 2001:db8::21");
  CHECK(before(tcp6(80)) == "nothing");
  CHECK(translation(t, hook_point::output, tcp6(80)) == "dnat to 2001:db8::1-2001:db8::9");
  CHECK(translation(t, hook_point::output, tcp6(9)) == "redirect");
  CHECK(translation(t, hook_point::input, t.tcp(a, 80)) == "nothing");
  CHECK(behind(t.tcp({10, 0, 0, 9})) == "snat to 203.0.113.1");
  CHECK(behind(t.tcp({10, 3, 0, 9})) == "snat to 203.0.113.2:1024-65535 random,persistent");
  CHECK(behind(t.tcp({10, 4, 0, 9})) == "masquerade random,fully-random,persistent");
  CHECK(behind(t.tcp({10, 5, 0, 9})) == "snat prefix to 203.0.113.0/24");
  CHECK(behind(t.tcp({10, 6, 0, 9})) == "drop");
  CHECK(behind(t.tcp({10, 7, 0, 9})) == "nothing");
  CHECK(behind(t.udp({10, 7, 0, 9})) == "masquerade to :1024-65535 fully-random");
  // Filters do not see these chains.
  packet p = t.tcp({10, 6, 0, 9});
  CHECK(t.rules->run(postrouting, p, t.at) == accept);
}

TEST_CASE("what is wrong with translations is said") {
  const char* const before = "type nat hook prerouting priority dstnat";
  const char* const behind = "type nat hook postrouting priority srcnat";
  CHECK(why_no_chain(behind, "snat ip to 10.0.0.1") == "");
  CHECK(why_no_chain(behind, "snat to 10.0.0.1") ==
        "rules: line 4, column 8: which addresses: snat ip to, dnat ip6 to, in a table of both families");
  CHECK(why_no_chain(behind, "snat ip to 10.0.0.1:0") == "rules: line 4, column 23: a port is 1 or above");
  CHECK(why_no_chain(behind, "snat ip to 10.0.0.1:70000") ==
        "rules: line 4, column 23: expected a port from 1 to 65535, not \"70000\"");
  CHECK(why_no_chain(behind, "snat ip to 10.0.0.9-10.0.0.1") ==
        "rules: line 4, column 14: the first value of this range is above its last");
  CHECK(why_no_chain(behind, "snat ip prefix to 10.0.0.1/8") ==
        "rules: line 4, column 21: a length that cuts off bits of the address");
  CHECK(why_no_chain(behind, "snat ip to 0.0.0.0") == "rules: line 4, column 14: an address that is not zero");
  CHECK(why_no_chain(behind, "snat ip to 10.0.0.1 randomly") ==
        "rules: line 4, column 23: expected the end of the rule, not \"randomly\"");
  CHECK(why_no_chain(behind, "masquerade to 10.0.0.1") ==
        "rules: line 4, column 17: expected \":\" and a port: the address is that of the interface, not \"10.0.0.1\"");
  CHECK(why_no_chain(before, "dnat ip to tcp dport map { 80 : 10.0.0.1, 81 : 10.0.0.1 . 80 }") ==
        "rules: line 4, column 59: expected \",\" or \"}\", not \".\"");
  CHECK(why_no_chain(before, "snat ip to 10.0.0.1") ==
        "rules: line 2, column 8: snat and masquerade are for the hooks postrouting and input");
  CHECK(why_no_chain(behind, "redirect to :80") ==
        "rules: line 2, column 8: dnat and redirect are for the hooks prerouting and output");
  CHECK(why_no_chain("type filter hook postrouting priority 0", "masquerade").find("chains of type nat") !=
        std::string::npos);
  CHECK(why_no_chain("type nat hook forward priority 0", "accept") ==
        "rules: line 3, column 17: no address is translated at the hook forward");
  CHECK(why_not("table ip t { chain a { masquerade\n }\n chain b { type filter hook input priority 0\n jump a\n } }")
            .find("or jumped to from there") != std::string::npos);
  CHECK(why_not("table ip t { chain a { snat ip6 to ::1\n } }") ==
        "rules: line 1, column 29: an address of the other family than the table");
}
