// SPDX-License-Identifier: MIT
// expect: runnel: rules that do more than decide stand in a chain, and there is none before the first packet
#include "around.hpp"

#include <runnel/hook.hpp>

using namespace runnel;

void main_path(card& lan) {
#ifdef GOOD
  auto path = xdp(rules(when(tcp::dport == 22) >> accept)) | discard;
#else
  auto path = xdp(rules(when(tcp::dport == 22) >> set_mark(5))) | discard;
#endif
  run(attach(lan, path));
}
