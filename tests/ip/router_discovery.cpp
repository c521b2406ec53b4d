// SPDX-License-Identifier: MIT
// A host and the routers of its link: what it asks, what it believes and for how long. Each test is named after the
// section of RFC 4861, RFC 4862 or another that asks for it.
#include <runnel/ip.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <flow/test_device.hpp>
#include <ip/neighbour_host.hpp>

using namespace runnel;
using namespace runnel::test;

namespace {

constexpr auto router6 = addr6("fe80::2"), router7 = addr6("fe80::3");
constexpr auto made6 = addr6("2001:db8:1::ff:fe00:1"), local6 = addr6("fe80::ff:fe00:1");
constexpr ndp_prefix usual{.prefix = addr6("2001:db8:1::"), .valid_lifetime = 20'000, .preferred_lifetime = 10'000};

class discovering_host {
 public:
  explicit discovering_host(std::uint64_t seed = 3, std::uint64_t id = 0)
      : discovery(h.table, {.interface_id = id, .changed = note, .redirected = note_redirect, .context = this}, seed) {}

  template <class... Options>
  std::string advertise(std::int64_t s, const router_advertisement_header& m, const Options&... options) {
    return advertise_from(router6, peer, s, m, options...);
  }
  template <class... Options>
  std::string advertise_from(const ipv6_address& from, const mac_address& mac, std::int64_t s,
                             const router_advertisement_header& m, const Options&... options) {
    return h.hear_by(hear_routers(discovery), s * 1000,
                     ethernet_header{.source = mac, .destination = multicast_mac(all_nodes_multicast)},
                     ipv6_header{.source = from, .destination = all_nodes_multicast, .hop_limit = 255}, m, options...);
  }
  // Time goes on; what is sent meanwhile.
  std::vector<std::pair<std::int64_t, std::string>> until(std::int64_t s) {
    std::vector<std::pair<std::int64_t, std::string>> all;
    for (;;) {
      const instant due = std::min(discovery.next_due(), h.table.next_due());
      if (due == never || due.ns / 1'000'000 > s * 1000) break;
      const std::int64_t ms = (due.ns + 999'999) / 1'000'000;
      discovery.advance(instant{} + milliseconds(ms));
      const std::string said = h.at(ms);
      if (!said.empty()) all.emplace_back(ms, said);
    }
    h.at(s * 1000);
    discovery.advance(instant{} + seconds(s));
    return all;
  }
  const interface_address* made(const ipv6_address& a = made6) { return h.link.addresses.find(a); }
  // How many seconds of a lifetime are left.
  std::int64_t valid() { return (made()->valid_until - h.now()).ns / 1'000'000'000; }
  std::int64_t preferred() { return (made()->preferred_until - h.now()).ns / 1'000'000'000; }
  std::string chosen() {
    text<60> out;
    if (discovery.router() != nullptr) print(out, discovery.router()->address);
    return out.c_str();
  }

  host h;
  router_discovery discovery;
  int changes = 0;
  std::string redirects;

 private:
  static void note(void* to, const router_discovery&) { ++static_cast<discovering_host*>(to)->changes; }
  static void note_redirect(void* to, const ipv6_address& from, const ipv6_address& destination,
                            const ipv6_address& target) {
    text<200> out;
    print(out, from), out << ": ";
    print(out, destination), out << " by ";
    print(out, target);
    static_cast<discovering_host*>(to)->redirects = out.c_str();
  }
};

}  // namespace

TEST_CASE(
    "RFC 4861 6.3.7: three questions, four seconds apart, the first within a second; a link-local address is made") {
  for (std::uint64_t seed = 1; seed < 20; ++seed) {
    discovering_host d{seed};
    d.discovery.start({});
    const auto said = d.until(100);
    std::vector<std::int64_t> asked;
    for (const auto& [when, what] : said) {
      if (what.find("router solicitation") == std::string::npos) continue;
      asked.push_back(when);
      CHECK((what.find("from 2001:db8::1 to ff02::2") != std::string::npos ||
             what.find("from fe80::ff:fe00:1 to ff02::2") != std::string::npos));
      CHECK(what.find("slla 02:00:00:00:00:01") != std::string::npos);
    }
    REQUIRE(asked.size() == 3);
    CHECK(asked[0] <= 1000);
    CHECK(asked[1] - asked[0] == 4000);
    CHECK(asked[2] - asked[1] == 4000);
    REQUIRE(d.made(local6) != nullptr);
    CHECK(d.made(local6)->state == address_state::preferred);
    CHECK(d.discovery.router() == nullptr);
    CHECK(d.changes == 0);
  }
}

TEST_CASE("RFC 4861 4.1: a question from nobody has no link-layer address") {
  discovering_host d;
  d.h.link.addresses = {};
  d.discovery.start({});
  const auto said = d.until(1);
  std::string first;
  for (const auto& one : said)
    if (one.second.find("solicitation") != std::string::npos && first.empty()) first = one.second;
  CHECK(first == "to 33:33:00:00:00:02 ICMP6, router solicitation from :: to ff02::2");
}

TEST_CASE("RFC 4861 6.3.7: a router has answered, no more questions") {
  discovering_host d;
  d.discovery.start({});
  d.until(1);
  d.advertise(2, {});
  for (const auto& one : d.until(100)) CHECK(one.second.find("solicitation") == std::string::npos);
  CHECK(d.discovery.statistics().solicitations == 1);
}

TEST_CASE("RFC 4861 6.3.4: default routers come with a lifetime, go with it, or with a lifetime of zero") {
  discovering_host d;
  d.advertise(0, {.router_lifetime = 100}, ndp_source_link_address{peer});
  CHECK(d.chosen() == "fe80::2");
  CHECK(d.changes == 1);
  CHECK(d.h.line(router6) == "fe80::2 dev eth0 lladdr 02:00:00:00:00:02 router STALE");
  d.advertise(50, {.router_lifetime = 100});
  d.until(149);
  CHECK(d.chosen() == "fe80::2");
  CHECK(d.changes == 1);
  d.until(150);
  CHECK(d.chosen() == "");
  CHECK(d.changes == 2);
  d.advertise(160, {.router_lifetime = 100});
  CHECK(d.chosen() == "fe80::2");
  CHECK(d.changes == 3);
  d.advertise(170, {.router_lifetime = 0});
  CHECK(d.chosen() == "");
  CHECK(d.changes == 4);
  d.advertise(180, {.router_lifetime = 0});
  CHECK(d.changes == 4);
  CHECK(d.discovery.next_due() == never);
}

TEST_CASE("RFC 4861 6.3.4, 6.3.2: hop limit, times and MTU are taken over; zero means nothing was said") {
  discovering_host d;
  d.advertise(0, {.hop_limit = 33, .managed = true, .reachable_time = 4000, .retransmit_timer = 2000}, ndp_mtu{1400});
  CHECK(d.discovery.hop_limit() == 33);
  CHECK(d.discovery.managed());
  CHECK_FALSE(d.discovery.other_configuration());
  CHECK(d.h.link.mtu == 1400);
  CHECK(d.h.table.options().retrans_time == seconds(2));
  CHECK(d.h.table.reachable_time() >= seconds(2));
  CHECK(d.h.table.reachable_time() <= seconds(6));
  d.advertise(1, {.hop_limit = 0});
  CHECK(d.discovery.hop_limit() == 33);
  CHECK(d.h.table.options().retrans_time == seconds(2));
  CHECK(d.h.link.mtu == 1400);
  // What no link has is not believed.
  d.advertise(2, {.reachable_time = 0xffff'ffff, .retransmit_timer = 3'600'000}, ndp_mtu{1279}, ndp_mtu{1501});
  CHECK(d.h.table.options().retrans_time == seconds(2));
  d.advertise(2, {.retransmit_timer = 1});
  CHECK(d.h.link.mtu == 1400);
  CHECK(d.h.table.options().retrans_time == milliseconds(100));
  CHECK(d.h.table.reachable_time() <= seconds(6));
}

TEST_CASE("RFC 4861 6.3.6, RFC 4191 3.2: a router of a higher preference, then one that is within reach") {
  discovering_host d;
  d.advertise(0, {}, ndp_source_link_address{peer});
  d.advertise_from(router7, other_peer, 0, {.preference = router_preference::low}, ndp_source_link_address{other_peer});
  CHECK(d.chosen() == "fe80::2");
  d.advertise_from(router7, other_peer, 1, {.preference = router_preference::high});
  CHECK(d.chosen() == "fe80::3");
  CHECK(d.changes == 2);
  // It does not answer any more.
  d.h.send(2000, 1, router7);
  d.until(20);
  CHECK(d.h.table.find(router7, d.h.now()).state == neighbour_state::failed);
  CHECK(d.chosen() == "fe80::2");
  CHECK(d.changes == 3);
  // Neither does the other: one is tried after the other.
  d.h.send(20'000, 2, router6);
  d.until(40);
  CHECK(d.h.table.find(router6, d.h.now()).state == neighbour_state::failed);
  const std::string one = d.chosen();
  d.discovery.advance(instant{} + seconds(50));
  const std::string two = d.chosen();
  d.discovery.advance(instant{} + seconds(60));
  CHECK(one != two);
  CHECK(d.chosen() == one);
}

TEST_CASE("RFC 4861 7.2.5: a router that says it is none any more is none, until it advertises itself again") {
  discovering_host d;
  d.advertise(0, {}, ndp_source_link_address{peer});
  d.advertise_from(router7, other_peer, 0, {.preference = router_preference::low}, ndp_source_link_address{other_peer});
  const auto says = [&](std::int64_t ms, const mac_address& from, bool router, bool override_cached) {
    d.h.hear(ms, ethernet_header{.source = from, .destination = multicast_mac(all_nodes_multicast)},
             ipv6_header{.source = router6, .destination = all_nodes_multicast, .hop_limit = 255},
             neighbour_advertisement_header{.target = router6, .router = router, .override_cached = override_cached},
             ndp_target_link_address{from});
    d.until(ms / 1000 + 2);
  };
  REQUIRE(d.changes == 1);
  says(1000, peer, true, true);
  CHECK(d.chosen() == "fe80::2");
  says(4000, other_peer, false, false);  // another address that shall not take its place: nothing is believed
  CHECK(d.chosen() == "fe80::2");
  says(7000, peer, false, true);
  CHECK(d.chosen() == "fe80::3");
  CHECK(d.discovery.routers().size() == 1);
  CHECK(d.changes == 2);
  d.advertise(10, {}, ndp_source_link_address{peer});
  d.until(12);
  CHECK(d.chosen() == "fe80::2");
  CHECK(d.discovery.routers().size() == 2);
  CHECK(d.h.table.check());
}

TEST_CASE("RFC 4861 6.3.4: more routers than there is room for are refused, and counted") {
  discovering_host d;
  for (std::uint64_t i = 0; i < 1000; ++i)
    d.advertise_from({router6.high(), 100 + i}, peer, 0, {}, ndp_source_link_address{peer});
  CHECK(d.discovery.routers().size() == router_discovery::most_routers);
  CHECK(d.discovery.statistics().refused == 1000 - router_discovery::most_routers);
}

TEST_CASE(
    "RFC 4861 6.3.4, 6.3.6: a router takes the place of one that is out of reach, whatever lifetime that claimed") {
  discovering_host d;
  for (std::uint64_t i = 0; i < router_discovery::most_routers; ++i)
    d.advertise_from({router6.high(), 100 + i}, peer, 0, {.router_lifetime = 65'535}, ndp_source_link_address{peer});
  d.advertise_from(router7, other_peer, 1, {}, ndp_source_link_address{other_peer});
  CHECK(d.discovery.statistics().refused == 1);
  CHECK(d.chosen() == "fe80::64");
  // Whoever said that was nobody.
  d.h.send(2000, 1, ipv6_address{router6.high(), 100});
  d.until(30);
  CHECK(d.h.table.find({router6.high(), 100}, d.h.now()).state == neighbour_state::failed);
  CHECK(d.chosen() == "fe80::65");
  d.advertise_from(router7, other_peer, 31, {.preference = router_preference::high},
                   ndp_source_link_address{other_peer});
  CHECK(d.chosen() == "fe80::3");
  CHECK(d.discovery.routers().size() == router_discovery::most_routers);
  CHECK(d.discovery.statistics().refused == 1);
}

TEST_CASE("RFC 4861 6.3.4, RFC 5942: a prefix is on the link as long as a router says so, with or without addresses") {
  discovering_host d;
  const ndp_prefix on_link{
      .prefix = addr6("2001:db8:5::"), .autonomous = false, .valid_lifetime = 100, .preferred_lifetime = 50};
  d.advertise(0, {}, on_link);
  CHECK(d.h.link.addresses.is_on_link(addr6("2001:db8:5::99")));
  CHECK(d.h.link.addresses.size() == 2);
  CHECK(d.discovery.prefixes().size() == 1);
  CHECK(d.changes == 1);
  d.advertise(90, {}, on_link);
  d.until(189);
  CHECK(d.h.link.addresses.is_on_link(addr6("2001:db8:5::99")));
  d.until(190);
  CHECK_FALSE(d.h.link.addresses.is_on_link(addr6("2001:db8:5::99")));
  CHECK(d.changes == 2);
  ndp_prefix ends = on_link;
  d.advertise(200, {}, on_link);
  ends.valid_lifetime = ends.preferred_lifetime = 0;
  d.advertise(201, {}, ends);
  CHECK_FALSE(d.h.link.addresses.is_on_link(addr6("2001:db8:5::99")));
  // An address whose prefix is not said to be on the link.
  ndp_prefix off_link = usual;
  off_link.on_link = false;
  d.advertise(202, {}, off_link);
  d.until(210);
  CHECK(d.made()->is_usable());
  CHECK_FALSE(d.h.link.addresses.is_on_link(addr6("2001:db8:1::99")));
  // Link-local prefixes are nobody's to advertise, and those of IPv4 not here.
  d.advertise(211, {}, ndp_prefix{.prefix = addr6("fe80::")});
  d.advertise(212, {}, ndp_prefix{.prefix = addr6("::ffff:0:0"), .prefix_length = 96});
  CHECK(d.discovery.prefixes().size() == 0);
  d.advertise(213, {}, ndp_prefix{.prefix_length = 0});
  CHECK(d.discovery.prefixes().size() == 1);
  const ipv4_address far4{203, 0, 113, 9};
  CHECK(d.h.hear_arp(214'000, mac_broadcast, request(far4, other_peer, own4)) != "");
  CHECK(d.h.line(far4) == "203.0.113.9 dev eth0 NONE");
}

TEST_CASE(
    "RFC 4862 5.5.3: an address is made of a prefix and the interface's identifier, and probed before it is used") {
  discovering_host d;
  d.advertise(0, {}, usual);
  REQUIRE(d.made() != nullptr);
  CHECK(d.made()->state == address_state::tentative);
  const auto said = d.until(10);
  REQUIRE(said.size() >= 1);
  CHECK(said[0].second == "to 33:33:ff:00:00:01 probes 2001:db8:1::ff:fe00:1");
  CHECK(d.made()->state == address_state::preferred);
  CHECK(d.valid() == 19'990);
  CHECK(d.preferred() == 9'990);
  d.until(10'000);
  CHECK(d.made()->state == address_state::deprecated);
  d.until(19'999);
  CHECK(d.made() != nullptr);
  d.until(20'000);
  CHECK(d.made() == nullptr);

  discovering_host named{3, 0x1234};
  named.advertise(0, {}, usual);
  CHECK(named.made(addr6("2001:db8:1::1234")) != nullptr);
}

TEST_CASE("RFC 4862 5.5.3 b to d: prefixes of which no address is made") {
  discovering_host d;
  ndp_prefix p = usual;
  p.prefix_length = 63;
  d.advertise(0, {}, p);
  p = usual;
  p.preferred_lifetime = p.valid_lifetime + 1;
  d.advertise(0, {}, p);
  p = usual;
  p.valid_lifetime = p.preferred_lifetime = 0;
  d.advertise(0, {}, p);
  p = usual;
  p.prefix = addr6("fe80::");
  d.advertise(0, {}, p);
  p = usual;
  p.autonomous = false;
  d.advertise(0, {}, p);
  CHECK(d.h.link.addresses.size() == 2);
}

TEST_CASE("RFC 4862 5.5.3 e: the two-hour rule") {
  const auto valid_after = [](std::uint32_t first, std::int64_t later, std::uint32_t second) {
    discovering_host d;
    ndp_prefix p = usual;
    p.valid_lifetime = first;
    p.preferred_lifetime = 100;
    d.advertise(0, {}, p);
    d.until(later);
    p.valid_lifetime = second;
    p.preferred_lifetime = second < 50 ? second : 50;
    d.advertise(later, {}, p);
    CHECK(d.preferred() == p.preferred_lifetime);  // that is always taken over
    return d.valid();
  };
  CHECK(valid_after(20'000, 10, 30'000) == 30'000);  // longer
  CHECK(valid_after(20'000, 10, 8'000) == 8'000);    // more than two hours
  CHECK(valid_after(20'000, 10, 100) == 7'200);      // not cut shorter than that
  CHECK(valid_after(20'000, 10, 0) == 7'200);
  CHECK(valid_after(5'000, 1'000, 100) == 4'000);    // less is left already: ignored
  CHECK(valid_after(5'000, 1'000, 4'500) == 4'500);  // more than is left
  CHECK(valid_after(5'000, 1'000, 7'200) == 7'200);
}

TEST_CASE(
    "RFC 4862 5.5.4: a preferred lifetime of zero deprecates at once, a new one makes the address preferred again") {
  discovering_host d;
  d.advertise(0, {}, usual);
  d.until(10);
  ndp_prefix p = usual;
  p.preferred_lifetime = 0;
  d.advertise(11, {}, p);
  d.until(12);
  CHECK(d.made()->state == address_state::deprecated);
  d.advertise(13, {}, usual);
  CHECK(d.made()->state == address_state::preferred);
}

TEST_CASE("RFC 4862 5.5.3: lifetimes without end; an address of the user's own is not a router's to end") {
  discovering_host d;
  ndp_prefix p = usual;
  p.valid_lifetime = p.preferred_lifetime = 0xffff'ffff;
  d.advertise(0, {}, p);
  CHECK(d.made()->valid_until == never);
  CHECK(d.made()->preferred_until == never);
  p.valid_lifetime = p.preferred_lifetime = 1;
  d.advertise(1, {}, p);
  CHECK(d.valid() == 7200);

  discovering_host fixed;
  REQUIRE(fixed.h.link.addresses.add(made6, 64));
  fixed.advertise(0, {}, p);
  CHECK(fixed.made()->valid_until == never);
  CHECK(fixed.h.link.addresses.size() == 3);
}

TEST_CASE("RFC 4861 6.3.4: a prefix of the user's own is not a router's to end") {
  discovering_host d;
  const ipv6_prefix mine{addr6("2001:db8:5::"), 64};
  REQUIRE(d.h.link.addresses.add_prefix(mine));
  d.advertise(0, {}, ndp_prefix{.prefix = mine.address(), .valid_lifetime = 10, .preferred_lifetime = 10});
  CHECK(d.discovery.prefixes().size() == 1);
  d.until(11);
  CHECK(d.discovery.prefixes().size() == 0);
  CHECK(d.h.link.addresses.is_on_link(addr6("2001:db8:5::99")));
}

TEST_CASE("RFC 4861 6.3.5: when a discovery stops or ends, what it has put into the interface goes, and no more") {
  host h;
  constexpr ipv6_prefix own_prefix{addr6("2001:db8:7::"), 64}, heard{addr6("2001:db8:1::"), 64};
  REQUIRE(h.link.addresses.add_prefix(own_prefix));
  int changes = 0;
  const discovery_options options{.autoconfigure = false,
                                  .changed = [](void* to, const router_discovery&) { ++*static_cast<int*>(to); },
                                  .context = &changes};
  const auto hear = [&](router_discovery& d) {
    h.hear_by(hear_routers(d), 0, ethernet_header{.source = peer, .destination = multicast_mac(all_nodes_multicast)},
              ipv6_header{.source = router6, .destination = all_nodes_multicast, .hop_limit = 255},
              router_advertisement_header{.router_lifetime = 1800}, usual, ndp_mtu{1400},
              ndp_prefix{.prefix = own_prefix.address(), .valid_lifetime = 20'000});
    CHECK(d.routers().size() == 1);
    CHECK(d.prefixes().size() == 2);
    CHECK(h.link.mtu == 1400);
  };
  const auto is_as_before = [&] {
    CHECK_FALSE(h.link.addresses.has_prefix(heard));
    CHECK(h.link.addresses.has_prefix(own_prefix));
    CHECK(h.link.mtu == 1500);
  };
  for (int round = 0; round < 2; ++round) {
    router_discovery d{h.table, options, 1};
    hear(d);
    if (round == 1) h.link.mtu = 1500;  // somebody else says so
  }
  is_as_before();
  router_discovery d{h.table, options, 1};
  hear(d);
  changes = 0;
  d.stop();
  is_as_before();
  CHECK(changes == 1);
  CHECK(d.router() == nullptr);
  CHECK(d.prefixes().size() == 0);
  CHECK(d.next_due() == never);
  d.stop();
  CHECK(changes == 1);
  hear(d);
  CHECK(d.router() != nullptr);
}

TEST_CASE("RFC 4862 5.4.5: an address that another has is not used, however often it is advertised") {
  discovering_host d;
  d.advertise(0, {}, usual);
  d.h.hear(1, ethernet_header{.source = peer, .destination = multicast_mac(all_nodes_multicast)},
           ipv6_header{.source = made6, .destination = all_nodes_multicast, .hop_limit = 255},
           neighbour_advertisement_header{.target = made6}, ndp_target_link_address{peer});
  CHECK(d.made()->state == address_state::duplicate);
  d.advertise(2, {}, usual);
  d.until(20);
  CHECK(d.made()->state == address_state::duplicate);
}

TEST_CASE("RFC 5227 2.1.1: addresses that came and went unasked for after ten conflicts keep no later one waiting") {
  discovering_host d;
  std::int64_t s = 0;
  for (std::uint64_t i = 1; i <= 1000; ++i) {  // each for a second, and the first ones are another's
    ndp_prefix p = usual;
    p.prefix = {usual.prefix.high() + (i << 16), 0};
    p.valid_lifetime = p.preferred_lifetime = 1;
    const ipv6_address made{p.prefix.high(), local6.low()};
    d.advertise(++s, {}, p);
    REQUIRE(d.made(made) != nullptr);
    if (i <= 10)
      d.h.hear(s * 1000 + 1, ethernet_header{.source = peer, .destination = multicast_mac(all_nodes_multicast)},
               ipv6_header{.source = made, .destination = all_nodes_multicast, .hop_limit = 255},
               neighbour_advertisement_header{.target = made}, ndp_target_link_address{peer});
  }
  d.until(++s);
  CHECK(d.h.link.addresses.size() == 2);
  d.advertise(s, {}, usual);
  d.until(s + 60 * static_cast<std::int64_t>(own_addresses::most) + 2);
  REQUIRE(d.made() != nullptr);
  CHECK(d.made()->state == address_state::preferred);
}

TEST_CASE("advertised prefixes beyond measure make no more addresses and prefixes than there is room for") {
  discovering_host d;
  for (std::uint64_t i = 0; i < 1000; ++i) {
    ndp_prefix p = usual;
    p.prefix = {usual.prefix.high() + (i << 16), 0};
    d.advertise(static_cast<std::int64_t>(i), {}, p);
  }
  CHECK(d.h.link.addresses.size() == 2 + router_discovery::most_addresses);
  CHECK(d.discovery.prefixes().size() == router_discovery::most_prefixes);
  CHECK(d.h.link.addresses.contains(own6));
  CHECK(d.discovery.statistics().refused > 1900);
}

TEST_CASE("RFC 8106 5.1: resolvers with a lifetime, bounded in number") {
  discovering_host d;
  const ipv6_address servers[] = {addr6("2001:db8:1::53"), addr6("2001:db8:1::54"), addr6("2001:db8:1::55"),
                                  addr6("2001:db8:1::56"), addr6("2001:db8:1::57")};
  const ipv6_address nobody[] = {{}, addr6("::1"), addr6("ff02::1")};
  d.advertise(0, {}, ndp_recursive_dns{nobody, 3, 100});
  CHECK(d.discovery.resolvers().size() == 0);
  d.advertise(0, {}, ndp_recursive_dns{servers, 5, 100});
  CHECK(d.discovery.resolvers().size() == 4);
  CHECK(d.discovery.resolvers()[0].address == servers[0]);
  d.advertise(1, {}, ndp_recursive_dns{servers, 1, 0});
  CHECK(d.discovery.resolvers().size() == 3);
  d.until(100);
  CHECK(d.discovery.resolvers().size() == 0);
}

TEST_CASE("RFC 4861 8.3: a redirect is believed when it comes from a default router") {
  discovering_host d;
  const auto told_to = [&](const ipv6_address& from, const ipv6_address& target,
                           const ipv6_address& destination = far6) {
    d.redirects.clear();
    d.h.hear_by(hear_routers(d.discovery), 1000, ethernet_header{.source = peer, .destination = us},
                ipv6_header{.source = from, .destination = own6, .hop_limit = 255},
                ndp_redirect_header{.target = target, .destination = destination}, ndp_target_link_address{other_peer});
    return d.redirects;
  };
  CHECK(told_to(router6, router7) == "");
  CHECK(d.h.faults == "neighbour_malformed");
  d.advertise(0, {});
  CHECK(told_to(router6, router7) == "fe80::2: 2001:db8:0:ffff::9 by fe80::3");
  CHECK(d.h.line(router7) == "fe80::3 dev eth0 lladdr 02:00:00:00:00:03 router STALE");
  CHECK(told_to(router6, far6) == "fe80::2: 2001:db8:0:ffff::9 by 2001:db8:0:ffff::9");
  CHECK(told_to(router7, far6) == "");
  CHECK(told_to(router6, addr6("2001:db8::77")) == "");  // neither link-local nor the destination
  CHECK(told_to(router6, own6) == "");
  CHECK(told_to(router6, mapped(peer4), mapped(peer4)) == "");  // an IPv4 neighbour is ARP's
  CHECK(d.h.line(peer4) == "192.0.2.2 dev eth0 NONE");
  CHECK(d.discovery.statistics().redirects == 2);
}

TEST_CASE("RFC 4861 6.1.2: advertisements that are refused change nothing") {
  discovering_host d;
  const auto refused = [&](const ipv6_address& from, std::uint8_t hops, const auto&... options) {
    d.h.hear_by(hear_routers(d.discovery), 0,
                ethernet_header{.source = peer, .destination = multicast_mac(all_nodes_multicast)},
                ipv6_header{.source = from, .destination = all_nodes_multicast, .hop_limit = hops},
                router_advertisement_header{}, options...);
    CHECK(d.h.faults == "neighbour_malformed");
  };
  refused(router6, 254, usual);
  refused(far6, 255, usual);
  refused(router6, 255, ndp_source_link_address{mac_broadcast});
  CHECK(d.discovery.router() == nullptr);
  CHECK(d.h.link.addresses.size() == 2);
  CHECK(d.h.table.size() == 0);
  CHECK(d.changes == 0);
  // Another host says it with our own address.
  d.discovery.start({});
  d.until(10);
  REQUIRE(d.made(local6) != nullptr);
  refused(local6, 255, usual);
  CHECK(d.discovery.router() == nullptr);
  // A host does not answer other hosts' questions: they pass.
  CHECK(d.h.hear_by(hear_routers(d.discovery), 0,
                    ethernet_header{.source = peer, .destination = multicast_mac(all_routers_multicast)},
                    ipv6_header{.source = peer6, .destination = all_routers_multicast, .hop_limit = 255},
                    router_solicitation_header{}) == "passed");
}

TEST_CASE("a router and a host of this library understand each other") {
  discovering_host d;
  host r{{.router = true}};
  r.link = {.mac = peer, .addresses = {{router6, 64}}};
  const ndp_prefix prefixes[] = {usual};
  advertising_options o;
  o.prefixes = prefixes;
  o.prefix_count = 1;
  o.mtu = 1480;
  router_advertiser advertiser{r.table, o, 5};
  advertiser.start({});
  advertiser.advance({});
  packet out[1];
  REQUIRE(r.table.pull(out, 1, {}) == 1);
  out[0].layers(dissect(out[0].contents(), link_type::ethernet, {.head_offset = out[0].headroom()}));
  context c;
  auto stage = hear_routers(d.discovery);
  CHECK(stage(out[0], c).code == verdict_code::stolen);
  CHECK(d.chosen() == "fe80::2");
  CHECK(d.h.link.mtu == 1480);
  CHECK(d.made() != nullptr);
  CHECK(d.h.line(router6) == "fe80::2 dev eth0 lladdr 02:00:00:00:00:02 router STALE");
}
