// SPDX-License-Identifier: MIT
// What rules of a chain do with packets beside deciding about them: set marks, rewrite a field, count, log, wait for a
// token. Each that changes a packet is a stage, and may as well stand in a pipeline by itself.
#ifndef RUNNEL_HOOK_TARGETS_HPP
#define RUNNEL_HOOK_TARGETS_HPP

#include <cstdint>  // uint8_t, uint16_t, uint32_t

#include <runnel/base/token_bucket.hpp>
#include <runnel/config.hpp>
#include <runnel/flow/context.hpp>
#include <runnel/flow/stage.hpp>
#include <runnel/match/rules.hpp>
#include <runnel/packet/packet.hpp>
#include <runnel/packet/verdict.hpp>
#include <runnel/wire/header_map.hpp>
#include <runnel/wire/ipv4.hpp>
#include <runnel/wire/ipv6.hpp>
#include <runnel/wire/keep_partial.hpp>
#include <runnel/wire/tcp.hpp>

namespace runnel {
namespace detail {

// How a target ends: the next one, no more of this rule, a verdict, back to the rules that jumped here.
enum class target_end : std::uint8_t { next, next_rule, verdict, back };

// Changes the words beside a packet.
template <class Change>
struct metadata_target : stage_defaults {
  static constexpr stage_kind kind = stage_kind::each;
  static constexpr bool resizes = false;
  Change change;
  const char* label;
  constexpr metadata_target(Change f, const char* l) noexcept : change(f), label(l) {}
  RUNNEL_INLINE verdict operator()(packet& p, context&, const layers* = nullptr) noexcept {
    change(p);
    return pass;
  }
  constexpr void print_name(text_writer& out) const noexcept { out << label; }
};
// Changes headers.
template <class Change>
struct header_target : stage_defaults {
  static constexpr stage_kind kind = stage_kind::each;
  static constexpr bool needs_parsed = true;
  static constexpr bool writes = true;
  static constexpr bool resizes = false;
  Change change;
  const char* label;
  constexpr header_target(Change f, const char* l) noexcept : change(f), label(l) {}
  RUNNEL_INLINE verdict operator()(packet& p, context& c, const layers* found = nullptr) noexcept {
    const partial_keeper<packet> kept{p};
    change(packet_source{p, c, found}.writable_map());
    return pass;
  }
  constexpr void print_name(text_writer& out) const noexcept { out << label; }
};

// What each does to the headers: a chain of a rule_table does the same.
inline void write_dscp(const mutable_header_map& m, std::uint8_t v) noexcept {
  if (m.has<mut<ipv4>>()) m.get<mut<ipv4>>().codepoint(v);
  else if (m.has<mut<ipv6>>()) m.get<mut<ipv6>>().codepoint(v);
}
inline void write_hop_limit(const mutable_header_map& m, std::uint8_t v) noexcept {
  if (m.has<mut<ipv4>>()) m.get<mut<ipv4>>().time_to_live(v);
  else if (m.has<mut<ipv6>>()) m.get<mut<ipv6>>().hop_limit(v);
}
inline void write_maximum_segment_size(const mutable_header_map& m, std::uint16_t v) noexcept {
  if (!m.has<mut<tcp>>()) return;
  const mut<tcp> t = m.get<mut<tcp>>();
  if (t.syn()) (void)t.clamp_maximum_segment_size(v);
}

struct return_target {
  static constexpr bool is_target = true;
  RUNNEL_INLINE target_end run(packet&, context&) const noexcept { return target_end::back; }
};
struct limit_target {
  static constexpr bool is_target = true;
  token_bucket* bucket;
  bool over;
  bool bytes = false;
  RUNNEL_INLINE target_end run(packet& p, context& c) const noexcept {
    return bucket->take(c.now, bytes ? p.total_length() : 1) != over ? target_end::next : target_end::next_rule;
  }
};
struct count_target {
  static constexpr bool is_target = true;
  rule_counter* hits;
  RUNNEL_INLINE target_end run(packet& p, context&) const noexcept {
    ++hits->packets;
    hits->bytes += p.total_length();
    return target_end::next;
  }
};
template <class Function>
struct log_target {
  static constexpr bool is_target = true;
  const char* prefix;
  Function* function;
  token_bucket* bucket;
  RUNNEL_INLINE target_end run(packet& p, context& c) const noexcept {
    if (bucket->take(c.now)) (*function)(prefix, static_cast<const packet&>(p));
    return target_end::next;
  }
};

}  // namespace detail

/// Sets the packet's mark, as nft's `meta mark set`.
[[nodiscard]] constexpr auto set_mark(std::uint32_t v) noexcept {
  return detail::metadata_target{[v](packet& p) noexcept { p.mark(v); }, "set_mark"};
}
/// Sets the packet's priority, as nft's `meta priority set`.
[[nodiscard]] constexpr auto set_priority(std::uint8_t v) noexcept {
  return detail::metadata_target{[v](packet& p) noexcept { p.priority(v); }, "set_priority"};
}
/// Says whether a `trace` follows the packet, as nft's `meta nftrace set 1`.
[[nodiscard]] constexpr auto set_traced(bool on = true) noexcept {
  return detail::metadata_target{[on](packet& p) noexcept { p.traced(on); }, "set_traced"};
}
/// Sets the differentiated services code point of IPv4 and IPv6 packets, as nft's `ip dscp set`: the lower 6 bits of
/// `v` (RFC 2474). Checksums stay right.
[[nodiscard]] constexpr auto set_dscp(std::uint8_t v) noexcept {
  return detail::header_target{
      [v](const mutable_header_map& m) noexcept { detail::write_dscp(m, static_cast<std::uint8_t>(v & 63u)); },
      "set_dscp"};
}
/// Sets the time to live of IPv4 packets and the hop limit of IPv6 packets. Checksums stay right.
[[nodiscard]] constexpr auto set_hop_limit(std::uint8_t v) noexcept {
  return detail::header_target{[v](const mutable_header_map& m) noexcept { detail::write_hop_limit(m, v); },
                               "set_hop_limit"};
}
/// Lowers the maximum segment size that a TCP SYN announces to `most`, as nft's `tcp option maxseg size set`; a packet
/// that announces less or nothing stays as it is. `clamp_mss` is a stage that goes by an MTU.
[[nodiscard]] constexpr auto set_maxseg(std::uint16_t most) noexcept {
  return detail::header_target{
      [most](const mutable_header_map& m) noexcept { detail::write_maximum_segment_size(m, most); }, "set_maxseg"};
}

/// Counts into `hits`, which must outlive the chain: nft's named counter. Several rules may share one.
[[nodiscard]] constexpr detail::count_target count(rule_counter& hits) noexcept { return {&hits}; }
/// The rest of the rule is for packets for which `bucket`, which must outlive the chain, has a token; for others the
/// rule has not matched. nft's `limit rate`: `when(has<icmp>) >> limit(pings) >> accept`.
[[nodiscard]] constexpr detail::limit_target limit(token_bucket& bucket) noexcept { return {&bucket, false}; }
/// The opposite: the rest of the rule is for packets for which there is none. nft's `limit rate over`.
[[nodiscard]] constexpr detail::limit_target limit_over(token_bucket& bucket) noexcept { return {&bucket, true}; }
/// Both with a token for each byte of the packet, from its link header on: as nft's `limit rate 1 mbytes/second`, which
/// leaves that header out. @{
[[nodiscard]] constexpr detail::limit_target limit_bytes(token_bucket& bucket) noexcept {
  return {&bucket, false, true};
}
[[nodiscard]] constexpr detail::limit_target limit_bytes_over(token_bucket& bucket) noexcept {
  return {&bucket, true, true};
}
/// @}
/// Calls `write(prefix, packet)` as long as `bucket` has tokens, and goes on. All three must outlive the chain.
template <class Function>
[[nodiscard]] constexpr detail::log_target<Function> log(const char* prefix, Function& write,
                                                         token_bucket& bucket) noexcept {
  static_assert(
      requires(const packet& p) { write(prefix, p); },
      "runnel: log(prefix, write, bucket) calls write(const char* prefix, const packet&)");
  return {prefix, &write, &bucket};
}
/// Back to the rules that jumped here; in a base chain, its policy. nft's `return`.
[[nodiscard]] constexpr detail::return_target return_() noexcept { return {}; }

}  // namespace runnel

#endif
