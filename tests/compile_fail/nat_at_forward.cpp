// SPDX-License-Identifier: MIT
// expect: runnel: there is no NAT at the hook forward
#include "around.hpp"

#include <runnel/track.hpp>

using namespace runnel;

void main_path(card& lan, connection_table& connections, nat_table& translations) {
#ifdef GOOD
  auto path = parse() | track(connections) | nat<prerouting>(translations) | discard;
#else
  auto path = parse() | track(connections) | nat<hook_point::forward>(translations) | discard;
#endif
  run(attach(lan, path));
}
