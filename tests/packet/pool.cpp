// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include <runnel/packet.hpp>

#include "packet/counted_pool.hpp"

namespace {

using namespace runnel;
using runnel::test::counted_pool;

TEST_CASE("slots lie an odd number of cache lines apart, however large they are") {
  for (std::uint32_t bytes = 0; bytes <= 65535; bytes += 61) {
    for (std::uint32_t headroom : {0u, 1u, 63u, 64u, 128u, 256u, 65535u}) {
      const pool_config c{.packets = 3, .bytes = bytes, .headroom = headroom, .bare = 1};
      CHECK(pool::stride(c) % 64 == 0);
      CHECK(pool::stride(c) / 64 % 2 == 1);
      CHECK(pool::stride(c) >= std::size_t{bytes} + headroom);
      CHECK(pool::stride(c) < std::size_t{bytes} + headroom + 192);
    }
  }
  static_assert(pool::stride({.packets = 1, .bytes = 1984, .headroom = 64, .bare = 0}) == 33 * 64);
  static_assert(pool::stride({.packets = 1, .bytes = 1984, .headroom = 128, .bare = 0}) == 33 * 64);
}

TEST_CASE("a pool is not made in memory that is too small or not aligned, nor beyond the limits") {
  constexpr pool_config c{.packets = 4, .bytes = 100, .headroom = 20, .bare = 2};
  alignas(64) static std::byte memory[pool::bytes_needed(c) + 64];
  CHECK(pool::create({memory, pool::bytes_needed(c)}, c) != nullptr);
  CHECK(pool::create({memory, pool::bytes_needed(c) - 1}, c) == nullptr);
  CHECK(pool::create({memory, 0}, c) == nullptr);
  CHECK(pool::create({memory + 1, pool::bytes_needed(c)}, c) == nullptr);
  CHECK(pool::create({memory + 32, pool::bytes_needed(c)}, c) == nullptr);
  CHECK(pool::create(memory, {.packets = 0, .bytes = 100, .headroom = 20, .bare = 2}) == nullptr);
  CHECK(pool::create(memory, {.packets = 1, .bytes = 65536, .headroom = 0, .bare = 0}) == nullptr);
  CHECK(pool::create(memory, {.packets = 1, .bytes = 0, .headroom = 65536, .bare = 0}) == nullptr);
  CHECK(pool::create(memory, {.packets = 0xffff'ffff, .bytes = 0, .headroom = 0, .bare = 0}) == nullptr);
  CHECK(pool::create(memory, {.packets = 1, .bytes = 0, .headroom = 0, .bare = 0xffff'ffff}) == nullptr);
}

TEST_CASE("every slot can be filled to its ends without touching a neighbour") {
  for (const pool_config c : {pool_config{.packets = 5, .bytes = 100, .headroom = 28, .bare = 0},
                              pool_config{.packets = 5, .bytes = 65535, .headroom = 65535, .bare = 0},
                              pool_config{.packets = 5, .bytes = 1, .headroom = 0, .bare = 0}}) {
    counted_pool pool{c};
    std::vector<packet> all;
    for (std::uint32_t i = 0; i < c.packets; ++i) {
      packet& p = all.emplace_back(pool->allocate());
      REQUIRE(p);
      CHECK(p.length() == 0);
      CHECK(p.headroom() == c.headroom);
      CHECK(p.tailroom() == c.bytes);
      REQUIRE(p.put(c.bytes) != nullptr);
      REQUIRE(p.push(c.headroom) != nullptr);
      for (std::byte& b : p.writable()) b = static_cast<std::byte>(i + 1);
    }
    for (std::uint32_t i = 0; i < c.packets; ++i)
      for (const std::byte b : all[i].contents()) REQUIRE(b == static_cast<std::byte>(i + 1));
  }
}

TEST_CASE("an empty pool gives an empty handle, counts it, and works on when a packet has come home") {
  counted_pool pool{{.packets = 2, .bytes = 64, .headroom = 0, .bare = 1}};
  packet a = pool->allocate();
  packet b = pool->allocate();
  CHECK(pool->available() == 0);
  CHECK(pool->exhausted() == 0);
  CHECK_FALSE(pool->allocate());
  CHECK(pool->exhausted() == 1);
  CHECK(pool->allocate_frame().slot == no_slot);
  CHECK(pool->exhausted() == 2);
  packet shared = a.clone();
  CHECK(shared);
  CHECK_FALSE(b.clone());
  CHECK(pool->exhausted() == 3);
  CHECK_FALSE(b.is_shared());
  frame lent;
  CHECK_FALSE(pool->attach(lent));
  CHECK(pool->exhausted() == 4);
  b.reset();
  CHECK_FALSE(b);
  CHECK(pool->allocate());
  CHECK(pool->exhausted() == 4);
}

TEST_CASE("the slot that came home last is used next") {
  counted_pool pool{{.packets = 4, .bytes = 64, .headroom = 0, .bare = 2}};
  packet a = pool->allocate();
  packet b = pool->allocate();
  const std::byte* const where_a = a.head();
  const std::byte* const where_b = b.head();
  CHECK(where_b == where_a + pool::stride({.packets = 4, .bytes = 64, .headroom = 0, .bare = 2}));
  a.reset();
  b.reset();
  a = pool->allocate();
  CHECK(a.head() == where_b);
  b = pool->allocate();
  CHECK(b.head() == where_a);
}

TEST_CASE("a packet knows nothing of the packet that had its slot before") {
  counted_pool pool{{.packets = 1, .bytes = 64, .headroom = 8, .bare = 1}};
  {
    packet p = pool->allocate();
    p.mark(1);
    p.flow_hash(2);
    p.priority(3);
    p.connection(4);
    p.scratch(5);
    p.iif(6);
    p.timestamp({7});
    p.segment_size(8);
    p.checksum(checksum_status::partial);
    p.layers({.protocols = 0xffff, .network = 9, .transport = 10, .link = 11, .fault = drop_reason::policy});
    packet clone = p.clone();
    REQUIRE(p.put(1) == nullptr);
  }
  packet p = pool->allocate();
  CHECK(p.mark() == 0);
  CHECK(p.flow_hash() == 0);
  CHECK(p.priority() == 0);
  CHECK(p.connection() == 0);
  CHECK(p.scratch() == 0);
  CHECK(p.iif() == 0);
  CHECK(p.timestamp() == instant{});
  CHECK(p.segment_size() == 0);
  CHECK(p.missing() == 0);
  CHECK(p.checksum() == checksum_status::unknown);
  CHECK(p.layers() == layers{});
  CHECK(p.is_plain());
  CHECK(p.headroom() == 8);
  CHECK(p.put(64) != nullptr);
}

TEST_CASE("frames of a pool become packets and packets frames, on the same slot") {
  counted_pool pool{{.packets = 2, .bytes = 100, .headroom = 30, .bare = 2}};
  frame f = pool->allocate_frame();
  REQUIRE(f.slot != no_slot);
  CHECK(f.headroom == 30);
  CHECK(f.tailroom == 100);
  REQUIRE(f.put(60) == f.data);
  f.timestamp = {77};
  f.iif = 3;
  f.queue = 200;
  f.missing = 9;
  f.link = link_type::raw_ip;
  f.checksum = checksum_status::verified;
  const std::byte* const where = f.data;

  packet p = pool->attach(f);
  CHECK(p.data() == where);
  CHECK(p.length() == 60);
  CHECK(p.headroom() == 30);
  CHECK(p.tailroom() == 40);
  CHECK(p.timestamp() == instant{77});
  CHECK(p.iif() == 3);
  CHECK(p.queue() == 200);
  packet copy = p.copy();
  CHECK(copy.queue() == 200);
  packet clone = p.clone();
  CHECK(clone.queue() == 200);
  copy = {};
  clone = {};
  CHECK(p.missing() == 9);
  CHECK(p.segment_size() == 0);
  CHECK(p.checksum() == checksum_status::verified);
  CHECK(p.layers() == layers{.protocols = static_cast<std::uint16_t>(link_type::raw_ip)});
  CHECK(p.is_plain());
  CHECK_FALSE(p.is_lent());

  const frame g = p.detach();
  CHECK_FALSE(p);
  CHECK(g.slot == f.slot);
  CHECK(g.data == where);
  CHECK(g.length == 60);
  CHECK(g.headroom == 30);
  CHECK(g.tailroom == 40);
  CHECK(g.timestamp == instant{77});
  CHECK(g.queue == 200);
  CHECK(g.missing == 9);
  CHECK(g.link == link_type::raw_ip);
  CHECK(g.checksum == checksum_status::verified);
  CHECK(pool->available() == 1);
  pool->release(&g, 1);
}

TEST_CASE("a packet is made with what was found in its frame, and with a segment size where nothing is missing") {
  counted_pool pool{{.packets = 1, .bytes = 100, .headroom = 30, .bare = 1}};
  frame f = pool->allocate_frame();
  f.missing = 9;
  f.segment_size = 40;
  const layers found{.protocols = static_cast<std::uint16_t>(protocol::parsed), .network = 44, .link = 14};
  packet p = pool->attach(f, found);
  CHECK(p.layers() == found);
  CHECK(p.missing() == 9);
  CHECK(p.segment_size() == 0);
  f = p.detach();
  f.missing = 0;
  f.segment_size = 40;
  p = pool->attach(f, found);
  CHECK(p.missing() == 0);
  CHECK(p.segment_size() == 40);
  p = {};
}

TEST_CASE("a packet whose clones are gone is plain again, and so is a clone that is left alone") {
  counted_pool pool{{.packets = 2, .bytes = 100, .headroom = 30, .bare = 2}};
  packet original = pool->allocate();
  packet clone = original.clone();
  CHECK_FALSE(original.is_plain());
  CHECK_FALSE(clone.is_plain());

  SUBCASE("the original is left") {
    clone.reset();
    CHECK(original.is_plain());
    const frame f = original.detach();
    pool->release(&f, 1);
  }
  SUBCASE("the clone is left") {
    original.reset();
    CHECK(clone.is_plain());
    const frame f = clone.detach();
    CHECK(pool->bare_available() == 2);
    packet again = pool->attach(f);
    CHECK(again.is_plain());
    CHECK(again.put(100) != nullptr);
  }
}

TEST_CASE("lent frames are counted until the last packet that shows them is gone") {
  counted_pool pool;
  std::byte ring[3][128]{};
  const std::uint8_t id = pool->add_lender();
  REQUIRE(id != 0);
  frame frames[3];
  for (int i = 0; i < 3; ++i) {
    frames[i].data = ring[i];
    frames[i].length = 100;
    frames[i].tailroom = 28;
    frames[i].lender = id;
  }
  pool->lend(id, 3);
  CHECK(pool->lent(id) == 3);
  pool->release(frames, 1);
  CHECK(pool->lent(id) == 2);

  packet p = pool->attach(frames[1]);
  CHECK(p.is_lent());
  CHECK_FALSE(p.is_shared());
  CHECK_FALSE(p.is_plain());
  CHECK(p.data() == ring[1]);
  CHECK(pool->lent(id) == 2);
  packet clone = p.clone();
  CHECK(clone.is_lent());
  CHECK(clone.is_shared());
  CHECK(p.is_shared());
  CHECK(pool->lent(id) == 3);
  p.reset();
  CHECK(pool->lent(id) == 2);
  REQUIRE(clone.keep());
  CHECK(pool->lent(id) == 1);
  CHECK_FALSE(clone.is_lent());
  CHECK_FALSE(clone.is_shared());
  CHECK(clone.data() != ring[1]);
  CHECK(equal(clone.contents(), bytes{ring[1], 100}));

  packet chain = pool->allocate();
  packet second = pool->attach(frames[2]);
  REQUIRE(chain.append(static_cast<packet&&>(second)));
  CHECK(chain.is_lent());
  REQUIRE(chain.trim(0));
  CHECK(pool->lent(id) == 0);
}

TEST_CASE("as many devices may lend as the pool says, each counted on its own") {
  counted_pool pool;
  for (int i = 1; i <= pool::max_lenders; ++i) CHECK(pool->add_lender() == i);
  CHECK(pool->add_lender() == 0);
  pool->lend(pool::max_lenders, 2);
  CHECK(pool->lent(pool::max_lenders) == 2);
  CHECK(pool->lent(1) == 0);
  CHECK(pool->available() == pool->capacity());
  frame f[2];
  f[0].lender = f[1].lender = pool::max_lenders;
  pool->release(f, 2);
}

TEST_CASE("a frame may be given back while the next ones are handed out") {
  counted_pool pool{{.packets = 8, .bytes = 64, .headroom = 0, .bare = 0}};
  frame like;
  like.tailroom = 64;
  std::vector<std::uint32_t> kept;
  std::size_t i = 0;
  CHECK(pool->allocate_frames(8, like, [&](const frame& f) {
    if (i++ % 2 == 0) pool->release(&f, 1);
    else kept.push_back(f.slot);
  }) == 8);
  CHECK(pool->available() == 4);
  for (frame f = pool->allocate_frame(); f.slot != no_slot; f = pool->allocate_frame()) kept.push_back(f.slot);
  std::sort(kept.begin(), kept.end());
  CHECK(kept == std::vector<std::uint32_t>{0, 1, 2, 3, 4, 5, 6, 7});
  for (const std::uint32_t slot : kept) {
    frame f;
    f.slot = slot;
    pool->release(&f, 1);
  }
}

TEST_CASE("frames are had and released many at once, each slot once, as many as there are") {
  counted_pool pool{{.packets = 5, .bytes = 100, .headroom = 30, .bare = 2}};
  frame f[8];
  frame like;
  like.headroom = 30;
  like.tailroom = 100;
  CHECK(pool->allocate_frames(3, like, into_array(f)) == 3);
  CHECK(pool->exhausted() == 0);
  CHECK(f[2].headroom == 30);
  CHECK(f[2].tailroom == 100);
  like.headroom = 2;
  like.length = 60;
  like.tailroom = 5;
  like.iif = 7;
  CHECK(pool->allocate_frames(5, like, into_array(f + 3)) == 2);
  CHECK(pool->exhausted() == 1);
  CHECK(pool->allocate_frames(3, like, into_array(f + 5)) == 0);
  for (unsigned i = 0; i < 5; ++i)
    for (unsigned j = 0; j < i; ++j) CHECK(f[i].slot != f[j].slot);
  CHECK(f[3].iif == 7);
  CHECK(f[3].length == 60);
  // Whatever a frame's headroom was, its packet and the clones of it find the slot again.
  packet p = pool->attach(f[4]);
  packet clone = p.clone();
  REQUIRE(clone.pull(40));
  p.reset();
  CHECK(clone.is_plain());
  CHECK(clone.push(42) != nullptr);
  const frame g = clone.detach();
  CHECK(g.slot == f[4].slot);
  f[4] = g;
  pool->release(f, 5);
}

TEST_CASE("frames of the pool and of several lenders are released in one go") {
  counted_pool pool;
  const std::uint8_t one = pool->add_lender();
  const std::uint8_t two = pool->add_lender();
  pool->lend(one, 3);
  pool->lend(two, 1);
  frame f[7];
  for (int i : {0, 2, 3}) f[i].lender = one;
  f[4].lender = two;
  for (int i : {1, 5, 6}) f[i] = pool->allocate_frame();
  pool->remove_lender(one);
  CHECK(pool->add_lender() == 3);  // `one` still has frames out
  pool->release(f, 7);
  pool->remove_lender(two);
  CHECK(pool->add_lender() == two);
}

TEST_CASE("whoever the frames of a burst are from, in any order, each gets its own back") {
  counted_pool pool;
  const std::uint8_t lenders[] = {pool->add_lender(), pool->add_lender()};
  constexpr int most = 6;
  int patterns = 1;  // owners in base three: 0 and 1 lend, 2 is the pool
  for (int n = 1; n <= most; ++n) {
    patterns *= 3;
    for (int pattern = 0; pattern < patterns; ++pattern) {
      frame f[most];
      int rest = pattern;
      for (int i = 0; i < n; ++i, rest /= 3) {
        if (rest % 3 == 2) {
          f[i] = pool->allocate_frame();
          continue;
        }
        f[i].lender = lenders[rest % 3];
        pool->lend(f[i].lender, 1);
      }
      pool->release(f, static_cast<std::size_t>(n));
      REQUIRE(pool->lent(lenders[0]) == 0);
      REQUIRE(pool->lent(lenders[1]) == 0);
      REQUIRE(pool->available() == pool->capacity());
    }
  }
}

TEST_CASE("a static pool holds its memory, and gives packets") {
  static static_pool<pool_config{.packets = 3, .bytes = 128, .headroom = 16, .bare = 2}> memory;
  packet p = memory->allocate();
  packet q = p.clone();
  REQUIRE(p);
  CHECK(&p.home() == &memory.get());
  CHECK(&q.home() == &memory.get());
  const pool& same = memory;
  CHECK(&same == &memory.get());
  CHECK(memory->packet_bytes() == 128);
  CHECK(memory->headroom() == 16);
}

}  // namespace
