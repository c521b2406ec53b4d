// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include <packet/counted_pool.hpp>

#include <runnel/device/clock.hpp>
#include <runnel/device/limited.hpp>
#include <runnel/device/open.hpp>
#include <runnel/flow.hpp>

#if defined(__unix__)

#include <poll.h>

#include <device/few_descriptors.hpp>
#include <device/fresh_namespace.hpp>
#include <device/numbered.hpp>

using namespace runnel;
using runnel::test::counted_pool;
using runnel::test::fresh_namespace;
using runnel::test::number_in;
using runnel::test::numbered;
using runnel::test::open_files;

namespace {

std::string problem(const std::string& uri, pool* memory = nullptr) {
  const auto d = device::open(uri.c_str(), memory);
  return d ? "it was opened" : d.error().message();
}
// What comes by `now`, by number.
std::vector<std::uint32_t> arrivals(device::any_device& d, instant now) {
  std::vector<std::uint32_t> all;
  frame f[8];
  while (const std::size_t n = d.receive(8, now, into_array(f))) {
    for (std::size_t i = 0; i < n; ++i) all.push_back(number_in(f[i]));
    d.memory().release(f, n);
  }
  return all;
}
using list = std::vector<std::uint32_t>;

}  // namespace

TEST_CASE("a kind, an option or a value that there is not is an error that lists those that there are") {
  CHECK(problem("eth0") ==
        "open: read eth0: it names no kind of device: write kind:name?option=value, as in af_packet:eth0");
#if defined(__linux__)
  CHECK(problem("ethernet:eth0")
            .rfind("open: read ethernet:eth0: there is no such kind of device: there are pcap, null, "
                   "link, tap, tun, af_packet, af_xdp",
                   0) == 0);
  CHECK(
      problem("tap:t?mtuu=5") ==
      "open: tap t: there is no option 'mtuu': there are create, multi_queue, vnet_header, segmentation, up, persist, "
      "mtu, mac, netns, packets, packet_bytes");
  CHECK(problem("tun:t?mac=02:00:00:00:00:01") ==
        "open: tun t: there is no option 'mac': there are create, multi_queue, vnet_header, segmentation, up, persist, "
        "mtu, netns, packets, packet_bytes");
  CHECK(problem("af_packet:eth0?fanout=hush") ==
        "open: af_packet eth0: fanout cannot be 'hush': there are none, hash, lb, cpu, rollover");
  CHECK(problem("af_xdp:eth0?queues=64") ==
        "open: af_xdp eth0: queues cannot be '64': give all, or numbers below 64 with commas between them");
  CHECK(
      problem("af_xdp:runnel-none?queues=0,2&mode=copy&attach=generic").rfind("af_xdp: open runnel-none: no such", 0) ==
      0);
  CHECK(problem("af_xdp:runnel-none?take=udp dport 7 and not arp").rfind("af_xdp: open runnel-none: no such", 0) == 0);
  CHECK(problem("af_xdp:eth0?take=udp dprt 7").find("dprt") != std::string::npos);
  CHECK(problem("af_packet:runnel-none").rfind("af_packet: open runnel-none: no such interface: there are ", 0) == 0);
#endif
  CHECK(problem("null:?length=70000") == "open: null: length cannot be '70000': give a number from 0 to 65535");
  CHECK(problem("pcap:x?write& no") ==
        "open: pcap x: there is no option ' no': a value ends at '&' and cannot have one; there are write, format, "
        "link, snap_length");
  CHECK(problem("pcap:x?writ") == "open: pcap x: there is no option 'writ': there are write, pace");
  CHECK(problem("pcap:x?write&pace=capture") ==
        "open: pcap x: there is no option 'pace': there are write, format, link, snap_length");
  CHECK(problem("pcap:/nowhere/x").rfind("pcap: open /nowhere/x: No such file or directory", 0) == 0);
  CHECK(problem("link:x?loss=1") ==
        "open: link x: loss cannot be '1': give a share like 0.5%: up to 100%, at most four digits behind the point");
}

