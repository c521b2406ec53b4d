// SPDX-License-Identifier: MIT
// The address set in a container that has `insert` and `contains` as the standard's sets do.
#ifndef BENCH_SUPPORT_FLAT_SET_HPP
#define BENCH_SUPPORT_FLAT_SET_HPP

#include <memory>  // unique_ptr

#include "support/addresses.hpp"

namespace bench {

template <class Set, std::size_t N>
void ask_flat_set(benchmark::State& state) {
  static const addresses all(N);
  static const std::unique_ptr<const Set> set = [] {
    auto made = std::make_unique<Set>();
    made->reserve(N);
    for (const std::uint32_t a : all.in_set) made->insert(a);
    return made;
  }();
  all.measure(state, [&](const std::uint32_t* a) {
    std::size_t found = 0;
    for (std::size_t i = 0; i < 32; ++i) found += set->contains(a[i]);
    return found;
  });
}

}  // namespace bench

#endif
