// SPDX-License-Identifier: MIT
// A table of routes: prefixes of one or both families, and where they lead. What `ip route` shows of one table.
#ifndef RUNNEL_IP_ROUTE_TABLE_HPP
#define RUNNEL_IP_ROUTE_TABLE_HPP

#include <concepts>     // same_as
#include <cstddef>      // size_t
#include <cstdint>      // uint16_t, uint32_t
#include <type_traits>  // remove_cvref_t

#include <runnel/base/text.hpp>
#include <runnel/ip/fib.hpp>
#include <runnel/ip/next_hop.hpp>
#include <runnel/wire/address.hpp>

namespace runnel {

/// What the search for a route may look at beside the destination.
template <class Address>
struct route_query {
  Address destination{};   ///< where the packet is going
  Address source{};        ///< where it says that it comes from
  std::uint32_t mark = 0;  ///< the packet's mark
  std::uint16_t iif = 0;   ///< the interface that it came by
};

namespace detail {
template <fib F>
struct table_of_family {
  F* of_family;
};
}  // namespace detail

/// Routes in tables for one or two families, which it refers to, with their next hops. Tables are changed through it
/// alone: it counts who uses which next hop.
///
///     static next_hop_table_of<16> hops;
///     static sorted_routes_of<ipv4_address, 32> v4;
///     static sorted_routes_of<ipv6_address, 32> v6;
///     route_table routes{hops, v4, v6};
///     if (!routes.insert(net("0.0.0.0/0"), next_hop::via(addr4("192.0.2.1"), wan))) ...  // full
template <fib... Fibs>
class route_table : detail::table_of_family<Fibs>... {
 public:
  /// Over tables that are empty, and next hops, all of which must outlive it.
  constexpr explicit route_table(next_hop_table& hops, Fibs&... tables) noexcept
      : detail::table_of_family<Fibs>{&tables}..., hops_(&hops) {}

  /// Adds a route, or gives the one that is there another next hop. False, and nothing has changed, when there is no
  /// room for the one or the other, or no table of this family.
  [[nodiscard]] constexpr bool insert(const prefix& p, const next_hop& hop) noexcept {
    const next_hop_number number = hops_->add(hop);
    if (number == no_next_hop) return false;
    const bool done = insert(p, number);
    hops_->release(number);
    return done;
  }
  /// The same for a next hop or a group by its number, which is there (asserted).
  [[nodiscard]] constexpr bool insert(const prefix& p, next_hop_number number) noexcept {
    RUNNEL_ASSERT(hops_->is_hop(number) || hops_->is_group(number));
    return with_table(p, false, [&](auto& table, const auto& own) {
      const next_hop_number before = table.find(own);
      if (!table.insert(own, number)) return false;
      hops_->hold(number);
      if (before != no_next_hop) hops_->release(before);
      return true;
    });
  }
  /// Removes a route. False when the very route is not there.
  constexpr bool erase(const prefix& p) noexcept {
    return with_table(p, false, [&](auto& table, const auto& own) {
      const next_hop_number before = table.find(own);
      if (before == no_next_hop) return false;
      table.erase(own);
      hops_->release(before);
      return true;
    });
  }
  /// Removes all routes. To be called before a table goes whose next hops stay: it does not do so by itself.
  constexpr void clear() noexcept {
    for_each([this](const prefix&, next_hop_number n) { hops_->release(n); });
    (table_for<Fibs>().clear(), ...);
  }
  /// The number of the next hop, or the group, of the very route; `no_next_hop` when it is not there.
  [[nodiscard]] constexpr next_hop_number find(const prefix& p) const noexcept {
    return with_table(p, no_next_hop, [](auto& table, const auto& own) { return table.find(own); });
  }
  /// The next hop, or the group, for a destination; `no_next_hop` without one.
  template <class Address>
  [[nodiscard]] RUNNEL_INLINE constexpr next_hop_number lookup(const Address& a) const noexcept {
    next_hop_number found = no_next_hop;
    (look_in<Fibs>(a, found), ...);
    return found;
  }
  /// The same: one table looks at nothing but the destination.
  template <class Address>
  [[nodiscard]] RUNNEL_INLINE constexpr next_hop_number lookup(const route_query<Address>& q) const noexcept {
    return lookup(q.destination);
  }
  /// Begins to load what the search for a destination will read.
  template <class Address>
  RUNNEL_INLINE constexpr void prefetch(const Address& a) const noexcept {
    (prefetch_in<Fibs>(a), ...);
  }
  /// How many routes there are.
  [[nodiscard]] constexpr std::size_t size() const noexcept {
    return (std::size_t{0} + ... + static_cast<std::size_t>(table_for<Fibs>().size()));
  }
  /// Its next hops.
  [[nodiscard]] constexpr next_hop_table& hops() const noexcept { return *hops_; }
  /// Calls `f(prefix, number of the next hop)` for each route, family by family.
  template <class F>
  constexpr void for_each(F f) const {
    (table_for<Fibs>().for_each([&f](const auto& p, next_hop_number n) { f(prefix{p}, n); }), ...);
  }

