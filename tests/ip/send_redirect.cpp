// SPDX-License-Identifier: MIT
// Redirects of IPv6: when a router of this library sends one, what is in it, and that a host of it takes it.
#include <runnel/ip.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

#include <doctest/doctest.h>

#include <flow/test_device.hpp>
#include <ip/neighbour_host.hpp>

using namespace runnel;
using namespace runnel::test;

namespace {

constexpr auto router6 = addr6("fe80::1"), better6 = addr6("fe80::3");

struct redirecting_router {
  redirecting_router() {
    h.link = {.mac = us, .addresses = {{router6, 64}, {own6, 64}}};
    by_gateway = hops.add(next_hop::via(better6, 1));
    on_link = hops.add(next_hop::on_link(1));
    elsewhere = hops.add(next_hop::on_link(2));
    by_global = hops.add(next_hop::via(addr6("2001:db8::9"), 1));
  }
  packet from_host(next_hop_number hop, std::size_t payload = 64, const ipv6_address& source = peer6,
                   const ipv6_address& destination = far6, const mac_address& to = us) {
    packet p = h.memory->allocate();
    const ethernet_header frame{.source = peer, .destination = to};
    const ipv6_header ip{.source = source, .destination = destination};
    const std::size_t size = size_of_headers(frame, ip, udp_header{}) + payload;
    std::byte* const at = p.put(size);
    REQUIRE(at != nullptr);
    std::memset(at, 0x5a, size);
    REQUIRE(write_headers({at, size}, frame, ip, udp_header{}));
    p.layers(dissect(p.contents(), link_type::ethernet, {.head_offset = p.headroom()}));
    p.iif(1);
    p.scratch(hop);
    return p;
  }
  bool redirects(const packet& p, std::int64_t s = 0) {
    return send_redirect(p, hops, h.table, sender, instant{} + seconds(s));
  }
  bool redirects(packet&& p, std::int64_t s = 0) { return redirects(static_cast<const packet&>(p), s); }

  host h{{.router = true}};
  next_hop_table_of<8> hops;
  next_hop_number by_gateway, on_link, elsewhere, by_global;
  icmp_sender sender{ip_interfaces{}, token_bucket{1000, 50}};
};

}  // namespace

TEST_CASE("RFC 4861 8.2: who could have sent to the next hop itself is told so, with the packet that it sent") {
  redirecting_router r;
  const packet p = r.from_host(r.by_gateway, 61);
  const std::string before(static_cast<const char*>(static_cast<const void*>(p.data())), p.length());
  REQUIRE(r.redirects(p));
  CHECK(std::string(static_cast<const char*>(static_cast<const void*>(p.data())), p.length()) == before);
  packet out[1];
  REQUIRE(r.h.table.pull(out, 1, {}) == 1);
  const bytes frame = out[0].contents();
  CHECK(mac_address::load(frame.data()) == peer);
  const auto outer = ipv6::parse(frame.from(14));
  REQUIRE(outer);
  CHECK(outer->source() == router6);
  CHECK(outer->destination() == peer6);
  const auto message = icmpv6::parse(frame.from(54));
  REQUIRE(message);
  CHECK(message->checksum_ok(outer->pseudo_header_sum()));
  const auto m = ndp_redirect::parse(frame.from(54), *outer);
  REQUIRE(m);
  CHECK(m->target() == better6);
  CHECK(m->destination() == far6);
  ndp_options o(m->options());
  REQUIRE(o.kind() == ndp_option::redirected_header);
  CHECK(o.redirected().size() == 104);  // of 109 bytes
  CHECK(std::memcmp(o.redirected().data(), before.data() + 14, 104) == 0);
  o.next();
  CHECK_FALSE(o);
}

TEST_CASE(
    "RFC 4861 8.2: the link-layer address of the better hop is told when it is known; a host is redirected to itself") {
  redirecting_router r;
  r.h.table.learn(far6, other_peer, true, {});
  REQUIRE(r.redirects(r.from_host(r.on_link)));
  packet out[1];
  REQUIRE(r.h.table.pull(out, 1, {}) == 1);
  const bytes frame = out[0].contents();
  const auto m = ndp_redirect::parse(frame.from(54), *ipv6::parse(frame.from(14)));
  REQUIRE(m);
  CHECK(m->target() == far6);
  CHECK(*m->link_address(ndp_option::target_link_address) == other_peer);
}

