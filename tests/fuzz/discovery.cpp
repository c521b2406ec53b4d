// SPDX-License-Identifier: MIT
// Fuzz target: a link with a host that goes by routers and a router, both of this library, between what anybody says
// about addresses and routers, perhaps broken, with time going on. Whatever is said, what is known stays bounded, an
// address of the user's own stays, lifetimes are cut short no further than RFC 4862 lets them, and every message that
// is sent is one that RFC 4861 or RFC 5227 allows, no more often than they allow.
//
// The input is a list of steps: a byte that says what, one that chooses who and about whom, a place and a change to the
// bytes of the message, one for values, and one for the time.
#include <cstddef>
#include <cstdint>

#include <runnel/ip.hpp>
#include <runnel/wire.hpp>

#include "check.hpp"
#include "made_packet.hpp"

namespace {

using namespace runnel;

constexpr mac_address host_mac{{2, 0, 0, 0, 0, 1}}, router_mac{{2, 0, 0, 0, 0, 2}};
constexpr ipv6_address fixed6{0x2001'0db8'0000'0000, 1}, router6{0xfe80'0000'0000'0000, 2};
constexpr ipv4_address fixed4{10, 0, 0, 1}, asked4{10, 0, 0, 3};
constexpr ndp_prefix advertised[] = {{.prefix = {0x2001'0db8'0000'0000, 0}}};

static_pool<pool_config{.packets = 48, .bytes = 512, .headroom = 128, .bare = 1}> memory;

struct step {
  std::uint8_t what, who, place, change, value, time;
};

// A host of the link with what it is told about, and what it must not do.
class member {
 public:
  member(const mac_address& mac, std::uint64_t seed, const neighbour_options& o)
      : link{.mac = mac, .addresses = {}}, table_{memory, link, seed, o} {}

  // Sends what is due: each message has to be one that others accept.
  void pull(instant now) {
    packet out[4];
    while (const std::size_t n = table_->pull(out, 4, now))
      for (std::size_t i = 0; i < n; ++i) look_at(out[i], now);
  }
  [[nodiscard]] neighbour_table& table() { return table_.get(); }

  ip_interface link;

 private:
  void look_at(packet& sent, instant now) {
    packet p = static_cast<packet&&>(sent);
    p.layers(dissect(p.contents(), link_type::ethernet, {.head_offset = p.headroom()}));
    const header_map found{static_cast<const packet&>(p)};
    CHECK(found.has<ethernet>() && found.get<ethernet>().source() == link.mac);
    if (found.has<arp>()) {
      const auto m = found.get<arp>();
      CHECK(m.sender_hardware() == link.mac);
      CHECK(m.is_probe() || link.addresses.contains(m.sender_protocol()));
      return;
    }
    CHECK(found.has<icmpv6>());
    const auto around = found.get<ipv6>();
    CHECK(found.get<icmpv6>().checksum_ok(around.pseudo_header_sum()));
    const bytes whole = detail::icmpv6_bytes(found);
    const bool advertises = static_cast<bool>(router_advertisement::parse(whole, around));
    CHECK(advertises || router_solicitation::parse(whole, around) || neighbour_solicitation::parse(whole, around) ||
          neighbour_advertisement::parse(whole, around));
    if (!around.source().is_unspecified()) CHECK(link.addresses.find(around.source()) != nullptr);
    if (advertises) {
      CHECK(!advertised_before_ || now - last_ >= seconds(3));
      advertised_before_ = true;
      last_ = now;
    }
  }

  static_neighbour_table<neighbour_config{.entries = 6, .unresolved = 3, .packets = 16}> table_;
  instant last_{};
  bool advertised_before_ = false;
};

// Nobody, others, and the two themselves.
ipv6_address address_of(unsigned n) {
  constexpr ipv6_address all[] = {{},
                                  fixed6,
                                  router6,
                                  {0xfe80'0000'0000'0000, 9},
                                  {0xfe80'0000'0000'0000, 10},
                                  {0x2001'0db8'0000'0000, 0x0000'00ff'fe00'0001},
                                  {0xfe80'0000'0000'0000, 0x0000'00ff'fe00'0001},
                                  {0x2001'0db8'0000'0007, 7}};
  return all[n & 7u];
}
std::uint32_t lifetime_of(unsigned n) {
  constexpr std::uint32_t all[] = {0, 1, 100, 7'200, 7'300, 100'000, 0xffff'fffe, 0xffff'ffff};
  return all[n & 7u];
}
packet message_of(const step& s) {
  const ipv6_address from = address_of(s.who), about = address_of(s.who >> 3);
  const mac_address mac{{2, 0, 0, 0, 1, static_cast<std::uint8_t>(s.who >> 6)}};
  const auto frame = [&](const ipv6_address& to) {
    return ethernet_header{.source = mac, .destination = to.is_multicast() ? multicast_mac(to) : host_mac};
  };
  const auto outer = [&](const ipv6_address& to) {
    return ipv6_header{.source = from, .destination = to, .hop_limit = 255};
  };
  const ndp_source_link_address slla{mac};
  switch (s.what & 7u) {
    case 0:
    case 1: {
      const ndp_prefix prefix{.prefix = {0x2001'0db8'0000'0000u + (s.value & 15u), 0},
                              .prefix_length = static_cast<std::uint8_t>((s.what & 8u) != 0 ? 64 : s.value),
                              .on_link = (s.value & 0x10u) == 0,
                              .autonomous = (s.value & 0x20u) == 0,
                              .valid_lifetime = lifetime_of(s.who >> 3),
                              .preferred_lifetime = lifetime_of(s.value >> 5)};
      const router_advertisement_header m{.hop_limit = s.value,
                                          .managed = (s.value & 1u) != 0,
                                          .preference = static_cast<router_preference>(s.value & 3u),
                                          .router_lifetime = static_cast<std::uint16_t>(lifetime_of(s.value >> 2)),
                                          .reachable_time = lifetime_of(s.value >> 1),
                                          .retransmit_timer = lifetime_of(s.value >> 4)};
      const ipv6_address to = all_nodes_multicast;
      if ((s.what & 1u) == 0)
        return made_packet(memory, frame(to), outer(to), m, slla, prefix, ndp_mtu{1200 + 8u * s.value});
      return made_packet(memory, frame(to), outer(to), m, prefix,
                         ndp_recursive_dns{&advertised[0].prefix, 1, lifetime_of(s.value)});
    }
    case 2: {
      const ipv6_address to = all_routers_multicast;
      if (from.is_unspecified()) return made_packet(memory, frame(to), outer(to), router_solicitation_header{});
      return made_packet(memory, frame(to), outer(to), router_solicitation_header{}, slla);
    }
    case 3: {
      const ipv6_address to = solicited_node_multicast(about);
      if (from.is_unspecified())
        return made_packet(memory, frame(to), outer(to), neighbour_solicitation_header{.target = about});
      return made_packet(memory, frame(to), outer(to), neighbour_solicitation_header{.target = about}, slla);
    }
    case 4: {
      const ipv6_address to = (s.value & 1u) != 0 ? fixed6 : all_nodes_multicast;
      return made_packet(memory, frame(to), outer(to),
                         neighbour_advertisement_header{.target = about,
                                                        .router = (s.value & 2u) != 0,
                                                        .solicited = (s.value & 1u) != 0,
                                                        .override_cached = (s.value & 4u) != 0},
                         ndp_target_link_address{mac});
    }
    case 5:
      return made_packet(memory, frame(fixed6), outer(fixed6),
                         ndp_redirect_header{.target = about, .destination = address_of(s.value)},
                         ndp_target_link_address{mac});
    default: {
      const ipv4_address sender{10, 0, 0, static_cast<std::uint8_t>(s.who & 7u)};
      const ipv4_address target{10, 0, 0, static_cast<std::uint8_t>(s.who >> 3 & 7u)};
      return made_packet(memory, ethernet_header{.source = mac, .destination = mac_broadcast},
                         arp_header{.operation = (s.what & 1u) != 0 ? arp_operation::reply : arp_operation::request,
                                    .sender_hardware = mac,
                                    .sender_protocol = (s.value & 1u) != 0 ? ipv4_address{} : sender,
                                    .target_protocol = target});
    }
  }
}

void run_steps(const std::uint8_t* data, std::size_t size) {
  const auto policy = static_cast<conflict_policy>(size % 3);
  member host{host_mac, size, {.accept_untracked = size % 2 == 0, .on_conflict = policy}};
  member router{router_mac, size + 1, {.router = true}};
  CHECK(host.link.addresses.add(fixed4, 24) && host.link.addresses.add(fixed6, 64));
  CHECK(router.link.addresses.add(router6, 64));
  router_discovery discovery{host.table(), {.interface_id = size % 5 == 0 ? 7u : 0u}, size};
  router_advertiser advertiser{
      router.table(),
      {.max_interval = seconds(4), .min_interval = seconds(3), .prefixes = advertised, .prefix_count = 1},
      size};
  auto host_hears = answer_neighbours(host.table());
  auto host_discovers = hear_routers(discovery);
  auto router_hears = answer_neighbours(router.table());
  auto router_answers = hear_routers(advertiser);
  context c;
  discovery.start(c.now);
  advertiser.start(c.now);
  (void)host.table().acquire({asked4, 24}, c.now);

  const auto hear = [&](auto& first, auto& second, const step& s) {
    packet p = message_of(s);
    std::byte& b = p.writable()[s.place % p.length()];
    b ^= static_cast<std::byte>(s.change);
    p.layers(dissect(p.contents(), link_type::ethernet, {.head_offset = p.headroom()}));
    verdict v = first(p, c);
    if (v.code == verdict_code::pass) v = second(p, c);
    CHECK((v.code == verdict_code::stolen) == !p);
  };
  for (std::size_t i = 0; i + 6 <= size && i < 6 * 400; i += 6) {
    const step s{data[i], data[i + 1], data[i + 2], data[i + 3], data[i + 4], data[i + 5]};
    c.now = c.now + milliseconds(std::int64_t{s.time} * s.time * s.time / 16);
    host.pull(c.now);
    router.pull(c.now);
    interface_address before[own_addresses::most];
    std::size_t count = 0;
    for (const interface_address& a : host.link.addresses) before[count++] = a;
    if ((s.what & 0x80u) != 0) hear(router_hears, router_answers, s);
    else hear(host_hears, host_discovers, s);
    // What was said does not end an address sooner than in two hours.
    for (std::size_t k = 0; k < count; ++k) {
      const interface_address* const a = host.link.addresses.find(before[k].address);
      CHECK(a != nullptr && a->dynamic == before[k].dynamic);
      if (!a->dynamic)
        CHECK(a->valid_until == before[k].valid_until && a->preferred_until == before[k].preferred_until);
      CHECK(a->valid_until >= before[k].valid_until || a->valid_until - c.now >= seconds(7200));
    }
    if ((s.what & 0x10u) != 0 && (s.what & 0x20u) != 0) {
      if (advertiser.is_advertising()) advertiser.stop(c.now);
      else advertiser.start(c.now);
    }
    if ((s.what & 0x40u) != 0) {
      discovery.advance(c.now);
      advertiser.advance(c.now);
    }
    host.pull(c.now);
    router.pull(c.now);
    CHECK(host.table().check() && router.table().check());
    CHECK(host.link.addresses.find(mapped(fixed4)) != nullptr && host.link.addresses.contains(fixed6));
    CHECK(policy != conflict_policy::defend || host.link.addresses.contains(fixed4));
    CHECK(host.link.addresses.size() <= 4 + router_discovery::most_addresses);
    CHECK(host.link.mtu >= 1280 && host.link.mtu <= 1500);
    CHECK(host.table().options().retrans_time >= milliseconds(100) &&
          host.table().options().retrans_time <= seconds(3600));
    CHECK(host.table().reachable_time() <= seconds(5400));
    CHECK((discovery.router() == nullptr) == (discovery.routers().size() == 0));
    bool found = discovery.router() == nullptr;
    for (const default_router& r : discovery.routers()) {
      found = found || &r == discovery.router();
      CHECK(r.address.is_link_local());
    }
    CHECK(found);
    for (const link_prefix& p : discovery.prefixes()) CHECK(host.link.addresses.is_on_link(p.prefix.address()));
  }
  // When nobody says anything any more, a router that ends is silent in the end, and so is the host.
  advertiser.stop(c.now);
  for (int i = 0; i < 1000 && (advertiser.next_due() != never || !router.table().done()); ++i) {
    instant due = router.table().next_due();
    if (advertiser.next_due() < due) due = advertiser.next_due();
    if (due > c.now) c.now = due;
    advertiser.advance(c.now);
    router.pull(c.now);
  }
  CHECK(advertiser.next_due() == never && router.table().done());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  run_steps(data, size);
  CHECK(memory->available() == memory->capacity());
  return 0;
}
