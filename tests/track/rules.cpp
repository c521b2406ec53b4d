// SPDX-License-Identifier: MIT
// What rules may ask about connections.
#include <doctest/doctest.h>

#include <runnel/match.hpp>

#include "conversation.hpp"

using namespace runnel;
using namespace runnel::test;

namespace {

std::string printed(const auto& expression) {
  text<> out;
  print(out, expression);
  return out.c_str();
}
// Asks two packets of one flow, to port 1 and back, the first of which is marked.
template <class Condition>
std::string asked(const Condition& condition) {
  counted_table t({.connections = 16});
  counted_pool memory;
  test_device device(memory);
  const ipv4_header out{.source = client, .destination = server}, back{.source = server, .destination = client};
  device.put(1, 2, {}, eth, out, udp_header{.source_port = 9, .destination_port = 1});
  device.put(2, 2, {}, eth, back, udp_header{.source_port = 1, .destination_port = 9});
  device.put(3, 0, {}, eth, out, icmp_header{.kind = icmp::echo_reply, .identifier = 3});
  device.put(4, 2, {}, eth, arp_header{.sender_protocol = client, .target_protocol = server});
  numbers seen;
  run(attach(
      device, parse() | track(*t, {.zone = 7}) | [](connection& c) { c.mark(c.mark() + 5); } |
                  rules(when(condition) >> accept, otherwise >> drop) |
                  deliver([&](packet p) { seen.add(p.layers().has(protocol::icmp) ? 3 : number_of(p)); })));
  return seen.text();
}

}  // namespace

TEST_CASE("rules ask for state, direction, mark, status and zone") {
  CHECK(asked(ct::state == new_) == "1");
  CHECK(asked(ct::state == established) == "2");
  CHECK(asked(ct::state == new_ || ct::state == established) == "1 2");
  CHECK(asked(ct::state == invalid) == "3");
  CHECK(asked(ct::state != new_) == "2 3");
  CHECK(asked(!(ct::state == new_)) == "2 3 4");
  CHECK(asked(ct::direction == connection_direction::reply) == "2");
  CHECK(asked(ct::direction == connection_direction::original) == "1");
  CHECK(asked(ct::mark == 10) == "2");
  CHECK(asked(ct::zone == 7) == "1 2");
  CHECK(asked(ct::zone == 0) == "");
  CHECK(asked((ct::status & connection_status::seen_reply) == connection_status::seen_reply) == "1 2");
  CHECK(asked((ct::status & connection_status::assured) != 0) == "");
}

TEST_CASE("the same as text, and printed") {
  CHECK(printed(ct::state == established) == "ct state established");
  CHECK(printed(ct::direction == connection_direction::reply) == "ct direction reply");
  CHECK(printed(ct::mark == 7) == "ct mark 0x7");
  CHECK(printed(ct::zone == 7) == "ct zone 7");
  const struct {
    const char* text;
    const char* packets;
  } cases[] = {{"ct state established,related", "2"},
               {"ct state new,established", "1 2"},
               {"ct state { new, invalid }", "1 3"},
               {"ct state new", "1"},
               {"ct state != new", "2 3"},
               {"ct state != new,established", "3"},
               {"ct state ! new", "2 3"},
               {"ct state ! new,established", "3"},
               {"ct state established udp sport 1", "2"},
               {"ct direction original", "1"},
               {"ct mark 10", "2"},
               {"ct mark & 0x8 == 0", "1"},
               {"ct zone 7", "1 2"},
               {"ct status & 0x2 == 0x2", "1 2"},
               {"ct status seen-reply", "1 2"},
               {"ct status seen-reply,assured", "1 2"},
               {"ct status != assured", "1 2"},
               {"ct status 0x42", "1 2"},
               {"ct status & (confirmed | 0x40) == 0", "1 2"},
               {"ct status seen-reply / seen-reply,dnat", "1 2"},
               {"ct status snat,dnat", ""}};
  for (const auto& c : cases) {
    const auto read = parse_condition(c.text);
    REQUIRE_MESSAGE(read, c.text);
    CHECK_MESSAGE(asked(*read) == c.packets, c.text);
    const auto again = parse_condition(printed(*read).c_str());
    REQUIRE_MESSAGE(again, printed(*read));
    CHECK(printed(*again) == printed(*read));
  }
  CHECK_FALSE(parse_condition("ct state old"));
  CHECK_FALSE(parse_condition("ct state new,"));
  CHECK_FALSE(parse_condition("ct state ! { new }"));
}

