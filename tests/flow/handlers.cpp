// SPDX-License-Identifier: MIT
// What a handler is given, which packets it runs for, and what its answer does.
#include <runnel/match.hpp>
#include <runnel/wire/tunnel.hpp>
#include <runnel/wire/vxlan.hpp>
#include <runnel/xdp.hpp>

#include <flow/test_device.hpp>

using namespace runnel;
using namespace runnel::test;

namespace {

struct fixture {
  counted_pool memory;
  test_device wire{memory};
  numbers arrived;
};

// As much as does not fit into registers.
struct six_counts {
  std::uint64_t *a, *b, *c, *d, *e, *f;
  void operator()(const packet&) const { ++*a, ++*b, ++*c, ++*d, ++*e, ++*f; }
};

verdict plain_function(ipv4 ip) { return ip.time_to_live() == 1 ? drop : pass; }

// As it comes from the other end of a veth.
void left_to_device(packet& p) {
  p.checksum(checksum_status::partial);
  const mutable_header_map m{p};
  const bool tcp_here = m.has<mut<tcp>>();
  const std::uint64_t sum = m.has<mut<ipv4>>()
                                ? m.get<mut<ipv4>>().pseudo_header_sum() + m.get<mut<ipv4>>().total_length() - 20u
                                : m.get<mut<ipv6>>().pseudo_header_sum() + m.get<mut<ipv6>>().payload_length();
  if (tcp_here) m.get<mut<tcp>>().segment_checksum(fold_checksum(sum + 6));
  else m.get<mut<udp>>().datagram_checksum(fold_checksum(sum + 17));
}
// Completes a checksum as a device does, which finds the transport itself.
void complete_as_device(packet& p) {
  if (p.checksum() != checksum_status::partial) return;
  const layers l = dissect(p.contents(), link_type::ethernet);
  (void)complete_checksum(p.writable(), l.transport, l.has(protocol::tcp) ? 16u : 6u);
}
bool is_right(const header_map& m) {
  const std::uint32_t pseudo = m.has<ipv4>() ? m.get<ipv4>().pseudo_header_sum() : m.get<ipv6>().pseudo_header_sum();
  return m.has<tcp>() ? m.get<tcp>().checksum_ok(pseudo) : m.has<udp>() && m.get<udp>().checksum_ok(pseudo);
}

}  // namespace

TEST_CASE("a handler runs only for packets that have all headers it asks for, and the others pass it by") {
  fixture t;
  t.wire.udp(1);
  t.wire.tcp(2);
  t.wire.udp6(3);
  t.wire.icmp(4);
  t.wire.unknown(5);
  t.wire.udp(6);
  numbers v4_udp, any_udp, any_v4, ether;
  auto path = parse() | [&](ipv4, udp u) { v4_udp.add(number_of(u.payload())); } |
              [&](udp u) { any_udp.add(number_of(u.payload())); } | [&](ipv4 ip) { any_v4.add(ip.protocol_number()); } |
              [&](ethernet) { ether.add(0); } | note(t.arrived);
  run(attach(t.wire, path));
  CHECK(v4_udp == "1 6");
  CHECK(any_udp == "1 3 6");
  CHECK(any_v4 == "17 6 1 17");
  CHECK(ether.count() == 6);
  CHECK(t.arrived == "1 2 3 4 5 6");
}

TEST_CASE("a handler that drops only sees, and only drops, packets with its headers") {
  fixture t;
  t.wire.udp(1);
  t.wire.tcp(2);
  t.wire.unknown(3);
  auto path = parse() | [](udp) { return drop; } | note(t.arrived);
  run(attach(t.wire, path));
  CHECK(t.arrived == "2 3");
}

