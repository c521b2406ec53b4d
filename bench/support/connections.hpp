// SPDX-License-Identifier: MIT
// A million connections, and the tuples that are looked for among them, one after the other in random order.
#ifndef BENCH_SUPPORT_CONNECTIONS_HPP
#define BENCH_SUPPORT_CONNECTIONS_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint32_t
#include <ctime>    // clock_gettime
#include <vector>   // vector

#include <benchmark/benchmark.h>

#include <runnel/track/connection_tuple.hpp>

#include "support/bursts.hpp"
#include "support/traffic.hpp"

namespace bench {

// Processor time of this program, in seconds.
inline double now() {
  timespec t{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}
inline double seconds_since(double begin) { return now() - begin; }

struct million_connections {
  static constexpr std::int64_t count = 1'000'000;
  static constexpr std::size_t asked = 1 << 21;
  std::vector<runnel::connection_tuple> tuples, wanted;

  million_connections() : tuples(count), wanted(asked) {
    for (std::size_t i = 0; i < tuples.size(); ++i) {
      const std::uint64_t r = scramble(i);
      tuples[i] = {runnel::ipv4_address{static_cast<std::uint32_t>(r)},
                   runnel::ipv4_address{static_cast<std::uint32_t>(r >> 32)}, static_cast<std::uint16_t>(i), 443, 17};
    }
    for (std::size_t i = 0; i < asked; ++i) wanted[i] = tuples[scramble(i + count) % count];
  }
  static const million_connections& get() {
    static const million_connections made;
    return made;
  }
  // Bursts of 32; `ask(first of 32)` says how many of them are there: all.
  template <class Ask>
  void measure(benchmark::State& state, Ask ask) const {
    const std::size_t found = ask_in_bursts(state, wanted, ask);
    if (found != static_cast<std::size_t>(state.iterations()) * 32) state.SkipWithError("does not find all");
  }
};

}  // namespace bench

#endif
