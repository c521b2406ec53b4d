// SPDX-License-Identifier: MIT
#include <cstring>

#include <doctest/doctest.h>

#include <runnel/base/endian.hpp>
#include <runnel/device/bpf.hpp>
#include <runnel/xdp/assembler.hpp>

#if defined(__linux__)

using namespace runnel;

namespace {

constexpr ::bpf_insn instruction(int code, unsigned to, unsigned from, int offset, int value) {
  ::bpf_insn i{};
  i.code = static_cast<__u8>(code);
  i.dst_reg = to & 15u;
  i.src_reg = from & 15u;
  i.off = static_cast<__s16>(offset);
  i.imm = value;
  return i;
}
constexpr ::bpf_insn leave = instruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
constexpr ::bpf_insn verdict_is(int v) { return instruction(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, v); }

// Whether this process may use bpf(2) at all; says so where it may not.
bool can_use_bpf() {
  const auto m = bpf::map::create({});
  if (m) return true;
  MESSAGE("skipped: ", doctest::String(m.error().message()));
  const int number = m.error().number();
  CHECK((number == EPERM || number == ENOSYS));
  return false;
}

}  // namespace

TEST_CASE("a program that is loaded runs on a packet, and says what the verdict was") {
  if (!can_use_bpf()) return;
  const ::bpf_insn drops[] = {verdict_is(1), leave};
  const auto p = bpf::loaded_program::load(drops, 2, {.name = "always drop"});
  REQUIRE(p);
  CHECK(p->id() != 0);
  std::byte in[60] = {}, out[100] = {};
  in[59] = std::byte{7};
  const auto ran = p->test_run({in, sizeof in}, {out, sizeof out}, 10);
  REQUIRE(ran);
  CHECK(ran->verdict == 1);
  CHECK(ran->length == 60);
  CHECK(out[59] == std::byte{7});
  const auto cut = p->test_run({in, sizeof in}, {out, 8});
  REQUIRE(cut);
  CHECK(cut->length == 60);
  const auto shorter = p->test_run({in, 13});
  REQUIRE_FALSE(shorter);
  CHECK(std::strstr(shorter.error().message(), "14 bytes") != nullptr);
}

TEST_CASE("a program that the verifier refuses is an error with the verifier's reason") {
  if (!can_use_bpf()) return;
  const ::bpf_insn no_verdict[] = {leave};
  const auto refused = bpf::loaded_program::load(no_verdict, 1, {.name = "no_verdict"});
  REQUIRE_FALSE(refused);
  INFO(doctest::String(refused.error().message()));
  CHECK(std::strstr(refused.error().message(), "bpf: load program no_verdict: ") != nullptr);
  CHECK(std::strstr(refused.error().message(), "R0 !read_ok") != nullptr);
  CHECK(refused.error().number() == EACCES);

  char log[4096];
  const auto again = bpf::loaded_program::load(no_verdict, 1, {.log = log, .log_size = sizeof log});
  REQUIRE_FALSE(again);
  CHECK(std::strstr(log, "R0 !read_ok") != nullptr);
  CHECK(std::strstr(log, "processed 1 insn") != nullptr);
}

TEST_CASE("an assembled program finds its maps") {
  if (!can_use_bpf()) return;
  bpf::assembler a;
  const std::size_t other = a.add({.config = {.entries = 1, .name = "other"}});
  const std::size_t counts = a.add({.config = {.value_bytes = 8, .entries = 3, .name = "counts"}});
  (void)other;
  const bpf::label none = a.make_label();
  a.store(bpf::width::w, bpf::r10, -4, 2);
  a.move(bpf::r2, bpf::r10);
  a.alu(bpf::alu_op::add, bpf::r2, -4);
  a.load_map(bpf::r1, counts);
  a.call(bpf::helper::map_lookup_elem);
  a.jump_if(bpf::jmp_op::jeq, bpf::r0, 0, none);
  a.load(bpf::width::dw, bpf::r1, bpf::r0, 0);
  a.alu(bpf::alu_op::add, bpf::r1, 1);
  a.store(bpf::width::dw, bpf::r0, 0, bpf::r1);
  a.place(none);
  a.move(bpf::r0, std::uint64_t{3});
  a.exit();
  const auto p = a.finish();
  REQUIRE(p);
  const auto maps = bpf::program_maps::create(*p);
  REQUIRE(maps);
  const auto loaded = bpf::loaded_program::load(*p, *maps);
  if (!loaded) FAIL(doctest::String(loaded.error().message()));
  const std::byte in[60] = {};
  const auto ran = loaded->test_run({in, sizeof in}, {}, 7);
  REQUIRE(ran);
  CHECK(ran->verdict == 3);
  const std::uint32_t last = 2;
  std::uint64_t count = 0;
  CHECK((*maps)[counts].look_up(&last, &count) == 0);
  CHECK(count == 7);
}

