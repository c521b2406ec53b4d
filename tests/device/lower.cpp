// SPDX-License-Identifier: MIT
// Conditions and rules decide the same in the kernel as here, for packets of all kinds: each goes through the generated
// program by BPF_PROG_TEST_RUN, and through the expression.
#include <cstring>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <runnel/base/text.hpp>
#include <runnel/device/bpf.hpp>
#include <runnel/device/mapped_pool.hpp>
#include <runnel/device/pcap_reader.hpp>
#include <runnel/match/parse_condition.hpp>
#include <runnel/xdp/lower.hpp>
#include <runnel/xdp/print_instruction.hpp>

#include "../xdp/lowering.hpp"

#if defined(__linux__)

using namespace runnel;
using namespace runnel_test;

namespace {

// Whether this process may load programs; says so where it may not.
bool can_load_programs() {
  bpf::assembler a;
  a.move(bpf::r0, std::uint64_t{2});
  a.exit();
  const auto p = a.finish();
  REQUIRE(p);
  const auto loaded = bpf::loaded_program::load(p->instructions(), p->size());
  if (loaded) return true;
  MESSAGE("skipped: ", doctest::String(loaded.error().message()));
  const int number = loaded.error().number();
  CHECK((number == EPERM || number == ENOSYS));
  return false;
}

// A program in the kernel, and its maps.
struct in_kernel {
  bpf::program_maps maps;
  bpf::loaded_program loaded;

  static in_kernel load(const bpf::program& p) {
    auto maps = bpf::program_maps::create(p);
    if (!maps) FAIL(doctest::String(maps.error().message()));
    auto loaded = bpf::loaded_program::load(p, *maps, {.name = "test"});
    if (!loaded) {
      std::vector<char> screen(1 << 18);
      text_writer out(screen.data(), screen.size());
      print(out, p);
      FAIL(doctest::String(loaded.error().message()), "\n", screen.data());
    }
    return {static_cast<bpf::program_maps&&>(*maps), static_cast<bpf::loaded_program&&>(*loaded)};
  }
  std::uint32_t run(const octets& packet) const {
    const auto ran = loaded.test_run({packet.data(), packet.size()});
    if (!ran) FAIL(doctest::String(ran.error().message()));
    return ran->verdict;
  }
};

// The packets of the shipped capture.
std::vector<octets> captured() {
  std::string path = __FILE__;
  path.resize(path.size() - std::string("tests/device/lower.cpp").size());
  path += "examples/capture.pcap";
  auto memory = mapped_pool::open({.packets = 64});
  REQUIRE(memory);
  auto in = pcap_reader::open(path.c_str(), *memory);
  if (!in) FAIL(doctest::String(in.error().message()));
  std::vector<octets> all;
  while (!in->done()) {
    frame frames[64];
    const std::size_t n = in->receive(64, instant{}, into_array(frames));
    for (std::size_t i = 0; i < n; ++i)
      if (frames[i].length >= 14) all.emplace_back(frames[i].data, frames[i].data + frames[i].length);
    in->memory().release(frames, n);
  }
  return all;
}

// All packets through the program and through the rules: the same verdicts, the same counters.
template <class Rules>
void same_verdicts(const Rules& policy, const std::vector<octets>& packets, const bpf::lower_options& options = {}) {
  const auto p = bpf::lower(policy, options);
  if (!p) FAIL(doctest::String(p.error().message()));
  const in_kernel program = in_kernel::load(*p);
  const auto here = counted(policy);
  std::size_t differ = 0;
  for (const octets& packet : packets) {
    const verdict v = here(as_subject(packet));
    if (program.run(packet) == returned_for(v)) continue;
    ++differ;
  }
  CHECK(differ == 0);
  const bpf::map& counters = program.maps[p->find(bpf::map_use::counters)];
  REQUIRE(p->rule_count() == Rules::size);
  std::vector<rule_counter> of_all(bpf::possible_processors());
  std::uint64_t decided = 0;
  for (std::uint32_t rule = 0; rule <= Rules::size; ++rule) {
    REQUIRE(counters.look_up(&rule, of_all.data()) == 0);
    rule_counter sum;
    for (const rule_counter& one : of_all) sum.packets += one.packets, sum.bytes += one.bytes;
    CAPTURE(rule);
    CHECK(sum.packets == here.hits(rule).packets);
    CHECK(sum.bytes == here.hits(rule).bytes);
    decided += sum.packets;
  }
  CHECK(decided == packets.size());
}

}  // namespace

TEST_CASE("every field and header that can be lowered compares in the kernel as here, on good and on hostile packets") {
  if (!can_load_programs()) return;
  const std::vector<octets> packets = make_packets(3000, 1);
  comparison<in_kernel> c(packets);
  for_all_leaves(packets, 2, [&](const condition& leaf) { c.add(leaf); });
  c.flush();
  CHECK(c.held);
  CHECK(c.wrong == 0);
}

