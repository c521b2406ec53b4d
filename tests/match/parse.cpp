// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

#include <runnel/match/parse_condition.hpp>
#include <runnel/match/parse_rules.hpp>

#include "all_fields.hpp"
#include "literal_packets.hpp"
#include "nft.hpp"
#include "same_tree.hpp"

using namespace runnel;
using runnel_test::for_all_fields;
using runnel_test::for_all_headers;
using runnel_test::for_many_packets;
using runnel_test::same_tree;

namespace {

hash_set_of<ipv4_address, 4> blocklist{"blocklist"};
hash_set_of<ipv6_address, 4> six{"six"};
const interval_set<std::uint16_t, 1> high_ports{"ports", range(1024, 65535)};
const match::set_reference sets[] = {blocklist, six, high_ports};

std::string printed(const auto& what) {
  text<16384> out;
  print(out, what);
  return out.c_str();
}
// What a text is understood as: in nft's words, or what is wrong with it.
std::string read(const char* said) {
  const auto c = parse_condition(said, sets);
  return c ? printed(*c) : c.error().message();
}
std::string read_rules(const char* said) {
  const auto r = parse_rules(said, sets);
  return r ? printed(*r) : r.error().message();
}
// Printed, it is understood as what it was. `same` when there is only one tree that prints so.
void comes_back(const condition& c, bool same = true) {
  const std::string once = printed(c);
  const auto again = parse_condition(once.c_str(), sets);
  REQUIRE_MESSAGE(again.has_value(), once, " ", std::string(again.error().message()));
  CHECK(printed(*again) == once);
  if (same) CHECK_MESSAGE(same_tree(c, *again), once);
}

}  // namespace

namespace {
// A condition on an operand, made by hand.
template <class Key>
condition made_of(const match::operand_description& d, match::node_kind kind, match::relation how, bool inside,
                  unsigned length, const Key* mask, const std::vector<Key>& keys) {
  condition c;
  c.build([&](match::detail::condition_builder& to) {
    match::condition_node n;
    n.operand = d;
    n.operand.is_masked = mask != nullptr;
    n.kind = kind;
    n.how = how;
    n.inside = inside;
    n.length = static_cast<std::uint8_t>(length);
    n.values = static_cast<std::uint16_t>(keys.size());
    to.add(n);
    if (mask != nullptr) to.add_key(*mask);
    for (const Key& k : keys) to.add_key(k);
  });
  return c;
}
std::uint64_t random_key(runnel_test::xorshift& random, bool small, unsigned bits, std::uint64_t) {
  return (small ? random.below(10) : random()) & ~std::uint64_t{0} >> (64 - bits);
}
ipv6_address random_key(runnel_test::xorshift& random, bool small, unsigned, const ipv6_address&) {
  return {small ? 0 : random(), random() >> random.below(64)};
}
// All kinds of conditions that an operand can stand in. `ambiguous`: another operand has the same name.
template <class Key>
void all_come_back(const match::operand_description& d, bool ambiguous) {
  using match::node_kind;
  runnel_test::xorshift random;
  for (int round = 0; round < 4; ++round) {
    Key k[3];
    for (Key& one : k) one = random_key(random, round == 0, d.bits, Key{});
    for (int i = 0; i < 2; ++i)
      for (int j = 0; j < 2; ++j)
        if (match::key_less(k[j + 1], k[j])) std::swap(k[j], k[j + 1]);
    std::vector<Key> rising;
    for (const Key& one : k)
      if (rising.empty() || !(rising.back() == one)) rising.push_back(one);
    for (const Key* mask : {static_cast<const Key*>(nullptr), static_cast<const Key*>(&k[1])}) {
      for (unsigned how = 0; how < 6; ++how)
        comes_back(made_of<Key>(d, node_kind::comparison, static_cast<match::relation>(how), true, 0, mask, {k[2]}),
                   !ambiguous);
      for (const bool inside : {true, false}) {
        const match::relation equal = match::relation::equal;
        comes_back(made_of<Key>(d, node_kind::in_range, equal, inside, 0, mask, {k[0], k[2]}), !ambiguous);
        comes_back(made_of<Key>(d, node_kind::in_constants, equal, inside, 0, mask, rising), !ambiguous);
        if (d.value != match::value_kind::ipv4 && d.value != match::value_kind::ipv6) continue;
        const auto length = static_cast<unsigned>(random.below(d.bits + 1u));
        match::condition_node n;
        n.operand = d;
        n.length = static_cast<std::uint8_t>(length);
        const Key block = match::key_and(k[2], match::detail::prefix_mask_of(n, k[2]));
        comes_back(made_of<Key>(d, node_kind::in_prefix, equal, inside, length, mask, {block}), !ambiguous);
      }
    }
  }
}
}  // namespace

