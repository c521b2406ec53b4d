// SPDX-License-Identifier: MIT
// The fast path: packets of known flows are tracked, rewritten and sent in one step, past all other stages.
//
//     static static_flowtable<flowtable_config{.flows = 65536}> flows{connections};
//
//     auto slow = as_pipeline(track(connections) | policy | nat<prerouting>(translations)
//               | route(routes).on<forward>(forwarding(routes).on<forwarded>(
//                     nat<postrouting>(translations, rules(when(meta::oif == wan) >> masquerade()),
//                     leaving(interfaces)) | confirm(connections) | resolve(neighbours, routes) | flow_add(flows) |
//                     transmit(out)) ...));
//     const auto from_lan = [](packet& p) { p.iif(lan_number); };  // devices number their own interfaces only
//     auto path = parse() | from_lan | fast_path(flows).on<offloaded>(transmit(out)).on<other>(shared(slow));
//
// What one `flow_add` of a table remembers, any `fast_path` of it does: the way `offloaded` gets the packets of all
// outputs, and has to send each to its own. `out` here is a device that sends each packet by the interface `oif_of` it:
// `interface_outputs`.
//
// `flow_add` stands where packets leave, and remembers how each flow's packets look there. `fast_path` gives the
// packets that come after it the same look: addresses and ports, TTL or hop limit one less, checksums kept right,
// Ethernet addresses, scratch word (and with it `oif_of`). Their connections count them, live on and
// follow their windows as if `track` had seen them. All other packets it leaves wholly untouched, for the slow way.
//
// Which packets go the fast way: TCP and UDP over IPv4 without options or IPv6 without extension headers, in Ethernet
// without tags, no fragments, whose flow came the same way: by the same interface (`packet::iif`; of packets whose
// interface is 0, which is what most devices leave it at, `flow_add` remembers nothing), and without other headers
// before, such as tags that somebody took off; of confirmed connections that were seen in both
// directions, and that no helper reads (`connection::helper`); of TCP established and assured ones, and only segments
// with ACK, perhaps PSH, without options but a timestamp, in their window. A TTL above 1, a right IPv4 header checksum,
// and no longer than the longest packet that this flow has brought to `flow_add`: MTUs are looked at on the slow way.
// (An IPv4 packet that stands for segments and lacks "don't fragment" says nothing there: no MTU has stopped it.)
// Where `tracking_options::checksum` is on, only those whose transport checksum the device has vouched for.
//
// What is not done for packets on the fast way, as in the kernel: rules are not asked, so their counters, limits and
// logs see the other packets only; nor are routes and neighbours. A decision holds for `flowtable_options::lifetime`,
// or until `flows.clear()`. What else stages in between did to packets, marks, priorities, DSCP or TTL set by a rule
// among it, is not done again, nor does a mark or priority from before change which way a packet goes; where they
// changed addresses or ports other than NAT does, `flow_add` adds nothing. ECE and CWR (RFC 3168) go the fast way as
// ACK does. Packets whose bytes are shared, as behind a `tee`, go the slow way.
//
// The order of packets is kept within a connection: a packet of it that goes the slow way takes those of its burst with
// it that come after it, and packets on the fast way leave first. Fragments without ports, and what waits in a queue or
// for a neighbour on the slow way, may be overtaken.
#ifndef RUNNEL_TRACK_FAST_PATH_HPP
#define RUNNEL_TRACK_FAST_PATH_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint8_t, uint16_t

#include <runnel/config.hpp>
#include <runnel/flow/branch.hpp>
#include <runnel/flow/engine.hpp>
#include <runnel/flow/stage.hpp>
#include <runnel/packet/packet.hpp>
#include <runnel/packet/verdict.hpp>
#include <runnel/track/fast_tracker.hpp>
#include <runnel/track/flowtable.hpp>
#include <runnel/track/track.hpp>

namespace runnel {

/// The way of packets that are ready to be sent.
struct offloaded {
  static constexpr const char* name = "offloaded";  ///< in drawings
};

namespace detail {

struct fast_path_decision {
  using ways = ports<offloaded, other>;
  static constexpr const char* name = "fast path";
  static constexpr bool needs_parsed = true;
  static constexpr bool writes = true;
  static constexpr bool resizes = false;

