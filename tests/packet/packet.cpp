// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <cstdint>
#include <type_traits>
#include <utility>
#include <vector>

#include <runnel/packet.hpp>

#include "packet/counted_pool.hpp"

namespace {

using namespace runnel;
using runnel::test::counted_pool;

static_assert(sizeof(packet) == sizeof(void*));
static_assert(!std::is_copy_constructible_v<packet> && !std::is_copy_assignable_v<packet>);
static_assert(std::is_nothrow_move_constructible_v<packet> && std::is_nothrow_move_assignable_v<packet>);
static_assert(std::is_nothrow_default_constructible_v<packet> && std::is_nothrow_destructible_v<packet>);
static_assert(!std::is_convertible_v<packet, bool>);
static_assert(sizeof(detail::descriptor) == 64 && alignof(detail::descriptor) == 64);
static_assert(std::is_trivially_copyable_v<frame>);
static_assert(!std::is_copy_constructible_v<pool> && !std::is_move_constructible_v<pool>);

packet filled(pool& from, std::size_t n, unsigned first = 0) {
  packet p = from.allocate();
  REQUIRE(p);
  std::byte* at = p.put(n);
  REQUIRE(at != nullptr);
  for (std::size_t i = 0; i < n; ++i) at[i] = static_cast<std::byte>(first + i);
  return p;
}

std::vector<unsigned> numbers(const packet& p) {
  std::vector<unsigned> all;
  p.for_each_fragment([&](bytes part) {
    for (const std::byte b : part) all.push_back(static_cast<unsigned>(b));
  });
  return all;
}

TEST_CASE("a moved-from handle is empty, and a packet moved onto itself stays") {
  counted_pool pool;
  packet a = filled(pool, 4);
  packet b = std::move(a);
  CHECK_FALSE(a);
  CHECK(b.length() == 4);
  packet& same = b;
  b = std::move(same);
  REQUIRE(b);
  CHECK(b.length() == 4);
  a = filled(pool, 7);
  b = std::move(a);
  CHECK(b.length() == 7);
  CHECK(pool->available() == pool->capacity() - 1);
  b = packet{};
  CHECK(pool->available() == pool->capacity());
  b.reset();
}

TEST_CASE("an operation that does not fit says so and changes nothing") {
  counted_pool pool{{.packets = 2, .bytes = 20, .headroom = 10, .bare = 1}};
  packet p = filled(pool, 15);
  CHECK(p.push(11) == nullptr);
  CHECK(p.put(6) == nullptr);
  CHECK_FALSE(p.pull(16));
  CHECK_FALSE(p.trim(16));
  CHECK_FALSE(p.reserve(1));
  CHECK_FALSE(p.append(bytes{p.data(), 6}));
  CHECK(p.push(std::size_t{0} - 1) == nullptr);
  CHECK(p.put(std::size_t{0} - 1) == nullptr);
  CHECK_FALSE(p.pull(std::size_t{0} - 1));
  CHECK_FALSE(p.trim(std::size_t{0} - 1));
  CHECK(p.length() == 15);
  CHECK(p.headroom() == 10);
  CHECK(p.tailroom() == 5);
  CHECK(p.push(10) == p.head());
  CHECK(p.put(5) != nullptr);
  CHECK(p.length() == 30);
  CHECK(p.headroom() == 0);
  CHECK(p.tailroom() == 0);
  CHECK(p.pull(30));
  CHECK(p.length() == 0);
  CHECK(p.headroom() == 30);
  CHECK_FALSE(p.reserve(1));
}

TEST_CASE("shared bytes are read-only for both, whoever goes first, and writable for the last") {
  counted_pool pool;
  packet original = filled(pool, 8);
  packet clone = original.clone();
  REQUIRE(clone);
  CHECK(clone.data() == original.data());
  CHECK(original.is_shared());
  CHECK(clone.is_shared());
  CHECK(original.push(1) == nullptr);
  CHECK(clone.put(1) == nullptr);
  CHECK(clone.pull(2));  // taking off changes no byte
  CHECK(clone.trim(5));
  CHECK(original.length() == 8);

  SUBCASE("the original goes first") {
    original.reset();
    CHECK(pool->available() == pool->capacity() - 1);
    CHECK_FALSE(clone.is_shared());
    CHECK(clone.push(2) != nullptr);
    CHECK(numbers(clone) == std::vector<unsigned>{0, 1, 2, 3, 4, 5, 6});
  }
  SUBCASE("the clone goes first") {
    clone.reset();
    CHECK(pool->bare_available() == pool->bare_capacity());
    CHECK_FALSE(original.is_shared());
    CHECK(original.put(1) != nullptr);
  }
  SUBCASE("the clone takes bytes of its own") {
    REQUIRE(clone.unshare());
    CHECK(clone.data() != original.data());
    CHECK_FALSE(original.is_shared());
    CHECK(clone.put(1) != nullptr);
    CHECK(numbers(original) == std::vector<unsigned>{0, 1, 2, 3, 4, 5, 6, 7});
  }
  SUBCASE("the original takes bytes of its own") {
    REQUIRE(original.unshare());
    CHECK_FALSE(clone.is_shared());
    original.writable()[0] = std::byte{99};
    CHECK(numbers(clone) == std::vector<unsigned>{2, 3, 4, 5, 6});
  }
}

TEST_CASE("clones of clones keep the bytes until the last is gone, in any order") {
  const int orders[][4] = {{0, 1, 2, 3}, {3, 2, 1, 0}, {1, 3, 0, 2}, {2, 0, 3, 1}};
  for (const auto& order : orders) {
    counted_pool pool;
    packet all[4];
    all[0] = filled(pool, 8);
    all[1] = all[0].clone();
    all[2] = all[1].clone();
    all[3] = all[2].clone();
    for (int i = 0; i < 4; ++i) {
      for (int j = i; j < 4; ++j) CHECK(all[order[j]].is_shared() == (i < 3));
      CHECK(pool->available() == pool->capacity() - 1);
      all[order[i]].reset();
    }
  }
}

TEST_CASE("unshare without a free slot fails and changes nothing") {
  counted_pool pool{{.packets = 1, .bytes = 64, .headroom = 0, .bare = 2}};
  packet p = filled(pool, 8);
  packet clone = p.clone();
  const std::byte* const where = clone.data();
  CHECK_FALSE(clone.unshare());
  CHECK_FALSE(p.unshare());
  REQUIRE(clone);
  CHECK(clone.data() == where);
  CHECK(clone.is_shared());
  CHECK(numbers(clone) == numbers(p));
  CHECK(pool->exhausted() == 2);
  p.reset();
  CHECK(clone.unshare());  // alone by now
  CHECK(clone.data() == where);
}

TEST_CASE("a clone of a chain that runs out of descriptors half-way leaves nothing behind") {
  counted_pool pool{{.packets = 4, .bytes = 64, .headroom = 0, .bare = 2}};
  packet p = filled(pool, 3);
  REQUIRE(p.append(filled(pool, 3, 3)));
  REQUIRE(p.append(filled(pool, 3, 6)));
  CHECK_FALSE(p.clone());
  CHECK(pool->bare_available() == 2);
  CHECK_FALSE(p.is_shared());
  REQUIRE(p.trim(6));
  packet clone = p.clone();
  REQUIRE(clone);
  CHECK(numbers(clone) == std::vector<unsigned>{0, 1, 2, 3, 4, 5});
}

TEST_CASE("fragments are read as one, trimmed as one, and made one by linearize") {
  counted_pool pool;
  packet p = filled(pool, 4);
  packet middle = filled(pool, 3, 4);
  REQUIRE(middle.append(filled(pool, 5, 7)));
  REQUIRE(p.append(std::move(middle)));
  CHECK_FALSE(middle);
  CHECK(p.is_chained());
  CHECK(p.length() == 4);
  CHECK(p.total_length() == 12);
  CHECK(p.put(1) == nullptr);
  CHECK(p.push(1) != nullptr);
  CHECK(p.pull(1));
  CHECK_FALSE(p.pull(5));

  SUBCASE("linearize") {
    p.mark(5);
    REQUIRE(p.linearize());
    CHECK_FALSE(p.is_chained());
    CHECK(p.is_plain());
    CHECK(p.length() == 12);
    CHECK(p.mark() == 5);
    CHECK(numbers(p) == std::vector<unsigned>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11});
    CHECK(pool->available() == pool->capacity() - 1);
  }
  SUBCASE("trim within the last fragment") {
    REQUIRE(p.trim(11));
    CHECK(p.total_length() == 11);
    CHECK(pool->available() == pool->capacity() - 3);
  }
  SUBCASE("trim at the end of a fragment releases those behind it") {
    REQUIRE(p.trim(7));
    CHECK(p.total_length() == 7);
    CHECK(pool->available() == pool->capacity() - 2);
    REQUIRE(p.trim(4));
    CHECK_FALSE(p.is_chained());
    CHECK(p.put(1) != nullptr);
  }
  SUBCASE("trim to nothing leaves the first") {
    REQUIRE(p.trim(0));
    CHECK(p.total_length() == 0);
    CHECK(pool->available() == pool->capacity() - 1);
  }
}

