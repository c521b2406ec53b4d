// SPDX-License-Identifier: MIT
// On a loopback interface: what is transmitted there is received there. In native mode, with real peers and with
// several queues: tests/live/af_xdp.
#include <doctest/doctest.h>

#include <runnel/device/af_xdp.hpp>
#include <runnel/device/clock.hpp>
#include <runnel/device/mapped_pool.hpp>
#include <runnel/device/null.hpp>
#include <runnel/device/tap.hpp>
#include <runnel/flow.hpp>
#include <runnel/match.hpp>

#if defined(__linux__)

#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <atomic>
#include <cstdio>
#include <cstring>
#include <thread>
#include <utility>
#include <vector>

#include "device/datagram.hpp"
#include "device/faults.hpp"
#include "device/fresh_namespace.hpp"
#include "device/in_child.hpp"
#include "device/numbered.hpp"
#include "device/older_kernel.hpp"
#include "device/own_namespace.hpp"
#include "device/rename_interface.hpp"

using namespace runnel;
using device::af_xdp;
using runnel::test::become;
using runnel::test::become_nobody;
using runnel::test::in_child;
using runnel::test::number_in;
using runnel::test::numbered;
using runnel::test::older_kernel;

namespace {

// A network namespace whose loopback interface is up and has an MTU that fits a slot of a page, or the one given.
class loopback {
 public:
  explicit loopback(std::uint32_t mtu = 1500) {
    if (!inside_) return;
    auto lo = device::network_interface::open("lo");
    REQUIRE(lo);
    REQUIRE(lo->set_mtu(1500));
    REQUIRE(lo->set_up(true));
    const auto nic = af_xdp::open("lo");
    if (!nic) {
      MESSAGE("skipped: ", doctest::String(nic.error().message()));
      const int number = nic.error().number();
      CHECK((number == EPERM || number == ENOSYS || number == EAFNOSUPPORT));
    }
    ready_ = nic.has_value();
    if (ready_ && mtu != 1500) REQUIRE(lo->set_mtu(mtu));
  }
  explicit operator bool() const noexcept { return ready_; }

 private:
  own_namespace inside_;
  bool ready_ = false;
};

// What comes within a second, up to `n`. Calls `each` with each frame, which is then released.
template <class Each>
std::size_t take(af_xdp& nic, std::size_t n, Each each) {
  std::size_t got = 0;
  for (int round = 0; round < 1000 && got < n; ++round) {
    frame f[16];
    const std::size_t now = nic.receive(n - got < 16 ? n - got : 16, instant{round * 1'000'000}, into_array(f));
    for (std::size_t i = 0; i < now; ++i) each(f[i]);
    nic.memory().release(f, now);
    got += now;
    if (now == 0) ::usleep(1000);
  }
  return got;
}
std::size_t take(af_xdp& nic, std::size_t n) {
  return take(nic, n, [](const frame&) {});
}

void check_all_there(af_xdp& nic, std::uint32_t out = 0) {
  const auto where = nic.frames();
  CHECK(where.out == out);
  CHECK(where.free + where.receiving + where.transmitting + out == where.total);
}

// How many file descriptors this process has.
int open_files() {
  ::DIR* directory = ::opendir("/proc/self/fd");
  REQUIRE(directory != nullptr);
  int n = 0;
  while (::readdir(directory) != nullptr) ++n;
  ::closedir(directory);
  return n;
}

// In a process that has this kernel as an older one: it returns 0.
template <class F>
void check_in(older_kernel what, F f) {
  const int status = in_child([&] { return become(what) ? f() : 77; });
  if (status == 77) MESSAGE("skipped: seccomp(2) does not do it here");
  else CHECK(status == 0);
}
// Whether it was not opened, and this is why.
bool is_refused(const result<af_xdp, error>& nic, const char* why) {
  if (!nic && same_text(nic.error().message(), why)) return true;
  std::fprintf(stderr, "%s\n", nic ? "it was opened" : nic.error().message());
  return false;
}

}  // namespace

TEST_CASE("what is sent on a loopback interface is received there, byte for byte and in order") {
  const loopback there;
  if (!there) return;
  auto nic = af_xdp::open("lo");
  REQUIRE(nic);
  CHECK(same_text(nic->name(), "lo"));
  CHECK(same_text(name(nic->mode()), "generic, copy"));
  CHECK(nic->queue_count() == 1);
  check_all_there(*nic);
  packet p[40];
  for (std::uint32_t i = 0; i < 40; ++i) {
    p[i] = numbered(nic->memory(), i, 60 + i);
    for (std::uint32_t at = 14; at < 60 + i; ++at) p[i].writable()[at] = std::byte(at + i);
  }
  check_all_there(*nic, 40);
  CHECK(nic->transmit(p, 40, {}) == 40);
  std::uint32_t next = 0;
  CHECK(take(*nic, 40, [&](const frame& f) {
          CHECK(f.length == 60 + next);
          bool same = true;
          for (std::uint32_t at = 14; at < f.length; ++at) same &= load_u8(f.data + at) == at + next;
          CHECK(same);
          ++next;
        }) == 40);
  CHECK(take(*nic, 1) == 0);
  check_all_there(*nic);
  const auto counted = nic->statistics();
  CHECK(counted.received == 40);
  CHECK(counted.transmitted == 40);
  CHECK(counted.received_bytes == counted.transmitted_bytes);
  CHECK(counted.kernel_dropped + counted.kernel_ring_full + counted.kernel_no_slot + counted.kernel_invalid == 0);
  CHECK(counted.system_calls != 0);
  text<512> line;
  print(line, counted);
  CHECK(std::strstr(line.c_str(), "received 40 (3180 bytes), transmitted 40 (3180 bytes), ") == line.c_str());
}

