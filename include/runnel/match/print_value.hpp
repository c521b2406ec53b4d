// SPDX-License-Identifier: MIT
// The small words of printed expressions: operands and values as nft spells them.
#ifndef RUNNEL_MATCH_PRINT_VALUE_HPP
#define RUNNEL_MATCH_PRINT_VALUE_HPP

#include <cstdint>  // uint64_t

#include <runnel/base/text.hpp>
#include <runnel/base/time.hpp>
#include <runnel/match/condition_build.hpp>
#include <runnel/match/condition_node.hpp>
#include <runnel/match/names.hpp>
#include <runnel/match/value.hpp>
#include <runnel/wire/address.hpp>

namespace runnel::match::detail {

// What is printed: a condition, and the parts of it that are of types of the user's.
struct printed_tree {
  condition_view condition;
  const custom_part* customs = nullptr;

  [[nodiscard]] constexpr const condition_node& operator[](std::size_t i) const noexcept { return condition.nodes[i]; }
};

constexpr void print_flags(text_writer& out, const name_list& names, std::uint64_t k) noexcept {
  if (k == 0) out << "0x0";
  unsigned shown = 0;
  for (std::uint64_t bit = 1; k != 0; bit <<= 1) {
    if ((k & bit) == 0) continue;
    k &= ~bit;
    out << (shown++ != 0 ? " | " : "");
    if (const char* const word = names.word_for(bit)) out << word;
    else (out << "0x").hex(bit);
  }
}
// The ends of ranges have no names in nft, which takes `tcp-226` for one.
[[nodiscard]] constexpr manner manner_in_range(manner how) noexcept {
  switch (how) {
    case manner::ip_protocol:
    case manner::family:
    case manner::ct_direction: return manner::decimal;
    case manner::ethertype:
    case manner::tcp_flags:
    case manner::ct_status: return manner::hex;
    default: return how;
  }
}
constexpr void print_number(text_writer& out, manner how, std::uint64_t k) noexcept {
  const char* word = nullptr;
  switch (how) {
    case manner::ip_protocol: word = protocol_list.word_for(k); break;
    case manner::ethertype: word = ethertype_list.word_for(k); break;
    case manner::family: word = family_list.word_for(k); break;
    case manner::tcp_flags: return print_flags(out, tcp_flag_list, k);
    case manner::ct_status: return print_flags(out, ct_status_list, k);
    case manner::ct_state: word = ct_state_list.word_for(k); break;
    case manner::ct_direction: word = ct_direction_list.word_for(k); break;
    case manner::tc_handle: word = "0:"; break;
    case manner::decimal:
    case manner::hex:
    case manner::bare_address: break;
  }
  if (word != nullptr) out << word;
  const bool hex = how == manner::hex || how == manner::bare_address || (how == manner::ethertype && word == nullptr);
  if (hex) out << "0x";
  if (hex || how == manner::tc_handle) out.hex(k);
  else if (word == nullptr) out << k;
}
constexpr void print_seconds(text_writer& out, instant t) noexcept {
  const std::uint64_t ns = t.ns < 0 ? 0 - static_cast<std::uint64_t>(t.ns) : static_cast<std::uint64_t>(t.ns);
  out << (t.ns < 0 ? "-" : "") << ns / 1'000'000'000;
  if (ns % 1'000'000'000 == 0) return;
  out << '.';
  for (std::uint64_t digit = 100'000'000; digit != 0; digit /= 10) out << ns / digit % 10;
}
constexpr void print_key(text_writer& out, const operand_description& d, std::uint64_t k,
                         bool in_range = false) noexcept {
  const manner how = in_range ? manner_in_range(manner_of(d)) : manner_of(d);
  if (how == manner::bare_address) return print_number(out, how, k);
  switch (d.value) {
    case value_kind::ipv4: return print(out, from_key<ipv4_address>(k));
    case value_kind::mac: return print(out, from_key<mac_address>(k));
    case value_kind::time: return print_seconds(out, from_key<instant>(k));
    case value_kind::number:
    case value_kind::ipv6: break;
  }
  print_number(out, how, k);
}
// The value whose words begin at `word`.
constexpr void print_word(text_writer& out, const printed_tree& t, const condition_node& n, std::size_t word) noexcept {
  const operand_description& d = n.operand;
  const custom_part* custom = d.is_custom ? &t.customs[n.left] : nullptr;
  if (custom != nullptr && custom->print_value != nullptr) {
    custom->print_value(out, custom->what, t.condition.words + word);
  } else if (d.value == value_kind::ipv6) {
    print(out, t.condition.at<ipv6_address>(word));
  } else {
    const bool is_mask = d.is_masked && word == n.word;
    print_key(out, d, t.condition.at<std::uint64_t>(word), n.kind == node_kind::in_range && !is_mask);
  }
}
constexpr void print_value(text_writer& out, const printed_tree& t, const condition_node& n, std::size_t i) noexcept {
  print_word(out, t, n, n.word + (i + (n.operand.is_masked ? 1u : 0u)) * n.operand.words());
}

// One of a family as nft calls it: `tcp option maxseg`, by its number where nft has no name. Before the name of a field
// nft leaves away `exthdr`.
constexpr void print_numbered(text_writer& out, header h, bool before_field) noexcept {
  const char* const word = word_for(h);
  const bool bare = before_field && word != nullptr && family_of(h) == header_family::ipv6_extension;
  if (!bare) out << prefix_of(family_of(h));
  if (word != nullptr) out << word;
  else out << number_of(h);
}
// Bytes of a header without a name, as tcpdump writes them: `tcp[20:4]`.
constexpr void print_raw(text_writer& out, const operand_description& d) noexcept {
  out << raw_name_of(d.in_header) << '[' << std::uint64_t{d.offset / 8u};
  if (d.bits != 8) out << ':' << std::uint64_t{d.bits / 8u};
  out << ']';
}
constexpr void print_field(text_writer& out, const operand_description& d) noexcept {
  if (d.is_inner) out << name_of(d.around) << ' ';
  if (d.name == nullptr) return print_raw(out, d);
  const bool numbered = prefix_of(family_of(d.in_header)) != nullptr;
  if (numbered) print_numbered(out, d.in_header, true);
  if (family_of(d.in_header) == header_family::gre_word) return;  // which is all of it
  out << (numbered ? " " : "") << d.name;
}
constexpr void print_operand(text_writer& out, const printed_tree& t, const condition_node& n) noexcept {
  const operand_description& d = n.operand;
  if (d.is_custom) t.customs[n.left].print(out, t.customs[n.left].what);
  else if (d.is_meta) out << name(d.which);
  else print_field(out, d);
  if (!d.is_masked) return;
  const bool several = are_flags(manner_of(d)) && [&] {
    const auto mask = t.condition.mask<std::uint64_t>(n);
    return (mask & (mask - 1)) != 0;
  }();
  out << " & " << (several ? "(" : "");
  print_word(out, t, n, n.word);
  out << (several ? ")" : "");
}

}  // namespace runnel::match::detail

#endif
