// SPDX-License-Identifier: MIT
// The configuration file of the gateway, and what is wrong with it, by line and column.
//
//     interface lan {
//       device "af_packet:eth0"                # any device that device/open.hpp knows
//       address 192.168.1.1/24, fd00:1::1/64   # of this gateway
//       mtu 1500                               # if not that of the device
//       mac 02:00:00:00:00:01                  # the same
//       advertise                              # tells IPv6 hosts of its networks, and that it is their router
//     }
//     interface phones { vlan 5 on lan  address 192.168.5.1/24 }   # the packets there with this tag, 802.1Q
//     route default via 203.0.113.1            # its interface follows from the addresses; or say: dev wan
//     route 10.0.0.0/8 via 192.168.1.2 mtu 1400
//     route default via 203.0.113.1 weight 3 via 198.51.100.1   # flows are spread among up to 16 routers
//     route 192.0.2.0/24 blackhole             # or unreachable, prohibit, throw, dev lan
//     route default via 198.51.100.1 table dsl # into another table than main
//     rule from 10.2.0.0/16 table dsl          # who asks it: see below
//     reverse_path loose                       # or strict, off
//     limits { connections 65536 ipv6_connections 16384 neighbours 1024 fragments 1024 }
//     metrics 127.0.0.1:9100
//     fast_path 262144                         # remembers what became of so many flows
//
//     table inet filter { ... }                # nft's tables, as hook/parse_rule_table.hpp reads them
//
// Words are separated by gaps, a `#` begins a comment. Interfaces have the numbers 1, 2, ... in the order of the file.
// A VLAN has the MAC address and the MTU of the interface that it is on, which stands before it. Only `table` has to
// stand on the line of its route or rule: on the next one it begins a table of nft.
//
// Rules are those of `ip rule`, in its words: `from` and `to` a network or a host, `fwmark` as `1` or `0x10/0xf0`,
// `iif` an interface; then `table`, by number or name, or `blackhole`, `unreachable`, `prohibit`. All that is said has
// to fit; without a prefix a rule is about both families. The rule of the lowest `priority` is asked first, without one
// it is 32765, and of equals the one that stands first. Where its table has no route, or one of type `throw`, the next
// one is asked. As in the kernel addresses of this host come before all (0), table main after (32766), where routes are
// that name no table, and the networks of the interfaces. `rule priority 10 table main suppress_prefixlength 0` asks
// main for all but its default routes: what is near does not go by an uplink that a rule behind it says. Marks are
// those that `meta mark set` gives in prerouting chains, at which a strict reverse_path looks too, as with
// src_valid_mark.
//
// With `fast_path` the packets of established TCP and UDP connections that are forwarded go past rules, routes and
// neighbours, as with nft's flowtables: see track/fast_path.hpp. Rules, their counters, limits and logs then
// see the other packets only, and one of each flow in a second; marks, DSCP and TTL that a rule sets are set on no
// others: a flow goes on by the table that the mark of its last packet there chose. Chains of a priority below -200
// still see all packets, and those that one of them marks go the slow way. Flows are a power of two: four for each
// connection that there will be at once, 64 bytes each.
#ifndef GATEWAY_CONFIGURATION_HPP
#define GATEWAY_CONFIGURATION_HPP

#include <runnel/runnel.hpp>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "words.hpp"

