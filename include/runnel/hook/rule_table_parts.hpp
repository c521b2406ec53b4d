// SPDX-License-Identifier: MIT
// What a rule table is made of, in memory given beforehand: plain arrays that refer to each other by number.
#ifndef RUNNEL_HOOK_RULE_TABLE_PARTS_HPP
#define RUNNEL_HOOK_RULE_TABLE_PARTS_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // int32_t, uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t
#include <new>      // placement new

#include <runnel/base/byte_count.hpp>
#include <runnel/base/bytes.hpp>
#include <runnel/base/time.hpp>
#include <runnel/base/token_bucket.hpp>
#include <runnel/config.hpp>
#include <runnel/hook/hook_point.hpp>
#include <runnel/hook/nat_target.hpp>
#include <runnel/hook/table_counts.hpp>
#include <runnel/hook/table_set.hpp>
#include <runnel/hook/table_statement.hpp>
#include <runnel/match/condition_node.hpp>
#include <runnel/match/rules.hpp>
#include <runnel/packet/packet.hpp>
#include <runnel/packet/verdict.hpp>

namespace runnel {

/// How much a rule table has room for. Each number is below 65000, but those of elements and of what is counted, which
/// are below 2^31.
struct rule_table_config {
  std::uint32_t chains = 32;        ///< in all tables of the text together
  std::uint32_t rules = 256;        ///< in all chains
  std::uint32_t nodes = 1024;       ///< tests in all conditions, operands of maps; see `condition`
  std::uint32_t words = 1024;       ///< values that they compare with
  std::uint32_t statements = 768;   ///< what rules do: verdicts, counters, marks; a reject behind others may be two
  std::uint32_t limits = 32;        ///< `limit rate`, `ct count`, `add @set`: so many of each
  std::uint32_t translations = 32;  ///< `snat to` and the like, and what the elements of their maps lead to
  std::uint32_t text = 1024;        ///< characters of the prefixes of logs
  std::uint32_t sets = 16;          ///< sets and maps of the text, also those without a name
  std::uint32_t counted = 256;   ///< connections that `ct count` counts, once for each rule and element: 36 bytes each
  std::uint32_t elements = 256;  ///< of all of them, and those that packets may add: 144 bytes each
};

/// The families of tables. Those of one family leave the packets of the other alone; neither sees what is not IP.
enum class table_family : std::uint8_t {
  v4,    ///< nft's `ip`: IPv4
  v6,    ///< nft's `ip6`: IPv6
  inet,  ///< both
};

/// What a rule says with `log`.
struct log_line {
  const char* prefix;  ///< of the line; empty when there is none
  std::uint8_t
      level;       ///< as syslog(3) counts: 0 is emerg, 4 is warn and what is meant when no level is said, 7 is debug
  bool has_group;  ///< whether it names a group of listeners instead, as nflog(7) has them
  std::uint16_t group;  ///< which one
};

namespace detail {

inline constexpr const char* log_levels[] = {"emerg", "alert", "crit", "err", "warn", "notice", "info", "debug"};
inline constexpr std::uint16_t default_log_level = 4;

struct table_rule {
  std::uint32_t node = 0, word = 0, statement = 0;
  std::uint16_t nodes = 0, statements = 0;
  rule_counter hits{};
};
// A limit of a rule, or of each element that `add @set { ... }` adds.
struct table_limit {
  token_bucket bucket{1};
  std::uint64_t rate = 1;
  std::uint64_t burst = 5;
  std::uint8_t unit = 0;  // its place in limit_units
  bool over = false;
  bool bytes = false;  // not packets
  [[nodiscard]] std::uint64_t tokens_of(std::size_t length) const noexcept { return bytes ? length : 1; }
};
// `ct count over 20` of a rule, or of each element.
struct connection_limit {
  std::uint32_t most = 0;
  bool over = false;
  counted_list connections{};
};
// What `add @set { ... }` does beside adding.
struct table_update {
  std::int64_t timeout = 0;  // 0: that of the set
  std::uint16_t limit = no_limit;
  std::uint16_t count = no_limit;  // of connections
  bool counts = false;
  static constexpr std::uint16_t no_limit = 0xffff;
};
struct limit_unit {
  const char* name;
  std::int64_t seconds;
};
inline constexpr limit_unit limit_units[] = {
    {"second", 1}, {"minute", 60}, {"hour", 3600}, {"day", 86400}, {"week", 604800}};
struct byte_unit {
  const char* name;
  std::uint64_t bytes;
};
inline constexpr byte_unit byte_units[] = {{"mbytes", 1 << 20}, {"kbytes", 1 << 10}, {"bytes", 1}};
inline constexpr std::uint16_t no_chain = 0xffff;
struct table_chain {
  char name[name_room] = {};
  std::uint8_t table = 0;
  bool defined = false, base = false, translates = false;  // translates: type nat
  hook_point point{};
  verdict policy = accept;
  std::int32_t priority = 0;
  std::uint32_t rule = 0, rules = 0;
  std::uint16_t next = no_chain;  // of the same hook
  // For whoever checks the jumps: where the chain was named first, and how deep the jumps below it go.
  std::size_t named_at = 0;
  bool named = false;
  std::uint8_t looked_at = 0, height = 0;
  std::uint16_t from = 0;  // which base chains lead to it: bits of hooks of type nat, above them of type filter
  rule_counter policy_hits{};
};
struct named_table {
  char name[name_room] = {};
  table_family family{};
};

inline constexpr std::size_t max_tables = 8, max_jumps = 16, table_alignment = 16;

struct rule_table_parts {
  // Bytes of `n` of them, up to where the next ones may begin.
  template <class T>
  static constexpr byte_count part(std::uint64_t n) noexcept {
    return byte_count::of<T>(n).aligned(table_alignment);
  }
  // A set of n elements takes at most 6 n slots, at least 2, and one more.
  static constexpr std::uint64_t slots_of(const rule_table_config& c) noexcept {
    return 6 * (std::uint64_t{c.elements} + c.sets);
  }
  static constexpr std::size_t bytes_needed(const rule_table_config& c) noexcept {
    const byte_count all =
        part<table_chain>(c.chains) + part<table_rule>(c.rules) + part<match::condition_node>(c.nodes) +
        part<std::uint64_t>(c.words) + part<statement>(c.statements) + part<table_limit>(c.limits) +
        part<table_update>(c.limits) + part<connection_limit>(c.limits) + part<counted_connection>(c.counted) +
        part<std::uint32_t>(c.counted) + part<nat_target>(c.translations) + part<char>(c.text) +
        part<table_set>(c.sets) + part<match::set_reference>(c.sets) + part<table_element>(c.elements) +
        part<element_state>(c.elements) + part<statement>(c.elements) + part<table_slot>(slots_of(c));
    return all.value();
  }

