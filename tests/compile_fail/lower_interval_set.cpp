// SPDX-License-Identifier: MIT
// expect: runnel: the kernel has no map for an interval_set
#include <runnel/match.hpp>
#include <runnel/wire.hpp>
#include <runnel/xdp/lower.hpp>

using namespace runnel;

static constexpr interval_set<std::uint16_t, 2> games{"games", range(3074, 3076)};

#ifdef GOOD
constexpr auto early = rules(when(udp::dport.in(range(3074, 3076))) >> drop);
#else
constexpr auto early = rules(when(udp::dport.in(games)) >> drop);
#endif

auto program() { return bpf::lower(early); }
