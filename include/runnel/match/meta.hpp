// SPDX-License-Identifier: MIT
// What is known of a packet beside its header fields, to be used like a field: `meta::mark == 7`. The names are nft's.
#ifndef RUNNEL_MATCH_META_HPP
#define RUNNEL_MATCH_META_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t, uint64_t

#include <runnel/base/endian.hpp>
#include <runnel/base/time.hpp>
#include <runnel/config.hpp>
#include <runnel/match/load.hpp>
#include <runnel/match/subject.hpp>
#include <runnel/packet/connection_state.hpp>
#include <runnel/packet/layers.hpp>
#include <runnel/wire/ethernet.hpp>
#include <runnel/wire/field.hpp>

namespace runnel {
namespace match {

/// Which value of namespace `meta` or `ct`.
enum class meta_key : std::uint8_t {
  length,
  iif,
  oif,
  mark,
  priority,
  protocol,
  nfproto,
  l4proto,
  time,
  hash,
  queue,
  ct_state,
  ct_direction,
  ct_mark,
  ct_status,
  ct_zone
};

/// The name as nft spells it.
[[nodiscard]] constexpr const char* name(meta_key k) noexcept {
  switch (k) {
    case meta_key::length: return "meta length";
    case meta_key::iif: return "meta iif";
    case meta_key::oif: return "meta oif";
    case meta_key::mark: return "meta mark";
    case meta_key::priority: return "meta priority";
    case meta_key::protocol: return "meta protocol";
    case meta_key::nfproto: return "meta nfproto";
    case meta_key::l4proto: return "meta l4proto";
    case meta_key::time: return "meta time";
    case meta_key::hash: return "meta hash";
    case meta_key::queue: return "meta queue";
    case meta_key::ct_state: return "ct state";
    case meta_key::ct_direction: return "ct direction";
    case meta_key::ct_mark: return "ct mark";
    case meta_key::ct_status: return "ct status";
    case meta_key::ct_zone: return "ct zone";
  }
  return "meta";
}

namespace detail {

// What the last of the extension headers at `p` announces; `size` bytes are there. In a later fragment that is what
// the fragment header says, as there is nothing to follow behind it.
[[nodiscard]] constexpr std::uint8_t behind_ipv6_extensions(const std::byte* p, std::size_t size) noexcept {
  std::uint8_t number = load_u8(p + 6);
  std::size_t at = 40;
  while (number == 0 || number == 43 || number == 44 || number == 51 || number == 60) {
    if (at + 8 > size) break;
    const std::byte* extension = p + at;
    const std::size_t length = load_u8(extension + 1);
    const bool later_fragment = number == 44 && (load_be16(extension + 2) & 0xfff8u) != 0;
    at += number == 44 ? 8 : number == 51 ? (length + 2) * 4 : (length + 1) * 8;
    number = load_u8(extension);
    if (later_fragment) break;
  }
  return number;
}
[[nodiscard]] constexpr bool l4proto_of(const subject& s, std::uint64_t& to) noexcept {
  const layers& found = s.headers.layers();
  if (found.has(protocol::tcp)) return to = 6, true;
  if (found.has(protocol::udp)) return to = 17, true;
  if (const std::byte* p = s.headers.at<header::ipv4, 20>()) return to = load_u8(p + 9), true;
  if (const std::byte* p = s.headers.at<header::ipv6, 40>())
    return to = behind_ipv6_extensions(p, static_cast<std::size_t>(s.contents.end() - p)), true;
  return false;
}
[[nodiscard]] constexpr std::uint64_t protocol_of(const subject& s) noexcept {
  const layers& found = s.headers.layers();
  if (const std::byte* p = s.headers.at<header::mpls, 4>()) {
    // The type lies right before the stack, but in a cooked header of version 2, which begins with it.
    const bool first_in_sll2 = found.link_kind() == link_type::linux_sll2 && p == s.contents.data() + 20;
    return load_be16(first_in_sll2 ? p - 20 : p - 2);
  }
  if (found.has(protocol::ipv4)) return ethertype::ipv4;
  if (found.has(protocol::ipv6)) return ethertype::ipv6;
  if (found.has(protocol::arp)) return ethertype::arp;
  // What else the type field says that stands right before the network header, or the type of the frame.
  const std::byte* p = s.headers.at<header::ethernet, 14>();
  if (p == nullptr) return 0;
  const std::size_t at = found.link >= 14 ? found.link - std::size_t{2} : std::size_t{12};
  if (at + 2 > static_cast<std::size_t>(s.contents.end() - p)) return 0;
  return load_be16(p + at);
}

}  // namespace detail

/// One of the values in namespace `meta` or `ct`.
template <meta_key Key, unsigned Bits, class Value>
struct meta_field : operand<meta_field<Key, Bits, Value>> {
  /// The type of its values.
  using value_type = Value;
  /// How many bits the value has, and which it is. @{
  static constexpr unsigned bits = Bits;
  static constexpr meta_key which = Key;
  /// @}

