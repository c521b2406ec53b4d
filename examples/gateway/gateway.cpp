// SPDX-License-Identifier: MIT
// A router with a firewall and address translation between two networks or more: what a Linux box with nft is for.
//
//     gateway FILE                        runs; Ctrl-C ends it, SIGHUP has it read FILE again
//     gateway --check FILE                says what is wrong with FILE
//     gateway --replay in.pcap [--write out.pcapng] FILE        tries FILE on a capture, without a network
//     gateway --state connections FILE    connections outlive a restart: read at the start, written at the end
//
// The files: configuration.hpp reads FILE, routes.hpp makes its routes, vlans.hpp its VLANs, groups.hpp has cards let
// in what is for groups, router.hpp has the tables and the way of a packet, state.hpp what outlives a restart,
// link_state.hpp says when an interface is down, kernel_beside.hpp when the kernel does the same, live_view.hpp has
// what a person sees, tell.hpp says it without waiting, metrics.hpp has what Prometheus sees, signals.hpp what signals
// ask for, files.hpp reads files.
#include <runnel/runnel.hpp>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <new>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <unistd.h>  // getpid

#include "configuration.hpp"
#include "files.hpp"
#include "groups.hpp"
#include "kernel_beside.hpp"
#include "link_state.hpp"
#include "live_view.hpp"
#include "metrics.hpp"
#include "router.hpp"
#include "signals.hpp"
#include "state.hpp"
#include "tell.hpp"

using namespace runnel;