TEST_CASE("RFC 4861 8.2: when no redirect is sent") {
  redirecting_router r;
  CHECK_FALSE(r.redirects(r.from_host(r.elsewhere)));
  CHECK_FALSE(r.redirects(r.from_host(r.by_global)));  // a router's address here is link-local
  CHECK_FALSE(r.redirects(r.from_host(no_next_hop)));
  CHECK_FALSE(r.redirects(r.from_host(r.by_gateway, 64, far6)));  // no neighbour
  CHECK_FALSE(r.redirects(r.from_host(r.by_gateway, 64, {})));
  CHECK_FALSE(r.redirects(r.from_host(r.by_gateway, 64, peer6, addr6("ff05::1"))));
  CHECK_FALSE(r.redirects(r.from_host(r.by_gateway, 64, peer6, far6, mac_broadcast)));
  packet other = r.from_host(r.by_gateway);
  other.iif(2);
  CHECK_FALSE(r.redirects(other));
  r.h.link.addresses.remove(router6);
  CHECK_FALSE(r.redirects(r.from_host(r.by_gateway)));
  CHECK(r.h.table.empty());
}

TEST_CASE("RFC 4861 8.2: redirects are limited in number, and in size to 1280 bytes") {
  redirecting_router r;
  counted_pool wide{pool_config{.packets = 4, .bytes = 2048, .headroom = 128, .bare = 4}};
  int sent = 0;
  for (int i = 0; i < 200; ++i) {
    sent += r.redirects(r.from_host(r.by_gateway), 0) ? 1 : 0;
    packet out[4];
    r.h.table.pull(out, 4, {});
  }
  CHECK(sent == 50);
  static_neighbour_table<neighbour_config{.entries = 4, .unresolved = 2, .packets = 4}> roomy{wide, r.h.link, 1};
  packet p = wide->allocate();
  const ethernet_header frame{.source = peer, .destination = us};
  const std::size_t size = size_of_headers(frame, ipv6_header{}, udp_header{}) + 1452;
  std::byte* const at = p.put(size);
  REQUIRE(at != nullptr);
  REQUIRE(write_headers({at, size}, frame, ipv6_header{.source = peer6, .destination = far6}, udp_header{}));
  p.layers(dissect(p.contents(), link_type::ethernet, {.head_offset = p.headroom()}));
  p.iif(1);
  p.scratch(r.by_gateway);
  REQUIRE(send_redirect(p, r.hops, roomy, r.sender, instant{} + seconds(9)));
  packet out[1];
  REQUIRE(roomy->pull(out, 1, {}) == 1);
  CHECK(out[0].length() - 14 <= 1280);
  CHECK(out[0].length() - 14 > 1272);
}

TEST_CASE("a host of this library goes by a redirect of it") {
  redirecting_router r;
  REQUIRE(r.redirects(r.from_host(r.by_gateway)));
  packet out[1];
  REQUIRE(r.h.table.pull(out, 1, {}) == 1);
  host other;
  other.link = {.mac = peer, .addresses = {{peer6, 64}}};
  static std::string told;
  told.clear();
  router_discovery discovery{other.table,
                             {.redirected =
                                  [](void*, const ipv6_address&, const ipv6_address& d, const ipv6_address& t) {
                                    text<120> line;
                                    print(line, d);
                                    print(line << " by ", t);
                                    told = line.c_str();
                                  }},
                             1};
  other.hear_by(hear_routers(discovery), 0,
                ethernet_header{.source = us, .destination = multicast_mac(all_nodes_multicast)},
                ipv6_header{.source = router6, .destination = all_nodes_multicast, .hop_limit = 255},
                router_advertisement_header{});
  out[0].layers(dissect(out[0].contents(), link_type::ethernet, {.head_offset = out[0].headroom()}));
  context c;
  auto stage = hear_routers(discovery);
  CHECK(stage(out[0], c).code == verdict_code::stolen);
  CHECK(told == "2001:db8:0:ffff::9 by fe80::3");
}
