// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <random>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "conversation.hpp"

using namespace runnel;
using namespace runnel::test;

namespace {

connection_tuple udp4(std::uint32_t from, std::uint16_t port = 1000) {
  return {ipv4_address{10u << 24 | from}, ipv4_address{192, 0, 2, 1}, port, 53, 17};
}
connection_tuple udp6(std::uint64_t from) { return {ipv6_address{1, from}, ipv6_address{2, 2}, 1000, 53, 17}; }
std::uint32_t add(connection_table& t, const connection_tuple& of, instant now = {}) {
  const std::uint32_t n = t.insert(of, now);
  if (n != connection_table::none) CHECK(t.confirm(t[n], now));
  return n;
}
// The words of a tuple, to sort by.
auto words(const connection_tuple& t) {
  return std::make_tuple(t.source6().high(), t.source6().low(), t.destination6().high(), t.destination6().low(),
                         t.rest());
}
struct less {
  bool operator()(const connection_tuple& a, const connection_tuple& b) const { return words(a) < words(b); }
};
// Whether a call is a constant expression: one that meets a failed assertion is none.
template <auto Call>
concept is_constant = requires { typename std::bool_constant<(Call(), true)>; };

}  // namespace

TEST_CASE("a tuple turned round twice is itself") {
  const connection_tuple all[] = {{client, server, 1, 2, 6},           {client, server, 7, 8 << 8, 1},
                                  {client, server, 7, 0, 1},           {client, server, 7, 13 << 8, 1},
                                  {client6, server6, 7, 128 << 8, 58}, {client6, server6, 7, 140 << 8, 58},
                                  {client, server, 3, 4, 47},          {client, client, 5, 5, 17, 9}};
  for (const connection_tuple& t : all) {
    CHECK(t.inverted().inverted() == t);
    CHECK(t.inverted().zone() == t.zone());
    const auto a = t.key(3), b = t.inverted().key(3);
    CHECK(a.a == b.a);
    CHECK(a.b == b.b);
  }
  CHECK(all[1].inverted().icmp_type() == 0);
  CHECK(all[1].inverted().icmp_identifier() == 7);
  CHECK(all[3].inverted().icmp_type() == 14);
  CHECK(all[4].inverted().icmp_type() == 129);
  CHECK(all[5].inverted().icmp_type() == 139);
  CHECK(all[6].inverted().source_port() == 3);
}

#if !defined(NDEBUG)
TEST_CASE("an IPv6 tuple has no IPv4 addresses: to ask for them is an error") {
  static constexpr connection_tuple four{addr4("10.0.0.1"), addr4("10.0.0.2"), 1, 2, 6};
  static constexpr connection_tuple six{addr6("2001:db8::1"), addr6("2001:db8::2"), 1, 2, 6};
  static_assert(four.source4() == addr4("10.0.0.1") && six.source6() == addr6("2001:db8::1"));
  static_assert(is_constant<[] { return four.source4(); }> && is_constant<[] { return four.destination4(); }>);
  static_assert(!is_constant<[] { return six.source4(); }> && !is_constant<[] { return six.destination4(); }>);
}
#endif

TEST_CASE("a connection is found from both directions, in its zone only") {
  counted_table t({.connections = 8, .ipv6_connections = 4});
  for (const connection_tuple& tuple : {udp4(1), udp6(1)}) {
    const std::uint32_t n = add(*t, tuple);
    CHECK(t->find(tuple, {}).number() == n);
    CHECK(t->find(tuple, {}).direction() == connection_direction::original);
    CHECK(t->find(tuple.inverted(), {}).number() == n);
    CHECK(t->find(tuple.inverted(), {}).direction() == connection_direction::reply);
    CHECK(t->original((*t)[n]) == tuple);
    CHECK(t->reply((*t)[n]) == tuple.inverted());
  }
  connection_tuple elsewhere{ipv4_address{10, 0, 0, 1}, ipv4_address{192, 0, 2, 1}, 1000, 53, 17, 1};
  CHECK_FALSE(t->find(elsewhere, {}).has_connection());
  CHECK_FALSE(t->find(udp4(2), {}).has_connection());
  CHECK_FALSE(t->find(udp6(2), {}).has_connection());
}

