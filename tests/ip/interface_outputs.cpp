// SPDX-License-Identifier: MIT
// The devices of a router as one: each packet by the interface of its next hop.
#include <runnel/ip/interface_outputs.hpp>

#include <doctest/doctest.h>

#include <flow/test_device.hpp>
#include <ip/three_links.hpp>

using namespace runnel;
using namespace runnel::test;

namespace {

struct fixture : three_links {
  counted_pool memory{pool_config{.packets = 300, .bytes = 256, .headroom = 64, .bare = 64}};
  test_device source{memory}, to_lan{memory}, to_wan{memory};
  test_device* const devices[3] = {nullptr, &to_lan, &to_wan};
  interface_outputs<test_device> out{devices};

  void to(unsigned n, ipv4_address destination) {
    source.put(n, 18, {}, eth, ipv4_header{.source = {172, 16, 0, 1}, .destination = destination},
               udp_header{.source_port = 1000, .destination_port = 53});
  }
};

}  // namespace

TEST_CASE("packets go out by the interface of their next hop, those of one interface in order") {
  fixture t;
  constexpr auto near = addr4("10.0.0.5"), far = addr4("192.0.2.5");
  t.to(1, near), t.to(2, far), t.to(3, near), t.to(4, near), t.to(5, far);
  run(attach(t.source,
             parse() | route(t.routes).on<forward>(transmit(t.out)).on<local>(discard).on<no_route>(discard)));
  CHECK(t.to_lan.sent == "1 3 4");
  CHECK(t.to_wan.sent == "2 5");
  CHECK(t.out.lost() == 0);
}

TEST_CASE("an answer, which has no next hop, goes back by the interface that it came by") {
  fixture t;
  t.to(1, addr4("10.0.0.254"));
  t.to(2, addr4("10.0.0.254"));
  REQUIRE(t.routes.insert(net("10.0.0.254/32"), next_hop::of(route_type::local)));
  run(attach(t.source, [](packet& p) { p.iif(wan); } | parse() |
                           route(t.routes).on<local>(transmit(t.out)).on<forward>(discard).on<no_route>(discard)));
  CHECK(t.to_wan.sent == "1 2");
  CHECK(t.to_lan.sent == "");
}

TEST_CASE("a full interface holds up no other, and what has no device is lost; both are counted") {
  fixture t;
  t.to_lan.transmits_at_most(1);
  constexpr auto near = addr4("10.0.0.5"), far = addr4("192.0.2.5"), nowhere = addr4("203.0.113.5");  // on `thin`
  t.to(1, near), t.to(2, near), t.to(3, nowhere), t.to(4, far), t.to(5, near);
  auto path = parse() | route(t.routes).on<forward>(transmit(t.out)).on<local>(discard).on<no_route>(discard);
  run(attach(t.source, path));
  CHECK(t.to_lan.sent == "1");
  CHECK(t.to_wan.sent == "4");
  CHECK(t.out.lost() == 3);
  CHECK(totals(path).dropped(drop_reason::transmit_error) == 3);
}
