// SPDX-License-Identifier: MIT
// The configuration of examples/gateway, what is wrong with it and where, and its reload, at literal times.
#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cstdlib>  // posix_openpt
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include <flow/test_device.hpp>

#include "../../examples/gateway/configuration.hpp"
#include "../../examples/gateway/router.hpp"
#include "../../examples/gateway/state.hpp"
#include "../../examples/gateway/tell.hpp"

using namespace runnel;

namespace {

const std::string two_networks =
    "interface lan { device \"null:\" address 10.0.0.1/24, fd00::1/64 }\n"
    "interface wan { device \"null:\" address 203.0.113.2/24 }\n";

// "ok", or what is wrong: "3:14 expected ...".
std::string read_configuration(const std::string& text, gateway::configuration* to = nullptr) {
  gateway::configuration made;
  gateway::configuration_reader reader(text, made);
  const bool good = reader.read();
  if (to != nullptr) *to = made;
  if (good) return "ok";
  const gateway::fault& f = reader.why();
  return std::to_string(f.line) + ':' + std::to_string(f.column) + ' ' + f.what;
}
std::string read_route(const std::string& line, gateway::configuration* to = nullptr) {
  return read_configuration(two_networks + line, to);
}
std::string shown(const gateway::configuration& c) {
  text<512> out;
  next_hop_table_of<16, 4> hops;
  for (const gateway::configuration::route& r : c.routes) {
    std::vector<weighted_hop> members;
    for (const gateway::configuration::way& w : r.ways) members.push_back({hops.add(w.hop), w.weight});
    const next_hop_number n = members.size() == 1 ? members[0].hop : hops.add_group(members.data(), members.size());
    print_route(out, r.covered, n, hops, [](std::uint16_t i) { return i == 1 ? "lan" : "wan"; });
  }
  return out.c_str();
}
std::string load_rules(const std::string& tables) {
  gateway::configuration made;
  REQUIRE(read_configuration(two_networks + tables, &made) == "ok");
  gateway::rule_set rules(made);
  return rules.load(made) ? "ok" : rules.why();
}

// The rules of a configuration that was read.
std::unique_ptr<gateway::rule_set> loaded_rules(gateway::configuration& c) {
  auto rules = std::make_unique<gateway::rule_set>(c);
  REQUIRE(rules->load(c));
  return rules;
}

}  // namespace

TEST_CASE("fragments that never become whole leave a device slots to receive in") {
  constexpr std::uint32_t slots = 512;  // as of a TAP that takes segments
  static_pool<pool_config{.packets = slots, .bytes = 128, .headroom = 64, .bare = 1}> memory;
  const fragment_config c = gateway::configuration{}.fragments_beside(slots);
  std::vector<std::uint64_t> through(virtual_fragment_table::bytes_needed(c) / 8 + 1),
      own(fragment_table::bytes_needed(c) / 8 + 1);
  const auto bytes_of = [](std::vector<std::uint64_t>& m) {
    return mutable_bytes{static_cast<std::byte*>(static_cast<void*>(m.data())), m.size() * 8};
  };
  virtual_fragment_table first(bytes_of(through), c);
  fragment_table second(bytes_of(own), c);
  for (std::uint32_t i = 0; i < 20'000; ++i) {
    packet p = memory->allocate();
    REQUIRE(p);
    std::byte* const to = p.put(50);
    const ipv4_header ip{.source = {198, 51, 100, 1}, .destination = {192, 0, 2, 1}};
    REQUIRE(write_headers({to, 50}, ethernet_header{}, ip, udp_header{}));
    store_be16(to + 18, static_cast<std::uint16_t>(i / 8));
    store_be16(to + 20, static_cast<std::uint16_t>(0x2000u | (8 + i % 8 * 4)));  // none of them is the first one
    store_be16(to + 24, 0);
    store_be16(to + 24, checksum({to + 14, 20}));
    p.layers(dissect(p.contents(), link_type::ethernet, {.head_offset = p.headroom()}));
    const instant now = instant{} + milliseconds(i / 100);
    const verdict v = i % 2 == 0 ? first.follow(p, now, [](packet&&) {}) : second.reassemble(p, now);
    CHECK(v == stolen);
  }
  CHECK(memory->available() >= slots / 2);
  first.clear(), second.clear();
}

