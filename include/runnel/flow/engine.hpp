// SPDX-License-Identifier: MIT
// The burst engine: runs a pipeline over an array of packets.
//
// Theory of operation. Neighbouring stages that look at one packet at a time form a *segment*, and a segment is one
// loop over the burst in which every stage is inlined; each packet leaves it with an outcome: the first verdict other
// than `pass`, or, where the segment ends in a branch, its way. When all outcomes are the same the array is handed on
// as it is. Otherwise it is partitioned, keeping the order, by compare and compress. Counters are added to once a
// burst.
//
// A stage that prefetches begins a new *group* of its segment. The loop runs the groups at a distance, so that memory
// works for the packets in front while the processor works on those behind:
//
//     packets   0 .......... 47 | 48 .. 51 | 52 .......... 67 | 68 .. 71 | 72 ...
//                    done       | group 2  |   on their way   | group 1, |  to come
//                               | on them  |   from memory    | prefetch |
//
// What can be prefetched by headers alone is prefetched together with what the group before it needs.
#ifndef RUNNEL_FLOW_ENGINE_HPP
#define RUNNEL_FLOW_ENGINE_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint32_t, uint64_t
#include <new>      // placement new

#include <runnel/base/endian.hpp>
#include <runnel/config.hpp>
#include <runnel/flow/pipeline.hpp>
#include <runnel/flow/settle.hpp>
#include <runnel/flow/step.hpp>

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

template <place At, class List>
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
  why[0] = pass;  // GCC takes what is handed on for unset where it cannot tell whether it is asked about
  std::size_t kept = 0, gone = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const verdict v = branches || (decided[i / 64] >> i % 64 & 1u) != 0 ? outcomes[i] : pass;
    const bool on = v.code == verdict_code::pass;
    relocate(&out[gone], &packets[i]);
    why[gone] = v;
    if (lengths != nullptr && !on) lengths[gone] = lengths[i];
    relocate(&packets[kept], &packets[i]);
    if constexpr (branches) outcomes[kept] = v;
    kept += on ? 1u : 0u;
    gone += on ? 0u : 1u;
  }
  raw_array<std::uint32_t, is_counted<List> ? At.burst : 1> own_lengths;
  if constexpr (is_counted<List>) {
    if (lengths == nullptr) {
      lengths = own_lengths.data();
      for (std::size_t i = 0; i < gone; ++i) lengths[i] = static_cast<std::uint32_t>(out[i].total_length());
    }
  }
  send_back(out.data(), why.data(), gone, c);
  for (std::size_t i = 0; i < gone; ++i)
    count_verdict<Steps>(list, why[i].port, settled(out[i], why[i], c), is_counted<List> ? lengths[i] : 0);
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

// How many packets lie between those that two groups of a segment work on, and how many a group takes in a row. In the
// router of bench/ a distance of 8 is too short for memory, and 12 to 24 do alike; 1 in a row costs instructions, and 8
// leave memory idle for too long.
inline constexpr std::size_t group_distance = 16, group_stride = 4;

// What a segment on its way over a burst keeps of each packet. Apart from the rest, which then is in registers.
template <place At, class List>
struct segment_arrays {
  static constexpr unsigned steps = segment_length<List>();
  static constexpr bool branches = skip<List, steps - 1>::type::first_stage::kind == stage_kind::branch;
  static constexpr bool resizes = segment_resizes<steps, List>();
  static constexpr bool keeps_lengths = resizes && is_counted<List>;

  // A branch writes every outcome, other stages only those that are not `pass`, and which those are.
  raw_array<verdict, At.burst> outcomes;
  raw_array<std::uint64_t, (std::size_t{At.burst} + 63) / 64> decided;
  raw_array<std::uint32_t, keeps_lengths ? At.burst : 1> lengths;  // as they were when the segment began
};

// A segment on its way over a burst: `each`, which is given what calls `first` for a packet, and then `finish`.
template <place At, class List>
class segment {
  using arrays = segment_arrays<At, List>;
  static constexpr unsigned steps = arrays::steps;
  // The first group is empty where the first stage is to be prefetched for.
  static constexpr unsigned first_length =
      prefetches<typename List::first_stage> ? 0 : group_length<List, steps, false>();
  template <unsigned Left, class Rest>
  static constexpr unsigned count_groups() {
    if constexpr (Left == 0) {
      return 0;
    } else {
      constexpr unsigned length = group_length<Rest, Left, true>();
      return 1 + count_groups<Left - length, typename skip<Rest, length>::type>();
    }
  }
  static constexpr unsigned groups_behind =
      count_groups<steps - first_length, typename skip<List, first_length>::type>();

