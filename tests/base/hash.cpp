// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <random>
#include <set>
#include <vector>

#include <runnel/base/hash.hpp>
#include <runnel/base/numeric.hpp>

namespace {

using namespace runnel;

constexpr std::byte letters[] = {std::byte{'r'}, std::byte{'u'}, std::byte{'n'},
                                 std::byte{'n'}, std::byte{'e'}, std::byte{'l'}};
static_assert(mix(0) == 0);
static_assert(mix(1) == 0x5692'161d'100b'05e5);
static_assert(hash_bytes(bytes{letters}, 1) != hash_bytes(bytes{letters}, 2));
static_assert(hash_bytes(bytes{letters}.first(5), 1) != hash_bytes(bytes{letters}, 1));

// How far from one half the probability is, at worst, that a flipped bit of a key flips a bit of its hash.
template <class Hash>
double worst_bias(std::size_t key_size, int samples, Hash hash) {
  std::mt19937_64 random{11};
  std::vector<int> flips(key_size * 8 * 64);
  std::vector<std::byte> key(key_size);
  for (int s = 0; s < samples; ++s) {
    for (std::byte& b : key) b = static_cast<std::byte>(random());
    const std::uint64_t before = hash(key);
    for (std::size_t bit = 0; bit < key_size * 8; ++bit) {
      key[bit / 8] ^= static_cast<std::byte>(1u << bit % 8);
      const std::uint64_t changed = before ^ hash(key);
      key[bit / 8] ^= static_cast<std::byte>(1u << bit % 8);
      for (std::size_t out = 0; out < 64; ++out) flips[bit * 64 + out] += static_cast<int>(changed >> out & 1);
    }
  }
  double worst = 0;
  for (const int f : flips) worst = (std::max)(worst, std::fabs(static_cast<double>(f) / samples - 0.5));
  return worst;
}

TEST_CASE("every bit of a key changes every bit of its hash with a probability close to one half") {
  // With 2000 samples, chance alone gives a deviation of 0.011; 5 of these are 0.056.
  CHECK(worst_bias(8, 2000,
                   [](const std::vector<std::byte>& k) { return mix(detail::load<std::uint64_t>(k.data())); }) < 0.06);
  for (const std::size_t n : {2u, 3u, 4u, 5u, 7u, 8u, 9u, 13u, 16u, 17u, 23u, 24u, 37u, 40u}) {
    CAPTURE(n);
    CHECK(worst_bias(n, 2000, [](const std::vector<std::byte>& k) { return hash_bytes(k, 99); }) < 0.06);
  }
}

TEST_CASE("keys that differ in little spread evenly over a table, by low bits and by high bits") {
  // Addresses and ports as they come: counting up. 65536 keys into 4096 places: chi-square of 4095 degrees of
  // freedom is 4095 give or take 90.
  struct flow {
    std::uint32_t source, destination;
    std::uint16_t sport, dport;
  };
  for (const std::uint64_t seed : {0ull, 1ull, 0xdead'beef'0000'0001ull}) {
    std::vector<double> low(4096), high(4096);
    for (std::uint32_t i = 0; i < 65536; ++i) {
      const flow f{0x0a00'0000 + (i & 0xff), 0x0808'0808, static_cast<std::uint16_t>(1024 + (i >> 8)), 443};
      const std::uint64_t h = hash_key(f, seed);
      low[h & 4095] += 1;
      high[spread_over(static_cast<std::uint32_t>(h >> 32), 4096)] += 1;
    }
    for (const auto& table : {low, high}) {
      double chi = 0;
      for (const double n : table) chi += (n - 16) * (n - 16) / 16;
      CHECK(chi > 4095 - 6 * 91);
      CHECK(chi < 4095 + 6 * 91);
    }
  }
}

TEST_CASE("a hash depends on every byte, on the length and on the seed, and reads nothing else") {
  std::set<std::uint64_t> seen;
  std::vector<std::byte> key(100);  // zeros only: the lengths must tell them apart
  for (std::size_t n = 0; n <= 100; ++n) CHECK(seen.insert(hash_bytes(bytes{key.data(), n}, 5)).second);
  for (std::size_t n = 1; n <= 64; ++n) {
    for (std::size_t at = 0; at < n; ++at) {
      std::vector<std::byte> changed(n);
      changed[at] = std::byte{1};
      CHECK(seen.insert(hash_bytes(changed, 5)).second);
    }
  }
  for (std::uint64_t seed = 6; seed < 100; ++seed) CHECK(seen.insert(hash_bytes(bytes{key.data(), 13}, seed)).second);
  // In memory of exactly its size, for the address sanitizer to watch.
  for (std::size_t n = 0; n < 70; ++n) {
    const std::vector<std::byte> exact(n, std::byte{3});
    CHECK(hash_bytes(exact, 1) == hash_bytes(exact, 1));
  }
}

TEST_CASE("the forms of the key hash agree") {
  struct two {
    std::uint64_t a, b;
  };
  const two k{0x0123'4567'89ab'cdef, 42};
  CHECK(hash_words(k.a, k.b, 7) == hash_key(k, 7));
  CHECK(hash_bytes(bytes{reinterpret_cast<const std::byte*>(&k), sizeof k}, 7) == hash_key(k, 7));
}

TEST_CASE("mixing never makes two numbers one") {
  std::set<std::uint64_t> seen;
  for (std::uint64_t i = 0; i < 2000; ++i) {
    CHECK(seen.insert(mix(i)).second);
    if (i != 0) CHECK(seen.insert(mix(i << 40)).second);
  }
}

}  // namespace
