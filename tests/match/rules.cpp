// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include "literal_packets.hpp"

using namespace runnel;

namespace {

constexpr literal_packet ssh = make(0, eth, from_10_1_2_3, tcp_to(22));
constexpr literal_packet web = make(6, eth, from_10_1_2_3, tcp_to(443));
constexpr literal_packet dns = make(4, eth, from_10_1_2_3, udp_to(53));

constexpr auto policy = rules(
    when(tcp::dport == 22) >> accept, when(tcp::dport.in(constant_set{80, 443})) >> drop(drop_reason::blocklist),
    when(ip::saddr.in(range(ipv4_address{10, 0, 0, 0}, ipv4_address{10, 255, 255, 255}))) >> tx, otherwise >> drop);

}  // namespace

TEST_CASE("the first rule that matches decides") {
  static_assert(policy(ssh.as_subject()) == pass);
  static_assert(policy(web.as_subject()) == drop(drop_reason::blocklist));
  static_assert(policy(dns.as_subject()) == tx);
  CHECK(policy(make(0, eth, from_db8_1, udp_to(53)).as_subject()) == drop);
  static_assert(decltype(policy)::is_rules && decltype(policy)::size == 4);
}

TEST_CASE("without otherwise, what no rule decides about is accepted") {
  static_assert(rules()(ssh.as_subject()) == accept);
  static_assert(rules(when(udp::dport == 53) >> drop)(ssh.as_subject()) == accept);
  static_assert(rules(otherwise >> drop)(ssh.as_subject()) == drop);
  static_assert(rules(when(tcp::dport == 22) >> redirect(3))(ssh.as_subject()).port == 3);
}

TEST_CASE("rules see a set as it is at the time") {
  static hash_set_of<ipv4_address, 4> blocklist{"blocklist", 1};
  static constexpr auto guard = rules(when(ip::saddr.in(blocklist)) >> drop);
  CHECK(guard(ssh.as_subject()) == accept);
  REQUIRE(blocklist.insert({10, 1, 2, 3}));
  CHECK(guard(ssh.as_subject()) == drop);
  CHECK(rules(when(ip::saddr.not_in(blocklist)) >> drop)(ssh.as_subject()) == accept);
  blocklist.clear();
  CHECK(guard(ssh.as_subject()) == accept);
}

TEST_CASE("counted rules count packets and bytes, and those that no rule decided about") {
  const auto counting = counted(rules(when(tcp::dport == 22) >> accept, when(has<tcp>) >> drop));
  CHECK(counting(ssh.as_subject()) == accept);
  CHECK(counting(ssh.as_subject()) == accept);
  CHECK(counting(web.as_subject()) == drop);
  CHECK(counting(dns.as_subject()) == accept);
  CHECK(counting.hits(0).packets == 2);
  CHECK(counting.hits(0).bytes == 108);
  CHECK(counting.hits(1).packets == 1);
  CHECK(counting.hits(1).bytes == 60);
  CHECK(counting.hits(2).packets == 1);
  CHECK(counting.hits(2).bytes == 46);
}

TEST_CASE("rules are asked about a packet as they are about a subject") {
  alignas(64) static std::byte memory[pool::bytes_needed({.packets = 1, .bytes = 256, .bare = 1})];
  pool* slots = pool::create(memory, {.packets = 1, .bytes = 256, .bare = 1});
  packet p = slots->allocate();
  REQUIRE(p.append(ssh.contents()));
  p.layers(dissect(p.contents(), link_type::ethernet, {.head_offset = p.headroom()}));
  CHECK(policy(p) == pass);
  frame f;
  literal_packet copy = web;
  f.data = copy.storage;
  f.length = static_cast<std::uint32_t>(copy.size);
  CHECK(policy({f, copy.found}) == drop(drop_reason::blocklist));
}
