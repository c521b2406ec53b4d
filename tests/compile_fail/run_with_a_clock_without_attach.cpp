// SPDX-License-Identifier: MIT
// expect: runnel: run() needs attachments
#include "around.hpp"

using namespace runnel;

void main_path(card& lan, capture_clock& time) {
  auto path = parse() | discard;
#ifdef GOOD
  run(time, attach(lan, path));
#else
  run(time, lan, path);
#endif
}
