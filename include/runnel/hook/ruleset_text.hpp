// SPDX-License-Identifier: MIT
// What all parts of a ruleset's text are made of: words between gaps, `;` and comments, names, and times.
#ifndef RUNNEL_HOOK_RULESET_TEXT_HPP
#define RUNNEL_HOOK_RULESET_TEXT_HPP

#include <cstddef>  // size_t
#include <cstdint>  // int64_t, uint8_t, uint16_t, uint64_t

#include <runnel/base/text.hpp>
#include <runnel/hook/rule_table_parts.hpp>
#include <runnel/match/parse_text.hpp>

namespace runnel::detail {

// Goes to the next word, over gaps, `;` and comments. False at the end.
inline bool to_next_word(match::detail::text_cursor& in) noexcept {
  for (;;) {
    if (!in.good()) return false;
    in.skip_gap();
    if (in.ahead() == ';') {
      in.go_to(in.at() + 1);
    } else if (in.ahead() == '#') {
      while (in.ahead() != '\0' && in.ahead() != '\n') in.go_to(in.at() + 1);
    } else {
      return !in.at_end();
    }
  }
}
// A name of a table, chain or set, as nft has them; `what` is expected.
inline bool parse_name(match::detail::text_cursor& in, char (&to)[name_room], const char* what) noexcept {
  in.skip_gap();
  std::size_t n = 0;
  if (!match::detail::is_letter(in.ahead()) || in.ahead() == '_') return in.expected(what), false;
  for (; match::detail::text_cursor::goes_on(in.ahead(n)) || in.ahead(n) == '-' || in.ahead(n) == '.'; ++n) {
    if (n + 1 == name_room) return in.fail("a name has at most 31 characters"), false;
    to[n] = in.ahead(n);
  }
  to[n] = '\0';
  in.go_to(in.at() + n);
  return in.good();
}
inline void expect(match::detail::text_cursor& in, const char* sign, const char* what) noexcept {
  if (!in.accept(sign)) in.expected(what);
}

struct time_unit {
  const char* name;
  std::int64_t milliseconds;
};
inline constexpr time_unit time_units[] = {{"d", 86'400'000}, {"h", 3'600'000}, {"m", 60'000}, {"s", 1000}, {"ms", 1}};
// `1h30m`, in nanoseconds.
inline std::int64_t parse_time_span(match::detail::text_cursor& in) noexcept {
  constexpr const char* what = "a time, such as 1h30m, up to 10000d";
  constexpr std::int64_t most = std::int64_t{10000} * 86'400'000;
  in.skip_gap();
  const std::size_t begin = in.at();
  std::int64_t all = 0;
  std::size_t n = 0, after = 0;  // units rise
  while (match::detail::is_digit(in.ahead(n))) {
    std::int64_t value = 0;
    for (; match::detail::is_digit(in.ahead(n)); ++n) {
      value = value * 10 + (in.ahead(n) - '0');
      if (value > most) return in.expected(what), 0;
    }
    std::size_t unit = 5, size = 1;
    for (std::size_t i = after; i < 5 && unit == 5; ++i) {
      size = i == 4 ? 2 : 1;
      const bool same = in.ahead(n) == time_units[i].name[0] && (size == 1 || in.ahead(n + 1) == 's');
      const bool milli = i == 2 && in.ahead(n + 1) == 's';
      if (same && !milli) unit = i;
    }
    if (unit == 5) return in.expected(what), 0;
    n += size;
    after = unit + 1;
    all += value > most / time_units[unit].milliseconds ? most + 1 : value * time_units[unit].milliseconds;
  }
  if (n == 0 || all > most || match::detail::text_cursor::goes_on(in.ahead(n))) return in.expected(what), 0;
  in.go_to(begin + n);
  return all * 1'000'000;
}
// The same as text, to the next millisecond.
inline void print_time_span(text_writer& out, std::int64_t ns) noexcept {
  std::int64_t left = (ns + 999'999) / 1'000'000;
  if (left == 0) out << "0s";
  for (const time_unit& u : time_units) {
    if (left >= u.milliseconds) out << left / u.milliseconds << u.name;
    left %= u.milliseconds;
  }
}

// What a table has made so far, by name.
class table_names {
 public:
  using cursor = match::detail::text_cursor;
  table_names(rule_table_parts& t, std::uint8_t table) noexcept : t_(t), table_(table) {}

  // The chain of this name; made where it is named first.
  std::uint16_t chain(cursor& in) noexcept {
    const std::size_t before = in.at();
    char said[name_room];
    if (!parse_name(in, said, "the name of a chain")) return no_chain;
    for (std::size_t i = 0; i < t_.size.chains; ++i)
      if (t_.chains[i].table == table_ && same_text(t_.chains[i].name, said)) return static_cast<std::uint16_t>(i);
    if (t_.size.chains == t_.room.chains) {
      in.fail_at(before, "more chains than there is room for: rule_table_config::chains");
      return no_chain;
    }
    table_chain& c = t_.chains[t_.size.chains];
    c = {};
    for (std::size_t i = 0; i < name_room; ++i) {
      c.name[i] = said[i];
      if (said[i] == '\0') break;
    }
    c.table = table_;
    return static_cast<std::uint16_t>(t_.size.chains++);
  }
  // The same for a jump there. `begin` is where the text of the cursor begins in all.
  std::uint16_t jumped_to(cursor& in, std::size_t begin) noexcept {
    in.skip_gap();
    const std::size_t at = in.at();
    const std::uint16_t n = chain(in);
    if (n == no_chain) return n;
    table_chain& c = t_.chains[n];
    if (!c.named) c.named_at = begin + at;
    c.named = true;
    return n;
  }
  // The set or map of this name; null, and an error, when there is none. `what` is expected.
  [[nodiscard]] table_set* set(cursor& in, const char* what) const noexcept {
    in.skip_gap();
    const std::size_t before = in.at();
    char said[name_room];
    if (!parse_name(in, said, what)) return nullptr;
    if (table_set* const s = find(said)) return s;
    in.go_to(before);
    in.expected(what);
    return nullptr;
  }
  [[nodiscard]] table_set* find(const char* said) const noexcept {
    for (std::size_t i = 0; i < t_.size.sets; ++i)
      if (t_.sets[i].table == table_ && same_text(t_.sets[i].name, said)) return t_.sets + i;
    return nullptr;
  }

 private:
  rule_table_parts& t_;
  std::uint8_t table_;
};

// A verdict: false, and nothing read, when none stands here.
inline bool parse_verdict(table_names& names, match::detail::text_cursor& in, std::size_t begin,
                          statement& to) noexcept {
  constexpr struct {
    const char* word;
    statement_kind kind;
  } all[] = {{"accept", statement_kind::accept},  {"drop", statement_kind::drop}, {"return", statement_kind::back},
             {"continue", statement_kind::go_on}, {"jump", statement_kind::jump}, {"goto", statement_kind::go_to}};
  for (const auto& v : all) {
    if (!in.accept_words(v.word)) continue;
    to.kind = v.kind;
    if (is_jump(to)) to.index = names.jumped_to(in, begin);
    return true;
  }
  return false;
}
inline void print_verdict(text_writer& out, const rule_table_parts& t, const statement& s) noexcept {
  switch (s.kind) {
    case statement_kind::drop: out << "drop"; return;
    case statement_kind::back: out << "return"; return;
    case statement_kind::go_on: out << "continue"; return;
    case statement_kind::jump: out << "jump " << t.chains[s.index].name; return;
    case statement_kind::go_to: out << "goto " << t.chains[s.index].name; return;
    default: out << "accept"; return;
  }
}

}  // namespace runnel::detail

#endif
