// SPDX-License-Identifier: MIT
// expect: runnel: this prefix is of the other address family than the field
// optimised
#include <runnel/match.hpp>

using namespace runnel;

verdict decide(const subject& s) {
#ifdef GOOD
  const auto policy = rules(when(ip::saddr.in(net("10.0.0.0/8"))) >> drop);
#else
  const auto policy = rules(when(ip::saddr.in(net("2001:db8::/32"))) >> drop);
#endif
  return policy(s);
}
