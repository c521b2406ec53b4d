// SPDX-License-Identifier: MIT
// What the headers of one fragment say: to which datagram it belongs, and where in it. Nothing here is for users.
#ifndef RUNNEL_IP_FRAGMENT_PLACE_HPP
#define RUNNEL_IP_FRAGMENT_PLACE_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t, uint64_t

#include <runnel/base/bytes.hpp>
#include <runnel/base/endian.hpp>
#include <runnel/base/hash.hpp>
#include <runnel/packet/drop_reason.hpp>
#include <runnel/packet/packet.hpp>
#include <runnel/wire/checksum.hpp>
#include <runnel/wire/dissect.hpp>
#include <runnel/wire/header_map.hpp>
#include <runnel/wire/ipv4.hpp>
#include <runnel/wire/ipv6.hpp>
#include <runnel/wire/ipv6_extension.hpp>

namespace runnel::detail {

// Source, destination and identification; for IPv4 also the protocol (RFC 791 §3.2, RFC 8200 §4.5).
struct fragment_key {
  std::uint64_t addresses[4] = {};
  std::uint64_t id = 0;  // the identification, the protocol from bit 32 on, the interface from bit 40, the family in 63

  [[nodiscard]] bool is_ipv6() const noexcept { return id >> 63 != 0; }
  [[nodiscard]] std::uint64_t hash(std::uint64_t seed) const noexcept {
    if (!is_ipv6()) return hash_words(addresses[0], id, seed);
    // As hash_key, but of words, which need not lie in memory.
    const std::uint64_t begun = hash_begin(sizeof *this, seed);
    const std::uint64_t state = hash_step(hash_step(begun, addresses[0], addresses[1]), addresses[2], addresses[3]);
    return multiply_fold(hash_step(state, id, ~id) ^ begun, hash_c);
  }
  friend bool operator==(const fragment_key&, const fragment_key&) noexcept = default;
};

struct fragment_place {
  fragment_key key;
  std::uint32_t header = 0;  // bytes of the packet before the fragment's payload
  std::uint32_t begin = 0;   // of the payload in that of the datagram
  std::uint32_t end = 0;
  bool more = false;
  std::uint8_t ecn = 0;
  std::uint8_t transport = 0;  // what the payload begins with, as the header before it says
};

// Where the fragment header of an IPv6 packet lies, counted from the IPv6 header, and the octet that announces it; 0
// when there is none.
struct fragment_header_place {
  std::size_t at = 0;
  std::size_t named_at = 0;
};
[[nodiscard]] inline fragment_header_place find_fragment_header(const ipv6& ip) noexcept {
  for (ipv6_extensions e(ip); e; e.next())
    if (e.kind() == ipv6_extension::fragment) return {e.offset(), e.named_at()};
  return {};
}

// Where the network header begins, in bytes from the data.
[[nodiscard]] inline std::size_t network_offset(const packet& p) noexcept {
  return std::size_t{p.layers().network} - p.headroom();
}

// What the IP header says of a fragment, `size` bytes of payload, or what is wrong with that. @{
[[nodiscard]] RUNNEL_INLINE drop_reason read_ipv4_fragment(const packet& p, std::size_t network, fragment_place& f,
                                                           std::size_t& size) noexcept {
  const std::byte* const h = p.data() + network;
  if (network + ipv4::min_size > p.length()) return drop_reason::ip_too_short;
  const std::size_t header = (load_u8(h) & 15u) * std::size_t{4}, total = load_be16(h + 2);
  if (header < ipv4::min_size || network + header > p.length() || total < header) return drop_reason::ip_total_length;
  // What was hurt on the wire would name a datagram that is somebody else's.
  std::uint64_t sum = std::uint64_t{load<std::uint32_t>(h)} + load<std::uint32_t>(h + 4) + load<std::uint32_t>(h + 8) +
                      load<std::uint32_t>(h + 12) + load<std::uint32_t>(h + 16);
  for (std::size_t at = ipv4::min_size; at < header; at += 4) sum += load<std::uint32_t>(h + at);
  if (fold_checksum(sum) != 0xffff) return drop_reason::ip_checksum;
  const unsigned place = load_be16(h + 6);
  f.transport = load_u8(h + 9);
  f.key.addresses[0] = load_be64(h + 12);
  f.key.id |= std::uint64_t{f.transport} << 32 | load_be16(h + 4);
  f.header = static_cast<std::uint32_t>(network + header);
  f.begin = (place & 0x1fffu) * 8;
  f.more = (place & 0x2000u) != 0;
  f.ecn = static_cast<std::uint8_t>(load_u8(h + 1) & 3u);
  size = total - header;
  return drop_reason::none;
}
// Where the fragment header lies behind other extension headers; 0 when it is not there.
[[nodiscard, gnu::noinline]] inline std::size_t find_fragment_header(const packet& p) noexcept {
  const header_map map{p};
  return map.has<ipv6_fragment>() ? find_fragment_header(map.get<ipv6>()).at : 0;
}
[[nodiscard]] RUNNEL_INLINE drop_reason read_ipv6_fragment(const packet& p, std::size_t network, fragment_place& f,
                                                           std::size_t& size) noexcept {
  const std::byte* const h = p.data() + network;
  if (network + ipv6::min_size > p.length()) return drop_reason::ip_too_short;
  std::size_t at = ipv6::min_size;
  if (load_u8(h + 6) != ipv6_extension::fragment) [[unlikely]]
    at = find_fragment_header(p);
  const std::size_t header = at + ipv6_fragment::min_size, payload = load_be16(h + 4) + std::size_t{ipv6::min_size};
  if (at == 0 || network + header > p.length()) return drop_reason::ipv6_extension;
  if (payload < header) return drop_reason::ip_total_length;
  const unsigned place = load_be16(h + at + 2);
  f.transport = load_u8(h + at);
  for (std::size_t i = 0; i < 4; ++i) f.key.addresses[i] = load_be64(h + 8 + 8 * i);
  f.key.id |= std::uint64_t{1} << 63 | load_be32(h + at + 4);
  f.header = static_cast<std::uint32_t>(network + header);
  f.begin = place & 0xfff8u;
  f.more = (place & 1u) != 0;
  f.ecn = static_cast<std::uint8_t>(load_u8(h + 1) >> 4 & 3u);
  size = payload - header;
  return drop_reason::none;
}
// @}

// What is wrong with a fragment by itself, or `none`. `dissect` has looked already: no fragment ends behind byte 65535,
// and a first one has all headers (RFC 1858, RFC 7112). But the packet may have been cut since.
[[nodiscard]] RUNNEL_INLINE drop_reason read_fragment(const packet& p, bool by_interface, fragment_place& f) noexcept {
  const layers found = p.layers();
  if (found.network < p.headroom()) return drop_reason::ip_too_short;
  std::size_t size = 0;
  f.key.id = by_interface ? std::uint64_t{p.iif()} << 40 : 0;
  drop_reason why = drop_reason::ip_too_short;
  if (found.has(protocol::ipv4)) why = read_ipv4_fragment(p, network_offset(p), f, size);
  else if (found.has(protocol::ipv6)) why = read_ipv6_fragment(p, network_offset(p), f, size);
  if (why != drop_reason::none) return why;
  f.end = static_cast<std::uint32_t>(f.begin + size);
  if (f.header + size > p.total_length())
    return p.missing() != 0 ? drop_reason::truncated_capture : drop_reason::ip_total_length;
  if (f.begin == 0 && !f.more) return drop_reason::none;  // an atomic fragment, which may be empty
  // Not the last one: a multiple of 8 (RFC 8200 §4.5). An empty one has no place. TCP never goes on at byte 8, where
  // another's flags would be written over (RFC 1858 §3.2.2, RFC 3128).
  if (size == 0 || f.end > 65535 || (f.more && size % 8 != 0) || (f.transport == 6 && f.begin == 8))
    return drop_reason::ip_fragment;
  return drop_reason::none;
}

// Whether ECN bits of the fragments go together, one bit for each value that was seen (RFC 3168 §5.3, and Linux'
// ip_frag_ecn_table): those of a transport that knows no ECN only with their like.
[[nodiscard]] constexpr bool ecn_fits(unsigned seen) noexcept { return (seen & 1u) == 0 || seen == 1; }
[[nodiscard]] constexpr bool ecn_congested(unsigned seen) noexcept { return (seen & 8u) != 0; }

// Finds the layers of a packet of `length` bytes whose IP header has changed and lies `network` bytes behind the data;
// what is around it has stayed as it was.
inline void find_layers_again(packet& p, const layers& before, std::size_t network, std::size_t length) noexcept {
  layers found =
      dissect(p.contents().from(network), link_type::raw_ip,
              {.head_offset = p.headroom() + network, .chained = length - p.length(), .missing = p.missing()});
  constexpr unsigned outside = 7u | bit(protocol::vlan) | bit(protocol::mpls);
  found.protocols = static_cast<std::uint16_t>((found.protocols & ~7u) | (before.protocols & outside));
  found.link = before.link;
  p.layers(found);
}

// Makes a whole datagram of the packet that begins with fragment 0 and goes on with the rest, `payload` bytes in all,
// or is an atomic fragment, of `length` bytes: its headers say so then, and its layers are found anew. The first buffer
// is the packet's own. What is wrong with the whole, or `none`.
[[nodiscard]] inline drop_reason make_whole(packet& p, std::size_t payload, bool congested,
                                            std::size_t length) noexcept {
  const layers before = p.layers();
  const std::size_t network = network_offset(p);
  constexpr std::size_t moved = ipv6_fragment::min_size;
  if (before.has(protocol::ipv4)) {
    std::byte* const header = p.writable().data() + network;
    const mut<ipv4> ip = mut<ipv4>::unchecked({header, p.length() - network});
    const std::size_t total = ip.header_size() + payload;
    if (total > 0xffff) return drop_reason::ip_fragment;
    // DF goes too, as in Linux: a datagram that came in pieces may go on in pieces.
    const std::uint32_t was = std::uint32_t{load_be16(header + 2)} << 16 | load_be16(header + 6);
    store_be16(header + 2, static_cast<std::uint16_t>(total));
    store_be16(header + 6, 0);
    ip.header_checksum(update_checksum32(ip.header_checksum(), was, static_cast<std::uint32_t>(total) << 16));
    if (congested) ip.ecn_bits(3);
  } else {
    std::byte* const header = p.writable().data() + network;
    const mut<ipv6> ip = mut<ipv6>::unchecked({header, p.length() - network});
    const fragment_header_place fragment = find_fragment_header(ip);
    const std::size_t behind = fragment.at - ipv6::min_size + payload;
    if (fragment.at == 0 || behind > 0xffff) return drop_reason::ip_fragment;
    ip.payload_length(static_cast<std::uint16_t>(behind));
    if (congested) ip.ecn_bits(3);
    store_u8(header + fragment.named_at, load_u8(header + fragment.at));
    // What lies before the fragment header moves over it: at least from the link header on, wherever the data begin.
    const std::size_t link = before.link <= before.network ? before.link : 0u;
    std::byte* const from = header - (network > link ? network : link);
    __builtin_memmove(from + moved, from, static_cast<std::size_t>(header - from) + fragment.at);
    if (!p.pull(moved)) return drop_reason::too_big;
    length -= moved;
  }
  p.flow_hash(0);  // a device has found it without the ports
  find_layers_again(p, before, network_offset(p) + (before.has(protocol::ipv4) ? 0 : moved), length);
  return p.layers().fault;
}

}  // namespace runnel::detail

#endif
