// SPDX-License-Identifier: MIT
// Forwarding: what goes on, what is refused with which error, and what is dropped.
#include <runnel/ip.hpp>

#include <cstddef>
#include <cstdint>
#include <utility>

#include <doctest/doctest.h>

#include <runnel/base/snapshot.hpp>

#include <flow/test_device.hpp>
#include <ip/plain_packets.hpp>
#include <ip/three_links.hpp>

using namespace runnel;
using namespace runnel::test;

namespace {

using table = three_links::table;

// Packets come from 10.0.0.1 and 2001:db8::1 behind `lan`, and go to 192.0.2.1 and 2001:db8::2 behind `wan`.
struct fixture : three_links {
  counted_pool memory{pool_config{.packets = 16, .bytes = 1700, .headroom = 64, .bare = 8}};
  forwarding_options options{.interfaces = all};
  packet last;

  fixture() {
    REQUIRE(routes.insert(net("2001:db8::2/128"), next_hop::via(addr6("fe80::2"), wan)));
    REQUIRE(routes.insert(net("2001:db8::/64"), next_hop::on_link(lan)));
    REQUIRE(routes.insert(net("2001:db8:9::/48"), next_hop::on_link(thin, 1280)));
  }
  // What is decided about these bytes, which came by `iif`. The route is looked up as route() does.
  verdict decide(const octets& bytes_of_it, std::uint16_t iif = lan) {
    last = packet_of(memory, bytes_of_it);
    last.iif(iif);
    const header_map found{static_cast<const packet&>(last)};
    const next_hop_number n = found.has<ipv4>() ? routes.lookup(found.get<ipv4>().destination())
                                                : routes.lookup(found.get<ipv6>().destination());
    last.scratch(n);
    return decide(last);
  }
  verdict decide(packet& p) {
    context c;
    return detail::forwarding_decision<table>{&routes, options}.decide(p, c, nullptr).decision();
  }
  // Whether it goes on, and nothing but TTL and header checksum have changed.
  bool goes_on(const octets& link, const plain_ip4& h, const octets& payload, std::uint16_t way = 0) {
    const verdict v = decide(join({link, datagram4(h, payload)}));
    plain_ip4 after = h;
    --after.ttl;
    return v.code == verdict_code::pass && v.port == way && octets_of(last) == join({link, datagram4(after, payload)});
  }
  bool goes_on(const plain_ip6& h, const octets& payload) {
    const verdict v = decide(join({link6(), datagram6(h, payload)}));
    plain_ip6 after = h;
    --after.hop_limit;
    return v.code == verdict_code::pass && v.port == 0 && octets_of(last) == join({link6(), datagram6(after, payload)});
  }
  drop_reason dropped(const octets& bytes_of_it, std::uint16_t iif = lan) {
    const verdict v = decide(bytes_of_it, iif);
    CHECK(octets_of(last) == bytes_of_it);
    return v.code == verdict_code::drop ? v.reason : drop_reason::none;
  }
  drop_reason dropped(const plain_ip4& h) { return dropped(join({link4(), datagram4(h, udp_of({}))})); }
  drop_reason dropped(const plain_ip6& h) { return dropped(join({link6(), datagram6(h, udp_of({}))})); }
  // What the sender is told: type, code and value; 0 when the packet is not refused.
  std::uint32_t told(const octets& bytes_of_it) {
    const verdict v = decide(bytes_of_it);
    CHECK(octets_of(last) == bytes_of_it);
    return v.code == verdict_code::pass && v.port == 2 ? last.scratch() : 0;
  }
  std::uint32_t told(const plain_ip4& h, const octets& payload) { return told(join({link4(), datagram4(h, payload)})); }
  std::uint32_t told(const plain_ip6& h, const octets& payload) { return told(join({link6(), datagram6(h, payload)})); }
};

constexpr std::uint32_t error_word(unsigned type, unsigned code, unsigned value) {
  return type << 24 | code << 16 | value;
}

}  // namespace

