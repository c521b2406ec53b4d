// SPDX-License-Identifier: MIT
// A frame: what a device hands out before there is a packet. A window onto one slot of a ring or a buffer, with
// what the device knows of it. It does not own.
#ifndef RUNNEL_PACKET_FRAME_HPP
#define RUNNEL_PACKET_FRAME_HPP

#include <cstddef>      // byte, size_t
#include <cstdint>      // uint8_t, uint16_t, uint32_t
#include <type_traits>  // conditional_t, is_constant_evaluated, is_copy_assignable_v

#include <runnel/base/bytes.hpp>
#include <runnel/base/endian.hpp>
#include <runnel/base/time.hpp>
#include <runnel/config.hpp>
#include <runnel/packet/layers.hpp>

namespace runnel {

/// What is known about the transport checksum of a packet.
enum class checksum_status : std::uint8_t {
  unknown,   ///< nobody looked
  verified,  ///< somebody looked, and it is right (CHECKSUM_UNNECESSARY)
  partial,   ///< only the pseudo-header is summed; whoever transmits or reads it completes it (CHECKSUM_PARTIAL)
};

/// `slot` of a frame whose bytes are lent by the device and not a slot of its pool.
inline constexpr std::uint32_t no_slot = 0xffff'ffff;

///     head()         data           data + length
///       | headroom    |    length     | tailroom |
///       +-------------+---------------+----------+
///
/// Valid from `receive` until it is released, transmitted or made a packet, by whoever holds it. Copying it copies
/// the window, not the bytes.
struct frame {
  /// The first byte.
  std::byte* data = nullptr;
  instant timestamp{};           ///< when the device received it
  std::uint32_t length = 0;      ///< bytes at `data`
  std::uint32_t slot = no_slot;  ///< which slot of the device's pool the bytes lie in
  std::uint16_t headroom = 0;    ///< writable bytes before `data`
  std::uint16_t tailroom = 0;    ///< writable bytes behind the last one
  std::uint16_t iif = 0;         ///< by which interface of the device it came
  std::uint16_t missing = 0;     ///< bytes that a snap length cut off at the end; 65535 is "that many or more"
  /// What the first header is.
  link_type link = link_type::ethernet;
  std::uint8_t lender = 0;  ///< who lends the bytes when they are not a slot: a number given out by the pool
  std::uint8_t queue = 0;   ///< by which receive queue it came
  /// What is known of the transport checksum.
  checksum_status checksum = checksum_status::unknown;
  /// Payload bytes of each segment that the frame stands for (`gso_size`); 0 when it is a single one, or when bytes are
  /// missing.
  std::uint16_t segment_size = 0;

  /// Where the headroom begins.
  [[nodiscard]] constexpr std::byte* head() const noexcept { return data - headroom; }
  /// The bytes, to read and to write.
  [[nodiscard]] constexpr mutable_bytes contents() const noexcept { return {data, length}; }

  /// Grows the frame by `n` bytes at the front. Null, and nothing changed, when the headroom is smaller.
  [[nodiscard]] constexpr std::byte* push(std::size_t n) noexcept {
    if (n > headroom) return nullptr;
    headroom = static_cast<std::uint16_t>(headroom - n);
    length += static_cast<std::uint32_t>(n);
    return data -= n;
  }
  /// Takes `n` bytes off the front. False, and nothing changed, when it is shorter, or when the headroom would
  /// exceed 65535 bytes.
  [[nodiscard]] constexpr bool pull(std::size_t n) noexcept {
    if (n > length || headroom + n > 0xffff) return false;
    headroom = static_cast<std::uint16_t>(headroom + n);
    length -= static_cast<std::uint32_t>(n);
    data += n;
    return true;
  }
  /// Grows the frame by `n` bytes at the end and returns the first of them. Null, and nothing changed, when the
  /// tailroom is smaller.
  [[nodiscard]] constexpr std::byte* put(std::size_t n) noexcept {
    if (n > tailroom) return nullptr;
    std::byte* end = data + length;
    tailroom = static_cast<std::uint16_t>(tailroom - n);
    length += static_cast<std::uint32_t>(n);
    return end;
  }
  /// Shortens the frame to `n` bytes. False, and nothing changed, when it is shorter already.
  [[nodiscard]] constexpr bool trim(std::size_t n) noexcept {
    if (n > length) return false;
    const std::size_t room = tailroom + (length - n);
    tailroom = static_cast<std::uint16_t>(room < 0xffff ? room : 0xffff);
    length = static_cast<std::uint32_t>(n);
    return true;
  }
};

namespace detail {
// Member by member, small ones that lie side by side together: a frame that was just made is copied from registers
// then. As a whole it would be written to memory in small pieces and read back in large ones, which have to wait for
// them.
RUNNEL_INLINE constexpr void copy_members(frame& to, const frame& from) noexcept {
  if (std::is_constant_evaluated()) {
    to = from;
    return;
  }
  to.data = from.data;
  to.timestamp.ns = from.timestamp.ns;
  to.length = from.length;
  to.slot = from.slot;
  store_side_by_side<std::uint64_t>(&to.headroom, from.headroom, from.tailroom, from.iif, from.missing);
  store_side_by_side<std::uint32_t>(&to.link, static_cast<std::uint32_t>(from.link), from.lender, from.queue,
                                    static_cast<std::uint32_t>(from.checksum));
  to.segment_size = from.segment_size;
}
}  // namespace detail

/// Takes frames into an array, which has room for all that are asked for: `device.receive(64, now,
/// into_array(frames))`.
class into_array {
 public:
  /// Begins at `to`, and goes on behind it.
  constexpr explicit into_array(frame* to) noexcept : to_(to) {}
  /// Takes one frame.
  RUNNEL_INLINE constexpr void operator()(const frame& f) noexcept { detail::copy_members(*to_++, f); }

 private:
  frame* to_;
};

namespace detail {
// What a loop over many frames calls them with, in registers while it runs. What cannot be assigned back, as a lambda
// with captures, stays where it is.
template <class Take>
class local_taker {
 public:
  RUNNEL_INLINE explicit local_taker(Take& take) noexcept : original_(&take), take_(take) {}
  local_taker(const local_taker&) = delete;
  local_taker& operator=(const local_taker&) = delete;
  RUNNEL_INLINE ~local_taker() {
    if constexpr (assignable) *original_ = take_;
  }
  RUNNEL_INLINE void operator()(const frame& f) noexcept { take_(f); }

 private:
  static constexpr bool assignable = std::is_copy_assignable_v<Take>;
  Take* original_;
  std::conditional_t<assignable, Take, Take&> take_;
};
}  // namespace detail

}  // namespace runnel

#endif
