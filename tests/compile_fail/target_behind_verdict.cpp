// SPDX-License-Identifier: MIT
// expect: runnel: no packet comes to a target behind a verdict: make the verdict the last one
#include "around.hpp"

#include <runnel/hook.hpp>

using namespace runnel;

void main_path(card& lan) {
#ifdef GOOD
  auto path = parse() | chain<prerouting>(rules(when(has<tcp>) >> set_mark(1) >> accept)) | discard;
#else
  auto path = parse() | chain<prerouting>(rules(when(has<tcp>) >> accept >> set_mark(1))) | discard;
#endif
  run(attach(lan, path));
}
