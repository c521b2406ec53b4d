// SPDX-License-Identifier: MIT
// Neighbour discovery for IPv6: checked views of its five messages, and builders. RFC 4861, RFC 4191, RFC 6980.
// What it does not do: secure neighbour discovery (RFC 3971); keep any state.
#ifndef RUNNEL_WIRE_NDP_HPP
#define RUNNEL_WIRE_NDP_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t

#include <runnel/base/bytes.hpp>
#include <runnel/base/endian.hpp>
#include <runnel/base/result.hpp>
#include <runnel/base/text.hpp>
#include <runnel/packet/drop_reason.hpp>
#include <runnel/wire/address.hpp>
#include <runnel/wire/build.hpp>
#include <runnel/wire/checksum.hpp>
#include <runnel/wire/icmpv6.hpp>
#include <runnel/wire/ipv6.hpp>
#include <runnel/wire/ipv6_extension.hpp>
#include <runnel/wire/ndp_options.hpp>

namespace runnel {

inline constexpr ipv6_address all_nodes_multicast{0xff02'0000'0000'0000, 1};    ///< ff02::1
inline constexpr ipv6_address all_routers_multicast{0xff02'0000'0000'0000, 2};  ///< ff02::2

/// The multicast group that every owner of an address like `a` listens to (RFC 4291 §2.7.1).
[[nodiscard]] constexpr ipv6_address solicited_node_multicast(const ipv6_address& a) noexcept {
  return {0xff02'0000'0000'0000, 0x0000'0001'ff00'0000 | (a.low() & 0xff'ffff)};
}
/// The Ethernet address of an IPv6 multicast group (RFC 2464 §7).
[[nodiscard]] constexpr mac_address multicast_mac(const ipv6_address& group) noexcept {
  const std::uint64_t v = group.low();
  return {{0x33, 0x33, static_cast<std::uint8_t>(v >> 24), static_cast<std::uint8_t>(v >> 16),
           static_cast<std::uint8_t>(v >> 8), static_cast<std::uint8_t>(v)}};
}

namespace detail {
// What the five messages share. They are read-only and no `header_view`: a packet is known to be ICMPv6 when it was
// dissected, but to be one of these only when it was parsed as such.
template <std::uint8_t Type, std::size_t FixedSize>
class ndp_message {
 public:
  static constexpr std::size_t min_size = FixedSize;
  /// The option bytes, every length of them checked; walk them with `ndp_options`.
  [[nodiscard]] constexpr bytes options() const noexcept { return message_.from(FixedSize); }
  /// The first option of a kind that holds a 48-bit link-layer address; fails when there is none.
  [[nodiscard]] constexpr result<mac_address, drop_reason> link_address(ndp_option kind) const noexcept {
    for (ndp_options o(options()); o; o.next()) {
      if (o.kind() != kind) continue;
      if (const auto a = o.link_address()) return *a;
    }
    return drop_reason::neighbour_malformed;
  }
  /// The whole message, for the printer.
  [[nodiscard]] constexpr bytes contents() const noexcept { return message_; }

 protected:
  constexpr explicit ndp_message(bytes message) noexcept : message_(message) {}
  [[nodiscard]] constexpr const std::byte* at(std::size_t i) const noexcept { return message_.data() + i; }
  // What the validation lists of §6.1, §7.1 and §8.1 have in common, but for the checksum; and RFC 6980 §5.
  [[nodiscard]] static constexpr bool acceptable(bytes message, const ipv6& around) noexcept {
    if (around.hop_limit() != 255 || message.size() < FixedSize) return false;
    if (load_u8(message.data()) != Type || load_u8(message.data() + 1) != 0) return false;
    for (ipv6_extensions e(around); e; e.next())
      if (e.kind() == ipv6_extension::fragment) return false;
    ndp_options o(message.from(FixedSize));
    while (o) o.next();
    return !o.malformed();
  }
  [[nodiscard]] static constexpr bool has_option(bytes message, ndp_option kind) noexcept {
    for (ndp_options o(message.from(FixedSize)); o; o.next())
      if (o.kind() == kind) return true;
    return false;
  }

  bytes message_;
};
}  // namespace detail

// Each `parse` takes the ICMPv6 message, `icmpv6::contents()`, and the IPv6 header around it, and does all that RFC
// 4861 says about which messages to discard, but for the checksum: `icmpv6::checksum_ok` comes before.

/// A host asks for routers (§4.1).
class router_solicitation : public detail::ndp_message<133, 8> {
 public:
  /// §6.1.1.
  [[nodiscard]] static constexpr result<router_solicitation, drop_reason> parse(bytes message,
                                                                                const ipv6& around) noexcept {
    if (!acceptable(message, around)) return drop_reason::neighbour_malformed;
    if (around.source().is_unspecified() && has_option(message, ndp_option::source_link_address))
      return drop_reason::neighbour_malformed;
    return router_solicitation{message};
  }

 private:
  using ndp_message::ndp_message;
};

/// A router tells about itself and the link (§4.2).
class router_advertisement : public detail::ndp_message<134, 16> {
 public:
  /// §6.1.2.
  [[nodiscard]] static constexpr result<router_advertisement, drop_reason> parse(bytes message,
                                                                                 const ipv6& around) noexcept {
    if (!acceptable(message, around) || !around.source().is_link_local()) return drop_reason::neighbour_malformed;
    return router_advertisement{message};
  }
  /// What hosts shall put in their own packets; 0: unspecified.
  [[nodiscard]] constexpr std::uint8_t hop_limit() const noexcept { return load_u8(at(4)); }
  /// Addresses come from DHCPv6.
  [[nodiscard]] constexpr bool is_managed() const noexcept { return (load_u8(at(5)) & 0x80u) != 0; }
  /// Other configuration comes from DHCPv6.
  [[nodiscard]] constexpr bool is_other_configuration() const noexcept { return (load_u8(at(5)) & 0x40u) != 0; }
  /// RFC 4191 §2.2: the reserved value counts as medium.
  [[nodiscard]] constexpr router_preference preference() const noexcept {
    const auto p = static_cast<router_preference>(load_u8(at(5)) >> 3 & 3u);
    return p == router_preference::reserved ? router_preference::medium : p;
  }
  /// For how many seconds it is a default router; 0: it is none.
  [[nodiscard]] constexpr std::uint16_t router_lifetime() const noexcept { return load_be16(at(6)); }
  /// In milliseconds; 0: unspecified.
  [[nodiscard]] constexpr std::uint32_t reachable_time() const noexcept { return load_be32(at(8)); }
  /// In milliseconds; 0: unspecified.
  [[nodiscard]] constexpr std::uint32_t retransmit_timer() const noexcept { return load_be32(at(12)); }

 private:
  using ndp_message::ndp_message;
};

/// A node asks for the link-layer address of `target()` (§4.3).
class neighbour_solicitation : public detail::ndp_message<135, 24> {
 public:
  /// §7.1.1.
  [[nodiscard]] static constexpr result<neighbour_solicitation, drop_reason> parse(bytes message,
                                                                                   const ipv6& around) noexcept {
    if (!acceptable(message, around) || ipv6_address::load(message.data() + 8).is_multicast())
      return drop_reason::neighbour_malformed;
    if (around.source().is_unspecified()) {
      const ipv6_address to = around.destination();
      if (to != solicited_node_multicast(to) || has_option(message, ndp_option::source_link_address))
        return drop_reason::neighbour_malformed;
    }
    return neighbour_solicitation{message};
  }
  /// The field of the header, in host byte order.
  [[nodiscard]] constexpr ipv6_address target() const noexcept { return ipv6_address::load(at(8)); }

 private:
  using ndp_message::ndp_message;
};

/// A node tells its link-layer address, asked or not (§4.4).
class neighbour_advertisement : public detail::ndp_message<136, 24> {
 public:
  /// §7.1.2.
  [[nodiscard]] static constexpr result<neighbour_advertisement, drop_reason> parse(bytes message,
                                                                                    const ipv6& around) noexcept {
    if (!acceptable(message, around) || ipv6_address::load(message.data() + 8).is_multicast())
      return drop_reason::neighbour_malformed;
    const neighbour_advertisement m{message};
    if (around.destination().is_multicast() && m.is_solicited()) return drop_reason::neighbour_malformed;
    return m;
  }
  /// Whether the header says so.
  [[nodiscard]] constexpr bool is_router() const noexcept { return (load_u8(at(4)) & 0x80u) != 0; }
  /// Whether it answers a solicitation: proof that the way there and back works.
  [[nodiscard]] constexpr bool is_solicited() const noexcept { return (load_u8(at(4)) & 0x40u) != 0; }
  /// Whether it replaces what is cached.
  [[nodiscard]] constexpr bool is_override() const noexcept { return (load_u8(at(4)) & 0x20u) != 0; }
  /// The field of the header, in host byte order.
  [[nodiscard]] constexpr ipv6_address target() const noexcept { return ipv6_address::load(at(8)); }

 private:
  using ndp_message::ndp_message;
};

/// A router tells a host of a better first hop (§4.5).
class ndp_redirect : public detail::ndp_message<137, 40> {
 public:
  /// §8.1. That it comes from the router which the host uses for that destination is the caller's to check.
  [[nodiscard]] static constexpr result<ndp_redirect, drop_reason> parse(bytes message, const ipv6& around) noexcept {
    if (!acceptable(message, around) || !around.source().is_link_local()) return drop_reason::neighbour_malformed;
    const ndp_redirect m{message};
    if (m.destination().is_multicast()) return drop_reason::neighbour_malformed;
    if (!m.target().is_link_local() && m.target() != m.destination()) return drop_reason::neighbour_malformed;
    return m;
  }
  /// The better first hop; the destination itself when that is on the link.
  [[nodiscard]] constexpr ipv6_address target() const noexcept { return ipv6_address::load(at(8)); }
  /// The field of the header, in host byte order.
  [[nodiscard]] constexpr ipv6_address destination() const noexcept { return ipv6_address::load(at(24)); }

 private:
  using ndp_message::ndp_message;
};

namespace detail {
// Writes type, code 0, the word behind the checksum, and the checksum; options and addresses are there already.
constexpr void write_ndp(mutable_bytes whole, icmpv6_kind kind, std::uint32_t word,
                         const neighbours_of_header& around) noexcept {
  std::byte* p = whole.data();
  store_be32(p, std::uint32_t{kind.type} << 24);
  store_be32(p + 4, word);
  store_be16(p + 2, checksum(whole, std::uint64_t{around.pseudo_header} + 58 + whole.size()));
}
}  // namespace detail

// Messages to be written behind an `ipv6_header{.hop_limit = 255, ...}` and before their options.

/// A router solicitation to be written (RFC 4861 §4.1), in front of its options.
struct router_solicitation_header {
  /// What `build` asks of a header; see `header_value`. @{
  static constexpr std::uint8_t ip_protocol = 58;
  [[nodiscard]] static constexpr std::size_t size() noexcept { return 8; }
  constexpr void write(mutable_bytes whole, const neighbours_of_header& around) const noexcept {
    detail::write_ndp(whole, icmpv6::router_solicitation, 0, around);
  }
  /// @}
};

/// A router advertisement to be written (RFC 4861 §4.2), in front of its options.
struct router_advertisement_header {
  /// What `build` asks of a header; see `header_value`.
  static constexpr std::uint8_t ip_protocol = 58;

  std::uint8_t hop_limit = 64;  ///< for the hosts; 0: unspecified
  /// A field of the header, in host byte order. @{
  bool managed = false;
  bool other_configuration = false;
  router_preference preference = router_preference::medium;
  /// @}
  std::uint16_t router_lifetime = 1800;  ///< seconds; 0: no default router
  std::uint32_t reachable_time = 0;      ///< milliseconds; 0: unspecified
  std::uint32_t retransmit_timer = 0;    ///< milliseconds; 0: unspecified

  /// What `build` asks of a header; see `header_value`. @{
  [[nodiscard]] static constexpr std::size_t size() noexcept { return 16; }
  constexpr void write(mutable_bytes whole, const neighbours_of_header& around) const noexcept {
    store_be32(whole.data() + 8, reachable_time);
    store_be32(whole.data() + 12, retransmit_timer);
    const std::uint32_t flags =
        (managed ? 0x80u : 0u) | (other_configuration ? 0x40u : 0u) | static_cast<std::uint32_t>(preference) << 3;
    detail::write_ndp(whole, icmpv6::router_advertisement,
                      std::uint32_t{hop_limit} << 24 | flags << 16 | router_lifetime, around);
  }
  /// @}
};

/// A neighbour solicitation to be written (RFC 4861 §4.3), in front of its options.
struct neighbour_solicitation_header {
  /// What `build` asks of a header; see `header_value`.
  static constexpr std::uint8_t ip_protocol = 58;

  /// A field of the header, in host byte order.
  ipv6_address target{};

  /// What `build` asks of a header; see `header_value`. @{
  [[nodiscard]] static constexpr std::size_t size() noexcept { return 24; }
  constexpr void write(mutable_bytes whole, const neighbours_of_header& around) const noexcept {
    target.store(whole.data() + 8);
    detail::write_ndp(whole, icmpv6::neighbour_solicitation, 0, around);
  }
  /// @}
};

/// A neighbour advertisement to be written (RFC 4861 §4.4), in front of its options.
struct neighbour_advertisement_header {
  /// What `build` asks of a header; see `header_value`.
  static constexpr std::uint8_t ip_protocol = 58;

  /// A field of the header, in host byte order. @{
  ipv6_address target{};
  bool router = false;
  /// @}
  bool solicited = false;       ///< not to a multicast destination
  bool override_cached = true;  ///< not for anycast addresses and by proxies

  /// What `build` asks of a header; see `header_value`. @{
  [[nodiscard]] static constexpr std::size_t size() noexcept { return 24; }
  constexpr void write(mutable_bytes whole, const neighbours_of_header& around) const noexcept {
    target.store(whole.data() + 8);
    detail::write_ndp(whole, icmpv6::neighbour_advertisement,
                      (router ? 1u << 31 : 0u) | (solicited ? 1u << 30 : 0u) | (override_cached ? 1u << 29 : 0u),
                      around);
  }
  /// @}
};

/// A redirect to be written (RFC 4861 §4.5), in front of its options.
struct ndp_redirect_header {
  /// What `build` asks of a header; see `header_value`.
  static constexpr std::uint8_t ip_protocol = 58;

  /// A field of the header, in host byte order. @{
  ipv6_address target{};
  ipv6_address destination{};
  /// @}

  /// What `build` asks of a header; see `header_value`. @{
  [[nodiscard]] static constexpr std::size_t size() noexcept { return 40; }
  constexpr void write(mutable_bytes whole, const neighbours_of_header& around) const noexcept {
    target.store(whole.data() + 8);
    destination.store(whole.data() + 24);
    detail::write_ndp(whole, icmpv6::redirect, 0, around);
  }
  /// @}
};

// One line each in tcpdump's manner, options last.
/// The message in tcpdump's manner.
constexpr void print(text_writer& out, const router_solicitation& m) noexcept {
  print(out << "ICMP6, router solicitation", ndp_options{m.options()});
}
/// The message in tcpdump's manner.
constexpr void print(text_writer& out, const router_advertisement& m) noexcept {
  out << "ICMP6, router advertisement, hop limit " << m.hop_limit() << (m.is_managed() ? ", managed" : "")
      << (m.is_other_configuration() ? ", other stateful" : "") << ", lifetime " << m.router_lifetime() << 's';
  print(out, ndp_options{m.options()});
}
/// The message in tcpdump's manner.
constexpr void print(text_writer& out, const neighbour_solicitation& m) noexcept {
  print(out << "ICMP6, neighbor solicitation, who has ", m.target());
  print(out, ndp_options{m.options()});
}
/// The message in tcpdump's manner.
constexpr void print(text_writer& out, const neighbour_advertisement& m) noexcept {
  print(out << "ICMP6, neighbor advertisement, tgt is ", m.target());
  out << (m.is_router() ? ", router" : "") << (m.is_solicited() ? ", solicited" : "")
      << (m.is_override() ? ", override" : "");
  print(out, ndp_options{m.options()});
}
/// The message in tcpdump's manner.
constexpr void print(text_writer& out, const ndp_redirect& m) noexcept {
  print(out << "ICMP6, redirect, ", m.destination());
  print(out << " to ", m.target());
  print(out, ndp_options{m.options()});
}

}  // namespace runnel

#endif
