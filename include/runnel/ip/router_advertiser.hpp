// SPDX-License-Identifier: MIT
// What an IPv6 router tells the hosts of a link about itself and the link: router advertisements, by themselves and
// when asked for. RFC 4861 §6.2, RFC 4191, RFC 8106.
//
//     ndp_prefix prefixes[] = {{.prefix = addr6("2001:db8:1::")}};
//     router_advertiser advertiser{neighbours, {.prefixes = prefixes, .prefix_count = 1}, seed};
//     advertiser.start(time.now());
//
//     auto path = parse() | answer_neighbours(neighbours) | hear_routers(advertiser) | ...;
//     run(time, attach(lan, path), attach(advertiser), attach(neighbours, transmit(lan)));
//
// Messages leave by the neighbour table of the link, from this host's link-local address there; without one that is
// used they wait for it. They go to all hosts, also when one has asked: so a flood of questions changes nothing but
// that there is an answer all three seconds.
//
// What it does not do: tell of a link-local address that has changed (§6.2.8), which is a new router to hosts.
#ifndef RUNNEL_IP_ROUTER_ADVERTISER_HPP
#define RUNNEL_IP_ROUTER_ADVERTISER_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t, uint64_t

#include <runnel/base/bytes.hpp>
#include <runnel/base/random.hpp>
#include <runnel/base/text.hpp>
#include <runnel/base/time.hpp>
#include <runnel/config.hpp>
#include <runnel/flow/timed_attachment.hpp>
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

/// What is advertised, and how often: the variables of RFC 4861 §6.2.1. What it points to must outlive the advertiser.
struct advertising_options {
  duration max_interval = seconds(600);  ///< between two advertisements at most: 4 s to 30 min
  duration min_interval = seconds(200);  ///< at least: 3 s to three quarters of the other
  duration lifetime = seconds(1800);     ///< as a default router: `max_interval` to 9000 s; 0: it is none
  /// As in the message. @{
  std::uint8_t hop_limit = 64;
  bool managed = false;
  bool other_configuration = false;
  router_preference preference = router_preference::medium;
  std::uint32_t reachable_time = 0;    // milliseconds, at most an hour; 0: not said
  std::uint32_t retransmit_timer = 0;  // milliseconds; 0: not said
  std::uint32_t mtu = 0;               // bytes, 1280 at least; 0: not said
  /// @}
  /// Prefixes of the link, none of them link-local. @{
  const ndp_prefix* prefixes = nullptr;
  std::size_t prefix_count = 0;
  /// @}
  /// Routes by this router (RFC 4191). @{
  const ndp_route* routes = nullptr;
  std::size_t route_count = 0;
  /// @}
  ndp_recursive_dns dns{};  ///< resolvers (RFC 8106); none when their count is 0

  /// What is wrong with it; null when nothing is.
  [[nodiscard]] constexpr const char* fault() const noexcept {
    if (max_interval < seconds(4) || max_interval > seconds(1800)) return "max_interval: 4 to 1800 s";
    if (min_interval < seconds(3) || min_interval.ns > max_interval.ns / 4 * 3)
      return "min_interval: 3 s to three quarters of max_interval";
    if (lifetime != duration{} && (lifetime < max_interval || lifetime > seconds(9000)))
      return "lifetime: 0, or max_interval to 9000 s";
    if (reachable_time > 3'600'000) return "reachable_time: at most an hour";
    if (mtu != 0 && mtu < 1280) return "mtu: 1280 at least";
    if (dns.count > 127) return "dns: at most 127 servers";
    for (std::size_t i = 0; i < prefix_count; ++i) {
      if (prefixes[i].prefix.is_link_local() || prefixes[i].prefix.is_multicast() || prefixes[i].prefix_length > 128)
        return "prefixes: unicast, not link-local, at most 128 bits";
      if (prefixes[i].preferred_lifetime > prefixes[i].valid_lifetime)
        return "prefixes: preferred for no longer than valid";
    }
    return nullptr;
  }
};

/// What an advertiser has counted since it was made.
struct advertising_statistics {
  std::uint64_t advertisements = 0;   ///< sent
  std::uint64_t solicitations = 0;    ///< heard
  std::uint64_t inconsistencies = 0;  ///< advertisements of other routers that contradict this one's (§6.2.7)
};
/// In one line.
constexpr void print(text_writer& out, const advertising_statistics& s) noexcept {
  out << "advertisements " << s.advertisements << ", solicitations " << s.solicitations << ", inconsistencies "
      << s.inconsistencies;
}

namespace detail {

// All the options of an advertisement, as one header of `build`.
struct advertised_options {
  const advertising_options& o;
  mac_address mac;

