// SPDX-License-Identifier: MIT
// Prints rule tables as `nft list ruleset` does, so that nft and `load` read them again; and what their rules counted.
#ifndef RUNNEL_HOOK_PRINT_RULE_TABLE_HPP
#define RUNNEL_HOOK_PRINT_RULE_TABLE_HPP

#include <cstddef>  // size_t
#include <cstdint>  // int32_t, uint16_t

#include <runnel/base/text.hpp>
#include <runnel/hook/hook_point.hpp>
#include <runnel/hook/nat_target.hpp>
#include <runnel/hook/print_table_set.hpp>
#include <runnel/hook/refusals.hpp>
#include <runnel/hook/rule_table.hpp>
#include <runnel/hook/rule_table_parts.hpp>
#include <runnel/hook/ruleset_text.hpp>
#include <runnel/hook/table_statement.hpp>
#include <runnel/match/print.hpp>
#include <runnel/match/print_value.hpp>
#include <runnel/match/rules.hpp>
#include <runnel/packet/drop_reason.hpp>

namespace runnel {

/// The name of a family as nft spells it.
[[nodiscard]] constexpr const char* name(table_family f) noexcept {
  return f == table_family::v4 ? "ip" : f == table_family::v6 ? "ip6" : "inet";
}

namespace detail {

struct priority_name {
  const char* name;
  std::int32_t value;
};
inline constexpr priority_name priority_names[] = {
    {"raw", hook_priority::raw},       {"mangle", hook_priority::mangle},     {"dstnat", hook_priority::dstnat},
    {"filter", hook_priority::filter}, {"security", hook_priority::security}, {"srcnat", hook_priority::srcnat}};
// nft knows names for NAT where that stands only.
[[nodiscard]] constexpr const char* name_of_priority(std::int32_t v, hook_point at) noexcept {
  for (const priority_name& n : priority_names) {
    if (n.value != v) continue;
    const bool fits =
        (v != hook_priority::dstnat || at == prerouting) && (v != hook_priority::srcnat || at == postrouting);
    return fits ? n.name : nullptr;
  }
  return nullptr;
}

class table_printer {
 public:
  table_printer(text_writer& out, const rule_table_parts& t) noexcept : out_(out), t_(t), sets_(out, t) {}

  void all() noexcept {
    for (std::size_t i = 0; i < t_.table_count; ++i) {
      out_ << "table " << name(t_.tables[i].family) << ' ' << t_.tables[i].name << " {\n";
      bool first = true;
      for (std::size_t s = 0; s < t_.size.sets; ++s) {
        if (t_.sets[s].table != i || t_.sets[s].name[0] == '\0') continue;
        if (!first) out_ << '\n';
        first = false;
        sets_.declaration(t_.sets[s]);
      }
      for (std::size_t c = 0; c < t_.size.chains; ++c) {
        if (t_.chains[c].table != i) continue;
        if (!first) out_ << '\n';
        first = false;
        chain(t_.chains[c]);
      }
      out_ << "}\n";
    }
  }
  // A rule that counts, on one line: what it says, whatever it has counted.
  void said(const table_rule& r, table_family f) noexcept {
    both_families_ = f == table_family::inet;
    with_counts_ = false;
    const match::detail::printed_tree tree{t_.condition_of(r)};
    const std::size_t root = tree.condition.root();
    match::detail::line l{out_};
    if (match::detail::lines_of(tree, root, true) == 1) match::detail::print_line(l, tree, root, true, 0);
    else match::detail::print_tree(l, tree, root);
    actions(l, r);
  }

