// SPDX-License-Identifier: MIT
// What the gateway consists of, and the way of a packet through it.
//
//     from each interface -> parse -> neighbours --.
//                                                  |
//     fragments -> raw -> track -> prerouting -> route -+- local ---> input ---> echo, or "nobody listens"
//                                                        +- forward -> forward -> TTL, MTU -> postrouting -> confirm ->
//                                                        |                                    resolve -> its interface
//                                                        `- no route -> ICMP error
//
// With a fast path it stands between raw and track: what it knows goes to its interface from there, if no raw chain has
// marked it. As in the kernel mangle chains, which restore the mark of a connection, and the translation of
// destinations stand before the routing decision, whose rules look at marks and addresses.
//
// Chains with a priority below -200 stand before tracking: `notrack` is said there, by addresses alone where fragments
// are meant too. Addresses are translated at prerouting and postrouting, by rules that are asked about the first packet
// of a connection.
//
// The tables live in `router`; the path refers to them. Rules, routes and addresses are replaced while packets flow,
// and no connection is lost by that.
#ifndef GATEWAY_ROUTER_HPP
#define GATEWAY_ROUTER_HPP

#include <runnel/runnel.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <new>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <sys/mman.h>  // madvise

#include "configuration.hpp"
#include "routes.hpp"
#include "tell.hpp"
#include "vlans.hpp"

namespace gateway {

// Memory of a size that is known when the program runs, all of it there from the start. A large table lies on huge
// pages where the system has them: it is looked up at random, and with ordinary ones each look would search the page
// first.
class table_memory {
 public:
  explicit table_memory(std::size_t n)
      : size_(n),
        alignment_(n < huge_page ? 64 : huge_page),
        at_(static_cast<std::byte*>(::operator new(n, std::align_val_t{alignment_}))) {
    if (n >= huge_page) (void)::madvise(at_, n, MADV_HUGEPAGE);
    for (std::size_t i = 0; i < n; i += 4096) at_[i] = std::byte{0};
  }
  table_memory(const table_memory&) = delete;
  table_memory& operator=(const table_memory&) = delete;
  ~table_memory() { ::operator delete(at_, std::align_val_t{alignment_}); }
  operator runnel::mutable_bytes() { return {at_, size_}; }

 private:
  static constexpr std::size_t huge_page = std::size_t{2} << 20;
  std::size_t size_, alignment_;
  std::byte* at_;
};

[[nodiscard]] inline std::uint64_t random_seed() {
  std::random_device source;
  return std::uint64_t{source()} << 32 | source();
}

// The rules of a configuration. Their table has room for all that a text of this length can say, and for what packets
// add to its sets.
class rule_set {
 public:
  explicit rule_set(const configuration& c)
      : memory_(runnel::rule_table::bytes_needed(room_for(c))), table_(memory_, room_for(c), random_seed()) {
    table_.log_to(
        [](void*, const runnel::log_line& line, const runnel::packet& p) {
          runnel::text<512> said;
          print_packet(said << line.prefix, p);
          tell(2, said.c_str());
        },
        nullptr);
  }

  // False when something is wrong: see `why`, "line 3, column 14: ...".
  bool load(const configuration& c) {
    std::vector<const char*> names;
    for (const configuration::interface& i : c.interfaces) names.push_back(i.name.c_str());
    runnel::named_sets known;
    known.interfaces = names.data();
    known.interface_count = names.size();
    const auto loaded = runnel::load(table_, c.nft.c_str(), known);
    if (!loaded) why_ = loaded.error().message() + std::string_view("rules: ").size();
    return loaded.has_value();
  }
  [[nodiscard]] const std::string& why() const { return why_; }
  [[nodiscard]] runnel::rule_table& table() { return table_; }
  std::vector<std::string> counters;  // how metrics name them, one after another

