// SPDX-License-Identifier: MIT
// Linux's calls for sockets and interfaces, without <sys/socket.h> and <net/if.h>: these declare a function `accept`,
// which would make rules that say `>> accept` ambiguous for whoever includes us. Nothing here is for users.
//
// The calls and their errors are those of the manual pages socket(2), bind(2), netdevice(7), and so on: -1 and errno.
#ifndef RUNNEL_DEVICE_LINUX_HPP
#define RUNNEL_DEVICE_LINUX_HPP

#if defined(__linux__)

#include <cstddef>  // size_t
#include <cstdint>  // uint16_t, uint32_t

#include <errno.h>        // errno
#include <sys/ioctl.h>    // ioctl
#include <sys/syscall.h>  // SYS_socket
#include <sys/uio.h>      // iovec
#include <unistd.h>       // syscall, ssize_t

namespace runnel::detail::sys {

// <sys/socket.h>
inline constexpr int af_inet = 2, af_netlink = 16, af_packet = 17, af_xdp = 44;
inline constexpr int sock_dgram = 2, sock_raw = 3, sock_nonblock = 04000, sock_cloexec = 02000000;
inline constexpr int sol_packet = 263, sol_netlink = 270, sol_xdp = 283;
inline constexpr int msg_dontwait = 0x40, msg_nosignal = 0x4000, msg_trunc = 0x20;
// <asm-generic/socket.h>; the architectures that differ (MIPS, SPARC, PA-RISC, Alpha) include their own.
#if defined(__mips__) || defined(__sparc__) || defined(__hppa__) || defined(__alpha__)
#error "runnel: the socket options of this architecture are not known yet: add them to device/linux.hpp"
#endif
inline constexpr int sol_socket = 1;
inline constexpr int so_error = 4, so_sndbuf = 7, so_rcvbuf = 8, so_sndbufforce = 32, so_rcvbufforce = 33;
inline constexpr int so_attach_filter = 26, so_detach_filter = 27;
inline constexpr int xdp_max_tx_skb_budget = 9;      // XDP_MAX_TX_SKB_BUDGET of <linux/if_xdp.h>, Linux 6.18
inline constexpr std::uint16_t xdp_use_sg = 1 << 4;  // XDP_USE_SG of <linux/if_xdp.h>, Linux 6.6
inline constexpr int so_busy_poll = 46, so_prefer_busy_poll = 69, so_busy_poll_budget = 70;

// struct msghdr and struct mmsghdr: the kernel's user_msghdr.
struct message {
  void* name = nullptr;
  int name_length = 0;
  ::iovec* parts = nullptr;
  std::size_t part_count = 0;
  void* control = nullptr;
  std::size_t control_length = 0;
  unsigned flags = 0;
};
struct counted_message {
  message header;
  unsigned length = 0;  // bytes sent or received
};

inline int socket(int family, int type, int protocol) noexcept {
  return static_cast<int>(::syscall(SYS_socket, family, type, protocol));
}
inline int bind(int fd, const void* address, std::size_t size) noexcept {
  return static_cast<int>(::syscall(SYS_bind, fd, address, size));
}
inline int setsockopt(int fd, int level, int option, const void* value, std::size_t size) noexcept {
  return static_cast<int>(::syscall(SYS_setsockopt, fd, level, option, value, size));
}
// `size` comes as the room at `value` and goes as what was written.
inline int getsockopt(int fd, int level, int option, void* value, std::uint32_t& size) noexcept {
  return static_cast<int>(::syscall(SYS_getsockopt, fd, level, option, value, &size));
}
inline int getsockname(int fd, void* address, std::uint32_t& size) noexcept {
  return static_cast<int>(::syscall(SYS_getsockname, fd, address, &size));
}
inline ::ssize_t sendto(int fd, const void* data, std::size_t size, int flags, const void* to = nullptr,
                        std::size_t to_size = 0) noexcept {
  return ::syscall(SYS_sendto, fd, data, size, flags, to, to_size);
}
inline ::ssize_t recvfrom(int fd, void* data, std::size_t size, int flags) noexcept {
  return ::syscall(SYS_recvfrom, fd, data, size, flags, nullptr, nullptr);
}
inline ::ssize_t sendmsg(int fd, const message& m, int flags) noexcept { return ::syscall(SYS_sendmsg, fd, &m, flags); }
inline ::ssize_t recvmsg(int fd, message& m, int flags) noexcept { return ::syscall(SYS_recvmsg, fd, &m, flags); }
inline int sendmmsg(int fd, counted_message* m, unsigned n, int flags) noexcept {
  return static_cast<int>(::syscall(SYS_sendmmsg, fd, m, n, flags));
}

// read(2) and write(2), for who makes one call a packet. The kernel calls deeper than a processor remembers where to
// return to: the return from a function of the C library is mispredicted, every time. So the instruction is here, where
// we know it.
#if defined(__x86_64__) && defined(__LP64__)
inline long call(long number, int fd, const void* data, std::size_t size) noexcept {
  long result;
  asm volatile("syscall" : "=a"(result) : "a"(number), "D"(fd), "S"(data), "d"(size) : "rcx", "r11", "memory");
  if (result >= 0) [[likely]]
    return result;
  errno = static_cast<int>(-result);
  return -1;
}
inline ::ssize_t read(int fd, void* to, std::size_t size) noexcept { return call(SYS_read, fd, to, size); }
inline ::ssize_t write(int fd, const void* from, std::size_t size) noexcept { return call(SYS_write, fd, from, size); }
#else
inline ::ssize_t read(int fd, void* to, std::size_t size) noexcept { return ::read(fd, to, size); }
inline ::ssize_t write(int fd, const void* from, std::size_t size) noexcept { return ::write(fd, from, size); }
#endif

// struct ifreq of netdevice(7). 32 bytes where pointers have 32 bits, else 40.
struct interface_request {
  char name[16] = {};
  union {
    std::uint16_t address[8];  // a struct sockaddr: the family (of a link address the ARPHRD type), then its bytes
    std::int16_t flags;
    int number;                                   // index, MTU, queue length
    void* data;                                   // for SIOCETHTOOL
    std::byte map[sizeof(void*) == 8 ? 24 : 16];  // struct ifmap, which the kernel copies whole
  } value = {};
};
static_assert(sizeof(interface_request) == 40 || sizeof(void*) == 4);

// <bits/ioctls.h>
inline constexpr unsigned long siocgifname = 0x8910, siocgifconf = 0x8912, siocgifflags = 0x8913, siocsifflags = 0x8914;
inline constexpr unsigned long siocgifmtu = 0x8921, siocsifmtu = 0x8922, siocgifhwaddr = 0x8927, siocsifhwaddr = 0x8924;
inline constexpr unsigned long siocgifindex = 0x8933, siocethtool = 0x8946;
// <net/if.h>
inline constexpr int iff_up = 0x1, iff_loopback = 0x8, iff_running = 0x40, iff_promisc = 0x100, iff_lower_up = 0x10000;

}  // namespace runnel::detail::sys

#endif  // defined(__linux__)

#endif