  rule_table_parts(mutable_bytes memory, const rule_table_config& c, std::uint64_t with_seed) noexcept
      : room(c), seed(with_seed) {
    RUNNEL_ASSERT(memory.size() >= bytes_needed(c));
    RUNNEL_ASSERT(reinterpret_cast<std::uintptr_t>(memory.data()) % table_alignment == 0);
    RUNNEL_ASSERT(c.chains < 65000 && c.rules < 65000 && c.nodes < 65000 && c.words < 65000 && c.statements < 65000 &&
                  c.limits < 65000 && c.translations < 65000 && c.text < 65000 && c.sets < 65000);
    std::byte* at = memory.data();
    chains = take<table_chain>(at, c.chains);
    rules = take<table_rule>(at, c.rules);
    nodes = take<match::condition_node>(at, c.nodes);
    words = take<std::uint64_t>(at, c.words);
    statements = take<statement>(at, c.statements);
    limits = take<table_limit>(at, c.limits);
    updates = take<table_update>(at, c.limits);
    connection_limits = take<connection_limit>(at, c.limits);
    counted_connection* const counted = take<counted_connection>(at, c.counted);
    counts.begin(counted, take<std::uint32_t>(at, c.counted), c.counted);
    translations = take<nat_target>(at, c.translations);
    text = take<char>(at, c.text);
    sets = take<table_set>(at, c.sets);
    references = take<match::set_reference>(at, c.sets);
    elements = take<table_element>(at, c.elements);
    states = take<element_state>(at, c.elements);
    leads = take<statement>(at, c.elements);
    slots = take<table_slot>(at, static_cast<std::size_t>(slots_of(c)));
    clear();
  }

  void clear() noexcept {
    size = {};
    size.chains = size.rules = size.nodes = size.words = size.statements = size.limits = size.translations = size.text =
        size.sets = size.elements = 0;
    update_count = 0;
    connection_limit_count = 0;
    counts.clear();
    slot_count = 0;
    table_count = 0;
    for (std::uint16_t& f : first) f = no_chain;
    for (std::uint16_t& f : first_nat) f = no_chain;
    clock = {};
    begun = false;
  }
  // A packet has come: the first one begins the time.
  void see(instant now, std::uint64_t length) noexcept {
    if (!begun) {
      begun = true;
      begin = now;
    }
    clock = {(now - begin).ns, length};
  }
  [[nodiscard]] match::condition_view condition_of(const table_rule& r) const noexcept {
    return {nodes + r.node, r.nodes, words + r.word};
  }
  // The node of an operand that stands in a statement: its words are counted from the first one.
  [[nodiscard]] match::condition_view operand_of(const statement& s) const noexcept {
    return {nodes + s.value, 1, words};
  }
  [[nodiscard]] table_set& set_of(const statement& s) const noexcept {
    return *(sets + (static_cast<const table_set*>(nodes[s.value].set.set) - sets));
  }

  rule_table_config room;
  rule_table_config size{};  // how much of the room is taken
  std::uint64_t seed;
  table_chain* chains = nullptr;
  table_rule* rules = nullptr;
  match::condition_node* nodes = nullptr;
  std::uint64_t* words = nullptr;
  statement* statements = nullptr;
  table_limit* limits = nullptr;
  table_update* updates = nullptr;
  std::uint32_t update_count = 0;
  connection_limit* connection_limits = nullptr;
  std::uint32_t connection_limit_count = 0;
  table_counts counts{};
  nat_target* translations = nullptr;
  nat_target chosen{};  // by a map, for the packet that is looked at
  char* text = nullptr;
  table_set* sets = nullptr;
  match::set_reference* references = nullptr;  // the sets of the table that is being loaded
  table_element* elements = nullptr;
  element_state* states = nullptr;
  statement* leads = nullptr;
  table_slot* slots = nullptr;
  std::size_t slot_count = 0;
  named_table tables[max_tables]{};
  std::size_t table_count = 0;
  std::uint16_t first[5]{};      // of each hook
  std::uint16_t first_nat[5]{};  // the same of type nat
  table_clock clock{};
  instant begin{};
  bool begun = false;
  void (*write)(void* context, const log_line& line, const packet& p) = nullptr;
  void* write_context = nullptr;
  token_bucket lines{10, 20};

 private:
  template <class T>
  static T* take(std::byte*& at, std::size_t n) noexcept {
    T* const first_one = static_cast<T*>(static_cast<void*>(at));
    for (std::size_t i = 0; i < n; ++i) ::new (static_cast<void*>(at + i * sizeof(T))) T{};
    at += part<T>(n).value();
    return first_one;
  }
};

}  // namespace detail
}  // namespace runnel

#endif
