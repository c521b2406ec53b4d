// SPDX-License-Identifier: MIT
// Reassembly: IPv4 and IPv6 datagrams from their fragments, in memory that the user gives, within limits of memory,
// number and time. RFC 791, RFC 815, RFC 1858, RFC 3128, RFC 5722, RFC 6946, RFC 7112, RFC 8200 §4.5.
//
// Theory of operation. A *fragment* is held as the packet that it came in, without its headers but for fragment 0, in
// a list by its place in the datagram, the highest first. When the last gap is closed the packets are chained from the
// highest to the lowest, and the headers of fragment 0 are rewritten. No byte of the payload is copied, unless it was
// lent, or is in a slot of another pool.
//
// A datagram is *refused* when two fragments overlap, when one ends behind the last one, when there are two last ones,
// when their ECN bits do not go together, or when there are too many: then nothing of it goes on, whatever comes later
// (RFC 5722; IPv4 alike). An exact duplicate is ignored. At the limit of memory the oldest datagram that is not whole
// yet is given up: of a flood each has as long as the table is large, and those that come whole need but a moment.
//
// What it does not do: answer. Who wants to send time exceeded sets `on_timeout`; the parameter problems of RFC 8200
// §4.5 for lengths that cannot be are not sent.
#ifndef RUNNEL_IP_FRAGMENT_TABLE_HPP
#define RUNNEL_IP_FRAGMENT_TABLE_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t, uint64_t

#include <runnel/base/bytes.hpp>
#include <runnel/base/time.hpp>
#include <runnel/config.hpp>
#include <runnel/ip/fragment_config.hpp>
#include <runnel/ip/fragment_place.hpp>
#include <runnel/ip/fragment_store.hpp>
#include <runnel/packet/packet.hpp>
#include <runnel/packet/verdict.hpp>

namespace runnel {

/// The incomplete datagrams of one thread. Never grows, never allocates. All times that it is given come from one
/// clock, which does not go back. The pools of the packets that it holds must outlive it, or `clear()` comes before.
///
/// Costs 96 bytes for each datagram and 4 to 8 for finding it, and 24 bytes for each fragment, beside its packet.
class fragment_table : public detail::fragment_store {
 public:
  /// Gets fragment 0 of a datagram that did not become whole in time, as it came: for an ICMP time exceeded, code 1
  /// (RFC 1122 §3.3.2, RFC 8200 §4.5). Called only where fragment 0 had come. Must leave the table alone.
  using timeout_function = void (*)(void* context, packet&& first, instant now);

  /// An empty table in `memory`, which stays the caller's, must outlive it, be aligned and have `bytes_needed(c)`
  /// bytes, for at least one datagram of one fragment and at most 2^30 of each (asserted).
  fragment_table(mutable_bytes memory, const fragment_config& c) noexcept : fragment_store(memory, c) {}

  /// Takes a parsed packet. `pass`: it is no fragment, or `p` is now the whole datagram, with its headers and layers
  /// rewritten, and everything else that is known of fragment 0. `stolen`: the fragment is held. A drop: it goes no
  /// further, and `p` is still the caller's.
  [[nodiscard]] RUNNEL_INLINE verdict reassemble(packet& p, instant now) noexcept {
    if (!p.layers().has(protocol::fragment)) [[likely]]
      return pass;
    return take(p, now);
  }
  /// Fragments that came from other threads, as those of a `steer` do, are copied to `memory`, a pool of this thread
  /// which outlives the table. Without this they are held as they are, and joined with those of one and the same pool
  /// only: for a pool gives slots to its own thread alone.
  void copies_to(pool& memory) noexcept { memory_ = &memory; }
  /// Has `f(context, packet, now)` called for datagrams that time out; null for nobody.
  void on_timeout(timeout_function f, void* context = nullptr) noexcept {
    timeout_ = f;
    timeout_context_ = context;
  }

