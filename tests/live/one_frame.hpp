// SPDX-License-Identifier: MIT
// A device that receives one frame: the one that a test has put there.
#ifndef RUNNEL_TESTS_LIVE_ONE_FRAME_HPP
#define RUNNEL_TESTS_LIVE_ONE_FRAME_HPP

#include <cstring>

#include <runnel/flow.hpp>

#include "kernel_path.hpp"

class one_frame {
 public:
  explicit one_frame(runnel::pool& memory) : memory_(&memory) {}
  void put(const kernel_path::frame_bytes& f) { frame_ = &f; }
  runnel::pool& memory() { return *memory_; }
  template <class Take>
  std::size_t receive(std::size_t, runnel::instant now, Take&& take) {
    if (frame_ == nullptr) return 0;
    runnel::frame f = memory_->allocate_frame();
    if (f.slot == runnel::no_slot) kernel_path::fail("the pool is empty");
    std::memcpy(f.put(frame_->size()), frame_->data(), frame_->size());
    f.timestamp = now;
    frame_ = nullptr;
    take(f);
    return 1;
  }
  bool done() { return frame_ == nullptr; }

 private:
  runnel::pool* memory_;
  const kernel_path::frame_bytes* frame_ = nullptr;
};

#endif
