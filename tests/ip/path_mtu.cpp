// SPDX-License-Identifier: MIT
// The path MTU cache, and from which errors it learns.
#include <runnel/ip.hpp>

#include <cstddef>
#include <cstdint>

#include <doctest/doctest.h>

#include <flow/test_device.hpp>
#include <ip/plain_packets.hpp>

using namespace runnel;
using namespace runnel::test;

namespace {

constexpr ipv4_address host4{192, 0, 2, 1};
constexpr ipv6_address host6{0x2001'0db8'0000'0000, 2};
constexpr instant at(std::int64_t s) { return instant{} + seconds(s); }

}  // namespace

TEST_CASE("RFC 1191 6.3, RFC 8201 4: a path MTU is lowered by errors, never raised, and forgotten after ten minutes") {
  path_mtu_cache_of<16> known{{.seed = 5}};
  CHECK(known.lookup(host4, at(0)) == 0);
  CHECK(known.learn(host4, 1400, 1500, at(0)));
  CHECK(known.learn(host6, 1300u, 1500, at(0)));
  CHECK(known.lookup(host4, at(0)) == 1400);
  CHECK(known.lookup(host6, at(0)) == 1300);
  CHECK_FALSE(known.learn(host4, 1450, 1500, at(1)));
  CHECK_FALSE(known.learn(host4, 1400, 1500, at(1)));  // nothing new: the time does not begin again
  CHECK_FALSE(known.learn(host6, 1400u, 1500, at(1)));
  CHECK(known.lookup(host4, at(599)) == 1400);
  CHECK(known.lookup(host4, at(600)) == 0);
  CHECK(known.learn(host4, 1450, 1500, at(600)));
  CHECK(known.learn(host4, 1000, 1450, at(700)));
  CHECK(known.lookup(host4, at(1299)) == 1000);
  CHECK(known.size(at(1299)) == 1);
  CHECK(known.lookup(host4, at(1300)) == 0);
  CHECK(known.lookup(ipv4_address{192, 0, 2, 2}, at(0)) == 0);
}

TEST_CASE("RFC 1191 3, RFC 8201 4: no MTU is believed that no network has, or that the packet did not exceed") {
  path_mtu_cache_of<16> known{{.seed = 5}};
  CHECK_FALSE(known.learn(host4, 67, 1500, at(0)));
  CHECK_FALSE(known.learn(host6, 1279u, 1500, at(0)));
  CHECK_FALSE(known.learn(host6, 0u, 1500, at(0)));
  CHECK_FALSE(known.learn(host6, 0x10000u, 0x20000, at(0)));
  CHECK_FALSE(known.learn(host4, 1500, 1500, at(0)));
  CHECK_FALSE(known.learn(host6, 1400u, 1400, at(0)));
  CHECK(known.size(at(0)) == 0);
  // Less than what links have counts as the least that the administrator takes.
  CHECK(known.learn(host4, 68, 1500, at(0)));
  CHECK(known.lookup(host4, at(0)) == 552);
  path_mtu_cache_of<4> small{{.ipv4_least = 68}};
  CHECK(small.learn(host4, 68, 1500, at(0)));
  CHECK(small.lookup(host4, at(0)) == 68);
}

TEST_CASE("RFC 1191 5: an old router that says no MTU means the next lower one that links have") {
  struct {
    std::size_t sent;
    std::uint16_t becomes;
  } const cases[] = {{65535, 32000}, {1500, 1492}, {1492, 1006}, {1006, 552}, {297, 552}};
  for (const auto& c : cases) {
    path_mtu_cache_of<4> known{{}};
    CHECK(known.learn(host4, 0, c.sent, at(0)));
    CHECK(known.lookup(host4, at(0)) == c.becomes);
  }
  path_mtu_cache_of<4> known{{}};
  CHECK_FALSE(known.learn(host4, 0, 68, at(0)));
}

TEST_CASE("a flood of errors about others never takes more room, and what is new has a place") {
  path_mtu_cache_of<64> known{{.seed = 77}};
  CHECK(known.learn(host4, 1400, 1500, at(0)));
  for (std::uint32_t i = 0; i < 100'000; ++i) {
    const ipv4_address a{0x0a00'0000u + i};
    REQUIRE(known.learn(a, 1300, 1500, at(1)));
    REQUIRE(known.lookup(a, at(1)) == 1300);
  }
  CHECK(known.size(at(1)) == 64);
  CHECK(known.learn(host4, 1400, 1500, at(2)));
  CHECK(known.lookup(host4, at(2)) == 1400);
  known.clear();
  CHECK(known.size(at(2)) == 0);
}

namespace {

struct learning {
  ip_interface all[2] = {
      {}, {.addresses = {{ipv4_address{10, 0, 0, 1}, 24}, {ipv6_address{0x2001'0db8'0000'0000, 1}, 128}}}};
  path_mtu_cache_of<16> known{{}};
  counted_pool memory{pool_config{.packets = 4, .bytes = 600, .headroom = 64, .bare = 4}};

  // Shows it to the stage; the MTU to 192.0.2.1 or 2001:db8::2 that is believed then.
  unsigned after(const octets& error, connection_word word = {}) {
    known.clear();
    packet p = packet_of(memory, error);
    p.connection(word.value);
    context c{.now = at(5)};
    const auto stage = learn_path_mtu(known, all);
    CHECK(stage(p, c) == pass);
    CHECK(octets_of(p) == error);
    return known.lookup(host4, at(5)) + known.lookup(host6, at(5));
  }
};
// From a router at 198.51.100.9 about a packet of `sent` bytes, of which 28 are quoted.
octets too_big4(std::uint16_t mtu, std::uint16_t sent, std::uint32_t from = 0x0a00'0001) {
  octets quoted = datagram4({.source = from}, udp_of({}));
  set16(quoted, 2, sent);
  return join(
      {link4(), datagram4({.source = 0xc633'6409, .destination = from, .protocol = 1}, icmp4(3, 4, mtu, quoted))});
}
octets too_big6(std::uint32_t mtu, std::uint16_t sent, const plain_ip6& about) {
  octets quoted = datagram6(about, udp_of({}));
  set16(quoted, 4, static_cast<std::uint16_t>(sent - 40));
  return join({link6(), datagram6({.source = address6(9), .destination = address6(1), .next = 58},
                                  icmp6(address6(9), address6(1), 2, 0, mtu, quoted))});
}
octets too_big6(std::uint32_t mtu, std::uint16_t sent, std::uint8_t from = 1) {
  return too_big6(mtu, sent, plain_ip6{.source = address6(from)});
}

}  // namespace

TEST_CASE("RFC 5927: errors are believed about packets that this host has sent") {
  learning t;
  CHECK(t.after(too_big4(1400, 1500)) == 1400);
  CHECK(t.after(too_big6(1400, 1500)) == 1400);
  CHECK(t.after(too_big4(0, 1500)) == 1492);
  // About packets of others, too short for what is said, hurt on the way, of another kind.
  CHECK(t.after(too_big4(1400, 1500, 0x0a00'0002)) == 0);
  CHECK(t.after(too_big6(1400, 1500, 7)) == 0);
  CHECK(t.after(too_big4(1400, 1400)) == 0);
  CHECK(t.after(too_big6(1400, 1400)) == 0);
  // What ICMPv6 says of IPv4 addresses, in the form of IPv6 ones.
  const octets own4 = join({octets(10), {0xff, 0xff, 10, 0, 0, 1}});
  const octets to4 = join({octets(10), {0xff, 0xff, 192, 0, 2, 1}});
  CHECK(t.after(too_big6(1400, 1500, {.source = own4, .destination = to4})) == 0);
  CHECK(t.after(too_big6(1400, 1500, {.destination = to4})) == 0);
  octets hurt = too_big4(1400, 1500);
  hurt[14 + 20 + 7] ^= 1;
  CHECK(t.after(hurt) == 0);
  hurt = too_big6(1400, 1500);
  hurt[14 + 40 + 7] ^= 1;
  CHECK(t.after(hurt) == 0);
  CHECK(t.after(join({link4(), datagram4({.source = 0xc633'6409, .destination = 0x0a00'0001, .protocol = 1},
                                         icmp4(3, 3, 1400, datagram4({.source = 0x0a00'0001}, udp_of({}))))})) == 0);
  // Quotes that are cut off.
  for (std::size_t n = 0; n < 20; ++n) {
    octets quoted = datagram4({.source = 0x0a00'0001}, udp_of({}));
    quoted.resize(n);
    CHECK(t.after(join({link4(), datagram4({.source = 0xc633'6409, .destination = 0x0a00'0001, .protocol = 1},
                                           icmp4(3, 4, 1400, quoted))})) == 0);
  }
}

TEST_CASE("RFC 5927 7.2: where connections are tracked, only errors about one of them are believed") {
  learning t;
  const auto word = [](connection_state s) { return connection_word::of(s); };
  CHECK(t.after(too_big4(1400, 1500), word(connection_state::related)) == 1400);
  CHECK(t.after(too_big6(1400, 1500), word(connection_state::related)) == 1400);
  for (const connection_state s : {connection_state::invalid, connection_state::new_, connection_state::established}) {
    CHECK(t.after(too_big4(1400, 1500), word(s)) == 0);
    CHECK(t.after(too_big6(1400, 1500), word(s)) == 0);
  }
}
