// SPDX-License-Identifier: MIT
// Flows spread over threads: who gets what, in which order, and what is lost on the way. All threads are played by one.
#include <flow/test_device.hpp>

#include <map>
#include <string>
#include <vector>

#include <flow/crew.hpp>
#include <flow/flow_of.hpp>
#include <ip/cut.hpp>

#include <runnel/base/random.hpp>
#include <runnel/base/text.hpp>

using namespace runnel;
using namespace runnel::test;

TEST_CASE("both directions of a flow meet on one thread, whichever thread saw them; flows spread over all") {
  counted_pool memory{pool_config{.packets = 256, .bytes = 256, .headroom = 16, .bare = 0}};
  constexpr unsigned n = 5;
  crew threads{n};
  random_generator random{42};
  std::map<std::string, unsigned> owner;
  unsigned flows_of[n] = {};
  std::size_t arrived = 0;
  bool together = true;
  for (unsigned round = 0; round < 400; ++round) {
    const auto port = [&] { return static_cast<std::uint16_t>(random.below(65536)); };
    const auto number = [&] { return static_cast<std::uint32_t>(random.next()); };
    const ipv4_address a{number()}, b{number()};
    const ipv6_address a6{random.next(), random.next()}, b6{random.next(), random.next()};
    const std::uint16_t from = port(), to = port();
    for (unsigned i = 0; i < n; ++i) {
      test_device wire{memory};
      const bool back = i % 2 != 0;
      const ipv4_header four{.source = back ? b : a, .destination = back ? a : b};
      const ipv6_header six{.source = back ? b6 : a6, .destination = back ? a6 : b6};
      const std::uint16_t sport = back ? to : from, dport = back ? from : to;
      wire.put(1, 18, {}, eth, four, tcp_header{.source_port = sport, .destination_port = dport});
      wire.put(2, 18, {}, eth, four, icmp_header{.identifier = sport});
      wire.put(3, 18, {}, eth, six, udp_header{.source_port = sport, .destination_port = dport});
      auto seen_by = [&](unsigned thread) {
        return parse() | [&, thread](packet& p) {
          const auto [at, is_new] = owner.emplace(flow_of(p), thread);
          together = together && at->second == thread && p.flow_hash() % n == thread;
          flows_of[thread] += is_new ? 1 : 0;
          ++arrived;
        } | discard;
      };
      run(attach(wire, parse() | steer(threads[i]) | seen_by(i)));
      for (unsigned k = 0; k < n; ++k) loop{threads.clocks[k], attach(threads[k], seen_by(k))}.poll();
    }
  }
  CHECK(together);
  CHECK(arrived == 400 * n * 3);
  CHECK(owner.size() == 3 * 400);
  for (const unsigned flows : flows_of) {
    CHECK(flows > 3 * 400 / n / 2);
    CHECK(flows < 3 * 400 / n * 2);
  }
}

TEST_CASE("what is not IP goes to thread 0, and all fragments of a datagram to one thread") {
  counted_pool memory;
  constexpr unsigned n = 4;
  crew threads{n};
  test_device wire{memory};
  wire.unknown(1);
  for (unsigned i = 0; i < 3; ++i) {
    ipv4_header h{.source = {10, 0, 0, 3}, .destination = {10, 0, 0, 8}, .protocol = 17};
    h.more_fragments = i < 2;
    h.fragment_offset = static_cast<std::uint16_t>(i * 64);
    if (i == 0) wire.put(10, 56, {}, eth, h, udp_header{.source_port = 5, .destination_port = 6});
    else wire.put(10 + i, 64, {}, eth, h);
  }
  std::string where;
  auto note_thread = [&](unsigned thread) {
    return [&where, thread](packet& p) { where += std::to_string(number_of(p)) + "@" + std::to_string(thread) + ' '; } |
           discard;
  };
  run(attach(wire, parse() | steer(threads[1]) | note_thread(1)));
  for (unsigned k = 0; k < n; ++k) loop{threads.clocks[k], attach(threads[k], note_thread(k))}.poll();
  // 10.0.0.3 and 10.0.0.8 by the symmetric key: see toeplitz.cpp for the hash itself.
  const unsigned home = symmetric_toeplitz_addresses(flow_key4{{10, 0, 0, 3}, {10, 0, 0, 8}, 0, 0, 17}) % n;
  std::string expected =
      "10@" + std::to_string(home) + " 11@" + std::to_string(home) + " 12@" + std::to_string(home) + ' ';
  if (home == 1) expected += "1@0 ";
  else expected = "1@0 " + expected;
  CHECK(where == expected);
}