TEST_CASE("a packet is appended neither to itself nor to one of another pool") {
  counted_pool here;
  counted_pool there;
  packet p = filled(here, 4);
  packet& same = p;
  CHECK_FALSE(p.append(std::move(same)));
  REQUIRE(p);
  CHECK(p.total_length() == 4);
  packet q = filled(there, 4);
  CHECK_FALSE(p.append(std::move(q)));
  CHECK(q);
  CHECK_FALSE(p.append(packet{}));
  CHECK(numbers(p) == std::vector<unsigned>{0, 1, 2, 3});
}

TEST_CASE("chained fragments of clones release each its own slot") {
  counted_pool pool;
  packet a = filled(pool, 4);
  packet b = filled(pool, 4, 4);
  packet chain = a.clone();
  REQUIRE(chain.append(b.clone()));
  REQUIRE(chain.append(a.clone()));
  packet again = chain.clone();
  CHECK(numbers(again) == std::vector<unsigned>{0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3});
  a.reset();
  chain.reset();
  CHECK(again.is_shared());  // with its own last fragment
  b.reset();
  REQUIRE(again.unshare());
  CHECK_FALSE(again.is_chained());
  CHECK(numbers(again) == std::vector<unsigned>{0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3});
  CHECK(pool->available() == pool->capacity() - 1);
}

