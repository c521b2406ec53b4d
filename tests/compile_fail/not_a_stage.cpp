// SPDX-License-Identifier: MIT
// expect: runnel: this is not a stage. A stage is a handler whose parameters are header views
#include "around.hpp"

using namespace runnel;

void main_path(card& lan) {
#ifdef GOOD
  auto path = parse() | [](ipv4) {} | discard;
#else
  auto path = parse() | [](int) {} | discard;
#endif
  run(attach(lan, path));
}
