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
#include <cstdint>  // int32_t, uint8_t, uint16_t, uint32_t, uint64_t
#include <new>      // placement new

#include <runnel/base/bytes.hpp>
#include <runnel/base/token_bucket.hpp>
#include <runnel/config.hpp>
#include <runnel/flow/stage.hpp>
#include <runnel/hook/chain.hpp>
#include <runnel/hook/hook_point.hpp>
#include <runnel/hook/table_set.hpp>
#include <runnel/hook/targets.hpp>
#include <runnel/match/condition_node.hpp>
#include <runnel/match/condition_test.hpp>
#include <runnel/match/rules.hpp>
#include <runnel/packet/connection_state.hpp>
#include <runnel/packet/packet.hpp>
#include <runnel/packet/verdict.hpp>

namespace runnel {

/// How much a rule table has room for. Each number is below 65000, that of elements aside.
struct rule_table_config {
  std::uint32_t chains = 32;       ///< in all tables of the text together
  std::uint32_t rules = 256;       ///< in all chains
  std::uint32_t nodes = 1024;      ///< tests in all conditions; see `condition`
  std::uint32_t words = 1024;      ///< values that they compare with
  std::uint32_t statements = 768;  ///< what rules do: verdicts, counters, marks
  std::uint32_t limits = 32;       ///< `limit rate`
  std::uint32_t text = 1024;       ///< characters of the prefixes of logs
  std::uint32_t sets = 16;         ///< sets of the text
  std::uint32_t elements = 256;    ///< values, ranges and prefixes in all of them
};

/// The families of tables. Those of one family leave the packets of the other alone; neither sees what is not IP.
enum class table_family : std::uint8_t {
  v4,    ///< nft's `ip`: IPv4
  v6,    ///< nft's `ip6`: IPv6
  inet,  ///< both
};

namespace detail {

enum class statement_kind : std::uint8_t {
  accept,
  drop,
  jump,
  go_to,
  back,
  counter,
  limit,
  log,
  notrack,
  mark,
  priority,
  traced,
  dscp,
  dscp6,
  ttl,
  hop_limit,
  segment_size,
};
struct statement {
  statement_kind kind = statement_kind::accept;
  drop_reason reason = drop_reason::policy;  // of a drop
  std::uint16_t index = 0;                   // of a chain, of a limit
  std::uint32_t value = 0;                   // what is set; where the prefix of a log begins
};
struct table_rule {
  std::uint32_t node = 0, word = 0, statement = 0;
  std::uint16_t nodes = 0, statements = 0;
  rule_counter hits{};
};
struct table_limit {
  token_bucket bucket{1};
  std::uint64_t rate = 1;
  std::uint32_t burst = 5;
  std::uint8_t unit = 0;  // its place in limit_units
  bool over = false;
};
struct limit_unit {
  const char* name;
  std::int64_t seconds;
};
inline constexpr limit_unit limit_units[] = {
    {"second", 1}, {"minute", 60}, {"hour", 3600}, {"day", 86400}, {"week", 604800}};
inline constexpr std::uint16_t no_chain = 0xffff;
struct table_chain {
  char name[name_room] = {};
  std::uint8_t table = 0;
  bool defined = false, base = false;
  hook_point point{};
  verdict policy = accept;
  std::int32_t priority = 0;
  std::uint32_t rule = 0, rules = 0;
  std::uint16_t next = no_chain;  // of the same hook
  // For whoever checks the jumps: where the chain was named first, and how deep the jumps below it go.
  std::size_t named_at = 0;
  bool named = false;
  std::uint8_t looked_at = 0, height = 0;
  rule_counter policy_hits{};
};
struct named_table {
  char name[name_room] = {};
  table_family family{};
};

// Bytes of `n` of them, up to where the next ones may begin.
inline constexpr std::size_t table_alignment = 16;
template <class T>
constexpr std::size_t table_part(std::size_t n) noexcept {
  return (sizeof(T) * n + table_alignment - 1) / table_alignment * table_alignment;
}

class table_loader;
class table_set_loader;
class table_printer;

}  // namespace detail

/// What a packet meets at each hook point: tables, chains and rules that `load` has read, in memory given beforehand.
/// For one thread.
class rule_table {
 public:
  /// How many tables a text may have.
  static constexpr std::size_t max_tables = 8;
  /// How deep jumps may go, as in the kernel.
  static constexpr std::size_t max_jumps = 16;
  /// What its memory is aligned to.
  static constexpr std::size_t alignment = detail::table_alignment;
  /// How many bytes a table takes.
  [[nodiscard]] static constexpr std::size_t bytes_needed(const rule_table_config& c) noexcept {
    return detail::table_part<detail::table_chain>(c.chains) + detail::table_part<detail::table_rule>(c.rules) +
           detail::table_part<match::condition_node>(c.nodes) + detail::table_part<std::uint64_t>(c.words) +
           detail::table_part<detail::statement>(c.statements) + detail::table_part<detail::table_limit>(c.limits) +
           detail::table_part<char>(c.text) + detail::table_part<detail::table_set>(c.sets) +
           detail::table_part<match::set_reference>(c.sets) + detail::table_part<detail::table_range>(c.elements);
  }
  /// An empty table, which accepts everything, in `bytes_needed(c)` bytes that must outlive it (RUNNEL_ASSERT).
  rule_table(mutable_bytes memory, const rule_table_config& c) noexcept : room_(c) {
    RUNNEL_ASSERT(memory.size() >= bytes_needed(c));
    RUNNEL_ASSERT(reinterpret_cast<std::uintptr_t>(memory.data()) % alignment == 0);
    RUNNEL_ASSERT(c.chains < 65000 && c.rules < 65000 && c.nodes < 65000 && c.words < 65000 && c.statements < 65000 &&
                  c.limits < 65000 && c.text < 65000 && c.sets < 65000);
    std::byte* at = memory.data();
    chains_ = take<detail::table_chain>(at, c.chains);
    rules_ = take<detail::table_rule>(at, c.rules);
    nodes_ = take<match::condition_node>(at, c.nodes);
    words_ = take<std::uint64_t>(at, c.words);
    statements_ = take<detail::statement>(at, c.statements);
    limits_ = take<detail::table_limit>(at, c.limits);
    text_ = take<char>(at, c.text);
    sets_ = take<detail::table_set>(at, c.sets);
    references_ = take<match::set_reference>(at, c.sets);
    ranges_ = take<detail::table_range>(at, c.elements);
    clear();
  }
  rule_table(const rule_table&) = delete;
  rule_table& operator=(const rule_table&) = delete;

