// SPDX-License-Identifier: MIT
// expect: runnel: a branch that asks for headers needs a way for the packets without them: add the tag 'other'
#include "around.hpp"

using namespace runnel;

struct dns {};
struct web {};

void main_path(card& lan) {
#ifdef GOOD
  auto path = parse() | branch([](udp) -> ports<dns, web, other> { return dns{}; })
                            .on<dns>(discard).on<web>(discard).on<other>(discard);
#else
  auto path = parse() | branch([](udp) -> ports<dns, web> { return dns{}; }).on<dns>(discard).on<web>(discard);
#endif
  run(attach(lan, path));
}
