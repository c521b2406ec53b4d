// SPDX-License-Identifier: MIT
// What can be set about reassembly, and what it counts.
#ifndef RUNNEL_IP_FRAGMENT_CONFIG_HPP
#define RUNNEL_IP_FRAGMENT_CONFIG_HPP

#include <cstdint>  // uint16_t, uint32_t, uint64_t

#include <runnel/base/text.hpp>
#include <runnel/base/time.hpp>

namespace runnel {

/// How large a fragment table is, and how long it waits. A fragment that came in several buffers counts as many.
struct fragment_config {
  /// Held at once, of all datagrams: as many slots of a pool. It should have many more, for nothing is received without
  /// a free one, and everybody can send fragments that never become whole.
  std::uint32_t fragments = 4096;
  std::uint32_t datagrams = 1024;             ///< incomplete at once
  std::uint16_t fragments_per_datagram = 64;  ///< enough for 65535 bytes at an MTU of 1280 or more
  /// Fragments that came in by different interfaces (`packet::iif`) never belong together. What becomes of a datagram
  /// is done in the path that its last fragment, or with `virtual_defragment` its first one, came to.
  bool by_interface = false;
  duration ipv4_timeout = seconds(30);  ///< from the first fragment that came to the last (net.ipv4.ipfrag_time)
  duration ipv6_timeout = seconds(60);  ///< the same (RFC 8200 §4.5)
  std::uint64_t seed = 0;  ///< of the hash: from a random source, or others can choose datagrams that collide
};

/// What a fragment table counted.
struct fragment_statistics {
  std::uint64_t fragments = 0;    ///< that came, all of them (ReasmReqds)
  std::uint64_t reassembled = 0;  ///< datagrams that became whole; atomic fragments are among them (ReasmOKs)
  std::uint64_t duplicates = 0;   ///< fragments that were there already
  std::uint64_t malformed = 0;    ///< fragments that cannot be right by themselves
  std::uint64_t refused = 0;      ///< datagrams refused: fragments overlap or contradict each other, or were too many
  std::uint64_t late = 0;         ///< fragments of datagrams that had been refused
  std::uint64_t timed_out = 0;    ///< datagrams that did not become whole in time (ReasmTimeout)
  std::uint64_t given_up = 0;     ///< datagrams that made room for newer ones
  std::uint64_t no_packet = 0;    ///< fragments lost because the pool had no slot to keep them
  /// Fragments that were held, and went with their datagram: refused, timed out or given up
  /// (drop_reason::fragment_lost). Those that a timeout was told of are not among them.
  std::uint64_t lost = 0;
};

/// `fragments=3 reassembled=1 ...`, in one line.
constexpr void print(text_writer& out, const fragment_statistics& s) noexcept {
  out << "fragments=" << s.fragments << " reassembled=" << s.reassembled << " duplicates=" << s.duplicates
      << " malformed=" << s.malformed << " refused=" << s.refused << " late=" << s.late << " timed_out=" << s.timed_out
      << " given_up=" << s.given_up << " no_packet=" << s.no_packet << " lost=" << s.lost;
}

}  // namespace runnel

#endif