TEST_CASE("gateway: a configuration says interfaces, addresses, routes and limits") {
  gateway::configuration c;
  REQUIRE(read_configuration("# two networks\n"
                             "interface lan {\n"
                             "  device \"af_packet:eth0?promiscuous\"\n"
                             "  address 192.168.1.1/24, fd00:1::1/64\n"
                             "  mtu 9000 mac 02:00:00:00:00:07\n"
                             "}\n"
                             "interface eth1.5 { device \"tap:t\"; address 203.0.113.2/30; }\n"
                             "limits { connections 100 ipv6_connections 10 neighbours 20 fragments 30 }\n"
                             "reverse_path loose metrics 127.0.0.1:9100 # here\n",
                             &c) == "ok");
  REQUIRE(c.interfaces.size() == 2);
  CHECK(c.interfaces[0].name == "lan");
  CHECK(c.interfaces[0].device == "af_packet:eth0?promiscuous");
  CHECK(c.interfaces[0].link.mtu == 9000);
  CHECK(c.interfaces[0].link.mac == mac("02:00:00:00:00:07"));
  CHECK(c.interfaces[0].link.addresses.contains(mapped(addr4("192.168.1.1"))));
  CHECK(c.interfaces[0].link.addresses.is_on_link(addr6("fd00:1::99")));
  CHECK(c.number_of("eth1.5") == 2);
  CHECK(c.number_of("eth1") == 0);
  CHECK(c.connections.connections == 100);
  CHECK(c.connections.ipv6_connections == 10);
  CHECK(c.neighbours.entries == 20);
  CHECK(c.neighbours.unresolved == 20);
  CHECK(c.fragments.fragments == 30);
  CHECK(c.reverse_path == reverse_path_filter::loose);
  CHECK(c.metrics_address == "127.0.0.1");
  CHECK(c.metrics_port == 9100);
  CHECK(c.fast_path == 0);
  CHECK(read_route("fast_path 65536 # flows", &c) == "ok");
  CHECK(c.fast_path == 65536);
}

TEST_CASE("gateway: a VLAN is an interface on that of its device") {
  gateway::configuration c;
  REQUIRE(read_route("interface phones { vlan 5 on lan address 10.5.0.1/24 advertise }\n"
                     "interface guests { vlan 4094 on lan mtu 1400 }\n"
                     "interface tv { vlan 5 on wan }\n"
                     "route 10.6.0.0/16 via 10.5.0.9\n",
                     &c) == "ok");
  REQUIRE(c.interfaces.size() == 5);
  CHECK(c.interfaces[2].vlan == 5);
  CHECK(c.interfaces[2].parent == 1);
  CHECK(c.interfaces[2].device == "vlan 5 on lan");
  CHECK(c.interfaces[3].vlan == 4094);
  CHECK(c.interfaces[3].link.mtu == 1400);
  CHECK(c.interfaces[4].parent == 2);
  CHECK(c.routes[0].ways[0].hop.oif == 3);
  CHECK(read_route("interface a { vlan 4095 on lan }") == "3:20 expected a number from 1 to 4094, not \"4095\"");
  CHECK(read_route("interface a { vlan 5 lan }") == "3:22 expected \"on\", not \"lan\"");
  CHECK(read_route("interface a { vlan 5 on a }") ==
        "3:25 expected the name of an interface above that has a device, not \"a\"");
  CHECK(read_route("interface a { vlan 5 on lan }\ninterface b { vlan 6 on a }") ==
        "4:25 expected the name of an interface above that has a device, not \"a\"");
  CHECK(read_route("interface a { vlan 5 on lan }\ninterface b { vlan 5 on lan }") ==
        "4:15 this tag is of interface a");
  CHECK(read_route("interface a { device \"null:\" vlan 5 on lan }") == "3:30 it has a device already");
  CHECK(read_route("interface a { vlan 5 on lan device \"null:\" }") == "3:29 it has a device already");
  CHECK(read_route("interface a { vlan 5 on lan mac 02:00:00:00:00:01 }") ==
        "3:11 a VLAN has no MAC address of its own");
}

TEST_CASE("gateway: the interface of a route is named, or that of its router") {
  gateway::configuration c;
  CHECK(read_route("route default via 203.0.113.1\n"
                   "route default via fd00::9 mtu 1400\n"
                   "route 10.1.0.0/16 via 10.0.0.9 route 10.2.0.0/16 dev wan\n"
                   "route 10.3.0.0/16 via 192.0.2.1 dev wan\n"
                   "route 10.4.0.0/16 blackhole route fd01::/16 prohibit route 10.5.0.0/16 unreachable\n",
                   &c) == "ok");
  CHECK(shown(c) ==
        "default via 203.0.113.1 dev wan\n"
        "default via fd00::9 dev lan mtu 1400\n"
        "10.1.0.0/16 via 10.0.0.9 dev lan\n"
        "10.2.0.0/16 dev wan scope link\n"
        "10.3.0.0/16 via 192.0.2.1 dev wan\n"
        "blackhole 10.4.0.0/16\n"
        "prohibit fd01::/16\n"
        "unreachable 10.5.0.0/16\n");
  CHECK(read_route("route default dev lan", &c) == "ok");
  CHECK(shown(c) == "default dev lan scope link\ndefault dev lan\n");
}

TEST_CASE("gateway: no route takes addresses of this host from it, with rules or without") {
  for (const char* rule : {"", "rule priority 5 table main\n"}) {
    gateway::configuration c;
    REQUIRE(read_configuration(two_networks + rule +
                                   "route 10.0.0.1/32 dev wan\nroute 10.0.0.255/32 dev wan\nroute 224.0.0.0/4 dev wan\n"
                                   "route fd00::1/128 dev wan\nroute 10.0.0.0/24 dev wan\n",
                               &c) == "ok");
    auto rules = loaded_rules(c);
    const gateway::router r(std::move(c), std::move(rules));
    CHECK(r.interface_towards(addr4("10.0.0.1")) == 1);
    CHECK(r.interface_towards(addr6("fd00::1")) == 1);
    CHECK(r.interface_towards(addr4("10.0.0.255")) == 1);
    CHECK(r.interface_towards(addr4("224.0.0.5")) == 0);
    CHECK(r.interface_towards(addr4("10.0.0.7")) == 2);
  }
}

