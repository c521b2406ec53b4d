// SPDX-License-Identifier: MIT
// expect: runnel: transmit() needs a device that takes packets
#include "around.hpp"

using namespace runnel;

struct reader {
  pool& memory();
  template <class Take>
  std::size_t receive(std::size_t, instant, Take&&) {
    return 0;
  }
  bool done();
};

void main_path(card& lan, card& wan) {
#ifdef GOOD
  reader in;
  auto path = parse() | transmit<hold>(wan);
  run(attach(in, parse() | discard));
#else
  reader in;
  auto path = parse() | transmit<hold>(in);
#endif
  run(attach(lan, path));
}
