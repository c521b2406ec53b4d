// SPDX-License-Identifier: MIT
// Fuzz target: routes of both families that come, change and go, in every kind of table at once, against a list that is
// searched from its beginning to its end.
//
// The input is a list of steps of eight bytes: what to do, the length of the prefix, the next hop, and five that choose
// an address among those that differ in few bits.
#include <cstddef>
#include <cstdint>
#include <tuple>
#include <utility>
#include <vector>

#include <runnel/ip/compact_trie.hpp>
#include <runnel/ip/dir_16_16.hpp>
#include <runnel/ip/dir_24_8.hpp>
#include <runnel/ip/sorted_routes.hpp>

#include "check.hpp"

namespace {

using namespace runnel;

constexpr std::size_t most = 64;

template <class F>
struct with_memory {
  std::vector<std::byte> memory;
  F table;
  with_memory() : memory(F::bytes_for(64 * most) + F::alignment), table(aligned()) {}
  mutable_bytes aligned() {
    std::byte* at = memory.data();
    while (reinterpret_cast<std::uintptr_t>(at) % F::alignment != 0) ++at;
    return {at, F::bytes_for(64 * most)};
  }
};
template <class Address>
struct with_memory<sorted_routes<Address>> {
  sorted_routes_of<Address, most> table;
};

// All tables of one family, and what is right.
template <class Address, class... Tables>
struct family {
  using route = std::pair<basic_prefix<Address>, next_hop_number>;
  std::tuple<with_memory<Tables>...> tables;
  std::vector<route> routes;

  template <class F>
  void each(F f) {
    std::apply([&](auto&... t) { (f(t.table), ...); }, tables);
  }
  next_hop_number right(const Address& a) const {
    const route* best = nullptr;
    for (const route& r : routes)
      if (r.first.contains(a) && (best == nullptr || r.first.length() > best->first.length())) best = &r;
    return best == nullptr ? no_next_hop : best->second;
  }
  void insert(const basic_prefix<Address>& p, next_hop_number hop) {
    route* there = nullptr;
    for (route& r : routes)
      if (r.first == p) there = &r;
    if (there == nullptr && routes.size() == most) return;
    if (there != nullptr) there->second = hop;
    else routes.push_back({p, hop});
    each([&](auto& t) {
      CHECK(t.insert(p, hop));
      CHECK(t.find(p) == hop);
      CHECK(t.size() == routes.size());
    });
  }
  void erase(const basic_prefix<Address>& p) {
    bool is_there = false;
    for (route& r : routes)
      if (r.first == p) {
        is_there = true;
        r = routes.back();
        routes.pop_back();
        break;
      }
    each([&](auto& t) {
      CHECK(t.erase(p) == is_there);
      CHECK(t.find(p) == no_next_hop);
    });
  }
  // Around an address, one by one and in a burst with some more.
  void look(const Address& a, Address (*near)(const Address&, std::uint32_t)) {
    Address asked[35];
    next_hop_number expected[35];
    for (std::uint32_t i = 0; i < 35; ++i) {
      asked[i] = i == 0 ? a : near(a, i);
      expected[i] = right(asked[i]);
    }
    each([&](auto& t) {
      next_hop_number answers[35];
      t.lookup(asked, answers, 35);
      for (std::size_t i = 0; i < 35; ++i) CHECK(answers[i] == expected[i]);
      CHECK(t.lookup(a) == expected[0]);
    });
  }
  void empty() {
    while (!routes.empty()) erase(routes.back().first);
    each([](auto& t) { CHECK(t.size() == 0); });
  }
};

ipv4_address four(const std::uint8_t* at) {
  return ipv4_address{(at[0] & 3u) << 24 | (at[1] & 3u) << 16 | (at[2] & 3u) << 8 | at[3]};
}
ipv6_address six(const std::uint8_t* at) {
  const std::uint64_t high = std::uint64_t{0x2000u | (at[0] & 1u)} << 48 | std::uint64_t{at[1] & 0x81u} << 32 |
                             std::uint64_t{at[2]} << 20 | (std::uint64_t{at[3]} * 0x11) << 8;
  return {high, std::uint64_t{at[4]} << 56 | at[4]};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // Made once: tables of 32 MiB are. Each input ends with none of them holding a route.
  static family<ipv4_address, compact_trie<ipv4_address>, dir_24_8, sorted_routes<ipv4_address>> v4;
  static family<ipv6_address, compact_trie<ipv6_address>, dir_16_16, sorted_routes<ipv6_address>> v6;
  for (; size >= 8; data += 8, size -= 8) {
    // Prefixes of few bits write much of a large table: they are left to the tests.
    const auto hop = static_cast<next_hop_number>(data[2]);
    const ipv4_address a4 = four(data + 3);
    const ipv6_address a6 = six(data + 3);
    const ipv4_prefix p4{a4, 14u + data[1] % 19u};
    const ipv6_prefix p6{a6, 24u + data[1] % 105u};
    switch (data[0] % 6) {
      case 0:
      case 1: v4.insert(p4, hop); break;
      case 2: v4.erase(p4); break;
      case 3:
      case 4: v6.insert(p6, hop); break;
      default: v6.erase(p6); break;
    }
    v4.look(a4, [](const ipv4_address& a, std::uint32_t i) { return ipv4_address{a.value() ^ 1u << i % 32 ^ i}; });
    v6.look(a6, [](const ipv6_address& a, std::uint32_t i) {
      return ipv6_address{a.high() ^ std::uint64_t{1} << (2 * i % 64), a.low() ^ i};
    });
  }
  v4.empty();
  v6.empty();
  return 0;
}
