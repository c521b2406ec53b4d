// SPDX-License-Identifier: MIT
// UDP echo (RFC 862) by AF_XDP: each datagram to port 7 goes back in the slot that it came in. All other packets stay
// with the kernel, your SSH session among them.
//
// On a veth pair, `ethtool -K eth0 tx off` at the other end first: it leaves UDP checksums out that go to its peer, and
// would drop what comes back without.
//
//     eth0 -> xdp(reflect) -> eth0
//
//     reflect [interface]
#include <runnel/runnel.hpp>

#include <csignal>
#include <cstdio>

using namespace runnel;

int main(int argc, char** argv) {
  auto nic = device::af_xdp::open(argc > 1 ? argv[1] : "eth0", {.take = udp::dport == 7});
  if (!nic) return std::fprintf(stderr, "reflect: %s\n", nic.error().message()), 2;

  auto reflect = [](mut<ethernet> e, mut<ipv4> ip, mut<udp> u) -> verdict {
    // A group cannot be a sender. And two echo servers must not talk to each other: it would never end.
    if (e.destination().is_multicast() || u.source_port() == 7) return drop;
    const ipv4_address here = ip.destination();
    e.swap_addresses();
    ip.destination(ip.source());
    ip.source(here);
    u.destination_port(u.source_port());
    u.source_port(7);
    return tx;
  };
  real_clock time;
  loop work{time, attach(*nic, xdp(reflect) | discard)};
  static stoppable* running = &work;
  for (const int s : {SIGINT, SIGTERM}) std::signal(s, [](int) { running->stop(); });
  std::printf("%s: %s; Ctrl-C ends it\n", nic->name(), name(nic->mode()));  // "eth0: native, copy"
  std::fflush(stdout);
  work.run();
  for (const int s : {SIGINT, SIGTERM}) std::signal(s, SIG_DFL);  // no loop is left to stop: the next one ends us

  text<512> counters;
  print(counters, nic->statistics());
  std::printf("\n%s\n", counters.c_str());
  if (nic->failure() != nullptr) return std::fprintf(stderr, "reflect: %s\n", nic->failure()->message()), 1;
}
