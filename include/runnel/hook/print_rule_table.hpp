// SPDX-License-Identifier: MIT
// Prints rule tables as `nft list ruleset` does, so that nft and `load` read them again.
#ifndef RUNNEL_HOOK_PRINT_RULE_TABLE_HPP
#define RUNNEL_HOOK_PRINT_RULE_TABLE_HPP

#include <cstddef>  // size_t
#include <cstdint>  // int32_t, uint16_t

#include <runnel/base/text.hpp>
#include <runnel/hook/hook_point.hpp>
#include <runnel/hook/rule_table.hpp>
#include <runnel/hook/table_set.hpp>
#include <runnel/match/condition_node.hpp>
#include <runnel/match/field_table.hpp>
#include <runnel/match/print.hpp>
#include <runnel/match/print_value.hpp>
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

// Some operand with values of a type: how they are written.
[[nodiscard]] constexpr match::operand_description operand_of_type(std::uint8_t type) noexcept {
  switch (type) {
    case 0: return match::detail::describe(ip::saddr);
    case 1: return match::detail::describe(ip6::saddr);
    case 2: return match::detail::describe(ether::saddr);
    case 3: return match::detail::describe(tcp::dport);
    case 4: return match::detail::describe(ip::protocol);
    default: return match::detail::describe(meta::mark);
  }
}

class table_printer {
 public:
  table_printer(text_writer& out, const rule_table& t) noexcept : out_(out), t_(t) {}

  void all() noexcept {
    for (std::size_t i = 0; i < t_.table_count_; ++i) {
      out_ << "table " << name(t_.tables_[i].family) << ' ' << t_.tables_[i].name << " {\n";
      bool first = true;
      for (std::size_t s = 0; s < t_.size_.sets; ++s) {
        if (t_.sets_[s].table != i) continue;
        if (!first) out_ << '\n';
        first = false;
        set(t_.sets_[s]);
      }
      for (std::size_t c = 0; c < t_.size_.chains; ++c) {
        if (t_.chains_[c].table != i) continue;
        if (!first) out_ << '\n';
        first = false;
        chain(t_.chains_[c]);
      }
      out_ << "}\n";
    }
  }

