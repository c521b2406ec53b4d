// SPDX-License-Identifier: MIT
// expect: runnel: enqueue() needs a queue with a name
#include "around.hpp"

using namespace runnel;

void main_path(card& lan) {
#ifdef GOOD
  queue<drop_head, 16> waiting;
  auto path = parse() | enqueue(waiting);
#else
  auto path = parse() | enqueue(queue<drop_head, 16>{});
#endif
  run(attach(lan, path));
}
