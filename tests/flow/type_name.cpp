// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <runnel/base/text.hpp>
#include <runnel/flow/type_name.hpp>

using namespace runnel;

struct outside {};
template <class T>
struct of {
  struct inside {};
};
namespace {
struct hidden {};
}  // namespace

TEST_CASE("the name of a type is its last part, wherever the type is") {
  struct local {};
  static_assert(same_text(type_name<outside>(), "outside"));
  static_assert(same_text(type_name<hidden>(), "hidden"));
  static_assert(same_text(type_name<local>(), "local"));
  static_assert(same_text(type_name<of<hidden>>(), "of"));
  static_assert(same_text(type_name<of<of<int>>::inside>(), "inside"));
  static_assert(same_text(type_name<text<16>>(), "text"));
  CHECK(same_text(type_name<unsigned>(), "unsigned int"));
}
