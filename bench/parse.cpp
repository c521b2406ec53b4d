// SPDX-License-Identifier: MIT
// From a frame to its five-tuple. Hot: 256 packets in the first-level cache, over and over. Cold: 512 MiB of buffers,
// each packet on lines that are not in any cache, with a prefetch of the headers some packets ahead.
#include <memory>  // unique_ptr
#include <vector>  // vector

#include <benchmark/benchmark.h>

#include <runnel/device/null.hpp>

#include "support/parse_c.hpp"
#include "support/ports.hpp"

namespace {

using namespace bench;

constexpr std::size_t hot_packets = 256;
constexpr std::size_t cold_packets = std::size_t{1} << 18;
// Buffers of 2112 bytes: an odd number of cache lines.
constexpr std::size_t stride = 33 * 64;

// Made once for each kind of traffic and size, and shared by those who are compared.
struct buffers {
  paged_memory memory;
  std::vector<buffer_c> list;

  buffers(traffic kind, std::size_t n) : memory(n * stride), list(n) {
    for (std::size_t i = 0; i < n; ++i) {
      std::byte* at = memory.data() + i * stride;
      list[i] = {reinterpret_cast<std::uint8_t*>(at), static_cast<std::uint32_t>(write_packet(at, kind, i)), 0};
    }
  }
  static const buffers& get(traffic kind, bool cold) {
    static std::unique_ptr<buffers> made[4][2];
    auto& b = made[static_cast<int>(kind)][cold];
    if (!b) b = std::make_unique<buffers>(kind, cold ? cold_packets : hot_packets);
    return *b;
  }
};

std::uint64_t tuple_of(bytes contents, std::size_t headroom) {
  const layers found = dissect(contents, link_type::ethernet, {.head_offset = headroom});
  const header_map headers{contents, headroom, found};
  if (headers.has<udp>()) {
    if (headers.has<ipv4>()) {
      const flow_key4 k = flow_key4::from(headers.get<ipv4>(), headers.get<udp>());
      return k.word(0) ^ k.word(1);
    }
    const flow_key6 k = flow_key6::from(headers.get<ipv6>(), 17, headers.get<udp>());
    return k.word(0) ^ k.word(1) ^ k.word(2) ^ k.word(3) ^ k.word(4);
  }
  if (headers.has<tcp>()) {
    if (headers.has<ipv4>()) {
      const flow_key4 k = flow_key4::from(headers.get<ipv4>(), headers.get<tcp>());
      return k.word(0) ^ k.word(1);
    }
    const flow_key6 k = flow_key6::from(headers.get<ipv6>(), 6, headers.get<tcp>());
    return k.word(0) ^ k.word(1) ^ k.word(2) ^ k.word(3) ^ k.word(4);
  }
  return 0;
}

std::uint64_t tuple_of(const buffer_c& b) {
  return tuple_of(bytes{reinterpret_cast<const std::byte*>(b.data), b.length}, 0);
}

inline void prefetch_headers(const buffer_c& b) {
  __builtin_prefetch(b.data + 12);
  __builtin_prefetch(b.data + 53);
}

// One burst after the other through the list, so that an iteration is short and the whole list is walked.
template <bool Cold, class Tuple>
void walk(benchmark::State& state, traffic kind, Tuple tuple) {
  constexpr std::size_t ahead = 16;
  const std::vector<buffer_c>& list = buffers::get(kind, Cold).list;
  std::uint64_t sum = 0;
  std::size_t at = 0;
  for (auto _ : state) {
    for (std::size_t i = at; i < at + 256; ++i) {
      if constexpr (Cold) prefetch_headers(list[i + ahead < list.size() ? i + ahead : i]);
      sum += tuple(list[i]);
    }
    at = at + 256 == list.size() ? 0 : at + 256;
  }
  benchmark::DoNotOptimize(sum);
  state.SetItemsProcessed(state.iterations() * 256);
}

template <traffic Kind, bool Cold>
void ours(benchmark::State& state) {
  walk<Cold>(state, Kind, [](const buffer_c& b) { return tuple_of(b); });
}
template <traffic Kind, bool Cold>
void by_hand(benchmark::State& state) {
  walk<Cold>(state, Kind, [](const buffer_c& b) -> std::uint64_t {
    tuple_c t;
    return parse_c(b.data, b.length, t) ? digest(t) : 0;
  });
}

// The same from packets of a pool, whose descriptors say where the bytes are: what the rivals in DPDK do.
template <traffic Kind>
void packets_ours(benchmark::State& state) {
  paged_pool memory{{.packets = hot_packets, .bare = 8}};
  std::vector<packet> packets(hot_packets);
  for (std::size_t i = 0; i < hot_packets; ++i) {
    packets[i] = memory->allocate();
    write_packet(packets[i].put(length_of(Kind, i)), Kind, i);
  }
  std::uint64_t sum = 0;
  for (auto _ : state)
    for (const packet& p : packets) sum += tuple_of(p.contents(), p.headroom());
  benchmark::DoNotOptimize(sum);
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(hot_packets));
}

