// SPDX-License-Identifier: MIT
// DPDK's side of the cases that work on packets: parsing, forwarding over devices in memory, taking buffers from a pool
// and giving them back, clones.
#include <cstring>  // memcpy

#include <rte_ethdev.h>
#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_net.h>
#include <rte_vect.h>

#include "peers/dpdk.hpp"
#include "support/parse_c.hpp"
#include "support/traffic.hpp"

namespace {

using namespace bench;

constexpr std::uint16_t burst_size = 32;

rte_mempool* shared_pool() {
  static rte_mempool* const pool = make_mbufs("packets", 4096);
  return pool;
}

void write(rte_mbuf* m, traffic kind, std::size_t i) {
  rte_pktmbuf_reset(m);
  char* const to = rte_pktmbuf_append(m, static_cast<std::uint16_t>(length_of(kind, i)));
  write_packet(reinterpret_cast<std::byte*>(to), kind, i);
}

// ---- parsing

// What the headers are and how long comes from rte_net; the addresses and ports are then where it says.
bool parse(const rte_mbuf* m, tuple_c& t) {
  rte_net_hdr_lens lengths;
  const std::uint32_t type = rte_net_get_ptype(m, &lengths, RTE_PTYPE_L2_MASK | RTE_PTYPE_L3_MASK | RTE_PTYPE_L4_MASK);
  const auto* const frame = rte_pktmbuf_mtod(m, const std::uint8_t*);
  const std::uint8_t* const ip = frame + lengths.l2_len;
  if (RTE_ETH_IS_IPV4_HDR(type)) {
    std::memcpy(&t.w[0], ip + 12, 4);
    std::memcpy(&t.w[4], ip + 16, 4);
    t.protocol = ip[9];
  } else if (RTE_ETH_IS_IPV6_HDR(type)) {
    std::memcpy(t.w, ip + 8, 32);
    t.protocol = ip[6];
  } else {
    return false;
  }
  const std::uint32_t transport = type & RTE_PTYPE_L4_MASK;
  if (transport != RTE_PTYPE_L4_UDP && transport != RTE_PTYPE_L4_TCP) return false;
  std::memcpy(&t.source_port, ip + lengths.l3_len, 2);
  std::memcpy(&t.destination_port, ip + lengths.l3_len + 2, 2);
  return true;
}
template <traffic Kind>
void parse_packets(benchmark::State& state) {
  constexpr std::size_t n = 256;
  std::vector<rte_mbuf*> packets(n);
  if (rte_pktmbuf_alloc_bulk(shared_pool(), packets.data(), n) != 0) return state.SkipWithError("no buffers");
  for (std::size_t i = 0; i < n; ++i) write(packets[i], Kind, i);
  std::uint64_t sum = 0, parsed = 0;
  for (auto _ : state)
    for (const rte_mbuf* m : packets) {
      tuple_c t;
      if (!parse(m, t)) continue;
      sum += digest(t);
      ++parsed;
    }
  benchmark::DoNotOptimize(sum);
  const std::int64_t all = state.iterations() * static_cast<std::int64_t>(n);
  if (parsed != static_cast<std::uint64_t>(all)) state.SkipWithError("does not parse every packet");
  state.SetItemsProcessed(all);
  rte_pktmbuf_free_bulk(packets.data(), n);
}

// ---- forwarding, as testpmd does with --forward-mode=macswap

void open_port(std::uint16_t port, rte_mempool* pool) {
  const rte_eth_conf nothing{};
  if (rte_eth_dev_configure(port, 1, 1, &nothing) != 0 ||
      rte_eth_rx_queue_setup(port, 0, 512, static_cast<unsigned>(SOCKET_ID_ANY), nullptr, pool) != 0 ||
      rte_eth_tx_queue_setup(port, 0, 512, static_cast<unsigned>(SOCKET_ID_ANY), nullptr) != 0 ||
      rte_eth_dev_start(port) != 0) {
    std::fprintf(stderr, "DPDK does not open port %u\n", unsigned{port});
    std::_Exit(3);
  }
}

// One shuffle for both addresses, and what a driver is told about the headers.
void swap_addresses(rte_mbuf* m) {
  auto* const at = rte_pktmbuf_mtod(m, std::uint8_t*);
#if defined(__SSSE3__)
  const __m128i turned = _mm_setr_epi8(6, 7, 8, 9, 10, 11, 0, 1, 2, 3, 4, 5, 12, 13, 14, 15);
  __m128i bytes;
  std::memcpy(&bytes, at, 16);
  bytes = _mm_shuffle_epi8(bytes, turned);
  std::memcpy(at, &bytes, 16);
#else
  std::uint8_t to[6];
  std::memcpy(to, at, 6);
  std::memcpy(at, at + 6, 6);
  std::memcpy(at + 6, to, 6);
#endif
  m->ol_flags &= RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL;
  m->l2_len = sizeof(rte_ether_hdr);
  m->l3_len = sizeof(rte_ipv4_hdr);
}
void forward(benchmark::State& state, const char* device) {
  std::uint16_t port = 0;
  if (rte_eth_dev_get_port_by_name(device, &port) != 0) return state.SkipWithError("no such device");
  std::size_t packets = 0;
  rte_mbuf* burst[burst_size];
  for (auto _ : state) {
    const std::uint16_t n = rte_eth_rx_burst(port, 0, burst, burst_size);
    for (std::uint16_t i = 0; i < n; ++i) {
      if (i + 1 < n) rte_prefetch0(rte_pktmbuf_mtod(burst[i + 1], void*));
      swap_addresses(burst[i]);
    }
    const std::uint16_t sent = rte_eth_tx_burst(port, 0, burst, n);
    if (sent < n) rte_pktmbuf_free_bulk(burst + sent, static_cast<unsigned>(n - sent));
    packets += n;
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(packets));
}
void forward_null(benchmark::State& state) {
  static const bool opened = (open_port(rte_eth_find_next(0), shared_pool()), true);
  (void)opened;
  forward(state, "net_null0");
}
void forward_ring(benchmark::State& state) {
  static const bool opened = [] {
    std::uint16_t port = 0;
    if (rte_eth_dev_get_port_by_name("net_ring0", &port) != 0) return false;
    open_port(port, shared_pool());
    for (std::size_t i = 0; i < 512; ++i) {
      rte_mbuf* m = rte_pktmbuf_alloc(shared_pool());
      write(m, traffic::udp64, i);
      if (rte_eth_tx_burst(port, 0, &m, 1) != 1) return false;
    }
    return true;
  }();
  if (!opened) return state.SkipWithError("the ring does not take packets");
  forward(state, "net_ring0");
}

// ---- pool

void pool_packets(benchmark::State& state) {
  std::vector<rte_mbuf*> held(64);
  for (auto _ : state) {
    for (rte_mbuf*& m : held) m = rte_pktmbuf_alloc(shared_pool());
    benchmark::ClobberMemory();
    for (rte_mbuf* m : held) rte_pktmbuf_free(m);
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(held.size()));
}
void pool_bulk(benchmark::State& state) {
  rte_mbuf* held[burst_size];
  for (auto _ : state) {
    benchmark::DoNotOptimize(rte_pktmbuf_alloc_bulk(shared_pool(), held, burst_size));
    benchmark::ClobberMemory();
    rte_pktmbuf_free_bulk(held, burst_size);
  }
  state.SetItemsProcessed(state.iterations() * burst_size);
}
// Buffers that nobody initialises.
void pool_objects(benchmark::State& state) {
  void* held[burst_size];
  for (auto _ : state) {
    benchmark::DoNotOptimize(rte_mempool_get_bulk(shared_pool(), held, burst_size));
    benchmark::ClobberMemory();
    rte_mempool_put_bulk(shared_pool(), held, burst_size);
  }
  state.SetItemsProcessed(state.iterations() * burst_size);
}
void clones(benchmark::State& state) {
  constexpr std::size_t n = 64;
  static rte_mempool* const indirect = make_mbufs("clones", 1024);
  std::vector<rte_mbuf*> originals(n), made(n);
  if (rte_pktmbuf_alloc_bulk(shared_pool(), originals.data(), n) != 0) return state.SkipWithError("no buffers");
  for (std::size_t i = 0; i < n; ++i) write(originals[i], traffic::udp64, i);
  for (auto _ : state) {
    for (std::size_t i = 0; i < n; ++i) made[i] = rte_pktmbuf_clone(originals[i], indirect);
    benchmark::ClobberMemory();
    for (rte_mbuf* m : made) rte_pktmbuf_free(m);
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(n));
  rte_pktmbuf_free_bulk(originals.data(), n);
}

BENCHMARK(parse_packets<traffic::udp64>)->Name("parse/udp64/rte_net");
BENCHMARK(parse_packets<traffic::imix>)->Name("parse/imix/rte_net");
BENCHMARK(parse_packets<traffic::udp64_ipv6>)->Name("parse/udp64_ipv6/rte_net");
BENCHMARK(parse_packets<traffic::imix_ipv6>)->Name("parse/imix_ipv6/rte_net");
BENCHMARK(forward_null)->Name("forward/null/net_null");
BENCHMARK(forward_ring)->Name("forward/ring/net_ring");
BENCHMARK(pool_packets)->Name("pool/rte_pktmbuf");
BENCHMARK(pool_bulk)->Name("pool_bulk/rte_pktmbuf");
BENCHMARK(pool_objects)->Name("pool_frames/rte_mempool");
BENCHMARK(clones)->Name("clone/rte_pktmbuf");

}  // namespace

int main(int argc, char** argv) {
  start_dpdk({"net_null0,size=60", "net_ring0"});
  return run_benchmarks(argc, argv);
}
