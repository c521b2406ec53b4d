// SPDX-License-Identifier: MIT
// A loop to which nothing comes: how much of a core it uses meanwhile. Two pipes that nobody writes to, a timer ten
// times a second, and any devices.
//
//     idle SECONDS [URI...]      # 0 when it used less than 1 % of a core
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

#include <runnel/runnel.hpp>

using namespace runnel;

namespace {

static_pool<pool_config{.packets = 16, .bytes = 64, .headroom = 0, .bare = 0}> memory;

// Reads nothing from a pipe.
struct quiet_pipe {
  int ends[2] = {-1, -1};
  bool ended = false;
  quiet_pipe() {
    if (::pipe(ends) != 0) std::perror("pipe"), std::exit(1);
  }
  pool& memory() { return ::memory; }
  bool done() const { return ended; }
  int wait_handle() const { return ends[0]; }
  template <class Take>
  std::size_t receive(std::size_t, instant, Take&&) {
    return 0;
  }
};

duration processor_time() {
  ::rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  const auto all = [](const ::timeval& t) { return seconds(t.tv_sec) + microseconds(t.tv_usec); };
  return all(used.ru_utime) + all(used.ru_stime);
}

struct ticker {
  timer_wheel& wheel;
  instant end;
  stoppable* work = nullptr;
  int ticks = 0;
  timer again = timer::calling<&ticker::ring>(*this);
  void ring(instant now) {
    ++ticks;
    if (now >= end) return work->stop();
    wheel.schedule(again, now + milliseconds(100));
  }
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return std::fprintf(stderr, "usage: idle SECONDS [URI...]\n"), 2;
  const int how_long = std::atoi(argv[1]);
  std::vector<device::any_device> devices;
  for (int i = 2; i < argc; ++i) {
    auto d = device::open(argv[i]);
    if (!d) return std::fprintf(stderr, "%s\n", d.error().message()), 1;
    devices.push_back(std::move(*d));
  }
  auto path = [](packet&) {} | discard;
  std::vector<decltype(attach(devices[0], path))> inputs;
  for (device::any_device& d : devices) inputs.push_back(attach(d, path));
  quiet_pipe one, two;
  real_clock time;
  timer_wheel timers{milliseconds(1)};
  ticker t{timers, time.now() + seconds(how_long)};
  timers.schedule(t.again, time.now());
  loop work{time, attach(one, discard), attach(two, discard), attach_all(inputs), attach(timers)};
  t.work = &work;
  const instant begin = time.now();
  const duration before = processor_time();
  work.run();
  const duration used = processor_time() - before, took = time.now() - begin;
  const double share = 100.0 * static_cast<double>(used.ns) / static_cast<double>(took.ns);
  std::printf("%.3f %% of a core in %.1f s, %d timers, %zu devices\n", share, static_cast<double>(took.ns) / 1e9,
              t.ticks, devices.size());
  if (took < seconds(how_long) || t.ticks < how_long * 8) return std::fprintf(stderr, "timers were late\n"), 1;
  return share < 1 ? 0 : 1;
}
