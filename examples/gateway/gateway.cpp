// SPDX-License-Identifier: MIT
// A router with a firewall and address translation between two networks or more: what a Linux box with nft is for.
//
//     gateway FILE                        runs; Ctrl-C ends it, SIGHUP has it read FILE again
//     gateway --check FILE                says what is wrong with FILE
//     gateway --replay in.pcap [--write out.pcapng] FILE        tries FILE on a capture, without a network
//     gateway --state connections FILE    connections outlive a restart: read at the start, written at the end
//
// The files: configuration.hpp reads FILE, router.hpp has the tables and the way of a packet, live_view.hpp what a
// person sees, metrics.hpp what Prometheus does.
#include <runnel/runnel.hpp>

#include <csignal>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "configuration.hpp"
#include "router.hpp"

using namespace runnel;

namespace {

int fail(const char* why) { return std::fprintf(stderr, "gateway: %s\n", why), 2; }
int fail(const error& e) { return fail(e.message()); }
int usage() {
  return std::fprintf(stderr, "gateway [--check | --replay CAPTURE [--write CAPTURE] | --state FILE] CONFIGURATION\n"),
         2;
}

// A configuration and its rules; null, and `why` says what is wrong, "gateway.conf: line 3, column 14: ...".
std::unique_ptr<gateway::rule_set> read(const char* file, gateway::configuration& to, std::string& why) {
  std::ifstream in(file, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  why = std::string(file) + ": ";
  if (!in.good() && !in.eof()) return why += "cannot be read", nullptr;
  gateway::configuration_reader reader(text, to);
  if (!reader.read()) {
    const gateway::fault& f = reader.why();
    why += "line " + std::to_string(f.line) + ", column " + std::to_string(f.column) + ": " + f.what;
    return nullptr;
  }
  auto rules = std::make_unique<gateway::rule_set>(to);
  if (!rules->load(to)) return why += rules->why(), nullptr;
  return rules;
}

// Prints to standard output, however long it is.
template <class Print>
void show(Print print_to) {
  char buffer[4096];
  text_writer screen{buffer, sizeof buffer, [](void*, const char* s, std::size_t n) { std::fwrite(s, 1, n, stdout); }};
  print_to(screen);
  screen.flush();
}
void print_drops(text_writer& out, const stage_counters& sum) {
  for (std::size_t i = 0; i < drop_reason_count; ++i) {
    const auto why = static_cast<drop_reason>(i);
    if (sum.dropped(why) == 0) continue;
    text<32> n;
    n.grouped(sum.dropped(why));
    for (std::size_t size = n.size(); size < 10; ++size) out << ' ';
    out << n.c_str() << ' ' << name(why) << '\n';
  }
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

int replay(gateway::router& r, const char* from, device::any_device& to) {
  auto memory = mapped_pool::open({.packets = 16384, .bare = 1024});
  if (!memory) return fail(memory.error());
  // Ctrl-C reaches tcpdump and us: it ends, and we end behind its last packet. The second one ends us at once.
  if (same_text(from, "-")) std::signal(SIGINT, [](int) { std::signal(SIGINT, SIG_DFL); });
  auto in = pcap_reader::open(from, *memory);
  if (!in) return fail(in.error());

  capture_clock time;
  std::vector<gateway::port> no_ports;
  gateway::egress out(no_ports, to);
  auto all = parse() | transmit(out);
  any_pipeline wire(all);
  gateway::with_path(r, wire, out, [&](auto& path) {
    auto whole = parse() | by_source{&r} | shared(path);
    // One packet at a time: what of a burst follows a packet that is dropped would be dropped with it.
    run(time, attach<1>(*in, whole), attach(r.fragments), attach(r.connections));
    show([&](text_writer& screen) {
      describe(screen, whole);
      screen << "\nDropped:\n";
      print_drops(screen, totals(whole));
      screen << "\nRules:\n";
      print(screen, r.rules.current());
      screen << "\nConnections:\n";
      print(screen, r.connections, time.now());
    });
  });
  if (in->failure() != nullptr) return fail(*in->failure());
  return 0;
}

int check(const gateway::configuration& c, gateway::rule_set& rules) {
  show([&](text_writer& out) {
    out << "ok: " << c.interfaces.size() << " interfaces, " << c.routes.size() << " routes, " << rules.table().size()
        << " rules\n";
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

int main(int argc, char** argv) {
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
  if (file == nullptr) return usage();

  gateway::configuration config;
  std::string why;
  auto rules = read(file, config, why);
  if (!rules) return fail(why.c_str());
  if (only_check) return check(config, *rules);

  gateway::router r(std::move(config), std::move(rules));
  if (capture != nullptr) {
    const std::string uri = written == nullptr ? "null:" : "pcap:" + std::string(written) + "?write";
    auto out = device::open(uri.c_str());
    if (!out) return fail(out.error());
    const int status = replay(r, capture, *out);
    return out->failure() != nullptr ? fail(*out->failure()) : status;
  }
  return 0;
}
