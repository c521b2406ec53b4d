// SPDX-License-Identifier: MIT
// Fragmentation: packets that are too long for the next network in pieces that are not. RFC 791 §3.2, RFC 1812
// §4.2.2.7, RFC 6864, RFC 8200 §4.5, RFC 7112, RFC 8021.
//
// Each piece is a packet of its own, linear, in a slot of its own: all have headers of their own, and most
// devices would have to gather them anyway.
#ifndef RUNNEL_IP_FRAGMENT_HPP
#define RUNNEL_IP_FRAGMENT_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t

#include <runnel/base/bytes.hpp>
#include <runnel/base/endian.hpp>
#include <runnel/base/result.hpp>
#include <runnel/ip/fragment_place.hpp>
#include <runnel/packet/cursor.hpp>
#include <runnel/packet/packet.hpp>
#include <runnel/wire/complete_checksum.hpp>
#include <runnel/wire/header_map.hpp>
#include <runnel/wire/ipv4.hpp>
#include <runnel/wire/ipv6.hpp>
#include <runnel/wire/ipv6_extension.hpp>

namespace runnel {

namespace detail {

// A packet that is to be cut, in bytes: what lies before its IP header, the IP header of the first piece and of later
// ones, what of the packet is before the payload, and the payload.
struct cutting {
  std::size_t link, first_header, later_header, before, payload;

