// SPDX-License-Identifier: MIT
// Several threads with a table of neighbours each for one link: whichever receives an answer, who has asked learns it,
// and nobody is answered twice.
#include <runnel/ip.hpp>

#include <string>

#include <doctest/doctest.h>

#include <flow/crew.hpp>
#include <ip/neighbour_host.hpp>

using namespace runnel;
using namespace runnel::test;

namespace {

constexpr unsigned receiver = 0, asker = 1, another = 2;

// Three of them; the first receives everything.
struct three_workers {
  crew threads{3};
  host hosts[3];

  // What the receiver sends when it hears this, and then what the others send.
  template <class... Headers>
  std::string hear(std::int64_t ms, const Headers&... headers) {
    std::string said = hosts[receiver].hear_by(
        answer_neighbours(hosts[receiver].table, threads[receiver]) | steer(threads[receiver]), ms, headers...);
    for (const unsigned i : {asker, another}) {
      auto path =
          parse() | answer_neighbours(hosts[i].table, threads[i]) | [&](packet&) { said += " passed"; } | discard;
      loop{threads.clocks[i], attach(threads[i], path)}.poll();
      said += " | " + hosts[i].at(ms);
    }
    hosts[receiver].memory->reclaim();
    return said;
  }
};

constexpr ethernet_header to_us{.source = peer, .destination = us},
    to_all{.source = peer, .destination = mac_broadcast};

}  // namespace

TEST_CASE("an answer that comes to one worker reaches the one that has asked") {
  three_workers t;
  SUBCASE("ARP") {
    CHECK(t.hosts[asker].send(0, 1, peer4) == "to all who-has 192.0.2.2 tell 192.0.2.1");
    CHECK(t.hear(5, to_us, reply(peer4, peer)) == " | to 02 #1 | ");
    CHECK(t.hosts[asker].line(peer4) == "192.0.2.2 dev eth0 lladdr 02:00:00:00:00:02 REACHABLE");
    CHECK(t.hosts[receiver].line(peer4) == "192.0.2.2 dev eth0 NONE");
  }
  SUBCASE("neighbour discovery") {
    CHECK(t.hosts[asker].send(0, 1, peer6) == "to 33:33:ff:00:00:02 who-has 2001:db8::2 tell 2001:db8::1");
    CHECK(t.hear(5, to_us, ipv6_header{.source = peer6, .destination = own6, .hop_limit = 255},
                 neighbour_advertisement_header{.target = peer6, .router = true, .solicited = true},
                 ndp_target_link_address{peer}) == " | to 02 #1 | ");
    CHECK(t.hosts[asker].line(peer6) == "2001:db8::2 dev eth0 lladdr 02:00:00:00:00:02 router REACHABLE");
  }
}

TEST_CASE("a question is answered by the worker that it came to alone, and all know who has asked") {
  three_workers t;
  CHECK(t.hear(0, to_all, request(peer4, peer, own4)) == "to 02 tells 192.0.2.1 to 192.0.2.2 |  | ");
  for (host& h : t.hosts) CHECK(h.line(peer4) == "192.0.2.2 dev eth0 lladdr 02:00:00:00:00:02 STALE");
  CHECK(t.hear(1, ethernet_header{.source = peer, .destination = {{0x33, 0x33, 0xff, 0, 0, 1}}},
               ipv6_header{.source = peer6, .destination = solicited_node_multicast(own6), .hop_limit = 255},
               neighbour_solicitation_header{.target = own6},
               ndp_source_link_address{peer}) == "to 02 tells 2001:db8::1 to 2001:db8::2 S O |  | ");
  for (host& h : t.hosts) CHECK(h.line(peer6) == "2001:db8::2 dev eth0 lladdr 02:00:00:00:00:02 STALE");
}

TEST_CASE("an address is defended by one worker, and all count the conflict") {
  three_workers t;
  CHECK(t.hear(0, to_all, request(own4, peer, peer4)) == "to all announces 192.0.2.1 |  | ");
  for (host& h : t.hosts) CHECK(h.table.statistics().conflicts == 1);
}

