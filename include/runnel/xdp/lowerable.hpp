// SPDX-License-Identifier: MIT
// What an XDP program cannot do: known of an expression's type when it is compiled, of a condition when it is lowered.
#ifndef RUNNEL_XDP_LOWERABLE_HPP
#define RUNNEL_XDP_LOWERABLE_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint8_t

#include <runnel/match/condition.hpp>
#include <runnel/match/condition_node.hpp>
#include <runnel/match/expression.hpp>
#include <runnel/match/in.hpp>
#include <runnel/match/meta.hpp>
#include <runnel/wire/field.hpp>

namespace runnel::detail::ebpf {

/// Why something cannot be lowered.
enum class obstacle : std::uint8_t {
  none,
  options,
  llc,
  tunnel,
  time,
  connection,
  not_set_yet,
  interval_set,
  own_set,
  stolen
};

/// The same in words, and what to do.
struct obstacle_text {
  const char* why;
  const char* advice;
};
[[nodiscard]] constexpr obstacle_text text_of(obstacle o) noexcept {
  switch (o) {
    case obstacle::options:
      return {"an XDP program does not search options and extension headers", "ask for them in user space"};
    case obstacle::llc: return {"an XDP program does not look for LLC and SNAP headers", "ask for them in user space"};
    case obstacle::tunnel: return {"an XDP program does not look into tunnels", "ask for it in user space"};
    case obstacle::time:
      return {"the kernel's clock is not the one of the device", "leave meta time out of what runs in the kernel"};
    case obstacle::connection:
      return {"the XDP hook comes before connection tracking", "ask for it in user space, behind track()"};
    case obstacle::not_set_yet:
      return {"nobody has set this yet when a packet comes to the XDP hook", "ask for it in user space"};
    case obstacle::interval_set:
      return {"the kernel has no map of intervals", "use in(range(...)), a prefix_set or a hash_set"};
    case obstacle::own_set: return {"the kernel cannot ask a set of your own", "use a hash_set or a prefix_set"};
    case obstacle::stolen: return {"the kernel has no verdict like this", "use accept, drop, tx or redirect"};
    case obstacle::none: break;
  }
  return {"", ""};
}

[[nodiscard]] constexpr obstacle obstacle_in(header h) noexcept {
  switch (family_of(h)) {
    case header_family::ipv4_option:
    case header_family::tcp_option:
    case header_family::ipv6_extension:
    case header_family::nd_option:
    case header_family::gre_word: return obstacle::options;
    case header_family::icmp_message:
    case header_family::icmpv6_message:
    case header_family::single: break;
  }
  return h == header::llc || h == header::snap ? obstacle::llc : obstacle::none;
}
// Those whose value would be the same for every packet are a mistake for sure: rules with them would never hold, or
// always.
[[nodiscard]] constexpr obstacle obstacle_in(match::meta_key k) noexcept {
  switch (k) {
    case match::meta_key::time: return obstacle::time;
    case match::meta_key::ct_state:
    case match::meta_key::ct_direction:
    case match::meta_key::ct_mark:
    case match::meta_key::ct_status:
    case match::meta_key::ct_zone: return obstacle::connection;
    case match::meta_key::oif:
    case match::meta_key::mark:
    case match::meta_key::priority:
    case match::meta_key::hash: return obstacle::not_set_yet;
    case match::meta_key::length:
    case match::meta_key::iif:
    case match::meta_key::protocol:
    case match::meta_key::nfproto:
    case match::meta_key::l4proto:
    case match::meta_key::queue: break;
  }
  return obstacle::none;
}
[[nodiscard]] constexpr obstacle obstacle_in(match::set_kind k) noexcept {
  return k == match::set_kind::interval_set ? obstacle::interval_set
         : k == match::set_kind::other      ? obstacle::own_set
                                            : obstacle::none;
}
[[nodiscard]] constexpr obstacle obstacle_in(const match::condition_node& n) noexcept {
  if (n.kind == match::node_kind::has) return obstacle_in(n.operand.in_header);
  if (!n.has_operand()) return obstacle::none;
  if (n.operand.is_inner) return obstacle::tunnel;
  if (n.kind == match::node_kind::in_set && obstacle_in(n.set.functions->kind) != obstacle::none)
    return obstacle_in(n.set.functions->kind);
  return n.operand.is_meta ? obstacle_in(n.operand.which) : obstacle_in(n.operand.in_header);
}

// The same for types: `Part` is named by the compiler when it is what cannot be lowered.
template <class Part, obstacle Why>
constexpr bool check_part() noexcept {
  static_assert(Why != obstacle::options,
                "runnel: an XDP program does not search IPv4 and TCP options, IPv6 extension headers, neighbour "
                "discovery options and GRE's optional words: ask for this part in user space, in xdp(...)");
  static_assert(Why != obstacle::llc,
                "runnel: an XDP program does not look for LLC and SNAP headers: ask for this part in user space, in "
                "xdp(...)");
  static_assert(Why != obstacle::tunnel,
                "runnel: an XDP program does not look into tunnels: ask for this part in user space, in xdp(...)");
  static_assert(Why != obstacle::time,
                "runnel: meta::time is by the device's clock, which the kernel does not have: leave this part out of "
                "what runs in the kernel");
  static_assert(
      Why != obstacle::connection,
      "runnel: connections are known behind track() only, and the XDP hook comes before it: ask for this part "
      "in user space, behind track()");
  static_assert(
      Why != obstacle::not_set_yet,
      "runnel: nobody has set meta::mark, priority, hash and oif yet when a packet comes to the XDP hook: ask "
      "for this part in user space");
  static_assert(Why != obstacle::interval_set,
                "runnel: the kernel has no map for an interval_set: use in(range(first, last)), a prefix_set or a "
                "hash_set");
  static_assert(Why != obstacle::own_set,
                "runnel: the kernel cannot ask a set of your own: use a hash_set or a prefix_set");
  return Why == obstacle::none;
}

template <class Expression>
struct type_check {
  static constexpr bool good = true;  // `condition` says what is no expression of the library's
};
template <class Operand>
struct operand_check {
  static constexpr bool good = true;
};
template <header H, unsigned Offset, unsigned Bits, class V>
struct operand_check<field<H, Offset, Bits, V>> {
  static constexpr bool good = check_part<field<H, Offset, Bits, V>, obstacle_in(H)>();
};
template <match::meta_key Key, unsigned Bits, class V>
struct operand_check<match::meta_field<Key, Bits, V>> {
  static constexpr bool good = check_part<match::meta_field<Key, Bits, V>, obstacle_in(Key)>();
};
template <match::tunnel Around, class Field>
struct operand_check<match::inner_field<Around, Field>> {
  static constexpr bool good = check_part<match::inner_field<Around, Field>, obstacle::tunnel>();
};
template <class Operand>
struct operand_check<match::masked<Operand>> : operand_check<Operand> {};

template <class Operand, match::relation Relation>
struct type_check<match::comparison<Operand, Relation>> : operand_check<Operand> {};
template <class Operand, bool Inside>
struct type_check<match::in_range<Operand, Inside>> : operand_check<Operand> {};
template <class Operand, bool Inside>
struct type_check<match::in_prefix<Operand, Inside>> : operand_check<Operand> {};
template <class Operand, class V, std::size_t N, bool Inside>
struct type_check<match::in_constants<Operand, V, N, Inside>> : operand_check<Operand> {};
template <class Operand, class Set, bool Inside>
struct type_check<match::in_set<Operand, Set, Inside>> {
  static constexpr match::set_kind kind = match::detail::functions_of_set<Set, typename Operand::value_type>.kind;
  static constexpr bool good = operand_check<Operand>::good && check_part<Set, obstacle_in(kind)>();
};
template <header H>
struct type_check<match::has_header<H>> {
  static constexpr bool good = check_part<match::has_header<H>, obstacle_in(H)>();
};
template <class Inner>
struct type_check<match::negation<Inner>> : type_check<Inner> {};
template <class Left, class Right>
struct type_check<match::both<Left, Right>> {
  static constexpr bool good = type_check<Left>::good && type_check<Right>::good;
};
template <class Left, class Right>
struct type_check<match::either<Left, Right>> : type_check<match::both<Left, Right>> {};

}  // namespace runnel::detail::ebpf

#endif
