// SPDX-License-Identifier: MIT
// expect: runnel: an early verdict, xdp(...), must stand at the beginning of the pipeline
#include "around.hpp"

using namespace runnel;

void main_path(card& lan) {
#ifdef GOOD
  auto rest = parse() | [](ipv4) { return drop; } | discard;
#else
  auto rest = xdp([](ipv4) { return drop; }) | discard;
#endif
  run(attach(lan, shared(rest)));
}