TEST_CASE("a check says the same of a device as opening it would, and opens nothing") {
  const auto checked = [](const std::string& uri) -> std::string {
    const auto right = device::check(uri.c_str());
    return right ? "right" : right.error().message();
  };
  const std::size_t files = open_files();
  for (const char* uri : {"null:?length=64&limit=10", "link:nobody?latency=1ms", "pcap:/nowhere/x", "pcap:x?write"})
    CHECK(checked(uri) == "right");
  for (const char* uri : {"eth0", "ethernet:eth0", "null:?lenght=64", "null:?length=70000", "pcap:x?write& no",
                          "link:x?loss=1", "null:?copy&copy", ":x", ""})
    CHECK(checked(uri) == problem(uri));
#if defined(__linux__)
  for (const char* uri : {"af_packet:runnel-none?fanout=hash&promiscuous", "tap:runnel-none?mtu=1400", "tun:t",
                          "af_xdp:runnel-none?take=udp dport 7&queues=0"})
    CHECK(checked(uri) == "right");
  for (const char* uri : {"af_packet:eth0?promisc", "af_xdp:eth0?take=udp dprt 7", "af_xdp:eth0?take=a & b",
                          "tap:t?mtuu=5", "tun:t?mac=02:00:00:00:00:01"})
    CHECK(checked(uri) == problem(uri));
#endif
  CHECK(std::fopen("x", "r") == nullptr);
  CHECK(open_files() == files);
}

TEST_CASE("null: hands out frames up to its limit, and takes packets") {
  counted_pool memory;
  auto opened = device::open("null:?length=100&limit=70&copy", &memory.get());
  REQUIRE_MESSAGE(opened, doctest::String(opened.error().message()));
  device::any_device d = std::move(*opened);
  CHECK(&d.memory() == &memory.get());
  CHECK(same_text(d.name(), "null"));
  CHECK(d.wait_handle() == -1);
  CHECK(d.transmit_handle() == -1);
  CHECK_FALSE(d.done());
  CHECK(arrivals(d, instant{}).size() == 70);
  CHECK(d.done());
  packet p = numbered(memory, 1);
  CHECK(d.transmit(&p, 1, instant{}) == 1);
  CHECK_FALSE(p);
  text<100> line;
  print(line, d);
  CHECK(same_text(line.c_str(), "received 70, transmitted 1"));
  CHECK(d.failure() == nullptr);
  CHECK(problem("null:?length=600", &memory.get()) ==
        "open: null: length is more than a slot of the pool holds: give a smaller one");
}

TEST_CASE("a capture is written and read again, by pipelines that know nothing of it") {
  const std::string path = "/tmp/runnel-test-open-" + std::to_string(::getpid()) + ".pcapng";
  const std::size_t files = open_files();
  {
    auto from = device::open("null:?length=64&limit=300");
    auto to = device::open(("pcap:" + path + "?write").c_str());
    REQUIRE(from);
    REQUIRE_MESSAGE(to, doctest::String(to.error().message()));
    CHECK(to->done());
    CHECK(same_text(to->name(), path.c_str()));
    CHECK(to->descriptions() == nullptr);
    run(attach(*from, [](packet&) {} | transmit(*to)));
    CHECK(to->failure() == nullptr);
    CHECK(to->statistics().transmitted == 300);
    auto back = device::open(("pcap:" + path).c_str());
    REQUIRE_MESSAGE(back, doctest::String(back.error().message()));
    const interface_descriptions* known = back->descriptions();
    REQUIRE(known != nullptr);
    CHECK(same_text(known->name_of(0), ""));
    std::uint64_t seen = 0;
    run(attach<256>(*back, [&](packet& p) { seen += p.length() == 64; } | discard));
    CHECK(seen == 300);
    CHECK(back->statistics().received == 300);
    CHECK(back->done());
    CHECK(back->failure() == nullptr);
  }
  CHECK(open_files() == files);
  {
    // A writer that fails says so.
    auto to = device::open("pcap:/dev/full?write&format=pcap&snap_length=96");
    REQUIRE(to);
    packet p = numbered(to->memory(), 1);
    CHECK(to->transmit(&p, 1, instant{}) == 1);
    REQUIRE(to->failure() != nullptr);
    CHECK(to->lost() == 1);
  }
  CHECK(std::remove(path.c_str()) == 0);
}

