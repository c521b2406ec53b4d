// SPDX-License-Identifier: MIT
// A device as a string: `kind:name?option=value&option`. What it says is read option by option, into the options of
// the device. Nothing here is for users: `device::open` and `device::check` are.
#ifndef RUNNEL_DEVICE_URI_HPP
#define RUNNEL_DEVICE_URI_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint32_t, uint64_t

#include <runnel/base/error.hpp>
#include <runnel/base/text.hpp>
#include <runnel/base/time.hpp>
#include <runnel/wire/address.hpp>

namespace runnel::detail {

/// One of the values that an option can have.
template <class E>
struct uri_choice {
  const char* name;
  E value;
};

/// Whether a device that is described is opened then, or nothing but read.
enum class uri_use : std::uint8_t { open, check };

/// A device string in its parts. There is no escape: a name ends at the first '?', a value at the next '&'.
///
/// A reader asks for each option that it knows; in the end `problem()` is what was wrong: the first value that was not
/// right, or an option that nobody asked for, and then those that were asked for are listed.
class device_uri {
 public:
  static constexpr std::size_t max_length = 255, max_options = 16;

  /// Copies `text`. It is wrong when it is too long, has no kind or too many options, or one twice.
  explicit device_uri(const char* text, uri_use use = uri_use::open) noexcept : use_(use) {
    std::size_t n = 0;
    for (; text[n] != '\0'; ++n) {
      if (n == max_length) {
        bad(text, "it is too long", "a device has at most 255 characters");
        return;
      }
      text_[n] = text[n];
    }
    char* at = text_;
    while (*at != '\0' && *at != ':') ++at;
    if (*at != ':' || at == text_) {
      bad(text, "it names no kind of device", "write kind:name?option=value, as in af_packet:eth0");
      return;
    }
    *at++ = '\0';
    kind_ = text_;
    name_ = at;
    while (*at != '\0' && *at != '?') ++at;
    if (*at == '?') *at++ = '\0';
    while (*at != '\0' && !failed_) at = next_option(at);
  }
  device_uri(const device_uri&) = delete;
  device_uri& operator=(const device_uri&) = delete;

  [[nodiscard]] const char* kind() const noexcept { return kind_; }
  [[nodiscard]] const char* name() const noexcept { return name_; }
  [[nodiscard]] bool has_options() const noexcept { return count_ != 0; }
  /// The first thing that was wrong, when all that is known was asked for; null when nothing was.
  [[nodiscard]] const error* problem() noexcept {
    for (std::size_t i = 0; i < count_ && !failed_; ++i) {
      if (options_[i].used) continue;
      text<96> why;
      why << "there is no option '" << options_[i].key << '\'';
      text<176> advice;
      // No option has one: it is what stood behind an "and" of bits.
      for (const char* c = options_[i].key; *c != '\0'; ++c)
        if (*c == ' ') {
          advice << "a value ends at '&' and cannot have one; ";
          break;
        }
      advice << (known_.size() == 0 ? "it has none" : "there are ") << known_.c_str();
      fail(why.c_str(), advice.c_str());
    }
    return failed_ ? &problem_ : nullptr;
  }
  /// Why nothing is to be opened, to be asked behind all that can be wrong without that: `problem()`, or that this is
  /// a check. Null when it is to be opened.
  [[nodiscard]] const error* stop() noexcept {
    if (problem() != nullptr || use_ == uri_use::open) return problem();
    passed_ = true;
    return &problem_;
  }
  /// Whether a check came so far.
  [[nodiscard]] bool passed() const noexcept { return passed_; }
  /// Says that something else was wrong, when nothing was before.
  void fail(const char* why, const char* advice) noexcept {
    if (!failed_) problem_ = error("open", kind(), beginning(name()).characters, why, advice);
    failed_ = true;
  }

  // Each sets `to` when the option is there, and leaves it alone otherwise.

