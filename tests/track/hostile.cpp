// SPDX-License-Identifier: MIT
// What others may try on connection tracking: full indexes, bursts of packets that belong together, numbers that are
// given again while a packet still has them.
#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>
#include <vector>

#include "conversation.hpp"

using namespace runnel;
using namespace runnel::test;

TEST_CASE("a search ends in an index all of whose lines were overrun") {
  detail::index_line lines[2];
  detail::connection_index index(lines, 2, 1);
  // Keys by the line that they belong to.
  std::vector<detail::tuple_key> of[2];
  for (std::uint64_t a = 1; of[0].size() < 8 || of[1].size() < 8; ++a)
    of[index.home({a, 17, 0}).line()].push_back({a, 17, 0});
  const auto add = [&](unsigned line, std::size_t i) {
    return index.insert(of[line][i], index.home(of[line][i]),
                        detail::place_reference::to(static_cast<std::uint32_t>(i), 0, false, 3));
  };
  const auto find = [&](unsigned line, std::size_t i) {
    return index.find(of[line][i], index.home(of[line][i]), [](std::uint32_t) { return true; });
  };
  // Never more than four of the six places are taken, and yet a key of each line lies in the other one.
  std::uint32_t first[3];
  for (std::size_t i = 0; i < 3; ++i) first[i] = add(0, i);
  const std::uint32_t strayed = add(0, 3);
  CHECK(strayed / 4 == 1);
  for (const std::uint32_t place : {first[0], first[1]}) index.erase(place);
  const std::uint32_t at_home = add(1, 0);
  (void)add(1, 1);
  index.erase(first[2]);
  const std::uint32_t other = add(1, 2);
  CHECK(other / 4 == 0);
  CHECK(find(0, 3) == strayed);
  CHECK(find(1, 2) == other);
  CHECK(find(1, 0) == at_home);
  CHECK(find(0, 5) == detail::connection_index::none);  // never came back
  CHECK(find(1, 5) == detail::connection_index::none);
  index.erase(strayed);
  index.erase(other);
  for (const detail::index_line& l : lines) CHECK(l.passed() == 0);
}

TEST_CASE("a line that more keys passed than it can count is searched all the same") {
  std::vector<detail::index_line> lines(512);
  detail::connection_index index(lines.data(), 512, 1);
  std::vector<detail::tuple_key> keys;
  for (std::uint64_t a = 1; keys.size() < 600; ++a)
    if (const detail::tuple_key k{a, 17, 0}; index.home(k).line() == 7) keys.push_back(k);
  std::vector<std::uint32_t> places;
  for (const detail::tuple_key& k : keys)
    places.push_back(index.insert(k, index.home(k), detail::place_reference::to(1, 0, false, 3)));
  const auto count_found = [&] {
    std::size_t found = 0;
    for (std::size_t i = 0; i < keys.size(); ++i)
      found += index.find(keys[i], index.home(keys[i]), [](std::uint32_t) { return true; }) == places[i];
    return found;
  };
  CHECK(count_found() == 600);
  CHECK(index.line(7).passed() == 255);
  for (std::size_t i = 0; i < 599; ++i) index.erase(places[i]);
  CHECK(count_found() == 1);  // the last of them, far behind its line
  CHECK_FALSE(index.is_absent(keys[599], index.home(keys[599])));
  CHECK(index.is_absent(keys[0], index.home(keys[0])));
}

TEST_CASE("lines that were full for long are as before when they are empty again") {
  for (const std::uint32_t count : {508u, 600u}) {
    CAPTURE(count);
    std::vector<detail::index_line> lines(count);
    detail::connection_index index(lines.data(), count, 12345);
    random_generator random(7);
    std::vector<std::uint32_t> places;
    const auto add = [&] {
      const detail::tuple_key k{random.next(), 17, 0};
      return index.insert(k, index.home(k), detail::place_reference::to(1, 0, false, 1));
    };
    while (places.size() < count * 3 * 4 / 5) places.push_back(add());
    for (int i = 0; i < 200'000; ++i) {
      std::uint32_t& one = places[static_cast<std::size_t>(random.below(places.size()))];
      index.erase(one);
      one = add();
    }
    for (const std::uint32_t place : places) index.erase(place);
    for (const detail::index_line& l : lines) REQUIRE(l.passed() == 0);
  }
}

