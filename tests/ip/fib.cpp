// SPDX-License-Identifier: MIT
// The tables for the longest prefix match against a list that is searched from its beginning to its end.
#include <runnel/ip/fib.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include <doctest/doctest.h>

#include <runnel/base/random.hpp>
#include <runnel/ip/compact_trie.hpp>
#include <runnel/ip/dir_16_16.hpp>
#include <runnel/ip/dir_24_8.hpp>
#include <runnel/ip/sorted_routes.hpp>

using namespace runnel;

struct runnel::detail::lookup_ways {
  template <class Table, class Address>
  static void by_loads(const Table& table, const Address* asked, next_hop_number* answers, std::size_t n) {
    table.lookup_by_loads(asked, answers, n);
  }
  template <class Table, class Address>
  static std::size_t by_gathers(const Table& table, const Address* asked, next_hop_number* answers, std::size_t n) {
    return table.lookup_by_gathers(asked, answers, n);
  }
  static std::size_t at_once(const dir_16_16& table, const ipv6_address* asked, next_hop_number* answers,
                             std::size_t n) {
    return table.lookup_at_once(asked, answers, n);
  }
};

namespace {

static_assert(fib<compact_trie<ipv4_address>>);
static_assert(fib<compact_trie<ipv6_address>>);
static_assert(fib<dir_24_8>);
static_assert(fib<dir_16_16>);
static_assert(fib<sorted_routes<ipv4_address>>);
static_assert(fib<sorted_routes<ipv6_address>>);

// What is right, as plainly as it can be said.
template <class Address>
struct reference {
  struct route {
    basic_prefix<Address> covered;
    next_hop_number next_hop;
  };
  std::vector<route> routes;

  route* find(const basic_prefix<Address>& p) {
    for (route& r : routes)
      if (r.covered == p) return &r;
    return nullptr;
  }
  void insert(const basic_prefix<Address>& p, next_hop_number next_hop) {
    if (route* const there = find(p)) there->next_hop = next_hop;
    else routes.push_back({p, next_hop});
  }
  bool erase(const basic_prefix<Address>& p) {
    route* const there = find(p);
    if (there == nullptr) return false;
    *there = routes.back();
    routes.pop_back();
    return true;
  }
  next_hop_number lookup(const Address& a) const {
    const route* best = nullptr;
    for (const route& r : routes)
      if (r.covered.contains(a) && (best == nullptr || r.covered.length() > best->covered.length())) best = &r;
    return best == nullptr ? no_next_hop : best->next_hop;
  }
};

// A table with memory of its own for the test's time.
template <class F>
struct with_memory {
  std::size_t size;
  std::unique_ptr<std::byte[]> memory;
  F table;

  explicit with_memory(std::size_t n)
      : size(n), memory(new std::byte[n + 64]), table(mutable_bytes{aligned(memory.get()), n}) {}
  static std::byte* aligned(std::byte* p) { return p + (64 - reinterpret_cast<std::uintptr_t>(p) % 64) % 64; }
};
template <class Address>
struct with_memory<sorted_routes<Address>> {
  std::vector<typename sorted_routes<Address>::slot> memory;
  sorted_routes<Address> table;