TEST_CASE("every condition on every field is understood as it is printed") {
  for_all_fields([](const auto& field) {
    using value = typename std::remove_cvref_t<decltype(field)>::value_type;
    const match::operand_description d = match::detail::describe(field);
    const condition compared = field == value{};
    const std::string name = printed(compared);
    // Nobody can tell this from the fragment header's field of the same name.
    const bool ambiguous = name.find("frag nexthdr") == 0 && d.in_header != header::ipv6_fragment;
    comes_back(compared, !ambiguous);
    if (d.value == match::value_kind::ipv6) all_come_back<ipv6_address>(d, ambiguous);
    else all_come_back<std::uint64_t>(d, ambiguous);
  });
  comes_back(ip::saddr.in(blocklist) || ip6::daddr.not_in(six) || (udp::dport & 0xff0f).in(high_ports));
}

TEST_CASE("every header that is there or missing is understood as it is printed") {
  for_all_headers([](const condition& has_it) {
    comes_back(has_it, false);
    comes_back(!has_it, false);
    comes_back(condition{has<tcp>} && !has_it, false);
    const rule_list list = rules(when(condition{!has_it || has_it}) >> drop);
    CHECK(read_rules(printed(list).c_str()) == printed(list));
  });
  for (const condition& c :
       {condition{has<tcp::option::maxseg>}, condition{has<tcp> && !has<tcp::option::maxseg>}, condition{has<llc>},
        condition{has<ipv6> && !has<ipv6_fragment>}, condition{has<ethernet>}, condition{!has<ip6::exthdr::hbh>}})
    comes_back(c);
}

TEST_CASE("as many negations and brackets as are understood are understood when they are printed") {
  std::string nots(32, '!');
  comes_back(*parse_condition((nots + "tcp").c_str()));
  std::string mixed = "ip ttl 1";
  for (int i = 0; i < 16; ++i)
    mixed = "(" + mixed + " ip id " + std::to_string(i) + " or ip ttl " + std::to_string(i) + ")";
  comes_back(*parse_condition(mixed.c_str()));
}

TEST_CASE("trees of and, or, not come back with the same answers") {
  runnel_test::xorshift random;
  const condition leaves[] = {tcp::dport == 22,
                              (tcp::flags & tcp_flags::syn) != 0,
                              th::dport == 53,
                              th::sport.not_in(range(1, 1023)),
                              ip::saddr.in(net("10.0.0.0/8")),
                              vxlan::vni == 7,
                              vxlan::inner(ip::ttl) < 6,
                              udp::dport == 4789,
                              meta::l4proto.in(constant_set{6, 17}),
                              meta::protocol == ethertype::ipv4,
                              has<ipv4> && !has<ip::option::rr>,
                              has<tcp::option::maxseg>,
                              match::always{},
                              meta::length > 60};
  for (int round = 0; round < 400; ++round) {
    std::vector<condition> made;
    for (std::size_t n = 1 + random.below(7); n != 0; --n) made.push_back(leaves[random.below(std::size(leaves))]);
    while (made.size() > 1) {
      const std::size_t i = random.below(made.size() - 1);
      switch (random.below(5)) {
        case 0: made[i] = !made[i]; break;
        case 1:
        case 2: made[i] = made[i] && made[i + 1]; break;
        default: made[i] = made[i] || made[i + 1]; break;
      }
      if (random.below(4) != 0) made.erase(made.begin() + static_cast<std::ptrdiff_t>(i) + 1);
    }
    const std::string once = printed(made[0]);
    const auto again = parse_condition(once.c_str(), sets);
    REQUIRE_MESSAGE(again.has_value(), once, " ", std::string(again.error().message()));
    CHECK(printed(*again) == once);
    bool same = true;
    for_many_packets(2, [&](const subject& s) { same = same && made[0](s) == (*again)(s); });
    CHECK_MESSAGE(same, once);
  }
}