namespace {

int fail(const char* why) { return std::fprintf(stderr, "gateway: %s\n", why), 2; }
int fail(const error& e) { return fail(e.message()); }
int usage() {
  return std::fprintf(stderr, "gateway [--check | --replay CAPTURE [--write CAPTURE] | --state FILE] CONFIGURATION\n"),
         2;
}

// A configuration and its rules; null, and `why` says what is wrong, "gateway.conf: line 3, column 14: ...".
std::unique_ptr<gateway::rule_set> read(const char* file, gateway::configuration& to, std::string& why,
                                        gateway::meanwhile while_reading = gateway::meanwhile::nobody_waits) {
  std::string text;
  why = std::string(file) + ": ";
  if (const std::string not_read = gateway::read_all(file, text, while_reading); !not_read.empty())
    return why += "cannot be read: " + not_read, nullptr;
  gateway::configuration_reader reader(text, to);
  if (!reader.read()) {
    const gateway::fault& f = reader.why();
    why += "line " + std::to_string(f.line) + ", column " + std::to_string(f.column) + ": " + f.what;
    return nullptr;
  }
  auto rules = std::make_unique<gateway::rule_set>(to);
  if (!rules->load(to)) return why += rules->why(), nullptr;
  if (!to.metrics_address.empty()) gateway::name_counters(*rules);
  return rules;
}

// ---- a capture in the place of the network

// By which interface the packets of a capture come, which does not say so: the one that their sender is behind.
struct by_source {
  static constexpr const char* name = "by_source";
  gateway::router* of;
  void operator()(packet& p) const {
    const header_map found{static_cast<const packet&>(p)};
    std::uint16_t n = 0;
    if (found.has<ipv4>()) n = of->interface_towards(found.get<ipv4>().source());
    else if (found.has<ipv6>()) n = of->interface_towards(found.get<ipv6>().source());
    p.iif(n != 0 ? n : std::uint16_t{1});
  }
};

constexpr const char* too_many_routers = "more routes to different routers than there is room for";

int replay(gateway::router& r, pool& memory, const char* from, device::any_device& to) {
  if (!r.routes_now->complete()) return fail(too_many_routers);
  // Ctrl-C reaches tcpdump and us: it ends, and we end behind its last packet. The second one ends us at once.
  if (same_text(from, "-")) std::signal(SIGINT, [](int) { std::signal(SIGINT, SIG_DFL); });
  auto in = pcap_reader::open(from, memory);
  if (!in) return fail(in.error());

  capture_clock time;
  std::vector<gateway::port> no_ports;
  gateway::egress out(no_ports, to);
  auto all = parse() | transmit(out);
  auto known = parse() | flow_add(r.flows) | transmit(out);
  any_pipeline wire(all);
  if (r.has_fast_path()) wire.replace(known);
  gateway::with_path(r, wire, out, [&](auto& path) {
    auto whole = parse() | by_source{&r} | shared(path);
    // One packet at a time: what of a burst follows a packet that is dropped would be dropped with it.
    run(time, attach<1>(*in, whole), attach(r.fragments), attach(r.own_fragments), attach(r.connections));
    gateway::show([&](text_writer& screen) {
      describe(screen, whole);
      screen << "\nDropped:\n";
      stage_counters dropped = totals(whole);
      dropped.reasons[static_cast<std::size_t>(drop_reason::fragment_lost)] = r.lost_fragments();
      gateway::print_drops(screen, dropped);
      screen << "\nRules:\n";
      print(screen, r.rules.current());
      screen << "\nConnections:\n";
      print(screen, r.connections, time.now());
      if (r.has_fast_path()) print(screen << "\nFast path: ", r.flows.statistics()), screen << '\n';
    });
  });
  if (in->failure() != nullptr) return fail(*in->failure());
  return 0;
}

// ---- the network

// The device of an interface; that of a VLAN sends by the one below.
result<device::any_device, error> open_device(const gateway::configuration::interface& c, gateway::port* below) {
  if (below == nullptr) return device::open(c.device.c_str());
  return device::any_device::make<gateway::vlan_device>(c.name.c_str(), below->device, c.vlan);
}

// What a device is on its link: the configuration says it, or the interface; where neither does, its MTU is `mtu`.
ip_interface link_of(const gateway::configuration::interface& c, device::any_device& device, std::uint16_t mtu) {
  ip_interface link = c.link;
  const bool of_kernel = gateway::is_of_kernel(c);
  const auto is = gateway::status_of(device);
  if (is && of_kernel && link.mac == mac_address{}) link.mac = is->mac;
  if (is && link.mtu == 0) link.mtu = static_cast<std::uint16_t>(std::min<std::uint32_t>(is->mtu, 65535));
  if (link.mtu == 0) link.mtu = mtu;
  if (link.mac == mac_address{}) {
    std::random_device random;
    link.mac.octets[0] = 2;
    for (std::size_t i = 1; i < 6; ++i) link.mac.octets[i] = static_cast<std::uint8_t>(random());
  }
  if (gateway::lacks_link_local(link.addresses)) {  // RFC 4291 appendix A
    const std::uint64_t m = link.mac.value();
    const std::uint64_t id = (m >> 24 << 40 | std::uint64_t{0xfffe} << 24 | (m & 0xff'ffff)) ^ std::uint64_t{2} << 56;
    (void)link.addresses.add({ipv6_address{std::uint64_t{0xfe80} << 48, id}, 64});
  }
  return link;
}

// The longest packet that the device of an interface sends.
std::uint32_t most_of(const gateway::configuration::interface& c, device::any_device& device) {
  const auto is = gateway::status_of(device);
  return is && gateway::is_of_kernel(c) ? is->mtu : 65535;
}

// The same of interface number `n`, counted from 0, of a configuration; of those before it, it is known. Empty, or why
// it cannot be so.
std::string settle_link(gateway::configuration& of, std::size_t n, device::any_device& device,
                        std::uint16_t mtu = 1500) {
  gateway::configuration::interface& c = of.interfaces[n];
  std::uint32_t most = most_of(c, device);
  if (c.vlan != 0) {
    const ip_interface& its = of.interfaces[c.parent - 1u].link;
    c.link.mac = its.mac;
    if (c.link.mtu == 0) c.link.mtu = its.mtu;
    most = its.mtu;
  }
  const auto said = std::to_string(c.link.mtu), has = std::to_string(most);
  if (c.link.mtu > most) return "interface " + c.name + ": mtu " + said + " is more than its device has, " + has;
  c.link = link_of(c, device, mtu);
  return "";
}

// Connections that outlive a restart: `--state FILE`.
void import_state(gateway::router& r, const char* file, instant now) {
  std::string text;
  if (const std::string why = gateway::read_all(file, text); !why.empty()) {
    if (errno != ENOENT) (void)fail({"state", "read", file, why.c_str()});
    return;  // the first start
  }
  const auto done = gateway::restore_state(r, {reinterpret_cast<const std::byte*>(text.data()), text.size()}, now);
  if (!done) return (void)fail(done.error());
  std::printf("%u connections from %s", done->connections, file);
  if (done->ended != 0) std::printf("; %u ended with the address that they were translated to", done->ended);
  std::printf("\n");
}
// Whatever was there stays until all of it is written.
std::string new_state(const char* file) { return std::string(file) + ".new"; }
int export_state(gateway::router& r, const char* file, instant now) {
  const std::vector<std::byte> all = gateway::saved_state(r, now, real_clock().now() - now);
  std::ofstream out(new_state(file), std::ios::binary);
  out.write(reinterpret_cast<const char*>(all.data()), static_cast<std::streamsize>(all.size()));
  out.close();
  if (out && std::rename(new_state(file).c_str(), file) == 0) return 0;
  const error why("state", "write", file, std::strerror(errno));
  std::remove(new_state(file).c_str());  // a part of it is of no use, and takes room that is short perhaps
  return fail(why);
}
// Told when the gateway starts, while somebody looks: it goes on.
void try_to_write_state(const char* file) {
  if (std::ofstream out(new_state(file)); !out) (void)fail({"state", "write", file, std::strerror(errno)});
  else std::remove(new_state(file).c_str());
}

// Reads the configuration again and puts it into force: empty, or why all stays as it was.
std::string reload(gateway::router& r, std::vector<gateway::port>& ports, const char* file) try {
  gateway::configuration next;
  std::string why;
  auto fresh = read(file, next, why, gateway::meanwhile::packets_wait);
  if (!fresh) return why;
  for (std::size_t i = 0; i < next.interfaces.size() && i < ports.size(); ++i) {
    if (mac_address& m = next.interfaces[i].link.mac; m == mac_address{}) m = r.links[i + 1].mac;
    if (why = settle_link(next, i, ports[i].device, r.links[i + 1].mtu); !why.empty()) return why;
  }
  return r.reload(std::move(next), std::move(fresh));
} catch (const std::bad_alloc&) { return "no memory for tables of this size"; }

int forward_packets(gateway::configuration config, std::unique_ptr<gateway::rule_set> rules, const char* file,
                    const char* state) {
  // Devices, and the tables of their neighbours. Whose neighbour does not answer is told so.
  auto memory = mapped_pool::open({.packets = 4096});
  if (!memory) return fail(memory.error());
  static struct : queue<drop_tail, 256> {
    std::uint64_t full = 0, no_packet = 0;
  } unreachable;
  std::vector<gateway::all_groups> groups;
  std::uint32_t slots = memory->get().capacity();
  std::vector<gateway::port> ports;
  ports.reserve(config.interfaces.size());
  for (gateway::configuration::interface& c : config.interfaces) {
    const auto n = static_cast<std::uint16_t>(ports.size() + 1);
    gateway::port* const below = c.vlan != 0 ? &ports[c.parent - 1u] : nullptr;
    auto opened = open_device(c, below);
    if (!opened) return fail(opened.error());
    if (below == nullptr) slots = std::min(slots, opened->memory().capacity());  // else it has those of `below`
    if (gateway::is_of_kernel(c)) {
      auto all = gateway::all_groups::open(opened->name());
      if (!all) return fail(all.error());
      groups.push_back(std::move(*all));
    }
    if (below != nullptr) below->interfaces.add(c.vlan, n);
    if (const std::string why = settle_link(config, ports.size(), *opened); !why.empty()) return fail(why.c_str());
    ports.emplace_back(c, std::move(*opened), n);
  }
  gateway::router r(std::move(config), std::move(rules), slots);
  if (!r.routes_now->complete()) return fail(too_many_routers);
  // What waits for a neighbour came by another port, of whose pool it is: all of it goes before the first port does.
  struct last_act {
    std::vector<gateway::port>& ports;
    ~last_act() {
      for (gateway::port& p : ports) p.advertiser.reset(), p.neighbours.reset();
      for (packet p; unreachable.pull(&p, 1, {}) == 1;) p.reset();
    }
  } const at_the_end{ports};
  std::vector<neighbour_table*> links(r.links.size(), nullptr);
  std::vector<router_advertiser*> routers(r.links.size(), nullptr);
  for (std::size_t n = 1; n < links.size(); ++n) {
    gateway::port& p = ports[n - 1];
    p.memory = std::make_unique<gateway::table_memory>(neighbour_table::bytes_needed(r.config.neighbours));
    p.neighbours = std::make_unique<neighbour_table>(
        *p.memory, gateway::router::seeded(r.config.neighbours), *memory, r.links[n],
        neighbour_options{.router = true, .failed = [](void*, packet&& late) {
                            const verdict v = unreachable.push(std::move(late));
                            unreachable.full += v == drop(drop_reason::queue_full);
                            unreachable.no_packet += v == drop(drop_reason::no_packet);
                          }});
    p.advertiser = std::make_unique<router_advertiser>(*p.neighbours, advertising_options{}, gateway::random_seed());
    links[n] = p.neighbours.get();
    routers[n] = p.advertiser.get();
    for (const interface_address& a : r.links[n].addresses) (void)links[n]->announce(a.address);
  }
  real_clock time;
  const auto advertise = [&] {
    for (std::size_t i = 0; i < ports.size(); ++i)
      ports[i].advertise(r.config.interfaces[i], r.links[i + 1], time.now());
  };
  advertise();
  if (state != nullptr) {
    import_state(r, state, time.now());
    try_to_write_state(state);
  }

  for (const std::string& told : {gateway::kernel_beside(r, ports), gateway::kernel_forwards_past(r, ports)})
    if (!told.empty()) gateway::tell(2, "gateway: " + told);

  gateway::egress out(ports);
  auto onto_link = parse() | resolve(links.data(), links.size(), r.routes()) | transmit(out);
  auto remembered = parse() | resolve(links.data(), links.size(), r.routes()) | flow_add(r.flows) | transmit(out);
  any_pipeline wire(onto_link);
  if (r.has_fast_path()) wire.replace(remembered);
  return gateway::with_path(r, wire, out, [&](auto& path) {
    const auto from = [&](std::uint16_t n) {
      const mac_address own = r.links[n].mac;
      const gateway::interfaces_of_device& interfaces = ports[n - 1u].interfaces;
      return named("for us", xdp([own, tagged = interfaces.has_vlans()](ethernet e) {
                     const bool ours = e.destination() == own || e.destination().is_multicast();
                     return ours && (tagged || !ethertype::is_vlan(e.ethertype())) ? pass
                                                                                   : drop(drop_reason::other_host);
                   })) |
             parse() |
             named("interface",
                   [&interfaces, &ports](packet& p) {
                     p.iif(interfaces.take(p));
                     if (p.iif() == 0) return drop(drop_reason::other_host);
                     gateway::port& by = ports[p.iif() - 1u];
                     ++by.received.packets;
                     by.received.bytes += p.total_length();
                     return verdict{pass};
                   }) |
             answer_neighbours(links.data(), links.size()) | hear_routers(routers.data(), routers.size()) |
             shared(path);
    };
    std::vector<decltype(attach(ports[0].device, from(1)))> inputs;
    std::vector<decltype(attach(*ports[0].neighbours, transmit(ports[0].device)))> questions;
    std::vector<decltype(attach(*ports[0].advertiser))> advertisers;
    for (std::size_t n = 1; n < links.size(); ++n) {
      advertisers.push_back(attach(*ports[n - 1].advertiser));
      if (r.config.interfaces[n - 1].vlan == 0)
        inputs.push_back(attach(ports[n - 1u].device, from(static_cast<std::uint16_t>(n))));
      questions.push_back(attach(*ports[n - 1u].neighbours, transmit(ports[n - 1u].device)));
    }
    // What waited in vain for its neighbour has been translated and counted already: the error is routed like any
    // other.
    auto late = parse() | reject(icmp::unreachable::host, r.errors) |
                hook<hook_point::output, hook_part::before_tracking>(r.rules) | track(r.connections) |
                nat<hook_point::output>(r.translations) |
                hook<hook_point::output, hook_part::behind_tracking>(r.rules) |
                route(r.routes())
                    .on<local>(discard)
                    .on<forward>(nat<postrouting>(r.translations) | shared(onto_link))
                    .on<no_route>(discard);

    // What all paths have counted; they share one.
    const auto sum = [&] {
      const stage_counters shared_part = totals(path);
      stage_counters all = shared_part;
      const auto add = [&](const stage_counters& more, const stage_counters& but) {
        for (std::size_t i = 0; i < drop_reason_count; ++i) all.reasons[i] += more.reasons[i] - but.reasons[i];
      };
      for (auto& input : inputs) add(totals(input.path()), shared_part);
      for (auto& question : questions) add(totals(question.path()), {});
      add(totals(late), {});  // and what leaves
      add(totals(remembered), {});
      // What waited in a table, and in vain, no path has seen again; what a table refused at once is in both.
      const auto of = [&](drop_reason why) -> std::uint64_t& { return all.reasons[static_cast<std::size_t>(why)]; };
      of(drop_reason::fragment_lost) = r.lost_fragments();
      of(drop_reason::neighbours_full) = of(drop_reason::neighbour_queue) = 0;
      for (const gateway::port& p : ports) {
        const neighbour_statistics& s = p.neighbours->statistics();
        of(drop_reason::neighbours_full) += s.table_fulls;
        of(drop_reason::neighbour_queue) += s.queue_discards;
        of(drop_reason::neighbour_failed) += s.failed_discards;
      }
      of(drop_reason::queue_full) += unreachable.full;
      of(drop_reason::no_packet) += unreachable.no_packet;
      return all;
    };
    gateway::live_view view(r);
    gateway::attendant attends(
        [&] {
          const std::vector<ip_interface> before = r.links;
          const std::string why = reload(r, ports, file);
          if (why.empty()) {
            advertise();
            for (std::size_t n = 1; n < links.size(); ++n)
              for (const interface_address& a : r.links[n].addresses)
                if (!before[n].addresses.contains(a.address)) (void)links[n]->announce(a.address);
          }
          gateway::tell(1, why.empty() ? std::string("reloaded ") + file : "not reloaded: " + why);
          for (gateway::port& p : ports)
            if (p.device.failure() != nullptr) p.trouble.clear();  // what a reload does not help is told again
        },
        [&](instant now) {
          gateway::look_at_links(r.config, ports, state != nullptr);
          if (view.is_seen()) view.draw(r, ports, sum(), now);
        });
    auto metrics = gateway::metrics_server::open(r.config.metrics_address, r.config.metrics_port,
                                                 [&] { return gateway::exposition(r, ports, sum()); });
    if (!metrics) return fail(metrics.error());

    loop work{time,
              attach_all(inputs),
              attach_all(advertisers),
              attach_all(questions),
              attach(unreachable, late),
              attach(r.fragments),
              attach(r.own_fragments),
              attach(r.connections),
              std::move(attends),
              std::move(*metrics)};
    const gateway::signals heard(work);
    std::signal(SIGPIPE, SIG_IGN);  // who reads what we say may go, and packets go on
    std::printf("forwarding between %zu interfaces; Ctrl-C ends it, kill -HUP %d reloads %s\n", ports.size(),
                static_cast<int>(::getpid()), file);
    std::fflush(stdout);
    work.run();

    // Before all that is said, for which nobody may wait.
    const int status = state != nullptr ? export_state(r, state, time.now()) : 0;
    if (view.is_seen()) std::printf("\n");  // behind ^C
    gateway::show([&](text_writer& screen) {
      for (gateway::port& p : ports) print(screen << p.name.c_str() << ": ", p.device), screen << '\n';
      describe(screen, inputs[0].path());
      screen << "\nDropped:\n";
      gateway::print_drops(screen, sum());
      gateway::print_rule_counters(screen, r.rules.current());
      if (r.has_fast_path()) print(screen << "\nFast path: ", r.flows.statistics()), screen << '\n';
    });
    return status;
  });
}

int check(const gateway::configuration& c, gateway::rule_set& rules) {
  gateway::show([&](text_writer& out) {
    out << "ok: " << c.interfaces.size() << " interfaces, " << c.routes.size() << " routes, " << c.rules.size()
        << " routing rules, " << rules.table().size() << " rules\n";
    for (const gateway::configuration::interface& i : c.interfaces) {
      out << "  " << i.name.c_str() << ": " << i.device.c_str();
      const char* between = ", ";
      for (const interface_address& a : i.link.addresses) print(out << between, a), between = " ";
      out << '\n';
    }
  });
  return 0;
}

}  // namespace

int main(int argc, char** argv) try {
  const char *file = nullptr, *capture = nullptr, *written = nullptr, *state = nullptr;
  bool only_check = false;
  for (int i = 1; i < argc; ++i) {
    const char* const word = argv[i];
    const char** const takes = same_text(word, "--replay")  ? &capture
                               : same_text(word, "--write") ? &written
                               : same_text(word, "--state") ? &state
                                                            : nullptr;
    if (takes != nullptr && ++i < argc) *takes = argv[i];
    else if (same_text(word, "--check")) only_check = true;
    else if (word[0] != '-' && file == nullptr) file = word;
    else return usage();
  }
  if (file == nullptr || (written != nullptr && capture == nullptr)) return usage();
  if (only_check + (capture != nullptr) + (state != nullptr) > 1) return usage();
  if (written != nullptr && gateway::is_same_file(capture, written))
    return fail("--write would destroy what --replay reads");
  if (!only_check && capture == nullptr)
    std::signal(SIGHUP, [](int) { gateway::asked_to_reload = 1; });  // once it runs

  gateway::configuration config;
  std::string why;
  auto rules = read(file, config, why);
  if (!rules) return fail(why.c_str());
  if (only_check) return check(config, *rules);

  if (capture != nullptr) {
    gateway::telling_waits = true;
    // Fragments whose datagram the capture does not end wait in the router's tables: it goes before their memory.
    auto memory = mapped_pool::open({.packets = 16384, .bare = 1024});
    if (!memory) return fail(memory.error());
    gateway::router r(std::move(config), std::move(rules));
    const std::string uri = written == nullptr ? "null:" : "pcap:" + std::string(written) + "?write";
    auto out = device::open(uri.c_str());
    if (!out) return fail(out.error());
    const int status = replay(r, *memory, capture, *out);
    return out->failure() != nullptr ? fail(*out->failure()) : status;
  }
  return forward_packets(std::move(config), std::move(rules), file, state);
} catch (const std::bad_alloc&) { return fail("no memory for tables of this size: see limits"); }
