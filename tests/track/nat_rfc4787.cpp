// SPDX-License-Identifier: MIT
// RFC 4787, "NAT Behavioral Requirements for Unicast UDP", requirement by requirement. REQ-13 and REQ-14, about
// fragments, are in tests/ip/nat_and_fragments.cpp, for the parts that do it are in ip/.
#include <doctest/doctest.h>

#include <set>
#include <string>

#include "nat_rig.hpp"

using namespace runnel;
using namespace runnel::test;
using namespace runnel::test::nat_hosts;

TEST_CASE("RFC 4787 REQ-1: a mapping is the same whatever it sends to") {
  nat_rig t(nat_eim());
  t.outbound(masquerade().random());
  const std::uint16_t port = nat_rig::port_of(t.udp(in1, 5000, out1, 1));
  for (const ipv4_address to : {out1, out2, out3})
    for (const std::uint16_t dport : {std::uint16_t{1}, std::uint16_t{2}})
      CHECK(nat_rig::port_of(t.udp(in1, 5000, to, dport)) == port);
  CHECK(t.nat->mappings() == 1);
  CHECK(t.nat->subscribers() == 1);
  CHECK(nat_rig::port_of(t.udp(in1, 5001, out1, 1)) != port);
  CHECK(nat_rig::port_of(t.udp(in2, 5000, out1, 1)) != port);
  CHECK(t.nat->mappings() == 3);
  // And when each connection is translated for itself, as the kernel does, it is not.
  nat_rig plain;
  plain.outbound(masquerade().random());
  std::set<std::uint16_t> ports;
  for (const ipv4_address to : {out1, out2, out3}) ports.insert(nat_rig::port_of(plain.udp(in1, 5000, to, 1)));
  CHECK(ports.size() > 1);
}

TEST_CASE("RFC 4787 REQ-2: all mappings of a host have one address") {
  nat_rig t(nat_eim());
  t.outbound(snat(addr4("192.0.2.16"), addr4("192.0.2.31")));
  std::set<std::string> addresses;
  for (std::uint16_t i = 0; i < 20; ++i) {
    const std::string out = t.udp(in1, static_cast<std::uint16_t>(5000 + i), i % 2 == 0 ? out1 : out2, 53);
    addresses.insert(out.substr(4, out.find(':') - 4));
  }
  CHECK(addresses.size() == 1);
}

TEST_CASE("RFC 4787 REQ-3: no two hosts share a port, and ports stay in their class") {
  nat_rig t(nat_eim());
  t.outbound(masquerade());
  CHECK(t.udp(in1, 5000, out1, 53) == "udp 192.0.2.254:5000 > 198.51.100.1:53");  // kept where it is free
  CHECK(nat_rig::port_of(t.udp(in2, 5000, out2, 54)) != 5000);                    // also towards another destination
  CHECK(nat_rig::port_of(t.udp(in2, 5000, out2, 54)) >= 1024);
  CHECK(t.udp(in1, 700, out1, 53) == "udp 192.0.2.254:700 > 198.51.100.1:53");
  const std::uint16_t low = nat_rig::port_of(t.udp(in2, 700, out1, 53));
  CHECK(low != 700);
  CHECK(low < 1024);
}

TEST_CASE("RFC 4787 REQ-4: parity is kept when the rule asks for it") {
  nat_rig t(nat_eim());
  t.outbound(masquerade().parity());
  CHECK(t.udp(in1, 5000, out1, 53) == "udp 192.0.2.254:5000 > 198.51.100.1:53");
  CHECK(t.udp(in1, 5001, out1, 53) == "udp 192.0.2.254:5001 > 198.51.100.1:53");
  CHECK(nat_rig::port_of(t.udp(in2, 5000, out1, 53)) % 2 == 0);
  CHECK(nat_rig::port_of(t.udp(in2, 5001, out1, 53)) % 2 == 1);
}

