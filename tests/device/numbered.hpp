// SPDX-License-Identifier: MIT
// Packets that a test tells apart by a number.
#ifndef RUNNEL_TESTS_DEVICE_NUMBERED_HPP
#define RUNNEL_TESTS_DEVICE_NUMBERED_HPP

#include <cstddef>
#include <cstdint>

#include <doctest/doctest.h>

#include <runnel/base/bytes.hpp>
#include <runnel/base/endian.hpp>
#include <runnel/packet/packet.hpp>
#include <runnel/packet/pool.hpp>

namespace runnel::test {

/// An Ethernet frame of an EtherType for experiments, zeros but for that and the number in its last four bytes.
[[nodiscard]] inline packet numbered(pool& from, std::uint32_t number, std::size_t length = 64) {
  packet p = from.allocate();
  REQUIRE(p);
  std::byte* const to = p.put(length);
  REQUIRE(to != nullptr);
  zero_bytes(to, length);
  store_be16(to + 12, 0x88b5);
  store_be32(to + length - 4, number);
  return p;
}
[[nodiscard]] inline std::uint32_t number_in(const frame& f) { return load_be32(f.data + f.length - 4); }

}  // namespace runnel::test

#endif
