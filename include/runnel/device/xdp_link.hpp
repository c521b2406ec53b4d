// SPDX-License-Identifier: MIT
// An XDP program on an interface for as long as this process keeps it there: a BPF link. Needs Linux 5.9.
//
//     auto link = bpf::xdp_link::attach(*program, "eth0");     // native if the driver can, else generic
//     std::printf("%s\n", name(link->mode()));
//
// The kernel detaches the program when the link's descriptor is closed, however the process ends: nothing stays behind.
// Interfaces have one program at a time. Attaching where there is one is an error that has its id, or replaces it when
// asked to: it is then detached for good, and there is a moment without either.
#ifndef RUNNEL_DEVICE_XDP_LINK_HPP
#define RUNNEL_DEVICE_XDP_LINK_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint32_t, uint8_t

#include <runnel/base/error.hpp>
#include <runnel/base/result.hpp>
#include <runnel/base/text.hpp>
#include <runnel/device/bpf.hpp>
#include <runnel/device/linux.hpp>
#include <runnel/device/network_interface.hpp>
#include <runnel/device/posix.hpp>

#if defined(__linux__)

#include <linux/bpf.h>        // bpf_attr
#include <linux/if_link.h>    // XDP_FLAGS_DRV_MODE
#include <linux/netlink.h>    // nlmsghdr
#include <linux/rtnetlink.h>  // ifinfomsg

namespace runnel {
namespace bpf {

/// Where in the kernel a program runs.
enum class xdp_mode : std::uint8_t {
  automatic,  ///< to ask for: native if the driver can, else generic
  native,     ///< in the driver, before there is an sk_buff: fast
  generic,    ///< in the network stack, for drivers that know no XDP: slow, but it works everywhere
};

[[nodiscard]] constexpr const char* name(xdp_mode mode) noexcept {
  return mode == xdp_mode::native ? "native" : mode == xdp_mode::generic ? "generic" : "automatic";
}

/// What is attached to an interface.
struct attached_program {
  std::uint32_t id = 0;                 ///< as `bpftool prog` and `ip link` show it; 0 is none
  xdp_mode mode = xdp_mode::automatic;  ///< where it runs; `automatic` when there is none
};

/// How a program is attached.
struct attach_options {
  xdp_mode mode = xdp_mode::automatic;  ///< where it shall run
  bool replace = false;                 ///< detach a program that is there already, whoever attached it
};

}  // namespace bpf

namespace detail {

/// One request to rtnetlink(7) about an interface, with XDP attributes nested at its end, and the kernel's answer.
class xdp_request {
 public:
  xdp_request(std::uint16_t type, std::uint16_t flags, int index) noexcept {
    message_.header.nlmsg_len = offsetof(whole, attributes);
    message_.header.nlmsg_type = type;
    message_.header.nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
    message_.about.ifi_index = index;
  }
  void begin_xdp() noexcept { xdp_ = append(IFLA_XDP | NLA_F_NESTED, nullptr, 0); }
  void add(unsigned short type, std::uint32_t value) noexcept {
    (void)append(type, &value, sizeof value);
    const auto size = static_cast<unsigned short>(message_.header.nlmsg_len - xdp_);
    ::memcpy(reinterpret_cast<char*>(&message_) + xdp_, &size, sizeof size);
  }
  /// 0 or the errno of the answer. Calls `found(type, value)` for each number among its XDP attributes.
  template <class F>
  int send(F found) noexcept {
    const file_handle socket(sys::socket(sys::af_netlink, sys::sock_raw | sys::sock_cloexec, NETLINK_ROUTE), true);
    if (socket.get() < 0) return errno;
    if (sys::sendto(socket.get(), &message_, message_.header.nlmsg_len, 0) < 0) return errno;
    alignas(::nlmsghdr) char answer[32768];
    ::ssize_t got = -1;
    do got = sys::recvfrom(socket.get(), answer, sizeof answer, 0);
    while (got < 0 && errno == EINTR);
    if (got < 0) return errno;
    ::nlmsghdr header{};
    if (static_cast<std::size_t>(got) < sizeof header) return EPROTO;
    ::memcpy(&header, answer, sizeof header);
    if (header.nlmsg_len > static_cast<std::size_t>(got)) return EPROTO;
    if (header.nlmsg_type == NLMSG_ERROR) {
      int number = -EPROTO;
      if (header.nlmsg_len >= sizeof header + sizeof number) ::memcpy(&number, answer + sizeof header, sizeof number);
      return -number;
    }
    each_attribute(answer + sizeof header + sizeof(::ifinfomsg), answer + header.nlmsg_len,
                   [&](unsigned type, const char* at, const char* end) {
                     if (type == IFLA_XDP)
                       each_attribute(at, end, [&](unsigned t, const char* value, const char* value_end) {
                         std::uint32_t n = 0;
                         const auto size = static_cast<std::size_t>(value_end - value);
                         if (size == sizeof n) ::memcpy(&n, value, sizeof n);
                         else if (size == 1) n = static_cast<unsigned char>(*value);
                         found(t, n);
                       });
                   });
    return 0;
  }

