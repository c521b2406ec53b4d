// SPDX-License-Identifier: MIT
// Fuzz target: fragments of a few datagrams of both families, with any place, length and header octet, into a small
// table whose time goes on. After each the table has to be consistent, and what became whole has to be what a dissector
// finds in its bytes, made of the payload that belongs to each place. What became whole is cut again, and has to become
// whole once more.
//
// The input is a list of steps of eight bytes: datagram, place, length, more, time, and one header octet to be changed.
#include <cstddef>
#include <cstdint>

#include <runnel/ip/fragment.hpp>
#include <runnel/ip/fragment_table.hpp>
#include <runnel/wire.hpp>

#include "check.hpp"

namespace {

using namespace runnel;

static_pool<pool_config{.packets = 64, .bytes = 2048, .headroom = 64, .bare = 4}> memory;
constexpr fragment_config config{.fragments = 24, .datagrams = 4, .fragments_per_datagram = 16, .seed = 1};

// What lies at each place of every datagram's payload.
std::byte payload_at(std::size_t i) {
  return static_cast<std::byte>(i < 8 ? "\0\1\0\2\0\10\0\0"[i] : i * 37 + i / 256);
}

layers find(const packet& p) {
  return dissect(p.contents(), link_type::ethernet,
                 {.head_offset = p.headroom(), .chained = p.total_length() - p.length()});
}

packet make(const std::uint8_t* s) {
  const bool v6 = (s[0] & 1) != 0, more = (s[3] & 1) != 0;
  const std::size_t begin = s[1] * std::size_t{8}, size = s[2] + (s[3] & 2u) * 64;
  const ethernet_header link{};
  const std::uint8_t number = (s[0] & 2) != 0 ? 17 : 200;
  const ipv4_header four{.source = {10, 0, 0, 1},
                         .id = static_cast<std::uint16_t>(s[0] >> 2 & 3),
                         .dont_fragment = false,
                         .more_fragments = more,
                         .fragment_offset = static_cast<std::uint16_t>(begin),
                         .protocol = number};
  const ipv6_header six{.source = {1, 1}, .next_header = 44};
  packet p = memory->allocate();
  CHECK(static_cast<bool>(p));
  const std::size_t headers = 14 + (v6 ? 48u : 20u);
  std::byte* const to = p.put(headers + size);
  CHECK(to != nullptr);
  for (std::size_t i = 0; i < size; ++i) to[headers + i] = payload_at(begin + i);
  if (v6) {
    CHECK(write_headers({to, headers + size}, link, six));
    store_be32(to + 54, std::uint32_t{number} << 24 | static_cast<std::uint32_t>(begin | (more ? 1u : 0u)));
    store_be32(to + 58, s[0] >> 2 & 3);
  } else {
    CHECK(write_headers({to, headers + size}, link, four));
  }
  if ((s[5] & 0x80) != 0) {
    // Any octet of the headers, so that lengths, versions and extension headers are wrong as well.
    store_u8(to + 12 + s[6] % (headers - 12), s[7]);
    if (!v6 && (s[5] & 0x40) != 0) mut<ipv4>::unchecked({to + 14, 20}).update_checksum();
  }
  if ((s[5] & 1) != 0) CHECK(p.append(bytes{to, 3}));  // padding of the link
  p.layers(find(p));
  return p;
}

// A whole datagram that nobody wrote into: each byte is at its place.
void look_at(packet& p, bool untouched) {
  const layers found = p.layers();
  CHECK(found.has(protocol::parsed) && !found.has(protocol::fragment));
  CHECK(found == find(p));
  const header_map map{static_cast<const packet&>(p)};
  const std::size_t total =
      map.has<ipv6>() ? map.get<ipv6>().payload_length() + std::size_t{40} : map.get<ipv4>().total_length();
  CHECK(14 + total <= p.total_length());
  if (!untouched) return;
  std::size_t at = 0;
  const std::size_t headers = map.has<ipv6>() ? 54 : 34;
  p.for_each_fragment([&](bytes part) {
    for (const std::byte b : part) {
      if (at >= headers && at < 14 + total) CHECK(b == payload_at(at - headers));
      ++at;
    }
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static static_fragment_table<config> room;
  fragment_table& table = room;
  table.on_timeout([](void*, packet&& p, instant) {
    const packet first = static_cast<packet&&>(p);
    CHECK(first.layers().has(protocol::fragment) && first.layers().has(protocol::parsed));
  });
  bool untouched = true;
  instant now{};
  for (std::size_t i = 0; i + 8 <= size && i < 8 * 200; i += 8) {
    const std::uint8_t* const s = data + i;
    now = now + milliseconds(std::int64_t{s[4]} * s[4]);
    packet p = make(s);
    if (!p.layers().has(protocol::parsed)) continue;
    untouched = untouched && (s[5] & 0x80) == 0;
    const bool was_fragment = p.layers().has(protocol::fragment);
    const verdict v = table.reassemble(p, now);
    CHECK(table.check());
    CHECK(table.fragments() + memory->available() + (p ? 1u : 0u) >= memory->capacity() || v == pass);
    if (v == stolen) CHECK(!p);
    if (v != pass || !was_fragment) continue;
    look_at(p, untouched);
    // Once more.
    packet pieces[40];
    const std::size_t mtu = 68 + s[7];
    const auto n = header_map{static_cast<const packet&>(p)}.has<ipv6>() ? fragment_at_source(p, mtu, 77, pieces, 40)
                                                                         : fragment(p, mtu, pieces, 40);
    if (!n || *n < 2 || *n > config.fragments_per_datagram) continue;
    verdict last = stolen;
    for (std::size_t k = *n; k-- != 0;) {
      CHECK(last == stolen);
      last = table.reassemble(pieces[k], now);
      CHECK(table.check());
      if (last.code == verdict_code::drop) break;  // it meets another of its identification
    }
    if (last == pass) look_at(pieces[0], untouched);
  }
  table.clear();
  CHECK(memory->available() == memory->capacity());
  return 0;
}
