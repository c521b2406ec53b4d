// SPDX-License-Identifier: MIT
// What is too long for its way out: `check_mtu` tells it apart, `fragment` cuts it. RFC 791, RFC 1191, RFC 4787 REQ-13,
// RFC 8200 §4.5.
//
//     forwarding(routes, {.interfaces = interfaces})                      // of others: the links' MTUs
//         .on<forwarded>(shared(output))
//         .on<oversized>(fragment(hops, {.interfaces = interfaces}) | shared(output))
//         .on<refused>(reject(errors) | shared(answers))                  // not by `resolve`: see reject.hpp
//
//     check_mtu(hops, {.interfaces = interfaces, .path_mtus = &path_mtus})   // of this host: the paths' as well
//         .on<fitting>(shared(output))
//         .on<oversized>(fragment(hops, {.interfaces = interfaces, .path_mtus = &path_mtus, .ids = &ids})
//                        | shared(output))
//         .on<refused>(reject(errors) | shared(output))
#ifndef RUNNEL_IP_EGRESS_HPP
#define RUNNEL_IP_EGRESS_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint16_t, uint32_t

#include <runnel/base/random.hpp>
#include <runnel/base/result.hpp>
#include <runnel/flow/branch.hpp>
#include <runnel/flow/ports.hpp>
#include <runnel/ip/forwarding.hpp>
#include <runnel/ip/fragment.hpp>
#include <runnel/ip/interfaces.hpp>
#include <runnel/ip/next_hop.hpp>
#include <runnel/ip/path_mtu.hpp>

namespace runnel {

/// The way of packets that are short enough.
struct fitting {
  static constexpr const char* name = "fitting";  ///< in drawings
};

/// What is known of the ways out, and who cuts.
struct egress_options {
  ip_interfaces interfaces{};                 ///< for MTUs (one that is not there has 1500 bytes), and who is this host
  const path_mtu_cache* path_mtus = nullptr;  ///< of what this host sends; null: only links count
  random_generator* ids = nullptr;  ///< of fragments of this host's IPv6 packets (RFC 7739); null: none is fragmented
  pool* memory = nullptr;  ///< of this thread, for pieces of what `steer` handed over: `&self.memory()` of a worker
};

namespace detail {

// How long a packet may be: by its next hop, whose number its scratch has, its interface, and its path.
struct egress_mtu {
  const next_hop_table* hops;
  egress_options options;

  [[nodiscard]] std::size_t operator()(const packet& p, instant now) const noexcept {
    const auto number = static_cast<next_hop_number>(p.scratch());
    std::size_t mtu = options.interfaces[0xffff].mtu;
    if (hops->is_hop(number)) {
      const next_hop& hop = (*hops)[number];
      mtu = hop.mtu != 0 ? hop.mtu : options.interfaces[hop.oif].mtu;
    }
    if (options.path_mtus == nullptr) return mtu;
    const header_map map{p};
    const std::size_t path = map.has<ipv4>()   ? options.path_mtus->lookup(map.get<ipv4>().destination(), now)
                             : map.has<ipv6>() ? options.path_mtus->lookup(map.get<ipv6>().destination(), now)
                                               : 0u;
    return path != 0 && path < mtu ? path : mtu;
  }
};

struct check_mtu_decision {
  using ways = ports<fitting, oversized, refused>;
  static constexpr const char* name = "check mtu";
  static constexpr bool needs_parsed = true;
  static constexpr bool resizes = false;
  egress_mtu mtu_of;

  ways operator()(packet& p, instant now) const noexcept {
    const header_map found{static_cast<const packet&>(p)};
    if (found.has<ipv4>()) {
      const ipv4 ip = found.get<ipv4>();
      const std::size_t mtu = mtu_of(p, now);
      if (length_on_wire(p, ip.total_length()) <= mtu) return fitting{};
      if (!ip.dont_fragment()) return oversized{};
      constexpr icmp_kind k = icmp::unreachable::fragmentation_needed;
      p.scratch(refusal::packed(k.type, k.code, static_cast<std::uint32_t>(mtu)));
      return refused{};
    }
    if (found.has<ipv6>()) {
      const ipv6 ip = found.get<ipv6>();
      // A link that takes less has to cut and join by itself (RFC 8200 §5).
      std::size_t mtu = mtu_of(p, now);
      if (mtu < path_mtu_cache::least6) mtu = path_mtu_cache::least6;
      if (length_on_wire(p, std::size_t{ip.payload_length()} + 40) <= mtu) return fitting{};
      if (mtu_of.options.ids != nullptr && mtu_of.options.interfaces.is_own(ip.source()) &&
          !p.layers().has(protocol::fragment))
        return oversized{};
      constexpr icmpv6_kind k = icmpv6::packet_too_big;
      p.scratch(refusal::packed(k.type, k.code, static_cast<std::uint32_t>(mtu)));
      return refused{};
    }
    return drop(drop_reason::not_ip);
  }
};

struct fragment_stage : stage_defaults {
  static constexpr stage_kind kind = stage_kind::many;
  static constexpr bool needs_parsed = true;
  static constexpr const char* name = "fragment";
  static constexpr std::size_t most = 64;

