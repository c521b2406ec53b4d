// SPDX-License-Identifier: MIT
// The packets that all cases are measured on, the same in every run.
#ifndef BENCH_SUPPORT_TRAFFIC_HPP
#define BENCH_SUPPORT_TRAFFIC_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t, uint64_t
#include <cstdlib>  // abort

#include <runnel/base/bytes.hpp>
#include <runnel/wire/ethernet.hpp>
#include <runnel/wire/ipv4.hpp>
#include <runnel/wire/ipv6.hpp>
#include <runnel/wire/tcp.hpp>
#include <runnel/wire/udp.hpp>

namespace bench {

using namespace runnel;

// splitmix64: numbers without pattern, the same every time.
inline std::uint64_t scramble(std::uint64_t x) {
  x += 0x9e37'79b9'7f4a'7c15u;
  x = (x ^ x >> 30) * 0xbf58'476d'1ce4'e5b9u;
  x = (x ^ x >> 27) * 0x94d0'49bb'1331'11ebu;
  return x ^ x >> 31;
}

enum class traffic {
  udp64,       // one UDP flow of the shortest frames: 60 bytes, 64 on the wire
  imix,        // 60, 566 and 1514 bytes, half of it TCP, 10,000 flows
  udp64_ipv6,  // as above; the shortest IPv6 frame is 62 bytes
  imix_ipv6,
};

struct flow {
  std::uint32_t number;
  std::uint16_t source_port, destination_port;
  bool is_tcp;
};

// Which flow packet `i` belongs to, and how long it is.
inline flow flow_of(traffic kind, std::size_t i) {
  if (kind == traffic::udp64 || kind == traffic::udp64_ipv6) return {1, 40000, 40053, false};
  const auto number = static_cast<std::uint32_t>(scramble(i) % 10'000);
  const std::uint64_t r = scramble(number + 77'000u);
  return {number, static_cast<std::uint16_t>(1024 + r % 60'000), 40443, (number & 1) != 0};
}
inline std::size_t length_of(traffic kind, std::size_t i) {
  constexpr std::uint16_t lengths[12] = {60, 566, 60, 60, 566, 60, 1514, 60, 566, 60, 60, 566};
  const bool mixed = kind == traffic::imix || kind == traffic::imix_ipv6;
  const bool v6 = kind == traffic::udp64_ipv6 || kind == traffic::imix_ipv6;
  const std::size_t least = v6 ? (flow_of(kind, i).is_tcp ? 74 : 62) : 60;
  const std::size_t length = mixed ? lengths[i % 12] : 60;
  return length < least ? least : length;
}

// Writes packet `i` to `to`, which has room for it. Returns its length.
inline std::size_t write_packet(std::byte* to, traffic kind, std::size_t i) {
  const flow f = flow_of(kind, i);
  const std::size_t length = length_of(kind, i);
  const ethernet_header link{.source = {{2, 0, 0, 0, 0, 1}}, .destination = {{2, 0, 0, 0, 0, 2}}};
  zero_bytes(to, length);
  // A short TCP segment ends before the frame does, which is padded.
  const std::size_t used = !f.is_tcp || length > 60 ? length : 54;
  bool written = false;
  if (kind == traffic::udp64 || kind == traffic::imix) {
    const ipv4_header ip{.source = ipv4_address{0x0a00'0000u | f.number},
                         .destination = ipv4_address{0xc612'0000u | (f.number * 2654435761u >> 8 & 0xffffu)}};
    if (f.is_tcp)
      written = write_headers({to, used}, link, ip,
                              tcp_header{.source_port = f.source_port, .destination_port = f.destination_port});
    else
      written = write_headers({to, used}, link, ip,
                              udp_header{.source_port = f.source_port, .destination_port = f.destination_port});
  } else {
    const ipv6_header ip{.source = ipv6_address{0x2001'0db8'0000'0000u, f.number},
                         .destination = ipv6_address{0x2001'0db8'0001'0000u, 1 + f.number % 251}};
    if (f.is_tcp)
      written = write_headers({to, used}, link, ip,
                              tcp_header{.source_port = f.source_port, .destination_port = f.destination_port});
    else
      written = write_headers({to, used}, link, ip,
                              udp_header{.source_port = f.source_port, .destination_port = f.destination_port});
  }
  if (!written) std::abort();
  return length;
}

}  // namespace bench

#endif
