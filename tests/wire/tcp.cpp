// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <runnel/wire/ipv4.hpp>
#include <runnel/wire/tcp.hpp>

#include "wire_bytes.hpp"

using namespace runnel;
using runnel_test::exact;
using runnel_test::hex;

namespace {

// A SYN of Linux to port 80, as tcpdump showed it: 192.168.1.2:40000 > 192.168.1.1:80.
const auto linux_syn =
    hex("9c40 0050 fffffff0 00000000 a002 faf0 0000 0000 0204 05b4 0402 080a 0000 0007 0000 0000 01 03 03 07");

constexpr bool writes_and_reads_in_constant_evaluation() {
  std::byte b[64]{};
  const tcp_header h{.source_port = 1,
                     .destination_port = 2,
                     .flags = tcp_flags::syn,
                     .options = {.maximum_segment_size = 1460, .window_scale = 7, .sack_permitted = true}};
  if (!write_headers(b, ipv4_header{}, h)) return false;
  const auto outer = ipv4::parse(b);
  if (!outer) return false;
  const auto v = tcp::parse(outer->payload());
  return v && v->syn() && !v->ack() && v->checksum_ok(outer->pseudo_header_sum()) && v->options().size() == 12;
}
static_assert(writes_and_reads_in_constant_evaluation());

}  // namespace

TEST_CASE("a TCP header shows its fields and its options in tcpdump's words") {
  const auto v = tcp::parse(linux_syn);
  REQUIRE(v);
  CHECK(v->source_port() == 40000);
  CHECK(v->destination_port() == 80);
  CHECK(v->sequence_number() == 0xfffffff0);
  CHECK(v->header_size() == 40);
  CHECK(v->window_size() == 64240);
  CHECK(v->sequence_length() == 1);
  CHECK(v->payload().empty());
  text<> line;
  print(line, *v);
  CHECK(same_text(line.c_str(),
                  "40000 > 80: Flags [S], seq 4294967280, win 64240, options [mss 1460,sackOK,TS val 7 ecr "
                  "0,nop,wscale 7], length 0"));
}

TEST_CASE("the options of a Linux SYN are read, and written back as the same bytes") {
  const auto v = tcp::parse(linux_syn);
  REQUIRE(v);
  const auto o = tcp_option_values::parse(v->options());
  CHECK(o.maximum_segment_size == 1460);
  CHECK(o.window_scale == 7);
  CHECK(o.sack_permitted);
  CHECK(o.has_timestamps);
  CHECK(o.timestamps == tcp_timestamps{7, 0});
  REQUIRE(o.size() == 20);
  std::byte b[40];
  o.write(b);
  CHECK(equal(bytes{b, 20}, v->options()));
}

TEST_CASE("a written segment has a right checksum, and setters keep it right") {
  for (std::size_t payload : {0u, 1u, 2u, 11u}) {
    std::vector<std::byte> b(20 + 32 + payload, std::byte{0x5a});
    REQUIRE(write_headers(b, ipv4_header{.source = {10, 0, 0, 1}, .destination = {10, 0, 0, 2}},
                          tcp_header{.source_port = 5,
                                     .destination_port = 6,
                                     .sequence_number = 0xffffffff,
                                     .acknowledgment_number = 9,
                                     .flags = tcp_flags::ack | tcp_flags::psh,
                                     .window_size = 100,
                                     .options = {.has_timestamps = true, .timestamps = {1, 2}}}));
    const auto outer = mut<ipv4>::parse(b);
    REQUIRE(outer);
    CHECK(outer->protocol_number() == 6);
    const auto v = mut<tcp>::parse(outer->payload());
    REQUIRE(v);
    const auto right = [&] { return v->checksum_ok(outer->pseudo_header_sum()); };
    CHECK(right());
    CHECK(v->payload().size() == payload);
    v->source_port(0xfffe);
    CHECK(right());
    v->destination_port(0);
    CHECK(right());
    v->sequence_number(7);
    CHECK(right());
    v->acknowledgment_number(0xfedcba98);
    CHECK(right());
    v->control_bits(tcp_flags::rst | tcp_flags::cwr);
    CHECK(right());
    v->window_size(0);
    CHECK(right());
    v->urgent_pointer(3);
    CHECK(right());
    const auto from = outer->pseudo_header_sum();
    outer->source({192, 0, 2, 77});
    CHECK_FALSE(right());
    v->update_checksum(from, outer->pseudo_header_sum());
    CHECK(right());
    v->update_checksum(outer->destination().value(), ipv4_address(203, 0, 113, 9).value());
    outer->destination({203, 0, 113, 9});
    CHECK(right());
    v->segment_checksum(static_cast<std::uint16_t>(v->segment_checksum() ^ 1));
    CHECK_FALSE(right());
    v->update_checksum(outer->pseudo_header_sum());
    CHECK(right());
    CHECK(v->rst());
    CHECK(v->cwr());
    CHECK_FALSE(v->psh());
  }
}

