// SPDX-License-Identifier: MIT
// Neighbours as conversations: what comes in at what time, and what goes out on the link; then scans, and anything.
#include <runnel/ip.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <runnel/base/random.hpp>

#include <flow/test_device.hpp>
#include <ip/neighbour_host.hpp>

using namespace runnel;
using namespace runnel::test;

TEST_CASE("RFC 4861 7.2.2, RFC 1122 2.3.2.2: a packet waits until its neighbour has answered, and goes then") {
  host h;
  CHECK(h.send(0, 1, peer4) == "to all who-has 192.0.2.2 tell 192.0.2.1");
  CHECK(h.line(peer4) == "192.0.2.2 dev eth0 INCOMPLETE");
  CHECK(h.send(1, 2, peer4) == "");
  CHECK(h.hear_arp(5, us, reply(peer4, peer)) == "to 02 #1; to 02 #2");
  CHECK(h.line(peer4) == "192.0.2.2 dev eth0 lladdr 02:00:00:00:00:02 REACHABLE");
  CHECK(h.send(6, 3, peer4) == "to 02 #3");
  CHECK(h.table.done());
  CHECK(h.table.statistics().solicitations == 1);
}

TEST_CASE("on several links each message is heard by the table of the interface that it came by") {
  host h;
  neighbour_table* tables[] = {nullptr, nullptr, &h.table};
  const ethernet_header to_us{.source = peer, .destination = us};
  const auto came_by = [](std::uint16_t n) { return [n](packet& p) { p.iif(n); }; };
  CHECK(h.send(0, 1, peer4) == "to all who-has 192.0.2.2 tell 192.0.2.1");
  for (const auto elsewhere : std::vector<std::uint16_t>{0, 1, 3})
    CHECK(h.hear_by(came_by(elsewhere) | answer_neighbours(tables, 3), 5, to_us, reply(peer4, peer)) == "passed");
  CHECK(h.hear_by(came_by(2) | answer_neighbours(tables, 3), 5, to_us, reply(peer4, peer)) == "to 02 #1");
}

TEST_CASE("the same in IPv6") {
  host h;
  CHECK(h.send(0, 1, peer6) == "to 33:33:ff:00:00:02 who-has 2001:db8::2 tell 2001:db8::1");
  const ethernet_header to_us{.source = peer, .destination = us};
  CHECK(h.hear(5, to_us, ipv6_header{.source = peer6, .destination = own6, .hop_limit = 255},
               neighbour_advertisement_header{.target = peer6, .router = true, .solicited = true},
               ndp_target_link_address{peer}) == "to 02 #1");
  CHECK(h.faults == "");
  CHECK(h.line(peer6) == "2001:db8::2 dev eth0 lladdr 02:00:00:00:00:02 router REACHABLE");
  CHECK(h.send(6, 2, peer6) == "to 02 #2");
}

TEST_CASE("RFC 4861 7.2.2, 10: three questions, a second apart, then it has failed, and its packets with it") {
  host h;
  CHECK(h.send(0, 1, peer4) == "to all who-has 192.0.2.2 tell 192.0.2.1");
  CHECK(h.table.next_due() == instant{} + seconds(1));
  CHECK(h.at(999) == "");
  CHECK(h.at(1000) == "to all who-has 192.0.2.2 tell 192.0.2.1");
  CHECK(h.at(2000) == "to all who-has 192.0.2.2 tell 192.0.2.1");
  CHECK(h.at(2999) == "");
  CHECK(h.table.waiting() == 1);
  CHECK(h.at(3000) == "");
  CHECK(h.line(peer4) == "192.0.2.2 dev eth0 FAILED");
  CHECK(h.table.statistics().failed_discards == 1);
  CHECK(h.table.statistics().res_failed == 1);
  CHECK(h.table.done());
  CHECK(h.send(3100, 2, peer4) == "to all who-has 192.0.2.2 tell 192.0.2.1");
  CHECK(h.hear_arp(3101, us, reply(peer4, peer)) == "to 02 #2");
}

TEST_CASE("the packets of a neighbour that has failed go to who asked for them") {
  std::vector<packet> given;
  host h({.failed = [](void* to, packet&& p) { static_cast<std::vector<packet>*>(to)->push_back(std::move(p)); },
          .context = &given});
  CHECK(h.send(0, 1, peer4) != "");
  h.at(1000), h.at(2000), h.at(3000);
  REQUIRE(given.size() == 1);
  CHECK(number_of(given[0]) == 1);
  CHECK(h.table.statistics().failed_discards == 0);
  given.clear();
}

