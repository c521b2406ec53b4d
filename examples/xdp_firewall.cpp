// SPDX-License-Identifier: MIT
// A filter between two networks: what is dropped is dropped in the kernel's XDP hook when the outer device can have
// one, before anything was allocated for it, and here otherwise. The same rules for both, from one source.
//
//     outside -> [XDP hook: early] -> xdp(early) -> inside
//     inside  -----------------------------------> outside
//
//     xdp_firewall [-u] [-b prefix]... outside inside         -b: block it; -u: nothing in the kernel
//
//     xdp_firewall -b 198.51.100.0/24 -b 2001:db8:bad::/48 af_packet:eth0?promiscuous af_packet:eth1?promiscuous
//
// Each rule is counted in both places. With the hook, what comes here has passed it: then the rules here only see what
// came before it was there, and would go on if somebody detached it.
#include <runnel/runnel.hpp>

#include <csignal>
#include <cstdio>
#include <cstring>
#include <optional>
#include <utility>

using namespace runnel;

namespace {

// ---- what the filter decides by

prefix_set_of<ipv4_address, 1000> blocked("blocked");
prefix_set_of<ipv6_address, 1000> blocked6("blocked6");

// clang-format off
constexpr auto syn_fin = tcp_flags::syn | tcp_flags::fin;
constexpr auto early = rules(
    when(tcp::dport == 22)                                 >> pass,                          // how you got here
    when(ip::saddr.in(blocked))                            >> drop(drop_reason::blocklist),
    when(ip6::saddr.in(blocked6))                          >> drop(drop_reason::blocklist),
    when(ip::saddr.in(net("127.0.0.0/8")))                 >> drop,                          // martians
    when((tcp::flags & syn_fin) == syn_fin)                >> drop,
    when(udp::sport.in(constant_set{19, 389, 1900, 11211})) >> drop,                         // amplified answers
    otherwise                                              >> pass);
// clang-format on
auto here = counted(early);

// ---- what a person sees

// How many packets each rule has decided about, in the kernel and here.
void report(const device::xdp_hook* hook) {
  std::printf("%14s %14s\n", "in the kernel", "here");
  std::size_t i = 0;
  early.for_each([&](const auto& rule) {
    text<256> in_kernel, in_user_space, line;
    if (hook != nullptr) in_kernel.grouped(hook->counters(i).packets);
    else in_kernel << '-';
    in_user_space.grouped(here.hits(i).packets);
    print(line, rule);  // with the end of the line
    std::printf("%14s %14s  %s", in_kernel.c_str(), in_user_space.c_str(), line.c_str());
    ++i;
  });
}
void report(device::any_device& nic) {
  text<512> line;
  print(line, nic);
  std::printf("%s: %s\n", nic.name(), line.c_str());
  if (nic.failure() != nullptr) std::fprintf(stderr, "xdp_firewall: %s\n", nic.failure()->message());
}

int usage() { return std::fprintf(stderr, "xdp_firewall [-u] [-b prefix]... outside inside\n"), 2; }
int fail(const error& e) { return std::fprintf(stderr, "xdp_firewall: %s\n", e.message()), 2; }

}  // namespace

int main(int argc, char** argv) {
  bool in_kernel = true;
  int i = 1;
  for (; i < argc && argv[i][0] == '-'; ++i) {
    if (same_text(argv[i], "-u")) {
      in_kernel = false;
    } else if (same_text(argv[i], "-b") && i + 1 < argc) {
      const auto block = parse_prefix(argv[++i]);
      if (!block) return fail({"block", "read", argv[i], "this is no prefix", "as in 192.0.2.0/24 or 2001:db8::/32"});
      if (!blocked.insert(*block) && !blocked6.insert(*block))
        return fail({"block", "insert", argv[i], "the set is full", "make it larger, in this file"});
    } else {
      return usage();
    }
  }
  if (argc - i != 2) return usage();
  auto outside = device::open(argv[i]), inside = device::open(argv[i + 1]);
  if (!outside) return fail(outside.error());
  if (!inside) return fail(inside.error());

  // The hook sees what comes in at an interface, which is what a packet socket receives. A TAP device receives what
  // goes out of its interface, AF_XDP has the hook itself, and a capture has none.
  std::optional<device::xdp_hook> hook;
  if (in_kernel && std::strncmp(argv[i], "af_packet:", 10) == 0) {
    auto attached = device::xdp_hook::attach(outside->name(), early);
    if (attached) hook.emplace(std::move(*attached));
    else std::fprintf(stderr, "not in the kernel: %s\n", attached.error().message());
  }

  real_clock time;
  loop work{time, attach(*outside, named("early", xdp([](const subject& s) { return here(s); })) | transmit(*inside)),
            attach(*inside, transmit(*outside))};
  static stoppable* running = &work;
  for (const int s : {SIGINT, SIGTERM}) std::signal(s, [](int) { running->stop(); });
  std::printf("%s: rules run %s%s; Ctrl-C ends it\n", outside->name(), hook ? "in the kernel, " : "here",
              hook ? name(hook->mode()) : "");
  std::fflush(stdout);
  work.run();
  for (const int s : {SIGINT, SIGTERM}) std::signal(s, SIG_DFL);  // no loop is left to stop: the next one ends us

  std::printf("\n");
  report(hook ? &*hook : nullptr);
  report(*outside);
  report(*inside);
  return outside->failure() != nullptr || inside->failure() != nullptr ? 1 : 0;
}