 public:
  RUNNEL_INLINE segment(List& list, packet* packets, segment_arrays<At, List>& memory, context& c) noexcept
      : list_(list), packets_(packets), arrays_(memory), context_(c) {
    for (std::size_t i = 0; i < (std::size_t{At.burst} + 63) / 64; ++i) arrays_.decided[i] = 0;
  }
  // Calls `take(i)` for all i < n, and lets the groups behind the first follow.
  template <class Take>
  RUNNEL_INLINE void each(std::size_t n, Take take) noexcept {
    if constexpr (groups_behind == 0) {
      for (std::size_t i = 0; i < n; ++i) take(i);
    } else {
      for (std::size_t i = 0; i < n;) {
        const std::size_t end = n - i < group_stride ? n : i + group_stride;
        for (; i < end; ++i) take(i);
        run_behind<place_after_steps<At, List, first_length>(), steps - first_length, first_length, 0>(
            skip<List, first_length>::get(list_), n_, i == n ? 0 : group_distance);
      }
    }
  }
  // The first group on the packet that was put behind those that came before.
  RUNNEL_INLINE void first(const known_layers& known) noexcept {
    run_group<At, steps, first_length, 0>(list_, n_++, known);
  }
  // How many packets came.
  [[nodiscard]] RUNNEL_INLINE std::size_t size() const noexcept { return n_; }
  // Counts, settles what does not go on, and runs the rest of the pipeline over the others. `length` is the sum of all
  // lengths when the segment began.
  RUNNEL_INLINE void finish(std::uint64_t length) noexcept;

 private:
  // Packet `i` through a group of `Length` stages, the first of which has the number `Number`; `Left` are those of the
  // segment from there on.
  template <place There, unsigned Left, unsigned Length, unsigned Number, class Rest>
  RUNNEL_INLINE void run_group(Rest& list, std::size_t i, known_layers known) noexcept {
    packet& p = packets_[i];
    verdict v = pass;
    if constexpr (arrays::keeps_lengths && Number == 0)
      arrays_.lengths[i] = static_cast<std::uint32_t>(p.total_length());
    if constexpr (Length != 0) v = step<There, Length>(list, p, context_, known, Number);
    if constexpr (arrays::resizes && Left == Length)
      if (v.code == verdict_code::pass) [[likely]]
        length_ += p.total_length();
    if constexpr (arrays::branches && Left == Length) {
      store(arrays_.outcomes[i], v);
      any_ |= bits_of(v);
      all_ &= bits_of(v);
    } else if (v.code != verdict_code::pass) [[unlikely]] {
      different_ |= bits_of(v) ^ bits_of(pass);
      arrays_.decided[i / 64] |= std::uint64_t{1} << i % 64;
      store(arrays_.outcomes[i], v);
    } else if constexpr (Left != Length) {
      using next = typename skip<Rest, Length>::type;
      prefetch_group<group_length<next, Left - Length, true>()>(skip<Rest, Length>::get(list), p, context_,
                                                                known.get());
    }
  }
  // Those of the first `ready` packets that are `distance` from the last of them, or more.
  template <place There, unsigned Left, unsigned Number, unsigned Group, class Rest>
  RUNNEL_INLINE void run_behind(Rest& list, std::size_t ready, std::size_t distance) noexcept {
    constexpr unsigned length = group_length<Rest, Left, true>();
    std::size_t i = done_[Group];
    const std::size_t end = ready > distance ? ready - distance : 0;
    for (; i < end; ++i)
      if (different_ == 0 || (arrays_.decided[i / 64] >> i % 64 & 1u) == 0)
        run_group<There, Left, length, Number>(list, i, known_at<There>(packets_[i]));
    done_[Group] = i;
    if constexpr (Left != length)
      run_behind<place_after_steps<There, Rest, length>(), Left - length, Number + length, Group + 1>(
          skip<Rest, length>::get(list), i, distance);
  }

