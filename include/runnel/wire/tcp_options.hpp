// SPDX-License-Identifier: MIT
// TCP options: a walker that survives whatever the wire brings, and the set of options that a modern stack sends
// and reads. RFC 9293 §3.1, RFC 7323, RFC 2018, RFC 7413, RFC 5482, RFC 5925, RFC 2385, RFC 8684.
#ifndef RUNNEL_WIRE_TCP_OPTIONS_HPP
#define RUNNEL_WIRE_TCP_OPTIONS_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t

#include <runnel/base/bytes.hpp>
#include <runnel/base/endian.hpp>
#include <runnel/base/text.hpp>
#include <runnel/config.hpp>

namespace runnel {

/// The kind octet of a TCP option, an IANA number.
enum class tcp_option : std::uint8_t {
  end_of_list = 0,
  no_operation = 1,
  maximum_segment_size = 2,  ///< RFC 9293 §3.7.1, in SYN only
  window_scale = 3,          ///< RFC 7323 §2.2, in SYN only
  sack_permitted = 4,        ///< RFC 2018 §2, in SYN only
  sack = 5,                  ///< RFC 2018 §3
  timestamps = 8,            ///< RFC 7323 §3.2
  md5_signature = 19,        ///< RFC 2385, obsoleted by `authentication`
  user_timeout = 28,         ///< RFC 5482
  authentication = 29,       ///< TCP-AO, RFC 5925 §2.2
  multipath = 30,            ///< MPTCP, RFC 8684 §3
  fast_open = 34,            ///< RFC 7413 §4.1.1
};

/// Octets that the receiver already has, out of order: from `left` up to, not including, `right` (RFC 2018 §3).
struct tcp_sack_block {
  /// The first sequence number of the block.
  std::uint32_t left = 0;
  /// The one behind its last.
  std::uint32_t right = 0;
  /// Equal when all their parts are.
  friend constexpr bool operator==(const tcp_sack_block&, const tcp_sack_block&) noexcept = default;
};

/// TSval and TSecr (RFC 7323 §3.2), in ticks of the sender's and of the receiver's clock.
struct tcp_timestamps {
  /// TSval.
  std::uint32_t value = 0;
  /// TSecr.
  std::uint32_t echo_reply = 0;
  /// Equal when all their parts are.
  friend constexpr bool operator==(const tcp_timestamps&, const tcp_timestamps&) noexcept = default;
};

/// Walks TCP options: `for (tcp_options o(segment.options()); o; o.next()) use(o.kind(), o.data());`
/// Ends at End of Option List, at the last byte, or at an option whose length cannot be (RFC 9293 MUST-7), which
/// `malformed()` tells. Options of unknown kind are stepped over by their length (MUST-6), at any alignment
/// (MUST-64). The typed accessors look at the current option only; of another kind, or of a length that its RFC
/// does not allow, it reads as absent: 0, empty or the value named there.
class tcp_options {
 public:
  static constexpr std::uint8_t no_window_scale = 255;  ///< what `window_scale()` says when there is none

  /// Walks the options of a header, `tcp.options()`.
  constexpr explicit tcp_options(bytes options) noexcept : rest_(options) { look(); }
  /// Whether there is an option at the current place.
  [[nodiscard]] constexpr explicit operator bool() const noexcept { return size_ != 0; }
  /// Which option it stands at.
  [[nodiscard]] constexpr tcp_option kind() const noexcept { return static_cast<tcp_option>(load_u8(rest_.data())); }
  /// The option's data, without kind and length octets.
  [[nodiscard]] constexpr bytes data() const noexcept { return rest_.first(size_).from(2); }
  /// The option from its kind octet on.
  [[nodiscard]] constexpr bytes whole() const noexcept { return rest_.first(size_); }
  /// How many option bytes there are from the current option on, itself included.
  [[nodiscard]] constexpr std::size_t remaining() const noexcept { return rest_.size(); }
  /// Goes to the next option.
  constexpr void next() noexcept {
    rest_ = rest_.from(size_);
    look();
  }
  /// Whether the walk ended before the list did, at an impossible length.
  [[nodiscard]] constexpr bool malformed() const noexcept { return malformed_; }

