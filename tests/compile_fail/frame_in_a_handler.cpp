// SPDX-License-Identifier: MIT
// expect: runnel: a handler asks for a frame, but there are only packets at this place: ask for packet&
#include "around.hpp"

using namespace runnel;

void main_path(card& lan) {
#ifdef GOOD
  auto path = parse() | [](packet&) {} | discard;
#else
  auto path = parse() | [](frame&) {} | discard;
#endif
  run(attach(lan, path));
}
