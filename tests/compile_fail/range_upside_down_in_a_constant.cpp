// SPDX-License-Identifier: MIT
// expect: constexpr
// and: the_first_value_of_this_range_is_above_its_last
#include <runnel/match.hpp>

using namespace runnel;

#ifdef GOOD
constexpr auto policy = rules(when(tcp::dport.in(range(80, 90))) >> drop);
#else
constexpr auto policy = rules(when(tcp::dport.in(range(90, 80))) >> drop);
#endif