  explicit with_memory(std::size_t n) : memory(n), table(memory.data(), n) {}
};

// Addresses that differ in few bits, so that routes lie inside one another in every way.
template <class Address>
Address draw(random_generator& r) {
  const std::uint64_t v = r.next();
  if constexpr (sizeof(Address) == 4) {
    const std::uint32_t tops[] = {0x0a00'0000, 0x0a00'0100, 0x0a01'0000, 0xc0a8'0000, 0xffff'ff00, 0};
    return Address{tops[v % 6] | (static_cast<std::uint32_t>(v >> 32) & (v & 0x100 ? 0x0000'00ffu : 0x0003'030fu))};
  } else {
    const std::uint64_t tops[] = {0x2001'0db8'0000'0000, 0x2001'0db8'0001'0000, ~std::uint64_t{0}, 0};
    const std::uint64_t low = r.next();
    return {tops[v % 4] ^ (v >> 16 & 0x0000'0301'0103'0003), v & 0x100 ? low & 0x0300'0000'0000'0007 : low >> 62};
  }
}
template <class Address>
basic_prefix<Address> draw_prefix(random_generator& r) {
  constexpr unsigned bits = basic_prefix<Address>::bits;
  const Address a = draw<Address>(r);
  const std::uint64_t kind = r.below(8);
  const auto length = kind == 0 ? bits : kind == 1 ? r.below(18) : r.below(bits + 1);
  return {a, static_cast<unsigned>(length)};
}

// Which way a table looks up many depends on the processor, and on sanitizers: every way has to give the same.
template <class Loads, class Gathers>
void require_both(const next_hop_number* expected, std::size_t n, std::size_t at_once, Loads loads, Gathers gathers) {
  next_hop_number answers[72];
  loads(answers);
  for (std::size_t i = 0; i < n; ++i) REQUIRE(answers[i] == expected[i]);
  if (!detail::gathers_work()) return;
  for (next_hop_number& a : answers) a = 0x1234;  // none of those that are expected
  const std::size_t done = gathers(answers);
  REQUIRE(done == n / at_once * at_once);
  for (std::size_t i = 0; i < 72; ++i) REQUIRE(answers[i] == (i < done ? expected[i] : 0x1234));
}
template <class F>
void require_ways(const F&, const typename F::address_type*, const next_hop_number*, std::size_t) {}
void require_ways(const dir_24_8& table, const ipv4_address* asked, const next_hop_number* expected, std::size_t n) {
  require_both(
      expected, n, 16, [&](next_hop_number* to) { detail::lookup_by_loads(table, asked, to, n); },
      [&](next_hop_number* to) { return detail::lookup_by_gathers(table, asked, to, n); });
}
void require_ways(const compact_trie<ipv4_address>& table, const ipv4_address* asked, const next_hop_number* expected,
                  std::size_t n) {
  require_both(
      expected, n, 32, [&](next_hop_number* to) { detail::lookup_ways::by_loads(table, asked, to, n); },
      [&](next_hop_number* to) { return detail::lookup_ways::by_gathers(table, asked, to, n); });
}
void require_ways(const dir_16_16& table, const ipv6_address* asked, const next_hop_number* expected, std::size_t n) {
  // What is left of the last 32 goes one by one, which is compared elsewhere.
  n = n / 32 * 32;
  require_both(
      expected, n, 32, [&](next_hop_number* to) { detail::lookup_ways::by_loads(table, asked, to, n); },
      [&](next_hop_number* to) { return detail::lookup_ways::at_once(table, asked, to, n); });
}

std::size_t index(random_generator& r, std::size_t n) { return static_cast<std::size_t>(r.below(n)); }
template <class F>
void compare(F& table, std::uint64_t seed, std::size_t steps, std::size_t most) {
  using address = typename F::address_type;
  random_generator r{seed};
  reference<address> right;
  for (std::size_t step = 0; step < steps; ++step) {
    // It grows, then shrinks, then grows again.
    const bool more =
        right.routes.size() < most && (step / (2 * most) % 2 == 0 ? !r.chance(200'000) : r.chance(200'000));
    if (more || right.routes.empty()) {
      const auto p = draw_prefix<address>(r);
      const auto next_hop = static_cast<next_hop_number>(r.below(20));
      REQUIRE(table.insert(p, next_hop));
      right.insert(p, next_hop);
      REQUIRE(table.find(p) == next_hop);
    } else {
      const auto p = r.chance(100'000) ? draw_prefix<address>(r) : right.routes[index(r, right.routes.size())].covered;
      REQUIRE(table.erase(p) == right.erase(p));
      REQUIRE(table.find(p) == no_next_hop);
    }
    REQUIRE(table.size() == right.routes.size());
    address asked[72];
    next_hop_number answers[72];
    const std::size_t n = index(r, 73);
    for (address& a : asked) a = draw<address>(r);
    table.lookup(asked, answers, n);
    for (std::size_t i = 0; i < n; ++i) {
      REQUIRE(answers[i] == right.lookup(asked[i]));
      REQUIRE(table.lookup(asked[i]) == answers[i]);
    }
    require_ways(table, asked, answers, n);
    if (step % 64 == 0) {
      std::size_t seen = 0;
      table.for_each([&](const auto& p, next_hop_number next_hop) {
        ++seen;
        const auto* const there = right.find(p);
        REQUIRE(there != nullptr);
        REQUIRE(there->next_hop == next_hop);
      });
      REQUIRE(seen == right.routes.size());
    }
  }
  while (!right.routes.empty()) {
    const auto p = right.routes[index(r, right.routes.size())].covered;
    REQUIRE(table.erase(p));
    right.erase(p);
    const auto a = draw<address>(r);
    REQUIRE(table.lookup(a) == right.lookup(a));
  }
  REQUIRE(table.size() == 0);
}

TEST_CASE_TEMPLATE("random changes: as a list of routes that is searched in order", F, compact_trie<ipv4_address>,
                   compact_trie<ipv6_address>) {
  for (std::size_t seed = 1; seed <= 8; ++seed) {
    with_memory<F> made{F::bytes_for(4000)};
    compare(made.table, seed, 3000, seed * 60);
    // What was given back is whole again.
    CHECK(made.table.bytes_used() == with_memory<F>{F::bytes_for(0)}.table.bytes_used());
  }
}
TEST_CASE("random changes: DIR-24-8") {
  with_memory<dir_24_8> made{dir_24_8::bytes_for(2000)};
  for (std::size_t seed = 1; seed <= 3; ++seed) compare(made.table, seed, 1500, seed * 100);
}
TEST_CASE("random changes: DIR-16-16") {
  with_memory<dir_16_16> made{dir_16_16::bytes_for(2000)};
  compare(made.table, 1, 1500, 100);
  // A line for each next hop stays, all else is given back.
  const std::size_t after = made.table.bytes_used();
  for (std::size_t seed = 2; seed <= 4; ++seed) compare(made.table, seed, 1000, seed * 100);
  CHECK(made.table.bytes_used() == after);
}
TEST_CASE_TEMPLATE("random changes: the sorted array", F, sorted_routes<ipv4_address>, sorted_routes<ipv6_address>) {
  for (std::size_t seed = 1; seed <= 8; ++seed) {
    with_memory<F> made{seed * 60};
    compare(made.table, seed, 3000, seed * 60);
  }
}

template <class Address>
basic_prefix<Address> place(const char* text) {
  const auto p = parse_prefix(text);
  REQUIRE(p);
  return p->as<Address>();
}
ipv4_address four(const char* text) { return *parse_ipv4(text); }
ipv6_address six(const char* text) { return *parse_ipv6(text); }

template <class F>
void nest_ipv4(F& table) {
  const char* const nested[] = {"0.0.0.0/0",   "10.0.0.0/8",    "10.1.0.0/16",   "10.1.2.0/23",
                                "10.1.2.0/24", "10.1.2.128/25", "10.1.2.192/31", "10.1.2.192/32"};
  next_hop_number next = 0;
  for (const char* const p : nested) REQUIRE(table.insert(place<ipv4_address>(p), next++));
  const struct {
    const char* address;
    next_hop_number next_hop;
  } expected[] = {{"192.0.2.1", 0},  {"10.2.0.1", 1},   {"10.1.9.1", 2},   {"10.1.3.1", 3},        {"10.1.2.1", 4},
                  {"10.1.2.129", 5}, {"10.1.2.193", 6}, {"10.1.2.192", 7}, {"255.255.255.255", 0}, {"0.0.0.0", 0}};
  for (const auto& e : expected) CHECK(table.lookup(four(e.address)) == e.next_hop);
  // From the middle: what lay inside stays, what showed goes to the next shorter one.
  CHECK(table.erase(place<ipv4_address>("10.1.2.0/24")));
  CHECK_FALSE(table.erase(place<ipv4_address>("10.1.2.0/24")));
  CHECK(table.lookup(four("10.1.2.1")) == 3);
  CHECK(table.lookup(four("10.1.2.129")) == 5);
  CHECK(table.erase(place<ipv4_address>("0.0.0.0/0")));
  CHECK(table.lookup(four("192.0.2.1")) == no_next_hop);
  CHECK(table.erase(place<ipv4_address>("10.1.2.192/32")));
  CHECK(table.lookup(four("10.1.2.192")) == 6);
  CHECK(table.erase(place<ipv4_address>("10.0.0.0/8")));
  CHECK(table.lookup(four("10.2.0.1")) == no_next_hop);
  CHECK(table.lookup(four("10.1.9.1")) == 2);
  CHECK(table.size() == 4);
}
TEST_CASE("routes inside routes, and removed from the middle") {
  with_memory<compact_trie<ipv4_address>> trie{compact_trie<ipv4_address>::bytes_for(100)};
  nest_ipv4(trie.table);
  with_memory<dir_24_8> direct{dir_24_8::bytes_for(100)};
  nest_ipv4(direct.table);
  static sorted_routes_of<ipv4_address, 8> sorted;
  nest_ipv4(sorted);
}

TEST_CASE("two halves hide a route, which is there again when one of them goes") {
  with_memory<compact_trie<ipv4_address>> made{compact_trie<ipv4_address>::bytes_for(100)};
  auto& table = made.table;
  CHECK(table.insert(place<ipv4_address>("10.1.2.0/23"), 1));
  CHECK(table.insert(place<ipv4_address>("10.1.2.0/24"), 2));
  CHECK(table.insert(place<ipv4_address>("10.1.3.0/24"), 3));
  CHECK(table.find(place<ipv4_address>("10.1.2.0/23")) == 1);
  CHECK(table.insert(place<ipv4_address>("10.1.2.0/23"), 9));  // unseen
  CHECK(table.lookup(four("10.1.2.1")) == 2);
  CHECK(table.erase(place<ipv4_address>("10.1.2.0/24")));
  CHECK(table.lookup(four("10.1.2.1")) == 9);
  CHECK(table.lookup(four("10.1.3.1")) == 3);
}

TEST_CASE("IPv6: from the default route to a single address") {
  with_memory<compact_trie<ipv6_address>> made{compact_trie<ipv6_address>::bytes_for(100)};
  auto& table = made.table;
  for (unsigned length = 0; length <= 128; ++length)
    REQUIRE(table.insert({six("2001:db8:1:2:3:4:5:6"), length}, static_cast<next_hop_number>(length)));
  CHECK(table.lookup(six("2001:db8:1:2:3:4:5:6")) == 128);
  CHECK(table.lookup(six("2001:db8:1:2:3:4:5:7")) == 127);
  CHECK(table.lookup(six("2001:db8:1:2:83:4:5:6")) == 72);
  CHECK(table.lookup(six("8000::")) == 0);
  for (unsigned length = 0; length < 128; ++length) CHECK(table.erase({six("2001:db8:1:2:3:4:5:6"), length}));
  CHECK(table.lookup(six("2001:db8:1:2:3:4:5:6")) == 128);
  CHECK(table.lookup(six("2001:db8:1:2:3:4:5:7")) == no_next_hop);
}

TEST_CASE("DIR-16-16 with routes in more /16 than it has pages for asks the trie") {
  with_memory<dir_16_16> made{dir_16_16::bytes_for(3000)};
  reference<ipv6_address> right;
  random_generator r{5};
  // 150 different /16, in each some /32 with routes of up to /48 in them, some close together, some apart, and longer
  // ones below them.
  const auto draw_in = [&](std::uint64_t far) {
    const std::uint64_t top = 0x2000 + r.below(150), middle = r.below(8) * 0x1111;
    const std::uint64_t low = r.chance(500'000) ? r.below(40) : r.below(0x1'0000);
    return ipv6_address{top << 48 | middle << 32 | low << 16 | (far & 3), far << 60};
  };
  for (int i = 0; i < 900; ++i) {
    const ipv6_prefix p{draw_in(r.below(4)), static_cast<unsigned>(r.chance(100'000) ? 30 + r.below(40) : 48)};
    const auto next_hop = static_cast<next_hop_number>(r.below(300));
    REQUIRE(made.table.insert(p, next_hop));
    right.insert(p, next_hop);
  }
  const auto ask = [&] {
    for (int i = 0; i < 40; ++i) {
      ipv6_address asked[32];
      next_hop_number answers[32];
      for (ipv6_address& a : asked) a = draw_in(r.below(4));
      made.table.lookup(asked, answers, 32);
      for (std::size_t k = 0; k < 32; ++k) REQUIRE(answers[k] == right.lookup(asked[k]));
    }
  };
  ask();
  REQUIRE(made.table.insert({ipv6_address{0, 0}, 0}, 7));
  right.insert({ipv6_address{0, 0}, 0}, 7);
  ask();
  for (int i = 0; i < 600; ++i) {
    const auto p = right.routes[index(r, right.routes.size())].covered;
    REQUIRE(made.table.erase(p));
    right.erase(p);
  }
  ask();
}
TEST_CASE("DIR-16-16: a /32 with very many routes, with memory for their lines and without") {
  bool has_room = false;
  SUBCASE("with") { has_room = true; }
  SUBCASE("without") {}
  with_memory<dir_16_16> made{dir_16_16::bytes_for(9000)};
  reference<ipv6_address> right;
  // Other /16 take the pages, and leave some hundred KiB of lines.
  for (std::uint64_t x = 0; x < 95 && !has_room; ++x) REQUIRE(made.table.insert({ipv6_address{x << 48, 0}, 32}, 3));
  constexpr std::uint64_t top = 0x2001'0db8'0000'0000;
  const auto check = [&](std::uint64_t from, std::uint64_t to) {
    for (std::uint64_t x = from; x < to; ++x) {
      const ipv6_address a{top | x << 16 | 9, 1};
      REQUIRE(made.table.lookup(a) == right.lookup(a));
    }
  };
  // First close together, which a few lines cannot say; then everywhere.
  for (std::uint64_t x = 0x1200; x < 0x1240; ++x) {
    const ipv6_prefix p{ipv6_address{top | x << 16, 0}, 48};
    REQUIRE(made.table.insert(p, static_cast<next_hop_number>(x % 7)));
    right.insert(p, static_cast<next_hop_number>(x % 7));
  }
  check(0x11f0, 0x1250);
  for (std::uint64_t x = 0; x < 0x1'0000; x += 19) {
    const ipv6_prefix p{ipv6_address{top | x << 16, 0}, static_cast<unsigned>(x % 3 == 0 ? 48 : 50)};
    REQUIRE(made.table.insert(p, static_cast<next_hop_number>(x % 11)));
    right.insert(p, static_cast<next_hop_number>(x % 11));
  }
  check(0, 100);
  check(0x1200, 0x1240);
  check(0xfff0, 0x1'0000);
  while (!right.routes.empty()) {
    REQUIRE(made.table.erase(right.routes.back().covered));
    right.routes.pop_back();
    if (right.routes.size() % 1024 == 0) check(0x1200, 0x1240);
  }
}

// What lookups say is the same with the links and without them, only slower: so this looks at the lines themselves.
struct trie_of_two {
  std::vector<detail::trie_node> room{64};
  detail::trie_store<ipv6_address> store{whole(room)};
  detail::trie_node* first = nullptr;   // for bits 32 to 39
  detail::trie_node* second = nullptr;  // for the highest of them, and bits 40 to 47

  trie_of_two() {
    REQUIRE(store.make_room(2, 1, nullptr, 0));
    first = &store.at(store.make(no_next_hop));
    second = &store.add_child(*first, 255);
  }
  detail::trie_node& add(unsigned slot) {
    REQUIRE(store.make_room(1, 1, second, 2));
    return store.add_child(*second, slot);
  }
  template <class T>
  static mutable_bytes whole(std::vector<T>& v) {
    return {static_cast<std::byte*>(static_cast<void*>(v.data())), v.size() * sizeof(T)};
  }
};
TEST_CASE("DIR-16-16: lines that are written anew and anew keep their links to nodes, that of the last range too") {
  trie_of_two trie;
  const detail::trie_node& third = trie.add(255);
  std::vector<detail::range_line> room_for_lines(8192);
  detail::range_lines lines(trie.whole(room_for_lines));
  std::uint32_t e = lines.entry_for(no_next_hop);
  for (int i = 0; i < 40'000; ++i) lines.write(e, trie.store, *trie.first, 0xff00, 0x1'0000);
  const std::uint32_t found = lines.line(detail::range_lines::line_for(e, 0xffff'0000)).result(0xffff);
  REQUIRE(found > detail::range_lines::ask);
  CHECK(&trie.store.at(lines.node_for(found)) == &third);
}
TEST_CASE("DIR-16-16: a line that has too few ranges, without memory for more, keeps no links") {
  trie_of_two trie;
  for (unsigned slot = 1; slot < 34; slot += 2) trie.add(slot);
  std::vector<detail::range_line> room_for_lines(detail::range_lines::least_bytes / sizeof(detail::range_line));
  detail::range_lines lines(trie.whole(room_for_lines));
  std::uint32_t crowded = lines.entry_for(no_next_hop), other = crowded;
  for (int i = 0; i < 5'000; ++i) lines.write(crowded, trie.store, *trie.first, 0xff00, 0x1'0000);
  const auto says = [&](std::uint32_t e, std::uint32_t x) {
    return lines.line(detail::range_lines::line_for(e, x << 16)).result(x);
  };
  CHECK(says(crowded, 0xff01) == detail::range_lines::ask);
  CHECK(says(crowded, 0) == detail::range_lines::ask);
  trie_of_two few;
  const detail::trie_node& third = few.add(1);
  lines.write(other, few.store, *few.first, 0xff00, 0x1'0000);
  REQUIRE(says(other, 0xff01) > detail::range_lines::ask);
  CHECK(&few.store.at(lines.node_for(says(other, 0xff01))) == &third);
  // Where there are fewer ranges again, it does not ask for all of them.
  lines.write(crowded, few.store, *few.first, 0xff00, 0x1'0000);
  CHECK(says(crowded, 0xff01) > detail::range_lines::ask);
  CHECK(says(crowded, 0) == no_next_hop);
}

template <class F>
void fill(F& table, std::size_t most) {
  using address = typename F::address_type;
  random_generator r{7};
  reference<address> right;
  std::size_t refused = 0;
  while (refused < 200 && right.routes.size() < most) {
    const auto p = draw_prefix<address>(r);
    const auto next_hop = static_cast<next_hop_number>(r.below(100));
    const next_hop_number before = table.find(p);
    const std::size_t size = table.size();
    if (table.insert(p, next_hop)) {
      right.insert(p, next_hop);
    } else {
      ++refused;
      CHECK(table.find(p) == before);
      CHECK(table.size() == size);
    }
  }
  CHECK(refused == 200);
  CHECK(right.routes.size() > 4);
  for (int i = 0; i < 2000; ++i) {
    const auto a = draw<address>(r);
    REQUIRE(table.lookup(a) == right.lookup(a));
  }
  // Known routes still take another next hop, and there is room again for as many as go.
  const auto known = right.routes.front().covered;
  CHECK(table.insert(known, 5));
  CHECK(table.find(known) == 5);
  while (!right.routes.empty()) {
    CHECK(table.erase(right.routes.back().covered));
    right.routes.pop_back();
  }
  CHECK(table.size() == 0);
  compare(table, 3, 200, 4);
}
TEST_CASE_TEMPLATE("a full table refuses what is new and stays right", F, compact_trie<ipv4_address>,
                   compact_trie<ipv6_address>) {
  with_memory<F> made{F::bytes_for(0) + (sizeof(typename F::address_type) == 4 ? 2048 : 8192)};
  fill(made.table, 1u << 20);
}
TEST_CASE_TEMPLATE("a full array refuses what is new and stays right", F, sorted_routes<ipv4_address>,
                   sorted_routes<ipv6_address>) {
  with_memory<F> made{50};
  fill(made.table, 1u << 20);
}
TEST_CASE("more than 32768 /24 with longer routes are refused, and nothing breaks") {
  with_memory<compact_trie<ipv4_address>> made{compact_trie<ipv4_address>::bytes_for(2'000'000)};
  std::uint32_t done = 0;
  while (done < 40'000 && made.table.insert({ipv4_address{0x0a00'0000 + done * 256}, 32}, 1)) ++done;
  CHECK(done == 32768);
  CHECK(made.table.lookup(ipv4_address{0x0a00'0000 + 32767 * 256}) == 1);
  CHECK(made.table.lookup(ipv4_address{0x0a00'0000 + 32768 * 256}) == no_next_hop);
  CHECK(made.table.erase({ipv4_address{0x0a00'0000}, 32}));
  CHECK(made.table.insert({ipv4_address{0x0b00'0000}, 32}, 2));
  CHECK(made.table.lookup(ipv4_address{0x0b00'0000}) == 2);
}

TEST_CASE("DIR-24-8 with more /24 with longer routes than groups asks the trie") {
  with_memory<dir_24_8> made{dir_24_8::bytes_for(4000)};  // 2546 groups
  for (std::uint32_t i = 0; i < 3500; ++i)
    REQUIRE(made.table.insert({ipv4_address{0x0a00'0000 + i * 256 + 7}, 32}, static_cast<next_hop_number>(i)));
  for (std::uint32_t i = 0; i + 32 <= 3500; ++i) {
    ipv4_address asked[32];
    next_hop_number answers[32];
    for (std::uint32_t k = 0; k < 32; ++k) asked[k] = ipv4_address{0x0a00'0000 + (i + k) * 256 + 7 - k % 2};
    made.table.lookup(asked, answers, 32);
    for (std::uint32_t k = 0; k < 32; ++k) {
      REQUIRE(answers[k] == (k % 2 == 0 ? i + k : no_next_hop));
      REQUIRE(made.table.lookup(asked[k]) == answers[k]);
    }
    require_ways(made.table, asked, answers, 32);
  }
}

}  // namespace
