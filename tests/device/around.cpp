// SPDX-License-Identifier: MIT
// Devices around devices: what they trace, break and slow down, and that no slot is lost on the way.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include <device/numbered.hpp>
#include <flow/test_device.hpp>
#include <packet/counted_pool.hpp>

#include <runnel/device/faulty.hpp>
#include <runnel/device/limited.hpp>
#include <runnel/device/link.hpp>
#include <runnel/device/null.hpp>
#include <runnel/device/pcap_reader.hpp>
#include <runnel/device/pcap_writer.hpp>
#include <runnel/device/traced.hpp>

using namespace runnel;
using runnel::test::counted_pool;
using runnel::test::note;
using runnel::test::number_of;
using runnel::test::numbered;
using runnel::test::numbers;
using runnel::test::test_device;

namespace {

constexpr pool_config sizes{.packets = 512, .bytes = 512, .headroom = 64, .bare = 512};

instant at_us(std::int64_t us) { return instant{us * 1000}; }

template <class Device>
bool sends(Device& to, packet p, instant now) {
  return to.transmit(&p, 1, now) == 1 && !p;
}
// The numbers of what comes at `now`.
template <class Device>
std::string arrivals(Device& from, instant now, std::size_t room = 64) {
  numbers seen;
  frame f[64];
  const std::size_t n = from.receive(room, now, into_array(f));
  for (std::size_t i = 0; i < n; ++i) seen.add(number_of(f[i]));
  from.memory().release(f, n);
  return seen.text();
}

// What a tracer writes down, as text.
struct notes {
  std::string text;
  template <class T>
  void write(const T& p, instant when, packet_direction direction) {
    text += direction == packet_direction::inbound ? "<" : ">";
    text += std::to_string(number_of(p)) + "@" + std::to_string(when.ns / 1000) + " ";
  }
};

// An end of a wire that has the name of an interface.
class named_end : public detail::around_device<link_end> {
 public:
  named_end(link_end& inner, const char* name) noexcept : around_device(inner), name_(name) {}
  template <class Take>
  [[nodiscard]] std::size_t receive(std::size_t room, instant now, Take&& take) noexcept {
    return inner().receive(room, now, take);
  }
  [[nodiscard]] std::size_t transmit(packet* packets, std::size_t n, instant now) noexcept {
    return inner().transmit(packets, n, now);
  }
  [[nodiscard]] std::size_t transmit(const frame* frames, std::size_t n, instant now) noexcept {
    return inner().transmit(frames, n, now);
  }
  [[nodiscard]] const char* name() const noexcept { return name_; }

 private:
  const char* name_;
};

static_assert(receiving_device<device::faulty<link_end>> && transmitting_device<device::faulty<link_end>>);
static_assert(receiving_device<device::limited<link_end>> && frame_transmitting_device<device::limited<link_end>>);
static_assert(receiving_device<device::traced<link_end, notes>> &&
              frame_transmitting_device<device::traced<link_end, notes>>);
// What the inner device cannot, the outer one cannot.
static_assert(!transmitting_device<device::traced<pcap_reader, pcap_writer>>);
static_assert(!transmitting_device<device::limited<pcap_reader>> && !transmitting_device<device::faulty<pcap_reader>>);
static_assert(!receiving_device<device::traced<pcap_writer, pcap_writer>>);
static_assert(transmitting_device<device::traced<pcap_writer, pcap_writer>>);

}  // namespace

