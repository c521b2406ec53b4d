// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include <runnel/device/tap.hpp>

#if defined(__linux__)

#include <device/fresh_namespace.hpp>
#include <packet/counted_pool.hpp>

#include <runnel/wire/build.hpp>
#include <runnel/wire/ethernet.hpp>
#include <runnel/wire/ipv4.hpp>
#include <runnel/wire/ipv6.hpp>
#include <runnel/wire/tcp.hpp>
#include <runnel/wire/udp.hpp>

using namespace runnel;
using runnel::test::counted_pool;
using runnel::test::fresh_namespace;
using runnel::test::open_files;
using runnel::test::raw_socket;

namespace {

using byte_vector = std::vector<std::byte>;

constexpr ethernet_header eth{.source = {{2, 0, 0, 0, 0, 1}}, .destination = {{2, 0, 0, 0, 0, 2}}};
constexpr ipv4_header v4{.source = {10, 0, 0, 1}, .destination = {10, 0, 0, 2}};
constexpr udp_header datagram{.source_port = 1000, .destination_port = 7};
constexpr tcp_header segment{.source_port = 1000, .destination_port = 80};

template <class... Headers>
byte_vector bytes_of(std::size_t payload, const Headers&... headers) {
  byte_vector all(size_of_headers(headers...) + payload);
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::byte>(i * 7 & 0xff);
  REQUIRE(write_headers({all.data(), all.size()}, headers...));
  return all;
}
// The same TCP segment with the sum of the pseudo-header, which is what its right sum lacks, in the place of the
// checksum.
byte_vector partial_of(byte_vector whole) {
  const std::uint16_t sum = running_checksum{add_checksum(bytes{whole.data() + 34, whole.size() - 34})}.sum();
  store_be16(whole.data() + 50, static_cast<std::uint16_t>(~sum));
  return whole;
}
bytes view(const byte_vector& v) { return {v.data(), v.size()}; }

packet packet_of(pool& memory, bytes contents) {
  packet p = memory.allocate();
  REQUIRE(p);
  REQUIRE(p.append(contents));
  return p;
}
// In two fragments.
packet chain_of(pool& memory, bytes contents, std::size_t cut) {
  packet p = packet_of(memory, contents.first(cut));
  REQUIRE(p.append(packet_of(memory, contents.from(cut))));
  return p;
}
byte_vector received(device::tap& from) {
  ::pollfd one{from.wait_handle(), POLLIN, 0};
  if (::poll(&one, 1, 1000) != 1) return {};
  frame f;
  if (from.receive(1, instant{5}, into_array(&f)) != 1) return {};
  CHECK(f.timestamp == instant{5});
  byte_vector all(f.data, f.data + f.length);
  from.memory().release(&f, 1);
  return all;
}
bool sends(device::tap& to, packet p) { return to.transmit(&p, 1, instant{}) == 1 && !p; }

std::string message(const result<device::tap, error>& r) { return r ? "it was opened" : r.error().message(); }
bool begins_with(const std::string& text, const char* begin) { return text.rfind(begin, 0) == 0; }

}  // namespace

TEST_CASE("a TAP is made, is up, sends and receives frames as they are, and is gone when it is closed") {
  const fresh_namespace here;
  if (!here) return;
  const std::size_t files = open_files();
  {
    auto tap = device::tap::open("tap0");
    REQUIRE_MESSAGE(tap, message(tap));
    CHECK(same_text(tap->name(), "tap0"));
    auto about = tap->settings().status();
    REQUIRE(about);
    CHECK(about->up);
    raw_socket kernel("tap0");
    const byte_vector out = bytes_of(100, eth, v4, datagram), in = bytes_of(1400, eth, v4, datagram);
    frame none;
    CHECK(tap->receive(1, instant{}, into_array(&none)) == 0);
    REQUIRE(kernel.send(view(out)));
    CHECK(received(*tap) == out);
    CHECK(sends(*tap, packet_of(tap->memory(), view(in))));
    CHECK(kernel.next() == in);
    // As it is, a frame goes back.
    REQUIRE(kernel.send(view(out)));
    frame f;
    REQUIRE(tap->receive(4, instant{}, into_array(&f)) == 1);
    CHECK(f.link == link_type::ethernet);
    CHECK(f.checksum == checksum_status::unknown);
    CHECK(f.headroom == tap->memory().headroom());
    CHECK(f.head() + f.headroom == f.data);
    REQUIRE(tap->transmit(&f, 1, instant{}) == 1);
    CHECK(kernel.next() == out);
    text<200> line;
    print(line, tap->statistics());
    CHECK(same_text(line.c_str(), "received 2 (284 bytes), transmitted 2 (1584 bytes), 6 system calls"));
    CHECK(tap->lost() == 0);
    CHECK(tap->memory().available() == tap->memory().capacity());
  }
  CHECK_FALSE(device::network_interface::open("tap0"));
  CHECK(open_files() == files);
}

