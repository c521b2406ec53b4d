// SPDX-License-Identifier: MIT
// A set of address blocks that changes at run time, in memory of fixed size: blocklists, bogons, networks of one's own.
//
// One hash table holds all prefixes, each under its address and length. A lookup tries the lengths that are in use,
// the longest first: one probe each, independent of each other, so that the processor overlaps their misses. Real
// lists use a handful of lengths; a list with all of them costs 33 probes (IPv4) or 129 (IPv6).
#ifndef RUNNEL_MATCH_PREFIX_SET_HPP
#define RUNNEL_MATCH_PREFIX_SET_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint32_t, uint64_t

#include <runnel/config.hpp>
#include <runnel/match/hash_set.hpp>
#include <runnel/wire/address.hpp>

namespace runnel {

/// Prefixes of one kind of address in slots that the caller owns (`prefix_set_of` has its own). For one thread, or for
/// several that only ask. Never grows, never allocates.
///
///     static prefix_set_of<ipv4_address, 1000> bogons{"bogons", seed};
///     bool there_was_room = bogons.insert(net("10.0.0.0/8"));
///     when(ip::saddr.in(bogons)) >> drop
template <class Address>
class prefix_set {
  using table = hash_set<basic_prefix<Address>>;

 public:
  /// The type of its values. @{
  using value_type = Address;
  using prefix_type = basic_prefix<Address>;
  /// @}
  /// How many bits an address has.
  static constexpr unsigned bits = prefix_type::bits;
  /// One place in the memory of a set: 12 bytes for IPv4, 32 for IPv6.
  using slot = typename table::slot;

  /// How many slots hold `n` prefixes: one and a half to three times as many.
  [[nodiscard]] static constexpr std::size_t slots_for(std::size_t n) noexcept { return table::slots_for(n); }
  /// As for `hash_set`.
  constexpr prefix_set(const char* name, slot* memory, std::size_t slots, std::uint64_t seed) noexcept
      : blocks_(name, memory, slots, seed) {}

  /// Whether a prefix in the set covers the address.
  [[nodiscard]] constexpr bool contains(const Address& a) const noexcept { return longest(a) >= 0; }
  /// The length of the longest prefix that covers the address, -1 when none does.
  [[nodiscard]] constexpr int longest(const Address& a) const noexcept {
    for (unsigned w = words; w-- != 0;)
      for (std::uint64_t left = lengths_[w]; left != 0;) {
        const unsigned bit = 63 - static_cast<unsigned>(__builtin_clzll(left));
        left ^= std::uint64_t{1} << bit;
        const unsigned length = w * 64 + bit;
        if (blocks_.contains(prefix_type{a, length})) return static_cast<int>(length);
      }
    return -1;
  }
  /// Adds a prefix. True when it is in the set now, be it that it was before; false, and nothing changed, when the set
  /// is full.
  [[nodiscard]] constexpr bool insert(const prefix_type& p) noexcept {
    const std::size_t before = blocks_.size();
    if (!blocks_.insert(p)) return false;
    const unsigned length = p.length();
    if (blocks_.size() != before && count_[length]++ == 0) lengths_[length / 64] |= std::uint64_t{1} << length % 64;
    return true;
  }
  /// Removes a prefix, the very one. False when it was not there.
  constexpr bool erase(const prefix_type& p) noexcept {
    if (!blocks_.erase(p)) return false;
    const unsigned length = p.length();
    if (--count_[length] == 0) lengths_[length / 64] &= ~(std::uint64_t{1} << length % 64);
    return true;
  }
  /// The same for a prefix of either family: one of the other family is never there, and there is no room for it.
  [[nodiscard]] constexpr bool insert(const prefix& p) noexcept { return is_ours(p) && insert(p.as<Address>()); }
  /// The same for a prefix of either family: one of the other family is never there.
  constexpr bool erase(const prefix& p) noexcept { return is_ours(p) && erase(p.as<Address>()); }
  /// Removes all prefixes.
  constexpr void clear() noexcept {
    blocks_.clear();
    for (std::uint32_t& n : count_) n = 0;
    for (std::uint64_t& word : lengths_) word = 0;
  }
  /// How many prefixes it holds.
  [[nodiscard]] constexpr std::size_t size() const noexcept { return blocks_.size(); }
  /// How many it can hold.
  [[nodiscard]] constexpr std::size_t capacity() const noexcept { return blocks_.capacity(); }
  /// What it is called in printed rules.
  [[nodiscard]] constexpr const char* name() const noexcept { return blocks_.name(); }
  /// Calls `f(prefix)` for each, in no order.
  template <class F>
  constexpr void for_each(F f) const {
    blocks_.for_each(f);
  }

 private:
  static constexpr unsigned words = bits / 64 + 1;
  [[nodiscard]] static constexpr bool is_ours(const prefix& p) noexcept { return bits == 32 ? p.is_v4() : p.is_v6(); }

  table blocks_;
  std::uint64_t lengths_[words]{};   // bit n: there are prefixes of length n
  std::uint32_t count_[bits + 1]{};  // how many of each length
};

/// A prefix set with room of its own for `Capacity` prefixes.
template <class Address, std::size_t Capacity>
class prefix_set_of
    : detail::slot_storage<typename prefix_set<Address>::slot, prefix_set<Address>::slots_for(Capacity)>,
      public prefix_set<Address> {
  static constexpr std::size_t slot_count = prefix_set<Address>::slots_for(Capacity);
  using storage = detail::slot_storage<typename prefix_set<Address>::slot, slot_count>;

 public:
  /// An empty set. `name` must outlive it.
  constexpr explicit prefix_set_of(const char* name, std::uint64_t seed = 0) noexcept
      : prefix_set<Address>(name, storage::slots, slot_count, seed) {}
};

}  // namespace runnel

#endif
