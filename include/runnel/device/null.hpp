// SPDX-License-Identifier: MIT
// A device that goes nowhere: an endless source of equal frames and a sink for any packet. For benchmarks and tests.
#ifndef RUNNEL_DEVICE_NULL_HPP
#define RUNNEL_DEVICE_NULL_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint32_t, uint64_t

#include <runnel/base/bytes.hpp>
#include <runnel/base/time.hpp>
#include <runnel/config.hpp>
#include <runnel/device/device.hpp>
#include <runnel/packet/packet.hpp>
#include <runnel/packet/pool.hpp>

namespace runnel {

/// What a null device hands out.
struct null_device_options {
  std::uint32_t length = 64;         ///< of every frame, in bytes
  bytes fill{};                      ///< what a frame begins with; zeros follow. Need not outlive the constructor
  bool copy = false;                 ///< write the bytes anew into every frame handed out
  std::uint64_t limit = UINT64_MAX;  ///< frames to hand out before it is done; the default never ends
};

/// Hands out frames in slots of a pool, as many as asked for and free, and releases what is transmitted.
///
/// Without `copy`, the bytes are written once into every slot that is free at construction, which touches all of them;
/// after that a frame shows what its last user left there, and costs nothing but the slot. With `copy` every frame
/// shows the template, and costs copying it.
class null_device {
 public:
  /// The pool must outlive the device. A `length` beyond what a slot of the pool holds is a programming error
  /// (RUNNEL_ASSERT), and is cut to that.
  explicit null_device(pool& memory, const null_device_options& options = {}) noexcept
      : memory_(memory), left_(options.limit), copy_(options.copy) {
    const std::uint32_t most = memory.packet_bytes();
    RUNNEL_ASSERT(options.length <= most);
    like_.length = options.length < most ? options.length : most;
    like_.headroom = static_cast<std::uint16_t>(memory.headroom());
    like_.tailroom = static_cast<std::uint16_t>(most - like_.length);
    template_ = memory.allocate_frame();
    if (template_.slot == no_slot) return;
    const bytes begin = options.fill.first(like_.length);
    copy_bytes(template_.data, begin.data(), begin.size());
    zero_bytes(template_.data + begin.size(), like_.length - begin.size());
    if (!copy_) fill_free_slots();
  }
  null_device(const null_device&) = delete;
  null_device& operator=(const null_device&) = delete;
  ~null_device() {
    if (template_.slot != no_slot) memory_.release(&template_, 1);
  }

  /// The pool that its frames are from.
  [[nodiscard]] pool& memory() noexcept { return memory_; }
  /// Up to `room` frames, fewer when the pool has not as many slots (counted in its `exhausted()`), stamped with `now`.
  template <class Take>
  [[nodiscard]] std::size_t receive(std::size_t room, instant now, Take&& take) noexcept {
    const std::size_t wanted = room < left_ ? room : static_cast<std::size_t>(left_);
    frame like = like_;
    like.timestamp = now;
    std::size_t n = 0;
    if (!copy_ || template_.slot == no_slot) {
      n = memory_.allocate_frames(wanted, like, take);
    } else {
      n = memory_.allocate_frames(wanted, like, [&](const frame& f) {
        copy_bytes(f.data, template_.data, f.length);
        take(f);
      });
    }
    left_ -= n;
    received_ += n;
    return n;
  }
  /// Whether the limit is reached.
  [[nodiscard]] bool done() const noexcept { return left_ == 0; }
  /// Releases all of them.
  [[nodiscard]] std::size_t transmit(packet* packets, std::size_t n, instant) noexcept {
    memory_.release(packets, n);
    transmitted_ += n;
    return n;
  }
  /// The same for frames that came from this device.
  [[nodiscard]] std::size_t transmit(const frame* frames, std::size_t n, instant) noexcept {
    memory_.release(frames, n);
    transmitted_ += n;
    return n;
  }

  /// Frames handed out so far.
  [[nodiscard]] std::uint64_t received() const noexcept { return received_; }
  /// Packets and frames taken so far.
  [[nodiscard]] std::uint64_t transmitted() const noexcept { return transmitted_; }

 private:
  // All free slots are held at once, as one long chain: the pool's free list is a stack, and what is given back comes
  // out again next.
  void fill_free_slots() noexcept {
    const std::uint32_t n = memory_.available();
    packet all;
    for (std::uint32_t i = 0; i < n; ++i) {
      packet p = memory_.allocate();
      if (!p) break;
      (void)p.append(bytes{template_.data, like_.length});
      if (all) (void)p.append(static_cast<packet&&>(all));
      all = static_cast<packet&&>(p);
    }
  }

  pool& memory_;
  frame template_{};  // a slot of its own, with the bytes
  frame like_{};      // what every frame says
  std::uint64_t left_;
  std::uint64_t received_ = 0;
  std::uint64_t transmitted_ = 0;
  bool copy_;
};
static_assert(receiving_device<null_device> && transmitting_device<null_device>);

}  // namespace runnel

#endif