TEST_CASE("the fragments of a packet are one frame, and a partial checksum is completed where nobody else does it") {
  const fresh_namespace here;
  if (!here) return;
  auto tap = device::tap::open("tap0");
  REQUIRE(tap);
  raw_socket kernel("tap0");
  const byte_vector right = bytes_of(333, eth, v4, segment);
  const byte_vector partial = partial_of(right);
  CHECK(sends(*tap, chain_of(tap->memory(), view(right), 60)));
  CHECK(kernel.next() == right);
  for (const bool chained : {false, true}) {
    packet p = chained ? chain_of(tap->memory(), view(partial), 61) : packet_of(tap->memory(), view(partial));
    p.checksum(checksum_status::partial);
    // A segment's worth is sent; more would need a header to say so.
    p.segment_size(333);
    CHECK(sends(*tap, std::move(p)));
    CHECK(kernel.next() == right);
  }
  packet p = packet_of(tap->memory(), view(right));
  p.segment_size(332);
  CHECK(sends(*tap, std::move(p)));
  CHECK(tap->statistics().invalid == 1);
  CHECK(tap->statistics().transmitted == 3);
  // More fragments than one system call takes are put together.
  packet many = packet_of(tap->memory(), view(right).first(100));
  for (std::size_t i = 100; i < right.size(); ++i)
    REQUIRE(many.append(packet_of(tap->memory(), view(right).from(i).first(1))));
  CHECK(sends(*tap, std::move(many)));
  CHECK(kernel.next() == right);
  CHECK(tap->memory().available() == tap->memory().capacity());
}

TEST_CASE("with vnet_header, checksums and segments stay undone on both ways") {
  const fresh_namespace here;
  if (!here) return;
  auto tap = device::tap::open("tap0", {.segmentation = true, .packets = 8});
  REQUIRE_MESSAGE(tap, message(tap));
  CHECK(tap->memory().capacity() == 8);
  raw_socket kernel("tap0");
  if (!kernel.with_header()) {
    MESSAGE("skipped: packet sockets have no PACKET_VNET_HDR here");
    return;
  }
  // A header of the kernel's lies before what the socket sends and sees.
  const auto with_header = [](const detail::virtio_net_header& h, const byte_vector& frame) {
    byte_vector all(sizeof h + frame.size());
    std::memcpy(all.data(), &h, sizeof h);
    std::memcpy(all.data() + sizeof h, frame.data(), frame.size());
    return all;
  };
  const detail::virtio_net_header one{
      .flags = detail::virtio_needs_checksum, .checksum_start = 34, .checksum_offset = 16};
  detail::virtio_net_header many = one;
  many.gso_type = detail::virtio_gso_tcpv4;
  many.segment_size = 1448;
  many.header_length = 54;
  const byte_vector small = partial_of(bytes_of(333, eth, v4, segment));
  const byte_vector large = partial_of(bytes_of(65000, eth, v4, segment));
  for (const bool segmented : {false, true}) {
    CAPTURE(segmented);
    const byte_vector whole = with_header(segmented ? many : one, segmented ? large : small);
    REQUIRE(kernel.send(view(whole)));
    frame f;
    REQUIRE(tap->receive(1, instant{}, into_array(&f)) == 1);
    CHECK(f.checksum == checksum_status::partial);
    CHECK(f.segment_size == (segmented ? 1448 : 0));
    CHECK(byte_vector(f.data, f.data + f.length) == (segmented ? large : small));
    // Back as a packet, in two fragments, and as a frame.
    packet p = tap->memory().attach(f);
    packet rest = p.copy();
    REQUIRE(p.trim(100));
    REQUIRE(rest.pull(100));
    REQUIRE(p.append(std::move(rest)));
    CHECK(sends(*tap, std::move(p)));
    CHECK(kernel.next() == whole);
    REQUIRE(kernel.send(view(whole)));
    REQUIRE(tap->receive(1, instant{}, into_array(&f)) == 1);
    REQUIRE(tap->transmit(&f, 1, instant{}) == 1);
    CHECK(kernel.next() == whole);
  }
  CHECK(tap->lost() == 0);
  CHECK(tap->memory().available() == 8);
}

