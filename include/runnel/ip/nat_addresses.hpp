// SPDX-License-Identifier: MIT
// Which address of this host NAT takes: the last argument of `nat<...>(translations, rules, leaving(interfaces))`.
#ifndef RUNNEL_IP_NAT_ADDRESSES_HPP
#define RUNNEL_IP_NAT_ADDRESSES_HPP

#include <runnel/ip/interfaces.hpp>
#include <runnel/ip/route.hpp>
#include <runnel/packet/packet.hpp>
#include <runnel/wire/address.hpp>

namespace runnel {

/// For `masquerade`, behind `route`: the address by which the packet's interface `meta::oif` sends to its destination.
/// The interfaces must outlive the pipeline.
[[nodiscard]] constexpr auto leaving(ip_interfaces interfaces) noexcept {
  return [interfaces](const packet& p, const ipv6_address& peer) noexcept {
    return interfaces.source_for(oif_of(p), peer);
  };
}
/// For `redirect_here`: the address by which the packet's interface `meta::iif` sends to its source. The interfaces
/// must outlive the pipeline.
[[nodiscard]] constexpr auto arriving(ip_interfaces interfaces) noexcept {
  return
      [interfaces](const packet& p, const ipv6_address& peer) noexcept { return interfaces.source_for(p.iif(), peer); };
}

}  // namespace runnel

#endif
