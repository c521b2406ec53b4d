// SPDX-License-Identifier: MIT
// One queue of an AF_XDP device: moves slots of a pool to the kernel and back. Nothing here is for users.
//
// Two sockets share the queue, with its fill and completion rings: one receives, the other one sends. The kernel counts
// what it drops in a socket, in a cache line that it reads for each packet that it sends from the same one: on an
// interface that gets more than we take, another processor would have that line most of the time.
//
// How many slots are with the kernel is counted here, so that neither index that the kernel writes has to be read to
// know whether there is room: at most as many slots are under way as the smallest ring on their way has entries.
#ifndef RUNNEL_DEVICE_XSK_QUEUE_HPP
#define RUNNEL_DEVICE_XSK_QUEUE_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t, uint64_t

#include <runnel/base/time.hpp>
#include <runnel/config.hpp>
#include <runnel/device/af_xdp_options.hpp>
#include <runnel/device/partial_checksum.hpp>
#include <runnel/device/xsk_ring.hpp>
#include <runnel/device/xsk_socket.hpp>
#include <runnel/packet/packet.hpp>
#include <runnel/packet/pool.hpp>

#if defined(__linux__)

namespace runnel::detail {

/// Who has a slot.
enum class xsk_custody : std::uint8_t {
  ours,      // free, or the user's
  receive,   // the kernel's, to receive into; or received into and not looked at yet
  transmit,  // the kernel's, to send from; or sent and not taken back yet
  unused,    // nobody's: the kernel could not use it
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

  /// All but custody. `page` is the size of a page.
  [[nodiscard]] static xsk_umem of(pool& memory, std::size_t page) noexcept {
    xsk_umem u;
    u.memory = &memory;
    u.first = reinterpret_cast<std::uintptr_t>(memory.slots()) % page;
    u.base = memory.slots() - u.first;
    u.stride = memory.slot_stride();
    u.chunk = static_cast<std::uint32_t>(u.stride < page ? u.stride : page);
    const auto lines = static_cast<std::uint32_t>(u.stride / 64);
    u.inverse = lines;  // right in three bits; each step doubles them
    for (int i = 0; i < 4; ++i) u.inverse *= 2u - lines * u.inverse;
    return u;
  }
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
    return at / huge_page != (at + chunk - 1) / huge_page;
  }
  [[nodiscard]] mutable_bytes whole() const noexcept {
    return {base, static_cast<std::size_t>(first + stride * memory->capacity())};
  }
};

/// The two bound sockets of a queue, and what is under way on them.
class xsk_queue {
 public:
  /// `level` slots are kept with the kernel for packets to come: at most what the receive ring holds.
  xsk_queue(xsk_socket&& receiver, xsk_socket&& sender, std::uint8_t number, std::uint32_t level,
            bool busy_polling) noexcept
      : receiver_(static_cast<xsk_socket&&>(receiver)),
        sender_(static_cast<xsk_socket&&>(sender)),
        level_(level),
        refill_batch_(level / 2 < most_refilled ? (level + 1) / 2 : most_refilled),
        number_(number),
        busy_polling_(busy_polling) {}

  [[nodiscard]] const xsk_socket& receiver() const noexcept { return receiver_; }
  [[nodiscard]] const xsk_socket& sender() const noexcept { return sender_; }
  /// Whether packets are on the transmit ring because the driver was busy.
  [[nodiscard]] bool waits_for_driver() const noexcept { return driver_was_busy_; }

  /// Whether the kernel has fewer slots to receive into than it should have.
  [[nodiscard]] bool lacks_slots() const noexcept { return receiving_ < level_; }

