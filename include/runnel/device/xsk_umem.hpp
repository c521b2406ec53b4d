// SPDX-License-Identifier: MIT
// The memory that an AF_XDP device shares with the kernel: a pool's slots as chunks of a UMEM. Nothing here is for
// users.
//
// The kernel knows of a page of each slot at most, its chunk. A frame that is longer lies in several (multi-buffer,
// Linux 6.6; Documentation/networking/af_xdp.rst): each but the last descriptor says XDP_PKT_CONTD. With us it lies in
// one slot, which is as long as the frame: when it is sent, its descriptors are pieces of that slot, side by side; when
// it comes, the first piece stays where the kernel put it, and the others are copied behind it, where the kernel does
// not know of the slot any more.
//
//     | 256 headroom | first piece ........ | later pieces, copied ..............  |
//     +--------------+----------------------+--------------------------------------+
//     |  chunk: 4096, the kernel's          |  ours alone                          |
//     |  room: the slot, at most 65535, as far as the offset of a piece reaches,   |
//     |  and no more chunks than the MTU needs                                     |
#ifndef RUNNEL_DEVICE_XSK_UMEM_HPP
#define RUNNEL_DEVICE_XSK_UMEM_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t

#include <runnel/base/bytes.hpp>
#include <runnel/base/error.hpp>
#include <runnel/base/result.hpp>
#include <runnel/base/text.hpp>
#include <runnel/config.hpp>
#include <runnel/device/device_memory.hpp>
#include <runnel/device/xsk_ring.hpp>
#include <runnel/packet/pool.hpp>

#if defined(__linux__)

#include <errno.h>   // EINVAL, EMSGSIZE
#include <unistd.h>  // sysconf

namespace runnel::detail {

inline constexpr std::uint32_t xdp_headroom = 256;  // XDP_PACKET_HEADROOM: the kernel puts packets behind it
inline constexpr std::uint32_t smallest_xsk_chunk = 2048;
inline constexpr std::uint32_t largest_xsk_room = 65535;  // offsets within a slot have 16 bits
inline constexpr std::uint32_t most_crossing_pieces = 8;  // xsk_umem::first_piece

[[nodiscard]] inline std::uint32_t page_size() noexcept { return static_cast<std::uint32_t>(::sysconf(_SC_PAGESIZE)); }

/// Bytes of a slot for a frame of an interface with this MTU, which does not count an Ethernet header with a VLAN tag.
[[nodiscard]] constexpr std::uint64_t xsk_slot_bytes(std::uint32_t mtu) noexcept {
  return std::uint64_t{xdp_headroom} + 18 + mtu;
}
/// The largest MTU for slots of which so many bytes are used; 0 when there is none.
[[nodiscard]] constexpr std::uint32_t largest_xsk_mtu(std::uint32_t room) noexcept {
  const auto needed = static_cast<std::uint32_t>(xsk_slot_bytes(0));
  return room > needed ? room - needed : 0;
}
/// Whether frames of this MTU are longer than a chunk can be.
[[nodiscard]] inline bool xsk_needs_pieces(std::uint32_t mtu) noexcept { return xsk_slot_bytes(mtu) > page_size(); }
/// That a kernel cannot do that.
[[nodiscard]] inline error xsk_lacks_pieces(const char* on, std::uint32_t mtu) noexcept {
  text<96> why, advice;
  why << "packets of its MTU, " << mtu << ", do not fit a page";
  advice << "ip link set dev " << on << " mtu " << largest_xsk_mtu(page_size()) << ", or Linux 6.6";
  return {"af_xdp", "open", on, why.c_str(), advice.c_str(), EINVAL};
}

/// The pool of a device on an interface with this MTU: the caller's, if that is large enough, or one of its own.
[[nodiscard]] inline result<device_memory, error> choose_xsk_memory(pool* given, pool_config own, std::uint32_t mtu,
                                                                    const char* on) noexcept {
  const std::uint64_t needed = xsk_slot_bytes(mtu);
  if (needed > own.headroom + own.bytes && needed <= largest_xsk_room)
    own.bytes = static_cast<std::uint32_t>(needed) - own.headroom;
  const std::size_t slot = given != nullptr ? given->slot_stride() : pool::stride(own);
  const bool is_small = given != nullptr && slot < largest_xsk_room;
  const std::uint32_t room = is_small ? static_cast<std::uint32_t>(slot) : largest_xsk_room;
  text<96> why, advice;
  if (room < needed) {
    why << "packets of its MTU, " << mtu << ", do not fit a slot";
    advice << "ip link set dev " << on << " mtu " << largest_xsk_mtu(room);
    if (is_small) advice << ", or a pool with larger .bytes";
    return error("af_xdp", "open", on, why.c_str(), advice.c_str(), EMSGSIZE);
  }
  if (slot < smallest_xsk_chunk) {
    why << "the pool's slots have " << slot << " bytes";
    return error("af_xdp", "open", on, why.c_str(), "the kernel wants 2048: a pool with .bytes = 1984", EINVAL);
  }
  return device_memory::open(given, own);
}

/// Who has a slot.
enum class xsk_custody : std::uint8_t {
  ours,      // free, or the user's
  receive,   // the kernel's, to receive into; or received into and not looked at yet
  unused,    // nobody's: the kernel could not use it
  transmit,  // the kernel's, to send from; or sent and not taken back yet. One more for each piece but the last
};

/// A pool as the kernel knows it. Addresses count from `base`, which is aligned to a page.
struct xsk_umem {
  pool* memory = nullptr;
  std::byte* base = nullptr;
  xsk_custody* custody = nullptr;  // of each slot
  std::uint64_t first = 0;         // address of slot 0
  std::uint64_t stride = 0;
  std::uint32_t inverse = 0;  // of the stride in cache lines, which is odd: dividing is multiplying, modulo 2^32
  std::uint32_t chunk = 0;    // bytes of a slot that the kernel knows of
  std::uint32_t room = 0;     // the longest frame, with what is before it when it comes: a chunk, or several pieces
  bool has_pieces = false;    // whether frames may lie in several chunks

