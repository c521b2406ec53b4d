// SPDX-License-Identifier: MIT
// Parse, filter, swap the MAC addresses, send back: 64-byte UDP in cache, from memory. The rival does the same by hand
// over the same buffers, and keeps its lists of buffers as a driver in C would.
#include <vector>  // vector

#include <benchmark/benchmark.h>

#include <runnel/device/null.hpp>

#include "support/parse_c.hpp"
#include "support/ports.hpp"

namespace {

using namespace bench;

constexpr std::uint16_t unwanted_port = 9;

// The packets come from the cheapest device that there is, and go back to it: what is measured lies between. As with
// any stack of free buffers, it is the same 64 that are used again and again.
struct fixture {
  std::byte frame[64];
  paged_pool memory{{.packets = 256, .bare = 8}};
  null_device port{memory, {.length = 60, .fill = bytes{frame, write_packet(frame, traffic::udp64, 0)}}};
};

template <class Pipeline>
void measure(benchmark::State& state, fixture& f, Pipeline&& path) {
  auto attached = attach(f.port, path, {.budget = default_burst});
  manual_clock time;
  std::size_t packets = 0;
  for (auto _ : state) packets += attached.poll(time);
  state.SetItemsProcessed(static_cast<std::int64_t>(packets));
}

void ours(benchmark::State& state) {
  fixture f;
  std::uint16_t unwanted = unwanted_port;
  benchmark::DoNotOptimize(unwanted);
  measure(
      state, f,
      parse() | [unwanted](udp u) { return u.destination_port() == unwanted ? drop : pass; } |
          [](mut<ethernet> e) { e.swap_addresses(); } | transmit(f.port));
}
// The same as early verdicts: the frames go back as they came, and never become packets.
void ours_early(benchmark::State& state) {
  fixture f;
  std::uint16_t unwanted = unwanted_port;
  benchmark::DoNotOptimize(unwanted);
  measure(state, f, xdp([unwanted](udp u, mut<ethernet> e) {
                      if (u.destination_port() == unwanted) return verdict{drop};
                      e.swap_addresses();
                      return tx;
                    }) | discard);
}

struct swapper_c {
  const buffer_c* received;
  buffer_c* sent;
  buffer_c* freed;
  std::size_t sent_count = 0, freed_count = 0;
};
[[gnu::noinline]] void swap_burst_c(swapper_c& s, std::size_t n, std::uint16_t unwanted) {
  std::size_t sent_count = 0, freed_count = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const buffer_c b = s.received[i];
    tuple_c t;
    if (!parse_c(b.data, b.length, t) || t.protocol != 17 || t.destination_port == unwanted) {
      s.freed[freed_count++] = b;
      continue;
    }
    std::uint8_t to[6];
    std::memcpy(to, b.data, 6);
    std::memcpy(b.data, b.data + 6, 6);
    std::memcpy(b.data + 6, to, 6);
    s.sent[sent_count++] = b;
  }
  s.sent_count += sent_count;
  s.freed_count += freed_count;
}
void by_hand(benchmark::State& state) {
  paged_pool memory{{.packets = 256, .bare = 8}};
  memory_port port{memory, default_burst, traffic::udp64};
  std::vector<buffer_c> sent(default_burst), freed(default_burst);
  swapper_c s{port.buffers().data(), sent.data(), freed.data()};
  std::uint16_t unwanted = unwanted_port << 8;  // as it lies on the wire
  benchmark::DoNotOptimize(unwanted);
  for (auto _ : state) {
    swap_burst_c(s, default_burst, unwanted);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(s.sent_count));
}

BENCHMARK(ours)->Name("mac_swap/ours");
BENCHMARK(ours_early)->Name("mac_swap/ours_early");
BENCHMARK(by_hand)->Name("mac_swap/by_hand");

}  // namespace
