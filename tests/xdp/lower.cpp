// SPDX-License-Identifier: MIT
// Programs decide as the expressions that they were made of: in an interpreter, which every machine can run.
// tests/device/lower.cpp has the same in the kernel.
#include <cstring>

#include <doctest/doctest.h>

#include <runnel/match/parse_condition.hpp>

#include "interpreter.hpp"
#include "lowering.hpp"

using namespace runnel_test;

namespace {

// A set of one's own.
struct even_ports {
  bool contains(std::uint16_t v) const noexcept { return v % 2 == 0; }
  const char* name() const noexcept { return "even"; }
};

// Runs programs on packets of which they can read the first 2 KiB.
struct in_several_buffers {
  interpreter inside;

  static in_several_buffers load(const bpf::program& p) {
    in_several_buffers made{interpreter::load(p)};
    made.inside.first_buffer = 2048;
    return made;
  }
  std::uint32_t run(const octets& packet) const {
    const std::uint32_t returned = inside.run(packet);
    if (inside.failure() != nullptr) FAIL(inside.failure());
    return returned;
  }
};

}  // namespace

TEST_CASE("every field and header that can be lowered compares in a program as in an expression") {
  const std::vector<octets> packets = make_packets(400, 7, 5);
  comparison<interpreter> c(packets);
  for_all_leaves(make_packets(3000, 7), 1, [&](const condition& leaf) { c.add(leaf); });
  c.flush();
  CHECK(c.held);
  CHECK(c.wrong == 0);
}

TEST_CASE("a program for packets in several buffers decides as the expression does about the whole packet") {
  const std::vector<octets> packets = lengthened(make_packets(1000, 10, 3), 9018);
  CHECK(std::count_if(packets.begin(), packets.end(), [](const octets& p) { return p.size() == 9018; }) > 500);
  comparison<in_several_buffers> c(packets, true);
  for_all_leaves(packets, 1, [&](const condition& leaf) { c.add(leaf); });
  c.add(meta::length == 9018);
  c.add(meta::length > 2048 && has<udp>);
  c.flush();
  CHECK(c.held);
  CHECK(c.wrong == 0);

  const auto counted = bpf::lower(rules(when(meta::length == 9018) >> drop), {.has_frags = true});
  REQUIRE(counted);
  CHECK(counted->has_frags());
  CHECK_FALSE(bpf::lower(rules(when(meta::length == 9018) >> drop))->has_frags());
  in_several_buffers program = in_several_buffers::load(*counted);
  CHECK(program.run(octets(9018)) == 1);
  CHECK(program.run(octets(9017)) == 2);
}

TEST_CASE("random conditions with sets decide in a program as in an expression, and read nothing behind the packet") {
  static prefix_set_of<ipv4_address, 8> four("four");
  static prefix_set_of<ipv6_address, 8> six("six");
  static hash_set_of<ipv6_address, 8> hosts("hosts");
  static hash_set_of<std::uint16_t, 8> ports("ports");
  four.clear(), six.clear(), hosts.clear(), ports.clear();
  REQUIRE(four.insert(net("10.0.0.0/9")));
  REQUIRE(six.insert(net("2000::/7")));
  REQUIRE(hosts.insert(addr6("fe00::2")));
  REQUIRE(ports.insert(53));
  const std::vector<octets> packets = make_packets(2000, 8, 5);
  std::vector<condition> leaves = {ip::saddr.in(four),    ip::daddr.not_in(four), ip6::saddr.in(six),
                                   ip6::daddr.in(hosts),  udp::dport.in(ports),   th::sport.not_in(ports),
                                   arp::saddr_ip.in(four)};
  for_all_leaves(packets, 2, [&](const condition& leaf) { leaves.push_back(leaf); });
  random_generator random(9);
  std::size_t held = 0, differ = 0;
  for (int round = 0; round < 60; ++round) {
    const condition take = random_tree(leaves, random, 4) ||
                           (leaves[static_cast<std::size_t>(random.below(7))] && random_tree(leaves, random, 2));
    const auto p = bpf::lower(take, drop, aborted, {.counters = round % 2 == 0});
    if (!p) FAIL(doctest::String(p.error().message()));
    const interpreter program = interpreter::load(*p);
    for (std::size_t i = 0; i < 200; ++i) {
      const octets& packet = any_of(packets, random);
      const bool here = take(as_subject(packet));
      held += here;
      differ += program.run(packet) != returned_for(here ? verdict(drop) : aborted);
      if (program.failure() != nullptr) FAIL(program.failure());
    }
  }
  CHECK(held > 500);
  CHECK(differ == 0);
}

