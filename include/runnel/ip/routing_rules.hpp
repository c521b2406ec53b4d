// SPDX-License-Identifier: MIT
// Several route tables and the rules that choose between them: what `ip rule` shows. (Policy routing, ip-rule(8).)
#ifndef RUNNEL_IP_ROUTING_RULES_HPP
#define RUNNEL_IP_ROUTING_RULES_HPP

#include <concepts>  // same_as
#include <cstddef>   // size_t
#include <cstdint>   // uint16_t, uint32_t

#include <runnel/base/text.hpp>
#include <runnel/ip/fib.hpp>
#include <runnel/ip/next_hop.hpp>
#include <runnel/ip/route.hpp>
#include <runnel/ip/route_table.hpp>
#include <runnel/wire/address.hpp>

namespace runnel {

/// Which packets a rule is about. What is not set does not matter; a rule with a prefix is for its family alone.
struct rule_selector {
  prefix from{};                ///< of the source address
  prefix to{};                  ///< of the destination
  std::uint32_t mark = 0;       ///< the packet's mark, in the bits of the mask
  std::uint32_t mark_mask = 0;  ///< 0: all bits when there is a mark, else any mark, as in `ip rule`
  std::uint16_t iif = 0;        ///< the interface that it came by; 0: any
  /// Whether it is about this packet.
  template <class Address>
  [[nodiscard]] constexpr bool matches(const route_query<Address>& q) const noexcept {
    const bool any_source = !from.is_v4() && !from.is_v6(), any_destination = !to.is_v4() && !to.is_v6();
    return ((q.mark ^ mark) & mask()) == 0 && (iif == 0 || iif == q.iif) && (any_source || from.contains(q.source)) &&
           (any_destination || to.contains(q.destination));
  }
  /// The bits of the mark that count.
  [[nodiscard]] constexpr std::uint32_t mask() const noexcept {
    return mark != 0 && mark_mask == 0 ? 0xffff'ffff : mark_mask;
  }
  /// Equal when all their parts are.
  friend constexpr bool operator==(const rule_selector&, const rule_selector&) noexcept = default;
};

/// Rules over route tables of type `Table`, which share their next hops, at most `Capacity` of them. The rule of the
/// lowest priority that is about the packet asks its table; where that has no route, or one of type `throw`, the next
/// one is asked. Of rules with equal priority the one that was added first. A search costs a comparison for each rule
/// and a lookup for each table that is asked. For one thread, or for several that only ask.
///
///     routing_rules<route_table<...>, 8> rules{hops};
///     rules.add(100, {.from = net("10.2.0.0/16")}, second_uplink, 100);   // from 10.2.0.0/16 lookup 100
///     rules.add(32766, {}, main_table, 254);
///     parse() | route(rules)...
template <routing_source Table, std::size_t Capacity>
class routing_rules {
 public:
  /// No rules: no packet has a route. `hops` are those of all tables, and must outlive it as they must.
  constexpr explicit routing_rules(next_hop_table& hops) noexcept : hops_(&hops) {}