TEST_CASE("a frame longer than a slot is counted, and those behind it come") {
  const fresh_namespace here;
  if (!here) return;
  counted_pool memory({.packets = 4, .bytes = 1519, .headroom = 0, .bare = 4});
  auto tap = device::tap::open("tap0", {.memory = &memory.get()});
  REQUIRE_MESSAGE(tap, message(tap));
  REQUIRE(tap->settings().set_mtu(2000));
  raw_socket kernel("tap0");
  const byte_vector fits = bytes_of(1518 - 42, eth, v4, datagram), longer = bytes_of(1519 - 42, eth, v4, datagram);
  REQUIRE(kernel.send(view(longer)));
  REQUIRE(kernel.send(view(fits)));
  frame f[2];
  REQUIRE(tap->receive(2, instant{}, into_array(f)) == 1);
  CHECK(byte_vector(f[0].data, f[0].data + f[0].length) == fits);
  CHECK(f[0].tailroom == 1);
  CHECK(tap->statistics().too_long == 1);
  CHECK(tap->statistics().received == 1);
  tap->memory().release(f, 1);
}

TEST_CASE("while the pool is empty, packets wait in the kernel") {
  const fresh_namespace here;
  if (!here) return;
  counted_pool memory({.packets = 2, .bytes = 1519, .headroom = 64, .bare = 4});
  auto tap = device::tap::open("tap0", {.memory = &memory.get()});
  REQUIRE(tap);
  raw_socket kernel("tap0");
  for (std::size_t i = 0; i < 5; ++i) REQUIRE(kernel.send(view(bytes_of(i, eth, v4, datagram))));
  frame f[8];
  std::size_t seen = 0;
  for (const std::size_t expected : {2u, 2u, 1u, 0u}) {
    const std::size_t n = tap->receive(8, instant{}, into_array(f));
    CHECK(n == expected);
    for (std::size_t i = 0; i < n; ++i) CHECK(f[i].length == 42 + seen++);
    memory->release(f, n);
  }
  CHECK(memory->exhausted() == 2);
}

TEST_CASE("an interface that is down loses what is sent, counted, and works again when it is up") {
  const fresh_namespace here;
  if (!here) return;
  auto tap = device::tap::open("tap0");
  REQUIRE(tap);
  const byte_vector some = bytes_of(10, eth, v4, datagram);
  REQUIRE(tap->settings().set_up(false));
  CHECK(sends(*tap, packet_of(tap->memory(), view(some))));
  CHECK(tap->lost() == 1);
  CHECK(tap->statistics().while_down == 1);
  frame f;
  CHECK(tap->receive(1, instant{}, into_array(&f)) == 0);
  CHECK_FALSE(tap->done());
  REQUIRE(tap->settings().set_up(true));
  raw_socket kernel("tap0");
  CHECK(sends(*tap, packet_of(tap->memory(), view(some))));
  CHECK(kernel.next() == some);
  REQUIRE(kernel.send(view(some)));
  CHECK(received(*tap) == some);
  CHECK(tap->memory().available() == tap->memory().capacity());
}

TEST_CASE("an interface that is deleted is done and says why, and nothing waits for it") {
  const fresh_namespace here;
  if (!here) return;
  auto tap = device::tap::open("tap0");
  REQUIRE(tap);
  CHECK(tap->failure() == nullptr);
  REQUIRE(std::system("ip link del tap0") == 0);
  frame f;
  CHECK(tap->receive(1, instant{}, into_array(&f)) == 0);
  CHECK(tap->done());
  REQUIRE(tap->failure() != nullptr);
  CHECK(same_text(tap->failure()->message(), "tap: use tap0: the interface was deleted: open it again"));
  CHECK(tap->wait_handle() == -1);
  const byte_vector some = bytes_of(10, eth, v4, datagram);
  CHECK(sends(*tap, packet_of(tap->memory(), view(some))));
  CHECK(tap->statistics().while_down == 1);
  CHECK(tap->memory().available() == tap->memory().capacity());
  // Noticed by a write as well.
  auto other = device::tap::open("tap1");
  REQUIRE(other);
  REQUIRE(std::system("ip link del tap1") == 0);
  CHECK(sends(*other, packet_of(other->memory(), view(some))));
  CHECK(other->done());
}

