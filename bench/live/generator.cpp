// SPDX-License-Identifier: MIT
// Sends UDP datagrams out of a veth interface from within the kernel, which is several times faster than from any
// socket: an XDP program that BPF_PROG_TEST_RUN runs on live frames (Linux 5.18) and that answers XDP_TX. The other end
// of the pair needs NAPI: an XDP program, or `ethtool -K ... gro on`.
//
//     live_generator INTERFACE SECONDS LENGTH CORE     prints packets, seconds
#include <runnel/runnel.hpp>

#include <cstdio>
#include <cstdlib>

#include <sched.h>
#include <time.h>

#include "datagram.hpp"

using namespace runnel;

namespace {

double wall() {
  ::timespec t{};
  (void)::clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}
int fail(const error& e) { return std::fprintf(stderr, "live_generator: %s\n", e.message()), 2; }

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) return std::fprintf(stderr, "live_generator INTERFACE SECONDS LENGTH CORE\n"), 2;
  const auto length = static_cast<unsigned>(std::atoi(argv[3]));
  ::cpu_set_t core;
  CPU_ZERO(&core);
  CPU_SET(static_cast<unsigned>(std::atoi(argv[4])), &core);
  if (::sched_setaffinity(0, sizeof core, &core) != 0) return std::perror("sched_setaffinity"), 2;
  auto interface = device::network_interface::open_for("generator", argv[1]);
  if (!interface) return fail(interface.error());

  const bench::datagram frame(length);

  // The pages come back as the receiver left them, so the program writes the headers anew.
  using namespace runnel::bpf;
  assembler a;
  const label out = a.make_label();
  a.load(width::w, r2, r1, 0);
  a.load(width::w, r3, r1, 4);
  a.move(r4, r2);
  a.alu(alu_op::add, r4, 44);
  a.move(r0, std::uint64_t{0});
  a.jump_if(jmp_op::jgt, r4, r3, out);
  for (int at = 0; at < 44; at += 4) {
    std::int32_t word = 0;
    __builtin_memcpy(&word, frame.contents().data() + at, 4);
    a.store(width::w, r2, at, word);
  }
  a.move(r0, std::uint64_t{3});  // XDP_TX
  a.place(out);
  a.exit();
  auto program = a.finish();
  if (!program) return fail(program.error());
  auto maps = program_maps::create(*program);
  if (!maps) return fail(maps.error());
  auto loaded = loaded_program::load(*program, *maps, {.name = "generator"});
  if (!loaded) return fail(loaded.error());

  ::xdp_md context{};
  context.data_end = length;
  context.ingress_ifindex = static_cast<std::uint32_t>(interface->index());
  const auto send = [&](double packets) {
    ::bpf_attr run = detail::no_attributes();
    run.test.prog_fd = static_cast<std::uint32_t>(loaded->fd());
    run.test.data_in = detail::address_of(frame.contents().data());
    run.test.data_size_in = length;
    run.test.ctx_in = detail::address_of(&context);
    run.test.ctx_size_in = sizeof context;
    run.test.repeat = packets < 1 ? 1u : packets < 1e9 ? static_cast<std::uint32_t>(packets) : 1'000'000'000u;
    run.test.flags = BPF_F_TEST_XDP_LIVE_FRAMES;
    run.test.batch_size = 64;
    return detail::bpf_call(BPF_PROG_TEST_RUN, run) == 0 ? run.test.repeat : 0u;
  };
  // A call begins and ends with many milliseconds of waiting for other processors, in which nothing is sent. So one
  // tells the pace, and another one sends nearly all.
  const double start = wall(), end = start + std::atof(argv[2]);
  std::uint64_t sent = 0;
  double pace = 0;
  for (double now = start; now < end; now = wall()) {
    const std::uint32_t n = send(pace == 0 ? 1 << 16 : pace * (end - now));
    if (n == 0) return std::perror("live_generator: BPF_PROG_TEST_RUN"), 2;
    sent += n;
    pace = n / (wall() - now);
  }
  std::printf("%llu %.4f\n", static_cast<unsigned long long>(sent), wall() - start);
}
