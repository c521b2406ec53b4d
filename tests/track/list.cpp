// SPDX-License-Identifier: MIT
// Listing, export and import.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "conversation.hpp"

using namespace runnel;
using namespace runnel::test;

namespace {

std::string listed(conversation& t) {
  text<2000> out;
  print(out, *t.table, t.now());
  return out.c_str();
}
void talk(conversation& t) {
  t.tcp_out(0, tcp_header{.sequence_number = 1, .flags = tcp_flags::syn, .window_size = 1000});
  t.tcp_in(1, tcp_header{.sequence_number = 9,
                         .acknowledgment_number = 2,
                         .flags = tcp_flags::syn | tcp_flags::ack,
                         .window_size = 1000});
  t.tcp_out(
      2, tcp_header{.sequence_number = 2, .acknowledgment_number = 10, .flags = tcp_flags::ack, .window_size = 1000});
  t.udp_out(3);
  t.its().mark(258);
  t.at(4, 8, ipv4_header{.source = client, .destination = server},
       icmp_header{.kind = icmp::echo_request, .identifier = 4660});
  t.at(5, 8, ipv6_header{.source = client6, .destination = server6},
       icmpv6_header{.kind = icmpv6::echo_request, .identifier = 7});
  t.at(6, 8, ipv6_header{.source = server6, .destination = client6},
       icmpv6_header{.kind = icmpv6::echo_reply, .identifier = 7});
  t.at(7, 10, ipv4_header{.source = client, .destination = server, .protocol = 50});
}
std::vector<std::byte> exported(conversation& t) {
  std::vector<std::byte> all(export_size(*t.table));
  all.resize(export_connections(*t.table, {all.data(), all.size()}, t.now()));
  return all;
}

}  // namespace

