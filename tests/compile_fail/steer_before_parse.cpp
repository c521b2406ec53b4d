// SPDX-License-Identifier: MIT
// expect: runnel: a stage asks for network or transport headers, but the packet has not been parsed at this place
#include "around.hpp"

using namespace runnel;

void main_path(card& lan, handoff& end) {
#ifdef GOOD
  run(attach(lan, parse() | steer(end) | discard));
#else
  run(attach(lan, steer(end) | discard));
#endif
}
