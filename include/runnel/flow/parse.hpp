// SPDX-License-Identifier: MIT
// The stage that finds the headers of a packet, once for all stages behind it.
#ifndef RUNNEL_FLOW_PARSE_HPP
#define RUNNEL_FLOW_PARSE_HPP

#include <runnel/flow/stage.hpp>
#include <runnel/wire/dissect.hpp>
#include <runnel/wire/keep_partial.hpp>

namespace runnel {

namespace detail {
struct parse_stage : stage_defaults {
  static constexpr stage_kind kind = stage_kind::each;
  static constexpr bool gives_parsed = true;
  static constexpr bool resizes = false;
  static constexpr const char* name = "parse";

  // Leaves what it found in `known` as well, for the stages behind it in the same loop. Where that is known already,
  // as behind an early verdict that looked, nothing is left to do.
  RUNNEL_INLINE verdict find(packet& p, known_layers& known) noexcept {
    if (known.valid) return known.found.fault == drop_reason::none ? pass : drop(known.found.fault);
    known.valid = true;
    // Ethernet of which nothing is known, and which the short way understands, is nearly every packet.
    const packed_layers before = pack_layers(p.layers());
    if (before == 0) [[likely]] {
      const found_layers plain = dissect_plainly(p.contents(), p.headroom());
      if (plain.packed != 0) [[likely]] {
        p.layers(unpack_layers(plain.packed));
        known.found = plain.parts;
        return pass;
      }
    }
    known.found = unpack_layers(parse_carefully(p));
    return known.found.fault == drop_reason::none ? pass : drop(known.found.fault);
  }

 private:
  // What an early verdict or an earlier parse() has found stays, unless the packet was cut or moved since.
  [[gnu::noinline]] static packed_layers parse_carefully(packet& p) noexcept {
    layers found = p.layers();
    const bool parsed = found.has(protocol::parsed);
    if (parsed ? !lies_in(found, p.headroom(), p.length()) : found.fault == drop_reason::none) {
      found = look(p);
      if (p.checksum() == checksum_status::partial && parsed) {
        if (!move_partial_checksum(p, found)) return pack_layers({.fault = drop_reason::no_packet});
        found = look(p);  // it may have been copied
      }
      p.layers(found);
    }
    return pack_layers(found);
  }
  [[nodiscard]] static layers look(const packet& p) noexcept {
    return runnel::dissect(
        p.contents(), p.layers().link_kind(),
        {.head_offset = p.headroom(), .chained = p.total_length() - p.length(), .missing = p.missing()});
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
/// Drops what is malformed, with the cause. Costs a few ns for a packet; where an early verdict or another `parse()`
/// has looked already, only whether its headers still lie in the bytes: what was cut or moved since is looked at anew.
/// So it stands behind a stage that takes a tunnel's headers off, or puts some in front. A checksum that was left to
/// the device and is inside now is completed; a packet that stands for many segments has one for each, and goes into no
/// tunnel.
[[nodiscard]] constexpr detail::parse_stage parse() noexcept { return {}; }

/// Makes the bytes of each packet its own, by copying those that are shared with a clone. Drops a packet for which the
/// pool has no slot (drop_reason::no_packet). Needed between `tee` and a stage that writes.
[[nodiscard]] constexpr detail::unshare_stage unshare() noexcept { return {}; }

}  // namespace runnel

#endif
