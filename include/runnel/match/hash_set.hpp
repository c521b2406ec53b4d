// SPDX-License-Identifier: MIT
// A set of values that changes at run time, in memory of fixed size: addresses or numbers, found with one hash.
//
// Open addressing: a value lies in the slot that its hash names, or in the next free one behind it. Two thirds of the
// slots are used at most, so a search ends after few steps, mostly in the cache line where it began. Erasing moves the
// values behind back into the hole; there are no tombstones, and a set does not get slower with its age.
//
// The hash depends on a seed, so that others cannot choose addresses that meet in one slot: take it from a random
// source. It is no cryptographic hash; who can watch lookup times closely might still learn something of it.
#ifndef RUNNEL_MATCH_HASH_SET_HPP
#define RUNNEL_MATCH_HASH_SET_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint64_t

#include <runnel/base/hash.hpp>
#include <runnel/base/prefetch.hpp>
#include <runnel/config.hpp>
#include <runnel/match/value.hpp>
#include <runnel/wire/address.hpp>

namespace runnel {
namespace match::detail {

[[nodiscard]] constexpr std::uint64_t hash_key(std::uint64_t k, std::uint64_t seed) noexcept { return mix(k ^ seed); }
[[nodiscard]] constexpr std::uint64_t hash_key(const ipv6_address& k, std::uint64_t seed) noexcept {
  return mix(k.low() + mix(k.high() ^ seed));
}
template <class Key>
  requires requires(const Key& k) { to_key(k); }
[[nodiscard]] constexpr std::uint64_t hash_value(const Key& k, std::uint64_t seed) noexcept {
  return hash_key(to_key(k), seed);
}
template <class Address>
[[nodiscard]] constexpr std::uint64_t hash_value(const basic_prefix<Address>& p, std::uint64_t seed) noexcept {
  return hash_key(to_key(p.address()), seed + p.length() * std::uint64_t{0x9e37'79b9'7f4a'7c15});
}

}  // namespace match::detail

/// A set in slots that the caller owns (`hash_set_of` has its own). `Key` is an integer, an address, or a prefix. For
/// one thread, or for several that only ask. Never grows, never allocates.
///
///     static hash_set_of<ipv4_address, 10'000> blocklist{"blocklist", seed};
///     if (!blocklist.insert({192, 0, 2, 1})) ...             // it is full
///     constexpr auto policy = rules(when(ip::saddr.in(blocklist)) >> drop);
template <class Key>
class hash_set {
 public:
  /// The type of its values.
  using value_type = Key;
  /// One place in the memory of a set: 8 bytes for an IPv4 address, 24 for an IPv6 address.
  struct slot {
    /// The value.
    Key key{};
    /// Whether there is one.
    bool used = false;
  };

  /// How many slots hold `n` values: a power of two, one and a half times as many as values at least, three times at
  /// most.
  [[nodiscard]] static constexpr std::size_t slots_for(std::size_t n) noexcept {
    std::size_t slots = 2;
    while (slots - slots / 3 - 1 < n) slots *= 2;
    return slots;
  }
  /// An empty set in `slots` slots at `memory`, of which the largest power of two is used, at least 2; they must
  /// outlive it. `name` is shown when rules are printed, and must outlive it too.
  constexpr hash_set(const char* name, slot* memory, std::size_t slots, std::uint64_t seed) noexcept
      : slots_(memory), mask_(1), seed_(seed), name_(name) {
    RUNNEL_ASSERT(slots >= 2);
    while (mask_ * 2 + 1 < slots) mask_ = mask_ * 2 + 1;
  }
  hash_set(const hash_set&) = delete;
  hash_set& operator=(const hash_set&) = delete;

  /// Whether a value is in the set.
  [[nodiscard]] constexpr bool contains(const Key& k) const noexcept { return slots_[find(k)].used; }
  /// Adds a value. True when it is in the set now, be it that it was before; false, and nothing changed, when the set
  /// is full.
  [[nodiscard]] constexpr bool insert(const Key& k) noexcept {
    const std::size_t i = find(k);
    if (slots_[i].used) return true;
    if (size_ == capacity()) return false;
    slots_[i] = {k, true};
    ++size_;
    return true;
  }
  /// Removes a value. False when it was not there.
  constexpr bool erase(const Key& k) noexcept {
    std::size_t hole = find(k);
    if (!slots_[hole].used) return false;
    for (std::size_t i = next(hole); slots_[i].used; i = next(i)) {
      // A value may move back to the hole unless its own slot lies behind the hole.
      if (((i - home(slots_[i].key)) & mask_) < ((i - hole) & mask_)) continue;
      slots_[hole] = slots_[i];
      hole = i;
    }
    slots_[hole].used = false;
    --size_;
    return true;
  }
  /// Removes all values.
  constexpr void clear() noexcept {
    for (std::size_t i = 0; i <= mask_; ++i) slots_[i].used = false;
    size_ = 0;
  }
  /// How many values it holds.
  [[nodiscard]] constexpr std::size_t size() const noexcept { return size_; }
  /// How many values it holds at most. One slot is always free, so that every search ends.
  [[nodiscard]] constexpr std::size_t capacity() const noexcept { return mask_ - (mask_ + 1) / 3; }
  /// What it is called in printed rules.
  [[nodiscard]] constexpr const char* name() const noexcept { return name_; }
  /// Calls `f(value)` for each value, in no order.
  template <class F>
  constexpr void for_each(F f) const {
    for (std::size_t i = 0; i <= mask_; ++i)
      if (slots_[i].used) f(slots_[i].key);
  }
  /// Asks for the memory where a value would be, for `contains` a little later.
  void prefetch(const Key& k) const noexcept { prefetch_to_read(slots_ + home(k)); }

 private:
  [[nodiscard]] constexpr std::size_t home(const Key& k) const noexcept {
    return static_cast<std::size_t>(match::detail::hash_value(k, seed_)) & mask_;
  }
  [[nodiscard]] constexpr std::size_t next(std::size_t i) const noexcept { return (i + 1) & mask_; }
  // The slot with the value, or the free one where it belongs.
  [[nodiscard]] constexpr std::size_t find(const Key& k) const noexcept {
    std::size_t i = home(k);
    while (slots_[i].used && !(slots_[i].key == k)) i = next(i);
    return i;
  }

  slot* slots_;
  std::size_t mask_;
  std::size_t size_ = 0;
  std::uint64_t seed_;
  const char* name_;
};

namespace detail {
template <class Slot, std::size_t N>
struct slot_storage {
  Slot slots[N]{};
};
}  // namespace detail

/// A set with room of its own for `Capacity` values.
template <class Key, std::size_t Capacity>
class hash_set_of : detail::slot_storage<typename hash_set<Key>::slot, hash_set<Key>::slots_for(Capacity)>,
                    public hash_set<Key> {
  static constexpr std::size_t slot_count = hash_set<Key>::slots_for(Capacity);
  using storage = detail::slot_storage<typename hash_set<Key>::slot, slot_count>;

 public:
  /// An empty set. `name` must outlive it.
  constexpr explicit hash_set_of(const char* name, std::uint64_t seed = 0) noexcept
      : hash_set<Key>(name, storage::slots, slot_count, seed) {}
};

}  // namespace runnel

#endif
