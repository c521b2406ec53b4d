// SPDX-License-Identifier: MIT
// expect: runnel: rules that do more than decide stand in a chain: chain<hook_point::forward>
#include "around.hpp"

#include <runnel/hook.hpp>

using namespace runnel;

void main_path(card& lan, token_bucket& logins) {
#ifdef GOOD
  auto path = parse() | chain<hook_point::forward>(rules(when(tcp::dport == 22) >> limit(logins) >> accept)) | discard;
#else
  auto path = parse() | rules(when(tcp::dport == 22) >> limit(logins) >> accept) | discard;
#endif
  run(attach(lan, path));
}
