// SPDX-License-Identifier: MIT
// Opens the packet sockets of a device, with their rings, and explains what cannot be opened. packet(7). Nothing here
// is for users.
#ifndef RUNNEL_DEVICE_PACKET_SOCKET_HPP
#define RUNNEL_DEVICE_PACKET_SOCKET_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // int64_t, uint16_t, uint32_t, uint64_t

#include <runnel/base/endian.hpp>
#include <runnel/base/error.hpp>
#include <runnel/base/hash.hpp>
#include <runnel/base/result.hpp>
#include <runnel/base/text.hpp>
#include <runnel/device/af_packet_options.hpp>
#include <runnel/device/linux.hpp>
#include <runnel/device/network_interface.hpp>
#include <runnel/device/packet_receive_ring.hpp>
#include <runnel/device/packet_sender.hpp>
#include <runnel/device/packet_transmit_ring.hpp>
#include <runnel/device/posix.hpp>

#if defined(__linux__)

#include <errno.h>            // errno
#include <linux/filter.h>     // sock_fprog
#include <linux/if_packet.h>  // sockaddr_ll, tpacket_req, tpacket_req3
#include <string.h>           // strerror
#include <sys/stat.h>         // stat
#include <unistd.h>           // getpid, sysconf

namespace runnel::detail {

// How the packets of an interface begin, by its ARPHRD_ number; <linux/if_arp.h> includes too much.
[[nodiscard]] inline link_type link_of_hardware(std::uint16_t hardware) noexcept {
  switch (hardware) {
    case 1:    // ARPHRD_ETHER
    case 772:  // ARPHRD_LOOPBACK
      return link_type::ethernet;
    case 519:     // ARPHRD_RAWIP
    case 768:     // ARPHRD_TUNNEL
    case 776:     // ARPHRD_SIT
    case 0xfffe:  // ARPHRD_NONE, as of a TUN interface
      return link_type::raw_ip;
    default: return link_type::unknown;
  }
}

// In words, with what a person can do.
[[nodiscard]] inline error packet_socket_problem(const char* what, const char* on, int number,
                                                 const char* advice = "") noexcept {
  if (number == EPERM || number == EACCES) advice = "run as root, or give the program CAP_NET_RAW";
  if (number == ENODEV || number == ENXIO) advice = "the interface was deleted just now";
  return {"af_packet", what, on, ::strerror(number), opening_advice(number, advice), number};
}
inline bool set_packet_option(int fd, int option, int value) noexcept {
  return sys::setsockopt(fd, sys::sol_packet, option, &value, sizeof value) == 0;
}
// Without a protocol, so that nothing comes before it is bound.
[[nodiscard]] inline file_handle open_packet_socket() noexcept {
  return {sys::socket(sys::af_packet, sys::sock_raw | sys::sock_nonblock | sys::sock_cloexec, 0), true};
}
inline bool bind_packet_socket(int fd, int index, std::uint16_t protocol) noexcept {
  ::sockaddr_ll address{};
  address.sll_family = sys::af_packet;
  store_be16(static_cast<std::byte*>(static_cast<void*>(&address.sll_protocol)), protocol);
  address.sll_ifindex = index;
  return sys::bind(fd, &address, sizeof address) == 0;
}

[[nodiscard]] inline result<bool, error> prepare_to_send(const file_handle& socket, const char* name,
                                                         const device::af_packet_options& options,
                                                         std::uint64_t bytes_waiting) noexcept {
  const int fd = socket.get();
  if (fd < 0)
    return packet_socket_problem("open", name, errno, errno == EAFNOSUPPORT ? "load the module af_packet" : "");
  if (!set_packet_option(fd, PACKET_VNET_HDR, 1)) return packet_socket_problem("set the header of", name, errno);
  if (options.bypass_qdisc && !set_packet_option(fd, PACKET_QDISC_BYPASS, 1))
    return packet_socket_problem("bypass the qdisc of", name, errno);
  // Beyond the system's limit (net.core.wmem_max) with CAP_NET_ADMIN, else up to it.
  const auto size = static_cast<int>(bytes_waiting < (1u << 30) ? bytes_waiting : 1u << 30);
  if (sys::setsockopt(fd, sys::sol_socket, sys::so_sndbufforce, &size, sizeof size) != 0)
    (void)sys::setsockopt(fd, sys::sol_socket, sys::so_sndbuf, &size, sizeof size);
  return true;
}
[[nodiscard]] inline result<packet_sender, error> open_packet_sender(
    const char* name, const device::interface_status& status, link_type link,
    const device::af_packet_options& options) noexcept {
  // Longer ones go one by one.
  constexpr std::uint32_t longest_in_slot = 9216;
  const std::size_t link_header = link == link_type::ethernet ? 14 : 0;
  const std::size_t tag = link_header != 0 ? 4 : 0;
  const std::size_t slot = packet_transmit_ring::slot_size(
      (status.mtu < longest_in_slot ? status.mtu : longest_in_slot) + link_header + tag);
  // So many slots are whole pages, whatever odd number of lines they have.
  const auto in_block = static_cast<std::uint32_t>(::sysconf(_SC_PAGESIZE) / 64);
  const std::uint64_t blocks = (std::uint64_t{options.transmit_slots} + in_block - 1) / in_block;
  const std::uint64_t slots = (blocks != 0 ? blocks : 1) * in_block;
  file_handle by_ring = open_packet_socket();
  if (auto done = prepare_to_send(by_ring, name, options, slots * (slot + 1024)); !done) return done.error();
  file_handle one_by_one = open_packet_socket();
  if (auto done = prepare_to_send(one_by_one, name, options, 4u << 20); !done) return done.error();
  ::tpacket_req ask{};
  ask.tp_block_size = static_cast<unsigned>(slot * in_block);
  ask.tp_block_nr = static_cast<unsigned>(slots / in_block);
  ask.tp_frame_size = static_cast<unsigned>(slot);
  ask.tp_frame_nr = static_cast<unsigned>(slots);
  mapping memory;
  int number = ENOMEM;
  if (slots <= (1u << 30) / slot) {
    if (set_packet_option(by_ring.get(), PACKET_VERSION, TPACKET_V2) &&
        sys::setsockopt(by_ring.get(), sys::sol_packet, PACKET_TX_RING, &ask, sizeof ask) == 0)
      memory = mapping::of(by_ring.get(), static_cast<std::size_t>(slots) * slot);
    number = errno;
  }
  if (memory.data() == nullptr) {
    text<96> what;
    what << "a ring of " << slots << " slots of " << std::uint64_t{slot} << " bytes on " << name;
    return packet_socket_problem("make", what.c_str(), number, mapping_advice(number, "choose fewer transmit_slots"));
  }
  if (!bind_packet_socket(by_ring.get(), status.index, 0) || !bind_packet_socket(one_by_one.get(), status.index, 0))
    return packet_socket_problem("bind to", name, errno);
  const packet_transmit_ring ring(memory.data(), slot, static_cast<std::uint32_t>(slots));
  return packet_sender(static_cast<file_handle&&>(by_ring), static_cast<mapping&&>(memory), ring,
                       static_cast<file_handle&&>(one_by_one), status.mtu + link_header, link, options.bypass_qdisc);
}

// The receiving side of a device: a socket and its ring.
struct packet_receiver {
  file_handle socket;
  mapping memory;
  packet_receive_ring ring;
};

[[nodiscard]] inline result<bool, error> map_receive_ring(packet_receiver& to, const char* name,
                                                          const device::af_packet_options& options) noexcept {
  const std::uint32_t size = options.block_size;
  if (size < static_cast<std::uint32_t>(::sysconf(_SC_PAGESIZE)) || (size & (size - 1)) != 0 || size > (1u << 30))
    return error("af_packet", "open", name, "block_size is not a power of two between a page and 1 GiB",
                 "262144 is a good one", EINVAL);
  const std::int64_t timeout = (options.block_timeout.ns + 999'999) / 1'000'000;
  ::tpacket_req3 ask{};
  ask.tp_block_size = size;
  ask.tp_block_nr = options.blocks;
  ask.tp_frame_size = size;  // of no meaning to this kind of ring, but checked
  ask.tp_frame_nr = options.blocks;
  ask.tp_retire_blk_tov = static_cast<unsigned>(timeout < 1 ? 1 : timeout < 1000 ? timeout : 1000);
  const std::uint64_t whole = std::uint64_t{size} * options.blocks;
  const int fd = to.socket.get();
  // Where there is no memory left for a ring the kernel ends other programs, which have more of it than we.
  const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  const std::uint64_t most = static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES)) / 4 * 3 * page;
  int number = ENOMEM;
  if (whole <= SIZE_MAX / 2 && whole <= most) {
    if (sys::setsockopt(fd, sys::sol_packet, PACKET_RX_RING, &ask, sizeof ask) == 0)
      to.memory = mapping::of(fd, static_cast<std::size_t>(whole));
    number = errno;
  }
  if (to.memory.data() == nullptr) {
    text<96> what;
    what << "a ring of " << options.blocks << " blocks of " << size << " bytes on " << name;
    return packet_socket_problem("make", what.c_str(), number,
                                 mapping_advice(number, "choose fewer or smaller blocks"));
  }
  to.ring = packet_receive_ring(to.memory.data(), size, options.blocks);
  return true;
}
[[nodiscard]] inline result<bool, error> bind_receiver(int fd, const char* name, int index) noexcept {
  constexpr std::uint16_t all_protocols = 3;  // ETH_P_ALL
  if (!bind_packet_socket(fd, index, all_protocols)) return packet_socket_problem("bind to", name, errno);
  return true;
}
// The group of this process on an interface. Another process has the same one once in 65536 times: not because it has
// the same number in another container, where many have the number 1.
[[nodiscard]] inline std::uint32_t own_fanout_group(int index) noexcept {
  struct ::stat container{};  // 0 where there is no /proc
  (void)::stat("/proc/self/ns/pid", &container);
  const auto process = static_cast<std::uint64_t>(::getpid());
  return hash_words(container.st_ino, process << 32 | static_cast<std::uint32_t>(index), 0) & 0xffffu;
}

