// SPDX-License-Identifier: MIT
// The burst engine: runs a pipeline over an array of packets.
//
// Theory of operation. Neighbouring stages that look at one packet at a time form a *segment*, and a segment is one
// loop over the burst in which every stage is inlined; each packet leaves it with an outcome: the first verdict other
// than `pass`, or, where the segment ends in a branch, its way. A stage that prefetches begins a new segment: the loop
// of the segment before prefetches for each packet that comes out of it, so that all of them have been before the stage
// runs on the first. When all outcomes are the same the array is handed on as it is. Otherwise it is partitioned,
// keeping the order, by compare and compress. Counters are added to once a burst.
#ifndef RUNNEL_FLOW_ENGINE_HPP
#define RUNNEL_FLOW_ENGINE_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint32_t, uint64_t
#include <new>      // placement new

#include <runnel/base/endian.hpp>
#include <runnel/config.hpp>
#include <runnel/flow/pipeline.hpp>

namespace runnel::detail {

// An array that nobody has written to: setting all of it to zero for each burst would cost more than many a stage.
template <class T, std::size_t N>
class raw_array {
 public:
  raw_array() noexcept {}
  raw_array(const raw_array&) = delete;
  raw_array& operator=(const raw_array&) = delete;
  ~raw_array() {}
  [[nodiscard]] T* data() noexcept { return values_; }
  [[nodiscard]] T& operator[](std::size_t i) noexcept { return values_[i]; }

 private:
  union {
    T values_[N];
  };
};
// The engine moves handles as plain pointers and owns those below its count.
template <std::size_t N>
using handle_array = raw_array<packet, N>;

// Moves the handle at `from` to `to`, whose old value is nobody's.
RUNNEL_INLINE void relocate(packet* to, packet* from) noexcept {
  __builtin_memcpy(static_cast<void*>(to), static_cast<const void*>(from), sizeof(packet));
}

// A verdict as one number: written part by part and then read whole, it would have to wait for its own stores.
[[nodiscard]] RUNNEL_INLINE std::uint32_t bits_of(verdict v) noexcept {
  const auto code = static_cast<std::uint32_t>(v.code), reason = static_cast<std::uint32_t>(v.reason);
  if constexpr (little_endian_host) return code | reason << 8 | std::uint32_t{v.port} << 16;
  else return code << 24 | reason << 16 | v.port;
}
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wstringop-overflow"  // GCC 12 doubts its own vector of four stores at -O3
#endif
RUNNEL_INLINE void store(verdict& to, verdict v) noexcept {
  const std::uint32_t bits = bits_of(v);
  __builtin_memcpy(static_cast<void*>(&to), &bits, sizeof to);
}
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

[[nodiscard]] inline std::uint64_t sum_of_lengths(const packet* packets, std::size_t n) noexcept {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < n; ++i) sum += packets[i].total_length();
  return sum;
}

template <class Stage>
concept prefetches = requires(Stage& s, packet& p, context& c, const layers* found) { s.prefetch(p, c, found); };

// How many of the stages at the front of a list belong to one segment: those that look at one packet at a time, up to
// the next that prefetches; a branch may be the last.
template <class List, bool First = true>
constexpr unsigned segment_length() {
  if constexpr (List::size == 0) {
    return 0;
  } else {
    using stage = typename List::first_stage;
    if constexpr (!First && prefetches<stage>) return 0;
    else if constexpr (stage::kind == stage_kind::branch) return 1;
    else if constexpr (stage::kind == stage_kind::each) return 1 + segment_length<typename List::rest_list, false>();
    else return 0;
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
    } else if constexpr (stage::resizes || stage::makes_own) {
      known.valid = false;
    }
    if constexpr (Steps == 1) return v;
    else return step<after<stage>(At), Steps - 1>(list.rest, p, c, known, static_cast<std::uint16_t>(number + 1));
  }
}

template <class List>
inline constexpr bool is_counted = std::same_as<decltype(List::counters), stage_counters>;

// Whether a stage of a segment may change lengths. Those of a segment are counted as they were when it began.
template <unsigned Steps, class List>
constexpr bool segment_resizes() {
  if constexpr (Steps == 0) return false;
  else return List::first_stage::resizes || segment_resizes<Steps - 1, typename List::rest_list>();
}

// How many packets and bytes came into a segment, added at each of its stages.
template <unsigned Steps, class List>
RUNNEL_INLINE void count_in(List& list, std::uint64_t n, std::uint64_t length) noexcept {
  list.counters.add(n, length);
  if constexpr (Steps > 1) count_in<Steps - 1>(list.rest, n, length);
}
// Takes back what `count_in` counted at a stage and those behind it, for a packet that did not get there.
template <unsigned Steps, class List>
void count_out(List& list, std::uint64_t length, std::uint64_t n) noexcept {
  list.counters.packets -= n;
  list.counters.bytes -= length;
  if constexpr (Steps > 1) count_out<Steps - 1>(list.rest, length, n);
}
// Counts the verdict at the stage with number `decided`, and the packet out of the stages behind it.
template <unsigned Steps, class List>
void count_verdict(List& list, unsigned decided, verdict v, std::uint64_t length, std::uint64_t n = 1) noexcept {
  if constexpr (is_counted<List>) {
    if (decided == 0) list.counters.add(v, n);
    if constexpr (Steps > 1) {
      if (decided == 0) count_out<Steps - 1>(list.rest, length, n);
      else count_verdict<Steps - 1>(list.rest, decided - 1, v, length, n);
    }
  }
}

