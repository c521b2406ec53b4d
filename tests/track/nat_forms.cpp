// SPDX-License-Identifier: MIT
// Each form of NAT on single conversations.
#include <doctest/doctest.h>

#include <set>
#include <string>

#include "nat_rig.hpp"

using namespace runnel;
using namespace runnel::test;
using namespace runnel::test::nat_hosts;

TEST_CASE("a source is translated, and the answer back; the port stays") {
  nat_rig t;
  t.outbound(snat(addr4("192.0.2.7")));
  CHECK(t.udp(in1, 1000, out1, 53) == "udp 192.0.2.7:1000 > 198.51.100.1:53");
  CHECK(t.rules.asked == 2);
  CHECK(t.udp(out1, 53, addr4("192.0.2.7"), 1000) == "udp 198.51.100.1:53 > 10.0.0.1:1000");
  CHECK(t.udp(in1, 1000, out1, 53) == "udp 192.0.2.7:1000 > 198.51.100.1:53");
  CHECK(t.rules.asked == 2);  // only for the first packet
  CHECK(t.udp(out2, 53, addr4("192.0.2.7"), 1000) == "udp 198.51.100.2:53 > 192.0.2.7:1000");  // a stranger
  const connection& c = (*t.table)[0];
  CHECK(c.has_status(connection_status::src_nat | connection_status::src_nat_done | connection_status::dst_nat_done));
  CHECK_FALSE(c.has_status(connection_status::dst_nat));
  CHECK(t.nat->statistics().translated == 1);
}

TEST_CASE("TCP goes through a source NAT from its SYN to its end") {
  nat_rig t;
  t.outbound(masquerade());
  constexpr std::uint8_t S = tcp_flags::syn, A = tcp_flags::ack, F = tcp_flags::fin, R = tcp_flags::rst;
  CHECK(t.tcp_flags_of(S, in1, 40000, out1, 80, 9) == "tcp 192.0.2.254:40000 > 198.51.100.1:80");
  CHECK(t.tcp_flags_of(S | A, out1, 80, box, 40000, 99, 10) == "tcp 198.51.100.1:80 > 10.0.0.1:40000");
  CHECK(t.tcp_flags_of(A, in1, 40000, out1, 80, 10, 100) == "tcp 192.0.2.254:40000 > 198.51.100.1:80");
  CHECK(t.tcp_flags_of(F | A, in1, 40000, out1, 80, 10, 100) == "tcp 192.0.2.254:40000 > 198.51.100.1:80");
  CHECK(t.tcp_flags_of(F | A, out1, 80, box, 40000, 100, 11) == "tcp 198.51.100.1:80 > 10.0.0.1:40000");
  CHECK(t.tcp_flags_of(A, in1, 40000, out1, 80, 11, 101) == "tcp 192.0.2.254:40000 > 198.51.100.1:80");
  // A reset of what was not answered ends the connection, and goes out translated all the same.
  CHECK(t.tcp_flags_of(S, in1, 40001, out1, 80, 9) == "tcp 192.0.2.254:40001 > 198.51.100.1:80");
  CHECK(t.tcp_flags_of(R, in1, 40001, out1, 80, 10) == "tcp 192.0.2.254:40001 > 198.51.100.1:80");
  CHECK(t.tcp_flags_of(S | A, out1, 80, box, 40001, 99, 10) == "dropped: no_match");  // too late
}

TEST_CASE("masquerade takes the address of the interface, and connections go with the address") {
  nat_rig t;
  t.outbound(masquerade());
  CHECK(t.udp(in1, 1000, out1, 53) == "udp 192.0.2.254:1000 > 198.51.100.1:53");
  CHECK(t.udp6(in6, 1000, out6, 53) == "udp [2001:db8::254]:1000 > [2001:db8:1::1]:53");
  CHECK(t.udp(in2, 2000, in1, 53) == "udp 10.0.0.2:2000 > 10.0.0.1:53");
  CHECK(t.table->size() == 3);
  t.nat->forget(mapped(box));
  CHECK(t.table->size() == 2);
  t.own4 = ipv4_address{192, 0, 2, 253};
  CHECK(t.udp(in1, 1000, out1, 53) == "udp 192.0.2.253:1000 > 198.51.100.1:53");
  t.own4 = {};
  CHECK(t.udp(in1, 1001, out1, 53) == "dropped: nat_exhausted");
  CHECK(t.nat->statistics().exhausted == 1);
}

