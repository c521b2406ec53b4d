// SPDX-License-Identifier: MIT
// What `field.in(...)` makes: membership in a range, a prefix, a set that is known to the compiler, or a set that
// changes at run time.
#ifndef RUNNEL_MATCH_IN_HPP
#define RUNNEL_MATCH_IN_HPP

#include <cstddef>      // size_t
#include <type_traits>  // remove_cvref_t, is_integral_v, is_lvalue_reference_v, is_same_v

#include <runnel/config.hpp>
#include <runnel/match/constant_set.hpp>
#include <runnel/match/expression.hpp>
#include <runnel/match/load.hpp>
#include <runnel/match/subject.hpp>
#include <runnel/match/value.hpp>
#include <runnel/wire/address.hpp>

namespace runnel::match {

/// A set that can stand in `.in(...)`: it says whether it contains a value. Its `name()`, if it has one, is what
/// printing shows: `@blocklist`.
template <class Set, class Value>
concept set_of_values = requires(const Set& s, const Value& v) {
  { s.contains(v) } noexcept;
};

/// `tcp::dport.in(range(1024, 65535))`. `Inside` is false for `not_in`, here and below.
template <class Operand, bool Inside>
struct in_range : expression_operators {
  /// What the library knows it by.
  static constexpr bool is_match_expression = true;
  /// Whether the value must be in it, or must not be.
  static constexpr bool inside = Inside;
  /// What the library knows it by.
  using operand_type = Operand;
  /// What its values are compared as.
  using key = key_t<typename Operand::value_type>;

  /// Use `in` and `not_in` of the field.
  constexpr in_range(const Operand& o, const key& a, const key& b) noexcept : left(o), first(a), last(b) {}
  /// Whether it holds for a packet.
  [[nodiscard]] RUNNEL_INLINE constexpr bool operator()(const subject& s) const noexcept {
    key k{};
    return load(s, left, k) && (!key_less(k, first) && !key_less(last, k)) == Inside;
  }

  /// What is compared, and with what. @{
  [[no_unique_address]] Operand left;
  key first;
  key last;
  /// @}
};

/// `ip::saddr.in(net("10.0.0.0/8"))`.
template <class Operand, bool Inside>
struct in_prefix : expression_operators {
  /// What the library knows it by.
  static constexpr bool is_match_expression = true;
  /// Whether the value must be in it, or must not be.
  static constexpr bool inside = Inside;
  /// What the library knows it by.
  using operand_type = Operand;
  /// What its values are compared as.
  using key = key_t<typename Operand::value_type>;

  /// Use `in` and `not_in` of the field.
  constexpr in_prefix(const Operand& o, const key& a, unsigned n) noexcept
      : left(o), address(a), mask(prefix_mask<key, Operand::bits>(n)), length(n) {}
  /// Whether it holds for a packet.
  [[nodiscard]] RUNNEL_INLINE constexpr bool operator()(const subject& s) const noexcept {
    key k{};
    return load(s, left, k) && (key_and(k, mask) == address) == Inside;
  }

  /// What is compared, and with what. @{
  [[no_unique_address]] Operand left;
  key address;  // its bits behind `length` are zero
  key mask;
  unsigned length;
  /// @}
};

/// `tcp::dport.in(constant_set{22, 80, 443})`. Holds the set.
template <class Operand, class Value, std::size_t N, bool Inside>
struct in_constants : expression_operators {
  /// What the library knows it by.
  static constexpr bool is_match_expression = true;
  /// Whether the value must be in it, or must not be.
  static constexpr bool inside = Inside;
  /// What the library knows it by.
  using operand_type = Operand;
  /// What its values are compared as.
  using key = key_t<typename Operand::value_type>;

  /// Use `in` and `not_in` of the field.
  constexpr in_constants(const Operand& o, const constant_set<Value, N>& c) noexcept : left(o), set(c) {
    for (const key& k : set.keys()) (void)detail::key_for<Operand>(from_key<Value>(k));
  }
  /// Whether it holds for a packet.
  [[nodiscard]] RUNNEL_INLINE constexpr bool operator()(const subject& s) const noexcept {
    key k{};
    return load(s, left, k) && set.contains_key(k) == Inside;
  }

  /// What is compared, and with what. @{
  [[no_unique_address]] Operand left;
  constant_set<Value, N> set;
  /// @}
};

/// `ip::saddr.in(blocklist)`. Holds a pointer: the set must outlive it, and may change.
template <class Operand, class Set, bool Inside>
struct in_set : expression_operators {
  /// What the library knows it by.
  static constexpr bool is_match_expression = true;
  /// Whether the value must be in it, or must not be.
  static constexpr bool inside = Inside;
  /// What the library knows it by.
  using operand_type = Operand;
  /// The type of its values.
  using value = typename Operand::value_type;

