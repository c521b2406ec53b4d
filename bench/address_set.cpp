// SPDX-License-Identifier: MIT
// Is this address on the list? Half of them are. A list of 10,000, which stays in the second-level cache, and one of a
// million, asked one by one and with a prefetch for 32 at a time.
#include <memory>  // unique_ptr

#include <benchmark/benchmark.h>

#include <runnel/match/hash_set.hpp>

#include "support/addresses.hpp"
#include "support/memory.hpp"

namespace {

using namespace bench;

struct fixture {
  using set_type = hash_set<ipv4_address>;
  addresses all;
  big_array<set_type::slot> memory;
  set_type set;

  explicit fixture(std::size_t n)
      : all(n),
        memory(set_type::slots_for(n)),
        set("blocklist", memory.data(), set_type::slots_for(n), 0x1234'5678'9abc'def0u) {
    for (const std::uint32_t a : all.in_set)
      if (!set.insert(ipv4_address{a})) std::abort();
  }
  static const fixture& get(std::size_t n) {
    static std::unique_ptr<fixture> made;
    if (!made || made->all.in_set.size() != n) made = std::make_unique<fixture>(n);
    return *made;
  }
};

template <std::size_t N>
void single(benchmark::State& state) {
  const fixture& f = fixture::get(N);
  f.all.measure(state, [&](const std::uint32_t* a) {
    std::size_t found = 0;
    for (std::size_t i = 0; i < 32; ++i) found += f.set.contains(ipv4_address{a[i]});
    return found;
  });
}
template <std::size_t N>
void burst(benchmark::State& state) {
  const fixture& f = fixture::get(N);
  f.all.measure(state, [&](const std::uint32_t* a) {
    std::size_t found = 0;
    for (std::size_t i = 0; i < 32; ++i) f.set.prefetch(ipv4_address{a[i]});
    for (std::size_t i = 0; i < 32; ++i) found += f.set.contains(ipv4_address{a[i]});
    return found;
  });
}

BENCHMARK(single<10'000>)->Name("address_set/10k/ours");
BENCHMARK(burst<10'000>)->Name("address_set/10k/ours_burst");
BENCHMARK(single<1'000'000>)->Name("address_set/1M/ours");
BENCHMARK(burst<1'000'000>)->Name("address_set/1M/ours_burst");

}  // namespace
