// SPDX-License-Identifier: MIT
// Whether packets can come and go by the interfaces, and what an operator is told when they cannot.
#ifndef GATEWAY_LINK_STATE_HPP
#define GATEWAY_LINK_STATE_HPP

#include <runnel/runnel.hpp>

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "configuration.hpp"
#include "router.hpp"
#include "tell.hpp"

namespace gateway {

// Whether we share the interface with the kernel; else it is somebody else's, as that of a TAP.
inline bool is_of_kernel(const configuration::interface& c) { return c.device.starts_with("af_"); }

// What the kernel says of the interface of a device that was just opened, if it has one.
inline runnel::result<runnel::device::interface_status, runnel::error> status_of(runnel::device::any_device& of) {
  const auto found = runnel::device::network_interface::open(of.name());
  if (!found) return found.error();
  return found->status();
}

// Why nothing comes and goes by an interface, and what to do about it; empty while all is well. `keeps` says whether
// connections outlive a restart.
inline std::string trouble_of(const configuration::interface& c, port& its, bool keeps) {
  runnel::device::any_device& device = its.device;
  const std::string name = device.name();
  // Of a TAP in another namespace the kernel knows nothing here.
  const bool has_interface = (is_of_kernel(c) || c.device.starts_with("tap:") || c.device.starts_with("tun:")) &&
                             c.device.find("netns=") == c.device.npos;
  // Opened once: it stays the same one when it is renamed, and another one may get its name.
  if (has_interface && !its.settings)
    if (auto found = runnel::device::network_interface::open(device.name())) its.settings.emplace(std::move(*found));
  std::optional<runnel::device::interface_status> is;
  if (its.settings)
    if (const auto status = its.settings->status()) is = *status;
  if (const runnel::error* const why = device.failure(); why != nullptr) {
    const bool deleted = has_interface && !is;
    return (deleted ? name + " was deleted, and nothing goes by it any more" : std::string(why->message())) +
           ": restart the gateway " + (deleted ? "when it is there again" : "to open it again") +
           (keeps ? "; its connections stay (--state)" : "; without --state it forgets its connections");
  }
  if (!is) return "";  // nor should it be there; or it was moved away, or its device finds out soon that it was deleted
  if (!is->up) return name + " is down, and nothing goes by it: ip link set " + name + " up";
  if (!is->running) return name + " has no carrier: see to its cable, or to the other end";
  return "";
}

// To be called once a second: each change is told once. A VLAN is as well as the interface that it is on.
inline void look_at_links(const configuration& c, std::vector<port>& ports, bool keeps) {
  for (std::size_t i = 0; i < ports.size(); ++i) {
    port& p = ports[i];
    const configuration::interface& its = c.interfaces[i];
    if (its.vlan != 0) {
      p.trouble = ports[its.parent - 1u].trouble;
      continue;
    }
    std::string now = trouble_of(its, p, keeps);
    if (now == p.trouble) continue;
    tell(2,
         "gateway: interface " + p.name + ": " + (now.empty() ? std::string(p.device.name()) + " is up again" : now));
    p.trouble = std::move(now);
  }
}

}  // namespace gateway

#endif
