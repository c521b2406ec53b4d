// SPDX-License-Identifier: MIT
// What a packet costs whose source is looked for in a set of a rule table, loaded from nft's text: all of the hook,
// with a set of ten elements and one of ten thousand. Every packet is in the set. Single addresses, prefixes and ranges
// in an interval set, verdicts in a map. Beside them the same chain with a rule that has no set.
#include <memory>  // unique_ptr
#include <string>  // string
#include <vector>  // vector

#include <benchmark/benchmark.h>

#include <runnel/hook.hpp>
#include <runnel/wire/build.hpp>
#include <runnel/wire/dissect.hpp>

#include "support/traffic.hpp"

namespace {

using namespace bench;

constexpr rule_table_config sizes{.elements = 10'000};
constexpr pool_config few{.packets = 2, .bytes = 256, .headroom = 64, .bare = 2};
enum class kind { values, intervals, map };

struct fixture {
  static constexpr std::size_t asked = 1 << 16;
  static_rule_table<sizes> table{0x1234'5678'9abc'def0u};
  alignas(64) std::byte memory[pool::bytes_needed(few)];
  pool* home = pool::create({memory, sizeof memory}, few);
  packet p = home->allocate();
  std::vector<ipv4_address> sources;
  context now;

  fixture(kind what, std::size_t n) : sources(asked) {
    // Every address of a /16 to /24 of its own, so that none overlap: 10,000 places of 2^18 addresses.
    std::string said = "table ip t {\n";
    said += what == kind::map ? "map s { type ipv4_addr : verdict;" : "set s { type ipv4_addr;";
    if (what == kind::intervals) said += " flags interval;";
    if (n != 0) said += " elements = {";
    for (std::size_t i = 0; i < n; ++i) {
      text<64> one;
      print(one << (i == 0 ? " " : ", "), ipv4_address{first_of(i)});
      if (what == kind::intervals) one << '/' << (16 + i % 9);
      if (what == kind::map) one << " : drop";
      said += one.c_str();
    }
    said += n != 0 ? " }\n}\n" : "}\n";
    said += "chain c { type filter hook input priority 0; policy accept;\n";
    said += n == 0 ? "ip saddr != 0.0.0.0 drop\n" : what == kind::map ? "ip saddr vmap @s\n" : "ip saddr @s drop\n";
    said += "}\n}\n";
    const auto loaded = load(table, said.c_str());
    if (!loaded) std::abort();
    for (std::size_t i = 0; i < asked; ++i) {
      const std::uint64_t r = scramble(i);
      const std::size_t which = n == 0 ? 0 : static_cast<std::size_t>(r >> 20) % n;
      const std::uint32_t inside = what == kind::intervals ? static_cast<std::uint32_t>(r) & (0xffffu >> which % 9) : 0;
      sources[i] = ipv4_address{first_of(which) + inside};
    }
    const ipv4_header ip{.source = {10, 0, 0, 1}, .destination = {192, 0, 2, 1}};
    const udp_header udp{.source_port = 1, .destination_port = 53};
    const std::size_t size = size_of_headers(ethernet_header{}, ip, udp) + 18;
    std::byte* const to = p.put(size);
    if (!write_headers({to, size}, ethernet_header{}, ip, udp)) std::abort();
    p.layers(dissect(p.contents(), link_type::ethernet, {.head_offset = p.headroom()}));
  }
  static std::uint32_t first_of(std::size_t i) {
    return static_cast<std::uint32_t>((i * 7919 % 10'007 + 64) << 18 | (i % 4) << 16);
  }
};

template <kind What, std::size_t N>
void in_set(benchmark::State& state) {
  const auto f = std::make_unique<fixture>(What, N);
  std::byte* const source = f->p.writable().data() + 26;
  const layers found = f->p.layers();
  std::size_t at = 0, dropped = 0;
  for (auto _ : state) {
    for (unsigned i = 0; i < 32; ++i) {
      f->sources[at].store(source);
      at = (at + 1) % fixture::asked;
      dropped += f->table->run(hook_point::input, f->p, f->now, &found).code == verdict_code::drop;
    }
  }
  const auto all = static_cast<std::size_t>(state.iterations()) * 32;
  if (dropped != all) state.SkipWithError("finds the wrong ones");
  state.SetItemsProcessed(static_cast<std::int64_t>(all));
}

BENCHMARK(in_set<kind::values, 0>)->Name("rule_sets/none");
BENCHMARK(in_set<kind::values, 10>)->Name("rule_sets/values/10");
BENCHMARK(in_set<kind::values, 10'000>)->Name("rule_sets/values/10k");
BENCHMARK(in_set<kind::intervals, 10>)->Name("rule_sets/intervals/10");
BENCHMARK(in_set<kind::intervals, 10'000>)->Name("rule_sets/intervals/10k");
BENCHMARK(in_set<kind::map, 10>)->Name("rule_sets/map/10");
BENCHMARK(in_set<kind::map, 10'000>)->Name("rule_sets/map/10k");

}  // namespace
