// SPDX-License-Identifier: MIT
// ICMP and ICMPv6 errors, byte by byte, and about what they are not sent.
#include <runnel/ip/icmp_error.hpp>

#include <cstddef>
#include <cstdint>

#include <doctest/doctest.h>

#include <ip/plain_packets.hpp>
#include <packet/counted_pool.hpp>

using namespace runnel;
using namespace runnel::test;

namespace {

constexpr instant t0{1'000'000'000};

struct fixture {
  // Interface 1 is 198.51.100.1/24 and 2001:db8::fe; interface 0 has no address.
  ip_interface all[3] = {
      {},
      {.addresses = {{ipv4_address{198, 51, 100, 1}, 24}, {ipv6_address{0x2001'0db8'0000'0000, 0xfe}, 64}}},
      {.addresses = {{ipv4_address{203, 0, 113, 1}, 24}, {ipv6_address{0x2001'0db8'0000'0001, 0xfe}, 64}}}};
  icmp_sender sender{all, token_bucket{1000, 1000}};
  counted_pool memory{pool_config{.packets = 8, .bytes = 1600, .headroom = 64, .bare = 8}};

  verdict answer(packet& p, const icmp_error& what) { return answer_with_error(p, what, sender, t0); }
  // What becomes of a packet of these bytes.
  drop_reason refused(const octets& all_of_it, const icmp_error& what = icmp::unreachable::host) {
    packet p = packet_of(memory, all_of_it);
    const verdict v = answer(p, what);
    CHECK(octets_of(p) == (v.code == verdict_code::pass ? octets_of(p) : all_of_it));
    return v.code == verdict_code::pass ? drop_reason::none : v.reason;
  }
};

constexpr std::uint32_t here4 = 0xc633'6401;  // 198.51.100.1

// The error about `about`, as the RFCs draw it.
octets error4(const octets& link, const octets& about, std::uint8_t type, std::uint8_t code, std::uint32_t rest,
              std::uint32_t from = here4, std::uint8_t tos = 0xc0) {
  octets quote = about;
  if (quote.size() > 548) quote.resize(548);
  return join({turned(link), datagram4({.source = from, .destination = 0x0a00'0001, .protocol = 1, .tos = tos, .id = 0},
                                       icmp4(type, code, rest, quote))});
}
octets error6(const octets& about, std::uint8_t type, std::uint8_t code, std::uint32_t rest, std::uint8_t from = 0xfe) {
  octets quote = about;
  if (quote.size() > 1232) quote.resize(1232);
  const octets source = address6(from), to = address6(1);
  return join({turned(link6()), datagram6({.source = source, .destination = to, .next = 58, .traffic_class = 0xc0},
                                          icmp6(source, to, type, code, rest, quote))});
}

}  // namespace

TEST_CASE("RFC 792, RFC 1812 5.2.7: every error, with what it has beside the quote") {
  fixture t;
  const octets about = datagram4({}, udp_of(counting(30)));
  struct row {
    icmp_error what;
    std::uint8_t type, code;
    std::uint32_t rest;
  };
  for (std::uint8_t code = 0; code < 16; ++code) {
    if (code == 4) continue;
    packet p = packet_of(t.memory, join({link4(), about}));
    REQUIRE(t.answer(p, icmp_kind{3, code}) == pass);
    CHECK(octets_of(p) == error4(link4(), about, 3, code, 0));
    CHECK(knows_itself(p));
  }
  const row rows[] = {{{icmp::unreachable::fragmentation_needed, 1400}, 3, 4, 1400},
                      {icmp::time_exceeded::transit, 11, 0, 0},
                      {icmp::time_exceeded::reassembly, 11, 1, 0},
                      {{icmp::parameter_problem::pointer, 20}, 12, 0, 20u << 24},
                      {{icmp::redirect::host, 0xc633'6402}, 5, 1, 0xc633'6402}};
  for (const row& r : rows) {
    packet p = packet_of(t.memory, join({link4(), about}));
    REQUIRE(t.answer(p, r.what) == pass);
    CHECK(octets_of(p) == error4(link4(), about, r.type, r.code, r.rest));
    CHECK(knows_itself(p));
  }
}

TEST_CASE("RFC 4443 3: every error, with what it has beside the quote") {
  fixture t;
  const octets about = datagram6({}, udp_of(counting(31)));
  for (std::uint8_t code = 0; code < 7; ++code) {
    packet p = packet_of(t.memory, join({link6(), about}));
    REQUIRE(t.answer(p, icmpv6_kind{1, code}) == pass);
    CHECK(octets_of(p) == error6(about, 1, code, 0));
    CHECK(knows_itself(p));
  }
  struct row {
    icmp_error what;
    std::uint8_t type, code;
    std::uint32_t rest;
  };
  const row rows[] = {
      {{icmpv6::packet_too_big, 70000}, 2, 0, 70000},     {icmpv6::time_exceeded::hop_limit, 3, 0, 0},
      {icmpv6::time_exceeded::reassembly, 3, 1, 0},       {{icmpv6::parameter_problem::header_field, 40}, 4, 0, 40},
      {icmpv6::parameter_problem::next_header, 4, 1, 6},  // where the protocol is named
      {{icmpv6::parameter_problem::option, 42}, 4, 2, 42}};
  for (const row& r : rows) {
    packet p = packet_of(t.memory, join({link6(), about}));
    REQUIRE(t.answer(p, r.what) == pass);
    CHECK(octets_of(p) == error6(about, r.type, r.code, r.rest));
  }
  // Behind a hop-by-hop header the protocol is named there.
  const octets behind = datagram6({.next = 0}, join({{200, 0, 1, 4, 0, 0, 0, 0}, counting(8)}));
  packet p = packet_of(t.memory, join({link6(), behind}));
  REQUIRE(t.answer(p, icmp::unreachable::protocol) == pass);
  CHECK(octets_of(p) == error6(behind, 4, 1, 40));
}

TEST_CASE("an ICMP kind stands for ICMPv6's nearest") {
  CHECK(icmp_error::nearest(icmp::unreachable::network) == icmpv6::unreachable::no_route);
  CHECK(icmp_error::nearest(icmp::unreachable::host) == icmpv6::unreachable::address);
  CHECK(icmp_error::nearest(icmp::unreachable::port) == icmpv6::unreachable::port);
  CHECK(icmp_error::nearest(icmp::unreachable::prohibited) == icmpv6::unreachable::prohibited);
  CHECK(icmp_error::nearest(icmp::unreachable::host_prohibited) == icmpv6::unreachable::prohibited);
  CHECK(icmp_error::nearest(icmp::unreachable::fragmentation_needed) == icmpv6::packet_too_big);
  CHECK(icmp_error::nearest(icmp::time_exceeded::transit) == icmpv6::time_exceeded::hop_limit);
  CHECK(icmp_error::nearest(icmp::time_exceeded::reassembly) == icmpv6::time_exceeded::reassembly);
  CHECK(icmp_error::nearest(icmp::parameter_problem::pointer) == icmpv6::parameter_problem::header_field);
  CHECK(icmp_error::nearest(icmp::redirect::host) == icmpv6_kind{});
}

TEST_CASE("RFC 1812 4.3.2.3, RFC 4443 2.4 (c): as much is quoted as fits 576 and 1280 bytes") {
  fixture t;
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{519}, std::size_t{520}, std::size_t{521}, std::size_t{1400}}) {
    const octets about = datagram4({}, udp_of(counting(size)));
    packet p = packet_of(t.memory, join({link4(), about}));
    REQUIRE(t.answer(p, icmp::unreachable::port) == pass);
    CHECK(octets_of(p) == error4(link4(), about, 3, 3, 0));
    CHECK(p.length() <= 14 + 576);
  }
  for (const std::size_t size : {std::size_t{1183}, std::size_t{1184}, std::size_t{1185}, std::size_t{1450}}) {
    const octets about = datagram6({}, udp_of(counting(size)));
    packet p = packet_of(t.memory, join({link6(), about}));
    REQUIRE(t.answer(p, icmp::unreachable::port) == pass);
    CHECK(octets_of(p) == error6(about, 1, 4, 0));
    CHECK(p.length() <= 14 + 1280);
  }
}

TEST_CASE("what pads a frame is not quoted") {
  fixture t;
  const octets about = datagram4({}, udp_of({}));
  packet p = packet_of(t.memory, join({link4(), about, octets(18)}));
  REQUIRE(t.answer(p, icmp::unreachable::port) == pass);
  CHECK(octets_of(p) == error4(link4(), about, 3, 3, 0));
}

TEST_CASE("RFC 1812 4.3.2.5: precedence 6, and the type of service of the packet") {
  fixture t;
  const octets about = datagram4({.tos = 0x5f}, udp_of({}));  // precedence 2, D, T and R, both bits of ECN
  packet p = packet_of(t.memory, join({link4(), about}));
  REQUIRE(t.answer(p, icmp::unreachable::port) == pass);
  CHECK(octets_of(p) == error4(link4(), about, 3, 3, 0, here4, 0xdc));
}

TEST_CASE("RFC 1812 4.3.2.4, RFC 4443 2.2: the source is the address of the interface, or that it was sent to") {
  fixture t;
  const octets to_us = datagram4({.destination = 0xcb00'7101}, udp_of({}));  // 203.0.113.1, of another interface
  packet p = packet_of(t.memory, join({link4(), to_us}));
  REQUIRE(t.answer(p, icmp::unreachable::port) == pass);
  CHECK(octets_of(p) == error4(link4(), to_us, 3, 3, 0, 0xcb00'7101));
  p = packet_of(t.memory, join({link4(), datagram4({}, udp_of({}))}));
  p.iif(0);  // which has no address
  CHECK(t.answer(p, icmp::unreachable::port) == drop(drop_reason::unanswerable));
  p.iif(77);  // which is not there
  CHECK(t.answer(p, icmp::unreachable::port) == drop(drop_reason::unanswerable));
  const octets to_us6 = datagram6({.destination = address6(0xfe)}, udp_of({}));
  p = packet_of(t.memory, join({link6(), to_us6}));
  p.iif(0);
  REQUIRE(t.answer(p, icmp::unreachable::port) == pass);
  CHECK(octets_of(p) == error6(to_us6, 1, 4, 0));
}

TEST_CASE("VLAN tags and 802.3 lengths are kept right, and what has no Ethernet header goes without") {
  fixture t;
  const octets about = datagram4({}, udp_of(counting(5)));
  const octets tagged = link4({0x88, 0xa8, 0, 7, 0x81, 0, 0x60, 9});
  packet p = packet_of(t.memory, join({tagged, about}));
  REQUIRE(t.answer(p, icmp::unreachable::port) == pass);
  CHECK(octets_of(p) == error4(tagged, about, 3, 3, 0));
  CHECK(knows_itself(p));
  // SNAP: the length counts 8 bytes and the datagram, 33 and then 61 bytes.
  const auto snap = [](std::uint8_t datagram) {
    return octets{2,    0,    0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0, static_cast<std::uint8_t>(8 + datagram),
                  0xaa, 0xaa, 3, 0, 0, 0, 8, 0};
  };
  p = packet_of(t.memory, join({snap(33), about}));
  REQUIRE(t.answer(p, icmp::unreachable::port) == pass);
  CHECK(octets_of(p) == error4(snap(61), about, 3, 3, 0));
  CHECK(knows_itself(p));
  p = packet_of(t.memory, about, 0, link_type::raw_ip);
  REQUIRE(t.answer(p, icmp::unreachable::port) == pass);
  CHECK(join({turned(link4()), octets_of(p)}) == error4(link4(), about, 3, 3, 0));
  CHECK(knows_itself(p));
}

TEST_CASE("RFC 1122 3.2.2, RFC 1812 4.3.2.7: about these no error is sent") {
  fixture t;
  const octets plain = udp_of({});
  const auto of = [&](plain_ip4 h) { return t.refused(join({link4(), datagram4(h, plain)})); };
  CHECK(of({}) == drop_reason::none);
  // Errors, redirects and what nobody knows; queries are answered.
  for (const int type : {3, 4, 5, 11, 12, 1, 2, 6, 9, 19, 41, 255}) {
    CAPTURE(type);
    const octets message = icmp4(static_cast<std::uint8_t>(type), 0, 0, datagram4({}, plain));
    CHECK(t.refused(join({link4(), datagram4({.protocol = 1}, message)})) == drop_reason::unanswerable);
  }
  for (const int type : {0, 8, 13, 14, 17}) {
    const octets message = icmp4(static_cast<std::uint8_t>(type), 0, 0, counting(12));
    CHECK(t.refused(join({link4(), datagram4({.protocol = 1}, message)})) == drop_reason::none);
  }
  // To many.
  CHECK(of({.destination = 0xe000'0001}) == drop_reason::unanswerable);  // 224.0.0.1
  CHECK(of({.destination = 0xffff'ffff}) == drop_reason::unanswerable);
  CHECK(of({.destination = 0xc633'64ff}) == drop_reason::unanswerable);  // 198.51.100.255, of interface 1
  CHECK(of({.destination = 0xc633'6400}) == drop_reason::unanswerable);
  octets link = link4();
  for (std::size_t i = 0; i < 6; ++i) link[i] = 0xff;
  CHECK(t.refused(join({link, datagram4({}, plain)})) == drop_reason::unanswerable);
  CHECK(t.refused(join({{1, 0, 0x5e, 0, 0, 1, 2, 0, 0, 0, 0, 1, 8, 0}, datagram4({}, plain)})) ==
        drop_reason::unanswerable);
  CHECK(t.refused(join({{2, 0, 0, 0, 0, 2, 3, 0, 0, 0, 0, 1, 8, 0}, datagram4({}, plain)})) ==
        drop_reason::unanswerable);
  // From no single host.
  for (const std::uint32_t from :
       {0u, 0x0001'0203u, 0x7f00'0001u, 0xe000'0001u, 0xf000'0001u, 0xffff'ffffu, 0xc633'64ffu})
    CHECK(of({.source = from}) == drop_reason::unanswerable);
  // Later fragments; the first is answered.
  CHECK(of({.flags_and_offset = 0x2000}) == drop_reason::none);
  CHECK(of({.flags_and_offset = 0x2001}) == drop_reason::unanswerable);
  CHECK(of({.flags_and_offset = 0x00b9}) == drop_reason::unanswerable);
  // Hurt on the way: who knows whom the error would go to.
  octets hurt = join({link4(), datagram4({}, plain)});
  hurt[14 + 15] ^= 1;
  CHECK(t.refused(hurt) == drop_reason::ip_checksum);
  // Kinds that are no errors.
  CHECK(t.refused(join({link4(), datagram4({}, plain)}), icmp::echo_reply) == drop_reason::unanswerable);
  CHECK(t.refused(join({link4(), datagram4({}, plain)}), icmpv6::unreachable::port) == drop_reason::unanswerable);
}

TEST_CASE("RFC 4443 2.4 (e): about these no error is sent") {
  fixture t;
  const octets plain = udp_of({});
  const auto of = [&](plain_ip6 h, const icmp_error& what = icmp::unreachable::host) {
    return t.refused(join({link6(), datagram6(h, plain)}), what);
  };
  const octets group = join({{0xff, 2}, octets(13), {1}});
  CHECK(of({}) == drop_reason::none);
  for (const int type : {1, 2, 3, 4, 100, 127, 137}) {
    CAPTURE(type);
    const octets message = icmp6(address6(1), address6(2), static_cast<std::uint8_t>(type), 0, 0, counting(48));
    CHECK(t.refused(join({link6(), datagram6({.next = 58}, message)})) == drop_reason::unanswerable);
  }
  const octets question = icmp6(address6(1), address6(2), 128, 0, 0, {});
  CHECK(t.refused(join({link6(), datagram6({.next = 58}, question)})) == drop_reason::none);
  // To many: but for "too big" and an unknown option with bits 10.
  CHECK(of({.destination = group}) == drop_reason::unanswerable);
  CHECK(of({.destination = group}, {icmpv6::parameter_problem::header_field, 4}) == drop_reason::unanswerable);
  CHECK(of({.destination = group}, {icmpv6::packet_too_big, 1280}) == drop_reason::none);
  CHECK(of({.destination = group}, {icmpv6::parameter_problem::option, 42}) == drop_reason::none);
  octets link = link6();
  link[0] = 0x33;
  CHECK(t.refused(join({link, datagram6({}, plain)})) == drop_reason::unanswerable);
  CHECK(t.refused(join({link, datagram6({}, plain)}), {icmpv6::packet_too_big, 1280}) == drop_reason::none);
  // From no single host.
  CHECK(of({.source = octets(16)}) == drop_reason::unanswerable);
  CHECK(of({.source = join({octets(15), {1}})}) == drop_reason::unanswerable);
  CHECK(of({.source = group}) == drop_reason::unanswerable);
  // IPv4 addresses in the form of IPv6 ones, 198.51.100.1 of interface 1 too, are for programs, not for packets.
  const octets four = join({octets(10), {0xff, 0xff, 198, 51, 100, 1}});
  CHECK(of({.source = four}) == drop_reason::unanswerable);
  CHECK(of({.destination = four}) == drop_reason::unanswerable);
  // Fragments: the first is answered.
  const octets first = join({{17, 0, 0, 1, 0, 0, 0, 9}, udp_of(counting(8))});
  const octets later = join({{17, 0, 0, 8, 0, 0, 0, 9}, counting(16)});
  CHECK(t.refused(join({link6(), datagram6({.next = 44}, first)})) == drop_reason::none);
  CHECK(t.refused(join({link6(), datagram6({.next = 44}, later)})) == drop_reason::unanswerable);
  CHECK(t.refused(join({link6(), datagram6({}, plain)}), icmp::redirect::host) == drop_reason::unanswerable);
}

TEST_CASE("RFC 4443 2.4 (f): errors are limited by a token bucket; a packet that may have none takes no token") {
  fixture t;
  t.sender = icmp_sender{t.all, token_bucket{10, 2}};
  const octets good = join({link4(), datagram4({}, udp_of({}))});
  const octets bad = join({link4(), datagram4({.source = 0}, udp_of({}))});
  const auto at = [&](const octets& all, duration after) {
    packet p = packet_of(t.memory, all);
    return answer_with_error(p, icmp::unreachable::host, t.sender, t0 + after);
  };
  CHECK(at(bad, {}) == drop(drop_reason::unanswerable));
  CHECK(at(good, {}) == pass);
  CHECK(at(good, {}) == pass);
  CHECK(at(good, {}) == drop(drop_reason::icmp_rate));
  CHECK(at(bad, {}) == drop(drop_reason::unanswerable));
  CHECK(at(good, milliseconds(99)) == drop(drop_reason::icmp_rate));
  CHECK(at(good, milliseconds(100)) == pass);
  CHECK(at(good, milliseconds(100)) == drop(drop_reason::icmp_rate));
}

TEST_CASE("in place where there is room, moved where it is behind, copied where the bytes are not its own") {
  const octets about = datagram4({}, udp_of(counting(60)));
  const octets all = join({link4(), about});
  const octets expected = error4(link4(), about, 3, 3, 0);
  fixture t;
  SUBCASE("in place") {
    packet p = packet_of(t.memory, all);
    const std::byte* const network = p.data() + 14;
    REQUIRE(t.answer(p, icmp::unreachable::port) == pass);
    CHECK(p.data() + 14 + 28 == network);
    CHECK(octets_of(p) == expected);
    CHECK(t.memory->available() == 7);
  }
  SUBCASE("no room in front") {
    counted_pool tight{pool_config{.packets = 1, .bytes = 256, .headroom = 0, .bare = 1}};
    packet p = packet_of(tight, all);
    REQUIRE(t.answer(p, icmp::unreachable::port) == pass);
    CHECK(octets_of(p) == expected);
    CHECK(knows_itself(p));
  }
  SUBCASE("less room than the quote takes: a shorter one") {
    counted_pool tight{pool_config{.packets = 1, .bytes = 110, .headroom = 10, .bare = 1}};
    packet p = packet_of(tight, all);
    REQUIRE(t.answer(p, icmp::unreachable::port) == pass);
    octets shorter = about;
    shorter.resize(120 - 14 - 28);
    CHECK(octets_of(p) == error4(link4(), shorter, 3, 3, 0));
  }
  SUBCASE("not even the least") {
    counted_pool tight{pool_config{.packets = 1, .bytes = 14 + 20 + 8, .headroom = 27, .bare = 1}};
    packet p = packet_of(tight, join({link4(), datagram4({}, udp_of({}))}));
    CHECK(t.answer(p, icmp::unreachable::port) == drop(drop_reason::no_packet));
  }
  SUBCASE("shared bytes are copied, and the clone keeps them") {
    packet p = packet_of(t.memory, all);
    packet other = p.clone();
    REQUIRE(t.answer(p, icmp::unreachable::port) == pass);
    CHECK(octets_of(p) == expected);
    CHECK(octets_of(other) == all);
  }
  SUBCASE("a chain is quoted across its parts") {
    const octets longer = datagram4({}, udp_of(counting(900)));
    packet p = packet_of(t.memory, join({link4(), longer}), 100);
    REQUIRE(t.answer(p, icmp::unreachable::port) == pass);
    CHECK(octets_of(p) == error4(link4(), longer, 3, 3, 0));
    CHECK_FALSE(p.is_chained());
    CHECK(knows_itself(p));
    CHECK(t.memory->available() == 7);
  }
  SUBCASE("of a chain that another thread has handed over the first part is quoted") {
    const octets longer = datagram4({}, udp_of(counting(900)));
    packet p = packet_of(t.memory, join({link4(), longer}), 100);
    REQUIRE(p.send_away());
    REQUIRE(t.answer(p, icmp::unreachable::port) == pass);
    const octets error = octets_of(p), expected_of_all = error4(link4(), longer, 3, 3, 0);
    CHECK(octets(error.begin() + 14 + 28, error.end()) == octets(longer.begin(), longer.begin() + (100 - 14)));
    CHECK(octets(error.begin(), error.begin() + 14) == octets(expected_of_all.begin(), expected_of_all.begin() + 14));
    CHECK(plain_checksum(octets(error.begin() + 14, error.begin() + 34)) == 0);
    CHECK(plain_checksum(octets(error.begin() + 34, error.end())) == 0);
    CHECK(knows_itself(p));
    p.reset();
    t.memory->reclaim();
    CHECK(t.memory->available() == 8);
  }
  SUBCASE("of a chain that is longer than a slot the first part is quoted") {
    counted_pool small{pool_config{.packets = 4, .bytes = 512, .headroom = 16, .bare = 1}};
    const octets longer = datagram4({}, udp_of(counting(900)));
    packet p = packet_of(small, join({link4(), longer}), 480);
    REQUIRE(t.answer(p, icmp::unreachable::port) == pass);
    const octets error = octets_of(p);
    CHECK(octets(error.begin() + 14 + 28, error.end()) == octets(longer.begin(), longer.begin() + (480 - 14)));
    CHECK(plain_checksum(octets(error.begin() + 34, error.end())) == 0);
    CHECK(knows_itself(p));
    p.reset();
    CHECK(small->available() == 4);
  }
  SUBCASE("no slot for a copy") {
    counted_pool tight{pool_config{.packets = 1, .bytes = 256, .headroom = 64, .bare = 1}};
    packet p = packet_of(tight, all);
    packet other = p.clone();
    CHECK(t.answer(p, icmp::unreachable::port) == drop(drop_reason::no_packet));
  }
}

TEST_CASE("an error is this host's own: no mark, no connection, no route") {
  fixture t;
  packet p = packet_of(t.memory, join({link4(), datagram4({}, udp_of({}))}));
  p.mark(7);
  p.connection(9);
  p.scratch(3);
  p.flow_hash(11);
  REQUIRE(t.answer(p, icmp::unreachable::port) == pass);
  CHECK(p.mark() == 0);
  CHECK(p.connection() == 0);
  CHECK(p.scratch() == no_next_hop);
  CHECK(p.flow_hash() == 0);
  CHECK(p.iif() == 1);
}
