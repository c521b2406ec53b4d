// SPDX-License-Identifier: MIT
// eBPF instructions are the bytes of RFC 9669, labels become offsets, and mistakes are errors.
#include <doctest/doctest.h>

#include <cstring>
#include <iterator>

#include <runnel/base/text.hpp>
#include <runnel/xdp/assembler.hpp>
#include <runnel/xdp/lower.hpp>
#include <runnel/xdp/print_instruction.hpp>

using namespace runnel;
using namespace runnel::bpf;

namespace {

// The instruction as RFC 9669 §3 lays it out for a little-endian program.
std::uint64_t encoded(const instruction& i) {
  return std::uint64_t{i.opcode} | static_cast<std::uint64_t>(i.dst()) << 8 |
         static_cast<std::uint64_t>(i.src()) << 12 | std::uint64_t{static_cast<std::uint16_t>(i.offset)} << 16 |
         std::uint64_t{static_cast<std::uint32_t>(i.imm)} << 32;
}

TEST_CASE("instructions have the opcodes of RFC 9669") {
  static assembler a;
  a.load(width::b, r0, r1, 12);
  a.load(width::dw, r2, r10, -8);
  a.store(width::h, r10, -2, r3);
  a.store(width::w, r10, -4, -1);
  a.alu(alu_op::add, r1, r2);
  a.alu(alu_op::and_, r1, 15);
  a.move(r4, std::uint64_t{7});
  a.move(r4, std::uint64_t{0xffff'ffff});
  a.move(r4, std::uint64_t{0x1'0000'0002});
  a.big_endian(r5, 16);
  a.call(helper::redirect_map);
  a.exit();
  const result<program, error> p = a.finish();
  REQUIRE(p);
  constexpr std::uint64_t expected[] = {
      0x0000'0000'000c'1071, 0x0000'0000'fff8'a279, 0x0000'0000'fffe'3a6b, 0xffff'ffff'fffc'0a62, 0x0000'0000'0000'210f,
      0x0000'000f'0000'0157, 0x0000'0007'0000'04b7, 0xffff'ffff'0000'04b4, 0x0000'0002'0000'0418, 0x0000'0001'0000'0000,
      0x0000'0010'0000'05dc, 0x0000'0033'0000'0085, 0x0000'0000'0000'0095};
  REQUIRE(p->size() == std::size(expected));
  for (std::size_t i = 0; i < p->size(); ++i) {
    CAPTURE(i);
    CHECK(encoded((*p)[i]) == expected[i]);
  }
}

TEST_CASE("a program prints as bpftool does") {
  static assembler a;
  const std::size_t m =
      a.add({.config = {.kind = map_kind::lpm_trie, .key_bytes = 8, .entries = 100, .name = "bogons"}});
  const label out = a.make_label(), again = a.make_label();
  a.place(again);
  a.load(width::b, r0, r1, 12);
  a.jump_if(jmp_op::jgt, r2, r3, out);
  a.jump_if(jmp_op::jset, r0, 4, again);
  a.big_endian(r0, 32);
  a.alu(alu_op::rsh, r0, 4);
  a.alu(alu_op::mov, r0, -1);
  a.move(r1, std::uint64_t{0xfedc'ba98'7654'3210});
  a.move(r1, std::uint64_t{0x8000'0000});
  a.load_map(r1, m);
  a.store(width::w, r10, -4, 32);
  a.store(width::dw, r10, -16, r1);
  a.call(helper::map_lookup_elem);
  a.jump(again);
  a.place(out);
  a.exit();
  const result<program, error> p = a.finish();
  REQUIRE(p);
  text<1024> seen;
  print(seen, *p);
  INFO(seen.c_str());
  CHECK(std::strcmp(seen.c_str(),
                    "map[0]: lpm_trie bogons, key 8 bytes, value 4 bytes, 100 entries\n"
                    "0: r0 = *(u8 *)(r1 + 12)\n"
                    "1: if r2 > r3 goto +13\n"
                    "2: if r0 & 4 goto -3\n"
                    "3: r0 = be32 r0\n"
                    "4: r0 >>= 4\n"
                    "5: r0 = -1\n"
                    "6: r1 = 0xfedcba9876543210 ll\n"
                    "8: w1 = 2147483648\n"
                    "9: r1 = map[0]\n"
                    "11: *(u32 *)(r10 - 4) = 32\n"
                    "12: *(u64 *)(r10 - 16) = r1\n"
                    "13: call bpf_map_lookup_elem#1\n"
                    "14: goto -15\n"
                    "15: exit\n") == 0);
  CHECK_FALSE(seen.truncated());
}

TEST_CASE("several jumps forward wait for one label") {
  static assembler a;
  const label out = a.make_label();
  for (int i = 0; i < 3; ++i) a.jump_if(jmp_op::jeq, r1, i, out);
  a.jump(out);
  a.place(out);
  a.exit();
  const result<program, error> p = a.finish();
  REQUIRE(p);
  for (std::size_t i = 0; i < 4; ++i) CHECK((*p)[i].offset == 3 - static_cast<int>(i));
}

TEST_CASE("instructions that no way leads to are left out") {
  static assembler a;
  const label never = a.make_label(), end = a.make_label();
  a.jump_if(jmp_op::jeq, r1, 0, end);
  a.exit();
  a.move(r0, std::uint64_t{1});
  a.jump_if(jmp_op::jne, r1, 0, never);
  a.load_map(r1, a.add({}));
  CHECK_FALSE(a.is_reachable());
  a.place(never);
  a.jump(never);
  CHECK_FALSE(a.is_reachable());
  a.place(end);
  CHECK(a.is_reachable());
  a.exit();
  const result<program, error> p = a.finish();
  REQUIRE(p);
  CHECK(p->size() == 3);
  CHECK((*p)[0].offset == 1);
}

TEST_CASE("what is wrong with a program is said, and nothing else happens") {
  const auto has = [](const assembler& a, const char* what) {
    const result<program, error> p = a.finish();
    return !p && std::strstr(p.error().message(), what) != nullptr;
  };
  static assembler a;
  SUBCASE("a label that was never placed") {
    a = {};
    a.jump(a.make_label());
    CHECK(has(a, "a jump to a label that was not placed"));
  }
  SUBCASE("a label placed twice") {
    a = {};
    const label l = a.make_label();
    a.place(l);
    a.place(l);
    CHECK(has(a, "a label is placed twice"));
  }
  SUBCASE("a label that this assembler has not made") {
    a = {};
    a.jump(label{});
    CHECK(has(a, "a label of another assembler"));
  }
  SUBCASE("too many instructions") {
    a = {};
    const label l = a.make_label();
    for (std::size_t i = 0; i <= program::max_instructions; ++i) a.jump_if(jmp_op::jne, r1, 0, l);
    a.move(r1, std::uint64_t{1} << 40);
    a.place(l);
    CHECK(has(a, "more than 4096 instructions"));
    CHECK(a.so_far().size() == program::max_instructions);
  }
  SUBCASE("too many labels") {
    a = {};
    for (std::size_t i = 0; i < assembler::max_labels; ++i) (void)a.make_label();
    CHECK(a.failure() == nullptr);
    CHECK(a.make_label().number == 0xffff);
    CHECK(has(a, "too many labels"));
  }
  SUBCASE("too many maps, and one that is not there") {
    a = {};
    a.load_map(r1, 0);
    CHECK(has(a, "there is no such map"));
    a = {};
    for (std::size_t i = 0; i <= program::max_maps; ++i) (void)a.add({});
    CHECK(has(a, "more than 32 maps"));
  }
  SUBCASE("an offset that does not fit") {
    a = {};
    a.load(width::b, r0, r1, 0x8000);
    CHECK(has(a, "an offset that does not fit into 16 bits"));
  }
  SUBCASE("no end") {
    a = {};
    a.move(r0, std::uint64_t{2});
    CHECK(has(a, "the program does not end in an exit"));
  }
  SUBCASE("nothing at all") {
    a = {};
    CHECK(has(a, "the program is empty"));
  }
}

// Assembling works in constant evaluation.
constexpr bool two_instructions() {
  assembler a;
  a.move(r0, std::uint64_t{2});
  a.exit();
  return a.failure() == nullptr && a.so_far().size() == 2 && a.so_far()[1].opcode == 0x95;
}
static_assert(two_instructions());

TEST_CASE("everything goes to the socket of its queue") {
  const result<program, error> p = lower(match::always{}, to_socket);
  REQUIRE(p);
  CHECK(p->map_count() == 1);
  CHECK(p->find(map_use::sockets) == 0);
  CHECK(p->find(map_use::counters) == 1);
  CHECK(p->rule_count() == 0);
}

}  // namespace
