// SPDX-License-Identifier: MIT
// Fuzz target: a neighbour table between what hosts of the link say, perhaps broken, and packets that are to go to
// them, with time going on. After each step the table has to be consistent; no packet may go to an address that belongs
// to many, a permanent neighbour may not change, and at the end every packet has come home.
//
// The input is a list of steps: a byte that says what, one that chooses addresses, a place and a change to the bytes of
// the message, and one for the time.
#include <cstddef>
#include <cstdint>

#include <runnel/ip.hpp>
#include <runnel/wire.hpp>

#include "check.hpp"
#include "made_packet.hpp"

namespace {

using namespace runnel;

constexpr mac_address us{{2, 0, 0, 0, 0, 1}}, fixed{{2, 0, 0, 0, 0, 9}};
constexpr ipv4_address own4{10, 0, 0, 1};
constexpr ipv6_address own6{0xfe80'0000'0000'0000, 1};
constexpr std::uint8_t permanent = 7;  // this host has a permanent entry

static_pool<pool_config{.packets = 24, .bytes = 256, .headroom = 128, .bare = 1}> memory;

struct step {
  std::uint8_t what, who, place, change, time;
};
[[nodiscard]] ipv4_address host4(unsigned n) { return ipv4_address{10, 0, 0, static_cast<std::uint8_t>(n)}; }
[[nodiscard]] ipv6_address host6(unsigned n) { return {own6.high(), n}; }

packet message_of(const step& s) {
  const unsigned from = s.who & 7u, about = s.who >> 3 & 7u;
  const mac_address mac{{2, 0, 0, 0, 1, static_cast<std::uint8_t>(s.who >> 6)}};
  const ethernet_header frame{.source = mac, .destination = (s.what & 0x10u) != 0 ? us : mac_broadcast};
  const ipv6_header to_us{.source = host6(from), .destination = own6, .hop_limit = 255};
  const ipv6_header to_all{.source = host6(from), .destination = solicited_node_multicast(own6), .hop_limit = 255};
  switch (s.what & 3u) {
    case 0:
      return made_packet(memory, frame,
                         arp_header{.operation = arp_operation::reply,
                                    .sender_hardware = mac,
                                    .sender_protocol = host4(from),
                                    .target_hardware = us,
                                    .target_protocol = own4});
    case 1:
      return made_packet(
          memory, frame,
          arp_header{.sender_hardware = mac, .sender_protocol = host4(from), .target_protocol = host4(about)});
    case 2:
      return made_packet(memory, frame, (s.what & 0x20u) != 0 ? to_us : to_all,
                         neighbour_solicitation_header{.target = host6(about)}, ndp_source_link_address{mac});
    default:
      return made_packet(memory, frame, (s.what & 0x20u) != 0 ? to_us : to_all,
                         neighbour_advertisement_header{.target = host6(about),
                                                        .router = (s.what & 0x08u) != 0,
                                                        .solicited = (s.what & 0x20u) != 0,
                                                        .override_cached = (s.time & 1u) != 0},
                         ndp_target_link_address{mac});
  }
}
void parse_it(packet& p) { p.layers(dissect(p.contents(), link_type::ethernet, {.head_offset = p.headroom()})); }

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  {
    ip_interface link{.mac = us, .addresses = {{own4, 24}, {own6, 64}}};
    static_neighbour_table<neighbour_config{.entries = 5, .unresolved = 3, .packets = 8}> table{
        memory,
        link,
        size,
        {.unres_qlen = 3, .solicit_rate = 20, .solicit_burst = 3, .accept_untracked = size % 2 == 0}};
    context c;
    CHECK(table->set_permanent(mapped(host4(permanent)), fixed, c.now));
    auto hear = answer_neighbours(table);
    auto send = resolve(table);
    const auto pull = [&](std::size_t n) {
      packet out[4];
      n = table->pull(out, n, c.now);
      for (std::size_t i = 0; i < n; ++i) {
        parse_it(out[i]);
        CHECK(out[i].layers().has(protocol::parsed));
        CHECK(mac_address::load(out[i].data() + 6) == us);
      }
      return n;
    };
    for (std::size_t i = 0; i + 5 <= size && i < 5 * 400; i += 5) {
      const step s{data[i], data[i + 1], data[i + 2], data[i + 3], data[i + 4]};
      c.now = c.now + milliseconds(std::int64_t{s.time} * s.time / 4);
      if ((s.what & 0x80u) != 0) {
        packet p = message_of(s);
        std::byte& b = p.writable()[s.place % p.length()];
        b ^= static_cast<std::byte>(s.change);
        parse_it(p);
        const verdict v = hear(p, c);
        CHECK((v.code == verdict_code::stolen) == !p);
      } else if ((s.what & 0x40u) != 0) {
        const unsigned to = s.who & 31u;
        const udp_header inner{.source_port = 1, .destination_port = 2};
        packet p = (s.what & 1u) != 0
                       ? made_packet(memory, ethernet_header{}, ipv4_header{.destination = host4(to)}, inner)
                       : made_packet(memory, ethernet_header{}, ipv6_header{.destination = host6(to)}, inner);
        parse_it(p);
        const verdict v = send(p, c);
        CHECK((v.code == verdict_code::stolen) == !p);
        if (v.code == verdict_code::pass) {
          const mac_address at = mac_address::load(p.data());
          CHECK(!at.is_multicast() && at != mac_address{});
          const neighbour n = table->find((s.what & 1u) != 0 ? mapped(host4(to)) : host6(to), c.now);
          CHECK(n.is_valid() && n.lladdr == at);
        }
      } else {
        (void)pull(s.who % 5u);
      }
      CHECK(table->check());
      const neighbour n = table->find(mapped(host4(permanent)), c.now);
      CHECK(n.state == neighbour_state::permanent && n.lladdr == fixed);
    }
    for (int i = 0; i < 1000 && !table->done(); ++i) {
      if (table->next_due() > c.now) c.now = table->next_due();
      (void)pull(4);
    }
    CHECK(table->done() && table->waiting() == 0);
  }
  CHECK(memory->available() == memory->capacity());
  return 0;
}