  /// All but custody. `page` is the size of a page.
  [[nodiscard]] static xsk_umem of(pool& memory, std::size_t page) noexcept {
    xsk_umem u;
    u.memory = &memory;
    u.first = reinterpret_cast<std::uintptr_t>(memory.slots()) % page;
    u.base = memory.slots() - u.first;
    u.stride = memory.slot_stride();
    u.chunk = static_cast<std::uint32_t>(u.stride < page ? u.stride : page);
    if (u.chunk > largest_xsk_room) u.chunk = largest_xsk_room;  // pages of 64 KiB
    u.room = u.chunk;
    const auto lines = static_cast<std::uint32_t>(u.stride / 64);
    u.inverse = lines;  // right in three bits; each step doubles them
    for (int i = 0; i < 4; ++i) u.inverse *= 2u - lines * u.inverse;
    return u;
  }
  /// Whether slots are longer than chunks.
  [[nodiscard]] bool may_have_pieces() const noexcept { return stride > chunk; }
  /// Frames may lie in several chunks from now on, or not. @{
  void allow_pieces() noexcept {
    has_pieces = true;
    room = reach();
  }
  void forbid_pieces() noexcept {
    has_pieces = false;
    room = chunk;
  }
  /// @}
  /// Frames get no longer than an interface with this MTU needs, in whole chunks. A driver that reads slots itself
  /// takes that many pieces of a frame, but not any number (xdp_zc_max_segs), and more would not come back; nor does
  /// the kernel look at the length of what it copies.
  void limit_pieces(std::uint32_t mtu) noexcept {
    const std::uint32_t needed = chunk * chunks(static_cast<std::uint32_t>(xsk_slot_bytes(mtu)));
    if (room > needed) room = needed;
  }
  /// How far into a slot frames may reach, when they may have pieces.
  [[nodiscard]] std::uint32_t reach() const noexcept {
    return stride < largest_xsk_room ? static_cast<std::uint32_t>(stride) : largest_xsk_room;
  }
  /// How many chunks so many bytes fill.
  [[nodiscard]] std::uint32_t chunks(std::uint32_t length) const noexcept { return (length + chunk - 1) / chunk; }
  /// How long the first piece may be of a frame that is sent from this address on: a chunk, as the others are. But
  /// where the kernel gives a driver (virtio_net) our pages and no copy of them, a frame has 17 at most
  /// (MAX_SKB_FRAGS), and a piece that lies across two counts twice: beyond 8 pieces they end where pages do.
  [[nodiscard]] std::uint32_t first_piece(std::uint64_t address, std::uint32_t length) const noexcept {
    return chunks(length) > most_crossing_pieces ? chunk - static_cast<std::uint32_t>(address % chunk) : chunk;
  }
  /// How many descriptors a frame of this length has at most when it is sent, and when it comes. @{
  [[nodiscard]] std::uint32_t pieces_to_send(std::uint32_t length) const noexcept {
    return chunks(length) + (chunks(length) > most_crossing_pieces);
  }
  [[nodiscard]] std::uint32_t pieces_to_receive(std::uint32_t length) const noexcept {
    return (length + chunk - xdp_headroom - 1) / (chunk - xdp_headroom);
  }
  /// @}
  [[nodiscard]] std::uint64_t address_of(std::uint32_t slot) const noexcept { return first + slot * stride; }
  [[nodiscard]] std::uint32_t slot_at(std::uint64_t address) const noexcept {
    const auto lines = static_cast<std::uint32_t>(((address & xsk_chunk_mask) - first) / 64);
    const std::uint32_t slot = lines * inverse;
    RUNNEL_ASSERT(slot < memory->capacity());
    return slot;
  }
  /// Whether a slot lies across two huge pages: side by side in the mapping, they need not be in memory.
  [[nodiscard]] bool crosses_huge_page(std::uint32_t slot) const noexcept {
    constexpr std::uint64_t huge_page = std::uint64_t{2} << 20;
    const std::uint64_t at = reinterpret_cast<std::uintptr_t>(base) + address_of(slot);
    return at / huge_page != (at + (has_pieces ? reach() : room) - 1) / huge_page;
  }
  [[nodiscard]] mutable_bytes whole() const noexcept {
    return {base, static_cast<std::size_t>(first + stride * memory->capacity())};
  }
};

}  // namespace runnel::detail

#endif  // defined(__linux__)

#endif
