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
// A rule is conditions (see parse_condition.hpp), then statements: counter, limit rate, ct count, log, notrack, meta
// mark set, ct mark set, meta priority set, meta nftrace set, ip dscp set, ip6 dscp set, ip ttl set, ip6 hoplimit set,
// tcp option maxseg size set, tproxy; add, update and delete of elements; at its end accept, drop, reject, return,
// continue, jump, goto or vmap, in chains of type nat snat, dnat, masquerade or redirect, and a comment. For reject and
// tproxy see ways.hpp.
//
//     map services { type inet_service : verdict; flags interval; elements = { 22 : accept, 8000-8999 : jump web } }
//     set probes { type ipv4_addr; size 1000; flags dynamic,timeout; }
//     ...
//     ct state vmap { established : accept, related : accept, invalid : drop }
//     tcp dport vmap @services
//     add @probes { ip saddr timeout 10m limit rate over 3/minute } drop
//     tcp dport 22 add @clients { ip saddr ct count over 5 } reject with tcp reset
//
//     chain out { type nat hook postrouting priority srcnat; oifname "wan" masquerade random; }
//     chain in { type nat hook prerouting priority dstnat; dnat to tcp dport map { 80 : 10.0.0.1, 443 : 10.0.0.2 }; }
//
// Chains of one hook are asked by priority; of two with the same the one that stands later is asked first, as in the
// kernel.
//
// Rules may name the sets and maps of their table, and the sets of the program. What nft says of them holds: elements
// may be ranges and prefixes (flags interval), have a timeout (flags timeout), count (counter); what cannot be added
// because a set is full has not matched. Ours: a set that packets add to says its size, a rule may end at the brace of
// its chain, `counter` and `flags` stand before the elements; `snat to :1024-65535` and `tproxy to` need not follow a
// test of the protocol, and the first takes ICMP's identifiers too; a local handler has a port, but no address. A
// connection that `ct count over` says is over is not counted itself: those that are in stay in. The limit of an
// element is asked by the rules that add it; `ip saddr @probes` says whether it is there, where nft takes from its
// limit too. `tcp option maxseg size set` changes a SYN only. Limits of bytes count the link header, as `meta length`
// does, where nft counts from the IP header on. Not known are concatenations, objects with names, queue, quota,
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
#include <runnel/hook/check_jumps.hpp>
#include <runnel/hook/hook_point.hpp>
#include <runnel/hook/parse_statement.hpp>
#include <runnel/hook/parse_table_set.hpp>
#include <runnel/hook/print_rule_table.hpp>
#include <runnel/hook/rule_table.hpp>
#include <runnel/hook/rule_table_parts.hpp>
#include <runnel/hook/ruleset_text.hpp>
#include <runnel/hook/table_set.hpp>
#include <runnel/match/condition_build.hpp>
#include <runnel/match/condition_node.hpp>
#include <runnel/match/parse_condition.hpp>
#include <runnel/match/parse_rules.hpp>
#include <runnel/match/parse_state.hpp>
#include <runnel/match/parse_text.hpp>
#include <runnel/match/parse_value.hpp>

namespace runnel {
namespace detail {

// A template, as what it is made of, so that whoever includes this and loads nothing does not pay for the parser.
template <class Later>
class table_loader {
 public:
  using cursor = match::detail::text_cursor;
  table_loader(rule_table_parts& t, const char* text, std::size_t size, const named_sets& sets) noexcept
      : t_(t), text_(text), in_(text, size), sets_(sets) {}

  // Whether all was right.
  bool load() noexcept {
    while (to_next_word(in_)) {
      if (in_.accept_words("flush ruleset")) continue;  // what comes replaces all in any case
      if (!in_.accept_words("table")) in_.expected("table");
      else parse_table();
    }
    check_jumps(t_, in_);
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
    while (at < t_.table_count && !(t_.tables[at].family == made.family && same_text(t_.tables[at].name, made.name)))
      ++at;
    if (at == rule_table::max_tables) return in_.fail("more than 8 tables");
    if (at == t_.table_count) t_.tables[t_.table_count++] = made;
    table_ = static_cast<std::uint8_t>(at);
    table_names names{t_, table_};
    table_set_loader<Later> sets{t_, names, table_};
    expect(in_, "{", "\"{\"");
    while (in_.good()) {
      (void)to_next_word(in_);
      if (in_.accept("}")) return;
      if (in_.accept_words("set")) sets.parse(in_, false);
      else if (in_.accept_words("map")) sets.parse(in_, true);
      else if (in_.accept_words("chain")) parse_chain(names, sets);
      else in_.expected("set, map, chain or \"}\"");
    }
  }

