// SPDX-License-Identifier: MIT
// Packets with wrong bytes in them, before everything that answers or forwards: what comes out is well formed, what is
// dropped is counted with a reason, and no slot is lost.
#include <runnel/ip.hpp>

#include <cstddef>
#include <cstdint>

#include <doctest/doctest.h>

#include <ip/plain_packets.hpp>
#include <packet/counted_pool.hpp>

#include <runnel/base/random.hpp>

using namespace runnel;
using namespace runnel::test;

namespace {

octets seed_packet(std::size_t i) {
  const octets syn{3, 232, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x60, 2, 1, 0, 0, 0, 0, 0, 2, 4, 5, 0xb4};
  const octets echo = icmp4(8, 0, 1, counting(40));
  switch (i) {
    case 0: return join({link4(), datagram4({}, udp_of(counting(40)))});
    case 1:
      return join({link4({0x81, 0, 0, 9}), datagram4({.options = {7, 7, 4, 0, 0, 0, 0, 0}}, udp_of(counting(9)))});
    case 2: return join({link4(), datagram4({.protocol = 6}, syn)});
    case 3:
      return join({link4(), datagram4({.destination = 0xc633'6401, .protocol = 1, .options = {148, 4, 0, 0}}, echo)});
    case 4: return join({link4(), datagram4({.ttl = 1}, udp_of(counting(700)))});
    case 5:
      return join({link6(), datagram6({.next = 0},
                                      join({{60, 0, 5, 2, 0, 0, 1, 0}, {17, 0, 0x1e, 4, 0, 0, 0, 0}, udp_of({})}))});
    case 6: return join({link6(), datagram6({.next = 43}, join({{6, 0, 4, 0, 0, 0, 0, 0}, syn}))});
    case 7:
      return join({link6(), datagram6({.destination = address6(0xfe), .next = 44},
                                      join({{58, 0, 0, 0, 0, 0, 0, 1},
                                            icmp6(address6(1), address6(0xfe), 128, 0, 1, counting(30))}))});
    case 8: return join({link6(), datagram6({.hop_limit = 1}, udp_of(counting(1300)))});
    default: return join({link4(), datagram4({.protocol = 1}, icmp4(3, 1, 0, datagram4({}, udp_of({}))))});
  }
}

// Whether an answer is whole: its headers are where they are said to be, its lengths and checksums right.
void check_answer(const packet& p, bool check_message) {
  REQUIRE(knows_itself(p));
  const header_map found{p};
  if (found.has<ipv4>()) {
    const auto outer = found.get<ipv4>();
    REQUIRE(outer.checksum_ok());
    REQUIRE(outer.header_size() == 20);
    if (check_message && found.has<icmp>()) REQUIRE(found.get<icmp>().checksum_ok());
  } else {
    REQUIRE(found.has<ipv6>());
    if (check_message && found.has<icmpv6>())
      REQUIRE(found.get<icmpv6>().checksum_ok(found.get<ipv6>().pseudo_header_sum()));
  }
}

}  // namespace

TEST_CASE("whatever is wrong with a packet, an answer to it is right, and nothing is lost") {
  const ip_interface all[3] = {
      {},
      {.addresses = {{ipv4_address{198, 51, 100, 1}, 24}, {ipv6_address{0x2001'0db8'0000'0000, 0xfe}, 64}}},
      {.mtu = 1280, .addresses = {{ipv4_address{203, 0, 113, 1}, 24}}}};
  next_hop_table_of<8> hops;
  sorted_routes_of<ipv4_address, 8> v4;
  sorted_routes_of<ipv6_address, 8> v6;
  using table = route_table<sorted_routes_of<ipv4_address, 8>, sorted_routes_of<ipv6_address, 8>>;
  table routes{hops, v4, v6};
  REQUIRE(routes.insert(net("0.0.0.0/0"), next_hop::via(addr4("203.0.113.2"), 2)));
  REQUIRE(routes.insert(net("::/0"), next_hop::via(addr6("fe80::2"), 2)));
  icmp_sender sender{all, token_bucket{1'000'000'000, 1'000'000}};
  const detail::forwarding_decision<table> forwards{&routes, {.interfaces = all}};
  const detail::echo_decision echoes{all, 64};
  context c;
  counted_pool wide{pool_config{.packets = 4, .bytes = 1600, .headroom = 64, .bare = 4}};
  counted_pool tight{pool_config{.packets = 4, .bytes = 1400, .headroom = 2, .bare = 4}};
  random_generator random{5};
  const auto below = [&random](std::size_t n) { return static_cast<std::size_t>(random.below(n)); };
  std::size_t answered_ones = 0, dropped_ones = 0;
  for (std::size_t round = 0; round < 20'000; ++round) {
    octets all_of_it = seed_packet(below(10));
    for (std::size_t changes = below(4); changes != 0; --changes)
      all_of_it[below(below(2) != 0 ? 80 : all_of_it.size()) % all_of_it.size()] =
          static_cast<std::uint8_t>(below(256));
    if (below(8) == 0) all_of_it.resize(14 + below(all_of_it.size() - 13));
    pool& memory = below(2) != 0 ? wide.get() : tight.get();
    packet p = memory.allocate();
    REQUIRE(p);
    REQUIRE(p.append(bytes{reinterpret_cast<const std::byte*>(all_of_it.data()), all_of_it.size()}));
    const layers found = dissect(p.contents(), link_type::ethernet, {.head_offset = p.headroom()});
    if (found.fault != drop_reason::none) continue;
    p.layers(found);
    p.iif(1);
    packet twin = below(4) == 0 ? p.clone() : packet{};
    verdict v = drop;
    bool own_checksum = true;
    switch (below(4)) {
      case 0: v = answer_with_error(p, icmp::unreachable::port, sender, instant{1}); break;
      case 1: v = answer_with_tcp_reset(p, sender, instant{1}); break;
      case 2:
        v = echoes(p).decision();
        own_checksum = false;  // it is the asker's, updated
        if (v.code == verdict_code::pass && v.port != 0) continue;
        break;
      default:
        p.scratch(found.has(protocol::ipv6) ? routes.lookup(ipv6_address{}) : routes.lookup(ipv4_address{}));
        v = forwards.decide(p, c, nullptr).decision();
        if (v.code == verdict_code::pass && v.port != 2) {
          REQUIRE(p.length() == all_of_it.size());
          continue;
        }
        if (v.code == verdict_code::pass) v = answer_with_error(p, detail::as_the_packet_says{}(p), sender, instant{1});
        break;
    }
    if (twin) REQUIRE(octets_of(twin) == all_of_it);
    if (v.code == verdict_code::pass) {
      check_answer(p, own_checksum);
      ++answered_ones;
    } else {
      REQUIRE(v.code == verdict_code::drop);
      REQUIRE(v.reason != drop_reason::none);
      ++dropped_ones;
    }
  }
  CHECK(answered_ones > 3000);
  CHECK(dropped_ones > 1000);
}
