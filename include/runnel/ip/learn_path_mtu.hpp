// SPDX-License-Identifier: MIT
// Path MTU discovery's ear: learns from the ICMP errors that come back about packets of this host. RFC 1191, RFC 8201.
//
//     static path_mtu_cache_of<256> path_mtus{{.seed = seed}};
//
//     auto path = parse() | track(connections) | learn_path_mtu(path_mtus, interfaces) | ...;
//
// Anybody can forge such an error and make packets small (RFC 5927 §7). What is believed quotes a packet that this host
// has sent, which was longer than the MTU that the error speaks of; and where connections are tracked, one of a
// connection that is there (`ct::state == related`). TCP sequence numbers in the quote are not looked at: only who has
// sent them knows which are under way.
#ifndef RUNNEL_IP_LEARN_PATH_MTU_HPP
#define RUNNEL_IP_LEARN_PATH_MTU_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint16_t, uint32_t

#include <runnel/base/bytes.hpp>
#include <runnel/base/endian.hpp>
#include <runnel/flow/stage.hpp>
#include <runnel/ip/interfaces.hpp>
#include <runnel/ip/path_mtu.hpp>
#include <runnel/packet/connection_state.hpp>
#include <runnel/wire/address.hpp>
#include <runnel/wire/header_map.hpp>
#include <runnel/wire/icmp.hpp>
#include <runnel/wire/icmpv6.hpp>
#include <runnel/wire/ipv4.hpp>
#include <runnel/wire/ipv6.hpp>

namespace runnel {

namespace detail {

struct learn_path_mtu_stage : stage_defaults {
  static constexpr stage_kind kind = stage_kind::each;
  static constexpr bool needs_parsed = true;
  static constexpr bool resizes = false;
  static constexpr const char* name = "learn path mtu";

  constexpr learn_path_mtu_stage(path_mtu_cache& k, ip_interfaces i) noexcept : cache(&k), interfaces(i) {}
  RUNNEL_INLINE verdict operator()(packet& p, context& c, const layers* found = nullptr) const noexcept {
    const layers& l = found != nullptr ? *found : p.layers();
    if (l.has(protocol::icmp) || l.has(protocol::icmpv6)) [[unlikely]]
      look(p, c.now);
    return pass;
  }
  constexpr void print_name(text_writer& out) const noexcept { out << name; }

  path_mtu_cache* cache;
  ip_interfaces interfaces;

 private:
  [[gnu::noinline]] void look(const packet& p, instant now) const noexcept {
    const connection_word word{p.connection()};
    if (word.value != 0 && word.state() != connection_state::related) return;
    const header_map map{p};
    if (map.has<ipv4>() && map.has<icmp>()) {
      const icmp error = map.get<icmp>();
      if (error.kind() != icmp::unreachable::fragmentation_needed) return;
      // A checksum is all that ICMP has against bits that were hurt on the way.
      if (!map.get<ipv4>().checksum_ok() || (!p.is_chained() && !error.checksum_ok())) return;
      const bytes quoted = error.payload();
      if (quoted.size() < 20 || load_u8(quoted.data()) >> 4 != 4) return;
      const std::byte* const q = quoted.data();
      if (!interfaces.is_own(ipv4_address::load(q + 12))) return;
      (void)cache->learn(ipv4_address::load(q + 16), error.next_hop_mtu(), load_be16(q + 2), now);
    } else if (map.has<ipv6>() && map.has<icmpv6>()) {
      const icmpv6 error = map.get<icmpv6>();
      if (error.kind() != icmpv6::packet_too_big) return;
      const std::uint32_t pseudo = map.get<ipv6>().pseudo_header_sum();
      if (!p.is_chained() && !error.checksum_ok(pseudo)) return;
      const bytes quoted = error.payload();
      if (quoted.size() < 40 || load_u8(quoted.data()) >> 4 != 6) return;
      const std::byte* const q = quoted.data();
      const ipv6_address from = ipv6_address::load(q + 8), to = ipv6_address::load(q + 24);
      if (is_mapped(from) || is_mapped(to) || !interfaces.is_own(from)) return;
      (void)cache->learn(to, error.next_hop_mtu(), load_be16(q + 4) + std::size_t{40}, now);
    }
  }
};

}  // namespace detail

/// Learns path MTUs from "fragmentation needed" and "packet too big" about packets that one of `interfaces` has sent;
/// see the beginning of this file for what is believed. Everything passes, the errors too. Refers to the cache, which
/// must outlive the pipeline, as must the interfaces.
[[nodiscard]] constexpr detail::learn_path_mtu_stage learn_path_mtu(path_mtu_cache& cache,
                                                                    ip_interfaces interfaces) noexcept {
  return {cache, interfaces};
}

}  // namespace runnel

#endif
