// SPDX-License-Identifier: MIT
// Early verdicts: what they see, where frames go, and that no packet is made before one is needed.
#include <flow/test_device.hpp>

#include <runnel/xdp.hpp>

using namespace runnel;
using namespace runnel::test;

namespace {

// A device whose frames are looked at while it hands them out, where no stage wants packets.
template <class Device>
struct near : Device {
  using Device::Device;
  static constexpr bool bytes_are_near = true;
};

template <class Wire = test_device>
struct fixture {
  counted_pool memory;
  Wire wire{memory};
  numbers arrived;
};

auto by_number(unsigned n, verdict v) {
  return [n, v](frame& f) -> verdict { return number_of(f) == n ? v : pass; };
}

}  // namespace

TEST_CASE("an early verdict may ask for any header, and frames without it pass") {
  fixture<> t;
  t.wire.udp(1);
  t.wire.tcp(2);
  t.wire.unknown(3);
  t.wire.broken(4);
  numbers seen;
  auto path = xdp([&](ipv4, udp u) {
                seen.add(number_of(u.payload()));
                return drop(drop_reason::blocklist);
              }) |
              note(t.arrived);
  run(attach(t.wire, path));
  CHECK(seen == "1");
  CHECK(t.arrived == "2 3 4");
  CHECK(counters_of<0>(path).packets == 4);
  CHECK(counters_of<0>(path).dropped(drop_reason::blocklist) == 1);
  CHECK(counters_of<1>(path).packets == 3);
}

TEST_CASE("an early verdict that returns nothing passes all frames") {
  fixture<> t;
  t.wire.several(1, 3);
  int calls = 0;
  auto path = xdp([&](ethernet) { ++calls; }) | note(t.arrived);
  run(attach(t.wire, path));
  CHECK(calls == 3);
  CHECK(t.arrived == "1 2 3");
}

TEST_CASE("an early verdict may ask for the time, a subject and the frame") {
  fixture<> t;
  t.wire.put(5, 18, instant{42}, eth, ipv4_header{.source = {10, 0, 0, 1}}, udp_header{.source_port = 5});
  int calls = 0;
  auto path = xdp([&](instant now, const subject& s, const frame& f, udp u) {
                ++calls;
                CHECK(now == instant{42});
                CHECK(s.headers.has<ipv4>());
                CHECK(f.length == s.length);
                CHECK(u.source_port() == 5);
              }) |
              note(t.arrived);
  run(attach(t.wire, path));
  CHECK(calls == 1);
}

TEST_CASE("every early verdict is counted at the program that said it, and later programs do not see the frame") {
  fixture<> t;
  test_device out{t.memory};
  t.wire.several(1, 6);
  int last = 0;
  auto path = xdp(by_number(1, drop(drop_reason::blocklist))) | xdp(by_number(2, aborted)) | xdp(by_number(3, tx)) |
              xdp(by_number(4, redirect(0)), out) | xdp([&](frame&) { ++last; }) | parse() | note(t.arrived);
  run(attach(t.wire, path));
  CHECK(t.arrived == "5 6");
  CHECK(t.wire.sent == "3");
  CHECK(out.sent == "4");
  CHECK(last == 2);
  CHECK(counters_of<0>(path).dropped(drop_reason::blocklist) == 1);
  CHECK(counters_of<1>(path).count(verdict_code::aborted) == 1);
  CHECK(counters_of<2>(path).count(verdict_code::tx) == 1);
  CHECK(counters_of<3>(path).count(verdict_code::redirect) == 1);
  for (const std::uint64_t n :
       {counters_of<0>(path).packets, counters_of<1>(path).packets + 1, counters_of<2>(path).packets + 2,
        counters_of<3>(path).packets + 3, counters_of<4>(path).packets + 4, counters_of<5>(path).packets + 4})
    CHECK(n == 6);
  CHECK(counters_of<4>(path).bytes == 2 * 60);
}

TEST_CASE_TEMPLATE("redirect(i) goes to target i of the program that says it", Wire, test_device, near<test_device>) {
  fixture<Wire> t;
  test_device a{t.memory}, b{t.memory}, c{t.memory}, d{t.memory};
  t.wire.several(1, 6);
  auto path =
      xdp([](frame& f) -> verdict { return number_of(f) % 2 == 0 ? redirect(number_of(f) == 2 ? 0 : 1) : pass; }, a,
          b) |
      xdp([](frame& f) { return redirect(number_of(f) == 5 ? 1 : 0); }, c, d) | discard;
  run(attach(t.wire, path));
  CHECK(a.sent == "2");
  CHECK(b.sent == "4 6");
  CHECK(c.sent == "1 3");
  CHECK(d.sent == "5");
  CHECK(counters_of<0>(path).count(verdict_code::redirect) == 3);
  CHECK(counters_of<1>(path).count(verdict_code::redirect) == 3);
}

