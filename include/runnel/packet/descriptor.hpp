// SPDX-License-Identifier: MIT
// The cache line behind a packet handle: where its bytes lie and what the stages have learned about it.
#ifndef RUNNEL_PACKET_DESCRIPTOR_HPP
#define RUNNEL_PACKET_DESCRIPTOR_HPP

#include <cstddef>  // byte
#include <cstdint>  // uint8_t, uint16_t, uint32_t

#include <runnel/base/endian.hpp>
#include <runnel/base/time.hpp>
#include <runnel/config.hpp>
#include <runnel/packet/frame.hpp>
#include <runnel/packet/layers.hpp>

namespace runnel::detail {

// Bits of descriptor::special. A packet with none of them set is alone on its own slot, and is freed by pushing
// one number on a stack.
inline constexpr std::uint8_t is_lent = 1;       // the bytes belong to a device, which counts them
inline constexpr std::uint8_t is_clone = 2;      // the bytes belong to the slot of another descriptor
inline constexpr std::uint8_t maybe_shared = 4;  // the slot had more than one reference once
inline constexpr std::uint8_t is_chained = 8;    // `next` is valid
inline constexpr std::uint8_t is_away = 16;      // on another thread than its pool's
// A bit of descriptor::status: segment_size says what is missing.
inline constexpr std::uint8_t is_missing = 4;
// Another: `next` says how the packet looked when it came to `fast_path`. Never of one that is chained.
inline constexpr std::uint8_t has_look = 16;
// Another: see packet::is_told.
inline constexpr std::uint8_t is_told = 32;

// One cache line. Its own number leads back to the pool, which lies right before descriptor 0, so that no pointer
// to it is needed; descriptor i belongs to slot i, so that a frame becomes a packet without an allocation.
struct alignas(64) descriptor {
  std::byte* data;
#if UINTPTR_MAX == 0xffffffff
  std::uint32_t unused_upper_half_of_data;
#endif
  instant timestamp;
  std::uint32_t length;
  std::uint32_t index;  // of this descriptor in its pool
  std::uint16_t headroom;
  std::uint16_t tailroom;
  std::uint16_t iif;
  std::uint16_t segment_size;  // or, before segmentation is possible, what a snap length cut off: see `missing`
  std::uint32_t hash;
  std::uint32_t mark;
  std::uint32_t connection;
  std::uint32_t scratch;
  runnel::layers layers;
  std::uint32_t next;  // with is_chained the following fragment's descriptor, of the same pool; or see has_look
  std::uint8_t priority;
  std::uint8_t lender_or_queue;  // with is_lent who lends the bytes, else by which receive queue they came
  std::uint8_t special;
  // checksum_status in bits 0-1, is_missing in bit 2, whether it is traced in bit 3, has_look in bit 4,
  // is_told in bit 5
  std::uint8_t status;
};
static_assert(sizeof(descriptor) == 64);

// `special` and `status` as one number, to be compared with another that was made of two such. @{
[[nodiscard]] RUNNEL_INLINE std::uint16_t special_and_status(const descriptor& d) noexcept {
  std::uint16_t both;
  __builtin_memcpy(&both, &d.special, sizeof both);
  return both;
}
[[nodiscard]] constexpr std::uint16_t special_and_status(unsigned special, unsigned status) noexcept {
  return static_cast<std::uint16_t>(little_endian_host ? special | status << 8 : special << 8 | status);
}
// @}

// As one word: stored member by member, which compilers like, it could not be read whole for a while.
RUNNEL_INLINE void store_whole(runnel::layers& to, const runnel::layers& l) noexcept {
  const auto word = __builtin_bit_cast(std::uint64_t, l);
  __builtin_memcpy(static_cast<void*>(&to), &word, sizeof word);
}

}  // namespace runnel::detail

#endif