TEST_CASE("a traced device writes down what is received, when it came, and what is sent, when it went") {
  counted_pool memory(sizes);
  virtual_link wire(memory);
  notes seen;
  device::traced traced(wire.b(), seen);
  CHECK(&traced.memory() == &memory.get());
  CHECK(sends(wire.a(), numbered(memory, 1), at_us(10)));
  CHECK(sends(wire.a(), numbered(memory, 2), at_us(11)));
  CHECK(traced.next_due() == at_us(10));
  CHECK(arrivals(traced, at_us(50)) == "1 2");
  CHECK(sends(traced, numbered(memory, 3), at_us(60)));
  frame f[1];
  CHECK(sends(wire.a(), numbered(memory, 4), at_us(61)));
  REQUIRE(traced.receive(1, at_us(61), into_array(f)) == 1);
  REQUIRE(traced.transmit(f, 1, at_us(62)) == 1);
  CHECK(seen.text == "<1@10 <2@11 >3@60 <4@61 >4@62 ");
  CHECK(arrivals(wire.a(), at_us(70)) == "3 4");
  // What is refused is in the trace as well.
  test_device full(memory.get());
  full.transmits_at_most(1);
  notes twice;
  device::traced over(full, twice);
  packet p[2] = {numbered(memory, 5), numbered(memory, 6)};
  CHECK(over.transmit(p, 2, at_us(80)) == 1);
  CHECK(p[1]);
  full.transmits_at_most(9);
  CHECK(over.transmit(p + 1, 1, at_us(90)) == 1);
  CHECK(twice.text == ">5@80 >6@80 >6@90 ");
}

TEST_CASE("devices that are traced under numbers share a capture, which has their names") {
  counted_pool memory(sizes);
  virtual_link one(memory);
  virtual_link other(memory);
  named_end eth0(one.b(), "eth0");
  std::FILE* file = std::tmpfile();
  REQUIRE(file != nullptr);
  auto out = pcap_writer::adopt(::dup(::fileno(file)), "trace");
  REQUIRE(out);
  {
    device::traced wan(eth0, *out, 7);
    device::traced lan(other.b(), *out, 8);  // an end that has no name
    device::traced again(lan, *out);         // and one that keeps the numbers
    CHECK(sends(one.a(), numbered(memory, 1), at_us(10)));
    CHECK(arrivals(wan, at_us(10)) == "1");
    packet p = numbered(memory, 2);
    p.iif(8);
    CHECK(wan.transmit(&p, 1, at_us(20)) == 1);
    CHECK(sends(other.a(), numbered(memory, 3), at_us(30)));
    frame f;
    REQUIRE(again.receive(1, at_us(30), into_array(&f)) == 1);
    CHECK(f.iif == 0);
    CHECK(wan.transmit(&f, 1, at_us(40)) == 1);
    REQUIRE(one.a().receive(1, at_us(50), into_array(&f)) == 1);
    one.a().memory().release(&f, 1);
    CHECK(arrivals(one.a(), at_us(50)) == "3");
    // What is traced stays as it was.
    test_device full(memory.get());
    full.transmits_at_most(0);
    device::traced over(full, *out, 8);
    p = numbered(memory, 4);
    p.iif(5);
    CHECK(over.transmit(&p, 1, at_us(60)) == 0);
    CHECK(p.iif() == 5);
  }
  REQUIRE(out->close() == nullptr);
  std::rewind(file);
  auto in = pcap_reader::adopt(::dup(::fileno(file)), "trace", memory);
  REQUIRE(in);
  std::string all;
  while (!in->done()) {
    frame f;
    if (in->receive(1, {}, into_array(&f)) == 0) continue;
    all += std::to_string(number_of(f)) + "@" + (in->name_of(f.iif)[0] != '\0' ? in->name_of(f.iif) : "?") + " ";
    in->memory().release(&f, 1);
  }
  CHECK(all == "1@eth0 2@eth0 3@? 3@? 3@eth0 4@? ");
  std::fclose(file);
}