namespace gateway {

struct configuration {
  struct interface {
    std::string name, device;
    runnel::ip_interface link{.mac = {}, .mtu = 0};  // zeros: as the device says
    bool says_mac = false;                           // whether its MAC address is from the file
    bool advertise = false;                          // router advertisements
    std::uint16_t vlan = 0, parent = 0;              // its tag, and the number of the interface that it is on
  };
  struct way {
    runnel::next_hop hop{};
    std::uint8_t weight = 1;
  };
  struct route {
    runnel::prefix covered;
    std::vector<way> ways;  // one, or those that share its flows
    std::size_t table = 0;
  };
  struct rule {
    static constexpr std::size_t most = 62;
    std::uint32_t priority = 32765;
    runnel::rule_selector about{};
    runnel::route_type action = runnel::route_type::unicast;  // its table is asked; else this is the answer
    std::size_t table = 0;
    int suppressed = -1;  // routes of the table that are not taken: those of at most this length
  };
  // Of one family in one table, which has room for 65534 with those of the interfaces.
  static constexpr std::size_t most_routes = 60'000;
  std::vector<interface> interfaces;
  std::vector<std::string> tables{"main"};
  std::vector<route> routes;
  std::vector<rule> rules;
  runnel::reverse_path_filter reverse_path = runnel::reverse_path_filter::strict;
  runnel::connection_config connections{};
  runnel::neighbour_config neighbours{};
  // Those that go through, and as many of those for this host.
  runnel::fragment_config fragments{.fragments = 1024, .datagrams = 256};
  // The same, but no more than leave a device of so many slots, in which fragments are held, half of them to receive
  // in.
  runnel::fragment_config fragments_beside(std::uint32_t slots) const {
    runnel::fragment_config c = fragments;
    c.fragments = std::min(c.fragments, std::max(slots / 4, 1u));
    c.datagrams = std::min(c.datagrams, c.fragments);
    return c;
  }
  std::uint32_t fast_path = 0;  // flows; 0: there is none
  std::string metrics_address;  // empty: none
  std::uint16_t metrics_port = 0;
  std::string nft;  // the tables, at their places in the file; all else is blank, so that errors have its lines

  // The number of an interface, 0 when there is none.
  [[nodiscard]] std::uint16_t number_of(std::string_view name) const {
    for (std::size_t i = 0; i < interfaces.size(); ++i)
      if (interfaces[i].name == name) return static_cast<std::uint16_t>(i + 1);
    return 0;
  }
};

// Where there is IPv6 there is an address of the link; where none is named the interface gets one.
inline bool lacks_link_local(const runnel::own_addresses& all) {
  bool has_v6 = false;
  for (const runnel::interface_address& a : all) {
    if (a.address.is_link_local()) return false;
    has_v6 = has_v6 || !runnel::is_mapped(a.address);
  }
  return has_v6;
}

class configuration_reader : words {
 public:
  configuration_reader(std::string_view text, configuration& to) : words(text), to_(to) {}

  // False when something is wrong: see `why`. What was read so far is of no use then.
  bool read() {
    to_ = {};
    to_.nft.assign(text_.size(), ' ');
    for (std::size_t i = 0; i < text_.size(); ++i)
      if (text_[i] == '\n') to_.nft[i] = '\n';
    if (const auto at = text_.find('\0'); at != text_.npos) fail(at, "a zero byte: this is no text");
    while (good() && !at_end()) statement();
    if (good() && to_.interfaces.empty()) fail(text_.size(), "no interface: interface NAME { device \"...\" ... }");
    refuse_repeated();
    for (const unresolved& u : unresolved_) resolve(u);
    for (const unresolved_rule& u : unresolved_rules_) resolve(u);
    return good();
  }
  using words::why;

 private:
  // A route whose interface is not known before all of them are.
  struct unresolved {
    std::size_t route, way;
    word device, gateway;
  };
  // What a route is about, to tell those that are there twice.
  struct covered_at {
    std::size_t table = 0;
    runnel::prefix what{};
    std::size_t at = 0;
  };
  // The same of a rule, with its table.
  struct unresolved_rule {
    std::size_t rule = 0;
    word iif{}, table{};
  };

  // ---- statements

