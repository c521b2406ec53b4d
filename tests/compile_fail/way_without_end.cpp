// SPDX-License-Identifier: MIT
// expect: runnel: the pipeline on this way has no end: let it end in transmit(device)
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
                            .on<small>(parse() | [](ipv4) {}
#ifdef GOOD
                                       | discard
#endif
                                       )
                            .on<large>(discard);
  run(attach(lan, path));
}
