// SPDX-License-Identifier: MIT
// IPv6 extension headers: a bounded walker over their chain, the fragment and routing headers, the options inside
// hop-by-hop and destination headers, and builders. RFC 8200 §4, RFC 4302 §2.2, RFC 7045, RFC 7112, RFC 2711.
#ifndef RUNNEL_WIRE_IPV6_EXTENSION_HPP
#define RUNNEL_WIRE_IPV6_EXTENSION_HPP

#include <cstddef>      // byte, size_t
#include <cstdint>      // uint8_t, uint16_t, uint32_t
#include <type_traits>  // is_const_v

#include <runnel/base/bytes.hpp>
#include <runnel/base/endian.hpp>
#include <runnel/base/result.hpp>
#include <runnel/base/text.hpp>
#include <runnel/packet/drop_reason.hpp>
#include <runnel/wire/build.hpp>
#include <runnel/wire/checksum.hpp>
#include <runnel/wire/field.hpp>
#include <runnel/wire/ipv6.hpp>

namespace runnel {

/// What a Next Header field says of an extension header.
struct ipv6_extension {
  static constexpr std::uint8_t hop_by_hop = 0;  ///< directly behind the IPv6 header or not at all
  /// A number of the next-header field, as IANA lists it. @{
  static constexpr std::uint8_t routing = 43;
  static constexpr std::uint8_t fragment = 44;
  /// @}
  static constexpr std::uint8_t authentication = 51;  ///< skipped, not checked
  static constexpr std::uint8_t no_next_header = 59;  ///< nothing follows (no extension header)
  /// A number of the next-header field, as IANA lists it.
  static constexpr std::uint8_t destination_options = 60;
};

/// A view of a fragment header and the fragment behind it. `ipv6_fragment` reads, `mut<ipv6_fragment>` also writes.
template <class Byte>
class basic_ipv6_fragment {
 public:
  /// What the library asks of a header view; see `header_view`. @{
  using mutable_view = basic_ipv6_fragment<std::byte>;
  static constexpr header in_header = header::ipv6_fragment;
  static constexpr std::size_t min_size = 8;
  /// @}

  /// A field, for match expressions. @{
  static constexpr field<header::ipv6_fragment, 0, 8, std::uint8_t> nexthdr{"frag nexthdr"};
  static constexpr field<header::ipv6_fragment, 16, 13, std::uint16_t> frag_off{"frag frag-off"};
  static constexpr field<header::ipv6_fragment, 31, 1, std::uint8_t> mf{"frag more-fragments"};
  static constexpr field<header::ipv6_fragment, 32, 32, std::uint32_t> id{"frag id"};
  /// @}

  /// Checks that the header is there. What else a fragment has to satisfy is the reassembly's to look at.
  [[nodiscard]] static constexpr result<basic_ipv6_fragment, drop_reason> parse(byte_window<Byte> b) noexcept {
    if (b.size() < min_size) return drop_reason::ipv6_extension;
    return basic_ipv6_fragment{b.data(), b.size()};
  }
  /// A view over bytes that were checked before: at least `min_size` of them. Checks nothing.
  [[nodiscard]] static constexpr basic_ipv6_fragment unchecked(byte_window<Byte> b) noexcept {
    return {b.data(), b.size()};
  }
  /// A view that may write can be read through as well.
  constexpr operator basic_ipv6_fragment<const std::byte>() const noexcept
    requires(!std::is_const_v<Byte>)
  {
    return basic_ipv6_fragment<const Byte>::unchecked({p_, n_});
  }

  /// What the reassembled payload begins with.
  [[nodiscard]] constexpr std::uint8_t next_header() const noexcept { return load_u8(p_); }
  /// Where this fragment belongs in the fragmentable part, in bytes.
  [[nodiscard]] constexpr std::size_t fragment_offset() const noexcept { return load_be16(p_ + 2) & 0xfff8u; }
  /// Whether the header says so.
  [[nodiscard]] constexpr bool more_fragments() const noexcept { return (load_u8(p_ + 3) & 1u) != 0; }
  /// The field of the header, in host byte order.
  [[nodiscard]] constexpr std::uint32_t identification() const noexcept { return load_be32(p_ + 4); }
  /// Whether it is a whole datagram all the same, to be handled apart from other fragments (RFC 6946).
  [[nodiscard]] constexpr bool is_atomic() const noexcept { return (load_be16(p_ + 2) & 0xfff9u) == 0; }
  /// What follows the header.
  [[nodiscard]] constexpr byte_window<Byte> payload() const noexcept {
    return byte_window<Byte>{p_, n_}.from(min_size);
  }