  /// Loads the value; false when the packet has none.
  [[nodiscard]] RUNNEL_INLINE constexpr bool load(const subject& s, std::uint64_t& to) const noexcept {
    if constexpr (Key == meta_key::length) to = s.length;
    else if constexpr (Key == meta_key::iif) to = s.iif;
    // A later fragment that waits for `track` has its ports where `route` will put the interface.
    else if constexpr (Key == meta_key::oif) to = runnel::detail::later_fragment::is_word(s.connection) ? 0 : s.oif;
    else if constexpr (Key == meta_key::mark) to = s.mark;
    else if constexpr (Key == meta_key::priority) to = s.priority;
    else if constexpr (Key == meta_key::time) to = to_key(s.timestamp);
    else if constexpr (Key == meta_key::hash) to = s.flow_hash;
    else if constexpr (Key == meta_key::queue) to = s.queue;
    else if constexpr (Key == meta_key::protocol) to = detail::protocol_of(s);
    else if constexpr (Key == meta_key::l4proto) return detail::l4proto_of(s, to);
    // None, and the words of later_fragment, which are above all states: nobody has tracked it.
    else if constexpr (Key == meta_key::ct_state)
      return (to = s.connection & 7u) != 0 && to <= static_cast<std::uint64_t>(untracked);
    else if constexpr (Key == meta_key::ct_direction) return to = s.connection >> 3 & 1u, s.connection >> 4 != 0;
    else if constexpr (Key == meta_key::ct_mark || Key == meta_key::ct_status || Key == meta_key::ct_zone) {
      const connection_facts* const known = s.facts();
      if (known == nullptr) return false;
      if constexpr (Key == meta_key::ct_mark) to = known->mark;
      else if constexpr (Key == meta_key::ct_status) to = runnel::detail::public_status_of(known->status);
      else to = known->zone;
    } else if constexpr (Key == meta_key::nfproto)
      to = s.headers.layers().has(protocol::ipv4)   ? 2
           : s.headers.layers().has(protocol::ipv6) ? 10
           : s.headers.layers().has(protocol::arp)  ? 3
                                                    : 0;
    return true;
  }
};

}  // namespace match

/// Every packet has all of these but `l4proto`, which only IP has. In an early verdict nobody has set `mark`,
/// `priority` and `hash` yet: they are 0. What is known of its connection is in namespace `ct`.
namespace meta {

/// Bytes of the packet, link header included.
inline constexpr match::meta_field<match::meta_key::length, 32, std::uint32_t> length{};
/// The interface of its device that it came in by.
inline constexpr match::meta_field<match::meta_key::iif, 16, std::uint16_t> iif{};
/// The interface that it goes out by, behind `route()`: see `oif_of`. 0 before, and where it goes nowhere.
inline constexpr match::meta_field<match::meta_key::oif, 16, std::uint16_t> oif{};
/// As `packet::mark()`.
inline constexpr match::meta_field<match::meta_key::mark, 32, std::uint32_t> mark{};
/// As `packet::priority()`.
inline constexpr match::meta_field<match::meta_key::priority, 8, std::uint8_t> priority{};
/// The EtherType of the network header, behind VLAN tags; of the label stack, where there is one; 0 when unknown. Of
/// a frame with LLC, but not SNAP, it is the length, below 0x600; there nft has numbers of the kernel's own.
inline constexpr match::meta_field<match::meta_key::protocol, 16, std::uint16_t> protocol{};
/// The family: `nfproto::ipv4`, `nfproto::ipv6`, `nfproto::arp`, or `nfproto::unspec`.
inline constexpr match::meta_field<match::meta_key::nfproto, 8, std::uint8_t> nfproto{};
/// The IP protocol number of the payload, behind IPv6 extension headers; also in later fragments.
inline constexpr match::meta_field<match::meta_key::l4proto, 8, std::uint8_t> l4proto{};
/// When it was received, by the clock of its device. nft counts in seconds, and its clock from 1970: an instant between
/// two seconds prints with a fraction, which nft does not take.
inline constexpr match::meta_field<match::meta_key::time, 64, instant> time{};
/// The flow hash, if the device or an earlier stage computed one. nft knows no such key.
inline constexpr match::meta_field<match::meta_key::hash, 32, std::uint32_t> hash{};
/// The receive queue that it came in by, as `packet::queue()`. nft knows no such key.
inline constexpr match::meta_field<match::meta_key::queue, 8, std::uint8_t> queue{};

}  // namespace meta

/// What connection tracking knows of a packet, behind `track()`; no packet has any of these where nobody tracked it,
/// and none but `state` when it belongs to no connection: before `track()` `ct::state != established` does not hold
/// either, for fragments as for others; in the kernel the state is `invalid` there. The names are nft's.
namespace ct {

/// What the packet is to its connection: `ct::state == established`.
inline constexpr match::meta_field<match::meta_key::ct_state, 3, connection_state> state{};
/// Which way it goes.
inline constexpr match::meta_field<match::meta_key::ct_direction, 1, connection_direction> direction{};
/// The mark of the connection.
inline constexpr match::meta_field<match::meta_key::ct_mark, 32, std::uint32_t> mark{};
/// Its status: `(ct::status & connection_status::assured) != 0`.
inline constexpr match::meta_field<match::meta_key::ct_status, 16, std::uint16_t> status{};
/// The zone that it is tracked in.
inline constexpr match::meta_field<match::meta_key::ct_zone, 16, std::uint16_t> zone{};

}  // namespace ct

/// Values of `meta::nfproto`, as the kernel numbers them.
namespace nfproto {
/// A family. @{
inline constexpr std::uint8_t unspec = 0;
inline constexpr std::uint8_t ipv4 = 2;
inline constexpr std::uint8_t arp = 3;
inline constexpr std::uint8_t ipv6 = 10;
/// @}
}  // namespace nfproto

}  // namespace runnel

#endif