TEST_CASE("gateway: flows of a route are spread among several routers") {
  gateway::configuration c;
  REQUIRE(read_route("route default via 203.0.113.1 weight 3 via 10.0.0.9 via 192.0.2.1 dev lan mtu 1400\n"
                     "route fd01::/16 via fd00::8 via fd00::9\n",
                     &c) == "ok");
  CHECK(shown(c) ==
        "default\n"
        "\tnexthop via 203.0.113.1 dev wan weight 3\n"
        "\tnexthop via 10.0.0.9 dev lan weight 1\n"
        "\tnexthop via 192.0.2.1 dev lan weight 1\n"
        "fd01::/16\n"
        "\tnexthop via fd00::8 dev lan weight 1\n"
        "\tnexthop via fd00::9 dev lan weight 1\n");
  for (const gateway::configuration::way& w : c.routes[0].ways) CHECK(w.hop.mtu == 1400);
  CHECK(read_route("route default via 203.0.113.1 via fd00::9") == "3:35 a router of the other family");
  CHECK(read_route("route default via 203.0.113.1 via 203.0.113.1") == "3:35 this router is there already");
  CHECK(read_route("route default via 203.0.113.1 via 192.0.2.1") ==
        "3:35 no interface has an address in the network of this router: add dev NAME");
  CHECK(read_route("route default via 203.0.113.1 weight 256 via 203.0.113.9") ==
        "3:38 expected a number from 1 to 255, not \"256\"");
  std::string many = "route default";
  for (int i = 1; i <= 17; ++i) many += " via 10.0.0." + std::to_string(i);
  CHECK(read_route(many).ends_with("this is the 17th router"));

  REQUIRE(read_route("route default via 203.0.113.1 via 10.0.0.9", &c) == "ok");
  auto rules = loaded_rules(c);
  gateway::router r(std::move(c), std::move(rules));
  const next_hop_number group =
      r.all_routes->newest().lookup(route_query<ipv4_address>{.destination = addr4("198.51.100.1")});
  REQUIRE(r.hops.is_group(group));
  unsigned by[3] = {};
  for (std::uint32_t hash = 0; hash < next_hop_table::buckets; ++hash)
    ++by[r.hops[r.hops.choose(group, [hash] { return hash; })].oif];
  CHECK(by[1] == 64);
  CHECK(by[2] == 64);
  // Again and again: what was there before is given back.
  for (int times = 0; times < 200; ++times) {
    REQUIRE(read_route("route default via 203.0.113.1 via 10.0.0.9", &c) == "ok");
    rules = std::make_unique<gateway::rule_set>(c);
    REQUIRE(rules->load(c));
    REQUIRE(r.reload(std::move(c), std::move(rules)) == "");
  }
}

