// SPDX-License-Identifier: MIT
// expect: runnel: workers.run() needs a function that takes its worker
#include "around.hpp"

#include <runnel/device/workers.hpp>

using namespace runnel;

bool main_path(workers& crew) {
#ifdef GOOD
  return crew.run([](worker& self) { self.run(attach(self.rings(), discard)); }).has_value();
#else
  return crew.run([](worker self) { self.run(attach(self.rings(), discard)); }).has_value();
#endif
}
