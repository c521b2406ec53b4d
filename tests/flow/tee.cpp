// SPDX-License-Identifier: MIT
// Stages that let everything go on and do something beside: tee, unshare, tap.
#include <flow/test_device.hpp>

using namespace runnel;
using namespace runnel::test;

namespace {

struct fixture {
  counted_pool memory;
  test_device wire{memory};
  numbers arrived;
  numbers copied;
};

}  // namespace

TEST_CASE("tee sends every packet two ways, over the same bytes") {
  fixture t;
  t.wire.several(1, 3);
  std::vector<const std::byte*> here, there;
  auto path = parse() | tee([&](packet& p) {
                CHECK(p.is_shared());
                there.push_back(p.data());
              } | note(t.copied)) |
              [&](packet& p) { here.push_back(p.data()); } | note(t.arrived);
  run(attach(t.wire, path));
  CHECK(t.copied == "1 2 3");
  CHECK(t.arrived == "1 2 3");
  CHECK(here == there);
  CHECK(counters_of<1>(path).packets == 3);
  CHECK(counters_of<1>(path).passed() == 3);
}

TEST_CASE("a clone knows what was found before the tee") {
  fixture t;
  t.wire.udp(1);
  int seen = 0;
  auto path = parse() | [](packet& p) { p.mark(5); } |
              tee([&](udp, packet& p) { seen += static_cast<int>(p.mark()); } | discard) | note(t.arrived);
  run(attach(t.wire, path));
  CHECK(seen == 5);
}

TEST_CASE("a packet for which no bare descriptor is left is not cloned, is counted at the tee, and goes on") {
  counted_pool memory{pool_config{.packets = 16, .bytes = 256, .headroom = 0, .bare = 2}};
  test_device wire{memory};
  wire.several(1, 5);
  numbers arrived, copied;
  auto beside = [](ipv4) {} | note(copied);
  auto path = parse() | tee(shared(beside)) | note(arrived);
  run(attach(wire, path));
  CHECK(copied == "1 2");
  CHECK(arrived == "1 2 3 4 5");
  CHECK(counters_of<1>(path).packets == 5);
  CHECK(counters_of<1>(path).passed() == 5);
  CHECK(counters_of<1>(path).dropped(drop_reason::no_packet) == 3);
  CHECK(counters_of<0>(beside).packets == 2);
  CHECK(counters_of<0>(beside).bytes == 120);
}

TEST_CASE("a packet that another thread sent is not cloned, is counted at the tee by its own cause, and goes on") {
  fixture t;
  t.wire.several(1, 3);
  queue<drop_tail, 8> from_there;
  auto there = parse() | [](packet& p) {
    if (number_of(p) == 2) CHECK(p.send_away());
  } | enqueue(from_there);
  auto path = parse() | tee(note(t.copied)) | note(t.arrived);
  run(attach(t.wire, there), attach(from_there, path));
  CHECK(t.copied == "1 3");
  CHECK(t.arrived == "1 2 3");
  CHECK(counters_of<1>(path).passed() == 3);
  CHECK(counters_of<1>(path).dropped(drop_reason::other_thread) == 1);
  CHECK(counters_of<1>(path).dropped(drop_reason::no_packet) == 0);
}

TEST_CASE("unshare() makes the bytes the packet's own, so that a change is not seen by the clone") {
  fixture t;
  t.wire.udp(1, 7, 64);
  queue<drop_tail, 8> later;
  int ttl_here = 0, ttl_there = 0;
  auto path = parse() | tee(enqueue(later)) | unshare() | [](mut<ipv4> ip) { ip.time_to_live(1); } |
              [&](ipv4 ip) { ttl_here = ip.time_to_live(); } | note(t.arrived);
  auto beside = parse() | [&](ipv4 ip) { ttl_there = ip.time_to_live(); } | note(t.copied);
  run(attach(t.wire, path), attach(later, beside));
  CHECK(ttl_here == 1);
  CHECK(ttl_there == 64);
  CHECK(t.arrived == "1");
  CHECK(t.copied == "1");
}

TEST_CASE("on the copy's path, unshare() allows to write as well") {
  fixture t;
  t.wire.udp(1, 7, 64);
  int ttl_here = 0;
  auto path = parse() | tee(unshare() | [](mut<ipv4> ip) { ip.time_to_live(1); } | note(t.copied)) |
              [&](ipv4 ip) { ttl_here = ip.time_to_live(); } | note(t.arrived);
  run(attach(t.wire, path));
  CHECK(ttl_here == 64);
  CHECK(t.copied == "1");
}

TEST_CASE("unshare() drops a packet for which no slot is left, with the cause") {
  counted_pool memory{pool_config{.packets = 3, .bytes = 256, .headroom = 0, .bare = 8}};
  test_device wire{memory};
  wire.several(1, 2);
  queue<drop_tail, 8> later;
  numbers arrived;
  auto path = parse() | tee(enqueue(later)) | unshare() | note(arrived);
  manual_clock time;
  loop one{time, attach(wire, path)};
  CHECK(one.poll() == 2);
  CHECK(arrived == "1");
  CHECK(counters_of<2>(path).dropped(drop_reason::no_packet) == 1);
  run(attach(later, discard));
}

TEST_CASE("bytes that a device lends are cloned with another descriptor, and copied where they are kept") {
  counted_pool memory{pool_config{.packets = 8, .bytes = 256, .headroom = 16, .bare = 8}};
  test_device wire{memory};
  wire.lend_bytes();
  wire.several(1, 6);
  queue<drop_tail, 8> later;
  numbers arrived, copied;
  auto path = parse() | tee(enqueue(later)) | note(arrived);
  run(attach(wire, path), attach(later, note(copied)));
  CHECK(arrived == "1 2 3 4 5 6");
  // Four have a clone at a time; the other descriptors show the packets themselves.
  CHECK(counters_of<1>(path).dropped(drop_reason::no_packet) == 4);
  CHECK(copied == "1 2");
}

TEST_CASE("tees behind tees make one clone each") {
  fixture t;
  t.wire.several(1, 2);
  numbers third;
  auto path = parse() | tee(tee(note(third)) | note(t.copied)) | note(t.arrived);
  run(attach(t.wire, path));
  CHECK(t.arrived == "1 2");
  CHECK(t.copied == "1 2");
  CHECK(third == "1 2");
}

TEST_CASE("tap shows each packet that passes to a writer, and needs no descriptor") {
  counted_pool memory{pool_config{.packets = 8, .bytes = 256, .headroom = 0, .bare = 0}};
  test_device wire{memory};
  struct {
    numbers seen;
    void write(const packet& p) { seen.add(number_of(p)); }
  } writer;
  wire.several(1, 4);
  numbers arrived;
  auto path = parse() | [](packet& p) { return number_of(p) == 2 ? drop : pass; } | tap(writer) | note(arrived);
  run(attach(wire, path));
  CHECK(writer.seen == "1 3 4");
  CHECK(arrived == "1 3 4");
  CHECK(counters_of<2>(path).packets == 3);
}
