// SPDX-License-Identifier: MIT
// expect: runnel: xdp() needs a handler whose parameters are header views such as ipv4 or mut<udp>, frame&
#include "around.hpp"

using namespace runnel;

void main_path(card& lan) {
#ifdef GOOD
  auto path = xdp([](ipv4) {}) | discard;
#else
  auto path = xdp([](int) {}) | discard;
#endif
  run(attach(lan, path));
}
