// SPDX-License-Identifier: MIT
#include <initializer_list>

#include <doctest/doctest.h>

#include <runnel/base/endian.hpp>
#include <runnel/device/null.hpp>

using namespace runnel;

TEST_CASE("the null device hands out its template in slots of its pool, and takes anything") {
  static_pool<pool_config{.packets = 8, .bytes = 128, .headroom = 32, .bare = 2}> memory;
  const std::byte begin[] = {std::byte{1}, std::byte{2}};
  for (bool copy : {false, true}) {
    CAPTURE(copy);
    null_device device(memory, {.length = 60, .fill = begin, .copy = copy, .limit = 20});
    frame f[16];
    REQUIRE(device.receive(16, instant{5}, into_array(f)) == 7);  // one slot holds the template
    for (std::size_t i = 0; i < 7; ++i) {
      CHECK(f[i].length == 60);
      CHECK(f[i].headroom == 32);
      CHECK(f[i].tailroom == 68);
      CHECK(f[i].timestamp == instant{5});
      CHECK(load_be32(f[i].data) == 0x01020000);
      CHECK(f[i].data[59] == std::byte{0});
    }
    CHECK(memory->exhausted() != 0);
    CHECK(device.receive(1, {}, into_array(f + 7)) == 0);
    f[0].data[0] = std::byte{9};
    CHECK(device.transmit(f, 2, {}) == 2);
    packet p[5];
    for (std::size_t i = 0; i < 5; ++i) p[i] = memory->attach(f[i + 2]);
    CHECK(device.transmit(p, 5, {}) == 5);
    for (packet& q : p) CHECK_FALSE(q);
    CHECK(memory->available() == 7);
    REQUIRE(device.receive(7, {}, into_array(f)) == 7);
    unsigned sum = 0;
    for (std::size_t i = 0; i < 7; ++i) sum += load_u8(f[i].data);
    CHECK(sum == (copy ? 7 : 15));  // without a copy one slot shows what its last user left there
    memory->release(f, 7);
    CHECK_FALSE(device.done());
    CHECK(device.receive(16, {}, into_array(f)) == 6);
    memory->release(f, 6);
    CHECK(device.done());
    CHECK(device.receive(16, {}, into_array(f)) == 0);
    CHECK(device.received() == 20);
    CHECK(device.transmitted() == 7);
  }
  CHECK(memory->available() == 8);
}

TEST_CASE("packets released in bulk go home, whatever they are") {
  static_pool<pool_config{.packets = 8, .bytes = 128, .headroom = 32, .bare = 4}> memory;
  static_pool<pool_config{.packets = 2, .bytes = 128, .headroom = 32, .bare = 2}> other;
  packet p[7];
  p[0] = memory->allocate();
  p[2] = other->allocate();
  p[3] = memory->allocate();
  p[4] = p[3].clone();
  p[5] = memory->allocate();
  REQUIRE(p[5].append(memory->allocate()));
  p[6] = memory->allocate();
  memory->release(p, 7);
  for (packet& q : p) CHECK_FALSE(q);
  CHECK(memory->available() == 8);
  CHECK(memory->bare_available() == 4);
  CHECK(other->available() == 2);
}
