// SPDX-License-Identifier: MIT
// expect: runnel: an XDP program does not search IPv4 and TCP options, IPv6 extension headers
#include <runnel/match.hpp>
#include <runnel/wire.hpp>
#include <runnel/xdp/lower.hpp>

using namespace runnel;

#ifdef GOOD
constexpr auto early = rules(when(tcp::dport == 22) >> drop);
#else
constexpr auto early = rules(when(tcp::dport == 22 && !(tcp::option::maxseg::size > 1400)) >> drop);
#endif

auto program() { return bpf::lower(early); }