TEST_CASE("an own address that is none, or of the other family, is a counted drop") {
  counted_table connections({.connections = 16, .ipv6_connections = 8, .unconfirmed = 16, .seed = 1});
  nat_table translations(*connections, 5);
  const nat_target to = masquerade().target();
  counted_pool pool;
  const packet p = pool->allocate();
  std::uint16_t port = 1000;
  const auto bound_to = [&](bool v6, const ipv6_address& own) {
    ++port;
    const connection_tuple t =
        v6 ? connection_tuple{in6, out6, port, 53, 17} : connection_tuple{in1, out1, port, 53, 17};
    connection& c = (*connections)[connections->insert(t, {})];
    const auto own_address = [&](const packet&, const ipv6_address&) { return own; };
    return translations.bind(c, p, true, &to, own_address, {});
  };
  CHECK(bound_to(false, mapped(box)) == pass);
  CHECK(bound_to(true, box6) == pass);
  for (const ipv6_address& a : {ipv6_address{}, mapped(ipv4_address{}), box6})
    CHECK(bound_to(false, a) == drop(drop_reason::nat_exhausted));
  for (const ipv6_address& a : {ipv6_address{}, mapped(ipv4_address{}), mapped(box)})
    CHECK(bound_to(true, a) == drop(drop_reason::nat_exhausted));
  CHECK(translations.statistics().exhausted == 6);
  CHECK(translations.statistics().translated == 2);
}

TEST_CASE("a rule that names neither address nor port leaves both as they are") {
  nat_rig t;
  nat_target to;
  to.kind = nat_kind::snat;
  t.outbound(nat_statement<true>{to});
  CHECK(t.udp(in1, 1000, out1, 53) == "udp 10.0.0.1:1000 > 198.51.100.1:53");
  CHECK(t.udp6(in6, 1000, out6, 53) == "udp [fd00::1]:1000 > [2001:db8:1::1]:53");
  CHECK(t.nat->statistics().translated == 2);
}

TEST_CASE("a destination is translated: a port forward") {
  nat_rig t;
  t.inbound(dnat(in2).port(8080), 80);
  CHECK(t.syn(out1, 5000, box, 80) == "tcp 198.51.100.1:5000 > 10.0.0.2:8080");
  CHECK(t.tcp_flags_of(tcp_flags::syn | tcp_flags::ack, in2, 8080, out1, 5000, 7, 101) ==
        "tcp 192.0.2.254:80 > 198.51.100.1:5000");
  CHECK(t.syn(out1, 5000, box, 81) == "tcp 198.51.100.1:5000 > 192.0.2.254:81");
}

TEST_CASE("a redirect leads to this host") {
  nat_rig t;
  t.rule(prerouting, redirect_here().port(3128), [](const packet& p) { return p.iif() == 1; });
  CHECK(t.syn(in1, 5000, out1, 80) == "tcp 10.0.0.1:5000 > 192.0.2.254:3128");
  CHECK(t.tcp_flags_of(tcp_flags::syn | tcp_flags::ack, box, 3128, in1, 5000, 7, 101) ==
        "tcp 198.51.100.1:80 > 10.0.0.1:5000");
}

