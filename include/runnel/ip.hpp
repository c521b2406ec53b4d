// SPDX-License-Identifier: MIT
// The network layer: routes.
#ifndef RUNNEL_IP_ALL_HPP
#define RUNNEL_IP_ALL_HPP

#include <runnel/ip/compact_trie.hpp>
#include <runnel/ip/dir_24_8.hpp>
#include <runnel/ip/fib.hpp>
#include <runnel/ip/next_hop.hpp>
#include <runnel/ip/route.hpp>
#include <runnel/ip/route_table.hpp>
#include <runnel/ip/routing_rules.hpp>
#include <runnel/ip/sorted_routes.hpp>

#endif
