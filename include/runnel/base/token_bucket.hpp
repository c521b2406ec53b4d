// SPDX-License-Identifier: MIT
// A token bucket: so many in a second, and some at once.
#ifndef RUNNEL_BASE_TOKEN_BUCKET_HPP
#define RUNNEL_BASE_TOKEN_BUCKET_HPP

#include <cstdint>  // int64_t, uint32_t, uint64_t

#include <runnel/base/time.hpp>

namespace runnel {

/// Lets `rate` tokens pass in each unit of time, and `burst` more at once after a pause. Holds no tokens but the time
/// at which the bucket is full again, as GCRA does (ITU-T I.371): 40 bytes, a few instructions to ask. For one thread.
class token_bucket {
 public:
  /// A full bucket of `burst` tokens, which gains `rate` tokens in each `unit`. A rate of 0 gains none; a burst of 0
  /// is one of 1. Rates above one a nanosecond count as that.
  constexpr explicit token_bucket(std::uint64_t rate, std::uint32_t burst = 5, duration unit = seconds(1)) noexcept
      : rate_(rate),
        gap_(rate == 0 ? 0 : static_cast<std::uint64_t>(unit.ns) / rate),
        burst_(burst == 0 ? 1 : burst),
        left_(burst_) {
    if (rate != 0 && gap_ == 0) gap_ = 1;
  }

  /// Takes a token. False when there is none at `now`. Time that goes back brings no tokens, and takes none.
  constexpr bool take(instant now) noexcept {
    if (rate_ == 0) {
      if (left_ != 0) --left_;
      else return false;
      return true;
    }
    return take(now, full_at_);
  }
  /// The same for one of many buckets alike, of which nothing is kept but the time `full_at` when it is full again: at
  /// first `instant{INT64_MIN}`. For rates above 0.
  constexpr bool take(instant now, instant& full_at) const noexcept {
    const auto room = static_cast<std::int64_t>(gap_ > most / burst_ ? most : gap_ * burst_);
    const instant full = full_at < now ? now : full_at;
    if (full - now > duration{room - static_cast<std::int64_t>(gap_)}) return false;
    full_at = full + nanoseconds(static_cast<std::int64_t>(gap_));
    return true;
  }

 private:
  static constexpr std::uint64_t most = std::uint64_t{1} << 61;

  std::uint64_t rate_;
  std::uint64_t gap_;  // nanoseconds for a token
  std::uint32_t burst_;
  std::uint32_t left_;
  instant full_at_{INT64_MIN};
};

}  // namespace runnel

#endif