  List& list_;
  packet* packets_;
  arrays& arrays_;
  context& context_;
  std::size_t n_ = 0;
  std::size_t done_[groups_behind + 1] = {};  // how many packets each of the groups behind has taken; one more for none
  std::uint64_t length_ = 0;                  // of those that passed, where a stage may have changed it
  std::uint32_t different_ = 0;
  std::uint32_t any_ = 0, all_ = ~std::uint32_t{0};  // of a branch's outcomes: the same when all are the same
};

template <place At, class List>
RUNNEL_INLINE void segment<At, List>::finish(std::uint64_t length) noexcept {
  count_in<steps>(list_, n_, length);
  auto& branch_or_last = skip<List, steps - 1>::get(list_);
  constexpr place there = place_after_steps<At, List, steps>();
  verdict* const outcomes = arrays_.outcomes.data();

  const auto same = __builtin_bit_cast(verdict, any_);
  if constexpr (arrays::branches) different_ |= any_ ^ all_;
  if (different_ == 0 && (!arrays::branches || same.code == verdict_code::pass)) [[likely]] {
    if constexpr (arrays::resizes) length = length_;
    if constexpr (arrays::branches)
      branch_or_last.stage.template run_way<there>(same.port, packets_, n_, length, context_);
    else run<there>(branch_or_last.rest, packets_, n_, length, context_);
    return;
  }
  const std::size_t n =
      settle_some<At, steps>(list_, packets_, outcomes, arrays::branches ? nullptr : arrays_.decided.data(),
                             arrays::keeps_lengths ? arrays_.lengths.data() : nullptr, n_, context_);
  if (n == 0) return;
  if constexpr (arrays::branches) hand_over<there>(branch_or_last.stage, packets_, outcomes, n, context_);
  else run<there>(branch_or_last.rest, packets_, n, sum_of_lengths(packets_, n), context_);
}

template <place At, class List>
void run_segment(List& list, packet* packets, std::size_t n, std::uint64_t length, context& c) noexcept {
  RUNNEL_ASSERT(n <= At.burst);
  if (n == 0) [[unlikely]]
    return;
  if (n > At.burst) __builtin_unreachable();  // so that the compiler knows it for the arrays
  segment_arrays<At, List> arrays;
  segment<At, List> on{list, packets, arrays, c};
  on.each(n, [&](std::size_t i) noexcept { on.first(known_at<At>(packets[i])); });
  on.finish(length);
}

// A branch that decides about a whole burst at once, and lets every packet go one of its ways.
template <place At, class List>
void run_burst_branch(List& list, packet* packets, std::size_t n, std::uint64_t length, context& c) noexcept {
  RUNNEL_ASSERT(n <= At.burst);
  if (n == 0) [[unlikely]]
    return;
  constexpr place there = after<typename List::first_stage>(At);
  list.counters.add(n, length);
  raw_array<verdict, At.burst> ways;
  const bool same = list.stage.decide_all(packets, ways.data(), n, c);
  if constexpr (At.traced)
    for (std::size_t i = 0; i < n; ++i) report<At>(list.stage, packets[i], ways[i], c);
  if (same) [[likely]]
    list.stage.template run_way<there>(ways[0].port, packets, n, length, c);
  else hand_over<there>(list.stage, packets, ways.data(), n, c);
}

