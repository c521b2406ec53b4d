// SPDX-License-Identifier: MIT
// What the fuzz targets for captures compare: the packets that were found in one.
#ifndef RUNNEL_TESTS_FUZZ_FOUND_HPP
#define RUNNEL_TESTS_FUZZ_FOUND_HPP

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include <runnel/device/pcap_parser.hpp>

inline void require(bool condition) {
  if (!condition) std::abort();
}

struct found {
  std::int64_t ns;
  std::uint32_t length;
  std::uint16_t iif, missing;
  runnel::link_type link;
  std::vector<std::byte> content;
  bool operator==(const found&) const = default;
};

inline found found_in(const runnel::frame& f) {
  require(f.slot == runnel::no_slot && f.tailroom == 0 && f.headroom <= 28 && f.length <= runnel::max_captured_length);
  std::memset(f.head(), 0x5a, f.headroom);  // the headroom is ours
  return {f.timestamp.ns, f.length, f.iif, f.missing, f.link, {f.data, f.data + f.length}};
}

#endif