TEST_CASE("nft's words are understood") {
  CHECK(read("tcp dport 22") == "tcp dport 22");
  CHECK(read("tcp dport ssh") == "tcp dport 22");
  CHECK(read("  tcp\tdport==22  ") == "tcp dport 22");
  CHECK(read("tcp dport { 22, 443, 80 }") == "tcp dport { 22, 80, 443 }");
  CHECK(read("tcp dport {22,80-90}") == "tcp dport { 80-90, 22 }");
  CHECK(read("tcp dport != { ssh, 80-90 }") == "tcp dport != 80-90 tcp dport != { 22 }");
  CHECK(read("ip saddr 10.0.0.0/8 tcp dport 80-90") == "ip saddr 10.0.0.0/8 tcp dport 80-90");
  CHECK(read("ip saddr { 10.0.0.0/8, 192.0.2.1 }") == "ip saddr { 10.0.0.0/8, 192.0.2.1 }");
  CHECK(read("ip ttl 5 th dport { 53, 1-7, 80-90, 22 } ip id 1") ==
        "ip ttl 5 meta l4proto { tcp, udp } th dport { 1-7, 80-90, 22, 53 } ip id 1");
  CHECK(read("ip6 saddr { ::1-::5, 2001:db8::/32 } or ip ttl 5") == "ip6 saddr { ::1-::5, 2001:db8::/32 } or ip ttl 5");
  CHECK(read("tcp dport 1-2 or tcp sport 5-6") == "tcp dport 1-2 or tcp sport 5-6");
  CHECK(read("ip6 saddr != fe80::/10") == "ip6 saddr != fe80::/10");
  CHECK(read("ip saddr @blocklist ip6 daddr != @six") == "ip saddr @blocklist ip6 daddr != @six");
  CHECK(read("tcp flags & (syn|ack) == syn") == "tcp flags & (syn | ack) == syn");
  CHECK(read("tcp flags syn,ack") == "tcp flags & (syn | ack) != 0x0");
  CHECK(read("tcp flags == syn,ack") == "tcp flags == syn | ack");  // with a sign they are one value, as nft has it
  CHECK(read("tcp flags != fin,psh") == "tcp flags != fin | psh");
  CHECK(read("ct status != snat,dnat") == "ct status != snat | dnat");
  CHECK(read("tcp flags != syn / syn,ack") == "tcp flags & (syn | ack) != syn");
  CHECK(read("tcp flags syn / syn,ack") == "tcp flags & (syn | ack) == syn");
  CHECK(read("tcp flags ! syn,ack") == "tcp flags & (syn | ack) == 0x0");  // as nft lists that
  CHECK(read("tcp flags ! fin tcp dport 22") == "tcp flags & fin == 0x0 tcp dport 22");
  CHECK(read("ct status ! snat") == "ct status & snat == 0x0");
  CHECK_FALSE(parse_condition("tcp flags ! { syn, ack }"));
  CHECK_FALSE(parse_condition("tcp dport ! 22"));
  CHECK(read("tcp flags & syn | ack == ack") ==
        "condition: column 13: a mask of several bits needs brackets: & (syn | ack)");
  CHECK(read("tcp flags == syn | ack") == "tcp flags == syn | ack");
  CHECK(read("tcp flags { syn, fin|ack }") == "tcp flags { syn, fin | ack }");
  CHECK(read("(tcp flags & syn) != 0") == "tcp flags & syn != 0x0");
  CHECK(read("icmp type echo-request") == "icmp type 8");
  CHECK(read("icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert }") == "icmpv6 type { 135, 136 }");
  CHECK(read("ether type arp arp operation request") == "ether type arp arp operation 1");
  CHECK(read("meta l4proto { tcp, udp } th dport domain") == "meta l4proto { tcp, udp } th dport 53");
  CHECK(read("meta mark & 0xff ge 0x10") == "meta mark & 0xff >= 0x10");
  CHECK(read("ip dscp ef ip ecn ce ip6 dscp cs1") == "ip dscp 46 ip ecn 3 ip6 dscp 8");
  CHECK(read("meta l4proto icmpv6 ip protocol esp") == "meta l4proto ipv6-icmp ip protocol 50");
  CHECK(read("icmp gateway 167772161 ip option rr addr != 0x0a000001") ==
        "icmp gateway 0xa000001 ip option rr addr != 0xa000001");
  CHECK_FALSE(parse_condition("ip saddr 167772161"));
  CHECK(read("meta mark 0x00000100/24") == "meta mark 0x100-0x1ff");  // as nft lists `meta mark & 0xffffff00 == 0x100`
  CHECK(read("ct mark != { 0x10/28, 7 }") == "ct mark != 0x10-0x1f ct mark != { 0x7 }");
  CHECK(read("meta mark 0/0") == "meta mark 0x0-0xffffffff");
  CHECK(read("meta mark 0x101/24") == "condition: column 11: a length that cuts off bits of the mark");
  CHECK_FALSE(parse_condition("tcp dport 1024/6"));
  CHECK(read("ip6 dscp { lephb, va } mh type binding-error") == "ip6 dscp { 1, 44 } mh type 7");
  CHECK(read("icmp code { frag-needed, admin-prohibited } icmpv6 code no-route") ==
        "icmp code { 4, 13 } icmpv6 code 0");
  CHECK(read("icmpv6 type < router-renumbering") == "icmpv6 type < 138");
  CHECK(read("meta priority != none-0:dd") == "meta priority != 0:0-0:dd");
  CHECK(read("ip protocol ipencap meta l4proto ipv6 ip6 nexthdr ipv6-frag") ==
        "ip protocol 4 meta l4proto 41 ip6 nexthdr 44");
  CHECK(read("ip protocol ipip") == "ip protocol 94");  // in /etc/protocols, and so for nft
  CHECK(read("meta iiftype != ether") == "not (meta iiftype ether)");
  CHECK(read("vlan id 5 vlan pcp > 3") == "vlan id 5 vlan pcp > 3");
  CHECK(read("") == "");
}

