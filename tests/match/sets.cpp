// SPDX-License-Identifier: MIT
// Sets against plain reference models, under random operations.
#include <doctest/doctest.h>

#include <bitset>
#include <cstdint>
#include <set>
#include <utility>

#include <runnel/match.hpp>

using namespace runnel;

namespace {

// The same numbers everywhere (splitmix64).
struct random_numbers {
  std::uint64_t state;
  std::uint32_t operator()() {
    std::uint64_t v = state += 0x9e37'79b9'7f4a'7c15;
    v = (v ^ v >> 30) * 0xbf58'476d'1ce4'e5b9;
    v = (v ^ v >> 27) * 0x94d0'49bb'1331'11eb;
    return static_cast<std::uint32_t>(v >> 32);
  }
};

ipv4_address v4(std::uint32_t v) { return ipv4_address{v}; }

bool covers(const std::pair<std::uint32_t, unsigned>& p, std::uint32_t a) {
  return p.second == 0 || (p.first ^ a) >> (32 - p.second) == 0;
}

}  // namespace

TEST_CASE("a constant set contains its values and no other, whichever way it looks them up") {
  constexpr constant_set close{22, 80, 25};
  constexpr constant_set few{22, 80, 443, 8080};
  constexpr constant_set many{1, 3000, 77, 5000, 12, 65535, 0, 443, 444, 445, 9999};
  static_assert(close.contains(22) && close.contains(25) && close.contains(80) && !close.contains(23) &&
                !close.contains(0));
  static_assert(!close.contains(86) && !close.contains(22 + 64) && !close.contains(-1));
  bool same = true;
  for (int i = -1; i <= 65536; ++i) {
    same &= few.contains(i) == (i == 22 || i == 80 || i == 443 || i == 8080);
    same &= many.contains(i) == (i == 1 || i == 3000 || i == 77 || i == 5000 || i == 12 || i == 65535 || i == 0 ||
                                 i == 443 || i == 444 || i == 445 || i == 9999);
  }
  CHECK(same);
  constexpr constant_set hosts{ipv6_address{1, 2}, ipv6_address{1, 1}, ipv6_address{0, 2}};
  static_assert(hosts.contains({1, 1}) && hosts.contains({0, 2}) && !hosts.contains({0, 1}));
  constexpr constant_set one{ipv4_address{10, 0, 0, 1}};
  static_assert(one.contains({10, 0, 0, 1}) && !one.contains({10, 0, 0, 2}));
  constexpr constant_set far{0, 63}, farther{0, 64};
  static_assert(far.contains(63) && !far.contains(64) && farther.contains(64) && !farther.contains(63));
  constexpr constant_set twice{5, 5, 5};
  static_assert(twice.contains(5) && !twice.contains(4));
}

TEST_CASE("a hash set behaves like std::set that refuses what is beyond its capacity") {
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    hash_set_of<ipv4_address, 40> ours{"ours", seed};
    std::set<std::uint32_t> model;
    random_numbers random{seed};
    for (int step = 0; step < 1000; ++step) {
      const std::uint32_t v = random() % 100;
      if (random() % 5 < 3) {
        const bool fits = model.count(v) != 0 || model.size() < ours.capacity();
        CHECK(ours.insert(v4(v)) == fits);
        if (fits) model.insert(v);
      } else {
        CHECK(ours.erase(v4(v)) == (model.erase(v) != 0));
      }
      REQUIRE(ours.size() == model.size());
      bool same = true;
      for (std::uint32_t i = 0; i < 100; ++i) same &= ours.contains(v4(i)) == (model.count(i) != 0);
      REQUIRE(same);
    }
    std::set<std::uint32_t> seen;
    ours.for_each([&](ipv4_address a) { CHECK(seen.insert(a.value()).second); });
    CHECK(seen == model);
  }
}

TEST_CASE("a hash set of any capacity holds as many values as it promised") {
  static_assert(hash_set<std::uint16_t>::slots_for(1) == 2);
  for (std::size_t n = 1; n < 2000; ++n) {
    const std::size_t slots = hash_set<std::uint16_t>::slots_for(n);
    CHECK(slots >= n + 1);
    CHECK(slots <= 3 * n + 1);
  }
  hash_set<mac_address>::slot memory[13];  // of which 8 are used
  hash_set<mac_address> few{"few", memory, 13, 99};
  CHECK(few.capacity() == 5);
  for (std::uint8_t i = 0; i < 5; ++i) CHECK(few.insert({{i, 0, 0, 0, 0, 1}}));
  CHECK_FALSE(few.insert({{9, 0, 0, 0, 0, 1}}));
  CHECK(few.insert({{4, 0, 0, 0, 0, 1}}));
  hash_set_of<ipv6_address, 100> many{"many"};
  for (std::uint64_t i = 0; i < 100; ++i) CHECK(many.insert({i, i * i}));
  for (std::uint64_t i = 0; i < 100; ++i) {
    CHECK(many.contains({i, i * i}));
    CHECK_FALSE(many.contains({i, i * i + 1}));
  }
}

