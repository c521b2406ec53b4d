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

}  // namespace

TEST_CASE("every field and header that can be lowered compares in the kernel as here, on good and on hostile packets") {
  if (!can_load_programs()) return;
  const std::vector<octets> packets = make_packets(3000, 1);
  comparison c(packets);
  for_all_leaves(packets, 2, [&](const condition& leaf) { c.add(leaf); });
  c.flush();
  CHECK(c.held);
  CHECK(c.wrong == 0);
  MESSAGE(c.asked, " runs");
}

#endif
