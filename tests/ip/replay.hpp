// SPDX-License-Identifier: MIT
// A device of frames that were written down.
#ifndef RUNNEL_TESTS_IP_REPLAY_HPP
#define RUNNEL_TESTS_IP_REPLAY_HPP

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <ip/cut.hpp>

#include <runnel/base/bytes.hpp>
#include <runnel/base/time.hpp>
#include <runnel/packet/frame.hpp>
#include <runnel/packet/pool.hpp>

namespace runnel::test {

// Hands out frames, each at its time.
class replay {
 public:
  explicit replay(pool& memory) : memory_(&memory) {}
  void add(octets frame, std::int64_t ms = 0) { frames_.emplace_back(std::move(frame), ms); }
  pool& memory() { return *memory_; }
  bool done() const { return next_ == frames_.size(); }
  template <class Take>
  std::size_t receive(std::size_t room, instant, Take&& take) {
    std::size_t n = 0;
    for (; n < room && !done(); ++n) {
      frame f = memory_->allocate_frame();
      if (f.slot == no_slot) break;
      const auto& [content, ms] = frames_[next_++];
      copy_bytes(f.put(content.size()), content.data(), content.size());
      f.timestamp = instant{} + milliseconds(ms);
      take(f);
    }
    return n;
  }

 private:
  pool* memory_;
  std::vector<std::pair<octets, std::int64_t>> frames_;
  std::size_t next_ = 0;
};

}  // namespace runnel::test

#endif