 private:
  void chain(const table_chain& c) noexcept {
    out_ << "\tchain " << c.name << " {\n";
    if (c.base) {
      out_ << "\t\ttype " << (c.translates ? "nat" : "filter") << " hook " << name(c.point) << " priority ";
      if (const char* const said = name_of_priority(c.priority, c.point)) out_ << said;
      else out_ << c.priority;
      out_ << "; policy " << (c.policy == accept ? "accept" : "drop") << ";\n";
    }
    both_families_ = t_.tables[c.table].family == table_family::inet;
    for (std::size_t i = c.rule; i < std::size_t{c.rule} + c.rules; ++i) rule(t_.rules[i]);
    out_ << "\t}\n";
  }
  // A condition with "or" is several lines in nft. Only verdicts may be said twice.
  void rule(const table_rule& r) noexcept {
    const match::detail::printed_tree tree{t_.condition_of(r)};
    const std::size_t root = tree.condition.root(), lines = match::detail::lines_of(tree, root, true);
    const statement& only = t_.statements[r.statement];
    const bool verdict =
        r.statements == 1 && (only.kind == statement_kind::accept || only.kind == statement_kind::drop);
    const bool split = lines >= 1 && lines <= 64 && (verdict || lines == 1);
    for (std::size_t i = 0; i < (split ? lines : 1); ++i) {
      out_ << "\t\t";
      match::detail::line l{out_};
      if (split) match::detail::print_line(l, tree, root, true, i);
      else match::detail::print_tree(l, tree, root);
      actions(l, r);
      out_ << '\n';
    }
  }
  void actions(match::detail::line& l, const table_rule& r) noexcept {
    for (std::size_t s = 0; s < r.statements; ++s) {
      const statement& one = t_.statements[r.statement + s];
      if (one.kind != statement_kind::fits_refusal) action(l.next(), one, r);
    }
  }
  void action(text_writer& to, const statement& s, const table_rule& r) noexcept {
    switch (s.kind) {
      case statement_kind::accept:
      case statement_kind::drop:
      case statement_kind::jump:
      case statement_kind::go_to:
      case statement_kind::back:
      case statement_kind::go_on:
        print_verdict(to, t_, s);
        if (s.kind == statement_kind::drop && s.reason != drop_reason::policy)
          to << " comment \"" << name(s.reason) << '"';
        return;
      case statement_kind::look_up: return map(to, " vmap ", s);
      case statement_kind::fits_refusal: return;  // the reject says it
      case statement_kind::refuse:
        to << "reject";
        if (s.value != 0) to << " with " << refusals[s.value].with << ' ' << refusals[s.value].code;
        return;
      case statement_kind::divert: to << "tproxy to :" << s.value; return;
      case statement_kind::translate: return print(to, t_.translations[s.index], both_families_);
      case statement_kind::translate_by_map: {
        const nat_target& how = t_.translations[s.index];
        const map_data data = t_.set_of(s).data;
        to << name(how.kind);
        if (both_families_ || has_port(data) || (how.flags & nat_flags::prefix) != 0)
          to << (is_v6(data) ? " ip6" : " ip");
        map(to << ((how.flags & nat_flags::prefix) != 0 ? " prefix to " : " to "), " map ", s);
        return print_nat_flags(to, how.flags);
      }
      case statement_kind::counter:
        to << "counter";
        if (with_counts_) to << " packets " << r.hits.packets << " bytes " << r.hits.bytes;
        return;
      case statement_kind::limit: return limit(to, t_.limits[s.index]);
      case statement_kind::count_connections: return count(to, t_.connection_limits[s.index]);
      case statement_kind::log:
      case statement_kind::log_to_group:
        to << "log";
        if (t_.text[s.value] != '\0') to << " prefix \"" << t_.text + s.value << '"';
        if (s.kind == statement_kind::log_to_group) to << " group " << s.index;
        else if (s.index != default_log_level) to << " level " << log_levels[s.index];
        return;
      case statement_kind::notrack: to << "notrack"; return;
      case statement_kind::mark: (to << "meta mark set 0x").hex(s.value); return;
      case statement_kind::mark_by_map: return map(to << "meta mark set ", " map ", s);
      case statement_kind::mark_from_connection: to << "meta mark set ct mark"; return;
      case statement_kind::connection_mark: (to << "ct mark set 0x").hex(s.value); return;
      case statement_kind::connection_mark_from_packet: to << "ct mark set meta mark"; return;
      case statement_kind::priority: (to << "meta priority set 0:").hex(s.value); return;
      case statement_kind::traced: to << "meta nftrace set " << s.value; return;
      case statement_kind::dscp: (to << "ip dscp set 0x").hex(s.value); return;
      case statement_kind::dscp6: (to << "ip6 dscp set 0x").hex(s.value); return;
      case statement_kind::ttl: to << "ip ttl set " << s.value; return;
      case statement_kind::hop_limit: to << "ip6 hoplimit set " << s.value; return;
      case statement_kind::segment_size: to << "tcp option maxseg size set " << s.value; return;
      case statement_kind::add_element: return update(to << "add ", s);
      case statement_kind::update_element: return update(to << "update ", s);
      case statement_kind::delete_element: return update(to << "delete ", s);
    }
  }
  void operand(text_writer& to, const statement& s) noexcept {
    const match::detail::printed_tree tree{t_.operand_of(s)};
    match::detail::print_operand(to, tree, tree[0]);
  }
  void map(text_writer& to, const char* word, const statement& s) noexcept {
    operand(to, s);
    to << word;
    sets_.use(t_.set_of(s));
  }
  void limit(text_writer& to, const table_limit& l) noexcept {
    to << "limit rate " << (l.over ? "over " : "");
    amount(to, l, l.rate);
    to << '/' << limit_units[l.unit].name;
    if (l.bytes && l.burst == 0) return;
    amount(to << " burst ", l, l.burst);
    if (!l.bytes) to << " packets";
  }
  static void amount(text_writer& to, const table_limit& l, std::uint64_t n) noexcept {
    if (!l.bytes) {
      to << n;
      return;
    }
    const byte_unit* u = byte_units;
    while (n % u->bytes != 0) ++u;
    to << n / u->bytes << ' ' << u->name;
  }
  void count(text_writer& to, const connection_limit& l) noexcept {
    to << "ct count " << (l.over ? "over " : "") << l.most;
  }
  void update(text_writer& to, const statement& s) noexcept {
    sets_.use(t_.set_of(s));
    operand(to << " { ", s);
    if (s.kind != statement_kind::delete_element) {
      const table_update& u = t_.updates[s.index];
      if (u.timeout != 0) print_time_span(to << " timeout ", u.timeout);
      if (u.counts) to << " counter";
      if (u.count != table_update::no_limit) count(to << ' ', t_.connection_limits[u.count]);
      if (u.limit != table_update::no_limit) limit(to << ' ', t_.limits[u.limit]);
    }
    to << " }";
  }