  /// Writes the field. @{
  constexpr void next_header(std::uint8_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_u8(p_, v);
  }
  constexpr void identification(std::uint32_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_be32(p_ + 4, v);
  }
  /// @}

 private:
  constexpr basic_ipv6_fragment(Byte* p, std::size_t n) noexcept : p_(p), n_(n) {}

  Byte* p_;
  std::size_t n_;
};

/// The view to read; `mut<>` of it also writes.
using ipv6_fragment = basic_ipv6_fragment<const std::byte>;

/// Walks the chain of extension headers: `for (ipv6_extensions e(datagram); e; e.next()) use(e.kind(), e.data());`
/// Ends at the first header that is none of those in `ipv6_extension`: then `has_upper_layer()`, `protocol()` and
/// `rest()` tell what it is. Ends also behind a fragment header that is not the first fragment's, for what follows
/// are not headers; and at a fault: a header that is cut off, hop-by-hop options at a wrong place, a second fragment
/// header, or more than `max_headers` of them (RFC 8200 lets a node set limits, RFC 8504 §5.3).
class ipv6_extensions {
 public:
  static constexpr unsigned max_headers = 8;  ///< enough for every chain that RFC 8200 §4.1 recommends

  /// Walks what follows the fixed header.
  constexpr explicit ipv6_extensions(const ipv6& datagram) noexcept
      : ipv6_extensions(datagram.next_header(), datagram.payload()) {}
  /// `first` is the IPv6 header's Next Header, `payload` what follows it.
  constexpr ipv6_extensions(std::uint8_t first, bytes payload) noexcept : rest_(payload), protocol_(first) { look(); }

  /// Whether there is an extension header at the current place.
  [[nodiscard]] constexpr explicit operator bool() const noexcept { return size_ != 0; }
  /// Which one: a constant of `ipv6_extension`.
  [[nodiscard]] constexpr std::uint8_t kind() const noexcept { return protocol_; }
  /// The extension header, from its Next Header octet on, whole.
  [[nodiscard]] constexpr bytes data() const noexcept { return rest_.first(size_); }
  /// Goes to the next header.
  constexpr void next() noexcept {
    const bool ends = protocol_ == ipv6_extension::fragment && !first_fragment_;
    protocol_ = load_u8(rest_.data());
    named_at_ = offset();
    before_ += size_;
    rest_ = rest_.from(size_);
    size_ = 0;
    if (ends) later_fragment_ = true;
    else look();
  }

  /// Whether the walk ended at a fault (`drop_reason::ipv6_extension`).
  [[nodiscard]] constexpr bool malformed() const noexcept { return malformed_; }
  /// Whether the walk is over and `rest()` begins with a header of `protocol()`.
  [[nodiscard]] constexpr bool has_upper_layer() const noexcept {
    return size_ == 0 && !malformed_ && !later_fragment_ && protocol_ != ipv6_extension::no_next_header;
  }
  /// What lies at the current place, as the header before it says: at the end the transport. In a later fragment what
  /// the first fragment begins with.
  [[nodiscard]] constexpr std::uint8_t protocol() const noexcept { return protocol_; }
  /// Everything from the current place on.
  [[nodiscard]] constexpr bytes rest() const noexcept { return rest_; }
  /// Where the current place is, in bytes from the beginning of the IPv6 header.
  [[nodiscard]] constexpr std::size_t offset() const noexcept { return before_; }
  /// Where the Next Header octet lies that names the current place, counted alike: what an ICMPv6 parameter problem
  /// "unrecognized next header" points at.
  [[nodiscard]] constexpr std::size_t named_at() const noexcept { return named_at_; }
  /// Whether a fragment header was met, and was not an atomic one (RFC 6946).
  [[nodiscard]] constexpr bool is_fragment() const noexcept { return fragment_; }

 private:
  constexpr void look() noexcept {
    const unsigned number = protocol_;
    if (number != ipv6_extension::hop_by_hop && number != ipv6_extension::routing &&
        number != ipv6_extension::fragment && number != ipv6_extension::authentication &&
        number != ipv6_extension::destination_options)
      return;
    malformed_ = true;
    if (count_ == max_headers || (number == ipv6_extension::hop_by_hop && count_ != 0)) return;
    if (rest_.size() < 8) return;
    std::size_t size = 8;
    if (number == ipv6_extension::fragment) {
      if (seen_fragment_) return;
      const unsigned offset_and_more = load_be16(rest_.data() + 2);
      seen_fragment_ = true;
      fragment_ = (offset_and_more & 0xfff9u) != 0;
      first_fragment_ = (offset_and_more & 0xfff8u) == 0;
    } else if (number == ipv6_extension::authentication) {
      size = (load_u8(rest_.data() + 1) + std::size_t{2}) * 4;
      if (size < 12) return;
    } else {
      size = (load_u8(rest_.data() + 1) + std::size_t{1}) * 8;
    }
    if (size > rest_.size()) return;
    malformed_ = false;
    size_ = size;
    ++count_;
  }

