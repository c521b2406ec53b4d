// SPDX-License-Identifier: MIT
// Refusals in a pipeline: ICMP errors by route, and TCP resets.
#include <runnel/ip.hpp>

#include <cstddef>
#include <cstdint>

#include <doctest/doctest.h>

#include <flow/test_device.hpp>
#include <ip/plain_packets.hpp>

using namespace runnel;
using namespace runnel::test;

namespace {

constexpr instant t0{1'000'000'000};

// TCP from port 1000 to 80, no options.
octets segment(std::uint32_t sequence, std::uint32_t acknowledgment, std::uint8_t flags, const octets& payload = {}) {
  octets all{3, 232, 0, 80};
  put32(all, sequence);
  put32(all, acknowledgment);
  append(all, {0x50, flags, 0x20, 0, 0, 0, 0, 0});
  append(all, payload);
  return all;
}
// The answer from port 80 to 1000, with its checksum.
octets reset(const octets& pseudo_header, std::uint32_t sequence, std::uint32_t acknowledgment, std::uint8_t flags) {
  octets all{0, 80, 3, 232};
  put32(all, sequence);
  put32(all, acknowledgment);
  append(all, {0x50, flags, 0, 0, 0, 0, 0, 0});
  set16(all, 16, plain_checksum(join({pseudo_header, all})));
  return all;
}
const octets pseudo4{192, 0, 2, 1, 10, 0, 0, 1, 0, 6, 0, 20};
octets reset4(std::uint32_t sequence, std::uint32_t acknowledgment, std::uint8_t flags) {
  return join({turned(link4()), datagram4({.source = 0xc000'0201, .destination = 0x0a00'0001, .protocol = 6, .id = 0},
                                          reset(pseudo4, sequence, acknowledgment, flags))});
}

struct fixture {
  ip_interface all[2] = {
      {}, {.addresses = {{ipv4_address{198, 51, 100, 1}, 24}, {ipv6_address{0x2001'0db8'0000'0000, 0xfe}, 128}}}};
  icmp_sender sender{all, token_bucket{1000, 1000}};
  counted_pool memory{pool_config{.packets = 16, .bytes = 1600, .headroom = 64, .bare = 8}};

  octets answer(const octets& all_of_it, std::size_t first = 0) {
    packet p = packet_of(memory, all_of_it, first);
    const verdict v = answer_with_tcp_reset(p, sender, t0);
    if (v.code != verdict_code::pass) {
      CHECK(v == drop(drop_reason::unanswerable));
      CHECK(octets_of(p) == all_of_it);
      return {};
    }
    CHECK(knows_itself(p));
    return octets_of(p);
  }
};

}  // namespace

TEST_CASE("RFC 9293 3.10.7.1: a segment that acknowledges is reset as from there, others are acknowledged whole") {
  fixture t;
  const auto sent = [&](const octets& s) { return t.answer(join({link4(), datagram4({.protocol = 6}, s)})); };
  CHECK(sent(segment(0xffff'ffff, 0, 0x02)) == reset4(0, 0, 0x14));               // SYN: seq 0, ack over the wrap
  CHECK(sent(segment(0xffff'fffe, 0, 0x02, counting(3))) == reset4(0, 2, 0x14));  // with data
  CHECK(sent(segment(7, 0, 0x01, counting(10))) == reset4(0, 18, 0x14));          // FIN with data
  CHECK(sent(segment(7, 0, 0x03)) == reset4(0, 9, 0x14));                         // SYN and FIN
  CHECK(sent(segment(7, 0, 0x00)) == reset4(0, 7, 0x14));                         // nothing at all
  CHECK(sent(segment(7, 0xdead'beef, 0x10, counting(100))) == reset4(0xdead'beef, 0, 0x04));
  CHECK(sent(segment(7, 0xffff'ffff, 0x12)) == reset4(0xffff'ffff, 0, 0x04));  // SYN and ACK
  CHECK(sent(segment(7, 9, 0x11)) == reset4(9, 0, 0x04));                      // FIN and ACK
  CHECK(sent(segment(7, 9, 0x04)).empty());                                    // never about a reset
  CHECK(sent(segment(7, 9, 0x14)).empty());
}

TEST_CASE("a reset is as long as its headers, whatever was there: options, padding, chains, extension headers") {
  fixture t;
  const octets syn = segment(1, 0, 0x02);
  CHECK(t.answer(join({link4(), datagram4({.protocol = 6}, syn), octets(6)})) == reset4(0, 2, 0x14));
  const octets with_options = datagram4({.protocol = 6, .options = {148, 4, 0, 0}}, syn);
  CHECK(t.answer(join({link4(), with_options})) == reset4(0, 2, 0x14));
  octets optional = segment(1, 0, 0x02, {2, 4, 5, 0xb4});
  optional[12] = 0x60;
  CHECK(t.answer(join({link4(), datagram4({.protocol = 6}, optional)})) == reset4(0, 2, 0x14));
  const octets large = datagram4({.protocol = 6}, segment(1, 0, 0x02, counting(1000)));
  CHECK(t.answer(join({link4(), large}), 100) == reset4(0, 1002, 0x14));
  {
    // Longer than a slot, and of another thread's pool: neither is copied whole.
    const octets longer = datagram4({.protocol = 6}, segment(1, 0, 0x02, counting(3000)));
    packet p = packet_of(t.memory, join({link4(), longer}), 1500);
    REQUIRE(p.send_away());
    CHECK(answer_with_tcp_reset(p, t.sender, t0) == pass);
    CHECK(octets_of(p) == reset4(0, 3002, 0x14));
    p = packet_of(t.memory, join({link4(), longer}), 1500);
    CHECK(answer_with_tcp_reset(p, t.sender, t0) == pass);
    CHECK(octets_of(p) == reset4(0, 3002, 0x14));
    p.reset();
    t.memory->reclaim();
  }
  const octets six = datagram6({.next = 0}, join({{6, 0, 1, 4, 0, 0, 0, 0}, segment(1, 0, 0x02, counting(5))}));
  octets pseudo = join({address6(2), address6(1)});
  put32(pseudo, 20);
  put32(pseudo, 6);
  CHECK(t.answer(join({link6(), six})) ==
        join({turned(link6()),
              datagram6({.source = address6(2), .destination = address6(1), .next = 6}, reset(pseudo, 0, 7, 0x14))}));
}

TEST_CASE("what is no segment to one host from one host is not reset") {
  fixture t;
  const octets syn = segment(1, 0, 0x02);
  CHECK(t.answer(join({link4(), datagram4({}, udp_of({}))})).empty());
  CHECK(t.answer(join({link4(), datagram4({.protocol = 6, .flags_and_offset = 0x2000}, syn)})).empty());
  CHECK(t.answer(join({link4(), datagram4({.source = 0xe000'0001, .protocol = 6}, syn)})).empty());
  CHECK(t.answer(join({link4(), datagram4({.destination = 0xffff'ffff, .protocol = 6}, syn)})).empty());
  octets link = link4();
  link[0] = 1;
  CHECK(t.answer(join({link, datagram4({.protocol = 6}, syn)})).empty());
  const octets group = join({{0xff, 2}, octets(13), {1}});
  CHECK(t.answer(join({link6(), datagram6({.destination = group, .next = 6}, syn)})).empty());
  octets hurt = join({link4(), datagram4({.protocol = 6}, syn)});
  hurt[14 + 15] ^= 1;
  packet wrong = packet_of(t.memory, hurt);
  CHECK(answer_with_tcp_reset(wrong, t.sender, t0) == drop(drop_reason::ip_checksum));
  packet p = packet_of(t.memory, join({link4(), datagram4({.protocol = 6}, syn)}));
  icmp_sender none{t.all, token_bucket{0, 1}};
  CHECK(none.take(t0));
  CHECK(answer_with_tcp_reset(p, none, t0) == drop(drop_reason::icmp_rate));
  packet other = p.clone();
  REQUIRE(answer_with_tcp_reset(p, t.sender, t0) == pass);
  CHECK(octets_of(p) == reset4(0, 2, 0x14));
  CHECK(octets_of(other) == join({link4(), datagram4({.protocol = 6}, syn)}));
}

TEST_CASE("behind a routing decision the type of the route says what the sender is told") {
  fixture t;
  next_hop_table_of<8> hops;
  sorted_routes_of<ipv4_address, 8> v4;
  sorted_routes_of<ipv6_address, 8> v6;
  route_table<sorted_routes_of<ipv4_address, 8>, sorted_routes_of<ipv6_address, 8>> routes{hops, v4, v6};
  REQUIRE(routes.insert(net("10.1.0.0/16"), next_hop::of(route_type::unreachable)));
  REQUIRE(routes.insert(net("10.2.0.0/16"), next_hop::of(route_type::prohibit)));
  REQUIRE(routes.insert(net("2001:db8:2::/48"), next_hop::of(route_type::prohibit)));
  test_device wire{t.memory};
  const auto to = [&](unsigned n, ipv4_address a) {
    wire.put(n, 4, t0, eth, ipv4_header{.source = {10, 0, 0, 1}, .destination = a}, udp_header{.destination_port = 53});
  };
  to(1, addr4("10.1.0.1"));
  to(2, addr4("10.2.0.1"));
  to(3, addr4("10.3.0.1"));
  to(4, addr4("224.0.0.1"));
  wire.put(5, 4, t0, eth, ipv6_header{.source = addr6("2001:db8::1"), .destination = addr6("2001:db8:2::1")},
           udp_header{});
  numbers kinds;
  auto path = parse() | [](packet& p) { p.iif(1); } |
              route(routes).on<local>(discard).on<forward>(discard).on<no_route>(
                  reject(routes.hops(), t.sender) | deliver([&](packet p) {
                    const header_map found{static_cast<const packet&>(p)};
                    if (found.has<icmp>()) {
                      CHECK(found.get<icmp>().checksum_ok());
                      kinds.add(found.get<icmp>().message_type());
                      kinds.add(found.get<icmp>().message_code());
                    } else {
                      REQUIRE(found.has<icmpv6>());
                      kinds.add(found.get<icmpv6>().message_type());
                      kinds.add(found.get<icmpv6>().message_code());
                    }
                  }));
  run(attach(wire, path));
  CHECK(kinds == "3 1 3 13 3 0 1 1");
}

TEST_CASE("a policy refuses with the error that it names, or with a reset") {
  fixture t;
  test_device wire{t.memory};
  wire.udp(1);
  wire.tcp(2);
  wire.icmp(3);
  numbers lengths;
  auto output = as_pipeline(deliver([&](packet p) { lengths.add(p.length()); }));
  auto path = parse() | [](packet& p) { p.iif(1); } |
              by_protocol()
                  .on<udp>(reject(icmp::unreachable::port, t.sender) | shared(output))
                  .on<tcp>(reject_with_tcp_reset(t.sender) | shared(output))
                  .on<icmp>(reject(icmpv6::unreachable::port, t.sender) | shared(output))  // nothing about IPv4
                  .on<icmpv6>(discard)
                  .on<other>(discard);
  run(attach(wire, path));
  CHECK(lengths == "54 88");
}
