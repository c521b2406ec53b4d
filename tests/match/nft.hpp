// SPDX-License-Identifier: MIT
// Shows rules to nft, where there is one.
#ifndef TESTS_MATCH_NFT_HPP
#define TESTS_MATCH_NFT_HPP

#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include <unistd.h>

#include <runnel/base/text.hpp>

namespace runnel_test {

// What nft says to a whole ruleset: nothing when it is right.
inline std::string nft_says(const std::string& ruleset) {
  char name[] = "/tmp/runnel-ruleset-XXXXXX";
  const int fd = mkstemp(name);
  REQUIRE(fd >= 0);
  REQUIRE(write(fd, ruleset.data(), ruleset.size()) == static_cast<ssize_t>(ruleset.size()));
  close(fd);
  runnel::text<> command;
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
// The same of a table with these rules.
inline std::string nft_says(const char* family, const std::string& rules_of_chain) {
  std::string table = "table ";
  table += family;
  table += " t {\n set blocklist { type ipv4_addr; }\n set ports { type inet_service; flags interval; }\n chain c {\n";
  table += rules_of_chain;
  table += " }\n}\n";
  return nft_says(table);
}
inline bool can_ask_nft() {
  if (geteuid() != 0) {
    std::puts("skipped: printed rules are not shown to nft: not root");
    return false;
  }
  if (std::system("command -v nft >/dev/null 2>&1 && unshare -n nft list ruleset >/dev/null 2>&1") != 0) {
    std::puts("skipped: printed rules are not shown to nft: no nft, or no network namespaces");
    return false;
  }
  return true;
}

}  // namespace runnel_test

#endif