  /// Adds a rule that asks a table, which has a number for printing. False, and nothing has changed, when there is no
  /// room. The table uses the same next hops (asserted).
  [[nodiscard]] constexpr bool add(std::uint32_t priority, const rule_selector& about, const Table& table,
                                   std::uint32_t table_number) noexcept {
    RUNNEL_ASSERT(&table.hops() == hops_);
    return put({priority, about, &table, table_number, no_next_hop});
  }
  /// Adds a rule that decides itself: `blackhole`, `unreachable` or `prohibit` (asserted). False, and nothing has
  /// changed, when there is no room for it, or for a next hop of this type.
  [[nodiscard]] constexpr bool add(std::uint32_t priority, const rule_selector& about, route_type action) noexcept {
    RUNNEL_ASSERT(action == route_type::blackhole || action == route_type::unreachable ||
                  action == route_type::prohibit);
    if (size_ == Capacity) return false;
    const next_hop_number number = hops_->add(next_hop::of(action));
    return number != no_next_hop && put({priority, about, nullptr, 0, number});
  }
  /// Removes the first rule of this priority about just these packets. False when there is none.
  constexpr bool erase(std::uint32_t priority, const rule_selector& about) noexcept {
    for (std::size_t i = 0; i < size_; ++i) {
      if (rules_[i].priority != priority || rules_[i].about != about) continue;
      if (rules_[i].table == nullptr) hops_->release(rules_[i].decided);
      --size_;
      for (; i < size_; ++i) rules_[i] = rules_[i + 1];
      return true;
    }
    return false;
  }
  /// Removes all rules. To be called before rules go whose next hops stay: they do not do so by themselves.
  constexpr void clear() noexcept {
    for (std::size_t i = 0; i < size_; ++i)
      if (rules_[i].table == nullptr) hops_->release(rules_[i].decided);
    size_ = 0;
  }
  /// The next hop, or the group, for a packet; `no_next_hop` without one.
  template <class Address>
  [[nodiscard]] constexpr next_hop_number lookup(const route_query<Address>& q) const noexcept {
    for (std::size_t i = 0; i < size_; ++i) {
      const rule& r = rules_[i];
      if (!r.about.matches(q)) continue;
      if (r.table == nullptr) return r.decided;
      const next_hop_number n = r.table->lookup(q);
      if (n == no_next_hop || (hops_->is_hop(n) && (*hops_)[n].type == route_type::throw_)) continue;
      return n;
    }
    return no_next_hop;
  }
  /// The next hops of all tables.
  [[nodiscard]] constexpr next_hop_table& hops() const noexcept { return *hops_; }
  /// How many rules there are.
  [[nodiscard]] constexpr std::size_t size() const noexcept { return size_; }

  /// As `ip rule` does: `100:	from 10.2.0.0/16 fwmark 0x1/0xff iif eth0 lookup 100`, a line for each.
  constexpr void print_rules(text_writer& out, interface_name called = nullptr) const noexcept {
    for (std::size_t i = 0; i < size_; ++i) {
      const rule& r = rules_[i];
      out << r.priority << ":\tfrom ";
      if (r.about.from == prefix{}) out << "all";
      else print(out, r.about.from);
      if (r.about.to != prefix{}) print(out << " to ", r.about.to);
      const std::uint32_t mask = r.about.mask();
      if (mask != 0) (out << " fwmark 0x").hex(r.about.mark);
      if (mask != 0 && mask != 0xffff'ffff) (out << "/0x").hex(mask);
      if (r.about.iif != 0) detail::print_interface(out << " iif ", r.about.iif, called);
      if (r.table == nullptr) out << ' ' << name((*hops_)[r.decided].type) << '\n';
      else print_table(out << " lookup ", r.table_number);
    }
  }

 private:
  struct rule {
    std::uint32_t priority = 0;
    rule_selector about{};
    const Table* table = nullptr;  // null: `decided` is the answer
    std::uint32_t table_number = 0;
    next_hop_number decided = no_next_hop;
  };

  // The three that every Linux has by name (/etc/iproute2/rt_tables).
  static constexpr void print_table(text_writer& out, std::uint32_t n) noexcept {
    if (n == 255) out << "local\n";
    else if (n == 254) out << "main\n";
    else if (n == 253) out << "default\n";
    else out << n << '\n';
  }
  constexpr bool put(const rule& r) noexcept {
    if (size_ == Capacity) return false;
    std::size_t at = size_++;
    for (; at != 0 && rules_[at - 1].priority > r.priority; --at) rules_[at] = rules_[at - 1];
    rules_[at] = r;
    return true;
  }

  next_hop_table* hops_;
  rule rules_[Capacity]{};
  std::size_t size_ = 0;
};

/// All rules, in the order in which they are tried.
template <class Table, std::size_t Capacity>
constexpr void print(text_writer& out, const routing_rules<Table, Capacity>& rules,
                     interface_name called = nullptr) noexcept {
  rules.print_rules(out, called);
}

}  // namespace runnel

#endif
