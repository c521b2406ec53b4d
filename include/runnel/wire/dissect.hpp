// SPDX-License-Identifier: MIT
// Finds out which headers a packet carries and where they begin, with every bound checked, in one pass: from the
// link header to the transport header. Nobody behind it has to look at a length again.
//
//     Ethernet II, 802.3 with LLC/SNAP      IPv4 and its options       TCP, UDP, ICMP, ICMPv6, GRE:
//     cooked captures, loopback, raw IP  >  IPv6 and its extension  >  checked as far as their headers reach
//     up to 8 VLAN tags, 16 MPLS labels     headers (at most 8)        anything else: its place
//
// What it does not do: look into tunnels, verify checksums, reassemble, understand IPv6 jumbograms (RFC 2675).
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

namespace runnel {

/// What `dissect` is told of a packet beside its first bytes.
struct dissect_options {
  std::size_t head_offset = 0;  ///< where the frame lies in its buffer; is added to every offset found
  std::size_t chained = 0;      ///< bytes of the packet that follow in further buffers: counted, never read
  std::size_t missing = 0;      ///< bytes of the packet that a capture did not keep: counted as well
};

/// How many VLAN tags, MPLS labels and IPv6 extension headers are followed. One more is a fault.
inline constexpr unsigned max_vlan_tags = 8;
inline constexpr unsigned max_mpls_labels = 16;
inline constexpr unsigned max_ipv6_extensions = 8;

namespace detail {

[[nodiscard]] constexpr std::uint16_t bit(protocol p) noexcept { return static_cast<std::uint16_t>(p); }

// The careful way through any packet. `at_` is where it has come to, `end_` where what it is in ends by the lengths
// read so far (which may lie behind the bytes it has), `size_` how many bytes it has; at_ <= end_ and at_ <= size_.
class dissection {
 public:
  constexpr dissection(const std::byte* p, std::size_t size, const dissect_options& options) noexcept
      : p_(p), size_(size), end_(size + options.chained + options.missing), options_(options) {}

  constexpr layers run(link_type link) noexcept {
    found_ = static_cast<std::uint16_t>(link);
    const bool good = from_link(link);
    layers out{.protocols = static_cast<std::uint16_t>(link), .fault = drop_reason::too_big};
    const std::size_t network = options_.head_offset + network_, transport = options_.head_offset + transport_;
    if (network > 0xffff || transport > 0xffff) return out;
    out.protocols = static_cast<std::uint16_t>(good ? found_ | bit(protocol::parsed) : found_);
    out.network = static_cast<std::uint16_t>(network);
    out.transport = static_cast<std::uint16_t>((found_ & bit(protocol::transport)) != 0 ? transport : 0);
    out.link = static_cast<std::uint8_t>(network_);
    out.fault = fault_;
    return out;
  }

 private:
  constexpr bool fail(drop_reason why) noexcept {
    fault_ = why;
    return false;
  }
  // Whether `n` bytes from here can be read. `why` is the fault when the packet itself has fewer.
  constexpr bool need(std::size_t n, drop_reason why) noexcept {
    if (n <= end_ - at_ && n <= size_ - at_) [[likely]] return true;
    return fail(n <= end_ - at_ && options_.missing != 0 ? drop_reason::truncated_capture : why);
  }
  constexpr void add(protocol p) noexcept { found_ = static_cast<std::uint16_t>(found_ | bit(p)); }
  constexpr const std::byte* here() const noexcept { return p_ + at_; }
  constexpr bool unknown_payload() noexcept {
    network_ = at_;
    return true;
  }

