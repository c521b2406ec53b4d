// SPDX-License-Identifier: MIT
// expect: runnel: a stage asks for network or transport headers, but the packet has not been parsed at this place
#include "around.hpp"

using namespace runnel;

struct lookup {
#ifdef GOOD
  void prefetch(const packet&) const noexcept {}
#else
  void prefetch(ipv4) const noexcept {}
#endif
  void operator()(const packet&) const noexcept {}
};

void main_path(card& lan) { run(attach(lan, lookup{} | discard)); }