TEST_CASE("gateway: what is wrong has a line and a column") {
  CHECK(read_configuration("") == "1:1 no interface: interface NAME { device \"...\" ... }");
  CHECK(read_configuration("interfaces lan") ==
        "1:1 expected one of interface, route, rule, limits, reverse_path, metrics, fast_path, table, not "
        "\"interfaces\"");
  CHECK(read_configuration("interface lan {\n  address 10.0.0.1 }") ==
        "2:11 expected an address with the length of its network, such as 192.168.1.1/24, not \"10.0.0.1\"");
  CHECK(read_configuration("interface lan {\n  address 10.0.0.256/24 }") == "2:18 an IPv4 address: a part above 255");
  CHECK(read_configuration("interface lan {\n  address 10.0.0.1/33 }") == "2:20 expected a length from 1 to 32");
  for (const char* odd : {"0.0.0.0/8", "127.0.0.1/8", "224.0.0.1/24", "255.255.255.255/32", "::/64", "::1/128",
                          "ff02::1/64", "::ffff:10.0.0.1/120"})
    CHECK(read_configuration(std::string("interface lan { device \"null:\" address ") + odd + " }") ==
          "1:40 expected the address of one host, not \"" + std::string(odd, std::string(odd).find('/')) + '"');
  for (const char* odd : {"0.0.0.0", "127.0.0.1", "224.0.0.1", "::", "ff02::2", "::ffff:10.0.0.9"})
    CHECK(read_route(std::string("route default via ") + odd + " dev lan") ==
          "3:19 expected the address of one host, not \"" + std::string(odd) + '"');
  CHECK(read_configuration("interface lan { device eth0 }") ==
        "1:24 expected a device in quotes, such as \"af_packet:eth0\", not \"eth0\"");
  CHECK(read_configuration("interface lan { device \"eth0\n }") ==
        "1:24 expected a device in quotes, such as \"af_packet:eth0\", not \"\"\"");
  CHECK(read_configuration("interface \"lan\" { }") ==
        "1:11 expected the name of an interface: a letter, and up to 30 more characters, not \"lan\" in quotes");
  CHECK(read_configuration("interface lan { }") == "1:11 an interface needs a device: device \"af_packet:eth0\"");
  CHECK(read_configuration("interface lan { device \"tap:x\"") ==
        "1:31 expected device, vlan, address, mtu, mac, advertise or \"}\", not the end");
  CHECK(read_configuration("interface 5 { device \"tap:x\" }") ==
        "1:11 expected the name of an interface: a letter, and up to 30 more characters, not \"5\"");
  CHECK(read_configuration(two_networks + "interface lan { device \"tap:x\" }") ==
        "3:11 there is an interface of this name already");
  CHECK(read_configuration("interface a { device \"tap:x\" }\ninterface b { device \"tap:x\" }") ==
        "2:15 this device is of interface a");
  CHECK(read_configuration("interface a { device \"tap:x\" mac 01:00:5e:00:00:01 }") ==
        "1:34 expected a MAC address of one host: 01:00:5e:00:00:01 is of many");
  CHECK(read_route("route 10.1.0.0/8 dev lan") ==
        "3:16 a prefix such as 10.0.0.0/8, or default: a length that cuts off bits of the address");
  CHECK(read_route("route 10.1.0.0/16 dev lab") == "3:23 expected the name of an interface, not \"lab\"");
  CHECK(read_route("route 10.1.0.0/16 via 192.0.2.1") ==
        "3:23 no interface has an address in the network of this router: add dev NAME");
  CHECK(read_route("route default via 203.0.113.2") == "3:19 this is an address of this gateway");
  CHECK(read_route("route default via fe80::1 dev wan interface x { device \"null:\" address fe80::1/64 }") == "ok");
  CHECK(read_route("route default via 10.0.0.9\nroute 10.7.0.0/16 dev lan\nroute default via 203.0.113.1") ==
        "5:7 a route to this prefix is there already: one takes several routers, via ... via ...");
  CHECK(read_route("route default via 10.0.0.9\nroute default via fd00::9\nroute default via 10.0.0.9 table x") ==
        "ok");
  CHECK(read_route("route 10.1.0.0/16 via fd00::9") == "3:23 a router of the other family");
  CHECK(read_route("route 10.1.0.0/16 nowhere") ==
        "3:19 expected via, dev, blackhole, unreachable, prohibit or throw, not \"nowhere\"");
  CHECK(read_route("limits { connections 0 }") == "3:22 expected a number from 1 to 134217728, not \"0\"");
  CHECK(read_route("limits { conections 5 }") ==
        "3:10 expected connections, ipv6_connections, neighbours, fragments or \"}\", not \"conections\"");
  CHECK(read_route("metrics 9100") == "3:9 expected an address and a port, such as 127.0.0.1:9100, not \"9100\"");
  CHECK(read_route("metrics 127.0.0.1:99999") == "3:19 expected a number from 0 to 65535, not \"99999\"");
  CHECK(read_route("metrics 127.0.0.1:1 metrics 127.0.0.1:2") == "3:21 this is said twice");
  CHECK(read_route("reverse_path off\nreverse_path strict") == "4:1 this is said twice");
  CHECK(read_route("limits { fragments 5 } limits { neighbours 5 }") == "3:24 this is said twice");
  CHECK(read_route("limits { fragments 5 fragments 6 }") == "3:22 this is said twice");
  CHECK(read_route("route 10.1.0.0/16 dev lan\nroute 10.2.0.0/16 dev lan\nfast_path 64") == "ok");
  CHECK(read_configuration("interface a { device \"null:\" mtu 1500 mtu 1400 }") == "1:39 this is said twice");
  CHECK(read_configuration("interface a { device \"null:\" address 10.0.0.1/8 address 11.0.0.1/8 }") == "ok");
  std::string many = "interface a { device \"null:\" address fd00::1/64";
  for (int i = 2; i <= 16; ++i) many += ", 10.0.0." + std::to_string(i) + "/24";
  CHECK(read_configuration(many + " }") ==
        "1:11 so many addresses leave no room for a link-local IPv6 one: name it among them, or leave one out");
  CHECK(read_configuration("interface a { device \"null:\" address fe80::1/64" + many.substr(many.find(',')) + " }") ==
        "ok");
  CHECK(read_route("fast_path") == "3:10 expected a number from 4 to 536870912, not the end");
  CHECK(read_route("fast_path 2") == "3:11 expected a number from 4 to 536870912, not \"2\"");
  CHECK(read_route("fast_path 4294967296") == "3:11 expected a number from 4 to 536870912, not \"4294967296\"");
  CHECK(read_route("fast_path 100000") == "3:11 expected a power of two, such as 131072");
  CHECK(read_route(std::string("route\0default", 13)) == "3:6 a zero byte: this is no text");
}

TEST_CASE("gateway: a device that cannot be is told of where it stands, whether there is such an interface or not") {
  const auto read_device = [](const std::string& uri) {
    return read_configuration("interface lan {\n  device \"" + uri + "\" address 10.0.0.1/24 }");
  };
  CHECK(read_device("af_packet:runnel-none?promiscuous") == "ok");
  CHECK(read_device("eth0") ==
        "2:10 open: read eth0: it names no kind of device: write kind:name?option=value, as in af_packet:eth0");
  CHECK(read_device("afpacket:eth0").starts_with("2:10 open: read afpacket:eth0: there is no such kind of device: "));
  CHECK(read_device("af_packet:eth0?promisc")
            .starts_with("2:10 open: af_packet eth0: there is no option 'promisc': there are promiscuous, fanout, "));
  CHECK(read_device("null:?lenght=64").starts_with("2:10 open: null: there is no option 'lenght': there are length, "));
}

