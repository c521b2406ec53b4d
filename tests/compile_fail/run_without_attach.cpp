// SPDX-License-Identifier: MIT
// expect: runnel: run() needs attachments
#include "around.hpp"

using namespace runnel;

void main_path(card& lan) {
  auto path = parse() | discard;
#ifdef GOOD
  run(attach(lan, path));
#else
  run(lan, path);
#endif
}