TEST_CASE("what is for another host, or is no such message, goes to one worker only") {
  three_workers t;
  CHECK(t.hear(0, to_us, ipv6_header{.source = peer6, .destination = far6, .hop_limit = 255},
               neighbour_advertisement_header{.target = peer6, .solicited = true}, ndp_target_link_address{peer})
            .find("passed") != std::string::npos);
  CHECK(t.threads[receiver].missed() == 0);
  unsigned arrived = 0;
  for (const unsigned i : {asker, another}) arrived += t.threads[i].empty() ? 0u : 1u;
  CHECK(arrived == 0);
}

TEST_CASE("where the stage stands among steer is of no matter: what is told goes to each once, and is answered once") {
  three_workers t;
  for (const unsigned i : {receiver, asker, another}) t.threads[i].copies_to(t.hosts[i].memory);
  std::string said = t.hosts[receiver].hear_by(
      steer(t.threads[receiver]) | answer_neighbours(t.hosts[receiver].table, t.threads[receiver]), 0, to_all,
      request(peer4, peer, own4));
  unsigned rounds = 0;
  for (bool more = true; more && rounds < 10; ++rounds) {
    more = false;
    for (const unsigned i : {receiver, asker, another}) {
      auto path = parse() | steer(t.threads[i]) | answer_neighbours(t.hosts[i].table, t.threads[i]) |
                  [&](packet&) { said += " passed"; } | discard;
      more = loop{t.threads.clocks[i], attach(t.threads[i], path)}.poll() != 0 || more;
      said += t.hosts[i].at(0);
    }
  }
  CHECK(rounds == 2);
  CHECK(said == "to 02 tells 192.0.2.1 to 192.0.2.2");
  for (host& h : t.hosts) CHECK(h.line(peer4) == "192.0.2.2 dev eth0 lladdr 02:00:00:00:00:02 STALE");
  for (host& h : t.hosts) h.memory->reclaim();
}

TEST_CASE("what finds no room on its way to the others is counted") {
  counted_pool memory{pool_config{.packets = 2, .bytes = 256, .headroom = 64, .bare = 0}};
  crew threads{3, 1};
  host h;
  threads[receiver].copies_to(memory);
  const auto hear = [&] {
    return h.hear_by(answer_neighbours(h.table, threads[receiver]), 0, to_us, reply(peer4, peer));
  };
  CHECK(hear() == "");
  CHECK(threads[receiver].missed() == 0);
  CHECK(memory->available() == 0);
  CHECK(hear() == "");
  CHECK(threads[receiver].missed() == 2);
  for (const unsigned i : {asker, another}) loop{threads.clocks[i], attach(threads[i], discard)}.poll();
}

TEST_CASE("what a router says to one worker all go by") {
  three_workers t;
  struct one {
    router_discovery discovery;
    explicit one(host& h) : discovery(h.table, {}, 1) {}
  } of[3] = {one{t.hosts[0]}, one{t.hosts[1]}, one{t.hosts[2]}};
  constexpr ipv6_address router{0xfe80'0000'0000'0000, 2};
  t.hosts[receiver].hear_by(hear_routers(of[receiver].discovery, t.threads[receiver]), 0,
                            ethernet_header{.source = peer, .destination = {{0x33, 0x33, 0, 0, 0, 1}}},
                            ipv6_header{.source = router, .destination = all_nodes_multicast, .hop_limit = 255},
                            router_advertisement_header{.hop_limit = 33, .router_lifetime = 1800},
                            ndp_source_link_address{peer});
  CHECK(t.hosts[receiver].faults == "");
  for (const unsigned i : {asker, another})
    loop{t.threads.clocks[i], attach(t.threads[i], parse() | answer_neighbours(t.hosts[i].table, t.threads[i]) |
                                                       hear_routers(of[i].discovery, t.threads[i]) | discard)}
        .poll();
  t.hosts[receiver].memory->reclaim();
  for (const one& o : of) {
    REQUIRE(o.discovery.router() != nullptr);
    CHECK(o.discovery.router()->address == router);
    CHECK(o.discovery.hop_limit() == 33);
  }
}