// A socket must be bound before it can join, and would get packets meanwhile that the group gets too: a filter keeps
// them out.
[[nodiscard]] inline result<bool, error> join_fanout(int fd, const char* name, int index,
                                                     const device::af_packet_options& options) noexcept {
  ::sock_filter nothing[] = {{BPF_RET | BPF_K, 0, 0, 0}};
  const ::sock_fprog filter{1, nothing};
  if (sys::setsockopt(fd, sys::sol_socket, sys::so_attach_filter, &filter, sizeof filter) != 0)
    return packet_socket_problem("join a fanout group on", name, errno);
  if (auto bound = bind_receiver(fd, name, index); !bound) return bound.error();
  const std::uint32_t group = options.fanout_group != 0 ? options.fanout_group : own_fanout_group(index);
  constexpr std::uint32_t kernel_modes[] = {0, PACKET_FANOUT_HASH, PACKET_FANOUT_LB, PACKET_FANOUT_CPU,
                                            PACKET_FANOUT_ROLLOVER};
  const std::uint32_t mode =
      kernel_modes[static_cast<unsigned>(options.fanout)] | (options.defragment ? PACKET_FANOUT_FLAG_DEFRAG : 0u);
  const auto ask = [&](std::uint32_t flags) {
    return set_packet_option(fd, PACKET_FANOUT, static_cast<int>(group | flags << 16));
  };
  // The group has its own word on outgoing packets. A kernel that does not know it is asked without.
  constexpr std::uint32_t ignore_outgoing = 0x4000;
  if (!ask(mode | ignore_outgoing) && (errno != EINVAL || !ask(mode))) {
    const int number = errno;
    text<64> what;
    what << "fanout group " << group << " on " << name;
    return packet_socket_problem(
        "join", what.c_str(), number,
        number == EINVAL   ? "it is of another mode, or on another interface: choose another fanout_group"
        : number == ENOSPC ? "it has as many members as there can be: choose another fanout_group"
                           : "");
  }
  int unused = 0;
  if (sys::setsockopt(fd, sys::sol_socket, sys::so_detach_filter, &unused, sizeof unused) != 0)
    return packet_socket_problem("join a fanout group on", name, errno);
  return true;
}