  constexpr bool from_link(link_type link) noexcept {
    switch (link) {
      case link_type::ethernet:
        if (!need(14, drop_reason::link_too_short)) return false;
        at_ = 14;
        return from_type(load_be16(p_ + 12));
      case link_type::raw_ip:
        return from_version(drop_reason::ip_too_short);
      case link_type::null_loop:
        return from_address_family();
      case link_type::linux_sll:
        if (!need(16, drop_reason::link_too_short)) return false;
        at_ = 16;
        return from_cooked(load_be16(p_ + 14), load_be16(p_ + 2));
      case link_type::linux_sll2:
        if (!need(20, drop_reason::link_too_short)) return false;
        at_ = 20;
        return from_cooked(load_be16(p_), load_be16(p_ + 8));
      case link_type::unknown:
        break;
    }
    return unknown_payload();
  }
  // AF_INET is 2 everywhere; AF_INET6 is 10 on Linux, 24, 28 and 30 on the BSDs. In the order of the host that
  // captured (NULL), or of the network (LOOP): the numbers are small, so one can tell.
  constexpr bool from_address_family() noexcept {
    if (!need(4, drop_reason::link_too_short)) return false;
    std::uint32_t family = load_be32(p_);
    if (family > 0xffff) family = load_le32(p_);
    at_ = 4;
    if (family == 2) return from_ipv4();
    if (family == 10 || family == 24 || family == 28 || family == 30) return from_ipv6();
    return unknown_payload();
  }
  // A cooked header says 4 where an LLC header follows; from netlink (ARPHRD 824) its type is no EtherType.
  constexpr bool from_cooked(std::uint16_t type, std::uint16_t hardware) noexcept {
    if (hardware == 824) return unknown_payload();
    if (type == 4) return from_llc();
    if (type < ethertype::first) return unknown_payload();
    return from_type(type);
  }
  constexpr bool from_type(std::uint16_t type) noexcept {
    for (unsigned tags = 0; ethertype::is_vlan(type); ++tags) {
      if (tags == max_vlan_tags) return fail(drop_reason::vlan_malformed);
      network_ = at_;
      if (!need(4, drop_reason::vlan_malformed)) return false;
      add(protocol::vlan);
      type = load_be16(here() + 2);
      at_ += 4;
    }
    if (type >= ethertype::first) return from_ethertype(type);
    network_ = at_;
    if (type > 1500 || type > end_ - at_) return fail(drop_reason::llc_malformed);
    end_ = at_ + type;
    return from_llc();
  }
  constexpr bool from_llc() noexcept {
    network_ = at_;
    if (!need(3, drop_reason::llc_malformed)) return false;
    if (load_be16(here()) != 0xaaaa || load_u8(here() + 2) != 3) return true;
    if (!need(8, drop_reason::llc_malformed)) return false;
    const std::uint32_t organisation = load_be24(here() + 3);
    const std::uint16_t type = load_be16(here() + 6);
    if ((organisation != 0 && organisation != 0xf8) || type < ethertype::first) return true;
    at_ += 8;
    return from_ethertype(type);
  }
  constexpr bool from_ethertype(std::uint16_t type) noexcept {
    switch (type) {
      case ethertype::ipv4: return from_ipv4();
      case ethertype::ipv6: return from_ipv6();
      case ethertype::arp: return from_arp();
      case ethertype::mpls:
      case ethertype::mpls_upstream: return from_mpls();
      default: return unknown_payload();
    }
  }
  constexpr bool from_arp() noexcept {
    network_ = at_;
    if (!need(28, drop_reason::arp_malformed)) return false;
    const std::uint16_t hardware = load_be16(here());
    if ((hardware != 1 && hardware != 6) || load_be16(here() + 2) != ethertype::ipv4 || load_be16(here() + 4) != 0x0604)
      return fail(drop_reason::arp_malformed);
    add(protocol::arp);
    return true;
  }
  // Labels do not say what they carry: IP is told by its version, as routers do (RFC 4928), all else is unknown.
  constexpr bool from_mpls() noexcept {
    for (unsigned labels = 0;; ++labels) {
      network_ = at_;
      if (labels == max_mpls_labels) return fail(drop_reason::mpls_malformed);
      if (!need(4, drop_reason::mpls_malformed)) return false;
      add(protocol::mpls);
      const bool bottom = (load_u8(here() + 2) & 1u) != 0;
      at_ += 4;
      if (bottom) break;
    }
    network_ = at_;
    if (at_ == end_) return true;
    if (!need(1, drop_reason::mpls_malformed)) return false;
    const unsigned version = load_u8(here()) >> 4;
    return version == 4 ? from_ipv4() : version == 6 ? from_ipv6() : unknown_payload();
  }
  constexpr bool from_version(drop_reason when_empty) noexcept {
    network_ = at_;
    if (!need(1, when_empty)) return false;
    const unsigned version = load_u8(here()) >> 4;
    return version == 4 ? from_ipv4() : version == 6 ? from_ipv6() : fail(drop_reason::ip_version);
  }

