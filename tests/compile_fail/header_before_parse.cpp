// SPDX-License-Identifier: MIT
// expect: runnel: a stage asks for network or transport headers, but the packet has not been parsed at this place
// and: put parse() before it
#include "around.hpp"

using namespace runnel;

void main_path(card& lan) {
  auto path = uncounted | [](packet&) {} |
#ifdef GOOD
              parse() |
#endif
              [](udp) {} | discard;
  run(attach(lan, std::move(path)));
}
