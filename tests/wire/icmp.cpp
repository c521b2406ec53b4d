// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <runnel/wire/icmp.hpp>
#include <runnel/wire/icmpv6.hpp>
#include <runnel/wire/ipv4.hpp>
#include <runnel/wire/ipv6.hpp>
#include <runnel/wire/ndp.hpp>

#include "wire_bytes.hpp"

using namespace runnel;
using runnel_test::exact;
using runnel_test::hex;

static_assert(icmp::unreachable::network.type == 3 && icmp::unreachable::network.code == 0);
static_assert(icmp::unreachable::port == icmp_kind{3, 3});

static constexpr bool works_in_constant_evaluation() {
  std::byte b[8]{};
  if (!write_headers(b, icmp_header{.kind = icmp::echo_reply, .identifier = 1})) return false;
  const auto v4 = icmp::parse(b);
  if (!v4 || !v4->checksum_ok() || v4->identifier() != 1) return false;
  if (!write_headers(b, icmpv6_header{.kind = icmpv6::packet_too_big, .next_hop_mtu = 1280})) return false;
  const auto v6 = icmpv6::parse(b);
  return v6 && v6->checksum_ok(0) && v6->next_hop_mtu() == 1280;
}
static_assert(works_in_constant_evaluation());

TEST_CASE("an echo request is written with identifier and sequence number, and read back") {
  std::byte b[8 + 5]{};
  REQUIRE(write_headers(b, icmp_header{.kind = icmp::echo_request, .identifier = 0x1234, .sequence_number = 7}));
  CHECK(equal(bytes{b, 8}, hex("0800 e5c4 1234 0007")));
  const auto v = mut<icmp>::parse(b);
  REQUIRE(v);
  CHECK(v->checksum_ok());
  CHECK(v->kind() == icmp::echo_request);
  CHECK(v->is_query());
  CHECK_FALSE(v->is_error());
  CHECK(v->quoted().empty());
  CHECK(v->payload().size() == 5);

  SUBCASE("and turned into its reply in place, the checksum staying right") {
    v->kind(icmp::echo_reply);
    v->identifier(0xffff);
    v->sequence_number(0);
    CHECK(v->checksum_ok());
    text<> line;
    print(line, *v);
    CHECK(same_text(line.c_str(), "ICMP echo reply, id 65535, seq 0, length 13"));
  }
}

TEST_CASE("an error quotes the datagram that it is about, and carries what its kind needs") {
  std::byte quote[28]{};
  REQUIRE(write_headers(quote, ipv4_header{.source = {10, 0, 0, 1}, .destination = {10, 0, 0, 2}, .protocol = 17}));
  const struct {
    icmp_header header;
    const char* printed;
  } cases[] = {
      {{.kind = icmp::unreachable::network}, "ICMP net unreachable, length 36"},
      {{.kind = icmp::unreachable::port}, "ICMP port unreachable, length 36"},
      {{.kind = icmp::unreachable::fragmentation_needed, .next_hop_mtu = 1400},
       "ICMP need to frag (mtu 1400), length 36"},
      {{.kind = icmp::redirect::host, .gateway = {10, 0, 0, 9}}, "ICMP redirect to 10.0.0.9, length 36"},
      {{.kind = icmp::time_exceeded::transit, .identifier = 99}, "ICMP time exceeded in-transit, length 36"},
      {{.kind = icmp::parameter_problem::pointer, .pointer = 20}, "ICMP parameter problem, octet 20, length 36"},
  };
  for (const auto& c : cases) {
    CAPTURE(c.printed);
    std::byte b[8 + sizeof quote];
    copy_bytes(b + 8, quote, sizeof quote);
    REQUIRE(write_headers(b, c.header));
    const auto v = icmp::parse(b);
    REQUIRE(v);
    CHECK(v->checksum_ok());
    CHECK(v->is_error());
    CHECK(equal(v->quoted(), quote));
    text<> line;
    print(line, *v);
    CHECK(same_text(line.c_str(), c.printed));
  }
}

