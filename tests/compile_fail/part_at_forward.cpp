// SPDX-License-Identifier: MIT
// expect: runnel: a part of a hook stands at prerouting or output
#include "around.hpp"

#include <runnel/hook.hpp>

using namespace runnel;

void main_path(card& lan, rule_table_slot& live) {
#ifdef GOOD
  auto path = parse() | hook<hook_point::forward>(live) | discard;
#else
  auto path = parse() | hook<hook_point::forward, hook_part::behind_tracking>(live) | discard;
#endif
  run(attach(lan, path));
}