  [[nodiscard]] constexpr std::size_t size() const noexcept {
    std::size_t n = 8;
    each([&n](const auto& option) { n += option.size(); });
    return n;
  }
  constexpr void write(mutable_bytes whole, const neighbours_of_header& around) const noexcept {
    ndp_source_link_address{mac}.write(whole, around);
    whole = whole.from(8);
    each([&](const auto& option) {
      option.write(whole, around);
      whole = whole.from(option.size());
    });
  }

 private:
  template <class F>
  constexpr void each(F f) const noexcept {
    if (o.mtu != 0) f(ndp_mtu{o.mtu});
    for (std::size_t i = 0; i < o.prefix_count; ++i) f(o.prefixes[i]);
    for (std::size_t i = 0; i < o.route_count; ++i) f(o.routes[i]);
    if (o.dns.count != 0) f(o.dns);
  }
};

}  // namespace detail

/// Advertises this host as a router of one link. For the thread that has the neighbour table.
class router_advertiser {
 public:
  /// The constants of RFC 4861 §10. @{
  static constexpr duration max_initial_interval = seconds(16), min_delay = seconds(3),
                            max_ra_delay = milliseconds(500);
  static constexpr unsigned max_initial = 3, max_final = 3;
  /// @}

  /// Of the link of this table, which must outlive it. `o` has no `fault()` (asserted); `seed` from a random source.
  router_advertiser(neighbour_table& neighbours, const advertising_options& o, std::uint64_t seed) noexcept
      : neighbours_(&neighbours), options_(o), random_(seed) {
    RUNNEL_ASSERT(o.fault() == nullptr);
  }
  router_advertiser(const router_advertiser&) = delete;
  router_advertiser& operator=(const router_advertiser&) = delete;

  /// Begins to advertise: at once, then a few times at short intervals.
  void start(instant now) noexcept {
    step_ = step::advertising;
    sent_ = 0;
    due_ = no_sooner_than(now);
  }
  /// Tells hosts that this router is none any more, up to three times, 3 seconds apart, and ends (§6.2.5). The first
  /// time is when 3 seconds have gone since the last advertisement, often at once.
  void stop(instant now) noexcept {
    if (step_ != step::advertising) return;
    step_ = step::ceasing;
    sent_ = 0;
    due_ = no_sooner_than(now);
  }
  /// Advertises something else from now on. It has no `fault()` (asserted).
  void change(const advertising_options& o, instant now) noexcept {
    RUNNEL_ASSERT(o.fault() == nullptr);
    options_ = o;
    if (step_ == step::advertising) start(now);
  }
  /// Whether hosts are told of this router: from `start` until `stop`.
  [[nodiscard]] bool is_advertising() const noexcept { return step_ == step::advertising; }
  /// What is advertised.
  [[nodiscard]] const advertising_options& options() const noexcept { return options_; }
  /// What was counted so far.
  [[nodiscard]] const advertising_statistics& statistics() const noexcept { return statistics_; }

  /// Sends what is due.
  void advance(instant now) noexcept {
    if (now < due_) return;
    if (!send(now)) return;
    last_ = now;
    ++sent_;
    if (step_ == step::ceasing) {
      if (sent_ == max_final) step_ = step::silent;
      due_ = step_ == step::silent ? never : now + min_delay;
      return;
    }
    const duration spread = options_.max_interval - options_.min_interval;
    duration wait = options_.min_interval + up_to(spread);
    if (sent_ < max_initial && wait > max_initial_interval) wait = max_initial_interval;
    due_ = now + wait;
  }
  /// When it has something to do; `never` when it does not advertise.
  [[nodiscard]] instant next_due() const noexcept { return due_; }

  /// What `hear_routers` has received and checked: a host asks for routers (§6.2.6), or another router says something
  /// (§6.2.7). Why it is refused; `none` when it is not. @{
  [[nodiscard]] drop_reason hear(const router_solicitation& m, const ipv6& around, const mac_address& from,
                                 instant now) noexcept {
    if (from == neighbours_->link().mac) return drop_reason::none;
    const ipv6_address source = around.source();
    if (source.is_multicast() || is_mapped(source)) return drop_reason::neighbour_malformed;
    ++statistics_.solicitations;
    if (!source.is_unspecified()) {
      const auto said = m.link_address(ndp_option::source_link_address);
      if (said && said->is_multicast()) return drop_reason::neighbour_malformed;
      if (said) neighbours_->learn(source, *said, neighbours_->link().addresses.is_on_link(source), now);
      neighbours_->set_router(source, false);
    }
    if (step_ != step::advertising) return drop_reason::none;
    const instant at = no_sooner_than(now) + up_to(max_ra_delay);
    if (at < due_) due_ = at;
    return drop_reason::none;
  }
  [[nodiscard]] drop_reason hear(const router_advertisement& m, const ipv6&, const mac_address& from,
                                 instant) noexcept {
    if (from != neighbours_->link().mac && step_ == step::advertising && contradicts(m)) ++statistics_.inconsistencies;
    return drop_reason::none;
  }
  /// @}
  /// The table by which it sends.
  [[nodiscard]] neighbour_table& neighbours() const noexcept { return *neighbours_; }

