// SPDX-License-Identifier: MIT
// One queue of an AF_XDP device: moves slots of a pool to the kernel and back. Nothing here is for users.
//
// Two sockets share the queue, with its fill and completion rings: one receives, the other one sends. The kernel counts
// what it drops in a socket, in a cache line that it reads for each packet that it sends from the same one: on an
// interface that gets more than we take, another processor would have that line most of the time.
//
// How many slots are with the kernel is counted here, so that neither index that the kernel writes has to be read to
// know whether there is room: at most as many slots are under way as the smallest ring on their way has entries. A
// frame in several pieces (xsk_umem.hpp) has an entry for each: sent, it is one slot, which comes back once for each
// piece; received, it is a slot for each piece, until it lies in the first of them.
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
#include <runnel/device/xsk_umem.hpp>
#include <runnel/packet/packet.hpp>
#include <runnel/packet/pool.hpp>

#if defined(__linux__)

namespace runnel::detail {

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

  /// Whether packets are on the transmit ring that nobody sends before we ask again: for that, or because the interface
  /// was down.
  [[nodiscard]] bool waits_to_be_asked() const noexcept { return driver_was_busy_ || was_down_; }
  /// Whether the kernel has fewer slots to receive into than it should have.
  [[nodiscard]] bool lacks_slots() const noexcept { return receiving_ < level_; }

