// SPDX-License-Identifier: MIT
// Uses AF_XDP in the ways that the test beside it, af_xdp, asks for. Ends on SIGINT, and says what came to pass.
//
//     af_xdp_user count [OPTION...] IF            receives UDP to port 7, and drops it
//     af_xdp_user echo [OPTION...] IF             sends UDP to port 7 back, by an early verdict
//     af_xdp_user forward [OPTION...] IF1 IF2     sends what comes by one out by the other, from one UMEM
//     af_xdp_user send [OPTION...] IF N TO FROM   sends N UDP packets between two MAC addresses to port 7, numbered;
//                                                 of 60 bytes, and with --longest=L of others up to L in between
//     af_xdp_user keep [OPTION...] IF             receives, and gives nothing back until SIGINT
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <runnel/runnel.hpp>

using namespace runnel;

namespace {

stoppable* running = nullptr;
volatile std::sig_atomic_t interrupted = 0;

void on_signal(int) {
  interrupted = 1;
  if (running != nullptr) running->stop();
}

int fail(const error& e) {
  std::fprintf(stderr, "%s\n", e.message());
  return 1;
}

void say_mode(const device::af_xdp& nic) {
  std::printf("%s: %s, %zu queues\n", nic.name(), name(nic.mode()), nic.queue_count());
  std::fflush(stdout);
}

// Two lines that the test reads. Slots that were sent and not taken back are waited for.
int report(device::af_xdp& nic, std::uint32_t out = 0) {
  for (int i = 0; i < 200 && nic.frames().transmitting != 0; ++i) {
    (void)nic.receive(0, {}, [](const frame&) {});
    ::usleep(1000);
  }
  const auto where = nic.frames();
  text<512> counted;
  print(counted, nic.statistics());
  std::printf("%s: %s\n", nic.name(), counted.c_str());
  std::printf("%s slots: %u total, %u free, %u receiving, %u transmitting, %u out\n", nic.name(), where.total,
              where.free, where.receiving, where.transmitting, where.out);
  if (nic.failure() != nullptr) std::printf("%s\n", nic.failure()->message());
  return where.out == out ? 0 : 3;
}

template <class Loop>
void run_until_interrupted(Loop& work) {
  running = &work;
  if (interrupted == 0) work.run();
  running = nullptr;
}

int count(device::af_xdp& nic) {
  real_clock time;
  loop work{time, attach(nic, xdp([](const frame&) { return drop; }) | discard)};
  run_until_interrupted(work);
  return report(nic);
}

int echo(device::af_xdp& nic) {
  real_clock time;
  loop work{time, attach(nic, xdp([](mut<ethernet> e, mut<ipv4> ip, mut<udp> u) {
                                const mac_address to = e.destination();
                                e.destination(e.source());
                                e.source(to);
                                const ipv4_address here = ip.destination();
                                ip.destination(ip.source());
                                ip.source(here);
                                const std::uint16_t port = u.destination_port();
                                u.destination_port(u.source_port());
                                u.source_port(port);
                                return tx;
                              }) | discard)};
  run_until_interrupted(work);
  return report(nic);
}

int exchange(device::af_xdp& a, device::af_xdp& b) {
  real_clock time;
  loop work{time, attach(a, transmit(b)), attach(b, transmit(a))};
  run_until_interrupted(work);
  // Slots that the other one has count as out: the sum must be right when each has taken back what it sent.
  (void)report(a, b.frames().receiving);
  return report(b, a.frames().receiving);
}

// Every other frame is short; the others have all lengths in between, in some order.
std::uint32_t length_of(std::uint32_t i, std::uint32_t longest) {
  return i % 2 == 0 || longest == 60 ? 60 : 60 + (i * 2654435761u >> 8) % (longest - 59);
}

int send(device::af_xdp& nic, std::uint32_t n, mac_address to, mac_address from, std::uint32_t longest) {
  real_clock time;
  const auto begin = time.now();
  std::uint32_t sent = 0;
  while (sent < n && interrupted == 0 && !nic.done()) {
    packet p[64];
    std::size_t made = 0;
    for (; made < 64 && sent + made < n; ++made) {
      p[made] = nic.memory().allocate();
      if (!p[made]) break;
      const std::uint32_t length = length_of(sent + static_cast<std::uint32_t>(made), longest);
      std::byte* bytes = p[made].put(length);
      std::memset(bytes, 0, length);
      std::memcpy(bytes, to.octets, 6);
      std::memcpy(bytes + 6, from.octets, 6);
      store_be16(bytes + 12, 0x0800);
      store_be32(bytes + 14, 0x45000000 + length - 14);
      store_be16(bytes + 22, 0x4011);
      store_be32(bytes + 26, 0x0a000001);
      store_be32(bytes + 30, 0x0a000002);
      store_be16(bytes + 34, 1000);
      store_be16(bytes + 36, 7);
      store_be16(bytes + 38, static_cast<std::uint16_t>(length - 34));
      store_be32(bytes + 42, static_cast<std::uint32_t>(sent + made));
    }
    sent += static_cast<std::uint32_t>(nic.transmit(p, made, time.now()));
    (void)nic.receive(0, time.now(), [](const frame&) {});
  }
  const double seconds_taken = static_cast<double>((time.now() - begin).ns) / 1e9;
  std::printf("sent %u in %.3f s\n", sent, seconds_taken);
  return report(nic);
}

int keep(device::af_xdp& nic) {
  real_clock time;
  static frame held[1 << 16];
  std::uint32_t n = 0;
  while (interrupted == 0) {
    n += static_cast<std::uint32_t>(nic.receive(64, time.now(), into_array(held + n)));
    ::usleep(1000);
  }
  const int status = report(nic, n);
  nic.memory().release(held, n);
  return status != 0 ? status : report(nic);
}

}  // namespace

