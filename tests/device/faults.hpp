// SPDX-License-Identifier: MIT
// For tests of what goes wrong with interfaces of the kernel: a wire between two of them, and what there was before.
#ifndef RUNNEL_TESTS_DEVICE_FAULTS_HPP
#define RUNNEL_TESTS_DEVICE_FAULTS_HPP

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <vector>

#include <doctest/doctest.h>
#include <linux/ethtool.h>

#include <device/datagram.hpp>
#include <device/fresh_namespace.hpp>
#include <packet/counted_pool.hpp>

#include <runnel/device/af_packet.hpp>
#include <runnel/device/af_xdp.hpp>
#include <runnel/device/tap.hpp>

namespace runnel::test {

using device::af_packet;
using device::af_xdp;
using device::tap;

inline constexpr pool_config slots_of_2_kib{.packets = 256, .bytes = 1984, .headroom = 128, .bare = 64};

// The slots of a pool and the file descriptors of this process: all of them are home now, and where this is asked.
class accounts {
 public:
  explicit accounts(counted_pool& memory) : memory_(memory), files_(open_files()) { memory_.check_all_home(); }
  void check() {
    memory_.check_all_home();
    CHECK(open_files() == files_);
  }

 private:
  counted_pool& memory_;
  std::size_t files_;
};

// A namespace with eth0, which devices are opened on, and eth1 at the other end of the wire, where packets come from.
class wire {
 public:
  wire() {
    if (!here_) return;
    ready_ = std::system(
                 "ip link add eth0 numrxqueues 4 numtxqueues 4 type veth peer name eth1 numrxqueues 4 "
                 "numtxqueues 4 && ip link set eth0 up && ip link set eth1 up") == 0;
    if (!ready_) {
      MESSAGE("skipped: there is no ip, or there are no veth pairs");
      return;
    }
    ready_ = set_queues("eth0", 4) != ENOSYS;
    if (ready_) set_queues(1);
    else MESSAGE("skipped: interfaces cannot be asked for much here, in an emulator");
  }
  explicit operator bool() const { return ready_; }
  // 0, or an errno: what `ethtool -L` does.
  static int set_queues(const char* name, unsigned n) {
    ::ethtool_channels asked{};
    asked.cmd = ETHTOOL_SCHANNELS;
    asked.rx_count = asked.tx_count = n;
    detail::sys::interface_request ask;
    __builtin_memcpy(ask.name, name, std::strlen(name));
    ask.value.data = &asked;
    const detail::file_handle socket(detail::sys::socket(detail::sys::af_inet, detail::sys::sock_dgram, 0), true);
    return ::ioctl(socket.get(), detail::sys::siocethtool, &ask) == 0 ? 0 : errno;
  }
  // Both ends, in the order that the kernel wants, and when AF_XDP has left the queues: a moment later.
  static void set_queues(unsigned n) {
    int wrong = EINVAL;
    for (int i = 0; i < 1000 && wrong == EINVAL; ++i, ::usleep(1000)) {
      wrong = set_queues("eth1", n);
      if (const int number = set_queues("eth0", n); number != 0) wrong = number;
    }
    REQUIRE(wrong == 0);
  }
  static void set_mtu(const char* name, std::uint32_t mtu) {
    auto found = device::network_interface::open(name);
    REQUIRE(found);
    REQUIRE(found->set_mtu(mtu));
  }

