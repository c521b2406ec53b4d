// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include <runnel/match/condition.hpp>

#include "all_fields.hpp"
#include "literal_packets.hpp"

using namespace runnel;
using match::node_kind;
using runnel_test::for_all_headers;
using runnel_test::for_many_packets;

namespace {

constexpr literal_packet ssh = make(0, eth, from_10_1_2_3, tcp_to(22));
constexpr literal_packet dns = make(4, eth, from_10_1_2_3, udp_to(53));

struct number_of_rows {
  std::size_t same = 0, held = 0;
};
// An expression without its type: most of what is tested here would otherwise be compiled hundreds of times.
struct untyped_expression {
  const void* expression;
  bool (*ask)(const void* expression, const subject&);
};
// Asks both about every packet; counts those where they agree, and those where the condition holds.
number_of_rows compare_untyped(const condition& c, const untyped_expression& e, std::size_t rounds) {
  number_of_rows n;
  for_many_packets(rounds, [&](const subject& s) {
    const bool expected = e.ask(e.expression, s);
    n.same += c(s) == expected ? 1u : 0u;
    n.held += expected ? 1u : 0u;
  });
  return n;
}
template <class Expression>
number_of_rows compare(const Expression& e, std::size_t rounds) {
  const auto ask = [](const void* what, const subject& s) { return (*static_cast<const Expression*>(what))(s); };
  return compare_untyped(e, {&e, ask}, rounds);
}
void check_all_same(const number_of_rows& n, std::size_t rounds) {
  CHECK(n.same == rounds * runnel_test::frames_of_all_kinds().size());
}
void same_answers(const auto& expression, std::size_t rounds = 5) {
  check_all_same(compare(expression, rounds), rounds);
}

struct parity {
  bool contains(ipv4_address a) const noexcept { return a.value() % 2 == 0; }
};

}  // namespace

TEST_CASE("a condition is made from a match expression, and means the same") {
  constexpr condition c = tcp::dport == 22 && !(has<udp> || ip::saddr.in(net("11.0.0.0/8")));
  static_assert(c(ssh.as_subject()) && !c(dns.as_subject()));
  CHECK(c(ssh.as_subject()));
  CHECK_FALSE(c(dns.as_subject()));
  const condition everything;
  CHECK(everything(ssh.as_subject()));
  const auto takes = [](const condition& filter) { return filter(ssh.as_subject()); };
  CHECK(takes(tcp::dport == 22));
  CHECK_FALSE(takes(udp::dport == 22));
}

TEST_CASE("every relation, range and list compares as it does in an expression") {
  const auto on_each = [](const auto& field, const auto& v) {
    same_answers(field < v);
    same_answers(field <= v);
    same_answers(field > v);
    same_answers(field >= v);
    same_answers(field.in(range(v, v)) || field.not_in(range(v, v)));
    same_answers(field.in(constant_set{v, v}) || !field.not_in(constant_set{v}));
    same_answers((field & v).not_in(constant_set{v, v}));
    same_answers((field & v) != v);
  };
  on_each(th::dport, std::uint16_t{53});
  on_each(ip::ecn, std::uint8_t{0});
  on_each(ip::saddr, ipv4_address{10, 1, 2, 3});
  on_each(ip6::daddr, addr6("ff02::1"));
  on_each(ether::saddr, mac("02:00:00:00:00:01"));
  on_each(tcp::option::maxseg::size, std::uint16_t{1460});
  on_each(vxlan::inner(ip::ttl), std::uint8_t{5});
  on_each(meta::time, instant{1});
  on_each(meta::length, std::uint32_t{60});
}

TEST_CASE("every header is there as it is for an expression") {
  for_all_headers([&](const auto& has_it) {
    const number_of_rows n = compare(has_it, 10);
    CHECK(n.same == 10 * runnel_test::frames_of_all_kinds().size());
    CHECK(n.held > 0);
    same_answers(!has_it);
  });
}