TEST_CASE("packets in several buffers: the kernel decides and counts as here") {
  if (!can_load_programs()) return;
  const std::vector<octets> seen = make_packets(3000, 11, 3);
  std::vector<octets> packets = lengthened({seen.begin(), seen.begin() + 1000}, 9018);
  for (octets& p : packets)  // some of them cut in another buffer than the first
    if (p.size() == 9018 && (load_u8(p.data() + 40) & 3u) == 1)
      p.resize(std::size_t{3600} + load_u8(p.data() + 41) * 20u);
  comparison<in_kernel> c(packets, true);
  for_all_leaves(seen, 1, [&](const condition& leaf) { c.add(leaf); });
  c.add(meta::length > 3600 && has<udp>);
  c.flush();
  CHECK(c.held);
  CHECK(c.wrong == 0);
  same_verdicts(rules(when(meta::length > 8000) >> drop, when(udp::dport == 53) >> tx, when(has<tcp>) >> drop), packets,
                {.has_frags = true});
}

TEST_CASE("conditions that were read from text decide in the kernel as here") {
  if (!can_load_programs()) return;
  std::vector<octets> packets = make_packets(3000, 6);
  const std::vector<octets> real = captured();
  packets.insert(packets.end(), real.begin(), real.end());
  comparison<in_kernel> c(packets);
  for (const char* words : {
           "tcp port 80",
           "host 10.0.0.1 and not arp",
           "net 10/8",
           "vlan",
           "icmp6",
           "ip6",
           "udp src port 53 or udp dst port 53",
           "ether host 02:02:02:02:02:02",
           "portrange 20-80",
           "less 60",
           "not (ip or ip6 or arp)",
           "tcp dport { 22, 80-90 } ip saddr 10.0.0.0/8",
           "meta l4proto { tcp, udp } th dport != 53",
           "icmp type echo-request",
           "tcp flags & (syn|ack) == syn",
           "ip6 saddr 2000::/7 ip6 hoplimit 1-64",
           "vlan id 1-4000 meta protocol ip6",
           "ether type 0x88cc",
           "proto 47",
           "greater 100 and multicast",
       }) {
    CAPTURE(words);
    const auto read = parse_condition(words);
    if (!read) FAIL_CHECK(read.error().message());
    else if (!is_lowerable(*read)) FAIL_CHECK("is not lowerable");
    else c.add(*read);
  }
  c.flush();
  CHECK(c.wrong == 0);
}

TEST_CASE("random conditions decide in the kernel as here") {
  if (!can_load_programs()) return;
  const std::vector<octets> packets = make_packets(4000, 2);
  std::vector<condition> leaves;
  for_all_leaves(packets, 2, [&](const condition& leaf) { leaves.push_back(leaf); });
  random_generator random(3);
  std::size_t held = 0, differ = 0;
  for (int round = 0; round < 40; ++round) {
    const condition take = random_tree(leaves, random, 5);
    const auto p = bpf::lower(take, drop, tx);
    if (!p) FAIL(doctest::String(p.error().message()));
    const in_kernel program = in_kernel::load(*p);
    for (std::size_t i = 0; i < packets.size() / 4; ++i) {
      const octets& packet = any_of(packets, random);
      const bool here = take(as_subject(packet));
      held += here;
      differ += program.run(packet) != returned_for(here ? verdict(drop) : tx);
    }
  }
  CHECK(held > 1000);
  CHECK(differ == 0);
}

