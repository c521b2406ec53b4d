// SPDX-License-Identifier: MIT
// expect: runnel: this stage stands after an end: transmit, deliver, enqueue, discard and shared take ownership
#include "around.hpp"

using namespace runnel;

void main_path(card& lan) {
#ifdef GOOD
  auto path = parse() | [](ipv4) {} | transmit(lan);
#else
  auto path = parse() | transmit(lan) | [](ipv4) {};
#endif
  run(attach(lan, path));
}
