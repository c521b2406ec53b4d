// SPDX-License-Identifier: MIT
// Virtual reassembly: fragments stay fragments, and belong to the connection of their datagram.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <ip/cut.hpp>
#include <packet/counted_pool.hpp>
#include <track/conversation.hpp>

#include <runnel/base.hpp>
#include <runnel/flow.hpp>
#include <runnel/hook.hpp>
#include <runnel/ip/fragment_table.hpp>
#include <runnel/ip/virtual_defragment.hpp>
#include <runnel/track.hpp>

using namespace runnel;
using namespace runnel::test;

namespace {

constexpr fragment_config of_64{.fragments = 64, .datagrams = 16, .seed = 9};

// Addresses and ports the other way.
octets turned_round(octets frame) {
  const std::size_t at = link_size + (is_ipv6(frame) ? 8 : 12), size = is_ipv6(frame) ? 16 : 4;
  std::swap_ranges(frame.begin() + static_cast<std::ptrdiff_t>(at),
                   frame.begin() + static_cast<std::ptrdiff_t>(at + size),
                   frame.begin() + static_cast<std::ptrdiff_t>(at + size));
  const auto ports = frame.begin() + static_cast<std::ptrdiff_t>(header_bytes(frame));
  std::swap_ranges(ports, ports + 2, ports + 2);
  return frame;
}

struct virtual_fixture {
  explicit virtual_fixture(const fragment_config& c = of_64)
      : room(virtual_fragment_table::bytes_needed(c) / 8),
        table({reinterpret_cast<std::byte*>(room.data()), room.size() * 8}, c) {}
  ~virtual_fixture() {
    table.clear();
    waiting.clear();
  }
  virtual_fixture(const virtual_fixture&) = delete;
  virtual_fixture& operator=(const virtual_fixture&) = delete;

  void put(const octets& frame) { waiting.push_back(received(memory, frame, now_ms)); }
  // Sends what was put, as one burst, and says what came out: state and whether it is the same connection as that of
  // the packet before; reasons of drops behind it.
  std::string run_burst() {
    said.clear();
    source q{this};
    clock.set(instant{} + milliseconds(now_ms));
    auto path = parse() | virtual_defragment(table) | track(*connections) |
                [this](const subject& s, packet& p) { return policy(s, p); } | confirm(*connections) |
                deliver([this](packet p) {
                  const connection_word w{p.connection()};
                  said += said.empty() ? "" : " ";
                  said += name(w.state());
                  if (w.direction() == connection_direction::reply) said += " reply";
                  if (w.has_connection()) number = w.number();
                  out.push_back(bytes_of(p));
                });
    runnel::run(clock, attach<8>(q, path));
    const stage_counters counted[] = {counters_of<1>(path), counters_of<3>(path), counters_of<4>(path)};
    for (const stage_counters& c : counted)
      for (std::size_t r = 0; r < drop_reason_count; ++r)
        for (std::uint64_t n = c.dropped(static_cast<drop_reason>(r)); n != 0; --n)
          said += std::string(said.empty() ? "" : " ") + '-' + runnel::name(static_cast<drop_reason>(r));
    CHECK(table.check());
    CHECK(connections->check());
    return said;
  }
  std::string send(const octets& frame) {
    put(frame);
    return run_burst();
  }

  struct source {
    virtual_fixture* t;
    pool& memory() { return *t->memory.get_pool(); }
    bool done() const { return t->next == t->waiting.size(); }
    std::size_t pull(packet* to, std::size_t most, instant) {
      std::size_t n = 0;
      for (; n < most && !done(); ++n)
        ::new (static_cast<void*>(&to[n])) packet{static_cast<packet&&>(t->waiting[t->next++])};
      if (done()) t->waiting.clear(), t->next = 0;
      return n;
    }
    bool empty() const { return done(); }
  };
  struct owner : counted_pool {
    using counted_pool::counted_pool;
    pool* get_pool() { return &static_cast<pool&>(*this); }
  };

