// SPDX-License-Identifier: MIT
// Where a parser of rule texts stands, and what was wrong first.
#ifndef RUNNEL_MATCH_PARSE_TEXT_HPP
#define RUNNEL_MATCH_PARSE_TEXT_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint64_t

#include <runnel/base/text.hpp>

namespace runnel::match::detail {

[[nodiscard]] constexpr bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }
[[nodiscard]] constexpr bool is_letter(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
[[nodiscard]] constexpr int hex_digit(char c) noexcept {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

// A text up to `end`, of which the byte at `end` may be read too. After the first failure nothing is accepted any more.
class text_cursor {
 public:
  text_cursor(const char* text, std::size_t end) noexcept : text_(text), end_(end) {}
  text_cursor(const text_cursor&) = delete;
  text_cursor& operator=(const text_cursor&) = delete;
  // Another one at the same place, to look ahead with: what fails there does not count.
  [[nodiscard]] text_cursor look_ahead() const noexcept { return {text_, end_, at_}; }

  [[nodiscard]] bool good() const noexcept { return !failed_; }
  [[nodiscard]] std::size_t at() const noexcept { return at_; }
  void go_to(std::size_t at) noexcept {
    if (!failed_) at_ = at;
  }
  [[nodiscard]] const char* rest() const noexcept { return text_ + at_; }
  [[nodiscard]] char ahead(std::size_t n = 0) const noexcept {
    return failed_ || at_ + n >= end_ ? '\0' : text_[at_ + n];
  }
  [[nodiscard]] bool at_end() noexcept {
    skip_gap();
    return failed_ || at_ >= end_;
  }
  void skip_gap() noexcept {
    while (at_ < end_ && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r')) ++at_;
  }

  // Whether `sign` stands next, and is not the beginning of a longer one.
  [[nodiscard]] bool sees(const char* sign) noexcept {
    skip_gap();
    std::size_t n = 0;
    for (; sign[n] != '\0'; ++n)
      if (ahead(n) != sign[n]) return false;
    const char next = ahead(n);
    const char last = sign[n - 1];
    return (last != '&' && last != '|') || n == 2 || next != last;
  }
  bool accept(const char* sign) noexcept {
    if (failed_ || !sees(sign)) return false;
    while (*sign++ != '\0') ++at_;
    return true;
  }
  // Whether these words stand next, with any gaps between them.
  [[nodiscard]] bool sees_words(const char* words) noexcept {
    const std::size_t before = at_;
    const bool found = accept_words(words);
    at_ = before;
    return found;
  }
  bool accept_words(const char* words) noexcept {
    if (failed_) return false;
    const std::size_t before = at_;
    skip_gap();
    for (; *words != '\0'; ++words) {
      if (*words == ' ') {
        const std::size_t gap = at_;
        skip_gap();
        if (at_ != gap) continue;
      } else if (ahead() == *words) {
        ++at_;
        continue;
      }
      at_ = before;
      return false;
    }
    if (!goes_on(ahead()) && ahead() != '-') return true;
    at_ = before;
    return false;
  }
  // Whether a character would make a word or number longer.
  [[nodiscard]] static constexpr bool goes_on(char c) noexcept { return is_letter(c) || is_digit(c); }

  // A decimal or hexadecimal number. False, and nothing read, when there is none here, or it has more than 64 bits.
  bool number(std::uint64_t& to) noexcept {
    skip_gap();
    const bool hex = ahead() == '0' && (ahead(1) == 'x' || ahead(1) == 'X') && hex_digit(ahead(2)) >= 0;
    const unsigned base = hex ? 16 : 10;
    std::size_t n = hex ? 2 : 0;
    const std::size_t start = n;
    std::uint64_t value = 0;
    for (int digit = 0; (digit = hex_digit(ahead(n))) >= 0 && static_cast<unsigned>(digit) < base; ++n) {
      const auto d = static_cast<unsigned>(digit);
      if (value > (~std::uint64_t{0} - d) / base) return false;
      value = value * base + d;
    }
    if (n == start || goes_on(ahead(n))) return false;
    at_ += n;
    to = value;
    return true;
  }

  // The same up to `highest`; all else is a failure.
  std::uint64_t number_up_to(std::uint64_t highest, const char* what) noexcept {
    skip_gap();
    const std::size_t before = at_;
    std::uint64_t value = 0;
    if (number(value) && value <= highest) return value;
    at_ = before;
    expected(what);
    return 0;
  }

  // What was wrong: `expected` and what stands here instead.
  void expected(const char* what) noexcept {
    if (failed_) return;
    skip_gap();
    why_ << "expected " << what << ", not ";
    if (at_ >= end_) why_ << "the end";
    else print_here();
    failed_ = true;
  }
  void fail(const char* why) noexcept {
    if (failed_) return;
    why_ << why;
    failed_ = true;
  }
  void fail_at(std::size_t at, const char* why) noexcept {
    if (failed_) return;
    at_ = at;
    fail(why);
  }
  [[nodiscard]] const char* why() const noexcept { return why_.c_str(); }

 private:
  text_cursor(const char* text, std::size_t end, std::size_t at) noexcept : text_(text), end_(end), at_(at) {}
  // A word, one in quotes with them left out, or one character of something else.
  void print_here() noexcept {
    why_ << '"';
    std::size_t end = 1;
    while (ahead() == '"' && end < 64 && ahead(end) >= ' ' && ahead(end) != '"') ++end;
    if (end > 1 && ahead(end) == '"') {
      for (std::size_t n = 1; n < end; ++n) why_ << (ahead(n) <= '~' ? ahead(n) : '?');
      why_ << '"';
      return;
    }
    for (std::size_t n = 0; n < 24; ++n) {
      const char c = ahead(n);
      const bool of_word = goes_on(c) || c == '-' || c == '.' || c == ':';
      if (c == '\0' || (n != 0 && !of_word)) break;
      why_ << (c >= ' ' && c <= '~' ? c : '?');
      if (!of_word) break;
    }
    why_ << '"';
  }

  const char* text_;
  std::size_t end_;
  std::size_t at_ = 0;
  bool failed_ = false;
  text<176> why_;
};

}  // namespace runnel::match::detail

#endif
