// SPDX-License-Identifier: MIT
// NAT by rules that were loaded from text.
#include <doctest/doctest.h>

#include <string>
#include <utility>

#include "nat_rig.hpp"

using namespace runnel;
using namespace runnel::test;
using namespace runnel::test::nat_hosts;

TEST_CASE("a rule table says what NAT translates, beside what it filters") {
  nat_rig t;
  static_rule_table<rule_table_config{}> loaded;
  const auto ok =
      load(loaded,
           "table ip nat {\n"
           "  map servers { type inet_service : ipv4_addr . inet_service; elements = { 80 : 10.0.0.2 . 8080 } }\n"
           "  chain in { type nat hook prerouting priority dstnat; policy accept;\n"
           "    iif 2 dnat ip to tcp dport map @servers }\n"
           "  chain out { type nat hook postrouting priority srcnat; policy accept;\n"
           "    ip daddr 203.0.113.3 drop\n"
           "    iif 1 oif 2 udp dport 53 masquerade to :2000\n"
           "    iif 1 oif 2 snat to 192.0.2.7 }\n"
           "}\n");
  REQUIRE_MESSAGE(ok, (ok ? "" : ok.error().message()));
  rule_table_slot live{loaded};
  // The rig asks its own rules: here they ask the table.
  t.rules.elsewhere = [&live](hook_point at, packet& p, context& c, const layers* found, const nat_target*& to) {
    return live.translation(at, p, c, found, to);
  };
  CHECK(t.udp(in1, 1000, out1, 53) == "udp 192.0.2.254:2000 > 198.51.100.1:53");
  CHECK(t.udp(out1, 53, box, 2000) == "udp 198.51.100.1:53 > 10.0.0.1:1000");
  CHECK(t.udp(in1, 1000, out1, 99) == "udp 192.0.2.7:1000 > 198.51.100.1:99");
  CHECK(t.udp(in1, 1000, out3, 53) == "dropped: policy");
  CHECK(t.syn(out1, 5000, box, 80) == "tcp 198.51.100.1:5000 > 10.0.0.2:8080");
  CHECK(t.syn(out1, 5000, box, 81) == "tcp 198.51.100.1:5000 > 192.0.2.254:81");
}
