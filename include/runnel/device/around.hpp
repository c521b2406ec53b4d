// SPDX-License-Identifier: MIT
// What devices have in common that stand around another device: what they do not change is that device's. Nothing here
// is for users.
#ifndef RUNNEL_DEVICE_AROUND_HPP
#define RUNNEL_DEVICE_AROUND_HPP

#include <cstdint>  // uint64_t

#include <runnel/base/time.hpp>
#include <runnel/device/device.hpp>
#include <runnel/packet/pool.hpp>

namespace runnel::detail {

/// Refers to the device, which must outlive it. Not movable: a loop refers to it. Everything that a device may have
/// beside its concept is here where the device has it, and does nothing where it has not.
template <class Device>
class around_device {
 public:
  /// Refers to `device`.
  explicit around_device(Device& device) noexcept : device_(&device) {}
  around_device(const around_device&) = delete;
  around_device& operator=(const around_device&) = delete;

  /// Those of the device around which it is. @{
  [[nodiscard]] pool& memory() noexcept
    requires requires(Device& d) { d.memory(); }
  {
    return device_->memory();
  }
  [[nodiscard]] bool done() noexcept
    requires requires(Device& d) { d.done(); }
  {
    return device_->done();
  }
  [[nodiscard]] instant next_due() noexcept {
    if constexpr (requires(Device& d) { d.next_due(); }) return device_->next_due();
    else return never;
  }
  [[nodiscard]] int wait_handle() noexcept {
    if constexpr (requires(Device& d) { d.wait_handle(); }) return device_->wait_handle();
    else return -1;
  }
  // Also where nothing has to be waited for.
  void wait() noexcept
    requires(
        requires(Device& d) { d.wait(); } || !requires(Device& d) { d.wait_handle(); })
  {
    if constexpr (requires(Device& d) { d.wait(); }) device_->wait();
  }
  [[nodiscard]] bool lacks_memory() noexcept {
    if constexpr (requires(Device& d) { d.lacks_memory(); }) return device_->lacks_memory();
    else return false;
  }
  [[nodiscard]] int transmit_handle() noexcept {
    if constexpr (requires(Device& d) { d.transmit_handle(); }) return device_->transmit_handle();
    else return -1;
  }
  [[nodiscard]] std::uint64_t lost() noexcept {
    if constexpr (requires(Device& d) { d.lost(); }) return device_->lost();
    else return 0;
  }
  [[nodiscard]] const char* name() noexcept
    requires requires(Device& d) { d.name(); }
  {
    return device_->name();
  }
  [[nodiscard]] decltype(auto) descriptions() noexcept
    requires requires(Device& d) { d.descriptions(); }
  {
    return device_->descriptions();
  }
  [[nodiscard]] auto statistics() noexcept
    requires requires(Device& d) { d.statistics(); }
  {
    return device_->statistics();
  }
  /// The device itself.
  [[nodiscard]] Device& inner() noexcept { return *device_; }
  /// @}

 private:
  Device* device_;
};

}  // namespace runnel::detail

#endif