  /// Removes everything: then everything is accepted.
  void clear() noexcept {
    size_ = {};
    size_.chains = size_.rules = size_.nodes = size_.words = size_.statements = size_.limits = size_.text = size_.sets =
        size_.elements = 0;
    table_count_ = 0;
    for (std::uint16_t& f : first_) f = detail::no_chain;
  }
  /// How many rules there are in all chains.
  [[nodiscard]] std::size_t size() const noexcept { return size_.rules; }
  /// Calls `function(context, prefix, packet)` for packets that come to a `log`: at most 10 in a second, 20 at once.
  void log_to(void (*function)(void* context, const char* prefix, const packet& p), void* context) noexcept {
    write_ = function;
    write_context_ = context;
  }

  /// Sends a parsed packet through the base chains of a hook. `found` as for stages.
  verdict run(hook_point point, packet& p, context& c, const layers* found = nullptr) noexcept {
    std::uint16_t n = first_[static_cast<std::size_t>(point)];
    if (n == detail::no_chain) return accept;
    detail::rule_run r{p, c, found};
    for (; n != detail::no_chain; n = chains_[n].next) {
      const table_family f = tables_[chains_[n].table].family;
      const bool v4 = r.s.headers.has<ipv4>(), v6 = r.s.headers.has<ipv6>();
      if (!(v4 && f != table_family::v6) && !(v6 && f != table_family::v4)) continue;
      const verdict v = run_chain(chains_[n], r);
      if (v.code != verdict_code::pass) return v;
    }
    return accept;
  }

 private:
  friend class detail::table_loader;
  friend class detail::table_set_loader;
  friend class detail::table_printer;

