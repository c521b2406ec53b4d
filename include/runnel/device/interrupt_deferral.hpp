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
    ::memcpy(name_, other.name_, sizeof name_);
    for (std::size_t i = 0; i < 2; ++i) before_[i] = other.before_[i];
    other.forget();
    return *this;
  }
  ~interrupt_deferral() { put_back(); }

  /// 0 or the errno; nothing is changed then.
  [[nodiscard]] int set(const char* name, std::uint64_t defer_hard_irqs, std::uint64_t gro_flush_timeout) noexcept {
    const std::uint64_t wanted[] = {defer_hard_irqs, gro_flush_timeout};
    std::uint64_t before[2] = {};
    for (std::size_t i = 0; i < 2; ++i)
      if (const int number = read(name, i, before[i]); number != 0) return number;
    std::size_t i = 0;
    int number = 0;
    for (; i < 2 && number == 0; ++i) number = write(name, i, wanted[i]);
    if (number != 0) {
      while (i-- != 0) (void)write(name, i, before[i]);
      return number;
    }
    text<sizeof name_> copy;
    copy << name;
    ::memcpy(name_, copy.c_str(), copy.size() + 1);
    for (i = 0; i < 2; ++i) before_[i] = before[i];
    return 0;
  }
  /// Leaves the interface as it is now.
  void forget() noexcept { name_[0] = '\0'; }

 private:
  static int open(const char* name, std::size_t which, int flags) noexcept {
    text<96> path;
    path << "/sys/class/net/" << name << (which == 0 ? "/napi_defer_hard_irqs" : "/gro_flush_timeout");
    return ::open(path.c_str(), flags | O_CLOEXEC);
  }
  static int read(const char* name, std::size_t which, std::uint64_t& value) noexcept {
    const file_handle file(open(name, which, O_RDONLY), true);
    char digits[32];
    const ::ssize_t n = file.get() < 0 ? -1 : ::read(file.get(), digits, sizeof digits);
    if (n < 0) return errno;
    value = 0;
    for (::ssize_t i = 0; i < n && digits[i] >= '0' && digits[i] <= '9'; ++i)
      value = value * 10 + static_cast<std::uint64_t>(digits[i] - '0');
    return 0;
  }
  static int write(const char* name, std::size_t which, std::uint64_t value) noexcept {
    const file_handle file(open(name, which, O_WRONLY), true);
    text<32> digits;
    digits << value;
    return file.get() < 0 || ::write(file.get(), digits.c_str(), digits.size()) < 0 ? errno : 0;
  }
  void put_back() noexcept {
    if (name_[0] == '\0') return;
    for (std::size_t i = 0; i < 2; ++i) (void)write(name_, i, before_[i]);
    forget();
  }

  char name_[16] = {};  // empty: nothing was set
  std::uint64_t before_[2] = {};
};

}  // namespace runnel::detail

#endif  // defined(__linux__)

#endif