  owner memory{pool_config{.packets = 200, .bytes = 1984, .headroom = 64, .bare = 16}};
  std::vector<std::uint64_t> room;
  virtual_fragment_table table;
  counted_table connections{{.connections = 64, .ipv6_connections = 32, .unconfirmed = 16, .seed = 7}};
  manual_clock clock;
  std::int64_t now_ms = 0;
  std::vector<packet> waiting;
  std::size_t next = 0;
  std::vector<octets> out;
  std::string said;
  std::uint32_t number = 0;
  std::function<verdict(const subject&, packet&)> policy = [](const subject&, packet&) { return verdict{pass}; };
};

}  // namespace

TEST_CASE("fragments pass as they are, and belong to the connection of their datagram") {
  for (const octets& frame : {udp4(200), udp6(200)}) {
    virtual_fixture t;
    const std::vector<octets> pieces = cut(frame, {64, 72, 128});
    CHECK(t.send(pieces[0]) == "new");
    const std::uint32_t number = t.number;
    CHECK(t.send(pieces[1]) == "related");
    CHECK(t.number == number);
    CHECK(t.send(pieces[2]) == "related");
    CHECK(t.send(pieces[3]) == "related");
    CHECK(t.number == number);
    CHECK(t.out == pieces);
    CHECK(t.table.size() == 0);
    CHECK(t.connections->size() == 1);
    // The answer, in two pieces, makes it established both ways.
    const octets answer = turned_round(frame);
    for (const octets& p : cut(answer, {96}, 2)) t.put(p);
    CHECK(t.run_burst() == "established reply established reply");
    CHECK(t.number == number);
    for (const octets& p : cut(frame, {96}, 3)) t.put(p);
    CHECK(t.run_burst() == "established established");
    CHECK((*t.connections)[number].packets(connection_direction::original) == 6);
    CHECK((*t.connections)[number].packets(connection_direction::reply) == 2);
    CHECK(t.table.statistics().reassembled == 3);
  }
}

TEST_CASE("RFC 4787 REQ-14: fragments in any order go on, the first one first, none twice, all with its connection") {
  for (const octets& frame : {udp4(300), udp6(300)}) {
    const std::vector<octets> pieces = cut(frame, {64, 128, 192, 256});
    std::vector<std::size_t> order{0, 1, 2, 3, 4};
    for (const bool at_once : {false, true}) do {
        virtual_fixture t;
        for (const std::size_t i : order) {
          t.put(pieces[i]);
          if (!at_once) (void)t.run_burst();
        }
        if (at_once) (void)t.run_burst();
        // Those that came before the first one follow it in order; the others as they came.
        const auto first = std::find(order.begin(), order.end(), std::size_t{0});
        std::vector<std::size_t> expected(order.begin(), first);
        std::sort(expected.begin(), expected.end());
        expected.insert(expected.begin(), 0);
        expected.insert(expected.end(), first + 1, order.end());
        REQUIRE(t.out.size() == 5);
        for (std::size_t i = 0; i < 5; ++i) CHECK(t.out[i] == pieces[expected[i]]);
        CHECK(t.connections->size() == 1);
        CHECK((*t.connections)[t.number].packets(connection_direction::original) == 5);
        CHECK(t.table.size() == 0);
        CHECK(t.table.fragments() == 0);
      } while (std::next_permutation(order.begin(), order.end()));
  }
}

