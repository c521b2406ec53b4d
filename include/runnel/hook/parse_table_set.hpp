// SPDX-License-Identifier: MIT
// Reads the sets of a rule table from its text: their type, and elements that are brought in order.
#ifndef RUNNEL_HOOK_PARSE_TABLE_SET_HPP
#define RUNNEL_HOOK_PARSE_TABLE_SET_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint8_t, uint32_t, uint64_t

#include <runnel/base/text.hpp>
#include <runnel/hook/print_rule_table.hpp>
#include <runnel/hook/rule_table.hpp>
#include <runnel/hook/ruleset_text.hpp>
#include <runnel/hook/table_set.hpp>
#include <runnel/match/parse_state.hpp>
#include <runnel/match/parse_text.hpp>
#include <runnel/match/parse_value.hpp>

namespace runnel::detail {

class table_set_loader {
 public:
  using cursor = match::detail::text_cursor;
  // For sets of table number `table`; those that it has already are known.
  table_set_loader(rule_table& t, cursor& in, std::uint8_t table) noexcept : t_(t), in_(in), table_(table) {
    own_.begin = t_.references_;
    for (std::size_t i = 0; i < t_.size_.sets; ++i)
      if (t_.sets_[i].table == table_) refer_to(t_.sets_[i]);
  }
  // All sets of the table, as rules look for them.
  [[nodiscard]] const named_sets& own() const noexcept { return own_; }
  // `blocklist { type ipv4_addr; flags interval; elements = { 10.0.0.0/8, 192.0.2.1 } }`
  void parse() noexcept {
    in_.skip_gap();
    const std::size_t at = in_.at();
    rule_table_config& size = t_.size_;
    if (size.sets == t_.room_.sets) return in_.fail("more sets than there is room for: rule_table_config::sets");
    table_set s;
    s.table = table_;
    s.element = size.elements;
    s.ranges = t_.ranges_;
    if (!parse_name(in_, s.name, "the name of a set")) return;
    for (std::size_t i = 0; i < own_.size; ++i)
      if (same_text(own_.begin[i].name(), s.name)) return in_.fail_at(at, "a set of this name is there already");
    expect(in_, "{", "\"{\"");
    bool typed = false, merge = false;
    while (in_.good()) {
      (void)to_next_word(in_);
      if (in_.accept("}")) break;
      if (in_.accept_words("type")) {
        typed = parse_type(s);
      } else if (in_.accept_words("flags")) {
        do {
          if (in_.accept_words("interval")) s.intervals = true;
          else if (!in_.accept_words("constant")) in_.expected("interval or constant");
        } while (in_.accept(","));
      } else if (in_.accept_words("auto-merge")) {
        merge = true;
      } else if (typed && in_.accept_words("elements")) {
        expect(in_, "=", "\"=\"");
        expect(in_, "{", "\"{\"");
        do {
          if (in_.sees("}")) break;
          parse_element(s);
        } while (in_.accept(","));
        expect(in_, "}", "\",\" or \"}\"");
      } else {
        in_.expected(typed ? "flags, auto-merge, elements or \"}\"" : "type, flags or auto-merge");
      }
    }
    if (in_.good() && !typed) in_.fail_at(at, "a set needs a type, such as type ipv4_addr");
    if (in_.good() && !settle(s, merge)) in_.fail_at(at, "elements of this set overlap: say auto-merge");
    if (!in_.good()) return;
    size.elements += s.elements;
    t_.sets_[size.sets] = s;
    refer_to(t_.sets_[size.sets++]);
  }

 private:
  void refer_to(const table_set& s) noexcept { t_.references_[own_.size++] = {&s, set_functions_of_types[s.type]}; }
  bool parse_type(table_set& s) noexcept {
    for (std::size_t i = 0; i < sizeof set_types / sizeof *set_types; ++i) {
      s.type = static_cast<std::uint8_t>(i);
      if (in_.accept_words(set_types[i].name)) return true;
    }
    in_.expected("one of ipv4_addr, ipv6_addr, ether_addr, inet_service, inet_proto, mark");
    return false;
  }
  void parse_element(table_set& s) noexcept {
    const match::operand_description d = operand_of_type(s.type);
    in_.skip_gap();
    const std::size_t at = in_.at();
    table_range r{parse_value(d), {}};
    r.last = r.first;
    const bool range = in_.accept("-");
    if (range) {
      r.last = parse_value(d);
      if (match::key_less(r.last, r.first)) in_.fail_at(at, "the first value of this range is above its last");
    }
    const bool address = d.value == match::value_kind::ipv4 || d.value == match::value_kind::ipv6;
    const bool prefix = !range && address && in_.accept("/");
    if (prefix) {
      const std::uint64_t length = in_.number_up_to(d.bits, d.bits == 32 ? "a length up to 32" : "a length up to 128");
      const auto n = static_cast<unsigned>(length) + 128u - d.bits;
      const ipv6_address mask = match::prefix_mask<ipv6_address, 128>(n);
      if ((r.first.high() & ~mask.high()) != 0 || (r.first.low() & ~mask.low()) != 0)
        in_.fail_at(at, "a length that cuts off bits of the address");
      r.last = {r.first.high() | ~mask.high(), r.first.low() | ~mask.low()};
    }
    if (!s.intervals && !(r.first == r.last)) in_.fail_at(at, "ranges and prefixes need flags interval before them");
    if (s.element + s.elements == t_.room_.elements)
      in_.fail("more elements than there is room for: rule_table_config::elements");
    if (in_.good()) t_.ranges_[s.element + s.elements++] = r;
  }
  ipv6_address parse_value(const match::operand_description& d) noexcept {
    if (d.value == match::value_kind::ipv6) return match::detail::parse_address6(in_);
    std::uint64_t k = 0;
    match::detail::parse_key(in_, d, k);
    return {0, k};
  }
  // Brings the elements in order. False when some overlap, and are not the same.
  bool settle(table_set& s, bool merge) noexcept {
    table_range* const all = t_.ranges_ + s.element;
    sort_ranges(all, s.elements);
    std::uint32_t kept = 0;
    for (std::uint32_t i = 0; i < s.elements; ++i) {
      if (kept != 0 && !match::key_less(all[kept - 1].last, all[i].first)) {
        table_range& before = all[kept - 1];
        if (!merge && !(before.first == all[i].first && before.last == all[i].last)) return false;
        if (match::key_less(before.last, all[i].last)) before.last = all[i].last;
      } else {
        all[kept++] = all[i];
      }
    }
    s.elements = kept;
    return true;
  }

  rule_table& t_;
  cursor& in_;
  std::uint8_t table_;
  named_sets own_{};
};

}  // namespace runnel::detail

#endif
