// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <match/nft.hpp>

#include <runnel/track.hpp>

#include <track/conversation.hpp>

#include "asked_table.hpp"

using namespace runnel;
using namespace runnel::test;

namespace {

constexpr const char* with_counts =
    "table inet filter {\n"
    "\tset busy {\n"
    "\t\ttype ipv4_addr\n"
    "\t\tsize 4\n"
    "\t\tflags dynamic\n"
    "\t}\n"
    "\n"
    "\tchain input {\n"
    "\t\ttype filter hook input priority filter; policy accept;\n"
    "\t\ttcp dport 22 ct count over 3 counter packets 0 bytes 0 drop\n"
    "\t\ttcp dport 23 ct count 2 meta mark set 0x2\n"
    "\t\tudp dport 53 add @busy { ip saddr ct count over 2 } drop\n"
    "\t}\n"
    "}\n";

// The beginnings of a connection table's records: what rules see of it.
struct few_connections {
  struct record {
    connection_facts facts{};
    std::uint8_t rest[detail::connection_stride - sizeof(connection_facts)] = {};
  };
  static_assert(sizeof(record) == detail::connection_stride);
  record records[64]{};
  asked_table t;

  explicit few_connections(const std::string& said) : t(said) { t.at.connections = records; }
  void begin(std::uint32_t n) {
    records[n].facts = {};
    records[n].facts.status = detail::connection_is_alive | connection_status::confirmed;
  }
  void end(std::uint32_t n) { records[n].facts.status = 0; }
  // What becomes of a packet of connection `n`.
  std::string ask(std::uint32_t n, packet p) {
    p.connection(connection_word::of(new_, connection_direction::original, n).value);
    return t.ask(std::move(p));
  }
};

}  // namespace

TEST_CASE("connection limits are printed as they were read, and nft takes them") {
  rules_for_test t;
  const auto rules = load(t, with_counts);
  REQUIRE_MESSAGE(rules, (rules ? "" : rules.error().message()));
  CHECK(printed(t) == with_counts);
  if (!runnel_test::can_ask_nft()) return;
  CHECK(runnel_test::nft_says(with_counts) == "");
}

TEST_CASE("a rule counts connections, not packets, and those that ended make room") {
  few_connections c(with_counts);
  const ipv4_address a{10, 0, 0, 1};
  const auto ssh = [&](std::uint32_t n) { return c.ask(n, c.t.tcp(a, 22)); };
  for (std::uint32_t n = 0; n < 6; ++n) c.begin(n);
  for (unsigned again = 0; again < 3; ++again)
    for (std::uint32_t n = 0; n < 3; ++n) CHECK(ssh(n) == "0");
  CHECK(ssh(3) == "drop");
  CHECK(ssh(4) == "drop");
  CHECK(ssh(0) == "0");  // those that are in stay in
  c.end(1);
  CHECK(ssh(4) == "0");
  CHECK(ssh(3) == "drop");
  // The number of one that ended is given to another, which comes here, or does not.
  c.end(0);
  c.begin(0);
  CHECK(ssh(3) == "0");
  CHECK(ssh(0) == "drop");
  c.end(2);
  c.begin(2);
  CHECK(ssh(2) == "0");
  CHECK(ssh(5) == "drop");
  // Without `over` the rule is for those that are within.
  const auto telnet = [&](std::uint32_t n) { return c.ask(n, c.t.tcp(a, 23)); };
  CHECK(telnet(3) == "2");
  CHECK(telnet(4) == "2");
  CHECK(telnet(5) == "0");
  CHECK(c.t.ask(c.t.tcp(a, 22)) == "0");  // without a connection
  CHECK(printed(c.t.rules).find("ct count over 3 counter packets 5 ") != std::string::npos);
}

TEST_CASE("each element of a set has a limit, and goes with its last connection") {
  few_connections c(with_counts);
  const auto dns = [&](std::uint32_t n, std::uint8_t host) { return c.ask(n, c.t.udp({10, 0, 0, host}, 53)); };
  for (std::uint32_t n = 0; n < 32; ++n) c.begin(n);
  CHECK(dns(0, 1) == "0");
  CHECK(dns(1, 1) == "0");
  CHECK(dns(2, 1) == "drop");
  CHECK(dns(3, 2) == "0");
  CHECK(dns(4, 3) == "0");
  CHECK(dns(5, 4) == "0");
  CHECK(printed(c.t.rules).find("elements = { 10.0.0.1, 10.0.0.2, 10.0.0.3, 10.0.0.4 }") != std::string::npos);
  CHECK(dns(6, 5) == "0");  // the set is full: the rule has not matched
  CHECK(dns(2, 1) == "drop");
  c.end(4);
  CHECK(dns(7, 5) == "0");
  CHECK(dns(8, 5) == "0");
  CHECK(dns(9, 5) == "drop");
  CHECK(printed(c.t.rules).find("elements = { 10.0.0.1, 10.0.0.2, 10.0.0.5, 10.0.0.4 }") != std::string::npos);
}

