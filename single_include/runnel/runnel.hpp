// SPDX-License-Identifier: MIT
// runnel 0.1.0 in one header: packet processing as a library.
// Written by single_include/generate from the headers below include/. Change those, not this.
//
// MIT License
//
// Copyright (c) 2026 The runnel authors
//
// Permission is hereby granted, free of charge, to any person obtaining a copy
// of this software and associated documentation files (the "Software"), to deal
// in the Software without restriction, including without limitation the rights
// to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
// copies of the Software, and to permit persons to whom the Software is
// furnished to do so, subject to the following conditions:
//
// The above copyright notice and this permission notice shall be included in all
// copies or substantial portions of the Software.
//
// THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
// IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
// FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
// AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
// LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
// OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
// SOFTWARE.

// ==== runnel/config.hpp ==============================================================================================
/// @file
/// The macros of runnel, all of them, documented in this one place. The library works with none of them set,
/// and none of them changes the layout of a type.
#ifndef RUNNEL_CONFIG_HPP
#define RUNNEL_CONFIG_HPP

/// RUNNEL_ASSERT(condition): what happens on a programming error that only shows at run time. Define it before
/// the first include to send it elsewhere: to your logger, to a debugger, or to nothing with `((void)0)`.
/// Unless you do, a failed condition traps in builds without NDEBUG and is not evaluated in builds with it.
#ifndef RUNNEL_ASSERT
#ifdef NDEBUG
#define RUNNEL_ASSERT(condition) ((void)0)
#else
#define RUNNEL_ASSERT(condition) ((condition) ? (void)0 : __builtin_trap())
#endif
#endif

/// RUNNEL_INLINE: for the few functions on the data path whose call would cost more than their body.
#define RUNNEL_INLINE [[gnu::always_inline]] inline

#endif

// ==== runnel/base/bytes.hpp ==========================================================================================
// A window onto bytes that somebody else owns: pointer and length, nothing more. The standard's span would do,
// but its header alone costs more to parse than the rest of `base` together.
#ifndef RUNNEL_BASE_BYTES_HPP
#define RUNNEL_BASE_BYTES_HPP

#include <cstddef>      // byte, size_t
#include <type_traits>  // is_constant_evaluated

namespace runnel {

/// A non-owning window onto `size()` bytes, `Byte` being `std::byte` (writable) or `const std::byte`.
/// The bytes must outlive it. Converts from anything contiguous that has `data()` and `size()`.
template <class Byte>
class byte_window {
 public:
  constexpr byte_window() noexcept = default;
  /// `size` bytes from `data` on.
  constexpr byte_window(Byte* data, std::size_t size) noexcept : data_(data), size_(size) {}
  /// All of an array.
  template <std::size_t N>
  constexpr byte_window(Byte (&array)[N]) noexcept : data_(array), size_(N) {}
  /// All of anything contiguous that has `data()` and `size()`.
  template <class Range>
    requires requires(Range& r) {
      static_cast<Byte*>(r.data());
      static_cast<std::size_t>(r.size());
    }
  constexpr byte_window(Range&& range) noexcept : data_(range.data()), size_(static_cast<std::size_t>(range.size())) {}

  /// The first byte; null only in a window that was given none.
  [[nodiscard]] constexpr Byte* data() const noexcept { return data_; }
  /// How many bytes.
  [[nodiscard]] constexpr std::size_t size() const noexcept { return size_; }
  /// Whether there are none.
  [[nodiscard]] constexpr bool empty() const noexcept { return size_ == 0; }
  /// For loops over the bytes. @{
  [[nodiscard]] constexpr Byte* begin() const noexcept { return data_; }
  [[nodiscard]] constexpr Byte* end() const noexcept { return data_ + size_; }
  /// @}
  /// The byte at `i`; `i < size()` is the caller's promise, asserted.
  [[nodiscard]] constexpr Byte& operator[](std::size_t i) const noexcept {
    RUNNEL_ASSERT(i < size_);
    return data_[i];
  }
  /// The first `n` bytes, or all of them when there are fewer.
  [[nodiscard]] constexpr byte_window first(std::size_t n) const noexcept { return {data_, n < size_ ? n : size_}; }
  /// What follows the first `n` bytes; empty when there are no more than `n`.
  [[nodiscard]] constexpr byte_window from(std::size_t n) const noexcept {
    return n < size_ ? byte_window{data_ + n, size_ - n} : byte_window{data_ + size_, 0};
  }

 private:
  Byte* data_ = nullptr;
  std::size_t size_ = 0;
};

/// Bytes to read.
using bytes = byte_window<const std::byte>;
/// Bytes to write to.
using mutable_bytes = byte_window<std::byte>;

/// Whether two windows hold the same bytes.
[[nodiscard]] constexpr bool equal(bytes a, bytes b) noexcept {
  if (a.size() != b.size()) return false;
  if (!std::is_constant_evaluated()) return a.empty() || __builtin_memcmp(a.data(), b.data(), a.size()) == 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (a[i] != b[i]) return false;
  return true;
}

/// Copies `n` bytes; the ranges do not overlap.
constexpr void copy_bytes(std::byte* to, const std::byte* from, std::size_t n) noexcept {
  if (!std::is_constant_evaluated()) {
    if (n != 0) __builtin_memcpy(to, from, n);
    return;
  }
  for (std::size_t i = 0; i < n; ++i) to[i] = from[i];
}

/// Sets `n` bytes to zero.
constexpr void zero_bytes(std::byte* at, std::size_t n) noexcept {
  if (!std::is_constant_evaluated()) {
    if (n != 0) __builtin_memset(at, 0, n);
    return;
  }
  for (std::size_t i = 0; i < n; ++i) at[i] = std::byte{0};
}

}  // namespace runnel

#endif

// ==== runnel/base/endian.hpp =========================================================================================
// Loads and stores of whole numbers in network (big-endian), little-endian and host order, at any alignment.
#ifndef RUNNEL_BASE_ENDIAN_HPP
#define RUNNEL_BASE_ENDIAN_HPP

#include <cstddef>      // byte, size_t
#include <cstdint>      // uint16_t, uint32_t, uint64_t
#include <type_traits>  // is_constant_evaluated

namespace runnel {

/// Whether this target stores the least significant byte first.
inline constexpr bool little_endian_host = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__;

/// The same number with its bytes in the other order. @{
[[nodiscard]] constexpr std::uint16_t byte_swap(std::uint16_t v) noexcept { return __builtin_bswap16(v); }
[[nodiscard]] constexpr std::uint32_t byte_swap(std::uint32_t v) noexcept { return __builtin_bswap32(v); }
[[nodiscard]] constexpr std::uint64_t byte_swap(std::uint64_t v) noexcept { return __builtin_bswap64(v); }
/// @}

namespace detail {

template <class T>
[[nodiscard]] RUNNEL_INLINE constexpr T load(const std::byte* p) noexcept {
  if (std::is_constant_evaluated()) {
    T v = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i) {
      const std::size_t shift = 8 * (little_endian_host ? i : sizeof(T) - 1 - i);
      v = static_cast<T>(v | static_cast<T>(static_cast<T>(p[i]) << shift));
    }
    return v;
  }
  T v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}

template <class T>
RUNNEL_INLINE constexpr void store(std::byte* p, T v) noexcept {
  if (std::is_constant_evaluated()) {
    for (std::size_t i = 0; i < sizeof(T); ++i) {
      const std::size_t shift = 8 * (little_endian_host ? i : sizeof(T) - 1 - i);
      p[i] = static_cast<std::byte>((v >> shift) & 0xff);
    }
    return;
  }
  __builtin_memcpy(p, &v, sizeof v);
}

template <class T>
[[nodiscard]] constexpr T to_big(T v) noexcept {
  return little_endian_host ? byte_swap(v) : v;
}
template <class T>
[[nodiscard]] constexpr T to_little(T v) noexcept {
  return little_endian_host ? v : byte_swap(v);
}

// Stores four members that lie side by side, the first at `to`, as one word.
template <class Word>
RUNNEL_INLINE void store_side_by_side(void* to, Word a, Word b, Word c, Word d) noexcept {
  constexpr unsigned width = sizeof(Word) * 2;
  const Word word = little_endian_host ? static_cast<Word>(a | b << width | c << width * 2 | d << width * 3)
                                       : static_cast<Word>(d | c << width | b << width * 2 | a << width * 3);
  __builtin_memcpy(to, &word, sizeof word);
}

}  // namespace detail

// Each reads or writes exactly the bytes of its width at `p`, which needs no alignment.
/// Reads a number in the order and size of its name from any address: `be` is network order. Nothing is checked. @{
[[nodiscard]] constexpr std::uint8_t load_u8(const std::byte* p) noexcept { return static_cast<std::uint8_t>(*p); }
[[nodiscard]] constexpr std::uint16_t load_be16(const std::byte* p) noexcept {
  return detail::to_big(detail::load<std::uint16_t>(p));
}
[[nodiscard]] constexpr std::uint32_t load_be32(const std::byte* p) noexcept {
  return detail::to_big(detail::load<std::uint32_t>(p));
}
[[nodiscard]] constexpr std::uint64_t load_be64(const std::byte* p) noexcept {
  return detail::to_big(detail::load<std::uint64_t>(p));
}
[[nodiscard]] constexpr std::uint16_t load_le16(const std::byte* p) noexcept {
  return detail::to_little(detail::load<std::uint16_t>(p));
}
[[nodiscard]] constexpr std::uint32_t load_le32(const std::byte* p) noexcept {
  return detail::to_little(detail::load<std::uint32_t>(p));
}
[[nodiscard]] constexpr std::uint64_t load_le64(const std::byte* p) noexcept {
  return detail::to_little(detail::load<std::uint64_t>(p));
}
/// @}
/// Writes a number in the order and size of its name to any address: `be` is network order. Nothing is checked. @{
constexpr void store_u8(std::byte* p, std::uint8_t v) noexcept { *p = static_cast<std::byte>(v); }
constexpr void store_be16(std::byte* p, std::uint16_t v) noexcept { detail::store(p, detail::to_big(v)); }
constexpr void store_be32(std::byte* p, std::uint32_t v) noexcept { detail::store(p, detail::to_big(v)); }
constexpr void store_be64(std::byte* p, std::uint64_t v) noexcept { detail::store(p, detail::to_big(v)); }
constexpr void store_le16(std::byte* p, std::uint16_t v) noexcept { detail::store(p, detail::to_little(v)); }
constexpr void store_le32(std::byte* p, std::uint32_t v) noexcept { detail::store(p, detail::to_little(v)); }
constexpr void store_le64(std::byte* p, std::uint64_t v) noexcept { detail::store(p, detail::to_little(v)); }
/// @}

/// The three bytes at `p` as a number, most significant first (MPLS labels, VXLAN network identifiers).
[[nodiscard]] constexpr std::uint32_t load_be24(const std::byte* p) noexcept {
  return static_cast<std::uint32_t>(load_u8(p)) << 16 | load_be16(p + 1);
}
/// Writes the low 24 bits of `v` to the three bytes at `p`, most significant first.
constexpr void store_be24(std::byte* p, std::uint32_t v) noexcept {
  store_u8(p, static_cast<std::uint8_t>(v >> 16));
  store_be16(p + 1, static_cast<std::uint16_t>(v));
}

}  // namespace runnel

#endif

// ==== runnel/base/text.hpp ===========================================================================================
// Text without allocation: an appender over a buffer of fixed size, with the number formats that packets need.
#ifndef RUNNEL_BASE_TEXT_HPP
#define RUNNEL_BASE_TEXT_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint64_t

namespace runnel {

/// Appends text to a buffer that somebody else owns. Text that does not fit goes to the `on_full` function when one
/// was given (the buffer then starts again from its beginning), and is cut otherwise: `truncated()` says so.
/// Always zero-terminated.
class text_writer {
 public:
  /// Takes what is in a full buffer; `context` is what the writer was given.
  using flush_function = void (*)(void* context, const char* text, std::size_t size);

  /// Writes to `buffer` of `capacity` characters, at least 2 (RUNNEL_ASSERT); both must outlive the writer.
  constexpr text_writer(char* buffer, std::size_t capacity, flush_function on_full = nullptr,
                        void* context = nullptr) noexcept
      : buffer_(buffer), capacity_(capacity), flush_(on_full), context_(context) {
    RUNNEL_ASSERT(capacity >= 2);
    buffer_[0] = '\0';
  }
  text_writer(const text_writer&) = delete;
  text_writer& operator=(const text_writer&) = delete;

  /// Appends one character.
  constexpr text_writer& operator<<(char c) noexcept {
    if (size_ + 1 >= capacity_) {
      if (flush_ == nullptr) {
        truncated_ = true;
        return *this;
      }
      flush();
    }
    buffer_[size_++] = c;
    buffer_[size_] = '\0';
    return *this;
  }
  /// Appends a zero-terminated text.
  constexpr text_writer& operator<<(const char* s) noexcept {
    while (*s != '\0') *this << *s++;
    return *this;
  }
  /// Appends a number in decimal. @{
  constexpr text_writer& operator<<(std::uint64_t n) noexcept { return number(n, 10, 1); }
  constexpr text_writer& operator<<(std::uint32_t n) noexcept { return number(n, 10, 1); }
  constexpr text_writer& operator<<(std::uint16_t n) noexcept { return number(n, 10, 1); }
  constexpr text_writer& operator<<(std::uint8_t n) noexcept { return number(n, 10, 1); }
  constexpr text_writer& operator<<(std::int64_t n) noexcept {
    if (n < 0) *this << '-';
    return number(n < 0 ? std::uint64_t{0} - static_cast<std::uint64_t>(n) : static_cast<std::uint64_t>(n), 10, 1);
  }
  constexpr text_writer& operator<<(std::int32_t n) noexcept { return *this << std::int64_t{n}; }
  /// @}

  /// `n` in base 2 to 16, with zeros in front up to `digits`.
  constexpr text_writer& number(std::uint64_t n, unsigned base, unsigned digits) noexcept {
    char reversed[64] = {};
    unsigned count = 0;
    do {
      reversed[count++] = "0123456789abcdef"[n % base];
      n /= base;
    } while (n != 0);
    while (count < digits && count < sizeof reversed) reversed[count++] = '0';
    while (count != 0) *this << reversed[--count];
    return *this;
  }
  /// `n` in hexadecimal without a prefix, with zeros in front up to `digits`.
  constexpr text_writer& hex(std::uint64_t n, unsigned digits = 1) noexcept { return number(n, 16, digits); }
  /// `n` with an apostrophe between groups of three digits: 1'234'567.
  constexpr text_writer& grouped(std::uint64_t n) noexcept {
    if (n >= 1000) {
      grouped(n / 1000) << '\'';
      return number(n % 1000, 10, 3);
    }
    return *this << n;
  }
  /// Spaces until `column` characters stand on the current line.
  constexpr text_writer& pad_to(std::size_t column) noexcept {
    std::size_t line = size_;
    while (line != 0 && buffer_[line - 1] != '\n') --line;
    for (std::size_t at = size_ - line; at < column; ++at) *this << ' ';
    return *this;
  }

  /// Hands what the buffer holds to the flush function, if there is one.
  constexpr void flush() noexcept {
    if (flush_ == nullptr || size_ == 0) return;
    flush_(context_, buffer_, size_);
    clear();
  }
  /// Empties the buffer without flushing it.
  constexpr void clear() noexcept {
    size_ = 0;
    buffer_[0] = '\0';
  }
  /// What the buffer holds, zero-terminated.
  [[nodiscard]] constexpr const char* c_str() const noexcept { return buffer_; }
  /// How many characters the buffer holds.
  [[nodiscard]] constexpr std::size_t size() const noexcept { return size_; }
  /// Whether something was cut for want of room.
  [[nodiscard]] constexpr bool truncated() const noexcept { return truncated_; }

 private:
  char* buffer_;
  std::size_t capacity_;
  std::size_t size_ = 0;
  flush_function flush_;
  void* context_;
  bool truncated_ = false;
};

namespace detail {
template <std::size_t N>
struct text_storage {
  char characters[N] = {};
};
}  // namespace detail

/// A text_writer with its own buffer of `N` bytes (terminator included): a line of a printer, a name, an error.
template <std::size_t N = 256>
class text : private detail::text_storage<N>, public text_writer {
 public:
  constexpr text() noexcept : text_writer(detail::text_storage<N>::characters, N) {}
};

/// Whether two zero-terminated texts are the same.
[[nodiscard]] constexpr bool same_text(const char* a, const char* b) noexcept {
  while (*a != '\0' && *a == *b) ++a, ++b;
  return *a == *b;
}

}  // namespace runnel

#endif

// ==== runnel/base/error.hpp ==========================================================================================
// Why something could not be opened or configured, in words that a person can act on.
#ifndef RUNNEL_BASE_ERROR_HPP
#define RUNNEL_BASE_ERROR_HPP

namespace runnel {

/// What failed, on what, why, and what to do about it. Copies its texts, up to 255 bytes in all; no allocation.
///
///     pcap: open capture.pcap: No such file or directory: give the path of a capture, or - for standard input
class error {
 public:
  /// `where` is the part of the library, `what` the step, `on` the thing it was done to (may be empty), `why` the
  /// cause, `advice` what to do (may be empty). `number` is the errno, 0 when there is none.
  error(const char* where, const char* what, const char* on, const char* why, const char* advice = "",
        int number = 0) noexcept
      : number_(number) {
    text<sizeof message_> line;
    line << where << ": " << what;
    if (*on != '\0') line << ' ' << on;
    line << ": " << why;
    if (*advice != '\0') line << ": " << advice;
    for (std::size_t i = 0; i <= line.size(); ++i) message_[i] = line.c_str()[i];
  }
  /// The whole sentence, without a newline.
  [[nodiscard]] const char* message() const noexcept { return message_; }
  /// The system's error number, 0 when the system was not asked.
  [[nodiscard]] int number() const noexcept { return number_; }

 private:
  char message_[256];
  int number_;
};

}  // namespace runnel

#endif

// ==== runnel/base/hash.hpp ===========================================================================================
// Hashes for tables: a 64-bit finaliser for numbers, and a hash of short keys that reads them as overlapping words.
//
// The key hash multiplies 64 by 64 bits and adds the halves of the product, as wyhash and its kin do. Every bit of
// the input reaches every bit of the output with a probability close to one half, so any bits of it may be used as a
// table index. The seed keeps somebody who does not see the hashes from choosing keys that collide; it is no
// cryptographic hash, and not to be used where an attacker can see its values (cookies, identifiers on the wire).
// The result depends on the host's byte order, and may change between versions: do not store it.
#ifndef RUNNEL_BASE_HASH_HPP
#define RUNNEL_BASE_HASH_HPP

#include <cstddef>      // byte, size_t
#include <cstdint>      // uint64_t
#include <type_traits>  // has_unique_object_representations_v

namespace runnel {

/// Mixes 64 bits so that each bit of the input changes each bit of the output with a probability close to one half.
/// A bijection: different numbers stay different, and 0 stays 0. Two multiplications, about ten cycles of latency. The
/// constants are David Stafford's variant 13 of MurmurHash3's finaliser, as in SplitMix64.
[[nodiscard]] constexpr std::uint64_t mix(std::uint64_t x) noexcept {
  x = (x ^ x >> 30) * 0xbf58'476d'1ce4'e5b9;
  x = (x ^ x >> 27) * 0x94d0'49bb'1331'11eb;
  return x ^ x >> 31;
}

namespace detail {

// The digits of the golden ratio, of pi and of e, made odd: nothing is hidden in them.
inline constexpr std::uint64_t hash_a = 0x9e37'79b9'7f4a'7c15;
inline constexpr std::uint64_t hash_b = 0x243f'6a88'85a3'08d3;
inline constexpr std::uint64_t hash_c = 0xb7e1'5162'8aed'2a6b;

// The 128-bit product of two words, its halves xored.
[[nodiscard]] RUNNEL_INLINE constexpr std::uint64_t multiply_fold(std::uint64_t a, std::uint64_t b) noexcept {
#ifdef __SIZEOF_INT128__
  __extension__ using wide = unsigned __int128;
  const wide product = static_cast<wide>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
#else
  const std::uint64_t al = a & 0xffff'ffff, ah = a >> 32, bl = b & 0xffff'ffff, bh = b >> 32;
  const std::uint64_t low = al * bl, m1 = ah * bl, m2 = al * bh;
  const std::uint64_t middle = (low >> 32) + (m1 & 0xffff'ffff) + (m2 & 0xffff'ffff);
  const std::uint64_t high = ah * bh + (m1 >> 32) + (m2 >> 32) + (middle >> 32);
  return (middle << 32 | (low & 0xffff'ffff)) ^ high;
#endif
}

// One step over 16 bytes. A state that happens to cancel `a` forgets `b`: one in 2^64 for who does not know the seed.
[[nodiscard]] RUNNEL_INLINE constexpr std::uint64_t hash_step(std::uint64_t state, std::uint64_t a,
                                                              std::uint64_t b) noexcept {
  return multiply_fold(a ^ state, b ^ hash_b ^ (state >> 32 | state << 32));
}

// `n` bytes with a state that already knows seed and length. Inlined where `n` is a constant: then no branch is left.
[[nodiscard]] RUNNEL_INLINE constexpr std::uint64_t hash_run(const std::byte* p, std::size_t n,
                                                             std::uint64_t state) noexcept {
  const std::uint64_t begun = state;
  std::uint64_t a = 0;
  std::uint64_t b = 0;
  if (n >= 8) {
    std::size_t left = n;
    for (; left > 16; left -= 16, p += 16) state = hash_step(state, load<std::uint64_t>(p), load<std::uint64_t>(p + 8));
    // The last word ends at the end of the key, and overlaps what was read before where it must.
    a = left >= 8 ? load<std::uint64_t>(p) : load<std::uint64_t>(p + left - 16);
    b = load<std::uint64_t>(p + left - 8);
  } else if (n >= 4) {
    a = load<std::uint32_t>(p);
    b = load<std::uint32_t>(p + n - 4);
  } else if (n != 0) {
    a = std::uint64_t{load_u8(p)} << 16 | std::uint64_t{load_u8(p + n / 2)} << 8 | load_u8(p + n - 1);
  }
  return multiply_fold(hash_step(state, a, b) ^ begun, hash_c);
}

[[nodiscard]] RUNNEL_INLINE constexpr std::uint64_t hash_begin(std::size_t n, std::uint64_t seed) noexcept {
  return multiply_fold(seed ^ hash_a, hash_c ^ n);
}

}  // namespace detail

/// Hashes two words (or one, and a constant) with a seed: for keys that are numbers. Three multiplications, of which
/// two wait for the words.
[[nodiscard]] constexpr std::uint64_t hash_words(std::uint64_t a, std::uint64_t b, std::uint64_t seed) noexcept {
  const std::uint64_t begun = detail::hash_begin(16, seed);
  return detail::multiply_fold(detail::hash_step(begun, a, b) ^ begun, detail::hash_c);
}

/// Hashes the bytes of `key` with a seed. The length counts: a key and the same key with a zero behind it differ.
/// Reads nothing outside the key. O(n): three multiplications up to 16 bytes, one more for each further 16.
[[nodiscard]] constexpr std::uint64_t hash_bytes(bytes key, std::uint64_t seed) noexcept {
  return detail::hash_run(key.data(), key.size(), detail::hash_begin(key.size(), seed));
}

/// The same for a struct of fixed size, without a branch: the key of a flow table. `Key` may have no padding and no
/// two representations of one value, since its bytes are what is hashed.
template <class Key>
[[nodiscard]] RUNNEL_INLINE std::uint64_t hash_key(const Key& key, std::uint64_t seed) noexcept {
  static_assert(std::has_unique_object_representations_v<Key>,
                "runnel: a key with padding hashes bytes that nobody set; order its members, or pad it by name");
  return detail::hash_run(reinterpret_cast<const std::byte*>(&key), sizeof key, detail::hash_begin(sizeof key, seed));
}

}  // namespace runnel

#endif

// ==== runnel/base/numeric.hpp ========================================================================================
// Small sums that sizes, rings and tables keep needing: powers of two, rounding up, checked narrowing.
#ifndef RUNNEL_BASE_NUMERIC_HPP
#define RUNNEL_BASE_NUMERIC_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint32_t, uint64_t

namespace runnel {

/// Whether `n` is 1, 2, 4, 8, ...
[[nodiscard]] constexpr bool is_power_of_two(std::uint64_t n) noexcept { return n != 0 && (n & (n - 1)) == 0; }

/// The exponent of the largest power of two that is not above `n`: 0 for 1, 1 for 2 and 3. `n` is not 0 (asserted).
[[nodiscard]] constexpr unsigned floor_log2(std::uint64_t n) noexcept {
  RUNNEL_ASSERT(n != 0);
  return 63u - static_cast<unsigned>(__builtin_clzll(n));
}

/// The largest power of two that is not above `n`; 0 for 0.
[[nodiscard]] constexpr std::uint64_t floor_power_of_two(std::uint64_t n) noexcept {
  return n == 0 ? 0 : std::uint64_t{1} << floor_log2(n);
}

/// The smallest power of two that is not below `n`; 1 for 0. `n` is at most 2^63 (asserted).
[[nodiscard]] constexpr std::uint64_t ceil_power_of_two(std::uint64_t n) noexcept {
  RUNNEL_ASSERT(n <= std::uint64_t{1} << 63);
  return n <= 1 ? 1 : std::uint64_t{1} << (floor_log2(n - 1) + 1);
}

/// `n / by`, rounded up. `by` is not 0. No overflow, whatever `n`.
[[nodiscard]] constexpr std::size_t divide_up(std::size_t n, std::size_t by) noexcept {
  return n / by + (n % by != 0 ? 1 : 0);
}

/// The smallest multiple of `to`, a power of two, that is not below `n`.
[[nodiscard]] constexpr std::size_t align_up(std::size_t n, std::size_t to) noexcept {
  return (n + (to - 1)) & ~(to - 1);
}

/// `value` as a `To`, which must be able to hold it (RUNNEL_ASSERT).
template <class To, class From>
[[nodiscard]] constexpr To narrow(From value) noexcept {
  const To result = static_cast<To>(value);
  RUNNEL_ASSERT(static_cast<From>(result) == value && (result < To{}) == (value < From{}));
  return result;
}

/// Spreads a hash of 32 evenly distributed bits over `[0, n)` with one multiplication (Lemire). For `n` that are not
/// powers of two; the high bits of the hash decide.
[[nodiscard]] constexpr std::uint32_t spread_over(std::uint32_t hash, std::uint32_t n) noexcept {
  return static_cast<std::uint32_t>((std::uint64_t{hash} * n) >> 32);
}

}  // namespace runnel

#endif

// ==== runnel/base/prefetch.hpp =======================================================================================
// Brings memory near before it is needed: hints to the processor that a compiler may not throw away.
#ifndef RUNNEL_BASE_PREFETCH_HPP
#define RUNNEL_BASE_PREFETCH_HPP

namespace runnel {

namespace detail {
// Without it GCC takes a function that does nothing but `__builtin_prefetch` for one without any effect, and leaves out
// calls of it.
RUNNEL_INLINE void keep_what_follows() noexcept { asm volatile(""); }
}  // namespace detail

/// Begins to load the cache line at `at`, which may be any address, also one that cannot be read. For the `prefetch`
/// of a stage. Costs an instruction, and one of the few loads that a processor has under way at once (10 to 48).
RUNNEL_INLINE void prefetch_to_read(const void* at) noexcept {
  detail::keep_what_follows();
  __builtin_prefetch(at, 0);
}
/// The same for a line that will be written to.
RUNNEL_INLINE void prefetch_to_write(const void* at) noexcept {
  detail::keep_what_follows();
  __builtin_prefetch(at, 1);
}

}  // namespace runnel

#endif

// ==== runnel/base/random.hpp =========================================================================================
// A random generator from a seed, the same numbers on every machine: for simulated wires, tests, jitter. Not for
// secrets. xoshiro256**, seeded by splitmix64 (Blackman and Vigna, https://prng.di.unimi.it).
#ifndef RUNNEL_BASE_RANDOM_HPP
#define RUNNEL_BASE_RANDOM_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint32_t, uint64_t

namespace runnel {

/// Whoever needs randomness takes one of these as an argument, or a seed. 32 bytes; a number costs about a nanosecond.
/// Anybody who sees a few numbers can tell all the others.
class random_generator {
 public:
  /// Any seed is as good as any other, 0 too; neighbouring ones give unrelated numbers.
  constexpr explicit random_generator(std::uint64_t seed) noexcept {
    for (std::uint64_t& s : state_) {
      seed += 0x9e37'79b9'7f4a'7c15;
      std::uint64_t z = seed;
      z = (z ^ z >> 30) * 0xbf58'476d'1ce4'e5b9;
      z = (z ^ z >> 27) * 0x94d0'49bb'1331'11eb;
      s = z ^ z >> 31;
    }
  }
  /// 64 random bits.
  constexpr std::uint64_t next() noexcept {
    const std::uint64_t drawn = rotate(state_[1] * 5, 7) * 9;
    const std::uint64_t t = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= t;
    state_[3] = rotate(state_[3], 45);
    return drawn;
  }
  /// A number from 0 to `n - 1`, each as likely as any other; 0 when `n` is 0. Draws again while the number would
  /// favour some of them, which is less than once on average.
  constexpr std::uint64_t below(std::uint64_t n) noexcept {
    if (n <= 1) return 0;
    if (n <= 0xffff'ffff) {
      // Lemire, "Fast random integer generation in an interval": the upper half of a product, and only the products
      // of an incomplete lap are refused.
      const auto bound = static_cast<std::uint32_t>(n);
      std::uint64_t product = (next() >> 32) * bound;
      if (static_cast<std::uint32_t>(product) < bound) {
        const std::uint32_t refused = (0u - bound) % bound;
        while (static_cast<std::uint32_t>(product) < refused) product = (next() >> 32) * bound;
      }
      return product >> 32;
    }
    const std::uint64_t mask = ~std::uint64_t{0} >> __builtin_clzll(n - 1);
    std::uint64_t v = next() & mask;
    while (v >= n) v = next() & mask;
    return v;
  }
  /// True `per_million` times in a million. 0 is never and 1'000'000 always; neither draws a number.
  constexpr bool chance(std::uint32_t per_million) noexcept {
    if (per_million == 0) return false;
    return per_million >= 1'000'000 || below(1'000'000) < per_million;
  }
  /// Random bytes.
  constexpr void fill(mutable_bytes to) noexcept {
    std::uint64_t v = 0;
    for (std::size_t i = 0; i < to.size(); ++i, v >>= 8) {
      if (i % 8 == 0) v = next();
      to[i] = static_cast<std::byte>(v & 0xff);
    }
  }

 private:
  static constexpr std::uint64_t rotate(std::uint64_t v, unsigned by) noexcept { return v << by | v >> (64 - by); }

  std::uint64_t state_[4] = {};
};

}  // namespace runnel

#endif

// ==== runnel/base/result.hpp =========================================================================================
// A value or the reason why there is none: the return type of everything that opens, configures or parses.
#ifndef RUNNEL_BASE_RESULT_HPP
#define RUNNEL_BASE_RESULT_HPP

#include <new>  // placement new

namespace runnel {

namespace detail {

// A value or an error, copied and destroyed trivially if both are. Two classes, because Clang below 16 cannot choose
// between two constrained destructors of one. The builtin, because each result would instantiate a dozen classes of the
// standard traits.
template <class T, class E, bool Trivial = __is_trivially_copyable(T) && __is_trivially_copyable(E)>
struct result_storage {
  constexpr explicit result_storage(T&& value) noexcept : value_(static_cast<T&&>(value)), good_(true) {}
  constexpr explicit result_storage(E&& error) noexcept : error_(static_cast<E&&>(error)), good_(false) {}
  union {
    T value_;
    E error_;
  };
  const bool good_;  // so a result cannot be assigned to
};
template <class T, class E>
struct result_storage<T, E, false> {
  constexpr explicit result_storage(T&& value) noexcept : value_(static_cast<T&&>(value)), good_(true) {}
  constexpr explicit result_storage(E&& error) noexcept : error_(static_cast<E&&>(error)), good_(false) {}
  constexpr result_storage(result_storage&& other) noexcept : nothing_{}, good_(other.good_) {
    if (good_) ::new (static_cast<void*>(&value_)) T(static_cast<T&&>(other.value_));
    else ::new (static_cast<void*>(&error_)) E(static_cast<E&&>(other.error_));
  }
  constexpr ~result_storage() {
    if (good_) value_.~T();
    else error_.~E();
  }
  union {
    char nothing_;
    T value_;
    E error_;
  };
  const bool good_;
};

}  // namespace detail

/// Holds either a `T` or an `E`. Test it like a pointer, then read it like one:
///
///     auto header = ipv4::parse(bytes);
///     if (!header) return drop(header.error());
///     use(header->source());
///
/// Reading the value of a failed result, or the error of a good one, is a programming error (RUNNEL_ASSERT). It can be
/// moved, and copied where both can be without a function call; it cannot be assigned to.
template <class T, class E>
class [[nodiscard]] result : private detail::result_storage<T, E> {
 public:
  /// What it holds. @{
  using value_type = T;
  using error_type = E;
  /// @}

  /// A good result.
  constexpr result(T value) noexcept : storage(static_cast<T&&>(value)) {}
  /// A failed one.
  constexpr result(E error) noexcept : storage(static_cast<E&&>(error)) {}

  /// Whether it holds a value. @{
  [[nodiscard]] constexpr explicit operator bool() const noexcept { return good_; }
  [[nodiscard]] constexpr bool has_value() const noexcept { return good_; }
  /// @}
  /// The value. Asking a failed result for it is a programming error (RUNNEL_ASSERT). @{
  [[nodiscard]] constexpr T& operator*() & noexcept { return value(); }
  [[nodiscard]] constexpr const T& operator*() const& noexcept { return value(); }
  [[nodiscard]] constexpr T&& operator*() && noexcept { return static_cast<T&&>(value()); }
  [[nodiscard]] constexpr T* operator->() noexcept { return &value(); }
  [[nodiscard]] constexpr const T* operator->() const noexcept { return &value(); }
  [[nodiscard]] constexpr T& value() & noexcept {
    RUNNEL_ASSERT(good_);
    return value_;
  }
  [[nodiscard]] constexpr const T& value() const& noexcept {
    RUNNEL_ASSERT(good_);
    return value_;
  }
  [[nodiscard]] constexpr T&& value() && noexcept {
    RUNNEL_ASSERT(good_);
    return static_cast<T&&>(value_);
  }
  /// @}
  /// The error. Asking a good result for it is a programming error (RUNNEL_ASSERT).
  [[nodiscard]] constexpr const E& error() const noexcept {
    RUNNEL_ASSERT(!good_);
    return error_;
  }

 private:
  using storage = detail::result_storage<T, E>;
  using storage::error_;
  using storage::good_;
  using storage::value_;
};

}  // namespace runnel

#endif

// ==== runnel/base/ring.hpp ===========================================================================================
// A bounded ring between one producer and one consumer, without locks: the only thing that crosses threads on the
// data path.
//
// Each side owns one index, on cache lines of its own, and remembers what it last read of the other's. It reads the
// other's index again only when the ring looks full (or empty) by what it remembers, so that in steady state the
// line moves between the cores once for many elements. Indices run on for ever; the slot is the index modulo the
// capacity, a power of two.
#ifndef RUNNEL_BASE_RING_HPP
#define RUNNEL_BASE_RING_HPP

#include <cstddef>      // byte, size_t
#include <cstdint>      // uintptr_t
#include <new>          // placement new
#include <type_traits>  // is_trivially_copyable_v

namespace runnel {

namespace detail {

// Two cache lines: processors fetch neighbouring lines in pairs.
inline constexpr std::size_t ring_line = 128;

// The slots of a ring: inside it, or, for capacity 0, where the user said.
template <class T, std::size_t Capacity>
class ring_slots {
 protected:
  static_assert(is_power_of_two(Capacity), "runnel: the capacity of a ring is a power of two");
  [[nodiscard]] static constexpr std::size_t mask() noexcept { return Capacity - 1; }
  [[nodiscard]] T* slots() noexcept { return reinterpret_cast<T*>(memory_); }

 private:
  alignas(ring_line) alignas(T) std::byte memory_[Capacity * sizeof(T)];
};
template <class T>
class ring_slots<T, 0> {
 protected:
  ring_slots(T* slots, std::size_t mask) noexcept : slots_(slots), mask_(mask) {}
  [[nodiscard]] std::size_t mask() const noexcept { return mask_; }
  [[nodiscard]] T* slots() noexcept { return slots_; }

 private:
  T* slots_;
  std::size_t mask_;
};

}  // namespace detail

/// A ring of `Capacity` elements (a power of two) with slots of its own, or, with `Capacity` 0, in memory given at
/// construction. One thread calls `push`, one (the same or another) calls `pop`; never two at once. `T` is moved in
/// and out and must not throw. Never blocks: a full ring takes less than it is offered, an empty one gives nothing.
/// What is in it when it is destroyed is destroyed.
template <class T, std::size_t Capacity = 0>
class spsc_ring : private detail::ring_slots<T, Capacity> {
  static_assert(std::is_nothrow_move_constructible_v<T> && std::is_nothrow_move_assignable_v<T>,
                "runnel: elements of a ring are moved in and out, and must not throw meanwhile");
  using base = detail::ring_slots<T, Capacity>;

 public:
  spsc_ring() noexcept
    requires(Capacity != 0)
  = default;
  /// A ring in `memory`, which stays the caller's, must outlive it, and be aligned for `T` (asserted). It holds the
  /// largest power of two of elements that fits, at least one (asserted).
  explicit spsc_ring(mutable_bytes memory) noexcept
    requires(Capacity == 0)
      : base(static_cast<T*>(static_cast<void*>(memory.data())),
             static_cast<std::size_t>(floor_power_of_two(memory.size() / sizeof(T))) - 1) {
    RUNNEL_ASSERT(memory.size() >= sizeof(T) && reinterpret_cast<std::uintptr_t>(memory.data()) % alignof(T) == 0);
  }
  spsc_ring(const spsc_ring&) = delete;
  spsc_ring& operator=(const spsc_ring&) = delete;
  ~spsc_ring() {
    for (std::size_t i = consumer_.index; i != producer_.index; ++i) slot(i).~T();
  }

  /// Moves the first `n` elements at `from` into the ring, or as many as have room, and says how many. Producer only.
  [[nodiscard]] std::size_t push(T* from, std::size_t n) noexcept {
    const std::size_t at = producer_.index;
    n = room_for(at, n);
    const std::size_t place = at & base::mask();
    const std::size_t to_the_end = capacity() - place;
    const std::size_t first = n < to_the_end ? n : to_the_end;
    move_in(base::slots() + place, from, first);
    if (first != n) move_in(base::slots(), from + first, n - first);
    __atomic_store_n(&producer_.index, at + n, __ATOMIC_RELEASE);
    return n;
  }
  /// Moves one element into the ring. False, and the element is still the caller's, when it is full. Producer only.
  [[nodiscard]] bool push(T&& element) noexcept {
    const std::size_t at = producer_.index;
    if (room_for(at, 1) == 0) return false;
    ::new (static_cast<void*>(&slot(at))) T(static_cast<T&&>(element));
    __atomic_store_n(&producer_.index, at + 1, __ATOMIC_RELEASE);
    return true;
  }
  /// Moves up to `n` of the oldest elements to `to`, and says how many. Consumer only.
  [[nodiscard]] std::size_t pop(T* to, std::size_t n) noexcept {
    const std::size_t at = consumer_.index;
    n = filled_of(at, n);
    const std::size_t place = at & base::mask();
    const std::size_t to_the_end = capacity() - place;
    const std::size_t first = n < to_the_end ? n : to_the_end;
    move_out(to, base::slots() + place, first);
    if (first != n) move_out(to + first, base::slots(), n - first);
    __atomic_store_n(&consumer_.index, at + n, __ATOMIC_RELEASE);
    return n;
  }
  /// Moves the oldest element to `to`. False, and nothing changed, when there is none. Consumer only.
  [[nodiscard]] bool pop(T& to) noexcept { return pop(&to, 1) == 1; }

  /// How many elements fit.
  [[nodiscard]] std::size_t capacity() const noexcept { return base::mask() + 1; }
  /// Elements in the ring: exact for the two sides' own thread when the other is at rest, a moment old otherwise.
  [[nodiscard]] std::size_t size() const noexcept {
    const std::size_t out = __atomic_load_n(&consumer_.index, __ATOMIC_ACQUIRE);
    return __atomic_load_n(&producer_.index, __ATOMIC_ACQUIRE) - out;
  }
  /// Whether there is none; as exact as `size()`.
  [[nodiscard]] bool empty() const noexcept { return size() == 0; }

 private:
  struct alignas(detail::ring_line) side {
    std::size_t index = 0;   // written by its owner only
    std::size_t others = 0;  // the other side's index, when its owner last looked
  };

  [[nodiscard]] T& slot(std::size_t i) noexcept { return base::slots()[i & base::mask()]; }
  [[nodiscard]] RUNNEL_INLINE std::size_t room_for(std::size_t at, std::size_t n) noexcept {
    std::size_t room = capacity() - (at - producer_.others);
    if (room < n) {
      producer_.others = __atomic_load_n(&consumer_.index, __ATOMIC_ACQUIRE);
      room = capacity() - (at - producer_.others);
    }
    return n < room ? n : room;
  }
  [[nodiscard]] RUNNEL_INLINE std::size_t filled_of(std::size_t at, std::size_t n) noexcept {
    std::size_t filled = consumer_.others - at;
    if (filled < n) {
      consumer_.others = __atomic_load_n(&producer_.index, __ATOMIC_ACQUIRE);
      filled = consumer_.others - at;
    }
    return n < filled ? n : filled;
  }
  // GCC would make `rep movs` of a copy whose length it can bound, and that takes longer to start than a burst takes
  // to copy: 70 ns for one pointer. So few are moved one by one, many by the library, and the bound is hidden.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wstringop-overflow"  // at -O3 it takes the part behind the wrap for one of no bytes
#endif
  RUNNEL_INLINE static void copy(T* to, const T* from, std::size_t n) noexcept {
    if (n < 8) {
      for (std::size_t i = 0; i < n; ++i) {
        __builtin_memcpy(static_cast<void*>(to + i), static_cast<const void*>(from + i), sizeof(T));
        asm volatile("");
      }
      return;
    }
    asm("" : "+r"(n));
    __builtin_memcpy(static_cast<void*>(to), static_cast<const void*>(from), n * sizeof(T));
  }
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
  RUNNEL_INLINE static void move_in(T* to, T* from, std::size_t n) noexcept {
    if constexpr (std::is_trivially_copyable_v<T>) {
      copy(to, from, n);
    } else {
      for (std::size_t i = 0; i < n; ++i) ::new (static_cast<void*>(to + i)) T(static_cast<T&&>(from[i]));
    }
  }
  RUNNEL_INLINE static void move_out(T* to, T* from, std::size_t n) noexcept {
    if constexpr (std::is_trivially_copyable_v<T>) {
      copy(to, from, n);
    } else {
      for (std::size_t i = 0; i < n; ++i) {
        to[i] = static_cast<T&&>(from[i]);
        from[i].~T();
      }
    }
  }

  side producer_;
  side consumer_;
};

}  // namespace runnel

#endif

// ==== runnel/base/slab.hpp ===========================================================================================
// A slab: a fixed number of places for objects of one type, each found by its number. What tables keep their entries
// in: a number takes four bytes where a pointer takes eight, and says where in the table the entry is.
#ifndef RUNNEL_BASE_SLAB_HPP
#define RUNNEL_BASE_SLAB_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint32_t, uint64_t, uintptr_t
#include <new>      // placement new

namespace runnel {

/// Objects of type `T` in memory that the user gives. Making and erasing one is O(1); the place that was erased last
/// is used next. Objects never move. A word of bits for each 64 places says which are taken, so that a walk over
/// a slab that is almost empty is short, and destroying the slab destroys what is in it.
///
/// Costs `sizeof(T)` (at least four bytes) and one bit per place. Not thread-safe.
template <class T>
class slab {
 public:
  /// The number of an object.
  using index = std::uint32_t;
  /// The number of no place: what `emplace` returns when the slab is full.
  static constexpr index none = 0xffff'ffff;

  /// The memory that `capacity` objects need, in bytes.
  [[nodiscard]] static constexpr std::size_t bytes_needed(std::uint32_t capacity) noexcept {
    return places_offset(capacity) + capacity * sizeof(place);
  }
  /// How memory must be aligned.
  static constexpr std::size_t alignment = alignof(T) > alignof(std::uint64_t) ? alignof(T) : alignof(std::uint64_t);

  /// An empty slab of `capacity` places, at most `none` of them, in `memory`, which stays the caller's, must outlive
  /// it, be aligned to `alignment` and have `bytes_needed(capacity)` bytes (asserted). Touches one bit per place: a
  /// place is first written to when it is first used.
  slab(mutable_bytes memory, std::uint32_t capacity) noexcept
      : taken_(static_cast<std::uint64_t*>(static_cast<void*>(memory.data()))),
        places_(static_cast<place*>(static_cast<void*>(memory.data() + places_offset(capacity)))),
        capacity_(capacity) {
    RUNNEL_ASSERT(memory.size() >= bytes_needed(capacity));
    RUNNEL_ASSERT(reinterpret_cast<std::uintptr_t>(memory.data()) % alignment == 0);
    for (std::size_t i = 0; i < words(capacity); ++i) taken_[i] = 0;
  }
  slab(const slab&) = delete;
  slab& operator=(const slab&) = delete;
  ~slab() { clear(); }

  /// Makes an object from `arguments` in a free place and returns the place's number; `none` when there is no free
  /// place, and nothing happened.
  template <class... Arguments>
  [[nodiscard]] index emplace(Arguments&&... arguments) noexcept {
    index i = free_;
    if (i != none) free_ = places_[i].next_free;
    else if (fresh_ != capacity_) i = fresh_++;
    else return none;
    ::new (static_cast<void*>(&places_[i])) T{static_cast<Arguments&&>(arguments)...};
    taken_[i / 64] |= std::uint64_t{1} << i % 64;
    ++size_;
    return i;
  }
  /// Destroys the object at `i`, which is there (asserted).
  void erase(index i) noexcept {
    RUNNEL_ASSERT(contains(i));
    at(i).~T();
    taken_[i / 64] &= ~(std::uint64_t{1} << i % 64);
    ::new (static_cast<void*>(&places_[i])) index(free_);
    free_ = i;
    --size_;
  }
  /// Destroys all objects. O(capacity / 64 + size).
  void clear() noexcept {
    for_each([this](index i, T&) { erase(i); });
  }

  /// The object at `i`, which is there (asserted).
  [[nodiscard]] T& operator[](index i) noexcept {
    RUNNEL_ASSERT(contains(i));
    return at(i);
  }
  /// The same to read.
  [[nodiscard]] const T& operator[](index i) const noexcept {
    RUNNEL_ASSERT(contains(i));
    return const_cast<slab*>(this)->at(i);
  }
  /// Whether there is an object at `i`, for any number.
  [[nodiscard]] bool contains(index i) const noexcept { return i < capacity_ && (taken_[i / 64] >> i % 64 & 1u) != 0; }
  /// The number of an object of this slab.
  [[nodiscard]] index index_of(const T& object) const noexcept {
    return static_cast<index>(reinterpret_cast<const place*>(&object) - places_);
  }
  /// Starts fetching the place `i` into the cache. Any number below the capacity.
  void prefetch(index i) const noexcept { prefetch_to_read(&places_[i]); }

  /// Calls `f(index, object)` for each object in order of their numbers. `f` may erase the object that it is given.
  template <class F>
  void for_each(F f) {
    for (std::size_t word = 0; word < words(fresh_); ++word)
      for (std::uint64_t bits = taken_[word]; bits != 0; bits &= bits - 1) {
        const auto i = static_cast<index>(word * 64 + static_cast<unsigned>(__builtin_ctzll(bits)));
        f(i, at(i));
      }
  }

  /// How many objects there are.
  [[nodiscard]] std::uint32_t size() const noexcept { return size_; }
  /// How many there can be.
  [[nodiscard]] std::uint32_t capacity() const noexcept { return capacity_; }
  /// Whether there is none.
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  /// Whether no more fit.
  [[nodiscard]] bool full() const noexcept { return size_ == capacity_; }

 private:
  union place {
    place() = delete;
    ~place() = delete;
    T object;
    index next_free;
  };

  [[nodiscard]] static constexpr std::size_t words(std::uint32_t capacity) noexcept { return divide_up(capacity, 64); }
  [[nodiscard]] static constexpr std::size_t places_offset(std::uint32_t capacity) noexcept {
    return align_up(words(capacity) * sizeof(std::uint64_t), alignof(place));
  }
  [[nodiscard]] T& at(index i) noexcept { return places_[i].object; }

  std::uint64_t* taken_;
  place* places_;
  std::uint32_t capacity_;
  std::uint32_t size_ = 0;
  std::uint32_t fresh_ = 0;  // places from here on were never used
  index free_ = none;
};

}  // namespace runnel

#endif

// ==== runnel/base/sleeper.hpp ========================================================================================
// A thread that sleeps until somebody has something for it: the kernel's wait queue, for one who waits, and with a
// system call only when there is somebody to wake.
//
//     who sleeps                                  who wakes
//     prepare_to_wait()   asleep = true, fence    puts something where the other looks
//     looks once more     nothing there           wake_up()   fence, asleep? then a kick
//     sleeps
//     finish_wait()       asleep = false
//
// Of the two fences one comes first. If it is that of the sleeper, the other one sees `asleep` and kicks; if not, the
// sleeper sees what was put there, and does not sleep. So no wake-up is lost, and a thread that is awake is left alone.
#ifndef RUNNEL_BASE_SLEEPER_HPP
#define RUNNEL_BASE_SLEEPER_HPP

namespace runnel {

/// Who sleeps, for those who wake him. A clock that a loop sleeps by derives from it and says how to kick: `real_clock`
/// writes to a file descriptor; on a board it may be an instruction. Never copied: others hold its address.
class sleeper {
 public:
  sleeper(const sleeper&) = delete;
  sleeper& operator=(const sleeper&) = delete;

  /// The sleeper says that he is about to sleep. Behind this he looks once more whether there is something to do.
  void prepare_to_wait() noexcept {
    __atomic_store_n(&asleep_, true, __ATOMIC_RELEASE);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
  }
  /// The sleeper says that he is awake.
  void finish_wait() noexcept { __atomic_store_n(&asleep_, false, __ATOMIC_RELAXED); }
  /// Ends the sleep that was prepared, if one was. From any thread or signal handler, behind the store that the sleeper
  /// is to see. Costs a fence while he is awake; of several that come during one sleep, the first kicks.
  void wake_up() noexcept {
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (__atomic_load_n(&asleep_, __ATOMIC_RELAXED) && __atomic_exchange_n(&asleep_, false, __ATOMIC_ACQ_REL))
      kick_(*this);
  }

 protected:
  /// `kick` ends the sleep that is being prepared, or has begun. It is called from any thread or signal handler.
  explicit constexpr sleeper(void (*kick)(sleeper&) noexcept) noexcept : kick_(kick) {}
  ~sleeper() = default;

 private:
  void (*kick_)(sleeper&) noexcept;
  bool asleep_ = false;
};

}  // namespace runnel

#endif

// ==== runnel/base/time.hpp ===========================================================================================
// Time as an argument: a duration and an instant in nanoseconds, and the clocks that need no operating system.
#ifndef RUNNEL_BASE_TIME_HPP
#define RUNNEL_BASE_TIME_HPP

#include <concepts>  // same_as
#include <cstdint>   // int64_t

namespace runnel {

/// A span of time in nanoseconds, signed. About 292 years to either side.
struct duration {
  /// Nanoseconds; may be negative.
  std::int64_t ns = 0;

  /// Compared as numbers. @{
  friend constexpr bool operator==(duration, duration) noexcept = default;
  friend constexpr bool operator<(duration a, duration b) noexcept { return a.ns < b.ns; }
  friend constexpr bool operator>(duration a, duration b) noexcept { return b < a; }
  friend constexpr bool operator<=(duration a, duration b) noexcept { return !(b < a); }
  friend constexpr bool operator>=(duration a, duration b) noexcept { return !(a < b); }
  /// @}
  /// Sums, multiples and parts; an overflow is not looked for. @{
  friend constexpr duration operator+(duration a, duration b) noexcept { return {a.ns + b.ns}; }
  friend constexpr duration operator-(duration a, duration b) noexcept { return {a.ns - b.ns}; }
  friend constexpr duration operator*(duration a, std::int64_t k) noexcept { return {a.ns * k}; }
  friend constexpr duration operator/(duration a, std::int64_t k) noexcept { return {a.ns / k}; }
  /// @}
};

/// A duration of so many of the unit. @{
[[nodiscard]] constexpr duration nanoseconds(std::int64_t n) noexcept { return {n}; }
[[nodiscard]] constexpr duration microseconds(std::int64_t n) noexcept { return {n * 1'000}; }
[[nodiscard]] constexpr duration milliseconds(std::int64_t n) noexcept { return {n * 1'000'000}; }
[[nodiscard]] constexpr duration seconds(std::int64_t n) noexcept { return {n * 1'000'000'000}; }
/// @}

/// A point in time: nanoseconds since an origin that the clock chooses. Captures count from 1970-01-01 UTC.
struct instant {
  /// Nanoseconds since the origin of the clock.
  std::int64_t ns = 0;

  /// The earlier is the smaller. @{
  friend constexpr bool operator==(instant, instant) noexcept = default;
  friend constexpr bool operator<(instant a, instant b) noexcept { return a.ns < b.ns; }
  friend constexpr bool operator>(instant a, instant b) noexcept { return b < a; }
  friend constexpr bool operator<=(instant a, instant b) noexcept { return !(b < a); }
  friend constexpr bool operator>=(instant a, instant b) noexcept { return !(a < b); }
  /// @}
  /// A later or earlier instant, and the time between two; an overflow is not looked for. @{
  friend constexpr instant operator+(instant t, duration d) noexcept { return {t.ns + d.ns}; }
  friend constexpr instant operator-(instant t, duration d) noexcept { return {t.ns - d.ns}; }
  friend constexpr duration operator-(instant a, instant b) noexcept { return {a.ns - b.ns}; }
  /// @}
};

/// An instant that never comes.
inline constexpr instant never{INT64_MAX};

/// A clock tells the time. Everything that needs it takes one as an argument.
template <class C>
concept clock = requires(C& c) {
  { c.now() } -> std::same_as<instant>;
};

/// A clock that stands still until it is told to move: for tests, and wherever time comes from outside.
class manual_clock {
 public:
  constexpr manual_clock() noexcept = default;
  /// Stands at `start`.
  constexpr explicit manual_clock(instant start) noexcept : now_(start) {}
  /// The time that it was told last.
  [[nodiscard]] constexpr instant now() const noexcept { return now_; }
  /// Moves on by `d`.
  constexpr void advance(duration d) noexcept { now_ = now_ + d; }
  /// Moves to `t`, which may lie in the past.
  constexpr void set(instant t) noexcept { now_ = t; }

 private:
  instant now_{};
};

/// A clock that what is seen moves: the time of the newest packet, for replays in the capture's own time. Starts at 0,
/// never goes back.
class capture_clock {
 public:
  /// The time of the packet that was read last.
  [[nodiscard]] constexpr instant now() const noexcept { return now_; }
  /// A packet with this timestamp has come.
  constexpr void seen(instant t) noexcept {
    if (t > now_) now_ = t;
  }
  /// Nothing will come before `t`: it is `t` now.
  constexpr void wait_until(instant t) noexcept {
    if (t != never) seen(t);
  }

 private:
  instant now_{};
};

}  // namespace runnel

#endif

// ==== runnel/base/timer_wheel.hpp ====================================================================================
// Timers by the hundred thousand: a hierarchical timing wheel over timers that live in their owners' objects.
// Varghese and Lauck, "Hashed and Hierarchical Timing Wheels", SOSP 1987.
//
// Theory of operation. Time is cut into ticks. A wheel has `Levels` rings of 64 slots; a slot of level 0 is one tick
// wide, one of level 1 is 64, one of level 2 is 4096. A timer lies in the lowest level whose ring reaches it:
//
//     level 0   |. . . now x . . . x . . .|          runs when its tick has come
//     level 1   |. . now . . . x . . . . .|          moves down to level 0 when its slot begins
//     level 2   |now . . . . . . . . x . .|          ... to level 1 or 0
//
// All of a level lies before the next slot of the level above, so the lowest level that holds a timer holds the
// next one, and a word of 64 bits for each level finds it. Time without timers costs nothing, however long. Each
// timer moves at most `Levels - 1` times.
//
// A timer that is cancelled or destroyed only leaves its list. The bit of its slot goes when somebody looks there.
#ifndef RUNNEL_BASE_TIMER_WHEEL_HPP
#define RUNNEL_BASE_TIMER_WHEEL_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint64_t, SIZE_MAX

namespace runnel {

namespace detail {

// A place in a circular list. A list is a node whose neighbours are its first and last member, or itself.
struct timer_node {
  timer_node* next = nullptr;  // null: in no list
  timer_node* previous = nullptr;

  void unlink() noexcept {
    next->previous = previous;
    previous->next = next;
    next = nullptr;
  }
};

}  // namespace detail

/// Something to be called at a time: a member of the object that it belongs to. 40 bytes; never copied or moved,
/// since a wheel points to it. Destroying it cancels it.
///
///     struct session {
///       void expire(instant now);
///       timer idle = timer::calling<&session::expire>(*this);
///     };
///     wheel.schedule(s.idle, now + seconds(30));
class timer : private detail::timer_node {
 public:
  /// What is called; `now` is the time that `advance` was given, never before `due()`.
  using function = void (*)(void* context, instant now);

  /// A timer that calls `f(context)`.
  timer(function f, void* context) noexcept : function_(f), context_(context) {}
  /// A timer that calls `(object.*Member)(now)`. The object must outlive it, which it does as its owner.
  template <auto Member, class T>
  [[nodiscard]] static timer calling(T& object) noexcept {
    return timer{[](void* p, instant now) { (static_cast<T*>(p)->*Member)(now); }, &object};
  }
  timer(const timer&) = delete;
  timer& operator=(const timer&) = delete;
  ~timer() { cancel(); }

  /// Whether it will run. It is not scheduled any more when its function is called.
  [[nodiscard]] bool is_scheduled() const noexcept { return next != nullptr; }
  /// When it will run, or ran last: exactly the time it was scheduled for, not rounded to ticks.
  [[nodiscard]] instant due() const noexcept { return due_; }
  /// Takes it out of its wheel; nothing happens when it is in none. O(1). Allowed at any time, in callbacks too.
  void cancel() noexcept {
    if (is_scheduled()) unlink();
  }

 private:
  template <unsigned Levels>
  friend class basic_timer_wheel;

  instant due_{};
  function function_;
  void* context_;
};

/// A wheel of timers. Holds no memory but its own (`Levels` KiB on 64-bit targets, half of it on 32-bit ones) and
/// takes any number of timers. Not thread-safe: one for each worker.
///
/// A timer never runs early, and at most one tick late when `advance` is called in time. Timers run in the order of
/// their ticks, and those of one tick in the order in which they were scheduled (but for timers scheduled more than
/// `span()` ahead of where `advance` is: these keep no order among those of their tick). A timer that is due already
/// when it is scheduled runs in the next call of `advance`, before all others.
template <unsigned Levels>
class basic_timer_wheel {
 public:
  static_assert(Levels >= 2 && Levels <= 8, "runnel: a timer wheel has 2 to 8 levels");

  /// Ticks are `resolution` wide, rounded down to a power of two of nanoseconds, at least 1 ns. Nothing is scheduled
  /// before `start`, and time begins there.
  explicit basic_timer_wheel(duration resolution, instant start = {}) noexcept
      : shift_(resolution.ns < 1 ? 0u : floor_log2(static_cast<std::uint64_t>(resolution.ns))), start_(start) {
    for (auto& level : slots_)
      for (node& slot : level) make_empty(slot);
    make_empty(due_);
    make_empty(overdue_);
  }
  basic_timer_wheel(const basic_timer_wheel&) = delete;
  basic_timer_wheel& operator=(const basic_timer_wheel&) = delete;
  /// Cancels all timers. O(slots + timers).
  ~basic_timer_wheel() {
    for (auto& level : slots_)
      for (node& slot : level) unlink_all(slot);
    unlink_all(due_);
    unlink_all(overdue_);
  }

  /// How wide a tick is.
  [[nodiscard]] duration resolution() const noexcept { return {std::int64_t{1} << shift_}; }
  /// How far ahead timers keep their order within a tick. Timers further ahead run in time all the same.
  [[nodiscard]] duration span() const noexcept {
    const unsigned bits = 6 * Levels + shift_;
    return {bits < 63 ? (std::int64_t{1} << bits) - (std::int64_t{1} << (bits - 6)) : INT64_MAX};
  }

  /// Makes `t` run at `due`, and no more at the time it was scheduled for before. `never` cancels it. O(1).
  void schedule(timer& t, instant due) noexcept {
    t.cancel();
    t.due_ = due;
    if (due == never) return;
    const std::uint64_t tick = tick_of(due);
    if (tick <= now_) append(overdue_, t);
    else place(t, tick);
  }

  /// Runs what is due at `now`, at most `limit` timers, and says how many ran; the rest stays due. A function may
  /// schedule and cancel any timer, its own too, and destroy its own or any other; it may not call `advance`. What it
  /// schedules for a tick that is over waits for the next call, so a timer that is always due does not run for ever.
  /// A `now` before the tick of an earlier call, or before the start, runs nothing.
  std::size_t advance(instant now, std::size_t limit = SIZE_MAX) noexcept {
    RUNNEL_ASSERT(!running_);
    if (now < start_) return 0;
    const std::uint64_t target = since_start(now) >> shift_;
    if (target < now_) return 0;
    running_ = true;
    move_all(due_, overdue_);
    std::size_t ran = 0;
    while (run_due(now, limit, ran)) {
      const event e = next_event();
      if (e.slot == nullptr || e.tick > target) {
        now_ = target;
        break;
      }
      now_ = e.tick;
      occupied_[e.level] &= ~(std::uint64_t{1} << (e.slot - slots_[e.level]));
      if (e.level == 0) move_all(due_, *e.slot);
      else move_down(*e.slot);
    }
    running_ = false;
    return ran;
  }

  /// The time before which `advance` has nothing to do: how long a loop may sleep. Never after the time at which the
  /// next timer can run; before it when a timer further ahead has to move between levels first. `never` when nothing
  /// is scheduled. O(Levels) but for slots that were emptied by cancelling, each of which is looked at once.
  [[nodiscard]] instant next_due() noexcept {
    if (!is_empty(due_) || !is_empty(overdue_)) return time_of(now_);
    const event e = next_event();
    return e.slot == nullptr ? never : time_of(e.tick);
  }

 private:
  using node = detail::timer_node;
  static constexpr unsigned top = Levels - 1;

  // The beginning of a slot that holds timers.
  struct event {
    node* slot;
    unsigned level;
    std::uint64_t tick;
  };

  static void make_empty(node& list) noexcept { list.next = list.previous = &list; }
  static bool is_empty(const node& list) noexcept { return list.next == &list; }
  static void append(node& list, node& n) noexcept {
    n.next = &list;
    n.previous = list.previous;
    list.previous->next = &n;
    list.previous = &n;
  }
  static void unlink_all(node& list) noexcept {
    while (!is_empty(list)) list.next->unlink();
  }
  static void move_all(node& to, node& from) noexcept {
    if (is_empty(from)) return;
    from.next->previous = to.previous;
    to.previous->next = from.next;
    from.previous->next = &to;
    to.previous = from.previous;
    make_empty(from);
  }

  [[nodiscard]] std::uint64_t since_start(instant t) const noexcept {
    return static_cast<std::uint64_t>(t.ns) - static_cast<std::uint64_t>(start_.ns);
  }
  // The first tick that does not begin before `t`.
  [[nodiscard]] std::uint64_t tick_of(instant t) const noexcept {
    if (t < start_) return 0;
    const std::uint64_t ns = since_start(t);
    return (ns >> shift_) + ((ns & ((std::uint64_t{1} << shift_) - 1)) != 0 ? 1 : 0);
  }
  [[nodiscard]] instant time_of(std::uint64_t tick) const noexcept {
    const std::uint64_t most = static_cast<std::uint64_t>(INT64_MAX) - static_cast<std::uint64_t>(start_.ns);
    if (tick > most >> shift_) return never;
    return {static_cast<std::int64_t>(static_cast<std::uint64_t>(start_.ns) + (tick << shift_))};
  }

  // Puts a timer of a tick that is not before now_ into the level in which the two first differ.
  void place(timer& t, std::uint64_t tick) noexcept {
    unsigned level = floor_log2((tick ^ now_) | 63u) / 6;
    std::uint64_t at = tick;
    if (level >= top) {
      // The top level is a ring without an end: what lies further ahead waits in the slot that comes last.
      level = top;
      const std::uint64_t last = (now_ >> 6 * top) + 63;
      if ((tick >> 6 * top) > last) at = last << 6 * top;
    }
    const unsigned slot = (at >> 6 * level) & 63u;
    append(slots_[level][slot], t);
    occupied_[level] |= std::uint64_t{1} << slot;
  }

  void move_down(node& slot) noexcept {
    node moving;
    make_empty(moving);
    move_all(moving, slot);
    while (!is_empty(moving)) {
      timer& t = static_cast<timer&>(*moving.next);
      t.unlink();
      place(t, tick_of(t.due_));
    }
  }

  // Runs the timers in due_; false when the limit was reached before its end.
  bool run_due(instant now, std::size_t limit, std::size_t& ran) noexcept {
    while (!is_empty(due_)) {
      if (ran == limit) return false;
      timer& t = static_cast<timer&>(*due_.next);
      t.unlink();
      ++ran;
      t.function_(t.context_, now);  // which may destroy t
    }
    return true;
  }

  [[nodiscard]] event next_event() noexcept {
    for (unsigned level = 0; level < Levels; ++level) {
      const std::uint64_t here = now_ >> 6 * level;
      const unsigned from = level == top ? here & 63u : 0;  // below the top nothing lies behind the current slot
      while (occupied_[level] != 0) {
        const std::uint64_t bits = occupied_[level];
        const std::uint64_t turned = from == 0 ? bits : bits >> from | bits << (64 - from);
        const unsigned slot = (from + static_cast<unsigned>(__builtin_ctzll(turned))) & 63u;
        if (is_empty(slots_[level][slot])) {
          occupied_[level] &= ~(std::uint64_t{1} << slot);
          continue;
        }
        const std::uint64_t ahead = (slot - here) & 63u;
        return {&slots_[level][slot], level, (here + ahead) << 6 * level};
      }
    }
    return {nullptr, 0, 0};
  }

  unsigned shift_;
  bool running_ = false;
  instant start_;
  std::uint64_t now_ = 0;  // in ticks; all timers up to it have run or lie in due_ or overdue_
  std::uint64_t occupied_[Levels] = {};
  node due_;
  node overdue_;
  node slots_[Levels][64];
};

/// Six levels: 6 KiB, 68 thousand million ticks, two years at a millisecond.
using timer_wheel = basic_timer_wheel<6>;

}  // namespace runnel

#endif

// ==== runnel/base.hpp ================================================================================================
// What everything else stands on: bytes, numbers, text, time, results, timers, sleep, rings, slabs, hashes,
// random numbers.
#ifndef RUNNEL_BASE_ALL_HPP
#define RUNNEL_BASE_ALL_HPP

#endif

// ==== runnel/packet/drop_reason.hpp ==================================================================================
// Why a packet was dropped: one list for the whole library, each entry counted and printable. The idea is the
// kernel's include/net/dropreason.h: a drop without a reason is a bug.
#ifndef RUNNEL_PACKET_DROP_REASON_HPP
#define RUNNEL_PACKET_DROP_REASON_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint8_t

namespace runnel {

/// The cause of a drop. The comment at each entry is what to look at when its counter grows.
enum class drop_reason : std::uint8_t {
  none,                 ///< not dropped
  policy,               ///< a rule or a handler said so without naming a cause
  blocklist,            ///< an address or port is on a list of unwanted ones
  no_match,             ///< no rule matched and the policy is to drop
  discarded,            ///< the pipeline ends here on purpose (`discard`)
  aborted,              ///< an early verdict reported a fault of its own
  truncated_capture,    ///< the capture cut the packet short before its headers ended
  link_too_short,       ///< shorter than its link-layer header
  vlan_malformed,       ///< a VLAN tag is cut off, or more tags are stacked than are accepted
  llc_malformed,        ///< an 802.3 length or an LLC/SNAP header that does not fit
  mpls_malformed,       ///< an MPLS label stack without a bottom
  arp_malformed,        ///< ARP with wrong hardware or protocol lengths, or cut off
  ip_version,           ///< the version nibble does not fit the link layer's protocol
  ip_too_short,         ///< shorter than an IP header
  ip_header_length,     ///< IHL below 5, or the header longer than the packet
  ip_total_length,      ///< total or payload length beyond the end of the frame, or below the header
  ip_checksum,          ///< wrong IPv4 header checksum
  ip_fragment,          ///< a fragment that cannot be right (beyond 65535 bytes, tiny first, overlapping)
  ip_option,            ///< an IP option with an impossible length
  ipv6_extension,       ///< an IPv6 extension header that is cut off or in an impossible order
  tcp_too_short,        ///< shorter than a TCP header
  tcp_data_offset,      ///< data offset below 5 or beyond the segment
  tcp_checksum,         ///< wrong TCP checksum
  tcp_option,           ///< a TCP option with an impossible length
  udp_too_short,        ///< shorter than a UDP header
  udp_length,           ///< UDP length below 8 or beyond the IP payload
  udp_checksum,         ///< wrong UDP checksum
  icmp_too_short,       ///< shorter than an ICMP header
  icmp_checksum,        ///< wrong ICMP or ICMPv6 checksum
  neighbour_malformed,  ///< a neighbour discovery message that RFC 4861 says to discard
  gre_malformed,        ///< GRE with reserved bits or fields cut off
  vxlan_malformed,      ///< VXLAN without its I flag, or cut off
  no_packet,            ///< the pool had no descriptor or slot left
  other_thread,         ///< a packet of another thread's pool, which cannot be cloned here: `copy(pool)` it first
  queue_full,           ///< a bounded queue refused the packet
  queue_head,           ///< a bounded queue gave up its oldest packet for a newer one
  transmit_full,        ///< a device did not take the packet
  transmit_error,       ///< a device failed to send or write the packet
  too_big,              ///< longer than the device, the slot or the format can carry
  link_loss,            ///< a simulated wire lost it
  no_target,            ///< redirected to a device that is not there
  count_                ///< how many there are
};

/// How many reasons there are.
inline constexpr std::size_t drop_reason_count = static_cast<std::size_t>(drop_reason::count_);

/// The name of a drop reason as it is spelled in the enumeration.
[[nodiscard]] constexpr const char* name(drop_reason reason) noexcept {
  constexpr const char* names[] = {"none",
                                   "policy",
                                   "blocklist",
                                   "no_match",
                                   "discarded",
                                   "aborted",
                                   "truncated_capture",
                                   "link_too_short",
                                   "vlan_malformed",
                                   "llc_malformed",
                                   "mpls_malformed",
                                   "arp_malformed",
                                   "ip_version",
                                   "ip_too_short",
                                   "ip_header_length",
                                   "ip_total_length",
                                   "ip_checksum",
                                   "ip_fragment",
                                   "ip_option",
                                   "ipv6_extension",
                                   "tcp_too_short",
                                   "tcp_data_offset",
                                   "tcp_checksum",
                                   "tcp_option",
                                   "udp_too_short",
                                   "udp_length",
                                   "udp_checksum",
                                   "icmp_too_short",
                                   "icmp_checksum",
                                   "neighbour_malformed",
                                   "gre_malformed",
                                   "vxlan_malformed",
                                   "no_packet",
                                   "other_thread",
                                   "queue_full",
                                   "queue_head",
                                   "transmit_full",
                                   "transmit_error",
                                   "too_big",
                                   "link_loss",
                                   "no_target"};
  static_assert(sizeof names / sizeof *names == drop_reason_count, "runnel: every drop_reason has a name");
  const auto i = static_cast<std::size_t>(reason);
  return i < drop_reason_count ? names[i] : "unknown";
}

}  // namespace runnel

#endif

// ==== runnel/packet/layers.hpp =======================================================================================
// Which headers a packet carries and where they begin: what `dissect` finds once, so that nobody after it has to
// look again.
#ifndef RUNNEL_PACKET_LAYERS_HPP
#define RUNNEL_PACKET_LAYERS_HPP

#include <cstdint>  // uint8_t, uint16_t

namespace runnel {

/// How the first bytes of a frame are to be read. The order is that of `layers`' lowest three bits.
enum class link_type : std::uint8_t {
  ethernet,    ///< Ethernet II or 802.3 (LINKTYPE_ETHERNET, 1)
  raw_ip,      ///< an IPv4 or IPv6 header at once (LINKTYPE_RAW, 101; 228, 229)
  null_loop,   ///< four bytes of address family, in host or network order (LINKTYPE_NULL, 0; LINKTYPE_LOOP, 108)
  linux_sll,   ///< Linux cooked capture, version 1 (LINKTYPE_LINUX_SLL, 113)
  linux_sll2,  ///< Linux cooked capture, version 2 (LINKTYPE_LINUX_SLL2, 276)
  unknown,     ///< nothing that this library can read
};

/// The headers that `dissect` tells apart, each a bit of `layers::protocols`.
enum class protocol : std::uint16_t {
  parsed = 1u << 3,      ///< the bits below were looked for (nothing was found wrong)
  vlan = 1u << 4,        ///< at least one 802.1Q or 802.1ad tag
  mpls = 1u << 5,        ///< an MPLS label stack
  arp = 1u << 6,         ///< ARP at the network offset
  ipv4 = 1u << 7,        ///< IPv4 at the network offset
  ipv6 = 1u << 8,        ///< IPv6 at the network offset
  fragment = 1u << 9,    ///< a fragment of an IP datagram, the first or a later one
  tcp = 1u << 10,        ///< TCP at the transport offset
  udp = 1u << 11,        ///< UDP at the transport offset
  icmp = 1u << 12,       ///< ICMP at the transport offset
  icmpv6 = 1u << 13,     ///< ICMPv6 at the transport offset
  gre = 1u << 14,        ///< GRE at the transport offset
  transport = 1u << 15,  ///< the IP payload begins at the transport offset, whatever it is; not set in later fragments
};

/// The result of a dissection, eight bytes. Offsets count from the beginning of the buffer (`frame::head()`,
/// `packet::head()`), so that they stay right when a header is pushed or pulled in front of them.
struct layers {
  std::uint16_t protocols = 0;            ///< bits of `protocol`, and the `link_type` in the lowest three
  std::uint16_t network = 0;              ///< where the network header (or an unknown link payload) begins, bytes
  std::uint16_t transport = 0;            ///< where the transport header begins, bytes; valid with protocol::transport
  std::uint8_t link = 0;                  ///< how many bytes before `network` the link header begins
  drop_reason fault = drop_reason::none;  ///< what was wrong, when it could not be parsed

  /// Whether a protocol was found.
  [[nodiscard]] constexpr bool has(protocol p) const noexcept {
    return (protocols & static_cast<std::uint16_t>(p)) != 0;
  }
  /// What the first header is.
  [[nodiscard]] constexpr link_type link_kind() const noexcept { return static_cast<link_type>(protocols & 7u); }
  /// Equal when all their parts are.
  friend constexpr bool operator==(const layers&, const layers&) noexcept = default;
};
static_assert(sizeof(layers) == 8);

}  // namespace runnel

#endif

// ==== runnel/packet/frame.hpp ========================================================================================
// A frame: what a device hands out before there is a packet. A window onto one slot of a ring or a buffer, with
// what the device knows of it. It does not own.
#ifndef RUNNEL_PACKET_FRAME_HPP
#define RUNNEL_PACKET_FRAME_HPP

#include <cstddef>      // byte, size_t
#include <cstdint>      // uint8_t, uint16_t, uint32_t
#include <type_traits>  // conditional_t, is_constant_evaluated, is_copy_assignable_v

namespace runnel {

/// What is known about the transport checksum of a packet.
enum class checksum_status : std::uint8_t {
  unknown,   ///< nobody looked
  verified,  ///< somebody looked, and it is right (CHECKSUM_UNNECESSARY)
  partial,   ///< only the pseudo-header is summed; whoever transmits or reads it completes it (CHECKSUM_PARTIAL)
};

/// `slot` of a frame whose bytes are lent by the device and not a slot of its pool.
inline constexpr std::uint32_t no_slot = 0xffff'ffff;

///     head()         data           data + length
///       | headroom    |    length     | tailroom |
///       +-------------+---------------+----------+
///
/// Valid from `receive` until it is released, transmitted or made a packet, by whoever holds it. Copying it copies
/// the window, not the bytes.
struct frame {
  /// The first byte.
  std::byte* data = nullptr;
  instant timestamp{};           ///< when the device received it
  std::uint32_t length = 0;      ///< bytes at `data`
  std::uint32_t slot = no_slot;  ///< which slot of the device's pool the bytes lie in
  std::uint16_t headroom = 0;    ///< writable bytes before `data`
  std::uint16_t tailroom = 0;    ///< writable bytes behind the last one
  std::uint16_t iif = 0;         ///< by which interface of the device it came
  std::uint16_t missing = 0;     ///< bytes that a snap length cut off at the end; 65535 is "that many or more"
  /// What the first header is.
  link_type link = link_type::ethernet;
  std::uint8_t lender = 0;  ///< who lends the bytes when they are not a slot: a number given out by the pool
  std::uint8_t queue = 0;   ///< by which receive queue it came
  /// What is known of the transport checksum.
  checksum_status checksum = checksum_status::unknown;
  /// Payload bytes of each segment that the frame stands for (`gso_size`); 0 when it is a single one, or when bytes are
  /// missing.
  std::uint16_t segment_size = 0;

  /// Where the headroom begins.
  [[nodiscard]] constexpr std::byte* head() const noexcept { return data - headroom; }
  /// The bytes, to read and to write.
  [[nodiscard]] constexpr mutable_bytes contents() const noexcept { return {data, length}; }

  /// Grows the frame by `n` bytes at the front. Null, and nothing changed, when the headroom is smaller.
  [[nodiscard]] constexpr std::byte* push(std::size_t n) noexcept {
    if (n > headroom) return nullptr;
    headroom = static_cast<std::uint16_t>(headroom - n);
    length += static_cast<std::uint32_t>(n);
    return data -= n;
  }
  /// Takes `n` bytes off the front. False, and nothing changed, when it is shorter, or when the headroom would
  /// exceed 65535 bytes.
  [[nodiscard]] constexpr bool pull(std::size_t n) noexcept {
    if (n > length || headroom + n > 0xffff) return false;
    headroom = static_cast<std::uint16_t>(headroom + n);
    length -= static_cast<std::uint32_t>(n);
    data += n;
    return true;
  }
  /// Grows the frame by `n` bytes at the end and returns the first of them. Null, and nothing changed, when the
  /// tailroom is smaller.
  [[nodiscard]] constexpr std::byte* put(std::size_t n) noexcept {
    if (n > tailroom) return nullptr;
    std::byte* end = data + length;
    tailroom = static_cast<std::uint16_t>(tailroom - n);
    length += static_cast<std::uint32_t>(n);
    return end;
  }
  /// Shortens the frame to `n` bytes. False, and nothing changed, when it is shorter already.
  [[nodiscard]] constexpr bool trim(std::size_t n) noexcept {
    if (n > length) return false;
    const std::size_t room = tailroom + (length - n);
    tailroom = static_cast<std::uint16_t>(room < 0xffff ? room : 0xffff);
    length = static_cast<std::uint32_t>(n);
    return true;
  }
};

namespace detail {
// Member by member, small ones that lie side by side together: a frame that was just made is copied from registers
// then. As a whole it would be written to memory in small pieces and read back in large ones, which have to wait for
// them.
RUNNEL_INLINE constexpr void copy_members(frame& to, const frame& from) noexcept {
  if (std::is_constant_evaluated()) {
    to = from;
    return;
  }
  to.data = from.data;
  to.timestamp.ns = from.timestamp.ns;
  to.length = from.length;
  to.slot = from.slot;
  store_side_by_side<std::uint64_t>(&to.headroom, from.headroom, from.tailroom, from.iif, from.missing);
  store_side_by_side<std::uint32_t>(&to.link, static_cast<std::uint32_t>(from.link), from.lender, from.queue,
                                    static_cast<std::uint32_t>(from.checksum));
  to.segment_size = from.segment_size;
}
}  // namespace detail

/// Takes frames into an array, which has room for all that are asked for: `device.receive(64, now,
/// into_array(frames))`.
class into_array {
 public:
  /// Begins at `to`, and goes on behind it.
  constexpr explicit into_array(frame* to) noexcept : to_(to) {}
  /// Takes one frame.
  RUNNEL_INLINE constexpr void operator()(const frame& f) noexcept { detail::copy_members(*to_++, f); }

 private:
  frame* to_;
};

namespace detail {
// What a loop over many frames calls them with, in registers while it runs. What cannot be assigned back, as a lambda
// with captures, stays where it is.
template <class Take>
class local_taker {
 public:
  RUNNEL_INLINE explicit local_taker(Take& take) noexcept : original_(&take), take_(take) {}
  local_taker(const local_taker&) = delete;
  local_taker& operator=(const local_taker&) = delete;
  RUNNEL_INLINE ~local_taker() {
    if constexpr (assignable) *original_ = take_;
  }
  RUNNEL_INLINE void operator()(const frame& f) noexcept { take_(f); }

 private:
  static constexpr bool assignable = std::is_copy_assignable_v<Take>;
  Take* original_;
  std::conditional_t<assignable, Take, Take&> take_;
};
}  // namespace detail

}  // namespace runnel

#endif

// ==== runnel/packet/descriptor.hpp ===================================================================================
// The cache line behind a packet handle: where its bytes lie and what the stages have learned about it.
#ifndef RUNNEL_PACKET_DESCRIPTOR_HPP
#define RUNNEL_PACKET_DESCRIPTOR_HPP

#include <cstddef>  // byte
#include <cstdint>  // uint8_t, uint16_t, uint32_t

namespace runnel::detail {

// Bits of descriptor::special. A packet with none of them set is alone on its own slot, and is freed by pushing
// one number on a stack.
inline constexpr std::uint8_t is_lent = 1;       // the bytes belong to a device, which counts them
inline constexpr std::uint8_t is_clone = 2;      // the bytes belong to the slot of another descriptor
inline constexpr std::uint8_t maybe_shared = 4;  // the slot had more than one reference once
inline constexpr std::uint8_t is_chained = 8;    // `next` is valid
inline constexpr std::uint8_t is_away = 16;      // on another thread than its pool's

// One cache line. Its own number leads back to the pool, which lies right before descriptor 0, so that no pointer
// to it is needed; descriptor i belongs to slot i, so that a frame becomes a packet without an allocation.
struct alignas(64) descriptor {
  std::byte* data;
#if UINTPTR_MAX == 0xffffffff
  std::uint32_t unused_upper_half_of_data;
#endif
  instant timestamp;
  std::uint32_t length;
  std::uint32_t index;  // of this descriptor in its pool
  std::uint16_t headroom;
  std::uint16_t tailroom;
  std::uint16_t iif;
  std::uint16_t segment_size;  // or, before segmentation is possible, what a snap length cut off: see `missing`
  std::uint32_t hash;
  std::uint32_t mark;
  std::uint32_t connection;
  std::uint32_t scratch;
  runnel::layers layers;
  std::uint32_t next;  // the following fragment's descriptor, of the same pool; with is_chained
  std::uint8_t priority;
  std::uint8_t lender_or_queue;  // with is_lent who lends the bytes, else by which receive queue they came
  std::uint8_t special;
  // checksum_status in bits 0-1, whether segment_size is `missing` in bit 2, whether it is traced in bit 3
  std::uint8_t status;
};
static_assert(sizeof(descriptor) == 64);

}  // namespace runnel::detail

#endif

// ==== runnel/packet/pool.hpp =========================================================================================
// Where packets come from: a fixed number of slots and descriptors in memory that the user gives.
//
// Theory of operation. One region holds everything, in this order:
//
//     +------+--------------+-------------+------------+------+--------------------------------+
//     | pool | descriptors  | bare ones   | free lists | refs | slots of headroom + bytes      |
//     |      | 0 .. packets | .. + bare   |            |      | each `stride()` bytes apart    |
//     +------+--------------+-------------+------------+------+--------------------------------+
//
// Descriptor i describes slot i for ever, so a device may hand out slot i as a frame, and the frame becomes a packet
// by writing one cache line. A *bare* descriptor has no slot: it describes bytes lent by a device, or a clone, which
// shares another descriptor's slot. `refs[i]` counts who uses slot i; it is looked at only for packets that were
// shared once. Free slots and free bare descriptors are stacks: the last one freed, still in cache, is the next one
// used. One thread allocates; other threads give packets back on a lock-free list, which the owner takes over when
// its own is empty.
#ifndef RUNNEL_PACKET_POOL_HPP
#define RUNNEL_PACKET_POOL_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint16_t, uint32_t, uint64_t
#include <new>      // placement new

namespace runnel {

class packet;

/// How large a pool is. All memory is taken at construction: see `pool::bytes_needed`.
struct pool_config {
  std::uint32_t packets = 4096;  ///< slots: how many packets with bytes of their own exist at once
  std::uint32_t bytes = 1984;    ///< of each slot, behind the headroom; at most 65535
  std::uint32_t headroom = 128;  ///< before the bytes of a new packet, for headers still to come; at most 65535
  std::uint32_t bare = 1024;     ///< descriptors without a slot: for clones and for frames that a device lends
};

/// A pool of packets. Not thread-safe, but for packets that come home from other threads. Never copied or moved:
/// packets find it by its address. Must outlive its packets.
class alignas(64) pool {
 public:
  /// How many devices may lend bytes to packets of one pool.
  static constexpr std::uint8_t max_lenders = 16;

  /// The bytes between the beginnings of two slots: whole cache lines, an odd number of them. A power of two would
  /// put the headers of all packets into the same few cache sets.
  [[nodiscard]] static constexpr std::size_t stride(const pool_config& c) noexcept {
    return ((std::size_t{c.bytes} + c.headroom + 63) / 64 | 1) * 64;
  }
  /// How much memory `create` needs for a configuration.
  [[nodiscard]] static constexpr std::size_t bytes_needed(const pool_config& c) noexcept {
    return slots_offset(c) + stride(c) * c.packets;
  }
  /// Makes a pool in `memory`, which must be aligned to 64 bytes, stays the caller's, and must outlive the pool.
  /// Null when the memory is too small or not aligned, or a size in the configuration is beyond its limit.
  [[nodiscard]] static pool* create(mutable_bytes memory, const pool_config& c) noexcept {
    if (c.bytes > 0xffff || c.headroom > 0xffff || c.packets == 0) return nullptr;
    if (std::uint64_t{c.packets} + c.bare > no_slot - 1) return nullptr;
    // First a bound that does not wrap where size_t has 32 bits.
    if (memory.size() / stride(c) < c.packets || memory.size() / sizeof(detail::descriptor) < c.bare) return nullptr;
    if (memory.size() < bytes_needed(c) || reinterpret_cast<std::uintptr_t>(memory.data()) % 64 != 0) return nullptr;
    return ::new (static_cast<void*>(memory.data())) pool(memory.data(), c);
  }
  pool(const pool&) = delete;
  pool& operator=(const pool&) = delete;

  /// An empty packet with the configured headroom; an empty handle, counted in `exhausted()`, when there is none.
  [[nodiscard]] packet allocate() noexcept;
  /// A packet that takes over the frame's slot or lent bytes, and what is known about it. An empty handle when no
  /// descriptor is left for lent bytes (counted in `exhausted()`); the frame is then still the caller's.
  [[nodiscard]] packet attach(const frame& f) noexcept;
  /// A free slot as an empty frame, for a device to receive into. `slot` is `no_slot` when there is none (counted).
  [[nodiscard]] frame allocate_frame() noexcept {
    const std::uint32_t i = take_slot();
    if (i == no_slot) return {};
    frame f;
    f.data = slots_ + i * stride_ + headroom_;
    f.slot = i;
    f.headroom = static_cast<std::uint16_t>(headroom_);
    f.tailroom = static_cast<std::uint16_t>(bytes_);
    return f;
  }
  /// Calls `take(frame)` for up to `n` free slots, and says for how many: for a device that receives in bursts. Fewer
  /// than `n` when there are no more (counted once). Everything but `data` and `slot` is as in `like`; its headroom
  /// decides where in the slot the data begin, and headroom, length and tailroom together must be at most what a slot
  /// holds. Meanwhile `take` may give back to this pool what it was given, and nothing else (RUNNEL_ASSERT).
  template <class Take>
  [[nodiscard]] RUNNEL_INLINE std::size_t allocate_frames(std::size_t n, const frame& like, Take&& taken_by) noexcept {
    RUNNEL_ASSERT(std::size_t{like.headroom} + like.length + like.tailroom <= std::size_t{headroom_} + bytes_);
    if (free_count_ < n) [[unlikely]] {
      reclaim();
      if (free_count_ < n) {
        ++exhausted_;
        n = free_count_;
      }
    }
    detail::local_taker take(taken_by);
    frame f = like;
    free_count_ -= static_cast<std::uint32_t>(n);
    // Upwards: what is given back meanwhile comes to lie where it was read already.
    const std::uint32_t* const free = free_slots_ + free_count_;
    std::byte* const base = slots_ + like.headroom;
    const std::size_t stride = stride_;
    for (std::size_t i = 0; i < n; ++i) {
      const std::uint32_t slot = free[i];
      if (slot == no_slot) __builtin_unreachable();
      f.data = base + slot * stride;
      f.slot = slot;
      take(f);
      RUNNEL_ASSERT(free_slots_ + free_count_ <= free + i + 1 && "take gave back what it was not given here");
    }
    return n;
  }
  /// Gives frames back that never became packets.
  void release(const frame* frames, std::size_t n) noexcept {
    // The counts are kept in registers: through memory, each frame would wait for the one before.
    std::uint32_t* const list = free_slots_;
    std::uint32_t count = free_count_;
    for (std::size_t i = 0; i < n;) {
      if (frames[i].slot != no_slot) {
        list[count++] = frames[i++].slot;
        continue;
      }
      const std::size_t first = i;
      while (i < n && frames[i].slot == no_slot && frames[i].lender == frames[first].lender) ++i;
      lent_[frames[first].lender] -= static_cast<std::uint32_t>(i - first);
    }
    free_count_ = count;
  }

  /// Releases packets in bulk; whose pool they are from does not matter. The handles are empty afterwards.
  static void release(packet* packets, std::size_t n) noexcept;

  /// A number for a device that hands out its own memory. 0 when there are `max_lenders` already.
  [[nodiscard]] std::uint8_t add_lender() noexcept {
    for (std::uint8_t id = 1; id <= max_lenders; ++id) {
      if ((lenders_ >> id & 1u) != 0) continue;
      lenders_ |= std::uint32_t{1} << id;
      return id;
    }
    return 0;
  }
  /// Gives the number back to be given to another device; kept for ever when frames of it are still out.
  void remove_lender(std::uint8_t id) noexcept {
    if (lent_[id] == 0) lenders_ &= ~(std::uint32_t{1} << id);
  }
  /// Says that `n` frames of lender `id` are out. They come back one by one as frames or packets are released.
  void lend(std::uint8_t id, std::uint32_t n) noexcept { lent_[id] += n; }
  /// How many frames and packets still show bytes of lender `id`.
  [[nodiscard]] std::uint32_t lent(std::uint8_t id) const noexcept { return lent_[id]; }

  /// How many slots there are.
  [[nodiscard]] std::uint32_t capacity() const noexcept { return packets_; }
  /// Slots that are free. Packets that came home from other threads count once the owner has taken them over.
  [[nodiscard]] std::uint32_t available() const noexcept { return free_count_; }
  /// Bare descriptors that are free.
  [[nodiscard]] std::uint32_t bare_available() const noexcept { return free_bare_count_; }
  /// How many bare descriptors there are.
  [[nodiscard]] std::uint32_t bare_capacity() const noexcept { return bare_; }
  /// How often a packet, slot or descriptor was asked for and none was left.
  [[nodiscard]] std::uint64_t exhausted() const noexcept { return exhausted_; }
  /// Bytes that a new packet can hold behind its headroom.
  [[nodiscard]] std::uint32_t packet_bytes() const noexcept { return bytes_; }
  /// Bytes before those of a new packet.
  [[nodiscard]] std::uint32_t headroom() const noexcept { return headroom_; }
  /// Takes over what other threads have given back. `allocate` does so by itself when it runs out.
  [[gnu::noinline]] void reclaim() noexcept {
    std::uint32_t i = __atomic_exchange_n(&home_coming_, no_slot, __ATOMIC_ACQUIRE);
    while (i != no_slot) {
      detail::descriptor* d = descriptors() + i;
      i = d->next;
      release_special(d);
    }
  }

 private:
  friend class packet;

  [[nodiscard]] static constexpr std::size_t round_up(std::size_t n) noexcept { return (n + 63) / 64 * 64; }
  [[nodiscard]] static constexpr std::size_t lists_offset(const pool_config& c) noexcept;
  [[nodiscard]] static constexpr std::size_t slots_offset(const pool_config& c) noexcept;

  pool(std::byte* memory, const pool_config& c) noexcept;

  [[nodiscard]] detail::descriptor* descriptors() noexcept { return reinterpret_cast<detail::descriptor*>(this + 1); }
  [[nodiscard]] static pool& of(detail::descriptor* d) noexcept { return *(reinterpret_cast<pool*>(d - d->index) - 1); }
  [[nodiscard]] std::uint32_t slot_of(const std::byte* p) const noexcept {
    return static_cast<std::uint32_t>(static_cast<std::size_t>(p - slots_) / stride_);
  }
  [[nodiscard]] std::uint32_t take_slot() noexcept {
    if (free_count_ == 0) [[unlikely]] {
      reclaim();
      if (free_count_ == 0) {
        ++exhausted_;
        return no_slot;
      }
    }
    return free_slots_[--free_count_];
  }
  [[nodiscard]] detail::descriptor* take_bare() noexcept {
    if (free_bare_count_ == 0) [[unlikely]] {
      reclaim();
      if (free_bare_count_ == 0) {
        ++exhausted_;
        return nullptr;
      }
    }
    return descriptors() + free_bare_list_[--free_bare_count_];
  }
  RUNNEL_INLINE static void release_chain(detail::descriptor* d) noexcept {
    if (d->special != 0) [[unlikely]]
      return release_special(d);
    pool& home = of(d);
    home.free_slots_[home.free_count_++] = d->index;
  }
  // The same for any packet.
  [[gnu::noinline]] static void release_special(detail::descriptor* d) noexcept {
    pool& home = of(d);
    for (;;) {
      const bool more = (d->special & detail::is_chained) != 0;
      const std::uint32_t next = d->next;
      home.release_one(d);
      if (!more) return;
      d = home.descriptors() + next;
    }
  }
  // Gives back one descriptor and its hold on its bytes; not what is chained to it.
  RUNNEL_INLINE void release_one(detail::descriptor* d) noexcept {
    const std::uint8_t special = d->special;
    d->special = special & (detail::is_lent | detail::is_clone | detail::maybe_shared);
    if ((special & detail::is_away) != 0) {
      std::uint32_t head = __atomic_load_n(&home_coming_, __ATOMIC_RELAXED);
      do d->next = head;
      while (!__atomic_compare_exchange_n(&home_coming_, &head, d->index, true, __ATOMIC_RELEASE, __ATOMIC_RELAXED));
      return;
    }
    d->special = 0;
    if (d->index < packets_) return release_slot_reference(d->index);
    if ((special & detail::is_lent) != 0) --lent_[d->lender_or_queue];
    else release_slot_reference(slot_of(d->data - d->headroom));
    free_bare_list_[free_bare_count_++] = d->index;
  }
  // Gives back a descriptor whose hold on its slot is the only one, and keeps the slot.
  [[nodiscard]] RUNNEL_INLINE std::uint32_t release_but_slot(detail::descriptor* d) noexcept {
    if ((d->special & detail::is_clone) == 0) [[likely]]
      return d->index;
    free_bare_list_[free_bare_count_++] = d->index;
    return slot_of(d->data - d->headroom);
  }
  void release_slot_reference(std::uint32_t slot) noexcept {
    if (--refs_[slot] == 0) {
      refs_[slot] = 1;
      free_slots_[free_count_++] = slot;
    }
  }

  std::byte* slots_;
  std::size_t stride_;
  std::uint32_t* free_slots_;
  std::uint32_t* free_bare_list_;
  std::uint32_t* refs_;
  std::uint32_t free_count_;
  std::uint32_t free_bare_count_;
  std::uint32_t packets_;
  std::uint32_t bare_;
  std::uint32_t bytes_;
  std::uint32_t headroom_;
  std::uint64_t exhausted_ = 0;
  std::uint32_t lent_[max_lenders + 1] = {};  // the numbers begin at 1
  std::uint32_t lenders_ = 0;                 // bit n: number n is given out
  // Written by other threads: a line of its own. Heads a list through descriptor::next; no_slot when empty.
  alignas(64) std::uint32_t home_coming_ = no_slot;
};

constexpr std::size_t pool::lists_offset(const pool_config& c) noexcept {
  return sizeof(pool) + (std::size_t{c.packets} + c.bare) * sizeof(detail::descriptor);
}
constexpr std::size_t pool::slots_offset(const pool_config& c) noexcept {
  return lists_offset(c) + round_up((std::size_t{c.packets} * 2 + c.bare) * sizeof(std::uint32_t));
}

inline pool::pool(std::byte* memory, const pool_config& c) noexcept
    : slots_(memory + slots_offset(c)),
      stride_(stride(c)),
      free_slots_(static_cast<std::uint32_t*>(static_cast<void*>(memory + lists_offset(c)))),
      free_bare_list_(free_slots_ + c.packets),
      refs_(free_bare_list_ + c.bare),
      free_count_(c.packets),
      free_bare_count_(c.bare),
      packets_(c.packets),
      bare_(c.bare),
      bytes_(c.bytes),
      headroom_(c.headroom) {
  for (std::uint32_t i = 0; i < packets_ + bare_; ++i) {
    ::new (static_cast<void*>(descriptors() + i)) detail::descriptor{};
    descriptors()[i].index = i;
  }
  // The lowest numbers lie on top of the stacks.
  for (std::uint32_t i = 0; i < packets_; ++i) {
    free_slots_[i] = packets_ - 1 - i;
    refs_[i] = 1;
  }
  for (std::uint32_t i = 0; i < bare_; ++i) free_bare_list_[i] = packets_ + bare_ - 1 - i;
}

/// A pool in memory of its own, of a size known at compile time: for microcontrollers, and for static storage.
///
///     static static_pool<pool_config{.packets = 32, .bytes = 512, .bare = 8}> memory;
///
/// Every packet must have come home when it is destroyed (RUNNEL_ASSERT).
template <pool_config Config>
class static_pool {
 public:
  static_pool() noexcept : pool_(pool::create({memory_, sizeof memory_}, Config)) {}
  static_pool(const static_pool&) = delete;
  static_pool& operator=(const static_pool&) = delete;
  ~static_pool() {
    pool_->reclaim();
    RUNNEL_ASSERT(pool_->available() == pool_->capacity() && pool_->bare_available() == pool_->bare_capacity());
  }
  /// The pool. @{
  operator pool&() noexcept { return *pool_; }
  [[nodiscard]] pool& get() noexcept { return *pool_; }
  [[nodiscard]] pool* operator->() noexcept { return pool_; }
  /// @}

 private:
  static_assert(Config.packets > 0, "runnel: a pool needs at least one packet");
  static_assert(Config.bytes <= 0xffff && Config.headroom <= 0xffff,
                "runnel: bytes and headroom of a pool are at most 65535; chain packets for more");
  alignas(64) std::byte memory_[pool::bytes_needed(Config)];
  pool* pool_;
};

}  // namespace runnel

#endif

// ==== runnel/packet/packet.hpp =======================================================================================
// A packet: an owning, move-only handle of eight bytes to a descriptor and the bytes that it describes. The
// operations are sk_buff's.
#ifndef RUNNEL_PACKET_PACKET_HPP
#define RUNNEL_PACKET_PACKET_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t

namespace runnel {

/// An owning handle to a packet. Destroying it returns slot and descriptor to their pool, whoever holds it. An empty
/// handle (`!p`) owns nothing; calling anything but `operator bool` and assignment on it is a programming error.
///
/// A packet whose bytes are shared (`clone`) is read-only until `unshare`. A packet may go on in further
/// *fragments*: `length()` and `data()` speak of the first, `total_length()` of all.
class packet {
 public:
  constexpr packet() noexcept = default;
  packet(const packet&) = delete;  // a packet is not copied: write clone() to share its bytes, copy() to copy them
  packet& operator=(const packet&) =
      delete;  // a packet is not copied: write clone() to share its bytes, copy() to copy them
  /// Takes the packet over: the other handle is empty then.
  constexpr packet(packet&& other) noexcept : d_(other.d_) { other.d_ = nullptr; }
  /// Releases its own packet, and takes the other one over.
  packet& operator=(packet&& other) noexcept {
    detail::descriptor* theirs = other.d_;
    other.d_ = nullptr;  // first, so that moving a packet onto itself changes nothing
    if (d_ != nullptr) pool::release_chain(d_);
    d_ = theirs;
    return *this;
  }
  ~packet() {
    if (d_ != nullptr) pool::release_chain(d_);
  }
  /// Whether there is a packet.
  [[nodiscard]] explicit operator bool() const noexcept { return d_ != nullptr; }
  /// Gives the packet back now.
  void reset() noexcept { packet{static_cast<packet&&>(*this)}; }

  // ---- the bytes of the first fragment

  /// The first byte, to read.
  [[nodiscard]] const std::byte* data() const noexcept { return d_->data; }
  /// Bytes in this packet, without what is chained to it.
  [[nodiscard]] std::uint32_t length() const noexcept { return d_->length; }
  /// Bytes before the data that belong to it.
  [[nodiscard]] std::size_t headroom() const noexcept { return d_->headroom; }
  /// Bytes behind the data that belong to it.
  [[nodiscard]] std::size_t tailroom() const noexcept { return d_->tailroom; }
  /// Where offsets of `layers()` count from.
  [[nodiscard]] const std::byte* head() const noexcept { return d_->data - d_->headroom; }
  /// The bytes, to read.
  [[nodiscard]] bytes contents() const noexcept { return {d_->data, d_->length}; }
  /// The bytes to write to. They must not be shared (RUNNEL_ASSERT): call `unshare()` first.
  [[nodiscard]] mutable_bytes writable() noexcept {
    RUNNEL_ASSERT(!is_shared());
    return {d_->data, d_->length};
  }

  /// Grows the packet by `n` bytes at the front and returns the first of them, uninitialised. Null, and nothing
  /// changed, when the headroom is smaller or the bytes are shared.
  [[nodiscard]] std::byte* push(std::size_t n) noexcept {
    if (n > d_->headroom || is_shared()) return nullptr;
    d_->headroom = static_cast<std::uint16_t>(d_->headroom - n);
    d_->length += static_cast<std::uint32_t>(n);
    return d_->data -= n;
  }
  /// Takes `n` bytes off the front. False, and nothing changed, when the first fragment is shorter, or when the
  /// headroom would exceed 65535 bytes.
  [[nodiscard]] bool pull(std::size_t n) noexcept {
    if (n > d_->length || d_->headroom + n > 0xffff) return false;
    d_->headroom = static_cast<std::uint16_t>(d_->headroom + n);
    d_->length -= static_cast<std::uint32_t>(n);
    d_->data += n;
    return true;
  }
  /// Grows the packet by `n` bytes at the end of its first fragment and returns the first of them, uninitialised.
  /// Null, and nothing changed, when the tailroom is smaller, the bytes are shared, or more fragments follow.
  [[nodiscard]] std::byte* put(std::size_t n) noexcept {
    if (n > d_->tailroom || is_chained() || is_shared()) return nullptr;
    std::byte* end = d_->data + d_->length;
    d_->tailroom = static_cast<std::uint16_t>(d_->tailroom - n);
    d_->length += static_cast<std::uint32_t>(n);
    return end;
  }
  /// Appends a copy of `from`. False, and nothing changed, where `put` would return null.
  [[nodiscard]] bool append(bytes from) noexcept {
    std::byte* to = put(from.size());
    if (to == nullptr) return false;
    copy_bytes(to, from.data(), from.size());
    return true;
  }
  /// Shortens the packet to `n` bytes in all its fragments together; fragments behind are released. False, and
  /// nothing changed, when it is shorter already.
  [[nodiscard]] bool trim(std::size_t n) noexcept;
  /// Moves the beginning of an empty packet `n` bytes further into its room. False when it is not empty or there is
  /// no such room.
  [[nodiscard]] bool reserve(std::size_t n) noexcept {
    if (d_->length != 0 || n > d_->tailroom || d_->headroom + n > 0xffff) return false;
    d_->data += n;
    d_->headroom = static_cast<std::uint16_t>(d_->headroom + n);
    d_->tailroom = static_cast<std::uint16_t>(d_->tailroom - n);
    return true;
  }

  // ---- sharing and copying

  /// Whether somebody else sees the same bytes.
  [[nodiscard]] bool is_shared() const noexcept {
    return (d_->special & (detail::maybe_shared | detail::is_clone)) != 0 && is_shared_slow();
  }
  /// A second packet over the same bytes, with a copy of what is known about them, fragments included. Costs a
  /// descriptor for each fragment and copies no byte. Both are read-only until one of them is `unshare`d or gone.
  /// An empty handle when no bare descriptor is left, or when the packet came from another thread. Bytes lent by a
  /// device stay lent, and count as shared from then on until `unshare` or `keep` copies them.
  [[nodiscard]] packet clone() noexcept;
  /// A packet with a copy of the bytes, linear, with what is known about the packet, and with the pool's headroom, or
  /// what the bytes leave of it when they need more than the room behind it. An empty handle when the pool has no slot
  /// left (counted in its `exhausted()`), or the packet is longer than a whole one.
  [[nodiscard]] packet copy() const noexcept { return copy(pool::of(d_)); }
  /// The same from another pool.
  [[nodiscard]] packet copy(pool& to) const noexcept;
  /// Makes the bytes this packet's own, by copying them when they, or those of a fragment, are shared: to one slot
  /// if they fit, else to a chain of slots. False, and nothing changed, when the pool has not enough of them left.
  [[nodiscard]] bool unshare() noexcept {
    if (!any_shared()) [[likely]]
      return true;
    return become(copy_to_slots());
  }
  /// Keeps the packet beyond the burst: bytes that a device only lent are copied, to one slot if they fit, else to a
  /// chain of slots. False, and nothing changed, when the pool has not enough of them left. Whoever stores a packet
  /// calls it.
  [[nodiscard]] bool keep() noexcept {
    if (!any_lent()) [[likely]]
      return true;
    return become(copy_to_slots());
  }
  /// Whether the bytes, or those of a fragment, are lent by a device.
  [[nodiscard]] bool is_lent() const noexcept { return any_lent(); }

  // ---- fragments

  /// Whether other packets are chained to it.
  [[nodiscard]] bool is_chained() const noexcept { return (d_->special & detail::is_chained) != 0; }
  /// Bytes of all fragments together.
  [[nodiscard]] std::size_t total_length() const noexcept { return is_chained() ? total_length_slow() : d_->length; }
  /// Hangs another packet's bytes behind this one's; what was known about `tail` is forgotten. Both must come from
  /// one pool, and be two: false, and nothing changed, when they do not, or `tail` is empty. Costs a walk over the
  /// fragments that are there.
  [[nodiscard]] bool append(packet&& tail) noexcept;
  /// Moves all bytes into one fragment. False, and nothing changed, when they do not fit a slot or none is left.
  [[nodiscard]] bool linearize() noexcept {
    if (!is_chained()) [[likely]]
      return true;
    return become(copy());
  }
  /// Calls `f(bytes)` for each fragment in turn.
  template <class F>
  void for_each_fragment(F f) const {
    for (const detail::descriptor* d = d_; d != nullptr; d = following(d)) f(bytes{d->data, d->length});
  }

  // ---- what is known about it

  /// What `parse` found.
  [[nodiscard]] const runnel::layers& layers() const noexcept { return d_->layers; }
  /// Sets what `parse` found.
  void layers(const runnel::layers& l) noexcept {
    // As one word: stored member by member, which compilers like, it could not be read whole for a while.
    const auto word = __builtin_bit_cast(std::uint64_t, l);
    __builtin_memcpy(static_cast<void*>(&d_->layers), &word, sizeof word);
  }
  /// When it was received, by the clock of its device.
  [[nodiscard]] instant timestamp() const noexcept { return d_->timestamp; }
  /// Sets the time.
  void timestamp(instant t) noexcept { d_->timestamp = t; }
  /// The flow hash, if the device or a stage computed one.
  [[nodiscard]] std::uint32_t flow_hash() const noexcept { return d_->hash; }
  /// Sets the flow hash.
  void flow_hash(std::uint32_t v) noexcept { d_->hash = v; }
  /// A number for the user's own purposes, as the kernel's mark; 0 at first.
  [[nodiscard]] std::uint32_t mark() const noexcept { return d_->mark; }
  /// Sets the mark.
  void mark(std::uint32_t v) noexcept { d_->mark = v; }
  /// A class of service of the user's own; 0 at first.
  [[nodiscard]] std::uint8_t priority() const noexcept { return d_->priority; }
  /// Sets the priority.
  void priority(std::uint8_t v) noexcept { d_->priority = v; }
  /// By which interface of its device it came in.
  [[nodiscard]] std::uint16_t iif() const noexcept { return d_->iif; }
  /// Sets the interface.
  void iif(std::uint16_t v) noexcept { d_->iif = v; }
  /// By which receive queue it came in; 0 when a device lends its bytes.
  [[nodiscard]] std::uint8_t queue() const noexcept {
    return (d_->special & detail::is_lent) != 0 ? std::uint8_t{0} : d_->lender_or_queue;
  }
  /// The number of the connection it belongs to in the table that tracks it, plus one; 0 when untracked.
  [[nodiscard]] std::uint32_t connection() const noexcept { return d_->connection; }
  /// Sets the connection.
  void connection(std::uint32_t v) noexcept { d_->connection = v; }
  /// Four bytes for the stage that holds the packet; the next stage may overwrite them.
  [[nodiscard]] std::uint32_t scratch() const noexcept { return d_->scratch; }
  /// Sets the scratch value.
  void scratch(std::uint32_t v) noexcept { d_->scratch = v; }
  /// What is known of the transport checksum.
  [[nodiscard]] checksum_status checksum() const noexcept { return static_cast<checksum_status>(d_->status & 3u); }
  /// Sets what is known of the transport checksum.
  void checksum(checksum_status s) noexcept {
    d_->status = static_cast<std::uint8_t>((d_->status & ~3u) | static_cast<std::uint8_t>(s));
  }
  /// Payload bytes of each segment that this packet stands for; 0 when it is a single one.
  [[nodiscard]] std::uint16_t segment_size() const noexcept {
    return (d_->status & 4u) != 0 ? std::uint16_t{0} : d_->segment_size;
  }
  /// Sets the segment size.
  void segment_size(std::uint16_t v) noexcept {
    d_->segment_size = v;
    d_->status &= static_cast<std::uint8_t>(~4u);
  }
  /// Bytes that a capture's snap length cut off its end; 65535 is "that many or more".
  [[nodiscard]] std::uint16_t missing() const noexcept {
    return (d_->status & 4u) != 0 ? d_->segment_size : std::uint16_t{0};
  }
  /// Sets how many bytes are missing.
  void missing(std::uint16_t v) noexcept {
    d_->segment_size = v;
    d_->status = static_cast<std::uint8_t>(v != 0 ? d_->status | 4u : d_->status & ~4u);
  }
  /// Whether `trace` follows this packet.
  [[nodiscard]] bool traced() const noexcept { return (d_->status & 8u) != 0; }
  /// Sets whether `trace` follows it.
  void traced(bool on) noexcept { d_->status = static_cast<std::uint8_t>(on ? d_->status | 8u : d_->status & ~8u); }
  /// The pool that it goes back to.
  [[nodiscard]] pool& home() const noexcept { return pool::of(d_); }

  // ---- crossing to another thread, and back to a device

  /// Says that the packet goes to another thread: from then on it comes home by the pool's lock-free list, and
  /// neither clones nor copies to a slot of that pool. A shared or lent packet is copied first, as by `unshare`.
  /// False, and nothing changed, when that fails.
  [[nodiscard]] bool send_away() noexcept;
  /// Whether it was sent to another thread, and is not at home again.
  [[nodiscard]] bool is_away() const noexcept { return (d_->special & detail::is_away) != 0; }
  /// Gives up the packet and keeps its slot, as a frame for a device to put on a ring. The packet must be alone on a
  /// slot, linear, and on its pool's thread (`is_plain()`, asserted).
  [[nodiscard]] frame detach() noexcept;
  /// Whether the packet is one fragment, alone on a slot of its pool, and on its pool's thread.
  [[nodiscard]] bool is_plain() const noexcept { return d_->special == 0 || is_plain_slow(); }

 private:
  friend class pool;
  constexpr explicit packet(detail::descriptor* d) noexcept : d_(d) {}

  static const detail::descriptor* following(const detail::descriptor* d) noexcept {
    if ((d->special & detail::is_chained) == 0) return nullptr;
    return d - d->index + d->next;
  }
  static detail::descriptor* following(detail::descriptor* d) noexcept {
    return const_cast<detail::descriptor*>(following(static_cast<const detail::descriptor*>(d)));
  }
  [[nodiscard]] bool is_shared_slow() const noexcept { return shared(d_); }
  static bool shared(const detail::descriptor* d) noexcept {
    const pool& home = pool::of(const_cast<detail::descriptor*>(d));
    const bool own = d->index < home.packets_;
    if ((d->special & (detail::maybe_shared | detail::is_clone)) == 0) return false;
    if ((d->special & detail::is_lent) != 0) return true;
    return home.refs_[own ? d->index : home.slot_of(d->data - d->headroom)] > 1;
  }
  [[nodiscard]] bool is_plain_slow() const noexcept {
    return (d_->special & (detail::is_lent | detail::is_chained | detail::is_away)) == 0 && !shared(d_);
  }
  [[nodiscard]] bool any_shared() const noexcept {
    for (const detail::descriptor* d = d_; d != nullptr; d = following(d))
      if (shared(d)) return true;
    return false;
  }
  [[nodiscard]] bool any_lent() const noexcept {
    for (const detail::descriptor* d = d_; d != nullptr; d = following(d))
      if ((d->special & detail::is_lent) != 0) return true;
    return false;
  }
  [[nodiscard]] std::size_t total_length_slow() const noexcept {
    std::size_t sum = 0;
    for (const detail::descriptor* d = d_; d != nullptr; d = following(d)) sum += d->length;
    return sum;
  }
  // Hangs what `tail` owns behind `last`, which has nothing behind it, and returns its first descriptor.
  static detail::descriptor* link(detail::descriptor* last, packet& tail) noexcept {
    last->next = tail.d_->index;
    last->special |= detail::is_chained;
    last = tail.d_;
    tail.d_ = nullptr;
    return last;
  }
  bool become(packet&& other) noexcept {
    if (!other) return false;
    *this = static_cast<packet&&>(other);
    return true;
  }
  // What is known about a packet, from one descriptor to another on a slot of its pool; not where its bytes are.
  static void copy_knowledge(detail::descriptor* to, const detail::descriptor* from) noexcept {
    to->timestamp = from->timestamp;
    to->hash = from->hash;
    to->mark = from->mark;
    to->connection = from->connection;
    to->scratch = from->scratch;
    to->layers = from->layers;
    to->iif = from->iif;
    to->segment_size = from->segment_size;
    to->priority = from->priority;
    to->lender_or_queue = (from->special & detail::is_lent) != 0 ? std::uint8_t{0} : from->lender_or_queue;
    to->status = from->status;
  }
  // The same for a copy whose bytes begin elsewhere: offsets of layers count from the head, and the two heads may lie
  // differently before the data.
  static void copy_shifted_knowledge(detail::descriptor* to, const detail::descriptor* from) noexcept {
    copy_knowledge(to, from);
    runnel::layers& l = to->layers;
    if (!l.has(protocol::parsed) && l.fault == drop_reason::none) return;
    const int shift = static_cast<int>(to->headroom) - static_cast<int>(from->headroom);
    l.network = static_cast<std::uint16_t>(l.network + shift);
    l.transport = static_cast<std::uint16_t>(l.transport + shift);
  }
  [[nodiscard]] packet copy_to_slots() const noexcept;
  static detail::descriptor* clone_one(pool& home, detail::descriptor* d) noexcept;

  detail::descriptor* d_ = nullptr;
};
static_assert(sizeof(packet) == sizeof(void*));

RUNNEL_INLINE packet pool::attach(const frame& f) noexcept {
  const bool lent = f.slot == no_slot;
  detail::descriptor* d;
  if (lent) [[unlikely]] {
    d = take_bare();
    if (d == nullptr) return {};
  } else {
    d = descriptors() + f.slot;
  }
  // Every member but two: `index` is right for ever, and `next` means nothing without is_chained. Small ones that lie
  // side by side are stored together: the stores are the price of a new packet.
  d->data = f.data;
  d->timestamp = f.timestamp;
  d->length = f.length;
  detail::store_side_by_side<std::uint64_t>(&d->headroom, f.headroom, f.tailroom, f.iif,
                                            f.missing != 0 ? f.missing : f.segment_size);
  d->hash = 0;
  d->mark = 0;
  d->connection = 0;
  d->scratch = 0;
  packet p{d};
  p.layers({.protocols = static_cast<std::uint16_t>(f.link)});
  const unsigned status = static_cast<unsigned>(f.checksum) | (f.missing != 0 ? 4u : 0u);
  detail::store_side_by_side<std::uint32_t>(&d->priority, 0, lent ? f.lender : f.queue,
                                            lent ? detail::is_lent : std::uint8_t{0}, status);
  return p;
}

inline packet pool::allocate() noexcept {
  const std::uint32_t i = take_slot();
  if (i == no_slot) return {};
  detail::descriptor* d = descriptors() + i;
  *d = detail::descriptor{};
  d->data = slots_ + i * stride_ + headroom_;
  d->index = i;
  d->headroom = static_cast<std::uint16_t>(headroom_);
  d->tailroom = static_cast<std::uint16_t>(bytes_);
  return packet{d};
}

[[gnu::noinline]] inline void pool::release(packet* packets, std::size_t n) noexcept {
  // The first that is alone and at home says whose stacks those are; what comes from other threads goes home first.
  std::size_t i = 0;
  for (; i < n; ++i) {
    detail::descriptor* d = packets[i].d_;
    if (d == nullptr) continue;
    if (d->special <= detail::is_lent) break;
    packets[i].d_ = nullptr;
    release_special(d);
  }
  if (i == n) return;
  // Plain packets of one pool and those that show lent bytes come in bursts; others go the long way. The top of the
  // stack is kept in a register, as for frames.
  pool& home = of(packets[i].d_);
  std::uint32_t* top = home.free_slots_ + home.free_count_;
  const auto first = reinterpret_cast<std::uintptr_t>(home.descriptors());
  const std::uintptr_t count = std::uintptr_t{home.packets_} + home.bare_;
  for (; i < n; ++i) {
    detail::descriptor* d = packets[i].d_;
    packets[i].d_ = nullptr;
    const std::uintptr_t index = (reinterpret_cast<std::uintptr_t>(d) - first) / sizeof(detail::descriptor);
    if (index < count && d->special <= detail::is_lent) [[likely]] {
      if (d->special == 0) [[likely]] {
        *top++ = static_cast<std::uint32_t>(index);
      } else {
        home.free_bare_list_[home.free_bare_count_++] = static_cast<std::uint32_t>(index);
        --home.lent_[d->lender_or_queue];
      }
      continue;
    }
    if (d == nullptr) continue;
    home.free_count_ = static_cast<std::uint32_t>(top - home.free_slots_);
    release_special(d);
    top = home.free_slots_ + home.free_count_;
  }
  home.free_count_ = static_cast<std::uint32_t>(top - home.free_slots_);
}

inline bool packet::trim(std::size_t n) noexcept {
  if (n > total_length()) return false;
  detail::descriptor* d = d_;
  while (n > d->length) {
    n -= d->length;
    d = following(d);
  }
  if (detail::descriptor* rest = following(d)) {
    d->special &= static_cast<std::uint8_t>(~detail::is_chained);
    pool::release_chain(rest);
  }
  const std::size_t room = d->tailroom + (d->length - n);
  d->tailroom = static_cast<std::uint16_t>(room < 0xffff ? room : 0xffff);
  d->length = static_cast<std::uint32_t>(n);
  return true;
}

inline detail::descriptor* packet::clone_one(pool& home, detail::descriptor* d) noexcept {
  detail::descriptor* c = home.take_bare();
  if (c == nullptr) return nullptr;
  const std::uint32_t index = c->index;
  *c = *d;
  c->index = index;
  if ((d->special & detail::is_lent) != 0) {
    d->special |= detail::maybe_shared;
    c->special = detail::is_lent | detail::maybe_shared;
    ++home.lent_[d->lender_or_queue];
    return c;
  }
  ++home.refs_[d->index < home.packets_ ? d->index : home.slot_of(d->data - d->headroom)];
  d->special |= detail::maybe_shared;
  c->special = detail::is_clone;
  return c;
}

inline packet packet::clone() noexcept {
  if (is_away()) return {};
  pool& home = pool::of(d_);
  packet whole{clone_one(home, d_)};
  if (!whole) return {};
  detail::descriptor* last = whole.d_;
  for (detail::descriptor* d = following(d_); d != nullptr; d = following(d)) {
    packet c{clone_one(home, d)};
    if (!c) return {};
    last = link(last, c);
  }
  return whole;
}

inline packet packet::copy(pool& to) const noexcept {
  const std::size_t n = total_length();
  const std::size_t whole_slot = std::size_t{to.headroom()} + to.packet_bytes();
  if (n > whole_slot || (is_away() && &to == &pool::of(d_))) return {};
  packet c = to.allocate();
  if (!c) return {};
  std::byte* at = c.d_->data;
  if (n > to.packet_bytes()) at -= n - to.packet_bytes();
  const std::size_t room = whole_slot - n - static_cast<std::size_t>(at - c.head());
  c.d_->headroom = static_cast<std::uint16_t>(at - c.head());
  c.d_->tailroom = static_cast<std::uint16_t>(room);
  c.d_->length = static_cast<std::uint32_t>(n);
  c.d_->data = at;
  copy_shifted_knowledge(c.d_, d_);
  for_each_fragment([&at](bytes part) {
    copy_bytes(at, part.data(), part.size());
    at += part.size();
  });
  return c;
}

// A copy in slots of the same pool: one if the bytes fit, else as many as it takes.
inline packet packet::copy_to_slots() const noexcept {
  pool& home = pool::of(d_);
  if (is_away()) return {};
  if (total_length() <= std::size_t{home.headroom()} + home.packet_bytes()) return copy(home);
  packet whole = home.allocate();
  if (!whole) return {};
  copy_shifted_knowledge(whole.d_, d_);
  detail::descriptor* last = whole.d_;
  for (const detail::descriptor* d = d_; d != nullptr; d = following(d)) {
    for (bytes rest{d->data, d->length}; !rest.empty();) {
      if (last->tailroom == 0) {
        packet more = home.allocate();
        if (!more) return {};
        last = link(last, more);
      }
      const bytes part = rest.first(last->tailroom);
      copy_bytes(last->data + last->length, part.data(), part.size());
      last->length += static_cast<std::uint32_t>(part.size());
      last->tailroom = static_cast<std::uint16_t>(last->tailroom - part.size());
      rest = rest.from(part.size());
    }
  }
  return whole;
}

inline bool packet::append(packet&& tail) noexcept {
  if (!tail || tail.d_ == d_ || &pool::of(d_) != &pool::of(tail.d_)) return false;
  detail::descriptor* last = d_;
  while (detail::descriptor* d = following(last)) last = d;
  link(last, tail);
  return true;
}

inline bool packet::send_away() noexcept {
  // A clone that is alone by now may go as it is: its reference to the slot is given up at home.
  if ((any_shared() || any_lent()) && !become(copy_to_slots())) return false;
  for (detail::descriptor* d = d_; d != nullptr; d = following(d)) d->special |= detail::is_away;
  return true;
}

inline frame packet::detach() noexcept {
  RUNNEL_ASSERT(is_plain());
  frame f;
  f.data = d_->data;
  f.timestamp = d_->timestamp;
  f.length = d_->length;
  f.headroom = d_->headroom;
  f.tailroom = d_->tailroom;
  f.iif = d_->iif;
  f.queue = queue();
  f.missing = missing();
  f.segment_size = segment_size();
  f.link = d_->layers.link_kind();
  f.checksum = checksum();
  f.slot = pool::of(d_).release_but_slot(d_);
  d_ = nullptr;
  return f;
}

}  // namespace runnel

#endif

// ==== runnel/flow/device_concepts.hpp ================================================================================
// What the engine asks of a device: something that hands out frames, something that takes packets.
#ifndef RUNNEL_FLOW_DEVICE_CONCEPTS_HPP
#define RUNNEL_FLOW_DEVICE_CONCEPTS_HPP

#include <concepts>  // same_as
#include <cstddef>   // size_t

namespace runnel {

namespace detail {
// Not to be copied, so that a device that would copy the engine's is none.
struct any_taker {
  any_taker(const any_taker&) = delete;
  any_taker& operator=(const any_taker&) = delete;
  void operator()(const frame&) const noexcept {}
};
}  // namespace detail

/// A device that frames come from.
/// - `memory()`: the pool whose slots its frames are, or whose bare descriptors show the bytes that it lends.
/// - `receive(room, now, take)`: calls `take(f)` for up to `room` frames, in the order in which they came, and says for
///   how many. 0 is "nothing now", at once. `take` counts what it took: it comes as `Take&&` and is not copied. A frame
///   belongs to whoever took it until it is given to `memory().release`, attached, or transmitted. Lent bytes stay
///   valid until the next `receive`: a device that still has frames out (`memory().lent(id) != 0`) hands out nothing. A
///   template, so that the frame need not exist in memory: what becomes a packet at once is written to its descriptor.
/// - `done()`: whether nothing will ever come again (the end of a capture).
/// It may also have
/// - `wait_handle()`: a file descriptor that can be read from when `receive` has something, -1 for none. A loop that
/// has
///   nothing to do sleeps on those of all its devices;
/// - `next_due()`: when it has something next (an `instant`), `never` when it does not know.
template <class D>
concept receiving_device = requires(D& d, std::size_t room, instant now, detail::any_taker take) {
  { d.memory() } -> std::same_as<pool&>;
  { d.receive(room, now, take) } -> std::same_as<std::size_t>;
  { d.done() } -> std::same_as<bool>;
};

/// A device that packets go to.
/// - `transmit(packets, n, now)`: takes the packets that it can, in order from the first, and says how many: those
///   handles are empty afterwards. What it did not take is still the caller's, who may offer it again: a packet that it
///   can never send, one that is too long, it takes all the same and counts as lost.
/// It may also have
/// - `transmit_handle()`: a file descriptor that can be written to (POLLOUT) when a full device has room again, -1 for
///   none. `transmit<hold>` waits for it;
/// - `lost()`: how many packets it took and did not send, so far.
template <class D>
concept transmitting_device = requires(D& d, packet* packets, std::size_t n, instant now) {
  { d.transmit(packets, n, now) } -> std::same_as<std::size_t>;
};

/// A device that also takes frames, its own and from its own pool, as they are: what an early `tx` sends back needs no
/// descriptor then. `transmit(frames, n, now)` says how many it took, in order from the first; the rest is the
/// caller's.
template <class D>
concept frame_transmitting_device = requires(D& d, const frame* frames, std::size_t n, instant now) {
  { d.transmit(frames, n, now) } -> std::same_as<std::size_t>;
};

/// A source that holds packets already, such as a queue: `pull(packets, room, now)` moves up to `room` of them into
/// handles that hold nothing (their old value is overwritten) and says how many.
template <class Q>
concept pulled_source = requires(Q& q, packet* packets, std::size_t room, instant now) {
  { q.pull(packets, room, now) } -> std::same_as<std::size_t>;
  { q.done() } -> std::same_as<bool>;
};

}  // namespace runnel

#endif

// ==== runnel/device/device.hpp =======================================================================================
// What a device is. The concepts lie where the engine, which includes nothing below it, can see them.
#ifndef RUNNEL_DEVICE_DEVICE_HPP
#define RUNNEL_DEVICE_DEVICE_HPP

#endif

// ==== runnel/device/posix.hpp ========================================================================================
// What the devices share that talk to a POSIX system: an owned file descriptor, an anonymous mapping, the words for
// an errno. Nothing here is for users.
#ifndef RUNNEL_DEVICE_POSIX_HPP
#define RUNNEL_DEVICE_POSIX_HPP

#include <cstddef>  // byte, size_t

#if defined(__unix__) || defined(__APPLE__)

#include <errno.h>     // errno
#include <string.h>    // strerror
#include <sys/mman.h>  // mmap, munmap
#include <unistd.h>    // close

namespace runnel::detail {

/// A file descriptor, closed at destruction when it is owned. -1 is none.
class file_handle {
 public:
  file_handle() noexcept = default;
  file_handle(int fd, bool owned) noexcept : fd_(fd), owned_(owned) {}
  file_handle(file_handle&& other) noexcept : fd_(other.fd_), owned_(other.owned_) { other.fd_ = -1; }
  file_handle& operator=(file_handle&& other) noexcept {
    if (this != &other) {
      (void)close();
      fd_ = other.fd_;
      owned_ = other.owned_;
      other.fd_ = -1;
    }
    return *this;
  }
  ~file_handle() { (void)close(); }
  [[nodiscard]] int get() const noexcept { return fd_; }
  /// 0, or the errno that close(2) failed with. The descriptor is gone either way.
  int close() noexcept {
    const int fd = fd_;
    fd_ = -1;
    return fd >= 0 && owned_ && ::close(fd) != 0 ? errno : 0;
  }

 private:
  int fd_ = -1;
  bool owned_ = false;
};

/// Memory from the system, aligned to a page, given back at destruction: anonymous and private, all zeros, or `of` a
/// file.
class mapping {
 public:
  mapping() noexcept = default;
  /// `data()` is null when the system has no such memory; errno then says why.
  explicit mapping(std::size_t size, int more_flags = 0) noexcept {
    void* p = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | more_flags, -1, 0);
    if (p == MAP_FAILED) return;
    data_ = static_cast<std::byte*>(p);
    size_ = size;
  }
  /// Memory that the kernel shares by an open file or socket.
  [[nodiscard]] static mapping of(int fd, std::size_t size) noexcept {
    mapping m;
    void* p = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED) return m;
    m.data_ = static_cast<std::byte*>(p);
    m.size_ = size;
    return m;
  }
  mapping(mapping&& other) noexcept : data_(other.data_), size_(other.size_) {
    other.data_ = nullptr;
    other.size_ = 0;
  }
  mapping& operator=(mapping&& other) noexcept {
    if (this != &other) {
      unmap();
      data_ = other.data_;
      size_ = other.size_;
      other.data_ = nullptr;
      other.size_ = 0;
    }
    return *this;
  }
  ~mapping() { unmap(); }
  [[nodiscard]] std::byte* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

 private:
  void unmap() noexcept {
    if (data_ != nullptr) (void)::munmap(data_, size_);
  }
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

/// The name of a file as it goes into error messages: of a long path the end, so that there is room for the cause.
class short_name {
 public:
  explicit short_name(const char* path) noexcept {
    std::size_t n = 0;
    while (path[n] != '\0') ++n;
    if (n >= sizeof name_) {
      path += n - (sizeof name_ - 4);
      name_[0] = name_[1] = name_[2] = '.';
    }
    for (std::size_t i = n >= sizeof name_ ? 3 : 0; *path != '\0'; ++i) name_[i] = *path++;
  }
  [[nodiscard]] const char* c_str() const noexcept { return name_; }

 private:
  char name_[96] = {};
};

/// Whether `path` is "-", the name of standard input and output.
[[nodiscard]] inline bool is_dash(const char* path) noexcept { return path[0] == '-' && path[1] == '\0'; }

}  // namespace runnel::detail

#endif  // defined(__unix__) || defined(__APPLE__)

#endif

// ==== runnel/device/mapped_pool.hpp ==================================================================================
// A pool of packets in memory of its own from the system, on huge pages where there are some.
#ifndef RUNNEL_DEVICE_MAPPED_POOL_HPP
#define RUNNEL_DEVICE_MAPPED_POOL_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uintptr_t

#if defined(__unix__) || defined(__APPLE__)

namespace runnel {

/// What a mapped pool's memory is made of.
enum class page_kind : std::uint8_t {
  huge,      ///< huge pages set aside by the administrator (MAP_HUGETLB)
  advised,   ///< ordinary pages that the system was asked to merge into huge ones (MADV_HUGEPAGE)
  ordinary,  ///< ordinary pages
};

[[nodiscard]] constexpr const char* name(page_kind kind) noexcept {
  return kind == page_kind::huge ? "huge" : kind == page_kind::advised ? "advised" : "ordinary";
}

/// Owns a pool and its memory. Every page is touched at `open`, so that the data path meets no page fault and a lack of
/// memory shows there. Move-only; moving it does not move the pool. Every packet must have come home when it is
/// destroyed (RUNNEL_ASSERT).
///
///     auto memory = mapped_pool::open({.packets = 8192});
///     if (!memory) return fail(memory.error());
///     auto in = pcap_reader::open("in.pcap", *memory);
class mapped_pool {
 public:
  /// Tries huge pages first, then ordinary ones aligned for the system to merge. Fails when a size in the configuration
  /// is beyond its limit, or the system has no such memory.
  [[nodiscard]] static result<mapped_pool, error> open(const pool_config& config = {}) noexcept {
    if (config.packets == 0) return error("pool", "configure", "packets", "0 is too few", "give it at least one");
    if (config.bytes > 0xffff || config.headroom > 0xffff)
      return error("pool", "configure", "bytes and headroom", "more than 65535", "chain packets for longer ones");
    if (std::uint64_t{config.packets} + config.bare > no_slot - 1 ||
        (SIZE_MAX - 2 * huge_page) / (pool::stride(config) + 256) < std::size_t{config.packets} + config.bare)
      return error("pool", "configure", "packets and bare", "too many for this machine", "give it fewer");
    const std::size_t size = pool::bytes_needed(config);
    page_kind kind = page_kind::huge;
    detail::mapping memory = map_huge(size);
    std::byte* start = memory.data();
    if (start == nullptr) {
      // Aligned to a huge page, which mmap does not promise, so that whole ones fit.
      memory = detail::mapping(size + huge_page);
      if (memory.data() == nullptr) {
        const int number = errno;
        text<32> amount;
        amount << std::uint64_t{size} << " bytes";
        return error("pool", "map", amount.c_str(), ::strerror(number), "configure fewer or smaller packets", number);
      }
      const auto address = reinterpret_cast<std::uintptr_t>(memory.data());
      start = memory.data() + (huge_page - address % huge_page) % huge_page;
      kind = advise_huge(start, size) ? page_kind::advised : page_kind::ordinary;
      for (std::size_t i = 0; i < size; i += 4096) start[i] = std::byte{0};
    }
    pool* made = pool::create({start, size}, config);
    RUNNEL_ASSERT(made != nullptr);
    return mapped_pool(static_cast<detail::mapping&&>(memory), made, kind);
  }
  mapped_pool(mapped_pool&& other) noexcept
      : memory_(static_cast<detail::mapping&&>(other.memory_)), pool_(other.pool_), pages_(other.pages_) {
    other.pool_ = nullptr;
  }
  mapped_pool& operator=(mapped_pool&&) = delete;
  ~mapped_pool() {
    if (pool_ == nullptr) return;
    pool_->reclaim();
    RUNNEL_ASSERT(pool_->available() == pool_->capacity() && pool_->bare_available() == pool_->bare_capacity());
  }

  operator pool&() noexcept { return *pool_; }
  [[nodiscard]] pool& get() noexcept { return *pool_; }
  [[nodiscard]] pool* operator->() noexcept { return pool_; }
  /// What its memory is made of.
  [[nodiscard]] page_kind pages() const noexcept { return pages_; }

 private:
  static constexpr std::size_t huge_page = std::size_t{2} << 20;

  mapped_pool(detail::mapping&& memory, pool* made, page_kind kind) noexcept
      : memory_(static_cast<detail::mapping&&>(memory)), pool_(made), pages_(kind) {}

  static detail::mapping map_huge(std::size_t size) noexcept {
#if defined(__linux__) && defined(MAP_HUGETLB)
    detail::mapping m((size + huge_page - 1) / huge_page * huge_page, MAP_HUGETLB);
    // A container may own fewer huge pages than mmap promises, and touching one too many is a SIGBUS: let the system
    // touch them, which reports it instead (MADV_POPULATE_WRITE, Linux 5.14). An older system is not trusted.
    constexpr int populate_write = 23;
    if (m.data() != nullptr && ::madvise(m.data(), m.size(), populate_write) == 0) return m;
#else
    (void)size;
#endif
    return {};
  }
  static bool advise_huge([[maybe_unused]] void* start, [[maybe_unused]] std::size_t size) noexcept {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    return ::madvise(start, size, MADV_HUGEPAGE) == 0;
#else
    return false;
#endif
  }

  detail::mapping memory_;
  pool* pool_;
  page_kind pages_;
};

}  // namespace runnel

#endif  // defined(__unix__) || defined(__APPLE__)

#endif

// ==== runnel/device/device_memory.hpp ================================================================================
// The pool of a device that has one of its own unless it is given one. Nothing here is for users.
#ifndef RUNNEL_DEVICE_DEVICE_MEMORY_HPP
#define RUNNEL_DEVICE_DEVICE_MEMORY_HPP

#include <new>  // placement new

#if defined(__unix__) || defined(__APPLE__)

namespace runnel::detail {

/// Refers to the caller's pool, or owns one in memory of its own. Move-only; the pool does not move.
class device_memory {
 public:
  /// `given` may be null: a pool of `config` is made then.
  [[nodiscard]] static result<device_memory, error> open(pool* given, const pool_config& config) noexcept {
    if (given != nullptr) return device_memory(given);
    auto own = mapped_pool::open(config);
    if (!own) return own.error();
    pool* const slots = &own->get();
    return device_memory(static_cast<mapped_pool&&>(*own), slots);
  }
  device_memory(device_memory&& other) noexcept : pool_(other.pool_), owns_(other.owns_) {
    if (owns_) ::new (static_cast<void*>(&own_)) mapped_pool(static_cast<mapped_pool&&>(other.own_));
    other.pool_ = nullptr;
  }
  device_memory& operator=(device_memory&&) = delete;
  ~device_memory() {
    if (owns_) own_.~mapped_pool();
  }
  [[nodiscard]] pool& get() const noexcept { return *pool_; }

 private:
  explicit device_memory(pool* given) noexcept : nothing_{}, pool_(given) {}
  device_memory(mapped_pool&& own, pool* slots) noexcept
      : own_(static_cast<mapped_pool&&>(own)), pool_(slots), owns_(true) {}

  union {
    char nothing_;
    mapped_pool own_;
  };
  pool* pool_;
  bool owns_ = false;
};

}  // namespace runnel::detail

#endif  // defined(__unix__) || defined(__APPLE__)

#endif

// ==== runnel/device/linux.hpp ========================================================================================
// Linux's calls for sockets and interfaces, without <sys/socket.h> and <net/if.h>: these declare a function `accept`,
// which would make rules that say `>> accept` ambiguous for whoever includes us. Nothing here is for users.
//
// The calls and their errors are those of the manual pages socket(2), bind(2), netdevice(7), and so on: -1 and errno.
#ifndef RUNNEL_DEVICE_LINUX_HPP
#define RUNNEL_DEVICE_LINUX_HPP

#if defined(__linux__)

#include <cstddef>  // size_t
#include <cstdint>  // uint16_t, uint32_t

#include <errno.h>        // errno
#include <sys/ioctl.h>    // ioctl
#include <sys/syscall.h>  // SYS_socket
#include <sys/uio.h>      // iovec
#include <unistd.h>       // syscall, ssize_t

namespace runnel::detail::sys {

// <sys/socket.h>
inline constexpr int af_inet = 2, af_netlink = 16, af_packet = 17, af_xdp = 44;
inline constexpr int sock_dgram = 2, sock_raw = 3, sock_nonblock = 04000, sock_cloexec = 02000000;
inline constexpr int sol_packet = 263, sol_netlink = 270, sol_xdp = 283;
inline constexpr int msg_dontwait = 0x40, msg_nosignal = 0x4000, msg_trunc = 0x20;
// <asm-generic/socket.h>; the architectures that differ (MIPS, SPARC, PA-RISC, Alpha) include their own.
#if defined(__mips__) || defined(__sparc__) || defined(__hppa__) || defined(__alpha__)
#error "runnel: the socket options of this architecture are not known yet: add them to device/linux.hpp"
#endif
inline constexpr int sol_socket = 1;
inline constexpr int so_error = 4, so_sndbuf = 7, so_rcvbuf = 8, so_sndbufforce = 32, so_rcvbufforce = 33;
inline constexpr int so_attach_filter = 26, so_detach_filter = 27;
inline constexpr int so_busy_poll = 46, so_prefer_busy_poll = 69, so_busy_poll_budget = 70;

// struct msghdr and struct mmsghdr: the kernel's user_msghdr.
struct message {
  void* name = nullptr;
  int name_length = 0;
  ::iovec* parts = nullptr;
  std::size_t part_count = 0;
  void* control = nullptr;
  std::size_t control_length = 0;
  unsigned flags = 0;
};
struct counted_message {
  message header;
  unsigned length = 0;  // bytes sent or received
};

inline int socket(int family, int type, int protocol) noexcept {
  return static_cast<int>(::syscall(SYS_socket, family, type, protocol));
}
inline int bind(int fd, const void* address, std::size_t size) noexcept {
  return static_cast<int>(::syscall(SYS_bind, fd, address, size));
}
inline int setsockopt(int fd, int level, int option, const void* value, std::size_t size) noexcept {
  return static_cast<int>(::syscall(SYS_setsockopt, fd, level, option, value, size));
}
// `size` comes as the room at `value` and goes as what was written.
inline int getsockopt(int fd, int level, int option, void* value, std::uint32_t& size) noexcept {
  return static_cast<int>(::syscall(SYS_getsockopt, fd, level, option, value, &size));
}
inline int getsockname(int fd, void* address, std::uint32_t& size) noexcept {
  return static_cast<int>(::syscall(SYS_getsockname, fd, address, &size));
}
inline ::ssize_t sendto(int fd, const void* data, std::size_t size, int flags, const void* to = nullptr,
                        std::size_t to_size = 0) noexcept {
  return ::syscall(SYS_sendto, fd, data, size, flags, to, to_size);
}
inline ::ssize_t recvfrom(int fd, void* data, std::size_t size, int flags) noexcept {
  return ::syscall(SYS_recvfrom, fd, data, size, flags, nullptr, nullptr);
}
inline ::ssize_t sendmsg(int fd, const message& m, int flags) noexcept { return ::syscall(SYS_sendmsg, fd, &m, flags); }
inline ::ssize_t recvmsg(int fd, message& m, int flags) noexcept { return ::syscall(SYS_recvmsg, fd, &m, flags); }
inline int sendmmsg(int fd, counted_message* m, unsigned n, int flags) noexcept {
  return static_cast<int>(::syscall(SYS_sendmmsg, fd, m, n, flags));
}

// struct ifreq of netdevice(7). 32 bytes where pointers have 32 bits, else 40.
struct interface_request {
  char name[16] = {};
  union {
    std::uint16_t address[8];  // a struct sockaddr: the family (of a link address the ARPHRD type), then its bytes
    std::int16_t flags;
    int number;                                   // index, MTU, queue length
    void* data;                                   // for SIOCETHTOOL
    std::byte map[sizeof(void*) == 8 ? 24 : 16];  // struct ifmap, which the kernel copies whole
  } value = {};
};
static_assert(sizeof(interface_request) == 40 || sizeof(void*) == 4);

// <bits/ioctls.h>
inline constexpr unsigned long siocgifname = 0x8910, siocgifconf = 0x8912, siocgifflags = 0x8913, siocsifflags = 0x8914;
inline constexpr unsigned long siocgifmtu = 0x8921, siocsifmtu = 0x8922, siocgifhwaddr = 0x8927, siocsifhwaddr = 0x8924;
inline constexpr unsigned long siocgifindex = 0x8933, siocethtool = 0x8946;
// <net/if.h>
inline constexpr int iff_up = 0x1, iff_loopback = 0x8, iff_running = 0x40, iff_promisc = 0x100, iff_lower_up = 0x10000;

}  // namespace runnel::detail::sys

#endif  // defined(__linux__)

#endif

// ==== runnel/wire/address.hpp ========================================================================================
// Link and network addresses as distinct types in wire order, prefixes, and their text forms: printed as RFC 5952
// says, read strictly as RFC 6943 §3.1.1 advises, checked by the compiler where they stand in the program.
#ifndef RUNNEL_WIRE_ADDRESS_HPP
#define RUNNEL_WIRE_ADDRESS_HPP

#include <cstddef>      // byte, size_t
#include <cstdint>      // uint8_t, uint32_t
#include <type_traits>  // is_constant_evaluated

namespace runnel {

/// A 48-bit link-layer address. `octets[0]` is first on the wire.
struct mac_address {
  /// The octets as they lie in a frame.
  std::uint8_t octets[6] = {};

  /// Reads six bytes.
  [[nodiscard]] static constexpr mac_address load(const std::byte* p) noexcept {
    mac_address a;
    if (!std::is_constant_evaluated()) {
      __builtin_memcpy(a.octets, p, 6);
      return a;
    }
    for (std::size_t i = 0; i < 6; ++i) a.octets[i] = load_u8(p + i);
    return a;
  }
  /// Writes six bytes.
  constexpr void store(std::byte* p) const noexcept {
    if (!std::is_constant_evaluated()) {
      __builtin_memcpy(p, octets, 6);
      return;
    }
    for (std::size_t i = 0; i < 6; ++i) store_u8(p + i, octets[i]);
  }
  /// The address as a number, the first octet most significant.
  [[nodiscard]] constexpr std::uint64_t value() const noexcept {
    std::uint64_t v = 0;
    for (const std::uint8_t o : octets) v = v << 8 | o;
    return v;
  }
  /// Group bit set: multicast, and broadcast too.
  [[nodiscard]] constexpr bool is_multicast() const noexcept { return (octets[0] & 1u) != 0; }
  /// Whether it is ff:ff:ff:ff:ff:ff.
  [[nodiscard]] constexpr bool is_broadcast() const noexcept { return value() == 0xffff'ffff'ffff; }
  /// Equal when all their parts are.
  friend constexpr bool operator==(const mac_address&, const mac_address&) noexcept = default;
};
/// ff:ff:ff:ff:ff:ff
inline constexpr mac_address mac_broadcast{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};

/// An IPv4 address. `value()` counts in host order (10.0.0.1 is 0x0a000001).
class ipv4_address {
 public:
  constexpr ipv4_address() noexcept = default;
  /// a.b.c.d
  constexpr ipv4_address(std::uint8_t a, std::uint8_t b, std::uint8_t c, std::uint8_t d) noexcept
      : value_(std::uint32_t{a} << 24 | std::uint32_t{b} << 16 | std::uint32_t{c} << 8 | d) {}
  /// From a number in host order.
  constexpr explicit ipv4_address(std::uint32_t host_order) noexcept : value_(host_order) {}

  /// Reads four bytes in network order.
  [[nodiscard]] static constexpr ipv4_address load(const std::byte* p) noexcept { return ipv4_address{load_be32(p)}; }
  /// Writes four bytes in network order.
  constexpr void store(std::byte* p) const noexcept { store_be32(p, value_); }
  /// As a number in host order.
  [[nodiscard]] constexpr std::uint32_t value() const noexcept { return value_; }
  /// Whether it is 0.0.0.0.
  [[nodiscard]] constexpr bool is_unspecified() const noexcept { return value_ == 0; }
  /// Whether it lies in 127.0.0.0/8.
  [[nodiscard]] constexpr bool is_loopback() const noexcept { return value_ >> 24 == 127; }
  /// Whether it lies in 224.0.0.0/4.
  [[nodiscard]] constexpr bool is_multicast() const noexcept { return value_ >> 28 == 14; }
  /// Whether it is 255.255.255.255.
  [[nodiscard]] constexpr bool is_broadcast() const noexcept { return value_ == 0xffff'ffff; }
  /// Equal when all their parts are.
  friend constexpr bool operator==(ipv4_address, ipv4_address) noexcept = default;

 private:
  std::uint32_t value_ = 0;
};

/// An IPv6 address: its two halves in host order, the first eight octets in `high`.
class ipv6_address {
 public:
  constexpr ipv6_address() noexcept = default;
  /// From its halves as numbers in host order.
  constexpr ipv6_address(std::uint64_t high, std::uint64_t low) noexcept : high_(high), low_(low) {}

  /// Reads sixteen bytes in network order.
  [[nodiscard]] static constexpr ipv6_address load(const std::byte* p) noexcept {
    return ipv6_address{load_be64(p), load_be64(p + 8)};
  }
  /// Writes sixteen bytes in network order.
  constexpr void store(std::byte* p) const noexcept {
    store_be64(p, high_);
    store_be64(p + 8, low_);
  }
  /// The first eight bytes as a number in host order.
  [[nodiscard]] constexpr std::uint64_t high() const noexcept { return high_; }
  /// The last eight bytes as a number in host order.
  [[nodiscard]] constexpr std::uint64_t low() const noexcept { return low_; }
  /// Group `i` of the eight 16-bit groups, as they are written between the colons.
  [[nodiscard]] constexpr std::uint16_t group(unsigned i) const noexcept {
    return static_cast<std::uint16_t>((i < 4 ? high_ : low_) >> (48 - 16 * (i % 4)));
  }
  /// Whether it is `::`.
  [[nodiscard]] constexpr bool is_unspecified() const noexcept { return high_ == 0 && low_ == 0; }
  /// Whether it is `::1`.
  [[nodiscard]] constexpr bool is_loopback() const noexcept { return high_ == 0 && low_ == 1; }
  /// Whether it lies in ff00::/8.
  [[nodiscard]] constexpr bool is_multicast() const noexcept { return high_ >> 56 == 0xff; }
  /// Whether it lies in fe80::/10.
  [[nodiscard]] constexpr bool is_link_local() const noexcept { return high_ >> 54 == 0xfe80u >> 6; }
  /// Equal when all their parts are.
  friend constexpr bool operator==(const ipv6_address&, const ipv6_address&) noexcept = default;

 private:
  std::uint64_t high_ = 0;
  std::uint64_t low_ = 0;
};

/// In the usual form: `02:00:5e:00:00:01`.
constexpr void print(text_writer& out, const mac_address& a) noexcept {
  for (std::size_t i = 0; i < 6; ++i) (i == 0 ? out : out << ':').hex(a.octets[i], 2);
}
/// In the usual form: `192.0.2.1`.
constexpr void print(text_writer& out, ipv4_address a) noexcept {
  out << (a.value() >> 24) << '.' << (a.value() >> 16 & 0xffu) << '.' << (a.value() >> 8 & 0xffu) << '.'
      << (a.value() & 0xffu);
}
/// RFC 5952: lower case, no leading zeros, the longest run of two or more zero groups shortened to `::` (the
/// first of equal ones), IPv4-mapped addresses with their last 32 bits in dotted form (§5).
constexpr void print(text_writer& out, const ipv6_address& a) noexcept {
  if (a.high() == 0 && a.low() >> 32 == 0xffff) {
    out << "::ffff:";
    return print(out, ipv4_address{static_cast<std::uint32_t>(a.low())});
  }
  unsigned best = 8, best_length = 1;
  for (unsigned i = 0; i < 8; ++i) {
    unsigned length = 0;
    while (i + length < 8 && a.group(i + length) == 0) ++length;
    if (length > best_length) best = i, best_length = length;
  }
  for (unsigned i = 0; i < 8; ++i) {
    if (i == best) {
      out << "::";
      i += best_length - 1;
      continue;
    }
    if (i != 0 && i != best + best_length) out << ':';
    out.hex(a.group(i));
  }
}

/// A block of addresses of one family: those that agree with `address()` in their first `length()` bits.
template <class Address>
class basic_prefix {
 public:
  /// Bits of an address.
  static constexpr unsigned bits = sizeof(Address) * 8;

  /// The whole address space, 0.0.0.0/0 or ::/0.
  constexpr basic_prefix() noexcept = default;
  /// Bits of `a` behind `length` (at most `bits`, asserted) do not count and become zero.
  constexpr basic_prefix(const Address& a, unsigned length) noexcept
      : address_(cut(a, length)), length_(static_cast<std::uint8_t>(length)) {
    RUNNEL_ASSERT(length <= bits);
  }
  /// The first address of the block.
  [[nodiscard]] constexpr const Address& address() const noexcept { return address_; }
  /// How many bits its addresses agree in.
  [[nodiscard]] constexpr unsigned length() const noexcept { return length_; }
  /// Whether an address lies in the block.
  [[nodiscard]] constexpr bool contains(const Address& a) const noexcept { return cut(a, length_) == address_; }
  /// Equal when all their parts are.
  friend constexpr bool operator==(const basic_prefix&, const basic_prefix&) noexcept = default;

 private:
  // The highest `length` of 32 or 64 bits.
  template <class Word>
  static constexpr Word highest(unsigned length) noexcept {
    return length == 0 ? Word{0} : static_cast<Word>(~Word{0} << (sizeof(Word) * 8 - length));
  }
  static constexpr ipv4_address cut(ipv4_address a, unsigned length) noexcept {
    return ipv4_address{a.value() & highest<std::uint32_t>(length < 32 ? length : 32)};
  }
  static constexpr ipv6_address cut(const ipv6_address& a, unsigned length) noexcept {
    const unsigned in_low = length <= 64 ? 0 : length < 128 ? length - 64 : 64;
    return {a.high() & highest<std::uint64_t>(length < 64 ? length : 64), a.low() & highest<std::uint64_t>(in_low)};
  }

  Address address_{};
  std::uint8_t length_ = 0;
};

/// A block of IPv4 addresses.
using ipv4_prefix = basic_prefix<ipv4_address>;
/// A block of IPv6 addresses.
using ipv6_prefix = basic_prefix<ipv6_address>;

/// A block of addresses of either family. One that was not given a value contains nothing.
class prefix {
 public:
  constexpr prefix() noexcept = default;
  /// A block of one family. @{
  constexpr prefix(const ipv4_prefix& p) noexcept : v4_(p), family_(4) {}
  constexpr prefix(const ipv6_prefix& p) noexcept : v6_(p), family_(6) {}
  /// @}
  /// The block of addresses that agree with `a` in their first `length` bits. @{
  [[nodiscard]] static constexpr prefix v4(ipv4_address a, unsigned length) noexcept { return ipv4_prefix{a, length}; }
  [[nodiscard]] static constexpr prefix v6(const ipv6_address& a, unsigned length) noexcept {
    return ipv6_prefix{a, length};
  }
  /// @}

  /// Whether it is a block of this family. @{
  [[nodiscard]] constexpr bool is_v4() const noexcept { return family_ == 4; }
  [[nodiscard]] constexpr bool is_v6() const noexcept { return family_ == 6; }
  /// @}
  /// How many bits its addresses agree in.
  [[nodiscard]] constexpr unsigned length() const noexcept { return is_v6() ? v6_.length() : v4_.length(); }
  /// False for addresses of the other family.
  [[nodiscard]] constexpr bool contains(ipv4_address a) const noexcept { return is_v4() && v4_.contains(a); }
  /// False for addresses of the other family.
  [[nodiscard]] constexpr bool contains(const ipv6_address& a) const noexcept { return is_v6() && v6_.contains(a); }
  /// The same as a prefix of one family, `ipv4_address` or `ipv6_address`; that it is of that family is the caller's
  /// promise, asserted.
  template <class Address>
  [[nodiscard]] constexpr const basic_prefix<Address>& as() const noexcept {
    RUNNEL_ASSERT(family_ == (sizeof(Address) == 4 ? 4 : 6));
    if constexpr (sizeof(Address) == 4) return v4_;
    else return v6_;
  }
  /// Equal when all their parts are.
  friend constexpr bool operator==(const prefix&, const prefix&) noexcept = default;

 private:
  ipv4_prefix v4_{};
  ipv6_prefix v6_{};
  std::uint8_t family_ = 0;
};

/// In the usual form: `192.0.2.0/24`.
template <class Address>
constexpr void print(text_writer& out, const basic_prefix<Address>& p) noexcept {
  print(out, p.address());
  out << '/' << std::uint32_t{p.length()};
}
/// In the usual form: `192.0.2.0/24`.
constexpr void print(text_writer& out, const prefix& p) noexcept {
  if (p.is_v4()) print(out, p.as<ipv4_address>());
  else if (p.is_v6()) print(out, p.as<ipv6_address>());
  else out << "none";
}

/// Why a text is no address, and where.
struct address_error {
  const char* reason;    ///< a few words: "a part above 255"
  std::size_t position;  ///< of the first character that is wrong, counted from 0
};
/// What is wrong with the text, in words.
constexpr void print(text_writer& out, const address_error& e) noexcept {
  out << e.reason << " at character " << std::uint64_t{e.position + 1};
}

namespace detail {

// Reads an address from the beginning of a text and stops behind it. After an error, nothing more is read.
class address_reader {
 public:
  constexpr explicit address_reader(const char* text) noexcept : text_(text) {}
  [[nodiscard]] constexpr bool good() const noexcept { return reason_ == nullptr; }
  [[nodiscard]] constexpr address_error error() const noexcept { return {reason_, at_}; }

  constexpr bool accept(char c) noexcept {
    if (!good() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  constexpr void fail(const char* reason) noexcept {
    if (good()) reason_ = reason;
  }
  constexpr void expect(char c, const char* reason) noexcept {
    if (!accept(c)) fail(reason);
  }
  constexpr void expect_end() noexcept {
    if (good() && text_[at_] != '\0') fail("something behind the end");
  }
  // A number without leading zeros, in decimal as everybody reads it.
  constexpr unsigned decimal(unsigned highest, const char* reason) noexcept {
    unsigned value = 0, digits = 0;
    const std::size_t start = at_;
    for (; good() && digit(10) >= 0 && digits < 4; ++digits, ++at_)
      value = value * 10 + static_cast<unsigned>(digit(10));
    if (digits == 0) fail("a number is missing");
    const bool zero_first = digits > 1 && text_[start] == '0';
    if (zero_first || value > highest) at_ = start;
    if (zero_first) fail("a number that begins with zero");
    if (value > highest) fail(reason);
    return value;
  }
  constexpr unsigned hexadecimal(unsigned least_digits, unsigned most_digits) noexcept {
    unsigned value = 0, digits = 0;
    for (; good() && digit(16) >= 0 && digits < most_digits; ++digits, ++at_)
      value = value * 16 + static_cast<unsigned>(digit(16));
    if (digits < least_digits) fail("a hexadecimal digit is missing");
    return value;
  }

  constexpr mac_address mac() noexcept {
    mac_address a;
    char between = ':';
    for (std::size_t i = 0; i < 6; ++i) {
      if (i == 1 && good() && text_[at_] == '-') between = '-';
      if (i != 0) expect(between, "a separator is missing");
      a.octets[i] = static_cast<std::uint8_t>(hexadecimal(2, 2));
    }
    return a;
  }
  constexpr ipv4_address ipv4() noexcept {
    std::uint32_t value = 0;
    for (unsigned i = 0; i < 4; ++i) {
      if (i != 0) expect('.', "a dot is missing: an IPv4 address has four parts");
      value = value << 8 | decimal(255, "a part above 255");
    }
    return ipv4_address{value};
  }
  // RFC 4291 §2.2.
  constexpr ipv6_address ipv6() noexcept {
    constexpr unsigned no_gap = 9;
    std::uint16_t groups[8] = {};
    unsigned count = 0, gap = no_gap;  // gap: how many groups stand before the "::"
    if (accept(':')) {
      expect(':', "a single colon at the beginning");
      gap = 0;
    }
    while (good() && (digit(16) >= 0 || gap != count)) {
      if (count == 8) fail("more than eight groups");
      if (dotted_next()) {
        if (count > 6) fail("an IPv4 address behind more than six groups");
        const std::uint32_t last = ipv4().value();
        if (!good()) break;
        groups[count++] = static_cast<std::uint16_t>(last >> 16);
        groups[count++] = static_cast<std::uint16_t>(last);
        break;
      }
      const unsigned group = hexadecimal(1, 4);
      if (!good()) break;
      groups[count++] = static_cast<std::uint16_t>(group);
      if (!accept(':')) break;
      if (!accept(':')) continue;
      if (gap != no_gap) fail("a second \"::\"");
      gap = count;
    }
    if (gap == no_gap && count < 8) fail("fewer than eight groups and no \"::\"");
    if (gap != no_gap && count == 8) fail("a \"::\" that stands for nothing");
    std::uint64_t halves[2] = {};
    for (unsigned i = 0; i < count; ++i) {
      const unsigned at = i < gap ? i : 8 - (count - i);
      halves[at / 4] |= std::uint64_t{groups[i]} << (48 - 16 * (at % 4));
    }
    return {halves[0], halves[1]};
  }
  constexpr prefix either_prefix() noexcept {
    std::size_t colon = 0;
    while (text_[colon] != '\0' && text_[colon] != ':') ++colon;
    const bool six = text_[colon] == ':';
    const ipv6_address a6 = six ? ipv6() : ipv6_address{};
    const ipv4_address a4 = six ? ipv4_address{} : ipv4();
    expect('/', "a slash and a length are missing");
    const std::size_t start = at_;
    const unsigned length = decimal(six ? 128 : 32, "a length beyond the address");
    if (!good()) return {};
    const ipv4_prefix p4{a4, six ? 0 : length};
    const ipv6_prefix p6{a6, six ? length : 0};
    if (six ? p6.address() != a6 : p4.address() != a4) {
      at_ = start;
      fail("a length that cuts off bits of the address");
    }
    return six ? prefix{p6} : prefix{p4};
  }

 private:
  constexpr int digit(int base) const noexcept {
    const char c = text_[at_];
    if (c >= '0' && c <= '9') return c - '0';
    if (base == 16 && c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (base == 16 && c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  }
  constexpr bool dotted_next() const noexcept {
    std::size_t i = at_;
    while (text_[i] >= '0' && text_[i] <= '9') ++i;
    return i != at_ && text_[i] == '.';
  }

  const char* text_;
  std::size_t at_ = 0;
  const char* reason_ = nullptr;
};

template <class T>
[[nodiscard]] constexpr result<T, address_error> finish(address_reader& reader, const T& value) noexcept {
  reader.expect_end();
  if (!reader.good()) return reader.error();
  return value;
}

// Not constant expressions: calling one is how a wrong text becomes a compile error that says what is wrong.
inline void this_text_is_no_ipv4_address() noexcept {}
inline void this_text_is_no_ipv6_address() noexcept {}
inline void this_text_is_no_mac_address() noexcept {}
inline void this_text_is_no_prefix() noexcept {}

}  // namespace detail

/// Reads "02:00:5e:10:00:ff": six pairs of hexadecimal digits, with colons or dashes between them.
[[nodiscard]] constexpr result<mac_address, address_error> parse_mac(const char* text) noexcept {
  detail::address_reader reader{text};
  const mac_address a = reader.mac();
  return detail::finish(reader, a);
}
/// Reads "192.0.2.1" and nothing else: four decimal parts, none of them with a zero in front, which some read as octal.
[[nodiscard]] constexpr result<ipv4_address, address_error> parse_ipv4(const char* text) noexcept {
  detail::address_reader reader{text};
  const ipv4_address a = reader.ipv4();
  return detail::finish(reader, a);
}
/// Reads all forms of RFC 4291 §2.2, "2001:db8::1" and "::ffff:192.0.2.1". Zone identifiers are not addresses.
[[nodiscard]] constexpr result<ipv6_address, address_error> parse_ipv6(const char* text) noexcept {
  detail::address_reader reader{text};
  const ipv6_address a = reader.ipv6();
  return detail::finish(reader, a);
}
/// Reads "10.0.0.0/8" or "2001:db8::/32". Bits behind the length must be zero: "10.1.0.0/8" is more likely a slip than
/// meant; build a `prefix::v4` from its parts where it is meant.
[[nodiscard]] constexpr result<prefix, address_error> parse_prefix(const char* text) noexcept {
  detail::address_reader reader{text};
  const prefix p = reader.either_prefix();
  return detail::finish(reader, p);
}

// Addresses in the program's own text, read by the compiler: a wrong one does not compile, a right one costs nothing.
// For text that is known at run time only there are the functions above.

/// `addr4("192.0.2.1")`.
[[nodiscard]] consteval ipv4_address addr4(const char* text) noexcept {
  const auto a = parse_ipv4(text);
  if (!a) detail::this_text_is_no_ipv4_address();
  return *a;
}
/// `addr6("2001:db8::1")`.
[[nodiscard]] consteval ipv6_address addr6(const char* text) noexcept {
  const auto a = parse_ipv6(text);
  if (!a) detail::this_text_is_no_ipv6_address();
  return *a;
}
/// `mac("02:00:00:00:00:01")`.
[[nodiscard]] consteval mac_address mac(const char* text) noexcept {
  const auto a = parse_mac(text);
  if (!a) detail::this_text_is_no_mac_address();
  return *a;
}
/// `net("10.0.0.0/8")`, `net("2001:db8::/32")`.
[[nodiscard]] consteval prefix net(const char* text) noexcept {
  const auto p = parse_prefix(text);
  if (!p) detail::this_text_is_no_prefix();
  return *p;
}

}  // namespace runnel

#endif

// ==== runnel/device/network_interface.hpp ============================================================================
// A network interface of this machine by its name: what there is to know, and what can be set. netdevice(7).
//
//     auto eth = device::network_interface::open("eth0");
//     if (!eth) return fail(eth.error());   // network_interface: open eth7: no such interface: there are lo, eth0
//     auto now = eth->status();
//     if (now && !now->up) (void)eth->set_up(true);
#ifndef RUNNEL_DEVICE_NETWORK_INTERFACE_HPP
#define RUNNEL_DEVICE_NETWORK_INTERFACE_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint16_t, uint32_t

#if defined(__linux__)

#include <linux/ethtool.h>    // ethtool_channels
#include <linux/netlink.h>    // nlmsghdr
#include <linux/rtnetlink.h>  // ifinfomsg, rtattr

namespace runnel {
namespace device {

/// An interface at one moment.
struct interface_status {
  int index = 0;               ///< its number in its network namespace, from 1
  std::uint32_t mtu = 0;       ///< bytes of a packet without its link header
  mac_address mac{};           ///< its hardware address; zeros where it has none
  std::uint16_t hardware = 0;  ///< what kind of link, an ARPHRD_ number: 1 is Ethernet, 772 loopback, 65534 none
  std::uint32_t queues = 1;    ///< receive queues in use; 1 where the driver does not say
  bool up = false;             ///< whether it was set up (IFF_UP)
  bool running = false;        ///< whether there is a carrier besides (IFF_RUNNING)
  bool promiscuous = false;    ///< whether it was set to take all frames (IFF_PROMISC); sockets that ask do not show
};

}  // namespace device

namespace detail {

/// How long the name of an interface may be, with its terminator (IFNAMSIZ).
inline constexpr std::size_t interface_name_size = sizeof(sys::interface_request::name);

/// Calls `f(index, name)` for each interface of this network namespace. False, and errno, when the kernel does not say.
template <class F>
bool for_each_interface(F f) noexcept {
  const file_handle socket(sys::socket(sys::af_netlink, sys::sock_raw | sys::sock_cloexec, NETLINK_ROUTE), true);
  struct {
    ::nlmsghdr header;
    ::ifinfomsg about;
  } ask{};
  ask.header.nlmsg_len = sizeof ask;
  ask.header.nlmsg_type = RTM_GETLINK;
  ask.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  if (socket.get() < 0 || sys::sendto(socket.get(), &ask, sizeof ask, 0) < 0) return false;
  for (;;) {
    alignas(::nlmsghdr) char answer[32768];
    const ::ssize_t got = sys::recvfrom(socket.get(), answer, sizeof answer, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    const auto size = static_cast<std::size_t>(got);
    ::nlmsghdr message{};
    for (std::size_t at = 0; at + sizeof message <= size; at += NLMSG_ALIGN(message.nlmsg_len)) {
      __builtin_memcpy(&message, answer + at, sizeof message);
      if (message.nlmsg_type == NLMSG_DONE) return true;
      if (message.nlmsg_type == NLMSG_ERROR || message.nlmsg_len < sizeof message || message.nlmsg_len > size - at)
        return false;
      ::ifinfomsg about{};
      if (message.nlmsg_type != RTM_NEWLINK || message.nlmsg_len < sizeof message + sizeof about) continue;
      __builtin_memcpy(&about, answer + at + sizeof message, sizeof about);
      ::rtattr part{};
      const std::size_t end = at + message.nlmsg_len;
      for (std::size_t p = at + NLMSG_ALIGN(sizeof message + sizeof about); p + sizeof part <= end;
           p += RTA_ALIGN(part.rta_len)) {
        __builtin_memcpy(&part, answer + p, sizeof part);
        if (part.rta_len < sizeof part || part.rta_len > end - p) break;
        if (part.rta_type != IFLA_IFNAME || part.rta_len == sizeof part) continue;
        answer[p + part.rta_len - 1] = '\0';
        f(about.ifi_index, static_cast<const char*>(answer + p + sizeof part));
        break;
      }
    }
  }
}

/// "no such interface: there are lo, eth0", in the words of the part of the library that asked for it.
[[nodiscard]] inline error no_such_interface(const char* where, const char* name, int number) noexcept {
  text<160> advice;
  const char* between = "there are ";
  (void)for_each_interface([&](int, const char* other) {
    advice << between << other;
    between = ", ";
  });
  return {where, "open", short_name(name).c_str(), "no such interface", advice.c_str(), number};
}

/// What a person can do when an interface cannot be opened or set.
[[nodiscard]] inline const char* interface_advice(int number) noexcept {
  switch (number) {
    case EPERM:
    case EACCES: return "run as root, or give the program CAP_NET_ADMIN and CAP_NET_RAW";
    case EBUSY: return "set the interface down first, or end the program that holds it";
    case EINVAL: return "the interface does not take this value";
    case EOPNOTSUPP: return "the interface's driver cannot do that";
    default: return "";
  }
}

}  // namespace detail

namespace device {

/// An interface, by its name, in the network namespace of the thread that opened it. Move-only; holds one socket, and
/// nothing is set back when it is closed. Not for the data path: each call is a system call or more.
class network_interface {
 public:
  /// Looks the name up. An unknown one is an error that lists those that there are.
  [[nodiscard]] static result<network_interface, error> open(const char* name) noexcept {
    return open_for("network_interface", name);
  }
  /// The same in the name of another part of the library, which is what messages then begin with. `where` is not
  /// copied: a literal.
  [[nodiscard]] static result<network_interface, error> open_for(const char* where, const char* name) noexcept {
    using namespace detail;
    file_handle socket(sys::socket(sys::af_inet, sys::sock_dgram | sys::sock_cloexec, 0), true);
    if (socket.get() < 0) {
      // A kernel without IPv4 answers the same questions on a socket of its own family.
      socket = file_handle(sys::socket(sys::af_netlink, sys::sock_raw | sys::sock_cloexec, NETLINK_ROUTE), true);
      if (socket.get() < 0) return error(where, "open", short_name(name).c_str(), ::strerror(errno), "", errno);
    }
    network_interface made(static_cast<file_handle&&>(socket), where, name);
    sys::interface_request ask = made.request();
    // A name that is cut could be that of another interface.
    if (__builtin_strlen(name) >= interface_name_size || !made.ask(sys::siocgifindex, ask))
      return no_such_interface(where, name, ENODEV);
    made.index_ = ask.value.number;
    return made;
  }
  network_interface(network_interface&&) noexcept = default;
  network_interface& operator=(network_interface&&) = delete;

  /// The name that it was opened by.
  [[nodiscard]] const char* name() const noexcept { return name_; }
  /// Its number when it was opened.
  [[nodiscard]] int index() const noexcept { return index_; }

  /// How it is now. Fails when it is gone.
  [[nodiscard]] result<interface_status, error> status() const noexcept {
    using namespace detail;
    interface_status s;
    sys::interface_request ask = request();
    if (!this->ask(sys::siocgifindex, ask)) return no_such_interface(where_, name_, ENODEV);
    s.index = ask.value.number;
    ask = request();
    if (!this->ask(sys::siocgifmtu, ask)) return problem("look at");
    s.mtu = static_cast<std::uint32_t>(ask.value.number);
    ask = request();
    if (!this->ask(sys::siocgifflags, ask)) return problem("look at");
    s.up = (ask.value.flags & sys::iff_up) != 0;
    s.running = (ask.value.flags & sys::iff_running) != 0;
    s.promiscuous = (ask.value.flags & sys::iff_promisc) != 0;
    ask = request();
    if (!this->ask(sys::siocgifhwaddr, ask)) return problem("look at");
    s.hardware = ask.value.address[0];
    __builtin_memcpy(s.mac.octets, ask.value.address + 1, sizeof s.mac.octets);
    ::ethtool_channels channels{};
    channels.cmd = ETHTOOL_GCHANNELS;
    ask = request();
    ask.value.data = &channels;
    if (this->ask(sys::siocethtool, ask)) {
      const std::uint32_t queues = channels.combined_count + channels.rx_count;
      if (queues != 0) s.queues = queues;
    }
    return s;
  }

  /// Sets it up or down. Whether it was up before.
  result<bool, error> set_up(bool on) noexcept {
    using namespace detail;
    sys::interface_request ask = request();
    if (!this->ask(sys::siocgifflags, ask)) return problem("look at");
    const bool before = (ask.value.flags & sys::iff_up) != 0;
    if (before == on) return before;
    ask.value.flags = static_cast<std::int16_t>(on ? ask.value.flags | sys::iff_up : ask.value.flags & ~sys::iff_up);
    if (!this->ask(sys::siocsifflags, ask)) return problem(on ? "set up" : "set down");
    return before;
  }
  /// Sets the longest packet, in bytes without the link header. What it was before.
  result<std::uint32_t, error> set_mtu(std::uint32_t bytes) noexcept {
    using namespace detail;
    sys::interface_request ask = request();
    if (!this->ask(sys::siocgifmtu, ask)) return problem("look at");
    const auto before = static_cast<std::uint32_t>(ask.value.number);
    ask.value.number = static_cast<int>(bytes);
    if (!this->ask(sys::siocsifmtu, ask)) return problem("set the MTU of");
    return before;
  }
  /// Sets the hardware address. What it was before. Most drivers want the interface to be down.
  result<mac_address, error> set_mac(const mac_address& mac) noexcept {
    using namespace detail;
    sys::interface_request ask = request();
    if (!this->ask(sys::siocgifhwaddr, ask)) return problem("look at");
    mac_address before;
    __builtin_memcpy(before.octets, ask.value.address + 1, sizeof before.octets);
    __builtin_memcpy(ask.value.address + 1, mac.octets, sizeof mac.octets);
    if (!this->ask(sys::siocsifhwaddr, ask)) return problem("set the MAC of");
    return before;
  }

 private:
  network_interface(detail::file_handle&& socket, const char* where, const char* name) noexcept
      : socket_(static_cast<detail::file_handle&&>(socket)), where_(where) {
    for (std::size_t i = 0; i + 1 < sizeof name_ && name[i] != '\0'; ++i) name_[i] = name[i];
  }
  [[nodiscard]] detail::sys::interface_request request() const noexcept {
    detail::sys::interface_request r;
    __builtin_memcpy(r.name, name_, sizeof name_);
    return r;
  }
  bool ask(unsigned long what, detail::sys::interface_request& r) const noexcept {
    return ::ioctl(socket_.get(), what, &r) == 0;
  }
  [[nodiscard]] error problem(const char* what) const noexcept {
    const int number = errno;
    if (number == ENODEV) return detail::no_such_interface(where_, name_, number);
    return {where_, what, name_, ::strerror(number), detail::interface_advice(number), number};
  }

  detail::file_handle socket_;
  const char* where_;
  int index_ = 0;
  char name_[detail::interface_name_size] = {};
};

}  // namespace device
}  // namespace runnel

#endif  // defined(__linux__)

#endif

// ==== runnel/wire/checksum.hpp =======================================================================================
// The Internet checksum: over bytes, in pieces, updated in place, completed where a device left it partial.
// RFC 1071, RFC 1624.
#ifndef RUNNEL_WIRE_CHECKSUM_HPP
#define RUNNEL_WIRE_CHECKSUM_HPP

#include <cstddef>      // byte, size_t
#include <cstdint>      // uint16_t, uint32_t, uint64_t
#include <type_traits>  // is_constant_evaluated

namespace runnel {

/// Folds a sum of 16-bit words to 16 bits, without the final complement.
[[nodiscard]] constexpr std::uint16_t fold_checksum(std::uint64_t sum) noexcept {
  // Adding the halves crosswise leaves their sum with the end-around carry in the upper half.
  sum += sum >> 32 | sum << 32;
  auto half = static_cast<std::uint32_t>(sum >> 32);
  half += half >> 16 | half << 16;
  return static_cast<std::uint16_t>(half >> 16);
}

namespace detail {

// The sum is taken in words of the host's order and of any width that is handy, for that gives the bytes of the same
// sum (RFC 1071 §2 (B)); only the result is swapped. Whole words are added letting carries go, and beside that their
// upper halves; what was lost is then known, for the sum of the lower halves is the difference. So no addition waits
// for the carry of the one before.
[[nodiscard]] constexpr std::uint64_t sum_of_halves(std::uint64_t words, std::uint64_t upper) noexcept {
  return words - (upper << 32) + upper;
}

// Width in bytes of the vectors that this target adds at once; 0 when it has none.
#if defined(__AVX512F__)
inline constexpr std::size_t vector_bytes = 64;
#elif defined(__AVX2__)
inline constexpr std::size_t vector_bytes = 32;
#elif defined(__SSE2__) || defined(__ARM_NEON) || defined(__ALTIVEC__)
inline constexpr std::size_t vector_bytes = 16;
#else
inline constexpr std::size_t vector_bytes = 0;
#endif

template <std::size_t Width>
struct vector_of_words {
  using type [[gnu::vector_size(Width)]] = std::uint64_t;
};

// The sum of `blocks` blocks of four vectors.
template <std::size_t Width>
[[gnu::noinline]] inline std::uint64_t sum_of_blocks(const std::byte* p, std::size_t blocks) noexcept {
  using vector = typename vector_of_words<Width>::type;
  vector words0{}, words1{}, upper0{}, upper1{};
  for (; blocks != 0; --blocks, p += 4 * Width) {
    // Each vector is loaded by itself: GCC 12 copies an array of them in halves, through memory, and waits for that.
    vector a, b, c, d;
    __builtin_memcpy(&a, p, Width);
    __builtin_memcpy(&b, p + Width, Width);
    __builtin_memcpy(&c, p + 2 * Width, Width);
    __builtin_memcpy(&d, p + 3 * Width, Width);
    words0 += a + c;
    upper0 += (a >> 32) + (c >> 32);
    words1 += b + d;
    upper1 += (b >> 32) + (d >> 32);
  }
  const vector words = words0 + words1, upper = upper0 + upper1;
  std::uint64_t sum = 0;
  for (std::size_t lane = 0; lane < Width / 8; ++lane) sum += sum_of_halves(words[lane], upper[lane]);
  return sum;
}

// The sum of the bytes in host order. An odd last byte is the first of a word.
[[nodiscard]] RUNNEL_INLINE std::uint64_t sum_in_host_order(const std::byte* p, std::size_t size) noexcept {
  std::uint64_t words = 0, upper = 0;
  const auto add = [&](std::uint64_t word) {
    words += word;
    upper += word >> 32;
  };
  if constexpr (vector_bytes != 0) {
    constexpr std::size_t block = 4 * vector_bytes;
    if (size >= (block < 128 ? 128 : block)) {
      add(sum_of_blocks<vector_bytes>(p, size / block));
      p += size / block * block;
      size %= block;
    }
  }
  for (; size >= 32; size -= 32, p += 32) {
    add(load<std::uint64_t>(p));
    add(load<std::uint64_t>(p + 8));
    add(load<std::uint64_t>(p + 16));
    add(load<std::uint64_t>(p + 24));
  }
  for (; size >= 8; size -= 8, p += 8) add(load<std::uint64_t>(p));
  if ((size & 7) == 0) return sum_of_halves(words, upper);
  if ((size & 4) != 0) {
    words += load<std::uint32_t>(p);
    p += 4;
  }
  if ((size & 2) != 0) {
    words += load<std::uint16_t>(p);
    p += 2;
  }
  if ((size & 1) != 0) words += little_endian_host ? load_u8(p) : unsigned{load_u8(p)} << 8;
  return sum_of_halves(words, upper);
}

[[nodiscard]] [[gnu::noinline]] inline std::uint64_t sum_of_any_size(const std::byte* p, std::size_t size) noexcept {
  return sum_in_host_order(p, size);
}
// Inlined where the size is known (addresses), and for an IPv4 header without options, which every router sums.
[[nodiscard]] RUNNEL_INLINE std::uint64_t sum_of_bytes(const std::byte* p, std::size_t size) noexcept {
  if (__builtin_constant_p(size) && size <= 64) return sum_in_host_order(p, size);
  return size == 20 ? sum_in_host_order(p, 20) : sum_of_any_size(p, size);
}

}  // namespace detail

/// The sum of the 16-bit big-endian words of `data` added to `sum`, unfolded; an odd last byte counts as the high
/// byte of a word (RFC 1071). Feed the result of one call to the next only over an even number of bytes, or use
/// `running_checksum`. Each call adds at most 0xffff, so sums may be added up as numbers.
[[nodiscard]] constexpr std::uint64_t add_checksum(bytes data, std::uint64_t sum = 0) noexcept {
  if (!std::is_constant_evaluated())
    return sum + detail::to_big(fold_checksum(detail::sum_of_bytes(data.data(), data.size())));
  std::uint64_t words = 0;
  std::size_t i = 0;
  for (; i + 1 < data.size(); i += 2) words += load_be16(data.data() + i);
  if (i < data.size()) words += static_cast<std::uint64_t>(load_u8(data.data() + i)) << 8;
  return sum + fold_checksum(words);
}

/// The Internet checksum of `data`, as it is stored in a header in host order.
[[nodiscard]] constexpr std::uint16_t checksum(bytes data, std::uint64_t sum = 0) noexcept {
  return static_cast<std::uint16_t>(~fold_checksum(add_checksum(data, sum)));
}

/// The checksum after a 16-bit word under it changed from `from` to `to` (RFC 1624, equation 3).
[[nodiscard]] constexpr std::uint16_t update_checksum16(std::uint16_t old, std::uint16_t from,
                                                        std::uint16_t to) noexcept {
  const std::uint64_t sum = std::uint64_t{static_cast<std::uint16_t>(~old)} + static_cast<std::uint16_t>(~from) + to;
  return static_cast<std::uint16_t>(~fold_checksum(sum));
}
/// The same for a 32-bit word.
[[nodiscard]] constexpr std::uint16_t update_checksum32(std::uint16_t old, std::uint32_t from,
                                                        std::uint32_t to) noexcept {
  const std::uint64_t sum = std::uint64_t{static_cast<std::uint16_t>(~old)} + static_cast<std::uint32_t>(~from) + to;
  return static_cast<std::uint16_t>(~fold_checksum(sum));
}

/// A checksum over bytes that come in pieces of any length, odd ones too: the fragments of a chained packet.
class running_checksum {
 public:
  /// Begins with a sum taken before, as of a pseudo-header.
  constexpr explicit running_checksum(std::uint64_t sum = 0) noexcept : sum_(sum) {}
  /// Adds the next piece.
  constexpr void add(bytes piece) noexcept {
    const auto words = static_cast<std::uint16_t>(add_checksum(piece));
    sum_ += odd_ ? byte_swap(words) : words;
    odd_ ^= (piece.size() & 1) != 0;
  }
  /// The sum so far, folded, without the final complement: 0xffff over data that hold a right checksum.
  [[nodiscard]] constexpr std::uint16_t sum() const noexcept { return fold_checksum(sum_); }
  /// The checksum, as it is stored in a header in host order.
  [[nodiscard]] constexpr std::uint16_t checksum() const noexcept { return static_cast<std::uint16_t>(~sum()); }

 private:
  std::uint64_t sum_;
  bool odd_ = false;
};

/// Completes a transport checksum that a virtual device left partial: the field at `start + field` holds the folded
/// sum of the pseudo-header, and the checksum covers everything from `start` on (`csum_start` and `csum_offset` of
/// virtio, CHECKSUM_PARTIAL in Linux). A result of 0 is stored as 0xffff, which is the same to TCP, and what UDP needs.
/// False, and nothing written, when the field does not lie in the packet.
[[nodiscard]] constexpr bool complete_checksum(mutable_bytes packet, std::size_t start, std::size_t field) noexcept {
  if (start > packet.size() || packet.size() - start < 2 || field > packet.size() - start - 2) return false;
  const std::uint16_t sum = checksum(packet.from(start));
  store_be16(packet.data() + start + field, sum != 0 ? sum : 0xffff);
  return true;
}

}  // namespace runnel

#endif

// ==== runnel/wire/build.hpp ==========================================================================================
// Headers as plain values, and `write_headers`, which writes a stack of them in front of a payload: lengths, next
// protocols and checksums fill themselves in from their neighbours.
#ifndef RUNNEL_WIRE_BUILD_HPP
#define RUNNEL_WIRE_BUILD_HPP

#include <concepts>  // same_as
#include <cstddef>   // size_t
#include <cstdint>   // uint8_t, uint16_t, uint32_t

namespace runnel {

/// What a header being written knows of its neighbours. Filled in by `write_headers`.
struct neighbours_of_header {
  std::uint16_t ethertype = 0;    ///< of the header (or payload) inside this one; 0 when it has none
  std::uint8_t ip_protocol = 59;  ///< of the header inside this one; 59, "no next header", when it has none
  std::uint16_t udp_port = 0;     ///< where the header inside this one is expected (VXLAN); 0 when nowhere
  /// Unfolded sum over the pseudo-header of the IP header around this one, without protocol and length, which
  /// the transport adds; 0 when there is none.
  std::uint32_t pseudo_header = 0;
};

/// A header that `write_headers` can write: a plain struct with the fields that a person chooses, and
/// - `size()`: bytes of the header, options and padding included;
/// - `write(whole, around)`: writes it to the first `size()` bytes of `whole`, which ends where the packet ends
///   and already holds what is inside; computes lengths and checksums; `whole.size() >= size()` is promised.
/// It may tell the header around it what it is: static constants `ethertype`, `ip_protocol`, `udp_port`;
/// the first two may also be member functions, where the answer depends on the value. One that stands between an IP
/// header and its transport says `is_extension = true`: the pseudo-header is that of the IP header then.
template <class H>
concept header_value = requires(const H& h, mutable_bytes whole, const neighbours_of_header& around) {
  { h.size() } -> std::same_as<std::size_t>;
  h.write(whole, around);
};

namespace detail {

// What the header inside `outer` has around it; `around` is what `outer` itself has.
template <class Outer>
constexpr std::uint32_t pseudo_header_of(const Outer& outer, std::uint32_t around) noexcept {
  if constexpr (requires { outer.pseudo_header_sum(); }) return outer.pseudo_header_sum();
  else if constexpr (requires { requires Outer::is_extension; }) return around;
  else return 0;
}
template <class Inner>
constexpr void tell_of_inner(neighbours_of_header& around, const Inner& inner) noexcept {
  if constexpr (requires { inner.ethertype(); }) around.ethertype = inner.ethertype();
  else if constexpr (requires { Inner::ethertype; }) around.ethertype = Inner::ethertype;
  if constexpr (requires { inner.ip_protocol(); }) around.ip_protocol = inner.ip_protocol();
  else if constexpr (requires { Inner::ip_protocol; }) around.ip_protocol = Inner::ip_protocol;
  if constexpr (requires { Inner::udp_port; }) around.udp_port = Inner::udp_port;
}

// Writes the headers from the innermost outwards, for each checksum covers what is inside it.
constexpr void write_stack(mutable_bytes, std::uint32_t) noexcept {}
template <class First>
constexpr void write_stack(mutable_bytes whole, std::uint32_t pseudo_header, const First& first) noexcept {
  first.write(whole, neighbours_of_header{.pseudo_header = pseudo_header});
}
template <class First, class Second, class... More>
constexpr void write_stack(mutable_bytes whole, std::uint32_t pseudo_header, const First& first, const Second& second,
                           const More&... more) noexcept {
  write_stack(whole.from(first.size()), pseudo_header_of(first, pseudo_header), second, more...);
  neighbours_of_header around{.pseudo_header = pseudo_header};
  tell_of_inner(around, second);
  first.write(whole, around);
}

}  // namespace detail

/// How many bytes a stack of headers takes.
template <header_value... Headers>
[[nodiscard]] constexpr std::size_t size_of_headers(const Headers&... headers) noexcept {
  return (std::size_t{0} + ... + headers.size());
}

/// Makes a packet of a payload and a stack of headers, outermost first: copies the payload to the end of `p` and pushes
/// the headers in front of all that it holds then. False, and nothing changed, when headroom or tailroom are too small
/// or the bytes are shared.
template <header_value... Headers>
[[nodiscard]] bool build(packet& p, bytes payload, const Headers&... stack) noexcept {
  const std::size_t size = size_of_headers(stack...);
  if (p.headroom() < size || !p.append(payload)) return false;
  std::byte* whole = p.push(size);
  RUNNEL_ASSERT(whole != nullptr);
  detail::write_stack({whole, p.length()}, 0, stack...);
  return true;
}

/// Writes a stack of headers, outermost first, to the beginning of `whole`, whose rest is the payload that is
/// already there. False, and nothing written, when `whole` is too short for the headers.
template <header_value... Headers>
[[nodiscard]] constexpr bool write_headers(mutable_bytes whole, const Headers&... headers) noexcept {
  if (whole.size() < size_of_headers(headers...)) return false;
  detail::write_stack(whole, 0, headers...);
  return true;
}

}  // namespace runnel

#endif

// ==== runnel/wire/field.hpp ==========================================================================================
// A header field as a value: where it lies, how wide it is, what nft calls it. Views declare their fields with
// it, match expressions compare them, and what can be read from a packet is thereby said once.
#ifndef RUNNEL_WIRE_FIELD_HPP
#define RUNNEL_WIRE_FIELD_HPP

#include <cstdint>  // uint8_t, uint16_t

namespace runnel {

/// The header that a field belongs to: how its first byte is found in a dissected packet. What there are many of,
/// options and the like, is made by `header_in`.
enum class header : std::uint16_t {
  ethernet,  ///< the link header of an Ethernet frame
  vlan,      ///< the outermost VLAN tag
  cvlan,     ///< the second VLAN tag
  mpls,      ///< the topmost MPLS label stack entry
  arp,
  ipv4,
  ipv6,
  ipv6_fragment,  ///< the fragment extension header
  icmp,
  icmpv6,
  tcp,
  udp,
  th,  ///< TCP or UDP: what their headers share
  gre,
  vxlan,          ///< behind a UDP header to port 4789
  llc,            ///< behind an 802.3 length
  snap,           ///< an LLC header with a SNAP header behind it
  icmp_echo,      ///< an ICMP echo request or reply
  icmpv6_echo,    ///< an ICMPv6 echo request or reply
  icmpv6_target,  ///< an ICMPv6 message with an address: multicast listeners', neighbour solicitations and answers,
                  ///< redirects
};

/// Headers of which there is one for every number.
enum class header_family : std::uint8_t {
  single,          ///< all others: `header` names them
  ipv4_option,     ///< the first IPv4 option of this type
  tcp_option,      ///< the first TCP option of this kind
  ipv6_extension,  ///< the first extension header that is announced by this number; the mobility header, 135, as well
  icmp_message,    ///< an ICMP message of this type
  icmpv6_message,  ///< an ICMPv6 message of this type
  nd_option,       ///< the first option of this type in a neighbour discovery message
  gre_word,        ///< what this bit in the first octet of a GRE header says is there
};
/// The header that stands for number `number` of a family of options.
[[nodiscard]] constexpr header header_in(header_family f, std::uint8_t number) noexcept {
  return static_cast<header>(static_cast<unsigned>(f) << 8 | number);
}
/// The family of such a header.
[[nodiscard]] constexpr header_family family_of(header h) noexcept {
  return static_cast<header_family>(static_cast<unsigned>(h) >> 8);
}
/// The number of such a header in its family.
[[nodiscard]] constexpr std::uint8_t number_of(header h) noexcept { return static_cast<std::uint8_t>(h); }

namespace match {

/// Base of everything that may stand left of a comparison in a match expression, `Self` being the type itself. The
/// operators are found through it; they, and what `in` needs, come with <runnel/match.hpp>.
template <class Self>
struct operand {
  /// What the library knows it by.
  static constexpr bool is_match_operand = true;

  /// Whether the value is in a set, a `range(first, last)` or a prefix: `ip::saddr.in(net("10.0.0.0/8"))`.
  template <class... What>
  [[nodiscard]] constexpr auto in(What&&... what) const noexcept {
    return match_in<true>(static_cast<const Self&>(*this), static_cast<What&&>(what)...);
  }
  /// Whether there is a value that is not in it. Where the header is missing, both `in` and `not_in` are false.
  template <class... What>
  [[nodiscard]] constexpr auto not_in(What&&... what) const noexcept {
    return match_in<false>(static_cast<const Self&>(*this), static_cast<What&&>(what)...);
  }
};

}  // namespace match

/// `Bits` bits at bit `Offset` of header `Header`, most significant first (RFC numbering: bit 0 is the highest
/// of byte 0), read as a `Value` in host order. A field of at most 64 bits lies within 8 bytes; addresses are
/// whole bytes. Costs nothing: an empty-ish constant that only carries its name.
template <header Header, unsigned Offset, unsigned Bits, class Value>
struct field : match::operand<field<Header, Offset, Bits, Value>> {
  /// What the library asks of a header view; see `header_view`.
  static constexpr header in_header = Header;
  static constexpr unsigned offset = Offset;  ///< in bits
  /// How many bits it has.
  static constexpr unsigned bits = Bits;
  /// The type of its values.
  using value_type = Value;

  /// `as_in_nft` is its name, a literal.
  constexpr explicit field(const char* as_in_nft) noexcept : name(as_in_nft) {}

  /// As nft spells it, header included: "ip saddr". Of an option or extension header without what its number says:
  /// "size" for "tcp option maxseg size".
  const char* name;
};

namespace match {

/// What is around a packet inside a packet.
enum class tunnel : std::uint8_t {
  vxlan,   ///< an Ethernet frame behind a VXLAN header
  gre,     ///< IP behind a GRE header
  gretap,  ///< an Ethernet frame behind a GRE header
  ipip,    ///< IP behind an IP header
};

/// A field of the packet inside a tunnel, made by `vxlan::inner(ip::saddr)`.
template <tunnel Around, class Field>
struct inner_field : operand<inner_field<Around, Field>> {
  static_assert(
      requires { Field::in_header; },
      "runnel: inner(...) takes a header field: vxlan::inner(ip::saddr); a tunnel in a tunnel is not looked into");
  /// How many bits it has.
  static constexpr unsigned bits = Field::bits;
  /// The type of its values.
  using value_type = typename Field::value_type;

  /// Use `inner` of the tunnel.
  constexpr explicit inner_field(const Field& f) noexcept : inside(f) {}

  /// The field in the packet inside.
  [[no_unique_address]] Field inside;
};

}  // namespace match

/// The writable form of a view: `mut<ipv4>` has setters. A stage that asks for one says that it writes to the
/// packet.
template <class View>
using mut = typename View::mutable_view;

}  // namespace runnel

#endif

// ==== runnel/wire/ethernet.hpp =======================================================================================
// Ethernet header: a checked view over Ethernet II and 802.3 frames, the builder, the names of EtherTypes.
// IEEE 802.3 clause 3, RFC 894, RFC 1042.
#ifndef RUNNEL_WIRE_ETHERNET_HPP
#define RUNNEL_WIRE_ETHERNET_HPP

#include <cstddef>      // byte, size_t
#include <cstdint>      // uint16_t
#include <type_traits>  // is_const_v

namespace runnel {

/// EtherTypes, as IEEE 802 numbers them.
namespace ethertype {

/// A value of the type field, as IANA lists it. @{
inline constexpr std::uint16_t ipv4 = 0x0800;
inline constexpr std::uint16_t arp = 0x0806;
inline constexpr std::uint16_t wake_on_lan = 0x0842;
/// @}
inline constexpr std::uint16_t bridging = 0x6558;  ///< an Ethernet frame inside GRE (RFC 1701)
/// A value of the type field, as IANA lists it.
inline constexpr std::uint16_t rarp = 0x8035;
inline constexpr std::uint16_t vlan = 0x8100;  ///< 802.1Q customer tag
/// A value of the type field, as IANA lists it.
inline constexpr std::uint16_t ipv6 = 0x86dd;
inline constexpr std::uint16_t slow_protocols = 0x8809;  ///< LACP and OAM
/// A value of the type field, as IANA lists it.
inline constexpr std::uint16_t mpls = 0x8847;
inline constexpr std::uint16_t mpls_upstream = 0x8848;  ///< upstream-assigned labels (RFC 5332)
/// A value of the type field, as IANA lists it. @{
inline constexpr std::uint16_t pppoe_discovery = 0x8863;
inline constexpr std::uint16_t pppoe_session = 0x8864;
inline constexpr std::uint16_t eapol = 0x888e;
/// @}
inline constexpr std::uint16_t qinq = 0x88a8;  ///< 802.1ad service tag
/// A value of the type field, as IANA lists it. @{
inline constexpr std::uint16_t lldp = 0x88cc;
inline constexpr std::uint16_t macsec = 0x88e5;
inline constexpr std::uint16_t ptp = 0x88f7;
/// @}
inline constexpr std::uint16_t qinq_old = 0x9100;  ///< service tags from before 802.1ad
inline constexpr std::uint16_t first = 0x0600;     ///< what is below is no type but an 802.3 length

/// Whether a VLAN tag follows a type field with this value.
[[nodiscard]] constexpr bool is_vlan(std::uint16_t type) noexcept {
  return type == vlan || type == qinq || type == qinq_old;
}
/// Whether an MPLS label stack follows a type field with this value.
[[nodiscard]] constexpr bool is_mpls(std::uint16_t type) noexcept { return type == mpls || type == mpls_upstream; }

/// The name of an EtherType as tcpdump spells it; "Unknown" when it is not in the list above.
[[nodiscard]] constexpr const char* name(std::uint16_t type) noexcept {
  switch (type) {
    case ipv4: return "IPv4";
    case arp: return "ARP";
    case wake_on_lan: return "Wake-on-LAN";
    case bridging: return "TEB";
    case rarp: return "Reverse ARP";
    case vlan: return "802.1Q";
    case ipv6: return "IPv6";
    case slow_protocols: return "Slow Protocols";
    case mpls: return "MPLS unicast";
    case mpls_upstream: return "MPLS multicast";
    case pppoe_discovery: return "PPPoE D";
    case pppoe_session: return "PPPoE S";
    case eapol: return "EAPOL";
    case qinq: return "802.1Q-QinQ";
    case lldp: return "LLDP";
    case macsec: return "802.1AE MACsec";
    case ptp: return "PTP";
    case qinq_old: return "802.1Q-9100";
    default: return "Unknown";
  }
}

}  // namespace ethertype

/// A view of an Ethernet header and what it carries. `ethernet` reads, `mut<ethernet>` also writes. Does not own:
/// valid as long as the bytes. The frame check sequence is taken off before software sees a frame: none is here.
template <class Byte>
class basic_ethernet {
 public:
  /// What the library asks of a header view; see `header_view`. @{
  using mutable_view = basic_ethernet<std::byte>;
  static constexpr header in_header = header::ethernet;
  static constexpr std::size_t min_size = 14;
  /// @}

  /// A field, for match expressions. @{
  static constexpr field<header::ethernet, 0, 48, mac_address> daddr{"ether daddr"};
  static constexpr field<header::ethernet, 48, 48, mac_address> saddr{"ether saddr"};
  static constexpr field<header::ethernet, 96, 16, std::uint16_t> type{"ether type"};
  /// @}

  /// Checks that the header is there, and in an 802.3 frame that its length is at most 1500 and within `b`, which
  /// may run on behind it (padding).
  [[nodiscard]] static constexpr result<basic_ethernet, drop_reason> parse(byte_window<Byte> b) noexcept {
    if (b.size() < min_size) return drop_reason::link_too_short;
    const basic_ethernet v{b.data(), b.size()};
    if (v.is_802_3() && (v.ethertype() > 1500 || v.ethertype() > b.size() - min_size))
      return drop_reason::llc_malformed;
    return v;
  }
  /// A view over bytes that were checked before: at least `min_size` of them. Checks nothing.
  [[nodiscard]] static constexpr basic_ethernet unchecked(byte_window<Byte> b) noexcept { return {b.data(), b.size()}; }

  /// A view that may write can be read through as well.
  constexpr operator basic_ethernet<const std::byte>() const noexcept
    requires(!std::is_const_v<Byte>)
  {
    return basic_ethernet<const Byte>::unchecked({p_, n_});
  }

  /// Always 14: tags that follow are headers of their own.
  [[nodiscard]] static constexpr std::size_t header_size() noexcept { return min_size; }
  /// The field of the header, in host byte order. @{
  [[nodiscard]] constexpr mac_address destination() const noexcept { return mac_address::load(p_); }
  [[nodiscard]] constexpr mac_address source() const noexcept { return mac_address::load(p_ + 6); }
  /// @}
  /// What the frame carries; below 0x0600 the length of an 802.3 frame (then an LLC header follows).
  [[nodiscard]] constexpr std::uint16_t ethertype() const noexcept { return load_be16(p_ + 12); }
  /// Whether the type field is a length. IEEE 802.3 §3.2.6.
  [[nodiscard]] constexpr bool is_802_3() const noexcept { return ethertype() < runnel::ethertype::first; }
  /// What follows the header, with padding in an Ethernet II frame and without it in an 802.3 frame.
  [[nodiscard]] constexpr byte_window<Byte> payload() const noexcept {
    const byte_window<Byte> rest{p_ + min_size, n_ - min_size};
    const std::uint16_t said = ethertype();
    return said < runnel::ethertype::first ? rest.first(said) : rest;
  }

  /// Writes the field. @{
  constexpr void destination(const mac_address& a) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    a.store(p_);
  }
  constexpr void source(const mac_address& a) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    a.store(p_ + 6);
  }
  constexpr void ethertype(std::uint16_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_be16(p_ + 12, v);
  }
  /// @}
  /// Sends the frame back to where it came from.
  constexpr void swap_addresses() const noexcept
    requires(!std::is_const_v<Byte>)
  {
    if (std::is_constant_evaluated()) {
      const mac_address to = source();
      source(destination());
      destination(to);
      return;
    }
    // In registers: an address as a value of six bytes goes through memory, several times.
    std::uint32_t to4, from4;
    std::uint16_t to2, from2;
    __builtin_memcpy(&to4, p_, 4);
    __builtin_memcpy(&to2, p_ + 4, 2);
    __builtin_memcpy(&from4, p_ + 6, 4);
    __builtin_memcpy(&from2, p_ + 10, 2);
    __builtin_memcpy(p_, &from4, 4);
    __builtin_memcpy(p_ + 4, &from2, 2);
    __builtin_memcpy(p_ + 6, &to4, 4);
    __builtin_memcpy(p_ + 10, &to2, 2);
  }

 private:
  constexpr basic_ethernet(Byte* p, std::size_t n) noexcept : p_(p), n_(n) {}

  Byte* p_;
  std::size_t n_;
};

/// The view to read; `mut<>` of it also writes.
using ethernet = basic_ethernet<const std::byte>;
/// The name under which match expressions read best: `ether::saddr == ...`, as in nft.
using ether = ethernet;

namespace detail {

// The type field in front of a payload: its type, or when it has none its length, which 802.3 limits.
[[nodiscard]] constexpr std::uint16_t type_or_length(std::uint16_t type, std::size_t payload) noexcept {
  RUNNEL_ASSERT(type != 0 || payload <= 1500);
  return type != 0 ? type : static_cast<std::uint16_t>(payload);
}

}  // namespace detail

/// An Ethernet header to be written: `write_headers(packet, ethernet_header{...}, ipv4_header{...})`. Padding to 60
/// bytes is the caller's, who owns the buffer.
struct ethernet_header {
  static constexpr std::uint16_t ethertype = runnel::ethertype::bridging;  ///< what GRE says of a frame inside it

  /// A field of the header, in host byte order. @{
  mac_address source{};
  mac_address destination{};
  /// @}
  std::uint16_t type = 0;  ///< 0: that of the header inside; when it has none, the length of the payload (802.3)

  /// What `build` asks of a header; see `header_value`. @{
  [[nodiscard]] static constexpr std::size_t size() noexcept { return 14; }
  constexpr void write(mutable_bytes whole, const neighbours_of_header& around) const noexcept {
    std::byte* p = whole.data();
    destination.store(p);
    source.store(p + 6);
    store_be16(p + 12, detail::type_or_length(type != 0 ? type : around.ethertype, whole.size() - size()));
  }
  /// @}
};

/// One line in tcpdump's manner: `02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff, ethertype ARP (0x0806), length 60`.
template <class Byte>
constexpr void print(text_writer& out, const basic_ethernet<Byte>& v) noexcept {
  print(out, v.source());
  out << " > ";
  print(out, v.destination());
  if (v.is_802_3()) {
    out << ", 802.3, length " << v.ethertype();
    return;
  }
  out << ", ethertype " << ethertype::name(v.ethertype()) << " (0x";
  out.hex(v.ethertype(), 4) << "), length " << std::uint64_t{v.header_size() + v.payload().size()};
}

}  // namespace runnel

#endif

// ==== runnel/wire/mpls.hpp ===========================================================================================
// MPLS label stack: a checked view over one entry, the walk down to the bottom, the builder. RFC 3032, RFC 5462.
#ifndef RUNNEL_WIRE_MPLS_HPP
#define RUNNEL_WIRE_MPLS_HPP

#include <cstddef>      // byte, size_t
#include <cstdint>      // uint8_t, uint16_t, uint32_t
#include <type_traits>  // is_const_v

namespace runnel {

/// How many labels of a stack are followed.
inline constexpr unsigned max_mpls_labels = 16;

/// Labels with a meaning of their own (RFC 3032 §2.1).
namespace mpls_label {

/// A reserved label. @{
inline constexpr std::uint32_t ipv4_explicit_null = 0;
inline constexpr std::uint32_t router_alert = 1;
inline constexpr std::uint32_t ipv6_explicit_null = 2;
/// @}
inline constexpr std::uint32_t implicit_null = 3;  ///< in signalling only, never in a packet
/// Labels from here on mean what the network says.
inline constexpr std::uint32_t first_ordinary = 16;

}  // namespace mpls_label

/// A view of one entry of a label stack and what follows it. `mpls` reads, `mut<mpls>` also writes. Does not own: valid
/// as long as the bytes.
template <class Byte>
class basic_mpls {
 public:
  /// What the library asks of a header view; see `header_view`. @{
  using mutable_view = basic_mpls<std::byte>;
  static constexpr header in_header = header::mpls;
  static constexpr std::size_t min_size = 4;
  /// @}

  /// A field, for match expressions. @{
  static constexpr field<header::mpls, 0, 20, std::uint32_t> label{"mpls label"};
  static constexpr field<header::mpls, 20, 3, std::uint8_t> tc{"mpls tc"};
  static constexpr field<header::mpls, 23, 1, std::uint8_t> bos{"mpls bos"};
  static constexpr field<header::mpls, 24, 8, std::uint8_t> ttl{"mpls ttl"};
  /// @}

  /// Checks that the entry is there.
  [[nodiscard]] static constexpr result<basic_mpls, drop_reason> parse(byte_window<Byte> b) noexcept {
    if (b.size() < min_size) return drop_reason::mpls_malformed;
    return basic_mpls{b.data(), b.size()};
  }
  /// A view over bytes that were checked before: at least `min_size` of them. Checks nothing.
  [[nodiscard]] static constexpr basic_mpls unchecked(byte_window<Byte> b) noexcept { return {b.data(), b.size()}; }

  /// A view that may write can be read through as well.
  constexpr operator basic_mpls<const std::byte>() const noexcept
    requires(!std::is_const_v<Byte>)
  {
    return basic_mpls<const Byte>::unchecked({p_, n_});
  }

  /// What `build` asks of a header; see `header_value`.
  [[nodiscard]] static constexpr std::size_t header_size() noexcept { return min_size; }
  /// 20 bits.
  [[nodiscard]] constexpr std::uint32_t label_value() const noexcept { return load_be32(p_) >> 12; }
  /// 3 bits, once called EXP (RFC 5462).
  [[nodiscard]] constexpr std::uint8_t traffic_class() const noexcept {
    return static_cast<std::uint8_t>(load_u8(p_ + 2) >> 1 & 7u);
  }
  /// Whether this is the last entry of the stack.
  [[nodiscard]] constexpr bool bottom_of_stack() const noexcept { return (load_u8(p_ + 2) & 1u) != 0; }
  /// The field of the header, in host byte order.
  [[nodiscard]] constexpr std::uint8_t time_to_live() const noexcept { return load_u8(p_ + 3); }
  /// What follows: the next entry, or at the bottom what the stack carries.
  [[nodiscard]] constexpr byte_window<Byte> payload() const noexcept { return {p_ + min_size, n_ - min_size}; }

  /// Writes the field. @{
  constexpr void label_value(std::uint32_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_be32(p_, (load_be32(p_) & 0xfffu) | v << 12);
  }
  constexpr void traffic_class(std::uint8_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_u8(p_ + 2, static_cast<std::uint8_t>((load_u8(p_ + 2) & 0xf1u) | (v & 7u) << 1));
  }
  constexpr void time_to_live(std::uint8_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_u8(p_ + 3, v);
  }
  /// @}

 private:
  constexpr basic_mpls(Byte* p, std::size_t n) noexcept : p_(p), n_(n) {}

  Byte* p_;
  std::size_t n_;
};

/// The view to read; `mut<>` of it also writes.
using mpls = basic_mpls<const std::byte>;

/// Walks a label stack from its top: `for (mpls_stack s(bytes); s; s.next()) use(s.entry());` Ends behind the bottom,
/// where the bytes end, or after `max_mpls_labels` entries; `malformed()` tells the last two cases.
class mpls_stack {
 public:
  /// Walks a label stack.
  constexpr explicit mpls_stack(bytes stack) noexcept : rest_(stack), malformed_(stack.size() < mpls::min_size) {}
  /// Whether there is an entry at the current place.
  [[nodiscard]] constexpr explicit operator bool() const noexcept { return !malformed_ && !done_; }
  /// The entry that it stands at.
  [[nodiscard]] constexpr mpls entry() const noexcept { return mpls::unchecked(rest_); }
  /// Goes to the next entry.
  constexpr void next() noexcept {
    done_ = entry().bottom_of_stack();
    rest_ = rest_.from(mpls::min_size);
    ++count_;
    malformed_ = !done_ && (rest_.size() < mpls::min_size || count_ == max_mpls_labels);
  }
  /// No bottom was found.
  [[nodiscard]] constexpr bool malformed() const noexcept { return malformed_; }
  /// What follows the entries that were walked over: after the walk, what the stack carries.
  [[nodiscard]] constexpr bytes payload() const noexcept { return rest_; }

 private:
  bytes rest_;
  unsigned count_ = 0;
  bool done_ = false;
  bool malformed_;
};

/// An entry of a label stack to be written; several in a row make a stack, whose last one gets the bottom bit:
/// `write_headers(packet, ethernet_header{}, mpls_header{.label = 100}, mpls_header{.label = 17}, ipv4_header{...})`.
struct mpls_header {
  static constexpr std::uint16_t ethertype = runnel::ethertype::mpls;  ///< what a link header says of this one
  static constexpr std::uint8_t ip_protocol = 137;                     ///< what an IP header around it says (RFC 4023)

  /// A field of the header, in host byte order. @{
  std::uint32_t label = 0;
  std::uint8_t traffic_class = 0;
  std::uint8_t ttl = 64;
  /// @}

  /// What `build` asks of a header; see `header_value`. @{
  [[nodiscard]] static constexpr std::size_t size() noexcept { return 4; }
  constexpr void write(mutable_bytes whole, const neighbours_of_header& around) const noexcept {
    RUNNEL_ASSERT(label < 1u << 20 && traffic_class < 8);
    const bool bottom = around.ethertype != ethertype;
    store_be32(whole.data(), label << 12 | (traffic_class & 7u) << 9 | (bottom ? 0x100u : 0u) | ttl);
  }
  /// @}
};

/// One entry in tcpdump's manner: `MPLS (label 100, tc 0, [S], ttl 64)`.
template <class Byte>
constexpr void print(text_writer& out, const basic_mpls<Byte>& v) noexcept {
  out << "MPLS (label " << v.label_value() << ", tc " << v.traffic_class() << (v.bottom_of_stack() ? ", [S]" : "")
      << ", ttl " << v.time_to_live() << ')';
}

}  // namespace runnel

#endif

// ==== runnel/wire/dissect.hpp ========================================================================================
// Finds out which headers a packet carries and where they begin, with every bound checked, in one pass: from the
// link header to the transport header. Nobody behind it has to look at a length again.
//
//     Ethernet II, 802.3 with LLC/SNAP      IPv4 and its options       TCP, UDP, ICMP, ICMPv6, GRE:
//     cooked captures, loopback, raw IP  >  IPv6 and its extension  >  checked as far as their headers reach
//     up to 8 VLAN tags, 16 MPLS labels     headers (at most 8)        anything else: its place
//
// What it does not do: look into tunnels (<runnel/wire/tunnel.hpp> does), verify checksums, reassemble, understand IPv6
// jumbograms (RFC 2675).
#ifndef RUNNEL_WIRE_DISSECT_HPP
#define RUNNEL_WIRE_DISSECT_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t

namespace runnel {

/// What `dissect` is told of a packet beside its first bytes.
struct dissect_options {
  std::size_t head_offset = 0;  ///< where the frame lies in its buffer; is added to every offset found
  std::size_t chained = 0;      ///< bytes of the packet that follow in further buffers: counted, never read
  std::size_t missing = 0;      ///< bytes of the packet that a capture did not keep: counted as well
};

/// How many VLAN tags and IPv6 extension headers are followed, as `max_mpls_labels` for labels. One more is a fault.
inline constexpr unsigned max_vlan_tags = 8;
/// How many IPv6 extension headers are passed over; behind more the packet is malformed.
inline constexpr unsigned max_ipv6_extensions = 8;

namespace detail {

[[nodiscard]] constexpr std::uint16_t bit(protocol p) noexcept { return static_cast<std::uint16_t>(p); }

// An answer as one number, from the lowest bits on: protocols, network, transport, link, fault. It becomes a `layers`
// only in the end: put together member by member and then copied whole, as everybody does with it, it would have to
// wait for its own stores.
using packed_layers = std::uint64_t;

[[nodiscard]] RUNNEL_INLINE constexpr packed_layers pack_layers(unsigned protocols, std::size_t network,
                                                                std::size_t transport, std::size_t link,
                                                                drop_reason fault) noexcept {
  return std::uint64_t{protocols} | std::uint64_t{network} << 16 | std::uint64_t{transport} << 32 |
         std::uint64_t{link} << 48 | static_cast<std::uint64_t>(fault) << 56;
}
[[nodiscard]] RUNNEL_INLINE constexpr packed_layers pack_layers(const layers& l) noexcept {
  if constexpr (little_endian_host) return __builtin_bit_cast(packed_layers, l);
  else return pack_layers(l.protocols, l.network, l.transport, l.link, l.fault);
}
[[nodiscard]] RUNNEL_INLINE constexpr layers unpack_layers(packed_layers packed) noexcept {
  if constexpr (little_endian_host) return __builtin_bit_cast(layers, packed);
  else
    return {.protocols = static_cast<std::uint16_t>(packed),
            .network = static_cast<std::uint16_t>(packed >> 16),
            .transport = static_cast<std::uint16_t>(packed >> 32),
            .link = static_cast<std::uint8_t>(packed >> 48),
            .fault = static_cast<drop_reason>(packed >> 56)};
}

// The careful way through any packet, step by step in the order of its bytes. `at_` is where it has come to, `end_`
// where what it is in ends by the lengths read so far (perhaps behind the bytes it has), `size_` how many bytes it has;
// at_ <= end_ and at_ <= size_. Each step has one caller and is inlined there, which keeps all of this in registers.
class dissection {
 public:
  constexpr dissection(const std::byte* p, std::size_t size, std::size_t head, std::size_t chained,
                       std::size_t missing) noexcept
      : p_(p), size_(size), end_(size + chained + missing), head_(head), missing_(missing) {}

  RUNNEL_INLINE constexpr packed_layers run(link_type link) noexcept {
    found_ = static_cast<unsigned>(link);
    if (steps(link)) add(protocol::parsed);
    const std::size_t network = head_ + network_, transport = head_ + transport_;
    if (network > 0xffff || transport > 0xffff)
      return pack_layers(static_cast<unsigned>(link), 0, 0, 0, drop_reason::too_big);
    return pack_layers(found_, network, (found_ & bit(protocol::transport)) != 0 ? transport : 0, network_ & 0xff,
                       fault_);
  }

 private:
  // What comes next, when no EtherType says so: values that no type field can hold.
  static constexpr unsigned unknown = 0x10000, llc = 0x10001;

  RUNNEL_INLINE constexpr bool steps(link_type link) noexcept {
    unsigned type = unknown;
    if (!link_header(link, type) || !vlan_tags(type) || !llc_header(type) || !mpls_labels(type)) return false;
    network_ = at_;
    unsigned number = 0;
    switch (type) {
      case ethertype::ipv4:
        if (!ipv4_header(number)) return false;
        break;
      case ethertype::ipv6:
        if (!ipv6_headers(number)) return false;
        break;
      case ethertype::arp: return arp_packet();
      default: return true;
    }
    return is_later_fragment_ || transport_header(number);
  }

  RUNNEL_INLINE constexpr bool link_header(link_type link, unsigned& type) noexcept {
    switch (link) {
      case link_type::ethernet:
        if (!need(14, drop_reason::link_too_short)) return false;
        type = load_be16(p_ + 12);
        at_ = 14;
        break;
      case link_type::raw_ip:
        if (!need(1, drop_reason::ip_too_short)) return false;
        type = type_by_version();
        return type != unknown || fail(drop_reason::ip_version);
      case link_type::null_loop:
        if (!need(4, drop_reason::link_too_short)) return false;
        type = type_by_address_family();
        at_ = 4;
        break;
      case link_type::linux_sll:
        if (!need(16, drop_reason::link_too_short)) return false;
        type = cooked_type(load_be16(p_ + 14), load_be16(p_ + 2));
        at_ = 16;
        break;
      case link_type::linux_sll2:
        if (!need(20, drop_reason::link_too_short)) return false;
        type = cooked_type(load_be16(p_), load_be16(p_ + 8));
        at_ = 20;
        break;
      case link_type::unknown: break;
    }
    return true;
  }
  RUNNEL_INLINE constexpr unsigned type_by_version() const noexcept {
    const unsigned version = load_u8(here()) >> 4;
    return version == 4 ? ethertype::ipv4 : version == 6 ? ethertype::ipv6 : unknown;
  }
  // AF_INET is 2 everywhere; AF_INET6 is 10 on Linux, 24, 28 and 30 on the BSDs. In the order of the host that
  // captured (NULL), or of the network (LOOP): the numbers are small, so one can tell.
  RUNNEL_INLINE constexpr unsigned type_by_address_family() const noexcept {
    std::uint32_t family = load_be32(p_);
    if (family > 0xffff) family = load_le32(p_);
    if (family == 2) return ethertype::ipv4;
    return family == 10 || family == 24 || family == 28 || family == 30 ? ethertype::ipv6 : unknown;
  }
  // A cooked header says 4 where an LLC header follows; from netlink (ARPHRD 824) its type is no EtherType.
  RUNNEL_INLINE static constexpr unsigned cooked_type(unsigned type, unsigned hardware) noexcept {
    if (hardware == 824) return unknown;
    return type == 4 ? llc : type < ethertype::first ? unknown : type;
  }

  // Leaves in `type` what is inside the tags; an 802.3 length becomes the end, with an LLC header to come.
  RUNNEL_INLINE constexpr bool vlan_tags(unsigned& type) noexcept {
    network_ = at_;
    for (unsigned tags = 0; type <= 0xffff && ethertype::is_vlan(static_cast<std::uint16_t>(type)); ++tags) {
      if (tags == max_vlan_tags) return fail(drop_reason::vlan_malformed);
      if (!need(4, drop_reason::vlan_malformed)) return false;
      add(protocol::vlan);
      type = load_be16(here() + 2);
      at_ += 4;
      network_ = at_;
    }
    if (type >= ethertype::first) return true;
    if (type > 1500 || type > end_ - at_) return fail(drop_reason::llc_malformed);
    end_ = at_ + type;
    type = llc;
    return true;
  }
  // As `llc::parse`. SNAP holds an EtherType (RFC 1042); any other LLC payload is unknown, and begins with its header.
  RUNNEL_INLINE constexpr bool llc_header(unsigned& type) noexcept {
    if (type != llc) return true;
    type = unknown;
    if (!need(3, drop_reason::llc_malformed)) return false;
    const unsigned control = load_u8(here() + 2);
    if ((control & 3u) != 3) return need(4, drop_reason::llc_malformed);
    if (load_be16(here()) != 0xaaaa || control != 3) return true;
    if (!need(8, drop_reason::llc_malformed)) return false;
    const std::uint32_t organisation = load_be24(here() + 3);
    const std::uint16_t inner = load_be16(here() + 6);
    if ((organisation != 0 && organisation != 0xf8) || inner < ethertype::first) return true;
    type = inner;
    at_ += 8;
    return true;
  }
  // Labels do not say what they carry: IP is told by its version, as routers do (RFC 4928), all else is unknown.
  RUNNEL_INLINE constexpr bool mpls_labels(unsigned& type) noexcept {
    if (type != ethertype::mpls && type != ethertype::mpls_upstream) return true;
    bool bottom = false;
    for (unsigned labels = 0; !bottom; ++labels) {
      network_ = at_;
      if (labels == max_mpls_labels) return fail(drop_reason::mpls_malformed);
      if (!need(4, drop_reason::mpls_malformed)) return false;
      add(protocol::mpls);
      bottom = (load_u8(here() + 2) & 1u) != 0;
      at_ += 4;
    }
    network_ = at_;
    type = unknown;
    if (at_ == end_) return true;
    if (!need(1, drop_reason::mpls_malformed)) return false;
    type = type_by_version();
    return true;
  }

  RUNNEL_INLINE constexpr bool arp_packet() noexcept {
    if (!need(28, drop_reason::arp_malformed)) return false;
    const unsigned hardware = load_be16(here());
    if ((hardware != 1 && hardware != 6) || load_be16(here() + 2) != ethertype::ipv4 || load_be16(here() + 4) != 0x0604)
      return fail(drop_reason::arp_malformed);
    add(protocol::arp);
    return true;
  }
  // As `ipv4::parse`, and no fragment may end behind 65535 (the "ping of death").
  RUNNEL_INLINE constexpr bool ipv4_header(unsigned& number) noexcept {
    if (!need(20, drop_reason::ip_too_short)) return false;
    const std::byte* p = here();
    if (load_u8(p) >> 4 != 4) return fail(drop_reason::ip_version);
    const std::size_t header_size = (load_u8(p) & 15u) * std::size_t{4};
    const std::size_t total = load_be16(p + 2);
    if (header_size < 20) return fail(drop_reason::ip_header_length);
    if (!need(header_size, drop_reason::ip_header_length)) return false;
    if (total < header_size || total > end_ - at_) return fail(drop_reason::ip_total_length);
    add(protocol::ipv4);
    end_ = at_ + total;
    at_ += header_size;
    number = load_u8(p + 9);
    const unsigned fragment = load_be16(p + 6);
    if ((fragment & 0x3fffu) == 0) return true;
    add(protocol::fragment);
    const std::size_t offset = (fragment & 0x1fffu) * std::size_t{8};
    is_later_fragment_ = offset != 0;
    is_first_fragment_ = offset == 0;
    return offset + total <= 65535 || fail(drop_reason::ip_fragment);
  }
  // As `ipv6::parse`, and the extension headers. RFC 8200 §4: hop-by-hop options come first or not at all; otherwise
  // any order is followed, but a second fragment header is refused.
  RUNNEL_INLINE constexpr bool ipv6_headers(unsigned& number) noexcept {
    if (!need(40, drop_reason::ip_too_short)) return false;
    const std::byte* p = here();
    if (load_u8(p) >> 4 != 6) return fail(drop_reason::ip_version);
    const std::size_t payload = load_be16(p + 4);
    number = load_u8(p + 6);
    if (payload > end_ - at_ - 40 || (payload == 0 && number == 0)) return fail(drop_reason::ip_total_length);
    add(protocol::ipv6);
    at_ += 40;
    end_ = at_ + payload;
    for (unsigned count = 0; is_ipv6_extension(number); ++count) {
      if (count == max_ipv6_extensions || (number == 0 && count != 0)) return fail(drop_reason::ipv6_extension);
      if (!need(8, cut_off(drop_reason::ipv6_extension))) return false;
      const std::byte* extension = here();
      const std::size_t length = load_u8(extension + 1);
      const std::size_t size = number == 44 ? 8 : number == 51 ? (length + 2) * 4 : (length + 1) * 8;
      if (!need(size, cut_off(drop_reason::ipv6_extension))) return false;
      if (number == 51 && size < 12) return fail(drop_reason::ipv6_extension);
      at_ += size;
      if (number == 44 && !fragment_header(load_be16(extension + 2))) return false;
      if (is_later_fragment_) return true;
      number = load_u8(extension);
    }
    return true;
  }
  static constexpr bool is_ipv6_extension(unsigned number) noexcept {
    return number == 0 || number == 43 || number == 44 || number == 51 || number == 60;
  }
  // Neither first nor later is an "atomic" one, a whole datagram (RFC 6946).
  RUNNEL_INLINE constexpr bool fragment_header(unsigned fragment) noexcept {
    if ((found_ & bit(protocol::fragment)) != 0) return fail(drop_reason::ipv6_extension);
    add(protocol::fragment);
    const std::size_t offset = fragment & 0xfff8u;
    is_later_fragment_ = offset != 0;
    is_first_fragment_ = offset == 0 && (fragment & 1u) != 0;
    return offset + (end_ - at_) <= 65535 || fail(drop_reason::ip_fragment);
  }

  RUNNEL_INLINE constexpr bool transport_header(unsigned number) noexcept {
    switch (number) {
      case 6: {
        if (!need(20, cut_off(drop_reason::tcp_too_short))) return false;
        const std::size_t header_size = (load_u8(here() + 12) >> 4) * std::size_t{4};
        if (header_size < 20) return fail(drop_reason::tcp_data_offset);
        if (!need(header_size, cut_off(drop_reason::tcp_data_offset))) return false;
        add(protocol::tcp);
        break;
      }
      case 17: {
        if (!need(8, cut_off(drop_reason::udp_too_short))) return false;
        const std::size_t length = load_be16(here() + 4);
        if (length < 8 || (length > end_ - at_ && !is_first_fragment_)) return fail(drop_reason::udp_length);
        add(protocol::udp);
        break;
      }
      case 1:
      case 58:
        if ((number == 1) != ((found_ & bit(protocol::ipv4)) != 0)) break;  // each belongs to one of the two
        if (!need(8, cut_off(drop_reason::icmp_too_short))) return false;
        add(number == 1 ? protocol::icmp : protocol::icmpv6);
        break;
      case 47:
        if (!gre_header()) return false;
        break;
      default: break;
    }
    transport_ = at_;
    add(protocol::transport);
    return true;
  }
  // RFC 2784 §2.3: bits 1, 4 and 5 must be clear. Version 1 is PPTP's (RFC 2637), which is not looked into.
  RUNNEL_INLINE constexpr bool gre_header() noexcept {
    if (!need(4, cut_off(drop_reason::gre_malformed))) return false;
    const unsigned flags = load_be16(here());
    if ((flags & 7u) != 0) return true;
    if ((flags & 0x4c00u) != 0) return fail(drop_reason::gre_malformed);
    const unsigned words = 1 + (flags >> 15 & 1u) + (flags >> 13 & 1u) + (flags >> 12 & 1u);
    if (!need(words * std::size_t{4}, cut_off(drop_reason::gre_malformed))) return false;
    add(protocol::gre);
    return true;
  }

  RUNNEL_INLINE constexpr bool fail(drop_reason why) noexcept {
    fault_ = why;
    return false;
  }
  // Whether `n` bytes from here can be read. `why` is the fault when the packet itself has fewer.
  RUNNEL_INLINE constexpr bool need(std::size_t n, drop_reason why) noexcept {
    if (n <= end_ - at_ && n <= size_ - at_) [[likely]]
      return true;
    return fail(n <= end_ - at_ && missing_ != 0 ? drop_reason::truncated_capture : why);
  }
  // A first fragment that ends within the headers is no honest one (RFC 1858, RFC 7112).
  RUNNEL_INLINE constexpr drop_reason cut_off(drop_reason otherwise) const noexcept {
    return is_first_fragment_ ? drop_reason::ip_fragment : otherwise;
  }
  RUNNEL_INLINE constexpr void add(protocol p) noexcept { found_ |= bit(p); }
  RUNNEL_INLINE constexpr const std::byte* here() const noexcept { return p_ + at_; }

  const std::byte* p_;
  std::size_t size_;
  std::size_t end_;
  std::size_t head_;
  std::size_t missing_;
  std::size_t at_ = 0;
  std::size_t network_ = 0;
  std::size_t transport_ = 0;
  unsigned found_ = 0;
  bool is_first_fragment_ = false;  // of a datagram that goes on in others
  bool is_later_fragment_ = false;
  drop_reason fault_ = drop_reason::none;
};

// What was found: as one number, to be stored (0: the short way is not sure), and in parts, which cost nothing where
// nobody looks at them, and let the compiler follow what each branch knows of them.
struct found_layers {
  packed_layers packed = 0;
  layers parts;
};

// The end of the short way, behind `Header` bytes of an IP header that says `payload` bytes follow, at least 8 of them,
// which are there. All offsets are known but for one summand, so the number is one multiplication.
template <std::size_t At, std::size_t Header, unsigned Bits>
[[nodiscard]] RUNNEL_INLINE constexpr found_layers plain_transport(const std::byte* p, std::size_t payload,
                                                                   std::uint8_t number, std::size_t head) noexcept {
  const std::byte* const transport = p + At + Header;
  unsigned bits = Bits | bit(protocol::parsed) | bit(protocol::transport);
  if (number == 17) {
    if (load_be16(transport + 4) - std::size_t{8} > payload - 8) return {};
    bits |= bit(protocol::udp);
  } else if (number == 6) {
    if (payload < 20 || (load_u8(transport + 12) >> 4) * std::size_t{4} - 20 > payload - 20) return {};
    bits |= bit(protocol::tcp);
  } else {
    return {};
  }
  return {.packed = head * 0x1'0001'0000u + pack_layers(bits, At, At + Header, At, drop_reason::none),
          .parts = {.protocols = static_cast<std::uint16_t>(bits),
                    .network = static_cast<std::uint16_t>(head + At),
                    .transport = static_cast<std::uint16_t>(head + At + Header),
                    .link = At}};
}

// The short way: IPv4 without options or IPv6, at byte `At` of at least `At` + 28, with TCP or UDP and nothing wrong.
// Answers only when it is sure. `a - least <= b - least` stands for `least <= a && a <= b` where b >= least is known.
template <std::size_t At, unsigned Bits>
[[nodiscard]] RUNNEL_INLINE constexpr found_layers dissect_plain(const std::byte* p, std::size_t size, unsigned type,
                                                                 std::size_t head) noexcept {
  if (type == ethertype::ipv4) {
    const std::size_t total = load_be16(p + At + 2);
    if (load_u8(p + At) != 0x45 || (load_be16(p + At + 6) & 0x3fffu) != 0 || total - 28 > size - At - 28) return {};
    return plain_transport < At, 20, Bits | bit(protocol::ipv4) > (p, total - 20, load_u8(p + At + 9), head);
  }
  if (type == ethertype::ipv6 && size >= At + 48) {
    const std::size_t payload = load_be16(p + At + 4);
    if (load_u8(p + At) >> 4 != 6 || payload - 8 > size - At - 48) return {};
    return plain_transport < At, 40, Bits | bit(protocol::ipv6) > (p, payload, load_u8(p + At + 6), head);
  }
  return {};
}

// Any packet. Six numbers and no struct, for those travel in registers.
[[gnu::noinline]] constexpr packed_layers dissect_carefully(const std::byte* p, std::size_t size, link_type link,
                                                            std::size_t head, std::size_t chained,
                                                            std::size_t missing) noexcept {
  if (link == link_type::ethernet && size >= 18 + 28 && head <= 0xffff - 18 - 40 &&
      load_be16(p + 12) == ethertype::vlan) {
    const packed_layers found = dissect_plain<18, bit(protocol::vlan)>(p, size, load_be16(p + 16), head).packed;
    if (found != 0) [[likely]]
      return found;
  }
  return dissection{p, size, head, chained, missing}.run(link);
}

// The short way for untagged Ethernet, inlined.
[[nodiscard]] RUNNEL_INLINE constexpr found_layers dissect_plainly(bytes frame, std::size_t head) noexcept {
  if (frame.size() < 14 + 28 || head > 0xffff - 14 - 40) [[unlikely]]
    return {};
  return dissect_plain<14, 0>(frame.data(), frame.size(), load_be16(frame.data() + 12), head);
}

// Whether layers that somebody found before can have been found in bytes that begin at `head` and are `size` long: all
// headers lie in them, the link header at their beginning.
[[nodiscard]] constexpr bool lies_in(const layers& l, std::size_t head, std::size_t size) noexcept {
  const std::size_t link = l.has(protocol::vlan) ? 18u : l.link_kind() == link_type::ethernet ? 14u : 0u;
  const std::size_t network = l.has(protocol::ipv6)   ? 40u
                              : l.has(protocol::arp)  ? 28u
                              : l.has(protocol::ipv4) ? 20u
                                                      : 0u;
  const bool eight = l.has(protocol::udp) || l.has(protocol::icmp) || l.has(protocol::icmpv6);
  const std::size_t transport = l.has(protocol::tcp) ? 20u : eight ? 8u : l.has(protocol::gre) ? 4u : 0u;
  return l.network == head + l.link && l.link >= link && l.network + network <= head + size &&
         (transport == 0 || l.transport + transport <= head + size);
}

// Any packet: the short way inlined, the careful one as a call.
[[nodiscard]] RUNNEL_INLINE constexpr found_layers dissect_both(bytes frame, link_type link,
                                                                const dissect_options& options) noexcept {
  if (link == link_type::ethernet) [[likely]] {
    const found_layers found = dissect_plainly(frame, options.head_offset);
    if (found.packed != 0) [[likely]]
      return found;
  }
  const packed_layers found =
      dissect_carefully(frame.data(), frame.size(), link, options.head_offset, options.chained, options.missing);
  return {found, unpack_layers(found)};
}

}  // namespace detail

/// Dissects the packet whose first bytes are `frame`. Reads nothing outside `frame`, whatever the bytes say.
///
/// When something is wrong, `fault` names it and `protocol::parsed` is not set; the bits of the headers before it are,
/// and their offsets are right. A fault on account of bytes that a capture did not keep (`options.missing`) is
/// `truncated_capture`. Offsets that do not fit 16 bits are the fault `too_big`. A header that lies in a chained
/// buffer (`options.chained`) counts as cut off: linearize first.
///
/// The checks are those of the views' `parse`, so `unchecked` views over what was found are safe. In addition: a
/// fragment that would end behind byte 65535, and a first fragment without its whole transport header, are faults.
/// An IPv6 "atomic fragment" (RFC 6946) has both `protocol::fragment` and a transport header.
///
/// Ethernet with IPv4 (without options) or IPv6 and TCP or UDP goes the short way, inlined; the rest is a call, where
/// the same with one 802.1Q tag goes first.
[[nodiscard]] RUNNEL_INLINE constexpr layers dissect(bytes frame, link_type link = link_type::ethernet,
                                                     const dissect_options& options = {}) noexcept {
  return detail::dissect_both(frame, link, options).parts;
}

}  // namespace runnel

#endif

// ==== runnel/device/partial_checksum.hpp =============================================================================
// Completes the transport checksum of a packet whose device left it partial (`checksum_status::partial`), for devices
// that put packets on a wire where nobody does it for them. Nothing here is for users.
#ifndef RUNNEL_DEVICE_PARTIAL_CHECKSUM_HPP
#define RUNNEL_DEVICE_PARTIAL_CHECKSUM_HPP

#include <cstddef>  // byte, size_t

namespace runnel::detail {

/// Where the checksum of a TCP segment or UDP datagram lies, counted from the first byte of the packet. All of the
/// header lies in the first fragment.
struct transport_checksum_place {
  std::size_t start = 0;   ///< of the transport header; 0 when there is no such checksum
  std::size_t field = 0;   ///< from there to the checksum: 16 for TCP, 6 for UDP
  std::size_t end = 0;     ///< of the IP packet; padding may follow
  std::size_t header = 0;  ///< bytes of the transport header
  bool ipv4 = false;
};

/// `first` begins with the link header; `chained` bytes follow it in further fragments.
[[nodiscard]] inline transport_checksum_place find_transport_checksum(bytes first, link_type link,
                                                                      std::size_t chained = 0) noexcept {
  const layers found = dissect(first, link, {.chained = chained});
  const bool tcp = found.has(protocol::tcp);
  if (!tcp && !found.has(protocol::udp)) return {};
  const std::byte* ip = first.data() + found.network;
  const bool ipv4 = found.has(protocol::ipv4);
  const std::size_t size = ipv4 ? load_be16(ip + 2) : std::size_t{40} + load_be16(ip + 4);
  const std::size_t header = tcp ? std::size_t{load_u8(first.data() + found.transport + 12)} / 16 * 4 : 8;
  return {found.transport, tcp ? std::size_t{16} : std::size_t{6}, found.network + size, header, ipv4};
}

/// Completes the partial checksum of a TCP or UDP packet that begins with its link header; padding behind the IP packet
/// does not count. Leaves alone what is something else.
inline void complete_transport_checksum(mutable_bytes whole, link_type link) noexcept {
  const transport_checksum_place at = find_transport_checksum(whole, link);
  if (at.start == 0 || at.end > whole.size()) return;
  (void)complete_checksum(whole.first(at.end), at.start, at.field);
}

/// The same for a packet of any number of fragments, if its checksum is partial; it is verified then. Copies shared
/// bytes first. False, and nothing changed, when the pool has no slot for that. `link` is what it begins with.
[[nodiscard]] inline bool complete_transport_checksum(packet& p, link_type link) noexcept {
  if (p.checksum() != checksum_status::partial) return true;
  if (!p.unshare()) return false;
  const std::size_t length = p.total_length();
  const transport_checksum_place at = find_transport_checksum(p.contents(), link, length - p.length());
  if (at.start == 0 || at.end > length) return true;
  running_checksum sum;
  std::size_t behind = at.start, left = at.end - at.start;
  p.for_each_fragment([&](bytes part) {
    const std::size_t skipped = behind < part.size() ? behind : part.size();
    behind -= skipped;
    part = part.from(skipped);
    part = part.first(left < part.size() ? left : part.size());
    left -= part.size();
    sum.add(part);
  });
  store_be16(p.writable().data() + at.start + at.field, sum.checksum() != 0 ? sum.checksum() : 0xffff);
  p.checksum(checksum_status::verified);
  return true;
}

}  // namespace runnel::detail

#endif

// ==== runnel/wire/option_fields.hpp ==================================================================================
// What may or may not stand in a packet, as match expressions name it: options of IPv4, TCP and neighbour discovery,
// IPv6 extension headers, the words behind a GRE header. Users reach these names through the views: `tcp::option`.
//
// Each is a header of its own: `has<tcp::option::sack_perm>` asks whether it is there, and its fields are false in
// every comparison when it is not, or is too short for them. Of several the first one counts. What stands behind an
// option of an impossible length is not there. Everything is a template so that a field costs a compiler nothing before
// it is used.
#ifndef RUNNEL_WIRE_OPTION_FIELDS_HPP
#define RUNNEL_WIRE_OPTION_FIELDS_HPP

#include <cstdint>  // uint8_t, uint16_t, uint32_t

namespace runnel {

/// `ip::option`: RFC 791 §3.1, RFC 2113. nft knows those with a name.
template <header_family Family = header_family::ipv4_option>
struct ipv4_option_fields {
  /// Any option, by its type octet. The end of the list, 0, is never found.
  template <std::uint8_t Type>
  struct number {
    /// What the library asks of a header view; see `header_view`.
    static constexpr header in_header = header_in(Family, Type);
    static constexpr field<in_header, 8, 8, std::uint8_t> length{"length"};  ///< bytes, type and length included
  };
  /// A list of addresses; `addr` is its first one.
  template <std::uint8_t Type>
  struct route : number<Type> {
    /// A field, for match expressions. @{
    static constexpr field<header_in(Family, Type), 16, 8, std::uint8_t> ptr{"ptr"};
    static constexpr field<header_in(Family, Type), 24, 32, ipv4_address> addr{"addr"};
    /// @}
  };
  using rr = route<7>;      ///< record route
  using lsrr = route<131>;  ///< loose source and record route
  using ssrr = route<137>;  ///< strict source and record route
  /// Router alert.
  struct ra : number<148> {
    /// A field, for match expressions.
    static constexpr field<header_in(Family, 148), 16, 16, std::uint16_t> value{"value"};
  };
};

/// `tcp::option`: RFC 9293 §3.2 and those that `tcp_option` cites.
template <header_family Family = header_family::tcp_option>
struct tcp_option_fields {
  /// Any option, by its kind octet. The end of the list, 0, is never found.
  template <std::uint8_t Kind>
  struct number {
    /// What the library asks of a header view; see `header_view`.
    static constexpr header in_header = header_in(Family, Kind);
    static constexpr field<in_header, 8, 8, std::uint8_t> length{"length"};  ///< bytes, kind and length included
  };
  /// Maximum segment size.
  struct maxseg : number<2> {
    /// A field, for match expressions.
    static constexpr field<header_in(Family, 2), 16, 16, std::uint16_t> size{"size"};
  };
  /// Window scale; `count` is the shift.
  struct window : number<3> {
    /// A field, for match expressions.
    static constexpr field<header_in(Family, 3), 16, 8, std::uint8_t> count{"count"};
  };
  /// The option without a value.
  using sack_perm = number<4>;
  /// Selective acknowledgment; these are of its first block.
  struct sack : number<5> {
    /// A field, for match expressions. @{
    static constexpr field<header_in(Family, 5), 16, 32, std::uint32_t> left{"left"};
    static constexpr field<header_in(Family, 5), 48, 32, std::uint32_t> right{"right"};
    /// @}
  };
  /// Timestamps.
  struct timestamp : number<8> {
    /// A field, for match expressions. @{
    static constexpr field<header_in(Family, 8), 16, 32, std::uint32_t> tsval{"tsval"};
    static constexpr field<header_in(Family, 8), 48, 32, std::uint32_t> tsecr{"tsecr"};
    /// @}
  };
  /// The option without a value.
  using md5sig = number<19>;
  /// Multipath TCP.
  struct mptcp : number<30> {
    /// A field, for match expressions.
    static constexpr field<header_in(Family, 30), 16, 4, std::uint8_t> subtype{"subtype"};
  };
  /// The option without a value.
  using fastopen = number<34>;
};

/// `ip6::exthdr`: RFC 8200 §4, RFC 6275 §6.1. The fragment header is a view, `ipv6_fragment`.
template <header_family Family = header_family::ipv6_extension>
struct ipv6_exthdr_fields {
  /// Any extension header, by the number that announces it. `hdrlength` counts 8 bytes each behind the first 8.
  template <std::uint8_t Number>
  struct number {
    /// What the library asks of a header view; see `header_view`.
    static constexpr header in_header = header_in(Family, Number);
    /// The number that announces what follows.
    static constexpr field<in_header, 0, 8, std::uint8_t> nexthdr{"nexthdr"};
    /// The length, in units of 8 bytes behind the first 8.
    static constexpr field<in_header, 8, 8, std::uint8_t> hdrlength{"hdrlength"};
  };
  using hbh = number<0>;   ///< hop-by-hop options
  using dst = number<60>;  ///< destination options
  /// Routing.
  struct rt : number<43> {
    /// A field, for match expressions. @{
    static constexpr field<header_in(Family, 43), 16, 8, std::uint8_t> type{"type"};
    static constexpr field<header_in(Family, 43), 24, 8, std::uint8_t> seg_left{"seg-left"};
    /// @}
  };
  /// Mobility. Nothing is behind it: for `meta::l4proto` it is the transport.
  struct mh : number<135> {
    /// A field, for match expressions. @{
    static constexpr field<header_in(Family, 135), 16, 8, std::uint8_t> type{"type"};
    static constexpr field<header_in(Family, 135), 32, 16, std::uint16_t> checksum{"checksum"};
    /// @}
  };
};

/// `icmpv6::ra`: router advertisements, RFC 4861 §4.2. nft has no words for these fields, nor for those below.
template <header In = header_in(header_family::icmpv6_message, 134)>
struct router_advertisement_fields {
  /// What the library asks of a header view; see `header_view`.
  static constexpr header in_header = In;
  /// A field, for match expressions. @{
  static constexpr field<In, 32, 8, std::uint8_t> cur_hop_limit{"icmpv6 ra cur-hop-limit"};
  static constexpr field<In, 40, 1, std::uint8_t> managed{"icmpv6 ra managed"};
  static constexpr field<In, 41, 1, std::uint8_t> other{"icmpv6 ra other"};
  /// @}
  static constexpr field<In, 48, 16, std::uint16_t> router_lifetime{"icmpv6 ra router-lifetime"};  ///< seconds
  static constexpr field<In, 64, 32, std::uint32_t> reachable_time{"icmpv6 ra reachable-time"};    ///< milliseconds
  static constexpr field<In, 96, 32, std::uint32_t> retrans_timer{"icmpv6 ra retrans-timer"};      ///< milliseconds
};
/// `icmpv6::na`: the flags of neighbour advertisements, RFC 4861 §4.4. Their target is `icmpv6::taddr`.
template <header In = header_in(header_family::icmpv6_message, 136)>
struct neighbour_advertisement_fields {
  /// What the library asks of a header view; see `header_view`.
  static constexpr header in_header = In;
  /// A field, for match expressions. @{
  static constexpr field<In, 32, 1, std::uint8_t> router{"icmpv6 na router"};
  static constexpr field<In, 33, 1, std::uint8_t> solicited{"icmpv6 na solicited"};
  static constexpr field<In, 34, 1, std::uint8_t> overrides{"icmpv6 na override"};
  /// @}
};
/// `icmpv6::option`: options of neighbour discovery messages, RFC 4861 §4.6, RFC 4191 §2.3, RFC 8106 §5.1.
template <header_family Family = header_family::nd_option>
struct nd_option_fields {
  /// Any option, by its type octet.
  template <std::uint8_t Type>
  struct number {
    /// What the library asks of a header view; see `header_view`.
    static constexpr header in_header = header_in(Family, Type);
    static constexpr field<in_header, 8, 8, std::uint8_t> length{"length"};  ///< in units of 8 bytes
  };
  /// A link-layer address.
  template <std::uint8_t Type>
  struct link_address : number<Type> {
    /// A field, for match expressions.
    static constexpr field<header_in(Family, Type), 16, 48, mac_address> address{"address"};
  };
  using slla = link_address<1>;  ///< source link-layer address, of 48 bits
  using tlla = link_address<2>;  ///< target link-layer address, of 48 bits
  /// Prefix information; lifetimes in seconds.
  struct prefix : number<3> {
    /// A field, for match expressions. @{
    static constexpr field<header_in(Family, 3), 16, 8, std::uint8_t> prefix_length{"prefix-length"};
    static constexpr field<header_in(Family, 3), 24, 1, std::uint8_t> on_link{"on-link"};
    static constexpr field<header_in(Family, 3), 25, 1, std::uint8_t> autonomous{"autonomous"};
    static constexpr field<header_in(Family, 3), 32, 32, std::uint32_t> valid_lifetime{"valid-lifetime"};
    static constexpr field<header_in(Family, 3), 64, 32, std::uint32_t> preferred_lifetime{"preferred-lifetime"};
    static constexpr field<header_in(Family, 3), 128, 128, ipv6_address> address{"address"};
    /// @}
  };
  /// The MTU of the link.
  struct mtu : number<5> {
    /// A field, for match expressions.
    static constexpr field<header_in(Family, 5), 32, 32, std::uint32_t> value{"value"};
  };
  /// Route information; its prefix has no fixed length.
  struct route : number<24> {
    /// A field, for match expressions. @{
    static constexpr field<header_in(Family, 24), 16, 8, std::uint8_t> prefix_length{"prefix-length"};
    static constexpr field<header_in(Family, 24), 32, 32, std::uint32_t> lifetime{"lifetime"};
    /// @}
  };
  /// Recursive DNS servers; `address` is the first one's.
  struct rdnss : number<25> {
    /// A field, for match expressions. @{
    static constexpr field<header_in(Family, 25), 32, 32, std::uint32_t> lifetime{"lifetime"};
    static constexpr field<header_in(Family, 25), 64, 128, ipv6_address> address{"address"};
    /// @}
  };
};

/// `gre::option`: the words that flags announce, RFC 2784 §2.1, RFC 2890 §2. nft has no words for them.
template <header_family Family = header_family::gre_word>
struct gre_option_fields {
  /// An optional word of the header.
  template <std::uint8_t Flag, class Value>
  struct word {
    /// What the library asks of a header view; see `header_view`.
    static constexpr header in_header = header_in(Family, Flag);
    /// A field, for match expressions.
    static constexpr field<in_header, 0, 8 * sizeof(Value), Value> value{"value"};
  };
  /// The optional words.
  using checksum = word<0x80, std::uint16_t>;
  /// What its values are compared as.
  using key = word<0x20, std::uint32_t>;
  /// A field of the header, in host byte order.
  using sequence = word<0x10, std::uint32_t>;
};

}  // namespace runnel

#endif

// ==== runnel/wire/tcp_options.hpp ====================================================================================
// TCP options: a walker that survives whatever the wire brings, and the set of options that a modern stack sends
// and reads. RFC 9293 §3.1, RFC 7323, RFC 2018, RFC 7413, RFC 5482, RFC 5925, RFC 2385, RFC 8684.
#ifndef RUNNEL_WIRE_TCP_OPTIONS_HPP
#define RUNNEL_WIRE_TCP_OPTIONS_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t

namespace runnel {

/// The kind octet of a TCP option, an IANA number.
enum class tcp_option : std::uint8_t {
  end_of_list = 0,
  no_operation = 1,
  maximum_segment_size = 2,  ///< RFC 9293 §3.7.1, in SYN only
  window_scale = 3,          ///< RFC 7323 §2.2, in SYN only
  sack_permitted = 4,        ///< RFC 2018 §2, in SYN only
  sack = 5,                  ///< RFC 2018 §3
  timestamps = 8,            ///< RFC 7323 §3.2
  md5_signature = 19,        ///< RFC 2385, obsoleted by `authentication`
  user_timeout = 28,         ///< RFC 5482
  authentication = 29,       ///< TCP-AO, RFC 5925 §2.2
  multipath = 30,            ///< MPTCP, RFC 8684 §3
  fast_open = 34,            ///< RFC 7413 §4.1.1
};

/// Octets that the receiver already has, out of order: from `left` up to, not including, `right` (RFC 2018 §3).
struct tcp_sack_block {
  /// The first sequence number of the block.
  std::uint32_t left = 0;
  /// The one behind its last.
  std::uint32_t right = 0;
  /// Equal when all their parts are.
  friend constexpr bool operator==(const tcp_sack_block&, const tcp_sack_block&) noexcept = default;
};

/// TSval and TSecr (RFC 7323 §3.2), in ticks of the sender's and of the receiver's clock.
struct tcp_timestamps {
  /// TSval.
  std::uint32_t value = 0;
  /// TSecr.
  std::uint32_t echo_reply = 0;
  /// Equal when all their parts are.
  friend constexpr bool operator==(const tcp_timestamps&, const tcp_timestamps&) noexcept = default;
};

/// Walks TCP options: `for (tcp_options o(segment.options()); o; o.next()) use(o.kind(), o.data());`
/// Ends at End of Option List, at the last byte, or at an option whose length cannot be (RFC 9293 MUST-7), which
/// `malformed()` tells. Options of unknown kind are stepped over by their length (MUST-6), at any alignment
/// (MUST-64). The typed accessors look at the current option only; of another kind, or of a length that its RFC
/// does not allow, it reads as absent: 0, empty or the value named there.
class tcp_options {
 public:
  static constexpr std::uint8_t no_window_scale = 255;  ///< what `window_scale()` says when there is none

  /// Walks the options of a header, `tcp.options()`.
  constexpr explicit tcp_options(bytes options) noexcept : rest_(options) { look(); }
  /// Whether there is an option at the current place.
  [[nodiscard]] constexpr explicit operator bool() const noexcept { return size_ != 0; }
  /// Which option it stands at.
  [[nodiscard]] constexpr tcp_option kind() const noexcept { return static_cast<tcp_option>(load_u8(rest_.data())); }
  /// The option's data, without kind and length octets.
  [[nodiscard]] constexpr bytes data() const noexcept { return rest_.first(size_).from(2); }
  /// The option from its kind octet on.
  [[nodiscard]] constexpr bytes whole() const noexcept { return rest_.first(size_); }
  /// How many option bytes there are from the current option on, itself included.
  [[nodiscard]] constexpr std::size_t remaining() const noexcept { return rest_.size(); }
  /// Goes to the next option.
  constexpr void next() noexcept {
    rest_ = rest_.from(size_);
    look();
  }
  /// Whether the walk ended before the list did, at an impossible length.
  [[nodiscard]] constexpr bool malformed() const noexcept { return malformed_; }

  /// Largest segment that the peer accepts, bytes without headers; 0 when this is not that option.
  [[nodiscard]] constexpr std::uint16_t maximum_segment_size() const noexcept {
    return is(tcp_option::maximum_segment_size, 2) ? load_be16(data().data()) : std::uint16_t{0};
  }
  /// Shift for the peer's windows, at most 14 whatever the option says (RFC 7323 §2.3).
  [[nodiscard]] constexpr std::uint8_t window_scale() const noexcept {
    if (!is(tcp_option::window_scale, 1)) return no_window_scale;
    const std::uint8_t shift = load_u8(data().data());
    return shift > 14 ? std::uint8_t{14} : shift;
  }
  /// Whether it stands at this option, and the option has the right length.
  [[nodiscard]] constexpr bool is_sack_permitted() const noexcept { return is(tcp_option::sack_permitted, 0); }
  /// How many blocks this SACK option has: 1 to 4; 0 when it is not one or its length is not a multiple of 8.
  [[nodiscard]] constexpr std::size_t sack_count() const noexcept {
    if (kind() != tcp_option::sack || data().size() % 8 != 0) return 0;
    return data().size() / 8;
  }
  /// Block `i`; empty beyond `sack_count()`. That left is before right is not checked here.
  [[nodiscard]] constexpr tcp_sack_block sack_block(std::size_t i) const noexcept {
    if (i >= sack_count()) return {};
    return {load_be32(data().data() + 8 * i), load_be32(data().data() + 8 * i + 4)};
  }
  /// Whether it stands at this option, and the option has the right length.
  [[nodiscard]] constexpr bool has_timestamps() const noexcept { return is(tcp_option::timestamps, 8); }
  /// The timestamps that it stands at.
  [[nodiscard]] constexpr tcp_timestamps timestamps() const noexcept {
    if (!has_timestamps()) return {};
    return {load_be32(data().data()), load_be32(data().data() + 4)};
  }
  /// Whether this is a Fast Open option that may be believed: an empty request, or a cookie of 4 to 16 bytes, an
  /// even number of them (RFC 7413 §4.1.1).
  [[nodiscard]] constexpr bool is_fast_open() const noexcept {
    const std::size_t n = data().size();
    return kind() == tcp_option::fast_open && (n == 0 || (n >= 4 && n <= 16 && n % 2 == 0));
  }
  /// The Fast Open cookie; empty when it is asked for.
  [[nodiscard]] constexpr bytes fast_open_cookie() const noexcept { return is_fast_open() ? data() : bytes{}; }
  /// How long the peer keeps unacknowledged data, in seconds (RFC 5482 §2); 0 when this is not that option.
  [[nodiscard]] constexpr std::uint32_t user_timeout_seconds() const noexcept {
    if (!is(tcp_option::user_timeout, 2)) return 0;
    const std::uint32_t v = load_be16(data().data());
    return (v & 0x8000u) != 0 ? (v & 0x7fffu) * 60 : v;
  }
  /// The 16 bytes of an MD5 signature (RFC 2385 §3); empty when this is not that option.
  [[nodiscard]] constexpr bytes md5_digest() const noexcept {
    return is(tcp_option::md5_signature, 16) ? data() : bytes{};
  }
  /// TCP-AO's KeyID, RNextKeyID and MAC (RFC 5925 §2.2), together at least 2 bytes; empty otherwise.
  [[nodiscard]] constexpr bytes authentication() const noexcept {
    return kind() == tcp_option::authentication && data().size() >= 2 ? data() : bytes{};
  }
  /// The subtype of an MPTCP option, 0 (MP_CAPABLE) to 15 (RFC 8684 §3); 255 when this is not one.
  [[nodiscard]] constexpr std::uint8_t multipath_subtype() const noexcept {
    if (kind() != tcp_option::multipath || data().empty()) return 255;
    return static_cast<std::uint8_t>(load_u8(data().data()) >> 4);
  }

 private:
  [[nodiscard]] constexpr bool is(tcp_option k, std::size_t data_size) const noexcept {
    return size_ == data_size + 2 && kind() == k;
  }
  // The size is read once: what is believed later is what was checked here.
  constexpr void look() noexcept {
    size_ = 0;
    if (rest_.empty() || kind() == tcp_option::end_of_list) return;
    if (kind() == tcp_option::no_operation) {
      size_ = 1;
      return;
    }
    const std::size_t said = rest_.size() < 2 ? std::size_t{0} : load_u8(rest_.data() + 1);
    if (said < 2 || said > rest_.size()) {
      malformed_ = true;
      return;
    }
    size_ = said;
  }

  bytes rest_;
  std::size_t size_ = 0;
  bool malformed_ = false;
};

/// The options that a modern stack sends and acts on, as values: `parse` reads them from a segment, `tcp_header`
/// writes them. Laid out as Linux does, so that fixed-offset fast paths of peers keep working.
struct tcp_option_values {
  std::uint16_t maximum_segment_size = 0;                    ///< bytes; 0: not sent, RFC 9293 says 536 or 1220
  std::uint8_t window_scale = tcp_options::no_window_scale;  ///< shift 0 to 14; 255: not sent
  /// Whether the option is sent. @{
  bool sack_permitted = false;
  bool has_timestamps = false;
  /// @}
  tcp_timestamps timestamps{};  ///< counts when `has_timestamps`
  std::uint8_t sack_count = 0;  ///< how many of `sack` count
  tcp_sack_block sack[4]{};     ///< most recent first (RFC 2018 §4)
  /// Whether the option is sent.
  bool has_fast_open = false;
  bytes fast_open_cookie{};  ///< counts when `has_fast_open`; empty asks for one; at most 16 bytes, somebody else's

  /// Reads every well-formed option that it knows, the last of a kind winning, up to the first impossible length.
  /// It is the caller's to ignore what only counts in a SYN.
  [[nodiscard]] static constexpr tcp_option_values parse(bytes options) noexcept {
    tcp_option_values v;
    // Nearly every segment of a connection has exactly these twelve bytes (RFC 7323 appendix A).
    if (options.size() == 12 && load_be32(options.data()) == 0x0101'080a) {
      v.has_timestamps = true;
      v.timestamps = {load_be32(options.data() + 4), load_be32(options.data() + 8)};
      return v;
    }
    for (tcp_options o(options); o; o.next()) {
      if (o.maximum_segment_size() != 0) v.maximum_segment_size = o.maximum_segment_size();
      else if (o.window_scale() != tcp_options::no_window_scale) v.window_scale = o.window_scale();
      else if (o.is_sack_permitted()) v.sack_permitted = true;
      else if (o.has_timestamps()) v.has_timestamps = true, v.timestamps = o.timestamps();
      else if (o.sack_count() != 0) {
        v.sack_count = static_cast<std::uint8_t>(o.sack_count() < 4 ? o.sack_count() : 4);
        for (std::size_t i = 0; i < v.sack_count; ++i) v.sack[i] = o.sack_block(i);
      } else if (o.is_fast_open()) {
        v.has_fast_open = true;
        v.fast_open_cookie = o.fast_open_cookie();
      }
    }
    return v;
  }

  /// How many of the SACK blocks are written: those that fit 40 bytes beside the rest (3 beside timestamps).
  [[nodiscard]] constexpr std::size_t sack_written() const noexcept {
    const std::size_t room = 40 - size_without_sack();
    const std::size_t fit = room < 12 ? 0 : (room - 4) / 8;
    const std::size_t have = sack_count < 4 ? sack_count : 4;
    return have < fit ? have : fit;
  }
  /// Bytes that `write` writes: a multiple of 4, at most 40.
  [[nodiscard]] constexpr std::size_t size() const noexcept {
    return size_without_sack() + (sack_written() == 0 ? 0 : 4 + 8 * sack_written());
  }
  /// Writes `size()` bytes at `p`.
  constexpr void write(std::byte* p) const noexcept {
    if (maximum_segment_size != 0) {
      store_be32(p, 0x0204'0000u | maximum_segment_size);
      p += 4;
    }
    if (has_timestamps) {
      store_be32(p, sack_permitted ? 0x0402'080a : 0x0101'080a);
      store_be32(p + 4, timestamps.value);
      store_be32(p + 8, timestamps.echo_reply);
      p += 12;
    } else if (sack_permitted) {
      store_be32(p, 0x0101'0402);
      p += 4;
    }
    if (window_scale != tcp_options::no_window_scale) {
      store_be32(p, 0x0103'0300u | window_scale);
      p += 4;
    }
    if (has_fast_open) {
      const bytes cookie = fast_open_cookie.first(longest_cookie);
      store_u8(p, static_cast<std::uint8_t>(tcp_option::fast_open));
      store_u8(p + 1, static_cast<std::uint8_t>(2 + cookie.size()));
      copy_bytes(p + 2, cookie.data(), cookie.size());
      // No-operations fill up, so that what follows is still read.
      for (std::size_t i = 2 + cookie.size(); i < fast_open_size(); ++i) store_u8(p + i, 1);
      p += fast_open_size();
    }
    if (const std::size_t n = sack_written(); n != 0) {
      store_be32(p, static_cast<std::uint32_t>(0x0101'0502 + 8 * n));
      p += 4;
      for (std::size_t i = 0; i < n; ++i, p += 8) {
        store_be32(p, sack[i].left);
        store_be32(p + 4, sack[i].right);
      }
    }
  }

 private:
  static constexpr std::size_t longest_cookie = 16;
  [[nodiscard]] constexpr std::size_t fast_open_size() const noexcept {
    RUNNEL_ASSERT(fast_open_cookie.size() <= longest_cookie);
    return has_fast_open ? (2 + fast_open_cookie.first(longest_cookie).size() + 3) / 4 * 4 : 0;
  }
  [[nodiscard]] constexpr std::size_t size_without_sack() const noexcept {
    return (maximum_segment_size != 0 ? 4u : 0u) +
           (has_timestamps   ? 12u
            : sack_permitted ? 4u
                             : 0u) +
           (window_scale != tcp_options::no_window_scale ? 4u : 0u) + fast_open_size();
  }
};

/// The options in tcpdump's words: `mss 1460,sackOK,TS val 7 ecr 0,nop,wscale 7`; an impossible length as `[bad opt]`.
constexpr void print(text_writer& out, tcp_options o) noexcept {
  for (bool first = true; o; o.next(), first = false) {
    if (!first) out << ',';
    if (o.kind() == tcp_option::no_operation) out << "nop";
    else if (o.maximum_segment_size() != 0) out << "mss " << o.maximum_segment_size();
    else if (o.window_scale() != tcp_options::no_window_scale) out << "wscale " << o.window_scale();
    else if (o.is_sack_permitted()) out << "sackOK";
    else if (o.has_timestamps()) out << "TS val " << o.timestamps().value << " ecr " << o.timestamps().echo_reply;
    else if (o.sack_count() != 0) {
      out << "sack " << std::uint64_t{o.sack_count()} << ' ';
      for (std::size_t i = 0; i < o.sack_count(); ++i)
        out << '{' << o.sack_block(i).left << ':' << o.sack_block(i).right << '}';
    } else if (o.is_fast_open()) {
      out << (o.fast_open_cookie().empty() ? "tfo cookiereq" : "tfo cookie ");
      for (const std::byte b : o.fast_open_cookie()) out.hex(static_cast<std::uint8_t>(b), 2);
    } else if (o.kind() == tcp_option::multipath) out << "mptcp " << std::uint64_t{o.data().size() + 2};
    else if (o.user_timeout_seconds() != 0) out << "uto " << o.user_timeout_seconds() << 's';
    else if (!o.md5_digest().empty()) out << "md5";
    else if (!o.authentication().empty()) out << "ao keyid " << load_u8(o.authentication().data());
    else out << "unknown-" << static_cast<std::uint8_t>(o.kind());
  }
  if (o.malformed()) out << "[bad opt]";
}

}  // namespace runnel

#endif

// ==== runnel/wire/tcp.hpp ============================================================================================
// TCP header: a checked view over the segment's own bytes, the builder, the printer. RFC 9293, RFC 3168.
#ifndef RUNNEL_WIRE_TCP_HPP
#define RUNNEL_WIRE_TCP_HPP

#include <cstddef>      // byte, size_t
#include <cstdint>      // uint8_t, uint16_t, uint32_t
#include <type_traits>  // is_const_v

namespace runnel {

/// The control bits of a TCP header as numbers: `tcp::flags == tcp_flags::syn`, `.flags = tcp_flags::syn |
/// tcp_flags::ack`.
struct tcp_flags {
  static constexpr std::uint8_t fin = 0x01;  ///< no more data from the sender
  static constexpr std::uint8_t syn = 0x02;  ///< synchronise sequence numbers
  static constexpr std::uint8_t rst = 0x04;  ///< reset the connection
  static constexpr std::uint8_t psh = 0x08;  ///< push function
  static constexpr std::uint8_t ack = 0x10;  ///< the acknowledgment number counts
  static constexpr std::uint8_t urg = 0x20;  ///< the urgent pointer counts
  static constexpr std::uint8_t ece = 0x40;  ///< ECN echo (RFC 3168 §6.1)
  static constexpr std::uint8_t cwr = 0x80;  ///< congestion window reduced (RFC 3168 §6.1)
};

/// A view of a TCP segment: header and payload. `tcp` reads, `mut<tcp>` also writes. Does not own: valid as long as
/// the bytes. No accessor reads outside the bytes that it was made over, even when they change after `parse`.
template <class Byte>
class basic_tcp {
 public:
  /// What the library asks of a header view; see `header_view`. @{
  using mutable_view = basic_tcp<std::byte>;
  static constexpr header in_header = header::tcp;
  static constexpr std::size_t min_size = 20;
  /// @}

  /// Options for match expressions: `has<tcp::option::sack_perm>`, `tcp::option::maxseg::size`.
  using option = tcp_option_fields<>;

  /// A field, for match expressions. @{
  static constexpr field<header::tcp, 0, 16, std::uint16_t> sport{"tcp sport"};
  static constexpr field<header::tcp, 16, 16, std::uint16_t> dport{"tcp dport"};
  static constexpr field<header::tcp, 32, 32, std::uint32_t> sequence{"tcp sequence"};
  static constexpr field<header::tcp, 64, 32, std::uint32_t> ackseq{"tcp ackseq"};
  static constexpr field<header::tcp, 96, 4, std::uint8_t> doff{"tcp doff"};
  static constexpr field<header::tcp, 104, 8, std::uint8_t> flags{"tcp flags"};
  static constexpr field<header::tcp, 112, 16, std::uint16_t> window{"tcp window"};
  static constexpr field<header::tcp, 128, 16, std::uint16_t> checksum{"tcp checksum"};
  static constexpr field<header::tcp, 144, 16, std::uint16_t> urgptr{"tcp urgptr"};
  /// @}

  /// Checks the data offset against `b`, which is the whole segment: the IP payload, no link padding. Neither the
  /// checksum nor the options are looked at.
  [[nodiscard]] static constexpr result<basic_tcp, drop_reason> parse(byte_window<Byte> b) noexcept {
    if (b.size() < min_size) return drop_reason::tcp_too_short;
    const std::size_t header_size = (load_u8(b.data() + 12) >> 4) * std::size_t{4};
    if (header_size < min_size || header_size > b.size()) return drop_reason::tcp_data_offset;
    return basic_tcp{b.data(), b.size()};
  }
  /// A view over bytes that were checked before: at least `min_size` of them. Checks nothing.
  [[nodiscard]] static constexpr basic_tcp unchecked(byte_window<Byte> b) noexcept { return {b.data(), b.size()}; }

  /// A view that may write can be read through as well.
  constexpr operator basic_tcp<const std::byte>() const noexcept
    requires(!std::is_const_v<Byte>)
  {
    return basic_tcp<const Byte>::unchecked({p_, n_});
  }

  /// The field of the header, in host byte order. @{
  [[nodiscard]] constexpr std::uint16_t source_port() const noexcept { return load_be16(p_); }
  [[nodiscard]] constexpr std::uint16_t destination_port() const noexcept { return load_be16(p_ + 2); }
  /// @}
  /// Both ports as they lie there, the source in the upper half.
  [[nodiscard]] constexpr std::uint32_t ports() const noexcept { return load_be32(p_); }
  /// Of the first payload octet; in a SYN that of the SYN itself.
  [[nodiscard]] constexpr std::uint32_t sequence_number() const noexcept { return load_be32(p_ + 4); }
  /// The next sequence number that the sender of this segment expects; counts when `ack()`.
  [[nodiscard]] constexpr std::uint32_t acknowledgment_number() const noexcept { return load_be32(p_ + 8); }
  /// Header length in bytes, options included: the data offset; never more than the view holds.
  [[nodiscard]] constexpr std::size_t header_size() const noexcept {
    const std::size_t said = (load_u8(p_ + 12) >> 4) * std::size_t{4};
    return said < min_size ? min_size : said < n_ ? said : n_;
  }
  /// All eight control bits, as in `tcp_flags`.
  [[nodiscard]] constexpr std::uint8_t control_bits() const noexcept { return load_u8(p_ + 13); }
  /// Whether the control bit is set. @{
  [[nodiscard]] constexpr bool fin() const noexcept { return (control_bits() & tcp_flags::fin) != 0; }
  [[nodiscard]] constexpr bool syn() const noexcept { return (control_bits() & tcp_flags::syn) != 0; }
  [[nodiscard]] constexpr bool rst() const noexcept { return (control_bits() & tcp_flags::rst) != 0; }
  [[nodiscard]] constexpr bool psh() const noexcept { return (control_bits() & tcp_flags::psh) != 0; }
  [[nodiscard]] constexpr bool ack() const noexcept { return (control_bits() & tcp_flags::ack) != 0; }
  [[nodiscard]] constexpr bool urg() const noexcept { return (control_bits() & tcp_flags::urg) != 0; }
  [[nodiscard]] constexpr bool ece() const noexcept { return (control_bits() & tcp_flags::ece) != 0; }
  [[nodiscard]] constexpr bool cwr() const noexcept { return (control_bits() & tcp_flags::cwr) != 0; }
  /// @}
  /// Octets that the sender of this segment accepts, before window scaling (RFC 7323 §2.3).
  [[nodiscard]] constexpr std::uint16_t window_size() const noexcept { return load_be16(p_ + 14); }
  /// The field of the header, in host byte order.
  [[nodiscard]] constexpr std::uint16_t segment_checksum() const noexcept { return load_be16(p_ + 16); }
  /// Offset from the sequence number to the octet behind the urgent data; counts when `urg()`.
  [[nodiscard]] constexpr std::uint16_t urgent_pointer() const noexcept { return load_be16(p_ + 18); }
  /// The option bytes; walk them with `tcp_options`, or read the usual ones with `tcp_option_values::parse`.
  [[nodiscard]] constexpr bytes options() const noexcept { return bytes{p_, header_size()}.from(min_size); }
  /// What follows the header.
  [[nodiscard]] constexpr byte_window<Byte> payload() const noexcept {
    return byte_window<Byte>{p_, n_}.from(header_size());
  }
  /// SEG.LEN of RFC 9293 §3.4: payload bytes, and one each for SYN and FIN.
  [[nodiscard]] constexpr std::uint32_t sequence_length() const noexcept {
    return static_cast<std::uint32_t>(n_ - header_size()) + (syn() ? 1u : 0u) + (fin() ? 1u : 0u);
  }
  /// Whether the checksum is right, `pseudo_header_sum` being that of the IP header around (§3.1, MUST-3). Reads the
  /// whole segment.
  [[nodiscard]] constexpr bool checksum_ok(std::uint32_t pseudo_header_sum) const noexcept {
    return fold_checksum(add_checksum(bytes{p_, n_}, pseudo_header_sum + std::uint64_t{6} + n_)) == 0xffff;
  }

  // Setters. Each also updates the checksum (RFC 1624), unless it says otherwise.
  /// Writes the field and updates the checksum (RFC 1624). @{
  constexpr void source_port(std::uint16_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    set16(0, v);
  }
  constexpr void destination_port(std::uint16_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    set16(2, v);
  }
  constexpr void sequence_number(std::uint32_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    set32(4, v);
  }
  constexpr void acknowledgment_number(std::uint32_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    set32(8, v);
  }
  constexpr void control_bits(std::uint8_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    set16(12, static_cast<std::uint16_t>((load_be16(p_ + 12) & 0xff00u) | v));
  }
  constexpr void window_size(std::uint16_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    set16(14, v);
  }
  constexpr void urgent_pointer(std::uint16_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    set16(18, v);
  }
  /// @}
  /// Stores a checksum as given.
  constexpr void segment_checksum(std::uint16_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_be16(p_ + 16, v);
  }
  /// Updates the checksum after addresses in the IP header around changed (address translation): with the
  /// `pseudo_header_sum()` from before and from after, or with the old and the new IPv4 address as numbers.
  constexpr void update_checksum(std::uint32_t from, std::uint32_t to) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_be16(p_ + 16, update_checksum32(load_be16(p_ + 16), from, to));
  }
  /// Computes the checksum anew, `pseudo_header_sum` being that of the IP header around. Reads the whole segment.
  constexpr void update_checksum(std::uint32_t pseudo_header_sum) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_be16(p_ + 16, 0);
    store_be16(p_ + 16, runnel::checksum(bytes{p_, n_}, pseudo_header_sum + std::uint64_t{6} + n_));
  }
  /// Lowers the maximum segment size option to `limit` where it says more ("MSS clamping"); adds none. True when it
  /// changed. Only meaningful on a SYN.
  constexpr bool clamp_maximum_segment_size(std::uint16_t limit) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    const bytes all = options();
    for (tcp_options o(all); o; o.next()) {
      const std::uint16_t said = o.maximum_segment_size();
      if (said <= limit) continue;
      const std::size_t at = min_size + all.size() - o.remaining() + 2;
      store_be16(p_ + at, limit);
      // An option at an odd place has its bytes in the other halves of the checksum's words.
      const bool odd = at % 2 != 0;
      store_be16(p_ + 16,
                 update_checksum16(load_be16(p_ + 16), odd ? byte_swap(said) : said, odd ? byte_swap(limit) : limit));
      return true;
    }
    return false;
  }

 private:
  constexpr basic_tcp(Byte* p, std::size_t n) noexcept : p_(p), n_(n) {}
  constexpr void set16(std::size_t at, std::uint16_t v) const noexcept {
    store_be16(p_ + 16, update_checksum16(load_be16(p_ + 16), load_be16(p_ + at), v));
    store_be16(p_ + at, v);
  }
  constexpr void set32(std::size_t at, std::uint32_t v) const noexcept {
    store_be16(p_ + 16, update_checksum32(load_be16(p_ + 16), load_be32(p_ + at), v));
    store_be32(p_ + at, v);
  }

  Byte* p_;
  std::size_t n_;
};

/// The view to read; `mut<>` of it also writes.
using tcp = basic_tcp<const std::byte>;

/// A TCP header to be written: `write_headers(packet, ipv4_header{...}, tcp_header{.flags = tcp_flags::syn, ...})`.
/// Data offset and checksum come from what is around and inside.
struct tcp_header {
  /// What `build` asks of a header; see `header_value`.
  static constexpr std::uint8_t ip_protocol = 6;

  /// A field of the header, in host byte order. @{
  std::uint16_t source_port = 0;
  std::uint16_t destination_port = 0;
  std::uint32_t sequence_number = 0;
  std::uint32_t acknowledgment_number = 0;
  /// @}
  std::uint8_t flags = 0;         ///< of `tcp_flags`
  std::uint16_t window_size = 0;  ///< as it goes on the wire: already scaled down
  /// A field of the header, in host byte order. @{
  std::uint16_t urgent_pointer = 0;
  tcp_option_values options{};
  /// @}
  bytes more_options{};  ///< encoded ones, written behind `options`; together at most 40 bytes

  /// Header bytes, options padded with zeros to a multiple of 4.
  [[nodiscard]] constexpr std::size_t size() const noexcept {
    const std::size_t n = options.size() + more_options.size();
    RUNNEL_ASSERT(n <= 40);
    return 20 + (n + 3) / 4 * 4;
  }
  /// What `build` asks of a header; see `header_value`.
  constexpr void write(mutable_bytes whole, const neighbours_of_header& around) const noexcept {
    std::byte* p = whole.data();
    const std::size_t header_size = size();
    store_be16(p, source_port);
    store_be16(p + 2, destination_port);
    store_be32(p + 4, sequence_number);
    store_be32(p + 8, acknowledgment_number);
    store_u8(p + 12, static_cast<std::uint8_t>(header_size / 4 << 4));
    store_u8(p + 13, flags);
    store_be16(p + 14, window_size);
    store_be16(p + 16, 0);
    store_be16(p + 18, urgent_pointer);
    options.write(p + 20);
    const std::size_t behind = 20 + options.size();
    zero_bytes(p + behind, header_size - behind);
    copy_bytes(p + behind, more_options.data(), more_options.size());
    store_be16(p + 16, checksum(whole, std::uint64_t{around.pseudo_header} + ip_protocol + whole.size()));
  }
};

/// One line in tcpdump's manner: `40000 > 80: Flags [S], seq 1, win 64240, options [mss 1460], length 0`.
template <class Byte>
constexpr void print(text_writer& out, const basic_tcp<Byte>& v) noexcept {
  out << v.source_port() << " > " << v.destination_port() << ": Flags [";
  if (v.control_bits() == 0) out << "none";
  for (unsigned i = 0; i < 8; ++i)
    if ((unsigned{v.control_bits()} >> i & 1u) != 0) out << "FSRP.UEW"[i];
  out << ']';
  const std::size_t length = v.payload().size();
  if (length != 0 || v.syn() || v.fin() || v.rst()) out << ", seq " << v.sequence_number();
  if (length != 0) out << ':' << static_cast<std::uint32_t>(v.sequence_number() + length);
  if (v.ack()) out << ", ack " << v.acknowledgment_number();
  out << ", win " << v.window_size();
  if (v.urg()) out << ", urg " << v.urgent_pointer();
  if (!v.options().empty()) {
    out << ", options [";
    print(out, tcp_options{v.options()});
    out << ']';
  }
  out << ", length " << std::uint64_t{length};
}

}  // namespace runnel

#endif

// ==== runnel/device/virtio_net.hpp ===================================================================================
// The header that virtual devices put before a packet to say what is left to do for it: the checksum and the cutting
// into segments. TAP (IFF_VNET_HDR) and packet sockets (PACKET_VNET_HDR) speak it. virtio 1.2 §5.1.6, struct
// virtio_net_hdr in <linux/virtio_net.h>. Nothing here is for users.
//
//     NEEDS_CSUM, csum_start, csum_offset  <->  checksum_status::partial
//     DATA_VALID                            ->  checksum_status::verified
//     gso_type, gso_size                   <->  segment_size
#ifndef RUNNEL_DEVICE_VIRTIO_NET_HPP
#define RUNNEL_DEVICE_VIRTIO_NET_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint16_t

namespace runnel::detail {

/// As it lies before the packet, in the host's byte order, which both kinds of device use unless told otherwise.
struct virtio_net_header {
  std::uint8_t flags = 0;
  std::uint8_t gso_type = 0;
  std::uint16_t header_length = 0;    ///< of all headers of a packet to be cut; a hint, and not looked at
  std::uint16_t segment_size = 0;     ///< payload bytes of each segment
  std::uint16_t checksum_start = 0;   ///< from the first byte of the packet
  std::uint16_t checksum_offset = 0;  ///< from there
};
static_assert(sizeof(virtio_net_header) == 10);

/// Bits of `flags` and values of `gso_type`. @{
inline constexpr std::uint8_t virtio_needs_checksum = 1, virtio_data_valid = 2;
inline constexpr std::uint8_t virtio_gso_none = 0, virtio_gso_tcpv4 = 1, virtio_gso_tcpv6 = 4, virtio_gso_udp = 5;
inline constexpr std::uint8_t virtio_gso_ecn = 0x80;  // with one of TCP: the first segment alone has CWR
/// @}

/// Takes over what the header says into `checksum` and `segment_size` of the frame, which lies behind it and begins
/// with its link header. A checksum at another place than where the library looks for the transport checksum (inside of
/// a tunnel) is completed here. False when the header cannot be right: a place outside of the packet, a kind of
/// segmentation that was not asked for or is not that of the packet. What is in such a frame is not to be used.
[[nodiscard]] inline bool read_virtio_net_header(const virtio_net_header& h, frame& f) noexcept {
  f.checksum = (h.flags & virtio_data_valid) != 0 ? checksum_status::verified : checksum_status::unknown;
  f.segment_size = 0;
  const bool partial = (h.flags & virtio_needs_checksum) != 0;
  if (!partial && h.gso_type == virtio_gso_none) [[likely]]
    return true;
  if (f.missing != 0) {  // cut off by the receiver: nothing can be completed, nor cut
    if (partial) f.checksum = checksum_status::partial;
    return true;
  }
  const transport_checksum_place at = find_transport_checksum(f.contents(), f.link);
  if (h.gso_type != virtio_gso_none) {
    const unsigned kind = h.gso_type & ~unsigned{virtio_gso_ecn};
    const unsigned expected = at.field == 6 ? virtio_gso_udp : at.ipv4 ? virtio_gso_tcpv4 : virtio_gso_tcpv6;
    if (at.start == 0 || kind != expected || h.segment_size == 0) return false;
    f.segment_size = h.segment_size;
  }
  if (!partial) return true;
  if (at.start == h.checksum_start && at.field == h.checksum_offset && at.start != 0) {
    f.checksum = checksum_status::partial;
    return true;
  }
  f.checksum = checksum_status::verified;
  return f.segment_size == 0 && complete_checksum(f.contents(), h.checksum_start, h.checksum_offset);
}

/// The header for a packet of which `first` is the first fragment, `chained` bytes follow. A packet with nothing left
/// to do, or without a TCP or UDP checksum where `dissect` finds it, gets a header of zeros.
[[nodiscard]] inline virtio_net_header make_virtio_net_header(bytes first, link_type link, std::size_t chained,
                                                              checksum_status checksum,
                                                              std::uint16_t segment_size) noexcept {
  virtio_net_header h;
  if (checksum != checksum_status::partial && segment_size == 0) [[likely]]
    return h;
  const transport_checksum_place at = find_transport_checksum(first, link, chained);
  if (at.start == 0) return h;
  if (checksum == checksum_status::partial) {
    h.flags = virtio_needs_checksum;
    h.checksum_start = static_cast<std::uint16_t>(at.start);
    h.checksum_offset = static_cast<std::uint16_t>(at.field);
  }
  if (segment_size == 0) return h;
  h.segment_size = segment_size;
  h.header_length = static_cast<std::uint16_t>(at.start + at.header);
  if (at.field == 6) {
    h.gso_type = virtio_gso_udp;
    return h;
  }
  h.gso_type = at.ipv4 ? virtio_gso_tcpv4 : virtio_gso_tcpv6;
  if ((load_u8(first.data() + at.start + 13) & tcp_flags::cwr) != 0) h.gso_type |= virtio_gso_ecn;
  return h;
}
/// The same for a packet and for a frame. @{
[[nodiscard]] inline virtio_net_header make_virtio_net_header(const packet& p) noexcept {
  return make_virtio_net_header(p.contents(), p.layers().link_kind(), p.total_length() - p.length(), p.checksum(),
                                p.segment_size());
}
[[nodiscard]] inline virtio_net_header make_virtio_net_header(const frame& f) noexcept {
  return make_virtio_net_header(f.contents(), f.link, 0, f.checksum, f.segment_size);
}
/// @}

}  // namespace runnel::detail

#endif

// ==== runnel/device/packet_ring.hpp ==================================================================================
// The receive ring of a packet socket: blocks that kernel and program pass to one another. packet(7), and
// Documentation/networking/packet_mmap.rst in Linux's sources. Nothing here is for users.
//
// Theory of operation. The ring is memory of the kernel, which the program sees too. The kernel fills one block after
// the other, hands each over when it is full or its time is up, and drops packets while the next one is not its own:
//
//     block    |<------------------------------ size ------------------------------->|
//     +--------+------------+-----+--------------+-----+-----+------------+----------+
//     | header | packet 0   |     | virtio net   | the packet| packet 1   | ...      |
//     | status | header, sll|     | header       |           | header     |          |
//     +--------+------------+-----+--------------+-----------+------------+----------+
//              ^first       |<------ tp_mac ---->|<-snaplen->|
//                           |<---------- tp_next_offset ---->|
//
// A packet is shown as a frame where it lies. Once its header was read, the header is headroom. Blocks go back when
// nothing of them is out any more, which the pool knows (`lent`). No length that stands in a block is trusted: what
// would lead out of it ends the walk through it.
#ifndef RUNNEL_DEVICE_PACKET_RING_HPP
#define RUNNEL_DEVICE_PACKET_RING_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t, uint64_t

#if defined(__linux__)

#include <linux/if_packet.h>  // tpacket3_hdr, tpacket_block_desc

namespace runnel::detail {

/// What a walk through blocks came upon besides packets.
struct packet_block_counters {
  std::uint64_t outgoing = 0;   ///< packets that this machine sent itself, passed over
  std::uint64_t cut = 0;        ///< packets handed out shorter than they were on the wire
  std::uint64_t malformed = 0;  ///< packets with a header that cannot be right, and the rest of a block behind one
};

/// A walk through the packets of one block.
class packet_block {
 public:
  /// Bytes that the kernel puts before a packet at least: its header, the address of the sender, and, right before the
  /// packet, the virtio net header.
  static constexpr std::size_t header_size = sizeof(::tpacket3_hdr);
  static constexpr std::size_t front = header_size + sizeof(::sockaddr_ll) + sizeof(virtio_net_header);
  static_assert(header_size == 48 && sizeof(::sockaddr_ll) == 20);

  /// No packet.
  packet_block() noexcept = default;
  /// From the first packet of a block that the kernel has handed over.
  packet_block(std::byte* block, std::size_t size, packet_block_counters& count) noexcept {
    ::tpacket_block_desc about;
    __builtin_memcpy(&about, block, sizeof about);
    const std::size_t first = about.hdr.bh1.offset_to_first_pkt;
    left_ = about.hdr.bh1.num_pkts;
    if (left_ == 0) return;
    if (first < sizeof about || first > size || size - first < front) {
      count.malformed += left_;
      left_ = 0;
      return;
    }
    at_ = block + first;
    end_ = block + size;
  }
  /// How many packets are still to come.
  [[nodiscard]] std::uint32_t left() const noexcept { return left_; }

  /// Calls `take` for up to `room` packets, as frames that are in all else as `like`. How many there were.
  template <class Take>
  RUNNEL_INLINE std::size_t walk(std::size_t room, const frame& like, packet_block_counters& count,
                                 Take& taken_by) noexcept {
    local_taker take(taken_by);
    frame f = like;
    std::byte* at = at_;
    std::uint32_t left = left_;
    std::size_t n = 0;
    while (left != 0 && n < room) {
      ::tpacket3_hdr h;
      __builtin_memcpy(&h, at, sizeof h);
      const auto rest = static_cast<std::size_t>(end_ - at);  // at least `front`
      const std::size_t next = left != 1 ? h.tp_next_offset : 0;
      if (next > rest - front || (left != 1 && next < front)) [[unlikely]] {
        count.malformed += left;
        left = 0;
        break;
      }
      std::byte* const here = at;
      at += next;
      --left;
      prefetch_to_read(at);
      const std::size_t start = h.tp_mac;
      if (start < front || start > rest || h.tp_snaplen > rest - start || (h.tp_status & TP_STATUS_USER) == 0)
          [[unlikely]] {
        ++count.malformed;
        continue;
      }
      // Behind the packet's header lies a sockaddr_ll, in which byte 10 is the packet's type.
      if (load_u8(here + header_size + 10) == PACKET_OUTGOING) [[unlikely]] {
        ++count.outgoing;
        continue;
      }
      f.data = here + start;
      f.length = h.tp_snaplen;
      f.headroom = static_cast<std::uint16_t>(start);
      f.timestamp.ns = std::int64_t{h.tp_sec} * 1'000'000'000 + h.tp_nsec;
      f.checksum = checksum_status::unknown;
      f.segment_size = 0;
      f.missing = 0;
      virtio_net_header about;
      __builtin_memcpy(&about, f.data - sizeof about, sizeof about);
      if ((about.flags | about.gso_type) != 0 || h.tp_len != h.tp_snaplen || (h.tp_status & TP_STATUS_VLAN_VALID) != 0)
          [[unlikely]] {
        if (!look_closer(h, about, f, count)) continue;
      }
      take(f);
      ++n;
    }
    at_ = at;
    left_ = left;
    return n;
  }

 private:
  // What is not so with most packets. False when the packet is not to be used.
  [[gnu::noinline]] static bool look_closer(const ::tpacket3_hdr& h, const virtio_net_header& about, frame& f,
                                            packet_block_counters& count) noexcept {
    if (h.tp_len > h.tp_snaplen) {
      const std::uint32_t missing = h.tp_len - h.tp_snaplen;
      f.missing = static_cast<std::uint16_t>(missing < 0xffff ? missing : 0xffff);
      ++count.cut;
    }
    if (!read_virtio_net_header(about, f)) {
      ++count.malformed;
      return false;
    }
    // The kernel takes the outer tag out of the packet: it goes back between the addresses and the type.
    if ((h.tp_status & TP_STATUS_VLAN_VALID) != 0 && f.link == link_type::ethernet && f.length >= 14) {
      const bool has_type = (h.tp_status & TP_STATUS_VLAN_TPID_VALID) != 0;
      std::byte* const to = f.push(4);
      __builtin_memmove(to, to + 4, 12);
      store_be16(to + 12, has_type ? h.hv1.tp_vlan_tpid : std::uint16_t{0x8100});
      store_be16(to + 14, static_cast<std::uint16_t>(h.hv1.tp_vlan_tci));
    }
    return true;
  }

  std::byte* at_ = nullptr;
  std::byte* end_ = nullptr;
  std::uint32_t left_ = 0;
};

/// Blocks in memory that somebody else keeps, `count` of `size` bytes each, in the order in which the kernel fills
/// them.
class packet_ring {
 public:
  /// A ring without blocks.
  packet_ring() noexcept = default;
  packet_ring(std::byte* memory, std::size_t size, std::uint32_t count) noexcept
      : memory_(memory), size_(size), count_(count) {}

  /// Calls `take` for up to `room` packets. How many there were. What was taken stays valid until `give_back`.
  template <class Take>
  RUNNEL_INLINE std::size_t receive(std::size_t room, const frame& like, packet_block_counters& count,
                                    Take& take) noexcept {
    std::size_t n = 0;
    for (;;) {
      n += block_.walk(room - n, like, count, take);
      if (n == room || !open_next(count)) return n;
    }
  }
  /// Gives the blocks back to the kernel that were walked through. Nothing of them may be out any more.
  void give_back() noexcept {
    for (; walked_ != 0; --walked_) {
      store_status(oldest_, TP_STATUS_KERNEL);
      oldest_ = after(oldest_);
    }
    if (open_ && block_.left() == 0) {
      open_ = false;
      store_status(oldest_, TP_STATUS_KERNEL);
      oldest_ = after(oldest_);
    }
  }
  /// Blocks that the kernel has handed over and not got back.
  [[nodiscard]] std::uint32_t held() const noexcept {
    std::uint32_t n = 0;
    for (std::uint32_t i = 0; i < count_; ++i) n += (load_status(i) & TP_STATUS_USER) != 0 ? 1u : 0u;
    return n;
  }

 private:
  [[nodiscard]] std::uint32_t after(std::uint32_t i) const noexcept { return i + 1 == count_ ? 0 : i + 1; }
  [[nodiscard]] std::uint32_t* status(std::uint32_t i) const noexcept {
    constexpr std::size_t at = offsetof(::tpacket_block_desc, hdr);
    return static_cast<std::uint32_t*>(static_cast<void*>(memory_ + i * size_ + at));
  }
  [[nodiscard]] std::uint32_t load_status(std::uint32_t i) const noexcept {
    return __atomic_load_n(status(i), __ATOMIC_ACQUIRE);
  }
  void store_status(std::uint32_t i, std::uint32_t s) noexcept { __atomic_store_n(status(i), s, __ATOMIC_RELEASE); }

  // Goes on to the next block that was handed over; its packets stay valid together with those before.
  bool open_next(packet_block_counters& count) noexcept {
    // All of them are walked through: the next one would be the first again.
    if (walked_ + (open_ ? 1u : 0u) == count_) return false;
    std::uint32_t next = oldest_ + walked_ + (open_ ? 1u : 0u);
    if (next >= count_) next -= count_;
    if ((load_status(next) & TP_STATUS_USER) == 0) return false;
    if (open_) ++walked_;
    open_ = true;
    block_ = packet_block(memory_ + next * size_, size_, count);
    return true;
  }

  std::byte* memory_ = nullptr;
  std::size_t size_ = 0;
  std::uint32_t count_ = 0;
  std::uint32_t oldest_ = 0;  // the first block that is ours, or will be
  std::uint32_t walked_ = 0;  // from there, so many are walked through
  bool open_ = false;         // the one behind them is ours too, and block_ is in it
  packet_block block_;
};

}  // namespace runnel::detail

#endif  // defined(__linux__)

#endif

// ==== runnel/device/packet_sender.hpp ================================================================================
// The sending side of a packet socket: up to 64 packets in one sendmmsg(2), right from where they lie. packet(7).
// Nothing here is for users.
//
// Theory of operation. The kernel copies each packet into a buffer of its own during the call, so nothing is out when
// it returns. A transmit ring (PACKET_TX_RING) would save that copy and cost one into the ring before: it was measured,
// on a veth pair, and is slower at 60 and at 1514 bytes. Before each packet lies a virtio net header (PACKET_VNET_HDR),
// which says what is left to do for it: in the packet's headroom when that is its own, so that it is one piece.
#ifndef RUNNEL_DEVICE_PACKET_SENDER_HPP
#define RUNNEL_DEVICE_PACKET_SENDER_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint64_t
#include <new>      // placement new

#if defined(__linux__)

namespace runnel::detail {

/// What became of packets that were to be sent.
struct packet_sender_counters {
  std::uint64_t transmitted = 0;  ///< the kernel took them
  std::uint64_t refused = 0;      ///< left with the caller: the kernel or the interface had no room
  std::uint64_t while_down = 0;   ///< lost: the interface was down, or gone
  std::uint64_t invalid = 0;      ///< lost: too long for the interface, too short, in too many pieces
  std::uint64_t calls = 0;        ///< system calls for that
};

/// Sends packets by a socket. Move-only.
class packet_sender {
 public:
  /// Sends nothing.
  packet_sender() noexcept = default;
  /// By a socket that is bound to an interface and expects a virtio net header. Check `ready()`: there may be no
  /// memory.
  packet_sender(file_handle&& socket, link_type link, bool bypasses_qdisc) noexcept
      : socket_(static_cast<file_handle&&>(socket)),
        storage_(sizeof(batch)),
        link_(link),
        bypasses_qdisc_(bypasses_qdisc) {
    if (!ready()) return;
    ::new (static_cast<void*>(storage_.data())) batch;
  }
  [[nodiscard]] bool ready() const noexcept { return storage_.data() != nullptr; }
  /// Whether the interface was deleted.
  [[nodiscard]] bool gone() const noexcept { return gone_; }
  /// What can be written to when there is room again; -1 when only the interface knows when that is.
  [[nodiscard]] int handle() const noexcept { return waits_for_buffer_ && !gone_ ? socket_.get() : -1; }
  [[nodiscard]] const packet_sender_counters& counters() const noexcept { return count_; }

  /// Sends packets or frames, in order from the first. Says how many are done with: sent, or lost and counted. The
  /// kernel holds none of them, and they are still the caller's to release.
  template <class Packet>
  [[nodiscard]] std::size_t send(Packet* packets, std::size_t n) noexcept {
    std::size_t done = 0;
    bool tried_again = false;
    while (done < n) {
      if (gone_) [[unlikely]] {
        count_.while_down += n - done;
        return n;
      }
      const unsigned filled = fill(packets + done, n - done);
      if (filled == 0) [[unlikely]] {
        ++count_.invalid;
        ++done;
        continue;
      }
      ++count_.calls;
      const int sent = sys::sendmmsg(socket_.get(), in().messages, filled, sys::msg_dontwait);
      if (sent > 0) [[likely]] {
        count_.transmitted += static_cast<unsigned>(sent);
        done += static_cast<unsigned>(sent);
        continue;
      }
      // The error is that of the first one.
      switch (errno) {
        case EINTR: break;
        case EAGAIN:
        case ENOBUFS:
        case ENOMEM:
          waits_for_buffer_ = errno == EAGAIN;
          // Without a qdisc, nobody does for an interface what it cannot do itself: that packet would never go.
          if (bypasses_qdisc_ && errno == ENOBUFS && has_work_left(packets[done])) {
            ++count_.invalid;
            ++done;
            break;
          }
          count_.refused += n - done;
          return done;
        case ENETDOWN:
          // A socket remembers that its interface was down, and says so once more when it is up again.
          if (tried_again) {
            count_.while_down += n - done;
            return n;
          }
          tried_again = true;
          break;
        case ENXIO:
        case ENODEV: gone_ = true; break;
        default:
          ++count_.invalid;
          ++done;
          break;
      }
    }
    return done;
  }

 private:
  static constexpr unsigned max_messages = 64, max_parts = 256, max_parts_of_one = 128;

  // In memory of its own, because the kernel is given addresses inside of it.
  struct batch {
    sys::counted_message messages[max_messages];
    ::iovec parts[max_parts];
    virtio_net_header headers[max_messages];
  };
  [[nodiscard]] batch& in() const noexcept { return *static_cast<batch*>(static_cast<void*>(storage_.data())); }

  static bool has_work_left(const packet& p) noexcept {
    return p.checksum() == checksum_status::partial || p.segment_size() != 0;
  }
  static bool has_work_left(const frame& f) noexcept {
    return f.checksum == checksum_status::partial || f.segment_size != 0;
  }
  // How many messages it made; 0 when the first packet cannot be one.
  template <class Packet>
  RUNNEL_INLINE unsigned fill(Packet* packets, std::size_t n) noexcept {
    batch& b = in();
    const unsigned most = n < max_messages ? static_cast<unsigned>(n) : max_messages;
    unsigned parts = 0, i = 0;
    for (; i < most; ++i) {
      const unsigned used = describe(packets[i], b.headers[i], b.parts + parts, max_parts - parts);
      if (used == 0) [[unlikely]]
        break;
      b.messages[i].header.parts = b.parts + parts;
      b.messages[i].header.part_count = used;
      parts += used;
    }
    return i;
  }
  // How many parts it is; 0 when that is more than there is room for.
  RUNNEL_INLINE unsigned describe(packet& p, virtio_net_header& apart, ::iovec* to, unsigned room) noexcept {
    if (has_work_left(p) || p.is_chained()) [[unlikely]]
      return describe_slow(p, apart, to, room);
    const std::size_t length = p.length();
    if (std::byte* const header = p.push(sizeof apart); header != nullptr) [[likely]] {
      (void)p.pull(sizeof apart);
      return describe_one(header, {}, length, to, room);
    }
    return describe_two(apart, {}, const_cast<std::byte*>(p.data()), length, to, room);
  }
  RUNNEL_INLINE unsigned describe(const frame& f, virtio_net_header& apart, ::iovec* to, unsigned room) noexcept {
    virtio_net_header header;
    if (has_work_left(f)) [[unlikely]]
      header = make_virtio_net_header(f.contents(), link_, 0, f.checksum, f.segment_size);
    if (f.headroom >= sizeof header) [[likely]]
      return describe_one(f.data - sizeof header, header, f.length, to, room);
    return describe_two(apart, header, f.data, f.length, to, room);
  }
  [[gnu::noinline]] unsigned describe_slow(packet& p, virtio_net_header& apart, ::iovec* to, unsigned room) noexcept {
    const virtio_net_header header =
        make_virtio_net_header(p.contents(), link_, p.total_length() - p.length(), p.checksum(), p.segment_size());
    unsigned used = 1;
    const auto collect = [&](bytes part) {
      if (used < max_parts_of_one && used < room) to[used] = {const_cast<std::byte*>(part.data()), part.size()};
      ++used;
    };
    p.for_each_fragment(collect);
    if (used > max_parts_of_one && p.linearize()) {
      used = 1;
      p.for_each_fragment(collect);
    }
    if (used > max_parts_of_one || used > room) return 0;
    apart = header;
    to[0] = {&apart, sizeof apart};
    return used;
  }
  RUNNEL_INLINE static unsigned describe_one(std::byte* at, const virtio_net_header& header, std::size_t length,
                                             ::iovec* to, unsigned room) noexcept {
    if (room < 1) [[unlikely]]
      return 0;
    __builtin_memcpy(at, &header, sizeof header);
    *to = {at, sizeof header + length};
    return 1;
  }
  static unsigned describe_two(virtio_net_header& apart, const virtio_net_header& header, std::byte* data,
                               std::size_t length, ::iovec* to, unsigned room) noexcept {
    if (room < 2) return 0;
    apart = header;
    to[0] = {&apart, sizeof apart};
    to[1] = {data, length};
    return 2;
  }

  file_handle socket_;
  mapping storage_;
  link_type link_ = link_type::ethernet;
  bool bypasses_qdisc_ = false;
  bool waits_for_buffer_ = false;
  bool gone_ = false;
  packet_sender_counters count_;
};

}  // namespace runnel::detail

#endif  // defined(__linux__)

#endif

// ==== runnel/device/af_packet.hpp ====================================================================================
// A network interface by a packet socket: all that it receives, beside the kernel's own stack, and what is sent goes
// straight to its driver. Works on every interface, and needs no support by the driver. packet(7).
//
//     auto eth = device::af_packet::open("eth0", {.promiscuous = true});
//     if (!eth) return fail(eth.error());   // af_packet: open eth0: Operation not permitted: run as root, or ...
//     loop work{time, attach(*eth, parse() | ... | transmit(*eth))};
//
// Theory of operation. Two sockets. One receives by a ring of blocks (TPACKET_V3) that the kernel fills and hands over
// when they are full or `block_timeout` is over; frames show the packets where they lie, and blocks go back as a whole
// when nothing of them is out (packet_ring.hpp). The other one sends up to 64 packets in a system call, from where they
// lie (packet_sender.hpp). With both go virtio net headers, so that partial checksums and packets of up to 64 KiB that
// stand for many segments, as the kernel's own TCP makes them on veth, arrive as such (`packet::checksum()`,
// `segment_size()`) and can be sent on as such.
//
// The kernel's stack sees the same packets. A program that answers in its place gives the interface no addresses, or
// drops what comes there by nft.
#ifndef RUNNEL_DEVICE_AF_PACKET_HPP
#define RUNNEL_DEVICE_AF_PACKET_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t, uint64_t

#if defined(__linux__)

#include <linux/filter.h>     // sock_fprog
#include <linux/if_packet.h>  // sockaddr_ll, tpacket_req3

namespace runnel::device {

/// How several devices on one interface, one for each thread, share what it receives. PACKET_FANOUT in packet(7).
enum class fanout_mode : std::uint8_t {
  none,      ///< each device gets every packet
  hash,      ///< by a hash of addresses and ports; both directions of a flow go to the same device
  lb,        ///< in turn
  cpu,       ///< by the processor on which the packet came
  rollover,  ///< to the first device as long as its ring has room, then to the next one
};

/// How an interface is opened.
struct af_packet_options {
  bool promiscuous = false;                ///< take frames to other stations too, for as long as the device is open
  fanout_mode fanout = fanout_mode::none;  ///< share what is received with other devices
  std::uint16_t fanout_group = 0;          ///< with which ones; 0: those of this process on this interface
  bool defragment = false;              ///< with fanout: IPv4 fragments are put together before, so flows stay together
  bool bypass_qdisc = false;            ///< send without traffic control, and unseen by tcpdump (PACKET_QDISC_BYPASS)
  std::uint32_t blocks = 64;            ///< of the receive ring; 0: the device only sends
  std::uint32_t block_size = 1u << 18;  ///< bytes; a power of two, at least a page, and as long as the longest packet
  duration block_timeout = milliseconds(1);  ///< how long a packet may wait for others; whole milliseconds, at least 1
  std::uint16_t headroom = 64;               ///< bytes before a received packet at least, for headers still to come
  std::uint32_t send_buffer = 4u << 20;      ///< bytes that may wait at the interface
  pool* memory = nullptr;        ///< for descriptors, and for packets that are kept; null: a pool of its own
  std::uint32_t packets = 2048;  ///< of its own pool: how many slots, and descriptors of received packets
};

/// What a device has done, since it was opened.
struct af_packet_statistics {
  std::uint64_t arrived = 0;       ///< packets that the kernel had for the device, those that it dropped included
  std::uint64_t received = 0;      ///< packets handed out
  std::uint64_t dropped = 0;       ///< received and lost: the ring was full (drop_reason::queue_full)
  std::uint64_t ring_full = 0;     ///< how often it became full
  std::uint64_t outgoing = 0;      ///< packets passed over because this machine sent them
  std::uint64_t cut = 0;           ///< handed out shorter than they were: longer than a block
  std::uint64_t malformed = 0;     ///< received and lost: the kernel's header cannot be right
  std::uint64_t transmitted = 0;   ///< packets that the kernel took
  std::uint64_t refused = 0;       ///< packets left with the caller, because the interface had no room
  std::uint64_t while_down = 0;    ///< transmitted and lost: the interface was down, or gone
  std::uint64_t invalid = 0;       ///< transmitted and lost: too long or too short for the interface
  std::uint64_t times_down = 0;    ///< how often the interface was found to have gone down
  std::uint64_t system_calls = 0;  ///< for all that; receiving takes none
};

/// One line: `arrived 12, received 12; transmitted 12, 3 system calls; dropped 3`. Counters of what went wrong only
/// where they are not 0.
inline void print(text_writer& out, const af_packet_statistics& s) noexcept {
  out << "arrived " << s.arrived << ", received " << s.received << "; transmitted " << s.transmitted << ", "
      << s.system_calls << " system calls";
  const auto also = [&](const char* what, std::uint64_t n) {
    if (n != 0) out << "; " << what << ' ' << n;
  };
  also("dropped", s.dropped);
  also("ring_full", s.ring_full);
  also("outgoing", s.outgoing);
  also("cut", s.cut);
  also("malformed", s.malformed);
  also("refused", s.refused);
  also("while_down", s.while_down);
  also("invalid", s.invalid);
  also("times_down", s.times_down);
}

/// An interface. Move-only. All packets of its pool must have come home when it is destroyed (RUNNEL_ASSERT).
///
/// An interface may go down and come up again: the device goes on. When it is deleted, `failure()` says so, and the
/// device is `done()`. What a program is too slow for is lost in the kernel, and counted (`statistics().dropped`).
class af_packet {
 public:
  /// Opens an interface of the thread's network namespace. Needs CAP_NET_RAW. Fails when there is no such interface,
  /// when its link is one that the library cannot read, and when the ring cannot be had.
  [[nodiscard]] static result<af_packet, error> open(const char* name, const af_packet_options& options = {}) noexcept {
    auto settings = network_interface::open_for("af_packet", name);
    if (!settings) return settings.error();
    const auto status = settings->status();
    if (!status) return status.error();
    const link_type link = link_of(status->hardware);
    if (link == link_type::unknown) return strange_link(name, status->hardware);
    const std::size_t longest = std::size_t{status->mtu} + 18 + detail::packet_block::front + options.headroom + 48;
    if (options.blocks != 0 && longest > options.block_size) return too_long(name, status->mtu, options);
    auto memory = detail::device_memory::open(
        options.memory, {.packets = options.packets, .bare = options.packets > 1024 ? options.packets : 1024u});
    if (!memory) return memory.error();
    lender lends(memory->get());
    if (lends.number() == 0)
      return error("af_packet", "open", name, "too many devices lend to packets of one pool already",
                   "give this device a pool of its own");
    auto sender = open_sender(name, status->index, link, options);
    if (!sender) return sender.error();
    af_packet made(static_cast<network_interface&&>(*settings), static_cast<detail::device_memory&&>(*memory),
                   static_cast<lender&&>(lends), static_cast<detail::packet_sender&&>(*sender), link);
    if (options.blocks != 0) {
      if (auto opened = made.open_ring(options); !opened) return opened.error();
    }
    return made;
  }
  af_packet(af_packet&&) noexcept = default;
  af_packet& operator=(af_packet&&) = delete;

  /// The name of the interface, as it was opened.
  [[nodiscard]] const char* name() const noexcept { return interface_.name(); }
  /// The interface: its MTU, its address, up and down. It may be changed at any time.
  [[nodiscard]] network_interface& settings() noexcept { return interface_; }

  /// The pool of the descriptors that show what lies in the ring, and of the slots for what is kept.
  [[nodiscard]] pool& memory() noexcept { return memory_.get(); }
  /// See `receiving_device`. No system call, no copy. The timestamp of a frame is when the kernel saw the packet, in
  /// nanoseconds since 1970.
  template <class Take>
  [[nodiscard]] std::size_t receive(std::size_t room, instant now, Take&& take) noexcept {
    pool& memory = memory_.get();
    if (memory.lent(lender_.number()) != 0 || room == 0) [[unlikely]]
      return 0;
    ring_.give_back();
    const std::size_t n = ring_.receive(room, like_, seen_, take);
    if (n == 0) {
      nothing_came(now);
      return 0;
    }
    memory.lend(lender_.number(), static_cast<std::uint32_t>(n));
    received_ += n;
    times_empty_ = 0;
    return n;
  }
  /// Whether nothing will ever come again: the interface was deleted.
  [[nodiscard]] bool done() const noexcept { return failed_; }
  /// Why nothing will come again: the interface was deleted. Null while all is well.
  [[nodiscard]] const error* failure() const noexcept { return failed_ ? &failure_ : nullptr; }
  /// The file descriptor to wait on until there is something to receive; -1 when nothing ever will be.
  [[nodiscard]] int wait_handle() const noexcept { return failed_ ? -1 : receiver_.get(); }
  /// When to look again without having been waked: while the interface is down, nobody says that it was deleted.
  [[nodiscard]] instant next_due() const noexcept { return down_ && !failed_ ? next_look_ : never; }

  /// Sends packets, of any pool and any number of fragments, up to 64 in a system call. What the kernel has no room for
  /// stays with the caller, that packet and all behind it. A packet is taken and lost (`lost()`) while the interface is
  /// down, and when it is too long or too short for the interface. Partial checksums and packets that stand for several
  /// segments are the kernel's or the interface's to complete and cut; with `bypass_qdisc` only the interface's, and
  /// lost where it cannot do that.
  [[nodiscard]] std::size_t transmit(packet* packets, std::size_t n, instant) noexcept {
    const std::size_t done = sender_.send(packets, n);
    pool::release(packets, done);
    return done;
  }
  /// The same for frames that came from this device or are from its pool.
  [[nodiscard]] std::size_t transmit(const frame* frames, std::size_t n, instant) noexcept {
    const std::size_t done = sender_.send(frames, n);
    memory().release(frames, done);
    return done;
  }

  /// The file descriptor that can be written to when there is room again for what was refused; -1 when nobody tells.
  [[nodiscard]] int transmit_handle() const noexcept { return sender_.handle(); }
  /// Packets that were taken by `transmit` and lost.
  [[nodiscard]] std::uint64_t lost() const noexcept {
    return sender_.counters().while_down + sender_.counters().invalid;
  }
  /// What it has done. Asks the kernel for what it dropped.
  [[nodiscard]] af_packet_statistics statistics() noexcept {
    ask_for_drops();
    const detail::packet_sender_counters& sent = sender_.counters();
    af_packet_statistics s;
    s.arrived = arrived_;
    s.received = received_;
    s.dropped = dropped_;
    s.ring_full = ring_full_;
    s.outgoing = seen_.outgoing;
    s.cut = seen_.cut;
    s.malformed = seen_.malformed;
    s.transmitted = sent.transmitted;
    s.refused = sent.refused;
    s.while_down = sent.while_down;
    s.invalid = sent.invalid;
    s.times_down = times_down_;
    s.system_calls = sent.calls + calls_;
    return s;
  }

 private:
  // Numbers of <linux/if_arp.h>, which includes too much.
  static constexpr std::uint16_t hardware_ethernet = 1, hardware_rawip = 519, hardware_tunnel = 768,
                                 hardware_loopback = 772, hardware_sit = 776, hardware_none = 0xfffe;
  static constexpr int packet_ignore_outgoing = 23;
  static constexpr std::uint16_t all_protocols = 3;  // ETH_P_ALL

  // A number from the pool, given back at the end.
  class lender {
   public:
    explicit lender(pool& memory) noexcept : memory_(&memory), number_(memory.add_lender()) {}
    lender(lender&& other) noexcept : memory_(other.memory_), number_(other.number_) { other.number_ = 0; }
    lender& operator=(lender&&) = delete;
    ~lender() {
      if (number_ == 0) return;
      RUNNEL_ASSERT(memory_->lent(number_) == 0 && "packets of a device must be gone before the device is");
      memory_->remove_lender(number_);
    }
    [[nodiscard]] std::uint8_t number() const noexcept { return number_; }

   private:
    pool* memory_;
    std::uint8_t number_;
  };

  af_packet(network_interface&& settings, detail::device_memory&& memory, lender&& lends,
            detail::packet_sender&& sender, link_type link) noexcept
      : interface_(static_cast<network_interface&&>(settings)),
        memory_(static_cast<detail::device_memory&&>(memory)),
        lender_(static_cast<lender&&>(lends)),
        sender_(static_cast<detail::packet_sender&&>(sender)) {
    like_.link = link;
    like_.lender = lender_.number();
  }

  static link_type link_of(std::uint16_t hardware) noexcept {
    switch (hardware) {
      case hardware_ethernet:
      case hardware_loopback: return link_type::ethernet;
      case hardware_none:
      case hardware_rawip:
      case hardware_tunnel:
      case hardware_sit: return link_type::raw_ip;
      default: return link_type::unknown;
    }
  }
  static error strange_link(const char* name, std::uint16_t hardware) noexcept {
    text<64> why;
    why << "its link is of a kind that is not known here (ARPHRD " << hardware << ')';
    return {"af_packet", "open", name, why.c_str(), "open one with Ethernet or IP packets"};
  }
  static error too_long(const char* name, std::uint32_t mtu, const af_packet_options& options) noexcept {
    text<96> why, advice;
    why << "a packet of its MTU, " << mtu << ", does not fit a block of " << options.block_size << " bytes";
    advice << "a smaller MTU, or a larger block_size";
    return {"af_packet", "open", name, why.c_str(), advice.c_str(), EMSGSIZE};
  }
  static error problem(const char* what, const char* on, int number, const char* advice = "") noexcept {
    if (number == EPERM || number == EACCES) advice = "run as root, or give the program CAP_NET_RAW";
    if (number == ENODEV || number == ENXIO) advice = "the interface was deleted just now";
    return {"af_packet", what, on, ::strerror(number), advice, number};
  }
  static bool set(int fd, int option, int value) noexcept {
    return detail::sys::setsockopt(fd, detail::sys::sol_packet, option, &value, sizeof value) == 0;
  }
  // Without a protocol, so that nothing comes before it is bound.
  static detail::file_handle open_socket() noexcept {
    using namespace detail;
    return {sys::socket(sys::af_packet, sys::sock_raw | sys::sock_nonblock | sys::sock_cloexec, 0), true};
  }
  static bool bind_to(int fd, int index, std::uint16_t protocol) noexcept {
    ::sockaddr_ll address{};
    address.sll_family = detail::sys::af_packet;
    store_be16(static_cast<std::byte*>(static_cast<void*>(&address.sll_protocol)), protocol);
    address.sll_ifindex = index;
    return detail::sys::bind(fd, &address, sizeof address) == 0;
  }

  static result<detail::packet_sender, error> open_sender(const char* name, int index, link_type link,
                                                          const af_packet_options& options) noexcept {
    using namespace detail;
    file_handle socket = open_socket();
    if (socket.get() < 0) return problem("open", name, errno, errno == EAFNOSUPPORT ? "load the module af_packet" : "");
    if (!set(socket.get(), PACKET_VNET_HDR, 1)) return problem("set the header of", name, errno);
    if (options.bypass_qdisc && !set(socket.get(), PACKET_QDISC_BYPASS, 1))
      return problem("bypass the qdisc of", name, errno);
    // Beyond the system's limit (net.core.wmem_max) with CAP_NET_ADMIN, else up to it.
    const auto size = static_cast<int>(options.send_buffer < (1u << 30) ? options.send_buffer : 1u << 30);
    if (sys::setsockopt(socket.get(), sys::sol_socket, sys::so_sndbufforce, &size, sizeof size) != 0)
      (void)sys::setsockopt(socket.get(), sys::sol_socket, sys::so_sndbuf, &size, sizeof size);
    if (!bind_to(socket.get(), index, 0)) return problem("bind to", name, errno);
    packet_sender made(static_cast<file_handle&&>(socket), link, options.bypass_qdisc);
    if (!made.ready()) return error("af_packet", "open", name, "no memory to send from", "", ENOMEM);
    return made;
  }

  result<bool, error> open_ring(const af_packet_options& options) noexcept {
    using namespace detail;
    receiver_ = open_socket();
    const int fd = receiver_.get();
    if (fd < 0) return problem("open", name(), errno);
    if (!set(fd, PACKET_VERSION, TPACKET_V3) || !set(fd, PACKET_VNET_HDR, 1))
      return problem("receive from", name(), errno, "it takes Linux 3.2");
    (void)set(fd, packet_ignore_outgoing, 1);  // Linux 4.20. What comes all the same is passed over.
    const int reserve = options.headroom > packet_block::front ? options.headroom - int{packet_block::front} : 0;
    if (!set(fd, PACKET_RESERVE, reserve)) return problem("reserve headroom on", name(), errno);
    if (auto made = map_ring(options); !made) return made.error();
    if (options.promiscuous) {
      ::packet_mreq all{};
      all.mr_ifindex = interface_.index();
      all.mr_type = PACKET_MR_PROMISC;
      if (sys::setsockopt(fd, sys::sol_packet, PACKET_ADD_MEMBERSHIP, &all, sizeof all) != 0)
        return problem("receive all from", name(), errno);
    }
    return options.fanout == fanout_mode::none ? bind_receiver() : join(options);
  }
  result<bool, error> map_ring(const af_packet_options& options) noexcept {
    using namespace detail;
    const long page = ::sysconf(_SC_PAGESIZE);
    const std::uint32_t size = options.block_size;
    if (size < static_cast<std::uint32_t>(page) || (size & (size - 1)) != 0 || size > (1u << 30))
      return error("af_packet", "open", name(), "block_size is not a power of two between a page and 1 GiB",
                   "262144 is a good one", EINVAL);
    const std::int64_t timeout = (options.block_timeout.ns + 999'999) / 1'000'000;
    ::tpacket_req3 ask{};
    ask.tp_block_size = size;
    ask.tp_block_nr = options.blocks;
    ask.tp_frame_size = size;  // of no meaning to this kind of ring, but checked
    ask.tp_frame_nr = options.blocks;
    ask.tp_retire_blk_tov = static_cast<unsigned>(timeout < 1 ? 1 : timeout < 1000 ? timeout : 1000);
    const std::uint64_t whole = std::uint64_t{size} * options.blocks;
    if (whole <= SIZE_MAX / 2 &&
        sys::setsockopt(receiver_.get(), sys::sol_packet, PACKET_RX_RING, &ask, sizeof ask) == 0) {
      memory_of_ring_ = mapping::of(receiver_.get(), static_cast<std::size_t>(whole));
      if (memory_of_ring_.data() != nullptr) {
        ring_ = packet_ring(memory_of_ring_.data(), size, options.blocks);
        return true;
      }
    }
    const int number = whole <= SIZE_MAX / 2 ? errno : ENOMEM;
    text<96> what;
    what << "a ring of " << options.blocks << " blocks of " << size << " bytes on " << name();
    return problem("make", what.c_str(), number, "choose fewer or smaller blocks");
  }
  result<bool, error> bind_receiver() noexcept {
    if (!bind_to(receiver_.get(), interface_.index(), all_protocols)) return problem("bind to", name(), errno);
    return true;
  }
  // A socket must be bound before it can join, and would get packets meanwhile that the group gets too: a filter keeps
  // them out.
  result<bool, error> join(const af_packet_options& options) noexcept {
    using namespace detail;
    ::sock_filter nothing[] = {{BPF_RET | BPF_K, 0, 0, 0}};
    const ::sock_fprog filter{1, nothing};
    const int fd = receiver_.get();
    if (sys::setsockopt(fd, sys::sol_socket, sys::so_attach_filter, &filter, sizeof filter) != 0)
      return problem("join a fanout group on", name(), errno);
    if (auto bound = bind_receiver(); !bound) return bound.error();
    const std::uint32_t own =
        static_cast<std::uint32_t>(::getpid()) * 31 + static_cast<std::uint32_t>(interface_.index());
    const std::uint32_t group = options.fanout_group != 0 ? options.fanout_group : (own & 0xffffu);
    constexpr std::uint32_t kernel_modes[] = {0, PACKET_FANOUT_HASH, PACKET_FANOUT_LB, PACKET_FANOUT_CPU,
                                              PACKET_FANOUT_ROLLOVER};
    const std::uint32_t mode =
        kernel_modes[static_cast<unsigned>(options.fanout)] | (options.defragment ? PACKET_FANOUT_FLAG_DEFRAG : 0u);
    const auto ask = [&](std::uint32_t flags) { return set(fd, PACKET_FANOUT, static_cast<int>(group | flags << 16)); };
    // The group has its own word on outgoing packets. A kernel that does not know it is asked without.
    constexpr std::uint32_t ignore_outgoing = 0x4000;
    if (!ask(mode | ignore_outgoing) && (errno != EINVAL || !ask(mode))) {
      const int number = errno;
      text<64> what;
      what << "fanout group " << group << " on " << name();
      return problem("join", what.c_str(), number,
                     number == EINVAL   ? "it is of another mode, or on another interface: choose another fanout_group"
                     : number == ENOSPC ? "it has as many members as there can be: choose another fanout_group"
                                        : "");
    }
    int unused = 0;
    if (sys::setsockopt(fd, sys::sol_socket, sys::so_detach_filter, &unused, sizeof unused) != 0)
      return problem("join a fanout group on", name(), errno);
    return true;
  }

  // A socket whose interface went down has an error to tell, and wakes who waits for it until it was asked: now and
  // then when nothing comes.
  void nothing_came(instant now) noexcept {
    if (down_ ? now < next_look_ : ++times_empty_ < 64) return;
    times_empty_ = 0;
    look_at_interface(now);
  }
  [[gnu::noinline]] void look_at_interface(instant now) noexcept {
    using namespace detail;
    if (failed_ || receiver_.get() < 0) return;
    int number = 0;
    std::uint32_t size = sizeof number;
    ++calls_;
    (void)sys::getsockopt(receiver_.get(), sys::sol_socket, sys::so_error, &number, size);
    if (number == ENETDOWN) {
      times_down_ += down_ ? 0u : 1u;
      down_ = true;
    }
    if (!down_) return;
    next_look_ = now + milliseconds(100);
    ::sockaddr_ll bound{};
    size = sizeof bound;
    ++calls_;
    // The kernel forgets the number of an interface that was deleted.
    if (sys::getsockname(receiver_.get(), &bound, size) == 0 && bound.sll_ifindex != interface_.index()) {
      failed_ = true;
      failure_ = error("af_packet", "receive from", name(), "the interface was deleted",
                       "open it again when it is there again", ENODEV);
      return;
    }
    calls_ += 5;
    if (const auto status = interface_.status(); status && status->up) down_ = false;
  }
  void ask_for_drops() noexcept {
    if (receiver_.get() < 0) return;
    ::tpacket_stats_v3 s{};
    std::uint32_t size = sizeof s;
    ++calls_;
    // The kernel begins at 0 again each time.
    if (detail::sys::getsockopt(receiver_.get(), detail::sys::sol_packet, PACKET_STATISTICS, &s, size) != 0) return;
    arrived_ += s.tp_packets;
    dropped_ += s.tp_drops;
    ring_full_ += s.tp_freeze_q_cnt;
  }

  network_interface interface_;
  detail::device_memory memory_;
  lender lender_;
  detail::file_handle receiver_;
  detail::mapping memory_of_ring_;
  detail::packet_ring ring_;
  frame like_;  // what all frames of the ring have in common
  detail::packet_block_counters seen_;
  std::uint64_t received_ = 0;
  std::uint32_t times_empty_ = 0;
  bool down_ = false;
  bool failed_ = false;
  instant next_look_{};
  detail::packet_sender sender_;
  std::uint64_t arrived_ = 0;
  std::uint64_t dropped_ = 0;
  std::uint64_t ring_full_ = 0;
  std::uint64_t times_down_ = 0;
  std::uint64_t calls_ = 0;
  error failure_{"af_packet", "receive", "", ""};
};
static_assert(receiving_device<af_packet> && transmitting_device<af_packet> && frame_transmitting_device<af_packet>);

}  // namespace runnel::device

#endif  // defined(__linux__)

#endif

// ==== runnel/xdp/instruction.hpp =====================================================================================
// eBPF instructions as plain values, in the bytes that the kernel loads. RFC 9669.
#ifndef RUNNEL_XDP_INSTRUCTION_HPP
#define RUNNEL_XDP_INSTRUCTION_HPP

#include <cstdint>  // uint8_t, int16_t, int32_t

/// eBPF programs: instructions, an assembler, and the translation of match expressions into them. Needs no operating
/// system; <runnel/device/bpf.hpp> hands programs to the kernel.
namespace runnel::bpf {

/// A register. RFC 9669 §2.1: r0 is what is returned, r1 to r5 are arguments, r6 to r9 survive a call, r10 is the end
/// of the stack and cannot be written.
enum class reg : std::uint8_t { r0, r1, r2, r3, r4, r5, r6, r7, r8, r9, r10 };

/// The registers by name. @{
inline constexpr reg r0 = reg::r0;
inline constexpr reg r1 = reg::r1;
inline constexpr reg r2 = reg::r2;
inline constexpr reg r3 = reg::r3;
inline constexpr reg r4 = reg::r4;
inline constexpr reg r5 = reg::r5;
inline constexpr reg r6 = reg::r6;
inline constexpr reg r7 = reg::r7;
inline constexpr reg r8 = reg::r8;
inline constexpr reg r9 = reg::r9;
inline constexpr reg r10 = reg::r10;
/// @}

/// The lowest three bits of an opcode. RFC 9669 §3.1.
enum class op_class : std::uint8_t { ld, ldx, st, stx, alu, jmp, jmp32, alu64 };

/// How many bytes a load or store moves. RFC 9669 §5.
enum class width : std::uint8_t {
  w = 0x00,   ///< 4 bytes
  h = 0x08,   ///< 2 bytes
  b = 0x10,   ///< 1 byte
  dw = 0x18,  ///< 8 bytes
};

/// Arithmetic. RFC 9669 §4.1.
enum class alu_op : std::uint8_t {
  add = 0x00,
  sub = 0x10,
  mul = 0x20,
  div = 0x30,
  or_ = 0x40,
  and_ = 0x50,
  lsh = 0x60,
  rsh = 0x70,
  neg = 0x80,
  mod = 0x90,
  xor_ = 0xa0,
  mov = 0xb0,
  arsh = 0xc0,  ///< shift that keeps the sign
  end = 0xd0,   ///< byte swap
};

/// Jumps; what has no `s` compares without sign. RFC 9669 §4.3.
enum class jmp_op : std::uint8_t {
  ja = 0x00,  ///< always
  jeq = 0x10,
  jgt = 0x20,
  jge = 0x30,
  jset = 0x40,  ///< when a bit is set in both
  jne = 0x50,
  jsgt = 0x60,
  jsge = 0x70,
  call = 0x80,
  exit = 0x90,
  jlt = 0xa0,
  jle = 0xb0,
  jslt = 0xc0,
  jsle = 0xd0,
};

/// Functions of the kernel that a program may call: the numbers of `enum bpf_func_id` in <linux/bpf.h>.
enum class helper : std::int32_t {
  map_lookup_elem = 1,
  map_update_elem = 2,
  map_delete_elem = 3,
  ktime_get_ns = 5,
  redirect = 23,
  redirect_map = 51,
};

/// What the source register of a 64-bit immediate load says of the immediate. RFC 9669 §5.4.
enum class imm64_kind : std::uint8_t {
  number = 0,
  map_by_fd = 1,   ///< a file descriptor: `BPF_PSEUDO_MAP_FD`
  map_by_idx = 5,  ///< a place in a list of maps: `BPF_PSEUDO_MAP_IDX`
};

/// One instruction, or half of a 64-bit immediate load: eight bytes, as `struct bpf_insn` on this host.
struct instruction {
  std::uint8_t opcode = 0;
  std::uint8_t registers = 0;  ///< both; use `dst` and `src`
  std::int16_t offset = 0;     ///< of a jump in instructions behind the next one; of a load or store in bytes
  std::int32_t imm = 0;

  /// From its parts.
  [[nodiscard]] static constexpr instruction make(unsigned opcode, reg dst, unsigned src, int offset,
                                                  std::int32_t imm) noexcept {
    const unsigned d = static_cast<unsigned>(dst);
    return {static_cast<std::uint8_t>(opcode),
            static_cast<std::uint8_t>(little_endian_host ? src << 4 | d : d << 4 | src),
            static_cast<std::int16_t>(offset), imm};
  }
  /// The destination register.
  [[nodiscard]] constexpr reg dst() const noexcept {
    return static_cast<reg>(little_endian_host ? registers & 15u : registers >> 4);
  }
  /// The source register.
  [[nodiscard]] constexpr reg src() const noexcept {
    return static_cast<reg>(little_endian_host ? registers >> 4 : registers & 15u);
  }
  /// The class of its opcode.
  [[nodiscard]] constexpr op_class kind() const noexcept { return static_cast<op_class>(opcode & 7u); }
  /// Whether an arithmetic instruction or a jump takes its second operand from the source register.
  [[nodiscard]] constexpr bool takes_register() const noexcept { return (opcode & 8u) != 0; }
  /// Whether it is the first half of a 64-bit immediate load; the other half follows.
  [[nodiscard]] constexpr bool is_imm64() const noexcept { return opcode == 0x18; }
  /// Whether it is that, and the immediate is a place in the program's list of maps.
  [[nodiscard]] constexpr bool is_map() const noexcept {
    return is_imm64() && static_cast<imm64_kind>(src()) == imm64_kind::map_by_idx;
  }
  /// Equal when all their parts are.
  friend constexpr bool operator==(const instruction&, const instruction&) noexcept = default;
};
static_assert(sizeof(instruction) == 8);

}  // namespace runnel::bpf

#endif

// ==== runnel/xdp/bpf_program.hpp =====================================================================================
// An eBPF program that has not been loaded: its instructions, and the maps that it refers to.
#ifndef RUNNEL_XDP_BPF_PROGRAM_HPP
#define RUNNEL_XDP_BPF_PROGRAM_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint8_t, uint32_t

namespace runnel::bpf {

/// What a map is; the numbers are the kernel's (BPF_MAP_TYPE_*).
enum class map_kind : std::uint32_t {
  hash = 1,           ///< any key; entries come and go
  array = 2,          ///< the key is a 32-bit number below `entries`; all are there, zero at first
  per_cpu_array = 6,  ///< the same with a value for each processor, which programs change without atomics
  lpm_trie = 11,      ///< the key is a 32-bit prefix length and the address; the longest prefix is found
  dev_map = 14,       ///< the key is a 32-bit number, the value the index of an interface
  xsk_map = 17,       ///< the key is a 32-bit number, the value the descriptor of an AF_XDP socket
};

/// How large a map is.
struct map_config {
  map_kind kind = map_kind::array;
  std::uint32_t key_bytes = 4;    ///< of an lpm_trie 4 and the address
  std::uint32_t value_bytes = 4;  ///< of one processor, for per-CPU kinds
  std::uint32_t entries = 1;      ///< at most
  const char* name = "runnel";    ///< for `bpftool map`; 15 characters are kept
};

/// What a program uses a map for.
enum class map_use : std::uint8_t {
  set,       ///< a set that rules ask
  counters,  ///< a `rule_counter` for each rule; the last is for packets that none decided about
  devices,   ///< interfaces, for redirect(n)
  sockets,   ///< AF_XDP sockets, one for each receive queue
};

/// A map to be made when the program is loaded.
struct map_description {
  /// Its kind and size. The name must outlive the program.
  map_config config{};
  /// What the program does with it.
  map_use use = map_use::set;
  /// The set that fills it, which must outlive what uses the map; null for the other uses.
  const void* set = nullptr;
};

/// Instructions with their maps, to be loaded as often as one likes. About 35 KB; copies refer to the same sets.
/// Instructions name a map by its place in the list (`map_by_idx`): the loader puts a file descriptor there.
class program {
 public:
  /// The most that fits: as many instructions as the kernel takes from everybody. Maps beyond 32 are an error of who
  /// makes the program. @{
  static constexpr std::size_t max_instructions = 4096;
  static constexpr std::size_t max_maps = 32;
  /// @}

  /// Its instructions. @{
  [[nodiscard]] constexpr const instruction* instructions() const noexcept { return instructions_; }
  [[nodiscard]] constexpr std::size_t size() const noexcept { return size_; }
  [[nodiscard]] constexpr const instruction& operator[](std::size_t i) const noexcept {
    RUNNEL_ASSERT(i < size_);
    return instructions_[i];
  }
  /// @}
  /// Its maps. @{
  [[nodiscard]] constexpr std::size_t map_count() const noexcept { return map_count_; }
  [[nodiscard]] constexpr const map_description& map(std::size_t i) const noexcept {
    RUNNEL_ASSERT(i < map_count_);
    return maps_[i];
  }
  /// @}
  /// The place of the first map for a use other than `set`; `map_count()` when there is none.
  [[nodiscard]] constexpr std::size_t find(map_use use) const noexcept {
    std::size_t i = 0;
    while (i < map_count_ && maps_[i].use != use) ++i;
    return i;
  }
  /// The place of the map of a set; `map_count()` when the program does not ask it.
  [[nodiscard]] constexpr std::size_t find(const void* set) const noexcept {
    std::size_t i = 0;
    while (i < map_count_ && (maps_[i].use != map_use::set || maps_[i].set != set)) ++i;
    return i;
  }
  /// How many rules it was made of, each with a counter; 0 when it does not count.
  [[nodiscard]] constexpr std::size_t rule_count() const noexcept {
    const std::size_t i = find(map_use::counters);
    return i == map_count_ ? 0 : maps_[i].config.entries - std::size_t{1};
  }

 private:
  friend class assembler;

  instruction instructions_[max_instructions]{};
  std::size_t size_ = 0;
  map_description maps_[max_maps]{};
  std::size_t map_count_ = 0;
};

}  // namespace runnel::bpf

#endif

// ==== runnel/device/bpf.hpp ==========================================================================================
// eBPF programs and maps in the kernel: bpf(2), without a library. Programs are XDP programs; how they come onto an
// interface is in xdp_link.hpp.
//
//     auto maps = bpf::program_maps::create(program);       // a bpf::program, as the assembler or lower() made it
//     auto loaded = bpf::loaded_program::load(program, *maps);
//     auto ran = loaded->test_run(packet, out);             // BPF_PROG_TEST_RUN: ran->verdict is XDP_PASS, ...
//
// Everything is a file descriptor, closed at destruction. The kernel keeps a map as long as a program uses it, and a
// program as long as it is attached.
#ifndef RUNNEL_DEVICE_BPF_HPP
#define RUNNEL_DEVICE_BPF_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint32_t, uint64_t, uintptr_t

#if defined(__linux__)

#include <fcntl.h>      // open
#include <linux/bpf.h>  // bpf_attr

namespace runnel {

namespace detail {

/// bpf(2): what the command returns, or -1 and errno.
inline int bpf_call(::bpf_cmd command, ::bpf_attr& attributes) noexcept {
  return static_cast<int>(::syscall(SYS_bpf, command, &attributes, sizeof attributes));
}
[[nodiscard]] inline ::bpf_attr no_attributes() noexcept {
  ::bpf_attr a;
  ::memset(&a, 0, sizeof a);  // the padding too: the kernel refuses what it does not know
  return a;
}
[[nodiscard]] inline std::uint64_t address_of(const volatile void* p) noexcept {
  return reinterpret_cast<std::uintptr_t>(p);
}
// The kernel takes letters, digits, '_' and '.', 15 of them; others become '_'.
inline void copy_bpf_name(char (&to)[16], const char* from) noexcept {
  for (std::size_t i = 0; i < 15 && from[i] != '\0'; ++i) {
    const char c = from[i];
    const bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.';
    to[i] = good ? c : '_';
  }
}
/// What a person can do about an errno of bpf(2).
[[nodiscard]] inline const char* bpf_advice(int number) noexcept {
  switch (number) {
    case EPERM: return "needs CAP_BPF and CAP_NET_ADMIN (root); before Linux 5.11 also a higher ulimit -l";
    case ENOSYS: return "this kernel was built without bpf(2) (CONFIG_BPF_SYSCALL)";
    case ENOMEM: return "free memory, or ask for fewer entries";
    case E2BIG: return "ask for fewer or smaller entries, or a shorter program";
    case EMFILE: return "raise the limit of open files (ulimit -n)";
    default: return "";
  }
}

}  // namespace detail

/// eBPF in the kernel, and its programs.
namespace bpf {

/// How many values an entry of a per-CPU map has: the highest number of a processor that this system may ever have,
/// plus one. 0 when the system does not say.
[[nodiscard]] inline std::uint32_t possible_processors() noexcept {
  const detail::file_handle file(::open("/sys/devices/system/cpu/possible", O_RDONLY | O_CLOEXEC), true);
  char line[256];  // "0-3", "0,2-5"
  const ::ssize_t n = file.get() < 0 ? -1 : ::read(file.get(), line, sizeof line);
  std::uint32_t last = 0;
  bool any = false;
  for (::ssize_t i = 0; i < n; ++i) {
    if (line[i] >= '0' && line[i] <= '9') {
      const bool goes_on = i != 0 && line[i - 1] >= '0' && line[i - 1] <= '9';
      last = (goes_on ? last * 10 : 0) + static_cast<std::uint32_t>(line[i] - '0');
      any = true;
    }
  }
  return any ? last + 1 : 0;
}

/// A table that programs in the kernel and this process share. Move-only; owns its descriptor.
///
/// Keys and values are bytes of the sizes that the map was made with. Each call is one system call and atomic for its
/// entry; programs may run meanwhile. Calls return 0, or the errno.
class map {
 public:
  /// No map: its calls return EBADF.
  map() noexcept = default;
  /// Makes an empty map. Fails without CAP_BPF (and CAP_NET_ADMIN for an xsk_map), and for sizes that the kernel
  /// refuses.
  [[nodiscard]] static result<map, error> create(const map_config& config) noexcept {
    ::bpf_attr a = detail::no_attributes();
    a.map_type = static_cast<std::uint32_t>(config.kind);
    a.key_size = config.key_bytes;
    a.value_size = config.value_bytes;
    a.max_entries = config.entries;
    if (config.kind == map_kind::lpm_trie) a.map_flags = BPF_F_NO_PREALLOC;  // the kernel demands it
    detail::copy_bpf_name(a.map_name, config.name);
    const int fd = detail::bpf_call(BPF_MAP_CREATE, a);
    if (fd < 0) {
      const int number = errno;
      return error("bpf", "create map", config.name, ::strerror(number), detail::bpf_advice(number), number);
    }
    return map({fd, true});
  }
  /// Takes over the descriptor of a map, as another process may hand it out.
  [[nodiscard]] static map adopt(int fd) noexcept { return map({fd, true}); }

  /// Its descriptor; stays the map's.
  [[nodiscard]] int fd() const noexcept { return file_.get(); }
  /// Sets the entry at `key`. Of per-CPU kinds `value` is one for each of `possible_processors()`, each rounded up to 8
  /// bytes. E2BIG or ENOSPC: the map is full.
  [[nodiscard]] int update(const void* key, const void* value) const noexcept {
    ::bpf_attr a = entry(key, value);
    return detail::bpf_call(BPF_MAP_UPDATE_ELEM, a) == 0 ? 0 : errno;
  }
  /// Copies the entry at `key` to `value`, which has room for it; of per-CPU kinds for all processors, as in `update`.
  /// ENOENT: there is none. An xsk_map cannot be read (EOPNOTSUPP).
  [[nodiscard]] int look_up(const void* key, void* value) const noexcept {
    ::bpf_attr a = entry(key, value);
    return detail::bpf_call(BPF_MAP_LOOKUP_ELEM, a) == 0 ? 0 : errno;
  }
  /// Removes the entry at `key`. ENOENT: there is none. Entries of arrays cannot be removed (EINVAL).
  [[nodiscard]] int erase(const void* key) const noexcept {
    ::bpf_attr a = entry(key, nullptr);
    return detail::bpf_call(BPF_MAP_DELETE_ELEM, a) == 0 ? 0 : errno;
  }
  /// Copies the key behind `key` to `next`; the first one for a null `key`. ENOENT: that was the last one.
  [[nodiscard]] int next_key(const void* key, void* next) const noexcept {
    ::bpf_attr a = entry(key, next);
    return detail::bpf_call(BPF_MAP_GET_NEXT_KEY, a) == 0 ? 0 : errno;
  }

 private:
  explicit map(detail::file_handle&& file) noexcept : file_(static_cast<detail::file_handle&&>(file)) {}
  [[nodiscard]] ::bpf_attr entry(const void* key, const void* value) const noexcept {
    ::bpf_attr a = detail::no_attributes();
    a.map_fd = static_cast<std::uint32_t>(file_.get());
    a.key = detail::address_of(key);
    a.value = detail::address_of(value);
    return a;
  }
  detail::file_handle file_;
};

/// The maps of a program, in the program's order. Move-only; owns them.
class program_maps {
 public:
  /// Makes all of them, empty.
  [[nodiscard]] static result<program_maps, error> create(const program& what) noexcept {
    program_maps made;
    for (std::size_t i = 0; i < what.map_count(); ++i) {
      auto m = map::create(what.map(i).config);
      if (!m) return m.error();
      made.maps_[i] = static_cast<map&&>(*m);
    }
    return made;
  }
  /// The map at a place in the program's list. Beyond the last one there is none (RUNNEL_ASSERT).
  [[nodiscard]] const map& operator[](std::size_t i) const noexcept {
    RUNNEL_ASSERT(i < program::max_maps);
    return maps_[i];
  }

 private:
  program_maps() noexcept = default;
  map maps_[program::max_maps];
};

/// What a run on one packet gave.
struct test_outcome {
  std::uint32_t verdict = 0;      ///< what the program returned: XDP_PASS (2), ...
  std::uint32_t length = 0;       ///< of the packet behind the program
  std::uint32_t nanoseconds = 0;  ///< of one run, on average
};

/// How a program is loaded.
struct load_options {
  const char* name = "runnel";  ///< for `bpftool prog` and `ip link`; 15 characters are kept
  char* log = nullptr;          ///< where all of the verifier's log of a refused program goes, zero-terminated
  std::size_t log_size = 0;     ///< how much fits there; the log's end is kept where the kernel can (Linux 6.4)
};

/// An XDP program that the kernel's verifier has accepted. Move-only; owns its descriptor. Its licence is "Dual
/// MIT/GPL", so that all helpers may be called.
class loaded_program {
 public:
  /// Hands `count` instructions of 8 bytes (struct bpf_insn) to the kernel. When it refuses them, the error has what
  /// the verifier said last.
  [[nodiscard]] static result<loaded_program, error> load(const void* instructions, std::size_t count,
                                                          const load_options& options = {}) noexcept {
    ::bpf_attr a = detail::no_attributes();
    a.prog_type = BPF_PROG_TYPE_XDP;
    a.expected_attach_type = BPF_XDP;
    a.insns = detail::address_of(instructions);
    a.insn_cnt = static_cast<std::uint32_t>(count);
    a.license = detail::address_of("Dual MIT/GPL");
    detail::copy_bpf_name(a.prog_name, options.name);
    int fd = detail::bpf_call(BPF_PROG_LOAD, a);
    if (fd >= 0) return loaded_program({fd, true});
    const int number = errno;
    // Once more, for the log: writing it costs more than the check itself.
    const detail::mapping own_log(options.log != nullptr ? 0 : std::size_t{1} << 20);
    char* const log = options.log != nullptr ? options.log : reinterpret_cast<char*>(own_log.data());
    const std::size_t room = options.log != nullptr ? options.log_size : own_log.size();
    if (log == nullptr || room < 128) return refused(options.name, number, "");
    log[0] = '\0';
    a.log_level = 1;
    a.log_buf = detail::address_of(log);
    a.log_size = static_cast<std::uint32_t>(room);
    fd = detail::bpf_call(BPF_PROG_LOAD, a);
    if (fd >= 0) return loaded_program({fd, true});
    log[room - 1] = '\0';
    return refused(options.name, number, log);
  }
  /// The same for an assembled program and the maps that were made for it; the kernel keeps them.
  [[nodiscard]] static result<loaded_program, error> load(const program& what, const program_maps& maps,
                                                          const load_options& options = {}) noexcept {
    instruction linked[program::max_instructions];
    for (std::size_t i = 0; i < what.size(); ++i) {
      instruction& to = linked[i] = what[i];
      if (!to.is_map()) continue;
      const int fd = maps[static_cast<std::size_t>(to.imm)].fd();
      to = instruction::make(to.opcode, to.dst(), static_cast<unsigned>(imm64_kind::map_by_fd), to.offset, fd);
    }
    return load(linked, what.size(), options);
  }
  /// Takes over the descriptor of a program.
  [[nodiscard]] static loaded_program adopt(int fd) noexcept { return loaded_program({fd, true}); }

  /// Its descriptor; stays the program's.
  [[nodiscard]] int fd() const noexcept { return file_.get(); }
  /// The number by which `bpftool` and `ip link` know it; 0 when the kernel does not say.
  [[nodiscard]] std::uint32_t id() const noexcept {
    ::bpf_prog_info info;
    ::memset(&info, 0, sizeof info);
    ::bpf_attr a = detail::no_attributes();
    a.info.bpf_fd = static_cast<std::uint32_t>(file_.get());
    a.info.info_len = sizeof info;
    a.info.info = detail::address_of(&info);
    return detail::bpf_call(BPF_OBJ_GET_INFO_BY_FD, a) == 0 ? info.id : 0;
  }
  /// Runs the program on a packet, `repeat` times, and copies what it made of it to `out`; what does not fit there is
  /// cut. The kernel takes 14 bytes at least. Maps that it writes to are written to.
  [[nodiscard]] result<test_outcome, error> test_run(bytes packet, mutable_bytes out = {},
                                                     std::uint32_t repeat = 1) const noexcept {
    ::bpf_attr a = detail::no_attributes();
    a.test.prog_fd = static_cast<std::uint32_t>(file_.get());
    a.test.data_in = detail::address_of(packet.data());
    a.test.data_size_in = static_cast<std::uint32_t>(packet.size());
    a.test.data_out = out.empty() ? 0 : detail::address_of(out.data());
    a.test.data_size_out = static_cast<std::uint32_t>(out.size());
    a.test.repeat = repeat;
    if (detail::bpf_call(BPF_PROG_TEST_RUN, a) != 0 && errno != ENOSPC) {
      const int number = errno;
      return error(
          "bpf", "run a program on a packet", "", ::strerror(number),
          number == EINVAL ? "the kernel takes packets of 14 bytes to about a page" : detail::bpf_advice(number),
          number);
    }
    return test_outcome{a.test.retval, a.test.data_size_out, a.test.duration};
  }

 private:
  explicit loaded_program(detail::file_handle&& file) noexcept : file_(static_cast<detail::file_handle&&>(file)) {}

  // The log's last line but for the statistics is the reason; the line before is the instruction.
  [[nodiscard]] static error refused(const char* name, int number, const char* log) noexcept {
    if (number != EINVAL && number != EACCES && *log == '\0')
      return error("bpf", "load program", name, ::strerror(number), detail::bpf_advice(number), number);
    const char* statistics = ::strstr(log, "\nprocessed ");
    std::size_t end = statistics != nullptr ? static_cast<std::size_t>(statistics - log) : ::strlen(log);
    while (end != 0 && log[end - 1] == '\n') --end;
    std::size_t begin = end;
    for (int lines = 0; begin != 0; --begin)
      if (log[begin - 1] == '\n' && ++lines == 2) break;
    text<192> reason;
    reason << "the verifier refused it: ";
    for (std::size_t i = begin; i < end; ++i) reason << (log[i] == '\n' ? '|' : log[i]);
    return error("bpf", "load program", name, begin != end ? reason.c_str() : ::strerror(number),
                 detail::bpf_advice(number), number);
  }
  detail::file_handle file_;
};

}  // namespace bpf

}  // namespace runnel

#endif  // defined(__linux__)

#endif

// ==== runnel/device/bell.hpp =========================================================================================
// A file descriptor that a thread sleeps on and others write to: an eventfd, or a pipe where there is none.
#ifndef RUNNEL_DEVICE_BELL_HPP
#define RUNNEL_DEVICE_BELL_HPP

#include <cstdint>  // uint64_t

#if defined(__unix__) || defined(__APPLE__)

#include <errno.h>   // errno
#include <fcntl.h>   // O_CLOEXEC, O_NONBLOCK
#include <unistd.h>  // read, write
#if defined(__linux__)
#include <sys/eventfd.h>  // eventfd
#endif

namespace runnel::detail {

/// Opened by the thread that sleeps, before it says that it sleeps; rung by any thread or signal handler from then on.
class bell {
 public:
  /// False when the system has no file descriptor left: then nobody can ring, and the sleeper has to look by himself.
  bool open() noexcept {
    if (out_.get() >= 0) return true;
#if defined(__linux__)
    out_ = file_handle(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), true);
    return out_.get() >= 0;
#else
    int ends[2];
    if (::pipe(ends) != 0) return false;
    for (const int end : ends) (void)::fcntl(end, F_SETFD, FD_CLOEXEC), (void)::fcntl(end, F_SETFL, O_NONBLOCK);
    in_ = file_handle(ends[0], true);
    out_ = file_handle(ends[1], true);
    return true;
#endif
  }
  /// Readable once it was rung; -1 before `open`.
  [[nodiscard]] int handle() const noexcept {
#if defined(__linux__)
    return out_.get();
#else
    return in_.get();
#endif
  }
  /// Leaves errno as it is, for it may interrupt anything.
  void ring() const noexcept {
    const int before = errno;
    const std::uint64_t one = 1;
    const ::ssize_t written = ::write(out_.get(), &one, sizeof one);
    (void)written;  // what is full is readable, and was rung
    errno = before;
  }
  /// Makes it quiet again.
  void answer() const noexcept {
    std::uint64_t count[8];
    while (::read(handle(), count, sizeof count) == static_cast<::ssize_t>(sizeof count)) {}
  }

 private:
#if !defined(__linux__)
  file_handle in_;
#endif
  file_handle out_;
};

}  // namespace runnel::detail

#endif  // defined(__unix__) || defined(__APPLE__)

#endif

// ==== runnel/flow/wait.hpp ===========================================================================================
// What a loop collects from its attachments before it sleeps: what to wait for, and how long.
#ifndef RUNNEL_FLOW_WAIT_HPP
#define RUNNEL_FLOW_WAIT_HPP

#include <cstddef>  // size_t

namespace runnel {

/// A file descriptor to wait on: until there is something to read, or room to write.
struct wait_entry {
  int handle = -1;        ///< the file descriptor
  bool for_room = false;  ///< until it can be written to (POLLOUT), else until it can be read from (POLLIN)
};

/// Filled by the attachments of a loop that is about to sleep.
class wait_list {
 public:
  /// What nobody can tell is asked for again after this time: a full device without `transmit_handle()`, a ring whose
  /// producer does not know whom to wake.
  static constexpr duration retry = microseconds(100);

  /// Writes to `entries`, which has room for `capacity`. It is `now`.
  constexpr wait_list(wait_entry* entries, std::size_t capacity, instant now) noexcept
      : entries_(entries), capacity_(capacity), now_(now) {}

  /// Waits for this descriptor too. What has no room in the list is asked for again after `retry`.
  constexpr void add(wait_entry e) noexcept {
    if (size_ < capacity_) entries_[size_++] = e;
    else again();
  }
  /// Waits no longer than until `t`.
  constexpr void until(instant t) noexcept {
    if (t < due_) due_ = t;
  }
  /// Waits no longer than `retry`.
  constexpr void again() noexcept { until(now_ + retry); }
  /// Does not wait at all: there is something to do.
  constexpr void ready() noexcept { ready_ = true; }

  /// How many descriptors.
  [[nodiscard]] constexpr std::size_t size() const noexcept { return size_; }
  /// Until when.
  [[nodiscard]] constexpr instant due() const noexcept { return due_; }
  /// Whether there is something to do already.
  [[nodiscard]] constexpr bool is_ready() const noexcept { return ready_; }

 private:
  wait_entry* entries_;
  std::size_t capacity_;
  std::size_t size_ = 0;
  instant now_;
  instant due_ = never;
  bool ready_ = false;
};

}  // namespace runnel

#endif

// ==== runnel/device/clock.hpp ========================================================================================
// The system's clock, for programs that run in real time, and how their loops sleep.
#ifndef RUNNEL_DEVICE_CLOCK_HPP
#define RUNNEL_DEVICE_CLOCK_HPP

#include <climits>  // INT_MAX
#include <cstddef>  // size_t
#include <cstdint>  // int64_t

#if defined(__unix__) || defined(__APPLE__)

#include <poll.h>  // poll, ppoll
#include <time.h>  // clock_gettime

namespace runnel {

/// Counts from 1970-01-01 UTC and never goes back. Set once by CLOCK_REALTIME, at construction, so that what it stamps
/// can be written to a capture; driven by CLOCK_MONOTONIC from then on, so that no timer fires early or waits for hours
/// because somebody set the date. A date that is set later is not seen: make a new clock for that.
///
/// `now` costs some 20 ns where the system answers without a system call: ask once per round, not per packet.
///
/// A loop sleeps by its clock, so a loop has a clock of its own; others may only read the time. Its first sleep opens
/// an eventfd, by which `stop()`, `wake()` and the rings that other threads fill end it. When there is no file
/// descriptor left it looks for those every 10 ms.
class real_clock : public sleeper {
 public:
  real_clock() noexcept : sleeper(&kick), offset_(read(CLOCK_REALTIME) - read(CLOCK_MONOTONIC)) {}
  /// The time, with a resolution of nanoseconds.
  [[nodiscard]] instant now() const noexcept { return read(CLOCK_MONOTONIC) + offset_; }

  /// See `sleeper`: for the thread that sleeps.
  void prepare_to_wait() noexcept {
    can_be_woken_ = bell_.open();
    sleeper::prepare_to_wait();
  }
  /// Sleeps, in one system call, until `due`, until one of the first `n` entries has something to read or room to
  /// write, until `wake_up`, or until a signal. Returns at once when `due` is over; otherwise as late as the system's
  /// timers are, 50 us unless the thread set its timer slack (prctl), up to a millisecond where there is no ppoll. A
  /// descriptor that only reports an error, as that of a device that is gone, cuts the sleep to a millisecond instead
  /// of ending it, so that it costs no core.
  template <std::size_t Most>
  void wait_until(instant due, const wait_entry (&entries)[Most], std::size_t n) noexcept {
    ::pollfd watched[Most + 1];
    watched[0] = {bell_.handle(), POLLIN, 0};
    for (std::size_t i = 0; i < n; ++i)
      watched[i + 1] = {entries[i].handle, static_cast<short>(entries[i].for_room ? POLLOUT : POLLIN), 0};
    if (!can_be_woken_ && now() + look_after < due) due = now() + look_after;
    sleep(watched, n + 1, due);
    if (watched[0].revents != 0) bell_.answer();
  }

 private:
  static constexpr duration look_after = milliseconds(10);
  static constexpr duration after_an_error = milliseconds(1);

  static void kick(sleeper& self) noexcept { static_cast<real_clock&>(self).bell_.ring(); }

  void sleep(::pollfd* watched, std::size_t n, instant due) const noexcept {
    const int ready = wait_on(watched, n, due);
    if (ready <= 0) return;
    for (std::size_t i = 0; i < n; ++i)
      if ((watched[i].revents & (POLLIN | POLLOUT)) != 0) return;
    const instant limit = now() + after_an_error;
    for (std::size_t i = 0; i < n; ++i)
      if (watched[i].revents != 0) watched[i].fd = -1;
    (void)wait_on(watched, n, due < limit ? due : limit);
  }
#if defined(__linux__)
  int wait_on(::pollfd* watched, std::size_t n, instant due) const noexcept {
    const std::int64_t left = due.ns - now().ns;
    constexpr std::int64_t second = 1'000'000'000;
    const ::timespec timeout{static_cast<::time_t>(left > 0 ? left / second : 0), left > 0 ? left % second : 0};
    return ::ppoll(watched, static_cast<::nfds_t>(n), due == never ? nullptr : &timeout, nullptr);
  }
#else
  int wait_on(::pollfd* watched, std::size_t n, instant due) const noexcept {
    const std::int64_t left = due.ns - now().ns;
    const std::int64_t rounded_up = left > 0 ? (left - 1) / 1'000'000 + 1 : 0;
    const int timeout = due == never ? -1 : rounded_up < INT_MAX ? static_cast<int>(rounded_up) : INT_MAX;
    return ::poll(watched, static_cast<::nfds_t>(n), timeout);
  }
#endif

  static instant read(::clockid_t id) noexcept {
    ::timespec t{};
    (void)::clock_gettime(id, &t);
    return {std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec};
  }

  duration offset_;
  detail::bell bell_;
  bool can_be_woken_ = true;
};
static_assert(runnel::clock<real_clock>);

}  // namespace runnel

#endif  // defined(__unix__) || defined(__APPLE__)

#endif

// ==== runnel/device/link.hpp =========================================================================================
// A wire in memory: two devices, and what the one sends arrives at the other, late, out of order, twice or not at all,
// as configured. Time comes from whoever calls and randomness from a seed, so a run is repeatable bit for bit.
//
// Theory of operation. Each direction is one queue, ordered by when a packet is due at the far end. A packet that is
// sent passes these stations; each has a counter for what is lost there:
//
//     transmit(now) > too long? > room? > line, `rate` > loss > latency + jitter > due > receive(now)
//                     too_big   queue_full              link_loss      \ duplication: once more
//
// A packet that lies alone on a slot of the wire's pool is passed on as it is; any other is copied to one. On the way,
// it owns its slot; the receiver gets the slot as a frame, and what earlier stages found out about it is forgotten.
#ifndef RUNNEL_DEVICE_LINK_HPP
#define RUNNEL_DEVICE_LINK_HPP

#include <cstddef>  // size_t
#include <cstdint>  // int64_t, uint32_t, uint64_t

namespace runnel {

/// How one direction of a wire treats packets. As it is, nothing happens to them.
struct link_options {
  duration latency{};               ///< from the end of the line to the far end
  duration jitter{};                ///< up to so much more, anew for each packet, any span as likely as another
  bool keep_order = false;          ///< a packet waits for those sent before it; else those with less jitter overtake
  std::uint32_t loss = 0;           ///< of a million packets, so many are lost (link_loss)
  std::uint32_t duplication = 0;    ///< of a million that are not lost, so many come twice
  std::uint32_t reordering = 0;     ///< of a million, so many come without latency and jitter, and overtake the others
  std::uint64_t rate = 0;           ///< bits per second of the line, counting the packet's bytes; 0 is no limit
  std::size_t capacity = SIZE_MAX;  ///< packets on the way at once, the line's queue included (queue_full)
  std::size_t max_length = 65535;   ///< bytes of a packet; longer ones are lost (too_big)
  std::uint64_t seed = 1;           ///< of all that is random; the two directions differ even with the same one
};

namespace detail {

/// A packet on the way. The first in order is due first; of equal ones, that which was sent first.
struct link_entry {
  instant due{};
  std::uint64_t number = 0;
  packet what;

  [[nodiscard]] bool before(const link_entry& other) const noexcept {
    return due < other.due || (due == other.due && number < other.number);
  }
};

/// One direction of a wire, over memory that somebody else owns.
class link_direction {
 public:
  link_direction(pool& memory, link_entry* heap, std::size_t room, const link_options& options,
                 std::uint64_t seed) noexcept
      : memory_(memory),
        heap_(heap),
        options_(options),
        capacity_(options.capacity < room ? options.capacity : room),
        random_(seed) {}

  [[nodiscard]] pool& memory() const noexcept { return memory_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] std::uint64_t dropped(drop_reason why) const noexcept {
    return why < drop_reason::count_ ? dropped_[static_cast<std::size_t>(why)] : 0;
  }
  [[nodiscard]] instant next_due() const noexcept { return size_ != 0 ? heap_[0].due : never; }
  void close() noexcept { closed_ = true; }
  [[nodiscard]] bool done() const noexcept { return closed_ && size_ == 0; }

  void send(packet&& given, instant now) noexcept {
    packet p(static_cast<packet&&>(given));
    const std::size_t length = p.total_length();
    const std::size_t slot = std::size_t{memory_.headroom()} + memory_.packet_bytes();
    if (closed_) return lose(drop_reason::no_target);
    if (length > options_.max_length) return lose(drop_reason::too_big);
    if (size_ == capacity_) return lose(drop_reason::queue_full);
    const instant sent = leave_line(length, now);
    if (random_.chance(options_.loss)) return lose(drop_reason::link_loss);
    const bool twice = random_.chance(options_.duplication);
    if (!p.is_plain() || &p.home() != &memory_) {
      if (length > slot) return lose(drop_reason::too_big);
      p = p.copy(memory_);
      if (!p) return lose(drop_reason::no_packet);
    }
    packet second;
    if (twice) {
      if (size_ + 1 == capacity_) lose(drop_reason::queue_full);
      else if (second = p.copy(); !second) lose(drop_reason::no_packet);
    }
    push(due_at(sent), static_cast<packet&&>(p));
    if (second) push(due_at(sent), static_cast<packet&&>(second));
  }
  template <class Take>
  std::size_t receive(std::size_t room, instant now, Take&& take) noexcept {
    std::size_t n = 0;
    for (; n < room && size_ != 0 && heap_[0].due <= now; ++n) {
      const instant due = heap_[0].due;
      frame f = pop().detach();
      f.timestamp = due;
      f.iif = 0;
      take(f);
    }
    return n;
  }

 private:
  void lose(drop_reason why) noexcept { ++dropped_[static_cast<std::size_t>(why)]; }

  // When the last bit is on its way: the line sends one packet after the other.
  instant leave_line(std::size_t length, instant now) noexcept {
    if (options_.rate == 0) return now;
    const instant begin = line_free_ < now ? now : line_free_;
    line_free_ = begin + nanoseconds(static_cast<std::int64_t>(length * std::uint64_t{8'000'000'000} / options_.rate));
    return line_free_;
  }
  instant due_at(instant sent) noexcept {
    if (random_.chance(options_.reordering)) return sent;
    const auto span = static_cast<std::uint64_t>(options_.jitter.ns > 0 ? options_.jitter.ns : 0);
    const instant due = sent + options_.latency + nanoseconds(static_cast<std::int64_t>(random_.below(span + 1)));
    if (!options_.keep_order) return due;
    if (last_due_ < due) last_due_ = due;
    return last_due_;
  }

  void push(instant due, packet&& p) noexcept {
    link_entry e{due, sent_++, static_cast<packet&&>(p)};
    std::size_t i = size_++;
    for (; i != 0 && e.before(heap_[(i - 1) / 2]); i = (i - 1) / 2) move(heap_[i], heap_[(i - 1) / 2]);
    move(heap_[i], e);
  }
  packet pop() noexcept {
    packet first(static_cast<packet&&>(heap_[0].what));
    link_entry& last = heap_[--size_];
    std::size_t i = 0;
    for (;;) {
      std::size_t child = 2 * i + 1;
      if (child >= size_) break;
      if (child + 1 < size_ && heap_[child + 1].before(heap_[child])) ++child;
      if (!heap_[child].before(last)) break;
      move(heap_[i], heap_[child]);
      i = child;
    }
    if (i != size_) move(heap_[i], last);
    return first;
  }
  static void move(link_entry& to, link_entry& from) noexcept {
    to.due = from.due;
    to.number = from.number;
    to.what = static_cast<packet&&>(from.what);
  }

  pool& memory_;
  link_entry* heap_;  // children of i are 2i + 1 and 2i + 2; none is before its parent
  std::size_t size_ = 0;
  link_options options_;
  std::size_t capacity_;
  random_generator random_;
  std::uint64_t sent_ = 0;
  instant line_free_{INT64_MIN};
  instant last_due_{INT64_MIN};
  bool closed_ = false;
  std::uint64_t dropped_[drop_reason_count] = {};
};

}  // namespace detail

/// One end of a wire: a device that sends into one direction and receives from the other.
class link_end {
 public:
  link_end(const link_end&) = delete;
  link_end& operator=(const link_end&) = delete;

  /// The pool that its frames are from.
  [[nodiscard]] pool& memory() noexcept { return in_.memory(); }
  /// What is due by `now`, in order. The timestamp of a frame is when it was due.
  template <class Take>
  [[nodiscard]] std::size_t receive(std::size_t room, instant now, Take&& take) noexcept {
    return in_.receive(room, now, take);
  }
  /// Whether the wire was closed and everything on the way to this end was received.
  [[nodiscard]] bool done() const noexcept { return in_.done(); }
  /// Sends all of them at `now`, which must not go back from call to call. What the wire loses is counted.
  [[nodiscard]] std::size_t transmit(packet* packets, std::size_t n, instant now) noexcept {
    for (std::size_t i = 0; i < n; ++i) out_.send(static_cast<packet&&>(packets[i]), now);
    return n;
  }
  /// The same for frames that came from an end of this wire: their slots go on as they are.
  [[nodiscard]] std::size_t transmit(const frame* frames, std::size_t n, instant now) noexcept {
    for (std::size_t i = 0; i < n; ++i) out_.send(memory().attach(frames[i]), now);
    return n;
  }
  /// When the next packet is due here; `never` when none is on the way.
  [[nodiscard]] instant next_due() const noexcept { return in_.next_due(); }
  /// How many packets sent from this end are on the way.
  [[nodiscard]] std::size_t in_flight() const noexcept { return out_.size(); }
  /// How many packets sent from this end the wire lost for this reason: link_loss, queue_full, too_big, no_packet (its
  /// pool was empty), no_target (it was closed).
  [[nodiscard]] std::uint64_t dropped(drop_reason why) const noexcept { return out_.dropped(why); }

 private:
  template <std::size_t>
  friend class virtual_link;
  link_end(detail::link_direction& in, detail::link_direction& out) noexcept : in_(in), out_(out) {}

  detail::link_direction& in_;
  detail::link_direction& out_;
};
static_assert(receiving_device<link_end> && transmitting_device<link_end>);

/// A wire with two ends and room for `Capacity` packets on the way in each direction, 24 bytes each. Not movable. The
/// pool must outlive it, and needs slots for what is on the way.
///
///     virtual_link wire(memory, {.latency = milliseconds(20), .loss = 10'000});
///     wire.a().transmit(&p, 1, now);
///     n = wire.b().receive(64, now + milliseconds(20), into_array(frames));
///
/// (Not called `link`: <unistd.h> has a function of that name.)
template <std::size_t Capacity = 1024>
class virtual_link {
 public:
  static_assert(Capacity > 0, "runnel: a wire needs room for at least one packet");

  /// Both directions alike.
  explicit virtual_link(pool& memory, const link_options& both = {}) noexcept : virtual_link(memory, both, both) {}
  /// What is sent at `a()` and at `b()`, each in its way.
  virtual_link(pool& memory, const link_options& from_a, const link_options& from_b) noexcept
      : forth_(memory, forth_heap_, Capacity, from_a, from_a.seed),
        back_(memory, back_heap_, Capacity, from_b, ~from_b.seed) {}
  virtual_link(const virtual_link&) = delete;
  virtual_link& operator=(const virtual_link&) = delete;

  /// The two ends. @{
  [[nodiscard]] link_end& a() noexcept { return a_; }
  [[nodiscard]] link_end& b() noexcept { return b_; }
  /// @}
  /// When the next packet is due at either end; `never` when none is on the way.
  [[nodiscard]] instant next_due() const noexcept {
    return forth_.next_due() < back_.next_due() ? forth_.next_due() : back_.next_due();
  }
  /// Takes nothing more; what is on the way still arrives. The ends are `done()` then.
  void close() noexcept {
    forth_.close();
    back_.close();
  }

 private:
  detail::link_entry forth_heap_[Capacity];
  detail::link_entry back_heap_[Capacity];
  detail::link_direction forth_;
  detail::link_direction back_;
  link_end a_{back_, forth_};
  link_end b_{forth_, back_};
};

}  // namespace runnel

#endif

// ==== runnel/device/null.hpp =========================================================================================
// A device that goes nowhere: an endless source of equal frames and a sink for any packet. For benchmarks and tests.
#ifndef RUNNEL_DEVICE_NULL_HPP
#define RUNNEL_DEVICE_NULL_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint32_t, uint64_t

namespace runnel {

/// What a null device hands out.
struct null_device_options {
  std::uint32_t length = 64;         ///< of every frame, in bytes
  bytes fill{};                      ///< what a frame begins with; zeros follow. Need not outlive the constructor
  bool copy = false;                 ///< write the bytes anew into every frame handed out
  std::uint64_t limit = UINT64_MAX;  ///< frames to hand out before it is done; the default never ends
};

/// Hands out frames in slots of a pool, as many as asked for and free, and releases what is transmitted.
///
/// Without `copy`, the bytes are written once into every slot that is free at construction, which touches all of them;
/// after that a frame shows what its last user left there, and costs nothing but the slot. With `copy` every frame
/// shows the template, and costs copying it.
class null_device {
 public:
  /// The pool must outlive the device. A `length` beyond what a slot of the pool holds is a programming error
  /// (RUNNEL_ASSERT), and is cut to that.
  explicit null_device(pool& memory, const null_device_options& options = {}) noexcept
      : memory_(memory), left_(options.limit), copy_(options.copy) {
    const std::uint32_t most = memory.packet_bytes();
    RUNNEL_ASSERT(options.length <= most);
    like_.length = options.length < most ? options.length : most;
    like_.headroom = static_cast<std::uint16_t>(memory.headroom());
    like_.tailroom = static_cast<std::uint16_t>(most - like_.length);
    template_ = memory.allocate_frame();
    if (template_.slot == no_slot) return;
    const bytes begin = options.fill.first(like_.length);
    copy_bytes(template_.data, begin.data(), begin.size());
    zero_bytes(template_.data + begin.size(), like_.length - begin.size());
    if (!copy_) fill_free_slots();
  }
  null_device(const null_device&) = delete;
  null_device& operator=(const null_device&) = delete;
  ~null_device() {
    if (template_.slot != no_slot) memory_.release(&template_, 1);
  }

  /// The pool that its frames are from.
  [[nodiscard]] pool& memory() noexcept { return memory_; }
  /// Up to `room` frames, fewer when the pool has not as many slots (counted in its `exhausted()`), stamped with `now`.
  template <class Take>
  [[nodiscard]] std::size_t receive(std::size_t room, instant now, Take&& take) noexcept {
    const std::size_t wanted = room < left_ ? room : static_cast<std::size_t>(left_);
    frame like = like_;
    like.timestamp = now;
    std::size_t n = 0;
    if (!copy_ || template_.slot == no_slot) {
      n = memory_.allocate_frames(wanted, like, take);
    } else {
      n = memory_.allocate_frames(wanted, like, [&](const frame& f) {
        copy_bytes(f.data, template_.data, f.length);
        take(f);
      });
    }
    left_ -= n;
    received_ += n;
    return n;
  }
  /// Whether the limit is reached.
  [[nodiscard]] bool done() const noexcept { return left_ == 0; }
  /// Releases all of them.
  [[nodiscard]] std::size_t transmit(packet* packets, std::size_t n, instant) noexcept {
    memory_.release(packets, n);
    transmitted_ += n;
    return n;
  }
  /// The same for frames that came from this device.
  [[nodiscard]] std::size_t transmit(const frame* frames, std::size_t n, instant) noexcept {
    memory_.release(frames, n);
    transmitted_ += n;
    return n;
  }

  /// Frames handed out so far.
  [[nodiscard]] std::uint64_t received() const noexcept { return received_; }
  /// Packets and frames taken so far.
  [[nodiscard]] std::uint64_t transmitted() const noexcept { return transmitted_; }

 private:
  // All free slots are held at once, as one long chain: the pool's free list is a stack, and what is given back comes
  // out again next.
  void fill_free_slots() noexcept {
    const std::uint32_t n = memory_.available();
    packet all;
    for (std::uint32_t i = 0; i < n; ++i) {
      packet p = memory_.allocate();
      if (!p) break;
      (void)p.append(bytes{template_.data, like_.length});
      if (all) (void)p.append(static_cast<packet&&>(all));
      all = static_cast<packet&&>(p);
    }
  }

  pool& memory_;
  frame template_{};  // a slot of its own, with the bytes
  frame like_{};      // what every frame says
  std::uint64_t left_;
  std::uint64_t received_ = 0;
  std::uint64_t transmitted_ = 0;
  bool copy_;
};
static_assert(receiving_device<null_device> && transmitting_device<null_device>);

}  // namespace runnel

#endif

// ==== runnel/device/pcap_format.hpp ==================================================================================
// The classic capture file: its header, its records, and the numbers of link types that both capture formats use.
// draft-ietf-opsawg-pcap, https://www.tcpdump.org/linktypes.html
#ifndef RUNNEL_DEVICE_PCAP_FORMAT_HPP
#define RUNNEL_DEVICE_PCAP_FORMAT_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint16_t, uint32_t

namespace runnel {

/// The longest packet that captures hold, in bytes: libpcap's MAXIMUM_SNAPLEN. A record that claims to be longer is
/// taken for damage.
inline constexpr std::uint32_t max_captured_length = 262'144;

/// How to read a packet of the link type that capture files call `linktype` (LINKTYPE_ETHERNET is 1). `unknown` for
/// the many that this library does not read.
[[nodiscard]] constexpr link_type link_from_linktype(std::uint32_t linktype) noexcept {
  switch (linktype) {
    case 1: return link_type::ethernet;
    case 101:  // LINKTYPE_RAW; 12 and 14 are its platform dependent ancestors, DLT_RAW
    case 12:
    case 14:
    case 228:  // LINKTYPE_IPV4
    case 229:  // LINKTYPE_IPV6
      return link_type::raw_ip;
    case 0:    // LINKTYPE_NULL
    case 108:  // LINKTYPE_LOOP
      return link_type::null_loop;
    case 113: return link_type::linux_sll;
    case 276: return link_type::linux_sll2;
    default: return link_type::unknown;
  }
}

/// The number under which capture files know a link type; LINKTYPE_USER0 (147) for `unknown`.
[[nodiscard]] constexpr std::uint16_t linktype_of(link_type link) noexcept {
  switch (link) {
    case link_type::ethernet: return 1;
    case link_type::raw_ip: return 101;
    case link_type::null_loop: return 0;
    case link_type::linux_sll: return 113;
    case link_type::linux_sll2: return 276;
    case link_type::unknown: break;
  }
  return 147;
}

namespace detail {

/// Loads from a file whose bytes are in host order, or swapped.
template <bool Swapped>
[[nodiscard]] RUNNEL_INLINE constexpr std::uint32_t file_u32(const std::byte* p) noexcept {
  const auto v = load<std::uint32_t>(p);
  return Swapped ? byte_swap(v) : v;
}
template <bool Swapped>
[[nodiscard]] RUNNEL_INLINE constexpr std::uint16_t file_u16(const std::byte* p) noexcept {
  const auto v = load<std::uint16_t>(p);
  return Swapped ? byte_swap(v) : v;
}

}  // namespace detail

/// The file header of a classic capture.
///
///     magic u32 | major u16 | minor u16 | reserved u32 | reserved u32 | snap length u32 | FCS and link type u32
struct pcap_file_header {
  /// Bytes of the header.
  static constexpr std::size_t size = 24;
  /// The first four bytes of a file, by the resolution of its timestamps. @{
  static constexpr std::uint32_t magic_microseconds = 0xa1b2c3d4;
  static constexpr std::uint32_t magic_nanoseconds = 0xa1b23c4d;
  /// @}

  bool swapped = false;                             ///< the file is not in this host's byte order
  bool nanoseconds = true;                          ///< the fraction of a second counts nanoseconds, else microseconds
  std::uint32_t snap_length = max_captured_length;  ///< packets were cut to this many bytes
  std::uint32_t linktype = 1;                       ///< see `link_from_linktype`

  /// Whether `b` begins with a magic number of this format, in either byte order. Looks at four bytes.
  [[nodiscard]] static constexpr bool recognise(bytes b) noexcept {
    if (b.size() < 4) return false;
    const auto v = detail::load<std::uint32_t>(b.data());
    return is_magic(v) || is_magic(byte_swap(v));
  }
  /// Reads the header from `b`, which `recognise` said yes to, of at least `size` bytes. False when it is of a
  /// version other than 2.x.
  [[nodiscard]] constexpr bool read(bytes b) noexcept {
    RUNNEL_ASSERT(b.size() >= size);
    swapped = !is_magic(detail::load<std::uint32_t>(b.data()));
    return swapped ? read_ordered<true>(b.data()) : read_ordered<false>(b.data());
  }
  /// Writes the header in host order to `to`, `size` bytes.
  constexpr void write(std::byte* to) const noexcept {
    detail::store(to, nanoseconds ? magic_nanoseconds : magic_microseconds);
    detail::store(to + 4, std::uint16_t{2});
    detail::store(to + 6, std::uint16_t{4});
    zero_bytes(to + 8, 8);
    detail::store(to + 16, snap_length);
    detail::store(to + 20, linktype);
  }

 private:
  static constexpr bool is_magic(std::uint32_t v) noexcept { return v == magic_microseconds || v == magic_nanoseconds; }
  template <bool Swapped>
  constexpr bool read_ordered(const std::byte* p) noexcept {
    nanoseconds = detail::file_u32<Swapped>(p) == magic_nanoseconds;
    snap_length = detail::file_u32<Swapped>(p + 16);
    linktype = detail::file_u32<Swapped>(p + 20) & 0x03ff'ffffu;  // above: whether and how long an FCS follows
    return detail::file_u16<Swapped>(p + 4) == 2;
  }
};

/// A record of a classic capture: seconds u32, fraction u32, captured length u32, length on the wire u32, bytes.
inline constexpr std::size_t pcap_record_header_size = 16;

}  // namespace runnel

#endif

// ==== runnel/device/pcapng_format.hpp ================================================================================
// The blocks of the pcapng capture format, as far as packets need them: sections, interfaces, their clocks.
// draft-ietf-opsawg-pcapng
#ifndef RUNNEL_DEVICE_PCAPNG_FORMAT_HPP
#define RUNNEL_DEVICE_PCAPNG_FORMAT_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // int64_t, uint8_t, uint16_t, uint32_t, uint64_t

namespace runnel {

/// Types of pcapng blocks. Every block is: type u32, total length u32, body padded to 4 bytes, total length u32.
namespace pcapng {
inline constexpr std::uint32_t section_header = 0x0a0d'0d0a;  ///< the same in both byte orders
/// Types of blocks. @{
inline constexpr std::uint32_t interface_description = 1;
inline constexpr std::uint32_t obsolete_packet = 2;
inline constexpr std::uint32_t simple_packet = 3;
inline constexpr std::uint32_t enhanced_packet = 6;
/// @}

/// How a section says its byte order.
inline constexpr std::uint32_t byte_order_magic = 0x1a2b'3c4d;
/// Codes of options. @{
inline constexpr std::uint16_t option_end = 0;
inline constexpr std::uint16_t shb_userappl = 4;
inline constexpr std::uint16_t if_tsresol = 9;
inline constexpr std::uint16_t if_tsoffset = 14;
/// @}

/// `n` rounded up to what a block or an option takes.
[[nodiscard]] constexpr std::size_t padded(std::size_t n) noexcept { return (n + 3) & ~std::size_t{3}; }
}  // namespace pcapng

/// Turns the ticks of an interface's clock into time. The resolution is if_tsresol: below 128 a tick is 10^-n
/// seconds, from 128 on 2^-(n-128) seconds.
class capture_ticks {
 public:
  /// Microseconds since 1970, as in an interface that says nothing.
  constexpr capture_ticks() noexcept : capture_ticks(6, 0) {}
  /// `offset` in seconds is added to every time (if_tsoffset).
  constexpr capture_ticks(std::uint8_t resolution, std::int64_t offset) noexcept : offset_(offset) {
    if ((resolution & 0x80u) != 0) {
      kind_ = binary;
      power_ = resolution & 0x7fu;
      return;
    }
    kind_ = resolution <= 9 ? multiply : divide;
    unsigned exponent = resolution <= 9 ? 9u - resolution : resolution - 9u;
    // Ticks below 10^-28 s: not even 2^64 of them are a nanosecond.
    if (exponent > 19) kind_ = binary, power_ = 127, exponent = 0;
    while (exponent-- != 0) factor_ *= 10;
  }
  /// Rounds towards the past. A file may claim any time: what lies further from 1970 than 146 years becomes that, so
  /// that the difference of two timestamps always fits a `duration`.
  [[nodiscard]] RUNNEL_INLINE constexpr instant at(std::uint64_t ticks) const noexcept {
    // The usual case: 10^-3 .. 10^-9, no offset, before 2116.
    std::uint64_t ns = 0;
    if (kind_ == multiply && offset_ == 0 && !__builtin_mul_overflow(ticks, factor_, &ns) &&
        ns <= static_cast<std::uint64_t>(latest)) [[likely]]
      return {static_cast<std::int64_t>(ns)};
    return at_slow(ticks);
  }

 private:
  enum kind : std::uint8_t { multiply, divide, binary };
  static constexpr std::int64_t latest = INT64_MAX / 2;

  constexpr instant at_slow(std::uint64_t ticks) const noexcept {
    std::uint64_t ns = 0;
    switch (kind_) {
      case multiply:
        if (__builtin_mul_overflow(ticks, factor_, &ns)) ns = static_cast<std::uint64_t>(latest);
        break;
      case divide: ns = ticks / factor_; break;
      case binary: ns = from_binary(ticks); break;
    }
    if (ns > static_cast<std::uint64_t>(latest)) ns = static_cast<std::uint64_t>(latest);
    std::int64_t offset = 0;
    std::int64_t sum = 0;
    if (__builtin_mul_overflow(offset_, std::int64_t{1'000'000'000}, &offset) ||
        __builtin_add_overflow(static_cast<std::int64_t>(ns), offset, &sum))
      return {offset_ < 0 ? -latest : latest};
    return {sum > latest ? latest : sum < -latest ? -latest : sum};
  }
  // ticks * 10^9 / 2^power, rounded down, without numbers of more than 64 bits.
  constexpr std::uint64_t from_binary(std::uint64_t ticks) const noexcept {
    const std::uint64_t seconds = power_ < 64 ? ticks >> power_ : 0;
    const std::uint64_t rest = power_ < 64 ? ticks & ((std::uint64_t{1} << power_) - 1) : ticks;
    std::uint64_t ns = 0;
    if (power_ <= 32) {
      ns = rest * 1'000'000'000 >> power_;
    } else {
      const std::uint64_t upper = (rest >> 32) * 1'000'000'000 + ((rest & 0xffff'ffffu) * 1'000'000'000 >> 32);
      ns = power_ - 32 < 64 ? upper >> (power_ - 32) : 0;
    }
    std::uint64_t sum = 0;
    if (__builtin_mul_overflow(seconds, std::uint64_t{1'000'000'000}, &sum) || __builtin_add_overflow(sum, ns, &sum))
      return latest;
    return sum;
  }

  std::uint64_t factor_ = 1;
  std::int64_t offset_;
  kind kind_ = multiply;
  std::uint8_t power_ = 0;
};

/// What an interface description block says: how to read the packets of one interface of a section.
struct capture_interface {
  /// How its timestamps count.
  capture_ticks clock{};
  std::uint32_t snap_length = 0;  ///< packets were cut to this many bytes; 0 is no limit
  std::uint16_t linktype = 0;     ///< the file's number, see `link_from_linktype`
  /// The same as this library calls it.
  link_type link = link_type::unknown;

  /// Reads the body of the block: after type and length, up to the second length. False when it is too short, or an
  /// option runs over its end.
  template <bool Swapped>
  [[nodiscard]] constexpr bool read(bytes body) noexcept {
    if (body.size() < 8) return false;
    linktype = detail::file_u16<Swapped>(body.data());
    link = link_from_linktype(linktype);
    snap_length = detail::file_u32<Swapped>(body.data() + 4);
    std::uint8_t resolution = 6;
    std::int64_t offset = 0;
    for (bytes rest = body.from(8); rest.size() >= 4;) {
      const std::uint16_t code = detail::file_u16<Swapped>(rest.data());
      const std::uint16_t length = detail::file_u16<Swapped>(rest.data() + 2);
      if (code == pcapng::option_end) break;
      rest = rest.from(4);
      if (length > rest.size()) return false;
      if (code == pcapng::if_tsresol && length >= 1) resolution = load_u8(rest.data());
      if (code == pcapng::if_tsoffset && length >= 8) {
        const std::uint64_t first = detail::file_u32<Swapped>(rest.data());
        const std::uint64_t second = detail::file_u32<Swapped>(rest.data() + 4);
        const bool big = little_endian_host == Swapped;
        offset = static_cast<std::int64_t>(big ? first << 32 | second : second << 32 | first);
      }
      rest = rest.from(pcapng::padded(length));
    }
    clock = capture_ticks(resolution, offset);
    return true;
  }
};

}  // namespace runnel

#endif

// ==== runnel/device/pcap_parser.hpp ==================================================================================
// Finds the packets in the bytes of a pcap or pcapng capture, in place: no file, no copy, no allocation.
// draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng
//
// Theory of operation. The parser is fed with a window onto the capture, and looks only at whole records. It says how
// much of the window it consumed, and how many bytes it wants to see, from there on, to get further; whoever feeds it
// brings those bytes together and calls again:
//
//     |<---------- consumed() --------->|<-- a record cut by the window's end -->|
//     +--------+--------+-----+---------+------------------------+
//     | record | record | ... | record  | rec                    |
//     +--------+--------+-----+---------+------------------------+
//                                       |<------ wanted() ----------------->|
//
// Blocks that it does not know, and what they say of their length, are skipped without being looked at, so they may be
// of any size. The header in front of a packet was read when the packet is handed out, so it serves as its headroom.
#ifndef RUNNEL_DEVICE_PCAP_PARSER_HPP
#define RUNNEL_DEVICE_PCAP_PARSER_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t, uint64_t

namespace runnel {

/// What is wrong with a capture.
enum class pcap_fault : std::uint8_t {
  none,
  empty,              ///< not a single byte
  not_a_capture,      ///< begins with no known magic number
  compressed,         ///< begins like a gzip, zstd, xz or lz4 file
  version,            ///< a version of the format that this library does not know
  cut_off,            ///< ends in the middle of a record or header
  packet_length,      ///< a packet longer than `max_captured_length`, or than the block around it
  block_length,       ///< a pcapng block of an impossible length, or whose two lengths differ
  block_too_big,      ///< a block that has to be looked at is longer than `pcap_parser::max_block`
  no_section,         ///< a section header without its byte-order magic
  no_interface,       ///< a packet of an interface that was not described before
  many_interfaces,    ///< more than `pcap_parser::max_interfaces` in a section
  interface_options,  ///< an interface description whose options do not fit it
};

/// The parser of both formats, which it tells apart by the first bytes. About 8 KiB.
class pcap_parser {
 public:
  /// How many interfaces a section may have.
  static constexpr std::size_t max_interfaces = 256;
  /// The longest block that is looked at, and so the most that `wanted()` ever is.
  static constexpr std::size_t max_block = std::size_t{16} << 20;

  /// Every frame will say that its bytes are lent by `lender`.
  explicit pcap_parser(std::uint8_t lender = 0) noexcept : lender_(lender) {}

  /// Calls `take(frame)` for up to `room` packets in `input`, which begins where the last call stopped consuming, and
  /// says for how many. Fewer than `room`: everything whole was consumed, see `wanted()`; or the capture is damaged,
  /// see `fault()`, and from then on there is nothing more. The frames show bytes of `input`.
  ///
  /// `missing` is what the snap length cut off. `iif` counts from 0 in each section. The timestamp of a simple
  /// packet block, which has none, is 0. Tailroom is 0, headroom what the record's header takes.
  template <class Take>
  [[nodiscard]] std::size_t parse(mutable_bytes input, std::size_t room, Take&& take) noexcept {
    consumed_ = 0;
    wanted_ = 0;
    if (fault_ != pcap_fault::none) return 0;
    std::size_t n = 0;
    if (format_ == format::unknown && !start(input)) return 0;
    if (format_ == format::pcap) {
      n = swapped_ ? records<true>(input, room, take) : records<false>(input, room, take);
    } else {
      do {
        order_changed_ = false;
        n += swapped_ ? blocks<true>(input, room - n, take) : blocks<false>(input, room - n, take);
      } while (order_changed_);
    }
    position_ += consumed_;
    return n;
  }
  /// How many bytes of the last input are done with.
  [[nodiscard]] std::size_t consumed() const noexcept { return consumed_; }
  /// How many bytes there must be, from the consumed ones on, for the next record or header. 0: as many as can be.
  [[nodiscard]] std::size_t wanted() const noexcept { return wanted_; }
  /// Says that nothing follows the consumed bytes but `left`, which were not enough. Sets `fault()` when that is the
  /// middle of something.
  void end(bytes left) noexcept {
    if (fault_ != pcap_fault::none) return;
    if (position_ == 0 && left.empty()) fail(pcap_fault::empty, 0, 0);
    else if (position_ == 0 && left.size() < 4) fail(pcap_fault::not_a_capture, 0, 0);
    else if (skip_ != 0) fail(pcap_fault::cut_off, record_, skip_);
    else if (!left.empty()) fail(pcap_fault::cut_off, position_, wanted_ - left.size());
  }

  /// What was wrong, if anything was.
  [[nodiscard]] pcap_fault fault() const noexcept { return fault_; }
  /// The sentence that goes with `fault()`, about the capture called `name`.
  [[nodiscard]] error explain(const char* name) const noexcept;
  /// How many bytes of the capture were consumed in all.
  [[nodiscard]] std::uint64_t position() const noexcept { return position_; }
  /// Whether the file header was read: `linktype` speaks then.
  [[nodiscard]] bool started() const noexcept { return format_ != format::unknown; }
  /// Whether it is a pcapng file; otherwise it is a classic capture.
  [[nodiscard]] bool is_pcapng() const noexcept { return format_ == format::pcapng; }
  /// How many interfaces the current section described so far; 1 in a classic capture.
  [[nodiscard]] std::size_t interfaces() const noexcept { return interfaces_; }
  /// Interface `i` of the current section; null when there is none.
  [[nodiscard]] const capture_interface* interface_at(std::size_t i) const noexcept {
    return i < interfaces_ ? interface_ + i : nullptr;
  }

 private:
  enum class format : std::uint8_t { unknown, pcap, pcapng };

  void fail(pcap_fault fault, std::uint64_t where, std::uint64_t number) noexcept {
    fault_ = fault;
    record_ = where;
    number_ = number;
  }
  [[nodiscard]] bool start(bytes input) noexcept;
  template <bool Swapped, class Take>
  [[nodiscard]] std::size_t records(mutable_bytes input, std::size_t room, Take& take) noexcept;
  template <bool Swapped, class Take>
  [[nodiscard]] std::size_t blocks(mutable_bytes input, std::size_t room, Take& take) noexcept;
  template <bool Swapped>
  [[nodiscard]] bool packet_block(std::uint32_t type, std::byte* p, std::size_t total, frame& f) noexcept;
  [[nodiscard]] bool show(frame& f, std::byte* data, std::size_t headroom, std::size_t room, std::uint32_t captured,
                          std::uint32_t wire, std::uint32_t iif) noexcept;
  [[nodiscard]] bool section_block(const std::byte* p, std::size_t total) noexcept;

  // Sets what is the same in many frames.
  RUNNEL_INLINE void blank(frame& f, std::size_t headroom, std::size_t iif, link_type link) const noexcept {
    f.slot = no_slot;
    f.headroom = static_cast<std::uint16_t>(headroom);
    f.tailroom = 0;
    f.iif = static_cast<std::uint16_t>(iif);
    f.link = link;
    f.lender = lender_;
    f.queue = 0;
    f.checksum = checksum_status::unknown;
  }
  static std::uint16_t missing(std::uint32_t wire, std::uint32_t captured) noexcept {
    const std::uint32_t cut = wire > captured ? wire - captured : 0;
    return cut < 0xffff ? static_cast<std::uint16_t>(cut) : std::uint16_t{0xffff};
  }

  std::uint8_t lender_;
  format format_ = format::unknown;
  bool swapped_ = false;
  bool order_changed_ = false;
  pcap_fault fault_ = pcap_fault::none;
  std::uint32_t fraction_ = 1;  // nanoseconds in the unit of a classic record's fraction
  std::size_t consumed_ = 0;
  std::size_t wanted_ = 0;
  std::uint64_t position_ = 0;  // in the capture, of the beginning of the current input
  std::uint64_t skip_ = 0;      // bytes still to be passed over
  std::uint64_t record_ = 0;    // where the faulty record, or the one being skipped, begins
  std::uint64_t number_ = 0;    // what goes with the fault
  std::size_t interfaces_ = 0;
  capture_interface interface_[max_interfaces];
};

inline bool pcap_parser::start(bytes input) noexcept {
  wanted_ = 4;
  if (input.size() < 4) return false;
  if (pcap_file_header::recognise(input)) {
    wanted_ = pcap_file_header::size;
    if (input.size() < pcap_file_header::size) return false;
    pcap_file_header header;
    if (!header.read(input)) {
      fail(pcap_fault::version, 0, load_u8(input.data() + (header.swapped == little_endian_host ? 5 : 4)));
      return false;
    }
    format_ = format::pcap;
    swapped_ = header.swapped;
    fraction_ = header.nanoseconds ? 1 : 1000;
    interfaces_ = 1;
    interface_[0].clock = capture_ticks(header.nanoseconds ? 9 : 6, 0);
    interface_[0].snap_length = header.snap_length;
    interface_[0].linktype = static_cast<std::uint16_t>(header.linktype);
    interface_[0].link = link_from_linktype(header.linktype);
    consumed_ = pcap_file_header::size;
    wanted_ = 0;
    return true;
  }
  const std::uint32_t magic = load_be32(input.data());
  if (magic == pcapng::section_header) {
    format_ = format::pcapng;
    wanted_ = 0;
    return true;
  }
  const bool packed = magic >> 16 == 0x1f8b || magic == 0x28b5'2ffd || magic == 0xfd37'7a58 || magic == 0x0422'4d18;
  fail(packed ? pcap_fault::compressed : pcap_fault::not_a_capture, 0, magic);
  return false;
}

template <bool Swapped, class Take>
std::size_t pcap_parser::records(mutable_bytes input, std::size_t room, Take& taken_by) noexcept {
  detail::local_taker take(taken_by);
  std::byte* p = input.data() + consumed_;
  const std::byte* const end = input.data() + input.size();
  const std::int64_t fraction = fraction_;
  const link_type link = interface_[0].link;
  std::size_t n = 0;
  while (n < room) {
    const auto left = static_cast<std::size_t>(end - p);
    if (left < pcap_record_header_size) {
      wanted_ = pcap_record_header_size;
      break;
    }
    const std::uint32_t captured = detail::file_u32<Swapped>(p + 8);
    if (captured > max_captured_length) [[unlikely]] {
      fail(pcap_fault::packet_length, position_ + static_cast<std::size_t>(p - input.data()), captured);
      break;
    }
    if (captured > left - pcap_record_header_size) {
      wanted_ = pcap_record_header_size + captured;
      break;
    }
    // Where the next record is stands in this one: its line must be near by then.
    prefetch_to_read(p + std::size_t{8} * 64);
    frame f;
    f.data = p + pcap_record_header_size;
    f.timestamp.ns = std::int64_t{detail::file_u32<Swapped>(p)} * 1'000'000'000 +
                     std::int64_t{detail::file_u32<Swapped>(p + 4)} * fraction;
    f.length = captured;
    f.missing = missing(detail::file_u32<Swapped>(p + 12), captured);
    blank(f, pcap_record_header_size, 0, link);
    take(f);
    ++n;
    p += pcap_record_header_size + captured;
  }
  consumed_ = static_cast<std::size_t>(p - input.data());
  return n;
}

template <bool Swapped, class Take>
std::size_t pcap_parser::blocks(mutable_bytes input, std::size_t room, Take& taken_by) noexcept {
  detail::local_taker take(taken_by);
  std::size_t at = consumed_;
  std::size_t n = 0;
  while (n < room) {
    const std::size_t left = input.size() - at;
    if (skip_ != 0) {
      const std::size_t step = skip_ < left ? static_cast<std::size_t>(skip_) : left;
      skip_ -= step;
      at += step;
      if (skip_ == 0) continue;
      wanted_ = 1;
      break;
    }
    if (left < 12) {
      wanted_ = 12;
      break;
    }
    std::byte* p = input.data() + at;
    const auto type = detail::file_u32<Swapped>(p);
    if (type == pcapng::enhanced_packet && left >= 32) [[likely]] {
      // The usual packet, all its bounds at once. What is wrong with another one is found below.
      const std::size_t total = detail::file_u32<Swapped>(p + 4);
      const std::size_t iif = detail::file_u32<Swapped>(p + 8);
      const std::uint32_t captured = detail::file_u32<Swapped>(p + 20);
      if (total >= 32 && total <= left && total <= max_block && total % 4 == 0 && captured <= total - 32 &&
          captured <= max_captured_length && iif < interfaces_ && detail::file_u32<Swapped>(p + total - 4) == total)
          [[likely]] {
        prefetch_to_read(p + std::size_t{8} * 64);  // as in records()
        frame f;
        const std::uint64_t high = detail::file_u32<Swapped>(p + 12);
        f.data = p + 28;
        f.timestamp = interface_[iif].clock.at(high << 32 | detail::file_u32<Swapped>(p + 16));
        f.length = captured;
        f.missing = missing(detail::file_u32<Swapped>(p + 24), captured);
        blank(f, 28, iif, interface_[iif].link);
        take(f);
        ++n;
        at += total;
        continue;
      }
    }
    const std::uint64_t where = position_ + at;
    if (type == pcapng::section_header) {
      // Its length can be read only when its byte order is known, which the third word tells.
      const auto magic = detail::load<std::uint32_t>(p + 8);
      const bool swapped = magic != pcapng::byte_order_magic;
      if (swapped && magic != byte_swap(pcapng::byte_order_magic)) {
        fail(pcap_fault::no_section, where, 0);
        break;
      }
      if (swapped != Swapped) {
        swapped_ = swapped;
        order_changed_ = true;  // parse() calls the other instance
        break;
      }
    }
    const std::size_t total = detail::file_u32<Swapped>(p + 4);
    if (total < 12 || total % 4 != 0) {
      fail(pcap_fault::block_length, where, total);
      break;
    }
    const bool is_packet =
        type == pcapng::enhanced_packet || type == pcapng::simple_packet || type == pcapng::obsolete_packet;
    if (!is_packet && type != pcapng::section_header && type != pcapng::interface_description) {
      skip_ = total;
      record_ = where;
      continue;
    }
    if (total > max_block) {
      fail(pcap_fault::block_too_big, where, total);
      break;
    }
    if (total > left) {
      wanted_ = total;
      break;
    }
    if (detail::file_u32<Swapped>(p + total - 4) != total) {
      fail(pcap_fault::block_length, where, total);
      break;
    }
    record_ = where;
    if (is_packet) {
      frame f;
      if (!packet_block<Swapped>(type, p, total, f)) break;
      take(f);
      ++n;
    } else if (type == pcapng::section_header) {
      if (!section_block(p, total)) break;
    } else if (interfaces_ == max_interfaces) {
      fail(pcap_fault::many_interfaces, where, max_interfaces);
      break;
    } else if (interface_[interfaces_].read<Swapped>({p + 8, total - 12})) {
      ++interfaces_;
    } else {
      fail(pcap_fault::interface_options, where, total);
      break;
    }
    at += total;
  }
  consumed_ = at;
  return n;
}

inline bool pcap_parser::section_block(const std::byte* p, std::size_t total) noexcept {
  if (total < 28) {
    fail(pcap_fault::block_length, record_, total);
    return false;
  }
  const auto version = swapped_ ? detail::file_u16<true>(p + 12) : detail::file_u16<false>(p + 12);
  if (version != 1) {
    fail(pcap_fault::version, record_, version);
    return false;
  }
  interfaces_ = 0;
  return true;
}

template <bool Swapped>
bool pcap_parser::packet_block(std::uint32_t type, std::byte* p, std::size_t total, frame& f) noexcept {
  const std::size_t before = type == pcapng::simple_packet ? 12 : 28;
  if (total < before + 4) {
    fail(pcap_fault::block_length, record_, total);
    return false;
  }
  const std::size_t room = total - before - 4;
  if (type == pcapng::simple_packet) {
    const auto wire = detail::file_u32<Swapped>(p + 8);
    const std::uint32_t snap = interfaces_ != 0 ? interface_[0].snap_length : 0;
    const std::uint32_t captured = snap != 0 && snap < wire ? snap : wire;
    f.timestamp = {};
    // Without a snap length in the interface, the block's own length says where the packet was cut.
    return show(f, p + before, before, room, captured <= room ? captured : static_cast<std::uint32_t>(room), wire, 0);
  }
  std::uint32_t iif = 0;
  if (type == pcapng::enhanced_packet) iif = detail::file_u32<Swapped>(p + 8);
  else iif = detail::file_u16<Swapped>(p + 8);
  const std::uint64_t high = detail::file_u32<Swapped>(p + 12);
  if (!show(f, p + before, before, room, detail::file_u32<Swapped>(p + 20), detail::file_u32<Swapped>(p + 24), iif))
    return false;
  f.timestamp = interface_[iif].clock.at(high << 32 | detail::file_u32<Swapped>(p + 16));
  return true;
}

inline bool pcap_parser::show(frame& f, std::byte* data, std::size_t headroom, std::size_t room, std::uint32_t captured,
                              std::uint32_t wire, std::uint32_t iif) noexcept {
  if (iif >= interfaces_) [[unlikely]] {
    fail(pcap_fault::no_interface, record_, iif);
    return false;
  }
  if (captured > room || captured > max_captured_length) [[unlikely]] {
    fail(pcap_fault::packet_length, record_, captured);
    return false;
  }
  f.data = data;
  f.length = captured;
  f.missing = missing(wire, captured);
  blank(f, headroom, iif, interface_[iif].link);
  return true;
}

inline error pcap_parser::explain(const char* name) const noexcept {
  text<160> why;
  const char* advice = "the packets before it were read";
  switch (fault_) {
    case pcap_fault::none: return {"pcap", "read", name, "nothing is wrong"};
    case pcap_fault::empty: return {"pcap", "read", name, "the file is empty", "a capture begins with a header"};
    case pcap_fault::not_a_capture:
      return {"pcap", "read", name, "it does not begin like a capture", "give a pcap or pcapng file"};
    case pcap_fault::compressed:
      return {"pcap", "read", name, "it is compressed", "unpack it and pipe it in: zcat file.pcap.gz | program -"};
    case pcap_fault::version:
      why << "the header at byte " << record_ << " says format version " << number_;
      advice = "this library knows pcap 2 and pcapng 1";
      break;
    case pcap_fault::cut_off:
      why << "it ends " << number_ << " bytes before the end of the record at byte " << record_;
      break;
    case pcap_fault::packet_length:
      why << "the record at byte " << record_ << " claims a packet of " << number_ << " bytes, which cannot be";
      break;
    case pcap_fault::block_length:
      why << "the block at byte " << record_ << " claims a length of " << number_
          << " bytes, which does not fit or is not repeated at its end";
      break;
    case pcap_fault::block_too_big:
      why << "the block at byte " << record_ << " is " << number_ << " bytes long, more than 16 MiB";
      break;
    case pcap_fault::no_section: why << "the section header at byte " << record_ << " has no byte-order magic"; break;
    case pcap_fault::no_interface:
      why << "the packet at byte " << record_ << " is of interface " << number_ << ", which was not described";
      break;
    case pcap_fault::many_interfaces:
      why << "more than " << number_ << " interfaces in the section before byte " << record_;
      break;
    case pcap_fault::interface_options:
      why << "the interface description at byte " << record_ << " is shorter than its options";
      break;
  }
  return {"pcap", "read", name, why.c_str(), advice};
}

}  // namespace runnel

#endif

// ==== runnel/device/pcap_reader.hpp ==================================================================================
// A capture as a device: pcap and pcapng files and pipes, packet by packet, without copying one.
//
//     mapped_pool memory = ...;
//     auto in = pcap_reader::open("in.pcap", memory);
//     if (!in) return fail(in.error());
//     while (!in->done()) { n = in->receive(64, now, into_array(frames)); ... }
//     if (in->failure()) warn(*in->failure());
//
// Theory of operation. The file is read in large blocks into memory of the reader's own, and packets are lent from
// there, where they lie. When only a piece of a record is left in the block, it is moved to just before the place
// where the next block is read to, so that a read always fills whole pages:
//
//     |<------ front ----->|<-------------- block ---------------->|
//     |        | cut record|...of it | record | record | rec       |
//
// Because bytes are overwritten then, nothing is read while somebody still holds a packet of this reader.
#ifndef RUNNEL_DEVICE_PCAP_READER_HPP
#define RUNNEL_DEVICE_PCAP_READER_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // int64_t, uint8_t, uint64_t

#if defined(__unix__) || defined(__APPLE__)

#include <errno.h>     // errno, EINTR, EAGAIN
#include <fcntl.h>     // open
#include <poll.h>      // poll
#include <sys/stat.h>  // fstat
#include <unistd.h>    // read

namespace runnel {

/// When the packets of a capture come.
enum class pace : std::uint8_t {
  unlimited,  ///< as fast as they are taken
  capture,    ///< as far apart as in the capture; the first one at once
};

/// How a capture is read.
struct pcap_reader_options {
  runnel::pace pace = pace::unlimited;
  std::size_t block = std::size_t{256} << 10;  ///< bytes that are read at once; at least 4096, at most 1 GiB
};

/// A receiving device over a capture. Move-only. Its packets are lent: they live until the next `receive`, which
/// hands out nothing as long as one of them is held (`keep()` what must stay). All must be gone when the reader is
/// destroyed (RUNNEL_ASSERT).
///
/// Memory is taken at `open`: the block and 64 KiB. It is taken anew, once for each record that is longer than all of
/// that, up to `pcap_parser::max_block` and the block. A reader of a pipe waits for nothing but its first header, at
/// `open`: with nothing to read, `receive` returns 0, and `wait_handle()` is what to wait on.
class pcap_reader {
 public:
  /// Opens the capture at `path`, "-" being standard input. Packets get their descriptors from `memory`, which must
  /// outlive the reader. Fails, with a sentence, when it cannot be read or does not begin like a capture.
  [[nodiscard]] static result<pcap_reader, error> open(const char* path, pool& memory,
                                                       pcap_reader_options options = {}) noexcept {
    if (detail::is_dash(path)) return start({0, false}, "standard input", memory, options);
    int fd = -1;
    do fd = ::open(path, O_RDONLY | O_CLOEXEC);
    while (fd < 0 && errno == EINTR);
    if (fd < 0) {
      const int number = errno;
      return error("pcap", "open", detail::short_name(path).c_str(), ::strerror(number),
                   "give the path of a capture, or - for standard input", number);
    }
    return start({fd, true}, path, memory, options);
  }
  /// The same over an open file descriptor, which the reader closes. `name` is for messages, and is copied.
  [[nodiscard]] static result<pcap_reader, error> adopt(int fd, const char* name, pool& memory,
                                                        pcap_reader_options options = {}) noexcept {
    return start({fd, true}, name, memory, options);
  }
  pcap_reader(pcap_reader&& other) noexcept
      : file_(static_cast<detail::file_handle&&>(other.file_)),
        name_(other.name_),
        memory_(other.memory_),
        options_(other.options_),
        parser_(other.parser_),
        storage_(static_cast<detail::mapping&&>(other.storage_)),
        begin_(other.begin_),
        end_(other.end_),
        held_(other.held_),
        holds_(other.holds_),
        shift_(other.shift_),
        shifted_(other.shifted_),
        regular_(other.regular_),
        finished_(other.finished_),
        failed_(other.failed_),
        size_(other.size_),
        failure_(other.failure_),
        lender_(other.lender_) {
    other.memory_ = nullptr;
    other.finished_ = true;
  }
  pcap_reader& operator=(pcap_reader&&) = delete;
  ~pcap_reader() {
    if (memory_ == nullptr) return;
    give_back_held();
    RUNNEL_ASSERT(memory_->lent(lender_) == 0);
    memory_->remove_lender(lender_);
  }

  [[nodiscard]] pool& memory() noexcept { return *memory_; }
  /// See `receiving_device`. Fewer frames than `room` does not mean that the end is near.
  template <class Take>
  [[nodiscard]] std::size_t receive(std::size_t room, instant now, Take&& take) noexcept {
    if (memory_->lent(lender_) != (holds_ ? 1u : 0u) || room == 0) return 0;
    if (options_.pace == pace::capture) return receive_due(room, now, take);
    const std::size_t n = next(room, take);
    memory_->lend(lender_, static_cast<std::uint32_t>(n));
    return n;
  }
  /// Whether the capture is at its end, or no further packet can be read (`failure()`).
  [[nodiscard]] bool done() const noexcept { return finished_ && !holds_; }
  /// Why reading stopped before the end: a cut-off or damaged capture, or an error of the system. Null while all is
  /// well. Everything before the damage was handed out.
  [[nodiscard]] const error* failure() const noexcept { return failed_ ? &failure_ : nullptr; }

  /// How much of the capture was handed out or passed over, in bytes.
  [[nodiscard]] std::uint64_t bytes_read() const noexcept { return parser_.position(); }
  /// How long the capture is in bytes; 0 when it is not a regular file.
  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
  /// The link type of an interface of the current section, `unknown` when there is none (yet). A classic capture has
  /// interface 0 only.
  [[nodiscard]] link_type link_of(std::size_t iif) const noexcept {
    const capture_interface* i = parser_.interface_at(iif);
    return i != nullptr ? i->link : link_type::unknown;
  }
  /// What is known of the format and its interfaces.
  [[nodiscard]] const pcap_parser& format() const noexcept { return parser_; }
  /// When the next `receive` may have something: a regular file at once (the earliest instant), with `pace::capture`
  /// when the packet that waits is due; `never` after the end, and for a pipe, where `wait_handle()` tells.
  [[nodiscard]] instant next_due() const noexcept {
    if (holds_) return held_due();
    return finished_ || !regular_ ? never : instant{INT64_MIN};
  }
  /// The file descriptor that becomes readable when there is more; -1 for a regular file, which needs no waiting.
  [[nodiscard]] int wait_handle() const noexcept { return regular_ ? -1 : file_.get(); }
  /// Sleeps until a pipe has more, or a signal comes; returns at once for a regular file.
  void wait() const noexcept {
    ::pollfd watched{wait_handle(), POLLIN, 0};
    if (watched.fd >= 0 && !done()) (void)::poll(&watched, 1, -1);
  }

 private:
  static constexpr std::size_t front = std::size_t{64} << 10;

  pcap_reader(detail::file_handle&& file, const char* name, pool& memory, pcap_reader_options options,
              std::uint8_t lender) noexcept
      : file_(static_cast<detail::file_handle&&>(file)),
        name_(name),
        memory_(&memory),
        options_(options),
        parser_(lender),
        storage_(front + options.block),
        begin_(front),
        end_(front),
        lender_(lender) {}

  static result<pcap_reader, error> start(detail::file_handle&& file, const char* path, pool& memory,
                                          pcap_reader_options options) noexcept {
    const detail::short_name name(path);
    struct ::stat about{};
    if (::fstat(file.get(), &about) != 0) {
      const int number = errno;
      return error("pcap", "look at", name.c_str(), ::strerror(number), "", number);
    }
    if (S_ISDIR(about.st_mode))
      return error("pcap", "open", name.c_str(), "it is a directory", "give the path of a capture", EISDIR);
    const std::uint8_t lender = memory.add_lender();
    if (lender == 0)
      return error("pcap", "open", name.c_str(), "too many devices lend to packets of one pool already",
                   "give this capture a pool of its own");
    constexpr std::size_t most = std::size_t{1} << 30;
    options.block = options.block < 4096 ? 4096 : options.block > most ? most : (options.block + 4095) / 4096 * 4096;
    pcap_reader reader(static_cast<detail::file_handle&&>(file), path, memory, options, lender);
    if (reader.storage_.data() == nullptr)
      return error("pcap", "open", name.c_str(), "no memory for a block", "choose a smaller one", ENOMEM);
    reader.regular_ = S_ISREG(about.st_mode);
    if (reader.regular_) reader.size_ = static_cast<std::uint64_t>(about.st_size);
#if defined(__linux__)
    if (reader.regular_) (void)::posix_fadvise(reader.file_.get(), 0, 0, POSIX_FADV_SEQUENTIAL);
#endif
    // The header decides whether this is a capture at all, so open() waits for it.
    while (!reader.parser_.started()) {
      if (!reader.finished_) reader.wait();
      (void)reader.next(0, into_array(nullptr));
      if (reader.failed_) return reader.failure_;
    }
    return reader;
  }

  // Parses what there is, and reads more when that gave nothing.
  template <class Take>
  std::size_t next(std::size_t room, Take&& take) noexcept {
    for (;;) {
      const bool started = parser_.started();
      const std::size_t n = parser_.parse({storage_.data() + begin_, end_ - begin_}, room, take);
      begin_ += parser_.consumed();
      if (n != 0) return n;
      if (parser_.fault() != pcap_fault::none) {
        fail(parser_.explain(name_.c_str()));
        return 0;
      }
      if (finished_ || (!started && parser_.started()) || !fill()) return 0;
    }
  }
  // Reads once, behind what is left. False when there is nothing now, or never again.
  bool fill() noexcept {
    if (!make_room()) return false;
    if (!regular_) {
      ::pollfd one{file_.get(), POLLIN, 0};
      if (::poll(&one, 1, 0) != 1) return false;  // a signal ends it too, and a read would wait
    }
    ::ssize_t n = 0;
    do n = ::read(file_.get(), storage_.data() + end_, storage_.size() - end_);
    while (n < 0 && errno == EINTR);
    if (n > 0) {
      end_ += static_cast<std::size_t>(n);
      return true;
    }
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return false;
    if (n < 0) {
      const int number = errno;
      fail({"pcap", "read", name_.c_str(), ::strerror(number), "the packets before it were read", number});
      return false;
    }
    finished_ = true;
    parser_.end({storage_.data() + begin_, end_ - begin_});
    if (parser_.fault() != pcap_fault::none) fail(parser_.explain(name_.c_str()));
    return false;
  }
  // Makes sure that the record which begins at begin_ fits behind it, and that a read of some size does.
  bool make_room() noexcept {
    const std::size_t left = end_ - begin_;
    const std::size_t need = parser_.wanted() > left ? parser_.wanted() : left + 1;
    // A pipe gives small pieces: go on behind the last one while there is room.
    if (need <= storage_.size() - begin_ && storage_.size() - end_ >= 4096 && left != 0) return true;
    std::size_t to = left <= front ? front - left : 0;
    if (need > storage_.size() - to) to = 0;
    if (need > storage_.size()) {
      detail::mapping larger(front + (need > options_.block ? (need + options_.block) / 4096 * 4096 : options_.block));
      if (larger.data() == nullptr) {
        text<64> why;
        why << "no memory for a record of " << std::uint64_t{need} << " bytes";
        fail({"pcap", "read", name_.c_str(), why.c_str(), "the packets before it were read", ENOMEM});
        return false;
      }
      __builtin_memcpy(larger.data(), storage_.data() + begin_, left);
      storage_ = static_cast<detail::mapping&&>(larger);
    } else {
      __builtin_memmove(storage_.data() + to, storage_.data() + begin_, left);
    }
    begin_ = to;
    end_ = to + left;
    return true;
  }
  void fail(const error& why) noexcept {
    failure_ = why;
    failed_ = true;
    finished_ = true;
  }

  // One packet is looked at ahead; while it waits, its bytes count as lent.
  template <class Take>
  std::size_t receive_due(std::size_t room, instant now, Take& take) noexcept {
    std::size_t n = 0;
    while (n < room) {
      // Bytes of packets that were just handed out must stay, so only the first may come from a new read.
      if (!holds_ && !look_ahead(n != 0)) break;
      if (!shifted_) {
        if (__builtin_sub_overflow(now.ns, held_.timestamp.ns, &shift_.ns))
          shift_.ns = held_.timestamp.ns < 0 ? INT64_MAX : INT64_MIN;
        shifted_ = true;
      }
      if (held_due() > now) break;
      holds_ = false;
      take(held_);
      ++n;
    }
    return n;
  }
  // A capture may claim times that lie too far apart for a number: what comes after the last one comes then, not now.
  [[nodiscard]] instant held_due() const noexcept {
    std::int64_t due = 0;
    if (__builtin_add_overflow(held_.timestamp.ns, shift_.ns, &due)) due = shift_.ns < 0 ? INT64_MIN : INT64_MAX;
    return {due < INT64_MAX ? due : INT64_MAX - 1};
  }
  bool look_ahead(bool without_reading) noexcept {
    if (without_reading) {
      const std::size_t n = parser_.parse({storage_.data() + begin_, end_ - begin_}, 1, into_array(&held_));
      begin_ += parser_.consumed();
      holds_ = n != 0;
    } else {
      holds_ = next(1, into_array(&held_)) != 0;
    }
    if (holds_) memory_->lend(lender_, 1);
    return holds_;
  }
  void give_back_held() noexcept {
    if (holds_) memory_->release(&held_, 1);
    holds_ = false;
  }

  detail::file_handle file_;
  detail::short_name name_;
  pool* memory_;
  pcap_reader_options options_;
  pcap_parser parser_;
  detail::mapping storage_;
  std::size_t begin_;  // of what is not parsed yet, in storage_
  std::size_t end_;
  frame held_{};
  bool holds_ = false;
  duration shift_{};  // from the capture's time to the caller's
  bool shifted_ = false;
  bool regular_ = false;
  bool finished_ = false;
  bool failed_ = false;
  std::uint64_t size_ = 0;
  error failure_{"pcap", "read", "", ""};
  std::uint8_t lender_;
};
static_assert(receiving_device<pcap_reader>);

}  // namespace runnel

#endif  // defined(__unix__) || defined(__APPLE__)

#endif

// ==== runnel/device/pcap_record.hpp ==================================================================================
// Puts pcap and pcapng records together in a block of memory: the part of a capture writer that needs no file.
// draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng
#ifndef RUNNEL_DEVICE_PCAP_RECORD_HPP
#define RUNNEL_DEVICE_PCAP_RECORD_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t, uint64_t

namespace runnel {

/// Which file format a capture is written in.
enum class capture_format : std::uint8_t {
  pcapng,  ///< several interfaces and link types in one file
  pcap,    ///< one link type; what the oldest tools read
};

/// How a capture is written.
struct pcap_writer_options {
  /// Which file format.
  capture_format format = capture_format::pcapng;
  link_type link = link_type::ethernet;             ///< of literal bytes; in a classic capture of every packet
  std::uint32_t snap_length = max_captured_length;  ///< longer packets are cut to this many bytes; at most the default
  bool nanoseconds = true;                          ///< resolution of timestamps, else microseconds
  std::size_t block = std::size_t{256} << 10;  ///< bytes that are written at once; at least one record, at most 1 GiB
};

/// What is known of a packet that is to be written.
struct capture_record {
  /// When it was received.
  instant timestamp{};
  std::size_t length = 0;       ///< bytes that are there
  std::size_t wire_length = 0;  ///< bytes that there were
  /// By which interface it came.
  std::uint16_t iif = 0;
  /// What its first header is.
  link_type link = link_type::ethernet;
};

/// A block of records in the making. The memory is the caller's and must outlive it.
///
/// In a pcapng file every pair of link type and interface number gets an interface description, before its first
/// packet; after `max_interfaces` of them a further interface is written as the first one of its link type.
/// Timestamps before 1970 become 1970, in a classic capture those after 2106 become 2106.
class capture_block {
 public:
  /// How many pairs of link type and interface number a pcapng file can have.
  static constexpr std::size_t max_interfaces = 64;
  /// The most that a record takes beside the packet's bytes: file header, interface description, packet header.
  static constexpr std::size_t overhead = 256;

  /// How much memory a block takes, in bytes.
  [[nodiscard]] static constexpr std::size_t bytes_needed(const pcap_writer_options& o) noexcept {
    const std::size_t least = overhead + snap(o);
    const std::size_t most = std::size_t{1} << 30;
    return o.block < least ? least : o.block > most ? most : o.block;
  }
  /// `memory` is at least `bytes_needed(options)` bytes long.
  capture_block(mutable_bytes memory, const pcap_writer_options& options) noexcept
      : memory_(memory), options_(options) {
    options_.snap_length = snap(options);
  }
  /// What it was made with.
  [[nodiscard]] const pcap_writer_options& options() const noexcept { return options_; }
  /// The bytes so far.
  [[nodiscard]] const std::byte* data() const noexcept { return memory_.data(); }
  /// How many bytes so far.
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  /// Packets in the block.
  [[nodiscard]] std::size_t packets() const noexcept { return packets_; }
  /// Empties the block when it was written. Headers are not made again.
  void clear() noexcept {
    size_ = packets_ = 0;
    headed_ = false;
  }

  /// How many bytes of a packet are kept.
  [[nodiscard]] std::size_t captured(const capture_record& r) const noexcept {
    return r.length < options_.snap_length ? r.length : options_.snap_length;
  }
  /// Whether the format can hold the packet at all: a classic capture has one link type, and a pcapng section no more
  /// than `max_interfaces` interfaces.
  [[nodiscard]] bool accepts(const capture_record& r) const noexcept {
    if (options_.format == capture_format::pcap) return r.link == options_.link;
    return interfaces_ < max_interfaces || find_interface(r) < max_interfaces;
  }
  /// Makes everything of a record but the packet's bytes, `captured(r)` of which go to where the result points, before
  /// `finish`. Null, and nothing changed but headers, when the block is too full or `accepts` says no.
  [[nodiscard]] std::byte* begin(const capture_record& r) noexcept {
    if (memory_.size() - size_ < overhead + captured(r) || !accepts(r)) return nullptr;
    if (!started_) start();
    return options_.format == capture_format::pcap ? begin_pcap(r) : begin_pcapng(r);
  }
  /// Ends the record that `begin` began.
  void finish(const capture_record& r) noexcept {
    const std::size_t n = captured(r);
    std::byte* end = memory_.data() + size_;
    if (options_.format == capture_format::pcap) {
      size_ += pcap_record_header_size + n;
    } else {
      const std::size_t total = packet_block_size(n);
      zero_bytes(end + 28 + n, pcapng::padded(n) - n);
      detail::store(end + total - 4, static_cast<std::uint32_t>(total));
      size_ += total;
    }
    ++packets_;
  }
  /// Makes the headers of a file without packets, unless there are headers already.
  void open_empty() noexcept {
    if (started_) return;
    start();
    if (options_.format == capture_format::pcapng) (void)add_interface({{}, 0, 0, 0, options_.link});
  }

  /// A part of the block, in whole records.
  struct whole {
    /// In bytes.
    std::size_t size;
    /// In packets.
    std::size_t packets;
  };
  /// How many bytes and packets of the block are whole records when only the first `n` bytes were written.
  [[nodiscard]] whole whole_records(std::size_t n) const noexcept {
    whole w{0, 0};
    if (options_.format == capture_format::pcap && headed_) {
      if (n < pcap_file_header::size) return w;
      w.size = pcap_file_header::size;
    }
    for (;;) {
      const std::byte* p = memory_.data() + w.size;
      const std::size_t left = n - w.size;
      if (left < pcap_record_header_size) return w;
      const bool classic = options_.format == capture_format::pcap;
      const std::size_t total =
          classic ? pcap_record_header_size + detail::load<std::uint32_t>(p + 8) : detail::load<std::uint32_t>(p + 4);
      if (total > left) return w;
      w.size += total;
      if (classic || detail::load<std::uint32_t>(p) == pcapng::enhanced_packet) ++w.packets;
    }
  }

 private:
  static constexpr std::size_t packet_block_size(std::size_t n) noexcept { return 32 + pcapng::padded(n); }
  static constexpr std::uint32_t snap(const pcap_writer_options& o) noexcept {
    return o.snap_length == 0 || o.snap_length > max_captured_length ? max_captured_length : o.snap_length;
  }
  void put32(std::uint32_t v) noexcept {
    detail::store(memory_.data() + size_, v);
    size_ += 4;
  }
  void put16(std::uint16_t v) noexcept {
    detail::store(memory_.data() + size_, v);
    size_ += 2;
  }

  void start() noexcept {
    started_ = true;
    headed_ = true;
    if (options_.format == capture_format::pcap) {
      pcap_file_header header;
      header.nanoseconds = options_.nanoseconds;
      header.snap_length = options_.snap_length;
      header.linktype = linktype_of(options_.link);
      header.write(memory_.data() + size_);
      size_ += pcap_file_header::size;
      return;
    }
    constexpr char application[] = "runnel\0";  // six letters and the padding
    constexpr std::uint32_t total = 28 + 4 + 8 + 4;
    put32(pcapng::section_header);
    put32(total);
    put32(pcapng::byte_order_magic);
    put16(1);
    put16(0);
    put32(0xffff'ffff);  // section length: not said
    put32(0xffff'ffff);
    put16(pcapng::shb_userappl);
    put16(6);
    for (std::size_t i = 0; i < 8; ++i) store_u8(memory_.data() + size_++, static_cast<std::uint8_t>(application[i]));
    put32(pcapng::option_end);
    put32(total);
  }
  // The number of the interface in the section; `max_interfaces` when there is none.
  [[nodiscard]] std::size_t find_interface(const capture_record& r) const noexcept {
    std::size_t same_link = max_interfaces;
    for (std::size_t i = 0; i < interfaces_; ++i) {
      if (interface_[i].link != r.link) continue;
      if (interface_[i].number == r.iif) return i;
      if (same_link == max_interfaces && interfaces_ == max_interfaces) same_link = i;
    }
    return same_link;
  }
  std::size_t add_interface(const capture_record& r) noexcept {
    constexpr std::uint32_t total = 20 + 8 + 4;
    put32(pcapng::interface_description);
    put32(total);
    put16(linktype_of(r.link));
    put16(0);
    put32(options_.snap_length);
    put16(pcapng::if_tsresol);
    put16(1);
    store_u8(memory_.data() + size_, options_.nanoseconds ? 9 : 6);
    zero_bytes(memory_.data() + size_ + 1, 3);
    size_ += 4;
    put32(pcapng::option_end);
    put32(total);
    interface_[interfaces_] = {r.iif, r.link};
    return interfaces_++;
  }
  [[nodiscard]] std::byte* begin_pcapng(const capture_record& r) noexcept {
    std::size_t iif = last_interface_;
    if (iif >= interfaces_ || interface_[iif].number != r.iif || interface_[iif].link != r.link) {
      iif = find_interface(r);
      if (iif == max_interfaces) iif = add_interface(r);
      last_interface_ = iif;
    }
    const std::size_t n = captured(r);
    std::byte* p = memory_.data() + size_;
    const std::int64_t since = r.timestamp.ns < 0 ? 0 : r.timestamp.ns;
    const auto ticks = static_cast<std::uint64_t>(options_.nanoseconds ? since : since / 1000);
    detail::store(p, pcapng::enhanced_packet);
    detail::store(p + 4, static_cast<std::uint32_t>(packet_block_size(n)));
    detail::store(p + 8, static_cast<std::uint32_t>(iif));
    detail::store(p + 12, static_cast<std::uint32_t>(ticks >> 32));
    detail::store(p + 16, static_cast<std::uint32_t>(ticks));
    detail::store(p + 20, static_cast<std::uint32_t>(n));
    detail::store(p + 24, wire_length(r));
    return p + 28;
  }
  [[nodiscard]] std::byte* begin_pcap(const capture_record& r) noexcept {
    std::byte* p = memory_.data() + size_;
    const std::int64_t since = r.timestamp.ns < 0 ? 0 : r.timestamp.ns;
    const std::int64_t seconds = since / 1'000'000'000;
    const auto fraction = static_cast<std::uint32_t>(since % 1'000'000'000);
    detail::store(p, seconds > 0xffff'ffff ? std::uint32_t{0xffff'ffff} : static_cast<std::uint32_t>(seconds));
    detail::store(p + 4, options_.nanoseconds ? fraction : fraction / 1000);
    detail::store(p + 8, static_cast<std::uint32_t>(captured(r)));
    detail::store(p + 12, wire_length(r));
    return p + pcap_record_header_size;
  }
  static std::uint32_t wire_length(const capture_record& r) noexcept {
    return r.wire_length < 0xffff'ffff ? static_cast<std::uint32_t>(r.wire_length) : 0xffff'ffffu;
  }

  struct described {
    std::uint16_t number;
    link_type link;
  };
  mutable_bytes memory_;
  pcap_writer_options options_;
  std::size_t size_ = 0;
  std::size_t packets_ = 0;
  bool started_ = false;  // the file header was made
  bool headed_ = false;   // and is in this block
  std::size_t interfaces_ = 0;
  std::size_t last_interface_ = 0;
  described interface_[max_interfaces] = {};
};

}  // namespace runnel

#endif

// ==== runnel/device/pcap_writer.hpp ==================================================================================
// Writes packets to a pcapng or pcap file: as the device at the end of a pipeline, or as a tap beside one.
//
//     auto out = pcap_writer::open("out.pcapng");
//     if (!out) return fail(out.error());
//     out->write(packet);
//     if (auto problem = out->close()) warn(*problem);   // or let the destructor close it
//
// Theory of operation. Records are put together in a block of memory and written when the next one might not fit,
// always whole records at once. Timestamps are a packet's own, so that what was captured keeps its time. When the
// system takes only a part (a full disk), the file is cut back to the last whole record, so that it stays readable.
#ifndef RUNNEL_DEVICE_PCAP_WRITER_HPP
#define RUNNEL_DEVICE_PCAP_WRITER_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t, uint64_t

#if defined(__unix__) || defined(__APPLE__)

#include <errno.h>     // errno, EINTR, EAGAIN
#include <fcntl.h>     // open
#include <poll.h>      // poll
#include <sys/stat.h>  // fstat
#include <unistd.h>    // write, ftruncate, lseek

namespace runnel {

/// A transmitting device that writes a capture. Move-only. Memory is taken at `open` only: one block.
///
/// After a failure (disk full, reader of the pipe gone) it goes on taking packets and releases them unwritten, counted
/// in `lost()`, so that whoever feeds it does not wait for ever; `failure()` says what happened. A program that writes
/// to a pipe ignores SIGPIPE, or is ended by it.
class pcap_writer {
 public:
  /// Creates the file at `path`, or empties it when it is there; "-" is standard output. The header is written at
  /// the first flush.
  [[nodiscard]] static result<pcap_writer, error> open(const char* path, pcap_writer_options options = {}) noexcept {
    if (detail::is_dash(path)) return start({1, false}, "standard output", options);
    int fd = -1;
    do fd = ::open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    while (fd < 0 && errno == EINTR);
    if (fd < 0) {
      const int number = errno;
      return error("pcap", "create", detail::short_name(path).c_str(), ::strerror(number),
                   "give a path that may be written, or - for standard output", number);
    }
    return start({fd, true}, path, options);
  }
  /// The same over an open file descriptor, from where it stands; the writer closes it. `name` is for messages, and
  /// is copied.
  [[nodiscard]] static result<pcap_writer, error> adopt(int fd, const char* name,
                                                        pcap_writer_options options = {}) noexcept {
    return start({fd, true}, name, options);
  }
  pcap_writer(pcap_writer&&) noexcept = default;
  pcap_writer& operator=(pcap_writer&&) = delete;
  /// Flushes, and closes what `open` opened. Errors are lost here: call `close`.
  ~pcap_writer() { (void)close(); }

  /// Writes the packets with their timestamps, or `now` where a packet has none (0), and releases them. Takes all of
  /// them; what cannot be written is counted in `lost()`.
  [[nodiscard]] std::size_t transmit(packet* packets, std::size_t n, instant now) noexcept {
    for (std::size_t i = 0; i < n; ++i) {
      const instant when = packets[i].timestamp();
      (void)write(packets[i], when == instant{} ? now : when);
      packets[i].reset();
    }
    return n;
  }
  /// Writes a packet, all its fragments as one, at its own timestamp; it stays the caller's. False, and counted in
  /// `lost()`, when that is not possible: after a failure, or when a classic capture is of another link type.
  bool write(const packet& p) noexcept { return write(p, p.timestamp()); }
  /// The same for a frame.
  bool write(const frame& f) noexcept {
    const capture_record r{f.timestamp, f.length, std::size_t{f.length} + f.missing, f.iif, f.link};
    std::byte* to = begin(r);
    if (to == nullptr) return false;
    copy_bytes(to, f.data, block_.captured(r));
    return finish(to, r, f.checksum);
  }
  /// Writes literal bytes, of the link type in the options. `wire_length` is how long the packet was before it was
  /// cut; 0, or less than there is, means that all of it is there.
  bool write(bytes data, instant timestamp, std::size_t wire_length = 0, std::uint16_t iif = 0) noexcept {
    const std::size_t wire = wire_length > data.size() ? wire_length : data.size();
    const capture_record r{timestamp, data.size(), wire, iif, block_.options().link};
    std::byte* to = begin(r);
    if (to == nullptr) return false;
    copy_bytes(to, data.data(), block_.captured(r));
    return finish(to, r, checksum_status::unknown);
  }

  /// Hands everything to the system now. False when that failed, now or before.
  bool flush() noexcept {
    if (!file_open()) return false;
    block_.open_empty();
    return !failed_ && write_out();
  }
  /// Flushes and closes. Null when all that was accepted is written, else why not: the error of the first failure.
  /// Nothing can be written afterwards.
  [[nodiscard]] const error* close() noexcept {
    if (file_open()) {
      (void)flush();
      if (const int number = file_.close(); number != 0 && !failed_) fail("close", number);
      closed_ = true;
    }
    return failure();
  }

  /// What went wrong; null while all is well.
  [[nodiscard]] const error* failure() const noexcept { return failed_ ? &failure_ : nullptr; }
  /// Packets in the file or on the way there.
  [[nodiscard]] std::uint64_t written() const noexcept { return written_; }
  /// Packets that were given to the writer and are not in the file (drop_reason::transmit_error).
  [[nodiscard]] std::uint64_t lost() const noexcept { return lost_; }

 private:
  pcap_writer(detail::file_handle&& file, const char* name, pcap_writer_options options) noexcept
      : file_(static_cast<detail::file_handle&&>(file)),
        name_(name),
        storage_(capture_block::bytes_needed(options)),
        block_({storage_.data(), storage_.size()}, options) {}

  static result<pcap_writer, error> start(detail::file_handle&& file, const char* path,
                                          pcap_writer_options options) noexcept {
    pcap_writer writer(static_cast<detail::file_handle&&>(file), path, options);
    const char* name = writer.name_.c_str();
    struct ::stat about{};
    if (::fstat(writer.file_.get(), &about) != 0) {
      const int number = errno;
      writer.closed_ = true;
      return error("pcap", "look at", name, ::strerror(number), "", number);
    }
    writer.regular_ = S_ISREG(about.st_mode);
    if (writer.storage_.data() != nullptr) return writer;
    writer.closed_ = true;
    return error("pcap", "create", name, "no memory for a block", "choose a smaller one", ENOMEM);
  }

  bool write(const packet& p, instant timestamp) noexcept {
    const std::size_t length = p.total_length();
    const capture_record r{timestamp, length, length + p.missing(), p.iif(), p.layers().link_kind()};
    std::byte* to = begin(r);
    if (to == nullptr) return false;
    std::size_t at = 0;
    const std::size_t captured = block_.captured(r);
    p.for_each_fragment([&](bytes part) {
      part = part.first(captured - at);
      copy_bytes(to + at, part.data(), part.size());
      at += part.size();
    });
    return finish(to, r, p.checksum());
  }
  // Where the bytes of the record go; null when it cannot be written.
  std::byte* begin(const capture_record& r) noexcept {
    if (file_open() && !failed_) {
      std::byte* to = block_.begin(r);
      if (to == nullptr && block_.accepts(r) && write_out()) to = block_.begin(r);
      if (to != nullptr) return to;
    }
    ++lost_;
    return nullptr;
  }
  bool finish(std::byte* data, const capture_record& r, checksum_status checksum) noexcept {
    // A capture shows what is on the wire, so what the packet's device was to fill in is filled in in the copy.
    if (checksum == checksum_status::partial && block_.captured(r) == r.wire_length)
      detail::complete_transport_checksum({data, r.wire_length}, r.link);
    block_.finish(r);
    ++written_;
    return true;
  }
  bool write_out() noexcept {
    std::size_t done = 0;
    while (done < block_.size()) {
      const ::ssize_t n = ::write(file_.get(), block_.data() + done, block_.size() - done);
      if (n > 0) {
        done += static_cast<std::size_t>(n);
        continue;
      }
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        ::pollfd one{file_.get(), POLLOUT, 0};
        (void)::poll(&one, 1, -1);
        continue;
      }
      fail("write", n == 0 ? EIO : errno);
      cut_back(done);
      break;
    }
    block_.clear();
    return !failed_;
  }
  // Takes the part of a record away that the system took last. Pipes keep it.
  void cut_back(std::size_t done) noexcept {
    const capture_block::whole whole = block_.whole_records(done);
    const std::uint64_t gone = block_.packets() - whole.packets;
    written_ -= gone;
    lost_ += gone;
    if (!regular_ || whole.size == done) return;
    const ::off_t end = ::lseek(file_.get(), 0, SEEK_CUR);
    if (end >= 0 && ::ftruncate(file_.get(), end - static_cast<::off_t>(done - whole.size)) != 0) return;
  }
  void fail(const char* step, int number) noexcept {
    failed_ = true;
    failure_ = error("pcap", step, name_.c_str(), ::strerror(number), "what was written before is readable", number);
  }
  [[nodiscard]] bool file_open() const noexcept { return !closed_ && storage_.data() != nullptr; }

  detail::file_handle file_;
  detail::short_name name_;
  detail::mapping storage_;  // null in a writer that was moved from
  capture_block block_;
  bool regular_ = false;
  bool closed_ = false;
  bool failed_ = false;
  std::uint64_t written_ = 0;
  std::uint64_t lost_ = 0;
  error failure_{"pcap", "write", "", ""};
};
static_assert(transmitting_device<pcap_writer>);

}  // namespace runnel

#endif  // defined(__unix__) || defined(__APPLE__)

#endif

// ==== runnel/device/pcap.hpp =========================================================================================
// Captures: read, replay and write pcap and pcapng files.
#ifndef RUNNEL_DEVICE_PCAP_HPP
#define RUNNEL_DEVICE_PCAP_HPP

#endif

// ==== runnel/device/network_namespace.hpp ============================================================================
// Into another network namespace and back, for opening a device there: what was opened stays there, the thread does
// not. network_namespaces(7), setns(2). Nothing here is for users.
#ifndef RUNNEL_DEVICE_NETWORK_NAMESPACE_HPP
#define RUNNEL_DEVICE_NETWORK_NAMESPACE_HPP

#include <cstddef>  // size_t

#if defined(__linux__)

#include <errno.h>        // errno
#include <fcntl.h>        // open
#include <sched.h>        // CLONE_NEWNET
#include <sys/syscall.h>  // SYS_setns
#include <unistd.h>       // syscall

namespace runnel::detail {

/// While it lives, the calling thread is in the namespace that was entered; other threads are not. Move-only.
class namespace_visit {
 public:
  /// `name` is that of `ip netns`, or a path when there is a '/' in it; null stays where the thread is. Messages begin
  /// with `where`.
  [[nodiscard]] static result<namespace_visit, error> enter(const char* where, const char* name) noexcept {
    if (name == nullptr) return namespace_visit({});
    text<160> path;
    bool is_path = false;
    for (const char* c = name; *c != '\0'; ++c) is_path |= *c == '/';
    path << (is_path ? "" : "/run/netns/") << name;
    const file_handle there(path.truncated() ? -1 : ::open(path.c_str(), O_RDONLY | O_CLOEXEC), true);
    if (there.get() < 0)
      return problem(where, name, path.truncated() ? ENAMETOOLONG : errno,
                     "make it with 'ip netns add', or give a path like /proc/PID/ns/net");
    file_handle here(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC), true);
    if (here.get() < 0) return problem(where, name, errno, "mount /proc, which leads back from there");
    if (set(there) != 0) return problem(where, name, errno, "run as root, or with CAP_SYS_ADMIN");
    return namespace_visit(static_cast<file_handle&&>(here));
  }
  namespace_visit(namespace_visit&&) noexcept = default;
  namespace_visit& operator=(namespace_visit&&) = delete;
  /// Goes back. What went in has the right to do so; should it have lost it meanwhile, the thread stays.
  ~namespace_visit() {
    if (home_.get() >= 0) (void)set(home_);
  }

 private:
  explicit namespace_visit(file_handle&& home) noexcept : home_(static_cast<file_handle&&>(home)) {}
  static long set(const file_handle& to) noexcept { return ::syscall(SYS_setns, to.get(), CLONE_NEWNET); }
  static error problem(const char* where, const char* name, int number, const char* advice) noexcept {
    return {where, "enter network namespace", short_name(name).c_str(), ::strerror(number), advice, number};
  }

  file_handle home_;
};

}  // namespace runnel::detail

#endif  // defined(__linux__)

#endif

// ==== runnel/device/tap.hpp ==========================================================================================
// A network interface whose other end is this program: TAP (Ethernet frames) and TUN (IP packets). What the kernel
// sends to the interface is received here, and what is transmitted here the kernel receives.
// Documentation/networking/tuntap.rst, drivers/net/tun.c in Linux.
//
//     auto tap = device::tap::open("tap0", {.mtu = 9000});
//     if (!tap) return fail(tap.error());   // tap: open /dev/net/tun: No such file or directory: load the module tun
//     loop work{time, attach(*tap, parse() | ... | transmit(*tap))};
//
// Theory of operation. One packet is one read(2) or write(2): the kernel offers nothing else, and it is the system call
// that costs. A read goes right into a slot of the pool, behind its headroom, and no byte is copied here. With
// `vnet_header` a header of ten bytes lies before each packet (virtio_net.hpp); a read puts it into the headroom, a
// write takes it from the stack.
//
//      slot   | headroom    |header| packet            | one byte more: filled, the packet was longer |
//             +-------------+------+-------------------+-----------------------------------------------+
//
// One device is one queue of the interface. For several threads each opens the same name with `multi_queue`; the kernel
// then keeps a flow on one of the queues, that on which this program last sent to it.
#ifndef RUNNEL_DEVICE_TAP_HPP
#define RUNNEL_DEVICE_TAP_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t, uint64_t

#if defined(__linux__)

#include <errno.h>         // errno
#include <fcntl.h>         // open
#include <linux/if_tun.h>  // TUNSETIFF
#include <sys/ioctl.h>     // ioctl
#include <sys/uio.h>       // writev
#include <unistd.h>        // read, write

namespace runnel::device {

/// What the kernel's side of the interface speaks.
enum class tap_mode : std::uint8_t {
  tap,  ///< Ethernet frames
  tun,  ///< IPv4 and IPv6 packets without a link header (link_type::raw_ip)
};

/// How an interface is opened. What is not given stays as the kernel has it.
struct tap_options {
  tap_mode mode = tap_mode::tap;
  bool create = true;        ///< make the interface when there is none; else that is an error
  bool multi_queue = false;  ///< the same name may be opened several times, once for each thread; all must say so
  /// Packets carry what is left to do for them: checksums may be partial, in both directions. All queues alike.
  bool vnet_header = false;
  /// The kernel hands over TCP and UDP in pieces of up to 64 KiB, to be cut to `segment_size` by whoever puts them on a
  /// wire, and takes such pieces. Implies `vnet_header`, and slots of 64 KiB.
  bool segmentation = false;
  bool up = true;                           ///< set the interface up
  bool persist = false;                     ///< the interface stays when the last device on it is closed
  std::uint32_t mtu = 0;                    ///< longest packet in bytes, without the Ethernet header; 0: as it is
  mac_address mac{};                        ///< of the kernel's side; zeros: as it is
  const char* network_namespace = nullptr;  ///< where to open it: a name of `ip netns`, or a path; null: here
  pool* memory = nullptr;                   ///< whose slots to receive into; null: a pool of its own
  /// Of its own pool: how many slots; 0 is 4096, with `segmentation` 512.
  std::uint32_t packets = 0;
  /// Of its own pool: bytes of a slot, at most 65535; 0 is what the MTU needs, with `segmentation` 65535.
  std::uint32_t packet_bytes = 0;
};

/// What a device has done, since it was opened.
struct tap_statistics {
  std::uint64_t received = 0;           ///< packets handed out
  std::uint64_t received_bytes = 0;     ///< of these
  std::uint64_t reads = 0;              ///< system calls for that, those that found nothing included
  std::uint64_t too_long = 0;           ///< received and lost: longer than a slot (drop_reason::too_big)
  std::uint64_t malformed = 0;          ///< received and lost: the kernel's header cannot be right
  std::uint64_t transmitted = 0;        ///< packets that the kernel took
  std::uint64_t transmitted_bytes = 0;  ///< of these
  std::uint64_t writes = 0;             ///< system calls for that
  std::uint64_t refused = 0;            ///< packets left with the caller, because the kernel had no room
  std::uint64_t while_down = 0;         ///< transmitted and lost: the interface was down, or gone
  std::uint64_t invalid = 0;            ///< transmitted and lost: the kernel, or the lack of a header, did not allow it
};

/// One line: `received 12, 1176 bytes, 13 reads; transmitted 12, 1176 bytes, 12 writes; too_long 3`. Counters of what
/// went wrong only where they are not 0.
inline void print(text_writer& out, const tap_statistics& s) noexcept {
  out << "received " << s.received << ", " << s.received_bytes << " bytes, " << s.reads << " reads; transmitted "
      << s.transmitted << ", " << s.transmitted_bytes << " bytes, " << s.writes << " writes";
  const auto also = [&](const char* what, std::uint64_t n) {
    if (n != 0) out << "; " << what << ' ' << n;
  };
  also("too_long", s.too_long);
  also("malformed", s.malformed);
  also("refused", s.refused);
  also("while_down", s.while_down);
  also("invalid", s.invalid);
}

/// One queue of a TAP or TUN interface. Move-only; all its packets must have come home when it is destroyed, if it owns
/// the pool (RUNNEL_ASSERT). An interface that it made goes with the last queue, unless it is persistent.
///
/// What comes while nobody receives waits in the kernel, as many packets as the interface's queue is long (`ip link`
/// says `qlen`); more are lost, and counted there as dropped on transmission (`ip -s link`).
class tap {
 public:
  /// Opens an interface, or makes it. `name` is its name, or one with a %d in it, which the kernel replaces by the
  /// first free number: `name()` says which it became. Needs CAP_NET_ADMIN, unless the interface was made for this
  /// user.
  [[nodiscard]] static result<tap, error> open(const char* name, const tap_options& options = {}) noexcept {
    if (__builtin_strlen(name) >= detail::interface_name_size)
      return error("tap", "open", detail::short_name(name).c_str(), "the name is too long",
                   "an interface's name has at most 15 characters");
    auto visit = detail::namespace_visit::enter("tap", options.network_namespace);
    if (!visit) return visit.error();
    if (!options.create) {
      if (auto there = network_interface::open_for("tap", name); !there) return there.error();
    }
    detail::file_handle file(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC), true);
    if (file.get() < 0) return cannot_open_driver(errno);
    detail::sys::interface_request ask;
    __builtin_memcpy(ask.name, name, __builtin_strlen(name));
    const bool header = options.vnet_header || options.segmentation;
    ask.value.flags =
        static_cast<std::int16_t>(IFF_NO_PI | (options.mode == tap_mode::tap ? IFF_TAP : IFF_TUN) |
                                  (header ? IFF_VNET_HDR : 0) | (options.multi_queue ? IFF_MULTI_QUEUE : 0));
    if (::ioctl(file.get(), TUNSETIFF, &ask) != 0) return cannot_attach(name, options, errno);
    // The kernel gives the name back, with its number in the place of %d.
    if (auto set = set_offloads(file.get(), ask.name, options); !set) return set.error();
    auto settings = network_interface::open_for("tap", ask.name);
    if (!settings) return settings.error();
    if (auto set = set_interface(*settings, options); !set) return set.error();
    auto now = settings->status();
    if (!now) return now.error();
    auto made = finish(static_cast<detail::file_handle&&>(file), static_cast<network_interface&&>(*settings), now->mtu,
                       options);
    // At the end: nothing stays of what could not be opened.
    if (made && options.persist) {
      if (auto set = made->set_persistent(true); !set) return set.error();
    }
    return made;
  }
  tap(tap&&) noexcept = default;
  tap& operator=(tap&&) = delete;

  /// The name of the interface, as it was opened.
  [[nodiscard]] const char* name() const noexcept { return interface_.name(); }
  /// The interface: its MTU, its address, up and down. It may be changed at any time.
  [[nodiscard]] network_interface& settings() noexcept { return interface_; }
  /// Whether the interface stays when the last device on it is closed.
  result<bool, error> set_persistent(bool on) noexcept {
    if (::ioctl(file_.get(), TUNSETPERSIST, on ? 1ul : 0ul) != 0)
      return problem("set the persistence of", name(), errno, "");
    return on;
  }

  /// The pool that its frames are from.
  [[nodiscard]] pool& memory() noexcept { return memory_.get(); }
  /// Reads up to `room` packets. A system call for each, and one more where it finds nothing. Their timestamp is `now`.
  template <class Take>
  [[nodiscard]] std::size_t receive(std::size_t room, instant now, Take&& take) noexcept {
    std::size_t n = 0;
    for (std::size_t tries = 0; tries < room && !gone_; ++tries) {
      frame f = memory().allocate_frame();
      if (f.slot == no_slot) break;
      f.timestamp = now;
      f.link = link_;
      f.data = f.head() + headroom_;
      f.headroom = static_cast<std::uint16_t>(headroom_);
      const outcome got = read_into(f);
      if (got == outcome::packet) {
        ++n;
        take(f);
        continue;
      }
      memory().release(&f, 1);
      if (got == outcome::nothing) break;
    }
    return n;
  }
  /// Whether the interface was deleted: nothing will come any more.
  [[nodiscard]] bool done() const noexcept { return gone_; }
  /// The file descriptor to wait on until there is something to receive; -1 when the interface was deleted.
  [[nodiscard]] int wait_handle() const noexcept { return gone_ ? -1 : file_.get(); }

  /// Writes packets, fragments without copying them, a system call for each. What the kernel has no room for stays with
  /// the caller, that packet and all behind it. A packet is taken and lost (`lost()`) while the interface is down, and
  /// when it cannot be: longer than its segments without a `vnet_header` to say so, more than 64 fragments that do not
  /// fit one slot, not an IP packet (TUN). Completes partial checksums when there is no header.
  [[nodiscard]] std::size_t transmit(packet* packets, std::size_t n, instant) noexcept {
    std::size_t i = 0;
    while (i < n && send(packets[i])) ++i;
    statistics_.refused += n - i;
    pool::release(packets, i);
    return i;
  }
  /// The same for frames that came from this device.
  [[nodiscard]] std::size_t transmit(const frame* frames, std::size_t n, instant) noexcept {
    std::size_t i = 0;
    while (i < n && send(frames[i])) ++i;
    statistics_.refused += n - i;
    memory().release(frames, i);
    return i;
  }

  /// Packets that were taken by `transmit` and lost.
  [[nodiscard]] std::uint64_t lost() const noexcept { return statistics_.while_down + statistics_.invalid; }
  /// What it has done.
  [[nodiscard]] const tap_statistics& statistics() const noexcept { return statistics_; }

 private:
  static constexpr std::size_t header_bytes = sizeof(detail::virtio_net_header);
  static constexpr std::size_t max_parts = 64;

  enum class outcome : std::uint8_t { packet, lost, nothing };

  tap(detail::file_handle&& file, network_interface&& settings, detail::device_memory&& memory, std::size_t headroom,
      const tap_options& options) noexcept
      : file_(static_cast<detail::file_handle&&>(file)),
        interface_(static_cast<network_interface&&>(settings)),
        memory_(static_cast<detail::device_memory&&>(memory)),
        headroom_(headroom),
        room_(memory_.get().headroom() + memory_.get().packet_bytes() - headroom),
        link_(options.mode == tap_mode::tap ? link_type::ethernet : link_type::raw_ip),
        header_(options.vnet_header || options.segmentation) {}

  static error problem(const char* what, const char* on, int number, const char* advice) noexcept {
    return {"tap", what, on, ::strerror(number), advice, number};
  }
  static error cannot_open_driver(int number) noexcept {
    const bool absent = number == ENOENT || number == ENODEV || number == ENXIO;
    return problem("open", "/dev/net/tun", number,
                   absent                                ? "load the module tun; in a container: --device /dev/net/tun"
                   : number == EACCES || number == EPERM ? "run as root, or let this user read and write it"
                                                         : "");
  }
  static error cannot_attach(const char* name, const tap_options& options, int number) noexcept {
    const char* advice = "";
    switch (number) {
      case EPERM: advice = "run as root, with CAP_NET_ADMIN, or as the user that the interface was made for"; break;
      case EBUSY: advice = "another program has it open: end that, or let both open it with multi_queue"; break;
      case EINVAL:
        advice = options.multi_queue || !options.create
                     ? "give a legal name, and open an existing one in its own mode, multi_queue as it was made"
                     : "it is another kind of interface, was made with multi_queue, or the name is not legal";
        break;
      case E2BIG: advice = "it has as many queues as there can be"; break;
      default: break;
    }
    return problem("attach to", name, number, advice);
  }
  // The kernel remembers both from whoever had the interface before: they are set even when they are off.
  static result<bool, error> set_offloads(int fd, const char* name, const tap_options& options) noexcept {
    constexpr unsigned uso4 = 0x20, uso6 = 0x40;  // TUN_F_USO4 and TUN_F_USO6, Linux 6.2
    const bool header = options.vnet_header || options.segmentation;
    if (header) {
      int size = header_bytes;
      if (::ioctl(fd, TUNSETVNETHDRSZ, &size) != 0) return problem("set the header of", name, errno, "");
    }
    const unsigned checksum = header ? TUN_F_CSUM : 0u;
    const unsigned tcp = options.segmentation ? TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN : 0u;
    const unsigned udp = options.segmentation ? uso4 | uso6 : 0u;
    if (::ioctl(fd, TUNSETOFFLOAD, static_cast<unsigned long>(checksum | tcp | udp)) == 0) return true;
    if (errno == EINVAL && ::ioctl(fd, TUNSETOFFLOAD, static_cast<unsigned long>(checksum | tcp)) == 0) return true;
    return problem("set the offloads of", name, errno, "");
  }
  static result<bool, error> set_interface(network_interface& settings, const tap_options& options) noexcept {
    if (!(options.mac == mac_address{})) {
      if (auto set = settings.set_mac(options.mac); !set) return set.error();
    }
    if (options.mtu != 0) {
      if (auto set = settings.set_mtu(options.mtu); !set) return set.error();
    }
    if (options.up) {
      if (auto set = settings.set_up(true); !set) return set.error();
    }
    return true;
  }
  static result<tap, error> finish(detail::file_handle&& file, network_interface&& settings, std::uint32_t mtu,
                                   const tap_options& options) noexcept {
    // Ethernet header, VLAN tag, and the byte that shows that a packet was longer.
    const std::size_t link = options.mode == tap_mode::tap ? 18 : 0;
    const std::size_t needed = (options.segmentation ? 65536 : mtu) + link + 1;
    pool_config config{.packets = options.packets != 0 ? options.packets : options.segmentation ? 512u : 4096u};
    const std::size_t bytes = needed < 65535 ? needed : 65535;
    if (bytes > config.bytes) config.bytes = static_cast<std::uint32_t>(bytes);
    if (options.packet_bytes != 0) config.bytes = options.packet_bytes;
    if (needed > bytes) config.headroom += 64;
    auto memory = detail::device_memory::open(options.memory, config);
    if (!memory) return memory.error();
    // Where the bytes behind the headroom do not do, a part of the headroom does.
    const pool& slots = memory->get();
    const std::size_t whole = std::size_t{slots.headroom()} + slots.packet_bytes();
    const std::size_t kept = whole > needed ? whole - needed : 0;
    const std::size_t headroom = kept < slots.headroom() ? kept : slots.headroom();
    if (whole < needed || ((options.vnet_header || options.segmentation) && headroom < header_bytes)) {
      text<96> why;
      why << "its packets have up to " << std::uint64_t{needed - 1} << " bytes, and a slot of the pool "
          << std::uint64_t{whole};
      return error("tap", "receive from", settings.name(), why.c_str(),
                   "a smaller MTU, or larger slots: packet_bytes, or pool_config::bytes");
    }
    return tap(static_cast<detail::file_handle&&>(file), static_cast<network_interface&&>(settings),
               static_cast<detail::device_memory&&>(*memory), headroom, options);
  }

  // Into a frame whose headroom is set.
  outcome read_into(frame& f) noexcept {
    const std::size_t before = header_ ? header_bytes : 0;
    ++statistics_.reads;
    const ::ssize_t got = ::read(file_.get(), f.data - before, before + room_);
    if (got < static_cast<::ssize_t>(before)) {
      gone_ = got < 0 && errno == EBADFD;
      return outcome::nothing;
    }
    const std::size_t length = static_cast<std::size_t>(got) - before;
    if (length >= room_) {
      ++statistics_.too_long;
      return outcome::lost;
    }
    f.length = static_cast<std::uint32_t>(length);
    const std::size_t tail = room_ - length;
    f.tailroom = static_cast<std::uint16_t>(tail < 0xffff ? tail : 0xffff);
    if (header_) {
      detail::virtio_net_header h;
      __builtin_memcpy(&h, f.data - before, sizeof h);
      if (!detail::read_virtio_net_header(h, f)) {
        ++statistics_.malformed;
        return outcome::lost;
      }
    }
    ++statistics_.received;
    statistics_.received_bytes += length;
    return outcome::packet;
  }

  // Whether it is no longer the caller's: it was sent, or lost.
  bool send(packet& p) noexcept {
    const std::size_t length = p.total_length();
    if (!header_) {
      if (p.segment_size() != 0 && !fits_segment(p.contents(), length, p.segment_size())) return lose();
      if (p.checksum() == checksum_status::partial && !detail::complete_transport_checksum(p, link_)) return lose();
      if (!p.is_chained()) [[likely]]
        return count(::write(file_.get(), p.data(), length), length);
    }
    ::iovec parts[1 + max_parts];
    std::size_t used = 1;
    const auto collect = [&](bytes part) {
      if (used <= max_parts) parts[used] = {const_cast<std::byte*>(part.data()), part.size()};
      ++used;
    };
    p.for_each_fragment(collect);
    if (used > 1 + max_parts) {
      if (!p.linearize()) return lose();
      used = 1;
      p.for_each_fragment(collect);
    }
    return write_parts(
        parts, used, length,
        detail::make_virtio_net_header(p.contents(), link_, length - p.length(), p.checksum(), p.segment_size()));
  }
  bool send(const frame& f) noexcept {
    if (!header_) {
      if (f.segment_size != 0 && !fits_segment(f.contents(), f.length, f.segment_size)) return lose();
      if (f.checksum == checksum_status::partial) detail::complete_transport_checksum(f.contents(), link_);
      return count(::write(file_.get(), f.data, f.length), f.length);
    }
    ::iovec parts[2] = {{}, {f.data, f.length}};
    return write_parts(parts, 2, f.length,
                       detail::make_virtio_net_header(f.contents(), link_, 0, f.checksum, f.segment_size));
  }
  // The first part is left free for the header.
  bool write_parts(::iovec* parts, std::size_t used, std::size_t length, detail::virtio_net_header h) noexcept {
    const std::size_t first = header_ ? 0 : 1;
    parts[0] = {&h, sizeof h};
    return count(::writev(file_.get(), parts + first, static_cast<int>(used - first)), length);
  }
  // Whether it need not be cut.
  bool fits_segment(bytes first, std::size_t length, std::size_t segment) const noexcept {
    const detail::transport_checksum_place at = detail::find_transport_checksum(first, link_, length - first.size());
    return at.start != 0 && at.end <= at.start + at.header + segment;
  }
  bool count(::ssize_t written, std::size_t length) noexcept {
    ++statistics_.writes;
    if (written >= 0) [[likely]] {
      ++statistics_.transmitted;
      statistics_.transmitted_bytes += length;
      return true;
    }
    switch (errno) {
      case EAGAIN:
      case ENOBUFS:
      case ENOMEM:
      case EINTR: return false;
      case EBADFD: gone_ = true; [[fallthrough]];
      case EIO: ++statistics_.while_down; return true;
      default: return lose();
    }
  }
  bool lose() noexcept {
    ++statistics_.invalid;
    return true;
  }

  detail::file_handle file_;
  network_interface interface_;
  detail::device_memory memory_;
  std::size_t headroom_;  // of a frame
  std::size_t room_;      // bytes of a slot behind it
  link_type link_;
  bool header_;
  bool gone_ = false;
  tap_statistics statistics_;
};
static_assert(receiving_device<tap> && transmitting_device<tap> && frame_transmitting_device<tap>);

}  // namespace runnel::device

#endif  // defined(__linux__)

#endif

// ==== runnel/device/xdp_link.hpp =====================================================================================
// An XDP program on an interface for as long as this process keeps it there: a BPF link. Needs Linux 5.9.
//
//     auto link = bpf::xdp_link::attach(*program, "eth0");     // native if the driver can, else generic
//     std::printf("%s\n", name(link->mode()));
//
// The kernel detaches the program when the link's descriptor is closed, however the process ends: nothing stays behind.
// Interfaces have one program at a time. Attaching where there is one is an error that has its id, or replaces it when
// asked to: it is then detached for good, and there is a moment without either.
#ifndef RUNNEL_DEVICE_XDP_LINK_HPP
#define RUNNEL_DEVICE_XDP_LINK_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint32_t, uint8_t

#if defined(__linux__)

#include <linux/bpf.h>        // bpf_attr
#include <linux/if_link.h>    // XDP_FLAGS_DRV_MODE
#include <linux/netlink.h>    // nlmsghdr
#include <linux/rtnetlink.h>  // ifinfomsg

namespace runnel {
namespace bpf {

/// Where in the kernel a program runs.
enum class xdp_mode : std::uint8_t {
  automatic,  ///< to ask for: native if the driver can, else generic
  native,     ///< in the driver, before there is an sk_buff: fast
  generic,    ///< in the network stack, for drivers that know no XDP: slow, but it works everywhere
};

[[nodiscard]] constexpr const char* name(xdp_mode mode) noexcept {
  return mode == xdp_mode::native ? "native" : mode == xdp_mode::generic ? "generic" : "automatic";
}

/// What is attached to an interface.
struct attached_program {
  std::uint32_t id = 0;                 ///< as `bpftool prog` and `ip link` show it; 0 is none
  xdp_mode mode = xdp_mode::automatic;  ///< where it runs; `automatic` when there is none
};

/// How a program is attached.
struct attach_options {
  xdp_mode mode = xdp_mode::automatic;  ///< where it shall run
  bool replace = false;                 ///< detach a program that is there already, whoever attached it
};

}  // namespace bpf

namespace detail {

/// One request to rtnetlink(7) about an interface, with XDP attributes nested at its end, and the kernel's answer.
class xdp_request {
 public:
  xdp_request(std::uint16_t type, std::uint16_t flags, int index) noexcept {
    message_.header.nlmsg_len = offsetof(whole, attributes);
    message_.header.nlmsg_type = type;
    message_.header.nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
    message_.about.ifi_index = index;
  }
  void begin_xdp() noexcept { xdp_ = append(IFLA_XDP | NLA_F_NESTED, nullptr, 0); }
  void add(unsigned short type, std::uint32_t value) noexcept {
    (void)append(type, &value, sizeof value);
    const auto size = static_cast<unsigned short>(message_.header.nlmsg_len - xdp_);
    ::memcpy(reinterpret_cast<char*>(&message_) + xdp_, &size, sizeof size);
  }
  /// 0 or the errno of the answer. Calls `found(type, value)` for each number among its XDP attributes.
  template <class F>
  int send(F found) noexcept {
    const file_handle socket(sys::socket(sys::af_netlink, sys::sock_raw | sys::sock_cloexec, NETLINK_ROUTE), true);
    if (socket.get() < 0) return errno;
    if (sys::sendto(socket.get(), &message_, message_.header.nlmsg_len, 0) < 0) return errno;
    alignas(::nlmsghdr) char answer[32768];
    ::ssize_t got = -1;
    do got = sys::recvfrom(socket.get(), answer, sizeof answer, 0);
    while (got < 0 && errno == EINTR);
    if (got < 0) return errno;
    ::nlmsghdr header{};
    if (static_cast<std::size_t>(got) < sizeof header) return EPROTO;
    ::memcpy(&header, answer, sizeof header);
    if (header.nlmsg_len > static_cast<std::size_t>(got)) return EPROTO;
    if (header.nlmsg_type == NLMSG_ERROR) {
      int number = -EPROTO;
      if (header.nlmsg_len >= sizeof header + sizeof number) ::memcpy(&number, answer + sizeof header, sizeof number);
      return -number;
    }
    each_attribute(answer + sizeof header + sizeof(::ifinfomsg), answer + header.nlmsg_len,
                   [&](unsigned type, const char* at, const char* end) {
                     if (type == IFLA_XDP)
                       each_attribute(at, end, [&](unsigned t, const char* value, const char* stop) {
                         std::uint32_t n = 0;
                         const auto size = static_cast<std::size_t>(stop - value);
                         if (size == sizeof n) ::memcpy(&n, value, sizeof n);
                         else if (size == 1) n = static_cast<unsigned char>(*value);
                         found(t, n);
                       });
                   });
    return 0;
  }

 private:
  struct whole {
    ::nlmsghdr header;
    ::ifinfomsg about;
    char attributes[64];
  };
  template <class F>
  static void each_attribute(const char* at, const char* end, F f) noexcept {
    ::rtattr part{};
    while (end - at >= static_cast<std::ptrdiff_t>(sizeof part)) {
      ::memcpy(&part, at, sizeof part);
      if (part.rta_len < sizeof part || part.rta_len > end - at) return;
      f(part.rta_type & 0x3fffu, at + sizeof part, at + part.rta_len);
      const std::ptrdiff_t step = (part.rta_len + 3) & ~3;
      if (step > end - at) return;
      at += step;
    }
  }
  // Where in the message it begins.
  std::uint32_t append(unsigned short type, const void* value, std::size_t size) noexcept {
    const std::uint32_t at = message_.header.nlmsg_len;
    const ::rtattr part{static_cast<unsigned short>(sizeof(::rtattr) + size), type};
    RUNNEL_ASSERT(at + sizeof part + size <= sizeof message_);
    char* to = reinterpret_cast<char*>(&message_) + at;
    ::memcpy(to, &part, sizeof part);
    if (size != 0) ::memcpy(to + sizeof part, value, size);
    message_.header.nlmsg_len += static_cast<std::uint32_t>(sizeof part + size);
    return at;
  }
  whole message_{};
  std::uint32_t xdp_ = 0;
};

/// The id of the BPF link whose XDP program `program` is on interface `index`; 0 when that program was attached
/// without.
[[nodiscard]] inline std::uint32_t find_xdp_link(std::uint32_t program, int index) noexcept {
  for (std::uint32_t id = 0;;) {
    ::bpf_attr a = no_attributes();
    a.start_id = id;
    if (bpf_call(BPF_LINK_GET_NEXT_ID, a) != 0) return 0;
    id = a.next_id;
    a = no_attributes();
    a.link_id = id;
    const file_handle link(bpf_call(BPF_LINK_GET_FD_BY_ID, a), true);
    if (link.get() < 0) continue;  // gone meanwhile
    ::bpf_link_info info;
    ::memset(&info, 0, sizeof info);
    a = no_attributes();
    a.info.bpf_fd = static_cast<std::uint32_t>(link.get());
    a.info.info_len = sizeof info;
    a.info.info = address_of(&info);
    if (bpf_call(BPF_OBJ_GET_INFO_BY_FD, a) == 0 && info.type == BPF_LINK_TYPE_XDP && info.prog_id == program &&
        info.xdp.ifindex == static_cast<std::uint32_t>(index))
      return id;
  }
}

}  // namespace detail

namespace bpf {

/// What is attached to the interface with this index in this network namespace. Fails when there is none such.
[[nodiscard]] inline result<attached_program, error> attached(int index) noexcept {
  attached_program p;
  detail::xdp_request ask(RTM_GETLINK, 0, index);
  const int number = ask.send([&p](unsigned type, std::uint32_t value) {
    if (type == IFLA_XDP_PROG_ID) p.id = value;
    if (type != IFLA_XDP_ATTACHED || value == XDP_ATTACHED_NONE) return;
    p.mode = value == XDP_ATTACHED_SKB ? xdp_mode::generic : xdp_mode::native;
  });
  text<16> which;
  which << index;
  if (number != 0) return error("xdp", "look at interface", which.c_str(), ::strerror(number), "", number);
  return p;
}

/// A program on an interface. Move-only; owns the link, and detaches the program at destruction.
class xdp_link {
 public:
  /// Attaches the program to the interface of this name. Fails without CAP_NET_ADMIN, where there is a program already
  /// and `replace` was not asked for, and where the driver cannot do what was asked. The kernel keeps the program; the
  /// `loaded_program` may go.
  [[nodiscard]] static result<xdp_link, error> attach(const loaded_program& program, const char* interface_name,
                                                      const attach_options& options = {}) noexcept {
    auto found = device::network_interface::open_for("xdp", interface_name);
    if (!found) return found.error();
    const int index = found->index();
    if (options.replace)
      if (auto failed = detach_other(interface_name, index); failed.number() != 0) return failed;
    int number = 0;
    constexpr xdp_mode modes[] = {xdp_mode::native, xdp_mode::generic};
    for (const xdp_mode mode : modes) {
      if (options.mode != xdp_mode::automatic && options.mode != mode) continue;
      ::bpf_attr a = detail::no_attributes();
      a.link_create.prog_fd = static_cast<std::uint32_t>(program.fd());
      a.link_create.target_ifindex = static_cast<std::uint32_t>(index);
      a.link_create.attach_type = BPF_XDP;
      a.link_create.flags = mode == xdp_mode::native ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE;
      const int fd = detail::bpf_call(BPF_LINK_CREATE, a);
      if (fd >= 0) return xdp_link({fd, true}, index, mode);
      number = errno;
      // A program in the other mode is EEXIST. Whatever else a driver says to native mode, generic may do.
      if (number == EBUSY || number == EEXIST || number == EPERM) break;
    }
    return refused(interface_name, index, options.mode, number);
  }
  /// Takes over the descriptor of a link, as a privileged process may hand it out.
  [[nodiscard]] static xdp_link adopt(int fd, int index, xdp_mode mode) noexcept {
    return xdp_link({fd, true}, index, mode);
  }

  /// Its descriptor; stays the link's.
  [[nodiscard]] int fd() const noexcept { return file_.get(); }
  /// Where the program runs: `native` or `generic`.
  [[nodiscard]] xdp_mode mode() const noexcept { return mode_; }
  /// The interface's number when it was attached.
  [[nodiscard]] int index() const noexcept { return index_; }
  /// Puts another program in its place, without a moment between them. 0 or the errno.
  [[nodiscard]] int update(const loaded_program& program) noexcept {
    ::bpf_attr a = detail::no_attributes();
    a.link_update.link_fd = static_cast<std::uint32_t>(file_.get());
    a.link_update.new_prog_fd = static_cast<std::uint32_t>(program.fd());
    return detail::bpf_call(BPF_LINK_UPDATE, a) == 0 ? 0 : errno;
  }
  /// Whether the program is attached still: not when the interface was deleted, or somebody detached the link. One
  /// system call.
  [[nodiscard]] bool attached() const noexcept {
    ::bpf_link_info info;
    ::memset(&info, 0, sizeof info);
    ::bpf_attr a = detail::no_attributes();
    a.info.bpf_fd = static_cast<std::uint32_t>(file_.get());
    a.info.info_len = sizeof info;
    a.info.info = detail::address_of(&info);
    return detail::bpf_call(BPF_OBJ_GET_INFO_BY_FD, a) == 0 && info.xdp.ifindex != 0;
  }

 private:
  xdp_link(detail::file_handle&& file, int index, xdp_mode mode) noexcept
      : file_(static_cast<detail::file_handle&&>(file)), index_(index), mode_(mode) {}

  [[nodiscard]] static error refused(const char* on, int index, xdp_mode mode, int number) noexcept {
    text<96> advice;
    const auto other = bpf::attached(index);
    if ((number == EBUSY || number == EEXIST) && other && other->id != 0) {
      text<64> why;
      why << "program id " << other->id << " (" << name(other->mode) << ") is attached already";
      advice << "pass .replace = true, or detach it: ip link set dev " << on << " xdp"
             << (other->mode == xdp_mode::generic ? "generic" : "") << " off";
      return {"xdp", "attach to", on, why.c_str(), advice.c_str(), EBUSY};
    }
    if (number == EINVAL) advice << "BPF links of XDP need Linux 5.9, and the driver's MTU and queues have to fit";
    else if (number == EPERM) advice << "needs CAP_BPF and CAP_NET_ADMIN (root)";
    else if (mode == xdp_mode::native) advice << "the driver cannot do it as it is: a smaller MTU, or mode generic";
    return {"xdp", "attach to", on, ::strerror(number), advice.c_str(), number};
  }

  // An error with number 0 when nothing is attached any more.
  [[nodiscard]] static error detach_other(const char* on, int index) noexcept {
    const auto other = bpf::attached(index);
    if (!other) return other.error();
    int number = 0;
    if (other->id != 0) number = detach(index, *other);
    return {"xdp", "detach the other program of", on, number != 0 ? ::strerror(number) : "", "", number};
  }
  [[nodiscard]] static int detach(int index, const attached_program& other) noexcept {
    if (const std::uint32_t id = detail::find_xdp_link(other.id, index); id != 0) {
      ::bpf_attr a = detail::no_attributes();
      a.link_id = id;
      const detail::file_handle link(detail::bpf_call(BPF_LINK_GET_FD_BY_ID, a), true);
      if (link.get() < 0) return errno == ENOENT ? 0 : errno;
      a = detail::no_attributes();
      a.link_detach.link_fd = static_cast<std::uint32_t>(link.get());
      return detail::bpf_call(BPF_LINK_DETACH, a) == 0 ? 0 : errno;
    }
    detail::xdp_request ask(RTM_SETLINK, NLM_F_ACK, index);
    ask.begin_xdp();
    ask.add(IFLA_XDP_FD, static_cast<std::uint32_t>(-1));
    ask.add(IFLA_XDP_FLAGS, other.mode == xdp_mode::generic ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE);
    return ask.send([](unsigned, std::uint32_t) {});
  }

  detail::file_handle file_;
  int index_;
  xdp_mode mode_;
};

}  // namespace bpf
}  // namespace runnel

#endif  // defined(__linux__)

#endif

// ==== runnel/device.hpp ==============================================================================================
// Devices: null, link, captures, TAP, packet sockets; eBPF in the kernel; pools in mapped memory; the system's clock.
// On a target without an operating system those that need none.
#ifndef RUNNEL_DEVICE_ALL_HPP
#define RUNNEL_DEVICE_ALL_HPP

#endif

// ==== runnel/packet/verdict.hpp ======================================================================================
// What a stage says about a packet: the verdicts of XDP, netfilter's for those who take a packet over, and the
// cause when it is a drop.
#ifndef RUNNEL_PACKET_VERDICT_HPP
#define RUNNEL_PACKET_VERDICT_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint8_t, uint16_t

namespace runnel {

/// What is to happen with a packet.
enum class verdict_code : std::uint8_t {
  aborted,   ///< the program failed on this packet; it is dropped and counted as drop_reason::aborted (XDP_ABORTED)
  drop,      ///< end of the journey; the reason says why (XDP_DROP, NF_DROP)
  pass,      ///< on to the next stage (XDP_PASS, NF_ACCEPT)
  tx,        ///< out again by the device it came from (XDP_TX)
  redirect,  ///< out by another device, the one that `port` names (XDP_REDIRECT)
  stolen,    ///< the stage took ownership of the packet (NF_STOLEN)
  count_     ///< how many there are
};

/// How many codes there are.
inline constexpr std::size_t verdict_code_count = static_cast<std::size_t>(verdict_code::count_);

/// A verdict with its cause or target: four bytes, passed by value.
struct [[nodiscard]] verdict {
  /// What happens with the packet.
  verdict_code code = verdict_code::pass;
  drop_reason reason = drop_reason::none;  ///< why, for `drop` and `aborted`
  std::uint16_t port = 0;                  ///< which device, for `redirect`

  /// Equal when all their parts are.
  friend constexpr bool operator==(const verdict&, const verdict&) noexcept = default;
};

namespace detail {
// What these return is const, so that every pair of verdicts can stand on the two sides of a `?:`.
struct drop_verdict : verdict {
  /// A drop with its cause: `return drop(drop_reason::blocklist);`
  constexpr const verdict operator()(drop_reason why) const noexcept { return {verdict_code::drop, why, 0}; }
};
struct redirect_verdict {
  /// Sends the packet to the device at place `port` of the list that the early verdict was given.
  constexpr const verdict operator()(std::uint16_t port) const noexcept {
    return {verdict_code::redirect, drop_reason::none, port};
  }
};
}  // namespace detail

/// The verdicts by name; see `verdict_code`. @{
inline constexpr verdict aborted{verdict_code::aborted, drop_reason::aborted, 0};
inline constexpr detail::drop_verdict drop{{verdict_code::drop, drop_reason::policy, 0}};
inline constexpr verdict pass{verdict_code::pass, drop_reason::none, 0};
/// @}
/// The same verdict as `pass`, by the name that rules use for it. Where <sys/socket.h> is included too, the
/// system's function of this name makes an unqualified `accept` ambiguous: write `runnel::accept` there.
inline constexpr verdict accept = pass;
/// The verdicts by name; see `verdict_code`. @{
inline constexpr verdict tx{verdict_code::tx, drop_reason::none, 0};
inline constexpr detail::redirect_verdict redirect{};
inline constexpr verdict stolen{verdict_code::stolen, drop_reason::none, 0};
/// @}

/// The name of a verdict as XDP and netfilter spell it, in lower case.
[[nodiscard]] constexpr const char* name(verdict_code code) noexcept {
  switch (code) {
    case verdict_code::aborted: return "aborted";
    case verdict_code::drop: return "drop";
    case verdict_code::pass: return "pass";
    case verdict_code::tx: return "tx";
    case verdict_code::redirect: return "redirect";
    case verdict_code::stolen: return "stolen";
    case verdict_code::count_: break;
  }
  return "unknown";
}

}  // namespace runnel

#endif

// ==== runnel/flow/counters.hpp =======================================================================================
// What is counted at each stage. The numbers are added once for a burst, not for a packet.
#ifndef RUNNEL_FLOW_COUNTERS_HPP
#define RUNNEL_FLOW_COUNTERS_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint64_t

namespace runnel {

/// The counters of one stage: what came in, and what did not go on to the next stage. What passed is the rest. Stages
/// that are fused into one loop count bytes as they were at its beginning, whatever a stage before them in it pushed or
/// pulled.
struct stage_counters {
  std::uint64_t packets = 0;                        ///< that came in
  std::uint64_t bytes = 0;                          ///< that came in, with the lengths at the beginning of the loop
  std::uint64_t verdicts[verdict_code_count] = {};  ///< by verdict_code; `pass` is not counted here, see passed()
  std::uint64_t reasons[drop_reason_count] = {};    ///< drops and aborts by cause

  /// Packets that went on.
  [[nodiscard]] constexpr std::uint64_t passed() const noexcept {
    std::uint64_t rest = packets;
    for (const std::uint64_t v : verdicts) rest -= v;
    return rest;
  }
  /// Packets with this verdict.
  [[nodiscard]] constexpr std::uint64_t count(verdict_code code) const noexcept {
    return code == verdict_code::pass ? passed() : verdicts[static_cast<std::size_t>(code)];
  }
  /// Drops and aborts with this cause.
  [[nodiscard]] constexpr std::uint64_t dropped(drop_reason why) const noexcept {
    return reasons[static_cast<std::size_t>(why)];
  }
  /// Counts `n` packets of `length` bytes in all.
  constexpr void add(std::uint64_t n, std::uint64_t length) noexcept {
    packets += n;
    bytes += length;
  }
  /// Counts `n` packets with a verdict other than `pass`.
  constexpr void add(verdict v, std::uint64_t n = 1) noexcept {
    verdicts[static_cast<std::size_t>(v.code)] += n;
    if (v.code == verdict_code::drop || v.code == verdict_code::aborted)
      reasons[static_cast<std::size_t>(v.reason)] += n;
  }
  /// Counts something that was lost beside the path: a cause, and no packet of the path.
  constexpr void add_aside(verdict v) noexcept { reasons[static_cast<std::size_t>(v.reason)] += 1; }
};

/// Counting left out: takes no space and no time. `uncounted | parse() | ...` builds a pipeline with it.
struct no_counters {
  /// Counts nothing. @{
  constexpr void add(std::uint64_t, std::uint64_t) noexcept {}
  constexpr void add(verdict, std::uint64_t = 1) noexcept {}
  constexpr void add_aside(verdict) noexcept {}
  /// @}
};

}  // namespace runnel

#endif

// ==== runnel/flow/context.hpp ========================================================================================
// What a stage may know beside the packet: the time, and the device that the burst came from.
#ifndef RUNNEL_FLOW_CONTEXT_HPP
#define RUNNEL_FLOW_CONTEXT_HPP

#include <cstddef>  // size_t

namespace runnel {

/// Passed along with a burst. Valid for the call.
struct context {
  instant now{};  ///< when the burst was received, by the loop's clock
  /// Sends packets out by the device that the burst came from; null when that device cannot transmit.
  std::size_t (*transmit_back)(void* device, packet* packets, std::size_t n, instant now) noexcept = nullptr;
  /// The same for its own frames, which need no descriptor for it; null when that device takes packets only.
  std::size_t (*transmit_frames_back)(void* device, const frame* frames, std::size_t n, instant now) noexcept = nullptr;
  /// Internal: the device of the source.
  void* device = nullptr;
  text_writer* trace = nullptr;  ///< where traced packets are reported; set by `trace`
};

}  // namespace runnel

#endif

// ==== runnel/flow/ports.hpp ==========================================================================================
// The ways out of a stage that decides between several: a list of tags that is also the type of the decision.
#ifndef RUNNEL_FLOW_PORTS_HPP
#define RUNNEL_FLOW_PORTS_HPP

#include <concepts>  // same_as
#include <cstddef>   // size_t
#include <cstdint>   // uint8_t

namespace runnel {

/// The way that packets take which a branch did not look at, because they lack the headers that it asks for.
struct other {};

/// `ports<local, forward, no_route>` lists the ways out of a branch, and is what its decision returns: one of the
/// tags, or a verdict other than `pass` for a packet that goes no way at all.
///
///     struct by_port {
///       using ways = ports<dns, other>;
///       ways operator()(udp u) const { if (u.destination_port() == 53) return dns{}; return other{}; }
///     };
template <class... Ways>
class ports {
 public:
  /// How many ways.
  static constexpr std::size_t count = sizeof...(Ways);
  static_assert(count >= 1 && count <= 64, "runnel: a branch has 1 to 64 ways");

  /// Whether `W` is one of the ways.
  template <class W>
  static constexpr bool contains = (std::same_as<W, Ways> || ...);
  /// The place of `W` in the list.
  template <class W>
  static constexpr std::size_t index_of = [] {
    std::size_t i = 0;
    (void)((std::same_as<W, Ways> || (++i, false)) || ...);
    return i;
  }();

  /// The way that this tag names.
  template <class W>
    requires contains<W>
  constexpr ports(W) noexcept : ports(static_cast<std::uint16_t>(index_of<W>)) {}
  /// A verdict other than `pass`: the packet takes none of the ways. `pass` names no way (RUNNEL_ASSERT), and is a
  /// drop.
  constexpr ports(verdict v) noexcept : verdict_(v.code == verdict_code::pass ? verdict{drop} : v) {
    RUNNEL_ASSERT(v.code != verdict_code::pass);
  }
  /// The same for `drop`.
  constexpr ports(detail::drop_verdict v) noexcept : verdict_(v) {}
  /// The way `W`, for tags that cannot be made, such as views: `ways::to<tcp>()`.
  template <class W>
    requires contains<W>
  [[nodiscard]] static constexpr ports to() noexcept {
    return ports(static_cast<std::uint16_t>(index_of<W>));
  }

  /// Calls `f.template operator()<Way>()` for each way in the list.
  template <class F>
  static constexpr void for_each(F&& f) {
    (f.template operator()<Ways>(), ...);
  }
  /// `pass` with the way's place in `port`, or the verdict.
  [[nodiscard]] constexpr verdict decision() const noexcept { return verdict_; }

 private:
  constexpr explicit ports(std::uint16_t index) noexcept : verdict_{verdict_code::pass, drop_reason::none, index} {}
  verdict verdict_;
};

}  // namespace runnel

#endif

// ==== runnel/flow/type_name.hpp ======================================================================================
// The name of a type as text, for the drawing of a graph and for traces.
#ifndef RUNNEL_FLOW_TYPE_NAME_HPP
#define RUNNEL_FLOW_TYPE_NAME_HPP

#include <cstddef>  // size_t

namespace runnel::detail {

struct type_text {
  char characters[48] = {};
};

// The last part of a type's name without namespaces and template arguments: what stands behind the last "::" in the
// text that GCC and Clang make of a function's signature. What is in brackets of any kind is passed over: arguments,
// and the
// "(anonymous namespace)" and "main()" in front of local types.
template <class T>
consteval type_text make_type_name() {
  const char* at = __PRETTY_FUNCTION__;
  while (!(at[0] == 'T' && at[1] == ' ' && at[2] == '=' && at[3] == ' ')) ++at;
  type_text result;
  std::size_t size = 0;
  unsigned depth = 0;
  for (at += 4; *at != '\0' && (depth != 0 || (*at != ']' && *at != ';')); ++at) {
    if (*at == '<' || *at == '(' || *at == '{') {
      ++depth;
    } else if (*at == '>' || *at == ')' || *at == '}') {
      --depth;
    } else if (depth != 0) {
      continue;
    } else if (at[0] == ':' && at[1] == ':') {
      size = 0;
      ++at;
    } else if (size + 1 < sizeof result.characters) {
      result.characters[size++] = *at;
    }
  }
  for (std::size_t i = size; i < sizeof result.characters; ++i) result.characters[i] = '\0';
  return result;
}

template <class T>
inline constexpr type_text type_name_storage = make_type_name<T>();

}  // namespace runnel::detail

namespace runnel {

/// The unqualified name of `T`, zero-terminated, at most 47 characters; empty for lambdas and unnamed types.
template <class T>
[[nodiscard]] constexpr const char* type_name() noexcept {
  return detail::type_name_storage<T>.characters;
}

}  // namespace runnel

#endif

// ==== runnel/wire/header_map.hpp =====================================================================================
// Where the headers of one dissected packet lie: finds a header's bytes by its name, and makes views of them.
#ifndef RUNNEL_WIRE_HEADER_MAP_HPP
#define RUNNEL_WIRE_HEADER_MAP_HPP

#include <cstddef>      // byte, size_t
#include <type_traits>  // is_const_v

namespace runnel {

/// A view: a type over a header's bytes, as every file of `wire/` has one.
template <class V>
concept header_view = requires {
  V::in_header;
  V::min_size;
  typename V::mutable_view;
};

/// The bytes of one packet (its first fragment) together with what `dissect` found in them. A view: valid as long as
/// the packet is not changed in place or length. `Byte` is `const std::byte` or `std::byte`.
template <class Byte>
class basic_header_map {
 public:
  /// `just_found`: `dissect` said just that of just these bytes, and nothing was moved since, which is the caller's
  /// promise. Saves the bounds checks that it has made already.
  constexpr basic_header_map(byte_window<Byte> contents, std::size_t head_offset, const runnel::layers& found,
                             bool just_found = false) noexcept
      : begin_(contents.data()),
        head_(contents.data() - head_offset),
        end_(contents.data() + contents.size()),
        found_(known(found, head_offset)),
        just_found_(just_found) {}
  /// Of a packet, where `parse` found them.
  explicit basic_header_map(const packet& p) noexcept
    requires std::is_const_v<Byte>
      : basic_header_map(p.contents(), p.headroom(), p.layers()) {}
  /// Of a packet, where `parse` found them.
  explicit basic_header_map(packet& p) noexcept
    requires(!std::is_const_v<Byte>)
      : basic_header_map(p.writable(), p.headroom(), p.layers()) {}
  /// Of a frame, in which `found` was found.
  basic_header_map(const frame& f, const runnel::layers& found) noexcept
      : basic_header_map({f.data, f.length}, f.headroom, found) {}

  /// What was found.
  [[nodiscard]] constexpr const runnel::layers& layers() const noexcept { return found_; }
  /// How many bytes there are from `p` on, which lies in them.
  [[nodiscard]] constexpr std::size_t size_from(Byte* p) const noexcept { return static_cast<std::size_t>(end_ - p); }

  /// Where header `H` begins, or null when the packet has none, or fewer than `Need` bytes of it.
  template <header H, std::size_t Need>
  [[nodiscard]] RUNNEL_INLINE constexpr Byte* at() const noexcept {
    if (!present<H>()) return nullptr;
    if (is_checked<H, Need>()) {
      Byte* p = begin_;
      if constexpr (H != header::ethernet) p = head_ + offset_of<H>();
      if (p == nullptr) __builtin_unreachable();
      return p;
    }
    const std::size_t offset = offset_of<H>();
    const auto held = static_cast<std::size_t>(end_ - head_);
    if (offset + Need > held) return nullptr;  // an offset has at most 17 bits
    Byte* p = head_ + offset;
    if (p == nullptr) __builtin_unreachable();
    if constexpr (H == header::cvlan) {
      const std::uint16_t inner = load_be16(p - 2);
      if (!is_tag(inner)) return nullptr;
    }
    if constexpr (H == header::vxlan) {
      if (load_be16(p - 6) != 4789) return nullptr;
    }
    if constexpr (H == header::snap) {
      if (load_be24(p) != 0xaaaa03) return nullptr;
    }
    if constexpr (H == header::ipv6_fragment) p = find_fragment_header(p, held - offset);
    return p;
  }

  /// A view of type `V`, if the packet has that header: test `has`, then read.
  template <header_view V>
  [[nodiscard]] RUNNEL_INLINE constexpr bool has() const noexcept {
    return at<V::in_header, V::min_size>() != nullptr;
  }
  /// The view itself. `has<V>()` is the caller's promise. It ends where the IP datagram around it ends.
  template <header_view V>
  [[nodiscard]] RUNNEL_INLINE constexpr V get() const noexcept {
    Byte* p = at<V::in_header, V::min_size>();
    RUNNEL_ASSERT(p != nullptr);
    auto size = static_cast<std::size_t>(end_ - p);
    if constexpr (in_datagram(V::in_header)) {
      const std::size_t datagram = datagram_size();
      const auto before = static_cast<std::size_t>(p - (head_ + found_.network));
      if (datagram < before + V::min_size) size = V::min_size;
      else if (datagram - before < size) size = datagram - before;
    }
    if constexpr (V::in_header == header::llc) {
      // Padding lies behind what the length says; a cooked header without tags has none.
      const std::size_t said = behind_tags(std::size_t{found_.network} - found_.link).type;
      if (is_tagged_or_ethernet() && said < size) size = said < V::min_size ? V::min_size : said;
    }
    return V::unchecked({p, size});
  }

 private:
  // Member by member, so that only those are loaded which somebody looks at.
  [[nodiscard]] RUNNEL_INLINE static constexpr runnel::layers known(const runnel::layers& found,
                                                                    std::size_t head_offset) noexcept {
    if (found.has(protocol::parsed)) [[likely]]
      return {found.protocols, found.network, found.transport, found.link, found.fault};
    // Nothing is known yet but the link header, which is where the bytes begin.
    return {.protocols = static_cast<std::uint16_t>(found.protocols & 7u),
            .network = static_cast<std::uint16_t>(head_offset),
            .transport = found.transport,
            .fault = found.fault};
  }
  // Whether `dissect` has made sure of the first `Need` bytes of a header that it found.
  template <header H, std::size_t Need>
  [[nodiscard]] RUNNEL_INLINE constexpr bool is_checked() const noexcept {
    constexpr std::size_t size = H == header::ethernet                                          ? 14
                                 : H == header::arp                                             ? 28
                                 : H == header::ipv4 || H == header::tcp                        ? 20
                                 : H == header::ipv6                                            ? 40
                                 : H == header::udp || H == header::icmp || H == header::icmpv6 ? 8
                                 : H == header::th || H == header::vlan || H == header::gre     ? 4
                                                                                                : 0;
    // Only the link header is there without everything having been found right.
    return Need <= size && just_found_ && (H != header::ethernet || found_.has(protocol::parsed));
  }
  static constexpr bool in_datagram(header h) noexcept {
    return h != header::ethernet && h != header::vlan && h != header::cvlan && h != header::mpls && h != header::arp &&
           h != header::llc;
  }
  template <header H>
  [[nodiscard]] RUNNEL_INLINE constexpr bool present() const noexcept {
    if constexpr (H == header::ethernet) return found_.link_kind() == link_type::ethernet;
    else if constexpr (H == header::vlan)
      return found_.link_kind() == link_type::ethernet && found_.has(protocol::vlan);
    else if constexpr (H == header::cvlan) return present<header::vlan>() && found_.link >= 22;
    else if constexpr (H == header::mpls) return found_.has(protocol::mpls);
    else if constexpr (H == header::arp) return found_.has(protocol::arp);
    else if constexpr (H == header::ipv4) return found_.has(protocol::ipv4);
    else if constexpr (H == header::ipv6) return found_.has(protocol::ipv6);
    else if constexpr (H == header::ipv6_fragment) return found_.has(protocol::ipv6) && found_.has(protocol::fragment);
    else if constexpr (H == header::tcp) return found_.has(protocol::tcp);
    else if constexpr (H == header::udp) return found_.has(protocol::udp);
    else if constexpr (H == header::th) return found_.has(protocol::tcp) || found_.has(protocol::udp);
    else if constexpr (H == header::icmp) return found_.has(protocol::icmp);
    else if constexpr (H == header::icmpv6) return found_.has(protocol::icmpv6);
    else if constexpr (H == header::gre) return found_.has(protocol::gre);
    else if constexpr (H == header::llc || H == header::snap)
      return found_.link_kind() == link_type::ethernet || found_.link_kind() == link_type::linux_sll ||
             found_.link_kind() == link_type::linux_sll2;
    else return found_.has(protocol::udp);
  }
  template <header H>
  [[nodiscard]] RUNNEL_INLINE constexpr std::size_t offset_of() const noexcept {
    const std::size_t link = std::size_t{found_.network} - found_.link;
    if constexpr (H == header::ethernet) return link;
    else if constexpr (H == header::vlan) return link + 14;
    else if constexpr (H == header::cvlan) return link + 18;
    else if constexpr (H == header::mpls) return mpls_offset(link);
    else if constexpr (H == header::arp || H == header::ipv4 || H == header::ipv6 || H == header::ipv6_fragment)
      return found_.network;
    else if constexpr (H == header::llc || H == header::snap) return llc_offset(link);
    else if constexpr (H == header::vxlan) return std::size_t{found_.transport} + 8;
    else return found_.transport;
  }
  // What follows the link header and all VLAN tags, by the way that dissect went: its type, or an 802.3 length. Or
  // everything, and what is no place at all.
  struct behind_link {
    std::size_t at;
    std::uint16_t type;
  };
  [[nodiscard]] constexpr behind_link behind_tags(std::size_t link) const noexcept {
    const link_type kind = found_.link_kind();
    const std::size_t size = kind == link_type::ethernet ? 14u : kind == link_type::linux_sll ? 16u : 20u;
    const std::size_t type_at = kind == link_type::linux_sll2 ? link : link + size - 2;
    const auto held = static_cast<std::size_t>(end_ - head_);
    std::size_t at = link + size;
    if (at > held || at > found_.network) return {held, 0xffff};
    std::uint16_t type = load_be16(head_ + type_at);
    for (; is_tag(type) && at + 4 <= held && at + 4 <= found_.network; at += 4) type = load_be16(head_ + at + 2);
    return {at, type};
  }
  [[nodiscard]] constexpr std::size_t mpls_offset(std::size_t link) const noexcept {
    const behind_link b = behind_tags(link);
    return b.type < 0x0600 ? b.at + 8 : b.at;
  }
  // A cooked header says 4 where an LLC header follows, and nothing when it is from netlink (ARPHRD 824).
  [[nodiscard]] constexpr std::size_t llc_offset(std::size_t link) const noexcept {
    const behind_link b = behind_tags(link);
    const auto held = static_cast<std::size_t>(end_ - head_);
    if (b.type >= 0x0600) return held;
    if (is_tagged_or_ethernet()) return b.at;
    const std::size_t hardware_at = link + (found_.link_kind() == link_type::linux_sll ? 2u : 8u);
    return b.type == 4 && load_be16(head_ + hardware_at) != 824 ? b.at : held;
  }
  [[nodiscard]] constexpr bool is_tagged_or_ethernet() const noexcept {
    return found_.link_kind() == link_type::ethernet || found_.has(protocol::vlan);
  }
  static constexpr bool is_tag(std::uint16_t type) noexcept {
    return type == 0x8100 || type == 0x88a8 || type == 0x9100;
  }
  // Walks the extension headers from the fixed header at `p`, of which `size` bytes are there.
  [[nodiscard]] static constexpr Byte* find_fragment_header(Byte* p, std::size_t size) noexcept {
    if (size < 40) return nullptr;
    std::uint8_t next = load_u8(p + 6);
    std::size_t at = 40;
    while (at + 8 <= size) {
      if (next == 44) return p + at;
      if (next != 0 && next != 43 && next != 60 && next != 51) return nullptr;
      // The authentication header counts in other units (RFC 4302 §2.2).
      const std::size_t said = load_u8(p + at + 1);
      const std::size_t size_of_this = next == 51 ? (said + 2) * 4 : (said + 1) * 8;
      next = load_u8(p + at);
      at += size_of_this;
    }
    return nullptr;
  }
  // Bytes from the network header to the end of the datagram, as its IP header says.
  [[nodiscard]] RUNNEL_INLINE constexpr std::size_t datagram_size() const noexcept {
    if (Byte* p = at<header::ipv4, 20>()) return load_be16(p + 2);
    if (Byte* p = at<header::ipv6, 40>()) return std::size_t{load_be16(p + 4)} + 40;
    return static_cast<std::size_t>(end_ - head_);
  }

  Byte* begin_;  // of what the layers were found in
  Byte* head_;
  Byte* end_;
  runnel::layers found_;
  bool just_found_;
};

/// A map that gives views to read.
using header_map = basic_header_map<const std::byte>;
/// A map that gives views to write to (`mut<ipv4>`).
using mutable_header_map = basic_header_map<std::byte>;

}  // namespace runnel

#endif

// ==== runnel/match/subject.hpp =======================================================================================
// What a match expression is asked about: one packet's bytes, the places of its headers, and what is known beside
// them. The same for frames, packets and literal bytes.
#ifndef RUNNEL_MATCH_SUBJECT_HPP
#define RUNNEL_MATCH_SUBJECT_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t

namespace runnel {

/// The subject of a match expression. A view: valid as long as the packet is not changed in place or length. Made
/// right where it is used: everything is inlined there, and what no expression asks for is never loaded.
///
/// Only what `dissect` found can match. A packet that was not dissected, or in which it found a fault, has a link
/// header at most; a later fragment of an IP datagram has no transport header.
struct subject {
  /// A frame, and what `dissect` found in it.
  subject(const frame& f, const layers& found) noexcept : subject(f, header_map{f, found}) {}
  /// The same with a map of its headers that somebody has made already.
  subject(const frame& f, const header_map& map) noexcept
      : contents{f.data, f.length},
        headers(map),
        length(f.length),
        timestamp(f.timestamp),
        iif(f.iif),
        queue(f.queue) {}
  /// A packet that `parse` has seen. Implicit, so that rules can be called with a packet.
  subject(const packet& p) noexcept : subject(p, header_map{p}) {}
  /// The same with a map of its headers that somebody has made already.
  subject(const packet& p, const header_map& map) noexcept
      : contents(p.contents()),
        headers(map),
        length(p.total_length()),
        timestamp(p.timestamp()),
        mark(p.mark()),
        flow_hash(p.flow_hash()),
        connection(p.connection()),
        iif(p.iif()),
        priority(p.priority()),
        queue(p.queue()) {}
  /// Bytes, and what `dissect` found in them: for tests, also in constant evaluation.
  constexpr subject(bytes b, const layers& found) noexcept : contents(b), headers(b, 0, found), length(b.size()) {}

  bytes contents;       ///< of the first fragment: as far as headers are looked for
  header_map headers;   ///< where its headers are
  std::size_t length;   ///< bytes in all fragments, link header included
  instant timestamp{};  ///< when it was received
  /// As `packet::mark()`; 0 for a frame.
  std::uint32_t mark = 0;
  /// As `packet::flow_hash()`; 0 for a frame.
  std::uint32_t flow_hash = 0;
  std::uint32_t connection = 0;  ///< as `packet::connection()`: 0 when untracked, which a frame always is
  std::uint16_t iif = 0;         ///< by which interface of the device it came
  /// As `packet::priority()`; 0 for a frame.
  std::uint8_t priority = 0;
  std::uint8_t queue = 0;  ///< by which receive queue it came; of a packet as `packet::queue()`
};

}  // namespace runnel

#endif

// ==== runnel/packet/burst.hpp ========================================================================================
// A burst: up to a few dozen packets that travel together, each with its verdict. What a stage gets that looks at
// many packets at once (bulk lookups, GRO).
#ifndef RUNNEL_PACKET_BURST_HPP
#define RUNNEL_PACKET_BURST_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint32_t

namespace runnel {

/// How many packets travel together, unless the user says otherwise.
inline constexpr std::size_t default_burst = 64;
/// How many may.
inline constexpr std::size_t max_burst = 256;

/// Packets and their verdicts, in arrays that somebody else owns (`burst_of` has its own). The first `size()`
/// handles are the burst; a stage may move packets out of it (which steals them: the handle is then empty), set
/// verdicts, and append packets up to `capacity()`. Every verdict begins as `pass`.
class burst {
 public:
  /// `size` packets, each with its verdict, in arrays with room for `capacity`, which must outlive it.
  constexpr burst(packet* packets, verdict* verdicts, std::size_t size, std::size_t capacity) noexcept
      : packets_(packets), verdicts_(verdicts), size_(size), capacity_(capacity) {}
  burst(const burst&) = delete;
  burst& operator=(const burst&) = delete;

  /// How many packets.
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  /// How many packets fit.
  [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }
  /// Whether there is none.
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  /// Packet `i`.
  [[nodiscard]] packet& operator[](std::size_t i) noexcept {
    RUNNEL_ASSERT(i < size_);
    return packets_[i];
  }
  /// For loops over the packets. @{
  [[nodiscard]] packet* begin() noexcept { return packets_; }
  [[nodiscard]] packet* end() noexcept { return packets_ + size_; }
  /// @}
  /// The verdict on packet `i`, to read or to set.
  [[nodiscard]] verdict& verdict_on(std::size_t i) noexcept {
    RUNNEL_ASSERT(i < size_);
    return verdicts_[i];
  }
  /// Adds a packet at the end with the verdict `pass`. False, and the packet is still the caller's, when it is full.
  [[nodiscard]] bool push_back(packet&& p) noexcept {
    if (size_ == capacity_) return false;
    verdicts_[size_] = pass;
    packets_[size_++] = static_cast<packet&&>(p);
    return true;
  }
  /// Releases all packets.
  void clear() noexcept {
    while (size_ != 0) packets_[--size_].reset();
  }

 private:
  packet* packets_;
  verdict* verdicts_;
  std::size_t size_;
  std::size_t capacity_;
};

/// A burst with room for `N` packets of its own.
template <std::size_t N = default_burst>
class burst_of : public burst {
 public:
  static_assert(N >= 1 && N <= max_burst, "runnel: a burst holds 1 to 256 packets");
  burst_of() noexcept : burst(packets_, verdicts_, 0, N) {}

 private:
  packet packets_[N];
  verdict verdicts_[N];
};

}  // namespace runnel

#endif

// ==== runnel/flow/stage.hpp ==========================================================================================
// What a stage is, and how a plain function becomes one: by the types of its parameters.
#ifndef RUNNEL_FLOW_STAGE_HPP
#define RUNNEL_FLOW_STAGE_HPP

#include <concepts>     // same_as, invocable
#include <cstddef>      // size_t
#include <cstdint>      // uint16_t
#include <type_traits>  // remove_cvref_t, is_void_v
#include <utility>      // move, forward

namespace runnel {

/// Tracked connections; defined by `track/`. A handler may only ask for one behind `track()`.
class connection;

/// How the engine calls a stage.
enum class stage_kind : std::uint8_t {
  early,   ///< looks at frames, before there are packets: `xdp(...)`
  each,    ///< looks at one packet at a time, and is fused with its neighbours
  burst,   ///< looks at a whole burst
  aside,   ///< does something with the burst beside the path, and lets all of it go on: `tee`
  branch,  ///< decides between ways
  end,     ///< takes ownership of what arrives
};

/// What is known at compile time of the packets at one place of a pipeline.
struct place {
  bool packets = false;                 ///< descriptors have been attached; before that there are only frames
  bool parsed = false;                  ///< `parse()` lies behind
  bool tracked = false;                 ///< `track()` lies behind
  bool shared = false;                  ///< the bytes may belong to a clone as well
  bool traced = false;                  ///< a `trace` lies behind
  std::uint16_t burst = default_burst;  ///< how many packets travel together at most
};

namespace detail {

template <class... T>
struct type_list {};

template <class F>
struct signature_of_member;
template <class R, class C, class... A>
struct signature_of_member<R (C::*)(A...)> {
  using arguments = type_list<A...>;
  using result = R;
};
template <class R, class C, class... A>
struct signature_of_member<R (C::*)(A...) const> {
  using arguments = type_list<A...>;
  using result = R;
};
template <class R, class C, class... A>
struct signature_of_member<R (C::*)(A...) noexcept> {
  using arguments = type_list<A...>;
  using result = R;
};
template <class R, class C, class... A>
struct signature_of_member<R (C::*)(A...) const noexcept> {
  using arguments = type_list<A...>;
  using result = R;
};

template <class F>
struct signature {};
template <class F>
  requires requires { &F::operator(); }
struct signature<F> : signature_of_member<decltype(&F::operator())> {};
template <class R, class... A>
struct signature<R (*)(A...)> {
  using arguments = type_list<A...>;
  using result = R;
};
template <class R, class... A>
struct signature<R (*)(A...) noexcept> {
  using arguments = type_list<A...>;
  using result = R;
};

// A function object with one operator(), or a function.
template <class F>
concept has_signature = requires { typename signature<F>::arguments; };

template <class A>
inline constexpr bool is_view = header_view<std::remove_cvref_t<A>>;
template <class A>
inline constexpr bool is_writing_view = false;
template <class A>
  requires is_view<A>
inline constexpr bool is_writing_view<A> =
    std::same_as<std::remove_cvref_t<A>, typename std::remove_cvref_t<A>::mutable_view>;
template <class A>
inline constexpr bool is_packet = std::same_as<std::remove_cvref_t<A>, packet>;
template <class A>
inline constexpr bool is_frame = std::same_as<std::remove_cvref_t<A>, frame>;
template <class A>
inline constexpr bool is_connection = std::same_as<std::remove_cvref_t<A>, connection>;
template <class A>
inline constexpr bool is_time = std::same_as<std::remove_cvref_t<A>, instant>;
template <class A>
inline constexpr bool is_subject = std::same_as<std::remove_cvref_t<A>, subject>;
// Views, the time and subjects are made for the call: `ipv4&` would refer to nothing.
template <class A>
inline constexpr bool is_made = (is_view<A> || is_time<A> || is_subject<A>) &&
                                (!std::is_lvalue_reference_v<A> || std::is_const_v<std::remove_reference_t<A>>);
template <class A>
inline constexpr bool is_argument = is_made<A> || is_packet<A> || is_frame<A> || is_connection<A>;

template <class A>
constexpr bool view_needs_parse() {
  if constexpr (is_view<A>) return std::remove_cvref_t<A>::in_header != header::ethernet;
  else return is_subject<A>;
}

// What the parameters of a handler say together.
template <class List>
struct demands;
template <class... A>
struct demands<type_list<A...>> {
  static constexpr bool known = (sizeof...(A) > 0) && (is_argument<A> && ...);
  static constexpr bool views = (is_view<A> || ...);
  static constexpr bool parsed = (view_needs_parse<A>() || ...);
  static constexpr bool writes = (is_writing_view<A> || ...);
  static constexpr bool packets = (is_packet<A> || ...);
  static constexpr bool whole_packets = (std::same_as<A, packet&> || ...);
  static constexpr bool packets_by_value = ((is_packet<A> && !std::is_lvalue_reference_v<A>) || ...);
  static constexpr bool frames = (is_frame<A> || ...);
  static constexpr bool connections = (is_connection<A> || ...);
};

// What a handler may return. Nothing is `pass`.
template <class R>
inline constexpr bool is_verdict = std::is_void_v<R> || std::is_convertible_v<R, verdict>;

// What a stage of a segment has just found in the packet that is on its way through it, in registers: stages that only
// look at headers need neither load it nor check it again. Not valid when nobody has looked in this loop - what a
// packet brought with it may have been found before it was shortened - or when a stage may have moved something since.
struct known_layers {
  layers found;
  bool valid = false;
  [[nodiscard]] RUNNEL_INLINE const layers* get() const noexcept { return valid ? &found : nullptr; }
};

// Hands out arguments from a packet. `found` is what a stage before this one in the same loop has found in it; null
// when one has to look into the descriptor, and check again what may have changed. The frame's counterpart is in
// early.hpp.
struct packet_source {
  packet& p;
  context& c;
  const layers* found;

  [[nodiscard]] RUNNEL_INLINE header_map map() const noexcept {
    if (found != nullptr) return header_map{p.contents(), p.headroom(), *found, true};
    return header_map{static_cast<const packet&>(p)};
  }
  [[nodiscard]] RUNNEL_INLINE mutable_header_map writable_map() const noexcept {
    if (found != nullptr) return mutable_header_map{p.writable(), p.headroom(), *found, true};
    return mutable_header_map{p};
  }
  template <class A>
  [[nodiscard]] RUNNEL_INLINE decltype(auto) give() const noexcept {
    if constexpr (is_writing_view<A>) return writable_map().template get<std::remove_cvref_t<A>>();
    else if constexpr (is_view<A>) return map().template get<std::remove_cvref_t<A>>();
    else if constexpr (is_packet<A>) return (p);
    else if constexpr (is_time<A>) return instant{c.now};
    else return subject{static_cast<const packet&>(p), map()};
  }
};

template <class A, class Map>
RUNNEL_INLINE bool has_argument(const Map& map) noexcept {
  if constexpr (is_view<A>) return map.template has<std::remove_cvref_t<A>>();
  else return true;
}

// Calls a handler with what it asks for, or yields `missing` when the packet lacks one of the headers.
template <class Result, class F, class Source, class... A>
RUNNEL_INLINE Result call_handler(F& f, const Source& source, Result missing, type_list<A...>) noexcept {
  if constexpr (demands<type_list<A...>>::views) {
    const auto map = source.map();
    if (!(has_argument<A>(map) && ...)) return missing;
  }
  if constexpr (std::is_void_v<decltype(f(source.template give<A>()...))>) {
    f(source.template give<A>()...);
    return missing;
  } else {
    return Result{f(source.template give<A>()...)};
  }
}

// A type that is a stage as it stands: everything that this library offers for a pipeline.
template <class S>
concept native_stage = requires {
  { S::kind } -> std::convertible_to<stage_kind>;
};

template <class F>
concept handler_function =
    has_signature<F> && demands<typename signature<F>::arguments>::known && is_verdict<typename signature<F>::result>;
template <class F>
concept handler_by_value = handler_function<F> && demands<typename signature<F>::arguments>::packets_by_value;
template <class F>
concept burst_function = has_signature<F> && std::same_as<typename signature<F>::arguments, type_list<burst&>>;
template <class F>
concept rules_function = requires(const F& f, const subject& s) {
  { f(s) } -> std::convertible_to<verdict>;
};
template <class F>
concept prefetching = requires { &F::prefetch; };

template <class F>
struct prefetch_demands : demands<type_list<>> {};
template <prefetching F>
struct prefetch_demands<F> : demands<typename signature_of_member<decltype(&F::prefetch)>::arguments> {
  using arguments = typename signature_of_member<decltype(&F::prefetch)>::arguments;
};
// Calls the `prefetch` of a handler with what it asks for, unless the packet lacks one of the headers.
template <class F>
RUNNEL_INLINE void prefetch_for(F& function, packet& p, context& c, const layers* found) noexcept {
  using needs = prefetch_demands<F>;
  constexpr bool possible =
      needs::known && !needs::frames && !needs::connections && !needs::writes && !needs::packets_by_value;
  static_assert(possible,
                "runnel: prefetch() asks for something that it cannot have: its parameters are header views to read "
                "such as ipv4, packet&, instant or const subject&");
  if constexpr (possible) {
    const auto call = [&function](auto&&... a) noexcept {
      keep_what_follows();
      function.prefetch(static_cast<decltype(a)&&>(a)...);
    };
    call_handler<bool>(call, packet_source{p, c, found}, true, typename needs::arguments{});
  }
}

}  // namespace detail

/// Something that can stand in a pipeline:
/// - a handler, `[](ipv4 ip, udp u) {...}`, whose parameters are header views (`mut<ipv4>` to write), `packet&`,
///   `instant` (the time) or `const subject&`, and which returns a `verdict` or nothing. It runs for the packets
///   that have all these headers; the others pass it by;
/// - an object with one such `operator()`, and perhaps `void prefetch(...)` with parameters of the same kinds, which is
///   called for every packet of a burst before the object sees the first: the place for `prefetch_to_read`. A stage
///   that moves the packet out of the handle returns `stolen` (RUNNEL_ASSERT), or nothing;
/// - an object with `void operator()(burst&)`;
/// - rules;
/// - what the functions of this library return: `parse()`, `xdp(...)`, `branch(...)`, `tee(...)`, `transmit(...)`, ...
template <class S>
concept stage =
    detail::native_stage<S> || detail::handler_function<S> || detail::burst_function<S> || detail::rules_function<S>;

namespace detail {

// Defaults of what the checks ask a stage for.
struct stage_defaults {
  static constexpr bool wants_packet = true;  // false: can look at frames as well
  static constexpr bool needs_parsed = false;
  static constexpr bool needs_tracked = false;
  static constexpr bool writes = false;  // changes the packet's bytes
  static constexpr bool resizes = true;  // may change a packet's length, or take it out
  static constexpr bool gives_parsed = false;
  static constexpr bool gives_tracked = false;
  static constexpr bool makes_shared = false;
  static constexpr bool makes_own = false;  // makes shared bytes the packet's own
  static constexpr bool traces = false;
  static constexpr bool asks_for_frame = false;
};

constexpr const char* header_name(header h) noexcept {
  switch (h) {
    case header::ethernet: return "ethernet";
    case header::vlan: return "vlan";
    case header::cvlan: return "cvlan";
    case header::mpls: return "mpls";
    case header::arp: return "arp";
    case header::ipv4: return "ipv4";
    case header::ipv6: return "ipv6";
    case header::ipv6_fragment: return "ipv6_fragment";
    case header::icmp: return "icmp";
    case header::icmpv6: return "icmpv6";
    case header::tcp: return "tcp";
    case header::udp: return "udp";
    case header::th: return "th";
    case header::gre: return "gre";
    case header::vxlan: return "vxlan";
    case header::llc: return "llc";
    default: break;
  }
  return "?";
}

// What a way is called: a view's name, the tag's own `name`, or its type.
template <class Way>
constexpr const char* way_name() noexcept {
  if constexpr (header_view<Way>) return header_name(Way::in_header);
  else if constexpr (requires { Way::name; }) return Way::name;
  else return type_name<Way>();
}

template <class A>
constexpr void print_argument(text_writer& out) noexcept {
  if constexpr (is_writing_view<A>) out << "mut<" << header_name(std::remove_cvref_t<A>::in_header) << '>';
  else if constexpr (is_view<A>) out << header_name(std::remove_cvref_t<A>::in_header);
  else if constexpr (is_packet<A>) out << "packet";
  else if constexpr (is_frame<A>) out << "frame";
  else if constexpr (is_time<A>) out << "instant";
  else out << "subject";
}
template <class... A>
constexpr void print_arguments(text_writer& out, type_list<A...>) noexcept {
  bool first = true;
  ((out << (first ? "" : ", "), first = false, print_argument<A>(out)), ...);
}

// Prints what a stage is called: its own `name`, else `fallback`.
template <class S>
constexpr void print_name(text_writer& out, const S& s, const char* fallback) noexcept {
  if constexpr (requires { s.print_name(out); }) s.print_name(out);
  else if constexpr (requires { out << S::name; }) out << S::name;
  else out << fallback;
}

// A handler as a stage.
template <class F>
struct handler_stage : stage_defaults {
  using arguments = typename signature<F>::arguments;
  using needs = demands<arguments>;
  static constexpr stage_kind kind = stage_kind::each;
  static constexpr bool needs_parsed = needs::parsed || prefetch_demands<F>::parsed;
  static constexpr bool needs_tracked = needs::connections;
  static constexpr bool writes = needs::writes;
  static constexpr bool resizes = needs::whole_packets;
  static constexpr bool asks_for_frame = needs::frames;
  static_assert(
      prefetching<F> || !requires(F& f, packet& p) { f.prefetch(p); },
      "runnel: prefetch() is one function, neither overloaded nor a template: its parameters say what it needs");

  constexpr explicit handler_stage(F f) noexcept : function(std::move(f)) {}
  RUNNEL_INLINE verdict operator()(packet& p, context& c, const layers* found = nullptr) noexcept {
    if constexpr (needs::frames) {
      return pass;  // an error that check_stage reports
    } else {
      const verdict v = call_handler<verdict>(function, packet_source{p, c, found}, pass, arguments{});
      // A handler that returns nothing cannot say that it has taken the packet.
      if constexpr (std::is_void_v<typename signature<F>::result> && needs::whole_packets)
        if (!p) [[unlikely]]
          return stolen;
      return v;
    }
  }
  RUNNEL_INLINE void prefetch(packet& p, context& c, const layers* found) noexcept
    requires prefetching<F>
  {
    prefetch_for(function, p, c, found);
  }
  constexpr void print_name(text_writer& out) const noexcept {
    if constexpr (requires { out << F::name; }) {
      out << F::name;
    } else {
      out << "handler(";
      print_arguments(out, arguments{});
      out << ')';
    }
  }
  F function;
};

// Rules as a stage.
template <class R>
struct rules_stage : stage_defaults {
  static constexpr stage_kind kind = stage_kind::each;
  static constexpr bool needs_parsed = true;
  static constexpr bool resizes = false;
  constexpr explicit rules_stage(R r) noexcept : rules(std::move(r)) {}
  RUNNEL_INLINE verdict operator()(packet& p, context& c, const layers* found = nullptr) noexcept {
    return rules(subject{static_cast<const packet&>(p), packet_source{p, c, found}.map()});
  }
  constexpr void print_name(text_writer& out) const noexcept { runnel::detail::print_name(out, rules, "rules"); }
  R rules;
};

// A function over a burst as a stage.
template <class F>
struct burst_stage : stage_defaults {
  static constexpr stage_kind kind = stage_kind::burst;
  constexpr explicit burst_stage(F f) noexcept : function(std::move(f)) {}
  RUNNEL_INLINE void operator()(burst& b, context&) noexcept { function(b); }
  constexpr void print_name(text_writer& out) const noexcept { runnel::detail::print_name(out, function, "burst"); }
  F function;
};

// What stands in for something that is no stage, so that one error does not bring a hundred.
struct not_a_stage : stage_defaults {
  static constexpr stage_kind kind = stage_kind::each;
  verdict operator()(packet&, context&) noexcept { return pass; }
};

// Turns whatever a user writes between two bars into a stage that the engine can call.
template <class S>
constexpr auto as_stage(S s) noexcept {
  static_assert(stage<S>,
                "runnel: this is not a stage. A stage is a handler whose parameters are header views such as ipv4 or "
                "mut<udp>, packet&, instant or const subject&, and which returns a verdict or nothing; an object with "
                "'verdict operator()(packet&)' or 'void operator()(burst&)'; rules; or what parse(), xdp(), branch(), "
                "tee(), transmit() and the like return");
  static_assert(
      !handler_by_value<S>,
      "runnel: a handler asks for a packet by value, but the packet goes on to the next stage: ask for packet&; "
      "to take ownership, end the pipeline in deliver([](packet p) {...}), or move the packet out of packet& "
      "and return stolen");
  if constexpr (native_stage<S>) return s;
  else if constexpr (handler_by_value<S>) return not_a_stage{};
  else if constexpr (burst_function<S>) return burst_stage<S>{std::move(s)};
  else if constexpr (handler_function<S>) return handler_stage<S>{std::move(s)};
  else if constexpr (rules_function<S>) return rules_stage<S>{std::move(s)};
  else return not_a_stage{};
}

template <class S>
using stage_of = decltype(as_stage(std::declval<S>()));

}  // namespace detail

namespace detail {
template <class S>
struct named_stage : S {
  const char* label;
  constexpr void print_name(text_writer& out) const noexcept { out << label; }
  [[nodiscard]] constexpr auto without_counters() && noexcept
    requires requires(S s) { std::move(s).without_counters(); }
  {
    using bare = decltype(static_cast<S&&>(*this).without_counters());
    return named_stage<bare>{static_cast<S&&>(*this).without_counters(), label};
  }
};
}  // namespace detail

/// Gives a stage a name for the drawing of the graph and for traces. `label` must outlive the pipeline: a literal.
template <class S>
[[nodiscard]] constexpr auto named(const char* label, S s) noexcept {
  return detail::named_stage<detail::stage_of<S>>{detail::as_stage(std::move(s)), label};
}

}  // namespace runnel

#endif

// ==== runnel/flow/pipeline.hpp =======================================================================================
// Pipelines: stages joined with `|`, kept as one type, and checked before anything runs.
#ifndef RUNNEL_FLOW_PIPELINE_HPP
#define RUNNEL_FLOW_PIPELINE_HPP

#include <cstddef>      // size_t
#include <type_traits>  // remove_cvref_t, false_type
#include <utility>      // move, forward

namespace runnel {

namespace detail {

// The stages of a pipeline, each with its counters, as a recursive struct: cheaper to compile than a tuple, and
// every stage sees the rest of the path as one type.
template <class Counters, class... Stages>
struct stage_list {
  static constexpr std::size_t size = 0;
};
template <class Counters, class First, class... Rest>
struct stage_list<Counters, First, Rest...> {
  static constexpr std::size_t size = 1 + sizeof...(Rest);
  using first_stage = First;
  using rest_list = stage_list<Counters, Rest...>;

  [[no_unique_address]] First stage;
  [[no_unique_address]] Counters counters{};
  [[no_unique_address]] rest_list rest{};
};

template <class Counters, class Last>
constexpr stage_list<Counters, Last> append(stage_list<Counters>&&, Last&& last) noexcept {
  return {std::forward<Last>(last)};
}
template <class Counters, class First, class... Rest, class Last>
constexpr stage_list<Counters, First, Rest..., Last> append(stage_list<Counters, First, Rest...>&& list,
                                                            Last&& last) noexcept {
  return {std::move(list.stage), std::move(list.counters), append(std::move(list.rest), std::forward<Last>(last))};
}

template <class... Stages>
inline constexpr bool ends = false;
template <class Only>
inline constexpr bool ends<Only> = Only::kind == stage_kind::end || Only::kind == stage_kind::branch;
template <class First, class... Rest>
  requires(sizeof...(Rest) > 0)
inline constexpr bool ends<First, Rest...> = ends<Rest...>;

// ---- the promised errors, each in a template that carries the culprit's type in its name

template <class Stage, class After>
struct stage_after_an_end {
  static_assert(After::kind != stage_kind::end,
                "runnel: this stage stands after an end: transmit, deliver, enqueue, discard and shared take ownership "
                "of what arrives, nothing comes out of them; put the stage before the end, or use tee() to do both");
  static_assert(After::kind != stage_kind::branch,
                "runnel: this stage stands after a branch: continue on its ways, .on<way>(... | ...); to join ways "
                "again, give several of them the same shared(pipeline)");
};

// Checks one stage at one place.
template <class Stage, place At>
struct check_stage {
  static_assert(!(Stage::kind == stage_kind::early && At.packets),
                "runnel: an early verdict, xdp(...), must stand at the beginning of the pipeline, before the first "
                "stage that wants a packet");
  static_assert(Stage::kind == stage_kind::early || !Stage::asks_for_frame,
                "runnel: a handler asks for a frame, but there are only packets at this place: ask for packet&, or "
                "move it into xdp(...) at the beginning");
  static_assert(Stage::kind == stage_kind::early || !Stage::needs_parsed || At.parsed,
                "runnel: a stage asks for network or transport headers, but the packet has not been parsed at this "
                "place: put parse() before it, or move it into xdp(...) at the beginning");
  static_assert(!Stage::needs_tracked || At.tracked,
                "runnel: a handler asks for a connection, but none has been looked up at this place: put track() "
                "before it");
  static_assert(!Stage::writes || !At.shared,
                "runnel: a stage writes to the packet's bytes, but they may be shared with a clone at this place: put "
                "unshare() before it");
};

// What is known behind a stage.
template <class Stage>
constexpr place after(place at) noexcept {
  if (Stage::kind != stage_kind::early && Stage::wants_packet) at.packets = true;
  if (Stage::gives_parsed) at.parsed = true;
  if (Stage::gives_tracked) at.tracked = true;
  if (Stage::makes_shared) at.shared = true;
  if (Stage::makes_own) at.shared = false;
  if (Stage::traces) at.traced = true;
  return at;
}

// The checks are made by instantiating them (`decltype` of what returns `auto`, `sizeof`), never by evaluating: an
// error would be followed by others, that its place is no constant.
template <place At>
constexpr auto check_stages(type_list<>) noexcept {}
template <place At, class First, class... Rest>
constexpr auto check_stages(type_list<First, Rest...>) noexcept {
  (void)sizeof(check_stage<First, At>);
  // Branches and tees check the pipelines that hang on them.
  if constexpr (requires { First::template check_inside<At>(); }) {
    using inside [[maybe_unused]] = decltype(First::template check_inside<At>());
  }
  using rest [[maybe_unused]] = decltype(check_stages<after<First>(At)>(type_list<Rest...>{}));
}

}  // namespace detail

/// Stages joined with `|`. A value: it owns its stages and their counters, and is moved into a branch, a tee or
/// `attach`, or kept by the user and passed on by reference.
template <class Counters, class... Stages>
class pipeline {
 public:
  /// The types of its parts. @{
  using list_type = detail::stage_list<Counters, Stages...>;
  using counters_type = Counters;
  /// @}
  /// Whether it ends in something that takes ownership, so that it can be run.
  static constexpr bool complete = detail::ends<Stages...>;
  /// Checks that each stage can do what it wants at its place, when the pipeline begins at `At`: by naming its type.
  template <place At>
  static constexpr auto check_places() noexcept {
    using checked [[maybe_unused]] = decltype(detail::check_stages<At>(detail::type_list<Stages...>{}));
  }
  /// Checks that, and that the pipeline ends.
  template <place At>
  static constexpr auto check() noexcept {
    static_assert(complete,
                  "runnel: this pipeline has no end: let it end in transmit(device), deliver(handler), enqueue(queue), "
                  "discard, shared(pipeline) or a branch");
    using checked [[maybe_unused]] = decltype(check_places<At>());
  }

  /// Use `|`.
  constexpr explicit pipeline(list_type stages) noexcept : stages_(std::move(stages)) {}

  /// Its stages, for the functions of this library. @{
  [[nodiscard]] constexpr list_type& stages() & noexcept { return stages_; }
  [[nodiscard]] constexpr const list_type& stages() const& noexcept { return stages_; }
  [[nodiscard]] constexpr list_type&& stages() && noexcept { return std::move(stages_); }
  /// @}

 private:
  list_type stages_;
};

/// Put in front of the first stage, it leaves out all counting in that pipeline, on the ways of its branches and the
/// paths of its tees too: `uncounted | parse() | ...`. A pipeline that it only refers to, by `shared` or `replaceable`,
/// keeps its own counters.
struct uncounted_t {};
/// Begins a pipeline without counters: `uncounted | parse() | ...`.
inline constexpr uncounted_t uncounted{};

namespace detail {

template <class T>
inline constexpr bool is_pipeline = false;
template <class Counters, class... Stages>
inline constexpr bool is_pipeline<pipeline<Counters, Stages...>> = true;

template <class T>
concept pipeline_type = is_pipeline<std::remove_cvref_t<T>>;

template <class First, class... Rest>
struct last_of {
  using type = typename last_of<Rest...>::type;
};
template <class Only>
struct last_of<Only> {
  using type = Only;
};

// What stands in for an end that is missing, so that one error does not bring more.
struct no_end : stage_defaults {
  static constexpr stage_kind kind = stage_kind::end;
  template <place, class Counters>
  void take(packet*, std::size_t, std::uint64_t, Counters&, context&) noexcept {}
};

// What a user may write on either side of a bar.
template <class T>
concept joinable =
    pipeline_type<T> || native_stage<std::remove_cvref_t<T>> || std::same_as<std::remove_cvref_t<T>, uncounted_t>;

template <class T>
constexpr auto as_pipeline(T&& left) noexcept {
  using type = std::remove_cvref_t<T>;
  if constexpr (pipeline_type<T>) {
    return type{std::forward<T>(left)};
  } else if constexpr (std::same_as<type, uncounted_t>) {
    return pipeline<no_counters>{stage_list<no_counters>{}};
  } else {
    using stage_type = stage_of<type>;
    return pipeline<stage_counters, stage_type>{
        append(stage_list<stage_counters>{}, as_stage(type{std::forward<T>(left)}))};
  }
}

// A stage as it stands in a pipeline with such counters: what hangs on it is not counted where the pipeline is not.
template <class Counters, class Stage>
constexpr auto fit(Stage&& stage) noexcept {
  if constexpr (std::same_as<Counters, no_counters> && requires { std::forward<Stage>(stage).without_counters(); })
    return std::forward<Stage>(stage).without_counters();
  else return std::remove_cvref_t<Stage>{std::forward<Stage>(stage)};
}

template <class Counters, class Last>
constexpr auto join(pipeline<Counters>&& left, Last last) noexcept {
  using stage = decltype(fit<Counters>(std::move(last)));
  return pipeline<Counters, stage>{append(std::move(left).stages(), fit<Counters>(std::move(last)))};
}
template <class Counters, class First, class... Stages, class Last>
constexpr auto join(pipeline<Counters, First, Stages...>&& left, Last last) noexcept {
  (void)sizeof(stage_after_an_end<Last, typename last_of<First, Stages...>::type>);
  if constexpr (ends<First, Stages...>) {
    return std::move(left);
  } else {
    using stage = decltype(fit<Counters>(std::move(last)));
    return pipeline<Counters, First, Stages..., stage>{
        append(std::move(left).stages(), fit<Counters>(std::move(last)))};
  }
}
template <class Left, class Counters>
constexpr Left join_list(Left&& left, stage_list<Counters>&&) noexcept {
  return std::forward<Left>(left);
}
template <class Left, class Counters, class First, class... Rest>
constexpr auto join_list(Left&& left, stage_list<Counters, First, Rest...>&& right) noexcept {
  return join_list(join(std::forward<Left>(left), std::move(right.stage)), std::move(right.rest));
}
template <class Pipeline>
constexpr auto strip_counters(Pipeline&& path) noexcept {
  return join_list(pipeline<no_counters>{stage_list<no_counters>{}}, std::forward<Pipeline>(path).stages());
}

// Calls `visit(list)` for every stage of a list and of all that hangs on it, with the stage and its counters in front,
// in the order in which they are drawn.
template <class List, class Visitor>
constexpr void for_each_stage(List& list, Visitor& visit) noexcept {
  if constexpr (List::size != 0) {
    visit(list);
    if constexpr (requires { list.stage.target->stages(); }) for_each_stage(list.stage.target->stages(), visit);
    if constexpr (requires { list.stage.connections(); })
      list.stage.connections().visit([&](const auto& way) { for_each_stage(way.path.stages(), visit); });
    if constexpr (requires { list.stage.path.stages(); }) for_each_stage(list.stage.path.stages(), visit);
    for_each_stage(list.rest, visit);
  }
}

// How many packets a pipeline can take: what is left in the fullest queue that holds its sources back. The clock is
// read when there is such a one.
template <class List, class Clock>
[[nodiscard]] std::size_t room_in(const List& list, Clock& time) noexcept {
  std::size_t least = max_burst;
  auto look = [&least, &time](const auto& part) {
    if constexpr (requires { part.stage.room(instant{}); })
      if (const std::size_t room = part.stage.room(time.now()); room < least) least = room;
  };
  for_each_stage(list, look);
  return least;
}
// What has to happen before there is room again, as far as the ends know.
template <class List>
void wait_for_room(const List& list, wait_list& waits) noexcept {
  auto look = [&waits](const auto& part) {
    if constexpr (requires { part.stage.wait_for_room(waits); }) part.stage.wait_for_room(waits);
  };
  for_each_stage(list, look);
}
// Whether its ends still hold packets that they could not send.
template <class List>
[[nodiscard]] bool holds_packets(const List& list) noexcept {
  bool some = false;
  auto look = [&some](const auto& part) {
    if constexpr (requires { part.stage.holds_packets(); }) some = some || part.stage.holds_packets();
  };
  for_each_stage(list, look);
  return some;
}

}  // namespace detail

/// Puts a stage, or the stages of another pipeline, behind a pipeline. Moves temporaries and copies what has a name:
/// the copy counts for itself, and a stage with a state has its own from then on (to look at that state later, let a
/// handler capture it by reference). Counts begin at zero for stages that come from the right.
template <class Left, class Right>
  requires detail::joinable<Left> || detail::joinable<Right>
[[nodiscard]] constexpr auto operator|(Left&& left, Right&& right) noexcept {
  using right_type = std::remove_cvref_t<Right>;
  if constexpr (detail::pipeline_type<Right>) {
    return detail::join_list(detail::as_pipeline(std::forward<Left>(left)),
                             std::move(right_type{std::forward<Right>(right)}).stages());
  } else {
    return detail::join(detail::as_pipeline(std::forward<Left>(left)),
                        detail::as_stage(right_type{std::forward<Right>(right)}));
  }
}

}  // namespace runnel

#endif

// ==== runnel/flow/engine.hpp =========================================================================================
// The burst engine: runs a pipeline over an array of packets.
//
// Theory of operation. Neighbouring stages that look at one packet at a time form a *segment*, and a segment is one
// loop over the burst in which every stage is inlined; each packet leaves it with an outcome: the first verdict other
// than `pass`, or, where the segment ends in a branch, its way. A stage that prefetches begins a new segment: the loop
// of the segment before prefetches for each packet that comes out of it, so that all of them have been before the stage
// runs on the first. When all outcomes are the same the array is handed on as it is. Otherwise it is partitioned,
// keeping the order, by compare and compress. Counters are added to once a burst.
#ifndef RUNNEL_FLOW_ENGINE_HPP
#define RUNNEL_FLOW_ENGINE_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint32_t, uint64_t
#include <new>      // placement new

namespace runnel::detail {

// An array that nobody has written to: setting all of it to zero for each burst would cost more than many a stage.
template <class T, std::size_t N>
class raw_array {
 public:
  raw_array() noexcept {}
  raw_array(const raw_array&) = delete;
  raw_array& operator=(const raw_array&) = delete;
  ~raw_array() {}
  [[nodiscard]] T* data() noexcept { return values_; }
  [[nodiscard]] T& operator[](std::size_t i) noexcept { return values_[i]; }

 private:
  union {
    T values_[N];
  };
};
// The engine moves handles as plain pointers and owns those below its count.
template <std::size_t N>
using handle_array = raw_array<packet, N>;

// Moves the handle at `from` to `to`, whose old value is nobody's.
RUNNEL_INLINE void relocate(packet* to, packet* from) noexcept {
  __builtin_memcpy(static_cast<void*>(to), static_cast<const void*>(from), sizeof(packet));
}

// A verdict as one number: written part by part and then read whole, it would have to wait for its own stores.
[[nodiscard]] RUNNEL_INLINE std::uint32_t bits_of(verdict v) noexcept {
  const auto code = static_cast<std::uint32_t>(v.code), reason = static_cast<std::uint32_t>(v.reason);
  if constexpr (little_endian_host) return code | reason << 8 | std::uint32_t{v.port} << 16;
  else return code << 24 | reason << 16 | v.port;
}
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wstringop-overflow"  // GCC 12 doubts its own vector of four stores at -O3
#endif
RUNNEL_INLINE void store(verdict& to, verdict v) noexcept {
  const std::uint32_t bits = bits_of(v);
  __builtin_memcpy(static_cast<void*>(&to), &bits, sizeof to);
}
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

[[nodiscard]] inline std::uint64_t sum_of_lengths(const packet* packets, std::size_t n) noexcept {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < n; ++i) sum += packets[i].total_length();
  return sum;
}

template <class Stage>
concept prefetches = requires(Stage& s, packet& p, context& c, const layers* found) { s.prefetch(p, c, found); };

// How many of the stages at the front of a list belong to one segment: those that look at one packet at a time, up to
// the next that prefetches; a branch may be the last.
template <class List, bool First = true>
constexpr unsigned segment_length() {
  if constexpr (List::size == 0) {
    return 0;
  } else {
    using stage = typename List::first_stage;
    if constexpr (!First && prefetches<stage>) return 0;
    else if constexpr (stage::kind == stage_kind::branch) return 1;
    else if constexpr (stage::kind == stage_kind::each) return 1 + segment_length<typename List::rest_list, false>();
    else return 0;
  }
}

template <class List, unsigned Steps>
struct skip {
  using type = typename skip<typename List::rest_list, Steps - 1>::type;
  static type& get(List& list) noexcept { return skip<typename List::rest_list, Steps - 1>::get(list.rest); }
};
template <class List>
struct skip<List, 0> {
  using type = List;
  static List& get(List& list) noexcept { return list; }
};

template <place At, class List, unsigned Steps>
constexpr place place_after_steps() {
  if constexpr (Steps == 0) return At;
  else return place_after_steps<after<typename List::first_stage>(At), typename List::rest_list, Steps - 1>();
}

template <place At, class Stage>
void report(Stage& stage, packet& p, verdict v, context& c) noexcept;

// One packet through a segment. The outcome's `port` is the way for a branch's `pass`, and otherwise the number of the
// stage that decided.
template <place At, unsigned Steps, class List>
RUNNEL_INLINE verdict step(List& list, packet& p, context& c, known_layers& known, std::uint16_t number = 0) noexcept {
  using stage = typename List::first_stage;
  // Asked before, for a stage may take the packet.
  [[maybe_unused]] const bool followed = At.traced && c.trace != nullptr && p.traced();
  if constexpr (stage::kind == stage_kind::branch) {
    verdict v = list.stage.decide(p, c, known.get());
    if constexpr (At.traced)
      if (followed) report<At>(list.stage, p, v, c);
    if (v.code != verdict_code::pass) v.port = number;
    return v;
  } else {
    verdict v;
    if constexpr (stage::gives_parsed) v = list.stage.find(p, known);
    else if constexpr (requires { list.stage(p, c, known.get()); }) v = list.stage(p, c, known.get());
    else v = list.stage(p, c);
    RUNNEL_ASSERT((p || v.code != verdict_code::pass) && "a stage that moves the packet out of the handle says stolen");
    if constexpr (At.traced)
      if (followed) report<At>(list.stage, p, v, c);
    v.port = number;
    if (Steps != 1 && v.code != verdict_code::pass) [[unlikely]]
      return v;
    if constexpr (stage::gives_parsed) {
      // It would have a fault, and have been dropped: no stage behind has to ask again.
      if (v.code == verdict_code::pass && !known.found.has(protocol::parsed)) __builtin_unreachable();
    } else if constexpr (stage::resizes || stage::makes_own) {
      known.valid = false;
    }
    if constexpr (Steps == 1) return v;
    else return step<after<stage>(At), Steps - 1>(list.rest, p, c, known, static_cast<std::uint16_t>(number + 1));
  }
}

template <class List>
inline constexpr bool is_counted = std::same_as<decltype(List::counters), stage_counters>;

// Whether a stage of a segment may change lengths. Those of a segment are counted as they were when it began.
template <unsigned Steps, class List>
constexpr bool segment_resizes() {
  if constexpr (Steps == 0) return false;
  else return List::first_stage::resizes || segment_resizes<Steps - 1, typename List::rest_list>();
}

// How many packets and bytes came into a segment, added at each of its stages.
template <unsigned Steps, class List>
RUNNEL_INLINE void count_in(List& list, std::uint64_t n, std::uint64_t length) noexcept {
  list.counters.add(n, length);
  if constexpr (Steps > 1) count_in<Steps - 1>(list.rest, n, length);
}
// Takes back what `count_in` counted at a stage and those behind it, for a packet that did not get there.
template <unsigned Steps, class List>
void count_out(List& list, std::uint64_t length, std::uint64_t n) noexcept {
  list.counters.packets -= n;
  list.counters.bytes -= length;
  if constexpr (Steps > 1) count_out<Steps - 1>(list.rest, length, n);
}
// Counts the verdict at the stage with number `decided`, and the packet out of the stages behind it.
template <unsigned Steps, class List>
void count_verdict(List& list, unsigned decided, verdict v, std::uint64_t length, std::uint64_t n = 1) noexcept {
  if constexpr (is_counted<List>) {
    if (decided == 0) list.counters.add(v, n);
    if constexpr (Steps > 1) {
      if (decided == 0) count_out<Steps - 1>(list.rest, length, n);
      else count_verdict<Steps - 1>(list.rest, decided - 1, v, length, n);
    }
  }
}

// Ends the journey of a packet by a verdict other than `pass`. Says what became of it: a packet that could not be sent
// back is dropped. One that is dropped stays in its handle, for the caller to release.
inline verdict settle(packet& p, verdict v, context& c) noexcept {
  if (!p) return verdict{verdict_code::stolen, drop_reason::none, 0};
  if (v.code == verdict_code::tx && c.transmit_back != nullptr) {
    if (c.transmit_back(c.device, &p, 1, c.now) == 1) return v;
    v = drop(drop_reason::transmit_full);
  } else if (v.code == verdict_code::tx || v.code == verdict_code::redirect) {
    v = drop(drop_reason::no_target);
  }
  RUNNEL_ASSERT(v.code != verdict_code::stolen && "a stage that says stolen moves the packet out of the handle");
  return v;
}

template <place At, bool Prefetched = false, class List>
void run(List& list, packet* packets, std::size_t n, std::uint64_t length, context& c) noexcept;

// The packets of a segment whose outcomes differ: settles those that do not go on and closes the gaps. Returns how many
// are left; their outcomes stand at the same places, if the segment ends in a branch. Where it does not, `decided` has
// a bit for each outcome that was written, and the others are `pass`. `lengths` are those at the beginning of the
// segment; null when no stage in it could change them.
template <place At, unsigned Steps, class List>
[[gnu::noinline]] std::size_t settle_some(List& list, packet* packets, verdict* outcomes, const std::uint64_t* decided,
                                          std::uint32_t* lengths, std::size_t n, context& c) noexcept {
  constexpr bool branches = skip<List, Steps - 1>::type::first_stage::kind == stage_kind::branch;
  handle_array<At.burst> out;
  raw_array<verdict, At.burst> why;
  std::size_t kept = 0, gone = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const verdict v = branches || (decided[i / 64] >> i % 64 & 1u) != 0 ? outcomes[i] : pass;
    const bool on = v.code == verdict_code::pass;
    relocate(&out[gone], &packets[i]);
    why[gone] = v;
    if (lengths != nullptr) lengths[gone] = lengths[i];
    relocate(&packets[kept], &packets[i]);
    if constexpr (branches) outcomes[kept] = v;
    kept += on ? 1u : 0u;
    gone += on ? 0u : 1u;
  }
  for (std::size_t i = 0; i < gone; ++i) {
    const std::uint64_t length = !is_counted<List> ? 0 : lengths != nullptr ? lengths[i] : out[i].total_length();
    const verdict v = settle(out[i], why[i], c);
    count_verdict<Steps>(list, why[i].port, v, length);
  }
  pool::release(out.data(), gone);
  return kept;
}

// Hands a burst over to the ways that its outcomes name.
template <place At, class Branch>
void hand_over(Branch& branch, packet* packets, const verdict* outcomes, std::size_t n, context& c) noexcept {
  handle_array<At.burst> part;
  std::uint64_t left = 0;
  for (std::size_t i = 0; i < n; ++i) left |= std::uint64_t{1} << outcomes[i].port;
  while (left != 0) {
    const auto way = static_cast<unsigned>(__builtin_ctzll(left));
    left &= left - 1;
    std::size_t k = 0;
    for (std::size_t i = 0; i < n; ++i) {
      relocate(&part[k], &packets[i]);
      k += outcomes[i].port == way ? 1u : 0u;
    }
    if constexpr (At.traced) {
      context of_way = c;  // a trace on one way is not that of the others
      branch.template run_way<At>(way, part.data(), k, sum_of_lengths(part.data(), k), of_way);
    } else {
      branch.template run_way<At>(way, part.data(), k, sum_of_lengths(part.data(), k), c);
    }
  }
}

// Whether the stage behind the first `Steps` of a list prefetches.
template <class List, unsigned Steps>
constexpr bool prefetches_behind() {
  if constexpr (List::size == 0) return false;
  else if constexpr (Steps != 0) return prefetches_behind<typename List::rest_list, Steps - 1>();
  else return prefetches<typename List::first_stage>;
}

// `Prefetched` says that the segment before has called the first stage's `prefetch` for each packet already.
template <place At, bool Prefetched, class List>
void run_segment(List& list, packet* packets, std::size_t n, std::uint64_t length, context& c) noexcept {
  constexpr unsigned steps = segment_length<List>();
  using last = typename skip<List, steps - 1>::type;
  constexpr bool branches = last::first_stage::kind == stage_kind::branch;
  RUNNEL_ASSERT(n <= At.burst);
  if (n == 0) [[unlikely]]
    return;
  if (n > At.burst) __builtin_unreachable();  // so that the compiler knows it for the arrays below

  constexpr bool prefetch_next = !branches && prefetches_behind<List, steps>();

  if constexpr (prefetches<typename List::first_stage> && !Prefetched)
    for (std::size_t i = 0; i < n; ++i) list.stage.prefetch(packets[i], c, nullptr);

  constexpr bool resizes = segment_resizes<steps, List>();
  constexpr bool keep_lengths = resizes && is_counted<List>;
  std::uint32_t lengths[keep_lengths ? At.burst : 1];

  // A branch writes every outcome, other segments only those that are not `pass`, and which those are.
  raw_array<verdict, At.burst> outcomes;
  std::uint64_t decided[(std::size_t{At.burst} + 63) / 64] = {};
  std::uint32_t different = 0;
  for (std::size_t i = 0; i < n; ++i) {
    if constexpr (keep_lengths) lengths[i] = static_cast<std::uint32_t>(packets[i].total_length());
    known_layers known;
    const verdict v = step<At, steps>(list, packets[i], c, known);
    if constexpr (branches) {
      store(outcomes[i], v);
      different |= bits_of(v) ^ bits_of(outcomes[0]);
    } else if (v.code != verdict_code::pass) [[unlikely]] {
      different = 1;
      decided[i / 64] |= std::uint64_t{1} << i % 64;
      store(outcomes[i], v);
    } else if constexpr (prefetch_next) {
      skip<List, steps>::get(list).stage.prefetch(packets[i], c, known.get());
    }
  }
  count_in<steps>(list, n, length);
  auto& branch_or_last = skip<List, steps - 1>::get(list);
  constexpr place there = place_after_steps<At, List, steps>();

  if (different == 0 && (!branches || outcomes[0].code == verdict_code::pass)) [[likely]] {
    if constexpr (resizes) length = sum_of_lengths(packets, n);
    if constexpr (branches) branch_or_last.stage.template run_way<there>(outcomes[0].port, packets, n, length, c);
    else run<there, prefetch_next>(branch_or_last.rest, packets, n, length, c);
    return;
  }
  n = settle_some<At, steps>(list, packets, outcomes.data(), branches ? nullptr : decided,
                             keep_lengths ? lengths : nullptr, n, c);
  if (n == 0) return;
  if constexpr (branches) hand_over<there>(branch_or_last.stage, packets, outcomes.data(), n, c);
  else run<there, prefetch_next>(branch_or_last.rest, packets, n, sum_of_lengths(packets, n), c);
}

// A stage that sees the whole burst: it may set verdicts, take packets out, and add some.
template <place At, class List>
void run_burst_stage(List& list, packet* packets, std::size_t n, std::uint64_t length, context& c) noexcept {
  packet mine[At.burst];
  verdict verdicts[At.burst];
  for (std::size_t i = 0; i < n; ++i) {
    mine[i] = static_cast<packet&&>(packets[i]);
    verdicts[i] = pass;
  }
  list.counters.add(n, length);
  burst b{mine, verdicts, n, At.burst};
  list.stage(b, c);
  if (b.size() > n) list.counters.add(b.size() - n, 0);       // made here
  if (b.size() < n) list.counters.add(stolen, n - b.size());  // cleared away
  handle_array<At.burst> on;
  std::size_t k = 0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    const verdict v = verdicts[i];
    if constexpr (At.traced)
      if (mine[i]) report<At>(list.stage, mine[i], v, c);
    if (mine[i] && v.code == verdict_code::pass) {
      relocate(&on[k++], &mine[i]);
      ::new (static_cast<void*>(&mine[i])) packet;
    } else {
      list.counters.add(settle(mine[i], v, c));
      mine[i].reset();
    }
  }
  if (k != 0) run<after<typename List::first_stage>(At)>(list.rest, on.data(), k, sum_of_lengths(on.data(), k), c);
}

// Runs the rest of a pipeline over `n` packets, all of which it takes over. `length` is the sum of their lengths.
template <place At, bool Prefetched, class List>
void run(List& list, packet* packets, std::size_t n, std::uint64_t length, context& c) noexcept {
  using stage = typename List::first_stage;
  constexpr place there = after<stage>(At);
  if constexpr (stage::kind == stage_kind::each || stage::kind == stage_kind::branch) {
    run_segment<At, Prefetched>(list, packets, n, length, c);
  } else if constexpr (stage::kind == stage_kind::burst) {
    run_burst_stage<At>(list, packets, n, length, c);
  } else if constexpr (stage::kind == stage_kind::aside) {
    list.counters.add(n, length);
    list.stage.template beside<At>(packets, n, length, list.counters, c);
    run<there>(list.rest, packets, n, length, c);
  } else if constexpr (stage::kind == stage_kind::end) {
    list.counters.add(n, length);
    if constexpr (At.traced)
      for (std::size_t i = 0; i < n; ++i) report<At>(list.stage, packets[i], pass, c);
    list.stage.template take<At>(packets, n, length, list.counters, c);
  } else {
    // An early verdict at this place is a promised compile error, said elsewhere; nothing else may get here.
    static_assert(stage::kind == stage_kind::early, "runnel: a kind of stage that the engine does not know");
  }
}

}  // namespace runnel::detail

#endif

// ==== runnel/flow/any_pipeline.hpp ===================================================================================
// A path that can be replaced while the program runs: the one place where a pipeline's type is forgotten.
#ifndef RUNNEL_FLOW_ANY_PIPELINE_HPP
#define RUNNEL_FLOW_ANY_PIPELINE_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint64_t

namespace runnel {

namespace detail {
struct replaceable_stage;
}  // namespace detail

/// Refers to a pipeline of any type. Costs two indirect calls for a burst: how much it has room for, and the run. What
/// it refers to must outlive it or be replaced before; replace it between two rounds of the loop, or from a stage that
/// does not lie behind it. Tables live outside pipelines, so nothing is forgotten when a path is replaced. The pipeline
/// begins where there are packets and nothing is known of them: it needs its own `parse()`, which is free for packets
/// that were parsed before.
class any_pipeline {
 public:
  /// Runs `p`, which must outlive it or be replaced before it ends.
  template <class Pipeline>
    requires(!std::same_as<Pipeline, any_pipeline>)
  explicit any_pipeline(Pipeline& p) noexcept {
    replace(p);
  }
  any_pipeline(const any_pipeline&) = delete;
  any_pipeline& operator=(const any_pipeline&) = delete;

  /// Runs `p` from the next burst on.
  template <class Pipeline>
  void replace(Pipeline& p) noexcept {
    static_assert(detail::is_pipeline<Pipeline>,
                  "runnel: any_pipeline refers to a pipeline: auto p = parse() | ... | transmit(wan);");
    using checked [[maybe_unused]] = decltype(Pipeline::template check<start>());
    target_ = &p;
    run_ = [](void* target, packet* packets, std::size_t n, std::uint64_t length, context& c) noexcept {
      // The burst outside may be larger than the one that the arrays inside are made for.
      auto& stages = static_cast<Pipeline*>(target)->stages();
      if (n <= start.burst) [[likely]]
        return detail::run<start>(stages, packets, n, length, c);
      for (std::size_t at = 0; at < n; at += start.burst) {
        const std::size_t part = n - at < start.burst ? n - at : start.burst;
        detail::run<start>(stages, packets + at, part, detail::sum_of_lengths(packets + at, part), c);
      }
    };
    room_ = [](void* target, instant now) noexcept {
      const manual_clock time{now};
      return detail::room_in(static_cast<Pipeline*>(target)->stages(), time);
    };
    wait_for_room_ = [](void* target, wait_list& waits) noexcept {
      detail::wait_for_room(static_cast<Pipeline*>(target)->stages(), waits);
    };
    holds_packets_ = [](void* target) noexcept {
      return detail::holds_packets(static_cast<Pipeline*>(target)->stages());
    };
  }

 private:
  friend struct detail::replaceable_stage;
  static constexpr place start{.packets = true, .burst = default_burst};
  void* target_ = nullptr;
  void (*run_)(void*, packet*, std::size_t, std::uint64_t, context&) = nullptr;
  std::size_t (*room_)(void*, instant) noexcept = nullptr;
  void (*wait_for_room_)(void*, wait_list&) noexcept = nullptr;
  bool (*holds_packets_)(void*) noexcept = nullptr;
};

namespace detail {
struct replaceable_stage : stage_defaults {
  static constexpr stage_kind kind = stage_kind::end;
  static constexpr const char* name = "replaceable";
  any_pipeline* path_now;

  constexpr explicit replaceable_stage(any_pipeline& p) noexcept : path_now(&p) {}
  template <place At>
  static constexpr auto check_inside() noexcept {
    static_assert(!At.shared,
                  "runnel: the packet's bytes may be shared with a clone at this place, and a replaceable path may "
                  "write to them: put unshare() before it");
  }
  template <place, class Counters>
  void take(packet* packets, std::size_t n, std::uint64_t length, Counters&, context& c) noexcept {
    path_now->run_(path_now->target_, packets, n, length, c);
  }
  [[nodiscard]] std::size_t room(instant now) const noexcept { return path_now->room_(path_now->target_, now); }
  void wait_for_room(wait_list& waits) const noexcept { path_now->wait_for_room_(path_now->target_, waits); }
  [[nodiscard]] bool holds_packets() const noexcept { return path_now->holds_packets_(path_now->target_); }
};
}  // namespace detail

/// Ends a path at whatever pipeline `slot` refers to at that time. Refers to the slot.
[[nodiscard]] constexpr auto replaceable(any_pipeline& slot) noexcept { return detail::replaceable_stage{slot}; }

}  // namespace runnel

#endif

// ==== runnel/flow/attachment_group.hpp ===============================================================================
// Attachments as many as a program finds when it runs, such as one for each device that it was told of.
#ifndef RUNNEL_FLOW_ATTACHMENT_GROUP_HPP
#define RUNNEL_FLOW_ATTACHMENT_GROUP_HPP

#include <cstddef>  // size_t

namespace runnel {

/// Attachments of one type, which stand in a loop as one: each has its turn in every round. Made by `attach_all`.
template <class Attachment>
class attachment_group {
 public:
  /// How many file descriptors a loop waits on for all of them. Where there are more, it looks for the others again
  /// after `wait_list::retry`.
  static constexpr std::size_t max_handles = 64;

  /// Use `attach_all`.
  constexpr attachment_group(Attachment* first, std::size_t n) noexcept : first_(first), end_(first + n) {}

  /// What the loop asks of an attachment. @{
  template <class Clock>
  std::size_t poll(Clock& clock) noexcept {
    std::size_t n = 0;
    for (Attachment* a = first_; a != end_; ++a) n += a->poll(clock);
    return n;
  }
  [[nodiscard]] bool done() noexcept { return first_left() == end_; }
  template <class Clock>
  void prepare_to_wait(wait_list& waits, Clock& clock, const sleeper* by) noexcept {
    for (Attachment* a = first_; a != end_; ++a) a->prepare_to_wait(waits, clock, by);
  }
  [[nodiscard]] std::size_t left() noexcept {
    std::size_t n = 0;
    for (Attachment* a = first_; a != end_; ++a) n += a->done() ? 0u : 1u;
    return n;
  }
  void wait_by_itself() noexcept {
    if (Attachment* a = first_left(); a != end_) a->wait_by_itself();
  }
  /// @}

 private:
  Attachment* first_left() noexcept {
    Attachment* a = first_;
    while (a != end_ && a->done()) ++a;
    return a;
  }

  Attachment* first_;
  Attachment* end_;
};

/// Joins attachments of one type to a loop, as many as are known when the program runs: anything with `data()` and
/// `size()`, which must outlive the loop and stay where it is.
///
///     std::vector<decltype(attach(devices[0], path(0)))> inputs;
///     for (unsigned i = 0; i < devices.size(); ++i) inputs.push_back(attach(devices[i], path(i)));
///     loop work{time, attach_all(inputs), attach(timers)};
template <class Attachments>
[[nodiscard]] constexpr auto attach_all(Attachments& attachments) noexcept {
  return attachment_group{attachments.data(), attachments.size()};
}

namespace detail {
// How many file descriptors and sources an attachment stands for.
template <class Attachment>
inline constexpr std::size_t handles_of = 1;
template <class Attachment>
inline constexpr std::size_t handles_of<attachment_group<Attachment>> = attachment_group<Attachment>::max_handles;
template <class Attachment>
[[nodiscard]] std::size_t left_in(Attachment& a) noexcept {
  if constexpr (requires { a.left(); }) return a.left();
  else return a.done() ? 0u : 1u;
}
}  // namespace detail

}  // namespace runnel

#endif

// ==== runnel/wire/icmp.hpp ===========================================================================================
// ICMP messages: a checked view, the names of types and codes, the quoted datagram, the builder, the printer.
// RFC 792, RFC 950, RFC 1191, RFC 1812, RFC 4884.
#ifndef RUNNEL_WIRE_ICMP_HPP
#define RUNNEL_WIRE_ICMP_HPP

#include <cstddef>      // byte, size_t
#include <cstdint>      // uint8_t, uint16_t, uint32_t
#include <type_traits>  // is_const_v

namespace runnel {

/// Type and code of an ICMP message. The known ones have names: `icmp::echo_request`, `icmp::unreachable::port`.
struct icmp_kind {
  /// The message's type.
  std::uint8_t type = 0;
  /// Its code, whose meaning is the type's.
  std::uint8_t code = 0;
  /// Equal when all their parts are.
  friend constexpr bool operator==(icmp_kind, icmp_kind) noexcept = default;
};

/// A view of an ICMP message: header and what follows. `icmp` reads, `mut<icmp>` also writes. Does not own: valid as
/// long as the bytes. No accessor reads outside the bytes that it was made over, even when they change after `parse`.
template <class Byte>
class basic_icmp {
 public:
  /// What the library asks of a header view; see `header_view`. @{
  using mutable_view = basic_icmp<std::byte>;
  static constexpr header in_header = header::icmp;
  static constexpr std::size_t min_size = 8;
  /// @}

  /// A message, by type and code as IANA lists them.
  static constexpr icmp_kind echo_reply{0, 0};
  static constexpr icmp_kind source_quench{4, 0};  ///< to be ignored (RFC 6633)
  /// A message, by type and code as IANA lists them. @{
  static constexpr icmp_kind echo_request{8, 0};
  static constexpr icmp_kind router_advertisement{9, 0};
  static constexpr icmp_kind router_solicitation{10, 0};
  static constexpr icmp_kind timestamp_request{13, 0};
  static constexpr icmp_kind timestamp_reply{14, 0};
  /// @}
  /// Destination unreachable: RFC 792, RFC 1122 §3.2.2.1, RFC 1812 §5.2.7.1.
  struct unreachable {
    /// The type of these messages.
    static constexpr std::uint8_t type = 3;
    static constexpr icmp_kind network{3, 0};               ///< no route
    static constexpr icmp_kind host{3, 1};                  ///< routed, but the last hop does not answer
    static constexpr icmp_kind protocol{3, 2};              ///< nobody listens to this IP protocol
    static constexpr icmp_kind port{3, 3};                  ///< nobody listens on this UDP port
    static constexpr icmp_kind fragmentation_needed{3, 4};  ///< too big and DF set (RFC 1191)
    /// A message, by type and code as IANA lists them. @{
    static constexpr icmp_kind source_route_failed{3, 5};
    static constexpr icmp_kind network_unknown{3, 6};
    static constexpr icmp_kind host_unknown{3, 7};
    /// @}
    /// A message, by type and code as IANA lists them. @{
    static constexpr icmp_kind network_prohibited{3, 9};
    static constexpr icmp_kind host_prohibited{3, 10};
    /// @}
    static constexpr icmp_kind network_service{3, 11};  ///< not with this type of service
    static constexpr icmp_kind host_service{3, 12};     ///< not with this type of service
    static constexpr icmp_kind prohibited{3, 13};  ///< a filter says no ("communication administratively prohibited")
  };
  /// There is a better first hop: RFC 792, RFC 1812 §5.2.7.2.
  struct redirect {
    /// The type of these messages.
    static constexpr std::uint8_t type = 5;
    static constexpr icmp_kind network{5, 0};  ///< routers no longer send it
    /// A message, by type and code as IANA lists them. @{
    static constexpr icmp_kind host{5, 1};
    static constexpr icmp_kind network_service{5, 2};
    static constexpr icmp_kind host_service{5, 3};
    /// @}
  };
  /// What ran out.
  struct time_exceeded {
    /// The type of these messages.
    static constexpr std::uint8_t type = 11;
    static constexpr icmp_kind transit{11, 0};     ///< TTL ran out on the way
    static constexpr icmp_kind reassembly{11, 1};  ///< fragments did not all arrive in time
  };
  /// What is wrong with the header.
  struct parameter_problem {
    /// The type of these messages.
    static constexpr std::uint8_t type = 12;
    static constexpr icmp_kind pointer{12, 0};  ///< the octet pointed at is wrong
    /// A message, by type and code as IANA lists them. @{
    static constexpr icmp_kind option_missing{12, 1};
    static constexpr icmp_kind length{12, 2};
    /// @}
  };

  /// A field, for match expressions. @{
  static constexpr field<header::icmp, 0, 8, std::uint8_t> type{"icmp type"};
  static constexpr field<header::icmp, 8, 8, std::uint8_t> code{"icmp code"};
  static constexpr field<header::icmp, 16, 16, std::uint16_t> checksum{"icmp checksum"};
  /// @}
  // These are false in every comparison with a message of another type.
  /// A field, for match expressions. @{
  static constexpr field<header::icmp_echo, 32, 16, std::uint16_t> id{"icmp id"};
  static constexpr field<header::icmp_echo, 48, 16, std::uint16_t> sequence{"icmp sequence"};
  /// @}
  /// Of an unreachable destination; it says something when a fragment was needed.
  static constexpr field<header_in(header_family::icmp_message, 3), 48, 16, std::uint16_t> mtu{"icmp mtu"};
  /// Of a redirect.
  static constexpr field<header_in(header_family::icmp_message, 5), 32, 32, ipv4_address> gateway{"icmp gateway"};

  /// Checks that the header is there; `b` is the whole IP payload, no link padding. The checksum is not looked at.
  [[nodiscard]] static constexpr result<basic_icmp, drop_reason> parse(byte_window<Byte> b) noexcept {
    if (b.size() < min_size) return drop_reason::icmp_too_short;
    return basic_icmp{b.data(), b.size()};
  }
  /// A view over bytes that were checked before: at least `min_size` of them. Checks nothing.
  [[nodiscard]] static constexpr basic_icmp unchecked(byte_window<Byte> b) noexcept { return {b.data(), b.size()}; }

  /// A view that may write can be read through as well.
  constexpr operator basic_icmp<const std::byte>() const noexcept
    requires(!std::is_const_v<Byte>)
  {
    return basic_icmp<const Byte>::unchecked({p_, n_});
  }

  /// What `build` asks of a header; see `header_value`.
  [[nodiscard]] static constexpr std::size_t header_size() noexcept { return min_size; }
  /// The field of the header, in host byte order. @{
  [[nodiscard]] constexpr std::uint8_t message_type() const noexcept { return load_u8(p_); }
  [[nodiscard]] constexpr std::uint8_t message_code() const noexcept { return load_u8(p_ + 1); }
  /// @}
  /// Type and code together: `if (message.kind() == icmp::unreachable::port)`.
  [[nodiscard]] constexpr icmp_kind kind() const noexcept { return {message_type(), message_code()}; }
  /// The field of the header, in host byte order.
  [[nodiscard]] constexpr std::uint16_t message_checksum() const noexcept { return load_be16(p_ + 2); }
  /// Of an echo, timestamp, information or mask message; other types have something else there.
  [[nodiscard]] constexpr std::uint16_t identifier() const noexcept { return load_be16(p_ + 4); }
  /// The field of the header, in host byte order.
  [[nodiscard]] constexpr std::uint16_t sequence_number() const noexcept { return load_be16(p_ + 6); }
  /// Of "fragmentation needed": bytes that the next link carries; 0 from routers older than RFC 1191.
  [[nodiscard]] constexpr std::uint16_t next_hop_mtu() const noexcept { return load_be16(p_ + 6); }
  /// Of a redirect: the better first hop.
  [[nodiscard]] constexpr ipv4_address gateway_address() const noexcept { return ipv4_address::load(p_ + 4); }
  /// Of a parameter problem: which octet of the quoted datagram is wrong.
  [[nodiscard]] constexpr std::uint8_t pointer() const noexcept { return load_u8(p_ + 4); }
  /// Whether it reports about another datagram, which it quotes. No error is ever sent about an error (RFC 1122
  /// §3.2.2).
  [[nodiscard]] constexpr bool is_error() const noexcept {
    const std::uint8_t t = message_type();
    return t == unreachable::type || t == source_quench.type || t == redirect::type || t == time_exceeded::type ||
           t == parameter_problem::type;
  }
  /// Whether it asks or answers, with an identifier that tells the asker: echo, timestamp, information, mask.
  [[nodiscard]] constexpr bool is_query() const noexcept { return is_query_type(message_type()); }
  /// The same of a type alone.
  [[nodiscard]] static constexpr bool is_query_type(std::uint8_t t) noexcept {
    return t == echo_reply.type || t == echo_request.type || (t >= 13 && t <= 18);
  }
  /// What follows the eight bytes of header.
  [[nodiscard]] constexpr byte_window<Byte> payload() const noexcept {
    return byte_window<Byte>{p_, n_}.from(min_size);
  }
  /// The beginning of the datagram that an error is about, from its IP header on; empty in other messages. Without
  /// the extensions behind it, where the length attribute tells where it ends (RFC 4884 §4.1). It is cut: parse it
  /// with lengths checked against what is there, not against what its header says.
  [[nodiscard]] constexpr byte_window<Byte> quoted() const noexcept {
    if (!is_error()) return {};
    const std::size_t said = quoted_length();
    return said == 0 ? payload() : payload().first(said);
  }
  /// The extension structure behind the quoted datagram (RFC 4884 §7), 4 bytes of header first; empty without one.
  [[nodiscard]] constexpr bytes extensions() const noexcept {
    const std::size_t said = quoted_length();
    return said < 128 ? bytes{} : bytes{payload()}.from(said);
  }
  /// Whether the checksum is right. Reads the whole message.
  [[nodiscard]] constexpr bool checksum_ok() const noexcept {
    return fold_checksum(add_checksum(bytes{p_, n_})) == 0xffff;
  }

  // Setters. Each also updates the checksum (RFC 1624), unless it says otherwise.
  /// Writes the field and updates the checksum (RFC 1624). @{
  constexpr void kind(icmp_kind k) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    set16(0, static_cast<std::uint16_t>(k.type << 8 | k.code));
  }
  constexpr void identifier(std::uint16_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    set16(4, v);
  }
  constexpr void sequence_number(std::uint16_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    set16(6, v);
  }
  constexpr void next_hop_mtu(std::uint16_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    set16(6, v);
  }
  /// @}
  /// Stores a checksum as given.
  constexpr void message_checksum(std::uint16_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_be16(p_ + 2, v);
  }
  /// Computes the checksum anew. Reads the whole message.
  constexpr void update_checksum() const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_be16(p_ + 2, 0);
    store_be16(p_ + 2, runnel::checksum(bytes{p_, n_}));
  }

 private:
  constexpr basic_icmp(Byte* p, std::size_t n) noexcept : p_(p), n_(n) {}
  // RFC 4884 §4.1: in 32-bit words, at the types that may have extensions; 0 from everybody who knows nothing of it.
  [[nodiscard]] constexpr std::size_t quoted_length() const noexcept {
    const std::uint8_t t = message_type();
    if (t != unreachable::type && t != time_exceeded::type && t != parameter_problem::type) return 0;
    return load_u8(p_ + 5) * std::size_t{4};
  }
  constexpr void set16(std::size_t at, std::uint16_t v) const noexcept {
    store_be16(p_ + 2, update_checksum16(load_be16(p_ + 2), load_be16(p_ + at), v));
    store_be16(p_ + at, v);
  }

  Byte* p_;
  std::size_t n_;
};

/// The view to read; `mut<>` of it also writes.
using icmp = basic_icmp<const std::byte>;

/// An ICMP message header to be written in front of its payload: `icmp_header{.kind = icmp::echo_request, .identifier
/// = 7, .sequence_number = 1}`. Of the fields below only those are written that a message of this kind has.
struct icmp_header {
  /// What `build` asks of a header; see `header_value`.
  static constexpr std::uint8_t ip_protocol = 1;

  /// Which message: type and code.
  icmp_kind kind = icmp::echo_request;
  std::uint16_t identifier = 0;       ///< queries
  std::uint16_t sequence_number = 0;  ///< queries
  std::uint16_t next_hop_mtu = 0;     ///< unreachable::fragmentation_needed, bytes
  ipv4_address gateway{};             ///< redirects
  std::uint8_t pointer = 0;           ///< parameter problems

  /// What `build` asks of a header; see `header_value`. @{
  [[nodiscard]] static constexpr std::size_t size() noexcept { return 8; }
  constexpr void write(mutable_bytes whole, const neighbours_of_header&) const noexcept {
    std::byte* p = whole.data();
    store_u8(p, kind.type);
    store_u8(p + 1, kind.code);
    zero_bytes(p + 2, 6);
    if (kind == icmp::unreachable::fragmentation_needed) store_be16(p + 6, next_hop_mtu);
    else if (kind.type == icmp::redirect::type) gateway.store(p + 4);
    else if (kind.type == icmp::parameter_problem::type) store_u8(p + 4, pointer);
    else if (icmp::is_query_type(kind.type)) {
      store_be16(p + 4, identifier);
      store_be16(p + 6, sequence_number);
    }
    store_be16(p + 2, checksum(whole));
  }
  /// @}
};

/// The name of a kind in tcpdump's words, or null where it has none.
[[nodiscard]] constexpr const char* name(icmp_kind k) noexcept {
  constexpr const char* unreachable[] = {"net unreachable",
                                         "host unreachable",
                                         "protocol unreachable",
                                         "port unreachable",
                                         "need to frag",
                                         "source route failed",
                                         "net unknown",
                                         "host unknown",
                                         "host isolated",
                                         "net prohibited",
                                         "host prohibited",
                                         "net unreachable for TOS",
                                         "host unreachable for TOS",
                                         "admin prohibited filter",
                                         "host precedence violation",
                                         "precedence cutoff"};
  switch (k.type) {
    case 0: return "echo reply";
    case 3: return k.code < sizeof unreachable / sizeof *unreachable ? unreachable[k.code] : "unreachable";
    case 4: return "source quench";
    case 5: return "redirect";
    case 8: return "echo request";
    case 9: return "router advertisement";
    case 10: return "router solicitation";
    case 11: return k.code == 1 ? "ip reassembly time exceeded" : "time exceeded in-transit";
    case 12: return "parameter problem";
    case 13: return "time stamp query";
    case 14: return "time stamp reply";
    default: return nullptr;
  }
}

/// One line in tcpdump's manner: `ICMP echo request, id 7, seq 1, length 64`.
template <class Byte>
constexpr void print(text_writer& out, const basic_icmp<Byte>& v) noexcept {
  const icmp_kind kind = v.kind();
  out << "ICMP ";
  if (const char* known = name(kind)) out << known;
  else out << "type " << kind.type << ", code " << kind.code;
  if (v.is_query()) out << ", id " << v.identifier() << ", seq " << v.sequence_number();
  if (kind == icmp::unreachable::fragmentation_needed) out << " (mtu " << v.next_hop_mtu() << ')';
  if (kind.type == icmp::redirect::type) print(out << " to ", v.gateway_address());
  if (kind.type == icmp::parameter_problem::type) out << ", octet " << v.pointer();
  out << ", length " << std::uint64_t{v.payload().size() + 8};
}

}  // namespace runnel

#endif

// ==== runnel/wire/icmpv6.hpp =========================================================================================
// ICMPv6 messages: a checked view, the names of types and codes, the quoted datagram, the builder, the printer.
// RFC 4443, RFC 4884, RFC 7112. The bodies of neighbour discovery are in <runnel/wire/ndp.hpp>.
#ifndef RUNNEL_WIRE_ICMPV6_HPP
#define RUNNEL_WIRE_ICMPV6_HPP

#include <cstddef>      // byte, size_t
#include <cstdint>      // uint8_t, uint16_t, uint32_t
#include <type_traits>  // is_const_v

namespace runnel {

/// Type and code of an ICMPv6 message. The known ones have names: `icmpv6::echo_request`, `icmpv6::unreachable::port`.
struct icmpv6_kind {
  /// The message's type.
  std::uint8_t type = 0;
  /// Its code, whose meaning is the type's.
  std::uint8_t code = 0;
  /// Equal when all their parts are.
  friend constexpr bool operator==(icmpv6_kind, icmpv6_kind) noexcept = default;
};

/// A view of an ICMPv6 message: header and what follows. `icmpv6` reads, `mut<icmpv6>` also writes. Does not own:
/// valid as long as the bytes. No accessor reads outside the bytes that it was made over, even when they change after
/// `parse`. Every accessor that touches the checksum needs the sum over the pseudo-header of the IPv6 header around.
template <class Byte>
class basic_icmpv6 {
 public:
  /// What the library asks of a header view; see `header_view`. @{
  using mutable_view = basic_icmpv6<std::byte>;
  static constexpr header in_header = header::icmpv6;
  static constexpr std::size_t min_size = 8;
  /// @}

  /// A message, by type and code as IANA lists them. @{
  static constexpr icmpv6_kind packet_too_big{2, 0};
  static constexpr icmpv6_kind echo_request{128, 0};
  static constexpr icmpv6_kind echo_reply{129, 0};
  /// @}
  static constexpr icmpv6_kind listener_query{130, 0};   ///< MLD, RFC 2710 and RFC 3810
  static constexpr icmpv6_kind listener_report{131, 0};  ///< MLDv1
  static constexpr icmpv6_kind listener_done{132, 0};    ///< MLDv1
  /// A message, by type and code as IANA lists them. @{
  static constexpr icmpv6_kind router_solicitation{133, 0};
  static constexpr icmpv6_kind router_advertisement{134, 0};
  static constexpr icmpv6_kind neighbour_solicitation{135, 0};
  static constexpr icmpv6_kind neighbour_advertisement{136, 0};
  static constexpr icmpv6_kind redirect{137, 0};
  /// @}
  static constexpr icmpv6_kind listener_report_v2{143, 0};  ///< MLDv2, RFC 3810 §5.2
  /// Destination unreachable, RFC 4443 §3.1.
  struct unreachable {
    /// The type of these messages.
    static constexpr std::uint8_t type = 1;
    /// A message, by type and code as IANA lists them.
    static constexpr icmpv6_kind no_route{1, 0};
    static constexpr icmpv6_kind prohibited{1, 1};    ///< a filter says no
    static constexpr icmpv6_kind beyond_scope{1, 2};  ///< of the source address
    static constexpr icmpv6_kind address{1, 3};       ///< the last hop does not answer
    static constexpr icmpv6_kind port{1, 4};          ///< nobody listens
    static constexpr icmpv6_kind policy{1, 5};        ///< the source address failed a policy
    /// A message, by type and code as IANA lists them.
    static constexpr icmpv6_kind reject_route{1, 6};
  };
  /// RFC 4443 §3.3.
  struct time_exceeded {
    /// The type of these messages.
    static constexpr std::uint8_t type = 3;
    /// A message, by type and code as IANA lists them. @{
    static constexpr icmpv6_kind hop_limit{3, 0};
    static constexpr icmpv6_kind reassembly{3, 1};
    /// @}
  };
  /// RFC 4443 §3.4.
  struct parameter_problem {
    /// The type of these messages.
    static constexpr std::uint8_t type = 4;
    /// A message, by type and code as IANA lists them.
    static constexpr icmpv6_kind header_field{4, 0};
    static constexpr icmpv6_kind next_header{4, 1};     ///< unrecognised
    static constexpr icmpv6_kind option{4, 2};          ///< unrecognised
    static constexpr icmpv6_kind first_fragment{4, 3};  ///< lacks a part of the header chain (RFC 7112 §5)
  };

  /// Neighbour discovery for match expressions: `icmpv6::ra::router_lifetime`, `icmpv6::option::slla::address`.
  using ra = router_advertisement_fields<>;
  /// Fields of this message, in match expressions.
  using na = neighbour_advertisement_fields<>;
  /// Options of neighbour discovery, in match expressions.
  using option = nd_option_fields<>;

  /// A field, for match expressions. @{
  static constexpr field<header::icmpv6, 0, 8, std::uint8_t> type{"icmpv6 type"};
  static constexpr field<header::icmpv6, 8, 8, std::uint8_t> code{"icmpv6 code"};
  static constexpr field<header::icmpv6, 16, 16, std::uint16_t> checksum{"icmpv6 checksum"};
  /// @}
  // These are false in every comparison with a message of another type.
  /// Of "packet too big".
  static constexpr field<header_in(header_family::icmpv6_message, 2), 32, 32, std::uint32_t> mtu{"icmpv6 mtu"};
  /// Of a parameter problem: which octet is wrong.
  static constexpr field<header_in(header_family::icmpv6_message, 4), 32, 32, std::uint32_t> param_problem{
      "icmpv6 param-problem"};
  /// A field, for match expressions. @{
  static constexpr field<header::icmpv6_echo, 32, 16, std::uint16_t> id{"icmpv6 id"};
  static constexpr field<header::icmpv6_echo, 48, 16, std::uint16_t> sequence{"icmpv6 sequence"};
  /// @}
  /// Of a multicast listener query: milliseconds.
  static constexpr field<header_in(header_family::icmpv6_message, 130), 32, 16, std::uint16_t> max_delay{
      "icmpv6 max-delay"};
  /// Whom a neighbour solicitation, its answer or a redirect is about, or which group a listener's message.
  static constexpr field<header::icmpv6_target, 64, 128, ipv6_address> taddr{"icmpv6 taddr"};
  /// Which destination a redirect is about.
  static constexpr field<header_in(header_family::icmpv6_message, 137), 192, 128, ipv6_address> daddr{"icmpv6 daddr"};

  /// Checks that the header is there; `b` is what follows the last extension header. The checksum is not looked at.
  /// Every message defined so far has at least these eight bytes.
  [[nodiscard]] static constexpr result<basic_icmpv6, drop_reason> parse(byte_window<Byte> b) noexcept {
    if (b.size() < min_size) return drop_reason::icmp_too_short;
    return basic_icmpv6{b.data(), b.size()};
  }
  /// A view over bytes that were checked before: at least `min_size` of them. Checks nothing.
  [[nodiscard]] static constexpr basic_icmpv6 unchecked(byte_window<Byte> b) noexcept { return {b.data(), b.size()}; }

  /// A view that may write can be read through as well.
  constexpr operator basic_icmpv6<const std::byte>() const noexcept
    requires(!std::is_const_v<Byte>)
  {
    return basic_icmpv6<const Byte>::unchecked({p_, n_});
  }

  /// What `build` asks of a header; see `header_value`.
  [[nodiscard]] static constexpr std::size_t header_size() noexcept { return min_size; }
  /// The field of the header, in host byte order. @{
  [[nodiscard]] constexpr std::uint8_t message_type() const noexcept { return load_u8(p_); }
  [[nodiscard]] constexpr std::uint8_t message_code() const noexcept { return load_u8(p_ + 1); }
  /// @}
  /// Type and code together: `if (message.kind() == icmpv6::packet_too_big)`.
  [[nodiscard]] constexpr icmpv6_kind kind() const noexcept { return {message_type(), message_code()}; }
  /// The field of the header, in host byte order.
  [[nodiscard]] constexpr std::uint16_t message_checksum() const noexcept { return load_be16(p_ + 2); }
  /// Of an echo message; other types have something else there.
  [[nodiscard]] constexpr std::uint16_t identifier() const noexcept { return load_be16(p_ + 4); }
  /// The field of the header, in host byte order.
  [[nodiscard]] constexpr std::uint16_t sequence_number() const noexcept { return load_be16(p_ + 6); }
  /// Of "packet too big": bytes that the next link carries. Below 1280 it must not be believed (RFC 8201 §4).
  [[nodiscard]] constexpr std::uint32_t next_hop_mtu() const noexcept { return load_be32(p_ + 4); }
  /// Of a parameter problem: which octet of the quoted datagram is wrong; may lie beyond what is quoted.
  [[nodiscard]] constexpr std::uint32_t pointer() const noexcept { return load_be32(p_ + 4); }
  /// Whether it reports about another datagram, which it quotes: types below 128 (RFC 4443 §2.1).
  [[nodiscard]] constexpr bool is_error() const noexcept { return message_type() < 128; }
  /// Whether it asks or answers an echo.
  [[nodiscard]] constexpr bool is_query() const noexcept {
    return message_type() == echo_request.type || message_type() == echo_reply.type;
  }
  /// What follows the eight bytes of header.
  [[nodiscard]] constexpr byte_window<Byte> payload() const noexcept {
    return byte_window<Byte>{p_, n_}.from(min_size);
  }
  /// The beginning of the datagram that an error is about, from its IPv6 header on; empty in other messages. Without
  /// the extensions behind it, where the length attribute tells where it ends (RFC 4884 §4.2). It is cut: parse it
  /// with lengths checked against what is there, not against what its header says.
  [[nodiscard]] constexpr byte_window<Byte> quoted() const noexcept {
    if (!is_error()) return {};
    const std::size_t said = quoted_length();
    return said == 0 ? payload() : payload().first(said);
  }
  /// The extension structure behind the quoted datagram (RFC 4884 §7), 4 bytes of header first; empty without one.
  [[nodiscard]] constexpr bytes extensions() const noexcept {
    const std::size_t said = quoted_length();
    return said < 128 ? bytes{} : bytes{payload()}.from(said);
  }
  /// Whether the checksum is right (RFC 4443 §2.3), `pseudo_header_sum` being that of the IPv6 header around. Reads
  /// the whole message.
  [[nodiscard]] constexpr bool checksum_ok(std::uint32_t pseudo_header_sum) const noexcept {
    return fold_checksum(add_checksum(bytes{p_, n_}, pseudo_header_sum + std::uint64_t{58} + n_)) == 0xffff;
  }

  // Setters. Each also updates the checksum (RFC 1624), unless it says otherwise.
  /// Writes the field and updates the checksum (RFC 1624). @{
  constexpr void kind(icmpv6_kind k) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    set16(0, static_cast<std::uint16_t>(k.type << 8 | k.code));
  }
  constexpr void identifier(std::uint16_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    set16(4, v);
  }
  constexpr void sequence_number(std::uint16_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    set16(6, v);
  }
  constexpr void next_hop_mtu(std::uint32_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    set16(4, static_cast<std::uint16_t>(v >> 16));
    set16(6, static_cast<std::uint16_t>(v));
  }
  /// @}
  /// Stores a checksum as given.
  constexpr void message_checksum(std::uint16_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_be16(p_ + 2, v);
  }
  /// Updates the checksum after addresses in the IPv6 header around changed: with its `pseudo_header_sum()` from
  /// before and from after.
  constexpr void update_checksum(std::uint32_t from, std::uint32_t to) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_be16(p_ + 2, update_checksum32(load_be16(p_ + 2), from, to));
  }
  /// Computes the checksum anew, `pseudo_header_sum` being that of the IPv6 header around. Reads the whole message.
  constexpr void update_checksum(std::uint32_t pseudo_header_sum) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_be16(p_ + 2, 0);
    store_be16(p_ + 2, runnel::checksum(bytes{p_, n_}, pseudo_header_sum + std::uint64_t{58} + n_));
  }

 private:
  constexpr basic_icmpv6(Byte* p, std::size_t n) noexcept : p_(p), n_(n) {}
  // RFC 4884 §4.2: in 64-bit words, at the types that may have extensions; 0 from everybody who knows nothing of it.
  [[nodiscard]] constexpr std::size_t quoted_length() const noexcept {
    const std::uint8_t t = message_type();
    if (t != unreachable::type && t != time_exceeded::type) return 0;
    return load_u8(p_ + 4) * std::size_t{8};
  }
  constexpr void set16(std::size_t at, std::uint16_t v) const noexcept {
    store_be16(p_ + 2, update_checksum16(load_be16(p_ + 2), load_be16(p_ + at), v));
    store_be16(p_ + at, v);
  }

  Byte* p_;
  std::size_t n_;
};

/// The view to read; `mut<>` of it also writes.
using icmpv6 = basic_icmpv6<const std::byte>;

/// An ICMPv6 message header to be written in front of its payload: `icmpv6_header{.kind = icmpv6::echo_request,
/// .identifier = 7}`. Of the fields below only those are written that a message of this kind has.
struct icmpv6_header {
  /// What `build` asks of a header; see `header_value`.
  static constexpr std::uint8_t ip_protocol = 58;

  /// Which message: type and code.
  icmpv6_kind kind = icmpv6::echo_request;
  std::uint16_t identifier = 0;       ///< echo messages
  std::uint16_t sequence_number = 0;  ///< echo messages
  std::uint32_t next_hop_mtu = 0;     ///< packet_too_big, bytes
  std::uint32_t pointer = 0;          ///< parameter problems

  /// What `build` asks of a header; see `header_value`. @{
  [[nodiscard]] static constexpr std::size_t size() noexcept { return 8; }
  constexpr void write(mutable_bytes whole, const neighbours_of_header& around) const noexcept {
    std::byte* p = whole.data();
    store_u8(p, kind.type);
    store_u8(p + 1, kind.code);
    store_be16(p + 2, 0);
    store_be32(p + 4, kind == icmpv6::packet_too_big                 ? next_hop_mtu
                      : kind.type == icmpv6::parameter_problem::type ? pointer
                      : kind.type == icmpv6::echo_request.type || kind.type == icmpv6::echo_reply.type
                          ? std::uint32_t{identifier} << 16 | sequence_number
                          : 0);
    store_be16(p + 2, checksum(whole, std::uint64_t{around.pseudo_header} + ip_protocol + whole.size()));
  }
  /// @}
};

/// The name of a kind in tcpdump's words, or null where it has none.
[[nodiscard]] constexpr const char* name(icmpv6_kind k) noexcept {
  constexpr const char* unreachable[] = {
      "unreachable route", "unreachable prohibited",       "beyond scope", "unreachable address",
      "unreachable port",  "source address failed policy", "reject route"};
  constexpr const char* informational[] = {"echo request",
                                           "echo reply",
                                           "multicast listener query",
                                           "multicast listener report",
                                           "multicast listener done",
                                           "router solicitation",
                                           "router advertisement",
                                           "neighbor solicitation",
                                           "neighbor advertisement",
                                           "redirect"};
  switch (k.type) {
    case 1: return k.code < sizeof unreachable / sizeof *unreachable ? unreachable[k.code] : "unreachable";
    case 2: return "packet too big";
    case 3: return k.code == 1 ? "time exceeded (reassembly)" : "time exceeded in-transit";
    case 4: return "parameter problem";
    case 143: return "multicast listener report v2";
    default: return k.type >= 128 && k.type <= 137 ? informational[k.type - 128] : nullptr;
  }
}

/// One line in tcpdump's manner: `ICMP6, echo request, id 7, seq 1, length 64`.
template <class Byte>
constexpr void print(text_writer& out, const basic_icmpv6<Byte>& v) noexcept {
  const icmpv6_kind kind = v.kind();
  out << "ICMP6, ";
  if (const char* known = name(kind)) out << known;
  else out << "type " << kind.type << ", code " << kind.code;
  if (v.is_query()) out << ", id " << v.identifier() << ", seq " << v.sequence_number();
  if (kind == icmpv6::packet_too_big) out << ", mtu " << v.next_hop_mtu();
  if (kind.type == icmpv6::parameter_problem::type) out << ", octet " << v.pointer();
  out << ", length " << std::uint64_t{v.payload().size() + 8};
}

}  // namespace runnel

#endif

// ==== runnel/wire/udp.hpp ============================================================================================
// UDP header: a checked view over the packet's own bytes, and the builder. RFC 768, RFC 6935 for checksums of zero.
#ifndef RUNNEL_WIRE_UDP_HPP
#define RUNNEL_WIRE_UDP_HPP

#include <cstddef>      // byte, size_t
#include <cstdint>      // uint8_t, uint16_t, uint32_t
#include <type_traits>  // is_const_v

namespace runnel {

/// A view of a UDP header and what it carries. `udp` reads, `mut<udp>` also writes. Does not own: valid as long as
/// the bytes. No accessor reads outside the bytes that it was made over, even when they change after `parse`.
template <class Byte>
class basic_udp {
 public:
  /// What the library asks of a header view; see `header_view`. @{
  using mutable_view = basic_udp<std::byte>;
  static constexpr header in_header = header::udp;
  static constexpr std::size_t min_size = 8;
  /// @}

  /// A field, for match expressions. @{
  static constexpr field<header::udp, 0, 16, std::uint16_t> sport{"udp sport"};
  static constexpr field<header::udp, 16, 16, std::uint16_t> dport{"udp dport"};
  static constexpr field<header::udp, 32, 16, std::uint16_t> length{"udp length"};
  static constexpr field<header::udp, 48, 16, std::uint16_t> checksum{"udp checksum"};
  /// @}

  /// Checks the length against `b`, the payload of an IP datagram, which may run on behind what UDP uses of it. The
  /// checksum is not looked at.
  [[nodiscard]] static constexpr result<basic_udp, drop_reason> parse(byte_window<Byte> b) noexcept {
    if (b.size() < min_size) return drop_reason::udp_too_short;
    const std::size_t said = load_be16(b.data() + 4);
    if (said < min_size || said > b.size()) return drop_reason::udp_length;
    return basic_udp{b.data(), said};
  }
  /// A view over bytes that were checked before: at least `min_size` of them. Checks nothing.
  [[nodiscard]] static constexpr basic_udp unchecked(byte_window<Byte> b) noexcept { return {b.data(), b.size()}; }

  /// A view that may write can be read through as well.
  constexpr operator basic_udp<const std::byte>() const noexcept
    requires(!std::is_const_v<Byte>)
  {
    return basic_udp<const Byte>::unchecked({p_, n_});
  }

  /// What `build` asks of a header; see `header_value`.
  [[nodiscard]] static constexpr std::size_t header_size() noexcept { return min_size; }
  /// The field of the header, in host byte order. @{
  [[nodiscard]] constexpr std::uint16_t source_port() const noexcept { return load_be16(p_); }
  [[nodiscard]] constexpr std::uint16_t destination_port() const noexcept { return load_be16(p_ + 2); }
  /// @}
  /// Both ports as they lie there, the source in the upper half.
  [[nodiscard]] constexpr std::uint32_t ports() const noexcept { return load_be32(p_); }
  /// Header and payload in bytes, as the header says.
  [[nodiscard]] constexpr std::uint16_t datagram_length() const noexcept { return load_be16(p_ + 4); }
  /// The field of the header, in host byte order.
  [[nodiscard]] constexpr std::uint16_t datagram_checksum() const noexcept { return load_be16(p_ + 6); }
  /// Whether the sender computed a checksum. Without one IPv6 accepts tunnels only (RFC 6935, RFC 6936).
  [[nodiscard]] constexpr bool has_checksum() const noexcept { return datagram_checksum() != 0; }
  /// What the datagram carries, as far as the view reaches.
  [[nodiscard]] constexpr byte_window<Byte> payload() const noexcept { return datagram().from(min_size); }
  /// Whether the checksum is right, or the sender computed none. `pseudo_header` is the `pseudo_header_sum()` of the
  /// IP header around it. Reads the whole datagram.
  [[nodiscard]] constexpr bool checksum_ok(std::uint32_t pseudo_header) const noexcept {
    return !has_checksum() || fold_checksum(sum(pseudo_header)) == 0xffff;
  }

  // Setters of ports also update the checksum (RFC 1624) when there is one.
  /// Writes the port and updates the checksum (RFC 1624), if there is one. @{
  constexpr void source_port(std::uint16_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    set16(0, v);
  }
  constexpr void destination_port(std::uint16_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    set16(2, v);
  }
  /// @}
  /// Stores a length as given; the checksum, which covers it twice, is the caller's to update.
  constexpr void datagram_length(std::uint16_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_be16(p_ + 4, v);
  }
  /// Stores a checksum as given.
  constexpr void datagram_checksum(std::uint16_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_be16(p_ + 6, v);
  }
  /// Computes the checksum anew; one that comes out as 0 is stored as 0xffff, for 0 means none.
  constexpr void update_checksum(std::uint32_t pseudo_header) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    datagram_checksum(0);
    datagram_checksum(not_zero(static_cast<std::uint16_t>(~fold_checksum(sum(pseudo_header)))));
  }
  /// Updates the checksum, when there is one, after an address of the IP header around it changed.
  constexpr void update_checksum(std::uint32_t from, std::uint32_t to) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    if (has_checksum()) datagram_checksum(not_zero(update_checksum32(datagram_checksum(), from, to)));
  }

 private:
  constexpr basic_udp(Byte* p, std::size_t n) noexcept : p_(p), n_(n) {}
  [[nodiscard]] constexpr byte_window<Byte> datagram() const noexcept {
    return byte_window<Byte>{p_, n_}.first(datagram_length());
  }
  [[nodiscard]] constexpr std::uint64_t sum(std::uint32_t pseudo_header) const noexcept {
    return add_checksum(datagram(), std::uint64_t{pseudo_header} + 17 + datagram_length());
  }
  [[nodiscard]] static constexpr std::uint16_t not_zero(std::uint16_t v) noexcept { return v != 0 ? v : 0xffff; }
  constexpr void set16(std::size_t at, std::uint16_t v) const noexcept {
    if (has_checksum()) datagram_checksum(not_zero(update_checksum16(datagram_checksum(), load_be16(p_ + at), v)));
    store_be16(p_ + at, v);
  }

  Byte* p_;
  std::size_t n_;
};

/// The view to read; `mut<>` of it also writes.
using udp = basic_udp<const std::byte>;

/// A UDP header to be written: `write_headers(packet, ..., ipv4_header{...}, udp_header{.destination_port = 53})`.
/// Length and checksum are computed, so the payload must be in place before.
struct udp_header {
  static constexpr std::uint8_t ip_protocol = 17;  ///< what an IP header around this one says

  /// A field of the header, in host byte order.
  std::uint16_t source_port = 0;
  std::uint16_t destination_port = 0;  ///< 0: that of the header inside, when it has one (VXLAN)
  bool checksum = true;                ///< false: send none (IPv4, and tunnels over IPv6)

  /// What `build` asks of a header; see `header_value`. @{
  [[nodiscard]] static constexpr std::size_t size() noexcept { return 8; }
  constexpr void write(mutable_bytes whole, const neighbours_of_header& around) const noexcept {
    RUNNEL_ASSERT(whole.size() <= 65535);
    std::byte* p = whole.data();
    store_be16(p, source_port);
    store_be16(p + 2, destination_port != 0 ? destination_port : around.udp_port);
    store_be16(p + 4, static_cast<std::uint16_t>(whole.size()));
    store_be16(p + 6, 0);
    if (checksum) basic_udp<std::byte>::unchecked(whole).update_checksum(around.pseudo_header);
  }
  /// @}
};

/// One line in tcpdump's manner, the length being the payload's: `5000 > 53: UDP, length 20`.
template <class Byte>
constexpr void print(text_writer& out, const basic_udp<Byte>& v) noexcept {
  out << v.source_port() << " > " << v.destination_port() << ": UDP, length " << std::uint64_t{v.payload().size()};
  if (v.datagram_length() < v.min_size) out << ", bad length " << v.datagram_length();
  if (!v.has_checksum()) out << ", no checksum";
}

}  // namespace runnel

#endif

// ==== runnel/flow/branch.hpp =========================================================================================
// Branches: a decision between named ways, each of them connected to a pipeline of its own.
#ifndef RUNNEL_FLOW_BRANCH_HPP
#define RUNNEL_FLOW_BRANCH_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint64_t
#include <utility>  // move

namespace runnel {

namespace detail {

// The pipeline that hangs on one way.
template <class Way, class Pipeline>
struct connection_to {
  using way = Way;
  using pipeline_type = Pipeline;
  Pipeline path;
};

template <class Ways, class... Connections>
struct connection_list;
template <class Ways>
struct connection_list<Ways> {
  static constexpr std::size_t size = 0;
  template <place At>
  RUNNEL_INLINE void run(std::size_t, packet*, std::size_t, std::uint64_t, context&) noexcept {
    __builtin_unreachable();
  }
  template <class Visitor>
  constexpr void visit(Visitor&&) const noexcept {}
};
template <class Ways, class First, class... Rest>
struct connection_list<Ways, First, Rest...> {
  static constexpr std::size_t size = 1 + sizeof...(Rest);
  First first;
  connection_list<Ways, Rest...> rest;

  template <place At>
  RUNNEL_INLINE void run(std::size_t way, packet* packets, std::size_t n, std::uint64_t length, context& c) noexcept {
    if (sizeof...(Rest) == 0 || way == Ways::template index_of<typename First::way>)
      runnel::detail::run<At>(first.path.stages(), packets, n, length, c);
    else rest.template run<At>(way, packets, n, length, c);
  }
  template <class Visitor>
  constexpr void visit(Visitor&& visitor) const noexcept {
    visitor(first);
    rest.visit(visitor);
  }
};

template <class Ways, class Last>
constexpr connection_list<Ways, Last> connect(connection_list<Ways>&&, Last&& last) noexcept {
  return {std::forward<Last>(last), {}};
}
template <class Ways, class First, class... Rest, class Last>
constexpr connection_list<Ways, First, Rest..., Last> connect(connection_list<Ways, First, Rest...>&& list,
                                                              Last&& last) noexcept {
  return {std::move(list.first), connect(std::move(list.rest), std::forward<Last>(last))};
}

template <class Ways, class First, class... Rest>
constexpr connection_list<Ways, First, Rest...> prepend(First&& first, connection_list<Ways, Rest...>&& rest) noexcept {
  return {std::forward<First>(first), std::move(rest)};
}
template <class Ways>
constexpr connection_list<Ways> strip_counters(connection_list<Ways>&&) noexcept {
  return {};
}
template <class Ways, class Way, class Path, class... Rest>
constexpr auto strip_counters(connection_list<Ways, connection_to<Way, Path>, Rest...>&& list) noexcept {
  using first = connection_to<Way, decltype(strip_counters(std::move(list.first.path)))>;
  return prepend(first{strip_counters(std::move(list.first.path))}, strip_counters(std::move(list.rest)));
}

// ---- the promised errors

template <class Way, class... Connections>
inline constexpr bool is_connected = (std::same_as<Way, typename Connections::way> || ...);

template <class Ways, class Way, class... Connections>
struct check_connection {
  static_assert(Ways::template contains<Way>,
                "runnel: this branch has no such way: .on<way>() takes one of the tags in its list, 'using ways = "
                "ports<...>'");
  static_assert(!is_connected<Way, Connections...>,
                "runnel: this way is connected twice: each way has one .on<way>(), and tee() sends packets two ways");
};
template <class Branch, class Way, bool Connected>
struct way_must_be_connected {
  static_assert(Connected,
                "runnel: a way of this branch is not connected: add .on<way>(pipeline) for it, .on<way>(discard) to "
                "drop what goes there");
};
template <class Branch, class... Connections, class... Way>
constexpr auto check_all_connected(type_list<ports<Way...>>) noexcept {
  (void)(sizeof(way_must_be_connected<Branch, Way, is_connected<Way, Connections...>>) + ...);
}
template <class Pipeline>
struct way_must_end {
  static_assert(Pipeline::complete,
                "runnel: the pipeline on this way has no end: let it end in transmit(device), deliver(handler), "
                "enqueue(queue), discard, shared(pipeline) or a branch");
};
template <class Path>
constexpr auto as_way(Path path) noexcept {
  auto whole = as_pipeline(std::move(path));
  (void)sizeof(way_must_end<decltype(whole)>);
  if constexpr (whole.complete) return whole;
  else return join(std::move(whole), no_end{});
}
// What stands in for a branch that is none.
struct no_branch : no_end {
  template <class Way, class Path>
  constexpr no_branch on(Path&&) const noexcept {
    return {};
  }
};

template <class T>
inline constexpr bool is_ports = false;
template <class... Ways>
inline constexpr bool is_ports<ports<Ways...>> = true;

template <class F, bool = has_signature<F>>
struct branch_signature {
  using arguments = type_list<packet&>;
  using ways = void;
};
template <class F>
  requires requires { typename F::ways; }
struct branch_signature<F, false> {
  using arguments = type_list<packet&>;
  using ways = typename F::ways;
};
template <class F>
struct branch_signature<F, true> {
  using arguments = typename signature<F>::arguments;
  using ways = std::remove_cvref_t<typename signature<F>::result>;
};

template <class F, class... Connections>
class branch_stage : public stage_defaults {
 public:
  using ways = typename branch_signature<F>::ways;
  using arguments = typename branch_signature<F>::arguments;
  using needs = demands<arguments>;
  static constexpr stage_kind kind = stage_kind::branch;
  static constexpr bool needs_parsed =
      needs::parsed || prefetch_demands<F>::parsed || requires { requires F::needs_parsed; };
  static constexpr bool needs_tracked = needs::connections;
  static constexpr bool writes = needs::writes;
  static constexpr bool resizes = needs::whole_packets;
  static constexpr bool asks_for_frame = needs::frames;

  constexpr branch_stage(F f, connection_list<ways, Connections...> connections) noexcept
      : function_(std::move(f)), connections_(std::move(connections)) {}

  /// Connects the way `Way` to a pipeline, or to a single end such as `discard`. Ways are connected once each.
  template <class Way, class Path>
  [[nodiscard]] constexpr auto on(Path path) && noexcept {
    (void)sizeof(check_connection<ways, Way, Connections...>);
    auto whole = as_way(std::move(path));
    using link = connection_to<Way, decltype(whole)>;
    return branch_stage<F, Connections..., link>{std::move(function_),
                                                 connect(std::move(connections_), link{std::move(whole)})};
  }

  // The same branch over the same ways, none of which counts.
  [[nodiscard]] constexpr auto without_counters() && noexcept {
    return make(std::move(function_), strip_counters(std::move(connections_)));
  }

  RUNNEL_INLINE verdict decide(packet& p, context& c, const layers* found) noexcept {
    if constexpr (needs::views && ways::template contains<other>) {
      return call_handler<ways>(function_, packet_source{p, c, found}, ways{other{}}, arguments{}).decision();
    } else {
      return call_handler<ways>(function_, packet_source{p, c, found}, ways{drop}, arguments{}).decision();
    }
  }
  RUNNEL_INLINE void prefetch(packet& p, context& c, const layers* found) noexcept
    requires prefetching<F>
  {
    prefetch_for(function_, p, c, found);
  }
  template <place At>
  RUNNEL_INLINE void run_way(std::size_t way, packet* packets, std::size_t n, std::uint64_t length,
                             context& c) noexcept {
    connections_.template run<At>(way, packets, n, length, c);
  }
  template <place At>
  static constexpr auto check_inside() noexcept {
    using connected [[maybe_unused]] = decltype(check_all_connected<F, Connections...>(type_list<ways>{}));
    using paths [[maybe_unused]] =
        type_list<decltype(Connections::pipeline_type::template check_places<after<branch_stage>(At)>())...>;
  }
  constexpr void print_name(text_writer& out) const noexcept {
    if constexpr (requires { out << F::name; }) {
      out << F::name;
    } else {
      out << "branch(";
      print_arguments(out, arguments{});
      out << ')';
    }
  }
  [[nodiscard]] constexpr const auto& connections() const noexcept { return connections_; }

 private:
  template <class... Others>
  static constexpr branch_stage<F, Others...> make(F&& f, connection_list<ways, Others...>&& connections) noexcept {
    return {std::move(f), std::move(connections)};
  }

  [[no_unique_address]] F function_;
  connection_list<ways, Connections...> connections_;
};

struct decide_by_protocol {
  using ways = ports<tcp, udp, icmp, icmpv6, other>;
  static constexpr const char* name = "by_protocol";
  static constexpr bool needs_parsed = true;
  ways operator()(const packet& p) const noexcept {
    const layers& l = p.layers();
    if (l.has(protocol::tcp)) return ways::to<tcp>();
    if (l.has(protocol::udp)) return ways::to<udp>();
    if (l.has(protocol::icmp)) return ways::to<icmp>();
    if (l.has(protocol::icmpv6)) return ways::to<icmpv6>();
    return other{};
  }
};

}  // namespace detail

/// Makes a branch of a decision: a handler that returns `ports<...>`, or an object with `using ways = ports<...>` and
/// `ways operator()(packet&)`. Connect each way with `.on<way>(pipeline)`.
///
///     branch([](udp u) -> ports<dns, other> { if (u.destination_port() == 53) return dns{}; return other{}; })
///         .on<dns>(transmit(resolver))
///         .on<other>(discard)
template <class F>
[[nodiscard]] constexpr auto branch(F decision) noexcept {
  using from = detail::branch_signature<F>;
  static_assert(detail::is_ports<typename from::ways>,
                "runnel: branch() needs a handler that returns ports<...>: [](udp u) -> ports<dns, other> {...}, or an "
                "object with 'using ways = ports<...>' and 'ways operator()(packet&)'");
  static_assert(
      !detail::is_ports<typename from::ways> || detail::demands<typename from::arguments>::known,
      "runnel: branch() asks for something that it cannot have: its parameters are header views such as ipv4, "
      "packet&, instant or const subject&");
  if constexpr (detail::is_ports<typename from::ways> && detail::demands<typename from::arguments>::known) {
    static_assert(
        !detail::demands<typename from::arguments>::views || from::ways::template contains<other>,
        "runnel: a branch that asks for headers needs a way for the packets without them: add the tag 'other' "
        "to its ports<...>");
    return detail::branch_stage<F>{std::move(decision), detail::connection_list<typename from::ways>{}};
  } else {
    return detail::no_branch{};
  }
}

/// A branch by transport protocol, with the ways `tcp`, `udp`, `icmp`, `icmpv6` and `other`. Later fragments, which
/// have no transport header, and everything that is not IP go by `other`. Needs `parse()` before it.
[[nodiscard]] constexpr auto by_protocol() noexcept { return branch(detail::decide_by_protocol{}); }

}  // namespace runnel

#endif

// ==== runnel/flow/describe.hpp =======================================================================================
// Draws the graph of a pipeline, as text for a terminal, as Mermaid, or as DOT, with its live counters.
#ifndef RUNNEL_FLOW_DESCRIBE_HPP
#define RUNNEL_FLOW_DESCRIBE_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint64_t

namespace runnel {

/// How a graph is drawn.
enum class drawing : std::uint8_t {
  text,     ///< an indented tree, for a terminal
  mermaid,  ///< a Mermaid flowchart, as Markdown viewers show it
  dot,      ///< Graphviz
};

/// What of the counters is drawn.
enum class show : std::uint8_t { names, counters };

namespace detail {

// `drop 12 (blocklist 7, policy 5); tx 3`: what did not go on at a stage, the four most frequent causes first. Nothing
// when everything went on.
inline void print_losses(text_writer& out, const stage_counters& c, const char* before) noexcept {
  std::uint64_t lost = 0;
  for (const std::uint64_t r : c.reasons) lost += r;
  const char* separator = before;
  if (lost != 0) {
    (out << separator << "drop ").grouped(lost);
    separator = " (";
    bool shown[drop_reason_count] = {};
    std::uint64_t left = lost;
    for (unsigned rank = 0; rank < 4 && left != 0; ++rank) {
      std::size_t most = 0;
      for (std::size_t i = 1; i < drop_reason_count; ++i)
        if (!shown[i] && (shown[most] || c.reasons[i] > c.reasons[most])) most = i;
      shown[most] = true;
      left -= c.reasons[most];
      (out << separator << name(static_cast<drop_reason>(most)) << ' ').grouped(c.reasons[most]);
      separator = ", ";
    }
    if (left != 0) (out << ", others ").grouped(left);
    out << ')';
    separator = "; ";
  }
  for (const verdict_code code : {verdict_code::tx, verdict_code::redirect, verdict_code::stolen}) {
    if (c.count(code) == 0) continue;
    (out << separator << name(code) << ' ').grouped(c.count(code));
    separator = "; ";
  }
}

// Pipelines that several ways share are drawn where they are met first, and named after that.
class shared_pipelines {
 public:
  // The number of a pipeline, from 1; `first` says whether it was not seen before. 0 when too many are shared.
  std::size_t number_of(const void* pipeline, bool& first) noexcept {
    for (std::size_t i = 0; i < count_; ++i)
      if (known_[i] == pipeline) {
        first = false;
        return i + 1;
      }
    first = true;
    if (count_ == sizeof known_ / sizeof *known_) return 0;
    known_[count_++] = pipeline;
    return count_;
  }

 private:
  const void* known_[32] = {};
  std::size_t count_ = 0;
};

class text_drawing {
 public:
  text_drawing(text_writer& out, show what) noexcept : out_(&out), what_(what) {}

  template <class List>
  void draw(const List& list, const char* prefix) noexcept {
    if constexpr (List::size != 0) {
      text<64> label;
      print_name(label, list.stage, "stage");
      *out_ << prefix << label.c_str();
      if constexpr (std::same_as<decltype(List::counters), stage_counters>) {
        if (what_ == show::counters) {
          out_->pad_to(columns(prefix) + 40 > 52 ? 60 : 44);
          out_->grouped(list.counters.packets) << " packets";
          print_losses(*out_, list.counters, "  ");
        }
      }
      if constexpr (requires { list.stage.target->stages(); }) {
        bool first = false;
        (*out_ << " #").grouped(shared_.number_of(list.stage.target, first));
        *out_ << (first ? "" : " (drawn above)") << '\n';
        if (first) draw(list.stage.target->stages(), prefix);
      } else {
        *out_ << '\n';
      }
      if constexpr (requires { list.stage.connections(); }) {
        std::size_t left = list.stage.connections().size;
        list.stage.connections().visit([&](const auto& way) {
          using connection = std::remove_cvref_t<decltype(way)>;
          draw_way(way_name<typename connection::way>(), way.path.stages(), prefix, --left == 0);
        });
      }
      if constexpr (requires { list.stage.path.stages(); }) draw_way("copy", list.stage.path.stages(), prefix, false);
      draw(list.rest, prefix);
    }
  }

 private:
  template <class List>
  void draw_way(const char* name, const List& list, const char* prefix, bool last) noexcept {
    *out_ << prefix << (last ? "`- " : "|- ") << name << '\n';
    text<128> inner;
    inner << prefix << (last ? "      " : "|     ");
    draw(list, inner.c_str());
  }
  static std::size_t columns(const char* s) noexcept {
    std::size_t n = 0;
    while (s[n] != '\0') ++n;
    return n;
  }

  text_writer* out_;
  show what_;
  shared_pipelines shared_;
};

class graph_drawing {
 public:
  graph_drawing(text_writer& out, show what, drawing kind) noexcept : out_(&out), what_(what), kind_(kind) {}

  // Draws a list behind node `from`, on an edge called `edge`.
  template <class List>
  void draw(const List& list, std::size_t from, const char* edge) noexcept {
    if constexpr (List::size != 0) {
      if constexpr (requires { list.stage.target->stages(); }) {
        bool first = false;
        const std::size_t number = shared_.number_of(list.stage.target, first);
        if (first) {
          first_node_[number] = nodes_ + 1;
          draw(list.stage.target->stages(), from, edge);
        } else {
          connect(from, first_node_[number], edge);
        }
        return;
      }
      const std::size_t me = ++nodes_;
      text<64> stage_name;
      print_name(stage_name, list.stage, "stage");
      text<256> label;
      write_escaped(label, stage_name.c_str());
      if constexpr (std::same_as<decltype(List::counters), stage_counters>) {
        if (what_ == show::counters) {
          (label << (kind_ == drawing::dot ? "\\n" : "<br/>")).grouped(list.counters.packets) << " packets";
          print_losses(label, list.counters, kind_ == drawing::dot ? "\\n" : "<br/>");
        }
      }
      node(me, label.c_str());
      if (from != 0) connect(from, me, edge);
      if constexpr (requires { list.stage.connections(); }) {
        list.stage.connections().visit([&](const auto& way) {
          using connection = std::remove_cvref_t<decltype(way)>;
          draw(way.path.stages(), me, way_name<typename connection::way>());
        });
      }
      if constexpr (requires { list.stage.path.stages(); }) draw(list.stage.path.stages(), me, "copy");
      draw(list.rest, me, "");
    }
  }

 private:
  // A name may hold what means something in the language of the drawing.
  void write_escaped(text_writer& to, const char* name) const noexcept {
    for (; *name != '\0'; ++name) {
      const char c = *name;
      if (kind_ == drawing::dot && (c == '"' || c == '\\')) to << '\\' << c;
      else if (kind_ == drawing::mermaid && c == '"') to << "#quot;";
      else if (kind_ == drawing::mermaid && c == '<') to << "#lt;";
      else if (kind_ == drawing::mermaid && c == '>') to << "#gt;";
      else if (kind_ == drawing::mermaid && c == '&') to << "#amp;";
      else if (kind_ == drawing::mermaid && c == '#') to << "#35;";
      else to << c;
    }
  }
  void node(std::size_t id, const char* label) noexcept {
    *out_ << "  n" << std::uint64_t{id} << (kind_ == drawing::dot ? " [label=\"" : "[\"") << label
          << (kind_ == drawing::dot ? "\"];\n" : "\"]\n");
  }
  void connect(std::size_t from, std::size_t to, const char* label) noexcept {
    *out_ << "  n" << std::uint64_t{from};
    if (kind_ == drawing::dot) {
      *out_ << " -> n" << std::uint64_t{to};
      if (*label != '\0') *out_ << " [label=\"" << label << "\"]";
      *out_ << ";\n";
    } else {
      *out_ << " -->";
      if (*label != '\0') *out_ << '|' << label << '|';
      *out_ << " n" << std::uint64_t{to} << '\n';
    }
  }

  text_writer* out_;
  show what_;
  drawing kind_;
  shared_pipelines shared_;
  std::size_t nodes_ = 0;
  std::size_t first_node_[33] = {};
};

}  // namespace detail

namespace detail {
template <class List>
void add_totals(const List& list, stage_counters& sum, shared_pipelines& seen) noexcept {
  if constexpr (List::size != 0) {
    if constexpr (std::same_as<decltype(List::counters), stage_counters>) {
      for (std::size_t i = 0; i < drop_reason_count; ++i) sum.reasons[i] += list.counters.reasons[i];
      for (std::size_t i = 0; i < verdict_code_count; ++i) sum.verdicts[i] += list.counters.verdicts[i];
    }
    if constexpr (requires { list.stage.target->stages(); }) {
      bool first = false;
      (void)seen.number_of(list.stage.target, first);
      if (first) add_totals(list.stage.target->stages(), sum, seen);
    }
    if constexpr (requires { list.stage.connections(); })
      list.stage.connections().visit([&](const auto& way) { add_totals(way.path.stages(), sum, seen); });
    if constexpr (requires { list.stage.path.stages(); }) add_totals(list.stage.path.stages(), sum, seen);
    add_totals(list.rest, sum, seen);
  }
}
}  // namespace detail

/// The counters of a pipeline and all that hangs on it, added up: `packets` and `bytes` are what came into its first
/// stage, verdicts and reasons those of all stages together, of copies behind a tee as well (so `passed()` means
/// nothing here). A pipeline that is shared counts once, as long as there are no more than 32 of them.
template <class Counters, class... Stages>
[[nodiscard]] stage_counters totals(const pipeline<Counters, Stages...>& p) noexcept {
  stage_counters sum;
  if constexpr (std::same_as<Counters, stage_counters> && sizeof...(Stages) != 0)
    sum.add(p.stages().counters.packets, p.stages().counters.bytes);
  detail::shared_pipelines seen;
  detail::add_totals(p.stages(), sum, seen);
  return sum;
}

/// The counters of the stage that is drawn as `name`, in a pipeline or what hangs on it: the first, when there are
/// several. Null when there is none, or it is not counted. They are live: read them between two rounds of the loop, as
/// often as you like, as long as the pipeline is there.
template <class Counters, class... Stages>
[[nodiscard]] const stage_counters* find_stage(const pipeline<Counters, Stages...>& p, const char* name) noexcept {
  const stage_counters* found = nullptr;
  bool seen = false;
  auto look = [&](const auto& list) {
    if (seen) return;
    text<64> label;
    detail::print_name(label, list.stage, "stage");
    seen = same_text(label.c_str(), name);
    if constexpr (std::same_as<std::remove_cvref_t<decltype(list.counters)>, stage_counters>)
      if (seen) found = &list.counters;
  };
  detail::for_each_stage(p.stages(), look);
  return found;
}

/// Draws a pipeline with all that hangs on it. Give `out` a flush function when the drawing may be longer than its
/// buffer. Reads the counters as they are; safe between two rounds of the loop.
template <class Counters, class... Stages>
void describe(text_writer& out, const pipeline<Counters, Stages...>& p, drawing kind = drawing::text,
              show what = show::counters) noexcept {
  if (kind == drawing::text) {
    detail::text_drawing{out, what}.draw(p.stages(), "");
    return;
  }
  out << (kind == drawing::dot ? "digraph pipeline {\n  node [shape=box];\n" : "flowchart TD\n");
  detail::graph_drawing{out, what, kind}.draw(p.stages(), 0, "");
  if (kind == drawing::dot) out << "}\n";
}

}  // namespace runnel

#endif

// ==== runnel/flow/when_full.hpp ======================================================================================
// What happens where something is full: said by the type of a queue, and by who transmits.
#ifndef RUNNEL_FLOW_WHEN_FULL_HPP
#define RUNNEL_FLOW_WHEN_FULL_HPP

namespace runnel {

// What a queue does when it is full.
struct drop_tail {};  ///< refuses the newcomer (drop_reason::queue_full)
struct drop_head {};  ///< gives up its oldest packet for the newcomer (drop_reason::queue_head)
/// Holds its sources back: they are not polled for more than it has room for. A path that makes several of one packet,
/// two ways into the same queue, or one that a stage replaces in the middle of a burst, may still find it full: then it
/// refuses them.
/// Not for a graph that leads back to an earlier stage: full queues in a circle would wait for each other for ever.
struct hold {};

}  // namespace runnel

#endif

// ==== runnel/flow/ends.hpp ===========================================================================================
// The ends of a pipeline: what takes ownership of the packets that arrive.
#ifndef RUNNEL_FLOW_ENDS_HPP
#define RUNNEL_FLOW_ENDS_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint64_t
#include <utility>  // move

namespace runnel {

namespace detail {

// Sends what the device takes, and says how many. A device that takes packets and then fails to send them says how many
// it lost.
template <class Device, class Counters>
RUNNEL_INLINE std::size_t transmit_some(Device& device, packet* packets, std::size_t n, instant now,
                                        Counters& counters) noexcept {
  std::uint64_t lost = 0;
  if constexpr (requires { device.lost(); }) lost = device.lost();
  const std::size_t sent = device.transmit(packets, n, now);
  if constexpr (requires { device.lost(); })
    if (device.lost() != lost) [[unlikely]]
      counters.add(drop(drop_reason::transmit_error), device.lost() - lost);
  return sent;
}

template <class Device>
struct transmit_stage : stage_defaults {
  static constexpr stage_kind kind = stage_kind::end;
  static constexpr const char* name = "transmit";
  Device* device;

  constexpr explicit transmit_stage(Device& d) noexcept : device(&d) {}
  template <place, class Counters>
  void take(packet* packets, std::size_t n, std::uint64_t, Counters& counters, context& c) noexcept {
    const std::size_t sent = transmit_some(*device, packets, n, c.now, counters);
    if (sent == n) [[likely]]
      return;
    counters.add(drop(drop_reason::transmit_full), n - sent);
    for (std::size_t i = sent; i < n; ++i) packets[i].reset();
  }
  void print_name(text_writer& out) const noexcept { out << name; }
};

// Packets that a full device did not take, oldest first. A copy of a path has none of them. The engine looks through
// paths as constants, and sends these on the way.
class held_packets {
 public:
  held_packets() noexcept = default;
  held_packets(const held_packets&) noexcept {}
  held_packets& operator=(const held_packets&) = delete;

  [[nodiscard]] std::size_t size() const noexcept { return end_ - begin_; }
  [[nodiscard]] packet* data() noexcept { return packets_ + begin_; }
  void sent(std::size_t n) noexcept {
    begin_ += n;
    if (begin_ == end_) begin_ = end_ = 0;
  }
  // False when there is no room left, or none to keep a lent packet.
  [[nodiscard]] drop_reason add(packet&& p) noexcept {
    if (end_ == max_burst) return drop_reason::transmit_full;
    if (!p.keep()) return drop_reason::no_packet;
    packets_[end_++] = static_cast<packet&&>(p);
    return drop_reason::none;
  }

 private:
  packet packets_[max_burst];
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

template <class Device>
struct holding_transmit_stage : stage_defaults {
  static constexpr stage_kind kind = stage_kind::end;
  static constexpr const char* name = "transmit, hold";
  Device* device;
  mutable held_packets held;
  mutable std::uint64_t lost_later = 0;  // of what was held, the device lost so many, which its counters do not say yet

  constexpr explicit holding_transmit_stage(Device& d) noexcept : device(&d) {}
  template <place, class Counters>
  void take(packet* packets, std::size_t n, std::uint64_t, Counters& counters, context& c) noexcept {
    send_held(c.now);
    if (lost_later != 0) [[unlikely]]
      counters.add(drop(drop_reason::transmit_error), lost_later);
    lost_later = 0;
    const std::size_t sent = held.size() == 0 ? transmit_some(*device, packets, n, c.now, counters) : 0;
    for (std::size_t i = sent; i < n; ++i) {
      const drop_reason why = held.add(static_cast<packet&&>(packets[i]));
      if (why == drop_reason::none) [[likely]]
        continue;
      counters.add(drop(why));
      packets[i].reset();
    }
  }
  [[nodiscard]] std::size_t room(instant now) const noexcept {
    send_held(now);
    return held.size() == 0 ? max_burst : 0;
  }
  void wait_for_room(wait_list& waits) const noexcept {
    if (held.size() == 0) return;
    if constexpr (requires {
                    { device->transmit_handle() } -> std::same_as<int>;
                  }) {
      if (const int handle = device->transmit_handle(); handle >= 0) return waits.add({handle, true});
    }
    waits.again();
  }
  [[nodiscard]] bool holds_packets() const noexcept { return held.size() != 0; }

 private:
  struct later {
    std::uint64_t* lost;
    void add(verdict, std::uint64_t n) noexcept { *lost += n; }
  };
  void send_held(instant now) const noexcept {
    if (held.size() == 0) return;
    later counters{&lost_later};
    held.sent(transmit_some(*device, held.data(), held.size(), now, counters));
  }
};

struct discard_stage : stage_defaults {
  static constexpr stage_kind kind = stage_kind::end;
  static constexpr bool wants_packet = false;
  static constexpr const char* name = "discard";

  template <place, class Counters>
  void take(packet* packets, std::size_t n, std::uint64_t, Counters& counters, context&) noexcept {
    counters.add(drop(drop_reason::discarded), n);
    pool::release(packets, n);
  }
  template <class Counters>
  void take_frames(const frame* frames, std::size_t n, pool& memory, Counters& counters, context&) noexcept {
    counters.add(drop(drop_reason::discarded), n);
    memory.release(frames, n);
  }
};

template <class F>
struct deliver_stage : stage_defaults {
  static constexpr stage_kind kind = stage_kind::end;
  static constexpr const char* name = "deliver";
  F function;

  constexpr explicit deliver_stage(F f) noexcept : function(std::move(f)) {}
  template <place, class Counters>
  void take(packet* packets, std::size_t n, std::uint64_t, Counters&, context&) noexcept {
    for (std::size_t i = 0; i < n; ++i) function(static_cast<packet&&>(packets[i]));
    // What the function did not move out of the handle is released, as at the end of any scope.
    for (std::size_t i = 0; i < n; ++i) packets[i].reset();
  }
};

template <class Pipeline>
struct shared_stage : stage_defaults {
  static constexpr stage_kind kind = stage_kind::end;
  static constexpr const char* name = "shared";
  using target_type = Pipeline;
  Pipeline* target;

  constexpr explicit shared_stage(Pipeline& p) noexcept : target(&p) {}
  template <place At>
  static constexpr auto check_inside() noexcept {
    // What arrives there are packets, also where this stage is the first one.
    using checked [[maybe_unused]] = decltype(Pipeline::template check<after<shared_stage>(At)>());
  }
  template <place At, class Counters>
  void take(packet* packets, std::size_t n, std::uint64_t length, Counters&, context& c) noexcept {
    run<At>(target->stages(), packets, n, length, c);
  }
};

}  // namespace detail

/// Ends a path at a device. What the device does not take is dropped (drop_reason::transmit_full); what
/// it takes and loses, if it says so by `lost()`, counts as drop_reason::transmit_error. Refers to the
/// device, which must outlive the pipeline.
template <transmitting_device Device>
[[nodiscard]] constexpr auto transmit(Device& device) noexcept {
  return detail::transmit_stage<Device>{device};
}

/// The same, but what the device does not take is held, up to a burst of 256, and offered again in each round; until it
/// has taken all, the sources of the path are not polled. So nothing is lost where the sender can wait: behind
/// `queue<hold, n>`, or a capture that is replayed. A loop that has nothing else to do sleeps until the device has room
/// (`transmit_handle()`), or asks every 100 us where it does not tell. A path that makes several of one packet, or that
/// several sources share, may bring more than there is room for: that is dropped (drop_reason::transmit_full). What a
/// path holds when it is destroyed goes back to its pool.
///
///     attach(lan, parse() | policy | transmit<hold>(wan))
template <std::same_as<hold>, transmitting_device Device>
[[nodiscard]] constexpr auto transmit(Device& device) noexcept {
  return detail::holding_transmit_stage<Device>{device};
}

/// Ends a path on purpose: each packet is dropped and counted as drop_reason::discarded. Takes frames as they are, so a
/// pipeline of early verdicts that ends in it never makes a packet.
inline constexpr detail::discard_stage discard{};

/// Ends a path at a function that takes ownership: `deliver([&](packet p) {...})`. A packet that it keeps beyond the
/// call needs `keep()`.
template <class F>
[[nodiscard]] constexpr auto deliver(F function) noexcept {
  static_assert(std::is_invocable_v<F&, packet>,
                "runnel: deliver() needs a function that takes a packet: [](packet p) {...}");
  return detail::deliver_stage<F>{std::move(function)};
}

/// Ends a path at the beginning of another pipeline, which several ways may share. Refers to it: it must outlive the
/// pipelines that end in it. That is how ways are joined again; since it has to exist before, there are no loops.
template <class Pipeline>
[[nodiscard]] constexpr auto shared(Pipeline& target) noexcept {
  static_assert(detail::is_pipeline<Pipeline>,
                "runnel: shared() needs a pipeline: auto egress = a | b | transmit(wan); ... shared(egress)");
  if constexpr (detail::is_pipeline<Pipeline>) return detail::shared_stage<Pipeline>{target};
  else return discard;
}

}  // namespace runnel

#endif

// ==== runnel/flow/frame_engine.hpp ===================================================================================
// The burst engine, before there are packets: runs the early verdicts at the front of a pipeline over frames, and makes
// packets of those that go on.
//
// Theory of operation. A device's frames go through all early verdicts in one loop. When the same was said of all, the
// array is handed on as it is: to the next stage, back to the device, or to the pool. Otherwise the frames that do not
// go on are settled in runs of equal verdicts, and the gaps are closed. The first stage that wants a packet is where
// descriptors are attached; what the early verdicts found out about headers goes with them.
#ifndef RUNNEL_FLOW_FRAME_ENGINE_HPP
#define RUNNEL_FLOW_FRAME_ENGINE_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint16_t, uint32_t, uint64_t
#include <new>      // placement new

namespace runnel::detail {

[[nodiscard]] RUNNEL_INLINE std::uint64_t sum_of_lengths(const frame* frames, std::size_t n) noexcept {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < n; ++i) sum += frames[i].length;
  return sum;
}

[[nodiscard]] RUNNEL_INLINE found_layers dissect(const frame& f) noexcept {
  return dissect_both(bytes{f.data, f.length}, f.link, {.head_offset = f.headroom, .missing = f.missing});
}

template <class List>
constexpr unsigned early_length() {
  if constexpr (List::size == 0) return 0;
  else if constexpr (List::first_stage::kind == stage_kind::early) return 1 + early_length<typename List::rest_list>();
  else return 0;
}
template <class List, unsigned Steps>
constexpr bool early_needs_layers() {
  if constexpr (Steps == 0) return false;
  else return List::first_stage::wants_layers || early_needs_layers<typename List::rest_list, Steps - 1>();
}

// One frame through the early verdicts. The outcome's `port` has the number of the stage that decided in its upper
// byte, and the target of a redirect in its lower one; 255 is nobody's target.
template <bool Look, unsigned Steps, class List>
RUNNEL_INLINE verdict early_step(List& list, frame& f, found_layers& l, context& c, unsigned number = 0) noexcept {
  verdict v = list.stage.template look_at<Look>(f, l, c);
  if constexpr (Steps > 1)
    if (v.code == verdict_code::pass) [[likely]]
      return early_step<Look, Steps - 1>(list.rest, f, l, c, number + 1);
  const unsigned target = v.code != verdict_code::redirect ? 0u : v.port < 0xff ? v.port : 0xffu;
  v.port = static_cast<std::uint16_t>(number << 8 | target);
  return v;
}
// Hands a packet to a target of the early verdict with number `decided`.
template <unsigned Steps, class List>
verdict send_redirected(List& list, unsigned decided, unsigned target, packet& p, context& c) noexcept {
  if constexpr (Steps > 1)
    if (decided != 0) return send_redirected<Steps - 1>(list.rest, decided - 1, target, p, c);
  return list.stage.send(target, p, c);
}

// What a device looks like to the engine: a pool, and a way back out.
template <class Device>
constexpr context context_of(Device& device, instant now) noexcept {
  context c;
  c.now = now;
  if constexpr (transmitting_device<Device>) {
    c.device = &device;
    c.transmit_back = [](void* d, packet* packets, std::size_t n, instant t) noexcept {
      return static_cast<Device*>(d)->transmit(packets, n, t);
    };
    if constexpr (frame_transmitting_device<Device>)
      c.transmit_frames_back = [](void* d, const frame* frames, std::size_t n, instant t) noexcept {
        return static_cast<Device*>(d)->transmit(frames, n, t);
      };
  }
  return c;
}

constexpr place with_packets(place at) noexcept {
  at.packets = true;
  return at;
}

// Makes a packet of each frame that it takes, for the first stage that wants packets. A frame for which there is no
// descriptor is dropped there.
template <class List>
class attacher {
 public:
  attacher(List& list, pool& memory, packet* packets, std::size_t room) noexcept
      : list_(&list), memory_(&memory), packets_(packets), room_(room) {}
  // Member by member, and back only what changes: as a whole, it would be moved in pieces of another size than those
  // that were written just before, and wait for them.
  RUNNEL_INLINE attacher(const attacher& from) noexcept
      : list_(from.list_),
        memory_(from.memory_),
        packets_(from.packets_),
        room_(from.room_),
        count_(from.count_),
        lost_(from.lost_),
        length_(from.length_),
        last_{from.last_.ns} {}
  // NOLINTNEXTLINE(bugprone-unhandled-self-assignment): numbers only, nothing is owned
  RUNNEL_INLINE attacher& operator=(const attacher& from) noexcept {
    count_ = from.count_;
    lost_ = from.lost_;
    length_ = from.length_;
    last_.ns = from.last_.ns;
    return *this;
  }

  // The bytes come near meanwhile, for whoever looks at them first.
  RUNNEL_INLINE void operator()(const frame& f) noexcept {
    prefetch_to_read(f.data);
    last_ = f.timestamp;
    if (packet p = memory_->attach(f)) [[likely]]
      add(static_cast<packet&&>(p), f.length);
    else lose(f);
  }
  // With what an early verdict has found in it already.
  RUNNEL_INLINE void operator()(const frame& f, packed_layers found) noexcept {
    if (packet p = memory_->attach(f)) [[likely]] {
      p.layers(unpack_layers(found));
      add(static_cast<packet&&>(p), f.length);
    } else {
      lose(f);
    }
  }
  template <place At>
  void run_rest(context& c) noexcept {
    if (count_ != 0) run<with_packets(At)>(*list_, packets_, count_, length_, c);
  }
  [[nodiscard]] instant last() const noexcept { return last_; }
  // How many frames it took, those included for which there was no descriptor.
  [[nodiscard]] std::size_t taken() const noexcept { return count_ + lost_; }

 private:
  RUNNEL_INLINE void add(packet&& p, std::uint64_t length) noexcept {
    RUNNEL_ASSERT(count_ < room_ && "a device hands out more frames than it was asked for");
    length_ += length;
    ::new (static_cast<void*>(&packets_[count_++])) packet{static_cast<packet&&>(p)};
  }
  [[gnu::noinline]] void lose(const frame& f) noexcept {
    list_->counters.add(1, f.length);
    list_->counters.add(drop(drop_reason::no_packet));
    memory_->release(&f, 1);
    ++lost_;
  }

  List* list_;
  pool* memory_;
  packet* packets_;
  [[maybe_unused]] std::size_t room_;
  std::size_t count_ = 0;
  std::size_t lost_ = 0;
  std::uint64_t length_ = 0;
  instant last_{};  // when the last frame was received
};

// Hands frames to the first stage that is not an early verdict: as they are when it can do with frames.
template <place At, bool HaveLayers, class List>
RUNNEL_INLINE void run_after_early(List& list, frame* frames, const packed_layers* found, std::size_t n, pool& memory,
                                   context& c) noexcept {
  using stage = typename List::first_stage;
  if constexpr (stage::kind == stage_kind::end && !stage::wants_packet) {
    list.counters.add(n, sum_of_lengths(frames, n));
    list.stage.take_frames(frames, n, memory, list.counters, c);
  } else {
    handle_array<At.burst> packets;
    attacher<List> attach{list, memory, packets.data(), n};
    for (std::size_t i = 0; i < n; ++i) {
      if constexpr (HaveLayers) attach(frames[i], found[i]);
      else attach(frames[i]);
    }
    attach.template run_rest<At>(c);
  }
}

// A frame that leaves as a packet.
template <unsigned Steps, class List>
void settle_frame(List& list, const frame& f, verdict v, std::uint64_t length, pool& memory, context& c) noexcept {
  const unsigned decided = v.port >> 8;
  if (packet p = memory.attach(f); !p) {
    v = drop(drop_reason::no_packet);
    memory.release(&f, 1);
  } else if (v.code == verdict_code::tx) {
    v = settle(p, v, c);
  } else {
    v = send_redirected<Steps>(list, decided, v.port & 0xffu, p, c);
  }
  count_verdict<Steps>(list, decided, v, length);
}

// Frames in a row that do not go on, all for the same reason: released, sent back by their device, or sent to another
// one. `lengths` are those that they came with, null when no program could change them; `length` is their sum.
template <unsigned Steps, class List>
void settle_run(List& list, const frame* frames, std::size_t n, verdict v, const std::uint32_t* lengths,
                std::uint64_t length, pool& memory, context& c) noexcept {
  const unsigned decided = v.port >> 8;
  const auto length_of = [&](std::size_t i) { return lengths != nullptr ? lengths[i] : frames[i].length; };
  if (v.code == verdict_code::redirect || (v.code == verdict_code::tx && c.transmit_frames_back == nullptr)) {
    for (std::size_t i = 0; i < n; ++i) settle_frame<Steps>(list, frames[i], v, length_of(i), memory, c);
    return;
  }
  std::size_t sent = 0;
  if (v.code == verdict_code::tx) {
    sent = c.transmit_frames_back(c.device, frames, n, c.now);
    std::uint64_t length_sent = length;
    for (std::size_t i = sent; i < n; ++i) length_sent -= length_of(i);
    if (sent != 0) count_verdict<Steps>(list, decided, v, length_sent, sent);
    if (sent == n) [[likely]]
      return;
    length -= length_sent;
    v = drop(drop_reason::transmit_full);
  }
  memory.release(frames + sent, n - sent);
  count_verdict<Steps>(list, decided, v, length, n - sent);
}

// The frames of a burst of which not the same was said: settles those that do not go on, a run of equal verdicts at a
// time, and closes the gaps. Returns how many are left.
template <place At, unsigned Steps, class List>
[[gnu::noinline]] std::size_t settle_some_frames(List& list, frame* frames, packed_layers* found,
                                                 const verdict* outcomes, const std::uint32_t* lengths, std::size_t n,
                                                 pool& memory, context& c) noexcept {
  std::size_t kept = 0;
  for (std::size_t i = 0; i < n;) {
    if (outcomes[i].code == verdict_code::pass) {
      if (kept != i) {
        frames[kept] = frames[i];
        if (found != nullptr) found[kept] = found[i];
      }
      ++kept;
      ++i;
      continue;
    }
    const std::size_t first = i;
    std::uint64_t length = 0;
    for (; i < n && bits_of(outcomes[i]) == bits_of(outcomes[first]); ++i)
      length += lengths != nullptr ? lengths[i] : frames[i].length;
    settle_run<Steps>(list, frames + first, i - first, outcomes[first], lengths != nullptr ? lengths + first : nullptr,
                      length, memory, c);
  }
  return kept;
}

// Whether a program of a list of early verdicts may change the length of a frame.
template <class List, unsigned Steps>
constexpr bool early_resizes() {
  if constexpr (Steps == 0) return false;
  else return List::first_stage::asks_for_frame || early_resizes<typename List::rest_list, Steps - 1>();
}

// Takes frames into an array, and lets their bytes come near meanwhile.
class frame_taker {
 public:
  frame_taker(frame* to, std::size_t room) noexcept : to_(to), end_(to + room) {}
  RUNNEL_INLINE void operator()(const frame& f) noexcept {
    RUNNEL_ASSERT(to_ != end_ && "a device hands out more frames than it was asked for");
    prefetch_to_read(f.data);
    copy_members(*to_++, f);
  }

 private:
  frame* to_;
  [[maybe_unused]] frame* end_;
};

// Whether a pipeline's first stage is one that frames need not exist for.
template <class List>
inline constexpr bool begins_with_packets =
    List::first_stage::kind != stage_kind::early &&
    !(List::first_stage::kind == stage_kind::end && !List::first_stage::wants_packet);

template <place At, class List>
void run_frames(List& list, frame* frames, std::size_t n, pool& memory, context& c) noexcept {
  constexpr unsigned steps = early_length<List>();
  RUNNEL_ASSERT(n <= At.burst);
  if (n == 0) [[unlikely]]
    return;
  if (n > At.burst) __builtin_unreachable();
  if constexpr (steps == 0) {
    run_after_early<At, false>(list, frames, nullptr, n, memory, c);
  } else {
    using next_list = typename skip<List, steps>::type;
    using next_stage = typename next_list::first_stage;
    constexpr bool look = early_needs_layers<List, steps>();
    constexpr bool keep_layers = look && !(next_stage::kind == stage_kind::end && !next_stage::wants_packet);
    constexpr bool resizes = early_resizes<List, steps>();
    raw_array<packed_layers, keep_layers ? At.burst : 1> found;
    raw_array<verdict, At.burst> outcomes;
    std::uint32_t lengths[resizes ? At.burst : 1];  // as they were before a program resized the frame
    std::uint64_t length = 0;
    std::uint32_t different = 0;
    for (std::size_t i = 0; i < n; ++i) {
      frame& f = frames[i];
      found_layers l;
      if constexpr (look) l = dissect(f);
      if constexpr (resizes) lengths[i] = f.length;
      length += f.length;
      const verdict v = early_step<look, steps>(list, f, l, c);
      if constexpr (keep_layers) found[i] = l.packed;
      store(outcomes[i], v);
      different |= bits_of(v) ^ bits_of(outcomes[0]);
    }
    count_in<steps>(list, n, length);
    packed_layers* const layers_found = keep_layers ? found.data() : nullptr;
    const std::uint32_t* const lengths_before = resizes ? lengths : nullptr;
    if (different == 0 && outcomes[0].code != verdict_code::pass) {
      settle_run<steps>(list, frames, n, outcomes[0], lengths_before, length, memory, c);
      return;
    }
    if (different != 0) {
      n = settle_some_frames<At, steps>(list, frames, layers_found, outcomes.data(), lengths_before, n, memory, c);
      if (n == 0) return;
    }
    run_after_early<At, keep_layers>(skip<List, steps>::get(list), frames, layers_found, n, memory, c);
  }
}

}  // namespace runnel::detail

#endif

// ==== runnel/flow/loop.hpp ===========================================================================================
// The loop: polls each source for at most its budget, in turn, and runs what comes through the source's pipeline.
//
// NAPI's rule. A source that used up its budget has more, and has its turn again when every other one had its own: so
// under overload, sources share the processor as their budgets are to each other, a slow one is served once a round,
// and timers are late by one round at most. A round ends in sleep only when no source had anything. Then the loop
// waits, in one system call, for all devices, for the next timer, and for other threads: see sleeper.hpp for why none
// of them is missed. What cannot be polled, because the path behind it is full, is not waited for either; its full end
// is.
#ifndef RUNNEL_FLOW_LOOP_HPP
#define RUNNEL_FLOW_LOOP_HPP

#include <cstddef>      // size_t
#include <cstdint>      // uint64_t
#include <type_traits>  // remove_reference_t
#include <utility>      // forward

namespace runnel {

/// How a source is polled.
struct attach_options {
  std::size_t budget = 256;  ///< packets at most before the next source has its turn; at least 1
};

/// A source of packets and the pipeline behind it. Made by `attach`.
template <std::uint16_t Burst, class Source, class Pipeline>
class attachment {
  static_assert(Burst >= 1 && Burst <= max_burst, "runnel: a burst holds 1 to 256 packets");
  static constexpr bool of_packets = pulled_source<Source>;
  // What a queue holds may have been cloned by a tee before it. What crossed threads is its own.
  static constexpr bool may_be_shared = of_packets && !requires { requires Source::makes_own; };
  static constexpr place start{.packets = of_packets, .shared = may_be_shared, .burst = Burst};
  using list_type = typename std::remove_reference_t<Pipeline>::list_type;
  using checked = decltype(std::remove_reference_t<Pipeline>::template check<start>());

 public:
  /// Use `attach`.
  constexpr attachment(Source& source, Pipeline&& path, attach_options options) noexcept
      : source_(&source), path_(std::forward<Pipeline>(path)), options_(options) {
    RUNNEL_ASSERT(options.budget != 0 && "a source without a budget is never polled, and never done");
  }

  /// Receives packets and runs them through the pipeline, a burst at a time, up to the budget. How many there were.
  template <class Clock>
  std::size_t poll(Clock& clock) noexcept {
    std::size_t total = 0;
    while (total < options_.budget) {
      std::size_t room = options_.budget - total < Burst ? options_.budget - total : Burst;
      const std::size_t downstream = detail::room_in(path_.stages(), clock);
      if (downstream < room) room = downstream;
      if (room == 0) break;
      const std::size_t n = poll_once(clock, room);
      total += n;
      if (n < room) break;
    }
    return total;
  }
  /// Whether nothing will ever come again, and nothing is held by a full end.
  [[nodiscard]] bool done() noexcept { return source_->done() && !detail::holds_packets(path_.stages()); }
  /// Says what to wait for. `by` is who sleeps, null when nobody can wake him.
  template <class Clock>
  void prepare_to_wait(wait_list& waits, Clock& time, const sleeper* by) noexcept {
    if (detail::room_in(path_.stages(), time) == 0) return detail::wait_for_room(path_.stages(), waits);
    if (source_->done()) return;
    if constexpr (requires {
                    { source_->next_due() } -> std::same_as<instant>;
                  })
      waits.until(source_->next_due());
    if constexpr (requires {
                    { source_->wait_handle() } -> std::same_as<int>;
                  })
      if (const int handle = source_->wait_handle(); handle >= 0) waits.add({handle, false});
    // What other threads fill: it may have been filled since, or fill later without a word to this loop.
    if constexpr (requires { source_->wakes(by); }) {
      if (!source_->empty()) waits.ready();
      if (!source_->wakes(by)) waits.again();
    }
  }
  /// Waits until the source has something, if it can do that by itself.
  void wait_by_itself() noexcept {
    if constexpr (requires { source_->wait(); }) source_->wait();
  }
  /// The pipeline, for `describe` and `totals`.
  [[nodiscard]] auto& path() noexcept { return path_; }

 private:
  template <class Clock>
  std::size_t poll_once(Clock& clock, std::size_t room) noexcept {
    context c = detail::context_of(*source_, clock.now());
    if constexpr (of_packets) {
      detail::handle_array<Burst> packets;
      const std::size_t n = source_->pull(packets.data(), room, c.now);
      if (n != 0) detail::run<start>(path_.stages(), packets.data(), n, detail::sum_of_lengths(packets.data(), n), c);
      return n;
    } else if constexpr (detail::begins_with_packets<list_type>) {
      detail::handle_array<Burst> packets;
      detail::attacher<list_type> attach{path_.stages(), source_->memory(), packets.data(), room};
      const std::size_t n = source_->receive(room, c.now, attach);
      RUNNEL_ASSERT(n == attach.taken() && "a device says how often it called take, which it may not copy");
      if (n == 0) return 0;
      see(clock, attach.last(), c);
      attach.template run_rest<start>(c);
      return n;
    } else {
      detail::raw_array<frame, Burst> frames;
      const std::size_t n = source_->receive(room, c.now, detail::frame_taker{frames.data(), room});
      if (n == 0) return 0;
      see(clock, frames[n - 1].timestamp, c);
      detail::run_frames<start>(path_.stages(), frames.data(), n, source_->memory(), c);
      return n;
    }
  }
  // A clock that goes by the packets' own time is told of it.
  template <class Clock>
  static void see(Clock& clock, instant last, context& c) noexcept {
    if constexpr (requires { clock.seen(last); }) {
      clock.seen(last);
      c.now = clock.now();
    }
  }

  Source* source_;
  Pipeline path_;
  attach_options options_;
};

namespace detail {
// What stands in for an attachment that cannot be, so that one error does not bring more.
struct nothing_attached {
  template <class Clock>
  std::size_t poll(Clock&) noexcept {
    return 0;
  }
  bool done() noexcept { return true; }
  template <class Clock>
  void prepare_to_wait(wait_list&, Clock&, const sleeper*) noexcept {}
  void wait_by_itself() noexcept {}
};
}  // namespace detail

/// Joins a source - a receiving device, or a queue - to the pipeline that its packets go through, `Burst` at a time. A
/// pipeline that the user keeps is referred to, one given as a temporary is moved in. The pipeline is checked here: see
/// the compile errors. Refers to the source, which must outlive it.
template <std::uint16_t Burst = default_burst, class Source, class Pipeline>
[[nodiscard]] constexpr auto attach(Source& source, Pipeline&& path, attach_options options = {}) noexcept {
  constexpr bool is_source = receiving_device<Source> || pulled_source<Source>;
  static_assert(is_source, "runnel: attach() needs a device that receives, or a queue: see device_concepts.hpp");
  using path_type = decltype(detail::as_pipeline(std::forward<Pipeline>(path)));
  if constexpr (!is_source) {
    return detail::nothing_attached{};
  } else if constexpr (!path_type::complete) {
    using checked [[maybe_unused]] = decltype(path_type::template check<place{}>());
    return detail::nothing_attached{};
  } else if constexpr (detail::pipeline_type<Pipeline>) {
    return attachment<Burst, Source, Pipeline>{source, std::forward<Pipeline>(path), options};
  } else {
    auto whole = detail::as_pipeline(std::forward<Pipeline>(path));
    return attachment<Burst, Source, decltype(whole)>{source, std::move(whole), options};
  }
}

/// A wheel of timers among the attachments of a loop: runs what is due in each round, and tells the loop how long it
/// may sleep. Does not keep a loop alive whose sources are done.
template <unsigned Levels>
class timer_attachment {
 public:
  /// Use `attach`.
  constexpr explicit timer_attachment(basic_timer_wheel<Levels>& timers) noexcept : timers_(&timers) {}
  /// What the loop asks of an attachment. @{
  template <class Clock>
  std::size_t poll(Clock& clock) noexcept {
    timers_->advance(clock.now());
    return 0;
  }
  [[nodiscard]] bool done() const noexcept { return true; }
  template <class Clock>
  void prepare_to_wait(wait_list& waits, Clock&, const sleeper*) noexcept {
    waits.until(timers_->next_due());
  }
  void wait_by_itself() const noexcept {}
  /// @}

 private:
  basic_timer_wheel<Levels>* timers_;
};

/// Joins timers to a loop: `run(clock, attach(lan, path), attach(timers))`. Refers to the wheel, which must outlive it.
template <unsigned Levels>
[[nodiscard]] constexpr auto attach(basic_timer_wheel<Levels>& timers) noexcept {
  return timer_attachment<Levels>{timers};
}

/// What can be stopped: every loop, whatever its type. A handler in one of the loop's own pipelines holds a pointer to
/// this, for the type of the loop contains that of the handler.
class stoppable {
 public:
  /// Ends `run()` after the round that it is in, or its sleep at once. May come from a handler, another thread or a
  /// signal handler.
  void stop() noexcept {
    __atomic_store_n(&stop_, true, __ATOMIC_RELAXED);
    if (sleeper_ != nullptr) sleeper_->wake_up();
  }
  /// Has the loop look at all its sources, at once if it sleeps: for a source of one's own that another thread has
  /// filled. May come from any thread or signal handler. `packet_ring` does it by itself, and costs less.
  void wake() noexcept {
    __atomic_store_n(&look_, true, __ATOMIC_RELEASE);
    if (sleeper_ != nullptr) sleeper_->wake_up();
  }

 protected:
  /// `by` is whom to wake; null when the clock is no sleeper, and never sleeps longer than until it is due.
  constexpr explicit stoppable(sleeper* by) noexcept : sleeper_(by) {}
  /// Whether `stop` was called.
  [[nodiscard]] bool stopped() const noexcept { return __atomic_load_n(&stop_, __ATOMIC_RELAXED); }
  /// Whether `wake` was called since this was asked last.
  [[nodiscard]] bool woken() noexcept {
    return __atomic_load_n(&look_, __ATOMIC_RELAXED) && __atomic_exchange_n(&look_, false, __ATOMIC_ACQUIRE);
  }
  /// Who sleeps.
  [[nodiscard]] constexpr sleeper* sleeps() const noexcept { return sleeper_; }

 private:
  sleeper* sleeper_;
  bool stop_ = false;
  bool look_ = false;
};

/// Polls its attachments in turn until all are done or `stop()` is called. One thread runs it.
template <clock Clock, class... Attachments>
class loop : public stoppable {
 public:
  /// Refers to the clock, which must outlive it; takes over the attachments. A clock that loops sleep by (a `sleeper`,
  /// as `real_clock` is) has one loop at a time.
  constexpr explicit loop(Clock& time, Attachments... attachments) noexcept
      : stoppable(sleeper_of(time)), clock_(&time), attachments_(std::move(attachments)...) {}

  /// One round over all sources. How many packets there were.
  std::size_t poll() noexcept { return attachments_.poll(*clock_); }
  /// Waits until a source may have something, for a round that found nothing; not at all when none ever will. The clock
  /// does the waiting, if it can: `wait_until(due, entries, n)` on file descriptors, or `wait_until(due)`. With a clock
  /// that cannot, the only source that is left waits by itself (`wait()`), as a reader of a pipe does.
  void wait() noexcept {
    if (done()) return;
    constexpr std::size_t handles = (detail::handles_of<Attachments> + ... + 0);
    wait_entry entries[handles + 1];
    if constexpr (std::derived_from<Clock, sleeper>) {
      clock_->prepare_to_wait();
      // From here on nothing is missed: what came before is seen here, what comes later wakes us.
      wait_list waits{entries, handles, clock_->now()};
      attachments_.prepare_to_wait(waits, *clock_, sleeps());
      if (!stopped() && !woken() && !waits.is_ready() && !done())
        clock_->wait_until(waits.due(), entries, waits.size());
      clock_->finish_wait();
    } else {
      wait_list waits{entries, handles, clock_->now()};
      attachments_.prepare_to_wait(waits, *clock_, nullptr);
      if (waits.is_ready()) return;
      if constexpr (requires { clock_->wait_until(waits.due(), entries, waits.size()); })
        clock_->wait_until(waits.due(), entries, waits.size());
      else if (waits.due() == never && attachments_.left() == 1) attachments_.wait_by_itself();
      else if constexpr (requires { clock_->wait_until(waits.due()); }) clock_->wait_until(waits.due());
    }
  }
  /// Runs until every source is done and a round finds nothing, or until `stop()`. Waits when a round finds nothing,
  /// never under load. Once stopped, it stays so.
  void run() noexcept {
    while (!stopped()) {
      if (poll() != 0) continue;
      if (done()) return;
      wait();
    }
  }
  /// Whether no source will ever have anything again.
  [[nodiscard]] bool done() noexcept { return attachments_.done(); }

 private:
  // The attachments as a recursive struct, for the reason given at stage_list.
  template <class... More>
  struct list {
    std::size_t poll(Clock&) noexcept { return 0; }
    bool done() noexcept { return true; }
    void prepare_to_wait(wait_list&, Clock&, const sleeper*) noexcept {}
    std::size_t left() noexcept { return 0; }
    void wait_by_itself() noexcept {}
  };
  template <class First, class... More>
  struct list<First, More...> {
    constexpr explicit list(First&& f, More&&... m) noexcept : first(std::move(f)), more(std::move(m)...) {}
    std::size_t poll(Clock& time) noexcept {
      const std::size_t n = first.poll(time);
      return n + more.poll(time);
    }
    bool done() noexcept { return first.done() && more.done(); }
    void prepare_to_wait(wait_list& waits, Clock& time, const sleeper* by) noexcept {
      first.prepare_to_wait(waits, time, by);
      more.prepare_to_wait(waits, time, by);
    }
    std::size_t left() noexcept { return detail::left_in(first) + more.left(); }
    void wait_by_itself() noexcept {
      if (!first.done()) first.wait_by_itself();
      else more.wait_by_itself();
    }
    First first;
    list<More...> more;
  };
  static constexpr sleeper* sleeper_of(Clock& time) noexcept {
    if constexpr (std::derived_from<Clock, sleeper>) return &time;
    else return nullptr;
  }

  Clock* clock_;
  list<Attachments...> attachments_;
};

/// Runs attachments until all their sources are done, by a clock of the user's.
template <clock Clock, class... Attachments>
void run(Clock& time, Attachments... attachments) noexcept {
  loop<Clock, Attachments...>{time, std::move(attachments)...}.run();
}
/// Runs attachments until all their sources are done, in the time of their packets: for captures and benchmarks.
template <class... Attachments>
  requires(!(clock<Attachments> || ...))
void run(Attachments... attachments) noexcept {
  capture_clock time;
  run(time, std::move(attachments)...);
}

}  // namespace runnel

#endif

// ==== runnel/flow/parse.hpp ==========================================================================================
// The stage that finds the headers of a packet, once for all stages behind it.
#ifndef RUNNEL_FLOW_PARSE_HPP
#define RUNNEL_FLOW_PARSE_HPP

namespace runnel {

namespace detail {
struct parse_stage : stage_defaults {
  static constexpr stage_kind kind = stage_kind::each;
  static constexpr bool gives_parsed = true;
  static constexpr bool resizes = false;
  static constexpr const char* name = "parse";

  // Leaves what it found in `known` as well, for the stages behind it in the same loop.
  RUNNEL_INLINE verdict find(packet& p, known_layers& known) noexcept {
    known.valid = true;
    // Ethernet of which nothing is known, and which the short way understands, is nearly every packet.
    const packed_layers before = pack_layers(p.layers());
    if (before == 0) [[likely]] {
      const found_layers plain = dissect_plainly(p.contents(), p.headroom());
      if (plain.packed != 0) [[likely]] {
        p.layers(unpack_layers(plain.packed));
        known.found = plain.parts;
        return pass;
      }
    }
    known.found = unpack_layers(parse_carefully(p));
    return known.found.fault == drop_reason::none ? pass : drop(known.found.fault);
  }

 private:
  // What an early verdict or an earlier parse() has found stays, unless the packet was cut or moved since.
  [[gnu::noinline]] static packed_layers parse_carefully(packet& p) noexcept {
    layers found = p.layers();
    const bool parsed = found.has(protocol::parsed);
    if (parsed ? !lies_in(found, p.headroom(), p.length()) : found.fault == drop_reason::none) {
      found = runnel::dissect(
          p.contents(), found.link_kind(),
          {.head_offset = p.headroom(), .chained = p.total_length() - p.length(), .missing = p.missing()});
      p.layers(found);
    }
    return pack_layers(found);
  }
};
struct unshare_stage : stage_defaults {
  static constexpr stage_kind kind = stage_kind::each;
  static constexpr bool makes_own = true;
  static constexpr bool resizes = false;
  static constexpr const char* name = "unshare";

  RUNNEL_INLINE verdict operator()(packet& p, context&) noexcept {
    return p.unshare() ? pass : drop(drop_reason::no_packet);
  }
};
}  // namespace detail

/// Finds the headers of each packet (`dissect`), so that stages behind it may ask for network and transport headers.
/// Drops what is malformed, with the cause. Costs a few ns for a packet; where an early verdict or another `parse()`
/// has looked already, only whether its headers still lie in the bytes: what was cut or moved since is looked at anew.
[[nodiscard]] constexpr detail::parse_stage parse() noexcept { return {}; }

/// Makes the bytes of each packet its own, by copying those that are shared with a clone. Drops a packet for which the
/// pool has no slot (drop_reason::no_packet). Needed between `tee` and a stage that writes.
[[nodiscard]] constexpr detail::unshare_stage unshare() noexcept { return {}; }

}  // namespace runnel

#endif

// ==== runnel/flow/queue.hpp ==========================================================================================
// A bounded queue: the one place where push becomes pull, and where a graph may lead back to an earlier stage.
#ifndef RUNNEL_FLOW_QUEUE_HPP
#define RUNNEL_FLOW_QUEUE_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint64_t

namespace runnel {

/// Holds up to `Capacity` packets between an `enqueue(queue)` and an `attach(queue, pipeline)`, in order. Lives outside
/// pipelines, on one thread. Packets that a device only lent are copied when they come in (`keep`).
template <class WhenFull, std::size_t Capacity>
class queue {
 public:
  static_assert(std::same_as<WhenFull, drop_tail> || std::same_as<WhenFull, drop_head> || std::same_as<WhenFull, hold>,
                "runnel: a queue says what happens when it is full: queue<drop_tail, n>, queue<drop_head, n> or "
                "queue<hold, n>");
  static_assert(Capacity > 0, "runnel: a queue holds at least one packet");

  queue() noexcept = default;
  queue(const queue&) = delete;
  queue& operator=(const queue&) = delete;

  /// How many packets fit.
  [[nodiscard]] static constexpr std::size_t capacity() noexcept { return Capacity; }
  /// How many packets it holds.
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  /// How many packets more fit.
  [[nodiscard]] std::size_t room() const noexcept { return Capacity - size_; }

  /// Puts a packet at the end. Returns `pass`, or the drop that happened: of `p`, or with drop_head of the oldest.
  verdict push(packet&& p) noexcept {
    if constexpr (!std::same_as<WhenFull, drop_head>) {
      if (size_ == Capacity) {
        p.reset();
        return drop(drop_reason::queue_full);
      }
    }
    if (!p.keep()) {
      p.reset();
      return drop(drop_reason::no_packet);
    }
    verdict v = pass;
    if (size_ == Capacity) {
      packets_[head_].reset();
      advance();
      v = drop(drop_reason::queue_head);
    }
    std::size_t tail = head_ + size_;
    if (tail >= Capacity) tail -= Capacity;
    packets_[tail] = static_cast<packet&&>(p);
    ++size_;
    return v;
  }
  /// Moves up to `room` packets from the front into handles that hold nothing.
  std::size_t pull(packet* packets, std::size_t room, instant) noexcept {
    std::size_t n = 0;
    for (; n < room && size_ != 0; ++n) {
      ::new (static_cast<void*>(&packets[n])) packet{static_cast<packet&&>(packets_[head_])};
      advance();
    }
    return n;
  }
  /// Whether it is empty: a loop ends when its other sources are done too.
  [[nodiscard]] bool done() const noexcept { return size_ == 0; }

 private:
  void advance() noexcept {
    head_ = head_ + 1 == Capacity ? 0 : head_ + 1;
    --size_;
  }

  packet packets_[Capacity];
  std::size_t head_ = 0;
  std::size_t size_ = 0;
};

namespace detail {

template <class Queue>
inline constexpr bool holds = false;
template <std::size_t Capacity>
inline constexpr bool holds<queue<hold, Capacity>> = true;

template <class Queue>
struct enqueue_stage : stage_defaults {
  static constexpr stage_kind kind = stage_kind::end;
  static constexpr const char* name = "enqueue";
  Queue* target;

  constexpr explicit enqueue_stage(Queue& q) noexcept : target(&q) {}
  template <place, class Counters>
  void take(packet* packets, std::size_t n, std::uint64_t, Counters& counters, context&) noexcept {
    for (std::size_t i = 0; i < n; ++i) {
      const verdict v = target->push(static_cast<packet&&>(packets[i]));
      if (v.code != verdict_code::pass) [[unlikely]]
        counters.add(v);
    }
  }
  [[nodiscard]] std::size_t room(instant) const noexcept
    requires holds<Queue>
  {
    return target->room();
  }
};

}  // namespace detail

/// Ends a path at a queue. What the queue gives up is counted here. Refers to the queue, which must outlive the
/// pipeline.
template <class Queue>
[[nodiscard]] constexpr auto enqueue(Queue& target) noexcept {
  static_assert(
      requires(packet p) { target.push(static_cast<packet&&>(p)); },
      "runnel: enqueue() needs a queue: queue<drop_tail, 1024> q; ... enqueue(q)");
  return detail::enqueue_stage<Queue>{target};
}

}  // namespace runnel

#endif

// ==== runnel/flow/tee.hpp ============================================================================================
// Stages that let everything go on, and do something beside: a second path, a writer.
#ifndef RUNNEL_FLOW_TEE_HPP
#define RUNNEL_FLOW_TEE_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint64_t
#include <new>      // placement new
#include <utility>  // move

namespace runnel {

namespace detail {

template <class Path>
struct tee_stage : stage_defaults {
  static constexpr stage_kind kind = stage_kind::aside;
  static constexpr bool makes_shared = true;
  static constexpr const char* name = "tee";
  using path_type = Path;
  Path path;

  constexpr explicit tee_stage(Path p) noexcept : path(std::move(p)) {}
  // The same tee over a path that does not count.
  [[nodiscard]] constexpr auto without_counters() && noexcept {
    return tee_stage<decltype(strip_counters(std::move(path)))>{strip_counters(std::move(path))};
  }
  template <place At>
  static constexpr auto check_inside() noexcept {
    using checked [[maybe_unused]] = decltype(Path::template check_places<after<tee_stage>(At)>());
  }
  template <place At, class Counters>
  void beside(packet* packets, std::size_t n, std::uint64_t length, Counters& counters, context& c) noexcept {
    handle_array<At.burst> clones;
    std::size_t k = 0;
    for (std::size_t i = 0; i < n; ++i) {
      packet p = packets[i].clone();
      if (!p) [[unlikely]] {
        counters.add_aside(drop(packets[i].is_away() ? drop_reason::other_thread : drop_reason::no_packet));
        length -= packets[i].total_length();
        continue;
      }
      ::new (static_cast<void*>(&clones[k++])) packet{static_cast<packet&&>(p)};
    }
    if (k == 0) return;
    context there = c;  // a trace on that path is none of this one's
    run<after<tee_stage>(At)>(path.stages(), clones.data(), k, length, there);
  }
};

template <class Writer>
struct tap_stage : stage_defaults {
  static constexpr stage_kind kind = stage_kind::each;
  static constexpr bool resizes = false;
  static constexpr const char* name = "tap";
  Writer* writer;

  constexpr explicit tap_stage(Writer& w) noexcept : writer(&w) {}
  RUNNEL_INLINE verdict operator()(packet& p, context&) noexcept {
    writer->write(static_cast<const packet&>(p));
    return pass;
  }
};

}  // namespace detail

/// Sends a clone of each packet down a second path, and lets the packet itself go on. Clones share the bytes: behind a
/// tee, on both paths, stages that write need `unshare()` before them. A packet for which no descriptor is left is not
/// cloned (counted as drop_reason::no_packet at the tee), nor is one that another thread sent, for only that thread's
/// pool could describe its bytes (drop_reason::other_thread); both go on all the same.
template <class Path>
[[nodiscard]] constexpr auto tee(Path path) noexcept {
  auto whole = detail::as_way(std::move(path));
  return detail::tee_stage<decltype(whole)>{std::move(whole)};
}

/// Writes each packet that passes to `writer`, anything with `write(const packet&)` such as a capture writer, and lets
/// it go on. Copies nothing else and needs no descriptor. Refers to the writer, which must outlive the pipeline.
template <class Writer>
[[nodiscard]] constexpr auto tap(Writer& writer) noexcept {
  static_assert(
      requires(const packet& p) { writer.write(p); },
      "runnel: tap() needs something with write(const packet&), such as a pcap_writer");
  return detail::tap_stage<Writer>{writer};
}

}  // namespace runnel

#endif

// ==== runnel/wire/arp.hpp ============================================================================================
// ARP for Ethernet and IPv4: a checked view over the packet's own bytes, the builder. RFC 826, RFC 5227.
#ifndef RUNNEL_WIRE_ARP_HPP
#define RUNNEL_WIRE_ARP_HPP

#include <cstddef>      // byte, size_t
#include <cstdint>      // uint8_t, uint16_t
#include <type_traits>  // is_const_v

namespace runnel {

/// What an ARP packet wants (RFC 826; the others are of RARP and its kin).
namespace arp_operation {

/// An operation code. @{
inline constexpr std::uint16_t request = 1;
inline constexpr std::uint16_t reply = 2;
/// @}

}  // namespace arp_operation

/// A view of an ARP packet that resolves IPv4 addresses to MAC addresses, the only kind there is today. `arp` reads,
/// `mut<arp>` also writes. Does not own: valid as long as the bytes.
template <class Byte>
class basic_arp {
 public:
  /// What the library asks of a header view; see `header_view`. @{
  using mutable_view = basic_arp<std::byte>;
  static constexpr header in_header = header::arp;
  static constexpr std::size_t min_size = 28;
  /// @}

  /// A field, for match expressions. @{
  static constexpr field<header::arp, 0, 16, std::uint16_t> htype{"arp htype"};
  static constexpr field<header::arp, 16, 16, std::uint16_t> ptype{"arp ptype"};
  static constexpr field<header::arp, 32, 8, std::uint8_t> hlen{"arp hlen"};
  static constexpr field<header::arp, 40, 8, std::uint8_t> plen{"arp plen"};
  static constexpr field<header::arp, 48, 16, std::uint16_t> operation{"arp operation"};
  static constexpr field<header::arp, 64, 48, mac_address> saddr_ether{"arp saddr ether"};
  static constexpr field<header::arp, 112, 32, ipv4_address> saddr_ip{"arp saddr ip"};
  static constexpr field<header::arp, 144, 48, mac_address> daddr_ether{"arp daddr ether"};
  static constexpr field<header::arp, 192, 32, ipv4_address> daddr_ip{"arp daddr ip"};
  /// @}

  /// Checks that all is there, and that it is about Ethernet (hardware type 1, or 6 as some old bridges say) and IPv4.
  [[nodiscard]] static constexpr result<basic_arp, drop_reason> parse(byte_window<Byte> b) noexcept {
    if (b.size() < min_size) return drop_reason::arp_malformed;
    const std::byte* p = b.data();
    const std::uint16_t hardware = load_be16(p);
    if ((hardware != 1 && hardware != 6) || load_be16(p + 2) != ethertype::ipv4 || load_be16(p + 4) != 0x0604)
      return drop_reason::arp_malformed;
    return basic_arp{b.data(), min_size};
  }
  /// A view over bytes that were checked before: at least `min_size` of them. Checks nothing.
  [[nodiscard]] static constexpr basic_arp unchecked(byte_window<Byte> b) noexcept { return {b.data(), b.size()}; }

  /// A view that may write can be read through as well.
  constexpr operator basic_arp<const std::byte>() const noexcept
    requires(!std::is_const_v<Byte>)
  {
    return basic_arp<const Byte>::unchecked({p_, n_});
  }

  /// The field of the header, in host byte order. @{
  [[nodiscard]] constexpr std::uint16_t hardware_type() const noexcept { return load_be16(p_); }
  [[nodiscard]] constexpr std::uint16_t protocol_type() const noexcept { return load_be16(p_ + 2); }
  /// @}
  /// One of `arp_operation::…`.
  [[nodiscard]] constexpr std::uint16_t operation_code() const noexcept { return load_be16(p_ + 6); }
  /// The field of the header, in host byte order. @{
  [[nodiscard]] constexpr mac_address sender_hardware() const noexcept { return mac_address::load(p_ + 8); }
  [[nodiscard]] constexpr ipv4_address sender_protocol() const noexcept { return ipv4_address::load(p_ + 14); }
  [[nodiscard]] constexpr mac_address target_hardware() const noexcept { return mac_address::load(p_ + 18); }
  [[nodiscard]] constexpr ipv4_address target_protocol() const noexcept { return ipv4_address::load(p_ + 24); }
  /// @}
  /// What kind of message it is. @{
  [[nodiscard]] constexpr bool is_request() const noexcept { return operation_code() == arp_operation::request; }
  [[nodiscard]] constexpr bool is_reply() const noexcept { return operation_code() == arp_operation::reply; }
  /// @}
  /// A request from nobody: somebody asks whether an address is free before using it (RFC 5227 §2.1). Nothing may be
  /// learned from it.
  [[nodiscard]] constexpr bool is_probe() const noexcept { return is_request() && sender_protocol().is_unspecified(); }
  /// Somebody says that an address is now its own: a request for it (RFC 5227 §2.3), or an unasked reply, which older
  /// systems send ("gratuitous ARP").
  [[nodiscard]] constexpr bool is_announcement() const noexcept {
    return sender_protocol() == target_protocol() && !sender_protocol().is_unspecified();
  }

  /// Writes the field. @{
  constexpr void operation_code(std::uint16_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_be16(p_ + 6, v);
  }
  constexpr void sender_hardware(const mac_address& a) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    a.store(p_ + 8);
  }
  constexpr void sender_protocol(ipv4_address a) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    a.store(p_ + 14);
  }
  constexpr void target_hardware(const mac_address& a) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    a.store(p_ + 18);
  }
  constexpr void target_protocol(ipv4_address a) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    a.store(p_ + 24);
  }
  /// @}

 private:
  constexpr basic_arp(Byte* p, std::size_t n) noexcept : p_(p), n_(n) {}

  Byte* p_;
  std::size_t n_;
};

/// The view to read; `mut<>` of it also writes.
using arp = basic_arp<const std::byte>;

/// An ARP packet to be written: `write_headers(packet, ethernet_header{.destination = mac_broadcast, ...},
/// arp_header{.sender_hardware = ..., .sender_protocol = ..., .target_protocol = ...})`. Nothing goes inside it.
struct arp_header {
  static constexpr std::uint16_t ethertype = runnel::ethertype::arp;  ///< what a link header says of this one

  /// A field of the header, in host byte order. @{
  std::uint16_t operation = arp_operation::request;
  mac_address sender_hardware{};
  ipv4_address sender_protocol{};
  mac_address target_hardware{};
  ipv4_address target_protocol{};
  /// @}

  /// What `build` asks of a header; see `header_value`. @{
  [[nodiscard]] static constexpr std::size_t size() noexcept { return 28; }
  constexpr void write(mutable_bytes whole, const neighbours_of_header&) const noexcept {
    std::byte* p = whole.data();
    store_be16(p, 1);
    store_be16(p + 2, runnel::ethertype::ipv4);
    store_be16(p + 4, 0x0604);
    store_be16(p + 6, operation);
    sender_hardware.store(p + 8);
    sender_protocol.store(p + 14);
    target_hardware.store(p + 18);
    target_protocol.store(p + 24);
  }
  /// @}
};

/// One line in tcpdump's manner: `ARP, Request who-has 10.0.0.2 tell 10.0.0.1, length 28`, `ARP, Reply 10.0.0.2 is-at
/// 02:00:00:00:00:02, length 28`, `ARP, Probe 10.0.0.2, length 28`, `ARP, Announcement 10.0.0.2, length 28`.
template <class Byte>
constexpr void print(text_writer& out, const basic_arp<Byte>& v) noexcept {
  out << "ARP, ";
  if (v.is_probe() || (v.is_request() && v.is_announcement())) {
    out << (v.is_probe() ? "Probe " : "Announcement ");
    print(out, v.target_protocol());
  } else if (v.is_request()) {
    out << "Request who-has ";
    print(out, v.target_protocol());
    out << " tell ";
    print(out, v.sender_protocol());
  } else if (v.is_reply()) {
    out << "Reply ";
    print(out, v.sender_protocol());
    out << " is-at ";
    print(out, v.sender_hardware());
  } else {
    out << "operation " << v.operation_code();
  }
  out << ", length " << std::uint64_t{v.min_size};
}

}  // namespace runnel

#endif

// ==== runnel/wire/gre.hpp ============================================================================================
// GRE header: a checked view over the packet's own bytes, with checksum, key and sequence number; the builder.
// RFC 2784, RFC 2890.
#ifndef RUNNEL_WIRE_GRE_HPP
#define RUNNEL_WIRE_GRE_HPP

#include <cstddef>      // byte, size_t
#include <cstdint>      // uint8_t, uint16_t, uint32_t
#include <type_traits>  // is_const_v

namespace runnel {

/// A view of a GRE header (version 0) and what it carries. `gre` reads, `mut<gre>` also writes. Does not own: valid as
/// long as the bytes. No accessor reads outside the bytes that it was made over, even when they change after `parse`.
template <class Byte>
class basic_gre {
 public:
  /// What the library asks of a header view; see `header_view`. @{
  using mutable_view = basic_gre<std::byte>;
  static constexpr header in_header = header::gre;
  static constexpr std::size_t min_size = 4;
  /// @}

  /// What may follow, for match expressions: `gre::option::key::value`, `has<gre::option::key>`.
  using option = gre_option_fields<>;
  /// A field of the IP packet inside, for match expressions: `gre::inner(ip::saddr)`.
  template <class Field>
  [[nodiscard]] static constexpr match::inner_field<match::tunnel::gre, Field> inner(const Field& f) noexcept {
    return match::inner_field<match::tunnel::gre, Field>{f};
  }

  /// A field, for match expressions. @{
  static constexpr field<header::gre, 0, 5, std::uint8_t> flags{"gre flags"};
  static constexpr field<header::gre, 13, 3, std::uint8_t> version{"gre version"};
  static constexpr field<header::gre, 16, 16, std::uint16_t> protocol{"gre protocol"};
  /// @}

  /// Checks that the header is there with all that its flags promise. What RFC 1701 had beyond that (routing, a strict
  /// source route, recursion) is refused, as RFC 2784 §2.3 says, and so is version 1, which is PPTP's.
  [[nodiscard]] static constexpr result<basic_gre, drop_reason> parse(byte_window<Byte> b) noexcept {
    if (b.size() < min_size || (load_be16(b.data()) & 0x4c07u) != 0) return drop_reason::gre_malformed;
    const basic_gre v{b.data(), b.size()};
    if (v.said_size() > b.size()) return drop_reason::gre_malformed;
    return v;
  }
  /// A view over bytes that were checked before: at least `min_size` of them. Checks nothing.
  [[nodiscard]] static constexpr basic_gre unchecked(byte_window<Byte> b) noexcept { return {b.data(), b.size()}; }

  /// A view that may write can be read through as well.
  constexpr operator basic_gre<const std::byte>() const noexcept
    requires(!std::is_const_v<Byte>)
  {
    return basic_gre<const Byte>::unchecked({p_, n_});
  }

  /// 4 bytes, and 4 more for each of checksum, key and sequence number; never more than the view holds.
  [[nodiscard]] constexpr std::size_t header_size() const noexcept { return said_size() < n_ ? said_size() : n_; }
  /// Whether the optional field is there. @{
  [[nodiscard]] constexpr bool has_checksum() const noexcept { return (load_u8(p_) & 0x80u) != 0; }
  [[nodiscard]] constexpr bool has_key() const noexcept { return (load_u8(p_) & 0x20u) != 0; }
  [[nodiscard]] constexpr bool has_sequence_number() const noexcept { return (load_u8(p_) & 0x10u) != 0; }
  /// @}
  /// The version number.
  [[nodiscard]] constexpr std::uint8_t version_number() const noexcept { return load_u8(p_ + 1) & 7u; }
  /// What it carries: an EtherType.
  [[nodiscard]] constexpr std::uint16_t protocol_type() const noexcept { return load_be16(p_ + 2); }
  /// Which tunnel between the same two ends it is (RFC 2890 §2.1); 0 without a key.
  [[nodiscard]] constexpr std::uint32_t key() const noexcept { return has_key() ? word(key_at()) : 0; }
  /// RFC 2890 §2.2; 0 without a sequence number.
  [[nodiscard]] constexpr std::uint32_t sequence_number() const noexcept {
    return has_sequence_number() ? word(sequence_at()) : 0;
  }
  /// What the tunnel carries.
  [[nodiscard]] constexpr byte_window<Byte> payload() const noexcept {
    return byte_window<Byte>{p_, n_}.from(header_size());
  }
  /// Whether the checksum is right, or the sender computed none. Reads header and payload.
  [[nodiscard]] constexpr bool checksum_ok() const noexcept {
    return !has_checksum() || fold_checksum(add_checksum(bytes{p_, n_})) == 0xffff;
  }

  /// Changes the key of a header that has one, else nothing; updates the checksum when there is one (RFC 1624).
  constexpr void key(std::uint32_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    if (has_key()) set_word(key_at(), v);
  }
  /// Changes the sequence number of a header that has one, else nothing; updates the checksum when there is one.
  constexpr void sequence_number(std::uint32_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    if (has_sequence_number()) set_word(sequence_at(), v);
  }

 private:
  constexpr basic_gre(Byte* p, std::size_t n) noexcept : p_(p), n_(n) {}
  [[nodiscard]] constexpr std::size_t key_at() const noexcept { return has_checksum() ? 8 : 4; }
  [[nodiscard]] constexpr std::size_t sequence_at() const noexcept { return key_at() + (has_key() ? 4 : 0); }
  [[nodiscard]] constexpr std::size_t said_size() const noexcept {
    return sequence_at() + (has_sequence_number() ? 4 : 0);
  }
  [[nodiscard]] constexpr std::uint32_t word(std::size_t at) const noexcept {
    return at + 4 <= n_ ? load_be32(p_ + at) : 0;
  }
  constexpr void set_word(std::size_t at, std::uint32_t v) const noexcept {
    if (at + 4 > n_) return;
    if (has_checksum() && n_ >= 8) store_be16(p_ + 4, update_checksum32(load_be16(p_ + 4), load_be32(p_ + at), v));
    store_be32(p_ + at, v);
  }

  Byte* p_;
  std::size_t n_;
};

/// The view to read; `mut<>` of it also writes.
using gre = basic_gre<const std::byte>;

/// The name under which match expressions ask for the Ethernet frame inside GRE ("transparent Ethernet bridging"), as
/// in nft: `gretap::inner(ether::saddr)`.
struct gretap {
  /// A field of the frame inside: `gretap::inner(ip::saddr)`.
  template <class Field>
  [[nodiscard]] static constexpr match::inner_field<match::tunnel::gretap, Field> inner(const Field& f) noexcept {
    return match::inner_field<match::tunnel::gretap, Field>{f};
  }
};

/// A GRE header to be written: `write_headers(packet, ipv4_header{...}, gre_header{.has_key = true, .key = 7},
/// ipv4_header{...})`. Around an `ethernet_header` it says "transparent Ethernet bridging".
struct gre_header {
  static constexpr std::uint8_t ip_protocol = 47;  ///< what an IP header around this one says

  std::uint16_t protocol = 0;  ///< 0: the EtherType of the header inside
  bool checksum = false;       ///< over header and payload, which must be in place before
  /// Whether there is a key, and which. @{
  bool has_key = false;
  std::uint32_t key = 0;
  /// @}
  /// Whether there is a sequence number, and which. @{
  bool has_sequence = false;
  std::uint32_t sequence = 0;
  /// @}

  /// What `build` asks of a header; see `header_value`. @{
  [[nodiscard]] constexpr std::size_t size() const noexcept {
    return 4 + (checksum ? 4u : 0u) + (has_key ? 4u : 0u) + (has_sequence ? 4u : 0u);
  }
  constexpr void write(mutable_bytes whole, const neighbours_of_header& around) const noexcept {
    std::byte* p = whole.data();
    store_be16(p, static_cast<std::uint16_t>((checksum ? 0x8000u : 0u) | (has_key ? 0x2000u : 0u) |
                                             (has_sequence ? 0x1000u : 0u)));
    store_be16(p + 2, protocol != 0 ? protocol : around.ethertype);
    std::size_t at = 4;
    if (checksum) {
      store_be32(p + at, 0);
      at += 4;
    }
    if (has_key) {
      store_be32(p + at, key);
      at += 4;
    }
    if (has_sequence) store_be32(p + at, sequence);
    if (checksum) store_be16(p + 4, runnel::checksum(whole));
  }
  /// @}
};

/// One line in tcpdump's manner: `GREv0, key=0x7, seq 1, proto IPv4 (0x0800), length 40`, header included.
template <class Byte>
constexpr void print(text_writer& out, const basic_gre<Byte>& v) noexcept {
  out << "GREv" << v.version_number();
  if (v.has_key()) {
    out << ", key=0x";
    out.hex(v.key());
  }
  if (v.has_sequence_number()) out << ", seq " << v.sequence_number();
  out << ", proto " << ethertype::name(v.protocol_type()) << " (0x";
  out.hex(v.protocol_type(), 4) << "), length " << std::uint64_t{v.header_size() + v.payload().size()};
}

}  // namespace runnel

#endif

// ==== runnel/wire/ipv4.hpp ===========================================================================================
// IPv4 header: a checked view over the packet's own bytes, the options walker, the builder. RFC 791, RFC 6864.
#ifndef RUNNEL_WIRE_IPV4_HPP
#define RUNNEL_WIRE_IPV4_HPP

#include <cstddef>      // byte, size_t
#include <cstdint>      // uint8_t, uint16_t
#include <type_traits>  // is_const_v

namespace runnel {

/// A view of an IPv4 header and what it carries. `ipv4` reads, `mut<ipv4>` also writes. Does not own: valid as
/// long as the bytes. No accessor reads outside the bytes that it was made over, even when they change after
/// `parse`.
template <class Byte>
class basic_ipv4 {
 public:
  /// What the library asks of a header view; see `header_view`. @{
  using mutable_view = basic_ipv4<std::byte>;
  static constexpr header in_header = header::ipv4;
  static constexpr std::size_t min_size = 20;
  /// @}

  /// Options for match expressions: `has<ip::option::rr>`, `ip::option::lsrr::ptr`.
  using option = ipv4_option_fields<>;

  /// A field, for match expressions. @{
  static constexpr field<header::ipv4, 0, 4, std::uint8_t> version{"ip version"};
  static constexpr field<header::ipv4, 4, 4, std::uint8_t> hdrlength{"ip hdrlength"};
  static constexpr field<header::ipv4, 8, 6, std::uint8_t> dscp{"ip dscp"};
  static constexpr field<header::ipv4, 14, 2, std::uint8_t> ecn{"ip ecn"};
  static constexpr field<header::ipv4, 16, 16, std::uint16_t> length{"ip length"};
  static constexpr field<header::ipv4, 32, 16, std::uint16_t> id{"ip id"};
  static constexpr field<header::ipv4, 48, 16, std::uint16_t> frag_off{"ip frag-off"};
  static constexpr field<header::ipv4, 64, 8, std::uint8_t> ttl{"ip ttl"};
  static constexpr field<header::ipv4, 72, 8, std::uint8_t> protocol{"ip protocol"};
  static constexpr field<header::ipv4, 80, 16, std::uint16_t> checksum{"ip checksum"};
  static constexpr field<header::ipv4, 96, 32, ipv4_address> saddr{"ip saddr"};
  static constexpr field<header::ipv4, 128, 32, ipv4_address> daddr{"ip daddr"};
  /// @}

  /// Checks version, IHL and total length against `b`, which begins at the header and may run on behind the
  /// datagram (Ethernet padding). The view then ends where the total length says. The checksum is not looked at.
  [[nodiscard]] static constexpr result<basic_ipv4, drop_reason> parse(byte_window<Byte> b) noexcept {
    if (b.size() < min_size) return drop_reason::ip_too_short;
    const std::byte* p = b.data();
    if (load_u8(p) >> 4 != 4) return drop_reason::ip_version;
    const std::size_t header_size = (load_u8(p) & 15u) * std::size_t{4};
    const std::size_t total = load_be16(p + 2);
    if (header_size < min_size || header_size > b.size()) return drop_reason::ip_header_length;
    if (total < header_size || total > b.size()) return drop_reason::ip_total_length;
    return basic_ipv4{b.data(), total};
  }
  /// A view over bytes that were checked before: at least `min_size` of them. Checks nothing.
  [[nodiscard]] static constexpr basic_ipv4 unchecked(byte_window<Byte> b) noexcept { return {b.data(), b.size()}; }

  /// A view that may write can be read through as well.
  constexpr operator basic_ipv4<const std::byte>() const noexcept
    requires(!std::is_const_v<Byte>)
  {
    return basic_ipv4<const Byte>::unchecked({p_, n_});
  }

  /// Header length in bytes, options included; never more than the view holds.
  [[nodiscard]] constexpr std::size_t header_size() const noexcept {
    const std::size_t said = (load_u8(p_) & 15u) * std::size_t{4};
    return said < min_size ? min_size : said < n_ ? said : n_;
  }
  /// Differentiated services code point, 6 bits (RFC 2474).
  [[nodiscard]] constexpr std::uint8_t codepoint() const noexcept {
    return static_cast<std::uint8_t>(load_u8(p_ + 1) >> 2);
  }
  /// Explicit congestion notification, 2 bits (RFC 3168).
  [[nodiscard]] constexpr std::uint8_t ecn_bits() const noexcept { return load_u8(p_ + 1) & 3u; }
  /// Header and payload in bytes, as the header says.
  [[nodiscard]] constexpr std::uint16_t total_length() const noexcept { return load_be16(p_ + 2); }
  /// The field of the header, in host byte order.
  [[nodiscard]] constexpr std::uint16_t identification() const noexcept { return load_be16(p_ + 4); }
  /// Whether the header says so. @{
  [[nodiscard]] constexpr bool dont_fragment() const noexcept { return (load_u8(p_ + 6) & 0x40u) != 0; }
  [[nodiscard]] constexpr bool more_fragments() const noexcept { return (load_u8(p_ + 6) & 0x20u) != 0; }
  /// @}
  /// Where this fragment's payload belongs in the datagram, in bytes.
  [[nodiscard]] constexpr std::size_t fragment_offset() const noexcept {
    return (load_be16(p_ + 6) & 0x1fffu) * std::size_t{8};
  }
  /// Whether the header says so.
  [[nodiscard]] constexpr bool is_fragment() const noexcept { return (load_be16(p_ + 6) & 0x3fffu) != 0; }
  /// The field of the header, in host byte order.
  [[nodiscard]] constexpr std::uint8_t time_to_live() const noexcept { return load_u8(p_ + 8); }
  /// What the payload is: an IANA protocol number.
  [[nodiscard]] constexpr std::uint8_t protocol_number() const noexcept { return load_u8(p_ + 9); }
  /// The field of the header, in host byte order. @{
  [[nodiscard]] constexpr std::uint16_t header_checksum() const noexcept { return load_be16(p_ + 10); }
  [[nodiscard]] constexpr ipv4_address source() const noexcept { return ipv4_address::load(p_ + 12); }
  [[nodiscard]] constexpr ipv4_address destination() const noexcept { return ipv4_address::load(p_ + 16); }
  /// @}
  /// Both addresses as they lie there, the source in the upper half: one load for what compares or hashes them.
  [[nodiscard]] constexpr std::uint64_t addresses() const noexcept { return load_be64(p_ + 12); }
  /// The option bytes; walk them with `ipv4_options`.
  [[nodiscard]] constexpr bytes options() const noexcept { return bytes{p_, header_size()}.from(min_size); }
  /// What the datagram (or fragment) carries, without padding of the link.
  [[nodiscard]] constexpr byte_window<Byte> payload() const noexcept {
    return byte_window<Byte>{p_, n_}.from(header_size());
  }
  /// Whether the header checksum is right. Reads the header once.
  [[nodiscard]] constexpr bool checksum_ok() const noexcept {
    return fold_checksum(add_checksum(bytes{p_, header_size()})) == 0xffff;
  }
  /// Sum over the pseudo-header without protocol and length: what TCP and UDP checksums begin with (RFC 9293 §3.1).
  [[nodiscard]] constexpr std::uint32_t pseudo_header_sum() const noexcept {
    return static_cast<std::uint32_t>(add_checksum(bytes{p_ + 12, 8}));
  }

  // Setters. Each that changes a field under the header checksum also updates the checksum (RFC 1624), unless it
  // says otherwise.
  /// Writes the field and updates the header checksum (RFC 1624). @{
  constexpr void codepoint(std::uint8_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    set16(0, static_cast<std::uint16_t>((load_be16(p_) & 0xff03u) | (v & 63u) << 2));
  }
  constexpr void ecn_bits(std::uint8_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    set16(0, static_cast<std::uint16_t>((load_be16(p_) & 0xfffcu) | (v & 3u)));
  }
  constexpr void identification(std::uint16_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    set16(4, v);
  }
  constexpr void time_to_live(std::uint8_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    set16(8, static_cast<std::uint16_t>((load_be16(p_ + 8) & 0xffu) | unsigned{v} << 8));
  }
  /// @}
  /// Stores a checksum as given.
  constexpr void header_checksum(std::uint16_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_be16(p_ + 10, v);
  }
  /// Changes the address and the header checksum; a transport checksum is the caller's to update.
  constexpr void source(ipv4_address a) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    set32(12, a.value());
  }
  /// Changes the address and the header checksum; a transport checksum is the caller's to update.
  constexpr void destination(ipv4_address a) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    set32(16, a.value());
  }
  /// Computes the header checksum anew.
  constexpr void update_checksum() const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_be16(p_ + 10, 0);
    store_be16(p_ + 10, runnel::checksum(bytes{p_, header_size()}));
  }

 private:
  constexpr basic_ipv4(Byte* p, std::size_t n) noexcept : p_(p), n_(n) {}
  constexpr void set16(std::size_t at, std::uint16_t v) const noexcept {
    store_be16(p_ + 10, update_checksum16(load_be16(p_ + 10), load_be16(p_ + at), v));
    store_be16(p_ + at, v);
  }
  constexpr void set32(std::size_t at, std::uint32_t v) const noexcept {
    store_be16(p_ + 10, update_checksum32(load_be16(p_ + 10), load_be32(p_ + at), v));
    store_be32(p_ + at, v);
  }

  Byte* p_;
  std::size_t n_;
};

/// The view to read; `mut<>` of it also writes.
using ipv4 = basic_ipv4<const std::byte>;
/// The name under which match expressions read best: `ip::saddr == ...`, as in nft.
using ip = ipv4;

/// Walks IPv4 options: `for (ipv4_options o(header.options()); o; o.next()) use(o.kind(), o.data());`
/// Ends at End of Option List, at the last byte, or at an option whose length cannot be; `malformed()` tells the
/// last case. RFC 791 §3.1.
class ipv4_options {
 public:
  /// Walks the options of a header, `ip.options()`.
  constexpr explicit ipv4_options(bytes options) noexcept : rest_(options) { look(); }
  /// Whether there is an option at the current place.
  [[nodiscard]] constexpr explicit operator bool() const noexcept { return size_ != 0; }
  /// The option's type octet: copied flag, class and number.
  [[nodiscard]] constexpr std::uint8_t kind() const noexcept { return load_u8(rest_.data()); }
  /// The option's data, without type and length octets.
  [[nodiscard]] constexpr bytes data() const noexcept { return rest_.first(size_).from(2); }
  /// The option from its type octet on.
  [[nodiscard]] constexpr bytes whole() const noexcept { return rest_.first(size_); }
  /// Goes to the next option.
  constexpr void next() noexcept {
    rest_ = rest_.from(size_);
    look();
  }
  /// Whether the walk ended at a fault.
  [[nodiscard]] constexpr bool malformed() const noexcept { return malformed_; }

 private:
  constexpr void look() noexcept {
    size_ = 0;
    if (rest_.empty() || kind() == 0) return;
    if (kind() == 1) {
      size_ = 1;
      return;
    }
    if (rest_.size() < 2 || load_u8(rest_.data() + 1) < 2 || load_u8(rest_.data() + 1) > rest_.size()) {
      malformed_ = true;
      return;
    }
    size_ = load_u8(rest_.data() + 1);
  }

  bytes rest_;
  std::size_t size_ = 0;
  bool malformed_ = false;
};

/// An IPv4 header to be written: `write_headers(packet, ethernet_header{...}, ipv4_header{...}, udp_header{...})`.
/// `protocol`, total length and checksum come from what is inside; set `protocol` when the payload is not a header
/// that this library writes.
struct ipv4_header {
  static constexpr std::uint16_t ethertype = 0x0800;  ///< what a link header says of this one
  static constexpr std::uint8_t ip_protocol = 4;      ///< what an IP header around this one says (RFC 2003)

  /// A field of the header, in host byte order. @{
  ipv4_address source{};
  ipv4_address destination{};
  std::uint8_t ttl = 64;
  std::uint8_t dscp = 0;
  std::uint8_t ecn = 0;
  std::uint16_t id = 0;
  bool dont_fragment = true;
  bool more_fragments = false;
  /// @}
  std::uint16_t fragment_offset = 0;  ///< in bytes, a multiple of 8
  std::uint8_t protocol = 0;          ///< 0: that of the header inside
  bytes options{};                    ///< at most 40 bytes; written with padding to a multiple of 4

  /// What `build` asks of a header; see `header_value`.
  [[nodiscard]] constexpr std::size_t size() const noexcept {
    RUNNEL_ASSERT(options.size() <= 40);
    return 20 + (options.first(40).size() + 3) / 4 * 4;
  }
  /// Unfolded sum over the addresses, for the checksum of a transport inside.
  [[nodiscard]] constexpr std::uint32_t pseudo_header_sum() const noexcept {
    return (source.value() >> 16) + (source.value() & 0xffffu) + (destination.value() >> 16) +
           (destination.value() & 0xffffu);
  }
  /// What `build` asks of a header; see `header_value`.
  constexpr void write(mutable_bytes whole, const neighbours_of_header& around) const noexcept {
    RUNNEL_ASSERT(whole.size() <= 65535);
    std::byte* p = whole.data();
    store_u8(p, static_cast<std::uint8_t>(0x40u | size() / 4));
    store_u8(p + 1, static_cast<std::uint8_t>(unsigned{dscp} << 2 | (ecn & 3u)));
    store_be16(p + 2, static_cast<std::uint16_t>(whole.size()));
    store_be16(p + 4, id);
    store_be16(p + 6, static_cast<std::uint16_t>((dont_fragment ? 0x4000u : 0u) | (more_fragments ? 0x2000u : 0u) |
                                                 fragment_offset / 8u));
    store_u8(p + 8, ttl);
    store_u8(p + 9, protocol != 0 ? protocol : around.ip_protocol);
    store_be16(p + 10, 0);
    source.store(p + 12);
    destination.store(p + 16);
    zero_bytes(p + 20, size() - 20);
    const bytes said = options.first(40);
    copy_bytes(p + 20, said.data(), said.size());
    store_be16(p + 10, checksum(bytes{p, size()}));
  }
};

/// One line in tcpdump's manner: `10.0.0.1 > 10.0.0.2: ttl 64, id 1, proto 17, length 48`, with what is unusual
/// (DF, fragments, dscp, options) named.
template <class Byte>
constexpr void print(text_writer& out, const basic_ipv4<Byte>& v) noexcept {
  print(out, v.source());
  out << " > ";
  print(out, v.destination());
  out << ": ttl " << v.time_to_live() << ", id " << v.identification();
  if (v.is_fragment()) out << ", offset " << std::uint64_t{v.fragment_offset()} << (v.more_fragments() ? "+" : "");
  if (v.dont_fragment()) out << ", DF";
  if (v.codepoint() != 0) out << ", dscp " << v.codepoint();
  if (v.ecn_bits() != 0) out << ", ecn " << v.ecn_bits();
  if (!v.options().empty()) out << ", options " << std::uint64_t{v.options().size()};
  out << ", proto " << v.protocol_number() << ", length " << v.total_length();
}

}  // namespace runnel

#endif

// ==== runnel/wire/ipv6.hpp ===========================================================================================
// IPv6 header: a checked view over the packet's own bytes, the builder, the printer. RFC 8200, RFC 6437, RFC 2474.
// Jumbograms (RFC 2675: payload length 0 and a hop-by-hop header) are refused. Extension headers are walked by
// <runnel/wire/ipv6_extension.hpp>.
#ifndef RUNNEL_WIRE_IPV6_HPP
#define RUNNEL_WIRE_IPV6_HPP

#include <cstddef>      // byte, size_t
#include <cstdint>      // uint8_t, uint16_t, uint32_t
#include <type_traits>  // is_const_v

namespace runnel {

/// A view of an IPv6 header and what it carries. `ipv6` reads, `mut<ipv6>` also writes. Does not own: valid as long as
/// the bytes. No accessor reads outside the bytes that it was made over, even when they change after `parse`.
template <class Byte>
class basic_ipv6 {
 public:
  /// What the library asks of a header view; see `header_view`. @{
  using mutable_view = basic_ipv6<std::byte>;
  static constexpr header in_header = header::ipv6;
  static constexpr std::size_t min_size = 40;
  /// @}

  /// Extension headers for match expressions: `has<ip6::exthdr::hbh>`, `ip6::exthdr::rt::type`.
  using exthdr = ipv6_exthdr_fields<>;

  /// A field, for match expressions. @{
  static constexpr field<header::ipv6, 0, 4, std::uint8_t> version{"ip6 version"};
  static constexpr field<header::ipv6, 4, 6, std::uint8_t> dscp{"ip6 dscp"};
  static constexpr field<header::ipv6, 10, 2, std::uint8_t> ecn{"ip6 ecn"};
  static constexpr field<header::ipv6, 12, 20, std::uint32_t> flowlabel{"ip6 flowlabel"};
  static constexpr field<header::ipv6, 32, 16, std::uint16_t> length{"ip6 length"};
  static constexpr field<header::ipv6, 48, 8, std::uint8_t> nexthdr{"ip6 nexthdr"};
  static constexpr field<header::ipv6, 56, 8, std::uint8_t> hoplimit{"ip6 hoplimit"};
  static constexpr field<header::ipv6, 64, 128, ipv6_address> saddr{"ip6 saddr"};
  static constexpr field<header::ipv6, 192, 128, ipv6_address> daddr{"ip6 daddr"};
  /// @}

  /// Checks version and payload length against `b`, which begins at the header and may run on behind the datagram
  /// (Ethernet padding). The view then ends where the payload length says. A payload length of 0 is an empty payload;
  /// with a hop-by-hop header announced it would be a jumbogram, which is refused (`ip_total_length`).
  [[nodiscard]] static constexpr result<basic_ipv6, drop_reason> parse(byte_window<Byte> b) noexcept {
    if (b.size() < min_size) return drop_reason::ip_too_short;
    const std::byte* p = b.data();
    if (load_u8(p) >> 4 != 6) return drop_reason::ip_version;
    const std::size_t payload_length = load_be16(p + 4);
    if (payload_length > b.size() - min_size) return drop_reason::ip_total_length;
    if (payload_length == 0 && load_u8(p + 6) == 0) return drop_reason::ip_total_length;
    return basic_ipv6{b.data(), min_size + payload_length};
  }
  /// A view over bytes that were checked before: at least `min_size` of them. Checks nothing.
  [[nodiscard]] static constexpr basic_ipv6 unchecked(byte_window<Byte> b) noexcept { return {b.data(), b.size()}; }

  /// A view that may write can be read through as well.
  constexpr operator basic_ipv6<const std::byte>() const noexcept
    requires(!std::is_const_v<Byte>)
  {
    return basic_ipv6<const Byte>::unchecked({p_, n_});
  }

  /// Length of the fixed header, 40 bytes: extension headers belong to the payload.
  [[nodiscard]] static constexpr std::size_t header_size() noexcept { return min_size; }
  /// Differentiated services code point, 6 bits (RFC 2474).
  [[nodiscard]] constexpr std::uint8_t codepoint() const noexcept {
    return static_cast<std::uint8_t>(load_be16(p_) >> 6 & 63u);
  }
  /// Explicit congestion notification, 2 bits (RFC 3168).
  [[nodiscard]] constexpr std::uint8_t ecn_bits() const noexcept { return load_u8(p_ + 1) >> 4 & 3u; }
  /// 20 bits; 0 when the source labels no flows (RFC 6437 §2).
  [[nodiscard]] constexpr std::uint32_t flow_label() const noexcept { return load_be32(p_) & 0xf'ffffu; }
  /// Bytes behind the fixed header, extension headers included, as the header says.
  [[nodiscard]] constexpr std::uint16_t payload_length() const noexcept { return load_be16(p_ + 4); }
  /// What comes first behind the fixed header: an extension header or a transport, an IANA protocol number.
  [[nodiscard]] constexpr std::uint8_t next_header() const noexcept { return load_u8(p_ + 6); }
  /// The field of the header, in host byte order. @{
  [[nodiscard]] constexpr std::uint8_t hop_limit() const noexcept { return load_u8(p_ + 7); }
  [[nodiscard]] constexpr ipv6_address source() const noexcept { return ipv6_address::load(p_ + 8); }
  [[nodiscard]] constexpr ipv6_address destination() const noexcept { return ipv6_address::load(p_ + 24); }
  /// @}
  /// What follows the fixed header, extension headers first, without padding of the link.
  [[nodiscard]] constexpr byte_window<Byte> payload() const noexcept {
    return byte_window<Byte>{p_, n_}.from(min_size);
  }
  /// Sum over the pseudo-header without next header and length: what TCP, UDP and ICMPv6 checksums begin with (§8.1).
  /// Behind a routing header with segments left the final destination counts instead, which this does not know.
  [[nodiscard]] constexpr std::uint32_t pseudo_header_sum() const noexcept {
    return static_cast<std::uint32_t>(add_checksum(bytes{p_ + 8, 32}));
  }

  // Setters. IPv6 has no header checksum; where addresses change, a transport checksum is the caller's to update.
  /// Writes the field. @{
  constexpr void codepoint(std::uint8_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_be16(p_, static_cast<std::uint16_t>((load_be16(p_) & 0xf03fu) | (v & 63u) << 6));
  }
  constexpr void ecn_bits(std::uint8_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_u8(p_ + 1, static_cast<std::uint8_t>((load_u8(p_ + 1) & 0xcfu) | (v & 3u) << 4));
  }
  constexpr void flow_label(std::uint32_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_be32(p_, (load_be32(p_) & 0xfff0'0000u) | (v & 0xf'ffffu));
  }
  constexpr void payload_length(std::uint16_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_be16(p_ + 4, v);
  }
  constexpr void next_header(std::uint8_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_u8(p_ + 6, v);
  }
  constexpr void hop_limit(std::uint8_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_u8(p_ + 7, v);
  }
  constexpr void source(const ipv6_address& a) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    a.store(p_ + 8);
  }
  constexpr void destination(const ipv6_address& a) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    a.store(p_ + 24);
  }
  /// @}

 private:
  constexpr basic_ipv6(Byte* p, std::size_t n) noexcept : p_(p), n_(n) {}

  Byte* p_;
  std::size_t n_;
};

/// The view to read; `mut<>` of it also writes.
using ipv6 = basic_ipv6<const std::byte>;
/// The name under which match expressions read best: `ip6::saddr == ...`, as in nft.
using ip6 = ipv6;

/// An IPv6 header to be written. Payload length comes from what is inside, and so does `next_header`; set that one
/// when the payload is not a header that this library writes.
struct ipv6_header {
  static constexpr std::uint16_t ethertype = 0x86dd;  ///< what a link header says of this one
  static constexpr std::uint8_t ip_protocol = 41;     ///< what an IP header around this one says (RFC 2473, RFC 4213)

  /// A field of the header, in host byte order. @{
  ipv6_address source{};
  ipv6_address destination{};
  std::uint8_t hop_limit = 64;
  std::uint8_t dscp = 0;
  std::uint8_t ecn = 0;
  std::uint32_t flow_label = 0;
  /// @}
  std::uint8_t next_header = 0;  ///< 0: that of the header inside, or 59 when there is none

  /// What `build` asks of a header; see `header_value`.
  [[nodiscard]] static constexpr std::size_t size() noexcept { return 40; }
  /// Unfolded sum over the addresses, for the checksum of a transport inside.
  [[nodiscard]] constexpr std::uint32_t pseudo_header_sum() const noexcept {
    return sum(source.high()) + sum(source.low()) + sum(destination.high()) + sum(destination.low());
  }
  /// What `build` asks of a header; see `header_value`.
  constexpr void write(mutable_bytes whole, const neighbours_of_header& around) const noexcept {
    RUNNEL_ASSERT(whole.size() - size() <= 65535);
    std::byte* p = whole.data();
    store_be32(p, 6u << 28 | (dscp & 63u) << 22 | (ecn & 3u) << 20 | (flow_label & 0xf'ffffu));
    store_be16(p + 4, static_cast<std::uint16_t>(whole.size() - size()));
    store_u8(p + 6, next_header != 0 ? next_header : around.ip_protocol);
    store_u8(p + 7, hop_limit);
    source.store(p + 8);
    destination.store(p + 24);
  }

 private:
  [[nodiscard]] static constexpr std::uint32_t sum(std::uint64_t half) noexcept {
    return static_cast<std::uint32_t>((half >> 48) + (half >> 32 & 0xffff) + (half >> 16 & 0xffff) + (half & 0xffff));
  }
};

/// One line in tcpdump's manner: `fe80::1 > ff02::1: hlim 64, next 58, length 24`, with what is unusual (code point,
/// ECN, flow label) named.
template <class Byte>
constexpr void print(text_writer& out, const basic_ipv6<Byte>& v) noexcept {
  print(out, v.source());
  out << " > ";
  print(out, v.destination());
  out << ": hlim " << v.hop_limit();
  if (v.codepoint() != 0) out << ", dscp " << v.codepoint();
  if (v.ecn_bits() != 0) out << ", ecn " << v.ecn_bits();
  if (v.flow_label() != 0) (out << ", flowlabel 0x").hex(v.flow_label(), 5);
  out << ", next " << v.next_header() << ", length " << v.payload_length();
}

}  // namespace runnel

#endif

// ==== runnel/wire/ipv6_extension.hpp =================================================================================
// IPv6 extension headers: a bounded walker over their chain, the fragment and routing headers, the options inside
// hop-by-hop and destination headers, and builders. RFC 8200 §4, RFC 4302 §2.2, RFC 7045, RFC 7112, RFC 2711.
#ifndef RUNNEL_WIRE_IPV6_EXTENSION_HPP
#define RUNNEL_WIRE_IPV6_EXTENSION_HPP

#include <cstddef>      // byte, size_t
#include <cstdint>      // uint8_t, uint16_t, uint32_t
#include <type_traits>  // is_const_v

namespace runnel {

/// What a Next Header field says of an extension header.
struct ipv6_extension {
  static constexpr std::uint8_t hop_by_hop = 0;  ///< directly behind the IPv6 header or not at all
  /// A number of the next-header field, as IANA lists it. @{
  static constexpr std::uint8_t routing = 43;
  static constexpr std::uint8_t fragment = 44;
  /// @}
  static constexpr std::uint8_t authentication = 51;  ///< skipped, not checked
  static constexpr std::uint8_t no_next_header = 59;  ///< nothing follows (no extension header)
  /// A number of the next-header field, as IANA lists it.
  static constexpr std::uint8_t destination_options = 60;
};

/// A view of a fragment header and the fragment behind it. `ipv6_fragment` reads, `mut<ipv6_fragment>` also writes.
template <class Byte>
class basic_ipv6_fragment {
 public:
  /// What the library asks of a header view; see `header_view`. @{
  using mutable_view = basic_ipv6_fragment<std::byte>;
  static constexpr header in_header = header::ipv6_fragment;
  static constexpr std::size_t min_size = 8;
  /// @}

  /// A field, for match expressions. @{
  static constexpr field<header::ipv6_fragment, 0, 8, std::uint8_t> nexthdr{"frag nexthdr"};
  static constexpr field<header::ipv6_fragment, 16, 13, std::uint16_t> frag_off{"frag frag-off"};
  static constexpr field<header::ipv6_fragment, 31, 1, std::uint8_t> mf{"frag more-fragments"};
  static constexpr field<header::ipv6_fragment, 32, 32, std::uint32_t> id{"frag id"};
  /// @}

  /// Checks that the header is there. What else a fragment has to satisfy is the reassembly's to look at.
  [[nodiscard]] static constexpr result<basic_ipv6_fragment, drop_reason> parse(byte_window<Byte> b) noexcept {
    if (b.size() < min_size) return drop_reason::ipv6_extension;
    return basic_ipv6_fragment{b.data(), b.size()};
  }
  /// A view over bytes that were checked before: at least `min_size` of them. Checks nothing.
  [[nodiscard]] static constexpr basic_ipv6_fragment unchecked(byte_window<Byte> b) noexcept {
    return {b.data(), b.size()};
  }
  /// A view that may write can be read through as well.
  constexpr operator basic_ipv6_fragment<const std::byte>() const noexcept
    requires(!std::is_const_v<Byte>)
  {
    return basic_ipv6_fragment<const Byte>::unchecked({p_, n_});
  }

  /// What the reassembled payload begins with.
  [[nodiscard]] constexpr std::uint8_t next_header() const noexcept { return load_u8(p_); }
  /// Where this fragment belongs in the fragmentable part, in bytes.
  [[nodiscard]] constexpr std::size_t fragment_offset() const noexcept { return load_be16(p_ + 2) & 0xfff8u; }
  /// Whether the header says so.
  [[nodiscard]] constexpr bool more_fragments() const noexcept { return (load_u8(p_ + 3) & 1u) != 0; }
  /// The field of the header, in host byte order.
  [[nodiscard]] constexpr std::uint32_t identification() const noexcept { return load_be32(p_ + 4); }
  /// Whether it is a whole datagram all the same, to be handled apart from other fragments (RFC 6946).
  [[nodiscard]] constexpr bool is_atomic() const noexcept { return (load_be16(p_ + 2) & 0xfff9u) == 0; }
  /// What follows the header.
  [[nodiscard]] constexpr byte_window<Byte> payload() const noexcept {
    return byte_window<Byte>{p_, n_}.from(min_size);
  }

  /// Writes the field. @{
  constexpr void next_header(std::uint8_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_u8(p_, v);
  }
  constexpr void identification(std::uint32_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_be32(p_ + 4, v);
  }
  /// @}

 private:
  constexpr basic_ipv6_fragment(Byte* p, std::size_t n) noexcept : p_(p), n_(n) {}

  Byte* p_;
  std::size_t n_;
};

/// The view to read; `mut<>` of it also writes.
using ipv6_fragment = basic_ipv6_fragment<const std::byte>;

/// Walks the chain of extension headers: `for (ipv6_extensions e(datagram); e; e.next()) use(e.kind(), e.data());`
/// Ends at the first header that is none of those in `ipv6_extension`: then `has_upper_layer()`, `protocol()` and
/// `rest()` tell what it is. Ends also behind a fragment header that is not the first fragment's, for what follows
/// are not headers; and at a fault: a header that is cut off, hop-by-hop options at a wrong place, a second fragment
/// header, or more than `max_headers` of them (RFC 8200 lets a node set limits, RFC 8504 §5.3).
class ipv6_extensions {
 public:
  static constexpr unsigned max_headers = 8;  ///< enough for every chain that RFC 8200 §4.1 recommends

  /// Walks what follows the fixed header.
  constexpr explicit ipv6_extensions(const ipv6& datagram) noexcept
      : ipv6_extensions(datagram.next_header(), datagram.payload()) {}
  /// `first` is the IPv6 header's Next Header, `payload` what follows it.
  constexpr ipv6_extensions(std::uint8_t first, bytes payload) noexcept : rest_(payload), protocol_(first) { look(); }

  /// Whether there is an extension header at the current place.
  [[nodiscard]] constexpr explicit operator bool() const noexcept { return size_ != 0; }
  /// Which one: a constant of `ipv6_extension`.
  [[nodiscard]] constexpr std::uint8_t kind() const noexcept { return protocol_; }
  /// The extension header, from its Next Header octet on, whole.
  [[nodiscard]] constexpr bytes data() const noexcept { return rest_.first(size_); }
  /// Goes to the next header.
  constexpr void next() noexcept {
    const bool ends = protocol_ == ipv6_extension::fragment && !first_fragment_;
    protocol_ = load_u8(rest_.data());
    named_at_ = offset();
    before_ += size_;
    rest_ = rest_.from(size_);
    size_ = 0;
    if (ends) later_fragment_ = true;
    else look();
  }

  /// Whether the walk ended at a fault (`drop_reason::ipv6_extension`).
  [[nodiscard]] constexpr bool malformed() const noexcept { return malformed_; }
  /// Whether the walk is over and `rest()` begins with a header of `protocol()`.
  [[nodiscard]] constexpr bool has_upper_layer() const noexcept {
    return size_ == 0 && !malformed_ && !later_fragment_ && protocol_ != ipv6_extension::no_next_header;
  }
  /// What lies at the current place, as the header before it says: at the end the transport. In a later fragment what
  /// the first fragment begins with.
  [[nodiscard]] constexpr std::uint8_t protocol() const noexcept { return protocol_; }
  /// Everything from the current place on.
  [[nodiscard]] constexpr bytes rest() const noexcept { return rest_; }
  /// Where the current place is, in bytes from the beginning of the IPv6 header.
  [[nodiscard]] constexpr std::size_t offset() const noexcept { return before_; }
  /// Where the Next Header octet lies that names the current place, counted alike: what an ICMPv6 parameter problem
  /// "unrecognized next header" points at.
  [[nodiscard]] constexpr std::size_t named_at() const noexcept { return named_at_; }
  /// Whether a fragment header was met, and was not an atomic one (RFC 6946).
  [[nodiscard]] constexpr bool is_fragment() const noexcept { return fragment_; }

 private:
  constexpr void look() noexcept {
    const unsigned number = protocol_;
    if (number != ipv6_extension::hop_by_hop && number != ipv6_extension::routing &&
        number != ipv6_extension::fragment && number != ipv6_extension::authentication &&
        number != ipv6_extension::destination_options)
      return;
    malformed_ = true;
    if (count_ == max_headers || (number == ipv6_extension::hop_by_hop && count_ != 0)) return;
    if (rest_.size() < 8) return;
    std::size_t size = 8;
    if (number == ipv6_extension::fragment) {
      if (seen_fragment_) return;
      const unsigned offset_and_more = load_be16(rest_.data() + 2);
      seen_fragment_ = true;
      fragment_ = (offset_and_more & 0xfff9u) != 0;
      first_fragment_ = (offset_and_more & 0xfff8u) == 0;
    } else if (number == ipv6_extension::authentication) {
      size = (load_u8(rest_.data() + 1) + std::size_t{2}) * 4;
      if (size < 12) return;
    } else {
      size = (load_u8(rest_.data() + 1) + std::size_t{1}) * 8;
    }
    if (size > rest_.size()) return;
    malformed_ = false;
    size_ = size;
    ++count_;
  }

  bytes rest_;
  std::size_t size_ = 0;
  std::size_t before_ = ipv6::min_size;
  std::size_t named_at_ = 6;
  std::uint8_t protocol_;
  std::uint8_t count_ = 0;
  bool malformed_ = false;
  bool seen_fragment_ = false;
  bool fragment_ = false;
  bool first_fragment_ = false;
  bool later_fragment_ = false;
};

/// A routing header, given as `ipv6_extensions::data()`. RFC 8200 §4.4: a node that does not know the type ignores the
/// header when no segments are left, and else discards the packet and points at the type. Type 0 is never obeyed
/// (RFC 5095).
class ipv6_routing {
 public:
  /// Checks the length of the header against its bytes.
  [[nodiscard]] static constexpr result<ipv6_routing, drop_reason> parse(bytes header) noexcept {
    if (header.size() < 8) return drop_reason::ipv6_extension;
    return ipv6_routing{header};
  }
  /// The field of the header, in host byte order. @{
  [[nodiscard]] constexpr std::uint8_t routing_type() const noexcept { return load_u8(header_.data() + 2); }
  [[nodiscard]] constexpr std::uint8_t segments_left() const noexcept { return load_u8(header_.data() + 3); }
  /// @}
  /// What the type defines, behind the four octets common to all.
  [[nodiscard]] constexpr bytes data() const noexcept { return header_.from(4); }

 private:
  constexpr explicit ipv6_routing(bytes header) noexcept : header_(header) {}
  bytes header_;
};

/// What a node does with an option that it does not know (RFC 8200 §4.2): the two highest bits of its type.
enum class ipv6_option_action : std::uint8_t {
  skip = 0,
  discard_silently = 1,
  discard_and_report = 2,  ///< parameter problem, code 2, also to multicast destinations
  discard_and_report_unless_multicast = 3,
};

/// Walks the options of a hop-by-hop or destination options header, given as `ipv6_extensions::data()`. Padding is
/// stepped over. Ends at the last byte, or at an option whose length cannot be, which `malformed()` tells.
class ipv6_options {
 public:
  static constexpr std::uint8_t router_alert = 5;  ///< RFC 2711
  static constexpr std::uint8_t jumbo = 0xc2;      ///< RFC 2675

  /// Walks the options of a hop-by-hop or destination options header.
  constexpr explicit ipv6_options(bytes header) noexcept : rest_(header.from(2)), whole_(header.size()) { look(); }
  /// Whether there is an option at the current place.
  [[nodiscard]] constexpr explicit operator bool() const noexcept { return size_ != 0; }
  /// The type octet of the option that it stands at.
  [[nodiscard]] constexpr std::uint8_t kind() const noexcept { return load_u8(rest_.data()); }
  /// What its type asks of a node that does not know it.
  [[nodiscard]] constexpr ipv6_option_action action() const noexcept {
    return static_cast<ipv6_option_action>(kind() >> 6);
  }
  /// Whether routers may change the data on the way.
  [[nodiscard]] constexpr bool changes_en_route() const noexcept { return (kind() & 0x20u) != 0; }
  /// The option's data, without type and length octets.
  [[nodiscard]] constexpr bytes data() const noexcept { return rest_.first(size_).from(2); }
  /// Where the option's type octet lies in the extension header: what a parameter problem points at.
  [[nodiscard]] constexpr std::size_t offset() const noexcept { return whole_ - rest_.size(); }
  /// Goes to the next option.
  constexpr void next() noexcept {
    rest_ = rest_.from(size_);
    look();
  }
  /// Whether the walk ended at a fault.
  [[nodiscard]] constexpr bool malformed() const noexcept { return malformed_; }

 private:
  constexpr void look() noexcept {
    for (size_ = 0; !rest_.empty();) {
      const unsigned type = kind();
      if (type == 0) {  // Pad1, the only option without a length
        rest_ = rest_.from(1);
        continue;
      }
      const std::size_t size = rest_.size() < 2 ? rest_.size() + 1 : load_u8(rest_.data() + 1) + std::size_t{2};
      if (size > rest_.size()) {
        malformed_ = true;
        return;
      }
      if (type != 1) {  // PadN is no option either
        size_ = size;
        return;
      }
      rest_ = rest_.from(size);
    }
  }

  bytes rest_;
  std::size_t whole_;
  std::size_t size_ = 0;
  bool malformed_ = false;
};

/// A fragment header to be written between the IPv6 header and a fragment. What the fragment is part of names
/// `next_header`; a transport checksum covers the whole datagram and is the caller's to have right before.
struct ipv6_fragment_header {
  /// What `build` asks of a header; see `header_value`. @{
  static constexpr std::uint8_t ip_protocol = ipv6_extension::fragment;
  static constexpr bool is_extension = true;
  /// @}

  std::size_t fragment_offset = 0;  ///< in bytes, a multiple of 8, at most 65528
  /// A field of the header, in host byte order. @{
  bool more_fragments = false;
  std::uint32_t identification = 0;
  /// @}
  std::uint8_t next_header = 0;  ///< 0: that of the header inside

  /// What `build` asks of a header; see `header_value`. @{
  [[nodiscard]] static constexpr std::size_t size() noexcept { return 8; }
  constexpr void write(mutable_bytes whole, const neighbours_of_header& around) const noexcept {
    RUNNEL_ASSERT(fragment_offset % 8 == 0 && fragment_offset <= 0xfff8);
    std::byte* p = whole.data();
    store_u8(p, next_header != 0 ? next_header : around.ip_protocol);
    store_u8(p + 1, 0);
    store_be16(p + 2, static_cast<std::uint16_t>(fragment_offset | (more_fragments ? 1u : 0u)));
    store_be32(p + 4, identification);
  }
  /// @}
};

/// A header of options to be written: see the two names below.
template <std::uint8_t Number>
struct ipv6_options_header {
  /// What `build` asks of a header; see `header_value`. @{
  static constexpr std::uint8_t ip_protocol = Number;
  static constexpr bool is_extension = true;
  /// @}

  bytes options{};               ///< encoded, at most 2046 bytes; padding to a multiple of 8 is added
  std::uint8_t next_header = 0;  ///< 0: that of the header inside

  /// What `build` asks of a header; see `header_value`. @{
  [[nodiscard]] constexpr std::size_t size() const noexcept {
    RUNNEL_ASSERT(options.size() <= 2046);
    return (2 + options.size() + 7) / 8 * 8;
  }
  constexpr void write(mutable_bytes whole, const neighbours_of_header& around) const noexcept {
    std::byte* p = whole.data();
    const std::size_t n = size();
    store_u8(p, next_header != 0 ? next_header : around.ip_protocol);
    store_u8(p + 1, static_cast<std::uint8_t>(n / 8 - 1));
    copy_bytes(p + 2, options.data(), options.size());
    const std::size_t padding = n - 2 - options.size();
    std::byte* pad = p + 2 + options.size();
    zero_bytes(pad, padding);  // one byte of it is Pad1
    if (padding >= 2) {
      store_u8(pad, 1);
      store_u8(pad + 1, static_cast<std::uint8_t>(padding - 2));
    }
  }
  /// @}
};
/// `write_headers(packet, ipv6_header{.hop_limit = 1, ...}, ipv6_hop_by_hop_header{.options = mld_router_alert}, ...)`
using ipv6_hop_by_hop_header = ipv6_options_header<ipv6_extension::hop_by_hop>;
/// A destination options header to be written.
using ipv6_destination_options_header = ipv6_options_header<ipv6_extension::destination_options>;

/// The router alert option with the value for multicast listener discovery (RFC 2711 §2.1, RFC 3810 §5).
inline constexpr std::byte mld_router_alert[4] = {std::byte{ipv6_options::router_alert}, std::byte{2}, std::byte{0},
                                                  std::byte{0}};

/// One line in tcpdump's manner: `frag (0x1234abcd:1448|1448)`, offset and length in bytes, `+` when more follow.
template <class Byte>
constexpr void print(text_writer& out, const basic_ipv6_fragment<Byte>& v) noexcept {
  (out << "frag (0x").hex(v.identification(), 8)
      << ':' << std::uint64_t{v.fragment_offset()} << '|' << std::uint64_t{v.payload().size()} << ')';
  if (v.more_fragments()) out << '+';
}
/// The chain in one line, what follows it last: `hbh > dstopt > 58`; a fault as `[malformed]`.
constexpr void print(text_writer& out, ipv6_extensions e) noexcept {
  for (; e; e.next()) {
    switch (e.kind()) {
      case ipv6_extension::hop_by_hop: out << "hbh"; break;
      case ipv6_extension::routing: out << "rt"; break;
      case ipv6_extension::authentication: out << "ah"; break;
      case ipv6_extension::destination_options: out << "dstopt"; break;
      default: print(out, ipv6_fragment::unchecked(e.rest()));
    }
    out << " > ";
  }
  if (e.malformed()) out << "[malformed]";
  else out << e.protocol();
}

}  // namespace runnel

#endif

// ==== runnel/wire/llc.hpp ============================================================================================
// LLC and SNAP, what 802.3 frames carry in place of an EtherType: a checked view, the builders. IEEE 802.2, RFC 1042.
#ifndef RUNNEL_WIRE_LLC_HPP
#define RUNNEL_WIRE_LLC_HPP

#include <cstddef>      // byte, size_t
#include <cstdint>      // uint8_t, uint16_t, uint32_t
#include <type_traits>  // is_const_v

namespace runnel {

/// A view of an LLC header, with the SNAP header behind it where there is one. `llc` reads, `mut<llc>` also writes.
/// Does not own: valid as long as the bytes. No accessor reads outside the bytes that it was made over, even when they
/// change after `parse`.
template <class Byte>
class basic_llc {
 public:
  /// What the library asks of a header view; see `header_view`. @{
  using mutable_view = basic_llc<std::byte>;
  static constexpr header in_header = header::llc;
  static constexpr std::size_t min_size = 3;
  /// @}

  /// A field, for match expressions. @{
  static constexpr field<header::llc, 0, 8, std::uint8_t> dsap{"llc dsap"};
  static constexpr field<header::llc, 8, 8, std::uint8_t> ssap{"llc ssap"};
  static constexpr field<header::llc, 16, 8, std::uint8_t> ctrl{"llc ctrl"};
  /// @}

  /// Checks that the header is there, the SNAP header included when it says that there is one.
  [[nodiscard]] static constexpr result<basic_llc, drop_reason> parse(byte_window<Byte> b) noexcept {
    if (b.size() < min_size) return drop_reason::llc_malformed;
    const basic_llc v{b.data(), b.size()};
    if (v.said_size() > b.size()) return drop_reason::llc_malformed;
    return v;
  }
  /// A view over bytes that were checked before: at least `min_size` of them. Checks nothing.
  [[nodiscard]] static constexpr basic_llc unchecked(byte_window<Byte> b) noexcept { return {b.data(), b.size()}; }

  /// A view that may write can be read through as well.
  constexpr operator basic_llc<const std::byte>() const noexcept
    requires(!std::is_const_v<Byte>)
  {
    return basic_llc<const Byte>::unchecked({p_, n_});
  }

  /// 3 bytes; 4 with a control field of two; 8 with SNAP. Never more than the view holds.
  [[nodiscard]] constexpr std::size_t header_size() const noexcept { return said_size() < n_ ? said_size() : n_; }
  /// Who it is for: 0x42 spanning tree, 0xaa SNAP, 0xfe OSI.
  [[nodiscard]] constexpr std::uint8_t destination_sap() const noexcept { return load_u8(p_); }
  /// The field of the header, in host byte order.
  [[nodiscard]] constexpr std::uint8_t source_sap() const noexcept { return load_u8(p_ + 1); }
  /// The first byte of the control field; 3 is "unnumbered information", which all but old protocols use.
  [[nodiscard]] constexpr std::uint8_t control() const noexcept { return load_u8(p_ + 2); }
  /// Whether a SNAP header follows.
  [[nodiscard]] constexpr bool is_snap() const noexcept { return load_be16(p_) == 0xaaaa && control() == 3 && n_ >= 8; }
  /// SNAP: who numbers the protocols, 24 bits; 0 for EtherTypes. 0 without SNAP.
  [[nodiscard]] constexpr std::uint32_t organisation() const noexcept { return is_snap() ? load_be24(p_ + 3) : 0; }
  /// SNAP: the protocol, an EtherType when the organisation is 0. 0 without SNAP.
  [[nodiscard]] constexpr std::uint16_t protocol_identifier() const noexcept {
    return is_snap() ? load_be16(p_ + 6) : std::uint16_t{0};
  }
  /// What follows the header.
  [[nodiscard]] constexpr byte_window<Byte> payload() const noexcept {
    return byte_window<Byte>{p_, n_}.from(header_size());
  }

  /// Writes the field. @{
  constexpr void destination_sap(std::uint8_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_u8(p_, v);
  }
  constexpr void source_sap(std::uint8_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_u8(p_ + 1, v);
  }
  /// @}

 private:
  constexpr basic_llc(Byte* p, std::size_t n) noexcept : p_(p), n_(n) {}
  // Information and supervisory frames have sequence numbers in a second control byte.
  [[nodiscard]] constexpr std::size_t said_size() const noexcept {
    if (load_be16(p_) == 0xaaaa && control() == 3) return 8;
    return (control() & 3u) == 3 ? 3 : 4;
  }

  Byte* p_;
  std::size_t n_;
};

/// The view to read; `mut<>` of it also writes.
using llc = basic_llc<const std::byte>;

/// The fields of a SNAP header for match expressions, which call it by this name: `snap::type == ethertype::arp`. The
/// view is that of `llc`. nft knows neither.
struct snap {
  /// What the library asks of a header view; see `header_view`.
  static constexpr header in_header = header::snap;
  /// A field, for match expressions. @{
  static constexpr field<header::snap, 24, 24, std::uint32_t> oui{"snap oui"};
  static constexpr field<header::snap, 48, 16, std::uint16_t> type{"snap type"};
  /// @}
};

/// An LLC header to be written; the Ethernet header around it writes the length.
struct llc_header {
  /// A field of the header, in host byte order. @{
  std::uint8_t destination_sap = 0;
  std::uint8_t source_sap = 0;
  std::uint8_t control = 3;
  /// @}

  /// What `build` asks of a header; see `header_value`. @{
  [[nodiscard]] static constexpr std::size_t size() noexcept { return 3; }
  constexpr void write(mutable_bytes whole, const neighbours_of_header&) const noexcept {
    std::byte* p = whole.data();
    store_u8(p, destination_sap);
    store_u8(p + 1, source_sap);
    store_u8(p + 2, control);
  }
  /// @}
};

/// LLC with SNAP to be written: `write_headers(packet, ethernet_header{...}, snap_header{}, ipv4_header{...})`.
struct snap_header {
  /// A field of the header, in host byte order.
  std::uint32_t organisation = 0;
  std::uint16_t protocol = 0;  ///< 0: the EtherType of the header inside

  /// What `build` asks of a header; see `header_value`. @{
  [[nodiscard]] static constexpr std::size_t size() noexcept { return 8; }
  constexpr void write(mutable_bytes whole, const neighbours_of_header& around) const noexcept {
    std::byte* p = whole.data();
    store_be24(p, 0xaaaa03);
    store_be24(p + 3, organisation);
    store_be16(p + 6, protocol != 0 ? protocol : around.ethertype);
  }
  /// @}
};

/// One line in tcpdump's manner: `LLC, dsap 0x42, ssap 0x42, ctrl 0x03, length 38`, or `SNAP, oui 0x000000, ethertype
/// IPv4 (0x0800), length 28`, the length being the payload's.
template <class Byte>
constexpr void print(text_writer& out, const basic_llc<Byte>& v) noexcept {
  if (v.is_snap()) {
    out << "SNAP, oui 0x";
    out.hex(v.organisation(), 6);
    if (v.organisation() == 0) out << ", ethertype " << ethertype::name(v.protocol_identifier()) << " (0x";
    else out << ", pid (0x";
    out.hex(v.protocol_identifier(), 4) << ')';
  } else {
    out << "LLC, dsap 0x";
    out.hex(v.destination_sap(), 2) << ", ssap 0x";
    out.hex(v.source_sap(), 2) << ", ctrl 0x";
    out.hex(v.control(), 2);
  }
  out << ", length " << std::uint64_t{v.payload().size()};
}

}  // namespace runnel

#endif

// ==== runnel/wire/ndp_options.hpp ====================================================================================
// The options of neighbour discovery messages: as values that are written like headers, and a walker that reads them.
// RFC 4861 §4.6, RFC 4191, RFC 7527, RFC 8106.
#ifndef RUNNEL_WIRE_NDP_OPTIONS_HPP
#define RUNNEL_WIRE_NDP_OPTIONS_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint32_t, uint64_t

namespace runnel {

/// How a router or a route ranks among others (RFC 4191 §2.1); two bits on the wire.
enum class router_preference : std::uint8_t { medium = 0, high = 1, reserved = 2, low = 3 };

/// The type octet of a neighbour discovery option.
enum class ndp_option : std::uint8_t {
  source_link_address = 1,
  target_link_address = 2,
  prefix_information = 3,
  redirected_header = 4,
  mtu = 5,
  nonce = 14,              ///< RFC 3971 §5.3.2; tells one's own probes that came back (RFC 7527)
  route_information = 24,  ///< RFC 4191 §2.3
  recursive_dns = 25,      ///< RFC 8106 §5.1
  dns_search_list = 31,    ///< RFC 8106 §5.2; its names are not decoded here
};

namespace detail {
// What lies behind the first `length` bits of an address is nobody's business.
[[nodiscard]] constexpr ipv6_address first_bits(const ipv6_address& a, unsigned length) noexcept {
  const auto mask = [](unsigned n) { return n == 0 ? 0 : n >= 64 ? ~std::uint64_t{0} : ~(~std::uint64_t{0} >> n); };
  return {a.high() & mask(length), a.low() & mask(length < 64 ? 0 : length - 64)};
}
constexpr void write_option_head(mutable_bytes whole, ndp_option kind, std::size_t size) noexcept {
  zero_bytes(whole.data(), size);
  store_u8(whole.data(), static_cast<std::uint8_t>(kind));
  store_u8(whole.data() + 1, static_cast<std::uint8_t>(size / 8));
}
}  // namespace detail

// Options as values. Those that can be sent are written behind their message like headers:
//
//     write_headers(b, ipv6_header{...}, neighbour_solicitation_header{.target = t}, ndp_source_link_address{mac});

/// The sender's link-layer address (§4.6.1). Not to be sent from the unspecified address.
struct ndp_source_link_address {
  /// A field of the header, in host byte order.
  mac_address address{};
  /// What `build` asks of a header; see `header_value`. @{
  [[nodiscard]] static constexpr std::size_t size() noexcept { return 8; }
  constexpr void write(mutable_bytes whole, const neighbours_of_header&) const noexcept {
    detail::write_option_head(whole, ndp_option::source_link_address, size());
    address.store(whole.data() + 2);
  }
  /// @}
};
/// The target's link-layer address (§4.6.1).
struct ndp_target_link_address {
  /// A field of the header, in host byte order.
  mac_address address{};
  /// What `build` asks of a header; see `header_value`. @{
  [[nodiscard]] static constexpr std::size_t size() noexcept { return 8; }
  constexpr void write(mutable_bytes whole, const neighbours_of_header&) const noexcept {
    detail::write_option_head(whole, ndp_option::target_link_address, size());
    address.store(whole.data() + 2);
  }
  /// @}
};
/// A prefix that is on the link, or from which addresses are made, or both (§4.6.2). Lifetimes in seconds, all ones:
/// for ever.
struct ndp_prefix {
  ipv6_address prefix{};  ///< bits behind the length are zero when it was read
  /// As in the option; lifetimes in seconds. @{
  std::uint8_t prefix_length = 64;
  bool on_link = true;
  bool autonomous = true;
  std::uint32_t valid_lifetime = 2'592'000;
  std::uint32_t preferred_lifetime = 604'800;
  /// @}

  /// What `build` asks of a header; see `header_value`. @{
  [[nodiscard]] static constexpr std::size_t size() noexcept { return 32; }
  constexpr void write(mutable_bytes whole, const neighbours_of_header&) const noexcept {
    std::byte* p = whole.data();
    detail::write_option_head(whole, ndp_option::prefix_information, size());
    store_u8(p + 2, prefix_length);
    store_u8(p + 3, static_cast<std::uint8_t>((on_link ? 0x80u : 0u) | (autonomous ? 0x40u : 0u)));
    store_be32(p + 4, valid_lifetime);
    store_be32(p + 8, preferred_lifetime);
    detail::first_bits(prefix, prefix_length).store(p + 16);
  }
  /// @}
};
/// The MTU of the link in bytes (§4.6.4).
struct ndp_mtu {
  /// In bytes.
  std::uint32_t mtu = 1500;
  /// What `build` asks of a header; see `header_value`. @{
  [[nodiscard]] static constexpr std::size_t size() noexcept { return 8; }
  constexpr void write(mutable_bytes whole, const neighbours_of_header&) const noexcept {
    detail::write_option_head(whole, ndp_option::mtu, size());
    store_be32(whole.data() + 4, mtu);
  }
  /// @}
};
/// The head of a redirected datagram (§4.6.3): last of the headers, its payload being the beginning of that datagram,
/// cut to a multiple of 8 bytes.
struct ndp_redirected {
  /// What `build` asks of a header; see `header_value`. @{
  [[nodiscard]] static constexpr std::size_t size() noexcept { return 8; }
  constexpr void write(mutable_bytes whole, const neighbours_of_header&) const noexcept {
    RUNNEL_ASSERT(whole.size() % 8 == 0 && whole.size() <= std::size_t{255} * 8);
    detail::write_option_head(whole, ndp_option::redirected_header, size());
    store_u8(whole.data() + 1, static_cast<std::uint8_t>(whole.size() / 8));
  }
  /// @}
};
/// A route through the router that advertises it (RFC 4191 §2.3). Lifetime in seconds, all ones: for ever.
struct ndp_route {
  ipv6_address prefix{};  ///< bits behind the length are zero when it was read
  /// As in the option; the lifetime in seconds. @{
  std::uint8_t prefix_length = 0;
  router_preference preference = router_preference::medium;
  std::uint32_t lifetime = 1800;
  /// @}

  /// What `build` asks of a header; see `header_value`. @{
  [[nodiscard]] constexpr std::size_t size() const noexcept {
    return prefix_length == 0 ? 8u : prefix_length <= 64 ? 16u : 24u;
  }
  constexpr void write(mutable_bytes whole, const neighbours_of_header&) const noexcept {
    std::byte* p = whole.data();
    detail::write_option_head(whole, ndp_option::route_information, size());
    store_u8(p + 2, prefix_length);
    store_u8(p + 3, static_cast<std::uint8_t>(static_cast<unsigned>(preference) << 3));
    store_be32(p + 4, lifetime);
    const ipv6_address a = detail::first_bits(prefix, prefix_length);
    if (size() >= 16) store_be64(p + 8, a.high());
    if (size() >= 24) store_be64(p + 16, a.low());
  }
  /// @}
};
/// Resolvers (RFC 8106 §5.1): `count` addresses at `servers`, at least one. Lifetime in seconds, all ones: for ever.
struct ndp_recursive_dns {
  /// The servers, `count` of them; must outlive this value. @{
  const ipv6_address* servers = nullptr;
  std::size_t count = 0;
  /// @}
  /// In seconds.
  std::uint32_t lifetime = 1800;

  /// What `build` asks of a header; see `header_value`. @{
  [[nodiscard]] constexpr std::size_t size() const noexcept { return 8 + 16 * count; }
  constexpr void write(mutable_bytes whole, const neighbours_of_header&) const noexcept {
    RUNNEL_ASSERT(count >= 1 && count <= 127);
    detail::write_option_head(whole, ndp_option::recursive_dns, size());
    store_be32(whole.data() + 4, lifetime);
    for (std::size_t i = 0; i < count; ++i) servers[i].store(whole.data() + 8 + 16 * i);
  }
  /// @}
};

/// Walks the options of a neighbour discovery message: `for (ndp_options o(m.options()); o; o.next()) ...`. Ends at
/// the last byte, or at a length of zero or beyond the end, which `malformed()` tells; the messages below are refused
/// then, so their options never are. Unknown kinds are stepped over. The typed accessors look at the current option
/// only, and fail (or say 0) for another kind, and for a length that its RFC does not allow.
class ndp_options {
 public:
  /// Walks the options behind a message.
  constexpr explicit ndp_options(bytes options) noexcept : rest_(options) { look(); }
  /// Whether there is an option at the current place.
  [[nodiscard]] constexpr explicit operator bool() const noexcept { return size_ != 0; }
  /// Which option it stands at.
  [[nodiscard]] constexpr ndp_option kind() const noexcept { return static_cast<ndp_option>(load_u8(rest_.data())); }
  /// The whole option, type and length octets included: a multiple of 8 bytes.
  [[nodiscard]] constexpr bytes data() const noexcept { return rest_.first(size_); }
  /// Goes to the next option.
  constexpr void next() noexcept {
    rest_ = rest_.from(size_);
    look();
  }
  /// Whether an option runs over the end; the walk ends there.
  [[nodiscard]] constexpr bool malformed() const noexcept { return malformed_; }

  /// Of a source or target link-layer address option of a link with 48-bit addresses.
  [[nodiscard]] constexpr result<mac_address, drop_reason> link_address() const noexcept {
    if ((kind() != ndp_option::source_link_address && kind() != ndp_option::target_link_address) || size_ != 8)
      return drop_reason::neighbour_malformed;
    return mac_address::load(at(2));
  }
  /// The prefix information option that it stands at.
  [[nodiscard]] constexpr result<ndp_prefix, drop_reason> prefix() const noexcept {
    if (kind() != ndp_option::prefix_information || size_ != 32 || load_u8(at(2)) > 128)
      return drop_reason::neighbour_malformed;
    const std::uint8_t length = load_u8(at(2));
    return ndp_prefix{.prefix = detail::first_bits(ipv6_address::load(at(16)), length),
                      .prefix_length = length,
                      .on_link = (load_u8(at(3)) & 0x80u) != 0,
                      .autonomous = (load_u8(at(3)) & 0x40u) != 0,
                      .valid_lifetime = load_be32(at(4)),
                      .preferred_lifetime = load_be32(at(8))};
  }
  /// The beginning of the datagram that a redirect is about, padding included; empty when this is not that option.
  [[nodiscard]] constexpr bytes redirected() const noexcept {
    return kind() == ndp_option::redirected_header ? data().from(8) : bytes{};
  }
  /// In bytes; 0 when this is not that option. Below 1280 it must not be believed.
  [[nodiscard]] constexpr std::uint32_t mtu() const noexcept {
    return kind() == ndp_option::mtu && size_ == 8 ? load_be32(at(4)) : 0;
  }
  /// A route; fails also when it shall be ignored for its preference (RFC 4191 §2.3).
  [[nodiscard]] constexpr result<ndp_route, drop_reason> route() const noexcept {
    if (kind() != ndp_option::route_information || size_ > 24) return drop_reason::neighbour_malformed;
    ndp_route r;
    r.prefix_length = load_u8(at(2));
    r.preference = static_cast<router_preference>(load_u8(at(3)) >> 3 & 3u);
    r.lifetime = load_be32(at(4));
    if (r.prefix_length > 128 || r.size() > size_ || r.preference == router_preference::reserved)
      return drop_reason::neighbour_malformed;
    r.prefix =
        detail::first_bits({size_ >= 16 ? load_be64(at(8)) : 0, size_ >= 24 ? load_be64(at(16)) : 0}, r.prefix_length);
    return r;
  }
  /// How many resolvers a recursive DNS option names; 0 when this is not one.
  [[nodiscard]] constexpr std::size_t dns_count() const noexcept {
    return kind() == ndp_option::recursive_dns && size_ >= 24 && size_ % 16 == 8 ? (size_ - 8) / 16 : 0;
  }
  /// Resolver `i`; unspecified beyond `dns_count()`.
  [[nodiscard]] constexpr ipv6_address dns_server(std::size_t i) const noexcept {
    return i < dns_count() ? ipv6_address::load(at(8 + 16 * i)) : ipv6_address{};
  }
  /// Of a recursive DNS option, in seconds.
  [[nodiscard]] constexpr std::uint32_t dns_lifetime() const noexcept {
    return dns_count() != 0 ? load_be32(at(4)) : 0;
  }

 private:
  [[nodiscard]] constexpr const std::byte* at(std::size_t i) const noexcept { return rest_.data() + i; }
  constexpr void look() noexcept {
    size_ = 0;
    if (rest_.empty()) return;
    const std::size_t size = rest_.size() < 8 ? std::size_t{0} : load_u8(at(1)) * std::size_t{8};
    if (size == 0 || size > rest_.size()) malformed_ = true;
    else size_ = size;
  }

  bytes rest_;
  std::size_t size_ = 0;
  bool malformed_ = false;
};

/// Options in short: `, slla 02:00:00:00:00:01, prefix 2001:db8::/64 LA, mtu 1500`.
constexpr void print(text_writer& out, ndp_options o) noexcept {
  for (; o; o.next()) {
    out << ", ";
    if (const auto address = o.link_address()) {
      print(out << (o.kind() == ndp_option::source_link_address ? "slla " : "tlla "), *address);
    } else if (const auto p = o.prefix()) {
      print(out << "prefix ", p->prefix);
      out << '/' << p->prefix_length << ' ' << (p->on_link ? "L" : "") << (p->autonomous ? "A" : "");
    } else if (const auto r = o.route()) {
      print(out << "route ", r->prefix);
      out << '/' << r->prefix_length;
    } else if (o.mtu() != 0) {
      out << "mtu " << o.mtu();
    } else if (o.dns_count() != 0) {
      out << "rdnss";
      for (std::size_t i = 0; i < o.dns_count(); ++i) print(out << ' ', o.dns_server(i));
    } else if (o.kind() == ndp_option::redirected_header) {
      out << "redirected " << std::uint64_t{o.redirected().size()};
    } else if (o.kind() == ndp_option::nonce) {
      out << "nonce";
    } else {
      out << "option " << static_cast<std::uint8_t>(o.kind());
    }
  }
  if (o.malformed()) out << ", [bad option]";
}

}  // namespace runnel

#endif

// ==== runnel/wire/ndp.hpp ============================================================================================
// Neighbour discovery for IPv6: checked views of its five messages, and builders. RFC 4861, RFC 4191, RFC 6980.
// What it does not do: secure neighbour discovery (RFC 3971); keep any state.
#ifndef RUNNEL_WIRE_NDP_HPP
#define RUNNEL_WIRE_NDP_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t

namespace runnel {

inline constexpr ipv6_address all_nodes_multicast{0xff02'0000'0000'0000, 1};    ///< ff02::1
inline constexpr ipv6_address all_routers_multicast{0xff02'0000'0000'0000, 2};  ///< ff02::2

/// The multicast group that every owner of an address like `a` listens to (RFC 4291 §2.7.1).
[[nodiscard]] constexpr ipv6_address solicited_node_multicast(const ipv6_address& a) noexcept {
  return {0xff02'0000'0000'0000, 0x0000'0001'ff00'0000 | (a.low() & 0xff'ffff)};
}
/// The Ethernet address of an IPv6 multicast group (RFC 2464 §7).
[[nodiscard]] constexpr mac_address multicast_mac(const ipv6_address& group) noexcept {
  const std::uint64_t v = group.low();
  return {{0x33, 0x33, static_cast<std::uint8_t>(v >> 24), static_cast<std::uint8_t>(v >> 16),
           static_cast<std::uint8_t>(v >> 8), static_cast<std::uint8_t>(v)}};
}

namespace detail {
// What the five messages share. They are read-only and no `header_view`: a packet is known to be ICMPv6 when it was
// dissected, but to be one of these only when it was parsed as such.
template <std::uint8_t Type, std::size_t FixedSize>
class ndp_message {
 public:
  static constexpr std::size_t min_size = FixedSize;
  /// The option bytes, every length of them checked; walk them with `ndp_options`.
  [[nodiscard]] constexpr bytes options() const noexcept { return message_.from(FixedSize); }
  /// The first option of a kind that holds a 48-bit link-layer address; fails when there is none.
  [[nodiscard]] constexpr result<mac_address, drop_reason> link_address(ndp_option kind) const noexcept {
    for (ndp_options o(options()); o; o.next()) {
      if (o.kind() != kind) continue;
      if (const auto a = o.link_address()) return *a;
    }
    return drop_reason::neighbour_malformed;
  }
  /// The whole message, for the printer.
  [[nodiscard]] constexpr bytes contents() const noexcept { return message_; }

 protected:
  constexpr explicit ndp_message(bytes message) noexcept : message_(message) {}
  [[nodiscard]] constexpr const std::byte* at(std::size_t i) const noexcept { return message_.data() + i; }
  // What the validation lists of §6.1, §7.1 and §8.1 have in common, but for the checksum; and RFC 6980 §5.
  [[nodiscard]] static constexpr bool acceptable(bytes message, const ipv6& around) noexcept {
    if (around.hop_limit() != 255 || message.size() < FixedSize) return false;
    if (load_u8(message.data()) != Type || load_u8(message.data() + 1) != 0) return false;
    for (ipv6_extensions e(around); e; e.next())
      if (e.kind() == ipv6_extension::fragment) return false;
    ndp_options o(message.from(FixedSize));
    while (o) o.next();
    return !o.malformed();
  }
  [[nodiscard]] static constexpr bool has_option(bytes message, ndp_option kind) noexcept {
    for (ndp_options o(message.from(FixedSize)); o; o.next())
      if (o.kind() == kind) return true;
    return false;
  }

  bytes message_;
};
}  // namespace detail

// Each `parse` takes the ICMPv6 message and the IPv6 header around it, and does all that RFC 4861 says about which
// messages to discard, but for the checksum: `icmpv6::checksum_ok` comes before.

/// A host asks for routers (§4.1).
class router_solicitation : public detail::ndp_message<133, 8> {
 public:
  /// §6.1.1.
  [[nodiscard]] static constexpr result<router_solicitation, drop_reason> parse(bytes message,
                                                                                const ipv6& around) noexcept {
    if (!acceptable(message, around)) return drop_reason::neighbour_malformed;
    if (around.source().is_unspecified() && has_option(message, ndp_option::source_link_address))
      return drop_reason::neighbour_malformed;
    return router_solicitation{message};
  }

 private:
  using ndp_message::ndp_message;
};

/// A router tells about itself and the link (§4.2).
class router_advertisement : public detail::ndp_message<134, 16> {
 public:
  /// §6.1.2.
  [[nodiscard]] static constexpr result<router_advertisement, drop_reason> parse(bytes message,
                                                                                 const ipv6& around) noexcept {
    if (!acceptable(message, around) || !around.source().is_link_local()) return drop_reason::neighbour_malformed;
    return router_advertisement{message};
  }
  /// What hosts shall put in their own packets; 0: unspecified.
  [[nodiscard]] constexpr std::uint8_t hop_limit() const noexcept { return load_u8(at(4)); }
  /// Addresses come from DHCPv6.
  [[nodiscard]] constexpr bool is_managed() const noexcept { return (load_u8(at(5)) & 0x80u) != 0; }
  /// Other configuration comes from DHCPv6.
  [[nodiscard]] constexpr bool is_other_configuration() const noexcept { return (load_u8(at(5)) & 0x40u) != 0; }
  /// RFC 4191 §2.2: the reserved value counts as medium.
  [[nodiscard]] constexpr router_preference preference() const noexcept {
    const auto p = static_cast<router_preference>(load_u8(at(5)) >> 3 & 3u);
    return p == router_preference::reserved ? router_preference::medium : p;
  }
  /// For how many seconds it is a default router; 0: it is none.
  [[nodiscard]] constexpr std::uint16_t router_lifetime() const noexcept { return load_be16(at(6)); }
  /// In milliseconds; 0: unspecified.
  [[nodiscard]] constexpr std::uint32_t reachable_time() const noexcept { return load_be32(at(8)); }
  /// In milliseconds; 0: unspecified.
  [[nodiscard]] constexpr std::uint32_t retransmit_timer() const noexcept { return load_be32(at(12)); }

 private:
  using ndp_message::ndp_message;
};

/// A node asks for the link-layer address of `target()` (§4.3).
class neighbour_solicitation : public detail::ndp_message<135, 24> {
 public:
  /// §7.1.1.
  [[nodiscard]] static constexpr result<neighbour_solicitation, drop_reason> parse(bytes message,
                                                                                   const ipv6& around) noexcept {
    if (!acceptable(message, around) || ipv6_address::load(message.data() + 8).is_multicast())
      return drop_reason::neighbour_malformed;
    if (around.source().is_unspecified()) {
      const ipv6_address to = around.destination();
      if (to != solicited_node_multicast(to) || has_option(message, ndp_option::source_link_address))
        return drop_reason::neighbour_malformed;
    }
    return neighbour_solicitation{message};
  }
  /// The field of the header, in host byte order.
  [[nodiscard]] constexpr ipv6_address target() const noexcept { return ipv6_address::load(at(8)); }

 private:
  using ndp_message::ndp_message;
};

/// A node tells its link-layer address, asked or not (§4.4).
class neighbour_advertisement : public detail::ndp_message<136, 24> {
 public:
  /// §7.1.2.
  [[nodiscard]] static constexpr result<neighbour_advertisement, drop_reason> parse(bytes message,
                                                                                    const ipv6& around) noexcept {
    if (!acceptable(message, around) || ipv6_address::load(message.data() + 8).is_multicast())
      return drop_reason::neighbour_malformed;
    const neighbour_advertisement m{message};
    if (around.destination().is_multicast() && m.is_solicited()) return drop_reason::neighbour_malformed;
    return m;
  }
  /// Whether the header says so.
  [[nodiscard]] constexpr bool is_router() const noexcept { return (load_u8(at(4)) & 0x80u) != 0; }
  /// Whether it answers a solicitation: proof that the way there and back works.
  [[nodiscard]] constexpr bool is_solicited() const noexcept { return (load_u8(at(4)) & 0x40u) != 0; }
  /// Whether it replaces what is cached.
  [[nodiscard]] constexpr bool is_override() const noexcept { return (load_u8(at(4)) & 0x20u) != 0; }
  /// The field of the header, in host byte order.
  [[nodiscard]] constexpr ipv6_address target() const noexcept { return ipv6_address::load(at(8)); }

 private:
  using ndp_message::ndp_message;
};

/// A router tells a host of a better first hop (§4.5).
class ndp_redirect : public detail::ndp_message<137, 40> {
 public:
  /// §8.1. That it comes from the router which the host uses for that destination is the caller's to check.
  [[nodiscard]] static constexpr result<ndp_redirect, drop_reason> parse(bytes message, const ipv6& around) noexcept {
    if (!acceptable(message, around) || !around.source().is_link_local()) return drop_reason::neighbour_malformed;
    const ndp_redirect m{message};
    if (m.destination().is_multicast()) return drop_reason::neighbour_malformed;
    if (!m.target().is_link_local() && m.target() != m.destination()) return drop_reason::neighbour_malformed;
    return m;
  }
  /// The better first hop; the destination itself when that is on the link.
  [[nodiscard]] constexpr ipv6_address target() const noexcept { return ipv6_address::load(at(8)); }
  /// The field of the header, in host byte order.
  [[nodiscard]] constexpr ipv6_address destination() const noexcept { return ipv6_address::load(at(24)); }

 private:
  using ndp_message::ndp_message;
};

namespace detail {
// Writes type, code 0, the word behind the checksum, and the checksum; options and addresses are there already.
constexpr void write_ndp(mutable_bytes whole, icmpv6_kind kind, std::uint32_t word,
                         const neighbours_of_header& around) noexcept {
  std::byte* p = whole.data();
  store_be32(p, std::uint32_t{kind.type} << 24);
  store_be32(p + 4, word);
  store_be16(p + 2, checksum(whole, std::uint64_t{around.pseudo_header} + 58 + whole.size()));
}
}  // namespace detail

// Messages to be written behind an `ipv6_header{.hop_limit = 255, ...}` and before their options.

/// A router solicitation to be written (RFC 4861 §4.1), in front of its options.
struct router_solicitation_header {
  /// What `build` asks of a header; see `header_value`. @{
  static constexpr std::uint8_t ip_protocol = 58;
  [[nodiscard]] static constexpr std::size_t size() noexcept { return 8; }
  constexpr void write(mutable_bytes whole, const neighbours_of_header& around) const noexcept {
    detail::write_ndp(whole, icmpv6::router_solicitation, 0, around);
  }
  /// @}
};

/// A router advertisement to be written (RFC 4861 §4.2), in front of its options.
struct router_advertisement_header {
  /// What `build` asks of a header; see `header_value`.
  static constexpr std::uint8_t ip_protocol = 58;

  std::uint8_t hop_limit = 64;  ///< for the hosts; 0: unspecified
  /// A field of the header, in host byte order. @{
  bool managed = false;
  bool other_configuration = false;
  router_preference preference = router_preference::medium;
  /// @}
  std::uint16_t router_lifetime = 1800;  ///< seconds; 0: no default router
  std::uint32_t reachable_time = 0;      ///< milliseconds; 0: unspecified
  std::uint32_t retransmit_timer = 0;    ///< milliseconds; 0: unspecified

  /// What `build` asks of a header; see `header_value`. @{
  [[nodiscard]] static constexpr std::size_t size() noexcept { return 16; }
  constexpr void write(mutable_bytes whole, const neighbours_of_header& around) const noexcept {
    store_be32(whole.data() + 8, reachable_time);
    store_be32(whole.data() + 12, retransmit_timer);
    const std::uint32_t flags =
        (managed ? 0x80u : 0u) | (other_configuration ? 0x40u : 0u) | static_cast<std::uint32_t>(preference) << 3;
    detail::write_ndp(whole, icmpv6::router_advertisement,
                      std::uint32_t{hop_limit} << 24 | flags << 16 | router_lifetime, around);
  }
  /// @}
};

/// A neighbour solicitation to be written (RFC 4861 §4.3), in front of its options.
struct neighbour_solicitation_header {
  /// What `build` asks of a header; see `header_value`.
  static constexpr std::uint8_t ip_protocol = 58;

  /// A field of the header, in host byte order.
  ipv6_address target{};

  /// What `build` asks of a header; see `header_value`. @{
  [[nodiscard]] static constexpr std::size_t size() noexcept { return 24; }
  constexpr void write(mutable_bytes whole, const neighbours_of_header& around) const noexcept {
    target.store(whole.data() + 8);
    detail::write_ndp(whole, icmpv6::neighbour_solicitation, 0, around);
  }
  /// @}
};

/// A neighbour advertisement to be written (RFC 4861 §4.4), in front of its options.
struct neighbour_advertisement_header {
  /// What `build` asks of a header; see `header_value`.
  static constexpr std::uint8_t ip_protocol = 58;

  /// A field of the header, in host byte order. @{
  ipv6_address target{};
  bool router = false;
  /// @}
  bool solicited = false;       ///< not to a multicast destination
  bool override_cached = true;  ///< not for anycast addresses and by proxies

  /// What `build` asks of a header; see `header_value`. @{
  [[nodiscard]] static constexpr std::size_t size() noexcept { return 24; }
  constexpr void write(mutable_bytes whole, const neighbours_of_header& around) const noexcept {
    target.store(whole.data() + 8);
    detail::write_ndp(whole, icmpv6::neighbour_advertisement,
                      (router ? 1u << 31 : 0u) | (solicited ? 1u << 30 : 0u) | (override_cached ? 1u << 29 : 0u),
                      around);
  }
  /// @}
};

/// A redirect to be written (RFC 4861 §4.5), in front of its options.
struct ndp_redirect_header {
  /// What `build` asks of a header; see `header_value`.
  static constexpr std::uint8_t ip_protocol = 58;

  /// A field of the header, in host byte order. @{
  ipv6_address target{};
  ipv6_address destination{};
  /// @}

  /// What `build` asks of a header; see `header_value`. @{
  [[nodiscard]] static constexpr std::size_t size() noexcept { return 40; }
  constexpr void write(mutable_bytes whole, const neighbours_of_header& around) const noexcept {
    target.store(whole.data() + 8);
    destination.store(whole.data() + 24);
    detail::write_ndp(whole, icmpv6::redirect, 0, around);
  }
  /// @}
};

// One line each in tcpdump's manner, options last.
/// The message in tcpdump's manner.
constexpr void print(text_writer& out, const router_solicitation& m) noexcept {
  print(out << "ICMP6, router solicitation", ndp_options{m.options()});
}
/// The message in tcpdump's manner.
constexpr void print(text_writer& out, const router_advertisement& m) noexcept {
  out << "ICMP6, router advertisement, hop limit " << m.hop_limit() << (m.is_managed() ? ", managed" : "")
      << (m.is_other_configuration() ? ", other stateful" : "") << ", lifetime " << m.router_lifetime() << 's';
  print(out, ndp_options{m.options()});
}
/// The message in tcpdump's manner.
constexpr void print(text_writer& out, const neighbour_solicitation& m) noexcept {
  print(out << "ICMP6, neighbor solicitation, who has ", m.target());
  print(out, ndp_options{m.options()});
}
/// The message in tcpdump's manner.
constexpr void print(text_writer& out, const neighbour_advertisement& m) noexcept {
  print(out << "ICMP6, neighbor advertisement, tgt is ", m.target());
  out << (m.is_router() ? ", router" : "") << (m.is_solicited() ? ", solicited" : "")
      << (m.is_override() ? ", override" : "");
  print(out, ndp_options{m.options()});
}
/// The message in tcpdump's manner.
constexpr void print(text_writer& out, const ndp_redirect& m) noexcept {
  print(out << "ICMP6, redirect, ", m.destination());
  print(out << " to ", m.target());
  print(out, ndp_options{m.options()});
}

}  // namespace runnel

#endif

// ==== runnel/wire/vlan.hpp ===========================================================================================
// VLAN tag: a checked view over the four bytes behind a type field of 0x8100 or 0x88a8, and the builder.
// IEEE 802.1Q clause 9, 802.1ad.
#ifndef RUNNEL_WIRE_VLAN_HPP
#define RUNNEL_WIRE_VLAN_HPP

#include <cstddef>      // byte, size_t
#include <cstdint>      // uint8_t, uint16_t
#include <type_traits>  // is_const_v

namespace runnel {

/// A view of a VLAN tag and what it carries. The tag is seen as a header between two others: the type field in
/// front of it (the TPID, 0x8100 or 0x88a8) belongs to the header before, and the tag ends with the type field of
/// what it carries. So the tag of an Ethernet frame begins at byte 14.
template <class Byte>
class basic_vlan {
 public:
  /// What the library asks of a header view; see `header_view`. @{
  using mutable_view = basic_vlan<std::byte>;
  static constexpr header in_header = header::vlan;
  static constexpr std::size_t min_size = 4;
  /// @}

  /// A field, for match expressions. @{
  static constexpr field<header::vlan, 0, 3, std::uint8_t> pcp{"vlan pcp"};
  static constexpr field<header::vlan, 3, 1, std::uint8_t> dei{"vlan dei"};
  static constexpr field<header::vlan, 4, 12, std::uint16_t> id{"vlan id"};
  static constexpr field<header::vlan, 16, 16, std::uint16_t> type{"vlan type"};
  /// @}

  /// Checks that the tag is there.
  [[nodiscard]] static constexpr result<basic_vlan, drop_reason> parse(byte_window<Byte> b) noexcept {
    if (b.size() < min_size) return drop_reason::vlan_malformed;
    return basic_vlan{b.data(), b.size()};
  }
  /// A view over bytes that were checked before: at least `min_size` of them. Checks nothing.
  [[nodiscard]] static constexpr basic_vlan unchecked(byte_window<Byte> b) noexcept { return {b.data(), b.size()}; }

  /// A view that may write can be read through as well.
  constexpr operator basic_vlan<const std::byte>() const noexcept
    requires(!std::is_const_v<Byte>)
  {
    return basic_vlan<const Byte>::unchecked({p_, n_});
  }

  /// What `build` asks of a header; see `header_value`.
  [[nodiscard]] static constexpr std::size_t header_size() noexcept { return min_size; }
  /// PCP, 0 to 7.
  [[nodiscard]] constexpr std::uint8_t priority_code() const noexcept {
    return static_cast<std::uint8_t>(load_u8(p_) >> 5);
  }
  /// DEI: may be dropped first. In 802.1Q before 2011 it was the CFI bit.
  [[nodiscard]] constexpr bool drop_eligible() const noexcept { return (load_u8(p_) & 0x10u) != 0; }
  /// VID, 0 to 4095; 0 means that the tag only carries a priority.
  [[nodiscard]] constexpr std::uint16_t vlan_id() const noexcept {
    return static_cast<std::uint16_t>(load_be16(p_) & 0x0fffu);
  }
  /// What the tag carries: an EtherType (perhaps of another tag), or a length below 0x0600.
  [[nodiscard]] constexpr std::uint16_t ethertype() const noexcept { return load_be16(p_ + 2); }
  /// What follows the header.
  [[nodiscard]] constexpr byte_window<Byte> payload() const noexcept { return {p_ + min_size, n_ - min_size}; }

  /// Writes the field. @{
  constexpr void priority_code(std::uint8_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_u8(p_, static_cast<std::uint8_t>((load_u8(p_) & 0x1fu) | (v & 7u) << 5));
  }
  constexpr void drop_eligible(bool v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_u8(p_, static_cast<std::uint8_t>((load_u8(p_) & 0xefu) | (v ? 0x10u : 0u)));
  }
  constexpr void vlan_id(std::uint16_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_be16(p_, static_cast<std::uint16_t>((load_be16(p_) & 0xf000u) | (v & 0x0fffu)));
  }
  constexpr void ethertype(std::uint16_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_be16(p_ + 2, v);
  }
  /// @}

 private:
  constexpr basic_vlan(Byte* p, std::size_t n) noexcept : p_(p), n_(n) {}

  Byte* p_;
  std::size_t n_;
};

/// The view to read; `mut<>` of it also writes.
using vlan = basic_vlan<const std::byte>;

/// The fields of the second tag of a frame with two: `cvlan::id`, as the customer's tag in 802.1ad is called.
struct cvlan {
  /// A field, for match expressions. @{
  static constexpr field<header::cvlan, 0, 3, std::uint8_t> pcp{"cvlan pcp"};
  static constexpr field<header::cvlan, 3, 1, std::uint8_t> dei{"cvlan dei"};
  static constexpr field<header::cvlan, 4, 12, std::uint16_t> id{"cvlan id"};
  static constexpr field<header::cvlan, 16, 16, std::uint16_t> type{"cvlan type"};
  /// @}
};

/// A VLAN tag to be written: `write_headers(packet, ethernet_header{...}, vlan_header{.id = 5}, ipv4_header{...})`.
struct vlan_header {
  std::uint16_t id = 0;  ///< 0 to 4095
  std::uint8_t pcp = 0;  ///< 0 to 7
  /// A field of the header, in host byte order.
  bool drop_eligible = false;
  bool service = false;    ///< an 802.1ad service tag: the header in front of it says 0x88a8, not 0x8100
  std::uint16_t type = 0;  ///< 0: that of the header inside; when it has none, the length of the payload

  /// What the header in front of the tag says of it: the TPID.
  [[nodiscard]] constexpr std::uint16_t ethertype() const noexcept {
    return service ? runnel::ethertype::qinq : runnel::ethertype::vlan;
  }
  /// What `build` asks of a header; see `header_value`. @{
  [[nodiscard]] static constexpr std::size_t size() noexcept { return 4; }
  constexpr void write(mutable_bytes whole, const neighbours_of_header& around) const noexcept {
    RUNNEL_ASSERT(id <= 4095 && pcp <= 7);
    std::byte* p = whole.data();
    store_be16(p, static_cast<std::uint16_t>((pcp & 7u) << 13 | (drop_eligible ? 0x1000u : 0u) | (id & 0x0fffu)));
    store_be16(p + 2, detail::type_or_length(type != 0 ? type : around.ethertype, whole.size() - size()));
  }
  /// @}
};

/// One line in tcpdump's manner: `vlan 5, p 3, DEI, ethertype IPv4 (0x0800)`.
template <class Byte>
constexpr void print(text_writer& out, const basic_vlan<Byte>& v) noexcept {
  out << "vlan " << v.vlan_id() << ", p " << v.priority_code();
  if (v.drop_eligible()) out << ", DEI";
  if (v.ethertype() < ethertype::first) {
    out << ", length " << v.ethertype();
    return;
  }
  out << ", ethertype " << ethertype::name(v.ethertype()) << " (0x";
  out.hex(v.ethertype(), 4) << ')';
}

}  // namespace runnel

#endif

// ==== runnel/wire/vxlan.hpp ==========================================================================================
// VXLAN header: a checked view over what a UDP datagram to port 4789 carries, and the builder. RFC 7348.
#ifndef RUNNEL_WIRE_VXLAN_HPP
#define RUNNEL_WIRE_VXLAN_HPP

#include <cstddef>      // byte, size_t
#include <cstdint>      // uint8_t, uint16_t, uint32_t
#include <type_traits>  // is_const_v

namespace runnel {

/// The port on which VXLAN is expected.
inline constexpr std::uint16_t vxlan_port = 4789;

/// A view of a VXLAN header and the Ethernet frame that it carries. `vxlan` reads, `mut<vxlan>` also writes. Does not
/// own: valid as long as the bytes.
template <class Byte>
class basic_vxlan {
 public:
  /// What the library asks of a header view; see `header_view`. @{
  using mutable_view = basic_vxlan<std::byte>;
  static constexpr header in_header = header::vxlan;
  static constexpr std::size_t min_size = 8;
  /// @}

  /// A field of the frame inside, for match expressions: `vxlan::inner(ip::saddr)`.
  template <class Field>
  [[nodiscard]] static constexpr match::inner_field<match::tunnel::vxlan, Field> inner(const Field& f) noexcept {
    return match::inner_field<match::tunnel::vxlan, Field>{f};
  }

  /// A field, for match expressions. @{
  static constexpr field<header::vxlan, 0, 8, std::uint8_t> flags{"vxlan flags"};
  static constexpr field<header::vxlan, 32, 24, std::uint32_t> vni{"vxlan vni"};
  /// @}

  /// Checks that the header is there and its network identifier valid (the I flag). Reserved bits are not looked at
  /// (RFC 7348 §5).
  [[nodiscard]] static constexpr result<basic_vxlan, drop_reason> parse(byte_window<Byte> b) noexcept {
    if (b.size() < min_size || (load_u8(b.data()) & 0x08u) == 0) return drop_reason::vxlan_malformed;
    return basic_vxlan{b.data(), b.size()};
  }
  /// A view over bytes that were checked before: at least `min_size` of them. Checks nothing.
  [[nodiscard]] static constexpr basic_vxlan unchecked(byte_window<Byte> b) noexcept { return {b.data(), b.size()}; }

  /// A view that may write can be read through as well.
  constexpr operator basic_vxlan<const std::byte>() const noexcept
    requires(!std::is_const_v<Byte>)
  {
    return basic_vxlan<const Byte>::unchecked({p_, n_});
  }

  /// What `build` asks of a header; see `header_value`.
  [[nodiscard]] static constexpr std::size_t header_size() noexcept { return min_size; }
  /// All eight flags; only 0x08 has a meaning.
  [[nodiscard]] constexpr std::uint8_t flag_bits() const noexcept { return load_u8(p_); }
  /// VNI, 24 bits: which of the virtual networks the frame belongs to.
  [[nodiscard]] constexpr std::uint32_t network_identifier() const noexcept { return load_be24(p_ + 4); }
  /// The frame inside, beginning with its Ethernet header.
  [[nodiscard]] constexpr byte_window<Byte> payload() const noexcept { return {p_ + min_size, n_ - min_size}; }

  /// The UDP checksum around it, when there is one, is the caller's to update.
  constexpr void network_identifier(std::uint32_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_be24(p_ + 4, v);
  }

 private:
  constexpr basic_vxlan(Byte* p, std::size_t n) noexcept : p_(p), n_(n) {}

  Byte* p_;
  std::size_t n_;
};

/// The view to read; `mut<>` of it also writes.
using vxlan = basic_vxlan<const std::byte>;

/// A VXLAN header to be written: `write_headers(packet, ..., udp_header{.source_port = hash}, vxlan_header{.vni = 100},
/// ethernet_header{...}, ...)`. A UDP header without a destination port takes it from here; its source port should come
/// from a hash over the inner headers (RFC 7348 §5).
struct vxlan_header {
  static constexpr std::uint16_t udp_port = vxlan_port;  ///< what a UDP header around this one says

  /// A field of the header, in host byte order.
  std::uint32_t vni = 0;

  /// What `build` asks of a header; see `header_value`. @{
  [[nodiscard]] static constexpr std::size_t size() noexcept { return 8; }
  constexpr void write(mutable_bytes whole, const neighbours_of_header&) const noexcept {
    RUNNEL_ASSERT(vni < 1u << 24);
    store_be32(whole.data(), 0x0800'0000);
    store_be32(whole.data() + 4, vni << 8);
  }
  /// @}
};

/// One line in tcpdump's manner: `VXLAN, flags [I] (0x08), vni 100`.
template <class Byte>
constexpr void print(text_writer& out, const basic_vxlan<Byte>& v) noexcept {
  out << "VXLAN, flags [" << ((v.flag_bits() & 0x08u) != 0 ? 'I' : '.') << "] (0x";
  out.hex(v.flag_bits(), 2) << "), vni " << v.network_identifier();
}

}  // namespace runnel

#endif

// ==== runnel/wire/print_packet.hpp ===================================================================================
// A whole packet on one line, in the manner of `tcpdump -nn`: addresses with their ports, then what the transport
// says, then what is inside a tunnel.
//
//     IP 192.0.2.1.40000 > 192.0.2.2.80: Flags [S], seq 1, win 64240, options [mss 1460], length 0
//     vlan 5, p 0, IP6 fe80::1 > ff02::2: ICMP6, router solicitation, length 16
//     IP 192.0.2.1 > 192.0.2.2: ip-proto-6, length 16 [tcp_data_offset]
//
// Unlike tcpdump it names VLAN tags always, prints sequence numbers as they are, keeps tunnels on the same line, and
// ends with the fault of a malformed packet in brackets. It prints no payload and decodes no application.
#ifndef RUNNEL_WIRE_PRINT_PACKET_HPP
#define RUNNEL_WIRE_PRINT_PACKET_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint16_t, uint64_t

namespace runnel {

/// What `print_packet` shows.
struct print_options {
  bool link_header = false;  ///< the Ethernet header as well, as `tcpdump -e` does
  unsigned tunnels = 4;      ///< how many packets inside the packet are shown, each inside the one before
};

namespace detail {

// What was found of a malformed packet, shown as if it were all of it: the headers before the fault are all right. But
// not when offsets did not fit, for then there are none.
[[nodiscard]] constexpr layers as_found(layers found) noexcept {
  if (found.fault != drop_reason::none && found.fault != drop_reason::too_big) found.protocols |= bit(protocol::parsed);
  return found;
}

// One packet, at one depth of tunnels. Prints through the views' own printers. A template, so that only a program that
// prints packets pays for compiling all of them.
template <class = void>
class packet_printer {
 public:
  constexpr packet_printer(text_writer& out, const print_options& options, bool cut = false) noexcept
      : out_(out), options_(options), cut_(cut) {}

  constexpr void print_all(const header_map& map) noexcept {
    bytes rest;
    std::uint16_t type = 0;
    if (map.has<ethernet>()) {
      const ethernet link = map.get<ethernet>();
      type = link.ethertype();
      rest = link.payload();
      link_header(link);
      vlan_tags(type, rest);
      if (type < ethertype::first) rest = rest.first(type);
    }
    network(map, type, rest);
    if (map.layers().fault != drop_reason::none) out_ << " [" << name(map.layers().fault) << ']';
  }

 private:
  // ---- pieces of lines. Templates stand before their users: constant evaluation needs that with Clang 14.

  // A view's own line from the first `c` in it on, and `skip` more characters.
  template <class View>
  constexpr void print_from(char c, const View& v, std::size_t skip = 0) noexcept {
    text<512> line;
    print(line, v);
    const char* from = line.c_str();
    while (*from != '\0' && *from != c) ++from;
    for (; *from != '\0' && skip != 0; --skip) ++from;
    out_ << from;
  }
  // Without the ports, with which the printers of TCP and UDP begin: those stand beside the addresses.
  template <class View>
  constexpr void behind_ports(const View& v) noexcept {
    print_from(':', v, 2);
  }
  // With the ports beside them, where there are some.
  template <class Ip>
  constexpr void addresses(const header_map& map, const Ip& ip) noexcept {
    const std::byte* ports = map.at<header::th, 4>();
    print(out_, ip.source());
    if (ports != nullptr) out_ << '.' << load_be16(ports);
    print(out_ << " > ", ip.destination());
    if (ports != nullptr) out_ << '.' << load_be16(ports + 2);
    out_ << ": ";
  }
  template <class Message>
  constexpr bool discovery(bytes message, const ipv6& ip) noexcept {
    const auto m = Message::parse(message, ip);
    if (!m) return false;
    print(out_, *m);
    out_ << ", length " << std::uint64_t{message.size()};
    return true;
  }

  // ---- the link

  constexpr void link_header(const ethernet& link) noexcept {
    if (!options_.link_header) return;
    print(out_, link);
    out_ << ": ";
    type_is_printed_ = !link.is_802_3();
  }
  // Takes the tags off `rest`, and leaves in `type` what they carry.
  constexpr void vlan_tags(std::uint16_t& type, bytes& rest) noexcept {
    for (unsigned tags = 0; ethertype::is_vlan(type) && tags < max_vlan_tags; ++tags) {
      const auto tag = vlan::parse(rest);
      if (!tag) return;
      if (options_.link_header) print(out_, *tag);
      else out_ << "vlan " << tag->vlan_id() << ", p " << tag->priority_code() << (tag->drop_eligible() ? ", DEI" : "");
      out_ << ", ";
      type = tag->ethertype();
      rest = tag->payload();
    }
  }
  // Returns what the stack carries.
  constexpr bytes labels(bytes stack) noexcept {
    mpls_stack s(stack);
    for (bool first = true; s; s.next(), first = false) {
      print_from(first ? 'M' : '(', s.entry());
      out_ << ' ';
    }
    type_is_printed_ = false;
    return s.payload();
  }

  // ---- the network

  constexpr void network(const header_map& map, std::uint16_t type, bytes rest) noexcept {
    if (map.has<mpls>()) {
      const std::byte* const stack = map.at<header::mpls, mpls::min_size>();
      rest = labels({stack, map.get<mpls>().payload().size() + mpls::min_size});
      type = ethertype::mpls;
    }
    if (map.has<arp>()) return print_from(type_is_printed_ ? ',' : 'A', map.get<arp>(), type_is_printed_ ? 2 : 0);
    if (map.has<ipv4>()) return ipv4_packet(map, map.get<ipv4>());
    if (map.has<ipv6>()) return ipv6_packet(map, map.get<ipv6>());
    if (!map.has<ethernet>()) {
      out_ << "unknown link payload";
      return;
    }
    if (type < ethertype::first) {
      if (const auto v = llc::parse(rest)) return print(out_, *v);
      out_ << "LLC, ";
    } else if (!type_is_printed_ && !map.has<mpls>()) {
      (out_ << "ethertype " << ethertype::name(type) << " (0x").hex(type, 4) << "), ";
    }
    out_ << "length " << std::uint64_t{rest.size()};
  }
  constexpr void ipv4_packet(const header_map& map, const ipv4& ip) noexcept {
    cut_ = cut_ || ip.is_fragment() || ip.total_length() > ip.header_size() + ip.payload().size();
    if (!type_is_printed_) out_ << "IP ";
    addresses(map, ip);
    if (ip.is_fragment()) {
      (out_ << "frag (0x").hex(ip.identification(), 4)
          << ':' << std::uint64_t{ip.fragment_offset()} << '|' << std::uint64_t{ip.payload().size()} << ')'
          << (ip.more_fragments() ? "+ " : " ");
    }
    transport(map, ip.protocol_number(), ip.payload());
  }
  constexpr void ipv6_packet(const header_map& map, const ipv6& ip) noexcept {
    ipv6_extensions e(ip);
    cut_ = cut_ || map.layers().has(protocol::fragment) || ip.payload_length() > ip.payload().size();
    if (!type_is_printed_) out_ << "IP6 ";
    addresses(map, ip);
    for (; e; e.next()) {
      if (e.kind() == ipv6_extension::fragment) print(out_, ipv6_fragment::unchecked(e.rest()));
      else
        out_ << (e.kind() == ipv6_extension::hop_by_hop       ? "HBH"
                 : e.kind() == ipv6_extension::routing        ? "RT"
                 : e.kind() == ipv6_extension::authentication ? "AH"
                                                              : "DSTOPT");
      out_ << ' ';
    }
    transport(map, e.protocol(), e.rest());
  }
  // ---- the transport

  constexpr void transport(const header_map& map, std::uint8_t number, bytes payload) noexcept {
    if (map.has<tcp>()) return behind_ports(map.get<tcp>());
    if (map.has<vxlan>()) return vxlan_frame(map.get<vxlan>());
    if (map.has<udp>()) return behind_ports(map.get<udp>());
    if (map.has<icmp>()) return icmp_message(map.get<icmp>());
    if (map.has<icmpv6>()) return icmpv6_message(map.get<icmpv6>(), payload, map.get<ipv6>());
    if (map.has<gre>()) return gre_packet(map.get<gre>());
    if (map.layers().has(protocol::transport)) {
      if (number == ipv4_header::ip_protocol) return inside(ethertype::ipv4, payload);
      if (number == ipv6_header::ip_protocol) return inside(ethertype::ipv6, payload);
      if (number == mpls_header::ip_protocol) return inside(ethertype::mpls, payload);
    }
    if (number == ipv6_extension::no_next_header && map.has<ipv6>()) out_ << "no next header";
    else out_ << "ip-proto-" << number;
    out_ << ", length " << std::uint64_t{payload.size()};
  }
  constexpr void icmp_message(const icmp& v) noexcept {
    print(out_, v);
    quoted(ethertype::ipv4, v.quoted());
  }
  // `message` is what follows the last extension header.
  constexpr void icmpv6_message(const icmpv6& v, bytes message, const ipv6& ip) noexcept {
    if (discovery<router_solicitation>(message, ip) || discovery<router_advertisement>(message, ip) ||
        discovery<neighbour_solicitation>(message, ip) || discovery<neighbour_advertisement>(message, ip) ||
        discovery<ndp_redirect>(message, ip))
      return;
    print(out_, v);
    quoted(ethertype::ipv6, v.quoted());
  }
  // ---- tunnels

  // The datagram that an ICMP error is about, or rather its beginning.
  constexpr void quoted(std::uint16_t type, bytes datagram) noexcept {
    if (datagram.empty()) return;
    out_ << ": ";
    cut_ = true;
    inside(type, datagram);
  }

  constexpr void vxlan_frame(const vxlan& v) noexcept {
    print(out_, v);
    out_ << ": ";
    inside(ethertype::bridging, v.payload());
  }
  constexpr void gre_packet(const gre& v) noexcept {
    print(out_, v);
    out_ << ": ";
    inside(v.protocol_type(), v.payload());
  }
  // What is inside a tunnel, `type` being its EtherType: dissected and printed like any other packet.
  constexpr void inside(std::uint16_t type, bytes packet) noexcept {
    if (ethertype::is_mpls(type)) packet = labels(packet);
    const bool ip = type == ethertype::ipv4 || type == ethertype::ipv6 || ethertype::is_mpls(type);
    if ((!ip && type != ethertype::bridging) || options_.tunnels == 0) {
      out_ << (options_.tunnels == 0 ? "..., length " : "length ") << std::uint64_t{packet.size()};
      return;
    }
    const link_type link = ip ? link_type::raw_ip : link_type::ethernet;
    // In a fragment, or in a packet that is not all there, what is missing at the end is no fault.
    const layers found = dissect(packet, link, {.missing = cut_ ? 0xffffu : 0u});
    packet_printer inner(out_, {.link_header = options_.link_header, .tunnels = options_.tunnels - 1}, cut_);
    inner.print_all(header_map(packet, 0, as_found(found)));
  }

  text_writer& out_;
  print_options options_;
  bool cut_;                      // bytes are missing at the end
  bool type_is_printed_ = false;  // and need not be said again
};

}  // namespace detail

/// Prints a packet as `map` shows it. Where it was not dissected yet and is an Ethernet frame, it is now. Lengths are
/// those of what is there: a packet that a capture cut, or that goes on in chained buffers, seems shorter.
template <class Printer = detail::packet_printer<>>
constexpr void print_packet(text_writer& out, const header_map& map, const print_options& options = {}) noexcept {
  Printer printer(out, options);
  const layers& known = map.layers();
  if (!known.has(protocol::parsed) && known.fault == drop_reason::none && map.has<ethernet>()) {
    const bytes frame{map.at<header::ethernet, 14>(), map.get<ethernet>().payload().size() + 14};
    return printer.print_all(header_map(frame, 0, detail::as_found(dissect(frame))));
  }
  printer.print_all(map);
}
/// Prints a packet; dissects it first where nobody has.
template <class Printer = detail::packet_printer<>>
void print_packet(text_writer& out, const packet& p, const print_options& options = {}) noexcept {
  layers found = p.layers();
  if (!found.has(protocol::parsed) && found.fault == drop_reason::none)
    found = dissect(p.contents(), found.link_kind(),
                    {.head_offset = p.headroom(), .chained = p.total_length() - p.length(), .missing = p.missing()});
  Printer(out, options).print_all(header_map(p.contents(), p.headroom(), detail::as_found(found)));
}
/// Prints a frame, `found` being what `dissect` said of it; dissects it when that is empty.
template <class Printer = detail::packet_printer<>>
void print_packet(text_writer& out, const frame& f, layers found = {}, const print_options& options = {}) noexcept {
  if (!found.has(protocol::parsed) && found.fault == drop_reason::none)
    found = dissect(f.contents(), f.link, {.head_offset = f.headroom, .missing = f.missing});
  Printer(out, options).print_all(header_map(f, detail::as_found(found)));
}

}  // namespace runnel

#endif

// ==== runnel/flow/trace.hpp ==========================================================================================
// Follows single packets through the stages, and says what each one did with them.
#ifndef RUNNEL_FLOW_TRACE_HPP
#define RUNNEL_FLOW_TRACE_HPP

#include <concepts>  // same_as
#include <utility>   // move

namespace runnel {

namespace detail {

struct traced_before {};

template <class Condition>
struct trace_stage : stage_defaults {
  static constexpr stage_kind kind = stage_kind::each;
  static constexpr bool needs_parsed = true;
  static constexpr bool traces = true;
  static constexpr bool resizes = false;
  static constexpr const char* name = "trace";

  constexpr trace_stage(Condition when, text_writer& w) noexcept : condition(std::move(when)), out(&w) {}
  RUNNEL_INLINE verdict operator()(packet& p, context& c) noexcept {
    if (follows(static_cast<const packet&>(p))) [[unlikely]]
      begin(p, c);
    return pass;
  }
  [[nodiscard]] RUNNEL_INLINE bool follows(const packet& p) noexcept {
    if constexpr (std::same_as<Condition, traced_before>) return p.traced();
    else return static_cast<bool>(condition(subject{p}));
  }
  void begin(packet& p, context& c) noexcept {
    c.trace = out;
    p.traced(true);
    *out << "trace: ";
    print_packet(*out, static_cast<const packet&>(p));
    *out << '\n';
  }
  Condition condition;
  text_writer* out;
};

// The engine calls it after each stage behind a trace.
template <place At, class Stage>
void report(Stage& stage, packet& p, verdict v, context& c) noexcept {
  if (c.trace == nullptr || (p && !p.traced())) return;
  text_writer& out = *c.trace;
  out << "  ";
  print_name(out, stage, "stage");
  out << ": ";
  if constexpr (Stage::kind == stage_kind::branch) {
    if (v.code == verdict_code::pass) {
      std::size_t i = 0;
      Stage::ways::for_each([&]<class Way>() {
        if (i++ == v.port) out << "to " << way_name<Way>();
      });
      out << '\n';
      return;
    }
  }
  if constexpr (Stage::kind == stage_kind::end) out << "end";
  else out << runnel::name(v.code);
  if (v.code == verdict_code::drop) out << " (" << runnel::name(v.reason) << ')';
  if (p) {
    out << ", ";
    print_packet(out, static_cast<const packet&>(p));
  }
  out << '\n';
}

}  // namespace detail

/// Follows the packets for which `condition` holds, a match expression or anything else that is called with a `const
/// subject&` and returns a bool: prints them here and behind each later stage, with what that stage decided. Ends where
/// the pipeline ends, at a queue and at `replaceable` too: what is built without a trace pays nothing for it, so the
/// pipeline behind needs one that goes on, `trace(out)`. Refers to `out`, which must outlive the pipeline.
template <class Condition>
[[nodiscard]] constexpr auto trace(Condition condition, text_writer& out) noexcept {
  static_assert(
      requires(const subject& s) { static_cast<bool>(condition(s)); },
      "runnel: trace() needs a match expression, such as ip::saddr == addr4(\"192.0.2.1\"), or a function of a "
      "const subject& that returns a bool");
  return detail::trace_stage<Condition>{std::move(condition), out};
}

/// Goes on following the packets, and their clones, that a trace followed before they came into this pipeline, by a
/// queue or by `replaceable`: `attach(later, parse() | trace(out) | ...)`. Refers to `out`, which must outlive the
/// pipeline.
[[nodiscard]] constexpr auto trace(text_writer& out) noexcept {
  return detail::trace_stage<detail::traced_before>{{}, out};
}

}  // namespace runnel

#endif

// ==== runnel/flow.hpp ================================================================================================
// Pipelines: stages, branches, ends, queues, counters, the loop.
#ifndef RUNNEL_FLOW_ALL_HPP
#define RUNNEL_FLOW_ALL_HPP

#endif

// ==== runnel/fwd.hpp =================================================================================================
// The names of the types that headers pass by reference, for those who need no more.
#ifndef RUNNEL_FWD_HPP
#define RUNNEL_FWD_HPP

#include <cstddef>  // byte, size_t

/// Everything of this library.
namespace runnel {

template <class T, class E>
class result;
class error;
class text_writer;
struct duration;
struct instant;
struct frame;
struct layers;
class pool;
class packet;
class burst;
class cursor;
struct verdict;
struct subject;
struct context;
template <class Counters, class... Stages>
class pipeline;
class any_pipeline;
class connection;

}  // namespace runnel

#endif

// ==== runnel/wire/tunnel.hpp =========================================================================================
// What is inside a tunnel: IP in IP, GRE, VXLAN. `inside(view)` dissects it, every bound checked, and gives a map of
// its headers, from which views are taken as from any other packet:
//
//     [](ipv4 outer) {
//       const header_map in = inside(outer);
//       if (in.has<ipv4>() && in.has<tcp>()) use(in.get<ipv4>().source(), in.get<tcp>());
//     }
//
// One tunnel deep; the views found may be asked in turn. What it does not do: reassemble; look into MPLS, or into other
// ports than VXLAN's. RFC 2003, RFC 2473, RFC 4213 (IP in IP), RFC 2784, RFC 7348.
#ifndef RUNNEL_WIRE_TUNNEL_HPP
#define RUNNEL_WIRE_TUNNEL_HPP

#include <cstdint>  // uint8_t, uint16_t

namespace runnel {
namespace detail {

[[nodiscard]] constexpr header_map no_packet(drop_reason why = drop_reason::none) noexcept {
  return {bytes{}, 0, {.protocols = static_cast<std::uint16_t>(link_type::unknown), .fault = why}};
}
// `type` is the EtherType of what is in `b`. IP has to be of the version that it says.
[[nodiscard]] constexpr header_map packet_of_type(std::uint16_t type, bytes b, bool cut) noexcept {
  const dissect_options options{.missing = cut ? 0xffffu : 0u};
  if (type == ethertype::bridging) return {b, 0, dissect(b, link_type::ethernet, options)};
  if (type != ethertype::ipv4 && type != ethertype::ipv6) return no_packet();
  if (!b.empty() && load_u8(b.data()) >> 4 != (type == ethertype::ipv4 ? 4u : 6u))
    return no_packet(drop_reason::ip_version);
  return {b, 0, dissect(b, link_type::raw_ip, options)};
}
[[nodiscard]] constexpr header_map ip_in_ip(std::uint8_t number, bytes b, bool cut) noexcept {
  if (number != ipv4_header::ip_protocol && number != ipv6_header::ip_protocol) return no_packet();
  return packet_of_type(number == ipv4_header::ip_protocol ? ethertype::ipv4 : ethertype::ipv6, b, cut);
}

}  // namespace detail

/// The headers of the packet inside. A view: valid as long as the bytes. Without any header when nothing is inside that
/// can be looked into, and when something is wrong with it, which `layers().fault` names; the whole chain is as
/// `dissect` checks it.
///
/// `cut`: the packet around is a fragment or was not captured whole, so that a length inside that goes on behind the
/// end is no fault. The IP headers around say so themselves.
[[nodiscard]] constexpr header_map inside(const vxlan& v, bool cut = false) noexcept {
  // Without the I flag it is not a frame of any virtual network (RFC 7348 §5).
  if ((v.flag_bits() & 0x08u) == 0) return detail::no_packet(drop_reason::vxlan_malformed);
  return detail::packet_of_type(ethertype::bridging, v.payload(), cut);
}
/// The same for what lies behind a GRE header.
[[nodiscard]] constexpr header_map inside(const gre& v, bool cut = false) noexcept {
  return detail::packet_of_type(v.protocol_type(), v.payload(), cut);
}
/// IP in IPv4: protocol 4 or 41, in a datagram or its first fragment.
[[nodiscard]] constexpr header_map inside(const ipv4& v) noexcept {
  if (v.fragment_offset() != 0) return detail::no_packet();
  const bool cut = v.is_fragment() || v.total_length() > v.header_size() + v.payload().size();
  return detail::ip_in_ip(v.protocol_number(), v.payload(), cut);
}
/// IP in IPv6, behind its extension headers.
[[nodiscard]] constexpr header_map inside(const ipv6& v) noexcept {
  ipv6_extensions e(v);
  while (e) e.next();
  if (!e.has_upper_layer()) return detail::no_packet(e.malformed() ? drop_reason::ipv6_extension : drop_reason::none);
  return detail::ip_in_ip(e.protocol(), e.rest(), e.is_fragment() || v.payload_length() > v.payload().size());
}

/// IP in IP, as match expressions name it: `ipip::inner(tcp::dport)`, in IPv4 or IPv6. nft has no word for it.
struct ipip {
  /// A field of the packet inside: `ipip::inner(ip::saddr)`.
  template <class Field>
  [[nodiscard]] static constexpr match::inner_field<match::tunnel::ipip, Field> inner(const Field& f) noexcept {
    return match::inner_field<match::tunnel::ipip, Field>{f};
  }
};

}  // namespace runnel

#endif

// ==== runnel/match/locate.hpp ========================================================================================
// Finds the header that a field belongs to, all of it that is needed: also options, extension headers, and what is
// inside a tunnel.
#ifndef RUNNEL_MATCH_LOCATE_HPP
#define RUNNEL_MATCH_LOCATE_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t

namespace runnel::match {

/// Bytes of a header that every packet with it has: a header that is cut off before is no header.
[[nodiscard]] constexpr std::size_t fixed_size(header h) noexcept {
  switch (h) {
    case header::ethernet: return 14;
    case header::vlan: return 4;
    case header::cvlan: return 4;
    case header::mpls: return 4;
    case header::arp: return 28;
    case header::ipv4: return 20;
    case header::ipv6: return 40;
    case header::ipv6_fragment: return 8;
    case header::icmp: return 8;
    case header::icmpv6: return 8;
    case header::tcp: return 20;
    case header::udp: return 8;
    case header::th: return 8;
    case header::gre: return 4;
    case header::vxlan: return 8;
    case header::llc: return 3;
    case header::snap: return 8;
    case header::icmp_echo: return 8;
    case header::icmpv6_echo: return 8;
    case header::icmpv6_target: return 24;
  }
  switch (family_of(h)) {
    case header_family::single: break;
    case header_family::ipv4_option:
    case header_family::tcp_option: return 1;
    case header_family::ipv6_extension:
    case header_family::icmp_message:
    case header_family::icmpv6_message:
    case header_family::nd_option: return 8;
    case header_family::gre_word: return 4;
  }
  return 0;
}

namespace detail {

// Each of these returns null when there is no such thing, or fewer than `need` bytes of it. IPv4's and TCP's walkers
// are alike.
template <class Options>
[[nodiscard]] constexpr const std::byte* find_option(Options o, std::uint8_t number, std::size_t need) noexcept {
  for (; o; o.next())
    if (static_cast<std::uint8_t>(o.kind()) == number) return o.whole().size() >= need ? o.whole().data() : nullptr;
  return nullptr;
}
[[nodiscard]] constexpr const std::byte* find_extension(const ipv6& datagram, std::uint8_t number,
                                                        std::size_t need) noexcept {
  ipv6_extensions e(datagram);
  for (; e; e.next())
    if (e.kind() == number) return e.data().size() >= need ? e.data().data() : nullptr;
  // Whoever does not know the mobility header takes it for a transport. It says its size as the others do.
  constexpr std::uint8_t mobility = 135;
  if (number != mobility || e.protocol() != mobility || !e.has_upper_layer() || e.rest().size() < 8) return nullptr;
  const std::size_t size = (load_u8(e.rest().data() + 1) + std::size_t{1}) * 8;
  return size >= need && size <= e.rest().size() ? e.rest().data() : nullptr;
}
// A message of ICMP or ICMPv6 of a type from `first` to `last`.
[[nodiscard]] constexpr const std::byte* find_message(bytes message, std::uint8_t first, std::uint8_t last,
                                                      std::size_t need) noexcept {
  if (message.size() < need || message.empty()) return nullptr;
  const std::uint8_t type = load_u8(message.data());
  return first <= type && type <= last ? message.data() : nullptr;
}
// Of the types from echo request to reply ICMP has others in between.
[[nodiscard]] constexpr const std::byte* find_echo(bytes message, std::size_t need) noexcept {
  const std::byte* p = find_message(message, 0, 8, need);
  return p == nullptr || (load_u8(p) != 0 && load_u8(p) != 8) ? nullptr : p;
}
// All from the listener query to the redirect but two have it at the same place.
[[nodiscard]] constexpr const std::byte* find_target(bytes message, std::size_t need) noexcept {
  const std::byte* p = find_message(message, 130, 137, need);
  return p == nullptr || load_u8(p) == 133 || load_u8(p) == 134 ? nullptr : p;
}
[[nodiscard]] constexpr const std::byte* find_nd_option(bytes message, std::uint8_t number, std::size_t need) noexcept {
  if (find_message(message, 133, 137, 8) == nullptr) return nullptr;
  constexpr std::uint8_t before[] = {8, 16, 24, 24, 40};  // the options, from type 133 on
  for (ndp_options o(message.from(before[load_u8(message.data()) - 133])); o; o.next())
    if (static_cast<std::uint8_t>(o.kind()) == number) return o.data().size() >= need ? o.data().data() : nullptr;
  return nullptr;
}
// Words follow in the order of their bits: checksum, key, sequence number.
[[nodiscard]] constexpr const std::byte* find_gre_word(bytes header, std::uint8_t bit) noexcept {
  if (header.empty()) return nullptr;
  const unsigned flags = load_u8(header.data());
  std::size_t at = 4;
  for (unsigned earlier = 0x80; earlier > bit; earlier >>= 1)
    if ((flags & earlier) != 0) at += 4;
  return (flags & bit) != 0 && at + 4 <= header.size() ? header.data() + at : nullptr;
}

// A header and what it carries; empty without one.
template <header_view V>
[[nodiscard]] RUNNEL_INLINE constexpr bytes whole(const header_map& m) noexcept {
  if (!m.has<V>()) return {};
  const V v = m.get<V>();
  return {m.at<V::in_header, V::min_size>(), v.header_size() + v.payload().size()};
}
// Whether the packet goes on behind the bytes that are there.
[[nodiscard]] constexpr bool is_cut(const header_map& m) noexcept {
  if (m.layers().has(protocol::fragment)) return true;
  if (m.has<ipv4>()) {
    const ipv4 v = m.get<ipv4>();
    return v.total_length() > v.header_size() + v.payload().size();
  }
  return m.has<ipv6>() && m.get<ipv6>().payload_length() > m.get<ipv6>().payload().size();
}
// The headers inside a tunnel of one kind. A call, so that it stands once for all fields that are asked for.
template <tunnel Around>
[[nodiscard, gnu::noinline]] constexpr header_map inside_of(header_map outer) noexcept {
  if constexpr (Around == tunnel::vxlan) {
    if (outer.has<vxlan>()) return inside(outer.get<vxlan>(), is_cut(outer));
  } else if constexpr (Around == tunnel::ipip) {
    if (outer.has<ipv4>()) return inside(outer.get<ipv4>());
    if (outer.has<ipv6>()) return inside(outer.get<ipv6>());
  } else if (outer.has<gre>()) {
    const gre v = outer.get<gre>();
    if ((v.protocol_type() == ethertype::bridging) == (Around == tunnel::gretap)) return inside(v, is_cut(outer));
  }
  return runnel::detail::no_packet();
}

}  // namespace detail

/// Where header `H` begins, or null when the packet has none, or fewer than `Need` bytes of it. `Need` is at least
/// `fixed_size(H)`.
template <header H, std::size_t Need>
[[nodiscard]] RUNNEL_INLINE constexpr const std::byte* locate(const header_map& m) noexcept {
  static_assert(Need >= fixed_size(H));
  constexpr header_family family = family_of(H);
  constexpr std::uint8_t number = number_of(H);
  if constexpr (family == header_family::ipv4_option) {
    return m.has<ipv4>() ? detail::find_option(ipv4_options(m.get<ipv4>().options()), number, Need) : nullptr;
  } else if constexpr (family == header_family::tcp_option) {
    return m.has<tcp>() ? detail::find_option(tcp_options(m.get<tcp>().options()), number, Need) : nullptr;
  } else if constexpr (family == header_family::ipv6_extension) {
    return m.has<ipv6>() ? detail::find_extension(m.get<ipv6>(), number, Need) : nullptr;
  } else if constexpr (family == header_family::icmp_message) {
    return detail::find_message(detail::whole<icmp>(m), number, number, Need);
  } else if constexpr (family == header_family::icmpv6_message) {
    return detail::find_message(detail::whole<icmpv6>(m), number, number, Need);
  } else if constexpr (family == header_family::nd_option) {
    return detail::find_nd_option(detail::whole<icmpv6>(m), number, Need);
  } else if constexpr (family == header_family::gre_word) {
    return detail::find_gre_word(detail::whole<gre>(m), number);
  } else if constexpr (H == header::icmp_echo) {
    return detail::find_echo(detail::whole<icmp>(m), Need);
  } else if constexpr (H == header::icmpv6_echo) {
    return detail::find_message(detail::whole<icmpv6>(m), 128, 129, Need);
  } else if constexpr (H == header::icmpv6_target) {
    return detail::find_target(detail::whole<icmpv6>(m), Need);
  } else {
    return m.at<H, Need>();
  }
}

}  // namespace runnel::match

#endif

// ==== runnel/match/value.hpp =========================================================================================
// Values in match expressions: each becomes a key, a number that fields are compared as; what can never be a value of
// the field is a compile error.
#ifndef RUNNEL_MATCH_VALUE_HPP
#define RUNNEL_MATCH_VALUE_HPP

#include <cstddef>      // byte, size_t
#include <cstdint>      // int64_t, uint64_t
#include <type_traits>  // is_same_v, is_integral_v, is_enum_v, is_convertible_v, conditional_t

namespace runnel {

/// The numbers from `first` to `last`, both included, for `.in(...)`: ports, addresses, lengths.
template <class First, class Last>
struct range_of {
  /// The smallest value.
  First first;
  /// The largest value.
  Last last;
};
/// The values from `first` to `last`, both included.
template <class First, class Last>
[[nodiscard]] constexpr range_of<First, Last> range(First first, Last last) noexcept {
  return {first, last};
}

/// What match expressions are made of; users name the fields of headers, `rules` and `when`.
namespace match {

/// Something that has a value in a packet, perhaps: a field, `meta::mark`, a masked field. A type of your own is one
/// when it derives from `match::operand` of itself, names its `value_type` and `bits`, and has
/// `bool load(const subject&, key_t<value_type>&) const noexcept`, false when the packet has no such value.
template <class T>
concept match_operand = requires {
  requires T::is_match_operand;
  typename T::value_type;
  T::bits;
};

/// What values are compared as: the number in host order, IPv6 addresses as they are.
template <class Value>
using key_t = std::conditional_t<std::is_same_v<Value, ipv6_address>, ipv6_address, std::uint64_t>;

/// What a value is compared as. @{
template <class Number>
  requires(std::is_integral_v<Number> || std::is_enum_v<Number>)
[[nodiscard]] constexpr std::uint64_t to_key(Number v) noexcept {
  return static_cast<std::uint64_t>(v);
}
[[nodiscard]] constexpr std::uint64_t to_key(ipv4_address v) noexcept { return v.value(); }
[[nodiscard]] constexpr std::uint64_t to_key(const mac_address& v) noexcept { return v.value(); }
[[nodiscard]] constexpr ipv6_address to_key(const ipv6_address& v) noexcept { return v; }
/// @}
/// In the order of time, also before the clock's origin.
[[nodiscard]] constexpr std::uint64_t to_key(instant v) noexcept {
  return static_cast<std::uint64_t>(v.ns) ^ std::uint64_t{1} << 63;
}

/// The value that is compared as `k`.
template <class Value>
[[nodiscard]] constexpr Value from_key(const key_t<Value>& k) noexcept {
  if constexpr (std::is_same_v<Value, ipv4_address>) {
    return ipv4_address{static_cast<std::uint32_t>(k)};
  } else if constexpr (std::is_same_v<Value, mac_address>) {
    mac_address a;
    for (std::size_t i = 0; i < 6; ++i) a.octets[i] = static_cast<std::uint8_t>(k >> (40 - 8 * i));
    return a;
  } else if constexpr (std::is_same_v<Value, ipv6_address>) {
    return k;
  } else if constexpr (std::is_same_v<Value, instant>) {
    return instant{static_cast<std::int64_t>(k ^ std::uint64_t{1} << 63)};
  } else {
    return static_cast<Value>(k);
  }
}

/// The order of what is compared. @{
[[nodiscard]] constexpr bool key_less(std::uint64_t a, std::uint64_t b) noexcept { return a < b; }
[[nodiscard]] constexpr bool key_less(const ipv6_address& a, const ipv6_address& b) noexcept {
  return a.high() != b.high() ? a.high() < b.high() : a.low() < b.low();
}
/// @}
/// The bits that are set in both. @{
[[nodiscard]] constexpr std::uint64_t key_and(std::uint64_t a, std::uint64_t b) noexcept { return a & b; }
[[nodiscard]] constexpr ipv6_address key_and(const ipv6_address& a, const ipv6_address& b) noexcept {
  return {a.high() & b.high(), a.low() & b.low()};
}
/// @}
/// The key with its highest `length` of `Bits` bits set: the mask of a prefix.
template <class Key, unsigned Bits>
[[nodiscard]] constexpr Key prefix_mask(unsigned length) noexcept {
  if constexpr (std::is_same_v<Key, ipv6_address>) {
    const std::uint64_t high = length >= 64 ? ~std::uint64_t{0} : ~(~std::uint64_t{0} >> length);
    const std::uint64_t low = length >= 128  ? ~std::uint64_t{0}
                              : length <= 64 ? 0
                                             : ~(~std::uint64_t{0} >> (length - 64));
    return {high, low};
  } else {
    const std::uint64_t all = ~std::uint64_t{0} >> (64 - Bits);
    return length == 0 ? 0 : all & ~(length >= Bits ? std::uint64_t{0} : all >> length);
  }
}

namespace detail {

// Not constexpr: in a constant expression the call is a compile error, with the name as its message; elsewhere it is an
// assertion.
inline void this_value_does_not_fit_into_the_field() noexcept {
  RUNNEL_ASSERT(false && "runnel: this value does not fit into the field");
}
inline void the_first_value_of_this_range_is_above_its_last() noexcept {
  RUNNEL_ASSERT(false && "runnel: the first value of this range is above its last");
}

template <class Operand, class V>
constexpr bool check_type() noexcept {
  using value = typename Operand::value_type;
  if constexpr (match_operand<V>) {
    static_assert(!match_operand<V>, "runnel: a field is compared with a value, not with another field");
    return false;
  } else if constexpr (std::is_same_v<value, ipv4_address>) {
    static_assert(std::is_same_v<V, ipv4_address>,
                  "runnel: this field is an IPv4 address; compare it with one: ip::saddr == ipv4_address{10, 0, 0, 1}");
    return std::is_same_v<V, ipv4_address>;
  } else if constexpr (std::is_same_v<value, ipv6_address>) {
    static_assert(std::is_same_v<V, ipv6_address>,
                  "runnel: this field is an IPv6 address; compare it with an ipv6_address");
    return std::is_same_v<V, ipv6_address>;
  } else if constexpr (std::is_same_v<value, mac_address>) {
    static_assert(std::is_same_v<V, mac_address>,
                  "runnel: this field is a link-layer address; compare it with a mac_address");
    return std::is_same_v<V, mac_address>;
  } else if constexpr (std::is_same_v<value, instant>) {
    static_assert(std::is_same_v<V, instant>, "runnel: this field is a time; compare it with an instant");
    return std::is_same_v<V, instant>;
  } else if constexpr (std::is_enum_v<value>) {
    static_assert(std::is_same_v<V, value>,
                  "runnel: this field has an enumeration of its own; compare it with one of its values");
    return std::is_same_v<V, value>;
  } else {
    constexpr bool number =
        !std::is_same_v<V, bool> && (std::is_integral_v<V> || (std::is_enum_v<V> && std::is_convertible_v<V, value>));
    static_assert(number,
                  "runnel: this field is a number; compare it with an integer (with a mask, write the parentheses: "
                  "(tcp::flags & tcp_flags::syn) == tcp_flags::syn)");
    return number;
  }
}

// The value as a key of the operand. A number that the field cannot hold is an error in constant evaluation and an
// assertion at run time; as numbers are compared in 64 bits, it is then just never equal.
template <class Operand, class V>
[[nodiscard]] constexpr key_t<typename Operand::value_type> key_for(const V& v) noexcept {
  if constexpr (!check_type<Operand, V>()) {
    return {};
  } else if constexpr (std::is_same_v<key_t<typename Operand::value_type>, ipv6_address>) {
    return v;
  } else {
    const std::uint64_t k = to_key(v);
    if (k > ~std::uint64_t{0} >> (64 - Operand::bits)) this_value_does_not_fit_into_the_field();
    return k;
  }
}

}  // namespace detail
}  // namespace match
}  // namespace runnel

#endif

// ==== runnel/match/load.hpp ==========================================================================================
// Reads a field out of a packet: finds its header, checks that all of it is there, and takes the bits.
#ifndef RUNNEL_MATCH_LOAD_HPP
#define RUNNEL_MATCH_LOAD_HPP

#include <cstddef>      // byte, size_t
#include <cstdint>      // uint64_t
#include <type_traits>  // is_same_v

namespace runnel::match {

namespace detail {

// `N` bytes, first one most significant.
template <std::size_t N>
[[nodiscard]] RUNNEL_INLINE constexpr std::uint64_t load_be(const std::byte* p) noexcept {
  static_assert(N >= 1 && N <= 8);
  if constexpr (N == 1) return load_u8(p);
  else if constexpr (N == 2) return load_be16(p);
  else if constexpr (N == 3) return load_be24(p);
  else if constexpr (N == 4) return load_be32(p);
  else if constexpr (N == 8) return load_be64(p);
  else return load_be<4>(p) << (8 * (N - 4)) | load_be<N - 4>(p + 4);
}
template <unsigned Offset, unsigned Bits, class Key>
[[nodiscard]] RUNNEL_INLINE constexpr Key take_bits(const std::byte* header) noexcept {
  const std::byte* p = header + Offset / 8;
  if constexpr (std::is_same_v<Key, ipv6_address>) {
    static_assert(Offset % 8 == 0 && Bits == 128);
    return ipv6_address::load(p);
  } else {
    constexpr unsigned first = Offset % 8;
    constexpr unsigned size = (first + Bits + 7) / 8;
    return load_be<size>(p) >> (size * 8 - first - Bits) & ~std::uint64_t{0} >> (64 - Bits);
  }
}

template <header Header, unsigned Offset, unsigned Bits, class Value>
[[nodiscard]] RUNNEL_INLINE constexpr bool load_field(const header_map& m, const field<Header, Offset, Bits, Value>&,
                                                      key_t<Value>& to) noexcept {
  constexpr std::size_t needed = (Offset + Bits + 7) / 8;
  constexpr std::size_t fixed = fixed_size(Header);
  const std::byte* p = locate<Header, (needed > fixed ? needed : fixed)>(m);
  if (p == nullptr) return false;
  to = take_bits<Offset, Bits, key_t<Value>>(p);
  return true;
}

}  // namespace detail

/// The value of an operand in a packet. False, and `to` as it was, when the packet has none.
template <header Header, unsigned Offset, unsigned Bits, class Value>
[[nodiscard]] RUNNEL_INLINE constexpr bool load(const subject& s, const field<Header, Offset, Bits, Value>& f,
                                                key_t<Value>& to) noexcept {
  return detail::load_field(s.headers, f, to);
}
/// Of a field inside a tunnel. The packet inside is dissected anew each time.
template <tunnel Around, class Field>
[[nodiscard]] constexpr bool load(const subject& s, const inner_field<Around, Field>& f,
                                  key_t<typename Field::value_type>& to) noexcept {
  return detail::load_field(detail::inside_of<Around>(s.headers), f.inside, to);
}
/// Loads a value in the form in which it is compared. False when the packet has no such value.
template <match_operand Operand>
  requires requires(const Operand& o, const subject& s, key_t<typename Operand::value_type>& to) { o.load(s, to); }
[[nodiscard]] RUNNEL_INLINE constexpr bool load(const subject& s, const Operand& o,
                                                key_t<typename Operand::value_type>& to) noexcept {
  return o.load(s, to);
}

}  // namespace runnel::match

#endif

// ==== runnel/match/expression.hpp ====================================================================================
// Match expressions: comparisons of fields, joined with && || !, as ordinary values. Each is a tree of the types
// below, which is evaluated inline, printed as nft syntax, and can be walked by whoever translates it.
//
//     tcp::dport == 22 && ip::saddr.in(net("10.0.0.0/8"))
//     (tcp::flags & (tcp_flags::syn | tcp_flags::ack)) == tcp_flags::syn
//     has<udp> && !(meta::mark == 7)
//     tcp::option::maxseg::size > 1400 || has<ip::option::rr> || vxlan::inner(ip::saddr) == ipv4_address{10, 0, 0, 1}
//
// A comparison with a field of a header that the packet does not have is false, `!=` too: as in nft, where the
// comparison implies the header. `!(...)` is plain negation: `!(tcp::dport == 22)` holds for every UDP packet.
#ifndef RUNNEL_MATCH_EXPRESSION_HPP
#define RUNNEL_MATCH_EXPRESSION_HPP

#include <cstdint>  // uint8_t, uint16_t

namespace runnel {
namespace match {

/// A condition on a packet. A type of your own is one when it says `static constexpr bool is_match_expression = true`,
/// has `bool operator()(const subject&) const noexcept`, and derives from `match::expression_operators`.
template <class T>
concept match_expression = requires { requires T::is_match_expression; };

/// Base that makes && || ! found.
struct expression_operators {};

/// How two values are compared.
enum class relation : std::uint8_t { equal, not_equal, less, less_equal, greater, greater_equal };

/// The relation that holds when `r` does not.
[[nodiscard]] constexpr relation opposite(relation r) noexcept {
  switch (r) {
    case relation::equal: return relation::not_equal;
    case relation::not_equal: return relation::equal;
    case relation::less: return relation::greater_equal;
    case relation::less_equal: return relation::greater;
    case relation::greater: return relation::less_equal;
    case relation::greater_equal: break;
  }
  return relation::less;
}

/// `tcp::dport == 22`.
template <class Operand, relation Relation>
struct comparison : expression_operators {
  /// What the library knows it by. @{
  static constexpr bool is_match_expression = true;
  using operand_type = Operand;
  /// @}
  /// What its values are compared as.
  using key = key_t<typename Operand::value_type>;
  /// How both sides are compared.
  static constexpr relation how = Relation;

  /// Use the operators of this namespace.
  constexpr comparison(const Operand& o, const key& k) noexcept : left(o), right(k) {}
  /// Whether it holds for a packet.
  [[nodiscard]] RUNNEL_INLINE constexpr bool operator()(const subject& s) const noexcept {
    key k{};
    if (!load(s, left, k)) return false;
    if constexpr (Relation == relation::equal) return k == right;
    else if constexpr (Relation == relation::not_equal) return !(k == right);
    else if constexpr (Relation == relation::less) return key_less(k, right);
    else if constexpr (Relation == relation::less_equal) return !key_less(right, k);
    else if constexpr (Relation == relation::greater) return key_less(right, k);
    else return !key_less(k, right);
  }

  /// What is compared, and with what. @{
  [[no_unique_address]] Operand left;
  key right;
  /// @}
};

/// `tcp::flags & mask`: an operand again.
template <class Operand>
struct masked : operand<masked<Operand>> {
  /// What the library knows it by.
  using operand_type = Operand;
  /// The type of its values, and what they are compared as. @{
  using value_type = typename Operand::value_type;
  using key = key_t<value_type>;
  /// @}
  /// How many bits the value has.
  static constexpr unsigned bits = Operand::bits;

  /// Use the operators of this namespace.
  constexpr masked(const Operand& o, const key& k) noexcept : whole(o), mask(k) {}
  /// Loads the masked value; false when the packet has none.
  [[nodiscard]] RUNNEL_INLINE constexpr bool load(const subject& s, key& to) const noexcept {
    key k{};
    if (!match::load(s, whole, k)) return false;
    to = key_and(k, mask);
    return true;
  }

  /// What is masked, and by what. @{
  [[no_unique_address]] Operand whole;
  key mask;
  /// @}
};

/// `has<tcp>`.
template <header Header>
struct has_header : expression_operators {
  /// What the library knows it by.
  static constexpr bool is_match_expression = true;
  /// Which header.
  static constexpr header in_header = Header;

  /// Whether it holds for a packet.
  [[nodiscard]] RUNNEL_INLINE constexpr bool operator()(const subject& s) const noexcept {
    return locate<Header, fixed_size(Header)>(s.headers) != nullptr;
  }
};

/// `left && right`.
template <class Left, class Right>
struct both : expression_operators {
  /// What the library knows it by.
  static constexpr bool is_match_expression = true;

  /// Use the operators of this namespace.
  constexpr both(const Left& l, const Right& r) noexcept : left(l), right(r) {}
  /// Whether it holds for a packet.
  [[nodiscard]] RUNNEL_INLINE constexpr bool operator()(const subject& s) const noexcept { return left(s) && right(s); }

  /// Its parts. @{
  Left left;
  Right right;
  /// @}
};

/// `left || right`.
template <class Left, class Right>
struct either : expression_operators {
  /// What the library knows it by.
  static constexpr bool is_match_expression = true;

  /// Use the operators of this namespace.
  constexpr either(const Left& l, const Right& r) noexcept : left(l), right(r) {}
  /// Whether it holds for a packet.
  [[nodiscard]] RUNNEL_INLINE constexpr bool operator()(const subject& s) const noexcept { return left(s) || right(s); }

  /// Its parts. @{
  Left left;
  Right right;
  /// @}
};

/// `!inner`.
template <class Inner>
struct negation : expression_operators {
  /// What the library knows it by.
  static constexpr bool is_match_expression = true;

  /// Use the operators of this namespace.
  constexpr explicit negation(const Inner& e) noexcept : inner(e) {}
  /// Whether it holds for a packet.
  [[nodiscard]] RUNNEL_INLINE constexpr bool operator()(const subject& s) const noexcept { return !inner(s); }

  /// What is negated.
  Inner inner;
};

/// What matches every packet: the condition of `otherwise`.
struct always : expression_operators {
  /// What the library knows it by.
  static constexpr bool is_match_expression = true;
  /// Holds for every packet.
  [[nodiscard]] RUNNEL_INLINE constexpr bool operator()(const subject&) const noexcept { return true; }
};

/// Compares a value of the packet with a constant. A packet without the header meets no comparison. @{
template <match_operand L, class R>
[[nodiscard]] constexpr comparison<L, relation::equal> operator==(const L& l, const R& r) noexcept {
  return {l, detail::key_for<L>(r)};
}
template <match_operand L, class R>
[[nodiscard]] constexpr comparison<L, relation::not_equal> operator!=(const L& l, const R& r) noexcept {
  return {l, detail::key_for<L>(r)};
}
template <match_operand L, class R>
[[nodiscard]] constexpr comparison<L, relation::less> operator<(const L& l, const R& r) noexcept {
  return {l, detail::key_for<L>(r)};
}
template <match_operand L, class R>
[[nodiscard]] constexpr comparison<L, relation::less_equal> operator<=(const L& l, const R& r) noexcept {
  return {l, detail::key_for<L>(r)};
}
template <match_operand L, class R>
[[nodiscard]] constexpr comparison<L, relation::greater> operator>(const L& l, const R& r) noexcept {
  return {l, detail::key_for<L>(r)};
}
template <match_operand L, class R>
[[nodiscard]] constexpr comparison<L, relation::greater_equal> operator>=(const L& l, const R& r) noexcept {
  return {l, detail::key_for<L>(r)};
}
/// @}
/// The value under a mask: `(tcp::flags & tcp_flags::syn) == 0`.
template <match_operand L, class R>
[[nodiscard]] constexpr masked<L> operator&(const L& l, const R& mask) noexcept {
  return {l, detail::key_for<L>(mask)};
}

/// Both, either, and not. @{
template <match_expression L, match_expression R>
[[nodiscard]] constexpr both<L, R> operator&&(const L& l, const R& r) noexcept {
  return {l, r};
}
template <match_expression L, match_expression R>
[[nodiscard]] constexpr either<L, R> operator||(const L& l, const R& r) noexcept {
  return {l, r};
}
template <match_expression E>
[[nodiscard]] constexpr negation<E> operator!(const E& e) noexcept {
  return negation<E>{e};
}
/// @}

}  // namespace match

/// Whether the packet has the header of view `V`, all of its fixed part: the packets for which a handler with such a
/// parameter runs. In a later fragment of a datagram there is no transport header; `meta::l4proto` still knows what
/// it belongs to. Options and extension headers are asked for alike: `has<tcp::option::sack_perm>`.
template <class V>
  requires requires { V::in_header; }
inline constexpr match::has_header<V::in_header> has{};

/// The fields that TCP and UDP share: `th::dport == 53` is about both.
struct th {
  /// What the library asks of a header view; see `header_view`.
  static constexpr header in_header = header::th;
  /// A field, for match expressions. @{
  static constexpr field<header::th, 0, 16, std::uint16_t> sport{"th sport"};
  static constexpr field<header::th, 16, 16, std::uint16_t> dport{"th dport"};
  /// @}
};

}  // namespace runnel

#endif

// ==== runnel/match/hash_set.hpp ======================================================================================
// A set of values that changes at run time, in memory of fixed size: addresses or numbers, found with one hash.
//
// Open addressing: a value lies in the slot that its hash names, or in the next free one behind it. Two thirds of the
// slots are used at most, so a search ends after few steps, mostly in the cache line where it began. Erasing moves the
// values behind back into the hole; there are no tombstones, and a set does not get slower with its age.
//
// The hash depends on a seed, so that others cannot choose addresses that meet in one slot: take it from a random
// source. It is no cryptographic hash; who can watch lookup times closely might still learn something of it.
#ifndef RUNNEL_MATCH_HASH_SET_HPP
#define RUNNEL_MATCH_HASH_SET_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint64_t

namespace runnel {
namespace match::detail {

[[nodiscard]] constexpr std::uint64_t hash_key(std::uint64_t k, std::uint64_t seed) noexcept { return mix(k ^ seed); }
[[nodiscard]] constexpr std::uint64_t hash_key(const ipv6_address& k, std::uint64_t seed) noexcept {
  return mix(k.low() + mix(k.high() ^ seed));
}
template <class Key>
  requires requires(const Key& k) { to_key(k); }
[[nodiscard]] constexpr std::uint64_t hash_value(const Key& k, std::uint64_t seed) noexcept {
  return hash_key(to_key(k), seed);
}
template <class Address>
[[nodiscard]] constexpr std::uint64_t hash_value(const basic_prefix<Address>& p, std::uint64_t seed) noexcept {
  return hash_key(to_key(p.address()), seed + p.length() * std::uint64_t{0x9e37'79b9'7f4a'7c15});
}

}  // namespace match::detail

/// A set in slots that the caller owns (`hash_set_of` has its own). `Key` is an integer, an address, or a prefix. For
/// one thread, or for several that only ask. Never grows, never allocates.
///
///     static hash_set_of<ipv4_address, 10'000> blocklist{"blocklist", seed};
///     if (!blocklist.insert({192, 0, 2, 1})) ...             // it is full
///     constexpr auto policy = rules(when(ip::saddr.in(blocklist)) >> drop);
template <class Key>
class hash_set {
 public:
  /// The type of its values.
  using value_type = Key;
  /// One place in the memory of a set: 8 bytes for an IPv4 address, 24 for an IPv6 address.
  struct slot {
    /// The value.
    Key key{};
    /// Whether there is one.
    bool used = false;
  };

  /// How many slots hold `n` values: a power of two, one and a half times as many as values at least, three times at
  /// most.
  [[nodiscard]] static constexpr std::size_t slots_for(std::size_t n) noexcept {
    std::size_t slots = 2;
    while (slots - slots / 3 - 1 < n) slots *= 2;
    return slots;
  }
  /// An empty set in `slots` slots at `memory`, of which the largest power of two is used, at least 2; they must
  /// outlive it. `name` is shown when rules are printed, and must outlive it too.
  constexpr hash_set(const char* name, slot* memory, std::size_t slots, std::uint64_t seed) noexcept
      : slots_(memory), mask_(1), seed_(seed), name_(name) {
    RUNNEL_ASSERT(slots >= 2);
    while (mask_ * 2 + 1 < slots) mask_ = mask_ * 2 + 1;
  }
  hash_set(const hash_set&) = delete;
  hash_set& operator=(const hash_set&) = delete;

  /// Whether a value is in the set.
  [[nodiscard]] constexpr bool contains(const Key& k) const noexcept { return slots_[find(k)].used; }
  /// Adds a value. True when it is in the set now, be it that it was before; false, and nothing changed, when the set
  /// is full.
  [[nodiscard]] constexpr bool insert(const Key& k) noexcept {
    const std::size_t i = find(k);
    if (slots_[i].used) return true;
    if (size_ == capacity()) return false;
    slots_[i] = {k, true};
    ++size_;
    return true;
  }
  /// Removes a value. False when it was not there.
  constexpr bool erase(const Key& k) noexcept {
    std::size_t hole = find(k);
    if (!slots_[hole].used) return false;
    for (std::size_t i = next(hole); slots_[i].used; i = next(i)) {
      // A value may move back to the hole unless its own slot lies behind the hole.
      if (((i - home(slots_[i].key)) & mask_) < ((i - hole) & mask_)) continue;
      slots_[hole] = slots_[i];
      hole = i;
    }
    slots_[hole].used = false;
    --size_;
    return true;
  }
  /// Removes all values.
  constexpr void clear() noexcept {
    for (std::size_t i = 0; i <= mask_; ++i) slots_[i].used = false;
    size_ = 0;
  }
  /// How many values it holds.
  [[nodiscard]] constexpr std::size_t size() const noexcept { return size_; }
  /// How many values it holds at most. One slot is always free, so that every search ends.
  [[nodiscard]] constexpr std::size_t capacity() const noexcept { return mask_ - (mask_ + 1) / 3; }
  /// What it is called in printed rules.
  [[nodiscard]] constexpr const char* name() const noexcept { return name_; }
  /// Calls `f(value)` for each value, in no order.
  template <class F>
  constexpr void for_each(F f) const {
    for (std::size_t i = 0; i <= mask_; ++i)
      if (slots_[i].used) f(slots_[i].key);
  }
  /// Asks for the memory where a value would be, for `contains` a little later.
  void prefetch(const Key& k) const noexcept { prefetch_to_read(slots_ + home(k)); }

 private:
  [[nodiscard]] constexpr std::size_t home(const Key& k) const noexcept {
    return static_cast<std::size_t>(match::detail::hash_value(k, seed_)) & mask_;
  }
  [[nodiscard]] constexpr std::size_t next(std::size_t i) const noexcept { return (i + 1) & mask_; }
  // The slot with the value, or the free one where it belongs.
  [[nodiscard]] constexpr std::size_t find(const Key& k) const noexcept {
    std::size_t i = home(k);
    while (slots_[i].used && !(slots_[i].key == k)) i = next(i);
    return i;
  }

  slot* slots_;
  std::size_t mask_;
  std::size_t size_ = 0;
  std::uint64_t seed_;
  const char* name_;
};

namespace detail {
template <class Slot, std::size_t N>
struct slot_storage {
  Slot slots[N]{};
};
}  // namespace detail

/// A set with room of its own for `Capacity` values.
template <class Key, std::size_t Capacity>
class hash_set_of : detail::slot_storage<typename hash_set<Key>::slot, hash_set<Key>::slots_for(Capacity)>,
                    public hash_set<Key> {
  static constexpr std::size_t slot_count = hash_set<Key>::slots_for(Capacity);
  using storage = detail::slot_storage<typename hash_set<Key>::slot, slot_count>;

 public:
  /// An empty set. `name` must outlive it.
  constexpr explicit hash_set_of(const char* name, std::uint64_t seed = 0) noexcept
      : hash_set<Key>(name, storage::slots, slot_count, seed) {}
};

}  // namespace runnel

#endif

// ==== runnel/match/interval_set.hpp ==================================================================================
// A set of intervals of numbers or addresses, known to the compiler or changed at run time: port ranges, address pools.
#ifndef RUNNEL_MATCH_INTERVAL_SET_HPP
#define RUNNEL_MATCH_INTERVAL_SET_HPP

#include <cstddef>      // size_t
#include <cstdint>      // uint64_t
#include <type_traits>  // is_same_v, is_integral_v

namespace runnel {

/// At most `Capacity` intervals in rising order, none touching the next: what is inserted grows together with its
/// neighbours. A lookup is a search without branches, log2 of the intervals in steps; a change moves the intervals
/// behind. Takes 16 bytes an interval (32 for IPv6). For one thread, or for several that only ask.
///
///     static constexpr interval_set<std::uint16_t, 2> games{"games", range(3074, 3076), range(27000, 27100)};
///     when(udp::dport.in(games)) >> accept
template <class Value, std::size_t Capacity>
class interval_set {
 public:
  /// The type of its values, and what they are compared as. @{
  using value_type = Value;
  using key = match::key_t<Value>;
  /// @}

  /// `name` is shown when rules are printed, and must outlive the set. A range whose last value is below its first is
  /// an error in constant evaluation and an assertion at run time.
  template <class... First, class... Last>
  constexpr explicit interval_set(const char* name, const range_of<First, Last>&... ranges) noexcept : name_(name) {
    static_assert(sizeof...(ranges) <= Capacity, "runnel: more intervals than the set has room for");
    // There is room for all of them, so that is the only way to fail.
    ((insert(ranges) ? (void)0 : match::detail::the_first_value_of_this_range_is_above_its_last()), ...);
  }

  /// Whether a value is in one of the intervals.
  [[nodiscard]] constexpr bool contains(const Value& v) const noexcept {
    const key k = match::to_key(v);
    const std::size_t at = not_above(k);
    return at != 0 && !match::key_less(last_[at - 1], k);
  }
  /// Adds all values from `first` to `last`. True when they are in the set now; false, and nothing changed, when there
  /// is no room for one more interval, or `last` is below `first`.
  [[nodiscard]] constexpr bool insert(const Value& first, const Value& last) noexcept {
    key a = match::to_key(first), b = match::to_key(last);
    if (match::key_less(b, a)) return false;
    // Intervals [from, to) touch the new one.
    std::size_t from = 0;
    while (from < size_ && is_apart(last_[from], a)) ++from;
    std::size_t to = from;
    while (to < size_ && !is_apart(b, first_[to])) ++to;
    if (from == to && size_ == Capacity) return false;
    if (from != to) {
      if (match::key_less(first_[from], a)) a = first_[from];
      if (match::key_less(b, last_[to - 1])) b = last_[to - 1];
    }
    replace(from, to, 1);
    first_[from] = a;
    last_[from] = b;
    return true;
  }
  /// Removes all values from `first` to `last`, whether they were there or not. False, and nothing changed, when that
  /// would split an interval and there is no room for one more, or `last` is below `first`.
  [[nodiscard]] constexpr bool erase(const Value& first, const Value& last) noexcept {
    const key a = match::to_key(first), b = match::to_key(last);
    if (match::key_less(b, a)) return false;
    std::size_t from = 0;
    while (from < size_ && match::key_less(last_[from], a)) ++from;
    std::size_t to = from;
    while (to < size_ && !match::key_less(b, first_[to])) ++to;
    if (from == to) return true;
    const key begin = first_[from], end = last_[to - 1];
    const bool left = match::key_less(begin, a), right = match::key_less(b, end);
    const std::size_t kept = (left ? std::size_t{1} : 0) + (right ? std::size_t{1} : 0);
    if (size_ - (to - from) + kept > Capacity) return false;
    replace(from, to, kept);
    if (left) {
      first_[from] = begin;
      last_[from] = before(a);
      ++from;
    }
    if (right) {
      first_[from] = behind(b);
      last_[from] = end;
    }
    return true;
  }
  /// The same with a `range(first, last)`, whose ends must be values of the set's type.
  template <class First, class Last>
  [[nodiscard]] constexpr bool insert(const range_of<First, Last>& r) noexcept {
    return insert(value_of(r.first), value_of(r.last));
  }
  /// The same for what `range` returns.
  template <class First, class Last>
  [[nodiscard]] constexpr bool erase(const range_of<First, Last>& r) noexcept {
    return erase(value_of(r.first), value_of(r.last));
  }
  /// Removes all intervals.
  constexpr void clear() noexcept { size_ = 0; }
  /// How many intervals it holds.
  [[nodiscard]] constexpr std::size_t size() const noexcept { return size_; }
  /// How many intervals fit.
  [[nodiscard]] static constexpr std::size_t capacity() noexcept { return Capacity; }
  /// What it is called in printed rules.
  [[nodiscard]] constexpr const char* name() const noexcept { return name_; }
  /// Calls `f(first, last)` for each interval in rising order.
  template <class F>
  constexpr void for_each(F f) const {
    for (std::size_t i = 0; i < size_; ++i) f(match::from_key<Value>(first_[i]), match::from_key<Value>(last_[i]));
  }

 private:
  template <class V>
  static constexpr Value value_of(const V& v) noexcept {
    if constexpr (std::is_integral_v<Value>) {
      static_assert(std::is_integral_v<V>, "runnel: this set holds numbers");
      const Value same = static_cast<Value>(v);
      if (match::to_key(same) != match::to_key(v)) match::detail::this_value_does_not_fit_into_the_field();
      return same;
    } else {
      static_assert(std::is_same_v<V, Value>, "runnel: this set holds addresses of another kind");
      return v;
    }
  }
  // How many intervals begin at or below `k`.
  [[nodiscard]] constexpr std::size_t not_above(const key& k) const noexcept {
    std::size_t at = 0;
    for (std::size_t step = top_bit(); step != 0; step /= 2)
      if (at + step <= size_ && !match::key_less(k, first_[at + step - 1])) at += step;
    return at;
  }
  static constexpr std::size_t top_bit() noexcept {
    std::size_t b = 1;
    while (b * 2 <= Capacity) b *= 2;
    return b;
  }
  static constexpr std::uint64_t behind(std::uint64_t k) noexcept { return k + 1; }
  static constexpr std::uint64_t before(std::uint64_t k) noexcept { return k - 1; }
  static constexpr ipv6_address behind(const ipv6_address& k) noexcept {
    return {k.high() + (k.low() == ~std::uint64_t{0} ? 1u : 0u), k.low() + 1};
  }
  static constexpr ipv6_address before(const ipv6_address& k) noexcept {
    return {k.high() - (k.low() == 0 ? 1u : 0u), k.low() - 1};
  }
  // Whether at least one value lies between `a` and `b`.
  static constexpr bool is_apart(const key& a, const key& b) noexcept {
    return match::key_less(a, b) && !(behind(a) == b);
  }
  // Makes room for `n` intervals in the place of those in [from, to). Rare, and not inlined: GCC 12 cannot see there
  // that `to` is at most `size_`, and warns.
  [[gnu::noinline]] constexpr void replace(std::size_t from, std::size_t to, std::size_t n) noexcept {
    const std::size_t new_end = from + n, tail = size_ - to;
    if (new_end < to) {
      for (std::size_t i = 0; i < tail; ++i) move(to + i, new_end + i);
    } else if (new_end > to) {
      for (std::size_t i = tail; i-- != 0;) move(to + i, new_end + i);
    }
    size_ = new_end + tail;
  }
  constexpr void move(std::size_t from, std::size_t to) noexcept {
    first_[to] = first_[from];
    last_[to] = last_[from];
  }

  key first_[Capacity]{};
  key last_[Capacity]{};
  std::size_t size_ = 0;
  const char* name_;
};

}  // namespace runnel

#endif

// ==== runnel/match/meta.hpp ==========================================================================================
// What is known of a packet beside its header fields, to be used like a field: `meta::mark == 7`. The names are nft's.
#ifndef RUNNEL_MATCH_META_HPP
#define RUNNEL_MATCH_META_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t, uint64_t

namespace runnel {
namespace match {

/// Which value of namespace `meta`.
enum class meta_key : std::uint8_t { length, iif, mark, priority, protocol, nfproto, l4proto, time, hash, queue };

/// The name as nft spells it.
[[nodiscard]] constexpr const char* name(meta_key k) noexcept {
  switch (k) {
    case meta_key::length: return "meta length";
    case meta_key::iif: return "meta iif";
    case meta_key::mark: return "meta mark";
    case meta_key::priority: return "meta priority";
    case meta_key::protocol: return "meta protocol";
    case meta_key::nfproto: return "meta nfproto";
    case meta_key::l4proto: return "meta l4proto";
    case meta_key::time: return "meta time";
    case meta_key::hash: return "meta hash";
    case meta_key::queue: return "meta queue";
  }
  return "meta";
}

namespace detail {

// What the last of the extension headers at `p` announces; `size` bytes are there. In a later fragment that is what
// the fragment header says, as there is nothing to follow behind it.
[[nodiscard]] constexpr std::uint8_t behind_ipv6_extensions(const std::byte* p, std::size_t size) noexcept {
  std::uint8_t number = load_u8(p + 6);
  std::size_t at = 40;
  while (number == 0 || number == 43 || number == 44 || number == 51 || number == 60) {
    if (at + 8 > size) break;
    const std::byte* extension = p + at;
    const std::size_t length = load_u8(extension + 1);
    const bool later_fragment = number == 44 && (load_be16(extension + 2) & 0xfff8u) != 0;
    at += number == 44 ? 8 : number == 51 ? (length + 2) * 4 : (length + 1) * 8;
    number = load_u8(extension);
    if (later_fragment) break;
  }
  return number;
}
[[nodiscard]] constexpr bool l4proto_of(const subject& s, std::uint64_t& to) noexcept {
  const layers& found = s.headers.layers();
  if (found.has(protocol::tcp)) return to = 6, true;
  if (found.has(protocol::udp)) return to = 17, true;
  if (const std::byte* p = s.headers.at<header::ipv4, 20>()) return to = load_u8(p + 9), true;
  if (const std::byte* p = s.headers.at<header::ipv6, 40>())
    return to = behind_ipv6_extensions(p, static_cast<std::size_t>(s.contents.end() - p)), true;
  return false;
}
[[nodiscard]] constexpr std::uint64_t protocol_of(const subject& s) noexcept {
  const layers& found = s.headers.layers();
  if (const std::byte* p = s.headers.at<header::mpls, 4>()) {
    // The type lies right before the stack, but in a cooked header of version 2, which begins with it.
    const bool first_in_sll2 = found.link_kind() == link_type::linux_sll2 && p == s.contents.data() + 20;
    return load_be16(first_in_sll2 ? p - 20 : p - 2);
  }
  if (found.has(protocol::ipv4)) return ethertype::ipv4;
  if (found.has(protocol::ipv6)) return ethertype::ipv6;
  if (found.has(protocol::arp)) return ethertype::arp;
  // What else the type field says that stands right before the network header, or the type of the frame.
  const std::byte* p = s.headers.at<header::ethernet, 14>();
  if (p == nullptr) return 0;
  const std::size_t at = found.link >= 14 ? found.link - std::size_t{2} : std::size_t{12};
  if (at + 2 > static_cast<std::size_t>(s.contents.end() - p)) return 0;
  return load_be16(p + at);
}

}  // namespace detail

/// One of the values in namespace `meta`.
template <meta_key Key, unsigned Bits, class Value>
struct meta_field : operand<meta_field<Key, Bits, Value>> {
  /// The type of its values.
  using value_type = Value;
  /// How many bits the value has, and which it is. @{
  static constexpr unsigned bits = Bits;
  static constexpr meta_key which = Key;
  /// @}

  /// Loads the value; false when the packet has none.
  [[nodiscard]] RUNNEL_INLINE constexpr bool load(const subject& s, std::uint64_t& to) const noexcept {
    if constexpr (Key == meta_key::length) to = s.length;
    else if constexpr (Key == meta_key::iif) to = s.iif;
    else if constexpr (Key == meta_key::mark) to = s.mark;
    else if constexpr (Key == meta_key::priority) to = s.priority;
    else if constexpr (Key == meta_key::time) to = to_key(s.timestamp);
    else if constexpr (Key == meta_key::hash) to = s.flow_hash;
    else if constexpr (Key == meta_key::queue) to = s.queue;
    else if constexpr (Key == meta_key::protocol) to = detail::protocol_of(s);
    else if constexpr (Key == meta_key::l4proto) return detail::l4proto_of(s, to);
    else if constexpr (Key == meta_key::nfproto)
      to = s.headers.layers().has(protocol::ipv4)   ? 2
           : s.headers.layers().has(protocol::ipv6) ? 10
           : s.headers.layers().has(protocol::arp)  ? 3
                                                    : 0;
    return true;
  }
};

}  // namespace match

/// Every packet has all of these but `l4proto`, which only IP has. In an early verdict nobody has set `mark`,
/// `priority` and `hash` yet: they are 0. What connection a packet belongs to is not among them.
namespace meta {

/// Bytes of the packet, link header included.
inline constexpr match::meta_field<match::meta_key::length, 32, std::uint32_t> length{};
/// The interface of its device that it came in by.
inline constexpr match::meta_field<match::meta_key::iif, 16, std::uint16_t> iif{};
/// As `packet::mark()`.
inline constexpr match::meta_field<match::meta_key::mark, 32, std::uint32_t> mark{};
/// As `packet::priority()`.
inline constexpr match::meta_field<match::meta_key::priority, 8, std::uint8_t> priority{};
/// The EtherType of the network header, behind VLAN tags; of the label stack, where there is one; 0 when unknown.
inline constexpr match::meta_field<match::meta_key::protocol, 16, std::uint16_t> protocol{};
/// The family: `nfproto::ipv4`, `nfproto::ipv6`, `nfproto::arp`, or `nfproto::unspec`.
inline constexpr match::meta_field<match::meta_key::nfproto, 8, std::uint8_t> nfproto{};
/// The IP protocol number of the payload, behind IPv6 extension headers; also in later fragments.
inline constexpr match::meta_field<match::meta_key::l4proto, 8, std::uint8_t> l4proto{};
/// When it was received, by the clock of its device. nft counts in seconds, and its clock from 1970: an instant between
/// two seconds prints with a fraction, which nft does not take.
inline constexpr match::meta_field<match::meta_key::time, 64, instant> time{};
/// The flow hash, if the device or an earlier stage computed one. nft knows no such key.
inline constexpr match::meta_field<match::meta_key::hash, 32, std::uint32_t> hash{};
/// The receive queue that it came in by, as `packet::queue()`. nft knows no such key.
inline constexpr match::meta_field<match::meta_key::queue, 8, std::uint8_t> queue{};

}  // namespace meta

/// Values of `meta::nfproto`, as the kernel numbers them.
namespace nfproto {
/// A family. @{
inline constexpr std::uint8_t unspec = 0;
inline constexpr std::uint8_t ipv4 = 2;
inline constexpr std::uint8_t arp = 3;
inline constexpr std::uint8_t ipv6 = 10;
/// @}
}  // namespace nfproto

}  // namespace runnel

#endif

// ==== runnel/match/prefix_set.hpp ====================================================================================
// A set of address blocks that changes at run time, in memory of fixed size: blocklists, bogons, networks of one's own.
//
// One hash table holds all prefixes, each under its address and length. A lookup tries the lengths that are in use,
// the longest first: one probe each, independent of each other, so that the processor overlaps their misses. Real
// lists use a handful of lengths; a list with all of them costs 33 probes (IPv4) or 129 (IPv6).
#ifndef RUNNEL_MATCH_PREFIX_SET_HPP
#define RUNNEL_MATCH_PREFIX_SET_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint32_t, uint64_t

namespace runnel {

/// Prefixes of one kind of address in slots that the caller owns (`prefix_set_of` has its own). For one thread, or for
/// several that only ask. Never grows, never allocates.
///
///     static prefix_set_of<ipv4_address, 1000> bogons{"bogons", seed};
///     bool there_was_room = bogons.insert(net("10.0.0.0/8"));
///     when(ip::saddr.in(bogons)) >> drop
template <class Address>
class prefix_set {
  using table = hash_set<basic_prefix<Address>>;

 public:
  /// The type of its values. @{
  using value_type = Address;
  using prefix_type = basic_prefix<Address>;
  /// @}
  /// How many bits an address has.
  static constexpr unsigned bits = prefix_type::bits;
  /// One place in the memory of a set: 12 bytes for IPv4, 32 for IPv6.
  using slot = typename table::slot;

  /// How many slots hold `n` prefixes: one and a half to three times as many.
  [[nodiscard]] static constexpr std::size_t slots_for(std::size_t n) noexcept { return table::slots_for(n); }
  /// As for `hash_set`.
  constexpr prefix_set(const char* name, slot* memory, std::size_t slots, std::uint64_t seed) noexcept
      : blocks_(name, memory, slots, seed) {}

  /// Whether a prefix in the set covers the address.
  [[nodiscard]] constexpr bool contains(const Address& a) const noexcept { return longest(a) >= 0; }
  /// The length of the longest prefix that covers the address, -1 when none does.
  [[nodiscard]] constexpr int longest(const Address& a) const noexcept {
    for (unsigned w = words; w-- != 0;)
      for (std::uint64_t left = lengths_[w]; left != 0;) {
        const unsigned bit = 63 - static_cast<unsigned>(__builtin_clzll(left));
        left ^= std::uint64_t{1} << bit;
        const unsigned length = w * 64 + bit;
        if (blocks_.contains(prefix_type{a, length})) return static_cast<int>(length);
      }
    return -1;
  }
  /// Adds a prefix. True when it is in the set now, be it that it was before; false, and nothing changed, when the set
  /// is full.
  [[nodiscard]] constexpr bool insert(const prefix_type& p) noexcept {
    const std::size_t before = blocks_.size();
    if (!blocks_.insert(p)) return false;
    const unsigned length = p.length();
    if (blocks_.size() != before && count_[length]++ == 0) lengths_[length / 64] |= std::uint64_t{1} << length % 64;
    return true;
  }
  /// Removes a prefix, the very one. False when it was not there.
  constexpr bool erase(const prefix_type& p) noexcept {
    if (!blocks_.erase(p)) return false;
    const unsigned length = p.length();
    if (--count_[length] == 0) lengths_[length / 64] &= ~(std::uint64_t{1} << length % 64);
    return true;
  }
  /// The same for a prefix of either family: one of the other family is never there, and there is no room for it.
  [[nodiscard]] constexpr bool insert(const prefix& p) noexcept { return is_ours(p) && insert(p.as<Address>()); }
  /// The same for a prefix of either family: one of the other family is never there.
  constexpr bool erase(const prefix& p) noexcept { return is_ours(p) && erase(p.as<Address>()); }
  /// Removes all prefixes.
  constexpr void clear() noexcept {
    blocks_.clear();
    for (std::uint32_t& n : count_) n = 0;
    for (std::uint64_t& word : lengths_) word = 0;
  }
  /// How many prefixes it holds.
  [[nodiscard]] constexpr std::size_t size() const noexcept { return blocks_.size(); }
  /// How many it can hold.
  [[nodiscard]] constexpr std::size_t capacity() const noexcept { return blocks_.capacity(); }
  /// What it is called in printed rules.
  [[nodiscard]] constexpr const char* name() const noexcept { return blocks_.name(); }
  /// Calls `f(prefix)` for each, in no order.
  template <class F>
  constexpr void for_each(F f) const {
    blocks_.for_each(f);
  }

 private:
  static constexpr unsigned words = bits / 64 + 1;
  [[nodiscard]] static constexpr bool is_ours(const prefix& p) noexcept { return bits == 32 ? p.is_v4() : p.is_v6(); }

  table blocks_;
  std::uint64_t lengths_[words]{};   // bit n: there are prefixes of length n
  std::uint32_t count_[bits + 1]{};  // how many of each length
};

/// A prefix set with room of its own for `Capacity` prefixes.
template <class Address, std::size_t Capacity>
class prefix_set_of
    : detail::slot_storage<typename prefix_set<Address>::slot, prefix_set<Address>::slots_for(Capacity)>,
      public prefix_set<Address> {
  static constexpr std::size_t slot_count = prefix_set<Address>::slots_for(Capacity);
  using storage = detail::slot_storage<typename prefix_set<Address>::slot, slot_count>;

 public:
  /// An empty set. `name` must outlive it.
  constexpr explicit prefix_set_of(const char* name, std::uint64_t seed = 0) noexcept
      : prefix_set<Address>(name, storage::slots, slot_count, seed) {}
};

}  // namespace runnel

#endif

// ==== runnel/match/condition_node.hpp ================================================================================
// A match expression as plain data: the nodes of a tree, the values that they compare with, the sets that they ask.
// Whoever translates conditions walks these; `condition` (condition.hpp) makes and holds them.
//
// Children stand before their parents. The right child of `both` and `either`, and the only one of `negation`, is the
// node right before them; `left` says where the other one is; the last node is the root. `tcp dport 22 and not arp`:
//
//     0  comparison tcp dport 22     yes 1     no never
//     1  has arp                     yes never no always
//     2  negation of 1
//     3  both, left 0, right 2
//
// To decide, nobody needs the tree: each node without children says where to go on, `yes` or `no`. Jumps only go
// forward, so that a packet costs at most one test for each.
#ifndef RUNNEL_MATCH_CONDITION_NODE_HPP
#define RUNNEL_MATCH_CONDITION_NODE_HPP

#include <cstddef>      // size_t
#include <cstdint>      // uint8_t, uint16_t, uint64_t
#include <type_traits>  // is_same_v, is_base_of_v

namespace runnel::match {

/// What a node asks. The types of the same names in expression.hpp and in.hpp say what each means.
enum class node_kind : std::uint8_t {
  always,        ///< holds for every packet
  has,           ///< the packet has header `operand.in_header`, `fixed_size` bytes of it
  comparison,    ///< `operand` `how` the one value
  in_range,      ///< `operand` lies from the first of two values to the second
  in_prefix,     ///< the highest `length` bits of `operand` are those of the one value
  in_constants,  ///< `operand` is one of the values, which rise
  in_set,        ///< `operand` is in `set`
  both,          ///< the nodes at `left` and right before this one hold
  either,        ///< one of them holds
  negation,      ///< the node right before this one does not hold
  custom,        ///< an expression of a type of the user's. Only printing makes such a node: a `condition` has none
};
/// What the values of an operand are, as text has them.
enum class value_kind : std::uint8_t { number, ipv4, ipv6, mac, time };

/// What is compared: a header field or a value of namespace `meta`, perhaps inside a tunnel, perhaps under a mask.
struct operand_description {
  /// `field::name`; null for metadata, and for bytes without a name.
  const char* name = nullptr;
  /// The header that the field belongs to; as for `field`.
  header in_header = header::ethernet;
  /// The first bit of the field in it.
  std::uint16_t offset = 0;
  /// How many bits there are: 128 for an IPv6 address, 64 at most otherwise.
  std::uint8_t bits = 0;
  /// What the value is.
  value_kind value = value_kind::number;
  /// Whether it is the value `which` of namespace `meta`, and no field.
  bool is_meta = false;
  /// Which metadata.
  meta_key which = meta_key::length;
  /// Whether the field is one of the packet inside a tunnel.
  bool is_inner = false;
  /// Which tunnel.
  tunnel around = tunnel::vxlan;
  /// Whether a mask is laid over the value first.
  bool is_masked = false;

  /// How many words a value takes.
  [[nodiscard]] constexpr unsigned words() const noexcept { return value == value_kind::ipv6 ? 2 : 1; }
};

/// What is known of the type of a set.
enum class set_kind : std::uint8_t {
  hash_set,
  prefix_set,
  interval_set,
  other,  ///< one of the user's: its values are not known
};
/// What a set holds, in the form that all sets have: the values from `first` to `last`. Numbers are in the lower half.
struct set_element {
  /// The smallest and the largest value. @{
  ipv6_address first;
  ipv6_address last;
  /// @}
  /// Of a prefix its length; else all bits of the value.
  unsigned length;
};
/// What can be done with a set whose type is not known any more.
struct set_functions {
  /// What kind of a set it is.
  set_kind kind;
  /// What its values are, and how many bits they have. @{
  value_kind value;
  std::uint8_t bits;
  /// @}
  /// Whether a value is in it: the one for IPv6 addresses or the one for all others; the other one is null. @{
  bool (*contains)(const void* set, std::uint64_t key) noexcept;
  bool (*contains_ipv6)(const void* set, const ipv6_address& key) noexcept;
  /// @}
  /// What it is called: "set" when it says nothing.
  const char* (*name)(const void* set) noexcept;
  /// Calls `take(context, element)` for each of its elements. Null for a set of kind `other`.
  void (*for_each)(const void* set, void* context, void (*take)(void* context, const set_element&));
};

namespace detail {

template <class Value>
inline constexpr value_kind kind_of_value = std::is_same_v<Value, ipv4_address>   ? value_kind::ipv4
                                            : std::is_same_v<Value, ipv6_address> ? value_kind::ipv6
                                            : std::is_same_v<Value, mac_address>  ? value_kind::mac
                                            : std::is_same_v<Value, instant>      ? value_kind::time
                                                                                  : value_kind::number;
template <class Value>
inline constexpr std::uint8_t bits_of_value =
    static_cast<std::uint8_t>(std::is_same_v<Value, mac_address> ? 48 : sizeof(Value) * 8);

[[nodiscard]] constexpr ipv6_address wide(std::uint64_t k) noexcept { return {0, k}; }
[[nodiscard]] constexpr ipv6_address wide(const ipv6_address& k) noexcept { return k; }

template <class T>
inline constexpr bool is_interval_set = false;
template <class V, std::size_t N>
inline constexpr bool is_interval_set<interval_set<V, N>> = true;
// The type of the values in a set; that of what it is asked about when it does not say.
template <class Set, class Value>
struct stored_in {
  using type = Value;
};
template <class Set, class Value>
  requires requires { typename Set::value_type; }
struct stored_in<Set, Value> {
  using type = typename Set::value_type;
};

// The functions of a set that is asked about values of type `Value`.
template <class Set, class Value>
struct set_access {
  using key = key_t<Value>;
  using stored = typename stored_in<Set, Value>::type;

  static const Set& of(const void* set) noexcept { return *static_cast<const Set*>(set); }
  static bool contains(const void* set, std::uint64_t k) noexcept {
    if constexpr (std::is_same_v<key, std::uint64_t>)
      return to_key(from_key<stored>(k)) == k && of(set).contains(from_key<stored>(k));
    else return false;
  }
  static bool contains_ipv6(const void* set, const ipv6_address& k) noexcept {
    if constexpr (std::is_same_v<key, ipv6_address>) return of(set).contains(k);
    else return false;
  }
  static const char* name(const void* set) noexcept {
    if constexpr (requires { static_cast<const char*>(of(set).name()); }) return of(set).name();
    else return "set";
  }
  static constexpr set_kind kind_of() noexcept {
    if constexpr (is_interval_set<Set>) return set_kind::interval_set;
    else if constexpr (std::is_base_of_v<hash_set<stored>, Set>) return set_kind::hash_set;
    else if constexpr (std::is_same_v<stored, ipv4_address> || std::is_same_v<stored, ipv6_address>)
      return std::is_base_of_v<prefix_set<stored>, Set> ? set_kind::prefix_set : set_kind::other;
    else return set_kind::other;
  }
  static constexpr set_kind kind = kind_of();

  static void for_each(const void* set, void* context, void (*take)(void*, const set_element&)) {
    constexpr unsigned all = bits_of_value<stored>;
    if constexpr (kind == set_kind::hash_set) {
      of(set).for_each([&](const stored& v) { take(context, {wide(to_key(v)), wide(to_key(v)), all}); });
    } else if constexpr (kind == set_kind::prefix_set) {
      of(set).for_each([&](const basic_prefix<stored>& p) {
        const ipv6_address first = wide(to_key(p.address()));
        const ipv6_address mask = wide(prefix_mask<key_t<stored>, all>(p.length()));
        const ipv6_address whole = wide(prefix_mask<key_t<stored>, all>(all));
        take(context, {first,
                       {first.high() | (whole.high() & ~mask.high()), first.low() | (whole.low() & ~mask.low())},
                       p.length()});
      });
    } else if constexpr (kind == set_kind::interval_set) {
      of(set).for_each([&](const auto& a, const auto& b) { take(context, {wide(to_key(a)), wide(to_key(b)), all}); });
    }
  }
};
template <class Set, class Value>
inline constexpr set_functions functions_of_set{
    set_access<Set, Value>::kind,
    kind_of_value<Value>,
    bits_of_value<Value>,
    std::is_same_v<Value, ipv6_address> ? nullptr : &set_access<Set, Value>::contains,
    std::is_same_v<Value, ipv6_address> ? &set_access<Set, Value>::contains_ipv6 : nullptr,
    &set_access<Set, Value>::name,
    set_access<Set, Value>::kind == set_kind::other ? nullptr : &set_access<Set, Value>::for_each};

}  // namespace detail

/// A set whose type is not known any more, by pointer: the set must outlive it, and may change.
struct set_reference {
  /// The set; null for none.
  const void* set = nullptr;
  /// What can be done with it.
  const set_functions* functions = nullptr;

  constexpr set_reference() noexcept = default;
  /// Of a set and its functions.
  constexpr set_reference(const void* s, const set_functions* f) noexcept : set(s), functions(f) {}
  /// Of a set of the library, or one of your own that names its `value_type`. Implicit, for lists of named sets.
  template <class Set>
    requires requires { typename Set::value_type; }
  constexpr set_reference(const Set& s) noexcept
      : set(&s), functions(&detail::functions_of_set<Set, typename Set::value_type>) {}

  /// What the set is called.
  [[nodiscard]] const char* name() const noexcept { return functions->name(set); }
};

/// One node of a condition. Of its members those count that its kind names.
struct condition_node {
  /// What is asked about; of `has` its `in_header`.
  operand_description operand{};
  /// The set of `in_set`.
  set_reference set{};
  /// What the node asks.
  node_kind kind = node_kind::always;
  /// How `comparison` compares.
  relation how = relation::equal;
  /// Of the kinds with `in`: false for `not_in`.
  bool inside = true;
  /// The length of the prefix of `in_prefix`.
  std::uint8_t length = 0;
  /// Where its words begin: the mask, if there is one, then the values. Each takes `operand.words()`.
  std::uint16_t word = 0;
  /// How many values there are, the mask left aside.
  std::uint16_t values = 0;
  /// The left child of `both` and `either`.
  std::uint16_t left = 0;
  /// Where to go on when the node holds, and when it does not. For nodes without children. @{
  std::uint16_t yes = 0;
  std::uint16_t no = 0;
  /// @}

  /// The places behind all nodes where the answer is known. @{
  static constexpr std::uint16_t holds = 0xffff;
  static constexpr std::uint16_t fails = 0xfffe;
  /// @}

  /// Whether it is about an operand.
  [[nodiscard]] constexpr bool has_operand() const noexcept {
    return kind >= node_kind::comparison && kind <= node_kind::in_set;
  }
  /// Whether it has children.
  [[nodiscard]] constexpr bool has_children() const noexcept {
    return kind == node_kind::both || kind == node_kind::either || kind == node_kind::negation;
  }
  /// How many words it has.
  [[nodiscard]] constexpr std::size_t words() const noexcept {
    return std::size_t{operand.words()} * ((operand.is_masked ? 1u : 0u) + std::size_t{values});
  }
};

/// A condition that somebody else holds: its nodes and their words. At least one node.
struct condition_view {
  /// The nodes, children before their parents.
  const condition_node* nodes;
  /// How many there are.
  std::size_t size;
  /// The values of all nodes: host order, of an IPv6 address the upper half first.
  const std::uint64_t* words;

  /// The last node.
  [[nodiscard]] constexpr std::size_t root() const noexcept { return size - 1; }
  /// The mask of a node that has one; a number. `Key` is what values are compared as.
  template <class Key>
  [[nodiscard]] constexpr Key mask(const condition_node& n) const noexcept {
    return at<Key>(n.word);
  }
  /// Value `i` of a node.
  template <class Key>
  [[nodiscard]] constexpr Key value(const condition_node& n, std::size_t i) const noexcept {
    constexpr std::size_t width = std::is_same_v<Key, ipv6_address> ? 2 : 1;
    return at<Key>(n.word + (n.operand.is_masked ? width : 0) + width * i);
  }

  /// The value that begins at a word.
  template <class Key>
  [[nodiscard]] constexpr Key at(std::size_t word) const noexcept {
    if constexpr (std::is_same_v<Key, ipv6_address>) return {words[word], words[word + 1]};
    else return words[word];
  }
};

}  // namespace runnel::match

#endif

// ==== runnel/match/constant_set.hpp ==================================================================================
// A set whose values are written down in the program: `constant_set{22, 80, 443}`.
#ifndef RUNNEL_MATCH_CONSTANT_SET_HPP
#define RUNNEL_MATCH_CONSTANT_SET_HPP

#include <cstddef>      // size_t
#include <cstdint>      // uint64_t
#include <type_traits>  // common_type_t, is_same_v

namespace runnel {

/// `N` values, looked up in the way that suits them: one bit test when all lie within 64 of each other, compares
/// without branches up to 8, a search without branches in the sorted values beyond. Numbers, or addresses of one kind.
/// Takes 8 bytes each (16 for IPv6), and 8. When the rules are `constexpr` the choice costs nothing at run time.
template <class Value, std::size_t N>
class constant_set {
 public:
  /// The type of its values, and what they are compared as. @{
  using value_type = Value;
  using key = match::key_t<Value>;
  /// @}

  /// A set of these values; equal ones count once.
  template <class... More>
    requires(sizeof...(More) == N)
  constexpr explicit constant_set(More... values) noexcept : keys_{match::to_key(static_cast<Value>(values))...} {
    for (std::size_t i = 1; i < N; ++i)
      for (std::size_t k = i; k != 0 && match::key_less(keys_[k], keys_[k - 1]); --k) {
        const key between = keys_[k];
        keys_[k] = keys_[k - 1];
        keys_[k - 1] = between;
      }
    if constexpr (std::is_same_v<key, std::uint64_t>) {
      if (keys_[N - 1] - keys_[0] >= 64) return;
      for (const key k : keys_) bits_ |= std::uint64_t{1} << (k - keys_[0]);
    }
  }
  /// Whether a value is in it.
  [[nodiscard]] constexpr bool contains(const Value& v) const noexcept { return contains_key(match::to_key(v)); }
  /// The same for what values are compared as.
  [[nodiscard]] RUNNEL_INLINE constexpr bool contains_key(const key& k) const noexcept {
    if constexpr (std::is_same_v<key, std::uint64_t>) {
      if (bits_ != 0) {
        const std::uint64_t behind = k - keys_[0];
        return behind < 64 && (bits_ >> behind & 1u) != 0;
      }
    }
    if constexpr (N <= 8) return is_one_of(k);
    else return is_found(k);
  }
  /// The values as keys, in rising order. A value that was given twice is there twice.
  [[nodiscard]] constexpr const key (&keys() const noexcept)[N] { return keys_; }

 private:
  RUNNEL_INLINE constexpr bool is_one_of(const key& k) const noexcept {
    bool found = false;
    for (std::size_t i = 0; i < N; ++i) found |= k == keys_[i];
    return found;
  }
  // `at` becomes the number of values that are not above `k`.
  constexpr bool is_found(const key& k) const noexcept {
    std::size_t at = 0;
    for (std::size_t step = top_bit(); step != 0; step /= 2)
      if (at + step <= N && !match::key_less(k, keys_[at + step - 1])) at += step;
    return at != 0 && keys_[at - 1] == k;
  }
  static constexpr std::size_t top_bit() noexcept {
    std::size_t b = 1;
    while (b * 2 <= N) b *= 2;
    return b;
  }

  key keys_[N];
  std::uint64_t bits_ = 0;  // which of the 64 values from the lowest on; 0 when they do not fit
};
/// The type of the values is what all of them convert to.
template <class First, class... More>
constant_set(First, More...) -> constant_set<std::common_type_t<First, More...>, 1 + sizeof...(More)>;

}  // namespace runnel

#endif

// ==== runnel/match/in.hpp ============================================================================================
// What `field.in(...)` makes: membership in a range, a prefix, a set that is known to the compiler, or a set that
// changes at run time.
#ifndef RUNNEL_MATCH_IN_HPP
#define RUNNEL_MATCH_IN_HPP

#include <cstddef>      // size_t
#include <type_traits>  // remove_cvref_t, is_lvalue_reference_v, is_same_v

namespace runnel::match {

/// A set that can stand in `.in(...)`: it says whether it contains a value. Its `name()`, if it has one, is what
/// printing shows: `@blocklist`.
template <class Set, class Value>
concept set_of_values = requires(const Set& s, const Value& v) {
  { s.contains(v) } noexcept;
};

/// `tcp::dport.in(range(1024, 65535))`. `Inside` is false for `not_in`, here and below.
template <class Operand, bool Inside>
struct in_range : expression_operators {
  /// What the library knows it by.
  static constexpr bool is_match_expression = true;
  /// Whether the value must be in it, or must not be.
  static constexpr bool inside = Inside;
  /// What the library knows it by.
  using operand_type = Operand;
  /// What its values are compared as.
  using key = key_t<typename Operand::value_type>;

  /// Use `in` and `not_in` of the field.
  constexpr in_range(const Operand& o, const key& a, const key& b) noexcept : left(o), first(a), last(b) {}
  /// Whether it holds for a packet.
  [[nodiscard]] RUNNEL_INLINE constexpr bool operator()(const subject& s) const noexcept {
    key k{};
    return load(s, left, k) && (!key_less(k, first) && !key_less(last, k)) == Inside;
  }

  /// What is compared, and with what. @{
  [[no_unique_address]] Operand left;
  key first;
  key last;
  /// @}
};

/// `ip::saddr.in(net("10.0.0.0/8"))`.
template <class Operand, bool Inside>
struct in_prefix : expression_operators {
  /// What the library knows it by.
  static constexpr bool is_match_expression = true;
  /// Whether the value must be in it, or must not be.
  static constexpr bool inside = Inside;
  /// What the library knows it by.
  using operand_type = Operand;
  /// What its values are compared as.
  using key = key_t<typename Operand::value_type>;

  /// Use `in` and `not_in` of the field.
  constexpr in_prefix(const Operand& o, const key& a, unsigned n) noexcept
      : left(o), address(a), mask(prefix_mask<key, Operand::bits>(n)), length(n) {}
  /// Whether it holds for a packet.
  [[nodiscard]] RUNNEL_INLINE constexpr bool operator()(const subject& s) const noexcept {
    key k{};
    return load(s, left, k) && (key_and(k, mask) == address) == Inside;
  }

  /// What is compared, and with what. @{
  [[no_unique_address]] Operand left;
  key address;  // its bits behind `length` are zero
  key mask;
  unsigned length;
  /// @}
};

/// `tcp::dport.in(constant_set{22, 80, 443})`. Holds the set.
template <class Operand, class Value, std::size_t N, bool Inside>
struct in_constants : expression_operators {
  /// What the library knows it by.
  static constexpr bool is_match_expression = true;
  /// Whether the value must be in it, or must not be.
  static constexpr bool inside = Inside;
  /// What the library knows it by.
  using operand_type = Operand;
  /// What its values are compared as.
  using key = key_t<typename Operand::value_type>;

  /// Use `in` and `not_in` of the field.
  constexpr in_constants(const Operand& o, const constant_set<Value, N>& c) noexcept : left(o), set(c) {
    for (const key& k : set.keys()) (void)detail::key_for<Operand>(from_key<Value>(k));
  }
  /// Whether it holds for a packet.
  [[nodiscard]] RUNNEL_INLINE constexpr bool operator()(const subject& s) const noexcept {
    key k{};
    return load(s, left, k) && set.contains_key(k) == Inside;
  }

  /// What is compared, and with what. @{
  [[no_unique_address]] Operand left;
  constant_set<Value, N> set;
  /// @}
};

/// `ip::saddr.in(blocklist)`. Holds a pointer: the set must outlive it, and may change.
template <class Operand, class Set, bool Inside>
struct in_set : expression_operators {
  /// What the library knows it by.
  static constexpr bool is_match_expression = true;
  /// Whether the value must be in it, or must not be.
  static constexpr bool inside = Inside;
  /// What the library knows it by.
  using operand_type = Operand;
  /// The type of its values.
  using value = typename Operand::value_type;

  /// Use `in` and `not_in` of the field.
  constexpr in_set(const Operand& o, const Set& s) noexcept : left(o), set(&s) {}
  /// Whether it holds for a packet.
  [[nodiscard]] RUNNEL_INLINE constexpr bool operator()(const subject& s) const noexcept {
    key_t<value> k{};
    return load(s, left, k) && set->contains(from_key<value>(k)) == Inside;
  }

  /// What is compared, and with what. @{
  [[no_unique_address]] Operand left;
  const Set* set;
  /// @}
};

namespace detail {
template <class Operand>
inline constexpr bool is_range_or_constants = false;
template <class A, class B>
inline constexpr bool is_range_or_constants<range_of<A, B>> = true;
template <class V, std::size_t N>
inline constexpr bool is_range_or_constants<constant_set<V, N>> = true;

// As in value.hpp.
inline void this_prefix_is_of_the_other_address_family() noexcept {
  RUNNEL_ASSERT(false && "runnel: this prefix is of the other address family than the field");
}
}  // namespace detail

/// What `in` and `not_in` of a field call.
template <bool Inside, match_operand Operand, class A, class B>
[[nodiscard]] constexpr in_range<Operand, Inside> match_in(const Operand& o, const range_of<A, B>& r) noexcept {
  const auto first = detail::key_for<Operand>(r.first);
  const auto last = detail::key_for<Operand>(r.last);
  if (key_less(last, first)) detail::the_first_value_of_this_range_is_above_its_last();
  return {o, first, last};
}
/// What `in` and `not_in` of a field call.
template <bool Inside, match_operand Operand, class Value, std::size_t N>
[[nodiscard]] constexpr auto match_in(const Operand& o, const constant_set<Value, N>& c) noexcept {
  if constexpr (detail::check_type<Operand, Value>()) return in_constants<Operand, Value, N, Inside>{o, c};
  else return always{};
}
/// What `in` and `not_in` of a field call.
template <bool Inside, match_operand Operand, class What>
  requires(!detail::is_range_or_constants<std::remove_cvref_t<What>>)
[[nodiscard]] constexpr auto match_in(const Operand& o, What&& what) noexcept {
  using type = std::remove_cvref_t<What>;
  using value = typename Operand::value_type;
  if constexpr (std::is_same_v<type, basic_prefix<value>>) {
    return in_prefix<Operand, Inside>{o, to_key(what.address()), what.length()};
  } else if constexpr (std::is_same_v<type, prefix> &&
                       (std::is_same_v<value, ipv4_address> || std::is_same_v<value, ipv6_address>)) {
    if (std::is_same_v<value, ipv4_address> ? what.is_v4() : what.is_v6()) {
      const basic_prefix<value>& p = what.template as<value>();
      return in_prefix<Operand, Inside>{o, to_key(p.address()), p.length()};
    }
    // Where assertions are off: no address is in it, as no address is 255.255.255.255 behind a mask of zeros.
    detail::this_prefix_is_of_the_other_address_family();
    return in_prefix<Operand, Inside>{o, prefix_mask<key_t<value>, Operand::bits>(Operand::bits), 0};
  } else if constexpr (set_of_values<type, value>) {
    static_assert(
        std::is_lvalue_reference_v<What>,
        "runnel: this set would be gone before the expression is used; give it a name that outlives the rules");
    return in_set<Operand, type, Inside>{o, what};
  } else {
    static_assert(
        set_of_values<type, value>,
        "runnel: .in(...) takes a set of values of the field's type, a prefix of its kind, range(first, last) or "
        "constant_set{...}");
    return always{};
  }
}
/// What `in` and `not_in` of a field call.
template <bool Inside, match_operand Operand, class... What>
  requires(sizeof...(What) != 1)
[[nodiscard]] constexpr always match_in(const Operand&, const What&...) noexcept {
  static_assert(sizeof...(What) == 1,
                "runnel: .in(...) takes one thing: write in(range(1024, 65535)) for a range and "
                "in(constant_set{22, 80, 443}) for a list");
  return {};
}

}  // namespace runnel::match

#endif

// ==== runnel/match/condition_build.hpp ===============================================================================
// Makes the nodes of a condition: one after the other, and from the types of a match expression.
#ifndef RUNNEL_MATCH_CONDITION_BUILD_HPP
#define RUNNEL_MATCH_CONDITION_BUILD_HPP

#include <cstddef>      // size_t
#include <cstdint>      // uint8_t, uint16_t, uint64_t
#include <type_traits>  // is_same_v

namespace runnel {
class condition;

namespace match::detail {

// Appends nodes to memory of the caller's. When there is no room any more, `full()` says so, and the rest is lost.
class condition_builder {
 public:
  constexpr condition_builder(condition_node* nodes, std::size_t node_room, std::uint64_t* words,
                              std::size_t word_room) noexcept
      : nodes_(nodes), words_(words), node_room_(node_room), word_room_(word_room) {}

  [[nodiscard]] constexpr std::size_t size() const noexcept { return size_; }
  [[nodiscard]] constexpr std::size_t words() const noexcept { return word_count_; }
  [[nodiscard]] constexpr bool full() const noexcept { return full_; }
  [[nodiscard]] constexpr condition_node& operator[](std::size_t i) noexcept { return nodes_[i]; }
  [[nodiscard]] constexpr condition_view view() const noexcept { return {nodes_, size_, words_}; }

  // Returns where the node is. Words that are appended next are its own.
  constexpr std::size_t add(const condition_node& n) noexcept {
    if (size_ == node_room_) {
      full_ = true;
      return size_ - 1;
    }
    nodes_[size_] = n;
    nodes_[size_].word = static_cast<std::uint16_t>(word_count_);
    return size_++;
  }
  constexpr void add_word(std::uint64_t w) noexcept {
    if (word_count_ == word_room_) full_ = true;
    else words_[word_count_++] = w;
  }
  constexpr void add_key(std::uint64_t k) noexcept { add_word(k); }
  constexpr void add_key(const ipv6_address& k) noexcept {
    add_word(k.high());
    add_word(k.low());
  }
  // `both` or `either` of the tree at `left` and the one that is last.
  constexpr void join(node_kind kind, std::size_t left) noexcept {
    condition_node n;
    n.kind = kind;
    n.left = static_cast<std::uint16_t>(left);
    add(n);
  }
  constexpr void negate() noexcept {
    condition_node n;
    n.kind = node_kind::negation;
    add(n);
  }
  // A copy of a whole tree.
  constexpr void add_tree(const condition_view& c) noexcept {
    const std::size_t begin = size_;
    for (std::size_t i = 0; i < c.size && !full_; ++i) {
      const std::size_t from = c.nodes[i].word, count = c.nodes[i].has_operand() ? c.nodes[i].words() : 0;
      const std::size_t at = add(c.nodes[i]);
      if (full_) return;
      nodes_[at].left = static_cast<std::uint16_t>(c.nodes[i].left + begin);
      for (std::size_t w = 0; w < count; ++w) add_word(c.words[from + w]);
    }
  }
  // Drops the last nodes, and their words, so that `size` are left.
  constexpr void cut(std::size_t size) noexcept {
    if (size >= size_) return;
    word_count_ = nodes_[size].word;
    size_ = size;
  }
  // Holds for no packet.
  constexpr void make_never() noexcept {
    size_ = word_count_ = 0;
    full_ = false;
    add({});
    negate();
  }
  // Says where each node goes on. Parents come first here: a node knows where to go before its children ask.
  constexpr void link() noexcept {
    if (size_ == 0) return;
    nodes_[size_ - 1].yes = condition_node::holds;
    nodes_[size_ - 1].no = condition_node::fails;
    for (std::size_t i = size_; i-- != 0;) {
      const condition_node& n = nodes_[i];
      if (!n.has_children()) continue;
      condition_node& last = nodes_[i - 1];
      last.yes = n.kind == node_kind::negation ? n.no : n.yes;
      last.no = n.kind == node_kind::negation ? n.yes : n.no;
      if (n.kind == node_kind::negation) continue;
      // The tree of the right child begins behind the left one.
      const auto right = static_cast<std::uint16_t>(n.left + 1u);
      nodes_[n.left].yes = n.kind == node_kind::both ? right : n.yes;
      nodes_[n.left].no = n.kind == node_kind::both ? n.no : right;
    }
  }

 private:
  condition_node* nodes_;
  std::uint64_t* words_;
  std::size_t node_room_;
  std::size_t word_room_;
  std::size_t size_ = 0;
  std::size_t word_count_ = 0;
  bool full_ = false;
};

// The description of an operand, from its type.
template <class Operand>
struct description_of {
  static constexpr bool exists = false;
};
template <header H, unsigned Offset, unsigned Bits, class V>
struct description_of<field<H, Offset, Bits, V>> {
  static constexpr bool exists = true;
  static constexpr operand_description make(const field<H, Offset, Bits, V>& f) noexcept {
    operand_description d;
    d.name = f.name;
    d.in_header = H;
    d.offset = Offset;
    d.bits = Bits;
    d.value = kind_of_value<V>;
    return d;
  }
};
template <meta_key Key, unsigned Bits, class V>
struct description_of<meta_field<Key, Bits, V>> {
  static constexpr bool exists = true;
  static constexpr operand_description make(const meta_field<Key, Bits, V>&) noexcept {
    operand_description d;
    d.bits = Bits;
    d.value = kind_of_value<V>;
    d.is_meta = true;
    d.which = Key;
    return d;
  }
};
template <tunnel Around, class Field>
struct description_of<inner_field<Around, Field>> {
  static constexpr bool exists = true;
  static constexpr operand_description make(const inner_field<Around, Field>& f) noexcept {
    operand_description d = description_of<Field>::make(f.inside);
    d.is_inner = true;
    d.around = Around;
    return d;
  }
};
template <class Operand>
struct description_of<masked<Operand>> {
  // A mask under a mask has no description.
  static constexpr bool exists = description_of<Operand>::exists && !requires(const Operand& o) { o.mask; };
  static constexpr operand_description make(const masked<Operand>& m) noexcept {
    operand_description d = description_of<Operand>::make(m.whole);
    d.is_masked = true;
    return d;
  }
  static constexpr const auto& mask(const masked<Operand>& m) noexcept { return m.mask; }
};

// Each kind of expression: how many nodes and words it takes, and `append`, which makes them.
template <class Expression>
struct run_time_form {
  static constexpr bool exists = false;
};
template <class Expression, node_kind Kind, std::size_t Values>
struct leaf_form {
  using operand_type = typename Expression::operand_type;
  using description = description_of<operand_type>;
  static constexpr bool exists = description::exists;
  static constexpr bool is_masked = requires { &description::mask; };
  static constexpr std::size_t nodes = 1;
  static constexpr std::size_t words =
      (Values + (is_masked ? 1 : 0)) *
      (std::is_same_v<key_t<typename operand_type::value_type>, ipv6_address> ? std::size_t{2} : std::size_t{1});

  static constexpr std::size_t start(condition_builder& to, const Expression& e) noexcept {
    condition_node n;
    n.kind = Kind;
    n.operand = description::make(e.left);
    n.values = Values;
    if constexpr (requires { Expression::inside; }) n.inside = Expression::inside;
    const std::size_t at = to.add(n);
    if constexpr (is_masked) to.add_key(description::mask(e.left));
    return at;
  }
};
template <class Operand, relation Relation>
struct run_time_form<comparison<Operand, Relation>>
    : leaf_form<comparison<Operand, Relation>, node_kind::comparison, 1> {
  static constexpr void append(condition_builder& to, const comparison<Operand, Relation>& e) noexcept {
    to[run_time_form::start(to, e)].how = Relation;
    to.add_key(e.right);
  }
};
template <class Operand, bool Inside>
struct run_time_form<in_range<Operand, Inside>> : leaf_form<in_range<Operand, Inside>, node_kind::in_range, 2> {
  static constexpr void append(condition_builder& to, const in_range<Operand, Inside>& e) noexcept {
    run_time_form::start(to, e);
    to.add_key(e.first);
    to.add_key(e.last);
  }
};
template <class Operand, bool Inside>
struct run_time_form<in_prefix<Operand, Inside>> : leaf_form<in_prefix<Operand, Inside>, node_kind::in_prefix, 1> {
  static constexpr void append(condition_builder& to, const in_prefix<Operand, Inside>& e) noexcept {
    to[run_time_form::start(to, e)].length = static_cast<std::uint8_t>(e.length);
    to.add_key(e.address);
  }
};
template <class Operand, class V, std::size_t N, bool Inside>
struct run_time_form<in_constants<Operand, V, N, Inside>>
    : leaf_form<in_constants<Operand, V, N, Inside>, node_kind::in_constants, N> {
  static constexpr void append(condition_builder& to, const in_constants<Operand, V, N, Inside>& e) noexcept {
    const std::size_t at = run_time_form::start(to, e);
    std::uint16_t count = 0;
    for (std::size_t i = 0; i < N; ++i) {
      if (i != 0 && e.set.keys()[i] == e.set.keys()[i - 1]) continue;
      to.add_key(e.set.keys()[i]);
      ++count;
    }
    to[at].values = count;
  }
};
template <class Operand, class Set, bool Inside>
struct run_time_form<in_set<Operand, Set, Inside>> : leaf_form<in_set<Operand, Set, Inside>, node_kind::in_set, 0> {
  static constexpr void append(condition_builder& to, const in_set<Operand, Set, Inside>& e) noexcept {
    to[run_time_form::start(to, e)].set = {e.set, &functions_of_set<Set, typename Operand::value_type>};
  }
};
template <header H>
struct run_time_form<has_header<H>> {
  static constexpr bool exists = true;
  static constexpr std::size_t nodes = 1, words = 0;
  static constexpr void append(condition_builder& to, const has_header<H>&) noexcept {
    condition_node n;
    n.kind = node_kind::has;
    n.operand.in_header = H;
    to.add(n);
  }
};
template <>
struct run_time_form<always> {
  static constexpr bool exists = true;
  static constexpr std::size_t nodes = 1, words = 0;
  static constexpr void append(condition_builder& to, const always&) noexcept { to.add({}); }
};
template <class Inner>
struct run_time_form<negation<Inner>> {
  using inner = run_time_form<Inner>;
  static constexpr bool exists = inner::exists;
  static constexpr std::size_t nodes = [] {
    if constexpr (exists) return inner::nodes + 1;
    else return std::size_t{0};
  }();
  static constexpr std::size_t words = [] {
    if constexpr (exists) return inner::words;
    else return std::size_t{0};
  }();
  static constexpr void append(condition_builder& to, const negation<Inner>& e) noexcept {
    inner::append(to, e.inner);
    to.negate();
  }
};
template <class Pair, class Left, class Right, node_kind Kind>
struct pair_form {
  using left = run_time_form<Left>;
  using right = run_time_form<Right>;
  static constexpr bool exists = left::exists && right::exists;
  static constexpr std::size_t nodes = [] {
    if constexpr (exists) return left::nodes + right::nodes + 1;
    else return std::size_t{0};
  }();
  static constexpr std::size_t words = [] {
    if constexpr (exists) return left::words + right::words;
    else return std::size_t{0};
  }();
  static constexpr void append(condition_builder& to, const Pair& e) noexcept {
    left::append(to, e.left);
    const std::size_t at = to.size() - 1;
    right::append(to, e.right);
    to.join(Kind, at);
  }
};
template <class Left, class Right>
struct run_time_form<both<Left, Right>> : pair_form<both<Left, Right>, Left, Right, node_kind::both> {};
template <class Left, class Right>
struct run_time_form<either<Left, Right>> : pair_form<either<Left, Right>, Left, Right, node_kind::either> {};
// At least one node; how many there are is known when it runs.
template <>
struct run_time_form<condition> {
  static constexpr bool exists = true;
  static constexpr std::size_t nodes = 1, words = 0;
  static constexpr void append(condition_builder& to, const condition_view& c) noexcept { to.add_tree(c); }
};

}  // namespace match::detail
}  // namespace runnel

#endif

// ==== runnel/match/condition_test.hpp ================================================================================
// Asks a packet what the nodes of a condition ask: fields are found by what their description says, not by their type.
#ifndef RUNNEL_MATCH_CONDITION_TEST_HPP
#define RUNNEL_MATCH_CONDITION_TEST_HPP

#include <cstddef>      // byte, size_t
#include <cstdint>      // uint64_t
#include <type_traits>  // is_same_v

namespace runnel::match::detail {

template <header H>
[[nodiscard]] constexpr const std::byte* locate_one(const header_map& m, std::size_t need) noexcept {
  const std::byte* p = locate<H, fixed_size(H)>(m);
  return p == nullptr || m.size_from(p) < need ? nullptr : p;
}
// `locate` of a header that is known at run time.
[[nodiscard, gnu::noinline]] constexpr const std::byte* locate_any(const header_map& m, header h,
                                                                   std::size_t need) noexcept {
  const std::uint8_t number = number_of(h);
  switch (family_of(h)) {
    case header_family::single: break;
    case header_family::ipv4_option:
      return m.has<ipv4>() ? find_option(ipv4_options(m.get<ipv4>().options()), number, need) : nullptr;
    case header_family::tcp_option:
      return m.has<tcp>() ? find_option(tcp_options(m.get<tcp>().options()), number, need) : nullptr;
    case header_family::ipv6_extension: return m.has<ipv6>() ? find_extension(m.get<ipv6>(), number, need) : nullptr;
    case header_family::icmp_message: return find_message(whole<icmp>(m), number, number, need);
    case header_family::icmpv6_message: return find_message(whole<icmpv6>(m), number, number, need);
    case header_family::nd_option: return find_nd_option(whole<icmpv6>(m), number, need);
    case header_family::gre_word: return find_gre_word(whole<gre>(m), number);
  }
  switch (h) {
    case header::ethernet: return locate_one<header::ethernet>(m, need);
    case header::vlan: return locate_one<header::vlan>(m, need);
    case header::cvlan: return locate_one<header::cvlan>(m, need);
    case header::mpls: return locate_one<header::mpls>(m, need);
    case header::arp: return locate_one<header::arp>(m, need);
    case header::ipv4: return locate_one<header::ipv4>(m, need);
    case header::ipv6: return locate_one<header::ipv6>(m, need);
    case header::ipv6_fragment: return locate_one<header::ipv6_fragment>(m, need);
    case header::icmp: return locate_one<header::icmp>(m, need);
    case header::icmpv6: return locate_one<header::icmpv6>(m, need);
    case header::tcp: return locate_one<header::tcp>(m, need);
    case header::udp: return locate_one<header::udp>(m, need);
    case header::th: return locate_one<header::th>(m, need);
    case header::gre: return locate_one<header::gre>(m, need);
    case header::vxlan: return locate_one<header::vxlan>(m, need);
    case header::llc: return locate_one<header::llc>(m, need);
    case header::snap: return locate_one<header::snap>(m, need);
    case header::icmp_echo: return find_echo(whole<icmp>(m), need);
    case header::icmpv6_echo: return find_message(whole<icmpv6>(m), 128, 129, need);
    case header::icmpv6_target: return find_target(whole<icmpv6>(m), need);
  }
  return nullptr;
}

[[nodiscard]] constexpr header_map inside_any(const header_map& m, tunnel around) noexcept {
  switch (around) {
    case tunnel::vxlan: return inside_of<tunnel::vxlan>(m);
    case tunnel::gre: return inside_of<tunnel::gre>(m);
    case tunnel::gretap: return inside_of<tunnel::gretap>(m);
    case tunnel::ipip: break;
  }
  return inside_of<tunnel::ipip>(m);
}

[[nodiscard]] constexpr bool load_meta(const subject& s, meta_key which, std::uint64_t& to) noexcept {
  switch (which) {
    case meta_key::length: return meta::length.load(s, to);
    case meta_key::iif: return meta::iif.load(s, to);
    case meta_key::mark: return meta::mark.load(s, to);
    case meta_key::priority: return meta::priority.load(s, to);
    case meta_key::protocol: return meta::protocol.load(s, to);
    case meta_key::nfproto: return meta::nfproto.load(s, to);
    case meta_key::l4proto: return meta::l4proto.load(s, to);
    case meta_key::time: return meta::time.load(s, to);
    case meta_key::hash: return meta::hash.load(s, to);
    case meta_key::queue: return meta::queue.load(s, to);
  }
  return false;
}

// Where the field lies; null when the packet has none.
[[nodiscard]] constexpr const std::byte* find_field(const subject& s, const operand_description& o) noexcept {
  const std::size_t needed = (std::size_t{o.offset} + o.bits + 7) / 8;
  const std::size_t fixed = fixed_size(o.in_header);
  const std::size_t need = needed > fixed ? needed : fixed;
  const std::byte* p = o.is_inner ? locate_any(inside_any(s.headers, o.around), o.in_header, need)
                                  : locate_any(s.headers, o.in_header, need);
  return p == nullptr ? nullptr : p + o.offset / 8;
}
[[nodiscard]] constexpr bool load_key(const subject& s, const operand_description& o, ipv6_address& to) noexcept {
  const std::byte* p = find_field(s, o);
  if (p == nullptr) return false;
  to = ipv6_address::load(p);
  return true;
}
[[nodiscard]] constexpr bool load_key(const subject& s, const operand_description& o, std::uint64_t& to) noexcept {
  if (o.is_meta) return load_meta(s, o.which, to);
  const std::byte* p = find_field(s, o);
  if (p == nullptr) return false;
  const unsigned first = o.offset % 8u, size = (first + o.bits + 7) / 8;
  std::uint64_t k = 0;
  for (unsigned i = 0; i < size; ++i) k = k << 8 | load_u8(p + i);
  to = k >> (size * 8 - first - o.bits) & ~std::uint64_t{0} >> (64 - o.bits);
  return true;
}

[[nodiscard]] constexpr std::uint64_t prefix_mask_of(const condition_node& n, std::uint64_t) noexcept {
  return n.length == 0 ? 0 : ~std::uint64_t{0} << (n.operand.bits - n.length);
}
[[nodiscard]] constexpr ipv6_address prefix_mask_of(const condition_node& n, const ipv6_address&) noexcept {
  return prefix_mask<ipv6_address, 128>(n.length);
}
template <class Key>
[[nodiscard]] constexpr bool compare(relation how, const Key& a, const Key& b) noexcept {
  switch (how) {
    case relation::equal: return a == b;
    case relation::not_equal: return !(a == b);
    case relation::less: return key_less(a, b);
    case relation::less_equal: return !key_less(b, a);
    case relation::greater: return key_less(b, a);
    case relation::greater_equal: break;
  }
  return !key_less(a, b);
}
// Whether a key is among the values of a node, which rise.
template <class Key>
[[nodiscard]] constexpr bool is_constant(const condition_view& c, const condition_node& n, const Key& k) noexcept {
  std::size_t begin = 0, end = n.values;
  while (begin < end) {
    const std::size_t middle = begin + (end - begin) / 2;
    if (key_less(c.value<Key>(n, middle), k)) begin = middle + 1;
    else end = middle;
  }
  return begin < n.values && c.value<Key>(n, begin) == k;
}
[[nodiscard]] constexpr bool is_in_set(const set_reference& r, std::uint64_t k) noexcept {
  return r.functions->contains(r.set, k);
}
[[nodiscard]] constexpr bool is_in_set(const set_reference& r, const ipv6_address& k) noexcept {
  return r.functions->contains_ipv6(r.set, k);
}

template <class Key>
[[nodiscard]] constexpr bool test_operand(const condition_view& c, const condition_node& n, const subject& s) noexcept {
  Key k{};
  if (!load_key(s, n.operand, k)) return false;
  if (n.operand.is_masked) k = key_and(k, c.mask<Key>(n));
  switch (n.kind) {
    case node_kind::comparison: return compare(n.how, k, c.value<Key>(n, 0));
    case node_kind::in_range: return (!key_less(k, c.value<Key>(n, 0)) && !key_less(c.value<Key>(n, 1), k)) == n.inside;
    case node_kind::in_prefix: return (key_and(k, prefix_mask_of(n, k)) == c.value<Key>(n, 0)) == n.inside;
    case node_kind::in_constants: return is_constant(c, n, k) == n.inside;
    case node_kind::in_set: return is_in_set(n.set, k) == n.inside;
    default: return false;
  }
}
// Whether a node without children holds.
[[nodiscard]] constexpr bool test_node(const condition_view& c, const condition_node& n, const subject& s) noexcept {
  if (n.kind == node_kind::always) return true;
  if (n.kind == node_kind::has)
    return locate_any(s.headers, n.operand.in_header, fixed_size(n.operand.in_header)) != nullptr;
  return n.operand.value == value_kind::ipv6 ? test_operand<ipv6_address>(c, n, s)
                                             : test_operand<std::uint64_t>(c, n, s);
}
// Whether the condition holds. The first node has no children, and all jumps go forward to others without.
[[nodiscard]] constexpr bool holds(const condition_view& c, const subject& s) noexcept {
  std::size_t at = 0;
  while (at < c.size) at = test_node(c, c.nodes[at], s) ? c.nodes[at].yes : c.nodes[at].no;
  return at == condition_node::holds;
}

}  // namespace runnel::match::detail

#endif

// ==== runnel/match/condition.hpp =====================================================================================
// A match expression that is known at run time only: made from any other one, or read from text (parse_condition.hpp).
#ifndef RUNNEL_MATCH_CONDITION_HPP
#define RUNNEL_MATCH_CONDITION_HPP

#include <cstddef>      // size_t
#include <cstdint>      // uint16_t, uint64_t
#include <type_traits>  // is_same_v

namespace runnel {

/// The run-time form of a match expression: what a filter option of a device takes, what a text becomes, what is
/// translated for the kernel. It is a match expression itself, and means the same as the one that it was made from.
///
///     condition take = udp::dport == 7 || has<icmp>;
///     if (take(packet)) ...
///     auto read = parse_condition("tcp dport 22 && ip saddr 10.0.0.0/8");   // result<condition, error>
///
/// Holds its values itself, and sets by pointer: they must outlive it. 8 KB, copied freely, no heap. Deciding takes a
/// few nanoseconds for each test that is needed, more than the expression that the compiler knows.
class condition : public match::expression_operators {
 public:
  /// What the library knows it by.
  static constexpr bool is_match_expression = true;
  /// The room that there is: a comparison, an "and", an "or" and a "not" take a node each; a value in a comparison or
  /// in a `constant_set` takes a word, an IPv6 address two. @{
  static constexpr std::size_t max_nodes = 128;
  static constexpr std::size_t max_words = 128;
  /// @}

  /// Holds for every packet.
  constexpr condition() noexcept { make_always(); }
  /// From another match expression. One that has too many parts is a compile error, or where some of them are
  /// conditions an assertion; that then holds for no packet.
  template <match::match_expression Expression>
    requires(!std::is_same_v<Expression, condition>)
  constexpr condition(const Expression& e) noexcept {
    using form = match::detail::run_time_form<Expression>;
    static_assert(form::exists,
                  "runnel: this expression has no run-time form: a condition is made of fields, meta::, has<>, ranges, "
                  "prefixes, constants and sets, and knows no operands or expressions of your own; use it in "
                  "rules(...) or a handler");
    if constexpr (form::exists) {
      static_assert(form::nodes <= max_nodes && form::words <= max_words,
                    "runnel: this expression has too many parts for a condition (condition::max_nodes, max_words): put "
                    "values into a set");
      match::detail::condition_builder to{nodes_, max_nodes, words_, max_words};
      form::append(to, e);
      RUNNEL_ASSERT(!to.full() && "runnel: too many parts for a condition");
      take(to);
    }
  }

  /// Whether it holds for a packet.
  [[nodiscard]] constexpr bool operator()(const subject& s) const noexcept {
    return match::detail::holds({nodes_, size_, words_}, s);
  }
  /// Its nodes. Valid as long as the condition is neither changed nor gone.
  constexpr operator match::condition_view() const noexcept { return {nodes_, size_, words_}; }

  /// For whoever makes conditions from something else than expressions: `fill(builder)` appends nodes, and the last one
  /// becomes the root. False, and a condition that holds for no packet, when there was no room.
  template <class Fill>
  constexpr bool build(Fill fill) noexcept {
    match::detail::condition_builder to{nodes_, max_nodes, words_, max_words};
    fill(to);
    return take(to);
  }

 private:
  constexpr void make_always() noexcept {
    match::detail::condition_builder to{nodes_, max_nodes, words_, max_words};
    to.add({});
    take(to);
  }
  constexpr bool take(match::detail::condition_builder& to) noexcept {
    const bool good = !to.full();
    if (!good) to.make_never();
    to.link();
    size_ = to.size();
    return good;
  }

  match::condition_node nodes_[max_nodes];
  std::uint64_t words_[max_words]{};
  std::size_t size_ = 0;
};

}  // namespace runnel

#endif

// ==== runnel/match/print_value.hpp ===================================================================================
// The small words of printed expressions: operands and values as nft spells them.
#ifndef RUNNEL_MATCH_PRINT_VALUE_HPP
#define RUNNEL_MATCH_PRINT_VALUE_HPP

#include <cstdint>      // uint8_t, uint64_t
#include <type_traits>  // is_same_v

namespace runnel::match::detail {

// How a number is written.
enum class manner { decimal, hex, bare_address, ethertype, ip_protocol, tcp_flags, family, tc_handle };

template <class Operand>
struct manner_of {
  static constexpr manner value = manner::decimal;
};
template <header H, unsigned Offset, unsigned Bits, class V>
struct manner_of<field<H, Offset, Bits, V>> {
  static constexpr bool is(header h, unsigned offset) noexcept { return H == h && Offset == offset; }
  static constexpr manner value = is(header::tcp, 104) ? manner::tcp_flags
                                  : is(header::ethernet, 96) || is(header::vlan, 16) || is(header::cvlan, 16) ||
                                          is(header::gre, 16) || is(header::arp, 16) || is(header::snap, 48)
                                      ? manner::ethertype
                                  : is(header::ipv4, 72) || is(header::ipv6, 48) || is(header::ipv6_fragment, 0) ||
                                          (family_of(H) == header_family::ipv6_extension && Offset == 0)
                                      ? manner::ip_protocol
                                  : H == header::llc || H == header::snap ? manner::hex
                                  // Here nft takes an address for a number.
                                  : std::is_same_v<V, ipv4_address> && family_of(H) != header_family::single
                                      ? manner::bare_address
                                      : manner::decimal;
};
template <meta_key Key, unsigned Bits, class V>
struct manner_of<meta_field<Key, Bits, V>> {
  static constexpr manner value = Key == meta_key::protocol                        ? manner::ethertype
                                  : Key == meta_key::l4proto                       ? manner::ip_protocol
                                  : Key == meta_key::nfproto                       ? manner::family
                                  : Key == meta_key::priority                      ? manner::tc_handle
                                  : Key == meta_key::mark || Key == meta_key::hash ? manner::hex
                                                                                   : manner::decimal;
};
template <tunnel Around, class Field>
struct manner_of<inner_field<Around, Field>> : manner_of<Field> {};
template <class Operand>
struct manner_of<masked<Operand>> {
  static constexpr manner whole = manner_of<Operand>::value;
  static constexpr manner value = whole == manner::tcp_flags || whole == manner::bare_address ? whole : manner::hex;
};

// Whether the bare `tcp flags syn` would mean something else: "has one of these bits".
template <class Operand>
inline constexpr bool needs_equals_sign = manner_of<Operand>::value == manner::tcp_flags;
template <class Operand>
inline constexpr bool needs_equals_sign<masked<Operand>> = true;

// Whether nft wants to be told of the header before it takes the operand, and of which one.
template <class Operand>
struct told_before {
  static constexpr bool needed = false;
};
template <header H, unsigned Offset, unsigned Bits, class V>
struct told_before<field<H, Offset, Bits, V>> {
  static constexpr bool needed = H == header::th || H == header::vxlan;
  static constexpr header what = H;
};
template <tunnel Around, class Field>
struct told_before<inner_field<Around, Field>> {
  static constexpr bool needed = Around == tunnel::vxlan;
  static constexpr header what = header::vxlan;
};
template <class Operand>
struct told_before<masked<Operand>> : told_before<Operand> {};

constexpr void print_tcp_flags(text_writer& out, std::uint64_t k) noexcept {
  constexpr const char* names[] = {"fin", "syn", "rst", "psh", "ack", "urg", "ecn", "cwr"};
  if (k == 0) out << "0x0";
  for (unsigned i = 0, shown = 0; i < 8; ++i)
    if ((k >> i & 1u) != 0) out << (shown++ != 0 ? " | " : "") << names[i];
}
constexpr void print_number(text_writer& out, manner how, std::uint64_t k) noexcept {
  const char* word = nullptr;
  switch (how) {
    case manner::ip_protocol:
      word = k == 1 ? "icmp" : k == 6 ? "tcp" : k == 17 ? "udp" : k == 47 ? "gre" : k == 58 ? "ipv6-icmp" : nullptr;
      break;
    case manner::ethertype:
      word = k == ethertype::ipv4   ? "ip"
             : k == ethertype::ipv6 ? "ip6"
             : k == ethertype::arp  ? "arp"
             : k == ethertype::vlan ? "8021q"
             : k == ethertype::qinq ? "8021ad"
                                    : nullptr;
      break;
    case manner::family: word = k == nfproto::ipv4 ? "ipv4" : k == nfproto::ipv6 ? "ipv6" : nullptr; break;
    case manner::tcp_flags: return print_tcp_flags(out, k);
    case manner::tc_handle: word = "0:"; break;
    case manner::decimal:
    case manner::hex:
    case manner::bare_address: break;
  }
  if (word != nullptr) out << word;
  const bool hex = how == manner::hex || how == manner::bare_address || (how == manner::ethertype && word == nullptr);
  if (hex) out << "0x";
  if (hex || how == manner::tc_handle) out.hex(k);
  else if (word == nullptr) out << k;
}
constexpr void print_seconds(text_writer& out, instant t) noexcept {
  const std::uint64_t ns = t.ns < 0 ? 0 - static_cast<std::uint64_t>(t.ns) : static_cast<std::uint64_t>(t.ns);
  out << (t.ns < 0 ? "-" : "") << ns / 1'000'000'000;
  if (ns % 1'000'000'000 == 0) return;
  out << '.';
  for (std::uint64_t digit = 100'000'000; digit != 0; digit /= 10) out << ns / digit % 10;
}
template <class Operand, class Key>
constexpr void print_value(text_writer& out, const Operand& o, const Key& k) noexcept {
  using value = typename Operand::value_type;
  if constexpr (requires { o.print_value(out, k); }) o.print_value(out, k);
  else if constexpr (manner_of<Operand>::value == manner::bare_address) print_number(out, manner::bare_address, k);
  else if constexpr (std::is_same_v<value, ipv4_address> || std::is_same_v<value, ipv6_address> ||
                     std::is_same_v<value, mac_address>)
    print(out, from_key<value>(k));
  else if constexpr (std::is_same_v<value, instant>) print_seconds(out, from_key<value>(k));
  else print_number(out, manner_of<Operand>::value, k);
}

// One of a family as nft calls it: `tcp option maxseg`, by its number where nft has no name. Before the name of a field
// nft leaves away `exthdr`.
constexpr void print_numbered(text_writer& out, header h, bool before_field) noexcept {
  const std::uint8_t number = number_of(h);
  const char* family = "";
  const char* word = nullptr;
  switch (family_of(h)) {
    case header_family::ipv4_option:
      family = "ip option ";
      word = number == 7 ? "rr" : number == 131 ? "lsrr" : number == 137 ? "ssrr" : number == 148 ? "ra" : nullptr;
      break;
    case header_family::tcp_option:
      family = "tcp option ";
      word = number == 2    ? "maxseg"
             : number == 3  ? "window"
             : number == 4  ? "sack-perm"
             : number == 5  ? "sack"
             : number == 8  ? "timestamp"
             : number == 19 ? "md5sig"
             : number == 30 ? "mptcp"
             : number == 34 ? "fastopen"
                            : nullptr;
      break;
    case header_family::ipv6_extension:
      family = "exthdr ";
      word = number == 0     ? "hbh"
             : number == 43  ? "rt"
             : number == 44  ? "frag"
             : number == 60  ? "dst"
             : number == 135 ? "mh"
                             : nullptr;
      if (before_field && word != nullptr) family = "";
      break;
    case header_family::nd_option:
      family = "icmpv6 option ";
      word = number == 1    ? "slla"
             : number == 2  ? "tlla"
             : number == 3  ? "prefix"
             : number == 5  ? "mtu"
             : number == 24 ? "route"
             : number == 25 ? "rdnss"
                            : nullptr;
      break;
    case header_family::gre_word:
      family = "gre ";
      word = number == 0x80 ? "checksum" : number == 0x20 ? "key" : "sequence";
      break;
    case header_family::icmp_message:
    case header_family::icmpv6_message:
    case header_family::single: break;
  }
  out << family;
  if (word != nullptr) out << word;
  else out << number;
}
template <header H, unsigned Offset, unsigned Bits, class V>
constexpr void print_operand(text_writer& out, const field<H, Offset, Bits, V>& f) noexcept {
  if constexpr (family_of(H) == header_family::gre_word) {
    print_numbered(out, H, true);  // which is all of it
  } else {
    if constexpr (family_of(H) != header_family::single && family_of(H) != header_family::icmp_message &&
                  family_of(H) != header_family::icmpv6_message) {
      print_numbered(out, H, true);
      out << ' ';
    }
    out << f.name;
  }
}
template <meta_key Key, unsigned Bits, class V>
constexpr void print_operand(text_writer& out, const meta_field<Key, Bits, V>&) noexcept {
  out << name(Key);
}
template <tunnel Around, class Field>
constexpr void print_operand(text_writer& out, const inner_field<Around, Field>& f) noexcept {
  out << (Around == tunnel::vxlan    ? "vxlan "
          : Around == tunnel::gre    ? "gre "
          : Around == tunnel::gretap ? "gretap "
                                     : "ipip ");
  print_operand(out, f.inside);
}
// An operand from elsewhere says its name itself.
template <class Operand>
constexpr void print_operand(text_writer& out, const Operand& o) noexcept {
  o.print(out);
}
template <class Operand>
constexpr void print_operand(text_writer& out, const masked<Operand>& m) noexcept {
  print_operand(out, m.whole);
  out << " & ";
  bool several = false;
  if constexpr (manner_of<Operand>::value == manner::tcp_flags) several = (m.mask & (m.mask - 1)) != 0;
  if (several) out << '(';
  print_value(out, m, m.mask);
  if (several) out << ')';
}

}  // namespace runnel::match::detail

#endif

// ==== runnel/match/print_condition.hpp ===============================================================================
// Single conditions as nft writes them: that a header is there or not, that an operand has a value.
#ifndef RUNNEL_MATCH_PRINT_CONDITION_HPP
#define RUNNEL_MATCH_PRINT_CONDITION_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint8_t

namespace runnel::match::detail {

// A line of words: puts the gaps between them.
struct line {
  text_writer& out;
  bool begun = false;

  constexpr text_writer& next() noexcept {
    if (begun) out << ' ';
    begun = true;
    return out;
  }
};

// Whether the header is a message of ICMP or ICMPv6, of some types.
[[nodiscard]] constexpr bool is_message(header h) noexcept {
  return h == header::icmp_echo || h == header::icmpv6_echo || h == header::icmpv6_target ||
         family_of(h) == header_family::icmp_message || family_of(h) == header_family::icmpv6_message;
}
constexpr void print_message(text_writer& out, header h, bool present) noexcept {
  const bool four = h == header::icmp_echo || family_of(h) == header_family::icmp_message;
  out << (four ? "icmp type " : "icmpv6 type ") << (present ? "" : "!= ");
  switch (h) {
    case header::icmp_echo: out << "{ 0, 8 }"; return;
    case header::icmpv6_echo: out << "{ 128, 129 }"; return;
    case header::icmpv6_target: out << "{ 130, 131, 132, 135, 136, 137 }"; return;
    default: out << number_of(h);
  }
}
// The header without which there is no such header; itself where there is none.
[[nodiscard]] constexpr header around(header h) noexcept {
  switch (family_of(h)) {
    case header_family::ipv4_option: return header::ipv4;
    case header_family::tcp_option: return header::tcp;
    case header_family::ipv6_extension: return header::ipv6;
    case header_family::icmp_message: return header::icmp;
    case header_family::icmpv6_message:
    case header_family::nd_option: return header::icmpv6;
    case header_family::gre_word: return header::gre;
    case header_family::single: break;
  }
  switch (h) {
    case header::icmp_echo: return header::icmp;
    case header::icmpv6_echo:
    case header::icmpv6_target: return header::icmpv6;
    case header::vxlan: return header::udp;
    default: return h;
  }
}
// How many lines it takes to say that a header is missing.
[[nodiscard]] constexpr std::size_t lines_without(header h) noexcept {
  if (around(h) != h) return lines_without(around(h)) + 1;
  switch (h) {
    case header::ipv6_fragment:
    case header::icmp:
    case header::icmpv6:
    case header::tcp:
    case header::udp:
    case header::th:
    case header::gre: return 2;
    default: return 1;
  }
}
constexpr void print_with(line& l, header h) noexcept {
  switch (h) {
    case header::ethernet: l.next() << "meta iiftype ether"; return;
    case header::vlan: l.next() << "ether type { 8021q, 8021ad }"; return;
    case header::cvlan: l.next() << "cvlan exists"; return;
    case header::mpls: l.next() << "meta protocol 0x8847"; return;
    case header::arp: l.next() << "meta protocol arp"; return;
    case header::ipv4: l.next() << "meta protocol ip"; return;
    case header::ipv6: l.next() << "meta protocol ip6"; return;
    case header::ipv6_fragment: l.next() << "exthdr frag exists"; return;
    case header::icmp: l.next() << "meta l4proto icmp"; return;
    case header::icmpv6: l.next() << "meta l4proto ipv6-icmp"; return;
    case header::tcp: l.next() << "meta l4proto tcp"; return;
    case header::udp: l.next() << "meta l4proto udp"; return;
    case header::th: l.next() << "meta l4proto { tcp, udp }"; return;
    case header::gre: l.next() << "meta l4proto gre"; return;
    case header::vxlan: l.next() << "udp dport 4789"; return;
    case header::llc: l.next() << "llc exists"; return;
    case header::snap: l.next() << "snap exists"; return;
    case header::icmp_echo:
    case header::icmpv6_echo:
    case header::icmpv6_target: break;
  }
  if (is_message(h)) {
    print_message(l.next(), h, true);
  } else {
    print_numbered(l.next(), h, false);
    l.out << " exists";
  }
}
constexpr void print_without(line& l, header h, std::size_t which) noexcept {
  const std::size_t lines = lines_without(h);
  if (around(h) != h && which + 1 < lines) return print_without(l, around(h), which);
  if (around(h) == h && lines == 2 && which == 0) {
    l.next() << (h == header::ipv6_fragment ? "meta protocol != ip6" : "meta protocol != { ip, ip6 }");
    return;
  }
  switch (h) {
    case header::ethernet: l.next() << "meta iiftype != ether"; return;
    case header::vlan: l.next() << "ether type != { 8021q, 8021ad }"; return;
    case header::cvlan: l.next() << "cvlan missing"; return;
    case header::mpls: l.next() << "meta protocol != 0x8847"; return;
    case header::arp: l.next() << "meta protocol != arp"; return;
    case header::ipv4: l.next() << "meta protocol != ip"; return;
    case header::ipv6: l.next() << "meta protocol != ip6"; return;
    case header::ipv6_fragment: l.next() << "exthdr frag missing"; return;
    case header::icmp: l.next() << "meta l4proto != icmp"; return;
    case header::icmpv6: l.next() << "meta l4proto != ipv6-icmp"; return;
    case header::tcp: l.next() << "meta l4proto != tcp"; return;
    case header::udp: l.next() << "meta l4proto != udp"; return;
    case header::th: l.next() << "meta l4proto != { tcp, udp }"; return;
    case header::gre: l.next() << "meta l4proto != gre"; return;
    case header::vxlan: l.next() << "udp dport != 4789"; return;
    case header::llc: l.next() << "llc missing"; return;
    case header::snap: l.next() << "snap missing"; return;
    case header::icmp_echo:
    case header::icmpv6_echo:
    case header::icmpv6_target: break;
  }
  if (is_message(h)) {
    print_message(l.next(), h, false);
  } else {
    print_numbered(l.next(), h, false);
    l.out << " missing";
  }
}

constexpr const char* symbol(relation r) noexcept {
  switch (r) {
    case relation::equal: return " == ";
    case relation::not_equal: return " != ";
    case relation::less: return " < ";
    case relation::less_equal: return " <= ";
    case relation::greater: return " > ";
    case relation::greater_equal: return " >= ";
  }
  return " ? ";
}
template <bool Positive, class Operand, relation Relation>
constexpr void print_rest(text_writer& out, const comparison<Operand, Relation>& e) noexcept {
  constexpr relation shown = Positive ? Relation : opposite(Relation);
  out << (shown == relation::equal && !needs_equals_sign<Operand> ? " " : symbol(shown));
  print_value(out, e.left, e.right);
}
constexpr void print_inside(text_writer& out, bool inside) noexcept { out << (inside ? " " : " != "); }
template <bool Positive, class Operand, bool Inside>
constexpr void print_rest(text_writer& out, const in_range<Operand, Inside>& e) noexcept {
  print_inside(out, Inside == Positive);
  print_value(out, e.left, e.first);
  out << '-';
  print_value(out, e.left, e.last);
}
template <bool Positive, class Operand, bool Inside>
constexpr void print_rest(text_writer& out, const in_prefix<Operand, Inside>& e) noexcept {
  print_inside(out, Inside == Positive);
  print_value(out, e.left, e.address);
  out << '/' << e.length;
}
template <bool Positive, class Operand, class V, std::size_t N, bool Inside>
constexpr void print_rest(text_writer& out, const in_constants<Operand, V, N, Inside>& e) noexcept {
  print_inside(out, Inside == Positive);
  out << '{';
  for (std::size_t i = 0; i < N; ++i) {
    if (i != 0 && e.set.keys()[i] == e.set.keys()[i - 1]) continue;
    out << (i == 0 ? " " : ", ");
    print_value(out, e.left, e.set.keys()[i]);
  }
  out << " }";
}
template <bool Positive, class Operand, class Set, bool Inside>
constexpr void print_rest(text_writer& out, const in_set<Operand, Set, Inside>& e) noexcept {
  print_inside(out, Inside == Positive);
  out << '@';
  if constexpr (requires { out << e.set->name(); }) out << e.set->name();
  else out << "set";
}

}  // namespace runnel::match::detail

#endif

// ==== runnel/match/rules.hpp =========================================================================================
// Rules: `when(expression) >> verdict`, tried in order. The first that matches decides.
#ifndef RUNNEL_MATCH_RULES_HPP
#define RUNNEL_MATCH_RULES_HPP

#include <cstddef>      // size_t
#include <cstdint>      // uint64_t
#include <type_traits>  // is_convertible_v, is_same_v

namespace runnel {

/// A condition and what happens with the packets that meet it.
template <match::match_expression Expression>
struct rule {
  /// What the library knows it by. @{
  static constexpr bool is_rule = true;
  static constexpr bool is_otherwise = std::is_same_v<Expression, match::always>;
  /// @}

  /// When the rule decides.
  Expression condition;
  /// What it decides.
  verdict target;
};

namespace detail {

// What `when` returns: a condition that still needs its `>> verdict`.
template <match::match_expression Expression>
struct when_clause {
  Expression expression;

  template <class Verdict>
  [[nodiscard]] constexpr rule<Expression> operator>>(const Verdict& v) const noexcept {
    static_assert(
        std::is_convertible_v<const Verdict&, verdict>,
        "runnel: behind when(...) >> stands a verdict: accept, drop, drop(drop_reason::...), tx, redirect(n)");
    if constexpr (std::is_convertible_v<const Verdict&, verdict>) return {expression, v};
    else return {expression, drop};
  }
};

}  // namespace detail

/// The condition of a rule: `when(tcp::dport == 22) >> accept`.
template <class Expression>
[[nodiscard]] constexpr auto when(const Expression& e) noexcept {
  static_assert(
      !match::match_operand<Expression>,
      "runnel: when(...) takes a condition, and this is only a field: compare it, tcp::dport == 22, or ask for its "
      "header, has<tcp>");
  static_assert(match::match_operand<Expression> || match::match_expression<Expression>,
                "runnel: when(...) takes a match expression: a comparison of a field with a value (tcp::dport == 22), "
                ".in(...), has<tcp>, or some of these joined with && || !; for code of your own write a handler");
  if constexpr (match::match_expression<Expression>) return detail::when_clause<Expression>{e};
  else return detail::when_clause<match::always>{};
}
/// The condition of the last rule, for packets that none before it decided about: `otherwise >> drop`.
inline constexpr detail::when_clause<match::always> otherwise{};

namespace detail {

template <class... Rules>
struct rule_chain {
  [[nodiscard]] RUNNEL_INLINE constexpr bool decide(const subject&, verdict&, std::size_t&) const noexcept {
    return false;
  }
  template <class F>
  constexpr void for_each(F&) const {}
};
template <class First, class... More>
struct rule_chain<First, More...> {
  First first;
  rule_chain<More...> more;

  // Finds the verdict, and adds to `at` the place of the rule that has it, or the number of rules.
  [[nodiscard]] RUNNEL_INLINE constexpr bool decide(const subject& s, verdict& v, std::size_t& at) const noexcept {
    if (first.condition(s)) {
      v = first.target;
      return true;
    }
    ++at;
    return more.decide(s, v, at);
  }
  template <class F>
  constexpr void for_each(F& f) const {
    f(first);
    more.for_each(f);
  }
};
template <class... Rules>
constexpr rule_chain<Rules...> make_rule_chain(const Rules&... all) noexcept {
  if constexpr (sizeof...(Rules) == 0) return {};
  else
    return [](const auto& first, const auto&... more) {
      return rule_chain<Rules...>{first, make_rule_chain(more...)};
    }(all...);
}

template <class R>
inline constexpr bool is_a_rule = requires { requires R::is_rule; };

// Whether a rule stands behind `otherwise`.
template <class... Rules>
constexpr bool some_rule_is_out_of_reach() noexcept {
  const bool is_last[] = {Rules::is_otherwise..., false};
  for (std::size_t i = 0; i + 1 < sizeof...(Rules); ++i)
    if (is_last[i]) return true;
  return false;
}

}  // namespace detail

/// Rules in their order: what `rules(...)` makes. A stage of a pipeline, a program for early verdicts, a filter.
///
/// The rule's expressions are kept by value, sets by pointer. Nothing is allocated, nothing changes: may be `constexpr`
/// and used by several threads.
template <class... Rules>
class rules_of {
 public:
  /// What the library knows it by.
  static constexpr bool is_rules = true;
  static constexpr std::size_t size = sizeof...(Rules);  ///< how many rules, `otherwise` included

  /// Use `rules(...)`.
  constexpr explicit rules_of(const Rules&... all) noexcept : list_(detail::make_rule_chain(all...)) {}

  /// The verdict of the first rule that matches; `accept`, as with nft's default policy, when none does.
  RUNNEL_INLINE constexpr verdict operator()(const subject& s) const noexcept {
    verdict v = accept;
    std::size_t unused = 0;
    (void)list_.decide(s, v, unused);
    return v;
  }
  /// The same, and which rule it was, counting from 0; `size` when none matched.
  RUNNEL_INLINE constexpr verdict decide(const subject& s, std::size_t& which) const noexcept {
    verdict v = accept;
    which = 0;
    (void)list_.decide(s, v, which);
    return v;
  }
  /// Calls `f(rule)` for each rule in turn.
  template <class F>
  constexpr void for_each(F f) const {
    list_.for_each(f);
  }

 private:
  [[no_unique_address]] detail::rule_chain<Rules...> list_;
};

/// The rules of a policy, first match wins:
///
///     constexpr auto policy = rules(
///         when(tcp::dport == 22 && ip::saddr.in(net("10.0.0.0/8"))) >> accept,
///         when(tcp::dport.in(constant_set{80, 443}))                >> accept,
///         otherwise                                                 >> drop);
///     verdict v = policy(packet);
template <class... Rules>
[[nodiscard]] constexpr auto rules(const Rules&... all) noexcept {
  constexpr bool good = (true && ... && detail::is_a_rule<Rules>);
  static_assert(good, "runnel: rules(...) takes rules: when(expression) >> verdict, ..., otherwise >> verdict");
  if constexpr (good) {
    static_assert(!detail::some_rule_is_out_of_reach<Rules...>(),
                  "runnel: no packet comes to a rule behind 'otherwise': make 'otherwise' the last rule");
    return rules_of<Rules...>{all...};
  } else {
    return rules_of<>{};
  }
}

/// How many packets a rule decided about, and their bytes.
struct rule_counter {
  /// How many packets.
  std::uint64_t packets = 0;
  /// Their bytes, link header included.
  std::uint64_t bytes = 0;
};

/// Rules that count their hits: what `counted(rules(...))` makes. Sixteen bytes a rule; an add to memory per packet.
/// For one thread; each worker has its own.
template <class Rules>
class counted_rules {
 public:
  /// What the library knows it by.
  static constexpr bool is_rules = true;
  /// How many rules, `otherwise` included.
  static constexpr std::size_t size = Rules::size;

  /// Use `counted(rules(...))`.
  constexpr explicit counted_rules(const Rules& r) noexcept : rules_(r) {}

  /// Decides, and counts the hit.
  RUNNEL_INLINE verdict operator()(const subject& s) const noexcept {
    std::size_t which = 0;
    const verdict v = rules_.decide(s, which);
    ++hits_[which].packets;
    hits_[which].bytes += s.length;
    return v;
  }
  /// The counter of rule `i`; that of `size` is for packets that no rule decided about.
  [[nodiscard]] const rule_counter& hits(std::size_t i) const noexcept {
    RUNNEL_ASSERT(i <= size);
    return hits_[i];
  }
  /// Sets all counters to 0.
  void reset() noexcept {
    for (rule_counter& c : hits_) c = {};
  }
  /// The rules alone.
  [[nodiscard]] constexpr const Rules& without_counters() const noexcept { return rules_; }

 private:
  Rules rules_;
  mutable rule_counter hits_[size + 1]{};
};

/// The same rules with a counter each, as nft's `counter`. A pipeline takes a copy, which counts for itself: to read
/// the counters of rules in a pipeline, let `[&](const subject& s) { return policy(s); }` stand there.
template <class Rules>
  requires requires { requires Rules::is_rules; }
[[nodiscard]] constexpr counted_rules<Rules> counted(const Rules& r) noexcept {
  return counted_rules<Rules>{r};
}

}  // namespace runnel

#endif

// ==== runnel/match/print.hpp =========================================================================================
// Prints match expressions and rules as nft writes them, so that they can be read, compared and loaded there.
//
// A rule is one line, or several where it takes several: nft joins conditions by "and" only, so a rule with || is
// printed once for each alternative, all with its verdict, and `!(...)` is resolved: `!(tcp::dport == 22)` becomes the
// lines `meta protocol != { ip, ip6 }`, `meta l4proto != tcp` and `tcp dport != 22`. A rule with more than 64
// alternatives is printed as one line with `or` and `not`, which nft does not know.
//
// What nft does not know either is printed in its manner: `meta hash` and `meta queue`; fields of `cvlan`, `mpls`,
// `llc` and `snap`; `gre key` and its like; what neighbour discovery has beside `icmpv6 taddr` and `daddr`; IP options
// by number; `ipip`; the verdicts `tx`, `redirect 2`, `stolen` and `aborted`. What versions newer
// than 1.0.6 know: `vxlan`, `gre` and what is inside them, `icmpv6 taddr` and `daddr`.
//
// Three times nft's words mean a little more: `has<tcp>` is printed as `meta l4proto tcp`, which also holds for later
// fragments; an option that is there, but too short for the field, is not among the lines of a negation; and for nft
// the list of TCP options does not end at the "end of list".
#ifndef RUNNEL_MATCH_PRINT_HPP
#define RUNNEL_MATCH_PRINT_HPP

#include <cstddef>  // size_t

namespace runnel {
namespace match {
namespace detail {

// When an operand has no value: how many lines say so, and what they say. -1 when nft has no words for it.
template <class Operand>
struct absence {
  static constexpr int lines = -1;
};
template <header H, unsigned Offset, unsigned Bits, class V>
struct absence<field<H, Offset, Bits, V>> {
  static constexpr int lines = static_cast<int>(lines_without(H));
  static constexpr void print(line& l, std::size_t which) noexcept { print_without(l, H, which); }
};
template <meta_key Key, unsigned Bits, class V>
struct absence<meta_field<Key, Bits, V>> {
  static constexpr int lines = Key == meta_key::l4proto ? 1 : 0;
  static constexpr void print(line& l, std::size_t) noexcept { l.next() << "meta protocol != { ip, ip6 }"; }
};
template <class Operand>
struct absence<masked<Operand>> : absence<Operand> {};

// Each kind of expression: `lines<Positive>`, how many lines it takes to say that it holds (or not), and
// `print<Positive>`, which prints one of them.
template <class Expression>
struct printer {
  template <bool Positive>
  static constexpr std::size_t lines = 1;
  template <bool Positive>
  static constexpr void print(line& l, const Expression& e, std::size_t) noexcept {
    l.next() << (Positive ? "" : "not (");
    if constexpr (requires { e.print(l.out); }) e.print(l.out);
    else l.out << "custom";
    if (!Positive) l.out << ')';
  }
};

// A condition on an operand: prints itself, its opposite, or that the operand has no value.
template <class Expression>
struct leaf_printer {
  using operand_type = typename Expression::operand_type;
  using without = absence<operand_type>;
  template <bool Positive>
  static constexpr std::size_t lines =
      Positive || without::lines < 0 ? 1 : 1 + static_cast<std::size_t>(without::lines);

  template <bool Positive>
  static constexpr void print(line& l, const Expression& e, std::size_t which) noexcept {
    if constexpr (Positive) {
      print_condition<true>(l, e);
    } else if constexpr (without::lines < 0) {
      l.next() << "not (";
      line inner{l.out};
      print_condition<true>(inner, e);
      l.out << ')';
    } else {
      if (which < static_cast<std::size_t>(without::lines)) without::print(l, which);
      else print_condition<false>(l, e);
    }
  }
  template <bool Positive>
  static constexpr void print_condition(line& l, const Expression& e) noexcept {
    if constexpr (told_before<operand_type>::needed) print_with(l, told_before<operand_type>::what);
    text_writer& out = l.next();
    print_operand(out, e.left);
    print_rest<Positive>(out, e);
  }
};

template <class Operand, relation Relation>
struct printer<comparison<Operand, Relation>> : leaf_printer<comparison<Operand, Relation>> {};
template <class Operand, bool Inside>
struct printer<in_range<Operand, Inside>> : leaf_printer<in_range<Operand, Inside>> {};
template <class Operand, bool Inside>
struct printer<in_prefix<Operand, Inside>> : leaf_printer<in_prefix<Operand, Inside>> {};
template <class Operand, class V, std::size_t N, bool Inside>
struct printer<in_constants<Operand, V, N, Inside>> : leaf_printer<in_constants<Operand, V, N, Inside>> {};
template <class Operand, class Set, bool Inside>
struct printer<in_set<Operand, Set, Inside>> : leaf_printer<in_set<Operand, Set, Inside>> {};

template <header H>
struct printer<has_header<H>> {
  template <bool Positive>
  static constexpr std::size_t lines = Positive ? 1 : lines_without(H);
  template <bool Positive>
  static constexpr void print(line& l, const has_header<H>&, std::size_t which) noexcept {
    if constexpr (Positive) print_with(l, H);
    else print_without(l, H, which);
  }
};
template <>
struct printer<always> {
  template <bool Positive>
  static constexpr std::size_t lines = Positive ? 1 : 0;
  template <bool Positive>
  static constexpr void print(line&, const always&, std::size_t) noexcept {}
};
template <class Inner>
struct printer<negation<Inner>> {
  template <bool Positive>
  static constexpr std::size_t lines = printer<Inner>::template lines<!Positive>;
  template <bool Positive>
  static constexpr void print(line& l, const negation<Inner>& e, std::size_t which) noexcept {
    printer<Inner>::template print<!Positive>(l, e.inner, which);
  }
};
// "And" and "or", and each the other when it is not to hold: all pairs of lines, or the lines of both in turn.
template <class Pair, class Left, class Right, bool IsBoth>
struct pair_printer {
  template <bool Positive>
  static constexpr std::size_t left = printer<Left>::template lines<Positive>;
  template <bool Positive>
  static constexpr std::size_t right = printer<Right>::template lines<Positive>;
  template <bool Positive>
  static constexpr std::size_t lines =
      Positive == IsBoth ? left<Positive> * right<Positive> : left<Positive> + right<Positive>;

  template <bool Positive>
  static constexpr void print(line& l, const Pair& e, std::size_t which) noexcept {
    if constexpr (Positive == IsBoth) {
      printer<Left>::template print<Positive>(l, e.left, which / right<Positive>);
      printer<Right>::template print<Positive>(l, e.right, which % right<Positive>);
    } else if (which < left<Positive>) {
      printer<Left>::template print<Positive>(l, e.left, which);
    } else {
      printer<Right>::template print<Positive>(l, e.right, which - left<Positive>);
    }
  }
};
template <class Left, class Right>
struct printer<both<Left, Right>> : pair_printer<both<Left, Right>, Left, Right, true> {};
template <class Left, class Right>
struct printer<either<Left, Right>> : pair_printer<either<Left, Right>, Left, Right, false> {};

// One line for the whole tree.
template <class Expression>
constexpr void print_tree(line& l, const Expression& e) noexcept {
  printer<Expression>::template print<true>(l, e, 0);
}
template <class Part>
inline constexpr bool is_either = false;
template <class Left, class Right>
inline constexpr bool is_either<either<Left, Right>> = true;
template <class Part>
inline constexpr bool is_both = false;
template <class Left, class Right>
inline constexpr bool is_both<both<Left, Right>> = true;

template <class Left, class Right>
constexpr void print_tree(line& l, const both<Left, Right>& e) noexcept;
template <class Left, class Right>
constexpr void print_tree(line& l, const either<Left, Right>& e) noexcept;
template <class Inner>
constexpr void print_tree(line& l, const negation<Inner>& e) noexcept {
  l.next() << "not (";
  line inner{l.out};
  print_tree(inner, e.inner);
  l.out << ')';
}
template <bool InBrackets, class Part>
constexpr void print_part(line& l, const Part& e) noexcept {
  if constexpr (InBrackets) {
    l.next() << '(';
    line inner{l.out};
    print_tree(inner, e);
    l.out << ')';
  } else {
    print_tree(l, e);
  }
}
template <class Left, class Right>
constexpr void print_tree(line& l, const both<Left, Right>& e) noexcept {
  print_part<is_either<Left>>(l, e.left);
  print_part<is_either<Right>>(l, e.right);
}
template <class Left, class Right>
constexpr void print_tree(line& l, const either<Left, Right>& e) noexcept {
  print_part<is_both<Left>>(l, e.left);
  l.next() << "or";
  print_part<is_both<Right>>(l, e.right);
}

template <class Expression>
inline constexpr std::size_t lines_of = printer<Expression>::template lines<true>;

}  // namespace detail

/// The expression on one line, as the left side of an nft rule. What joins conditions in another way than nft's "and"
/// is printed as `a or b`, `(a or b) c`, `not (a)`.
template <match_expression Expression>
constexpr void print(text_writer& out, const Expression& e) noexcept {
  detail::line l{out};
  detail::print_tree(l, e);
}

}  // namespace match

/// A verdict as at the end of an nft rule: `accept`, `drop`, with the cause of a drop as its comment.
constexpr void print(text_writer& out, const verdict& v) noexcept {
  switch (v.code) {
    case verdict_code::pass: out << "accept"; return;
    case verdict_code::redirect: out << "redirect " << v.port; return;
    case verdict_code::drop:
      out << "drop";
      if (v.reason != drop_reason::policy && v.reason != drop_reason::none)
        out << " comment \"" << name(v.reason) << '"';
      return;
    default: out << name(v.code);
  }
}

namespace detail {

template <class Expression>
constexpr void print_rule(text_writer& out, const rule<Expression>& r, const rule_counter* hits) noexcept {
  constexpr std::size_t lines = match::detail::lines_of<Expression>;
  constexpr bool all = lines <= 64;
  for (std::size_t i = 0; i < (all ? lines : 1); ++i) {
    match::detail::line l{out};
    if constexpr (all) match::detail::printer<Expression>::template print<true>(l, r.condition, i);
    else match::detail::print_tree(l, r.condition);
    if (hits != nullptr && i == 0) l.next() << "counter packets " << hits->packets << " bytes " << hits->bytes;
    print(l.next(), r.target);
    out << '\n';
  }
}

}  // namespace detail

/// The lines of a rule, each with a newline.
template <match::match_expression Expression>
constexpr void print(text_writer& out, const rule<Expression>& r) noexcept {
  detail::print_rule(out, r, nullptr);
}
/// All rules, as they would stand in a chain with `policy accept`.
template <class... Rules>
constexpr void print(text_writer& out, const rules_of<Rules...>& all) noexcept {
  all.for_each([&](const auto& r) { print(out, r); });
}
/// All rules with their counters, each on the first line of its rule.
template <class Rules>
void print(text_writer& out, const counted_rules<Rules>& all) noexcept {
  std::size_t i = 0;
  all.without_counters().for_each([&](const auto& r) { detail::print_rule(out, r, &all.hits(i++)); });
}

}  // namespace runnel

#endif

// ==== runnel/match.hpp ===============================================================================================
// Match expressions over header fields and metadata, sets, rules, and their printing.
#ifndef RUNNEL_MATCH_ALL_HPP
#define RUNNEL_MATCH_ALL_HPP

#endif

// ==== runnel/packet/cursor.hpp =======================================================================================
// A reader that walks a packet's bytes from front to back, across fragments, and cannot be walked out of them.
#ifndef RUNNEL_PACKET_CURSOR_HPP
#define RUNNEL_PACKET_CURSOR_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t

namespace runnel {

/// Reads numbers in network order and runs of bytes. The first read beyond the end fails, yields zero, and makes
/// every later one fail too: read a whole message, then ask `ok()` once. Does not own; valid as long as the packet
/// and its bytes. A read costs a bounds check, and a walk to the next fragment where one ends.
class cursor {
 public:
  /// Reads these bytes.
  constexpr explicit cursor(bytes one) noexcept : part_(one), left_(one.size()) {}
  /// Reads a packet with all that is chained to it.
  explicit cursor(const packet& p) noexcept : part_(p.contents()), packet_(&p), left_(p.total_length()) {}

  /// Whether all that was read was there.
  [[nodiscard]] constexpr bool ok() const noexcept { return ok_; }
  /// Bytes not yet read.
  [[nodiscard]] constexpr std::size_t remaining() const noexcept { return left_; }

  /// The next number of the size and order of its name; 0, and `ok()` turns false, when there are too few bytes. @{
  [[nodiscard]] constexpr std::uint8_t u8() noexcept {
    std::byte b[1]{};
    copy_to(b);
    return load_u8(b);
  }
  [[nodiscard]] constexpr std::uint16_t be16() noexcept {
    std::byte b[2]{};
    copy_to(b);
    return load_be16(b);
  }
  [[nodiscard]] constexpr std::uint32_t be32() noexcept {
    std::byte b[4]{};
    copy_to(b);
    return load_be32(b);
  }
  [[nodiscard]] constexpr std::uint64_t be64() noexcept {
    std::byte b[8]{};
    copy_to(b);
    return load_be64(b);
  }
  /// @}
  /// Passes over `n` bytes; `ok()` turns false when there are too few.
  constexpr void skip(std::size_t n) noexcept { step(n, nullptr); }
  /// Fills `to` with the next bytes; with zeros, and `ok()` turns false, when there are not as many.
  constexpr void copy_to(mutable_bytes to) noexcept {
    if (!step(to.size(), to.data())) zero_bytes(to.data(), to.size());
  }

 private:
  constexpr bool step(std::size_t n, std::byte* to) noexcept {
    if (!ok_ || n > left_) {
      ok_ = false;
      return false;
    }
    left_ -= n;
    while (n > part_.size()) {
      if (to != nullptr) {
        copy_bytes(to, part_.data(), part_.size());
        to += part_.size();
      }
      n -= part_.size();
      ++fragment_;
      std::size_t i = 0;
      packet_->for_each_fragment([&](bytes b) {
        if (i++ == fragment_) part_ = b;
      });
    }
    if (to != nullptr) copy_bytes(to, part_.data(), n);
    part_ = part_.from(n);
    return true;
  }

  bytes part_;
  const packet* packet_ = nullptr;
  std::size_t left_;
  std::size_t fragment_ = 0;
  bool ok_ = true;
};

}  // namespace runnel

#endif

// ==== runnel/packet.hpp ==============================================================================================
// Packets: frames, packets, the pools they come from, bursts, cursors.
#ifndef RUNNEL_PACKET_ALL_HPP
#define RUNNEL_PACKET_ALL_HPP

#endif

// ==== runnel/version.hpp =============================================================================================
// The version of runnel. This file is its only source: CMake and Conan read it from here, and what cannot read it, as
// the manifests of vcpkg cannot, is compared with it by a test.
#ifndef RUNNEL_VERSION_HPP
#define RUNNEL_VERSION_HPP

#define RUNNEL_VERSION_MAJOR 0
#define RUNNEL_VERSION_MINOR 1
#define RUNNEL_VERSION_PATCH 0

#endif

// ==== runnel/wire/flow_key.hpp =======================================================================================
// Who talks to whom, as a value: addresses, ports and protocol in whole 64-bit words, to compare, turn around and
// hash. What connection tables, fair queues and receive steering look packets up by.
#ifndef RUNNEL_WIRE_FLOW_KEY_HPP
#define RUNNEL_WIRE_FLOW_KEY_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t, uint64_t

namespace runnel {

namespace detail {

/// A transport view with ports: tcp, udp and their kin.
template <class T>
concept has_ports = requires(const T& t) {
  t.source_port();
  t.destination_port();
};

// Odd numbers without pattern, those of wyhash. The low 24 bits of the one that meets ports and protocol are not
// zero where theirs are, so that no packet can make a factor zero.
inline constexpr std::uint64_t flow_hash_keys[5] = {0xa076'1d64'78bd'642f, 0xe703'7ed1'a0b4'28db, 0x8ebc'6af0'9c88'c6e3,
                                                    0x5899'65cc'7537'4cc3, 0x1d8e'4e27'c47d'124f};

// Source port, destination port, protocol, 24 zero bits: the last word of a key.
[[nodiscard]] constexpr std::uint64_t ports_word(std::uint32_t ports, std::uint8_t protocol) noexcept {
  return std::uint64_t{ports} << 32 | std::uint64_t{protocol} << 24;
}
[[nodiscard]] constexpr std::uint64_t swap_ports(std::uint64_t word) noexcept {
  const auto ports = static_cast<std::uint32_t>(word >> 32);
  return std::uint64_t{ports << 16 | ports >> 16} << 32 | (word & 0xffff'ffff);
}
[[nodiscard]] constexpr std::uint32_t load_ports(bytes transport) noexcept {
  return transport.size() < 4 ? 0 : load_be32(transport.data());
}
template <has_ports Transport>
[[nodiscard]] constexpr std::uint32_t load_ports(const Transport& transport) noexcept {
  if constexpr (requires { transport.ports(); }) return transport.ports();
  else return std::uint32_t{transport.source_port()} << 16 | transport.destination_port();
}

}  // namespace detail

/// The flow of an IPv4 packet: 16 bytes in two words, compared and hashed in registers. Made from a packet with whole
/// loads and written as whole words, so that a lookup never waits for store forwarding. ICMP and protocols without
/// ports have zeros there, or what the caller chooses (an echo identifier as both ports, say).
class flow_key4 {
 public:
  /// The first words hold the addresses, the last one ports, protocol and zeros, all as they lie on the wire, the
  /// first byte most significant.
  static constexpr std::size_t words = 2;

  constexpr flow_key4() noexcept = default;
  /// From its parts; ports are in host order.
  constexpr flow_key4(ipv4_address source, ipv4_address destination, std::uint16_t source_port,
                      std::uint16_t destination_port, std::uint8_t protocol) noexcept
      : flow_key4(source, destination, std::uint32_t{source_port} << 16 | destination_port, protocol) {}

  /// Of a packet whose transport has ports. A fragment's ports are the caller's to doubt.
  template <class Byte, detail::has_ports Transport>
  [[nodiscard]] static constexpr flow_key4 from(const basic_ipv4<Byte>& outer, const Transport& transport) noexcept {
    return flow_key4{outer.addresses(), detail::ports_word(detail::load_ports(transport), outer.protocol_number())};
  }
  /// Of a packet whose transport header begins with two ports; zeros when it is shorter than those.
  template <class Byte>
  [[nodiscard]] static constexpr flow_key4 from(const basic_ipv4<Byte>& outer, bytes transport) noexcept {
    return flow_key4{outer.addresses(), detail::ports_word(detail::load_ports(transport), outer.protocol_number())};
  }
  /// Of a packet without ports, or with ports as given.
  template <class Byte>
  [[nodiscard]] static constexpr flow_key4 from(const basic_ipv4<Byte>& outer, std::uint16_t source_port = 0,
                                                std::uint16_t destination_port = 0) noexcept {
    return {outer.source(), outer.destination(), source_port, destination_port, outer.protocol_number()};
  }

  /// A part of the key, in host order. @{
  [[nodiscard]] constexpr ipv4_address source() const noexcept {
    return ipv4_address{static_cast<std::uint32_t>(word_[0] >> 32)};
  }
  [[nodiscard]] constexpr ipv4_address destination() const noexcept {
    return ipv4_address{static_cast<std::uint32_t>(word_[0])};
  }
  [[nodiscard]] constexpr std::uint16_t source_port() const noexcept {
    return static_cast<std::uint16_t>(word_[1] >> 48);
  }
  [[nodiscard]] constexpr std::uint16_t destination_port() const noexcept {
    return static_cast<std::uint16_t>(word_[1] >> 32);
  }
  [[nodiscard]] constexpr std::uint8_t protocol_number() const noexcept {
    return static_cast<std::uint8_t>(word_[1] >> 24);
  }
  /// @}
  /// Word `i < words`, for tables and hashes of one's own.
  [[nodiscard]] constexpr std::uint64_t word(std::size_t i) const noexcept { return word_[i]; }

  /// The key of the packets that go the other way.
  [[nodiscard]] constexpr flow_key4 reversed() const noexcept {
    return flow_key4{word_[0] << 32 | word_[0] >> 32, detail::swap_ports(word_[1])};
  }
  /// Whether the source is the lesser end (address first, then port): true of exactly one direction of a flow, of both
  /// when the ends are the same.
  [[nodiscard]] constexpr bool is_canonical() const noexcept {
    const std::uint64_t from = (word_[0] >> 32) << 16 | word_[1] >> 48;
    const std::uint64_t to = (word_[0] & 0xffff'ffff) << 16 | (word_[1] >> 32 & 0xffff);
    return from <= to;
  }
  /// The same key for both directions of a flow.
  [[nodiscard]] constexpr flow_key4 canonical() const noexcept { return is_canonical() ? *this : reversed(); }
  /// An ordinary fast hash, all 64 bits good; the same on every target. With a secret random `seed` a stranger cannot
  /// choose flows that collide; without one they can. Directions hash apart: take `canonical()` first to join them.
  [[nodiscard]] constexpr std::uint64_t hash(std::uint64_t seed = 0) const noexcept {
    const auto& k = detail::flow_hash_keys;
    return detail::multiply_fold(detail::multiply_fold(word_[0] ^ k[0] ^ seed, word_[1] ^ k[1]) ^ seed, k[4]);
  }
  /// Equal when all their parts are.
  friend constexpr bool operator==(const flow_key4& a, const flow_key4& b) noexcept {
    return ((a.word_[0] ^ b.word_[0]) | (a.word_[1] ^ b.word_[1])) == 0;
  }

 private:
  constexpr flow_key4(std::uint64_t addresses, std::uint64_t rest) noexcept : word_{addresses, rest} {}
  constexpr flow_key4(ipv4_address source, ipv4_address destination, std::uint32_t ports,
                      std::uint8_t protocol) noexcept
      : word_{std::uint64_t{source.value()} << 32 | destination.value(), detail::ports_word(ports, protocol)} {}

  std::uint64_t word_[words] = {};
};
static_assert(sizeof(flow_key4) == 16);

/// The flow of an IPv6 packet: 40 bytes in five words. See `flow_key4`. The protocol is that of the transport, behind
/// the extension headers; the flow label is no part of it.
class flow_key6 {
 public:
  static constexpr std::size_t words = 5;  ///< as in `flow_key4`

  constexpr flow_key6() noexcept = default;
  /// From its parts; ports are in host order.
  constexpr flow_key6(const ipv6_address& source, const ipv6_address& destination, std::uint16_t source_port,
                      std::uint16_t destination_port, std::uint8_t protocol) noexcept
      : flow_key6(source, destination, std::uint32_t{source_port} << 16 | destination_port, protocol) {}

  /// Of a packet whose transport has ports; `protocol` is the transport's number.
  template <class Byte, detail::has_ports Transport>
  [[nodiscard]] static constexpr flow_key6 from(const basic_ipv6<Byte>& outer, std::uint8_t protocol,
                                                const Transport& transport) noexcept {
    return {outer.source(), outer.destination(), detail::load_ports(transport), protocol};
  }
  /// Of a packet whose transport header begins with two ports; zeros when it is shorter than those.
  template <class Byte>
  [[nodiscard]] static constexpr flow_key6 from(const basic_ipv6<Byte>& outer, std::uint8_t protocol,
                                                bytes transport) noexcept {
    return {outer.source(), outer.destination(), detail::load_ports(transport), protocol};
  }
  /// Of a packet without ports, or with ports as given.
  template <class Byte>
  [[nodiscard]] static constexpr flow_key6 from(const basic_ipv6<Byte>& outer, std::uint8_t protocol,
                                                std::uint16_t source_port = 0,
                                                std::uint16_t destination_port = 0) noexcept {
    return {outer.source(), outer.destination(), source_port, destination_port, protocol};
  }

  /// A part of the key, in host order. @{
  [[nodiscard]] constexpr ipv6_address source() const noexcept { return {word_[0], word_[1]}; }
  [[nodiscard]] constexpr ipv6_address destination() const noexcept { return {word_[2], word_[3]}; }
  [[nodiscard]] constexpr std::uint16_t source_port() const noexcept {
    return static_cast<std::uint16_t>(word_[4] >> 48);
  }
  [[nodiscard]] constexpr std::uint16_t destination_port() const noexcept {
    return static_cast<std::uint16_t>(word_[4] >> 32);
  }
  [[nodiscard]] constexpr std::uint8_t protocol_number() const noexcept {
    return static_cast<std::uint8_t>(word_[4] >> 24);
  }
  /// @}
  /// Word `i < words`, for tables and hashes of one's own.
  [[nodiscard]] constexpr std::uint64_t word(std::size_t i) const noexcept { return word_[i]; }

  /// The key of the packets that go the other way.
  [[nodiscard]] constexpr flow_key6 reversed() const noexcept {
    flow_key6 k;
    k.word_[0] = word_[2], k.word_[1] = word_[3], k.word_[2] = word_[0], k.word_[3] = word_[1];
    k.word_[4] = detail::swap_ports(word_[4]);
    return k;
  }
  /// Whether the source is the lesser end (address first, then port): true of exactly one direction of a flow, of both
  /// when the ends are the same.
  [[nodiscard]] constexpr bool is_canonical() const noexcept {
    if (word_[0] != word_[2]) return word_[0] < word_[2];
    if (word_[1] != word_[3]) return word_[1] < word_[3];
    return source_port() <= destination_port();
  }
  /// The same key for both directions of a flow.
  [[nodiscard]] constexpr flow_key6 canonical() const noexcept { return is_canonical() ? *this : reversed(); }
  /// As `flow_key4::hash`.
  [[nodiscard]] constexpr std::uint64_t hash(std::uint64_t seed = 0) const noexcept {
    const auto& k = detail::flow_hash_keys;
    // The seed is in every product: one without it could be made zero by a chosen address.
    const std::uint64_t addresses = detail::multiply_fold(word_[0] ^ k[0] ^ seed, word_[1] ^ k[1]) ^
                                    detail::multiply_fold(word_[2] ^ k[2] ^ seed, word_[3] ^ k[3]);
    return detail::multiply_fold(detail::multiply_fold(addresses ^ seed, word_[4] ^ k[1]) ^ seed, k[4]);
  }
  /// Equal when all their parts are.
  friend constexpr bool operator==(const flow_key6& a, const flow_key6& b) noexcept {
    std::uint64_t different = 0;
    for (std::size_t i = 0; i < words; ++i) different |= a.word_[i] ^ b.word_[i];
    return different == 0;
  }

 private:
  constexpr flow_key6(const ipv6_address& source, const ipv6_address& destination, std::uint32_t ports,
                      std::uint8_t protocol) noexcept
      : word_{source.high(), source.low(), destination.high(), destination.low(), detail::ports_word(ports, protocol)} {
  }

  std::uint64_t word_[words] = {};
};
static_assert(sizeof(flow_key6) == 40);

namespace detail {
constexpr void print_protocol(text_writer& out, std::uint8_t protocol) noexcept {
  switch (protocol) {
    case 1: out << "icmp "; break;
    case 6: out << "tcp "; break;
    case 17: out << "udp "; break;
    case 58: out << "icmp6 "; break;
    default: out << "proto " << protocol << ' ';
  }
}
}  // namespace detail

/// `tcp 10.0.0.1:40000 > 10.0.0.2:80`.
constexpr void print(text_writer& out, const flow_key4& k) noexcept {
  detail::print_protocol(out, k.protocol_number());
  print(out, k.source());
  out << ':' << k.source_port() << " > ";
  print(out, k.destination());
  out << ':' << k.destination_port();
}
/// `tcp [fe80::1]:40000 > [fe80::2]:80`.
constexpr void print(text_writer& out, const flow_key6& k) noexcept {
  detail::print_protocol(out, k.protocol_number());
  print(out << '[', k.source());
  out << "]:" << k.source_port() << " > ";
  print(out << '[', k.destination());
  out << "]:" << k.destination_port();
}

}  // namespace runnel

#endif

// ==== runnel/wire/toeplitz.hpp =======================================================================================
// The hash that network cards steer by (receive side scaling): any key, and the symmetric key at almost no cost.
// Microsoft, "RSS hashing functions"; S. Woo and K. Park, "Scalable TCP session monitoring with symmetric receive-side
// scaling", 2012.
#ifndef RUNNEL_WIRE_TOEPLITZ_HPP
#define RUNNEL_WIRE_TOEPLITZ_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t, uint64_t

namespace runnel {

/// A key of receive side scaling: 40 bytes, as cards take it. Longer keys of some cards count with their first 40
/// bytes for every input that is hashed here.
struct rss_key {
  /// The key's bytes.
  std::uint8_t octets[40] = {};
};
/// The key of Microsoft's verification suite, the default of many drivers.
inline constexpr rss_key microsoft_rss_key{{0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67,
                                            0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb,
                                            0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
                                            0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa}};
/// The key under which both directions of a flow hash alike: 0x6d5a twenty times.
inline constexpr rss_key symmetric_rss_key{{0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a,
                                            0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a,
                                            0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a,
                                            0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a}};

/// The Toeplitz hash under a key chosen at construction: what the card computes, in software. One load and one xor
/// for each input byte. 18 KiB, of which IPv4 touches 6; they want to stay in the first-level cache: keep one per key.
///
/// Why 18 KiB do for inputs of 36 bytes where a table per input byte would take 36: the hash is linear, and byte `v` at
/// place `i` contributes 32 bits, from bit 8i on, of the carry-less product of `v` and the key. Four places in a row
/// need seven bytes of that product: one entry of eight bytes, of which each of the four reads its own window.
class toeplitz {
 public:
  static constexpr std::size_t longest_input = 36;  ///< bytes

  /// Makes the tables for a key.
  explicit constexpr toeplitz(const rss_key& key = microsoft_rss_key) noexcept {
    for (std::size_t group = 0; group < groups; ++group) {
      std::uint64_t from_here = 0;
      for (std::size_t i = 0; i < 8; ++i) from_here = from_here << 8 | key.octets[4 * group + i];
      std::uint64_t row[256] = {};
      for (std::size_t v = 1; v < 256; ++v) {
        const std::size_t rest = v & (v - 1);
        if (rest != 0) row[v] = row[rest] ^ row[v ^ rest];
        else
          for (unsigned bit = 0; bit < 8; ++bit)
            if (v == 0x80u >> bit) row[v] = from_here << bit;
        store_be64(product_ + (group * 256 + v) * 8, row[v]);
      }
    }
  }

  /// Addresses and ports, as cards hash TCP (and UDP where they were told to).
  [[nodiscard]] constexpr std::uint32_t operator()(const flow_key4& k) const noexcept {
    return detail::to_big(word<0>(k.word(0)) ^ half<8>(k.word(1)));
  }
  /// The same for IPv6.
  [[nodiscard]] constexpr std::uint32_t operator()(const flow_key6& k) const noexcept {
    return detail::to_big(six(k) ^ half<32>(k.word(4)));
  }
  /// Addresses only, as cards hash everything else, and fragments.
  [[nodiscard]] constexpr std::uint32_t addresses(const flow_key4& k) const noexcept {
    return detail::to_big(word<0>(k.word(0)));
  }
  /// The same for IPv6.
  [[nodiscard]] constexpr std::uint32_t addresses(const flow_key6& k) const noexcept { return detail::to_big(six(k)); }
  /// Any input, in wire order; at most `longest_input` bytes of it count.
  [[nodiscard]] constexpr std::uint32_t operator()(bytes input) const noexcept {
    const bytes counted = input.first(longest_input);
    std::uint32_t h = 0;
    for (std::size_t i = 0; i < counted.size(); ++i) h ^= window(load_u8(counted.data() + i), i);
    return detail::to_big(h);
  }

 private:
  static constexpr std::size_t groups = longest_input / 4;

  // In host order whatever it means: xor does not mind, and the bytes are turned once, at the end.
  [[nodiscard]] RUNNEL_INLINE constexpr std::uint32_t window(std::uint64_t v, std::size_t place) const noexcept {
    return detail::load<std::uint32_t>(product_ + (place / 4 * 256 + (v & 0xff)) * 8 + place % 4);
  }
  template <std::size_t Place>
  [[nodiscard]] RUNNEL_INLINE constexpr std::uint32_t half(std::uint64_t w) const noexcept {
    return window(w >> 56, Place) ^ window(w >> 48, Place + 1) ^ window(w >> 40, Place + 2) ^
           window(w >> 32, Place + 3);
  }
  template <std::size_t Place>
  [[nodiscard]] RUNNEL_INLINE constexpr std::uint32_t word(std::uint64_t w) const noexcept {
    return half<Place>(w) ^ half<Place + 4>(w << 32);
  }
  [[nodiscard]] RUNNEL_INLINE constexpr std::uint32_t six(const flow_key6& k) const noexcept {
    return word<0>(k.word(0)) ^ word<8>(k.word(1)) ^ word<16>(k.word(2)) ^ word<24>(k.word(3));
  }

  alignas(64) std::byte product_[groups * 256 * 8] = {};
};
static_assert(sizeof(toeplitz) == std::size_t{18} * 1024);

namespace detail {
// The hash of a 16-bit word under the symmetric key, in parts of four bits: 128 bytes.
struct symmetric_parts {
  std::uint16_t part[4][16] = {};
  constexpr symmetric_parts() noexcept {
    for (unsigned place = 0; place < 4; ++place)
      for (unsigned v = 0; v < 16; ++v)
        for (unsigned bit = 0; bit < 4; ++bit)
          if ((v >> (3 - bit) & 1u) != 0)
            part[place][v] = static_cast<std::uint16_t>(part[place][v] ^ (0x6d5a'6d5au << (4 * place + bit) >> 16));
  }
};
inline constexpr symmetric_parts symmetric_table;

[[nodiscard]] constexpr std::uint32_t symmetric_of(std::uint64_t words_together) noexcept {
  std::uint64_t w = words_together ^ words_together >> 32;
  w ^= w >> 16;
  const auto& t = symmetric_table.part;
  return std::uint32_t{t[0][w >> 12 & 15]} ^ t[1][w >> 8 & 15] ^ t[2][w >> 4 & 15] ^ t[3][w & 15];
}
}  // namespace detail

/// The Toeplitz hash under `symmetric_rss_key`: equal for both directions of a flow, and to what a card with that key
/// says. The key repeats after 16 bits, so the input may be folded to 16 bits first, which leaves four loads from 128
/// bytes of table; for the same reason the upper half of the result equals the lower, and only 65,536 values exist.
/// Enough to choose a worker; for a hash table take `flow_key4::canonical().hash()`.
[[nodiscard]] constexpr std::uint32_t symmetric_toeplitz(const flow_key4& k) noexcept {
  return detail::symmetric_of(k.word(0) ^ k.word(1) >> 32) * 0x1'0001u;
}
/// The same for IPv6.
[[nodiscard]] constexpr std::uint32_t symmetric_toeplitz(const flow_key6& k) noexcept {
  return detail::symmetric_of(k.word(0) ^ k.word(1) ^ k.word(2) ^ k.word(3) ^ k.word(4) >> 32) * 0x1'0001u;
}
/// Addresses only: what a card says of everything but TCP, and UDP where it was told to.
[[nodiscard]] constexpr std::uint32_t symmetric_toeplitz_addresses(const flow_key4& k) noexcept {
  return detail::symmetric_of(k.word(0)) * 0x1'0001u;
}
/// The same for IPv6.
[[nodiscard]] constexpr std::uint32_t symmetric_toeplitz_addresses(const flow_key6& k) noexcept {
  return detail::symmetric_of(k.word(0) ^ k.word(1) ^ k.word(2) ^ k.word(3)) * 0x1'0001u;
}

}  // namespace runnel

#endif

// ==== runnel/wire.hpp ================================================================================================
// Protocols: checked views, builders, printers; checksums, flow keys, the dissection of whole packets.
#ifndef RUNNEL_WIRE_ALL_HPP
#define RUNNEL_WIRE_ALL_HPP

#endif

// ==== runnel/xdp/assembler.hpp =======================================================================================
// Puts eBPF programs together: one call an instruction, jumps to labels, maps by their place in the program's list.
#ifndef RUNNEL_XDP_ASSEMBLER_HPP
#define RUNNEL_XDP_ASSEMBLER_HPP

#include <cstddef>  // size_t
#include <cstdint>  // int32_t, uint8_t, uint16_t, uint64_t

namespace runnel::bpf {

/// A place in a program, perhaps one that is not known yet. Made by `assembler::make_label`, for that assembler.
struct label {
  /// Its number, for the assembler.
  std::uint16_t number = 0xffff;
};

/// Writes a program, of fixed capacity, without a heap. A mistake (too many instructions, labels or maps, a label that
/// is placed twice or never) is remembered, the first one counts, and `finish` says which; nothing is written out of
/// bounds meanwhile. About 45 KB.
///
///     assembler a;
///     const label drop = a.make_label();
///     a.load(width::w, r2, r1, 0);                  // r2 = *(u32 *)(r1 + 0)
///     a.jump_if(jmp_op::jgt, r2, 1500, drop);       // if r2 > 1500 goto drop
///     ...
///     result<program, error> p = a.finish();
class assembler {
 public:
  /// How many labels there can be.
  static constexpr std::size_t max_labels = 3000;

  /// `dst = *(width *)(src + offset)`, zero-extended, in host order.
  constexpr void load(width w, reg dst, reg src, int offset) noexcept {
    emit(code(op_class::ldx, 0x60u | static_cast<unsigned>(w)), dst, src, offset, 0);
  }
  /// `*(width *)(dst + offset) = src`.
  constexpr void store(width w, reg dst, int offset, reg src) noexcept {
    emit(code(op_class::stx, 0x60u | static_cast<unsigned>(w)), dst, src, offset, 0);
  }
  /// `*(width *)(dst + offset) = imm`.
  constexpr void store(width w, reg dst, int offset, std::int32_t imm) noexcept {
    emit(code(op_class::st, 0x60u | static_cast<unsigned>(w)), dst, r0, offset, imm);
  }
  /// `dst op= src`, in 64 bits.
  constexpr void alu(alu_op op, reg dst, reg src) noexcept {
    emit(code(op_class::alu64, 8u | static_cast<unsigned>(op)), dst, src, 0, 0);
  }
  /// `dst op= imm`, in 64 bits; the immediate is extended with its sign.
  constexpr void alu(alu_op op, reg dst, std::int32_t imm) noexcept {
    emit(code(op_class::alu64, static_cast<unsigned>(op)), dst, r0, 0, imm);
  }
  /// `dst = src`.
  constexpr void move(reg dst, reg src) noexcept { alu(alu_op::mov, dst, src); }
  /// `dst = imm`, in the shortest way: one instruction for numbers of 32 bits, two for others.
  constexpr void move(reg dst, std::uint64_t imm) noexcept {
    if (imm <= 0x7fff'ffff) alu(alu_op::mov, dst, static_cast<std::int32_t>(imm));
    else if (imm <= 0xffff'ffff)
      emit(code(op_class::alu, static_cast<unsigned>(alu_op::mov)), dst, r0, 0, signed_word(imm));
    else load_imm64(dst, imm64_kind::number, imm);
  }
  /// Turns the lowest 16, 32 or 64 bits from network order into host order, or back, and clears the others.
  constexpr void big_endian(reg dst, int bits) noexcept {
    emit(code(op_class::alu, 8u | static_cast<unsigned>(alu_op::end)), dst, r0, 0, bits);
  }
  /// `dst = the map at place i`, for a helper.
  constexpr void load_map(reg dst, std::size_t i) noexcept {
    if (i >= program_.map_count_) fail("there is no such map");
    load_imm64(dst, imm64_kind::map_by_idx, i);
  }
  /// Calls a function of the kernel: arguments in r1 to r5, which it destroys; its result is in r0.
  constexpr void call(helper h) noexcept {
    emit(code(op_class::jmp, static_cast<unsigned>(jmp_op::call)), r0, r0, 0, static_cast<std::int32_t>(h));
  }
  /// `return r0`.
  constexpr void exit() noexcept { emit(code(op_class::jmp, static_cast<unsigned>(jmp_op::exit)), r0, r0, 0, 0); }

  /// A new label.
  [[nodiscard]] constexpr label make_label() noexcept {
    if (label_count_ == max_labels) {
      fail("too many labels");
      return {};
    }
    return {label_count_++};
  }
  /// The label stands for the next instruction.
  constexpr void place(label l) noexcept {
    if (l.number >= label_count_) return fail("a label of another assembler");
    place_of& p = labels_[l.number];
    if (p.known) return fail("a label is placed twice");
    // The jumps that wait for it form a list, through their offsets.
    for (int i = p.at; i >= 0;) {
      const int before = program_.instructions_[i].offset;
      program_.instructions_[i].offset = static_cast<std::int16_t>(static_cast<int>(program_.size_) - i - 1);
      i = before;
    }
    p = {static_cast<std::int16_t>(program_.size_), true};
  }
  /// `goto l`.
  constexpr void jump(label l) noexcept {
    jump_to(l, code(op_class::jmp, static_cast<unsigned>(jmp_op::ja)), r0, r0, 0);
  }
  /// `if dst op src goto l`.
  constexpr void jump_if(jmp_op op, reg dst, reg src, label l) noexcept {
    jump_to(l, code(op_class::jmp, 8u | static_cast<unsigned>(op)), dst, src, 0);
  }
  /// `if dst op imm goto l`; the immediate is extended with its sign.
  constexpr void jump_if(jmp_op op, reg dst, std::int32_t imm, label l) noexcept {
    jump_to(l, code(op_class::jmp, static_cast<unsigned>(op)), dst, r0, imm);
  }

  /// Adds a map to the program's list, and says at which place.
  [[nodiscard]] constexpr std::size_t add(const map_description& m) noexcept {
    if (program_.map_count_ == program::max_maps) {
      fail("more than 32 maps");
      return 0;
    }
    program_.maps_[program_.map_count_] = m;
    return program_.map_count_++;
  }
  /// The program as far as it is written; jumps to labels that have no place yet are not good.
  [[nodiscard]] constexpr const program& so_far() const noexcept { return program_; }
  /// What went wrong first; null when nothing did.
  [[nodiscard]] constexpr const char* failure() const noexcept { return failure_; }

  /// The program, or what was wrong.
  [[nodiscard]] result<program, error> finish() const noexcept {
    const char* why = failure_;
    for (std::size_t i = 0; i < label_count_ && why == nullptr; ++i)
      if (!labels_[i].known && labels_[i].at >= 0) why = "a jump to a label that was not placed";
    if (why == nullptr && program_.size_ == 0) why = "the program is empty";
    if (why != nullptr) return error("bpf", "assemble", "", why, "use fewer rules, or smaller conditions");
    return program_;
  }

 private:
  struct place_of {
    std::int16_t at = -1;  // where it is; while it is not known the last jump to it, -1 when there is none
    bool known = false;
  };
  static_assert(program::max_instructions <= 0x7fff, "a jump reaches 32767 instructions far");

  static constexpr unsigned code(op_class c, unsigned rest) noexcept { return static_cast<unsigned>(c) | rest; }
  static constexpr std::int32_t signed_word(std::uint64_t v) noexcept {
    return static_cast<std::int32_t>(static_cast<std::uint32_t>(v));
  }
  constexpr void fail(const char* why) noexcept {
    if (failure_ == nullptr) failure_ = why;
  }
  constexpr void emit(unsigned opcode, reg dst, reg src, int offset, std::int32_t imm) noexcept {
    if (program_.size_ == program::max_instructions) return fail("more than 4096 instructions");
    if (offset < -0x8000 || offset > 0x7fff) return fail("an offset that does not fit into 16 bits");
    program_.instructions_[program_.size_++] = instruction::make(opcode, dst, static_cast<unsigned>(src), offset, imm);
  }
  constexpr void load_imm64(reg dst, imm64_kind kind, std::uint64_t v) noexcept {
    if (program_.size_ + 2 > program::max_instructions) return fail("more than 4096 instructions");
    emit(0x18, dst, static_cast<reg>(kind), 0, signed_word(v));
    emit(0, r0, r0, 0, signed_word(v >> 32));
  }
  constexpr void jump_to(label l, unsigned opcode, reg dst, reg src, std::int32_t imm) noexcept {
    if (l.number >= label_count_) return fail("a label of another assembler");
    const int here = static_cast<int>(program_.size_);
    place_of& p = labels_[l.number];
    emit(opcode, dst, src, p.known ? p.at - here - 1 : p.at, imm);
    if (!p.known && failure_ == nullptr) p.at = static_cast<std::int16_t>(here);
  }

  program program_;
  place_of labels_[max_labels]{};
  std::uint16_t label_count_ = 0;
  const char* failure_ = nullptr;
};

}  // namespace runnel::bpf

#endif

// ==== runnel/xdp/bpf_action.hpp ======================================================================================
// What an XDP program does with a packet: the verdicts that the kernel knows, and the way to an AF_XDP socket.
#ifndef RUNNEL_XDP_BPF_ACTION_HPP
#define RUNNEL_XDP_BPF_ACTION_HPP

#include <cstdint>  // uint8_t, uint16_t, int32_t

namespace runnel::bpf {

/// What becomes of a packet in the kernel. The first four are what the program returns: `enum xdp_action`.
enum class action_kind : std::uint8_t {
  aborted,  ///< XDP_ABORTED: dropped, and the tracepoint xdp:xdp_exception is hit
  drop,     ///< XDP_DROP
  pass,     ///< XDP_PASS: on into the network stack
  tx,       ///< XDP_TX: out again by the same interface
  device,   ///< XDP_REDIRECT to the interface at place `number` of the map of devices; dropped when there is none
  socket,   ///< XDP_REDIRECT to the AF_XDP socket of its receive queue; passed on when there is none
  none,     ///< nothing that the kernel could do
};

/// What becomes of a packet. Made from a verdict: `stolen` is not for the kernel and makes `none`.
struct action {
  /// What it is.
  action_kind kind = action_kind::pass;
  std::uint16_t number = 0;  ///< which device, for `device`

  /// What the constructor from a verdict is for: an action with these parts. @{
  constexpr action() noexcept = default;
  constexpr explicit action(action_kind k, std::uint16_t n = 0) noexcept : kind(k), number(n) {}
  /// @}
  /// The same as a verdict. Its reason is not kept: the counters of the rules tell the causes apart.
  constexpr action(const verdict& v) noexcept {
    switch (v.code) {
      case verdict_code::aborted: kind = action_kind::aborted; break;
      case verdict_code::drop: kind = action_kind::drop; break;
      case verdict_code::pass: kind = action_kind::pass; break;
      case verdict_code::tx: kind = action_kind::tx; break;
      case verdict_code::redirect:
        kind = action_kind::device;
        number = v.port;
        break;
      case verdict_code::stolen:
      case verdict_code::count_: kind = action_kind::none; break;
    }
  }
  /// Equal when both parts are.
  friend constexpr bool operator==(const action&, const action&) noexcept = default;
};

/// To the AF_XDP socket of the packet's receive queue; to the kernel's stack when there is none.
inline constexpr action to_socket{action_kind::socket};

}  // namespace runnel::bpf

#endif

// ==== runnel/xdp/early.hpp ===========================================================================================
// Early verdicts: programs that look at a frame before there is a packet. The idea is XDP's.
#ifndef RUNNEL_XDP_EARLY_HPP
#define RUNNEL_XDP_EARLY_HPP

#include <cstddef>      // size_t
#include <type_traits>  // is_same_v
#include <utility>      // move

namespace runnel {

namespace detail {

// Hands out a handler's arguments from a frame. The counterpart of packet_source.
struct frame_source {
  frame& f;
  const layers& found;
  context& c;

  [[nodiscard]] RUNNEL_INLINE mutable_header_map map() const noexcept {
    return mutable_header_map{f.contents(), f.headroom, found, true};
  }
  template <class A>
  [[nodiscard]] RUNNEL_INLINE decltype(auto) give() const noexcept {
    if constexpr (is_view<A>) return map().template get<std::remove_cvref_t<A>>();
    else if constexpr (is_frame<A>) return (f);
    else if constexpr (is_time<A>) return instant{c.now};
    else return subject{static_cast<const frame&>(f), header_map{f.contents(), f.headroom, found, true}};
  }
};

// The devices that a program redirects to. `send` says what became of the packet: `redirect`, or a drop with its cause.
template <class... Devices>
struct target_list {
  verdict send(unsigned, packet&, context&) const noexcept { return drop(drop_reason::no_target); }
};
template <class First, class... Rest>
struct target_list<First, Rest...> {
  First* first;
  target_list<Rest...> rest;
  verdict send(unsigned target, packet& p, context& c) const noexcept {
    if (target == 0) return first->transmit(&p, 1, c.now) == 1 ? redirect(0) : drop(drop_reason::transmit_full);
    return rest.send(target - 1, p, c);
  }
};

constexpr target_list<> make_targets() noexcept { return {}; }
template <class First, class... Rest>
constexpr target_list<First, Rest...> make_targets(First& first, Rest&... rest) noexcept {
  return {&first, make_targets(rest...)};
}

// What a program's parameters are; rules see a subject.
template <class F>
struct early_arguments {
  using type = type_list<const subject&>;
};
template <has_signature F>
struct early_arguments<F> {
  using type = typename signature<F>::arguments;
};

template <class F>
inline constexpr bool early_rules = !has_signature<F> && rules_function<F>;

template <class F, class Targets>
struct early_stage : stage_defaults {
  using arguments = typename early_arguments<F>::type;
  using needs = demands<arguments>;
  static constexpr stage_kind kind = stage_kind::early;
  static constexpr bool wants_packet = false;
  static constexpr bool wants_layers = needs::views || needs::parsed;
  static constexpr bool asks_for_frame = needs::frames;

  constexpr early_stage(F f, Targets t) noexcept : function(std::move(f)), targets(t) {}
  // With `Look`, `found` is what is in the frame, and stays that.
  template <bool Look>
  RUNNEL_INLINE verdict look_at(frame& f, found_layers& found, context& c) noexcept {
    const verdict v = call_handler<verdict>(function, frame_source{f, found.parts, c}, pass, arguments{});
    // A program that has the frame may have changed its headers or its beginning.
    if constexpr (needs::frames && Look) found = dissect(f);
    return v;
  }
  verdict send(unsigned target, packet& p, context& c) noexcept { return targets.send(target, p, c); }
  constexpr void print_name(text_writer& out) const noexcept {
    out << "xdp(";
    if constexpr (requires { out << F::name; }) out << F::name;
    else if constexpr (early_rules<F>) runnel::detail::print_name(out, function, "rules");
    else print_arguments(out, arguments{});
    out << ')';
  }
  [[no_unique_address]] F function;
  [[no_unique_address]] Targets targets;
};

// What stands in for something that is no early verdict, so that one error does not bring more.
struct not_early {
  void operator()(const frame&) const noexcept {}
};
template <class F>
concept early_function =
    early_rules<F> || (handler_function<F> && !demands<typename signature<F>::arguments>::packets &&
                       !demands<typename signature<F>::arguments>::connections);

template <class F>
constexpr void check_early() noexcept {
  if constexpr (has_signature<F>) {
    using needs = demands<typename signature<F>::arguments>;
    static_assert(!needs::packets,
                  "runnel: an early verdict asks for a packet, but there are only frames before the first stage that "
                  "wants one: ask for frame&, or move the handler out of xdp(...)");
    static_assert(!needs::connections,
                  "runnel: an early verdict asks for a connection, but connections are known only behind track(): move "
                  "the handler out of xdp(...), behind it");
    static_assert(needs::packets || needs::connections || handler_function<F>,
                  "runnel: xdp() needs a handler whose parameters are header views such as ipv4 or mut<udp>, frame&, "
                  "instant or const subject&, and which returns a verdict or nothing; or rules");
  } else {
    static_assert(rules_function<F>,
                  "runnel: xdp() needs a handler whose parameters are header views such as ipv4 or mut<udp>, frame&, "
                  "instant or const subject&, and which returns a verdict or nothing; or rules");
  }
}

}  // namespace detail

/// An early verdict: a handler or rules that see each frame of a burst before there is a packet. `drop` gives the slot
/// straight back, `tx` sends the frame out by its own device, `redirect(i)` by the device at place `i` of `targets` (at
/// most 255), `pass` goes on. Any header may be asked for: frames are dissected where one is. Frames that lack a header
/// asked for pass. Stands at the beginning of a pipeline. Refers to the targets, which must outlive it.
template <class F, transmitting_device... Targets>
[[nodiscard]] constexpr auto xdp(F program, Targets&... targets) noexcept {
  static_assert(sizeof...(Targets) <= 255, "runnel: an early verdict redirects to at most 255 devices");
  detail::check_early<F>();
  using list = detail::target_list<Targets...>;
  if constexpr (detail::early_function<F>)
    return detail::early_stage<F, list>{std::move(program), detail::make_targets(targets...)};
  else return detail::early_stage<detail::not_early, list>{{}, detail::make_targets(targets...)};
}

}  // namespace runnel

#endif

// ==== runnel/xdp/lower.hpp ===========================================================================================
// Match expressions as XDP programs.
#ifndef RUNNEL_XDP_LOWER_HPP
#define RUNNEL_XDP_LOWER_HPP

#include <cstdint>  // uint64_t

namespace runnel::detail::ebpf {

using namespace bpf;

/// Ends the program with an action; the context is in r6.
constexpr void emit_action(assembler& a, action what, std::size_t sockets) noexcept {
  if (what.kind == action_kind::socket) {
    a.load_map(r1, sockets);
    a.load(width::w, r2, r6, 16);  // rx_queue_index
    a.move(r3, std::uint64_t{2});  // XDP_PASS where no socket is
    a.call(helper::redirect_map);
  } else {
    a.move(r0, static_cast<std::uint64_t>(what.kind));
  }
  a.exit();
}

}  // namespace runnel::detail::ebpf

namespace runnel::bpf {

/// A program that does the same with every packet.
[[nodiscard]] inline result<program, error> lower(const match::always&, action match,
                                                  action otherwise = action{}) noexcept {
  (void)otherwise;
  assembler a;
  std::size_t sockets = 0;
  if (match.kind == action_kind::socket)
    sockets = a.add({.config = {.kind = map_kind::xsk_map, .entries = 64, .name = "sockets"}, .use = map_use::sockets});
  a.move(r6, r1);
  detail::ebpf::emit_action(a, match, sockets);
  return a.finish();
}

}  // namespace runnel::bpf

#endif

// ==== runnel/xdp/print_instruction.hpp ===============================================================================
// eBPF as readable assembly, as the kernel's verifier and bpftool write it.
#ifndef RUNNEL_XDP_PRINT_INSTRUCTION_HPP
#define RUNNEL_XDP_PRINT_INSTRUCTION_HPP

#include <cstddef>  // size_t
#include <cstdint>  // int32_t, uint32_t, uint64_t

namespace runnel::bpf {

/// The name of a function of the kernel, as its documentation has it.
[[nodiscard]] constexpr const char* name(helper h) noexcept {
  switch (h) {
    case helper::map_lookup_elem: return "bpf_map_lookup_elem";
    case helper::map_update_elem: return "bpf_map_update_elem";
    case helper::map_delete_elem: return "bpf_map_delete_elem";
    case helper::ktime_get_ns: return "bpf_ktime_get_ns";
    case helper::redirect: return "bpf_redirect";
    case helper::redirect_map: return "bpf_redirect_map";
  }
  return "unknown";
}
/// `hash`, `lpm_trie` and so on, as bpftool spells them.
[[nodiscard]] constexpr const char* name(map_kind k) noexcept {
  switch (k) {
    case map_kind::hash: return "hash";
    case map_kind::array: return "array";
    case map_kind::per_cpu_array: return "percpu_array";
    case map_kind::lpm_trie: return "lpm_trie";
    case map_kind::dev_map: return "devmap";
    case map_kind::xsk_map: return "xskmap";
  }
  return "unknown";
}

}  // namespace runnel::bpf

namespace runnel::detail::ebpf {

using namespace bpf;

[[nodiscard]] constexpr const char* name_of(width w) noexcept {
  return w == width::b ? "u8" : w == width::h ? "u16" : w == width::w ? "u32" : "u64";
}
[[nodiscard]] constexpr const char* symbol(alu_op op) noexcept {
  switch (op) {
    case alu_op::add: return "+=";
    case alu_op::sub: return "-=";
    case alu_op::mul: return "*=";
    case alu_op::div: return "/=";
    case alu_op::or_: return "|=";
    case alu_op::and_: return "&=";
    case alu_op::lsh: return "<<=";
    case alu_op::rsh: return ">>=";
    case alu_op::mod: return "%=";
    case alu_op::xor_: return "^=";
    case alu_op::mov: return "=";
    case alu_op::arsh: return "s>>=";
    case alu_op::neg:
    case alu_op::end: break;
  }
  return "?";
}
[[nodiscard]] constexpr const char* symbol(jmp_op op) noexcept {
  switch (op) {
    case jmp_op::jeq: return "==";
    case jmp_op::jgt: return ">";
    case jmp_op::jge: return ">=";
    case jmp_op::jset: return "&";
    case jmp_op::jne: return "!=";
    case jmp_op::jsgt: return "s>";
    case jmp_op::jsge: return "s>=";
    case jmp_op::jlt: return "<";
    case jmp_op::jle: return "<=";
    case jmp_op::jslt: return "s<";
    case jmp_op::jsle: return "s<=";
    case jmp_op::ja:
    case jmp_op::call:
    case jmp_op::exit: break;
  }
  return "?";
}
constexpr void print_register(text_writer& out, reg r, bool half = false) noexcept {
  out << (half ? 'w' : 'r') << static_cast<unsigned>(r);
}
constexpr void print_signed(text_writer& out, std::int32_t v) noexcept {
  if (v >= 0) out << '+';
  out << v;
}
constexpr void print_place(text_writer& out, width w, reg base, int offset) noexcept {
  out << "*(" << name_of(w) << " *)(";
  print_register(out, base);
  out << (offset < 0 ? " - " : " + ") << (offset < 0 ? -offset : offset) << ')';
}
constexpr void print_alu(text_writer& out, const instruction& i) noexcept {
  const bool half = i.kind() == op_class::alu;
  const auto op = static_cast<alu_op>(i.opcode & 0xf0u);
  if (op == alu_op::end) {
    print_register(out, i.dst());
    out << " = " << (i.takes_register() ? "be" : "le") << i.imm << ' ';
    return print_register(out, i.dst());
  }
  print_register(out, i.dst(), half);
  if (op == alu_op::neg) {
    out << " = -";
    return print_register(out, i.dst(), half);
  }
  out << ' ' << symbol(op) << ' ';
  if (i.takes_register()) return print_register(out, i.src(), half);
  if (half) out << static_cast<std::uint32_t>(i.imm);
  else out << i.imm;
}
constexpr void print_jump(text_writer& out, const instruction& i) noexcept {
  const bool half = i.kind() == op_class::jmp32;
  const auto op = static_cast<jmp_op>(i.opcode & 0xf0u);
  if (op == jmp_op::exit) {
    out << "exit";
  } else if (op == jmp_op::call) {
    out << "call " << name(static_cast<helper>(i.imm)) << '#' << i.imm;
  } else {
    if (op != jmp_op::ja) {
      out << "if ";
      print_register(out, i.dst(), half);
      out << ' ' << symbol(op) << ' ';
      if (i.takes_register()) print_register(out, i.src(), half);
      else out << i.imm;
      out << ' ';
    }
    out << "goto ";
    print_signed(out, i.offset);
  }
}

}  // namespace runnel::detail::ebpf

namespace runnel::bpf {

/// One instruction: `r0 = *(u8 *)(r1 + 12)`, `if r2 > r3 goto +5`. Of a 64-bit immediate load the second half is
/// `next`; one that the printer does not know is shown in hexadecimal.
constexpr void print(text_writer& out, const instruction& i, const instruction& next = {}) noexcept {
  const auto w = static_cast<width>(i.opcode & 0x18u);
  const bool is_memory = (i.opcode & 0xe0u) == 0x60u;
  if (i.is_imm64()) {
    detail::ebpf::print_register(out, i.dst());
    const auto low = static_cast<std::uint32_t>(i.imm);
    if (i.is_map()) out << " = map[" << low << ']';
    else if (static_cast<imm64_kind>(i.src()) == imm64_kind::map_by_fd) out << " = map[fd " << low << ']';
    else {
      out << " = 0x";
      out.hex(std::uint64_t{static_cast<std::uint32_t>(next.imm)} << 32 | low, 1) << " ll";
    }
    return;
  }
  switch (i.kind()) {
    case op_class::ldx:
      if (!is_memory) break;
      detail::ebpf::print_register(out, i.dst());
      out << " = ";
      return detail::ebpf::print_place(out, w, i.src(), i.offset);
    case op_class::st:
    case op_class::stx:
      if (!is_memory) break;
      detail::ebpf::print_place(out, w, i.dst(), i.offset);
      out << " = ";
      if (i.kind() == op_class::st) out << i.imm;
      else detail::ebpf::print_register(out, i.src());
      return;
    case op_class::alu:
    case op_class::alu64: return detail::ebpf::print_alu(out, i);
    case op_class::jmp:
    case op_class::jmp32: return detail::ebpf::print_jump(out, i);
    case op_class::ld: break;
  }
  out << "0x";
  out.hex(i.opcode, 2);
}

/// The whole program, one numbered instruction a line, behind a line for each map.
constexpr void print(text_writer& out, const program& p) noexcept {
  for (std::size_t i = 0; i < p.map_count(); ++i) {
    const map_config& m = p.map(i).config;
    out << "map[" << std::uint64_t{i} << "]: " << name(m.kind) << ' ' << m.name << ", key " << m.key_bytes
        << " bytes, value " << m.value_bytes << " bytes, " << m.entries << " entries\n";
  }
  for (std::size_t i = 0; i < p.size(); ++i) {
    out << std::uint64_t{i} << ": ";
    const bool wide = p[i].is_imm64() && i + 1 < p.size();
    print(out, p[i], wide ? p[i + 1] : instruction{});
    out << '\n';
    if (wide) ++i;
  }
}

}  // namespace runnel::bpf

#endif

// ==== runnel/xdp.hpp =================================================================================================
// Early verdicts; eBPF programs, and match expressions lowered to them.
#ifndef RUNNEL_XDP_ALL_HPP
#define RUNNEL_XDP_ALL_HPP

#endif

// ==== runnel/runnel.hpp ==============================================================================================
// runnel: packet processing as a library. Includes all portable parts, and the devices of this platform.
#ifndef RUNNEL_RUNNEL_HPP
#define RUNNEL_RUNNEL_HPP

#endif
