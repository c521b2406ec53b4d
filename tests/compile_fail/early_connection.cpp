// SPDX-License-Identifier: MIT
// expect: runnel: an early verdict asks for a connection, but connections are known only behind track()
#include "around.hpp"

using namespace runnel;

void main_path(card& lan) {
#ifdef GOOD
  auto path = xdp([](ipv4) { return drop; }) | discard;
#else
  auto path = xdp([](ipv4, connection&) { return drop; }) | discard;
#endif
  run(attach(lan, path));
}
