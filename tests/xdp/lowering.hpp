// SPDX-License-Identifier: MIT
// What the tests of the lowering share: packets, conditions of all kinds, and the comparison of what a machine that
// runs programs says with what the library says.
#ifndef TESTS_XDP_LOWERING_HPP
#define TESTS_XDP_LOWERING_HPP

#include <algorithm>
#include <functional>
#include <initializer_list>
#include <string>
#include <type_traits>
#include <vector>

#include <doctest/doctest.h>

#include <runnel/base/random.hpp>
#include <runnel/base/text.hpp>
#include <runnel/match.hpp>
#include <runnel/wire/dissect.hpp>
#include <runnel/xdp/lower.hpp>

#include "../match/all_fields.hpp"
#include "hostile_packets.hpp"

namespace runnel_test {

using namespace runnel;
namespace ebpf = runnel::detail::ebpf;

using octets = std::vector<std::byte>;

// Frames of all kinds, cut at every length, or every few; and hostile ones. The kernel runs programs on 14 bytes at
// least.
inline std::vector<octets> make_packets(std::size_t hostile, std::uint64_t seed, std::size_t step = 1) {
  std::vector<octets> all;
  for (const octets& frame : frames_of_all_kinds())
    for (std::size_t n = frame.size(); n >= 14 && n <= frame.size(); n -= step)
      all.emplace_back(frame.begin(), frame.begin() + static_cast<long>(n));
  hostile_packets more(seed);
  for (std::size_t i = 0; i < hostile; ++i) all.push_back(more.next());
  return all;
}
// The same packets with more data: those of IP say so, if they said how long they were.
inline std::vector<octets> lengthened(std::vector<octets> packets, std::size_t size) {
  for (octets& p : packets) {
    if (p.size() < 60 || p.size() >= size) continue;
    const auto more = static_cast<unsigned>(size - p.size());
    const auto add = [&p](std::size_t at, unsigned n) {
      store_be16(p.data() + at, static_cast<std::uint16_t>(load_be16(p.data() + at) + n));
    };
    const unsigned type = load_be16(p.data() + 12), first = load_u8(p.data() + 14);
    const bool udp = load_u8(p.data() + (type == ethertype::ipv4 ? 23 : 20)) == 17;
    if (type == ethertype::ipv4) add(16, more);
    if (type == ethertype::ipv6) add(18, more);
    if (udp && type == ethertype::ipv4 && first == 0x45) add(38, more);
    if (udp && type == ethertype::ipv6) add(58, more);
    for (unsigned i = 0; i < more; ++i) p.push_back(static_cast<std::byte>(i));
  }
  return packets;
}
inline subject as_subject(const octets& packet) {
  const bytes b{packet.data(), packet.size()};
  return subject{b, dissect(b)};
}

// A program that tests up to 32 conditions, one after the other, and returns a bit for each.
inline constexpr int bits_at = -48;
inline bpf::program test_all(const condition* conditions, std::size_t n, bool has_frags) {
  static bpf::assembler a;
  a = {};
  if (has_frags) a.accept_frags();
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
  if (!p) FAIL(doctest::String(p.error().message()));
  return *p;
}

// Conditions collected until there are 32 of them, then asked about all packets, here and there.
// `Machine` has a static `load(program)`, and `run(packet)`.
template <class Machine>
class comparison {
 public:
  explicit comparison(const std::vector<octets>& packets, bool has_frags = false)
      : packets_(packets), has_frags_(has_frags) {}
  ~comparison() { flush(); }

  void add(const condition& c) {
    conditions_.push_back(c);
    if (conditions_.size() == 32) flush();
  }
  void flush() {
    if (conditions_.empty()) return;
    const Machine program = Machine::load(test_all(conditions_.data(), conditions_.size(), has_frags_));
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
  bool has_frags_;
  std::vector<condition> conditions_;
};

inline bool is_lowerable(const condition& c) {
  const match::condition_view v = c;
  for (std::size_t i = 0; i < v.size; ++i)
    if (ebpf::obstacle_in(v.nodes[i]) != ebpf::obstacle::none) return false;
  return true;
}

using take_condition = std::function<void(const condition&)>;

// A test of one operand with other values. Not by the types of expressions: they are many, and compiling them takes
// minutes.
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
template <class Key>
void for_all_tests(match::condition_node n, const Key& v, const Key& w, const take_condition& take) {
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
// What a field is without its type.
template <class Key>
struct untyped_field {
  const void* field;
  bool (*load)(const void* field, const subject&, Key&);
};
template <class Key>
void for_all_tests_of(const condition& equal, const untyped_field<Key>& field, const std::vector<octets>& packets,
                      std::size_t values, const take_condition& take) {
  if (!is_lowerable(equal)) return;
  const match::condition_node node = match::condition_view(equal).nodes[0];
  std::vector<Key> seen;
  for (std::size_t i = 0; i < packets.size() && seen.size() < values; ++i) {
    Key k{};
    if (!field.load(field.field, as_subject(packets[(i * 7919) % packets.size()]), k)) continue;
    if (std::find(seen.begin(), seen.end(), k) == seen.end()) seen.push_back(k);
  }
  const char* name = node.operand.is_meta ? match::name(node.operand.which) : node.operand.name;
  CHECK_MESSAGE(!seen.empty(), "no packet has this field: ", std::string(name));
  if (!seen.empty()) for_all_tests(node, seen.back(), seen.front(), take);
}
// The same for all fields and headers that can be lowered, with values that some packet has.
inline void for_all_leaves(const std::vector<octets>& packets, std::size_t values, const take_condition& take) {
  for_all_fields([&](const auto& field) {
    using field_type = std::remove_cvref_t<decltype(field)>;
    using value = typename field_type::value_type;
    using key = match::key_t<value>;
    const untyped_field<key> f = {&field, [](const void* what, const subject& s, key& k) {
                                    return match::load(s, *static_cast<const field_type*>(what), k);
                                  }};
    for_all_tests_of(field == value{}, f, packets, values, take);
  });
  for_all_headers([&](const auto& has_it) {
    const condition there = has_it;
    if (!is_lowerable(there)) return;
    take(there);
    take(!has_it);
  });
}

// One of them.
template <class T>
const T& any_of(const std::vector<T>& all, random_generator& random) {
  return all[static_cast<std::size_t>(random.below(all.size()))];
}

// A tree of tests.
inline condition random_tree(const std::vector<condition>& leaves, random_generator& random, unsigned depth) {
  if (depth == 0 || random.below(6) == 0) return any_of(leaves, random);
  const condition left = random_tree(leaves, random, depth - 1);
  if (random.below(4) == 0) return !left;
  const condition right = random_tree(leaves, random, depth - 1);
  if (random.below(2) == 0) return left && right;
  return left || right;
}

// What a program returns for a verdict: `enum xdp_action`.
inline std::uint32_t returned_for(const verdict& v) { return static_cast<std::uint32_t>(v.code); }

}  // namespace runnel_test

#endif
