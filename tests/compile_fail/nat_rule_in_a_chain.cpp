// SPDX-License-Identifier: MIT
// expect: runnel: snat, masquerade, dnat and redirect_here stand in the rules of nat<...>(translations, rules)
#include "around.hpp"

#include <runnel/track.hpp>

using namespace runnel;

void main_path(card& lan, connection_table& connections, nat_table& translations) {
#ifdef GOOD
  auto path = parse() | track(connections) |
              nat<postrouting>(translations, rules(when(has<tcp>) >> snat(addr4("192.0.2.1")))) | discard;
#else
  (void)translations;
  auto path = parse() | track(connections) | chain<postrouting>(rules(when(has<tcp>) >> snat(addr4("192.0.2.1")))) |
              discard;
#endif
  run(attach(lan, path));
}