TEST_CASE("RFC 4787 REQ-5: a UDP mapping lives five minutes") {
  nat_rig t(nat_eim());
  t.outbound(masquerade().random());
  const std::uint16_t port = nat_rig::port_of(t.udp(in1, 5000, out1, 53));
  t.now = t.now + seconds(299);
  CHECK(t.udp(out1, 53, box, port) == "udp 198.51.100.1:53 > 10.0.0.1:5000");
  t.now = t.now + seconds(301);
  CHECK(t.udp(out1, 53, box, port) == "udp 198.51.100.1:53 > 192.0.2.254:" + std::to_string(port));  // to the box
  CHECK(t.nat->mappings() == 0);
}

TEST_CASE("RFC 4787 REQ-6: what goes out keeps a mapping, and so does what comes in and passes") {
  nat_rig t(nat_eim());
  t.outbound(masquerade().random());
  const std::uint16_t port = nat_rig::port_of(t.udp(in1, 5000, out1, 53));
  for (int i = 0; i < 5; ++i) {
    t.now = t.now + seconds(200);
    CHECK(nat_rig::port_of(t.udp(in1, 5000, out1, 53)) == port);
  }
  t.now = t.now + seconds(200);
  CHECK(nat_rig::port_of(t.udp(in1, 5000, out2, 53)) == port);  // towards whomever
  t.now = t.now + seconds(200);
  CHECK(nat_rig::port_of(t.udp(in1, 5000, out3, 53)) == port);
  // RFC 7857 §7: what is not let in does not keep it.
  nat_rig closed(nat_eim(nat_filtering::address_and_port_dependent));
  closed.outbound(masquerade());
  CHECK(closed.udp(in1, 5000, out1, 53) == "udp 192.0.2.254:5000 > 198.51.100.1:53");
  closed.now = closed.now + seconds(200);
  CHECK(closed.udp(out2, 53, box, 5000) == "dropped: nat_filtered");
  closed.now = closed.now + seconds(101);
  closed.table->expire(closed.now);
  CHECK(closed.nat->mappings() == 0);
}

TEST_CASE("RFC 4787 REQ-7: hosts outside that have the numbers of hosts inside can be reached") {
  // Outside there is a 10.0.0.0/24 too: inside it is known as 172.16.0.0/24. Twice NAT.
  nat_rig t(nat_eim());
  bool from_inside = true;
  t.inside = [&from_inside](const packet&, bool source) { return source == from_inside; };
  t.rule(prerouting, dnat(net("10.0.0.0/24")), [](const packet& p) { return p.iif() == 1; });
  t.outbound(masquerade());
  CHECK(t.udp(in1, 5000, addr4("172.16.0.1"), 53) == "udp 192.0.2.254:5000 > 10.0.0.1:53");
  from_inside = false;
  CHECK(t.udp(in1, 53, box, 5000) == "udp 172.16.0.1:53 > 10.0.0.1:5000");
}

TEST_CASE("RFC 4787 REQ-8: filtering is endpoint-independent or address-dependent, as configured") {
  nat_rig open(nat_eim(nat_filtering::endpoint_independent));
  open.outbound(masquerade());
  CHECK(open.udp(in1, 5000, out1, 53) == "udp 192.0.2.254:5000 > 198.51.100.1:53");
  CHECK(open.udp(out2, 9, box, 5000) == "udp 198.51.100.2:9 > 10.0.0.1:5000");
  CHECK(open.udp(in1, 5000, out2, 9) == "udp 192.0.2.254:5000 > 198.51.100.2:9");  // the answer
  CHECK(open.udp(out2, 9, box, 5001) == "udp 198.51.100.2:9 > 192.0.2.254:5001");  // no mapping: to the box itself
  nat_rig known(nat_eim(nat_filtering::address_dependent));
  known.outbound(masquerade());
  CHECK(known.udp(in1, 5000, out1, 53) == "udp 192.0.2.254:5000 > 198.51.100.1:53");
  CHECK(known.udp(out1, 54, box, 5000) == "udp 198.51.100.1:54 > 10.0.0.1:5000");
  CHECK(known.udp(out2, 53, box, 5000) == "dropped: nat_filtered");
  CHECK(known.nat->statistics().filtered == 1);
  known.now = known.now + seconds(290);
  CHECK(known.udp(in1, 5000, out2, 53) == "udp 192.0.2.254:5000 > 198.51.100.2:53");
  CHECK(known.udp(out2, 54, box, 5000) == "udp 198.51.100.2:54 > 10.0.0.1:5000");
  known.now = known.now + seconds(20);  // by now nothing goes to the first one
  CHECK(known.udp(out1, 55, box, 5000) == "dropped: nat_filtered");
  nat_rig closed(nat_eim(nat_filtering::address_and_port_dependent));
  closed.outbound(masquerade());
  CHECK(closed.udp(in1, 5000, out1, 53) == "udp 192.0.2.254:5000 > 198.51.100.1:53");
  CHECK(closed.udp(out1, 53, box, 5000) == "udp 198.51.100.1:53 > 10.0.0.1:5000");
  CHECK(closed.udp(out1, 54, box, 5000) == "dropped: nat_filtered");
}

