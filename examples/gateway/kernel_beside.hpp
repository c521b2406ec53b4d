// SPDX-License-Identifier: MIT
// What the kernel does beside the gateway: AF_PACKET only gets copies, and the kernel gets every packet too.
#ifndef GATEWAY_KERNEL_BESIDE_HPP
#define GATEWAY_KERNEL_BESIDE_HPP

#include <runnel/runnel.hpp>

#include <cstddef>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <ifaddrs.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "router.hpp"

namespace gateway {

// An address of the kernel's; an IPv4 one is mapped. Unspecified when it is neither.
inline runnel::ipv6_address address_of(const ::sockaddr* of) {
  if (of == nullptr || (of->sa_family != AF_INET && of->sa_family != AF_INET6)) return {};
  const bool four = of->sa_family == AF_INET;
  const void* const at = four ? static_cast<const void*>(&reinterpret_cast<const ::sockaddr_in*>(of)->sin_addr)
                              : &reinterpret_cast<const ::sockaddr_in6*>(of)->sin6_addr;
  const auto* const bytes = static_cast<const std::byte*>(at);
  if (four) return runnel::mapped(runnel::ipv4_address{runnel::load_be32(bytes)});
  return {runnel::load_be64(bytes), runnel::load_be64(bytes + 8)};
}

inline bool kernel_forwards(bool four) {
  std::ifstream said(four ? "/proc/sys/net/ipv4/ip_forward" : "/proc/sys/net/ipv6/conf/all/forwarding");
  return said.get() == '1';
}

// What an operator should know of a kernel that has an address on an interface from which the gateway gets copies:
// with one of the gateway's it answers too, and refuses what it knows nothing of; when it forwards, packets are sent on
// twice. Empty when it keeps out of it.
inline std::string kernel_beside(const router& r, std::vector<port>& ports) {
  ::ifaddrs* all = nullptr;
  if (::getifaddrs(&all) != 0) return "";
  const std::unique_ptr<::ifaddrs, void (*)(::ifaddrs*)> owner(all, ::freeifaddrs);
  for (const ::ifaddrs* a = all; a != nullptr; a = a->ifa_next) {
    const runnel::ipv6_address address = address_of(a->ifa_addr);
    if (address.is_unspecified()) continue;
    for (std::size_t i = 0; i < ports.size(); ++i) {
      if (!r.config.interfaces[i].device.starts_with("af_packet:")) continue;
      const std::string on = a->ifa_name;
      if (on != ports[i].device.name()) continue;
      const bool four = is_mapped(address), same = r.interfaces().is_own(address);
      const bool forwards = !address.is_link_local() && kernel_forwards(four);
      if (!same && !forwards) continue;
      runnel::text<64> which;
      if (four) print(which, unmapped(address));
      else print(which, address);
      return std::string("the kernel has the address ") + which.c_str() + " on " + on +
             (same ? ", as the gateway, and answers too" : "") +
             (forwards ? std::string(same ? "; it" : " and") + " forwards, so that packets are sent on twice" : "") +
             (four ? ": ip addr flush dev " + on : ": sysctl net.ipv6.conf." + on + ".disable_ipv6=1") +
             (!forwards ? ""
              : four    ? ", sysctl net.ipv4.ip_forward=0"
                        : ", sysctl net.ipv6.conf.all.forwarding=0");
    }
  }
  return "";
}

}  // namespace gateway

#endif
