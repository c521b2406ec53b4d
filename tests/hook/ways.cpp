// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <string>

#include <match/nft.hpp>

#include "asked_table.hpp"
#include "place_of_chains.hpp"
#include "rulesets.hpp"

using namespace runnel;
using namespace runnel::test;

namespace {

constexpr const char* with_ways =
    "table inet filter {\n"
    "\tchain early {\n"
    "\t\ttype filter hook prerouting priority mangle; policy accept;\n"
    "\t\ttcp dport 80 tproxy to :50080 meta mark set 0x1 accept\n"
    "\t\tudp dport 53 tproxy to :5353\n"
    "\t\tudp dport 53 ip daddr 192.0.2.66 drop\n"
    "\t}\n"
    "\n"
    "\tchain forward {\n"
    "\t\ttype filter hook forward priority filter; policy accept;\n"
    "\t\tmeta l4proto tcp reject with tcp reset\n"
    "\t\tudp dport 1 reject\n"
    "\t\tudp dport 2 reject with icmp host-prohibited\n"
    "\t\tudp dport 2 reject with icmpv6 addr-unreachable\n"
    "\t\tudp dport 3 counter packets 0 bytes 0 reject with icmpx admin-prohibited\n"
    "\t}\n"
    "}\n";

// Which way each packet goes, and what is in its scratch word there.
struct place_of_ways {
  counted_pool memory;
  test_device device{memory};
  manual_clock clock;
  std::string went;
  auto says(const char* way) {
    return deliver([this, way](packet p) {
      text<64> out;
      out << way << ' ' << number_of(p) << " 0x";
      out.hex(p.scratch());
      went += (went.empty() ? "" : ", ") + std::string(out.c_str());
    });
  }
  template <class Hook>
  std::string run(Hook hook) {
    went.clear();
    auto path = parse() | std::move(hook)
                              .template on<accepted>(says("accepted"))
                              .template on<refused>(says("refused"))
                              .template on<diverted>(says("diverted"));
    runnel::run(clock, attach(device, path));
    return went;
  }
};

}  // namespace

TEST_CASE("reject and tproxy are printed as they were read, and nft takes them") {
  rules_for_test t;
  const auto rules = load(t, with_ways);
  REQUIRE_MESSAGE(rules, (rules ? "" : rules.error().message()));
  CHECK(printed(t) == with_ways);
  REQUIRE(
      load(t, "table ip t { chain c { type filter hook input priority 0; reject with icmp type net-unreachable; } }"));
  CHECK(printed(t).find("reject with icmp net-unreachable\n") != std::string::npos);
  if (!runnel_test::can_ask_nft()) return;
  std::string said = with_ways;
  // nft wants to know the protocol before a port, which a test of the port tells it.
  CHECK(runnel_test::nft_says(said) == "");
}

TEST_CASE("what a rule table rejects or diverts goes its own way, with what was said about it") {
  place_of_ways t;
  rules_for_test rules;
  REQUIRE(load(rules, with_ways));
  rule_table_slot live{rules};
  t.device.tcp(1);
  t.device.udp(2, 1);
  t.device.udp(3, 2);
  t.device.udp(4, 3);
  t.device.udp(5, 4);
  t.device.put(6, 18, {}, eth, ipv6_header{.source = {1, 1}, .destination = {1, 2}},
               udp_header{.source_port = 1, .destination_port = 2});
  CHECK(t.run(hook<hook_point::forward>(live)) ==
        "accepted 5 0x0, refused 1 0xffffffff, refused 2 0x3030000, refused 3 0x30a0000, refused 4 0x30d0000, "
        "refused 6 0x1030000");
  t.device.tcp(1, 80);
  t.device.udp(2, 53);
  t.device.udp(3, 54);
  t.device.put(4, 18, {}, eth, ipv4_header{.source = {10, 0, 0, 1}, .destination = {192, 0, 2, 66}},
               udp_header{.source_port = 1, .destination_port = 53});  // dropped all the same
  CHECK(t.run(hook<prerouting>(live)) == "accepted 3 0x0, diverted 1 0xc3a0, diverted 2 0x14e9");
}

TEST_CASE("without ways what is rejected or diverted is dropped, and counted as such") {
  place_of_chains t;
  rules_for_test rules;
  REQUIRE(load(rules, with_ways));
  rule_table_slot live{rules};
  t.device.tcp(1);
  t.device.udp(2, 9);
  stage_counters c = t.run(hook<hook_point::forward>(live));
  CHECK(t.passed == "2");
  CHECK(c.dropped(drop_reason::rejected) == 1);
  t.device.tcp(1, 80);
  c = t.run(hook<prerouting>(live));
  CHECK(t.passed == "");
  CHECK(c.dropped(drop_reason::no_target) == 1);
}

TEST_CASE("rules known at compile time refuse and divert as well") {
  constexpr auto policy =
      rules(when(tcp::dport == 80) >> divert(50080), when(has<tcp>) >> refuse_with_reset(),
            when(udp::dport == 1) >> set_mark(1) >> refuse(), when(udp::dport == 2) >> refuse({3, 13}, {}),
            when(udp::dport == 3) >> drop(drop_reason::rejected));
  place_of_ways t;
  const auto put = [&t] {
    t.device.tcp(1, 80);
    t.device.tcp(2, 81);
    t.device.udp(3, 1);
    t.device.udp(4, 2);
    t.device.udp(5, 3);  // a drop as any other
    t.device.put(6, 18, {}, eth, ipv6_header{.source = {1, 1}, .destination = {1, 2}},
                 udp_header{.source_port = 1, .destination_port = 2});
  };
  constexpr const char* all =
      "accepted 6 0x0, refused 2 0xffffffff, refused 3 0x3030000, refused 4 0x30d0000, diverted 1 0xc3a0";
  put();
  CHECK(t.run(chain<hook_point::forward>(policy)) == all);
  put();
  CHECK(t.run(hook(chain<hook_point::forward, 5>(policy), chain<hook_point::forward, 6>(rules(otherwise >> accept)))) ==
        all);
}

