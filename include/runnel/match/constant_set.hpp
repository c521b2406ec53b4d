// SPDX-License-Identifier: MIT
// A set whose values are written down in the program: `constant_set{22, 80, 443}`.
#ifndef RUNNEL_MATCH_CONSTANT_SET_HPP
#define RUNNEL_MATCH_CONSTANT_SET_HPP

#include <cstddef>      // size_t
#include <cstdint>      // uint64_t
#include <type_traits>  // common_type_t, is_same_v

#include <runnel/config.hpp>
#include <runnel/match/value.hpp>

namespace runnel {

/// `N` values, looked up in the way that suits them: one bit test when all lie within 64 of each other, compares
/// without branches up to 8, a search without branches in the sorted values beyond. Numbers, or addresses of one kind.
/// Takes 8 bytes each (16 for IPv6), and 8. When the rules are `constexpr` the choice costs nothing at run time.
template <class Value, std::size_t N>
class constant_set {
 public:
  /// The type of its values, and what they are compared as. @{
  using value_type = Value;
  using key = match::key_t<Value>;
  /// @}

  /// A set of these values; equal ones count once.
  template <class... More>
    requires(sizeof...(More) == N)
  constexpr explicit constant_set(More... values) noexcept : keys_{match::to_key(static_cast<Value>(values))...} {
    for (std::size_t i = 1; i < N; ++i)
      for (std::size_t k = i; k != 0 && match::key_less(keys_[k], keys_[k - 1]); --k) {
        const key between = keys_[k];
        keys_[k] = keys_[k - 1];
        keys_[k - 1] = between;
      }
    if constexpr (std::is_same_v<key, std::uint64_t>) {
      if (keys_[N - 1] - keys_[0] >= 64) return;
      for (const key k : keys_) bits_ |= std::uint64_t{1} << (k - keys_[0]);
    }
  }
  /// Whether a value is in it.
  [[nodiscard]] constexpr bool contains(const Value& v) const noexcept { return contains_key(match::to_key(v)); }
  /// The same for what values are compared as.
  [[nodiscard]] RUNNEL_INLINE constexpr bool contains_key(const key& k) const noexcept {
    if constexpr (std::is_same_v<key, std::uint64_t>) {
      if (bits_ != 0) {
        const std::uint64_t behind = k - keys_[0];
        return behind < 64 && (bits_ >> behind & 1u) != 0;
      }
    }
    if constexpr (N <= 8) return is_one_of(k);
    else return is_found(k);
  }
  /// The values as keys, in rising order. A value that was given twice is there twice.
  [[nodiscard]] constexpr const key (&keys() const noexcept)[N] { return keys_; }

 private:
  RUNNEL_INLINE constexpr bool is_one_of(const key& k) const noexcept {
    bool found = false;
    for (std::size_t i = 0; i < N; ++i) found |= k == keys_[i];
    return found;
  }
  // `at` becomes the number of values that are not above `k`.
  constexpr bool is_found(const key& k) const noexcept {
    std::size_t at = 0;
    for (std::size_t step = top_bit(); step != 0; step /= 2)
      if (at + step <= N && !match::key_less(k, keys_[at + step - 1])) at += step;
    return at != 0 && keys_[at - 1] == k;
  }
  static constexpr std::size_t top_bit() noexcept {
    std::size_t b = 1;
    while (b * 2 <= N) b *= 2;
    return b;
  }

  key keys_[N];
  std::uint64_t bits_ = 0;  // which of the 64 values from the lowest on; 0 when they do not fit
};
/// The type of the values is what all of them convert to.
template <class First, class... More>
constant_set(First, More...) -> constant_set<std::common_type_t<First, More...>, 1 + sizeof...(More)>;

}  // namespace runnel

#endif
