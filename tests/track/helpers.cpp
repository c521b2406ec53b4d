// SPDX-License-Identifier: MIT
// Connections that others announce.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <string>
#include <vector>

#include "conversation.hpp"

using namespace runnel;
using namespace runnel::test;

namespace {

bytes text_bytes(const char* text) { return {reinterpret_cast<const std::byte*>(text), std::strlen(text)}; }
constexpr std::uint8_t S = tcp_flags::syn, A = tcp_flags::ack;

// An FTP connection between client and server, and others beside it.
struct ftp_session {
  counted_table table{{.connections = 32, .ipv6_connections = 8}};
  counted_pool memory;
  test_device device{memory};
  manual_clock clock;
  std::string was;
  bool blocked = false;  // packets are dropped before confirm()

  template <class... Headers>
  std::string send(std::int64_t ms, bytes said, const Headers&... headers) {
    clock.set(instant{} + milliseconds(ms));
    packet p = memory->allocate();
    const std::size_t before = size_of_headers(headers...), size = before + said.size();
    std::byte* const to = p.put(size);
    REQUIRE(to != nullptr);
    copy_bytes(to + before, said.data(), said.size());
    REQUIRE(write_headers({to, size}, headers...));
    auto path = parse() | track(*table) | ftp_helper(*table) | tftp_helper(*table) |
                [this](packet& q) {
                  was = name(connection_word{q.connection()}.state());
                  return blocked ? drop : pass;
                } |
                confirm(*table) | discard;
    detail::handle_array<1> one;
    ::new (static_cast<void*>(one.data())) packet(static_cast<packet&&>(p));
    context c;
    c.now = clock.now();
    detail::run<place{.packets = true, .burst = 1}>(path.stages(), one.data(), 1, size, c);
    CHECK(table->check());
    return was;
  }
  std::string control(std::int64_t ms, bool reply, const char* said) {
    const std::uint32_t length = static_cast<std::uint32_t>(std::strlen(said));
    const tcp_header h{.source_port = static_cast<std::uint16_t>(reply ? 21 : 3000),
                       .destination_port = static_cast<std::uint16_t>(reply ? 3000 : 21),
                       .sequence_number = reply ? theirs : mine,
                       .acknowledgment_number = reply ? mine : theirs,
                       .flags = A,
                       .window_size = 8000};
    (reply ? theirs : mine) += length;
    return send(ms, text_bytes(said), eth,
                reply ? ipv4_header{.source = server, .destination = client}
                      : ipv4_header{.source = client, .destination = server},
                h);
  }
  std::string syn(std::int64_t ms, ipv4_address from, std::uint16_t sport, ipv4_address to, std::uint16_t dport) {
    return send(ms, {}, eth, ipv4_header{.source = from, .destination = to},
                tcp_header{.source_port = sport, .destination_port = dport, .flags = S, .window_size = 1000});
  }
  void open() {
    CHECK(send(0, {}, eth, ipv4_header{.source = client, .destination = server},
               tcp_header{.source_port = 3000, .destination_port = 21, .flags = S, .window_size = 8000}) == "new");
    CHECK(send(1, {}, eth, ipv4_header{.source = server, .destination = client},
               tcp_header{.source_port = 21,
                          .destination_port = 3000,
                          .acknowledgment_number = 1,
                          .flags = S | A,
                          .window_size = 8000}) == "established");
    CHECK(control(2, false, "") == "established");
    table->for_each([](connection& c) { c.mark(7); });
  }
  std::uint32_t mine = 1, theirs = 1;
};

}  // namespace

TEST_CASE("FTP, active: the server's connection from anywhere but there is new, that one is related") {
  ftp_session t;
  t.open();
  CHECK(t.control(10, false, "PORT 10,0,0,1,4,1\r\n") == "established");
  CHECK(t.table->expected() == 1);
  CHECK(t.syn(20, stranger, 20, client, 1025) == "new");
  CHECK(t.syn(21, server, 20, client, 1026) == "new");
  CHECK(t.syn(22, server, 20, client, 1025) == "related");
  CHECK(t.table->expected() == 0);
  const connection_word w = t.table->find({server, client, 20, 1025, 6}, t.clock.now());
  REQUIRE(w.has_connection());
  CHECK((*t.table)[w.number()].has_status(connection_status::expected));
  CHECK((*t.table)[w.number()].mark() == 7);
  CHECK(t.syn(23, server, 21, client, 1025) == "new");  // one, and no more
}

