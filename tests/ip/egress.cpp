// SPDX-License-Identifier: MIT
// What is too long for its way out: told apart, cut in place, or refused.
#include <runnel/ip.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

#include <doctest/doctest.h>

#include <flow/test_device.hpp>
#include <ip/plain_packets.hpp>
#include <ip/three_links.hpp>

using namespace runnel;
using namespace runnel::test;

namespace {

struct way_out : three_links {
  counted_pool memory{pool_config{.packets = 400, .bytes = 1700, .headroom = 64, .bare = 8}};
  test_device wire{memory};
  icmp_sender errors{all};
  path_mtu_cache_of<16> path_mtus{{}};
  random_generator ids{7};
  std::vector<octets> out;

  way_out() {
    REQUIRE(routes.insert(net("203.0.113.128/25"), next_hop::on_link(thin, 600)));
    REQUIRE(routes.insert(net("2001:db8::/64"), next_hop::on_link(wan)));
    REQUIRE(routes.insert(net("2001:db8:0:5::/64"), next_hop::on_link(thin, 1280)));
  }
  // What `check_mtu` says of a packet: 0 fitting, 1 oversized, 2 refused, and with which MTU.
  struct decided {
    unsigned way;
    std::uint32_t mtu;
    friend bool operator==(const decided&, const decided&) = default;
  };
  decided decide(const octets& datagram, bool with_ids = false) {
    const bool six = datagram[0] >> 4 == 6;
    packet p = packet_of(memory, join({six ? link6() : link4(), datagram}));
    const header_map found{static_cast<const packet&>(p)};
    p.scratch(six ? routes.lookup(found.get<ipv6>().destination()) : routes.lookup(found.get<ipv4>().destination()));
    const detail::check_mtu_decision d{
        {&hops, {.interfaces = all, .path_mtus = &path_mtus, .ids = with_ids ? &ids : nullptr}}};
    const verdict v = d(p, instant{}).decision();
    REQUIRE(v.code == verdict_code::pass);
    return {v.port, v.port == 2 ? p.scratch() & 0xffff : 0u};
  }
};

octets udp_datagram(std::size_t size, std::uint32_t to, bool df, std::uint16_t id = 9) {
  return datagram4({.destination = to, .id = id, .flags_and_offset = static_cast<std::uint16_t>(df ? 0x4000 : 0)},
                   udp_of(counting(size - 28)));
}
octets udp_datagram6(std::size_t size, const plain_ip6& h) { return datagram6(h, udp_of(counting(size - 48))); }

}  // namespace

