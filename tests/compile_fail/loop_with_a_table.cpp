// SPDX-License-Identifier: MIT
// expect: runnel: a loop needs attachments
// and: attach(connections)
#include "around.hpp"

using namespace runnel;

void main_path(card& nic, manual_clock& time, timer_wheel& timers) {
#ifdef GOOD
  loop work{time, attach(nic, discard), attach(timers)};
#else
  loop work{time, attach(nic, discard), timers};
#endif
  work.run();
}