TEST_CASE("of a connection that is over since, nothing is known but what the packet says") {
  counted_table t({.connections = 16});
  counted_pool memory;
  test_device device(memory);
  device.udp(1);
  numbers seen;
  run(attach(
      device, parse() | track(*t, {.zone = 7}) | [&](packet&) { t->clear(); } |
                  rules(when(ct::zone == 7 || ct::mark == 0 || ct::status == 0) >> drop,
                        when(ct::state == new_) >> accept, otherwise >> drop) |
                  note(seen)));
  CHECK(seen == "1");
}

TEST_CASE("of a connection that a reset ends, the reset itself still knows all") {
  counted_table t({.connections = 16});
  counted_pool memory;
  test_device device(memory);
  const auto begin = [&] {
    device.put(1, 2, {}, eth, ipv4_header{.source = client, .destination = server},
               tcp_header{.source_port = 9, .destination_port = 80, .flags = tcp_flags::syn});
  };
  begin();
  run(attach(device, parse() | track(*t, {.zone = 7}) | [](connection& c) { c.mark(5); } | confirm(*t) | discard));
  device.put(2, 2, {}, eth, ipv4_header{.source = server, .destination = client},
             tcp_header{.source_port = 80,
                        .destination_port = 9,
                        .acknowledgment_number = 3,
                        .flags = tcp_flags::rst | tcp_flags::ack});
  numbers seen;
  unsigned handled = 0;
  const auto is_all_known =
      ct::mark == 5 && ct::zone == 7 && ct::direction == connection_direction::reply &&
      ct::status == (connection_status::confirmed | connection_status::seen_reply | connection_status::dying) &&
      ct::state == established;
  run(attach(
      device, parse() | track(*t, {.zone = 7}) | rules(when(is_all_known) >> accept, otherwise >> drop) |
                  [&](connection& c) { handled += c.mark() == 5 ? 1u : 0u; } | confirm(*t) | note(seen)));
  CHECK(seen == "2");
  CHECK(handled == 1);
  begin();  // it is over for all others
  numbers again;
  run(attach(device, parse() | track(*t, {.zone = 7}) |
                         rules(when(ct::state == new_ && ct::mark == 0) >> accept, otherwise >> drop) | note(again)));
  CHECK(again == "1");
}

TEST_CASE("many resets in one burst end their connections, at the latest with the next ticks of the wheel") {
  counted_table t({.connections = 64, .unconfirmed = 64});
  counted_pool memory{{.packets = 128, .bytes = 2048, .headroom = 64, .bare = 64}};
  test_device device(memory);
  manual_clock clock;
  unsigned resets = 0;
  auto path = parse() | track(*t) | [&](connection& c, tcp h) { resets += h.rst() && c.is_alive() ? 1u : 0u; } |
              confirm(*t) | discard;
  for (const bool back : {false, true}) {
    for (std::uint16_t i = 0; i < 48; ++i) {
      const auto port = static_cast<std::uint16_t>(1000 + i);
      const tcp_header syn{.source_port = port, .destination_port = 80, .flags = tcp_flags::syn};
      const tcp_header rst{.source_port = 80,
                           .destination_port = port,
                           .acknowledgment_number = 1,
                           .flags = tcp_flags::rst | tcp_flags::ack};
      device.put(1, 0, {}, eth,
                 back ? ipv4_header{.source = server, .destination = client}
                      : ipv4_header{.source = client, .destination = server},
                 back ? rst : syn);
    }
    run(clock, attach(device, path));
    CHECK(t->check());
  }
  CHECK(resets == 48);
  clock.set(clock.now() + milliseconds(600));
  t->expire(clock.now());
  CHECK(t->size() == 0);
}

TEST_CASE("where nobody tracks, no packet has a state") {
  counted_pool memory;
  test_device device(memory);
  device.udp(1);
  numbers seen;
  run(attach(device,
             parse() | rules(when(ct::state == new_ || ct::state != new_ || ct::mark == 0) >> drop) | note(seen)));
  CHECK(seen == "1");
}