TEST_CASE("RFC 1812 5.3.1: the TTL is one less, the checksum with it, and nothing else changes") {
  fixture t;
  for (const int ttl : {2, 64, 255})
    for (std::uint16_t id = 0; id < 700; id = static_cast<std::uint16_t>(id + 7))
      REQUIRE(t.goes_on(link4(), {.ttl = static_cast<std::uint8_t>(ttl), .id = id}, udp_of(counting(3))));
  CHECK(t.hops[static_cast<next_hop_number>(t.last.scratch())].oif == wan);  // for the stages behind
  CHECK(t.goes_on(link4({0x81, 0, 0, 5}), {}, udp_of({})));
  CHECK(t.goes_on(link4(), {.flags_and_offset = 0x00b9}, counting(24)));  // fragments are packets
  CHECK(t.goes_on({.hop_limit = 2}, udp_of({})));
  CHECK(t.goes_on({.hop_limit = 255}, udp_of({})));
}

TEST_CASE("RFC 1812 5.3.1, RFC 8200 3: a TTL or hop limit of 1 or 0 is time exceeded, and stays") {
  fixture t;
  CHECK(t.told({.ttl = 1}, udp_of({})) == error_word(11, 0, 0));
  CHECK(t.told({.ttl = 0}, udp_of({})) == error_word(11, 0, 0));
  CHECK(t.told({.hop_limit = 1}, udp_of({})) == error_word(3, 0, 0));
  CHECK(t.told({.hop_limit = 0}, udp_of({})) == error_word(3, 0, 0));
}

