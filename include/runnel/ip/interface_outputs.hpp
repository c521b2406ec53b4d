// SPDX-License-Identifier: MIT
// The devices of a router as one that takes packets: each packet goes out by the interface of its next hop.
//
//     device::af_packet* const devices[] = {nullptr, &*eth0, &*eth1};  // by packet::iif() and next_hop::oif
//     interface_outputs out{devices};
//
//     auto output  = as_pipeline(confirm(connections) | resolve(tables, 3, routes) | transmit(out));
//     auto answers = as_pipeline(transmit(out));  // what answer_echo() and reject() made: back to where it came from
//
// An answer has its link header already, that of the packet turned round, and no next hop: `resolve` would look for the
// asker himself on the link, who may be behind a router.
#ifndef RUNNEL_IP_INTERFACE_OUTPUTS_HPP
#define RUNNEL_IP_INTERFACE_OUTPUTS_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint16_t, uint64_t

#include <runnel/base/time.hpp>
#include <runnel/flow/device_concepts.hpp>
#include <runnel/ip/route.hpp>
#include <runnel/packet/burst.hpp>
#include <runnel/packet/packet.hpp>

namespace runnel {

/// Several devices as one: a packet goes out by the device of the interface that `route()` has chosen for it, `oif_of`;
/// one without, as an answer is, by that of the interface that it came by, `packet::iif()`. Packets of one interface
/// stay in order, and are one call of its device for each 64 of a burst. Devices of several kinds are `any_device`s.
template <transmitting_device Device>
class interface_outputs {
 public:
  /// `devices[number]` of `n` is that of the interface with this number, null where there is none. The list and the
  /// devices must outlive it.
  constexpr interface_outputs(Device* const* devices, std::size_t n) noexcept : devices_(devices), n_(n) {}
  /// All of an array.
  template <std::size_t N>
  constexpr explicit interface_outputs(Device* const (&devices)[N]) noexcept : devices_(devices), n_(N) {}

  /// See `transmitting_device`. Takes all of them, so that an interface that is full holds up no other: what its device
  /// does not take is lost, and so is what has no device.
  [[nodiscard]] std::size_t transmit(packet* packets, std::size_t n, instant now) noexcept {
    for (std::size_t from = 0; from < n; from += at_once)
      send_some(packets + from, n - from < at_once ? n - from : at_once, now);
    return n;
  }
  /// Packets that were taken and not sent, by the devices or for want of one.
  [[nodiscard]] std::uint64_t lost() const noexcept { return lost_; }

 private:
  static constexpr std::size_t at_once = 64;  // they lie on the stack, which may be small

  [[nodiscard]] static std::uint16_t way_of(const packet& p) noexcept {
    const std::uint16_t oif = oif_of(p);
    return oif != 0 ? oif : p.iif();
  }
  void send_some(packet* packets, std::size_t n, instant now) noexcept {
    const std::uint16_t first = way_of(packets[0]);
    std::size_t same = 1;
    while (same < n && way_of(packets[same]) == first) ++same;
    if (same == n) return send(first, packets, n, now);  // nearly always
    packet part[at_once];
    while (n != 0) {
      const std::uint16_t way = way_of(packets[0]);
      std::size_t taken = 0, left = 0;
      for (std::size_t i = 0; i < n; ++i) {
        packet& to = way_of(packets[i]) == way ? part[taken++] : packets[left++];
        if (&to != &packets[i]) to = static_cast<packet&&>(packets[i]);
      }
      send(way, part, taken, now);
      n = left;
    }
  }
  void send(std::uint16_t way, packet* packets, std::size_t n, instant now) noexcept {
    Device* const to = way < n_ ? devices_[way] : nullptr;
    std::size_t sent = 0;
    if (to != nullptr) {
      const std::uint64_t before = lost_by(*to);
      sent = to->transmit(packets, n, now);
      lost_ += lost_by(*to) - before;
    }
    lost_ += n - sent;
    for (std::size_t i = sent; i < n; ++i) packets[i].reset();
  }
  [[nodiscard]] static std::uint64_t lost_by(Device& d) noexcept {
    if constexpr (requires { d.lost(); }) return d.lost();
    else return 0;
  }

  Device* const* devices_;
  std::size_t n_;
  std::uint64_t lost_ = 0;
};

}  // namespace runnel

#endif
