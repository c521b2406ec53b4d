// SPDX-License-Identifier: MIT
// expect: runnel: this expression has too many parts for a condition
#include <runnel/match.hpp>

using namespace runnel;

constexpr auto eight = tcp::dport == 1 || tcp::dport == 2 || tcp::dport == 3 || tcp::dport == 4 || tcp::dport == 5 ||
                       tcp::dport == 6 || tcp::dport == 7 || tcp::dport == 8;
#ifdef GOOD
constexpr condition filter = eight || eight;
#else
constexpr condition filter = eight || eight || eight || eight || eight || eight || eight || eight || eight;
#endif

bool takes(const packet& p) { return filter(p); }