TEST_CASE("RFC 1812 4.3.3.3, RFC 1191, RFC 8200 5: too long for the next hop") {
  fixture t;
  const auto udp = [](std::size_t datagram, std::size_t header) { return udp_of(counting(datagram - header - 8)); };
  CHECK(t.goes_on(link4(), {}, udp(1500, 20)));
  CHECK(t.told(plain_ip4{}, udp(1501, 20)) == error_word(3, 4, 1500));
  CHECK(t.goes_on(link4(), {.flags_and_offset = 0}, udp(1500, 20), 0));
  CHECK(t.goes_on(link4(), {.flags_and_offset = 0}, udp(1501, 20), 1));  // may be fragmented
  CHECK(t.goes_on(link4(), {.destination = 0xcb00'7105}, udp(1300, 20)));
  CHECK(t.told({.destination = 0xcb00'7105}, udp(1301, 20)) == error_word(3, 4, 1300));  // the interface's
  CHECK(t.goes_on({}, udp(1500, 40)));
  CHECK(t.told(plain_ip6{}, udp(1501, 40)) == error_word(2, 0, 1500));
  plain_ip6 beyond{.destination = address6(1)};
  beyond.destination[5] = 9;  // 2001:db8:9::1, whose next hop says 1280
  CHECK(t.goes_on(beyond, udp(1280, 40)));
  CHECK(t.told(beyond, udp(1281, 40)) == error_word(2, 0, 1280));
  beyond.destination[5] = 8;  // no link may take less than 1280
  REQUIRE(t.routes.insert(net("2001:db8:8::/48"), next_hop::on_link(thin, 1000)));
  CHECK(t.goes_on(beyond, udp(1280, 40)));
  CHECK(t.told(beyond, udp(1281, 40)) == error_word(2, 0, 1280));
  // Padding does not count, and a TTL of 1 comes first.
  CHECK(t.decide(join({link4(), datagram4({}, udp_of({})), octets(1500)})).code == verdict_code::pass);
  CHECK(t.told({.ttl = 1}, udp(1501, 20)) == error_word(11, 0, 0));
}

TEST_CASE("a packet that stands for several segments is as long as one of them") {
  fixture t;
  octets tcp{3, 232, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x10, 0, 0, 0, 0, 0, 0};
  append(tcp, counting(1600));
  packet p = packet_of(t.memory, join({link4(), datagram4({.protocol = 6}, tcp)}));
  p.scratch(t.routes.lookup(addr4("192.0.2.1")));
  p.segment_size(1461);
  CHECK(t.decide(p).port == 2);
  p.scratch(t.routes.lookup(addr4("192.0.2.1")));
  p.segment_size(1460);
  CHECK(t.decide(p).port == 0);
}

TEST_CASE("RFC 1812 5.3.7, 4.2.2.11, 5.3.4, 5.3.5: martians and broadcasts go nowhere") {
  fixture t;
  for (const std::uint32_t a :
       {0x0000'0000u, 0x0001'0203u, 0x7f00'0001u, 0xe000'0005u, 0xf000'0001u, 0xffff'ffffu, 0xa9fe'0101u}) {
    CAPTURE(a);
    CHECK(t.dropped(plain_ip4{.source = a}) == drop_reason::martian);
    REQUIRE(t.routes.insert(net("0.0.0.0/0"), next_hop::on_link(wan)));
    CHECK(t.dropped(plain_ip4{.destination = a}) == drop_reason::martian);
    REQUIRE(t.routes.erase(net("0.0.0.0/0")));
  }
  const octets group = join({{0xff, 0x0e}, octets(13), {1}});
  const octets mapped = join({octets(10), {0xff, 0xff, 10, 0, 0, 1}});
  REQUIRE(t.routes.insert(net("::/0"), next_hop::on_link(wan)));
  for (const octets& a : {octets(16), join({octets(15), {1}}), group, mapped}) {
    CHECK(t.dropped(plain_ip6{.source = a}) == drop_reason::martian);
    CHECK(t.dropped(plain_ip6{.destination = a}) == drop_reason::martian);
  }
  // Link-local addresses stay on their link (RFC 4291 2.5.6).
  CHECK(t.dropped(plain_ip6{.destination = join({{0xfe, 0x80}, octets(13), {1}})}) == drop_reason::martian);
  CHECK(t.told({.source = join({{0xfe, 0x80}, octets(13), {1}})}, udp_of({})) == error_word(1, 2, 0));
  // Nobody else has our own addresses.
  CHECK(t.dropped(plain_ip4{.source = 0xcb00'7101}) == drop_reason::martian);
  CHECK(t.goes_on(link4(), {.source = 0xcb00'7102}, udp_of({})));
  CHECK(t.dropped(plain_ip6{.source = join({{0x20, 0x01, 0x0d, 0xb8}, octets(11), {0xfe}})}) == drop_reason::martian);
  t.options.interfaces = {};
  CHECK(t.goes_on(link4(), {.source = 0xcb00'7101}, udp_of({})));
  t.options.interfaces = t.all;
  // Nobody is all hosts of a subnet.
  CHECK(t.dropped(plain_ip4{.source = 0xcb00'71ff}) == drop_reason::martian);
  CHECK(t.dropped(plain_ip4{.source = 0xcb00'7100}) == drop_reason::martian);
  // Directed broadcasts, by choice.
  CHECK(t.dropped(plain_ip4{.destination = 0xcb00'71ff}) == drop_reason::martian);
  t.options.directed_broadcast = true;
  CHECK(t.goes_on(link4(), {.destination = 0xcb00'71ff}, udp_of({})));
  // Sent to many on the link.
  octets link = link4();
  link[0] = 1;
  CHECK(t.dropped(join({link, datagram4({}, udp_of({}))})) == drop_reason::link_broadcast);
  link = link6();
  link[0] = 0x33;
  CHECK(t.dropped(join({link, datagram6({}, udp_of({}))})) == drop_reason::link_broadcast);
}

TEST_CASE("RFC 1812 5.2.2: a wrong header checksum goes no further") {
  fixture t;
  octets all = join({link4(), datagram4({}, udp_of({}))});
  all[14 + 8] ^= 1;
  CHECK(t.dropped(all) == drop_reason::ip_checksum);
}

TEST_CASE("RFC 3704: the reverse path, strict and loose, and over groups") {
  fixture t;
  const octets from_lan = join({link4(), datagram4({}, udp_of({}))});
  const octets unknown = join({link4(), datagram4({.source = 0x0b00'0001}, udp_of({}))});
  const octets six = join({link6(), datagram6({}, udp_of({}))});
  CHECK(t.decide(from_lan, wan).code == verdict_code::pass);
  CHECK(t.decide(unknown).code == verdict_code::pass);
  t.options.reverse_path = reverse_path_filter::loose;
  CHECK(t.decide(from_lan, wan).code == verdict_code::pass);
  CHECK(t.dropped(unknown) == drop_reason::reverse_path);
  CHECK(t.decide(six, wan).code == verdict_code::pass);
  t.options.reverse_path = reverse_path_filter::strict;
  CHECK(t.decide(from_lan, lan).code == verdict_code::pass);
  CHECK(t.dropped(from_lan, wan) == drop_reason::reverse_path);
  CHECK(t.decide(six, lan).code == verdict_code::pass);
  CHECK(t.dropped(six, wan) == drop_reason::reverse_path);
  CHECK(t.dropped(unknown) == drop_reason::reverse_path);
  // A source that has a route, but not one that packets come from.
  REQUIRE(t.routes.insert(net("11.0.0.0/8"), next_hop::of(route_type::blackhole)));
  CHECK(t.dropped(unknown) == drop_reason::reverse_path);
  REQUIRE(t.routes.erase(net("11.0.0.0/8")));
  const weighted_hop both[] = {{t.hops.add(next_hop::on_link(lan)), 1}, {t.hops.add(next_hop::on_link(thin)), 1}};
  REQUIRE(t.routes.insert(net("11.0.0.0/8"), t.hops.add_group(both, 2)));
  CHECK(t.decide(unknown, lan).code == verdict_code::pass);
  CHECK(t.decide(unknown, thin).code == verdict_code::pass);
  CHECK(t.dropped(unknown, wan) == drop_reason::reverse_path);
  t.options.reverse_path = reverse_path_filter::loose;
  CHECK(t.decide(unknown, wan).code == verdict_code::pass);
}

TEST_CASE("RFC 1812 5.2.4: unknown options, record route, timestamp and router alert pass; source routes do not") {
  fixture t;
  for (const octets& o : {octets{7, 7, 4, 0, 0, 0, 0, 0}, octets{68, 8, 5, 0, 0, 0, 0, 0}, octets{148, 4, 0, 0},
                          octets{1, 1, 0, 131}, octets{222, 4, 9, 9}, octets{130, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}})
    CHECK(t.goes_on(link4(), {.options = o}, udp_of({})));
  CHECK(t.dropped(plain_ip4{.options = {131, 7, 4, 192, 0, 2, 9, 0}}) == drop_reason::source_route);
  CHECK(t.dropped(plain_ip4{.options = {1, 137, 7, 4, 192, 0, 2, 9}}) == drop_reason::source_route);
  // An impossible length is pointed at: parameter problem.
  CHECK(t.told({.options = {7, 1, 4, 0}}, udp_of({})) == error_word(12, 0, 20));
  CHECK(t.told({.options = {1, 148, 4, 0, 0, 68, 9, 5}}, udp_of({})) == error_word(12, 0, 25));
}

TEST_CASE("RFC 8200 4.2: unknown hop-by-hop options are skipped, dropped or reported, as their highest bits say") {
  fixture t;
  const auto with = [](octets option) {
    octets header = join({{17, 0}, option});
    header.resize(8);
    return join({header, udp_of({})});
  };
  CHECK(t.goes_on({.next = 0}, with({1, 4, 0, 0, 0, 0})));
  CHECK(t.goes_on({.next = 0}, with({5, 2, 0, 0, 1, 0})));  // router alert
  CHECK(t.goes_on({.next = 0}, with({0x1e, 4, 0, 0, 0, 0})));
  CHECK(t.goes_on({.next = 0}, with({0x3e, 4, 0, 0, 0, 0})));
  CHECK(t.dropped(join({link6(), datagram6({.next = 0}, with({0x5e, 4, 0, 0, 0, 0}))})) == drop_reason::ip_option);
  CHECK(t.told({.next = 0}, with({0x9e, 4, 0, 0, 0, 0})) == error_word(4, 2, 42));
  CHECK(t.told({.next = 0}, with({0, 0xde, 3, 0, 0, 0})) == error_word(4, 2, 43));
  CHECK(t.told({.next = 0}, with({0xc2, 4, 0, 1, 0, 0})) == error_word(4, 2, 42));  // jumbograms
  CHECK(t.dropped(join({link6(), datagram6({.next = 0}, with({0x1e, 5, 0, 0, 0, 0}))})) == drop_reason::ip_option);
  // The same options for the destination are the destination's.
  CHECK(t.goes_on({.next = 60}, with({0x9e, 4, 0, 0, 0, 0})));
  CHECK(t.goes_on({.next = 60}, with({0x5e, 4, 0, 0, 0, 0})));
}

TEST_CASE("RFC 5095 3: a routing header of type 0 is refused while segments are left; other types are the owner's") {
  fixture t;
  const auto routing = [](std::uint8_t type, std::uint8_t left) {
    return join({{17, 2, type, left, 0, 0, 0, 0}, address6(9), udp_of({})});
  };
  CHECK(t.told({.next = 43}, routing(0, 1)) == error_word(4, 0, 42));
  CHECK(t.goes_on({.next = 43}, routing(0, 0)));
  CHECK(t.goes_on({.next = 43}, routing(4, 1)));
}

TEST_CASE("a packet without a usable next hop is refused, and what is not IP dropped") {
  fixture t;
  CHECK(t.told({.destination = 0x0808'0808}, udp_of({})) == error_word(3, 0, 0));
  REQUIRE(t.routes.insert(net("8.0.0.0/8"), next_hop::of(route_type::local)));
  CHECK(t.told({.destination = 0x0808'0808}, udp_of({})) == error_word(3, 0, 0));
  plain_ip6 nowhere{.destination = address6(2, 0x2002)};
  CHECK(t.told(nowhere, udp_of({})) == error_word(1, 0, 0));
  packet arp = packet_of(t.memory, join({octets(12), {0x88, 0xb5}, octets(46)}));
  CHECK(t.decide(arp) == drop(drop_reason::not_ip));
}

TEST_CASE("shared bytes are copied before the TTL changes; without a slot the packet is dropped") {
  fixture t;
  const octets all = join({link4(), datagram4({}, udp_of({}))});
  packet p = packet_of(t.memory, all);
  packet other = p.clone();
  p.scratch(t.routes.lookup(addr4("192.0.2.1")));
  CHECK(t.decide(p).port == 0);
  CHECK(octets_of(p) == join({link4(), datagram4({.ttl = 63}, udp_of({}))}));
  CHECK(octets_of(other) == all);
  counted_pool tight{pool_config{.packets = 1, .bytes = 256, .headroom = 64, .bare = 1}};
  packet alone = packet_of(tight, all);
  packet twin = alone.clone();
  alone.scratch(t.routes.lookup(addr4("192.0.2.1")));
  CHECK(t.decide(alone) == drop(drop_reason::no_packet));
}

TEST_CASE("what was found in a packet holds behind route, and behind forwarding no more, which may have copied it") {
  constexpr place before{.packets = true, .parsed = true, .dissected = true};
  using decides = decltype(route(std::declval<const table&>()));
  using forwards = decltype(forwarding(std::declval<const table&>()));
  static_assert(detail::after<decides>(before).dissected && !decides::resizes);
  static_assert(!detail::after<forwards>(before).dissected && !forwards::resizes);
}

TEST_CASE("RFC 1812 5.2.7.2: a redirect when sender and better router are on the subnet that it comes from") {
  fixture t;
  REQUIRE(t.routes.insert(net("10.9.0.0/16"), next_hop::via(addr4("10.0.0.7"), lan)));
  REQUIRE(t.routes.insert(net("10.8.0.0/16"), next_hop::via(addr4("198.51.100.7"), lan)));
  const auto better = [&](const plain_ip4& h, std::uint16_t iif = lan) {
    (void)t.decide(join({link4(), datagram4(h, udp_of({}))}), iif);
    return redirect_for(t.last, t.hops, t.all);
  };
  const icmp_error none{icmp_kind{}, icmpv6_kind{}};
  CHECK(better({.destination = 0x0a09'0001}) == icmp_error{icmp::redirect::host, icmpv6_kind{}, 0x0a00'0007});
  CHECK(better({.destination = 0x0a00'0005}) == icmp_error{icmp::redirect::host, icmpv6_kind{}, 0x0a00'0005});
  CHECK(better({.destination = 0x0a09'0001}, wan) == none);                    // from another interface
  CHECK(better({.source = 0x0b00'0001, .destination = 0x0a09'0001}) == none);  // not of the subnet
  CHECK(better({.destination = 0x0a08'0001}) == none);                         // nor the router
  CHECK(better({}) == none);
  CHECK(better({.destination = 0x0a09'0001, .options = {131, 3, 4, 0}}) == none);  // which is source-routed
}

TEST_CASE("a router in a pipeline: what goes on, and what the sender is told") {
  fixture t;
  icmp_sender errors{t.all};
  test_device wire{t.memory};
  const auto to = [&](unsigned n, ipv4_address a, std::size_t size, std::uint8_t ttl) {
    wire.put(n, size, instant{1}, eth, ipv4_header{.source = {10, 0, 0, 1}, .destination = a, .ttl = ttl},
             udp_header{.source_port = 1000, .destination_port = 53});
  };
  to(1, addr4("192.0.2.1"), 18, 64);
  to(2, addr4("192.0.2.1"), 18, 1);
  to(3, addr4("203.0.113.9"), 1400, 64);
  to(4, addr4("8.8.8.8"), 18, 64);
  to(5, addr4("127.0.0.1"), 18, 64);
  wire.put(6, 1400, instant{1}, eth,
           ipv4_header{.source = {10, 0, 0, 1}, .destination = addr4("203.0.113.9"), .dont_fragment = false},
           udp_header{});
  numbers on, cut, told;
  auto output = as_pipeline(deliver([&](packet p) {
    const header_map found{static_cast<const packet&>(p)};
    REQUIRE(found.has<icmp>());
    CHECK(found.get<ipv4>().source() == addr4("10.0.0.254"));
    CHECK(found.get<ipv4>().destination() == addr4("10.0.0.1"));
    CHECK(found.get<ipv4>().checksum_ok());
    const auto message = found.get<icmp>();
    CHECK(message.checksum_ok());
    told.add(message.message_type());
    told.add(message.message_code());
    told.add(message.next_hop_mtu());
    const auto quoted = ipv4::unchecked(message.quoted());
    CHECK(quoted.checksum_ok());  // as it came
  }));
  REQUIRE(t.routes.insert(net("127.0.0.0/8"), next_hop::on_link(wan)));
  auto path = parse() | [](packet& p) { p.iif(lan); } |
              route(t.routes)
                  .on<local>(discard)
                  .on<forward>(forwarding(t.routes, {.interfaces = t.all, .reverse_path = reverse_path_filter::strict})
                                   .on<forwarded>(note(on))
                                   .on<oversized>(note(cut))
                                   .on<refused>(reject(errors) | shared(output)))
                  .on<no_route>(reject(t.routes.hops(), errors) | shared(output));
  run(attach(wire, path));
  CHECK(on == "1");
  CHECK(cut == "6");
  CHECK(told == "11 0 0 3 4 1300 3 0 0");
}

TEST_CASE("routes that are replaced meanwhile: the reverse path and the next hop are those of the reader's") {
  fixture t;
  sorted_routes_of<ipv4_address, 16> next4;
  sorted_routes_of<ipv6_address, 16> next6;
  table next{t.hops, next4, next6};
  REQUIRE(next.insert(net("10.0.0.0/24"), next_hop::on_link(thin)));
  REQUIRE(next.insert(net("192.0.2.0/24"), next_hop::via(addr4("198.51.100.3"), wan)));
  snapshot<table, 1> current{t.routes};
  auto& mine = current.reader(0);
  static_neighbour_table<neighbour_config{.entries = 8, .unresolved = 4, .packets = 8}> neighbours{t.memory, t.all[wan],
                                                                                                   3};
  test_device wire{t.memory};
  std::uint16_t from = lan;
  auto path = parse() | [&](burst&) { mine.refresh(); } | [&from](packet& p) { p.iif(from); } |
              route(mine)
                  .on<local>(discard)
                  .on<forward>(forwarding(mine, {.interfaces = t.all, .reverse_path = reverse_path_filter::strict})
                                   .on<forwarded>(resolve(neighbours, mine) | discard)
                                   .on<oversized>(discard)
                                   .on<refused>(discard))
                  .on<no_route>(discard);
  const auto come = [&](std::uint16_t iif) {
    from = iif;
    wire.put(1, 18, {}, eth, ipv4_header{.source = {10, 0, 0, 1}, .destination = addr4("192.0.2.9"), .ttl = 9},
             udp_header{});
    run(attach(wire, path));
    return totals(path).reasons[static_cast<std::size_t>(drop_reason::reverse_path)];
  };
  CHECK(come(lan) == 0);
  CHECK(neighbours->find(mapped(addr4("198.51.100.2")), {}).state == neighbour_state::incomplete);
  current.replace(next);
  CHECK(come(lan) == 1);
  CHECK(neighbours->size() == 1);
  CHECK(come(thin) == 1);
  CHECK(neighbours->find(mapped(addr4("198.51.100.3")), {}).state == neighbour_state::incomplete);
}
