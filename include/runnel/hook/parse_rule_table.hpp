// SPDX-License-Identifier: MIT
// Loads a rule table from text, in the form that nft reads and lists:
//
//     table inet filter {
//       set guests { type ipv4_addr; flags interval; elements = { 192.0.2.0/28, 198.51.100.7 } }
//       chain forward {
//         type filter hook forward priority 0; policy drop;
//         ct state established,related accept
//         ip saddr @guests jump guests
//         tcp dport 22 limit rate 3/minute burst 5 packets counter accept
//       }
//       chain guests {
//         udp dport 53 meta mark set 5 return
//         log prefix "guest: " drop
//       }
//     }
//
// A rule is conditions (see parse_condition.hpp), then statements: counter, limit rate, log, notrack, meta mark set,
// meta priority set, meta nftrace set, ip dscp set, ip6 dscp set, ip ttl set, ip6 hoplimit set, tcp option maxseg size
// set; at its end accept, drop, return, jump or goto, and a comment. Rules may name the sets of their table and
// those of the program. Not known are maps and vmap, timeouts and counters of elements, reject, NAT, queue, and
// conditions behind statements.
#ifndef RUNNEL_HOOK_PARSE_RULE_TABLE_HPP
#define RUNNEL_HOOK_PARSE_RULE_TABLE_HPP

#include <cstddef>  // size_t
#include <cstdint>  // int32_t, uint8_t, uint16_t, uint32_t, uint64_t

#include <runnel/base/error.hpp>
#include <runnel/base/result.hpp>
#include <runnel/base/text.hpp>
#include <runnel/base/time.hpp>
#include <runnel/base/token_bucket.hpp>
#include <runnel/hook/hook_point.hpp>
#include <runnel/hook/parse_table_set.hpp>
#include <runnel/hook/print_rule_table.hpp>
#include <runnel/hook/rule_table.hpp>
#include <runnel/hook/ruleset_text.hpp>
#include <runnel/match/condition_build.hpp>
#include <runnel/match/parse_condition.hpp>
#include <runnel/match/parse_rules.hpp>
#include <runnel/match/parse_state.hpp>
#include <runnel/match/parse_text.hpp>
#include <runnel/match/parse_value.hpp>

namespace runnel {
namespace detail {

class table_loader {
 public:
  using cursor = match::detail::text_cursor;
  table_loader(rule_table& t, const char* text, std::size_t size, const named_sets& sets) noexcept
      : t_(t), text_(text), in_(text, size), sets_(sets) {}

  // Whether all was right.
  bool load() noexcept {
    while (to_next_word(in_)) {
      if (in_.accept_words("flush ruleset")) continue;  // what comes replaces all in any case
      if (!in_.accept_words("table")) in_.expected("table");
      else parse_table();
    }
    check_jumps();
    return in_.good();
  }
  [[nodiscard]] const cursor& in() const noexcept { return in_; }

 private:
  void parse_table() noexcept {
    named_table made;
    made.family = in_.accept_words("inet")  ? table_family::inet
                  : in_.accept_words("ip6") ? table_family::v6
                                            : table_family::v4;
    (void)in_.accept_words("ip");
    if (!parse_name(in_, made.name, "ip, ip6 or inet, and the name of the table")) return;
    std::size_t at = 0;
    while (at < t_.table_count_ && !(t_.tables_[at].family == made.family && same_text(t_.tables_[at].name, made.name)))
      ++at;
    if (at == rule_table::max_tables) return in_.fail("more than 8 tables");
    if (at == t_.table_count_) t_.tables_[t_.table_count_++] = made;
    table_ = static_cast<std::uint8_t>(at);
    table_set_loader sets{t_, in_, table_};
    expect(in_, "{", "\"{\"");
    while (in_.good()) {
      (void)to_next_word(in_);
      own_sets_ = sets.own();
      if (in_.accept("}")) return;
      if (in_.accept_words("set")) sets.parse();
      else if (in_.accept_words("chain")) parse_chain();
      else in_.expected("set, chain or \"}\"");
    }
  }