TEST_CASE("prefixes and sets of all kinds answer alike") {
  static hash_set_of<ipv4_address, 4> four{"four"};
  static hash_set_of<ipv6_address, 4> six{"six"};
  static hash_set_of<std::uint16_t, 4> ports{"ports"};
  static prefix_set_of<ipv4_address, 4> nets{"nets"};
  static prefix_set_of<ipv6_address, 4> nets6{"nets6"};
  static const interval_set<std::uint16_t, 2> ranges{"ranges", range(1, 53), range(4789, 4789)};
  static const parity even{};
  REQUIRE(four.insert({10, 1, 2, 3}));
  REQUIRE(six.insert(addr6("2001:db8::1")));
  REQUIRE(ports.insert(22));
  REQUIRE(nets.insert(net("192.0.0.0/16")));
  REQUIRE(nets6.insert(net("fe80::/10")));
  same_answers(ip::saddr.in(four) && !ip::daddr.not_in(four));
  same_answers(ip6::saddr.in(six) || ip6::saddr.in(nets6));
  same_answers(tcp::dport.in(ports) || udp::dport.in(ranges) || th::sport.not_in(ranges));
  same_answers(ip::daddr.in(nets) && ip::saddr.in(even));
  same_answers(ip::id.in(ports) || vlan::id.in(ranges));
  for (unsigned length = 0; length <= 128; ++length) {
    if (length <= 32) same_answers(ip::saddr.in(prefix::v4({10, 1, 2, 3}, length)), 1);
    if (length <= 32)
      same_answers((ip::saddr & ipv4_address{255, 0, 0, 255}).not_in(prefix::v4({10, 0, 0, 3}, length)), 1);
    same_answers(ip6::saddr.in(prefix::v6(addr6("2001:db8::1"), length)), 1);
  }
  // A set may change.
  const condition c = ip::saddr.in(four);
  CHECK(c(ssh.as_subject()));
  four.clear();
  CHECK_FALSE(c(ssh.as_subject()));
}

TEST_CASE("and, or and not are jumps that only go forward, whatever the tree") {
  runnel_test::xorshift random;
  // Trees of conditions on two bits each of the mark: compared with the tree itself.
  for (int round = 0; round < 300; ++round) {
    std::vector<condition> made;
    std::vector<std::uint64_t> truth;  // bit n: it holds for mark n
    for (unsigned bit = 0; bit < 6; ++bit) {
      std::uint64_t t = 0;
      for (unsigned mark = 0; mark < 64; ++mark) t |= std::uint64_t{mark >> bit & 1u} << mark;
      made.emplace_back((meta::mark & (1u << bit)) != 0);
      truth.push_back(t);
    }
    while (made.size() > 1) {
      const std::size_t i = random.below(made.size() - 1);
      switch (random.below(4)) {
        case 0: made[i] = made[i] && made[i + 1], truth[i] &= truth[i + 1]; break;
        case 1: made[i] = made[i] || made[i + 1], truth[i] |= truth[i + 1]; break;
        case 2: made[i] = !(made[i] && made[i + 1]), truth[i] = ~(truth[i] & truth[i + 1]); break;
        default: made[i] = !made[i] || made[i + 1], truth[i] = ~truth[i] | truth[i + 1]; break;
      }
      made.erase(made.begin() + static_cast<std::ptrdiff_t>(i) + 1);
      truth.erase(truth.begin() + static_cast<std::ptrdiff_t>(i) + 1);
    }
    subject s = ssh.as_subject();
    std::uint64_t holds_for = 0;
    for (s.mark = 0; s.mark < 64; ++s.mark) holds_for |= std::uint64_t{made[0](s)} << s.mark;
    CHECK(holds_for == truth[0]);
    const match::condition_view view = made[0];
    for (std::size_t i = 0; i < view.size; ++i) {
      const match::condition_node& n = view.nodes[i];
      if (n.has_children()) continue;
      const bool forward = n.yes > i && n.no > i;
      CHECK(forward);
      CHECK((n.yes >= match::condition_node::fails || !view.nodes[n.yes].has_children()));
    }
  }
}