TEST_CASE("a plain function, an object and a lambda are handlers alike") {
  struct object {
    verdict operator()(ipv4 ip) const { return ip.time_to_live() == 2 ? drop : pass; }
  };
  fixture t;
  t.wire.udp(1, 7, 1);
  t.wire.udp(2, 7, 2);
  t.wire.udp(3, 7, 3);
  t.wire.udp(4, 7, 4);
  auto path = parse() | &plain_function | object{} |
              [](ipv4 ip) noexcept { return ip.time_to_live() == 3 ? drop : pass; } | note(t.arrived);
  run(attach(t.wire, path));
  CHECK(t.arrived == "4");
}

TEST_CASE("a handler may keep state of its own") {
  fixture t;
  t.wire.several(1, 5);
  auto path = parse() | [n = 0](udp) mutable { return ++n % 2 == 0 ? drop : pass; } | note(t.arrived);
  run(attach(t.wire, path));
  CHECK(t.arrived == "1 3 5");
}

TEST_CASE("what a handler refers to, its author reads afterwards") {
  fixture t;
  for (std::uint16_t port = 1; port <= 20; ++port) t.wire.udp(port);
  std::uint64_t a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, captured = 0;
  {
    auto path = parse() | six_counts{&a, &b, &c, &d, &e, &f} | named("counts", [&](udp) { ++captured; }) |
                deliver([&](packet) { ++a, ++b, ++c, ++captured; });
    run(attach(t.wire, path));
  }
  CHECK(a + b + c + d + e + f == 180);
  CHECK(captured == 40);
}

TEST_CASE("a handler can ask for the packet, the time and a subject beside headers, in any order") {
  fixture t;
  t.wire.put(9, 18, instant{1234}, eth, ipv4_header{.source = {10, 0, 0, 1}}, udp_header{.source_port = 5});
  int calls = 0;
  auto path = parse() | [&](instant now, udp u, packet& p, const subject& s) {
    ++calls;
    CHECK(now == instant{1234});
    CHECK(u.source_port() == 5);
    CHECK(number_of(p) == 9);
    CHECK(s.length == p.length());
    CHECK(s.timestamp == instant{1234});
    p.mark(77);
  } | [&](const packet& p) {
    ++calls;
    CHECK(p.mark() == 77);
  } | note(t.arrived);
  run(attach(t.wire, path));
  CHECK(calls == 2);
  CHECK(t.arrived == "9");
}

TEST_CASE("before parse() a handler can ask for packet&, the time and the Ethernet header") {
  fixture t;
  t.wire.unknown(1);
  t.wire.udp(2);
  auto path = [](packet& p, instant) { p.mark(number_of(p)); } |
              named("types", [](ethernet e) { return e.ethertype() == 0x88b5 ? drop : pass; }) | note(t.arrived);
  run(attach(t.wire, path));
  CHECK(t.arrived == "2");
}

TEST_CASE("mut<> writes to the packet's own bytes, and the next stage reads what was written") {
  fixture t;
  t.wire.udp(1, 7, 64);
  int seen = 0;
  auto path = parse() | [](mut<ipv4> ip, mut<udp> u) {
    ip.time_to_live(9);
    u.destination_port(53);
  } | [&](ipv4 ip, udp u) {
    ++seen;
    CHECK(ip.time_to_live() == 9);
    CHECK(u.destination_port() == 53);
  } | note(t.arrived);
  run(attach(t.wire, path));
  CHECK(seen == 1);
}

TEST_CASE("parse() drops what is malformed, with the cause") {
  fixture t;
  t.wire.udp(1);
  t.wire.broken(2);
  t.wire.udp(3);
  auto path = parse() | note(t.arrived);
  run(attach(t.wire, path));
  CHECK(t.arrived == "1 3");
  const stage_counters& c = counters_of<0>(path);
  CHECK(c.packets == 3);
  CHECK(c.passed() == 2);
  CHECK(c.dropped(drop_reason::ip_version) == 1);
}