TEST_CASE("the tcpdump line of a data segment has its end and its acknowledgment") {
  std::byte b[23]{};
  REQUIRE(write_headers(b, tcp_header{.source_port = 80,
                                      .destination_port = 1024,
                                      .sequence_number = 0xfffffffe,
                                      .acknowledgment_number = 5,
                                      .flags = tcp_flags::ack | tcp_flags::psh | tcp_flags::fin,
                                      .window_size = 9}));
  text<> line;
  print(line, tcp::unchecked(b));
  CHECK(same_text(line.c_str(), "80 > 1024: Flags [FP.], seq 4294967294:1, ack 5, win 9, length 3"));
}

TEST_CASE("a TCP header that lies about its length is refused with the cause") {
  auto b = linux_syn;
  CHECK(tcp::parse(bytes{b.data(), 19}).error() == drop_reason::tcp_too_short);
  CHECK(tcp::parse(bytes{}).error() == drop_reason::tcp_too_short);
  CHECK(tcp::parse(bytes{b.data(), 39}).error() == drop_reason::tcp_data_offset);
  b[12] = std::byte{0x40};
  CHECK(tcp::parse(b).error() == drop_reason::tcp_data_offset);
  b[12] = std::byte{0xf0};
  CHECK(tcp::parse(b).error() == drop_reason::tcp_data_offset);
}

TEST_CASE("MUST-7: options of illegal length end the walk, and what came before still counts") {
  const struct {
    const char* options;
    bool malformed;
    const char* printed;
  } cases[] = {
      {"", false, ""},
      {"00", false, ""},
      {"0204 05b4", false, "mss 1460"},
      {"01010101", false, "nop,nop,nop,nop"},
      {"0204 05b4 02", true, "mss 1460[bad opt]"},                         // no length octet
      {"0204 05b4 0800 0101", true, "mss 1460[bad opt]"},                  // length 0 would loop for ever
      {"0204 05b4 0801 0101", true, "mss 1460[bad opt]"},                  // length 1 would be read twice
      {"0204 05b4 080a 0101", true, "mss 1460[bad opt]"},                  // beyond the end
      {"0204 05b4 fe04 0000 0402", false, "mss 1460,unknown-254,sackOK"},  // MUST-6
      {"01 0204 05b4 00 0402", false, "nop,mss 1460"},    // MUST-64 unaligned; nothing after the end of list
      {"0203 05 0204 0218", false, "unknown-2,mss 536"},  // a known kind of the wrong length is not believed
      {"0303 ff", false, "wscale 14"},                    // RFC 7323 §2.3
      {"050a 00000001 00000002", false, "sack 1 {1:2}"},
      {"050b 00000001 00000002 03", false, "unknown-5"},
      {"2202", false, "tfo cookiereq"},
      {"220a 0102030405060708", false, "tfo cookie 0102030405060708"},
      {"2205 010203", false, "unknown-34"},
      {"1c04 8002", false, "uto 120s"},
      {"1d04 0709", false, "ao keyid 7"},
      {"1312 00000000 00000000 00000000 00000000", false, "md5"},
      {"1e03 20", false, "mptcp 3"},
  };
  for (const auto& c : cases) {
    CAPTURE(c.options);
    const exact b{hex(c.options)};
    text<> line;
    print(line, tcp_options{b});
    const bool ends_with_bad = line.size() > 9 && same_text(line.c_str() + line.size() - 9, "[bad opt]");
    CHECK(ends_with_bad == c.malformed);
    CHECK(same_text(line.c_str(), c.printed));
  }
}