  template <class T>
  static T* take(std::byte*& at, std::size_t n) noexcept {
    T* const first = static_cast<T*>(static_cast<void*>(at));
    for (std::size_t i = 0; i < n; ++i) ::new (static_cast<void*>(at + i * sizeof(T))) T{};
    at += detail::table_part<T>(n);
    return first;
  }
  [[nodiscard]] match::condition_view condition_of(const detail::table_rule& r) const noexcept {
    return {nodes_ + r.node, r.nodes, words_ + r.word};
  }

  verdict run_chain(detail::table_chain& base, detail::rule_run& r) noexcept {
    struct position {
      const detail::table_rule *at, *end;
    } stack[max_jumps];
    std::size_t depth = 0;
    detail::table_rule* at = rules_ + base.rule;
    const detail::table_rule* end = at + base.rules;
    for (;;) {
      if (at == end) {
        if (depth == 0) break;
        --depth;
        at = rules_ + (stack[depth].at - rules_);
        end = stack[depth].end;
        continue;
      }
      detail::table_rule& rule = *at++;
      if (!match::detail::holds(condition_of(rule), r.s)) continue;
      const detail::statement* s = statements_ + rule.statement;
      for (const detail::statement* const last = s + rule.statements; s != last; ++s) {
        const detail::target_end e = act(*s, rule, r);
        if (e == detail::target_end::next) continue;
        if (e == detail::target_end::verdict) {
          if (s->kind != detail::statement_kind::jump && s->kind != detail::statement_kind::go_to) return r.decided;
          if (s->kind == detail::statement_kind::jump) stack[depth++] = {at, end};
          at = rules_ + chains_[s->index].rule;
          end = at + chains_[s->index].rules;
        } else if (e == detail::target_end::back) {
          end = at;
        }
        break;
      }
    }
    ++base.policy_hits.packets;
    base.policy_hits.bytes += r.p.total_length();
    return base.policy;
  }
  // A jump ends the statements as a verdict does.
  detail::target_end act(const detail::statement& s, detail::table_rule& rule, detail::rule_run& r) noexcept {
    using kind = detail::statement_kind;
    using detail::target_end;
    switch (s.kind) {
      case kind::accept: r.decided = runnel::accept; return target_end::verdict;
      case kind::drop: r.decided = runnel::drop(s.reason); return target_end::verdict;
      case kind::jump:
      case kind::go_to: return target_end::verdict;
      case kind::back: return target_end::back;
      case kind::counter:
        ++rule.hits.packets;
        rule.hits.bytes += r.s.length;
        return target_end::next;
      case kind::limit: {
        detail::table_limit& l = limits_[s.index];
        return l.bucket.take(r.c.now) != l.over ? target_end::next : target_end::next_rule;
      }
      case kind::log:
        if (write_ != nullptr && lines_.take(r.c.now)) write_(write_context_, text_ + s.value, r.p);
        return target_end::next;
      case kind::notrack:
        if (r.p.connection() == 0) r.p.connection(connection_word::of(untracked).value);
        break;
      case kind::mark: r.p.mark(s.value); break;
      case kind::priority: r.p.priority(static_cast<std::uint8_t>(s.value)); break;
      case kind::traced: r.p.traced(s.value != 0); break;
      default: return write(s, r);
    }
    r.s = r.look();
    return target_end::next;
  }
  // A packet without the header has not matched.
  static detail::target_end write(const detail::statement& s, detail::rule_run& r) noexcept {
    using kind = detail::statement_kind;
    const bool four = s.kind == kind::dscp || s.kind == kind::ttl, any = s.kind == kind::segment_size;
    if (any ? !r.s.headers.has<tcp>() : four ? !r.s.headers.has<ipv4>() : !r.s.headers.has<ipv6>())
      return detail::target_end::next_rule;
    const mutable_header_map m = detail::packet_source{r.p, r.c, r.found}.writable_map();
    if (any) detail::write_maximum_segment_size(m, static_cast<std::uint16_t>(s.value));
    else if (s.kind == kind::dscp || s.kind == kind::dscp6) detail::write_dscp(m, static_cast<std::uint8_t>(s.value));
    else detail::write_hop_limit(m, static_cast<std::uint8_t>(s.value));
    return detail::target_end::next;
  }

