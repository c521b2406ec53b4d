// SPDX-License-Identifier: MIT
// Reads to what `snat`, `dnat`, `masquerade` and `redirect` translate: `to 203.0.113.1-203.0.113.9:1024-65535 random`.
#ifndef RUNNEL_HOOK_PARSE_TRANSLATION_HPP
#define RUNNEL_HOOK_PARSE_TRANSLATION_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint8_t, uint16_t, uint64_t

#include <runnel/hook/nat_target.hpp>
#include <runnel/match/parse_text.hpp>
#include <runnel/match/parse_value.hpp>
#include <runnel/wire/address.hpp>

namespace runnel::detail {

inline ipv6_address parse_nat_address(match::detail::text_cursor& in, bool v6) noexcept {
  in.skip_gap();
  const std::size_t at = in.at();
  const ipv6_address a = v6 ? match::detail::parse_address6(in) : mapped(match::detail::parse_address4(in, true));
  if (in.good() && (v6 ? a.is_unspecified() : unmapped(a).is_unspecified()))
    in.fail_at(at, "an address that is not zero");
  if (in.good() && v6 && is_mapped(a)) in.fail_at(at, "an IPv6 address, and no IPv4 address in the form of one");
  return a;
}
// `1024`, `1024-65535`
inline void parse_nat_ports(match::detail::text_cursor& in, nat_target& to, bool range = true) noexcept {
  constexpr const char* what = "a port from 1 to 65535";
  in.skip_gap();
  const std::size_t at = in.at();
  to.first_port = to.last_port = static_cast<std::uint16_t>(in.number_up_to(0xffff, what));
  if (in.good() && range && in.accept("-")) to.last_port = static_cast<std::uint16_t>(in.number_up_to(0xffff, what));
  if (in.good() && to.first_port == 0) in.fail_at(at, "a port is 1 or above");
  if (in.good() && to.last_port < to.first_port) in.fail_at(at, "the first value of this range is above its last");
}
// `/24` behind the address of a network.
inline void parse_nat_prefix(match::detail::text_cursor& in, nat_target& to, bool v6, std::size_t at) noexcept {
  if (!in.accept("/")) return in.expected("\"/\" and a length");
  const std::uint64_t length = in.number_up_to(v6 ? 128 : 32, v6 ? "a length up to 128" : "a length up to 32");
  if (in.good() && length == 0) in.fail_at(at, "a length of at least 1");
  if (!in.good()) return;
  to.prefix_length = static_cast<std::uint8_t>(length);
  const auto n = static_cast<unsigned>(length) + (v6 ? 0u : 96u);
  const ipv6_address mask = match::prefix_mask<ipv6_address, 128>(n);
  if (!(match::key_and(to.first, mask) == to.first)) in.fail_at(at, "a length that cuts off bits of the address");
}
// An address, a range or a prefix of them, ports: what follows `to`.
inline void parse_nat_range(match::detail::text_cursor& in, nat_target& to, bool v6) noexcept {
  in.skip_gap();
  const std::size_t at = in.at();
  if (!in.sees(":") || in.ahead(1) == ':') {
    const auto parse_one = [&] {
      const bool brackets = v6 && in.accept("[");
      const ipv6_address a = parse_nat_address(in, v6);
      if (brackets && !in.accept("]")) in.expected("\"]\"");
      return a;
    };
    to.first = to.last = parse_one();
    if ((to.flags & nat_flags::prefix) != 0) return parse_nat_prefix(in, to, v6, at);
    if (in.accept("-")) to.last = parse_one();
    if (in.good() && match::key_less(to.last, to.first))
      in.fail_at(at, "the first value of this range is above its last");
  }
  if (in.accept(":")) parse_nat_ports(in, to);
}
// `random,persistent`
inline void parse_nat_flags(match::detail::text_cursor& in, nat_target& to) noexcept {
  constexpr struct {
    const char* word;
    std::uint8_t flag;
  } all[] = {
      {"random", nat_flags::random}, {"fully-random", nat_flags::fully_random}, {"persistent", nat_flags::persistent}};
  bool more = true;
  for (bool first = true; more; first = false) {
    bool found = false;
    for (const auto& f : all) {
      if (found || !in.accept_words(f.word)) continue;
      to.flags = static_cast<std::uint8_t>(to.flags | f.flag);
      found = true;
    }
    if (!found && !first) return in.expected("random, fully-random or persistent");
    more = found && in.accept(",");
  }
}

}  // namespace runnel::detail

#endif
