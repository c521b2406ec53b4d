// SPDX-License-Identifier: MIT
// Rules that were loaded from text refuse packets, and their senders are told.
#include <string>

#include <doctest/doctest.h>

#include <flow/test_device.hpp>

#include <runnel/hook.hpp>
#include <runnel/ip.hpp>

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
