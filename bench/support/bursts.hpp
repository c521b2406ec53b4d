// SPDX-License-Identifier: MIT
// Asks a table for keys, 32 at a time, round and round.
#ifndef BENCH_SUPPORT_BURSTS_HPP
#define BENCH_SUPPORT_BURSTS_HPP

#include <cstddef>  // size_t
#include <cstdint>  // int64_t
#include <vector>   // vector

#include <benchmark/benchmark.h>

namespace bench {

// `ask(first of 32)` says how many of them are there; that is summed up. The number of keys is a multiple of 32.
template <class Key, class Ask>
std::size_t ask_in_bursts(benchmark::State& state, const std::vector<Key>& wanted, Ask ask) {
  std::size_t at = 0, found = 0;
  for (auto _ : state) {
    found += ask(wanted.data() + at);
    at = (at + 32) % wanted.size();
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()) * 32);
  return found;
}

}  // namespace bench

#endif
