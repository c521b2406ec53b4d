// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <runnel/wire/dissect.hpp>
#include <runnel/wire/gre.hpp>
#include <runnel/wire/ipv4.hpp>
#include <runnel/wire/ipv6.hpp>
#include <runnel/wire/ipv6_extension.hpp>
#include <runnel/wire/tcp.hpp>
#include <runnel/wire/tunnel.hpp>
#include <runnel/wire/udp.hpp>
#include <runnel/wire/vxlan.hpp>

#include "wire_bytes.hpp"

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

TEST_CASE("what is inside a tunnel is a packet with headers of its own") {
  constexpr udp_header ports{.source_port = 1, .destination_port = 2};
  constexpr ipv6_header six{.source = addr6("2001:db8::1"), .destination = addr6("2001:db8::2")};
  std::byte b[160]{};
  const auto written = [&](const auto&... headers) {
    const mutable_bytes whole{b, size_of_headers(headers...)};
    REQUIRE(write_headers(whole, headers...));
    return bytes{whole};
  };
  SUBCASE("IPv4 in IPv4") {
    const header_map in = inside(ipv4::unchecked(written(outer, inner, ports)));
    REQUIRE((in.has<ipv4>() && in.has<udp>()));
    CHECK(in.get<ipv4>().source() == addr4("10.0.0.1"));
    CHECK(in.get<udp>().destination_port() == 2);
    CHECK(in.layers().fault == drop_reason::none);
  }
  SUBCASE("IPv6 in IPv4") {
    const header_map in = inside(ipv4::unchecked(written(outer, six, ports)));
    REQUIRE((in.has<ipv6>() && in.has<udp>()));
    CHECK(in.get<ipv6>().source() == addr6("2001:db8::1"));
  }
  SUBCASE("IPv4 in IPv6, behind options") {
    const header_map in = inside(ipv6::unchecked(written(six, ipv6_destination_options_header{}, inner, ports)));
    REQUIRE((in.has<ipv4>() && in.has<udp>()));
  }
  SUBCASE("IPv6 in IPv6, and again in it") {
    const header_map in = inside(ipv6::unchecked(written(six, six, inner, ports)));
    REQUIRE(in.has<ipv6>());
    CHECK_FALSE(in.has<udp>());
    CHECK(inside(in.get<ipv6>()).has<udp>());
  }
  SUBCASE("GRE around IP and around Ethernet") {
    const bytes plain = written(gre_header{.has_key = true}, inner, ports);
    CHECK(inside(gre::unchecked(plain)).has<udp>());
    const bytes bridged = written(gre_header{}, ethernet_header{}, inner, ports);
    const header_map in = inside(gre::unchecked(bridged));
    CHECK((in.has<ethernet>() && in.has<ipv4>() && in.has<udp>()));
  }
  SUBCASE("VXLAN") {
    const bytes frame = written(vxlan_header{.vni = 3}, ethernet_header{}, inner, ports);
    const header_map in = inside(vxlan::unchecked(frame));
    CHECK((in.has<ethernet>() && in.has<ipv4>() && in.has<udp>()));
    b[0] = std::byte{0};  // not a valid VNI
    CHECK_FALSE(inside(vxlan::unchecked(frame)).has<ethernet>());
    CHECK(inside(vxlan::unchecked(frame)).layers().fault == drop_reason::vxlan_malformed);
  }
  SUBCASE("nothing that can be looked into") {
    const header_map none = inside(ipv4::unchecked(written(outer, ports)));
    CHECK_FALSE((none.has<ethernet>() || none.has<ipv4>() || none.has<ipv6>() || none.has<udp>()));
    CHECK(none.layers().fault == drop_reason::none);
    CHECK_FALSE(inside(gre::unchecked(written(gre_header{.protocol = 0x88cc}))).has<ethernet>());
    CHECK_FALSE(inside(gre::unchecked(written(gre_header{.protocol = 0x0800}))).has<ipv4>());
  }
}

TEST_CASE("what is wrong inside a tunnel is named, unless more of it is to come") {
  std::byte b[20 + 20 + 8]{};
  REQUIRE(write_headers(b, outer, inner, udp_header{.source_port = 1, .destination_port = 2}));
  const ipv4 whole = ipv4::unchecked(b);
  b[23] = std::byte{29};  // total length of the inner header: one byte more than there is
  CHECK_FALSE(inside(whole).has<ipv4>());
  CHECK(inside(whole).layers().fault == drop_reason::ip_total_length);
  b[6] = std::byte{0x20};  // more fragments
  CHECK(inside(whole).has<ipv4>());
  b[7] = std::byte{1};  // and not the first one
  CHECK_FALSE(inside(whole).has<ipv4>());
  b[6] = b[7] = std::byte{0};
  b[20] = std::byte{0x65};  // not IPv4
  CHECK_FALSE(inside(whole).has<ipv6>());
  CHECK(inside(whole).layers().fault == drop_reason::ip_version);

  b[20] = std::byte{0x45};
  b[23] = std::byte{28};
  for (std::size_t size = 20; size <= sizeof b; ++size) {
    const runnel_test::exact cut(bytes{b, size});
    const header_map in = inside(ipv4::unchecked({cut.data(), cut.size()}));
    CHECK(in.has<ipv4>() == (size == sizeof b));
  }
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