  // The chain of this name in the current table; made where it is named first.
  std::uint16_t chain_named(cursor& in) noexcept {
    const std::size_t before = in.at();
    char said[name_room];
    if (!parse_name(in, said, "the name of a chain")) return no_chain;
    for (std::size_t i = 0; i < t_.size_.chains; ++i)
      if (t_.chains_[i].table == table_ && same_text(t_.chains_[i].name, said)) return static_cast<std::uint16_t>(i);
    if (t_.size_.chains == t_.room_.chains) {
      in.fail_at(before, "more chains than there is room for: rule_table_config::chains");
      return no_chain;
    }
    table_chain& c = t_.chains_[t_.size_.chains];
    c = {};
    for (std::size_t i = 0; i < name_room; ++i) {
      c.name[i] = said[i];
      if (said[i] == '\0') break;
    }
    c.table = table_;
    return static_cast<std::uint16_t>(t_.size_.chains++);
  }
  void parse_chain() noexcept {
    in_.skip_gap();
    const std::size_t at = in_.at();
    const std::uint16_t n = chain_named(in_);
    if (n == no_chain) return;
    table_chain& c = t_.chains_[n];
    if (c.defined) return in_.fail_at(at, "a chain of this name is there already");
    c.defined = true;
    if (!c.named) c.named_at = at;
    expect(in_, "{", "\"{\"");
    (void)to_next_word(in_);
    if (in_.accept_words("type")) parse_base(c);
    c.rule = t_.size_.rules;
    while (in_.good()) {
      (void)to_next_word(in_);
      if (in_.accept("}")) break;
      if (in_.at_end()) in_.expected("a rule or \"}\"");
      else parse_rule();
    }
    c.rules = t_.size_.rules - c.rule;
    if (in_.good() && c.base) insert(n);
  }
  // `filter hook forward priority filter; policy drop;`
  void parse_base(table_chain& c) noexcept {
    c.base = true;
    if (!in_.accept_words("filter")) return in_.expected("filter: translation is no chain here");
    if (!in_.accept_words("hook")) return in_.expected("hook");
    bool found = false;
    for (unsigned i = 0; i < 5 && !found; ++i) {
      c.point = static_cast<hook_point>(i);
      found = in_.accept_words(name(c.point));
    }
    if (!found) return in_.expected("one of prerouting, input, forward, output, postrouting");
    if (!in_.accept_words("priority")) return in_.expected("priority");
    c.priority = parse_priority();
    (void)to_next_word(in_);
    if (!in_.accept_words("policy")) return;
    if (in_.accept_words("drop")) c.policy = drop(drop_reason::no_match);
    else if (!in_.accept_words("accept")) in_.expected("accept or drop");
  }
  // `filter`, `filter + 5`, `-300`
  std::int32_t parse_priority() noexcept {
    constexpr const char* what = "a priority, such as filter, mangle - 5 or 0";
    std::int32_t base = 0;
    bool named = false, begun = false;
    for (const priority_name& p : priority_names) {
      if (named || !in_.sees(p.name)) continue;
      std::size_t size = 0;
      while (p.name[size] != '\0') ++size;
      if (cursor::goes_on(in_.ahead(size))) continue;
      in_.go_to(in_.at() + size);
      base = p.value;
      named = true;
    }
    const bool minus = in_.accept("-");
    begun = minus || (named && in_.accept("+"));
    if (named && !begun) return base;
    const auto v = static_cast<std::int32_t>(in_.number_up_to(1'000'000, what));
    return base + (minus ? -v : v);
  }
  // Into the list of its hook, behind those of the same priority.
  void insert(std::uint16_t n) noexcept {
    table_chain& c = t_.chains_[n];
    std::uint16_t* at = &t_.first_[static_cast<std::size_t>(c.point)];
    while (*at != no_chain && t_.chains_[*at].priority <= c.priority) at = &t_.chains_[*at].next;
    c.next = *at;
    *at = n;
  }

