// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <vector>

#include <match/nft.hpp>

#include "asked_table.hpp"
#include "rulesets.hpp"

using namespace runnel;
using namespace runnel::test;

namespace {

// As `nft list ruleset` prints it, marks aside.
constexpr const char* with_maps =
    "table inet filter {\n"
    "\tmap ports {\n"
    "\t\ttype inet_service : verdict\n"
    "\t\tflags interval\n"
    "\t\telements = { 22 : accept, 80 : goto web, 1000-2000 : jump web }\n"
    "\t}\n"
    "\n"
    "\tmap friends {\n"
    "\t\ttype ipv4_addr : verdict\n"
    "\t\tsize 100\n"
    "\t\tflags timeout\n"
    "\t\tcounter\n"
    "\t\telements = { 10.0.0.1 counter packets 1 bytes 2 timeout 1h30m expires 1h : drop, "
    "10.0.0.2 counter packets 0 bytes 0 : continue }\n"
    "\t}\n"
    "\n"
    "\tmap marks {\n"
    "\t\ttype ipv6_addr : mark\n"
    "\t\telements = { 2001:db8::1 : 0x5, 2001:db8::2 : 0x6 }\n"
    "\t}\n"
    "\n"
    "\tset subnets {\n"
    "\t\ttype ipv4_addr\n"
    "\t\tflags interval\n"
    "\t\tcounter\n"
    "\t\ttimeout 2h\n"
    "\t\telements = { 10.0.0.0/8 counter packets 0 bytes 0 timeout 5m, 11.0.0.1 counter packets 3 bytes 4 }\n"
    "\t}\n"
    "\n"
    "\tset seen {\n"
    "\t\ttype ipv4_addr\n"
    "\t\tsize 128\n"
    "\t\tflags dynamic\n"
    "\t\ttimeout 1m\n"
    "\t}\n"
    "\n"
    "\tset fast {\n"
    "\t\ttype ipv4_addr\n"
    "\t\tsize 16\n"
    "\t\tflags dynamic,timeout\n"
    "\t}\n"
    "\n"
    "\tchain web {\n"
    "\t\taccept\n"
    "\t}\n"
    "\n"
    "\tchain input {\n"
    "\t\ttype filter hook input priority filter; policy accept;\n"
    "\t\tct state vmap { established : accept, related : accept, invalid : drop }\n"
    "\t\ttcp dport vmap @ports\n"
    "\t\tip saddr 10.0.0.0/8 ip saddr vmap @friends\n"
    "\t\tip saddr & 255.255.255.0 vmap { 10.0.0.0 : accept, 10.0.1.0 : jump web, 10.0.2.0 : return }\n"
    "\t\tmeta l4proto { tcp, udp } th dport vmap { 1-5 : drop, 53 : accept }\n"
    "\t\tip saddr @subnets meta mark set 0x1\n"
    "\t\tmeta mark set ip6 saddr map @marks\n"
    "\t\tmeta mark set tcp dport map { 22 : 0x1, 80 : 0x2 }\n"
    "\t\tct mark set 0x5\n"
    "\t\tmeta mark set ct mark\n"
    "\t\tct mark set meta mark\n"
    "\t\ttcp dport 22 add @seen { ip saddr }\n"
    "\t\tupdate @seen { ip saddr timeout 30s }\n"
    "\t\tdelete @seen { ip daddr }\n"
    "\t\tadd @fast { ip saddr timeout 1m limit rate over 10/second burst 5 packets } drop\n"
    "\t\ticmp type vmap { 8 : accept }\n"
    "\t\tip6 saddr vmap { ::1-::5 : accept, 2001:db8::/32 : drop }\n"
    "\t\tcontinue\n"
    "\t}\n"
    "}\n";

}  // namespace

TEST_CASE("maps and changing sets are printed as they were read, and nft takes them") {
  rules_for_test t;
  const auto rules = load(t, with_maps);
  REQUIRE_MESSAGE(rules, (rules ? "" : rules.error().message()));
  CHECK(printed(t) == with_maps);
  if (!runnel_test::can_ask_nft()) return;
  CHECK(runnel_test::nft_says(with_maps) == "");
}

