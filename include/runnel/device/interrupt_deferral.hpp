// SPDX-License-Identifier: MIT
// Interrupt deferral of an interface for as long as a device polls it: two files in sysfs, put back at destruction.
// Documentation/networking/napi.rst. Nothing here is for users.
#ifndef RUNNEL_DEVICE_INTERRUPT_DEFERRAL_HPP
#define RUNNEL_DEVICE_INTERRUPT_DEFERRAL_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint32_t, uint64_t

#include <runnel/base/text.hpp>
#include <runnel/device/posix.hpp>

#if defined(__linux__)

#include <fcntl.h>   // open
#include <unistd.h>  // read, write

namespace runnel::detail {

/// Sets napi_defer_hard_irqs and gro_flush_timeout, and remembers what they were. Move-only; sets nothing unless `set`
/// was called.
class interrupt_deferral {
 public:
  interrupt_deferral() noexcept = default;
  interrupt_deferral(interrupt_deferral&& other) noexcept { *this = static_cast<interrupt_deferral&&>(other); }
  interrupt_deferral& operator=(interrupt_deferral&& other) noexcept {
    if (this == &other) return *this;
    put_back();
    for (std::size_t i = 0; i < 2; ++i) {
      files_[i] = static_cast<file_handle&&>(other.files_[i]);
      before_[i] = other.before_[i];
    }
    return *this;
  }
  ~interrupt_deferral() { put_back(); }

  /// 0 or the errno; nothing is changed then.
  [[nodiscard]] int set(const char* name, std::uint64_t defer_hard_irqs, std::uint64_t gro_flush_timeout) noexcept {
    const std::uint64_t wanted[] = {defer_hard_irqs, gro_flush_timeout};
    interrupt_deferral made;
    for (std::size_t i = 0; i < 2; ++i) {
      text<96> path;
      path << "/sys/class/net/" << name << (i == 0 ? "/napi_defer_hard_irqs" : "/gro_flush_timeout");
      file_handle file(::open(path.c_str(), O_RDWR | O_CLOEXEC), true);
      if (file.get() < 0) return errno;
      if (const int number = read(file.get(), made.before_[i]); number != 0) return number;
      if (const int number = write(file.get(), wanted[i]); number != 0)
        return number;  // `made` puts the first one back
      made.files_[i] = static_cast<file_handle&&>(file);
    }
    *this = static_cast<interrupt_deferral&&>(made);
    return 0;
  }
  /// Leaves the interface as it is now.
  void forget() noexcept {
    for (file_handle& file : files_) (void)file.close();
  }

 private:
  static int read(int file, std::uint64_t& value) noexcept {
    char digits[32];
    const ::ssize_t n = ::pread(file, digits, sizeof digits, 0);
    if (n < 0) return errno;
    value = 0;
    for (::ssize_t i = 0; i < n && digits[i] >= '0' && digits[i] <= '9'; ++i)
      value = value * 10 + static_cast<std::uint64_t>(digits[i] - '0');
    return 0;
  }
  static int write(int file, std::uint64_t value) noexcept {
    text<32> digits;
    digits << value;
    return ::pwrite(file, digits.c_str(), digits.size(), 0) < 0 ? errno : 0;
  }
  void put_back() noexcept {
    for (std::size_t i = 0; i < 2; ++i)
      if (files_[i].get() >= 0) (void)write(files_[i].get(), before_[i]);
    forget();
  }

  file_handle files_[2];  // open as long as something is set: the interface may get another name meanwhile
  std::uint64_t before_[2] = {};
};

}  // namespace runnel::detail

#endif  // defined(__linux__)

#endif
