// SPDX-License-Identifier: MIT
// A limit of open files that leaves room for some more, as long as it lives.
#ifndef TESTS_DEVICE_FEW_DESCRIPTORS_HPP
#define TESTS_DEVICE_FEW_DESCRIPTORS_HPP

#include <doctest/doctest.h>

#include <sys/resource.h>
#include <unistd.h>

struct few_descriptors {
  explicit few_descriptors(int more) {
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
    const int first_free = ::dup(0);
    REQUIRE(first_free >= 0);
    REQUIRE(::close(first_free) == 0);
    const ::rlimit few{static_cast<::rlim_t>(first_free + more), before.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &few) == 0);
  }
  ~few_descriptors() { ::setrlimit(RLIMIT_NOFILE, &before); }
  few_descriptors(const few_descriptors&) = delete;
  few_descriptors& operator=(const few_descriptors&) = delete;

  ::rlimit before{};
};

#endif
