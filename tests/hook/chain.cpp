// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <cstdint>
#include <string>

#include "place_of_chains.hpp"

using namespace runnel;
using namespace runnel::test;

namespace {

constexpr auto ssh_only = rules(when(tcp::dport == 22) >> accept, when(has<tcp>) >> drop(drop_reason::blocklist));
constexpr hook_point here = hook_point::forward;

// The source that is read behind a stage in a packet whose bytes a clone has too, further back than a copy has them.
template <class Stage>
ipv4_address source_behind(const Stage& stage) {
  counted_pool memory;
  std::byte b[60]{};
  REQUIRE(write_headers(b, eth, ipv4_header{.source = {10, 0, 0, 1}, .destination = {192, 0, 2, 1}}, udp_header{}));
  packet p = memory.get().allocate();
  REQUIRE((p.reserve(20) && p.append(bytes{b})));
  const packet twin = p.clone();
  queue<drop_tail, 2> arrived;
  (void)arrived.push(static_cast<packet&&>(p));
  ipv4_address seen;
  auto path = parse() | stage | [&seen](ipv4 ip) { seen = ip.source(); } | discard;
  run(attach(arrived, path));
  return seen;
}

}  // namespace

TEST_CASE("rules decide, and what they leave meets the policy; both are counted") {
  place_of_chains t;
  t.device.tcp(1, 22);
  t.device.tcp(2, 80);
  t.device.udp(3);
  rule_counter hits[3];
  const stage_counters c = t.run(chain<here>(ssh_only, drop(drop_reason::no_match), hits));
  CHECK(t.passed == "1");
  CHECK(c.dropped(drop_reason::blocklist) == 1);
  CHECK(c.dropped(drop_reason::no_match) == 1);
  for (const rule_counter& h : hits) CHECK(h.packets == 1);
  CHECK(hits[0].bytes == 14 + 20 + 20 + 18);
  CHECK(hits[2].bytes == 14 + 20 + 8 + 18);
  t.device.udp(4);
  t.run(chain<here>(ssh_only));
  CHECK(t.passed == "4");
}

TEST_CASE("chains run in the order of their priorities, whatever order they were given in") {
  place_of_chains t;
  std::string ran;
  const auto at = [&ran](const char* what) { return rules(otherwise >> [&ran, what](packet&) { ran += what; }); };
  t.device.udp(1);
  auto all = hook(chain<here>(at("filter ")), chain<here, hook_priority::srcnat>(at("srcnat ")),
                  chain<here, hook_priority::raw>(at("raw ")), chain<here, -5>(at("-5 ")),
                  chain<here>(at("filter again ")), chain<here, hook_priority::mangle>(at("mangle ")));
  text<> name;
  all.print_name(name);
  CHECK(same_text(name.c_str(), "hook forward -300 -150 -5 0 0 100"));
  t.run(all);
  CHECK(ran == "raw mangle -5 filter filter again srcnat ");
}

TEST_CASE("a chain may make shared bytes a packet's own: what stands behind reads those") {
  constexpr auto own = rules(otherwise >> unshare());
  constexpr auto jumps = rules(otherwise >> jump(own));
  constexpr auto acts = rules(otherwise >> unshare() >> set_mark(1), when(ip::saddr != addr4("10.0.0.1")) >> drop);
  CHECK(source_behind(unshare()) == addr4("10.0.0.1"));
  CHECK(source_behind(chain<here>(unshare())) == addr4("10.0.0.1"));
  CHECK(source_behind(chain<here>(own)) == addr4("10.0.0.1"));
  CHECK(source_behind(chain<here>(jumps)) == addr4("10.0.0.1"));
  CHECK(source_behind(chain<here>(acts)) == addr4("10.0.0.1"));
  CHECK(source_behind(hook(chain<here>(own), chain<here, 1>(acts))) == addr4("10.0.0.1"));
}

