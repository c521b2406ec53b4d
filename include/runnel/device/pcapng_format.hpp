// SPDX-License-Identifier: MIT
// The blocks of the pcapng capture format, as far as packets need them: sections, interfaces, their clocks.
// draft-ietf-opsawg-pcapng
#ifndef RUNNEL_DEVICE_PCAPNG_FORMAT_HPP
#define RUNNEL_DEVICE_PCAPNG_FORMAT_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // int64_t, uint8_t, uint16_t, uint32_t, uint64_t

#include <runnel/base/bytes.hpp>
#include <runnel/base/endian.hpp>
#include <runnel/base/time.hpp>
#include <runnel/device/pcap_format.hpp>
#include <runnel/packet/layers.hpp>

namespace runnel {

/// Types of pcapng blocks. Every block is: type u32, total length u32, body padded to 4 bytes, total length u32.
namespace pcapng {
inline constexpr std::uint32_t section_header = 0x0a0d'0d0a;  ///< the same in both byte orders
/// Types of blocks. @{
inline constexpr std::uint32_t interface_description = 1;
inline constexpr std::uint32_t obsolete_packet = 2;
inline constexpr std::uint32_t simple_packet = 3;
inline constexpr std::uint32_t enhanced_packet = 6;
/// @}

/// How a section says its byte order.
inline constexpr std::uint32_t byte_order_magic = 0x1a2b'3c4d;
/// Codes of options. @{
inline constexpr std::uint16_t option_end = 0;
inline constexpr std::uint16_t shb_userappl = 4;
inline constexpr std::uint16_t epb_flags = 2;
inline constexpr std::uint16_t if_name = 2;
inline constexpr std::uint16_t if_description = 3;
inline constexpr std::uint16_t if_tsresol = 9;
inline constexpr std::uint16_t if_tsoffset = 14;
/// @}

/// `n` rounded up to what a block or an option takes.
[[nodiscard]] constexpr std::size_t padded(std::size_t n) noexcept { return (n + 3) & ~std::size_t{3}; }
}  // namespace pcapng

/// Turns the ticks of an interface's clock into time. The resolution is if_tsresol: below 128 a tick is 10^-n
/// seconds, from 128 on 2^-(n-128) seconds.
class capture_ticks {
 public:
  /// Microseconds since 1970, as in an interface that says nothing.
  constexpr capture_ticks() noexcept : capture_ticks(6, 0) {}
  /// `offset` in seconds is added to every time (if_tsoffset).
  constexpr capture_ticks(std::uint8_t resolution, std::int64_t offset) noexcept : offset_(offset) {
    if ((resolution & 0x80u) != 0) {
      kind_ = binary;
      power_ = resolution & 0x7fu;
      return;
    }
    kind_ = resolution <= 9 ? multiply : divide;
    unsigned exponent = resolution <= 9 ? 9u - resolution : resolution - 9u;
    // Ticks below 10^-28 s: not even 2^64 of them are a nanosecond.
    if (exponent > 19) kind_ = binary, power_ = 127, exponent = 0;
    while (exponent-- != 0) factor_ *= 10;
  }
  /// Rounds towards the past. A file may claim any time: what lies further from 1970 than 146 years becomes that, so
  /// that the difference of two timestamps always fits a `duration`.
  [[nodiscard]] RUNNEL_INLINE constexpr instant at(std::uint64_t ticks) const noexcept {
    // The usual case: 10^-3 .. 10^-9, no offset, before 2116.
    std::uint64_t ns = 0;
    if (kind_ == multiply && offset_ == 0 && !__builtin_mul_overflow(ticks, factor_, &ns) &&
        ns <= static_cast<std::uint64_t>(latest)) [[likely]]
      return {static_cast<std::int64_t>(ns)};
    return at_slow(ticks);
  }

 private:
  enum kind : std::uint8_t { multiply, divide, binary };
  static constexpr std::int64_t latest = INT64_MAX / 2;