TEST_CASE("a list of ranges and values is printed as one, whatever its rule does") {
  const std::string said =
      "table inet t {\n"
      "\tchain c {\n"
      "\t\tip saddr { 10.0.0.0/8, 192.0.2.1-192.0.2.9, 198.51.100.7 } tcp dport { 80-90, 22, 443 } counter packets 0 "
      "bytes 0 accept\n"
      "\t\tmeta l4proto { tcp, udp } th dport { 1-5, 7-8 } meta mark set 0x1\n"
      "\t\tip6 saddr { ::1-::5, fe80::/10 } drop\n"
      "\t}\n"
      "}\n";
  rules_for_test t;
  const auto rules = load(t, said.c_str());
  REQUIRE_MESSAGE(rules, (rules ? "" : rules.error().message()));
  CHECK(printed(t) == said);
  if (!runnel_test::can_ask_nft()) return;
  CHECK(runnel_test::nft_says(said) == "");
}

TEST_CASE("the ends of ranges are printed as numbers, for nft knows no names there") {
  const std::string said =
      "table inet t {\n"
      "\tset p {\n"
      "\t\ttype inet_proto\n"
      "\t\tflags interval\n"
      "\t\telements = { icmp, 6-17 }\n"
      "\t}\n"
      "\n"
      "\tchain c {\n"
      "\t\tip protocol 6-226 accept\n"
      "\t\tether type 0x86dd-0x88a8 accept\n"
      "\t\tmeta protocol != 0x800-0x806 accept\n"
      "\t\tmeta nfproto 2-10 accept\n"
      "\t\ttcp flags 0x2-0x12 accept\n"
      "\t\tct status 0x2-0x4 accept\n"
      "\t\tct direction 0-1 accept\n"
      "\t\tmeta l4proto vmap { tcp : accept, 17-58 : drop }\n"
      "\t}\n"
      "}\n";
  rules_for_test t;
  const auto rules = load(t, said.c_str());
  REQUIRE_MESSAGE(rules, (rules ? "" : rules.error().message()));
  CHECK(printed(t) == said);
  if (!runnel_test::can_ask_nft()) return;
  CHECK(runnel_test::nft_says(said) == "");
}

TEST_CASE("a verdict map decides, jumps, goes on, or says nothing") {
  asked_table t(
      table_of("chain five { meta mark set 5\n }\n chain six { meta mark set 6 accept\n }\n"
               "map m { type inet_service : verdict; flags interval\n elements = { 1 : drop, 2 : accept, "
               "3 : jump five, 4 : goto five, 5 : jump six, 6 : return, 7-9 : continue } }",
               "udp dport vmap @m\nmeta mark 0 meta mark set 1 accept\nmeta mark set 9"));
  const ipv4_address a{10, 0, 0, 1};
  CHECK(t.ask(a, 1) == "drop");
  CHECK(t.ask(a, 2) == "0");
  CHECK(t.ask(a, 3) == "9");
  CHECK(t.ask(a, 4) == "5");
  CHECK(t.ask(a, 5) == "6");
  CHECK(t.ask(a, 6) == "0");
  CHECK(t.ask(a, 7) == "1");
  CHECK(t.ask(a, 10) == "1");
}

TEST_CASE("elements end when their time is over, which begins with the first packet") {
  asked_table t(
      table_of("set s { type ipv4_addr; flags timeout; elements = { 10.0.0.1 timeout 10s, 10.0.0.2, "
               "10.0.0.3 timeout 1h expires 5s } }\n"
               "map m { type ipv4_addr : verdict; flags interval; timeout 20s; elements = { 10.1.0.0/16 : "
               "drop, 10.2.0.1-10.2.0.9 timeout 7s : drop } }",
               "ip saddr @s drop\nip saddr vmap @m"));
  const auto dropped = [&t] {
    std::string all;
    for (const ipv4_address a : {ipv4_address{10, 0, 0, 1}, ipv4_address{10, 0, 0, 2}, ipv4_address{10, 0, 0, 3},
                                 ipv4_address{10, 1, 9, 9}, ipv4_address{10, 2, 0, 5}, ipv4_address{10, 2, 0, 10}})
      all += t.ask(a) == "drop" ? 'x' : '-';
    return all;
  };
  CHECK(dropped() == "xxxxx-");
  t.now(1004);
  CHECK(dropped() == "xxxxx-");
  CHECK(printed(t.rules).find("10.0.0.1 timeout 10s expires 6s, 10.0.0.2, 10.0.0.3 timeout 1h expires 1s") !=
        std::string::npos);
  t.now(1005);
  CHECK(dropped() == "xx-xx-");
  t.now(1007);
  CHECK(dropped() == "xx-x--");
  t.now(1010);
  CHECK(dropped() == "-x-x--");
  t.now(1020);
  CHECK(dropped() == "-x----");
  CHECK(printed(t.rules).find("elements = { 10.0.0.2 }") != std::string::npos);
}