int main(int count_of_arguments, char** arguments) {
  if (count_of_arguments < 3) return std::fputs("see the head of af_xdp_user.cpp\n", stderr), 2;
  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);
  const char* const what = *++arguments;
  device::af_xdp_options options;
  std::uint32_t longest = 60;
  if (!same_text(what, "forward")) options.take = udp::dport == 7;
  for (++arguments; *arguments != nullptr && **arguments == '-'; ++arguments) {
    const char* o = *arguments;
    if (same_text(o, "--generic")) options.attach = bpf::xdp_mode::generic;
    else if (same_text(o, "--native")) options.attach = bpf::xdp_mode::native;
    else if (same_text(o, "--replace")) options.replace = true;
    else if (same_text(o, "--busy-poll")) options.busy_poll.microseconds = 20;
    else if (std::strncmp(o, "--queue=", 8) == 0) options.queues = {static_cast<unsigned>(std::atoi(o + 8))};
    else if (std::strncmp(o, "--packets=", 10) == 0) options.packets = static_cast<std::uint32_t>(std::atoi(o + 10));
    else if (std::strncmp(o, "--longest=", 10) == 0) longest = static_cast<std::uint32_t>(std::atoi(o + 10));
    else return std::fprintf(stderr, "unknown option %s\n", o), 2;
  }
  if (*arguments == nullptr) return std::fputs("which interface?\n", stderr), 2;
  auto nic = device::af_xdp::open(*arguments, options);
  if (!nic) return fail(nic.error());
  say_mode(*nic);
  if (same_text(what, "count")) return count(*nic);
  if (same_text(what, "echo")) return echo(*nic);
  if (same_text(what, "keep")) return keep(*nic);
  if (same_text(what, "forward") && arguments[1] != nullptr) {
    options.share = &*nic;
    auto other = device::af_xdp::open(arguments[1], options);
    if (!other) return fail(other.error());
    say_mode(*other);
    return exchange(*nic, *other);
  }
  if (same_text(what, "send") && arguments[1] != nullptr && arguments[2] != nullptr && arguments[3] != nullptr) {
    const auto to = parse_mac(arguments[2]), from = parse_mac(arguments[3]);
    if (!to || !from) return std::fputs("not a MAC address\n", stderr), 2;
    return send(*nic, static_cast<std::uint32_t>(std::atoi(arguments[1])), *to, *from, longest);
  }
  return std::fprintf(stderr, "cannot %s\n", what), 2;
}
