// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <runnel/device/xdp_link.hpp>

#if defined(__linux__)

#include <signal.h>
#include <sys/wait.h>

#include <cstring>

#include "device/own_namespace.hpp"

using namespace runnel;

namespace {

// XDP_PASS for everything; none where this process may not use bpf(2), which is said.
result<bpf::loaded_program, error> pass_program() {
  ::bpf_insn i[2] = {};
  i[0].code = BPF_ALU64 | BPF_MOV | BPF_K;
  i[0].imm = 2;
  i[1].code = BPF_JMP | BPF_EXIT;
  auto p = bpf::loaded_program::load(i, 2);
  if (!p) MESSAGE("skipped: ", doctest::String(p.error().message()));
  return p;
}

constexpr int lo = 1;

std::uint32_t id_on_lo() {
  const auto now = bpf::attached(lo);
  REQUIRE(now);
  return now->id;
}

}  // namespace

TEST_CASE("a program is on an interface as long as its link is open") {
  const own_namespace inside;
  if (!inside) return;
  const auto program = pass_program();
  if (!program) return;
  CHECK(id_on_lo() == 0);
  {
    const auto link = bpf::xdp_link::attach(*program, "lo");
    REQUIRE(link);
    CHECK(link->mode() == bpf::xdp_mode::generic);  // the loopback driver has no XDP
    CHECK(same_text(name(link->mode()), "generic"));
    CHECK(link->attached());
    const auto now = bpf::attached(lo);
    REQUIRE(now);
    CHECK(now->id == program->id());
    CHECK(now->mode == bpf::xdp_mode::generic);
  }
  CHECK(id_on_lo() == 0);
}

TEST_CASE("native mode where the driver has none is an error that says what to do") {
  const own_namespace inside;
  if (!inside) return;
  const auto program = pass_program();
  if (!program) return;
  const auto link = bpf::xdp_link::attach(*program, "lo", {.mode = bpf::xdp_mode::native});
  REQUIRE_FALSE(link);
  CHECK(link.error().number() == EOPNOTSUPP);
  CHECK(std::strstr(link.error().message(), "xdp: attach to lo: ") == link.error().message());
  CHECK(std::strstr(link.error().message(), "mode generic") != nullptr);
}

TEST_CASE("where a program is already: an error with its id, or it is replaced when asked") {
  const own_namespace inside;
  if (!inside) return;
  const auto first = pass_program(), second = pass_program();
  if (!first || !second) return;
  const auto link = bpf::xdp_link::attach(*first, "lo");
  REQUIRE(link);
  const auto refused = bpf::xdp_link::attach(*second, "lo");
  REQUIRE_FALSE(refused);
  CHECK(refused.error().number() == EBUSY);
  text<256> expected;
  expected << "xdp: attach to lo: program id " << first->id()
           << " (generic) is attached already: pass .replace = true, or end the program that has attached it";
  CHECK(same_text(refused.error().message(), expected.c_str()));
  CHECK(id_on_lo() == first->id());
  {
    const auto other = bpf::xdp_link::attach(*second, "lo", {.replace = true});
    REQUIRE(other);
    CHECK(id_on_lo() == second->id());
    CHECK_FALSE(link->attached());
    CHECK(other->attached());
  }
  CHECK(id_on_lo() == 0);
}

TEST_CASE("a program that was attached without a link is replaced too") {
  const own_namespace inside;
  if (!inside) return;
  const auto first = pass_program(), second = pass_program();
  if (!first || !second) return;
  detail::xdp_request ask(RTM_SETLINK, NLM_F_ACK, lo);
  ask.begin_xdp();
  ask.add(IFLA_XDP_FD, static_cast<std::uint32_t>(first->fd()));
  ask.add(IFLA_XDP_FLAGS, XDP_FLAGS_SKB_MODE);
  REQUIRE(ask.send([](unsigned, std::uint32_t) {}) == 0);
  REQUIRE(id_on_lo() == first->id());
  const auto refused = bpf::xdp_link::attach(*second, "lo");
  REQUIRE_FALSE(refused);
  CHECK(std::strstr(refused.error().message(), "or detach it: ip link set dev lo xdpgeneric off") != nullptr);
  const auto link = bpf::xdp_link::attach(*second, "lo", {.replace = true});
  REQUIRE(link);
  CHECK(id_on_lo() == second->id());
}

TEST_CASE("a link takes another program without a moment between them") {
  const own_namespace inside;
  if (!inside) return;
  const auto first = pass_program(), second = pass_program();
  if (!first || !second) return;
  auto link = bpf::xdp_link::attach(*first, "lo");
  REQUIRE(link);
  CHECK(link->update(*second) == 0);
  CHECK(id_on_lo() == second->id());
}

TEST_CASE("a process that is killed leaves nothing attached") {
  const own_namespace inside;
  if (!inside) return;
  const auto program = pass_program();
  if (!program) return;
  int ready[2];
  REQUIRE(::pipe(ready) == 0);
  const ::pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const auto link = bpf::xdp_link::attach(*program, "lo");
    const char good = link ? 'y' : 'n';
    if (::write(ready[1], &good, 1) == 1) ::pause();
    ::_exit(1);
  }
  char good = 0;
  CHECK(::read(ready[0], &good, 1) == 1);
  CHECK(good == 'y');
  CHECK(id_on_lo() == program->id());
  ::kill(child, SIGKILL);
  int status = 0;
  CHECK(::waitpid(child, &status, 0) == child);
  CHECK(WIFSIGNALED(status));
  CHECK(id_on_lo() == 0);
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST_CASE("an interface that is not there is an error that lists those that are") {
  const own_namespace inside;
  if (!inside) return;
  const auto program = pass_program();
  if (!program) return;
  const auto link = bpf::xdp_link::attach(*program, "eth-none");
  REQUIRE_FALSE(link);
  CHECK(std::strstr(link.error().message(), "no such interface: there are lo") != nullptr);
  const auto nothing = bpf::attached(99);
  REQUIRE_FALSE(nothing);
  CHECK(nothing.error().number() == ENODEV);
}

#endif