TEST_CASE("only what the condition holds for comes to the device; sets may be in it") {
  const loopback there;
  if (!there) return;
  hash_set_of<mac_address, 10> known("known");
  REQUIRE(known.insert(mac("01:02:03:04:05:01")));
  REQUIRE(known.insert(mac("01:02:03:04:05:05")));
  auto nic = af_xdp::open("lo", {.take = ether::saddr.in(known) && ether::type == 0x88b5});
  if (!nic) FAIL(doctest::String(nic.error().message()));
  packet p[10];
  for (std::uint32_t i = 0; i < 10; ++i) {
    p[i] = numbered(nic->memory(), i);
    std::byte* bytes = p[i].writable().data();
    store_be32(bytes + 6, 0x01020304);
    store_be16(bytes + 10, static_cast<std::uint16_t>(0x0500 + i));
  }
  REQUIRE(nic->transmit(p, 10, {}) == 10);
  std::uint32_t sum = 0;
  CHECK(take(*nic, 3, [&](const frame& f) { sum = sum * 10 + number_in(f); }) == 2);
  CHECK(sum == 15);
  check_all_there(*nic);
}

TEST_CASE("frames go back as they came, without a packet and without a copy") {
  const loopback there;
  if (!there) return;
  auto nic = af_xdp::open("lo");
  REQUIRE(nic);
  packet p = numbered(nic->memory(), 1);
  REQUIRE(nic->transmit(&p, 1, {}) == 1);
  frame f;
  std::size_t n = 0;
  for (int i = 0; i < 1000 && n == 0; ++i) n = nic->receive(1, {}, into_array(&f)), ::usleep(1000);
  REQUIRE(n == 1);
  const std::uint32_t slot = f.slot;
  store_be32(f.data + f.length - 4, 2);
  CHECK(nic->frames().out == 1);
  CHECK(nic->transmit(&f, 1, {}) == 1);
  CHECK(nic->frames().out == 0);
  CHECK(take(*nic, 1, [&](const frame& g) {
          CHECK(number_in(g) == 2);
          CHECK(g.slot != slot);
        }) == 1);
  CHECK(nic->statistics().copied == 0);
  check_all_there(*nic);
}

TEST_CASE("a full transmit ring takes no more, says so, and goes on when the interface is up again") {
  const loopback there;
  if (!there) return;
  auto nic = af_xdp::open("lo", {.transmit_slots = 4});
  REQUIRE(nic);
  auto lo = device::network_interface::open("lo");
  REQUIRE(lo);
  REQUIRE(lo->set_up(false));
  packet p[6];
  for (std::uint32_t i = 0; i < 6; ++i) p[i] = numbered(nic->memory(), i);
  CHECK(nic->transmit(p, 6, {}) == 4);
  CHECK(p[4]);
  CHECK(p[5]);
  CHECK(nic->statistics().refused == 2);
  CHECK(nic->frames().transmitting == 4);
  check_all_there(*nic, 2);
  CHECK(nic->transmit(p + 4, 2, {}) == 0);
  CHECK_FALSE(nic->done());
  REQUIRE(lo->set_up(true));
  std::uint32_t next = 0;
  const auto in_order = [&](const frame& f) { CHECK(number_in(f) == next++); };
  CHECK(take(*nic, 4, in_order) == 4);
  CHECK(nic->transmit(p + 4, 2, {}) == 2);
  CHECK(take(*nic, 2, in_order) == 2);
  CHECK(take(*nic, 1) == 0);
  CHECK(nic->frames().transmitting == 0);
  check_all_there(*nic);
}

TEST_CASE("a consumer that is too slow: the kernel counts what it drops, and no slot is lost") {
  const loopback there;
  if (!there) return;
  auto nic = af_xdp::open("lo", {.receive_slots = 16, .packets = 128});
  REQUIRE(nic);
  for (std::uint32_t i = 0; i < 50; ++i) {
    packet p = numbered(nic->memory(), i);
    REQUIRE(nic->transmit(&p, 1, {}) == 1);
  }
  check_all_there(*nic);
  std::uint32_t next = 0;
  CHECK(take(*nic, 50, [&](const frame& f) { CHECK(number_in(f) == next++); }) == 16);
  CHECK(nic->statistics().kernel_no_slot == 34);
  CHECK(nic->statistics().received == 16);
  CHECK(nic->frames().receiving == 16);
  check_all_there(*nic);

  // One that keeps everything: the pool is empty then.
  static frame held[200];
  std::size_t n = 0;
  for (std::uint32_t i = 0; i < 300; ++i) {
    if (nic->memory().available() != 0) {
      packet p = numbered(nic->memory(), i);
      (void)nic->transmit(&p, 1, {});
    }
    n += nic->receive(1, {}, into_array(held + n));
    REQUIRE(n < 200);
  }
  check_all_there(*nic, static_cast<std::uint32_t>(n));
  CHECK(nic->frames().free == 0);
  CHECK_FALSE(nic->lacks_memory());  // the kernel has some still
  const std::byte another[60]{};
  REQUIRE(runnel::test::raw_socket("lo").send({another, sizeof another}));
  for (int i = 0; i < 1000 && !nic->lacks_memory(); ++i) n += nic->receive(1, {}, into_array(held + n)), ::usleep(1000);
  CHECK(nic->lacks_memory());
  CHECK(nic->frames().receiving == 15);
  nic->memory().release(held, n);
  CHECK_FALSE(nic->lacks_memory());
  CHECK(nic->receive(1, {}, into_array(held)) == 0);
  CHECK(nic->frames().receiving == 16);
  packet again = numbered(nic->memory(), 7);
  REQUIRE(nic->transmit(&again, 1, {}) == 1);
  CHECK(take(*nic, 1) == 1);
  check_all_there(*nic);
}

TEST_CASE("packets longer than a slot are dropped and counted by the kernel") {
  const loopback there;
  if (!there) return;
  static_pool<pool_config{.packets = 64, .bytes = 1984, .headroom = 128, .bare = 4}> memory;
  auto nic = af_xdp::open("lo", {.memory = &memory.get()});
  REQUIRE(nic);
  auto lo = device::network_interface::open("lo");
  REQUIRE(lo);
  REQUIRE(lo->set_mtu(3000));  // after it was opened, which would be an error now
  {
    packet p = numbered(nic->memory(), 1, 1856), q = numbered(nic->memory(), 2, 1857);
    CHECK(nic->transmit(&p, 1, {}) == 1);
    CHECK(nic->transmit(&q, 1, {}) == 1);
  }
  CHECK(take(*nic, 2, [](const frame& f) { CHECK(f.length == 1856); }) == 1);
  CHECK(nic->statistics().kernel_dropped == 1);
  check_all_there(*nic);
}

