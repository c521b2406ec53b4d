// SPDX-License-Identifier: MIT
// What comes to a gateway: packets of as many connections as there are packets, half of them TCP, in no order.
#ifndef BENCH_SUPPORT_ARRIVALS_HPP
#define BENCH_SUPPORT_ARRIVALS_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint16_t, uint32_t, uint64_t
#include <cstdlib>  // abort

#include <runnel/base/bytes.hpp>
#include <runnel/wire/ethernet.hpp>
#include <runnel/wire/ipv4.hpp>
#include <runnel/wire/tcp.hpp>
#include <runnel/wire/udp.hpp>

#include "support/memory.hpp"
#include "support/traffic.hpp"

namespace bench {

// Whether packets are the first ones of their connections, or some of their middle.
enum class begins { no, yes };

// How long the frame of packet `i` is: IMIX, 7:4:1; first packets are short.
inline std::uint32_t arrival_length(std::size_t i, begins first) {
  constexpr std::uint16_t lengths[12] = {60, 566, 60, 60, 566, 60, 1514, 60, 566, 60, 60, 566};
  return first == begins::yes ? 60 : lengths[i % 12];
}
// Writes packet `i` into `whole`, with a frame of `length` bytes.
inline void write_arrival(std::byte (&whole)[1514], std::size_t i, begins first, std::uint32_t length) {
  const std::uint64_t r = scramble(i), s = scramble(r);
  const bool is_tcp = (s & 1) != 0;
  const ethernet_header link{.source = {{2, 0, 0, 0, 0, 1}}, .destination = {{2, 0, 0, 0, 0, 2}}};
  const ipv4_header ip{.source = ipv4_address{0x0a00'0000u | static_cast<std::uint32_t>(r & 0xff'ffff)},
                       .destination = ipv4_address{0x4000'0000u | static_cast<std::uint32_t>(s >> 8 & 0x1fff'ffff)}};
  const auto from = static_cast<std::uint16_t>(1024 + (r >> 24) % 60'000);
  zero_bytes(whole, length);
  // A short TCP segment ends before the frame does, which is padded.
  const std::size_t used = is_tcp && length == 60 ? 54 : length;
  const bool written =
      is_tcp ? write_headers({whole, used}, link, ip,
                             tcp_header{.source_port = from,
                                        .destination_port = 443,
                                        .sequence_number = static_cast<std::uint32_t>(s),
                                        .flags = first == begins::yes ? tcp_flags::syn : tcp_flags::ack,
                                        .window_size = 8192})
             : write_headers({whole, used}, link, ip, udp_header{.source_port = from, .destination_port = 443});
  if (!written) std::abort();
}

// The headers of one packet, and how long its frame is.
struct alignas(64) arrival {
  std::byte bytes[56];  // Ethernet, IPv4, and TCP or UDP: 54 at most
  std::uint32_t length;
};
static_assert(sizeof(arrival) == 64);

// The headers of the first `n` packets.
class arrivals {
 public:
  arrivals(std::size_t n, begins first) : all_(n), n_(n) {
    std::byte whole[1514];
    for (std::size_t i = 0; i < n; ++i) {
      all_[i].length = arrival_length(i, first);
      write_arrival(whole, i, first, all_[i].length);
      __builtin_memcpy(all_[i].bytes, whole, sizeof all_[i].bytes);
    }
  }
  std::size_t size() const noexcept { return n_; }
  const arrival* data() const noexcept { return all_.data(); }

 private:
  big_array<arrival> all_;
  std::size_t n_;
};

}  // namespace bench

#endif