TEST_CASE("two that open a link by the same name are its two ends") {
  counted_pool memory;
  {
    auto a = device::open("link:wire?latency=20ms&capacity=2", &memory.get());
    REQUIRE_MESSAGE(a, doctest::String(a.error().message()));
    CHECK(problem("link:wire?latency=1ms") ==
          "link: open wire: the other end has made it: give options and memory to the first that is opened");
    auto b = device::open("link:wire", &memory.get());
    REQUIRE_MESSAGE(b, doctest::String(b.error().message()));
    CHECK(problem("link:wire") == "link: open wire: both of its ends are open: take another name, or close one");
    packet p[3];
    for (std::uint32_t i = 0; i < 3; ++i) p[i] = numbered(memory, i);
    CHECK(a->transmit(p, 3, instant{}) == 3);
    CHECK(a->lost() == 1);  // no room for the third
    CHECK(b->next_due() == instant{} + milliseconds(20));
    CHECK(arrivals(*b, instant{} + milliseconds(19)).empty());
    packet back = numbered(memory, 7);
    CHECK(b->transmit(&back, 1, instant{}) == 1);
    // One end is closed: what is on the way arrives at the other, and the name is free.
    { const device::any_device closed = std::move(*a); }
    CHECK(arrivals(*b, instant{} + milliseconds(20)) == list{0, 1});
    CHECK(b->done());
    CHECK(problem("link:wire?loss=100%") == "it was opened");
  }
  memory.check_all_home();
}

TEST_CASE("each option of a link does what it says") {
  counted_pool memory;
  int wires = 0;
  // What comes at the other end, and when, of three packets that were sent at once.
  const auto come = [&](const char* options) {
    const std::string name = "link:wire" + std::to_string(++wires);
    auto a = device::open((name + "?" + options).c_str(), &memory.get());
    REQUIRE_MESSAGE(a, doctest::String(a.error().message()));
    auto b = device::open(name.c_str(), &memory.get());
    REQUIRE(b);
    packet p[3];
    for (std::uint32_t i = 0; i < 3; ++i) p[i] = numbered(memory, i);
    CHECK(a->transmit(p, 3, instant{}) == 3);
    std::vector<std::pair<std::uint32_t, std::int64_t>> all;
    while (b->next_due() != never) {
      const std::int64_t due = b->next_due().ns;
      for (const std::uint32_t number : arrivals(*b, {due})) all.emplace_back(number, due / 1'000'000);
    }
    return all;
  };
  using timed = std::vector<std::pair<std::uint32_t, std::int64_t>>;
  CHECK(come("latency=20ms") == timed{{0, 20}, {1, 20}, {2, 20}});
  CHECK(come("loss=100%").empty());
  CHECK(come("max_length=63").empty());
  CHECK(come("capacity=2") == timed{{0, 0}, {1, 0}});
  CHECK(come("duplication=100%").size() == 6);
  CHECK(come("rate=64k") == timed{{0, 8}, {1, 16}, {2, 24}});
  CHECK(come("latency=20ms&reordering=100%") == timed{{0, 0}, {1, 0}, {2, 0}});
  {
    auto a = device::open("link:damaged?corruption=100%", &memory.get());
    auto b = device::open("link:damaged", &memory.get());
    packet p = numbered(memory, 0);
    const std::vector<std::byte> before(p.data(), p.data() + p.length());
    REQUIRE(a->transmit(&p, 1, instant{}) == 1);
    frame f;
    REQUIRE(b->receive(1, instant{}, into_array(&f)) == 1);
    CHECK(std::vector<std::byte>(f.data, f.data + f.length) != before);
    memory->release(&f, 1);
  }
  const timed early = come("jitter=900ms&seed=1"), other = come("jitter=900ms&seed=2");
  CHECK(early != other);
  CHECK(come("jitter=900ms&seed=1") == early);
  int out_of_order = 0;
  for (int seed = 1; seed <= 20; ++seed) {
    const std::string with = "jitter=900ms&seed=" + std::to_string(seed);
    const timed any = come(with.c_str()), in_order = come((with + "&keep_order").c_str());
    out_of_order += !(any[0].first < any[1].first && any[1].first < any[2].first);
    CHECK((in_order[0].first == 0 && in_order[1].first == 1 && in_order[2].first == 2));
  }
  CHECK(out_of_order > 0);
  memory.check_all_home();
}