  flowtable* flows;
  track_options options;

  ways operator()(packet&) const noexcept { return other{}; }  // not asked: see decide_all
  bool decide_all(packet* packets, verdict* to, std::size_t n, context& c) const noexcept {
    for (std::size_t i = 0; i < n; ++i) detail::store(to[i], pass);
    fast_tracker::facts f = fast_tracker::facts_of(*flows, options.zone, c.now, packets, to);
    std::size_t known = 0;
    for (std::size_t from = 0; from < n; from += at_once) some(f, from, n - from < at_once ? n - from : at_once, known);
    flows->statistics().hits += n - f.stayed;
    return f.stayed == 0 || f.stayed == n;
  }

 private:
  static constexpr std::size_t at_once = fast_tracker::at_once;
  // `n` packets from one on. Of those before `known`, `f` knows which connections have to wait.
  RUNNEL_INLINE static void some(fast_tracker::facts& f, std::size_t from, std::size_t n, std::size_t& known) noexcept {
    raw_array<fast_tracker::slot, at_once> slots;
    raw_array<std::uint8_t, at_once> none;
    // First all of TCP, then all others, the last one first: no branch asks which one it is.
    using slot = fast_tracker::slot;
    slot *const begin = slots.data(), *const end = begin + n;
    std::size_t of_tcp = 0;
    for (std::size_t i = 0; i < n; ++i) fast_tracker::read(f, f.packets[from + i], begin, of_tcp, n - 1 - i);
    slot* const tcp = begin + of_tcp;
    for (slot* s = begin; s != tcp; ++s) fast_tracker::search<true>(f, *s);
    for (slot* s = end; s != tcp;) fast_tracker::search<false>(f, *--s);
    // Where nobody has an entry, nobody has to wait.
    const std::size_t missing = !f.beside ? 0 : fast_tracker::search_beside(f, begin, n, none.data());
    if (missing == n) return fast_tracker::miss_all(f, begin, n);
    for (; known < from; known += at_once) fast_tracker::let_go_first(f, f.packets + known, at_once);
    known = from + n;
    if (missing != 0) fast_tracker::find_connections(f, begin, none.data(), missing);
    for (const slot* s = begin; s != tcp; ++s) fast_tracker::go<true>(f, *s);
    for (const slot* s = end; s != tcp;) fast_tracker::go<false>(f, *--s);
  }
};

struct flow_add_stage : stage_defaults {
  static constexpr stage_kind kind = stage_kind::each;
  static constexpr bool needs_parsed = true;
  static constexpr bool resizes = false;
  static constexpr const char* name = "flow add";

  constexpr explicit flow_add_stage(flowtable& f) noexcept : flows(&f) {}
  verdict operator()(packet& p, context& c) const noexcept {
    fast_tracker::add(*flows, p, c);
    return pass;
  }
  constexpr void print_name(text_writer& out) const noexcept { out << name; }

  flowtable* flows;
};

}  // namespace detail

/// A branch with the ways `offloaded`, of packets whose flow the table knows, ready to be sent, and `other`, of those
/// that go the slow way, untouched; see the beginning of this file. `options` are those of the `track` there. Needs
/// `parse()` before it, and packets with an `iif`. Marks and priorities that they have here are kept, and not looked
/// at: lead packets past it that rules judge by those. Packets on the way `offloaded` have the state `established` and
/// no connection. Refers to the table, which must outlive the pipeline.
[[nodiscard]] constexpr auto fast_path(flowtable& flows, track_options options = {}) noexcept {
  return branch(detail::fast_path_decision{&flows, options});
}
/// Remembers the flow of each packet that comes here by way of `fast_path`, if that can do exactly what was done to it:
/// right before `transmit`, behind `confirm`, in the burst that `track` saw: not behind a queue. Packets need an `iif`.
/// Changes and drops nothing. For paths that forward, and lower the TTL. Refers to the table, which must outlive the
/// pipeline.
[[nodiscard]] constexpr detail::flow_add_stage flow_add(flowtable& flows) noexcept {
  return detail::flow_add_stage{flows};
}

}  // namespace runnel

#endif