TEST_CASE("RFC 4787 REQ-9: hosts inside reach one another by their mappings, and see the mapping of the sender") {
  nat_rig t(nat_eim());
  t.outbound(masquerade());
  CHECK(t.udp(in1, 5000, out1, 53) == "udp 192.0.2.254:5000 > 198.51.100.1:53");
  CHECK(t.udp(in2, 6000, out1, 53) == "udp 192.0.2.254:6000 > 198.51.100.1:53");
  CHECK(t.udp(in1, 5000, box, 6000) == "udp 192.0.2.254:5000 > 10.0.0.2:6000");
  CHECK(t.udp(in2, 6000, box, 5000) == "udp 192.0.2.254:6000 > 10.0.0.1:5000");
  CHECK(t.udp(in1, 5001, box, 6000) == "udp 192.0.2.254:5001 > 10.0.0.2:6000");  // who had no mapping gets one
  CHECK(t.udp(in2, 6000, box, 5001) == "udp 192.0.2.254:6000 > 10.0.0.1:5001");
  CHECK(t.udp(in1, 5000, box, 5000) == "udp 192.0.2.254:5000 > 10.0.0.1:5000");  // to itself
  CHECK(t.nat->mappings() == 3);
}

TEST_CASE("RFC 4787 REQ-10: nothing looks into payloads unless a helper is in the path") {
  nat_rig t(nat_eim());
  t.outbound(masquerade());
  t.meddle = [](packet& p) {
    const char said[] = "10.0.0.1 5000 10.";
    std::byte* const payload = p.writable().data() + 14 + 28;
    for (std::size_t i = 0; i < 17; ++i) payload[i] = static_cast<std::byte>(said[i]);
    store_be16(p.writable().data() + 14 + 26, 0);
  };
  CHECK(t.udp(in1, 5060, out1, 5060) == "udp 192.0.2.254:5060 > 198.51.100.1:5060");
  CHECK(load_be32(t.sent.data() + 28) == 0x31302e30);  // "10.0"
}

TEST_CASE("RFC 4787 REQ-11: a port that is taken changes nothing but the port") {
  nat_rig t(nat_eim(nat_filtering::address_dependent));
  t.outbound(masquerade());
  CHECK(t.udp(in1, 5000, out1, 53) == "udp 192.0.2.254:5000 > 198.51.100.1:53");
  const std::uint16_t port = nat_rig::port_of(t.udp(in2, 5000, out1, 53));
  CHECK(port != 5000);
  for (const ipv4_address to : {out2, out3, out1}) CHECK(nat_rig::port_of(t.udp(in2, 5000, to, 53)) == port);
  CHECK(t.udp(out3, 1, box, port) == "udp 203.0.113.3:1 > 10.0.0.2:5000");
  CHECK(t.udp(out3, 1, box, 5000) == "dropped: nat_filtered");
}

