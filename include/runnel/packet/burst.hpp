// SPDX-License-Identifier: MIT
// A burst: up to a few dozen packets that travel together, each with its verdict. What a stage gets that looks at
// many packets at once (bulk lookups, GRO).
#ifndef RUNNEL_PACKET_BURST_HPP
#define RUNNEL_PACKET_BURST_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint32_t

#include <runnel/config.hpp>
#include <runnel/packet/packet.hpp>
#include <runnel/packet/verdict.hpp>

namespace runnel {

/// How many packets travel together, unless the user says otherwise.
inline constexpr std::size_t default_burst = 64;
/// How many may.
inline constexpr std::size_t max_burst = 256;

/// Packets and their verdicts, in arrays that somebody else owns (`burst_of` has its own). The first `size()`
/// handles are the burst; a stage may move packets out of it (which steals them: the handle is then empty), set
/// verdicts, and append packets up to `capacity()`. Every verdict begins as `pass`.
class burst {
 public:
  /// `size` packets, each with its verdict, in arrays with room for `capacity`, which must outlive it.
  constexpr burst(packet* packets, verdict* verdicts, std::size_t size, std::size_t capacity) noexcept
      : packets_(packets), verdicts_(verdicts), size_(size), capacity_(capacity) {}
  burst(const burst&) = delete;
  burst& operator=(const burst&) = delete;

  /// How many packets.
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  /// How many packets fit.
  [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }
  /// Whether there is none.
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  /// Packet `i`.
  [[nodiscard]] packet& operator[](std::size_t i) noexcept {
    RUNNEL_ASSERT(i < size_);
    return packets_[i];
  }
  /// For loops over the packets. @{
  [[nodiscard]] packet* begin() noexcept { return packets_; }
  [[nodiscard]] packet* end() noexcept { return packets_ + size_; }
  /// @}
  /// The verdict on packet `i`, to read or to set.
  [[nodiscard]] verdict& verdict_on(std::size_t i) noexcept {
    RUNNEL_ASSERT(i < size_);
    return verdicts_[i];
  }
  /// Adds a packet at the end with the verdict `pass`. False, and the packet is still the caller's, when it is full.
  [[nodiscard]] bool push_back(packet&& p) noexcept {
    if (size_ == capacity_) return false;
    verdicts_[size_] = pass;
    packets_[size_++] = static_cast<packet&&>(p);
    return true;
  }
  /// Releases all packets.
  void clear() noexcept {
    while (size_ != 0) packets_[--size_].reset();
  }

 private:
  packet* packets_;
  verdict* verdicts_;
  std::size_t size_;
  std::size_t capacity_;
};

/// A burst with room for `N` packets of its own.
template <std::size_t N = default_burst>
class burst_of : public burst {
 public:
  static_assert(N >= 1 && N <= max_burst, "runnel: a burst holds 1 to 256 packets");
  burst_of() noexcept : burst(packets_, verdicts_, 0, N) {}

 private:
  packet packets_[N];
  verdict verdicts_[N];
};

}  // namespace runnel

#endif
