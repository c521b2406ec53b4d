// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <runnel/wire/ethernet.hpp>
#include <runnel/wire/ipv4.hpp>
#include <runnel/wire/vlan.hpp>

using namespace runnel;

static constexpr mac_address here{{2, 0, 0, 0, 0, 1}};

TEST_CASE("an Ethernet header takes its type from what is inside, and is read back") {
  std::byte b[60]{};
  REQUIRE(write_headers(b, ethernet_header{.source = here, .destination = mac_broadcast}, ipv4_header{.protocol = 17}));
  const auto v = mut<ethernet>::parse(b);
  REQUIRE(v);
  CHECK(v->source() == here);
  CHECK(v->destination() == mac_broadcast);
  CHECK(v->ethertype() == ethertype::ipv4);
  CHECK_FALSE(v->is_802_3());
  CHECK(v->payload().size() == 46);
  text<> line;
  print(line, *v);
  CHECK(same_text(line.c_str(), "02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff, ethertype IPv4 (0x0800), length 60"));

  SUBCASE("and its addresses can be swapped in place") {
    v->swap_addresses();
    CHECK(v->destination() == here);
    CHECK(v->source() == mac_broadcast);
  }
}

TEST_CASE("an Ethernet header around a payload without a type becomes an 802.3 header with its length") {
  std::byte b[14 + 38]{};
  REQUIRE(write_headers(b, ethernet_header{.source = here}));
  const auto v = ethernet::parse(b);
  REQUIRE(v);
  CHECK(v->is_802_3());
  CHECK(v->ethertype() == 38);
  text<> line;
  print(line, *v);
  CHECK(same_text(line.c_str(), "02:00:00:00:00:01 > 00:00:00:00:00:00, 802.3, length 38"));
}

TEST_CASE("the payload of an 802.3 frame ends where its length says, without padding") {
  std::byte b[60]{};
  store_be16(b + 12, 3);
  CHECK(ethernet::parse(b)->payload().size() == 3);
  store_be16(b + 12, 46);
  CHECK(ethernet::parse(b)->payload().size() == 46);
  SUBCASE("and one whose length lies is refused") {
    store_be16(b + 12, 47);
    CHECK(ethernet::parse(b).error() == drop_reason::llc_malformed);
    CHECK(ethernet::unchecked(b).payload().size() == 46);
    store_be16(b + 12, 1501);
    CHECK(ethernet::parse(b).error() == drop_reason::llc_malformed);
  }
  CHECK(ethernet::parse(bytes{b, 13}).error() == drop_reason::link_too_short);
}

TEST_CASE("stacked VLAN tags tell the header in front of them what they are") {
  std::byte b[14 + 8 + 20]{};
  REQUIRE(write_headers(b, ethernet_header{}, vlan_header{.id = 100, .pcp = 3, .service = true},
                        vlan_header{.id = 4095, .drop_eligible = true}, ipv4_header{}));
  const auto e = ethernet::parse(b);
  REQUIRE(e);
  CHECK(e->ethertype() == ethertype::qinq);
  const auto outer = vlan::parse(e->payload());
  REQUIRE(outer);
  CHECK(outer->vlan_id() == 100);
  CHECK(outer->priority_code() == 3);
  CHECK_FALSE(outer->drop_eligible());
  CHECK(outer->ethertype() == ethertype::vlan);
  const auto inner = vlan::parse(outer->payload());
  REQUIRE(inner);
  CHECK(inner->vlan_id() == 4095);
  CHECK(inner->priority_code() == 0);
  CHECK(inner->drop_eligible());
  CHECK(inner->ethertype() == ethertype::ipv4);
  CHECK(ipv4::parse(inner->payload()));
  text<> line;
  print(line, *inner);
  CHECK(same_text(line.c_str(), "vlan 4095, p 0, DEI, ethertype IPv4 (0x0800)"));
}

TEST_CASE("each setter of a VLAN tag leaves the other fields alone") {
  std::byte b[4]{};
  REQUIRE(write_headers(b, vlan_header{.id = 0xabc, .pcp = 5, .drop_eligible = true, .type = ethertype::ipv6}));
  const auto v = mut<vlan>::parse(b);
  REQUIRE(v);
  v->vlan_id(1);
  CHECK(v->priority_code() == 5);
  CHECK(v->drop_eligible());
  v->priority_code(2);
  CHECK(v->vlan_id() == 1);
  CHECK(v->drop_eligible());
  v->drop_eligible(false);
  CHECK(v->priority_code() == 2);
  CHECK(v->vlan_id() == 1);
  v->ethertype(ethertype::arp);
  CHECK(v->ethertype() == ethertype::arp);
  CHECK(vlan::parse(bytes{b, 3}).error() == drop_reason::vlan_malformed);
}

TEST_CASE("Ethernet frames are read in constant evaluation") {
  static_assert([] {
    std::byte b[18]{};
    return write_headers(b, ethernet_header{.source = here}, vlan_header{.id = 7, .type = ethertype::arp}) &&
           ethernet::parse(b)->source() == here && vlan::parse(ethernet::parse(b)->payload())->vlan_id() == 7;
  }());
}
