// SPDX-License-Identifier: MIT
// The classic capture file: its header, its records, and the numbers of link types that both capture formats use.
// draft-ietf-opsawg-pcap, https://www.tcpdump.org/linktypes.html
#ifndef RUNNEL_DEVICE_PCAP_FORMAT_HPP
#define RUNNEL_DEVICE_PCAP_FORMAT_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint16_t, uint32_t

#include <runnel/base/bytes.hpp>
#include <runnel/base/endian.hpp>
#include <runnel/packet/layers.hpp>

namespace runnel {

/// The longest packet that captures hold, in bytes: libpcap's MAXIMUM_SNAPLEN. A record that claims to be longer is
/// taken for damage.
inline constexpr std::uint32_t max_captured_length = 262'144;

/// How to read a packet of the link type that capture files call `linktype` (LINKTYPE_ETHERNET is 1). `unknown` for
/// the many that this library does not read.
[[nodiscard]] constexpr link_type link_from_linktype(std::uint32_t linktype) noexcept {
  switch (linktype) {
    case 1: return link_type::ethernet;
    case 101:  // LINKTYPE_RAW; 12 and 14 are its platform dependent ancestors, DLT_RAW
    case 12:
    case 14:
    case 228:  // LINKTYPE_IPV4
    case 229:  // LINKTYPE_IPV6
      return link_type::raw_ip;
    case 0:    // LINKTYPE_NULL
    case 108:  // LINKTYPE_LOOP
      return link_type::null_loop;
    case 113: return link_type::linux_sll;
    case 276: return link_type::linux_sll2;
    default: return link_type::unknown;
  }
}

/// The number under which capture files know a link type; LINKTYPE_USER0 (147) for `unknown`.
[[nodiscard]] constexpr std::uint16_t linktype_of(link_type link) noexcept {
  switch (link) {
    case link_type::ethernet: return 1;
    case link_type::raw_ip: return 101;
    case link_type::null_loop: return 0;
    case link_type::linux_sll: return 113;
    case link_type::linux_sll2: return 276;
    case link_type::unknown: break;
  }
  return 147;
}

namespace detail {

/// Loads from a file whose bytes are in host order, or swapped.
template <bool Swapped>
[[nodiscard]] RUNNEL_INLINE constexpr std::uint32_t file_u32(const std::byte* p) noexcept {
  const auto v = load<std::uint32_t>(p);
  return Swapped ? byte_swap(v) : v;
}
template <bool Swapped>
[[nodiscard]] RUNNEL_INLINE constexpr std::uint16_t file_u16(const std::byte* p) noexcept {
  const auto v = load<std::uint16_t>(p);
  return Swapped ? byte_swap(v) : v;
}

}  // namespace detail

/// The file header of a classic capture.
///
///     magic u32 | major u16 | minor u16 | reserved u32 | reserved u32 | snap length u32 | FCS and link type u32
struct pcap_file_header {
  /// Bytes of the header.
  static constexpr std::size_t size = 24;
  /// The first four bytes of a file, by the resolution of its timestamps. @{
  static constexpr std::uint32_t magic_microseconds = 0xa1b2c3d4;
  static constexpr std::uint32_t magic_nanoseconds = 0xa1b23c4d;
  /// @}

  bool swapped = false;                             ///< the file is not in this host's byte order
  bool nanoseconds = true;                          ///< the fraction of a second counts nanoseconds, else microseconds
  std::uint32_t snap_length = max_captured_length;  ///< packets were cut to this many bytes
  std::uint32_t linktype = 1;                       ///< see `link_from_linktype`

  /// Whether `b` begins with a magic number of this format, in either byte order. Looks at four bytes.
  [[nodiscard]] static constexpr bool recognise(bytes b) noexcept {
    if (b.size() < 4) return false;
    const auto v = detail::load<std::uint32_t>(b.data());
    return is_magic(v) || is_magic(byte_swap(v));
  }
  /// Reads the header from `b`, which `recognise` said yes to, of at least `size` bytes. False when it is of a
  /// version other than 2.x.
  [[nodiscard]] constexpr bool read(bytes b) noexcept {
    RUNNEL_ASSERT(b.size() >= size);
    swapped = !is_magic(detail::load<std::uint32_t>(b.data()));
    return swapped ? read_ordered<true>(b.data()) : read_ordered<false>(b.data());
  }
  /// Writes the header in host order to `to`, `size` bytes.
  constexpr void write(std::byte* to) const noexcept {
    detail::store(to, nanoseconds ? magic_nanoseconds : magic_microseconds);
    detail::store(to + 4, std::uint16_t{2});
    detail::store(to + 6, std::uint16_t{4});
    zero_bytes(to + 8, 8);
    detail::store(to + 16, snap_length);
    detail::store(to + 20, linktype);
  }

 private:
  static constexpr bool is_magic(std::uint32_t v) noexcept { return v == magic_microseconds || v == magic_nanoseconds; }
  template <bool Swapped>
  constexpr bool read_ordered(const std::byte* p) noexcept {
    nanoseconds = detail::file_u32<Swapped>(p) == magic_nanoseconds;
    snap_length = detail::file_u32<Swapped>(p + 16);
    linktype = detail::file_u32<Swapped>(p + 20) & 0x03ff'ffffu;  // above: whether and how long an FCS follows
    return detail::file_u16<Swapped>(p + 4) == 2;
  }
};

/// A record of a classic capture: seconds u32, fraction u32, captured length u32, length on the wire u32, bytes.
inline constexpr std::size_t pcap_record_header_size = 16;

}  // namespace runnel

#endif
