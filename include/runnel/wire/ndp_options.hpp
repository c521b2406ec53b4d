// SPDX-License-Identifier: MIT
// The options of neighbour discovery messages: as values that are written like headers, and a walker that reads them.
// RFC 4861 §4.6, RFC 4191, RFC 7527, RFC 8106.
#ifndef RUNNEL_WIRE_NDP_OPTIONS_HPP
#define RUNNEL_WIRE_NDP_OPTIONS_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint32_t, uint64_t

#include <runnel/base/bytes.hpp>
#include <runnel/base/endian.hpp>
#include <runnel/base/result.hpp>
#include <runnel/base/text.hpp>
#include <runnel/config.hpp>
#include <runnel/packet/drop_reason.hpp>
#include <runnel/wire/address.hpp>
#include <runnel/wire/build.hpp>

namespace runnel {

/// How a router or a route ranks among others (RFC 4191 §2.1); two bits on the wire.
enum class router_preference : std::uint8_t { medium = 0, high = 1, reserved = 2, low = 3 };

/// The type octet of a neighbour discovery option.
enum class ndp_option : std::uint8_t {
  source_link_address = 1,
  target_link_address = 2,
  prefix_information = 3,
  redirected_header = 4,
  mtu = 5,
  nonce = 14,              ///< RFC 3971 §5.3.2; tells one's own probes that came back (RFC 7527)
  route_information = 24,  ///< RFC 4191 §2.3
  recursive_dns = 25,      ///< RFC 8106 §5.1
  dns_search_list = 31,    ///< RFC 8106 §5.2; its names are not decoded here
};

namespace detail {
// What lies behind the first `length` bits of an address is nobody's business.
[[nodiscard]] constexpr ipv6_address first_bits(const ipv6_address& a, unsigned length) noexcept {
  const auto mask = [](unsigned n) { return n == 0 ? 0 : n >= 64 ? ~std::uint64_t{0} : ~(~std::uint64_t{0} >> n); };
  return {a.high() & mask(length), a.low() & mask(length < 64 ? 0 : length - 64)};
}
constexpr void write_option_head(mutable_bytes whole, ndp_option kind, std::size_t size) noexcept {
  zero_bytes(whole.data(), size);
  store_u8(whole.data(), static_cast<std::uint8_t>(kind));
  store_u8(whole.data() + 1, static_cast<std::uint8_t>(size / 8));
}
}  // namespace detail

// Options as values. Those that can be sent are written behind their message like headers:
//
//     write_headers(b, ipv6_header{...}, neighbour_solicitation_header{.target = t}, ndp_source_link_address{mac});

/// The sender's link-layer address (§4.6.1). Not to be sent from the unspecified address.
struct ndp_source_link_address {
  /// A field of the header, in host byte order.
  mac_address address{};
  /// What `build` asks of a header; see `header_value`. @{
  [[nodiscard]] static constexpr std::size_t size() noexcept { return 8; }
  constexpr void write(mutable_bytes whole, const neighbours_of_header&) const noexcept {
    detail::write_option_head(whole, ndp_option::source_link_address, size());
    address.store(whole.data() + 2);
  }
  /// @}
};
/// The target's link-layer address (§4.6.1).
struct ndp_target_link_address {
  /// A field of the header, in host byte order.
  mac_address address{};
  /// What `build` asks of a header; see `header_value`. @{
  [[nodiscard]] static constexpr std::size_t size() noexcept { return 8; }
  constexpr void write(mutable_bytes whole, const neighbours_of_header&) const noexcept {
    detail::write_option_head(whole, ndp_option::target_link_address, size());
    address.store(whole.data() + 2);
  }
  /// @}
};
/// A prefix that is on the link, or from which addresses are made, or both (§4.6.2). Lifetimes in seconds, all ones:
/// for ever.
struct ndp_prefix {
  ipv6_address prefix{};  ///< bits behind the length are zero when it was read
  /// As in the option; lifetimes in seconds. @{
  std::uint8_t prefix_length = 64;
  bool on_link = true;
  bool autonomous = true;
  std::uint32_t valid_lifetime = 2'592'000;
  std::uint32_t preferred_lifetime = 604'800;
  /// @}

