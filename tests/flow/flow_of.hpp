// SPDX-License-Identifier: MIT
// The flow of a packet in words: what `steer` goes by.
#ifndef RUNNEL_TESTS_FLOW_FLOW_OF_HPP
#define RUNNEL_TESTS_FLOW_FLOW_OF_HPP

#include <string>

#include <runnel/base/text.hpp>
#include <runnel/packet.hpp>
#include <runnel/wire.hpp>

namespace runnel::test {

/// The addresses of a packet, and its ports where `steer` looks at them, the same for both directions.
inline std::string flow_of(const packet& p) {
  const header_map found{p};
  const std::byte* const ports = p.layers().has(protocol::fragment) ? nullptr : found.at<header::th, 4>();
  const bytes two = ports == nullptr ? bytes{} : bytes{ports, 4};
  text<160> out;
  if (found.has<ipv4>()) print(out, flow_key4::from(found.get<ipv4>(), two).canonical());
  else if (found.has<ipv6>()) print(out, flow_key6::from(found.get<ipv6>(), 0, two).canonical());
  return out.c_str();
}

}  // namespace runnel::test

#endif
