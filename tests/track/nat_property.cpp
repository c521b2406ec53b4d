// SPDX-License-Identifier: MIT
// Properties of NAT over random packets: checksums stay right, what was translated comes back as it was, no two
// connections look alike outside, and ports are found in bounded time however many are taken.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "nat_rig.hpp"

using namespace runnel;
using namespace runnel::test;
using namespace runnel::test::nat_hosts;

namespace {

// An IP packet: UDP, TCP, an echo, or protocol 50; both ends, and some bytes.
struct nat_flow {
  bool v6 = false;
  std::uint8_t protocol = 17;
  ipv6_address from{}, to{};  // IPv4 ones mapped
  std::uint16_t sport = 0, dport = 0;

  [[nodiscard]] nat_flow reply() const {
    nat_flow r = *this;
    std::swap(r.from, r.to);
    if (protocol == 17 || protocol == 6) std::swap(r.sport, r.dport);
    else if (protocol == 1) r.dport = 0;
    else if (protocol == 58) r.dport = 129;
    return r;
  }
  friend bool operator==(const nat_flow&, const nat_flow&) = default;
  friend bool operator<(const nat_flow& a, const nat_flow& b) {
    // No vectors: on big-endian machines GCC 12's library compares only some bytes of vectors of numbers.
    const auto key = [](const nat_flow& f) {
      return std::make_tuple(f.protocol, f.from.high(), f.from.low(), f.to.high(), f.to.low(), f.sport, f.dport);
    };
    return key(a) < key(b);
  }
  [[nodiscard]] std::vector<std::byte> packet(std::size_t payload, random_generator& random) const {
    std::vector<std::byte> b(80 + payload);
    for (std::byte& x : b) x = static_cast<std::byte>(random.next());
    const auto write = [&](const auto& inner) {
      const ipv4_header h4{.source = unmapped(from), .destination = unmapped(to), .protocol = protocol};
      const ipv6_header h6{.source = from, .destination = to, .next_header = protocol};
      b.resize((v6 ? size_of_headers(h6, inner) : size_of_headers(h4, inner)) + payload);
      REQUIRE((v6 ? write_headers({b.data(), b.size()}, h6, inner) : write_headers({b.data(), b.size()}, h4, inner)));
    };
    const std::uint8_t type = static_cast<std::uint8_t>(dport);
    switch (protocol) {
      case 17: write(udp_header{.source_port = sport, .destination_port = dport}); break;
      case 6:
        write(tcp_header{.source_port = sport, .destination_port = dport, .flags = tcp_flags::ack, .window_size = 9});
        break;
      case 1: write(icmp_header{.kind = {type, 0}, .identifier = sport}); break;
      case 58: write(icmpv6_header{.kind = {type, 0}, .identifier = sport}); break;
      default: FAIL("no such protocol");
    }
    return b;
  }
  static nat_flow of(const std::vector<std::byte>& b) {
    nat_flow f;
    f.v6 = load_u8(b.data()) >> 4 == 6;
    f.protocol = load_u8(b.data() + (f.v6 ? 6 : 9));
    f.from = f.v6 ? ipv6_address::load(b.data() + 8) : mapped(ipv4_address::load(b.data() + 12));
    f.to = f.v6 ? ipv6_address::load(b.data() + 24) : mapped(ipv4_address::load(b.data() + 16));
    const std::byte* const t = b.data() + (f.v6 ? 40 : 20);
    if (f.protocol == 1 || f.protocol == 58) f.sport = load_be16(t + 4), f.dport = load_u8(t);
    else f.sport = load_be16(t), f.dport = load_be16(t + 2);
    return f;
  }
};

nat_flow nat_random_flow(random_generator& random) {
  nat_flow f;
  f.v6 = random.below(3) == 0;
  const std::uint8_t protocols[] = {17, 17, 6, f.v6 ? std::uint8_t{58} : std::uint8_t{1}};
  f.protocol = protocols[random.below(4)];
  f.from = f.v6 ? ipv6_address{0xfd00'0000'0000'0000, random.below(6)}
                : mapped(ipv4_address{static_cast<std::uint32_t>(0x0a00'0000 + random.below(6))});
  f.to = f.v6 ? ipv6_address{0x2001'0db8'0001'0000, random.below(3)}
              : mapped(ipv4_address{static_cast<std::uint32_t>(0xac10'0000 + random.below(3))});
  f.sport = static_cast<std::uint16_t>(1020 + random.below(8));
  f.dport = static_cast<std::uint16_t>(random.below(3) + 50);
  if (f.protocol == 1) f.dport = 8;
  if (f.protocol == 58) f.dport = 128;
  return f;
}
std::uint16_t nat_type_of(const nat_flow& f) { return f.v6 ? 0x86dd : 0x0800; }

}  // namespace

TEST_CASE("random conversations, translated at both ends: checksums are right and all comes back as it was") {
  for (const nat_mapping mapping : {nat_mapping::per_connection, nat_mapping::endpoint_independent}) {
    nat_setup s;
    s.options.mapping = mapping;
    s.tracking.tcp_be_liberal = true;
    s.connections.connections = 4096, s.connections.ipv6_connections = 1024;
    s.sizes = {.mappings = 512, .subscribers = 32, .seed = 11};
    nat_rig t(s);
    // What is 172.16.0.0/16 inside is 198.51.0.0/16 outside.
    t.rule(prerouting, dnat(net("198.51.0.0/16")),
           [](const packet& p) { return p.iif() == 1 && p.layers().has(protocol::ipv4); });
    t.rule(postrouting, snat(addr4("192.0.2.1"), addr4("192.0.2.3")),
           [](const packet& p) { return p.layers().has(protocol::ipv4) && p.iif() == 1; });
    t.rule(postrouting, snat(addr6("2001:db8:0:1::"), addr6("2001:db8:0:2::")),
           [](const packet& p) { return p.layers().has(protocol::ipv6) && p.iif() == 1; });
    random_generator random(17);
    std::map<nat_flow, nat_flow> outside;  // by what it looks like inside
    std::set<nat_flow> used;
    for (unsigned round = 0; round < 500; ++round) {
      const nat_flow inside = nat_random_flow(random);
      const auto payload = static_cast<std::size_t>(2 + random.below(40));
      const std::vector<std::byte> before = inside.packet(payload, random);
      const std::string out = t.send_bytes(before, nat_type_of(inside));
      REQUIRE_MESSAGE(out.substr(0, 7) != "dropped",
                      out << " " << nat_reading::of({before.data(), before.size()}) << " round " << round);
      const std::vector<std::byte> after = t.sent;
      const nat_flow looks = nat_flow::of(after);
      const auto known = outside.find(inside);
      if (known != outside.end()) {
        REQUIRE(known->second == looks);
      } else {
        outside.emplace(inside, looks);
        REQUIRE(used.insert(looks).second);
      }
      CHECK((looks.v6 || unmapped(looks.to).value() >> 16 == 0xc633));
      // The answer.
      const nat_flow answer = looks.reply();
      (void)t.send_bytes(answer.packet(payload, random), nat_type_of(answer));
      REQUIRE(nat_flow::of(t.sent) == inside.reply());
      // An error about it: who sent it sees what it has sent, byte for byte.
      std::size_t quoted = (std::min)(after.size(), static_cast<std::size_t>(20 + 20 + 8 + random.below(60)));
      if (inside.v6 && inside.protocol == 6 && quoted == 40 + 17) --quoted;  // half a checksum stays as it is
      std::vector<std::byte> error((inside.v6 ? 48 : 28) + quoted);
      std::copy_n(after.begin(), quoted, error.end() - static_cast<std::ptrdiff_t>(quoted));
      const ipv6_address router = inside.v6 ? ipv6_address{0x2001'0db8'0009'0000, 1} : mapped(out3);
      const bool written = inside.v6 ? write_headers({error.data(), error.size()},
                                                     ipv6_header{.source = router, .destination = looks.from},
                                                     icmpv6_header{.kind = {3, 0}})
                                     : write_headers({error.data(), error.size()},
                                                     ipv4_header{.source = out3, .destination = unmapped(looks.from)},
                                                     icmp_header{.kind = {11, 0}});
      REQUIRE(written);
      const std::string told = t.send_bytes(error, nat_type_of(inside));
      REQUIRE(told.substr(0, 5) == "icmp ");
      REQUIRE(nat_flow::of(t.sent).to == inside.from);
      REQUIRE(t.sent.size() == error.size());
      CHECK(std::equal(before.begin(), before.begin() + static_cast<std::ptrdiff_t>(quoted),
                       t.sent.end() - static_cast<std::ptrdiff_t>(quoted)));
    }
    CHECK(outside.size() > 100);
  }
}

TEST_CASE("headers rewritten at random, again and again, have the checksums that are computed anew") {
  random_generator random(3);
  for (unsigned round = 0; round < 3000; ++round) {
    nat_flow f = nat_random_flow(random);
    std::vector<std::byte> b = f.packet(static_cast<std::size_t>(random.below(6)), random);
    detail::nat_headers h;
    h.network = b.data();
    h.is_ipv6 = f.v6;
    h.transport = b.data() + (f.v6 ? 40 : 20);
    h.held = b.size() - (f.v6 ? 40u : 20u);
    h.protocol = f.protocol;
    const bool no_checksum = f.protocol == 17 && random.below(8) == 0;
    if (no_checksum) store_be16(h.transport + 6, 0);
    for (unsigned times = 0; times < 4; ++times) {
      const bool source = random.below(2) == 0;
      const auto port = static_cast<std::uint16_t>(random.next());
      const auto number = static_cast<std::uint32_t>(random.next());
      const ipv6_address address = f.v6 ? ipv6_address{random.next(), random.next()} : mapped(ipv4_address{number});
      const connection_tuple is =
          f.v6 ? connection_tuple{f.from, f.to, f.sport, f.dport, f.protocol}
               : connection_tuple{unmapped(f.from), unmapped(f.to), f.sport, f.dport, f.protocol};
      detail::rewrite_headers(h, detail::nat_with(is, source, address, port), source);
      (source ? f.from : f.to) = address;
      if (f.protocol == 1 || f.protocol == 58 || source) f.sport = port;
      else f.dport = port;
      REQUIRE(nat_flow::of(b) == f);
      (void)nat_reading::of({b.data(), b.size()});
      if (f.protocol == 17) REQUIRE((load_be16(h.transport + 6) == 0) == no_checksum);
    }
  }
}

TEST_CASE(
    "50,000 connections to different places from one address keep their ports; to one place they find ports fast") {
  nat_setup s;
  s.connections = {.connections = 70'000, .ipv6_connections = 1, .unconfirmed = 16, .seed = 7};
  s.sizes = {.seed = 9};
  counted_table connections(s.connections);
  nat_table translations(*connections, {nullptr, 0}, s.sizes);
  counted_pool pool;
  context c;
  auto follow = detail::as_stage(track(*connections));
  auto sources = nat<postrouting>(translations, snat(addr4("192.0.2.1")));
  auto take = detail::as_stage(confirm(*connections));
  const auto send = [&](ipv4_address from, std::uint16_t port, ipv4_address to) {
    packet p = pool->allocate();
    const ipv4_header ip{.source = from, .destination = to};
    const udp_header u{.source_port = port, .destination_port = 53};
    const std::size_t size = size_of_headers(eth, ip, u);
    std::byte* const at = p.put(size);
    REQUIRE(at != nullptr);
    REQUIRE(write_headers({at, size}, eth, ip, u));
    p.layers(dissect(p.contents(), link_type::ethernet, {.head_offset = p.headroom()}));
    burst_of<1> b;
    REQUIRE(b.push_back(static_cast<packet&&>(p)));
    c.connections = nullptr;
    follow(b, c);
    if (sources(b[0], c) != pass) return std::uint16_t{0};
    REQUIRE(take(b[0], c) == pass);
    return load_be16(b[0].data() + 34);
  };
  for (std::uint32_t i = 0; i < 50'000; ++i) REQUIRE(send(in1, 5000, ipv4_address{0x2d00'0000 + i}) == 5000);
  CHECK(translations.statistics().tries == 0);
  connections->clear();
  // All with one port, to one place: each needs another one.
  std::set<std::uint16_t> ports;
  for (std::uint32_t i = 0; i < 50'000; ++i)
    REQUIRE(ports.insert(send(ipv4_address{0x0a00'0000 + i}, 5000, out1)).second);
  CHECK(*ports.begin() >= 1024);
  CHECK(translations.statistics().tries < 50'000u * 3);
  CHECK(translations.statistics().exhausted == 0);
  // And when hardly any is left, a bounded number is tried.
  for (std::uint32_t i = 50'000; i < 66'000; ++i) (void)send(ipv4_address{0x0a00'0000 + i}, 5000, out1);
  CHECK(translations.statistics().exhausted > 0);
  const std::uint64_t tries = translations.statistics().tries;
  for (std::uint32_t i = 66'000; i < 66'100; ++i) (void)send(ipv4_address{0x0a00'0000 + i}, 5000, out1);
  CHECK(translations.statistics().tries - tries <= 100 * 256);
  CHECK(connections->size() > 60'000);
}
