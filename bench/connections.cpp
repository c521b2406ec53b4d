// SPDX-License-Identifier: MIT
// A million connections: made, found again from a packet's tuple in random order, one by one and 32 at a time, and
// expired, listed, exported and imported. The bound is a table of nothing but keys and numbers, four to a cache line,
// that forgets nothing.
#include <cstring>  // memcpy
#include <memory>   // unique_ptr

#include <emmintrin.h>

#include <benchmark/benchmark.h>

#include <runnel/track/connection_table.hpp>
#include <runnel/track/export.hpp>
#include <runnel/track/list.hpp>

#include "support/connections.hpp"
#include "support/memory.hpp"

namespace {

using namespace bench;

constexpr connection_config config{
    .connections = 1 << 20, .ipv6_connections = 0, .unconfirmed = 64, .seed = 0x1234'5678'9abc'def0};

struct fixture {
  paged_memory memory{connection_table::bytes_needed(config)};
  connection_table table{{memory.data(), connection_table::bytes_needed(config)}, config};

  void fill() {
    const auto& all = million_connections::get().tuples;
    for (std::size_t i = 0; i < all.size(); i += 32) make(&all[i], {});
  }
  // Of 32 tuples that have none yet.
  void make(const connection_tuple* t, instant when) {
    connection_word words[32];
    table.find_or_insert(t, 32, words, when);
    for (const connection_word w : words)
      if (w.state() != new_ || !w.has_connection() || !table.confirm(table[w.number()], when)) std::abort();
  }
  static fixture& get() {
    static const std::unique_ptr<fixture> made = std::make_unique<fixture>();
    return *made;
  }
};

void find(benchmark::State& state) {
  fixture& f = fixture::get();
  if (f.table.size() == 0) f.fill();
  million_connections::get().measure(state, [&](const connection_tuple* t) {
    std::size_t found = 0;
    for (std::size_t i = 0; i < 32; ++i) found += f.table.find(t[i], {}).has_connection();
    return found;
  });
}
void find_burst(benchmark::State& state) {
  fixture& f = fixture::get();
  if (f.table.size() == 0) f.fill();
  million_connections::get().measure(state, [&](const connection_tuple* t) {
    connection_word words[32];
    f.table.find(t, 32, words, {});
    std::size_t found = 0;
    for (const connection_word w : words) found += w.has_connection();
    return found;
  });
}
// The number of a connection only, without a look at it: what the rivals' tables of numbers do.
void find_number(benchmark::State& state) {
  fixture& f = fixture::get();
  if (f.table.size() == 0) f.fill();
  million_connections::get().measure(state, [&](const connection_tuple* t) {
    connection_word words[32];
    f.table.find_numbers(t, 32, words);
    std::size_t found = 0;
    for (const connection_word w : words) found += w.has_connection();
    return found;
  });
}
void insert(benchmark::State& state) {
  fixture& f = fixture::get();
  for (auto _ : state) {
    f.table.clear();
    const auto begin = now();
    f.fill();
    state.SetIterationTime(seconds_since(begin));
  }
  state.SetItemsProcessed(state.iterations() * million_connections::count);
}
void expire(benchmark::State& state) {
  fixture& f = fixture::get();
  for (auto _ : state) {
    f.table.clear();
    f.fill();
    const auto begin = now();
    while (f.table.size() != 0) f.table.expire(instant{} + seconds(1000));
    state.SetIterationTime(seconds_since(begin));
  }
  state.SetItemsProcessed(state.iterations() * million_connections::count);
}
// Each packet is the first of a connection: it is looked for, made, confirmed; old ones go when there are a million.
void stream(benchmark::State& state) {
  fixture& f = fixture::get();
  const auto& all = million_connections::get().tuples;
  std::int64_t ms = 0;
  for (auto _ : state) {
    f.table.clear();
    const auto begin = now();
    for (std::size_t i = 0; i + 32 <= all.size(); i += 32) {
      const instant t = instant{} + milliseconds(++ms);
      f.make(&all[i], t);
      f.table.expire(t, 64);
    }
    state.SetIterationTime(seconds_since(begin));
    ms += 1'000'000;
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(all.size() / 32 * 32));
}

// What a person asks for: all of them as text, a line each, as `conntrack -L` has them.
void list(benchmark::State& state) {
  fixture& f = fixture::get();
  if (f.table.size() == 0) f.fill();
  std::size_t bytes = 0;
  for (auto _ : state)
    f.table.for_each([&](const connection& c) {
      text<256> line;
      print(line, f.table, c, {});
      bytes += line.size();
    });
  if (bytes == 0) state.SkipWithError("lists nothing");
  state.SetItemsProcessed(state.iterations() * million_connections::count);
}
// What a restart costs: all of them written down, and made again from that.
void export_all(benchmark::State& state) {
  fixture& f = fixture::get();
  if (f.table.size() == 0) f.fill();
  const paged_memory to(export_size(f.table));
  for (auto _ : state)
    if (export_connections(f.table, {to.data(), export_size(f.table)}, {}) == 0) state.SkipWithError("does not fit");
  state.SetItemsProcessed(state.iterations() * million_connections::count);
}
void import_all(benchmark::State& state) {
  fixture& f = fixture::get();
  if (f.table.size() == 0) f.fill();
  const paged_memory to(export_size(f.table));
  const std::size_t size = export_connections(f.table, {to.data(), export_size(f.table)}, {});
  for (auto _ : state) {
    f.table.clear();
    const auto begin = now();
    const auto done = import_connections(f.table, {to.data(), size}, {});
    state.SetIterationTime(seconds_since(begin));
    if (!done || done->imported != million_connections::count) state.SkipWithError("does not bring all back");
  }
  state.SetItemsProcessed(state.iterations() * million_connections::count);
}

// ---- the bound: a line of four keys of 13 bytes with a number of three

class line_table {
 public:
  explicit line_table(std::size_t n) : memory_(lines_for(n) * 64), mask_(lines_for(n) - 1) {}
  void insert(const connection_tuple& t, std::uint32_t value) {
    for (std::size_t line = home(t);; line = (line + 1) & mask_)
      for (std::size_t i = 0; i < 4; ++i) {
        std::byte* const p = memory_.data() + line * 64 + i * 16;
        std::uint64_t w[2];
        std::memcpy(w, p, 16);
        if (w[1] >> 40 != 0) continue;
        w[0] = t.addresses4();
        w[1] = t.rest() >> 24 | std::uint64_t{value + 1} << 40;
        std::memcpy(p, w, 16);
        return;
      }
  }
  void prefetch(std::size_t line) const { prefetch_to_read(memory_.data() + line * 64); }
  std::size_t home(const connection_tuple& t) const {
    return runnel::detail::multiply_fold(t.addresses4() ^ runnel::detail::hash_a,
                                         t.rest() >> 24 ^ runnel::detail::hash_b) &
           mask_;
  }
  bool contains(const connection_tuple& t, std::size_t line) const {
    const __m128i key = _mm_set_epi64x(static_cast<long long>(t.rest() >> 24), static_cast<long long>(t.addresses4()));
    for (;; line = (line + 1) & mask_) {
      const std::byte* const p = memory_.data() + line * 64;
      int found = 0;
      for (int i = 0; i < 4; ++i) {
        const __m128i held = _mm_load_si128(reinterpret_cast<const __m128i*>(p + i * 16));
        found |= ((_mm_movemask_epi8(_mm_cmpeq_epi8(held, key)) & 0x1fff) == 0x1fff ? 1 : 0) << i;
      }
      if (found != 0) return true;
      std::uint64_t last;
      std::memcpy(&last, p + 56, 8);
      if (last >> 40 == 0) return false;
    }
  }

 private:
  static std::size_t lines_for(std::size_t n) {
    std::size_t lines = 1;
    while (lines < n / 2) lines *= 2;
    return lines;
  }
  paged_memory memory_;
  std::size_t mask_;
};
void bound(benchmark::State& state) {
  static const std::unique_ptr<const line_table> table = [] {
    auto made = std::make_unique<line_table>(million_connections::count);
    std::uint32_t i = 0;
    for (const connection_tuple& t : million_connections::get().tuples) made->insert(t, i++);
    return made;
  }();
  million_connections::get().measure(state, [&](const connection_tuple* t) {
    std::size_t lines[32];
    for (std::size_t i = 0; i < 32; ++i) table->prefetch(lines[i] = table->home(t[i]));
    std::size_t found = 0;
    for (std::size_t i = 0; i < 32; ++i) found += table->contains(t[i], lines[i]);
    return found;
  });
}

BENCHMARK(find)->Name("connections/find/ours");
BENCHMARK(find_burst)->Name("connections/find/ours_burst");
BENCHMARK(find_number)->Name("connections/find/ours_number");
BENCHMARK(bound)->Name("connections/find/by_hand");
BENCHMARK(insert)->Name("connections/insert/ours")->UseManualTime();
BENCHMARK(expire)->Name("connections/expire/ours")->UseManualTime();
BENCHMARK(stream)->Name("connections/stream/ours")->UseManualTime();
BENCHMARK(list)->Name("connections/list/ours");
BENCHMARK(export_all)->Name("connections/export/ours");
BENCHMARK(import_all)->Name("connections/import/ours")->UseManualTime();

}  // namespace
