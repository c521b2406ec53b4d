// SPDX-License-Identifier: MIT
// Finds out which headers a packet carries and where they begin, with every bound checked, in one pass: from the
// link header to the transport header. Nobody behind it has to look at a length again.
//
//     Ethernet II, 802.3 with LLC/SNAP      IPv4 and its options       TCP, UDP, ICMP, ICMPv6, GRE:
//     cooked captures, loopback, raw IP  >  IPv6 and its extension  >  checked as far as their headers reach
//     up to 8 VLAN tags, 16 MPLS labels     headers (at most 8)        anything else: its place
//
// What it does not do: look into tunnels (<runnel/wire/tunnel.hpp> does), verify checksums, reassemble, understand IPv6
// jumbograms (RFC 2675).
#ifndef RUNNEL_WIRE_DISSECT_HPP
#define RUNNEL_WIRE_DISSECT_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t

#include <runnel/base/bytes.hpp>
#include <runnel/base/endian.hpp>
#include <runnel/config.hpp>
#include <runnel/packet/drop_reason.hpp>
#include <runnel/packet/layers.hpp>
#include <runnel/wire/ethernet.hpp>
#include <runnel/wire/mpls.hpp>  // max_mpls_labels

namespace runnel {

/// What `dissect` is told of a packet beside its first bytes.
struct dissect_options {
  std::size_t head_offset = 0;  ///< where the frame lies in its buffer; is added to every offset found
  std::size_t chained = 0;      ///< bytes of the packet that follow in further buffers: counted, never read
  std::size_t missing = 0;      ///< bytes of the packet that a capture did not keep: counted as well
};

/// How many VLAN tags and IPv6 extension headers are followed, as `max_mpls_labels` for labels. One more is a fault.
inline constexpr unsigned max_vlan_tags = 8;
/// How many IPv6 extension headers are passed over; behind more the packet is malformed.
inline constexpr unsigned max_ipv6_extensions = 8;

namespace detail {

[[nodiscard]] constexpr std::uint16_t bit(protocol p) noexcept { return static_cast<std::uint16_t>(p); }

// An answer as one number, from the lowest bits on: protocols, network, transport, link, fault. It becomes a `layers`
// only in the end: put together member by member and then copied whole, as everybody does with it, it would have to
// wait for its own stores.
using packed_layers = std::uint64_t;

[[nodiscard]] RUNNEL_INLINE constexpr packed_layers pack_layers(unsigned protocols, std::size_t network,
                                                                std::size_t transport, std::size_t link,
                                                                drop_reason fault) noexcept {
  return std::uint64_t{protocols} | std::uint64_t{network} << 16 | std::uint64_t{transport} << 32 |
         std::uint64_t{link} << 48 | static_cast<std::uint64_t>(fault) << 56;
}
[[nodiscard]] RUNNEL_INLINE constexpr packed_layers pack_layers(const layers& l) noexcept {
  if constexpr (little_endian_host) return __builtin_bit_cast(packed_layers, l);
  else return pack_layers(l.protocols, l.network, l.transport, l.link, l.fault);
}
[[nodiscard]] RUNNEL_INLINE constexpr layers unpack_layers(packed_layers packed) noexcept {
  if constexpr (little_endian_host) return __builtin_bit_cast(layers, packed);
  else
    return {.protocols = static_cast<std::uint16_t>(packed),
            .network = static_cast<std::uint16_t>(packed >> 16),
            .transport = static_cast<std::uint16_t>(packed >> 32),
            .link = static_cast<std::uint8_t>(packed >> 48),
            .fault = static_cast<drop_reason>(packed >> 56)};
}

// The careful way through any packet, step by step in the order of its bytes. `at_` is where it has come to, `end_`
// where what it is in ends by the lengths read so far (perhaps behind the bytes it has), `size_` how many bytes it has;
// at_ <= end_ and at_ <= size_. Each step has one caller and is inlined there, which keeps all of this in registers.
class dissection {
 public:
  constexpr dissection(const std::byte* p, std::size_t size, std::size_t head, std::size_t chained,
                       std::size_t missing) noexcept
      : p_(p), size_(size), end_(size + chained + missing), head_(head), missing_(missing) {}

