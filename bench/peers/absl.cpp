// SPDX-License-Identifier: MIT
// Abseil's side of the set of addresses, with the hash that it brings, and of a map of connections.
#include <cstdint>  // uint32_t

#include <absl/container/flat_hash_map.h>
#include <absl/container/flat_hash_set.h>

#include "support/flat_set.hpp"
#include "support/flow_map.hpp"

namespace {

using set_type = absl::flat_hash_set<std::uint32_t>;
BENCHMARK((bench::ask_flat_set<set_type, 10'000>))->Name("address_set/10k/absl");
BENCHMARK((bench::ask_flat_set<set_type, 1'000'000>))->Name("address_set/1M/absl");

using flow_map = bench::flow_map_bench<absl::flat_hash_map<bench::flow_map_key, std::uint32_t, bench::flow_map_hash>>;
BENCHMARK(flow_map::find)->Name("connections/find/absl");
BENCHMARK(flow_map::insert)->Name("connections/insert/absl")->UseManualTime();
BENCHMARK(flow_map::insert_both)->Name("connections/insert_both/absl")->UseManualTime();
BENCHMARK(flow_map::expire)->Name("connections/expire/absl")->UseManualTime();
BENCHMARK(flow_map::stream)->Name("connections/stream/absl")->UseManualTime();

}  // namespace

BENCHMARK_MAIN();
