// SPDX-License-Identifier: MIT
// Two workers on one interface, by packet sockets between which the kernel deals packets out in turn, so that each flow
// comes to both; steer() brings it together again. Says at the end how many UDP packets and flows there were, and how
// many flows were seen by both workers. See `spread_over_workers`.
#include <csignal>
#include <cstdio>
#include <cstring>
#include <set>
#include <utility>

#include <runnel/runnel.hpp>

using namespace runnel;

namespace {

workers crew{{.count = 2, .pin = false}};

struct alignas(128) part {
  std::set<std::pair<std::uint64_t, std::uint64_t>> flows;
  std::uint64_t packets = 0, handed_over = 0, lost = 0;
} parts[2];

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return std::fprintf(stderr, "usage: spread INTERFACE\n"), 2;
  std::signal(SIGINT, [](int) { crew.stop(); });
  const auto ended = crew.run([argv](worker& self) {
    auto nic = device::af_packet::open(argv[1], {.fanout = device::fanout_mode::lb, .memory = &self.memory()});
    if (!nic) return self.fail(nic.error());
    part& mine = parts[self.index()];
    auto path = parse() | [&mine](ipv4 ip, udp u) {
      const flow_key4 k = flow_key4::from(ip, u).canonical();
      mine.flows.emplace(k.word(0), k.word(1));
      ++mine.packets;
    } | discard;
    auto in = parse() | steer(self.rings()) | shared(path);
    std::printf("worker %u listens\n", self.index());
    std::fflush(stdout);
    self.run(attach(*nic, in), attach(self.rings(), path));
    const stage_counters& steered = *find_stage(in, "steer");
    mine.handed_over = steered.count(stolen.code);
    mine.lost =
        steered.dropped(drop_reason::queue_full) + steered.dropped(drop_reason::no_packet) + nic->statistics().dropped;
  });
  if (!ended) return std::fprintf(stderr, "%s\n", ended.error().message()), 1;
  std::size_t twice = 0;
  for (const auto& flow : parts[0].flows) twice += parts[1].flows.count(flow);
  std::printf("packets %llu flows %zu twice %zu handed_over %llu lost %llu\n",
              static_cast<unsigned long long>(parts[0].packets + parts[1].packets),
              parts[0].flows.size() + parts[1].flows.size(), twice,
              static_cast<unsigned long long>(parts[0].handed_over + parts[1].handed_over),
              static_cast<unsigned long long>(parts[0].lost + parts[1].lost));
}
