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
    layers unused;
    return find(p, unused);
  }
  // Leaves what it found in `found` as well, for the stages behind it in the same loop.
  RUNNEL_INLINE verdict find(packet& p, layers& found) noexcept {
    // Ethernet of which nothing is known, and which the short way understands, is nearly every packet.
    packed_layers known = pack_layers(p.layers());
    if (known == 0) [[likely]] {
      const found_layers plain = dissect_plainly(p.contents(), p.headroom());
      if (plain.packed != 0) [[likely]] {
        p.layers(unpack_layers(plain.packed));
        found = plain.parts;
        return pass;
      }
    }
    if ((known & bit(protocol::parsed)) == 0) known = parse_carefully(p);
    found = unpack_layers(known);
    return found.fault == drop_reason::none ? pass : drop(found.fault);
  }

 private:
  [[gnu::noinline]] static packed_layers parse_carefully(packet& p) noexcept {
    layers found = p.layers();
    if (found.fault == drop_reason::none) {
      found = dissect(p.contents(), found.link_kind(),
                      {.head_offset = p.headroom(), .chained = p.total_length() - p.length(), .missing = p.missing()});
      p.layers(found);
    }
    return pack_layers(found);
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
