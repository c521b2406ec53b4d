// SPDX-License-Identifier: MIT
// expect: delete
// and: clone()
// and: copy()
#include "around.hpp"

using namespace runnel;

void keep(packet& p) {
#ifdef GOOD
  packet mine = p.clone();
#else
  packet mine = p;
#endif
}
