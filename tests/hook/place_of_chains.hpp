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

/// Whether a SYN whose checksum is left to the device has a right one when the device has completed it, behind a stage
/// that lowers its maximum segment size to 1400.
template <class Stage>
[[nodiscard]] bool completed_behind(Stage stage) {
  place_of_chains t;
  t.tcp_syn(1, 1460);
  bool right = false;
  const auto left_to_device = [](packet& p) {
    p.checksum(checksum_status::partial);
    const mutable_header_map m{p};
    const auto ip = m.get<mut<ipv4>>();
    m.get<mut<tcp>>().segment_checksum(
        fold_checksum(std::uint64_t{ip.pseudo_header_sum()} + 6 + ip.total_length() - 20u));
  };
  const auto complete = [&](packet& p) {
    (void)complete_checksum(p.writable(), p.layers().transport - p.headroom(), 16);
    const header_map m{static_cast<const packet&>(p)};
    right = tcp_option_values::parse(m.get<tcp>().options()).maximum_segment_size == 1400 &&
            m.get<tcp>().checksum_ok(m.get<ipv4>().pseudo_header_sum());
  };
  auto path = parse() | left_to_device | std::move(stage) | complete | note(t.passed);
  runnel::run(t.clock, attach(t.device, path));
  return right;
}

}  // namespace runnel::test

#endif
