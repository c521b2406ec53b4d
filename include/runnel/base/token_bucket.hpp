// SPDX-License-Identifier: MIT
// A token bucket: so many in a second, and some at once.
#ifndef RUNNEL_BASE_TOKEN_BUCKET_HPP
#define RUNNEL_BASE_TOKEN_BUCKET_HPP

#include <cstdint>  // int64_t, uint32_t, uint64_t

#include <runnel/base/time.hpp>

namespace runnel {

/// Lets `rate` tokens pass in each unit of time, and `burst` more at once after a pause: packets, or bytes. Holds no
/// tokens but the time at which the bucket is full again, as GCRA does (ITU-T I.371): 48 bytes, a few instructions to
/// ask. For one thread.
class token_bucket {
 public:
  /// A full bucket of `burst` tokens, which gains `rate` tokens in each `unit`. A rate of 0 gains none; a burst of 0
  /// is one of 1.
  constexpr explicit token_bucket(std::uint64_t rate, std::uint64_t burst = 5, duration unit = seconds(1)) noexcept
      : rate_(rate), left_(burst == 0 ? 1 : burst) {
    if (rate == 0) return;
    const auto whole = static_cast<std::uint64_t>(unit.ns);
    gap_ = whole / rate;
    std::uint64_t of = rate, rest = whole % rate;
    for (; of >> 32 != 0; of >>= 1) rest >>= 1;
    part_ = static_cast<std::uint32_t>(rest < of ? (rest << 32) / of : UINT32_MAX);
    room_ = time_of(left_);
  }

  /// Takes a token, or `tokens` at once, as one for each byte of a packet. False when there are not so many at `now`,
  /// and then none is taken; more than a burst there never are. Time that goes back brings no tokens, and takes none.
  /// What a call takes is counted in whole nanoseconds, rounded down, but at least one.
  constexpr bool take(instant now, std::uint64_t tokens = 1) noexcept {
    if (rate_ != 0) return take(now, full_at_, tokens);
    if (left_ < tokens) return false;
    left_ -= tokens;
    return true;
  }
  /// The same for one of many buckets alike, of which nothing is kept but the time `full_at` when it is full again: at
  /// first `instant{INT64_MIN}`. For rates above 0.
  constexpr bool take(instant now, instant& full_at, std::uint64_t tokens = 1) const noexcept {
    const instant full = full_at < now ? now : full_at;
    const std::int64_t cost = time_of(tokens);
    if (full - now > duration{room_ - cost}) return false;
    full_at = full + duration{cost};
    return true;
  }

 private:
  static constexpr std::uint64_t most = std::uint64_t{1} << 61;

  // How many nanoseconds bring so many tokens; at least one.
  [[nodiscard]] constexpr std::int64_t time_of(std::uint64_t tokens) const noexcept {
    if (tokens > most || gap_ > most / (tokens | 1)) return static_cast<std::int64_t>(most);
    const std::uint64_t ns = tokens * gap_ + (tokens >> 32) * part_ + ((tokens & UINT32_MAX) * part_ >> 32);
    return static_cast<std::int64_t>(ns == 0 ? 1 : ns < most ? ns : most);
  }

  std::uint64_t rate_;
  std::uint64_t gap_ = 0;   // nanoseconds for a token
  std::uint32_t part_ = 0;  // and parts of one, of 2^32
  std::int64_t room_ = 0;   // nanoseconds for a burst
  std::uint64_t left_;      // at a rate of 0
  instant full_at_{INT64_MIN};
};

}  // namespace runnel

#endif
