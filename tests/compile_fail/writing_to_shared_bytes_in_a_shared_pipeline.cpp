// SPDX-License-Identifier: MIT
// expect: runnel: a stage writes to the packet's bytes, but they may be shared with a clone at this place: put unshare() before it
#include "around.hpp"

using namespace runnel;

void main_path(card& lan) {
  auto egress = parse() | [](mut<ipv4> ip) { ip.time_to_live(1); } | discard;
#ifdef GOOD
  auto path = parse() | tee(discard) | unshare() | shared(egress);
#else
  auto path = parse() | tee(discard) | shared(egress);
#endif
  run(attach(lan, path));
}
