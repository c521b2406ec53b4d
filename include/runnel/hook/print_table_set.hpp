// SPDX-License-Identifier: MIT
// Prints the sets and maps of a rule table as nft does.
#ifndef RUNNEL_HOOK_PRINT_TABLE_SET_HPP
#define RUNNEL_HOOK_PRINT_TABLE_SET_HPP

#include <cstddef>  // size_t
#include <cstdint>  // int64_t, uint32_t, uint64_t

#include <runnel/base/text.hpp>
#include <runnel/hook/rule_table_parts.hpp>
#include <runnel/hook/ruleset_text.hpp>
#include <runnel/hook/table_set.hpp>
#include <runnel/match/condition_node.hpp>
#include <runnel/match/print_value.hpp>
#include <runnel/wire/address.hpp>

namespace runnel::detail {

class table_set_printer {
 public:
  table_set_printer(text_writer& out, const rule_table_parts& t) noexcept : out_(out), t_(t) {}

  // As a table has it.
  void declaration(const table_set& s) noexcept {
    out_ << '\t' << (s.data == map_data::none ? "set " : "map ") << s.name << " {\n\t\ttype " << set_types[s.type].name;
    if (s.data != map_data::none) out_ << " : " << name(s.data);
    out_ << '\n';
    if (s.size != 0) out_ << "\t\tsize " << s.size << '\n';
    const bool timed = s.timed && s.timeout == 0;
    if (s.intervals || s.dynamic || timed) {
      const char* comma = "\t\tflags ";
      const auto flag = [&](bool on, const char* word) {
        if (on) out_ << comma << word, comma = ",";
      };
      flag(s.dynamic, "dynamic");
      flag(s.intervals, "interval");
      flag(timed, "timeout");
      out_ << '\n';
    }
    if (s.counted) out_ << "\t\tcounter\n";
    if (s.timeout != 0) print_time_span(out_ << "\t\ttimeout ", s.timeout), out_ << '\n';
    if (elements(s, "\t\telements = { ")) out_ << " }\n";
    out_ << "\t}\n";
  }
  // As a rule has it: with a name, or all elements.
  void use(const table_set& s) noexcept {
    if (s.name[0] != '\0') {
      out_ << '@' << s.name;
      return;
    }
    (void)elements(s, "{ ");
    out_ << " }";
  }

 private:
  // False when there is none.
  bool elements(const table_set& s, const char* begin) noexcept {
    bool any = false;
    for (std::uint32_t i = 0; i < s.elements; ++i) {
      if (s.state[i].expires <= t_.clock.now) continue;
      out_ << (any ? ", " : begin);
      any = true;
      element(s, i);
    }
    return any;
  }
  void element(const table_set& s, std::uint32_t at) noexcept {
    const element_state& e = s.state[at];
    values(s, s.element[at]);
    if (s.counted) out_ << " counter packets " << e.hits.packets << " bytes " << e.hits.bytes;
    if (e.timeout != 0 && e.timeout != s.timeout) print_time_span(out_ << " timeout ", e.timeout);
    const std::int64_t left = e.expires - t_.clock.now;
    if (e.expires != element_state::forever && left != (e.timeout != 0 ? e.timeout : s.timeout))
      print_time_span(out_ << " expires ", left);
    switch (s.data) {
      case map_data::none: return;
      case map_data::verdict: return print_verdict(out_ << " : ", t_, s.then[at]);
      case map_data::mark: (out_ << " : 0x").hex(s.then[at].value); return;
      case map_data::address4:
      case map_data::address6:
      case map_data::address4_and_port:
      case map_data::address6_and_port: break;
    }
    const nat_target& to = t_.translations[s.then[at].index];
    out_ << " : ";
    if (is_v6(s.data)) print(out_, to.first);
    else print(out_, unmapped(to.first));
    if (to.prefix_length != 0) out_ << '/' << std::uint32_t{to.prefix_length};
    if (has_port(s.data)) out_ << " . " << std::uint32_t{to.first_port};
  }
  void value(const table_set& s, const ipv6_address& v, bool in_range = false) noexcept {
    if (s.operand.value == match::value_kind::ipv6) print(out_, v);
    else match::detail::print_key(out_, s.operand, v.low(), in_range);
  }
  // A value, a prefix of addresses, or a range.
  void values(const table_set& s, const table_element& r) noexcept {
    value(s, r.first, !(r.first == r.last));
    if (r.first == r.last) return;
    const std::uint64_t high = r.first.high() ^ r.last.high(), low = r.first.low() ^ r.last.low();
    const bool block = (r.first.high() & high) == 0 && (r.first.low() & low) == 0 &&
                       (high == 0 ? (low & (low + 1)) == 0 : low == ~std::uint64_t{0} && (high & (high + 1)) == 0);
    const match::value_kind kind = s.operand.value;
    if (block && (kind == match::value_kind::ipv4 || kind == match::value_kind::ipv6)) {
      const auto ones = static_cast<unsigned>(__builtin_popcountll(high) + __builtin_popcountll(low));
      out_ << '/' << std::uint32_t{s.operand.bits - ones};
    } else {
      out_ << '-';
      value(s, r.last, true);
    }
  }

  text_writer& out_;
  const rule_table_parts& t_;
};

}  // namespace runnel::detail

#endif
