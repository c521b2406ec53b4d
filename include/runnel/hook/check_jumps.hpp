// SPDX-License-Identifier: MIT
// Looks at the jumps of a rule table that was just read: none goes in a circle or too deep, and translations stand
// where they may, so that nothing has to be checked when packets come.
#ifndef RUNNEL_HOOK_CHECK_JUMPS_HPP
#define RUNNEL_HOOK_CHECK_JUMPS_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint8_t, uint32_t

#include <runnel/hook/hook_point.hpp>
#include <runnel/hook/nat_target.hpp>
#include <runnel/hook/rule_table_parts.hpp>
#include <runnel/hook/table_set.hpp>
#include <runnel/hook/table_statement.hpp>
#include <runnel/match/parse_text.hpp>

namespace runnel::detail {

// Calls `f` for each jump of a chain, those of its maps too.
template <class F>
void for_each_jump(const rule_table_parts& t, const table_chain& c, F f) noexcept {
  for (std::size_t i = c.rule; i < std::size_t{c.rule} + c.rules; ++i) {
    const table_rule& r = t.rules[i];
    const statement& last = t.statements[r.statement + r.statements - 1u];
    if (is_jump(last)) f(last);
    if (last.kind != statement_kind::look_up) continue;
    const table_set& map = t.set_of(last);
    for (std::uint32_t e = 0; e < map.elements; ++e)
      if (is_jump(map.then[e])) f(map.then[e]);
  }
}

// How many jumps lead down from this chain, which `depth` of them lead to. It calls itself at most 17 times deep.
inline std::size_t height_of(rule_table_parts& t, match::detail::text_cursor& in, table_chain& c,
                             std::size_t depth) noexcept {
  enum : std::uint8_t { unknown, on_the_way, known };
  if (c.looked_at == on_the_way) return in.fail_at(c.named_at, "the jumps to this chain go in a circle"), 0;
  if (depth + c.height > max_jumps)
    return in.fail_at(c.named_at, "the jumps to and from this chain are more than 16 deep"), 0;
  if (c.looked_at == known) return c.height;
  c.looked_at = on_the_way;
  std::size_t height = 0;
  for_each_jump(t, c, [&](const statement& s) {
    if (!in.good()) return;
    const std::size_t below = 1 + height_of(t, in, t.chains[s.index], depth + 1);
    if (below > height) height = below;
  });
  c.height = static_cast<std::uint8_t>(height);
  c.looked_at = known;
  return height;
}

// Hooks of base chains, as bits of `table_chain::from`.
[[nodiscard]] constexpr unsigned from_nat(hook_point p) noexcept { return 1u << static_cast<unsigned>(p); }
[[nodiscard]] constexpr unsigned from_filter(hook_point p) noexcept { return 32u << static_cast<unsigned>(p); }

// Why a statement may not stand where packets come to from these hooks; null when it may.
[[nodiscard]] inline const char* wrong_place_of(const rule_table_parts& t, const statement& s, unsigned from) noexcept {
  constexpr unsigned nat = 31;
  switch (s.kind) {
    case statement_kind::translate:
    case statement_kind::translate_by_map: {
      if ((from & ~nat) != 0)
        return "address translation stands in chains of type nat, and this one is of type filter, or jumped to from "
               "there";
      constexpr unsigned sources = from_nat(postrouting) | from_nat(hook_point::input);
      if (is_source(t.translations[s.index].kind))
        return (from & ~sources) != 0 ? "snat and masquerade are for the hooks postrouting and input" : nullptr;
      return (from & sources) != 0 ? "dnat and redirect are for the hooks prerouting and output" : nullptr;
    }
    case statement_kind::refuse:
      if ((from & (nat | from_filter(postrouting))) == 0) return nullptr;
      return "reject is for chains of type filter, but not at the hook postrouting";
    case statement_kind::divert:
      if ((from & ~from_filter(prerouting)) == 0) return nullptr;
      return "tproxy is for chains of type filter at the hook prerouting";
    default: return nullptr;
  }
}
// Where packets may come from to each chain, and whether what stands there may stand there.
inline void check_places(rule_table_parts& t, match::detail::text_cursor& in) noexcept {
  for (std::size_t i = 0; i < t.size.chains; ++i) {
    table_chain& c = t.chains[i];
    c.from = static_cast<std::uint16_t>(!c.base ? 0 : c.translates ? from_nat(c.point) : from_filter(c.point));
  }
  // Jumps are at most so deep.
  for (std::size_t round = 0; round < max_jumps; ++round) {
    for (std::size_t i = 0; i < t.size.chains; ++i) {
      for_each_jump(t, t.chains[i], [&](const statement& s) {
        t.chains[s.index].from = static_cast<std::uint16_t>(t.chains[s.index].from | t.chains[i].from);
      });
    }
  }
  for (std::size_t i = 0; i < t.size.chains && in.good(); ++i) {
    const table_chain& c = t.chains[i];
    for (std::size_t n = c.rule; n < std::size_t{c.rule} + c.rules; ++n)
      for (std::size_t s = 0; s < t.rules[n].statements; ++s)
        if (const char* const why = wrong_place_of(t, t.statements[t.rules[n].statement + s], c.from))
          return in.fail_at(c.named_at, why);
  }
}

inline void check_jumps(rule_table_parts& t, match::detail::text_cursor& in) noexcept {
  for (std::size_t i = 0; i < t.size.chains && in.good(); ++i) {
    const table_chain& c = t.chains[i];
    if (!c.defined) return in.fail_at(c.named_at, "there is no chain of this name in the table");
    if (c.named && c.base) return in.fail_at(c.named_at, "a chain with a hook is not jumped to");
  }
  for (std::size_t i = 0; i < t.size.chains && in.good(); ++i) (void)height_of(t, in, t.chains[i], 0);
  if (in.good()) check_places(t, in);
}

}  // namespace runnel::detail

#endif
