// SPDX-License-Identifier: MIT
// Reads the sets and maps of a rule table: their properties, and elements that are brought in order.
#ifndef RUNNEL_HOOK_PARSE_TABLE_SET_HPP
#define RUNNEL_HOOK_PARSE_TABLE_SET_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint8_t, uint32_t, uint64_t

#include <runnel/base/text.hpp>
#include <runnel/hook/nat_target.hpp>
#include <runnel/hook/parse_translation.hpp>
#include <runnel/hook/rule_table_parts.hpp>
#include <runnel/hook/ruleset_text.hpp>
#include <runnel/hook/table_set.hpp>
#include <runnel/match/field_table.hpp>
#include <runnel/match/parse_state.hpp>
#include <runnel/match/parse_text.hpp>
#include <runnel/match/parse_value.hpp>
#include <runnel/match/value.hpp>

namespace runnel::detail {

// Some operand with values of a type: how they are written.
[[nodiscard]] constexpr match::operand_description operand_of_type(std::uint8_t type) noexcept {
  switch (type) {
    case 0: return match::detail::describe(ip::saddr);
    case 1: return match::detail::describe(ip6::saddr);
    case 2: return match::detail::describe(ether::saddr);
    case 3: return match::detail::describe(tcp::dport);
    case 4: return match::detail::describe(ip::protocol);
    case 5: return match::detail::describe(meta::mark);
    case 6: return match::detail::describe(ct::state);
    case 7: return match::detail::describe(icmp::type);
    case 8: return match::detail::describe(icmpv6::type);
    case 9: return match::detail::describe(ip::dscp);
    default: return match::detail::describe(ether::type);
  }
}

template <class Later>
class table_set_loader {
 public:
  using cursor = match::detail::text_cursor;
  // For sets of table number `table`; those that it has already are known.
  table_set_loader(rule_table_parts& t, table_names& names, std::uint8_t table) noexcept
      : t_(t), names_(names), table_(table) {
    own_.begin = t_.references;
    for (std::size_t i = 0; i < t_.size.sets; ++i)
      if (t_.sets[i].table == table_) refer_to(t_.sets[i]);
  }
  // All sets of the table, as rules look for them.
  [[nodiscard]] const named_sets& own() const noexcept { return own_; }

  // `blocklist { type ipv4_addr; flags interval; elements = { 10.0.0.0/8, 192.0.2.1 } }`, and what a map has.
  void parse(cursor& in, bool is_map) noexcept {
    in.skip_gap();
    const std::size_t at = in.at();
    table_set s = begin_set();
    if (!parse_name(in, s.name, is_map ? "the name of a map" : "the name of a set")) return;
    if (names_.find(s.name) != nullptr) return in.fail_at(at, "a set or map of this name is there already");
    expect(in, "{", "\"{\"");
    bool typed = false, merge = false;
    while (in.good()) {
      (void)to_next_word(in);
      if (in.accept("}")) break;
      if (!typed && in.accept_words("type")) typed = parse_type(in, s, is_map);
      else if (in.accept_words("flags")) parse_flags(in, s);
      else if (!is_map && in.accept_words("auto-merge")) merge = true;
      else if (in.accept_words("size")) s.size = parse_size(in);
      else if (in.accept_words("counter")) s.counted = true;
      else if (in.accept_words("timeout")) s.timeout = parse_time_span(in), s.timed = true;
      else if (typed && in.accept_words("elements")) parse_elements(in, s);
      else
        in.expected(typed ? "flags, size, timeout, counter, auto-merge, elements or \"}\""
                          : "type, flags, size, timeout, counter or auto-merge");
    }
    if (in.good() && !typed) in.fail_at(at, "a set needs a type, such as type ipv4_addr");
    if (in.good() && s.dynamic && s.intervals) in.fail_at(at, "packets add no ranges: flags dynamic or interval");
    if (in.good() && s.dynamic && s.size == 0) in.fail_at(at, "a set that packets add to needs a size");
    if (in.good()) (void)finish(in, s, at, merge);
  }
  // `{ 22 : accept, 80-90 : jump web }` of a rule, behind the brace. Null after an error.
  // `prefixes`: what they lead to are networks, `192.0.2.0/24 : 10.0.0.0/24`.
  table_set* parse_braces(cursor& in, std::size_t begin, const match::operand_description& d, map_data data,
                          bool prefixes) noexcept {
    const std::size_t at = in.at();
    table_set s = begin_set();
    s.operand = d;
    s.data = data;
    begin_ = begin;
    in_rule_ = true;
    to_prefixes_ = prefixes;
    parse_list(in, s);
    in_rule_ = to_prefixes_ = false;
    begin_ = 0;
    return finish(in, s, at, false);
  }