TEST_CASE("a connection whose reply tuple was another's gets it when that one has gone") {
  static static_connection_table<connection_config{.connections = 16, .unconfirmed = 4}> t{7};
  const connection_tuple there{ipv4_address{10, 0, 0, 1}, ipv4_address{10, 0, 0, 2}, 1, 2, 17};
  const connection_tuple translated{ipv4_address{10, 0, 0, 2}, ipv4_address{10, 0, 0, 9}, 2, 1, 17};
  connection& first = t.get()[t->insert(there, {})];
  REQUIRE(t->set_reply(first, translated));
  REQUIRE(t->confirm(first, {}));
  connection& second = t.get()[t->insert(there.inverted(), {})];
  CHECK(t->check());
  t->erase(first);
  CHECK(t->check());
  CHECK(t->confirm(second, {}));
  CHECK(t->find(there, {}).has_connection());
  CHECK(t->check());
}

namespace {

// Packets through track() and confirm(), burst by burst, with time to look in between.
struct bursts {
  explicit bursts(const connection_config& config, const tracking_options& options = {}) : table(config, options) {}

  template <class... Headers>
  packet make(const Headers&... headers) {
    packet p = static_cast<pool&>(memory).allocate();
    const std::size_t size = size_of_headers(ethernet_header{}, headers...);
    std::byte* const to = p.put(size);
    REQUIRE(to != nullptr);
    REQUIRE(write_headers({to, size}, ethernet_header{}, headers...));
    p.layers(dissect(p.contents(), link_type::ethernet, {.head_offset = p.headroom()}));
    return p;
  }
  // UDP from a port of the client, and back.
  packet out(std::uint16_t port) {
    return make(ipv4_header{.source = client, .destination = server},
                udp_header{.source_port = port, .destination_port = 53});
  }
  packet back(std::uint16_t port) {
    return make(ipv4_header{.source = server, .destination = client},
                udp_header{.source_port = 53, .destination_port = port});
  }
  template <class... Packets>
  void follow(Packets&&... packets) {
    c.connections = nullptr;
    b.clear();
    (void)(b.push_back(std::forward<Packets>(packets)) && ...);
    track_(b, c);
    CHECK(table->check());
  }
  // The same for a packet of another branch of the same pipeline.
  void track_again(packet p) {
    b.clear();
    (void)b.push_back(std::move(p));
    track_(b, c);
  }
  connection_word word(std::size_t i) { return connection_word{b[i].connection()}; }
  drop_reason confirm(std::size_t i) {
    const verdict v = confirm_(b[i], c);
    CHECK(table->check());
    return v.code == verdict_code::drop ? v.reason : drop_reason::none;
  }
  drop_reason dropped(std::size_t i) {
    const verdict v = b.verdict_on(i);
    return v.code == verdict_code::drop ? v.reason : drop_reason::none;
  }
  // Whether a packet of a burst has the connection that it began or belongs to, by the client's port.
  bool has_its_own(std::size_t i, std::uint16_t port) {
    return word(i).has_connection() && (*table)[word(i).number()].is_alive() &&
           table->original((*table)[word(i).number()]).source_port() == port;
  }
  bool knows(std::uint16_t port) {
    const connection_word w = table->find({client, server, port, 53, 17}, c.now);
    return w.has_connection() && (*table)[w.number()].has_status(connection_status::confirmed);
  }

  static constexpr pool_config slots{.packets = 64, .bytes = 512, .headroom = 64, .bare = 1};
  counted_pool memory{slots};
  counted_table table;
  burst_of<8> b;
  context c;

 private:
  detail::track_stage track_ = track(*table);
  detail::confirm_stage confirm_ = runnel::confirm(*table);
};

}  // namespace

