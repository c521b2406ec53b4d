// SPDX-License-Identifier: MIT
// The hash that network cards steer by (receive side scaling): any key, and the symmetric key at almost no cost.
// Microsoft, "RSS hashing functions"; S. Woo and K. Park, "Scalable TCP session monitoring with symmetric receive-side
// scaling", 2012.
#ifndef RUNNEL_WIRE_TOEPLITZ_HPP
#define RUNNEL_WIRE_TOEPLITZ_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t, uint64_t

#include <runnel/base/bytes.hpp>
#include <runnel/base/endian.hpp>
#include <runnel/config.hpp>
#include <runnel/wire/flow_key.hpp>

namespace runnel {

/// A key of receive side scaling: 40 bytes, as cards take it. Longer keys of some cards count with their first 40
/// bytes for every input that is hashed here.
struct rss_key {
  /// The key's bytes.
  std::uint8_t octets[40] = {};
};
/// The key of Microsoft's verification suite, the default of many drivers.
inline constexpr rss_key microsoft_rss_key{{0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67,
                                            0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb,
                                            0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
                                            0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa}};
/// The key under which both directions of a flow hash alike: 0x6d5a twenty times.
inline constexpr rss_key symmetric_rss_key{{0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a,
                                            0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a,
                                            0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a,
                                            0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a}};

/// The Toeplitz hash under a key chosen at construction: what the card computes, in software. One load and one xor
/// for each input byte. 18 KiB, of which IPv4 touches 6; they want to stay in the first-level cache: keep one per key.
///
/// Why 18 KiB do for inputs of 36 bytes where a table per input byte would take 36: the hash is linear, and byte `v` at
/// place `i` contributes 32 bits, from bit 8i on, of the carry-less product of `v` and the key. Four places in a row
/// need seven bytes of that product: one entry of eight bytes, of which each of the four reads its own window.
class toeplitz {
 public:
  static constexpr std::size_t longest_input = 36;  ///< bytes

  /// Makes the tables for a key.
  explicit constexpr toeplitz(const rss_key& key = microsoft_rss_key) noexcept {
    for (std::size_t group = 0; group < groups; ++group) {
      std::uint64_t from_here = 0;
      for (std::size_t i = 0; i < 8; ++i) from_here = from_here << 8 | key.octets[4 * group + i];
      std::uint64_t row[256] = {};
      for (std::size_t v = 1; v < 256; ++v) {
        const std::size_t rest = v & (v - 1);
        if (rest != 0) row[v] = row[rest] ^ row[v ^ rest];
        else
          for (unsigned bit = 0; bit < 8; ++bit)
            if (v == 0x80u >> bit) row[v] = from_here << bit;
        store_be64(product_ + (group * 256 + v) * 8, row[v]);
      }
    }
  }

  /// Addresses and ports, as cards hash TCP (and UDP where they were told to).
  [[nodiscard]] constexpr std::uint32_t operator()(const flow_key4& k) const noexcept {
    return detail::to_big(word<0>(k.word(0)) ^ half<8>(k.word(1)));
  }
  /// The same for IPv6.
  [[nodiscard]] constexpr std::uint32_t operator()(const flow_key6& k) const noexcept {
    return detail::to_big(six(k) ^ half<32>(k.word(4)));
  }
  /// Addresses only, as cards hash everything else, and fragments.
  [[nodiscard]] constexpr std::uint32_t addresses(const flow_key4& k) const noexcept {
    return detail::to_big(word<0>(k.word(0)));
  }
  /// The same for IPv6.
  [[nodiscard]] constexpr std::uint32_t addresses(const flow_key6& k) const noexcept { return detail::to_big(six(k)); }
  /// Any input, in wire order; at most `longest_input` bytes of it count.
  [[nodiscard]] constexpr std::uint32_t operator()(bytes input) const noexcept {
    const bytes counted = input.first(longest_input);
    std::uint32_t h = 0;
    for (std::size_t i = 0; i < counted.size(); ++i) h ^= window(load_u8(counted.data() + i), i);
    return detail::to_big(h);
  }

 private:
  static constexpr std::size_t groups = longest_input / 4;

