// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <runnel/wire/ndp.hpp>

#include "wire_bytes.hpp"

using namespace runnel;
using runnel_test::exact;
using runnel_test::hex;

namespace {

constexpr ipv6_address router{0xfe80'0000'0000'0000, 1};
constexpr ipv6_address host{0xfe80'0000'0000'0000, 0x0000'00ff'fe12'3456};
constexpr ipv6_address far_away{0x2001'0db8'0000'0000, 9};
constexpr mac_address router_mac{{2, 0, 0, 0, 0, 1}};

static_assert(solicited_node_multicast(host) == ipv6_address{0xff02'0000'0000'0000, 0x0000'0001'ff12'3456});
static_assert(multicast_mac(all_nodes_multicast) == mac_address{{0x33, 0x33, 0, 0, 0, 1}});

// A packet as it is written by the builders, its parts, and what becomes of it when a byte is changed.
struct packet_of {
  std::vector<std::byte> b;

  template <class... Parts>
  explicit packet_of(std::size_t payload, const Parts&... parts) : b(size_of_headers(parts...) + payload) {
    REQUIRE(write_headers(b, parts...));
  }
  [[nodiscard]] ipv6 outer() const { return ipv6::parse(b).value(); }
  [[nodiscard]] bytes message() const { return outer().payload(); }
  [[nodiscard]] bool checksum_ok() const { return icmpv6::parse(message())->checksum_ok(outer().pseudo_header_sum()); }
  template <class Message>
  [[nodiscard]] bool accepted() const {
    const exact copy{b};
    const auto ip6_header = ipv6::parse(copy).value();
    return static_cast<bool>(Message::parse(ip6_header.payload(), ip6_header));
  }
  template <class Message>
  [[nodiscard]] bool accepted_with(std::size_t at, unsigned value) const {
    packet_of other = *this;
    other.b[at] = static_cast<std::byte>(value);
    return other.accepted<Message>();
  }
};

constexpr ipv6_header from_to(const ipv6_address& from, const ipv6_address& to) {
  return {.source = from, .destination = to, .hop_limit = 255};
}

}  // namespace

TEST_CASE("a neighbour solicitation is written with its option and read back") {
  const packet_of p(0, from_to(router, solicited_node_multicast(host)), neighbour_solicitation_header{.target = host},
                    ndp_source_link_address{router_mac});
  CHECK(p.checksum_ok());
  const auto m = neighbour_solicitation::parse(p.message(), p.outer());
  REQUIRE(m);
  CHECK(m->target() == host);
  CHECK(*m->link_address(ndp_option::source_link_address) == router_mac);
  CHECK_FALSE(m->link_address(ndp_option::target_link_address));
  text<> line;
  print(line, *m);
  CHECK(same_text(line.c_str(), "ICMP6, neighbor solicitation, who has fe80::ff:fe12:3456, slla 02:00:00:00:00:01"));
}

TEST_CASE("RFC 4861 7.1.1: which neighbour solicitations are discarded") {
  const packet_of p(0, from_to(router, solicited_node_multicast(host)), neighbour_solicitation_header{.target = host},
                    ndp_source_link_address{router_mac});
  using ns = neighbour_solicitation;
  CHECK(p.accepted<ns>());
  CHECK_FALSE(p.accepted_with<ns>(7, 254));    // a router was on the way
  CHECK_FALSE(p.accepted_with<ns>(40, 136));   // another message
  CHECK_FALSE(p.accepted_with<ns>(41, 1));     // code
  CHECK_FALSE(p.accepted_with<ns>(48, 0xff));  // multicast target
  CHECK_FALSE(p.accepted_with<ns>(65, 0));     // option of length 0
  CHECK_FALSE(p.accepted_with<ns>(65, 2));     // option beyond the end
  CHECK(p.accepted_with<ns>(64, 200));         // unknown options are ignored
  CHECK_FALSE(p.accepted_with<ns>(5, 23));     // too short
  CHECK_FALSE(p.accepted_with<ns>(5, 28));     // half an option
  CHECK(p.accepted_with<ns>(5, 24));

  const packet_of probe(0, from_to({}, solicited_node_multicast(host)), neighbour_solicitation_header{.target = host});
  CHECK(probe.accepted<ns>());
  CHECK_FALSE(
      packet_of(0, from_to({}, all_nodes_multicast), neighbour_solicitation_header{.target = host}).accepted<ns>());
  CHECK_FALSE(packet_of(0, from_to({}, solicited_node_multicast(host)), neighbour_solicitation_header{.target = host},
                        ndp_source_link_address{router_mac})
                  .accepted<ns>());
}

TEST_CASE("RFC 6980: a fragmented neighbour discovery message is discarded, even an atomic one") {
  const packet_of p(0, from_to(router, host), ipv6_fragment_header{}, neighbour_solicitation_header{.target = host});
  CHECK_FALSE(neighbour_solicitation::parse(p.message().from(8), p.outer()));
}

TEST_CASE("RFC 4861 7.1.2: which neighbour advertisements are discarded") {
  const packet_of p(0, from_to(host, router), neighbour_advertisement_header{.target = host, .solicited = true},
                    ndp_target_link_address{router_mac});
  using na = neighbour_advertisement;
  CHECK(p.checksum_ok());
  const auto m = na::parse(p.message(), p.outer());
  REQUIRE(m);
  CHECK(m->is_solicited());
  CHECK(m->is_override());
  CHECK_FALSE(m->is_router());
  text<> line;
  print(line, *m);
  CHECK(same_text(
      line.c_str(),
      "ICMP6, neighbor advertisement, tgt is fe80::ff:fe12:3456, solicited, override, tlla 02:00:00:00:00:01"));
  CHECK_FALSE(p.accepted_with<na>(7, 1));
  CHECK_FALSE(p.accepted_with<na>(24, 0xff));  // solicited to a multicast destination
  CHECK_FALSE(p.accepted_with<na>(48, 0xff));  // multicast target
  CHECK(
      packet_of(0, from_to(host, all_nodes_multicast), neighbour_advertisement_header{.target = host}).accepted<na>());
}

TEST_CASE("a router advertisement tells everything that a host configures itself with") {
  const ipv6_address servers[] = {{1, 1}, {2, 2}};
  const packet_of p(
      0, from_to(router, all_nodes_multicast),
      router_advertisement_header{
          .hop_limit = 60, .other_configuration = true, .preference = router_preference::high, .reachable_time = 30000},
      ndp_source_link_address{router_mac}, ndp_mtu{1480}, ndp_prefix{.prefix = far_away, .valid_lifetime = 7},
      ndp_route{.prefix = far_away, .prefix_length = 48, .preference = router_preference::low},
      ndp_recursive_dns{servers, 2, 99});
  CHECK(p.checksum_ok());
  const auto m = router_advertisement::parse(p.message(), p.outer());
  REQUIRE(m);
  CHECK(m->hop_limit() == 60);
  CHECK_FALSE(m->is_managed());
  CHECK(m->is_other_configuration());
  CHECK(m->preference() == router_preference::high);
  CHECK(m->router_lifetime() == 1800);
  CHECK(m->reachable_time() == 30000);
  CHECK(m->retransmit_timer() == 0);
  ndp_options o(m->options());
  o.next();
  CHECK(o.mtu() == 1480);
  o.next();
  const auto announced = o.prefix();
  REQUIRE(announced);
  CHECK(announced->prefix == ipv6_address{0x2001'0db8'0000'0000, 0});  // without the bits behind the length
  CHECK(announced->prefix_length == 64);
  CHECK(announced->valid_lifetime == 7);
  CHECK(announced->preferred_lifetime == 604800);
  o.next();
  CHECK(o.data().size() == 16);
  const auto route = o.route();
  REQUIRE(route);
  CHECK(route->prefix_length == 48);
  CHECK(route->preference == router_preference::low);
  o.next();
  REQUIRE(o.dns_count() == 2);
  CHECK(o.dns_server(1) == servers[1]);
  CHECK(o.dns_server(2).is_unspecified());
  CHECK(o.dns_lifetime() == 99);
  o.next();
  CHECK_FALSE(o);
  text<512> line;
  print(line, *m);
  CHECK(same_text(
      line.c_str(),
      "ICMP6, router advertisement, hop limit 60, other stateful, lifetime 1800s, slla 02:00:00:00:00:01, mtu 1480, "
      "prefix 2001:db8::/64 LA, route 2001:db8::/48, rdnss ::1:0:0:0:1 ::2:0:0:0:2"));

  using ra = router_advertisement;
  CHECK_FALSE(p.accepted_with<ra>(7, 64));
  CHECK_FALSE(p.accepted_with<ra>(8, 0x20));  // not from a link-local address
  CHECK_FALSE(p.accepted_with<ra>(41, 1));
  CHECK(p.accepted_with<ra>(45, 2u << 3));  // RFC 4191: the reserved preference is medium
}

TEST_CASE("RFC 4861 6.1.1: which router solicitations are discarded") {
  using rs = router_solicitation;
  CHECK(packet_of(0, from_to(host, all_routers_multicast), router_solicitation_header{},
                  ndp_source_link_address{router_mac})
            .accepted<rs>());
  CHECK(packet_of(0, from_to({}, all_routers_multicast), router_solicitation_header{}).accepted<rs>());
  CHECK_FALSE(packet_of(0, from_to({}, all_routers_multicast), router_solicitation_header{},
                        ndp_source_link_address{router_mac})
                  .accepted<rs>());
  CHECK_FALSE(packet_of(3, from_to(host, all_routers_multicast), router_solicitation_header{}).accepted<rs>());
}

TEST_CASE("RFC 4861 8.1: which redirects are discarded") {
  using rd = ndp_redirect;
  const packet_of p(48, from_to(router, host), ndp_redirect_header{.target = host, .destination = far_away},
                    ndp_target_link_address{router_mac}, ndp_redirected{});
  CHECK(p.checksum_ok());
  const auto m = rd::parse(p.message(), p.outer());
  REQUIRE(m);
  CHECK(m->target() == host);
  CHECK(m->destination() == far_away);
  ndp_options o(m->options());
  o.next();
  CHECK(o.redirected().size() == 48);
  CHECK(packet_of(0, from_to(router, host), ndp_redirect_header{.target = far_away, .destination = far_away})
            .accepted<rd>());
  CHECK_FALSE(packet_of(0, from_to(router, host), ndp_redirect_header{.target = {7, 7}, .destination = far_away})
                  .accepted<rd>());
  CHECK_FALSE(
      packet_of(0, from_to(router, host), ndp_redirect_header{.target = host, .destination = all_nodes_multicast})
          .accepted<rd>());
  CHECK_FALSE(packet_of(0, from_to(far_away, host), ndp_redirect_header{.target = host, .destination = far_away})
                  .accepted<rd>());
  CHECK_FALSE(p.accepted_with<rd>(7, 0));
}

TEST_CASE("options of a length that their RFC does not allow are not believed, and do not end the walk") {
  const exact b{
      hex("0302 4080 00000000 00000000 00000000"  // prefix information, 16 bytes
          "1801 4000 00000708"                    // a route of 64 bits without any
          "1801 0010 00000708"                    // a route of reserved preference
          "1901 0000 00000001"                    // resolvers, none
          "0502 0000 000005dc 00000000 00000000"  // MTU, too long
          "0102 0200 00000001 00000000 00000000"  // an address of another link layer
          "0501 0000 000005dc")};
  unsigned count = 0;
  std::uint32_t mtu = 0;
  for (ndp_options o(b); o; o.next(), ++count) {
    CHECK_FALSE(o.prefix());
    CHECK_FALSE(o.route());
    CHECK_FALSE(o.link_address());
    CHECK(o.dns_count() == 0);
    mtu = o.mtu();
  }
  CHECK(count == 7);
  CHECK(mtu == 1500);
}

TEST_CASE("no neighbour discovery view reads beyond random bytes") {
  runnel_test::xorshift random;
  const std::uint8_t kinds[] = {1, 2, 3, 4, 5, 24, 25, 31};
  const packet_of ip(0, from_to(router, host));
  const auto touch = [&](const auto& parsed) {
    if (!parsed) return;
    text<1024> line;
    print(line, *parsed);
    (void)parsed->link_address(ndp_option::source_link_address);
  };
  for (int round = 0; round < 20000; ++round) {
    std::byte raw[112];
    random.fill(raw);
    raw[0] = static_cast<std::byte>(133 + random.below(5));
    raw[1] = std::byte{0};
    for (std::size_t at = 8; at < sizeof raw; at += 8) {
      raw[at] = static_cast<std::byte>(kinds[random.below(8)]);
      raw[at + 1] = static_cast<std::byte>(1 + random.below(3));
    }
    const exact b{bytes{raw, round % 3 == 0 ? random.below(113) : 8 * random.below(15)}};
    touch(router_solicitation::parse(b, ip.outer()));
    touch(router_advertisement::parse(b, ip.outer()));
    touch(neighbour_solicitation::parse(b, ip.outer()));
    touch(neighbour_advertisement::parse(b, ip.outer()));
    touch(ndp_redirect::parse(b, ip.outer()));
    for (ndp_options o(bytes{b}.from(8)); o; o.next()) {
      if (round % 4 == 0) random.fill({b.data(), b.size()});
      (void)o.prefix();
      (void)o.route();
      (void)o.dns_server(random.below(5));
      CHECK(o.redirected().size() <= b.size());
    }
  }
}
