// SPDX-License-Identifier: MIT
// Sends what a test has put on the wire through one stage, and notes what comes out behind it.
#ifndef RUNNEL_TESTS_HOOK_PLACE_OF_CHAINS_HPP
#define RUNNEL_TESTS_HOOK_PLACE_OF_CHAINS_HPP

#include <cstdint>
#include <string>
#include <utility>

#include <doctest/doctest.h>

#include <flow/test_device.hpp>

#include <runnel/hook.hpp>
#include <runnel/track.hpp>
#include <runnel/wire.hpp>

namespace runnel::test {

struct place_of_chains {
  counted_pool memory;
  test_device device{memory};
  manual_clock clock;
  numbers passed;
  std::string seen;  ///< of the last packet that passed: its mark, priority, TTL, code point, maximum segment size

  template <class Stage>
  stage_counters run(Stage stage) {
    passed.clear();
    auto path = parse() | std::move(stage) | [this](packet& p) { look(p); } | note(passed);
    runnel::run(clock, attach(device, path));
    return counters_of<1>(path);
  }
  void tcp_syn(unsigned n, std::uint16_t mss) {
    device.put(n, 2, {}, eth, ipv4_header{.source = {10, 0, 0, 1}, .destination = {192, 0, 2, 1}},
               tcp_header{.source_port = 1000,
                          .destination_port = 80,
                          .flags = tcp_flags::syn,
                          .options = {.maximum_segment_size = mss}});
  }

 private:
  void look(const packet& p) {
    text<> out;
    out << "mark " << p.mark() << " priority " << p.priority();
    const header_map map{p};
    if (map.has<ipv4>()) {
      const ipv4 ip = map.get<ipv4>();
      CHECK(ip.checksum_ok());
      out << " ttl " << ip.time_to_live() << " dscp " << ip.codepoint();
      if (map.has<runnel::tcp>()) {
        const tcp_option_values o = tcp_option_values::parse(map.get<runnel::tcp>().options());
        if (o.maximum_segment_size != 0) out << " mss " << o.maximum_segment_size;
      }
    }
    if (map.has<ipv6>()) out << " ttl " << map.get<ipv6>().hop_limit() << " dscp " << map.get<ipv6>().codepoint();
    if (p.traced()) out << " traced";
    if (p.connection() != 0) out << ' ' << name(connection_word{p.connection()}.state());
    seen = out.c_str();
  }
};

}  // namespace runnel::test

#endif
