// SPDX-License-Identifier: MIT
// NAT as stages: several packets in a burst, chains, later fragments, local hooks, announced connections, and packets
// whose connection is gone.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "nat_rig.hpp"

using namespace runnel;
using namespace runnel::test;
using namespace runnel::test::nat_hosts;

namespace {

constexpr auto nat_all_sources = rules(when(ip::saddr.in(net("10.0.0.0/8"))) >> snat(addr4("192.0.2.7")));

struct nat_bench {
  counted_table connections{{.connections = 32, .unconfirmed = 16}};
  nat_table translations{*connections, 3};
  counted_pool pool;
  test_device device{pool};
  manual_clock clock;
  std::string seen;

  template <class Stage>
  void run(Stage stage) {
    seen.clear();
    auto path = parse() | track(*connections) | std::move(stage) | confirm(*connections) |
                deliver([this](packet p) { seen += nat_reading::of(p.contents().from(14)) + '\n'; });
    runnel::run(clock, attach(device, path));
  }
  void udp(ipv4_address from, std::uint16_t sport, ipv4_address to, std::uint16_t dport) {
    device.put(1, 18, clock.now(), eth, ipv4_header{.source = from, .destination = to},
               udp_header{.source_port = sport, .destination_port = dport});
  }
};

}  // namespace

TEST_CASE("packets of one burst that belong to one new connection are all translated alike") {
  nat_bench t;
  t.udp(in1, 1000, out1, 53);
  t.udp(in1, 1000, out1, 53);
  t.udp(in2, 1000, out1, 53);
  t.udp(in1, 1000, out1, 53);
  t.run(nat<prerouting>(t.translations) | nat<postrouting>(t.translations, nat_all_sources));
  const std::string one = "udp 192.0.2.7:1000 > 198.51.100.1:53\n";
  const std::size_t other = t.seen.find(":", 2 * one.size());
  CHECK(t.seen.substr(0, 2 * one.size()) == one + one);
  CHECK(t.seen.substr(t.seen.size() - one.size()) == one);
  CHECK(t.seen.substr(2 * one.size(), 13) == "udp 192.0.2.7");
  CHECK(t.seen.substr(other, 5) != ":1000");
  CHECK(t.connections->statistics().insert == 2);
  t.udp(out1, 53, addr4("192.0.2.7"), 1000);
  t.run(nat<prerouting>(t.translations) | nat<postrouting>(t.translations, nat_all_sources));
  CHECK(t.seen == "udp 198.51.100.1:53 > 10.0.0.1:1000\n");
}

TEST_CASE("a SYN and a reset of its sender in one burst are both translated") {
  nat_bench t;
  for (const std::uint8_t flags : {tcp_flags::syn, tcp_flags::rst})
    t.device.put(1, 0, t.clock.now(), eth, ipv4_header{.source = in1, .destination = out1},
                 tcp_header{.source_port = 1000, .destination_port = 80, .flags = flags, .window_size = 1000});
  t.run(nat<prerouting>(t.translations) | nat<postrouting>(t.translations, nat_all_sources));
  const std::string one = "tcp 192.0.2.7:1000 > 198.51.100.1:80\n";
  CHECK(t.seen == one + one);
  CHECK(t.translations.statistics().untranslatable == 0);
}

TEST_CASE("NAT stands in chains of a hook, in the order of their priorities") {
  nat_bench t;
  std::string order;
  t.udp(in1, 1000, out1, 53);
  t.run(nat<prerouting>(t.translations) |
        hook(chain<postrouting, hook_priority::srcnat>(nat<postrouting>(t.translations, nat_all_sources)),
             chain<postrouting, hook_priority::mangle>(
                 [&order](packet& p) { order = nat_reading::of(p.contents().from(14)); })));
  CHECK(order == "udp 10.0.0.1:1000 > 198.51.100.1:53");
  CHECK(t.seen == "udp 192.0.2.7:1000 > 198.51.100.1:53\n");
}

TEST_CASE("a later fragment that has a connection has its addresses translated, and nothing else") {
  nat_bench t;
  t.udp(in1, 1000, out1, 53);
  t.run(nat<prerouting>(t.translations) | nat<postrouting>(t.translations, nat_all_sources));
  ipv4_header h{.source = in1, .destination = out1, .dont_fragment = false, .fragment_offset = 800, .protocol = 17};
  t.device.put(1, 40, {}, eth, h);
  const auto known = [&t](packet& p) {  // virtual reassembly would say so
    p.connection(
        connection_word::of(new_, connection_direction::original, t.connections->number_of((*t.connections)[0])).value);
  };
  t.run(known | nat<prerouting>(t.translations) | nat<postrouting>(t.translations, nat_all_sources));
  CHECK(t.seen == "fragment 192.0.2.7 > 198.51.100.1\n");
}

