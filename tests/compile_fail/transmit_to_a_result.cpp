// SPDX-License-Identifier: MIT
// expect: runnel: transmit() needs a device that takes packets
#include "around.hpp"

#include <runnel/base/error.hpp>
#include <runnel/base/result.hpp>

using namespace runnel;

void main_path(card& lan, result<card, error>& wan) {
#ifdef GOOD
  auto path = parse() | transmit(*wan);
#else
  auto path = parse() | transmit(wan);
#endif
  run(attach(lan, path));
}
