// SPDX-License-Identifier: MIT
// A set of address blocks that changes at run time, in memory of fixed size: blocklists, bogons, networks of one's own.
//
// One hash table holds all prefixes, each under its address and length. A lookup tries the lengths that are in use,
// the longest first: one probe each, independent of each other, so that the processor overlaps their misses. Real
// lists use a handful of lengths; a list with all of them costs 33 probes (IPv4) or 129 (IPv6).
#ifndef RUNNEL_MATCH_PREFIX_SET_HPP
#define RUNNEL_MATCH_PREFIX_SET_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint8_t, uint32_t, uint64_t

#include <runnel/config.hpp>
#include <runnel/match/hash_set.hpp>
#include <runnel/match/in.hpp>
#include <runnel/match/value.hpp>

namespace runnel {
namespace match::detail {

template <class Address>
struct block {
  Address address{};
  std::uint8_t length = 0;
  friend constexpr bool operator==(const block&, const block&) noexcept = default;
};
template <class Address>
[[nodiscard]] constexpr std::uint64_t hash_value(const block<Address>& b, std::uint64_t seed) noexcept {
  return hash_key(to_key(b.address), seed + b.length * 0x9e37'79b9'7f4a'7c15);
}

}  // namespace match::detail

/// Prefixes of one kind of address in slots that the caller owns (`prefix_set_of` has its own). For one thread, or for
/// several that only ask. Never grows, never allocates.
///
///     static prefix_set_of<ipv4_address, 1000> bogons{"bogons", seed};
///     bool there_was_room = bogons.insert({10, 0, 0, 0}, 8);
///     when(ip::saddr.in(bogons)) >> drop
template <class Address>
class prefix_set {
  using block = match::detail::block<Address>;
  using table = hash_set<block>;

 public:
  using value_type = Address;
  static constexpr unsigned bits = sizeof(Address) * 8;
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
        if (blocks_.contains(block_of(a, length))) return static_cast<int>(length);
      }
    return -1;
  }
  /// Adds a prefix; bits of `a` behind `length` do not count. True when it is in the set now, be it that it was before;
  /// false, and nothing changed, when the set is full or `length` is more than an address has.
  [[nodiscard]] constexpr bool insert(const Address& a, unsigned length) noexcept {
    if (length > bits) return false;
    const std::size_t before = blocks_.size();
    if (!blocks_.insert(block_of(a, length))) return false;
    if (blocks_.size() != before && count_[length]++ == 0) lengths_[length / 64] |= std::uint64_t{1} << length % 64;
    return true;
  }
  /// Removes a prefix, the very one. False when it was not there.
  constexpr bool erase(const Address& a, unsigned length) noexcept {
    if (length > bits || !blocks_.erase(block_of(a, length))) return false;
    if (--count_[length] == 0) lengths_[length / 64] &= ~(std::uint64_t{1} << length % 64);
    return true;
  }
  template <match::address_prefix Prefix>
  [[nodiscard]] constexpr bool insert(const Prefix& p) noexcept { return insert(Address{p.address()}, p.length()); }
  template <match::address_prefix Prefix>
  constexpr bool erase(const Prefix& p) noexcept { return erase(Address{p.address()}, p.length()); }
  constexpr void clear() noexcept {
    blocks_.clear();
    for (std::uint32_t& n : count_) n = 0;
    for (std::uint64_t& word : lengths_) word = 0;
  }
  [[nodiscard]] constexpr std::size_t size() const noexcept { return blocks_.size(); }
  [[nodiscard]] constexpr std::size_t capacity() const noexcept { return blocks_.capacity(); }
  [[nodiscard]] constexpr const char* name() const noexcept { return blocks_.name(); }
  /// Calls `f(address, length)` for each prefix, in no order.
  template <class F>
  constexpr void for_each(F f) const {
    blocks_.for_each([&](const block& b) { f(b.address, unsigned{b.length}); });
  }

 private:
  static constexpr unsigned words = bits / 64 + 1;
  [[nodiscard]] static constexpr block block_of(const Address& a, unsigned length) noexcept {
    using key = match::key_t<Address>;
    const key cut = match::key_and(match::to_key(a), match::prefix_mask<key, bits>(length));
    return {match::from_key<Address>(cut), static_cast<std::uint8_t>(length)};
  }

  table blocks_;
  std::uint64_t lengths_[words]{};       // bit n: there are prefixes of length n
  std::uint32_t count_[bits + 1]{};      // how many of each length
};

/// A prefix set with room of its own for `Capacity` prefixes.
template <class Address, std::size_t Capacity>
class prefix_set_of : detail::slot_storage<typename prefix_set<Address>::slot, prefix_set<Address>::slots_for(Capacity)>,
                      public prefix_set<Address> {
  static constexpr std::size_t slot_count = prefix_set<Address>::slots_for(Capacity);
  using storage = detail::slot_storage<typename prefix_set<Address>::slot, slot_count>;

 public:
  constexpr explicit prefix_set_of(const char* name, std::uint64_t seed = 0) noexcept
      : prefix_set<Address>(name, storage::slots, slot_count, seed) {}
};

}  // namespace runnel

#endif