TEST_CASE("what the kernel has no room for stays with the caller, in order, and is counted") {
  const fresh_namespace here;
  if (!here) return;
  auto tap = device::tap::open("tap0");
  REQUIRE(tap);
  // A kernel that is short of memory is hard to come by: a full pipe in the place of the device refuses just so.
  int ends[2];
  REQUIRE(::pipe2(ends, O_NONBLOCK | O_CLOEXEC) == 0);
  const detail::file_handle out(ends[0], true), in(ends[1], true), device(::dup(tap->wait_handle()), true);
  const byte_vector page(4096);
  while (::write(in.get(), page.data(), page.size()) > 0) continue;
  REQUIRE(::dup2(in.get(), tap->wait_handle()) >= 0);
  packet p[3];
  for (unsigned i = 0; i < 3; ++i) p[i] = packet_of(tap->memory(), view(bytes_of(i, eth, v4, datagram)));
  CHECK(tap->transmit(p, 3, instant{}) == 0);
  for (unsigned i = 0; i < 3; ++i) {
    REQUIRE(p[i]);
    CHECK(p[i].length() == 42 + i);
  }
  CHECK(tap->statistics().refused == 3);
  CHECK(tap->lost() == 0);
  REQUIRE(::dup2(device.get(), tap->wait_handle()) >= 0);
  CHECK(tap->transmit(p, 3, instant{}) == 3);
  CHECK(tap->statistics().transmitted == 3);
}

TEST_CASE("several devices are the queues of one interface") {
  const fresh_namespace here;
  if (!here) return;
  auto a = device::tap::open("tap0", {.multi_queue = true});
  REQUIRE_MESSAGE(a, message(a));
  auto b = device::tap::open("tap0", {.multi_queue = true});
  REQUIRE_MESSAGE(b, message(b));
  raw_socket kernel("tap0");
  // Many flows: each comes by one of the two, none twice, and both have some.
  for (std::uint16_t port = 1; port <= 64; ++port)
    REQUIRE(kernel.send(view(bytes_of(10, eth, v4, udp_header{.source_port = port, .destination_port = 7}))));
  frame f[64];
  std::size_t n[2];
  bool seen[65] = {};
  device::tap* queues[] = {&*a, &*b};
  for (unsigned q = 0; q < 2; ++q) {
    n[q] = queues[q]->receive(64, instant{}, into_array(f));
    for (std::size_t i = 0; i < n[q]; ++i) {
      const unsigned port = load_be16(f[i].data + 34);
      REQUIRE(port <= 64);
      CHECK_FALSE(seen[port]);
      seen[port] = true;
    }
    queues[q]->memory().release(f, n[q]);
  }
  CHECK(n[0] + n[1] == 64);
  CHECK(n[0] != 0);
  CHECK(n[1] != 0);
  const byte_vector some = bytes_of(10, eth, v4, datagram);
  for (device::tap* queue : queues) CHECK(sends(*queue, packet_of(queue->memory(), view(some))));
  CHECK(a->lost() + b->lost() == 0);
}

TEST_CASE("a TUN carries IP packets") {
  const fresh_namespace here;
  if (!here) return;
  auto tun = device::tap::open("tun0", {.mode = device::tap_mode::tun});
  REQUIRE_MESSAGE(tun, message(tun));
  raw_socket kernel("tun0");
  const byte_vector four = bytes_of(64, v4, datagram);
  const byte_vector six = bytes_of(64, ipv6_header{.source = {1, 1}, .destination = {2, 2}}, datagram);
  REQUIRE(kernel.send(view(four)));
  frame f;
  REQUIRE(tun->receive(1, instant{}, into_array(&f)) == 1);
  CHECK(f.link == link_type::raw_ip);
  CHECK(byte_vector(f.data, f.data + f.length) == four);
  REQUIRE(tun->transmit(&f, 1, instant{}) == 1);
  CHECK(sends(*tun, packet_of(tun->memory(), view(six))));
  CHECK(kernel.next() == four);
  CHECK(kernel.next() == six);
  CHECK(sends(*tun, packet_of(tun->memory(), view(bytes_of(10, eth, v4, datagram)))));
  CHECK(tun->statistics().invalid == 1);
}

