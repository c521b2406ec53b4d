// SPDX-License-Identifier: MIT
// expect: runnel: this pipeline has no end: let it end in transmit(device), deliver(handler), enqueue(queue)
#include "around.hpp"

using namespace runnel;

void main_path(card& lan) {
  auto path = parse() | [](ipv4) {}
#ifdef GOOD
              | discard
#endif
      ;
  run(attach(lan, path));
}
