// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <cstdint>
#include <string>

#include <match/nft.hpp>

#include "place_of_chains.hpp"
#include "rulesets.hpp"

using namespace runnel;
using namespace runnel::test;

namespace {

using table = rules_for_test;

// As `nft list ruleset` prints it.
constexpr const char* gateway =
    "table inet filter {\n"
    "\tchain early {\n"
    "\t\ttype filter hook prerouting priority raw; policy accept;\n"
    "\t\tudp dport 53 notrack\n"
    "\t\ticmp type 8 limit rate over 10/second burst 20 packets drop\n"
    "\t}\n"
    "\n"
    "\tchain forward {\n"
    "\t\ttype filter hook forward priority filter; policy drop;\n"
    "\t\tct state { established, related } accept\n"
    "\t\tct state invalid counter packets 0 bytes 0 drop\n"
    "\t\tip saddr 10.0.0.0/8 jump lan\n"
    "\t\ttcp dport { 22, 443 } limit rate 3/minute burst 5 packets counter packets 7 bytes 420 accept\n"
    "\t\tlog prefix \"lost: \" log prefix \"too: \" group 5 log level info drop comment \"blocklist\"\n"
    "\t}\n"
    "\n"
    "\tchain lan {\n"
    "\t\tudp dport 53 meta mark set 0x5 meta priority set 0:3 return\n"
    "\t\ttcp dport 25 goto mail\n"
    "\t\tmeta l4proto tcp accept\n"
    "\t}\n"
    "\n"
    "\tchain mail {\n"
    "\t\tip daddr 192.0.2.1 accept\n"
    "\t\tlog\n"
    "\t}\n"
    "}\n"
    "table ip mangle {\n"
    "\tchain late {\n"
    "\t\ttype filter hook postrouting priority 7; policy accept;\n"
    "\t\tip dscp set 0x2e ip ttl set 9\n"
    "\t\tmeta l4proto tcp tcp option maxseg size set 1400\n"
    "\t\tmeta mark 0x5 meta nftrace set 1\n"
    "\t\tlimit rate over 10 mbytes/second burst 64 kbytes drop\n"
    "\t\tlimit rate 1500 bytes/minute accept\n"
    "\t}\n"
    "}\n"
    "table ip6 six {\n"
    "\tchain late {\n"
    "\t\ttype filter hook postrouting priority filter; policy accept;\n"
    "\t\tip6 dscp set 0x8 ip6 hoplimit set 3 counter packets 0 bytes 0\n"
    "\t}\n"
    "}\n";

}  // namespace

TEST_CASE("a ruleset is printed as it was read, and nft takes it") {
  table t;
  const auto rules = load(t, gateway);
  REQUIRE_MESSAGE(rules, (rules ? "" : rules.error().message()));
  CHECK(*rules == 18);
  CHECK(printed(t) == gateway);
  if (!runnel_test::can_ask_nft()) return;
  CHECK(runnel_test::nft_says(printed(t)) == "");
}

TEST_CASE("what a person writes is read too") {
  table t;
  const char* const said =
      "#!/usr/sbin/nft -f\n"
      "flush ruleset\n"
      "table filter { # the family is ip\n"
      "  chain input { type filter hook input priority filter - 5; policy drop\n"
      "    tcp dport {\n"
      "      22,\n"
      "      80-90 } accept; ip protocol icmp counter accept comment \"ping; pong }\"\n"
      "    ct state established,related accept\n  }\n"
      "  chain other { accept; }\n"
      "}\n"
      "table filter { chain output { type filter hook output priority -1000 ; }; }\n";
  const auto rules = load(t, said);
  REQUIRE_MESSAGE(rules, (rules ? "" : rules.error().message()));
  CHECK(printed(t) ==
        "table ip filter {\n"
        "\tchain input {\n"
        "\t\ttype filter hook input priority -5; policy drop;\n"
        "\t\ttcp dport { 80-90, 22 } accept\n"
        "\t\tip protocol icmp counter packets 0 bytes 0 accept\n"
        "\t\tct state { established, related } accept\n"
        "\t}\n"
        "\n"
        "\tchain other {\n"
        "\t\taccept\n"
        "\t}\n"
        "\n"
        "\tchain output {\n"
        "\t\ttype filter hook output priority -1000; policy accept;\n"
        "\t}\n"
        "}\n");
  if (!runnel_test::can_ask_nft()) return;
  CHECK(runnel_test::nft_says(said) == "");
  CHECK(runnel_test::nft_says(printed(t)) == "");
}