TEST_CASE("entries of a hash come and go, and a full one says so") {
  if (!can_use_bpf()) return;
  const auto m = bpf::map::create({.kind = bpf::map_kind::hash, .key_bytes = 6, .value_bytes = 8, .entries = 2});
  REQUIRE(m);
  const char a[] = "aaaaa", b[] = "bbbbb", c[] = "ccccc";
  std::uint64_t v = 41;
  CHECK(m->update(a, &v) == 0);
  ++v;
  CHECK(m->update(b, &v) == 0);
  CHECK(m->update(c, &v) == E2BIG);
  CHECK(m->look_up(a, &v) == 0);
  CHECK(v == 41);
  CHECK(m->erase(a) == 0);
  CHECK(m->erase(a) == ENOENT);
  CHECK(m->look_up(a, &v) == ENOENT);
  char key[6];
  CHECK(m->next_key(nullptr, key) == 0);
  CHECK(std::memcmp(key, b, 6) == 0);
  CHECK(m->next_key(b, key) == ENOENT);
}

TEST_CASE("the longest prefix of a trie is found") {
  if (!can_use_bpf()) return;
  const auto m = bpf::map::create({.kind = bpf::map_kind::lpm_trie, .key_bytes = 8, .value_bytes = 4, .entries = 10});
  REQUIRE(m);
  struct key {
    std::uint32_t length;
    std::uint8_t address[4];
  };
  const key ten{8, {10, 0, 0, 0}}, ten_one{16, {10, 1, 0, 0}}, host{32, {10, 1, 2, 3}}, other{32, {11, 1, 2, 3}};
  std::uint32_t v = 8;
  CHECK(m->update(&ten, &v) == 0);
  v = 16;
  CHECK(m->update(&ten_one, &v) == 0);
  CHECK(m->look_up(&host, &v) == 0);
  CHECK(v == 16);
  CHECK(m->look_up(&other, &v) == ENOENT);
}

TEST_CASE("a per-CPU array has a value for each processor that may ever be there") {
  const std::uint32_t n = bpf::possible_processors();
  if (n == 0) MESSAGE("skipped: the system does not say how many processors there may be");
  if (n == 0 || !can_use_bpf()) return;
  REQUIRE(n <= 4096);
  const auto m = bpf::map::create({.kind = bpf::map_kind::per_cpu_array, .value_bytes = 8, .entries = 3});
  REQUIRE(m);
  static std::uint64_t values[4097];
  for (std::uint32_t i = 0; i <= n; ++i) values[i] = i + 1;
  const std::uint32_t last = 2, beyond = 3;
  CHECK(m->update(&last, values) == 0);
  for (std::uint32_t i = 0; i <= n; ++i) values[i] = 0;
  CHECK(m->look_up(&last, values) == 0);
  for (std::uint32_t i = 0; i < n; ++i) CHECK(values[i] == i + 1);
  CHECK(values[n] == 0);
  CHECK(m->look_up(&beyond, values) == ENOENT);
}

TEST_CASE("a map that the kernel refuses is an error that names it") {
  if (!can_use_bpf()) return;
  const auto m = bpf::map::create({.kind = bpf::map_kind::array, .key_bytes = 5, .name = "odd keys"});
  REQUIRE_FALSE(m);
  CHECK(std::strstr(m.error().message(), "bpf: create map odd keys: ") != nullptr);
  CHECK(m.error().number() == EINVAL);
}

#endif
