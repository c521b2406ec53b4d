// SPDX-License-Identifier: MIT
// Two stages joined with a bar are one loop, and nothing but that: no call, no table, no counter. `check` looks at the
// size of each function here, and that the object needs nothing from anywhere.
#include <runnel/flow.hpp>
#include <runnel/wire/ipv4.hpp>

using namespace runnel;

namespace {

constexpr auto short_enough = [](packet& p) { return p.length() > 1514 ? drop(drop_reason::too_big) : pass; };
constexpr auto marked = [](packet& p) { p.mark(7); };
constexpr auto alive = [](ipv4 ip) { return ip.time_to_live() > 1 ? pass : drop; };

// What the engine does with a segment of stages, packet by packet.
template <class Path>
void decide(Path path, packet* packets, verdict* verdicts, std::size_t n) {
  constexpr place here{.packets = true, .parsed = true};
  context c;
  for (std::size_t i = 0; i < n; ++i) {
    detail::known_layers known;
    verdicts[i] = detail::step<here, 2>(path.stages(), packets[i], c, known);
  }
}

}  // namespace

extern "C" {

// limit 200
void two_stages(packet* packets, verdict* verdicts, std::size_t n) {
  decide(uncounted | short_enough | marked, packets, verdicts, n);
}

// limit 300: with a header view, that is looked for in the packet's layers and checked
void two_stages_one_with_a_header(packet* packets, verdict* verdicts, std::size_t n) {
  decide(uncounted | alive | marked, packets, verdicts, n);
}

// limit 1200: a whole run, with what becomes of the packets that do not go on, and the release of their memory
void whole_run(packet* packets, std::size_t n, context& c) {
  auto path = uncounted | short_enough | marked | discard;
  detail::run<place{.packets = true, .parsed = true}>(path.stages(), packets, n, 0, c);
}

}  // extern "C"
