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
//     route default via 203.0.113.1            # its interface follows from the addresses; or say: dev wan
//     route 10.0.0.0/8 via 192.168.1.2 mtu 1400
//     route default via 203.0.113.1 weight 3 via 198.51.100.1   # flows are spread among up to 16 routers
//     route 192.0.2.0/24 blackhole             # or unreachable, prohibit, dev lan
//     reverse_path loose                       # or strict, off
//     limits { connections 65536 ipv6_connections 16384 neighbours 1024 fragments 4096 }
//     metrics 127.0.0.1:9100
//     fast_path 262144                         # remembers what became of so many flows
//
//     table inet filter { ... }                # nft's tables, as hook/parse_rule_table.hpp reads them
//
// Words are separated by gaps, a `#` begins a comment. Interfaces have the numbers 1, 2, ... in the order of the file.
//
// With `fast_path` the packets of established TCP and UDP connections that are forwarded go past rules, routes and
// neighbours, as with nft's flowtables: see track/fast_path.hpp. Rules, their counters, limits, quotas and logs then
// see the other packets only, and one of each flow in a second; marks, DSCP and TTL that a rule sets are set on no
// others. Chains of a priority below -200 still see all packets. Flows are a power of two: four for each connection
// that there will be at once, 64 bytes each.
#ifndef GATEWAY_CONFIGURATION_HPP
#define GATEWAY_CONFIGURATION_HPP

#include <runnel/runnel.hpp>

#include <bit>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace gateway {

struct configuration {
  struct interface {
    std::string name, device;
    runnel::ip_interface link{.mac = {}, .mtu = 0};  // zeros: as the device says
    bool advertise = false;                          // router advertisements
  };
  struct way {
    runnel::next_hop hop{};
    std::uint8_t weight = 1;
  };
  struct route {
    runnel::prefix covered;
    std::vector<way> ways;  // one, or those that share its flows
  };
  std::vector<interface> interfaces;
  std::vector<route> routes;
  runnel::reverse_path_filter reverse_path = runnel::reverse_path_filter::strict;
  runnel::connection_config connections{};
  runnel::neighbour_config neighbours{};
  runnel::fragment_config fragments{};
  std::uint32_t fast_path = 0;  // flows; 0: there is none
  std::string metrics_address;  // empty: none
  std::uint16_t metrics_port = 0;
  std::string rules;  // the tables, at their places in the file; all else is blank, so that errors have its lines

  // The number of an interface, 0 when there is none.
  [[nodiscard]] std::uint16_t number_of(std::string_view name) const {
    for (std::size_t i = 0; i < interfaces.size(); ++i)
      if (interfaces[i].name == name) return static_cast<std::uint16_t>(i + 1);
    return 0;
  }
};

// What is wrong, and where: lines and columns count from 1.
struct fault {
  std::size_t line = 0, column = 0;
  std::string what;
};

class configuration_reader {
 public:
  configuration_reader(std::string_view text, configuration& to) : text_(text), to_(to) {}

  // False when something is wrong: see `why`. What was read so far is of no use then.
  bool read() {
    to_ = {};
    to_.rules.assign(text_.size(), ' ');
    for (std::size_t i = 0; i < text_.size(); ++i)
      if (text_[i] == '\n') to_.rules[i] = '\n';
    if (const auto at = text_.find('\0'); at != text_.npos) fail(at, "a zero byte: this is no text");
    while (good() && !at_end()) statement();
    if (good() && to_.interfaces.empty()) fail(text_.size(), "no interface: interface NAME { device \"...\" ... }");
    for (const unresolved& u : unresolved_) resolve(u);
    return good();
  }
  [[nodiscard]] const fault& why() const { return fault_; }

 private:
  struct word {
    std::string_view text;
    std::size_t at;
  };
  // A route whose interface is not known before all of them are.
  struct unresolved {
    std::size_t route, way;
    word device, gateway;
  };

  // ---- words

