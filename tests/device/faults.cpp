// SPDX-License-Identifier: MIT
// What goes wrong with interfaces of the kernel, on each kind of device: eight faults, on a veth pair or a TAP of a
// namespace. Each is an error or a counter that says so in words, and behind it every slot, every place on a ring and
// every file descriptor is where it was before.
//
//                                   af_packet               af_xdp                      tap
//     no permission                 error                   error                       error
//     no such interface             error                   error                       error
//     MTU larger than the frame     error; `cut`            error; `kernel_dropped`     error; `too_long`
//     another number of queues      no matter: it has all   refused; `new_queues`       flows move to the others
//     deleted while it runs         `failure()`             `failure()`                 `failure()`
//     out of locked memory          error                   error                       error
//     a consumer that is too slow   `dropped`               `kernel_no_slot`            `dropped`
//     a full transmit ring          `refused`               `refused`                   `refused`
//
// What cannot be opened is in faults_at_open.cpp.
#include <doctest/doctest.h>

#include <runnel/device/clock.hpp>

#if defined(__linux__)

#include <cstdlib>
#include <string>
#include <vector>

#include <fcntl.h>

#include <device/faults.hpp>

using namespace runnel;
using namespace runnel::test;

// ---- while it runs: the MTU

TEST_CASE("af_packet: an MTU that is raised: longer packets come cut and counted, and go whole") {
  const wire there;
  if (!there) return;
  counted_pool memory(slots_of_2_kib);
  accounts before(memory);
  {
    auto nic = af_packet::open("eth0", for_af_packet(memory));
    if (!is_here(nic)) return;
    for (const char* name : {"eth0", "eth1"}) wire::set_mtu(name, 9000);
    raw_socket peer("eth1");
    for (int i = 0; i < 3; ++i) {
      send(peer, 5, 1, 6000);
      frame f;
      REQUIRE(receive_one(*nic, f));
      CHECK(f.length + f.missing == 6000);
      CHECK(f.missing != 0);
      memory->release(&f, 1);
    }
    CHECK(nic->statistics().cut == 3);
    says(nic->statistics(), "3 cut short");
    packet p = packet_of(memory, 5, 1900);
    for (int i = 0; i < 2; ++i) REQUIRE(p.append(packet_of(memory, 5, 1900)));
    CHECK(nic->transmit(&p, 1, instant{}) == 1);
    CHECK(peer.next().size() == 5700);
    CHECK(nic->lost() == 0);
    check_works(*nic, peer);
  }
  before.check();
}

TEST_CASE("af_packet: a packet that is too long for the other end of a veth does not stop those behind it for ever") {
  counted_pool memory{slots_of_2_kib};
  const wire there;
  if (!there) return;
  auto d = af_packet::open("eth0", for_af_packet(memory));
  if (!is_here(d)) return;
  raw_socket other_end("eth1");
  wire::set_mtu("eth1", 600);
  packet p[2] = {packet_of(memory, 1, 1000), packet_of(memory, 2)};
  // It might be the other end that has no room for a while. A clock that runs ahead, as a capture's does, says nothing.
  real_clock time;
  const auto wait = [](int ms) { ::usleep(static_cast<unsigned>(ms) * 1000); };
  const instant begin = time.now();
  for (; time.now() < begin + milliseconds(600); wait(50)) CHECK(d->transmit(p, 2, time.now() + seconds(3600)) == 0);
  CHECK(d->lost() == 0);
  wait(600);  // who does not ask again is not refused
  CHECK(d->transmit(p, 2, {}) == 0);
  std::size_t taken = 0;
  const instant again = time.now();
  for (; time.now() < again + seconds(20) && taken == 0; wait(50)) taken = d->transmit(p, 2, {});
  CHECK(taken == 2);
  CHECK(time.now() >= again + milliseconds(900));
  CHECK(d->lost() == 1);
  CHECK(d->statistics().invalid == 1);
  CHECK(other_end.next() == datagram(2));
  // The next one waits as long again.
  packet q = packet_of(memory, 3, 1000);
  CHECK(d->transmit(&q, 1, {}) == 0);
  wire::set_mtu("eth1", 1500);
  CHECK(d->transmit(&q, 1, {}) == 1);
  CHECK(other_end.next() == datagram(3, 1000));
  CHECK(d->lost() == 1);
}