TEST_CASE("FTP, passive: the client's connection is related") {
  ftp_session t;
  t.open();
  CHECK(t.control(10, true, "227 Entering Passive Mode (192,0,2,1,8,1).\r\n") == "established");
  CHECK(t.syn(20, client, 4000, server, 2049) == "related");
  CHECK(t.control(30, true, "229 Entering Extended Passive Mode (|||2050|)\r\n") == "established");
  CHECK(t.syn(40, client, 4001, server, 2050) == "related");
  CHECK(t.control(45, true, "227 192,0,2,1,8,3\r\n") == "established");  // RFC 1123 §4.1.2.6: without parentheses
  CHECK(t.syn(46, client, 4002, server, 2051) == "related");
  CHECK(t.control(50, false, "EPRT !1!10.0.0.1!1030!\r\n") == "established");  // RFC 2428 §2: any delimiter
  CHECK(t.syn(60, server, 20, client, 1030) == "related");
}

TEST_CASE("who does not know where an FTP connection is cannot announce in its name") {
  ftp_session t;
  t.open();
  CHECK(t.control(10, false, "NOOP\r\n") == "established");
  const std::uint32_t mine = t.mine;
  for (const std::uint32_t guess : {mine - 1000, mine - 100'000, mine - 2'000'000'000}) {
    t.mine = guess;
    CHECK(t.control(20, false, "PORT 10,0,0,1,0,22\r\n") == "established");  // old, as far as anybody knows
    CHECK(t.table->expected() == 0);
  }
  t.mine = mine;
  CHECK(t.syn(30, server, 20, client, 22) == "new");
  CHECK(t.control(40, false, "PORT 10,0,0,1,4,1\r\n") == "established");
  CHECK(t.table->expected() == 1);
  t.mine = mine;
  CHECK(t.control(50, false, "PORT 10,0,0,1,4,1\r\n") == "established");  // sent again
  CHECK(t.syn(60, server, 20, client, 1025) == "related");
}

TEST_CASE("what looks like an announcement in the middle of a line is none") {
  ftp_session t;
  t.open();
  CHECK(t.control(10, false, "STOR a name that is so long that ") == "established");
  CHECK(t.control(11, false, "PORT 10,0,0,1,4,1\r\n") == "established");
  t.mine -= 19;
  CHECK(t.control(11, false, "PORT 10,0,0,1,4,1\r\n") == "established");  // nor is it one when it is sent again
  t.mine -= 19;
  CHECK(t.control(11, false, "PORT 10,0,0,1,4,1\r\nNOOP\r\n") == "established");  // or with more behind it
  CHECK(t.table->expected() == 0);
  CHECK(t.control(12, true, "501 no such ") == "established");  // each side has lines of its own
  CHECK(t.control(13, false, "PORT 10,0,0,1,4,2\r\n") == "established");
  CHECK(t.table->expected() == 1);
  CHECK(t.control(14, true, "227 name (192,0,2,1,8,1)\r\n") == "established");
  CHECK(t.table->expected() == 1);
}