 private:
  [[gnu::noinline]] verdict take(packet& p, instant now) noexcept {
    if (!p.layers().has(protocol::parsed)) return pass;
    ++statistics_.fragments;
    detail::fragment_place f;
    drop_reason why = detail::read_fragment(p, config_.by_interface, f);
    if (why != drop_reason::none) {
      ++statistics_.malformed;
      return drop(why);
    }
    if (f.begin == 0 && !f.more) return finish(p, f.end, false, p.total_length());
    const std::uint32_t d = datagram_of(f.key, now);
    const instant came = p.timestamp();
    why = hold(d, f, p);
    if (why != drop_reason::none) {
      forget_if_empty(d);
      return drop(why);
    }
    const datagram& g = datagrams_[d];
    if (g.got != g.total) return stolen;
    const std::uint32_t total = g.total;
    const std::size_t length = fragments_[g.lowest].held.total_length() + total - fragments_[g.lowest].end;
    const bool congested = detail::ecn_congested(g.ecn);
    p = join(d);
    p.timestamp(came);
    return finish(p, total, congested, length);
  }
  // A packet with all of its datagram, whose headers speak of a fragment.
  verdict finish(packet& p, std::uint32_t payload, bool congested, std::size_t length) noexcept {
    drop_reason why = drop_reason::no_packet;
    if (!p.is_shared() || p.unshare()) why = detail::make_whole(p, payload, congested, length);
    if (why == drop_reason::none) {
      ++statistics_.reassembled;
      return pass;
    }
    ++(why == drop_reason::no_packet ? statistics_.no_packet : statistics_.malformed);
    return drop(why);
  }

  // Takes the packet over when it fits in.
  RUNNEL_INLINE drop_reason hold(std::uint32_t d, const detail::fragment_place& f, packet& p) noexcept {
    neighbours at;
    drop_reason why = find_place(d, f, at);
    if (why != drop_reason::none) return why;
    datagram& g = datagrams_[d];
    std::uint32_t buffers = 1;
    if (!p.is_plain() || (g.home != nullptr && g.home != &p.home())) [[unlikely]] {
      why = own(g, f, p);
      if (why != drop_reason::none) {
        if (why == drop_reason::no_packet) ++statistics_.no_packet;
        return why;
      }
      // Counted only now: what was lent may need more slots than it had buffers.
      buffers = buffers_of(p);
    }
    if (g.home == nullptr) {
      g.home = &p.home();
      g.away = p.is_away() ? 1 : 0;
    }
    why = make_room(d, buffers);
    if (why != drop_reason::none) return why;
    cut_to_size(f, p);
    if (buffers != 1) buffers = buffers_of(p);
    link(d, f, at, buffers, static_cast<packet&&>(p));
    return drop_reason::none;
  }
  // Makes the bytes ones that may be kept, and of fragment 0 written to, in the pool of the others.
  [[nodiscard, gnu::noinline]] drop_reason own(const datagram& g, const detail::fragment_place& f,
                                               packet& p) const noexcept {
    if (!p.keep()) return drop_reason::no_packet;
    if (&p.home() == memory_) p.come_home();
    pool* const to = g.home != nullptr ? g.home : p.is_away() ? memory_ : nullptr;
    if (to != nullptr && to != &p.home()) {
      // Only its own thread takes slots from a pool.
      if (g.away) return drop_reason::other_thread;
      packet copied = p.copy(*to);
      if (!copied) return drop_reason::no_packet;
      p = static_cast<packet&&>(copied);
    }
    const bool good = f.begin == 0 ? !p.is_shared() || p.unshare() : f.header <= p.length();
    return good ? drop_reason::none : drop_reason::no_packet;
  }
  // Takes off the headers of a later fragment, and the padding of the link.
  static void cut_to_size(const detail::fragment_place& f, packet& p) noexcept {
    const std::size_t end = f.header + f.end - f.begin;
    [[maybe_unused]] bool cut = p.total_length() == end || p.trim(end);
    if (f.begin != 0) cut = p.pull(f.header) && cut;
    RUNNEL_ASSERT(cut);
  }
  // All of a datagram as one packet; the datagram is gone.
  [[nodiscard]] packet join(std::uint32_t d) noexcept {
    datagram& g = datagrams_[d];
    packet whole;
    // From the end: what a packet is chained to need not be walked over again.
    for (std::uint32_t n = g.highest; n != none;) {
      fragment& f = fragments_[n];
      [[maybe_unused]] const bool joined = !whole || f.held.append(static_cast<packet&&>(whole));
      RUNNEL_ASSERT(joined);
      whole = static_cast<packet&&>(f.held);
      const std::uint32_t lower = f.lower;
      fragments_.erase(n);
      n = lower;
    }
    held_ -= g.buffers;
    unlink(d);
    return whole;
  }

  pool* memory_ = nullptr;
};

/// A table in memory of its own, of a size known at compile time: for microcontrollers, and for static storage. Made
/// of a seed from a random source; converts to the table, which `get()` and `->` give too.
///
///     static static_fragment_table<fragment_config{.fragments = 256, .datagrams = 64}> fragments{seed};
template <fragment_config Config>
using static_fragment_table = detail::static_fragments<fragment_table, Config>;

}  // namespace runnel

#endif