TEST_CASE_TEMPLATE("a frame that a device refuses keeps back none behind it", Wire, test_device, near<test_device>) {
  fixture<Wire> t;
  test_device a{t.memory};
  t.wire.several(1, 6);
  SUBCASE("elsewhere") {
    a.refuses = 3;
    auto path = xdp([](frame&) -> verdict { return redirect(0); }, a) | discard;
    run(attach(t.wire, path));
    CHECK(a.sent == "1 2 4 5 6");
    CHECK(counters_of<0>(path).dropped(drop_reason::transmit_full) == 1);
  }
  SUBCASE("back") {
    t.wire.refuses = 3;
    auto path = xdp([](frame&) -> verdict { return tx; }) | discard;
    run(attach(t.wire, path));
    CHECK(t.wire.sent == "1 2 4 5 6");
    CHECK(counters_of<0>(path).dropped(drop_reason::transmit_full) == 1);
  }
}

TEST_CASE_TEMPLATE("frames that go elsewhere in a row go in one call of the device, which may be one of the system",
                   Wire, test_device, near<test_device>) {
  fixture<Wire> t;
  test_device a{t.memory};
  t.wire.several(1, 40);
  auto path = xdp([](frame& f) -> verdict { return number_of(f) == 4 ? drop : redirect(0); }, a) | discard;
  run(attach(t.wire, path));
  CHECK(a.sent.count() == 39);
  CHECK(a.calls == 3);  // up to 4, and 32 at once behind it
  CHECK(counters_of<0>(path).count(verdict_code::redirect) == 39);
}

TEST_CASE_TEMPLATE("frames for which there is one descriptor go one after the other", Wire, test_device,
                   near<test_device>) {
  counted_pool memory({.packets = 8, .bytes = 256, .headroom = 64, .bare = 1});
  Wire wire{memory}, a{memory};
  wire.lend_bytes();
  wire.several(1, 5);
  auto path = xdp([](frame&) { return redirect(0); }, a) | discard;
  run(attach(wire, path));
  CHECK(a.sent == "1 2 3 4 5");
  CHECK(counters_of<0>(path).count(verdict_code::redirect) == 5);
}

TEST_CASE("a redirect to a target that is not there is a drop, also where its number does not fit a byte") {
  fixture<> t;
  test_device a{t.memory};
  t.wire.several(1, 3);
  auto path =
      xdp([](frame& f) { return redirect(static_cast<std::uint16_t>(number_of(f) == 1 ? 1 : 255 + number_of(f) - 2)); },
          a) |
      discard;
  run(attach(t.wire, path));
  CHECK(a.sent == "");
  CHECK(counters_of<0>(path).dropped(drop_reason::no_target) == 3);
  CHECK(counters_of<0>(path).count(verdict_code::redirect) == 0);
}

TEST_CASE_TEMPLATE("a redirect that the target has no room for is a drop with that cause", Wire, test_device,
                   near<test_device>) {
  fixture<Wire> t;
  test_device a{t.memory};
  a.transmits_at_most(1);
  t.wire.several(1, 3);
  auto path = xdp([](ethernet) { return redirect(0); }, a) | discard;
  run(attach(t.wire, path));
  CHECK(a.sent == "1");
  CHECK(counters_of<0>(path).count(verdict_code::redirect) == 1);
  CHECK(counters_of<0>(path).dropped(drop_reason::transmit_full) == 2);
}

TEST_CASE_TEMPLATE("tx on a device that has no room is a drop with that cause", Wire, test_device, near<test_device>) {
  fixture<Wire> t;
  t.wire.transmits_at_most(1);
  t.wire.several(1, 3);
  auto path = xdp([](ethernet) { return tx; }) | discard;
  run(attach(t.wire, path));
  CHECK(t.wire.sent == "1");
  CHECK(counters_of<0>(path).dropped(drop_reason::transmit_full) == 2);
}

// A device that takes its own frames back as they are.
class frame_port : public test_device {
 public:
  using test_device::test_device;
  using test_device::transmit;
  std::size_t transmit(const frame* frames, std::size_t n, instant) {
    const std::size_t taken = n < room ? n : room;
    for (std::size_t i = 0; i < taken; ++i) back.add(number_of(frames[i]));
    memory().release(frames, taken);
    room -= taken;
    return taken;
  }
  numbers back;
  std::size_t room = 100;
};