TEST_CASE("where one of many connections has ended, whichever, the next one comes in at once") {
  few_connections c(table_of("", "tcp dport 22 ct count over 40 drop"));
  const auto ask = [&](std::uint32_t n) { return c.ask(n, c.t.tcp({10, 0, 0, 1}, 22)); };
  for (std::uint32_t n = 0; n < 42; ++n) c.begin(n);
  for (std::uint32_t n = 0; n < 40; ++n) CHECK(ask(n) == "0");
  for (std::uint32_t n = 0; n < 40; ++n) {
    CHECK(ask(41) == "drop");
    c.t.later(1);
    c.end(n);
    c.begin(n);
    CHECK(ask(40) == "0");
    c.end(40);
    c.begin(40);
    c.t.later(1);
    CHECK(ask(n) == "0");
  }
}

TEST_CASE("whoever sends beginnings without end has no long list read for each of them") {
  unsigned refused = 0;
  for (std::uint32_t ended = 0; ended < 40; ++ended) {
    few_connections c(table_of("", "tcp dport 22 ct count over 40 drop"));
    const auto ask = [&](std::uint32_t n) { return c.ask(n, c.t.tcp({10, 0, 0, 1}, 22)); };
    for (std::uint32_t n = 0; n < 42; ++n) c.begin(n);
    for (std::uint32_t n = 0; n < 40; ++n) CHECK(ask(n) == "0");
    CHECK(ask(41) == "drop");
    c.end(ended);
    if (ask(40) == "0") continue;  // one of the few that are looked at for each
    ++refused;
    c.t.later(1);
    CHECK(ask(40) == "0");
  }
  CHECK(refused == 40 - 8);
}

TEST_CASE("when no more connections can be counted packets are dropped, until some have ended") {
  static few_connections::record all[64];
  for (auto& r : all) r.facts.status = detail::connection_is_alive;
  static_rule_table<rule_table_config{.counted = 4}> small;
  REQUIRE(load(small, table_of("", "ct count over 1000 accept").c_str()));
  asked_table maker(table_of("", "accept"));
  context at;
  at.connections = all;
  const auto ask = [&](std::uint32_t n) {
    packet p = maker.udp({10, 0, 0, 1});
    p.connection(connection_word::of(new_, connection_direction::original, n).value);
    return small->run(hook_point::input, p, at);
  };
  for (std::uint32_t n = 0; n < 4; ++n) CHECK(ask(n) == accept);
  CHECK(ask(4) == drop(drop_reason::connections_full));
  CHECK(ask(2) == accept);
  all[2].facts.status = 0;
  CHECK(ask(4) == accept);
  CHECK(ask(5) == drop(drop_reason::connections_full));
}

TEST_CASE("connections that begin and end at random are counted as in a list") {
  few_connections c(
      table_of("set s { type ipv4_addr; size 16; flags dynamic; }", "add @s { ip saddr ct count over 5 } drop"));
  std::uint64_t state = 7;
  const auto below = [&state](std::uint32_t n) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return static_cast<std::uint32_t>((state >> 33) % n);
  };
  std::map<std::uint8_t, std::set<std::uint32_t>> within;
  std::map<std::uint32_t, std::uint8_t> host_of;
  unsigned wrong = 0, over = 0;
  for (unsigned i = 0; i < 20000; ++i) {
    const std::uint32_t n = below(64);
    if (below(3) == 0 && host_of.count(n) != 0) {
      c.end(n);
      within[host_of[n]].erase(n);
      host_of.erase(n);
      continue;
    }
    if (host_of.count(n) == 0) {
      c.begin(n);
      host_of[n] = static_cast<std::uint8_t>(1 + below(4));
    }
    std::set<std::uint32_t>& now = within[host_of[n]];
    if (now.size() < 5) now.insert(n);
    const std::string want = now.count(n) != 0 ? "0" : "drop";
    if (want == "drop") ++over;
    if (c.ask(n, c.t.udp({10, 0, 0, host_of[n]}, 53)) != want) ++wrong;
  }
  CHECK(wrong == 0);
  CHECK(over > 1000);
}

TEST_CASE("what is wrong with connection limits is said") {
  const auto says = [](const std::string& set, const std::string& rules) {
    return why_not(("table ip t {\n" + set + "\nchain c {\n" + rules + "\n}\n}").c_str());
  };
  const std::string s = "set s { type ipv4_addr; size 5; flags dynamic; }";
  CHECK(says("", "ct count lots drop") == "rules: line 4, column 10: expected a number of connections, not \"lots\"");
  CHECK(says("set s { type ipv4_addr; size 5; flags dynamic,timeout; }", "add @s { ip saddr ct count 5 } drop") ==
        "rules: line 4, column 19: connections are counted in a set without times: elements go with them");
  CHECK(says(s, "add @s { ip saddr ct count 5 } drop\ndelete @s { ip saddr }") ==
        "rules: line 5, column 9: nothing is deleted from a set that counts connections: elements go with them");
}

