// SPDX-License-Identifier: MIT
// On the loopback interface of a namespace: what is sent there comes back as received. With other hosts: tests/live.
#include <doctest/doctest.h>

#include <runnel/device/af_packet.hpp>

#if defined(__linux__)

#include <cstring>
#include <vector>

#include <dirent.h>
#include <linux/capability.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <runnel/device/clock.hpp>
#include <runnel/flow.hpp>

#include "device/datagram.hpp"
#include "device/in_child.hpp"
#include "device/own_namespace.hpp"
#include "device/rename_interface.hpp"

using namespace runnel;
using device::af_packet;
using runnel::test::datagram;

namespace {

int open_files() {
  ::DIR* const all = ::opendir("/proc/self/fd");
  int n = 0;
  while (::readdir(all) != nullptr) ++n;
  ::closedir(all);
  return n;
}

packet make(pool& memory, const std::vector<std::byte>& from) {
  packet p = memory.allocate();
  REQUIRE(p);
  REQUIRE(p.append(bytes{from.data(), from.size()}));
  return p;
}
std::uint16_t mark_of(const frame& f) { return load_be16(f.data + 34); }

// The loopback interface, up.
struct loopback {
  loopback() : lo(device::network_interface::open("lo")) { REQUIRE((lo && lo->set_up(true))); }
  result<device::network_interface, error> lo;
};

// A namespace in which packet sockets have rings.
class namespace_with_rings {
 public:
  namespace_with_rings() {
    if (!inside_) return;
    const auto tried = af_packet::open("lo", {.blocks = 1});
    rings_ = tried || tried.error().number() != ENOPROTOOPT;
    if (!rings_) MESSAGE("skipped: packet sockets have no rings here, in an emulator");
  }
  explicit operator bool() const noexcept { return rings_; }

 private:
  own_namespace inside_;
  bool rings_ = false;
};

// Waits until there is something, at most a second.
std::vector<frame> receive(af_packet& from, std::size_t room = 256) {
  std::vector<frame> frames(room);
  for (int i = 0; i < 100; ++i) {
    into_array take(frames.data());
    const std::size_t n = from.receive(room, instant{}, take);
    if (n != 0) {
      frames.resize(n);
      return frames;
    }
    ::pollfd one{from.wait_handle(), POLLIN, 0};
    (void)::poll(&one, 1, 10);
  }
  return {};
}
// Receives `n`, and gives them back.
std::vector<std::uint16_t> marks(af_packet& from, std::size_t n) {
  std::vector<std::uint16_t> got;
  while (got.size() < n) {
    const auto frames = receive(from);
    if (frames.empty()) break;
    for (const frame& f : frames) got.push_back(mark_of(f));
    from.memory().release(frames.data(), frames.size());
  }
  return got;
}
void send(af_packet& to, std::uint16_t first, std::uint16_t n, std::size_t length = 60) {
  for (std::uint16_t i = 0; i < n; ++i) {
    packet p = make(to.memory(), datagram(static_cast<std::uint16_t>(first + i), length));
    REQUIRE(to.transmit(&p, 1, instant{}) == 1);
    CHECK(!p);
  }
}
bool all_home(pool& memory) {
  return memory.available() == memory.capacity() && memory.bare_available() == memory.bare_capacity();
}

}  // namespace