TEST_CASE("what waits goes on in the path of the first fragment, unless the table tells interfaces apart") {
  for (const bool by_interface : {false, true}) {
    fragment_config c = of_64;
    c.by_interface = by_interface;
    virtual_fixture t(c);
    const std::vector<octets> pieces = cut(udp4(200), {64, 128});
    unsigned to_left = 0, to_right = 0;
    auto from_left = parse() | virtual_defragment(t.table) | deliver([&](packet) { ++to_right; });
    auto from_right = parse() | virtual_defragment(t.table) | deliver([&](packet) { ++to_left; });
    virtual_fixture::source q{&t};
    t.waiting.push_back(received(t.memory, pieces[1], 0, 1));
    runnel::run(t.clock, attach<8>(q, from_left));
    t.waiting.push_back(received(t.memory, pieces[0], 0, 2));
    runnel::run(t.clock, attach<8>(q, from_right));
    CHECK(to_right == 0);
    CHECK(to_left == (by_interface ? 1 : 2));
  }
}

TEST_CASE("many that wait go on, though they are more than travel together") {
  virtual_fixture t;
  const octets frame = udp4(1000);
  std::vector<std::size_t> places;
  for (std::size_t i = 1; i < 50; ++i) places.push_back(16 * i);
  const std::vector<octets> pieces = cut(frame, places);
  for (std::size_t i = pieces.size(); i-- != 1;) t.put(pieces[i]);
  CHECK(t.run_burst() == "");
  CHECK(t.table.fragments() == 49);
  (void)t.send(pieces[0]);
  CHECK(t.out == pieces);
}

TEST_CASE("rules on ports decide for whole datagrams") {
  constexpr auto rules_of_ports = rules(when(ct::state == established || ct::state == related) >> accept,
                                        when(ct::state == new_ && udp::dport == 53) >> accept, otherwise >> drop);
  for (const bool at_once : {false, true})
    for (const std::uint16_t port : {std::uint16_t{53}, std::uint16_t{54}}) {
      virtual_fixture t;
      t.policy = [&](const subject& s, packet&) { return rules_of_ports(s); };
      octets frame = udp4(200);
      store_be16(frame.data() + link_size + 22, port);
      const std::vector<octets> pieces = cut(frame, {64, 128});
      for (const std::size_t i : {2u, 0u, 1u}) {
        t.put(pieces[i]);
        if (!at_once) (void)t.run_burst();
      }
      if (at_once) (void)t.run_burst();
      // Of one that is refused nothing gets out, and nothing stays behind.
      CHECK(t.out.size() == (port == 53 ? 3 : 0));
      t.connections->expire(instant{} + seconds(40));
      (void)t.send(udp4(40));
      CHECK(t.connections->statistics().insert == (port == 53 ? 2 : 1));
    }
}

TEST_CASE("a later fragment confirms no connection that its first fragment did not") {
  virtual_fixture t;
  const octets frame = udp4(200);
  const std::vector<octets> pieces = cut(frame, {64, 128});
  t.policy = [](const subject&, packet& p) {
    return p.layers().has(protocol::transport) ? verdict{drop} : verdict{pass};
  };
  for (const octets& p : pieces) t.put(p);
  CHECK(t.run_burst() == "-policy -connection_undone -connection_undone");
  CHECK(t.send(cut(frame, {64}, 2)[0]) == "-policy");
  CHECK(t.send(cut(frame, {64}, 2)[1]) == "invalid");
  CHECK(t.connections->statistics().insert == 0);
}