TEST_CASE_TEMPLATE("tx goes back as frames to a device that takes frames, and no packet is made", Wire, frame_port,
                   near<frame_port>) {
  counted_pool memory;
  Wire port{memory};
  port.several(1, 5);
  auto path = xdp([](frame& f) { return number_of(f) == 3 ? drop : tx; }) | discard;
  run(attach(port, path));
  CHECK(port.back == "1 2 4 5");
  CHECK(port.sent == "");
  CHECK(counters_of<0>(path).count(verdict_code::tx) == 4);
  CHECK(counters_of<0>(path).dropped(drop_reason::policy) == 1);
}

TEST_CASE_TEMPLATE(
    "what a device does not take back of a run of frames is dropped with that cause, and its slots come home", Wire,
    frame_port, near<frame_port>) {
  counted_pool memory;
  Wire port{memory};
  port.several(1, 6);
  port.room = 2;
  auto path = xdp([](frame& f) { return number_of(f) == 6 ? pass : tx; }) | discard;
  run(attach(port, path));
  CHECK(port.back == "1 2");
  CHECK(counters_of<0>(path).packets == 6);
  CHECK(counters_of<0>(path).count(verdict_code::tx) == 2);
  CHECK(counters_of<0>(path).dropped(drop_reason::transmit_full) == 3);
  CHECK(counters_of<0>(path).passed() == 1);
}

TEST_CASE("mut<> in an early verdict writes to the frame, and the packet has what was written") {
  fixture<> t;
  t.wire.udp(1);
  int seen = 0;
  auto path =
      xdp([](mut<ipv4> ip) { ip.time_to_live(3); }) | parse() | [&](ipv4 ip) { seen = ip.time_to_live(); } | discard;
  run(attach(t.wire, path));
  CHECK(seen == 3);
}

TEST_CASE("a program that changes the frame's headers is followed by programs and stages that see the new ones") {
  fixture<> t;
  t.wire.put(1, 18, {}, eth, ipv4_header{.source = {10, 0, 0, 1}}, udp_header{.source_port = 1}, eth,
             ipv4_header{.source = {10, 9, 9, 9}}, tcp_header{.source_port = 77});
  std::string seen;
  auto path = xdp([&](udp) { seen += "udp "; }) | xdp([](frame& f) { return f.pull(14 + 20 + 8) ? pass : drop; }) |
              xdp([&](udp) { seen += "still udp "; }) | xdp([&](ipv4 ip, tcp s) {
                CHECK(ip.source() == ipv4_address{10, 9, 9, 9});
                seen += "tcp " + std::to_string(s.source_port());
              }) |
              parse() |
              [&](ipv4 ip, tcp s) {
                CHECK(ip.source() == ipv4_address{10, 9, 9, 9});
                seen += " and " + std::to_string(s.source_port());
              } |
              note(t.arrived);
  run(attach(t.wire, path));
  CHECK(seen == "udp tcp 77 and 77");
  CHECK(t.arrived == "1");
  CHECK(counters_of<0>(path).bytes == 14 + 20 + 8 + 14 + 20 + 20 + 18);
  CHECK(counters_of<4>(path).bytes == 14 + 20 + 20 + 18);
}

TEST_CASE("a frame that was resized before it was dropped leaves the byte counts of later programs in order") {
  fixture<> t;
  t.wire.several(1, 2);
  auto path =
      xdp([](frame& f) { (void)f.push(20); }) | xdp(by_number(1, drop)) | xdp([](ethernet) {}) | note(t.arrived);
  run(attach(t.wire, path));
  CHECK(t.arrived == "2");
  CHECK(counters_of<0>(path).bytes == 120);
  CHECK(counters_of<2>(path).bytes == 60);
  CHECK(counters_of<3>(path).bytes == 80);
}

TEST_CASE_TEMPLATE("frames that were resized come to the end as they are then", Wire, test_device, near<test_device>) {
  fixture<Wire> t;
  t.wire.several(1, 3);
  auto path = xdp([](frame& f) { (void)f.push(number_of(f) * 10); }) | xdp(by_number(2, drop)) | discard;
  run(attach(t.wire, path));
  CHECK(counters_of<0>(path).bytes == 3 * 60);
  CHECK(counters_of<1>(path).bytes == 3 * 60);
  CHECK(counters_of<2>(path).bytes == 70 + 90);
  CHECK(counters_of<2>(path).packets == 2);
}

