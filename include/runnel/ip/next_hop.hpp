// SPDX-License-Identifier: MIT
// Next hops: where a route leads, and groups of them among which flows are spread (ECMP).
//
// A route holds a number. Those below 16384 are next hops, the others groups, which have 128 buckets each: the hash of
// a flow picks a bucket, and the bucket names a next hop. When a member goes, only its own buckets are given to others,
// so that the flows of the others stay where they are; when one comes, it takes no more than its share. (The kernel's
// resilient groups, Documentation/networking/nexthop-group-resilient.rst.)
#ifndef RUNNEL_IP_NEXT_HOP_HPP
#define RUNNEL_IP_NEXT_HOP_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t

#include <runnel/base/text.hpp>
#include <runnel/config.hpp>
#include <runnel/ip/fib.hpp>
#include <runnel/wire/address.hpp>
#include <runnel/wire/icmp.hpp>
#include <runnel/wire/icmpv6.hpp>

namespace runnel {

/// What becomes of a packet whose destination a route covers: the kernel's RTN_ types.
enum class route_type : std::uint8_t {
  unicast,      ///< it is forwarded
  local,        ///< it is for this host
  broadcast,    ///< it is for this host and others on the link
  blackhole,    ///< it is dropped without a word
  unreachable,  ///< its sender is told that there is no way
  prohibit,     ///< its sender is told that somebody does not want it to pass
  throw_,       ///< the search ends in this table and goes on with the next rule
};
/// As `ip route` writes it.
[[nodiscard]] constexpr const char* name(route_type t) noexcept {
  constexpr const char* names[] = {"unicast", "local", "broadcast", "blackhole", "unreachable", "prohibit", "throw"};
  const auto i = static_cast<std::size_t>(t);
  return i < sizeof names / sizeof *names ? names[i] : "?";
}
/// What the sender of a packet is told that no route of `t` lets pass, as the kernel does (net/ipv4/route.c,
/// net/ipv6/route.c): `unicast` stands for no route at all. @{
[[nodiscard]] constexpr icmp_kind icmp_for(route_type t) noexcept {
  if (t == route_type::prohibit) return icmp::unreachable::prohibited;
  return t == route_type::unreachable ? icmp::unreachable::host : icmp::unreachable::network;
}
[[nodiscard]] constexpr icmpv6_kind icmpv6_for(route_type t) noexcept {
  return t == route_type::prohibit ? icmpv6::unreachable::prohibited : icmpv6::unreachable::no_route;
}
/// @}

/// Where packets go. 24 bytes.
struct next_hop {
  /// The router that takes them; unspecified when the destination itself is on the link. An IPv4 address is here in its
  /// IPv4-mapped form (RFC 4291 §2.5.5.2).
  ipv6_address gateway{};
  /// The number of the interface to send by.
  std::uint16_t oif = 0;
  /// The largest packet that this way takes, in bytes; 0: that of the interface.
  std::uint16_t mtu = 0;
  /// What becomes of the packets.
  route_type type = route_type::unicast;

