// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <runnel/match.hpp>

#include <csignal>
#include <string>

#include <base/last_words.hpp>

using namespace runnel;
using runnel::test::last_words;

#if !defined(NDEBUG) && defined(__GLIBC__)
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