TEST_CASE("a packet that was parsed before is not parsed again") {
  fixture t;
  t.wire.udp(1);
  t.wire.udp(2);
  // Somebody says that there is nothing to be found: a second parse() believes it.
  auto path = parse() |
              [](packet& p) {
                layers known = p.layers();
                known.protocols = static_cast<std::uint16_t>(protocol::parsed);
                if (number_of(p) == 1) p.layers(known);
              } |
              parse() | [](udp) { return drop; } | note(t.arrived);
  run(attach(t.wire, path));
  CHECK(t.arrived == "1");
}

TEST_CASE("moving the packet out of packet& and saying stolen takes it out of the pipeline") {
  fixture t;
  t.wire.several(1, 4);
  packet kept;
  auto path = parse() | [&](packet& p) -> verdict {
    if (number_of(p) != 2) return pass;
    kept = static_cast<packet&&>(p);
    return stolen;
  } | [](ipv4) {} | note(t.arrived);
  run(attach(t.wire, path));
  CHECK(t.arrived == "1 3 4");
  REQUIRE(kept);
  CHECK(number_of(kept) == 2);
  CHECK(counters_of<1>(path).count(verdict_code::stolen) == 1);
  CHECK(counters_of<1>(path).passed() == 3);
  CHECK(counters_of<2>(path).packets == 3);
  CHECK(counters_of<2>(path).bytes == 3u * kept.length());
  CHECK(counters_of<3>(path).bytes == 3u * kept.length());
}

TEST_CASE("tx sends the packet back by the device that it came from") {
  fixture t;
  t.wire.several(1, 3);
  auto path = parse() | [](packet& p) -> verdict { return number_of(p) == 2 ? tx : pass; } | note(t.arrived);
  run(attach(t.wire, path));
  CHECK(t.arrived == "1 3");
  CHECK(t.wire.sent == "2");
  CHECK(counters_of<1>(path).count(verdict_code::tx) == 1);
}

TEST_CASE("what goes back in a row goes in one call of the device, which may be one of the system") {
  fixture t;
  const auto all_but_four = [](packet& p) -> verdict { return number_of(p) == 4 ? pass : tx; };
  SUBCASE("by a handler") {
    t.wire.several(1, 6);
    run(attach(t.wire, parse() | all_but_four | note(t.arrived)));
    CHECK(t.wire.calls == 1);
  }
  SUBCASE("by a stage that looks at bursts") {
    t.wire.several(1, 6);
    run(attach(t.wire, as_pipeline([&](burst& b) {
                         for (std::size_t i = 0; i < b.size(); ++i) b.verdict_on(i) = all_but_four(b[i]);
                       }) | note(t.arrived)));
    CHECK(t.wire.calls == 2);
  }
  SUBCASE("by an early verdict, where the device takes packets only") {
    t.wire.several(1, 6);
    run(attach(t.wire, xdp([](frame& f) { return number_of(f) == 4 ? pass : tx; }) | note(t.arrived)));
    CHECK(t.wire.calls == 2);
  }
  CHECK(t.arrived == "4");
  CHECK(t.wire.sent == "1 2 3 5 6");
}

TEST_CASE("a packet that a device refuses keeps back none behind it") {
  fixture t;
  t.wire.refuses = 3;
  t.wire.several(1, 6);
  auto path = parse() | [](packet&) -> verdict { return tx; } | discard;
  run(attach(t.wire, path));
  CHECK(t.wire.sent == "1 2 4 5 6");
  CHECK(t.wire.calls == 2);
  CHECK(counters_of<1>(path).dropped(drop_reason::transmit_full) == 1);
}

TEST_CASE("tx on a device that has no room is a drop, with the cause") {
  fixture t;
  t.wire.several(1, 3);
  t.wire.transmits_at_most(1);
  auto path = parse() | [](ipv4) { return tx; } | discard;
  run(attach(t.wire, path));
  CHECK(t.wire.sent == "1");
  CHECK(counters_of<1>(path).count(verdict_code::tx) == 1);
  CHECK(counters_of<1>(path).dropped(drop_reason::transmit_full) == 2);
}

