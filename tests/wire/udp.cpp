// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <runnel/wire/ethernet.hpp>
#include <runnel/wire/ipv4.hpp>
#include <runnel/wire/udp.hpp>

using namespace runnel;

static constexpr ipv4_header between{.source = {10, 0, 0, 1}, .destination = {10, 0, 0, 2}};

TEST_CASE("a UDP datagram that is written has its length and a checksum over the pseudo-header") {
  std::byte b[20 + 8 + 3]{std::byte{0}};
  b[28] = std::byte{'a'}, b[29] = std::byte{'b'}, b[30] = std::byte{'c'};
  REQUIRE(write_headers(b, between, udp_header{.source_port = 5000, .destination_port = 53}));
  const auto ip = mut<ipv4>::parse(b);
  REQUIRE(ip);
  CHECK(ip->protocol_number() == 17);
  const auto v = mut<udp>::parse(ip->payload());
  REQUIRE(v);
  CHECK(v->source_port() == 5000);
  CHECK(v->destination_port() == 53);
  CHECK(v->datagram_length() == 11);
  CHECK(v->payload().size() == 3);
  CHECK(v->has_checksum());
  std::uint32_t sum = 0x0a00 + 0x0001 + 0x0a00 + 0x0002 + 17 + 11 + 5000 + 53 + 11 + 0x6162 + 0x6300;
  sum = (sum & 0xffff) + (sum >> 16);
  CHECK(v->datagram_checksum() == (~sum & 0xffff));
  CHECK(v->checksum_ok(ip->pseudo_header_sum()));
  text<> line;
  print(line, *v);
  CHECK(same_text(line.c_str(), "5000 > 53: UDP, length 3"));

  SUBCASE("and keeps it right when a NAT changes port and address") {
    v->source_port(61000);
    v->destination_port(1);
    v->update_checksum(ip->source().value(), 0xc0a80101);
    ip->source({192, 168, 1, 1});
    CHECK(v->checksum_ok(ip->pseudo_header_sum()));
  }
  SUBCASE("and a changed byte makes it wrong") {
    b[30] = std::byte{'d'};
    CHECK_FALSE(v->checksum_ok(ip->pseudo_header_sum()));
  }
}

TEST_CASE("a UDP datagram without a checksum is accepted and none is invented for it") {
  std::byte b[28]{};
  REQUIRE(write_headers(b, between, udp_header{.source_port = 1, .destination_port = 2, .checksum = false}));
  const auto v = mut<udp>::parse(mutable_bytes{b}.from(20));
  REQUIRE(v);
  CHECK_FALSE(v->has_checksum());
  CHECK(v->checksum_ok(0));
  v->source_port(7);
  v->update_checksum(1, 2);
  CHECK(v->datagram_checksum() == 0);
  text<> line;
  print(line, *v);
  CHECK(same_text(line.c_str(), "7 > 2: UDP, length 0, no checksum"));
}

TEST_CASE("a UDP checksum that comes out as zero is sent as 0xffff") {
  std::byte b[8]{};
  // 17 + 8 (pseudo-header) + 8 (length) + source port: all ones
  const std::uint16_t port = 0xffff - 17 - 8 - 8;
  REQUIRE(write_headers(b, udp_header{.source_port = port}));
  const auto v = mut<udp>::parse(b);
  REQUIRE(v);
  CHECK(v->datagram_checksum() == 0xffff);
  CHECK(v->checksum_ok(0));
  v->source_port(port - 1);
  CHECK(v->checksum_ok(0));
  v->source_port(port);
  CHECK(v->datagram_checksum() == 0xffff);
}

TEST_CASE("a UDP header that lies about its length is refused, and no accessor follows the lie") {
  std::byte b[12]{};
  CHECK(udp::parse(bytes{b, 7}).error() == drop_reason::udp_too_short);
  store_be16(b + 4, 7);
  CHECK(udp::parse(b).error() == drop_reason::udp_length);
  store_be16(b + 4, 13);
  CHECK(udp::parse(b).error() == drop_reason::udp_length);
  CHECK(udp::unchecked(b).payload().size() == 4);
  store_be16(b + 4, 10);
  REQUIRE(udp::parse(b));
  CHECK(udp::parse(b)->payload().size() == 2);
  const auto v = udp::parse(b);
  store_be16(b + 4, 3);
  CHECK(v->payload().size() == 0);
  store_be16(b + 4, 0xffff);
  CHECK(v->payload().size() == 2);
}

TEST_CASE("UDP is written and read in constant evaluation") {
  static_assert([] {
    std::byte b[14 + 20 + 8 + 4]{};
    if (!write_headers(b, ethernet_header{}, between, udp_header{.source_port = 9, .destination_port = 10}))
      return false;
    const auto ip = ipv4::parse(bytes{b}.from(14));
    return ip->checksum_ok() && udp::parse(ip->payload())->checksum_ok(ip->pseudo_header_sum());
  }());
}
