// SPDX-License-Identifier: MIT
// The receive ring of a packet socket: blocks that kernel and program pass to one another. packet(7), and
// Documentation/networking/packet_mmap.rst in Linux's sources. Nothing here is for users.
//
// Theory of operation. The ring is memory of the kernel, which the program sees too. The kernel fills one block after
// the other, hands each over when it is full or its time is up, and drops packets while the next one is not its own:
//
//     block    |<------------------------------ size ------------------------------->|
//     +--------+------------+-----+--------------+-----+-----+------------+----------+
//     | header | packet 0   |     | virtio net   | the packet| packet 1   | ...      |
//     | status | header, sll|     | header       |           | header     |          |
//     +--------+------------+-----+--------------+-----------+------------+----------+
//              ^first       |<------ tp_mac ---->|<-snaplen->|
//                           |<---------- tp_next_offset ---->|
//
// A packet is shown as a frame where it lies. Once its header was read, the header is headroom. Blocks go back when
// nothing of them is out any more, which the pool knows (`lent`). No length that stands in a block is trusted: what
// would lead out of it ends the walk through it.
#ifndef RUNNEL_DEVICE_PACKET_RECEIVE_RING_HPP
#define RUNNEL_DEVICE_PACKET_RECEIVE_RING_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t, uint64_t

#include <runnel/base/bytes.hpp>
#include <runnel/base/endian.hpp>
#include <runnel/base/prefetch.hpp>
#include <runnel/config.hpp>
#include <runnel/device/posix.hpp>
#include <runnel/device/virtio_net.hpp>
#include <runnel/packet/frame.hpp>

#if defined(__linux__)

#include <linux/if_packet.h>  // tpacket3_hdr, tpacket_block_desc

namespace runnel::detail {

/// What a walk through blocks came upon besides packets.
struct packet_block_counters {
  std::uint64_t outgoing = 0;   ///< packets that this machine sent itself, passed over
  std::uint64_t cut = 0;        ///< packets handed out shorter than they were on the wire
  std::uint64_t malformed = 0;  ///< packets with a header that cannot be right, and the rest of a block behind one
  std::uint64_t in_tunnel = 0;  ///< packets that stand for segments of TCP inside of a tunnel
};

/// A walk through the packets of one block.
class packet_block {
 public:
  /// Bytes that the kernel puts before a packet at least: its header, the address of the sender, and, right before the
  /// packet, the virtio net header.
  static constexpr std::size_t header_size = sizeof(::tpacket3_hdr);
  static constexpr std::size_t front = header_size + sizeof(::sockaddr_ll) + sizeof(virtio_net_header);
  static_assert(header_size == 48 && sizeof(::sockaddr_ll) == 20);

  /// No packet.
  packet_block() noexcept = default;
  /// From the first packet of a block that the kernel has handed over.
  packet_block(std::byte* block, std::size_t size, packet_block_counters& count) noexcept {
    ::tpacket_block_desc about;
    __builtin_memcpy(&about, block, sizeof about);
    const std::size_t first = about.hdr.bh1.offset_to_first_pkt;
    left_ = about.hdr.bh1.num_pkts;
    if (left_ == 0) return;
    if (first < sizeof about || first > size || size - first < front) {
      count.malformed += left_;
      left_ = 0;
      return;
    }
    at_ = block + first;
    end_ = block + size;
  }
  /// How many packets are still to come.
  [[nodiscard]] std::uint32_t left() const noexcept { return left_; }

  /// Calls `take` for up to `room` packets, as frames that are in all else as `like`. How many there were.
  template <class Take>
  RUNNEL_INLINE std::size_t walk(std::size_t room, const frame& like, packet_block_counters& count,
                                 Take& taken_by) noexcept {
    local_taker take(taken_by);
    frame f = like;
    std::byte* at = at_;
    std::uint32_t left = left_;
    std::size_t n = 0;
    while (left != 0 && n < room) {
      ::tpacket3_hdr h;
      __builtin_memcpy(&h, at, sizeof h);
      const auto rest = static_cast<std::size_t>(end_ - at);  // at least `front`
      const std::size_t next = left != 1 ? h.tp_next_offset : 0;
      if (next > rest - front || (left != 1 && next < front)) [[unlikely]] {
        count.malformed += left;
        left = 0;
        break;
      }
      std::byte* const here = at;
      at += next;
      --left;
      prefetch_to_read(at);
      const std::size_t start = h.tp_mac;
      if (start < front || start > rest || h.tp_snaplen > rest - start || (h.tp_status & TP_STATUS_USER) == 0)
          [[unlikely]] {
        ++count.malformed;
        continue;
      }
      // Behind the packet's header lies a sockaddr_ll, in which byte 10 is the packet's type.
      if (load_u8(here + header_size + 10) == PACKET_OUTGOING) [[unlikely]] {
        ++count.outgoing;
        continue;
      }
      f.data = here + start;
      f.length = h.tp_snaplen;
      f.headroom = static_cast<std::uint16_t>(start);
      f.timestamp.ns = std::int64_t{h.tp_sec} * 1'000'000'000 + h.tp_nsec;
      f.checksum = checksum_status::unknown;
      f.segment_size = 0;
      f.missing = 0;
      virtio_net_header about;
      __builtin_memcpy(&about, f.data - sizeof about, sizeof about);
      if ((about.flags | about.gso_type) != 0 || h.tp_len != h.tp_snaplen || (h.tp_status & TP_STATUS_VLAN_VALID) != 0)
          [[unlikely]] {
        if (!look_closer(h, about, f, count)) continue;
      }
      take(f);
      ++n;
    }
    at_ = at;
    left_ = left;
    return n;
  }