TEST_CASE("who is waiting to be confirmed is not put aside for others of the same burst") {
  bursts t({.connections = 4, .ipv6_connections = 0, .unconfirmed = 1});
  t.follow(t.out(1), t.out(2), t.out(3));
  CHECK(t.has_its_own(0, 1));
  CHECK(t.dropped(1) == drop_reason::connections_full);
  CHECK(t.dropped(2) == drop_reason::connections_full);
  CHECK(t.confirm(0) == drop_reason::none);
  CHECK(t.knows(1));
  t.follow(t.out(2));  // in the next burst there is room again
  CHECK(t.has_its_own(0, 2));
}

TEST_CASE("a connection is not given up for another while packets of the burst have it") {
  bursts t({.connections = 1, .ipv6_connections = 0, .unconfirmed = 4});
  t.follow(t.out(1));
  CHECK(t.confirm(0) == drop_reason::none);
  t.follow(t.out(1), t.out(2));
  CHECK(t.has_its_own(0, 1));
  CHECK(t.dropped(1) == drop_reason::connections_full);
  t.follow(t.out(2));
  CHECK(t.has_its_own(0, 2));
  CHECK(t.table->statistics().early_drop == 1);
}

TEST_CASE("the number of a connection that ended is not given again in the same burst") {
  bursts t({.connections = 8});
  const auto tcp = [&](std::uint16_t port, std::uint8_t flags) {
    return t.make(ipv4_header{.source = client, .destination = server},
                  tcp_header{.source_port = port, .destination_port = 80, .flags = flags, .window_size = 100});
  };
  t.follow(tcp(1, tcp_flags::syn), tcp(1, tcp_flags::rst), tcp(1, tcp_flags::syn));
  CHECK_FALSE((*t.table)[t.word(0).number()].is_alive());
  CHECK(t.has_its_own(2, 1));
  CHECK(t.confirm(0) == drop_reason::none);
  CHECK_FALSE((*t.table)[t.word(2).number()].has_status(connection_status::confirmed));  // dropped by a rule, say
  t.follow(tcp(3, tcp_flags::syn));
  CHECK(t.word(0).number() == 0);
}

TEST_CASE("an answer in the same burst does not open what a rule has closed") {
  bursts t({.connections = 8});
  t.follow(t.out(1), t.back(1), t.out(1));
  CHECK(t.word(0).state() == new_);
  CHECK(t.word(2).state() == established);
  // The first one is dropped by a rule; the others pass, as established ones do.
  CHECK(t.confirm(1) == drop_reason::connection_undone);
  CHECK(t.confirm(2) == drop_reason::connection_undone);
  CHECK_FALSE(t.knows(1));
  // When it gets through, so do they.
  t.follow(t.out(1), t.back(1), t.out(1));
  for (std::size_t i = 0; i < 3; ++i) CHECK(t.confirm(i) == drop_reason::none);
  CHECK(t.knows(1));
}

TEST_CASE("an ICMP error confirms nothing") {
  bursts t({.connections = 8});
  const auto error = [&] {
    return t.make(ipv4_header{.source = server, .destination = client}, icmp_header{.kind = icmp::unreachable::port},
                  ipv4_header{.source = client, .destination = server},
                  udp_header{.source_port = 1, .destination_port = 53});
  };
  t.follow(t.out(1), error());
  CHECK(t.word(1).state() == related);
  CHECK(t.confirm(1) == drop_reason::connection_undone);
  CHECK_FALSE(t.knows(1));
  t.follow(t.out(1), error());
  CHECK(t.confirm(0) == drop_reason::none);
  CHECK(t.confirm(1) == drop_reason::none);
}

TEST_CASE("a packet that waited confirms its own connection, not who has its number by then") {
  bursts t({.connections = 8});
  t.follow(t.out(1));
  packet waited = static_cast<packet&&>(t.b[0]);
  const std::uint32_t number = connection_word{waited.connection()}.number();
  t.table->expire(t.c.now + seconds(100));
  t.c.now = t.c.now + seconds(100);
  t.follow(t.out(2));
  CHECK(t.word(0).number() == number);
  packet other = static_cast<packet&&>(t.b[0]);  // dropped by a rule
  context behind_a_queue;
  behind_a_queue.now = t.c.now;
  auto stage = runnel::confirm(*t.table);
  CHECK(stage(waited, behind_a_queue).code == verdict_code::pass);
  CHECK_FALSE(t.knows(2));
  CHECK(stage(other, behind_a_queue).code == verdict_code::pass);
  CHECK(t.knows(2));
}

