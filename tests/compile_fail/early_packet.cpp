// SPDX-License-Identifier: MIT
// expect: runnel: an early verdict asks for a packet, but there are only frames before the first stage that wants one
#include "around.hpp"

using namespace runnel;

void main_path(card& lan) {
#ifdef GOOD
  auto path = xdp([](frame&) { return drop; }) | discard;
#else
  auto path = xdp([](packet&) { return drop; }) | discard;
#endif
  run(attach(lan, path));
}
