// SPDX-License-Identifier: MIT
// What an IPv6 host learns from the routers of a link: default routers, which prefixes are on the link, addresses of
// its own, MTU, hop limit, times, resolvers; and redirects. RFC 4861 §6.3 and §8.3, RFC 4862, RFC 4191 §3.1, RFC 8106.
//
//     router_discovery discovery{neighbours, {.changed = on_change}, seed};
//     discovery.start(time.now());
//
//     auto path = parse() | answer_neighbours(neighbours) | hear_routers(discovery) | ...;
//     run(time, attach(wan, path), attach(discovery), attach(neighbours, transmit(wan)));
//
// Addresses and prefixes of the link go into the interface of the neighbour table, its MTU too; addresses are probed
// first, and end by their lifetimes. Routes are the user's: `changed` is called when `router()` or `prefixes()` are
// others than before.
//
// Whoever is on the link can say that it is a router: what is believed is bounded in number, and lifetimes of addresses
// are not cut short (RFC 4862 §5.5.3 e). A retransmit timer of more than a minute is not taken over, where RFC 4861
// §6.3.4 says that one should be: 49 days can be said, and a single question that is lost would keep a neighbour away
// for as long. Cut to a minute it would serve nobody, and slow down a link on which somebody only lies.
//
// What it does not do: DHCPv6 (`managed()` tells that a router wants it), routes of RFC 4191 other than the default
// one, temporary addresses (RFC 8981); asking on when three questions have had no answer (RFC 7559).
#ifndef RUNNEL_IP_ROUTER_DISCOVERY_HPP
#define RUNNEL_IP_ROUTER_DISCOVERY_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t, uint64_t

#include <runnel/base/random.hpp>
#include <runnel/base/text.hpp>
#include <runnel/base/time.hpp>
#include <runnel/flow/timed_attachment.hpp>
#include <runnel/ip/answer.hpp>
#include <runnel/ip/bounded_list.hpp>
#include <runnel/ip/neighbour_messages.hpp>
#include <runnel/ip/neighbour_table.hpp>
#include <runnel/packet/drop_reason.hpp>
#include <runnel/packet/packet.hpp>
#include <runnel/wire/address.hpp>
#include <runnel/wire/ethernet.hpp>
#include <runnel/wire/ipv6.hpp>
#include <runnel/wire/ndp.hpp>
#include <runnel/wire/ndp_options.hpp>

namespace runnel {

class router_discovery;

/// A router that says that it is a default one.
struct default_router {
  ipv6_address address{};                                    ///< link-local
  instant until{};                                           ///< its lifetime ends then
  router_preference preference = router_preference::medium;  ///< RFC 4191
};
/// A prefix that is on the link.
struct link_prefix {
  ipv6_prefix prefix{};  ///< not link-local
  instant until{};       ///< its lifetime ends then; `never`: it has none
  bool given = false;    ///< it was in the interface before, and stays there
};
/// A resolver.
struct link_resolver {
  ipv6_address address{};  ///< where it listens
  instant until{};         ///< its lifetime ends then; `never`: it has none
};

/// How a host goes by what routers say.
struct discovery_options {
  std::uint64_t interface_id = 0;  ///< last 64 bits of its addresses; 0: made of its MAC address (RFC 4291 appendix A)
  bool autoconfigure = true;       ///< addresses are made of prefixes for which a router says so
  /// Is told that the router of choice, the prefixes or the resolvers are others than before. It may not change
  /// the discovery, nor its table.
  void (*changed)(void* context, const router_discovery& d) = nullptr;
  /// Is told that the default router `from` wants packets for `destination` to go to `target`, which is `destination`
  /// itself if that is on the link. Whether `from` is the router of that destination is the user's to know.
  void (*redirected)(void* context, const ipv6_address& from, const ipv6_address& destination,
                     const ipv6_address& target) = nullptr;
  void* context = nullptr;  ///< for both
};

/// What a discovery has counted since it was made.
struct discovery_statistics {
  std::uint64_t solicitations = 0;   ///< sent
  std::uint64_t advertisements = 0;  ///< heard
  std::uint64_t redirects = 0;       ///< heard, and passed on
  std::uint64_t refused = 0;         ///< routers, prefixes, addresses and resolvers for which there was no room
};
/// In one line.
constexpr void print(text_writer& out, const discovery_statistics& s) noexcept {
  out << "solicitations " << s.solicitations << ", advertisements " << s.advertisements << ", redirects " << s.redirects
      << ", refused " << s.refused;
}

/// The identifier of an interface that is made of its MAC address (RFC 4291 appendix A).
[[nodiscard]] constexpr std::uint64_t interface_id_of(const mac_address& a) noexcept {
  std::uint64_t v = 0;
  for (std::size_t i = 0; i < 6; ++i) {
    v = v << 8 | a.octets[i];
    if (i == 2) v = v << 16 | 0xfffe;
  }
  return v ^ std::uint64_t{2} << 56;
}

/// What this host knows from the routers of one link. For the thread that has the neighbour table.
class router_discovery {
 public:
  /// How many of each are known at most. @{
  static constexpr std::size_t most_routers = 4, most_prefixes = own_addresses::most_prefixes, most_resolvers = 4,
                               most_addresses = 8;
  /// @}
  /// The constants of RFC 4861 §10 and RFC 4862 §5.5.3. @{
  static constexpr duration max_solicitation_delay = seconds(1), solicitation_interval = seconds(4),
                            two_hours = seconds(7200);
  static constexpr unsigned max_solicitations = 3;
  /// @}

