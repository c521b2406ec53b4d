// SPDX-License-Identifier: MIT
// Paths and loops that the compiler makes: what stands in static memory on a microcontroller, whose stack has no room
// for the steps by which a path is joined at run time.
#include <runnel/ip.hpp>
#include <runnel/match.hpp>
#include <runnel/track.hpp>

#include <doctest/doctest.h>

#include <flow/test_device.hpp>

using namespace runnel;
using namespace runnel::test;

namespace {

constexpr std::uint16_t lan = 1, wan = 2;
constexpr ip_interface both[] = {{},
                                 {.mac = {{2, 0, 0, 0, 0, 1}}, .addresses = {{addr4("192.0.2.1"), 24}}},
                                 {.mac = {{2, 0, 0, 0, 0, 2}}, .addresses = {{addr4("203.0.113.1"), 24}}}};

static_pool<pool_config{.packets = 32, .bytes = 256, .headroom = 64, .bare = 8}> memory;
test_device from_lan{memory}, to_wan{memory};
ip_interface outside = both[wan];
next_hop_table_of<4> hops;
sorted_routes_of<ipv4_address, 4> v4;
sorted_routes_of<ipv6_address, 4> v6;
route_table routes{hops, v4, v6};
static_connection_table<connection_config{.connections = 8, .ipv6_connections = 8, .unconfirmed = 8}> connections{1};
static_nat_table<nat_config{.mappings = 8}> translations{connections, 1};
static_flowtable<flowtable_config{.flows = 16}> flows{connections};
static_fragment_table<fragment_config{.fragments = 8, .datagrams = 2}> fragments{1};
static_neighbour_table<neighbour_config{.entries = 8, .unresolved = 4, .packets = 4}> neighbours{memory, outside, 1};
icmp_sender errors{both};

constexpr auto policy = rules(when(ct::state == new_ && meta::iif == lan) >> accept);
constexpr auto sources = rules(when(meta::oif == wan) >> masquerade());

constinit manual_clock now;
constinit auto answers = as_pipeline(transmit(from_lan));
constinit auto output = nat<postrouting>(translations, sources, leaving(both)) | confirm(connections) |
                        resolve(neighbours, routes) | flow_add(flows) | transmit(to_wan);
constinit auto path =
    parse() | [](packet& p) { p.iif(lan); } | answer_neighbours(neighbours) | defragment(fragments) |
    fast_path(flows)
        .on<offloaded>(transmit(to_wan))
        .on<other>(track(connections) | nat<prerouting>(translations) |
                   route(routes)
                       .on<local>(answer_echo(both).on<answered>(shared(answers)).on<other>(discard))
                       .on<forward>(chain<hook_point::forward>(policy, drop) |
                                    forwarding(routes, {.interfaces = both})
                                        .on<forwarded>(shared(output))
                                        .on<oversized>(fragment(hops, {.interfaces = both}) | shared(output))
                                        .on<refused>(reject(errors) | shared(answers)))
                       .on<no_route>(reject(hops, errors) | shared(answers)));
constinit loop work{now, attach<4>(from_lan, path), attach(fragments), attach(connections),
                    attach<4>(neighbours, transmit(to_wan))};

}  // namespace

TEST_CASE("a router's path and its loop are constants to begin with, whatever tables they refer to") {
  REQUIRE(routes.insert(net("0.0.0.0/0"), next_hop::via(addr4("203.0.113.254"), wan)));
  REQUIRE(neighbours->set_permanent(mapped(addr4("203.0.113.254")), {{2, 0, 0, 0, 0, 9}}, now.now()));
  from_lan.udp(1);
  work.run();
  CHECK(to_wan.sent == "1");
  CHECK(connections->size() == 1);
  CHECK(totals(output).packets != 0);
  CHECK(totals(path).dropped(drop_reason::no_match) == 0);
}
