// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <runnel/wire/ipv4.hpp>

using namespace runnel;

TEST_CASE("an IPv4 header that is written is read back, with a right checksum") {
  std::byte b[28]{};
  REQUIRE(
      write_headers(b, ipv4_header{.source = {10, 0, 0, 1}, .destination = {10, 0, 0, 2}, .id = 7, .protocol = 17}));
  auto v = mut<ipv4>::parse(b);
  REQUIRE(v);
  CHECK(v->checksum_ok());
  CHECK(v->source() == ipv4_address{10, 0, 0, 1});
  CHECK(v->payload().size() == 8);

  SUBCASE("and setters keep the checksum right") {
    v->time_to_live(3);
    v->destination({1, 2, 3, 4});
    v->codepoint(46);
    CHECK(v->checksum_ok());
    text<> line;
    print(line, *v);
    CHECK(same_text(line.c_str(), "10.0.0.1 > 1.2.3.4: ttl 3, id 7, DF, dscp 46, proto 17, length 28"));
  }
  SUBCASE("those of fragments too, each beside the others' bits") {
    v->more_fragments(true);
    v->fragment_offset(65528);
    v->total_length(24);
    v->protocol_number(6);
    CHECK(v->checksum_ok());
    CHECK(v->time_to_live() == 64);
    text<> line;
    print(line, *v);
    CHECK(same_text(line.c_str(), "10.0.0.1 > 10.0.0.2: ttl 64, id 7, offset 65528+, DF, proto 6, length 24"));
    v->dont_fragment(false);
    v->fragment_offset(8);
    CHECK(load_be16(b + 6) == 0x2001);
    v->more_fragments(false);
    v->dont_fragment(true);
    CHECK(load_be16(b + 6) == 0x4001);
    v->fragment_offset(0);
    CHECK(!v->is_fragment());
    CHECK(v->checksum_ok());
    CHECK(v->payload().size() == 8);
  }
}

TEST_CASE("RFC 1141: a hop less changes an IPv4 header as setting the TTL does, whatever its checksum is") {
  std::byte one[20]{}, other[20]{};
  REQUIRE(write_headers(one, ipv4_header{.protocol = 17}));
  constexpr std::uint8_t ttls[] = {1, 64, 255};
  for (const std::uint8_t ttl : ttls)
    for (std::uint32_t sum = 0; sum <= 0xffff; ++sum) {
      store_u8(one + 8, ttl);
      store_be16(one + 10, static_cast<std::uint16_t>(sum));
      copy_bytes(other, one, sizeof one);
      mut<ipv4>::unchecked(one).decrement_time_to_live();
      mut<ipv4>::unchecked(other).time_to_live(static_cast<std::uint8_t>(ttl - 1));
      if (!equal(one, other)) FAIL("TTL " << int{ttl} << ", checksum " << sum);
    }
}

TEST_CASE("an IPv4 header that lies about its lengths is refused with the cause") {
  std::byte b[24]{};
  REQUIRE(write_headers(b, ipv4_header{}));
  CHECK(ipv4::parse(bytes{b, 19}).error() == drop_reason::ip_too_short);
  CHECK(ipv4::parse(bytes{b, 23}).error() == drop_reason::ip_total_length);
  store_be16(b + 2, 19);
  CHECK(ipv4::parse(b).error() == drop_reason::ip_total_length);
  store_u8(b, 0x44);
  CHECK(ipv4::parse(b).error() == drop_reason::ip_header_length);
  store_u8(b, 0x4f);
  CHECK(ipv4::parse(b).error() == drop_reason::ip_header_length);
  store_u8(b, 0x65);
  CHECK(ipv4::parse(b).error() == drop_reason::ip_version);
}

TEST_CASE("the options walker stops at an option whose length cannot be") {
  const std::byte router_alert[] = {std::byte{0x94}, std::byte{4},    std::byte{0}, std::byte{0},
                                    std::byte{1},    std::byte{0x07}, std::byte{9}};
  ipv4_options o{router_alert};
  REQUIRE(o);
  CHECK(o.kind() == 0x94);
  CHECK(o.data().size() == 2);
  o.next();
  CHECK(o.kind() == 1);
  o.next();
  CHECK_FALSE(o);
  CHECK(o.malformed());
}
