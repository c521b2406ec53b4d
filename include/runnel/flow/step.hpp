// SPDX-License-Identifier: MIT
// Which stages of a pipeline run together on a packet, and one packet through those: the inner part of the engine.
#ifndef RUNNEL_FLOW_STEP_HPP
#define RUNNEL_FLOW_STEP_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint16_t, uint32_t, uint64_t

#include <runnel/config.hpp>
#include <runnel/flow/pipeline.hpp>

namespace runnel::detail {

template <class Stage>
concept prefetches = requires(Stage& s, packet& p, context& c, const layers* found) { s.prefetch(p, c, found); };

// A branch that is asked about all packets of a burst at once.
template <class Stage>
concept decides_bursts = requires(Stage& s, packet* packets, verdict* ways, context& c) {
  { s.decide_all(packets, ways, 1, c) } -> std::same_as<bool>;
};

// How many of the stages at the front of a list belong to one segment: those that look at one packet at a time; a
// branch may be the last.
template <class List>
constexpr unsigned segment_length() {
  if constexpr (List::size == 0) return 0;
  else if constexpr (decides_bursts<typename List::first_stage>) return 0;
  else if constexpr (List::first_stage::kind == stage_kind::branch) return 1;
  else if constexpr (List::first_stage::kind == stage_kind::each) return 1 + segment_length<typename List::rest_list>();
  else return 0;
}

// Whether headers are the same behind a stage as before it.
template <class Stage>
inline constexpr bool leaves_headers =
    !Stage::writes && !Stage::resizes && !Stage::makes_own && !Stage::moves && !Stage::gives_parsed;

// How many of the first `Steps` stages of a list run together on a packet, in one group: up to the next that is to be
// prefetched for behind them. One whose prefetch looks at nothing but headers, which all stages before it in the group
// leave alone, can be prefetched for before the group instead, if there is such a place: `Ahead`.
template <class List, unsigned Steps, bool Ahead, bool First = true>
constexpr unsigned group_length() {
  if constexpr (Steps == 0) {
    return 0;
  } else {
    using stage = typename List::first_stage;
    if constexpr (!First && prefetches<stage> && !(Ahead && stage::prefetches_by_headers)) return 0;
    else return 1 + group_length<typename List::rest_list, Steps - 1, Ahead && leaves_headers<stage>, false>();
  }
}
template <class List, unsigned Steps>
struct skip {
  using type = typename skip<typename List::rest_list, Steps - 1>::type;
  static type& get(List& list) noexcept { return skip<typename List::rest_list, Steps - 1>::get(list.rest); }
};
template <class List>
struct skip<List, 0> {
  using type = List;
  static List& get(List& list) noexcept { return list; }
};

template <place At, class List, unsigned Steps>
constexpr place place_after_steps() {
  if constexpr (Steps == 0) return At;
  else return place_after_steps<after<typename List::first_stage>(At), typename List::rest_list, Steps - 1>();
}

template <place At, class Stage>
void report(Stage& stage, packet& p, verdict v, context& c) noexcept;

// Where the first fragment of a packet lies, and what was found in it: as long as this is the same, so are its headers.
// For a handler that asks for `packet&` and only reads or marks it the compiler sees that it is.
struct extent {
  const std::byte* data;
  std::uint32_t length;
  std::size_t headroom;
  std::uint64_t found;
  [[nodiscard]] RUNNEL_INLINE static extent of(const packet& p) noexcept {
    return {p.data(), p.length(), p.headroom(), __builtin_bit_cast(std::uint64_t, p.layers())};
  }
  friend bool operator==(const extent&, const extent&) noexcept = default;
};

// Prefetches for the group of `Steps` stages at the front of a list.
template <unsigned Steps, class List>
RUNNEL_INLINE void prefetch_group(List& list, packet& p, context& c, const layers* found) noexcept {
  if constexpr (prefetches<typename List::first_stage>) {
    [[maybe_unused]] const extent before = extent::of(p);
    list.stage.prefetch(p, c, found);
    RUNNEL_ASSERT(extent::of(p) == before && "prefetch() may mark a packet, and changes nothing else in it");
  }
  if constexpr (Steps > 1) prefetch_group<Steps - 1>(list.rest, p, c, found);
}

// What is sure of a packet that comes to a place.
template <place At>
[[nodiscard]] RUNNEL_INLINE known_layers known_at(const packet& p) noexcept {
  if constexpr (At.dissected) {
    // Member by member, so that only those are loaded which somebody looks at.
    const layers& in = p.layers();
    const layers found{in.protocols, in.network, in.transport, in.link, in.fault};
    // What had a fault was dropped by parse().
    if (At.parsed && !found.has(protocol::parsed)) __builtin_unreachable();
    return {found, true};
  } else {
    return {};
  }
}

// One packet through a segment. The outcome's `port` is the way for a branch's `pass`, and otherwise the number of the
// stage that decided.
template <place At, unsigned Steps, class List>
RUNNEL_INLINE verdict step(List& list, packet& p, context& c, known_layers& known, std::uint16_t number = 0) noexcept {
  using stage = typename List::first_stage;
  // Asked before, for a stage may take the packet.
  [[maybe_unused]] const bool followed = At.traced && c.trace != nullptr && p.traced();
  if constexpr (stage::kind == stage_kind::branch) {
    verdict v = list.stage.decide(p, c, known.get());
    if constexpr (At.traced)
      if (followed) report<At>(list.stage, p, v, c);
    if (v.code != verdict_code::pass) v.port = number;
    return v;
  } else {
    verdict v;
    extent before{};
    if constexpr (stage::resizes && Steps != 1) before = extent::of(p);
    if constexpr (stage::gives_parsed) v = list.stage.find(p, known);
    else if constexpr (requires { list.stage(p, c, known.get()); }) v = list.stage(p, c, known.get());
    else v = list.stage(p, c);
    RUNNEL_ASSERT((p || v.code != verdict_code::pass) && "a stage that moves the packet out of the handle says stolen");
    if constexpr (At.traced)
      if (followed) report<At>(list.stage, p, v, c);
    v.port = number;
    if (Steps != 1 && v.code != verdict_code::pass) [[unlikely]]
      return v;
    if constexpr (stage::gives_parsed) {
      // It would have a fault, and have been dropped: no stage behind has to ask again.
      if (v.code == verdict_code::pass && !known.found.has(protocol::parsed)) __builtin_unreachable();
    } else if constexpr (stage::makes_own || stage::moves || (stage::resizes && Steps == 1)) {
      known.valid = false;
    } else if constexpr (stage::resizes) {
      known.valid = known.valid && extent::of(p) == before;
    }
    if constexpr (Steps == 1) return v;
    else return step<after<stage>(At), Steps - 1>(list.rest, p, c, known, static_cast<std::uint16_t>(number + 1));
  }
}

}  // namespace runnel::detail

#endif
