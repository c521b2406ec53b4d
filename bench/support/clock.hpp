// SPDX-License-Identifier: MIT
// How many cycles a nanosecond has, measured beside everything else: a chain of exclusive-ors of two registers takes
// one cycle each on any processor that this runs on, at whatever speed it runs just then. (A chain of additions of
// constants does not: recent processors make several of them in one cycle.)
#ifndef BENCH_SUPPORT_CLOCK_HPP
#define BENCH_SUPPORT_CLOCK_HPP

#include <cstdint>  // uint64_t

#include <benchmark/benchmark.h>

namespace bench {

inline void cycles(benchmark::State& state) {
  std::uint64_t x = 1, y = 3;
  asm volatile("" : "+r"(y));
  for (auto _ : state) {
    for (int i = 0; i < 100; ++i) {
#define BENCH_LINK \
  x ^= y;          \
  asm volatile("" : "+r"(x), "+r"(y));
      BENCH_LINK BENCH_LINK BENCH_LINK BENCH_LINK BENCH_LINK BENCH_LINK BENCH_LINK BENCH_LINK BENCH_LINK BENCH_LINK
#undef BENCH_LINK
    }
  }
  benchmark::DoNotOptimize(x);
  state.SetItemsProcessed(state.iterations() * 1000);
}

}  // namespace bench

#endif