TEST_CASE("a packet that comes with the number of another table, or of another burst, has no connection") {
  bursts large({.connections = 64}), t({.connections = 1});
  large.follow(large.out(1), large.out(2), large.out(3));
  packet p = static_cast<packet&&>(large.b[2]);
  CHECK(connection_word{p.connection()}.number() == 2);
  t.follow(static_cast<packet&&>(p));
  CHECK(t.word(0).state() == new_);
  CHECK_FALSE(t.word(0).has_connection());
}

TEST_CASE("confirm() looks at no record that nobody has had yet") {
  // Memory as it comes: such a record looks alive, and its place would be far behind the index.
  constexpr connection_config c{.connections = 8, .unconfirmed = 4};
  alignas(connection_table::alignment) static std::byte memory[connection_table::bytes_needed(c)];
  std::memset(memory, 0x80, sizeof memory);
  connection_table other({memory, sizeof memory}, c);
  bursts t({.connections = 8});
  t.follow(t.out(1), t.out(2), t.out(3));
  auto stage = runnel::confirm(other);
  CHECK(stage(t.b[2], t.c).code == verdict_code::pass);
  CHECK(other.size() == 0);
}

TEST_CASE("connections that are closing make room for new ones, established ones do not") {
  constexpr std::uint8_t S = tcp_flags::syn, A = tcp_flags::ack, F = tcp_flags::fin;
  bursts t({.connections = 2, .ipv6_connections = 0, .unconfirmed = 4});
  const auto segment = [&](bool reply, std::uint16_t port, std::uint8_t flags, std::uint32_t sequence,
                           std::uint32_t ack) {
    const std::uint16_t from = reply ? 80 : port, to = reply ? port : 80;
    t.follow(t.make(ipv4_header{.source = reply ? server : client, .destination = reply ? client : server},
                    tcp_header{.source_port = from,
                               .destination_port = to,
                               .sequence_number = sequence,
                               .acknowledgment_number = ack,
                               .flags = flags,
                               .window_size = 1000}));
    if (t.dropped(0) == drop_reason::none) CHECK(t.confirm(0) == drop_reason::none);
  };
  for (const std::uint16_t port : {std::uint16_t{1}, std::uint16_t{2}}) {
    segment(false, port, S, 10, 0);
    segment(true, port, S | A, 20, 11);
    segment(false, port, A, 11, 21);
  }
  segment(false, 3, S, 10, 0);
  CHECK(t.dropped(0) == drop_reason::connections_full);
  segment(false, 1, F | A, 11, 21);
  segment(true, 1, F | A, 21, 12);
  segment(false, 1, A, 12, 22);
  CHECK((*t.table)[t.word(0).number()].tcp_state() == tcp_connection_state::time_wait);
  segment(false, 3, S, 10, 0);
  CHECK(t.word(0).state() == new_);
  CHECK(t.table->statistics().early_drop == 1);
  segment(false, 2, A, 11, 21);
  CHECK(t.word(0).state() == established);
}

TEST_CASE("a connection whose time has run out is in nobody's way") {
  const connection_tuple asked{client, server, 1, 53, 17}, answer{server, stranger, 53, 7, 17};
  const instant later = instant{} + seconds(200);
  SUBCASE("of the same packets") {
    counted_table t({.connections = 8});
    REQUIRE(t->confirm((*t)[t->insert(asked, {})], {}));
    const std::uint32_t n = t->insert(asked, later);
    CHECK(t->check());
    CHECK(t->size() == 1);
    CHECK(t->confirm((*t)[n], later));
    CHECK(t->find(asked, later).number() == n);
  }
  SUBCASE("that had the answers") {
    counted_table t({.connections = 8});
    connection& old = (*t)[t->insert(asked, {})];
    REQUIRE(t->set_reply(old, answer));
    REQUIRE(t->confirm(old, {}));
    connection& c = (*t)[t->insert({client, server, 2, 53, 17}, later)];
    CHECK(t->set_reply(c, answer));
    CHECK(t->check());
    connection& d = (*t)[t->insert({stranger, server, 9, 53, 17}, later)];
    CHECK(t->confirm(c, later));
    CHECK(t->confirm(d, later));
    CHECK(t->size() == 2);
  }
}