// Ends the journey of a packet by a verdict other than `pass`. Says what became of it: a packet that could not be sent
// back is dropped. One that is dropped stays in its handle, for the caller to release.
inline verdict settle(packet& p, verdict v, context& c) noexcept {
  if (!p) return verdict{verdict_code::stolen, drop_reason::none, 0};
  if (v.code == verdict_code::tx && c.transmit_back != nullptr) {
    if (c.transmit_back(c.device, &p, 1, c.now) == 1) return v;
    v = drop(drop_reason::transmit_full);
  } else if (v.code == verdict_code::tx || v.code == verdict_code::redirect) {
    v = drop(drop_reason::no_target);
  }
  RUNNEL_ASSERT(v.code != verdict_code::stolen && "a stage that says stolen moves the packet out of the handle");
  return v;
}

template <place At, bool Prefetched = false, class List>
void run(List& list, packet* packets, std::size_t n, std::uint64_t length, context& c) noexcept;

// The packets of a segment whose outcomes differ: settles those that do not go on and closes the gaps. Returns how many
// are left; their outcomes stand at the same places, if the segment ends in a branch. Where it does not, `decided` has
// a bit for each outcome that was written, and the others are `pass`. `lengths` are those at the beginning of the
// segment; null when no stage in it could change them.
template <place At, unsigned Steps, class List>
[[gnu::noinline]] std::size_t settle_some(List& list, packet* packets, verdict* outcomes, const std::uint64_t* decided,
                                          std::uint32_t* lengths, std::size_t n, context& c) noexcept {
  constexpr bool branches = skip<List, Steps - 1>::type::first_stage::kind == stage_kind::branch;
  handle_array<At.burst> out;
  raw_array<verdict, At.burst> why;
  std::size_t kept = 0, gone = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const verdict v = branches || (decided[i / 64] >> i % 64 & 1u) != 0 ? outcomes[i] : pass;
    const bool on = v.code == verdict_code::pass;
    relocate(&out[gone], &packets[i]);
    why[gone] = v;
    if (lengths != nullptr) lengths[gone] = lengths[i];
    relocate(&packets[kept], &packets[i]);
    if constexpr (branches) outcomes[kept] = v;
    kept += on ? 1u : 0u;
    gone += on ? 0u : 1u;
  }
  for (std::size_t i = 0; i < gone; ++i) {
    const std::uint64_t length = !is_counted<List> ? 0 : lengths != nullptr ? lengths[i] : out[i].total_length();
    const verdict v = settle(out[i], why[i], c);
    count_verdict<Steps>(list, why[i].port, v, length);
  }
  pool::release(out.data(), gone);
  return kept;
}

// Hands a burst over to the ways that its outcomes name.
template <place At, class Branch>
void hand_over(Branch& branch, packet* packets, const verdict* outcomes, std::size_t n, context& c) noexcept {
  handle_array<At.burst> part;
  std::uint64_t left = 0;
  for (std::size_t i = 0; i < n; ++i) left |= std::uint64_t{1} << outcomes[i].port;
  while (left != 0) {
    const auto way = static_cast<unsigned>(__builtin_ctzll(left));
    left &= left - 1;
    std::size_t k = 0;
    for (std::size_t i = 0; i < n; ++i) {
      relocate(&part[k], &packets[i]);
      k += outcomes[i].port == way ? 1u : 0u;
    }
    if constexpr (At.traced) {
      context of_way = c;  // a trace on one way is not that of the others
      branch.template run_way<At>(way, part.data(), k, sum_of_lengths(part.data(), k), of_way);
    } else {
      branch.template run_way<At>(way, part.data(), k, sum_of_lengths(part.data(), k), c);
    }
  }
}

// Whether the stage behind the first `Steps` of a list prefetches.
template <class List, unsigned Steps>
constexpr bool prefetches_behind() {
  if constexpr (List::size == 0) return false;
  else if constexpr (Steps != 0) return prefetches_behind<typename List::rest_list, Steps - 1>();
  else return prefetches<typename List::first_stage>;
}

