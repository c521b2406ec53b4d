// SPDX-License-Identifier: MIT
// Sends UDP datagrams from within the kernel, which is several times faster than from any socket: an XDP program that
// BPF_PROG_TEST_RUN runs on live frames (Linux 5.18). It answers XDP_TX, and they leave by the interface; or XDP_PASS,
// and they are what the interface's driver has received, at less cost, for no second driver has a part in it. A veth
// interface that they leave by, or come in by, needs NAPI at the end that receives: an XDP program, or
// `ethtool -K ... gro on`.
//
//     live_generator out|in INTERFACE SECONDS LENGTH CORE [MAC BITS GAP]     prints packets, seconds
//
// With a MAC address, that is where they go; BITS of their ports are random: 2^BITS flows, at most 2^30; and each takes
// GAP nanoseconds longer than it must, 1 to 10000: what is slower than the generator is not bothered by all that it
// drops.
#include <runnel/runnel.hpp>

#include <cstdio>
#include <cstdlib>
#include <string_view>

#include <sched.h>
#include <time.h>

#include "datagram.hpp"

using namespace runnel;

namespace {

constexpr int ports_at = 34;
constexpr auto get_prandom_u32 = static_cast<bpf::helper>(7);  // bpf-helpers(7)

double wall() {
  ::timespec t{};
  (void)::clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}
int fail(const error& e) { return std::fprintf(stderr, "live_generator: %s\n", e.message()), 2; }

}  // namespace

int main(int argc, char** argv) {
  const std::string_view way = argc > 1 ? argv[1] : "";
  if ((argc != 6 && argc != 9) || (way != "out" && way != "in"))
    return std::fprintf(stderr, "live_generator out|in INTERFACE SECONDS LENGTH CORE [MAC BITS GAP]\n"), 2;
  ++argv;
  const auto length = static_cast<unsigned>(std::atoi(argv[3]));
  ::cpu_set_t core;
  CPU_ZERO(&core);
  CPU_SET(static_cast<unsigned>(std::atoi(argv[4])), &core);
  if (::sched_setaffinity(0, sizeof core, &core) != 0) return std::perror("sched_setaffinity"), 2;
  auto interface = device::network_interface::open_for("generator", argv[1]);
  if (!interface) return fail(interface.error());

  bench::datagram frame(length);
  std::uint32_t random_bits = 0;
  int gap = 0;
  if (argc == 9) {
    const auto to = parse_mac(argv[5]);
    const auto bits = static_cast<unsigned>(std::atoi(argv[6]));
    gap = std::atoi(argv[7]);
    if (!to || bits > 30 || gap < 0 || gap > 10000)
      return std::fprintf(stderr, "live_generator: a MAC address, 0 to 30 bits, a gap of 0 to 10000 ns\n"), 2;
    frame.send_to(*to);
    // First of the destination's port, then of the source's: 15 of each, so that none gets above 65535.
    random_bits = bits <= 15 ? (1u << bits) - 1 : 0x7fffu | ((1u << (bits - 15)) - 1) << 16;
  }

  // The pages come back as the receiver left them, so the program writes the headers anew.
  using namespace runnel::bpf;
  assembler a;
  const label out = a.make_label(), late = a.make_label();
  a.move(r6, r1);
  if (gap != 0) {
    a.call(helper::ktime_get_ns);
    a.move(r7, r0);
    a.alu(alu_op::add, r7, gap);
    for (int i = 0; i < gap / 8 + 1; ++i) {  // the verifier wants an end; no clock is read in less than 8 ns
      a.call(helper::ktime_get_ns);
      a.jump_if(jmp_op::jge, r0, r7, late);
    }
    a.place(late);
  }
  if (random_bits != 0) {
    a.call(get_prandom_u32);
    a.alu(alu_op::and_, r0, static_cast<std::int32_t>(random_bits));
    a.alu(alu_op::add, r0, static_cast<std::int32_t>(load_be32(frame.contents().data() + ports_at)));
    a.big_endian(r0, 32);
    a.move(r7, r0);
  }
  a.load(width::w, r2, r6, 0);
  a.load(width::w, r3, r6, 4);
  a.move(r4, r2);
  a.alu(alu_op::add, r4, 44);
  a.move(r0, std::uint64_t{0});
  a.jump_if(jmp_op::jgt, r4, r3, out);
  for (int at = 0; at < 44; at += 4) {
    std::int32_t word = 0;
    __builtin_memcpy(&word, frame.contents().data() + at, 4);
    a.store(width::w, r2, at, word);
  }
  if (random_bits != 0) a.store(width::w, r2, ports_at, r7);
  a.move(r0, std::uint64_t{way == "in" ? 2u : 3u});  // XDP_PASS, XDP_TX
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