  /// By a router. @{
  [[nodiscard]] static constexpr next_hop via(ipv4_address gateway, std::uint16_t oif, std::uint16_t mtu = 0) noexcept {
    return {mapped(gateway), oif, mtu, route_type::unicast};
  }
  [[nodiscard]] static constexpr next_hop via(const ipv6_address& gateway, std::uint16_t oif,
                                              std::uint16_t mtu = 0) noexcept {
    return {gateway, oif, mtu, route_type::unicast};
  }
  /// @}
  /// To hosts on the link itself.
  [[nodiscard]] static constexpr next_hop on_link(std::uint16_t oif, std::uint16_t mtu = 0) noexcept {
    return {{}, oif, mtu, route_type::unicast};
  }
  /// Nowhere further: `local`, `broadcast`, `blackhole` and the like.
  [[nodiscard]] static constexpr next_hop of(route_type type, std::uint16_t oif = 0) noexcept {
    return {{}, oif, 0, type};
  }
  /// Whether there is a router in between.
  [[nodiscard]] constexpr bool has_gateway() const noexcept { return gateway != ipv6_address{}; }
  /// Whether that has an IPv4 address, and which.
  [[nodiscard]] constexpr bool has_ipv4_gateway() const noexcept { return is_mapped(gateway); }
  /// The router's IPv4 address, if it has one.
  [[nodiscard]] constexpr ipv4_address ipv4_gateway() const noexcept { return unmapped(gateway); }
  /// Equal when all their parts are.
  friend constexpr bool operator==(const next_hop&, const next_hop&) noexcept = default;
};

/// A member of a group: a next hop, and how many parts of the traffic it takes.
struct weighted_hop {
  /// Its number.
  next_hop_number hop = no_next_hop;
  /// 1 to 255; a member with twice the weight takes twice the flows, in 128ths of all: none takes less than one.
  std::uint8_t weight = 1;
  /// Equal when all their parts are.
  friend constexpr bool operator==(const weighted_hop&, const weighted_hop&) noexcept = default;
};

/// Next hops and groups in memory that the caller owns (`next_hop_table_of` has its own). One thread changes it. Others
/// may look up meanwhile what is held and stays so: all tables of a `snapshot` of routes may share their next hops,
/// where a former one is cleared when it is quiet, and no group changes that is in use. Never allocates.
class next_hop_table {
 public:
  /// How many next hops, and how many groups, a table has at most.
  static constexpr std::size_t most = 16383;
  /// How many members a group has at most.
  static constexpr std::size_t most_members = 16;
  /// How many buckets a group has.
  static constexpr std::size_t buckets = 128;
  /// One place for a next hop: 28 bytes and what alignment adds.
  struct slot {
    /// What lies there.
    next_hop hop{};
    /// How many routes and groups hold it; 0: the place is free.
    std::uint32_t users = 0;
  };
  /// One place for a group: 328 bytes.
  struct group {
    /// Which next hop each bucket leads to.
    next_hop_number bucket[buckets]{};
    /// Who is in it.
    weighted_hop member[most_members]{};
    /// How many; 0: the place is free, or nobody is left.
    std::uint16_t members = 0;
    /// Whether the place is taken.
    bool used = false;
    /// How many routes hold it.
    std::uint32_t users = 0;
  };

  /// An empty table in slots that must outlive it; those beyond `most` stay unused.
  constexpr next_hop_table(slot* hops, std::size_t n, group* groups, std::size_t m) noexcept
      : hops_(hops), groups_(groups), n_(n < most ? n : most), m_(m < most ? m : most) {}
  next_hop_table(const next_hop_table&) = delete;
  next_hop_table& operator=(const next_hop_table&) = delete;