  RUNNEL_INLINE constexpr packed_layers run(link_type link) noexcept {
    found_ = static_cast<unsigned>(link);
    if (steps(link)) add(protocol::parsed);
    const std::size_t network = head_ + network_, transport = head_ + transport_;
    if (network > 0xffff || transport > 0xffff)
      return pack_layers(static_cast<unsigned>(link), 0, 0, 0, drop_reason::too_big);
    return pack_layers(found_, network, (found_ & bit(protocol::transport)) != 0 ? transport : 0, network_ & 0xff,
                       fault_);
  }

 private:
  // What comes next, when no EtherType says so: values that no type field can hold.
  static constexpr unsigned unknown = 0x10000, llc = 0x10001;

  RUNNEL_INLINE constexpr bool steps(link_type link) noexcept {
    unsigned type = unknown;
    if (!link_header(link, type) || !vlan_tags(type) || !llc_header(type) || !mpls_labels(type)) return false;
    network_ = at_;
    unsigned number = 0;
    switch (type) {
      case ethertype::ipv4:
        if (!ipv4_header(number)) return false;
        break;
      case ethertype::ipv6:
        if (!ipv6_headers(number)) return false;
        break;
      case ethertype::arp: return arp_packet();
      default: return true;
    }
    return is_later_fragment_ || transport_header(number);
  }

  RUNNEL_INLINE constexpr bool link_header(link_type link, unsigned& type) noexcept {
    switch (link) {
      case link_type::ethernet:
        if (!need(14, drop_reason::link_too_short)) return false;
        type = load_be16(p_ + 12);
        at_ = 14;
        break;
      case link_type::raw_ip:
        if (!need(1, drop_reason::ip_too_short)) return false;
        type = type_by_version();
        return type != unknown || fail(drop_reason::ip_version);
      case link_type::null_loop:
        if (!need(4, drop_reason::link_too_short)) return false;
        type = type_by_address_family();
        at_ = 4;
        break;
      case link_type::linux_sll:
        if (!need(16, drop_reason::link_too_short)) return false;
        type = cooked_type(load_be16(p_ + 14), load_be16(p_ + 2));
        at_ = 16;
        break;
      case link_type::linux_sll2:
        if (!need(20, drop_reason::link_too_short)) return false;
        type = cooked_type(load_be16(p_), load_be16(p_ + 8));
        at_ = 20;
        break;
      case link_type::unknown: break;
    }
    return true;
  }
  RUNNEL_INLINE constexpr unsigned type_by_version() const noexcept {
    const unsigned version = load_u8(here()) >> 4;
    return version == 4 ? ethertype::ipv4 : version == 6 ? ethertype::ipv6 : unknown;
  }
  // AF_INET is 2 everywhere; AF_INET6 is 10 on Linux, 24, 28 and 30 on the BSDs. In the order of the host that
  // captured (NULL), or of the network (LOOP): the numbers are small, so one can tell.
  RUNNEL_INLINE constexpr unsigned type_by_address_family() const noexcept {
    std::uint32_t family = load_be32(p_);
    if (family > 0xffff) family = load_le32(p_);
    if (family == 2) return ethertype::ipv4;
    return family == 10 || family == 24 || family == 28 || family == 30 ? ethertype::ipv6 : unknown;
  }
  // A cooked header says 4 where an LLC header follows; from netlink (ARPHRD 824) its type is no EtherType.
  RUNNEL_INLINE static constexpr unsigned cooked_type(unsigned type, unsigned hardware) noexcept {
    if (hardware == 824) return unknown;
    return type == 4 ? llc : type < ethertype::first ? unknown : type;
  }