TEST_CASE("af_xdp: an MTU that is raised: longer packets are dropped and counted, both ways") {
  const wire there;
  if (!there) return;
  counted_pool memory(slots_of_2_kib);
  accounts before(memory);
  {
    auto nic = af_xdp::open("eth0", for_af_xdp(memory));
    if (!is_here(nic)) return;
    for (const char* name : {"eth0", "eth1"}) wire::set_mtu(name, 3000);
    raw_socket peer("eth1");
    send(peer, 5, 3, 1857);
    send(peer, 5, 1, 1856);
    CHECK(take(*nic, 1) == 1);
    CHECK(nic->statistics().kernel_dropped == 3);
    says(nic->statistics(), "3 dropped by the kernel (too long for a slot, or fewer slots free than pieces)");
    packet p = packet_of(memory, 5, 1900);
    REQUIRE(p.append(packet_of(memory, 5, 1000)));
    CHECK(nic->transmit(&p, 1, instant{}) == 1);
    CHECK(nic->lost() == 1);
    check_works(*nic, peer);
  }
  before.check();
}

TEST_CASE("tap: an MTU that is raised: longer packets are lost and counted, and go whole") {
  const fresh_namespace here;
  if (!here) return;
  counted_pool memory(slots_of_2_kib);
  accounts before(memory);
  {
    auto nic = tap::open("tap0", for_tap(memory));
    REQUIRE(nic);
    wire::set_mtu("tap0", 9000);
    raw_socket peer("tap0");
    send(peer, 5, 3, 6000);
    CHECK(nothing_comes(*nic));
    while (nic->statistics().too_long != 3) REQUIRE(nothing_comes(*nic));
    says(nic->statistics(), "3 lost as too long");
    packet p = packet_of(memory, 5, 1900);
    for (int i = 0; i < 2; ++i) REQUIRE(p.append(packet_of(memory, 5, 1900)));
    CHECK(nic->transmit(&p, 1, instant{}) == 1);
    CHECK(peer.next().size() == 5700);
    check_works(*nic, peer);
  }
  before.check();
}

// ---- while it runs: another number of queues

// A packet socket is one of the interface, whatever queue a packet came by.
TEST_CASE("af_packet: another number of queues does not matter") {
  const wire there;
  if (!there) return;
  counted_pool memory(slots_of_2_kib);
  accounts before(memory);
  {
    auto nic = af_packet::open("eth0", for_af_packet(memory));
    if (!is_here(nic)) return;
    raw_socket peer("eth1");
    for (const unsigned queues : {4u, 1u, 3u}) {
      wire::set_queues(queues);
      for (std::uint16_t flow = 0; flow < 64; flow += 8) {
        send(peer, flow, 8);
        CHECK(take(*nic, 8) == 8);
      }
      check_works(*nic, peer);
    }
    CHECK(nic->statistics().arrived == nic->statistics().received);
  }
  before.check();
}

TEST_CASE("af_xdp: queues that it serves cannot be taken away; what comes by new ones is the kernel's, and counted") {
  const wire there;
  if (!there) return;
  counted_pool memory(slots_of_2_kib);
  accounts before(memory);
  wire::set_queues(4);
  {
    auto nic = af_xdp::open("eth0", for_af_xdp(memory));
    if (!is_here(nic)) return;
    CHECK(nic->queue_count() == 4);
    raw_socket peer("eth1");
    REQUIRE(wire::set_queues("eth1", 2) == 0);
    CHECK(wire::set_queues("eth0", 2) == EINVAL);
    wire::set_queues(4);
    send(peer, 1, 64);
    CHECK(take(*nic, 64) == 64);
    CHECK(nic->statistics().new_queues == 0);
    check_works(*nic, peer);
  }
  before.check();
  wire::set_queues(2);
  {
    auto nic = af_xdp::open("eth0", for_af_xdp(memory));
    REQUIRE(nic);
    raw_socket peer("eth1"), kernel("eth0");
    wire::set_queues(4);
    CHECK(nic->statistics().new_queues == 2);
    says(nic->statistics(), "2 new queues not served: open it again");
    send(peer, 1, 64);
    std::size_t ours = 0, of_kernel = 0;
    for (int i = 0; i < 5 && ours + of_kernel < 64; ++i) {
      ours += take_all(*nic);
      while (ours + of_kernel < 64 && !kernel.next().empty()) ++of_kernel;
    }
    CHECK(ours != 0);
    CHECK(of_kernel != 0);
    CHECK(ours + of_kernel == 64);
    wire::set_queues(2);
    CHECK(nic->statistics().new_queues == 0);
    check_works(*nic, peer);
  }
  before.check();
}