TEST_CASE("RFC 4787 REQ-12: no ICMP message ends a mapping, and unreachables are translated, whoever sends them") {
  nat_rig t(nat_eim());
  t.outbound(masquerade().random());
  const std::uint16_t port = nat_rig::port_of(t.udp(in1, 5000, out1, 53));
  for (const icmp_kind kind : {icmp::unreachable::port, icmp::unreachable::host, icmp_kind{11, 0}, icmp_kind{12, 0},
                               icmp::unreachable::network}) {
    const std::string out = t.send(0, ipv4_header{.source = out3, .destination = box}, icmp_header{.kind = kind},
                                   ipv4_header{.source = box, .destination = out1},
                                   udp_header{.source_port = port, .destination_port = 53});
    CHECK(out ==
          "icmp 203.0.113.3 > 10.0.0.1 type " + std::to_string(kind.type) + " [udp 10.0.0.1:5000 > 198.51.100.1:53]");
  }
  CHECK(nat_rig::port_of(t.udp(in1, 5000, out1, 53)) == port);
  CHECK(t.udp(out1, 53, box, port) == "udp 198.51.100.1:53 > 10.0.0.1:5000");
  CHECK(t.nat->statistics().errors == 5);
}

TEST_CASE("RFC 6888 REQ-4, REQ-8: a host has a limit of mappings, and ports rest before somebody else has them") {
  nat_setup s = nat_eim();
  s.options.ports_per_subscriber = 3;
  s.options.reuse_delay = seconds(120);
  nat_rig t(s);
  t.outbound(masquerade().ports(5000, 5003));
  for (std::uint16_t i = 0; i < 3; ++i)
    CHECK(t.udp(in1, static_cast<std::uint16_t>(5000 + i), out1, 53).substr(0, 7) == "udp 192");
  CHECK(t.udp(in1, 5003, out1, 53) == "dropped: nat_subscriber");
  CHECK(t.nat->statistics().over_limit == 1);
  CHECK(t.udp(in1, 5000, out2, 53) == "udp 192.0.2.254:5000 > 198.51.100.2:53");
  CHECK(t.udp(in2, 5003, out1, 53) == "udp 192.0.2.254:5003 > 198.51.100.1:53");
  t.now = t.now + seconds(301);
  t.table->expire(t.now);
  CHECK(t.nat->mappings() == 4);
  CHECK(t.udp(in2, 9, out1, 53) == "dropped: nat_exhausted");                     // all of them rest
  CHECK(t.udp(in1, 5001, out1, 53) == "udp 192.0.2.254:5001 > 198.51.100.1:53");  // but for who had them
  CHECK(t.udp(out1, 1, box, 5002) == "udp 198.51.100.1:1 > 192.0.2.254:5002");    // and nobody gets in
  t.now = t.now + seconds(121);
  CHECK(t.udp(in2, 9, out1, 53).substr(0, 7) == "udp 192");
  CHECK(t.nat->mappings() == 2);
  t.now = t.now + seconds(500);
  t.table->expire(t.now);
  t.nat->expire(t.now);
  CHECK(t.nat->next_due() != never);
  t.now = t.now + seconds(121);
  t.nat->expire(t.now);
  CHECK(t.nat->mappings() == 0);
  CHECK(t.nat->next_due() == never);
}