TEST_CASE("what cannot be opened is explained") {
  const namespace_with_rings inside;
  if (!inside) return;
  const int before = open_files();
  const auto why = [](const device::af_packet_options& options, const char* name = "lo") {
    const auto opened = af_packet::open(name, options);
    REQUIRE(!opened);
    return opened.error();
  };
  const auto says = [](const error& e, const char* part) {
    CAPTURE(doctest::String(e.message()));
    const bool found = std::strstr(e.message(), part) != nullptr;
    CHECK(found);
    return found;
  };
  CHECK(says(why({}, "eth7"), "af_packet: open eth7: no such interface: there are lo"));
  CHECK(says(why({.block_size = 65536}), "MTU, 65536, does not fit a block of 65536 bytes: a smaller MTU"));
  CHECK(says(why({.block_size = 200'000}), "block_size is not a power of two"));
  CHECK(says(why({.headroom = 65'001}), "the headroom is more than 65000 bytes"));
  CHECK(says(why({.blocks = 4'000'000'000, .block_size = 1u << 30}), "choose fewer or smaller blocks"));
  const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  const std::uint64_t all = static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES)) * page;
  const auto too_many = static_cast<std::uint32_t>((all / 4 * 3 >> 20) + 1);
  CHECK(says(why({.blocks = too_many, .block_size = 1u << 20}), "Cannot allocate memory: choose fewer or smaller"));
  CHECK(says(why({.blocks = 2, .transmit_slots = 4'000'000'000}), "choose fewer transmit_slots"));
  {
    const auto first = af_packet::open("lo", {.fanout = device::fanout_mode::hash, .fanout_group = 7, .blocks = 2});
    REQUIRE(first);
    CHECK(says(why({.fanout = device::fanout_mode::lb, .fanout_group = 7, .blocks = 2}),
               "join fanout group 7 on lo: Invalid argument: it is of another mode"));
  }
  {
    auto memory = mapped_pool::open({.packets = 16});
    REQUIRE(memory);
    std::uint8_t last = 1;
    while (last != 0) last = memory->get().add_lender();
    CHECK(says(why({.memory = &memory->get()}), "too many devices lend"));
  }
  CHECK(open_files() == before);
}

TEST_CASE("packets come as they were sent, in order, and everything goes home") {
  const namespace_with_rings inside;
  if (!inside) return;
  const loopback up;
  const int before = open_files();
  {
    auto opened = af_packet::open("lo", {.blocks = 4});
    REQUIRE(opened);
    af_packet eth(static_cast<af_packet&&>(*opened));
    CHECK(same_text(eth.name(), "lo"));
    CHECK(eth.next_due() == never);
    const real_clock time;
    const instant start = time.now();
    send(eth, 100, 70);
    for (std::uint16_t seen = 0; seen < 70;) {
      const auto frames = receive(eth);
      REQUIRE(!frames.empty());
      for (const frame& f : frames) {
        CHECK(mark_of(f) == 100 + seen++);
        CHECK(f.length == 60);
        CHECK(f.headroom >= 64);
        CHECK(f.missing == 0);
        CHECK(f.timestamp > start + milliseconds(-100));
        CHECK(f.timestamp < start + seconds(5));
      }
      // Nothing more while these are out, for they lie in the ring.
      std::vector<frame> more(8);
      into_array take(more.data());
      CHECK(eth.receive(8, instant{}, take) == 0);
      eth.memory().release(frames.data(), frames.size());
    }
    send(eth, 200, 1);
    CHECK(marks(eth, 1) == std::vector<std::uint16_t>{200});
    const auto s = eth.statistics();
    CHECK(s.arrived == 71);
    CHECK(s.received == 71);
    CHECK(s.transmitted == 71);
    CHECK(s.dropped + s.outgoing + s.malformed + s.cut + s.refused + s.invalid + s.while_down == 0);
    text<256> line;
    print(line, s);
    CHECK(std::strstr(line.c_str(), "arrived 71, received 71, transmitted 71, ") == line.c_str());
    CHECK(all_home(eth.memory()));
    CHECK(eth.lost() == 0);
    CHECK(!eth.done());
    CHECK(eth.failure() == nullptr);
  }
  CHECK(open_files() == before);
}

TEST_CASE("64 packets are one system call, shared ones too") {
  const namespace_with_rings inside;
  if (!inside) return;
  const loopback up;
  auto eth = af_packet::open("lo", {.blocks = 4});
  REQUIRE(eth);
  const std::uint64_t before = eth->statistics().system_calls;
  packet packets[64], clones[64];
  for (std::uint16_t i = 0; i < 64; ++i) {
    packets[i] = make(eth->memory(), datagram(i));
    clones[i] = packets[i].clone();
  }
  CHECK(eth->transmit(packets, 64, instant{}) == 64);
  CHECK(eth->transmit(clones, 64, instant{}) == 64);  // alone by now
  for (std::uint16_t i = 0; i < 64; ++i) {
    packets[i] = make(eth->memory(), datagram(i));
    clones[i] = packets[i].clone();
  }
  CHECK(eth->transmit(clones, 64, instant{}) == 64);  // shared
  CHECK(eth->statistics().system_calls - before == 3 + 1);
  const auto got = marks(*eth, 192);
  REQUIRE(got.size() == 192);
  for (std::size_t i = 0; i < 192; ++i) CHECK(got[i] == i % 64);
}

TEST_CASE("received frames are sent on from where they lie") {
  const namespace_with_rings inside;
  if (!inside) return;
  const loopback up;
  auto eth = af_packet::open("lo", {.blocks = 4});
  REQUIRE(eth);
  send(*eth, 1, 10);
  for (std::size_t sent = 0; sent < 10;) {
    const auto frames = receive(*eth, 10 - sent);
    REQUIRE(!frames.empty());
    CHECK(eth->lacks_memory());  // it waits for these
    CHECK(eth->transmit(frames.data(), frames.size(), instant{}) == frames.size());
    CHECK_FALSE(eth->lacks_memory());
    CHECK(eth->memory().lent(frames[0].lender) == 0);
    sent += frames.size();
  }
  CHECK(marks(*eth, 10) == std::vector<std::uint16_t>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10});
  CHECK(all_home(eth->memory()));
}

TEST_CASE("a packet that is kept does not stop the ring") {
  const namespace_with_rings inside;
  if (!inside) return;
  const loopback up;
  auto eth = af_packet::open("lo", {.blocks = 2});
  REQUIRE(eth);
  queue<drop_tail, 8> kept;
  for (std::uint16_t round = 0; round < 8; ++round) {
    send(*eth, round, 1);
    const auto frames = receive(*eth);
    REQUIRE(frames.size() == 1);
    CHECK(kept.push(eth->memory().attach(frames[0])).code == verdict_code::pass);
  }
  packet all[8];
  REQUIRE(kept.pull(all, 8, instant{}) == 8);
  for (std::uint16_t round = 0; round < 8; ++round) {
    CHECK(load_be16(all[round].data() + 34) == round);
    CHECK(!all[round].is_lent());
  }
}

TEST_CASE("what the ring has no room for is counted: nothing is lost without a number") {
  const namespace_with_rings inside;
  if (!inside) return;
  loopback up;
  REQUIRE(up.lo->set_mtu(1500));
  auto eth = af_packet::open("lo", {.blocks = 2, .block_size = 8192});
  REQUIRE(eth);
  send(*eth, 0, 1000);
  std::size_t got = 0;
  while (const std::size_t n = marks(*eth, 1).size()) got += n;
  const auto s = eth->statistics();
  CHECK(s.transmitted == 1000);
  CHECK(s.arrived == 1000);
  CHECK(s.received == got);
  CHECK(s.dropped > 0);
  CHECK(s.ring_full > 0);
  CHECK(s.received + s.dropped == 1000);
  send(*eth, 0, 1);
  CHECK(marks(*eth, 1).size() == 1);
}

TEST_CASE("a fanout group gets each packet once") {
  const namespace_with_rings inside;
  if (!inside) return;
  const loopback up;
  using enum device::fanout_mode;
  for (const device::fanout_mode mode : {hash, lb, cpu, rollover}) {
    CAPTURE(static_cast<int>(mode));
    auto a = af_packet::open("lo", {.fanout = mode, .blocks = 16});
    auto b = af_packet::open("lo", {.fanout = mode, .blocks = 16});
    REQUIRE((a && b));
    std::vector<int> seen(200);
    std::size_t of_a = 0, of_both = 0;
    const auto collect = [&] {
      for (af_packet* one : {&*a, &*b}) {
        std::vector<frame> frames(256);
        into_array take(frames.data());
        const std::size_t got = one->receive(256, instant{}, take);
        for (std::size_t i = 0; i < got; ++i) ++seen[mark_of(frames[i])];
        one->memory().release(frames.data(), got);
        of_both += got;
        if (one == &*a) of_a += got;
      }
    };
    // Fewer at a time than there are blocks: however slowly it goes, with one packet in a block, there is room for all.
    for (std::uint16_t first = 0; first < 200; first = static_cast<std::uint16_t>(first + 10)) {
      send(*a, first, 10);
      for (int late = 0; of_both < first + std::size_t{10}; ++late) {
        REQUIRE(late < 1000);
        ::usleep(1000);
        collect();
      }
    }
    for (int rounds = 0; rounds < 10; ++rounds) {  // none comes twice
      ::usleep(2000);
      collect();
    }
    for (const int times : seen) CHECK(times == 1);
    if (mode == hash || mode == lb) {
      CHECK(of_a > 20);
      CHECK(of_a < 180);
    }
  }
}

TEST_CASE("two processes that both are number 1, each in its container, get every packet") {
  const namespace_with_rings inside;
  if (!inside) return;
  const loopback up;
  auto from = af_packet::open("lo", {.blocks = 0});
  REQUIRE(from);
  int ready[2];
  REQUIRE(::pipe(ready) == 0);
  // Counts what comes to a device of its own group until nothing has come for half a second: its exit status.
  const auto count = [&ready] {
    auto mine = af_packet::open("lo", {.fanout = device::fanout_mode::hash, .blocks = 64});
    if (!mine || ::write(ready[1], "", 1) != 1) return 255;
    int came = 0;
    for (int quiet = 0; quiet < (came == 0 ? 50 : 5); ++quiet) {
      frame f[64];
      while (const std::size_t n = mine->receive(64, instant{}, into_array(f))) {
        mine->memory().release(f, n);
        came += static_cast<int>(n);
        quiet = 0;
      }
      ::usleep(100'000);
    }
    return came;
  };
  ::pid_t outside[2];
  for (::pid_t& child : outside) {
    child = ::fork();
    if (child != 0) continue;
    if (::unshare(CLONE_NEWPID) != 0) ::_exit(255);
    ::_exit(runnel::test::in_child([&] { return ::getpid() == 1 ? count() : 255; }));
  }
  ::close(ready[1]);
  char one;
  for (int i = 0; i < 2; ++i) REQUIRE(::read(ready[0], &one, 1) == 1);
  send(*from, 0, 100);
  for (const ::pid_t child : outside) {
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(WEXITSTATUS(status) == 100);
  }
  ::close(ready[0]);
}

TEST_CASE("an interface may go down and come up again") {
  const namespace_with_rings inside;
  if (!inside) return;
  loopback up;
  auto eth = af_packet::open("lo", {.blocks = 2});
  REQUIRE(eth);
  send(*eth, 1, 1);
  CHECK(marks(*eth, 1).size() == 1);
  REQUIRE(up.lo->set_up(false));

  packet lost[3];
  for (packet& p : lost) p = make(eth->memory(), datagram(2));
  CHECK(eth->transmit(lost, 3, instant{}) == 3);
  CHECK(eth->lost() == 3);
  CHECK(eth->statistics().while_down == 3);
  // It wakes whoever waits, who finds nothing, and is then told when to look again.
  ::pollfd one{eth->wait_handle(), POLLIN, 0};
  CHECK(::poll(&one, 1, 1000) == 1);
  std::vector<frame> frames(8);
  // Found within 50 ms, whatever it has seen before.
  instant now{1000};
  for (int i = 0; i <= 50; ++i) {
    into_array take(frames.data());
    CHECK(eth->receive(8, now = now + milliseconds(1), take) == 0);
  }
  CHECK(eth->statistics().times_down == 1);
  CHECK(eth->next_due() > now);
  CHECK(eth->next_due() <= now + milliseconds(50));
  CHECK(::poll(&one, 1, 0) == 0);

  REQUIRE(up.lo->set_up(true));
  send(*eth, 3, 2);
  CHECK(marks(*eth, 2) == std::vector<std::uint16_t>{3, 4});
  into_array take(frames.data());
  CHECK(eth->receive(8, now + seconds(1), take) == 0);
  CHECK(eth->next_due() == never);
  CHECK(!eth->done());
  CHECK(all_home(eth->memory()));
}

TEST_CASE("an interface may be renamed while it is down, and is looked after as before when it is up again") {
  const namespace_with_rings inside;
  if (!inside) return;
  loopback up;
  auto eth = af_packet::open("lo", {.blocks = 2});
  REQUIRE(eth);
  instant now{1000};
  const auto find_down = [&] {
    frame none;
    for (int i = 0; i <= 50; ++i) CHECK(eth->receive(1, now = now + milliseconds(1), into_array(&none)) == 0);
  };
  for (const char* name : {"wan0", "wan1"}) {
    const auto before = eth->statistics().times_down;
    REQUIRE(up.lo->set_up(false));
    find_down();
    CHECK(eth->statistics().times_down == before + 1);
    CHECK(eth->next_due() != never);
    REQUIRE(runnel::test::rename_interface(before == 0 ? "lo" : "wan0", name));
    REQUIRE(device::network_interface::open(name)->set_up(true));
    now = now + seconds(1);
    find_down();
    CHECK(eth->next_due() == never);
    send(*eth, 5, 1);
    CHECK(marks(*eth, 1) == std::vector<std::uint16_t>{5});
  }
  CHECK(!eth->done());
}

TEST_CASE("an interface may be down when it is opened") {
  const namespace_with_rings inside;
  if (!inside) return;
  auto lo = device::network_interface::open("lo");
  auto eth = af_packet::open("lo", {.blocks = 2});
  REQUIRE((lo && eth));
  std::vector<frame> frames(8);
  for (int i = 0; i < 100; ++i) {
    into_array take(frames.data());
    CHECK(eth->receive(8, instant{}, take) == 0);
  }
  CHECK(eth->statistics().times_down == 1);
  REQUIRE(lo->set_up(true));
  send(*eth, 3, 2);
  CHECK(marks(*eth, 2).size() == 2);
}

TEST_CASE("a packet that cannot be sent is lost and counted, those behind it go") {
  const namespace_with_rings inside;
  if (!inside) return;
  loopback up;
  REQUIRE(up.lo->set_mtu(1000));
  auto eth = af_packet::open("lo", {.blocks = 2});
  REQUIRE(eth);
  packet packets[5];
  packets[0] = make(eth->memory(), datagram(1));
  packets[1] = make(eth->memory(), datagram(2, 1500));
  packets[2] = make(eth->memory(), datagram(3));
  packets[3] = make(eth->memory(), std::vector<std::byte>(10));
  packets[4] = make(eth->memory(), datagram(4, 1014));
  CHECK(eth->transmit(packets, 5, instant{}) == 5);
  CHECK(eth->lost() == 2);
  CHECK(eth->statistics().invalid == 2);
  CHECK(marks(*eth, 3) == std::vector<std::uint16_t>{1, 3, 4});
  CHECK(all_home(eth->memory()));
}

TEST_CASE("packets too long for a slot go alone, and in order") {
  const namespace_with_rings inside;
  if (!inside) return;
  const loopback up;
  auto large = mapped_pool::open({.packets = 16, .bytes = 20'000});
  REQUIRE(large);
  auto eth = af_packet::open("lo", {.blocks = 4, .memory = &large->get()});
  REQUIRE(eth);
  packet packets[9];
  for (std::uint16_t i = 0; i < 9; ++i) packets[i] = make(large->get(), datagram(i, i % 3 == 1 ? 15'000 : 60));
  CHECK(eth->transmit(packets, 9, instant{}) == 9);
  CHECK(marks(*eth, 9) == std::vector<std::uint16_t>{0, 1, 2, 3, 4, 5, 6, 7, 8});
  CHECK(eth->lost() == 0);
}

TEST_CASE("a packet in many pieces is sent as one") {
  const namespace_with_rings inside;
  if (!inside) return;
  const loopback up;
  auto eth = af_packet::open("lo", {.blocks = 2});
  auto small_slots = mapped_pool::open({.packets = 256, .bytes = 100, .headroom = 0});
  REQUIRE((eth && small_slots));
  const auto whole = datagram(5, 9000);
  packet p = make(small_slots->get(), std::vector<std::byte>(whole.begin(), whole.begin() + 100));
  for (std::size_t at = 100; at < whole.size(); at += 100)
    REQUIRE(p.append(make(small_slots->get(), std::vector<std::byte>(whole.data() + at, whole.data() + at + 100))));
  CHECK(eth->transmit(&p, 1, instant{}) == 1);
  const auto got = receive(*eth);
  REQUIRE(got.size() == 1);
  REQUIRE(got[0].length == 9000);
  CHECK(std::memcmp(got[0].data, whole.data(), 9000) == 0);
  eth->memory().release(got.data(), 1);
  CHECK(all_home(small_slots->get()));
}

TEST_CASE("what is left to do for a packet goes with it, both ways") {
  const namespace_with_rings inside;
  if (!inside) return;
  const loopback up;
  auto eth = af_packet::open("lo", {.blocks = 2, .packets = 64});
  auto large = mapped_pool::open({.packets = 4, .bytes = 65535});
  REQUIRE((eth && large));
  const std::uint16_t segments[] = {0, 1000};
  for (const std::uint16_t segment : segments) {
    packet p = make(large->get(), datagram(6, segment != 0 ? 42 + 30'000 : 300));
    std::byte* const udp = p.writable().data() + 34;
    // The sum of the pseudo-header stands in the field.
    std::uint32_t sum = 0x0a00 + 0x0001 + 0x0a00 + 0x0002 + 17 + static_cast<std::uint32_t>(p.length() - 34);
    sum = (sum & 0xffff) + (sum >> 16);
    store_be16(udp + 6, static_cast<std::uint16_t>(sum));
    p.checksum(checksum_status::partial);
    p.segment_size(segment);
    const std::vector<std::byte> sent(p.data(), p.data() + p.length());
    CHECK(eth->transmit(&p, 1, instant{}) == 1);
    CHECK(eth->lost() == 0);
    const auto got = receive(*eth);
    REQUIRE(got.size() == 1);
    CHECK(got[0].checksum == checksum_status::partial);
    CHECK(got[0].segment_size == segment);
    REQUIRE(got[0].length == sent.size());
    CHECK(std::memcmp(got[0].data, sent.data(), sent.size()) == 0);
    // And on from there.
    CHECK(eth->transmit(got.data(), 1, instant{}) == 1);
    const auto again = receive(*eth);
    REQUIRE(again.size() == 1);
    CHECK(again[0].segment_size == segment);
    CHECK(again[0].checksum == checksum_status::partial);
    eth->memory().release(again.data(), 1);
  }
}

TEST_CASE("where a program locks its memory, the limit of that is what to raise") {
  const namespace_with_rings inside;
  if (!inside) return;
  const ::pid_t child = ::fork();
  if (child == 0) {
    auto given = mapped_pool::open({.packets = 64, .bytes = 512});
    const auto raise_it = [](const error& e) {
      return std::strstr(e.message(), "raise the limit of locked memory (ulimit -l)") != nullptr;
    };
    ::__user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    ::__user_cap_data_struct may[2]{};
    const ::rlimit little{2 << 20, 2 << 20};
    if (!given || ::syscall(SYS_capget, &header, may) != 0) ::_exit(1);
    may[0].effective &= ~(1u << CAP_IPC_LOCK);
    // Not by the C library: the sanitizers make nothing of that call.
    if (::setrlimit(RLIMIT_MEMLOCK, &little) != 0 || ::syscall(SYS_capset, &header, may) != 0 ||
        ::syscall(SYS_mlockall, MCL_FUTURE) != 0)
      ::_exit(2);
    const auto no_pool = af_packet::open("lo");
    if (no_pool || !raise_it(no_pool.error())) ::_exit(3);
    const auto no_receive_ring = af_packet::open("lo", {.transmit_slots = 1, .memory = &given->get()});
    if (no_receive_ring || !raise_it(no_receive_ring.error())) ::_exit(4);
    const auto no_transmit_ring = af_packet::open("lo", {.blocks = 0, .memory = &given->get()});
    if (no_transmit_ring || !raise_it(no_transmit_ring.error())) ::_exit(5);
    ::_exit(af_packet::open("lo", {.blocks = 1, .transmit_slots = 1, .memory = &given->get()}) ? 0 : 6);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
}

TEST_CASE("what the kernel counts in 32 bits is asked for long before it can begin again") {
  const namespace_with_rings inside;
  if (!inside) return;
  const loopback up;
  auto eth = af_packet::open("lo");
  REQUIRE(eth);
  // What the kernel has counted since it was asked last; it begins again then.
  const auto in_kernel = [&eth] {
    ::tpacket_stats_v3 s{};
    std::uint32_t size = sizeof s;
    REQUIRE(detail::sys::getsockopt(eth->wait_handle(), detail::sys::sol_packet, PACKET_STATISTICS, &s, size) == 0);
    return s.tp_packets;
  };
  const auto receive_at = [&eth](instant now) {
    frame f[8];
    const std::size_t n = eth->receive(8, now, into_array(f));
    eth->memory().release(f, n);
  };
  const instant begin{1'000'000'000'000};
  receive_at(begin);
  send(*eth, 0, 4);
  receive_at(begin + seconds(1));
  CHECK(in_kernel() == 4);
  send(*eth, 0, 5);
  receive_at(begin + seconds(20));
  CHECK(in_kernel() == 0);
  CHECK(eth->statistics().arrived == 5);
  // Also by a clock that was set back.
  receive_at(begin - seconds(100));
  send(*eth, 0, 6);
  receive_at(begin - seconds(80));
  CHECK(in_kernel() == 0);
  CHECK(eth->statistics().arrived == 11);
}

TEST_CASE("a device without a ring only sends") {
  const namespace_with_rings inside;
  if (!inside) return;
  const loopback up;
  auto eth = af_packet::open("lo", {.blocks = 4});
  auto only_sends = af_packet::open("lo", {.bypass_qdisc = true, .blocks = 0});
  REQUIRE((eth && only_sends));
  CHECK(only_sends->wait_handle() == -1);
  send(*only_sends, 1, 3);
  std::vector<frame> frames(8);
  into_array take(frames.data());
  CHECK(only_sends->receive(8, instant{}, take) == 0);
  CHECK(marks(*eth, 3) == std::vector<std::uint16_t>{1, 2, 3});
}

#endif