 private:
  static runnel::rule_table_config room_for(const configuration& c) {
    const std::string& text = c.nft;
    const auto n = static_cast<std::uint32_t>(std::min<std::size_t>(text.size() + 1, 64'999));
    const auto parts = 1 + static_cast<std::uint32_t>(std::count_if(text.begin(), text.end(), [](char sign) {
                         return sign == '\n' || sign == ';' || sign == '{' || sign == '}' || sign == ',';
                       }));
    std::uint32_t elements = parts;  // and as many as `size 1000` says
    for (std::size_t at = text.find("size "); at != text.npos; at = text.find("size ", at + 1))
      elements += static_cast<std::uint32_t>(std::min(std::strtoul(text.c_str() + at + 5, nullptr, 10), 1'000'000ul));
    // Each `ct count` counts a connection once, and for an element of a set perhaps by both of its ends.
    std::uint64_t counted = 0;
    for (std::size_t at = text.find("ct"); at != text.npos; at = text.find("ct", at + 2)) {
      const std::size_t next = text.find_first_not_of(" \t", at + 2);
      if (next != text.npos && text.compare(next, 6, "count ") == 0)
        counted += 2 * std::uint64_t{c.connections.connections};
    }
    const std::uint32_t few = std::min(parts, n);
    return {.chains = few,
            .rules = few,
            .nodes = n,
            .words = n,
            .statements = n,
            .limits = few,
            .translations = few,
            .text = n,
            .sets = few,
            .counted = static_cast<std::uint32_t>(std::min<std::uint64_t>(counted, 0x7fff'ffff)),
            .elements = elements};
  }
  table_memory memory_;
  runnel::rule_table table_;
  std::string why_;
};

// A link: the device, who is there, and what went by.
struct port {
  port(const configuration::interface& c, runnel::device::any_device&& d, std::uint16_t number)
      : name(c.name), device(std::move(d)), interfaces(number) {
    prefixes.reserve(runnel::own_addresses::most);  // the advertiser looks at them where they are
  }

  // Tells the hosts of the link of its IPv6 networks, if the configuration says so.
  void advertise(const configuration::interface& c, const runnel::ip_interface& link, runnel::instant now) {
    prefixes.clear();
    for (const runnel::interface_address& a : link.addresses)
      if (!runnel::is_mapped(a.address) && !a.address.is_link_local() && a.length <= 64)
        prefixes.push_back({.prefix = a.subnet().address(), .prefix_length = a.length});
    const std::uint32_t mtu = link.mtu >= 1280 ? link.mtu : 0;
    advertiser->change({.mtu = mtu, .prefixes = prefixes.data(), .prefix_count = prefixes.size()}, now);
    if (!c.advertise) advertiser->stop(now);
    else if (!advertiser->is_advertising()) advertiser->start(now);
  }

  std::string name;
  runnel::device::any_device device;
  interfaces_of_device interfaces;
  std::unique_ptr<table_memory> memory;
  std::unique_ptr<runnel::neighbour_table> neighbours;
  std::unique_ptr<runnel::router_advertiser> advertiser;
  std::vector<runnel::ndp_prefix> prefixes;
  std::optional<runnel::device::network_interface> settings;  // of the device, once somebody has looked at it
  std::string trouble;  // why nothing comes and goes by it; empty while all is well
  struct {
    std::uint64_t packets = 0, bytes = 0;
  } received, sent;
};

// All ports as one device: each packet goes out by the interface of its next hop; an answer, which has none, by the one
// that it came in by. Or, to try things, all of them into a capture.
class egress {
 public:
  explicit egress(std::vector<port>& ports) : ports_(ports) {}
  explicit egress(std::vector<port>& ports, runnel::device::any_device& capture) : ports_(ports), capture_(&capture) {}

  [[nodiscard, gnu::noinline]] std::size_t transmit(runnel::packet* packets, std::size_t n, runnel::instant now) {
    if (capture_ != nullptr) return capture_->transmit(packets, n, now);
    for (std::size_t from = 0, to; from < n; from = to) {
      const std::uint16_t out = way_of(packets[from]);
      for (to = from + 1; to < n && way_of(packets[to]) == out; ++to) {}
      send(out, packets + from, to - from, now);
    }
    return n;
  }
  // Those that a device did not take, or took and could not send. Asked by `transmit`, which counts them.
  [[nodiscard]] std::uint64_t lost() const { return lost_; }

 private:
  static std::uint16_t way_of(const runnel::packet& p) {
    const std::uint16_t oif = runnel::oif_of(p);
    return oif != 0 ? oif : p.iif();
  }
  void send(std::uint16_t out, runnel::packet* packets, std::size_t n, runnel::instant now) {
    std::size_t sent = 0;
    if (out >= 1 && out <= ports_.size()) {
      port& to = ports_[out - 1u];
      std::uint64_t bytes = 0;
      for (std::size_t i = 0; i < n; ++i) bytes += packets[i].total_length();
      const std::uint64_t lost_before = to.device.lost();
      sent = to.device.transmit(packets, n, now);
      lost_ += to.device.lost() - lost_before;
      for (std::size_t i = sent; i < n; ++i) bytes -= packets[i].total_length();
      if (to.device.lost() == lost_before) to.sent.bytes += bytes;
      to.sent.packets += sent - std::min<std::uint64_t>(sent, to.device.lost() - lost_before);
    }
    lost_ += n - sent;
    for (std::size_t i = sent; i < n; ++i) packets[i].reset();
  }

  std::vector<port>& ports_;
  runnel::device::any_device* capture_ = nullptr;
  std::uint64_t lost_ = 0;
};

// Tables that last, and the rules and routes in force.
struct router {
  // Of a configuration whose rules are these; the smallest device has `slots`. `links` is by number, so that the first
  // one is none.
  router(configuration c, std::unique_ptr<rule_set> loaded, std::uint32_t slots = 16384)
      : config(std::move(c)),
        fragments_held(config.fragments_beside(slots)),
        connection_memory(runnel::connection_table::bytes_needed(config.connections)),
        fragment_memory(runnel::virtual_fragment_table::bytes_needed(fragments_held)),
        own_fragment_memory(runnel::fragment_table::bytes_needed(fragments_held)),
        connections(connection_memory, seeded(config.connections)),
        flow_memory(runnel::flowtable::bytes_needed(flows_of(config))),
        flows(connections, flow_memory, flows_of(config)),
        translation_memory(runnel::nat_table::bytes_needed(ftp_sessions)),
        translations(connections, translation_memory, seeded(ftp_sessions)),
        fragment_ids(random_seed()),
        fragments(fragment_memory, seeded(fragments_held)),
        own_fragments(own_fragment_memory, seeded(fragments_held)),
        links(config.interfaces.size() + 1),
        hop_slots(ways_of(config) + 4096),
        hop_groups(groups_of(config) + 64),
        hops(hop_slots.data(), hop_slots.size(), hop_groups.data(), hop_groups.size()),
        rules_now(std::move(loaded)),
        rules(rules_now->table()),
        errors({links.data(), links.size()}) {
    for (std::size_t i = 0; i < config.interfaces.size(); ++i) {
      links[i + 1] = config.interfaces[i].link;
      if (links[i + 1].mtu == 0) links[i + 1].mtu = 1500;
    }
    routes_now = std::make_unique<route_set>(config, links, hops);
    all_routes = std::make_unique<runnel::snapshot<route_set::rules_type, 1>>(routes_now->rules());
    routes().refresh();
  }

  [[nodiscard]] bool has_fast_path() const { return config.fast_path != 0; }
  [[nodiscard]] runnel::ip_interfaces interfaces() const { return {links.data(), links.size()}; }
  [[nodiscard]] runnel::snapshot_reader<route_set::rules_type>& routes() { return all_routes->reader(0); }
  // Fragments that were held and let go: no path has seen them again.
  [[nodiscard]] std::uint64_t lost_fragments() { return fragments.statistics().lost + own_fragments.statistics().lost; }
  // The interface behind which this address is, as far as routes say.
  template <class Address>
  [[nodiscard]] std::uint16_t interface_towards(const Address& a) const {
    const runnel::route_query<Address> query{.destination = a};
    const runnel::next_hop_number n = hops.choose(all_routes->newest().lookup(query), [] { return 0u; });
    return hops.is_hop(n) ? hops[n].oif : 0;
  }

  // Other rules, routes, addresses and MTUs, all or none: empty, or why not. Between two rounds of the loop, whose
  // thread this is. Connections stay as they are: what a rule said about the first packet of one is not asked again.
  // Only those end whose source was translated to an address that is gone. What the fast path knows is forgotten.
  std::string reload(configuration next, std::unique_ptr<rule_set> loaded) {
    if (next.interfaces.size() != config.interfaces.size()) return "another number of interfaces needs a restart";
    for (std::size_t i = 0; i < next.interfaces.size(); ++i)
      if (next.interfaces[i].name != config.interfaces[i].name ||
          next.interfaces[i].device != config.interfaces[i].device)
        return "interface " + next.interfaces[i].name + " is another one: this needs a restart";
    if (next.fast_path != config.fast_path) return "another fast_path needs a restart";
    if (next.reverse_path != config.reverse_path) return "another reverse_path needs a restart";
    if (next.connections.connections != config.connections.connections ||
        next.connections.ipv6_connections != config.connections.ipv6_connections ||
        next.neighbours.entries != config.neighbours.entries || next.fragments.fragments != config.fragments.fragments)
      return "other limits need a restart";
    if (next.metrics_address != config.metrics_address || next.metrics_port != config.metrics_port)
      return "other metrics need a restart";
    std::vector<runnel::ip_interface> fresh_links = links;
    for (std::size_t i = 0; i < next.interfaces.size(); ++i) {
      const runnel::ip_interface& its = next.interfaces[i].link;
      if (its.mac != runnel::mac_address{} && its.mac != links[i + 1].mac)
        return "another MAC address of interface " + next.interfaces[i].name + " needs a restart";
      if (config.interfaces[i].says_mac && !next.interfaces[i].says_mac)
        return "interface " + next.interfaces[i].name + " without its mac needs a restart";
      fresh_links[i + 1].addresses = its.addresses;
      fresh_links[i + 1].mtu = its.mtu != 0 ? its.mtu : std::uint16_t{1500};
    }
    auto fresh = std::make_unique<route_set>(next, fresh_links, hops);
    if (!fresh->complete()) return "more routes to different routers than there is room for: this needs a restart";

    const std::vector<runnel::ip_interface> before = links;
    std::copy(fresh_links.begin(), fresh_links.end(), links.begin());
    all_routes->replace(fresh->rules());
    routes().refresh();
    routes_now = std::move(fresh);
    rules.offer(loaded->table());
    rules.current();
    rules_now = std::move(loaded);
    config = std::move(next);
    flows.clear();
    // Nobody sends answers to an address that is gone: who was translated to it is translated anew by his next packet.
    for (const runnel::ip_interface& link : before)
      for (const runnel::interface_address& a : link.addresses)
        if (!interfaces().is_own(a.address)) translations.forget(a.address);
    return "";
  }

  configuration config;
  runnel::fragment_config fragments_held;
  table_memory connection_memory, fragment_memory, own_fragment_memory;
  runnel::connection_table connections;
  table_memory flow_memory;
  runnel::flowtable flows;  // the smallest one where there is no fast path
  table_memory translation_memory;
  runnel::nat_table translations;
  runnel::random_generator fragment_ids;
  runnel::virtual_fragment_table fragments;  // of what goes through: they stay what they are
  runnel::fragment_table own_fragments;      // of what is for this host
  std::vector<runnel::ip_interface> links;
  std::vector<runnel::next_hop_table::slot> hop_slots;
  std::vector<runnel::next_hop_table::group> hop_groups;
  runnel::next_hop_table hops;
  std::unique_ptr<rule_set> rules_now;
  runnel::rule_table_slot rules;
  runnel::icmp_sender errors;
  std::unique_ptr<route_set> routes_now;
  std::unique_ptr<runnel::snapshot<route_set::rules_type, 1>> all_routes;

  static constexpr runnel::nat_config ftp_sessions{.sequences = 1024};  // whose text is translated, at once
  static runnel::flowtable_config flows_of(const configuration& c) {
    return {.flows = c.fast_path != 0 ? c.fast_path : 4};
  }
  static std::size_t ways_of(const configuration& c) {
    std::size_t n = 0;
    for (const configuration::route& r : c.routes) n += r.ways.size();
    return n;
  }
  static std::size_t groups_of(const configuration& c) {
    const auto n = std::count_if(c.routes.begin(), c.routes.end(), [](const auto& r) { return r.ways.size() > 1; });
    return static_cast<std::size_t>(n);
  }
  template <class Config>
  static Config seeded(Config c) {
    c.seed = random_seed();
    return c;
  }
};

// Tells fragments that are sent to an address of this host.
struct in_pieces {
  static constexpr const char* name = "in_pieces";
};
struct to_this_host {
  using ways = runnel::ports<in_pieces, runnel::other>;
  static constexpr const char* name = "to_this_host";
  static constexpr bool needs_parsed = true;
  runnel::ip_interfaces interfaces;

  ways operator()(runnel::packet& p) const {
    if (!p.layers().has(runnel::protocol::fragment)) return runnel::other{};
    const runnel::header_map found{static_cast<const runnel::packet&>(p)};
    const bool ours = found.has<runnel::ipv4>() ? interfaces.is_own(found.get<runnel::ipv4>().destination())
                                                : interfaces.is_own(found.get<runnel::ipv6>().destination());
    return ours ? ways{in_pieces{}} : ways{runnel::other{}};
  }
};

// Tells packets with a mark. Rules that choose a table may go by it, and what is known of a flow is of all its packets.
struct marked {
  static constexpr const char* name = "marked";
};
struct has_mark {
  using ways = runnel::ports<marked, runnel::other>;
  static constexpr const char* name = "has_mark";

  ways operator()(runnel::packet& p) const { return p.mark() != 0 ? ways{marked{}} : ways{runnel::other{}}; }
};

// Calls `use(path)` with the way of parsed packets whose interface is known. Those that are forwarded go to `wire`,
// which finds their next hop on its link, and remembers them in `r.flows` where there is a fast path; answers, and
// what the fast path knows, go straight to `out`: they have their link header already.
template <class Use>
auto with_path(router& r, runnel::any_pipeline& wire, egress& out, Use use) {
  using namespace runnel;
  const ip_interfaces interfaces = r.interfaces();

  auto onwards =
      as_pipeline(hook<postrouting>(r.rules) | nat<postrouting>(r.translations, r.rules, leaving(interfaces)) |
                  tftp_helper(r.connections) | confirm(r.connections) | replaceable(wire));
  auto answers =
      as_pipeline(hook<hook_point::output, hook_part::before_tracking>(r.rules) | track(r.connections) |
                  nat<hook_point::output>(r.translations) |
                  hook<hook_point::output, hook_part::behind_tracking>(r.rules) | nat<postrouting>(r.translations) |
                  fragment(r.hops, {.interfaces = interfaces, .ids = &r.fragment_ids}) | transmit(out));
  // clang-format off
  auto slow = as_pipeline(
      track(r.connections) | nat_ftp(r.translations)
    | hook<prerouting, hook_part::behind_tracking>(r.rules)
    | nat<prerouting>(r.translations, r.rules, arriving(interfaces))
    | route(r.routes())
        .on<local>(
            hook<hook_point::input>(r.rules)
              .on<refused> (reject(r.errors) | shared(answers))
              .on<diverted>(discard)
              .on<accepted>(nat<hook_point::input>(r.translations) | confirm(r.connections)
                | answer_echo(interfaces)
                    .on<answered>(shared(answers))
                    .on<other>(by_protocol()
                        .on<tcp>   (reject_with_tcp_reset(r.errors) | shared(answers))
                        .on<udp>   (reject(icmp::unreachable::port, r.errors) | shared(answers))
                        .on<icmp>  (discard)
                        .on<icmpv6>(discard)
                        .on<other> (reject(icmp::unreachable::protocol, r.errors) | shared(answers)))))
        .on<forward>(
            hook<hook_point::forward>(r.rules)
              .on<refused> (reject(r.errors) | shared(answers))
              .on<diverted>(discard)
              .on<accepted>(forwarding(r.routes(), {.interfaces = interfaces, .reverse_path = r.config.reverse_path})
                  .on<forwarded>(shared(onwards))
                  .on<oversized>(fragment(r.hops, {.interfaces = interfaces}) | shared(onwards))
                  .on<refused>  (reject(r.errors) | shared(answers))))
        .on<no_route>(reject(r.hops, r.errors) | shared(answers)));
  // What is sent to this host in pieces becomes one packet; what goes through stays in pieces, each with its connection.
  const auto with_fragments = [&](auto& onwards_from_here) {
    return as_pipeline(
        branch(to_this_host{interfaces})
          .template on<in_pieces>(defragment(r.own_fragments) | shared(onwards_from_here))
          .template on<other>    (virtual_defragment(r.fragments) | shared(onwards_from_here)));
  };
  // Raw chains are asked about all packets: what they drop is gone, and what is not to be tracked has no flow.
  const hook_part early = hook_part::before_tracking;
  if (!r.has_fast_path()) {
    auto tracked = hook<prerouting, early>(r.rules) | shared(slow);
    auto path = with_fragments(tracked);
    return use(path);
  }
  auto tracked = hook<prerouting, early>(r.rules)
    | branch(has_mark{})
        .on<marked>(shared(slow))
        .on<other> (fast_path(r.flows)
            .on<offloaded>(transmit(out))
            .on<other>    (shared(slow)));
  auto path = with_fragments(tracked);
  // clang-format on
  return use(path);
}

}  // namespace gateway

#endif