TEST_CASE("elements count what met them") {
  asked_table u(
      table_of("set s { type ipv4_addr; counter; elements = { 10.0.0.1, 10.0.0.2 } }\n"
               "map m { type inet_service : mark; counter; elements = { 7 counter packets 2 bytes 9 : 3 } }",
               "ip saddr @s drop\nmeta mark set udp dport map @m"));
  CHECK(u.ask({10, 0, 0, 1}) == "drop");
  CHECK(u.ask({10, 0, 0, 1}) == "drop");
  CHECK(u.ask({10, 0, 0, 3}, 7) == "3");
  CHECK(u.ask({10, 0, 0, 3}, 8) == "0");
  const std::string said = printed(u.rules);
  CHECK(said.find("10.0.0.1 counter packets 2 bytes 92, 10.0.0.2 counter packets 0 bytes 0 }") != std::string::npos);
  CHECK(said.find("7 counter packets 3 bytes 55 : 0x3 }") != std::string::npos);
}

TEST_CASE("what asks that a value is not in a set counts none of its elements, as in the kernel") {
  asked_table u(
      table_of("set s { type ipv4_addr; counter; elements = { 10.0.0.1 } }\n"
               "set r { type inet_service; flags interval; counter; elements = { 5-9 } }\n"
               "set v { type ipv6_addr; counter; elements = { ::1 } }",
               "ip saddr != @s drop\nudp dport != @r drop\nip6 saddr != @v drop"));
  CHECK(u.ask({10, 0, 0, 2}, 7) == "drop");
  CHECK(u.ask({10, 0, 0, 1}, 4) == "drop");
  CHECK(u.ask({10, 0, 0, 1}, 7) == "0");
  CHECK(u.ask(u.make(eth, ipv6_header{.source = ipv6_address{0, 1}, .destination = ipv6_address{0, 2}},
                     udp_header{.source_port = 1, .destination_port = 7})) == "0");
  const std::string said = printed(u.rules);
  CHECK(said.find("10.0.0.1 counter packets 0 bytes 0") != std::string::npos);
  CHECK(said.find("5-9 counter packets 0 bytes 0") != std::string::npos);
  CHECK(said.find("::1 counter packets 0 bytes 0") != std::string::npos);
}

TEST_CASE("packets add elements, refresh them and remove them, and a full set refuses") {
  asked_table t(
      table_of("set s { type ipv4_addr; size 2; flags dynamic; timeout 10s; }",
               "ip saddr @s meta mark set 1\nudp dport 1 add @s { ip saddr } accept\n"
               "udp dport 2 update @s { ip saddr timeout 30s } accept\nudp dport 3 delete @s { ip saddr } accept\n"
               "udp dport 1-2 drop"));
  const ipv4_address a{10, 0, 0, 1}, b{10, 0, 0, 2}, c{10, 0, 0, 3};
  CHECK(t.ask(a, 1) == "0");
  CHECK(t.ask(a, 7) == "1");
  t.now(1005);
  CHECK(t.ask(b, 2) == "0");
  CHECK(t.ask(c, 1) == "drop");  // full
  CHECK(t.ask(a, 1) == "1");     // which does not refresh
  t.now(1010);
  CHECK(t.ask(a, 7) == "0");
  CHECK(t.ask(c, 1) == "0");  // in the place of what is over
  CHECK(t.ask(a, 1) == "drop");
  CHECK(printed(t.rules).find("elements = { 10.0.0.3, 10.0.0.2 timeout 30s expires 25s }") != std::string::npos);
  t.now(1034);
  CHECK(t.ask(b, 2) == "1");
  t.now(1063);
  CHECK(t.ask(b, 7) == "1");
  CHECK(t.ask(b, 3) == "1");
  CHECK(t.ask(b, 7) == "0");
}