  /// Largest segment that the peer accepts, bytes without headers; 0 when this is not that option.
  [[nodiscard]] constexpr std::uint16_t maximum_segment_size() const noexcept {
    return is(tcp_option::maximum_segment_size, 2) ? load_be16(data().data()) : std::uint16_t{0};
  }
  /// Shift for the peer's windows, at most 14 whatever the option says (RFC 7323 §2.3).
  [[nodiscard]] constexpr std::uint8_t window_scale() const noexcept {
    if (!is(tcp_option::window_scale, 1)) return no_window_scale;
    const std::uint8_t shift = load_u8(data().data());
    return shift > 14 ? std::uint8_t{14} : shift;
  }
  /// Whether it stands at this option, and the option has the right length.
  [[nodiscard]] constexpr bool is_sack_permitted() const noexcept { return is(tcp_option::sack_permitted, 0); }
  /// How many blocks this SACK option has: 1 to 4; 0 when it is not one or its length is not a multiple of 8.
  [[nodiscard]] constexpr std::size_t sack_count() const noexcept {
    if (kind() != tcp_option::sack || data().size() % 8 != 0) return 0;
    return data().size() / 8;
  }
  /// Block `i`; empty beyond `sack_count()`. That left is before right is not checked here.
  [[nodiscard]] constexpr tcp_sack_block sack_block(std::size_t i) const noexcept {
    if (i >= sack_count()) return {};
    return {load_be32(data().data() + 8 * i), load_be32(data().data() + 8 * i + 4)};
  }
  /// Whether it stands at this option, and the option has the right length.
  [[nodiscard]] constexpr bool has_timestamps() const noexcept { return is(tcp_option::timestamps, 8); }
  /// The timestamps that it stands at.
  [[nodiscard]] constexpr tcp_timestamps timestamps() const noexcept {
    if (!has_timestamps()) return {};
    return {load_be32(data().data()), load_be32(data().data() + 4)};
  }
  /// Whether this is a Fast Open option that may be believed: an empty request, or a cookie of 4 to 16 bytes, an
  /// even number of them (RFC 7413 §4.1.1).
  [[nodiscard]] constexpr bool is_fast_open() const noexcept {
    const std::size_t n = data().size();
    return kind() == tcp_option::fast_open && (n == 0 || (n >= 4 && n <= 16 && n % 2 == 0));
  }
  /// The Fast Open cookie; empty when it is asked for.
  [[nodiscard]] constexpr bytes fast_open_cookie() const noexcept { return is_fast_open() ? data() : bytes{}; }
  /// How long the peer keeps unacknowledged data, in seconds (RFC 5482 §2); 0 when this is not that option.
  [[nodiscard]] constexpr std::uint32_t user_timeout_seconds() const noexcept {
    if (!is(tcp_option::user_timeout, 2)) return 0;
    const std::uint32_t v = load_be16(data().data());
    return (v & 0x8000u) != 0 ? (v & 0x7fffu) * 60 : v;
  }
  /// The 16 bytes of an MD5 signature (RFC 2385 §3); empty when this is not that option.
  [[nodiscard]] constexpr bytes md5_digest() const noexcept {
    return is(tcp_option::md5_signature, 16) ? data() : bytes{};
  }
  /// TCP-AO's KeyID, RNextKeyID and MAC (RFC 5925 §2.2), together at least 2 bytes; empty otherwise.
  [[nodiscard]] constexpr bytes authentication() const noexcept {
    return kind() == tcp_option::authentication && data().size() >= 2 ? data() : bytes{};
  }
  /// The subtype of an MPTCP option, 0 (MP_CAPABLE) to 15 (RFC 8684 §3); 255 when this is not one.
  [[nodiscard]] constexpr std::uint8_t multipath_subtype() const noexcept {
    if (kind() != tcp_option::multipath || data().empty()) return 255;
    return static_cast<std::uint8_t>(load_u8(data().data()) >> 4);
  }

