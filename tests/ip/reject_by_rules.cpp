// SPDX-License-Identifier: MIT
// Rules that were loaded from text refuse packets, and their senders are told.
#include <string>

#include <doctest/doctest.h>

#include <flow/test_device.hpp>

#include <runnel/hook.hpp>
#include <runnel/ip.hpp>
#include <runnel/track.hpp>

using namespace runnel;
using namespace runnel::test;

TEST_CASE("a rule says how the sender is told: with a reset, or with the error that it names") {
  static_rule_table<rule_table_config{}> rules;
  REQUIRE(load(rules,
               "table inet t { chain c { type filter hook forward priority 0; policy accept;\n"
               "tcp dport 80 reject with tcp reset\nudp dport 7 reject with icmpx admin-prohibited\n } }"));
  rule_table_slot live{rules};
  ip_interface all[2] = {{}, {.addresses = {{ipv4_address{10, 0, 0, 254}, 24}}}};
  icmp_sender errors{all, token_bucket{1000, 1000}};
  counted_pool memory;
  test_device device{memory};
  manual_clock clock;
  numbers passed;
  std::string told;
  auto output = as_pipeline(parse() | deliver([&told](packet p) {
                              const header_map found{static_cast<const packet&>(p)};
                              REQUIRE(found.has<ipv4>());
                              CHECK(found.get<ipv4>().destination() == addr4("10.0.0.1"));
                              if (found.has<tcp>()) {
                                CHECK(found.get<tcp>().rst());
                                told += "reset ";
                              }
                              if (found.has<icmp>()) {
                                CHECK(found.get<icmp>().checksum_ok());
                                CHECK(found.get<icmp>().kind() == icmp_kind{3, 13});
                                told += "prohibited ";
                              }
                            }));
  auto path = parse() | [](packet& p) { p.iif(1); } |
              hook<hook_point::forward>(live)
                  .on<accepted>(note(passed))
                  .on<refused>(reject(errors) | shared(output))
                  .on<diverted>(discard);
  device.tcp(1, 80);
  device.udp(2, 7);
  device.udp(3, 8);
  run(clock, attach(device, path));
  CHECK(passed == "3");
  CHECK(told == "reset prohibited ");
}

TEST_CASE("a reset closes the connection whose segment it answers") {
  static_rule_table<rule_table_config{}> rules;
  REQUIRE(load(rules,
               "table inet t { chain c { type filter hook forward priority 0; policy accept;\n"
               "ct state established ip saddr 10.0.0.1 tcp flags & fin == fin reject with tcp reset\n } }"));
  rule_table_slot live{rules};
  static_connection_table<connection_config{.connections = 16}> connections{7};
  ip_interface all[2] = {{}, {.addresses = {{ipv4_address{10, 0, 0, 254}, 24}}}};
  icmp_sender errors{all, token_bucket{1000, 1000}};
  counted_pool memory;
  test_device device{memory};
  manual_clock clock;
  auto output = as_pipeline(discard);
  std::string seen;
  auto path = parse() | [](packet& p) { p.iif(1); } | track(connections) |
              [&](const connection& c, const packet& p) {
                (seen += name(connection_word{p.connection()}.state())) += ' ';
                (seen += name(c.tcp_state())) += ' ';
              } |
              hook<hook_point::forward>(live)
                  .on<accepted>(confirm(connections) | discard)
                  .on<refused>(reject(errors) | shared(output))
                  .on<diverted>(discard);
  const auto send = [&](bool back, unsigned flags, std::uint32_t sequence, std::uint32_t acknowledged) {
    const ipv4_address client{10, 0, 0, 1}, server{192, 0, 2, 1};
    seen.clear();
    device.put(1, 0, {}, eth, ipv4_header{.source = back ? server : client, .destination = back ? client : server},
               tcp_header{.source_port = static_cast<std::uint16_t>(back ? 80 : 4000),
                          .destination_port = static_cast<std::uint16_t>(back ? 4000 : 80),
                          .sequence_number = sequence,
                          .acknowledgment_number = acknowledged,
                          .flags = static_cast<std::uint8_t>(flags),
                          .window_size = 1000});
    run(clock, attach(device, path));
    return seen;
  };
  constexpr unsigned syn = tcp_flags::syn, ack = tcp_flags::ack, fin = tcp_flags::fin;
  CHECK(send(false, syn, 10, 0) == "new SYN_SENT ");
  CHECK(send(true, syn | ack, 20, 11) == "established SYN_RECV ");
  CHECK(send(false, ack, 11, 21) == "established ESTABLISHED ");
  CHECK(send(false, fin | ack, 11, 21) == "established FIN_WAIT ");
  std::size_t closed = 0;
  connections->for_each([&](const connection& c) { closed += c.tcp_state() == tcp_connection_state::close ? 1u : 0u; });
  CHECK(closed == 1);
  CHECK(send(true, ack, 21, 11) == "established CLOSE ");
  CHECK(send(false, syn, 100, 0) == "new SYN_SENT ");
  CHECK(connections->size() == 1);
}