TEST_CASE("RFC 4884: the quoted datagram ends where the length attribute says, extensions come behind it") {
  std::vector<std::byte> b(8 + 128 + 12);
  REQUIRE(write_headers(b, icmp_header{.kind = icmp::time_exceeded::transit}));
  b[5] = std::byte{32};  // words of four bytes
  CHECK(icmp::parse(b)->quoted().size() == 128);
  CHECK(icmp::parse(b)->extensions().size() == 12);
  b[5] = std::byte{255};  // longer than the message
  CHECK(icmp::parse(b)->quoted().size() == 140);
  CHECK(icmp::parse(b)->extensions().empty());
  b[5] = std::byte{0};  // says nothing
  CHECK(icmp::parse(b)->quoted().size() == 140);
  CHECK(icmp::parse(b)->extensions().empty());
  b[0] = std::byte{3};
  b[1] = std::byte{4};
  b[5] = std::byte{32};
  CHECK(icmp::parse(b)->quoted().size() == 128);

  REQUIRE(write_headers(b, icmpv6_header{.kind = icmpv6::time_exceeded::hop_limit}));
  b[4] = std::byte{16};  // words of eight bytes
  CHECK(icmpv6::parse(b)->quoted().size() == 128);
  CHECK(icmpv6::parse(b)->extensions().size() == 12);
}

TEST_CASE("an ICMP message shorter than its header is refused with the cause") {
  const std::byte b[8]{};
  CHECK(icmp::parse(bytes{b, 7}).error() == drop_reason::icmp_too_short);
  CHECK(icmpv6::parse(bytes{b, 7}).error() == drop_reason::icmp_too_short);
  CHECK(icmp::parse(bytes{}).error() == drop_reason::icmp_too_short);
}

TEST_CASE("an ICMPv6 message is summed with the pseudo-header around it, and setters keep it right") {
  std::byte b[40 + 8 + 3]{};
  REQUIRE(write_headers(b, ipv6_header{.source = {0xfe80'0000'0000'0000, 1}, .destination = {0xff02'0000'0000'0000, 1}},
                        icmpv6_header{.kind = icmpv6::echo_request, .identifier = 5, .sequence_number = 6}));
  const auto outer = mut<ipv6>::parse(b);
  REQUIRE(outer);
  CHECK(outer->next_header() == 58);
  const auto v = mut<icmpv6>::parse(outer->payload());
  REQUIRE(v);
  const auto right = [&] { return v->checksum_ok(outer->pseudo_header_sum()); };
  CHECK(right());
  text<> line;
  print(line, *v);
  CHECK(same_text(line.c_str(), "ICMP6, echo request, id 5, seq 6, length 11"));
  v->kind(icmpv6::packet_too_big);
  v->next_hop_mtu(0x12345678);
  CHECK(right());
  CHECK(v->next_hop_mtu() == 0x12345678);
  const auto from = outer->pseudo_header_sum();
  outer->source({0x2001'0db8'0000'0000, 0xffff'ffff'ffff'fffe});
  CHECK_FALSE(right());
  v->update_checksum(from, outer->pseudo_header_sum());
  CHECK(right());
  v->message_checksum(0);
  CHECK_FALSE(right());
  v->update_checksum(outer->pseudo_header_sum());
  CHECK(right());
}

TEST_CASE("a known ICMPv6 message, checksum and all") {
  // Neighbour solicitation of fe80::2 by fe80::1; the checksum is from an independent sum.
  const auto b =
      hex("6000 0000 0020 3aff fe80 0000 0000 0000 0000 0000 0000 0001 ff02 0000 0000 0000 0000 0001 ff00 0002"
          "8700 7a97 0000 0000 fe80 0000 0000 0000 0000 0000 0000 0002 0101 0200 0000 0001");
  const auto outer = ipv6::parse(b);
  REQUIRE(outer);
  const auto v = icmpv6::parse(outer->payload());
  REQUIRE(v);
  CHECK(v->kind() == icmpv6::neighbour_solicitation);
  CHECK(v->checksum_ok(outer->pseudo_header_sum()));
  const auto asked = neighbour_solicitation::parse(v->contents(), *outer);
  REQUIRE(asked);
  CHECK(asked->target() == addr6("fe80::2"));
}

TEST_CASE("no ICMP accessor reads beyond random bytes") {
  runnel_test::xorshift random;
  for (int round = 0; round < 10000; ++round) {
    std::byte raw[160];
    random.fill(raw);
    raw[0] = static_cast<std::byte>(random.below(20));
    const exact b{bytes{raw, random.below(161)}};
    text<> line;
    if (const auto v = mut<icmp>::parse(b)) {
      print(line, *v);
      CHECK(v->quoted().size() + v->extensions().size() <= b.size() - 8);
      v->kind(icmp::unreachable::port);
      (void)v->checksum_ok();
    }
    if (const auto v = mut<icmpv6>::parse(b)) {
      print(line, *v);
      CHECK(v->quoted().size() + v->extensions().size() <= b.size() - 8);
      v->next_hop_mtu(1);
      (void)v->checksum_ok(0);
    }
  }
}
