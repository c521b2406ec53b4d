// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <random>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <runnel/base/ring.hpp>

namespace {

using namespace runnel;

static_assert(!std::is_copy_constructible_v<spsc_ring<int, 8>>);
static_assert(std::is_default_constructible_v<spsc_ring<int, 8>>);
static_assert(!std::is_default_constructible_v<spsc_ring<int>>);

TEST_CASE("a ring takes as many as it has room for, and gives them back in order") {
  spsc_ring<int, 4> ring;
  int in[] = {1, 2, 3, 4, 5, 6};
  int out[6] = {};
  CHECK(ring.capacity() == 4);
  CHECK(ring.empty());
  CHECK(ring.pop(out, 6) == 0);
  CHECK(ring.push(in, 6) == 4);
  CHECK(ring.push(in, 1) == 0);
  CHECK_FALSE(ring.push(7));
  CHECK(ring.size() == 4);
  CHECK(ring.pop(out, 3) == 3);
  CHECK(out[2] == 3);
  CHECK(ring.push(in + 4, 2) == 2);
  CHECK(ring.push(7));
  CHECK(ring.pop(out, 6) == 4);
  CHECK(out[0] == 4);
  CHECK(out[1] == 5);
  CHECK(out[2] == 6);
  CHECK(out[3] == 7);
  int one = 0;
  CHECK_FALSE(ring.pop(one));
  CHECK(ring.push(8));
  CHECK(ring.pop(one));
  CHECK(one == 8);
  CHECK(ring.push(in, 0) == 0);
}

TEST_CASE("a ring in given memory holds the power of two that fits") {
  alignas(8) std::byte memory[8 * 13];
  spsc_ring<std::uint64_t> ring{mutable_bytes{memory}};
  CHECK(ring.capacity() == 8);
  alignas(8) std::byte little[9];
  spsc_ring<std::uint64_t> single{mutable_bytes{little}};
  CHECK(single.capacity() == 1);
  for (std::uint64_t i = 0; i < 5; ++i) {
    CHECK(single.push(std::uint64_t{i}));
    CHECK_FALSE(single.push(std::uint64_t{i}));
    std::uint64_t back = 99;
    CHECK(single.pop(back));
    CHECK(back == i);
    CHECK_FALSE(single.pop(back));
  }
}

TEST_CASE("elements that own something are moved, and destroyed with the ring") {
  const auto watched = std::make_shared<int>(5);
  {
    spsc_ring<std::shared_ptr<int>, 4> ring;
    std::shared_ptr<int> in[] = {watched, watched, watched};
    CHECK(ring.push(in, 3) == 3);
    CHECK(in[0] == nullptr);
    CHECK(watched.use_count() == 4);
    std::shared_ptr<int> out[2] = {std::make_shared<int>(6), nullptr};
    CHECK(ring.pop(out, 2) == 2);
    CHECK(watched.use_count() == 4);
    CHECK(ring.push(std::move(out[0])));
    std::shared_ptr<int> refused = watched;
    CHECK(ring.push(std::move(out[1])));
    CHECK(ring.push(std::shared_ptr<int>{watched}));
    CHECK_FALSE(ring.push(std::move(refused)));
    CHECK(refused != nullptr);
  }
  CHECK(watched.use_count() == 1);
}

TEST_CASE("a ring behaves as a queue, under random bursts") {
  std::mt19937 random{7};
  spsc_ring<std::unique_ptr<int>, 32> ring;
  std::deque<int> model;
  int next = 0;
  for (int step = 0; step < 20'000; ++step) {
    const std::size_t n = random() % 40;
    if (random() % 2 == 0) {
      std::vector<std::unique_ptr<int>> in;
      for (std::size_t i = 0; i < n; ++i) in.emplace_back(new int(next + static_cast<int>(i)));
      const std::size_t taken = ring.push(in.data(), n);
      REQUIRE(taken == (std::min)(n, 32 - model.size()));
      for (std::size_t i = 0; i < n; ++i) REQUIRE((in[i] == nullptr) == (i < taken));
      for (std::size_t i = 0; i < taken; ++i) model.push_back(next++);
    } else {
      std::vector<std::unique_ptr<int>> out(n);
      const std::size_t given = ring.pop(out.data(), n);
      REQUIRE(given == (std::min)(n, model.size()));
      for (std::size_t i = 0; i < given; ++i) {
        REQUIRE(*out[i] == model.front());
        model.pop_front();
      }
    }
    REQUIRE(ring.size() == model.size());
  }
}

TEST_CASE("one thread pushes, another pops, nothing is lost, doubled or out of order") {
  constexpr std::uint64_t total = 200'000;
  spsc_ring<std::uint64_t, 64> ring;
  std::thread producer{[&ring] {
    std::uint64_t burst[17];
    for (std::uint64_t next = 0; next < total;) {
      std::size_t n = 0;
      while (n < 17 && next + n < total) burst[n] = next + n, ++n;
      const std::size_t taken = ring.push(burst, n);
      if (taken == 0) std::this_thread::yield();
      next += taken;
    }
  }};
  std::uint64_t expected = 0;
  bool in_order = true;
  while (expected < total) {
    std::uint64_t out[23];
    const std::size_t n = ring.pop(out, 23);
    if (n == 0) std::this_thread::yield();
    for (std::size_t i = 0; i < n; ++i) in_order = in_order && out[i] == expected++;
  }
  producer.join();
  CHECK(in_order);
  CHECK(ring.empty());
}

TEST_CASE("a third thread never sees more in a ring than it has room for") {
  constexpr unsigned total = 100'000;
  spsc_ring<unsigned, 2> ring;
  bool over = false;
  std::thread producer{[&ring] {
    for (unsigned next = 0; next < total;)
      if (ring.push(unsigned{next})) ++next;
      else std::this_thread::yield();
  }};
  std::thread consumer{[&] {
    for (unsigned got = 0, one = 0; got < total;)
      if (ring.pop(one)) ++got;
      else std::this_thread::yield();
    __atomic_store_n(&over, true, __ATOMIC_RELAXED);
  }};
  std::size_t most = 0;
  for (unsigned looks = 0; !__atomic_load_n(&over, __ATOMIC_RELAXED); ++looks) {
    if (const std::size_t n = ring.size(); n > most) most = n;
    if (looks % 64 == 0) std::this_thread::yield();
  }
  producer.join();
  consumer.join();
  CHECK(most <= 2);
}

}  // namespace
