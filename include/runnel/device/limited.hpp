// SPDX-License-Identifier: MIT
// A device around a device that lets only so many bits a second through, in each direction: a token bucket.
//
//     device::limited wan(*nic, {.receive_rate = 10'000'000, .transmit_rate = 1'000'000});
//
// Theory of operation. A bucket of `burst` bytes fills at the rate. While there is anything in it, packets pass, and
// take out as much as they are long; the last one may take more, and what is owed is filled up first. The bucket is
// kept as the time when it will be full again: it is not empty while that is less than a whole bucket away.
#ifndef RUNNEL_DEVICE_LIMITED_HPP
#define RUNNEL_DEVICE_LIMITED_HPP

#include <cstddef>  // size_t
#include <cstdint>  // int64_t, uint32_t, uint64_t

#include <runnel/base/time.hpp>
#include <runnel/device/around.hpp>
#include <runnel/device/device.hpp>
#include <runnel/packet/packet.hpp>

namespace runnel::device {

/// How much passes. A rate of 0 is no limit.
struct limited_options {
  std::uint64_t receive_rate = 0;   ///< bits a second, counting the packets' bytes
  std::uint64_t transmit_rate = 0;  ///< the same for what is sent
  /// Bytes that may pass at once after a pause, in each direction; from 1 to 2^30, and more is the same as that.
  std::uint32_t burst = 16 * 1024;
};

}  // namespace runnel::device

namespace runnel::detail {

class rate_bucket {
 public:
  rate_bucket(std::uint64_t rate, std::uint32_t burst) noexcept
      : rate_(rate),
        burst_(rate != 0 ? time_of(burst == 0     ? 1
                                   : burst < most ? burst
                                                  : most)
                         : duration{}) {}
  /// Whether something may pass at `now`.
  [[nodiscard]] bool open(instant now) const noexcept { return rate_ == 0 || full_at_ < now + burst_; }
  /// From when on something may pass.
  [[nodiscard]] instant opens() const noexcept { return full_at_ - burst_ + nanoseconds(1); }
  /// How many packets of a usual length there is for; at least 1.
  [[nodiscard]] std::size_t packets(instant now) const noexcept {
    constexpr std::uint64_t usual = 1514;
    if (rate_ == 0) return SIZE_MAX;
    const duration left = now + burst_ - (full_at_ < now ? now : full_at_);
    const std::uint64_t per_packet = usual * 8'000'000'000 / rate_ + 1;
    return 1 + static_cast<std::size_t>(static_cast<std::uint64_t>(left.ns) / per_packet);
  }
  void take(std::uint64_t bytes, instant now) noexcept {
    if (rate_ == 0) return;
    if (full_at_ < now) {
      full_at_ = now;
      part_ = 0;
    }
    full_at_ = full_at_ + time_of(bytes);
  }

 private:
  static constexpr std::uint32_t most = 1u << 30;  // beyond twice that, the product below does not fit 64 bits

  // Parts of a nanosecond are kept for the next time.
  duration time_of(std::uint64_t bytes) noexcept {
    const std::uint64_t all = bytes * 8'000'000'000 + part_;
    part_ = all % rate_;
    return {static_cast<std::int64_t>(all / rate_)};
  }

  std::uint64_t rate_;
  std::uint64_t part_ = 0;
  duration burst_;
  instant full_at_{INT64_MIN / 2};
};

}  // namespace runnel::detail

namespace runnel::device {

/// Hands out and takes no more than the rates allow. Nothing is dropped here: what may not pass yet stays in the
/// device, or with the caller, as when a device is full. A loop sleeps until something may pass again. Refers to
/// `device`, which must outlive it.
///
/// Packets longer than 1514 bytes may overdraw the bucket by several of them; the rate holds all the same.
template <class Device>
class limited : public detail::around_device<Device> {
 public:
  /// Around `device`.
  limited(Device& device, const limited_options& options) noexcept
      : detail::around_device<Device>(device),
        in_(options.receive_rate, options.burst),
        out_(options.transmit_rate, options.burst) {}

  /// See `receiving_device`.
  template <class Take>
    requires receiving_device<Device>
  [[nodiscard]] std::size_t receive(std::size_t room, instant now, Take&& take) noexcept {
    std::size_t n = 0;
    closed_ = false;
    while (n < room) {
      if (!in_.open(now)) {
        closed_ = true;
        break;
      }
      const std::size_t some = in_.packets(now) < room - n ? in_.packets(now) : room - n;
      std::uint64_t bytes = 0;
      const std::size_t got = this->inner().receive(some, now, [&](const frame& f) {
        bytes += f.length;
        take(f);
      });
      in_.take(bytes, now);
      n += got;
      if (got < some) break;
    }
    if (!in_.open(now)) closed_ = true;
    return n;
  }
  /// See `transmitting_device`.
  [[nodiscard]] std::size_t transmit(packet* packets, std::size_t n, instant now) noexcept
    requires transmitting_device<Device>
  {
    return send(packets, n, now, [](const packet& p) { return p.total_length(); });
  }
  /// See `frame_transmitting_device`.
  [[nodiscard]] std::size_t transmit(const frame* frames, std::size_t n, instant now) noexcept
    requires frame_transmitting_device<Device>
  {
    return send(frames, n, now, [](const frame& f) { return std::size_t{f.length}; });
  }
  /// When more may be received, if the rate was reached; else what the device says.
  [[nodiscard]] instant next_due() noexcept {
    const instant inner = detail::around_device<Device>::next_due();
    return closed_ && (inner == never || inner < in_.opens()) ? in_.opens() : inner;
  }
  /// That of the device; -1 while nothing may be received.
  [[nodiscard]] int wait_handle() noexcept { return closed_ ? -1 : detail::around_device<Device>::wait_handle(); }
  /// That of the device; -1 while nothing may be sent, which is asked for by trying again.
  [[nodiscard]] int transmit_handle() noexcept {
    return out_closed_ ? -1 : detail::around_device<Device>::transmit_handle();
  }

 private:
  template <class Item, class Length>
  std::size_t send(Item* items, std::size_t n, instant now, Length length_of) noexcept {
    std::size_t sent = 0;
    out_closed_ = false;
    while (sent < n) {
      if (!out_.open(now)) {
        out_closed_ = true;
        break;
      }
      // As many as there is something in the bucket for; what the device leaves is not paid.
      constexpr std::size_t most = 64;
      std::size_t lengths[most];
      detail::rate_bucket paid = out_;
      std::size_t some = 0;
      for (; some < most && sent + some < n && paid.open(now); ++some) {
        lengths[some] = length_of(items[sent + some]);
        paid.take(lengths[some], now);
      }
      const std::size_t taken = this->inner().transmit(items + sent, some, now);
      for (std::size_t i = 0; i < taken; ++i) out_.take(lengths[i], now);
      sent += taken;
      if (taken < some) break;
    }
    return sent;
  }

  detail::rate_bucket in_;
  detail::rate_bucket out_;
  bool closed_ = false;  // at the last `receive`
  bool out_closed_ = false;
};

}  // namespace runnel::device

#endif
