// SPDX-License-Identifier: MIT
// Virtual reassembly: fragments stay fragments, and each is known by the ports of its datagram. RFC 1858, RFC 3128,
// RFC 4787 REQ-14, RFC 5722, RFC 8900.
//
// Theory of operation. The first fragment of a datagram passes, and what it tells is remembered: protocol and ports, or
// the identifier of an ICMP query. The later ones pass behind it with that, in the packet's `scratch` and `connection`
// words, where `track()` finds it. Those that come before the first one wait for it, and go on behind it in order.
// Nothing is copied, but what a device had lent and has to wait.
//
// What was seen of a datagram is written down as in a fragment_table, and the same is refused: overlaps,
// contradictions, tiny first fragments, too many. What has passed by then has passed; its receiver never gets the rest.
#ifndef RUNNEL_IP_VIRTUAL_FRAGMENT_TABLE_HPP
#define RUNNEL_IP_VIRTUAL_FRAGMENT_TABLE_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t, uint64_t

#include <runnel/base/bytes.hpp>
#include <runnel/base/time.hpp>
#include <runnel/config.hpp>
#include <runnel/ip/fragment_config.hpp>
#include <runnel/ip/fragment_place.hpp>
#include <runnel/ip/fragment_store.hpp>
#include <runnel/packet/connection_state.hpp>
#include <runnel/packet/packet.hpp>
#include <runnel/packet/verdict.hpp>
#include <runnel/track/packet_tuple.hpp>

namespace runnel {

/// The datagrams of one thread of which fragments are to come. Never grows, never allocates. All times that it is given
/// come from one clock, which does not go back. The pools of the packets that it holds must outlive it, or `clear()`
/// comes before.
///
/// Costs 96 bytes for each datagram and 4 to 8 for finding it, and 24 bytes for each of its fragments, beside the
/// packets that wait. `config.fragments` counts both, those that wait and those that have passed: as many slots of a
/// pool it takes at most. A flood of fragments has the oldest datagrams given up, and what comes of them later waits in
/// vain until its time is over; those under way are whole long before, unless the flood fills the table meanwhile.
class virtual_fragment_table : public detail::fragment_store {
 public:
  /// An empty table in `memory`, which stays the caller's, must outlive it, be aligned and have `bytes_needed(c)`
  /// bytes, for at least one datagram of one fragment and at most 2^30 of each (asserted).
  virtual_fragment_table(mutable_bytes memory, const fragment_config& c) noexcept : fragment_store(memory, c) {}

  /// Takes a parsed packet. `pass`: it is no fragment, an atomic one, a first one, or a later one of which is known
  /// what it belongs to. `stolen`: it waits, or it was a first one for which others had waited, and went on by
  /// `go_on(packet&&)` with these behind it. A drop: it goes no further, and `p` is still the caller's. `go_on` may use
  /// the table again.
  template <class GoOn>
  [[nodiscard]] verdict follow(packet& p, instant now, GoOn&& go_on) noexcept {
    if (!p.layers().has(protocol::fragment) || !p.layers().has(protocol::parsed)) return pass;
    detail::fragment_place f;
    bool awaited = false;
    const verdict v = take(p, now, f, awaited);
    if (!awaited) return v;
    packet waited[at_once];
    for (bool rest = true; rest;) {
      const std::size_t n = take_waiting(f.key, waited, rest);
      if (p) go_on(static_cast<packet&&>(p));
      for (std::size_t i = 0; i < n; ++i) go_on(static_cast<packet&&>(waited[i]));
    }
    return stolen;
  }

 private:
  static constexpr std::size_t at_once = 16;

  [[gnu::noinline]] verdict take(packet& p, instant now, detail::fragment_place& f, bool& awaited) noexcept {
    ++statistics_.fragments;
    drop_reason why = detail::read_fragment(p, config_.by_interface, f);
    if (why != drop_reason::none) {
      ++statistics_.malformed;
      return drop(why);
    }
    if (f.begin == 0 && !f.more) {
      ++statistics_.reassembled;
      return pass;
    }
    const std::uint32_t d = datagram_of(f.key, now);
    neighbours at;
    why = find_place(d, f, at);
    if (why != drop_reason::none) return drop(why);
    datagram& g = datagrams_[d];
    const bool waits = f.begin != 0 && !g.passing;
    if (waits && !p.keep()) {
      ++statistics_.no_packet;
      why = drop_reason::no_packet;
    }
    const std::uint32_t buffers = waits ? buffers_of(p) : 1;
    if (why == drop_reason::none) why = make_room(d, buffers);
    if (why != drop_reason::none) {
      forget_if_empty(d);
      return drop(why);
    }
    if (f.begin == 0) remember(g, f, p);
    else if (!waits) tell(g, p);
    link(d, f, at, buffers, waits ? static_cast<packet&&>(p) : packet{});
    if (waits) return stolen;
    // Where others wait for it, they are taken out before the datagram is forgotten.
    awaited = f.begin == 0 && at.higher != none;
    if (!awaited) forget_if_whole(d);
    return pass;
  }
  // What a first fragment says.
  static void remember(datagram& g, const detail::fragment_place& f, const packet& p) noexcept {
    g.passing = 1;
    detail::packet_tuple found;
    detail::read_tuple(p, 0, found);
    if (found.kind != detail::tuple_kind::whole) return;
    const std::uint8_t protocol_number = found.tuple.protocol_number();
    g.word = detail::later_fragment::word_for(protocol_number);
    // Behind further extension headers the later ones do not know.
    if (g.word == detail::later_fragment::of_other && protocol_number != f.transport) g.word = 0;
    g.ports = static_cast<std::uint32_t>(found.tuple.rest() >> 32);
  }
  // Tells a later fragment, unless somebody has said already what it is to connection tracking.
  static void tell(const datagram& g, packet& p) noexcept {
    if (g.word == 0 || p.connection() != 0) return;
    p.connection(g.word);
    p.scratch(g.ports);
  }
  // Takes out fragments that wait, in order, as many as there is room for; `rest` says whether there may be more. What
  // is whole by then is forgotten.
  [[nodiscard]] std::size_t take_waiting(const detail::fragment_key& k, packet* to, bool& rest) noexcept {
    rest = false;
    const std::uint32_t d = find(k);
    if (d == none) return 0;
    datagram& g = datagrams_[d];
    std::size_t n = 0;
    for (std::uint32_t i = g.lowest; i != none; i = fragments_[i].higher) {
      packet& p = fragments_[i].held;
      if (!p) continue;
      if (n == at_once) {
        rest = true;
        return n;
      }
      // From now on it counts as one that has passed.
      const std::uint32_t more = buffers_of(p) - 1;
      g.buffers = static_cast<std::uint16_t>(g.buffers - more);
      held_ -= more;
      tell(g, p);
      to[n++] = static_cast<packet&&>(p);
    }
    forget_if_whole(d);
    return n;
  }
  void forget_if_whole(std::uint32_t d) noexcept {
    if (datagrams_[d].got != datagrams_[d].total) return;
    ++statistics_.reassembled;
    erase(d);
  }
};

/// A table in memory of its own, of a size known at compile time: for microcontrollers, and for static storage. Made
/// of a seed from a random source; converts to the table, which `get()` and `->` give too.
///
///     static static_virtual_fragment_table<fragment_config{.fragments = 256, .datagrams = 64}> fragments{seed};
template <fragment_config Config>
using static_virtual_fragment_table = detail::static_fragments<virtual_fragment_table, Config>;

}  // namespace runnel

#endif
