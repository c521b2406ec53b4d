// SPDX-License-Identifier: MIT
// What tests/live/af_packet runs: packet_socket COMMAND INTERFACE...
//   forward A B     what comes at the one goes out at the other
//   count A [us]    counts what comes, so long a packet at least
//   spread A        counts what comes to two devices of a fanout group
//   flood A N       sends N UDP datagrams of 60 bytes, none of which it gives up
// Says "ready", and at its end - a signal, or no interface any more - what the devices did, and "home" when all is.
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <time.h>

#include <runnel/runnel.hpp>

using namespace runnel;
using device::af_packet;

namespace {

stoppable* running = nullptr;

template <class... Attachments>
void run_until_signal(Attachments... attachments) {
  real_clock clock;
  loop work{clock, std::move(attachments)...};
  running = &work;
  std::signal(SIGINT, [](int) { running->stop(); });
  std::puts("ready");
  std::fflush(stdout);
  work.run();
}
void report(af_packet& d) {
  text<512> line;
  line << d.name() << ": ";
  print(line, d.statistics());
  std::puts(line.c_str());
  if (const error* why = d.failure()) std::puts(why->message());
  const pool& memory = d.memory();
  if (memory.available() == memory.capacity() && memory.bare_available() == memory.bare_capacity()) std::puts("home");
}
int fail(const error& why) {
  std::puts(why.message());
  return 1;
}

int exchange(const char* a_name, const char* b_name) {
  auto a = af_packet::open(a_name, {.promiscuous = true});
  if (!a) return fail(a.error());
  auto b = af_packet::open(b_name, {.promiscuous = true});
  if (!b) return fail(b.error());
  run_until_signal(attach(*a, parse() | transmit(*b)), attach(*b, xdp([](frame&) { return pass; }) | transmit(*a)));
  report(*a);
  report(*b);
  return 0;
}
int count(const char* name, long microseconds) {
  auto a = af_packet::open(name, {.blocks = 16, .block_size = 65536});
  if (!a) return fail(a.error());
  real_clock time;
  run_until_signal(attach(*a, xdp([&](frame&) {
                                const ::timespec wait{0, microseconds * 1000};
                                if (microseconds != 0) (void)::nanosleep(&wait, nullptr);
                                return drop(drop_reason::policy);
                              }) | discard));
  // What is in the ring still; its last block is handed over a millisecond behind the last packet.
  const ::timespec a_while{0, 50'000'000};
  (void)::nanosleep(&a_while, nullptr);
  loop rest{time, attach(*a, discard)};
  while (rest.poll() != 0) {}
  report(*a);
  return 0;
}
int spread(const char* name) {
  const device::af_packet_options options{.fanout = device::fanout_mode::hash};
  auto a = af_packet::open(name, options);
  if (!a) return fail(a.error());
  auto b = af_packet::open(name, options);
  if (!b) return fail(b.error());
  run_until_signal(attach(*a, xdp([](frame&) { return pass; }) | discard), attach(*b, parse() | discard));
  report(*a);
  report(*b);
  return 0;
}
int flood(const char* name, unsigned long n) {
  auto a = af_packet::open(name, {.blocks = 0});
  if (!a) return fail(a.error());
  const std::uint8_t head[] = {2, 0, 0,  0,  0, 2, 2,  0, 0, 0, 0,  1, 8, 0, 0x45, 0, 0, 46, 0, 0,
                               0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 4,    0, 0, 9,  0, 26};
  std::byte frame[60] = {};
  std::memcpy(frame, head, sizeof head);
  null_device source(a->memory(), {.length = 60, .fill = bytes{frame, sizeof frame}, .limit = n});
  std::uint16_t port = 0;
  run_until_signal(attach(source, parse() | [&port](mut<udp> u) { u.source_port(++port); } | transmit<hold>(*a)));
  report(*a);
  return 0;
}

}  // namespace

int main(int n, char** arguments) {
  const auto is = [&](const char* command, int wanted) {
    return n >= wanted && std::strcmp(arguments[1], command) == 0;
  };
  if (is("forward", 4)) return exchange(arguments[2], arguments[3]);
  if (is("count", 3)) return count(arguments[2], n > 3 ? std::atol(arguments[3]) : 0);
  if (is("spread", 3)) return spread(arguments[2]);
  if (is("flood", 4)) return flood(arguments[2], std::strtoul(arguments[3], nullptr, 10));
  std::puts("packet_socket forward A B | count A [us] | spread A | flood A N");
  return 2;
}