  /// Of the link of this table. That and its interface must outlive it. `seed` from a random source.
  router_discovery(neighbour_table& neighbours, const discovery_options& o, std::uint64_t seed) noexcept
      : neighbours_(&neighbours), options_(o), random_(seed), own_mtu_(neighbours.link().mtu) {}
  router_discovery(const router_discovery&) = delete;
  router_discovery& operator=(const router_discovery&) = delete;
  /// The interface is as after `stop`, but nobody is told: who has made routes calls that before.
  ~router_discovery() { forget_all(); }

  /// Acquires a link-local address, unless there is one, and asks for routers, up to three times. For when the link
  /// comes up, and again each time that it does.
  void start(instant now) noexcept {
    const ipv6_address local{0xfe80'0000'0000'0000, interface_id()};
    bool there = false;
    for (const interface_address& a : neighbours_->link().addresses)
      there = there || (a.address.is_link_local() && a.is_claimed());
    if (!there && !neighbours_->acquire({local, 64}, now)) ++statistics_.refused;
    asked_ = 0;
    ask_at_ = now + up_to(max_solicitation_delay);
  }

  /// For when the interface is gone, or the discovery ends: asks no more, forgets all routers, prefixes and resolvers,
  /// and tells so, for nobody would end them by their lifetimes (RFC 4861 §6.3.5). The interface is left without the
  /// prefixes, and with the MTU that it had; addresses end by their lifetimes, in the table. `start` begins anew, and
  /// so does an advertisement that `hear_routers` still hears.
  void stop() noexcept {
    forget_all();
    tell();
  }

  /// The router for what is not on the link: of those that are not known to be out of reach the one of the highest
  /// preference; if all are, one after the other (RFC 4861 §6.3.6, RFC 4191 §3.2). Null when there is none.
  [[nodiscard]] const default_router* router() const noexcept {
    return routers_.size() == 0 ? nullptr : &routers_[chosen_];
  }
  /// All default routers.
  [[nodiscard]] const detail::bounded_list<default_router, most_routers>& routers() const noexcept { return routers_; }
  /// The prefixes that are on the link. They are in the interface too.
  [[nodiscard]] const detail::bounded_list<link_prefix, most_prefixes>& prefixes() const noexcept { return prefixes_; }
  /// Resolvers (RFC 8106).
  [[nodiscard]] const detail::bounded_list<link_resolver, most_resolvers>& resolvers() const noexcept {
    return resolvers_;
  }
  /// What own packets shall have as their hop limit.
  [[nodiscard]] std::uint8_t hop_limit() const noexcept { return hop_limit_; }
  /// Whether the latest router wants addresses to be got by DHCPv6, or other configuration. @{
  [[nodiscard]] bool managed() const noexcept { return managed_; }
  [[nodiscard]] bool other_configuration() const noexcept { return other_configuration_; }
  /// @}
  /// What was counted so far.
  [[nodiscard]] const discovery_statistics& statistics() const noexcept { return statistics_; }
  /// The table by which it sends.
  [[nodiscard]] neighbour_table& neighbours() const noexcept { return *neighbours_; }

  /// Asks when it is time to, and forgets what has had its time. Looks once in a second whether the router of choice
  /// is still within reach, and whether a router has said that it is none any more (RFC 4861 §7.2.5).
  void advance(instant now) noexcept {
    if (now >= ask_at_) ask(now);
    const bool looks = now >= look_at_ && routers_.size() != 0;
    if (now >= forget_at_ || (looks && has_former_router(now))) forget(now);
    if (now >= look_at_ && routers_.size() != 0) choose(now);
    tell();
  }
  /// When it has something to do; `never` when not before a packet comes.
  [[nodiscard]] instant next_due() const noexcept { return ask_at_ < forget_at_ ? ask_at_ : forget_at_; }

  /// What `hear_routers` has received and checked (RFC 4861 §6.3.4). Why it is refused; `none` when it is not.
  [[nodiscard]] drop_reason hear(const router_advertisement& m, const ipv6& around, const mac_address& from,
                                 instant now) noexcept {
    if (from == neighbours_->link().mac) return drop_reason::none;
    const ipv6_address source = around.source();
    const auto said = m.link_address(ndp_option::source_link_address);
    if (said && said->is_multicast()) return drop_reason::neighbour_malformed;
    if (neighbours_->link().addresses.contains(source)) return drop_reason::neighbour_malformed;  // another one's claim
    ++statistics_.advertisements;
    if (m.hop_limit() != 0) hop_limit_ = m.hop_limit();
    managed_ = m.is_managed();
    other_configuration_ = m.is_other_configuration();
    // ARP goes by them too: for as long as there is between two questions a lost one keeps a neighbour away.
    const auto useful = [](std::uint32_t ms, std::uint32_t most) { return ms <= most ? milliseconds(ms) : duration{}; };
    neighbours_->set_times(useful(m.reachable_time(), 3'600'000), useful(m.retransmit_timer(), 60'000), now);
    if (said) neighbours_->learn(source, *said, true, now);
    neighbours_->set_router(source, true);
    hear_router(source, m, now);
    for (ndp_options o(m.options()); o; o.next()) {
      if (o.mtu() >= 1280 && o.mtu() <= own_mtu_)
        neighbours_->change_link().mtu = heard_mtu_ = static_cast<std::uint16_t>(o.mtu());
      if (const auto p = o.prefix();
          p && !p->prefix.is_link_local() && !p->prefix.is_multicast() && !is_mapped(p->prefix)) {
        if (p->on_link) hear_on_link(*p, now);
        if (p->autonomous && options_.autoconfigure) hear_autonomous(*p, now);
      }
      for (std::size_t i = 0; i < o.dns_count(); ++i)
        if (const ipv6_address a = o.dns_server(i); detail::is_one_host(a)) hear_resolver(a, o.dns_lifetime(), now);
    }
    forget(now);
    choose(now);
    tell();
    return drop_reason::none;
  }
  /// A redirect (§8.3): believed when it comes from a default router.
  [[nodiscard]] drop_reason hear(const ndp_redirect& m, const ipv6& around, const mac_address&, instant now) noexcept {
    const ipv6_address from = around.source();
    if (find(from) == nullptr) return drop_reason::neighbour_malformed;
    const auto said = m.link_address(ndp_option::target_link_address);
    if (said && said->is_multicast()) return drop_reason::neighbour_malformed;
    if (neighbours_->link().addresses.contains(m.target())) return drop_reason::neighbour_malformed;
    if (is_mapped(m.target()) || is_mapped(m.destination())) return drop_reason::neighbour_malformed;
    ++statistics_.redirects;
    if (said) neighbours_->learn(m.target(), *said, true, now);
    if (m.target() != m.destination()) neighbours_->set_router(m.target(), true);
    if (options_.redirected != nullptr) options_.redirected(options_.context, from, m.destination(), m.target());
    return drop_reason::none;
  }

 private:
  [[nodiscard]] duration up_to(duration most) noexcept {
    return {static_cast<std::int64_t>(random_.below(static_cast<std::uint64_t>(most.ns) + 1))};
  }
  [[nodiscard]] std::uint64_t interface_id() const noexcept {
    return options_.interface_id != 0 ? options_.interface_id : interface_id_of(neighbours_->link().mac);
  }
  // All ones: for ever.
  [[nodiscard]] static instant after(std::uint32_t lifetime, instant now) noexcept {
    return lifetime == 0xffff'ffff ? never : now + seconds(lifetime);
  }
  [[nodiscard]] default_router* find(const ipv6_address& a) noexcept {
    return routers_.find([&a](const default_router& r) { return r.address == a; });
  }
  void tell() noexcept {
    if (!changed_) return;
    changed_ = false;
    if (options_.changed != nullptr) options_.changed(options_.context, *this);
  }

  // ---- asking: RFC 4861 §6.3.7

  void ask(instant now) noexcept {
    const ipv6_address source = neighbours_->link().addresses.source_for(all_routers_multicast);
    packet p = detail::router_question(neighbours_->memory(), neighbours_->link().mac, source);
    if (!neighbours_->send(static_cast<packet&&>(p))) {
      ask_at_ = now + milliseconds(100);
      return;
    }
    ++statistics_.solicitations;
    ask_at_ = ++asked_ < max_solicitations ? now + solicitation_interval : never;
  }

  // ---- hearing: §6.3.4, RFC 4862 §5.5.3

  void hear_router(const ipv6_address& a, const router_advertisement& m, instant now) noexcept {
    default_router* r = find(a);
    if (m.router_lifetime() == 0) {
      if (r != nullptr) r->until = now;
      return;
    }
    ask_at_ = asked_ != 0 ? never : ask_at_;
    const default_router heard{a, now + seconds(m.router_lifetime()), m.preference()};
    if (r == nullptr) r = routers_.add(heard);
    // Whoever has invented routers, with lifetimes of 18 hours, keeps no other one away for longer than it takes to try
    // them.
    if (r == nullptr) r = routers_.find([&](const default_router& k) { return is_out_of_reach(k, now); });
    if (r == nullptr) {
      ++statistics_.refused;
      return;
    }
    *r = heard;
  }
  void hear_on_link(const ndp_prefix& p, instant now) noexcept {
    const ipv6_prefix prefix{p.prefix, p.prefix_length};
    link_prefix* known = prefixes_.find([&prefix](const link_prefix& k) { return k.prefix == prefix; });
    if (known == nullptr && p.valid_lifetime == 0) return;
    const bool given = neighbours_->link().addresses.has_prefix(prefix);
    if (known == nullptr && neighbours_->change_link().addresses.add_prefix(prefix)) {
      known = prefixes_.add({prefix, {}, given});
      changed_ = true;
    }
    if (known == nullptr) ++statistics_.refused;
    else known->until = after(p.valid_lifetime, now);
  }
  void hear_autonomous(const ndp_prefix& p, instant now) noexcept {
    if (p.preferred_lifetime > p.valid_lifetime || p.prefix_length != 64) return;
    const ipv6_address a{p.prefix.high(), interface_id()};
    interface_address* known = neighbours_->change_link().addresses.find(a);
    if (known == nullptr) {
      if (p.valid_lifetime == 0) return;
      std::size_t n = 0;
      for (const interface_address& other : neighbours_->link().addresses) n += other.dynamic ? 1u : 0u;
      interface_address made{a, 128};
      made.dynamic = true;
      made.valid_until = after(p.valid_lifetime, now);
      made.preferred_until = after(p.preferred_lifetime, now);
      if (n >= most_addresses || !neighbours_->acquire(made, now)) ++statistics_.refused;
      return;
    }
    if (!known->dynamic) return;
    known->preferred_until = after(p.preferred_lifetime, now);
    if (known->state == address_state::deprecated && known->preferred_until > now)
      known->state = address_state::preferred;
    // Who says that an address ends soon is not believed at once: two hours are left to notice.
    const instant valid = after(p.valid_lifetime, now);
    if (valid > now + two_hours || valid > known->valid_until) known->valid_until = valid;
    else if (known->valid_until > now + two_hours) known->valid_until = now + two_hours;
  }
  void hear_resolver(const ipv6_address& a, std::uint32_t lifetime, instant now) noexcept {
    link_resolver* known = resolvers_.find([&a](const link_resolver& k) { return k.address == a; });
    if (known == nullptr && lifetime == 0) return;
    if (known == nullptr) {
      known = resolvers_.add({a, {}});
      changed_ = changed_ || known != nullptr;
    }
    if (known == nullptr) ++statistics_.refused;
    else known->until = after(lifetime, now);
  }

  // ---- forgetting and choosing: §6.3.5, §6.3.6

  void forget(instant now) noexcept {
    forget_at_ = never;
    const auto over = [&](const auto& e) {
      if (now >= e.until) return true;
      forget_at_ = e.until < forget_at_ ? e.until : forget_at_;
      return false;
    };
    const ipv6_address before = router() != nullptr ? router()->address : ipv6_address{};
    if (routers_.remove_if([&](const default_router& r) { return over(r) || is_former(r, now); })) {
      chosen_ = 0;
      for (std::size_t i = 0; i < routers_.size(); ++i) chosen_ = routers_[i].address == before ? i : chosen_;
      if (routers_.size() == 0) told_ = {};
      look_at_ = now;
      changed_ = true;
    }
    const bool fewer = prefixes_.remove_if([&](const link_prefix& p) {
      const bool gone = over(p);
      if (gone && !p.given) neighbours_->change_link().addresses.remove_prefix(p.prefix);
      return gone;
    });
    changed_ = resolvers_.remove_if(over) || fewer || changed_;
  }
  void forget_all() noexcept {
    const auto all = [](const auto&) { return true; };
    const auto prefix = [this](const link_prefix& p) {
      if (!p.given) neighbours_->change_link().addresses.remove_prefix(p.prefix);
      return true;
    };
    changed_ = prefixes_.remove_if(prefix) || changed_;
    changed_ = routers_.remove_if(all) || changed_;
    changed_ = resolvers_.remove_if(all) || changed_;
    // Unless it was changed since by somebody else.
    if (heard_mtu_ != 0 && neighbours_->link().mtu == heard_mtu_) neighbours_->change_link().mtu = own_mtu_;
    heard_mtu_ = 0;
    chosen_ = 0;
    told_ = {};
    ask_at_ = forget_at_ = never;
  }
  // Whether it has said since that it is no router any more: RFC 4861 §7.2.5.
  [[nodiscard]] bool is_former(const default_router& r, instant now) const noexcept {
    return neighbours_->find(r.address, now).former_router;
  }
  [[nodiscard]] bool has_former_router(instant now) noexcept {
    return routers_.find([&](const default_router& r) { return is_former(r, now); }) != nullptr;
  }
  [[nodiscard]] bool is_out_of_reach(const default_router& r, instant now) const noexcept {
    return neighbours_->find(r.address, now).state == neighbour_state::failed;
  }
  // 0 low, 1 medium, 2 high.
  [[nodiscard]] static unsigned rank(router_preference p) noexcept {
    return p == router_preference::high ? 2 : p == router_preference::low ? 0 : 1;
  }
  void choose(instant now) noexcept {
    look_at_ = now + seconds(1);
    if (routers_.size() == 0) return;
    const auto out_of_reach = [&](std::size_t i) { return is_out_of_reach(routers_[i], now); };
    const ipv6_address before = told_;
    std::size_t best = chosen_;
    if (out_of_reach(best)) best = best + 1 < routers_.size() ? best + 1 : 0;
    for (std::size_t i = 0; i < routers_.size(); ++i)
      if (!out_of_reach(i) && (out_of_reach(best) || rank(routers_[i].preference) > rank(routers_[best].preference)))
        best = i;
    chosen_ = best;
    told_ = routers_[best].address;
    changed_ = changed_ || told_ != before;
  }

  neighbour_table* neighbours_;
  discovery_options options_;
  random_generator random_;
  std::uint16_t own_mtu_, heard_mtu_ = 0;  // what the interface had, and what a router has said
  detail::bounded_list<default_router, most_routers> routers_;
  detail::bounded_list<link_prefix, most_prefixes> prefixes_;
  detail::bounded_list<link_resolver, most_resolvers> resolvers_;
  std::size_t chosen_ = 0;
  ipv6_address told_{};
  instant ask_at_ = never, forget_at_ = never, look_at_{};
  unsigned asked_ = 0;
  std::uint8_t hop_limit_ = 64;
  bool managed_ = false, other_configuration_ = false, changed_ = false;
  discovery_statistics statistics_;
};

/// Joins a discovery to a loop, where it stands before its table: `run(clock, attach(wan, path), attach(discovery),
/// attach(neighbours, transmit(wan)))`. Refers to it; it must outlive the attachment.
[[nodiscard]] constexpr auto attach(router_discovery& discovery) noexcept {
  return timed_attachment<router_discovery>{discovery};
}

}  // namespace runnel

#endif