  /// What `build` asks of a header; see `header_value`. @{
  [[nodiscard]] static constexpr std::size_t size() noexcept { return 32; }
  constexpr void write(mutable_bytes whole, const neighbours_of_header&) const noexcept {
    std::byte* p = whole.data();
    detail::write_option_head(whole, ndp_option::prefix_information, size());
    store_u8(p + 2, prefix_length);
    store_u8(p + 3, static_cast<std::uint8_t>((on_link ? 0x80u : 0u) | (autonomous ? 0x40u : 0u)));
    store_be32(p + 4, valid_lifetime);
    store_be32(p + 8, preferred_lifetime);
    detail::first_bits(prefix, prefix_length).store(p + 16);
  }
  /// @}
};
/// The MTU of the link in bytes (§4.6.4).
struct ndp_mtu {
  /// In bytes.
  std::uint32_t mtu = 1500;
  /// What `build` asks of a header; see `header_value`. @{
  [[nodiscard]] static constexpr std::size_t size() noexcept { return 8; }
  constexpr void write(mutable_bytes whole, const neighbours_of_header&) const noexcept {
    detail::write_option_head(whole, ndp_option::mtu, size());
    store_be32(whole.data() + 4, mtu);
  }
  /// @}
};
/// The head of a redirected datagram (§4.6.3): last of the headers, its payload being the beginning of that datagram,
/// cut to a multiple of 8 bytes.
struct ndp_redirected {
  /// What `build` asks of a header; see `header_value`. @{
  [[nodiscard]] static constexpr std::size_t size() noexcept { return 8; }
  constexpr void write(mutable_bytes whole, const neighbours_of_header&) const noexcept {
    RUNNEL_ASSERT(whole.size() % 8 == 0 && whole.size() <= std::size_t{255} * 8);
    detail::write_option_head(whole, ndp_option::redirected_header, size());
    store_u8(whole.data() + 1, static_cast<std::uint8_t>(whole.size() / 8));
  }
  /// @}
};
/// A route through the router that advertises it (RFC 4191 §2.3). Lifetime in seconds, all ones: for ever.
struct ndp_route {
  ipv6_address prefix{};  ///< bits behind the length are zero when it was read
  /// As in the option; the lifetime in seconds. @{
  std::uint8_t prefix_length = 0;
  router_preference preference = router_preference::medium;
  std::uint32_t lifetime = 1800;
  /// @}

  /// What `build` asks of a header; see `header_value`. @{
  [[nodiscard]] constexpr std::size_t size() const noexcept {
    return prefix_length == 0 ? 8u : prefix_length <= 64 ? 16u : 24u;
  }
  constexpr void write(mutable_bytes whole, const neighbours_of_header&) const noexcept {
    std::byte* p = whole.data();
    detail::write_option_head(whole, ndp_option::route_information, size());
    store_u8(p + 2, prefix_length);
    store_u8(p + 3, static_cast<std::uint8_t>(static_cast<unsigned>(preference) << 3));
    store_be32(p + 4, lifetime);
    const ipv6_address a = detail::first_bits(prefix, prefix_length);
    if (size() >= 16) store_be64(p + 8, a.high());
    if (size() >= 24) store_be64(p + 16, a.low());
  }
  /// @}
};
/// Resolvers (RFC 8106 §5.1): `count` addresses at `servers`, at least one. Lifetime in seconds, all ones: for ever.
struct ndp_recursive_dns {
  /// The servers, `count` of them; must outlive this value. @{
  const ipv6_address* servers = nullptr;
  std::size_t count = 0;
  /// @}
  /// In seconds.
  std::uint32_t lifetime = 1800;

  /// What `build` asks of a header; see `header_value`. @{
  [[nodiscard]] constexpr std::size_t size() const noexcept { return 8 + 16 * count; }
  constexpr void write(mutable_bytes whole, const neighbours_of_header&) const noexcept {
    RUNNEL_ASSERT(count >= 1 && count <= 127);
    detail::write_option_head(whole, ndp_option::recursive_dns, size());
    store_be32(whole.data() + 4, lifetime);
    for (std::size_t i = 0; i < count; ++i) servers[i].store(whole.data() + 8 + 16 * i);
  }
  /// @}
};

/// Walks the options of a neighbour discovery message: `for (ndp_options o(m.options()); o; o.next()) ...`. Ends at
/// the last byte, or at a length of zero or beyond the end, which `malformed()` tells; the messages below are refused
/// then, so their options never are. Unknown kinds are stepped over. The typed accessors look at the current option
/// only, and fail (or say 0) for another kind, and for a length that its RFC does not allow.
class ndp_options {
 public:
  /// Walks the options behind a message.
  constexpr explicit ndp_options(bytes options) noexcept : rest_(options) { look(); }
  /// Whether there is an option at the current place.
  [[nodiscard]] constexpr explicit operator bool() const noexcept { return size_ != 0; }
  /// Which option it stands at.
  [[nodiscard]] constexpr ndp_option kind() const noexcept { return static_cast<ndp_option>(load_u8(rest_.data())); }
  /// The whole option, type and length octets included: a multiple of 8 bytes.
  [[nodiscard]] constexpr bytes data() const noexcept { return rest_.first(size_); }
  /// Goes to the next option.
  constexpr void next() noexcept {
    rest_ = rest_.from(size_);
    look();
  }
  /// Whether an option runs over the end; the walk ends there.
  [[nodiscard]] constexpr bool malformed() const noexcept { return malformed_; }