TEST_CASE("jumbo frames and small ones are received as they were sent, byte for byte and in order") {
  // Up to the longest that there can be.
  for (const std::uint32_t mtu : {9000u, 65261u}) {
    const loopback there(mtu);
    if (!there) return;
    auto nic = af_xdp::open("lo", {.packets = 256});
    if (!nic) FAIL(doctest::String(nic.error().message()));
    check_all_there(*nic);
    const std::uint32_t longest = mtu + 14, lengths[] = {60,   3840,        3841,    longest, 4096, 4097, 61,
                                                         8192, longest - 1, longest, longest, 60,   8193, 7000};
    packet p[14];
    std::uint64_t sum = 0, jumbo = 0;
    for (std::uint32_t i = 0; i < 14; ++i) {
      p[i] = numbered(nic->memory(), i, lengths[i]);
      for (std::uint32_t at = 14; at < lengths[i]; ++at) p[i].writable()[at] = std::byte((at * 7 / 5 + i) & 0xff);
      sum += lengths[i];
      jumbo += lengths[i] > 3840;
    }
    CHECK(nic->transmit(p, 14, {}) == 14);
    std::uint32_t next = 0;
    CHECK(take(*nic, 14, [&](const frame& f) {
            REQUIRE(f.length == lengths[next]);
            CHECK(f.headroom == 256);
            CHECK(f.length + f.headroom + f.tailroom <= nic->memory().slot_stride());
            bool same = true;
            for (std::uint32_t at = 14; at < f.length; ++at)
              same &= load_u8(f.data + at) == ((at * 7 / 5 + next) & 0xff);
            CHECK(same);
            ++next;
          }) == 14);
    CHECK(take(*nic, 1) == 0);
    CHECK(nic->frames().transmitting == 0);
    check_all_there(*nic);
    const auto counted = nic->statistics();
    CHECK(counted.received == 14);
    CHECK(counted.gathered == jumbo);
    CHECK(counted.transmitted == 14);
    CHECK(counted.received_bytes == sum);
    CHECK(counted.transmitted_bytes == sum);
    CHECK(counted.lost + counted.copied + counted.refused + counted.too_long == 0);
    CHECK(counted.kernel_dropped + counted.kernel_ring_full + counted.kernel_no_slot + counted.kernel_invalid == 0);
    text<512> line;
    print(line, counted);
    CHECK(std::strstr(line.c_str(), " gathered from pieces") != nullptr);
  }
}

TEST_CASE("a jumbo frame goes back as it came, in one slot, and one at a time when there is room for one") {
  const loopback there(9000);
  if (!there) return;
  auto nic = af_xdp::open("lo", {.packets = 64});
  REQUIRE(nic);
  for (std::uint32_t i = 0; i < 3; ++i) {
    packet p = numbered(nic->memory(), i, 9014);
    REQUIRE(nic->transmit(&p, 1, {}) == 1);
  }
  for (std::uint32_t expected : {0u, 1u, 2u, 100u, 101u, 102u}) {
    frame f;
    std::size_t n = 0;
    for (int i = 0; i < 1000 && n == 0; ++i) {
      n = nic->receive(1, {}, into_array(&f));
      if (n == 0) ::usleep(1000);
    }
    REQUIRE(n == 1);
    CHECK(f.length == 9014);
    CHECK(number_in(f) == expected);
    CHECK(nic->frames().out == 1);
    store_be32(f.data + f.length - 4, expected + 100);
    if (expected < 100) REQUIRE(nic->transmit(&f, 1, {}) == 1);
    else nic->memory().release(&f, 1);
  }
  CHECK(take(*nic, 1) == 0);
  CHECK(nic->statistics().copied == 0);
  check_all_there(*nic);
}

TEST_CASE("a jumbo frame waits until the transmit ring has room for all of it") {
  const loopback there(9000);
  if (!there) return;
  auto nic = af_xdp::open("lo", {.transmit_slots = 4, .packets = 64});
  REQUIRE(nic);
  auto lo = device::network_interface::open("lo");
  REQUIRE(lo);
  REQUIRE(lo->set_up(false));
  packet p[4];
  for (std::uint32_t i = 0; i < 4; ++i) p[i] = numbered(nic->memory(), i, i == 0 || i == 2 ? 9014 : 64);
  CHECK(nic->transmit(p, 4, {}) == 2);
  CHECK(p[2].length() == 9014);
  CHECK(nic->statistics().refused == 2);
  CHECK(nic->frames().transmitting == 2);
  check_all_there(*nic, 2);
  REQUIRE(lo->set_up(true));
  std::uint32_t next = 0;
  const auto in_order = [&](const frame& f) { CHECK(number_in(f) == next++); };
  CHECK(take(*nic, 2, in_order) == 2);
  CHECK(nic->transmit(p + 2, 2, {}) == 2);
  CHECK(take(*nic, 2, in_order) == 2);
  check_all_there(*nic);
}

TEST_CASE("rings that are asked to be smaller than one jumbo frame are as large as one") {
  const loopback there(9000);
  if (!there) return;
  auto nic = af_xdp::open("lo", {.receive_slots = 1, .transmit_slots = 1, .packets = 64});
  REQUIRE(nic);
  CHECK(nic->frames().receiving == 3);
  for (std::uint32_t i = 0; i < 3; ++i) {
    packet p = numbered(nic->memory(), i, 9014);
    CHECK(nic->transmit(&p, 1, {}) == 1);
    CHECK(take(*nic, 1, [&](const frame& f) { CHECK(number_in(f) == i); }) == 1);
    CHECK(nic->receive(1, {}, [](const frame&) {}) == 0);  // lets the kernel have the slots again
  }
  check_all_there(*nic);
}

