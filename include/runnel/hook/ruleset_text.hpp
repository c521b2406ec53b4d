// SPDX-License-Identifier: MIT
// What all parts of a ruleset's text are made of: words between gaps, `;` and comments, and names.
#ifndef RUNNEL_HOOK_RULESET_TEXT_HPP
#define RUNNEL_HOOK_RULESET_TEXT_HPP

#include <cstddef>  // size_t

#include <runnel/hook/table_set.hpp>
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

}  // namespace runnel::detail

#endif
