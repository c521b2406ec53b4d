// SPDX-License-Identifier: MIT
// Where the headers of one dissected packet lie: finds a header's bytes by its name, and makes views of them.
#ifndef RUNNEL_WIRE_HEADER_MAP_HPP
#define RUNNEL_WIRE_HEADER_MAP_HPP

#include <cstddef>      // byte, size_t
#include <type_traits>  // is_const_v

#include <runnel/base/bytes.hpp>
#include <runnel/base/endian.hpp>
#include <runnel/config.hpp>
#include <runnel/packet/frame.hpp>
#include <runnel/packet/layers.hpp>
#include <runnel/packet/packet.hpp>
#include <runnel/wire/field.hpp>

namespace runnel {

/// A view: a type over a header's bytes, as every file of `wire/` has one.
template <class V>
concept header_view = requires {
  V::in_header;
  V::min_size;
  typename V::mutable_view;
};

/// The bytes of one packet (its first fragment) together with what `dissect` found in them. A view: valid as long as
/// the packet is not changed in place or length. `Byte` is `const std::byte` or `std::byte`.
template <class Byte>
class basic_header_map {
 public:
  /// `just_found`: `dissect` said just that of just these bytes, and nothing was moved since, which is the caller's
  /// promise. Saves the bounds checks that it has made already.
  RUNNEL_INLINE constexpr basic_header_map(byte_window<Byte> contents, std::size_t head_offset,
                                           const runnel::layers& found, bool just_found = false) noexcept
      : begin_(contents.data()),
        head_(contents.data() - head_offset),
        end_(contents.data() + contents.size()),
        found_(known(found, head_offset)),
        just_found_(just_found) {}
  /// Of a packet, where `parse` found them.
  RUNNEL_INLINE explicit basic_header_map(const packet& p) noexcept
    requires std::is_const_v<Byte>
      : basic_header_map(p.contents(), p.headroom(), p.layers()) {}
  /// Of a packet, where `parse` found them.
  RUNNEL_INLINE explicit basic_header_map(packet& p) noexcept
    requires(!std::is_const_v<Byte>)
      : basic_header_map(p.writable(), p.headroom(), p.layers()) {}
  /// Of a frame, in which `found` was found.
  RUNNEL_INLINE basic_header_map(const frame& f, const runnel::layers& found) noexcept
      : basic_header_map({f.data, f.length}, f.headroom, found) {}

  /// What was found.
  [[nodiscard]] constexpr const runnel::layers& layers() const noexcept { return found_; }
  /// How many bytes there are from `p` on, which lies in them.
  [[nodiscard]] constexpr std::size_t size_from(Byte* p) const noexcept { return static_cast<std::size_t>(end_ - p); }

  /// Where header `H` begins, or null when the packet has none, or fewer than `Need` bytes of it.
  template <header H, std::size_t Need>
  [[nodiscard]] RUNNEL_INLINE constexpr Byte* at() const noexcept {
    if (!present<H>()) return nullptr;
    if (is_checked<H, Need>()) {
      Byte* p = begin_;
      if constexpr (H != header::ethernet) p = head_ + offset_of<H>();
      if (p == nullptr) __builtin_unreachable();
      return p;
    }
    const std::size_t offset = offset_of<H>();
    const auto held = static_cast<std::size_t>(end_ - head_);
    if (offset + Need > held) return nullptr;  // an offset has at most 17 bits
    Byte* p = head_ + offset;
    if (p == nullptr) __builtin_unreachable();
    if constexpr (H == header::cvlan) {
      const std::uint16_t inner = load_be16(p - 2);
      if (!is_tag(inner)) return nullptr;
    }
    if constexpr (H == header::vxlan) {
      if (load_be16(p - 6) != 4789) return nullptr;
    }
    if constexpr (H == header::snap) {
      if (load_be24(p) != 0xaaaa03) return nullptr;
    }
    if constexpr (H == header::ipv6_fragment) p = find_fragment_header(p, held - offset);
    return p;
  }