TEST_CASE("a jumbo frame with more pieces than slots are free is dropped and counted, all of it") {
  const loopback there(9000);
  if (!there) return;
  auto nic = af_xdp::open("lo", {.receive_slots = 4, .packets = 64});
  REQUIRE(nic);
  packet p[3];
  for (std::uint32_t i = 0; i < 3; ++i) p[i] = numbered(nic->memory(), i, i < 2 ? 9014 : 60);
  CHECK(nic->transmit(p, 3, {}) == 3);
  std::uint32_t seen = 0;
  CHECK(take(*nic, 2, [&](const frame& f) { seen = seen * 10 + number_in(f) + 1; }) == 2);
  CHECK(seen == 13);
  const auto counted = nic->statistics();
  CHECK(counted.kernel_dropped == 1);
  CHECK(counted.kernel_no_slot == 0);
  text<512> line;
  print(line, counted);
  CHECK(std::strstr(line.c_str(), "1 dropped by the kernel (too long for a slot, or fewer slots free than pieces)") !=
        nullptr);
  check_all_there(*nic);
}

TEST_CASE("a frame that is longer than a slot, for which the MTU was raised, is dropped and counted") {
  const loopback there(9000);
  if (!there) return;
  auto nic = af_xdp::open("lo", {.packets = 64});
  REQUIRE(nic);
  auto lo = device::network_interface::open("lo");
  REQUIRE(lo);
  REQUIRE(lo->set_mtu(20000));
  runnel::test::raw_socket wire("lo");
  std::vector<std::byte> frame_bytes(19000);
  store_be16(frame_bytes.data() + 12, 0x88b5);
  REQUIRE(wire.send({frame_bytes.data(), 15000}));
  REQUIRE(wire.send({frame_bytes.data(), 60}));
  REQUIRE(wire.send({frame_bytes.data(), 19000}));
  REQUIRE(wire.send({frame_bytes.data(), 9014}));
  std::uint32_t lengths = 0;
  CHECK(take(*nic, 3, [&](const frame& f) { lengths += f.length; }) == 2);
  CHECK(lengths == 9074);
  CHECK(nic->statistics().too_long == 2);
  CHECK(nic->statistics().received == 2);
  check_all_there(*nic);
}

TEST_CASE("what a rule asks of a jumbo frame is asked of all of it") {
  const loopback there(9000);
  if (!there) return;
  auto nic = af_xdp::open("lo", {.take = meta::length > 8000 && udp::dport == 7, .packets = 64});
  if (!nic) FAIL(doctest::String(nic.error().message()));
  for (const std::uint32_t length : {7000u, 9014u, 8000u, 8001u}) {
    packet p = numbered(nic->memory(), length, length);
    std::byte* at = p.writable().data();
    store_be16(at + 12, 0x0800);
    store_be32(at + 14, 0x45000000 | (length - 14));
    store_be16(at + 22, 0x4011);
    store_be16(at + 36, 7);
    store_be16(at + 38, static_cast<std::uint16_t>(length - 34));
    REQUIRE(nic->transmit(&p, 1, {}) == 1);
  }
  std::uint32_t sum = 0;
  CHECK(take(*nic, 3, [&](const frame& f) { sum += f.length; }) == 2);
  CHECK(sum == 9014 + 8001);
  check_all_there(*nic);
}

TEST_CASE("a pool of the caller's has all its slots again when the device is closed") {
  const loopback there;
  if (!there) return;
  static_pool<pool_config{.packets = 64, .bytes = 1984, .headroom = 128, .bare = 4}> memory;
  {
    auto nic = af_xdp::open("lo", {.memory = &memory.get()});
    REQUIRE(nic);
    CHECK(&nic->memory() == &memory.get());
    packet p[8];
    for (std::uint32_t i = 0; i < 8; ++i) p[i] = numbered(memory, i);
    REQUIRE(nic->transmit(p, 8, {}) == 8);
    af_xdp moved(static_cast<af_xdp&&>(*nic));
    CHECK(take(moved, 3) == 3);
    CHECK(memory->available() < 64);
  }
  CHECK(memory->available() == 64);
}

TEST_CASE("a device can be opened again at once after it was closed") {
  const loopback there;
  if (!there) return;
  const int files = open_files();
  for (int i = 0; i < 20; ++i) {
    auto nic = af_xdp::open("lo", {.packets = 64});
    if (!nic) FAIL(doctest::String(nic.error().message()));
    packet p = numbered(nic->memory(), 1);
    REQUIRE(nic->transmit(&p, 1, {}) == 1);
    CHECK(take(*nic, 1) == 1);
  }
  CHECK(open_files() == files);
}

TEST_CASE("a second device on the same interface is an error that says what is there") {
  const loopback there;
  if (!there) return;
  auto nic = af_xdp::open("lo");
  REQUIRE(nic);
  const auto second = af_xdp::open("lo");
  REQUIRE_FALSE(second);
  CHECK(second.error().number() == EBUSY);
  CHECK(same_text(second.error().message(),
                  "af_xdp: bind lo queue 0: Device or resource busy: another socket owns this queue: end that program, "
                  "or choose other queues"));
}