TEST_CASE("each option of a capture that is written does what it says") {
  const std::string path = "/tmp/runnel-test-options-" + std::to_string(::getpid());
  const auto written = [&](const char* options) {
    {
      auto to = device::open(("pcap:" + path + "?write&" + options).c_str());
      REQUIRE_MESSAGE(to, doctest::String(to.error().message()));
      packet p = numbered(to->memory(), 1);
      CHECK(to->transmit(&p, 1, instant{}) == 1);
    }
    auto memory = mapped_pool::open({.packets = 16});
    REQUIRE(memory);
    auto in = pcap_reader::open(path.c_str(), *memory);
    REQUIRE(in);
    frame f{};
    REQUIRE(in->receive(1, instant{}, into_array(&f)) <= 1);
    memory->get().release(&f, f.data != nullptr ? 1 : 0);
    return std::string(in->format().is_pcapng() ? "pcapng " : "pcap ") +
           (in->link_of(0) == link_type::raw_ip ? "raw_ip " : "ethernet ") + std::to_string(f.length);
  };
  CHECK(written("format=pcapng") == "pcapng ethernet 64");
  CHECK(written("format=pcap") == "pcap ethernet 64");
  CHECK(written("format=pcap&snap_length=20") == "pcap ethernet 20");
  CHECK(written("format=pcap&link=raw_ip") == "pcap raw_ip 0");  // an Ethernet frame does not go there
  CHECK(std::remove(path.c_str()) == 0);
}

TEST_CASE("what stands around a device of any kind is one itself") {
  counted_pool memory;
  const std::string path = "/tmp/runnel-around-" + std::to_string(::getpid()) + ".pcapng";
  REQUIRE(device::open(("pcap:" + path + "?write").c_str(), &memory.get()));
  auto null = device::open("null:?limit=2", &memory.get());
  auto capture = device::open(("pcap:" + path).c_str(), &memory.get());
  REQUIRE(null);
  REQUIRE(capture);
  using slow = device::limited<device::any_device>;
  auto a = device::any_device::make<slow>("slow", *null, device::limited_options{});
  auto b = device::any_device::make<slow>("slow", *capture, device::limited_options{});
  REQUIRE(a);
  REQUIRE(b);
  CHECK(same_text(a->name(), "null"));
  CHECK(a->descriptions() == nullptr);
  CHECK(b->descriptions() == capture->descriptions());
  CHECK(b->descriptions() != nullptr);
  CHECK(arrivals(*a, instant{}).size() == 2);
  CHECK(std::remove(path.c_str()) == 0);
}

TEST_CASE("an any_device is moved with what it holds") {
  counted_pool memory;
  auto a = device::open("null:?limit=1", &memory.get());
  auto b = device::open("null:?limit=2", &memory.get());
  REQUIRE(a);
  REQUIRE(b);
  device::any_device one = std::move(*a), two = std::move(*b);
  CHECK(arrivals(two, instant{}).size() == 2);
  one = std::move(two);
  CHECK(one.done());
  CHECK(one.statistics().received == 2);
}

#if defined(__linux__)