  /// The number of a next hop: that of an equal one which is there, else a new one. `no_next_hop` when the table is
  /// full. Each call is to be undone by a `release`. O(n).
  [[nodiscard]] constexpr next_hop_number add(const next_hop& hop) noexcept {
    std::size_t free = n_;
    for (std::size_t i = 0; i < n_; ++i) {
      if (hops_[i].users == 0) free = free == n_ ? i : free;
      else if (hops_[i].hop == hop) return count(hops_[i].users, 1), static_cast<next_hop_number>(i);
    }
    if (free == n_) return no_next_hop;
    hops_[free] = {hop, 1};
    return static_cast<next_hop_number>(free);
  }
  /// The number of a new group of `n` members, 1 to `most_members` of different next hops which are there, with weights
  /// from 1 on. `no_next_hop` when that is not so, or when there is no place. To be undone by a `release`.
  [[nodiscard]] constexpr next_hop_number add_group(const weighted_hop* members, std::size_t n) noexcept {
    if (n == 0 || n > most_members) return no_next_hop;
    for (std::size_t i = 0; i < n; ++i)
      if (!is_good(members[i]) || holds(members, i, members[i].hop)) return no_next_hop;
    for (std::size_t i = 0; i < m_; ++i) {
      group& g = groups_[i];
      if (g.used) continue;
      g = group{};
      g.used = true;
      g.users = 1;
      for (next_hop_number& b : g.bucket) b = no_next_hop;
      for (std::size_t k = 0; k < n; ++k) {
        g.member[k] = members[k];
        count(hops_[members[k].hop].users, 1);
      }
      g.members = static_cast<std::uint16_t>(n);
      rebalance(g, true);
      return static_cast<next_hop_number>(first_group + i);
    }
    return no_next_hop;
  }
  /// Adds a member to a group, or gives one another weight: it takes what its share lacks from those that have most
  /// above theirs. False when the group is full, or when either is not there.
  [[nodiscard]] constexpr bool join(next_hop_number group_number, weighted_hop w) noexcept {
    if (!is_group(group_number) || !is_good(w)) return false;
    group& g = group_of(group_number);
    std::size_t i = 0;
    while (i < g.members && g.member[i].hop != w.hop) ++i;
    if (i == most_members) return false;
    if (i == g.members) {
      ++g.members;
      count(hops_[w.hop].users, 1);
    }
    g.member[i] = w;
    rebalance(g, true);
    return true;
  }
  /// Takes a member out of a group: its flows go to the others, and no other flow moves. False when it is not in there.
  /// A group without members leads nowhere: its packets have no route.
  constexpr bool leave(next_hop_number group_number, next_hop_number hop) noexcept {
    if (!is_group(group_number)) return false;
    group& g = group_of(group_number);
    for (std::size_t i = 0; i < g.members; ++i) {
      if (g.member[i].hop != hop) continue;
      g.member[i] = g.member[--g.members];
      for (next_hop_number& b : g.bucket)
        if (b == hop) b = no_next_hop;
      rebalance(g, false);
      count(hops_[hop].users, -1);
      return true;
    }
    return false;
  }
  /// Another user of what has this number: `release` undoes it.
  constexpr void hold(next_hop_number number) noexcept { count(users_of(number), 1); }
  /// One user less: the place is free when that was the last. The members of a group are released with it.
  constexpr void release(next_hop_number number) noexcept {
    std::uint32_t& users = users_of(number);
    RUNNEL_ASSERT(users != 0);
    if (count(users, -1) != 0 || !is_group(number)) return;
    group& g = group_of(number);
    for (std::size_t i = 0; i < g.members; ++i) count(hops_[g.member[i].hop].users, -1);
    g.used = false;
  }

  /// Whether a number is that of a group.
  [[nodiscard]] constexpr bool is_group(next_hop_number n) const noexcept {
    return n >= first_group && std::size_t{n} - first_group < m_ && group_of(n).used;
  }
  /// Whether a number is that of a next hop.
  [[nodiscard]] constexpr bool is_hop(next_hop_number n) const noexcept {
    if (n >= n_) return false;
    if (__builtin_is_constant_evaluated()) return hops_[n].users != 0;
    return __atomic_load_n(&hops_[n].users, __ATOMIC_RELAXED) != 0;
  }
  /// The next hop of this number, which is there (asserted).
  [[nodiscard]] constexpr const next_hop& operator[](next_hop_number n) const noexcept {
    RUNNEL_ASSERT(is_hop(n));
    return hops_[n].hop;
  }
  /// The group of this number, which is there (asserted).
  [[nodiscard]] constexpr const group& group_at(next_hop_number n) const noexcept {
    RUNNEL_ASSERT(is_group(n));
    return group_of(n);
  }
  /// The next hop for a flow: of a group the one whose bucket the hash picks, else the number itself. `hash()` is
  /// called for groups only.
  template <class Hash>
  [[nodiscard]] RUNNEL_INLINE constexpr next_hop_number choose(next_hop_number n, Hash&& hash) const noexcept {
    if (n < first_group || n == no_next_hop) [[likely]]
      return n;
    return group_of(n).bucket[hash() % buckets];
  }

