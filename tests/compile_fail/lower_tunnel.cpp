// SPDX-License-Identifier: MIT
// expect: runnel: an XDP program does not look into tunnels
#include <runnel/match.hpp>
#include <runnel/wire.hpp>
#include <runnel/xdp/lower.hpp>

using namespace runnel;

#ifdef GOOD
constexpr auto early = rules(when(vxlan::vni == 7) >> drop);
#else
constexpr auto early = rules(when(vxlan::inner(ip::saddr) == ipv4_address{10, 0, 0, 1}) >> drop);
#endif

auto program() { return bpf::lower(early); }