TEST_CASE("the nodes say what was written") {
  static hash_set_of<ipv4_address, 4> blocked{"blocked"};
  const condition c = (tcp::flags & tcp_flags::syn) != 0 &&
                      (vxlan::inner(ip6::saddr) == addr6("2001:db8::1") || ip::saddr.not_in(blocked) || meta::mark > 5);
  const match::condition_view v = c;
  REQUIRE(v.size == 7);
  CHECK(v.nodes[0].kind == node_kind::comparison);
  CHECK(v.nodes[0].how == match::relation::not_equal);
  CHECK(v.nodes[0].operand.is_masked);
  CHECK(v.nodes[0].operand.in_header == header::tcp);
  CHECK(v.nodes[0].operand.offset == 104);
  CHECK(std::string(v.nodes[0].operand.name) == "tcp flags");
  CHECK(v.mask<std::uint64_t>(v.nodes[0]) == tcp_flags::syn);
  CHECK(v.value<std::uint64_t>(v.nodes[0], 0) == 0);
  CHECK(v.nodes[1].operand.is_inner);
  CHECK(v.nodes[1].operand.around == match::tunnel::vxlan);
  CHECK(v.value<ipv6_address>(v.nodes[1], 0) == addr6("2001:db8::1"));
  CHECK(v.nodes[2].kind == node_kind::in_set);
  CHECK_FALSE(v.nodes[2].inside);
  CHECK(v.nodes[2].set.set == &blocked);
  CHECK(std::string(v.nodes[2].set.name()) == "blocked");
  CHECK(v.nodes[3].kind == node_kind::either);
  CHECK(v.nodes[3].left == 1);
  CHECK(v.nodes[4].operand.is_meta);
  CHECK(v.nodes[4].operand.which == match::meta_key::mark);
  CHECK(v.nodes[5].left == 3);
  CHECK(v.nodes[6].kind == node_kind::both);
  CHECK(v.nodes[6].left == 0);
}

TEST_CASE("the elements of a set whose type is not known any more can be listed") {
  struct row {
    ipv6_address first, last;
    unsigned length;
    bool operator==(const row&) const = default;
  };
  const auto elements = [](const match::set_reference& r) {
    std::vector<row> all;
    r.functions->for_each(r.set, &all, [](void* to, const match::set_element& e) {
      static_cast<std::vector<row>*>(to)->push_back({e.first, e.last, e.length});
    });
    return all;
  };
  hash_set_of<ipv4_address, 4> four{"four"};
  prefix_set_of<ipv4_address, 4> nets{"nets"};
  prefix_set_of<ipv6_address, 4> nets6{"nets6"};
  const interval_set<std::uint16_t, 2> ranges{"ranges", range(1, 53)};
  REQUIRE(four.insert({10, 1, 2, 3}));
  REQUIRE(nets.insert(net("192.0.0.0/16")));
  REQUIRE(nets6.insert(net("2001:db8::/32")));
  CHECK(elements(four) == std::vector<row>{{{0, 0x0a010203}, {0, 0x0a010203}, 32}});
  CHECK(elements(nets) == std::vector<row>{{{0, 0xc0000000}, {0, 0xc000ffff}, 16}});
  CHECK(elements(nets6) ==
        std::vector<row>{{{0x20010db8'00000000, 0}, {0x20010db8'ffffffff, 0xffffffff'ffffffff}, 32}});
  CHECK(elements(ranges) == std::vector<row>{{{0, 1}, {0, 53}, 16}});
  CHECK(match::set_reference(four).functions->kind == match::set_kind::hash_set);
  CHECK(match::set_reference(nets).functions->kind == match::set_kind::prefix_set);
  CHECK(match::set_reference(ranges).functions->kind == match::set_kind::interval_set);
  const parity even{};
  const condition c = ip::saddr.in(even);
  CHECK(match::condition_view(c).nodes[0].set.functions->kind == match::set_kind::other);
  const bool can_list = match::condition_view(c).nodes[0].set.functions->for_each != nullptr;
  CHECK_FALSE(can_list);
}

TEST_CASE("a number that is wider than the values of a set is not in it") {
  static hash_set_of<std::uint8_t, 4> small{"small"};
  REQUIRE(small.insert(22));
  const match::set_reference r = small;
  CHECK(r.functions->contains(r.set, 22));
  CHECK_FALSE(r.functions->contains(r.set, 256 + 22));
}
