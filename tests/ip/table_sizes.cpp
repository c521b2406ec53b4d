// SPDX-License-Identifier: MIT
// How much memory tables ask for when somebody wants absurdly large ones.
#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>

#include <runnel/runnel.hpp>

using namespace runnel;

namespace {

constexpr std::uint32_t absurd = 0xffff'ffff;

// At least `each` bytes for each of so many, or more than there can be.
bool is_enough(std::size_t bytes_said, std::uint64_t each) {
  const std::uint64_t least = each * absurd;
  return least > ~std::size_t{0} ? bytes_said == ~std::size_t{0} : bytes_said >= least;
}

}  // namespace

TEST_CASE("a table of an absurd size asks for more memory than there is, and not for little") {
  CHECK(is_enough(slab<std::uint64_t>::bytes_needed(absurd), 8));
  CHECK(is_enough(pool::bytes_needed({.packets = absurd, .bare = absurd}), 2048));
  CHECK(is_enough(handoff_mesh::bytes_needed(256, ~std::size_t{0} / 2), 8));
  CHECK(is_enough(fragment_table::bytes_needed({.fragments = absurd, .datagrams = absurd}), 48));
  CHECK(is_enough(virtual_fragment_table::bytes_needed({.fragments = absurd, .datagrams = 1}), 24));
  CHECK(is_enough(fragment_table::bytes_needed({.fragments = 1, .datagrams = absurd}), 40));
  CHECK(is_enough(neighbour_table::bytes_needed({.entries = absurd, .packets = 1}), 32));
  CHECK(is_enough(neighbour_table::bytes_needed({.entries = 1, .packets = absurd}), sizeof(packet)));
  CHECK(is_enough(connection_table::bytes_needed({.connections = absurd}), 128));
  CHECK(is_enough(connection_table::bytes_needed({.connections = 1, .expectations = absurd}), 32));
  CHECK(is_enough(nat_table::bytes_needed({.mappings = absurd}), 64));
  CHECK(is_enough(nat_table::bytes_needed({.sequences = absurd}), 32));
  CHECK(is_enough(flowtable::bytes_needed({.flows = absurd}), 64));
  CHECK(is_enough(rule_table::bytes_needed({.elements = absurd}), 32));
  CHECK(is_enough(rule_table::bytes_needed({.counted = absurd}), 8));
  const std::size_t routes = ~std::size_t{0} / 4;
  CHECK(compact_trie<ipv4_address>::bytes_for(routes) > routes);
  CHECK(compact_trie<ipv6_address>::bytes_for(routes) > routes);
  CHECK(dir_24_8::bytes_for(routes) > routes);
  CHECK(dir_16_16::bytes_for(routes) > routes);
}

TEST_CASE("memory of an absurd size is refused") {
  const auto none = mapped_pool::open({.packets = absurd, .bytes = 65535, .headroom = 65535, .bare = 0});
  CHECK_FALSE(none.has_value());
}
