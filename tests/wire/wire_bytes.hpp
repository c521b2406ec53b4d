// SPDX-License-Identifier: MIT
// For tests of wire formats: packets as hexadecimal text, exact-size heap buffers so that the sanitizers see one
// byte too far, and a seeded source of bad bytes.
#ifndef RUNNEL_TESTS_WIRE_BYTES_HPP
#define RUNNEL_TESTS_WIRE_BYTES_HPP

#include <cstddef>
#include <cstdint>
#include <vector>

#include <runnel/base/bytes.hpp>

namespace runnel_test {

/// Bytes of a text of hexadecimal digits; everything else in it is skipped.
inline std::vector<std::byte> hex(const char* text) {
  std::vector<std::byte> out;
  int high = -1;
  for (; *text != '\0'; ++text) {
    const char c = *text;
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (digit < 0) continue;
    if (high < 0) high = digit;
    else out.push_back(static_cast<std::byte>(high * 16 + digit)), high = -1;
  }
  return out;
}

/// A heap buffer of exactly its size: unlike a vector, it has no spare capacity behind it to hide an overread in.
class exact {
 public:
  explicit exact(runnel::bytes b) : data_(new std::byte[b.size()]), size_(b.size()) {
    runnel::copy_bytes(data_, b.data(), b.size());
  }
  exact(const exact&) = delete;
  exact& operator=(const exact&) = delete;
  ~exact() { delete[] data_; }
  [[nodiscard]] std::byte* data() const { return data_; }
  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  std::byte* data_;
  std::size_t size_;
};

/// xorshift64: the same sequence in every run.
struct xorshift {
  std::uint64_t state = 0x9e37'79b9'7f4a'7c15;
  std::uint64_t operator()() {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
  }
  /// 0 to `limit` - 1.
  std::size_t below(std::size_t limit) { return static_cast<std::size_t>((*this)() >> 16) % limit; }
  void fill(runnel::mutable_bytes b) {
    for (std::byte& x : b) x = static_cast<std::byte>((*this)() >> 24);
  }
};

}  // namespace runnel_test

#endif