TEST_CASE("an ICMP error goes where the packet that it is about belongs, however that was quoted") {
  counted_pool memory;
  const auto hash_of = [&](const octets& frame) { return symmetric_flow_hash(received(memory, frame)); };
  const auto about = [](const octets& frame, std::size_t size, bool fragment = false) {
    octets quoted(frame.begin() + link_size, frame.begin() + static_cast<std::ptrdiff_t>(link_size + size));
    const bool six = is_ipv6(frame);
    if (fragment && !six) store_be16(quoted.data() + 6, 0x0001);
    octets error = six ? frame_of(size, link_header, ipv6_header{.source = {0xfd00, 9}, .destination = {0xfd00, 1}},
                                  icmpv6_header{.kind = icmpv6::packet_too_big})
                       : frame_of(size, link_header, ipv4_header{.source = {10, 9, 9, 9}, .destination = {10, 0, 0, 1}},
                                  icmp_header{.kind = icmp::unreachable::fragmentation_needed});
    copy_bytes(error.data() + error.size() - size, quoted.data(), size);
    return error;
  };
  for (std::uint16_t port = 1000; port < 1032; ++port) {
    const ipv4_header h4{.source = {10, 0, 0, 1}, .destination = {192, 0, 2, 1}};
    const ipv6_header h6{.source = {0x2001'0db8'0000'0000, 1}, .destination = {0x2001'0db8'0000'0000, 2}};
    const octets flows[] = {frame_of(40, link_header, h4, tcp_header{.source_port = port, .destination_port = 80}),
                            frame_of(40, link_header, h4, udp_header{.source_port = port, .destination_port = 53}),
                            frame_of(40, link_header, h6, tcp_header{.source_port = port, .destination_port = 80}),
                            frame_of(40, link_header, h4, icmp_header{.kind = icmp::echo_request, .identifier = port})};
    for (const octets& flow : flows) {
      const std::size_t header = is_ipv6(flow) ? 40 : 20;
      CHECK(hash_of(about(flow, header + 8)) == hash_of(flow));
      CHECK(hash_of(about(flow, header + 28)) == hash_of(flow));
    }
    // Of a quoted fragment, and where no port is quoted, the addresses count.
    const std::uint32_t addresses = hash_of(flows[3]);
    CHECK(hash_of(about(flows[0], 28, true)) == addresses);
    CHECK(hash_of(about(flows[0], 23)) == addresses);
  }
  // What quotes nothing goes by its own addresses.
  const octets whole = frame_of(40, link_header, ipv4_header{.source = {10, 0, 0, 1}, .destination = {192, 0, 2, 1}},
                                udp_header{.source_port = 1, .destination_port = 2});
  const octets error = about(whole, 19);
  CHECK(hash_of(error) == symmetric_toeplitz_addresses(flow_key4{{10, 9, 9, 9}, {10, 0, 0, 1}, 0, 0, 1}));
  // Whatever is quoted, nothing is read beyond it.
  random_generator random{5};
  for (int i = 0; i < 2000; ++i) {
    octets any = about(whole, 28);
    any.erase(any.end() - static_cast<std::ptrdiff_t>(random.below(28)), any.end());
    for (std::size_t at = 14 + 20 + 8; at < any.size(); ++at) any[at] = static_cast<std::byte>(random.below(256));
    if (any.size() > 42) any[42] = static_cast<std::byte>(i % 2 == 0 ? 0x45 : 0x60);
    store_be16(any.data() + 16, static_cast<std::uint16_t>(any.size() - 14));
    (void)hash_of(any);
  }
}

TEST_CASE("the order within a flow is kept, and what a full ring refuses is counted where it was steered") {
  counted_pool memory;
  crew threads{2, 4};
  test_device wire{memory};
  // One flow, not of this thread.
  std::uint16_t port = 1;
  while (symmetric_toeplitz(flow_key4{{10, 0, 0, 1}, {192, 0, 2, 1}, 1000, port, 17}) % 2 == 0) ++port;
  for (unsigned i = 1; i <= 7; ++i) wire.udp(i, port);
  numbers mine, others;
  auto path = parse() | steer(threads[0]) | note(mine);
  run(attach(wire, path));
  loop{threads.clocks[1], attach(threads[1], note(others))}.poll();
  CHECK(mine == "");
  CHECK(others == "1 2 3 4");
  CHECK(counters_of<1>(path).count(stolen.code) == 4);
  CHECK(counters_of<1>(path).dropped(drop_reason::queue_full) == 3);
  CHECK(counters_of<1>(path).passed() == 0);
}