TEST_CASE("a copy brings along what is known, with offsets that point to the same bytes") {
  counted_pool pool{{.packets = 4, .bytes = 100, .headroom = 50, .bare = 1}};
  counted_pool other{{.packets = 4, .bytes = 200, .headroom = 7, .bare = 0}};
  packet p = filled(pool, 60);
  REQUIRE(p.push(20) != nullptr);
  p.timestamp({123});
  p.flow_hash(1);
  p.mark(2);
  p.connection(3);
  p.scratch(4);
  p.iif(5);
  p.priority(6);
  p.missing(7);
  p.checksum(checksum_status::partial);
  p.layers({.protocols = static_cast<std::uint16_t>(protocol::parsed), .network = 50, .transport = 70, .link = 14});
  for (runnel::pool* to : {&pool.get(), &other.get()}) {
    packet q = p.copy(*to);
    REQUIRE(q);
    CHECK(q.is_plain());
    CHECK(&q.home() == to);
    CHECK(q.headroom() == to->headroom());
    CHECK(equal(q.contents(), p.contents()));
    CHECK(q.timestamp() == instant{123});
    CHECK(q.flow_hash() == 1);
    CHECK(q.mark() == 2);
    CHECK(q.connection() == 3);
    CHECK(q.scratch() == 4);
    CHECK(q.iif() == 5);
    CHECK(q.priority() == 6);
    CHECK(q.missing() == 7);
    CHECK(q.checksum() == checksum_status::partial);
    CHECK(q.head() + q.layers().network - q.data() == p.head() + p.layers().network - p.data());
    CHECK(q.head() + q.layers().transport - q.data() == p.head() + p.layers().transport - p.data());
  }
}

TEST_CASE("what a snap length cut off and the size of segments share a place, and neither reads as the other") {
  counted_pool pool;
  packet p = filled(pool, 4);
  p.missing(100);
  CHECK(p.missing() == 100);
  CHECK(p.segment_size() == 0);
  p.segment_size(1460);
  CHECK(p.missing() == 0);
  CHECK(p.segment_size() == 1460);
  p.checksum(checksum_status::verified);
  CHECK(p.segment_size() == 1460);
  p.missing(0);
  CHECK(p.missing() == 0);
}

TEST_CASE("a copy of a packet that fills its slot to the last byte takes from the headroom") {
  counted_pool pool{{.packets = 4, .bytes = 100, .headroom = 50, .bare = 1}};
  packet p = filled(pool, 100);
  REQUIRE(p.push(30) != nullptr);
  packet q = p.copy();
  REQUIRE(q);
  CHECK(q.headroom() == 20);
  CHECK(q.tailroom() == 0);
  CHECK(equal(q.contents(), p.contents()));
  REQUIRE(p.push(20) != nullptr);
  q = p.copy();
  REQUIRE(q);
  CHECK(q.headroom() == 0);
  REQUIRE(p.append(filled(pool, 1)));
  CHECK_FALSE(p.copy());
  CHECK_FALSE(p.linearize());
  CHECK(p.total_length() == 151);
  CHECK(pool->exhausted() == 0);
}