 private:
  fresh_namespace here_;
  bool ready_ = false;
};

inline void send(raw_socket& by, std::uint16_t from, std::uint16_t n, std::size_t length = 60) {
  for (std::uint16_t i = 0; i < n; ++i) {
    const auto one = datagram(static_cast<std::uint16_t>(from + i), length);
    REQUIRE(by.send({one.data(), one.size()}));
  }
}
inline packet packet_of(pool& memory, std::uint16_t port, std::size_t length = 60) {
  const auto all = datagram(port, length);
  packet p = memory.allocate();
  REQUIRE(p);
  REQUIRE(p.append({all.data(), all.size()}));
  return p;
}

// Whether it becomes so within two seconds.
template <class F>
bool eventually(F f) {
  bool is_so = f();
  for (int i = 0; i < 2000 && !is_so; ++i) {
    ::usleep(1000);
    is_so = f();
  }
  return is_so;
}
// What comes within two seconds, up to `n` packets: how many. Time goes on by a millisecond each round.
template <class Device>
std::size_t take(Device& from, std::size_t n) {
  static instant now{};
  std::size_t got = 0;
  for (int round = 0; round < 2000 && got < n && !from.done(); ++round) {
    frame f[32];
    now = now + milliseconds(1);
    const std::size_t some = from.receive(n - got < 32 ? n - got : 32, now, into_array(f));
    from.memory().release(f, some);
    got += some;
    if (some == 0) ::usleep(1000);
  }
  return got;
}
template <class Device>
bool receive_one(Device& from, frame& to) {
  std::size_t n = 0;
  for (int i = 0; i < 1000 && n == 0; ++i, ::usleep(1000)) n = from.receive(1, instant{}, into_array(&to));
  return n == 1;
}
// Until nothing has come for a while.
template <class Device>
std::size_t take_all(Device& from) {
  std::size_t got = 0;
  for (int empty = 0; empty < 50; ++empty) {
    frame f[32];
    while (const std::size_t some = from.receive(32, instant{}, into_array(f))) {
      from.memory().release(f, some);
      got += some;
      empty = 0;
    }
    ::usleep(1000);
  }
  return got;
}

// How the tests open them: small rings, whose places are soon gone through.
inline device::af_packet_options for_af_packet(counted_pool& memory) {
  return {.blocks = 4, .block_size = 4096, .transmit_slots = 64, .memory = &memory.get()};
}
inline device::af_xdp_options for_af_xdp(counted_pool& memory) {
  return {.receive_slots = 32, .transmit_slots = 64, .memory = &memory.get()};
}
inline device::tap_options for_tap(counted_pool& memory) { return {.memory = &memory.get()}; }

// Whether it was opened; else there is none here, in an emulator or a container.
template <class Device>
bool is_here(const result<Device, error>& opened) {
  if (opened) return true;
  MESSAGE("skipped: ", doctest::String(opened.error().message()));
  const int number = opened.error().number();
  CHECK((number == ENOPROTOOPT || number == ENOSYS || number == EAFNOSUPPORT || number == EPERM));
  return false;
}

// While it is open: all places on its rings are there, and nothing lies on them but slots to receive into.
inline bool rings_are_clear(af_packet& d) {
  const auto r = d.rings();
  return r.blocks == 4 && r.held_blocks == 0 && r.slots == 64 && r.held_slots == 0;
}
inline bool rings_are_clear(af_xdp& d) {
  const auto f = d.frames();
  const std::uint32_t receiving = 32 * static_cast<std::uint32_t>(d.queue_count());
  return f.receiving == receiving && f.transmitting == 0 && f.out == 0 && f.free + receiving == f.total;
}
inline bool rings_are_clear(tap& d) { return d.memory().available() == d.memory().capacity(); }

template <class Device>
bool nothing_comes(Device& d) {
  frame f;
  return d.receive(1, instant{}, into_array(&f)) == 0;
}
template <class Device>
void check_rings_are_clear(Device& d) {
  CHECK(eventually([&] {
    CHECK(nothing_comes(d));  // it takes back what was sent meanwhile
    return rings_are_clear(d);
  }));
}
// As good as new: more packets go both ways than there are places on the rings, and none of these is held.
template <class Device>
void check_works(Device& d, raw_socket& other_end) {
  for (std::uint16_t round = 0; round < 20; ++round) {
    send(other_end, 1, 8);
    CHECK(take(d, 8) == 8);
    packet p[8];
    for (packet& one : p) one = packet_of(d.memory(), 7);
    REQUIRE(d.transmit(p, 8, instant{}) == 8);
    for (int i = 0; i < 8; ++i) CHECK(other_end.next() == datagram(7));
  }
  check_rings_are_clear(d);
  CHECK(d.failure() == nullptr);
}
// It is over: nobody waits any more, and what is sent is lost and counted.
template <class Device>
void check_is_gone(Device& d, const char* why) {
  CHECK(d.done());
  REQUIRE(d.failure() != nullptr);
  CHECK(same_text(d.failure()->message(), why));
  CHECK(d.wait_handle() == -1);
  const std::uint64_t before = d.lost();
  packet p = packet_of(d.memory(), 9);
  CHECK(d.transmit(&p, 1, instant{}) == 1);
  CHECK(d.lost() == before + 1);
  CHECK(nothing_comes(d));
}
template <class Statistics>
bool says(const Statistics& s, const char* part) {
  text<512> line;
  print(line, s);
  CAPTURE(doctest::String(line.c_str()));
  const bool found = std::strstr(line.c_str(), part) != nullptr;
  CHECK(found);
  return found;
}

}  // namespace runnel::test

#endif
