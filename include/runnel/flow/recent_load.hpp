// SPDX-License-Identifier: MIT
// Whether so much has come lately that a loop had better look again than sleep. Nothing here is for users.
//
// Being woken costs whoever sends: an interrupt to another processor, which in a virtual machine is a way out of it
// and back. A veth lost a sixth to a fifth of its packets per second to a receiver that slept between the kernel's
// bursts of 64. So when such a burst comes more often than every 50 us, the loop stays awake for so long, and sleeps
// if none came; with less traffic, it sleeps at once. Where whoever sends needs the same processor, nothing can come
// meanwhile: each time that nothing came, twice as many bursts go by before it is tried again.
#ifndef RUNNEL_FLOW_RECENT_LOAD_HPP
#define RUNNEL_FLOW_RECENT_LOAD_HPP

#include <cstddef>  // size_t
#include <cstdint>  // int64_t, uint64_t

#include <runnel/base/time.hpp>

namespace runnel::detail {

/// What came between two rounds that found nothing.
class recent_load {
 public:
  /// How long a loop looks for more.
  static constexpr duration longest = microseconds(50);
  /// Packets in that time that make it worth while: as many as a driver's poll gives (NAPI_POLL_WEIGHT).
  static constexpr std::int64_t least = 64;

  /// How often it is looked at a clock that stands still. One that counts in 1 MHz does so for some looks; a
  /// simulation's does while nobody sleeps, and would be looked at for ever.
  static constexpr unsigned most_looks = 32;

  /// How many bursts go by at most, after looks that were in vain.
  static constexpr unsigned most_left_out = 255;

  /// A round found `n` packets, at least one. What waits in a queue between counts at each of them.
  constexpr void came(std::size_t n) noexcept { packets_ += n; }
  /// A round found none, and it is `now`: whether to look again instead of sleeping.
  [[nodiscard]] constexpr bool goes_on(instant now) noexcept {
    // Within one tick of the clock nobody knows how fast they came.
    if (packets_ != 0 && now != empty_since_) {
      const auto took = static_cast<std::uint64_t>((now - empty_since_).ns);
      if (heavy_) in_vain_ = 0;  // it was worth it
      heavy_ = packets_ >= took / static_cast<std::uint64_t>(longest.ns / least);
      packets_ = 0;
      empty_since_ = now;
      if (heavy_ && left_out_ != 0) {
        --left_out_;
        heavy_ = false;
      }
    }
    looks_ = now == asked_at_ ? looks_ + 1 : 0;
    asked_at_ = now;
    // Without a sign, so that the time is over as well where the clock was set back.
    const auto empty_for = static_cast<std::uint64_t>((now - empty_since_).ns);
    const bool over = empty_for >= static_cast<std::uint64_t>(longest.ns);
    if (heavy_ && over) left_out_ = in_vain_ = in_vain_ < most_left_out ? 2 * in_vain_ + 1 : most_left_out;
    if (looks_ >= most_looks || over) heavy_ = false;
    return heavy_;
  }

 private:
  std::uint64_t packets_ = 0;  // since then
  instant empty_since_{};
  instant asked_at_{};
  unsigned looks_ = 0;     // at the same time as the one before, in a row
  unsigned in_vain_ = 0;   // bursts to leave out, as it was decided last
  unsigned left_out_ = 0;  // of these, still to come
  bool heavy_ = false;     // and it looks on
};

}  // namespace runnel::detail

#endif
