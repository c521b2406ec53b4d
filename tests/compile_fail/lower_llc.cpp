// SPDX-License-Identifier: MIT
// expect: runnel: an XDP program does not look for LLC and SNAP headers
#include <runnel/match.hpp>
#include <runnel/wire.hpp>
#include <runnel/xdp/lower.hpp>

using namespace runnel;

#ifdef GOOD
constexpr auto early = rules(when(ether::type < 1500) >> drop);
#else
constexpr auto early = rules(when(has<arp>) >> pass, when(has<llc>) >> drop);
#endif

auto program() { return bpf::lower(early); }
