// SPDX-License-Identifier: MIT
// The frame that the live benchmarks send: UDP from 10.0.0.2:2048 to 10.1.0.2:1024, without a UDP checksum.
#ifndef RUNNEL_BENCH_LIVE_DATAGRAM_HPP
#define RUNNEL_BENCH_LIVE_DATAGRAM_HPP

#include <runnel/base.hpp>
#include <runnel/wire.hpp>

namespace bench {

class datagram {
 public:
  /// `length` bytes, 60 to 1514, all headers included.
  explicit datagram(unsigned length) : length_(length) {
    constexpr unsigned char headers[42] = {2, 0,  0,  0, 0, 2,  2, 0, 0, 0,  0, 1, 8, 0, 0x45, 0, 0, 0, 0, 0, 0,
                                           0, 64, 17, 0, 0, 10, 0, 0, 2, 10, 1, 0, 2, 8, 0,    4, 0, 0, 0, 0, 0};
    __builtin_memcpy(bytes_, headers, sizeof headers);
    runnel::store_be16(bytes_ + 16, static_cast<std::uint16_t>(length - 14));
    runnel::store_be16(bytes_ + 38, static_cast<std::uint16_t>(length - 34));
    runnel::store_be16(bytes_ + 24, runnel::checksum({bytes_ + 14, std::size_t{20}}));
  }
  void send_to(const runnel::mac_address& to) { __builtin_memcpy(bytes_, to.octets, sizeof to.octets); }
  runnel::bytes contents() const { return {bytes_, length_}; }

 private:
  alignas(8) std::byte bytes_[1536] = {};
  std::size_t length_;
};

}  // namespace bench

#endif
