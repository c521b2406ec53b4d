// SPDX-License-Identifier: MIT
// Fragments of many datagrams, as they come: which of them lie where in the row, and their headers.
#ifndef BENCH_SUPPORT_FRAGMENTS_HPP
#define BENCH_SUPPORT_FRAGMENTS_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint16_t, uint32_t, uint64_t
#include <cstdlib>  // abort
#include <string>   // string
#include <utility>  // swap
#include <vector>   // vector

#include <time.h>

#include <benchmark/benchmark.h>

#include <runnel/base/random.hpp>
#include <runnel/wire/build.hpp>
#include <runnel/wire/ethernet.hpp>
#include <runnel/wire/ipv4.hpp>
#include <runnel/wire/ipv6.hpp>

namespace bench {

// In which order fragments come: of one datagram after the other from the first to the last, from the last to the
// first, or in any order; or of 256 datagrams at once.
enum class order { in_order, reversed, random, interleaved };

inline constexpr std::size_t fragments_at_once = 4096;

struct one_fragment {
  std::uint32_t datagram, index;
};

// What comes in one round, and how it is measured.
template <bool Ipv6, std::size_t Pieces, order Order>
struct fragment_traffic {
  static constexpr std::size_t headers = Ipv6 ? 14 + 40 + 8 : 14 + 20, payload = 1440;
  static constexpr std::size_t datagrams = fragments_at_once / Pieces;
  // All datagrams together, in bytes.
  static constexpr std::size_t expected = datagrams * ((Ipv6 ? 40 : 20) + Pieces * payload);
  std::vector<one_fragment> row;

  fragment_traffic() {
    runnel::random_generator random{1};
    const std::size_t together = Order == order::interleaved ? 256 : 1;
    for (std::size_t d = 0; d < datagrams; d += together)
      for (std::size_t i = 0; i < Pieces; ++i)
        for (std::size_t k = 0; k < together; ++k)
          row.push_back({static_cast<std::uint32_t>(d + k),
                         static_cast<std::uint32_t>(Order == order::reversed ? Pieces - 1 - i : i)});
    if (Order != order::random) return;
    for (std::size_t d = 0; d < datagrams; ++d)
      for (std::size_t i = Pieces; i > 1; --i) std::swap(row[d * Pieces + i - 1], row[d * Pieces + random.below(i)]);
  }

  // The headers of one fragment; `round` makes each datagram another one.
  static void write(std::byte* to, one_fragment f, std::uint32_t round) {
    using namespace runnel;
    const std::uint32_t id = round * static_cast<std::uint32_t>(datagrams) + f.datagram;
    const bool more = f.index + 1 != Pieces;
    const std::size_t at = f.index * payload;
    const ethernet_header link{};
    if constexpr (Ipv6) {
      const ipv6_header ip{.source = {0x2001'0db8'0000'0000, 1 + id % 997}, .destination = {1, 2}, .next_header = 44};
      if (!write_headers({to, 54 + 8 + payload}, link, ip)) std::abort();
      store_be32(to + 54, 17u << 24 | static_cast<std::uint32_t>(at | (more ? 1u : 0u)));
      store_be32(to + 58, id);
    } else {
      const ipv4_header ip{.source = ipv4_address{0x0a00'0000u + id % 997},
                           .destination = {192, 0, 2, 1},
                           .id = static_cast<std::uint16_t>(id),
                           .dont_fragment = false,
                           .more_fragments = more,
                           .fragment_offset = static_cast<std::uint16_t>(at),
                           .protocol = 17};
      if (!write_headers({to, headers + payload}, link, ip)) std::abort();
    }
    // A first fragment has its whole transport header, of a datagram of this size.
    if (f.index == 0) store_be16(to + headers + 4, static_cast<std::uint16_t>(Pieces * payload));
  }

  // How long a datagram is, as its IP header says.
  static std::size_t length_of(const std::byte* frame) {
    return Ipv6 ? runnel::load_be16(frame + 18) + std::size_t{40} : runnel::load_be16(frame + 16);
  }

  // How many bytes of its datagram a fragment brings; the first one brings the IP header.
  static std::size_t part_of(const std::byte* frame) {
    const unsigned at = Ipv6 ? runnel::load_be16(frame + 56) >> 3 : runnel::load_be16(frame + 20) & 0x1fffu;
    return length_of(frame) - (Ipv6 ? 48 : 20) + (at != 0 ? 0 : Ipv6 ? 40 : 20);
  }

  // `prepare(round)` makes the packets of a round; `run()` takes all of them, and says how many bytes of datagrams came
  // out of it. The time is that of `run`.
  template <class Prepare, class Run>
  void measure(benchmark::State& state, Prepare prepare, Run run) const {
    std::uint32_t round = 0;
    for (auto _ : state) {
      prepare(round++);
      const double begin = seconds();
      const std::size_t got = run();
      state.SetIterationTime(seconds() - begin);
      if (got != expected) {
        state.SkipWithError("not every datagram became whole");
        return;
      }
    }
    state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(fragments_at_once));
  }

 private:
  static double seconds() {
    timespec t{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
  }
};

// Registers all cases: `Case<Ipv6, Pieces, Order>::run(state)`.
template <template <bool, std::size_t, order> class Case>
void register_fragment_cases(const char* who) {
  const auto add = [who](const char* name, void (*run)(benchmark::State&)) {
    benchmark::RegisterBenchmark((std::string("reassembly/") + name + "/" + who).c_str(), run)->UseManualTime();
  };
#define BENCH_ORDERS(family, six, pieces)                                       \
  add(family "/" #pieces "/in_order", Case<six, pieces, order::in_order>::run); \
  add(family "/" #pieces "/reversed", Case<six, pieces, order::reversed>::run); \
  add(family "/" #pieces "/random", Case<six, pieces, order::random>::run);     \
  add(family "/" #pieces "/interleaved", Case<six, pieces, order::interleaved>::run);
  BENCH_ORDERS("ipv4", false, 2)
  BENCH_ORDERS("ipv4", false, 8)
  BENCH_ORDERS("ipv6", true, 2)
  BENCH_ORDERS("ipv6", true, 8)
#undef BENCH_ORDERS
}

}  // namespace bench

#endif
