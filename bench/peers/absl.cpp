// SPDX-License-Identifier: MIT
// Abseil's side of the set of addresses, with the hash that it brings.
#include <cstdint>  // uint32_t

#include <absl/container/flat_hash_set.h>

#include "support/flat_set.hpp"

namespace {

using set_type = absl::flat_hash_set<std::uint32_t>;
BENCHMARK((bench::ask_flat_set<set_type, 10'000>))->Name("address_set/10k/absl");
BENCHMARK((bench::ask_flat_set<set_type, 1'000'000>))->Name("address_set/1M/absl");

}  // namespace

BENCHMARK_MAIN();