TEST_CASE("a pcapng trace says of each packet which way it went") {
  counted_pool memory(sizes);
  virtual_link wire(memory);
  std::FILE* file = std::tmpfile();
  REQUIRE(file != nullptr);
  auto out = pcap_writer::adopt(::dup(::fileno(file)), "trace");
  REQUIRE(out);
  {
    device::traced traced(wire.b(), *out);
    CHECK(sends(wire.a(), numbered(memory, 1, 61), at_us(10)));
    CHECK(arrivals(traced, at_us(10)) == "1");
    CHECK(sends(traced, numbered(memory, 2, 62), at_us(20)));
    CHECK(out->write(numbered(memory, 3, 63)));  // without
  }
  REQUIRE(out->close() == nullptr);
  // Blocks: type, length, ..., options behind the padded bytes.
  std::vector<std::byte> all(4096);
  std::rewind(file);
  all.resize(std::fread(all.data(), 1, all.size(), file));
  std::string flags;
  for (std::size_t at = 0; at + 12 <= all.size();) {
    const auto type = detail::load<std::uint32_t>(all.data() + at),
               total = detail::load<std::uint32_t>(all.data() + at + 4);
    REQUIRE(total >= 12);
    REQUIRE(total <= all.size() - at);
    CHECK(detail::load<std::uint32_t>(all.data() + at + total - 4) == total);
    if (type == 6) {
      const std::size_t end = 28 + pcapng::padded(detail::load<std::uint32_t>(all.data() + at + 20));
      if (end + 4 == total) {
        flags += "none ";
      } else {
        REQUIRE(end + 16 == total);
        CHECK(detail::load<std::uint16_t>(all.data() + at + end) == 2);
        CHECK(detail::load<std::uint16_t>(all.data() + at + end + 2) == 4);
        flags += std::to_string(detail::load<std::uint32_t>(all.data() + at + end + 4)) + " ";
        CHECK(detail::load<std::uint32_t>(all.data() + at + end + 8) == 0);
      }
    }
    at += total;
  }
  CHECK(flags == "1 2 none ");
  // And the packets are read again.
  std::rewind(file);
  auto in = pcap_reader::adopt(::dup(::fileno(file)), "trace", memory);
  REQUIRE(in);
  CHECK(arrivals(*in, instant{}) == "1 2 3");
  CHECK(in->failure() == nullptr);
  std::fclose(file);
}

TEST_CASE("a faulty device without faults changes nothing, in both directions, frames included") {
  counted_pool memory(sizes);
  virtual_link wire(memory);
  device::faulty same(wire.b(), {});
  CHECK(sends(wire.a(), numbered(memory, 1), at_us(10)));
  CHECK(arrivals(same, at_us(10)) == "1");
  CHECK(sends(same, numbered(memory, 2), at_us(11)));
  CHECK(sends(wire.a(), numbered(memory, 3), at_us(12)));
  frame f[1];
  REQUIRE(same.receive(1, at_us(12), into_array(f)) == 1);
  CHECK(f[0].timestamp == at_us(12));
  REQUIRE(same.transmit(f, 1, at_us(13)) == 1);
  CHECK(arrivals(wire.a(), at_us(13)) == "2 3");
  CHECK(same.next_due() == never);
  CHECK(same.statistics().received.sent == 2);
  text<200> line;
  print(line, same.statistics());
  CHECK(same_text(line.c_str(), "received: sent 2, delivered 2; transmitted: sent 2, delivered 2"));
  CHECK(same.statistics().transmitted.delivered == 2);
  wire.close();
  CHECK(same.done());
}

TEST_CASE("a faulty device delays, and says when it is to be polled") {
  counted_pool memory(sizes);
  virtual_link wire(memory);
  device::faulty slow(wire.b(), {.latency = microseconds(100)}, {.latency = microseconds(30)});
  CHECK(sends(wire.a(), numbered(memory, 1), at_us(0)));
  CHECK(arrivals(slow, at_us(5)) == "");  // on its way from now on
  CHECK(slow.next_due() == at_us(105));
  CHECK(sends(slow, numbered(memory, 2), at_us(10)));
  CHECK(slow.next_due() == at_us(40));
  CHECK(slow.in_flight() == 1);
  CHECK(arrivals(wire.a(), at_us(1000)) == "");
  CHECK(arrivals(slow, at_us(39)) == "");
  CHECK(arrivals(slow, at_us(40)) == "");  // sends what is due
  CHECK(arrivals(wire.a(), at_us(40)) == "2");
  CHECK_FALSE(slow.done());
  CHECK(arrivals(slow, at_us(104)) == "");
  CHECK(arrivals(slow, at_us(105)) == "1");
  wire.close();
  CHECK(slow.done());
  // What is on the way when it is destroyed goes home: the pool counts.
  CHECK(sends(slow, numbered(memory, 3), at_us(200)));
  CHECK_FALSE(slow.done());
}

