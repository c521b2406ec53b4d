// SPDX-License-Identifier: MIT
// libtins' side of parsing: a frame is made into its objects, which are then asked for addresses and ports.
#include <cstring>  // memcpy
#include <vector>   // vector

#include <benchmark/benchmark.h>

#include <tins/tins.h>

#include "support/parse_c.hpp"
#include "support/traffic.hpp"

namespace {

using namespace bench;

bool parse(const std::uint8_t* p, std::size_t length, tuple_c& t) {
  const Tins::EthernetII frame(p, static_cast<std::uint32_t>(length));
  if (const auto* ip = frame.find_pdu<Tins::IP>()) {
    t.w[0] = ip->src_addr();
    t.w[4] = ip->dst_addr();
  } else if (const auto* ip6 = frame.find_pdu<Tins::IPv6>()) {
    const auto source = ip6->src_addr(), destination = ip6->dst_addr();
    std::memcpy(t.w, source.begin(), 16);
    std::memcpy(t.w + 4, destination.begin(), 16);
  } else {
    return false;
  }
  if (const auto* u = frame.find_pdu<Tins::UDP>()) {
    t.source_port = u->sport();
    t.destination_port = u->dport();
    t.protocol = 17;
  } else if (const auto* s = frame.find_pdu<Tins::TCP>()) {
    t.source_port = s->sport();
    t.destination_port = s->dport();
    t.protocol = 6;
  } else {
    return false;
  }
  return true;
}

template <traffic Kind>
void parse_packets(benchmark::State& state) {
  constexpr std::size_t n = 256, stride = 33 * 64;
  std::vector<std::byte> memory(n * stride);
  std::vector<std::size_t> lengths(n);
  for (std::size_t i = 0; i < n; ++i) lengths[i] = write_packet(memory.data() + i * stride, Kind, i);
  std::uint64_t sum = 0, parsed = 0;
  for (auto _ : state)
    for (std::size_t i = 0; i < n; ++i) {
      tuple_c t{};
      if (!parse(reinterpret_cast<const std::uint8_t*>(memory.data() + i * stride), lengths[i], t)) continue;
      sum += digest(t);
      ++parsed;
    }
  benchmark::DoNotOptimize(sum);
  const std::int64_t all = state.iterations() * static_cast<std::int64_t>(n);
  if (parsed != static_cast<std::uint64_t>(all)) state.SkipWithError("does not parse every packet");
  state.SetItemsProcessed(all);
}

BENCHMARK(parse_packets<traffic::udp64>)->Name("parse/udp64/libtins");
BENCHMARK(parse_packets<traffic::imix>)->Name("parse/imix/libtins");
BENCHMARK(parse_packets<traffic::udp64_ipv6>)->Name("parse/udp64_ipv6/libtins");
BENCHMARK(parse_packets<traffic::imix_ipv6>)->Name("parse/imix_ipv6/libtins");

}  // namespace

BENCHMARK_MAIN();
