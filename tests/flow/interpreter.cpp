// SPDX-License-Identifier: MIT
// The engine against a plain interpreter, which takes one packet after the other through all stages and looks for its
// headers anew at each: pipelines put together at random, whose stages read, write, cut, move, prefetch and decide,
// over bursts of all sizes. Each packet must see the same in both, and each stage count the same.
#include <utility>
#include <vector>

#include <flow/test_device.hpp>
#include <wire/wire_bytes.hpp>

#include <runnel/xdp.hpp>

using namespace runnel;
using namespace runnel::test;

namespace {

using runnel_test::xorshift;

constexpr std::uint64_t mixed(std::uint64_t v) {
  v = (v ^ v >> 31) * 0x7fb5'd329'728e'a185u;
  v = (v ^ v >> 27) * 0x81da'def4'bc2d'd44du;
  return v ^ v >> 33;
}

// Packets are told apart by their time, which stays whatever becomes of their bytes.
std::size_t number(const packet& p) { return static_cast<std::size_t>(p.timestamp().ns); }

// What one of the two runs has seen.
struct record {
  std::uint64_t round;
  unsigned percent;                 // of the packets that a stage does not let pass
  std::vector<std::uint64_t> seen;  // by each packet, on its way
  std::vector<std::size_t> arrived{};
  std::vector<std::vector<bool>> fetched;  // by the stages, for each packet
  bool missed = false;                     // a stage was called, and its prefetch was not

