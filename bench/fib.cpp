// SPDX-License-Identifier: MIT
// Longest prefix match over tables as large as the internet's, 32 addresses at a time; what a route costs to add, and
// the memory of the whole table (`MiB`). The bound is a bare table of 2^24 entries that can do nothing but look up.
#include <algorithm>  // stable_sort
#include <cstdlib>    // abort
#include <map>        // map
#include <memory>     // unique_ptr

#include <benchmark/benchmark.h>

#include <runnel/base/prefetch.hpp>
#include <runnel/ip/compact_trie.hpp>
#include <runnel/ip/dir_16_16.hpp>
#include <runnel/ip/dir_24_8.hpp>

#include "support/memory.hpp"
#include "support/routes.hpp"

namespace {

using namespace runnel;
using namespace bench;

// ---- the bound

struct bare_table {
  big_array<std::uint16_t> by_24{1u << 24}, by_8{32768u * 256};
  std::uint32_t groups = 0;

  explicit bare_table(std::vector<route4> routes) {
    std::stable_sort(routes.begin(), routes.end(), [](auto& a, auto& b) { return a.length < b.length; });
    for (const route4& r : routes) {
      if (r.length <= 24) {
        for (std::uint32_t i = 0; i < 1u << (24 - r.length); ++i) by_24[(r.address >> 8) + i] = r.next_hop;
        continue;
      }
      std::uint16_t e = by_24[r.address >> 8];
      if ((e & 0x8000) == 0) {
        for (std::size_t i = 0; i < 256; ++i) by_8[groups * 256 + i] = e;
        e = by_24[r.address >> 8] = static_cast<std::uint16_t>(0x8000 | groups++);
      }
      for (std::uint32_t i = 0; i < 1u << (32 - r.length); ++i)
        by_8[(e & 0x7fffu) * 256 + (r.address & 255) + i] = r.next_hop;
    }
  }
  std::uint16_t lookup(std::uint32_t a) const {
    const std::uint16_t e = by_24[a >> 8];
    return __builtin_expect((e & 0x8000) != 0, 0) ? by_8[(e & 0x7fffu) * 256 + (a & 255)] : e;
  }
};

// ---- the tables

struct ipv4_case {
  std::vector<route4> routes = internet4(1'000'000);
  std::map<mix, std::vector<std::uint32_t>> asked_for;
  bare_table bare{routes};
  std::map<mix, std::uint64_t> expected;

  ipv4_case() {
    for (const mix kind : {mix::routes, mix::space, mix::local}) {
      asked_for[kind] = addresses4(routes, kind);
      for (const std::uint32_t a : asked_for[kind]) expected[kind] += bare.lookup(a);
    }
  }
  static const ipv4_case& get() {
    static const ipv4_case made;
    return made;
  }
};

template <class F>
struct table_of {
  paged_memory memory;
  F table;
  explicit table_of(std::size_t routes)
      : memory(F::bytes_for(routes)), table(mutable_bytes{memory.data(), F::bytes_for(routes)}) {}
};

void add_all(auto& table, const std::vector<route4>& routes) {
  for (const route4& r : routes)
    if (!table.insert({ipv4_address{r.address}, r.length}, r.next_hop)) std::abort();
}
void add_all(auto& table, const std::vector<route6>& routes) {
  for (const route6& r : routes)
    if (!table.insert({ipv6_address{r.high, 0}, r.length}, r.next_hop)) std::abort();
}

// The next hops of addresses without any are not counted, as everywhere here.
std::uint64_t sum_of(const next_hop_number* answers) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < 32; ++i) sum += answers[i] == no_next_hop ? 0u : answers[i];
  return sum;
}

