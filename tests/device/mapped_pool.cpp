// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <runnel/device.hpp>
#include <runnel/packet.hpp>

#if defined(__unix__)

#include <csignal>
#include <cstdlib>
#include <optional>
#include <string>

#include <sys/wait.h>
#include <unistd.h>

using namespace runnel;

namespace {

// A table or queue that is destroyed behind the pool, as a static one is behind that of a device in main().
void hold_a_packet_for_too_long() {
  std::optional<packet> held;
  {
    auto memory = mapped_pool::open({.packets = 4});
    if (!memory) return;
    held.emplace(memory->get().allocate());
  }
  held.reset();
}

}  // namespace

#if defined(NDEBUG)
TEST_CASE("a packet that comes home when its pool is gone finds the memory still there") {
  hold_a_packet_for_too_long();
}
#else
TEST_CASE("a pool that goes before one of its packets says who may hold it") {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    std::signal(SIGABRT, SIG_DFL);  // not the handler of the tests
    ::dup2(ends[1], STDERR_FILENO);
    hold_a_packet_for_too_long();
    std::_Exit(0);
  }
  ::close(ends[1]);
  std::string said;
  char part[256];
  for (::ssize_t n = 0; (n = ::read(ends[0], part, sizeof part)) > 0;) said.append(part, static_cast<std::size_t>(n));
  ::close(ends[0]);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFSIGNALED(status));
#if defined(__GLIBC__)
  CHECK(said.find("tables and queues hold some") != std::string::npos);
#endif
}
#endif

#endif