 private:
  struct whole {
    ::nlmsghdr header;
    ::ifinfomsg about;
    char attributes[64];
  };
  template <class F>
  static void each_attribute(const char* at, const char* end, F f) noexcept {
    ::rtattr part{};
    while (end - at >= static_cast<std::ptrdiff_t>(sizeof part)) {
      ::memcpy(&part, at, sizeof part);
      if (part.rta_len < sizeof part || part.rta_len > end - at) return;
      f(part.rta_type & 0x3fffu, at + sizeof part, at + part.rta_len);
      const std::ptrdiff_t step = (part.rta_len + 3) & ~3;
      if (step > end - at) return;
      at += step;
    }
  }
  // Where in the message it begins.
  std::uint32_t append(unsigned short type, const void* value, std::size_t size) noexcept {
    const std::uint32_t at = message_.header.nlmsg_len;
    const ::rtattr part{static_cast<unsigned short>(sizeof(::rtattr) + size), type};
    RUNNEL_ASSERT(at + sizeof part + size <= sizeof message_);
    char* to = reinterpret_cast<char*>(&message_) + at;
    ::memcpy(to, &part, sizeof part);
    if (size != 0) ::memcpy(to + sizeof part, value, size);
    message_.header.nlmsg_len += static_cast<std::uint32_t>(sizeof part + size);
    return at;
  }
  whole message_{};
  std::uint32_t xdp_ = 0;
};

/// The id of the BPF link whose XDP program `program` is on interface `index`; 0 when that program was attached
/// without.
[[nodiscard]] inline std::uint32_t find_xdp_link(std::uint32_t program, int index) noexcept {
  for (std::uint32_t id = 0;;) {
    ::bpf_attr a = no_attributes();
    a.start_id = id;
    if (bpf_call(BPF_LINK_GET_NEXT_ID, a) != 0) return 0;
    id = a.next_id;
    a = no_attributes();
    a.link_id = id;
    const file_handle link(bpf_call(BPF_LINK_GET_FD_BY_ID, a), true);
    if (link.get() < 0) continue;  // gone meanwhile
    ::bpf_link_info info;
    ::memset(&info, 0, sizeof info);
    a = no_attributes();
    a.info.bpf_fd = static_cast<std::uint32_t>(link.get());
    a.info.info_len = sizeof info;
    a.info.info = address_of(&info);
    if (bpf_call(BPF_OBJ_GET_INFO_BY_FD, a) == 0 && info.type == BPF_LINK_TYPE_XDP && info.prog_id == program &&
        info.xdp.ifindex == static_cast<std::uint32_t>(index))
      return id;
  }
}

/// Sets the interface that a BPF link holds its program on; 0 when it does no longer. 0 or the errno.
[[nodiscard]] inline int interface_of_link(int fd, std::uint32_t& index) noexcept {
  ::bpf_link_info info;
  ::memset(&info, 0, sizeof info);
  ::bpf_attr a = no_attributes();
  a.info.bpf_fd = static_cast<std::uint32_t>(fd);
  a.info.info_len = sizeof info;
  a.info.info = address_of(&info);
  if (bpf_call(BPF_OBJ_GET_INFO_BY_FD, a) != 0) return errno;
  index = info.xdp.ifindex;
  return 0;
}

}  // namespace detail

namespace bpf {

/// What is attached to the interface with this index in this network namespace. Fails when there is none such.
[[nodiscard]] inline result<attached_program, error> attached(int index) noexcept {
  attached_program p;
  detail::xdp_request ask(RTM_GETLINK, 0, index);
  const int number = ask.send([&p](unsigned type, std::uint32_t value) {
    if (type == IFLA_XDP_PROG_ID) p.id = value;
    if (type != IFLA_XDP_ATTACHED || value == XDP_ATTACHED_NONE) return;
    p.mode = value == XDP_ATTACHED_SKB ? xdp_mode::generic : xdp_mode::native;
  });
  text<16> which;
  which << index;
  if (number != 0) return error("xdp", "look at interface", which.c_str(), ::strerror(number), "", number);
  return p;
}

/// A program on an interface. Move-only; owns the link, and detaches the program at destruction.
class xdp_link {
 public:
  /// Attaches the program to the interface of this name. Fails without CAP_NET_ADMIN, where there is a program already
  /// and `replace` was not asked for, and where the driver cannot do what was asked. The kernel keeps the program; the
  /// `loaded_program` may go.
  [[nodiscard]] static result<xdp_link, error> attach(const loaded_program& program, const char* interface_name,
                                                      const attach_options& options = {}) noexcept {
    auto found = device::network_interface::open_for("xdp", interface_name);
    if (!found) return found.error();
    const int index = found->index();
    if (options.replace)
      if (const auto detached = detach_other(interface_name, index); !detached) return detached.error();
    int number = 0;
    constexpr xdp_mode modes[] = {xdp_mode::native, xdp_mode::generic};
    for (const xdp_mode mode : modes) {
      if (options.mode != xdp_mode::automatic && options.mode != mode) continue;
      ::bpf_attr a = detail::no_attributes();
      a.link_create.prog_fd = static_cast<std::uint32_t>(program.fd());
      a.link_create.target_ifindex = static_cast<std::uint32_t>(index);
      a.link_create.attach_type = BPF_XDP;
      a.link_create.flags = mode == xdp_mode::native ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE;
      const int fd = detail::bpf_call(BPF_LINK_CREATE, a);
      if (fd >= 0) return xdp_link({fd, true}, index, mode);
      number = errno;
      // A program in the other mode is EEXIST. Whatever else a driver says to native mode, generic may do.
      if (number == EBUSY || number == EEXIST || number == EPERM) break;
    }
    return refused(interface_name, index, options.mode, number);
  }
  /// Takes over the descriptor of a link, as a privileged process may hand it out.
  [[nodiscard]] static xdp_link adopt(int fd, int index, xdp_mode mode) noexcept {
    return xdp_link({fd, true}, index, mode);
  }