TEST_CASE("conditions that were read from text decide in a program as in an expression") {
  const std::vector<octets> packets = make_packets(400, 11, 5);
  comparison<interpreter> c(packets);
  for (const char* text :
       {"tcp flags != syn / syn,ack", "tcp flags != fin,psh", "tcp flags syn / syn,ack", "tcp flags != syn",
        "tcp flags != { syn, ack }", "tcp dport != { 22, 80-90 }", "ip saddr != 10.0.0.0/8", "ip ttl != 5-64",
        "tcp[tcpflags] & (tcp-syn|tcp-ack) != tcp-syn", "not (ip6 daddr { ::1, fe80::/10 })"}) {
    const auto read = parse_condition(text);
    REQUIRE(read);
    c.add(*read);
  }
  c.flush();
  CHECK(c.held);
  CHECK(c.wrong == 0);
}

TEST_CASE("what cannot be lowered is an error that says which part and why") {
  const auto why = [](const condition& c) {
    const auto p = bpf::lower(c, drop);
    return std::string(p ? "" : p.error().message());
  };
  static interval_set<std::uint16_t, 2> games("games");
  static const even_ports even;
  CHECK(why(tcp::dport == 1 && has<tcp::option::maxseg>) ==
        "xdp: lower rule 1, tcp option maxseg exists: an XDP program does not search options and extension headers: "
        "ask for them in user space");
  CHECK(why(tcp::dport == 1 && tcp::option::maxseg::size == 5) ==
        "xdp: lower rule 1, tcp option maxseg size 5: an XDP program does not search options and extension headers: "
        "ask for them in user "
        "space");
  CHECK(why(vxlan::inner(ip::ttl) == 5) ==
        "xdp: lower rule 1, udp dport 4789 vxlan ip ttl 5: an XDP program does not look into tunnels: ask for it in "
        "user space");
  CHECK(why(!has<llc>) ==
        "xdp: lower rule 1, llc exists: an XDP program does not look for LLC and SNAP headers: ask for them in user "
        "space");
  CHECK(why(meta::time < instant{5}) ==
        "xdp: lower rule 1, meta time < 0.000000005: the kernel's clock is not the one of the device: leave meta time "
        "out of "
        "what runs "
        "in the kernel");
  constexpr const char* untracked_there =
      ": the XDP hook comes before connection tracking: ask for it in user space, behind track()";
  CHECK(why(ct::state == established) == std::string("xdp: lower rule 1, ct state established") + untracked_there);
  CHECK(why(has<udp> && !(ct::mark == 7)) == std::string("xdp: lower rule 1, ct mark 0x7") + untracked_there);
  CHECK(why(ct::direction == connection_direction::original) ==
        std::string("xdp: lower rule 1, ct direction original") + untracked_there);
  CHECK(why((ct::status & connection_status::assured) != 0).find(untracked_there) != std::string::npos);
  CHECK(why(ct::zone == 1) == std::string("xdp: lower rule 1, ct zone 1") + untracked_there);
  constexpr const char* not_set_there =
      ": nobody has set this yet when a packet comes to the XDP hook: ask for it in user space";
  CHECK(why(meta::mark == 0) == std::string("xdp: lower rule 1, meta mark 0x0") + not_set_there);
  CHECK(why(meta::priority == 6).find(not_set_there) != std::string::npos);
  CHECK(why(meta::hash > 6).find(not_set_there) != std::string::npos);
  CHECK(why(has<ipv4> || meta::oif == 1).find(not_set_there) != std::string::npos);
  CHECK(why(udp::dport.in(games)) ==
        "xdp: lower rule 1, udp dport @games: the kernel has no map of intervals: use in(range(...)), a prefix_set or "
        "a hash_set");
  CHECK(why(udp::dport.in(even)) ==
        "xdp: lower rule 1, udp dport @even: the kernel cannot ask a set of your own: use a hash_set or a prefix_set");
  const auto p = bpf::lower(rules(when(has<arp>) >> drop, when(has<ipv4>) >> stolen));
  REQUIRE_FALSE(p);
  CHECK(std::string(p.error().message()) ==
        "xdp: lower rule 2: the kernel has no verdict like this: use accept, drop, tx or redirect");
}

TEST_CASE("metadata in a program is what an early verdict sees") {
  const octets packet = frames_of_all_kinds().front();
  const auto decides = [&](const condition& c, const bpf::lower_options& options) {
    const auto p = bpf::lower(c, drop, pass, options);
    REQUIRE(p);
    return interpreter::load(*p).run(packet) == 1;
  };
  CHECK(decides(meta::iif == 0, {}));
  CHECK(decides(meta::iif == 7, {.iif = 7}));
  CHECK(decides(meta::length == 74 && meta::queue == 0, {}));
  const auto by_queue = bpf::lower(condition(meta::queue == 5), drop);
  REQUIRE(by_queue);
  interpreter program = interpreter::load(*by_queue);
  program.queue = 0x105;  // a frame keeps eight bits
  CHECK(program.run(packet) == 1);
}

TEST_CASE("a condition on the Ethernet header alone needs no dissection") {
  const auto p = bpf::lower(ether::type == 0x88cc, drop);
  REQUIRE(p);
  CHECK(p->size() < 30);
  const auto q = bpf::lower(has<ipv4>, drop);
  REQUIRE(q);
  CHECK(q->size() > 300);
}
