// SPDX-License-Identifier: MIT
// A process for a part of a test that cannot be undone: to give up root, to set limits, to filter system calls.
#ifndef TESTS_DEVICE_IN_CHILD_HPP
#define TESTS_DEVICE_IN_CHILD_HPP

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>

namespace runnel::test {

/// Runs in a child process, which then ends. What it returns is its exit status; 128 and more is a signal.
template <class F>
int in_child(F f) {
  const ::pid_t child = ::fork();
  if (child == 0) ::_exit(f());
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
/// Gives up root, and with it all capabilities; what the process has open may be looked at still.
inline bool become_nobody() { return ::setgid(65534) == 0 && ::setuid(65534) == 0 && ::prctl(PR_SET_DUMPABLE, 1) == 0; }

}  // namespace runnel::test

#endif
