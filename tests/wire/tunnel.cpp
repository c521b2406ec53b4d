// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <runnel/wire/dissect.hpp>
#include <runnel/wire/gre.hpp>
#include <runnel/wire/ipv4.hpp>
#include <runnel/wire/ipv6.hpp>
#include <runnel/wire/udp.hpp>
#include <runnel/wire/vxlan.hpp>

using namespace runnel;

static constexpr ipv4_header outer{.source = addr4("192.0.2.1"), .destination = addr4("192.0.2.2")};
static constexpr ipv4_header inner{.source = addr4("10.0.0.1"), .destination = addr4("10.0.0.2")};

template <class View>
static bool prints(const View& v, const char* expected) {
  text<> line;
  print(line, v);
  return same_text(line.c_str(), expected);
}

TEST_CASE("IP in IP needs nothing but one header inside the other") {
  std::byte b[20 + 20 + 8]{};
  REQUIRE(write_headers(b, outer, inner, udp_header{.source_port = 1, .destination_port = 2}));
  const auto o = ipv4::parse(b);
  REQUIRE(o);
  CHECK(o->protocol_number() == 4);
  CHECK(o->checksum_ok());
  const auto i = ipv4::parse(o->payload());
  REQUIRE(i);
  CHECK(i->protocol_number() == 17);
  CHECK(i->source() == addr4("10.0.0.1"));
  CHECK(i->checksum_ok());
  CHECK(udp::parse(i->payload())->checksum_ok(i->pseudo_header_sum()));
}

TEST_CASE("IPv6 in IPv4, and IPv4 in IPv6") {
  std::byte b[20 + 40 + 8]{};
  const ipv6_header six{.source = addr6("2001:db8::1"), .destination = addr6("2001:db8::2")};
  REQUIRE(write_headers(b, outer, six, udp_header{.source_port = 1, .destination_port = 2}));
  CHECK(ipv4::parse(b)->protocol_number() == 41);
  const auto v = ipv6::parse(ipv4::parse(b)->payload());
  REQUIRE(v);
  CHECK(v->source() == addr6("2001:db8::1"));
  CHECK(udp::parse(v->payload())->checksum_ok(v->pseudo_header_sum()));

  REQUIRE(write_headers(b, six, inner, udp_header{.source_port = 1, .destination_port = 2}));
  const auto o = ipv6::parse(b);
  REQUIRE(o);
  const auto i = ipv4::parse(o->payload());
  REQUIRE(i);
  CHECK(udp::parse(i->payload())->checksum_ok(i->pseudo_header_sum()));
  CHECK(dissect(b, link_type::raw_ip).has(protocol::transport));
}