  bytes rest_;
  std::size_t size_ = 0;
  std::size_t before_ = ipv6::min_size;
  std::size_t named_at_ = 6;
  std::uint8_t protocol_;
  std::uint8_t count_ = 0;
  bool malformed_ = false;
  bool seen_fragment_ = false;
  bool fragment_ = false;
  bool first_fragment_ = false;
  bool later_fragment_ = false;
};

/// A routing header, given as `ipv6_extensions::data()`. RFC 8200 §4.4: a node that does not know the type ignores the
/// header when no segments are left, and else discards the packet and points at the type. Type 0 is never obeyed
/// (RFC 5095).
class ipv6_routing {
 public:
  /// Checks the length of the header against its bytes.
  [[nodiscard]] static constexpr result<ipv6_routing, drop_reason> parse(bytes header) noexcept {
    if (header.size() < 8) return drop_reason::ipv6_extension;
    return ipv6_routing{header};
  }
  /// The field of the header, in host byte order. @{
  [[nodiscard]] constexpr std::uint8_t routing_type() const noexcept { return load_u8(header_.data() + 2); }
  [[nodiscard]] constexpr std::uint8_t segments_left() const noexcept { return load_u8(header_.data() + 3); }
  /// @}
  /// What the type defines, behind the four octets common to all.
  [[nodiscard]] constexpr bytes data() const noexcept { return header_.from(4); }

 private:
  constexpr explicit ipv6_routing(bytes header) noexcept : header_(header) {}
  bytes header_;
};

/// What a node does with an option that it does not know (RFC 8200 §4.2): the two highest bits of its type.
enum class ipv6_option_action : std::uint8_t {
  skip = 0,
  discard_silently = 1,
  discard_and_report = 2,  ///< parameter problem, code 2, also to multicast destinations
  discard_and_report_unless_multicast = 3,
};

/// Walks the options of a hop-by-hop or destination options header, given as `ipv6_extensions::data()`. Padding is
/// stepped over. Ends at the last byte, or at an option whose length cannot be, which `malformed()` tells.
class ipv6_options {
 public:
  static constexpr std::uint8_t router_alert = 5;  ///< RFC 2711
  static constexpr std::uint8_t jumbo = 0xc2;      ///< RFC 2675

  /// Walks the options of a hop-by-hop or destination options header.
  constexpr explicit ipv6_options(bytes header) noexcept : rest_(header.from(2)), whole_(header.size()) { look(); }
  /// Whether there is an option at the current place.
  [[nodiscard]] constexpr explicit operator bool() const noexcept { return size_ != 0; }
  /// The type octet of the option that it stands at.
  [[nodiscard]] constexpr std::uint8_t kind() const noexcept { return load_u8(rest_.data()); }
  /// What its type asks of a node that does not know it.
  [[nodiscard]] constexpr ipv6_option_action action() const noexcept {
    return static_cast<ipv6_option_action>(kind() >> 6);
  }
  /// Whether routers may change the data on the way.
  [[nodiscard]] constexpr bool changes_en_route() const noexcept { return (kind() & 0x20u) != 0; }
  /// The option's data, without type and length octets.
  [[nodiscard]] constexpr bytes data() const noexcept { return rest_.first(size_).from(2); }
  /// Where the option's type octet lies in the extension header: what a parameter problem points at.
  [[nodiscard]] constexpr std::size_t offset() const noexcept { return whole_ - rest_.size(); }
  /// Goes to the next option.
  constexpr void next() noexcept {
    rest_ = rest_.from(size_);
    look();
  }
  /// Whether the walk ended at a fault.
  [[nodiscard]] constexpr bool malformed() const noexcept { return malformed_; }

 private:
  constexpr void look() noexcept {
    for (size_ = 0; !rest_.empty();) {
      const unsigned type = kind();
      if (type == 0) {  // Pad1, the only option without a length
        rest_ = rest_.from(1);
        continue;
      }
      const std::size_t size = rest_.size() < 2 ? rest_.size() + 1 : load_u8(rest_.data() + 1) + std::size_t{2};
      if (size > rest_.size()) {
        malformed_ = true;
        return;
      }
      if (type != 1) {  // PadN is no option either
        size_ = size;
        return;
      }
      rest_ = rest_.from(size);
    }
  }

