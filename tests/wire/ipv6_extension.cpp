// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <runnel/wire/icmpv6.hpp>
#include <runnel/wire/ipv6_extension.hpp>
#include <runnel/wire/tcp.hpp>

#include "wire_bytes.hpp"

using namespace runnel;
using runnel_test::exact;
using runnel_test::hex;

namespace {

constexpr ipv6_header outer{
    .source = {0xfe80'0000'0000'0000, 1}, .destination = {0xff02'0000'0000'0000, 0x16}, .hop_limit = 1};

constexpr bool checksums_work_behind_extension_headers() {
  std::byte b[40 + 8 + 16 + 8 + 20 + 3]{};
  if (!write_headers(b, outer, ipv6_hop_by_hop_header{.options = mld_router_alert},
                     ipv6_destination_options_header{.options = bytes{b, 7}}, ipv6_fragment_header{.identification = 5},
                     tcp_header{.source_port = 1}))
    return false;
  const auto v = ipv6::parse(b);
  if (!v || v->next_header() != 0) return false;
  ipv6_extensions e(*v);
  while (e) e.next();
  return e.has_upper_layer() && e.protocol() == 6 && e.offset() == 72 &&
         tcp::parse(e.rest())->checksum_ok(v->pseudo_header_sum());
}
static_assert(checksums_work_behind_extension_headers());

void check_line(std::uint8_t first, const char* chain, const char* printed) {
  CAPTURE(chain);
  const exact b{hex(chain)};
  text<> line;
  print(line, ipv6_extensions{first, b});
  CHECK(same_text(line.c_str(), printed));
}

}  // namespace

TEST_CASE("a multicast listener report carries its router alert, and a checksum with the pseudo-header") {
  std::byte b[40 + 8 + 8]{};
  REQUIRE(write_headers(b, outer, ipv6_hop_by_hop_header{.options = mld_router_alert},
                        icmpv6_header{.kind = icmpv6::listener_report_v2}));
  CHECK(equal(bytes{b}.from(40).first(8), hex("3a 00 0502 0000 0100")));
  const auto v = ipv6::parse(b);
  REQUIRE(v);
  ipv6_extensions e(*v);
  REQUIRE(e);
  CHECK(e.kind() == ipv6_extension::hop_by_hop);
  ipv6_options o(e.data());
  REQUIRE(o);
  CHECK(o.kind() == ipv6_options::router_alert);
  CHECK(o.action() == ipv6_option_action::skip);
  CHECK(o.offset() == 2);
  CHECK(o.data().size() == 2);
  o.next();
  CHECK_FALSE(o);
  CHECK_FALSE(o.malformed());
  e.next();
  CHECK_FALSE(e);
  REQUIRE(e.has_upper_layer());
  CHECK(e.named_at() == 40);
  CHECK(icmpv6::parse(e.rest())->checksum_ok(v->pseudo_header_sum()));
}

TEST_CASE("every known extension header is stepped over by its own rule of length") {
  check_line(6, "", "6");
  check_line(59, "", "59");
  check_line(0,
             "3c00 0104 00000000 2b01 0104 00000000 0000000000000000 3300 0000 00000000 0604 0000 00000000 00000000 "
             "00000000 00000000",
             "hbh > dstopt > rt > [malformed]");  // the authentication header claims 24 bytes, 20 of which are here
  check_line(51, "0604 0000 00000000 00000000 00000000 00000000 00000000", "ah > 6");
  check_line(44, "1100 0000 00000007", "frag (0x00000007:0|0) > 17");
}

TEST_CASE("chains that cannot be right end the walk as malformed") {
  check_line(60, "0000 0104 00000000 0600 0104 00000000", "dstopt > [malformed]");  // hop-by-hop not first
  check_line(60, "06", "[malformed]");
  check_line(60, "0601 0104 00000000", "[malformed]");  // longer than what is there
  check_line(51, "0600 0000 00000000", "[malformed]");  // shorter than an authentication header can be
  check_line(44, "2c00 0000 00000001 0600 0000 00000001", "frag (0x00000001:0|8) > [malformed]");
  std::vector<std::byte> many;
  for (int i = 0; i < 9; ++i)
    for (std::byte x : hex("3c00 0104 00000000")) many.push_back(x);
  ipv6_extensions e(60, many);
  unsigned count = 0;
  for (; e; e.next()) ++count;
  CHECK(count == ipv6_extensions::max_headers);
  CHECK(e.malformed());
  CHECK_FALSE(e.has_upper_layer());
}