  template <class Take>
  RUNNEL_INLINE std::size_t receive(const xsk_umem& umem, std::size_t room, instant now, Take& take,
                                    device::af_xdp_statistics& counts) noexcept {
    if (transmitting_ != 0) take_back_sent(umem);
    const auto most = static_cast<std::uint32_t>(room < level_ ? room : level_);
    const std::uint32_t n = receiver_.receive.available(most);
    frame f;
    f.timestamp = now;
    f.queue = number_;
    std::uint64_t length = 0;
    for (std::uint32_t i = 0; i < n; ++i) {
      const xsk_descriptor d = receiver_.receive[i];
      const auto offset = static_cast<std::uint32_t>(d.address >> xsk_offset_shift);
      f.slot = umem.slot_at(d.address);
      f.data = umem.base + (d.address & xsk_chunk_mask) + offset;
      f.length = d.length;
      f.headroom = static_cast<std::uint16_t>(offset);
      RUNNEL_ASSERT(umem.custody[f.slot] == xsk_custody::receive && offset + d.length <= umem.chunk);
      // Not what the pool was asked for, which may be less: the kernel fills all that it knows of.
      f.tailroom = static_cast<std::uint16_t>(umem.chunk - offset - d.length);
      umem.custody[f.slot] = xsk_custody::ours;
      length += d.length;
      take(f);
    }
    if (n != 0) {
      receiver_.receive.release(n);
      receiving_ -= n;
      counts.received += n;
      counts.received_bytes += length;
    }
    if (driver_was_busy_) [[unlikely]]
      kick(counts);
    if (level_ - receiving_ >= refill_batch_ || n == 0) refill(umem);
    return n;
  }

  [[nodiscard]] std::size_t transmit(const xsk_umem& umem, packet* packets, std::size_t n,
                                     device::af_xdp_statistics& counts) noexcept {
    return send(umem, n, counts, [&](std::size_t i, frame& f) noexcept {
      packet& p = packets[i];
      if (!p.is_plain() || &p.home() != umem.memory || p.checksum() == checksum_status::partial ||
          p.segment_size() != 0) [[unlikely]]
        if (const fate found = make_plain(umem, p, counts); found != fate::ready) return found;
      f = p.detach();
      return fate::ready;
    });
  }
  [[nodiscard]] std::size_t transmit(const xsk_umem& umem, const frame* frames, std::size_t n,
                                     device::af_xdp_statistics& counts) noexcept {
    return send(umem, n, counts, [&](std::size_t i, frame& f) noexcept {
      f = frames[i];
      return fate::ready;
    });
  }

  /// What there is to do while nothing comes: the driver may have to be told of free slots, or be asked to poll.
  void look_after(const xsk_umem& umem, device::af_xdp_statistics& counts) noexcept {
    if (transmitting_ != 0) take_back_sent(umem);
    if (busy_polling_ || receiver_.fill.needs_wakeup()) {
      receiver_.kick_receive();
      ++counts.system_calls;
    }
    if (transmitting_ != 0 && sender_.transmit.waiting() != 0) kick(counts);
  }

  /// Lets the kernel have free slots for packets to come, as many as are missing and free.
  void refill(const xsk_umem& umem) noexcept {
    pool& memory = *umem.memory;
    std::uint32_t n = level_ - receiving_;
    if (memory.available() < n) {
      memory.reclaim();
      if (memory.available() < n) n = memory.available();
    }
    if (n == 0) return;
    std::uint32_t i = 0;
    (void)memory.allocate_frames(n, frame{}, [&](const frame& f) noexcept {
      receiver_.fill[i++] = umem.address_of(f.slot);
      umem.custody[f.slot] = xsk_custody::receive;
    });
    receiver_.fill.submit(n);
    receiving_ += n;
  }

 private:
  // So many slots are given to the kernel at once, or more; of few, half of them, so that it never has none.
  static constexpr std::uint32_t most_refilled = 32;
  // Of an Ethernet header: the kernel takes less, but drivers need not be ready for it.
  static constexpr std::uint32_t shortest = 14;

  enum class fate : std::uint8_t { ready, lost, kept };

