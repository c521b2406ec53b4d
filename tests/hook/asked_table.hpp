// SPDX-License-Identifier: MIT
// A rule table that is asked about one packet at a time, at any time.
#ifndef RUNNEL_TESTS_HOOK_ASKED_TABLE_HPP
#define RUNNEL_TESTS_HOOK_ASKED_TABLE_HPP

#include <cstdint>
#include <cstring>
#include <string>

#include <doctest/doctest.h>

#include <flow/test_device.hpp>

#include <runnel/hook.hpp>
#include <runnel/wire.hpp>

#include "rulesets.hpp"

namespace runnel::test {

struct asked_table {
  rules_for_test rules;
  counted_pool memory;
  context at;

  explicit asked_table(const std::string& said) {
    const auto loaded = load(rules, said.c_str());
    REQUIRE_MESSAGE(loaded, std::string(loaded ? "" : loaded.error().message()));
    now(1000);
  }
  void now(std::int64_t s) { at.now = instant{} + seconds(s); }
  void later(std::int64_t s) { at.now = at.now + seconds(s); }

  template <class... Headers>
  packet make(const Headers&... headers) {
    packet p = memory->allocate();
    const std::size_t size = size_of_headers(headers...) + 4;
    std::byte* const to = p.put(size);
    std::memset(to, 0, size);
    REQUIRE(write_headers({to, size}, headers...));
    p.layers(dissect(p.contents(), link_type::ethernet, {.head_offset = p.headroom()}));
    return p;
  }
  packet udp(ipv4_address from, std::uint16_t port = 7, ipv4_address to = {192, 0, 2, 1}) {
    return make(eth, ipv4_header{.source = from, .destination = to},
                udp_header{.source_port = 1, .destination_port = port});
  }
  packet tcp(ipv4_address from, std::uint16_t port = 7, ipv4_address to = {192, 0, 2, 1}) {
    return make(eth, ipv4_header{.source = from, .destination = to},
                tcp_header{.source_port = 1, .destination_port = port, .flags = tcp_flags::syn});
  }
  // What becomes of a packet of the input hook: "drop", or the mark that it has then.
  std::string ask(packet p) {
    return rules->run(hook_point::input, p, at) == accept ? std::to_string(p.mark()) : "drop";
  }
  // Of a UDP packet.
  std::string ask(ipv4_address from, std::uint16_t port = 7) { return ask(udp(from, port)); }
};
// A table with one chain at the hook input.
inline std::string table_of(const std::string& sets, const std::string& of_chain) {
  return "table inet t {\n" + sets + "\nchain c { type filter hook input priority 0; policy accept;\n" + of_chain +
         "\n}\n}\n";
}

}  // namespace runnel::test

#endif
