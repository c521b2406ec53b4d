// SPDX-License-Identifier: MIT
// Routes in a sorted array: the smallest table there is, for microcontrollers and for tables of a few hundred routes.
//
// Routes are ordered by address, then by length: a route that lies inside another comes behind it. The last route that
// does not begin behind an address covers it, or lies inside the one that does: each route knows the next shorter one
// that it lies in, so a lookup is a binary search and a few steps up.
#ifndef RUNNEL_IP_SORTED_ROUTES_HPP
#define RUNNEL_IP_SORTED_ROUTES_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint16_t

#include <runnel/config.hpp>
#include <runnel/ip/fib.hpp>
#include <runnel/wire/address.hpp>

namespace runnel {

/// Routes of one family in slots that the caller owns (`sorted_routes_of` has its own), at most 65534. Never allocates.
/// For one thread, or for several that only ask.
template <class Address>
class sorted_routes {
 public:
  /// What it finds, and what routes cover. @{
  using address_type = Address;
  using prefix_type = basic_prefix<Address>;
  /// @}
  /// One place in its memory: 12 bytes for IPv4, 32 for IPv6.
  struct slot {
    /// What the route covers.
    prefix_type covered{};
    /// Where it leads.
    next_hop_number next_hop = no_next_hop;
    /// The place of the next shorter route that it lies in.
    std::uint16_t around = no_slot;
  };

  /// An empty table in `n` slots at `memory`, which must outlive it; slots beyond 65534 stay unused.
  constexpr sorted_routes(slot* memory, std::size_t n) noexcept
      : slots_(memory), capacity_(n < no_slot ? n : no_slot) {}
  sorted_routes(const sorted_routes&) = delete;
  sorted_routes& operator=(const sorted_routes&) = delete;

  /// Adds a route, or gives the one that is there another next hop, which is below `no_next_hop` (asserted). False, and
  /// nothing has changed, when the table is full. O(n).
  [[nodiscard]] constexpr bool insert(const prefix_type& p, next_hop_number next_hop) noexcept {
    RUNNEL_ASSERT(next_hop < no_next_hop);
    const std::size_t at = behind(p);
    if (at != 0 && slots_[at - 1].covered == p) {
      slots_[at - 1].next_hop = next_hop;
      return true;
    }
    if (size_ == capacity_) return false;
    const std::uint16_t around = at == 0 ? no_slot : covering(at - 1, p.address(), p.length());
    for (std::size_t i = size_; i != at; --i) slots_[i] = slots_[i - 1];
    ++size_;
    slots_[at] = {p, next_hop, around};
    for (std::size_t i = at + 1; i < size_; ++i) {
      std::uint16_t& up = slots_[i].around;
      if (up != no_slot && up >= at) ++up;
      if (up == around && p.contains(slots_[i].covered.address())) up = static_cast<std::uint16_t>(at);
    }
    return true;
  }
  /// Removes a route. False when the very route is not there. O(n).
  constexpr bool erase(const prefix_type& p) noexcept {
    const std::size_t after = behind(p);
    if (after == 0 || slots_[after - 1].covered != p) return false;
    const std::size_t at = after - 1;
    const std::uint16_t around = slots_[at].around;
    --size_;
    for (std::size_t i = at; i < size_; ++i) {
      slots_[i] = slots_[i + 1];
      std::uint16_t& up = slots_[i].around;
      if (up == at) up = around;
      else if (up != no_slot && up > at) --up;
    }
    return true;
  }
  /// The next hop of the very route; `no_next_hop` when it is not there.
  [[nodiscard]] constexpr next_hop_number find(const prefix_type& p) const noexcept {
    const std::size_t after = behind(p);
    return after != 0 && slots_[after - 1].covered == p ? slots_[after - 1].next_hop : no_next_hop;
  }
  /// The next hop of the longest route that covers the address. O(log n), and a step for each route on the way up to
  /// it.
  [[nodiscard]] constexpr next_hop_number lookup(const Address& a) const noexcept {
    const std::size_t after = behind(prefix_type{a, prefix_type::bits});
    if (after == 0) return no_next_hop;
    const std::uint16_t found = covering(after - 1, a, prefix_type::bits);
    return found == no_slot ? no_next_hop : slots_[found].next_hop;
  }
  /// The same for `n` addresses.
  constexpr void lookup(const Address* addresses, next_hop_number* answers, std::size_t n) const noexcept {
    for (std::size_t i = 0; i < n; ++i) answers[i] = lookup(addresses[i]);
  }
  /// How many routes it holds.
  [[nodiscard]] constexpr std::size_t size() const noexcept { return size_; }
  /// How many it can hold.
  [[nodiscard]] constexpr std::size_t capacity() const noexcept { return capacity_; }
  /// Removes all routes.
  constexpr void clear() noexcept { size_ = 0; }
  /// Calls `f(prefix, next hop)` for each route, by address, then by length.
  template <class F>
  constexpr void for_each(F f) const {
    for (std::size_t i = 0; i < size_; ++i) f(slots_[i].covered, slots_[i].next_hop);
  }

 private:
  static constexpr std::uint16_t no_slot = 0xffff;

  static constexpr bool is_less(ipv4_address a, ipv4_address b) noexcept { return a.value() < b.value(); }
  static constexpr bool is_less(const ipv6_address& a, const ipv6_address& b) noexcept {
    return a.high() != b.high() ? a.high() < b.high() : a.low() < b.low();
  }
  // The place behind all routes that come before `p`, and behind `p` itself.
  [[nodiscard]] constexpr std::size_t behind(const prefix_type& p) const noexcept {
    std::size_t from = 0, to = size_;
    while (from != to) {
      const std::size_t middle = from + (to - from) / 2;
      const prefix_type& other = slots_[middle].covered;
      const bool later =
          is_less(p.address(), other.address()) || (p.address() == other.address() && p.length() < other.length());
      if (later) to = middle;
      else from = middle + 1;
    }
    return from;
  }
  // The route at `i`, or the nearest around it, that covers the address and is no longer than `length`.
  [[nodiscard]] constexpr std::uint16_t covering(std::size_t i, const Address& a, unsigned length) const noexcept {
    auto at = static_cast<std::uint16_t>(i);
    while (at != no_slot && !(slots_[at].covered.length() <= length && slots_[at].covered.contains(a)))
      at = slots_[at].around;
    return at;
  }

  slot* slots_;
  std::size_t capacity_;
  std::size_t size_ = 0;
};

/// The same with room of its own for `Capacity` routes.
///
///     static sorted_routes_of<ipv4_address, 32> routes;
///     if (!routes.insert(net("192.0.2.0/24").as<ipv4_address>(), 1)) ...  // full
template <class Address, std::size_t Capacity>
class sorted_routes_of : public sorted_routes<Address> {
 public:
  /// An empty table.
  constexpr sorted_routes_of() noexcept : sorted_routes<Address>(memory_, Capacity) {}

 private:
  typename sorted_routes<Address>::slot memory_[Capacity]{};
};

}  // namespace runnel

#endif
