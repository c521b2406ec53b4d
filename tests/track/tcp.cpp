// SPDX-License-Identifier: MIT
// TCP connections as conversations. Client numbers begin just below the wrap.
#include <doctest/doctest.h>

#include "conversation.hpp"

using namespace runnel;
using namespace runnel::test;

namespace {

constexpr std::uint8_t S = tcp_flags::syn, A = tcp_flags::ack, F = tcp_flags::fin, R = tcp_flags::rst;
constexpr std::uint32_t c0 = 0xffff'fff0, s0 = 5000;  // initial sequence numbers
constexpr tcp_option_values modern{.maximum_segment_size = 1460, .window_scale = 7, .sack_permitted = true};

tcp_header segment(std::uint8_t flags, std::uint32_t sequence, std::uint32_t ack = 0, std::uint16_t window = 64000) {
  tcp_header h;
  h.flags = flags, h.sequence_number = sequence, h.acknowledgment_number = ack, h.window_size = window;
  return h;
}
tcp_header with(tcp_header h, const tcp_option_values& o) {
  h.options = o;
  return h;
}
void shake_hands(conversation& t) {
  CHECK(t.tcp_out(0, with(segment(S, c0), modern)) == "new");
  CHECK(t.tcp_in(10, with(segment(S | A, s0, c0 + 1), modern)) == "established reply");
  CHECK(t.tcp_out(20, segment(A, c0 + 1, s0 + 1, 500)) == "established");
}
tcp_connection_state state(conversation& t) { return t.its().tcp_state(); }
using st = tcp_connection_state;

}  // namespace

