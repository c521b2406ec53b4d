// SPDX-License-Identifier: MIT
// The pool of a device that has one of its own unless it is given one. Nothing here is for users.
#ifndef RUNNEL_DEVICE_DEVICE_MEMORY_HPP
#define RUNNEL_DEVICE_DEVICE_MEMORY_HPP

#include <new>  // placement new

#include <runnel/base/error.hpp>
#include <runnel/base/result.hpp>
#include <runnel/device/mapped_pool.hpp>
#include <runnel/packet/pool.hpp>

#if defined(__unix__) || defined(__APPLE__)

namespace runnel::detail {

/// Refers to the caller's pool, or owns one in memory of its own. Move-only; the pool does not move.
class device_memory {
 public:
  /// None.
  device_memory() noexcept : nothing_{}, pool_(nullptr) {}
  /// `given` may be null: a pool of `config` is made then.
  [[nodiscard]] static result<device_memory, error> open(pool* given, const pool_config& config) noexcept {
    if (given != nullptr) return device_memory(given);
    auto own = mapped_pool::open(config);
    if (!own) return own.error();
    pool* const slots = &own->get();
    return device_memory(static_cast<mapped_pool&&>(*own), slots);
  }
  device_memory(device_memory&& other) noexcept : pool_(other.pool_), owns_(other.owns_) {
    if (owns_) ::new (static_cast<void*>(&own_)) mapped_pool(static_cast<mapped_pool&&>(other.own_));
    other.pool_ = nullptr;
  }
  device_memory& operator=(device_memory&&) = delete;
  ~device_memory() {
    if (owns_) own_.~mapped_pool();
  }
  [[nodiscard]] pool& get() const noexcept { return *pool_; }
  /// What its own memory is made of; of the caller's that is not known.
  [[nodiscard]] page_kind pages() const noexcept { return owns_ ? own_.pages() : page_kind::ordinary; }

 private:
  explicit device_memory(pool* given) noexcept : nothing_{}, pool_(given) {}
  device_memory(mapped_pool&& own, pool* slots) noexcept
      : own_(static_cast<mapped_pool&&>(own)), pool_(slots), owns_(true) {}

  union {
    char nothing_;
    mapped_pool own_;
  };
  pool* pool_;
  bool owns_ = false;
};

}  // namespace runnel::detail

#endif  // defined(__unix__) || defined(__APPLE__)

#endif