TEST_CASE("rules that count are found by table and chain, and say what they are without what they counted") {
  const auto counters = [](const char* text) {
    table t;
    REQUIRE(load(t, text));
    std::string all;
    for_each_counter(t.get(), [&](const counting_rule& r) {
      runnel::text<256> line;
      line << name(r.family) << ' ' << r.table << ' ' << r.chain << ' ' << r.number << " [";
      print(line, r);
      line << "] " << r.hits.packets << ' ' << r.hits.bytes << '\n';
      all += line.c_str();
    });
    return all;
  };
  CHECK(counters(gateway) ==
        "inet filter forward 2 [ct state invalid counter drop] 0 0\n"
        "inet filter forward 4 [tcp dport { 22, 443 } limit rate 3/minute burst 5 packets counter accept] 7 420\n"
        "ip6 six late 1 [ip6 dscp set 0x8 ip6 hoplimit set 3 counter] 0 0\n");
  CHECK(counters("table ip t { chain c { tcp dport 1 or udp dport 2 counter packets 3 bytes 4 drop\n accept } }") ==
        "ip t c 1 [tcp dport 1 or udp dport 2 counter drop] 3 4\n");
  CHECK(counters("table ip t { chain c { accept } }") == "");
}

TEST_CASE("errors say where, and what was expected") {
  const auto chain = [](const std::string& rules) {
    return why_not(("table ip t {\n chain c {\n" + rules + "\n }\n}").c_str());
  };
  CHECK(why_not("tabel x {}") == "rules: line 1, column 1: expected table, not \"tabel\"");
  CHECK(why_not("table ip t {\n chain c {\n  accept\n") ==
        "rules: line 4, column 1: expected a rule or \"}\", not the end");
  CHECK(chain("  tcp dport http2 accept") == "rules: line 3, column 13: expected a name or a number, not \"http2\"");
  CHECK(
      chain("  ip saddr @friends accept") ==
      "rules: line 3, column 13: expected one of the sets that the program named, and it named none, not \"friends\"");
  CHECK(chain("  tcp dport 22\n") ==
        "rules: line 3, column 15: expected a statement, such as accept or counter, not the end");
  CHECK(chain("  tcp dport 22 acept") ==
        "rules: line 3, column 16: expected a condition, such as tcp dport 22, or a statement, such as accept, jump or "
        "counter, not \"acept\"");
  CHECK(chain("  accept drop") == "rules: line 3, column 10: expected the end of the rule, not \"drop\"");
  CHECK(chain("  jump nowhere") == "rules: line 3, column 8: there is no chain of this name in the table");
  CHECK(chain("  accept\n }\n chain c {") == "rules: line 5, column 8: a chain of this name is there already");
  CHECK(chain("  type route hook output priority 0") ==
        "rules: line 3, column 8: expected filter or nat, not \"route\"");
  CHECK(chain("  type filter hook ingress priority 0") ==
        "rules: line 3, column 20: expected one of prerouting, input, forward, output, postrouting, not \"ingress\"");
  CHECK(chain("  type filter hook input priority high") ==
        "rules: line 3, column 35: expected a priority, such as filter, mangle - 5 or 0, not \"high\"");
  CHECK(chain("  limit rate 5/fortnight accept") ==
        "rules: line 3, column 16: expected one of second, minute, hour, day, week, not \"fortnight\"");
  CHECK(chain("  limit rate 0/second accept") == "rules: line 3, column 14: a rate of at least 1");
  CHECK(chain("  limit rate 1000000001/second accept") == "rules: line 3, column 14: at most 1000000000 packets");
  CHECK(chain("  limit rate 1000001 mbytes/second accept") == "rules: line 3, column 14: at most 1000000000000 bytes");
  CHECK(chain("  limit rate 10 mbytes/second burst 5 packets accept") ==
        "rules: line 3, column 39: expected bytes, kbytes or mbytes, not \"packets\"");
  CHECK(chain("  limit rate 10/second burst 5 kbytes accept") ==
        "rules: line 3, column 39: expected packets, not \"accept\"");
  CHECK(chain("  log level loud") ==
        "rules: line 3, column 13: expected one of emerg, alert, crit, err, warn, notice, info, debug, not \"loud\"");
  CHECK(chain("  log group 65536") == "rules: line 3, column 13: expected a group up to 65535, not \"65536\"");
  CHECK(chain("  counter counter") == "rules: line 3, column 18: a rule has one counter");
  CHECK(chain("  type filter hook input priority 0; policy accept;\n jump c") ==
        "rules: line 4, column 7: a chain with a hook is not jumped to");
}