TEST_CASE("tx on a source that cannot transmit, and a late redirect, are drops without a target") {
  fixture t;
  t.wire.several(1, 2);
  queue<drop_tail, 8> q;
  auto in = parse() | enqueue(q);
  auto out = parse() | [](packet& p) { return number_of(p) == 1 ? tx : verdict{redirect(3)}; } | discard;
  run(attach(t.wire, in), attach(q, out));
  CHECK(counters_of<1>(out).dropped(drop_reason::no_target) == 2);
  CHECK(counters_of<1>(out).passed() == 0);
}

TEST_CASE("aborted drops the packet and is counted by its own name") {
  fixture t;
  t.wire.several(1, 2);
  auto path = parse() | [](packet& p) { return number_of(p) == 1 ? aborted : pass; } | note(t.arrived);
  run(attach(t.wire, path));
  CHECK(t.arrived == "2");
  CHECK(counters_of<1>(path).count(verdict_code::aborted) == 1);
  CHECK(counters_of<1>(path).dropped(drop_reason::aborted) == 1);
}

namespace {
struct no_udp {
  verdict operator()(const subject& s) const { return s.headers.has<udp>() ? drop(drop_reason::no_match) : pass; }
};
}  // namespace

TEST_CASE("an object that is asked about a subject stands in a pipeline like rules") {
  fixture t;
  t.wire.udp(1);
  t.wire.tcp(2);
  auto path = parse() | no_udp{} | note(t.arrived);
  run(attach(t.wire, path));
  CHECK(t.arrived == "2");
  CHECK(counters_of<1>(path).dropped(drop_reason::no_match) == 1);
}

TEST_CASE("what was found before a packet was cut is checked again, also behind a second parse()") {
  fixture t;
  t.wire.udp(1);
  numbers seen;
  const auto look_at_udp = [&](udp u) { seen.add(static_cast<unsigned>(u.payload().size())); };
  const auto look_at_ethernet = [&](ethernet e) { seen.add(1000 + static_cast<unsigned>(e.payload().size())); };
  SUBCASE("to less than its link header") {
    auto cut = [](packet& p) { REQUIRE(p.trim(10)); };
    run(attach(t.wire, parse() | cut | parse() | look_at_udp | look_at_ethernet | discard));
    CHECK(seen == "");
  }
  SUBCASE("from the front, to nothing") {
    auto cut = [](packet& p) { REQUIRE(p.pull(p.length())); };
    run(attach(
        t.wire, parse() | cut | parse() | [&](udp u, const packet& p) {
          const std::byte* const end = p.data() + p.length();
          CHECK(u.payload().data() + u.payload().size() <= end);
        } | discard));
  }
  SUBCASE("into fragments too small for its headers") {
    static_pool<pool_config{.packets = 8, .bytes = 32, .headroom = 0, .bare = 8}> small;
    test_device wire{small};
    wire.lend_bytes();
    wire.udp(2);
    queue<drop_tail, 4> q;
    run(attach(wire, parse() | enqueue(q)), attach(q, parse() | look_at_udp | discard));
    CHECK(seen == "");
  }
}

namespace {
verdict no_dns(udp u) { return u.destination_port() == 53 ? drop : pass; }
void looks_on(const packet&) {}
}  // namespace

TEST_CASE("a function stands in a path by its name") {
  fixture t;
  t.wire.udp(1);
  t.wire.udp(2, 53);
  run(attach(t.wire, parse() | no_dns | (as_pipeline(looks_on) | looks_on) | note(t.arrived)));
  CHECK(t.arrived == "1");
}

