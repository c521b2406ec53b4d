// SPDX-License-Identifier: MIT
// expect: runnel: rules that do more than decide stand in a chain: chain<hook_point::forward>
#include "around.hpp"

#include <runnel/hook.hpp>

using namespace runnel;

void main_path(card& lan) {
#ifdef GOOD
  auto path = parse() | set_mark(5) | discard;
#else
  auto path = parse() | masquerade() | discard;
#endif
  run(attach(lan, path));
}