TEST_CASE_TEMPLATE("early verdicts know the time that the last frame of their burst brings", Wire, test_device,
                   near<test_device>) {
  fixture<Wire> t;
  for (const std::int64_t when : {5, 6, 7}) t.wire.put(1, 18, instant{when}, eth, ipv4_header{}, udp_header{});
  std::int64_t sum = 0;
  run(attach(t.wire, xdp([&](instant now) { sum += now.ns; }) | discard, {.budget = 3}));
  CHECK(sum == 3 * 7);
}

TEST_CASE_TEMPLATE("what a program writes into a frame's timestamp does not move the clock", Wire, test_device,
                   near<test_device>) {
  fixture<Wire> t;
  for (const std::int64_t when : {5, 6, 7}) t.wire.put(1, 18, instant{when}, eth, ipv4_header{}, udp_header{});
  capture_clock time;
  run(time, attach(t.wire, xdp([](frame& f) { f.timestamp = instant{100}; }) | discard));
  CHECK(time.now() == instant{7});
}

TEST_CASE("what an early verdict found is not looked for again by parse()") {
  fixture<> t;
  t.wire.udp(1);
  layers before{};
  auto path = xdp([](ipv4) {}) | [&](packet& p) { before = p.layers(); } | parse() | note(t.arrived);
  run(attach(t.wire, path));
  CHECK(before.has(protocol::parsed));
  CHECK(before.has(protocol::udp));
  CHECK(t.arrived == "1");
}

TEST_CASE("where no early verdict asks for a header, none is looked for") {
  fixture<> t;
  t.wire.udp(1);
  layers before{};
  auto path = xdp([](frame&) {}) | [&](packet& p) { before = p.layers(); } | parse() | [](ipv4) {} | note(t.arrived);
  run(attach(t.wire, path));
  CHECK_FALSE(before.has(protocol::parsed));
  CHECK(t.arrived == "1");
}

TEST_CASE("parse() drops what an early verdict let pass and found malformed, with the cause") {
  fixture<> t;
  t.wire.broken(1);
  auto path = xdp([](ipv4) {}) | parse() | note(t.arrived);
  run(attach(t.wire, path));
  CHECK(t.arrived == "");
  CHECK(counters_of<1>(path).dropped(drop_reason::ip_version) == 1);
}

TEST_CASE_TEMPLATE("a pipeline of early verdicts that ends in discard never makes a packet", Wire, test_device,
                   near<test_device>) {
  counted_pool memory{pool_config{.packets = 4, .bytes = 256, .headroom = 0, .bare = 0}};
  Wire wire{memory};
  wire.lend_bytes();
  wire.several(1, 6);
  int seen = 0;
  auto path = xdp([&](udp) { ++seen; }) | xdp(by_number(3, drop(drop_reason::blocklist))) | discard;
  run(attach(wire, path));
  CHECK(seen == 6);
  CHECK(counters_of<2>(path).packets == 5);
  CHECK(counters_of<2>(path).bytes == 5 * 60);
  CHECK(counters_of<2>(path).dropped(drop_reason::discarded) == 5);
  CHECK(memory->exhausted() == 0);
}

TEST_CASE("discard alone takes frames and makes no packet") {
  counted_pool memory{pool_config{.packets = 4, .bytes = 256, .headroom = 0, .bare = 0}};
  test_device wire{memory};
  wire.lend_bytes();
  wire.several(1, 3);
  run(attach(wire, discard));
  CHECK(memory->exhausted() == 0);
  CHECK(wire.done());
}

TEST_CASE_TEMPLATE("tx and redirect of lent bytes need a descriptor, and are dropped when there is none", Wire,
                   test_device, near<test_device>) {
  counted_pool memory{pool_config{.packets = 4, .bytes = 256, .headroom = 0, .bare = 0}};
  Wire wire{memory}, out{memory};
  wire.lend_bytes();
  wire.several(1, 2);
  auto path = xdp(by_number(1, tx)) | xdp(by_number(2, redirect(0)), out) | discard;
  run(attach(wire, path));
  CHECK(wire.sent == "");
  CHECK(out.sent == "");
  CHECK(counters_of<0>(path).dropped(drop_reason::no_packet) == 1);
  CHECK(counters_of<1>(path).dropped(drop_reason::no_packet) == 1);
}

TEST_CASE("early verdicts without packets to make are also the whole of an uncounted pipeline") {
  fixture<> t;
  t.wire.several(1, 4);
  auto path = uncounted | xdp(by_number(1, drop)) | xdp(by_number(2, tx)) | parse() | note(t.arrived);
  CHECK(sizeof path <= 64);
  run(attach(t.wire, path));
  CHECK(t.arrived == "3 4");
  CHECK(t.wire.sent == "2");
}
