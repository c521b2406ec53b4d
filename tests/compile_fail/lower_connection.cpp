// SPDX-License-Identifier: MIT
// expect: runnel: connections are known behind track() only
#include <runnel/match.hpp>
#include <runnel/wire.hpp>
#include <runnel/xdp/lower.hpp>

using namespace runnel;

#ifdef GOOD
constexpr auto early = rules(when(meta::length > 1500) >> drop);
#else
constexpr auto early = rules(when(ct::state == established) >> drop);
#endif

auto program() { return bpf::lower(early); }
