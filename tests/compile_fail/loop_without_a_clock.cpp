// SPDX-License-Identifier: MIT
// expect: runnel: a loop needs a clock before its attachments
// and: capture_clock
#include "around.hpp"

using namespace runnel;

void main_path(card& nic, [[maybe_unused]] manual_clock& time) {
#ifdef GOOD
  loop work{time, attach(nic, discard)};
#else
  loop work{attach(nic, discard)};
#endif
  work.run();
}
