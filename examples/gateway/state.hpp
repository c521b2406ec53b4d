// SPDX-License-Identifier: MIT
// Connections that outlive a restart, `--state FILE`: what export_connections() writes, and behind it the addresses
// that this host had then. To one that it has no more nobody sends answers: who was translated to it is translated anew
// by his next packet, as after a reload. And when that was: connections grow older while no gateway runs, and the file
// of a gateway that was killed is that of the end before.
//
//     connections    as export.hpp says
//     addresses      16 bytes each, IPv4 ones as mapped ones
//     trailer        when, in nanoseconds since 1970 UTC (8 bytes); a hash of the addresses and of that (8); "RNLGW" 1,
//                    how many addresses (2). One of before, "RNLGW" 0, has neither time nor hash, a file without one
//                    has connections only.
#ifndef GATEWAY_STATE_HPP
#define GATEWAY_STATE_HPP

#include <runnel/runnel.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "router.hpp"

namespace gateway {

inline constexpr char state_magic[5] = {'R', 'N', 'L', 'G', 'W'};
inline constexpr std::size_t state_trailer = sizeof state_magic + 1 + 2, state_times = 8 + 8;
// No connection waits longer for its next packet.
inline constexpr runnel::duration longest_wait = runnel::seconds(5 * 86'400);

// `set`: how far the system's clock was set since `now` began to be counted, as by NTP behind a start without it.
inline std::vector<std::byte> saved_state(router& r, runnel::instant now, runnel::duration set = {}) {
  std::vector<std::byte> all(export_size(r.connections));
  all.resize(export_connections(r.connections, {all.data(), all.size()}, now));
  std::uint16_t n = 0;
  for (const runnel::ip_interface& link : r.links)
    for (const runnel::interface_address& a : link.addresses) {
      all.resize(all.size() + 16);
      a.address.store(all.data() + all.size() - 16);
      ++n;
    }
  const std::size_t summed = std::size_t{16} * n + 8;
  all.resize(all.size() + state_times + state_trailer);
  std::byte* const trailer = all.data() + all.size() - state_trailer;
  runnel::store_be64(trailer - 16, static_cast<std::uint64_t>((now + set).ns));
  runnel::store_be64(trailer - 8, runnel::detail::export_sum({trailer - 8 - summed, summed}));
  std::memcpy(trailer, state_magic, sizeof state_magic);
  runnel::store_u8(trailer + sizeof state_magic, 1);
  runnel::store_be16(trailer + sizeof state_magic + 1, n);
  return all;
}

struct restored {
  std::uint32_t connections = 0;  // that go on
  std::uint32_t ended = 0;        // whose address is gone
};

// Nothing is changed where it fails.
inline runnel::result<restored, runnel::error> restore_state(router& r, runnel::bytes from, runnel::instant now) {
  runnel::bytes connections = from, addresses;
  runnel::instant saved = now;
  if (from.size() >= state_trailer) {
    const std::byte* const trailer = from.data() + from.size() - state_trailer;
    const std::size_t version = runnel::load_u8(trailer + sizeof state_magic);
    const std::size_t size = std::size_t{16} * runnel::load_be16(trailer + sizeof state_magic + 1);
    const std::size_t behind = (version == 1 ? state_times : 0) + state_trailer;
    if (std::memcmp(trailer, state_magic, sizeof state_magic) == 0 && version <= 1 && size + behind <= from.size()) {
      connections = from.first(from.size() - behind - size);
      addresses = from.from(connections.size()).first(size);
      if (version == 1) {
        if (runnel::detail::export_sum({addresses.data(), size + 8}) != runnel::load_be64(trailer - 8))
          return runnel::error("connections", "import", "", "damaged: the checksum of its addresses is wrong");
        saved.ns = static_cast<std::int64_t>(runnel::load_be64(trailer - 16));
      }
    }
  }
  // A clock that was set back, or is not set yet, says nothing about how long it was.
  if (saved > now) saved = now;
  restored all;
  if (now - saved > longest_wait) return all;
  const auto done = import_connections(r.connections, connections, saved);
  if (!done) return done.error();
  r.flows.clear();
  for (std::size_t at = 0; at < addresses.size(); at += 16)
    if (const auto a = runnel::ipv6_address::load(addresses.data() + at); !r.interfaces().is_own(a))
      all.ended += r.translations.forget(a);
  // Those that are over no packet finds any more, and they expire.
  r.connections.for_each(
      [&](const runnel::connection& c) { all.connections += r.connections.remaining(c, now).ns > 0; });
  return all;
}

}  // namespace gateway

#endif
