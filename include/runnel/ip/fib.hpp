// SPDX-License-Identifier: MIT
// What a table for the longest prefix match offers, whatever it is made of: routes go in and out one by one, and an
// address, or many at once, asks for the number of its next hop.
//
// There are these, behind one concept. Speed and memory are those of `bench/run fib`:
//
//     dir_24_8                       IPv4; 43 MiB for all routes of the internet, at least 32. One load for most
//     dir_16_16                      IPv6; 50 MiB for all routes of the internet, less for fewer. Three loads for most
//     compact_trie<ipv4_address>     8 MiB for a million routes of the internet, less for fewer
//     compact_trie<ipv6_address>     the same for IPv6
//     sorted_routes<Address>         12 or 32 bytes a route, no more: for microcontrollers. Slow to change when large
#ifndef RUNNEL_IP_FIB_HPP
#define RUNNEL_IP_FIB_HPP

#include <concepts>  // same_as, convertible_to
#include <cstddef>   // size_t
#include <cstdint>   // uint16_t

#include <runnel/wire/address.hpp>

namespace runnel {

/// The number of a next hop, or of whatever else a route leads to: an index into a table of the caller's. At most
/// `no_next_hop - 1`.
using next_hop_number = std::uint16_t;
/// What a lookup gives for an address that no route covers.
inline constexpr next_hop_number no_next_hop = 0x7fff;

/// A table of routes of one family. `insert` adds a route or gives the one that is there another next hop; it is false,
/// and nothing has changed, when the table is full. `erase` is false when the very route is not there. `find` gives the
/// next hop of the very route, `lookup` that of the longest route which covers the address, and the last form does so
/// for `n` addresses: what they need is on its way from memory for all of them at once. `no_next_hop` is the answer
/// where there is none. `clear` removes all routes. One thread changes it; several may ask while none changes it.
template <class F>
concept fib = requires(F& f, const F& c, const typename F::address_type* addresses, const typename F::prefix_type& p,
                       next_hop_number* answers, std::size_t n) {
  requires std::same_as<typename F::prefix_type, basic_prefix<typename F::address_type>>;
  { f.insert(p, next_hop_number{}) } -> std::same_as<bool>;
  { f.erase(p) } -> std::same_as<bool>;
  { c.find(p) } -> std::same_as<next_hop_number>;
  { c.lookup(*addresses) } -> std::same_as<next_hop_number>;
  c.lookup(addresses, answers, n);
  { c.size() } -> std::convertible_to<std::size_t>;
  f.clear();
};

}  // namespace runnel

#endif
