// SPDX-License-Identifier: MIT
// Reads what stands before `map` and `vmap` in rules: an operand, perhaps with a mask.
#ifndef RUNNEL_MATCH_PARSE_MAP_OPERAND_HPP
#define RUNNEL_MATCH_PARSE_MAP_OPERAND_HPP

#include <cstdint>  // uint64_t

#include <runnel/match/condition_node.hpp>
#include <runnel/match/parse_field.hpp>
#include <runnel/match/parse_text.hpp>
#include <runnel/match/parse_value.hpp>
#include <runnel/wire/address.hpp>

namespace runnel::match::detail {

// What a map is asked with, `tcp dport` or `ip saddr & 255.255.255.0`. `take_mask(mask)` gets what is behind `&`, a
// number or an IPv6 address. False, and nothing said, when no operand stands here.
bool parse_map_operand(auto& p, operand_description& to, auto&& take_mask) noexcept {
  if (!parse_operand(p, to)) return false;
  if (!p.in.accept("&")) return true;
  to.is_masked = true;
  const auto take = [&]<class Key>(Key mask) {
    parse_mask(p.in, to, mask);
    take_mask(mask);
  };
  if (to.value == value_kind::ipv6) take(ipv6_address{});
  else take(std::uint64_t{0});
  return true;
}
// Whether a map is asked here: `tcp dport vmap { ... }`; `word` is `map` or `vmap`.
bool sees_map(const auto& p, const char* word) noexcept {
  text_cursor ahead = p.in.look_ahead();
  struct {
    text_cursor& in;
  } only{ahead};
  operand_description d;
  return parse_map_operand(only, d, [](const auto&) {}) && ahead.accept_words(word);
}
}  // namespace runnel::match::detail

#endif