TEST_CASE("twice NAT: both ends, both families") {
  nat_rig t;
  t.inbound(dnat(in2).port(8080), 80);
  t.rule(postrouting, snat(addr4("10.0.0.254")), [](const packet& p) { return p.scratch() >> 16 == 1; });
  t.inbound(dnat(in6).port(8080), 81);
  t.rule(postrouting, snat(addr6("fd00::fe")), [](const packet& p) { return p.scratch() >> 16 == 1; });
  CHECK(t.syn(out1, 5000, box, 80) == "tcp 10.0.0.254:5000 > 10.0.0.2:8080");
  CHECK(t.tcp_flags_of(tcp_flags::syn | tcp_flags::ack, in2, 8080, addr4("10.0.0.254"), 5000, 7, 101) ==
        "tcp 192.0.2.254:80 > 198.51.100.1:5000");
  CHECK(t.udp6(out6, 5000, box6, 81) == "udp [2001:db8:1::1]:5000 > [fd00::1]:8080");  // the rule that matches first
  t.rules.all.erase(t.rules.all.begin() + 1);                                          // is of the other family
  CHECK(t.udp6(out6, 5001, box6, 81) == "udp [fd00::fe]:5001 > [fd00::1]:8080");
  CHECK(t.udp6(in6, 8080, addr6("fd00::fe"), 5001) == "udp [2001:db8::254]:81 > [2001:db8:1::1]:5001");
}

TEST_CASE("prefixes are mapped one to one, both ways and both families") {
  nat_rig t;
  t.outbound(snat(net("192.0.2.0/25")));
  t.outbound(snat(net("2001:db8:5::/48")));
  t.rule(prerouting, dnat(net("10.0.0.0/25")), [](const packet& p) { return p.iif() == 2; });
  CHECK(t.udp(in1, 1000, out1, 53) == "udp 192.0.2.1:1000 > 198.51.100.1:53");
  CHECK(t.udp(in2, 1000, out1, 53) == "udp 192.0.2.2:1000 > 198.51.100.1:53");
  t.rules.all.erase(t.rules.all.begin());
  CHECK(t.udp6(in6, 1000, out6, 53) == "udp [2001:db8:5::1]:1000 > [2001:db8:1::1]:53");
  CHECK(t.udp6(out6, 53, addr6("2001:db8:5::1"), 1000) == "udp [2001:db8:1::1]:53 > [fd00::1]:1000");
  CHECK(t.udp(out1, 7, addr4("192.0.2.1"), 9) == "udp 198.51.100.1:7 > 10.0.0.1:9");
}

TEST_CASE("two hosts with the same port to the same place: the second one gets another") {
  nat_rig t;
  t.outbound(masquerade());
  CHECK(t.udp(in1, 1000, out1, 53) == "udp 192.0.2.254:1000 > 198.51.100.1:53");
  const std::string second = t.udp(in2, 1000, out1, 53);
  const std::uint16_t port = nat_rig::port_of(second);
  CHECK(port != 1000);
  CHECK(port >= 600);  // ports below 1024 stay there
  CHECK(port <= 1023);
  CHECK(t.udp(out1, 53, box, port) == "udp 198.51.100.1:53 > 10.0.0.2:1000");
  CHECK(t.udp(out1, 53, box, 1000) == "udp 198.51.100.1:53 > 10.0.0.1:1000");
  CHECK(t.udp(in2, 1000, out2, 53) == "udp 192.0.2.254:1000 > 198.51.100.2:53");  // free towards others
  CHECK(t.udp(in1, 300, out1, 53) == "udp 192.0.2.254:300 > 198.51.100.1:53");
  CHECK(nat_rig::port_of(t.udp(in2, 300, out1, 53)) < 512);
  CHECK(t.udp(in1, 3000, out1, 53) == "udp 192.0.2.254:3000 > 198.51.100.1:53");
  CHECK(nat_rig::port_of(t.udp(in2, 3000, out1, 53)) >= 1024);
}