TEST_CASE("MTU, address, persistence, and a name with a number of the kernel's choice") {
  const fresh_namespace here;
  if (!here) return;
  {
    auto tap = device::tap::open(
        "tap%d", {.up = false, .persist = device::tap_persistence::on, .mtu = 9000, .mac = {{2, 0, 0, 0, 0, 9}}});
    REQUIRE_MESSAGE(tap, message(tap));
    CHECK(same_text(tap->name(), "tap0"));
    auto about = tap->settings().status();
    REQUIRE(about);
    CHECK_FALSE(about->up);
    CHECK(about->mtu == 9000);
    CHECK(about->mac == mac_address{{2, 0, 0, 0, 0, 9}});
    auto second = device::tap::open("tap%d");
    REQUIRE(second);
    CHECK(same_text(second->name(), "tap1"));
  }
  {
    // It is still there, and can be opened without being made; its slots hold what its MTU allows.
    auto tap = device::tap::open("tap0", {.create = false});
    REQUIRE_MESSAGE(tap, message(tap));
    raw_socket kernel("tap0");
    const byte_vector jumbo = bytes_of(9014 - 42, eth, v4, datagram);
    REQUIRE(kernel.send(view(jumbo)));
    CHECK(received(*tap) == jumbo);
    REQUIRE(tap->set_persistent(false));
  }
  auto gone = device::tap::open("tap0", {.create = false});
  REQUIRE_FALSE(gone);
  CHECK(same_text(gone.error().message(), "tap: open tap0: no such interface: there are lo"));
}

TEST_CASE("an interface that was made to stay does so, until somebody says no") {
  const fresh_namespace here;
  if (!here) return;
  const auto is_there = [] { return device::network_interface::open("tap0").has_value(); };
  const auto open_and_close = [](const device::tap_options& options) {
    const auto tap = device::tap::open("tap0", options);
    REQUIRE_MESSAGE(tap, message(tap));
  };
  REQUIRE(std::system("ip tuntap add tap0 mode tap") == 0);
  open_and_close({});
  CHECK(is_there());
  // One that could not be opened is as it was.
  CHECK_FALSE(device::tap::open("tap0", {.persist = device::tap_persistence::off, .mtu = 9000, .packet_bytes = 2048}));
  CHECK(is_there());
  open_and_close({.persist = device::tap_persistence::off});
  CHECK_FALSE(is_there());
  open_and_close({.persist = device::tap_persistence::on});
  CHECK(is_there());
}

TEST_CASE("what cannot be opened says why, and leaves nothing behind") {
  const fresh_namespace here;
  if (!here) return;
  const std::size_t files = open_files();
  const auto says = [](const char* name, const device::tap_options& options) {
    return message(device::tap::open(name, options));
  };
  CHECK(says("a-name-of-16-let", {}) ==
        "tap: open a-name-of-16-let: the name is too long: an interface's name has at most 15 characters");
  CHECK(begins_with(says("a/b", {}), "tap: attach to a/b: Invalid argument: "));
  CHECK(begins_with(says("lo", {}), "tap: attach to lo: Invalid argument: "));
  CHECK(begins_with(says("tap7", {.create = false}), "tap: open tap7: no such interface: there are "));
  CHECK(begins_with(says("tap0", {.mtu = 5}), "tap: set the MTU of tap0: Invalid argument: "));
  CHECK(begins_with(says("tap0", {.network_namespace = "runnel-nobody"}),
                    "tap: enter network namespace runnel-nobody: No such file or directory: "));
  CHECK(says("tap0", {.mtu = 9000, .packet_bytes = 2048}) ==
        "tap: receive from tap0: its packets have up to 9018 bytes, and a slot of the pool 2176: a smaller MTU, or "
        "larger slots: packet_bytes, or pool_config::bytes");
  {
    auto tap = device::tap::open("tap0");
    REQUIRE(tap);
    CHECK(says("tap0", {}) ==
          "tap: attach to tap0: Device or resource busy: another program has it open: end that, or let both open it "
          "with multi_queue");
  }
  CHECK_FALSE(device::network_interface::open("tap0"));
  CHECK(open_files() == files);
}

TEST_CASE("a TAP is opened in another network namespace, and the thread stays in its own") {
  const fresh_namespace here;
  if (!here) return;
  const detail::file_handle outer(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC), true);
  const std::string path = "/proc/self/fd/" + std::to_string(outer.get());
  const fresh_namespace inside;
  REQUIRE(inside);
  auto tap = device::tap::open("tap0", {.network_namespace = path.c_str()});
  REQUIRE_MESSAGE(tap, message(tap));
  CHECK_FALSE(device::network_interface::open("tap0"));
  auto about = tap->settings().status();
  REQUIRE_MESSAGE(about, doctest::String(about.error().message()));
  CHECK(about->up);
}

#endif
