// SPDX-License-Identifier: MIT
// expect: runnel: this way is connected twice: each way has one .on<way>()
// and: small
#include "around.hpp"

using namespace runnel;

struct small {};
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
                            .on<small>(discard)
#endif
                            .on<large>(discard);
  run(attach(lan, path));
}
