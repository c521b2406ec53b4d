// SPDX-License-Identifier: MIT
// The network layer: routes, neighbours, fragments, forwarding, ICMP errors and echo.
#ifndef RUNNEL_IP_ALL_HPP
#define RUNNEL_IP_ALL_HPP

#include <runnel/ip/address_detection.hpp>
#include <runnel/ip/answer.hpp>
#include <runnel/ip/answer_echo.hpp>
#include <runnel/ip/answer_neighbours.hpp>
#include <runnel/ip/clamp_mss.hpp>
#include <runnel/ip/compact_trie.hpp>
#include <runnel/ip/defragment.hpp>
#include <runnel/ip/dir_16_16.hpp>
#include <runnel/ip/dir_24_8.hpp>
#include <runnel/ip/egress.hpp>
#include <runnel/ip/fib.hpp>
#include <runnel/ip/forwarding.hpp>
#include <runnel/ip/fragment.hpp>
#include <runnel/ip/fragment_config.hpp>
#include <runnel/ip/fragment_table.hpp>
#include <runnel/ip/hear_routers.hpp>
#include <runnel/ip/icmp_error.hpp>
#include <runnel/ip/interface_outputs.hpp>
#include <runnel/ip/interfaces.hpp>
#include <runnel/ip/learn_path_mtu.hpp>
#include <runnel/ip/nat_addresses.hpp>
#include <runnel/ip/neighbour.hpp>
#include <runnel/ip/neighbour_messages.hpp>
#include <runnel/ip/neighbour_store.hpp>
#include <runnel/ip/neighbour_table.hpp>
#include <runnel/ip/next_hop.hpp>
#include <runnel/ip/own_addresses.hpp>
#include <runnel/ip/path_mtu.hpp>
#include <runnel/ip/reject.hpp>
#include <runnel/ip/resolve.hpp>
#include <runnel/ip/route.hpp>
#include <runnel/ip/route_table.hpp>
#include <runnel/ip/router_advertiser.hpp>
#include <runnel/ip/router_discovery.hpp>
#include <runnel/ip/routing_rules.hpp>
#include <runnel/ip/send_redirect.hpp>
#include <runnel/ip/sorted_routes.hpp>
#include <runnel/ip/static_neighbour_table.hpp>
#include <runnel/ip/tcp_reset.hpp>
#include <runnel/ip/virtual_defragment.hpp>
#include <runnel/ip/virtual_fragment_table.hpp>

#endif
