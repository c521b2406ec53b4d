// SPDX-License-Identifier: MIT
// A router tells hosts of itself: when, what, and how it answers. Each test is named after the section of RFC 4861 or
// another that asks for it.
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

constexpr auto local6 = addr6("fe80::1"), asker6 = addr6("fe80::2");
constexpr ndp_prefix lan_prefix[] = {{.prefix = addr6("2001:db8:1::")}};

struct advertising_host {
  explicit advertising_host(const advertising_options& o = plain(), std::uint64_t seed = 7)
      : advertiser(h.table, o, seed) {
    REQUIRE(h.link.addresses.add(local6, 64));
  }
  static advertising_options plain() {
    advertising_options o;
    o.prefixes = lan_prefix;
    o.prefix_count = 1;
    return o;
  }
  // All that is sent before `end`, and when, in milliseconds.
  std::vector<std::pair<std::int64_t, std::string>> until(std::int64_t end) {
    std::vector<std::pair<std::int64_t, std::string>> all;
    while (advertiser.next_due() != never && advertiser.next_due().ns / 1'000'000 < end) {
      const std::int64_t ms = (advertiser.next_due().ns + 999'999) / 1'000'000;
      advertiser.advance(instant{} + milliseconds(ms));
      const std::string said = h.at(ms);
      if (!said.empty()) all.emplace_back(ms, said);
    }
    return all;
  }
  template <class... Options>
  std::string solicit(std::int64_t ms, const ipv6_address& from, const Options&... options) {
    return h.hear_by(hear_routers(advertiser), ms,
                     ethernet_header{.source = peer, .destination = multicast_mac(all_routers_multicast)},
                     ipv6_header{.source = from, .destination = all_routers_multicast, .hop_limit = 255},
                     router_solicitation_header{}, options...);
  }
  template <class... Options>
  void another_says(const router_advertisement_header& m, const Options&... options) {
    CHECK(h.hear_by(hear_routers(advertiser), 1000,
                    ethernet_header{.source = peer, .destination = multicast_mac(all_nodes_multicast)},
                    ipv6_header{.source = asker6, .destination = all_nodes_multicast, .hop_limit = 255}, m,
                    options...) == "");
  }

  host h{{.router = true}};
  router_advertiser advertiser;
};

const std::string said_usually =
    "to 33:33:00:00:00:01 ICMP6, router advertisement, hop limit 64, lifetime 1800s, slla 02:00:00:00:00:01, prefix "
    "2001:db8:1::/64 LA from fe80::1 to ff02::1";

}  // namespace