TEST_CASE("a connection that would clash with another is moved, without any rule") {
  nat_rig t;
  t.inbound(dnat(in2), 80);
  // Somebody outside speaks to the host directly, and through the forward, from one port.
  CHECK(t.syn(out1, 5000, in2, 80) == "tcp 198.51.100.1:5000 > 10.0.0.2:80");
  t.rules.all[0].holds = [](const packet& p) {
    const header_map m{p};
    return m.get<ipv4>().destination() == box;
  };
  t.table->clear();
  CHECK(t.syn(out1, 5000, in2, 80) == "tcp 198.51.100.1:5000 > 10.0.0.2:80");
  const std::string moved = t.syn(out1, 5000, box, 80);
  CHECK(moved != "tcp 198.51.100.1:5000 > 10.0.0.2:80");
  const std::uint16_t port = nat_rig::port_of(moved);
  CHECK(port >= 1024);
  CHECK(t.tcp_flags_of(tcp_flags::syn | tcp_flags::ack, in2, 80, out1, port, 7, 101) ==
        "tcp 192.0.2.254:80 > 198.51.100.1:5000");
}

TEST_CASE("a range of ports is used up to its last one, then packets are dropped and counted") {
  nat_rig t;
  t.outbound(masquerade().ports(5000, 5019));
  std::set<unsigned> used;
  for (std::uint16_t i = 0; i < 20; ++i) {
    const std::uint16_t port = nat_rig::port_of(t.udp(in1, static_cast<std::uint16_t>(1000 + i), out1, 53));
    CHECK(port >= 5000);
    CHECK(port <= 5019);
    CHECK(used.insert(port).second);
  }
  CHECK(t.udp(in1, 1020, out1, 53) == "dropped: nat_exhausted");
  CHECK(t.nat->statistics().exhausted == 1);
  CHECK(t.udp(in1, 1020, out2, 53) != "dropped: nat_exhausted");
  t.now = t.now + seconds(31);
  CHECK(t.udp(in1, 1021, out1, 53) != "dropped: nat_exhausted");  // the others are over
}