TEST_CASE("rules stand before a handler, and two handlers side by side where the first one is made a pipeline") {
  fixture t;
  t.wire.udp(1);
  t.wire.udp(2, 53);
  t.wire.tcp(3);
  numbers to_dns;
  auto dns = rules(when(udp::dport == 53) >> accept, otherwise >> drop) | [&](packet& p) { to_dns.add(number_of(p)); } |
             discard;
  auto path = parse() | tee(shared(dns)) | (as_pipeline([](tcp) { return drop; }) | [](udp) {}) | note(t.arrived);
  run(attach(t.wire, path));
  CHECK(to_dns == "2");
  CHECK(t.arrived == "1 2");
  // Also rules that were read from a text.
  fixture read;
  read.wire.udp(1);
  read.wire.udp(2, 53);
  const auto list = parse_rules("udp dport 53 drop");
  REQUIRE(list);
  auto others = *list | [](udp) {} | note(read.arrived);
  run(attach(read.wire, parse() | tee(shared(others)) | discard));
  CHECK(read.arrived == "1");
}

TEST_CASE("a checksum that is left to the device stays the sum of the pseudo-header, whatever handlers write") {
  fixture t;
  std::string seen;
  const auto look = [&](packet& p) {
    complete_as_device(p);
    seen += is_right(header_map{static_cast<const packet&>(p)}) ? "right " : "wrong ";
  };
  const auto translate = [](mut<ipv4> ip, mut<tcp> segment) {
    const std::uint32_t before = ip.pseudo_header_sum();
    ip.source({198, 51, 100, 1});
    segment.update_checksum(before, ip.pseudo_header_sum());
  };
  t.wire.tcp(1);
  t.wire.udp(2);
  t.wire.udp6(3);
  auto path = parse() | &left_to_device | [](mut<tcp> s) { s.source_port(2000); } |
              [](mut<udp> u) { u.source_port(2000); } | [](packet&, mut<udp> u) { u.destination_port(53); } |
              translate | look | note(t.arrived);
  run(attach(t.wire, path));
  CHECK(seen == "right right right ");

  SUBCASE("in an early verdict and a branch too") {
    seen.clear();
    t.wire.tcp(4);
    t.wire.udp(5);
    const auto early = xdp([](frame& f, const subject& s) {
      f.checksum = checksum_status::partial;
      const mutable_header_map m{f.contents(), f.headroom, s.headers.layers()};
      const std::uint64_t sum = m.get<mut<ipv4>>().pseudo_header_sum() + m.get<mut<ipv4>>().total_length() - 20u;
      if (m.has<mut<tcp>>()) m.get<mut<tcp>>().segment_checksum(fold_checksum(sum + 6));
      else m.get<mut<udp>>().datagram_checksum(fold_checksum(sum + 17));
    });
    struct one {};
    auto early_path = early | xdp([](mut<tcp> s) { s.source_port(2000); }) | parse() |
                      branch([](mut<udp> u) -> ports<one, other> { return u.source_port(2000), one{}; })
                          .on<one>(as_pipeline(look) | note(t.arrived))
                          .on<other>(as_pipeline(look) | note(t.arrived));
    run(attach(t.wire, early_path));
    CHECK(seen == "right right ");
  }
  SUBCASE("by the difference: a routing header can have the destination that was summed up") {
    constexpr std::uint16_t other = 0x1234;
    std::vector<std::uint16_t> sums;
    const auto sum = [&](tcp s) { sums.push_back(s.segment_checksum()); };
    t.wire.tcp(4);
    packet clone;
    auto other_path = parse() |
                      [](packet& p, mut<tcp> s) {
                        p.checksum(checksum_status::partial);
                        s.segment_checksum(other);
                      } |
                      [](mut<tcp> s) { s.source_port(2000); } | sum | translate | sum |
                      [&](packet& p, mut<tcp> s) {
                        s.window_size(1);
                        clone = p.clone();
                      } |
                      sum | note(t.arrived);
    run(attach(t.wire, other_path));
    const std::uint16_t translated = fold_checksum(other + 0xc633u - 0x0a00 + 0x6401 - 0x0001);
    CHECK(sums == std::vector<std::uint16_t>{other, translated, translated});
    CHECK(header_map{static_cast<const packet&>(clone)}.get<tcp>().segment_checksum() == sums.back());
  }
  SUBCASE("a handler that takes the packet or moves it is left alone") {
    seen.clear();
    t.wire.udp(6);
    t.wire.udp(7);
    packet kept;
    auto other_path = parse() | &left_to_device | [&](packet& p, mut<udp> u) -> verdict {
      u.source_port(2000);
      if (kept) return p.pull(14) ? drop : pass;
      kept = std::move(p);
      return stolen;
    } | note(t.arrived);
    run(attach(t.wire, other_path));
    CHECK(number_of(kept) == 6);
  }
}

