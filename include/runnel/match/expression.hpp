// SPDX-License-Identifier: MIT
// Match expressions: comparisons of fields, joined with && || !, as ordinary values. Each is a tree of the types
// below, which is evaluated inline, printed as nft syntax, and can be walked by whoever translates it.
//
//     tcp::dport == 22 && ip::saddr.in(net("10.0.0.0/8"))
//     (tcp::flags & (tcp_flags::syn | tcp_flags::ack)) == tcp_flags::syn
//     has<udp> && !(meta::mark == 7)
//     tcp::option::maxseg::size > 1400 || has<ip::option::rr> || vxlan::inner(ip::saddr) == ipv4_address{10, 0, 0, 1}
//
// A comparison with a field of a header that the packet does not have is false, `!=` too: as in nft, where the
// comparison implies the header. `!(...)` is plain negation: `!(tcp::dport == 22)` holds for every UDP packet.
#ifndef RUNNEL_MATCH_EXPRESSION_HPP
#define RUNNEL_MATCH_EXPRESSION_HPP

#include <cstdint>  // uint8_t, uint16_t

#include <runnel/config.hpp>
#include <runnel/match/load.hpp>
#include <runnel/match/locate.hpp>
#include <runnel/match/subject.hpp>
#include <runnel/match/value.hpp>
#include <runnel/wire/field.hpp>

namespace runnel {
namespace match {

/// A condition on a packet. A type of your own is one when it says `static constexpr bool is_match_expression = true`,
/// has `bool operator()(const subject&) const noexcept`, and derives from `match::expression_operators`.
template <class T>
concept match_expression = requires { requires T::is_match_expression; };

/// Base that makes && || ! found.
struct expression_operators {};

/// How two values are compared.
enum class relation : std::uint8_t { equal, not_equal, less, less_equal, greater, greater_equal };

/// The relation that holds when `r` does not.
[[nodiscard]] constexpr relation opposite(relation r) noexcept {
  switch (r) {
    case relation::equal: return relation::not_equal;
    case relation::not_equal: return relation::equal;
    case relation::less: return relation::greater_equal;
    case relation::less_equal: return relation::greater;
    case relation::greater: return relation::less_equal;
    case relation::greater_equal: break;
  }
  return relation::less;
}

/// `tcp::dport == 22`.
template <class Operand, relation Relation>
struct comparison : expression_operators {
  /// What the library knows it by. @{
  static constexpr bool is_match_expression = true;
  using operand_type = Operand;
  /// @}
  /// What its values are compared as.
  using key = key_t<typename Operand::value_type>;
  /// How both sides are compared.
  static constexpr relation how = Relation;

  /// Use the operators of this namespace.
  constexpr comparison(const Operand& o, const key& k) noexcept : left(o), right(k) {}
  /// Whether it holds for a packet.
  [[nodiscard]] RUNNEL_INLINE constexpr bool operator()(const subject& s) const noexcept {
    key k{};
    if (!load(s, left, k)) return false;
    if constexpr (Relation == relation::equal) return k == right;
    else if constexpr (Relation == relation::not_equal) return !(k == right);
    else if constexpr (Relation == relation::less) return key_less(k, right);
    else if constexpr (Relation == relation::less_equal) return !key_less(right, k);
    else if constexpr (Relation == relation::greater) return key_less(right, k);
    else return !key_less(k, right);
  }

  /// What is compared, and with what. @{
  [[no_unique_address]] Operand left;
  key right;
  /// @}
};

/// `tcp::flags & mask`: an operand again.
template <class Operand>
struct masked : operand<masked<Operand>> {
  /// What the library knows it by.
  using operand_type = Operand;
  /// The type of its values, and what they are compared as. @{
  using value_type = typename Operand::value_type;
  using key = key_t<value_type>;
  /// @}
  /// How many bits the value has.
  static constexpr unsigned bits = Operand::bits;

  /// Use the operators of this namespace.
  constexpr masked(const Operand& o, const key& k) noexcept : whole(o), mask(k) {}
  /// Loads the masked value; false when the packet has none.
  [[nodiscard]] RUNNEL_INLINE constexpr bool load(const subject& s, key& to) const noexcept {
    key k{};
    if (!match::load(s, whole, k)) return false;
    to = key_and(k, mask);
    return true;
  }

  /// What is masked, and by what. @{
  [[no_unique_address]] Operand whole;
  key mask;
  /// @}
};

/// `has<tcp>`.
template <header Header>
struct has_header : expression_operators {
  /// What the library knows it by.
  static constexpr bool is_match_expression = true;
  /// Which header.
  static constexpr header in_header = Header;

  /// Whether it holds for a packet.
  [[nodiscard]] RUNNEL_INLINE constexpr bool operator()(const subject& s) const noexcept {
    return locate<Header, fixed_size(Header)>(s.headers) != nullptr;
  }
};

/// `left && right`.
template <class Left, class Right>
struct both : expression_operators {
  /// What the library knows it by.
  static constexpr bool is_match_expression = true;

