// SPDX-License-Identifier: MIT
// Answers pings, for tests: echo [--slow] DEVICE... What is no echo request to it is dropped. Says how it went when it
// ends: by Ctrl-C, or when all of its devices are gone. With --slow 20 ms pass on both ways.
//
//     device > parse > echo requests only > swap addresses > request becomes reply > the same device
#include <csignal>
#include <cstdio>
#include <deque>
#include <utility>
#include <vector>

#include <runnel/runnel.hpp>

using namespace runnel;

namespace {

template <class Device>
auto path_to(Device& d) {
  return parse() | rules(when(icmp::type == 8 || icmpv6::type == 128) >> accept, otherwise >> drop) |
         [](mut<ethernet> e) { e.swap_addresses(); } |
         [](mut<ipv4> ip, mut<icmp> m) {
           const ipv4_address to = ip.source();
           ip.source(ip.destination());
           ip.destination(to);
           m.kind(runnel::icmp::echo_reply);
         } |
         [](mut<ipv6> ip, mut<icmpv6> m) {
           const ipv6_address to = ip.source();
           ip.source(ip.destination());
           ip.destination(to);
           m.kind(runnel::icmpv6::echo_reply);
         } |
         transmit(d);
}
stoppable* running = nullptr;

template <class Devices>
void answer(Devices& devices) {
  std::vector<decltype(attach(devices[0], path_to(devices[0])))> all;
  for (auto& d : devices) all.push_back(attach(d, path_to(d)));
  real_clock time;
  loop work{time, attach_all(all)};
  running = &work;
  std::signal(SIGINT, [](int) { running->stop(); });
  for (auto& d : devices) std::printf("%s ", d.name());
  std::printf("answer pings\n");
  std::fflush(stdout);
  work.run();
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<device::any_device> devices;
  const bool slow = argc > 1 && same_text(argv[1], "--slow");
  for (int i = slow ? 2 : 1; i < argc; ++i) {
    auto opened = device::open(argv[i]);
    if (!opened) return std::fprintf(stderr, "echo: %s\n", opened.error().message()), 1;
    devices.push_back(std::move(*opened));
  }
  if (slow) {
    std::deque<device::faulty<device::any_device>> around;
    for (auto& d : devices) around.emplace_back(d, link_options{.latency = milliseconds(20)});
    answer(around);
  } else {
    answer(devices);
  }
  for (auto& d : devices) {
    text<256> line;
    print(line, d);
    std::printf("%s: %s\n", d.name(), line.c_str());
  }
}
