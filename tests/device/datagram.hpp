// SPDX-License-Identifier: MIT
// Packets that a test can tell from each other.
#ifndef TESTS_DEVICE_DATAGRAM_HPP
#define TESTS_DEVICE_DATAGRAM_HPP

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include <runnel/base/endian.hpp>

namespace runnel::test {

/// A UDP datagram over IPv4 to nobody, of `length` bytes in all, 42 at least; its source port makes it a flow of its
/// own.
inline std::vector<std::byte> datagram(std::uint16_t port, std::size_t length = 60) {
  std::vector<std::byte> all(length);
  const std::uint8_t head[] = {2, 0, 0, 0, 0, 2,  2,  0, 0, 0,  0, 1, 8, 0,  0x45, 0, 0,
                               0, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0,    0, 2};
  std::memcpy(all.data(), head, sizeof head);
  store_be16(all.data() + 16, static_cast<std::uint16_t>(length - 14));
  store_be16(all.data() + 34, port);
  store_be16(all.data() + 36, 9);
  store_be16(all.data() + 38, static_cast<std::uint16_t>(length - 34));
  return all;
}

}  // namespace runnel::test

#endif
