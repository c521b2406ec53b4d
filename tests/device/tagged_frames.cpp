// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <runnel/device.hpp>

#if defined(__linux__)

#include <cstddef>
#include <cstdint>
#include <vector>

#include <device/fresh_namespace.hpp>

#include <runnel/base/endian.hpp>

using namespace runnel;
using device::af_packet;
using runnel::test::fresh_namespace;

namespace {

packet frame_of(pool& memory, std::size_t length, std::uint16_t type) {
  std::vector<std::byte> content(length, std::byte{2});
  store_be16(content.data() + 12, type);
  packet p = memory.allocate();
  REQUIRE(p);
  REQUIRE(p.append(bytes{content.data(), content.size()}));
  return p;
}

}  // namespace

TEST_CASE("frames of the MTU with a VLAN tag go as many in one system call as those without") {
  const fresh_namespace here;
  if (!here) return;
  for (const std::uint16_t mtu : {std::uint16_t{1500}, std::uint16_t{1526}}) {
    CAPTURE(mtu);
    auto wire = device::tap::open("wire", {.mtu = mtu});
    REQUIRE(wire);
    auto eth = af_packet::open("wire", {.blocks = 4});
    if (!eth) {
      MESSAGE("skipped: ", eth.error().message());
      return;
    }
    struct {
      std::uint16_t type;
      std::size_t length;
      bool goes, by_ring;
    } const cases[] = {{0x0800, mtu + 14u, true, true},   {0x8100, mtu + 18u, true, true},
                       {0x8100, mtu + 19u, false, false}, {0x0800, mtu + 15u, false, false},
                       {0x0800, mtu + 18u, false, false}, {0x88a8, mtu + 18u, false, false}};
    for (const auto& one : cases) {
      CAPTURE(one.type);
      CAPTURE(one.length);
      const auto before = eth->statistics();
      packet packets[8];
      for (packet& p : packets) p = frame_of(wire->memory(), one.length, one.type);
      CHECK(eth->transmit(packets, 8, instant{}) == 8);
      const auto after = eth->statistics();
      CHECK(after.transmitted - before.transmitted == (one.goes ? 8u : 0u));
      CHECK((after.system_calls - before.system_calls < 4) == one.by_ring);
      // What went comes out at the wire as it was.
      std::size_t came = 0;
      for (int late = 0; came < (one.goes ? 8u : 0u) && late < 100; ++late)
        (void)wire->receive(8, instant{}, [&](const frame& f) {
          CHECK(f.length == one.length);
          CHECK(load_be16(f.data + 12) == one.type);
          ++came;
          wire->memory().release(&f, 1);
        });
      CHECK(came == (one.goes ? 8u : 0u));
    }
  }
}

#endif