  // How far a rule goes: to the end of the line, `;`, `#` or `}`, but not inside of quotes and braces.
  [[nodiscard]] std::size_t end_of_rule() const noexcept {
    const char* const s = text_ + in_.at();
    std::size_t n = 0, braces = 0;
    for (bool quoted = false; s[n] != '\0'; ++n) {
      if (s[n] == '"') quoted = !quoted;
      if (quoted && s[n] != '\n') continue;
      if (braces == 0 && (s[n] == '\n' || s[n] == ';' || s[n] == '#' || s[n] == '}')) break;
      if (s[n] == '{') ++braces;
      if (s[n] == '}') --braces;
    }
    return n;
  }
  void parse_rule() noexcept {
    const std::size_t begin = in_.at(), size = end_of_rule();
    cursor line{text_ + begin, size};
    parse_rule(line, begin);
    if (!line.good()) return in_.fail_at(begin + line.at(), line.why());
    in_.go_to(begin + size);
  }
  void parse_rule(cursor& in, std::size_t begin) noexcept {
    rule_table_config &size = t_.size_, &room = t_.room_;
    if (size.rules == room.rules) return in.fail("more rules than there is room for: rule_table_config::rules");
    match::detail::condition_builder to{t_.nodes_ + size.nodes, room.nodes - size.nodes, t_.words_ + size.words,
                                        room.words - size.words};
    if (size.nodes == room.nodes) return in.fail("no room for another condition: rule_table_config::nodes");
    match::detail::parser p{in, {in, to}, sets_};
    p.own_sets = own_sets_;
    p.of_rule = p.of_chain = true;
    match::detail::parse_whole(p);
    if (!in.good()) return;
    if (to.full()) return in.fail("no room for this condition: rule_table_config::nodes and words");
    to.link();
    table_rule& r = t_.rules_[size.rules];
    r = {};
    r.node = size.nodes;
    r.word = size.words;
    r.statement = size.statements;
    r.nodes = static_cast<std::uint16_t>(to.size());
    bool ended = false;
    while (!ended && !in.at_end() && !in.sees_words("comment")) ended = parse_statement(in, r, begin);
    drop_reason reason = drop_reason::policy;
    match::detail::parse_comment(in, reason);
    if (in.good() && !in.at_end()) in.expected("the end of the rule");
    if (!in.good()) return;
    if (r.statements == 0) return in.expected("a statement, such as accept or counter");
    statement& last = t_.statements_[r.statement + r.statements - 1u];
    if (last.kind == statement_kind::drop && reason != drop_reason::none) last.reason = reason;
    size.nodes += static_cast<std::uint32_t>(to.size());
    size.words += static_cast<std::uint32_t>(to.words());
    ++size.rules;
  }

