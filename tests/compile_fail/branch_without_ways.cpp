// SPDX-License-Identifier: MIT
// expect: runnel: branch() needs a handler that returns ports<...>
#include "around.hpp"

using namespace runnel;

struct dns {};

void main_path(card& lan) {
#ifdef GOOD
  auto path = parse() | branch([](udp) -> ports<dns, other> { return dns{}; }).on<dns>(discard).on<other>(discard);
#else
  auto path = parse() | branch([](udp) { return 1; }).on<dns>(discard).on<other>(discard);
#endif
  run(attach(lan, path));
}
