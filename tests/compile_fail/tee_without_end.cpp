// SPDX-License-Identifier: MIT
// expect: runnel: the pipeline on this way has no end: let it end in transmit(device)
#include "around.hpp"

using namespace runnel;

void main_path(card& lan) {
#ifdef GOOD
  auto path = parse() | tee(parse() | discard) | discard;
#else
  auto path = parse() | tee(parse()) | discard;
#endif
  run(attach(lan, path));
}