TEST_CASE("a translated connection is found by what each direction looks like, and by nothing else") {
  counted_table t({.connections = 8, .ipv6_connections = 4});
  const connection_tuple reply{server, ipv4_address{198, 51, 100, 7}, 53, 2000, 17};
  const std::uint32_t n = t->insert(udp4(1), {});
  REQUIRE(t->set_reply((*t)[n], reply));
  CHECK(t->confirm((*t)[n], {}));
  CHECK(t->find(udp4(1), {}).direction() == connection_direction::original);
  CHECK(t->find(reply, {}).number() == n);
  CHECK(t->find(reply, {}).direction() == connection_direction::reply);
  CHECK_FALSE(t->find(udp4(1).inverted(), {}).has_connection());
  CHECK_FALSE(t->find(reply.inverted(), {}).has_connection());
  CHECK(t->reply((*t)[n]) == reply);
  CHECK(t->check());

  // Another one cannot have the same replies; and what is not found begins a connection of its own.
  const std::uint32_t m = t->insert(udp4(2), {});
  CHECK_FALSE(t->set_reply((*t)[m], reply));
  CHECK(t->confirm((*t)[m], {}));
  const std::uint32_t back = t->insert(udp4(1).inverted(), {});
  REQUIRE(back != connection_table::none);
  CHECK(t->check());
  CHECK_FALSE(t->confirm((*t)[back], {}));  // its replies would be the first one's packets
  CHECK(t->statistics().insert_failed == 1);
  CHECK(t->size() == 2);
  t->erase((*t)[n]);
  CHECK_FALSE(t->find(reply, {}).has_connection());
}

