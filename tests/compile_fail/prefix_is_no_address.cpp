// SPDX-License-Identifier: MIT
// expect: runnel: this field is an IPv4 address
// and: for a prefix, ip::saddr.in(net(...))
#include <runnel/match.hpp>

using namespace runnel;

#ifdef GOOD
constexpr auto policy = rules(when(ip::saddr.in(net("10.0.0.0/8"))) >> accept);
#else
constexpr auto policy = rules(when(ip::saddr == net("10.0.0.0/8")) >> accept);
#endif
