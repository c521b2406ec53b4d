// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <runnel/wire/ipv6.hpp>
#include <runnel/wire/tcp.hpp>

#include "wire_bytes.hpp"

using namespace runnel;
using runnel_test::exact;
using runnel_test::hex;

namespace {

constexpr ipv6_address here{0x2001'0db8'0000'0000, 1};
constexpr ipv6_address there{0x2001'0db8'ffff'ffff, 0xffff'ffff'ffff'fffe};

constexpr bool carries_tcp_in_constant_evaluation() {
  std::byte b[64]{};
  if (!write_headers(b, ipv6_header{.source = here, .destination = there}, tcp_header{.flags = tcp_flags::rst}))
    return false;
  const auto outer = ipv6::parse(b);
  return outer && outer->next_header() == 6 && outer->payload_length() == 24 &&
         tcp::parse(outer->payload())->checksum_ok(outer->pseudo_header_sum());
}
static_assert(carries_tcp_in_constant_evaluation());

}  // namespace

TEST_CASE("an IPv6 header that is written is read back field by field") {
  std::byte b[48]{};
  const ipv6_header h{.source = here,
                      .destination = there,
                      .hop_limit = 255,
                      .dscp = 46,
                      .ecn = 1,
                      .flow_label = 0xabcde,
                      .next_header = 17};
  REQUIRE(write_headers(b, h));
  CHECK(equal(bytes{b, 8}, hex("6b9abcde 0008 11 ff")));
  const auto v = mut<ipv6>::parse(b);
  REQUIRE(v);
  CHECK(v->codepoint() == 46);
  CHECK(v->ecn_bits() == 1);
  CHECK(v->flow_label() == 0xabcde);
  CHECK(v->source() == here);
  CHECK(v->destination() == there);
  CHECK(v->payload().size() == 8);
  CHECK(fold_checksum(v->pseudo_header_sum()) == fold_checksum(h.pseudo_header_sum()));
  text<> line;
  print(line, *v);
  CHECK(same_text(line.c_str(),
                  "2001:db8::1 > 2001:db8:ffff:ffff:ffff:ffff:ffff:fffe: hlim 255, dscp 46, ecn 1, flowlabel 0xabcde, "
                  "next 17, length 8"));

  SUBCASE("and setters change their own bits only") {
    v->codepoint(0);
    v->ecn_bits(3);
    v->flow_label(0xfff00001);
    v->hop_limit(1);
    v->next_header(58);
    v->payload_length(0);
    v->source(there);
    v->destination(here);
    CHECK(equal(bytes{b, 8}, hex("60300001 0000 3a 01")));
    const ipv6 read_only = *v;
    CHECK(read_only.source() == there);
    CHECK(read_only.destination() == here);
  }
}

TEST_CASE("padding of the link is no payload") {
  std::byte b[60]{};
  REQUIRE(write_headers(b, ipv6_header{}));
  store_be16(b + 4, 3);
  const auto v = ipv6::parse(b);
  REQUIRE(v);
  CHECK(v->payload().size() == 3);
}

TEST_CASE("an IPv6 header that cannot be right is refused with the cause") {
  std::byte b[41]{};
  REQUIRE(write_headers(b, ipv6_header{}));
  CHECK(ipv6::parse(bytes{b, 39}).error() == drop_reason::ip_too_short);
  CHECK(ipv6::parse(bytes{b, 40}).error() == drop_reason::ip_total_length);
  b[0] = std::byte{0x45};
  CHECK(ipv6::parse(b).error() == drop_reason::ip_version);
}

TEST_CASE("a payload length of zero is an empty payload, unless it announces a jumbogram") {
  std::byte b[60]{};
  REQUIRE(write_headers(b, ipv6_header{}));
  store_be16(b + 4, 0);
  const auto v = ipv6::parse(b);
  REQUIRE(v);
  CHECK(v->payload().empty());
  b[6] = std::byte{0};
  CHECK(ipv6::parse(b).error() == drop_reason::ip_total_length);
}

TEST_CASE("no IPv6 accessor reads beyond random bytes") {
  runnel_test::xorshift random;
  for (int round = 0; round < 5000; ++round) {
    std::byte raw[64];
    random.fill(raw);
    raw[0] = static_cast<std::byte>(0x60 | (random.below(16)));
    store_be16(raw + 4, static_cast<std::uint16_t>(random.below(30)));
    const exact b{bytes{raw, random.below(65)}};
    const auto v = mut<ipv6>::parse(b);
    if (!v) continue;
    random.fill({b.data(), b.size()});
    text<> line;
    print(line, *v);
    CHECK(v->payload().size() <= b.size() - 40);
    (void)v->pseudo_header_sum();
    v->codepoint(1);
    v->destination(here);
  }
}
