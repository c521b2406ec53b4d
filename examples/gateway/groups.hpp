// SPDX-License-Identifier: MIT
// What is sent to groups: a network card lets in only what is for groups that it was told of.
//
// The kernel tells its cards of the groups in which IPv6 hosts ask for its own addresses (RFC 4291 section 2.7.1), and
// for routers. Those of the gateway it does not know, and without them nobody on the link finds the gateway. A veth
// pair and a TAP interface let in everything, so that this shows on real cards and on macvlan only.
#ifndef GATEWAY_GROUPS_HPP
#define GATEWAY_GROUPS_HPP

#include <runnel/runnel.hpp>

#include <cerrno>
#include <cstring>
#include <utility>

#include <linux/if_packet.h>
#include <sys/socket.h>
#include <unistd.h>

namespace gateway {

// For as long as it is there an interface of the kernel lets in what is sent to any group.
class all_groups {
 public:
  static runnel::result<all_groups, runnel::error> open(const char* interface) {
    const auto found = runnel::device::network_interface::open(interface);
    if (!found) return found.error();
    all_groups made(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));  // of no protocol: nothing comes
    ::packet_mreq all{};
    all.mr_ifindex = found->index();
    all.mr_type = PACKET_MR_ALLMULTI;
    if (made.socket_ < 0 || ::setsockopt(made.socket_, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof all) != 0)
      return runnel::error("gateway", "hear all groups on", interface, std::strerror(errno));
    return made;
  }
  all_groups(all_groups&& other) noexcept : socket_(std::exchange(other.socket_, -1)) {}
  all_groups& operator=(all_groups&& other) noexcept { return std::swap(socket_, other.socket_), *this; }
  ~all_groups() {
    if (socket_ >= 0) ::close(socket_);
  }

 private:
  explicit all_groups(int socket) : socket_(socket) {}
  int socket_;
};

}  // namespace gateway

#endif