TEST_CASE("and, or and not may be words or signs, and need brackets where C and tcpdump differ") {
  CHECK(read("tcp dport 22 && ip ttl < 5") == "tcp dport 22 ip ttl < 5");
  CHECK(read("tcp dport 22 and ip ttl < 5 and ip id 1") == "tcp dport 22 ip ttl < 5 ip id 1");
  CHECK(read("tcp dport 22 || udp dport 22 or ip ttl < 5") == "tcp dport 22 or udp dport 22 or ip ttl < 5");
  CHECK(read("tcp dport 22 and (ip ttl 5 or ip ttl 6)") == "tcp dport 22 (ip ttl 5 or ip ttl 6)");
  CHECK(read("!(tcp dport 22)") == "not (tcp dport 22)");
  CHECK(read("not tcp dport 22 ip ttl 5") == "not (tcp dport 22) ip ttl 5");
  CHECK(read("(ip ttl 5 (ip id 1 and ip id 2)) or (ip ttl 6 or ip ttl 7)") ==
        "(ip ttl 5 ip id 1 ip id 2) or ip ttl 6 or ip ttl 7");
  CHECK(read("ip ttl 5 ip id 1 or ip ttl 6") == "(ip ttl 5 ip id 1) or ip ttl 6");
  const char* mixed = "\"and\" and \"or\" side by side: put brackets around what belongs together";
  CHECK(read("arp or ip and tcp") == std::string("condition: column 11: ") + mixed);
  CHECK(read("arp && ip || tcp") == std::string("condition: column 11: ") + mixed);
}