  // `get(i, frame)` gives up the packet at i, when it is ready.
  template <class Get>
  RUNNEL_INLINE std::size_t send(const xsk_umem& umem, std::size_t n, device::af_xdp_statistics& counts,
                                 Get get) noexcept {
    if (transmitting_ != 0) take_back_sent(umem);
    const std::uint32_t room = sender_.transmit.size() - transmitting_;
    std::uint32_t put = 0;
    std::uint64_t length = 0;
    std::size_t i = 0;
    for (; i < n && put < room; ++i) {
      frame f;
      if (const fate found = get(i, f); found != fate::ready) [[unlikely]] {
        if (found == fate::kept) break;
        ++counts.lost;
        continue;
      }
      if (f.length < shortest || f.length > umem.chunk) [[unlikely]] {
        umem.memory->release(&f, 1);
        ++counts.lost;
        continue;
      }
      const std::uint64_t address = umem.address_of(f.slot);
      const auto offset = static_cast<std::uint64_t>(f.data - umem.base) - address;
      sender_.transmit[put++] = {address | offset << xsk_offset_shift, f.length, 0};
      umem.custody[f.slot] = xsk_custody::transmit;
      length += f.length;
    }
    if (put != 0) {
      sender_.transmit.submit(put);
      transmitting_ += put;
      counts.transmitted += put;
      counts.transmitted_bytes += length;
    }
    if (transmitting_ != 0) kick(counts);
    return i;
  }

  // A packet that cannot go as it is becomes one that can, or is lost, or stays because there is no slot for its copy.
  [[gnu::noinline]] fate make_plain(const xsk_umem& umem, packet& p, device::af_xdp_statistics& counts) noexcept {
    const std::size_t length = p.total_length();
    // Nobody behind this cuts it.
    const bool whole =
        p.segment_size() == 0 || is_one_segment(p.contents(), p.layers().link_kind(), length, p.segment_size());
    if (length < shortest || length > umem.chunk || !whole) {
      p.reset();
      return fate::lost;
    }
    if (!complete_transport_checksum(p, p.layers().link_kind())) {
      ++counts.no_slot;
      return fate::kept;
    }
    if (p.is_plain() && &p.home() == umem.memory) return fate::ready;
    packet own = p.copy(*umem.memory);
    if (!own) {
      if (umem.memory->available() == 0) {
        ++counts.no_slot;
        return fate::kept;
      }
      p.reset();  // from another thread, and from this pool: it cannot be copied
      return fate::lost;
    }
    p = static_cast<packet&&>(own);
    ++counts.copied;
    return fate::ready;
  }

  void take_back_sent(const xsk_umem& umem) noexcept {
    std::uint32_t slots[64], n = 0;
    do {
      n = receiver_.completion.available(64);
      for (std::uint32_t i = 0; i < n; ++i) {
        slots[i] = umem.slot_at(receiver_.completion[i]);
        RUNNEL_ASSERT(umem.custody[slots[i]] == xsk_custody::transmit);
        umem.custody[slots[i]] = xsk_custody::ours;
      }
      if (n == 0) return;
      receiver_.completion.release(n);
      umem.memory->release_slots(slots, n);
      transmitting_ -= n;
    } while (n == 64);
  }

  // Lets the kernel send. One call sends some packets only, 32 before Linux 6.18: goes on as long as it gets on.
  void kick(device::af_xdp_statistics& counts) noexcept {
    driver_was_busy_ = false;
    if (!sender_.transmit.needs_wakeup()) return;
    std::uint32_t waiting = sender_.transmit.waiting();
    while (waiting != 0) {
      const int number = sender_.kick_transmit();
      ++counts.system_calls;
      // What is none of these is for `take_error` to find out, or will be over when the interface is up again.
      if (number != EAGAIN && number != EBUSY && number != ENOBUFS) return;
      const std::uint32_t left = sender_.transmit.waiting();
      if (left == waiting) {
        driver_was_busy_ = true;
        return;
      }
      waiting = left;
    }
  }

  xsk_socket receiver_;
  xsk_socket sender_;
  std::uint32_t level_;
  std::uint32_t refill_batch_;
  std::uint32_t receiving_ = 0;     // slots on their way from the fill ring to us
  std::uint32_t transmitting_ = 0;  // slots on their way from the transmit ring back to us
  std::uint8_t number_;             // of the interface's queue
  bool busy_polling_;
  bool driver_was_busy_ = false;
};

}  // namespace runnel::detail

#endif  // defined(__linux__)

#endif