 private:
  [[nodiscard]] constexpr bool is(tcp_option k, std::size_t data_size) const noexcept {
    return size_ == data_size + 2 && kind() == k;
  }
  // The size is read once: what is believed later is what was checked here.
  constexpr void look() noexcept {
    size_ = 0;
    if (rest_.empty() || kind() == tcp_option::end_of_list) return;
    if (kind() == tcp_option::no_operation) {
      size_ = 1;
      return;
    }
    const std::size_t said = rest_.size() < 2 ? std::size_t{0} : load_u8(rest_.data() + 1);
    if (said < 2 || said > rest_.size()) {
      malformed_ = true;
      return;
    }
    size_ = said;
  }

  bytes rest_;
  std::size_t size_ = 0;
  bool malformed_ = false;
};

/// The options that a modern stack sends and acts on, as values: `parse` reads them from a segment, `tcp_header`
/// writes them. Laid out as Linux does, so that fixed-offset fast paths of peers keep working.
struct tcp_option_values {
  std::uint16_t maximum_segment_size = 0;                    ///< bytes; 0: not sent, RFC 9293 says 536 or 1220
  std::uint8_t window_scale = tcp_options::no_window_scale;  ///< shift 0 to 14; 255: not sent
  /// Whether the option is sent. @{
  bool sack_permitted = false;
  bool has_timestamps = false;
  /// @}
  tcp_timestamps timestamps{};  ///< counts when `has_timestamps`
  std::uint8_t sack_count = 0;  ///< how many of `sack` count
  tcp_sack_block sack[4]{};     ///< most recent first (RFC 2018 §4)
  /// Whether the option is sent.
  bool has_fast_open = false;
  bytes fast_open_cookie{};  ///< counts when `has_fast_open`; empty asks for one; at most 16 bytes, somebody else's

  /// Reads every well-formed option that it knows, the last of a kind winning, up to the first impossible length.
  /// It is the caller's to ignore what only counts in a SYN.
  [[nodiscard]] static constexpr tcp_option_values parse(bytes options) noexcept {
    tcp_option_values v;
    // Nearly every segment of a connection has exactly these twelve bytes (RFC 7323 appendix A).
    if (options.size() == 12 && load_be32(options.data()) == 0x0101'080a) {
      v.has_timestamps = true;
      v.timestamps = {load_be32(options.data() + 4), load_be32(options.data() + 8)};
      return v;
    }
    for (tcp_options o(options); o; o.next()) {
      if (o.maximum_segment_size() != 0) v.maximum_segment_size = o.maximum_segment_size();
      else if (o.window_scale() != tcp_options::no_window_scale) v.window_scale = o.window_scale();
      else if (o.is_sack_permitted()) v.sack_permitted = true;
      else if (o.has_timestamps()) v.has_timestamps = true, v.timestamps = o.timestamps();
      else if (o.sack_count() != 0) {
        v.sack_count = static_cast<std::uint8_t>(o.sack_count() < 4 ? o.sack_count() : 4);
        for (std::size_t i = 0; i < v.sack_count; ++i) v.sack[i] = o.sack_block(i);
      } else if (o.is_fast_open()) {
        v.has_fast_open = true;
        v.fast_open_cookie = o.fast_open_cookie();
      }
    }
    return v;
  }

