// SPDX-License-Identifier: MIT
// expect: runnel: the kernel cannot ask a set of your own
// and: even
#include <runnel/match.hpp>
#include <runnel/wire.hpp>
#include <runnel/xdp/lower.hpp>

using namespace runnel;

struct even {
  bool contains(std::uint16_t v) const noexcept { return v % 2 == 0; }
};
static constexpr even ports;

#ifdef GOOD
constexpr auto early = rules(when((udp::dport & 1) == 0) >> drop);
#else
constexpr auto early = rules(when(udp::dport.in(ports)) >> drop);
#endif

auto program() { return bpf::lower(early); }
