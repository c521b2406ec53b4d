// SPDX-License-Identifier: MIT
// A network interface of this machine by its name: what there is to know, and what can be set. netdevice(7).
//
//     auto eth = device::network_interface::open("eth0");
//     if (!eth) return fail(eth.error());   // network_interface: open eth7: no such interface: there are lo, eth0
//     auto now = eth->status();
//     if (now && !now->up) (void)eth->set_up(true);
#ifndef RUNNEL_DEVICE_NETWORK_INTERFACE_HPP
#define RUNNEL_DEVICE_NETWORK_INTERFACE_HPP

#include <cstddef>  // byte, offsetof, size_t
#include <cstdint>  // uint16_t, uint32_t

#include <runnel/base/error.hpp>
#include <runnel/base/result.hpp>
#include <runnel/base/text.hpp>
#include <runnel/device/linux.hpp>
#include <runnel/device/posix.hpp>
#include <runnel/wire/address.hpp>

#if defined(__linux__)

#include <linux/ethtool.h>    // ethtool_channels
#include <linux/if_link.h>    // if_stats_msg, rtnl_link_stats64
#include <linux/netlink.h>    // nlmsghdr
#include <linux/rtnetlink.h>  // ifinfomsg, rtattr

namespace runnel {
namespace device {

/// An interface at one moment.
struct interface_status {
  int index = 0;               ///< its number in its network namespace, from 1
  std::uint32_t mtu = 0;       ///< bytes of a packet without its link header
  mac_address mac{};           ///< its hardware address; zeros where it has none
  std::uint16_t hardware = 0;  ///< what kind of link, an ARPHRD_ number: 1 is Ethernet, 772 loopback, 65534 none
  std::uint32_t queues = 1;    ///< receive queues in use; 1 where the driver does not say
  bool up = false;             ///< whether it was set up (IFF_UP)
  bool running = false;        ///< whether there is a carrier besides (IFF_RUNNING)
  bool promiscuous = false;    ///< whether it was set to take all frames (IFF_PROMISC); sockets that ask do not show
};

}  // namespace device

namespace detail {

/// How long the name of an interface may be, with its terminator (IFNAMSIZ).
inline constexpr std::size_t interface_name_size = sizeof(sys::interface_request::name);

/// Calls `f(index, name)` for each interface of this network namespace. False, and errno, when the kernel does not say.
template <class F>
bool for_each_interface(F f) noexcept {
  const file_handle socket(sys::socket(sys::af_netlink, sys::sock_raw | sys::sock_cloexec, NETLINK_ROUTE), true);
  struct {
    ::nlmsghdr header;
    ::ifinfomsg about;
  } ask{};
  ask.header.nlmsg_len = sizeof ask;
  ask.header.nlmsg_type = RTM_GETLINK;
  ask.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  if (socket.get() < 0 || sys::sendto(socket.get(), &ask, sizeof ask, 0) < 0) return false;
  for (;;) {
    alignas(::nlmsghdr) char answer[32768];
    const ::ssize_t got = sys::recvfrom(socket.get(), answer, sizeof answer, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    const auto size = static_cast<std::size_t>(got);
    ::nlmsghdr message{};
    for (std::size_t at = 0; at + sizeof message <= size; at += NLMSG_ALIGN(message.nlmsg_len)) {
      __builtin_memcpy(&message, answer + at, sizeof message);
      if (message.nlmsg_type == NLMSG_DONE) return true;
      if (message.nlmsg_type == NLMSG_ERROR || message.nlmsg_len < sizeof message || message.nlmsg_len > size - at)
        return false;
      ::ifinfomsg about{};
      if (message.nlmsg_type != RTM_NEWLINK || message.nlmsg_len < sizeof message + sizeof about) continue;
      __builtin_memcpy(&about, answer + at + sizeof message, sizeof about);
      ::rtattr part{};
      const std::size_t end = at + message.nlmsg_len;
      for (std::size_t p = at + NLMSG_ALIGN(sizeof message + sizeof about); p + sizeof part <= end;
           p += RTA_ALIGN(part.rta_len)) {
        __builtin_memcpy(&part, answer + p, sizeof part);
        if (part.rta_len < sizeof part || part.rta_len > end - p) break;
        if (part.rta_type != IFLA_IFNAME || part.rta_len == sizeof part) continue;
        answer[p + part.rta_len - 1] = '\0';
        f(about.ifi_index, static_cast<const char*>(answer + p + sizeof part));
        break;
      }
    }
  }
}

/// "no such interface: there are lo, eth0", in the words of the part of the library that asked for it.
[[nodiscard]] inline error no_such_interface(const char* where, const char* name, int number) noexcept {
  text<160> advice;
  const char* between = "there are ";
  (void)for_each_interface([&](int, const char* other) {
    advice << between << other;
    between = ", ";
  });
  return {where, "open", short_name(name).c_str(), "no such interface", advice.c_str(), number};
}

/// What a person can do when an interface cannot be opened or set.
[[nodiscard]] inline const char* interface_advice(int number) noexcept {
  switch (number) {
    case EPERM:
    case EACCES: return "run as root, or give the program CAP_NET_ADMIN and CAP_NET_RAW";
    case EBUSY: return "set the interface down first, or end the program that holds it";
    case EINVAL: return "the interface does not take this value";
    case EOPNOTSUPP: return "the interface's driver cannot do that";
    default: return "";
  }
}

}  // namespace detail

namespace device {

/// An interface, by its name, in the network namespace of the thread that opened it; the same one still when it gets
/// another name. Move-only; holds one socket, and nothing is set back when it is closed. Not for the data path: each
/// call is two system calls or more.
class network_interface {
 public:
  /// Looks the name up. An unknown one is an error that lists those that there are.
  [[nodiscard]] static result<network_interface, error> open(const char* name) noexcept {
    return open_for("network_interface", name);
  }
  /// The same in the name of another part of the library, which is what messages then begin with. `where` is not
  /// copied: a literal. With an `index`, the one that has this number, whatever it is called now.
  [[nodiscard]] static result<network_interface, error> open_for(const char* where, const char* name,
                                                                 int index = 0) noexcept {
    using namespace detail;
    // Of a family that each kernel has, and which answers more than others: netdevice(7) works by any socket.
    file_handle socket(sys::socket(sys::af_netlink, sys::sock_raw | sys::sock_cloexec, NETLINK_ROUTE), true);
    if (socket.get() < 0) {  // as in a sandbox that knows nothing of it
      socket = file_handle(sys::socket(sys::af_inet, sys::sock_dgram | sys::sock_cloexec, 0), true);
      if (const int number = errno; socket.get() < 0)
        return error(where, "open", short_name(name).c_str(), ::strerror(number), opening_advice(number, ""), number);
    }
    network_interface made(static_cast<file_handle&&>(socket), where, name);
    made.index_ = index;
    sys::interface_request ask = made.request();
    // A name that is cut could be that of another interface.
    if (__builtin_strlen(name) >= interface_name_size || !made.ask(sys::siocgifindex, ask))
      return no_such_interface(where, name, ENODEV);
    made.index_ = ask.value.number;
    return made;
  }
  network_interface(network_interface&&) noexcept = default;
  network_interface& operator=(network_interface&&) = delete;