TEST_CASE("tcpdump's words are understood") {
  CHECK(read("host 192.0.2.1 and not arp") ==
        "(ip saddr 192.0.2.1 or ip daddr 192.0.2.1 or arp saddr ip 192.0.2.1 or arp daddr ip 192.0.2.1) not (meta "
        "protocol arp)");
  CHECK(read("src host 192.0.2.1") == "ip saddr 192.0.2.1 or arp saddr ip 192.0.2.1");
  CHECK(read("ip src 192.0.2.1") == "ip saddr 192.0.2.1");
  CHECK(read("arp dst host 192.0.2.1") == "arp daddr ip 192.0.2.1");
  CHECK(read("ip src and dst net 192.0.2.0/24") == "ip saddr 192.0.2.0/24 ip daddr 192.0.2.0/24");
  CHECK(read("dst host fe80::1") == "ip6 daddr fe80::1");
  CHECK(read("ip net 10") == "ip saddr 10.0.0.0/8 or ip daddr 10.0.0.0/8");
  CHECK(read("ip dst net 10.1/16") == "ip daddr 10.1.0.0/16");
  CHECK(read("ip dst net 10.1.0.0 mask 255.255.0.0") == "ip daddr 10.1.0.0/16");
  CHECK(read("tcp port 80 or 443") == "tcp sport 80 or tcp dport 80 or tcp sport 443 or tcp dport 443");
  CHECK(read("udp dst portrange 10-domain") == "udp dport 10-53");
  CHECK(read("port http") == "meta l4proto { tcp, udp } th sport 80 or meta l4proto { tcp, udp } th dport 80");
  CHECK(read("tcp[tcpflags] & tcp-syn != 0") == "meta protocol ip tcp flags & syn != 0x0");
  CHECK(read("tcp[tcpflags] & (tcp-syn|tcp-ack) == (tcp-syn|tcp-ack)") ==
        "meta protocol ip tcp flags & (syn | ack) == syn | ack");
  CHECK(read("tcp flags == ( syn | ack )") == "tcp flags == syn | ack");
  CHECK(read("tcp[13] = 2") == "meta protocol ip tcp flags == syn");
  CHECK(read("tcp[20:4] > 5") == "meta protocol ip tcp[20:4] > 5");
  CHECK(read("icmp[icmptype] == icmp-echo") == "icmp type 8");
  CHECK(read("ip[0] & 0xf != 5") == "ip[0] & 0xf != 0x5");
  CHECK(read("ether[12:2] = 0x806") == "ether type arp");
  CHECK(read("ether host 02:00:00:00:00:01") == "ether saddr 02:00:00:00:00:01 or ether daddr 02:00:00:00:00:01");
  CHECK(read("ether multicast") == "ether[0] & 0x1 != 0x0");
  CHECK(read("icmp or icmp6") == "ip protocol icmp or (meta protocol ip6 meta l4proto ipv6-icmp)");
  CHECK(read("less 100 and greater 50") == "meta length <= 100 meta length >= 50");
  CHECK(read("len > 5") == "meta length > 5");
  CHECK(read("vlan") == "ether type { 8021q, 8021ad, 0x9100 }");
  CHECK(read("vlan 5 and vlan 7") == "vlan id 5 cvlan id 7");
  CHECK(read("vlan 5 or vlan 7") == "vlan id 5 or vlan id 7");
  CHECK(read("ip proto \\tcp and ip6 proto 0") == "ip protocol tcp ip6 nexthdr 0");
  CHECK(read("ah") == "ip protocol 51 or ip6 nexthdr 51");
}

