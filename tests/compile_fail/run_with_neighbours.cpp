// SPDX-License-Identifier: MIT
// expect: runnel: run() needs attachments
// and: attach(connections)
#include <runnel/ip/static_neighbour_table.hpp>

#include "around.hpp"

using namespace runnel;

void main_path(card& nic, static_neighbour_table<neighbour_config{}>& neighbours) {
#ifdef GOOD
  run(attach(nic, discard), attach(neighbours, discard));
#else
  run(attach(nic, discard), neighbours);
#endif
}
