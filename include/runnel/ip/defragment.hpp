// SPDX-License-Identifier: MIT
// Reassembly in a pipeline: `defragment` takes fragments and passes on whole datagrams.
//
//     static static_fragment_table<fragment_config{}> fragments{seed};
//
//     auto path = parse() | defragment(fragments) | track(connections) | policy | transmit(wan);
//     run(clock, attach(lan, path), attach(fragments));  // the latter lets datagrams time out
//
// A datagram that came in pieces is chained behind it: its headers lie in the first buffer, its payload goes on in the
// others.
#ifndef RUNNEL_IP_DEFRAGMENT_HPP
#define RUNNEL_IP_DEFRAGMENT_HPP

#include <cstddef>  // size_t

#include <runnel/flow/stage.hpp>
#include <runnel/flow/timed_attachment.hpp>
#include <runnel/ip/fragment_table.hpp>

namespace runnel {

namespace detail {

struct defragment_stage : stage_defaults {
  static constexpr stage_kind kind = stage_kind::each;
  static constexpr bool needs_parsed = true;
  static constexpr const char* name = "defragment";

  constexpr explicit defragment_stage(fragment_table& t) noexcept : table(&t) {}
  RUNNEL_INLINE verdict operator()(packet& p, context& c, const layers* found = nullptr) const noexcept {
    if (found != nullptr && !found->has(protocol::fragment)) [[likely]]
      return pass;
    return table->reassemble(p, c.now);
  }
  constexpr void print_name(text_writer& out) const noexcept { out << name; }

  fragment_table* table;
};

}  // namespace detail

/// Takes the fragments of IPv4 and IPv6 datagrams, and passes on each datagram when the last of them has come: headers,
/// layers and lengths as if it had come in one packet, chained as its payload is. A fragment that is held counts as
/// `stolen`. Drops fragments that cannot be right (drop_reason::ip_fragment, ip_checksum), duplicates
/// (fragment_duplicate), what is too much (fragments_full), what the pool has no slot for (no_packet), and what other
/// threads have handed over from several pools (other_thread) where the table does not `copies_to` one of its own.
/// Everything else passes at the cost of one test. Refers to the table, which must outlive the pipeline; several paths
/// of one thread may share one.
[[nodiscard]] constexpr detail::defragment_stage defragment(fragment_table& fragments) noexcept {
  return detail::defragment_stage{fragments};
}

/// Lets the datagrams of a table time out: `run(clock, attach(lan, path), attach(fragments))`. At most 256 in a round.
/// Refers to the table, which must outlive it.
[[nodiscard]] constexpr auto attach(fragment_table& fragments) noexcept {
  return timed_attachment<fragment_table>{fragments};
}

}  // namespace runnel

#endif
