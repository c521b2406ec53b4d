// SPDX-License-Identifier: MIT
// The parts that others are made of, each against the plainest C that does the same: pool, clone, checksum, hashes,
// ring. `bench/run --peers` sets DPDK's beside them.
#include <memory>  // unique_ptr
#include <vector>  // vector

#include <benchmark/benchmark.h>

#include <runnel/base/ring.hpp>
#include <runnel/wire/checksum.hpp>
#include <runnel/wire/toeplitz.hpp>

#include "support/across.hpp"
#include "support/ports.hpp"

namespace {

using namespace bench;

// ---- pool

void pool_ours(benchmark::State& state) {
  paged_pool memory{{.packets = 1024, .bare = 1024}};
  std::vector<packet> held(default_burst);
  for (auto _ : state) {
    for (packet& p : held) p = memory->allocate();
    benchmark::ClobberMemory();
    for (packet& p : held) p.reset();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(held.size()));
}
// The same given back all at once.
void pool_bulk_ours(benchmark::State& state) {
  paged_pool memory{{.packets = 1024, .bare = 1024}};
  std::vector<packet> held(32);
  for (auto _ : state) {
    for (packet& p : held) p = memory->allocate();
    benchmark::ClobberMemory();
    memory->release(held.data(), held.size());
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(held.size()));
}
// Slots that never become packets.
void pool_frames_ours(benchmark::State& state) {
  paged_pool memory{{.packets = 1024, .bare = 1024}};
  std::vector<frame> held(32);
  for (auto _ : state) {
    benchmark::DoNotOptimize(memory->allocate_frames(held.size(), {}, into_array(held.data())));
    benchmark::ClobberMemory();
    memory->release(held.data(), held.size());
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(held.size()));
}
// A stack of free buffers with a cache line of metadata each: the least that a pool of packets does.
struct buffer_head_c {
  std::uint8_t* data;
  std::uint32_t length, index;
  std::uint64_t rest[6];
};
void pool_by_hand(benchmark::State& state) {
  constexpr std::size_t size = 1024, stride = 33 * 64;
  const std::unique_ptr<std::uint8_t[]> bytes_of_all(new std::uint8_t[size * stride]);
  std::vector<buffer_head_c> heads(size);
  std::vector<std::uint32_t> free_list(size);
  std::size_t free_count = size;
  for (std::uint32_t i = 0; i < size; ++i) free_list[i] = i;
  std::vector<buffer_head_c*> held(default_burst);
  for (auto _ : state) {
    for (buffer_head_c*& h : held) {
      const std::uint32_t i = free_list[--free_count];
      h = &heads[i];
      *h = buffer_head_c{};
      h->data = bytes_of_all.get() + i * stride + 128;
      h->index = i;
    }
    benchmark::ClobberMemory();
    for (buffer_head_c*& h : held) {
      free_list[free_count++] = h->index;
      h = nullptr;
    }
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(held.size()));
}
void clone_ours(benchmark::State& state) {
  paged_pool memory{{.packets = 1024, .bare = 1024}};
  std::vector<packet> originals(default_burst), clones(default_burst);
  for (packet& p : originals) {
    p = memory->allocate();
    if (p.put(60) == nullptr) std::abort();
  }
  for (auto _ : state) {
    for (std::size_t i = 0; i < default_burst; ++i) clones[i] = originals[i].clone();
    benchmark::ClobberMemory();
    for (packet& p : clones) p.reset();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(default_burst));
}

// ---- checksum

template <std::size_t Size>
struct summed {
  std::vector<std::byte> data = std::vector<std::byte>(Size);
  summed() {
    for (std::size_t i = 0; i < Size; ++i) data[i] = static_cast<std::byte>(scramble(i));
  }
};
template <std::size_t Size>
void checksum_ours(benchmark::State& state) {
  const summed<Size> s;
  const std::byte* p = s.data.data();
  std::size_t size = Size;  // which nobody knows before
  unsigned sum = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(p);
    benchmark::DoNotOptimize(size);
    sum += checksum(bytes{p, size});
    benchmark::DoNotOptimize(sum);
  }
  state.SetItemsProcessed(state.iterations());
}
// RFC 1071 §4.1 as it stands there, with 32-bit words, which a compiler can vectorise.
[[gnu::noinline]] std::uint16_t checksum_c(const std::uint8_t* p, std::size_t n) {
  std::uint64_t sum = 0;
  for (; n >= 4; n -= 4, p += 4) {
    std::uint32_t word;
    __builtin_memcpy(&word, p, 4);
    sum += word;
  }
  if (n >= 2) {
    std::uint16_t word;
    __builtin_memcpy(&word, p, 2);
    sum += word;
    n -= 2;
    p += 2;
  }
  if (n != 0) sum += *p;
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum);
}
template <std::size_t Size>
void checksum_by_hand(benchmark::State& state) {
  const summed<Size> s;
  const auto* p = reinterpret_cast<const std::uint8_t*>(s.data.data());
  unsigned sum = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(p);
    sum += checksum_c(p, Size);
    benchmark::DoNotOptimize(sum);
  }
  state.SetItemsProcessed(state.iterations());
}
// One address of a header changes, as in address translation.
void checksum_update_ours(benchmark::State& state) {
  std::uint16_t sum = 0x1234;
  std::uint32_t from = 0x0a00'0001, to = 0xc633'6401;
  for (auto _ : state) {
    benchmark::DoNotOptimize(from);
    benchmark::DoNotOptimize(to);
    sum = update_checksum32(sum, from, to);
    benchmark::DoNotOptimize(sum);
  }
  state.SetItemsProcessed(state.iterations());
}
// RFC 1624, equation 3, for one half after the other.
void checksum_update_by_hand(benchmark::State& state) {
  std::uint16_t sum = 0x1234;
  std::uint32_t from = 0x0a00'0001, to = 0xc633'6401;
  const auto half = [](std::uint32_t old, std::uint32_t m, std::uint32_t n) {
    std::uint32_t s = (~old & 0xffff) + (~m & 0xffff) + n;
    s = (s & 0xffff) + (s >> 16);
    return ~(s + (s >> 16)) & 0xffff;
  };
  for (auto _ : state) {
    benchmark::DoNotOptimize(from);
    benchmark::DoNotOptimize(to);
    sum = static_cast<std::uint16_t>(half(half(sum, from >> 16, to >> 16), from & 0xffff, to & 0xffff));
    benchmark::DoNotOptimize(sum);
  }
  state.SetItemsProcessed(state.iterations());
}

