// SPDX-License-Identifier: MIT
// Text without allocation: an appender over a buffer of fixed size, with the number formats that packets need.
#ifndef RUNNEL_BASE_TEXT_HPP
#define RUNNEL_BASE_TEXT_HPP

#include <concepts>     // integral
#include <cstddef>      // size_t
#include <cstdint>      // uint64_t
#include <type_traits>  // is_signed_v

#include <runnel/config.hpp>

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
  /// Those that are none of these: `long long` where `std::int64_t` is `long`, or the other way round.
  template <std::integral Number>
    requires(sizeof(Number) <= sizeof(std::uint64_t))
  constexpr text_writer& operator<<(Number n) noexcept {
    if constexpr (std::is_signed_v<Number>) return *this << static_cast<std::int64_t>(n);
    else return *this << static_cast<std::uint64_t>(n);
  }
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
    for (std::size_t at = this->column(); at < column; ++at) *this << ' ';
    return *this;
  }

  /// Hands what the buffer holds to the flush function, if there is one.
  constexpr void flush() noexcept {
    if (flush_ == nullptr || size_ == 0) return;
    flush_(context_, buffer_, size_);
    const std::size_t stands = column();
    clear();
    flushed_ = stands;
  }
  /// Empties the buffer without flushing it.
  constexpr void clear() noexcept {
    size_ = 0;
    flushed_ = 0;
    buffer_[0] = '\0';
  }
  /// What the buffer holds, zero-terminated.
  [[nodiscard]] constexpr const char* c_str() const noexcept { return buffer_; }
  /// How many characters the buffer holds.
  [[nodiscard]] constexpr std::size_t size() const noexcept { return size_; }
  /// Whether something was cut for want of room.
  [[nodiscard]] constexpr bool truncated() const noexcept { return truncated_; }

 private:
  // How many characters stand on the current line.
  [[nodiscard]] constexpr std::size_t column() const noexcept {
    std::size_t line = size_;
    while (line != 0 && buffer_[line - 1] != '\n') --line;
    return size_ - line + (line == 0 ? flushed_ : 0);
  }

  char* buffer_;
  std::size_t capacity_;
  std::size_t size_ = 0;
  std::size_t flushed_ = 0;  // characters of the current line that are not in the buffer any more
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
