// SPDX-License-Identifier: MIT
// Texts of conditions and rules: nothing crashes, an error says where it is, and what is understood is printed so that
// it is understood again, as the same tree.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <initializer_list>

#include <runnel/match.hpp>

#include "../match/same_tree.hpp"
#include "check.hpp"

using namespace runnel;
using runnel_test::same_tree;

namespace {

const hash_set_of<ipv4_address, 4> blocklist{"blocklist"};
const interval_set<std::uint16_t, 2> ports{"ports", range(1024, 65535)};
const prefix_set_of<ipv6_address, 4> nets6{"nets6"};
const match::set_reference sets[] = {blocklist, ports, nets6};

// What deciding relies on: jumps go forward, to nodes without children.
void check_jumps(const match::condition_view& c) {
  CHECK(c.size != 0 && !c.nodes[0].has_children());
  for (std::size_t i = 0; i < c.size; ++i) {
    const match::condition_node& n = c.nodes[i];
    if (n.has_children()) continue;
    for (const std::size_t to : {n.yes, n.no})
      CHECK(to >= match::condition_node::fails || (to > i && to < c.size && !c.nodes[to].has_children()));
  }
}

void check_condition(const char* said) {
  const auto first = parse_condition(said, sets);
  if (!first) {
    CHECK(std::strncmp(first.error().message(), "condition: column ", 18) == 0);
    return;
  }
  check_jumps(*first);
  static text<65536> printed, again;
  printed.clear();
  again.clear();
  print(printed, *first);
  const auto second = parse_condition(printed.c_str(), sets);
  if (!second) std::fprintf(stderr, "%s\n%s\n", printed.c_str(), second.error().message());
  CHECK(second.has_value());
  print(again, *second);
  if (!same_tree(*first, *second)) std::fprintf(stderr, "%s\n%s\n", printed.c_str(), again.c_str());
  CHECK(same_tree(*first, *second));
  CHECK(same_text(printed.c_str(), again.c_str()));
}
void check_rules(const char* said) {
  const auto first = parse_rules(said, sets);
  if (!first) {
    CHECK(std::strncmp(first.error().message(), "rules: line ", 12) == 0);
    return;
  }
  static text<262144> printed, again;
  printed.clear();
  again.clear();
  print(printed, *first);
  // A rule with "or" or "not" becomes several, perhaps too many; those are printed as they are.
  const auto second = parse_rules<basic_rule_list<1024, 8192>>(printed.c_str(), sets);
  if (!second && (std::strstr(second.error().message(), "more rules than") != nullptr ||
                  std::strstr(second.error().message(), "too many parts") != nullptr))
    return;
  if (!second) std::fprintf(stderr, "%s\n%s\n", printed.c_str(), second.error().message());
  CHECK(second.has_value());
  print(again, *second);
  if (!same_text(printed.c_str(), again.c_str())) std::fprintf(stderr, "%s\n%s\n", printed.c_str(), again.c_str());
  CHECK(same_text(printed.c_str(), again.c_str()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // Of exactly its size, so that the sanitizer sees one byte too far.
  auto* const said = static_cast<char*>(std::malloc(size + 1));
  std::memcpy(said, data, size);
  said[size] = '\0';
  check_condition(said);
  check_rules(said);
  std::free(said);
  return 0;
}
