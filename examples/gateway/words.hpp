// SPDX-License-Identifier: MIT
// The words of a configuration file one after another, and what is wrong with one, by line and column.
//
// Words are separated by gaps, by semicolons too; a `#` begins a comment, to the end of its line. After the first thing
// that is wrong `good()` is false, and all that is read is of no use.
#ifndef GATEWAY_WORDS_HPP
#define GATEWAY_WORDS_HPP

#include <runnel/runnel.hpp>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace gateway {

// What is wrong, and where: lines and columns count from 1.
struct fault {
  std::size_t line = 0, column = 0;
  std::string what;
};

class words {
 public:
  struct word {
    std::string_view text;  // empty at the end
    std::size_t at = 0;
  };

  explicit words(std::string_view text) : text_(text) {}

  [[nodiscard]] bool good() const { return fault_.line == 0; }
  [[nodiscard]] const fault& why() const { return fault_; }
  void fail(std::size_t at, std::string what) {
    if (!good()) return;
    fault_ = {1, 1, std::move(what)};
    for (std::size_t i = 0; i < at && i < text_.size(); ++i) {
      ++fault_.column;
      if (text_[i] == '\n') ++fault_.line, fault_.column = 1;
    }
  }
  void expected(const word& seen, const std::string& what) {
    std::string is = seen.text.empty() ? "the end" : '"' + std::string(seen.text) + '"';
    const std::size_t closed = text_.find_first_of("\"\n", seen.at + 1);
    if (seen.text == "\"" && closed != text_.npos && text_[closed] == '"')
      is = std::string(text_.substr(seen.at, closed + 1 - seen.at)) + " in quotes";
    fail(seen.at, "expected " + what + ", not " + is);
  }
  bool at_end() {
    for (; at_ < text_.size(); ++at_) {
      if (text_[at_] == '#') at_ = std::min(text_.find('\n', at_), text_.size() - 1);
      else if (text_[at_] != ' ' && text_[at_] != '\t' && text_[at_] != '\n' && text_[at_] != '\r' && text_[at_] != ';')
        return false;
    }
    return true;
  }
  // A word of what names, numbers and addresses are made of, or one sign; empty at the end.
  word ahead() {
    if (at_end()) return {{}, text_.size()};
    std::size_t end = at_;
    while (end < text_.size() && of_word(text_[end])) ++end;
    return {text_.substr(at_, end == at_ ? 1 : end - at_), at_};
  }
  static bool of_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           c == '.' || c == ':' || c == '/';
  }
  word next() {
    const word w = ahead();
    at_ += w.text.size();
    end_ = at_;
    return w;
  }
  bool accept(std::string_view text) {
    if (!good() || ahead().text != text) return false;
    next();
    return true;
  }
  // The same where it stands on the line of the word before: `table` there is no statement of its own.
  bool accept_on_line(std::string_view text) {
    const std::size_t gap = ahead().at - end_;
    return text_.substr(end_, gap).find_first_of("\n;") == text_.npos && accept(text);
  }
  void expect(std::string_view text) {
    if (const word w = next(); w.text != text) expected(w, '"' + std::string(text) + '"');
  }
  std::uint32_t number(std::uint32_t least, std::uint32_t most) { return number(next(), 10, least, most); }
  // A word, or a part of one, as a number to a base.
  std::uint32_t number(const word& w, int base, std::uint32_t least, std::uint32_t most) {
    std::uint32_t n = 0;
    const char* const end = w.text.data() + w.text.size();
    const auto [last, wrong] = std::from_chars(w.text.data(), end, n, base);
    if (wrong == std::errc{} && last == end && n >= least && n <= most) return n;
    expected(w, "a number from " + std::to_string(least) + " to " + std::to_string(most));
    return least;
  }
  std::string quoted(const char* what) {
    const word w = next();
    const std::size_t end = text_.find_first_of("\"\n", at_);
    if (w.text != "\"" || end == text_.npos || text_[end] == '\n') return expected(w, what), "";
    const std::string inside(text_.substr(at_, end - at_));
    at_ = end_ = end + 1;
    return inside;
  }
  // What the library's own readers make of a word; they say at which character it went wrong.
  template <class Read>
  auto value(const word& w, Read parse, const char* what) {
    const auto v = parse(std::string(w.text).c_str());
    if (!v && v.error().position == 0) expected(w, what);
    else if (!v) fail(w.at + v.error().position, std::string(what) + ": " + v.error().reason);
    return v ? *v : typename decltype(v)::value_type{};
  }
  // The address of a host on some link, in the form of its family.
  runnel::ipv6_address host(const word& w, const char* what) {
    const bool six = w.text.find(':') != w.text.npos;
    const runnel::ipv6_address a =
        six ? value(w, runnel::parse_ipv6, "an IPv6 address") : runnel::mapped(value(w, runnel::parse_ipv4, what));
    const runnel::ipv4_address four = runnel::unmapped(a);
    if (six ? a.is_unspecified() || a.is_loopback() || a.is_multicast() || runnel::is_mapped(a)
            : four.is_unspecified() || four.is_loopback() || four.is_multicast() || four.is_broadcast())
      expected(w, "the address of one host");
    return a;
  }

 protected:
  std::string_view text_;
  std::size_t at_ = 0;   // how far it was read
  std::size_t end_ = 0;  // where the last word ended

 private:
  fault fault_;
};

}  // namespace gateway

#endif