  /// A view of type `V`, if the packet has that header: test `has`, then read.
  template <header_view V>
  [[nodiscard]] RUNNEL_INLINE constexpr bool has() const noexcept {
    return at<V::in_header, V::min_size>() != nullptr;
  }
  /// The view itself. `has<V>()` is the caller's promise. It ends where the IP datagram around it ends.
  template <header_view V>
  [[nodiscard]] RUNNEL_INLINE constexpr V get() const noexcept {
    Byte* p = at<V::in_header, V::min_size>();
    RUNNEL_ASSERT(p != nullptr);
    auto size = static_cast<std::size_t>(end_ - p);
    if constexpr (in_datagram(V::in_header)) {
      const std::size_t datagram = datagram_size();
      const auto before = static_cast<std::size_t>(p - (head_ + found_.network));
      if (datagram < before + V::min_size) size = V::min_size;
      else if (datagram - before < size) size = datagram - before;
    }
    if constexpr (V::in_header == header::llc) {
      // Padding lies behind what the length says; a cooked header without tags has none.
      const std::size_t said = behind_tags(std::size_t{found_.network} - found_.link).type;
      if (is_tagged_or_ethernet() && said < size) size = said < V::min_size ? V::min_size : said;
    }
    return V::unchecked({p, size});
  }