  constexpr explicit fragment_stage(egress_mtu m) noexcept : mtu_of(m) {}
  // Padding counts here: what is left alone is short enough for any way.
  [[nodiscard]] bool leaves_alone(const packet& p) const noexcept {
    return !p.layers().has(protocol::parsed) || p.total_length() - network_offset(p) <= path_mtu_cache::least4;
  }
  template <class GoOn>
  verdict operator()(packet& p, context& c, GoOn& go_on) const noexcept {
    const std::size_t mtu = mtu_of(p, c.now);
    if (p.segment_size() != 0 || p.total_length() - network_offset(p) <= mtu) return pass;
    packet pieces[most];
    const result<std::size_t, drop_reason> n = cut(p, mtu, pieces);
    if (!n) return n.error() == drop_reason::not_ip ? pass : drop(n.error());
    for (std::size_t i = 0; i < *n; ++i) go_on(static_cast<packet&&>(pieces[i]));
    return stolen;
  }
  constexpr void print_name(text_writer& out) const noexcept { out << name; }

  egress_mtu mtu_of;

 private:
  [[nodiscard]] result<std::size_t, drop_reason> cut(packet& p, std::size_t mtu, packet* pieces) const noexcept {
    if (!p.layers().has(protocol::ipv6)) return runnel::fragment(p, mtu, pieces, most, mtu_of.options.memory);
    if (mtu < path_mtu_cache::least6) mtu = path_mtu_cache::least6;
    if (mtu_of.options.ids == nullptr) return runnel::fragment(p, mtu, pieces, most, mtu_of.options.memory);
    const auto id = static_cast<std::uint32_t>(mtu_of.options.ids->next() >> 32);
    return fragment_at_source(p, mtu, id, pieces, most, mtu_of.options.memory);
  }
};

}  // namespace detail

/// A branch with the ways `fitting`, `oversized` and `refused` for what this host sends, behind `route(routes)`: it
/// reads the number of the next hop from the packet's `scratch`; a packet without one may have 1500 bytes. Oversized is
/// IPv4 without "don't fragment", and, with `.ids`, IPv6 that this host has sent: `fragment` cuts it. What else is too
/// long is refused: `reject(sender)` knows the MTU. What is forwarded for others goes through `forwarding()` instead,
/// which asks for no path's MTU (net.ipv4.ip_forward_use_pmtu). What is no IP is dropped (not_ip). Hops, interfaces
/// and path MTUs must outlive the pipeline.
[[nodiscard]] constexpr auto check_mtu(const next_hop_table& hops, egress_options options = {}) noexcept {
  return branch(detail::check_mtu_decision{{&hops, options}});
}

/// Cuts packets that are longer than their next hop, its interface or their path takes, into pieces that go on in their
/// place, in order (RFC 4787 REQ-13); what is short enough goes on as it is. The number of the next hop is in the
/// packet's `scratch`, and stays there. Drops what `fragment(packet&, ...)` refuses: `too_big` (DF, or IPv6 without
/// `.ids`), more than 64 pieces (`fragments_full`), `no_packet`, and, without `.memory`, what another thread has handed
/// over (`other_thread`). Options as those of the `check_mtu` or `forwarding` before it. Packets that stand for several
/// segments are left to the device. Hops, interfaces, path MTUs, the generator and the memory must outlive the
/// pipeline.
[[nodiscard]] constexpr auto fragment(const next_hop_table& hops, egress_options options = {}) noexcept {
  return detail::fragment_stage{{&hops, options}};
}

}  // namespace runnel

#endif
