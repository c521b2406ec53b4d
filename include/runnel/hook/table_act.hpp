// SPDX-License-Identifier: MIT
// What happens to a packet at each statement of a rule table.
#ifndef RUNNEL_HOOK_TABLE_ACT_HPP
#define RUNNEL_HOOK_TABLE_ACT_HPP

#include <cstddef>  // byte
#include <cstdint>  // uint8_t, uint16_t, uint32_t, uint64_t

#include <runnel/base/time.hpp>
#include <runnel/hook/chain.hpp>
#include <runnel/hook/nat_target.hpp>
#include <runnel/hook/rule_table_parts.hpp>
#include <runnel/hook/table_counts.hpp>
#include <runnel/hook/table_set.hpp>
#include <runnel/hook/table_statement.hpp>
#include <runnel/hook/refusals.hpp>
#include <runnel/hook/targets.hpp>
#include <runnel/match/condition_node.hpp>
#include <runnel/match/condition_test.hpp>
#include <runnel/match/value.hpp>
#include <runnel/packet/connection_state.hpp>
#include <runnel/packet/drop_reason.hpp>
#include <runnel/packet/verdict.hpp>
#include <runnel/wire/address.hpp>
#include <runnel/wire/header_map.hpp>
#include <runnel/wire/keep_partial.hpp>

