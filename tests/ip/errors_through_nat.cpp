// SPDX-License-Identifier: MIT
// Errors of this host about packets that NAT has changed on one side already, and will change on the other.
#include <doctest/doctest.h>

#include <cstdint>
#include <string>

#include <track/nat_rig.hpp>

#include <runnel/ip.hpp>

using namespace runnel;
using namespace runnel::test;
using namespace runnel::test::nat_hosts;

namespace {

// What comes for port 80 of the box goes to the server inside, as if from the box: as hairpins and balancers have it.
constexpr ipv4_address near_server{10, 0, 0, 254};

struct refused_packets {
  [[maybe_unused]] static constexpr const char* name = "refused_packets";
};
struct over_limit {
  using ways = ports<refused_packets, other>;
  [[maybe_unused]] static constexpr const char* name = "over_limit";
  static constexpr bool needs_parsed = true;
  ways operator()(packet& p) const {
    const header_map m{static_cast<const packet&>(p)};
    return m.get<ipv4>().time_to_live() <= 1 ? ways{refused_packets{}} : ways{other{}};
  }
};

struct is_to_be_reset {
  using ways = ports<refused_packets, other>;
  [[maybe_unused]] static constexpr const char* name = "is_to_be_reset";
  bool all;
  ways operator()(packet&) const { return all ? ways{refused_packets{}} : ways{other{}}; }
};

struct both_sides {
  counted_table connections{{.connections = 32, .unconfirmed = 16}};
  nat_table translations{*connections, 3};
  ip_interface all[2] = {{}, {.addresses = {{near_server, 24}, {box, 24}}}};
  counted_pool pool;
  test_device device{pool};
  manual_clock clock;
  std::string seen, told;
  bool resets = false;

  // `tracked`: whether somebody looks for the connection of what is answered, in the same burst or later.
  enum class tracked : std::uint8_t { at_once, later, never };
  std::string run(tracked how = tracked::at_once) {
    seen.clear(), told.clear();
    icmp_sender errors{all};
    const auto read = [](std::string& to) {
      return deliver([&to](packet p) { to += nat_reading::of(p.contents().from(14)) + '\n'; });
    };
    auto translate = as_pipeline(nat<hook_point::output>(translations) | nat<postrouting>(translations) | read(told));
    auto answers = as_pipeline(track(*connections) | shared(translate));
    queue<drop_tail, 16> waiting;
    const auto go = [&](auto& onwards) {
      auto path =
          parse() | [](packet& p) { p.iif(1); } | track(*connections) |
          nat<prerouting>(translations, rules(when(ip::daddr == box) >> dnat(in2).port(8080))) |
          branch(over_limit{})
              .template on<refused_packets>(
                  branch(is_to_be_reset{resets})
                      .template on<refused_packets>(reject_with_tcp_reset(errors) | shared(onwards))
                      .template on<other>(reject(icmp::time_exceeded::transit, errors) | shared(onwards)))
              .template on<other>(nat<postrouting>(translations, rules(when(ip::daddr == in2) >> snat(near_server))) |
                                  confirm(*connections) | read(seen));
      runnel::run(clock, attach(device, path));
    };
    if (how == tracked::at_once) go(answers);
    if (how == tracked::never) go(translate);
    if (how == tracked::later) {
      auto queued = as_pipeline(enqueue(waiting));
      go(queued);
      auto rest = parse() | unshare() | shared(answers);
      runnel::run(clock, attach(waiting, rest));
    }
    return told;
  }
  void tcp(std::uint8_t ttl, std::uint8_t flags, ipv4_address from, std::uint16_t sport, ipv4_address to,
           std::uint16_t dport, std::uint32_t ack = 0) {
    device.put(1, 0, clock.now(), eth, ipv4_header{.source = from, .destination = to, .ttl = ttl},
               tcp_header{.source_port = sport,
                          .destination_port = dport,
                          .sequence_number = 100,
                          .acknowledgment_number = ack,
                          .flags = flags,
                          .window_size = 1000});
  }
  void open() {
    tcp(64, tcp_flags::syn, out1, 1000, box, 80);
    CHECK(run() == "");
    CHECK(seen == "tcp 10.0.0.254:1000 > 10.0.0.2:8080\n");
    tcp(64, tcp_flags::syn | tcp_flags::ack, in2, 8080, near_server, 1000, 101);
    CHECK(run() == "");
    CHECK(seen == "tcp 192.0.2.254:80 > 198.51.100.1:1000\n");
  }
};

}  // namespace

TEST_CASE("an error about a packet whose ends are both translated quotes what its sender has sent") {
  both_sides t;
  t.open();
  t.tcp(1, tcp_flags::ack, out1, 1000, box, 80, 101);
  CHECK(t.run() == "icmp 192.0.2.254 > 198.51.100.1 type 11 [tcp 198.51.100.1:1000 > 192.0.2.254:80]\n");
  t.tcp(1, tcp_flags::ack, in2, 8080, near_server, 1000, 101);
  CHECK(t.run() == "icmp 10.0.0.254 > 10.0.0.2 type 11 [tcp 10.0.0.2:8080 > 10.0.0.254:1000]\n");
  CHECK(t.translations.statistics().untranslatable == 0);
}

TEST_CASE("a reset of a packet whose ends are both translated comes from where that was sent to") {
  both_sides t;
  t.resets = true;
  t.tcp(1, tcp_flags::syn, out1, 1000, box, 80);
  CHECK(t.run() == "tcp 192.0.2.254:80 > 198.51.100.1:1000\n");
  t.open();
  t.tcp(1, tcp_flags::ack, out1, 1000, box, 80, 101);
  CHECK(t.run() == "tcp 192.0.2.254:80 > 198.51.100.1:1000\n");
  t.tcp(1, tcp_flags::ack, in2, 8080, near_server, 1000, 101);
  CHECK(t.run() == "tcp 10.0.0.254:1000 > 10.0.0.2:8080\n");
}

TEST_CASE("the same about the first packet of a connection") {
  both_sides t;
  t.tcp(1, tcp_flags::syn, out1, 1000, box, 80);
  CHECK(t.run() == "icmp 192.0.2.254 > 198.51.100.1 type 11 [tcp 198.51.100.1:1000 > 192.0.2.254:80]\n");
}

TEST_CASE("an error that waits is found by what it quotes, and one that nobody tracks goes as it is") {
  both_sides t;
  t.tcp(1, tcp_flags::ack, in2, 5000, out1, 80, 101);
  CHECK(t.run(both_sides::tracked::never) ==
        "icmp 10.0.0.254 > 10.0.0.2 type 11 [tcp 10.0.0.2:5000 > 198.51.100.1:80]\n");
  t.open();
  t.tcp(1, tcp_flags::ack, out1, 1000, box, 80, 101);
  CHECK(t.run(both_sides::tracked::never) ==
        "icmp 192.0.2.254 > 198.51.100.1 type 11 [tcp 198.51.100.1:1000 > 10.0.0.2:8080]\n");
  t.tcp(1, tcp_flags::ack, out1, 1000, box, 80, 101);
  CHECK(t.run(both_sides::tracked::later) ==
        "icmp 192.0.2.254 > 198.51.100.1 type 11 [tcp 198.51.100.1:1000 > 10.0.0.2:8080]\n");
}