template <class F, mix Kind>
void look4(benchmark::State& state) {
  const ipv4_case& c = ipv4_case::get();
  static const auto made = [&] {
    auto t = std::make_unique<table_of<F>>(c.routes.size());
    add_all(t->table, c.routes);
    return t;
  }();
  std::vector<ipv4_address> all;
  for (const std::uint32_t a : c.asked_for.at(Kind)) all.emplace_back(a);
  measure(state, all, c.expected.at(Kind), [&](const ipv4_address* a) {
    next_hop_number answers[32];
    made->table.lookup(a, answers, 32);
    return sum_of(answers);
  });
  state.counters["MiB"] = static_cast<double>(made->table.bytes_used()) / 1048576;
}
template <mix Kind>
void look_bare(benchmark::State& state) {
  const ipv4_case& c = ipv4_case::get();
  const std::uint32_t* const end = c.asked_for.at(Kind).data() + asked;
  measure(state, c.asked_for.at(Kind), c.expected.at(Kind), [&](const std::uint32_t* a) {
    const std::uint32_t* const next = a + 32 == end ? a : a + 32;
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < 32; ++i) prefetch_to_read(&c.bare.by_24[next[i] >> 8]);
    for (std::size_t i = 0; i < 32; ++i) sum += c.bare.lookup(a[i]);
    return sum;
  });
  state.counters["MiB"] = (32.0 * 1048576 + c.bare.groups * 512.0) / 1048576;
}
struct ipv6_case {
  std::vector<route6> routes = internet6(220'000);
  std::map<mix, std::vector<ipv6_address>> asked_for;
  std::map<mix, std::uint64_t> expected;

  ipv6_case() {
    for (const mix kind : {mix::routes, mix::local}) {
      const std::vector<wide_address> all = addresses6(routes, kind);
      expected[kind] = expected6(routes, all);
      for (const wide_address& a : all) asked_for[kind].emplace_back(a.high, a.low);
    }
  }
  static const ipv6_case& get() {
    static const ipv6_case made;
    return made;
  }
};
template <class F, mix Kind>
void look6(benchmark::State& state) {
  const ipv6_case& c = ipv6_case::get();
  static const auto made = [&] {
    auto t = std::make_unique<table_of<F>>(c.routes.size());
    add_all(t->table, c.routes);
    return t;
  }();
  measure(state, c.asked_for.at(Kind), c.expected.at(Kind), [&](const ipv6_address* a) {
    next_hop_number answers[32];
    made->table.lookup(a, answers, 32);
    return sum_of(answers);
  });
  state.counters["MiB"] = static_cast<double>(made->table.bytes_used()) / 1048576;
}
template <class F, class Case>
void add(benchmark::State& state) {
  const Case& c = Case::get();
  table_of<F> made{c.routes.size()};
  for (auto _ : state) {
    state.PauseTiming();
    made.table.clear();
    state.ResumeTiming();
    add_all(made.table, c.routes);
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(c.routes.size()));
}

using trie4 = compact_trie<ipv4_address>;
using trie6 = compact_trie<ipv6_address>;
BENCHMARK(look4<dir_24_8, mix::routes>)->Name("fib/routes/ours");
BENCHMARK(look4<dir_24_8, mix::space>)->Name("fib/space/ours");
BENCHMARK(look4<dir_24_8, mix::local>)->Name("fib/local/ours");
BENCHMARK(look4<trie4, mix::routes>)->Name("fib/routes/ours_compact");
BENCHMARK(look4<trie4, mix::space>)->Name("fib/space/ours_compact");
BENCHMARK(look4<trie4, mix::local>)->Name("fib/local/ours_compact");
BENCHMARK(look_bare<mix::routes>)->Name("fib/routes/by_hand");
BENCHMARK(look_bare<mix::space>)->Name("fib/space/by_hand");
BENCHMARK(look_bare<mix::local>)->Name("fib/local/by_hand");
BENCHMARK(add<dir_24_8, ipv4_case>)->Name("fib/add/ours")->Unit(benchmark::kMillisecond);
BENCHMARK(add<trie4, ipv4_case>)->Name("fib/add/ours_compact")->Unit(benchmark::kMillisecond);
BENCHMARK(look6<dir_16_16, mix::routes>)->Name("fib6/routes/ours");
BENCHMARK(look6<dir_16_16, mix::local>)->Name("fib6/local/ours");
BENCHMARK(look6<trie6, mix::routes>)->Name("fib6/routes/ours_compact");
BENCHMARK(look6<trie6, mix::local>)->Name("fib6/local/ours_compact");
BENCHMARK(add<dir_16_16, ipv6_case>)->Name("fib6/add/ours")->Unit(benchmark::kMillisecond);
BENCHMARK(add<trie6, ipv6_case>)->Name("fib6/add/ours_compact")->Unit(benchmark::kMillisecond);

}  // namespace
