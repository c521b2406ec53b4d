// SPDX-License-Identifier: MIT
// Takes VLAN tags off packets and puts them on: how a frame changes between a trunk and one of its VLANs. IEEE 802.1Q
// §6.9; what skb_vlan_pop and skb_vlan_push do.
#ifndef RUNNEL_WIRE_VLAN_TAG_HPP
#define RUNNEL_WIRE_VLAN_TAG_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t, uint64_t

#include <runnel/base/bytes.hpp>
#include <runnel/base/endian.hpp>
#include <runnel/packet/layers.hpp>
#include <runnel/packet/packet.hpp>
#include <runnel/wire/ethernet.hpp>
#include <runnel/wire/vlan.hpp>

namespace runnel {

namespace detail {

// Both Ethernet addresses to another place, four bytes from where they are.
inline void move_addresses(std::byte* to, const std::byte* from) noexcept {
  const auto first = load<std::uint64_t>(from);
  const auto rest = load<std::uint32_t>(from + 8);
  store(to, first);
  store(to + 8, rest);
}
// What is known of a packet that was dissected, when its link header has other tags than before.
inline void note_tags(packet& p, int bytes) noexcept {
  layers l = p.layers();
  if (l.link < 14) return;
  constexpr auto tagged = static_cast<unsigned>(protocol::vlan);
  const bool has_tags = ethertype::is_vlan(load_be16(p.data() + 12));
  l.protocols = static_cast<std::uint16_t>(has_tags ? l.protocols | tagged : l.protocols & ~tagged);
  l.link = static_cast<std::uint8_t>(l.link + bytes);
  p.layers(l);
}

}  // namespace detail

/// Takes the outermost VLAN tag off a packet that begins with its Ethernet header; what `parse()` has found of it stays
/// right. False, and nothing has changed, when there is no tag, or when its bytes are shared and there is no memory to
/// copy them.
[[nodiscard]] inline bool pop_vlan(packet& p) noexcept {
  if (p.length() < 18 || !ethertype::is_vlan(load_be16(p.data() + 12))) return false;
  if (p.is_shared() && !p.unshare()) return false;
  std::byte* const at = p.writable().data();
  detail::move_addresses(at + 4, at);
  if (!p.pull(4)) return detail::move_addresses(at, at + 4), false;
  detail::note_tags(p, -4);
  return true;
}
/// Puts a tag behind the Ethernet addresses of a packet that begins with them, before tags that are there; its `type`
/// is not looked at. What `parse()` has found of it stays right. False, and nothing has changed, when it is no Ethernet
/// frame, has no four bytes of headroom, or 60 tags already, or when its bytes are shared and there is no memory to
/// copy them.
[[nodiscard]] inline bool push_vlan(packet& p, vlan_header tag) noexcept {
  if (p.length() < 14 || p.headroom() < 4 || p.layers().link > 251) return false;  // `link` has eight bits
  if (p.is_shared() && !p.unshare()) return false;
  std::byte* const at = p.push(4);
  if (at == nullptr) return false;
  detail::move_addresses(at, at + 4);
  store_be16(at + 12, tag.ethertype());
  tag.type = load_be16(at + 16);
  tag.write({at + 14, 4}, {});
  detail::note_tags(p, 4);
  return true;
}

}  // namespace runnel

#endif
