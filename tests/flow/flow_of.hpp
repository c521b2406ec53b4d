// SPDX-License-Identifier: MIT
// The flow of a packet in words: what `steer` goes by.
#ifndef RUNNEL_TESTS_FLOW_FLOW_OF_HPP
#define RUNNEL_TESTS_FLOW_FLOW_OF_HPP

#include <cstddef>
#include <cstdint>
#include <string>

#include <runnel/base/text.hpp>
#include <runnel/packet.hpp>
#include <runnel/wire.hpp>

namespace runnel::test {

// The flow of the datagram that an ICMP error quotes.
inline std::string flow_quoted(bytes b) {
  const auto port = [&b](std::size_t at) { return at + 2 <= b.size() ? load_be16(b.data() + at) : std::uint16_t{0}; };
  const bool six = load_u8(b.data()) >> 4 == 6;
  const std::uint8_t transport = load_u8(b.data() + (six ? 6 : 9));
  const std::size_t at = transport != 6 && transport != 17 ? b.size() : six ? 40 : (load_u8(b.data()) & 15u) * 4u;
  text<160> out;
  if (six)
    print(out, flow_key6{ipv6_address::load(b.data() + 8), ipv6_address::load(b.data() + 24), port(at), port(at + 2), 0}
                   .canonical());
  else
    print(out, flow_key4{ipv4_address::load(b.data() + 12), ipv4_address::load(b.data() + 16), port(at), port(at + 2),
                         transport}
                   .canonical());
  return out.c_str();
}
/// The addresses of a packet, and its ports where `steer` looks at them, the same for both directions; those of the one
/// that it is about, when it is an ICMP error.
inline std::string flow_of(const packet& p) {
  const header_map found{p};
  const std::byte* const ports = p.layers().has(protocol::fragment) ? nullptr : found.at<header::th, 4>();
  const bytes two = ports == nullptr ? bytes{} : bytes{ports, 4};
  bytes quoted;
  if (ports == nullptr && found.has<icmp>()) quoted = found.get<icmp>().quoted();
  if (ports == nullptr && found.has<icmpv6>()) quoted = found.get<icmpv6>().quoted();
  if (quoted.size() >= (found.has<ipv4>() ? 20u : 40u)) return flow_quoted(quoted);
  text<160> out;
  if (found.has<ipv4>()) print(out, flow_key4::from(found.get<ipv4>(), two).canonical());
  else if (found.has<ipv6>()) print(out, flow_key6::from(found.get<ipv6>(), 0, two).canonical());
  return out.c_str();
}

}  // namespace runnel::test

#endif
