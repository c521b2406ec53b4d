// SPDX-License-Identifier: MIT
// The Internet checksum: over bytes, updated in place, and in parts. RFC 1071, RFC 1624.
#ifndef RUNNEL_WIRE_CHECKSUM_HPP
#define RUNNEL_WIRE_CHECKSUM_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint16_t, uint32_t, uint64_t

#include <runnel/base/bytes.hpp>
#include <runnel/base/endian.hpp>

namespace runnel {

/// Folds a sum of 16-bit words to 16 bits, without the final complement.
[[nodiscard]] constexpr std::uint16_t fold_checksum(std::uint64_t sum) noexcept {
  sum = (sum & 0xffff'ffff) + (sum >> 32);
  sum = (sum & 0xffff'ffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(sum);
}

/// The sum of the 16-bit big-endian words of `data` added to `sum`, unfolded; an odd last byte counts as the high
/// byte of a word (RFC 1071). Feed the result of one call to the next only over an even number of bytes.
[[nodiscard]] constexpr std::uint64_t add_checksum(bytes data, std::uint64_t sum = 0) noexcept {
  std::size_t i = 0;
  for (; i + 1 < data.size(); i += 2) sum += load_be16(data.data() + i);
  if (i < data.size()) sum += static_cast<std::uint64_t>(load_u8(data.data() + i)) << 8;
  return sum;
}

/// The Internet checksum of `data`, as it is stored in a header in host order.
[[nodiscard]] constexpr std::uint16_t checksum(bytes data, std::uint64_t sum = 0) noexcept {
  return static_cast<std::uint16_t>(~fold_checksum(add_checksum(data, sum)));
}

/// The checksum after a 16-bit word under it changed from `from` to `to` (RFC 1624, equation 3).
[[nodiscard]] constexpr std::uint16_t update_checksum16(std::uint16_t old, std::uint16_t from,
                                                        std::uint16_t to) noexcept {
  const std::uint32_t sum = static_cast<std::uint16_t>(~old) + static_cast<std::uint32_t>(static_cast<std::uint16_t>(~from)) + to;
  return static_cast<std::uint16_t>(~fold_checksum(sum));
}
/// The same for a 32-bit word.
[[nodiscard]] constexpr std::uint16_t update_checksum32(std::uint16_t old, std::uint32_t from,
                                                        std::uint32_t to) noexcept {
  const std::uint64_t sum = std::uint64_t{static_cast<std::uint16_t>(~old)} + static_cast<std::uint32_t>(~from) + to;
  return static_cast<std::uint16_t>(~fold_checksum(sum));
}

}  // namespace runnel

#endif