TEST_CASE("hosts of several zones have a limit of mappings each, though their addresses are the same") {
  constexpr nat_config sizes{.mappings = 8, .subscribers = 4, .seed = 5};
  constexpr nat_options options{.mapping = nat_mapping::endpoint_independent, .ports_per_subscriber = 2};
  counted_table connections{{.connections = 32, .unconfirmed = 16}};
  alignas(nat_table::alignment) std::byte memory[nat_table::bytes_needed(sizes)];
  nat_table translations{*connections, {memory, sizeof memory}, sizes, options};
  counted_pool pool{{.packets = 16, .bytes = 600, .headroom = 64, .bare = 16}};
  test_device device{pool};
  manual_clock clock;
  const auto gets_through = [&](std::uint16_t zone, std::uint16_t port) {
    device.put(1, 18, {}, eth, ipv4_header{.source = in1, .destination = out1},
               udp_header{.source_port = port, .destination_port = 53});
    bool through = false;
    auto path = parse() | track(*connections, {.zone = zone}) | nat<prerouting>(translations) |
                nat<postrouting>(translations, snat(addr4("192.0.2.254"))) | confirm(*connections) |
                deliver([&](packet) { through = true; });
    run(clock, attach(device, path));
    return through;
  };
  CHECK(gets_through(1, 5000));
  CHECK(gets_through(1, 5001));
  CHECK_FALSE(gets_through(1, 5002));
  CHECK(translations.subscribers() == 1);
  CHECK(gets_through(2, 5000));
  CHECK(gets_through(2, 5001));
  CHECK_FALSE(gets_through(2, 5002));
  CHECK(translations.subscribers() == 2);
  CHECK(translations.statistics().over_limit == 2);
  connections->clear();
  CHECK(translations.subscribers() == 0);
}

TEST_CASE("mappings, subscribers and permissions that are full are counted drops") {
  nat_setup s = nat_eim(nat_filtering::address_dependent);
  s.sizes = {.mappings = 3, .subscribers = 2, .permissions = 4, .seed = 1};
  nat_rig t(s);
  t.outbound(masquerade());
  CHECK(t.udp(in1, 5000, out1, 53) == "udp 192.0.2.254:5000 > 198.51.100.1:53");
  CHECK(t.udp(in2, 5001, out1, 53) == "udp 192.0.2.254:5001 > 198.51.100.1:53");
  CHECK(t.udp(ipv4_address{10, 0, 0, 3}, 5002, out1, 53) == "dropped: nat_exhausted");  // a third host
  CHECK(t.udp(in2, 5002, out1, 53) == "udp 192.0.2.254:5002 > 198.51.100.1:53");
  CHECK(t.udp(in2, 5003, out1, 53) == "dropped: nat_exhausted");  // a fourth mapping
  CHECK(t.udp(in1, 5000, out2, 53) == "udp 192.0.2.254:5000 > 198.51.100.2:53");
  CHECK(t.udp(in1, 5000, out3, 53) == "dropped: nat_exhausted");  // a fifth permission
  CHECK(t.udp(in1, 5000, out1, 54) == "udp 192.0.2.254:5000 > 198.51.100.1:54");
  CHECK(t.nat->statistics().exhausted == 3);
  CHECK(t.nat->mappings() == 3);
}

TEST_CASE("mappings come back after export and import") {
  nat_rig before(nat_eim());
  before.outbound(masquerade().random());
  const std::uint16_t port = nat_rig::port_of(before.udp(in1, 5000, out1, 53));
  std::vector<std::byte> state(export_size(*before.table));
  const std::size_t used = export_connections(*before.table, {state.data(), state.size()}, before.now);
  REQUIRE(used != 0);
  nat_rig after(nat_eim());
  after.outbound(masquerade().random());
  REQUIRE(import_connections(*after.table, {state.data(), used}, after.now).has_value());
  CHECK(after.nat->restore(after.now) == 0);
  CHECK(after.nat->mappings() == 1);
  CHECK(after.udp(out1, 53, box, port) == "udp 198.51.100.1:53 > 10.0.0.1:5000");
  CHECK(nat_rig::port_of(after.udp(in1, 5000, out2, 53)) == port);
  CHECK(after.udp(out3, 1, box, port) == "udp 203.0.113.3:1 > 10.0.0.1:5000");
}

