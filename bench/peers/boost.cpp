// SPDX-License-Identifier: MIT
// Boost's side of the set of addresses, with the hash that it brings, and of a map of connections. Needs Boost 1.81.
#include <cstdint>  // uint32_t

#include <boost/unordered/unordered_flat_map.hpp>
#include <boost/unordered/unordered_flat_set.hpp>

#include "support/flat_set.hpp"
#include "support/flow_map.hpp"

namespace {

using set_type = boost::unordered_flat_set<std::uint32_t>;
BENCHMARK((bench::ask_flat_set<set_type, 10'000>))->Name("address_set/10k/boost");
BENCHMARK((bench::ask_flat_set<set_type, 1'000'000>))->Name("address_set/1M/boost");

using flow_map =
    bench::flow_map_bench<boost::unordered_flat_map<bench::flow_map_key, std::uint32_t, bench::flow_map_hash>>;
BENCHMARK(flow_map::find)->Name("connections/find/boost");
BENCHMARK(flow_map::insert)->Name("connections/insert/boost")->UseManualTime();
BENCHMARK(flow_map::insert_both)->Name("connections/insert_both/boost")->UseManualTime();
BENCHMARK(flow_map::expire)->Name("connections/expire/boost")->UseManualTime();
BENCHMARK(flow_map::stream)->Name("connections/stream/boost")->UseManualTime();

}  // namespace

BENCHMARK_MAIN();