TEST_CASE("faults are counted, come as often as they were asked for, and the same again from the same seed") {
  const link_options bad{.latency = microseconds(10),
                         .jitter = microseconds(50),
                         .loss = 100'000,
                         .corruption = 50'000,
                         .duplication = 30'000,
                         .reordering = 20'000,
                         .seed = 42};
  std::string first;
  for (int round = 0; round < 2; ++round) {
    counted_pool memory(sizes);
    virtual_link wire(memory);
    device::faulty faulty(wire.b(), bad);
    std::string all;
    std::uint64_t arrived = 0;
    constexpr unsigned n = 4000;
    for (unsigned i = 0; i < n + 20; ++i) {
      const instant now = at_us(i * 10);
      if (i < n) CHECK(sends(wire.a(), numbered(memory, i), now));
      frame f[64];
      const std::size_t some = faulty.receive(64, now, into_array(f));
      for (std::size_t k = 0; k < some; ++k) all += std::to_string(number_of(f[k])) + ' ';
      arrived += some;
      memory->release(f, some);
    }
    const link_counters c = faulty.statistics().received;
    CHECK(c.sent == n);
    CHECK(c.delivered == arrived);
    CHECK(arrived == n - faulty.dropped_in(drop_reason::link_loss) + c.duplicated);
    // Within four standard deviations of what was asked for.
    const auto near = [](std::uint64_t got, double expected) {
      CHECK(static_cast<double>(got) > expected - 4 * __builtin_sqrt(expected));
      CHECK(static_cast<double>(got) < expected + 4 * __builtin_sqrt(expected));
    };
    near(faulty.dropped_in(drop_reason::link_loss), n * 0.1);
    near(c.corrupted, n * 0.9 * 0.05);
    near(c.duplicated, n * 0.9 * 0.03);
    near(c.reordered, n * 0.9 * 1.03 * 0.02);
    CHECK(faulty.dropped_out(drop_reason::link_loss) == 0);
    if (round == 0) first = all;
    else CHECK(all == first);
  }
}

TEST_CASE("corruption turns over one bit, behind a checksum that was left to the device") {
  counted_pool memory(sizes);
  virtual_link wire(memory);
  device::faulty faulty(wire.b(), {}, {.corruption = 1'000'000});
  std::map<unsigned, unsigned> bits;
  const packet sent = numbered(memory, 0);
  for (unsigned i = 0; i < 50; ++i) {
    CHECK(sends(faulty, numbered(memory, 0), at_us(i)));
    frame f[1];
    REQUIRE(wire.a().receive(1, at_us(i), into_array(f)) == 1);
    unsigned wrong = 0;
    for (std::size_t k = 0; k < f[0].length; ++k) {
      const unsigned difference = load_u8(f[0].data + k) ^ load_u8(sent.data() + k);
      wrong += static_cast<unsigned>(__builtin_popcount(difference));
      ++bits[difference];
    }
    CHECK(wrong == 1);
    memory->release(f, 1);
  }
  CHECK(bits.size() == 9);  // each of the eight bits once at least, and bytes that are right
  CHECK(faulty.statistics().transmitted.corrupted == 50);
  // A partial checksum that were completed behind the fault would hide it.
  std::byte whole[14 + 20 + 8 + 64];
  REQUIRE(write_headers({whole, sizeof whole}, test::eth,
                        ipv4_header{.source = {10, 0, 0, 1}, .destination = {10, 0, 0, 2}},
                        udp_header{.source_port = 1, .destination_port = 2}));
  packet p = memory->allocate();
  REQUIRE(p.append(bytes{whole, sizeof whole}));
  const std::uint16_t right = load_be16(whole + 40);
  const std::uint16_t sum = running_checksum{add_checksum(bytes{whole, sizeof whole}.from(34))}.sum();
  // The pseudo-header's sum, which with the right checksum is all ones.
  const ipv4 ip = *ipv4::parse(bytes{whole + 14, sizeof whole - 14});
  store_be16(p.writable().data() + 40, fold_checksum(std::uint64_t{ip.pseudo_header_sum()} + 17 + 72));
  CHECK(sum != 0);
  p.checksum(checksum_status::partial);
  CHECK(sends(faulty, std::move(p), at_us(100)));
  frame f[1];
  REQUIRE(wire.a().receive(1, at_us(100), into_array(f)) == 1);
  CHECK(f[0].checksum == checksum_status::unknown);
  unsigned wrong = 0;
  store_be16(whole + 40, right);
  for (std::size_t k = 0; k < sizeof whole; ++k)
    wrong += static_cast<unsigned>(__builtin_popcount(load_u8(f[0].data + k) ^ load_u8(whole + k)));
  CHECK(wrong == 1);
  memory->release(f, 1);
}

