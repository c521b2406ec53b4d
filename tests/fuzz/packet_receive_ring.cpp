// SPDX-License-Identifier: MIT
// Fuzz target: the walk through a block of a packet socket's ring. Whatever stands in it, frames lie inside of it, what
// is written to them stays there, and the block goes back.
//
//     clang++ -std=c++20 -g -O1 -fsanitize=fuzzer,address,undefined -Iinclude tests/fuzz/packet_receive_ring.cpp -o
//     fuzz_ring
//     ./fuzz_ring tests/fuzz/corpus/packet_receive_ring
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>

#include <runnel/device/packet_receive_ring.hpp>

#if defined(__linux__)

using namespace runnel;

namespace {
void require(bool condition) {
  if (!condition) std::abort();
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t header = sizeof(::tpacket_block_desc);
  const std::size_t block = size < header ? header : size;
  const std::unique_ptr<std::byte[]> memory(new std::byte[block]());
  if (size != 0) std::memcpy(memory.get(), data, size);
  const std::uint32_t user = TP_STATUS_USER;
  std::memcpy(memory.get() + 8, &user, sizeof user);
  detail::packet_receive_ring ring(memory.get(), block, 1);
  detail::packet_block_counters count;
  for (;;) {
    frame frames[3];
    into_array take(frames);
    const std::size_t n = ring.receive(3, frame{}, count, take);
    for (std::size_t i = 0; i < n; ++i) {
      const frame& f = frames[i];
      require(f.slot == no_slot && f.tailroom == 0);
      require(f.head() >= memory.get() + header && f.data <= memory.get() + block);
      require(f.length <= static_cast<std::size_t>(memory.get() + block - f.data));
    }
    for (std::size_t i = 0; i < n; ++i) {
      std::memset(frames[i].head(), 0x5a, frames[i].headroom);
      std::memset(frames[i].data, 0xa5, frames[i].length);
    }
    if (n != 3) break;
  }
  ring.give_back();
  require(ring.held() == 0);
  return 0;
}

#endif