 private:
  enum class step : std::uint8_t { silent, advertising, ceasing };

  [[nodiscard]] duration up_to(duration most) noexcept {
    return {static_cast<std::int64_t>(random_.below(static_cast<std::uint64_t>(most.ns) + 1))};
  }
  // Hosts are not told more often than all 3 seconds.
  [[nodiscard]] instant no_sooner_than(instant now) const noexcept {
    return sent_any_ && last_ + min_delay > now ? last_ + min_delay : now;
  }
  [[nodiscard]] ipv6_address source() const noexcept {
    const ipv6_address a = neighbours_->link().addresses.source_for(all_nodes_multicast);
    return a.is_link_local() ? a : ipv6_address{};
  }
  // False, and tried again later, without a link-local address or without memory.
  [[nodiscard]] bool send(instant now) noexcept {
    const ipv6_address from = source();
    if (from.is_unspecified()) return due_ = now + seconds(1), false;
    const mac_address mac = neighbours_->link().mac;
    const bool ceasing = step_ == step::ceasing;
    const ethernet_header frame{.source = mac, .destination = multicast_mac(all_nodes_multicast)};
    const ipv6_header outer{.source = from, .destination = all_nodes_multicast, .hop_limit = 255};
    const router_advertisement_header message{
        .hop_limit = options_.hop_limit,
        .managed = options_.managed,
        .other_configuration = options_.other_configuration,
        .preference = options_.preference,
        .router_lifetime = static_cast<std::uint16_t>(ceasing ? 0 : options_.lifetime.ns / 1'000'000'000),
        .reachable_time = options_.reachable_time,
        .retransmit_timer = options_.retransmit_timer};
    const detail::advertised_options rest{options_, mac};
    packet p = neighbours_->memory().allocate();
    const std::size_t size = size_of_headers(frame, outer, message, rest);
    std::byte* const to = p ? p.put(size) : nullptr;
    if (to == nullptr || !write_headers({to, size}, frame, outer, message, rest)) p.reset();
    if (!neighbours_->send(static_cast<packet&&>(p))) return due_ = now + milliseconds(100), false;
    ++statistics_.advertisements;
    sent_any_ = true;
    return true;
  }

  // §6.2.7. What either leaves unsaid contradicts nothing.
  [[nodiscard]] bool contradicts(const router_advertisement& m) const noexcept {
    const auto differ = [](std::uint64_t a, std::uint64_t b) { return a != 0 && b != 0 && a != b; };
    if (differ(m.hop_limit(), options_.hop_limit) || m.is_managed() != options_.managed ||
        m.is_other_configuration() != options_.other_configuration ||
        differ(m.reachable_time(), options_.reachable_time) || differ(m.retransmit_timer(), options_.retransmit_timer))
      return true;
    for (ndp_options o(m.options()); o; o.next()) {
      if (differ(o.mtu(), options_.mtu)) return true;
      const auto theirs = o.prefix();
      for (std::size_t i = 0; theirs && i < options_.prefix_count; ++i) {
        const ndp_prefix& ours = options_.prefixes[i];
        if (ours.prefix_length == theirs->prefix_length &&
            detail::first_bits(ours.prefix, ours.prefix_length) == theirs->prefix &&
            (ours.valid_lifetime != theirs->valid_lifetime || ours.preferred_lifetime != theirs->preferred_lifetime))
          return true;
      }
    }
    return false;
  }

  neighbour_table* neighbours_;
  advertising_options options_;
  random_generator random_;
  instant due_ = never;
  instant last_{};
  unsigned sent_ = 0;
  step step_ = step::silent;
  bool sent_any_ = false;
  advertising_statistics statistics_;
};

/// Joins an advertiser to a loop, where it stands before its table: `run(clock, attach(lan, path), attach(advertiser),
/// attach(neighbours, transmit(lan)))`. Refers to it; it must outlive the attachment.
[[nodiscard]] constexpr auto attach(router_advertiser& advertiser) noexcept {
  return timed_attachment<router_advertiser>{advertiser};
}

}  // namespace runnel

#endif
