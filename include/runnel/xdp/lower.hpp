// SPDX-License-Identifier: MIT
// Match expressions as XDP programs.
#ifndef RUNNEL_XDP_LOWER_HPP
#define RUNNEL_XDP_LOWER_HPP

#include <cstdint>  // uint64_t

#include <runnel/base/error.hpp>
#include <runnel/base/result.hpp>
#include <runnel/match/expression.hpp>
#include <runnel/xdp/assembler.hpp>
#include <runnel/xdp/bpf_action.hpp>
#include <runnel/xdp/bpf_program.hpp>

namespace runnel::detail::ebpf {

using namespace bpf;

/// Ends the program with an action; the context is in r6.
constexpr void emit_action(assembler& a, action what, std::size_t sockets) noexcept {
  if (what.kind == action_kind::socket) {
    a.load_map(r1, sockets);
    a.load(width::w, r2, r6, 16);  // rx_queue_index
    a.move(r3, std::uint64_t{2});  // XDP_PASS where no socket is
    a.call(helper::redirect_map);
  } else {
    a.move(r0, static_cast<std::uint64_t>(what.kind));
  }
  a.exit();
}

}  // namespace runnel::detail::ebpf

namespace runnel::bpf {

/// A program that does the same with every packet.
[[nodiscard]] inline result<program, error> lower(const match::always&, action match,
                                                  action otherwise = action{}) noexcept {
  (void)otherwise;
  assembler a;
  std::size_t sockets = 0;
  if (match.kind == action_kind::socket)
    sockets = a.add({.config = {.kind = map_kind::xsk_map, .entries = 64, .name = "sockets"}, .use = map_use::sockets});
  a.move(r6, r1);
  detail::ebpf::emit_action(a, match, sockets);
  return a.finish();
}

}  // namespace runnel::bpf

#endif