  // Leaves in `type` what is inside the tags; an 802.3 length becomes the end, with an LLC header to come.
  RUNNEL_INLINE constexpr bool vlan_tags(unsigned& type) noexcept {
    network_ = at_;
    for (unsigned tags = 0; type <= 0xffff && ethertype::is_vlan(static_cast<std::uint16_t>(type)); ++tags) {
      if (tags == max_vlan_tags) return fail(drop_reason::vlan_malformed);
      if (!need(4, drop_reason::vlan_malformed)) return false;
      add(protocol::vlan);
      type = load_be16(here() + 2);
      at_ += 4;
      network_ = at_;
    }
    if (type >= ethertype::first) return true;
    if (type > 1500 || type > end_ - at_) return fail(drop_reason::llc_malformed);
    end_ = at_ + type;
    type = llc;
    return true;
  }
  // As `llc::parse`. SNAP holds an EtherType (RFC 1042); any other LLC payload is unknown, and begins with its header.
  RUNNEL_INLINE constexpr bool llc_header(unsigned& type) noexcept {
    if (type != llc) return true;
    type = unknown;
    if (!need(3, drop_reason::llc_malformed)) return false;
    const unsigned control = load_u8(here() + 2);
    if ((control & 3u) != 3) return need(4, drop_reason::llc_malformed);
    if (load_be16(here()) != 0xaaaa || control != 3) return true;
    if (!need(8, drop_reason::llc_malformed)) return false;
    const std::uint32_t organisation = load_be24(here() + 3);
    const std::uint16_t inner = load_be16(here() + 6);
    if ((organisation != 0 && organisation != 0xf8) || inner < ethertype::first) return true;
    type = inner;
    at_ += 8;
    return true;
  }
  // Labels do not say what they carry: IP is told by its version, as routers do (RFC 4928), all else is unknown.
  RUNNEL_INLINE constexpr bool mpls_labels(unsigned& type) noexcept {
    if (type != ethertype::mpls && type != ethertype::mpls_upstream) return true;
    bool bottom = false;
    for (unsigned labels = 0; !bottom; ++labels) {
      network_ = at_;
      if (labels == max_mpls_labels) return fail(drop_reason::mpls_malformed);
      if (!need(4, drop_reason::mpls_malformed)) return false;
      add(protocol::mpls);
      bottom = (load_u8(here() + 2) & 1u) != 0;
      at_ += 4;
    }
    network_ = at_;
    type = unknown;
    if (at_ == end_) return true;
    if (!need(1, drop_reason::mpls_malformed)) return false;
    type = type_by_version();
    return true;
  }

  RUNNEL_INLINE constexpr bool arp_packet() noexcept {
    if (!need(28, drop_reason::arp_malformed)) return false;
    const unsigned hardware = load_be16(here());
    if ((hardware != 1 && hardware != 6) || load_be16(here() + 2) != ethertype::ipv4 || load_be16(here() + 4) != 0x0604)
      return fail(drop_reason::arp_malformed);
    add(protocol::arp);
    return true;
  }
  // As `ipv4::parse`, and no fragment may end behind 65535 (the "ping of death").
  RUNNEL_INLINE constexpr bool ipv4_header(unsigned& number) noexcept {
    if (!need(20, drop_reason::ip_too_short)) return false;
    const std::byte* p = here();
    if (load_u8(p) >> 4 != 4) return fail(drop_reason::ip_version);
    const std::size_t header_size = (load_u8(p) & 15u) * std::size_t{4};
    const std::size_t total = load_be16(p + 2);
    if (header_size < 20) return fail(drop_reason::ip_header_length);
    if (!need(header_size, drop_reason::ip_header_length)) return false;
    if (total < header_size || total > end_ - at_) return fail(drop_reason::ip_total_length);
    add(protocol::ipv4);
    end_ = at_ + total;
    at_ += header_size;
    number = load_u8(p + 9);
    const unsigned fragment = load_be16(p + 6);
    if ((fragment & 0x3fffu) == 0) return true;
    add(protocol::fragment);
    const std::size_t offset = (fragment & 0x1fffu) * std::size_t{8};
    is_later_fragment_ = offset != 0;
    is_first_fragment_ = offset == 0;
    return offset + total <= 65535 || fail(drop_reason::ip_fragment);
  }
  // As `ipv6::parse`, and the extension headers. RFC 8200 §4: hop-by-hop options come first or not at all; otherwise
  // any order is followed, but a second fragment header is refused.
  RUNNEL_INLINE constexpr bool ipv6_headers(unsigned& number) noexcept {
    if (!need(40, drop_reason::ip_too_short)) return false;
    const std::byte* p = here();
    if (load_u8(p) >> 4 != 6) return fail(drop_reason::ip_version);
    const std::size_t payload = load_be16(p + 4);
    number = load_u8(p + 6);
    if (payload > end_ - at_ - 40 || (payload == 0 && number == 0)) return fail(drop_reason::ip_total_length);
    add(protocol::ipv6);
    at_ += 40;
    end_ = at_ + payload;
    for (unsigned count = 0; is_ipv6_extension(number); ++count) {
      if (count == max_ipv6_extensions || (number == 0 && count != 0)) return fail(drop_reason::ipv6_extension);
      if (!need(8, cut_off(drop_reason::ipv6_extension))) return false;
      const std::byte* extension = here();
      const std::size_t length = load_u8(extension + 1);
      const std::size_t size = number == 44 ? 8 : number == 51 ? (length + 2) * 4 : (length + 1) * 8;
      if (!need(size, cut_off(drop_reason::ipv6_extension))) return false;
      if (number == 51 && size < 12) return fail(drop_reason::ipv6_extension);
      at_ += size;
      if (number == 44 && !fragment_header(load_be16(extension + 2))) return false;
      if (is_later_fragment_) return true;
      number = load_u8(extension);
    }
    return true;
  }
  static constexpr bool is_ipv6_extension(unsigned number) noexcept {
    return number == 0 || number == 43 || number == 44 || number == 51 || number == 60;
  }
  // Neither first nor later is an "atomic" one, a whole datagram (RFC 6946).
  RUNNEL_INLINE constexpr bool fragment_header(unsigned fragment) noexcept {
    if ((found_ & bit(protocol::fragment)) != 0) return fail(drop_reason::ipv6_extension);
    add(protocol::fragment);
    const std::size_t offset = fragment & 0xfff8u;
    is_later_fragment_ = offset != 0;
    is_first_fragment_ = offset == 0 && (fragment & 1u) != 0;
    return offset + (end_ - at_) <= 65535 || fail(drop_reason::ip_fragment);
  }