TEST_CASE("each option of an interface does what it says") {
  const fresh_namespace here;
  if (!here) return;
  const auto opened = [](const char* uri) {
    auto d = device::open(uri);
    REQUIRE_MESSAGE(d, doctest::String(d.error().message()));
    return std::move(*d);
  };
  const auto is_up = [](const char* name) { return device::network_interface::open(name)->status()->up; };
  {
    auto down = opened("tap:tap0?up=no&persist");
    CHECK_FALSE(is_up("tap0"));
  }
  {
    auto again = opened("tap:tap0?create=no&multi_queue=no");
    CHECK(is_up("tap0"));
    CHECK(problem("tap:tap0").find("another program has it open") != std::string::npos);
  }
  CHECK(is_up("tap0"));
  CHECK(problem("tap:tap0?persist=no") == "it was opened");
  CHECK_FALSE(device::network_interface::open("tap0"));
  auto one = opened("tap:tap1?multi_queue"), two = opened("tap:tap1?multi_queue");
  CHECK(opened("tap:tap2?segmentation&packets=8").memory().packet_bytes() == 65535);
  CHECK(problem("tap:tap2?packet_bytes=100").find("larger slots: packet_bytes") != std::string::npos);
  {
    // What is left to do is only left so where there is a header to say it in.
    for (const bool header : {false, true}) {
      auto tap = opened(header ? "tap:tap3?mtu=4000&vnet_header" : "tap:tap3?mtu=4000");
      packet p = numbered(tap.memory(), 1, 3000);
      p.segment_size(1000);
      CHECK(tap.transmit(&p, 1, instant{}) == 1);
      text<200> line;
      print(line, tap);
      CHECK((std::strstr(line.c_str(), "1 lost as not allowed") != nullptr) == !header);
    }
  }
  const auto nic = device::open("af_packet:tap1");
  if (!nic && nic.error().number() == ENOPROTOOPT) {
    MESSAGE("skipped: packet sockets have no rings here, in an emulator");
    return;
  }
  CHECK(problem("af_packet:tap1?block_size=5000").find("block_size is not a power of two") != std::string::npos);
  CHECK(problem("af_packet:tap1?transmit_slots=1048576").find("choose fewer transmit_slots") != std::string::npos);
  CHECK(opened("af_packet:tap1?packets=77").memory().capacity() == 77);
  {
    auto of_a_group = opened("af_packet:tap1?fanout=hash&fanout_group=7");
    CHECK(problem("af_packet:tap1?fanout=lb&fanout_group=7").find("fanout group 7") != std::string::npos);
    auto of_the_same = opened("af_packet:tap1?fanout=hash&fanout_group=7");
    // A group defragments, or it does not.
    CHECK(problem("af_packet:tap1?fanout=hash&fanout_group=7&defragment").find("fanout group 7") != std::string::npos);
  }
  // What goes round the qdisc is not seen by those who look on.
  for (const bool bypass : {false, true}) {
    auto tap = opened("tap:tap4"), looks_on = opened("af_packet:tap4?headroom=300");
    auto sends = opened(bypass ? "af_packet:tap4?bypass_qdisc&blocks=0" : "af_packet:tap4?blocks=0");
    packet p = numbered(sends.memory(), 5);
    REQUIRE(sends.transmit(&p, 1, instant{}) == 1);
    p = numbered(tap.memory(), 6);
    REQUIRE(tap.transmit(&p, 1, instant{}) == 1);
    ::pollfd ready{looks_on.wait_handle(), POLLIN, 0};
    REQUIRE(::poll(&ready, 1, 1000) == 1);
    frame f;
    REQUIRE(looks_on.receive(1, instant{}, into_array(&f)) == 1);
    CHECK(number_in(f) == 6);
    CHECK(f.headroom >= 300);
    looks_on.memory().release(&f, 1);
  }
}

TEST_CASE("what a program in the XDP hook cannot know is refused where it is asked for") {
  const fresh_namespace here;
  if (!here) return;
  auto lo = device::network_interface::open("lo");
  REQUIRE(lo);
  REQUIRE(lo->set_mtu(1500));
  REQUIRE(lo->set_up(true));
  if (const auto nic = device::open("af_xdp:lo?take=udp dport 7"); !nic) {
    MESSAGE("skipped: ", doctest::String(nic.error().message()));
    return;
  }
  const std::size_t files = open_files();
  CHECK(problem("af_xdp:lo?take=udp dport 7 and ct state established") ==
        "xdp: lower rule 1, ct state established: the XDP hook comes before connection tracking: ask for it in user "
        "space, behind track()");
  CHECK(problem("af_xdp:lo?take=ct mark != 3").find("lower rule 1, ct mark") != std::string::npos);
  CHECK(problem("af_xdp:lo?take=not meta mark 3").find("nobody has set this yet") != std::string::npos);
  CHECK(problem("af_xdp:lo?take=oif 2").find("nobody has set this yet") != std::string::npos);
  CHECK(problem("af_xdp:lo?take=iif 2") ==
        "af_xdp: take by meta iif from lo: all packets of a device come by its one interface: leave it out");
  CHECK(open_files() == files);
}

