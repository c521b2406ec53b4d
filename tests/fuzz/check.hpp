// SPDX-License-Identifier: MIT
// What a fuzz target says when something is not as it should be: aborting is how libFuzzer learns of it.
#ifndef TESTS_FUZZ_CHECK_HPP
#define TESTS_FUZZ_CHECK_HPP

#include <cstdio>
#include <cstdlib>

inline void check(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "not true: %s\n", what);
  std::abort();
}
#define CHECK(condition) check(condition, #condition)

#endif