  void parse_chain(table_names& names, table_set_loader<Later>& sets) noexcept {
    in_.skip_gap();
    const std::size_t at = in_.at();
    const std::uint16_t n = names.chain(in_);
    if (n == no_chain) return;
    table_chain& c = t_.chains[n];
    if (c.defined) return in_.fail_at(at, "a chain of this name is there already");
    c.defined = true;
    if (!c.named) c.named_at = at;
    expect(in_, "{", "\"{\"");
    (void)to_next_word(in_);
    if (in_.accept_words("type")) parse_base(c);
    c.rule = t_.size.rules;
    while (in_.good()) {
      (void)to_next_word(in_);
      if (in_.accept("}")) break;
      if (in_.at_end()) in_.expected("a rule or \"}\"");
      else parse_rule(names, sets);
    }
    c.rules = t_.size.rules - c.rule;
    if (in_.good() && c.base) insert(n);
  }
  // `filter hook forward priority filter; policy drop;`
  void parse_base(table_chain& c) noexcept {
    c.base = true;
    c.translates = in_.accept_words("nat");
    if (!c.translates && !in_.accept_words("filter")) return in_.expected("filter or nat");
    if (!in_.accept_words("hook")) return in_.expected("hook");
    bool found = false;
    in_.skip_gap();
    const std::size_t at = in_.at();
    for (unsigned i = 0; i < 5 && !found; ++i) {
      c.point = static_cast<hook_point>(i);
      found = in_.accept_words(name(c.point));
    }
    if (found && c.translates && c.point == hook_point::forward)
      return in_.fail_at(at, "no address is translated at the hook forward");
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
  // Into the list of its hook, before those of the same priority, as the kernel does (nf_hook_entries_grow()).
  void insert(std::uint16_t n) noexcept {
    table_chain& c = t_.chains[n];
    std::uint16_t* at = (c.translates ? t_.first_nat : t_.first) + static_cast<std::size_t>(c.point);
    while (*at != no_chain && t_.chains[*at].priority < c.priority) at = &t_.chains[*at].next;
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
  void parse_rule(table_names& names, table_set_loader<Later>& sets) noexcept {
    const std::size_t begin = in_.at(), size = end_of_rule();
    cursor line{text_ + begin, size};
    parse_rule(names, sets, line, begin);
    if (!line.good()) return in_.fail_at(begin + line.at(), line.why());
    in_.go_to(begin + size);
  }
  void parse_rule(table_names& names, table_set_loader<Later>& sets, cursor& in, std::size_t begin) noexcept {
    rule_table_config &size = t_.size, &room = t_.room;
    if (size.rules == room.rules) return in.fail("more rules than there is room for: rule_table_config::rules");
    match::detail::condition_builder to{t_.nodes + size.nodes, room.nodes - size.nodes, t_.words + size.words,
                                        room.words - size.words};
    if (size.nodes == room.nodes) return in.fail("no room for another condition: rule_table_config::nodes");
    match::detail::parser p{in, {in, to}, sets_};
    p.own_sets = sets.own();
    p.of_rule = p.of_chain = true;
    match::detail::parse_whole(p);
    if (!in.good()) return;
    if (to.full()) return in.fail("no room for this condition: rule_table_config::nodes and words");
    to.link();
    for (std::size_t i = 0; i < to.size(); ++i) {
      match::condition_node& n = t_.nodes[size.nodes + i];
      if (n.kind == match::node_kind::in_set && !n.inside && n.set.functions == functions_of(n.operand.value))
        n.set.functions = functions_of<false>(n.operand.value);
    }
    table_rule& r = t_.rules[size.rules];
    r = {};
    r.node = size.nodes;
    r.word = size.words;
    r.statement = size.statements;
    r.nodes = static_cast<std::uint16_t>(to.size());
    size.nodes += static_cast<std::uint32_t>(to.size());
    size.words += static_cast<std::uint32_t>(to.words());
    statement_loader<Later> statements{t_, names, sets, in, begin, r, t_.tables[table_].family};
    bool ended = false;
    while (!ended && !in.at_end() && !in.sees_words("comment")) ended = statements.parse();
    drop_reason reason = drop_reason::policy;
    match::detail::parse_comment(in, reason);
    if (in.good() && !in.at_end()) in.expected("the end of the rule");
    if (!in.good()) return;
    if (r.statements == 0) return in.expected("a statement, such as accept or counter");
    statement& last = t_.statements[r.statement + r.statements - 1u];
    if (last.kind == statement_kind::drop && reason != drop_reason::none) last.reason = reason;
    ++size.rules;
  }

  rule_table_parts& t_;
  const char* text_;
  cursor in_;
  named_sets sets_;
  std::uint8_t table_ = 0;
};

}  // namespace detail

/// Loads all tables of a text into `to`, in the place of what it held; see the beginning of this file. `sets` are those
/// that the text may name; they must outlive the table. Returns how many rules there are. After an error the table is
/// empty, and accepts everything: load into one that no pipeline uses, and offer it to the slot when all was right.
///
///     const auto rules = load(spare, text, sets);
///     if (!rules) std::puts(rules.error().message());  // "rules: line 3, column 14: expected an IPv4 address, ..."
template <class Later = void>
[[nodiscard]] result<std::size_t, error> load(rule_table& to, const char* text, const named_sets& sets = {}) noexcept {
  std::size_t size = 0;
  while (text[size] != '\0') ++size;
  to.clear();
  detail::table_loader<Later> loader{detail::table_access::parts(to), text, size, sets};
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
