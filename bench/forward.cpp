// SPDX-License-Identifier: MIT
// Swap the MAC addresses and send back, nothing else: over the null device, which takes a packet from the pool and
// gives it back, and over a ring, through which packets that exist go round. Bursts of 32, as the rival in DPDK
// forwards.
#include <benchmark/benchmark.h>

#include <runnel/base/ring.hpp>
#include <runnel/device/null.hpp>

#include "support/ports.hpp"

namespace {

using namespace bench;

constexpr std::size_t burst_size = 32;

// Looks at no more than the link header, so it needs no parsing.
verdict swap_addresses(packet& p) noexcept {
  if (p.length() < ethernet::min_size) return drop(drop_reason::link_too_short);
  mut<ethernet>::unchecked(p.writable()).swap_addresses();
  return pass;
}

template <class Port, class Pipeline>
void measure(benchmark::State& state, Port& port, Pipeline&& path) {
  auto attached = attach(port, path, {.budget = burst_size});
  manual_clock time;
  std::size_t packets = 0;
  for (auto _ : state) packets += attached.poll(time);
  state.SetItemsProcessed(static_cast<std::int64_t>(packets));
}

struct fixture {
  std::byte frame[64];
  paged_pool memory{{.packets = 4096, .bare = 8}};
  null_device port{memory, {.length = 60, .fill = bytes{frame, write_packet(frame, traffic::udp64, 0)}}};
};
void null_ours(benchmark::State& state) {
  fixture f;
  measure(state, f.port, [](packet& p) { return swap_addresses(p); } | transmit(f.port));
}
// The frames go back as they came, and never become packets.
void null_ours_early(benchmark::State& state) {
  fixture f;
  measure(state, f.port, xdp([](mut<ethernet> e) {
                           e.swap_addresses();
                           return tx;
                         }) | discard);
}

// A port whose cable leads back to it.
class ring_port {
 public:
  explicit ring_port(pool& memory) {
    for (std::size_t i = 0; i < 512; ++i) {
      packet p = memory.allocate();
      write_packet(p.put(60), traffic::udp64, i);
      if (!ring_.push(static_cast<packet&&>(p))) std::abort();
    }
  }
  bool done() const noexcept { return false; }
  std::size_t pull(packet* packets, std::size_t room, instant) noexcept {
    for (std::size_t i = 0; i < room; ++i) ::new (static_cast<void*>(packets + i)) packet;
    return ring_.pop(packets, room);
  }
  std::size_t transmit(packet* packets, std::size_t n, instant) noexcept { return ring_.push(packets, n); }

 private:
  spsc_ring<packet, 1024> ring_;
};
void ring_ours(benchmark::State& state) {
  paged_pool memory{{.packets = 4096, .bare = 8}};
  ring_port port(memory);
  measure(state, port, [](packet& p) { return swap_addresses(p); } | transmit(port));
}

// The least: the bytes are there, and somebody swaps them.
void by_hand(benchmark::State& state) {
  paged_pool memory{{.packets = 4096, .bare = 8}};
  memory_port port{memory, burst_size, traffic::udp64};
  for (auto _ : state) {
    for (const buffer_c& b : port.buffers()) {
      std::uint64_t to;
      std::uint32_t rest;
      __builtin_memcpy(&to, b.data, 8);
      __builtin_memcpy(&rest, b.data + 8, 4);
      // Twelve bytes turned by six.
      const std::uint64_t front = to >> 48 | std::uint64_t{rest} << 16 | to << 48;
      const auto back = static_cast<std::uint32_t>(to >> 16);
      __builtin_memcpy(b.data, &front, 8);
      __builtin_memcpy(b.data + 8, &back, 4);
    }
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(burst_size));
}

BENCHMARK(null_ours)->Name("forward/null/ours");
BENCHMARK(null_ours_early)->Name("forward/null/ours_early");
BENCHMARK(ring_ours)->Name("forward/ring/ours");
BENCHMARK(by_hand)->Name("forward/by_hand");

}  // namespace
