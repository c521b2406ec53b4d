// SPDX-License-Identifier: MIT
// Starts DPDK's environment on the pages that BENCH_PAGES names, on the processor that this thread runs on.
#ifndef BENCH_PEERS_DPDK_HPP
#define BENCH_PEERS_DPDK_HPP

#include <cstdio>   // fprintf
#include <cstdlib>  // _Exit
#include <string>   // string, to_string
#include <vector>   // vector

#include <sched.h>

#include <benchmark/benchmark.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_mbuf.h>

#include "support/memory.hpp"

namespace bench {

// `devices`: virtual ones, as `--vdev` names them; `mebibytes`: how much memory it takes; `widest`: AVX-512, which it
// leaves alone unless asked. Ends the program when DPDK cannot start: what it says then is the last line that it
// prints.
inline void start_dpdk(const std::vector<std::string>& devices = {}, unsigned mebibytes = 256, bool widest = false) {
  std::vector<std::string> words = {"bench",         "-l", std::to_string(sched_getcpu()), "--no-pci", "--no-telemetry",
                                    "--log-level=4", "-m", std::to_string(mebibytes)};
  if (wanted_pages() == page_size::huge) words.push_back("--in-memory");
  else words.insert(words.end(), {"--no-huge", "--no-shconf"});
  if (widest) words.push_back("--force-max-simd-bitwidth=512");
  for (const std::string& device : devices) words.push_back("--vdev=" + device);
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  if (rte_eal_init(static_cast<int>(arguments.size()), arguments.data()) >= 0) return;
  std::fprintf(stderr, "DPDK does not start: %s\n", rte_strerror(rte_errno));
  std::_Exit(3);
}

// As testpmd makes it, but for the size: a cache of 250 buffers for each processor.
inline rte_mempool* make_mbufs(const char* name, unsigned n) {
  rte_mempool* const made = rte_pktmbuf_pool_create(name, n, 250, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
  if (made != nullptr) return made;
  std::fprintf(stderr, "DPDK has no memory for a pool: %s\n", rte_strerror(rte_errno));
  std::_Exit(3);
}

// Runs the benchmarks that were asked for, as benchmark_main does.
inline int run_benchmarks(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}

}  // namespace bench

#endif
