// SPDX-License-Identifier: MIT
// expect: runnel: run() needs attachments
// and: attach(connections)
#include "around.hpp"

using namespace runnel;

void main_path(card& nic, manual_clock& time, timer_wheel& timers) {
#ifdef GOOD
  run(time, attach(nic, discard), attach(timers));
#else
  run(time, attach(nic, discard), timers);
#endif
}