  /// The name that it was opened by.
  [[nodiscard]] const char* name() const noexcept { return name_; }
  /// Its number when it was opened.
  [[nodiscard]] int index() const noexcept { return index_; }

  /// How it is now. Fails when it is gone.
  [[nodiscard]] result<interface_status, error> status() const noexcept {
    using namespace detail;
    interface_status s;
    const sys::interface_request blank = request();
    sys::interface_request ask = blank;
    if (!this->ask(sys::siocgifindex, ask)) return no_such_interface(where_, name_, ENODEV);
    s.index = ask.value.number;
    ask = blank;
    if (!this->ask(sys::siocgifmtu, ask)) return problem("look at");
    s.mtu = static_cast<std::uint32_t>(ask.value.number);
    ask = blank;
    if (!this->ask(sys::siocgifflags, ask)) return problem("look at");
    s.up = (ask.value.flags & sys::iff_up) != 0;
    s.running = (ask.value.flags & sys::iff_running) != 0;
    s.promiscuous = (ask.value.flags & sys::iff_promisc) != 0;
    ask = blank;
    if (!this->ask(sys::siocgifhwaddr, ask)) return problem("look at");
    s.hardware = ask.value.address[0];
    __builtin_memcpy(s.mac.octets, ask.value.address + 1, sizeof s.mac.octets);
    ::ethtool_channels channels{};
    channels.cmd = ETHTOOL_GCHANNELS;
    ask = blank;
    ask.value.data = &channels;
    if (this->ask(sys::siocethtool, ask)) {
      const std::uint32_t queues = channels.combined_count + channels.rx_count;
      if (queues != 0) s.queues = queues;
    }
    return s;
  }

