// SPDX-License-Identifier: MIT
// A stateful packet filter as firmware: no operating system, no heap, no exceptions, no RTTI. Its device is two arrays.
// Built for a Cortex-M4 and run by `firmware`, which tells how large the image is.
//
//     received -> parse -> track -> policy -> one hop less -> confirm -> queue -> sent
#include <runnel/runnel.hpp>

using namespace runnel;

extern "C" {

// Nothing that is static is ever destroyed.
void* __dso_handle;
int __aeabi_atexit(void*, void (*)(void*), void*) { return 0; }

}  // extern "C"

namespace {

constexpr std::size_t frame_size = 14 + 20 + 20 + 10;

struct arrays {
  pool& to;
  std::byte received[2][frame_size]{};
  std::byte sent[2][frame_size]{};
  std::size_t n_received = 0, n_sent = 0;

  pool& memory() { return to; }
  template <class Take>
  std::size_t receive(std::size_t room, instant now, Take&& take) {
    std::size_t n = 0;
    for (; n < room && n_received > 0; ++n) {
      frame f = to.allocate_frame();
      if (f.slot == no_slot) break;
      copy_bytes(f.data, received[--n_received], frame_size);
      f.length = frame_size;
      f.tailroom = static_cast<std::uint16_t>(f.tailroom - frame_size);
      f.timestamp = now;
      take(f);
    }
    return n;
  }
  bool done() const { return n_received == 0; }
  std::size_t transmit(packet* packets, std::size_t n, instant) {
    std::size_t i = 0;
    for (; i < n && n_sent < 2 && packets[i].length() == frame_size; ++i) {
      copy_bytes(sent[n_sent++], packets[i].data(), frame_size);
      packets[i].reset();
    }
    return i;
  }
};

constexpr auto policy = rules(when(ct::state == new_ && tcp::dport == 23) >> drop, otherwise >> accept);

constexpr ethernet_header link_header{.source = {{2, 0, 0, 0, 0, 1}}, .destination = {{2, 0, 0, 0, 0, 2}}};
constexpr ipv4_header ip_header{.source = {192, 0, 2, 1}, .destination = {192, 0, 2, 2}};

// A packet to telnet and one to the web went in; the second one comes out, a hop further. 0 when it is so.
int filter() {
  static static_pool<pool_config{.packets = 8, .bytes = 128, .headroom = 16, .bare = 0}> memory;
  static arrays device{memory};
  static queue<drop_tail, 4> waiting;
  static static_connection_table<connection_config{
      .connections = 16, .ipv6_connections = 0, .unconfirmed = 4, .expectations = 0}>
      connections{1234};  // its seed: from a random source
  // Made by the compiler: joined at run time, a path takes several times its size of the stack.
  static constinit auto filtered = parse() | track(connections) | policy | [](mut<ipv4> ip) {
    ip.time_to_live(static_cast<std::uint8_t>(ip.time_to_live() - 1));
  } | confirm(connections) | enqueue(waiting);
  static constinit manual_clock clock;
  static constinit loop work{clock, attach<4>(device, filtered), attach<4>(waiting, transmit(device)),
                             attach(connections)};
  for (const std::uint16_t port : {std::uint16_t{23}, std::uint16_t{80}}) {
    const tcp_header tcp{.source_port = 40000, .destination_port = port, .flags = tcp_flags::syn};
    if (!write_headers(device.received[device.n_received++], link_header, ip_header, tcp)) return 1;
  }
  work.run();

  const auto ip = ipv4::parse(bytes{device.sent[0]}.from(14));
  return device.n_sent == 1 && ip && ip->time_to_live() == 63 && ip->checksum_ok() ? 0 : 2;
}

// ---- what a board needs beside the program: an end, a beginning, the table that points there

// Semihosting: whoever runs the image, a debugger or an emulator, is told how it ended.
[[noreturn]] void end(bool good) {
  const std::uint32_t reason = good ? 0x20026 : 0x20024;  // ApplicationExit, InternalError
  asm volatile("mov r0, #0x18\n\tmov r1, %0\n\tbkpt 0xab" : : "r"(reason) : "r0", "r1", "memory");
  for (;;) {}
}
void fault() { end(false); }
void reset() { end(filter() == 0); }

alignas(8) std::byte stack[2048];

struct vector_table {
  std::byte* stack;
  void (*handlers[5])();
};

}  // namespace

extern "C" [[gnu::section(".vectors"), gnu::used]] constexpr vector_table vectors{stack + sizeof stack,
                                                                                  {reset, fault, fault, fault, fault}};