  // As `ipv4::parse`, and no fragment may end behind 65535 (the "ping of death").
  constexpr bool from_ipv4() noexcept {
    network_ = at_;
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
    const unsigned fragment = load_be16(p + 6);
    if ((fragment & 0x3fffu) != 0) {
      add(protocol::fragment);
      const std::size_t offset = (fragment & 0x1fffu) * std::size_t{8};
      if (offset + total > 65535) return fail(drop_reason::ip_fragment);
      if (offset != 0) return true;
      first_fragment_ = true;
    }
    const std::uint8_t protocol_number = load_u8(p + 9);
    return protocol_number == 1 ? from_icmp(protocol::icmp) : from_transport(protocol_number);
  }

  // RFC 8200 §4: hop-by-hop options come first or not at all; otherwise any order is followed, but a second fragment
  // header is refused. The first fragment must hold all headers (RFC 7112).
  constexpr bool from_ipv6() noexcept {
    network_ = at_;
    if (!need(40, drop_reason::ip_too_short)) return false;
    const std::byte* p = here();
    if (load_u8(p) >> 4 != 6) return fail(drop_reason::ip_version);
    const std::size_t payload = load_be16(p + 4);
    if (payload > end_ - at_ - 40) return fail(drop_reason::ip_total_length);
    add(protocol::ipv6);
    end_ = at_ + 40 + payload;
    at_ += 40;
    std::uint8_t next = load_u8(p + 6);
    for (unsigned count = 0; is_ipv6_extension(next); ++count) {
      if (count == max_ipv6_extensions || (next == 0 && count != 0)) return fail(drop_reason::ipv6_extension);
      const drop_reason cut = in_first_fragment(drop_reason::ipv6_extension);
      if (!need(8, cut)) return false;
      const std::byte* extension = here();
      const std::size_t length = load_u8(extension + 1);
      const std::size_t size = next == 44 ? 8 : next == 51 ? (length + 2) * 4 : (length + 1) * 8;
      if (!need(size, cut)) return false;
      if (next == 51 && size < 12) return fail(drop_reason::ipv6_extension);
      if (next == 44) {
        if ((found_ & bit(protocol::fragment)) != 0) return fail(drop_reason::ipv6_extension);
        add(protocol::fragment);
        const unsigned fragment = load_be16(extension + 2);
        const std::size_t offset = fragment & 0xfff8u;
        if (offset + (end_ - at_ - 8) > 65535) return fail(drop_reason::ip_fragment);
        if (offset != 0) return true;
        first_fragment_ = (fragment & 1u) != 0;  // neither: "atomic", a whole datagram (RFC 6946)
      }
      next = load_u8(extension);
      at_ += size;
    }
    return next == 58 ? from_icmp(protocol::icmpv6) : from_transport(next);
  }
  static constexpr bool is_ipv6_extension(std::uint8_t next) noexcept {
    return next == 0 || next == 43 || next == 44 || next == 51 || next == 60;
  }
  // A first fragment that ends within the headers is no honest one (RFC 1858, RFC 7112).
  constexpr drop_reason in_first_fragment(drop_reason otherwise) const noexcept {
    return first_fragment_ ? drop_reason::ip_fragment : otherwise;
  }

  constexpr bool from_icmp(protocol which) noexcept {
    if (!need(8, in_first_fragment(drop_reason::icmp_too_short))) return false;
    add(which);
    return at_transport();
  }
  constexpr bool from_transport(std::uint8_t protocol_number) noexcept {
    if (protocol_number == 6) {
      if (!need(20, in_first_fragment(drop_reason::tcp_too_short))) return false;
      const std::size_t header_size = (load_u8(here() + 12) >> 4) * std::size_t{4};
      if (header_size < 20) return fail(drop_reason::tcp_data_offset);
      if (!need(header_size, in_first_fragment(drop_reason::tcp_data_offset))) return false;
      add(protocol::tcp);
    } else if (protocol_number == 17) {
      if (!need(8, in_first_fragment(drop_reason::udp_too_short))) return false;
      const std::size_t length = load_be16(here() + 4);
      if (length < 8 || (length > end_ - at_ && !first_fragment_)) return fail(drop_reason::udp_length);
      add(protocol::udp);
    } else if (protocol_number == 47 && !from_gre()) {
      return false;
    }
    return at_transport();
  }
  // RFC 2784 §2.3: bits 1, 4 and 5 must be clear. Version 1 is PPTP's (RFC 2637), which is not looked into.
  constexpr bool from_gre() noexcept {
    const drop_reason cut = in_first_fragment(drop_reason::gre_malformed);
    if (!need(4, cut)) return false;
    const unsigned flags = load_be16(here());
    if ((flags & 7u) != 0) return true;
    if ((flags & 0x4c00u) != 0) return fail(drop_reason::gre_malformed);
    const unsigned words = 1 + (flags >> 15 & 1u) + (flags >> 13 & 1u) + (flags >> 12 & 1u);
    if (!need(words * std::size_t{4}, cut)) return false;
    add(protocol::gre);
    return true;
  }
  constexpr bool at_transport() noexcept {
    transport_ = at_;
    add(protocol::transport);
    return true;
  }

