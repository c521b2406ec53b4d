// SPDX-License-Identifier: MIT
// DPDK's side of the cases that are no more than a function or a table: checksum, Toeplitz hash, ring, hash table.
#include <cstring>  // memcpy

#include <rte_hash.h>
#include <rte_hash_crc.h>
#include <rte_ip.h>
#include <rte_ring.h>
#include <rte_thash.h>

#include <runnel/wire/toeplitz.hpp>

#include "peers/dpdk.hpp"
#include "support/across.hpp"
#include "support/addresses.hpp"
#include "support/flow_map.hpp"

namespace {

using namespace bench;

// ---- checksum

template <std::size_t Size>
void checksum_of(benchmark::State& state) {
  std::vector<std::uint8_t> data(Size);
  for (std::size_t i = 0; i < Size; ++i) data[i] = static_cast<std::uint8_t>(scramble(i));
  const std::uint8_t* p = data.data();
  std::size_t size = Size;
  unsigned sum = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(p);
    benchmark::DoNotOptimize(size);
    sum += static_cast<std::uint16_t>(~rte_raw_cksum(p, size));
    benchmark::DoNotOptimize(sum);
  }
  state.SetItemsProcessed(state.iterations());
}

// ---- Toeplitz: addresses and ports of IPv4, each hash in the form that it wants its input in

template <class Hash>
void hash_keys(benchmark::State& state, Hash hash) {
  rte_ipv4_tuple keys[256];
  for (std::uint32_t i = 0; i < 256; ++i) {
    keys[i].src_addr = static_cast<std::uint32_t>(scramble(i));
    keys[i].dst_addr = static_cast<std::uint32_t>(scramble(i) >> 32);
    keys[i].sport = static_cast<std::uint16_t>(i);
    keys[i].dport = 443;
  }
  std::uint64_t sum = 0;
  for (auto _ : state)
    for (rte_ipv4_tuple& k : keys) {
      sum += hash(k);
      benchmark::DoNotOptimize(sum);
    }
  state.SetItemsProcessed(state.iterations() * 256);
}
void softrss(benchmark::State& state) {
  alignas(4) static std::uint8_t key[40];
  alignas(4) static std::uint8_t plain[40];
  std::memcpy(plain, runnel::microsoft_rss_key.octets, sizeof plain);
  rte_convert_rss_key(reinterpret_cast<const std::uint32_t*>(plain), reinterpret_cast<std::uint32_t*>(key), 40);
  hash_keys(state, [](rte_ipv4_tuple& k) {
    return rte_softrss_be(reinterpret_cast<std::uint32_t*>(&k), RTE_THASH_V4_L4_LEN, key);
  });
}
#ifdef RTE_THASH_GFNI_DEFINED
void gfni(benchmark::State& state) {
  static std::uint64_t matrices[40];
  rte_thash_complete_matrix(matrices, runnel::microsoft_rss_key.octets, 40);
  hash_keys(state, [](rte_ipv4_tuple& k) {
    return rte_thash_gfni(matrices, reinterpret_cast<std::uint8_t*>(&k), RTE_THASH_V4_L4_LEN * 4);
  });
}
#endif

// ---- ring, one producer and one consumer