  bytes rest_;
  std::size_t whole_;
  std::size_t size_ = 0;
  bool malformed_ = false;
};

/// A fragment header to be written between the IPv6 header and a fragment. What the fragment is part of names
/// `next_header`; a transport checksum covers the whole datagram and is the caller's to have right before.
struct ipv6_fragment_header {
  /// What `build` asks of a header; see `header_value`. @{
  static constexpr std::uint8_t ip_protocol = ipv6_extension::fragment;
  static constexpr bool is_extension = true;
  /// @}

  std::size_t fragment_offset = 0;  ///< in bytes, a multiple of 8, at most 65528
  /// A field of the header, in host byte order. @{
  bool more_fragments = false;
  std::uint32_t identification = 0;
  /// @}
  std::uint8_t next_header = 0;  ///< 0: that of the header inside

  /// What `build` asks of a header; see `header_value`. @{
  [[nodiscard]] static constexpr std::size_t size() noexcept { return 8; }
  constexpr void write(mutable_bytes whole, const neighbours_of_header& around) const noexcept {
    RUNNEL_ASSERT(fragment_offset % 8 == 0 && fragment_offset <= 0xfff8);
    std::byte* p = whole.data();
    store_u8(p, next_header != 0 ? next_header : around.ip_protocol);
    store_u8(p + 1, 0);
    store_be16(p + 2, static_cast<std::uint16_t>(fragment_offset | (more_fragments ? 1u : 0u)));
    store_be32(p + 4, identification);
  }
  /// @}
};

/// A header of options to be written: see the two names below.
template <std::uint8_t Number>
struct ipv6_options_header {
  /// What `build` asks of a header; see `header_value`. @{
  static constexpr std::uint8_t ip_protocol = Number;
  static constexpr bool is_extension = true;
  /// @}

  bytes options{};               ///< encoded, at most 2046 bytes; padding to a multiple of 8 is added
  std::uint8_t next_header = 0;  ///< 0: that of the header inside

  /// What `build` asks of a header; see `header_value`. @{
  [[nodiscard]] constexpr std::size_t size() const noexcept {
    RUNNEL_ASSERT(options.size() <= 2046);
    return (2 + options.size() + 7) / 8 * 8;
  }
  constexpr void write(mutable_bytes whole, const neighbours_of_header& around) const noexcept {
    std::byte* p = whole.data();
    const std::size_t n = size();
    store_u8(p, next_header != 0 ? next_header : around.ip_protocol);
    store_u8(p + 1, static_cast<std::uint8_t>(n / 8 - 1));
    copy_bytes(p + 2, options.data(), options.size());
    const std::size_t padding = n - 2 - options.size();
    std::byte* pad = p + 2 + options.size();
    zero_bytes(pad, padding);  // one byte of it is Pad1
    if (padding >= 2) {
      store_u8(pad, 1);
      store_u8(pad + 1, static_cast<std::uint8_t>(padding - 2));
    }
  }
  /// @}
};
/// `write_headers(packet, ipv6_header{.hop_limit = 1, ...}, ipv6_hop_by_hop_header{.options = mld_router_alert}, ...)`
using ipv6_hop_by_hop_header = ipv6_options_header<ipv6_extension::hop_by_hop>;
/// A destination options header to be written.
using ipv6_destination_options_header = ipv6_options_header<ipv6_extension::destination_options>;

/// The router alert option with the value for multicast listener discovery (RFC 2711 §2.1, RFC 3810 §5).
inline constexpr std::byte mld_router_alert[4] = {std::byte{ipv6_options::router_alert}, std::byte{2}, std::byte{0},
                                                  std::byte{0}};

/// One line in tcpdump's manner: `frag (0x1234abcd:1448|1448)`, offset and length in bytes, `+` when more follow.
template <class Byte>
constexpr void print(text_writer& out, const basic_ipv6_fragment<Byte>& v) noexcept {
  (out << "frag (0x").hex(v.identification(), 8)
      << ':' << std::uint64_t{v.fragment_offset()} << '|' << std::uint64_t{v.payload().size()} << ')';
  if (v.more_fragments()) out << '+';
}
/// The chain in one line, what follows it last: `hbh > dstopt > 58`; a fault as `[malformed]`.
constexpr void print(text_writer& out, ipv6_extensions e) noexcept {
  for (; e; e.next()) {
    switch (e.kind()) {
      case ipv6_extension::hop_by_hop: out << "hbh"; break;
      case ipv6_extension::routing: out << "rt"; break;
      case ipv6_extension::authentication: out << "ah"; break;
      case ipv6_extension::destination_options: out << "dstopt"; break;
      default: print(out, ipv6_fragment::unchecked(e.rest()));
    }
    out << " > ";
  }
  if (e.malformed()) out << "[malformed]";
  else out << e.protocol();
}

}  // namespace runnel

#endif