// A TAP has as many queues as there are devices on it; nobody else can set their number.
TEST_CASE("tap: flows of a queue that is closed come by those that are left, and by new ones") {
  const fresh_namespace here;
  if (!here) return;
  counted_pool memory(slots_of_2_kib);
  accounts before(memory);
  {
    auto options = for_tap(memory);
    options.multi_queue = true;
    auto nic = tap::open("tap0", options);
    REQUIRE(nic);
    const int refused = wire::set_queues("tap0", 2);
    CHECK((refused == EOPNOTSUPP || refused == ENOSYS));  // the latter in an emulator
    raw_socket peer("tap0");
    for (int round = 0; round < 3; ++round) {
      accounts without(memory);
      {
        auto other = tap::open("tap0", options);
        REQUIRE(other);
        send(peer, 1, 64);
        const std::size_t of_nic = take_all(*nic), of_other = take_all(*other);
        CHECK(of_nic != 0);
        CHECK(of_other != 0);
        CHECK(of_nic + of_other == 64);
      }
      without.check();
      send(peer, 1, 64);
      CHECK(take(*nic, 64) == 64);
      check_works(*nic, peer);
    }
  }
  before.check();
}

// ---- while it runs: deleted

TEST_CASE("af_packet: deleted while packets are out") {
  const wire there;
  if (!there) return;
  counted_pool memory(slots_of_2_kib);
  accounts before(memory);
  {
    auto nic = af_packet::open("eth0", for_af_packet(memory));
    if (!is_here(nic)) return;
    {
      raw_socket peer("eth1");
      send(peer, 1, 3);
    }
    CHECK(eventually([&] { return nic->statistics().arrived == 3; }));
    frame held[2];
    REQUIRE(receive_one(*nic, held[0]));
    packet kept = memory->attach(held[0]);
    REQUIRE(std::system("ip link del eth0") == 0);
    packet p = packet_of(memory, 1);
    CHECK(nic->transmit(&p, 1, instant{}) == 1);  // a write notices it at once
    CHECK(nic->statistics().while_down == 1);
    check_is_gone(*nic, "af_packet: use eth0: the interface was deleted: open it again when it is there again");
    kept.reset();
    // What had come before is there still.
    CHECK(nic->receive(2, instant{}, into_array(held)) == 2);
    memory->release(held, 2);
    CHECK(nothing_comes(*nic));
    CHECK(rings_are_clear(*nic));
    memory.check_all_home();
  }
  before.check();
}

TEST_CASE("af_xdp: deleted while packets are out, and on the transmit ring") {
  const wire there;
  if (!there) return;
  counted_pool memory(slots_of_2_kib);
  accounts before(memory);
  {
    auto nic = af_xdp::open("eth0", for_af_xdp(memory));
    if (!is_here(nic)) return;
    {
      raw_socket peer("eth1");
      send(peer, 1, 3);
    }
    frame held;
    REQUIRE(receive_one(*nic, held));
    REQUIRE(device::network_interface::open("eth0")->set_up(false));
    packet p[4];
    for (packet& one : p) one = packet_of(memory, 1);
    CHECK(nic->transmit(p, 4, instant{}) == 4);
    CHECK(nic->frames().transmitting == 4);
    REQUIRE(std::system("ip link del eth0") == 0);
    (void)take(*nic, 8);
    check_is_gone(*nic,
                  "af_xdp: receive from eth0: Network is down: the interface was deleted: open it again when it is "
                  "back");
    CHECK(nic->next_due() == never);
    CHECK(nic->frames().out == 1);
    CHECK(nic->frames().free + 1 == nic->frames().total);
    memory->release(&held, 1);
    memory.check_all_home();
  }
  before.check();
}