TEST_CASE("what rules count stays what it was for all others: it is exported, and its status says nothing of it") {
  alignas(connection_table::alignment) static std::byte memory[65536];
  connection_table all({memory, sizeof memory}, {.connections = 16, .unconfirmed = 4, .seed = 1});
  asked_table t(table_of("", "tcp dport 22 ct count over 3 drop"));
  const std::uint32_t n = all.insert({ipv4_address{10, 0, 0, 1}, ipv4_address{192, 0, 2, 1}, 1, 22, 6}, {});
  REQUIRE(all.confirm(all[n], {}));
  t.at.connections = &all[0];
  packet p = t.tcp({10, 0, 0, 1}, 22);
  p.connection(connection_word::of(new_, connection_direction::original, n).value);
  CHECK(t.ask(std::move(p)) == "0");
  CHECK(all[n].status() == connection_status::confirmed);
  CHECK_FALSE(all[n].has_status(connection_status::seq_adjust));
  std::byte to[1024];
  CHECK(export_connections(all, to, {}) == export_size(all));
}

TEST_CASE("connections of several tables are counted together, each where its record is") {
  few_connections c(table_of("", "tcp dport 22 ct count over 2 drop"));
  std::vector<few_connections::record> one(1);
  one[0].facts.status = detail::connection_is_alive;
  const auto ask_of = [&](void* records, std::uint32_t n) {
    c.t.at.connections = records;
    return c.ask(n, c.t.tcp({10, 0, 0, 1}, 22));
  };
  c.begin(0), c.begin(63);
  CHECK(ask_of(c.records, 63) == "0");
  CHECK(ask_of(one.data(), 0) == "0");  // which has no record 63
  CHECK(ask_of(c.records, 0) == "drop");
  CHECK(ask_of(one.data(), 0) == "0");
}

namespace {

// A path whose rule counts connections to port 22, two at most.
struct counting_path {
  counted_table table{{.connections = 16, .unconfirmed = 8, .seed = 3}};
  rules_for_test rules;
  bool refused = false;  // by what stands behind the rule

  counting_path() { REQUIRE(load(rules, table_of("", "tcp dport 22 ct count over 2 drop").c_str())); }
  std::string send(std::int64_t ms, std::uint16_t port, std::uint8_t flags, std::uint32_t seq, std::uint32_t ack,
                   bool reply = false) {
    clock_.set(instant{} + milliseconds(ms));
    tcp_header h{.flags = flags, .window_size = 1000};
    h.source_port = reply ? 22 : port, h.destination_port = reply ? port : 22;
    h.sequence_number = seq, h.acknowledgment_number = ack;
    device_.put(1, 2, clock_.now(), eth,
                reply ? ipv4_header{.source = server, .destination = client}
                      : ipv4_header{.source = client, .destination = server},
                h);
    std::string said = "drop";
    auto path = parse() | track(*table) | hook<hook_point::input>(live_) |
                [&](packet&) { return refused ? drop : pass; } | confirm(*table) |
                deliver([&](packet p) { said = name(connection_word{p.connection()}.state()); });
    run(clock_, attach(device_, path));
    return said;
  }
  std::string syn(std::int64_t ms, std::uint16_t port) { return send(ms, port, tcp_flags::syn, 99, 0); }
  void open(std::int64_t ms, std::uint16_t port) {
    CHECK(syn(ms, port) == "new");
    CHECK(send(ms, port, tcp_flags::syn | tcp_flags::ack, 899, 102, true) == "established");
    CHECK(send(ms, port, tcp_flags::ack, 102, 902) == "established");
  }

 private:
  rule_table_slot live_{rules};
  counted_pool memory_;
  test_device device_{memory_};
  manual_clock clock_;
};

}  // namespace

TEST_CASE("a connection whose first packet is dropped behind the rule is not counted") {
  counting_path t;
  t.refused = true;
  for (std::uint16_t i = 0; i < 4; ++i) CHECK(t.syn(10 + i, static_cast<std::uint16_t>(1000 + i)) == "drop");
  t.refused = false;
  CHECK(t.syn(20, 2000) == "new");
  CHECK(t.syn(21, 2001) == "new");
  CHECK(t.syn(22, 2002) == "drop");
}

TEST_CASE("a TCP connection that is closed is not counted, though it is still there") {
  counting_path t;
  t.open(10, 1000);
  t.open(20, 1001);
  CHECK(t.syn(30, 1002) == "drop");
  CHECK(t.send(40, 1000, tcp_flags::rst, 104, 0) == "established");
  CHECK(t.table->size() == 3);  // with the one that has just been dropped
  t.open(50, 1003);
  CHECK(t.syn(60, 1004) == "drop");
  // Both sides end it, and wait.
  constexpr std::uint8_t fin = tcp_flags::fin | tcp_flags::ack;
  CHECK(t.send(70, 1001, fin, 104, 902) == "established");
  CHECK(t.send(71, 1001, fin, 902, 107, true) == "established");
  CHECK(t.send(72, 1001, tcp_flags::ack, 107, 905) == "established");
  CHECK(t.syn(80, 1005) == "new");
  CHECK(t.syn(90, 1006) == "drop");
}
