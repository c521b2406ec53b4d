// SPDX-License-Identifier: MIT
// expect: runnel: shared() needs a pipeline
#include "around.hpp"

using namespace runnel;

void main_path(card& lan) {
#ifdef GOOD
  auto out = parse() | transmit(lan);
#else
  auto out = transmit(lan);
#endif
  run(attach(lan, parse() | shared(out)));
}
