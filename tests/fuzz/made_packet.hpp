// SPDX-License-Identifier: MIT
// A packet made of headers, for fuzz targets.
#ifndef TESTS_FUZZ_MADE_PACKET_HPP
#define TESTS_FUZZ_MADE_PACKET_HPP

#include <cstddef>

#include <runnel/packet.hpp>
#include <runnel/wire.hpp>

#include "check.hpp"

template <class... Headers>
runnel::packet made_packet(runnel::pool& memory, const Headers&... headers) {
  runnel::packet p = memory.allocate();
  CHECK(static_cast<bool>(p));
  const std::size_t size = runnel::size_of_headers(headers...);
  std::byte* const to = p.put(size);
  CHECK(to != nullptr && runnel::write_headers({to, size}, headers...));
  return p;
}

#endif
