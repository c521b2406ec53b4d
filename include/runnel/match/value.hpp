// SPDX-License-Identifier: MIT
// Values in match expressions: each becomes a key, a number that fields are compared as; what can never be a value of
// the field is a compile error.
#ifndef RUNNEL_MATCH_VALUE_HPP
#define RUNNEL_MATCH_VALUE_HPP

#include <cstddef>      // byte, size_t
#include <cstdint>      // int64_t, uint64_t
#include <type_traits>  // is_same_v, is_integral_v, is_enum_v, is_convertible_v, conditional_t, is_constant_evaluated

#include <runnel/base/endian.hpp>
#include <runnel/base/time.hpp>
#include <runnel/config.hpp>
#include <runnel/wire/address.hpp>
#include <runnel/wire/field.hpp>

namespace runnel {

/// The numbers from `first` to `last`, both included, for `.in(...)`: ports, addresses, lengths.
template <class First, class Last>
struct range_of {
  /// The smallest value.
  First first;
  /// The largest value.
  Last last;
};
/// The values from `first` to `last`, both included. That `first` is above `last` is an error in a `constexpr` rule,
/// and in others where GCC sees it when it optimises; at run time it is an assertion, and no value is in it.
template <class First, class Last>
[[nodiscard]] constexpr range_of<First, Last> range(First first, Last last) noexcept {
  return {first, last};
}

/// What match expressions are made of; users name the fields of headers, `rules` and `when`.
namespace match {

/// Something that has a value in a packet, perhaps: a field, `meta::mark`, a masked field. A type of your own is one
/// when it derives from `match::operand` of itself, names its `value_type` and `bits`, and has
/// `bool load(const subject&, key_t<value_type>&) const noexcept`, false when the packet has no such value.
template <class T>
concept match_operand = requires {
  requires T::is_match_operand;
  typename T::value_type;
  T::bits;
};

/// What values are compared as: the number in host order, IPv6 addresses as they are.
template <class Value>
using key_t = std::conditional_t<std::is_same_v<Value, ipv6_address>, ipv6_address, std::uint64_t>;

/// What a value is compared as. @{
template <class Number>
  requires(std::is_integral_v<Number> || std::is_enum_v<Number>)
[[nodiscard]] constexpr std::uint64_t to_key(Number v) noexcept {
  return static_cast<std::uint64_t>(v);
}
[[nodiscard]] constexpr std::uint64_t to_key(ipv4_address v) noexcept { return v.value(); }
[[nodiscard]] constexpr std::uint64_t to_key(const mac_address& v) noexcept { return v.value(); }
[[nodiscard]] constexpr ipv6_address to_key(const ipv6_address& v) noexcept { return v; }
/// @}
/// In the order of time, also before the clock's origin.
[[nodiscard]] constexpr std::uint64_t to_key(instant v) noexcept {
  return static_cast<std::uint64_t>(v.ns) ^ std::uint64_t{1} << 63;
}

/// The value that is compared as `k`.
template <class Value>
[[nodiscard]] constexpr Value from_key(const key_t<Value>& k) noexcept {
  if constexpr (std::is_same_v<Value, ipv4_address>) {
    return ipv4_address{static_cast<std::uint32_t>(k)};
  } else if constexpr (std::is_same_v<Value, mac_address>) {
    mac_address a;
    for (std::size_t i = 0; i < 6; ++i) a.octets[i] = static_cast<std::uint8_t>(k >> (40 - 8 * i));
    return a;
  } else if constexpr (std::is_same_v<Value, ipv6_address>) {
    return k;
  } else if constexpr (std::is_same_v<Value, instant>) {
    return instant{static_cast<std::int64_t>(k ^ std::uint64_t{1} << 63)};
  } else {
    return static_cast<Value>(k);
  }
}

/// The order of what is compared. @{
[[nodiscard]] constexpr bool key_less(std::uint64_t a, std::uint64_t b) noexcept { return a < b; }
[[nodiscard]] constexpr bool key_less(const ipv6_address& a, const ipv6_address& b) noexcept {
  return a.high() != b.high() ? a.high() < b.high() : a.low() < b.low();
}
/// @}
/// The bits that are set in both. @{
[[nodiscard]] constexpr std::uint64_t key_and(std::uint64_t a, std::uint64_t b) noexcept { return a & b; }
[[nodiscard]] constexpr ipv6_address key_and(const ipv6_address& a, const ipv6_address& b) noexcept {
  return {a.high() & b.high(), a.low() & b.low()};
}
/// @}
/// The key with its highest `length` of `Bits` bits set: the mask of a prefix.
template <class Key, unsigned Bits>
[[nodiscard]] constexpr Key prefix_mask(unsigned length) noexcept {
  if constexpr (std::is_same_v<Key, ipv6_address>) {
    const std::uint64_t high = length >= 64 ? ~std::uint64_t{0} : ~(~std::uint64_t{0} >> length);
    const std::uint64_t low = length >= 128  ? ~std::uint64_t{0}
                              : length <= 64 ? 0
                                             : ~(~std::uint64_t{0} >> (length - 64));
    return {high, low};
  } else {
    const std::uint64_t all = ~std::uint64_t{0} >> (64 - Bits);
    return length == 0 ? 0 : all & ~(length >= Bits ? std::uint64_t{0} : all >> length);
  }
}

namespace detail {

// Not constexpr: in a constant expression the call is a compile error, with the name as its message; elsewhere it is an
// assertion.
inline void this_value_does_not_fit_into_the_field() noexcept {
  RUNNEL_ASSERT(false && "runnel: this value does not fit into the field");
}
inline void the_first_value_of_this_range_is_above_its_last() noexcept {
  RUNNEL_ASSERT(false && "runnel: the first value of this range is above its last");
}
// What GCC refuses when it optimises, where a rule is no constant expression and yet made of constants. Never defined.
[[gnu::error("runnel: this value does not fit into the field")]] void constant_does_not_fit() noexcept;
[[gnu::error("runnel: the first value of this range is above its last")]] void constants_upside_down() noexcept;

// Whether the optimiser sees a constant here, where everything around is inlined. Asked before a value is looked at:
// behind `if (wrong)` it may know what one of run time is. Not for code that is not optimised, where calls stay, nor
// with Clang, which asks after it has unrolled loops over tables whose entries may all be right when they are used.
[[nodiscard]] RUNNEL_INLINE constexpr bool optimiser_knows(std::uint64_t k) noexcept {
  return !std::is_constant_evaluated() && __builtin_constant_p(k);
}
[[nodiscard]] RUNNEL_INLINE constexpr bool optimiser_knows(const ipv6_address& k) noexcept {
  return optimiser_knows(k.high()) && optimiser_knows(k.low());
}

template <class Key>
RUNNEL_INLINE constexpr void check_fits(const Key& k, const Key& most) noexcept {
#if defined(__OPTIMIZE__) && !defined(__clang__)
  if (optimiser_knows(k) && key_less(most, k)) constant_does_not_fit();
#endif
  if (key_less(most, k)) this_value_does_not_fit_into_the_field();
}
template <class Key>
RUNNEL_INLINE constexpr void check_order(const Key& first, const Key& last) noexcept {
#if defined(__OPTIMIZE__) && !defined(__clang__)
  if (optimiser_knows(first) && optimiser_knows(last) && key_less(last, first)) constants_upside_down();
#endif
  if (key_less(last, first)) the_first_value_of_this_range_is_above_its_last();
}

template <class Operand, class V>
constexpr bool check_type() noexcept {
  using value = typename Operand::value_type;
  if constexpr (match_operand<V>) {
    static_assert(!match_operand<V>, "runnel: a field is compared with a value, not with another field");
    return false;
  } else if constexpr (std::is_same_v<value, ipv4_address>) {
    static_assert(std::is_same_v<V, ipv4_address>,
                  "runnel: this field is an IPv4 address; compare it with one: ip::saddr == ipv4_address{10, 0, 0, 1}; "
                  "for a prefix, ip::saddr.in(net(...))");
    return std::is_same_v<V, ipv4_address>;
  } else if constexpr (std::is_same_v<value, ipv6_address>) {
    static_assert(std::is_same_v<V, ipv6_address>,
                  "runnel: this field is an IPv6 address; compare it with an ipv6_address; for a prefix, "
                  "ip6::saddr.in(net(...))");
    return std::is_same_v<V, ipv6_address>;
  } else if constexpr (std::is_same_v<value, mac_address>) {
    static_assert(std::is_same_v<V, mac_address>,
                  "runnel: this field is a link-layer address; compare it with a mac_address");
    return std::is_same_v<V, mac_address>;
  } else if constexpr (std::is_same_v<value, instant>) {
    static_assert(std::is_same_v<V, instant>, "runnel: this field is a time; compare it with an instant");
    return std::is_same_v<V, instant>;
  } else if constexpr (std::is_enum_v<value>) {
    static_assert(std::is_same_v<V, value>,
                  "runnel: this field has an enumeration of its own; compare it with one of its values");
    return std::is_same_v<V, value>;
  } else {
    constexpr bool number =
        !std::is_same_v<V, bool> && (std::is_integral_v<V> || (std::is_enum_v<V> && std::is_convertible_v<V, value>));
    static_assert(number,
                  "runnel: this field is a number; compare it with an integer (with a mask, write the parentheses: "
                  "(tcp::flags & tcp_flags::syn) == tcp_flags::syn)");
    return number;
  }
}

// The value as a key of the operand. A number that the field cannot hold is an error in constant evaluation, and where
// the optimiser sees that it is a constant; else an assertion, and as numbers are compared in 64 bits, never equal.
template <class Operand, class V>
[[nodiscard]] RUNNEL_INLINE constexpr key_t<typename Operand::value_type> key_for(const V& v) noexcept {
  if constexpr (!check_type<Operand, V>()) {
    return {};
  } else if constexpr (std::is_same_v<key_t<typename Operand::value_type>, ipv6_address>) {
    return v;
  } else {
    const std::uint64_t k = to_key(v);
    check_fits(k, ~std::uint64_t{0} >> (64 - Operand::bits));
    return k;
  }
}

}  // namespace detail
}  // namespace match
}  // namespace runnel

#endif