  /// Use the operators of this namespace.
  constexpr both(const Left& l, const Right& r) noexcept : left(l), right(r) {}
  /// Whether it holds for a packet.
  [[nodiscard]] RUNNEL_INLINE constexpr bool operator()(const subject& s) const noexcept { return left(s) && right(s); }

  /// Its parts. @{
  Left left;
  Right right;
  /// @}
};

/// `left || right`.
template <class Left, class Right>
struct either : expression_operators {
  /// What the library knows it by.
  static constexpr bool is_match_expression = true;

  /// Use the operators of this namespace.
  constexpr either(const Left& l, const Right& r) noexcept : left(l), right(r) {}
  /// Whether it holds for a packet.
  [[nodiscard]] RUNNEL_INLINE constexpr bool operator()(const subject& s) const noexcept { return left(s) || right(s); }

  /// Its parts. @{
  Left left;
  Right right;
  /// @}
};

/// `!inner`.
template <class Inner>
struct negation : expression_operators {
  /// What the library knows it by.
  static constexpr bool is_match_expression = true;

  /// Use the operators of this namespace.
  constexpr explicit negation(const Inner& e) noexcept : inner(e) {}
  /// Whether it holds for a packet.
  [[nodiscard]] RUNNEL_INLINE constexpr bool operator()(const subject& s) const noexcept { return !inner(s); }

  /// What is negated.
  Inner inner;
};

/// What matches every packet: the condition of `otherwise`.
struct always : expression_operators {
  /// What the library knows it by.
  static constexpr bool is_match_expression = true;
  /// Holds for every packet.
  [[nodiscard]] RUNNEL_INLINE constexpr bool operator()(const subject&) const noexcept { return true; }
};

/// Compares a value of the packet with a constant. A packet without the header meets no comparison. A number that the
/// field cannot hold is an error in a `constexpr` rule, and in others where GCC, optimising, sees that it is one.
/// Of run time it is an assertion; where those are off, no packet's value is equal to it. @{
template <match_operand L, class R>
[[nodiscard]] RUNNEL_INLINE constexpr comparison<L, relation::equal> operator==(const L& l, const R& r) noexcept {
  return {l, detail::key_for<L>(r)};
}
template <match_operand L, class R>
[[nodiscard]] RUNNEL_INLINE constexpr comparison<L, relation::not_equal> operator!=(const L& l, const R& r) noexcept {
  return {l, detail::key_for<L>(r)};
}
template <match_operand L, class R>
[[nodiscard]] RUNNEL_INLINE constexpr comparison<L, relation::less> operator<(const L& l, const R& r) noexcept {
  return {l, detail::key_for<L>(r)};
}
template <match_operand L, class R>
[[nodiscard]] RUNNEL_INLINE constexpr comparison<L, relation::less_equal> operator<=(const L& l, const R& r) noexcept {
  return {l, detail::key_for<L>(r)};
}
template <match_operand L, class R>
[[nodiscard]] RUNNEL_INLINE constexpr comparison<L, relation::greater> operator>(const L& l, const R& r) noexcept {
  return {l, detail::key_for<L>(r)};
}
template <match_operand L, class R>
[[nodiscard]] RUNNEL_INLINE constexpr comparison<L, relation::greater_equal> operator>=(const L& l,
                                                                                        const R& r) noexcept {
  return {l, detail::key_for<L>(r)};
}
/// @}
/// The value under a mask: `(tcp::flags & tcp_flags::syn) == 0`.
template <match_operand L, class R>
[[nodiscard]] RUNNEL_INLINE constexpr masked<L> operator&(const L& l, const R& mask) noexcept {
  return {l, detail::key_for<L>(mask)};
}

/// Both, either, and not. @{
template <match_expression L, match_expression R>
[[nodiscard]] constexpr both<L, R> operator&&(const L& l, const R& r) noexcept {
  return {l, r};
}
template <match_expression L, match_expression R>
[[nodiscard]] constexpr either<L, R> operator||(const L& l, const R& r) noexcept {
  return {l, r};
}
template <match_expression E>
[[nodiscard]] constexpr negation<E> operator!(const E& e) noexcept {
  return negation<E>{e};
}
/// @}

}  // namespace match

/// Whether the packet has the header of view `V`, all of its fixed part: the packets for which a handler with such a
/// parameter runs. In a later fragment of a datagram there is no transport header; `meta::l4proto` still knows what
/// it belongs to. Options and extension headers are asked for alike: `has<tcp::option::sack_perm>`.
template <class V>
  requires requires { V::in_header; }
inline constexpr match::has_header<V::in_header> has{};

/// The fields that TCP and UDP share: `th::dport == 53` is about both.
struct th {
  /// What the library asks of a header view; see `header_view`.
  static constexpr header in_header = header::th;
  /// A field, for match expressions. @{
  static constexpr field<header::th, 0, 16, std::uint16_t> sport{"th sport"};
  static constexpr field<header::th, 16, 16, std::uint16_t> dport{"th dport"};
  /// @}
};

}  // namespace runnel

#endif