// ---- hashes

template <class Hash>
void hash_keys(benchmark::State& state, Hash hash) {
  std::vector<flow_key4> keys;
  for (std::uint32_t i = 0; i < 256; ++i)
    keys.emplace_back(ipv4_address{static_cast<std::uint32_t>(scramble(i))},
                      ipv4_address{static_cast<std::uint32_t>(scramble(i) >> 32)}, static_cast<std::uint16_t>(i),
                      std::uint16_t{443}, std::uint8_t{6});
  std::uint64_t sum = 0;
  for (auto _ : state)
    for (const flow_key4& k : keys) {
      sum += hash(k);
      benchmark::DoNotOptimize(sum);
    }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(keys.size()));
}
void flow_hash(benchmark::State& state) {
  hash_keys(state, [](const flow_key4& k) { return k.hash(); });
}
void toeplitz_ours(benchmark::State& state) {
  static const toeplitz hash;
  hash_keys(state, [](const flow_key4& k) { return hash(k); });
}
void toeplitz_symmetric(benchmark::State& state) {
  hash_keys(state, [](const flow_key4& k) { return symmetric_toeplitz(k); });
}
// Bit by bit, as the definition says.
void toeplitz_by_hand(benchmark::State& state) {
  hash_keys(state, [](const flow_key4& k) {
    std::uint8_t input[12];
    for (std::size_t i = 0; i < 8; ++i) input[i] = static_cast<std::uint8_t>(k.word(0) >> (56 - 8 * i));
    for (std::size_t i = 0; i < 4; ++i) input[8 + i] = static_cast<std::uint8_t>(k.word(1) >> (56 - 8 * i));
    const std::uint8_t* key = microsoft_rss_key.octets;
    std::uint32_t window =
        std::uint32_t{key[0]} << 24 | std::uint32_t{key[1]} << 16 | std::uint32_t{key[2]} << 8 | key[3];
    std::uint32_t h = 0;
    for (std::size_t i = 0; i < sizeof input; ++i)
      for (unsigned bit = 0; bit < 8; ++bit) {
        if ((input[i] >> (7 - bit) & 1u) != 0) h ^= window;
        window = window << 1 | (key[i + 4] >> (7 - bit) & 1u);
      }
    return h;
  });
}

// ---- ring: both ends on one core, and across two

