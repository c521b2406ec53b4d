// SPDX-License-Identifier: MIT
// DPDK's tables for the longest prefix match, over the routes and addresses of bench/fib.cpp. Its forms for AVX-512 are
// taken where the processor has it, as it chooses them itself.
#include <rte_fib.h>
#include <rte_fib6.h>
#include <rte_lpm.h>
#include <rte_malloc.h>

#include <cstdlib>  // _Exit
#include <map>      // map

#include "peers/dpdk.hpp"
#include "support/routes.hpp"

namespace {

using namespace bench;

double mebibytes_in_use() {
  rte_malloc_socket_stats s{};
  rte_malloc_get_socket_stats(0, &s);
  return static_cast<double>(s.heap_allocsz_bytes) / 1048576;
}
[[noreturn]] void give_up(const char* what) {
  std::fprintf(stderr, "%s: %s\n", what, rte_strerror(rte_errno));
  std::_Exit(3);
}
double now() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_nsec);
}

// A table that is full, what it cost, and what lookups have to find.
struct built {
  double mebibytes = 0, nanoseconds_a_route = 0;

  template <class Create, class Add>
  auto operator()(std::size_t routes, Create create, Add add) {
    const double before = mebibytes_in_use();
    auto* const table = create();
    if (table == nullptr) give_up("no table");
    const double start = now();
    for (std::size_t i = 0; i < routes; ++i)
      if (add(table, i) != 0) give_up("a route was refused");
    nanoseconds_a_route = (now() - start) / static_cast<double>(routes);
    mebibytes = mebibytes_in_use() - before;
    return table;
  }
  void report(benchmark::State& state) const {
    state.counters["MiB"] = mebibytes;
    state.counters["add_ns"] = nanoseconds_a_route;
  }
};

struct ipv4_case {
  std::vector<route4> routes = internet4(1'000'000);
  built fib_cost;
  rte_fib* fib;
  std::map<mix, std::vector<std::uint32_t>> asked_for;
  std::map<mix, std::uint64_t> expected;

  ipv4_case() {
    fib = fib_cost(
        routes.size(),
        [] {
          rte_fib_conf c{};
          c.type = RTE_FIB_DIR24_8;
          c.default_nh = 0;
          c.max_routes = 1'100'000;
          c.dir24_8.nh_sz = RTE_FIB_DIR24_8_2B;
          c.dir24_8.num_tbl8 = (1 << 15) - 1;
          return rte_fib_create("fib", SOCKET_ID_ANY, &c);
        },
        [&](rte_fib* f, std::size_t i) {
          return rte_fib_add(f, routes[i].address, static_cast<std::uint8_t>(routes[i].length), routes[i].next_hop);
        });
    for (const mix kind : {mix::routes, mix::space, mix::local}) {
      asked_for[kind] = addresses4(routes, kind);
      expected[kind] = expected4(routes, asked_for[kind]);
    }
  }
  static ipv4_case& get() {
    static ipv4_case made;
    return made;
  }
};
template <rte_fib_lookup_type Type, mix Kind>
void look_fib(benchmark::State& state) {
  ipv4_case& c = ipv4_case::get();
  if (rte_fib_select_lookup(c.fib, Type) != 0) return state.SkipWithError("not on this processor");
  measure(state, c.asked_for[Kind], c.expected[Kind], [&](const std::uint32_t* a) {
    std::uint64_t answers[32], sum = 0;
    rte_fib_lookup_bulk(c.fib, const_cast<std::uint32_t*>(a), answers, 32);
    for (const std::uint64_t h : answers) sum += h;
    return sum;
  });
  c.fib_cost.report(state);
}
// Its routes are found from the first to the last of one length, in whatever order they come: adding a million takes a
// minute.
struct lpm_table {
  built cost;
  rte_lpm* table;

  explicit lpm_table(const std::vector<route4>& routes) {
    table = cost(
        routes.size(),
        [] {
          rte_lpm_config c{};
          c.max_rules = 1'100'000;
          c.number_tbl8s = 1 << 15;
          return rte_lpm_create("lpm", SOCKET_ID_ANY, &c);
        },
        [&](rte_lpm* l, std::size_t i) {
          return rte_lpm_add(l, routes[i].address, static_cast<std::uint8_t>(routes[i].length), routes[i].next_hop);
        });
  }
  static const lpm_table& get() {
    static const lpm_table made{ipv4_case::get().routes};
    return made;
  }
};
template <mix Kind>
void look_lpm(benchmark::State& state) {
  ipv4_case& c = ipv4_case::get();
  const lpm_table& lpm = lpm_table::get();
  measure(state, c.asked_for[Kind], c.expected[Kind], [&](const std::uint32_t* a) {
    std::uint32_t answers[32];
    std::uint64_t sum = 0;
    rte_lpm_lookup_bulk(lpm.table, a, answers, 32);
    for (const std::uint32_t h : answers) sum += (h & RTE_LPM_LOOKUP_SUCCESS) != 0 ? h & 0xff'ffff : 0;
    return sum;
  });
  lpm.cost.report(state);
}

