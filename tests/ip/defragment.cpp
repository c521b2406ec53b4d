// SPDX-License-Identifier: MIT
// Reassembly in a pipeline, and against a plain model.
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <flow/crew.hpp>
#include <ip/cut.hpp>
#include <ip/replay.hpp>
#include <packet/counted_pool.hpp>

#include <runnel/base.hpp>
#include <runnel/flow.hpp>
#include <runnel/ip/defragment.hpp>
#include <runnel/match.hpp>

using namespace runnel;
using namespace runnel::test;

namespace {

constexpr fragment_config small{.fragments = 16, .datagrams = 8, .seed = 5};

}  // namespace

TEST_CASE("behind defragment handlers see whole datagrams, with their ports") {
  counted_pool memory{pool_config{.packets = 32, .bytes = 512, .headroom = 64, .bare = 4}};
  static_fragment_table<small> fragments{3};
  replay wire{memory};
  const octets first = udp4(200, 1), second = udp6(300), single = udp4(40, 9);
  const std::vector<octets> a = cut(first, {64, 128}), b = cut(second, {80});
  wire.add(a[2], 1);
  wire.add(b[0], 2);
  wire.add(single, 3);
  wire.add(a[0], 4);
  wire.add(a[0], 5);
  wire.add(b[1], 6);
  wire.add(a[1], 7);
  octets tiny = cut(udp4(200, 4), {64})[0];  // RFC 1858: the UDP header is cut off
  tiny.resize(14 + 20 + 4);
  store_be16(tiny.data() + 16, 24);
  mut<ipv4>::unchecked({tiny.data() + 14, 20}).update_checksum();
  wire.add(tiny, 8);
  std::vector<octets> seen;
  std::string ports;
  auto path = parse() | counted(rules(when(udp::dport == 54) >> drop, otherwise >> accept)) | defragment(fragments) |
              [&](udp u) { ports += std::to_string(u.source_port()) + ' '; } |
              deliver([&](packet p) { seen.push_back(bytes_of(p)); });
  manual_clock clock;
  run(clock, attach(wire, path));
  REQUIRE(seen.size() == 3);
  CHECK(seen[0] == single);
  CHECK(seen[1] == second);
  CHECK(seen[2] == first);
  CHECK(ports == "1000 1000 1000 ");
  CHECK(fragments->size() == 0);
  const auto& counters = path.stages().rest.rest.counters;
  CHECK(counters.dropped(drop_reason::fragment_duplicate) == 1);
  CHECK(path.stages().counters.dropped(drop_reason::ip_fragment) == 1);
}

TEST_CASE("a loop lets datagrams time out") {
  counted_pool memory{pool_config{.packets = 32, .bytes = 512, .headroom = 64, .bare = 4}};
  static_fragment_table<small> fragments{3};
  replay wire{memory};
  wire.add(cut(udp4(200), {64})[0], 0);
  auto path = parse() | defragment(fragments) | discard;
  manual_clock clock;
  run(clock, attach(wire, path), attach(fragments.get()));
  CHECK(fragments->size() == 1);
  wait_entry room[1];
  wait_list waits(room, 1, clock.now());
  attach(fragments.get()).prepare_to_wait(waits, clock, nullptr);
  CHECK(waits.due() == instant{} + seconds(30));
  clock.set(instant{} + seconds(30));
  run(clock, attach(wire, path), attach(fragments.get()));
  CHECK(fragments->size() == 0);
  CHECK(fragments->statistics().timed_out == 1);
}

namespace {

// What the standards say, byte by byte.
struct plain_datagram {
  std::vector<bool> there = std::vector<bool>(4096);
  std::map<std::pair<std::size_t, std::size_t>, bool> pieces;
  std::size_t total = ~std::size_t{0};
  bool refused = false;

  // "held", "whole", or what it is dropped for.
  std::string take(std::size_t begin, std::size_t end, bool more) {
    if (refused) return "ip_fragment";
    if (const auto same = pieces.find({begin, end}); same != pieces.end() && same->second == more)
      return "fragment_duplicate";
    bool wrong = !more && total != ~std::size_t{0};
    for (std::size_t i = begin; i < end; ++i) wrong = wrong || there[i] || i >= total;
    if (more && end >= total) wrong = true;
    if (!more)
      for (std::size_t i = end; i < there.size(); ++i) wrong = wrong || there[i];
    if (wrong) {
      refused = true;
      return "ip_fragment";
    }
    if (pieces.size() == 24) {
      refused = true;
      return "fragments_full";
    }
    pieces[{begin, end}] = more;
    if (!more) total = end;
    for (std::size_t i = begin; i < end; ++i) there[i] = true;
    for (std::size_t i = 0; i < total; ++i)
      if (i >= there.size() || !there[i]) return "held";
    return "whole";
  }
};

}  // namespace

