// SPDX-License-Identifier: MIT
// A set of addresses and the addresses that are looked for in it, one after the other: half of them are there.
#ifndef BENCH_SUPPORT_ADDRESSES_HPP
#define BENCH_SUPPORT_ADDRESSES_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint32_t, uint64_t
#include <vector>   // vector

#include <benchmark/benchmark.h>

#include "support/bursts.hpp"
#include "support/traffic.hpp"

namespace bench {

struct addresses {
  static constexpr std::size_t asked = 1 << 16;
  std::vector<std::uint32_t> in_set, wanted;

  explicit addresses(std::size_t n) : in_set(n), wanted(asked) {
    // An odd factor and a sum lead from numbers to numbers one to one: no address comes twice.
    for (std::size_t i = 0; i < n; ++i) in_set[i] = address(i);
    for (std::size_t i = 0; i < asked; ++i) {
      const std::uint64_t r = scramble(i);
      wanted[i] = (r & 1) != 0 ? in_set[(r >> 1) % n] : address(n + (r >> 1) % n);
    }
  }
  static std::uint32_t address(std::uint64_t i) { return static_cast<std::uint32_t>(i * 0x9e37'79b1u + 0x7f4a'7c15u); }

  // Bursts of 32; `ask(first of 32)` says how many of them are there.
  template <class Ask>
  void measure(benchmark::State& state, Ask ask) const {
    const std::size_t found = ask_in_bursts(state, wanted, ask);
    const auto all = static_cast<std::size_t>(state.iterations()) * 32;
    if (all >= asked && (found < all / 5 * 2 || found > all / 5 * 3)) state.SkipWithError("finds the wrong ones");
  }
};

}  // namespace bench

#endif
