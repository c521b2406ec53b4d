// SPDX-License-Identifier: MIT
// The million connections in a map from 16 bytes of key to a number, as the standard's maps have it: found, inserted,
// erased again in the order in which they came, and as a stream in which every packet is the first of its connection.
// In a row of its own, both directions of each are inserted: our table finds both.
#ifndef BENCH_SUPPORT_FLOW_MAP_HPP
#define BENCH_SUPPORT_FLOW_MAP_HPP

#include <cstdint>  // uint32_t, uint64_t
#include <cstdlib>  // abort
#include <memory>   // unique_ptr
#include <vector>   // vector

#include <benchmark/benchmark.h>

#include <runnel/base/hash.hpp>

#include "support/connections.hpp"

namespace bench {

struct flow_map_key {
  std::uint64_t a, b;
  explicit flow_map_key(const runnel::connection_tuple& t) : a(t.addresses4()), b(t.rest()) {}
  friend bool operator==(const flow_map_key& x, const flow_map_key& y) { return ((x.a ^ y.a) | (x.b ^ y.b)) == 0; }
};
// Two multiplications and nothing else: a good hash for all of them.
struct flow_map_hash {
  using is_avalanching = void;
  std::size_t operator()(const flow_map_key& k) const {
    return static_cast<std::size_t>(
        runnel::detail::multiply_fold(k.a ^ runnel::detail::hash_a, k.b ^ runnel::detail::hash_b));
  }
};

template <class Map>
class flow_map_bench {
 public:
  static void find(benchmark::State& state) {
    static const std::unique_ptr<const Map> map = [] {
      auto made = std::make_unique<Map>();
      made->reserve(million_connections::count);
      fill(*made);
      return made;
    }();
    million_connections::get().measure(state, [&](const runnel::connection_tuple* t) {
      std::size_t found = 0;
      if constexpr (requires { map->prefetch(flow_map_key{*t}); })
        for (std::size_t i = 0; i < 32; ++i) map->prefetch(flow_map_key{t[i]});
      for (std::size_t i = 0; i < 32; ++i) found += map->find(flow_map_key{t[i]}) != map->end();
      return found;
    });
  }
  static void insert(benchmark::State& state) {
    insert_with(state, [](Map& map) { fill(map); }, 1);
  }
  static void insert_both(benchmark::State& state) {
    insert_with(
        state,
        [](Map& map) {
          std::uint32_t n = 0;
          for (const runnel::connection_tuple& t : million_connections::get().tuples) {
            map.emplace(flow_map_key{t}, ++n);
            map.emplace(flow_map_key{t.inverted()}, n);
          }
        },
        2);
  }
  static void expire(benchmark::State& state) {
    Map map;
    map.reserve(million_connections::count);
    for (auto _ : state) {
      fill(map);
      const auto begin = now();
      for (const runnel::connection_tuple& t : million_connections::get().tuples) map.erase(flow_map_key{t});
      if (!map.empty()) std::abort();
      state.SetIterationTime(seconds_since(begin));
    }
    state.SetItemsProcessed(state.iterations() * million_connections::count);
  }
  static void stream(benchmark::State& state) {
    Map map;
    map.reserve(million_connections::count);
    const auto& all = million_connections::get().tuples;
    // What has to be known to let a connection expire: when it was seen, and by what it is found.
    std::vector<std::uint64_t> seen(all.size() + 1);
    std::vector<flow_map_key> back(all.size() + 1, flow_map_key{all[0]});
    std::vector<std::uint32_t> free;
    for (auto _ : state) {
      map.clear();
      free.clear();
      for (std::uint32_t i = static_cast<std::uint32_t>(all.size()); i != 0; --i) free.push_back(i);
      std::uint64_t time = 0;
      std::size_t sweep = 1;
      const auto begin = now();
      for (const runnel::connection_tuple& t : all) {
        const flow_map_key k{t};
        std::uint32_t n = 0;
        if (const auto found = map.find(k); found != map.end()) {
          n = found->second;
        } else {
          n = free.back();
          free.pop_back();
          map.emplace(k, n);
          back[n] = k;
        }
        seen[n] = ++time;
        if (seen[sweep] != 0 && seen[sweep] + 2'000'000 < time) map.erase(back[sweep]);
        if (++sweep > all.size()) sweep = 1;
      }
      state.SetIterationTime(seconds_since(begin));
    }
    state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(all.size()));
  }

 private:
  template <class Fill>
  static void insert_with(benchmark::State& state, Fill&& fill_all, std::size_t for_each) {
    Map map;
    map.reserve(for_each * million_connections::count);
    for (auto _ : state) {
      map.clear();
      const auto begin = now();
      fill_all(map);
      state.SetIterationTime(seconds_since(begin));
    }
    state.SetItemsProcessed(state.iterations() * million_connections::count);
  }
  static void fill(Map& map) {
    std::uint32_t n = 0;
    for (const runnel::connection_tuple& t : million_connections::get().tuples) map.emplace(flow_map_key{t}, ++n);
  }
};

}  // namespace bench

#endif