TEST_CASE("packets of a device's own pool are copied to the thread's pool before they cross") {
  counted_pool memory, of_device;
  crew threads{2};
  threads[0].copies_to(memory);
  test_device wire{of_device};
  for (std::uint16_t port = 1; port <= 20; ++port) wire.udp(port, port);
  std::vector<const pool*> mine, others;
  auto path = parse() | steer(threads[0]) | [&](packet& p) { mine.push_back(&p.home()); } | discard;
  run(attach(wire, path));
  of_device.check_all_home();
  loop{threads.clocks[1], attach(threads[1], [&](packet& p) { others.push_back(&p.home()); } | discard)}.poll();
  CHECK(mine.size() + others.size() == 20);
  CHECK(others.size() > 3);
  CHECK(mine == std::vector<const pool*>(mine.size(), &of_device.get()));
  CHECK(others == std::vector<const pool*>(others.size(), &memory.get()));
}

TEST_CASE("a packet that cannot be copied to cross is dropped with the cause, and the others of the burst are not") {
  counted_pool memory{pool_config{.packets = 2, .bytes = 512, .headroom = 64, .bare = 0}};
  counted_pool of_device;
  crew threads{2};
  threads[0].copies_to(memory);
  test_device wire{of_device};
  for (std::uint16_t port = 1; port <= 20; ++port) wire.udp(port, port);
  auto path = parse() | steer(threads[0]) | discard;
  run(attach(wire, path));
  const stage_counters& c = counters_of<1>(path);
  CHECK(c.count(stolen.code) == 2);
  CHECK(c.dropped(drop_reason::no_packet) > 2);
  CHECK(c.passed() + 2 + c.dropped(drop_reason::no_packet) == 20);
}

TEST_CASE("a thread's end is done when all others have finished and it is empty") {
  counted_pool memory;
  crew threads{3};
  CHECK(threads[0].done());  // does not keep a loop alive
  packet p = memory->allocate();
  CHECK(threads[1].push(0, &p, 1) == 1);
  CHECK_FALSE(threads[0].done());
  numbers arrived;
  loop l{threads.clocks[0], attach(threads[0], discard)};
  l.run();
  threads[0].finish();
  CHECK_FALSE(threads[0].done());
  threads[1].finish();
  CHECK_FALSE(threads[0].done());
  p = memory->allocate();
  CHECK(threads[2].push(0, &p, 1) == 1);
  threads[2].finish();
  CHECK_FALSE(threads[0].done());
  l.run();
  CHECK(threads[0].done());
}

TEST_CASE("nobody is done while another may still go on with what it was handed") {
  counted_pool memory;
  crew threads{3};
  threads[1].drain();
  threads[2].drain();
  packet p = memory->allocate();
  REQUIRE(threads[0].push(1, &p, 1) == 1);
  threads[0].drain();
  CHECK_FALSE(threads[0].done());
  CHECK_FALSE(threads[2].done());
  packet in_hand;
  REQUIRE(threads[1].pull(&in_hand, 1, {}) == 1);
  CHECK_FALSE(threads[0].done());
  CHECK_FALSE(threads[2].done());
  REQUIRE(threads[1].push(2, &in_hand, 1) == 1);
  CHECK_FALSE(threads[1].done());
  CHECK_FALSE(threads[0].done());
  REQUIRE(threads[2].pull(&in_hand, 1, {}) == 1);
  CHECK_FALSE(threads[1].done());
  in_hand.reset();
  CHECK(threads[2].done());
  CHECK(threads[1].done());
  CHECK(threads[0].done());
}

TEST_CASE("every thread's ring has its turn") {
  counted_pool memory;
  crew threads{3, 16};
  for (unsigned from = 1; from < 3; ++from)
    for (int i = 0; i < 16; ++i) {
      packet p = memory->allocate();
      p.mark(from);
      REQUIRE(threads[from].push(0, &p, 1) == 1);
    }
  unsigned first[3] = {};
  for (int i = 0; i < 6; ++i) {
    packet some[4];
    REQUIRE(threads[0].pull(some, 4, {}) == 4);
    ++first[some[0].mark()];
  }
  CHECK(first[1] + first[2] == 6);
  CHECK(first[1] >= 2);
  CHECK(first[2] >= 2);
}

TEST_CASE("what a ring has no room for is not copied") {
  counted_pool memory, own;
  crew threads{2, 4};
  threads[0].copies_to(own.get());
  packet p[7];
  for (packet& one : p) one = memory->allocate();
  CHECK(threads[0].push(1, p, 7) == 4);
  CHECK(own->capacity() - own->available() == 4);
  for (std::size_t i = 4; i < 7; ++i) CHECK(&p[i].home() == &memory.get());
  CHECK(threads[0].push(1, p + 4, 3) == 0);
  CHECK(own->capacity() - own->available() == 4);
}
