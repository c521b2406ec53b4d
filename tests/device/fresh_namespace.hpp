// SPDX-License-Identifier: MIT
// For tests of TAPs: a network namespace without a name, with nothing in it but a loopback that is down, for one scope
// of one thread: it is gone with its last device. And a raw socket, to see and to send what the kernel's side of a
// device sees and sends.
#ifndef RUNNEL_TESTS_DEVICE_FRESH_NAMESPACE_HPP
#define RUNNEL_TESTS_DEVICE_FRESH_NAMESPACE_HPP

#include <cstddef>
#include <cstdint>
#include <vector>

#include <dirent.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <poll.h>
#include <sched.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <runnel/base/bytes.hpp>
#include <runnel/base/endian.hpp>
#include <runnel/device/linux.hpp>
#include <runnel/device/network_interface.hpp>
#include <runnel/device/posix.hpp>

namespace runnel::test {

/// `if (!here) return;` behind it: it has said then why the test was skipped.
class fresh_namespace {
 public:
  fresh_namespace() : home_(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC), true) {
    if (::access("/dev/net/tun", R_OK | W_OK) != 0) {
      MESSAGE("skipped: there is no /dev/net/tun here, or not for this user");
      return;
    }
    entered_ = home_.get() >= 0 && ::unshare(CLONE_NEWNET) == 0;
    if (!entered_) {
      MESSAGE("skipped: no network namespace can be made here, which takes root");
      return;
    }
    // Nobody sends but the test.
    const detail::file_handle quiet(::open("/proc/sys/net/ipv6/conf/default/disable_ipv6", O_WRONLY | O_CLOEXEC), true);
    if (quiet.get() >= 0) CHECK(::write(quiet.get(), "1", 1) == 1);
  }
  fresh_namespace(const fresh_namespace&) = delete;
  fresh_namespace& operator=(const fresh_namespace&) = delete;
  ~fresh_namespace() {
    if (entered_) CHECK(::setns(home_.get(), CLONE_NEWNET) == 0);
  }
  explicit operator bool() const { return entered_; }

 private:
  detail::file_handle home_;
  bool entered_ = false;
};

/// A packet socket on an interface of this namespace.
class raw_socket {
 public:
  explicit raw_socket(const char* name)
      : file_(detail::sys::socket(detail::sys::af_packet, detail::sys::sock_raw | detail::sys::sock_nonblock,
                                  detail::to_big(std::uint16_t{3})),
              true) {
    auto about = device::network_interface::open(name);
    REQUIRE(about);
    ::sockaddr_ll to{};
    to.sll_family = detail::sys::af_packet;
    to.sll_protocol = detail::to_big(std::uint16_t{3});  // ETH_P_ALL
    to.sll_ifindex = about->index();
    const int room = 4 << 20;  // for what comes before somebody looks
    (void)detail::sys::setsockopt(file_.get(), detail::sys::sol_socket, detail::sys::so_rcvbufforce, &room,
                                  sizeof room);
    REQUIRE(detail::sys::bind(file_.get(), &to, sizeof to) == 0);
  }
  [[nodiscard]] bool send(bytes frame) {
    return detail::sys::sendto(file_.get(), frame.data(), frame.size(), 0) == static_cast<::ssize_t>(frame.size());
  }
  /// Sends behind a header of ours (PACKET_VNET_HDR). False where that is not to be had: in an emulator.
  [[nodiscard]] bool with_header() {
    const int on = 1;
    return detail::sys::setsockopt(file_.get(), detail::sys::sol_packet, PACKET_VNET_HDR, &on, sizeof on) == 0;
  }
  /// The next frame that passes there, in either direction, but for what it sent itself; empty when none comes within
  /// a second.
  [[nodiscard]] std::vector<std::byte> next() {
    std::vector<std::byte> frame(70'000);
    ::pollfd one{file_.get(), POLLIN, 0};
    if (::poll(&one, 1, 1000) != 1) return {};
    const ::ssize_t n = detail::sys::recvfrom(file_.get(), frame.data(), frame.size(), 0);
    frame.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    return frame;
  }

 private:
  detail::file_handle file_;
};

/// How many file descriptors this process has.
[[nodiscard]] inline std::size_t open_files() {
  std::size_t n = 0;
  ::DIR* all = ::opendir("/proc/self/fd");
  REQUIRE(all != nullptr);
  while (::readdir(all) != nullptr) ++n;
  ::closedir(all);
  return n;
}

}  // namespace runnel::test

#endif