 private:
  template <class F>
  [[nodiscard]] constexpr F& table_for() const noexcept {
    return *static_cast<const detail::table_of_family<F>*>(this)->of_family;
  }
  template <class F, class Address>
  RUNNEL_INLINE constexpr void look_in(const Address& a, next_hop_number& found) const noexcept {
    if constexpr (std::same_as<typename F::address_type, Address>) found = table_for<F>().lookup(a);
  }
  template <class F, class Address>
  RUNNEL_INLINE constexpr void prefetch_in(const Address& a) const noexcept {
    if constexpr (std::same_as<typename F::address_type, Address> && requires(const F& f) { f.prefetch(a); })
      table_for<F>().prefetch(a);
  }
  // Calls `f(table, prefix)` with the table of the prefix's family, if there is one.
  template <class R, class F>
  constexpr R with_table(const prefix& p, R answer, F f) const noexcept {
    const auto one = [&](auto& table) {
      using address = typename std::remove_cvref_t<decltype(table)>::address_type;
      if (sizeof(address) == 4 ? p.is_v4() : p.is_v6()) answer = f(table, p.as<address>());
    };
    (one(table_for<Fibs>()), ...);
    return answer;
  }

  next_hop_table* hops_;
};

/// How interfaces are called, for printing.
using interface_name = const char* (*)(std::uint16_t);

namespace detail {
constexpr void print_interface(text_writer& out, std::uint16_t n, interface_name called) noexcept {
  if (called != nullptr) out << called(n);
  else out << "if" << std::uint32_t{n};
}
inline void print_hop(text_writer& out, const next_hop& h, interface_name called) noexcept {
  if (h.has_gateway()) {
    out << " via ";
    if (h.has_ipv4_gateway()) print(out, h.ipv4_gateway());
    else print(out, h.gateway);
  }
  if (h.oif != 0) print_interface(out << " dev ", h.oif, called);
}
}  // namespace detail

/// One route in the form of `ip route`, with a newline: `10.0.0.0/8 via 192.0.2.1 dev eth0 mtu 1400`, or
/// `blackhole 192.0.2.0/24`; the members of a group follow in lines of their own. Without names, interfaces are called
/// `if1`, `if2`, ...
inline void print_route(text_writer& out, const prefix& p, next_hop_number number, const next_hop_table& hops,
                        interface_name called = nullptr) noexcept {
  const bool group = hops.is_group(number);
  if (!group && hops[number].type != route_type::unicast) out << name(hops[number].type) << ' ';
  if (p.length() == 0) out << "default";
  else if (p.is_v4() && p.length() == 32) print(out, p.as<ipv4_address>().address());
  else if (p.is_v6() && p.length() == 128) print(out, p.as<ipv6_address>().address());
  else print(out, p);
  if (!group) {
    const next_hop& h = hops[number];
    detail::print_hop(out, h, called);
    if (p.is_v4() && !h.has_gateway() && h.oif != 0 && h.type == route_type::unicast) out << " scope link";
    if (h.mtu != 0) out << " mtu " << std::uint32_t{h.mtu};
    out << '\n';
    return;
  }
  const next_hop_table::group& g = hops.group_at(number);
  out << '\n';
  for (std::size_t i = 0; i < g.members; ++i) {
    out << "\tnexthop";
    detail::print_hop(out, hops[g.member[i].hop], called);
    out << " weight " << std::uint32_t{g.member[i].weight} << '\n';
  }
}
/// All routes of a table, in that form, in the table's order.
template <fib... Fibs>
void print(text_writer& out, const route_table<Fibs...>& routes, interface_name called = nullptr) noexcept {
  routes.for_each([&](const prefix& p, next_hop_number n) { print_route(out, p, n, routes.hops(), called); });
}

}  // namespace runnel

#endif