TEST_CASE("later fragments of TCP do not get by a reset") {
  place_of_ways t;
  rules_for_test rules;
  REQUIRE(load(rules,
               "table inet t { chain c { type filter hook forward priority 0; policy accept;\n"
               "reject with tcp reset\n } }"));
  rule_table_slot live{rules};
  const auto put = [&] {
    ipv4_header part{.source = {10, 0, 0, 1}, .destination = {192, 0, 2, 1}, .fragment_offset = 16, .protocol = 6};
    t.device.put(1, 16, {}, eth, part);
    part.protocol = 17;
    t.device.put(2, 16, {}, eth, part);
  };
  put();
  CHECK(t.run(hook<hook_point::forward>(live)) == "accepted 2 0x0, refused 1 0xffffffff");
  constexpr auto policy = runnel::rules(otherwise >> refuse_with_reset());
  put();
  CHECK(t.run(chain<hook_point::forward>(policy)) == "accepted 2 0x0, refused 1 0xffffffff");
}

TEST_CASE("what stands before a reject is done only to what it can refuse") {
  constexpr const char* const marks =
      "table inet filter {\n"
      "\tchain c {\n"
      "\t\ttype filter hook forward priority filter; policy accept;\n"
      "\t\tmeta mark set 0x1 counter packets 0 bytes 0 reject with tcp reset\n"
      "\t\tmeta mark set 0x2 limit rate 1/week burst 1 packets reject with icmpv6 no-route\n"
      "\t\tmeta mark 0x0 counter packets 0 bytes 0 reject with icmpx no-route\n"
      "\t}\n"
      "}\n";
  place_of_ways t;
  rules_for_test rules;
  REQUIRE(load(rules, marks));
  CHECK(printed(rules) == marks);
  rule_table_slot live{rules};
  t.device.udp(1, 1);
  CHECK(t.run(hook<hook_point::forward>(live)) == "refused 1 0x3000000");
  t.device.tcp(2);
  CHECK(t.run(hook<hook_point::forward>(live)) == "refused 2 0xffffffff");
  t.device.udp6(3);
  t.device.udp6(4);
  CHECK(t.run(hook<hook_point::forward>(live)) == "accepted 4 0x0, refused 3 0x1000000");
  const std::string said = printed(rules);
  CHECK(said.find("mark set 0x1 counter packets 1 bytes 72 reject with tcp") != std::string::npos);
  CHECK(said.find("0x0 counter packets 1 bytes 60 reject with icmpx") != std::string::npos);
}

TEST_CASE("rules known at compile time do what stands before a refusal only to what it can refuse, too") {
  rule_counter seen[2];
  const auto policy = rules(otherwise >> set_mark(1) >> count(seen[0]) >> refuse_with_reset(),
                            otherwise >> count(seen[1]) >> set_mark(2) >> refuse({}, {1, 0}),
                            when(meta::mark == 0) >> refuse({3, 13}, {}));
  place_of_ways t;
  t.device.udp(1);
  t.device.tcp(2);
  t.device.udp6(3);
  CHECK(t.run(chain<hook_point::forward>(policy)) == "refused 1 0x30d0000, refused 2 0xffffffff, refused 3 0x1000000");
  CHECK(seen[0].packets == 1);
  CHECK(seen[1].packets == 1);
}

TEST_CASE("what is wrong with reject and tproxy is said") {
  const auto says = [](const std::string& family, const std::string& head, const std::string& rule) {
    return why_not(("table " + family + " t {\n chain c {\n  type " + head + "\n  " + rule + "\n }\n}").c_str());
  };
  const char* const input = "filter hook input priority 0";
  CHECK(says("ip", input, "reject with icmpv6 no-route") ==
        "rules: line 4, column 15: expected tcp reset, icmp or icmpx, not \"icmpv6\"");
  CHECK(says("inet", input, "reject with icmp no-route") ==
        "rules: line 4, column 20: expected reset behind tcp, or a code such as port-unreachable or admin-prohibited, "
        "not \"no-route\"");
  CHECK(says("ip", input, "reject accept") == "rules: line 4, column 10: expected the end of the rule, not \"accept\"");
  CHECK(says("ip", "filter hook postrouting priority 0", "reject") ==
        "rules: line 2, column 8: reject is for chains of type filter, but not at the hook postrouting");
  CHECK(says("ip", "nat hook prerouting priority 0", "reject").find("reject is for chains of type filter") !=
        std::string::npos);
  CHECK(says("ip", input, "tproxy to :80 accept") ==
        "rules: line 2, column 8: tproxy is for chains of type filter at the hook prerouting");
  CHECK(says("ip", "filter hook prerouting priority 0", "tproxy to :0") ==
        "rules: line 4, column 14: a port is 1 or above");
  CHECK(says("ip", "filter hook prerouting priority 0", "tproxy to 80") ==
        "rules: line 4, column 13: expected \":\" and the port of a local handler, not \"80\"");
}
