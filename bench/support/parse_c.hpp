// SPDX-License-Identifier: MIT
// The lower bound of parsing: what a C programmer writes by hand for Ethernet, one VLAN tag, IPv4 or IPv6, TCP or UDP,
// with its bounds checked. It uses nothing of the library.
#ifndef BENCH_SUPPORT_PARSE_C_HPP
#define BENCH_SUPPORT_PARSE_C_HPP

#include <cstdint>  // uint8_t, uint16_t, uint32_t
#include <cstring>  // memcpy

namespace bench {

struct tuple_c {
  std::uint32_t w[8];  // IPv4 has its addresses in 0 and 4
  std::uint16_t source_port, destination_port;
  std::uint8_t protocol, version;
};

inline std::uint32_t read16(const std::uint8_t* p) { return static_cast<std::uint32_t>(p[0] << 8 | p[1]); }

[[gnu::always_inline]] inline bool parse_c(const std::uint8_t* p, std::uint32_t length, tuple_c& t) {
  if (length < 34) return false;
  std::uint32_t type = read16(p + 12), at = 14;
  if (type == 0x8100) {
    if (length < 38) return false;
    type = read16(p + 16);
    at = 18;
  }
  if (type == 0x0800) {
    const std::uint8_t* ip = p + at;
    const std::uint32_t header = (ip[0] & 15u) * 4, total = read16(ip + 2);
    if (ip[0] >> 4 != 4 || header < 20 || total < header || at + total > length) return false;
    if ((read16(ip + 6) & 0x1fff) != 0) return false;  // not the first fragment
    t.protocol = ip[9];
    t.version = 4;
    std::memcpy(&t.w[0], ip + 12, 4);
    std::memcpy(&t.w[4], ip + 16, 4);
    if (total < header + 8) return false;
    at += header;
  } else if (type == 0x86dd) {
    if (length < at + 48) return false;
    const std::uint8_t* ip = p + at;
    if (ip[0] >> 4 != 6 || at + 40 + read16(ip + 4) > length) return false;
    t.protocol = ip[6];
    t.version = 6;
    std::memcpy(t.w, ip + 8, 32);
    at += 40;
  } else {
    return false;
  }
  if (t.protocol != 6 && t.protocol != 17) return false;
  std::memcpy(&t.source_port, p + at, 2);
  std::memcpy(&t.destination_port, p + at + 2, 2);
  return true;
}

inline std::uint32_t digest(const tuple_c& t) {
  return t.w[0] ^ t.w[4] ^ t.source_port ^ t.destination_port ^ t.protocol;
}

}  // namespace bench

#endif
