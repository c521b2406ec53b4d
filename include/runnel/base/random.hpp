// SPDX-License-Identifier: MIT
// A random generator from a seed, the same numbers on every machine: for simulated wires, tests, jitter. Not for
// secrets. xoshiro256**, seeded by splitmix64 (Blackman and Vigna, https://prng.di.unimi.it).
#ifndef RUNNEL_BASE_RANDOM_HPP
#define RUNNEL_BASE_RANDOM_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint32_t, uint64_t

#include <runnel/base/bytes.hpp>
#include <runnel/config.hpp>

namespace runnel {

/// Whoever needs randomness takes one of these as an argument, or a seed. 32 bytes; a number costs about a nanosecond.
/// Anybody who sees a few numbers can tell all the others.
class random_generator {
 public:
  /// Any seed is as good as any other, 0 too; neighbouring ones give unrelated numbers.
  constexpr explicit random_generator(std::uint64_t seed) noexcept {
    for (std::uint64_t& s : state_) {
      seed += 0x9e37'79b9'7f4a'7c15;
      std::uint64_t z = seed;
      z = (z ^ z >> 30) * 0xbf58'476d'1ce4'e5b9;
      z = (z ^ z >> 27) * 0x94d0'49bb'1331'11eb;
      s = z ^ z >> 31;
    }
  }
  /// 64 random bits.
  constexpr std::uint64_t next() noexcept {
    const std::uint64_t drawn = rotate(state_[1] * 5, 7) * 9;
    const std::uint64_t t = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= t;
    state_[3] = rotate(state_[3], 45);
    return drawn;
  }
  /// A number from 0 to `n - 1`, each as likely as any other; 0 when `n` is 0. Draws again while the number would
  /// favour some of them, which is less than once on average.
  constexpr std::uint64_t below(std::uint64_t n) noexcept {
    if (n <= 1) return 0;
    if (n <= 0xffff'ffff) {
      // Lemire, "Fast random integer generation in an interval": the upper half of a product, and only the products
      // of an incomplete lap are refused.
      const auto bound = static_cast<std::uint32_t>(n);
      std::uint64_t product = (next() >> 32) * bound;
      if (static_cast<std::uint32_t>(product) < bound) {
        const std::uint32_t refused = (0u - bound) % bound;
        while (static_cast<std::uint32_t>(product) < refused) product = (next() >> 32) * bound;
      }
      return product >> 32;
    }
    const std::uint64_t mask = ~std::uint64_t{0} >> __builtin_clzll(n - 1);
    std::uint64_t v = next() & mask;
    while (v >= n) v = next() & mask;
    return v;
  }
  /// True `per_million` times in a million. 0 is never and 1'000'000 always; neither draws a number.
  constexpr bool chance(std::uint32_t per_million) noexcept {
    if (per_million == 0) return false;
    return per_million >= 1'000'000 || below(1'000'000) < per_million;
  }
  /// Random bytes.
  constexpr void fill(mutable_bytes to) noexcept {
    std::uint64_t v = 0;
    for (std::size_t i = 0; i < to.size(); ++i, v >>= 8) {
      if (i % 8 == 0) v = next();
      to[i] = static_cast<std::byte>(v & 0xff);
    }
  }

 private:
  static constexpr std::uint64_t rotate(std::uint64_t v, unsigned by) noexcept { return v << by | v >> (64 - by); }

  std::uint64_t state_[4] = {};
};

}  // namespace runnel

#endif