TEST_CASE("random datagrams, cut, shuffled, duplicated and with overlaps, are as a plain model says") {
  random_generator random(20261121);
  const auto below = [&random](std::size_t n) { return static_cast<std::size_t>(random.below(n)); };
  counted_pool memory{pool_config{.packets = 80, .bytes = 1984, .headroom = 64, .bare = 4}};
  static_fragment_table<fragment_config{.fragments = 64, .datagrams = 4, .fragments_per_datagram = 24, .seed = 1}>
      fragments;
  unsigned wholes = 0, refusals = 0;
  for (unsigned round = 0; round < 1500; ++round) {
    const octets datagrams[2] = {udp4(8 + below(1700), static_cast<std::uint16_t>(round)), udp6(8 + below(1700))};
    struct part {
      unsigned which;
      std::size_t begin, end;
      bool more;
    };
    std::vector<part> parts;
    for (unsigned which = 0; which < 2; ++which) {
      const std::size_t size = datagrams[which].size() - header_bytes(datagrams[which]);
      std::size_t begin = 0;
      while (begin < size) {
        // The first holds the UDP header.
        std::size_t end = begin + 8 + 8 * below(1 + below(40));
        if (end > size) end = size;
        if (begin == 0 && end == size) break;  // no fragment at all
        parts.push_back({which, begin, end, end != size});
        begin = end;
      }
      if (parts.empty() || parts.back().which != which) continue;
      for (std::size_t n = below(3); n != 0; --n) parts.push_back(parts[below(parts.size())]);
      if (random.chance(300'000)) {
        const std::size_t from = 8 * below(size / 8 + 1);
        parts.push_back({which, from, from + 8 + 8 * below(20), random.chance(800'000)});
      }
    }
    for (std::size_t i = parts.size(); i > 1; --i)
      if (random.chance(700'000)) std::swap(parts[i - 1], parts[below(i)]);
    plain_datagram model[2];
    const instant now = instant{} + seconds(100 * round);
    for (const part& f : parts) {
      packet p = received(memory, piece(datagrams[f.which], f.begin, f.end, f.more, round));
      if (p.layers().fault != drop_reason::none) continue;  // an atomic or first one that holds less than its headers
      const bool atomic = f.begin == 0 && !f.more;
      const std::string expected = atomic ? "atomic" : model[f.which].take(f.begin, f.end, f.more);
      const verdict v = fragments->reassemble(p, now);
      REQUIRE(fragments->check());
      if (atomic) continue;
      INFO("round ", round, " ", f.begin, " to ", f.end, f.more ? " more" : " last");
      if (expected == "held") REQUIRE(v == stolen);
      else if (expected == "whole") REQUIRE(v == pass);
      else REQUIRE(std::string(name(v.reason)) == expected);
      if (expected == "whole") {
        ++wholes;
        const octets& frame = datagrams[f.which];
        const octets got = bytes_of(p);
        const std::size_t size = header_bytes(frame) + model[f.which].total;
        REQUIRE(got.size() == size);
        // An invented last fragment may have made it longer or shorter.
        if (size == frame.size()) REQUIRE(got == frame);
        model[f.which] = {};
      }
      if (expected == "ip_fragment") ++refusals;
    }
    fragments->clear();
    memory.check_all_home();
  }
  CHECK(wholes > 1500);
  CHECK(refusals > 300);
}

TEST_CASE("a datagram that came in pieces reaches the thread of its flow: steer before and behind defragment") {
  constexpr unsigned n = 4;
  counted_pool memories[n];
  crew threads{n};
  static_fragment_table<small> tables[n]{static_fragment_table<small>{3}, static_fragment_table<small>{4},
                                         static_fragment_table<small>{5}, static_fragment_table<small>{6}};
  for (unsigned i = 0; i < n; ++i) tables[i]->copies_to(memories[i]);
  std::string met;
  std::size_t first_came = 0, second_came = 0, bytes_came = 0;
  std::map<std::uint16_t, unsigned> owner;
  const auto path_of = [&](unsigned i) {
    return parse() | steer(threads[i]) | defragment(tables[i]) | steer(threads[i]) | [&, i](packet& p, udp u) {
      const auto [at, is_new] = owner.emplace(u.source_port(), i);
      if (at->second != i) met += std::to_string(u.source_port()) + ' ';
      (is_new ? first_came : second_came) += 1;
      bytes_came += p.total_length();
    } | discard;
  };
  manual_clock clock;
  for (std::uint16_t port = 1000; port < 1040; ++port) {
    const auto datagram = [port](std::size_t size) {
      return frame_of(size - 8, link_header,
                      ipv4_header{.source = {10, 0, 0, 1}, .destination = {192, 0, 2, 1}, .id = port},
                      udp_header{.source_port = port, .destination_port = 53});
    };
    // Two threads receive the pieces.
    replay wires[2]{replay{memories[port % n]}, replay{memories[(port + 1u) % n]}};
    wires[0].add(datagram(40), 0);
    const std::vector<octets> pieces = cut(datagram(300), {80, 160});
    wires[0].add(pieces[0], 0), wires[1].add(pieces[2], 0), wires[0].add(pieces[1], 0);
    for (unsigned i = 0; i < 2; ++i) run(clock, attach(wires[i], path_of((port + i) % n)));
    for (int round = 0; round < 2; ++round)
      for (unsigned i = 0; i < n; ++i) loop{threads.clocks[i], attach(threads[i], path_of(i))}.poll();
  }
  CHECK(met == "");
  CHECK(first_came == 40);
  CHECK(second_came == 40);
  CHECK(bytes_came == 40u * (14 + 20 + 40 + 14 + 20 + 300));
  for (unsigned i = 0; i < n; ++i) {
    CHECK(tables[i]->size() == 0);
    memories[i]->reclaim();
  }
}