  template <class Take>
  RUNNEL_INLINE std::size_t receive(const xsk_umem& umem, std::size_t room, instant now, Take& take,
                                    device::af_xdp_statistics& counts) noexcept {
    if (transmitting_ != 0) take_back_sent(umem);
    const auto most = static_cast<std::uint32_t>(room < level_ ? room : level_);
    std::uint32_t n = receiver_.receive.available(most), pieces = 0;
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
      if (((d.options & xsk_goes_on) | static_cast<std::uint32_t>(gathering_)) != 0) [[unlikely]] {
        if (gather(umem, f.slot, f.data, d, counts)) {
          frame whole = gathered_;
          whole.timestamp = now;
          whole.queue = number_;
          hand_out(umem, whole, length, take);
        } else {
          ++pieces;  // no frame: there may be one more
          n = receiver_.receive.available(n + 1);
        }
        continue;
      }
      hand_out(umem, f, length, take);
    }
    if (n != 0) {
      receiver_.receive.release(n);
      receiving_ -= n;
      counts.received += n - pieces;
      counts.received_bytes += length;
    }
    if (driver_was_busy_) [[unlikely]]
      kick(counts);
    if (level_ - receiving_ >= refill_batch_ || n == 0) refill(umem);
    return n - pieces;
  }

  [[nodiscard]] std::size_t transmit(const xsk_umem& umem, packet* packets, std::size_t n,
                                     device::af_xdp_statistics& counts) noexcept {
    return send(umem, n, counts, packet_source{*this, umem, packets, counts});
  }
  [[nodiscard]] std::size_t transmit(const xsk_umem& umem, const frame* frames, std::size_t n,
                                     device::af_xdp_statistics& counts) noexcept {
    return send(umem, n, counts, frame_source{frames});
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
  enum class gathering : std::uint8_t {
    nothing = 0,
    frame,   // what has come of it so far is in `gathered_`, in the kernel's custody still
    excess,  // the rest of a frame that is too long
  };

  // A received frame becomes the user's.
  template <class Take>
  RUNNEL_INLINE static void hand_out(const xsk_umem& umem, frame& f, std::uint64_t& length, Take& take) noexcept {
    // Not what the pool was asked for, which may be less: the kernel fills all that it knows of.
    f.tailroom = static_cast<std::uint16_t>(umem.room - f.headroom - f.length);
    umem.custody[f.slot] = xsk_custody::ours;
    length += f.length;
    take(f);
  }
  // A piece of a frame that lies in several: it is copied behind those before it, and its slot is free again. Whether
  // it was the last one, and `gathered_` is the whole frame. Takes no frame: the caller's would not stay in registers
  // then.
  [[gnu::noinline]] bool gather(const xsk_umem& umem, std::uint32_t slot, std::byte* data, const xsk_descriptor d,
                                device::af_xdp_statistics& counts) noexcept {
    if (gathering_ == gathering::nothing) {
      gathered_.slot = slot;
      gathered_.data = data;
      gathered_.length = d.length;
      gathered_.headroom = static_cast<std::uint16_t>(d.address >> xsk_offset_shift);
      gathering_ = gathering::frame;
      return false;
    }
    const bool fits = gathering_ == gathering::frame && gathered_.headroom + gathered_.length + d.length <= umem.room;
    if (fits) {
      ::memcpy(gathered_.data + gathered_.length, data, d.length);
      gathered_.length += d.length;
    } else if (gathering_ == gathering::frame) {
      give_back(umem, gathered_.slot);
      gathering_ = gathering::excess;
    }
    give_back(umem, slot);
    if ((d.options & xsk_goes_on) != 0) return false;
    gathering_ = gathering::nothing;
    ++(fits ? counts.gathered : counts.too_long);
    return fits;
  }
  static void give_back(const xsk_umem& umem, std::uint32_t slot) noexcept {
    umem.custody[slot] = xsk_custody::ours;
    umem.memory->release_slots(&slot, 1);
  }

  // Puts a frame on the transmit ring in several pieces, `at` entries behind what was submitted: how many. 0 when it
  // leaves its slot.
  [[gnu::noinline]] std::uint32_t put_pieces(const xsk_umem& umem, const frame& f, std::uint32_t at) const noexcept {
    const std::uint64_t address = umem.address_of(f.slot);
    auto offset = static_cast<std::uint64_t>(f.data - umem.base) - address;
    if (offset + f.length > umem.reach()) return 0;
    std::uint32_t rest = f.length, piece = umem.first_piece(address + offset, f.length), pieces = 1;
    for (; rest > piece; rest -= piece, offset += piece, piece = umem.chunk, ++pieces)
      sender_.transmit[at++] = {address | offset << xsk_offset_shift, piece, xsk_goes_on};
    sender_.transmit[at] = {address | offset << xsk_offset_shift, rest, 0};
    // Each piece comes back by itself, with the slot's address: the last one is recognised by counting.
    umem.custody[f.slot] = static_cast<xsk_custody>(static_cast<std::uint32_t>(xsk_custody::transmit) + pieces - 1);
    return pieces;
  }

  // What is sent: `prepare(i)` says whether the packet at i can go, `length(i)` is its length then, `take(i)` gives it
  // up.
  struct packet_source {
    xsk_queue& queue;
    const xsk_umem& umem;
    packet* packets;
    device::af_xdp_statistics& counts;

    RUNNEL_INLINE fate prepare(std::size_t i) const noexcept {
      packet& p = packets[i];
      if (!p.is_plain() || &p.home() != umem.memory || p.checksum() == checksum_status::partial ||
          p.segment_size() != 0) [[unlikely]]
        return queue.make_plain(umem, p, counts);
      return fate::ready;
    }
    [[nodiscard]] RUNNEL_INLINE std::uint32_t length(std::size_t i) const noexcept { return packets[i].length(); }
    [[nodiscard]] RUNNEL_INLINE frame take(std::size_t i) const noexcept { return packets[i].detach(); }
  };
  struct frame_source {
    const frame* frames;

    [[nodiscard]] RUNNEL_INLINE fate prepare(std::size_t) const noexcept { return fate::ready; }
    [[nodiscard]] RUNNEL_INLINE std::uint32_t length(std::size_t i) const noexcept { return frames[i].length; }
    [[nodiscard]] RUNNEL_INLINE const frame& take(std::size_t i) const noexcept { return frames[i]; }
  };
  template <class Source>
  RUNNEL_INLINE std::size_t send(const xsk_umem& umem, std::size_t n, device::af_xdp_statistics& counts,
                                 const Source source) noexcept {
    if (transmitting_ != 0) take_back_sent(umem);
    const std::uint32_t room = sender_.transmit.size() - transmitting_;
    std::uint32_t put = 0, more_pieces = 0;
    std::uint64_t length = 0;
    std::size_t i = 0;
    for (; i < n && put < room; ++i) {
      if (const fate found = source.prepare(i); found != fate::ready) [[unlikely]] {
        if (found == fate::kept) break;
        ++counts.lost;
        continue;
      }
      const std::uint32_t bytes = source.length(i);
      if (bytes < shortest || bytes > umem.chunk) [[unlikely]] {
        const bool fits = bytes >= shortest && bytes <= umem.room;
        if (fits && umem.pieces_to_send(bytes) > room - put) break;
        const frame f = source.take(i);
        const std::uint32_t pieces = fits ? put_pieces(umem, f, put) : 0;
        if (pieces == 0) {
          umem.memory->release(&f, 1);
          ++counts.lost;
          continue;
        }
        put += pieces;
        more_pieces += pieces - 1;
        length += bytes;
        continue;
      }
      const frame& f = source.take(i);
      const std::uint64_t address = umem.address_of(f.slot);
      const auto offset = static_cast<std::uint64_t>(f.data - umem.base) - address;
      sender_.transmit[put++] = {address | offset << xsk_offset_shift, bytes, 0};
      umem.custody[f.slot] = xsk_custody::transmit;
      length += bytes;
    }
    if (put != 0) {
      sender_.transmit.submit(put);
      transmitting_ += put;
      counts.transmitted += put - more_pieces;
      counts.transmitted_bytes += length;
    }
    if (transmitting_ != 0) kick(counts);
    return i;
  }

  // A packet that cannot go as it is becomes one that can, or is lost, or stays because there is no slot for its copy.
  [[gnu::noinline]] fate make_plain(const xsk_umem& umem, packet& p, device::af_xdp_statistics& counts) noexcept {
    // Who transmits here takes slots from this pool: it is that pool's thread.
    if (&p.home() == umem.memory) p.come_home();
    const std::size_t length = p.total_length();
    // Nobody behind this cuts it.
    const bool whole =
        p.segment_size() == 0 || is_one_segment(p.contents(), p.layers().link_kind(), length, p.segment_size());
    if (length < shortest || length > umem.room || !whole) {
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
      p.reset();  // longer than the pool's packets, which may be less than what the kernel knows of a slot
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
      std::uint32_t whole = 0;
      for (std::uint32_t i = 0; i < n; ++i) {
        const std::uint32_t slot = umem.slot_at(receiver_.completion[i]);
        xsk_custody& custody = umem.custody[slot];
        RUNNEL_ASSERT(custody >= xsk_custody::transmit);
        if (custody != xsk_custody::transmit) [[unlikely]] {
          custody = static_cast<xsk_custody>(static_cast<std::uint32_t>(custody) - 1);
          continue;
        }
        custody = xsk_custody::ours;
        slots[whole++] = slot;
      }
      if (n == 0) return;
      receiver_.completion.release(n);
      umem.memory->release_slots(slots, whole);
      transmitting_ -= n;
    } while (n == 64);
  }

  // Lets the kernel send. One call sends some packets only, 32 before Linux 6.18: goes on as long as it gets on.
  void kick(device::af_xdp_statistics& counts) noexcept {
    driver_was_busy_ = was_down_ = false;
    if (!sender_.transmit.needs_wakeup()) return;
    std::uint32_t waiting = sender_.transmit.waiting();
    while (waiting != 0) {
      const int number = sender_.kick_transmit();
      ++counts.system_calls;
      // What is none of these is for `take_error` to find out, or will be over when the interface is up again.
      if (number != EAGAIN && number != EBUSY && number != ENOBUFS) {
        was_down_ = number != 0;
        return;
      }
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
  std::uint32_t transmitting_ = 0;  // pieces on their way from the transmit ring back to us
  std::uint8_t number_;             // of the interface's queue
  bool busy_polling_;
  bool driver_was_busy_ = false;
  bool was_down_ = false;
  gathering gathering_ = gathering::nothing;
  frame gathered_{};
};

}  // namespace runnel::detail

#endif  // defined(__linux__)

#endif
