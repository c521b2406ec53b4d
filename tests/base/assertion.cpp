// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <runnel/match.hpp>

#include <csignal>
#include <cstdlib>
#include <string>

#include <sys/wait.h>
#include <unistd.h>

using namespace runnel;

#if !defined(NDEBUG) && defined(__GLIBC__)
namespace {

// What a child that runs `f` writes to its standard error, and the signal that ends it.
template <class F>
std::string last_words(F f, int& signal) {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    std::signal(SIGABRT, SIG_DFL);  // not the handler of the tests
    ::dup2(ends[1], STDERR_FILENO);
    f();
    std::_Exit(0);
  }
  ::close(ends[1]);
  std::string said;
  char part[256];
  for (ssize_t n = 0; (n = ::read(ends[0], part, sizeof part)) > 0;) said.append(part, static_cast<std::size_t>(n));
  ::close(ends[0]);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  return said;
}

}  // namespace

TEST_CASE("a failed assertion says what was wrong, before the program ends") {
  volatile unsigned port = 65616;
  int signal = 0;
  const std::string said = last_words([&port] { (void)rules(when(tcp::dport == unsigned{port}) >> drop); }, signal);
  CHECK(signal == SIGABRT);
  CHECK(said.find("runnel: this value does not fit into the field") != std::string::npos);

  port = 90;
  const std::string range_said =
      last_words([&port] { (void)rules(when(tcp::dport.in(range(unsigned{port}, 80u))) >> drop); }, signal);
  CHECK(signal == SIGABRT);
  CHECK(range_said.find("runnel: the first value of this range is above its last") != std::string::npos);
}
#endif
