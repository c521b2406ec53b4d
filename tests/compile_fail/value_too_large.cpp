// SPDX-License-Identifier: MIT
// expect: runnel: this value does not fit into the field
// optimised
#include <runnel/match.hpp>

using namespace runnel;

verdict decide(const subject& s) {
#ifdef GOOD
  const auto policy = rules(when(tcp::dport == 6561) >> drop);
#else
  const auto policy = rules(when(tcp::dport == 65616) >> drop);
#endif
  return policy(s);
}