TEST_CASE("a mapping that only others use, from outside, comes back after export and import as well") {
  nat_rig before(nat_eim());
  before.outbound(masquerade().random());
  const std::uint16_t port = nat_rig::port_of(before.udp(in1, 5000, out1, 53));
  CHECK(before.udp(out2, 1, box, port) == "udp 198.51.100.2:1 > 10.0.0.1:5000");
  CHECK(before.udp(in1, 5000, out2, 1) == "udp 192.0.2.254:" + std::to_string(port) + " > 198.51.100.2:1");
  before.table->for_each([&](connection& c) {
    if (c.has_status(connection_status::src_nat)) before.table->erase(c);
  });
  CHECK(before.nat->mappings() == 1);
  std::vector<std::byte> state(export_size(*before.table));
  const std::size_t used = export_connections(*before.table, {state.data(), state.size()}, before.now);

  nat_rig after(nat_eim());
  after.outbound(masquerade().random());
  SUBCASE("and what leaves through it has its port") {
    REQUIRE(import_connections(*after.table, {state.data(), used}, after.now).has_value());
    CHECK(after.nat->restore(after.now) == 0);
    CHECK(after.nat->mappings() == 1);
    CHECK(after.nat->restore(after.now) == 0);
    CHECK(nat_rig::port_of(after.udp(in1, 5000, out3, 53)) == port);
    CHECK(after.udp(out3, 1, box, port) == "udp 203.0.113.3:1 > 10.0.0.1:5000");
    after.table->for_each([&](connection& c) {
      if (c.has_status(connection_status::src_nat)) after.table->erase(c);
    });
    CHECK(after.nat->mappings() == 1);
  }
  SUBCASE("unless its address is gone by then, whatever is asked for first") {
    REQUIRE(import_connections(*after.table, {state.data(), used}, after.now).has_value());
    CHECK(after.nat->forget(mapped(box)) == 1);
    CHECK(after.table->size() == 0);
    CHECK(after.nat->restore(after.now) == 0);
    CHECK(after.nat->mappings() == 0);
  }
  SUBCASE("also after two restarts of which the first had no mappings") {
    nat_rig between;
    REQUIRE(import_connections(*between.table, {state.data(), used}, between.now).has_value());
    const std::size_t again = export_connections(*between.table, {state.data(), state.size()}, between.now);
    REQUIRE(again == used);
    REQUIRE(import_connections(*after.table, {state.data(), again}, after.now).has_value());
    CHECK(after.nat->restore(after.now) == 0);
    CHECK(after.nat->mappings() == 1);
  }
  SUBCASE("but not when somebody else has its port by now") {
    after.outbound(masquerade().port(port));
    after.rules.all.erase(after.rules.all.begin());
    CHECK(nat_rig::port_of(after.udp(in2, 6000, out1, 53)) == port);
    REQUIRE(import_connections(*after.table, {state.data(), used}, after.now).has_value());
    CHECK(after.nat->restore(after.now) == 1);
    CHECK(after.nat->mappings() == 1);
  }
}

TEST_CASE("a connection to a published port makes no mapping of it when it is imported") {
  nat_rig before(nat_eim()), after(nat_eim());
  before.inbound(dnat(addr4("10.0.0.1")).port(5000), 8080);
  CHECK(before.udp(out2, 1, box, 8080) == "udp 198.51.100.2:1 > 10.0.0.1:5000");
  std::vector<std::byte> state(export_size(*before.table));
  const std::size_t used = export_connections(*before.table, {state.data(), state.size()}, before.now);
  REQUIRE(import_connections(*after.table, {state.data(), used}, after.now)->imported == 1);
  CHECK(after.nat->restore(after.now) == 0);
  CHECK(after.nat->mappings() == 0);
  CHECK(after.udp(out3, 1, box, 8080).find("10.0.0.1") == std::string::npos);
}

TEST_CASE("an address that is gone takes along who was translated to it, and who came to a mapping there") {
  nat_rig t(nat_eim());
  t.outbound(masquerade());
  CHECK(t.udp(in1, 5000, out1, 53) == "udp 192.0.2.254:5000 > 198.51.100.1:53");
  CHECK(t.udp(out2, 1, box, 5000) == "udp 198.51.100.2:1 > 10.0.0.1:5000");
  CHECK(t.nat->forget(mapped(addr4("192.0.2.253"))) == 0);
  CHECK(t.nat->forget(mapped(box)) == 2);
  CHECK(t.table->size() == 0);
  CHECK(t.nat->mappings() == 0);
}