 private:
  void set(const table_set& s) noexcept {
    out_ << "\tset " << s.name << " {\n\t\ttype " << set_types[s.type].name << '\n';
    if (s.intervals) out_ << "\t\tflags interval\n";
    for (std::size_t i = 0; i < s.elements; ++i) {
      out_ << (i == 0 ? "\t\telements = { " : ", ");
      element(s, t_.ranges_[s.element + i]);
    }
    out_ << (s.elements != 0 ? " }\n\t}\n" : "\t}\n");
  }
  void value(std::uint8_t type, const ipv6_address& v) noexcept {
    const match::operand_description d = operand_of_type(type);
    if (d.value == match::value_kind::ipv6) print(out_, v);
    else match::detail::print_key(out_, d, v.low());
  }
  // A value, a prefix of addresses, or a range.
  void element(const table_set& s, const table_range& r) noexcept {
    value(s.type, r.first);
    if (r.first == r.last) return;
    const std::uint64_t high = r.first.high() ^ r.last.high(), low = r.first.low() ^ r.last.low();
    const bool block = (r.first.high() & high) == 0 && (r.first.low() & low) == 0 &&
                       (high == 0 ? (low & (low + 1)) == 0 : low == ~std::uint64_t{0} && (high & (high + 1)) == 0);
    const bool address =
        set_types[s.type].value == match::value_kind::ipv4 || set_types[s.type].value == match::value_kind::ipv6;
    if (block && address) {
      const auto ones = static_cast<unsigned>(__builtin_popcountll(high) + __builtin_popcountll(low));
      out_ << '/' << std::uint32_t{set_types[s.type].bits - ones};
    } else {
      out_ << '-';
      value(s.type, r.last);
    }
  }
  void chain(const table_chain& c) noexcept {
    out_ << "\tchain " << c.name << " {\n";
    if (c.base) {
      out_ << "\t\ttype filter hook " << name(c.point) << " priority ";
      if (const char* const said = name_of_priority(c.priority, c.point)) out_ << said;
      else out_ << c.priority;
      out_ << "; policy " << (c.policy == accept ? "accept" : "drop") << ";\n";
    }
    for (std::size_t i = c.rule; i < std::size_t{c.rule} + c.rules; ++i) rule(t_.rules_[i]);
    out_ << "\t}\n";
  }
  // A condition with "or" is several lines in nft. Only verdicts may be said twice.
  void rule(const table_rule& r) noexcept {
    const match::detail::printed_tree tree{t_.condition_of(r)};
    const std::size_t root = tree.condition.root(), lines = match::detail::lines_of(tree, root, true);
    const statement& only = t_.statements_[r.statement];
    const bool verdict =
        r.statements == 1 && (only.kind == statement_kind::accept || only.kind == statement_kind::drop);
    const bool split = lines >= 1 && lines <= 64 && (verdict || lines == 1);
    for (std::size_t i = 0; i < (split ? lines : 1); ++i) {
      out_ << "\t\t";
      match::detail::line l{out_};
      if (split) match::detail::print_line(l, tree, root, true, i);
      else match::detail::print_tree(l, tree, root);
      for (std::size_t s = 0; s < r.statements; ++s) action(l.next(), t_.statements_[r.statement + s], r);
      out_ << '\n';
    }
  }
  void action(text_writer& to, const statement& s, const table_rule& r) noexcept {
    switch (s.kind) {
      case statement_kind::accept: to << "accept"; return;
      case statement_kind::drop:
        to << "drop";
        if (s.reason != drop_reason::policy) to << " comment \"" << name(s.reason) << '"';
        return;
      case statement_kind::jump: to << "jump " << t_.chains_[s.index].name; return;
      case statement_kind::go_to: to << "goto " << t_.chains_[s.index].name; return;
      case statement_kind::back: to << "return"; return;
      case statement_kind::counter: to << "counter packets " << r.hits.packets << " bytes " << r.hits.bytes; return;
      case statement_kind::limit: {
        const table_limit& l = t_.limits_[s.index];
        to << "limit rate " << (l.over ? "over " : "") << l.rate << '/' << limit_units[l.unit].name << " burst "
           << l.burst << " packets";
        return;
      }
      case statement_kind::log:
        to << "log";
        if (t_.text_[s.value] != '\0') to << " prefix \"" << t_.text_ + s.value << '"';
        return;
      case statement_kind::notrack: to << "notrack"; return;
      case statement_kind::mark: (to << "meta mark set 0x").hex(s.value); return;
      case statement_kind::priority: (to << "meta priority set 0:").hex(s.value); return;
      case statement_kind::traced: to << "meta nftrace set " << s.value; return;
      case statement_kind::dscp: (to << "ip dscp set 0x").hex(s.value); return;
      case statement_kind::dscp6: (to << "ip6 dscp set 0x").hex(s.value); return;
      case statement_kind::ttl: to << "ip ttl set " << s.value; return;
      case statement_kind::hop_limit: to << "ip6 hoplimit set " << s.value; return;
      case statement_kind::segment_size: to << "tcp option maxseg size set " << s.value; return;
    }
  }

  text_writer& out_;
  const rule_table& t_;
};

}  // namespace detail

/// All tables, as `nft list ruleset` prints them, with their counters. A rule whose condition has "or" in it becomes
/// several lines when all it has is a verdict; another such rule is printed with `or`, which `load` reads and nft does
/// not. The sets of the program are not printed.
inline void print(text_writer& out, const rule_table& t) noexcept { detail::table_printer{out, t}.all(); }

}  // namespace runnel

#endif