TEST_CASE("a full device gets the packets later, in order; what no longer fits is lost and counted") {
  counted_pool memory(sizes);
  test_device full(memory.get());
  full.transmits_at_most(2);
  device::faulty<test_device, 8> faulty(full, {});
  for (unsigned i = 0; i < 100; ++i) CHECK(sends(faulty, numbered(memory, i), at_us(i)));
  CHECK(full.sent == "0 1");
  // 64 wait for the device and 8 on the wire.
  CHECK(faulty.in_flight() == 72);
  CHECK(faulty.dropped_out(drop_reason::queue_full) == 100 - 2 - 72);
  CHECK(faulty.next_due() == at_us(199));
  full.transmits_at_most(1000);
  CHECK(arrivals(faulty, at_us(199)) == "");
  CHECK(full.sent.count() == 74);
  CHECK(full.sent.text().rfind("0 1 2 3 4 5 ", 0) == 0);
  CHECK(faulty.in_flight() == 0);
}

TEST_CASE("frames that a device lends are copied, so that it goes on; and lost where there is no slot") {
  counted_pool memory({.packets = 8, .bytes = 512, .headroom = 64, .bare = 16});
  test_device lending(memory.get());
  lending.lend_bytes();
  lending.several(1, 12);
  {
    device::faulty faulty(lending, {.latency = microseconds(10)});
    CHECK(arrivals(faulty, at_us(0)) == "");
    CHECK(faulty.dropped_in(drop_reason::no_packet) == 4);
    CHECK(arrivals(faulty, at_us(10)) == "1 2 3 4 5 6 7 8");
  }
  memory.check_all_home();
}