TEST_CASE("a limit for each source, and no more sources than the set has room for") {
  asked_table t(table_of("set s { type ipv4_addr; size 4; flags dynamic,timeout; }",
                         "add @s { ip saddr timeout 60s limit rate over 1/second burst 3 packets } drop"));
  const ipv4_address a{10, 0, 0, 1}, b{10, 0, 0, 2};
  for (int i = 0; i < 3; ++i) CHECK(t.ask(a) == "0");
  CHECK(t.ask(a) == "drop");
  CHECK(t.ask(b) == "0");
  t.now(1001);
  CHECK(t.ask(a) == "0");
  CHECK(t.ask(a) == "drop");
  t.now(1100);  // it is a new one
  for (int i = 0; i < 3; ++i) CHECK(t.ask(a) == "0");
  CHECK(t.ask(a) == "drop");
  // A scan fills the set, and does no more.
  for (std::uint32_t i = 0; i < 1000; ++i) (void)t.ask(ipv4_address{0x0b00'0000u + i});
  CHECK(t.ask(a) == "drop");
}

TEST_CASE("a limit of bytes for each source") {
  asked_table t(table_of("set s { type ipv4_addr; size 4; flags dynamic,timeout; }",
                         "add @s { ip saddr timeout 60s limit rate over 100 bytes/second burst 150 bytes } drop"));
  const ipv4_address a{10, 0, 0, 1}, b{10, 0, 0, 2};
  const auto passed = [&](const ipv4_address& from) {
    unsigned n = 0;
    while (n < 100 && t.ask(from) == "0") ++n;
    return n;
  };
  const std::size_t length = t.udp(a).total_length();
  REQUIRE(length == 46);
  CHECK(passed(a) == 5);  // a second's worth, and the burst
  CHECK(passed(b) == 5);
  t.now(1001);
  CHECK(passed(a) == 2);  // with 20 bytes that were left
}

TEST_CASE("what is wrong with maps and changes is said") {
  const auto says = [](const std::string& sets, const std::string& of_chain) {
    return why_not(("table ip t {\n" + sets + "\nchain c {\n" + of_chain + "\n}\n}").c_str());
  };
  const char* const m = "map m { type inet_service : verdict; }";
  CHECK(says(m, "tcp dport vmap @n") ==
        "rules: line 4, column 17: expected the name of a map of this table, not \"n\"");
  CHECK(says(m, "ip saddr vmap @m") == "rules: line 4, column 16: this map holds values of another kind");
  CHECK(says(m, "meta mark set tcp dport map @m") == "rules: line 4, column 30: this map does not lead to mark");
  CHECK(says("set s { type mark; }", "meta mark vmap @s") ==
        "rules: line 4, column 17: this map does not lead to verdict");
  CHECK(says(m, "tcp dport @m accept").find("expected one of the sets") != std::string::npos);
  CHECK(says(m, "tcp dport vmap { 1 : accept, 1 : drop }") ==
        "rules: line 4, column 17: elements of this map overlap, and lead to different things");
  CHECK(says(m, "tcp dport vmap { 1 : accept, 1 : accept }") == "");
  CHECK(says(m, "tcp dport vmap { 1 : accept, 0-5 : accept }") ==
        "rules: line 4, column 17: elements of this map overlap, and lead to different things");
  CHECK(says(m, "tcp dport vmap { 1 : allow }") ==
        "rules: line 4, column 22: expected one of accept, drop, jump, goto, return, continue, not \"allow\"");
  CHECK(says(m, "tcp dport vmap { 1 : jump nowhere }") ==
        "rules: line 4, column 27: there is no chain of this name in the table");
  CHECK(says("map m { type mark : verdict; elements = { 1 : jump c } }", "meta mark vmap @m") ==
        "rules: line 2, column 52: the jumps to this chain go in a circle");
  CHECK(says(m, "tcp dport vmap { 1 : accept } drop") ==
        "rules: line 4, column 31: expected the end of the rule, not "
        "\"drop\"");
  CHECK(says("set s { type ipv4_addr; }", "add @s { ip saddr }") ==
        "rules: line 4, column 6: packets change a set that has flags dynamic");
  CHECK(says("set s { type ipv4_addr; flags dynamic; size 5; }", "add @s { ip saddr timeout 5s }") ==
        "rules: line 4, column 19: times of elements need flags timeout in their set");
  CHECK(says("set s { type ipv4_addr; flags dynamic; size 5; }", "add @s { tcp dport }") ==
        "rules: line 4, column 6: this set holds values of another kind");
  CHECK(says("set s { type ipv4_addr; flags dynamic; size 5; }", "add @s { saddr }") ==
        "rules: line 4, column 10: expected what is added, such as ip saddr, not \"saddr\"");
  CHECK(says("map m { type ipv4_addr : ether_addr; }", "accept") ==
        "rules: line 2, column 26: expected verdict, mark, ipv4_addr or ipv6_addr, the last two perhaps with . "
        "inet_service, not \"ether_addr\"");
}

TEST_CASE("maps and sets of any shape say what a list would say, at any time") {
  std::uint64_t state = 0x5eed;
  const auto below = [&state](std::uint32_t n) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return static_cast<std::uint32_t>((state >> 33) % n);
  };
  struct entry {
    std::uint32_t first, last;
    std::int64_t seconds;  // 0: for ever
    std::uint32_t mark;
  };
  const auto address = [](std::uint32_t i) { return ipv4_address{0x0a00'0000u + i}; };
  const auto text_of = [&address](std::uint32_t i) {
    text<32> out;
    print(out, address(i));
    return std::string(out.c_str());
  };
  for (unsigned round = 0; round < 60; ++round) {
    const bool ranges = below(2) != 0;
    const std::uint32_t spread = 1u << (2 + below(20));
    std::vector<entry> all;
    std::uint32_t at = below(spread);
    for (std::uint32_t i = below(60); i != 0; --i) {
      const std::uint32_t last = at + (ranges ? below(3) * below(spread) : 0);
      all.push_back({at, last, below(2) * below(20), 1 + below(1000)});
      at = last + 1 + below(spread) * below(2);
    }
    std::string said = "map m { type ipv4_addr : mark; flags timeout";
    said += ranges ? ",interval;" : ";";
    if (!all.empty()) said += " elements = { ";
    const auto write = [&](const entry& e) {
      said += text_of(e.first);
      if (e.first != e.last) said.append("-").append(text_of(e.last));
      if (e.seconds != 0) said.append(" timeout ").append(std::to_string(e.seconds)).append("s");
      said.append(" : ").append(std::to_string(e.mark)).append(", ");
    };
    for (std::size_t i = 0; i < all.size(); ++i) write(all[(i * 7) % all.size()]);  // in some order
    if (all.size() % 7 == 0)                                                        // which leaves some out
      for (const entry& e : all) write(e);
    if (!all.empty()) said += "}";
    asked_table t(table_of(said + " }", "meta mark set ip saddr map @m"));
    unsigned wrong = 0;
    for (unsigned i = 0; i < 300; ++i) {
      if (i != 0 && below(10) == 0) t.later(1);
      std::uint32_t want = 0;
      std::uint32_t who = below(at + spread);
      if (!all.empty() && below(2) == 0) {  // at the edges
        const entry& e = all[below(static_cast<std::uint32_t>(all.size()))];
        who = (below(2) != 0 ? e.first : e.last) + below(3) - 1;
      }
      for (const entry& e : all)
        if (e.first <= who && who <= e.last &&
            (e.seconds == 0 || t.at.now - (instant{} + seconds(1000)) < seconds(e.seconds)))
          want = e.mark;
      if (t.ask(address(who)) != std::to_string(want)) ++wrong;
    }
    CHECK(wrong == 0);
  }
}
