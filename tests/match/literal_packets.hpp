// SPDX-License-Identifier: MIT
// Packets for the tests of match/: bytes written by write_headers, dissected.
#ifndef TESTS_MATCH_LITERAL_PACKETS_HPP
#define TESTS_MATCH_LITERAL_PACKETS_HPP

#include <runnel/match.hpp>
#include <runnel/wire/build.hpp>
#include <runnel/wire/dissect.hpp>
#include <runnel/wire/ethernet.hpp>
#include <runnel/wire/icmp.hpp>
#include <runnel/wire/icmpv6.hpp>
#include <runnel/wire/ipv4.hpp>
#include <runnel/wire/ipv6.hpp>
#include <runnel/wire/tcp.hpp>
#include <runnel/wire/udp.hpp>
#include <runnel/wire/vlan.hpp>

struct literal_packet {
  std::byte storage[160]{};
  std::size_t size = 0;
  runnel::layers found{};

  [[nodiscard]] constexpr runnel::bytes contents() const { return {storage, size}; }
  [[nodiscard]] constexpr runnel::subject as_subject() const { return {contents(), found}; }
};

// `payload` zero bytes behind the headers. The compiler writes them.
template <class... Headers>
[[nodiscard]] consteval literal_packet make(std::size_t payload, const Headers&... headers) {
  literal_packet p;
  p.size = runnel::size_of_headers(headers...) + payload;
  (void)runnel::write_headers({p.storage, p.size}, headers...);
  p.found = runnel::dissect(p.contents());
  return p;
}

inline constexpr runnel::ethernet_header eth{.source = {{2, 0, 0, 0, 0, 1}}, .destination = {{2, 0, 0, 0, 0, 2}}};
inline constexpr runnel::ipv4_header from_10_1_2_3{.source = {10, 1, 2, 3}, .destination = {192, 0, 2, 1}};
inline constexpr runnel::ipv6_header from_db8_1{.source = {0x2001'0db8'0000'0000, 1},
                                                .destination = {0x2001'0db8'0000'0000, 2}};

[[nodiscard]] constexpr runnel::tcp_header tcp_to(std::uint16_t port, std::uint8_t flags = runnel::tcp_flags::ack) {
  return {40000, port, 1, 1, flags};
}
[[nodiscard]] constexpr runnel::udp_header udp_to(std::uint16_t port) { return {40000, port}; }

#endif