  constexpr instant at_slow(std::uint64_t ticks) const noexcept {
    std::uint64_t ns = 0;
    switch (kind_) {
      case multiply:
        if (__builtin_mul_overflow(ticks, factor_, &ns)) ns = static_cast<std::uint64_t>(latest);
        break;
      case divide: ns = ticks / factor_; break;
      case binary: ns = from_binary(ticks); break;
    }
    if (ns > static_cast<std::uint64_t>(latest)) ns = static_cast<std::uint64_t>(latest);
    std::int64_t offset = 0;
    std::int64_t sum = 0;
    if (__builtin_mul_overflow(offset_, std::int64_t{1'000'000'000}, &offset) ||
        __builtin_add_overflow(static_cast<std::int64_t>(ns), offset, &sum))
      return {offset_ < 0 ? -latest : latest};
    return {sum > latest ? latest : sum < -latest ? -latest : sum};
  }
  // ticks * 10^9 / 2^power, rounded down, without numbers of more than 64 bits.
  constexpr std::uint64_t from_binary(std::uint64_t ticks) const noexcept {
    const std::uint64_t seconds = power_ < 64 ? ticks >> power_ : 0;
    const std::uint64_t rest = power_ < 64 ? ticks & ((std::uint64_t{1} << power_) - 1) : ticks;
    std::uint64_t ns = 0;
    if (power_ <= 32) {
      ns = rest * 1'000'000'000 >> power_;
    } else {
      const std::uint64_t upper = (rest >> 32) * 1'000'000'000 + ((rest & 0xffff'ffffu) * 1'000'000'000 >> 32);
      ns = power_ - 32 < 64 ? upper >> (power_ - 32) : 0;
    }
    std::uint64_t sum = 0;
    if (__builtin_mul_overflow(seconds, std::uint64_t{1'000'000'000}, &sum) || __builtin_add_overflow(sum, ns, &sum))
      return latest;
    return sum;
  }

  std::uint64_t factor_ = 1;
  std::int64_t offset_;
  kind kind_ = multiply;
  std::uint8_t power_ = 0;
};

/// What an interface description block says for people, as it stands there.
struct interface_text {
  bytes name{};         ///< if_name; empty when there is none
  bytes description{};  ///< if_description
};

/// What an interface description block says: how to read the packets of one interface of a section.
struct capture_interface {
  /// How its timestamps count.
  capture_ticks clock{};
  std::uint32_t snap_length = 0;  ///< packets were cut to this many bytes; 0 is no limit
  std::uint16_t linktype = 0;     ///< the file's number, see `link_from_linktype`
  /// The same as this library calls it.
  link_type link = link_type::unknown;

  /// Reads the body of the block: after type and length, up to the second length. False when it is too short, or an
  /// option runs over its end. `said` becomes what it says for people, in the block.
  template <bool Swapped>
  [[nodiscard]] constexpr bool read(bytes body, interface_text& said) noexcept {
    if (body.size() < 8) return false;
    linktype = detail::file_u16<Swapped>(body.data());
    link = link_from_linktype(linktype);
    snap_length = detail::file_u32<Swapped>(body.data() + 4);
    std::uint8_t resolution = 6;
    std::int64_t offset = 0;
    for (bytes rest = body.from(8); rest.size() >= 4;) {
      const std::uint16_t code = detail::file_u16<Swapped>(rest.data());
      const std::uint16_t length = detail::file_u16<Swapped>(rest.data() + 2);
      if (code == pcapng::option_end) break;
      rest = rest.from(4);
      if (length > rest.size()) return false;
      if (code == pcapng::if_name) said.name = rest.first(length);
      if (code == pcapng::if_description) said.description = rest.first(length);
      if (code == pcapng::if_tsresol && length >= 1) resolution = load_u8(rest.data());
      if (code == pcapng::if_tsoffset && length >= 8) {
        const std::uint64_t first = detail::file_u32<Swapped>(rest.data());
        const std::uint64_t second = detail::file_u32<Swapped>(rest.data() + 4);
        const bool big = little_endian_host == Swapped;
        offset = static_cast<std::int64_t>(big ? first << 32 | second : second << 32 | first);
      }
      rest = rest.from(pcapng::padded(length));
    }
    clock = capture_ticks(resolution, offset);
    return true;
  }
};

}  // namespace runnel

#endif