TEST_CASE("a TCP connection opens, talks and closes as the kernel's state table says") {
  conversation t;
  CHECK(t.tcp_out(0, with(segment(S, c0), modern)) == "new");
  CHECK(state(t) == st::syn_sent);
  CHECK(t.left() == 120);
  CHECK(t.tcp_in(10, with(segment(S | A, s0, c0 + 1), modern)) == "established reply");
  CHECK(state(t) == st::syn_recv);
  CHECK(t.left() == 60);
  CHECK(t.tcp_out(20, segment(A, c0 + 1, s0 + 1, 500)) == "established");
  CHECK(state(t) == st::established);
  CHECK(t.its().has_status(connection_status::assured | connection_status::seen_reply | connection_status::confirmed));
  CHECK(t.left() == 432'000);
  CHECK(t.tcp_out(30, segment(A, c0 + 1, s0 + 1, 500), 100) == "established");
  CHECK(t.left() == 300);  // until it is acknowledged
  CHECK(t.tcp_in(40, segment(A, s0 + 1, c0 + 101, 500)) == "established reply");
  CHECK(t.left() == 432'000);
  CHECK(t.tcp_out(50, segment(F | A, c0 + 101, s0 + 1, 500)) == "established");
  CHECK(state(t) == st::fin_wait);
  CHECK(t.tcp_in(60, segment(A, s0 + 1, c0 + 102, 500)) == "established reply");
  CHECK(state(t) == st::close_wait);
  CHECK(t.left() == 60);
  CHECK(t.tcp_in(70, segment(F | A, s0 + 1, c0 + 102, 500)) == "established reply");
  CHECK(state(t) == st::last_ack);
  CHECK(t.left() == 30);
  CHECK(t.tcp_out(80, segment(A, c0 + 102, s0 + 2, 500)) == "established");
  CHECK(state(t) == st::time_wait);
  CHECK(t.left() == 120);
  CHECK(t.its().packets(connection_direction::original) == 5);
  CHECK(t.its().packets(connection_direction::reply) == 4);
  CHECK(t.its().octets(connection_direction::original) == 4 * 40 + 52 + 100);  // SYN with 12 bytes of options
  CHECK(t.table->size() == 1);
  t.table->expire(instant{} + seconds(125));
  CHECK(t.table->size() == 0);
}

TEST_CASE("what lies outside the window is invalid, what is old is not") {
  conversation t;
  shake_hands(t);
  // The server offered 64000 in its SYN, unscaled: more than that the client may not send.
  CHECK(t.tcp_out(100, segment(A, c0 + 1 + 200'000, s0 + 1, 500), 10) == "invalid");
  CHECK(t.tcp_out(110, segment(A, c0 + 1, s0 + 1 + 10, 500), 10) == "invalid");  // acknowledges what was never sent
  CHECK(t.tcp_out(120, segment(A, c0 + 1, s0 + 1, 500), 10) == "established");
  CHECK(t.tcp_out(130, segment(A, c0 + 1, s0 + 1, 500), 10) == "established");            // again
  CHECK(t.tcp_out(140, segment(A, c0 + 1 - 100'000, s0 + 1, 500), 10) == "established");  // long ago: ignored
  CHECK(t.table->statistics().invalid == 2);
}

TEST_CASE("windows count as scaled, when both sides said so") {
  conversation t;
  shake_hands(t);
  // The client's last window of 500 means 64000.
  CHECK(t.tcp_in(100, segment(A, s0 + 1 + 60'000, c0 + 1, 500), 1000) == "established reply");
  conversation u;
  CHECK(u.tcp_out(0, with(segment(S, c0, 0, 1000), {.window_scale = 7})) == "new");
  CHECK(u.tcp_in(10, segment(S | A, s0, c0 + 1, 1000)) == "established reply");
  CHECK(u.tcp_out(20, segment(A, c0 + 1, s0 + 1, 500)) == "established");
  CHECK(u.tcp_in(30, segment(A, s0 + 1 + 60'000, c0 + 1, 500), 1000) == "invalid");
}

TEST_CASE("a selective acknowledgement opens the window like any other") {
  conversation t;
  shake_hands(t);
  CHECK(t.tcp_out(30, segment(A, c0 + 1, s0 + 1, 500), 1000) == "established");
  CHECK(t.tcp_out(40, segment(A, c0 + 1001, s0 + 1, 500), 1000) == "established");
  tcp_option_values sack;
  sack.sack_count = 1;
  sack.sack[0] = {c0 + 1001, c0 + 2001};
  CHECK(t.tcp_in(50, with(segment(A, s0 + 1, c0 + 1, 500), sack)) == "established reply");
  sack.sack[0] = {c0 + 1001, c0 + 3001};  // more than was ever sent
  CHECK(t.tcp_in(60, with(segment(A, s0 + 1, c0 + 1, 500), sack)) == "invalid");
}

TEST_CASE("a liberal table takes what lies outside the window") {
  conversation t({.tcp_be_liberal = true});
  shake_hands(t);
  CHECK(t.tcp_out(100, segment(A, c0 + 1 + 200'000, s0 + 1, 500), 10) == "established");
  CHECK(t.tcp_out(110, segment(S | F, c0 + 1, s0 + 1, 500)) == "invalid");  // but not what no segment can be
}

TEST_CASE("a connection is picked up in its middle, unless the table is strict") {
  conversation t;
  CHECK(t.tcp_out(0, segment(A, c0, s0, 500), 10) == "new");
  CHECK(state(t) == st::established);
  CHECK(t.left() == 300);  // nobody has answered yet
  CHECK(t.tcp_in(10, segment(A, s0, c0 + 10, 500), 10) == "established reply");
  CHECK(t.its().has_status(connection_status::assured) == false);
  CHECK(t.tcp_out(20, segment(A, c0 + 10, s0 + 10, 500)) == "established");
  CHECK(t.its().has_status(connection_status::assured));
  conversation strict({.tcp_loose = false});
  CHECK(strict.tcp_out(0, segment(A, c0, s0, 500), 10) == "invalid");
  CHECK(strict.table->size() == 0);
}

TEST_CASE("what is no beginning begins nothing") {
  conversation t;
  CHECK(t.tcp_out(0, segment(S | A, c0, s0)) == "invalid");
  CHECK(t.tcp_out(1, segment(F | A, c0, s0)) == "invalid");
  CHECK(t.tcp_out(2, segment(R, c0)) == "invalid");
  CHECK(t.tcp_out(3, segment(0, c0)) == "invalid");
  CHECK(t.tcp_out(4, segment(S | F, c0)) == "invalid");
  CHECK(t.tcp_out(5, segment(S | R, c0)) == "invalid");
  CHECK(t.table->size() == 0);
  CHECK(t.table->statistics().invalid == 6);
}

TEST_CASE("RFC 5961: a reset at the right place ends a connection, one elsewhere in the window does not") {
  conversation t;
  shake_hands(t);
  CHECK(t.tcp_in(30, segment(R, s0 + 101, 0)) == "established reply");
  CHECK(state(t) == st::established);  // a challenge follows
  CHECK(t.left() == 10);               // but the connection is not believed in for days any more
  CHECK(t.tcp_in(40, segment(R, s0 - 99, 0)) == "invalid");
  CHECK(t.tcp_in(50, segment(R, s0 + 1, 0)) == "established reply");
  CHECK(state(t) == st::close);
  CHECK(t.left() == 10);
}

TEST_CASE("a reset that answers a SYN leaves nothing behind") {
  conversation t;
  CHECK(t.tcp_out(0, segment(S, c0)) == "new");
  CHECK(t.tcp_in(10, segment(R | A, 0, c0 + 1)) == "established reply");
  CHECK(t.left() == 0);  // and nobody finds it
  t.table->expire(t.now());
  CHECK(t.table->size() == 0);
  CHECK(t.tcp_out(20, segment(S, c0)) == "new");
}

TEST_CASE("a SYN repeated without an answer does not keep its connection alive") {
  conversation t;
  CHECK(t.tcp_out(0, segment(S, c0)) == "new");
  CHECK(t.tcp_out(50'000, segment(S, c0)) == "new");
  CHECK(t.left() == 70);
  CHECK(t.tcp_out(100'000, segment(S, c0)) == "new");
  CHECK(t.left() == 20);
}

TEST_CASE("both sides open at once") {
  conversation t;
  CHECK(t.tcp_out(0, with(segment(S, c0), modern)) == "new");
  CHECK(t.tcp_in(10, with(segment(S, s0), modern)) == "established reply");
  CHECK(state(t) == st::syn_sent2);
  CHECK(t.tcp_out(20, with(segment(S | A, c0, s0 + 1), modern)) == "established");
  CHECK(state(t) == st::syn_recv);
  CHECK(t.tcp_in(30, segment(A, s0 + 1, c0 + 1, 500)) == "established reply");
  CHECK(state(t) == st::established);
  CHECK(t.its().has_status(connection_status::assured));
}

TEST_CASE("a SYN reopens a connection in TIME_WAIT: it is another one") {
  conversation t;
  shake_hands(t);
  t.its().mark(5);
  CHECK(t.tcp_out(50, segment(F | A, c0 + 1, s0 + 1, 500)) == "established");
  CHECK(t.tcp_in(60, segment(F | A, s0 + 1, c0 + 2, 500)) == "established reply");
  CHECK(t.tcp_out(70, segment(A, c0 + 2, s0 + 2, 500)) == "established");
  CHECK(state(t) == st::time_wait);
  CHECK(t.tcp_out(1000, with(segment(S, c0 + 100'000), modern)) == "new");
  CHECK(state(t) == st::syn_sent);
  CHECK(t.its().mark() == 0);
  CHECK(t.table->size() == 1);
}

TEST_CASE("a SYN in an established connection passes, and its answer decides") {
  conversation t;
  shake_hands(t);
  // The client has restarted. The server, which has not, sends a challenge (RFC 5961 §4), and is reset for it.
  CHECK(t.tcp_out(1000, with(segment(S, 77'000), modern)) == "established");
  CHECK(state(t) == st::established);
  CHECK(t.tcp_in(1010, segment(A, s0 + 1, c0 + 1, 500)) == "established reply");
  CHECK(t.tcp_out(1020, segment(R, c0 + 1)) == "established");
  CHECK(state(t) == st::close);
  CHECK(t.tcp_out(2000, with(segment(S, 77'000), modern)) == "new");
  // Both have restarted: the SYN/ACK fits the SYN.
  conversation u;
  shake_hands(u);
  CHECK(u.tcp_out(1000, with(segment(S, 77'000), modern)) == "established");
  CHECK(u.tcp_in(1010, with(segment(S | A, 99'000, 77'001), modern)) == "established reply");
  CHECK(state(u) == st::syn_recv);
  CHECK(u.tcp_out(1020, segment(A, 77'001, 99'001, 500)) == "established");
  CHECK(state(u) == st::established);
  CHECK(u.tcp_out(1030, segment(A, 77'001, 99'001, 500), 10) == "established");
}

TEST_CASE("a reset answers the SYN of the other side, not one of its own") {
  conversation t;
  CHECK(t.tcp_out(0, segment(S, c0)) == "new");
  CHECK(t.tcp_in(10, segment(S, s0)) == "established reply");
  CHECK(t.tcp_in(20, segment(R, s0 - 100'000)) == "established reply");  // not in the window
  CHECK(state(t) == st::syn_sent2);
  CHECK(t.tcp_in(30, segment(R, s0 + 1)) == "established reply");
  CHECK(state(t) == st::close);
}

TEST_CASE("a connection picked up in its middle stays liberal for the side that answers when it begins again") {
  conversation t;
  CHECK(t.tcp_out(0, segment(A, c0, s0), 100) == "new");
  CHECK(t.tcp_out(10, segment(S, c0 + 500'000)) == "new");
  CHECK(t.tcp_in(20, segment(S | A, s0 + 500'000, c0 + 500'001)) == "established reply");
  CHECK(t.tcp_out(30, segment(A, c0 + 500'001, s0 + 500'001)) == "established");
  CHECK(t.its().has_status(connection_status::assured));
  CHECK(t.tcp_in(40, segment(A, s0 + 900'000, c0 + 500'001)) == "established reply");  // far outside
  CHECK(t.tcp_out(50, segment(A, c0 + 900'000, s0 + 500'001)) == "invalid");
}

TEST_CASE("after three retransmissions a connection has five minutes left") {
  conversation t;
  shake_hands(t);
  CHECK(t.tcp_out(100, segment(A, c0 + 1, s0 + 1, 500), 10) == "established");
  CHECK(t.tcp_in(110, segment(A, s0 + 1, c0 + 11, 500)) == "established reply");
  CHECK(t.left() == 432'000);
  for (int i = 0; i < 4; ++i) CHECK(t.tcp_in(200 + i, segment(A, s0 + 1, c0 + 11, 500)) == "established reply");
  CHECK(t.left() == 300);
  CHECK(t.tcp_in(300, segment(A, s0 + 1, c0 + 11, 500), 5) == "established reply");
  CHECK(t.tcp_out(310, segment(A, c0 + 11, s0 + 6, 500)) == "established");
  CHECK(t.left() == 432'000);
}
