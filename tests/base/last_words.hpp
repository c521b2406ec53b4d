// SPDX-License-Identifier: MIT
// What a program says before an assertion ends it: in a child process.
#ifndef RUNNEL_TESTS_BASE_LAST_WORDS_HPP
#define RUNNEL_TESTS_BASE_LAST_WORDS_HPP

#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <string>

#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>

namespace runnel::test {

/// What a child that runs `f` writes to its standard error, and the signal that ends it; 0 when none does.
template <class F>
std::string last_words(F f, int& signal) {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const ::pid_t child = ::fork();
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
  for (::ssize_t n = 0; (n = ::read(ends[0], part, sizeof part)) > 0;) said.append(part, static_cast<std::size_t>(n));
  ::close(ends[0]);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  return said;
}

}  // namespace runnel::test

#endif