TEST_CASE("headroom ends at 65535 bytes: a pull beyond it is refused") {
  counted_pool pool{{.packets = 1, .bytes = 65535, .headroom = 65535, .bare = 1}};
  packet p = pool->allocate();
  REQUIRE(p.put(65535) != nullptr);
  CHECK_FALSE(p.pull(1));
  CHECK(p.pull(0));
  REQUIRE(p.push(10) != nullptr);
  CHECK(p.length() == 65545);
  CHECK_FALSE(p.pull(11));
  CHECK(p.pull(10));
  REQUIRE(p.trim(0));
  CHECK_FALSE(p.reserve(1));
  CHECK(p.tailroom() == 65535);
  REQUIRE(p.push(65535) != nullptr);
  REQUIRE(p.trim(0));
  CHECK(p.headroom() == 0);
  CHECK(p.tailroom() == 65535);  // and the room beyond that is out of reach
  REQUIRE(p.put(65535) != nullptr);
  packet clone = p.clone();
  REQUIRE(clone.pull(65535));
  CHECK(clone.is_shared());
}

TEST_CASE("lent frames longer than 65535 bytes are read, pulled and trimmed, and kept in a chain of slots") {
  counted_pool pool{{.packets = 60, .bytes = 2000, .headroom = 64, .bare = 4}};
  std::vector<std::byte> mapped(100'000);
  for (std::size_t i = 0; i < mapped.size(); ++i) mapped[i] = static_cast<std::byte>(i * 7 + i / 251);
  const std::uint8_t id = pool->add_lender();
  frame f;
  f.data = mapped.data();
  f.length = 100'000;
  f.lender = id;
  f.queue = 9;
  pool->lend(id, 1);

  CHECK_FALSE(f.pull(65536));
  packet p = pool->attach(f);
  CHECK(p.length() == 100'000);
  CHECK(p.queue() == 0);
  CHECK_FALSE(p.pull(65536));
  CHECK(p.pull(65535));
  CHECK_FALSE(p.pull(1));
  CHECK(p.push(65535) != nullptr);
  cursor c{p};
  c.skip(99'999);
  CHECK(c.u8() == static_cast<std::uint8_t>(mapped[99'999]));
  CHECK_FALSE(p.copy());

  p.mark(9);
  packet clone = p.clone();
  REQUIRE(clone.keep());
  CHECK_FALSE(clone.is_lent());
  CHECK_FALSE(clone.is_shared());
  CHECK(clone.mark() == 9);
  CHECK(clone.queue() == 0);
  CHECK(clone.total_length() == 100'000);
  CHECK(pool->available() == 10);
  std::vector<std::byte> read(100'000);
  cursor whole{clone};
  whole.copy_to(read);
  CHECK(whole.ok());
  CHECK(read == mapped);

  CHECK_FALSE(p.keep());  // 50 slots needed, 10 left
  CHECK(p.is_lent());
  CHECK(pool->available() == 10);
  REQUIRE(p.trim(20'000));
  CHECK(p.tailroom() == 65535);
  REQUIRE(p.keep());
  CHECK(p.total_length() == 20'000);
  CHECK(pool->lent(id) == 0);
}

TEST_CASE("a frame grows and shrinks as a packet does") {
  std::byte memory[100];
  frame f;
  f.data = memory + 20;
  f.headroom = 20;
  f.length = 50;
  f.tailroom = 30;
  CHECK(f.push(21) == nullptr);
  CHECK(f.put(31) == nullptr);
  CHECK_FALSE(f.pull(51));
  CHECK_FALSE(f.trim(51));
  CHECK(f.push(20) == memory);
  CHECK(f.put(30) == memory + 70);
  CHECK(f.length == 100);
  CHECK(f.head() == memory);
  CHECK(f.pull(40));
  CHECK(f.trim(10));
  CHECK(f.headroom == 40);
  CHECK(f.tailroom == 50);
  CHECK(f.contents().data() == memory + 40);
  CHECK(f.contents().size() == 10);
}

}  // namespace
