// SPDX-License-Identifier: MIT
// Reads rules from text: a condition and a verdict on each line, as rules are printed and as nft lists them.
//
//     # comments, empty lines
//     tcp dport { 22, 80-90 } ip saddr @friends counter accept
//     host 10.0.0.1 and not arp drop comment "blocklist"
//     drop
//
// The verdicts are nft's `accept` and `drop`, and `pass`, `tx`, `redirect 2`, `aborted`, `stolen`. The comment of a
// drop becomes its cause where it is the name of a drop_reason; all others are only comments. Whether there is a
// `counter` or not, rules are counted, from 0 on. A `;` ends a rule like the end of a line.
#ifndef RUNNEL_MATCH_PARSE_RULES_HPP
#define RUNNEL_MATCH_PARSE_RULES_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint16_t, uint64_t

#include <runnel/base/error.hpp>
#include <runnel/base/result.hpp>
#include <runnel/base/text.hpp>
#include <runnel/match/condition_build.hpp>
#include <runnel/match/parse_condition.hpp>
#include <runnel/match/parse_state.hpp>
#include <runnel/match/parse_text.hpp>
#include <runnel/match/rule_list.hpp>
#include <runnel/packet/drop_reason.hpp>
#include <runnel/packet/verdict.hpp>

namespace runnel {
namespace match::detail {

// `comment "blocklist"`, if it stands here. `reason` stays when that is the name of none.
inline void parse_comment(text_cursor& in, drop_reason& reason) noexcept {
  if (!in.accept_words("comment")) return;
  if (!in.accept("\"")) return in.expected("a text in quotes");
  text<64> words;
  for (; in.ahead() != '"' && in.ahead() != '\0'; in.go_to(in.at() + 1)) words << in.ahead();
  if (!in.accept("\"")) return in.expected("the closing quote");
  for (std::size_t i = 0; i < drop_reason_count; ++i)
    if (same_text(words.c_str(), name(static_cast<drop_reason>(i)))) reason = static_cast<drop_reason>(i);
}
// `counter`, `counter packets 1 bytes 54`
inline void parse_counter(text_cursor& in) noexcept {
  if (!in.accept_words("counter")) return;
  std::uint64_t ignored = 0;
  if (in.accept_words("packets") && !in.number(ignored)) in.expected("a number of packets");
  if (in.accept_words("bytes") && !in.number(ignored)) in.expected("a number of bytes");
}
inline verdict parse_verdict(text_cursor& in) noexcept {
  parse_counter(in);
  verdict v = accept;
  if (in.accept_words("redirect")) {
    const std::uint64_t port = in.number_up_to(0xffff, "the number of a device, up to 65535");
    v = redirect(static_cast<std::uint16_t>(port));
  } else if (in.accept_words("drop")) {
    v = drop;
  } else if (in.accept_words("tx")) {
    v = tx;
  } else if (in.accept_words("aborted")) {
    v = aborted;
  } else if (in.accept_words("stolen")) {
    v = stolen;
  } else if (!in.accept_words("accept") && !in.accept_words("pass")) {
    in.expected("one of accept, drop, pass, tx, redirect, aborted, stolen");
  }
  drop_reason reason = v.reason;
  parse_comment(in, reason);
  if (v.code == verdict_code::drop && reason != drop_reason::none) v.reason = reason;
  if (in.good() && !in.at_end()) in.expected("the end of the rule");
  return v;
}
// How far a rule goes: to the end of the line, `;`, or `#`, but not inside quotes.
inline std::size_t end_of_rule(const char* text) noexcept {
  bool quoted = false;
  std::size_t n = 0;
  for (; text[n] != '\0' && text[n] != '\n' && (quoted || (text[n] != '#' && text[n] != ';')); ++n)
    if (text[n] == '"') quoted = !quoted;
  return n;
}

}  // namespace match::detail

/// Reads rules into a list that is there, in place of its own, and says how many. Takes 4 KiB of the stack, where
/// `parse_rules` has the list there twice: for microcontrollers, with a list of the size that is needed. After an error
/// the list has one rule, which drops everything.
///
///     static basic_rule_list<8, 32, 32> policy;
///     const auto loaded = load(policy, "tcp dport { 22, 80 } accept\n drop\n");
template <std::size_t Rules, std::size_t Nodes, std::size_t Words>
[[nodiscard]] result<std::size_t, error> load(basic_rule_list<Rules, Nodes, Words>& to, const char* text,
                                              const named_sets& sets = {}) noexcept {
  to.clear();
  for (unsigned line = 1; *text != '\0';) {
    const char* const begin_of_line = text;
    for (bool more = true; more;) {
      const std::size_t size = match::detail::end_of_rule(text);
      match::detail::text_cursor in{text, size};
      if (!in.at_end()) {
        verdict target = accept;
        const bool added = to.add_built(
            [&](match::detail::condition_builder& room) {
              match::detail::parser p{in, {in, room}, sets};
              p.of_rule = true;
              match::detail::parse_whole(p);
              target = match::detail::parse_verdict(in);
            },
            target);
        if (!added) in.fail("more rules than there is room for: parse_rules<basic_rule_list<N>>");
      }
      if (!in.good()) {
        runnel::text<48> where;
        where << "line " << std::uint64_t{line} << ", column "
              << std::uint64_t{static_cast<std::size_t>(text - begin_of_line) + in.at() + 1};
        to.clear();
        (void)to.add_built([](match::detail::condition_builder& room) { room.add({}); }, drop);
        return error{"rules", where.c_str(), "", in.why()};
      }
      text += size;
      more = *text == ';';
      if (more) ++text;
    }
    while (*text != '\0' && *text != '\n') ++text;  // a comment
    if (*text == '\n') ++text;
    ++line;
  }
  return to.size();
}

/// Reads rules: what rules print, and what nft and tcpdump users write; see `parse_condition`. Without a last `drop`,
/// what no rule decides about is accepted, as with `rules(...)`.
///
///     auto policy = parse_rules("tcp dport 22 accept\n drop\n");
///     if (!policy) std::puts(policy.error().message());   // "rules: line 3, column 14: expected an IPv4 address, ..."
///
/// For more than 128 rules: `parse_rules<basic_rule_list<1000>>(text)`. `sets` are those that the text may name.
template <class List = rule_list>
[[nodiscard]] result<List, error> parse_rules(const char* text, const named_sets& sets = {}) noexcept {
  List made;
  if (const auto loaded = load(made, text, sets); !loaded) return loaded.error();
  return made;
}

}  // namespace runnel

#endif
