// SPDX-License-Identifier: MIT
// expect: runnel: a handler asks for a packet by value
// and: packet&
#include "around.hpp"

using namespace runnel;

void main_path(card& lan) {
#ifdef GOOD
  auto path = parse() | [](packet& p) { p.mark(1); } | discard;
#else
  auto path = parse() | [](packet p) { p.mark(1); } | discard;
#endif
  run(attach(lan, path));
}
