// SPDX-License-Identifier: MIT
// expect: runnel: run() without a clock is for captures
// and: real_clock time; run(time, attach(...))
#include "around.hpp"

using namespace runnel;

struct network_card : card {
  int wait_handle();
};

void main_path(network_card& nic, manual_clock& time) {
#ifdef GOOD
  run(time, attach(nic, discard));
#else
  (void)time;
  run(attach(nic, discard));
#endif
}
