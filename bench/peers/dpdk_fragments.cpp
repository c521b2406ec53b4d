// SPDX-License-Identifier: MIT
// DPDK's reassembly over the fragments of bench/reassembly.cpp, with the prefetches of its example ip_reassembly: in a
// table as that example makes it for 4096 datagrams, with 4096 buckets of 16, and in one that is no larger than it has
// to be, with 256 of them.
#include <rte_cycles.h>
#include <rte_ip_frag.h>

#include <vector>  // vector

#include "peers/dpdk.hpp"
#include "support/fragments.hpp"

namespace {

using namespace bench;

rte_mempool* mbufs() {
  static rte_mempool* const made = make_mbufs("fragments", 8191);
  return made;
}
rte_ip_frag_tbl* new_table(std::uint32_t buckets) {
  rte_ip_frag_tbl* const made = rte_ip_frag_table_create(buckets, 16, 4096, rte_get_tsc_hz() * 30, SOCKET_ID_ANY);
  if (made == nullptr) std::abort();
  return made;
}

template <std::uint32_t Buckets, bool Ipv6, std::size_t Pieces, order Order>
struct reassembly {
  static void run(benchmark::State& state) {
    using traffic = fragment_traffic<Ipv6, Pieces, Order>;
    static const traffic all;
    rte_ip_frag_tbl* const table = new_table(Buckets);
    static rte_ip_frag_death_row death_row;
    death_row.cnt = 0;
    std::vector<rte_mbuf*> row(fragments_at_once);
    all.measure(
        state,
        [&](std::uint32_t round) {
          for (std::size_t i = 0; i < fragments_at_once; ++i) {
            rte_mbuf* const m = rte_pktmbuf_alloc(mbufs());
            if (m == nullptr) std::abort();
            traffic::write(reinterpret_cast<std::byte*>(rte_pktmbuf_append(m, traffic::headers + traffic::payload)),
                           all.row[i], round);
            row[i] = m;
          }
        },
        [&] {
          std::size_t bytes = 0;
          const std::uint64_t now = rte_rdtsc();
          constexpr std::size_t ahead = 3;
          for (std::size_t i = 0; i < fragments_at_once; ++i) {
            if (i + ahead < fragments_at_once) rte_prefetch0(rte_pktmbuf_mtod(row[i + ahead], void*));
            rte_mbuf* const m = row[i];
            m->l2_len = 14;
            rte_mbuf* whole;
            if constexpr (Ipv6) {
              auto* const ip = rte_pktmbuf_mtod_offset(m, rte_ipv6_hdr*, 14);
              auto* const fragment = rte_ipv6_frag_get_ipv6_fragment_header(ip);
              m->l3_len = 48;
              whole = rte_ipv6_frag_reassemble_packet(table, &death_row, m, now, ip, fragment);
            } else {
              auto* const ip = rte_pktmbuf_mtod_offset(m, rte_ipv4_hdr*, 14);
              m->l3_len = 20;
              whole = rte_ipv4_frag_reassemble_packet(table, &death_row, m, now, ip);
            }
            if (whole != nullptr) {
              bytes += traffic::length_of(rte_pktmbuf_mtod(whole, const std::byte*));
              rte_pktmbuf_free(whole);
            }
            rte_ip_frag_free_death_row(&death_row, ahead);
          }
          return bytes;
        });
    rte_ip_frag_table_destroy(table);
  }
};

template <bool Ipv6, std::size_t Pieces, order Order>
using as_the_example = reassembly<4096, Ipv6, Pieces, Order>;
template <bool Ipv6, std::size_t Pieces, order Order>
using no_larger = reassembly<256, Ipv6, Pieces, Order>;

}  // namespace

int main(int argc, char** argv) {
  start_dpdk();
  register_fragment_cases<as_the_example>("rte_ip_frag");
  register_fragment_cases<no_larger>("rte_ip_frag_small");
  return run_benchmarks(argc, argv);
}