  /// How many of the SACK blocks are written: those that fit 40 bytes beside the rest (3 beside timestamps).
  [[nodiscard]] constexpr std::size_t sack_written() const noexcept {
    const std::size_t room = 40 - size_without_sack();
    const std::size_t fit = room < 12 ? 0 : (room - 4) / 8;
    const std::size_t have = sack_count < 4 ? sack_count : 4;
    return have < fit ? have : fit;
  }
  /// Bytes that `write` writes: a multiple of 4, at most 40.
  [[nodiscard]] constexpr std::size_t size() const noexcept {
    return size_without_sack() + (sack_written() == 0 ? 0 : 4 + 8 * sack_written());
  }
  /// Writes `size()` bytes at `p`.
  constexpr void write(std::byte* p) const noexcept {
    if (maximum_segment_size != 0) {
      store_be32(p, 0x0204'0000u | maximum_segment_size);
      p += 4;
    }
    if (has_timestamps) {
      store_be32(p, sack_permitted ? 0x0402'080a : 0x0101'080a);
      store_be32(p + 4, timestamps.value);
      store_be32(p + 8, timestamps.echo_reply);
      p += 12;
    } else if (sack_permitted) {
      store_be32(p, 0x0101'0402);
      p += 4;
    }
    if (window_scale != tcp_options::no_window_scale) {
      store_be32(p, 0x0103'0300u | window_scale);
      p += 4;
    }
    if (has_fast_open) {
      const bytes cookie = fast_open_cookie.first(longest_cookie);
      store_u8(p, static_cast<std::uint8_t>(tcp_option::fast_open));
      store_u8(p + 1, static_cast<std::uint8_t>(2 + cookie.size()));
      copy_bytes(p + 2, cookie.data(), cookie.size());
      // No-operations fill up, so that what follows is still read.
      for (std::size_t i = 2 + cookie.size(); i < fast_open_size(); ++i) store_u8(p + i, 1);
      p += fast_open_size();
    }
    if (const std::size_t n = sack_written(); n != 0) {
      store_be32(p, static_cast<std::uint32_t>(0x0101'0502 + 8 * n));
      p += 4;
      for (std::size_t i = 0; i < n; ++i, p += 8) {
        store_be32(p, sack[i].left);
        store_be32(p + 4, sack[i].right);
      }
    }
  }

 private:
  static constexpr std::size_t longest_cookie = 16;
  [[nodiscard]] constexpr std::size_t fast_open_size() const noexcept {
    RUNNEL_ASSERT(fast_open_cookie.size() <= longest_cookie);
    return has_fast_open ? (2 + fast_open_cookie.first(longest_cookie).size() + 3) / 4 * 4 : 0;
  }
  [[nodiscard]] constexpr std::size_t size_without_sack() const noexcept {
    return (maximum_segment_size != 0 ? 4u : 0u) +
           (has_timestamps   ? 12u
            : sack_permitted ? 4u
                             : 0u) +
           (window_scale != tcp_options::no_window_scale ? 4u : 0u) + fast_open_size();
  }
};

/// The options in tcpdump's words: `mss 1460,sackOK,TS val 7 ecr 0,nop,wscale 7`; an impossible length as `[bad opt]`.
constexpr void print(text_writer& out, tcp_options o) noexcept {
  for (bool first = true; o; o.next(), first = false) {
    if (!first) out << ',';
    if (o.kind() == tcp_option::no_operation) out << "nop";
    else if (o.maximum_segment_size() != 0) out << "mss " << o.maximum_segment_size();
    else if (o.window_scale() != tcp_options::no_window_scale) out << "wscale " << o.window_scale();
    else if (o.is_sack_permitted()) out << "sackOK";
    else if (o.has_timestamps()) out << "TS val " << o.timestamps().value << " ecr " << o.timestamps().echo_reply;
    else if (o.sack_count() != 0) {
      out << "sack " << std::uint64_t{o.sack_count()} << ' ';
      for (std::size_t i = 0; i < o.sack_count(); ++i)
        out << '{' << o.sack_block(i).left << ':' << o.sack_block(i).right << '}';
    } else if (o.is_fast_open()) {
      out << (o.fast_open_cookie().empty() ? "tfo cookiereq" : "tfo cookie ");
      for (const std::byte b : o.fast_open_cookie()) out.hex(static_cast<std::uint8_t>(b), 2);
    } else if (o.kind() == tcp_option::multipath) out << "mptcp " << std::uint64_t{o.data().size() + 2};
    else if (o.user_timeout_seconds() != 0) out << "uto " << o.user_timeout_seconds() << 's';
    else if (!o.md5_digest().empty()) out << "md5";
    else if (!o.authentication().empty()) out << "ao keyid " << load_u8(o.authentication().data());
    else out << "unknown-" << static_cast<std::uint8_t>(o.kind());
  }
  if (o.malformed()) out << "[bad opt]";
}

}  // namespace runnel

#endif