TEST_CASE("a connection whose time is over is gone before anybody looks after it") {
  counted_table t({.connections = 8});
  const std::uint32_t n = add(*t, udp4(1), instant{} + seconds(1000));
  t->refresh((*t)[n], seconds(30), instant{} + seconds(1000));
  CHECK(t->next_due() <= instant{} + milliseconds(1030'300));
  CHECK(t->find(udp4(1), instant{} + milliseconds(1029'990)).has_connection());
  CHECK_FALSE(t->find(udp4(1), instant{} + milliseconds(1030'002)).has_connection());
  CHECK(t->size() == 1);
  t->refresh((*t)[n], seconds(30), instant{} + seconds(1020));
  t->expire(instant{} + seconds(1040));
  CHECK(t->size() == 1);
  t->refresh((*t)[n], seconds(1), instant{} + seconds(1040));  // nearer: the wheel has to know
  CHECK(t->next_due() <= instant{} + milliseconds(1041'300));
  t->expire(t->next_due());
  t->expire(instant{} + milliseconds(1041'300));
  CHECK(t->size() == 0);
  CHECK(t->statistics().expired == 1);
  CHECK(t->next_due() == never);
}

TEST_CASE("expire looks at no more than its limit, and the rest is due") {
  counted_table t({.connections = 100});
  for (std::uint32_t i = 0; i < 100; ++i) add(*t, udp4(i));
  const instant later = instant{} + seconds(1000);
  CHECK(t->expire(later, 30) <= 30);
  CHECK(t->check());
  CHECK(t->next_due() <= later);
  while (t->expire(later, 30) != 0) CHECK(t->check());
  CHECK(t->size() == 0);
}

TEST_CASE("a full table gives up what is not assured, and nothing else") {
  counted_table t({.connections = 16, .unconfirmed = 4});
  for (std::uint32_t i = 0; i < 16; ++i) {
    const std::uint32_t n = add(*t, udp4(i));
    if (i % 2 == 0) t->add_status((*t)[n], connection_status::assured);
  }
  std::uint32_t refused = 0, taken = 0;
  for (std::uint32_t i = 100; i < 400; ++i) {
    const std::uint32_t n = t->insert(udp4(i), {});
    if (n == connection_table::none) {
      ++refused;
    } else {
      ++taken;
      t->add_status((*t)[n], connection_status::assured);
      CHECK(t->confirm((*t)[n], {}));
    }
    CHECK(t->check());
  }
  CHECK(taken == 8);
  CHECK(refused == 292);
  CHECK(t->statistics().drop == refused);
  CHECK(t->statistics().early_drop == 8);
  for (std::uint32_t i = 0; i < 16; ++i) CHECK(t->find(udp4(i), {}).has_connection() == (i % 2 == 0));
}

TEST_CASE("IPv6 connections have a limit of their own") {
  counted_table t({.connections = 16, .ipv6_connections = 2});
  const std::uint32_t a = add(*t, udp6(1)), b = add(*t, udp6(2));
  t->add_status((*t)[a], connection_status::assured);
  t->add_status((*t)[b], connection_status::assured);
  CHECK(t->insert(udp6(3), {}) == connection_table::none);
  CHECK(t->insert(udp4(3), {}) != connection_table::none);
  t->erase((*t)[a]);
  CHECK(t->insert(udp6(3), {}) != connection_table::none);
  CHECK(t->check());
}

TEST_CASE("events tell of confirmed connections only") {
  counted_table t({.connections = 16});
  std::vector<std::pair<connection_event, std::uint16_t>> seen;
  t->on_event([](void* to, connection_event what,
                 const connection& c) { static_cast<decltype(seen)*>(to)->emplace_back(what, c.status()); },
              &seen);
  const std::uint32_t n = t->insert(udp4(1), {});
  t->add_status((*t)[n], connection_status::seen_reply);
  CHECK(seen.empty());
  CHECK(t->confirm((*t)[n], {}));
  t->add_status((*t)[n], connection_status::assured);
  t->add_status((*t)[n], connection_status::assured);
  t->erase((*t)[n]);
  const std::uint32_t gone = t->insert(udp4(2), {});
  t->erase((*t)[gone]);
  using namespace connection_status;
  const std::uint16_t two = confirmed | seen_reply;
  REQUIRE(seen.size() == 3);
  CHECK(seen[0] == std::pair{connection_event::created, two});
  CHECK(seen[1] == std::pair{connection_event::updated, static_cast<std::uint16_t>(two | assured)});
  CHECK(seen[2] == std::pair{connection_event::destroyed, static_cast<std::uint16_t>(two | assured | dying)});
  t->on_event(nullptr);
}

TEST_CASE("the table agrees with a plain map, whatever is done to it") {
  for (const std::uint32_t capacity : {3u, 50u, 400u}) {
    counted_table t({.connections = capacity, .ipv6_connections = capacity / 2, .unconfirmed = 8, .seed = capacity});
    struct entry {
      std::uint32_t number;
      connection_tuple original, reply;
    };
    std::map<std::uint32_t, entry> all;                                      // by number
    std::map<connection_tuple, std::pair<std::uint32_t, bool>, less> known;  // by tuple: number, reply
    std::mt19937 random(capacity);
    const auto below = [&](std::uint32_t n) { return static_cast<std::uint32_t>(random() % n); };
    const auto any = [&] {
      const std::uint32_t i = below(capacity), port = below(3);
      connection_tuple tuple = below(3) == 0 ? udp6(i) : udp4(i, static_cast<std::uint16_t>(port * 53));
      return below(2) == 0 ? tuple : tuple.inverted();
    };
    const auto forget = [&](std::uint32_t n) {
      known.erase(all.at(n).original);
      if (const auto r = known.find(all.at(n).reply); r != known.end() && r->second.first == n) known.erase(r);
      all.erase(n);
    };
    for (int round = 0; round < 20'000; ++round) {
      const connection_tuple tuple = any();
      const connection_word found = t->find(tuple, {});
      const auto expected = known.find(tuple);
      REQUIRE(found.has_connection() == (expected != known.end()));
      if (found.has_connection()) {
        REQUIRE(found.number() == expected->second.first);
        REQUIRE((found.direction() == connection_direction::reply) == expected->second.second);
        if (below(4) == 0) {
          t->erase((*t)[found.number()]);
          forget(found.number());
        }
      } else if (all.size() < capacity) {
        const std::uint32_t six = static_cast<std::uint32_t>(
            std::count_if(all.begin(), all.end(), [](const auto& e) { return e.second.original.is_ipv6(); }));
        if (tuple.is_ipv6() && six == capacity / 2) continue;
        const std::uint32_t n = t->insert(tuple, {});
        REQUIRE(n != connection_table::none);
        connection_tuple back = tuple.inverted();
        if (below(2) == 0) {
          const connection_tuple other =
              tuple.is_ipv6() ? connection_tuple{ipv6_address{3, below(50)}, ipv6_address{4, 4}, 1, 2, 17}
                              : connection_tuple{stranger, ipv4_address{below(50)}, 1, 2, 17};
          const bool free = known.find(other) == known.end();
          REQUIRE(t->set_reply((*t)[n], other) == free);
          if (free) back = other;
        }
        const bool clash = known.find(back) != known.end();
        REQUIRE(t->confirm((*t)[n], {}) == !clash);
        if (clash) continue;
        all[n] = {n, tuple, back};
        known[tuple] = {n, false};
        known[back] = {n, true};
      }
      REQUIRE(t->size() == all.size());
      if (round % 512 == 0) REQUIRE(t->check());
    }
    for (const auto& [n, e] : all) {
      CHECK(t->original((*t)[n]) == e.original);
      CHECK(t->reply((*t)[n]) == e.reply);
    }
    std::vector<connection_tuple> asked;
    for (int i = 0; i < 100; ++i) asked.push_back(any());
    std::vector<connection_word> words_of(asked.size());
    t->find(asked.data(), asked.size(), words_of.data(), {});
    for (std::size_t i = 0; i < asked.size(); ++i) CHECK(words_of[i].value == t->find(asked[i], {}).value);
  }
}

TEST_CASE("a burst of tuples is found or begun as one after the other would be") {
  for (const std::uint32_t capacity : {5u, 60u, 500u}) {
    const connection_config config{.connections = capacity, .ipv6_connections = capacity / 3, .unconfirmed = 64};
    counted_table together(config), apart(config);
    std::mt19937 random(capacity);
    const auto below = [&](std::uint32_t n) { return static_cast<std::uint32_t>(random() % n); };
    instant now{};
    std::uint32_t made = 0, refused = 0;
    for (int round = 0; round < 2'000; ++round) {
      now = now + milliseconds(below(3000));
      std::vector<connection_tuple> burst(1 + below(64));
      for (connection_tuple& t : burst) {
        const std::uint32_t i = below(capacity + capacity / 2);
        t = below(4) == 0 ? udp6(i) : udp4(i);
        if (below(3) == 0) t = t.inverted();
      }
      std::vector<connection_word> words_of(burst.size());
      together->find_or_insert(burst.data(), burst.size(), words_of.data(), now);
      for (std::size_t i = 0; i < burst.size(); ++i) {
        connection_word expected = apart->find(burst[i], now);
        if (!expected.has_connection()) {
          const std::uint32_t n = apart->insert(burst[i], now);
          ++(n != connection_table::none ? made : refused);
          if (n != connection_table::none)
            expected = connection_word::of(connection_state::new_, connection_direction::original, n);
        }
        REQUIRE(words_of[i].value == expected.value);
      }
      for (const connection_word w : words_of) {
        if (!w.has_connection() || w.state() != connection_state::new_ || below(3) == 0) continue;
        REQUIRE(together->confirm((*together)[w.number()], now));
        REQUIRE(apart->confirm((*apart)[w.number()], now));
      }
      if (below(8) == 0) { CHECK(together->expire(now) == apart->expire(now)); }
      REQUIRE(together->size() == apart->size());
    }
    CHECK(together->check());
    CHECK(made > 300);
    if (capacity == 5) CHECK(refused > 0);
  }
}

TEST_CASE("a connection takes 191 bytes, 80 more when it may be IPv6") {
  constexpr std::uint32_t million = 1'000'000;
  constexpr std::size_t plain = connection_table::bytes_needed({.connections = million, .ipv6_connections = 0});
  constexpr std::size_t both = connection_table::bytes_needed({.connections = million, .ipv6_connections = million});
  CHECK(plain / million == 190);
  CHECK((both - plain) / million == 80);
}
