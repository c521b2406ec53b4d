// SPDX-License-Identifier: MIT
// What the kernel does beside the gateway: AF_PACKET only gets copies, and the kernel gets every packet too.
#ifndef GATEWAY_KERNEL_BESIDE_HPP
#define GATEWAY_KERNEL_BESIDE_HPP

#include <runnel/runnel.hpp>

#include <algorithm>
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

// Whether a setting of the kernel's is there and is not 0: "ipv4/conf/eth0/rp_filter".
inline bool is_set(const std::string& setting) {
  std::ifstream said("/proc/sys/net/" + setting);
  const int c = said.get();
  return said.good() && c != '0';
}
// Whether the kernel forwards what comes in by an interface.
inline bool kernel_forwards(bool four, const std::string& interface) {
  return is_set(four ? "ipv4/conf/" + interface + "/forwarding" : "ipv6/conf/all/forwarding");
}

// The name of an interface where dots separate: eth0.10 is eth0/10 there.
inline std::string in_sysctl(std::string interface) {
  std::replace(interface.begin(), interface.end(), '.', '/');
  return interface;
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
      const bool forwards = kernel_forwards(four, on);
      if (!same && !forwards) continue;
      runnel::text<64> which;
      if (four) print(which, unmapped(address));
      else print(which, address);
      return std::string("the kernel has the address ") + which.c_str() + " on " + on +
             (same ? ", as the gateway, and answers too" : "") +
             (forwards ? std::string(same ? "; it" : " and") + " forwards, so that packets are sent on twice" : "") +
             (four ? ": ip addr flush dev " + on : ": sysctl net.ipv6.conf." + in_sysctl(on) + ".disable_ipv6=1") +
             (!forwards ? ""
              : four    ? ", sysctl net.ipv4.ip_forward=0"
                        : ", sysctl net.ipv6.conf.all.forwarding=0");
    }
  }
  return "";
}

// The same of IPv4 on an interface without an address: the kernel forwards there too, by routes to other interfaces, if
// no filter asks for the way back. What the rules drop goes that way then.
inline std::string kernel_forwards_past(const router& r, std::vector<port>& ports) {
  for (std::size_t i = 0; i < ports.size(); ++i) {
    const std::string on = ports[i].device.name();
    if (!r.config.interfaces[i].device.starts_with("af_packet:") || !kernel_forwards(true, on)) continue;
    if (is_set("ipv4/conf/all/rp_filter") || is_set("ipv4/conf/" + on + "/rp_filter")) continue;
    return "the kernel forwards what comes in by " + on + ", past all rules: sysctl net.ipv4.conf." + in_sysctl(on) +
           ".forwarding=0";
  }
  return "";
}

}  // namespace gateway

#endif
