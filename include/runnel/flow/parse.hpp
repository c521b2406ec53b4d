// SPDX-License-Identifier: MIT
// The stage that finds the headers of a packet, once for all stages behind it.
#ifndef RUNNEL_FLOW_PARSE_HPP
#define RUNNEL_FLOW_PARSE_HPP

#include <runnel/flow/stage.hpp>
#include <runnel/wire/dissect.hpp>

namespace runnel {

namespace detail {
struct parse_stage : stage_defaults {
  static constexpr stage_kind kind = stage_kind::each;
  static constexpr bool gives_parsed = true;
  static constexpr bool resizes = false;
  static constexpr const char* name = "parse";

  RUNNEL_INLINE verdict operator()(packet& p, context&) noexcept {
    const layers known = p.layers();
    if (known.has(protocol::parsed)) return pass;
    if (known.fault != drop_reason::none) [[unlikely]]
      return drop(known.fault);
    // As one number all the way: taken apart, it would have to be put together again to be stored.
    const packed_layers found =
        dissect_packed(p.contents(), known.link_kind(),
                       {.head_offset = p.headroom(), .chained = p.total_length() - p.length(), .missing = p.missing()});
    p.layers(unpack_layers(found));
    if (found >> 56 != 0) [[unlikely]]
      return drop(static_cast<drop_reason>(found >> 56));
    return pass;
  }
};
struct unshare_stage : stage_defaults {
  static constexpr stage_kind kind = stage_kind::each;
  static constexpr bool makes_own = true;
  static constexpr bool resizes = false;
  static constexpr const char* name = "unshare";

  RUNNEL_INLINE verdict operator()(packet& p, context&) noexcept {
    return p.unshare() ? pass : drop(drop_reason::no_packet);
  }
};
}  // namespace detail

/// Finds the headers of each packet (`dissect`), so that stages behind it may ask for network and transport headers.
/// Drops what is malformed, with the cause. Costs a few ns for a packet, and nothing where an early verdict has
/// looked already.
[[nodiscard]] constexpr detail::parse_stage parse() noexcept { return {}; }

/// Makes the bytes of each packet its own, by copying those that are shared with a clone. Drops a packet for which the
/// pool has no slot (drop_reason::no_packet). Needed between `tee` and a stage that writes.
[[nodiscard]] constexpr detail::unshare_stage unshare() noexcept { return {}; }

}  // namespace runnel

#endif
