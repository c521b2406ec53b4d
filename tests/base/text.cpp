// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <cstdint>
#include <string>

#include <runnel/base/error.hpp>
#include <runnel/base/text.hpp>

namespace {

using namespace runnel;

template <class F>
std::string written(F f) {
  text<128> t;
  f(t);
  CHECK_FALSE(t.truncated());
  CHECK(t.size() == std::string{t.c_str()}.size());
  return t.c_str();
}

TEST_CASE("numbers are written in the bases that packets are read in") {
  CHECK(written([](auto& t) { t << std::uint64_t{0}; }) == "0");
  CHECK(written([](auto& t) { t << UINT64_MAX; }) == "18446744073709551615");
  CHECK(written([](auto& t) { t << INT64_MIN << ' ' << INT64_MAX; }) == "-9223372036854775808 9223372036854775807");
  CHECK(written([](auto& t) { t << std::int32_t{-1} << std::uint8_t{200} << std::uint16_t{65535}; }) == "-120065535");
  CHECK(written([](auto& t) { t << -1LL << ' ' << 2ULL << ' ' << -3L << ' ' << 4UL << ' ' << 5U; }) == "-1 2 -3 4 5");
  CHECK(written([](auto& t) { t.hex(0xbeef).hex(0xa, 4).hex(0, 2); }) == "beef000a00");
  CHECK(written([](auto& t) { t.hex(UINT64_MAX); }) == "ffffffffffffffff");
  CHECK(written([](auto& t) { t.number(5, 2, 8); }) == "00000101");
  CHECK(written([](auto& t) { t.number(UINT64_MAX, 2, 1); }) == std::string(64, '1'));
  CHECK(written([](auto& t) { t.number(7, 10, 100); }) == std::string(63, '0') + "7");
}

TEST_CASE("large numbers are grouped by thousands") {
  CHECK(written([](auto& t) { t.grouped(0); }) == "0");
  CHECK(written([](auto& t) { t.grouped(999); }) == "999");
  CHECK(written([](auto& t) { t.grouped(1000); }) == "1'000");
  CHECK(written([](auto& t) { t.grouped(1'002'003); }) == "1'002'003");
  CHECK(written([](auto& t) { t.grouped(UINT64_MAX); }) == "18'446'744'073'709'551'615");
}

TEST_CASE("columns are counted from the beginning of the line") {
  CHECK(written([](auto& t) { (t << "ab\ncd").pad_to(5) << '|'; }) == "ab\ncd   |");
  CHECK(written([](auto& t) { (t << "abcdef").pad_to(3) << '|'; }) == "abcdef|");
  CHECK(written([](auto& t) { t.pad_to(2) << '|'; }) == "  |");
}

TEST_CASE("columns are counted from the beginning of the line also where that was flushed") {
  for (std::size_t capacity = 2; capacity < 24; ++capacity) {
    std::string all;
    char buffer[24];
    const auto keep = [](void* to, const char* s, std::size_t n) { static_cast<std::string*>(to)->append(s, n); };
    text_writer t(buffer, capacity, keep, &all);
    (t << "a longer line\nshort").pad_to(8) << '|';
    t.pad_to(12) << "|\n";
    t.pad_to(2) << '|';
    t.flush();
    CHECK(all == "a longer line\nshort   |   |\n  |");
  }
}

TEST_CASE("what does not fit is cut, and said to be") {
  text<8> t;
  t << "1234567";
  CHECK_FALSE(t.truncated());
  CHECK(std::string{t.c_str()} == "1234567");
  t << '8';
  CHECK(t.truncated());
  t << "more" << std::uint64_t{99};
  CHECK(std::string{t.c_str()} == "1234567");
  CHECK(t.size() == 7);
}

TEST_CASE("with a flush function nothing is cut, and the last part waits for flush") {
  std::string all;
  char buffer[5];
  int calls = 0;
  struct sink {
    std::string* all;
    int* calls;
  } to{&all, &calls};
  text_writer w{buffer, sizeof buffer,
                [](void* context, const char* s, std::size_t n) {
                  auto* const into = static_cast<sink*>(context);
                  into->all->append(s, n);
                  ++*into->calls;
                },
                &to};
  w.flush();
  CHECK(calls == 0);
  w << "hello, world: " << std::uint64_t{123456};
  CHECK_FALSE(w.truncated());
  CHECK(all == "hello, world: 12");  // four characters at a time, and four are still in the buffer
  CHECK(std::string{w.c_str()} == "3456");
  w.flush();
  CHECK(all == "hello, world: 123456");
  CHECK(w.size() == 0);
  CHECK(calls == 5);
}

TEST_CASE("texts are compared whole") {
  static_assert(same_text("", "") && same_text("abc", "abc") && !same_text("abc", "abd") && !same_text("ab", "abc") &&
                !same_text("abc", "ab") && !same_text("", "a"));
}

constexpr bool writes_in_constant_evaluation() {
  text<32> t;
  t << "x=" << std::uint32_t{42} << ' ';
  t.hex(255, 4).pad_to(12) << '!';
  return same_text(t.c_str(), "x=42 00ff   !") && t.size() == 13;
}
static_assert(writes_in_constant_evaluation());

TEST_CASE("an error is one sentence that says what, on what, why, and what to do") {
  const error full{"af_xdp", "bind", "eth0 queue 0", "EBUSY", "another socket owns this queue", 16};
  CHECK(std::string{full.message()} == "af_xdp: bind eth0 queue 0: EBUSY: another socket owns this queue");
  CHECK(full.number() == 16);
  const error bare{"pool", "create", "", "too small"};
  CHECK(std::string{bare.message()} == "pool: create: too small");
  CHECK(bare.number() == 0);
  const error copy = full;
  CHECK(std::string{copy.message()} == full.message());
  const std::string long_name(400, 'n');
  const error cut{"tap", "open", long_name.c_str(), "no such device"};
  CHECK(std::string{cut.message()} == "tap: open " + std::string(245, 'n'));
}

}  // namespace