// A stage that sees the whole burst: it may set verdicts, take packets out, and add some.
template <place At, class List>
void run_burst_stage(List& list, packet* packets, std::size_t n, std::uint64_t length, context& c) noexcept {
  handle_array<At.burst> mine;
  raw_array<verdict, At.burst> verdicts;
  for (std::size_t i = 0; i < n; ++i) {
    relocate(&mine[i], &packets[i]);
    verdicts[i] = pass;
  }
  for (std::size_t i = n; i < At.burst; ++i) ::new (static_cast<void*>(&mine[i])) packet;  // for what is made here
  list.counters.add(n, length);
  [[maybe_unused]] void* const connections = c.connections;
  burst b{mine.data(), verdicts.data(), n, At.burst};
  if constexpr (requires { list.stage.template of_bursts<At.burst>(b, c); })
    list.stage.template of_bursts<At.burst>(b, c);
  else list.stage(b, c);
  if (b.size() > n) list.counters.add(b.size() - n, 0);       // made here
  if (b.size() < n) list.counters.add(stolen, n - b.size());  // cleared away
  if constexpr (At.traced)
    for (std::size_t i = 0; i < b.size(); ++i)
      if (mine[i]) report<At>(list.stage, mine[i], verdicts[i], c);
  send_back(mine.data(), verdicts.data(), b.size(), c);
  std::size_t k = 0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    if (mine[i] && verdicts[i].code == verdict_code::pass) {
      relocate(&mine[k++], &mine[i]);
    } else {
      list.counters.add(settled(mine[i], verdicts[i], c));
      mine[i].reset();
    }
  }
  if (k != 0) {
    // Where nothing was resized, taken or added, what goes on is as long as what came.
    if (List::first_stage::resizes || b.size() != n || k != n) length = sum_of_lengths(mine.data(), k);
    run<after<typename List::first_stage>(At)>(list.rest, mine.data(), k, length, c);
  }
  // Who was tracked here is behind. Packets on other ways may have numbers of another table.
  if constexpr (List::first_stage::gives_tracked) c.connections = connections;
}

// What goes on behind a stage that makes several packets of one: whenever there are as many as travel together, the
// rest of the pipeline runs over them.
template <place At, class List>
class outflow {
 public:
  outflow(List& list, context& c) noexcept : list_(list), context_(c) {}
  outflow(const outflow&) = delete;
  outflow& operator=(const outflow&) = delete;
  ~outflow() { run_rest(); }

  void operator()(packet&& p) noexcept {
    RUNNEL_ASSERT(p && "what goes on is a packet");
    relocate(&packets_[n_], &p);
    ::new (static_cast<void*>(&p)) packet;
    if (++n_ == At.burst) run_rest();
  }

 private:
  [[gnu::noinline]] void run_rest() noexcept {
    const std::size_t n = n_;
    n_ = 0;
    if (n != 0)
      run<after<typename List::first_stage>(At)>(list_.rest, packets_.data(), n, sum_of_lengths(packets_.data(), n),
                                                 context_);
  }

  List& list_;
  context& context_;
  handle_array<At.burst> packets_;
  std::size_t n_ = 0;
};

// A stage that makes several packets of one, or keeps one: it says `stolen`, and gives what goes on instead to what it
// was called with. What it leaves alone goes on in order; a burst that it leaves alone as a whole is handed on as it
// is.
template <place At, class List>
void run_many_stage(List& list, packet* packets, std::size_t n, std::uint64_t length, context& c) noexcept {
  list.counters.add(n, length);
  std::size_t first = 0;
  while (first < n && !At.traced && list.stage.leaves_alone(packets[first])) ++first;
  if (first == n) [[likely]] {
    run<after<typename List::first_stage>(At)>(list.rest, packets, n, length, c);
    return;
  }
  outflow<At, List> go_on{list, c};
  const auto made = [&](packet&& p) noexcept {
    list.counters.add(1, 0);
    go_on(static_cast<packet&&>(p));
  };
  for (std::size_t i = 0; i < n; ++i) {
    packet& p = packets[i];
    verdict v = pass;
    if (i >= first && !list.stage.leaves_alone(p)) v = list.stage(p, c, made);
    if constexpr (At.traced)
      if (p) report<At>(list.stage, p, v, c);
    if (v.code == verdict_code::pass) {
      go_on(static_cast<packet&&>(p));
      continue;
    }
    list.counters.add(settle(p, v, c));
    p.reset();
  }
}

// Runs the rest of a pipeline over `n` packets, all of which it takes over. `length` is the sum of their lengths.
template <place At, class List>
void run(List& list, packet* packets, std::size_t n, std::uint64_t length, context& c) noexcept {
  using stage = typename List::first_stage;
  constexpr place there = after<stage>(At);
  if constexpr (decides_bursts<stage>) {
    run_burst_branch<At>(list, packets, n, length, c);
  } else if constexpr (stage::kind == stage_kind::each || stage::kind == stage_kind::branch) {
    run_segment<At>(list, packets, n, length, c);
  } else if constexpr (stage::kind == stage_kind::burst) {
    run_burst_stage<At>(list, packets, n, length, c);
  } else if constexpr (stage::kind == stage_kind::many) {
    run_many_stage<At>(list, packets, n, length, c);
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
