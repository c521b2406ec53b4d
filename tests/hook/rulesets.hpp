// SPDX-License-Identifier: MIT
// Rule tables as text, and what nft says to them.
#ifndef RUNNEL_TESTS_HOOK_RULESETS_HPP
#define RUNNEL_TESTS_HOOK_RULESETS_HPP

#include <cstdio>
#include <cstdlib>
#include <string>

#include <unistd.h>

#include <doctest/doctest.h>

#include <match/nft.hpp>

#include <runnel/hook.hpp>

namespace runnel::test {

using rules_for_test = static_rule_table<rule_table_config{}>;

inline std::string printed(const rule_table& t) {
  static text<65536> out;
  out.clear();
  print(out, t);
  return out.c_str();
}
inline std::string why_not(const char* said, const named_sets& sets = {}) {
  static rules_for_test t;
  const auto r = load(t, said, sets);
  CHECK(t->size() == (r ? *r : 0));
  return r ? "" : r.error().message();
}
// What nft says to a whole ruleset: nothing when it is right.
inline std::string nft_says_to_all(const std::string& ruleset) {
  char name[] = "/tmp/runnel-ruleset-XXXXXX";
  const int fd = mkstemp(name);
  REQUIRE(fd >= 0);
  REQUIRE(write(fd, ruleset.data(), ruleset.size()) == static_cast<ssize_t>(ruleset.size()));
  close(fd);
  text<> command;
  command << "unshare -n nft -c -f " << name << " 2>&1";
  std::FILE* pipe = popen(command.c_str(), "r");
  REQUIRE(pipe != nullptr);
  std::string said;
  char buffer[512];
  while (std::fgets(buffer, sizeof buffer, pipe) != nullptr) said += buffer;
  const bool good = pclose(pipe) == 0;
  unlink(name);
  return good ? "" : said + ruleset;
}

}  // namespace runnel::test

#endif