  rule_table_config room_;
  rule_table_config size_{};  // how much of the room is taken
  detail::table_chain* chains_ = nullptr;
  detail::table_rule* rules_ = nullptr;
  match::condition_node* nodes_ = nullptr;
  std::uint64_t* words_ = nullptr;
  detail::statement* statements_ = nullptr;
  detail::table_limit* limits_ = nullptr;
  char* text_ = nullptr;
  detail::table_set* sets_ = nullptr;
  match::set_reference* references_ = nullptr;  // the sets of the table that is being loaded
  detail::table_range* ranges_ = nullptr;
  detail::named_table tables_[max_tables]{};
  std::size_t table_count_ = 0;
  std::uint16_t first_[5]{};  // of each hook
  void (*write_)(void* context, const char* prefix, const packet& p) = nullptr;
  void* write_context_ = nullptr;
  token_bucket lines_{10, 20};
};

/// A rule table in memory of its own, of a size known at compile time.
template <rule_table_config Config = rule_table_config{}>
class static_rule_table {
 public:
  static_rule_table() noexcept : table_({memory_, sizeof memory_}, Config) {}
  /// The table. @{
  [[nodiscard]] rule_table& get() noexcept { return table_; }
  operator rule_table&() noexcept { return table_; }
  [[nodiscard]] rule_table* operator->() noexcept { return &table_; }
  /// @}

 private:
  alignas(rule_table::alignment) std::byte memory_[rule_table::bytes_needed(Config)];
  rule_table table_;
};

/// Which table the stages of one thread ask. Another thread may offer it a new one at any time.
class rule_table_slot {
 public:
  /// Begins with a table, which must outlive the slot or be replaced and `taken()` before it ends.
  explicit rule_table_slot(rule_table& t) noexcept : offered_(&t), used_(&t) {}
  rule_table_slot(const rule_table_slot&) = delete;
  rule_table_slot& operator=(const rule_table_slot&) = delete;

  /// From its next packet on the pipeline uses `t`, which must not be changed any more. The table before it is free
  /// as soon as `taken()`; until then offer no other one (RUNNEL_ASSERT).
  void offer(rule_table& t) noexcept {
    RUNNEL_ASSERT(taken());
    __atomic_store_n(&offered_, &t, __ATOMIC_RELEASE);
  }
  /// Whether the pipeline uses what was offered last.
  [[nodiscard]] bool taken() const noexcept {
    return __atomic_load_n(&used_, __ATOMIC_ACQUIRE) == __atomic_load_n(&offered_, __ATOMIC_RELAXED);
  }
  /// The table to ask. For the thread of the pipeline; also what a loop calls that has no packets, so that a table is
  /// taken all the same.
  rule_table& current() noexcept {
    rule_table* const t = __atomic_load_n(&offered_, __ATOMIC_ACQUIRE);
    if (t != used_) __atomic_store_n(&used_, t, __ATOMIC_RELEASE);
    return *t;
  }

 private:
  rule_table* offered_;
  rule_table* used_;
};

namespace detail {

template <hook_point Point>
struct rule_table_stage : stage_defaults {
  static constexpr stage_kind kind = stage_kind::each;
  static constexpr bool needs_parsed = true;
  static constexpr bool writes = true;
  static constexpr bool resizes = false;
  rule_table_slot* slot;
  constexpr explicit rule_table_stage(rule_table_slot& s) noexcept : slot(&s) {}
  verdict operator()(packet& p, context& c, const layers* found = nullptr) noexcept {
    return slot->current().run(Point, p, c, found);
  }
  constexpr void print_name(text_writer& out) const noexcept { out << "hook " << runnel::name(Point) << " rule_table"; }
};

}  // namespace detail

/// The base chains that a rule table has at a hook point, as a stage. Refers to the slot, which must outlive the
/// pipeline; the stages of one thread share one.
template <hook_point Point>
[[nodiscard]] constexpr detail::rule_table_stage<Point> hook(rule_table_slot& slot) noexcept {
  return detail::rule_table_stage<Point>{slot};
}

}  // namespace runnel

#endif
