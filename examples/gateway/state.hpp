// SPDX-License-Identifier: MIT
// Connections that outlive a restart, `--state FILE`: what export_connections() writes, and behind it the addresses
// that this host had then. To one that it has no more nobody sends answers: who was translated to it is translated anew
// by his next packet, as after a reload.
//
//     connections    as export.hpp says
//     addresses      16 bytes each, IPv4 ones as mapped ones
//     trailer        "RNLGW" 0, how many addresses (2 bytes); a file without it, of before, has connections only
#ifndef GATEWAY_STATE_HPP
#define GATEWAY_STATE_HPP

#include <runnel/runnel.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "router.hpp"

namespace gateway {

inline constexpr char state_magic[6] = {'R', 'N', 'L', 'G', 'W', 0};
inline constexpr std::size_t state_trailer = sizeof state_magic + 2;

inline std::vector<std::byte> saved_state(router& r, runnel::instant now) {
  std::vector<std::byte> all(export_size(r.connections));
  all.resize(export_connections(r.connections, {all.data(), all.size()}, now));
  std::uint16_t n = 0;
  for (const runnel::ip_interface& link : r.links)
    for (const runnel::interface_address& a : link.addresses) {
      all.resize(all.size() + 16);
      a.address.store(all.data() + all.size() - 16);
      ++n;
    }
  all.resize(all.size() + state_trailer);
  std::byte* const trailer = all.data() + all.size() - state_trailer;
  std::memcpy(trailer, state_magic, sizeof state_magic);
  runnel::store_be16(trailer + sizeof state_magic, n);
  return all;
}

struct restored {
  std::uint32_t connections = 0;  // that go on
  std::uint32_t ended = 0;        // whose address is gone
};

// Nothing is changed where it fails.
inline runnel::result<restored, runnel::error> restore_state(router& r, runnel::bytes from, runnel::instant now) {
  runnel::bytes connections = from, addresses;
  if (from.size() >= state_trailer) {
    const std::byte* const trailer = from.data() + from.size() - state_trailer;
    const std::size_t size = std::size_t{16} * runnel::load_be16(trailer + sizeof state_magic);
    if (std::memcmp(trailer, state_magic, sizeof state_magic) == 0 && size <= from.size() - state_trailer) {
      connections = from.first(from.size() - state_trailer - size);
      addresses = from.from(connections.size()).first(size);
    }
  }
  const auto done = import_connections(r.connections, connections, now);
  if (!done) return done.error();
  r.flows.clear();
  restored all{.connections = done->imported};
  for (std::size_t at = 0; at < addresses.size(); at += 16)
    if (const auto a = runnel::ipv6_address::load(addresses.data() + at); !r.interfaces().is_own(a))
      all.ended += r.translations.forget(a);
  all.connections -= all.ended;
  return all;
}

}  // namespace gateway

#endif
