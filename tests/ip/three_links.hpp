// SPDX-License-Identifier: MIT
// A router with three links: `lan` and `wan`, and `thin`, whose MTU is small.
#ifndef RUNNEL_TESTS_IP_THREE_LINKS_HPP
#define RUNNEL_TESTS_IP_THREE_LINKS_HPP

#include <runnel/ip.hpp>

#include <cstdint>

#include <doctest/doctest.h>

namespace runnel::test {

constexpr std::uint16_t lan = 1, wan = 2, thin = 3;

struct three_links {
  using table = route_table<sorted_routes_of<ipv4_address, 16>, sorted_routes_of<ipv6_address, 16>>;

  ip_interface all[4] = {
      {},
      {.addresses = {{ipv4_address{10, 0, 0, 254}, 24}, {ipv6_address{0x2001'0db8'0000'0000, 0xfe}, 128}}},
      {.addresses = {{ipv4_address{198, 51, 100, 1}, 24}, {ipv6_address{0x2001'0db8'0000'0001, 0xfe}, 128}}},
      {.mtu = 1300, .addresses = {{ipv4_address{203, 0, 113, 1}, 24}}}};
  next_hop_table_of<20, 2> hops;
  sorted_routes_of<ipv4_address, 16> v4;
  sorted_routes_of<ipv6_address, 16> v6;
  table routes{hops, v4, v6};

  three_links() {
    REQUIRE(routes.insert(net("10.0.0.0/24"), next_hop::on_link(lan)));
    REQUIRE(routes.insert(net("192.0.2.0/24"), next_hop::via(addr4("198.51.100.2"), wan)));
    REQUIRE(routes.insert(net("203.0.113.0/24"), next_hop::on_link(thin)));
  }
};

}  // namespace runnel::test

#endif
