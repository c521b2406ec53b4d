// SPDX-License-Identifier: MIT
// expect: runnel: a stage asks for network or transport headers, but the packet has not been parsed at this place
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
  auto path = uncounted |
#ifdef GOOD
              parse() |
#endif
              branch(by_length{}).on<small>([](udp) {} | discard).on<large>(discard);
  run(attach(lan, path));
}