  /// `promiscuous`, `promiscuous=yes`, `promiscuous=no`.
  device_uri& flag(const char* key, bool& to) noexcept { return flag(key, to, true, false); }
  /// The same where it matters whether "no" was said.
  template <class T>
  device_uri& flag(const char* key, T& to, T yes, T no) noexcept {
    const option* o = find(key);
    if (o == nullptr) return *this;
    const char* value = o->value;
    if (o->is_flag || same_text(value, "yes")) to = yes;
    else if (same_text(value, "no")) to = no;
    else wrong(key, value, "give yes or no");
    return *this;
  }
  /// A number from `lowest` to `highest`, in decimal.
  template <class T>
  device_uri& number(const char* key, T& to, std::uint64_t lowest, std::uint64_t highest) noexcept {
    const option* o = find(key);
    if (o == nullptr) return *this;
    const char* c = o->value;
    std::uint64_t n = 0;
    if (digits(c, n) && *c == '\0' && n >= lowest && n <= highest) {
      to = static_cast<T>(n);
      return *this;
    }
    text<64> advice;
    advice << "give a number from " << lowest << " to " << highest;
    wrong(key, o->value, advice.c_str());
    return *this;
  }
  /// One of some words.
  template <class E, std::size_t N>
  device_uri& choice(const char* key, E& to, const uri_choice<E> (&choices)[N]) noexcept {
    const option* o = find(key);
    if (o == nullptr) return *this;
    for (const uri_choice<E>& c : choices) {
      if (!same_text(c.name, o->value)) continue;
      to = c.value;
      return *this;
    }
    text<96> advice;
    const char* between = "there are ";
    for (const uri_choice<E>& c : choices) {
      advice << between << c.name;
      between = ", ";
    }
    wrong(key, o->value, advice.c_str());
    return *this;
  }
  /// A text, which lives as long as this does.
  device_uri& word(const char* key, const char*& to) noexcept {
    const option* o = find(key);
    if (o == nullptr) return *this;
    if (o->value[0] == '\0') wrong(key, "", "give it a value");
    else to = o->value;
    return *this;
  }
  /// `latency=20ms`: a whole number of ns, us, ms or s.
  device_uri& time(const char* key, duration& to) noexcept {
    constexpr uri_choice<std::int64_t> units[] = {{"ns", 1}, {"us", 1'000}, {"ms", 1'000'000}, {"s", 1'000'000'000}};
    const option* o = find(key);
    if (o == nullptr) return *this;
    const char* c = o->value;
    std::uint64_t n = 0;
    if (digits(c, n) && n <= 1'000'000'000) {
      for (const auto& unit : units) {
        if (!same_text(unit.name, c)) continue;
        to = duration{static_cast<std::int64_t>(n) * unit.value};
        return *this;
      }
    }
    wrong(key, o->value, "give a time like 20ms: a number up to 10^9 and ns, us, ms or s");
    return *this;
  }
  /// `rate=10M`: bits per second, with k, M or G for a thousand, a million, a thousand millions.
  device_uri& rate(const char* key, std::uint64_t& to) noexcept {
    const option* o = find(key);
    if (o == nullptr) return *this;
    const char* c = o->value;
    std::uint64_t n = 0;
    if (digits(c, n) && n <= 1'000'000'000) {
      const std::uint64_t unit = *c == 'k' ? 1'000 : *c == 'M' ? 1'000'000 : *c == 'G' ? 1'000'000'000 : 1;
      if (unit != 1) ++c;
      if (*c == '\0') {
        to = n * unit;
        return *this;
      }
    }
    wrong(key, o->value, "give bits per second, like 10M: a number up to 10^9, and k, M or G");
    return *this;
  }
  /// `loss=0.5%`, as parts of a million.
  device_uri& share(const char* key, std::uint32_t& to) noexcept {
    const option* o = find(key);
    if (o == nullptr) return *this;
    const char* c = o->value;
    std::uint64_t n = 0;
    bool right = digits(c, n) && n <= 100;
    n *= 10'000;
    if (right && *c == '.') {
      std::uint64_t unit = 1'000;
      for (++c; *c >= '0' && *c <= '9' && unit != 0; ++c, unit /= 10) n += static_cast<std::uint64_t>(*c - '0') * unit;
    }
    right = right && c[0] == '%' && c[1] == '\0' && n <= 1'000'000;
    if (right) to = static_cast<std::uint32_t>(n);
    else wrong(key, o->value, "give a share like 0.5%: up to 100%, at most four digits behind the point");
    return *this;
  }
  /// `mac=02:00:00:00:00:01`.
  device_uri& mac(const char* key, mac_address& to) noexcept {
    const option* o = find(key);
    if (o == nullptr) return *this;
    if (const auto parsed = parse_mac(o->value); parsed) to = *parsed;
    else wrong(key, o->value, "give an address like 02:00:00:00:00:01");
    return *this;
  }
  /// `queues=all`, `queues=0,2,5`: numbers below 64, as bits; all of them are all bits.
  device_uri& bits(const char* key, std::uint64_t& to) noexcept {
    const option* o = find(key);
    if (o == nullptr) return *this;
    const char* c = o->value;
    if (same_text(c, "all")) {
      to = ~std::uint64_t{0};
      return *this;
    }
    std::uint64_t all = 0, n = 0;
    bool right = true;
    do {
      right = digits(c, n) && n < 64;
      if (right) all |= std::uint64_t{1} << n;
    } while (right && *c++ == ',');
    if (right && c[-1] == '\0') to = all;
    else wrong(key, o->value, "give all, or numbers below 64 with commas between them");
    return *this;
  }