TEST_CASE("jumps in a circle and too many jumps are refused") {
  CHECK(why_not("table ip t { chain a { jump a\n } }") ==
        "rules: line 1, column 29: the jumps to this chain go in a circle");
  CHECK(why_not("table ip t { chain a { goto b\n }\n chain b { jump c\n }\n chain c { goto a\n } }") != "");
  const auto row = [](unsigned jumps) {
    std::string all = "table ip t {\n chain base { type filter hook input priority 0\n jump c1\n }\n";
    for (unsigned i = 1; i < jumps; ++i)
      all += "chain c" + std::to_string(i) + " { jump c" + std::to_string(i + 1) + "\n }\n";
    return all + "chain c" + std::to_string(jumps) + " { meta mark set 16\n }\n}\n";
  };
  CHECK(why_not(row(16).c_str()) == "");
  CHECK(why_not(row(17).c_str()).find("more than 16 deep") != std::string::npos);
  // Many ways, none of them deep: each chain is looked at once.
  std::string ladder = "table ip t {\n";
  for (unsigned i = 1; i < 16; ++i)
    ladder += "chain c" + std::to_string(i) + " { jump c" + std::to_string(i + 1) + "\njump c" + std::to_string(i + 1) +
              "\n}\n";
  CHECK(why_not((ladder + "chain c16 { accept\n}\n}").c_str()) == "");
  place_of_chains t;
  table deep;
  REQUIRE(load(deep, row(16).c_str()));
  rule_table_slot slot{deep};
  t.device.udp(1);
  t.run(hook<hook_point::input>(slot));
  CHECK(t.seen == "mark 16 priority 0 ttl 64 dscp 0");
}

TEST_CASE("what does not fit is said, and an error leaves the table empty") {
  static_rule_table<rule_table_config{
      .chains = 2, .rules = 3, .nodes = 5, .words = 4, .statements = 6, .limits = 1, .text = 4}>
      small;
  const auto says = [&small](const char* rules) {
    const auto r = load(small, (std::string("table ip t { chain a {\n") + rules + "\n} }").c_str());
    CHECK((r || small->size() == 0));
    return std::string(r ? "" : r.error().message());
  };
  CHECK(says("accept\naccept\naccept") == "");
  CHECK(says("accept\naccept\naccept\naccept").find("rule_table_config::rules") != std::string::npos);
  CHECK(says("jump b\njump c").find("rule_table_config::chains") != std::string::npos);
  CHECK(says("limit rate 1/hour\nlimit rate 1/hour").find("rule_table_config::limits") != std::string::npos);
  CHECK(says("log prefix \"abc\"") == "");
  CHECK(says("log prefix \"abcd\"").find("rule_table_config::text") != std::string::npos);
  CHECK(says("tcp dport { 1, 2, 3, 4 } accept") == "");
  CHECK(says("tcp dport { 1, 2, 3, 4, 5 } accept") != "");
  CHECK(says("counter notrack meta mark set 1 meta mark set 2 meta mark set 3 meta mark set 4 accept")
            .find("rule_table_config::statements") != std::string::npos);
}

