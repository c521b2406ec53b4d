// SPDX-License-Identifier: MIT
// expect: runnel: the packet's bytes may be shared with a clone at this place, and a replaceable path may write to them
#include "around.hpp"

using namespace runnel;

void main_path(card& lan, any_pipeline& slot) {
  auto path = parse() | tee(discard)
#ifdef GOOD
              | unshare()
#endif
              | replaceable(slot);
  run(attach(lan, path));
}