TEST_CASE("a prefix set finds the longest prefix, like a linear search does") {
  for (unsigned seed = 0; seed < 10; ++seed) {
    prefix_set_of<ipv4_address, 60> ours{"ours", seed};
    std::set<std::pair<std::uint32_t, unsigned>> model;
    random_numbers random{seed};
    // Addresses that share many bits, so that prefixes nest.
    const auto address = [&] { return (random() & 0x81c1'8183u) | 0x0a00'0000u; };
    for (int step = 0; step < 500; ++step) {
      const unsigned length = random() % 8 == 0 ? random() % 33 : 8 + random() % 4 * 8;
      const std::uint32_t a = address();
      const std::uint32_t cut = length == 0 ? 0 : a >> (32 - length) << (32 - length);
      if (random() % 5 < 3) {
        const bool fits = model.count({cut, length}) != 0 || model.size() < ours.capacity();
        CHECK(ours.insert(ipv4_prefix{v4(a), length}) == fits);
        if (fits) model.insert({cut, length});
      } else {
        CHECK(ours.erase(ipv4_prefix{v4(a), length}) == (model.erase({cut, length}) != 0));
      }
      REQUIRE(ours.size() == model.size());
      for (int i = 0; i < 20; ++i) {
        const std::uint32_t looked_up = i == 0 ? random() : address();
        int longest = -1;
        for (const auto& p : model)
          if (covers(p, looked_up) && static_cast<int>(p.second) > longest) longest = static_cast<int>(p.second);
        REQUIRE(ours.longest(v4(looked_up)) == longest);
        REQUIRE(ours.contains(v4(looked_up)) == (longest >= 0));
      }
    }
  }
}

TEST_CASE("IPv6 prefixes of every length cover what agrees with them in so many bits") {
  const ipv6_address a{0x2001'0db8'1234'5678, 0x9abc'def0'1122'3344};
  for (unsigned length = 0; length <= 128; ++length) {
    prefix_set_of<ipv6_address, 1> one{"one"};
    REQUIRE(one.insert(ipv6_prefix{a, length}));
    CHECK(one.longest(a) == static_cast<int>(length));
    bool same = true;
    for (unsigned bit = 0; bit < 128; ++bit) {
      const ipv6_address other{a.high() ^ (bit < 64 ? std::uint64_t{1} << (63 - bit) : 0),
                               a.low() ^ (bit >= 64 ? std::uint64_t{1} << (127 - bit) : 0)};
      same &= one.contains(other) == (bit >= length);
    }
    CHECK(same);
    CHECK_FALSE(one.insert(net("10.0.0.0/8")));
    CHECK(one.erase(prefix::v6(a, length)));
    CHECK_FALSE(one.contains(a));
  }
}

TEST_CASE("an interval set behaves like a bit for each value, and merges neighbours") {
  for (unsigned seed = 0; seed < 10; ++seed) {
    interval_set<std::uint8_t, 12> ours{"ours"};
    std::bitset<256> model;
    random_numbers random{seed};
    const auto intervals = [](const std::bitset<256>& b) {
      std::size_t n = 0;
      for (std::size_t i = 0; i < 256; ++i) n += b[i] && (i == 0 || !b[i - 1]) ? 1u : 0u;
      return n;
    };
    for (int step = 0; step < 1000; ++step) {
      const auto first = static_cast<std::uint8_t>(random()), last = static_cast<std::uint8_t>(first + random() % 12);
      const bool insert = random() % 2 == 0;
      std::bitset<256> after = model;
      for (unsigned i = first; i <= last; ++i) after[i] = insert;
      const bool fits = first <= last && intervals(after) <= ours.capacity();
      CHECK((insert ? ours.insert(first, last) : ours.erase(first, last)) == fits);
      if (fits) model = after;
      REQUIRE(ours.size() == intervals(model));
      bool same = true;
      for (unsigned i = 0; i < 256; ++i) same &= ours.contains(static_cast<std::uint8_t>(i)) == model[i];
      REQUIRE(same);
    }
  }
}

TEST_CASE("an interval set is known to the compiler when its ranges are") {
  static constexpr interval_set<std::uint16_t, 3> ports{"ports", range(80, 90), range(22, 22), range(91, 95)};
  static_assert(ports.size() == 2);
  static_assert(ports.contains(22) && ports.contains(95) && !ports.contains(96) && !ports.contains(79));
  static constexpr interval_set<ipv6_address, 2> edge{"edge", range(ipv6_address{0, ~0ull}, ipv6_address{1, 0}),
                                                      range(ipv6_address{1, 1}, ipv6_address{~0ull, ~0ull})};
  static_assert(edge.size() == 1);
  static_assert(edge.contains({0, ~0ull}) && edge.contains({~0ull, ~0ull}) && !edge.contains({0, ~0ull - 1}));
}
