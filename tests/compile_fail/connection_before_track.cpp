// SPDX-License-Identifier: MIT
// expect: runnel: a handler asks for a connection, but none has been looked up at this place: put track() before it
#include "around.hpp"

using namespace runnel;

void main_path(card& lan) {
#ifdef GOOD
  auto path = parse() | [](packet&) {} | discard;
#else
  auto path = parse() | [](connection&) {} | discard;
#endif
  run(attach(lan, path));
}
