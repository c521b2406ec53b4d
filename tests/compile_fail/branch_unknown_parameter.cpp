// SPDX-License-Identifier: MIT
// expect: runnel: branch() asks for something that it cannot have
#include "around.hpp"

using namespace runnel;

struct dns {};

#ifdef GOOD
using transport = udp;
#else
struct transport {
  [[nodiscard]] int destination_port() const { return 53; }
};
#endif

void by_port(card& lan) {
  auto path = parse() | branch([](transport t) -> ports<dns, other> {
                          if (t.destination_port() == 53) return dns{};
                          return other{};
                        })
                            .on<dns>(transmit(lan))
                            .on<other>(discard);
  run(attach(lan, path));
}
