// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <runnel/device.hpp>
#include <runnel/flow.hpp>

#if defined(__linux__)

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include <unistd.h>

#include <device/fresh_namespace.hpp>

#include <runnel/wire/build.hpp>
#include <runnel/wire/ethernet.hpp>
#include <runnel/wire/ipv4.hpp>
#include <runnel/wire/udp.hpp>

using namespace runnel;
using device::af_packet;
using runnel::test::fresh_namespace;

namespace {

constexpr std::size_t flows = 32;

// A device in front of an interface's kernel, and the two of a fanout group behind it, of workers 0 and 1.
struct side {
  explicit side(const char* name) : wire(device::tap::open(name)) { REQUIRE(wire); }
  void open_for(std::size_t worker) {
    auto made =
        af_packet::open(wire->name(), {.fanout = device::fanout_mode::hash, .blocks = 64, .block_size = 1u << 16});
    if (!made) MESSAGE("skipped: ", made.error().message());
    else of[worker].emplace(std::move(*made));
  }
  void send(std::uint16_t from, std::uint16_t to, bool back) {
    constexpr ipv4_address client{10, 0, 0, 1}, server{10, 0, 0, 2};
    packet p = wire->memory().allocate();
    REQUIRE(p);
    REQUIRE(build(p, {}, ethernet_header{.source = {{2, 0, 0, 0, 0, 1}}, .destination = {{2, 0, 0, 0, 0, 2}}},
                  ipv4_header{.source = back ? server : client, .destination = back ? client : server},
                  udp_header{.source_port = from, .destination_port = to}));
    REQUIRE(wire->transmit(&p, 1, instant{}) == 1);
  }
  // Which worker got the packet with this port at `offset`, when all have come.
  std::vector<int> workers_of_flows(std::size_t offset) {
    std::vector<int> found(flows, -1);
    std::size_t seen = 0;
    for (int late = 0; seen < flows && late < 1000; ++late) {
      for (std::size_t w = 0; w < of.size(); ++w)
        seen += of[w]->receive(flows, instant{}, [&](const frame& f) {
          found[load_be16(f.data + offset) - 1000u] = static_cast<int>(w);
          of[w]->memory().release(&f, 1);
        });
      ::usleep(1000);
    }
    CHECK(seen == flows);
    return found;
  }

  result<device::tap, error> wire;
  std::array<std::optional<af_packet>, 2> of;
};

}  // namespace

TEST_CASE("both directions of a flow, by two interfaces, come to one worker if the workers opened them in one order") {
  const fresh_namespace here;
  if (!here) return;
  for (const bool turned : {false, true}) {
    CAPTURE(turned);
    side lan("lan"), wan("wan");
    lan.open_for(0), lan.open_for(1);
    wan.open_for(turned ? 1 : 0), wan.open_for(turned ? 0 : 1);
    if (!lan.of[0] || !lan.of[1] || !wan.of[0] || !wan.of[1]) return;
    for (std::uint16_t i = 0; i < flows; ++i) {
      const auto port = static_cast<std::uint16_t>(1000 + i);
      lan.send(port, 53, false);
      wan.send(53, port, true);
    }
    const std::vector<int> there = lan.workers_of_flows(34), back = wan.workers_of_flows(36);
    for (std::size_t i = 0; i < flows; ++i) CHECK((there[i] == back[i]) == !turned);
  }
}

#endif
