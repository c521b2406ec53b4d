// SPDX-License-Identifier: MIT
// UDP, ICMP, GRE and others as conversations, and what the stages do with packets.
#include <doctest/doctest.h>

#include "conversation.hpp"

using namespace runnel;
using namespace runnel::test;

TEST_CASE("UDP is new until somebody answers, and a stream after two seconds") {
  conversation t;
  CHECK(t.udp_out(0) == "new");
  CHECK(t.left() == 30);
  CHECK(t.udp_out(1000) == "new");
  CHECK(t.udp_in(1500) == "established reply");
  CHECK(t.udp_out(1600) == "established");
  CHECK(t.left() == 30);
  CHECK_FALSE(t.its().has_status(connection_status::assured));
  CHECK(t.udp_out(2100) == "established");
  CHECK(t.left() == 120);
  CHECK(t.its().has_status(connection_status::assured));
  CHECK(t.udp_in(122'000) == "established reply");
  CHECK(t.udp_in(242'500) == "new");  // half a second too late: another connection, the other way
}

TEST_CASE("UDP that is answered after a month is a stream as well") {
  constexpr std::int64_t day = 86'400'000;
  conversation t;
  CHECK(t.udp_out(0) == "new");
  for (std::int64_t now = 0; now <= 40 * day; now += 20 * day) {
    t.table->expire(instant{} + milliseconds(now));
    t.table->refresh(t.its(), seconds(25 * 86'400), instant{} + milliseconds(now));
  }
  CHECK(t.udp_in(40 * day) == "established reply");
  CHECK(t.udp_out(40 * day + 1) == "established");
  CHECK(t.its().has_status(connection_status::assured));
  CHECK(t.left() == 120);
}

TEST_CASE("what is dropped before it is confirmed leaves nothing behind") {
  conversation t;
  t.blocked = true;
  CHECK(t.udp_out(0) == "new");
  CHECK(t.udp_in(1) == "new");  // no answer, for there was no question
  CHECK(t.udp_out(2) == "new");
  CHECK(t.udp_out(3, 54) == "new");
  CHECK(t.table->statistics().insert == 0);
  t.blocked = false;
  CHECK(t.udp_in(4) == "new");
  CHECK(t.udp_out(5) == "established reply");
  CHECK(t.table->statistics().insert == 1);
  unsigned listed = 0;
  t.table->for_each([&](connection&) { ++listed; });
  CHECK(listed == 1);
  t.table->expire(instant{} + seconds(31));
  CHECK(t.table->size() == 0);
}

TEST_CASE("an ICMP query is answered by its own reply only") {
  conversation t;
  const auto echo = [&](std::int64_t ms, bool back, icmp_kind kind, std::uint16_t id) {
    return t.at(ms, 8,
                back ? ipv4_header{.source = server, .destination = client}
                     : ipv4_header{.source = client, .destination = server},
                icmp_header{.kind = kind, .identifier = id, .sequence_number = 1});
  };
  CHECK(echo(0, true, icmp::echo_reply, 7) == "invalid");
  CHECK(echo(1, false, icmp::echo_request, 7) == "new");
  CHECK(t.left() == 30);
  CHECK(echo(2, true, icmp::echo_reply, 8) == "invalid");
  CHECK(echo(3, true, icmp::timestamp_reply, 7) == "invalid");
  CHECK(echo(4, true, icmp::echo_reply, 7) == "established reply");
  CHECK(echo(5, false, icmp::echo_request, 7) == "established");
  CHECK(echo(6, true, icmp::echo_request, 7) == "new");
  CHECK(echo(7, false, icmp::router_advertisement, 7) == "invalid");
}

TEST_CASE("an ICMP error is related to the connection that it quotes") {
  conversation t;
  CHECK(t.udp_out(0) == "new");
  const std::int64_t left = t.left();
  const auto unreachable = [&](ipv4_address from, ipv4_address to, std::uint16_t port) {
    return t.at(1000, 0, ipv4_header{.source = from, .destination = to}, icmp_header{.kind = icmp::unreachable::port},
                ipv4_header{.source = client, .destination = server},
                udp_header{.source_port = 1000, .destination_port = port});
  };
  CHECK(unreachable(server, client, 53) == "related reply");
  CHECK(t.left() == left - 1);  // it does not keep the connection alive
  CHECK_FALSE(t.its().has_status(connection_status::seen_reply));
  CHECK(unreachable(stranger, client, 53) == "related reply");  // any router may say so
  CHECK(unreachable(server, stranger, 53) == "invalid");        // but it goes to who sent the packet
  CHECK(unreachable(server, client, 54) == "invalid");
  CHECK(t.table->size() == 1);
}

TEST_CASE("IPv6: connections, queries, errors, and neighbours are left alone") {
  conversation t;
  const ipv6_header out{.source = client6, .destination = server6}, in{.source = server6, .destination = client6};
  CHECK(t.at(0, 18, out, udp_header{.source_port = 1000, .destination_port = 53}) == "new");
  CHECK(t.at(1, 18, in, udp_header{.source_port = 53, .destination_port = 1000}) == "established reply");
  CHECK(t.at(2, 0, in, icmpv6_header{.kind = icmpv6::unreachable::port}, out,
             udp_header{.source_port = 1000, .destination_port = 53}) == "related reply");
  CHECK(t.at(3, 0, in, icmpv6_header{.kind = icmpv6::unreachable::port}, out,
             udp_header{.source_port = 1000, .destination_port = 54}) == "invalid");
  CHECK(t.at(4, 8, out, icmpv6_header{.kind = icmpv6::echo_request, .identifier = 3}) == "new");
  CHECK(t.at(5, 8, in, icmpv6_header{.kind = icmpv6::echo_reply, .identifier = 3}) == "established reply");
  CHECK(t.at(6, 8, in, icmpv6_header{.kind = icmpv6::echo_reply, .identifier = 4}) == "invalid");
  CHECK(t.at(7, 16, out, icmpv6_header{.kind = {135, 0}}) == "untracked");
  CHECK(t.at(8, 0, out, icmpv6_header{.kind = {151, 0}}) == "untracked");  // RFC 4286
  CHECK(t.at(8, 0, out, icmpv6_header{.kind = {152, 0}}) == "untracked");
  CHECK(t.at(8, 0, out, icmpv6_header{.kind = {153, 0}}) == "invalid");  // of the same, but not to the kernel
  ipv6_header nothing = out;
  nothing.next_header = 59;
  CHECK(t.at(9, 8, nothing) == "invalid");
}

TEST_CASE("GRE tunnels are told apart by their keys") {
  conversation t;
  const auto gre_packet = [&](std::int64_t ms, bool back, std::uint32_t key) {
    return t.at(ms, 0,
                back ? ipv4_header{.source = server, .destination = client}
                     : ipv4_header{.source = client, .destination = server},
                gre_header{.has_key = true, .key = key}, ipv4_header{.source = stranger, .destination = stranger},
                udp_header{.source_port = 1, .destination_port = 2});
  };
  CHECK(gre_packet(0, false, 0x10'0001) == "new");
  CHECK(t.left() == 30);
  CHECK(gre_packet(1, true, 0x20'0001) == "new");
  CHECK(gre_packet(2, true, 0x10'0001) == "established reply");
  CHECK(gre_packet(3, false, 0x10'0001) == "established");
  CHECK(t.left() == 180);
  CHECK(t.its().has_status(connection_status::assured));
}

TEST_CASE("other protocols are tracked by their addresses") {
  conversation t;
  CHECK(t.at(0, 40, ipv4_header{.source = client, .destination = server, .protocol = 50}) == "new");
  CHECK(t.left() == 600);
  CHECK(t.at(1, 40, ipv4_header{.source = server, .destination = client, .protocol = 50}) == "established reply");
  CHECK(t.at(2, 40, ipv4_header{.source = server, .destination = client, .protocol = 51}) == "new");
}

TEST_CASE("what is not IP, and what notrack() has marked, is not tracked") {
  conversation t;
  CHECK(t.at(0, 0, arp_header{.sender_protocol = client, .target_protocol = server}) == "none");
  CHECK(t.table->size() == 0);

  counted_pool memory;
  test_device device(memory);
  device.udp(1);
  connection_word word;
  run(attach(
      device, parse() | notrack() | track(*t.table) | [&](packet& p) { word.value = p.connection(); } | discard));
  CHECK(word.state() == untracked);
  CHECK_FALSE(word.has_connection());
}

TEST_CASE("packets of one burst know of each other") {
  counted_table t({.connections = 16});
  counted_pool memory;
  test_device device(memory);
  for (unsigned i = 0; i < 40; ++i) device.udp(i, static_cast<std::uint16_t>(1 + i % 2));
  unsigned fresh = 0;
  run(attach(
      device, parse() | track(*t) |
                  [&](packet& p) { fresh += connection_word{p.connection()}.state() == new_ ? 1u : 0u; } | confirm(*t) |
                  discard));
  CHECK(fresh == 40);
  CHECK(t->size() == 2);
  t->for_each([](connection& c) { CHECK(c.packets(connection_direction::original) == 20); });
}

TEST_CASE("a SYN and the reset that answers it in one burst are a connection that began and ended") {
  counted_table t({.connections = 16});
  std::string seen;
  t->on_event(
      [](void* to, connection_event what, const connection& c) {
        text<100> line;
        line << name(what) << ' ' << c.packets(connection_direction::original) << ' '
             << c.packets(connection_direction::reply) << ' ' << name(c.tcp_state()) << ", ";
        *static_cast<std::string*>(to) += line.c_str();
      },
      &seen);
  counted_pool memory;
  test_device device(memory);
  manual_clock clock;
  const auto burst = [&] {
    device.put(1, 0, {}, eth, ipv4_header{.source = client, .destination = server},
               tcp_header{.source_port = 40000, .destination_port = 80, .flags = tcp_flags::syn, .window_size = 1000});
    device.put(2, 0, {}, eth, ipv4_header{.source = server, .destination = client},
               tcp_header{.source_port = 80,
                          .destination_port = 40000,
                          .acknowledgment_number = 1,
                          .flags = tcp_flags::rst | tcp_flags::ack});
  };
  unsigned passed = 0;
  burst();
  run(clock, attach(device, parse() | track(*t) | confirm(*t) | [&](packet&) { ++passed; } | discard));
  CHECK(passed == 2);
  clock.advance(seconds(1));
  t->expire(clock.now());
  CHECK(seen == "NEW 1 1 CLOSE, DESTROY 1 1 CLOSE, ");
  CHECK(t->size() == 0);
  CHECK(t->statistics().unconfirmed == 0);
  CHECK(t->check());

  // Where a rule drops the SYN, nothing began, and nothing has to be answered.
  passed = 0;
  seen.clear();
  burst();
  run(clock, attach(
                 device, parse() | track(*t) |
                             [](packet& p) { return connection_word{p.connection()}.state() == new_ ? drop : pass; } |
                             confirm(*t) | [&](packet&) { ++passed; } | discard));
  CHECK(passed == 0);
  clock.advance(seconds(1));
  t->expire(clock.now());
  CHECK(seen.empty());
  CHECK(t->size() == 0);
  t->on_event(nullptr);
}

TEST_CASE("a handler that asks for a connection runs for the packets that have one") {
  counted_table t({.connections = 16});
  counted_pool memory;
  test_device device(memory);
  device.udp(1);
  device.put(2, 2, {}, eth, arp_header{.sender_protocol = client, .target_protocol = server});
  device.udp(3);
  numbers with_connection, all;
  std::uint32_t marks = 0;
  run(attach(
      device, parse() | track(*t) |
                  [&](connection& c, packet& p) {
                    c.mark(c.mark() + 1);
                    with_connection.add(number_of(p));
                  } |
                  [&](const connection& c, udp) { marks += c.mark(); } | confirm(*t) | note(all)));
  CHECK(with_connection == "1 3");
  CHECK(all == "1 2 3");
  CHECK(marks == 1 + 2);
}

TEST_CASE("a flood of SYNs fills what is free, and established connections stay") {
  conversation t;
  constexpr std::uint8_t S = tcp_flags::syn, A = tcp_flags::ack;
  tcp_header h;
  h.window_size = 1000;
  h.flags = S, h.sequence_number = 10;
  CHECK(t.tcp_out(0, h) == "new");
  h.flags = S | A, h.sequence_number = 20, h.acknowledgment_number = 11;
  CHECK(t.tcp_in(1, h) == "established reply");
  h.flags = A, h.sequence_number = 11, h.acknowledgment_number = 21;
  CHECK(t.tcp_out(2, h) == "established");
  unsigned dropped = 0;
  for (unsigned i = 0; i < 1000; ++i) {
    const std::string was =
        t.at(10 + i, 0, ipv4_header{.source = ipv4_address{0x2d00'0000 + i * 77}, .destination = server},
             tcp_header{.source_port = 5, .destination_port = 80, .flags = S, .window_size = 1000});
    CHECK((was == "new" || was == "dropped"));
    dropped += was == "dropped" ? 1u : 0u;
  }
  CHECK(t.table->statistics().drop == dropped);
  CHECK(t.table->statistics().early_drop + dropped == 1000 - 63);
  CHECK(t.table->size() == 64);
  CHECK(t.tcp_out(2000, h) == "established");
}