TEST_CASE("a limited device receives at its rate, and wakes the loop when something may pass again") {
  counted_pool memory(sizes);
  // 100 bytes are 100 us at 8 Mbit/s; the bucket holds three of these.
  null_device source(memory, {.length = 100});
  device::limited slow(source, {.receive_rate = 8'000'000, .burst = 300});
  const auto some = [&](std::int64_t us) {
    frame f[64];
    std::size_t n = 0;
    // A packet at a time, as the bucket is counted, whatever the room.
    for (std::size_t got = 1; got != 0 && n < 64; n += got) { got = slow.receive(1, at_us(us), into_array(f + n)); }
    memory->release(f, n);
    return n;
  };
  CHECK(some(0) == 3);
  CHECK(slow.next_due() == instant{1});  // an empty bucket is not empty for long
  CHECK(slow.wait_handle() == -1);
  CHECK(some(0) == 0);
  // The bucket is empty; what drips in for a nanosecond lets one more packet pass, which is owed then.
  CHECK(some(1) == 1);
  CHECK(slow.next_due() == instant{100'001});
  CHECK(some(100) == 0);
  CHECK(some(101) == 1);
  // In a second as much as the rate says: 10'000 packets.
  std::size_t n = 0;
  for (std::int64_t us = 200; us <= 1'000'200; us += 50) n += some(us);
  CHECK(n >= 9'999);
  CHECK(n <= 10'001);
  // A pause fills the bucket, and no more.
  CHECK(some(10'000'000) == 3);
}

TEST_CASE("a limited device takes packets at its rate; the rest stays with the caller, in order") {
  counted_pool memory(sizes);
  test_device sink(memory.get());
  device::limited slow(sink, {.transmit_rate = 8'000'000, .burst = 250});
  packet p[10];
  for (unsigned i = 0; i < 10; ++i) p[i] = numbered(memory, i, 100);
  CHECK(slow.transmit(p, 10, at_us(0)) == 3);
  CHECK(sink.sent == "0 1 2");
  for (unsigned i = 3; i < 10; ++i) CHECK(p[i]);
  CHECK(slow.transmit(p + 3, 7, at_us(50)) == 0);
  CHECK(slow.transmit(p + 3, 7, at_us(51)) == 1);
  CHECK(slow.transmit(p + 4, 6, at_us(1'000'000)) == 3);
  // What the device does not take is not paid.
  sink.transmits_at_most(7);
  CHECK(slow.transmit(p + 7, 3, at_us(2'000'000)) == 0);
  sink.transmits_at_most(100);
  CHECK(slow.transmit(p + 7, 3, at_us(2'000'000)) == 3);
  CHECK(sink.sent == "0 1 2 3 4 5 6 7 8 9");
}

TEST_CASE("a rate of 0 is no limit, and parts of a nanosecond are not lost") {
  counted_pool memory(sizes);
  null_device source(memory, {.length = 64});
  frame f[64];
  device::limited open(source, {});
  CHECK(open.receive(64, instant{}, into_array(f)) == 64);
  memory->release(f, 64);
  CHECK(open.next_due() == never);
  // A packet takes 170.67 ns: in a millisecond there are 5859, and without the thirds there would be 23 more.
  device::limited fast(source, {.receive_rate = 3'000'000'000, .burst = 64});
  std::size_t n = 0;
  for (std::int64_t ns = 0; ns < 1'000'000; ns += 50) {
    while (fast.receive(1, instant{ns}, into_array(f)) == 1) {
      memory->release(f, 1);
      ++n;
    }
  }
  CHECK(n >= 5859);
  CHECK(n <= 5861);
}

TEST_CASE("a larger burst lets more through, up to 2^30 bytes") {
  std::size_t before = 0;
  for (const std::uint32_t burst : {1u << 20, 1u << 30, 2'400'000'000u, 0xffff'ffffu}) {
    const detail::rate_bucket bucket(1'000'000'000, burst);
    REQUIRE(bucket.open(instant{}));
    CHECK(bucket.packets(instant{}) >= before);
    before = bucket.packets(instant{});
  }
  CHECK(before > (1u << 30) / 1600);
  CHECK(before < (1u << 30) / 1500);
}

TEST_CASE("devices around devices around a device: a pipeline through all of them accounts for every packet") {
  counted_pool memory(sizes);
  null_device source(memory, {.length = 100, .limit = 2000});
  notes seen;
  device::faulty faulty(source, {.latency = microseconds(20), .loss = 100'000, .duplication = 100'000, .seed = 3});
  device::limited limited(faulty, {.receive_rate = 800'000'000, .transmit_rate = 400'000'000});
  device::traced traced(limited, seen);
  manual_clock time;
  std::uint64_t got = 0;
  auto path = [&](packet&) { ++got; } | transmit(traced);
  loop work{time, attach(traced, path)};
  for (unsigned i = 0; i < 100'000 && !work.done(); ++i) {
    if (work.poll() == 0) time.advance(microseconds(1));
  }
  CHECK(work.done());
  CHECK(got == faulty.statistics().received.delivered);
  CHECK(got == 2000 - faulty.dropped_in(drop_reason::link_loss) + faulty.statistics().received.duplicated);
  // Sent and received at half the rate: what the limit refused, the pipeline dropped.
  CHECK(source.transmitted() == faulty.statistics().transmitted.delivered);
  CHECK(faulty.statistics().transmitted.sent < got);
  CHECK(std::count(seen.text.begin(), seen.text.end(), '<') == static_cast<std::ptrdiff_t>(got));
}