  const std::byte* p_;
  std::size_t size_;
  std::size_t end_;
  dissect_options options_;
  std::size_t at_ = 0;
  std::size_t network_ = 0;
  std::size_t transport_ = 0;
  std::uint16_t found_ = 0;
  bool first_fragment_ = false;  // of a datagram that goes on in others
  drop_reason fault_ = drop_reason::none;
};

[[gnu::noinline]] constexpr layers dissect_carefully(const std::byte* p, std::size_t size, link_type link,
                                                     const dissect_options& options) noexcept {
  return dissection{p, size, options}.run(link);
}

// The bits for a TCP or UDP header at the beginning of `size` >= 8 bytes; 0 when it is something else or not right.
[[nodiscard]] RUNNEL_INLINE constexpr unsigned ports_header(const std::byte* p, std::size_t size,
                                                            std::uint8_t protocol_number) noexcept {
  const bool tcp = protocol_number == 6;
  if (!tcp && protocol_number != 17) return 0;
  const std::size_t least = tcp ? 20 : 8;
  if (size < least) return 0;
  const std::size_t word = load_be16(p + (tcp ? 12 : 4));  // data offset and flags, or length
  const std::size_t said = tcp ? (word >> 12) * 4 : word;
  if (said < least || said > size) return 0;
  return bit(protocol::parsed) | bit(protocol::transport) | (tcp ? bit(protocol::tcp) : bit(protocol::udp));
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
/// Ethernet with IPv4 (without options) or IPv6 and TCP or UDP goes the short way, inlined; the rest is a call.
[[nodiscard]] RUNNEL_INLINE constexpr layers dissect(bytes frame, link_type link = link_type::ethernet,
                                                     const dissect_options& options = {}) noexcept {
  const std::byte* p = frame.data();
  const std::size_t size = frame.size();
  if (link == link_type::ethernet && size >= 14 + 20 + 8 && options.head_offset <= 0xffff - 14 - 40) [[likely]] {
    const auto network = static_cast<std::uint16_t>(options.head_offset + 14);
    const std::uint16_t type = load_be16(p + 12);
    if (type == ethertype::ipv4) {
      const std::size_t total = load_be16(p + 16);
      if (load_u8(p + 14) == 0x45 && (load_be16(p + 20) & 0x3fffu) == 0 && total >= 28 && total <= size - 14) [[likely]] {
        const unsigned bits = detail::ports_header(p + 34, total - 20, load_u8(p + 23));
        if (bits != 0) [[likely]]
          return {.protocols = static_cast<std::uint16_t>(bits | detail::bit(protocol::ipv4)),
                  .network = network,
                  .transport = static_cast<std::uint16_t>(network + 20),
                  .link = 14};
      }
    } else if (type == ethertype::ipv6 && size >= 14 + 40 + 8) {
      const std::size_t payload = load_be16(p + 18);
      if (load_u8(p + 14) >> 4 == 6 && payload >= 8 && payload <= size - 54) [[likely]] {
        const unsigned bits = detail::ports_header(p + 54, payload, load_u8(p + 20));
        if (bits != 0) [[likely]]
          return {.protocols = static_cast<std::uint16_t>(bits | detail::bit(protocol::ipv6)),
                  .network = network,
                  .transport = static_cast<std::uint16_t>(network + 40),
                  .link = 14};
      }
    }
  }
  return detail::dissect_carefully(p, size, link, options);
}

}  // namespace runnel

#endif