struct ipv6_case {
  struct octets {
    std::uint8_t at[RTE_FIB6_IPV6_ADDR_SIZE];
    explicit octets(std::uint64_t high, std::uint64_t low = 0) {
      for (unsigned i = 0; i < 8; ++i) {
        at[i] = static_cast<std::uint8_t>(high >> (56 - 8 * i));
        at[8 + i] = static_cast<std::uint8_t>(low >> (56 - 8 * i));
      }
    }
  };
  std::vector<route6> routes = internet6(220'000);
  built cost;
  rte_fib6* fib;
  std::map<mix, std::vector<octets>> asked_for;
  std::map<mix, std::uint64_t> expected;

  ipv6_case() {
    fib = cost(
        routes.size(),
        [] {
          rte_fib6_conf c{};
          c.type = RTE_FIB6_TRIE;
          c.default_nh = 0;
          c.max_routes = 300'000;
          c.trie.nh_sz = RTE_FIB6_TRIE_4B;
          c.trie.num_tbl8 = 1 << 19;
          return rte_fib6_create("fib6", SOCKET_ID_ANY, &c);
        },
        [&](rte_fib6* f, std::size_t i) {
          const octets a{routes[i].high};
          return rte_fib6_add(f, a.at, static_cast<std::uint8_t>(routes[i].length), routes[i].next_hop);
        });
    for (const mix kind : {mix::routes, mix::local}) {
      const std::vector<wide_address> all = addresses6(routes, kind);
      expected[kind] = expected6(routes, all);
      for (const wide_address& a : all) asked_for[kind].emplace_back(a.high, a.low);
    }
  }
  static ipv6_case& get() {
    static ipv6_case made;
    return made;
  }
};
template <rte_fib6_lookup_type Type, mix Kind>
void look_fib6(benchmark::State& state) {
  ipv6_case& c = ipv6_case::get();
  if (rte_fib6_select_lookup(c.fib, Type) != 0) return state.SkipWithError("not on this processor");
  measure(state, c.asked_for[Kind], c.expected[Kind], [&](const ipv6_case::octets* a) {
    std::uint64_t answers[32], sum = 0;
    rte_fib6_lookup_bulk(c.fib,
                         reinterpret_cast<std::uint8_t(*)[RTE_FIB6_IPV6_ADDR_SIZE]>(const_cast<ipv6_case::octets*>(a)),
                         answers, 32);
    for (const std::uint64_t h : answers) sum += h;
    return sum;
  });
  c.cost.report(state);
}

BENCHMARK(look_fib<RTE_FIB_LOOKUP_DIR24_8_SCALAR_MACRO, mix::routes>)->Name("fib/routes/rte_fib_scalar");
BENCHMARK(look_fib<RTE_FIB_LOOKUP_DIR24_8_SCALAR_MACRO, mix::space>)->Name("fib/space/rte_fib_scalar");
BENCHMARK(look_fib<RTE_FIB_LOOKUP_DIR24_8_SCALAR_MACRO, mix::local>)->Name("fib/local/rte_fib_scalar");
BENCHMARK(look_fib<RTE_FIB_LOOKUP_DIR24_8_VECTOR_AVX512, mix::routes>)->Name("fib/routes/rte_fib");
BENCHMARK(look_fib<RTE_FIB_LOOKUP_DIR24_8_VECTOR_AVX512, mix::space>)->Name("fib/space/rte_fib");
BENCHMARK(look_fib<RTE_FIB_LOOKUP_DIR24_8_VECTOR_AVX512, mix::local>)->Name("fib/local/rte_fib");
BENCHMARK(look_lpm<mix::routes>)->Name("fib/routes/rte_lpm");
BENCHMARK(look_lpm<mix::space>)->Name("fib/space/rte_lpm");
BENCHMARK(look_lpm<mix::local>)->Name("fib/local/rte_lpm");
BENCHMARK(look_fib6<RTE_FIB6_LOOKUP_TRIE_SCALAR, mix::routes>)->Name("fib6/routes/rte_fib6_scalar");
BENCHMARK(look_fib6<RTE_FIB6_LOOKUP_TRIE_SCALAR, mix::local>)->Name("fib6/local/rte_fib6_scalar");
BENCHMARK(look_fib6<RTE_FIB6_LOOKUP_TRIE_VECTOR_AVX512, mix::routes>)->Name("fib6/routes/rte_fib6");
BENCHMARK(look_fib6<RTE_FIB6_LOOKUP_TRIE_VECTOR_AVX512, mix::local>)->Name("fib6/local/rte_fib6");

}  // namespace

int main(int argc, char** argv) {
  start_dpdk({}, 2600, true);
  return run_benchmarks(argc, argv);
}