  /// Use `in` and `not_in` of the field.
  constexpr in_set(const Operand& o, const Set& s) noexcept : left(o), set(&s) {}
  /// Whether it holds for a packet.
  [[nodiscard]] RUNNEL_INLINE constexpr bool operator()(const subject& s) const noexcept {
    key_t<value> k{};
    return load(s, left, k) && contains(k) == Inside;
  }

  /// What is compared, and with what. @{
  [[no_unique_address]] Operand left;
  const Set* set;
  /// @}

 private:
  // A number that the set's type cannot hold is not in it: it would become another one on the way there.
  template <class Stored>
  static constexpr bool is_narrower =
      std::is_integral_v<value> && std::is_integral_v<Stored> && sizeof(Stored) < sizeof(value);
  [[nodiscard]] RUNNEL_INLINE constexpr bool contains(const key_t<value>& k) const noexcept {
    if constexpr (requires { requires is_narrower<typename Set::value_type>; }) {
      const auto same = from_key<typename Set::value_type>(k);
      return to_key(same) == k && set->contains(same);
    } else {
      return set->contains(from_key<value>(k));
    }
  }
};

namespace detail {
template <class Operand>
inline constexpr bool is_range_or_constants = false;
template <class A, class B>
inline constexpr bool is_range_or_constants<range_of<A, B>> = true;
template <class V, std::size_t N>
inline constexpr bool is_range_or_constants<constant_set<V, N>> = true;

// As in value.hpp.
inline void this_prefix_is_of_the_other_address_family() noexcept {
  RUNNEL_ASSERT(false && "runnel: this prefix is of the other address family than the field");
}
[[gnu::error("runnel: this prefix is of the other address family than the field")]] void
constant_of_other_family() noexcept;
}  // namespace detail

/// What `in` and `not_in` of a field call.
template <bool Inside, match_operand Operand, class A, class B>
[[nodiscard]] RUNNEL_INLINE constexpr in_range<Operand, Inside> match_in(const Operand& o,
                                                                         const range_of<A, B>& r) noexcept {
  const auto first = detail::key_for<Operand>(r.first);
  const auto last = detail::key_for<Operand>(r.last);
  detail::check_order(first, last);
  return {o, first, last};
}
/// What `in` and `not_in` of a field call.
template <bool Inside, match_operand Operand, class Value, std::size_t N>
[[nodiscard]] RUNNEL_INLINE constexpr auto match_in(const Operand& o, const constant_set<Value, N>& c) noexcept {
  if constexpr (detail::check_type<Operand, Value>()) return in_constants<Operand, Value, N, Inside>{o, c};
  else return always{};
}
/// What `in` and `not_in` of a field call.
template <bool Inside, match_operand Operand, class What>
  requires(!detail::is_range_or_constants<std::remove_cvref_t<What>>)
[[nodiscard]] RUNNEL_INLINE constexpr auto match_in(const Operand& o, What&& what) noexcept {
  using type = std::remove_cvref_t<What>;
  using value = typename Operand::value_type;
  if constexpr (std::is_same_v<type, basic_prefix<value>>) {
    return in_prefix<Operand, Inside>{o, to_key(what.address()), what.length()};
  } else if constexpr (std::is_same_v<type, prefix> &&
                       (std::is_same_v<value, ipv4_address> || std::is_same_v<value, ipv6_address>)) {
    const bool same = std::is_same_v<value, ipv4_address> ? what.is_v4() : what.is_v6();
#if defined(__OPTIMIZE__) && !defined(__clang__)
    if (detail::optimiser_knows(same) && !same) detail::constant_of_other_family();
#endif
    if (same) {
      const basic_prefix<value>& p = what.template as<value>();
      return in_prefix<Operand, Inside>{o, to_key(p.address()), p.length()};
    }
    // Where assertions are off: no address is in it, as no address is 255.255.255.255 behind a mask of zeros.
    detail::this_prefix_is_of_the_other_address_family();
    return in_prefix<Operand, Inside>{o, prefix_mask<key_t<value>, Operand::bits>(Operand::bits), 0};
  } else if constexpr (set_of_values<type, value>) {
    static_assert(
        std::is_lvalue_reference_v<What>,
        "runnel: this set would be gone before the expression is used; give it a name that outlives the rules");
    return in_set<Operand, type, Inside>{o, what};
  } else {
    static_assert(
        set_of_values<type, value>,
        "runnel: .in(...) takes a set of values of the field's type, a prefix of its kind, range(first, last) or "
        "constant_set{...}");
    return always{};
  }
}
/// What `in` and `not_in` of a field call.
template <bool Inside, match_operand Operand, class... What>
  requires(sizeof...(What) != 1)
[[nodiscard]] constexpr always match_in(const Operand&, const What&...) noexcept {
  static_assert(sizeof...(What) == 1,
                "runnel: .in(...) takes one thing: write in(range(1024, 65535)) for a range and "
                "in(constant_set{22, 80, 443}) for a list");
  return {};
}

}  // namespace runnel::match

#endif