  /// Its descriptor; stays the link's.
  [[nodiscard]] int fd() const noexcept { return file_.get(); }
  /// Gives up the descriptor, to be closed by whoever keeps the program attached from now on.
  [[nodiscard]] int release() noexcept { return file_.release(); }
  /// Where the program runs: `native` or `generic`.
  [[nodiscard]] xdp_mode mode() const noexcept { return mode_; }
  /// The interface's number when it was attached.
  [[nodiscard]] int index() const noexcept { return index_; }
  /// Puts another program in its place, without a moment between them. 0 or the errno.
  [[nodiscard]] int update(const loaded_program& program) noexcept {
    ::bpf_attr a = detail::no_attributes();
    a.link_update.link_fd = static_cast<std::uint32_t>(file_.get());
    a.link_update.new_prog_fd = static_cast<std::uint32_t>(program.fd());
    return detail::bpf_call(BPF_LINK_UPDATE, a) == 0 ? 0 : errno;
  }
  /// Whether the program is attached still: not when the interface was deleted, or somebody detached the link. One
  /// system call.
  [[nodiscard]] bool attached() const noexcept {
    std::uint32_t on = 0;
    return detail::interface_of_link(file_.get(), on) == 0 && on != 0;
  }

 private:
  xdp_link(detail::file_handle&& file, int index, xdp_mode mode) noexcept
      : file_(static_cast<detail::file_handle&&>(file)), index_(index), mode_(mode) {}

  [[nodiscard]] static error refused(const char* on, int index, xdp_mode mode, int number) noexcept {
    text<96> advice;
    const auto other = bpf::attached(index);
    if ((number == EBUSY || number == EEXIST) && other && other->id != 0) {
      text<64> why;
      why << "program id " << other->id << " (" << name(other->mode) << ") is attached already";
      advice << "pass .replace = true, or ";
      // ip cannot detach what hangs on a link: that ends with the program that holds it.
      if (detail::find_xdp_link(other->id, index) != 0) advice << "end the program that has attached it";
      else
        advice << "detach it: ip link set dev " << on << " xdp" << (other->mode == xdp_mode::generic ? "generic" : "")
               << " off";
      return {"xdp", "attach to", on, why.c_str(), advice.c_str(), EBUSY};
    }
    if (number == EINVAL) advice << "BPF links of XDP need Linux 5.9, and the driver's MTU and queues have to fit";
    else if (number == EPERM) advice << "run as root, or give the program CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN";
    else if (number == EMFILE) advice << detail::opening_advice(number, "");
    else if (mode == xdp_mode::native) advice << "the driver cannot do it as it is: a smaller MTU, or mode generic";
    return {"xdp", "attach to", on, ::strerror(number), advice.c_str(), number};
  }

  [[nodiscard]] static result<bool, error> detach_other(const char* on, int index) noexcept {
    const auto other = bpf::attached(index);
    if (!other) return other.error();
    const int number = other->id != 0 ? detach(index, *other) : 0;
    if (number == 0) return true;
    return error("xdp", "detach the other program of", on, ::strerror(number), "", number);
  }
  [[nodiscard]] static int detach(int index, const attached_program& other) noexcept {
    if (const std::uint32_t id = detail::find_xdp_link(other.id, index); id != 0) {
      ::bpf_attr a = detail::no_attributes();
      a.link_id = id;
      const detail::file_handle link(detail::bpf_call(BPF_LINK_GET_FD_BY_ID, a), true);
      if (link.get() < 0) return errno == ENOENT ? 0 : errno;
      a = detail::no_attributes();
      a.link_detach.link_fd = static_cast<std::uint32_t>(link.get());
      return detail::bpf_call(BPF_LINK_DETACH, a) == 0 ? 0 : errno;
    }
    detail::xdp_request ask(RTM_SETLINK, NLM_F_ACK, index);
    ask.begin_xdp();
    ask.add(IFLA_XDP_FD, static_cast<std::uint32_t>(-1));
    ask.add(IFLA_XDP_FLAGS, other.mode == xdp_mode::generic ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE);
    return ask.send([](unsigned, std::uint32_t) {});
  }

  detail::file_handle file_;
  int index_;
  xdp_mode mode_;
};

}  // namespace bpf
}  // namespace runnel

#endif  // defined(__linux__)

#endif
