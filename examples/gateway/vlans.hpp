// SPDX-License-Identifier: MIT
// VLANs: interfaces that have no device of their own, but those packets of another one's that have their tag.
#ifndef GATEWAY_VLANS_HPP
#define GATEWAY_VLANS_HPP

#include <runnel/runnel.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace gateway {

// What is sent by a VLAN, as a device: it goes out by the device below, with the tag. It takes all packets, and those
// that cannot be sent are lost.
class vlan_device {
 public:
  vlan_device(runnel::device::any_device& below, std::uint16_t tag) : below_(&below), tag_(tag) {}

  [[nodiscard]] std::size_t transmit(runnel::packet* packets, std::size_t n, runnel::instant now) {
    std::size_t tagged = 0;
    for (std::size_t i = 0; i < n; ++i)
      if (push_vlan(packets[i], {.id = tag_})) std::swap(packets[tagged++], packets[i]);
    const std::uint64_t lost_below = below_->lost();
    const std::size_t sent = below_->transmit(packets, tagged, now);
    lost_ += n - sent + (below_->lost() - lost_below);
    for (std::size_t i = sent; i < n; ++i) packets[i].reset();
    return n;
  }
  [[nodiscard]] std::uint64_t lost() const { return lost_; }

 private:
  runnel::device::any_device* below_;
  std::uint16_t tag_;
  std::uint64_t lost_ = 0;
};

// Which interfaces the packets of a device are of: without a tag its own, else that of the VLAN.
class interfaces_of_device {
 public:
  explicit interfaces_of_device(std::uint16_t own) : own_(own) {}

  void add(std::uint16_t tag, std::uint16_t number) {
    by_tag_.resize(4096);
    by_tag_[tag] = number;
  }
  [[nodiscard]] bool has_vlans() const { return !by_tag_.empty(); }
  // The number of its interface, 0 when it is of none; its tag is taken off. One with the number 0 has a priority only.
  [[nodiscard]] std::uint16_t take(runnel::packet& p) const {
    const runnel::header_map found{static_cast<const runnel::packet&>(p)};
    if (!found.has<runnel::vlan>()) return own_;
    const runnel::vlan tag = found.get<runnel::vlan>();
    if (!has_vlans() || runnel::ethertype::is_vlan(tag.ethertype())) return 0;
    const std::uint16_t number = tag.vlan_id() == 0 ? own_ : by_tag_[tag.vlan_id()];
    return number != 0 && pop_vlan(p) ? number : std::uint16_t{0};
  }

 private:
  std::uint16_t own_;
  std::vector<std::uint16_t> by_tag_;  // empty, or of each tag the number of its interface
};

}  // namespace gateway

#endif
