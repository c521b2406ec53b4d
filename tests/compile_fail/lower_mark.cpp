// SPDX-License-Identifier: MIT
// expect: runnel: nobody has set meta::mark, priority, hash and oif yet
#include <runnel/match.hpp>
#include <runnel/wire.hpp>
#include <runnel/xdp/lower.hpp>

using namespace runnel;

#ifdef GOOD
constexpr auto early = rules(when(meta::length > 1500) >> drop);
#else
constexpr auto early = rules(when(meta::mark == 7) >> drop);
#endif

auto program() { return bpf::lower(early); }
