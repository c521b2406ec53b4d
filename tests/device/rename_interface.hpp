// SPDX-License-Identifier: MIT
// Gives an interface another name, as `ip link set lo name wan0` does.
#ifndef TESTS_DEVICE_RENAME_INTERFACE_HPP
#define TESTS_DEVICE_RENAME_INTERFACE_HPP

#include <cstring>

#include <runnel/device/linux.hpp>
#include <runnel/device/posix.hpp>

namespace runnel::test {

/// It is down, as most kernels want it for that.
inline bool rename_interface(const char* from, const char* to) {
  constexpr unsigned long siocsifname = 0x8923;
  const detail::file_handle socket(detail::sys::socket(detail::sys::af_inet, detail::sys::sock_dgram, 0), true);
  detail::sys::interface_request ask;
  std::memcpy(ask.name, from, std::strlen(from));
  std::memcpy(&ask.value, to, std::strlen(to) + 1);
  return ::ioctl(socket.get(), siocsifname, &ask) == 0;
}

}  // namespace runnel::test

#endif