TEST_CASE("as many SACK blocks are written as fit 40 bytes: four alone, three beside timestamps") {
  tcp_option_values o{.sack_count = 4, .sack = {{1, 2}, {3, 4}, {5, 6}, {7, 8}}};
  CHECK(o.size() == 36);
  o.has_timestamps = true;
  CHECK(o.size() == 40);
  std::byte b[60]{};
  REQUIRE(write_headers(b, tcp_header{.options = o}));
  const auto v = tcp::parse(b);
  REQUIRE(v);
  const auto back = tcp_option_values::parse(v->options());
  CHECK(back.sack_count == 3);
  CHECK(back.sack[0] == tcp_sack_block{1, 2});
  CHECK(back.sack[2] == tcp_sack_block{5, 6});
}

TEST_CASE("a fast open cookie and encoded options are written, padded and read back") {
  const auto cookie = hex("0102030405060708");
  const auto more = hex("1c04 8002 fe03 09");
  std::byte b[60]{};
  REQUIRE(write_headers(
      b, tcp_header{.options = {.maximum_segment_size = 1220, .has_fast_open = true, .fast_open_cookie = cookie},
                    .more_options = more}));
  const auto v = tcp::parse(b);
  REQUIRE(v);
  text<> line;
  print(line, tcp_options{v->options()});
  CHECK(same_text(line.c_str(), "mss 1220,tfo cookie 0102030405060708,nop,nop,uto 120s,unknown-254"));
  const auto back = tcp_option_values::parse(v->options());
  CHECK(back.has_fast_open);
  CHECK(equal(back.fast_open_cookie, cookie));
}

TEST_CASE("clamping lowers the maximum segment size at any alignment and keeps the checksum right") {
  for (const char* options : {"0204 05b4", "01 0204 05b4", "0101 0204 05b4", "0303 07 0204 05b4 00"}) {
    CAPTURE(options);
    const auto raw = hex(options);
    std::byte b[48]{};
    REQUIRE(write_headers(b, tcp_header{.flags = tcp_flags::syn, .more_options = raw}));
    const auto v = mut<tcp>::parse(b);
    REQUIRE(v);
    REQUIRE(v->checksum_ok(0));
    CHECK_FALSE(v->clamp_maximum_segment_size(1460));
    CHECK(v->clamp_maximum_segment_size(1412));
    CHECK(v->checksum_ok(0));
    CHECK(tcp_option_values::parse(v->options()).maximum_segment_size == 1412);
  }
}

TEST_CASE("no accessor reads beyond random bytes, even when the data offset changes after parsing") {
  runnel_test::xorshift random;
  for (int round = 0; round < 20000; ++round) {
    std::byte raw[80];
    random.fill(raw);
    const exact b{bytes{raw, random.below(81)}};
    if (b.size() > 12 && round % 2 == 0) b.data()[12] = static_cast<std::byte>((5 + random.below(4)) << 4);
    const auto v = mut<tcp>::parse(b);
    if (!v) continue;
    b.data()[12] = static_cast<std::byte>(random());
    CHECK(v->header_size() >= 20);
    CHECK(v->header_size() <= b.size());
    text<512> line;
    print(line, *v);
    (void)tcp_option_values::parse(v->options());
    (void)v->clamp_maximum_segment_size(1);
    (void)v->checksum_ok(0);
    CHECK(v->payload().size() + v->header_size() == b.size());
  }
}
