// SPDX-License-Identifier: MIT
// One loop over one interface: ours over a device of the library, or as one writes it with plain system calls.
//
//     live_nic DEVICE WORK INTERFACE SECONDS LENGTH [CORE]
//
//     DEVICE   af_packet, af_xdp, tap; af_packet_1MiB (with a receive ring as large as that of DPDK's driver);
//              recvfrom (a packet socket, one call a packet), read (/dev/net/tun, the same)
//     WORK     receive    count what comes, drop it unseen
//              transmit   send frames of LENGTH bytes (without the frame check sequence) as fast as they are taken
//              forward    swap the MAC addresses of what comes, send it back
//
// Says "ready", waits for traffic, and prints after SECONDS: packets, seconds, seconds of processor time of this
// thread, system calls. A tap is made, and set up.
#include <runnel/runnel.hpp>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <sys/resource.h>
#include <time.h>

#include "datagram.hpp"

using namespace runnel;
namespace sys = runnel::detail::sys;

namespace {

volatile std::sig_atomic_t expired = 0;
stoppable* running = nullptr;

struct measurement {
  std::uint64_t packets = 0;
  std::uint64_t system_calls = 0;
};

double seconds_of(const ::timespec& t) { return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9; }
double wall() {
  ::timespec t{};
  (void)::clock_gettime(CLOCK_MONOTONIC, &t);
  return seconds_of(t);
}
double processor() {
  ::rusage u{};
  (void)::getrusage(RUSAGE_SELF, &u);
  return static_cast<double>(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
         static_cast<double>(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

int fail(const error& e) { return std::fprintf(stderr, "live_nic: %s\n", e.message()), 2; }
int fail(const char* what) { return std::perror(what), 2; }

// ---- ours

std::uint64_t calls_of(device::af_packet& d) { return d.statistics().system_calls; }
std::uint64_t calls_of(device::af_xdp& d) { return d.statistics().system_calls; }
std::uint64_t calls_of(device::tap& d) { return d.statistics().reads + d.statistics().writes; }

template <class Attachment>
void run_until_expired(Attachment&& a) {
  real_clock time;
  loop work{time, static_cast<Attachment&&>(a)};
  running = &work;
  if (!expired) work.run();
  running = nullptr;
}

template <std::uint16_t Burst = default_burst, class Device>
measurement run_ours(Device& nic, const char* work, unsigned length) {
  measurement m;
  const std::uint64_t before = calls_of(nic);
  if (std::strcmp(work, "receive") == 0) {
    run_until_expired(attach<Burst>(nic, discard));
    m.packets = nic.statistics().received;
  } else if (std::strcmp(work, "forward") == 0) {
    run_until_expired(attach<Burst>(nic, xdp([&m](mut<ethernet> e) {
                                           ++m.packets;
                                           const mac_address from = e.source();
                                           e.source(e.destination());
                                           e.destination(from);
                                           return tx;
                                         }) | discard));
  } else {
    const bench::datagram d(length);
    null_device source(nic.memory(), {.length = length, .fill = d.contents()});
    run_until_expired(attach<Burst>(source, transmit(nic)));
    m.packets = nic.statistics().transmitted;
  }
  m.system_calls = calls_of(nic) - before;
  return m;
}

// ---- the loops that one writes

measurement receive_plainly(int fd) {
  measurement m;
  char bytes[2048];
  while (!expired) {
    const ::ssize_t n = ::read(fd, bytes, sizeof bytes);
    ++m.system_calls;
    if (n > 0) {
      ++m.packets;
      continue;
    }
    ::pollfd p{fd, POLLIN, 0};
    (void)::poll(&p, 1, 100);
    ++m.system_calls;
  }
  return m;
}
measurement transmit_plainly(int fd, unsigned length) {
  measurement m;
  const bench::datagram d(length);
  while (!expired) {
    if (::write(fd, d.contents().data(), length) > 0) ++m.packets;
    ++m.system_calls;
  }
  return m;
}
measurement forward_plainly(int fd) {
  measurement m;
  char bytes[2048];
  while (!expired) {
    const ::ssize_t n = ::read(fd, bytes, sizeof bytes);
    ++m.system_calls;
    if (n > 12) {
      char from[6];
      std::memcpy(from, bytes + 6, 6);
      std::memcpy(bytes + 6, bytes, 6);
      std::memcpy(bytes, from, 6);
      if (::write(fd, bytes, static_cast<std::size_t>(n)) > 0) ++m.packets;
      ++m.system_calls;
      continue;
    }
    ::pollfd p{fd, POLLIN, 0};
    (void)::poll(&p, 1, 100);
    ++m.system_calls;
  }
  return m;
}
measurement run_plainly(int fd, const char* work, unsigned length) {
  return std::strcmp(work, "receive") == 0   ? receive_plainly(fd)
         : std::strcmp(work, "forward") == 0 ? forward_plainly(fd)
                                             : transmit_plainly(fd, length);
}

int packet_socket(const char* interface) {
  constexpr auto every_protocol = static_cast<unsigned short>(__builtin_bswap16(3));
  const int fd = sys::socket(sys::af_packet, sys::sock_raw | sys::sock_nonblock, 0);
  ::sockaddr_ll address{};
  address.sll_family = sys::af_packet;
  address.sll_protocol = every_protocol;
  auto found = device::network_interface::open_for("live_nic", interface);
  if (fd < 0 || !found) return -1;
  address.sll_ifindex = found->index();
  const int one = 1, much = 16 << 20;
  (void)sys::setsockopt(fd, sys::sol_packet, PACKET_IGNORE_OUTGOING, &one, sizeof one);
  (void)sys::setsockopt(fd, sys::sol_packet, PACKET_QDISC_BYPASS, &one, sizeof one);
  (void)sys::setsockopt(fd, sys::sol_socket, sys::so_rcvbufforce, &much, sizeof much);
  (void)sys::setsockopt(fd, sys::sol_socket, sys::so_sndbufforce, &much, sizeof much);
  return sys::bind(fd, &address, sizeof address) == 0 ? fd : -1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 6) return std::fprintf(stderr, "live_nic DEVICE WORK INTERFACE SECONDS LENGTH [CORE]\n"), 2;
  const char *const kind = argv[1], *const work = argv[2], *const interface = argv[3];
  const auto length = static_cast<unsigned>(std::atoi(argv[5]));
  if (length < 60 || length > 1514) return std::fprintf(stderr, "live_nic: lengths are 60 to 1514\n"), 2;
  if (argc > 6) {
    ::cpu_set_t core;
    CPU_ZERO(&core);
    CPU_SET(static_cast<unsigned>(std::atoi(argv[6])), &core);
    if (::sched_setaffinity(0, sizeof core, &core) != 0) return fail("sched_setaffinity");
  }
  std::signal(SIGALRM, [](int) {
    expired = 1;
    if (running != nullptr) running->stop();
  });
  double start = 0, processor_start = 0;
  const auto begin = [&] {
    std::printf("ready\n");
    std::fflush(stdout);
    start = wall();
    processor_start = processor();
    ::alarm(static_cast<unsigned>(std::atoi(argv[4])));
  };
  const auto report = [&](const measurement& m) {
    std::printf("%llu %.4f %.4f %llu\n", static_cast<unsigned long long>(m.packets), wall() - start,
                processor() - processor_start, static_cast<unsigned long long>(m.system_calls));
    return 0;
  };

  const bool small_ring = std::strcmp(kind, "af_packet_1MiB") == 0;
  if (small_ring || std::strcmp(kind, "af_packet") == 0) {
    device::af_packet_options options{.bypass_qdisc = true};
    if (small_ring) options.blocks = (1u << 20) / options.block_size;
    auto nic = device::af_packet::open(interface, options);
    if (!nic) return fail(nic.error());
    begin();
    return report(run_ours(*nic, work, length));
  }
  if (std::strcmp(kind, "af_xdp") == 0) {
    auto nic = device::af_xdp::open(interface);
    if (!nic) return fail(nic.error());
    begin();
    return report(run_ours(*nic, work, length));
  }
  if (std::strcmp(kind, "tap") == 0) {
    auto nic = device::tap::open(interface);
    if (!nic) return fail(nic.error());
    begin();
    // A call for each packet in any case: so many that they stay in the innermost cache.
    return report(run_ours<16>(*nic, work, length));
  }
  if (std::strcmp(kind, "recvfrom") == 0) {
    const int fd = packet_socket(interface);
    if (fd < 0) return fail("packet socket");
    begin();
    return report(run_plainly(fd, work, length));
  }
  if (std::strcmp(kind, "read") == 0) {
    const int fd = ::open("/dev/net/tun", O_RDWR | O_NONBLOCK);
    sys::interface_request ask;
    std::strncpy(ask.name, interface, sizeof ask.name - 1);
    ask.value.flags = IFF_TAP | IFF_NO_PI;
    if (fd < 0 || ::ioctl(fd, TUNSETIFF, &ask) != 0) return fail("tap");
    if (auto found = device::network_interface::open_for("live_nic", interface)) (void)found->set_up(true);
    begin();
    return report(run_plainly(fd, work, length));
  }
  return std::fprintf(stderr, "live_nic: no such device: %s\n", kind), 2;
}
