// SPDX-License-Identifier: MIT
// Devices in memory that cost as little as a device can, so that what is measured is what lies between them.
#ifndef BENCH_SUPPORT_PORTS_HPP
#define BENCH_SUPPORT_PORTS_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint32_t
#include <cstdlib>  // abort
#include <vector>   // vector

#include <runnel/flow.hpp>
#include <runnel/wire/flow_key.hpp>
#include <runnel/xdp.hpp>

#include "support/memory.hpp"
#include "support/traffic.hpp"

namespace bench {

// One buffer as a C programmer keeps it.
struct buffer_c {
  std::uint8_t* data;
  std::uint32_t length;
  std::uint32_t slot;
};

// A ring of buffers that were received once and come again and again: what is transmitted goes to its end, and what
// was dropped is taken from the pool again.
class memory_port {
 public:
  memory_port(pool& memory, std::size_t buffers, traffic kind) : memory_(&memory), ring_(buffers) {
    for (std::size_t i = 0; i < buffers; ++i) {
      const frame f = memory.allocate_frame();
      if (f.slot == no_slot) std::abort();
      ring_[i] = {reinterpret_cast<std::uint8_t*>(f.data), static_cast<std::uint32_t>(write_packet(f.data, kind, i)),
                  f.slot};
      blank_.headroom = f.headroom;
    }
    filled_ = buffers;
  }
  memory_port(const memory_port&) = delete;
  memory_port& operator=(const memory_port&) = delete;
  ~memory_port() {
    for (; filled_ != 0; --filled_) {
      frame f;
      f.slot = ring_[first_].slot;
      memory_->release(&f, 1);
      if (++first_ == ring_.size()) first_ = 0;
    }
  }

  pool& memory() noexcept { return *memory_; }
  bool done() const noexcept { return false; }
  template <class Take>
  RUNNEL_INLINE std::size_t receive(std::size_t room, instant, Take&& take) noexcept {
    if (filled_ < room) [[unlikely]]
      refill();
    const std::size_t n = filled_ < room ? filled_ : room;
    frame f = blank_;
    const buffer_c* b = ring_.data() + first_;
    const buffer_c* const end = ring_.data() + ring_.size();
    for (std::size_t i = 0; i < n; ++i) {
      f.data = reinterpret_cast<std::byte*>(b->data);
      f.length = b->length;
      f.slot = b->slot;
      take(f);
      if (++b == end) b = ring_.data();
    }
    first_ = static_cast<std::size_t>(b - ring_.data());
    filled_ -= n;
    return n;
  }
  std::size_t transmit(packet* packets, std::size_t n, instant) noexcept {
    std::size_t at = first_ + filled_;
    if (at >= ring_.size()) at -= ring_.size();
    buffer_c* b = ring_.data() + at;
    const buffer_c* const end = ring_.data() + ring_.size();
    for (std::size_t i = 0; i < n; ++i) {
      const frame f = packets[i].detach();
      *b = {reinterpret_cast<std::uint8_t*>(f.data), f.length, f.slot};
      if (++b == end) b = ring_.data();
    }
    filled_ += n;
    return n;
  }
  // The buffers, for those who do without a device. Only while all of them are at home.
  const std::vector<buffer_c>& buffers() const noexcept { return ring_; }

 private:
  // Dropped slots still hold their packets; all are of the shortest length where a case drops.
  void refill() noexcept {
    while (filled_ < ring_.size()) {
      const frame f = memory_->allocate_frame();
      if (f.slot == no_slot) return;
      std::size_t at = first_ + filled_++;
      if (at >= ring_.size()) at -= ring_.size();
      ring_[at] = {reinterpret_cast<std::uint8_t*>(f.data), 60, f.slot};
    }
  }

  pool* memory_;
  std::vector<buffer_c> ring_;
  std::size_t first_ = 0, filled_ = 0;
  frame blank_;
};

// A source of packets that exist already, and the end where they come back: the handles go round.
class packet_wheel {
 public:
  packet_wheel(pool& memory, std::size_t n, traffic kind) : handles_(n) {
    for (std::size_t i = 0; i < n; ++i) {
      handles_[i] = memory.allocate();
      std::byte* to = handles_[i].put(length_of(kind, i));
      if (to == nullptr) std::abort();
      write_packet(to, kind, i);
      handles_[i].layers(dissect(handles_[i].contents(), link_type::ethernet, {.head_offset = handles_[i].headroom()}));
    }
  }
  bool done() const noexcept { return false; }
  // Whole rounds only: a burst is as large as the wheel, so that nothing is measured but the moves.
  std::size_t pull(packet* packets, std::size_t room, instant) noexcept {
    const std::size_t n = room < handles_.size() ? room : handles_.size();
    detail_move(packets, handles_.data(), n);
    return n;
  }
  std::size_t transmit(packet* packets, std::size_t n, instant) noexcept {
    detail_move(handles_.data(), packets, n);
    return n;
  }

 private:
  static void detail_move(packet* to, packet* from, std::size_t n) noexcept {
    for (std::size_t i = 0; i < n; ++i) { ::new (static_cast<void*>(to + i)) packet{static_cast<packet&&>(from[i])}; }
  }
  std::vector<packet> handles_;
};

}  // namespace bench

#endif
