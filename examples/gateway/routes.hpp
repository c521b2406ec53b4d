// SPDX-License-Identifier: MIT
// The routes of a configuration in tables, and the rules that choose between them.
#ifndef GATEWAY_ROUTES_HPP
#define GATEWAY_ROUTES_HPP

#include <runnel/runnel.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <list>
#include <tuple>
#include <vector>

#include "configuration.hpp"

namespace gateway {

// Built for one configuration, and replaced as a whole. Next hops are those of all that there are at once.
class route_set {
  using v4 = runnel::sorted_routes<runnel::ipv4_address>;
  using v6 = runnel::sorted_routes<runnel::ipv6_address>;

 public:
  using table_type = runnel::route_table<v4, v6>;
  using rules_type = runnel::routing_rules<table_type, configuration::rule::most + 2>;

  route_set(const configuration& c, const std::vector<runnel::ip_interface>& links, runnel::next_hop_table& hops)
      : hops_(hops), rules_(hops) {
    std::vector<table_type*> tables;
    while (tables.size() < c.tables.size()) tables.push_back(&new_table(room_for(c)));
    table_type& main = *tables[0];
    // Without rules all is in main: one search instead of two.
    table_type& local = c.rules.empty() ? main : new_table(room_for(c));
    add_networks(links, main);
    for (const configuration::route* r : in_order(c)) add(*tables[r->table], r->covered, r->ways);
    add_own(links, local);  // last: where both are one table no route takes what is for this host

    if (!c.rules.empty()) add_rule(0, {}, local, 255);
    add_rule(32766, {}, main, 254);
    for (const configuration::rule& r : c.rules) {
      if (r.action != runnel::route_type::unicast) complete_ = rules_.add(r.priority, r.about, r.action) && complete_;
      else if (r.suppressed < 0) add_rule(r.priority, r.about, *tables[r.table], r.table);
      else add_rule(r.priority, r.about, without_short(*tables[r.table], r.suppressed), r.table);
    }
  }
  ~route_set() {
    rules_.clear();
    for (one_table& t : tables_) t.routes.clear();
  }
  route_set(const route_set&) = delete;
  route_set& operator=(const route_set&) = delete;

  // Whether there was room for all of it.
  [[nodiscard]] bool complete() const { return complete_; }
  [[nodiscard]] const rules_type& rules() const { return rules_; }

 private:
  struct one_table {
    std::vector<v4::slot> slots4;
    std::vector<v6::slot> slots6;
    v4 four{slots4.data(), slots4.size()};
    v6 six{slots6.data(), slots6.size()};
    table_type routes;
    one_table(std::size_t n, runnel::next_hop_table& hops) : slots4(n), slots6(n), routes(hops, four, six) {}
  };

  static std::size_t room_for(const configuration& c) {
    return 3 + c.routes.size() + c.interfaces.size() * (runnel::own_addresses::most + 1) * 3;
  }
  // By address: a sorted table takes each one at its end. In any other order it would move half of those that are
  // there, for each, and 50'000 would take a second.
  static std::vector<const configuration::route*> in_order(const configuration& c) {
    std::vector<const configuration::route*> all;
    for (const configuration::route& r : c.routes) all.push_back(&r);
    const auto key = [](const configuration::route* r) {
      const runnel::prefix& p = r->covered;
      const runnel::ipv6_address a =
          p.is_v4() ? runnel::mapped(p.as<runnel::ipv4_address>().address()) : p.as<runnel::ipv6_address>().address();
      return std::tuple(p.is_v4(), a.high(), a.low(), p.length());
    };
    std::sort(all.begin(), all.end(), [&](auto* a, auto* b) { return key(a) < key(b); });
    return all;
  }
  table_type& new_table(std::size_t n) { return tables_.emplace_back(n, hops_).routes; }
  // The same routes but those of at most this length.
  table_type& without_short(const table_type& of, int length) {
    table_type& made = new_table(of.size());
    of.for_each([&](const runnel::prefix& p, runnel::next_hop_number hop) {
      if (static_cast<int>(p.length()) > length) complete_ = made.insert(p, hop) && complete_;
    });
    return made;
  }
  void add_rule(std::uint32_t priority, const runnel::rule_selector& about, const table_type& table, std::size_t name) {
    complete_ = rules_.add(priority, about, table, static_cast<std::uint32_t>(name)) && complete_;
  }

  void add_networks(const std::vector<runnel::ip_interface>& links, table_type& main) {
    for (std::uint16_t n = 1; n < links.size(); ++n)
      for (const runnel::interface_address& a : links[n].addresses)
        add(main, subnet_of(a, a.length), runnel::next_hop::on_link(n));
  }
  // What is for this host: its addresses, and what is sent to many.
  void add_own(const std::vector<runnel::ip_interface>& links, table_type& local) {
    using runnel::next_hop, runnel::route_type, runnel::net;
    for (const runnel::prefix many : {net("224.0.0.0/4"), net("255.255.255.255/32"), net("ff00::/8")})
      add(local, many, next_hop::of(route_type::broadcast));
    const auto count = static_cast<std::uint16_t>(links.size());
    for (std::uint16_t n = 1; n < count; ++n)
      for (const runnel::interface_address& a : links[n].addresses) {
        add(local, subnet_of(a, 128), next_hop::of(route_type::local, n));
        if (runnel::is_mapped(a.address) && a.length <= 96 + 30) {
          const std::uint32_t hosts = 0xffff'ffffu >> (a.length - 96);
          add(local, runnel::prefix::v4(runnel::ipv4_address{runnel::unmapped(a.address).value() | hosts}, 32),
              next_hop::of(route_type::broadcast, n));
        }
      }
  }
  static runnel::prefix subnet_of(const runnel::interface_address& a, unsigned length) {
    if (runnel::is_mapped(a.address)) return runnel::prefix::v4(runnel::unmapped(a.address), length - 96);
    return runnel::prefix::v6(a.address, length);
  }
  void add(table_type& to, const runnel::prefix& p, const runnel::next_hop& hop) {
    complete_ = to.insert(p, hop) && complete_;
  }
  // By several routers at once they are a group.
  void add(table_type& to, const runnel::prefix& p, const std::vector<configuration::way>& ways) {
    if (ways.size() == 1) return add(to, p, ways[0].hop);
    std::vector<runnel::weighted_hop> members;
    for (const configuration::way& w : ways) members.push_back({hops_.add(w.hop), w.weight});
    const runnel::next_hop_number group = hops_.add_group(members.data(), members.size());
    const bool there = group != runnel::no_next_hop;
    complete_ = there && to.insert(p, group) && complete_;
    if (there) hops_.release(group);
    for (const runnel::weighted_hop& m : members)
      if (m.hop != runnel::no_next_hop) hops_.release(m.hop);
  }

  runnel::next_hop_table& hops_;
  std::list<one_table> tables_;
  rules_type rules_;
  bool complete_ = true;
};

}  // namespace gateway

#endif
