// SPDX-License-Identifier: MIT
// expect: runnel: the first value of this range is above its last
// optimised
#include <runnel/match.hpp>

using namespace runnel;

verdict decide(const subject& s) {
#ifdef GOOD
  const auto policy = rules(when(tcp::dport.in(range(80, 90))) >> drop);
#else
  const auto policy = rules(when(tcp::dport.in(range(90, 80))) >> drop);
#endif
  return policy(s);
}
