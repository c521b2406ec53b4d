// SPDX-License-Identifier: MIT
// NAT together with reassembly and forwarding: the requirements of RFC 4787 about fragments.
#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <vector>

#include <flow/test_device.hpp>
#include <packet/counted_pool.hpp>

#include <runnel/ip.hpp>
#include <runnel/match.hpp>
#include <runnel/track.hpp>
#include <runnel/wire.hpp>

using namespace runnel;
using namespace runnel::test;

namespace {

// A path out of a network behind NAT, with one route, whose next hop takes 576 bytes.
struct nat_fragment_path {
  static_connection_table<connection_config{.connections = 16}> connections{1};
  nat_table translations{connections, 1};
  static_fragment_table<fragment_config{.fragments = 16, .datagrams = 4}> fragments{1};
  ip_interface all[3] = {{}, {.addresses = {{addr4("10.0.0.254"), 24}}}, {.addresses = {{addr4("192.0.2.254"), 24}}}};
  next_hop_table_of<4> hops;
  sorted_routes_of<ipv4_address, 4> v4;
  sorted_routes_of<ipv6_address, 4> v6;
  decltype(route_table{hops, v4, v6}) routes{hops, v4, v6};
  counted_pool pool{{.packets = 64, .bytes = 2048, .headroom = 64, .bare = 64}};
  test_device device{pool};
  std::vector<std::byte> raw;  // written over the next packet
  std::string out, told;
  std::vector<unsigned> lengths;

  nat_fragment_path() { REQUIRE(routes.insert(net("0.0.0.0/0"), next_hop::via(addr4("192.0.2.1"), 2, 576))); }
  static std::string ends_of(const packet& p) {
    text<128> t;
    const header_map m{p};
    print(t, m.get<ipv4>().source()), t << " > ", print(t, m.get<ipv4>().destination());
    return t.c_str();
  }
  void run() {
    out.clear(), told.clear(), lengths.clear();
    manual_clock clock;
    icmp_sender errors{all};
    auto leave = as_pipeline(nat<postrouting>(translations, masquerade(), leaving(all)) | confirm(connections) |
                             [this](packet& p) {
                               const header_map m{p};
                               out = ends_of(p) + " id " + std::to_string(m.get<ipv4>().identification());
                               lengths.push_back(static_cast<unsigned>(p.total_length() - 14));
                               const running_checksum whole = [&] {
                                 running_checksum sum(m.get<ipv4>().pseudo_header_sum() + 17 + p.total_length() - 34);
                                 std::size_t skip = 34;
                                 p.for_each_fragment([&](bytes part) {
                                   const std::size_t n = skip < part.size() ? skip : part.size();
                                   skip -= n;
                                   sum.add(part.from(n));
                                 });
                                 return sum;
                               }();
                               CHECK(whole.sum() == 0xffff);
                             } |
                             discard);
    auto path =
        [this](packet& p) {
          copy_bytes(p.writable().data() + 14, raw.data(), raw.size());
          raw.clear();
        } |
        parse() | [](packet& p) { p.iif(1); } | defragment(fragments) | track(connections) |
        nat<prerouting>(translations) |
        route(routes)
            .on<local>(discard)
            .on<forward>(forwarding(routes, {.interfaces = all})
                             .on<forwarded>(shared(leave))
                             .on<oversized>(shared(leave))
                             .on<refused>(reject(errors) |
                                          [this](packet& p) {
                                            const header_map m{p};
                                            told = ends_of(p) + " type " +
                                                   std::to_string(m.get<icmp>().message_type()) + " code " +
                                                   std::to_string(m.get<icmp>().message_code());
                                          } |
                                          discard))
            .on<no_route>(discard);
    runnel::run(clock, attach(device, path));
  }
  // A datagram of 1008 bytes of UDP, or a part of it.
  std::vector<std::byte> datagram() {
    std::vector<std::byte> b(20 + 8 + 1000);
    for (std::size_t i = 28; i < b.size(); ++i) b[i] = static_cast<std::byte>(i * 7);
    REQUIRE(write_headers({b.data(), b.size()}, ipv4_header{.source = {10, 0, 0, 1}, .destination = {198, 51, 100, 1}},
                          udp_header{.source_port = 5000, .destination_port = 53}));
    return b;
  }
};

}  // namespace