  /// Packets that the kernel had to send by it and dropped, since it was made: what `ip -s link` says. Of a TAP those
  /// that its program was too slow for. 0 when the kernel does not say (before Linux 4.7). Two system calls.
  [[nodiscard]] std::uint64_t transmit_drops() const noexcept {
    using namespace detail;
    struct {
      ::nlmsghdr header;
      ::if_stats_msg about;
    } ask{};
    ask.header.nlmsg_len = sizeof ask;
    ask.header.nlmsg_type = RTM_GETSTATS;
    ask.header.nlmsg_flags = NLM_F_REQUEST;
    ask.about.ifindex = static_cast<std::uint32_t>(index_);
    ask.about.filter_mask = IFLA_STATS_FILTER_BIT(IFLA_STATS_LINK_64);
    struct {
      ::nlmsghdr header;
      ::if_stats_msg about;
      ::rtattr attribute;
      char counters[512];  // of which newer kernels have more
    } answer{};
    constexpr std::size_t before = offsetof(decltype(answer), counters);
    constexpr std::size_t at = offsetof(::rtnl_link_stats64, tx_dropped);
    std::uint64_t drops = 0;
    if (sys::sendto(socket_.get(), &ask, sizeof ask, sys::msg_dontwait) < 0) return 0;
    const ::ssize_t got = sys::recvfrom(socket_.get(), &answer, sizeof answer, sys::msg_dontwait);
    if (got < static_cast<::ssize_t>(before + at + sizeof drops) || answer.header.nlmsg_type != RTM_NEWSTATS ||
        answer.attribute.rta_type != IFLA_STATS_LINK_64)
      return 0;
    __builtin_memcpy(&drops, answer.counters + at, sizeof drops);
    return drops;
  }

  /// Sets it up or down. Whether it was up before.
  result<bool, error> set_up(bool on) noexcept {
    using namespace detail;
    sys::interface_request ask = request();
    if (!this->ask(sys::siocgifflags, ask)) return problem("look at");
    const bool before = (ask.value.flags & sys::iff_up) != 0;
    if (before == on) return before;
    ask.value.flags = static_cast<std::int16_t>(on ? ask.value.flags | sys::iff_up : ask.value.flags & ~sys::iff_up);
    if (!this->ask(sys::siocsifflags, ask)) return problem(on ? "set up" : "set down");
    return before;
  }
  /// Sets the longest packet, in bytes without the link header. What it was before.
  result<std::uint32_t, error> set_mtu(std::uint32_t bytes) noexcept {
    using namespace detail;
    sys::interface_request ask = request();
    if (!this->ask(sys::siocgifmtu, ask)) return problem("look at");
    const auto before = static_cast<std::uint32_t>(ask.value.number);
    ask.value.number = static_cast<int>(bytes);
    if (!this->ask(sys::siocsifmtu, ask)) return problem("set the MTU of");
    return before;
  }
  /// Sets the hardware address. What it was before. Most drivers want the interface to be down.
  result<mac_address, error> set_mac(const mac_address& mac) noexcept {
    using namespace detail;
    sys::interface_request ask = request();
    if (!this->ask(sys::siocgifhwaddr, ask)) return problem("look at");
    mac_address before;
    __builtin_memcpy(before.octets, ask.value.address + 1, sizeof before.octets);
    __builtin_memcpy(ask.value.address + 1, mac.octets, sizeof mac.octets);
    if (!this->ask(sys::siocsifhwaddr, ask)) return problem("set the MAC of");
    return before;
  }

 private:
  network_interface(detail::file_handle&& socket, const char* where, const char* name) noexcept
      : socket_(static_cast<detail::file_handle&&>(socket)), where_(where) {
    for (std::size_t i = 0; i + 1 < sizeof name_ && name[i] != '\0'; ++i) name_[i] = name[i];
  }
  // About the interface that was opened: its number stays when it is renamed, and another one may get its name.
  [[nodiscard]] detail::sys::interface_request request() const noexcept {
    detail::sys::interface_request r;
    r.value.number = index_;
    // Of one that is gone the name stays empty, which no interface has.
    if (index_ == 0) __builtin_memcpy(r.name, name_, sizeof name_);
    else if (!ask(detail::sys::siocgifname, r)) r.name[0] = '\0';
    r.value = {};
    return r;
  }
  bool ask(unsigned long what, detail::sys::interface_request& r) const noexcept {
    return ::ioctl(socket_.get(), what, &r) == 0;
  }
  [[nodiscard]] error problem(const char* what) const noexcept {
    const int number = errno;
    if (number == ENODEV) return detail::no_such_interface(where_, name_, number);
    return {where_, what, name_, ::strerror(number), detail::interface_advice(number), number};
  }

  detail::file_handle socket_;
  const char* where_;
  int index_ = 0;
  char name_[detail::interface_name_size] = {};
};

}  // namespace device
}  // namespace runnel

#endif  // defined(__linux__)

#endif
