// SPDX-License-Identifier: MIT
// Virtual reassembly in a pipeline: behind `virtual_defragment` each fragment belongs to the connection of its
// datagram, and stays a fragment.
//
//     static static_virtual_fragment_table<fragment_config{}> fragments{seed};
//
//     constexpr auto policy = rules(
//         when(ct::state == established || ct::state == related) >> accept,   // later fragments are one of these
//         when(ct::state == new_ && udp::dport == 53)            >> accept,   // first ones have ports
//         otherwise                                              >> drop);
//
//     auto path = parse() | virtual_defragment(fragments) | track(connections) | policy | confirm(connections)
//               | transmit(wan);
//     run(clock, attach(lan, path), attach(connections), attach(fragments));  // the latter lets datagrams time out
//
// Against `defragment`: nothing is chained, no headers are rewritten, no fragment is cut anew on the way out, and only
// what comes before a first fragment waits. But payload that spans fragments is seen by nobody.
//
// What sees what, of a later fragment:
// - `track()`: the whole tuple; so `ct::` fields, `connection&`, NAT (which changes its addresses) and counters work;
// - fields of `ip::`, `ip6::`, `meta::` and `frag::`: its own headers;
// - fields of `th::`, `tcp::`, `udp::`, `icmp::`, and handlers that ask for these headers: nothing, it has none.
#ifndef RUNNEL_IP_VIRTUAL_DEFRAGMENT_HPP
#define RUNNEL_IP_VIRTUAL_DEFRAGMENT_HPP

#include <runnel/flow/stage.hpp>
#include <runnel/flow/timed_attachment.hpp>
#include <runnel/ip/virtual_fragment_table.hpp>

namespace runnel {

namespace detail {

struct virtual_defragment_stage : stage_defaults {
  static constexpr stage_kind kind = stage_kind::many;
  static constexpr bool needs_parsed = true;
  static constexpr const char* name = "virtual defragment";

  constexpr explicit virtual_defragment_stage(virtual_fragment_table& t) noexcept : table(&t) {}
  [[nodiscard]] RUNNEL_INLINE bool leaves_alone(const packet& p) const noexcept {
    return !p.layers().has(protocol::fragment);
  }
  template <class GoOn>
  verdict operator()(packet& p, context& c, GoOn& go_on) const noexcept {
    return table->follow(p, c.now, go_on);
  }
  constexpr void print_name(text_writer& out) const noexcept { out << name; }

  virtual_fragment_table* table;
};

}  // namespace detail

/// Lets fragments pass that are known by their datagram's first one, which passes at once; what comes before it waits
/// (counted as `stolen`), and goes on behind it in order. Put it right before `track()`, which then gives each its
/// connection; see the beginning of this file. Drops what `defragment` drops: fragments that cannot be right, overlap
/// or contradict others (drop_reason::ip_fragment, ip_checksum), duplicates (fragment_duplicate), what is too much
/// (fragments_full), and what has to wait and the pool has no slot for (no_packet). Everything else passes at the cost
/// of one test. Refers to the table, which must outlive the pipeline; several paths of one thread may share one. What
/// waited goes on in the path that the first fragment came to: where paths lead to different places, as of two devices
/// that send to each other, a table is `by_interface`, or of one path, or anybody at one device sends back what waits
/// at the other.
[[nodiscard]] constexpr detail::virtual_defragment_stage virtual_defragment(
    virtual_fragment_table& fragments) noexcept {
  return detail::virtual_defragment_stage{fragments};
}

/// Lets the datagrams of a table time out: `run(clock, attach(lan, path), attach(fragments))`. At most 256 in a round.
/// Refers to the table, which must outlive it.
[[nodiscard]] constexpr auto attach(virtual_fragment_table& fragments) noexcept {
  return timed_attachment<virtual_fragment_table>{fragments};
}

}  // namespace runnel

#endif