 private:
  struct option {
    const char* key = "";
    const char* value = "";
    bool is_flag = false;
    bool used = false;
  };

  void bad(const char* text, const char* why, const char* advice) noexcept {
    problem_ = error("open", "read", beginning(text).characters, why, advice);
    failed_ = true;
  }
  // So much of it that there is room for the cause.
  static text_storage<64> beginning(const char* text) noexcept {
    text_storage<64> begin;
    for (std::size_t i = 0; i < 63 && text[i] != '\0'; ++i) begin.characters[i] = text[i];
    return begin;
  }
  // Cuts off the one that begins at `at`, and returns where the next one begins.
  char* next_option(char* at) noexcept {
    if (count_ == max_options) {
      fail("it has too many options", "there can be 16");
      return at;
    }
    option& o = options_[count_++];
    o.key = at;
    while (*at != '\0' && *at != '&' && *at != '=') ++at;
    o.is_flag = *at != '=';
    if (!o.is_flag) {
      *at++ = '\0';
      o.value = at;
      while (*at != '\0' && *at != '&') ++at;
    }
    if (*at == '&') *at++ = '\0';
    if (*o.key == '\0') fail("an option has no name", "write kind:name?option=value&option=value");
    for (const option* other = options_; other != &o; ++other)
      if (same_text(other->key, o.key)) fail("an option is given twice", o.key);
    return at;
  }
  // Moves on behind the digits. False when there is none, or too many of them.
  static bool digits(const char*& c, std::uint64_t& n) noexcept {
    const char* const begin = c;
    for (n = 0; *c >= '0' && *c <= '9'; ++c) {
      if (c - begin == 18) return false;
      n = n * 10 + static_cast<std::uint64_t>(*c - '0');
    }
    return c != begin;
  }
  const option* find(const char* key) noexcept {
    known_ << (known_.size() == 0 ? "" : ", ") << key;
    for (std::size_t i = 0; i < count_; ++i) {
      if (!same_text(options_[i].key, key)) continue;
      options_[i].used = true;
      return &options_[i];
    }
    return nullptr;
  }
  void wrong(const char* key, const char* value, const char* advice) noexcept {
    text<96> why;
    why << key << " cannot be '" << value << '\'';
    fail(why.c_str(), advice);
  }

  char text_[max_length + 1] = {};
  const char* kind_ = "";
  const char* name_ = "";
  option options_[max_options];
  std::size_t count_ = 0;
  uri_use use_;
  bool failed_ = false, passed_ = false;
  error problem_{"open", "", "", ""};
  text<160> known_;
};

}  // namespace runnel::detail

#endif