  RUNNEL_INLINE constexpr bool transport_header(unsigned number) noexcept {
    switch (number) {
      case 6: {
        if (!need(20, cut_off(drop_reason::tcp_too_short))) return false;
        const std::size_t header_size = (load_u8(here() + 12) >> 4) * std::size_t{4};
        if (header_size < 20) return fail(drop_reason::tcp_data_offset);
        if (!need(header_size, cut_off(drop_reason::tcp_data_offset))) return false;
        add(protocol::tcp);
        break;
      }
      case 17: {
        if (!need(8, cut_off(drop_reason::udp_too_short))) return false;
        const std::size_t length = load_be16(here() + 4);
        if (length < 8 || (length > end_ - at_ && !is_first_fragment_)) return fail(drop_reason::udp_length);
        add(protocol::udp);
        break;
      }
      case 1:
      case 58:
        if ((number == 1) != ((found_ & bit(protocol::ipv4)) != 0)) break;  // each belongs to one of the two
        if (!need(8, cut_off(drop_reason::icmp_too_short))) return false;
        add(number == 1 ? protocol::icmp : protocol::icmpv6);
        break;
      case 47:
        if (!gre_header()) return false;
        break;
      default: break;
    }
    transport_ = at_;
    add(protocol::transport);
    return true;
  }
  // RFC 2784 §2.3: bits 1, 4 and 5 must be clear. Version 1 is PPTP's (RFC 2637), which is not looked into.
  RUNNEL_INLINE constexpr bool gre_header() noexcept {
    if (!need(4, cut_off(drop_reason::gre_malformed))) return false;
    const unsigned flags = load_be16(here());
    if ((flags & 7u) != 0) return true;
    if ((flags & 0x4c00u) != 0) return fail(drop_reason::gre_malformed);
    const unsigned words = 1 + (flags >> 15 & 1u) + (flags >> 13 & 1u) + (flags >> 12 & 1u);
    if (!need(words * std::size_t{4}, cut_off(drop_reason::gre_malformed))) return false;
    add(protocol::gre);
    return true;
  }