TEST_CASE("a checksum that is left to the device is right where headers are put in front, replaced or taken off") {
  fixture t;
  std::string seen;
  const auto look = [&](packet& p) {
    complete_as_device(p);
    const header_map m{static_cast<const packet&>(p)};
    seen += is_right(m) ? "right " : "wrong ";
    if (m.has<vxlan>()) seen += is_right(inside(m.get<vxlan>())) ? "inside " : "wrong inside ";
  };
  const ipv4_header outer{.source = {198, 51, 100, 1}, .destination = {198, 51, 100, 2}};
  t.wire.tcp(1);
  t.wire.udp(2);

  SUBCASE("a tunnel begins") {
    auto path = parse() | &left_to_device |
                [&](packet& p) {
                  REQUIRE(build(p, {}, eth, outer, udp_header{.source_port = 50000}, vxlan_header{.vni = 7}));
                } |
                parse() | look | note(t.arrived);
    run(attach(t.wire, path));
    CHECK(seen == "right inside right inside ");
  }
  SUBCASE("a tunnel ends") {
    auto path = parse() |
                [&](packet& p) {
                  REQUIRE(build(p, {}, eth, outer, udp_header{.source_port = 50000}, vxlan_header{.vni = 7}));
                } |
                parse() | &left_to_device | [](packet& p) { REQUIRE(p.pull(14 + 20 + 8 + 8)); } | parse() | look |
                note(t.arrived);
    run(attach(t.wire, path));
    CHECK(seen == "right right ");
  }
  SUBCASE("what is not whole stays as it is, and of what was taken off nothing is left to the device") {
    std::string status;
    const auto tell = [&](packet& p) {
      CHECK(complete_checksum(p));
      status += p.checksum() == checksum_status::partial ? "partial " : "unknown ";
    };
    t.wire.udp(3);
    auto path = parse() | [](const packet& p) { return p.layers().has(protocol::udp) ? pass : drop; } |
                &left_to_device | [](packet& p) { REQUIRE(p.trim(p.length() - 1)); } | tell |
                [](packet& p) { REQUIRE(p.pull(14 + 20 + 8)); } | tell | discard;
    run(attach(t.wire, path));
    CHECK(status == "partial unknown partial unknown ");
  }
  SUBCASE("nothing is written behind what was cut") {
    const auto cut = [](packet& p) {
      const std::byte* const field = p.data() + 14 + 20 + 6;
      const std::uint16_t before = load_be16(field);
      REQUIRE(p.trim(14 + 20 + 4));
      CHECK(complete_checksum(p));
      CHECK(load_be16(field) == before);
    };
    t.wire.udp(3);
    auto path = parse() | [](const packet& p) { return p.layers().has(protocol::udp) ? pass : drop; } |
                &left_to_device | cut | parse() | note(t.arrived);
    run(attach(t.wire, path));
    CHECK(t.arrived == "");
  }
  SUBCASE("IPv4 becomes IPv6") {
    auto path = parse() | &left_to_device |
                [&](packet& p, ipv4 ip) {
                  const std::uint8_t next = ip.protocol_number();
                  REQUIRE(p.pull(34));
                  REQUIRE(build(p, {}, eth, ipv6_header{.source = {1, 2}, .destination = {1, 3}, .next_header = next}));
                } |
                parse() | look | note(t.arrived);
    run(attach(t.wire, path));
    CHECK(seen == "right right ");
  }
}
