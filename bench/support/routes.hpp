// SPDX-License-Identifier: MIT
// A table as large as the internet's, and the addresses that are asked for: the same for ours and for all rivals.
//
// Lengths are those of the BGP tables of 2024, in ten thousandths. IPv4: a million routes in a third of the /12 of
// unicast space, since allocations cluster. IPv6: 220,000 routes; longer ones lie in allocations of /29 to /32, low
// subnet numbers more often than high ones.
#ifndef BENCH_SUPPORT_ROUTES_HPP
#define BENCH_SUPPORT_ROUTES_HPP

#include <cmath>          // pow
#include <cstddef>        // size_t
#include <cstdint>        // uint16_t, uint32_t, uint64_t
#include <unordered_map>  // unordered_map
#include <unordered_set>  // unordered_set
#include <vector>         // vector

#include <benchmark/benchmark.h>

namespace bench {

struct wide_address {
  std::uint64_t high, low;
};
struct route4 {
  std::uint32_t address;
  unsigned length;
  std::uint16_t next_hop;
};
struct route6 {
  std::uint64_t high;
  unsigned length;
  std::uint16_t next_hop;
};

// splitmix64 as a sequence.
class numbers {
 public:
  explicit numbers(std::uint64_t seed) : state_(seed) {}
  std::uint64_t operator()() {
    std::uint64_t z = (state_ += 0x9e37'79b9'7f4a'7c15u);
    z = (z ^ z >> 30) * 0xbf58'476d'1ce4'e5b9u;
    z = (z ^ z >> 27) * 0x94d0'49bb'1331'11ebu;
    return z ^ z >> 31;
  }
  // 0 to n - 1, the small ones more often: Zipf's law with exponent 1.
  std::uint32_t zipf(std::uint32_t n) {
    const double u = static_cast<double>((*this)() >> 11) / 9007199254740992.0;
    return static_cast<std::uint32_t>(std::pow(static_cast<double>(n), u) - 0.5) % n;
  }

 private:
  std::uint64_t state_;
};

inline std::vector<route4> internet4(std::size_t n) {
  constexpr unsigned lengths[33] = {0,  0,   0,   0,   0,   0,    0,    0,    0,  0,  1,  1,  3,  6, 12, 21, 140,
                                    85, 145, 260, 450, 520, 1150, 1080, 6046, 20, 20, 10, 10, 10, 5, 2,  2};
  numbers r{7};
  const auto address = [&] {
    for (;;) {
      const auto a = static_cast<std::uint32_t>(r());
      const std::uint32_t first = a >> 24;
      if (first != 0 && first != 10 && first != 127 && first < 224 && ((a >> 20) * 2654435761u) % 3 == 0) return a;
    }
  };
  std::vector<route4> routes;
  std::unordered_set<std::uint64_t> seen;
  for (unsigned length = 8; length <= 32; ++length)
    for (std::size_t k = 0; k < n * lengths[length] / 10000;) {
      const std::uint32_t a = address() & static_cast<std::uint32_t>(~std::uint64_t{0} << (32 - length));
      if (!seen.insert(std::uint64_t{a} << 8 | length).second) continue;
      routes.push_back({a, length, static_cast<std::uint16_t>(r() % 250 + 1)});
      ++k;
    }
  return routes;
}
inline std::vector<route6> internet6(std::size_t n) {
  constexpr unsigned lengths[][2] = {{19, 1},    {20, 2},  {22, 1},    {24, 5},   {26, 2},    {28, 20},  {29, 220},
                                     {30, 30},   {31, 20}, {32, 1200}, {33, 200}, {34, 120},  {35, 80},  {36, 350},
                                     {37, 40},   {38, 90}, {39, 60},   {40, 950}, {41, 60},   {42, 170}, {43, 40},
                                     {44, 1150}, {45, 60}, {46, 250},  {47, 150}, {48, 4600}, {56, 60},  {64, 69}};
  numbers r{7};
  std::vector<route6> routes;
  std::unordered_set<std::uint64_t> seen;
  std::vector<std::uint64_t> allocated;
  for (const auto& [length, share] : lengths) {
    const std::size_t want = n * share / 10000;
    for (std::size_t k = 0, tries = 0; k < want && tries < want * 20 + 4000; ++tries) {
      const std::uint64_t x = r();
      std::uint64_t high = 0;
      if (length <= 32) {
        high = (0x20000 + (x & 63) * 0x311) << 44 | r() >> 20;
      } else {
        const std::uint64_t u = r() >> 32;
        high = allocated[x % allocated.size()] | (u * u >> (64 - (length - 32))) << (64 - length);
      }
      high &= ~std::uint64_t{0} << (64 - length);
      if (!seen.insert(high | length).second) continue;
      if (length >= 29 && length <= 32) allocated.push_back(high);
      routes.push_back({high, length, static_cast<std::uint16_t>(r() % 250 + 1)});
      ++k;
    }
  }
  return routes;
}

// Which addresses: of random routes, of the whole unicast space, or of 10,000 places, some much more often than others.
enum class mix { routes, space, local };

constexpr std::size_t asked = 1u << 21;

inline std::vector<std::uint32_t> addresses4(const std::vector<route4>& routes, mix kind) {
  std::vector<std::uint32_t> all(asked);
  numbers r{99};
  const auto inside = [&](numbers& from) {
    const route4& route = routes[from() % routes.size()];
    return route.address | static_cast<std::uint32_t>(from() & ((std::uint64_t{1} << (32 - route.length)) - 1));
  };
  for (std::uint32_t& a : all) {
    numbers place{1234 + r.zipf(10'000)};
    a = kind == mix::local    ? inside(place)
        : kind == mix::routes ? inside(r)
                              : 0x0100'0000 + static_cast<std::uint32_t>(r() % 0xdf00'0000);
  }
  return all;
}
inline std::vector<wide_address> addresses6(const std::vector<route6>& routes, mix kind) {
  std::vector<wide_address> all(asked);
  numbers r{5};
  for (wide_address& a : all) {
    numbers place{kind == mix::local ? 77 + r.zipf(10'000) : r()};
    const route6& route = routes[place() % routes.size()];
    const std::uint64_t host = place();
    const std::uint64_t mask = ~std::uint64_t{0} << (64 - route.length);
    a = {route.high | (host & ~mask), place()};
  }
  return all;
}

// What a table has to find, by hand: one set of prefixes for each length, asked from the longest on.
inline std::uint64_t expected4(const std::vector<route4>& routes, const std::vector<std::uint32_t>& all) {
  std::unordered_map<std::uint32_t, std::uint16_t> by_length[33];
  for (const route4& r : routes) by_length[r.length].emplace(r.address, r.next_hop);
  std::uint64_t sum = 0;
  for (const std::uint32_t a : all)
    for (unsigned length = 32; length != 0; --length) {
      const auto found = by_length[length].find(a & ~std::uint32_t{0} << (32 - length));
      if (found == by_length[length].end()) continue;
      sum += found->second;
      break;
    }
  return sum;
}
inline std::uint64_t expected6(const std::vector<route6>& routes, const std::vector<wide_address>& all) {
  std::unordered_map<std::uint64_t, std::uint16_t> by_length[65];
  for (const route6& r : routes) by_length[r.length].emplace(r.high, r.next_hop);
  std::uint64_t sum = 0;
  for (const wide_address& a : all)
    for (unsigned length = 64; length != 0; --length) {
      if (by_length[length].empty()) continue;
      const auto found = by_length[length].find(a.high & ~std::uint64_t{0} << (64 - length));
      if (found == by_length[length].end()) continue;
      sum += found->second;
      break;
    }
  return sum;
}

// Bursts of 32: `look(first of 32)` gives the sum of their next hops, which every table has to find the same.
template <class Address, class Look>
void measure(benchmark::State& state, const std::vector<Address>& all, std::uint64_t expected, Look look) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < asked; i += 32) sum += look(all.data() + i);
  if (sum != expected) return state.SkipWithError("finds the wrong next hops");
  std::size_t at = 0;
  for (auto _ : state) {
    sum += look(all.data() + at);
    at = (at + 32) % asked;
  }
  benchmark::DoNotOptimize(sum);
  state.SetItemsProcessed(state.iterations() * 32);
}

}  // namespace bench

#endif
