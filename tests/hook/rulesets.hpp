// SPDX-License-Identifier: MIT
// Rule tables from text and as text.
#ifndef RUNNEL_TESTS_HOOK_RULESETS_HPP
#define RUNNEL_TESTS_HOOK_RULESETS_HPP

#include <string>

#include <doctest/doctest.h>

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
}  // namespace runnel::test

#endif