TEST_CASE("a range of addresses is spread over; a persistent one gives a host one address") {
  nat_rig t;
  t.outbound(snat(addr4("192.0.2.16"), addr4("192.0.2.19")));
  std::set<std::string> addresses;
  for (unsigned i = 0; i < 40; ++i) {
    const std::string out = t.udp(in1, 1000, ipv4_address{0xc633'6400 + i}, 53);
    addresses.insert(out.substr(4, out.find(':') - 4));
  }
  CHECK(addresses == std::set<std::string>{"192.0.2.16", "192.0.2.17", "192.0.2.18", "192.0.2.19"});
  t.rules.all.clear();
  t.table->clear();
  t.outbound(snat(addr4("192.0.2.16"), addr4("192.0.2.19")).persistent());
  addresses.clear();
  for (unsigned i = 0; i < 40; ++i) {
    const std::string out = t.udp(in1, 1000, ipv4_address{0xc633'6400 + i}, 53);
    addresses.insert(out.substr(4, out.find(':') - 4));
  }
  CHECK(addresses.size() == 1);
  for (unsigned i = 0; i < 20; ++i) {
    const std::string out = t.udp(ipv4_address{0x0a00'0100 + i}, 1000, out1, 53);
    addresses.insert(out.substr(4, out.find(':') - 4));
  }
  CHECK(addresses.size() == 4);
}

TEST_CASE("random ports, and ports of the same parity") {
  nat_rig t;
  t.outbound(masquerade().random());
  std::set<unsigned> ports;
  for (unsigned i = 0; i < 20; ++i) {
    const std::uint16_t port = nat_rig::port_of(t.udp(in1, 4000, ipv4_address{0xc633'6400 + i}, 53));
    CHECK(port >= 1024);
    ports.insert(port);
  }
  CHECK(ports.size() >= 18);
  t.rules.all.clear();
  t.table->clear();
  t.outbound(masquerade().random().parity());
  for (std::uint16_t i = 0; i < 20; ++i) {
    const auto own = static_cast<std::uint16_t>(4000 + i);
    CHECK(nat_rig::port_of(t.udp(in1, own, out1, 53)) % 2 == own % 2);
  }
}

TEST_CASE("pings are told apart by their identifiers") {
  nat_rig t;
  t.outbound(masquerade());
  CHECK(t.ping(in1, out1, 7) == "icmp 192.0.2.254 > 198.51.100.1 type 8 id 7");
  const std::string second = t.ping(in2, out1, 7);
  const auto id = static_cast<std::uint16_t>(std::stoul(second.substr(second.find("id ") + 3)));
  CHECK(id != 7);
  CHECK(t.ping(out1, box, id, true) == "icmp 198.51.100.1 > 10.0.0.2 type 0 id 7");
  CHECK(t.ping(out1, box, 7, true) == "icmp 198.51.100.1 > 10.0.0.1 type 0 id 7");
}

TEST_CASE("protocols without ports have their addresses translated, one host at a time to each place") {
  nat_rig t;
  t.outbound(masquerade());
  CHECK(t.send(40, ipv4_header{.source = in1, .destination = out1, .protocol = 50}) ==
        "protocol 50 192.0.2.254 > 198.51.100.1");
  CHECK(t.send(40, ipv4_header{.source = out1, .destination = box, .protocol = 50}) ==
        "protocol 50 198.51.100.1 > 10.0.0.1");
  CHECK(t.send(40, ipv4_header{.source = in2, .destination = out1, .protocol = 50}) == "dropped: nat_exhausted");
  CHECK(t.send(40, ipv4_header{.source = in2, .destination = out2, .protocol = 50}) ==
        "protocol 50 192.0.2.254 > 198.51.100.2");
}

TEST_CASE("a UDP checksum of zero stays zero, and a partial one stays partial and right") {
  nat_rig t;
  t.outbound(masquerade());
  t.meddle = [](packet& p) { store_be16(p.writable().data() + 14 + 20 + 6, 0); };
  CHECK(t.udp(in1, 1000, out1, 53) == "udp 192.0.2.254:1000 > 198.51.100.1:53");
  CHECK(load_be16(t.sent.data() + 26) == 0);
  // The field holds the sum of the pseudo-header.
  t.meddle = [](packet& p) {
    std::byte* const ip = p.writable().data() + 14;
    const std::size_t length = load_be16(ip + 2) - std::size_t{20};
    store_be16(ip + 20 + 16, fold_checksum(add_checksum({ip + 12, 8}) + 6 + length));
    p.checksum(checksum_status::partial);
  };
  CHECK(t.syn(in1, 1000, out1, 80) == "partial");
  CHECK(complete_checksum({t.sent.data(), t.sent.size()}, 20, 16));
  CHECK(nat_reading::of({t.sent.data(), t.sent.size()}) == "tcp 192.0.2.254:1000 > 198.51.100.1:80");
}

TEST_CASE("rules known at compile time decide, and say drop") {
  counted_table connections({.connections = 16});
  nat_table translations(*connections, 3);
  counted_pool memory;
  test_device device(memory);
  device.udp(1, 53);
  device.udp(2, 54);
  device.udp(3, 55);
  constexpr auto sources = rules(when(udp::dport == 53) >> snat(addr4("203.0.113.1")).port(4000),
                                 when(udp::dport == 54) >> drop(drop_reason::blocklist));
  std::string seen;
  auto path = parse() | track(*connections) | nat<prerouting>(translations) | nat<postrouting>(translations, sources) |
              confirm(*connections) | [&](packet& p) { seen += nat_reading::of(p.contents().from(14)) + '\n'; } |
              discard;
  run(attach(device, path));
  CHECK(seen == "udp 203.0.113.1:4000 > 192.0.2.1:53\nudp 10.0.0.1:1000 > 192.0.2.1:55\n");
  CHECK(counters_of<3>(path).dropped(drop_reason::blocklist) == 1);
}
