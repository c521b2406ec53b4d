// SPDX-License-Identifier: MIT
// expect: runnel: a way of this branch is not connected: add .on<way>(pipeline) for it
// and: by_length
// and: large
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
  auto inner = parse() | branch(by_length{})
                             .on<small>(discard)
#ifdef GOOD
                             .on<large>(discard)
#endif
      ;
  auto path = parse() | branch(by_length{}).on<large>(discard).on<small>(std::move(inner));
  run(attach(lan, path));
}