// The whole way: frames from a device through an early verdict that asks for the headers, and back.
template <bool Early>
void whole_way(benchmark::State& state) {
  std::byte frame[64];
  paged_pool memory{{.packets = hot_packets, .bare = 8}};
  null_device port{memory, {.length = 60, .fill = bytes{frame, write_packet(frame, traffic::udp64, 0)}}};
  std::uint64_t sum = 0;
  auto look = [&sum](ipv4 ip, udp u) {
    const flow_key4 k = flow_key4::from(ip, u);
    sum += k.word(0) ^ k.word(1);
  };
  auto path = [&] {
    if constexpr (Early) return xdp(look) | discard;
    else return parse() | look | transmit(port);
  }();
  auto attached = attach(port, path, {.budget = default_burst});
  manual_clock time;
  std::size_t packets = 0;
  for (auto _ : state) packets += attached.poll(time);
  benchmark::DoNotOptimize(sum);
  state.SetItemsProcessed(static_cast<std::int64_t>(packets));
}

BENCHMARK((ours<traffic::udp64, false>))->Name("parse/udp64/ours");
BENCHMARK((by_hand<traffic::udp64, false>))->Name("parse/udp64/by_hand");
BENCHMARK(packets_ours<traffic::udp64>)->Name("parse/udp64/ours_packets");
BENCHMARK((ours<traffic::imix, false>))->Name("parse/imix/ours");
BENCHMARK((by_hand<traffic::imix, false>))->Name("parse/imix/by_hand");
BENCHMARK(packets_ours<traffic::imix>)->Name("parse/imix/ours_packets");
BENCHMARK((ours<traffic::udp64_ipv6, false>))->Name("parse/udp64_ipv6/ours");
BENCHMARK((by_hand<traffic::udp64_ipv6, false>))->Name("parse/udp64_ipv6/by_hand");
BENCHMARK(packets_ours<traffic::udp64_ipv6>)->Name("parse/udp64_ipv6/ours_packets");
BENCHMARK((ours<traffic::imix_ipv6, false>))->Name("parse/imix_ipv6/ours");
BENCHMARK((by_hand<traffic::imix_ipv6, false>))->Name("parse/imix_ipv6/by_hand");
BENCHMARK(packets_ours<traffic::imix_ipv6>)->Name("parse/imix_ipv6/ours_packets");
BENCHMARK((whole_way<true>))->Name("parse/udp64/early_verdict");
BENCHMARK((whole_way<false>))->Name("parse/udp64/pipeline");
BENCHMARK((ours<traffic::udp64, true>))->Name("parse/udp64_cold/ours");
BENCHMARK((by_hand<traffic::udp64, true>))->Name("parse/udp64_cold/by_hand");
BENCHMARK((ours<traffic::imix, true>))->Name("parse/imix_cold/ours");
BENCHMARK((by_hand<traffic::imix, true>))->Name("parse/imix_cold/by_hand");

}  // namespace