TEST_CASE("interfaces have numbers, and the names that the program gave them") {
  const char* const interfaces[] = {"lan", nullptr, "wan", "eth0.5"};
  named_sets names;
  names.interfaces = interfaces;
  names.interface_count = 4;
  const auto said = [&](const char* what) -> std::string {
    const auto c = parse_condition(what, names);
    if (!c) return c.error().message();
    text<256> out;
    print(out, *c);
    return out.c_str();
  };
  CHECK(said("iifname \"lan\"") == "meta iif 1");
  CHECK(said("iif lan oif != wan") == "meta iif 1 meta oif != 3");
  CHECK(said("meta iifname { lan, \"eth0.5\" } meta oif 7") == "meta iif { 1, 4 } meta oif 7");
  CHECK(said("oifname eth0.5 tcp dport 22") == "meta oif 4 tcp dport 22");
  CHECK(said("iifname la") ==
        "condition: column 9: expected a number, or the name of an interface: lan, wan, eth0.5, not \"la\"");
  CHECK(said("oifname \"lan") ==
        "condition: column 9: expected a number, or the name of an interface: lan, wan, eth0.5, not \"\"\"");
  CHECK(said("oifname \"lna\"") ==
        "condition: column 9: expected a number, or the name of an interface: lan, wan, eth0.5, not \"lna\"");
  CHECK(said("oifname \"a longer name\" tcp dport 22") ==
        "condition: column 9: expected a number, or the name of an interface: lan, wan, eth0.5, not \"a longer name\"");
  for (const char* text : {"iifname lan", "iifname \"lan\""})
    CHECK(
        read(text) ==
        "condition: column 9: expected the number of an interface, for the program has given none a name, not \"lan\"");
  CHECK(read("iifname 2") == "meta iif 2");
}

