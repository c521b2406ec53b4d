// SPDX-License-Identifier: MIT
// Conditions as eBPF instructions, behind the dissection: one test after the other, each with two ways to go on.
#ifndef RUNNEL_XDP_BPF_CONDITION_HPP
#define RUNNEL_XDP_BPF_CONDITION_HPP

#include <cstddef>  // size_t
#include <cstdint>  // int32_t, uint16_t, uint64_t

#include <runnel/match/condition_node.hpp>
#include <runnel/wire/address.hpp>
#include <runnel/xdp/assembler.hpp>
#include <runnel/xdp/bpf_locate.hpp>
#include <runnel/xdp/bpf_program.hpp>

namespace runnel::detail::ebpf {

using namespace bpf;

/// Where the keys of maps are put together on the stack, behind what the dissection left: a prefix length, 16 bytes of
/// key.
inline constexpr int key_at = -40, prefix_key_at = key_at - 4;

/// Writes the tests of conditions. What is compared is in r0, of an IPv6 address the upper half, the lower half in r1;
/// r2 to r5 are free.
class condition_writer {
  using op = alu_op;
  using jump = jmp_op;

 public:
  constexpr condition_writer(assembler& a, std::uint16_t iif) noexcept : a_(a), iif_(iif) {}

  /// Goes to one of two labels. The second is placed right behind.
  constexpr void write(const match::condition_view& c, label holds, label fails) noexcept {
    const label first = a_.make_labels(c.size);
    const auto at = [&](std::size_t i) { return label{static_cast<std::uint16_t>(first.number + i)}; };
    const auto where = [&](std::uint16_t place) {
      return place == match::condition_node::holds ? holds : place == match::condition_node::fails ? fails : at(place);
    };
    for (std::size_t i = 0; i < c.size; ++i) {
      const match::condition_node& n = c.nodes[i];
      if (n.has_children()) continue;
      std::size_t next = i + 1;
      while (next < c.size && c.nodes[next].has_children()) ++next;
      a_.place(at(i));
      test(c, n, {where(n.yes), where(n.no), next < c.size ? at(next) : fails});
    }
    a_.place(fails);
  }

 private:
  // Where to go on, and which of the two comes next anyway.
  struct ways {
    label yes, no, next;

    [[nodiscard]] constexpr ways turned() const noexcept { return {no, yes, next}; }
  };
  static constexpr bool same(label a, label b) noexcept { return a.number == b.number; }

  constexpr void test(const match::condition_view& c, const match::condition_node& n, ways to) noexcept {
    if (n.kind == match::node_kind::always) return go(to.yes, to.next);
    locate_writer place(a_, to.no);
    if (n.kind == match::node_kind::has) {
      place.find(n.operand.in_header, match::fixed_size(n.operand.in_header));
      return go(to.yes, to.next);
    }
    place.load(n.operand, iif_);
    if (n.operand.value == match::value_kind::ipv6) {
      if (n.operand.is_masked) {
        const ipv6_address mask = c.mask<ipv6_address>(n);
        and_with(r0, mask.high());
        and_with(r1, mask.low());
      }
      compare_addresses(c, n, n.inside ? to : to.turned());
    } else {
      if (n.operand.is_masked) and_with(r0, c.mask<std::uint64_t>(n));
      compare_numbers(c, n, n.inside ? to : to.turned());
    }
  }

