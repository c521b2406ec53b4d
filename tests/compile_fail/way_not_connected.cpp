// SPDX-License-Identifier: MIT
// expect: runnel: a way of this branch is not connected: add .on<way>(pipeline) for it
// and: by_destination
// and: no_route
#include "around.hpp"

using namespace runnel;

struct local {};
struct forward {};
struct no_route {};

struct by_destination {
  using ways = ports<local, forward, no_route>;
  ways operator()(packet& p) const {
    if (p.length() < 100) return local{};
    return no_route{};
  }
};
void main_path(card& lan) {
  auto path = parse() | branch(by_destination{})
                            .on<local>(discard)
                            .on<forward>(transmit(lan))
#ifdef GOOD
                            .on<no_route>(discard)
#endif
      ;
  run(attach(lan, path));
}