  void add(cursor& in, table_rule& r, statement_kind kind, std::uint64_t value = 0, std::size_t index = 0) noexcept {
    if (t_.size_.statements == t_.room_.statements)
      return in.fail("more statements than there is room for: rule_table_config::statements");
    t_.statements_[t_.size_.statements++] = {kind, drop_reason::policy, static_cast<std::uint16_t>(index),
                                             static_cast<std::uint32_t>(value)};
    ++r.statements;
  }
  template <class Field>
  static std::uint64_t value_of(cursor& in, const Field& f) noexcept {
    std::uint64_t k = 0;
    match::detail::parse_key(in, match::detail::describe(f), k);
    return k;
  }
  // One statement. True when none may follow it.
  bool parse_statement(cursor& in, table_rule& r, std::size_t begin) noexcept {
    using kind = statement_kind;
    if (in.accept_words("accept")) return add(in, r, kind::accept), true;
    if (in.accept_words("drop")) return add(in, r, kind::drop), true;
    if (in.accept_words("return")) return add(in, r, kind::back), true;
    if (in.accept_words("jump")) return parse_jump(in, r, kind::jump, begin), true;
    if (in.accept_words("goto")) return parse_jump(in, r, kind::go_to, begin), true;
    if (in.accept_words("counter")) parse_counter(in, r);
    else if (in.accept_words("limit rate")) parse_limit(in, r);
    else if (in.accept_words("log")) parse_log(in, r);
    else if (in.accept_words("notrack")) add(in, r, kind::notrack);
    else if (in.accept_words("meta mark set")) add(in, r, kind::mark, value_of(in, meta::mark));
    else if (in.accept_words("meta priority set")) add(in, r, kind::priority, value_of(in, meta::priority));
    else if (in.accept_words("meta nftrace set")) add(in, r, kind::traced, in.number_up_to(1, "0 or 1"));
    else if (in.accept_words("ip dscp set")) add(in, r, kind::dscp, value_of(in, ip::dscp));
    else if (in.accept_words("ip6 dscp set")) add(in, r, kind::dscp6, value_of(in, ip6::dscp));
    else if (in.accept_words("ip ttl set")) add(in, r, kind::ttl, value_of(in, ip::ttl));
    else if (in.accept_words("ip6 hoplimit set")) add(in, r, kind::hop_limit, value_of(in, ip6::hoplimit));
    else if (in.accept_words("tcp option maxseg size set"))
      add(in, r, kind::segment_size, in.number_up_to(0xffff, "a size up to 65535"));
    else in.expected("a statement: accept, drop, jump, goto, return, counter, limit rate, log, notrack, meta mark set");
    return !in.good();
  }
  void parse_jump(cursor& in, table_rule& r, statement_kind kind, std::size_t begin) noexcept {
    in.skip_gap();
    const std::size_t at = in.at();
    const std::uint16_t n = chain_named(in);
    if (n == no_chain) return;
    table_chain& c = t_.chains_[n];
    if (!c.named) c.named_at = begin + at;
    c.named = true;
    add(in, r, kind, 0, n);
  }
  // `counter`, `counter packets 1 bytes 54`: goes on from there.
  void parse_counter(cursor& in, table_rule& r) noexcept {
    for (std::size_t i = 0; i < r.statements; ++i)
      if (t_.statements_[r.statement + i].kind == statement_kind::counter) return in.fail("a rule has one counter");
    if (in.accept_words("packets") && !in.number(r.hits.packets)) in.expected("a number of packets");
    if (in.accept_words("bytes") && !in.number(r.hits.bytes)) in.expected("a number of bytes");
    add(in, r, statement_kind::counter);
  }
  // `over 10/second burst 5 packets`
  void parse_limit(cursor& in, table_rule& r) noexcept {
    if (t_.size_.limits == t_.room_.limits)
      return in.fail("more limits than there is room for: rule_table_config::limits");
    table_limit l;
    l.over = in.accept_words("over");
    in.skip_gap();
    const std::size_t at = in.at();
    l.rate = in.number_up_to(1'000'000'000, "a number of packets, such as 10/second");
    if (in.good() && l.rate == 0) in.fail_at(at, "a rate of at least 1");
    if (!in.accept("/")) in.expected("\"/\" and one of second, minute, hour, day, week");
    bool found = false;
    for (std::uint8_t i = 0; i < sizeof limit_units / sizeof *limit_units && !found; ++i) {
      found = in.accept_words(limit_units[i].name);
      l.unit = i;
    }
    if (!found) in.expected("one of second, minute, hour, day, week");
    if (in.accept_words("burst")) {
      l.burst = static_cast<std::uint32_t>(in.number_up_to(1'000'000'000, "a number of packets"));
      if (!in.accept_words("packets")) in.expected("packets");
    }
    if (!in.good()) return;
    l.bucket = token_bucket{l.rate, l.burst, seconds(limit_units[l.unit].seconds)};
    t_.limits_[t_.size_.limits] = l;
    add(in, r, statement_kind::limit, 0, t_.size_.limits++);
  }
  // `log prefix "new: "`
  void parse_log(cursor& in, table_rule& r) noexcept {
    const std::size_t begin = t_.size_.text;
    const auto put = [&](char c) {
      if (t_.size_.text == t_.room_.text) return in.fail("no room for this prefix: rule_table_config::text");
      t_.text_[t_.size_.text++] = c;
    };
    if (in.accept_words("prefix")) {
      if (!in.accept("\"")) return in.expected("a text in quotes");
      for (; in.good() && in.ahead() != '"' && in.ahead() != '\0'; in.go_to(in.at() + 1)) put(in.ahead());
      if (in.good() && in.ahead() != '"') return in.expected("the closing quote");
      in.go_to(in.at() + 1);
    }
    put('\0');
    add(in, r, statement_kind::log, begin);
  }

  // ---- jumps

  void check_jumps() noexcept {
    for (std::size_t i = 0; i < t_.size_.chains && in_.good(); ++i) {
      const table_chain& c = t_.chains_[i];
      if (!c.defined) return in_.fail_at(c.named_at, "there is no chain of this name in the table");
      if (c.named && c.base) return in_.fail_at(c.named_at, "a chain with a hook is not jumped to");
    }
    for (std::size_t i = 0; i < t_.size_.chains && in_.good(); ++i) (void)look_at(t_.chains_[i], 0);
  }
  // How many jumps lead down from this chain, which `depth` of them lead to. It calls itself at most 17 times deep.
  std::size_t look_at(table_chain& c, std::size_t depth) noexcept {
    enum : std::uint8_t { unknown, on_the_way, known };
    if (c.looked_at == on_the_way) return in_.fail_at(c.named_at, "the jumps to this chain go in a circle"), 0;
    if (depth + c.height > rule_table::max_jumps)
      return in_.fail_at(c.named_at, "the jumps to and from this chain are more than 16 deep"), 0;
    if (c.looked_at == known) return c.height;
    c.looked_at = on_the_way;
    std::size_t height = 0;
    for (std::size_t i = c.rule; i < std::size_t{c.rule} + c.rules; ++i) {
      const table_rule& r = t_.rules_[i];
      const statement& last = t_.statements_[r.statement + r.statements - 1u];
      if (last.kind != statement_kind::jump && last.kind != statement_kind::go_to) continue;
      const std::size_t below = 1 + look_at(t_.chains_[last.index], depth + 1);
      if (!in_.good()) return 0;
      if (below > height) height = below;
    }
    c.height = static_cast<std::uint8_t>(height);
    c.looked_at = known;
    return height;
  }

  rule_table& t_;
  const char* text_;
  cursor in_;
  named_sets sets_;
  named_sets own_sets_{};
  std::uint8_t table_ = 0;
};

}  // namespace detail

/// Loads all tables of a text into `to`, in the place of what it held; see the beginning of this file. `sets` are those
/// that the text may name; they must outlive the table. Returns how many rules there are. After an error the table is
/// empty, and accepts everything: load into one that no pipeline uses, and offer it to the slot when all was right.
///
///     const auto rules = load(spare, text, sets);
///     if (!rules) std::puts(rules.error().message());  // "rules: line 3, column 14: expected an IPv4 address, ..."
[[nodiscard]] inline result<std::size_t, error> load(rule_table& to, const char* text,
                                                     const named_sets& sets = {}) noexcept {
  std::size_t size = 0;
  while (text[size] != '\0') ++size;
  to.clear();
  detail::table_loader loader{to, text, size, sets};
  if (loader.load()) return to.size();
  to.clear();
  std::uint64_t line = 1, column = 1;
  for (std::size_t i = 0; i < loader.in().at() && i < size; ++i) {
    ++column;
    if (text[i] == '\n') ++line, column = 1;
  }
  runnel::text<64> where;
  where << "line " << line << ", column " << column;
  return error{"rules", where.c_str(), "", loader.in().why()};
}

}  // namespace runnel

#endif