 private:
  // Member by member, so that only those are loaded which somebody looks at.
  [[nodiscard]] RUNNEL_INLINE static constexpr runnel::layers known(const runnel::layers& found,
                                                                    std::size_t head_offset) noexcept {
    if (found.has(protocol::parsed)) [[likely]]
      return {found.protocols, found.network, found.transport, found.link, found.fault};
    // Nothing is known yet but the link header, which is where the bytes begin.
    return {.protocols = static_cast<std::uint16_t>(found.protocols & 7u),
            .network = static_cast<std::uint16_t>(head_offset),
            .transport = found.transport,
            .fault = found.fault};
  }
  // Whether `dissect` has made sure of the first `Need` bytes of a header that it found.
  template <header H, std::size_t Need>
  [[nodiscard]] RUNNEL_INLINE constexpr bool is_checked() const noexcept {
    constexpr std::size_t size = H == header::ethernet                                          ? 14
                                 : H == header::arp                                             ? 28
                                 : H == header::ipv4 || H == header::tcp                        ? 20
                                 : H == header::ipv6                                            ? 40
                                 : H == header::udp || H == header::icmp || H == header::icmpv6 ? 8
                                 : H == header::th || H == header::vlan || H == header::gre     ? 4
                                                                                                : 0;
    // Only the link header is there without everything having been found right.
    return Need <= size && just_found_ && (H != header::ethernet || found_.has(protocol::parsed));
  }
  static constexpr bool in_datagram(header h) noexcept {
    return h != header::ethernet && h != header::vlan && h != header::cvlan && h != header::mpls && h != header::arp &&
           h != header::llc;
  }
  template <header H>
  [[nodiscard]] RUNNEL_INLINE constexpr bool present() const noexcept {
    if constexpr (H == header::ethernet) return found_.link_kind() == link_type::ethernet;
    else if constexpr (H == header::vlan)
      return found_.link_kind() == link_type::ethernet && found_.has(protocol::vlan);
    else if constexpr (H == header::cvlan) return present<header::vlan>() && found_.link >= 22;
    else if constexpr (H == header::mpls) return found_.has(protocol::mpls);
    else if constexpr (H == header::arp) return found_.has(protocol::arp);
    else if constexpr (H == header::ipv4) return found_.has(protocol::ipv4);
    else if constexpr (H == header::ipv6) return found_.has(protocol::ipv6);
    else if constexpr (H == header::ipv6_fragment) return found_.has(protocol::ipv6) && found_.has(protocol::fragment);
    else if constexpr (H == header::tcp) return found_.has(protocol::tcp);
    else if constexpr (H == header::udp) return found_.has(protocol::udp);
    else if constexpr (H == header::th) return found_.has(protocol::tcp) || found_.has(protocol::udp);
    else if constexpr (H == header::icmp) return found_.has(protocol::icmp);
    else if constexpr (H == header::icmpv6) return found_.has(protocol::icmpv6);
    else if constexpr (H == header::gre) return found_.has(protocol::gre);
    else if constexpr (H == header::llc || H == header::snap)
      return found_.link_kind() == link_type::ethernet || found_.link_kind() == link_type::linux_sll ||
             found_.link_kind() == link_type::linux_sll2;
    else return found_.has(protocol::udp);
  }
  template <header H>
  [[nodiscard]] RUNNEL_INLINE constexpr std::size_t offset_of() const noexcept {
    const std::size_t link = std::size_t{found_.network} - found_.link;
    if constexpr (H == header::ethernet) return link;
    else if constexpr (H == header::vlan) return link + 14;
    else if constexpr (H == header::cvlan) return link + 18;
    else if constexpr (H == header::mpls) return mpls_offset(link);
    else if constexpr (H == header::arp || H == header::ipv4 || H == header::ipv6 || H == header::ipv6_fragment)
      return found_.network;
    else if constexpr (H == header::llc || H == header::snap) return llc_offset(link);
    else if constexpr (H == header::vxlan) return std::size_t{found_.transport} + 8;
    else return found_.transport;
  }
  // What follows the link header and all VLAN tags, by the way that dissect went: its type, or an 802.3 length. Or
  // everything, and what is no place at all.
  struct behind_link {
    std::size_t at;
    std::uint16_t type;
  };
  [[nodiscard]] constexpr behind_link behind_tags(std::size_t link) const noexcept {
    const link_type kind = found_.link_kind();
    const std::size_t size = kind == link_type::ethernet ? 14u : kind == link_type::linux_sll ? 16u : 20u;
    const std::size_t type_at = kind == link_type::linux_sll2 ? link : link + size - 2;
    const auto held = static_cast<std::size_t>(end_ - head_);
    std::size_t at = link + size;
    if (at > held || at > found_.network) return {held, 0xffff};
    std::uint16_t type = load_be16(head_ + type_at);
    for (; is_tag(type) && at + 4 <= held && at + 4 <= found_.network; at += 4) type = load_be16(head_ + at + 2);
    return {at, type};
  }
  [[nodiscard]] constexpr std::size_t mpls_offset(std::size_t link) const noexcept {
    const behind_link b = behind_tags(link);
    return b.type < 0x0600 ? b.at + 8 : b.at;
  }
  // A cooked header says 4 where an LLC header follows, and nothing when it is from netlink (ARPHRD 824).
  [[nodiscard]] constexpr std::size_t llc_offset(std::size_t link) const noexcept {
    const behind_link b = behind_tags(link);
    const auto held = static_cast<std::size_t>(end_ - head_);
    if (b.type >= 0x0600) return held;
    if (is_tagged_or_ethernet()) return b.at;
    const std::size_t hardware_at = link + (found_.link_kind() == link_type::linux_sll ? 2u : 8u);
    return b.type == 4 && load_be16(head_ + hardware_at) != 824 ? b.at : held;
  }
  [[nodiscard]] constexpr bool is_tagged_or_ethernet() const noexcept {
    return found_.link_kind() == link_type::ethernet || found_.has(protocol::vlan);
  }
  static constexpr bool is_tag(std::uint16_t type) noexcept {
    return type == 0x8100 || type == 0x88a8 || type == 0x9100;
  }
  // Walks the extension headers from the fixed header at `p`, of which `size` bytes are there.
  [[nodiscard]] static constexpr Byte* find_fragment_header(Byte* p, std::size_t size) noexcept {
    if (size < 40) return nullptr;
    std::uint8_t next = load_u8(p + 6);
    std::size_t at = 40;
    while (at + 8 <= size) {
      if (next == 44) return p + at;
      if (next != 0 && next != 43 && next != 60 && next != 51) return nullptr;
      // The authentication header counts in other units (RFC 4302 §2.2).
      const std::size_t said = load_u8(p + at + 1);
      const std::size_t size_of_this = next == 51 ? (said + 2) * 4 : (said + 1) * 8;
      next = load_u8(p + at);
      at += size_of_this;
    }
    return nullptr;
  }
  // Bytes from the network header to the end of the datagram, as its IP header says.
  [[nodiscard]] RUNNEL_INLINE constexpr std::size_t datagram_size() const noexcept {
    if (Byte* p = at<header::ipv4, 20>()) return load_be16(p + 2);
    if (Byte* p = at<header::ipv6, 40>()) return std::size_t{load_be16(p + 4)} + 40;
    return static_cast<std::size_t>(end_ - head_);
  }

  Byte* begin_;  // of what the layers were found in
  Byte* head_;
  Byte* end_;
  runnel::layers found_;
  bool just_found_;
};

/// A map that gives views to read.
using header_map = basic_header_map<const std::byte>;
/// A map that gives views to write to (`mut<ipv4>`).
using mutable_header_map = basic_header_map<std::byte>;

}  // namespace runnel

#endif
