// SPDX-License-Identifier: MIT
// expect: constexpr
// and: the_first_value_of_this_range_is_above_its_last
#include <runnel/match.hpp>

using namespace runnel;

#ifdef GOOD
constexpr interval_set<std::uint16_t, 2> games{"games", range(3074, 3076), range(27000, 27100)};
#else
constexpr interval_set<std::uint16_t, 2> games{"games", range(3076, 3074), range(27000, 27100)};
#endif
static_assert(games.contains(27000));
