// SPDX-License-Identifier: MIT
// expect: runnel: this stage stands after a branch: continue on its ways
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
  auto path = parse() | branch(by_length{}).on<small>(discard).on<large>(discard)
#ifndef GOOD
              | transmit(lan)
#endif
      ;
  run(attach(lan, path));
}