TEST_CASE("RFC 5722, RFC 1858: what overlaps, contradicts or hides ports is refused, as in reassembly") {
  for (const octets& frame : {udp4(200), udp6(200)}) {
    virtual_fixture t;
    const auto one = [&](std::uint16_t id, std::size_t begin, std::size_t end, bool more) {
      return piece(is_ipv6(frame) ? frame : udp4(200, id), begin, end, more, id);
    };
    CHECK(t.send(piece(frame, 0, 64, true)) == "new");
    CHECK(t.send(piece(frame, 56, 128, true)) == "-ip_fragment");
    for (const octets& p : cut(frame, {64, 128})) CHECK(t.send(p) == "-ip_fragment");
    CHECK(t.table.statistics().refused == 1);
    CHECK(t.table.statistics().late == 3);
    // Those that wait are gone with it.
    CHECK(t.send(one(2, 64, 128, true)) == "");
    CHECK(t.send(one(2, 120, 136, true)) == "-ip_fragment");
    CHECK(t.table.fragments() == 0);
    CHECK(t.table.statistics().lost == 1);
    CHECK(t.send(one(2, 0, 64, true)) == "-ip_fragment");
    // Duplicates are ignored.
    CHECK(t.send(one(3, 64, 128, true)) == "");
    CHECK(t.send(one(3, 64, 128, true)) == "-fragment_duplicate");
    CHECK(t.send(one(3, 0, 64, true)) == "new related");
    CHECK(t.send(one(3, 0, 64, true)) == "-fragment_duplicate");
    // Two ends.
    CHECK(t.send(one(3, 128, 160, false)) == "related");
    CHECK(t.send(one(4, 0, 64, true)) == "new");
    CHECK(t.send(one(4, 128, 160, false)) == "related");
    CHECK(t.send(one(4, 160, 200, false)) == "-ip_fragment");
    octets tcp_flags_hidden = one(5, 8, 64, true);
    store_u8(tcp_flags_hidden.data() + link_size + (is_ipv6(frame) ? 40 : 9), 6);
    if (!is_ipv6(frame)) mut<ipv4>::unchecked({tcp_flags_hidden.data() + link_size, 20}).update_checksum();
    CHECK(t.send(tcp_flags_hidden) == "-ip_fragment");
  }
}

