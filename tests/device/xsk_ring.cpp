// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <cstring>
#include <initializer_list>

#include <runnel/device/xsk_queue.hpp>
#include <runnel/device/xsk_ring.hpp>

using namespace runnel;

namespace {

// A ring in plain memory; the other side is played by the test.
template <class T, std::uint32_t Size>
struct plain_ring {
  std::uint32_t producer = 0, consumer = 0, flags = 0;
  T entries[Size] = {};
  explicit plain_ring(std::uint32_t begin = 0) noexcept : producer(begin), consumer(begin) {}
  detail::xsk_ring_memory memory() noexcept { return {&producer, &consumer, &flags, entries, Size}; }
};

}  // namespace

TEST_CASE("what is submitted to a ring is there for the kernel, also when its indices wrap") {
  plain_ring<std::uint64_t, 4> memory(0xffff'fffe);
  detail::xsk_producer<std::uint64_t> ring(memory.memory());
  CHECK(ring.size() == 4);
  CHECK(ring.waiting() == 0);
  ring[0] = 10, ring[1] = 11, ring[2] = 12;
  CHECK(memory.producer == 0xffff'fffe);  // not before they are submitted
  ring.submit(3);
  CHECK(memory.producer == 1);
  CHECK(ring.waiting() == 3);
  CHECK(memory.entries[2] == 10);
  CHECK(memory.entries[3] == 11);
  CHECK(memory.entries[0] == 12);
  memory.consumer = 0;
  CHECK(ring.waiting() == 1);
  ring[0] = 13;
  ring.submit(1);
  CHECK(memory.entries[1] == 13);
  CHECK(memory.entries[0] == 12);
}

TEST_CASE("what the kernel produced is taken in order, as much as was asked for") {
  plain_ring<std::uint64_t, 4> memory(0xffff'ffff);
  detail::xsk_consumer<std::uint64_t> ring(memory.memory());
  CHECK(ring.available(8) == 0);
  memory.entries[3] = 1, memory.entries[0] = 2, memory.entries[1] = 3;
  memory.producer = 2;
  CHECK(ring.available(2) == 2);
  CHECK(ring.available(8) == 3);
  CHECK(ring[0] == 1);
  CHECK(ring[1] == 2);
  ring.release(2);
  CHECK(memory.consumer == 1);
  CHECK(ring.available(8) == 1);
  CHECK(ring[0] == 3);
  CHECK(ring.waiting() == 1);
  ring.release(1);
  CHECK(ring.available(1) == 0);
}

TEST_CASE("the kernel is told of new entries only where it sleeps") {
  plain_ring<std::uint64_t, 4> memory;
  detail::xsk_producer<std::uint64_t> ring(memory.memory());
  CHECK_FALSE(ring.needs_wakeup());
  memory.flags = 1;
  CHECK(ring.needs_wakeup());
  auto without_flags = memory.memory();
  without_flags.flags = nullptr;
  CHECK(detail::xsk_producer<std::uint64_t>(without_flags).needs_wakeup());
}

#if defined(__linux__)

namespace {

constexpr pool_config small{.packets = 16, .bytes = 1984, .headroom = 128, .bare = 4};

// A queue over plain rings, and a kernel that does what a test says. Nobody sleeps, so there are no system calls.
template <pool_config Config, std::uint32_t Transmit = 4>
struct basic_plain_queue {
  plain_ring<detail::xsk_descriptor, 8> receive;
  plain_ring<detail::xsk_descriptor, Transmit> transmit;
  plain_ring<std::uint64_t, 8> fill;
  plain_ring<std::uint64_t, Transmit> completion;
  static_pool<Config> memory;
  detail::xsk_custody custody[16] = {};
  detail::xsk_umem umem = detail::xsk_umem::of(memory, 4096);
  device::af_xdp_statistics counts{};
  detail::xsk_queue queue;

  basic_plain_queue() noexcept : queue(receiver(), sender(), 3, 8, false) {
    umem.custody = custody;
    queue.refill(umem);
  }
  ~basic_plain_queue() {
    for (std::uint32_t i = 0; i < 16; ++i)
      if (custody[i] != detail::xsk_custody::ours) memory->release_slots(&i, 1);
  }
  detail::xsk_socket sender() noexcept {
    detail::xsk_socket s;
    s.transmit = detail::xsk_producer<detail::xsk_descriptor>(transmit.memory());
    return s;
  }
  detail::xsk_socket receiver() noexcept {
    detail::xsk_socket s;
    s.receive = detail::xsk_consumer<detail::xsk_descriptor>(receive.memory());
    s.fill = detail::xsk_producer<std::uint64_t>(fill.memory());
    s.completion = detail::xsk_consumer<std::uint64_t>(completion.memory());
    return s;
  }
  // The kernel receives a packet of this length, or a piece of one, into the next slot.
  void arrives(std::uint32_t length, std::uint32_t options = 0, int byte = 0) noexcept {
    REQUIRE(fill.consumer != fill.producer);
    const std::uint64_t address = fill.entries[fill.consumer++ % 8];
    std::memset(umem.base + address + 256, byte, length);
    receive.entries[receive.producer++ % 8] = {address | std::uint64_t{256} << 48, length, options};
  }
  // The kernel sends the next packet: its bytes.
  std::byte* leaves() noexcept {
    REQUIRE(transmit.consumer != transmit.producer);
    const detail::xsk_descriptor d = transmit.entries[transmit.consumer++ % Transmit];
    completion.entries[completion.producer++ % Transmit] = d.address;
    return umem.base + (d.address & detail::xsk_chunk_mask) + (d.address >> 48);
  }
  std::size_t take(frame* to, std::size_t room) noexcept {
    into_array taker(to);
    return queue.receive(umem, room, instant{7}, taker, counts);
  }
  std::uint32_t with(detail::xsk_custody who) const noexcept {
    std::uint32_t n = 0;
    for (const auto c : custody) n += c == who || (c > who && who == detail::xsk_custody::transmit);
    return n;
  }
};
using plain_queue = basic_plain_queue<small>;

// Slots of 9280 bytes: a frame that lies in several chunks of a page fits one.
struct jumbo_queue : basic_plain_queue<pool_config{.packets = 16, .bytes = 9146, .headroom = 128, .bare = 4}> {
  jumbo_queue() noexcept { umem.allow_pieces(); }
};
// Whether a frame is made of pieces of these lengths, filled with 1, 2, 3.
bool has_pieces(const frame& f, std::initializer_list<std::uint32_t> lengths) {
  const std::byte* at = f.data;
  unsigned byte = 1;
  bool same = true;
  for (const std::uint32_t length : lengths) {
    for (const std::byte* const end = at + length; at != end; ++at) same &= load_u8(at) == byte;
    ++byte;
  }
  return same && at == f.data + f.length;
}

}  // namespace

TEST_CASE("slots and addresses are each other's inverse, for any stride") {
  for (std::uint32_t bytes : {1984u, 2048u, 3000u, 9000u}) {
    const pool_config config{.packets = 1000, .bytes = bytes, .headroom = 128, .bare = 1};
    detail::mapping memory(pool::bytes_needed(config));
    pool* p = pool::create({memory.data(), memory.size()}, config);
    REQUIRE(p != nullptr);
    const auto u = detail::xsk_umem::of(*p, 4096);
    CHECK(reinterpret_cast<std::uintptr_t>(u.base) % 4096 == 0);
    CHECK(u.base + u.address_of(0) == p->slots());
    CHECK(u.chunk <= 4096);
    CHECK(u.whole().size() == u.address_of(999) + p->slot_stride());
    for (std::uint32_t i = 0; i < 1000; ++i) {
      CHECK(u.slot_at(u.address_of(i)) == i);
      CHECK(u.slot_at(u.address_of(i) | std::uint64_t{300} << 48) == i);
    }
  }
}

TEST_CASE("of a slot as much is used as the offset of a piece reaches, and a driver takes what its MTU needs") {
  const pool_config config{.packets = 4, .bytes = 65535, .headroom = 1024, .bare = 1};
  detail::mapping memory(pool::bytes_needed(config));
  pool* p = pool::create({memory.data(), memory.size()}, config);
  REQUIRE(p != nullptr);
  auto u = detail::xsk_umem::of(*p, 4096);
  CHECK(u.may_have_pieces());
  CHECK_FALSE(u.has_pieces);
  CHECK(u.room == 4096);
  u.allow_pieces();
  CHECK(u.room == 65535);
  CHECK(u.pieces_to_send(65535) == 17);
  CHECK(u.pieces_to_send(32768) == 8);
  CHECK(u.pieces_to_send(4096) == 1);
  CHECK(u.pieces_to_receive(3840) == 1);
  CHECK(u.pieces_to_receive(9018) == 3);
  u.limit_pieces(9000);
  CHECK(u.room == 12288);
  u.limit_pieces(65261);
  CHECK(u.room == 12288);
  u.limit_pieces(1500);
  CHECK(u.room == 4096);
  CHECK(u.has_pieces);  // who shares the memory may have more
  u.forbid_pieces();
  CHECK_FALSE(u.has_pieces);
}

TEST_CASE("slots across two huge pages are found, also where only what the kernel does not know of is in the second") {
  for (const std::uint32_t bytes : {1984u, 9146u}) {
    const pool_config config{.packets = 6'000'000 / bytes, .bytes = bytes, .headroom = 128, .bare = 1};
    detail::mapping memory(pool::bytes_needed(config));
    pool* p = pool::create({memory.data(), memory.size()}, config);
    REQUIRE(p != nullptr);
    auto u = detail::xsk_umem::of(*p, 4096);
    if (u.may_have_pieces()) u.allow_pieces();
    std::uint32_t crossing = 0;
    for (std::uint32_t i = 0; i < config.packets; ++i) {
      const auto begin = reinterpret_cast<std::uintptr_t>(p->slots() + i * p->slot_stride());
      bool boundary_inside = false;
      for (std::uintptr_t at = begin + 64; at < begin + p->slot_stride(); at += 64)
        boundary_inside |= at % (2u << 20) == 0;
      CHECK(u.crosses_huge_page(i) == boundary_inside);
      crossing += boundary_inside;
    }
    CHECK(crossing >= 1);  // 6 MB of slots; a boundary may lie between two
  }
}

TEST_CASE("a slot goes its way from the pool through the rings and back, and is somewhere all the time") {
  plain_queue k;
  CHECK(k.with(detail::xsk_custody::receive) == 8);
  CHECK(k.memory->available() == 8);
  for (std::uint32_t i = 0; i < 5; ++i) k.arrives(60 + i);
  frame f[8];
  REQUIRE(k.take(f, 4) == 4);
  CHECK(k.take(f + 4, 4) == 1);
  CHECK(k.counts.received == 5);
  CHECK(k.counts.received_bytes == 310);
  for (std::uint32_t i = 0; i < 5; ++i) {
    CHECK(f[i].length == 60 + i);
    CHECK(f[i].headroom == 256);
    CHECK(f[i].tailroom == 2112 - 256 - 60 - i);
    CHECK(f[i].queue == 3);
    CHECK(f[i].timestamp == instant{7});
    CHECK(f[i].data == k.memory->slots() + f[i].slot * k.memory->slot_stride() + 256);
  }
  CHECK(k.take(f + 5, 1) == 0);  // and lets the kernel have other slots
  CHECK(k.with(detail::xsk_custody::receive) == 8);
  CHECK(k.memory->available() == 3);

  store_be16(f[0].data, 0x1234);
  CHECK(k.queue.transmit(k.umem, f, 2, k.counts) == 2);
  CHECK(k.with(detail::xsk_custody::transmit) == 2);
  packet p[3];
  for (std::size_t i = 0; i < 3; ++i) p[i] = k.memory->attach(f[2 + i]);
  CHECK(k.queue.transmit(k.umem, p, 3, k.counts) == 2);  // the ring has four places
  CHECK_FALSE(p[1]);
  CHECK(p[2]);
  CHECK(k.with(detail::xsk_custody::transmit) == 4);
  CHECK(load_be16(k.leaves()) == 0x1234);
  k.leaves();
  CHECK(k.queue.transmit(k.umem, p + 2, 1, k.counts) == 1);
  CHECK(k.with(detail::xsk_custody::transmit) == 3);
  CHECK(k.memory->available() == 5);
  for (int i = 0; i < 3; ++i) k.leaves();
  CHECK(k.take(f, 1) == 0);  // takes back what was sent
  CHECK(k.with(detail::xsk_custody::transmit) == 0);
  CHECK(k.memory->available() == 8);
  CHECK(k.counts.transmitted == 5);
  CHECK(k.counts.transmitted_bytes == 310);
  CHECK(k.counts.copied == 0);
  CHECK(k.counts.system_calls == 0);
}

TEST_CASE("packets that do not lie alone on a slot of the pool are copied to one, and go in order") {
  plain_queue k;
  static_pool<small> other;
  const auto of = [](pool& from, unsigned mark, std::size_t length) {
    packet p = from.allocate();
    std::byte* to = p.put(length);
    for (std::size_t i = 0; i < length; ++i) to[i] = std::byte(mark);
    return p;
  };
  packet p[4];
  p[0] = of(other, 1, 60);
  p[1] = of(k.memory, 2, 30);
  REQUIRE(p[1].append(of(k.memory, 3, 40)));
  packet shared = of(k.memory, 4, 60);
  p[2] = shared.clone();
  p[3] = of(k.memory, 5, 60);
  CHECK(k.queue.transmit(k.umem, p, 4, k.counts) == 4);
  CHECK(k.counts.copied == 3);
  CHECK(load_u8(k.leaves()) == 1);
  const std::byte* chained = k.leaves();
  CHECK(load_u8(chained + 29) == 2);
  CHECK(load_u8(chained + 69) == 3);
  CHECK(load_u8(k.leaves()) == 4);
  CHECK(load_u8(k.leaves()) == 5);
  shared.reset();
  frame none;
  CHECK(k.take(&none, 1) == 0);
  CHECK(k.memory->available() == 8);
  CHECK(other->available() == 16);
}

TEST_CASE("packets that can never be sent are lost and counted; without a slot for a copy they stay the caller's") {
  plain_queue k;
  static_pool<pool_config{.packets = 4, .bytes = 4000, .headroom = 128, .bare = 4}> other;
  packet p[3];
  for (packet& q : p) q = other->allocate();
  REQUIRE(p[0].put(13));
  REQUIRE(p[1].put(3000));
  REQUIRE(p[2].put(60));
  CHECK(k.queue.transmit(k.umem, p, 3, k.counts) == 3);
  CHECK(k.counts.lost == 2);
  CHECK(k.counts.transmitted == 1);
  CHECK(other->available() == 4);

  frame all[16];
  std::size_t n = 0;
  while (n < 16 && k.memory->available() != 0) all[n++] = k.memory->allocate_frame();
  packet q = other->allocate();
  REQUIRE(q.put(60));
  CHECK(k.queue.transmit(k.umem, &q, 1, k.counts) == 0);
  CHECK(q);
  CHECK(k.counts.no_slot == 1);
  all[0].length = 3;  // shorter than an Ethernet header
  CHECK(k.queue.transmit(k.umem, all, 1, k.counts) == 1);
  CHECK(k.counts.lost == 3);
  CHECK(k.queue.transmit(k.umem, &q, 1, k.counts) == 1);
  k.memory->release(all + 1, n - 1);
}

TEST_CASE("a packet that was on another thread and has come back is sent from where it lies, a chain as a copy") {
  plain_queue k;
  const auto filled = [&k](unsigned mark, std::size_t length) {
    packet p = k.memory->allocate();
    std::memset(p.put(length), static_cast<int>(mark), length);
    return p;
  };
  packet p[2];
  p[0] = filled(1, 60);
  p[1] = filled(2, 30);
  REQUIRE(p[1].append(filled(3, 40)));
  const std::byte* const where = p[0].data();
  for (packet& q : p) REQUIRE(q.send_away());
  CHECK(k.queue.transmit(k.umem, p, 2, k.counts) == 2);
  CHECK(k.counts.lost == 0);
  CHECK(k.counts.copied == 1);
  CHECK(k.leaves() == where);
  const std::byte* const chained = k.leaves();
  CHECK(load_u8(chained) == 2);
  CHECK(load_u8(chained + 69) == 3);
  frame none;
  CHECK(k.take(&none, 1) == 0);
  CHECK(k.memory->available() == 8);
}

TEST_CASE("a partial checksum is completed before a packet leaves") {
  plain_queue k;
  // A UDP datagram without payload from 192.0.2.1 to 192.0.2.2; in its checksum is that of the pseudo-header.
  const std::uint8_t bytes[] = {2, 0,  0,  0, 0, 2,   2, 0, 0, 0,   0, 1, 8, 0, 0x45, 0, 0, 28, 0, 0,    0,
                                0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2, 0, 7,    0, 7, 0,  8, 0x84, 0x1d};
  packet p = k.memory->allocate();
  std::byte* to = p.put(sizeof bytes);
  for (std::size_t i = 0; i < sizeof bytes; ++i) to[i] = std::byte{bytes[i]};
  p.checksum(checksum_status::partial);
  CHECK(k.queue.transmit(k.umem, &p, 1, k.counts) == 1);
  CHECK(k.counts.copied == 0);
  const std::byte* sent = k.leaves();
  running_checksum sum;
  sum.add({sent + 26, 16});
  const std::byte rest[] = {std::byte{0}, std::byte{17}, std::byte{0}, std::byte{8}};
  sum.add({rest, 4});
  CHECK(sum.checksum() == 0);
}

TEST_CASE(
    "a packet may fill what the kernel knows of a slot: all up to the next one, which is more than was asked for") {
  // 1900 + 128 bytes lie in 33 cache lines.
  constexpr pool_config config{.packets = 4, .bytes = 1900, .headroom = 128, .bare = 0};
  static_pool<config> memory;
  detail::xsk_custody custody[4] = {};
  auto umem = detail::xsk_umem::of(memory, 4096);
  umem.custody = custody;
  REQUIRE(umem.chunk == memory->slot_stride());
  REQUIRE(umem.chunk > 1900 + 128);
  plain_ring<detail::xsk_descriptor, 4> received;
  plain_ring<std::uint64_t, 4> free;
  detail::xsk_socket socket;
  socket.receive = detail::xsk_consumer<detail::xsk_descriptor>(received.memory());
  socket.fill = detail::xsk_producer<std::uint64_t>(free.memory());
  detail::xsk_queue queue(static_cast<detail::xsk_socket&&>(socket), {}, 0, 1, false);
  queue.refill(umem);
  // As much as the kernel puts there: all but the 256 bytes before.
  received.entries[0] = {free.entries[0] | std::uint64_t{256} << 48, umem.chunk - 256, 0};
  received.producer = 1;
  frame f[1];
  into_array take(f);
  device::af_xdp_statistics counts;
  REQUIRE(queue.receive(umem, 1, instant{}, take, counts) == 1);
  CHECK(f[0].length == umem.chunk - 256);
  CHECK(f[0].tailroom == 0);
  memory->release(f, 1);
  // One has been given to the kernel in its place.
  for (std::uint32_t i = 0; i < 4; ++i)
    if (custody[i] != detail::xsk_custody::ours) memory->release_slots(&i, 1);
}

TEST_CASE("the kernel has slots to receive into also while each look finds packets") {
  plain_queue k;
  for (int round = 0; round < 10; ++round) {
    frame f[3];
    for (int i = 0; i < 3; ++i) k.arrives(60);
    CHECK(k.take(f, 3) == 3);
    CHECK(k.with(detail::xsk_custody::receive) >= 5);
    k.memory->release(f, 3);
  }
}

TEST_CASE("a packet that stands for several segments is lost and counted, for nobody cuts it; one segment goes") {
  plain_queue k;
  // A UDP datagram from 192.0.2.1 to 192.0.2.2 with 20 bytes of payload.
  const std::uint8_t header[] = {2, 0,  0,  0, 0, 2,   2, 0, 0, 0,   0, 1, 8, 0, 0x45, 0, 0, 48, 0,  0, 0,
                                 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2, 0, 7,    0, 7, 0,  28, 0, 0};
  constexpr std::uint16_t segments[] = {10, 19, 20, 1448};
  for (const std::uint16_t segment : segments) {
    packet p = k.memory->allocate();
    std::byte* to = p.put(sizeof header + 20);
    for (std::size_t i = 0; i < sizeof header; ++i) to[i] = std::byte{header[i]};
    p.segment_size(segment);
    CHECK(k.queue.transmit(k.umem, &p, 1, k.counts) == 1);
    CHECK_FALSE(p);
  }
  CHECK(k.counts.lost == 2);
  CHECK(k.counts.transmitted == 2);
  CHECK(k.counts.copied == 0);
  CHECK(k.with(detail::xsk_custody::transmit) == 2);
}

TEST_CASE("a frame that came in several pieces is handed out as one, in the slot of the first; the others are free") {
  jumbo_queue k;
  k.arrives(60, 0, 1);
  k.arrives(3840, detail::xsk_goes_on, 1);
  k.arrives(3840, detail::xsk_goes_on, 2);
  k.arrives(1338, 0, 3);
  k.arrives(70, 0, 1);
  frame f[4];
  // Room for two is room for two frames.
  REQUIRE(k.take(f, 2) == 2);
  // All slots but those of the two are free, or the kernel's.
  CHECK(k.memory->available() + k.with(detail::xsk_custody::receive) == 16 - 2);
  CHECK(has_pieces(f[0], {60}));
  CHECK(f[0].tailroom == 9280 - 256 - 60);
  CHECK(has_pieces(f[1], {3840, 3840, 1338}));
  CHECK(f[1].data == k.memory->slots() + f[1].slot * k.memory->slot_stride() + 256);
  CHECK(f[1].headroom == 256);
  CHECK(f[1].tailroom == 9280 - 256 - 9018);
  CHECK(f[1].queue == 3);
  CHECK(f[1].timestamp == instant{7});
  REQUIRE(k.take(f + 2, 2) == 1);
  CHECK(has_pieces(f[2], {70}));
  CHECK(k.counts.received == 3);
  CHECK(k.counts.received_bytes == 9148);
  CHECK(k.counts.gathered == 1);
  CHECK(k.take(f + 3, 1) == 0);
  CHECK(k.memory->available() == 16 - 3 - 8);
  k.memory->release(f, 3);
}

TEST_CASE("pieces of a frame that the kernel hands over one by one make a frame when the last is there") {
  jumbo_queue k;
  frame f;
  k.arrives(3840, detail::xsk_goes_on, 1);
  CHECK(k.take(&f, 1) == 0);
  CHECK(k.take(&f, 1) == 0);
  CHECK(k.with(detail::xsk_custody::receive) == 9);  // the piece, and eight to receive into
  CHECK(k.memory->available() == 7);
  k.arrives(100, detail::xsk_goes_on, 2);
  k.arrives(200, 0, 3);
  k.arrives(60, 0, 1);
  REQUIRE(k.take(&f, 1) == 1);
  CHECK(has_pieces(f, {3840, 100, 200}));
  CHECK(k.counts.received == 1);
  k.memory->release(&f, 1);
  REQUIRE(k.take(&f, 1) == 1);
  CHECK(has_pieces(f, {60}));
  k.memory->release(&f, 1);
  CHECK(k.take(&f, 1) == 0);
  CHECK(k.memory->available() == 8);

  // Closed with a piece at hand: it is the kernel's still, and so is not lost.
  k.arrives(3840, detail::xsk_goes_on, 1);
  CHECK(k.take(&f, 1) == 0);
  CHECK(k.memory->available() + k.with(detail::xsk_custody::receive) == 16);
}

TEST_CASE("a frame that is longer than a slot is dropped and counted, all of it, and the next one is not touched") {
  jumbo_queue k;
  frame f;
  for (int i = 0; i < 4; ++i) k.arrives(3840, detail::xsk_goes_on, 1);
  CHECK(k.take(&f, 1) == 0);
  k.arrives(10, 0, 2);
  k.arrives(60, 0, 1);
  REQUIRE(k.take(&f, 1) == 1);
  CHECK(has_pieces(f, {60}));
  CHECK(k.counts.too_long == 1);
  CHECK(k.counts.received == 1);
  CHECK(k.counts.received_bytes == 60);
  k.memory->release(&f, 1);
  CHECK(k.take(&f, 1) == 0);
  // What fits to the last byte.
  k.arrives(3840, detail::xsk_goes_on, 1);
  k.arrives(3840, detail::xsk_goes_on, 2);
  k.arrives(1344, 0, 3);
  REQUIRE(k.take(&f, 1) == 1);
  CHECK(has_pieces(f, {3840, 3840, 1344}));
  CHECK(f.tailroom == 0);
  k.memory->release(&f, 1);
  k.arrives(3840, detail::xsk_goes_on, 1);
  k.arrives(3840, detail::xsk_goes_on, 2);
  k.arrives(1345, 0, 3);
  CHECK(k.take(&f, 1) == 0);
  CHECK(k.take(&f, 1) == 0);
  CHECK(k.counts.too_long == 2);
  CHECK(k.memory->available() == 8);
  CHECK(k.with(detail::xsk_custody::receive) == 8);
}

TEST_CASE("a frame that is longer than a chunk is sent in pieces of its slot, which comes back once, behind the last") {
  jumbo_queue k;
  frame f[3];
  for (frame& one : f) {
    one = k.memory->allocate_frame();
    REQUIRE(one.put(9018) != nullptr);
  }
  REQUIRE(f[0].trim(4096));
  for (std::uint32_t i = 0; i < 9018; ++i) f[1].data[i] = static_cast<std::byte>(i * 7 / 3);
  const std::uint32_t before = k.memory->available();
  // Four places: one piece and three. The third frame stays, whole, until three are free again.
  CHECK(k.queue.transmit(k.umem, f, 3, k.counts) == 2);
  CHECK(k.counts.transmitted == 2);
  CHECK(k.counts.transmitted_bytes == 4096 + 9018);
  CHECK(k.with(detail::xsk_custody::transmit) == 2);
  CHECK(k.transmit.entries[0].options == 0);
  CHECK(k.transmit.entries[0].length == 4096);
  std::uint32_t at = 0;
  const std::uint32_t lengths[] = {4096, 4096, 826};
  for (std::uint32_t i = 0; i < 3; ++i) {
    const detail::xsk_descriptor d = k.transmit.entries[1 + i];
    CHECK(d.length == lengths[i]);
    CHECK(d.options == (i < 2 ? 1 : 0));
    CHECK(k.umem.base + (d.address & detail::xsk_chunk_mask) + (d.address >> 48) == f[1].data + at);
    at += d.length;
  }
  (void)k.leaves();
  (void)k.leaves();
  CHECK(k.queue.transmit(k.umem, f + 2, 1, k.counts) == 0);
  CHECK(k.memory->available() == before + 1);  // the first frame; of the second one piece only
  (void)k.leaves();
  packet p = k.memory->attach(f[2]);
  CHECK(k.queue.transmit(k.umem, &p, 1, k.counts) == 1);
  CHECK_FALSE(p);
  CHECK(k.memory->available() == before + 1);
  CHECK(k.with(detail::xsk_custody::transmit) == 2);
  for (int i = 0; i < 4; ++i) (void)k.leaves();
  frame none;
  CHECK(k.take(&none, 0) == 0);
  CHECK(k.with(detail::xsk_custody::transmit) == 0);
  CHECK(k.memory->available() == before + 3);
  CHECK(k.counts.transmitted == 3);
  CHECK(k.counts.lost == 0);
}

TEST_CASE("a frame as long as there can be has no more pages than the kernel can give to a driver, at any offset") {
  static basic_plain_queue<pool_config{.packets = 16, .bytes = 65535, .headroom = 128, .bare = 4}, 32> k;
  k.umem.allow_pieces();
  for (const std::uint32_t length : {4097u, 9018u, 32767u, 32768u, 32769u, 36865u, 65279u, 65535u - 128u}) {
    for (const std::uint32_t pulled : {0u, 1u, 63u, 128u}) {
      frame f = k.memory->allocate_frame();
      std::byte* const slot = f.data - f.headroom;
      f.data = slot + pulled;
      f.length = length;
      const std::uint32_t before = k.memory->available();
      REQUIRE(k.queue.transmit(k.umem, &f, 1, k.counts) == 1);
      std::uint32_t at = 0, pages = 0, pieces = 0;
      for (bool goes_on = true; goes_on; ++pieces) {
        const detail::xsk_descriptor d = k.transmit.entries[k.transmit.consumer % 32];
        goes_on = d.options == detail::xsk_goes_on;
        const std::uint64_t first = (d.address & detail::xsk_chunk_mask) + (d.address >> 48);
        CHECK(d.length <= 4096);
        CHECK(k.leaves() == slot + pulled + at);
        pages += static_cast<std::uint32_t>((first + d.length - 1) / 4096 - first / 4096 + 1);
        at += d.length;
      }
      CHECK(at == length);
      CHECK(pages <= 17);
      CHECK(pieces <= k.umem.pieces_to_send(length));
      frame none;
      CHECK(k.memory->available() == before);
      CHECK(k.take(&none, 0) == 0);
      CHECK(k.memory->available() == before + 1);
    }
  }
  CHECK(k.counts.lost == 0);
}

TEST_CASE("what is longer than the MTU needs is lost, and what is not lies anywhere in its slot") {
  jumbo_queue k;
  k.umem.limit_pieces(3000);
  frame f = k.memory->allocate_frame(), g = k.memory->allocate_frame(), h = k.memory->allocate_frame();
  f.length = 4097;
  CHECK(k.queue.transmit(k.umem, &f, 1, k.counts) == 1);
  CHECK(k.counts.lost == 1);
  k.umem.allow_pieces();
  k.umem.limit_pieces(7900);
  CHECK(k.umem.room == 8192);
  REQUIRE(g.put(8914) != nullptr);
  REQUIRE(g.pull(1000));
  h.length = 8193;
  CHECK(k.queue.transmit(k.umem, &g, 1, k.counts) == 1);
  CHECK(k.counts.lost == 1);
  CHECK(k.queue.transmit(k.umem, &h, 1, k.counts) == 1);
  CHECK(k.counts.lost == 2);
  CHECK(k.transmit.producer == 2);
}

TEST_CASE("a slot is used as far as lengths reach also where pages are longer") {
  const pool_config config{.packets = 4, .bytes = 65535, .headroom = 1024, .bare = 1};
  detail::mapping memory(pool::bytes_needed(config));
  pool* p = pool::create({memory.data(), memory.size()}, config);
  REQUIRE(p != nullptr);
  REQUIRE(p->slot_stride() > 65536);
  auto u = detail::xsk_umem::of(*p, 65536);
  CHECK(u.chunk == 65535);
  CHECK(u.room == 65535);
  u.allow_pieces();
  CHECK(u.room == 65535);
}

TEST_CASE("a packet that does not lie in one slot of the pool is copied to one, however long, and sent in pieces") {
  jumbo_queue k;
  static_pool<pool_config{.packets = 8, .bytes = 4000, .headroom = 0, .bare = 4}> elsewhere;
  packet p = elsewhere->allocate();
  for (int i = 0; i < 3; ++i) {
    packet part = i == 0 ? static_cast<packet&&>(p) : elsewhere->allocate();
    std::memset(part.put(3000), i + 1, 3000);
    if (i == 0) p = static_cast<packet&&>(part);
    else REQUIRE(p.append(static_cast<packet&&>(part)));
  }
  REQUIRE(k.queue.transmit(k.umem, &p, 1, k.counts) == 1);
  CHECK(k.counts.copied == 1);
  std::uint32_t at = 0;
  for (const std::uint32_t length : {4096u, 4096u, 808u}) {
    CHECK(k.transmit.entries[k.transmit.consumer % 4].length == length);
    const std::byte* const piece = k.leaves();
    bool same = true;
    for (std::uint32_t i = 0; i < length; ++i, ++at) same &= load_u8(piece + i) == at / 3000 + 1;
    CHECK(same);
  }
  // Longer than a slot, and without pieces longer than a chunk: lost.
  frame none;
  CHECK(k.take(&none, 0) == 0);
  const std::uint32_t before = k.memory->available();
  frame f = k.memory->allocate_frame();
  f.length = 9280;
  CHECK(k.queue.transmit(k.umem, &f, 1, k.counts) == 1);
  CHECK(k.counts.lost == 1);
  k.umem.forbid_pieces();
  frame g = k.memory->allocate_frame();
  g.length = 4097;
  CHECK(k.queue.transmit(k.umem, &g, 1, k.counts) == 1);
  CHECK(k.counts.lost == 2);
  CHECK(k.memory->available() == before);
  CHECK(k.transmit.consumer == k.transmit.producer);
}

#endif
