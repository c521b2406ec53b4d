// SPDX-License-Identifier: MIT
// expect: runnel: meta::time is by the device's clock
#include <runnel/match.hpp>
#include <runnel/wire.hpp>
#include <runnel/xdp/lower.hpp>

using namespace runnel;

#ifdef GOOD
constexpr auto early = rules(when(meta::length > 1500) >> drop);
#else
constexpr auto early = rules(when(meta::time > instant{1}) >> drop);
#endif

auto program() { return bpf::lower(early); }