  /// Of a source or target link-layer address option of a link with 48-bit addresses.
  [[nodiscard]] constexpr result<mac_address, drop_reason> link_address() const noexcept {
    if ((kind() != ndp_option::source_link_address && kind() != ndp_option::target_link_address) || size_ != 8)
      return drop_reason::neighbour_malformed;
    return mac_address::load(at(2));
  }
  /// The prefix information option that it stands at.
  [[nodiscard]] constexpr result<ndp_prefix, drop_reason> prefix() const noexcept {
    if (kind() != ndp_option::prefix_information || size_ != 32 || load_u8(at(2)) > 128)
      return drop_reason::neighbour_malformed;
    const std::uint8_t length = load_u8(at(2));
    return ndp_prefix{.prefix = detail::first_bits(ipv6_address::load(at(16)), length),
                      .prefix_length = length,
                      .on_link = (load_u8(at(3)) & 0x80u) != 0,
                      .autonomous = (load_u8(at(3)) & 0x40u) != 0,
                      .valid_lifetime = load_be32(at(4)),
                      .preferred_lifetime = load_be32(at(8))};
  }
  /// The beginning of the datagram that a redirect is about, padding included; empty when this is not that option.
  [[nodiscard]] constexpr bytes redirected() const noexcept {
    return kind() == ndp_option::redirected_header ? data().from(8) : bytes{};
  }
  /// In bytes; 0 when this is not that option. Below 1280 it must not be believed.
  [[nodiscard]] constexpr std::uint32_t mtu() const noexcept {
    return kind() == ndp_option::mtu && size_ == 8 ? load_be32(at(4)) : 0;
  }
  /// A route; fails also when it shall be ignored for its preference (RFC 4191 §2.3).
  [[nodiscard]] constexpr result<ndp_route, drop_reason> route() const noexcept {
    if (kind() != ndp_option::route_information || size_ > 24) return drop_reason::neighbour_malformed;
    ndp_route r;
    r.prefix_length = load_u8(at(2));
    r.preference = static_cast<router_preference>(load_u8(at(3)) >> 3 & 3u);
    r.lifetime = load_be32(at(4));
    if (r.prefix_length > 128 || r.size() > size_ || r.preference == router_preference::reserved)
      return drop_reason::neighbour_malformed;
    r.prefix =
        detail::first_bits({size_ >= 16 ? load_be64(at(8)) : 0, size_ >= 24 ? load_be64(at(16)) : 0}, r.prefix_length);
    return r;
  }
  /// How many resolvers a recursive DNS option names; 0 when this is not one.
  [[nodiscard]] constexpr std::size_t dns_count() const noexcept {
    return kind() == ndp_option::recursive_dns && size_ >= 24 && size_ % 16 == 8 ? (size_ - 8) / 16 : 0;
  }
  /// Resolver `i`; unspecified beyond `dns_count()`.
  [[nodiscard]] constexpr ipv6_address dns_server(std::size_t i) const noexcept {
    return i < dns_count() ? ipv6_address::load(at(8 + 16 * i)) : ipv6_address{};
  }
  /// Of a recursive DNS option, in seconds.
  [[nodiscard]] constexpr std::uint32_t dns_lifetime() const noexcept {
    return dns_count() != 0 ? load_be32(at(4)) : 0;
  }

 private:
  [[nodiscard]] constexpr const std::byte* at(std::size_t i) const noexcept { return rest_.data() + i; }
  constexpr void look() noexcept {
    size_ = 0;
    if (rest_.empty()) return;
    const std::size_t size = rest_.size() < 8 ? std::size_t{0} : load_u8(at(1)) * std::size_t{8};
    if (size == 0 || size > rest_.size()) malformed_ = true;
    else size_ = size;
  }

  bytes rest_;
  std::size_t size_ = 0;
  bool malformed_ = false;
};

/// Options in short: `, slla 02:00:00:00:00:01, prefix 2001:db8::/64 LA, mtu 1500`.
constexpr void print(text_writer& out, ndp_options o) noexcept {
  for (; o; o.next()) {
    out << ", ";
    if (const auto address = o.link_address()) {
      print(out << (o.kind() == ndp_option::source_link_address ? "slla " : "tlla "), *address);
    } else if (const auto p = o.prefix()) {
      print(out << "prefix ", p->prefix);
      out << '/' << p->prefix_length << ' ' << (p->on_link ? "L" : "") << (p->autonomous ? "A" : "");
    } else if (const auto r = o.route()) {
      print(out << "route ", r->prefix);
      out << '/' << r->prefix_length;
    } else if (o.mtu() != 0) {
      out << "mtu " << o.mtu();
    } else if (o.dns_count() != 0) {
      out << "rdnss";
      for (std::size_t i = 0; i < o.dns_count(); ++i) print(out << ' ', o.dns_server(i));
    } else if (o.kind() == ndp_option::redirected_header) {
      out << "redirected " << std::uint64_t{o.redirected().size()};
    } else if (o.kind() == ndp_option::nonce) {
      out << "nonce";
    } else {
      out << "option " << static_cast<std::uint8_t>(o.kind());
    }
  }
  if (o.malformed()) out << ", [bad option]";
}

}  // namespace runnel

#endif