TEST_CASE("RFC 4861 6.2.4: three advertisements within sixteen seconds of each other, then at random intervals") {
  std::int64_t least = INT64_MAX, most = 0;
  for (std::uint64_t seed = 1; seed < 30; ++seed) {
    advertising_host a{advertising_host::plain(), seed};
    CHECK(a.advertiser.next_due() == never);
    a.advertiser.start(instant{} + milliseconds(5));
    const auto said = a.until(10'000'000);
    REQUIRE(said.size() > 10);
    CHECK(said[0] == std::pair<std::int64_t, std::string>{5, said_usually});
    CHECK(said[1].first - said[0].first <= 16'001);
    CHECK(said[2].first - said[1].first <= 16'001);
    for (std::size_t i = 3; i < said.size(); ++i) {
      const std::int64_t wait = said[i].first - said[i - 1].first;
      CHECK(wait >= 199'999);
      CHECK(wait <= 600'001);
      least = std::min(least, wait);
      most = std::max(most, wait);
    }
  }
  CHECK(least < 210'000);
  CHECK(most > 590'000);
}

TEST_CASE("RFC 4861 6.2.3, RFC 4191, RFC 8106: everything that is configured is said") {
  const ndp_prefix prefixes[] = {
      {.prefix = addr6("2001:db8:1::")},
      {.prefix = addr6("2001:db8:2::"), .autonomous = false, .valid_lifetime = 60, .preferred_lifetime = 30}};
  const ndp_route routes[] = {{.prefix = addr6("2001:db8:9::"), .prefix_length = 48}};
  const ipv6_address servers[] = {addr6("2001:db8:1::53"), addr6("2001:db8:1::54")};
  advertising_options o;
  o.managed = o.other_configuration = true;
  o.preference = router_preference::high;
  o.hop_limit = 32;
  o.lifetime = seconds(9000);
  o.reachable_time = 30'000;
  o.retransmit_timer = 500;
  o.mtu = 1400;
  o.prefixes = prefixes;
  o.prefix_count = 2;
  o.routes = routes;
  o.route_count = 1;
  o.dns = {servers, 2, 600};
  advertising_host a{o};
  a.advertiser.start({});
  a.advertiser.advance({});
  CHECK(
      a.h.at(0) ==
      "to 33:33:00:00:00:01 ICMP6, router advertisement, hop limit 32, managed, other stateful, lifetime 9000s, slla "
      "02:00:00:00:00:01, mtu 1400, prefix 2001:db8:1::/64 LA, prefix 2001:db8:2::/64 L, route 2001:db8:9::/48, rdnss "
      "2001:db8:1::53 2001:db8:1::54 from fe80::1 to ff02::1");
}

TEST_CASE("RFC 4861 6.2.1: values out of their range are named") {
  const auto fault_with = [](auto change) {
    advertising_options o;
    change(o);
    return std::string(o.fault() == nullptr ? "" : o.fault());
  };
  CHECK(fault_with([](auto&) {}) == "");
  CHECK(fault_with([](auto& o) { o.max_interval = seconds(3); }) != "");
  CHECK(fault_with([](auto& o) { o.max_interval = seconds(1801); }) != "");
  CHECK(fault_with([](auto& o) { o.min_interval = seconds(451); }) != "");
  CHECK(fault_with([](auto& o) { o.min_interval = seconds(2); }) != "");
  CHECK(fault_with([](auto& o) { o.lifetime = {}; }) == "");
  CHECK(fault_with([](auto& o) { o.lifetime = seconds(599); }) != "");
  CHECK(fault_with([](auto& o) { o.lifetime = seconds(9001); }) != "");
  CHECK(fault_with([](auto& o) { o.reachable_time = 3'600'001; }) != "");
  CHECK(fault_with([](auto& o) { o.mtu = 1279; }) != "");
  static constexpr ndp_prefix local[] = {{.prefix = addr6("fe80::")}};
  static constexpr ndp_prefix backwards[] = {{.prefix = addr6("2001:db8::"), .valid_lifetime = 1}};
  CHECK(fault_with([](auto& o) { o.prefixes = local, o.prefix_count = 1; }) != "");
  CHECK(fault_with([](auto& o) { o.prefixes = backwards, o.prefix_count = 1; }) != "");
}

TEST_CASE("RFC 4861 6.2.6: who asks is answered within half a second, all hosts are, and not again within three") {
  for (std::uint64_t seed = 1; seed < 30; ++seed) {
    advertising_host a{advertising_host::plain(), seed};
    a.advertiser.start({});
    a.until(3'600'000);
    const std::int64_t t = 3'700'000;  // nothing for a while
    a.until(t);
    if (a.advertiser.next_due() < instant{} + milliseconds(t + 4000)) continue;
    CHECK(a.solicit(t, asker6, ndp_source_link_address{peer}) == "");
    for (int i = 1; i < 100; ++i) a.solicit(t + i, asker6, ndp_source_link_address{peer});
    auto said = a.until(t + 3000);
    REQUIRE(said.size() == 1);
    CHECK(said[0].second == said_usually);
    CHECK(said[0].first - t <= 501);
    const std::int64_t first = said[0].first;
    CHECK(a.solicit(first + 1, asker6, ndp_source_link_address{peer}) == "");
    said = a.until(first + 4000);
    REQUIRE(said.size() == 1);
    CHECK(said[0].first - first >= 3000);
    CHECK(said[0].first - first <= 3501);
    CHECK(a.advertiser.statistics().solicitations == 101);
  }
}

TEST_CASE("RFC 4861 6.2.6: a solicitation without a source is answered; who asks is known, and known as no router") {
  advertising_host a;
  a.advertiser.start({});
  a.until(600'000);
  a.solicit(700'000, {});
  CHECK(a.advertiser.next_due() <= instant{} + milliseconds(700'500));
  CHECK(a.h.table.size() == 0);
  a.solicit(700'001, asker6, ndp_source_link_address{peer});
  CHECK(a.h.line(asker6) == "fe80::2 dev eth0 lladdr 02:00:00:00:00:02 STALE");
  a.h.table.set_router(asker6, true);
  a.solicit(700'002, asker6);
  CHECK(a.h.line(asker6) == "fe80::2 dev eth0 lladdr 02:00:00:00:00:02 STALE");
}

TEST_CASE("RFC 4861 6.1.1: solicitations that are refused bring no answer") {
  advertising_host a;
  a.advertiser.start({});
  a.until(600'000);
  const instant due = a.advertiser.next_due();
  const auto refused = [&](const ipv6_header& ip, const auto&... options) {
    CHECK(a.h.hear_by(hear_routers(a.advertiser), 650'000,
                      ethernet_header{.source = peer, .destination = multicast_mac(all_routers_multicast)}, ip,
                      router_solicitation_header{}, options...) == "");
    CHECK(a.h.faults == "neighbour_malformed");
  };
  refused({.source = asker6, .destination = all_routers_multicast, .hop_limit = 254});
  refused({.source = {}, .destination = all_routers_multicast, .hop_limit = 255}, ndp_source_link_address{peer});
  refused({.source = asker6, .destination = all_routers_multicast, .hop_limit = 255},
          ndp_source_link_address{mac_broadcast});
  refused({.source = mapped(peer4), .destination = all_routers_multicast, .hop_limit = 255},
          ndp_source_link_address{peer});  // an IPv4 neighbour is ARP's
  CHECK(a.h.line(peer4) == "192.0.2.2 dev eth0 NONE");
  CHECK(a.advertiser.next_due() == due);
  CHECK(a.advertiser.statistics().advertisements >= 3);
  // And what is for others, or of another kind, passes.
  CHECK(a.h.hear_by(hear_routers(a.advertiser), 650'000, ethernet_header{.source = peer, .destination = us},
                    ipv6_header{.source = asker6, .destination = far6, .hop_limit = 255},
                    router_solicitation_header{}) == "passed");
  CHECK(a.h.hear_by(hear_routers(a.advertiser), 650'000, ethernet_header{.source = peer, .destination = us},
                    ipv6_header{.source = asker6, .destination = local6, .hop_limit = 255},
                    icmpv6_header{.kind = icmpv6::echo_request}) == "passed");
}

TEST_CASE("RFC 4861 6.2.5: a router that ends says so three times, with a lifetime of zero") {
  advertising_host a;
  a.advertiser.start({});
  a.until(1);
  a.advertiser.stop(instant{} + seconds(1));
  CHECK_FALSE(a.advertiser.is_advertising());
  a.solicit(1500, asker6, ndp_source_link_address{peer});
  const auto said = a.until(100'000);
  REQUIRE(said.size() == 3);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(said[i].first == 3000 + 3000 * static_cast<std::int64_t>(i));
    CHECK(said[i].second.find("lifetime 0s") != std::string::npos);
  }
  CHECK(a.advertiser.next_due() == never);
  a.advertiser.start(instant{} + seconds(200));
  CHECK(a.until(201'000).size() == 1);
}

TEST_CASE("RFC 4861 6.2.7: what another router says and contradicts ours is counted, what it leaves unsaid is not") {
  const auto inconsistencies = [](const router_advertisement_header& m, const auto&... options) {
    advertising_options o = advertising_host::plain();
    o.reachable_time = 30'000;
    o.mtu = 1500;
    advertising_host a{o};
    a.advertiser.start({});
    a.another_says(m, options...);
    return a.advertiser.statistics().inconsistencies;
  };
  CHECK(inconsistencies({}) == 0);
  CHECK(inconsistencies({.hop_limit = 0}) == 0);
  CHECK(inconsistencies({.hop_limit = 63}) == 1);
  CHECK(inconsistencies({.managed = true}) == 1);
  CHECK(inconsistencies({.other_configuration = true}) == 1);
  CHECK(inconsistencies({.reachable_time = 29'999}) == 1);
  CHECK(inconsistencies({.retransmit_timer = 5}) == 0);
  CHECK(inconsistencies({}, ndp_mtu{1500}) == 0);
  CHECK(inconsistencies({}, ndp_mtu{1492}) == 1);
  CHECK(inconsistencies({}, lan_prefix[0]) == 0);
  CHECK(inconsistencies(
            {}, ndp_prefix{.prefix = addr6("2001:db8:77::"), .valid_lifetime = 9, .preferred_lifetime = 9}) == 0);
  CHECK(inconsistencies(
            {}, ndp_prefix{.prefix = addr6("2001:db8:1::"), .valid_lifetime = 9, .preferred_lifetime = 9}) == 1);
}

TEST_CASE("without a link-local address a router waits for one; it never speaks from another") {
  advertising_host a;
  a.h.link.addresses.find(local6)->state = address_state::tentative;
  a.advertiser.start({});
  CHECK(a.until(5000).empty());
  a.h.link.addresses.find(local6)->state = address_state::preferred;
  CHECK(a.until(7000).size() == 1);
}

TEST_CASE("an advertisement for which there is no memory is sent later") {
  advertising_host a;
  std::vector<packet> all;
  for (packet p = a.h.memory->allocate(); p; p = a.h.memory->allocate()) all.push_back(std::move(p));
  a.advertiser.start({});
  a.advertiser.advance({});
  CHECK(a.h.at(0) == "");
  all.clear();
  const auto said = a.until(1000);
  REQUIRE(said.size() == 1);
  CHECK(said[0].first == 100);
  CHECK(a.h.table.statistics().no_packet == 1);
}

TEST_CASE("what is advertised can be changed, and is told again") {
  advertising_host a;
  a.advertiser.start({});
  a.until(600'000);
  advertising_options o = advertising_host::plain();
  o.hop_limit = 99;
  a.advertiser.change(o, instant{} + seconds(700));
  const auto said = a.until(701'000);
  REQUIRE(said.size() == 1);
  CHECK(said[0].second.find("hop limit 99") != std::string::npos);
}
