// SPDX-License-Identifier: MIT
// A reader that walks a packet's bytes from front to back, across fragments, and cannot be walked out of them.
#ifndef RUNNEL_PACKET_CURSOR_HPP
#define RUNNEL_PACKET_CURSOR_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t

#include <runnel/base/bytes.hpp>
#include <runnel/base/endian.hpp>
#include <runnel/packet/packet.hpp>

namespace runnel {

/// Reads numbers in network order and runs of bytes. The first read beyond the end fails, yields zero, and makes
/// every later one fail too: read a whole message, then ask `ok()` once. Does not own; valid as long as the packet
/// and its bytes. A read costs a bounds check, and a walk to the next fragment where one ends.
class cursor {
 public:
  /// Reads these bytes.
  constexpr explicit cursor(bytes one) noexcept : part_(one), left_(one.size()) {}
  /// Reads a packet with all that is chained to it.
  explicit cursor(const packet& p) noexcept : part_(p.contents()), packet_(&p), left_(p.total_length()) {}

  /// Whether all that was read was there.
  [[nodiscard]] constexpr bool ok() const noexcept { return ok_; }
  /// Bytes not yet read.
  [[nodiscard]] constexpr std::size_t remaining() const noexcept { return left_; }

  /// The next number of the size and order of its name; 0, and `ok()` turns false, when there are too few bytes. @{
  [[nodiscard]] constexpr std::uint8_t u8() noexcept {
    std::byte b[1]{};
    copy_to(b);
    return load_u8(b);
  }
  [[nodiscard]] constexpr std::uint16_t be16() noexcept {
    std::byte b[2]{};
    copy_to(b);
    return load_be16(b);
  }
  [[nodiscard]] constexpr std::uint32_t be32() noexcept {
    std::byte b[4]{};
    copy_to(b);
    return load_be32(b);
  }
  [[nodiscard]] constexpr std::uint64_t be64() noexcept {
    std::byte b[8]{};
    copy_to(b);
    return load_be64(b);
  }
  /// @}
  /// Passes over `n` bytes; `ok()` turns false when there are too few.
  constexpr void skip(std::size_t n) noexcept { step(n, nullptr); }
  /// Fills `to` with the next bytes; with zeros, and `ok()` turns false, when there are not as many.
  constexpr void copy_to(mutable_bytes to) noexcept {
    if (!step(to.size(), to.data())) zero_bytes(to.data(), to.size());
  }

 private:
  constexpr bool step(std::size_t n, std::byte* to) noexcept {
    if (!ok_ || n > left_) {
      ok_ = false;
      return false;
    }
    left_ -= n;
    while (n > part_.size()) {
      if (to != nullptr) {
        copy_bytes(to, part_.data(), part_.size());
        to += part_.size();
      }
      n -= part_.size();
      ++fragment_;
      std::size_t i = 0;
      packet_->for_each_fragment([&](bytes b) {
        if (i++ == fragment_) part_ = b;
      });
    }
    if (to != nullptr) copy_bytes(to, part_.data(), n);
    part_ = part_.from(n);
    return true;
  }

  bytes part_;
  const packet* packet_ = nullptr;
  std::size_t left_;
  std::size_t fragment_ = 0;
  bool ok_ = true;
};

}  // namespace runnel

#endif