  constexpr void compare_numbers(const match::condition_view& c, const match::condition_node& n, ways to) noexcept {
    const std::uint64_t first = n.values != 0 ? c.value<std::uint64_t>(n, 0) : 0;
    switch (n.kind) {
      case match::node_kind::comparison: return branch(jump_for(n.how), r0, first, to);
      case match::node_kind::in_range:
        if (c.value<std::uint64_t>(n, 1) < first) return go(to.no, to.next);
        if (first != 0) subtract(first);
        return branch(jump::jle, r0, c.value<std::uint64_t>(n, 1) - first, to);
      case match::node_kind::in_prefix: {
        const std::int32_t rest = n.operand.bits - n.length;
        // A prefix with bits behind its length has no addresses: what is left of one of the other family.
        if (rest > 63 ? first != 0 : first >> rest << rest != first) return go(to.no, to.next);
        if (rest > 63) return go(to.yes, to.next);
        if (rest != 0) a_.alu(op::rsh, r0, rest);
        return branch(jump::jeq, r0, first >> rest, to);
      }
      case match::node_kind::in_constants: return search(c, n, 0, n.values, to);
      case match::node_kind::in_set: return ask_set(n, to);
      default: return go(to.no, to.next);
    }
  }
  // The values rise: halves of halves, down to three that are tried one by one.
  constexpr void search(const match::condition_view& c, const match::condition_node& n, std::size_t from,
                        std::size_t end, ways to) noexcept {
    if (end - from <= 3) {
      for (std::size_t i = from; i < end; ++i) jump_if(jump::jeq, r0, c.value<std::uint64_t>(n, i), to.yes);
      return go(to.no, to.next);
    }
    const std::size_t middle = from + (end - from) / 2;
    const label upper = a_.make_label();
    jump_if(jump::jge, r0, c.value<std::uint64_t>(n, middle), upper);
    search(c, n, from, middle, {to.yes, to.no, upper});
    a_.place(upper);
    search(c, n, middle, end, to);
  }
  constexpr void compare_addresses(const match::condition_view& c, const match::condition_node& n, ways to) noexcept {
    const auto value = [&](std::size_t i) { return c.value<ipv6_address>(n, i); };
    switch (n.kind) {
      case match::node_kind::comparison: return compare_address(n.how, value(0), to);
      case match::node_kind::in_range: {
        const label not_below = a_.make_label();
        compare_address(match::relation::greater_equal, value(0), {not_below, to.no, not_below});
        a_.place(not_below);
        return compare_address(match::relation::less_equal, value(1), to);
      }
      case match::node_kind::in_prefix: {
        const std::int32_t length = n.length;
        const auto mask = match::prefix_mask<ipv6_address, 128>(n.length);
        if (!(match::key_and(value(0), mask) == value(0))) return go(to.no, to.next);
        if (length == 0) return go(to.yes, to.next);
        if (length <= 64) {
          if (length != 64) a_.alu(op::rsh, r0, 64 - length);
          return branch(jump::jeq, r0, value(0).high() >> (64 - length), to);
        }
        jump_if(jump::jne, r0, value(0).high(), to.no);
        if (length != 128) a_.alu(op::rsh, r1, 128 - length);
        return branch(jump::jeq, r1, value(0).low() >> (128 - length), to);
      }
      case match::node_kind::in_constants:
        for (std::size_t i = 0; i < n.values; ++i) {
          const label another = a_.make_label();
          compare_address(match::relation::equal, value(i), {to.yes, another, another});
          a_.place(another);
        }
        return go(to.no, to.next);
      case match::node_kind::in_set: return ask_set(n, to);
      default: return go(to.no, to.next);
    }
  }
  constexpr void compare_address(match::relation how, const ipv6_address& v, ways to) noexcept {
    switch (how) {
      case match::relation::not_equal: return compare_address(match::relation::equal, v, to.turned());
      case match::relation::equal: break;
      case match::relation::less:
      case match::relation::less_equal: jump_if(jump::jlt, r0, v.high(), to.yes); break;
      case match::relation::greater:
      case match::relation::greater_equal: jump_if(jump::jgt, r0, v.high(), to.yes); break;
    }
    jump_if(jump::jne, r0, v.high(), to.no);
    branch(jump_for(how), r1, v.low(), to);
  }