 private:
  static constexpr next_hop_number first_group = 16384;

  [[nodiscard]] constexpr group& group_of(next_hop_number n) const noexcept { return groups_[n - first_group]; }
  [[nodiscard]] constexpr std::uint32_t& users_of(next_hop_number n) noexcept {
    RUNNEL_ASSERT(is_hop(n) || is_group(n));
    return n < first_group ? hops_[n].users : group_of(n).users;
  }
  [[nodiscard]] constexpr bool is_good(weighted_hop w) const noexcept { return w.weight != 0 && is_hop(w.hop); }
  static constexpr bool holds(const weighted_hop* members, std::size_t n, next_hop_number hop) noexcept {
    for (std::size_t i = 0; i < n; ++i)
      if (members[i].hop == hop) return true;
    return false;
  }
  // Another thread may ask meanwhile whether there are any.
  static constexpr std::uint32_t count(std::uint32_t& users, int by) noexcept {
    const std::uint32_t n = users + static_cast<std::uint32_t>(by);
    if (__builtin_is_constant_evaluated()) users = n;
    else __atomic_store_n(&users, n, __ATOMIC_RELAXED);
    return n;
  }
  // Gives buckets without a next hop to the members that lack most, then, if asked to, moves buckets of those that have
  // too many until each has its share.
  static constexpr void rebalance(group& g, bool move) noexcept {
    if (g.members == 0) return;
    int lacks[most_members]{};
    lack(g, lacks);
    const auto most_lacking = [&] {
      std::size_t best = 0;
      for (std::size_t i = 1; i < g.members; ++i)
        if (lacks[i] > lacks[best]) best = i;
      return best;
    };
    for (next_hop_number& b : g.bucket) {
      if (b != no_next_hop) continue;
      const std::size_t to = most_lacking();
      b = g.member[to].hop;
      --lacks[to];
    }
    for (next_hop_number& b : g.bucket) {
      if (!move) break;
      for (std::size_t i = 0; i < g.members; ++i) {
        if (g.member[i].hop != b || lacks[i] >= 0) continue;
        const std::size_t to = most_lacking();
        b = g.member[to].hop;
        --lacks[to];
        ++lacks[i];
        break;
      }
    }
  }
  // How many buckets each member lacks to its share. Each has one, and the next one goes to whom the most weight is
  // left for: so no share grows when a member comes (Sainte-Laguë's way of giving out seats). Among equals who has
  // more.
  static constexpr void lack(const group& g, int (&lacks)[most_members]) noexcept {
    unsigned share[most_members]{}, has[most_members]{};
    for (std::size_t i = 0; i < g.members; ++i) {
      share[i] = 1;
      for (const next_hop_number b : g.bucket) has[i] += b == g.member[i].hop ? 1u : 0u;
    }
    for (std::size_t left = buckets - g.members; left != 0; --left) {
      std::size_t best = 0;
      for (std::size_t i = 1; i < g.members; ++i) {
        const unsigned mine = g.member[i].weight * (2 * share[best] + 1),
                       its = g.member[best].weight * (2 * share[i] + 1);
        if (mine > its || (mine == its && has[i] > has[best])) best = i;
      }
      ++share[best];
    }
    for (std::size_t i = 0; i < g.members; ++i) lacks[i] = static_cast<int>(share[i]) - static_cast<int>(has[i]);
  }

  slot* hops_;
  group* groups_;
  std::size_t n_, m_;
};

/// The same with room of its own.
template <std::size_t Hops, std::size_t Groups = 1>
class next_hop_table_of : public next_hop_table {
 public:
  /// An empty table.
  constexpr next_hop_table_of() noexcept : next_hop_table(hop_slots_, Hops, group_slots_, Groups) {}

 private:
  slot hop_slots_[Hops]{};
  group group_slots_[Groups]{};
};

}  // namespace runnel

#endif