// A receiver without a ring when `options.blocks` is 0.
[[nodiscard]] inline result<packet_receiver, error> open_packet_receiver(
    const char* name, int index, const device::af_packet_options& options) noexcept {
  packet_receiver made;
  if (options.blocks == 0) return made;
  made.socket = open_packet_socket();
  const int fd = made.socket.get();
  if (fd < 0) return packet_socket_problem("open", name, errno);
  if (!set_packet_option(fd, PACKET_VERSION, TPACKET_V3) || !set_packet_option(fd, PACKET_VNET_HDR, 1))
    return packet_socket_problem("receive from", name, errno, "it takes Linux 3.2");
  constexpr int ignore_outgoing = 23;  // PACKET_IGNORE_OUTGOING, Linux 4.20. What comes all the same is passed over.
  (void)set_packet_option(fd, ignore_outgoing, 1);
  const int reserve = options.headroom > packet_block::front ? options.headroom - int{packet_block::front} : 0;
  if (!set_packet_option(fd, PACKET_RESERVE, reserve)) return packet_socket_problem("reserve headroom on", name, errno);
  if (auto done = map_receive_ring(made, name, options); !done) return done.error();
  if (options.promiscuous) {
    ::packet_mreq all{};
    all.mr_ifindex = index;
    all.mr_type = PACKET_MR_PROMISC;
    if (sys::setsockopt(fd, sys::sol_packet, PACKET_ADD_MEMBERSHIP, &all, sizeof all) != 0)
      return packet_socket_problem("receive all from", name, errno);
  }
  auto bound = options.fanout == device::fanout_mode::none ? bind_receiver(fd, name, index)
                                                           : join_fanout(fd, name, index, options);
  if (!bound) return bound.error();
  return made;
}

}  // namespace runnel::detail

#endif  // defined(__linux__)

#endif
