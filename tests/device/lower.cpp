// SPDX-License-Identifier: MIT
// Conditions and rules decide the same in the kernel as here, for packets of all kinds: each goes through the generated
// program by BPF_PROG_TEST_RUN, and through the expression.
#include <algorithm>
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

#include "../match/all_fields.hpp"
#include "../xdp/hostile_packets.hpp"

#if defined(__linux__)

using namespace runnel;
namespace ebpf = runnel::detail::ebpf;

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
  MESSAGE("skipped: ", loaded.error().message());
  const int number = loaded.error().number();
  CHECK((number == EPERM || number == ENOSYS));
  return false;
}

using octets = std::vector<std::byte>;

// The kernel runs programs on 14 bytes at least.
std::vector<octets> make_packets(std::size_t hostile, std::uint64_t seed) {
  std::vector<octets> all;
  for (const octets& frame : runnel_test::frames_of_all_kinds())
    for (std::size_t n = 14; n <= frame.size(); ++n)
      all.emplace_back(frame.begin(), frame.begin() + static_cast<long>(n));
  runnel_test::hostile_packets more(seed);
  for (std::size_t i = 0; i < hostile; ++i) all.push_back(more.next());
  return all;
}
subject as_subject(const octets& packet) {
  const bytes b{packet.data(), packet.size()};
  return subject{b, dissect(b)};
}

// A program in the kernel, and its maps.
struct in_kernel {
  bpf::program_maps maps;
  bpf::loaded_program loaded;

  static in_kernel load(const bpf::program& p) {
    auto maps = bpf::program_maps::create(p);
    if (!maps) FAIL(maps.error().message());
    auto loaded = bpf::loaded_program::load(p, *maps, {.name = "test"});
    if (!loaded) {
      std::vector<char> screen(1 << 18);
      text_writer out(screen.data(), screen.size());
      print(out, p);
      FAIL(loaded.error().message(), "\n", screen.data());
    }
    return {static_cast<bpf::program_maps&&>(*maps), static_cast<bpf::loaded_program&&>(*loaded)};
  }
  std::uint32_t run(const octets& packet) const {
    const auto ran = loaded.test_run({packet.data(), packet.size()});
    if (!ran) FAIL(ran.error().message());
    return ran->verdict;
  }
};

// A program that tests up to 32 conditions, one after the other, and returns a bit for each.
constexpr int bits_at = -48;
bpf::program test_all(const condition* conditions, std::size_t n) {
  static bpf::assembler a;
  a = {};
  ebpf::dissection_writer::write_start(a);
  ebpf::dissection_writer dissection(a);
  dissection.write();
  a.store(bpf::width::w, bpf::r10, bits_at, 0);
  ebpf::condition_writer writer(a, 0);
  for (std::size_t i = 0; i < n; ++i) {
    const bpf::label holds = a.make_label(), fails = a.make_label(), behind = a.make_label();
    writer.write(conditions[i], holds, fails);
    a.jump(behind);
    a.place(holds);
    a.load(bpf::width::w, bpf::r0, bpf::r10, bits_at);
    a.alu(bpf::alu_op::or_, bpf::r0, static_cast<std::int32_t>(1u << i));
    a.store(bpf::width::w, bpf::r10, bits_at, bpf::r0);
    a.place(behind);
  }
  a.load(bpf::width::w, bpf::r0, bpf::r10, bits_at);
  a.exit();
  const auto p = a.finish();
  if (!p) FAIL(p.error().message());
  return *p;
}

// Conditions collected until there are 32 of them, then asked about all packets, here and there.
class comparison {
 public:
  explicit comparison(const std::vector<octets>& packets) : packets_(packets) {}
  ~comparison() { flush(); }

  void add(const condition& c) {
    conditions_.push_back(c);
    if (conditions_.size() == 32) flush();
  }
  void flush() {
    if (conditions_.empty()) return;
    const in_kernel program = in_kernel::load(test_all(conditions_.data(), conditions_.size()));
    for (const octets& packet : packets_) {
      const subject s = as_subject(packet);
      const std::uint32_t there = program.run(packet);
      std::uint32_t here = 0;
      for (std::size_t i = 0; i < conditions_.size(); ++i) here |= conditions_[i](s) ? 1u << i : 0u;
      held |= here != 0;
      ++asked;
      if (here == there) continue;
      if (++wrong <= 3) FAIL_CHECK(describe(packet, here ^ there, here));
    }
    conditions_.clear();
  }

  std::size_t wrong = 0, asked = 0;
  bool held = false;

 private:
  std::string describe(const octets& packet, std::uint32_t differs, std::uint32_t here) const {
    const auto i = static_cast<std::size_t>(__builtin_ctz(differs));
    const match::condition_view c = conditions_[i];
    text<1024> out;
    for (const std::byte b : packet) out.hex(std::to_integer<unsigned>(b), 2);
    out << "\ncondition " << std::uint64_t{i} << " of kind " << static_cast<unsigned>(c.nodes[0].kind) << " on "
        << (c.nodes[0].operand.name != nullptr ? c.nodes[0].operand.name : match::name(c.nodes[0].operand.which))
        << " is " << ((here >> i & 1u) != 0 ? "true" : "false") << " here";
    return out.c_str();
  }
  const std::vector<octets>& packets_;
  std::vector<condition> conditions_;
};