  record(std::uint64_t r, unsigned p, std::size_t packets)
      : round(r), percent(p), seen(packets), fetched(8, std::vector<bool>(packets)) {}
  template <class... V>
  void see(std::size_t n, V... values) {
    ((seen[n] = mixed(seen[n] + static_cast<std::uint64_t>(values) + 1)), ...);
  }
  std::uint64_t chance(std::size_t n, std::size_t stage) const { return mixed(round * 1'000'003 + n * 64 + stage); }
  verdict decide(std::size_t n, std::size_t stage) const {
    const std::uint64_t c = chance(n, stage);
    if (c % 100 >= percent) return pass;
    return c / 100 % 3 == 0 ? drop : c / 100 % 3 == 1 ? drop(drop_reason::policy) : tx;
  }
};

// ---- the stages; `K` is the place of each in its pipeline

template <std::size_t K>
struct reads {
  record* r;
  verdict operator()(ipv4 ip, udp u, const packet& p) {
    r->see(number(p), K, ip.time_to_live(), u.source_port(), u.destination_port(), u.payload().size());
    return r->decide(number(p), K);
  }
};
template <std::size_t K>
struct writes {
  record* r;
  verdict operator()(mut<ipv4> ip, mut<udp> u, const packet& p) {
    r->see(number(p), K, ip.time_to_live());
    ip.time_to_live(static_cast<std::uint8_t>(ip.time_to_live() - 1));
    u.source_port(static_cast<std::uint16_t>(u.source_port() + 1));
    return r->decide(number(p), K);
  }
};
template <std::size_t K>
struct cuts {
  record* r;
  verdict operator()(packet& p) {
    const std::size_t n = number(p);
    const std::uint64_t c = r->chance(n, K + 32);
    r->see(n, K, p.length());
    switch (c % 10) {
      case 0: (void)(p.length() > 14 && p.trim(static_cast<std::size_t>(14 + c / 10 % (p.length() - 13)))); break;
      case 1:  // ends as it began
        (void)(p.length() > 4 && p.pull(4) && p.push(4) != nullptr);
        break;
      case 2:
        if (std::byte* const front = p.push(4); front != nullptr) store_be32(front, 0x0200'0000);
        break;
      case 3:  // lies elsewhere
        if (packet other = p.copy(); other) p = std::move(other);
        break;
      case 4: (void)(p.length() > 60 && p.pull(14)); break;
      case 5:  // takes it, or says so of what it leaves
        if (c / 10 % 4 != 0) break;
        p.reset();
        return stolen;
      default: break;
    }
    return r->decide(n, K);
  }
};
template <std::size_t K>
struct marks {
  record* r;
  void prefetch(packet& p) {
    p.flow_hash(static_cast<std::uint32_t>(number(p) * 8 + K));
    r->fetched[K][number(p)] = true;
  }
  verdict operator()(packet& p) {
    r->missed = r->missed || !r->fetched[K][number(p)];
    r->see(number(p), K, p.length());
    return r->decide(number(p), K);
  }
};
// The destination port is the packet's number as well, which nobody changes.
template <std::size_t K>
struct looks_up {
  record* r;
  void prefetch(ipv4, udp u) {
    if (u.destination_port() < r->seen.size()) r->fetched[K][u.destination_port()] = true;
  }
  verdict operator()(udp u, ipv4 ip, const packet& p) {
    r->missed = r->missed || !r->fetched[K][number(p)];
    r->see(number(p), K, u.destination_port(), u.source_port(), ip.time_to_live());
    return r->decide(number(p), K);
  }
};
template <std::size_t K>
struct early {
  record* r;
  verdict operator()(ipv4 ip, const frame& f) {
    const auto n = static_cast<std::size_t>(f.timestamp.ns);
    r->see(n, K, ip.time_to_live());
    return r->decide(n, K);
  }
};

// What stands at place `K` of pipeline `Seed`. Place 0 is an early verdict in every other one.
template <unsigned Seed, std::size_t K>
auto stage_at(record& r) {
  constexpr std::uint64_t which = mixed(Seed * 97u + K) % 8;
  if constexpr (K == 1) return parse();
  else if constexpr (which < 2) return looks_up<K>{&r};
  else if constexpr (which == 2) return marks<K>{&r};
  else if constexpr (which == 3) return cuts<K>{&r};
  else if constexpr (which == 4) return writes<K>{&r};
  else if constexpr (which == 5 && K > 4) return parse();
  else return reads<K>{&r};
}
constexpr std::size_t places = 8;

template <unsigned Seed, std::size_t... K>
auto path_of(record& r, std::vector<std::size_t>& arrived, std::index_sequence<K...>) {
  auto end = deliver([&](packet p) {
    for (const std::byte b : p.contents()) r.see(number(p), b);
    arrived.push_back(number(p));
  });
  if constexpr (Seed % 2 == 0) return (xdp(early<0>{&r}) | ... | stage_at<Seed, K + 1>(r)) | std::move(end);
  else return (named("first", [](const packet&) {}) | ... | stage_at<Seed, K + 1>(r)) | std::move(end);
}

// ---- the interpreter

struct tally {
  std::uint64_t came[places] = {};
  std::uint64_t said[places][8] = {};
};

template <class... A, class S>
verdict call(S& stage, packet& p, detail::type_list<A...>) {
  // Nothing is known of the packet but what its descriptor says, and that is checked.
  context c;
  return detail::call_handler<verdict>(stage, detail::packet_source{p, c, nullptr}, pass, detail::type_list<A...>{});
}
template <class S>
verdict interpret(S stage, packet& p, record& r, std::size_t k) {
  if constexpr (std::same_as<S, detail::parse_stage>) {
    detail::known_layers none{};
    return stage.find(p, none);
  } else {
    r.fetched[k][number(p)] = true;
    return call(stage, p, typename detail::signature<S>::arguments{});
  }
}
template <unsigned Seed, std::size_t K>
void interpret_from(packet p, record& r, tally& t) {
  if constexpr (K == places) {
    for (const std::byte b : p.contents()) r.see(number(p), b);
    r.arrived.push_back(number(p));
  } else {
    ++t.came[K];
    verdict v = pass;
    if constexpr (K != 0) {
      v = interpret(stage_at<Seed, K>(r), p, r, K);
    } else if constexpr (Seed % 2 == 0) {
      const layers found =
          dissect(p.contents(), p.layers().link_kind(), {.head_offset = p.headroom(), .missing = p.missing()});
      if (const header_map map{p.contents(), p.headroom(), found}; map.has<ipv4>()) {
        r.see(number(p), 0, map.get<ipv4>().time_to_live());
        v = r.decide(number(p), 0);
      }
    }
    ++t.said[K][static_cast<unsigned>(v.code)];
    if (v.code == verdict_code::pass) interpret_from<Seed, K + 1>(std::move(p), r, t);
  }
}

template <class List>
void compare(const List& list, const tally& t, std::size_t k = 0) {
  if constexpr (List::size > 1) {
    CAPTURE(k);
    CHECK(list.counters.packets == t.came[k]);
    for (const verdict_code v : {verdict_code::drop, verdict_code::tx, verdict_code::stolen})
      CHECK(list.counters.count(v) == t.said[k][static_cast<unsigned>(v)]);
    compare(list.rest, t, k + 1);
  }
}

void fill(test_device& wire, unsigned packets, xorshift random) {
  const ipv4_header ip{.source = {10, 0, 0, 1}, .destination = {192, 0, 2, 1}};
  for (unsigned i = 0; i < packets; ++i) {
    const udp_header u{.source_port = 1000, .destination_port = static_cast<std::uint16_t>(i)};
    const auto size = 2 + random.below(40);
    switch (random.below(12)) {
      case 0: wire.put(i, size, {i}, eth, ip, tcp_header{.source_port = 1, .destination_port = 2}); break;
      case 1: wire.put(i, size, {i}, eth, ipv6_header{}, u); break;
      case 2: wire.put(i, size, {i}, ethernet_header{.type = 0x88b5}); break;
      default: wire.put(i, size, {i}, eth, ip, u); break;
    }
  }
}

template <std::uint16_t Burst, unsigned Seed>
void run_both(unsigned packets, std::uint64_t round, unsigned percent) {
  CAPTURE(Burst);
  CAPTURE(Seed);
  CAPTURE(packets);
  CAPTURE(percent);
  const pool_config config{.packets = 700, .bytes = 192, .headroom = 64, .bare = 600};
  xorshift random;
  random.state += round;
  record here{round, percent, packets}, there = here;
  tally t;
  counted_pool memory{config}, other{config};
  test_device wire{memory}, apart{other};
  if (round % 3 == 0) wire.lend_bytes(), apart.lend_bytes();
  fill(wire, packets, random);
  fill(apart, packets, random);

  auto path = path_of<Seed>(here, here.arrived, std::make_index_sequence<places - 1>{});
  run(attach<Burst>(wire, path));
  run(attach<1>(apart, deliver([&](packet p) { interpret_from<Seed, 0>(std::move(p), there, t); })));

  CHECK(here.arrived == there.arrived);
  CHECK(here.seen == there.seen);
  CHECK_FALSE(here.missed);
  compare(path.stages(), t);
  std::uint64_t sent = 0;
  for (const auto& said : t.said) sent += said[static_cast<unsigned>(verdict_code::tx)];
  CHECK(wire.sent.count() == sent);
}

template <unsigned Seed>
void run_all() {
  std::uint64_t round = Seed * 1000;
  for (const unsigned percent : {0u, 5u, 40u})
    for (const unsigned packets : {1u, 4u, 15u, 16u, 17u, 20u, 21u, 64u, 65u, 150u, 255u, 256u, 300u})
      run_both<256, Seed>(packets, ++round, percent);
}
template <unsigned... Seed>
void run_seeds(std::integer_sequence<unsigned, Seed...>) {
  (run_all<Seed>(), ...);
}

}  // namespace

TEST_CASE("pipelines at random: each packet sees what a plain interpreter shows it, and goes the same way") {
  run_seeds(std::integer_sequence<unsigned, 2, 4, 8, 9>{});  // cuts before what reads, writes, prefetches
}