TEST_CASE("where no file descriptor is left the error says which limit to raise, and nothing stays open") {
  const fresh_namespace here;
  if (!here) return;
  auto lo = device::network_interface::open("lo");
  REQUIRE(lo);
  REQUIRE(lo->set_mtu(1500));
  REQUIRE(lo->set_up(true));
  const std::size_t files = open_files();
  for (const char* const uri : {"af_packet:lo", "af_xdp:lo", "tap:tap0", "tap:tap0?netns=/proc/self/ns/net",
                                "pcap:/proc/self/exe", "pcap:/dev/null?write"}) {
    CAPTURE(doctest::String(uri));
    // As many as that, and one more each time, until it is something else that is wrong, or nothing.
    int refused = 0;
    for (;; ++refused) {
      const auto opened = [&] {
        const few_descriptors left(refused);
        return device::open(uri);
      }();
      if (opened || opened.error().number() != EMFILE) break;
      CAPTURE(doctest::String(opened.error().message()));
      const bool says = std::strstr(opened.error().message(),
                                    "Too many open files: raise the limit of open files (ulimit -n)") != nullptr;
      CHECK(says);
      CHECK(open_files() == files);
    }
    CHECK(refused != 0);
  }
}

TEST_CASE("a TAP and a packet socket on the same interface, each opened by a string, see each other") {
  const fresh_namespace here;
  if (!here) return;
  const std::size_t files = open_files();
  {
    auto tap = device::open("tap:tap0?mtu=2000&mac=02:00:00:00:00:09&packets=32");
    REQUIRE_MESSAGE(tap, doctest::String(tap.error().message()));
    auto nic = device::open("af_packet:tap0?promiscuous&block_timeout=1ms&packets=64&blocks=4");
    if (!nic && nic.error().number() == ENOPROTOOPT) {
      MESSAGE("skipped: packet sockets have no rings here, in an emulator");
      return;
    }
    REQUIRE_MESSAGE(nic, doctest::String(nic.error().message()));
    CHECK(same_text(tap->name(), "tap0"));
    CHECK(same_text(nic->name(), "tap0"));
    CHECK(tap->wait_handle() >= 0);
    CHECK(tap->transmit_handle() >= 0);
    CHECK(tap->memory().capacity() == 32);
    packet p = numbered(tap->memory(), 0x01020304);
    REQUIRE(tap->transmit(&p, 1, instant{}) == 1);
    ::pollfd one{nic->wait_handle(), POLLIN, 0};
    REQUIRE(::poll(&one, 1, 1000) == 1);
    CHECK(arrivals(*nic, instant{}) == list{0x01020304});
    p = numbered(nic->memory(), 0x05060708);
    REQUIRE(nic->transmit(&p, 1, instant{}) == 1);
    CHECK(arrivals(*tap, instant{}) == list{0x05060708});
    text<200> line;
    print(line, *tap);
    CHECK(same_text(line.c_str(), "received 1 (64 bytes), transmitted 1 (64 bytes), 4 system calls"));
    CHECK(nic->statistics().received == 1);
    CHECK(nic->statistics().dropped == 0);
  }
  CHECK(problem("tap:tap0?create=no") == "tap: open tap0: no such interface: there are lo");
  auto tun = device::open("tun:tun%d?mtu=1280");
  REQUIRE_MESSAGE(tun, doctest::String(tun.error().message()));
  CHECK(same_text(tun->name(), "tun0"));
  CHECK(open_files() == files + 2);  // the queue, and a socket for its settings
}

#endif

#endif