bool is_lowerable(const condition& c) {
  const match::condition_view v = c;
  for (std::size_t i = 0; i < v.size; ++i)
    if (ebpf::obstacle_in(v.nodes[i]) != ebpf::obstacle::none) return false;
  return true;
}

// A test of one operand with other values. Not by the types of expressions: they are many, and
// compiling them takes minutes.
template <class Key>
condition with(match::condition_node n, match::node_kind kind, std::vector<Key> values) {
  condition c;
  n.kind = kind;
  n.values = static_cast<std::uint16_t>(values.size() - (n.operand.is_masked ? 1u : 0u));
  const bool fits = c.build([&](auto& to) {
    to.add(n);
    for (const Key& v : values) to.add_key(v);
  });
  REQUIRE(fits);
  return c;
}
// Everything that can be asked about an operand, with two of its values.
template <class Key, class Take>
void for_all_tests(match::condition_node n, const Key& v, const Key& w, Take take) {
  using kind = match::node_kind;
  using match::relation;
  const Key low = match::key_less(v, w) ? v : w, high = match::key_less(v, w) ? w : v;
  for (const relation r : {relation::equal, relation::not_equal, relation::less, relation::less_equal,
                           relation::greater, relation::greater_equal}) {
    n.how = r;
    take(with<Key>(n, kind::comparison, {v}));
    n.operand.is_masked = true;
    take(with<Key>(n, kind::comparison, {w, match::key_and(v, w)}));
    n.operand.is_masked = false;
  }
  for (const bool inside : {true, false}) {
    n.inside = inside;
    take(with<Key>(n, kind::in_range, {low, high}));
    take(with<Key>(n, kind::in_constants, {low, high}));
    n.length = static_cast<std::uint8_t>(n.operand.bits * 2 / 3);
    Key prefix{};
    if constexpr (std::is_same_v<Key, ipv6_address>) prefix = match::key_and(v, match::prefix_mask<Key, 128>(n.length));
    else prefix = v >> (n.operand.bits - n.length) << (n.operand.bits - n.length);
    take(with<Key>(n, kind::in_prefix, {prefix}));
  }
}
// The same for all fields and headers that can be lowered, with values that some packet has.
template <class Take>
void for_all_leaves(const std::vector<octets>& packets, std::size_t values, Take take) {
  runnel_test::for_all_fields([&](const auto& field) {
    using value = typename std::remove_cvref_t<decltype(field)>::value_type;
    using key = match::key_t<value>;
    const condition equal = field == value{};
    const match::condition_node node = match::condition_view(equal).nodes[0];
    if (!is_lowerable(equal)) return;
    std::vector<key> seen;
    for (std::size_t i = 0; i < packets.size() && seen.size() < values; ++i) {
      key k{};
      if (!match::load(as_subject(packets[(i * 7919) % packets.size()]), field, k)) continue;
      if (std::find(seen.begin(), seen.end(), k) == seen.end()) seen.push_back(k);
    }
    const char* name = node.operand.is_meta ? match::name(node.operand.which) : node.operand.name;
    CHECK_MESSAGE(!seen.empty(), "no packet has this field: ", std::string(name));
    for (const key& k : seen) for_all_tests(node, k, seen.front(), take);
  });
  runnel_test::for_all_headers([&](const auto& has_it) {
    if (!is_lowerable(has_it)) return;
    take(has_it);
    take(!has_it);
  });
}

// The packets of the shipped capture.
std::vector<octets> captured() {
  std::string path = __FILE__;
  path.resize(path.size() - std::string("tests/device/lower.cpp").size());
  path += "examples/capture.pcap";
  auto memory = mapped_pool::open({.packets = 64});
  REQUIRE(memory);
  auto in = pcap_reader::open(path.c_str(), *memory);
  if (!in) FAIL(in.error().message());
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

// A tree of tests.
condition random_tree(const std::vector<condition>& leaves, random_generator& random, unsigned depth) {
  if (depth == 0 || random.below(6) == 0) return leaves[random.below(leaves.size())];
  const condition left = random_tree(leaves, random, depth - 1);
  if (random.below(4) == 0) return !left;
  const condition right = random_tree(leaves, random, depth - 1);
  if (random.below(2) == 0) return left && right;
  return left || right;
}

// What a program returns for a verdict: `enum xdp_action`.
std::uint32_t returned_for(const verdict& v) { return static_cast<std::uint32_t>(v.code); }

// All packets through the program and through the rules: the same verdicts, the same counters.
template <class Rules>
void same_verdicts(const Rules& policy, const std::vector<octets>& packets) {
  const auto p = bpf::lower(policy);
  if (!p) FAIL(p.error().message());
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
  std::size_t decided = 0;
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
  comparison c(packets);
  for_all_leaves(packets, 2, [&](const condition& leaf) { c.add(leaf); });
  c.flush();
  CHECK(c.held);
  CHECK(c.wrong == 0);
}

TEST_CASE("conditions that were read from text decide in the kernel as here") {
  if (!can_load_programs()) return;
  std::vector<octets> packets = make_packets(3000, 6);
  const std::vector<octets> real = captured();
  packets.insert(packets.end(), real.begin(), real.end());
  comparison c(packets);
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
    if (!p) FAIL(p.error().message());
    const in_kernel program = in_kernel::load(*p);
    for (std::size_t i = 0; i < packets.size() / 4; ++i) {
      const octets& packet = packets[random.below(packets.size())];
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
  const octets packet = runnel_test::frames_of_all_kinds().front();
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
