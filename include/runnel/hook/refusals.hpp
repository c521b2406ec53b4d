// SPDX-License-Identifier: MIT
// The forms of `reject` in rule tables.
#ifndef RUNNEL_HOOK_REFUSALS_HPP
#define RUNNEL_HOOK_REFUSALS_HPP

#include <cstdint>  // uint8_t, uint32_t

#include <runnel/hook/ways.hpp>
#include <runnel/match/parse_text.hpp>
#include <runnel/wire/icmp.hpp>
#include <runnel/wire/icmpv6.hpp>

namespace runnel::detail {

// One form: behind `with`, the word of the protocol and of the code.
struct named_refusal {
  const char* with;
  const char* code;
  refuse_target how;
};
inline constexpr refuse_target only4(icmp_kind k) noexcept { return {k, {}}; }
inline constexpr refuse_target only6(icmpv6_kind k) noexcept { return {{}, k}; }
inline constexpr named_refusal refusals[] = {
    {"", "", {icmp::unreachable::port, icmpv6::unreachable::port}},
    {"tcp", "reset", {{}, {}, true}},
    {"icmp", "net-unreachable", only4(icmp::unreachable::network)},
    {"icmp", "host-unreachable", only4(icmp::unreachable::host)},
    {"icmp", "prot-unreachable", only4(icmp::unreachable::protocol)},
    {"icmp", "port-unreachable", only4(icmp::unreachable::port)},
    {"icmp", "net-prohibited", only4({3, 9})},
    {"icmp", "host-prohibited", only4({3, 10})},
    {"icmp", "admin-prohibited", only4({3, 13})},
    {"icmpv6", "no-route", only6({1, 0})},
    {"icmpv6", "admin-prohibited", only6({1, 1})},
    {"icmpv6", "addr-unreachable", only6({1, 3})},
    {"icmpv6", "port-unreachable", only6({1, 4})},
    {"icmpv6", "policy-fail", only6({1, 5})},
    {"icmpv6", "reject-route", only6({1, 6})},
    {"icmpx", "port-unreachable", {icmp::unreachable::port, icmpv6::unreachable::port}},
    {"icmpx", "admin-prohibited", {{3, 13}, {1, 1}}},
    {"icmpx", "no-route", {icmp::unreachable::network, {1, 0}}},
    {"icmpx", "host-unreachable", {icmp::unreachable::host, {1, 3}}}};

// What follows `reject`: its place in the list. `v4` and `v6` are what the table is about.
inline std::uint32_t parse_refusal(match::detail::text_cursor& in, bool v4, bool v6) noexcept {
  if (!in.accept_words("with")) return 0;
  bool known = false;
  constexpr const char* protocols[] = {"tcp", "icmp", "icmpv6", "icmpx"};
  for (const char* const p : protocols) {
    const bool fits = p == protocols[1] ? v4 : p == protocols[2] ? v6 : true;
    if (known || !fits || !in.accept_words(p)) continue;
    known = true;
    if (p != protocols[0]) (void)in.accept_words("type");
    for (std::uint32_t i = 1; i < sizeof refusals / sizeof *refusals; ++i)
      if (same_text(refusals[i].with, p) && in.accept_words(refusals[i].code)) return i;
  }
  if (known) in.expected("reset behind tcp, or a code such as port-unreachable or admin-prohibited");
  else
    in.expected(v4 && v6 ? "tcp reset, icmp, icmpv6 or icmpx"
                : v4     ? "tcp reset, icmp or icmpx"
                         : "tcp reset, icmpv6 or icmpx");
  return 0;
}

}  // namespace runnel::detail

#endif
