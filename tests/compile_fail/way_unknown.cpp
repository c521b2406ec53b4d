// SPDX-License-Identifier: MIT
// expect: runnel: this branch has no such way: .on<way>() takes one of the tags in its list
// and: medium
#include "around.hpp"

using namespace runnel;

struct small {};
struct medium {};
struct large {};
struct by_length {
  using ways = ports<small, large>;
  ways operator()(packet& p) const {
    if (p.length() < 100) return small{};
    return large{};
  }
};

void main_path(card& lan) {
  auto path = parse() | branch(by_length{})
                            .on<small>(discard)
#ifndef GOOD
                            .on<medium>(discard)
#endif
                            .on<large>(discard);
  run(attach(lan, path));
}
