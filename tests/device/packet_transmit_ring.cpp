// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <runnel/device/packet_transmit_ring.hpp>

#if defined(__linux__)

#include <cstring>
#include <vector>

#include <runnel/base/random.hpp>
#include <runnel/packet/pool.hpp>

using namespace runnel;
using detail::packet_transmit_ring;

namespace {

constexpr std::uint32_t slots = 4;
constexpr std::size_t slot_size = packet_transmit_ring::slot_size(100);

// A ring, and what the kernel does to it: it goes on where it stands.
struct played_ring {
  std::vector<std::byte> memory = std::vector<std::byte>(slot_size * slots);
  packet_transmit_ring ring{memory.data(), slot_size, slots};
  std::uint32_t stands = 0;

  [[nodiscard]] std::uint32_t status(std::uint32_t i) const {
    std::uint32_t s;
    std::memcpy(&s, memory.data() + i * slot_size, 4);
    return s;
  }
  void status(std::uint32_t i, std::uint32_t s) { std::memcpy(memory.data() + i * slot_size, &s, 4); }
  // Takes the next packet, if there is one: its first byte, -1 without. In what state its slot is then.
  int take(std::uint32_t then = TP_STATUS_AVAILABLE) {
    if (status(stands) != TP_STATUS_SEND_REQUEST) return -1;
    const int first = std::to_integer<int>(memory[stands * slot_size + packet_transmit_ring::front]);
    status(stands, then);
    stands = (stands + 1) % slots;
    return first;
  }
  bool put(std::uint8_t first) {
    std::byte b[60] = {std::byte{first}};
    frame f;
    f.data = b;
    f.length = sizeof b;
    return ring.put(f, f.length, {});
  }
};

}  // namespace

TEST_CASE("a slot is an odd number of cache lines, and the longest packet fits") {
  for (const std::size_t length : {std::size_t{1}, std::size_t{60}, std::size_t{1514}, std::size_t{9014}}) {
    const std::size_t size = packet_transmit_ring::slot_size(length);
    CHECK(size / 64 % 2 == 1);
    CHECK(size % 64 == 0);
    CHECK(size >= length + packet_transmit_ring::front);
  }
  CHECK(played_ring().ring.longest() >= 100);
}

TEST_CASE("a slot has the packet behind a header that calls all of it header") {
  played_ring r;
  static_pool<pool_config{.packets = 4, .bytes = 64}> memory;
  packet p = memory->allocate(), tail = memory->allocate();
  const std::byte data[] = {std::byte{1}, std::byte{2}, std::byte{3}};
  REQUIRE((p.append(bytes{data, 3}) && tail.append(bytes{data, 2}) && p.append(static_cast<packet&&>(tail))));
  CHECK(r.ring.put(p, p.total_length(), {.flags = 1, .checksum_start = 34, .checksum_offset = 6}));
  std::uint32_t length = 0;
  std::memcpy(&length, r.memory.data() + 4, 4);
  CHECK(length == 10 + 5);
  detail::virtio_net_header h;
  std::memcpy(&h, r.memory.data() + 32, 10);
  CHECK(h.flags == 1);
  CHECK(h.gso_type == 0);
  CHECK(h.header_length == 5);
  CHECK(h.checksum_start == 34);
  CHECK(h.checksum_offset == 6);
  const std::byte expected[] = {std::byte{1}, std::byte{2}, std::byte{3}, std::byte{1}, std::byte{2}};
  CHECK(std::memcmp(r.memory.data() + 42, expected, 5) == 0);
  CHECK(r.status(0) == TP_STATUS_SEND_REQUEST);
}

TEST_CASE("a full ring takes no more until the driver has sent") {
  played_ring r;
  for (std::uint8_t i = 0; i < slots; ++i) CHECK(r.put(i));
  CHECK(!r.put(9));
  for (int i = 0; i < static_cast<int>(slots); ++i) CHECK(r.take(TP_STATUS_SENDING) == i);
  const auto o = r.ring.settle();
  CHECK(o.done == slots);
  CHECK(!o.wrong);
  CHECK(!r.put(9));
  CHECK(r.ring.held() == slots);
  r.status(0, TP_STATUS_AVAILABLE);
  CHECK(r.put(9));
  CHECK(!r.put(10));
  CHECK(r.take() == 9);
  CHECK(r.ring.settle().done == 1);
}

TEST_CASE("what the kernel did not come to is taken back, and can be put again") {
  played_ring r;
  for (std::uint8_t i = 0; i < 3; ++i) CHECK(r.put(i));
  CHECK(r.take() == 0);
  auto o = r.ring.settle();
  CHECK(o.done == 1);
  CHECK(!o.wrong);
  CHECK(r.ring.size() == 0);
  CHECK(r.ring.held() == 0);
  CHECK(r.take() == -1);
  CHECK(r.put(1));
  CHECK(r.put(2));
  CHECK(r.take() == 1);
  CHECK(r.take() == 2);
  CHECK(r.ring.settle().done == 2);
  CHECK(r.ring.settle().done == 0);
}

TEST_CASE("a packet that the kernel will never send does not stop the ring") {
  played_ring r;
  for (std::uint8_t i = 0; i < 4; ++i) CHECK(r.put(i));
  CHECK(r.take() == 0);
  r.status(r.stands, TP_STATUS_WRONG_FORMAT);
  const auto o = r.ring.settle();
  CHECK(o.done == 1);
  CHECK(o.wrong);
  CHECK(r.ring.held() == 0);
  CHECK(r.put(2));
  CHECK(r.take() == 2);
  CHECK(r.ring.settle().done == 1);
}

TEST_CASE("whatever the kernel comes to, each packet is sent once, in order") {
  random_generator random(7);
  played_ring r;
  std::uint8_t next = 0, expected = 0;
  for (int round = 0; round < 20'000; ++round) {
    const std::uint64_t wanted = random.below(6);
    std::uint8_t put = 0;
    while (put < wanted && r.put(static_cast<std::uint8_t>(next + put))) ++put;
    std::uint32_t sent = 0;
    for (const std::uint64_t most = random.below(6); sent < most; ++sent) {
      const int first =
          r.take(random.chance(300'000) ? std::uint32_t{TP_STATUS_SENDING} : std::uint32_t{TP_STATUS_AVAILABLE});
      if (first < 0) break;
      REQUIRE(first == expected);
      ++expected;
    }
    const bool wrong = sent < put && random.chance(200'000);
    if (wrong) r.status(r.stands, TP_STATUS_WRONG_FORMAT);
    const auto o = r.ring.settle();
    REQUIRE(o.done == sent);
    REQUIRE(o.wrong == wrong);
    next = static_cast<std::uint8_t>(next + sent + (wrong ? 1 : 0));
    expected = next;
    // The driver sends.
    for (std::uint32_t i = 0; i < slots; ++i)
      if (r.status(i) == TP_STATUS_SENDING && random.chance(500'000)) r.status(i, TP_STATUS_AVAILABLE);
  }
}

#endif