TEST_CASE("packets walk the chains as in nft") {
  place_of_chains t;
  table rules;
  REQUIRE(load(rules, gateway));
  rule_table_slot slot{rules};
  constexpr hook_point forward = hook_point::forward;
  std::string logged;
  rules->log_to(
      [](void* to, const log_line& line, const packet& p) {
        *static_cast<std::string*>(to) += line.prefix + std::to_string(number_of(p)) + ' ';
        if (line.has_group) *static_cast<std::string*>(to) += "to " + std::to_string(line.group) + ' ';
        else if (line.level != 4) *static_cast<std::string*>(to) += "level " + std::to_string(line.level) + ' ';
      },
      &logged);
  t.device.udp(1, 53);
  t.run(hook<prerouting>(slot));
  CHECK(t.seen == "mark 0 priority 0 ttl 64 dscp 0 untracked");
  // From the lan: 53 returns and is lost at the end, 25 goes to mail and is accepted, 80 is accepted by lan.
  t.device.udp(2, 53);
  t.device.tcp(3, 25);
  t.device.tcp(4, 80);
  t.device.udp(5, 99);
  const stage_counters c = t.run(hook<forward>(slot));
  CHECK(t.passed == "3 4");
  CHECK(c.dropped(drop_reason::blocklist) == 2);
  CHECK(logged == "lost: 2 too: 2 to 5 2 level 6 lost: 5 too: 5 to 5 5 level 6 ");
  t.tcp_syn(6, 1460);
  t.run(hook<postrouting>(slot));
  CHECK(t.seen == "mark 0 priority 0 ttl 9 dscp 46 mss 1400");
  t.device.udp6(7);
  t.run(hook<postrouting>(slot));
  CHECK(t.seen == "mark 0 priority 0 ttl 3 dscp 8");
  t.device.put(8, 18, {}, eth, ipv4_header{.source = {198, 51, 100, 1}, .destination = {192, 0, 2, 1}},
               tcp_header{.source_port = 1, .destination_port = 22});
  t.run(hook<forward>(slot));
  CHECK(t.passed == "8");
  CHECK(printed(rules).find("counter packets 8 bytes 492 accept") != std::string::npos);
}

TEST_CASE("a maximum segment size is lowered where the checksum is left to the device") {
  table rules;
  REQUIRE(load(rules,
               "table inet t { chain c { type filter hook forward priority 0; "
               "tcp flags syn tcp option maxseg size set 1400; }; }"));
  rule_table_slot slot{rules};
  CHECK(completed_behind(hook<hook_point::forward>(slot)));
}

TEST_CASE("chains of one hook run by priority over all tables; an accept is not final, a policy of drop is") {
  place_of_chains t;
  table rules;
  REQUIRE(load(
      rules,
      "table ip a { chain x { type filter hook input priority 9; policy accept;\n meta mark 2 meta mark set 3\n } }\n"
      "table inet b { chain x { type filter hook input priority -10; policy accept;\n meta mark set 1 accept\n }\n"
      "  chain y { type filter hook input priority 5; policy accept;\n meta mark 1 meta mark set 2\n } }\n"
      "table ip6 c { chain x { type filter hook input priority -20; policy drop; } }\n"
      "table ip d { chain z { type filter hook input priority 10; policy accept;\n"
      "  meta mark != 3 drop\n udp dport 9 drop\n } }"));
  rule_table_slot slot{rules};
  t.device.udp(1, 7);
  t.device.udp(2, 9);
  t.device.udp6(3);
  t.device.unknown(4);
  const stage_counters c = t.run(hook<hook_point::input>(slot));
  CHECK(t.passed == "1 4");  // what is no IP meets no table
  CHECK(c.dropped(drop_reason::no_match) == 1);
  CHECK(c.dropped(drop_reason::policy) == 1);
}

TEST_CASE("of two chains with the same priority the later one is asked first, as in the kernel") {
  place_of_chains t;
  table rules;
  REQUIRE(load(rules,
               "table ip a {\n chain x { type filter hook input priority 0\n meta mark 3 drop\n meta mark set 4\n }\n"
               " chain y { type filter hook input priority 0\n meta mark 2 meta mark set 3\n }\n}\n"
               "table inet b { chain z { type filter hook input priority 0\n udp dport 7 meta mark set 2\n }\n}"));
  rule_table_slot slot{rules};
  t.device.udp(1, 7);
  t.device.udp(2, 9);
  const stage_counters c = t.run(hook<hook_point::input>(slot));
  CHECK(t.passed == "2");
  CHECK(c.dropped(drop_reason::policy) == 1);
  CHECK(t.seen.find("mark 4") == 0);
}

