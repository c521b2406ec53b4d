// SPDX-License-Identifier: MIT
// Conditions on each field. In a file of their own, for they take long to compile.
#include <doctest/doctest.h>

#include <iterator>
#include <string>
#include <type_traits>
#include <vector>

#include <runnel/match/condition.hpp>

#include "all_fields.hpp"

using namespace runnel;
using runnel_test::for_all_fields;
using runnel_test::for_many_packets;

namespace {

// What is asked about a field, without its type.
template <class Key>
struct questions_about {
  const void* field;
  bool (*load)(const void* field, const subject&, Key&);
  void (*make)(const void* field, const Key&, condition (&)[3]);
  unsigned (*ask)(const void* field, const Key&, const subject&);  // what is right, a bit for each condition
};
template <class Key>
void check_field(const condition& is_zero, const questions_about<Key>& field) {
  // Values that the field has in some packet, and their neighbours.
  std::vector<Key> seen;
  for_many_packets(2, [&](const subject& s) {
    Key k{};
    if (field.load(field.field, s, k) && seen.size() < 6) seen.push_back(k);
  });
  text<> name;
  print(name, is_zero);
  CHECK_MESSAGE(!seen.empty(), "no packet has this field: ", std::string(name.c_str()));
  for (const Key& k : seen) {
    condition conditions[3];
    field.make(field.field, k, conditions);
    bool all_agree = true;
    for_many_packets(5, [&](const subject& s) {
      unsigned bits = 0;
      for (std::size_t i = 0; i < std::size(conditions); ++i) bits |= (conditions[i](s) ? 1u : 0u) << i;
      all_agree = all_agree && bits == field.ask(field.field, k, s);
    });
    CHECK(all_agree);
  }
}

}  // namespace

TEST_CASE("every field compares as it does in an expression, on good and on broken packets") {
  for_all_fields([](const auto& field) {
    using field_type = std::remove_cvref_t<decltype(field)>;
    using value = typename field_type::value_type;
    using key = match::key_t<value>;
    const questions_about<key> questions = {
        &field,
        [](const void* f, const subject& s, key& k) { return match::load(s, *static_cast<const field_type*>(f), k); },
        [](const void* f, const key& k, condition(&to)[3]) {
          const field_type& asked = *static_cast<const field_type*>(f);
          const value v = match::from_key<value>(k);
          to[0] = asked == v;
          to[1] = asked != v;
          to[2] = (asked & v) <= v;
        },
        [](const void* f, const key& k, const subject& s) {
          const field_type& asked = *static_cast<const field_type*>(f);
          const value v = match::from_key<value>(k);
          return ((asked == v)(s) ? 1u : 0u) | ((asked != v)(s) ? 2u : 0u) | (((asked & v) <= v)(s) ? 4u : 0u);
        }};
    check_field(field == value{}, questions);
  });
}
