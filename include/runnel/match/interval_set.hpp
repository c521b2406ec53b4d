// SPDX-License-Identifier: MIT
// A set of intervals of numbers or addresses, known to the compiler or changed at run time: port ranges, address pools.
#ifndef RUNNEL_MATCH_INTERVAL_SET_HPP
#define RUNNEL_MATCH_INTERVAL_SET_HPP

#include <cstddef>      // size_t
#include <cstdint>      // uint64_t
#include <type_traits>  // is_same_v, is_integral_v

#include <runnel/config.hpp>
#include <runnel/match/value.hpp>

namespace runnel {

/// At most `Capacity` intervals in rising order, none touching the next: what is inserted grows together with its
/// neighbours. A lookup is a search without branches, log2 of the intervals in steps; a change moves the intervals
/// behind. Takes 16 bytes an interval (32 for IPv6). For one thread, or for several that only ask.
///
///     static constexpr interval_set<std::uint16_t, 2> games{"games", range(3074, 3076), range(27000, 27100)};
///     when(udp::dport.in(games)) >> accept
template <class Value, std::size_t Capacity>
class interval_set {
 public:
  /// The type of its values, and what they are compared as. @{
  using value_type = Value;
  using key = match::key_t<Value>;
  /// @}

  /// `name` is shown when rules are printed, and must outlive the set. A range whose last value is below its first is
  /// an error in constant evaluation and an assertion at run time.
  template <class... First, class... Last>
  constexpr explicit interval_set(const char* name, const range_of<First, Last>&... ranges) noexcept : name_(name) {
    static_assert(sizeof...(ranges) <= Capacity, "runnel: more intervals than the set has room for");
    // There is room for all of them, so that is the only way to fail.
    ((insert(ranges) ? (void)0 : match::detail::the_first_value_of_this_range_is_above_its_last()), ...);
  }

  /// Whether a value is in one of the intervals.
  [[nodiscard]] constexpr bool contains(const Value& v) const noexcept {
    const key k = match::to_key(v);
    const std::size_t at = not_above(k);
    return at != 0 && !match::key_less(last_[at - 1], k);
  }
  /// Adds all values from `first` to `last`. True when they are in the set now; false, and nothing changed, when there
  /// is no room for one more interval, or `last` is below `first`.
  [[nodiscard]] constexpr bool insert(const Value& first, const Value& last) noexcept {
    key a = match::to_key(first), b = match::to_key(last);
    if (match::key_less(b, a)) return false;
    // Intervals [from, to) touch the new one.
    std::size_t from = 0;
    while (from < size_ && is_apart(last_[from], a)) ++from;
    std::size_t to = from;
    while (to < size_ && !is_apart(b, first_[to])) ++to;
    if (from == to && size_ == Capacity) return false;
    if (from != to) {
      if (match::key_less(first_[from], a)) a = first_[from];
      if (match::key_less(b, last_[to - 1])) b = last_[to - 1];
    }
    replace(from, to, 1);
    first_[from] = a;
    last_[from] = b;
    return true;
  }
  /// Removes all values from `first` to `last`, whether they were there or not. False, and nothing changed, when that
  /// would split an interval and there is no room for one more, or `last` is below `first`.
  [[nodiscard]] constexpr bool erase(const Value& first, const Value& last) noexcept {
    const key a = match::to_key(first), b = match::to_key(last);
    if (match::key_less(b, a)) return false;
    std::size_t from = 0;
    while (from < size_ && match::key_less(last_[from], a)) ++from;
    std::size_t to = from;
    while (to < size_ && !match::key_less(b, first_[to])) ++to;
    if (from == to) return true;
    const key begin = first_[from], end = last_[to - 1];
    const bool left = match::key_less(begin, a), right = match::key_less(b, end);
    const std::size_t kept = (left ? std::size_t{1} : 0) + (right ? std::size_t{1} : 0);
    if (size_ - (to - from) + kept > Capacity) return false;
    replace(from, to, kept);
    if (left) {
      first_[from] = begin;
      last_[from] = before(a);
      ++from;
    }
    if (right) {
      first_[from] = behind(b);
      last_[from] = end;
    }
    return true;
  }
  /// The same with a `range(first, last)`, whose ends must be values of the set's type.
  template <class First, class Last>
  [[nodiscard]] constexpr bool insert(const range_of<First, Last>& r) noexcept {
    return insert(value_of(r.first), value_of(r.last));
  }
  /// The same for what `range` returns.
  template <class First, class Last>
  [[nodiscard]] constexpr bool erase(const range_of<First, Last>& r) noexcept {
    return erase(value_of(r.first), value_of(r.last));
  }
  /// Removes all intervals.
  constexpr void clear() noexcept { size_ = 0; }
  /// How many intervals it holds.
  [[nodiscard]] constexpr std::size_t size() const noexcept { return size_; }
  /// How many intervals fit.
  [[nodiscard]] static constexpr std::size_t capacity() noexcept { return Capacity; }
  /// What it is called in printed rules.
  [[nodiscard]] constexpr const char* name() const noexcept { return name_; }
  /// Calls `f(first, last)` for each interval in rising order.
  template <class F>
  constexpr void for_each(F f) const {
    for (std::size_t i = 0; i < size_; ++i) f(match::from_key<Value>(first_[i]), match::from_key<Value>(last_[i]));
  }

