// SPDX-License-Identifier: MIT
// Datagrams as plain bytes, and their fragments: for tests of reassembly and fragmentation.
#ifndef RUNNEL_TESTS_IP_CUT_HPP
#define RUNNEL_TESTS_IP_CUT_HPP

#include <cstddef>
#include <cstdint>
#include <vector>

#include <doctest/doctest.h>

#include <runnel/packet.hpp>
#include <runnel/wire.hpp>

namespace runnel::test {

using octets = std::vector<std::byte>;

inline constexpr ethernet_header link_header{.source = {{2, 0, 0, 0, 0, 1}}, .destination = {{2, 0, 0, 0, 0, 2}}};
inline constexpr std::size_t link_size = 14;

/// A frame with these headers and a payload in which no two places look alike.
template <class... Headers>
[[nodiscard]] octets frame_of(std::size_t payload, const Headers&... headers) {
  octets whole(size_of_headers(headers...) + payload);
  for (std::size_t i = 0; i < payload; ++i)
    whole[whole.size() - payload + i] = static_cast<std::byte>((i * 7 + i / 251 + payload) & 0xff);
  REQUIRE(write_headers({whole.data(), whole.size()}, headers...));
  return whole;
}
/// Of UDP, from port 1000 to port 53, in `size` bytes behind the IP header.
[[nodiscard]] inline octets udp4(std::size_t size, std::uint16_t id = 1, std::uint8_t last = 1) {
  return frame_of(
      size - 8, link_header,
      ipv4_header{.source = {10, 0, 0, last}, .destination = {192, 0, 2, 1}, .id = id, .dont_fragment = false},
      udp_header{.source_port = 1000, .destination_port = 53});
}
[[nodiscard]] inline octets udp6(std::size_t size) {
  return frame_of(
      size - 8, link_header,
      ipv6_header{.source = {0x2001'0db8'0000'0000, 1}, .destination = {0x2001'0db8'0000'0000, 2}, .flow_label = 5},
      udp_header{.source_port = 1000, .destination_port = 53});
}
[[nodiscard]] inline bool is_ipv6(const octets& whole) { return load_u8(whole.data() + link_size) >> 4 == 6; }
/// Bytes before what is cut.
[[nodiscard]] inline std::size_t header_bytes(const octets& whole) {
  return link_size + (is_ipv6(whole) ? 40 : (load_u8(whole.data() + link_size) & 15u) * std::size_t{4});
}

/// The fragment of bytes `begin` to `end` of what the IP header carries. They need not make sense.
[[nodiscard]] inline octets piece(const octets& whole, std::size_t begin, std::size_t end, bool more,
                                  std::uint32_t id = 1) {
  const std::size_t header = header_bytes(whole);
  octets p(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(header));
  std::byte* ip = p.data() + link_size;
  if (is_ipv6(whole)) {
    std::byte fragment[8]{};
    store_u8(fragment, load_u8(ip + 6));
    store_be16(fragment + 2, static_cast<std::uint16_t>(begin | (more ? 1u : 0u)));
    store_be32(fragment + 4, id);
    store_u8(ip + 6, 44);
    store_be16(ip + 4, static_cast<std::uint16_t>(8 + end - begin));
    p.insert(p.end(), fragment, fragment + 8);
  } else {
    store_be16(ip + 2, static_cast<std::uint16_t>(header - link_size + end - begin));
    store_be16(ip + 6, static_cast<std::uint16_t>(begin / 8 | (more ? 0x2000u : 0u)));
    mut<ipv4>::unchecked({ip, header - link_size}).update_checksum();
  }
  for (std::size_t i = begin; i < end; ++i)
    p.push_back(header + i < whole.size() ? whole[header + i] : std::byte{0xee});
  return p;
}
/// The fragments between these places; the last one ends where the frame does.
[[nodiscard]] inline std::vector<octets> cut(const octets& whole, const std::vector<std::size_t>& places,
                                             std::uint32_t id = 1) {
  std::vector<octets> pieces;
  const std::size_t size = whole.size() - header_bytes(whole);
  for (std::size_t i = 0; i <= places.size(); ++i)
    pieces.push_back(
        piece(whole, i == 0 ? 0 : places[i - 1], i == places.size() ? size : places[i], i != places.size(), id));
  return pieces;
}

/// As a device and parse() would make it.
[[nodiscard]] inline packet received(pool& memory, const octets& frame, std::int64_t ms = 0, std::uint16_t iif = 0) {
  packet p = memory.allocate();
  REQUIRE(static_cast<bool>(p));
  REQUIRE(p.append(bytes{frame.data(), frame.size()}));
  p.timestamp(instant{} + milliseconds(ms));
  p.iif(iif);
  p.layers(dissect(p.contents(), link_type::ethernet, {.head_offset = p.headroom()}));
  return p;
}
[[nodiscard]] inline octets bytes_of(const packet& p) {
  octets all;
  p.for_each_fragment([&all](bytes b) { all.insert(all.end(), b.begin(), b.end()); });
  return all;
}

}  // namespace runnel::test

#endif