TEST_CASE("a hook in two parts: chains of a priority below -200 stand before tracking, the others behind") {
  place_of_chains t;
  table rules;
  REQUIRE(load(rules,
               "table inet t {\n"
               "chain late { type filter hook prerouting priority -200; meta mark set 7; }\n"
               "chain early { type filter hook prerouting priority -201; udp dport 7 notrack; }\n"
               "}\n"));
  rule_table_slot live(rules);
  t.device.udp(1, 7);
  t.run(hook<prerouting, hook_part::before_tracking>(live));
  CHECK(t.seen == "mark 0 priority 0 ttl 64 dscp 0 untracked");
  t.device.udp(2, 7);
  t.run(hook<prerouting, hook_part::behind_tracking>(live));
  CHECK(t.seen == "mark 7 priority 0 ttl 64 dscp 0");
  t.device.udp(3, 7);
  t.run(hook<prerouting>(live));
  CHECK(t.seen == "mark 7 priority 0 ttl 64 dscp 0 untracked");
}

TEST_CASE(
    "behind tracking notrack is about packets without a connection: what was invalid is untracked, as in the kernel") {
  place_of_chains t;
  table rules;
  REQUIRE(load(rules,
               "table inet t { chain c { type filter hook forward priority 0\n ct state invalid notrack\n"
               "ct state invalid drop\n meta mark 7 notrack\n } }"));
  rule_table_slot live{rules};
  const auto as = [&](connection_word w) {
    t.device.udp(1, 7);
    t.run([w](packet& p) { p.connection(w.value), p.mark(7); } | hook<hook_point::forward>(live));
    return t.seen;
  };
  CHECK(as(connection_word::of(invalid)) == "mark 7 priority 0 ttl 64 dscp 0 untracked");
  CHECK(as(connection_word::of(established, connection_direction::reply, 3)) ==
        "mark 7 priority 0 ttl 64 dscp 0 established");
  t.device.udp(1, 7);
  t.run([](packet& p) { p.connection(connection_word::of(invalid).value); } | notrack());
  CHECK(t.seen == "mark 0 priority 0 ttl 64 dscp 0 untracked");
}

TEST_CASE("a table is replaced as a whole, at the next packet") {
  place_of_chains t;
  table first, second;
  const auto marks = [](const char* value) {
    return std::string("table ip t { chain c { type filter hook input priority 0\n meta mark set ") + value + "\n } }";
  };
  REQUIRE(load(first, marks("1").c_str()));
  REQUIRE(load(second, marks("2").c_str()));
  rule_table_slot slot{first};
  t.device.udp(1);
  t.run(hook<hook_point::input>(slot));
  CHECK(t.seen == "mark 1 priority 0 ttl 64 dscp 0");
  CHECK(slot.taken());
  slot.offer(second);
  CHECK_FALSE(slot.taken());
  t.device.udp(1);
  t.run(hook<hook_point::input>(slot));
  CHECK(slot.taken());
  CHECK(t.seen == "mark 2 priority 0 ttl 64 dscp 0");
  slot.offer(first);
  CHECK(&slot.current() == &first.get());
  CHECK(slot.taken());
}

TEST_CASE("rules name the sets of the program, however large") {
  place_of_chains t;
  static hash_set_of<ipv4_address, 10000> blocklist{"blocklist", 1};
  for (std::uint32_t i = 0; i < 9999; ++i) REQUIRE(blocklist.insert(ipv4_address{0xc0a8'0000u + i}));
  const match::set_reference sets[] = {blocklist};
  table rules;
  REQUIRE(
      load(rules, "table ip t { chain c { type filter hook input priority 0\n ip saddr @blocklist drop\n } }", sets));
  CHECK(printed(rules).find("\t\tip saddr @blocklist drop\n") != std::string::npos);
  rule_table_slot slot{rules};
  t.device.udp(1);
  t.run(hook<hook_point::input>(slot));
  CHECK(t.passed == "1");
  REQUIRE(blocklist.insert(ipv4_address{10, 0, 0, 1}));
  t.device.udp(2);
  t.run(hook<hook_point::input>(slot));
  CHECK(t.passed == "");
}