 private:
  table_set begin_set() noexcept {
    table_set s;
    s.table = table_;
    s.seed = t_.seed;
    s.element = t_.elements + t_.size.elements;
    s.state = t_.states + t_.size.elements;
    s.then = t_.leads + t_.size.elements;
    s.slot = t_.slots + t_.slot_count;
    s.clock = &t_.clock;
    return s;
  }
  void refer_to(const table_set& s) noexcept {
    if (s.name[0] != '\0' && s.data == map_data::none) t_.references[own_.size++] = {&s, functions_of(s.operand.value)};
  }
  static std::uint8_t type_named(cursor& in) noexcept {
    constexpr std::uint8_t count = sizeof set_types / sizeof *set_types;
    for (std::uint8_t i = 0; i < count; ++i)
      if (in.accept_words(set_types[i].name)) return i;
    in.expected(
        "one of ipv4_addr, ipv6_addr, ether_addr, inet_service, inet_proto, mark, ct_state, icmp_type, icmpv6_type, "
        "dscp, ether_type");
    return 0;
  }
  bool parse_type(cursor& in, table_set& s, bool is_map) noexcept {
    s.type = type_named(in);
    s.operand = operand_of_type(s.type);
    if (!is_map) return in.good();
    constexpr const char* what = "verdict, mark, ipv4_addr or ipv6_addr, the last two perhaps with . inet_service";
    expect(in, ":", "\":\" and what the elements lead to");
    if (in.accept_words("verdict")) s.data = map_data::verdict;
    else if (in.accept_words("mark")) s.data = map_data::mark;
    else if (in.accept_words("ipv4_addr")) s.data = map_data::address4;
    else if (in.accept_words("ipv6_addr")) s.data = map_data::address6;
    else return in.expected(what), false;
    if (!is_translation(s.data) || !in.accept(".")) return in.good();
    if (!in.accept_words("inet_service")) in.expected("inet_service");
    s.data = is_v6(s.data) ? map_data::address6_and_port : map_data::address4_and_port;
    return in.good();
  }
  static void parse_flags(cursor& in, table_set& s) noexcept {
    do {
      if (in.accept_words("interval")) s.intervals = true;
      else if (in.accept_words("timeout")) s.timed = true;
      else if (in.accept_words("dynamic")) s.dynamic = true;
      else if (!in.accept_words("constant")) in.expected("interval, timeout, dynamic or constant");
    } while (in.accept(","));
  }
  static std::uint32_t parse_size(cursor& in) noexcept {
    in.skip_gap();
    const std::size_t at = in.at();
    const std::uint64_t n = in.number_up_to(0xffff'ffff, "a number of elements");
    if (in.good() && n == 0) in.fail_at(at, "a size of at least 1");
    return static_cast<std::uint32_t>(n);
  }
  void parse_elements(cursor& in, table_set& s) noexcept {
    expect(in, "=", "\"=\"");
    expect(in, "{", "\"{\"");
    parse_list(in, s);
  }
  void parse_list(cursor& in, table_set& s) noexcept {
    do {
      if (in.sees("}")) break;
      parse_element(in, s);
    } while (in.accept(","));
    expect(in, "}", "\",\" or \"}\"");
  }
  void parse_element(cursor& in, table_set& s) noexcept {
    in.skip_gap();
    const std::size_t at = in.at();
    whole_element e;
    e.values = parse_values(in, s, at);
    const bool single = e.values.first == e.values.last;
    if (in_rule_ && !single) s.intervals = true;
    if (!s.intervals && !single) in.fail_at(at, "ranges and prefixes need flags interval before them");
    parse_options(in, s, e.state);
    if (s.data != map_data::none) {
      expect(in, ":", "\":\" and what the element leads to");
      parse_data(in, s, e.then);
    }
    if (t_.size.elements + s.elements == t_.room.elements)
      in.fail("more elements than there is room for: rule_table_config::elements");
    if (!in.good()) return;
    s.put(s.elements++, e);
  }
  // `counter packets 1 bytes 54 timeout 1h expires 59m30s`
  static void parse_options(cursor& in, const table_set& s, element_state& e) noexcept {
    while (in.good()) {
      in.skip_gap();
      const std::size_t at = in.at();
      if (in.accept_words("counter")) {
        if (!s.counted) return in.fail_at(at, "counters of elements need counter before them");
        if (in.accept_words("packets") && !in.number(e.hits.packets)) in.expected("a number of packets");
        if (in.accept_words("bytes") && !in.number(e.hits.bytes)) in.expected("a number of bytes");
        continue;
      }
      const bool timeout = in.accept_words("timeout");
      if (!timeout && !in.accept_words("expires")) return;
      if (!s.timed) return in.fail_at(at, "times of elements need flags timeout before them");
      (timeout ? e.timeout : e.expires) = parse_time_span(in);
      if (in.good() && (timeout ? e.timeout : e.expires) == 0) in.fail_at(at, "a time above 0");
    }
  }
  void parse_data(cursor& in, table_set& s, statement& to) noexcept {
    if (is_translation(s.data)) {
      parse_address(in, s, to);
    } else if (s.data == map_data::mark) {
      std::uint64_t k = 0;
      match::detail::parse_key(in, match::detail::describe(meta::mark), k);
      to.kind = statement_kind::mark;
      to.value = static_cast<std::uint32_t>(k);
    } else if (!parse_verdict(names_, in, begin_, to)) {
      in.expected("one of accept, drop, jump, goto, return, continue");
    }
  }
  // `10.0.0.1`, `10.0.0.1 . 8080`, `10.0.0.0/24`
  void parse_address(cursor& in, table_set& s, statement& to) noexcept {
    in.skip_gap();
    const std::size_t at = in.at();
    nat_target n;
    n.first = n.last = parse_nat_address(in, is_v6(s.data));
    if (to_prefixes_) {
      parse_nat_prefix(in, n, is_v6(s.data), at);
    } else if (in_rule_ && s.elements == 0 && in.sees(".")) {  // the first one says whether they have ports
      s.data = is_v6(s.data) ? map_data::address6_and_port : map_data::address4_and_port;
    }
    if (has_port(s.data)) {
      expect(in, ".", "\".\" and a port");
      parse_nat_ports(in, n, false);
    }
    if (t_.size.translations == t_.room.translations)
      in.fail("more translations than there is room for: rule_table_config::translations");
    if (!in.good()) return;
    to.kind = statement_kind::translate;
    to.index = static_cast<std::uint16_t>(t_.size.translations);
    t_.translations[t_.size.translations++] = n;
  }
  static table_element parse_values(cursor& in, const table_set& s, std::size_t at) noexcept {
    const match::operand_description& d = s.operand;
    table_element r{parse_value(in, d), {}};
    r.last = r.first;
    const bool range = in.accept("-");
    if (range) {
      r.last = parse_value(in, d);
      if (match::key_less(r.last, r.first)) in.fail_at(at, "the first value of this range is above its last");
    }
    if (range || !match::detail::may_have_length(d) || !in.accept("/")) return r;
    const std::uint64_t length = in.number_up_to(d.bits, d.bits == 32 ? "a length up to 32" : "a length up to 128");
    const auto n = static_cast<unsigned>(length) + 128u - d.bits;
    const ipv6_address mask = match::prefix_mask<ipv6_address, 128>(n);
    if ((r.first.high() & ~mask.high()) != 0 || (r.first.low() & ~mask.low()) != 0)
      in.fail_at(at, match::detail::cuts_off_bits(d));
    r.last = {r.first.high() | ~mask.high(), r.first.low() | ~mask.low()};
    return r;
  }
  static ipv6_address parse_value(cursor& in, const match::operand_description& d) noexcept {
    if (d.value == match::value_kind::ipv6) return match::detail::parse_address6(in);
    std::uint64_t k = 0;
    match::detail::parse_key(in, d, k);
    return {0, k};
  }

  // Takes a set with all its elements among those of the table.
  table_set* finish(cursor& in, table_set& s, std::size_t at, bool merge) noexcept {
    rule_table_config& size = t_.size;
    if (!in.good()) return nullptr;
    if (size.sets == t_.room.sets)
      return in.fail_at(at, "more sets than there is room for: rule_table_config::sets"), nullptr;
    if (s.size != 0 && s.elements > s.size) return in.fail_at(at, "this set has more elements than its size"), nullptr;
    const std::uint32_t most = s.dynamic ? s.size : s.elements;
    if (most > t_.room.elements - size.elements)
      return in.fail_at(at, "more elements than there is room for: rule_table_config::elements"), nullptr;
    for (std::uint32_t i = 0; i < s.elements; ++i) {
      element_state& e = s.state[i];
      if (e.timeout == 0) e.timeout = s.timeout;
      if (e.timeout != 0 && e.expires == element_state::forever) e.expires = e.timeout;
    }
    const std::size_t slots = table_set::slots_for(most);
    if (!(s.intervals ? settle_intervals(s, slots, merge) : settle_values(s, slots))) {
      in.fail_at(at, s.data == map_data::none ? "elements of this set overlap: say auto-merge"
                                              : "elements of this map overlap, and lead to different things");
      return nullptr;
    }
    size.elements += most;
    t_.slot_count += slots + 1;
    t_.sets[size.sets] = s;
    refer_to(t_.sets[size.sets]);
    return t_.sets + size.sets++;
  }
  [[nodiscard]] bool leads_alike(const table_set& s, std::uint32_t a, std::uint32_t b) const noexcept {
    const statement &x = s.then[a], &y = s.then[b];
    return is_translation(s.data) ? t_.translations[x.index] == t_.translations[y.index] : x == y;
  }
  // Brings the elements in order. False when some overlap, and are not the same.
  bool settle_intervals(table_set& s, std::size_t slots, bool merge) noexcept {
    sort(s);
    std::uint32_t kept = 0;
    for (std::uint32_t i = 0; i < s.elements; ++i) {
      if (kept != 0 && !match::key_less(s.element[kept - 1].last, s.element[i].first)) {
        table_element& before = s.element[kept - 1];
        const bool same =
            before.first == s.element[i].first && before.last == s.element[i].last && leads_alike(s, kept - 1, i);
        if (!merge && !same) return false;
        if (match::key_less(before.last, s.element[i].last)) before.last = s.element[i].last;
      } else {
        s.put(kept++, s.get(i));
      }
    }
    s.elements = kept;
    s.make_index(slots);
    return true;
  }
  // Puts the elements into the hash table. False when two are the same and lead to different things.
  bool settle_values(table_set& s, std::size_t slots) noexcept {
    s.make_table(slots);
    const std::uint32_t all = s.elements;
    s.elements = 0;
    for (std::uint32_t i = 0; i < all; ++i) {
      const std::uint32_t there = s.find_any(s.element[i].first);
      if (there != table_set::none) {
        if (!leads_alike(s, there, i)) return false;
        continue;
      }
      s.put(s.elements, s.get(i));
      s.link(s.elements++);
    }
    return true;
  }
  // By the first value, in place: a heap.
  static void sort(table_set& s) noexcept {
    const auto sink = [&s](std::size_t at, std::size_t size) {
      const whole_element e = s.get(at);
      for (std::size_t below = 2 * at + 1; below < size; below = 2 * at + 1) {
        if (below + 1 < size && match::key_less(s.element[below].first, s.element[below + 1].first)) ++below;
        if (!match::key_less(e.values.first, s.element[below].first)) break;
        s.put(at, s.get(below));
        at = below;
      }
      s.put(at, e);
    };
    for (std::size_t i = s.elements / 2; i-- != 0;) sink(i, s.elements);
    for (std::size_t end = s.elements; end > 1;) {
      --end;
      const whole_element e = s.get(0);
      s.put(0, s.get(end));
      s.put(end, e);
      sink(0, end);
    }
  }

  rule_table_parts& t_;
  table_names& names_;
  std::uint8_t table_;
  named_sets own_{};
  std::size_t begin_ = 0;  // where the text of the rule begins
  bool in_rule_ = false, to_prefixes_ = false;
};

}  // namespace runnel::detail

#endif