TEST_CASE("an accept ends its own chain only, a drop ends them all") {
  place_of_chains t;
  rule_counter first[2], second[2];
  constexpr auto accepts = rules(when(udp::dport == 7) >> accept);
  constexpr auto drops = rules(when(udp::dport == 7) >> drop);
  t.device.udp(1, 7);
  t.device.udp(2, 8);
  const auto a = chain<here, -1>(accepts, drop, first);
  t.run(hook(a, chain<here, 1>(drops, accept, second)));
  CHECK(t.passed == "");
  CHECK(first[0].packets == 1);
  CHECK(first[1].packets == 1);
  CHECK(second[0].packets == 1);
  CHECK(second[1].packets == 0);  // the policy of the first chain was final
}

TEST_CASE("targets act on the packet, and the next rule sees what they did") {
  place_of_chains t;
  static constexpr auto mangle =
      rules(when(has<udp>) >> set_mark(5) >> set_priority(3),
            when(meta::mark == 5) >> set_dscp(46) >> set_hop_limit(9) >> set_traced(),
            when(meta::priority == 3 && ip::dscp == 46) >> set_mark(6) >> accept, otherwise >> set_maxseg(1400));
  t.device.udp(1);
  t.run(chain<here>(mangle));
  CHECK(t.seen == "mark 6 priority 3 ttl 9 dscp 46 traced");
  t.device.udp6(1);
  t.run(chain<here>(mangle));
  CHECK(t.seen == "mark 5 priority 3 ttl 9 dscp 46 traced");
  t.tcp_syn(1, 1460);
  t.run(chain<here>(mangle));
  CHECK(t.seen == "mark 0 priority 0 ttl 64 dscp 0 mss 1400");
  t.tcp_syn(1, 1200);
  t.run(chain<here>(mangle));
  CHECK(t.seen == "mark 0 priority 0 ttl 64 dscp 0 mss 1200");
  t.device.udp(1);  // such a target is a stage too
  t.run(set_mark(7));
  CHECK(t.seen == "mark 7 priority 0 ttl 64 dscp 0");
}

TEST_CASE("a maximum segment size is lowered where the checksum is left to the device") {
  static constexpr auto lower = rules(otherwise >> set_maxseg(1400));
  CHECK(completed_behind(chain<here>(lower)));
  CHECK(completed_behind(set_maxseg(1400)));
}

TEST_CASE("stages are targets: notrack, handlers, whatever takes the packet over") {
  place_of_chains t;
  t.device.udp(1);
  t.run(chain<here, hook_priority::raw>(rules(when(has<udp>) >> notrack())));
  CHECK(t.seen == "mark 0 priority 0 ttl 64 dscp 0 untracked");
  numbers taken;
  t.device.udp(2, 7);
  t.device.udp(3, 8);
  t.device.udp(4, 9);
  rule_counter hits[3];
  const auto local = rules(
      when(udp::dport == 7) >>
          [&taken](packet& p) {
            const packet mine = static_cast<packet&&>(p);
            taken.add(number_of(mine));
            return stolen;
          },
      when(udp::dport == 8) >> [](mut<ipv4> ip) { ip.time_to_live(1); } >> drop(drop_reason::blocklist));
  const stage_counters c = t.run(chain<here>(local, accept, hits));
  CHECK(taken == "2");
  CHECK(c.dropped(drop_reason::blocklist) == 1);
  CHECK(t.passed == "4");
  CHECK(hits[0].packets == 1);
  CHECK(hits[0].bytes == 60);
  CHECK(hits[1].packets == 1);
  CHECK(hits[2].packets == 1);
  t.device.udp(5, 7);
  t.run(chain<postrouting, hook_priority::srcnat>([](packet& p) { p.mark(77); }));
  CHECK(t.seen == "mark 77 priority 0 ttl 64 dscp 0");
}

