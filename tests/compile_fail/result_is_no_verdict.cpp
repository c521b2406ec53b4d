// SPDX-License-Identifier: MIT
// expect: runnel: this is not a stage. A stage is a handler
// and: which returns a verdict or nothing
#include "around.hpp"

using namespace runnel;

void main_path(card& lan) {
#ifdef GOOD
  auto path = parse() | [](ipv4 ip) { return ip.time_to_live() > 1 ? pass : drop; } | discard;
#else
  auto path = parse() | [](ipv4 ip) { return ip.time_to_live() > 1; } | discard;
#endif
  run(attach(lan, path));
}
