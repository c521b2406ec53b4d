// SPDX-License-Identifier: MIT
// Hashes for tables: a 64-bit finaliser for numbers, and a hash of short keys that reads them as overlapping words.
//
// The key hash multiplies 64 by 64 bits and adds the halves of the product, as wyhash and its kin do. Every bit of
// the input reaches every bit of the output with a probability close to one half, so any bits of it may be used as a
// table index. The seed keeps somebody who does not see the hashes from choosing keys that collide; it is no
// cryptographic hash, and not to be used where an attacker can see its values (cookies, identifiers on the wire).
// The result depends on the host's byte order, and may change between versions: do not store it.
#ifndef RUNNEL_BASE_HASH_HPP
#define RUNNEL_BASE_HASH_HPP

#include <cstddef>      // byte, size_t
#include <cstdint>      // uint64_t
#include <type_traits>  // has_unique_object_representations_v

#include <runnel/base/bytes.hpp>
#include <runnel/base/endian.hpp>
#include <runnel/config.hpp>

namespace runnel {

/// Mixes 64 bits so that each bit of the input changes each bit of the output with a probability close to one half.
/// A bijection: different numbers stay different, and 0 stays 0. Two multiplications, about ten cycles of latency. The
/// constants are David Stafford's variant 13 of MurmurHash3's finaliser, as in SplitMix64.
[[nodiscard]] constexpr std::uint64_t mix(std::uint64_t x) noexcept {
  x = (x ^ x >> 30) * 0xbf58'476d'1ce4'e5b9;
  x = (x ^ x >> 27) * 0x94d0'49bb'1331'11eb;
  return x ^ x >> 31;
}

namespace detail {

// The digits of the golden ratio, of pi and of e, made odd: nothing is hidden in them.
inline constexpr std::uint64_t hash_a = 0x9e37'79b9'7f4a'7c15;
inline constexpr std::uint64_t hash_b = 0x243f'6a88'85a3'08d3;
inline constexpr std::uint64_t hash_c = 0xb7e1'5162'8aed'2a6b;

// The 128-bit product of two words, its halves xored.
[[nodiscard]] RUNNEL_INLINE constexpr std::uint64_t multiply_fold(std::uint64_t a, std::uint64_t b) noexcept {
#ifdef __SIZEOF_INT128__
  __extension__ using wide = unsigned __int128;
  const wide product = static_cast<wide>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
#else
  const std::uint64_t al = a & 0xffff'ffff, ah = a >> 32, bl = b & 0xffff'ffff, bh = b >> 32;
  const std::uint64_t low = al * bl, m1 = ah * bl, m2 = al * bh;
  const std::uint64_t middle = (low >> 32) + (m1 & 0xffff'ffff) + (m2 & 0xffff'ffff);
  const std::uint64_t high = ah * bh + (m1 >> 32) + (m2 >> 32) + (middle >> 32);
  return (middle << 32 | (low & 0xffff'ffff)) ^ high;
#endif
}

// One step over 16 bytes. A state that happens to cancel `a` forgets `b`: one in 2^64 for who does not know the seed.
[[nodiscard]] RUNNEL_INLINE constexpr std::uint64_t hash_step(std::uint64_t state, std::uint64_t a,
                                                              std::uint64_t b) noexcept {
  return multiply_fold(a ^ state, b ^ hash_b ^ (state >> 32 | state << 32));
}

// `n` bytes with a state that already knows seed and length. Inlined where `n` is a constant: then no branch is left.
[[nodiscard]] RUNNEL_INLINE constexpr std::uint64_t hash_run(const std::byte* p, std::size_t n,
                                                             std::uint64_t state) noexcept {
  const std::uint64_t begun = state;
  std::uint64_t a = 0;
  std::uint64_t b = 0;
  if (n >= 8) {
    std::size_t left = n;
    for (; left > 16; left -= 16, p += 16) state = hash_step(state, load<std::uint64_t>(p), load<std::uint64_t>(p + 8));
    // The last word ends at the end of the key, and overlaps what was read before where it must.
    a = left >= 8 ? load<std::uint64_t>(p) : load<std::uint64_t>(p + left - 16);
    b = load<std::uint64_t>(p + left - 8);
  } else if (n >= 4) {
    a = load<std::uint32_t>(p);
    b = load<std::uint32_t>(p + n - 4);
  } else if (n != 0) {
    a = std::uint64_t{load_u8(p)} << 16 | std::uint64_t{load_u8(p + n / 2)} << 8 | load_u8(p + n - 1);
  }
  return multiply_fold(hash_step(state, a, b) ^ begun, hash_c);
}

[[nodiscard]] RUNNEL_INLINE constexpr std::uint64_t hash_begin(std::size_t n, std::uint64_t seed) noexcept {
  return multiply_fold(seed ^ hash_a, hash_c ^ n);
}

}  // namespace detail

/// Hashes two words (or one, and a constant) with a seed: for keys that are numbers. Three multiplications, of which
/// two wait for the words.
[[nodiscard]] constexpr std::uint64_t hash_words(std::uint64_t a, std::uint64_t b, std::uint64_t seed) noexcept {
  const std::uint64_t begun = detail::hash_begin(16, seed);
  return detail::multiply_fold(detail::hash_step(begun, a, b) ^ begun, detail::hash_c);
}

/// Hashes the bytes of `key` with a seed. The length counts: a key and the same key with a zero behind it differ.
/// Reads nothing outside the key. O(n): three multiplications up to 16 bytes, one more for each further 16.
[[nodiscard]] constexpr std::uint64_t hash_bytes(bytes key, std::uint64_t seed) noexcept {
  return detail::hash_run(key.data(), key.size(), detail::hash_begin(key.size(), seed));
}

/// The same for a struct of fixed size, without a branch: the key of a flow table. `Key` may have no padding and no
/// two representations of one value, since its bytes are what is hashed.
template <class Key>
[[nodiscard]] RUNNEL_INLINE std::uint64_t hash_key(const Key& key, std::uint64_t seed) noexcept {
  static_assert(std::has_unique_object_representations_v<Key>,
                "runnel: a key with padding hashes bytes that nobody set; order its members, or pad it by name");
  return detail::hash_run(reinterpret_cast<const std::byte*>(&key), sizeof key, detail::hash_begin(sizeof key, seed));
}

}  // namespace runnel

#endif