TEST_CASE("an announcement that is not the sender's own, cut, or late, announces nothing") {
  ftp_session t;
  t.open();
  CHECK(t.control(10, false, "PORT 198,51,100,1,4,1\r\n") == "established");
  CHECK(t.control(11, false, "PORT 10,0,0,1,4,1") == "established");
  CHECK(t.control(12, false, "\r\n") == "established");
  CHECK(t.control(12, false, "PORT 10,0,0,1,4\r\n") == "established");
  CHECK(t.control(13, false, "PORT 10,0,0,256,4,1\r\n") == "established");
  CHECK(t.control(14, false, "PORT 10,0,0,1,0,0\r\n") == "established");
  CHECK(t.control(15, false, "EPRT |3|10.0.0.1|1030|\r\n") == "established");
  CHECK(t.control(16, false, "EPRT |1|10.0.0.1|70000|\r\n") == "established");
  CHECK(t.control(17, false, "227 Entering Passive Mode (192,0,2,1,8,1).\r\n") == "established");
  CHECK(t.control(18, true, "PORT 192,0,2,1,4,1\r\n") == "established");
  CHECK(t.control(19, true, "227 (198,51,100,1,8,1)\r\n") == "established");
  CHECK(t.table->expected() == 0);
  CHECK(t.control(20, false, "port 10,0,0,1,4,1\r\n") == "established");
  CHECK(t.table->expected() == 1);
  CHECK(t.syn(300'100, server, 20, client, 1025) == "new");
}

TEST_CASE("an announcement ends with the connection that made it") {
  ftp_session t;
  t.open();
  CHECK(t.control(10, false, "PORT 10,0,0,1,4,1\r\n") == "established");
  t.table->clear();
  CHECK(t.syn(20, server, 20, client, 1025) == "new");
}

TEST_CASE("an announcement does not become that of another connection, which is imported") {
  for (const bool all_end : {false, true}) {
    ftp_session t;
    const instant now = instant{} + seconds(5);
    std::uint32_t number[2];
    for (std::uint16_t i = 0; i < 2; ++i) {
      number[i] = t.table->insert({client, server, static_cast<std::uint16_t>(4000 + i), 21, 6}, now);
      REQUIRE(t.table->confirm((*t.table)[number[i]], now));
    }
    t.table->expect((*t.table)[number[0]], {server, client, 0, 1025, 6}, false, seconds(300), now);
    t.table->erase((*t.table)[number[0]]);
    std::vector<std::byte> state(export_size(*t.table));
    const std::size_t size = export_connections(*t.table, {state.data(), state.size()}, now);
    if (all_end) {
      t.table->clear();
    } else {  // another one takes its number
      t.table->erase((*t.table)[number[1]]);
      CHECK(t.table->insert({client, server, 4002, 21, 6}, now) == number[1]);
    }
    CHECK(t.table->expected() == (all_end ? 0u : 1u));
    const auto done = import_connections(*t.table, bytes{state.data(), size}, now);
    REQUIRE(done);
    CHECK(done.value().imported == 1);
    CHECK(t.syn(5000, server, 20, client, 1025) == "new");
    CHECK(t.table->expected() == 0);
  }
}

TEST_CASE("TFTP: the answer comes from another port") {
  ftp_session t;
  const ipv4_header out{.source = client, .destination = server}, back{.source = server, .destination = client};
  constexpr std::byte request[] = {std::byte{0}, std::byte{1}, std::byte{'f'}, std::byte{0}},
                      data[] = {std::byte{0}, std::byte{3}, std::byte{0}, std::byte{1}};
  CHECK(t.send(0, data, eth, out, udp_header{.source_port = 5000, .destination_port = 69}) == "new");
  CHECK(t.table->expected() == 0);
  CHECK(t.send(1, request, eth, out, udp_header{.source_port = 5000, .destination_port = 69}) == "new");
  CHECK(t.table->expected() == 1);
  CHECK(t.send(2, data, eth, back, udp_header{.source_port = 6000, .destination_port = 5001}) == "new");
  CHECK(t.send(3, data, eth, back, udp_header{.source_port = 6000, .destination_port = 5000}) == "related");
  CHECK(t.send(4, data, eth, out, udp_header{.source_port = 5000, .destination_port = 6000}) == "established");
}

TEST_CASE("TFTP: the request that begins its connection announces the answer, if it gets through") {
  ftp_session t;
  const ipv4_header out{.source = client, .destination = server}, back{.source = server, .destination = client};
  constexpr std::byte request[] = {std::byte{0}, std::byte{1}, std::byte{'f'}, std::byte{0}},
                      data[] = {std::byte{0}, std::byte{3}, std::byte{0}, std::byte{1}};
  CHECK(t.send(1000, request, eth, out, udp_header{.source_port = 5000, .destination_port = 69}) == "new");
  CHECK(t.send(1100, data, eth, back, udp_header{.source_port = 6000, .destination_port = 5000}) == "related");
  CHECK(t.send(1200, data, eth, out, udp_header{.source_port = 5000, .destination_port = 6000}) == "established");
  t.blocked = true;
  CHECK(t.send(2000, request, eth, out, udp_header{.source_port = 5001, .destination_port = 69}) == "new");
  t.blocked = false;
  CHECK(t.send(2100, data, eth, back, udp_header{.source_port = 6000, .destination_port = 5001}) == "new");
}

TEST_CASE("an FTP session has its latest announcement waited for, however many it makes, and leaves room for others") {
  ftp_session t;
  t.open();
  // Somebody else's announcement.
  const std::uint32_t other = t.table->insert({stranger, server, 3000, 21, 6}, t.clock.now());
  REQUIRE(other != connection_table::none);
  REQUIRE(t.table->confirm((*t.table)[other], t.clock.now()));
  t.table->expect_only((*t.table)[other], {server, stranger, 0, 5000, 6}, false, seconds(60), t.clock.now());
  for (unsigned i = 0; i < 300; ++i) {
    const std::string said = "PORT 10,0,0,1," + std::to_string(8 + i / 256) + "," + std::to_string(i % 256) + "\r\n";
    CHECK(t.control(10 + i, false, said.c_str()) == "established");
    CHECK(t.table->expected() == 2);
  }
  CHECK(t.control(1010, true, "229 Entering Extended Passive Mode (|||2050|)\r\n") == "established");
  CHECK(t.table->expected() == 2);
  CHECK(t.syn(1020, server, 20, client, 2048) == "new");
  CHECK(t.syn(1021, server, 20, client, 2048 + 299) == "new");
  CHECK(t.syn(1022, client, 4000, server, 2050) == "related");
  CHECK(t.syn(1023, server, 20, stranger, 5000) == "related");
  CHECK(t.table->expected() == 0);
}

TEST_CASE("expectations that are the only ones of their connections, against a list of them") {
  constexpr std::uint32_t places = 16, masters = 12;
  std::vector<detail::expectation> memory(places);
  detail::expectation_set all(memory.data(), places, 1);
  struct known {
    connection_tuple tuple;
    std::uint32_t master, deadline;
    bool only;
  };
  std::vector<known> list;
  random_generator random(5);
  for (std::uint32_t now = 0; now < 20'000; ++now) {
    const auto port = static_cast<std::uint16_t>(random.below(6));
    const connection_tuple to{client, server, 0, port, 6};
    const auto master = static_cast<std::uint32_t>(random.below(masters));
    const auto is_over = [now](const known& k) { return k.deadline <= now; };
    if (random.below(3) != 0) {
      const bool only = random.below(4) != 0;
      const std::uint32_t deadline = now + 1 + static_cast<std::uint32_t>(random.below(30));
      all.insert({.tuple = to, .master = master, .deadline = deadline, .only = only}, now);
      // Six targets find room in the eight places that each looks at, whoever else is there.
      std::erase_if(list, [&](const known& k) { return (only && k.only && k.master == master) || k.tuple == to; });
      list.push_back({to, master, deadline, only});
    } else {
      detail::expectation met;
      const auto gone = static_cast<std::uint32_t>(random.below(masters));
      const auto lives = [gone](const detail::expectation& e) { return e.master != gone; };
      const auto is = std::find_if(list.begin(), list.end(), [&](const known& k) { return k.tuple == to; });
      const bool there = is != list.end() && !is_over(*is) && is->master != gone;
      CHECK(all.awaits(to, master, now, lives) == (there && is->master != master));
      CHECK(all.take(to, now, met, lives) == there);
      if (there) {
        CHECK(met.master == is->master);
        list.erase(is);
      }
    }
    for (std::uint32_t i = 0; i < places; ++i) all.expire_one(now);
    std::erase_if(list, is_over);
    CHECK(all.size() == list.size());
  }
}

TEST_CASE("expectations are bounded: the one that would end first makes room") {
  counted_table t({.connections = 8, .expectations = 4});
  const std::uint32_t n = t->insert({client, server, 1, 21, 6}, {});
  REQUIRE(t->confirm((*t)[n], {}));
  for (std::uint16_t i = 0; i < 10; ++i)
    t->expect((*t)[n], {server, client, 0, static_cast<std::uint16_t>(1000 + i), 6}, false, seconds(100 + i), {});
  CHECK(t->expected() == 4);
  for (std::uint16_t i = 0; i < 4; ++i)  // said again
    t->expect((*t)[n], {server, client, 0, 1009, 6}, false, seconds(200), {});
  CHECK(t->expected() == 4);
}