TEST_CASE("tap: deleted while packets are out") {
  const fresh_namespace here;
  if (!here) return;
  counted_pool memory(slots_of_2_kib);
  accounts before(memory);
  {
    auto nic = tap::open("tap0", for_tap(memory));
    REQUIRE(nic);
    {
      raw_socket peer("tap0");
      send(peer, 1, 3);
    }
    frame held;
    REQUIRE(receive_one(*nic, held));
    REQUIRE(std::system("ip link del tap0") == 0);
    CHECK(take(*nic, 8) == 0);
    check_is_gone(*nic, "tap: use tap0: the interface was deleted: open it again");
    CHECK(memory->available() + 1 == memory->capacity());
    memory->release(&held, 1);
  }
  before.check();
}

// ---- while it runs: too slow, and too fast

TEST_CASE("af_packet: a consumer that is too slow") {
  const wire there;
  if (!there) return;
  counted_pool memory(slots_of_2_kib);
  accounts before(memory);
  {
    auto nic = af_packet::open("eth0", for_af_packet(memory));
    if (!is_here(nic)) return;
    raw_socket peer("eth1");
    send(peer, 1, 2000);
    CHECK(eventually([&] { return nic->statistics().arrived == 2000; }));
    const std::size_t got = take_all(*nic);
    const auto s = nic->statistics();
    CHECK(s.dropped != 0);
    CHECK(s.received == got);
    CHECK(s.received + s.dropped == 2000);
    says(s, " dropped by a full receive ring");
    check_works(*nic, peer);
  }
  before.check();
}

TEST_CASE("af_xdp: a consumer that is too slow, and one that keeps what it has") {
  const wire there;
  if (!there) return;
  counted_pool memory(slots_of_2_kib);
  accounts before(memory);
  {
    auto nic = af_xdp::open("eth0", for_af_xdp(memory));
    if (!is_here(nic)) return;
    raw_socket peer("eth1");
    send(peer, 1, 200);
    CHECK(eventually([&] { return nic->statistics().kernel_no_slot == 168; }));
    CHECK(take_all(*nic) == 32);
    CHECK(nic->statistics().kernel_no_slot == 168);
    says(nic->statistics(), "168 dropped without a free slot");
    static frame held[300];
    std::size_t n = 0;
    for (int i = 0; i < 2000 && !nic->lacks_memory(); ++i) {
      send(peer, 1, 1);
      n += nic->receive(8, instant{}, into_array(held + n));
      REQUIRE(n <= 256);
    }
    CHECK(nic->lacks_memory());
    CHECK(nic->frames().out == n);
    CHECK(nic->frames().free == 0);
    memory->release(held, n);
    (void)take_all(*nic);
    check_works(*nic, peer);
  }
  before.check();
}

TEST_CASE("tap: a consumer that is too slow") {
  const fresh_namespace here;
  if (!here) return;
  counted_pool memory(slots_of_2_kib);
  accounts before(memory);
  {
    auto nic = tap::open("tap0", for_tap(memory));
    REQUIRE(nic);
    if (!raw_socket("tap0").with_header()) {
      MESSAGE("skipped: in an emulator, the kernel is not asked for what it dropped");
      return;
    }
    raw_socket peer("tap0");
    CHECK(nic->statistics().dropped == 0);
    for (std::uint16_t i = 0; i < 3000; ++i) {
      const auto one = datagram(i);
      (void)peer.send({one.data(), one.size()});  // the sender may hear of the drop at once
    }
    const std::size_t got = take_all(*nic);
    const auto s = nic->statistics();
    CHECK(s.received == got);
    CHECK(got < 3000);
    CHECK(s.received + s.dropped == 3000);
    says(s, " dropped by a full queue");
    check_works(*nic, peer);
  }
  before.check();
}

