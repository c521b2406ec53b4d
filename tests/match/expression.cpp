// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <initializer_list>
#include <type_traits>

#include "literal_packets.hpp"

using namespace runnel;

namespace {

constexpr literal_packet ssh = make(0, eth, from_10_1_2_3, tcp_to(22, tcp_flags::syn));
constexpr literal_packet ssh6 = make(0, eth, from_db8_1, tcp_to(22, tcp_flags::syn));
constexpr literal_packet dns = make(4, eth, vlan_header{.id = 5, .pcp = 3}, from_10_1_2_3, udp_to(53));
constexpr literal_packet ping = make(8, eth, from_10_1_2_3, icmp_header{});
constexpr literal_packet unknown = make(30, eth);

template <class Expression>
constexpr bool on(const literal_packet& p, const Expression& e) {
  return e(p.as_subject());
}

// The answer in constant evaluation and the one at run time must be the same.
template <class Expression>
bool holds(const literal_packet& p, const Expression& e) {
  return on(p, e);
}

constexpr ipv4_header later_fragment{
    .source = {10, 1, 2, 3}, .destination = {192, 0, 2, 1}, .fragment_offset = 1480, .protocol = 6};

}  // namespace

TEST_CASE("a field is compared with a value, in all six ways") {
  static_assert(on(ssh, tcp::dport == 22));
  static_assert(!on(ssh, tcp::dport != 22));
  static_assert(on(ssh, tcp::dport != 23));
  static_assert(on(ssh, tcp::dport < 23) && !on(ssh, tcp::dport < 22));
  static_assert(on(ssh, tcp::dport <= 22) && !on(ssh, tcp::dport <= 21));
  static_assert(on(ssh, tcp::dport > 21) && !on(ssh, tcp::dport > 22));
  static_assert(on(ssh, tcp::dport >= 22) && !on(ssh, tcp::dport >= 23));
  CHECK(holds(ssh, ip::saddr == ipv4_address{10, 1, 2, 3}));
  CHECK(holds(ssh, ip::saddr < ipv4_address{10, 1, 2, 4}));
  CHECK(holds(ssh6, ip6::saddr == ipv6_address{0x2001'0db8'0000'0000, 1}));
  CHECK(holds(ssh6, ip6::saddr > ipv6_address{0x2001'0db8'0000'0000, 0}));
  CHECK_FALSE(holds(ssh6, ip6::saddr > ipv6_address{0x2001'0db8'0000'0000, 1}));
  CHECK(holds(ssh, ether::daddr == mac_address{{2, 0, 0, 0, 0, 2}}));
  CHECK(holds(ssh, ether::type == ethertype::ipv4));
}

TEST_CASE("bit fields are taken out of their bytes") {
  CHECK(holds(dns, vlan::id == 5));
  CHECK(holds(dns, vlan::pcp == 3));
  CHECK(holds(dns, vlan::dei == 0));
  CHECK(holds(dns, ip::hdrlength == 5));
  CHECK(holds(ssh, tcp::doff == 5));
  CHECK(holds(ssh6, ip6::version == 6));
  constexpr literal_packet labelled = make(0, eth, ipv6_header{.dscp = 46, .ecn = 1, .flow_label = 0xabcde}, udp_to(1));
  CHECK(holds(labelled, ip6::flowlabel == 0xabcde));
  CHECK(holds(labelled, ip6::dscp == 46));
  CHECK(holds(labelled, ip6::ecn == 1));
}

TEST_CASE("what the packet does not have is never equal, never different, and in no set") {
  for (const literal_packet* p : {&dns, &ping, &unknown}) {
    CHECK_FALSE(holds(*p, tcp::dport == 53));
    CHECK_FALSE(holds(*p, tcp::dport != 53));
    CHECK_FALSE(holds(*p, tcp::dport < 65535));
    CHECK_FALSE(holds(*p, tcp::dport.in(range(0, 65535))));
    CHECK_FALSE(holds(*p, tcp::dport.not_in(range(1, 2))));
    CHECK_FALSE(holds(*p, tcp::dport.not_in(constant_set{1, 2})));
    CHECK_FALSE(holds(*p, (tcp::flags & tcp_flags::syn) == 0));
    CHECK_FALSE(holds(*p, ip6::saddr != ipv6_address{}));
    CHECK(holds(*p, !(tcp::dport == 53)));
  }
  CHECK_FALSE(holds(ssh6, ip::ttl >= 0));
  CHECK_FALSE(holds(unknown, meta::l4proto != 6));
}

TEST_CASE("a later fragment has no ports, whatever its bytes look like") {
  const literal_packet later = make(40, eth, later_fragment);
  CHECK_FALSE(holds(later, tcp::dport >= 0));
  CHECK_FALSE(holds(later, has<tcp>));
  CHECK(holds(later, meta::l4proto == 6));
  CHECK(holds(later, ip::protocol == 6 && (ip::frag_off & 0x1fff) == 185));
}

TEST_CASE("a mask is applied before the comparison") {
  constexpr auto is_syn = (tcp::flags & (tcp_flags::syn | tcp_flags::ack)) == tcp_flags::syn;
  static_assert(on(ssh, is_syn));
  CHECK_FALSE(holds(make(0, eth, from_10_1_2_3, tcp_to(22, tcp_flags::syn | tcp_flags::ack)), is_syn));
  CHECK(holds(make(0, eth, from_10_1_2_3, tcp_to(22, tcp_flags::syn | tcp_flags::ece)), is_syn));
  CHECK(holds(ssh, (ip::saddr & ipv4_address{255, 0, 0, 255}) == ipv4_address{10, 0, 0, 3}));
  CHECK(holds(ssh6, (ip6::saddr & ipv6_address{0, 0xff}) == ipv6_address{0, 1}));
  CHECK(holds(ssh, (tcp::dport & 0xfe).in(constant_set{22, 24})));
}

TEST_CASE("ranges include both ends") {
  CHECK_FALSE(holds(make(0, eth, from_10_1_2_3, tcp_to(1023)), tcp::dport.in(range(1024, 65535))));
  CHECK(holds(make(0, eth, from_10_1_2_3, tcp_to(1024)), tcp::dport.in(range(1024, 65535))));
  CHECK(holds(make(0, eth, from_10_1_2_3, tcp_to(65535)), tcp::dport.in(range(1024, 65535))));
  CHECK_FALSE(holds(make(0, eth, from_10_1_2_3, tcp_to(65535)), tcp::dport.in(range(1024, 65534))));
  CHECK(holds(ssh, ip::saddr.in(range(ipv4_address{10, 1, 2, 3}, ipv4_address{10, 1, 2, 3}))));
  CHECK(holds(ssh, tcp::dport.not_in(range(23, 30))));
  CHECK(holds(ssh6, ip6::saddr.in(range(ipv6_address{0, 0}, ipv6_address{0x2001'0db8'0000'0000, 1}))));
}

TEST_CASE("prefixes cover the addresses that begin with them, of their own family") {
  static_assert(on(ssh, ip::saddr.in(net("10.0.0.0/8"))) && !on(ssh, ip::saddr.in(net("11.0.0.0/8"))));
  static_assert(on(ssh, ip::saddr.in(net("10.1.2.3/32"))) && !on(ssh, ip::saddr.in(net("10.1.2.2/32"))));
  static_assert(on(ssh, ip::saddr.in(net("0.0.0.0/0"))) && !on(ssh6, ip::saddr.in(net("0.0.0.0/0"))));
  static_assert(on(ssh, ip::saddr.not_in(net("11.0.0.0/8"))) && !on(ssh6, ip::saddr.not_in(net("11.0.0.0/8"))));
  static_assert(on(ssh6, ip6::saddr.in(net("2001:db8::/32"))) && !on(ssh6, ip6::saddr.in(net("2001:db9::/32"))));
  static_assert(on(ssh6, ip6::saddr.in(net("2001:db8::1/128"))) && !on(ssh6, ip6::saddr.in(net("2001:db8::/128"))));
  static_assert(on(ssh6, ip6::saddr.in(net("2001:db8::/65"))) && on(ssh6, ip6::saddr.in(net("::/0"))));
  CHECK(holds(ssh, ip::saddr.in(ipv4_prefix{{10, 9, 9, 9}, 8})));
}

TEST_CASE("a number that is too large for a set's type is not in it, also where its low bits are") {
  static hash_set_of<std::uint16_t, 4> numbers("numbers");
  REQUIRE(numbers.insert(22));
  static constexpr interval_set<std::uint16_t, 2> intervals("intervals", range(20, 22));
  constexpr literal_packet small =
      make(0, eth, from_10_1_2_3, tcp_header{.destination_port = 22, .sequence_number = 22});
  constexpr literal_packet large =
      make(0, eth, from_10_1_2_3, tcp_header{.destination_port = 22, .sequence_number = 0x1'0016});
  static_assert(on(small, tcp::sequence.in(intervals)) && !on(large, tcp::sequence.in(intervals)));
  static_assert(!on(small, tcp::sequence.not_in(intervals)) && on(large, tcp::sequence.not_in(intervals)));
  CHECK(holds(small, tcp::sequence.in(numbers)));
  CHECK_FALSE(holds(large, tcp::sequence.in(numbers)));
  CHECK(holds(large, tcp::sequence.not_in(numbers)));
  CHECK_FALSE(holds(large, condition(tcp::sequence.in(numbers))));
}

TEST_CASE("and, or, not") {
  static_assert(on(ssh, tcp::dport == 22 && ip::ttl == 64));
  static_assert(!on(ssh, tcp::dport == 22 && ip::ttl == 63));
  static_assert(on(ssh, tcp::dport == 23 || ip::ttl == 64));
  static_assert(!on(ssh, !(tcp::dport == 23 || ip::ttl == 64)));
  static_assert(on(ssh6, tcp::dport == 22 && !(has<ipv4> || has<udp>)));
}

TEST_CASE("headers by name") {
  CHECK(holds(ssh, has<tcp> && has<ipv4> && has<th> && has<ethernet> && !has<udp> && !has<vlan>));
  CHECK(holds(dns, has<udp> && has<th> && has<vlan> && !has<tcp>));
  CHECK(holds(ping, has<icmp> && !has<th>));
  CHECK(holds(unknown, has<ethernet> && !has<ipv4> && !has<ipv6>));
  CHECK(holds(ssh, th::dport == 22));
  CHECK(holds(dns, th::dport == 53));
  CHECK_FALSE(holds(ping, th::dport >= 0));
}

TEST_CASE("metadata is matched like a field") {
  frame f;
  literal_packet p = ssh;
  f.data = p.storage;
  f.length = static_cast<std::uint32_t>(p.size);
  f.iif = 3;
  f.queue = 5;
  f.timestamp = {1'700'000'000'000'000'000};
  const subject s{f, p.found};
  CHECK((meta::iif == 3)(s));
  CHECK((meta::queue == 5 && meta::hash == 0 && meta::priority == 0)(s));
  CHECK((meta::time == instant{1'700'000'000'000'000'000})(s));
  CHECK((meta::time > instant{1'699'999'999'999'999'999} && meta::time > instant{-1})(s));
  CHECK_FALSE((meta::time < instant{-1} || meta::time.in(range(instant{-5}, instant{5})))(s));
  CHECK((meta::length == 54)(s));
  CHECK((meta::mark == 0)(s));
  CHECK((meta::protocol == ethertype::ipv4)(s));
  CHECK((meta::nfproto == nfproto::ipv4)(s));
  CHECK((meta::l4proto == 6)(s));

  alignas(64) static std::byte memory[pool::bytes_needed({.packets = 2, .bytes = 256, .bare = 2})];
  pool* slots = pool::create(memory, {.packets = 2, .bytes = 256, .bare = 2});
  packet q = slots->allocate();
  REQUIRE(q.append(p.contents()));
  q.layers(dissect(q.contents(), link_type::ethernet, {.head_offset = q.headroom()}));
  q.mark(7);
  q.priority(2);
  q.flow_hash(0xdeadbeef);
  q.iif(9);
  q.timestamp({-7});
  CHECK((meta::mark == 7 && meta::priority == 2 && meta::hash == 0xdeadbeef && meta::iif == 9)(q));
  CHECK((meta::time == instant{-7} && meta::time < instant{0} && meta::time >= instant{-7} && meta::queue == 0)(q));
  CHECK((tcp::dport == 22 && meta::length == 54)(q));

  SUBCASE("a packet that was not dissected has its link header and nothing else") {
    q.layers({});
    CHECK((has<ethernet> && ether::type == ethertype::ipv4 && meta::protocol == ethertype::ipv4)(q));
    CHECK_FALSE((tcp::dport == 22 || has<ipv4>)(q));
  }
  SUBCASE("the length is that of all fragments") {
    packet tail = slots->allocate();
    REQUIRE(tail.append(p.contents()));
    REQUIRE(q.append(static_cast<packet&&>(tail)));
    CHECK((meta::length == 108)(q));
  }
}

TEST_CASE("the IP protocol number is found behind IPv6 extension headers, also in later fragments") {
  std::byte b[14 + 40 + 8 + 8 + 8]{};
  REQUIRE(write_headers(b, eth, ipv6_header{}));
  store_u8(b + 20, 60);  // destination options
  store_u8(b + 54, 44);  // then a fragment header
  store_u8(b + 62, 17);  // of a UDP datagram
  store_be16(b + 70 + 4, 8);
  layers found = dissect(b);
  REQUIRE(found.has(protocol::udp));
  CHECK((meta::l4proto == 17)(subject{b, found}));
  store_be16(b + 64, 0x0100);  // no longer the first
  found = dissect(b);
  REQUIRE(found.has(protocol::parsed));
  REQUIRE(found.has(protocol::fragment));
  CHECK_FALSE(has<udp>(subject{b, found}));
  CHECK((meta::l4proto == 17)(subject{b, found}));
}

TEST_CASE("no expression reads outside the packet, however it is cut or whatever the layers claim") {
  // All fields at once; the packets lie in buffers of their exact size.
  constexpr auto everything =
      (tcp::dport == 1 || tcp::urgptr == 1 || udp::checksum == 7 || ip::daddr == ipv4_address{1, 1, 1, 1} ||
       ip6::daddr == ipv6_address{1, 1} || vlan::type == 1 || cvlan::type == 1 || icmp::sequence == 99 ||
       th::dport == 1 || ether::type == 1 || meta::l4proto == 200 || meta::protocol == 1 || meta::nfproto == 77);
  for (const literal_packet* p : {&ssh, &ssh6, &dns, &ping, &unknown})
    for (std::size_t size = 0; size <= p->size; ++size) {
      std::byte* exact = new std::byte[size == 0 ? 1 : size];
      copy_bytes(exact, p->storage, size);
      CHECK_FALSE(everything(subject{bytes{exact, size}, p->found}));
      CHECK_FALSE(everything(subject{bytes{exact, size}, dissect(bytes{exact, size})}));
      for (unsigned bit = 3; bit < 16; ++bit) {
        layers wrong = p->found;
        wrong.protocols = static_cast<std::uint16_t>(wrong.protocols | 1u << bit);
        (void)everything(subject{bytes{exact, size}, wrong});
      }
      delete[] exact;
    }
}

namespace {
struct lucky : match::expression_operators {
  static constexpr bool is_match_expression = true;
  bool operator()(const subject& s) const noexcept { return s.length == 54; }
};
struct first_octet : match::operand<first_octet> {
  using value_type = std::uint8_t;
  static constexpr unsigned bits = 8;
  constexpr bool load(const subject& s, std::uint64_t& to) const noexcept {
    if (s.contents.empty()) return false;
    to = load_u8(s.contents.data());
    return true;
  }
};
}  // namespace

TEST_CASE("conditions and operands of one's own join in") {
  CHECK(holds(ssh, lucky{} && tcp::dport == 22));
  CHECK(holds(dns, !lucky{}));
  CHECK(holds(ssh, first_octet{} == 2 && first_octet{}.in(range(1, 3))));
}

TEST_CASE("a number that does not fit the field is an error where it is constant, and never equal where it is not") {
  // The compile error is checked in compile_fail/; a wide value in a narrow field must not become another one.
  static_assert(on(ssh, match::comparison<std::remove_const_t<decltype(tcp::dport)>, match::relation::not_equal>{
                            tcp::dport, 65536 + 22}));
}