TEST_CASE("gateway: tables have the lines and columns of the file, and the names of its interfaces") {
  CHECK(
      load_rules(
          "table inet f {\n chain c { type filter hook forward priority 0; iifname \"lan\" oifname wan accept; }\n}") ==
      "ok");
  CHECK(load_rules("table inet f { # a brace in a comment: }\n chain c {\n  iifname \"dmz\" accept }\n}")
            .starts_with("line 5, column 11: expected a number, or the name of an interface: lan, wan, not \"dmz\""));
  CHECK(load_rules("table inet f { chain c { tcp dport nonsense accept } }\nreverse_path off") ==
        "line 3, column 36: expected a name or a number, not \"nonsense\"");
  CHECK(load_rules("table ip nat { chain c { type nat hook postrouting priority srcnat; oifname wan masquerade } }") ==
        "ok");
  CHECK(load_rules("table inet f { chain c { tcp dport 22 accept }") != "ok");
}

TEST_CASE("gateway: a reload changes rules, routes and addresses, or nothing") {
  const auto made = [](const std::string& text, gateway::configuration& c) {
    REQUIRE(read_configuration(text, &c) == "ok");
    return loaded_rules(c);
  };
  gateway::configuration c;
  auto rules = made(two_networks + "route default via 203.0.113.1\nlimits { connections 10 }", c);
  gateway::router r(std::move(c), std::move(rules));
  const connection_tuple one(addr4("10.0.0.9"), addr4("198.51.100.1"), 1000, 80, 6);
  const std::uint32_t n = r.connections.insert(one, {});
  REQUIRE(n != connection_table::none);
  REQUIRE(r.connections.confirm(r.connections[n], {}));
  CHECK(r.interface_towards(addr4("198.51.100.1")) == 2);
  CHECK(r.interface_towards(addr4("10.0.0.9")) == 1);
  CHECK(r.interface_towards(addr4("10.9.0.9")) == 2);

  gateway::configuration next;
  rules = made(
      "interface lan { device \"null:\" address 10.9.0.1/24 }\n"
      "interface wan { device \"null:\" address 203.0.113.2/24 mtu 1400 }\n"
      "limits { connections 10 }\n"
      "table inet f { chain c { type filter hook forward priority 0; drop; } }",
      next);
  CHECK(r.reload(next, std::move(rules)) == "");
  CHECK(r.interface_towards(addr4("10.9.0.9")) == 1);
  CHECK(r.interface_towards(addr4("198.51.100.1")) == 0);
  CHECK(r.interfaces().is_own(addr4("10.9.0.1")));
  CHECK_FALSE(r.interfaces().is_own(addr4("10.0.0.1")));
  CHECK(r.links[1].mtu == 1500);
  CHECK(r.links[2].mtu == 1400);
  CHECK(r.rules.current().size() == 1);
  CHECK(r.connections.size() == 1);

  rules = made("interface lan { device \"null:\" address 10.0.0.1/24 }", next);
  CHECK(r.reload(next, std::move(rules)) == "another number of interfaces needs a restart");
  rules = made("interface lan { device \"null:\" } interface dmz { device \"null:\" }", next);
  CHECK(r.reload(next, std::move(rules)) == "interface dmz is another one: this needs a restart");
  rules = made(two_networks + "fast_path 1024", next);
  CHECK(r.reload(next, std::move(rules)) == "another fast_path needs a restart");
  CHECK(r.interface_towards(addr4("10.9.0.9")) == 1);
  CHECK(r.rules.current().size() == 1);
}

