// SPDX-License-Identifier: MIT
// Looks at the jumps of a rule table that was just read: none goes in a circle or too deep, so that nothing has to be
// checked when packets come.
#ifndef RUNNEL_HOOK_CHECK_JUMPS_HPP
#define RUNNEL_HOOK_CHECK_JUMPS_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint8_t, uint32_t

#include <runnel/hook/rule_table_parts.hpp>
#include <runnel/hook/table_set.hpp>
#include <runnel/hook/table_statement.hpp>
#include <runnel/match/parse_text.hpp>

namespace runnel::detail {

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
  const auto follow = [&](const statement& s) {
    if (!is_jump(s) || !in.good()) return;
    const std::size_t below = 1 + height_of(t, in, t.chains[s.index], depth + 1);
    if (below > height) height = below;
  };
  for (std::size_t i = c.rule; i < std::size_t{c.rule} + c.rules; ++i) {
    const table_rule& r = t.rules[i];
    const statement& last = t.statements[r.statement + r.statements - 1u];
    follow(last);
    if (last.kind != statement_kind::look_up) continue;
    const table_set& map = t.set_of(last);
    for (std::uint32_t e = 0; e < map.elements; ++e) follow(map.state[e].then);
  }
  c.height = static_cast<std::uint8_t>(height);
  c.looked_at = known;
  return height;
}

inline void check_jumps(rule_table_parts& t, match::detail::text_cursor& in) noexcept {
  for (std::size_t i = 0; i < t.size.chains && in.good(); ++i) {
    const table_chain& c = t.chains[i];
    if (!c.defined) return in.fail_at(c.named_at, "there is no chain of this name in the table");
    if (c.named && c.base) return in.fail_at(c.named_at, "a chain with a hook is not jumped to");
  }
  for (std::size_t i = 0; i < t.size.chains && in.good(); ++i) (void)height_of(t, in, t.chains[i], 0);
}

}  // namespace runnel::detail

#endif