namespace runnel::detail {

// Templates, so that they are compiled for those only whose packets meet a rule table.

// The value of the operand that a statement asks a set with. False when the packet has none.
template <class Key>
[[nodiscard]] bool load_operand(const match::condition_view& c, const subject& s, Key& to) noexcept {
  const match::condition_node& n = c.nodes[0];
  if (!match::detail::load_key(s, n.operand, to)) return false;
  if (n.operand.is_masked) to = match::key_and(to, c.mask<Key>(n));
  return true;
}
template <class = void>
[[nodiscard]] bool load_wide_operand(const match::condition_view& c, const subject& s, ipv6_address& to) noexcept {
  if (c.nodes[0].operand.value == match::value_kind::ipv6) return load_operand(c, s, to);
  std::uint64_t k = 0;
  if (!load_operand(c, s, k)) return false;
  to = {0, k};
  return true;
}

// What the map of a statement says about a packet; null when it says nothing.
template <class = void>
[[nodiscard]] const statement* look_up(const rule_table_parts& t, const statement& s, rule_run& r) noexcept {
  const match::condition_view c = t.operand_of(s);
  const table_set& map = t.set_of(s);
  std::uint32_t at = table_set::none;
  if (c.nodes[0].operand.value == match::value_kind::ipv6) {
    ipv6_address k;
    if (load_operand(c, r.s, k)) at = map.hit(k);
  } else {
    std::uint64_t k = 0;
    if (load_operand(c, r.s, k)) at = map.hit(k);
  }
  return at == table_set::none ? nullptr : map.then + at;
}

// A packet without the header has not matched.
inline target_end write_field(const statement& s, rule_run& r) noexcept {
  using kind = statement_kind;
  const bool four = s.kind == kind::dscp || s.kind == kind::ttl, any = s.kind == kind::segment_size;
  if (any ? !r.s.headers.has<tcp>() : four ? !r.s.headers.has<ipv4>() : !r.s.headers.has<ipv6>())
    return target_end::next_rule;
  const partial_keeper<packet> kept{r.p};
  const mutable_header_map m = packet_source{r.p, r.c, r.found}.writable_map();
  if (any) write_maximum_segment_size(m, static_cast<std::uint16_t>(s.value));
  else if (s.kind == kind::dscp || s.kind == kind::dscp6) write_dscp(m, static_cast<std::uint8_t>(s.value));
  else write_hop_limit(m, static_cast<std::uint8_t>(s.value));
  return target_end::next;
}

// What is known of the packet's connection, to be changed; null when there is nothing.
[[nodiscard]] inline connection_facts* facts_of(const rule_run& r) noexcept {
  if (r.s.facts() == nullptr) return nullptr;
  const std::size_t number = connection_word{r.s.connection}.number();
  return static_cast<connection_facts*>(
      static_cast<void*>(static_cast<std::byte*>(r.c.connections) + number * connection_stride));
}

// When a packet came, as connections are counted: never 0, which is before all of them.
[[nodiscard]] inline std::uint32_t count_time(const rule_run& r) noexcept {
  return static_cast<std::uint32_t>(r.c.now.ns >> 20) | 1u;
}

// `ct count`. A packet without a connection has not matched. When no more can be counted the packet is dropped, as by
// the kernel.
inline target_end count_connection(rule_table_parts& t, const connection_limit& l, counted_list& list,
                                   rule_run& r) noexcept {
  using answer = table_counts::answer;
  connection_facts* const facts = facts_of(r);
  if (facts == nullptr) return target_end::next_rule;
  const answer a = t.counts.count(list, *facts, l.most, count_time(r));
  if (a != answer::full) return (a == answer::over) == l.over ? target_end::next : target_end::next_rule;
  r.decided = runnel::drop(drop_reason::connections_full);
  return target_end::verdict;
}

// `add @set { ... }` and the like. An element that cannot be added has not matched, nor has one whose limit says so.
template <class = void>
target_end change_set(rule_table_parts& t, const statement& s, rule_run& r) noexcept {
  ipv6_address k;
  if (!load_wide_operand(t.operand_of(s), r.s, k)) return target_end::next_rule;
  table_set& set = t.set_of(s);
  if (s.kind == statement_kind::delete_element) return set.erase(k), target_end::next;
  const table_update& u = t.updates[s.index];
  if (set.counts_connections) {
    if (r.s.facts() == nullptr) return target_end::next_rule;
    set.sweep([&](std::uint32_t one) {
      counted_list& list = set.state[one].connections;
      t.counts.refresh(list, count_time(r));
      return list.count == 0;
    });
  }
  bool is_new = false;
  const std::uint32_t at = set.find_or_add(k, is_new);
  if (at == table_set::none) return target_end::next_rule;
  element_state& e = set.state[at];
  const std::int64_t timeout = u.timeout != 0 ? u.timeout : set.timeout;
  if (is_new) {
    e.timeout = timeout;
    e.full_at = INT64_MIN;
  }
  if (is_new || s.kind == statement_kind::update_element)
    e.expires = timeout != 0 ? t.clock.now + timeout : element_state::forever;
  if (set.counted) set.count(at);
  if (u.count != table_update::no_limit) return count_connection(t, t.connection_limits[u.count], e.connections, r);
  if (u.limit == table_update::no_limit) return target_end::next;
  const table_limit& l = t.limits[u.limit];
  instant full{e.full_at};
  const bool took = l.bucket.take(instant{t.clock.now}, full, l.tokens_of(r.s.length));
  e.full_at = full.ns;
  return took != l.over ? target_end::next : target_end::next_rule;
}

// `snat to` and the like. What is for the other family has not matched, nor has what the map does not know.
template <class = void>
target_end translate(rule_table_parts& t, const statement& s, rule_run& r) noexcept {
  const nat_target* to = t.translations + s.index;
  if (s.kind == statement_kind::translate_by_map) {
    const statement* const found = look_up(t, s, r);
    if (found == nullptr) return target_end::next_rule;
    const std::uint8_t flags = to->flags;
    const nat_kind kind = to->kind;
    t.chosen = t.translations[found->index];
    t.chosen.kind = kind;
    t.chosen.flags = flags;
    to = &t.chosen;
  }
  if (!to->fits(r.s.headers.has<ipv6>())) return target_end::next_rule;
  r.translation = to;
  r.decided = runnel::accept;
  return target_end::verdict;
}

// One statement. A jump ends a rule as a verdict does.
template <class = void>
target_end act(rule_table_parts& t, const statement& s, table_rule& rule, rule_run& r) noexcept {
  using kind = statement_kind;
  switch (s.kind) {
    case kind::accept: r.decided = runnel::accept; return target_end::verdict;
    case kind::drop: r.decided = runnel::drop(s.reason); return target_end::verdict;
    case kind::jump:
    case kind::go_to: return target_end::verdict;
    case kind::back: return target_end::back;
    case kind::go_on:
    case kind::look_up: return target_end::next_rule;
    case kind::translate:
    case kind::translate_by_map: return translate(t, s, r);
    case kind::refuse: return refusals[s.value].how.run(r);
    case kind::fits_refusal: return refusals[s.value].how.fits(r.s) ? target_end::next : target_end::next_rule;
    case kind::divert:
      if (!r.s.headers.has<tcp>() && !r.s.headers.has<udp>()) return target_end::next_rule;
      r.port = static_cast<std::uint16_t>(s.value);
      return target_end::next;
    case kind::counter:
      ++rule.hits.packets;
      rule.hits.bytes += r.s.length;
      return target_end::next;
    case kind::limit: {
      table_limit& l = t.limits[s.index];
      return l.bucket.take(r.c.now, l.tokens_of(r.s.length)) != l.over ? target_end::next : target_end::next_rule;
    }
    case kind::count_connections: {
      connection_limit& l = t.connection_limits[s.index];
      return count_connection(t, l, l.connections, r);
    }
    case kind::log:
    case kind::log_to_group: {
      const bool group = s.kind == kind::log_to_group;
      const log_line line{t.text + s.value, static_cast<std::uint8_t>(group ? default_log_level : s.index), group,
                          group ? s.index : std::uint16_t{0}};
      if (t.write != nullptr && t.lines.take(r.c.now)) t.write(t.write_context, line, r.p);
      return target_end::next;
    }
    case kind::notrack:
      if (later_fragment::is_word(r.p.connection())) r.p.connection(0), r.p.scratch(0);  // its ports are for `track`
      // One that is invalid has none either, and is so no longer, as in the kernel.
      if (!connection_word{r.p.connection()}.has_connection()) r.p.connection(connection_word::of(untracked).value);
      break;
    case kind::mark: r.p.mark(s.value); break;
    case kind::mark_by_map: {
      const statement* const found = look_up(t, s, r);
      if (found == nullptr) return target_end::next_rule;
      r.p.mark(found->value);
      break;
    }
    case kind::mark_from_connection: {
      const connection_facts* const known = r.s.facts();
      if (known == nullptr) return target_end::next_rule;
      r.p.mark(known->mark);
      break;
    }
    case kind::connection_mark:
    case kind::connection_mark_from_packet: {
      if (connection_facts* const known = facts_of(r))
        known->mark = s.kind == kind::connection_mark ? s.value : r.p.mark();
      return target_end::next;
    }
    case kind::priority: r.p.priority(static_cast<std::uint8_t>(s.value)); break;
    case kind::traced: r.p.traced(s.value != 0); break;
    case kind::dscp:
    case kind::dscp6:
    case kind::ttl:
    case kind::hop_limit:
    case kind::segment_size: return write_field(s, r);
    case kind::add_element:
    case kind::update_element:
    case kind::delete_element: return change_set(t, s, r);
  }
  r.s = r.look();
  return target_end::next;
}

}  // namespace runnel::detail

#endif