TEST_CASE("policies decide and count in the kernel as here, on hostile packets and on the shipped capture") {
  if (!can_load_programs()) return;
  std::vector<octets> packets = make_packets(6000, 4);
  const std::vector<octets> real = captured();
  CHECK(real.size() > 800);
  packets.insert(packets.end(), real.begin(), real.end());
  const auto syn_fin = tcp_flags::syn | tcp_flags::fin;
  SUBCASE("those of the filter example") {
    same_verdicts(rules(when(ip::saddr.in(net("127.0.0.0/8")) || ip::saddr.in(net("224.0.0.0/4"))) >>
                        drop(drop_reason::blocklist)),
                  packets);
    same_verdicts(rules(when(has<arp>) >> accept, when(icmpv6::type.in(range(133, 137))) >> accept,
                        when((tcp::flags & syn_fin) == syn_fin) >> drop,
                        when(th::dport == 23 || th::sport == 23) >> drop(drop_reason::blocklist),
                        when(udp::dport.in(constant_set{1900, 5201})) >> drop,
                        when(ip::ttl == 0 || ip6::hoplimit == 0) >> drop, otherwise >> accept),
                  packets);
  }
  SUBCASE("with sets of all kinds") {
    static prefix_set_of<ipv4_address, 8> four("four");
    static prefix_set_of<ipv6_address, 8> six("six");
    static hash_set_of<ipv4_address, 8> hosts("hosts");
    static hash_set_of<ipv6_address, 8> hosts6("hosts six");
    static hash_set_of<std::uint16_t, 8> ports("ports");
    static hash_set_of<std::uint32_t, 8> lengths("lengths");
    static hash_set_of<mac_address, 8> macs("macs");
    REQUIRE(four.insert(net("10.0.0.0/9")));
    REQUIRE(four.insert(net("192.0.0.1/32")));
    REQUIRE(six.insert(net("2000::/7")));
    REQUIRE(six.insert(net("fe00::2/128")));
    REQUIRE(hosts.insert(addr4("10.0.0.1")));
    REQUIRE(hosts.insert(addr4("254.0.0.2")));
    REQUIRE(hosts6.insert(addr6("2000::1")));
    REQUIRE(hosts6.insert(addr6("fe00::2")));
    REQUIRE(ports.insert(53));
    REQUIRE(ports.insert(80));
    REQUIRE(lengths.insert(60));
    REQUIRE(macs.insert(mac("02:02:02:02:02:02")));
    REQUIRE(macs.insert(mac("02:00:00:00:00:01")));
    same_verdicts(
        rules(when(ip::saddr.in(hosts)) >> tx, when(ip6::daddr.in(hosts6)) >> tx,
              when(ether::saddr.in(macs) && th::dport.not_in(ports)) >> drop, when(meta::length.in(lengths)) >> aborted,
              when(arp::saddr_ip.in(hosts)) >> drop, when(ip::saddr.in(four) && !(ip::daddr.in(four))) >> drop,
              when(ip6::saddr.not_in(six)) >> aborted, when(udp::dport.in(ports)) >> tx,
              when((ip::daddr & ipv4_address{255, 0, 0, 255}).in(four)) >> drop),
        packets);
    prefix_set<ipv4_address>& all = four;
    all.clear();
    REQUIRE(all.insert(net("0.0.0.0/0")));
    same_verdicts(rules(when(ip::saddr.in(four)) >> drop), packets);
  }
  SUBCASE("one for everything, and none") {
    same_verdicts(rules(otherwise >> drop), packets);
    same_verdicts(rules(), packets);
    same_verdicts(rules(when(has<ethernet> && !has<ethernet>) >> drop, otherwise >> tx), packets);
  }
}

TEST_CASE("a packet is redirected to what stands in the map, and goes the other way where nothing does") {
  if (!can_load_programs()) return;
  const octets packet = frames_of_all_kinds().front();
  constexpr std::uint32_t dropped = 1, passed = 2, redirected = 4;
  const auto sockets = bpf::lower(tcp::dport == 22, bpf::to_socket, drop);
  REQUIRE(sockets);
  CHECK(in_kernel::load(*sockets).run(packet) == passed);  // no socket is there
  const auto devices = bpf::lower(rules(when(tcp::dport == 22) >> redirect(3)));
  REQUIRE(devices);
  const in_kernel program = in_kernel::load(*devices);
  CHECK(program.run(packet) == dropped);
  const std::uint32_t at = 3, lo = 1;
  REQUIRE(program.maps[devices->find(bpf::map_use::devices)].update(&at, &lo) == 0);
  CHECK(program.run(packet) == redirected);
}

TEST_CASE("as many rules as a program holds pass the verifier; more are an error") {
  if (!can_load_programs()) return;
  static basic_rule_list<256> many;
  const std::vector<octets> packets = make_packets(200, 5);
  many.clear();
  std::size_t n = 0;
  for (; n < many.capacity; ++n) {
    const auto i = static_cast<unsigned>(n);
    const condition c = (tcp::dport == i && ip::saddr != ipv4_address{i}) || (udp::sport > 65000u - i && has<ipv6>);
    REQUIRE(many.add(c, n % 2 == 0 ? verdict(drop) : tx));
    if (!bpf::lower(many)) break;
  }
  CHECK(n > 50);
  REQUIRE(n < many.capacity);
  const auto refused = bpf::lower(many);
  REQUIRE_FALSE(refused);
  CHECK(std::strstr(refused.error().message(), "more than 4096 instructions") != nullptr);
  static basic_rule_list<256> fits;
  fits.clear();
  for (std::size_t i = 0; i < n; ++i) REQUIRE(fits.add(many[i].condition, many[i].target));
  const auto p = bpf::lower(fits);
  REQUIRE(p);
  const in_kernel program = in_kernel::load(*p);
  std::size_t differ = 0;
  for (const octets& packet : packets) differ += program.run(packet) != returned_for(fits(as_subject(packet)));
  CHECK(differ == 0);
}

#endif
