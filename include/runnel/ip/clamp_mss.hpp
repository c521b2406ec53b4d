// SPDX-License-Identifier: MIT
// TCP MSS clamping: keeps segments of both sides within an MTU that path MTU discovery does not tell them of (PPPoE,
// tunnels). As nft's `tcp option maxseg size set rt mtu` and iptables' TCPMSS --clamp-mss-to-pmtu.
#ifndef RUNNEL_IP_CLAMP_MSS_HPP
#define RUNNEL_IP_CLAMP_MSS_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint16_t

#include <runnel/base/endian.hpp>
#include <runnel/base/text.hpp>
#include <runnel/flow/stage.hpp>
#include <runnel/wire/checksum.hpp>
#include <runnel/wire/header_map.hpp>
#include <runnel/wire/tcp.hpp>
#include <runnel/wire/tcp_options.hpp>

namespace runnel {

namespace detail {

struct clamp_mss_stage : stage_defaults {
  static constexpr stage_kind kind = stage_kind::each;
  static constexpr bool needs_parsed = true;
  static constexpr bool writes = true;
  static constexpr bool resizes = false;
  static constexpr const char* name = "clamp mss";

  constexpr explicit clamp_mss_stage(std::uint16_t m) noexcept : mtu(m) {}
  RUNNEL_INLINE verdict operator()(packet& p, context&, const layers* found = nullptr) noexcept {
    if (!(found != nullptr ? *found : p.layers()).has(protocol::tcp)) return pass;
    const header_map map{static_cast<const packet&>(p)};
    if (map.has<tcp>() && map.get<tcp>().syn()) clamp(p, map.layers().has(protocol::ipv6) ? 60 : 40);
    return pass;
  }
  constexpr void print_name(text_writer& out) const noexcept { out << name << ' ' << mtu; }

  std::uint16_t mtu;

 private:
  [[gnu::noinline]] void clamp(packet& p, unsigned headers) const noexcept {
    const auto limit = static_cast<std::uint16_t>(mtu > headers ? mtu - headers : 0);
    const mut<tcp> segment = mutable_header_map{p}.get<mut<tcp>>();
    std::byte* const header = p.writable().data() + (p.layers().transport - p.headroom());
    for (tcp_options o(segment.options()); o; o.next()) {
      if (o.kind() != tcp_option::maximum_segment_size || o.data().size() != 2) continue;
      const std::uint16_t said = o.maximum_segment_size();
      if (said <= limit) return;
      const auto at = static_cast<std::size_t>(o.data().data() - header);
      store_be16(header + at, limit);
      // Where the device completes the checksum, the field holds nothing of the options. At an odd place the two octets
      // count in words of which they are the other half (RFC 1071 §2 (B)).
      if (p.checksum() == checksum_status::partial) return;
      const std::uint16_t from = at % 2 == 0 ? said : byte_swap(said), to = at % 2 == 0 ? limit : byte_swap(limit);
      store_be16(header + 16, update_checksum16(segment.segment_checksum(), from, to));
      return;
    }
  }
};

}  // namespace detail

/// Lowers the maximum segment size that TCP SYNs offer, to what an MTU leaves: less 40 bytes for IPv4, 60 for IPv6.
/// What offers less, or nothing, stays as it is. Put it where both directions pass. The checksum is updated (RFC 1624).
[[nodiscard]] constexpr detail::clamp_mss_stage clamp_mss(std::uint16_t mtu) noexcept {
  return detail::clamp_mss_stage{mtu};
}

}  // namespace runnel

#endif
