// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include <runnel/base/bytes.hpp>
#include <runnel/base/endian.hpp>
#include <runnel/base/numeric.hpp>

namespace {

using namespace runnel;

constexpr std::byte b(unsigned v) { return static_cast<std::byte>(v); }
constexpr std::byte eight[] = {b(0x01), b(0x23), b(0x45), b(0x67), b(0x89), b(0xab), b(0xcd), b(0xef)};

// ---- windows

static_assert(bytes{}.empty() && bytes{}.data() == nullptr);
static_assert(bytes{eight}.size() == 8 && bytes{eight}[7] == b(0xef));
static_assert(bytes{eight}.first(3).size() == 3 && bytes{eight}.first(9).size() == 8 && bytes{eight}.first(0).empty());
static_assert(bytes{eight}.from(3).size() == 5 && bytes{eight}.from(3)[0] == b(0x67));
static_assert(bytes{eight}.from(8).empty() && bytes{eight}.from(99).empty());
static_assert(bytes{eight}.from(99).data() == eight + 8);
static_assert(equal(eight, eight) && !equal(eight, bytes{eight}.first(7)) && equal(bytes{}, bytes{}));
static_assert(!equal(bytes{eight}.first(7), bytes{eight}.from(1)));
static_assert(std::is_convertible_v<mutable_bytes, bytes> && !std::is_convertible_v<bytes, mutable_bytes>);
static_assert(std::is_trivially_copyable_v<bytes>);

constexpr bool copies_and_zeros() {
  std::byte to[9] = {};
  copy_bytes(to, eight, 8);
  if (!equal(bytes{to}.first(8), eight) || to[8] != b(0)) return false;
  zero_bytes(to + 1, 6);
  return to[0] == b(0x01) && to[1] == b(0) && to[6] == b(0) && to[7] == b(0xef);
}
static_assert(copies_and_zeros());

TEST_CASE("a window opens onto whatever is contiguous, and sees its changes") {
  std::vector<std::byte> v(5, b(7));
  std::array<std::byte, 3> a{b(1), b(2), b(3)};
  mutable_bytes w = v;
  w[4] = b(9);
  CHECK(v[4] == b(9));
  CHECK(bytes{v}.size() == 5);
  CHECK(bytes{a}.size() == 3);
  const auto& constant = v;
  const bytes r = constant;
  CHECK(r.end() - r.begin() == 5);
  std::size_t sum = 0;
  for (const std::byte x : r) sum += static_cast<std::size_t>(x);
  CHECK(sum == 37);
  CHECK(equal(r, v));
  CHECK_FALSE(equal(r, a));
  CHECK(equal(bytes{v.data(), 0}, bytes{}));
  CHECK(copies_and_zeros());
  copy_bytes(nullptr, nullptr, 0);
  zero_bytes(nullptr, 0);
}

// ---- byte order

static_assert(load_u8(eight + 4) == 0x89);
static_assert(load_be16(eight) == 0x0123 && load_le16(eight) == 0x2301);
static_assert(load_be24(eight) == 0x012345);
static_assert(load_be32(eight) == 0x01234567 && load_le32(eight) == 0x67452301);
static_assert(load_be64(eight) == 0x0123456789abcdef && load_le64(eight) == 0xefcdab8967452301);
static_assert(load_be32(eight + 3) == 0x6789abcd);
static_assert(byte_swap(std::uint16_t{0x0123}) == 0x2301 && byte_swap(std::uint32_t{0x01234567}) == 0x67452301);

template <class T>
constexpr bool round_trip(T v, T (*load)(const std::byte*) noexcept, void (*store)(std::byte*, T) noexcept) {
  std::byte at[sizeof(T) + 2] = {b(0xaa)};
  at[sizeof(T) + 1] = b(0xaa);
  store(at + 1, v);
  return load(at + 1) == v && at[0] == b(0xaa) && at[sizeof(T) + 1] == b(0xaa);
}
constexpr bool all_round_trips() {
  return round_trip<std::uint8_t>(0xfe, load_u8, store_u8) &&
         round_trip<std::uint16_t>(0xfedc, load_be16, store_be16) &&
         round_trip<std::uint32_t>(0xfedcba98, load_be32, store_be32) &&
         round_trip<std::uint64_t>(0xfedcba9876543210, load_be64, store_be64) &&
         round_trip<std::uint16_t>(0xfedc, load_le16, store_le16) &&
         round_trip<std::uint32_t>(0xfedcba98, load_le32, store_le32) &&
         round_trip<std::uint64_t>(0xfedcba9876543210, load_le64, store_le64);
}
static_assert(all_round_trips());

TEST_CASE("numbers are stored at any alignment, at run time as in constant evaluation") {
  CHECK(all_round_trips());
  std::byte at[16] = {};
  store_be24(at + 1, 0xff123456);  // only the low 24 bits
  CHECK(at[0] == b(0));
  CHECK(at[1] == b(0x12));
  CHECK(at[3] == b(0x56));
  CHECK(at[4] == b(0));
  CHECK(load_be24(at + 1) == 0x123456);
  store_be64(at + 5, 0x0123456789abcdef);
  CHECK(equal(bytes{at}.from(5).first(8), eight));
  CHECK(load_be16(eight + 1) == 0x2345);
  CHECK(load_le64(eight) == 0xefcdab8967452301);
}

// ---- sums

static_assert(is_power_of_two(1) && is_power_of_two(64) && is_power_of_two(std::uint64_t{1} << 63));
static_assert(!is_power_of_two(0) && !is_power_of_two(3) && !is_power_of_two(~std::uint64_t{0}));
static_assert(floor_log2(1) == 0 && floor_log2(2) == 1 && floor_log2(3) == 1 && floor_log2(~std::uint64_t{0}) == 63);
static_assert(floor_power_of_two(0) == 0 && floor_power_of_two(5) == 4 && floor_power_of_two(8) == 8);
static_assert(ceil_power_of_two(0) == 1 && ceil_power_of_two(1) == 1 && ceil_power_of_two(5) == 8 &&
              ceil_power_of_two(8) == 8);
static_assert(ceil_power_of_two(std::uint64_t{1} << 63) == std::uint64_t{1} << 63);
static_assert(divide_up(0, 8) == 0 && divide_up(1, 8) == 1 && divide_up(8, 8) == 1 && divide_up(9, 8) == 2);
static_assert(divide_up(SIZE_MAX, 2) == SIZE_MAX / 2 + 1);
static_assert(narrow<std::uint8_t>(255) == 255 && narrow<std::int8_t>(-128) == -128);
static_assert(spread_over(0, 10) == 0 && spread_over(0xffff'ffff, 10) == 9 && spread_over(0x8000'0000, 10) == 5);

}  // namespace
