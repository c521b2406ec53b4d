// SPDX-License-Identifier: MIT
// Echo requests and their replies, byte by byte.
#include <runnel/ip/answer_echo.hpp>

#include <cstddef>
#include <cstdint>

#include <doctest/doctest.h>

#include <flow/test_device.hpp>
#include <ip/plain_packets.hpp>

using namespace runnel;
using namespace runnel::test;

namespace {

constexpr std::uint32_t us = 0xc000'0201, them = 0x0a00'0001;

struct fixture {
  ip_interface all[2] = {
      {.addresses = {{ipv4_address{192, 0, 2, 1}, 24}, {ipv6_address{0x2001'0db8'0000'0000, 2}, 64}}},
      {.addresses = {{ipv4_address{198, 51, 100, 1}, 24}}}};
  counted_pool memory{pool_config{.packets = 8, .bytes = 1600, .headroom = 64, .bare = 8}};
  detail::echo_decision echo{all, 64};

  // The reply; empty when it goes by `other`, and one byte when it was dropped for `reason`.
  drop_reason reason = drop_reason::none;
  octets answer(const octets& request, std::size_t first = 0) {
    packet p = packet_of(memory, request, first);
    return answer(p, request);
  }
  octets answer(packet& p, const octets& request) {
    const verdict v = echo(p).decision();
    reason = v.reason;
    if (v.code == verdict_code::pass && v.port == 0) {
      CHECK(knows_itself(p));
      return octets_of(p);
    }
    CHECK(octets_of(p) == request);
    return v.code == verdict_code::pass ? octets{} : octets{1};
  }
};

octets request4(const octets& data = counting(56), plain_ip4 h = {.source = them, .destination = us, .ttl = 3}) {
  h.protocol = 1;
  return join({link4(), datagram4(h, icmp4(8, 0, 0xabcd'0001, data))});
}
octets reply4(const octets& data = counting(56), plain_ip4 h = {}) {
  h.source = us;
  h.destination = them;
  h.protocol = 1;
  return join({turned(link4()), datagram4(h, icmp4(0, 0, 0xabcd'0001, data))});
}
octets request6(const octets& data, plain_ip6 h = {.hop_limit = 3}, const octets& before = {}) {
  if (before.empty()) h.next = 58;
  return join({link6(), datagram6(h, join({before, icmp6(h.source, h.destination, 128, 0, 0xabcd'0001, data)}))});
}
octets reply6(const octets& data) {
  return join({turned(link6()), datagram6({.source = address6(2), .destination = address6(1), .next = 58},
                                          icmp6(address6(2), address6(1), 129, 0, 0xabcd'0001, data))});
}

}  // namespace

TEST_CASE("RFC 1122 3.2.2.6, RFC 4443 4.2: the reply comes from the address that was asked, with all the data") {
  fixture t;
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{56}, std::size_t{1471}}) {
    CHECK(t.answer(request4(counting(size))) == reply4(counting(size)));
    CHECK(t.answer(request6(counting(size % 1440))) == reply6(counting(size % 1440)));
  }
  // Type of service, identification and "don't fragment" are the request's.
  CHECK(t.answer(request4({}, {.source = them, .destination = us, .tos = 0x48, .id = 77, .flags_and_offset = 0})) ==
        reply4({}, {.tos = 0x48, .id = 77, .flags_and_offset = 0}));
  // Every sum: the checksum is updated over the wrap as it would be computed.
  for (unsigned i = 0; i < 600; ++i) {
    octets data;
    put16(data, 0x10000 - 0xabcd - 0x0800 - 300 + i);
    REQUIRE(t.answer(request4(data)) == reply4(data));
    REQUIRE(t.answer(request6(data)) == reply6(data));
  }
}

TEST_CASE("data in further pieces are neither read nor moved: what reassembly makes is answered") {
  fixture t;
  CHECK(t.answer(request4(counting(1000)), 60) == reply4(counting(1000)));
  CHECK(t.answer(request6(counting(1000)), 70) == reply6(counting(1000)));
  packet p = packet_of(t.memory, request4());
  packet other = p.clone();
  CHECK(t.answer(p, {}) == reply4());
  CHECK(octets_of(other) == request4());
}

TEST_CASE("options and extension headers are not in the reply; source routes are refused") {
  fixture t;
  const octets record_route{7, 7, 4, 0, 0, 0, 0, 0};
  CHECK(t.answer(request4(counting(9), {.source = them, .destination = us, .options = record_route})) ==
        reply4(counting(9)));
  for (const int kind : {131, 137}) {
    const octets route{1, static_cast<std::uint8_t>(kind), 7, 4, 10, 0, 0, 9};
    CHECK(t.answer(request4({}, {.source = them, .destination = us, .options = route})) == octets{1});
    CHECK(t.reason == drop_reason::source_route);
  }
  CHECK(t.answer(request6(counting(9), {.next = 0}, {58, 0, 1, 4, 0, 0, 0, 0})) == reply6(counting(9)));
  CHECK(t.answer(request6(counting(9), {.next = 44}, {58, 0, 0, 0, 0, 0, 0, 1})) == reply6(counting(9)));  // atomic
  CHECK(t.answer(request6({}, {.next = 43}, {58, 0, 0, 0, 0, 0, 0, 0})) == octets{1});
  CHECK(t.reason == drop_reason::source_route);
}

TEST_CASE("RFC 1122 3.2.2.6, RFC 1812 4.3.3.6: broadcasts, strangers and fragments are not answered") {
  fixture t;
  CHECK(t.answer(request4({}, {.source = them, .destination = 0xc000'0202})).empty());
  CHECK(t.answer(request4({}, {.source = them, .destination = 0xc000'02ff})).empty());
  CHECK(t.answer(request4({}, {.source = them, .destination = 0xffff'ffff})).empty());
  CHECK(t.answer(request4({}, {.source = them, .destination = 0xe000'0001})).empty());
  CHECK(t.answer(request4({}, {.source = them, .destination = us, .flags_and_offset = 0x2000})).empty());
  CHECK(t.answer(request4({}, {.source = them, .destination = us, .flags_and_offset = 0x0010})).empty());
  CHECK(t.answer(request6({}, {.next = 44}, {58, 0, 0, 1, 0, 0, 0, 1})).empty());  // the first of several
  CHECK(t.answer(request6({}, {.destination = address6(9)})).empty());
  CHECK(t.answer(request6({}, {.destination = join({{0xff, 2}, octets(13), {1}})})).empty());
  for (const std::uint32_t from : {0u, 0x7f00'0001u, 0xe000'0001u, 0xffff'ffffu, 0xc000'02ffu}) {
    CHECK(t.answer(request4({}, {.source = from, .destination = us})) == octets{1});
    CHECK(t.reason == drop_reason::unanswerable);
  }
  CHECK(t.answer(request6({}, {.source = octets(16)})) == octets{1});
  CHECK(t.reason == drop_reason::unanswerable);
  // An own IPv4 address in the form of an IPv6 one.
  CHECK(t.answer(request6({}, {.destination = join({octets(10), {0xff, 0xff, 192, 0, 2, 1}})})).empty());
  octets all = request4();
  all[0] = 0xff;
  CHECK(t.answer(all) == octets{1});
  CHECK(t.reason == drop_reason::link_broadcast);
  all = request6({});
  all[0] = 0x33;
  CHECK(t.answer(all) == octets{1});
  CHECK(t.reason == drop_reason::link_broadcast);
  all = request4();
  all[24] ^= 1;
  CHECK(t.answer(all) == octets{1});
  CHECK(t.reason == drop_reason::ip_checksum);
  // Other messages, and other protocols.
  CHECK(t.answer(join({link4(), datagram4({.destination = us, .protocol = 1}, icmp4(0, 0, 0, {}))})).empty());
  CHECK(
      t.answer(join({link4(), datagram4({.destination = us, .protocol = 1}, icmp4(13, 0, 0, counting(12)))})).empty());
  CHECK(t.answer(join({link4(), datagram4({.destination = us}, udp_of({}))})).empty());
}

TEST_CASE("in a pipeline replies go one way and everything else another") {
  fixture t;
  test_device wire{t.memory};
  wire.icmp(1);
  wire.udp(2);
  numbers answers, others;
  auto path = parse() | answer_echo(t.all).on<answered>(note(answers)).on<other>(note(others));
  run(attach(wire, path));
  CHECK(answers == "1");
  CHECK(others == "2");
}
