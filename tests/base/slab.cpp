// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <runnel/base/slab.hpp>

namespace {

using namespace runnel;

TEST_CASE("a slab gives the place that was erased last, and none when it is full") {
  alignas(8) std::byte memory[slab<std::uint64_t>::bytes_needed(3)];
  static_assert(sizeof memory == 8 + 3 * 8);
  slab<std::uint64_t> s{memory, 3};
  CHECK(s.empty());
  CHECK(s.capacity() == 3);
  CHECK(s.emplace(10u) == 0);
  CHECK(s.emplace(11u) == 1);
  CHECK(s.emplace(12u) == 2);
  CHECK(s.full());
  CHECK(s.emplace(13u) == slab<std::uint64_t>::none);
  CHECK(s.size() == 3);
  s.erase(2);
  s.erase(0);
  CHECK_FALSE(s.contains(0));
  CHECK(s.contains(1));
  CHECK_FALSE(s.contains(3));
  CHECK_FALSE(s.contains(slab<std::uint64_t>::none));
  CHECK(s.emplace(20u) == 0);
  CHECK(s[0] == 20);
  CHECK(s[1] == 11);
  CHECK(s.index_of(s[1]) == 1);
}

TEST_CASE("objects smaller than a number, or of large alignment, have places as well") {
  alignas(8) std::byte memory[slab<char>::bytes_needed(100)];
  slab<char> chars{memory, 100};
  for (int i = 0; i < 100; ++i) CHECK(chars.emplace(static_cast<char>(i)) == static_cast<std::uint32_t>(i));
  for (std::uint32_t i = 0; i < 100; i += 2) chars.erase(i);
  for (std::uint32_t i = 1; i < 100; i += 2) CHECK(chars[i] == static_cast<char>(i));

  struct alignas(64) line {
    int value;
  };
  static_assert(slab<line>::alignment == 64);
  static_assert(slab<line>::bytes_needed(65) == 64 + 65 * 64);
  alignas(64) std::byte lines_memory[slab<line>::bytes_needed(5)];
  slab<line> lines{lines_memory, 5};
  const auto i = lines.emplace(3);
  CHECK(reinterpret_cast<std::uintptr_t>(&lines[i]) % 64 == 0);
  CHECK(lines[i].value == 3);
}

TEST_CASE("a walk meets every object once, in order, and may erase it") {
  alignas(8) std::byte memory[slab<std::uint32_t>::bytes_needed(200)];
  slab<std::uint32_t> s{memory, 200};
  for (std::uint32_t i = 0; i < 150; ++i) REQUIRE(s.emplace(i * i) == i);
  s.for_each([&](std::uint32_t i, std::uint32_t& v) {
    CHECK(v == i * i);
    if (i % 3 != 0) s.erase(i);
  });
  std::vector<std::uint32_t> left;
  s.for_each([&](std::uint32_t i, std::uint32_t&) { left.push_back(i); });
  REQUIRE(left.size() == 50);
  for (std::uint32_t i = 0; i < 50; ++i) CHECK(left[i] == 3 * i);
}

TEST_CASE("a slab behaves as a map from numbers, and destroys what is in it") {
  using slab_of = slab<std::shared_ptr<std::string>>;
  const auto watched = std::make_shared<std::string>("x");
  std::mt19937 random{3};
  alignas(8) static std::byte memory[slab_of::bytes_needed(70)];
  {
    slab_of s{memory, 70};
    std::map<std::uint32_t, std::shared_ptr<std::string>> model;
    for (int step = 0; step < 20'000; ++step) {
      if (random() % 2 == 0) {
        auto value = random() % 4 == 0 ? watched : std::make_shared<std::string>(std::to_string(step));
        const auto i = s.emplace(value);
        REQUIRE((i == slab_of::none) == (model.size() == 70));
        if (i == slab_of::none) continue;
        REQUIRE(model.count(i) == 0);
        model[i] = value;
      } else if (!model.empty()) {
        auto victim = model.begin();
        std::advance(victim, static_cast<std::ptrdiff_t>(random() % model.size()));
        s.erase(victim->first);
        model.erase(victim);
      }
      REQUIRE(s.size() == model.size());
      for (std::uint32_t i = 0; i < 70; ++i) REQUIRE(s.contains(i) == (model.count(i) != 0));
      for (const auto& [i, value] : model) REQUIRE(s[i] == value);
      if (step % 5000 == 4999) {
        s.clear();
        model.clear();
        REQUIRE(watched.use_count() == 1);
      }
    }
    CHECK(s.emplace(watched) != slab_of::none);
  }
  CHECK(watched.use_count() == 1);
}

}  // namespace
