// SPDX-License-Identifier: MIT
// A host with two workers on one interface, 10.0.0.1 and fd00::1, that answers pings; the kernel deals packets out in
// turn. Says at the end how many questions for neighbours it has sent, and what was lost. See `neighbours_of_workers`.
#include <csignal>
#include <cstdio>

#include <runnel/runnel.hpp>

using namespace runnel;

namespace {

workers crew{{.count = 2, .pin = false}};

struct alignas(128) part {
  std::uint64_t asked = 0, handed_over = 0, missed = 0;
} parts[2];

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return std::fprintf(stderr, "usage: neighbours_of_workers INTERFACE\n"), 2;
  std::signal(SIGINT, [](int) { crew.stop(); });
  const auto ended = crew.run([argv](worker& self) {
    auto nic = device::af_packet::open(argv[1], {.fanout = device::fanout_mode::lb, .memory = &self.memory()});
    if (!nic) return self.fail(nic.error());
    const auto status = nic->settings().status();
    if (!status) return self.fail(status.error());
    ip_interface links[] = {{.mac = status->mac, .addresses = {{addr4("10.0.0.1"), 24}, {addr6("fd00::1"), 64}}}};
    static_neighbour_table<neighbour_config{}> neighbours{self.memory(), links[0], 1234 + self.index()};

    auto path = parse() | answer_neighbours(neighbours, self.rings()) |
                answer_echo(ip_interfaces{links}).on<answered>(resolve(neighbours) | transmit(*nic)).on<other>(discard);
    auto in = parse() | steer(self.rings()) | shared(path);
    std::printf("worker %u listens\n", self.index());
    std::fflush(stdout);
    self.run(attach(*nic, in), attach(self.rings(), path), attach(neighbours, transmit(*nic)));
    part& mine = parts[self.index()];
    mine.asked = neighbours->statistics().solicitations;
    mine.handed_over = find_stage(in, "steer")->count(stolen.code);
    mine.missed = self.rings().missed();
  });
  if (!ended) return std::fprintf(stderr, "%s\n", ended.error().message()), 1;
  const auto sum = [](std::uint64_t part::* of) {
    return static_cast<unsigned long long>(parts[0].*of + parts[1].*of);
  };
  std::printf("asked %llu handed_over %llu missed %llu\n", sum(&part::asked), sum(&part::handed_over),
              sum(&part::missed));
}