TEST_CASE("an error says at which column what was expected") {
  CHECK(read("ip saddr foo") == "condition: column 10: expected an IPv4 address, not \"foo\"");
  CHECK(read("ip saddr 10.0.0.256") == "condition: column 17: an IPv4 address: a part above 255");
  CHECK(read("ip saddr 10.1.0.0/8") == "condition: column 10: a length that cuts off bits of the address");
  CHECK(read("ip saddr 10.0.0.0/33") == "condition: column 19: expected a length up to 32, not \"33\"");
  CHECK(read("tcp dport") == "condition: column 10: expected a name or a number, not the end");
  CHECK(read("tcp dport 65536") == "condition: column 11: a number that does not fit into 16 bits");
  CHECK(read("tcp dport 90-80") == "condition: column 11: the first value of this range is above its last");
  CHECK(read("tcp dport 22,") == "condition: column 13: expected \"and\", \"or\" or the end, not \",\"");
  CHECK(read("tcp dport { 22") == "condition: column 15: expected \",\" or \"}\", not the end");
  CHECK(read("tcp dport 22 nonsense") ==
        "condition: column 14: expected a condition, such as tcp dport 22 or host 10.0.0.1, not \"nonsense\"");
  CHECK(read("(tcp dport 22") == "condition: column 14: expected \")\", \"and\" or \"or\", not the end");
  CHECK(read("ip saddr @nobody") ==
        "condition: column 11: expected one of the sets that the program named: @blocklist, @six, @ports, not "
        "\"nobody\"");
  CHECK(read("ip6 saddr @blocklist") == "condition: column 12: this set holds values of another kind");
  CHECK(read("host foo.example.com") == "condition: column 6: expected an address, not \"foo.example.com\"");
  CHECK(read("tcp option 300 exists") ==
        "condition: column 12: expected the name of an option, or its number, not \"300\"");
  CHECK(read("tcp option maxseg") == "condition: column 18: expected exists, missing, or a field of it, not the end");
  CHECK(read("tcp host 10.0.0.1") ==
        "condition: column 1: \"tcp\" does not go with this: leave it away, or write \"tcp and ...\"");
  CHECK(read("ip6 host 10.0.0.1") == "condition: column 10: not an IPv6 address");
  const std::string alone =
      "a value without a field: several values of one stand in braces, { 10.0.0.1, 10.0.0.2 }";  // neither nft nor
                                                                                                 // tcpdump
  CHECK(read("ip saddr 10.0.0.0/8 192.0.2.0/24") == "condition: column 21: " + alone);
  CHECK(read("ip saddr 10.0.0.0/8 or 192.0.2.0/24") == "condition: column 24: " + alone);
  CHECK(read("src host 10.0.0.1 or ip ttl 5 or 10.0.0.2") == "condition: column 34: " + alone);
  CHECK(read("port 80 443") == "condition: column 9: " + alone);
  CHECK(read("ip 10.0.0.1") == "condition: column 4: " + alone);
  CHECK(read("src host 10.0.0.1 or 10.0.0.2") ==
        "ip saddr 10.0.0.1 or arp saddr ip 10.0.0.1 or ip saddr 10.0.0.2 or "
        "arp saddr ip 10.0.0.2");
  CHECK(read("not 10.0.0.1") == read("not host 10.0.0.1"));
  CHECK(read("ip broadcast") ==
        "condition: column 1: the netmask of ip broadcast is not known here: write ip daddr and the address");
  CHECK(read("tcp[tcpflags]") == "condition: column 14: expected a comparison, such as = 5, not the end");
  CHECK(read("ip[0:3] = 1") == "condition: column 6: fields have 1, 2 or 4 bytes");
  const std::string deep(100, '(');
  CHECK(read(deep.c_str()) == "condition: column 65: too many brackets or negations inside each other");
  CHECK(read((std::string(33, '!') + "tcp").c_str()) ==
        "condition: column 37: too many brackets or negations inside each other");
  std::string many = "ip id 0";
  for (int i = 1; i < 100; ++i) many += " or ip id " + std::to_string(i);
  CHECK(read(many.c_str()).find(": too many parts: put values into a set with a name, or make several rules of it") !=
        std::string::npos);
}

TEST_CASE("rules are read line by line") {
  const char* said =
      "# ssh from friends\n"
      "tcp dport 22 ip saddr @blocklist counter accept # here\n"
      "\n"
      "host 192.0.2.7 drop comment \"blocklist\"; meta mark 7 redirect 3\n"
      "udp dport 53 counter packets 7 bytes 9 drop comment \"a # in; quotes\"\r\n"
      "ip ttl 1 tx\n"
      "drop";
  const auto list = parse_rules(said, sets);
  REQUIRE(list.has_value());
  CHECK(list->size() == 6);
  CHECK(printed(*list) ==
        "tcp dport 22 ip saddr @blocklist accept\n"
        "ip saddr 192.0.2.7 drop comment \"blocklist\"\n"
        "ip daddr 192.0.2.7 drop comment \"blocklist\"\n"
        "arp saddr ip 192.0.2.7 drop comment \"blocklist\"\n"
        "arp daddr ip 192.0.2.7 drop comment \"blocklist\"\n"
        "meta mark 0x7 redirect 3\n"
        "udp dport 53 drop\n"
        "ip ttl 1 tx\n"
        "drop\n");
  constexpr literal_packet dns = make(4, eth, from_10_1_2_3, udp_to(53));
  CHECK((*list)(dns.as_subject()) == drop);
  CHECK(list->hits(3).packets == 1);
  CHECK(read_rules("") == "");
  CHECK(parse_rules("")->size() == 0);
}