  // Is the value in a set? In a hash map under itself, as a number or in network order; in a trie by its prefix.
  constexpr void ask_set(const match::condition_node& n, ways to) noexcept {
    const bool is_trie = n.set.functions->kind == match::set_kind::prefix_set;
    const bool is_ipv6 = n.operand.value == match::value_kind::ipv6;
    if (is_ipv6) {
      a_.big_endian(r0, 64);
      a_.big_endian(r1, 64);
      a_.store(width::dw, r10, key_at + 8, r1);
    } else if (is_trie) {
      a_.big_endian(r0, 32);
    }
    a_.store(is_trie && !is_ipv6 ? width::w : width::dw, r10, key_at, r0);
    if (is_trie) a_.store(width::w, r10, prefix_key_at, n.set.functions->bits);
    a_.move(r2, r10);
    a_.alu(op::add, r2, is_trie ? prefix_key_at : key_at);
    a_.load_map(r1, map_of(n));
    a_.call(helper::map_lookup_elem);
    branch(jump::jne, r0, 0, to);
  }
  constexpr std::size_t map_of(const match::condition_node& n) noexcept {
    const std::size_t i = a_.so_far().find(n.set.set);
    if (i < a_.so_far().map_count()) return i;
    const bool is_trie = n.set.functions->kind == match::set_kind::prefix_set;
    const bool is_ipv6 = n.operand.value == match::value_kind::ipv6;
    const std::size_t capacity = n.set.functions->capacity(n.set.set);
    map_description m;
    m.config.kind = is_trie ? map_kind::lpm_trie : map_kind::hash;
    m.config.key_bytes = (is_ipv6 ? 16u : is_trie ? 4u : 8u) + (is_trie ? 4u : 0u);
    m.config.value_bytes = 1;
    m.config.entries = capacity > 0x7fff'ffff ? 0x7fff'ffff : static_cast<std::uint32_t>(capacity);
    m.config.name = n.set.name();
    m.set = n.set;
    return a_.add(m);
  }

  static constexpr jump jump_for(match::relation how) noexcept {
    switch (how) {
      case match::relation::equal: return jump::jeq;
      case match::relation::not_equal: return jump::jne;
      case match::relation::less: return jump::jlt;
      case match::relation::less_equal: return jump::jle;
      case match::relation::greater: return jump::jgt;
      case match::relation::greater_equal: break;
    }
    return jump::jge;
  }
  static constexpr jump opposite(jump j) noexcept {
    switch (j) {
      case jump::jeq: return jump::jne;
      case jump::jne: return jump::jeq;
      case jump::jlt: return jump::jge;
      case jump::jle: return jump::jgt;
      case jump::jgt: return jump::jle;
      default: return jump::jlt;
    }
  }
  // An immediate is extended with its sign.
  static constexpr bool is_immediate(std::uint64_t v) noexcept { return v <= 0x7fff'ffff; }
  constexpr void jump_if(jump j, reg what, std::uint64_t v, label l) noexcept {
    if (is_immediate(v)) return a_.jump_if(j, what, static_cast<std::int32_t>(v), l);
    a_.move(r2, v);
    a_.jump_if(j, what, r2, l);
  }
  constexpr void branch(jump j, reg what, std::uint64_t v, ways to) noexcept {
    if (same(to.yes, to.next)) return jump_if(opposite(j), what, v, to.no);
    jump_if(j, what, v, to.yes);
    go(to.no, to.next);
  }
  constexpr void go(label to, label next) noexcept {
    if (!same(to, next)) a_.jump(to);
  }
  constexpr void and_with(reg what, std::uint64_t mask) noexcept {
    if (is_immediate(mask)) return a_.alu(op::and_, what, static_cast<std::int32_t>(mask));
    a_.move(r2, mask);
    a_.alu(op::and_, what, r2);
  }
  constexpr void subtract(std::uint64_t v) noexcept {
    if (is_immediate(v)) return a_.alu(op::sub, r0, static_cast<std::int32_t>(v));
    a_.move(r2, v);
    a_.alu(op::sub, r0, r2);
  }

  assembler& a_;
  std::uint16_t iif_;
};

}  // namespace runnel::detail::ebpf

#endif