TEST_CASE("whoever does not know the seed cannot choose IPv6 addresses that have one hash") {
  // With these, one factor of each product would be the same whatever the other is.
  const auto& k = detail::flow_hash_keys;
  for (const std::uint64_t flip : {std::uint64_t{0}, ~std::uint64_t{0}}) {
    const auto key = [&](std::uint64_t prefix) {
      return connection_tuple{ipv6_address{prefix, k[1] ^ flip}, ipv6_address{k[4] ^ flip, 5}, 1, 2, 17}.key(99);
    };
    CHECK(key(1).a != key(2).a);
    CHECK(key(1).b != key(2).b);
  }
}

TEST_CASE("what was cut off behind parse() is not read") {
  bursts t({.connections = 8});
  const auto syn = [&](std::size_t length) {
    packet p = t.make(ipv4_header{.source = client, .destination = server}, tcp_header{.source_port = 1,
                                                                                       .destination_port = 80,
                                                                                       .flags = tcp_flags::syn,
                                                                                       .window_size = 1000,
                                                                                       .options = {.window_scale = 7}});
    REQUIRE(p.trim(length));
    return p;
  };
  t.follow(syn(14 + 20 + 19));
  CHECK(t.word(0).state() == invalid);
  t.follow(syn(14 + 20 + 20));
  CHECK(t.word(0).state() == new_);
}