TEST_CASE("rules are read into a list that is there, in place of its own; after an error it drops everything") {
  static constinit basic_rule_list<4, 16, 16> list;
  const auto first = load(list, "tcp dport { 22, 80 } accept\nudp dport 53 accept\ndrop\n");
  REQUIRE(first);
  CHECK(*first == 3);
  CHECK(list.fallback() == accept);
  const auto second = load(list, "tcp dport 23 drop; udp dpot 53 accept");
  REQUIRE_FALSE(second);
  CHECK(std::string_view{second.error().message()}.starts_with("rules: line 1, column "));
  text<200> out;
  print(out, list);
  CHECK(std::string_view{out.c_str()} == "drop\n");
}

TEST_CASE("an error in rules says the line and the column") {
  CHECK(read_rules("accept\n\ntcp dport 22 ip saddr foo accept\n") ==
        "rules: line 3, column 23: expected an IPv4 address, not \"foo\"");
  CHECK(read_rules("drop; tcp dport x drop") == "rules: line 1, column 17: expected a name or a number, not \"x\"");
  CHECK(read_rules("tcp dport 22") ==
        "rules: line 1, column 13: expected one of accept, drop, pass, tx, redirect, aborted, stolen, not the end");
  // Where a verdict may stand, a word that is none may be one that is misspelled.
  const std::string either =
      "expected a condition, such as tcp dport 22, or one of accept, drop, pass, tx, redirect, "
      "aborted, stolen, not \"acept\"";
  CHECK(read_rules("acept") == "rules: line 1, column 1: " + either);
  CHECK(read_rules("tcp dport 22 acept") == "rules: line 1, column 14: " + either);
  CHECK(read_rules("arp or host 10.0.0.1 acept") == "rules: line 1, column 22: " + either);
  CHECK(read_rules("tcp dport 22 counter acept") ==
        "rules: line 1, column 22: expected one of accept, drop, pass, tx, redirect, aborted, stolen, not \"acept\"");
  CHECK(read_rules("(arp acept) drop") ==
        "rules: line 1, column 6: expected a condition, such as tcp dport 22 or host 10.0.0.1, not \"acept\"");
  CHECK(read_rules("arp and acept") ==
        "rules: line 1, column 9: expected a condition, such as tcp dport 22 or host 10.0.0.1, not \"acept\"");
  CHECK(read_rules("tcp dport 22 accept drop") ==
        "rules: line 1, column 21: expected the end of the rule, not \"drop\"");
  CHECK(read_rules("redirect 70000") ==
        "rules: line 1, column 10: expected the number of a device, up to 65535, not \"70000\"");
  const auto few = parse_rules<basic_rule_list<2>>("accept\naccept\n accept\n");
  REQUIRE_FALSE(few.has_value());
  CHECK(std::string(few.error().message()) ==
        "rules: line 3, column 2: more rules than there is room for: parse_rules<basic_rule_list<N>>");
}

TEST_CASE("nft accepts what nft's words were understood as") {
  if (!runnel_test::can_ask_nft()) return;
  const char* said =
      "tcp dport { 22, 80-90 } accept\n"
      "ip saddr 10.0.0.0/8 tcp flags syn,ack accept\n"
      "tcp flags & (syn|ack) == syn ip saddr != @blocklist drop\n"
      "ip saddr { 10.0.0.0/8, 192.0.2.1 } udp sport @ports accept\n"
      "icmp type { echo-request, echo-reply } ip dscp ef accept\n"
      "icmpv6 type nd-neighbor-solicit counter accept\n"
      "tcp option maxseg size > 1400 tcp option sack-perm missing drop\n"
      "meta l4proto { tcp, udp } th dport domain meta mark & 0xff != 0x10 accept\n"
      "ip6 saddr { fe80::/10, ::1 } hbh nexthdr 58 exthdr frag missing drop\n"
      "host 192.0.2.1 and not udp accept\n"
      "ip src net 10/8 and (tcp port 80 or 443) drop\n"
      "drop\n";
  const auto list = parse_rules(said, sets);
  REQUIRE_MESSAGE(list.has_value(), std::string(list.error().message()));
  CHECK(runnel_test::nft_says("netdev", printed(*list)) == "");
}
