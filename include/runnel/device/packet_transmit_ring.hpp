// SPDX-License-Identifier: MIT
// The transmit ring of a packet socket: slots that the kernel sends from when it is told to. packet(7), and
// Documentation/networking/packet_mmap.rst in Linux's sources. Nothing here is for users.
//
// Theory of operation. A slot holds one packet, behind a header with its state and a virtio net header:
//
//     slot     | tpacket2_hdr: status, length | virtio net header | packet                        |
//              |<------------ 32 ------------>|<------ 10 ------->|
//
// The program fills slots in order (`put`), makes one system call, and the kernel goes through them in order, inside of
// that call, until there is none or one that it cannot send now. What it did not come to is taken back (`settle`), so
// that nothing waits in the ring for a call that may never come. A slot whose packet is still in the driver stays
// `TP_STATUS_SENDING`, and is free again when the driver has sent it.
//
// The virtio net header says that all of the packet is header. So the kernel copies it into the linear part of its
// buffer, where a driver and a receiver want small packets, instead of hanging the page of the slot on it. That makes
// the difference between the slowest and the fastest way to send by a packet socket.
#ifndef RUNNEL_DEVICE_PACKET_TRANSMIT_RING_HPP
#define RUNNEL_DEVICE_PACKET_TRANSMIT_RING_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint16_t, uint32_t

#include <runnel/base/bytes.hpp>
#include <runnel/base/prefetch.hpp>
#include <runnel/config.hpp>
#include <runnel/device/virtio_net.hpp>
#include <runnel/packet/frame.hpp>
#include <runnel/packet/packet.hpp>

#if defined(__linux__)

#include <linux/if_packet.h>  // tpacket2_hdr

namespace runnel::detail {

/// Slots in memory that somebody else keeps, one behind the other, in the order in which the kernel goes through them.
class packet_transmit_ring {
 public:
  /// Bytes before the packet in a slot.
  static constexpr std::size_t front = 32 + sizeof(virtio_net_header);
  static_assert(sizeof(::tpacket2_hdr) == 32);
  /// How long a slot is that holds packets of up to `length` bytes: whole cache lines, an odd number of them, so that
  /// not all packets fall into the same few cache sets; and 64 of them are whole pages of 4096 bytes.
  [[nodiscard]] static constexpr std::size_t slot_size(std::size_t length) noexcept {
    return ((length + front + 63) / 64 | 1) * 64;
  }

  /// A ring without slots.
  packet_transmit_ring() noexcept = default;
  packet_transmit_ring(std::byte* memory, std::size_t slot, std::uint32_t count) noexcept
      : memory_(memory), slot_(slot), count_(count) {}

  /// The longest packet that a slot holds.
  [[nodiscard]] std::size_t longest() const noexcept { return slot_ - front; }
  /// Packets that were put and not settled.
  [[nodiscard]] std::uint32_t size() const noexcept { return put_; }

  /// Copies a packet or frame of at most `longest()` bytes into the next slot. False when that is not free.
  template <class Packet>
  RUNNEL_INLINE bool put(const Packet& p, std::size_t length, const virtio_net_header& todo) noexcept {
    std::byte* const to = slot(next_);
    // The kernel has read all of it since, on its way to an inner cache; a copy alone waits for line after line.
    for (std::size_t at = 0; at < front + length; at += 64) prefetch_to_write(to + at);
    if (put_ == count_ || load_status(to) != TP_STATUS_AVAILABLE) [[unlikely]]
      return false;
    virtio_net_header header = todo;
    header.header_length = static_cast<std::uint16_t>(length);
    const auto whole = static_cast<std::uint32_t>(length + sizeof header);
    __builtin_memcpy(to + offsetof(::tpacket2_hdr, tp_len), &whole, sizeof whole);
    __builtin_memcpy(to + front - sizeof header, &header, sizeof header);
    copy(to + front, p);
    store_status(to, TP_STATUS_SEND_REQUEST);
    next_ = after(next_);
    ++put_;
    return true;
  }

  /// What the kernel made of the packets that were put.
  struct outcome {
    std::uint32_t done = 0;  ///< it is done with so many
    bool wrong = false;      ///< it will never send the one behind them
  };
  /// After the system call: takes back what the kernel did not come to. Nothing is put then.
  [[nodiscard]] RUNNEL_INLINE outcome settle() noexcept {
    // It goes through them in order: when it came to the last one, it came to all.
    if (put_ == 0) return {};
    const std::uint32_t last = load_status(slot(next_ == 0 ? count_ - 1 : next_ - 1));
    const outcome all{put_, false};
    if (was_left(last)) [[unlikely]]
      return take_back();
    put_ = 0;
    return all;
  }
  /// How many slots there are.
  [[nodiscard]] std::uint32_t count() const noexcept { return count_; }
  /// Slots that are not free.
  [[nodiscard]] std::uint32_t held() const noexcept {
    std::uint32_t n = 0;
    for (std::uint32_t i = 0; i < count_; ++i) n += load_status(slot(i)) != TP_STATUS_AVAILABLE ? 1u : 0u;
    return n;
  }

 private:
  [[nodiscard]] std::byte* slot(std::uint32_t i) const noexcept { return memory_ + i * slot_; }
  [[nodiscard]] std::uint32_t after(std::uint32_t i) const noexcept { return i + 1 == count_ ? 0 : i + 1; }
  static std::uint32_t* status(std::byte* slot) noexcept {
    static_assert(offsetof(::tpacket2_hdr, tp_status) == 0);
    return static_cast<std::uint32_t*>(static_cast<void*>(slot));
  }
  static std::uint32_t load_status(std::byte* slot) noexcept { return __atomic_load_n(status(slot), __ATOMIC_ACQUIRE); }
  static void store_status(std::byte* slot, std::uint32_t s) noexcept {
    __atomic_store_n(status(slot), s, __ATOMIC_RELEASE);
  }
  static bool was_left(std::uint32_t s) noexcept {
    return (s & (TP_STATUS_SEND_REQUEST | TP_STATUS_WRONG_FORMAT)) != 0;
  }
  static void copy(std::byte* to, const frame& f) noexcept { __builtin_memcpy(to, f.data, f.length); }
  static void copy(std::byte* to, const packet& p) noexcept {
    if (!p.is_chained()) [[likely]] {
      __builtin_memcpy(to, p.data(), p.length());
      return;
    }
    p.for_each_fragment([&to](bytes part) {
      copy_bytes(to, part.data(), part.size());
      to += part.size();
    });
  }
  // The kernel stands at the first one that it left, and will go on there.
  [[gnu::noinline]] outcome take_back() noexcept {
    std::uint32_t i = next_ >= put_ ? next_ - put_ : next_ + count_ - put_;
    outcome o;
    while (!was_left(load_status(slot(i)))) {
      i = after(i);
      ++o.done;
    }
    o.wrong = (load_status(slot(i)) & TP_STATUS_WRONG_FORMAT) != 0;
    const std::uint32_t stands = i;
    for (; i != next_; i = after(i)) store_status(slot(i), TP_STATUS_AVAILABLE);
    next_ = stands;
    put_ = 0;
    return o;
  }

  std::byte* memory_ = nullptr;
  std::size_t slot_ = front;
  std::uint32_t count_ = 0;
  std::uint32_t next_ = 0;  // the slot for the next packet
  std::uint32_t put_ = 0;   // so many before it were put and not settled
};

}  // namespace runnel::detail

#endif  // defined(__linux__)

#endif
