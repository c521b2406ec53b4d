// SPDX-License-Identifier: MIT
// expect: runnel: snat and masquerade stand at postrouting and input, dnat and redirect_here at prerouting and output
#include "around.hpp"

#include <runnel/track.hpp>

using namespace runnel;

void main_path(card& lan, connection_table& connections, nat_table& translations) {
#ifdef GOOD
  auto path = parse() | track(connections) |
              nat<postrouting>(translations, rules(when(has<tcp>) >> snat(addr4("192.0.2.1")))) | discard;
#else
  auto path = parse() | track(connections) |
              nat<prerouting>(translations, rules(when(has<tcp>) >> snat(addr4("192.0.2.1")))) | discard;
#endif
  run(attach(lan, path));
}