// `Prefetched` says that the segment before has called the first stage's `prefetch` for each packet already.
template <place At, bool Prefetched, class List>
void run_segment(List& list, packet* packets, std::size_t n, std::uint64_t length, context& c) noexcept {
  constexpr unsigned steps = segment_length<List>();
  using last = typename skip<List, steps - 1>::type;
  constexpr bool branches = last::first_stage::kind == stage_kind::branch;
  RUNNEL_ASSERT(n <= At.burst);
  if (n == 0) [[unlikely]]
    return;
  if (n > At.burst) __builtin_unreachable();  // so that the compiler knows it for the arrays below

  constexpr bool prefetch_next = !branches && prefetches_behind<List, steps>();

  if constexpr (prefetches<typename List::first_stage> && !Prefetched)
    for (std::size_t i = 0; i < n; ++i) list.stage.prefetch(packets[i], c, nullptr);

  constexpr bool resizes = segment_resizes<steps, List>();
  constexpr bool keep_lengths = resizes && is_counted<List>;
  std::uint32_t lengths[keep_lengths ? At.burst : 1];

  // A branch writes every outcome, other segments only those that are not `pass`, and which those are.
  raw_array<verdict, At.burst> outcomes;
  std::uint64_t decided[(std::size_t{At.burst} + 63) / 64] = {};
  std::uint32_t different = 0;
  for (std::size_t i = 0; i < n; ++i) {
    if constexpr (keep_lengths) lengths[i] = static_cast<std::uint32_t>(packets[i].total_length());
    known_layers known;
    const verdict v = step<At, steps>(list, packets[i], c, known);
    if constexpr (branches) {
      store(outcomes[i], v);
      different |= bits_of(v) ^ bits_of(outcomes[0]);
    } else if (v.code != verdict_code::pass) [[unlikely]] {
      different = 1;
      decided[i / 64] |= std::uint64_t{1} << i % 64;
      store(outcomes[i], v);
    } else if constexpr (prefetch_next) {
      skip<List, steps>::get(list).stage.prefetch(packets[i], c, known.get());
    }
  }
  count_in<steps>(list, n, length);
  auto& branch_or_last = skip<List, steps - 1>::get(list);
  constexpr place there = place_after_steps<At, List, steps>();

  if (different == 0 && (!branches || outcomes[0].code == verdict_code::pass)) [[likely]] {
    if constexpr (resizes) length = sum_of_lengths(packets, n);
    if constexpr (branches) branch_or_last.stage.template run_way<there>(outcomes[0].port, packets, n, length, c);
    else run<there, prefetch_next>(branch_or_last.rest, packets, n, length, c);
    return;
  }
  n = settle_some<At, steps>(list, packets, outcomes.data(), branches ? nullptr : decided,
                             keep_lengths ? lengths : nullptr, n, c);
  if (n == 0) return;
  if constexpr (branches) hand_over<there>(branch_or_last.stage, packets, outcomes.data(), n, c);
  else run<there, prefetch_next>(branch_or_last.rest, packets, n, sum_of_lengths(packets, n), c);
}

// A stage that sees the whole burst: it may set verdicts, take packets out, and add some.
template <place At, class List>
void run_burst_stage(List& list, packet* packets, std::size_t n, std::uint64_t length, context& c) noexcept {
  packet mine[At.burst];
  verdict verdicts[At.burst];
  for (std::size_t i = 0; i < n; ++i) {
    mine[i] = static_cast<packet&&>(packets[i]);
    verdicts[i] = pass;
  }
  list.counters.add(n, length);
  burst b{mine, verdicts, n, At.burst};
  list.stage(b, c);
  if (b.size() > n) list.counters.add(b.size() - n, 0);       // made here
  if (b.size() < n) list.counters.add(stolen, n - b.size());  // cleared away
  handle_array<At.burst> on;
  std::size_t k = 0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    const verdict v = verdicts[i];
    if constexpr (At.traced)
      if (mine[i]) report<At>(list.stage, mine[i], v, c);
    if (mine[i] && v.code == verdict_code::pass) {
      relocate(&on[k++], &mine[i]);
      ::new (static_cast<void*>(&mine[i])) packet;
    } else {
      list.counters.add(settle(mine[i], v, c));
      mine[i].reset();
    }
  }
  if (k != 0) run<after<typename List::first_stage>(At)>(list.rest, on.data(), k, sum_of_lengths(on.data(), k), c);
}

// Runs the rest of a pipeline over `n` packets, all of which it takes over. `length` is the sum of their lengths.
template <place At, bool Prefetched, class List>
void run(List& list, packet* packets, std::size_t n, std::uint64_t length, context& c) noexcept {
  using stage = typename List::first_stage;
  constexpr place there = after<stage>(At);
  if constexpr (stage::kind == stage_kind::each || stage::kind == stage_kind::branch) {
    run_segment<At, Prefetched>(list, packets, n, length, c);
  } else if constexpr (stage::kind == stage_kind::burst) {
    run_burst_stage<At>(list, packets, n, length, c);
  } else if constexpr (stage::kind == stage_kind::aside) {
    list.counters.add(n, length);
    list.stage.template beside<At>(packets, n, length, list.counters, c);
    run<there>(list.rest, packets, n, length, c);
  } else if constexpr (stage::kind == stage_kind::end) {
    list.counters.add(n, length);
    if constexpr (At.traced)
      for (std::size_t i = 0; i < n; ++i) report<At>(list.stage, packets[i], pass, c);
    list.stage.template take<At>(packets, n, length, list.counters, c);
  } else {
    // An early verdict at this place is a promised compile error, said elsewhere; nothing else may get here.
    static_assert(stage::kind == stage_kind::early, "runnel: a kind of stage that the engine does not know");
  }
}

}  // namespace runnel::detail

#endif