TEST_CASE("an interface that is deleted while the device runs: it is done, says why, and has all slots again") {
  const loopback there;
  if (!there) return;
  auto tap = device::tap::open("tap7", {});
  if (!tap) {
    MESSAGE("skipped: ", doctest::String(tap.error().message()));
    return;
  }
  auto found = device::network_interface::open("tap7");
  REQUIRE(found);
  REQUIRE(found->set_up(true));
  static_pool<pool_config{.packets = 64, .bytes = 1984, .headroom = 128, .bare = 4}> memory;
  auto nic = af_xdp::open("tap7", {.memory = &memory.get()});
  if (!nic) FAIL(doctest::String(nic.error().message()));
  packet p[4];
  for (std::uint32_t i = 0; i < 4; ++i) p[i] = numbered(nic->memory(), i);
  REQUIRE(nic->transmit(p, 3, {}) == 3);
  CHECK(nic->wait_handle() >= 0);
  const int files = open_files();
  { const device::tap gone(static_cast<device::tap&&>(*tap)); }
  CHECK(open_files() < files);
  CHECK(take(*nic, 1) == 0);
  CHECK(nic->done());
  REQUIRE(nic->failure() != nullptr);
  CHECK(same_text(
      nic->failure()->message(),
      "af_xdp: receive from tap7: Network is down: the interface was deleted: open it again when it is back"));
  CHECK(nic->wait_handle() == -1);
  CHECK(nic->next_due() == never);
  CHECK(memory->available() == 63);
  CHECK(nic->transmit(p + 3, 1, {}) == 1);
  CHECK(nic->lost() == 1);
  CHECK(nic->frames().free == 64);
  CHECK(nic->statistics().transmitted == 3);
}

TEST_CASE("a device whose interface was renamed sees all the same that its program was replaced") {
  const loopback there;
  if (!there) return;
  auto nic = af_xdp::open("lo", {.packets = 64});
  REQUIRE(nic);
  auto lo = device::network_interface::open("lo");
  REQUIRE((lo && lo->set_up(false)));
  REQUIRE(runnel::test::rename_interface("lo", "wan0"));
  auto wan0 = device::network_interface::open("wan0");
  REQUIRE((wan0 && wan0->set_up(true)));
  const auto other = device::af_xdp_handles::open("wan0", {.replace = true});
  if (!other) FAIL(doctest::String(other.error().message()));
  frame f;
  for (int i = 0; i < 3; ++i) CHECK(nic->receive(1, instant{} + seconds(i), into_array(&f)) == 0);
  REQUIRE(nic->done());
  CHECK(std::strstr(nic->failure()->message(), "another program has detached ours") != nullptr);
}