template <std::size_t Burst>
void ring_ours(benchmark::State& state) {
  static spsc_ring<void*, 1024> ring;
  void* elements[Burst] = {};
  for (auto _ : state) {
    benchmark::DoNotOptimize(elements);
    benchmark::DoNotOptimize(ring.push(elements, Burst));
    benchmark::DoNotOptimize(ring.pop(elements, Burst));
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(Burst));
}
struct ring_c {
  alignas(128) std::uint32_t head;
  std::uint32_t tail_seen;
  alignas(128) std::uint32_t tail;
  std::uint32_t head_seen;
  alignas(128) void* slots[1024];
};
std::uint32_t push_c(ring_c* r, void** from, std::uint32_t n) {
  const std::uint32_t head = r->head;
  if (head - r->tail_seen + n > 1024) {
    r->tail_seen = __atomic_load_n(&r->tail, __ATOMIC_ACQUIRE);
    if (head - r->tail_seen + n > 1024) return 0;
  }
  for (std::uint32_t i = 0; i < n; ++i) r->slots[(head + i) & 1023] = from[i];
  __atomic_store_n(&r->head, head + n, __ATOMIC_RELEASE);
  return n;
}
std::uint32_t pop_c(ring_c* r, void** to, std::uint32_t n) {
  const std::uint32_t tail = r->tail;
  if (r->head_seen - tail < n) {
    r->head_seen = __atomic_load_n(&r->head, __ATOMIC_ACQUIRE);
    if (r->head_seen - tail < n) return 0;
  }
  for (std::uint32_t i = 0; i < n; ++i) to[i] = r->slots[(tail + i) & 1023];
  __atomic_store_n(&r->tail, tail + n, __ATOMIC_RELEASE);
  return n;
}
template <std::size_t Burst>
void ring_by_hand(benchmark::State& state) {
  static ring_c ring;
  void* elements[Burst] = {};
  for (auto _ : state) {
    benchmark::DoNotOptimize(elements);
    benchmark::DoNotOptimize(push_c(&ring, elements, Burst));
    benchmark::DoNotOptimize(pop_c(&ring, elements, Burst));
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(Burst));
}

void ring_across_ours(benchmark::State& state) {
  static spsc_ring<void*, 1024> ring;
  across(
      state, [](void** from, std::size_t n) { return ring.push(from, n); },
      [](void** to, std::size_t n) { return ring.pop(to, n); });
}
void ring_across_by_hand(benchmark::State& state) {
  static ring_c ring;
  across(
      state, [](void** from, std::size_t n) { return push_c(&ring, from, static_cast<std::uint32_t>(n)); },
      [](void** to, std::size_t n) { return pop_c(&ring, to, static_cast<std::uint32_t>(n)); });
}

BENCHMARK(pool_ours)->Name("pool/ours");
BENCHMARK(pool_by_hand)->Name("pool/by_hand");
BENCHMARK(pool_bulk_ours)->Name("pool_bulk/ours");
BENCHMARK(pool_frames_ours)->Name("pool_frames/ours");
BENCHMARK(clone_ours)->Name("clone/ours");
BENCHMARK(checksum_ours<20>)->Name("checksum/20/ours");
BENCHMARK(checksum_by_hand<20>)->Name("checksum/20/by_hand");
BENCHMARK(checksum_ours<64>)->Name("checksum/64/ours");
BENCHMARK(checksum_by_hand<64>)->Name("checksum/64/by_hand");
BENCHMARK(checksum_ours<1500>)->Name("checksum/1500/ours");
BENCHMARK(checksum_by_hand<1500>)->Name("checksum/1500/by_hand");
BENCHMARK(checksum_ours<9000>)->Name("checksum/9000/ours");
BENCHMARK(checksum_by_hand<9000>)->Name("checksum/9000/by_hand");
BENCHMARK(checksum_update_ours)->Name("checksum_update/ours");
BENCHMARK(checksum_update_by_hand)->Name("checksum_update/by_hand");
BENCHMARK(flow_hash)->Name("hash/flow_key4");
BENCHMARK(toeplitz_ours)->Name("hash/toeplitz/ours");
BENCHMARK(toeplitz_by_hand)->Name("hash/toeplitz/by_hand");
BENCHMARK(toeplitz_symmetric)->Name("hash/toeplitz_symmetric");
BENCHMARK(ring_ours<1>)->Name("ring/1/ours");
BENCHMARK(ring_by_hand<1>)->Name("ring/1/by_hand");
BENCHMARK(ring_ours<32>)->Name("ring/32/ours");
BENCHMARK(ring_by_hand<32>)->Name("ring/32/by_hand");
BENCHMARK(ring_across_ours)->Name("ring_across/32/ours")->UseManualTime();
BENCHMARK(ring_across_by_hand)->Name("ring_across/32/by_hand")->UseManualTime();

}  // namespace
