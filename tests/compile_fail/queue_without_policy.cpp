// SPDX-License-Identifier: MIT
// expect: runnel: a queue says what happens when it is full: queue<drop_tail, n>, queue<drop_head, n> or
#include "around.hpp"

using namespace runnel;

struct wait {};

void main_path(card& lan) {
#ifdef GOOD
  static queue<hold, 16> q;
#else
  static queue<wait, 16> q;
#endif
  run(attach(lan, enqueue(q)), attach(q, discard));
}