rte_ring* make_ring() {
  static rte_ring* const made = rte_ring_create("ring", 1024, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
  if (made == nullptr) std::_Exit(3);
  rte_ring_reset(made);
  return made;
}
template <std::size_t Burst>
void ring(benchmark::State& state) {
  rte_ring* const r = make_ring();
  void* elements[Burst] = {};
  for (auto _ : state) {
    benchmark::DoNotOptimize(elements);
    benchmark::DoNotOptimize(rte_ring_sp_enqueue_burst(r, elements, Burst, nullptr));
    benchmark::DoNotOptimize(rte_ring_sc_dequeue_burst(r, elements, Burst, nullptr));
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(Burst));
}
// All or nothing, which is the faster of its two ways here.
void ring_across(benchmark::State& state) {
  rte_ring* const r = make_ring();
  across(
      state,
      [r](void** from, std::size_t n) { return rte_ring_sp_enqueue_bulk(r, from, static_cast<unsigned>(n), nullptr); },
      [r](void** to, std::size_t n) { return rte_ring_sc_dequeue_bulk(r, to, static_cast<unsigned>(n), nullptr); });
}
void ring_across_burst(benchmark::State& state) {
  rte_ring* const r = make_ring();
  across(
      state,
      [r](void** from, std::size_t n) { return rte_ring_sp_enqueue_burst(r, from, static_cast<unsigned>(n), nullptr); },
      [r](void** to, std::size_t n) { return rte_ring_sc_dequeue_burst(r, to, static_cast<unsigned>(n), nullptr); });
}

// ---- a set of addresses

struct fixture {
  addresses all;
  rte_hash* table;

  explicit fixture(std::size_t n) : all(n) {
    rte_hash_parameters p{};
    p.name = "blocklist";
    p.entries = static_cast<std::uint32_t>(n);
    p.key_len = 4;
    p.hash_func = rte_hash_crc;
    p.socket_id = SOCKET_ID_ANY;
    table = rte_hash_create(&p);
    if (table == nullptr) std::_Exit(3);
    for (const std::uint32_t a : all.in_set)
      if (rte_hash_add_key(table, &a) < 0) std::_Exit(3);
  }
  fixture(const fixture&) = delete;
  fixture& operator=(const fixture&) = delete;
  ~fixture() { rte_hash_free(table); }
  static const fixture& get(std::size_t n) {
    static std::unique_ptr<fixture> made;
    if (!made || made->all.in_set.size() != n) {
      made.reset();
      made = std::make_unique<fixture>(n);
    }
    return *made;
  }
};
template <std::size_t N>
void single(benchmark::State& state) {
  const fixture& f = fixture::get(N);
  f.all.measure(state, [&](const std::uint32_t* a) {
    std::size_t found = 0;
    for (std::size_t i = 0; i < 32; ++i) found += rte_hash_lookup(f.table, a + i) >= 0;
    return found;
  });
}
template <std::size_t N>
void burst(benchmark::State& state) {
  const fixture& f = fixture::get(N);
  f.all.measure(state, [&](const std::uint32_t* a) {
    const void* keys[32];
    std::int32_t places[32];
    for (std::size_t i = 0; i < 32; ++i) keys[i] = a + i;
    rte_hash_lookup_bulk(f.table, keys, 32, places);
    std::size_t found = 0;
    for (std::size_t i = 0; i < 32; ++i) found += places[i] >= 0;
    return found;
  });
}

// ---- a map of connections, with keys of 16 bytes: the length that it has a comparison of its own for

struct flows {
  rte_hash* table;
  std::vector<flow_map_key> keys;

  flows() {
    rte_hash_parameters p{};
    p.name = "flows";
    p.entries = 1 << 20;
    p.key_len = 16;
    p.hash_func = [](const void* key, std::uint32_t, std::uint32_t seed) {
      std::uint64_t words[2];
      std::memcpy(words, key, 16);
      return rte_hash_crc_8byte(words[1], rte_hash_crc_8byte(words[0], seed));
    };
    p.socket_id = SOCKET_ID_ANY;
    table = rte_hash_create(&p);
    if (table == nullptr) std::_Exit(3);
    for (const runnel::connection_tuple& t : million_connections::get().tuples) keys.emplace_back(t);
  }
  void fill() const {
    for (const flow_map_key& k : keys)
      if (rte_hash_add_key_data(table, &k, table) < 0) std::_Exit(3);
  }
  void empty() const {
    for (const flow_map_key& k : keys) rte_hash_del_key(table, &k);
  }
  static const flows& get() {
    static const flows made;
    return made;
  }
};
void find_flows(benchmark::State& state) {
  const flows& f = flows::get();
  if (rte_hash_count(f.table) == 0) f.fill();
  million_connections::get().measure(state, [&](const runnel::connection_tuple* t) {
    alignas(16) unsigned char keys[32][16];
    const void* pointers[32];
    void* data[32];
    std::uint64_t hits = 0;
    for (std::size_t i = 0; i < 32; ++i) {
      const flow_map_key k{t[i]};
      std::memcpy(keys[i], &k, 16);
      pointers[i] = keys[i];
    }
    rte_hash_lookup_bulk_data(f.table, pointers, 32, &hits, data);
    benchmark::DoNotOptimize(data);
    return static_cast<std::size_t>(__builtin_popcountll(hits));
  });
}
void insert_flows(benchmark::State& state) {
  const flows& f = flows::get();
  for (auto _ : state) {
    f.empty();
    const auto begin = now();
    f.fill();
    state.SetIterationTime(seconds_since(begin));
  }
  state.SetItemsProcessed(state.iterations() * million_connections::count);
}
void expire_flows(benchmark::State& state) {
  const flows& f = flows::get();
  for (auto _ : state) {
    f.fill();
    const auto begin = now();
    f.empty();
    state.SetIterationTime(seconds_since(begin));
  }
  state.SetItemsProcessed(state.iterations() * million_connections::count);
}

BENCHMARK(find_flows)->Name("connections/find/rte_hash");
BENCHMARK(insert_flows)->Name("connections/insert/rte_hash")->UseManualTime();
BENCHMARK(expire_flows)->Name("connections/expire/rte_hash")->UseManualTime();
BENCHMARK(checksum_of<20>)->Name("checksum/20/rte_raw_cksum");
BENCHMARK(checksum_of<64>)->Name("checksum/64/rte_raw_cksum");
BENCHMARK(checksum_of<1500>)->Name("checksum/1500/rte_raw_cksum");
BENCHMARK(checksum_of<9000>)->Name("checksum/9000/rte_raw_cksum");
BENCHMARK(softrss)->Name("hash/toeplitz/rte_softrss_be");
#ifdef RTE_THASH_GFNI_DEFINED
BENCHMARK(gfni)->Name("hash/toeplitz/rte_thash_gfni");
#endif
BENCHMARK(ring<1>)->Name("ring/1/rte_ring");
BENCHMARK(ring<32>)->Name("ring/32/rte_ring");
BENCHMARK(ring_across)->Name("ring_across/32/rte_ring")->UseManualTime();
BENCHMARK(ring_across_burst)->Name("ring_across/32/rte_ring_burst")->UseManualTime();
BENCHMARK(single<10'000>)->Name("address_set/10k/rte_hash");
BENCHMARK(burst<10'000>)->Name("address_set/10k/rte_hash_burst");
BENCHMARK(single<1'000'000>)->Name("address_set/1M/rte_hash");
BENCHMARK(burst<1'000'000>)->Name("address_set/1M/rte_hash_burst");

}  // namespace

int main(int argc, char** argv) {
  start_dpdk();
  return run_benchmarks(argc, argv);
}
