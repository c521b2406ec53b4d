// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <string>

#include <runnel/match/rule_list.hpp>
#include <runnel/xdp/early.hpp>

#include "literal_packets.hpp"

using namespace runnel;

namespace {

constexpr literal_packet ssh = make(0, eth, from_10_1_2_3, tcp_to(22));
constexpr literal_packet web = make(6, eth, from_10_1_2_3, tcp_to(443));
constexpr literal_packet dns = make(4, eth, from_10_1_2_3, udp_to(53));

constexpr auto policy =
    rules(when(tcp::dport == 22) >> accept, when(tcp::dport.in(constant_set{80, 443})) >> drop(drop_reason::blocklist),
          when(has<udp> || meta::mark == 7) >> redirect(3), otherwise >> drop);

std::string printed(const auto&... what) {
  text<4096> out;
  print(out, what...);
  return out.c_str();
}

}  // namespace

TEST_CASE("a rule list decides as the rules that it was made from, prints as they do, and counts") {
  const rule_list list = policy;
  CHECK(list.size() == 4);
  static_assert(stage<rule_list> && detail::early_function<rule_list>);
  for (const literal_packet* p : {&ssh, &web, &dns}) CHECK(list(p->as_subject()) == policy(p->as_subject()));
  CHECK(list(web.as_subject()) == drop(drop_reason::blocklist));
  CHECK(printed(list) == printed(policy));
  CHECK(list.hits(0).packets == 1);
  CHECK(list.hits(1).packets == 2);
  CHECK(list.hits(1).bytes == 120);
  CHECK(list.hits(4).packets == 0);
  CHECK(printed(list, rule_counters::shown) ==
        "tcp dport 22 counter packets 1 bytes 54 accept\n"
        "tcp dport { 80, 443 } counter packets 2 bytes 120 drop comment \"blocklist\"\n"
        "meta l4proto udp counter packets 1 bytes 46 redirect 3\nmeta mark 0x7 redirect 3\n"
        "counter packets 0 bytes 0 drop\n");
  std::size_t which = 0;
  CHECK(list.decide(dns.as_subject(), which) == redirect(3));
  CHECK(which == 2);
  CHECK(list.hits(2).packets == 1);
}

TEST_CASE("rules are added while there is room, and a rule too many changes nothing") {
  basic_rule_list<2, 7> list;
  CHECK(list(ssh.as_subject()) == accept);
  CHECK(list.hits(0).packets == 1);
  CHECK(list.add(tcp::dport == 22 && meta::mark == 0, drop));
  CHECK_FALSE(list.add(meta::mark == 1 && meta::mark == 2 && meta::mark == 3, drop));  // five more nodes do not fit
  CHECK(list.size() == 1);
  CHECK(list.add(condition{has<tcp>}, tx));
  CHECK_FALSE(list.add(has<udp>, drop));
  CHECK(list(ssh.as_subject()) == drop);
  CHECK(list(web.as_subject()) == tx);
  CHECK(list(dns.as_subject()) == accept);
  CHECK(list.hits(2).packets == 2);
  CHECK(printed(list) == "tcp dport 22 meta mark 0x0 drop\nmeta l4proto tcp tx\n");
  list.reset();
  CHECK(list.hits(2).packets == 0);
  list.clear();
  CHECK(list.size() == 0);
  CHECK(list(ssh.as_subject()) == accept);
}

TEST_CASE("a rule list can be walked") {
  const rule_list list = policy;
  std::size_t nodes = 0;
  list.for_each([&](const rule_view& r) { nodes += r.condition.size; });
  CHECK(nodes == 6);
  CHECK(list[3].target == drop);
  CHECK(list[3].condition.nodes[0].kind == match::node_kind::always);
}

TEST_CASE("a rule list may be constant") {
  static constexpr basic_rule_list<4> list = policy;
  constexpr bool drops = [] {
    std::size_t which = 0;
    return list.decide(web.as_subject(), which) == drop(drop_reason::blocklist) && which == 1;
  }();
  static_assert(drops);
}