  text_writer& out_;
  const rule_table_parts& t_;
  table_set_printer sets_;
  bool both_families_ = false, with_counts_ = true;
};

}  // namespace detail

/// All tables, as `nft list ruleset` prints them, with their counters. A rule whose condition has "or" in it becomes
/// several lines when all it has is a verdict; another such rule is printed with `or`, which `load` reads and nft does
/// not. The sets of the program are not printed.
inline void print(text_writer& out, const rule_table& t) noexcept {
  detail::table_printer{out, detail::table_access::parts(t)}.all();
}

/// A rule that has the word `counter`, where it stands, and what it has counted.
struct counting_rule {
  table_family family;  ///< of its table
  const char* table;    ///< the name of that
  const char* chain;    ///< the name of its chain
  std::size_t number;   ///< its place in the chain, from 1
  rule_counter hits;    ///< packets and bytes

  /// What it says, on one line, without what it has counted: `ct state invalid counter drop`.
  friend void print(text_writer& out, const counting_rule& r) noexcept {
    detail::table_printer{out, *r.parts_}.said(*r.rule_, r.family);
  }

 private:
  template <class F>
  friend void for_each_counter(const rule_table& t, F f);

  // Of `parts`, rule number `i` of chain `in`, from 0.
  counting_rule(const detail::rule_table_parts& parts, const detail::table_chain& in, std::size_t i) noexcept
      : family(parts.tables[in.table].family),
        table(parts.tables[in.table].name),
        chain(in.name),
        number(i + 1),
        hits(parts.rules[in.rule + i].hits),
        parts_(&parts),
        rule_(&parts.rules[in.rule + i]) {}

  const detail::rule_table_parts* parts_;
  const detail::table_rule* rule_;
};

/// Calls `f(const counting_rule&)` for each rule of the table that has the word `counter`, chain by chain. For the
/// thread that asks the table, between two packets.
template <class F>
void for_each_counter(const rule_table& t, F f) {
  using namespace detail;
  const rule_table_parts& parts = table_access::parts(t);
  for (std::size_t c = 0; c < parts.size.chains; ++c) {
    const table_chain& in = parts.chains[c];
    for (std::size_t i = 0; i < in.rules; ++i) {
      const table_rule& r = parts.rules[in.rule + i];
      bool counts = false;
      for (std::size_t s = 0; s < r.statements; ++s)
        counts = counts || parts.statements[r.statement + s].kind == statement_kind::counter;
      if (counts) f(counting_rule(parts, in, i));
    }
  }
}

}  // namespace runnel

#endif