TEST_CASE("a GRE header with all that it may have is written and read back") {
  std::byte b[20 + 16 + 20 + 4]{};
  b[59] = std::byte{0x5a};
  REQUIRE(write_headers(
      b, outer, gre_header{.checksum = true, .has_key = true, .key = 7, .has_sequence = true, .sequence = 9}, inner));
  CHECK(dissect(b, link_type::raw_ip).has(protocol::gre));
  const auto v = mut<gre>::parse(ipv4::parse(b)->payload().size() == 40 ? mutable_bytes{b}.from(20) : mutable_bytes{});
  REQUIRE(v);
  CHECK(v->protocol_type() == ethertype::ipv4);
  CHECK(v->header_size() == 16);
  CHECK(v->key() == 7);
  CHECK(v->sequence_number() == 9);
  CHECK(v->checksum_ok());
  CHECK(ipv4::parse(v->payload()));
  CHECK(prints(*v, "GREv0, key=0x7, seq 9, proto IPv4 (0x0800), length 40"));
  v->key(0xffff'0000);
  v->sequence_number(10);
  CHECK(v->key() == 0xffff'0000);
  CHECK(v->sequence_number() == 10);
  CHECK(v->checksum_ok());
  b[59] = std::byte{0};
  CHECK_FALSE(v->checksum_ok());
}

TEST_CASE("a plain GRE header has no key, and says of an Ethernet frame that it bridges") {
  std::byte b[4 + 14 + 20]{};
  REQUIRE(write_headers(b, gre_header{}, ethernet_header{}, inner));
  const auto v = mut<gre>::parse(b);
  REQUIRE(v);
  CHECK(v->protocol_type() == ethertype::bridging);
  CHECK_FALSE(v->has_key());
  CHECK(v->key() == 0);
  v->key(5);
  v->sequence_number(5);
  CHECK(v->header_size() == 4);
  CHECK(ethernet::parse(v->payload())->ethertype() == ethertype::ipv4);
  CHECK(v->checksum_ok());
}

TEST_CASE("GRE of other versions, with reserved bits, or cut off is refused, and no accessor reads behind it") {
  std::byte b[16]{};
  CHECK(gre::parse(b));
  CHECK(gre::parse(bytes{b, 3}).error() == drop_reason::gre_malformed);
  for (unsigned bit : {0x4000u, 0x0800u, 0x0400u, 1u, 2u, 4u}) {
    store_be16(b, static_cast<std::uint16_t>(bit));
    CHECK(gre::parse(b).error() == drop_reason::gre_malformed);
  }
  store_be16(b, 0x0300);
  CHECK(gre::parse(b));
  store_be16(b, 0xb000);
  CHECK(gre::parse(b)->payload().empty());
  for (std::size_t size = 4; size < 16; ++size) {
    std::byte* exact = new std::byte[size];
    copy_bytes(exact, b, size);
    CHECK(gre::parse(bytes{exact, size}).error() == drop_reason::gre_malformed);
    const auto v = basic_gre<std::byte>::unchecked({exact, size});
    v.key(1);
    v.sequence_number(2);
    CHECK(v.payload().empty());
    CHECK(v.key() + v.sequence_number() < 2);
    delete[] exact;
  }
}

TEST_CASE("VXLAN tells its port to the UDP header around it and its network to whom asks") {
  std::byte b[20 + 8 + 8 + 14 + 20]{};
  REQUIRE(write_headers(b, outer, udp_header{.source_port = 49152, .checksum = false}, vxlan_header{.vni = 0xabcdef},
                        ethernet_header{}, inner));
  const auto u = udp::parse(ipv4::parse(b)->payload());
  REQUIRE(u);
  CHECK(u->destination_port() == vxlan_port);
  CHECK_FALSE(u->has_checksum());
  const auto v = vxlan::parse(u->payload());
  REQUIRE(v);
  CHECK(v->network_identifier() == 0xabcdef);
  CHECK(ethernet::parse(v->payload())->ethertype() == ethertype::ipv4);
  CHECK(prints(*v, "VXLAN, flags [I] (0x08), vni 11259375"));

  SUBCASE("and is refused without its flag, or cut off") {
    b[28] = std::byte{0xf7};
    CHECK(vxlan::parse(u->payload()).error() == drop_reason::vxlan_malformed);
    b[28] = std::byte{0xff};
    CHECK(vxlan::parse(u->payload()));
    CHECK(vxlan::parse(u->payload().first(7)).error() == drop_reason::vxlan_malformed);
  }
}

TEST_CASE("tunnels are written and read in constant evaluation") {
  static_assert([] {
    std::byte b[20 + 12 + 20]{};
    if (!write_headers(b, outer, gre_header{.checksum = true, .has_key = true, .key = 3}, inner)) return false;
    const auto v = gre::parse(ipv4::parse(b)->payload());
    return v->checksum_ok() && v->key() == 3;
  }());
  static_assert([] {
    std::byte b[16]{};
    return write_headers(b, udp_header{}, vxlan_header{.vni = 5}) &&
           vxlan::parse(bytes{b}.from(8))->network_identifier() == 5;
  }());
}