TEST_CASE("RFC 4787 REQ-13: too long with DF is answered with the MTU, without DF it is fragmented in order") {
  way_out t;
  auto output = as_pipeline(deliver([&](packet p) { t.out.push_back(octets_of(p)); }));
  auto path = parse() | route(t.routes).on<local>(discard).on<no_route>(discard).on<forward>(
                            forwarding(t.routes, {.interfaces = t.all})
                                .on<forwarded>(shared(output))
                                .on<oversized>(fragment(t.hops, {.interfaces = t.all}) | shared(output))
                                .on<refused>(reject(t.errors) | shared(output)));
  const auto send = [&](const octets& datagram) {
    packet p = packet_of(t.memory, join({link4(), datagram}));
    p.iif(lan);
    t.out.clear();
    queue<drop_tail, 4> q;
    CHECK(q.push(static_cast<packet&&>(p)) == pass);
    run(attach(q, path));
  };
  SUBCASE("DF") {
    send(udp_datagram(1400, 0xcb00'7105, true));
    REQUIRE(t.out.size() == 1);
    const octets& e = t.out[0];
    CHECK(octets(e.begin(), e.begin() + 14) == turned(link4()));
    CHECK(e[14 + 9] == 1);
    CHECK(e[14 + 20] == 3);
    CHECK(e[14 + 21] == 4);
    CHECK((e[14 + 26] << 8 | e[14 + 27]) == 1300);
    CHECK(octets(e.begin() + 26, e.begin() + 30) == octets{10, 0, 0, 254});
    CHECK(octets(e.begin() + 30, e.begin() + 34) == octets{10, 0, 0, 1});
  }
  SUBCASE("no DF") {
    const octets whole = udp_datagram(1400, 0xcb00'71c8, false);
    send(whole);
    REQUIRE(t.out.size() == 3);  // 600 - 20 is 580, of which 576 are eighths
    octets payload;
    for (std::size_t i = 0; i < 3; ++i) {
      const octets& f = t.out[i];
      CHECK((f[14 + 6] << 8 | f[14 + 7]) == ((i < 2 ? 0x2000 : 0) | static_cast<int>(payload.size() / 8)));
      CHECK((f[14 + 4] << 8 | f[14 + 5]) == 9);
      CHECK(f[14 + 8] == 63);
      CHECK(plain_checksum(octets(f.begin() + 14, f.begin() + 34)) == 0);
      CHECK(f.size() - 14 == (i < 2 ? 596 : 1400 - 20 - 2 * 576 + 20));
      append(payload, octets(f.begin() + 34, f.end()));
    }
    CHECK(payload == octets(whole.begin() + 20, whole.end()));
  }
}

TEST_CASE("pieces go on at their packet's place, also when they are more than travel together") {
  way_out t;
  queue<drop_tail, 64> q;
  std::vector<octets> whole;
  for (std::uint16_t i = 0; i < 40; ++i) {
    // Every third one is short enough.
    const std::size_t size = i % 3 == 0 ? 500 : 1500;
    whole.push_back(udp_datagram(size, 0xcb00'71c8, false, i));
    packet p = packet_of(t.memory, join({link4(), whole.back()}));
    p.scratch(t.routes.lookup(addr4("203.0.113.200")));
    CHECK(q.push(static_cast<packet&&>(p)) == pass);
  }
  std::size_t n = 0, longest = 0;
  octets payload;
  auto path = parse() | fragment(t.hops, {.interfaces = t.all}) |
              [&](burst& b) { longest = b.size() > longest ? b.size() : longest; } | deliver([&](packet p) {
                const octets f = octets_of(p);
                CHECK(f.size() - 14 <= 600);
                CHECK((f[14 + 4] << 8 | f[14 + 5]) == static_cast<int>(n));
                CHECK(((f[14 + 6] & 0x1f) << 8 | f[14 + 7]) * 8 == static_cast<int>(payload.size()));
                append(payload, octets(f.begin() + 34, f.end()));
                if ((f[14 + 6] & 0x20) != 0) return;
                CHECK(payload == octets(whole[n].begin() + 20, whole[n].end()));
                payload.clear();
                ++n;
              });
  run(attach<16>(q, path));
  CHECK(n == 40);
  CHECK(longest == 16);
}

TEST_CASE("check_mtu tells apart by route, interface and path") {
  way_out t;
  using d = way_out::decided;
  CHECK(t.decide(udp_datagram(1500, 0xc000'0201, true)) == d{0, 0});
  CHECK(t.decide(udp_datagram(1501, 0xc000'0201, true)) == d{2, 1500});
  CHECK(t.decide(udp_datagram(1501, 0xc000'0201, false)) == d{1, 0});
  CHECK(t.decide(udp_datagram(1301, 0xcb00'7105, true)) == d{2, 1300});
  CHECK(t.decide(udp_datagram(601, 0xcb00'71c8, true)) == d{2, 600});
  CHECK(t.decide(udp_datagram(1501, 0x0808'0808, true)) == d{2, 1500});  // no next hop
  REQUIRE(t.path_mtus.learn(addr4("192.0.2.1"), 1000, 1500, instant{}));
  CHECK(t.decide(udp_datagram(1000, 0xc000'0201, true)) == d{0, 0});
  CHECK(t.decide(udp_datagram(1001, 0xc000'0201, true)) == d{2, 1000});
  CHECK(t.decide(udp_datagram(1001, 0xc000'0201, false)) == d{1, 0});
  CHECK(t.decide(udp_datagram(1500, 0xc000'0202, true)) == d{0, 0});
  REQUIRE(t.path_mtus.learn(addr4("203.0.113.5"), 1400, 1500, instant{}));
  CHECK(t.decide(udp_datagram(1301, 0xcb00'7105, true)) == d{2, 1300});  // the path is no wider than its first link
}

TEST_CASE("IPv6 is cut by its source alone, and never below 1280 bytes") {
  way_out t;
  using d = way_out::decided;
  const plain_ip6 others{}, own{.source = address6(0xfe)};
  CHECK(t.decide(udp_datagram6(1500, others), true) == d{0, 0});
  CHECK(t.decide(udp_datagram6(1501, others), true) == d{2, 1500});
  CHECK(t.decide(udp_datagram6(1501, own), true) == d{1, 0});
  CHECK(t.decide(udp_datagram6(1501, own), false) == d{2, 1500});
  REQUIRE(t.path_mtus.learn(ipv6_address{0x2001'0db8'0000'0000, 2}, 1300u, 1500, instant{}));
  CHECK(t.decide(udp_datagram6(1301, own), true) == d{1, 0});
  CHECK(t.decide(udp_datagram6(1301, others), true) == d{2, 1300});

  packet p = packet_of(t.memory, join({link6(), udp_datagram6(1600, own)}));
  p.scratch(t.routes.lookup(addr6("2001:db8::2")));
  queue<drop_tail, 4> q;
  CHECK(q.push(static_cast<packet&&>(p)) == pass);
  auto path = parse() | fragment(t.hops, {.interfaces = t.all, .path_mtus = &t.path_mtus, .ids = &t.ids}) |
              deliver([&](packet piece) { t.out.push_back(octets_of(piece)); });
  run(attach(q, path));
  REQUIRE(t.out.size() == 2);
  CHECK(t.out[0].size() - 14 <= 1300);
  CHECK(t.out[0][14 + 6] == 44);
  CHECK(octets(t.out[0].begin() + 14 + 44, t.out[0].begin() + 14 + 48) ==
        octets(t.out[1].begin() + 14 + 44, t.out[1].begin() + 14 + 48));
}

TEST_CASE("what must not be cut is dropped with its reason") {
  way_out t;
  queue<drop_tail, 4> q;
  for (const octets& datagram : {udp_datagram(1500, 0xcb00'71c8, true), udp_datagram6(1501, {})}) {
    packet p = packet_of(t.memory, join({datagram[0] >> 4 == 6 ? link6() : link4(), datagram}));
    p.scratch(t.routes.lookup(addr4("203.0.113.200")));
    CHECK(q.push(static_cast<packet&&>(p)) == pass);
  }
  auto path = parse() | fragment(t.hops, {.interfaces = t.all}) | discard;
  run(attach(q, path));
  CHECK(counters_of<1>(path).dropped(drop_reason::too_big) == 2);
}

TEST_CASE("what another thread has handed over is cut into slots of this one's pool") {
  way_out t;
  counted_pool other{pool_config{.packets = 8, .bytes = 1700, .headroom = 64, .bare = 8}};
  const octets datagrams[] = {udp_datagram(1400, 0xcb00'71c8, false), udp_datagram6(1500, {})};
  queue<drop_tail, 8> q;
  const auto hand_over = [&](counted_pool& from) {
    for (const octets& d : datagrams) {
      packet p = packet_of(from, join({d[0] >> 4 == 6 ? link6() : link4(), d}));
      p.scratch(t.routes.lookup(addr4("203.0.113.200")));
      REQUIRE(p.send_away());
      CHECK(q.push(static_cast<packet&&>(p)) == pass);
    }
  };
  SUBCASE("and those that went there and came back as well") {
    hand_over(other);
    hand_over(t.memory);
    std::size_t n = 0;
    auto path = parse() | fragment(t.hops, {.interfaces = t.all, .ids = &t.ids, .memory = &t.memory.get()}) |
                deliver([&](packet p) {
                  n += octets_of(p).size();
                  CHECK(&p.home() == &t.memory.get());
                  CHECK_FALSE(p.is_away());
                });
    run(attach(q, path));
    CHECK(n == 2 * (1400 + 2 * 20 + 3 * 14 + 1500 + 40 + 2 * 8 + 2 * 14));
    other->reclaim();
    t.memory->reclaim();
  }
  SUBCASE("without such a pool it is dropped, and its cause counted") {
    hand_over(other);
    auto path = parse() | fragment(t.hops, {.interfaces = t.all, .ids = &t.ids}) | discard;
    run(attach(q, path));
    CHECK(counters_of<1>(path).dropped(drop_reason::other_thread) == 2);
    other->reclaim();
  }
  other.check_all_home();
  t.memory.check_all_home();
}
