// SPDX-License-Identifier: MIT
// What the rules and the maps of a rule table do with packets, as data.
#ifndef RUNNEL_HOOK_TABLE_STATEMENT_HPP
#define RUNNEL_HOOK_TABLE_STATEMENT_HPP

#include <cstdint>  // uint8_t, uint16_t, uint32_t

#include <runnel/packet/drop_reason.hpp>

namespace runnel::detail {

enum class statement_kind : std::uint8_t {
  // verdicts
  accept,
  drop,
  jump,
  go_to,
  back,
  go_on,    // `continue`
  look_up,  // `vmap`: what the map says
  translate,
  translate_by_map,
  refuse,
  // what goes on to the next one
  fits_refusal,  // whether the `reject` at the end of the rule is about this packet
  counter,
  limit,
  count_connections,
  log,           // its level is in `index`
  log_to_group,  // its group is
  notrack,
  mark,
  mark_by_map,
  mark_from_connection,
  connection_mark,
  connection_mark_from_packet,
  priority,
  traced,
  dscp,
  dscp6,
  ttl,
  hop_limit,
  segment_size,
  divert,
  add_element,
  update_element,
  delete_element,
};
struct statement {
  statement_kind kind = statement_kind::accept;
  drop_reason reason = drop_reason::policy;  // of a drop
  std::uint16_t index = 0;                   // of a chain, a limit, an update of a set, a translation
  std::uint32_t value =
      0;  // what is set; where the prefix of a log begins; the node of an operand; of refuse its place in refusals

  friend constexpr bool operator==(const statement&, const statement&) noexcept = default;
};
[[nodiscard]] constexpr bool is_jump(const statement& s) noexcept {
  return s.kind == statement_kind::jump || s.kind == statement_kind::go_to;
}

}  // namespace runnel::detail

#endif
