// SPDX-License-Identifier: MIT
// A network namespace for one test: only a loopback interface is there, and it is down. Gone again with the test.
#ifndef TESTS_DEVICE_OWN_NAMESPACE_HPP
#define TESTS_DEVICE_OWN_NAMESPACE_HPP

#include <doctest/doctest.h>

#include <fcntl.h>   // open
#include <sched.h>   // unshare, setns
#include <unistd.h>  // close

class own_namespace {
 public:
  own_namespace() noexcept : before_(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)) {
    entered_ = before_ >= 0 && ::unshare(CLONE_NEWNET) == 0;
    if (!entered_) MESSAGE("skipped: a network namespace of one's own needs root");
  }
  own_namespace(const own_namespace&) = delete;
  own_namespace& operator=(const own_namespace&) = delete;
  ~own_namespace() {
    if (entered_ && ::setns(before_, CLONE_NEWNET) != 0) FAIL_CHECK("the test cannot go back to its network namespace");
    if (before_ >= 0) ::close(before_);
  }
  explicit operator bool() const noexcept { return entered_; }

 private:
  int before_;
  bool entered_ = false;
};

#endif