  RUNNEL_INLINE constexpr bool fail(drop_reason why) noexcept {
    fault_ = why;
    return false;
  }
  // Whether `n` bytes from here can be read. `why` is the fault when the packet itself has fewer.
  RUNNEL_INLINE constexpr bool need(std::size_t n, drop_reason why) noexcept {
    if (n <= end_ - at_ && n <= size_ - at_) [[likely]]
      return true;
    return fail(n <= end_ - at_ && missing_ != 0 ? drop_reason::truncated_capture : why);
  }
  // A first fragment that ends within the headers is no honest one (RFC 1858, RFC 7112).
  RUNNEL_INLINE constexpr drop_reason cut_off(drop_reason otherwise) const noexcept {
    return is_first_fragment_ ? drop_reason::ip_fragment : otherwise;
  }
  RUNNEL_INLINE constexpr void add(protocol p) noexcept { found_ |= bit(p); }
  RUNNEL_INLINE constexpr const std::byte* here() const noexcept { return p_ + at_; }

  const std::byte* p_;
  std::size_t size_;
  std::size_t end_;
  std::size_t head_;
  std::size_t missing_;
  std::size_t at_ = 0;
  std::size_t network_ = 0;
  std::size_t transport_ = 0;
  unsigned found_ = 0;
  bool is_first_fragment_ = false;  // of a datagram that goes on in others
  bool is_later_fragment_ = false;
  drop_reason fault_ = drop_reason::none;
};

// What was found: as one number, to be stored (0: the short way is not sure), and in parts, which cost nothing where
// nobody looks at them, and let the compiler follow what each branch knows of them.
struct found_layers {
  packed_layers packed = 0;
  layers parts;
};

// The end of the short way, behind `Header` bytes of an IP header that says `payload` bytes follow, at least 8 of them,
// which are there. All offsets are known but for one summand, so the number is one multiplication.
template <std::size_t At, std::size_t Header, unsigned Bits>
[[nodiscard]] RUNNEL_INLINE constexpr found_layers plain_transport(const std::byte* p, std::size_t payload,
                                                                   std::uint8_t number, std::size_t head) noexcept {
  const std::byte* const transport = p + At + Header;
  unsigned bits = Bits | bit(protocol::parsed) | bit(protocol::transport);
  if (number == 17) {
    if (load_be16(transport + 4) - std::size_t{8} > payload - 8) return {};
    bits |= bit(protocol::udp);
  } else if (number == 6) {
    if (payload < 20 || (load_u8(transport + 12) >> 4) * std::size_t{4} - 20 > payload - 20) return {};
    bits |= bit(protocol::tcp);
  } else {
    return {};
  }
  return {.packed = head * 0x1'0001'0000u + pack_layers(bits, At, At + Header, At, drop_reason::none),
          .parts = {.protocols = static_cast<std::uint16_t>(bits),
                    .network = static_cast<std::uint16_t>(head + At),
                    .transport = static_cast<std::uint16_t>(head + At + Header),
                    .link = At}};
}

// The short way: IPv4 without options or IPv6, at byte `At` of at least `At` + 28, with TCP or UDP and nothing wrong.
// Answers only when it is sure. `a - least <= b - least` stands for `least <= a && a <= b` where b >= least is known.
template <std::size_t At, unsigned Bits>
[[nodiscard]] RUNNEL_INLINE constexpr found_layers dissect_plain(const std::byte* p, std::size_t size,
                                                                 std::size_t head) noexcept {
  // As it lies on the wire: what is only compared with constants needs no swapping.
  const auto type = load<std::uint16_t>(p + At - 2);
  if (type == to_big(ethertype::ipv4)) {
    const std::size_t total = load_be16(p + At + 2);
    if (load_u8(p + At) != 0x45 || (load<std::uint16_t>(p + At + 6) & to_big(std::uint16_t{0x3fff})) != 0 ||
        total - 28 > size - At - 28)
      return {};
    return plain_transport < At, 20, Bits | bit(protocol::ipv4) > (p, total - 20, load_u8(p + At + 9), head);
  }
  if (type == to_big(ethertype::ipv6) && size >= At + 48) {
    const std::size_t payload = load_be16(p + At + 4);
    if (load_u8(p + At) >> 4 != 6 || payload - 8 > size - At - 48) return {};
    return plain_transport < At, 40, Bits | bit(protocol::ipv6) > (p, payload, load_u8(p + At + 6), head);
  }
  return {};
}

// Any packet. Six numbers and no struct, for those travel in registers.
[[gnu::noinline]] constexpr packed_layers dissect_carefully(const std::byte* p, std::size_t size, link_type link,
                                                            std::size_t head, std::size_t chained,
                                                            std::size_t missing) noexcept {
  if (link == link_type::ethernet && size >= 18 + 28 && head <= 0xffff - 18 - 40 &&
      load_be16(p + 12) == ethertype::vlan) {
    const packed_layers found = dissect_plain<18, bit(protocol::vlan)>(p, size, head).packed;
    if (found != 0) [[likely]]
      return found;
  }
  return dissection{p, size, head, chained, missing}.run(link);
}

// The short way for untagged Ethernet, inlined.
[[nodiscard]] RUNNEL_INLINE constexpr found_layers dissect_plainly(bytes frame, std::size_t head) noexcept {
  if (frame.size() < 14 + 28 || head > 0xffff - 14 - 40) [[unlikely]]
    return {};
  return dissect_plain<14, 0>(frame.data(), frame.size(), head);
}

// Whether layers that somebody found before can have been found in bytes that begin at `head` and are `size` long: all
// headers lie in them, the link header at their beginning.
[[nodiscard]] constexpr bool lies_in(const layers& l, std::size_t head, std::size_t size) noexcept {
  const std::size_t link = l.has(protocol::vlan) ? 18u : l.link_kind() == link_type::ethernet ? 14u : 0u;
  const std::size_t network = l.has(protocol::ipv6)   ? 40u
                              : l.has(protocol::arp)  ? 28u
                              : l.has(protocol::ipv4) ? 20u
                                                      : 0u;
  const bool eight = l.has(protocol::udp) || l.has(protocol::icmp) || l.has(protocol::icmpv6);
  const std::size_t transport = l.has(protocol::tcp) ? 20u : eight ? 8u : l.has(protocol::gre) ? 4u : 0u;
  return l.network == head + l.link && l.link >= link && l.network + network <= head + size &&
         (transport == 0 || l.transport + transport <= head + size);
}

// Any packet: the short way inlined, the careful one as a call.
[[nodiscard]] RUNNEL_INLINE constexpr found_layers dissect_both(bytes frame, link_type link,
                                                                const dissect_options& options) noexcept {
  if (link == link_type::ethernet) [[likely]] {
    const found_layers found = dissect_plainly(frame, options.head_offset);
    if (found.packed != 0) [[likely]]
      return found;
  }
  const packed_layers found =
      dissect_carefully(frame.data(), frame.size(), link, options.head_offset, options.chained, options.missing);
  return {found, unpack_layers(found)};
}

}  // namespace detail

/// Dissects the packet whose first bytes are `frame`. Reads nothing outside `frame`, whatever the bytes say.
///
/// When something is wrong, `fault` names it and `protocol::parsed` is not set; the bits of the headers before it are,
/// and their offsets are right. A fault on account of bytes that a capture did not keep (`options.missing`) is
/// `truncated_capture`. Offsets that do not fit 16 bits are the fault `too_big`. A header that lies in a chained
/// buffer (`options.chained`) counts as cut off: linearize first.
///
/// The checks are those of the views' `parse`, so `unchecked` views over what was found are safe. In addition: a
/// fragment that would end behind byte 65535, and a first fragment without its whole transport header, are faults.
/// An IPv6 "atomic fragment" (RFC 6946) has both `protocol::fragment` and a transport header.
///
/// Ethernet with IPv4 (without options) or IPv6 and TCP or UDP goes the short way, inlined; the rest is a call, where
/// the same with one 802.1Q tag goes first.
[[nodiscard]] RUNNEL_INLINE constexpr layers dissect(bytes frame, link_type link = link_type::ethernet,
                                                     const dissect_options& options = {}) noexcept {
  return detail::dissect_both(frame, link, options).parts;
}

}  // namespace runnel

#endif