  void statement() {
    const word w = ahead();
    if (accept("interface")) interface();
    else if (accept("route")) route();
    else if (accept("rule")) rule();
    else if (w.text == "table") table();
    else if (accept("limits")) once(w, said_), limits();
    else if (accept("reverse_path")) once(w, said_), reverse_path();
    else if (accept("metrics")) once(w, said_), metrics();
    else if (accept("fast_path")) once(w, said_), fast_path();
    else expected(w, "one of interface, route, rule, limits, reverse_path, metrics, fast_path, table");
  }
  void interface() {
    const word name = next();
    const char first = name.text.empty() ? '0' : name.text[0];
    if (!of_word(first) || (first >= '0' && first <= '9') || name.text.size() > 31)
      return expected(name, "the name of an interface: a letter, and up to 30 more characters");
    if (to_.number_of(name.text) != 0) return fail(name.at, "there is an interface of this name already");
    if (to_.interfaces.size() == 64) return fail(name.at, "more than 64 interfaces");
    configuration::interface made;
    made.name = name.text;
    std::vector<std::string_view> said;
    expect("{");
    while (good() && !accept("}")) {
      const word w = ahead();
      if (accept("device")) device(made, w.at);
      else if (accept("vlan")) vlan(made, w.at);
      else if (accept("address")) addresses(made.link);
      else if (accept("mtu")) made.link.mtu = static_cast<std::uint16_t>(number(68, 65535));
      else if (accept("mac")) mac(made);
      else if (accept("advertise")) made.advertise = true;
      else expected(w, "device, vlan, address, mtu, mac, advertise or \"}\"");
      if (w.text != "address") once(w, said);
    }
    if (made.device.empty()) fail(name.at, "an interface needs a device: device \"af_packet:eth0\"");
    if (lacks_link_local(made.link.addresses) && made.link.addresses.size() == made.link.addresses.most)
      fail(name.at, "so many addresses leave no room for a link-local IPv6 one: name it among them, or leave one out");
    if (made.vlan != 0 && made.says_mac) fail(name.at, "a VLAN has no MAC address of its own");
    to_.interfaces.push_back(made);
  }
  void device(configuration::interface& made, std::size_t at) {
    if (!made.device.empty()) return fail(at, "it has a device already");
    const std::size_t quote = ahead().at;
    made.device = quoted("a device in quotes, such as \"af_packet:eth0\"");
    if (!good()) return;
    if (const auto right = runnel::device::check(made.device.c_str()); !right) fail(quote, right.error().message());
    // Both would get each packet, and both would send it on.
    for (const configuration::interface& other : to_.interfaces)
      if (other.device == made.device && !made.device.starts_with("null:"))
        fail(at, "this device is of interface " + other.name);
  }
  void vlan(configuration::interface& made, std::size_t at) {
    if (!made.device.empty()) return fail(at, "it has a device already");
    made.vlan = static_cast<std::uint16_t>(number(1, 4094));
    expect("on");
    const word w = next();
    made.parent = to_.number_of(w.text);
    if (made.parent == 0 || to_.interfaces[made.parent - 1u].vlan != 0)
      return expected(w, "the name of an interface above that has a device");
    for (const configuration::interface& other : to_.interfaces)
      if (other.parent == made.parent && other.vlan == made.vlan) fail(at, "this tag is of interface " + other.name);
    made.device = "vlan " + std::to_string(made.vlan) + " on " + std::string(w.text);
  }
  void mac(configuration::interface& made) {
    const word w = next();
    made.link.mac = value(w, runnel::parse_mac, "a MAC address");
    made.says_mac = true;
    if (made.link.mac.is_multicast())
      fail(w.at, "expected a MAC address of one host: " + std::string(w.text) + " is of many");
  }
  void addresses(runnel::ip_interface& link) {
    do {
      constexpr const char* what = "an address with the length of its network, such as 192.168.1.1/24";
      const word w = next();
      const std::size_t slash = w.text.find('/');
      if (slash == w.text.npos) return expected(w, what);
      const std::string_view length = w.text.substr(slash + 1);
      unsigned bits = 0;
      for (const char c : length) bits = c < '0' || c > '9' || bits > 128 ? 999 : bits * 10 + unsigned(c - '0');
      const bool six = w.text.find(':') != w.text.npos;
      if (length.empty() || bits > (six ? 128u : 32u) || bits == 0)
        return fail(w.at + slash + 1, six ? "expected a length from 1 to 128" : "expected a length from 1 to 32");
      const word alone{w.text.substr(0, slash), w.at};
      runnel::interface_address a;
      if (const runnel::ipv6_address own = host(alone, "an IPv4 address"); six) a = {own, bits};
      else a = {runnel::unmapped(own), bits};
      if (good() && !link.addresses.add(a)) fail(w.at, "this address is there already, or is the 17th");
    } while (accept(","));
  }
  void route() {
    using runnel::route_type;
    std::vector<runnel::prefix> covered;
    const std::size_t begin = ahead().at;
    if (!accept("default"))
      covered.push_back(value(next(), runnel::parse_prefix, "a prefix such as 10.0.0.0/8, or default"));
    std::vector<configuration::way> ways;
    std::vector<unresolved> later;
    bool four = false, six = false;  // of the routers' addresses
    while (good() && (ways.empty() || ahead().text == "via")) {
      if (ways.size() == runnel::next_hop_table::most_members) return fail(ahead().at, "this is the 17th router");
      configuration::way one;
      unresolved where{};
      if (accept("via")) {
        const word router = where.gateway = next();
        const bool is_six = router.text.find(':') != router.text.npos;
        one.hop.gateway = host(router, "the address of a router");
        if (is_six ? four : six) return fail(router.at, "a router of the other family");
        (is_six ? six : four) = true;
      }
      if (accept("dev")) where.device = next();
      if (where.gateway.text.empty() && where.device.text.empty()) {
        if (accept("throw")) one.hop = runnel::next_hop::of(route_type::throw_);
        else one.hop = runnel::next_hop::of(refusal("via, dev, blackhole, unreachable, prohibit or throw"));
      } else {
        where.way = ways.size();
        later.push_back(where);
      }
      if (four != six && accept("weight")) one.weight = static_cast<std::uint8_t>(number(1, 255));
      for (const configuration::way& other : ways)
        if (other.hop.gateway == one.hop.gateway) fail(where.gateway.at, "this router is there already");
      ways.push_back(one);
      if (where.gateway.text.empty()) break;
    }
    if (good() && !later.empty() && accept("mtu")) {
      const auto mtu = static_cast<std::uint16_t>(number(68, 65535));
      for (configuration::way& one : ways) one.hop.mtu = mtu;
    }
    const std::size_t table = accept_on_line("table") ? new_table() : 0;
    if (!good()) return;
    // A default route by a router is of its family; every other one is of both.
    const bool is_default = covered.empty();
    if (is_default && !six) covered.push_back(runnel::prefix::v4({}, 0));
    if (is_default && !four) covered.push_back(runnel::prefix::v6({}, 0));
    for (const runnel::prefix& p : covered) {
      if (p.is_v4() ? six : four) return fail(later[0].gateway.at, "a router of the other family");
      for (unresolved& u : later) {
        u.route = to_.routes.size();
        unresolved_.push_back(u);
      }
      covered_.push_back({table, p, begin});
      if (++routes_of_[{table, p.is_v4()}] > configuration::most_routes)
        fail(begin, "more than " + std::to_string(configuration::most_routes) + " routes of a family in one table");
      to_.routes.push_back({p, ways, table});
    }
  }
  // By which interface a route goes: the one that is named, or whose networks the router is in.
  void resolve(const unresolved& u) {
    runnel::next_hop& hop = to_.routes[u.route].ways[u.way].hop;
    for (const configuration::interface& i : to_.interfaces)  // those of links are another host's on another link
      if (!u.gateway.text.empty() && !hop.gateway.is_link_local() && i.link.addresses.contains(hop.gateway))
        return fail(u.gateway.at, "this is an address of this gateway");
    if (!u.device.text.empty()) {
      hop.oif = to_.number_of(u.device.text);
      if (hop.oif == 0) expected(u.device, "the name of an interface");
      return;
    }
    for (std::size_t i = 0; i < to_.interfaces.size() && hop.oif == 0; ++i)
      if (to_.interfaces[i].link.addresses.is_on_link(hop.gateway)) hop.oif = static_cast<std::uint16_t>(i + 1);
    if (hop.oif == 0) fail(u.gateway.at, "no interface has an address in the network of this router: add dev NAME");
  }
  runnel::route_type refusal(const char* or_else) {
    using runnel::route_type;
    for (const route_type t : {route_type::blackhole, route_type::unreachable, route_type::prohibit})
      if (accept(name(t))) return t;
    expected(ahead(), or_else);
    return route_type::unicast;
  }
  // One table has one route to a prefix: of two the kernel refuses the second, and so do we.
  void refuse_repeated() {
    using runnel::ipv4_address, runnel::ipv6_address, runnel::mapped;
    const auto key = [](const covered_at& c) {
      const ipv6_address a =
          c.what.is_v4() ? mapped(c.what.as<ipv4_address>().address()) : c.what.as<ipv6_address>().address();
      return std::tuple(c.table, c.what.is_v4(), a.high(), a.low(), c.what.length());
    };
    std::sort(covered_.begin(), covered_.end(), [&](const covered_at& a, const covered_at& b) {
      return key(a) != key(b) ? key(a) < key(b) : a.at < b.at;
    });
    std::size_t first = text_.size();
    for (std::size_t i = 1; i < covered_.size(); ++i)
      if (key(covered_[i - 1]) == key(covered_[i])) first = std::min(first, covered_[i].at);
    if (first < text_.size())
      fail(first, "a route to this prefix is there already: one takes several routers, via ... via ...");
  }
  // As `ip rule add` has it, in any order.
  void rule() {
    constexpr const char* what = "priority, from, to, fwmark, iif, table, blackhole, unreachable or prohibit";
    configuration::rule made;
    unresolved_rule later{.rule = to_.rules.size()};
    const std::size_t begin = ahead().at;
    if (later.rule == made.most) return fail(begin, "more than " + std::to_string(made.most) + " rules");
    bool decides = false;
    std::vector<std::string_view> said;
    while (good()) {
      const word w = ahead();
      if (accept("priority")) made.priority = number(0, 0xffff'ffff);
      else if (accept("from")) made.about.from = network();
      else if (accept("to")) made.about.to = network();
      else if (accept("fwmark")) mark(made.about);
      else if (accept("iif")) later.iif = next();
      else if (!later.table.text.empty() && accept("suppress_prefixlength"))
        made.suppressed = static_cast<int>(number(0, 128));
      else if (decides) break;
      else if ((decides = accept_on_line("table"))) later.table = next();
      else made.action = refusal(what), decides = true;
      once(w, said);
    }
    const runnel::rule_selector& about = made.about;
    if ((about.from.is_v4() && about.to.is_v6()) || (about.from.is_v6() && about.to.is_v4()))
      fail(begin, "one rule from one family to the other");
    to_.rules.push_back(made);
    unresolved_rules_.push_back(later);
  }
  // What could say one thing and then another.
  void once(const word& w, std::vector<std::string_view>& said) {
    if (std::find(said.begin(), said.end(), w.text) != said.end()) fail(w.at, "this is said twice");
    said.push_back(w.text);
  }
  // Of a rule: a network, or a host.
  runnel::prefix network() {
    const word w = next();
    constexpr const char* what = "a network such as 10.0.0.0/8, the address of a host, or all";
    if (w.text == "all") return {};
    if (w.text.find('/') != w.text.npos) return value(w, runnel::parse_prefix, what);
    if (w.text.find(':') == w.text.npos) return runnel::prefix::v4(value(w, runnel::parse_ipv4, what), 32);
    return runnel::prefix::v6(value(w, runnel::parse_ipv6, what), 128);
  }
  // `1`, `0x10/0xf0`; without a mask it is the whole mark.
  void mark(runnel::rule_selector& to) {
    const auto either_base = [this](word w, std::uint32_t least) {
      const bool hex = w.text.starts_with("0x");
      if (hex) w = {w.text.substr(2), w.at + 2};
      return number(w, hex ? 16 : 10, least, 0xffff'ffff);
    };
    const word w = next();
    const std::size_t slash = std::min(w.text.find('/'), w.text.size());
    to.mark = either_base({w.text.substr(0, slash), w.at}, 0);
    to.mark_mask = 0xffff'ffff;
    if (slash < w.text.size()) to.mark_mask = either_base({w.text.substr(slash + 1), w.at + slash + 1}, 1);
  }
  // The number of a table, `tables.size()` when there is none of this name.
  std::size_t table_of(const word& w) {
    if (w.text == "local" || w.text == "255") fail(w.at, "table local is made of the addresses of this host");
    if (w.text.empty() || !of_word(w.text[0])) expected(w, "the number or the name of a table");
    const std::string_view name = w.text == "254" ? "main" : w.text;
    return static_cast<std::size_t>(std::find(to_.tables.begin(), to_.tables.end(), name) - to_.tables.begin());
  }
  std::size_t new_table() {
    const word w = next();
    const std::size_t n = table_of(w);
    if (n == to_.tables.size()) to_.tables.emplace_back(w.text);
    return n;
  }
  void resolve(const unresolved_rule& u) {
    configuration::rule& of = to_.rules[u.rule];
    if (!u.iif.text.empty() && (of.about.iif = to_.number_of(u.iif.text)) == 0)
      expected(u.iif, "the name of an interface");
    if (of.action != runnel::route_type::unicast) return;
    of.table = table_of(u.table);
    if (of.table == to_.tables.size()) fail(u.table.at, "no route is in this table: route default via ... table NAME");
  }
  void reverse_path() {
    using runnel::reverse_path_filter;
    const word w = ahead();
    if (accept("off")) to_.reverse_path = reverse_path_filter::off;
    else if (accept("loose")) to_.reverse_path = reverse_path_filter::loose;
    else if (accept("strict")) to_.reverse_path = reverse_path_filter::strict;
    else expected(w, "off, loose or strict");
  }
  void limits() {
    std::vector<std::string_view> said;
    expect("{");
    while (good() && !accept("}")) {
      const word w = ahead();
      if (accept("connections")) to_.connections.connections = number(1, 1u << 27);
      else if (accept("ipv6_connections")) to_.connections.ipv6_connections = number(0, 1u << 27);
      else if (accept("neighbours")) to_.neighbours.entries = number(1, 1u << 20);
      else if (accept("fragments")) to_.fragments.fragments = number(1, 1u << 20);
      else expected(w, "connections, ipv6_connections, neighbours, fragments or \"}\"");
      once(w, said);
    }
    // What is smaller than the whole shrinks with it.
    to_.neighbours.unresolved = std::min(to_.neighbours.unresolved, to_.neighbours.entries);
    to_.fragments.datagrams = std::min(to_.fragments.datagrams, to_.fragments.fragments);
  }
  void metrics() {
    const word w = next();
    const std::size_t colon = w.text.rfind(':');
    if (colon == w.text.npos) return expected(w, "an address and a port, such as 127.0.0.1:9100");
    (void)value(word{w.text.substr(0, colon), w.at}, runnel::parse_ipv4, "an IPv4 address");
    to_.metrics_address = w.text.substr(0, colon);
    at_ = w.at + colon + 1;
    to_.metrics_port = static_cast<std::uint16_t>(number(0, 65535));
  }
  void fast_path() {
    const std::size_t at = ahead().at;
    to_.fast_path = number(4, 1u << 29);
    if ((to_.fast_path & (to_.fast_path - 1)) != 0)
      fail(at, "expected a power of two, such as " + std::to_string(std::bit_ceil(to_.fast_path)));
  }
  // To its closing brace. What is in it is read by the library, when all interfaces are known.
  void table() {
    std::size_t depth = 0;
    bool in_quotes = false, in_comment = false;
    for (const std::size_t from = at_; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      to_.nft[at_] = c;
      if (c == '\n') in_comment = in_quotes = false;
      else if (in_comment) continue;
      else if (c == '"') in_quotes = !in_quotes;
      else if (in_quotes) continue;
      else if (c == '#') in_comment = true;
      else if (c == '{') ++depth;
      else if (c == '}' && (depth == 0 || --depth == 0)) return void(++at_);
      else if (depth == 0 && at_ > from && text_.substr(at_).starts_with("\n")) return;
    }
  }

  configuration& to_;
  std::vector<unresolved> unresolved_;
  std::vector<covered_at> covered_;
  std::map<std::pair<std::size_t, bool>, std::size_t> routes_of_;  // how many, by table and whether of IPv4
  std::vector<unresolved_rule> unresolved_rules_;
  std::vector<std::string_view> said_;  // statements that there is one of
};

}  // namespace gateway

#endif