TEST_CASE("RFC 4787 REQ-13: with DF a packet that is too long is answered, without it is passed on to be fragmented") {
  nat_fragment_path t;
  t.device.put(1, 1000, {}, eth,
               ipv4_header{.source = {10, 0, 0, 1}, .destination = {198, 51, 100, 1}, .dont_fragment = true},
               udp_header{.source_port = 5000, .destination_port = 53});
  t.run();
  CHECK(t.out.empty());
  CHECK(t.told == "10.0.0.254 > 10.0.0.1 type 3 code 4");
  t.device.put(1, 1000, {}, eth,
               ipv4_header{.source = {10, 0, 0, 1}, .destination = {198, 51, 100, 1}, .dont_fragment = false},
               udp_header{.source_port = 5000, .destination_port = 53});
  t.run();
  CHECK(t.out.substr(0, 28) == "192.0.2.254 > 198.51.100.1 i");
  CHECK(t.told.empty());
}

TEST_CASE("RFC 4787 REQ-14: fragments that come out of order are translated together, and others are not held up") {
  nat_fragment_path t;
  const std::vector<std::byte> whole = t.datagram();
  const auto piece = [&](std::size_t from, std::size_t n, bool more) {
    std::vector<std::byte> b(20 + n);
    ipv4_header h{.source = {10, 0, 0, 1}, .destination = {198, 51, 100, 1}, .dont_fragment = false};
    h.protocol = 17, h.id = 77;
    REQUIRE(write_headers({b.data(), b.size()}, h));
    for (std::size_t i = 0; i < n; ++i) b[20 + i] = whole[20 + from + i];
    store_be16(b.data() + 6, static_cast<std::uint16_t>(from / 8 | (more ? 0x2000u : 0u)));
    store_be16(b.data() + 10, 0);
    store_be16(b.data() + 10, checksum({b.data(), 20}));
    return b;
  };
  const auto put = [&](const std::vector<std::byte>& ip) {
    ethernet_header e = eth;
    e.type = 0x0800;
    t.device.put(1, ip.size(), {}, e);
    t.raw = ip;
    t.run();
  };
  put(piece(800, 208, false));
  CHECK(t.out.empty());
  put(piece(400, 400, true));
  CHECK(t.out.empty());
  t.device.put(9, 400, {}, eth, ipv4_header{.source = {10, 0, 0, 2}, .destination = {198, 51, 100, 1}},
               udp_header{.source_port = 6000, .destination_port = 53});
  t.run();
  CHECK(t.out.substr(0, 28) == "192.0.2.254 > 198.51.100.1 i");
  put(piece(0, 400, true));
  CHECK(t.out == "192.0.2.254 > 198.51.100.1 id 77");
  CHECK(t.lengths == std::vector<unsigned>{1028});
}

TEST_CASE("an error of the router itself about a translated packet is tracked, and quotes what its receiver has sent") {
  nat_fragment_path t;
  REQUIRE(t.routes.insert(net("10.0.0.0/24"), next_hop::on_link(1, 576)));
  manual_clock clock;
  icmp_sender errors{t.all};
  std::string seen;
  auto leave = as_pipeline(
      nat<postrouting>(t.translations, rules(when(ip::saddr.in(net("10.0.0.0/24"))) >> masquerade()), leaving(t.all)) |
      confirm(t.connections) |
      [&](packet& p) {
        const header_map m{p};
        seen = nat_fragment_path::ends_of(p);
        if (!m.has<icmp>()) return;
        const bytes quoted = m.get<icmp>().payload();
        text<64> out;
        print(out, ipv4_address::load(quoted.data() + 12)), out << " > ";
        print(out, ipv4_address::load(quoted.data() + 16)), out << ':' << load_be16(quoted.data() + 22);
        seen += std::string(" about ") + out.c_str();
        CHECK(m.get<icmp>().checksum_ok());
      } |
      discard);
  auto path = parse() | [](packet& p, ipv4 ip) { p.iif(ip.source().value() >> 24 == 10 ? 1 : 2); } |
              track(t.connections) | nat<prerouting>(t.translations) |
              route(t.routes)
                  .on<local>(discard)
                  .on<forward>(forwarding(t.routes, {.interfaces = t.all})
                                   .on<forwarded>(shared(leave))
                                   .on<oversized>(discard)
                                   .on<refused>(reject(errors) | track(t.connections) | shared(leave)))
                  .on<no_route>(discard);
  t.device.put(1, 18, {}, eth, ipv4_header{.source = {10, 0, 0, 1}, .destination = {198, 51, 100, 1}},
               udp_header{.source_port = 5000, .destination_port = 53});
  runnel::run(clock, attach(t.device, path));
  CHECK(seen == "192.0.2.254 > 198.51.100.1");
  seen.clear();
  t.device.put(1, 1000, {}, eth, ipv4_header{.source = {198, 51, 100, 1}, .destination = {192, 0, 2, 254}},
               udp_header{.source_port = 53, .destination_port = 5000});
  runnel::run(clock, attach(t.device, path));
  CHECK(seen == "192.0.2.254 > 198.51.100.1 about 198.51.100.1 > 192.0.2.254:5000");
}
