// SPDX-License-Identifier: MIT
// expect: runnel: prefetch() asks for something that it cannot have: its parameters are header views to read
#include "around.hpp"

using namespace runnel;

struct lookup {
#ifdef GOOD
  void prefetch(ipv4) const noexcept {}
#else
  void prefetch(mut<ipv4>) const noexcept {}
#endif
  void operator()(ipv4) const noexcept {}
};

void main_path(card& lan) { run(attach(lan, parse() | lookup{} | discard)); }
