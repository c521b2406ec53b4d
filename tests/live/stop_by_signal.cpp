// SPDX-License-Identifier: MIT
// Stops a loop from a signal handler, 10000 times at random times, on the loop's own thread and on another one. Each
// must end it within 50 ms; one that was lost is found by an alarm.
#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include <runnel/runnel.hpp>

using namespace runnel;

namespace {

static_pool<pool_config{.packets = 16, .bytes = 64, .headroom = 0, .bare = 0}> memory;

struct quiet_source {
  int handle;
  pool& memory() { return ::memory; }
  bool done() const { return false; }
  int wait_handle() const { return handle; }
  template <class Take>
  std::size_t receive(std::size_t, instant, Take&&) {
    return 0;
  }
};

stoppable* running;
std::atomic<std::int64_t> stopped_at;
real_clock watch;

}  // namespace

int main() {
  int ends[2];
  if (::pipe(ends) != 0) return std::perror("pipe"), 1;
  struct sigaction action{};
  action.sa_handler = [](int) {
    stopped_at = watch.now().ns;
    running->stop();
  };
  if (::sigaction(SIGUSR1, &action, nullptr) != 0) return std::perror("sigaction"), 1;
  random_generator random{static_cast<std::uint64_t>(watch.now().ns)};
  duration worst{};
  for (int i = 0; i < 10000; ++i) {
    quiet_source source{ends[0]};
    real_clock time;
    loop work{time, attach(source, discard)};
    running = &work;
    const bool on_this_thread = i % 2 == 0;
    const ::pthread_t mine = ::pthread_self();
    // Mostly while it falls asleep for the first time, and sometimes long after.
    const std::uint64_t pause = random.below(i % 8 < 7 ? 3000 : 300'000);
    std::atomic<bool> begins{false};
    std::thread other{[on_this_thread, mine, pause, &begins] {
      while (!begins) {}
      for (std::uint64_t left = pause; left != 0; --left) asm volatile("");
      ::pthread_kill(on_this_thread ? mine : ::pthread_self(), SIGUSR1);
    }};
    begins = true;
    ::alarm(10);  // a wake-up that was lost ends the program, with the status of a signal
    work.run();
    const duration took = instant{watch.now().ns} - instant{stopped_at};
    ::alarm(0);
    other.join();
    if (took > worst) worst = took;
  }
  std::printf("stopped 10000 times, the slowest took %.3f ms\n", static_cast<double>(worst.ns) / 1e6);
  return worst < milliseconds(50) ? 0 : 1;
}
