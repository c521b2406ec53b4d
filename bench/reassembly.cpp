// SPDX-License-Identifier: MIT
// Reassembly: 4096 fragments of 1440 bytes of payload at a time, of 2 or 8 to a datagram, in different orders. What is
// whole is given back at once. And virtual reassembly of the same, which gives back each fragment that goes on.
#include <benchmark/benchmark.h>

#include <runnel/base/prefetch.hpp>
#include <runnel/ip/fragment_table.hpp>
#include <runnel/ip/virtual_fragment_table.hpp>
#include <runnel/wire/dissect.hpp>

#include "support/fragments.hpp"
#include "support/memory.hpp"

namespace {

using namespace runnel;
using namespace bench;

constexpr fragment_config config{.fragments = 8192, .datagrams = 4096, .seed = 0x1234'5678'9abc'def0};

paged_pool& packets() {
  static paged_pool made{{.packets = 8192, .bytes = 1984, .headroom = 128, .bare = 16}};
  return made;
}

// A table and what comes, and how long `take(table, packet)` needs for it, which says how many bytes are whole.
template <class Table, bool Ipv6, std::size_t Pieces, order Order, class Take>
void measure_table(benchmark::State& state, Take take) {
  using traffic = fragment_traffic<Ipv6, Pieces, Order>;
  static const traffic all;
  pool& memory = packets();
  paged_memory room{Table::bytes_needed(config)};
  Table table{{room.data(), Table::bytes_needed(config)}, config};
  std::vector<packet> row(fragments_at_once);
  all.measure(
      state,
      [&](std::uint32_t round) {
        for (std::size_t i = 0; i < fragments_at_once; ++i) {
          packet& p = row[i];
          p = memory.allocate();
          if (!p) std::abort();
          traffic::write(p.put(traffic::headers + traffic::payload), all.row[i], round);
          p.layers(dissect(p.contents(), link_type::ethernet, {.head_offset = p.headroom()}));
        }
      },
      [&] {
        std::size_t bytes = 0;
        constexpr std::size_t ahead = 4;
        for (std::size_t i = 0; i < fragments_at_once; ++i) {
          if (i + ahead < fragments_at_once) prefetch_to_read(row[i + ahead].data());
          bytes += take(table, row[i]);
        }
        return bytes;
      });
}

template <bool Ipv6, std::size_t Pieces, order Order>
struct reassembly {
  static void run(benchmark::State& state) {
    measure_table<fragment_table, Ipv6, Pieces, Order>(state, [](fragment_table& table, packet& p) -> std::size_t {
      if (table.reassemble(p, {}) != pass) return 0;
      const std::size_t bytes = fragment_traffic<Ipv6, Pieces, Order>::length_of(p.data());
      p.reset();
      return bytes;
    });
  }
};

template <bool Ipv6, std::size_t Pieces, order Order>
struct virtual_reassembly {
  static void run(benchmark::State& state) {
    using traffic = fragment_traffic<Ipv6, Pieces, Order>;
    measure_table<virtual_fragment_table, Ipv6, Pieces, Order>(
        state, [](virtual_fragment_table& table, packet& p) -> std::size_t {
          std::size_t bytes = 0;
          const auto on = [&bytes](packet&& q) {
            const packet own{static_cast<packet&&>(q)};
            bytes += traffic::part_of(own.data());
          };
          if (table.follow(p, {}, on) == pass) on(static_cast<packet&&>(p));
          return bytes;
        });
  }
};

}  // namespace

int main(int argc, char** argv) {
  register_fragment_cases<reassembly>("ours");
  register_fragment_cases<virtual_reassembly>("ours_virtual");
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
