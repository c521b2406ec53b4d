// SPDX-License-Identifier: MIT
// Own addresses as conversations: probed before they are used, announced, defended, given up; and answered for others.
#include <runnel/ip.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <flow/test_device.hpp>
#include <ip/neighbour_host.hpp>

using namespace runnel;
using namespace runnel::test;

namespace {

constexpr auto new4 = ipv4_address{192, 0, 2, 50};
constexpr auto new6 = ipv6_address{0xfe80'0000'0000'0000, 0x50};

// What a table told about its addresses.
std::string told_of;
void note_change(void*, const interface_address& a) {
  text<100> out;
  print(out, a);
  told_of += out.c_str();
  told_of += a.state == address_state::preferred ? " preferred; " : "; ";
}
std::string what_was_told() {
  std::string s = told_of;
  told_of.clear();
  return s;
}

// The times at which a host said something until `end`, and what, one line each.
std::vector<std::pair<std::int64_t, std::string>> until(host& h, std::int64_t end) {
  std::vector<std::pair<std::int64_t, std::string>> all;
  while (h.table.next_due() != never && h.table.next_due().ns / 1'000'000 < end) {
    const std::int64_t ms = (h.table.next_due().ns + 999'999) / 1'000'000;
    const std::string said = h.at(ms);
    if (!said.empty()) all.emplace_back(ms, said);
  }
  return all;
}
neighbour_options telling(conflict_policy p = conflict_policy::defend) {
  told_of.clear();
  neighbour_options o;
  o.on_conflict = p;
  o.address_changed = note_change;
  return o;
}
std::string hear_from(host& h, std::int64_t ms, ipv4_address sender, ipv4_address target) {
  return h.hear_arp(ms, mac_broadcast, request(sender, peer, target));
}
template <class... Options>
std::string hear_solicitation(host& h, std::int64_t ms, const ipv6_address& from, const ipv6_address& target,
                              const Options&... options) {
  const ipv6_address group = solicited_node_multicast(target);
  return h.hear(ms, ethernet_header{.source = peer, .destination = multicast_mac(group)},
                ipv6_header{.source = from, .destination = group, .hop_limit = 255},
                neighbour_solicitation_header{.target = target}, options...);
}

}  // namespace

TEST_CASE("RFC 5227 2.1.1, 2.3: an IPv4 address is probed three times, used two seconds later, and announced twice") {
  for (std::uint64_t seed = 1; seed < 40; ++seed) {
    host h(telling(), {.entries = 32, .unresolved = 8, .packets = 16, .seed = seed});
    REQUIRE(h.table.acquire({new4, 24}, instant{}));
    CHECK(h.link.addresses.find(mapped(new4))->state == address_state::tentative);
    const auto said = until(h, 60'000);
    REQUIRE(said.size() == 5);
    for (std::size_t i = 0; i < 3; ++i) CHECK(said[i].second == "to all probes 192.0.2.50");
    CHECK(said[0].first <= 1000);
    for (std::size_t i = 1; i < 3; ++i) {
      CHECK(said[i].first - said[i - 1].first >= 999);
      CHECK(said[i].first - said[i - 1].first <= 2001);
    }
    CHECK(said[3].first - said[2].first >= 1999);
    CHECK(said[3].first - said[2].first <= 2001);
    CHECK(said[4].first - said[3].first == 2000);
    for (std::size_t i = 3; i < 5; ++i) CHECK(said[i].second == "to all announces 192.0.2.50");
    CHECK(what_was_told() == "192.0.2.50/24 preferred; ");
    CHECK(h.table.next_due() == never);
    CHECK_FALSE(h.table.acquire({new4, 24}, h.now()));
  }
}

TEST_CASE("the times at which probing begins differ") {
  std::int64_t least = INT64_MAX, most = 0;
  for (std::uint64_t seed = 1; seed < 60; ++seed) {
    host h({}, {.entries = 32, .unresolved = 8, .packets = 16, .seed = seed});
    REQUIRE(h.table.acquire({new4, 24}, instant{}));
    least = std::min(least, h.table.next_due().ns);
    most = std::max(most, h.table.next_due().ns);
  }
  CHECK(least < 100'000'000);
  CHECK(most > 900'000'000);
}

TEST_CASE("RFC 5227 2.1.1: while it is probed, any ARP packet from the address is a conflict, and another's probe") {
  for (const bool is_probe : {false, true}) {
    host h(telling());
    REQUIRE(h.table.acquire({new4, 24}, instant{}));
    CHECK(hear_from(h, 0, peer4, new4) == "");  // it asks for the address, which nobody uses yet
    CHECK(what_was_told() == "");
    CHECK(h.at(1000) == "to all probes 192.0.2.50");
    CHECK(hear_from(h, 1001, is_probe ? ipv4_address{} : new4, is_probe ? new4 : peer4) == "");
    CHECK(what_was_told() == "192.0.2.50/24 dadfailed; ");
    CHECK(h.table.statistics().conflicts == 1);
    CHECK(until(h, 100'000).empty());
    CHECK_FALSE(h.link.addresses.contains(new4));
    CHECK(hear_from(h, 100'001, peer4, new4) == "");  // and does not answer for it
  }
}

TEST_CASE("RFC 5227 2.1.1: two hosts that probe for the same address do not both get it; one's own probe is none") {
  host h(telling());
  REQUIRE(h.table.acquire({new4, 24}, instant{}));
  CHECK(h.hear_arp(500, mac_broadcast, request({}, us, new4)) == "");
  CHECK(what_was_told() == "");
  h.hear_arp(600, mac_broadcast, request({}, other_peer, new4));
  CHECK(what_was_told() == "192.0.2.50/24 dadfailed; ");
}

TEST_CASE("RFC 5227 2.1.1: after ten conflicts there is one attempt a minute") {
  host h(telling());
  std::int64_t ms = 0;
  for (int i = 0; i < 10; ++i, ms += 2000) {
    REQUIRE(h.table.acquire({new4, 24}, instant{} + milliseconds(ms)));
    CHECK(h.table.next_due() <= instant{} + milliseconds(ms + 1000));
    hear_from(h, ms + 1500, new4, peer4);
  }
  REQUIRE(h.table.acquire({new4, 24}, instant{} + milliseconds(ms)));
  CHECK(h.table.next_due() >= instant{} + seconds(78));  // the last one began at 18 s
  CHECK(h.table.next_due() <= instant{} + seconds(79));
}

TEST_CASE("RFC 5227 2.4 a: an address is given up at the first conflict where the user wants that") {
  host h(telling(conflict_policy::give_up));
  CHECK(hear_from(h, 0, own4, peer4) == "");
  CHECK(what_was_told() == "192.0.2.1/24 dadfailed; ");
  CHECK(hear_from(h, 1, peer4, own4) == "");
}

TEST_CASE("RFC 5227 2.4 b: an address is defended once, and given up at a second conflict within ten seconds") {
  host h(telling(conflict_policy::defend_once));
  CHECK(hear_from(h, 0, own4, peer4) == "to all announces 192.0.2.1");
  CHECK(hear_from(h, 10'000, own4, peer4) == "to all announces 192.0.2.1");
  CHECK(what_was_told() == "");
  CHECK(hear_from(h, 19'999, own4, peer4) == "");
  CHECK(what_was_told() == "192.0.2.1/24 dadfailed; ");
  CHECK(h.link.addresses.contains(own6));
}

TEST_CASE("RFC 4862 5.4.2: an IPv6 address is asked for once, from nobody, and used a second later") {
  host h(telling());
  REQUIRE(h.table.acquire({new6, 64}, instant{}));
  const auto said = until(h, 60'000);
  REQUIRE(said.size() == 3);
  CHECK(said[0].second == "to 33:33:ff:00:00:50 probes fe80::50");
  CHECK(said[0].first <= 1000);
  CHECK(said[1].first - said[0].first == 1000);
  CHECK(said[1].second == "to 33:33:00:00:00:01 tells fe80::50 to ff02::1 O");
  CHECK(said[2].second == said[1].second);
  CHECK(what_was_told() == "fe80::50/64 preferred; ");
}

TEST_CASE("RFC 4862 5.4: the number of questions is configurable; zero means that the address is used at once") {
  host twice({.dad_transmits = 2});
  REQUIRE(twice.table.acquire({new6, 64}, instant{}));
  const auto said = until(twice, 60'000);
  REQUIRE(said.size() == 4);
  CHECK(said[1].second == "to 33:33:ff:00:00:50 probes fe80::50");
  neighbour_options o = telling();
  o.dad_transmits = 0;
  host h(o);
  REQUIRE(h.table.acquire({new6, 64}, instant{}));
  CHECK(until(h, 1001).size() == 1);
  CHECK(what_was_told() == "fe80::50/64 preferred; ");
}

TEST_CASE(
    "RFC 4862 5.4.3, 5.4.4: a solicitation from nobody or an advertisement for a tentative address is a duplicate") {
  for (const bool asks : {true, false}) {
    host h(telling());
    REQUIRE(h.table.acquire({new6, 64}, instant{}));
    // Somebody who wants to talk to the address: neither an answer nor a duplicate.
    CHECK(hear_solicitation(h, 1, peer6, new6, ndp_source_link_address{peer}) == "");
    CHECK(what_was_told() == "");
    if (asks) CHECK(hear_solicitation(h, 2, {}, new6) == "");
    else
      CHECK(h.hear(2, ethernet_header{.source = peer, .destination = multicast_mac(all_nodes_multicast)},
                   ipv6_header{.source = new6, .destination = all_nodes_multicast, .hop_limit = 255},
                   neighbour_advertisement_header{.target = new6}, ndp_target_link_address{peer}) == "");
    CHECK(what_was_told() == "fe80::50/64 dadfailed; ");
    CHECK(until(h, 60'000).empty());
    CHECK(h.table.acquire(*h.link.addresses.find(new6), h.now()));  // once more
    CHECK(until(h, 60'000).size() == 3);
  }
}

TEST_CASE("RFC 4862 5.5.4: an address is deprecated, and taken away, when its lifetimes end") {
  host h(telling());
  interface_address a{new6, 64};
  a.preferred_until = instant{} + seconds(30);
  a.valid_until = instant{} + seconds(40);
  REQUIRE(h.table.acquire(a, instant{}));
  until(h, 29'000);
  CHECK(what_was_told() == "fe80::50/64 preferred; ");
  CHECK(h.table.next_due() == instant{} + seconds(30));
  CHECK(h.table.done());
  h.at(30'000);
  CHECK(what_was_told() == "fe80::50/64 deprecated; ");
  CHECK(hear_solicitation(h, 39'999, peer6, new6, ndp_source_link_address{peer}) ==
        "to 02 tells fe80::50 to 2001:db8::2 S O");
  h.at(40'000);
  CHECK(what_was_told() == "fe80::50/64 expired; ");
  CHECK(h.link.addresses.size() == 2);
  CHECK(hear_solicitation(h, 40'001, peer6, new6, ndp_source_link_address{peer}) == "");
}

TEST_CASE("a probe for which there is no memory is sent later, not left out") {
  host h;
  std::vector<packet> all;
  for (packet p = h.memory->allocate(); p; p = h.memory->allocate()) all.push_back(std::move(p));
  REQUIRE(h.table.acquire({new4, 24}, instant{}));
  CHECK(h.at(1000) == "");
  all.clear();
  const auto said = until(h, 60'000);
  REQUIRE(said.size() == 5);
  CHECK(said[0].first == 1100);
}

TEST_CASE("RFC 5227 2.4 c: a conflict is reported, and the address defended once in ten seconds") {
  static std::string told;
  told.clear();
  host h({.conflict = [](void*, const ipv6_address& a, const mac_address& who) {
    text<80> out;
    print(out, a);
    print(out << " by ", who);
    told = out.c_str();
  }});
  CHECK(h.hear_arp(0, mac_broadcast, request(own4, peer, peer4)) == "to all announces 192.0.2.1");
  CHECK(told == "::ffff:192.0.2.1 by 02:00:00:00:00:02");
  CHECK(h.hear_arp(9'999, us, reply(own4, peer)) == "");
  CHECK(h.hear_arp(10'000, us, reply(own4, peer)) == "to all announces 192.0.2.1");
  CHECK(h.table.statistics().conflicts == 3);
  CHECK(h.hear(10'001, ethernet_header{.source = peer, .destination = us},
               ipv6_header{.source = own6, .destination = own6, .hop_limit = 255},
               neighbour_advertisement_header{.target = own6}, ndp_target_link_address{peer}) == "");
  CHECK(told == "2001:db8::1 by 02:00:00:00:00:02");
  CHECK(h.table.statistics().conflicts == 4);
  const ipv6_address group = solicited_node_multicast(own6);
  CHECK(h.hear(10'002, ethernet_header{.source = peer, .destination = multicast_mac(group)},
               ipv6_header{.source = own6, .destination = group, .hop_limit = 255},
               neighbour_solicitation_header{.target = own6}, ndp_source_link_address{peer}) == "");
  CHECK(h.table.statistics().conflicts == 5);
  CHECK(h.table.size() == 0);
  // One's own messages that come back are none.
  CHECK(h.hear_arp(30'000, mac_broadcast, request(own4, us, own4)) == "");
  CHECK(h.table.statistics().conflicts == 5);
}

TEST_CASE("addresses are announced") {
  host h({.router = true});
  CHECK(h.table.announce(mapped(own4)));
  CHECK(h.table.announce(own6));
  CHECK_FALSE(h.table.announce(peer6));
  CHECK(h.at(0) == "to all announces 192.0.2.1; to 33:33:00:00:00:01 tells 2001:db8::1 to ff02::1 R O");
}

TEST_CASE("proxy ARP answers for a prefix behind this host") {
  constexpr prefix behind[] = {net("192.0.2.64/26")};
  host h({.proxies = behind, .proxy_count = 1});
  CHECK(h.hear_arp(0, mac_broadcast, request(peer4, peer, {192, 0, 2, 65})) == "to 02 tells 192.0.2.65 to 192.0.2.2");
  CHECK(h.hear_arp(0, mac_broadcast, request(peer4, peer, {192, 0, 2, 63})) == "");
  CHECK(h.hear_arp(0, mac_broadcast, request({192, 0, 2, 66}, peer, {192, 0, 2, 66})) == "");
}

TEST_CASE("RFC 4861 7.2.8: neighbour discovery for a prefix behind this host, without override, from an own address") {
  constexpr prefix behind[] = {net("192.0.2.64/26"), net("2001:db8:0:0:1::/80")};
  constexpr auto inside = addr6("2001:db8:0:0:1::7");
  host h({.router = true, .proxies = behind, .proxy_count = 2});
  CHECK(hear_solicitation(h, 0, peer6, inside, ndp_source_link_address{peer}) ==
        "to 02 tells 2001:db8::1:0:0:7 to 2001:db8::2 R S from 2001:db8::1");
  CHECK(h.table.size() == 0);
  // Unicast, as one asks who knows the address already.
  CHECK(h.hear(1, ethernet_header{.source = peer, .destination = us},
               ipv6_header{.source = peer6, .destination = inside, .hop_limit = 255},
               neighbour_solicitation_header{.target = inside}) ==
        "to 02 tells 2001:db8::1:0:0:7 to 2001:db8::2 R S from 2001:db8::1");
  // Who wants to have the address hears that it is taken.
  CHECK(hear_solicitation(h, 2, {}, inside) ==
        "to 33:33:00:00:00:01 tells 2001:db8::1:0:0:7 to ff02::1 R from 2001:db8::1");
  CHECK(hear_solicitation(h, 3, peer6, addr6("2001:db8:0:0:2::7"), ndp_source_link_address{peer}) == "");
}