TEST_CASE("a neighbour that is forgotten and told anew has its new address, wherever its place is") {
  host h;
  REQUIRE(h.table.set_permanent(mapped(peer4), peer, h.now()));
  CHECK(h.send(0, 1, peer4) == "to 02 #1");
  CHECK(h.send(1, 2, peer4) == "to 02 #2");
  REQUIRE(h.table.erase(mapped(peer4)));
  REQUIRE(h.table.set_permanent(mapped(peer4), other_peer, h.now()));
  CHECK(h.send(2, 3, peer4) == "to 03 #3");
  REQUIRE(h.table.erase(mapped(peer4)));
  CHECK(h.send(3, 4, peer4) == "to all who-has 192.0.2.2 tell 192.0.2.1");
  CHECK(h.send(4, 5, peer4) == "");
  CHECK(h.table.size() == 1);
  CHECK(h.hear_arp(5, us, reply(peer4, peer)) == "to 02 #4; to 02 #5");
}

TEST_CASE("RFC 4861 7.3.3: an address that may be out of date is used, asked for after five seconds, and given up") {
  host h;
  h.send(0, 1, peer4);
  h.hear_arp(5, us, reply(peer4, peer));
  CHECK(h.send(60'000, 2, peer4) == "to 02 #2");
  CHECK(h.line(peer4) == "192.0.2.2 dev eth0 lladdr 02:00:00:00:00:02 DELAY");
  CHECK(h.table.next_due() == instant{} + seconds(65));
  CHECK(h.at(64'999) == "");
  CHECK(h.at(65'000) == "to 02 who-has 192.0.2.2 tell 192.0.2.1");
  CHECK(h.line(peer4) == "192.0.2.2 dev eth0 lladdr 02:00:00:00:00:02 PROBE");
  CHECK(h.send(65'500, 3, peer4) == "to 02 #3");
  CHECK(h.at(66'000) == "to 02 who-has 192.0.2.2 tell 192.0.2.1");
  CHECK(h.at(67'000) == "to 02 who-has 192.0.2.2 tell 192.0.2.1");
  CHECK(h.at(68'000) == "");
  CHECK(h.line(peer4) == "192.0.2.2 dev eth0 FAILED");
  CHECK(h.table.done());
}

TEST_CASE("RFC 4861 7.3.1: reachable again is who answers the question, and whom a layer above hears from") {
  host h;
  h.send(0, 1, peer4);
  h.hear_arp(5, us, reply(peer4, peer));
  h.send(60'000, 2, peer4);
  CHECK(h.at(65'000) == "to 02 who-has 192.0.2.2 tell 192.0.2.1");
  CHECK(h.hear_arp(65'001, us, reply(peer4, peer)) == "");
  CHECK(h.line(peer4) == "192.0.2.2 dev eth0 lladdr 02:00:00:00:00:02 REACHABLE");
  h.send(120'000, 3, peer4);
  CHECK(h.table.find(mapped(peer4), h.now()).state == neighbour_state::delay);
  h.table.confirm(mapped(peer4), h.now());
  CHECK(h.table.find(mapped(peer4), h.now()).state == neighbour_state::reachable);
  CHECK(h.table.done());
}

TEST_CASE("RFC 4861 6.3.2: the reachable time lies between half and one and a half of its base, and changes") {
  host h;
  std::int64_t least = INT64_MAX, most = 0;
  for (int i = 0; i < 200; ++i) {
    h.at(i * 300'000);
    const std::int64_t t = h.table.reachable_time().ns;
    CHECK(t >= 15'000'000'000);
    CHECK(t <= 45'000'000'000);
    least = t < least ? t : least;
    most = t > most ? t : most;
  }
  CHECK(least < 18'000'000'000);
  CHECK(most > 42'000'000'000);
}

TEST_CASE("RFC 826, RFC 4861 7.2.3, 7.2.4: who asks for our address gets an answer, and is known from then on") {
  host h;
  CHECK(h.hear_arp(0, mac_broadcast, request(peer4, peer, own4)) == "to 02 tells 192.0.2.1 to 192.0.2.2");
  CHECK(h.line(peer4) == "192.0.2.2 dev eth0 lladdr 02:00:00:00:00:02 STALE");
  const ipv6_address group = solicited_node_multicast(own6);
  const ethernet_header to_group{.source = peer, .destination = multicast_mac(group)};
  CHECK(h.hear(1, to_group, ipv6_header{.source = peer6, .destination = group, .hop_limit = 255},
               neighbour_solicitation_header{.target = own6},
               ndp_source_link_address{peer}) == "to 02 tells 2001:db8::1 to 2001:db8::2 S O");
  CHECK(h.line(peer6) == "2001:db8::2 dev eth0 lladdr 02:00:00:00:00:02 STALE");
  // Duplicate address detection, §7.2.4.
  CHECK(h.hear(2, to_group, ipv6_header{.source = {}, .destination = group, .hop_limit = 255},
               neighbour_solicitation_header{.target = own6}) == "to 33:33:00:00:00:01 tells 2001:db8::1 to ff02::1 O");
  // A probe, RFC 5227 §2.1.1: answered, and nothing is learned.
  CHECK(h.hear_arp(3, mac_broadcast, request({}, other_peer, own4)) == "to 03 tells 192.0.2.1 to 0.0.0.0");
  CHECK(h.table.size() == 2);
  CHECK(h.table.statistics().conflicts == 0);
}

TEST_CASE("what is not for us is not answered, and teaches us only about neighbours that we know") {
  host h;
  CHECK(h.hear_arp(0, mac_broadcast, request(peer4, peer, {192, 0, 2, 77})) == "");
  CHECK(h.hear_arp(0, us, reply(peer4, peer)) == "");
  CHECK(h.hear_arp(0, mac_broadcast, request(peer4, peer, peer4)) == "");
  CHECK(h.hear(1, ethernet_header{.source = peer, .destination = multicast_mac(all_nodes_multicast)},
               ipv6_header{.source = peer6, .destination = all_nodes_multicast, .hop_limit = 255},
               neighbour_advertisement_header{.target = peer6}, ndp_target_link_address{peer}) == "");
  CHECK(h.table.size() == 0);
  h.send(2, 1, peer4);
  CHECK(h.hear_arp(3, mac_broadcast, request(peer4, peer, {192, 0, 2, 77})) == "to 02 #1");
  CHECK(h.line(peer4) == "192.0.2.2 dev eth0 lladdr 02:00:00:00:00:02 STALE");
  // Its new address, announced.
  CHECK(h.hear_arp(4, mac_broadcast, request(peer4, other_peer, peer4)) == "");
  CHECK(h.line(peer4) == "192.0.2.2 dev eth0 lladdr 02:00:00:00:00:03 STALE");
  // Not of this link.
  CHECK(h.hear_arp(5, mac_broadcast, request({10, 0, 0, 9}, peer, own4)) == "to 02 tells 192.0.2.1 to 10.0.0.9");
  CHECK(h.table.size() == 1);
}

TEST_CASE("with accept_untracked, announcements are learned") {
  host h({.accept_untracked = true});
  CHECK(h.hear_arp(0, mac_broadcast, request(peer4, peer, peer4)) == "");
  CHECK(h.line(peer4) == "192.0.2.2 dev eth0 lladdr 02:00:00:00:00:02 STALE");
}

TEST_CASE("RFC 4861 7.2.5: what an advertisement changes, by its flags") {
  const auto line_after = [](bool known, bool solicited, bool override_cached, const mac_address* said) {
    host h;
    h.send(0, 1, peer6);
    const ethernet_header to_us{.source = peer, .destination = us};
    const ipv6_header ip{.source = peer6, .destination = own6, .hop_limit = 255};
    if (known)
      h.hear(1, to_us, ip, neighbour_advertisement_header{.target = peer6, .solicited = true},
             ndp_target_link_address{peer});
    const neighbour_advertisement_header m{.target = peer6, .solicited = solicited, .override_cached = override_cached};
    if (said != nullptr) h.hear(2, to_us, ip, m, ndp_target_link_address{*said});
    else h.hear(2, to_us, ip, m);
    const neighbour n = h.table.find(peer6, h.now());
    return std::string(name(n.state)) + (n.is_valid() ? n.lladdr == peer ? " 02" : " 03" : "");
  };
  CHECK(line_after(false, true, true, &peer) == "REACHABLE 02");
  CHECK(line_after(false, false, false, &peer) == "STALE 02");
  CHECK(line_after(false, true, true, nullptr) == "INCOMPLETE");
  CHECK(line_after(true, true, false, &other_peer) == "STALE 02");
  CHECK(line_after(true, true, true, &other_peer) == "REACHABLE 03");
  CHECK(line_after(true, false, true, &other_peer) == "STALE 03");
  CHECK(line_after(true, false, true, &peer) == "REACHABLE 02");
  CHECK(line_after(true, false, false, nullptr) == "REACHABLE 02");
}

TEST_CASE("RFC 4861 7.1.1, 7.1.2, RFC 1812 3.3.2: messages that the RFCs refuse change nothing") {
  host h;
  h.send(0, 1, peer4);
  h.send(0, 2, peer6);
  const auto refused = [&](const char* why, const auto&... headers) {
    CHECK(h.hear(1, headers...) == "");
    CHECK(h.faults == why);
  };
  const ethernet_header to_us{.source = peer, .destination = us};
  const ipv6_header ip{.source = peer6, .destination = own6, .hop_limit = 255};
  const neighbour_advertisement_header says{.target = peer6, .solicited = true};
  const ndp_target_link_address tlla{peer};
  ipv6_header from_afar = ip;
  from_afar.hop_limit = 254;
  refused("neighbour_malformed", to_us, from_afar, says, tlla);
  refused("neighbour_malformed", to_us, ip, says, ndp_target_link_address{mac_broadcast});
  ipv6_header to_all = ip;
  to_all.destination = all_nodes_multicast;
  refused("neighbour_malformed", to_us, to_all, says, tlla);  // solicited, to a multicast address
  ipv6_header from_nobody = ip;
  from_nobody.source = {};
  refused("neighbour_malformed", to_us, from_nobody, neighbour_solicitation_header{.target = own6},
          ndp_source_link_address{peer});
  ipv6_header to_group = ip;
  to_group.destination = solicited_node_multicast(own6);
  refused("neighbour_malformed", to_us, to_group, neighbour_solicitation_header{.target = own6});
  refused("arp_malformed", to_us, reply(peer4, mac_broadcast));
  refused("arp_malformed", to_us, reply(peer4, {}));
  refused("arp_malformed", to_us, reply({224, 0, 0, 1}, peer));
  refused("arp_malformed", to_us, reply({127, 0, 0, 1}, peer));
  arp_header reverse = reply(peer4, peer);
  reverse.operation = 3;
  refused("arp_malformed", to_us, reverse);
  CHECK(h.line(peer4) == "192.0.2.2 dev eth0 INCOMPLETE");
  CHECK(h.line(peer6) == "2001:db8::2 dev eth0 INCOMPLETE");
  CHECK(h.hear(2, to_us, ip, says, tlla) == "to 02 #2");
}

TEST_CASE("IPv6 messages about IPv4 addresses are refused: neighbours of that family are ARP's") {
  host h;
  h.send(0, 1, peer4);
  h.hear_arp(1, us, reply(peer4, peer));
  const ethernet_header to_us{.source = other_peer, .destination = us};
  const ipv6_header ip{.source = peer6, .destination = own6, .hop_limit = 255};
  ipv6_header from4 = ip;
  from4.source = mapped(peer4);
  const auto refused = [&](const auto&... headers) {
    CHECK(h.hear(2, to_us, headers...) == "");
    CHECK(h.faults == "neighbour_malformed");
    CHECK(h.line(peer4) == "192.0.2.2 dev eth0 lladdr 02:00:00:00:00:02 REACHABLE");
  };
  refused(ip, neighbour_advertisement_header{.target = mapped(peer4), .solicited = true},
          ndp_target_link_address{other_peer});
  refused(ip, neighbour_advertisement_header{.target = mapped(own4)}, ndp_target_link_address{other_peer});
  refused(from4, neighbour_solicitation_header{.target = own6}, ndp_source_link_address{other_peer});
  refused(ip, neighbour_solicitation_header{.target = mapped(own4)}, ndp_source_link_address{other_peer});
  CHECK(h.table.statistics().conflicts == 0);
}

TEST_CASE("a wrong checksum is refused, and what is for others passes") {
  host h;
  h.send(0, 1, peer6);
  const ethernet_header to_us{.source = peer, .destination = us};
  const ipv6_header ip{.source = peer6, .destination = own6, .hop_limit = 255};
  // A correct one, whose checksum belongs to other addresses.
  CHECK(h.hear(1, to_us, ip, icmpv6_header{.kind = {136, 0}}) == "");
  CHECK(h.faults == "neighbour_malformed");
  CHECK(h.hear(1, to_us, ipv6_header{.source = peer6, .destination = far6, .hop_limit = 255},
               neighbour_advertisement_header{.target = peer6}, ndp_target_link_address{peer}) == "passed");
  CHECK(h.hear(1, to_us, ip, icmpv6_header{.kind = icmpv6::echo_request}) == "passed");
  CHECK(h.hear(1, to_us, ip, icmpv6_header{.kind = icmpv6::router_advertisement}) == "passed");
}

TEST_CASE("RFC 4861 7.2.2: each neighbour has a limited queue, the oldest makes room") {
  host h({.unres_qlen = 3});
  CHECK(h.send(0, 1, peer4) != "");
  for (unsigned n = 2; n <= 5; ++n) CHECK(h.send(1, n, peer4) == "");
  CHECK(h.table.waiting() == 3);
  CHECK(h.table.statistics().queue_discards == 2);
  CHECK(h.hear_arp(5, us, reply(peer4, peer)) == "to 02 #3; to 02 #4; to 02 #5");
}

TEST_CASE("all neighbours together hold no more than there is room for") {
  host h;
  for (unsigned n = 1; n <= 12; ++n) h.send(0, n, peer4);
  CHECK(h.table.waiting() == 12);
  CHECK(h.send(0, 13, ipv4_address{192, 0, 2, 3}) == "to all who-has 192.0.2.3 tell 192.0.2.1");
  CHECK(h.table.waiting() == 12);
  CHECK(h.table.statistics().queue_discards == 1);
  CHECK(h.send(1, 14, peer4) == "");
  CHECK(h.table.waiting() == 12);
  CHECK(h.table.statistics().queue_discards == 2);
}

TEST_CASE("a scan from elsewhere keeps no neighbour from an answer") {
  host h;
  for (unsigned n = 0; n < 64; ++n) h.send(n, n, ipv4_address{192, 0, 2, static_cast<std::uint8_t>(100 + n % 8)});
  CHECK(h.hear_arp(100, mac_broadcast, request(peer4, peer, own4)) == "to 02 tells 192.0.2.1 to 192.0.2.2");
  CHECK(h.hear(101, ethernet_header{.source = peer, .destination = multicast_mac(solicited_node_multicast(own6))},
               ipv6_header{.source = peer6, .destination = solicited_node_multicast(own6), .hop_limit = 255},
               neighbour_solicitation_header{.target = own6},
               ndp_source_link_address{peer}) == "to 02 tells 2001:db8::1 to 2001:db8::2 S O");
  CHECK(h.table.statistics().no_packet == 0);
}

TEST_CASE("a pool with less headroom than a message has headers carries it all the same") {
  static_pool<pool_config{.packets = 8, .bytes = 86 - 16, .headroom = 16, .bare = 0}> memory;
  ip_interface link{.mac = us, .addresses = {{own4, 24}, {own6, 64}}};
  static_neighbour_table<neighbour_config{.entries = 4, .unresolved = 4, .packets = 4}> table{memory, link, 1};
  packet to4 = memory->allocate(), to6 = memory->allocate();
  REQUIRE((to4.put(60) != nullptr && to6.put(60) != nullptr));
  CHECK(table->send_to(mapped(peer4), to4, {}) == stolen);
  CHECK(table->send_to(peer6, to6, {}) == stolen);
  packet asked[2];
  REQUIRE(table->pull(asked, 2, {}) == 2);
  CHECK(asked[0].length() == 14 + 28);
  CHECK(asked[1].length() == 86);
  CHECK(table->statistics().no_packet == 0);
}

TEST_CASE("multicast and broadcast need no neighbour") {
  host h;
  CHECK(h.send(0, 1, ipv4_address{224, 129, 2, 3}) == "to 01:00:5e:01:02:03 #1");
  CHECK(h.send(0, 2, ipv4_address{255, 255, 255, 255}) == "to all #2");
  CHECK(h.send(0, 3, ipv4_address{192, 0, 2, 255}) == "to all #3");
  CHECK(h.send(0, 4, ipv6_address{0xff02'0000'0000'0000, 0x1'0002}) == "to 33:33:00:01:00:02 #4");
  CHECK(h.send(0, 5, ipv4_address{}) == "");
  CHECK(h.table.size() == 0);
  CHECK(h.table.done());
}

TEST_CASE("a permanent neighbour never changes") {
  host h;
  h.send(0, 1, peer4);
  REQUIRE(h.table.set_permanent(mapped(peer4), peer, h.now()));
  CHECK(h.at(1) == "to 02 #1");
  CHECK(h.hear_arp(2, us, reply(peer4, other_peer)) == "");
  CHECK(h.hear_arp(2, mac_broadcast, request(peer4, other_peer, own4)) == "to 03 tells 192.0.2.1 to 192.0.2.2");
  CHECK(h.send(1'000'000, 2, peer4) == "to 02 #2");
  CHECK(h.line(peer4) == "192.0.2.2 dev eth0 lladdr 02:00:00:00:00:02 PERMANENT");
  CHECK(h.table.erase(mapped(peer4)));
  CHECK_FALSE(h.table.erase(mapped(peer4)));
  CHECK(h.line(peer4) == "192.0.2.2 dev eth0 NONE");
}

TEST_CASE("questions are limited in number, and those to known neighbours go first") {
  host h({.solicit_rate = 10, .solicit_burst = 2});
  h.send(0, 1, peer4);
  h.hear_arp(0, us, reply(peer4, peer));
  h.send(60'000, 2, peer4);  // asked at 65'000
  for (std::uint8_t i = 10; i < 14; ++i) h.send(64'999, i, ipv4_address{192, 0, 2, i});
  CHECK(h.table.statistics().solicitations == 3);
  CHECK(h.table.next_due() > h.now());
  CHECK(h.at(65'098) == "");
  CHECK(h.at(65'099) == "to 02 who-has 192.0.2.2 tell 192.0.2.1");
  CHECK(h.at(65'199) == "to all who-has 192.0.2.12 tell 192.0.2.1");
  CHECK(h.at(65'299) == "to all who-has 192.0.2.13 tell 192.0.2.1");
}

TEST_CASE("who asks this host without end keeps it from no question of its own") {
  host h({.solicit_rate = 10, .solicit_burst = 2});
  packet out[4];
  const auto pulled = [&](std::int64_t ms) {
    for (packet& p : out) p.reset();
    return h.table.pull(out, 4, instant{} + milliseconds(ms));
  };
  packet p = h.memory->allocate();
  REQUIRE(p.put(60) != nullptr);
  REQUIRE(h.table.send_to(mapped(peer4), p, {}) == stolen);
  // Four answers whenever four are pulled.
  for (std::int64_t ms = 0; ms < 5; ++ms) {
    for (int i = 0; i < 4; ++i) REQUIRE(h.table.announce(mapped(own4)));
    CHECK(pulled(ms) == 4);
  }
  CHECK(h.table.statistics().solicitations == 1);
  CHECK(pulled(5) == 1);
}

TEST_CASE("with a route, packets go to its gateway, and those on the link to themselves; tags are replaced") {
  next_hop_table_of<4> hops;
  sorted_routes_of<ipv4_address, 4> v4;
  sorted_routes_of<ipv6_address, 4> v6;
  route_table<sorted_routes_of<ipv4_address, 4>, sorted_routes_of<ipv6_address, 4>> routes{hops, v4, v6};
  REQUIRE(routes.insert(net("0.0.0.0/0"), next_hop::via(peer4, 1)));
  REQUIRE(routes.insert(net("192.0.2.0/24"), next_hop::on_link(1)));
  counted_pool memory{{.packets = 64, .bytes = 256, .headroom = 128, .bare = 64}};
  ip_interface link{.mac = us, .addresses = {{own4, 24}}};
  static_neighbour_table<neighbour_config{.entries = 8, .unresolved = 4, .packets = 8}> neighbours{memory, link, 3};
  test_device wire{memory};
  std::vector<std::string> seen;
  const auto note_frame = [&seen](packet p) {
    text<200> line;
    print_packet(line, p);
    seen.emplace_back(line.c_str());
  };
  auto path = parse() | route(routes)
                            .on<local>(discard)
                            .on<forward>(resolve(neighbours, routes) | deliver(note_frame))
                            .on<no_route>(discard);
  manual_clock clock;
  auto in = attach(wire, path);
  auto out = attach(neighbours, parse() | deliver(note_frame));
  const ipv4_header far{.source = {10, 0, 0, 1}, .destination = {198, 51, 100, 1}};
  wire.put(1, 18, {}, eth, vlan_header{.id = 5}, far, udp_header{.source_port = 1000, .destination_port = 7});
  wire.put(2, 18, {}, eth, ipv4_header{.source = {10, 0, 0, 1}, .destination = {192, 0, 2, 3}},
           udp_header{.source_port = 1000, .destination_port = 7});
  in.poll(clock);
  out.poll(clock);
  REQUIRE(seen.size() == 2);
  CHECK(seen[0].find("who-has 192.0.2.2 tell 192.0.2.1") != std::string::npos);
  CHECK(seen[1].find("who-has 192.0.2.3 tell 192.0.2.1") != std::string::npos);
  neighbours->advertised(mapped(peer4), &peer, true, true, false, clock.now());
  out.poll(clock);
  REQUIRE(seen.size() == 3);
  CHECK(seen[2].find("198.51.100.1") != std::string::npos);
  CHECK(seen[2].find("vlan") == std::string::npos);
  neighbours->erase(mapped(ipv4_address{192, 0, 2, 3}));
}

TEST_CASE("on several links, packets go by the table of the interface that their route leads to") {
  constexpr mac_address second{{2, 0, 0, 0, 0, 0x11}};
  next_hop_table_of<4> hops;
  sorted_routes_of<ipv4_address, 4> v4;
  route_table<sorted_routes_of<ipv4_address, 4>> routes{hops, v4};
  REQUIRE(routes.insert(net("0.0.0.0/0"), next_hop::via(peer4, 1)));
  REQUIRE(routes.insert(net("10.2.0.0/16"), next_hop::on_link(2)));
  REQUIRE(routes.insert(net("10.3.0.0/16"), next_hop::on_link(3)));
  REQUIRE(routes.insert(net("10.4.0.0/16"), next_hop::on_link(4)));
  counted_pool memory{{.packets = 64, .bytes = 256, .headroom = 128, .bare = 64}};
  ip_interface first_link{.mac = us}, second_link{.mac = second};
  static_neighbour_table<neighbour_config{.entries = 8, .unresolved = 4, .packets = 8}> one{memory, first_link, 3};
  static_neighbour_table<neighbour_config{.entries = 8, .unresolved = 4, .packets = 8}> two{memory, second_link, 4};
  REQUIRE(one->set_permanent(mapped(peer4), peer, {}));
  REQUIRE(two->set_permanent(mapped(ipv4_address{10, 2, 0, 9}), other_peer, {}));
  neighbour_table* const links[] = {nullptr, &one.get(), &two.get(), nullptr};
  test_device wire{memory};
  std::string seen;
  auto path = parse() | route(routes)
                            .on<local>(discard)
                            .on<forward>(resolve(links, 4, routes) | deliver([&seen](packet p) {
                                           const header_map found{static_cast<const packet&>(p)};
                                           text<80> line;
                                           print(line << oif_of(p) << ' ', found.get<ethernet>().source());
                                           print(line << '>', found.get<ethernet>().destination());
                                           (seen += line.c_str()) += "; ";
                                         }))
                            .on<no_route>(discard);
  for (const ipv4_address to : {addr4("198.51.100.1"), addr4("10.2.0.9"), addr4("10.3.0.1"), addr4("10.4.0.1")})
    wire.put(1, 18, {}, eth, ipv4_header{.source = {10, 0, 0, 1}, .destination = to}, udp_header{});
  manual_clock clock;
  auto in = attach(wire, path);
  in.poll(clock);
  CHECK(seen == "1 02:00:00:00:00:01>02:00:00:00:00:02; 2 02:00:00:00:00:11>02:00:00:00:00:03; ");
  CHECK(totals(path).dropped(drop_reason::neighbour_failed) == 2);
}

TEST_CASE("a scan of a /16 and of a /64 neither takes memory nor harms those that are reachable") {
  host h({.base_reachable_time = seconds(600)}, {.entries = 64, .unresolved = 16, .packets = 32, .seed = 5});
  for (std::uint8_t i = 100; i < 140; ++i) {
    h.send(0, i, ipv4_address{192, 0, 2, i});
    h.hear_arp(0, us, reply({192, 0, 2, i}, {{2, 0, 0, 0, 1, i}}));
  }
  CHECK(h.table.size() == 40);
  // 65'536 destinations in 65 seconds, each family.
  for (unsigned n = 0; n < 65'536; ++n) {
    h.send(n, 0, ipv4_address{(172u << 24) + (16u << 16) + n});
    h.send(n, 0, ipv6_address{own6.high(), 0xabc'0000 + std::uint64_t{n}});
    REQUIRE(h.table.size() <= 64);
    REQUIRE(h.table.waiting() <= 32);
  }
  for (std::uint8_t i = 100; i < 140; ++i) {
    const neighbour n = h.table.find(mapped(ipv4_address{192, 0, 2, i}), h.now());
    CHECK(n.state == neighbour_state::reachable);
    CHECK(n.lladdr.octets[5] == i);
  }
  CHECK(h.table.statistics().solicitations <= 66'000);  // solicit_rate and what came before
  CHECK(h.table.statistics().table_fulls > 100'000);
  CHECK(h.send(65'536, 7, ipv4_address{192, 0, 2, 100}) == "to 64 #7");
  h.at(66'536), h.at(67'536), h.at(68'536), h.at(69'536);
  CHECK(h.table.waiting() == 0);
  // And a new neighbour is found as ever.
  CHECK(h.send(70'000, 8, peer4) == "to all who-has 192.0.2.2 tell 192.0.2.1");
  CHECK(h.hear_arp(70'001, us, reply(peer4, peer)) == "to 02 #8");
}

TEST_CASE("who invents neighbours by asking for us takes no place from those that are reachable") {
  host h({.base_reachable_time = seconds(600)}, {.entries = 16, .unresolved = 4, .packets = 8, .seed = 6});
  for (std::uint8_t i = 100; i < 110; ++i) {
    h.send(0, i, ipv4_address{192, 0, 2, i});
    h.hear_arp(0, us, reply({192, 0, 2, i}, peer));
  }
  for (unsigned n = 110; n < 250; ++n)
    h.hear_arp(n * 1000, mac_broadcast, request({192, 0, 2, static_cast<std::uint8_t>(n)}, other_peer, own4));
  for (std::uint8_t i = 100; i < 110; ++i) {
    const neighbour n = h.table.find(mapped(ipv4_address{192, 0, 2, i}), h.now());
    CHECK(n.state == neighbour_state::reachable);
    CHECK(n.lladdr == peer);
  }
  CHECK(h.table.size() == 12);
}

TEST_CASE("who invents neighbours by asking for us keeps no other one from being asked for, and found") {
  host h({}, {.entries = 16, .unresolved = 4, .packets = 8, .seed = 6});
  const auto invent = [&](std::int64_t ms) {
    const auto host_number = static_cast<std::uint8_t>(100 + ms / 9 % 100);
    h.hear_arp(ms, mac_broadcast, request({192, 0, 2, host_number}, other_peer, own4));
  };
  for (std::int64_t ms = 0; ms < 1000; ms += 9) invent(ms);
  CHECK(h.table.size() == 12);
  CHECK(h.send(1000, 1, peer4) == "to all who-has 192.0.2.2 tell 192.0.2.1");
  for (std::int64_t ms = 1001; ms < 2000; ms += 9) invent(ms);
  CHECK(h.line(peer4) == "192.0.2.2 dev eth0 INCOMPLETE");
  CHECK(h.at(2000) == "to all who-has 192.0.2.2 tell 192.0.2.1");
  CHECK(h.hear_arp(2001, us, reply(peer4, peer)) == "to 02 #1");
}

TEST_CASE("whatever comes in whatever order, the table is consistent and nothing is lost") {
  random_generator random(42);
  for (int round = 0; round < 30; ++round) {
    std::size_t in = 0, out = 0;
    {
      ip_interface link{.mac = us, .addresses = {{own4, 24}, {own6, 64}}};
      counted_pool memory{{.packets = 24, .bytes = 128, .headroom = 128, .bare = 8}};
      static_neighbour_table<neighbour_config{.entries = 6, .unresolved = 3, .packets = 8}> t{
          memory,
          link,
          random.next(),
          {.unres_qlen = 3, .solicit_rate = 5, .solicit_burst = 2, .accept_untracked = round % 2 == 0}};
      instant now{};
      for (int step = 0; step < 600; ++step) {
        const auto k = static_cast<std::uint8_t>(2 + random.below(10));
        const ipv6_address a =
            random.chance(500'000) ? mapped(ipv4_address{192, 0, 2, k}) : ipv6_address{own6.high(), k};
        const mac_address mac{{2, 0, 0, 0, 2, static_cast<std::uint8_t>(random.below(3))}};
        switch (random.below(10)) {
          case 0: t->learn(a, mac, random.chance(300'000), now); break;
          case 1:
          case 2:
            t->advertised(a, random.chance(800'000) ? &mac : nullptr, random.chance(500'000), random.chance(500'000),
                          false, now);
            break;
          case 3: now = now + milliseconds(static_cast<std::int64_t>(random.below(4000))); break;
          case 4: t->confirm(a, now); break;
          case 5:
            if (random.chance(100'000)) t->erase(a);
            else if (random.chance(100'000)) (void)t->set_permanent(a, mac, now);
            break;
          case 6:
          case 7: {
            packet sent[4];
            const std::size_t n = t->pull(sent, 1 + static_cast<std::size_t>(random.below(4)), now);
            for (std::size_t i = 0; i < n; ++i) out += sent[i].length() == 60 ? 1u : 0u;
            break;
          }
          default: {
            packet p = memory->allocate();
            if (!p) break;
            REQUIRE(p.put(60) != nullptr);
            ++in;
            const verdict v = t->send_to(a, p, now);
            CHECK((v.code == verdict_code::stolen) == !p);
            if (v.code == verdict_code::pass) {
              ++out;
              CHECK(t->find(a, now).lladdr == mac_address::load(p.data()));
            }
          }
        }
        REQUIRE(t->check());
        const instant due = t->next_due();
        t->expire(now);
        CHECK((due <= now || t->next_due() > now || t->next_due() == due));
      }
      // Everything comes to an end when nobody answers.
      for (int i = 0; i < 1000 && !t->done(); ++i) {
        now = t->next_due() > now ? t->next_due() : now;
        packet sent[4];
        const std::size_t n = t->pull(sent, 4, now);
        for (std::size_t k = 0; k < n; ++k) out += sent[k].length() == 60 ? 1u : 0u;
      }
      CHECK(t->done());
      CHECK(t->waiting() == 0);
      const neighbour_statistics& s = t->statistics();
      // Each packet went out, or is counted as lost.
      CHECK(s.queue_discards + s.failed_discards + s.table_fulls == in - out);
    }
  }
}