  [[nodiscard]] bool good() const { return fault_.line == 0; }
  void fail(std::size_t at, std::string what) {
    if (!good()) return;
    fault_ = {1, 1, std::move(what)};
    for (std::size_t i = 0; i < at && i < text_.size(); ++i) {
      ++fault_.column;
      if (text_[i] == '\n') ++fault_.line, fault_.column = 1;
    }
  }
  void expected(const word& seen, const std::string& what) {
    fail(seen.at, "expected " + what + ", not " + (seen.text.empty() ? "the end" : '"' + std::string(seen.text) + '"'));
  }
  bool at_end() {
    for (; at_ < text_.size(); ++at_) {
      if (text_[at_] == '#') at_ = std::min(text_.find('\n', at_), text_.size() - 1);
      else if (text_[at_] != ' ' && text_[at_] != '\t' && text_[at_] != '\n' && text_[at_] != '\r' && text_[at_] != ';')
        return false;
    }
    return true;
  }
  // A word of what names, numbers and addresses are made of, or one sign; empty at the end.
  word ahead() {
    if (at_end()) return {{}, text_.size()};
    std::size_t end = at_;
    while (end < text_.size() && of_word(text_[end])) ++end;
    return {text_.substr(at_, end == at_ ? 1 : end - at_), at_};
  }
  static bool of_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           c == '.' || c == ':' || c == '/';
  }
  word next() {
    const word w = ahead();
    at_ += w.text.size();
    return w;
  }
  bool accept(std::string_view text) {
    if (!good() || ahead().text != text) return false;
    next();
    return true;
  }
  void expect(std::string_view text) {
    if (const word w = next(); w.text != text) expected(w, '"' + std::string(text) + '"');
  }
  std::uint32_t number(std::uint32_t least, std::uint32_t most) {
    const word w = next();
    std::uint64_t n = 0;
    for (const char c : w.text)
      n = c < '0' || c > '9' || n > most ? std::uint64_t{most} + 1 : n * 10 + unsigned(c - '0');
    if (w.text.empty() || n < least || n > most)
      expected(w, "a number from " + std::to_string(least) + " to " + std::to_string(most));
    return static_cast<std::uint32_t>(n);
  }
  std::string quoted(const char* what) {
    const word w = next();
    const std::size_t end = text_.find_first_of("\"\n", at_);
    if (w.text != "\"" || end == text_.npos || text_[end] == '\n') return expected(w, what), "";
    const std::string inside(text_.substr(at_, end - at_));
    at_ = end + 1;
    return inside;
  }
  // What the library's own readers make of a word; they say at which character it went wrong.
  template <class Read>
  auto value(const word& w, Read parse, const char* what) {
    const auto v = parse(std::string(w.text).c_str());
    if (!v && v.error().position == 0) expected(w, what);
    else if (!v) fail(w.at + v.error().position, std::string(what) + ": " + v.error().reason);
    return v ? *v : typename decltype(v)::value_type{};
  }

  // ---- statements

  void statement() {
    const word w = ahead();
    if (accept("interface")) interface();
    else if (accept("route")) route();
    else if (accept("limits")) limits();
    else if (accept("reverse_path")) reverse_path();
    else if (accept("metrics")) metrics();
    else if (accept("fast_path")) fast_path();
    else if (w.text == "table") table();
    else expected(w, "one of interface, route, limits, reverse_path, metrics, fast_path, table");
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
    expect("{");
    while (good() && !accept("}")) {
      if (accept("device")) made.device = quoted("a device in quotes, such as \"af_packet:eth0\"");
      else if (accept("address")) addresses(made.link);
      else if (accept("mtu")) made.link.mtu = static_cast<std::uint16_t>(number(68, 65535));
      else if (accept("mac")) made.link.mac = value(next(), runnel::parse_mac, "a MAC address");
      else if (accept("advertise")) made.advertise = true;
      else expected(ahead(), "device, address, mtu, mac, advertise or \"}\"");
    }
    if (made.device.empty()) fail(name.at, "an interface needs a device: device \"af_packet:eth0\"");
    to_.interfaces.push_back(made);
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
      if (six) a = {value(alone, runnel::parse_ipv6, "an IPv6 address"), bits};
      else a = {value(alone, runnel::parse_ipv4, "an IPv4 address"), bits};
      if (good() && !link.addresses.add(a)) fail(w.at, "this address is there already, or is the 17th");
    } while (accept(","));
  }
  void route() {
    using runnel::route_type;
    std::vector<runnel::prefix> covered;
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
        one.hop.gateway = is_six ? value(router, runnel::parse_ipv6, "an IPv6 address")
                                 : runnel::mapped(value(router, runnel::parse_ipv4, "the address of a router"));
        if (is_six ? four : six) return fail(router.at, "a router of the other family");
        (is_six ? six : four) = true;
      }
      if (accept("dev")) where.device = next();
      if (where.gateway.text.empty() && where.device.text.empty()) {
        if (accept("blackhole")) one.hop = runnel::next_hop::of(route_type::blackhole);
        else if (accept("unreachable")) one.hop = runnel::next_hop::of(route_type::unreachable);
        else if (accept("prohibit")) one.hop = runnel::next_hop::of(route_type::prohibit);
        else expected(ahead(), "via, dev, blackhole, unreachable or prohibit");
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
      to_.routes.push_back({p, ways});
    }
  }
  // By which interface a route goes: the one that is named, or whose networks the router is in.
  void resolve(const unresolved& u) {
    runnel::next_hop& hop = to_.routes[u.route].ways[u.way].hop;
    if (!u.device.text.empty()) {
      hop.oif = to_.number_of(u.device.text);
      if (hop.oif == 0) expected(u.device, "the name of an interface");
      return;
    }
    for (std::size_t i = 0; i < to_.interfaces.size() && hop.oif == 0; ++i)
      if (to_.interfaces[i].link.addresses.is_on_link(hop.gateway)) hop.oif = static_cast<std::uint16_t>(i + 1);
    if (hop.oif == 0) fail(u.gateway.at, "no interface has an address in the network of this router: add dev NAME");
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
    expect("{");
    while (good() && !accept("}")) {
      if (accept("connections")) to_.connections.connections = number(1, 1u << 27);
      else if (accept("ipv6_connections")) to_.connections.ipv6_connections = number(0, 1u << 27);
      else if (accept("neighbours")) to_.neighbours.entries = number(1, 1u << 20);
      else if (accept("fragments")) to_.fragments.fragments = number(1, 1u << 20);
      else expected(ahead(), "connections, ipv6_connections, neighbours, fragments or \"}\"");
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
      to_.rules[at_] = c;
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

  std::string_view text_;
  configuration& to_;
  std::size_t at_ = 0;
  fault fault_;
  std::vector<unresolved> unresolved_;
};

}  // namespace gateway

#endif