 private:
  template <class V>
  static constexpr Value value_of(const V& v) noexcept {
    if constexpr (std::is_integral_v<Value>) {
      static_assert(std::is_integral_v<V>, "runnel: this set holds numbers");
      const Value same = static_cast<Value>(v);
      if (match::to_key(same) != match::to_key(v)) match::detail::this_value_does_not_fit_into_the_field();
      return same;
    } else {
      static_assert(std::is_same_v<V, Value>, "runnel: this set holds addresses of another kind");
      return v;
    }
  }
  // How many intervals begin at or below `k`.
  [[nodiscard]] constexpr std::size_t not_above(const key& k) const noexcept {
    std::size_t at = 0;
    for (std::size_t step = top_bit(); step != 0; step /= 2)
      if (at + step <= size_ && !match::key_less(k, first_[at + step - 1])) at += step;
    return at;
  }
  static constexpr std::size_t top_bit() noexcept {
    std::size_t b = 1;
    while (b * 2 <= Capacity) b *= 2;
    return b;
  }
  static constexpr std::uint64_t behind(std::uint64_t k) noexcept { return k + 1; }
  static constexpr std::uint64_t before(std::uint64_t k) noexcept { return k - 1; }
  static constexpr ipv6_address behind(const ipv6_address& k) noexcept {
    return {k.high() + (k.low() == ~std::uint64_t{0} ? 1u : 0u), k.low() + 1};
  }
  static constexpr ipv6_address before(const ipv6_address& k) noexcept {
    return {k.high() - (k.low() == 0 ? 1u : 0u), k.low() - 1};
  }
  // Whether at least one value lies between `a` and `b`.
  static constexpr bool is_apart(const key& a, const key& b) noexcept {
    return match::key_less(a, b) && !(behind(a) == b);
  }
  // Makes room for `n` intervals in the place of those in [from, to). Rare, and not inlined: GCC 12 cannot see there
  // that `to` is at most `size_`, and warns.
  [[gnu::noinline]] constexpr void replace(std::size_t from, std::size_t to, std::size_t n) noexcept {
    const std::size_t new_end = from + n, tail = size_ - to;
    if (new_end < to) {
      for (std::size_t i = 0; i < tail; ++i) move(to + i, new_end + i);
    } else if (new_end > to) {
      for (std::size_t i = tail; i-- != 0;) move(to + i, new_end + i);
    }
    size_ = new_end + tail;
  }
  constexpr void move(std::size_t from, std::size_t to) noexcept {
    first_[to] = first_[from];
    last_[to] = last_[from];
  }

  key first_[Capacity]{};
  key last_[Capacity]{};
  std::size_t size_ = 0;
  const char* name_;
};

}  // namespace runnel

#endif
