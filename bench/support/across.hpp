// SPDX-License-Identifier: MIT
// Elements from one processor to another through a ring: the measured thread takes, a second one gives without end.
#ifndef BENCH_SUPPORT_ACROSS_HPP
#define BENCH_SUPPORT_ACROSS_HPP

#include <algorithm>  // nth_element
#include <chrono>     // duration, steady_clock
#include <cstddef>    // size_t
#include <cstdint>    // uintptr_t
#include <thread>     // this_thread, thread

#include <sched.h>

#include <benchmark/benchmark.h>

namespace bench {

inline constexpr std::size_t across_burst = 32;

// Some processor beside the one that this thread runs on; -1 when there is none.
inline int another_processor() {
  cpu_set_t all;
  CPU_ZERO(&all);
  for (std::size_t i = 0; i < CPU_SETSIZE; ++i) CPU_SET(i, &all);
  const auto here = static_cast<std::size_t>(sched_getcpu());
  int found = -1;
  // The system says which of all processors there are: what this thread was confined to does not bind its child.
  std::thread([&] {
    if (sched_setaffinity(0, sizeof all, &all) != 0 || sched_getaffinity(0, sizeof all, &all) != 0) return;
    for (std::size_t i = CPU_SETSIZE; i-- != 0;)
      if (i != here && CPU_ISSET(i, &all)) found = static_cast<int>(i);
  }).join();
  return found;
}

inline void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#endif
}

inline void stay_on(int processor) {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(static_cast<std::size_t>(processor), &one);
  (void)sched_setaffinity(0, sizeof one, &one);
}

// `push(elements, n)` and `pop(elements, n)` say how many they moved. Register it with `UseManualTime`: the time of an
// iteration is the median of its chunks, times how many they are, so that a moment in which one of the two threads had
// no processor counts for nobody. A chunk lasts some ten microseconds, such a moment milliseconds.
template <class Push, class Pop>
void across(benchmark::State& state, Push push, Pop pop) {
  using clock = std::chrono::steady_clock;
  constexpr std::size_t chunk = 1 << 12, chunks = 31;
  const int there = another_processor();
  if (there < 0) return state.SkipWithError("needs two processors");
  stay_on(sched_getcpu());
  bool started = false, stop = false;
  std::thread giver([&] {
    stay_on(there);
    __atomic_store_n(&started, true, __ATOMIC_RELEASE);
    void* elements[across_burst];
    for (std::size_t i = 0; i < across_burst; ++i) elements[i] = reinterpret_cast<void*>(std::uintptr_t{i} + 1);
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED))
      if (push(elements, across_burst) == 0) relax();
  });
  // The new thread begins on this processor: let it.
  while (!__atomic_load_n(&started, __ATOMIC_ACQUIRE)) std::this_thread::yield();
  void* elements[across_burst];
  std::chrono::duration<double> took[chunks];
  for (auto _ : state) {
    for (auto& t : took) {
      const clock::time_point begin = clock::now();
      for (std::size_t taken = 0; taken < chunk;) {
        const std::size_t n = pop(elements, across_burst);
        benchmark::DoNotOptimize(elements);
        if (n == 0) relax();
        taken += n;
      }
      t = clock::now() - begin;
    }
    std::nth_element(took, took + chunks / 2, took + chunks);
    state.SetIterationTime(took[chunks / 2].count() * chunks);
  }
  __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
  giver.join();
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(chunk * chunks));
}

}  // namespace bench

#endif