TEST_CASE("fragments whose first one never comes wait in bounded room, for a bounded time") {
  virtual_fixture t({.fragments = 32, .datagrams = 16, .fragments_per_datagram = 8, .seed = 3});
  // One datagram has too many.
  const octets frame = udp4(400);
  for (std::size_t i = 1; i < 9; ++i) CHECK(t.send(piece(frame, 16 * i, 16 * i + 16, true)) == "");
  CHECK(t.send(piece(frame, 160, 176, true)) == "-fragments_full");
  CHECK(t.table.fragments() == 0);
  // A flood of others; a datagram under way meanwhile comes whole.
  CHECK(t.send(cut(udp4(200, 7, 9), {64})[0]) == "new");
  for (std::uint16_t id = 100; id < 115; ++id) CHECK(t.send(piece(udp4(200, id), 64, 128, true, id)) == "");
  CHECK(t.send(cut(udp4(200, 7, 9), {64})[1]) == "related");
  for (std::uint16_t id = 200; id < 2000; ++id) {
    CHECK(t.send(piece(udp4(200, id), 64, 128, true, id)) == "");
    REQUIRE(t.table.fragments() <= 32);
    REQUIRE(t.table.size() <= 16);
    REQUIRE(t.memory->available() + t.table.fragments() == t.memory->capacity());
  }
  CHECK(t.table.expire(instant{} + milliseconds(29'999)) == 0);
  CHECK(t.table.expire(instant{} + milliseconds(30'000)) == 16);
  CHECK(t.memory->available() == t.memory->capacity());
  CHECK(t.table.next_due() == never);
}

TEST_CASE("large pings belong to their query; atomic fragments and what is no fragment pass as they are") {
  virtual_fixture t;
  octets ping =
      frame_of(192, link_header,
               ipv4_header{.source = {10, 0, 0, 1}, .destination = {192, 0, 2, 1}, .id = 1, .dont_fragment = false},
               icmp_header{.kind = icmp::echo_request, .identifier = 77});
  for (const octets& p : cut(ping, {64, 128})) t.put(p);
  CHECK(t.run_burst() == "new related related");
  octets pong =
      frame_of(192, link_header,
               ipv4_header{.source = {192, 0, 2, 1}, .destination = {10, 0, 0, 1}, .id = 1, .dont_fragment = false},
               icmp_header{.kind = icmp::echo_reply, .identifier = 77});
  std::vector<octets> pieces = cut(pong, {64, 128});
  for (const std::size_t i : {1u, 2u, 0u}) t.put(pieces[i]);
  CHECK(t.run_burst() == "established reply established reply established reply");
  CHECK(t.send(udp4(40)) == "new");
  CHECK(t.send(piece(udp6(40), 0, 40, false)) == "new");
  // Another protocol, which has no ports.
  octets other = frame_of(
      200, link_header,
      ipv4_header{
          .source = {10, 0, 0, 1}, .destination = {192, 0, 2, 1}, .id = 9, .dont_fragment = false, .protocol = 200});
  for (const octets& p : cut(other, {64})) t.put(p);
  CHECK(t.run_burst() == "new related");
}

TEST_CASE("what acknowledges all fragments of a TCP segment is within the window") {
  virtual_fixture t;
  const auto tcp = [](bool back, std::uint8_t flags, std::uint32_t seq, std::uint32_t ack, std::size_t payload) {
    ipv4_header ip{.source = {10, 0, 0, 1}, .destination = {192, 0, 2, 1}, .id = 5, .dont_fragment = false};
    tcp_header h;
    h.source_port = 1000, h.destination_port = 80, h.flags = flags, h.sequence_number = seq;
    h.acknowledgment_number = ack, h.window_size = 5000;
    if (back) {
      std::swap(ip.source, ip.destination);
      std::swap(h.source_port, h.destination_port);
    }
    return frame_of(payload, link_header, ip, h);
  };
  CHECK(t.send(tcp(false, tcp_flags::syn, 99, 0, 0)) == "new");
  CHECK(t.send(tcp(true, tcp_flags::syn | tcp_flags::ack, 499, 100, 0)) == "established reply");
  CHECK(t.send(tcp(false, tcp_flags::ack, 100, 500, 0)) == "established");
  for (const octets& p : cut(tcp(false, tcp_flags::ack, 100, 500, 1000), {400, 800})) t.put(p);
  CHECK(t.run_burst() == "established established established");
  CHECK(t.send(tcp(true, tcp_flags::ack, 500, 1101, 0)) == "invalid");
  CHECK(t.send(tcp(true, tcp_flags::ack, 500, 1100, 0)) == "established reply");
}

TEST_CASE("notrack and what was tracked before stay as they are") {
  virtual_fixture t;
  const std::vector<octets> pieces = cut(udp4(200), {64});
  std::string said;
  queue<drop_tail, 8> q;
  for (const octets& p : pieces) CHECK(q.push(received(t.memory, p)) == pass);
  packet before = received(t.memory, cut(udp4(200, 2), {64}, 2)[0]);
  CHECK(q.push(static_cast<packet&&>(before)) == pass);
  before = received(t.memory, cut(udp4(200, 2), {64}, 2)[1]);
  before.connection(connection_word::of(established, connection_direction::original, 3).value);
  CHECK(q.push(static_cast<packet&&>(before)) == pass);
  auto path = parse() | virtual_defragment(t.table) | notrack() | track(*t.connections) | deliver([&](packet p) {
                said += std::string(name(connection_word{p.connection()}.state())) + ' ';
                CHECK(p.scratch() == 0);
              });
  runnel::run(t.clock, attach(q, path));
  CHECK(said == "untracked untracked untracked established ");
}

TEST_CASE("before tracking, rules see no more in a later fragment than in the first one") {
  virtual_fixture t;
  static static_rule_table<> rules;
  // Nobody has tracked them: they have no state, and no comparison with one holds. Nor does anybody know where they go.
  REQUIRE(load(rules.get(),
               "table inet t { chain early { type filter hook prerouting priority raw\n"
               "ct state { new, established, related, invalid, untracked } meta mark set 1\n"
               "ct state != established meta mark set 2\n"
               "meta oif != 0 meta mark set 3\n"
               "ip daddr 192.0.2.1 notrack\n"
               "ct state untracked meta oif 0 meta priority set 0:4\n"
               "}\n}"));
  rule_table_slot live(rules.get());
  queue<drop_tail, 8> q;
  for (const octets& frame : {udp4(200), udp6(200)})
    for (const octets& p : cut(frame, {64})) CHECK(q.push(received(t.memory, p)) == pass);
  std::string said;
  auto path = parse() | unshare() | virtual_defragment(t.table) |
              [](const subject& s) {
                CHECK((!(ct::state == established))(s));
                CHECK_FALSE((ct::state != established)(s));
              } |
              hook<prerouting, hook_part::before_tracking>(live) | deliver([&](packet p) {
                said += std::to_string(p.mark()) + ' ' + std::to_string(p.priority()) + ' ' +
                        std::to_string(p.scratch() != 0) + ' ';
              });
  runnel::run(t.clock, attach(q, path));
  // Those of IPv6 are still to be tracked: the later one knows its ports.
  CHECK(said == "0 4 0 0 4 0 0 0 0 0 0 1 ");
}

TEST_CASE("NAT translates every fragment, and the datagram is right behind it") {
  virtual_fixture t;
  constexpr nat_config sizes{.mappings = 16, .subscribers = 4, .permissions = 4, .seed = 5};
  std::vector<std::uint64_t> nat_room(nat_table::bytes_needed(sizes) / 8 + 16);
  std::byte* at = reinterpret_cast<std::byte*>(nat_room.data());
  while (reinterpret_cast<std::uintptr_t>(at) % nat_table::alignment != 0) ++at;
  nat_table translations{*t.connections, mutable_bytes{at, nat_table::bytes_needed(sizes)}, sizes, nat_options{}};
  const auto through = [&](const std::vector<octets>& pieces, const std::vector<std::size_t>& order) {
    queue<drop_tail, 8> q;
    for (const std::size_t i : order) CHECK(q.push(received(t.memory, pieces[i])) == pass);
    static_fragment_table<fragment_config{.fragments = 16, .datagrams = 4}> receiver{1};
    std::vector<octets> whole;
    unsigned fragments = 0;
    auto path = parse() | unshare() | virtual_defragment(t.table) | track(*t.connections) |
                runnel::nat<prerouting>(translations) |
                runnel::nat<postrouting>(translations, snat(addr4("192.0.2.254"))) | confirm(*t.connections) |
                deliver([&](packet p) {
                  ++fragments;
                  if (receiver->reassemble(p, instant{}) == pass) whole.push_back(bytes_of(p));
                });
    runnel::run(t.clock, attach(q, path));
    CHECK(fragments == order.size());
    REQUIRE(whole.size() == 1);
    return whole[0];
  };
  octets frame = udp4(200);
  frame =
      frame_of(192, link_header,
               ipv4_header{.source = {10, 0, 0, 1}, .destination = {198, 51, 100, 1}, .id = 1, .dont_fragment = false},
               udp_header{.source_port = 1000, .destination_port = 53});
  const octets out = through(cut(frame, {64, 128}), {2, 0, 1});
  const bytes ip{out.data() + link_size, out.size() - link_size};
  const ipv4 header = ipv4::unchecked(ip);
  CHECK(header.source() == ipv4_address{192, 0, 2, 254});
  CHECK(header.checksum_ok());
  CHECK(runnel::udp::unchecked(ip.from(20)).checksum_ok(header.pseudo_header_sum()));
  CHECK(octets(out.begin() + 42, out.end()) == octets(frame.begin() + 42, frame.end()));
  // And the answer.
  const octets answer = turned_round(out);
  octets fresh = answer;
  const octets back = through(cut(fresh, {80}, 3), {1, 0});
  const bytes inside{back.data() + link_size, back.size() - link_size};
  CHECK(ipv4::unchecked(inside).destination() == ipv4_address{10, 0, 0, 1});
  CHECK(runnel::udp::unchecked(inside.from(20)).checksum_ok(ipv4::unchecked(inside).pseudo_header_sum()));
  CHECK(runnel::udp::unchecked(inside.from(20)).destination_port() == 1000);
}
