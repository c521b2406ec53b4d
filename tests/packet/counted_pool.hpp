// SPDX-License-Identifier: MIT
// A pool on the heap, of any configuration, that checks at the end of its scope that every slot and every bare
// descriptor has come home, and that every lender has its frames back.
#ifndef RUNNEL_TESTS_PACKET_COUNTED_POOL_HPP
#define RUNNEL_TESTS_PACKET_COUNTED_POOL_HPP

#include <cstddef>  // byte
#include <new>      // operator new[], align_val_t

#include <doctest/doctest.h>

#include <runnel/packet/packet.hpp>
#include <runnel/packet/pool.hpp>

namespace runnel::test {

/// Declare it before the packets, so that they are gone when it looks:
///
///     counted_pool pool;                       // 64 packets of 512 bytes, 64 bytes of headroom, 64 bare descriptors
///     packet p = pool->allocate();
///     device d{pool};                          // converts to pool&
class counted_pool {
 public:
  static constexpr pool_config small{.packets = 64, .bytes = 512, .headroom = 64, .bare = 64};

  explicit counted_pool(const pool_config& c = small)
      : memory_(new(std::align_val_t{64}) std::byte[pool::bytes_needed(c)]),
        pool_(pool::create({memory_, pool::bytes_needed(c)}, c)) {
    REQUIRE(pool_ != nullptr);
  }
  counted_pool(const counted_pool&) = delete;
  counted_pool& operator=(const counted_pool&) = delete;
  ~counted_pool() {
    check_all_home();
    ::operator delete[](memory_, std::align_val_t{64});
  }

  /// Checks now that nothing is out.
  void check_all_home() {
    pool_->reclaim();
    CHECK_MESSAGE(pool_->available() == pool_->capacity(), "slots leaked, or released twice");
    CHECK_MESSAGE(pool_->bare_available() == pool_->bare_capacity(), "bare descriptors leaked, or released twice");
    for (std::uint8_t i = 0; i <= pool::max_lenders; ++i)
      CHECK_MESSAGE(pool_->lent(i) == 0, "lent frames are still out");
  }

  operator pool&() noexcept { return *pool_; }
  [[nodiscard]] pool& get() noexcept { return *pool_; }
  [[nodiscard]] pool* operator->() noexcept { return pool_; }

 private:
  std::byte* memory_;
  pool* pool_;
};

}  // namespace runnel::test

#endif