// What conntrack v1.4.7 wrote on Linux 6.18, with nf_conntrack_acct on, of entries that `conntrack -I` had made.
TEST_CASE("connections are listed as conntrack -L does, byte for byte") {
  counted_table t({.connections = 8, .ipv6_connections = 2});
  const auto add = [&](const connection_tuple& tuple, int milliseconds_left, std::uint16_t status, std::uint32_t mark) {
    connection& c = (*t)[t->insert(tuple, {})];
    REQUIRE(t->confirm(c, {}));
    t->refresh(c, milliseconds(milliseconds_left), {});
    t->add_status(c, status);
    c.mark(mark);
  };
  add({client, server, 1000, 53, 17}, 28'500, 0, 258);
  add({client, server, 4660, 8 << 8, 1}, 28'500, 0, 0);
  add({client6, server6, 7, 128 << 8, 58}, 29'500, connection_status::seen_reply, 0);
  add({ipv4_address{10, 0, 0, 3}, server, 1000, 53, 17, 7}, 28'500, 0, 0);
  add({client, server, 0, 0, 50}, 599'500, 0, 0);
  text<2000> out;
  print(out, *t, {});
  CHECK(std::string(out.c_str()) ==
        "udp      17 28 src=10.0.0.1 dst=192.0.2.1 sport=1000 dport=53 packets=0 bytes=0 [UNREPLIED] src=192.0.2.1 "
        "dst=10.0.0.1 sport=53 dport=1000 packets=0 bytes=0 mark=258 use=1\n"
        "icmp     1 28 src=10.0.0.1 dst=192.0.2.1 type=8 code=0 id=4660 packets=0 bytes=0 [UNREPLIED] src=192.0.2.1 "
        "dst=10.0.0.1 type=0 code=0 id=4660 packets=0 bytes=0 mark=0 use=1\n"
        "icmpv6   58 29 src=2001:db8::1 dst=2001:db8::2 type=128 code=0 id=7 packets=0 bytes=0 src=2001:db8::2 "
        "dst=2001:db8::1 type=129 code=0 id=7 packets=0 bytes=0 mark=0 use=1\n"
        "udp      17 28 src=10.0.0.3 dst=192.0.2.1 sport=1000 dport=53 packets=0 bytes=0 [UNREPLIED] src=192.0.2.1 "
        "dst=10.0.0.3 sport=53 dport=1000 packets=0 bytes=0 mark=0 zone=7 use=1\n"
        "unknown  50 599 src=10.0.0.1 dst=192.0.2.1 packets=0 bytes=0 [UNREPLIED] src=192.0.2.1 dst=10.0.0.1 "
        "packets=0 bytes=0 mark=0 use=1\n");
}

TEST_CASE("a listing has states, counters and what is left of the time") {
  conversation t;
  talk(t);
  CHECK(listed(t) ==
        "tcp      6 431999 ESTABLISHED src=10.0.0.1 dst=192.0.2.1 sport=40000 dport=80 packets=2 bytes=80 "
        "src=192.0.2.1 dst=10.0.0.1 sport=80 dport=40000 packets=1 bytes=40 [ASSURED] mark=0 use=1\n"
        "udp      17 29 src=10.0.0.1 dst=192.0.2.1 sport=1000 dport=53 packets=1 bytes=46 [UNREPLIED] "
        "src=192.0.2.1 dst=10.0.0.1 sport=53 dport=1000 packets=0 bytes=0 mark=258 use=1\n"
        "icmp     1 29 src=10.0.0.1 dst=192.0.2.1 type=8 code=0 id=4660 packets=1 bytes=36 [UNREPLIED] "
        "src=192.0.2.1 dst=10.0.0.1 type=0 code=0 id=4660 packets=0 bytes=0 mark=0 use=1\n"
        "icmpv6   58 29 src=2001:db8::1 dst=2001:db8::2 type=128 code=0 id=7 packets=1 bytes=56 "
        "src=2001:db8::2 dst=2001:db8::1 type=129 code=0 id=7 packets=1 bytes=56 mark=0 use=1\n"
        "unknown  50 600 src=10.0.0.1 dst=192.0.2.1 packets=1 bytes=30 [UNREPLIED] "
        "src=192.0.2.1 dst=10.0.0.1 packets=0 bytes=0 mark=0 use=1\n");
}

TEST_CASE("what was exported is there again after an import, and goes on") {
  conversation t;
  talk(t);
  t.its().labels(9);
  const std::vector<std::byte> all = exported(t);
  CHECK(all.size() == 16 + 5 * 184 + 8);

  conversation u;
  const auto done = import_connections(*u.table, {all.data(), all.size()}, {});
  REQUIRE(done);
  CHECK(done->imported == 5);
  CHECK(done->refused == 0);
  CHECK(u.table->check());
  CHECK(listed(u).substr(0, 60) == listed(t).substr(0, 60));
  // Windows and all: the next segment fits, one beyond the window does not.
  tcp_header h{.sequence_number = 10, .acknowledgment_number = 2, .flags = tcp_flags::ack, .window_size = 1000};
  CHECK(u.tcp_in(10, h, 100) == "established reply");
  h.sequence_number = 5000;
  CHECK(u.tcp_in(11, h, 100) == "invalid");
  CHECK(u.udp_in(12) == "established reply");
  CHECK(u.its().mark() == 258);
  // A second time they are there already.
  const auto again = import_connections(*u.table, {all.data(), all.size()}, {});
  REQUIRE(again);
  CHECK(again->imported == 0);
  CHECK(again->refused == 5);
}

TEST_CASE("translated connections keep both tuples in an export") {
  counted_table t({.connections = 8}), u({.connections = 8});
  const std::uint32_t n = t->insert({client, server, 1000, 53, 17}, {});
  REQUIRE(t->set_reply((*t)[n], {server, stranger, 53, 2000, 17}));
  t->add_status((*t)[n], connection_status::src_nat);
  REQUIRE(t->confirm((*t)[n], {}));
  std::vector<std::byte> all(export_size(*t));
  CHECK(export_connections(*t, {all.data(), all.size()}, {}) == all.size());
  CHECK(export_connections(*t, {all.data(), all.size() - 1}, {}) == 0);
  REQUIRE(import_connections(*u, {all.data(), all.size()}, instant{} + seconds(100)));
  const connection_word w = u->find({server, stranger, 53, 2000, 17}, instant{} + seconds(100));
  REQUIRE(w.has_connection());
  CHECK(u->original((*u)[w.number()]) == connection_tuple{client, server, 1000, 53, 17});
  CHECK((*u)[w.number()].has_status(connection_status::src_nat | connection_status::confirmed));
}

TEST_CASE("what is no export, or a damaged one, is refused whole") {
  conversation t;
  talk(t);
  const std::vector<std::byte> all = exported(t);
  counted_table u({.connections = 64, .ipv6_connections = 8});
  const auto why = [&](const std::vector<std::byte>& from) -> std::string {
    const auto done = import_connections(*u, {from.data(), from.size()}, {});
    CHECK(u->size() == 0);
    return done ? "" : done.error().message();
  };
  CHECK(why({}) == "connections: import: too short for a header: give all that was exported");
  for (std::size_t n = 0; n < all.size(); n += 7)
    CHECK(why({all.begin(), all.begin() + static_cast<std::ptrdiff_t>(n)}) != "");
  std::vector<std::byte> longer = all;
  longer.push_back(std::byte{0});
  CHECK(why(longer) != "");
  for (std::size_t i = 0; i < all.size(); ++i) {
    std::vector<std::byte> broken = all;
    broken[i] ^= std::byte{0x10};
    CHECK(why(broken) != "");
  }
  // With the right checksum, what cannot be is refused all the same.
  const auto forged = [&](std::size_t at, std::uint8_t value) {
    std::vector<std::byte> f = all;
    f[at] = static_cast<std::byte>(value);
    store_be64(f.data() + f.size() - 8, detail::export_sum(bytes{f.data(), f.size() - 8}));
    return f;
  };
  const std::size_t tcp_record = 16;
  CHECK(why(forged(tcp_record + 2, 10)) ==
        "connections: import: a connection in it cannot be: give what "
        "export_connections() has written");
  CHECK(why(forged(tcp_record + 0, 2)) != "");
  CHECK(why(forged(tcp_record + 4, 0xff)) != "");
  CHECK(why(forged(tcp_record + 56, 1)) != "");                  // IPv4 in more than four bytes
  CHECK(why(forged(tcp_record + 24 + 32 + 72 + 32, 15)) != "");  // no such window scale
}

TEST_CASE("a TCP connection that was made by hand is judged from its first segment on, and can be exported before") {
  const connection_tuple by_hand{client, server, 40000, 80, 6};
  conversation t, u;
  // The record of another one, which had windows.
  t.tcp_out(0, tcp_header{.sequence_number = 0x8000'0000, .flags = tcp_flags::syn, .window_size = 1});
  t.table->erase(t.its());
  detail::tracker::begin_burst(*t.table);
  const std::uint32_t n = t.table->insert(by_hand, t.now());
  REQUIRE(t.table->confirm((*t.table)[n], t.now()));
  const std::vector<std::byte> all = exported(t);
  const auto done = import_connections(*u.table, {all.data(), all.size()}, {});
  REQUIRE_MESSAGE(done, (done ? "" : done.error().message()));
  CHECK(done->imported == 1);
  for (conversation* c : {&t, &u}) {
    CHECK(c->tcp_in(4, tcp_header{.acknowledgment_number = 6, .flags = tcp_flags::ack, .window_size = 9}) == "invalid");
    CHECK(c->tcp_out(5, tcp_header{.sequence_number = 5, .flags = tcp_flags::syn, .window_size = 1000}) == "new");
    CHECK(c->tcp_in(6, tcp_header{.sequence_number = 9,
                                  .acknowledgment_number = 6,
                                  .flags = tcp_flags::syn | tcp_flags::ack,
                                  .window_size = 1000}) == "established reply");
    tcp_header h{.sequence_number = 6, .acknowledgment_number = 10, .flags = tcp_flags::ack, .window_size = 1000};
    CHECK(c->tcp_out(7, h) == "established");
    CHECK(c->its().tcp_state() == tcp_connection_state::established);
    CHECK(c->table->size() == 1);
    h.sequence_number = 5000;
    CHECK(c->tcp_out(8, h, 10) == "invalid");
  }
}