  [[nodiscard]] std::size_t size_of_piece(std::size_t at, std::size_t mtu) const noexcept {
    const std::size_t room = mtu - (at == 0 ? first_header : later_header), left = payload - at;
    return left <= room ? left : room / 8 * 8;
  }
};

// The empty handles that pieces are put into, and the pool of this thread for those of what another one handed over.
struct pieces_to_fill {
  packet* pieces;
  std::size_t room;
  pool* memory;
};

// The pieces in order, or nothing and why. `write(ip, at, size)` writes the IP header of the piece from `at` on.
template <class Write>
[[nodiscard]] result<std::size_t, drop_reason> cut(packet& p, const cutting& c, std::size_t mtu,
                                                   const pieces_to_fill& fill, Write write) noexcept {
  const auto [pieces, room, memory] = fill;
  // Only its own thread takes slots from a pool.
  if (&p.home() == memory) p.come_home();
  pool* const home = p.is_away() ? memory : &p.home();
  if (home == nullptr) return drop_reason::other_thread;
  const auto give_back = [&fill](std::size_t n, drop_reason why) {
    pool::release(fill.pieces, n);
    return why;
  };
  cursor from(p);
  from.skip(c.before);
  std::size_t n = 0;
  for (std::size_t at = 0; at < c.payload; ++n) {
    if (n == room) return give_back(n, drop_reason::fragments_full);
    const std::size_t header = at == 0 ? c.first_header : c.later_header, size = c.size_of_piece(at, mtu);
    pieces[n] = home->allocate();
    if (!pieces[n]) return give_back(n, drop_reason::no_packet);
    packet& piece = pieces[n];
    std::byte* const to = piece.put(c.link + header + size);
    if (to == nullptr) return give_back(n + 1, drop_reason::too_big);
    copy_bytes(to, p.data(), c.link);
    write(to + c.link, at, size);
    from.copy_to({to + c.link + header, size});
    piece.timestamp(p.timestamp());
    piece.flow_hash(p.flow_hash());
    piece.mark(p.mark());
    piece.priority(p.priority());
    piece.iif(p.iif());
    piece.connection(p.connection());
    piece.scratch(p.scratch());
    piece.traced(p.traced());
    find_layers_again(piece, p.layers(), c.link, piece.length());
    at += size;
  }
  if (!from.ok()) return give_back(n, drop_reason::ip_total_length);
  p.reset();
  return n;
}

// The one piece of a packet that is short enough.
[[nodiscard]] inline result<std::size_t, drop_reason> uncut(packet& p, packet* pieces, std::size_t room) noexcept {
  if (room == 0) return drop_reason::fragments_full;
  pieces[0] = static_cast<packet&&>(p);
  return std::size_t{1};
}

// The header of a piece of an IPv4 datagram. Later pieces have only those options that say so (RFC 791 §3.1).
inline std::size_t copy_options(std::byte* to, const ipv4& whole, bool first) noexcept {
  std::size_t n = 0;
  if (first) {
    n = whole.options().size();
    copy_bytes(to, whole.options().data(), n);
    return n;
  }
  for (ipv4_options o(whole.options()); o; o.next()) {
    if ((o.kind() & 0x80u) == 0) continue;
    copy_bytes(to + n, o.whole().data(), o.whole().size());
    n += o.whole().size();
  }
  for (; n % 4 != 0; ++n) to[n] = std::byte{0};
  return n;
}

}  // namespace detail

/// Cuts an IPv4 packet that is longer than `mtu` (bytes of the IP datagram) into the fewest pieces that are not, in
/// order, each but the last as long as it may be. `pieces` are empty handles; says how many of them were filled. A
/// packet that is short enough is the only piece, as it is. A fragment is cut into further ones. A checksum that was
/// left to the device is completed. Pieces are in slots of the packet's pool, or, of a packet that another thread has
/// handed over, of `memory`, a pool of this thread.
///
/// On failure there are no pieces, `p` is still the caller's, and the reason is: `too_big`, it must not be cut - DF is
/// set, or it is IPv6, which no router cuts: answer with an ICMP "fragmentation needed" or "packet too big" -, the MTU
/// leaves no room for eight bytes of payload, or a slot is shorter than the MTU; `fragments_full`, there would be more
/// than `room` pieces; `no_packet`, the pool has not enough slots; `not_ip`; `other_thread`, it was handed over, and
/// there is no `memory`. Copies each byte once.
[[nodiscard]] inline result<std::size_t, drop_reason> fragment(packet& p, std::size_t mtu, packet* pieces,
                                                               std::size_t room, pool* memory = nullptr) noexcept {
  const header_map map{static_cast<const packet&>(p)};
  if (map.has<ipv6>())
    return map.get<ipv6>().payload_length() + ipv6::min_size <= mtu
               ? detail::uncut(p, pieces, room)
               : result<std::size_t, drop_reason>{drop_reason::too_big};
  if (!map.has<ipv4>() || p.layers().network < p.headroom()) return drop_reason::not_ip;
  const ipv4 whole = map.get<ipv4>();
  const std::size_t header = whole.header_size(), total = whole.total_length();
  if (total <= mtu) return detail::uncut(p, pieces, room);
  if (whole.dont_fragment() || mtu < header + 8 || p.segment_size() != 0) return drop_reason::too_big;
  if (!complete_checksum(p)) return drop_reason::no_packet;

  std::byte options[2][40];
  const ipv4 own = header_map{static_cast<const packet&>(p)}.get<ipv4>();  // perhaps in bytes of its own by now
  const std::size_t sizes[] = {detail::copy_options(options[0], own, true),
                               detail::copy_options(options[1], own, false)};
  const std::size_t link = detail::network_offset(p);
  const detail::cutting c{link, 20 + sizes[0], 20 + sizes[1], link + header, total - header};
  const std::size_t offset = own.fragment_offset();
  const bool more = own.more_fragments();
  const std::byte* const from = p.data() + link;
  return detail::cut(p, c, mtu, {pieces, room, memory}, [&](std::byte* to, std::size_t at, std::size_t size) {
    const bool first = at == 0;
    const std::size_t header_size = 20 + sizes[first ? 0 : 1];
    copy_bytes(to, from, 20);
    copy_bytes(to + 20, options[first ? 0 : 1], sizes[first ? 0 : 1]);
    store_u8(to, static_cast<std::uint8_t>(0x40u | header_size / 4));
    store_be16(to + 2, static_cast<std::uint16_t>(header_size + size));
    store_be16(to + 6, static_cast<std::uint16_t>((load_be16(from + 6) & 0xc000u) | (offset + at) / 8 |
                                                  (more || at + size != c.payload ? 0x2000u : 0u)));
    mut<ipv4>::unchecked({to, header_size}).update_checksum();
  });
}

/// The same for an IPv6 packet at its source, which alone may do so: with a fragment header of this identification,
/// which must not come again for these addresses within a minute, and should not be guessable (RFC 7739). Hop-by-hop
/// and routing headers, and what is before them, are in every piece. Fails as `fragment` does; a packet that is a
/// fragment already is `ip_fragment`, one whose headers do not fit the first piece `too_big` (RFC 7112).
[[nodiscard]] inline result<std::size_t, drop_reason> fragment_at_source(packet& p, std::size_t mtu, std::uint32_t id,
                                                                         packet* pieces, std::size_t room,
                                                                         pool* memory = nullptr) noexcept {
  const header_map map{static_cast<const packet&>(p)};
  if (!map.has<ipv6>() || p.layers().network < p.headroom()) return drop_reason::not_ip;
  const std::size_t total = map.get<ipv6>().payload_length() + ipv6::min_size;
  if (total <= mtu) return detail::uncut(p, pieces, room);
  if (p.layers().has(protocol::fragment)) return drop_reason::ip_fragment;
  if (p.segment_size() != 0) return drop_reason::too_big;
  if (!complete_checksum(p)) return drop_reason::no_packet;

  const ipv6 own = header_map{static_cast<const packet&>(p)}.get<ipv6>();
  std::size_t before = ipv6::min_size, named_at = 6;  // what is in every piece, and where it says what comes next
  ipv6_extensions e(own);
  for (; e; e.next())
    if (e.kind() == ipv6_extension::hop_by_hop || e.kind() == ipv6_extension::routing) {
      named_at = e.offset();
      before = e.offset() + e.data().size();
    }
  const std::size_t link = detail::network_offset(p), header = before + ipv6_fragment::min_size;
  const detail::cutting c{link, header, header, link + before, total - before};
  if (e.malformed()) return drop_reason::ipv6_extension;
  // The longest transport header has 60 bytes.
  if (mtu < header + 8 || e.offset() + 60 - before > (mtu - header) / 8 * 8) return drop_reason::too_big;
  const std::byte* const from = p.data() + link;
  const std::uint8_t next = load_u8(from + named_at);
  return detail::cut(p, c, mtu, {pieces, room, memory}, [&](std::byte* to, std::size_t at, std::size_t size) {
    copy_bytes(to, from, before);
    store_be16(to + 4, static_cast<std::uint16_t>(header - ipv6::min_size + size));
    store_u8(to + named_at, ipv6_extension::fragment);
    std::byte* const fragment_header = to + before;
    store_u8(fragment_header, next);
    store_u8(fragment_header + 1, 0);
    store_be16(fragment_header + 2, static_cast<std::uint16_t>(at | (at + size != c.payload ? 1u : 0u)));
    store_be32(fragment_header + 4, id);
  });
}

}  // namespace runnel

#endif
