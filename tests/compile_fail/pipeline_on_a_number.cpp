// SPDX-License-Identifier: MIT
// expect: runnel: attach() needs a device that receives, or a queue
#include "around.hpp"

using namespace runnel;

void main_path(card& lan) {
  int number = 1;
#ifdef GOOD
  run(attach(lan, parse() | discard));
#else
  run(attach(number, parse() | discard));
#endif
  (void)number, (void)lan;
}