TEST_CASE("a process that is killed leaves nothing attached, and the queue free") {
  const loopback there;
  if (!there) return;
  int ready[2];
  REQUIRE(::pipe(ready) == 0);
  const ::pid_t child = ::fork();
  if (child == 0) {
    const auto nic = af_xdp::open("lo");
    const char good = nic ? 'y' : 'n';
    if (::write(ready[1], &good, 1) == 1) ::pause();
    ::_exit(1);
  }
  char good = 0;
  CHECK(::read(ready[0], &good, 1) == 1);
  CHECK(good == 'y');
  CHECK(bpf::attached(1)->id != 0);
  ::kill(child, SIGKILL);
  CHECK(::waitpid(child, nullptr, 0) == child);
  CHECK(bpf::attached(1)->id == 0);
  CHECK(af_xdp::open("lo"));
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST_CASE("a process without privileges adopts what a privileged one has opened") {
  const loopback there;
  if (!there) return;
  CHECK(in_child([] {
          if (!become_nobody()) return 1;
          const auto nic = af_xdp::open("lo");
          return !nic && nic.error().number() == EPERM &&
                         same_text(nic.error().message(),
                                   "af_xdp: open a socket for lo: Operation not permitted: run as root, or with "
                                   "CAP_NET_RAW, CAP_NET_ADMIN, CAP_BPF, CAP_PERFMON")
                     ? 0
                     : 2;
        }) == 0);
  auto handles = device::af_xdp_handles::open("lo");
  REQUIRE(handles);
  CHECK(bpf::attached(1)->id != 0);
  CHECK(in_child([&handles] {
          if (!become_nobody()) return 1;
          auto nic = af_xdp::adopt(device::af_xdp_handles(handles->release()), {.packets = 256});
          if (!nic) return std::fprintf(stderr, "%s\n", nic.error().message()), 2;
          packet p = numbered(nic->memory(), 9);
          if (nic->transmit(&p, 1, {}) != 1) return 3;
          return take(*nic, 1) == 1 ? 0 : 4;
        }) == 0);
}

TEST_CASE("a process without privileges adopts a device with jumbo frames") {
  const loopback there(9000);
  if (!there) return;
  auto handles = device::af_xdp_handles::open("lo");
  REQUIRE(handles);
  CHECK(in_child([&handles] {
          if (!become_nobody()) return 1;
          auto nic = af_xdp::adopt(device::af_xdp_handles(handles->release()), {.packets = 256});
          if (!nic) return std::fprintf(stderr, "%s\n", nic.error().message()), 2;
          packet p = numbered(nic->memory(), 9, 9014);
          if (nic->transmit(&p, 1, {}) != 1) return 3;
          return take(*nic, 1) == 1 && nic->statistics().gathered == 1 ? 0 : 4;
        }) == 0);
}

TEST_CASE("too little locked memory is an error that says what to raise") {
  const loopback there;
  if (!there) return;
  auto handles = device::af_xdp_handles::open("lo");
  REQUIRE(handles);
  CHECK(in_child([&handles] {
          const ::rlimit little{65536, 65536};
          if (::setrlimit(RLIMIT_MEMLOCK, &little) != 0 || !become_nobody()) return 1;
          auto nic = af_xdp::adopt(device::af_xdp_handles(handles->release()));
          if (nic) return 2;
          const char* const said = nic.error().message();
          return std::strstr(said, "af_xdp: share memory with the kernel for lo: its ") == said &&
                         std::strstr(said,
                                     " KiB exceed the limit of locked memory, 64 KiB: raise it (ulimit -l), "
                                     "give CAP_IPC_LOCK, or ask for fewer packets") != nullptr
                     ? 0
                     : 3;
        }) == 0);
}

TEST_CASE("what cannot be opened is an error that says what to do") {
  const loopback there;
  if (!there) return;
  const auto message = [](const char* name, const device::af_xdp_options& options = {}) {
    const auto nic = af_xdp::open(name, options);
    return nic ? error("", "", "", "it was opened") : nic.error();
  };
  auto lo = device::network_interface::open("lo");
  REQUIRE(lo);
  const int files = open_files();
  CHECK(std::strstr(message("eth-none").message(), "af_xdp: open eth-none: no such interface: there are lo") !=
        nullptr);
  CHECK(same_text(message("lo", {.queues = {0, 1}}).message(),
                  "af_xdp: open lo: the interface has 1 queue: choose among these, numbered from 0"));
  CHECK(same_text(message("lo", {.queues = {}}).message(), "af_xdp: open lo: no queue was chosen: .queues = {0}"));
  CHECK(std::strstr(message("lo", {.attach = bpf::xdp_mode::native}).message(), "mode generic") != nullptr);
  CHECK(std::strstr(message("lo", {.mode = device::copy_mode::zero_copy}).message(),
                    "the driver or its settings have no zero-copy: .mode = copy") != nullptr);
  static_pool<pool_config{.packets = 8, .bytes = 512, .headroom = 128, .bare = 1}> tiny;
  CHECK(std::strstr(message("lo", {.memory = &tiny.get()}).message(), "do not fit a slot") != nullptr);
  static_pool<pool_config{.packets = 1, .bytes = 1984, .headroom = 128, .bare = 1}> single;
  CHECK(std::strstr(message("lo", {.memory = &single.get()}).message(), "too few slots") != nullptr);
  REQUIRE(lo->set_mtu(65262));
  CHECK(same_text(message("lo").message(),
                  "af_xdp: open lo: packets of its MTU, 65262, do not fit a slot: ip link set dev lo mtu 65261"));
  REQUIRE(lo->set_mtu(9000));
  static_pool<pool_config{.packets = 8, .bytes = 1984, .headroom = 128, .bare = 1}> ordinary;
  CHECK(same_text(message("lo", {.memory = &ordinary.get()}).message(),
                  "af_xdp: open lo: packets of its MTU, 9000, do not fit a slot: ip link set dev lo mtu 1838, or a "
                  "pool with larger .bytes"));
  CHECK(same_text(message("lo", {.packets = 5}).message(),
                  "af_xdp: open lo: the pool has too few slots: 6 for each queue, and more"));
  REQUIRE(lo->set_mtu(3822));
  CHECK(af_xdp::open("lo"));
  CHECK(bpf::attached(1)->id == 0);
  CHECK(open_files() == files);
}

TEST_CASE("where one call sends a number of pieces that may end within a frame, the frame goes on with the next call") {
  const loopback there(9000);
  if (!there) return;
  check_in(older_kernel::linux_6_17, [] {
    auto nic = af_xdp::open("lo", {.packets = 512});
    if (!nic) return 1;
    packet p[40];
    for (std::uint32_t i = 0; i < 40; ++i) p[i] = numbered(nic->memory(), i, 9014);
    if (nic->transmit(p, 40, {}) != 40) return 2;
    std::uint32_t next = 0;
    const auto in_order = [&next](const frame& f) { next += f.length == 9014 && number_in(f) == next; };
    if (take(*nic, 40, in_order) != 40 || next != 40) return 3;
    if (nic->statistics().system_calls < 4) return 4;
    return nic->frames().transmitting == 0 ? 0 : 5;
  });
}

TEST_CASE("where Linux is too old for jumbo frames, that is an error that says what to do; all else is as it was") {
  const loopback there(9000);
  if (!there) return;
  constexpr const char* why =
      "af_xdp: open lo: packets of its MTU, 9000, do not fit a page: ip link set dev lo mtu 3822, or Linux 6.6";
  const auto is_too_old = [] { return is_refused(af_xdp::open("lo", {.packets = 64}), why) ? 0 : 1; };
  check_in(older_kernel::linux_6_5, is_too_old);
  check_in(older_kernel::linux_5_17, is_too_old);
  // Also before anything is attached, which would drop what it takes; and when the MTU was raised behind that.
  check_in(older_kernel::linux_6_5, [] {
    const auto handles = device::af_xdp_handles::open("lo");
    if (handles || !same_text(handles.error().message(), why)) return 1;
    return bpf::attached(1)->id == 0 ? 0 : 2;
  });
  check_in(older_kernel::linux_6_5, [] {
    auto lo = device::network_interface::open("lo");
    if (!lo || !lo->set_mtu(1500)) return 1;
    auto handles = device::af_xdp_handles::open("lo");
    if (!handles || !lo->set_mtu(9000)) return 2;
    return is_refused(af_xdp::adopt(static_cast<device::af_xdp_handles&&>(*handles), {.packets = 64}), why) ? 0 : 3;
  });
  auto lo = device::network_interface::open("lo");
  REQUIRE(lo);
  REQUIRE(lo->set_mtu(3822));
  check_in(older_kernel::linux_5_17, [] {
    auto nic = af_xdp::open("lo", {.packets = 64});
    if (!nic) return 1;
    packet p = numbered(nic->memory(), 9, 3836);
    if (nic->transmit(&p, 1, {}) != 1) return 2;
    return take(*nic, 1) == 1 ? 0 : 3;
  });
  // Slots that are longer than a page, which another device may need, are in order: not all of them is used.
  check_in(older_kernel::linux_5_17, [] {
    static static_pool<pool_config{.packets = 64, .bytes = 9146, .headroom = 128, .bare = 4}> memory;
    auto nic = af_xdp::open("lo", {.memory = &memory.get()});
    if (!nic) return std::fprintf(stderr, "%s\n", nic.error().message()), 1;
    packet p = numbered(memory, 9, 3836), q = numbered(memory, 9, 4097);
    if (nic->transmit(&p, 1, {}) != 1) return 2;
    if (nic->transmit(&q, 1, {}) != 1 || nic->lost() != 1) return 3;
    return take(*nic, 1,
                [](const frame& f) {
                  if (f.tailroom != 4) ::_exit(4);
                }) == 1
               ? 0
               : 5;
  });
}

TEST_CASE("what is refused for jumbo frames, and not for the kernel's age, says what it is refused for") {
  const loopback there(9000);
  if (!there) return;
  check_in(older_kernel::driver_refuses_zero_copy, [] {
    return is_refused(af_xdp::open("lo", {.mode = device::copy_mode::zero_copy, .packets = 64}),
                      "af_xdp: bind lo queue 0: Invalid argument: the driver or its settings have no zero-copy: "
                      ".mode = copy")
               ? 0
               : 1;
  });
  check_in(older_kernel::refuses_programs, [] {
    return is_refused(af_xdp::open("lo", {.packets = 64}), "bpf: load program runnel_af_xdp: Invalid argument") ? 0 : 1;
  });
  // Its memory may be shared, but for jumbo frames.
  check_in(older_kernel::driver_without_pieces, [] {
    static static_pool<pool_config{.packets = 64, .bytes = 9146, .headroom = 128, .bare = 4}> memory;
    auto lo = device::network_interface::open("lo");
    if (!lo || !lo->set_mtu(1500)) return 1;
    auto first = af_xdp::open("lo", {.memory = &memory.get()});
    if (!first) return 2;
    auto tap = device::tap::open("tap7", {.mtu = 9000});
    if (!tap) return 77;
    auto port = device::network_interface::open("tap7");
    if (!port || !port->set_up(true)) return 3;
    if (!is_refused(af_xdp::open("tap7", {.share = &*first}),
                    "af_xdp: share memory for tap7: the other device's driver has no jumbo frames without copying: "
                    "open that one with .mode = copy"))
      return 4;
    return port->set_mtu(1500) && af_xdp::open("tap7", {.receive_slots = 16, .share = &*first}) ? 0 : 5;
  });
}

TEST_CASE("native where the driver takes it, whatever the MTU; before Linux 6.6 what its own buffers hold") {
  const runnel::test::wire there;
  if (!there) return;
  const auto arrives = [](std::uint32_t mtu, const char* mode) {
    for (const char* end : {"eth0", "eth1"}) {
      auto found = device::network_interface::open(end);
      if (!found || !found->set_mtu(mtu)) return 1;
    }
    auto nic = af_xdp::open("eth0", {.packets = 64});
    if (!nic) return std::fprintf(stderr, "MTU %u: %s\n", mtu, nic.error().message()), 2;
    if (!same_text(name(nic->mode()), mode)) return std::fprintf(stderr, "MTU %u: %s\n", mtu, name(nic->mode())), 3;
    runnel::test::raw_socket peer("eth1");
    const auto whole = runnel::test::datagram(7, mtu + 14);
    if (!peer.send({whole.data(), whole.size()})) return 4;
    bool same = false;
    if (take(*nic, 1, [&](const frame& f) {
          same = f.length == whole.size() && std::memcmp(f.data, whole.data(), whole.size()) == 0;
        }) != 1)
      return 5;
    return same ? 0 : 6;
  };
  for (const std::uint32_t mtu : {3046u, 3047u, 3500u, 3520u, 3600u, 3822u, 3823u, 9000u})
    CHECK(arrives(mtu, "native, copy") == 0);
  check_in(older_kernel::linux_6_5, [&] { return arrives(3500, "native, copy"); });
  check_in(older_kernel::linux_6_5, [&] { return arrives(3600, "generic, copy"); });
}

TEST_CASE("a device with jumbo frames shares memory if its slots are long enough, also with one that has none") {
  const loopback there;
  if (!there) return;
  auto tap = device::tap::open("tap7", {.mtu = 9000});
  if (!tap) {
    MESSAGE("skipped: ", doctest::String(tap.error().message()));
    return;
  }
  auto port = device::network_interface::open("tap7");
  REQUIRE(port);
  REQUIRE(port->set_up(true));
  {
    auto ordinary = af_xdp::open("lo", {.packets = 64});
    REQUIRE(ordinary);
    const auto refused = af_xdp::open("tap7", {.share = &*ordinary});
    REQUIRE_FALSE(refused);
    CHECK(same_text(refused.error().message(),
                    "af_xdp: open tap7: packets of its MTU, 9000, do not fit a slot: ip link set dev tap7 mtu 1838, or "
                    "a pool with larger .bytes"));
  }
  static static_pool<pool_config{.packets = 128, .bytes = 9146, .headroom = 128, .bare = 4}> memory;
  {
    auto first = af_xdp::open("lo", {.memory = &memory.get()});
    if (!first) FAIL(doctest::String(first.error().message()));
    auto second = af_xdp::open("tap7", {.receive_slots = 16, .share = &*first});
    if (!second) FAIL(doctest::String(second.error().message()));
    // A jumbo frame from the one, sent by the other.
    std::vector<std::byte> long_frame(9014);
    store_be16(long_frame.data() + 12, 0x88b5);
    store_be32(long_frame.data() + 9010, 77);
    packet p = memory->allocate();
    REQUIRE(p.append({long_frame.data(), long_frame.size()}));
    REQUIRE(second->transmit(&p, 1, {}) == 1);
    int arrived = 0;  // beside what the kernel says by itself
    frame of_tap;
    while (tap->receive(1, {}, into_array(&of_tap)) == 1) {
      arrived += std::vector<std::byte>(of_tap.data, of_tap.data + of_tap.length) == long_frame;
      tap->memory().release(&of_tap, 1);
    }
    CHECK(arrived == 1);
    CHECK(second->receive(1, {}, [](const frame&) {}) == 0);
    CHECK(second->frames().transmitting == 0);
    CHECK(second->frames().receiving == 16);
    CHECK(first->frames().out == 16);
    CHECK(first->frames().free + first->frames().receiving + 16 == 128);
    // What is longer than the MTU that it was opened with neither goes out by the first one nor comes.
    auto lo = device::network_interface::open("lo");
    REQUIRE(lo->set_mtu(9000));
    packet q = numbered(memory, 5, 9014);
    CHECK(first->transmit(&q, 1, {}) == 1);
    CHECK(first->lost() == 1);
    runnel::test::raw_socket wire_of_lo("lo");
    REQUIRE(wire_of_lo.send({long_frame.data(), long_frame.size()}));
    q = numbered(memory, 6);
    CHECK(first->transmit(&q, 1, {}) == 1);
    CHECK(take(*first, 1, [](const frame& f) { CHECK(number_in(f) == 6); }) == 1);
    CHECK(first->statistics().too_long == 1);
  }
  CHECK(memory->available() == 128);
}

namespace {

// A frame that came by this queue, to be sent: goes out by the queue of that number, and arrives by the same number at
// the other end of a wire.
void send_by(af_xdp& nic, std::uint8_t queue, std::uint32_t number) {
  frame f = numbered(nic.memory(), number).detach();
  f.queue = queue;
  REQUIRE(nic.transmit(&f, 1, {}) == 1);
}
// By which queues they came: the number of each.
std::vector<std::pair<unsigned, std::uint32_t>> arrivals(af_xdp& nic, std::size_t n) {
  std::vector<std::pair<unsigned, std::uint32_t>> all;
  take(nic, n, [&all](const frame& f) { all.emplace_back(f.queue, number_in(f)); });
  return all;
}
using arrived = std::vector<std::pair<unsigned, std::uint32_t>>;

}  // namespace

TEST_CASE("what came by a queue is sent by the queue with its number, whichever queues were chosen") {
  const runnel::test::wire there;
  if (!there) return;
  runnel::test::wire::set_queues(4);
  auto far = af_xdp::open("eth1", {.packets = 128});
  if (!runnel::test::is_here(far)) return;
  auto near = af_xdp::open("eth0", {.queues = {0, 2}, .packets = 128});
  REQUIRE(near);
  send_by(*near, 0, 1);
  CHECK(arrivals(*far, 1) == arrived{{0, 1}});
  send_by(*near, 2, 2);
  CHECK(arrivals(*far, 1) == arrived{{2, 2}});
  af_xdp moved(static_cast<af_xdp&&>(*near));
  send_by(moved, 2, 3);
  CHECK(arrivals(*far, 1) == arrived{{2, 3}});
  send_by(moved, 1, 4);  // came by a queue that is not among them
  CHECK(arrivals(*far, 1).size() == 1);
}

namespace {

// A path holds packets for an interface that is down, in a loop that sleeps; `then` has it end.
template <class Then, class Check>
void hold_for_one_that_is_down(Then then, Check check) {
  const runnel::test::wire there;
  if (!there) return;
  auto nic = af_xdp::open("eth0", {.receive_slots = 32, .transmit_slots = 64, .packets = 512});
  if (!runnel::test::is_here(nic)) return;
  auto eth0 = device::network_interface::open("eth0");
  REQUIRE((eth0 && eth0->set_up(false)));
  mapped_pool memory = std::move(*mapped_pool::open({.packets = 512}));
  null_device source{memory, {.length = 60, .limit = 2000}};
  real_clock time;
  loop l{time, attach(source, [](packet&) {} | transmit<hold>(*nic))};
  std::atomic<bool> ended{false};
  std::thread other{[&] {
    l.run();
    ended = true;
  }};
  ::usleep(100'000);  // until it sleeps
  CHECK_FALSE(ended);
  then(*eth0);
  CHECK(runnel::test::eventually([&] { return ended.load(); }));
  l.stop();
  other.join();
  check(*nic);
}

}  // namespace

TEST_CASE("what a path holds for an interface that is down goes when it is up, where nothing else wakes the loop") {
  hold_for_one_that_is_down([](device::network_interface& eth0) { CHECK(eth0.set_up(true)); },
                            [](const af_xdp& nic) {
                              CHECK(nic.lost() == 0);
                              CHECK(nic.statistics().transmitted == 2000);
                            });
}

TEST_CASE("who only sends finds out that the interface was deleted, and is not held up by it") {
  hold_for_one_that_is_down([](device::network_interface&) { CHECK(std::system("ip link del eth0") == 0); },
                            [](af_xdp& nic) {
                              CHECK(nic.done());
                              CHECK(nic.lost() == 2000 - 64);
                            });
}

TEST_CASE("a device for each queue of an interface, each with a pool of its own") {
  const runnel::test::wire there;
  if (!there) return;
  runnel::test::wire::set_queues(2);
  auto far = af_xdp::open("eth1", {.packets = 128});
  if (!runnel::test::is_here(far)) return;
  const int index = device::network_interface::open("eth0")->index();
  const int files = open_files();
  {
    auto all = device::af_xdp_handles::open("eth0");
    REQUIRE(all);
    REQUIRE(all->get().count == 2);
    auto first = all->split(0), second = all->split(1);
    REQUIRE((first && second));
    auto b = af_xdp::adopt(std::move(*second), {.packets = 128});
    if (!b) FAIL(doctest::String(b.error().message()));
    {
      auto a = af_xdp::adopt(std::move(*first), {.packets = 128});
      if (!a) FAIL(doctest::String(a.error().message()));
      CHECK(&a->memory() != &b->memory());
      for (std::uint32_t i = 0; i < 8; ++i) send_by(*far, static_cast<std::uint8_t>(i % 2), i);
      CHECK(arrivals(*a, 4) == arrived{{0, 0}, {0, 2}, {0, 4}, {0, 6}});
      CHECK(arrivals(*b, 4) == arrived{{1, 1}, {1, 3}, {1, 5}, {1, 7}});
      packet p = numbered(b->memory(), 9);
      REQUIRE(b->transmit(&p, 1, {}) == 1);
      CHECK(arrivals(*far, 1) == arrived{{1, 9}});
    }
    // One is closed: the other goes on, and so does the program.
    send_by(*far, 1, 10);
    CHECK(arrivals(*b, 1) == arrived{{1, 10}});
    CHECK(b->failure() == nullptr);
    all->close();
    send_by(*far, 1, 11);
    CHECK(arrivals(*b, 1) == arrived{{1, 11}});
  }
  CHECK(bpf::attached(index)->id == 0);
  CHECK(open_files() == files);
}

#endif
