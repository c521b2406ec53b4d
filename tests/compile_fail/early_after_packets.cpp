// SPDX-License-Identifier: MIT
// expect: runnel: an early verdict, xdp(...), must stand at the beginning of the pipeline
#include "around.hpp"

using namespace runnel;

void main_path(card& lan) {
#ifdef GOOD
  auto path = xdp([](ipv4) { return drop; }) | parse() | discard;
#else
  auto path = parse() | xdp([](ipv4) { return drop; }) | discard;
#endif
  run(attach(lan, path));
}
