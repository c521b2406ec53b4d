// SPDX-License-Identifier: MIT
// Boost's side of the set of addresses, with the hash that it brings. Needs Boost 1.81.
#include <cstdint>  // uint32_t

#include <boost/unordered/unordered_flat_set.hpp>

#include "support/flat_set.hpp"

namespace {

using set_type = boost::unordered_flat_set<std::uint32_t>;
BENCHMARK((bench::ask_flat_set<set_type, 10'000>))->Name("address_set/10k/boost");
BENCHMARK((bench::ask_flat_set<set_type, 1'000'000>))->Name("address_set/1M/boost");

}  // namespace

BENCHMARK_MAIN();