 private:
  // What is not so with most packets. False when the packet is not to be used.
  [[gnu::noinline]] static bool look_closer(const ::tpacket3_hdr& h, const virtio_net_header& about, frame& f,
                                            packet_block_counters& count) noexcept {
    if (h.tp_len > h.tp_snaplen) {
      const std::uint32_t missing = h.tp_len - h.tp_snaplen;
      f.missing = static_cast<std::uint16_t>(missing < 0xffff ? missing : 0xffff);
      ++count.cut;
    }
    if (!read_virtio_net_header(about, f)) {
      ++(is_segmented_in_tunnel(about, f) ? count.in_tunnel : count.malformed);
      return false;
    }
    // The kernel takes the outer tag out of the packet: it goes back between the addresses and the type.
    if ((h.tp_status & TP_STATUS_VLAN_VALID) != 0 && f.link == link_type::ethernet && f.length >= 14) {
      const bool has_type = (h.tp_status & TP_STATUS_VLAN_TPID_VALID) != 0;
      std::byte* const to = f.push(4);
      __builtin_memmove(to, to + 4, 12);
      store_be16(to + 12, has_type ? h.hv1.tp_vlan_tpid : std::uint16_t{0x8100});
      store_be16(to + 14, static_cast<std::uint16_t>(h.hv1.tp_vlan_tci));
    }
    return true;
  }

  std::byte* at_ = nullptr;
  std::byte* end_ = nullptr;
  std::uint32_t left_ = 0;
};

/// Blocks in memory that somebody else keeps, `count` of `size` bytes each, in the order in which the kernel fills
/// them.
class packet_receive_ring {
 public:
  /// A ring without blocks.
  packet_receive_ring() noexcept = default;
  packet_receive_ring(std::byte* memory, std::size_t size, std::uint32_t count) noexcept
      : memory_(memory), size_(size), count_(count) {}

  /// Calls `take` for up to `room` packets. How many there were. What was taken stays valid until `give_back`.
  template <class Take>
  RUNNEL_INLINE std::size_t receive(std::size_t room, const frame& like, packet_block_counters& count,
                                    Take& take) noexcept {
    std::size_t n = 0;
    for (;;) {
      n += block_.walk(room - n, like, count, take);
      if (n == room || !open_next(count)) return n;
    }
  }
  /// Gives the blocks back to the kernel that were walked through. Nothing of them may be out any more.
  void give_back() noexcept {
    for (; walked_ != 0; --walked_) {
      store_status(oldest_, TP_STATUS_KERNEL);
      oldest_ = after(oldest_);
    }
    if (open_ && block_.left() == 0) {
      open_ = false;
      store_status(oldest_, TP_STATUS_KERNEL);
      oldest_ = after(oldest_);
    }
  }
  /// How many blocks there are.
  [[nodiscard]] std::uint32_t count() const noexcept { return count_; }
  /// Blocks that the kernel has handed over and not got back.
  [[nodiscard]] std::uint32_t held() const noexcept {
    std::uint32_t n = 0;
    for (std::uint32_t i = 0; i < count_; ++i) n += (load_status(i) & TP_STATUS_USER) != 0 ? 1u : 0u;
    return n;
  }

 private:
  [[nodiscard]] std::uint32_t after(std::uint32_t i) const noexcept { return i + 1 == count_ ? 0 : i + 1; }
  [[nodiscard]] std::uint32_t* status(std::uint32_t i) const noexcept {
    constexpr std::size_t at = offsetof(::tpacket_block_desc, hdr);
    return static_cast<std::uint32_t*>(static_cast<void*>(memory_ + i * size_ + at));
  }
  [[nodiscard]] std::uint32_t load_status(std::uint32_t i) const noexcept {
    return __atomic_load_n(status(i), __ATOMIC_ACQUIRE);
  }
  void store_status(std::uint32_t i, std::uint32_t s) noexcept { __atomic_store_n(status(i), s, __ATOMIC_RELEASE); }

  // Goes on to the next block that was handed over; its packets stay valid together with those before.
  bool open_next(packet_block_counters& count) noexcept {
    // All of them are walked through: the next one would be the first again.
    if (walked_ + (open_ ? 1u : 0u) == count_) return false;
    std::uint32_t next = oldest_ + walked_ + (open_ ? 1u : 0u);
    if (next >= count_) next -= count_;
    if ((load_status(next) & TP_STATUS_USER) == 0) return false;
    if (open_) ++walked_;
    open_ = true;
    block_ = packet_block(memory_ + next * size_, size_, count);
    return true;
  }

  std::byte* memory_ = nullptr;
  std::size_t size_ = 0;
  std::uint32_t count_ = 0;
  std::uint32_t oldest_ = 0;  // the first block that is ours, or will be
  std::uint32_t walked_ = 0;  // from there, so many are walked through
  bool open_ = false;         // the one behind them is ours too, and block_ is in it
  packet_block block_;
};

}  // namespace runnel::detail

#endif  // defined(__linux__)

#endif