TEST_CASE("an ICMP error that quotes eight bytes of GRE finds the tunnel") {
  bursts t({.connections = 8});
  const gre_header tunnel{
      .protocol = ethertype::ipv4, .has_key = true, .key = 0x10'0001, .has_sequence = true, .sequence = 5};
  t.follow(t.make(ipv4_header{.source = client, .destination = server}, tunnel,
                  ipv4_header{.source = stranger, .destination = stranger}, udp_header{.source_port = 1}));
  CHECK(t.confirm(0) == drop_reason::none);
  packet error = t.make(ipv4_header{.source = stranger, .destination = client},
                        icmp_header{.kind = icmp::unreachable::fragmentation_needed},
                        ipv4_header{.source = client, .destination = server}, tunnel);
  REQUIRE(error.length() == 14 + 20 + 8 + 20 + 12);
  connection_tuple quoted;
  REQUIRE(detail::quoted_tuple(error.contents().from(14 + 20 + 8).first(20 + 8), 0, quoted));
  CHECK(quoted.source_port() == 0x10);
  CHECK(t.table->find(quoted, t.c.now).has_connection());
}

TEST_CASE("of a fragment no checksum is asked") {
  for (const bool whole : {true, false}) {
    bursts t({.connections = 8}, {.checksum = true});
    packet p = t.make(ipv4_header{.source = client, .destination = server, .more_fragments = !whole},
                      udp_header{.source_port = 1, .destination_port = 2});
    store_be16(p.writable().data() + 14 + 20 + 6, 0x1234);  // that of the whole datagram
    t.follow(static_cast<packet&&>(p));
    CHECK(t.word(0).state() == (whole ? invalid : new_));
  }
}

TEST_CASE("a full table gives up no connection that was begun 65536 bursts ago for a number that is still held") {
  conversation c({}, {.connections = 1, .unconfirmed = 4, .seed = 7});
  c.blocked = true;
  CHECK(c.udp_out(0, 1) == "new");
  for (unsigned i = 0; i < 65535; ++i) detail::tracker::begin_burst(*c.table);
  CHECK(c.udp_out(1, 2) == "dropped");  // its record would lie behind the last one
  CHECK(c.udp_out(2, 2) == "new");
}

TEST_CASE("a packet that waited has no connection any more, also where others of its burst were tracked before it") {
  bursts t({.connections = 16, .unconfirmed = 4, .seed = 1});
  t.follow(t.out(1));
  packet waited = std::move(t.b[0]);
  t.follow(t.out(2));
  t.track_again(std::move(waited));
  CHECK_FALSE(t.word(0).has_connection());
  CHECK(t.word(0).state() == new_);
  // One of this burst keeps its own.
  t.follow(t.out(3));
  const connection_word before = t.word(0);
  t.track_again(std::move(t.b[0]));
  CHECK(t.word(0).value == before.value);
}

TEST_CASE("an announcement whose time is over does not come back when the clock has gone round") {
  std::vector<detail::expectation> places(8);
  detail::expectation_set all(places.data(), 8, 1);
  const connection_tuple to{client, server, 5, 20, 6};
  all.insert({.tuple = to, .deadline = 1000}, 0);
  for (unsigned i = 0; i < 8; ++i) all.expire_one(999);
  CHECK(all.size() == 1);
  for (unsigned i = 0; i < 8; ++i) all.expire_one(1000);
  CHECK(all.empty());
  detail::expectation met;
  CHECK_FALSE(all.take(to, 2000 + 0x8000'0000u, met, [](const detail::expectation&) { return true; }));
}

TEST_CASE("what one way of a branch tracks in another table is not what packets on its other ways belong to") {
  counted_table outer({.connections = 64, .unconfirmed = 16, .seed = 7});
  counted_table inner({.connections = 1, .unconfirmed = 1, .seed = 7});
  counted_pool memory{{.packets = 64, .bytes = 2048, .headroom = 64, .bare = 64}};
  test_device wire{memory};
  struct tunnelled {};
  struct plain {};
  std::vector<std::uint32_t> seen;
  auto path = parse() | track(*outer) |
              branch([](udp u) -> ports<tunnelled, plain, other> {
                if (u.destination_port() == 4789) return tunnelled{};
                return plain{};
              })
                  .on<tunnelled>([](packet& p) { p.connection(0); } | track(*inner) | confirm(*inner) | discard)
                  .on<plain>([&](connection& c) {
                    seen.push_back(c.status());
                    c.mark(9);
                  } | confirm(*outer) |
                             discard)
                  .on<other>(discard);
  for (unsigned round = 0; round < 2; ++round) {
    for (unsigned i = 0; i < 8; ++i) wire.udp(i, static_cast<std::uint16_t>(7 + i));
    wire.udp(8, 4789);
    run(attach(wire, path));
  }
  CHECK(seen.size() == 16);
  unsigned marked = 0;
  outer->for_each([&](const connection& c) { marked += c.mark() == 9 ? 1u : 0u; });
  CHECK(marked == 8);
  inner->for_each([](const connection& c) { CHECK(c.mark() == 0); });
}

TEST_CASE("a packet that waited in a queue is not looked for in a table that others of its burst are tracked in") {
  counted_table outer({.connections = 64, .unconfirmed = 16, .seed = 7});
  counted_table inner({.connections = 1, .unconfirmed = 1, .seed = 7});
  counted_pool memory{{.packets = 64, .bytes = 2048, .headroom = 64, .bare = 64}};
  test_device wire{memory};
  queue<drop_tail, 16> waiting;
  struct tunnelled {};
  struct plain {};
  unsigned asked = 0;
  auto first = parse() | track(*outer) | confirm(*outer) | enqueue(waiting);
  auto second =
      parse() | branch([](udp u) -> ports<tunnelled, plain, other> {
                  if (u.destination_port() == 4789) return tunnelled{};
                  return plain{};
                })
                    .on<tunnelled>([](packet& p) { p.connection(0); } | track(*inner) | confirm(*inner) | discard)
                    .on<plain>([&](const subject& s) {
                      ++asked;
                      CHECK(s.facts() == nullptr);
                    } | discard)
                    .on<other>(discard);
  wire.udp(0, 4789);
  for (unsigned i = 1; i < 9; ++i) wire.udp(i, static_cast<std::uint16_t>(7 + i));
  run(attach(wire, first), attach(waiting, second));
  CHECK(asked == 8);
}