  // In host order whatever it means: xor does not mind, and the bytes are turned once, at the end.
  [[nodiscard]] RUNNEL_INLINE constexpr std::uint32_t window(std::uint64_t v, std::size_t place) const noexcept {
    return detail::load<std::uint32_t>(product_ + (place / 4 * 256 + (v & 0xff)) * 8 + place % 4);
  }
  template <std::size_t Place>
  [[nodiscard]] RUNNEL_INLINE constexpr std::uint32_t half(std::uint64_t w) const noexcept {
    return window(w >> 56, Place) ^ window(w >> 48, Place + 1) ^ window(w >> 40, Place + 2) ^
           window(w >> 32, Place + 3);
  }
  template <std::size_t Place>
  [[nodiscard]] RUNNEL_INLINE constexpr std::uint32_t word(std::uint64_t w) const noexcept {
    return half<Place>(w) ^ half<Place + 4>(w << 32);
  }
  [[nodiscard]] RUNNEL_INLINE constexpr std::uint32_t six(const flow_key6& k) const noexcept {
    return word<0>(k.word(0)) ^ word<8>(k.word(1)) ^ word<16>(k.word(2)) ^ word<24>(k.word(3));
  }

  alignas(64) std::byte product_[groups * 256 * 8] = {};
};
static_assert(sizeof(toeplitz) == std::size_t{18} * 1024);

namespace detail {
// The hash of a 16-bit word under the symmetric key, in parts of four bits: 128 bytes.
struct symmetric_parts {
  std::uint16_t part[4][16] = {};
  constexpr symmetric_parts() noexcept {
    for (unsigned place = 0; place < 4; ++place)
      for (unsigned v = 0; v < 16; ++v)
        for (unsigned bit = 0; bit < 4; ++bit)
          if ((v >> (3 - bit) & 1u) != 0)
            part[place][v] = static_cast<std::uint16_t>(part[place][v] ^ (0x6d5a'6d5au << (4 * place + bit) >> 16));
  }
};
inline constexpr symmetric_parts symmetric_table;

[[nodiscard]] constexpr std::uint32_t symmetric_of(std::uint64_t words_together) noexcept {
  std::uint64_t w = words_together ^ words_together >> 32;
  w ^= w >> 16;
  const auto& t = symmetric_table.part;
  return std::uint32_t{t[0][w >> 12 & 15]} ^ t[1][w >> 8 & 15] ^ t[2][w >> 4 & 15] ^ t[3][w & 15];
}
}  // namespace detail

/// The Toeplitz hash under `symmetric_rss_key`: equal for both directions of a flow, and to what a card with that key
/// says. The key repeats after 16 bits, so the input may be folded to 16 bits first, which leaves four loads from 128
/// bytes of table; for the same reason the upper half of the result equals the lower, and only 65,536 values exist.
/// Enough to choose a worker; for a hash table take `flow_key4::canonical().hash()`.
[[nodiscard]] constexpr std::uint32_t symmetric_toeplitz(const flow_key4& k) noexcept {
  return detail::symmetric_of(k.word(0) ^ k.word(1) >> 32) * 0x1'0001u;
}
/// The same for IPv6.
[[nodiscard]] constexpr std::uint32_t symmetric_toeplitz(const flow_key6& k) noexcept {
  return detail::symmetric_of(k.word(0) ^ k.word(1) ^ k.word(2) ^ k.word(3) ^ k.word(4) >> 32) * 0x1'0001u;
}
/// Addresses only: what a card says of everything but TCP, and UDP where it was told to.
[[nodiscard]] constexpr std::uint32_t symmetric_toeplitz_addresses(const flow_key4& k) noexcept {
  return detail::symmetric_of(k.word(0)) * 0x1'0001u;
}
/// The same for IPv6.
[[nodiscard]] constexpr std::uint32_t symmetric_toeplitz_addresses(const flow_key6& k) noexcept {
  return detail::symmetric_of(k.word(0) ^ k.word(1) ^ k.word(2) ^ k.word(3)) * 0x1'0001u;
}

}  // namespace runnel

#endif
