// SPDX-License-Identifier: MIT
// expect: runnel: an early verdict, xdp(...), must stand at the beginning of the pipeline
#include "around.hpp"

using namespace runnel;

void main_path(queue<drop_tail, 8>& q) {
#ifdef GOOD
  auto path = parse() | [](ipv4) { return drop; } | discard;
#else
  auto path = xdp([](ipv4) { return drop; }) | discard;
#endif
  run(attach(q, path));
}
