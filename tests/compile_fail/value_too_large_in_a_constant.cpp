// SPDX-License-Identifier: MIT
// expect: constexpr
// and: this_value_does_not_fit_into_the_field
#include <runnel/match.hpp>

using namespace runnel;

#ifdef GOOD
constexpr auto policy = rules(when(tcp::dport == 6561) >> drop);
#else
constexpr auto policy = rules(when(tcp::dport == 65616) >> drop);
#endif
