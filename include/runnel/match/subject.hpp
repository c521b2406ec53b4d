// SPDX-License-Identifier: MIT
// What a match expression is asked about: one packet's bytes, the places of its headers, and what is known beside
// them. The same for frames, packets and literal bytes.
#ifndef RUNNEL_MATCH_SUBJECT_HPP
#define RUNNEL_MATCH_SUBJECT_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t

#include <runnel/base/bytes.hpp>
#include <runnel/base/time.hpp>
#include <runnel/config.hpp>
#include <runnel/packet/connection_state.hpp>
#include <runnel/packet/frame.hpp>
#include <runnel/packet/layers.hpp>
#include <runnel/packet/packet.hpp>
#include <runnel/wire/header_map.hpp>

namespace runnel {

/// The subject of a match expression. A view: valid as long as the packet is not changed in place or length. Made
/// right where it is used: everything is inlined there, and what no expression asks for is never loaded.
///
/// Only what `dissect` found can match. A packet that was not dissected, or in which it found a fault, has a link
/// header at most; a later fragment of an IP datagram has no transport header.
struct subject {
  /// A frame, and what `dissect` found in it.
  subject(const frame& f, const layers& found) noexcept : subject(f, header_map{f, found}) {}
  /// The same with a map of its headers that somebody has made already.
  subject(const frame& f, const header_map& map) noexcept
      : contents{f.data, f.length},
        headers(map),
        length(f.length),
        timestamp(f.timestamp),
        iif(f.iif),
        queue(f.queue) {}
  /// A packet that `parse` has seen. Implicit, so that rules can be called with a packet.
  subject(const packet& p) noexcept : subject(p, header_map{p}) {}
  /// The same with a map of its headers that somebody has made already, and the records of connections that stages
  /// are given in `context::connections`.
  subject(const packet& p, const header_map& map, const void* records = nullptr) noexcept
      : contents(p.contents()),
        headers(map),
        length(p.total_length()),
        timestamp(p.timestamp()),
        mark(p.mark()),
        flow_hash(p.flow_hash()),
        connection(p.connection()),
        connections(records),
        iif(p.iif()),
        oif(static_cast<std::uint16_t>(p.scratch() >> 16)),
        priority(p.priority()),
        queue(p.queue()) {}
  /// Bytes, and what `dissect` found in them: for tests, also in constant evaluation.
  constexpr subject(bytes b, const layers& found) noexcept : contents(b), headers(b, 0, found), length(b.size()) {}

  bytes contents;       ///< of the first fragment: as far as headers are looked for
  header_map headers;   ///< where its headers are
  std::size_t length;   ///< bytes in all fragments, link header included
  instant timestamp{};  ///< when it was received
  /// As `packet::mark()`; 0 for a frame.
  std::uint32_t mark = 0;
  /// As `packet::flow_hash()`; 0 for a frame.
  std::uint32_t flow_hash = 0;
  std::uint32_t connection = 0;       ///< as `packet::connection()`: 0 when untracked, which a frame always is
  const void* connections = nullptr;  ///< the records of the connection table; null when not known
  std::uint16_t iif = 0;              ///< by which interface of the device it came
  /// By which it goes, behind `route()`: the upper half of `packet::scratch()`.
  std::uint16_t oif = 0;
  /// As `packet::priority()`; 0 for a frame.
  std::uint8_t priority = 0;
  /// What is known of its connection; null when it has none, that is over, or nobody knows.
  [[nodiscard]] RUNNEL_INLINE const connection_facts* facts() const noexcept {
    const std::uint32_t number = connection >> 4;
    if (number == 0 || connections == nullptr) return nullptr;
    const auto* const known = static_cast<const connection_facts*>(static_cast<const void*>(
        static_cast<const std::byte*>(connections) + (number - 1) * detail::connection_stride));
    return (known->status & detail::connection_is_alive) != 0 ? known : nullptr;
  }
  std::uint8_t queue = 0;  ///< by which receive queue it came; of a packet as `packet::queue()`
};

}  // namespace runnel

#endif
