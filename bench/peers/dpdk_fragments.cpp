// SPDX-License-Identifier: MIT
// DPDK's reassembly over the fragments of bench/reassembly.cpp, in a table of the size that its example ip_reassembly
// makes, and with that example's prefetches.
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
rte_ip_frag_tbl* new_table() {
  rte_ip_frag_tbl* const made = rte_ip_frag_table_create(4096, 16, 4096, rte_get_tsc_hz() * 30, SOCKET_ID_ANY);
  if (made == nullptr) std::abort();
  return made;
}

template <bool Ipv6, std::size_t Pieces, order Order>
struct reassembly {
  static void run(benchmark::State& state) {
    using traffic = fragment_traffic<Ipv6, Pieces, Order>;
    static const traffic all;
    rte_ip_frag_tbl* const table = new_table();
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

}  // namespace

int main(int argc, char** argv) {
  start_dpdk();
  register_fragment_cases<reassembly>("rte_ip_frag");
  return run_benchmarks(argc, argv);
}
