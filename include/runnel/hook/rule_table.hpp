// SPDX-License-Identifier: MIT
// Chains that are known at run time only: what `nft -f` loads, as a stage of a pipeline.
//
//     static static_rule_table<rule_table_config{}> first, second;
//     load(first.get(), text, sets);                                     // result<std::size_t, error>
//     rule_table_slot live{first};
//     parse() | hook<prerouting>(live) | ... | hook<hook_point::forward>(live) | ...
//
// To change the rules, load another table and offer it to the slot: the thread of the pipeline takes it at its next
// packet, whole. Each thread has a slot and tables of its own, since rules count.
//
// A packet walks its chains with a stack of its own of 16 places. Loading refuses jumps that are deeper or go in a
// circle, so nothing has to be checked when packets come (NFT_JUMP_STACK_SIZE, nft_chain_validate()).
#ifndef RUNNEL_HOOK_RULE_TABLE_HPP
#define RUNNEL_HOOK_RULE_TABLE_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint16_t, uint64_t

#include <runnel/base/bytes.hpp>
#include <runnel/config.hpp>
#include <runnel/flow/context.hpp>
#include <runnel/hook/chain.hpp>
#include <runnel/hook/hook_point.hpp>
#include <runnel/hook/nat_target.hpp>
#include <runnel/hook/rule_table_parts.hpp>
#include <runnel/hook/table_act.hpp>
#include <runnel/hook/table_statement.hpp>
#include <runnel/hook/targets.hpp>
#include <runnel/match/condition_test.hpp>
#include <runnel/packet/packet.hpp>
#include <runnel/packet/verdict.hpp>
#include <runnel/wire/ipv4.hpp>
#include <runnel/wire/ipv6.hpp>

namespace runnel {

namespace detail {
// How the parts of the library get at what a rule table consists of.
struct table_access;
}  // namespace detail

/// What a packet meets at each hook point: tables, chains and rules that `load` has read, in memory given beforehand.
/// For one thread. Where rules count connections (`ct count`), the tables of these must outlive it, or it is cleared
/// before they end.
class rule_table {
 public:
  /// How many tables a text may have.
  static constexpr std::size_t max_tables = detail::max_tables;
  /// How deep jumps may go, as in the kernel.
  static constexpr std::size_t max_jumps = detail::max_jumps;
  /// What its memory is aligned to.
  static constexpr std::size_t alignment = detail::table_alignment;
  /// How many bytes a table takes.
  [[nodiscard]] static constexpr std::size_t bytes_needed(const rule_table_config& c) noexcept {
    return detail::rule_table_parts::bytes_needed(c);
  }
  /// An empty table, which accepts everything, in `bytes_needed(c)` bytes that must outlive it (RUNNEL_ASSERT). Where
  /// packets add to sets, take the seed from a random source, so that nobody can choose addresses that meet in one
  /// place.
  rule_table(mutable_bytes memory, const rule_table_config& c, std::uint64_t seed = 0) noexcept
      : parts_(memory, c, seed) {}
  rule_table(const rule_table&) = delete;
  rule_table& operator=(const rule_table&) = delete;

  /// Removes everything: then everything is accepted.
  void clear() noexcept { parts_.clear(); }
  /// How many rules there are in all chains.
  [[nodiscard]] std::size_t size() const noexcept { return parts_.size.rules; }
  /// Calls `function(context, line, packet)` for packets that come to a `log`: at most 10 in a second, 20 at once. The
  /// line is valid for the call; where its prefix points, as long as the table has these rules.
  void log_to(void (*function)(void* context, const log_line& line, const packet& p), void* context) noexcept {
    parts_.write = function;
    parts_.write_context = context;
  }