TEST_CASE(
    "gateway: connections that were translated to an address end with that, all others outlive reload and restart") {
  const auto made = [](const std::string& wan, gateway::configuration& c) {
    REQUIRE(read_configuration("interface lan { device \"null:\" address 10.0.0.1/24 }\n"
                               "interface wan { device \"null:\" address " +
                                   wan +
                                   " }\n"
                                   "limits { connections 10 }",
                               &c) == "ok");
    return loaded_rules(c);
  };
  gateway::configuration c;
  auto rules = made("203.0.113.2/24, 203.0.113.3/24", c);
  gateway::router r(std::move(c), std::move(rules));
  // One that is translated to each of them, one to an address that was never there, and one that is not.
  std::uint16_t port = 1000;
  for (const char* to : {"203.0.113.2", "203.0.113.3", "198.51.100.7", "10.0.0.9"}) {
    const connection_tuple one(addr4("10.0.0.9"), addr4("198.51.100.1"), ++port, 53, 17);
    connection& k = r.connections[r.connections.insert(one, {})];
    REQUIRE(r.connections.set_reply(k, {addr4("198.51.100.1"), *parse_ipv4(to), 53, port, 17}));
    if (port != 1004) r.connections.add_status(k, connection_status::src_nat);
    REQUIRE(r.connections.confirm(k, {}));
  }
  const auto ports = [](gateway::router& of) {
    std::string all;
    of.connections.for_each([&](const connection& k) {
      all += (all.empty() ? "" : " ") + std::to_string(of.connections.original(k).source_port());
    });
    return all;
  };
  gateway::configuration next;
  SUBCASE("a reload") {
    rules = made("203.0.113.3/24, 203.0.113.4/24", next);
    CHECK(r.reload(next, std::move(rules)) == "");
    CHECK(ports(r) == "1002 1003 1004");
    rules = made("203.0.113.4/25", next);
    CHECK(r.reload(next, std::move(rules)) == "");
    CHECK(ports(r) == "1003 1004");
  }
  SUBCASE("a restart") {
    const std::vector<std::byte> all = gateway::saved_state(r, {});
    rules = made("203.0.113.3/24, 203.0.113.4/24", next);
    gateway::router later(std::move(next), std::move(rules));
    const auto done = gateway::restore_state(later, {all.data(), all.size()}, {});
    REQUIRE(done);
    CHECK(done->connections == 3);
    CHECK(done->ended == 1);
    CHECK(ports(later) == "1002 1003 1004");
  }
  SUBCASE("a restart with a state that says no addresses") {
    const std::vector<std::byte> all = gateway::saved_state(r, {});
    rules = made("203.0.113.4/24", next);
    gateway::router later(std::move(next), std::move(rules));
    const auto done = gateway::restore_state(later, {all.data(), export_size(r.connections)}, {});
    REQUIRE(done);
    CHECK(done->connections == 4);
    CHECK(done->ended == 0);
  }
  SUBCASE("a restart after some time: they have grown older meanwhile") {
    const instant then = instant{} + seconds(1'700'000'000);
    gateway::configuration second;
    auto its = made("203.0.113.3/24", second);
    gateway::router before(second, std::move(its));
    const connection_tuple one(addr4("10.0.0.9"), addr4("198.51.100.1"), 1000, 53, 17);
    connection& k = before.connections[before.connections.insert(one, then)];
    REQUIRE(before.connections.confirm(k, then));
    const duration life = before.connections.remaining(k, then), second_more = seconds(1);
    const std::vector<std::byte> all = gateway::saved_state(before, then);
    for (const auto& [away, left] :
         {std::pair{seconds(0), 1u}, std::pair{life - second_more, 1u}, std::pair{life + second_more, 0u},
          std::pair{seconds(40'000'000), 0u}, std::pair{seconds(-1000), 1u}}) {
      its = made("203.0.113.3/24", second);
      gateway::router later(second, std::move(its));
      const auto done = gateway::restore_state(later, {all.data(), all.size()}, then + away);
      REQUIRE(done);
      CHECK(done->connections == left);
      const bool found = later.connections.find(one, then + away).has_connection();
      CHECK(found == (left == 1));
    }
  }
  SUBCASE("a restart after the clock was set: it ran by the one of its start") {
    const instant boot = instant{} + seconds(100), today = instant{} + seconds(1'700'000'000);
    connection& k = r.connections[r.connections.insert({addr4("10.0.0.9"), addr4("198.51.100.1"), 9, 53, 17}, boot)];
    REQUIRE(r.connections.confirm(k, boot));
    const std::vector<std::byte> all = gateway::saved_state(r, boot, today - boot);
    rules = made("203.0.113.2/24, 203.0.113.3/24", next);
    gateway::router later(std::move(next), std::move(rules));
    const auto done = gateway::restore_state(later, {all.data(), all.size()}, today + seconds(1));
    REQUIRE(done);
    CHECK(done->connections != 0);
  }
  SUBCASE("a state with any bit of it damaged") {
    const std::vector<std::byte> all = gateway::saved_state(r, {});
    rules = made("203.0.113.4/24", next);
    gateway::router later(std::move(next), std::move(rules));
    for (std::size_t bit = 0; bit < 8 * all.size(); ++bit) {
      std::vector<std::byte> damaged = all;
      damaged[bit / 8] ^= std::byte{1} << bit % 8;
      CHECK_FALSE(gateway::restore_state(later, {damaged.data(), damaged.size()}, {}));
    }
    CHECK(later.connections.size() == 0);
  }
  SUBCASE("a state that was cut short") {
    const std::vector<std::byte> all = gateway::saved_state(r, {});
    rules = made("203.0.113.4/24", next);
    gateway::router later(std::move(next), std::move(rules));
    for (std::size_t n = 0; n < all.size(); ++n)
      if (n != export_size(r.connections)) CHECK_FALSE(gateway::restore_state(later, {all.data(), n}, {}));
    CHECK(later.connections.size() == 0);
  }
}

TEST_CASE("gateway: a rule counts as many connections as there can be") {
  gateway::configuration c;
  REQUIRE(read_configuration(two_networks + "limits { connections 70000 }\n"
                                            "table inet t { chain f { type filter hook forward priority 0;\n"
                                            "  udp dport 53 counter accept\n"
                                            "  ct count over 69000 drop } }",
                             &c) == "ok");
  const auto rules = loaded_rules(c);
  struct record {
    connection_facts facts{};
    std::uint8_t rest[detail::connection_stride - sizeof(connection_facts)] = {};
  };
  std::vector<record> all(70'000);
  for (record& r : all) r.facts.status = detail::connection_is_alive | connection_status::confirmed;
  static_pool<pool_config{.packets = 1, .bytes = 128, .headroom = 64, .bare = 1}> memory;
  packet p = memory->allocate();
  REQUIRE(p);
  REQUIRE(write_headers({p.put(42), 42}, ethernet_header{}, ipv4_header{.source = {10, 0, 0, 9}}, udp_header{}));
  p.layers(dissect(p.contents(), link_type::ethernet, {.head_offset = p.headroom()}));
  context at;
  at.connections = all.data();
  std::uint32_t accepted = 0;
  for (std::uint32_t n = 0; n < all.size(); ++n) {
    p.connection(connection_word::of(new_, connection_direction::original, n).value);
    if (rules->table().run(hook_point::forward, p, at) == accept) ++accepted;
  }
  CHECK(accepted == 69'000);
}

TEST_CASE("gateway: a reload refuses what it does not put into force") {
  const auto made = [](const std::string& more, gateway::configuration& c) {
    REQUIRE(read_configuration("interface lan { device \"null:\" mac 02:00:00:00:00:01 address 10.0.0.1/24 }" + more,
                               &c) == "ok");
    return loaded_rules(c);
  };
  gateway::configuration c;
  auto rules = made("", c);
  gateway::router r(std::move(c), std::move(rules));
  const auto reload = [&](const std::string& more, mac_address m = {}) {
    gateway::configuration next;
    auto fresh = made(more, next);
    next.interfaces[0].link.mac = m;
    return r.reload(std::move(next), std::move(fresh));
  };
  CHECK(reload("") == "");
  CHECK(reload("", mac("02:00:00:00:00:01")) == "");
  CHECK(reload("", mac("02:00:00:00:00:02")) == "another MAC address of interface lan needs a restart");
  CHECK(reload("reverse_path loose") == "another reverse_path needs a restart");
  for (const char* limit : {"connections 7", "ipv6_connections 7", "neighbours 7", "fragments 7"})
    CHECK(reload(std::string("limits { ") + limit + " }") == "other limits need a restart");
  CHECK(reload("metrics 127.0.0.1:9100") == "other metrics need a restart");
  {
    // Who reloads fills in the address that is in force.
    gateway::configuration next;
    REQUIRE(read_configuration("interface lan { device \"null:\" address 10.0.0.1/24 }", &next) == "ok");
    auto fresh = loaded_rules(next);
    next.interfaces[0].link.mac = mac("02:00:00:00:00:01");
    CHECK(r.reload(std::move(next), std::move(fresh)) == "interface lan without its mac needs a restart");
  }
  CHECK(reload("") == "");
}

TEST_CASE("gateway: a MAC address that the file has not said may be said by a reload, when it is the one in force") {
  const auto read = [](const char* more, gateway::configuration& c) {
    REQUIRE(read_configuration(std::string("interface lan { device \"null:\" address 10.0.0.1/24 ") + more + "}", &c) ==
            "ok");
    c.interfaces[0].link.mac = mac("02:00:00:00:00:01");
    return loaded_rules(c);
  };
  gateway::configuration c;
  auto rules = read("", c);
  gateway::router r(std::move(c), std::move(rules));
  for (const char* const more : {"", "mac 02:00:00:00:00:01 "}) {
    gateway::configuration next;
    rules = read(more, next);
    CHECK(r.reload(std::move(next), std::move(rules)) == "");
  }
}

TEST_CASE("gateway: more routes than their table has room for are told of where they stand, not when it starts") {
  std::string text = two_networks;
  for (int i = 0; i < 60'000; ++i)
    text += "route " + std::to_string(20 + i / 65536) + '.' + std::to_string(i / 256 % 256) + '.' +
            std::to_string(i % 256) + ".0/24 via 10.0.0.9\n";
  text += "route 2001:db8::/32 via fd00::9\nroute 30.0.0.0/8 via 10.0.0.9 table other\n";
  gateway::configuration c;
  REQUIRE(read_configuration(text, &c) == "ok");
  auto rules = loaded_rules(c);
  CHECK(gateway::router(std::move(c), std::move(rules)).routes_now->complete());
  CHECK(read_configuration(text + "route 40.0.0.0/8 via 10.0.0.9") ==
        "60005:7 more than 60000 routes of a family in one table");
}

TEST_CASE("gateway: there is room for all groups of routers that a configuration says") {
  std::string many;
  for (int i = 0; i < 200; ++i)
    many += "route 10.1." + std::to_string(i) + ".0/24 via 10.0.0." + std::to_string(i + 2) + " via 203.0.113.9\n";
  gateway::configuration c;
  REQUIRE(read_route(many, &c) == "ok");
  auto rules = loaded_rules(c);
  gateway::router r(std::move(c), std::move(rules));
  CHECK(r.routes_now->complete());
  CHECK(r.interface_towards(addr4("10.1.199.1")) != 0);
}

TEST_CASE("gateway: what the fast path knows is forgotten by a reload that changes something") {
  const auto made = [](const std::string& more, gateway::configuration& c) {
    REQUIRE(read_configuration(two_networks + "fast_path 1024\n" + more, &c) == "ok");
    return loaded_rules(c);
  };
  gateway::configuration c;
  auto rules = made("", c);
  gateway::router r(std::move(c), std::move(rules));
  CHECK(r.has_fast_path());
  CHECK(r.flows.capacity() == 1024);

  test::counted_pool memory({.packets = 16});
  test::test_device device(memory);
  manual_clock time;
  // The hits after a datagram from inside, or an answer, some milliseconds later.
  const auto hits = [&](bool from_inside) {
    const ipv4_address inside = addr4("10.0.0.9"), outside = addr4("203.0.113.9");
    time.advance(milliseconds(10));
    device.put(1, 20, time.now(), test::eth,
               ipv4_header{.source = from_inside ? inside : outside, .destination = from_inside ? outside : inside},
               udp_header{.source_port = from_inside ? std::uint16_t{1000} : std::uint16_t{53},
                          .destination_port = from_inside ? std::uint16_t{53} : std::uint16_t{1000}});
    auto slow = track(r.connections) | confirm(r.connections) | flow_add(r.flows) | discard;
    auto path = parse() | [from_inside](packet& p) { p.iif(from_inside ? 1 : 2); } |
                fast_path(r.flows).on<offloaded>(discard).on<other>(shared(slow));
    run(time, attach(device, path));
    return r.flows.statistics().hits;
  };
  CHECK(hits(true) == 0);   // begins the connection
  CHECK(hits(false) == 0);  // and is its first answer: the flow is known from here on
  CHECK(hits(false) == 1);
  CHECK(hits(true) == 1);
  CHECK(hits(true) == 2);

  gateway::configuration next;
  rules = made("", next);
  next.interfaces.pop_back();
  CHECK(r.reload(next, std::move(rules)) != "");
  CHECK(hits(true) == 3);
  rules = made("route default via 203.0.113.1", next);
  CHECK(r.reload(next, std::move(rules)) == "");
  CHECK(hits(true) == 3);
  CHECK(hits(true) == 4);
  CHECK(r.flows.statistics().stale == 1);
}

TEST_CASE("gateway: what a device takes and cannot send is counted among the drops") {
  struct device_that_is_down {
    std::uint64_t lost_ = 0;
    std::size_t transmit(packet* packets, std::size_t n, instant) {
      for (std::size_t i = 0; i < n; ++i) packets[i].reset();
      lost_ += n;
      return n;
    }
    std::uint64_t lost() const { return lost_; }
  };
  gateway::configuration c;
  REQUIRE(read_configuration(two_networks, &c) == "ok");
  std::vector<gateway::port> ports;
  auto down = device::any_device::make<device_that_is_down>("down");
  REQUIRE(down);
  ports.reserve(2);
  ports.emplace_back(c.interfaces[0], std::move(*down), std::uint16_t{1});
  auto tagged = device::any_device::make<gateway::vlan_device>("phones", ports[0].device, std::uint16_t{5});
  REQUIRE(tagged);
  ports.emplace_back(c.interfaces[1], std::move(*tagged), std::uint16_t{2});
  std::uint16_t by = 1;
  SUBCASE("") {}
  SUBCASE("and so by a VLAN that is on it") { by = 2; }
  gateway::egress out(ports);
  test::counted_pool memory({.packets = 16});
  test::test_device in(memory);
  for (unsigned n = 1; n <= 3; ++n) in.udp(n);
  auto path = parse() | named("by", [by](packet& p) { return p.iif(by), verdict{pass}; }) | transmit(out);
  manual_clock time;
  run(time, attach(in, path));
  CHECK(totals(path).dropped(drop_reason::transmit_error) == 3);
  CHECK(ports[by - 1u].sent.packets == 0);
}

TEST_CASE(
    "gateway: a terminal or a pipe that nobody reads holds up nobody who tells it something, however long it is") {
  for (const bool terminal : {true, false}) {
    int ends[2] = {-1, -1};
    if (terminal) {
      ends[0] = ::posix_openpt(O_RDWR | O_NOCTTY);
      if (ends[0] < 0 || ::grantpt(ends[0]) != 0 || ::unlockpt(ends[0]) != 0) continue;  // none here
      ends[1] = ::open(::ptsname(ends[0]), O_RDWR | O_NOCTTY);
    } else {
      REQUIRE(::pipe(ends) == 0);
    }
    REQUIRE(ends[1] >= 0);
    std::atomic<int> lines{0};
    std::thread teller([&] {
      const gateway::listener nobody(ends[1]);
      for (; lines < 4000; ++lines) {
        const std::string line(static_cast<std::size_t>(40 + lines % 7 * 800), 'x');
        nobody.take(line.data(), line.size());
      }
    });
    for (int i = 0; i < 500 && lines < 4000; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    CHECK(lines == 4000);
    CHECK((::fcntl(ends[1], F_GETFL) & O_NONBLOCK) == 0);  // who shares it finds it as it was
    char some[4096];
    while (lines < 4000 && ::read(ends[0], some, sizeof some) > 0) {}
    teller.join();
    for (const int fd : ends) ::close(fd);
  }
}
