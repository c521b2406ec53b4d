// SPDX-License-Identifier: MIT
// Wrong bytes in fragments and ICMP errors, in buffers that are not a byte longer than the packet, whole, cut off after
// they were parsed, and shared: everything that looks at them stays within them, and no slot is lost.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include <doctest/doctest.h>

#include <ip/cut.hpp>
#include <packet/counted_pool.hpp>
#include <track/conversation.hpp>

#include <runnel/base/random.hpp>
#include <runnel/ip.hpp>

using namespace runnel;
using namespace runnel::test;

namespace {

octets hostile_seed(std::size_t i) {
  octets frame = i % 2 == 0 ? udp4(700, 5) : udp6(700);
  const std::size_t at = i / 2 % 4 * 160, end = at + 160;
  switch (i % 5) {
    case 0:
    case 1: return piece(frame, at, end, true);
    case 2: return piece(frame, at, 700, false);
    case 3:
      return frame_of(1472, link_header, ipv4_header{.source = {192, 0, 2, 9}, .destination = {10, 0, 0, 1}},
                      icmp_header{.kind = icmp::unreachable::fragmentation_needed, .next_hop_mtu = 400},
                      ipv4_header{.source = {10, 0, 0, 1}, .destination = {192, 0, 2, 1}});
    default:
      return frame_of(8, link_header,
                      ipv6_header{.source = {0x2001'0db8'0000'0000, 9}, .destination = {0x2001'0db8'0000'0000, 1}},
                      icmpv6_header{.kind = icmpv6::packet_too_big, .next_hop_mtu = 1400},
                      ipv6_header{.source = {0x2001'0db8'0000'0000, 1}, .destination = {0x2001'0db8'0000'0000, 2}});
  }
}

}  // namespace

TEST_CASE("whatever is wrong with fragments and errors about size, nothing is read outside, and nothing is lost") {
  const ip_interface all[2] = {
      {}, {.addresses = {{ipv4_address{10, 0, 0, 1}, 24}, {ipv6_address{0x2001'0db8'0000'0000, 1}, 64}}}};
  next_hop_table_of<4> hops;
  path_mtu_cache_of<16> path_mtus{{.ipv4_least = 68}};
  random_generator ids{3}, random{11};
  const auto below = [&random](std::size_t n) { return static_cast<std::size_t>(random.below(n)); };
  counted_pool memory{pool_config{.packets = 100, .bytes = 1984, .headroom = 64, .bare = 80}};
  const std::uint8_t lender = memory->add_lender();
  static_fragment_table<fragment_config{.fragments = 24, .datagrams = 8}> direct{1};
  static_virtual_fragment_table<fragment_config{.fragments = 24, .datagrams = 8}> seen{2};
  counted_table connections{{.connections = 64, .ipv6_connections = 32, .unconfirmed = 16, .seed = 7}};
  const egress_options options{.interfaces = all, .path_mtus = &path_mtus, .ids = &ids};
  const detail::check_mtu_decision check_mtu_of{{&hops, options}};
  const auto learn = learn_path_mtu(path_mtus, all);
  const auto cut_it = fragment(hops, options);
  std::size_t counted[4] = {};
  for (std::size_t round = 0; round < 30'000; ++round) {
    octets frame = hostile_seed(below(200));
    for (std::size_t changes = below(3); changes != 0; --changes)
      frame[below(below(4) != 0 ? 80 : frame.size()) % frame.size()] = static_cast<std::byte>(below(256));
    if (!is_ipv6(frame) && below(2) != 0 && header_bytes(frame) <= frame.size() && header_bytes(frame) >= 34)
      mut<ipv4>::unchecked({frame.data() + link_size, header_bytes(frame) - link_size}).update_checksum();
    const std::unique_ptr<std::byte[]> exact{new std::byte[frame.size()]};
    copy_bytes(exact.get(), frame.data(), frame.size());
    frame.shrink_to_fit();
    runnel::frame f;
    f.data = exact.get();
    f.length = static_cast<std::uint32_t>(frame.size());
    f.lender = lender;
    memory->lend(lender, 1);
    packet p = memory->attach(f);
    REQUIRE(p);
    p.layers(dissect(p.contents(), link_type::ethernet, {.head_offset = p.headroom()}));
    if (p.layers().fault != drop_reason::none) continue;
    if (below(4) == 0) REQUIRE(p.trim(below(p.length() + 1)));
    packet twin = below(4) == 0 ? p.clone() : packet{};
    const instant now = instant{} + milliseconds(static_cast<std::int64_t>(round) * 20);
    context c{.now = now};
    const auto through_tracking = [&](packet&& q) {
      packet own = static_cast<packet&&>(q);
      if (!detail::later_fragment::is_word(own.connection())) return;
      detail::tracker::slot s;
      detail::tracker::read_later(*connections, own, 0, s);
      ++counted[3];
    };
    switch (below(4)) {
      case 0: counted[0] += direct->reassemble(p, now) == stolen ? 1u : 0u; break;
      case 1:
        if (seen->follow(p, now, through_tracking) == pass) through_tracking(static_cast<packet&&>(p));
        break;
      case 2: REQUIRE(learn(p, c) == pass); break;
      default: {
        p.scratch(no_next_hop);
        (void)check_mtu_of(p, now);
        p.scratch(no_next_hop);
        const auto made = [&](packet&& q) { packet{static_cast<packet&&>(q)}.reset(); };
        if (!cut_it.leaves_alone(p)) counted[1] += cut_it(p, c, made) == stolen ? 1u : 0u;
        break;
      }
    }
    if (twin) REQUIRE(bytes_of(twin).size() <= frame.size());
    // Nothing that is held lies in the device's bytes, which are gone now.
    p.reset(), twin.reset();
    REQUIRE(memory->lent(lender) == 0);
    REQUIRE(direct->check());
    REQUIRE(seen->check());
  }
  counted[2] = path_mtus.size(instant{} + seconds(600));
  for (const std::size_t n : counted) CHECK(n != 0);
  direct->clear();
  seen->clear();
  memory->remove_lender(lender);
}
