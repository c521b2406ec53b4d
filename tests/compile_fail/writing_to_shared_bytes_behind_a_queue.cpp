// SPDX-License-Identifier: MIT
// expect: runnel: a stage writes to the packet's bytes, but they may be shared with a clone at this place: put unshare() before it
#include "around.hpp"

using namespace runnel;

void behind_a_queue(queue<drop_tail, 8>& q) {
  auto path = parse()
#ifdef GOOD
            | unshare()
#endif
            | [](mut<ipv4> ip) { ip.time_to_live(1); } | discard;
  run(attach(q, path));
}
