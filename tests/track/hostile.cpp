// SPDX-License-Identifier: MIT
// What others may try on connection tracking: full indexes, bursts of packets that belong together, numbers that are
// given again while a packet still has them.
#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

#include "conversation.hpp"

using namespace runnel;
using namespace runnel::test;

TEST_CASE("a search ends in an index all of whose lines were overrun") {
  detail::index_line lines[2];
  detail::connection_index index(lines, 2, 1);
  // Keys by the line that they belong to.
  std::vector<detail::tuple_key> of[2];
  for (std::uint64_t a = 1; of[0].size() < 8 || of[1].size() < 8; ++a) of[index.home(a, 17)].push_back({a, 17, 0});
  const auto add = [&](unsigned line, std::size_t i) {
    return index.insert(of[line][i], line, detail::place_reference::to(static_cast<std::uint32_t>(i), 0, false, 3));
  };
  const auto find = [&](unsigned line, std::size_t i) {
    return index.find(of[line][i], line, [](std::uint32_t) { return true; });
  };
  // Never more than four of the six places are taken, and yet a key of each line lies in the other one.
  std::uint32_t first[3];
  for (std::size_t i = 0; i < 3; ++i) first[i] = add(0, i);
  const std::uint32_t strayed = add(0, 3);
  CHECK(strayed / 3 == 1);
  for (const std::uint32_t place : {first[0], first[1]}) index.erase(place);
  const std::uint32_t at_home = add(1, 0);
  (void)add(1, 1);
  index.erase(first[2]);
  const std::uint32_t other = add(1, 2);
  CHECK(other / 3 == 0);
  CHECK(find(0, 3) == strayed);
  CHECK(find(1, 2) == other);
  CHECK(find(1, 0) == at_home);
  CHECK(find(0, 5) == detail::connection_index::none);  // never came back
  CHECK(find(1, 5) == detail::connection_index::none);
  index.erase(strayed);
  index.erase(other);
  CHECK(lines[0].passed == 0);
  CHECK(lines[1].passed == 0);
}