TEST_CASE("jump comes back, goto does not, return ends the rules") {
  place_of_chains t;
  rule_counter inner[3], outer[3];
  static constexpr auto other =
      rules(when(udp::dport == 1) >> drop, when(udp::dport == 2) >> return_(), when(has<udp>) >> set_mark(1));
  const auto jumps = rules(when(udp::dport < 10) >> jump(other, inner), when(udp::dport == 11) >> return_(),
                           when(udp::dport != 3) >> set_priority(1));
  rule_counter counted[4];
  for (const auto port :
       {std::uint16_t{1}, std::uint16_t{2}, std::uint16_t{3}, std::uint16_t{4}, std::uint16_t{11}, std::uint16_t{12}})
    t.device.udp(port, port);
  t.run(chain<here>(jumps, accept, counted));
  CHECK(t.passed == "2 3 4 11 12");
  CHECK(inner[0].packets == 1);
  CHECK(inner[1].packets == 1);
  CHECK(inner[2].packets == 2);
  CHECK(counted[0].packets == 4);
  CHECK(counted[1].packets == 1);
  CHECK(counted[2].packets == 3);  // 2, 4 and 12
  CHECK(counted[3].packets == 5);

  // Behind a goto goes on what jumped to it.
  const auto middle = rules(when(udp::dport == 5) >> go_to(other), otherwise >> set_priority(2));
  const auto base = rules(when(udp::dport < 10) >> jump(middle), when(meta::priority == 0) >> set_mark(9));
  t.device.udp(5, 5);
  t.run(chain<here>(base, accept, outer));
  CHECK(outer[0].packets == 1);
  CHECK(outer[1].packets == 1);
  CHECK(t.seen == "mark 9 priority 0 ttl 64 dscp 0");
  t.device.udp(6, 6);
  t.run(chain<here>(base));
  CHECK(t.seen == "mark 0 priority 2 ttl 64 dscp 0");
  t.device.udp(5, 5);
  t.run(chain<here>(middle, drop));  // of a base chain: its policy
  CHECK(t.passed == "");
}

TEST_CASE("a limit lets a burst through, and then its rate; a log has one of its own") {
  place_of_chains t;
  token_bucket pings{10, 2}, lines{1, 1};
  rule_counter named, hits[3];
  std::string logged;
  const auto write = [&logged](const char* prefix, const packet& p) {
    logged += prefix;
    logged += std::to_string(number_of(p));
  };
  const auto policy =
      rules(when(has<udp>) >> limit(pings) >> count(named) >> accept, when(has<udp>) >> log(" over ", write, lines));
  t.device.several(1, 4);
  t.run(chain<here>(policy, drop, hits));
  CHECK(t.passed == "1 2");
  CHECK(logged == " over 3");
  t.clock.advance(milliseconds(100));
  t.device.several(5, 2);
  t.run(chain<here>(policy, drop, hits));
  CHECK(t.passed == "5");
  CHECK(named.packets == 3);
  CHECK(hits[0].packets == 3);
  CHECK(hits[1].packets == 3);
  CHECK(hits[2].packets == 3);
  t.clock.advance(seconds(1));
  t.device.several(7, 3);
  t.run(chain<here>(rules(when(has<udp>) >> limit_over(pings) >> drop)));
  CHECK(t.passed == "7 8");
  t.device.several(7, 1);
  t.run(chain<here>(policy));
  CHECK(logged == " over 3 over 7");
}

TEST_CASE("a limit counts bytes where it is told to") {
  place_of_chains t;
  t.device.several(1, 1);
  token_bucket one{1, 100'000};
  t.run(chain<here>(rules(when(has<udp>) >> limit_bytes(one) >> accept), drop));
  REQUIRE(t.passed == "1");
  std::uint64_t length = 0;  // of each
  while (one.take(t.clock.now(), 1)) ++length;
  length = 100'000 - length;
  CHECK(length >= 42);
  token_bucket three{1, 3 * length}, over{1, 3 * length};
  t.device.several(1, 5);
  t.run(chain<here>(rules(when(has<udp>) >> limit_bytes(three) >> accept), drop));
  CHECK(t.passed == "1 2 3");
  t.device.several(1, 5);
  t.run(chain<here>(rules(when(has<udp>) >> limit_bytes_over(over) >> drop)));
  CHECK(t.passed == "1 2 3");
}
