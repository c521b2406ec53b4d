// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <runnel/packet/pool.hpp>
#include <runnel/wire/dissect.hpp>
#include <runnel/wire/ipv4.hpp>
#include <runnel/wire/udp.hpp>
#include <runnel/wire/vlan_tag.hpp>

using namespace runnel;

namespace {

constexpr ethernet_header tagged_link{.source = mac("02:00:00:00:00:01"), .destination = mac("02:00:00:00:00:02")};
constexpr ipv4_header tagged_ip{.source = addr4("10.0.0.1"), .destination = addr4("10.0.0.2")};

// A datagram with these headers before it, in a packet that was dissected.
template <class... Headers>
packet dissected(pool& memory, const Headers&... headers) {
  std::byte bytes[128]{};
  const std::size_t n = size_of_headers(headers..., tagged_ip, udp_header{});
  REQUIRE(write_headers({bytes, n}, headers..., tagged_ip, udp_header{}));
  packet p = memory.allocate();
  REQUIRE(p);
  REQUIRE(p.append({bytes, n}));
  p.layers(dissect(p.contents(), link_type::ethernet, {.head_offset = p.headroom()}));
  return p;
}
// The layers are those that a new look would find, and the bytes those of a packet that never was another one.
void check_like(const packet& is, const packet& should) {
  REQUIRE(is.length() == should.length());
  for (std::size_t i = 0; i < is.length(); ++i) CHECK(is.data()[i] == should.data()[i]);
  CHECK(is.layers() == dissect(is.contents(), link_type::ethernet, {.head_offset = is.headroom()}));
}

}  // namespace

TEST_CASE("a VLAN tag is taken off, and put on again, and what was found in the packet stays right") {
  static_pool<pool_config{.packets = 8, .bytes = 128, .headroom = 32, .bare = 8}> memory;
  packet p = dissected(memory.get(), tagged_link, vlan_header{.id = 5, .pcp = 3, .drop_eligible = true});
  const packet plain = dissected(memory.get(), tagged_link);
  REQUIRE(pop_vlan(p));
  check_like(p, plain);
  CHECK_FALSE(pop_vlan(p));
  check_like(p, plain);
  REQUIRE(push_vlan(p, {.id = 4094, .pcp = 7}));
  check_like(p, dissected(memory.get(), tagged_link, vlan_header{.id = 4094, .pcp = 7}));
  // A second one comes before it, and is the first to go.
  REQUIRE(push_vlan(p, {.id = 6, .service = true}));
  check_like(p, dissected(memory.get(), tagged_link, vlan_header{.id = 6, .service = true},
                          vlan_header{.id = 4094, .pcp = 7}));
  REQUIRE(pop_vlan(p));
  REQUIRE(pop_vlan(p));
  check_like(p, plain);
}

TEST_CASE("a VLAN tag needs headroom, a whole Ethernet header, and bytes that nobody shares") {
  static_pool<pool_config{.packets = 8, .bytes = 128, .headroom = 32, .bare = 8}> memory;
  static_pool<pool_config{.packets = 1, .bytes = 128, .headroom = 3, .bare = 0}> narrow;
  packet tight = dissected(narrow.get(), tagged_link);
  CHECK_FALSE(push_vlan(tight, {.id = 5}));
  check_like(tight, dissected(memory.get(), tagged_link));

  packet shared = dissected(memory.get(), tagged_link, vlan_header{.id = 5});
  packet other = shared.clone();
  REQUIRE(other);
  REQUIRE(pop_vlan(shared));
  check_like(shared, dissected(memory.get(), tagged_link));
  check_like(other, dissected(memory.get(), tagged_link, vlan_header{.id = 5}));

  static_pool<pool_config{.packets = 1, .bytes = 512, .headroom = 256, .bare = 0}> wide;
  packet deep = dissected(wide.get(), tagged_link);
  int pushed = 0;
  while (push_vlan(deep, {.id = 5})) ++pushed;
  CHECK(pushed == 60);
  CHECK(deep.layers().link == 254);

  packet shorter = dissected(memory.get(), tagged_link, vlan_header{.id = 5});
  REQUIRE(shorter.trim(17));
  CHECK_FALSE(pop_vlan(shorter));
  REQUIRE(shorter.trim(13));
  CHECK_FALSE(push_vlan(shorter, {.id = 5}));
}
