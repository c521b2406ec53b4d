// SPDX-License-Identifier: MIT
// Fuzz target: a sequence of packets between few hosts, through track(), perhaps confirm(), with time going on; and at
// the end an export, and an import of the input itself. After each packet the table has to be consistent, what it says
// about the packet has to fit, and no connection that was assured may have gone before its time.
//
// The input is a list of steps: a byte that says what, and four that choose addresses, ports, flags, numbers and time.
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <vector>

#include <runnel/track.hpp>
#include <runnel/wire.hpp>

#include "check.hpp"
#include "made_packet.hpp"

namespace {

using namespace runnel;

constexpr connection_config config{.connections = 12, .ipv6_connections = 4, .unconfirmed = 4, .seed = 3};
constexpr ethernet_header eth{};

static_pool<pool_config{.packets = 4, .bytes = 512, .headroom = 64, .bare = 1}> memory;

// One step of the input.
struct step {
  std::uint8_t what, who, flags, number, time;
};
packet packet_of(const step& s) {
  const std::uint8_t from = s.who & 3u, to = s.who >> 2 & 3u;
  const ipv4_header v4{.source = ipv4_address{10, 0, 0, from}, .destination = ipv4_address{10, 0, 0, to}};
  const ipv6_header v6{.source = ipv6_address{1, from}, .destination = ipv6_address{1, to}};
  const auto sport = static_cast<std::uint16_t>(s.who >> 4 & 3u), dport = static_cast<std::uint16_t>(s.who >> 6);
  tcp_header segment;
  segment.source_port = sport, segment.destination_port = dport, segment.flags = s.flags;
  segment.sequence_number = 0xffff'fff0u + s.number * 16u, segment.acknowledgment_number = s.number * 7u;
  segment.window_size = static_cast<std::uint16_t>(s.number << 6);
  if ((s.flags & tcp_flags::psh) != 0) {
    segment.options.window_scale = s.number & 15u;
    segment.options.sack_permitted = true;
  }
  const udp_header datagram{.source_port = sport, .destination_port = dport};
  const icmp_header message{.kind = {s.flags, 0}, .identifier = sport};
  const icmpv6_header message6{.kind = {s.flags, 0}, .identifier = sport};
  switch (s.what & 7u) {
    case 0: return made_packet(memory, eth, v4, segment);
    case 1: return made_packet(memory, eth, v6, segment);
    case 2: return made_packet(memory, eth, v4, datagram);
    case 3: return made_packet(memory, eth, v6, datagram);
    case 4: return made_packet(memory, eth, v4, message);
    case 5: return made_packet(memory, eth, v6, message6);
    case 6: return made_packet(memory, eth, v4, icmp_header{.kind = icmp::unreachable::port}, v4, datagram);
    default: return made_packet(memory, eth, v4, gre_header{.has_key = true, .key = s.number}, v4, datagram);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static std::vector<std::byte> room(connection_table::bytes_needed(config) + connection_table::alignment);
  std::byte* at = room.data();
  while (reinterpret_cast<std::uintptr_t>(at) % connection_table::alignment != 0) ++at;
  const mutable_bytes space{at, connection_table::bytes_needed(config)};
  connection_table table(space, config,
                         {.tcp_loose = size % 2 == 0, .tcp_be_liberal = size % 3 == 0, .checksum = size % 5 == 0});

  auto follow = detail::as_stage(track(table));
  auto take = detail::as_stage(confirm(table));
  context c;
  for (std::size_t i = 0; i + 5 <= size && i < 5 * 400; i += 5) {
    const step s{data[i], data[i + 1], data[i + 2], data[i + 3], data[i + 4]};
    c.now = c.now + milliseconds(std::int64_t{s.time} * s.time);
    c.connections = nullptr;  // another burst
    packet p = packet_of(s);
    p.layers(dissect(p.contents(), link_type::ethernet, {.head_offset = p.headroom()}));
    CHECK(p.layers().has(protocol::parsed) || p.layers().fault != drop_reason::none);
    if ((s.what & 0x10u) != 0) table.expire(c.now, s.number);

    std::uint32_t assured[config.connections], count = 0;
    table.for_each([&](const connection& k) {
      if (k.has_status(connection_status::assured) && table.remaining(k, c.now).ns > 0 &&
          k.tcp_state() <= tcp_connection_state::established)
        assured[count++] = table.number_of(k);
    });
    burst_of<1> b;
    CHECK(b.push_back(static_cast<packet&&>(p)));
    follow(b, c);
    const connection_word w{b[0].connection()};
    CHECK(table.check());
    CHECK(table.size() <= config.connections);
    if (b.verdict_on(0).code == verdict_code::drop) CHECK(w.value == 0);
    else CHECK(w.state() != connection_state::none);
    if (w.has_connection()) {
      const connection& k = table[w.number()];
      CHECK(k.is_alive());
      if (w.direction() == connection_direction::reply && w.state() != related)
        CHECK(k.has_status(connection_status::seen_reply));
    } else {
      CHECK(w.state() == invalid || w.state() == untracked || w.value == 0 || w.state() == established ||
            w.state() == new_);
    }
    // Only its own packets end one: here, one at most.
    std::uint32_t gone = 0;
    for (std::uint32_t n = 0; n < count; ++n)
      gone += table[assured[n]].has_status(connection_status::assured) ? 0u : 1u;
    CHECK(gone <= 1 && (gone == 0 || (s.what & 7u) <= 1));
    if ((s.what & 8u) != 0 && w.has_connection()) (void)take(b[0], c);
    CHECK(table.check());
  }
  for (const bool reply : {false, true}) {
    const detail::ftp_place place = detail::read_ftp({reinterpret_cast<const std::byte*>(data), size}, reply);
    CHECK(!place.found || place.to.destination_port() != 0);
  }
  text<4096> list;
  print(list, table, c.now);
  std::vector<std::byte> exported(export_size(table));
  const std::size_t used = export_connections(table, {exported.data(), exported.size()}, c.now);
  CHECK(used != 0);
  table.clear();
  const auto back = import_connections(table, {exported.data(), used}, c.now);
  CHECK(back.has_value() && back->refused == 0);
  CHECK(table.check());
  table.clear();
  (void)import_connections(table, {reinterpret_cast<const std::byte*>(data), size}, c.now);
  CHECK(table.check());
  return 0;
}