TEST_CASE("behind a later fragment there are no headers, whatever the bytes look like") {
  const auto b = hex("0600 0008 00000001 3c00 0104 00000000");
  ipv6_extensions e(44, b);
  REQUIRE(e);
  const auto f = ipv6_fragment::parse(e.data());
  REQUIRE(f);
  CHECK(f->fragment_offset() == 8);
  CHECK_FALSE(f->is_atomic());
  e.next();
  CHECK_FALSE(e);
  CHECK_FALSE(e.malformed());
  CHECK_FALSE(e.has_upper_layer());
  CHECK(e.is_fragment());
  CHECK(e.protocol() == 6);
  CHECK(e.rest().size() == 8);
}

TEST_CASE("a fragment header is written and read back, and an atomic one is told apart") {
  std::byte b[16]{};
  REQUIRE(write_headers(
      b, ipv6_fragment_header{
             .fragment_offset = 1448, .more_fragments = true, .identification = 0x1234abcd, .next_header = 17}));
  CHECK(equal(bytes{b, 8}, hex("1100 05a9 1234abcd")));
  const auto v = mut<ipv6_fragment>::parse(b);
  REQUIRE(v);
  CHECK(v->next_header() == 17);
  CHECK(v->more_fragments());
  text<> line;
  print(line, *v);
  CHECK(same_text(line.c_str(), "frag (0x1234abcd:1448|8)+"));
  v->identification(1);
  CHECK(v->identification() == 1);
  REQUIRE(write_headers(b, ipv6_fragment_header{}));
  CHECK(ipv6_fragment::parse(b)->is_atomic());
  CHECK(ipv6_fragment::parse(bytes{b, 7}).error() == drop_reason::ipv6_extension);
}

TEST_CASE("the options walker steps over padding, knows the action bits, and stops at impossible lengths") {
  const struct {
    const char* header;
    unsigned options;
    bool malformed;
  } cases[] = {
      {"3a00 0104 00000000", 0, false}, {"3a00 000000000000", 0, false}, {"3a00 00 0502 0000 00", 1, false},
      {"3a00 0105 00000000", 0, true},  {"3a00 0000000000 05", 0, true}, {"3a00 1e00 1e00 1e00", 3, false},
      {"3a00 0502 0000 1e01", 1, true},
  };
  for (const auto& c : cases) {
    CAPTURE(c.header);
    const exact b{hex(c.header)};
    unsigned count = 0;
    ipv6_options o{b};
    for (; o; o.next()) ++count;
    CHECK(count == c.options);
    CHECK(o.malformed() == c.malformed);
  }
  const auto jumbo = hex("3a00 c204 00010000");
  CHECK(ipv6_options{jumbo}.action() == ipv6_option_action::discard_and_report_unless_multicast);
  const auto changing = hex("3a00 7e02 00000100");
  CHECK(ipv6_options{changing}.action() == ipv6_option_action::discard_silently);
  CHECK(ipv6_options{changing}.changes_en_route());
}

TEST_CASE("a routing header shows its type and the segments that are left") {
  const auto b = hex("0602 0001 00000000 20010db8000000000000000000000001");
  ipv6_extensions e(43, b);
  REQUIRE(e);
  const auto r = ipv6_routing::parse(e.data());
  REQUIRE(r);
  CHECK(r->routing_type() == 0);
  CHECK(r->segments_left() == 1);
  CHECK(r->data().size() == 20);
}

TEST_CASE("neither walker reads beyond random bytes, even when they change underway") {
  runnel_test::xorshift random;
  const std::uint8_t known[] = {0, 43, 44, 51, 60, 6};
  for (int round = 0; round < 20000; ++round) {
    std::byte raw[96];
    for (std::byte& x : raw)
      x = static_cast<std::byte>(random.below(4) == 0 ? random.below(256) : known[random.below(6)]);
    for (std::size_t i = 1; i < sizeof raw; i += 8) raw[i] = static_cast<std::byte>(random.below(3));
    const exact b{bytes{raw, random.below(97)}};
    std::size_t seen = 0;
    ipv6_extensions e(known[random.below(6)], b);
    for (; e; e.next()) {
      seen += e.data().size();
      if (round % 4 == 0) random.fill({b.data(), b.size()});
      for (ipv6_options o(e.data()); o; o.next()) CHECK(o.offset() + 2 + o.data().size() <= e.data().size());
    }
    CHECK(seen + e.rest().size() == b.size());
    CHECK(e.offset() == 40 + seen);
    text<512> line;
    print(line, ipv6_extensions{0, b});
  }
}