// A qdisc that keeps what is sent for a while, until all slots are with it, or until it takes no more itself.
TEST_CASE("af_packet: a full transmit ring") {
  const wire there;
  if (!there) return;
  counted_pool memory(slots_of_2_kib);
  for (const char* const limit : {"1m", "10k"}) {
    CAPTURE(doctest::String(limit));
    accounts before(memory);
    {
      auto nic = af_packet::open("eth0", for_af_packet(memory));
      if (!is_here(nic)) return;
      const std::string qdisc = std::string("tc qdisc add dev eth0 root tbf rate 10mbit burst 3k limit ") + limit;
      if (std::system(qdisc.c_str()) != 0) {
        MESSAGE("skipped: this kernel has no tbf, or there is no tc");
        return;
      }
      raw_socket peer("eth1");
      packet p[200];
      for (packet& one : p) one = packet_of(memory, 5, 1000);
      std::size_t sent = nic->transmit(p, 200, instant{});
      CHECK(sent < 200);
      CHECK(nic->statistics().refused == 200 - sent);
      says(nic->statistics(), " refused by a full interface");
      CHECK(nic->rings().held_slots > 0);
      for (std::size_t i = 0; i < 200; ++i) CHECK(static_cast<bool>(p[i]) == (i >= sent));
      for (int i = 0; i < 2000 && sent < 200; ++i, ::usleep(1000))
        sent += nic->transmit(p + sent, 200 - sent, instant{});
      CHECK(sent == 200);
      for (int i = 0; i < 200; ++i) CHECK(peer.next().size() == 1000);
      CHECK(nic->statistics().transmitted == 200);
      CHECK(nic->lost() == 0);
      REQUIRE(std::system("tc qdisc del dev eth0 root") == 0);
      check_works(*nic, peer);
    }
    before.check();
  }
}

// What it sends goes round the qdisc, and a veth has no ring: it is full while it is down.
TEST_CASE("af_xdp: a full transmit ring") {
  const wire there;
  if (!there) return;
  counted_pool memory(slots_of_2_kib);
  accounts before(memory);
  {
    auto nic = af_xdp::open("eth0", for_af_xdp(memory));
    if (!is_here(nic)) return;
    raw_socket peer("eth1");
    auto eth = device::network_interface::open("eth0");
    REQUIRE((eth && eth->set_up(false)));
    packet p[100];
    for (packet& one : p) one = packet_of(memory, 5);
    CHECK(nic->transmit(p, 100, instant{}) == 64);
    CHECK(nic->statistics().refused == 36);
    says(nic->statistics(), "36 refused by a full ring");
    CHECK(nic->frames().transmitting == 64);
    for (std::size_t i = 0; i < 100; ++i) CHECK(static_cast<bool>(p[i]) == (i >= 64));
    REQUIRE(eth->set_up(true));
    std::size_t sent = 64;
    for (int i = 0; i < 2000 && sent < 100; ++i, ::usleep(1000)) {
      CHECK(nothing_comes(*nic));
      sent += nic->transmit(p + sent, 100 - sent, instant{});
    }
    CHECK(sent == 100);
    for (int i = 0; i < 100; ++i) CHECK(peer.next() == datagram(5));
    check_works(*nic, peer);
  }
  before.check();
}

// The kernel takes what is written or has no memory. A full pipe in the place of the device refuses just so.
TEST_CASE("tap: a kernel that has no room") {
  const fresh_namespace here;
  if (!here) return;
  counted_pool memory(slots_of_2_kib);
  accounts before(memory);
  {
    auto nic = tap::open("tap0", for_tap(memory));
    REQUIRE(nic);
    raw_socket peer("tap0");
    packet p[3];
    for (packet& one : p) one = packet_of(memory, 5);
    {
      int ends[2];
      REQUIRE(::pipe2(ends, O_NONBLOCK | O_CLOEXEC) == 0);
      const detail::file_handle out(ends[0], true), in(ends[1], true), device(::dup(nic->wait_handle()), true);
      const std::vector<std::byte> page(4096);
      while (::write(in.get(), page.data(), page.size()) > 0) continue;
      REQUIRE(::dup2(in.get(), nic->wait_handle()) >= 0);
      CHECK(nic->transmit(p, 3, instant{}) == 0);
      REQUIRE(::dup2(device.get(), nic->wait_handle()) >= 0);
    }
    CHECK(nic->statistics().refused == 3);
    says(nic->statistics(), "3 refused by a full interface");
    for (const packet& one : p) CHECK(one);
    CHECK(nic->transmit(p, 3, instant{}) == 3);
    for (int i = 0; i < 3; ++i) CHECK(peer.next() == datagram(5));
    check_works(*nic, peer);
  }
  before.check();
}

#endif
