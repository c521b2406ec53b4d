// SPDX-License-Identifier: MIT
// expect: runnel: transmit() refers to the device, and this one would be gone
#include "around.hpp"

using namespace runnel;

void main_path(card& lan) {
#ifdef GOOD
  card wan;
  auto path = parse() | transmit(wan);
#else
  auto path = parse() | transmit(card{});
#endif
  run(attach(lan, path));
}