  /// Sends a parsed packet through the base chains of a hook that are of type filter. `found` as for stages. Where the
  /// table has elements that end after a time, that is counted from the first packet on. What is rejected, and what
  /// goes to a local handler, is a drop for whoever does not give the hook its ways.
  template <class = void>
  verdict run(hook_point point, packet& p, context& c, const layers* found = nullptr,
              hook_part part = hook_part::all) noexcept {
    const std::uint16_t n = parts_.first[static_cast<std::size_t>(point)];
    if (n == detail::no_chain) return accept;
    detail::rule_run r{p, c, found};
    const verdict v = run_chains(n, r, part);
    if (r.port == 0 || v.code != verdict_code::pass) return v;
    p.scratch(r.port);
    return detail::diverted_by_rule;
  }
  /// The same for those of type nat, which are for packets that begin a connection: `to` is what a rule says about it,
  /// or null. It is valid up to the next packet. `nat<prerouting>(translations, live)` asks that.
  template <class = void>
  verdict translation(hook_point point, packet& p, context& c, const layers* found, const nat_target*& to) noexcept {
    to = nullptr;
    const std::uint16_t n = parts_.first_nat[static_cast<std::size_t>(point)];
    if (n == detail::no_chain) return accept;
    detail::rule_run r{p, c, found};
    const verdict v = run_chains(n, r, hook_part::all);
    to = r.translation;
    return v;
  }

 private:
  friend struct detail::table_access;

  template <class = void>
  verdict run_chains(std::uint16_t n, detail::rule_run& r, hook_part part) noexcept {
    parts_.see(r.c.now, r.s.length);
    for (; n != detail::no_chain; n = parts_.chains[n].next) {
      const bool before = parts_.chains[n].priority < hook_priority::conntrack;
      if (part == (before ? hook_part::behind_tracking : hook_part::before_tracking)) continue;
      const table_family f = parts_.tables[parts_.chains[n].table].family;
      const bool v4 = r.s.headers.has<ipv4>(), v6 = r.s.headers.has<ipv6>();
      if (!(v4 && f != table_family::v6) && !(v6 && f != table_family::v4)) continue;
      const verdict v = run_chain(parts_.chains[n], r);
      if (v.code != verdict_code::pass || r.translation != nullptr) return v;
    }
    return accept;
  }
  template <class Later = void>
  verdict run_chain(detail::table_chain& base, detail::rule_run& r) noexcept {
    using detail::target_end;
    struct position {
      detail::table_rule* at;
      const detail::table_rule* end;
    } stack[max_jumps];
    std::size_t depth = 0;
    detail::table_rule* at = parts_.rules + base.rule;
    const detail::table_rule* end = at + base.rules;
    for (;;) {
      if (at == end) {
        if (depth == 0) break;
        --depth;
        at = stack[depth].at;
        end = stack[depth].end;
        continue;
      }
      detail::table_rule& rule = *at++;
      if (!match::detail::holds<Later>(parts_.condition_of(rule), r.s)) continue;
      const detail::statement* s = parts_.statements + rule.statement;
      for (const detail::statement* const last = s + rule.statements; s != last; ++s) {
        const detail::statement* const now =
            s->kind == detail::statement_kind::look_up ? detail::look_up(parts_, *s, r) : s;
        if (now == nullptr) break;  // the map says nothing
        const target_end e = detail::act(parts_, *now, rule, r);
        if (e == target_end::next) continue;
        if (e == target_end::back) end = at;
        if (e != target_end::verdict) break;
        if (!detail::is_jump(*now)) return r.decided;
        if (now->kind == detail::statement_kind::jump) stack[depth++] = {at, end};
        at = parts_.rules + parts_.chains[now->index].rule;
        end = at + parts_.chains[now->index].rules;
        break;
      }
    }
    ++base.policy_hits.packets;
    base.policy_hits.bytes += r.p.total_length();
    return base.policy;
  }

  detail::rule_table_parts parts_;
};

namespace detail {
struct table_access {
  static rule_table_parts& parts(rule_table& t) noexcept { return t.parts_; }
  static const rule_table_parts& parts(const rule_table& t) noexcept { return t.parts_; }
};
}  // namespace detail

/// A rule table in memory of its own, of a size known at compile time.
template <rule_table_config Config = rule_table_config{}>
class static_rule_table {
 public:
  /// An empty table. `seed` as for `rule_table`.
  explicit static_rule_table(std::uint64_t seed = 0) noexcept : table_({memory_, sizeof memory_}, Config, seed) {}
  /// The table. @{
  [[nodiscard]] constexpr rule_table& get() noexcept { return table_; }
  constexpr operator rule_table&() & noexcept { return table_; }
  [[nodiscard]] constexpr rule_table* operator->() noexcept { return &table_; }
  /// @}

 private:
  alignas(rule_table::alignment) std::byte memory_[rule_table::bytes_needed(Config)];
  rule_table table_;
};

}  // namespace runnel

#endif
