// SPDX-License-Identifier: MIT
// expect: runnel: rules that do more than decide are counted by their chain
#include "around.hpp"

#include <runnel/hook.hpp>

using namespace runnel;

void main_path(card& lan) {
#ifdef GOOD
  auto path = parse() | counted(rules(when(tcp::dport == 22) >> accept)) | discard;
#else
  auto path = parse() | counted(rules(when(tcp::dport == 22) >> set_mark(5))) | discard;
#endif
  run(attach(lan, path));
}