TEST_CASE("the hooks of this host: what it sends may be led elsewhere, what comes to it may get another source") {
  nat_bench t;
  constexpr auto out = rules(when(ip::daddr == addr4("192.0.2.100")) >> dnat(addr4("198.51.100.1")));
  constexpr auto in = rules(when(ip::saddr == addr4("198.51.100.2")) >> snat(addr4("10.9.9.9")));
  t.udp(box, 1000, addr4("192.0.2.100"), 53);
  t.run(nat<hook_point::output>(t.translations, out) | nat<postrouting>(t.translations));
  CHECK(t.seen == "udp 192.0.2.254:1000 > 198.51.100.1:53\n");
  t.udp(out1, 53, box, 1000);
  t.run(nat<prerouting>(t.translations) | nat<hook_point::input>(t.translations, in));
  CHECK(t.seen == "udp 192.0.2.100:53 > 192.0.2.254:1000\n");
  t.udp(out2, 53, box, 1000);
  t.run(nat<prerouting>(t.translations) | nat<hook_point::input>(t.translations, in));
  CHECK(t.seen == "udp 10.9.9.9:53 > 192.0.2.254:1000\n");
  t.udp(box, 1000, addr4("10.9.9.9"), 53);
  t.run(nat<hook_point::output>(t.translations) | nat<postrouting>(t.translations));
  CHECK(t.seen == "udp 192.0.2.254:1000 > 198.51.100.2:53\n");
}

TEST_CASE("a packet whose connection is gone does not leave untranslated") {
  nat_bench t;
  t.udp(in1, 1000, out1, 53);
  t.run([&t](packet& p) { t.connections->erase((*t.connections)[connection_word{p.connection()}.number()]); } |
        nat<prerouting>(t.translations) | nat<postrouting>(t.translations, nat_all_sources));
  CHECK(t.seen.empty());
  CHECK(t.translations.statistics().untranslatable == 1);
}

TEST_CASE(
    "passive FTP works from behind NAT: the connection that is announced is related, and translated by the rules") {
  counted_table connections({.connections = 32, .unconfirmed = 16});
  nat_table translations(*connections, 3);
  counted_pool pool;
  test_device device(pool);
  std::string seen;
  std::vector<std::byte> raw;
  auto path =
      [&](packet& p) {
        copy_bytes(p.writable().data() + 14, raw.data(), raw.size());
        raw.clear();
      } |
      parse() | track(*connections) | ftp_helper(*connections) | nat<prerouting>(translations) |
      nat<postrouting>(translations, nat_all_sources) | confirm(*connections) | deliver([&](packet p) {
        seen =
            std::string(name(connection_word{p.connection()}.state())) + ' ' + nat_reading::of(p.contents().from(14));
      });
  const auto say = [&](ipv4_address from, std::uint16_t sport, ipv4_address to, std::uint16_t dport, std::uint8_t flags,
                       std::uint32_t seq, std::uint32_t ack, const std::string& text) {
    std::vector<std::byte> b(40 + text.size());
    for (std::size_t i = 0; i < text.size(); ++i) b[40 + i] = static_cast<std::byte>(text[i]);
    tcp_header h;
    h.source_port = sport, h.destination_port = dport, h.flags = flags;
    h.sequence_number = seq, h.acknowledgment_number = ack, h.window_size = 1000;
    REQUIRE(write_headers({b.data(), b.size()}, ipv4_header{.source = from, .destination = to}, h));
    raw = b;
    ethernet_header e = eth;
    e.type = 0x0800;
    device.put(1, b.size(), {}, e);
    manual_clock clock;
    seen = "nothing";
    runnel::run(clock, attach(device, path));
    return seen;
  };
  constexpr std::uint8_t S = tcp_flags::syn, A = tcp_flags::ack;
  const ipv4_address outside{192, 0, 2, 7};
  CHECK(say(in1, 5000, out1, 21, S, 10, 0, "") == "new tcp 192.0.2.7:5000 > 198.51.100.1:21");
  CHECK(say(out1, 21, outside, 5000, S | A, 90, 11, "") == "established tcp 198.51.100.1:21 > 10.0.0.1:5000");
  CHECK(say(in1, 5000, out1, 21, A, 11, 91, "") == "established tcp 192.0.2.7:5000 > 198.51.100.1:21");
  CHECK(say(out1, 21, outside, 5000, A, 91, 11, "227 ok (198,51,100,1,4,1)\r\n") ==
        "established tcp 198.51.100.1:21 > 10.0.0.1:5000");
  CHECK(say(in1, 5001, out1, 1025, S, 10, 0, "") == "related tcp 192.0.2.7:5001 > 198.51.100.1:1025");
  CHECK(say(out1, 1025, outside, 5001, S | A, 90, 11, "") == "established tcp 198.51.100.1:1025 > 10.0.0.1:5001");
}
