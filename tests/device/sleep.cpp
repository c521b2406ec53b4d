// SPDX-License-Identifier: MIT
// Loops that sleep by the system's clock: what ends their sleep, and what it costs.
#include <doctest/doctest.h>

#if defined(__linux__)

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <thread>
#include <vector>

#include <device/few_descriptors.hpp>
#include <flow/test_device.hpp>

#include <runnel/device/clock.hpp>
#include <runnel/device/pcap_reader.hpp>

using namespace runnel;
using namespace runnel::test;

namespace {

// Of this thread.
duration processor_time() {
  ::rusage used{};
  ::getrusage(RUSAGE_THREAD, &used);
  const auto all = [](const ::timeval& t) { return seconds(t.tv_sec) + microseconds(t.tv_usec); };
  return all(used.ru_utime) + all(used.ru_stime);
}

// A source that never has anything, and counts how often it was asked.
struct idle_source {
  pool* memory_;
  int handle = -1;
  std::atomic<int> asked{0};

  pool& memory() { return *memory_; }
  bool done() const { return false; }
  int wait_handle() const { return handle; }
  template <class Take>
  std::size_t receive(std::size_t, instant, Take&&) {
    asked.fetch_add(1, std::memory_order_relaxed);
    return 0;
  }
};

// Filled by another thread. Its handle is -1: nothing but wake() tells that there is something.
struct counter_source : idle_source {
  std::atomic<int> put{0};
  std::atomic<int> taken{0};
  explicit counter_source(pool& m) : idle_source{&m} {}
  bool done() const { return taken == 2000; }
  template <class Take>
  std::size_t receive(std::size_t room, instant, Take&& take) {
    std::size_t n = 0;
    for (; n < room && taken < put.load(std::memory_order_acquire); ++n, ++taken) {
      const frame f = memory_->allocate_frame();
      take(f);
    }
    return n;
  }
};

// A device that reads and writes its packets at two descriptors, 64 bytes each.
class pipe_device {
 public:
  pipe_device(pool& memory, int in, int out) : memory_(&memory), in_(in), out_(out) {}
  pool& memory() { return *memory_; }
  bool done() const { return ended_; }
  int wait_handle() const { return in_; }
  int transmit_handle() const { return out_; }
  template <class Take>
  std::size_t receive(std::size_t room, instant, Take&& take) {
    std::size_t n = 0;
    for (; n < room; ++n) {
      frame f = memory_->allocate_frame();
      if (f.slot == no_slot) break;
      const ::ssize_t got = ::read(in_, f.data, 64);
      if (got != 64) {
        memory_->release(&f, 1);
        ended_ = got == 0;
        break;
      }
      f.length = 64;
      f.tailroom = static_cast<std::uint16_t>(f.tailroom - 64);
      take(f);
    }
    return n;
  }
  std::size_t transmit(packet* packets, std::size_t n, instant) {
    ++offered;
    for (std::size_t i = 0; i < n; ++i) {
      if (::write(out_, packets[i].data(), 64) != 64) return i;
      packets[i].reset();
    }
    return n;
  }

  int offered = 0;

 private:
  pool* memory_;
  int in_, out_;
  bool ended_ = false;
};

struct pipe_ends {
  int ends[2] = {-1, -1};
  pipe_ends() {
    REQUIRE(::pipe(ends) == 0);
    for (const int end : ends) REQUIRE(::fcntl(end, F_SETFL, O_NONBLOCK) == 0);
  }
  pipe_ends(const pipe_ends&) = delete;
  pipe_ends& operator=(const pipe_ends&) = delete;
  ~pipe_ends() {
    ::close(ends[0]);
    close_writer();
  }
  void close_writer() {
    if (ends[1] >= 0) ::close(ends[1]);
    ends[1] = -1;
  }
};

}  // namespace

TEST_CASE("stop from another thread ends the sleep of a loop at once, whenever it comes") {
  counted_pool memory;
  pipe_ends quiet;
  for (int i = 0; i < 300; ++i) {
    idle_source source{&memory.get(), quiet.ends[0]};
    real_clock time;
    loop l{time, attach(source, discard)};
    std::thread other{[&l, i] {
      if (i % 3 != 0) std::this_thread::sleep_for(std::chrono::microseconds(i % 7 * 40));
      l.stop();
    }};
    l.run();  // for ever, if the wake-up is lost
    other.join();
  }
}

TEST_CASE("stop from a signal handler on the loop's own thread or another one ends its sleep") {
  counted_pool memory;
  pipe_ends quiet;
  static stoppable* running;
  struct sigaction action{}, before{};
  action.sa_handler = [](int) { running->stop(); };
  REQUIRE(::sigaction(SIGUSR1, &action, &before) == 0);
  for (int i = 0; i < 100; ++i) {
    idle_source source{&memory.get(), quiet.ends[0]};
    real_clock time;
    loop l{time, attach(source, discard)};
    running = &l;
    const ::pthread_t mine = ::pthread_self();
    std::thread other{[mine, i] {
      if (i % 2 != 0) std::this_thread::sleep_for(std::chrono::microseconds(i));
      if (i % 4 < 2) ::pthread_kill(mine, SIGUSR1);
      else ::pthread_kill(::pthread_self(), SIGUSR1);
    }};
    l.run();
    other.join();
  }
  ::sigaction(SIGUSR1, &before, nullptr);
}

TEST_CASE("stop from another thread ends a loop whose only source waits for a pipe by itself, within a second or so") {
  counted_pool memory;
  pipe_ends pipe;
  std::byte header[pcap_file_header::size];
  pcap_file_header{}.write(header);
  REQUIRE(::write(pipe.ends[1], header, sizeof header) == sizeof header);
  auto in = pcap_reader::adopt(::dup(pipe.ends[0]), "pipe", memory);
  REQUIRE(in);
  capture_clock time;
  loop l{time, attach(*in, discard)};
  std::atomic<bool> ended{false};
  std::thread other{[&] {
    l.run();
    ended = true;
  }};
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  l.stop();
  for (int i = 0; i < 300 && !ended; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  CHECK(ended);
  pipe.close_writer();
  other.join();
}

TEST_CASE("wake has a loop look again at a source that another thread has filled") {
  counted_pool memory;
  counter_source source{memory};
  real_clock time;
  loop l{time, attach(source, discard)};
  std::thread other{[&] {
    for (int i = 0; i < 2000; ++i) {
      source.put.fetch_add(1, std::memory_order_release);
      l.wake();
      // The next one comes when the loop is about to sleep, now a bit earlier, now a bit later.
      while (source.taken.load() == i) std::this_thread::yield();
      for (int wait = i % 400 * 10; wait != 0; --wait) asm volatile("");
    }
  }};
  l.run();
  other.join();
  CHECK(source.taken == 2000);
}

TEST_CASE("a sleep ends in less than a millisecond after it is due, and never before") {
  real_clock time;
  wait_entry none[1];
  duration best = seconds(1);
  for (int i = 0; i < 50; ++i) {
    const instant due = time.now() + microseconds(230);
    time.wait_until(due, none, 0);
    const duration late = time.now() - due;
    REQUIRE(late >= duration{});
    if (late < best) best = late;
  }
  CHECK(best < microseconds(700));
  const instant begin = time.now();
  time.wait_until(begin - seconds(1), none, 0);
  CHECK(time.now() - begin < milliseconds(50));
}

TEST_CASE("timers of a loop that sleeps run when they are due") {
  counted_pool memory;
  pipe_ends quiet;
  idle_source source{&memory.get(), quiet.ends[0]};
  real_clock time;
  timer_wheel timers{microseconds(10)};
  struct ticker {
    timer_wheel* wheel;
    stoppable* work = nullptr;
    timer again;
    instant due{};
    std::vector<duration> late{};
    explicit ticker(timer_wheel& w) : wheel(&w), again(timer::calling<&ticker::ring>(*this)) {}
    void start(instant at) { wheel->schedule(again, due = at); }
    void ring(instant now) {
      late.push_back(now - due);
      if (late.size() == 40) return work->stop();
      start(now + microseconds(700));
    }
  } t{timers};
  loop l{time, attach(source, discard), attach(timers)};
  t.work = &l;
  t.start(time.now() + microseconds(700));
  l.run();
  duration best = seconds(1);
  for (const duration d : t.late) {
    CHECK(d >= duration{});
    if (d < best) best = d;
  }
  CHECK(best < microseconds(800));
  CHECK(source.asked.load() < 40 * 4);
}

TEST_CASE("a loop that nothing comes to costs no processor") {
  counted_pool memory;
  pipe_ends one, two;
  idle_source a{&memory.get(), one.ends[0]}, b{&memory.get(), two.ends[0]};
  real_clock time;
  loop l{time, attach(a, discard), attach(b, discard)};
  std::thread other{[&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    l.stop();
  }};
  l.run();
  other.join();
  CHECK(a.asked.load() == b.asked.load());
  CHECK(a.asked.load() < 5);
}

TEST_CASE("where no file descriptor is left a loop that is stopped ends soon, and does not burn a core until then") {
  counted_pool memory;
  pipe_ends quiet;
  idle_source a{&memory.get(), quiet.ends[0]};
  real_clock time;
  loop l{time, attach(a, discard)};
  instant stopped{};
  std::atomic<bool> begun{false};
  std::thread other{[&] {
    begun.store(true);
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    stopped = real_clock{}.now();
    l.stop();
  }};
  while (!begun.load()) std::this_thread::yield();  // sanitizers look at how a thread begins, by way of a pipe
  {
    const few_descriptors none_left(0);
    l.run();
  }
  const instant ended = real_clock{}.now();
  other.join();
  CHECK(ended - stopped < seconds(1));
  CHECK(a.asked.load() > 3);
  CHECK(a.asked.load() < 100);
}

TEST_CASE("a descriptor that has only an error to report does not keep a loop busy") {
  counted_pool memory;
  pipe_ends gone;
  gone.close_writer();  // from now on poll says POLLHUP at once
  idle_source a{&memory.get(), gone.ends[0]};
  real_clock time;
  loop l{time, attach(a, discard)};
  std::thread other{[&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    l.stop();
  }};
  l.run();
  other.join();
  CHECK(a.asked.load() > 5);
  CHECK(a.asked.load() < 300);
}

TEST_CASE("a source that is done is not waited for, though its descriptor is ready") {
  counted_pool memory;
  pipe_ends ended, quiet;
  ended.close_writer();
  pipe_device a{memory, ended.ends[0], -1};
  idle_source b{&memory.get(), quiet.ends[0]};
  real_clock time;
  loop l{time, attach(a, discard), attach(b, discard)};
  std::thread other{[&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    l.stop();
  }};
  l.run();
  other.join();
  CHECK(a.done());
  CHECK(b.asked.load() < 20);
}

TEST_CASE("a loop before a full device sleeps until there is room, and every packet gets through, in order") {
  counted_pool memory;
  pipe_ends in, out;
  (void)::fcntl(out.ends[1], F_SETPIPE_SZ, 4096);
  constexpr int total = 3000;
  std::thread sender{[&] {
    std::byte bytes[64] = {};
    for (int i = 0; i < total; ++i) {
      store_be16(bytes, static_cast<std::uint16_t>(i));
      while (::write(in.ends[1], bytes, 64) != 64) std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
    in.close_writer();
  }};
  bool in_order = true;
  std::thread receiver{[&] {
    std::byte bytes[64];
    for (int i = 0; i < total;) {
      if (::read(out.ends[0], bytes, 64) != 64) {
        std::this_thread::sleep_for(std::chrono::microseconds(50));
        continue;
      }
      in_order = in_order && load_be16(bytes) == i++;
      if (i % 64 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));  // slower than the sender
    }
  }};
  pipe_device device{memory, in.ends[0], out.ends[1]};
  queue<hold, 32> q;
  real_clock time;
  const duration before = processor_time();
  const instant begin = time.now();
  auto path = [](packet&) {} | enqueue(q);
  loop l{time, attach(device, path), attach(q, transmit<hold>(device))};
  l.run();
  const duration took = time.now() - begin;
  const duration used = processor_time() - before;
  sender.join();
  receiver.join();
  CHECK(in_order);
  CHECK(counters_of<1>(path).passed() == total);
  // It was held back, and did not ask in circles meanwhile.
  CHECK(took > milliseconds(80));
  CHECK(used + used < took);
  CHECK(device.offered < total * 3);
}

TEST_CASE("no sleep when something is due since the earliest instant, as a capture that can be read says") {
  real_clock time;
  wait_entry none[1];
  const instant begin = time.now();
  time.wait_until(instant{INT64_MIN}, none, 0);
  CHECK(time.now() - begin < seconds(1));
}

namespace {
// Full until it was asked so often.
struct slow_to_take {
  int refuses;
  std::size_t sent = 0;
  std::size_t transmit(packet* packets, std::size_t n, instant) {
    if (refuses-- > 0) return 0;
    for (std::size_t i = 0; i < n; ++i) packets[i].reset();
    sent += n;
    return n;
  }
};
// What is late is seen when this is due, which is too late.
struct wakes_later {
  timer_wheel timers{microseconds(100)};
  timer once = timer::calling<&wakes_later::nothing>(*this);
  explicit wakes_later(instant now) { timers.schedule(once, now + seconds(2)); }
  void nothing(instant) {}
};
}  // namespace

// Where a time of the system's has 32 bits, it ends in 2038.
TEST_CASE("a source that is due in two hundred years does not keep a loop awake") {
  real_clock time;
  const wait_entry none[1]{};
  std::thread other([&time] {
    ::usleep(50'000);
    time.wake_up();
  });
  time.prepare_to_wait();
  const instant start = time.now();
  time.wait_until(instant{never.ns - 1}, none, 0);
  CHECK(time.now() - start >= milliseconds(30));
  other.join();
}

TEST_CASE("a full device that has room again when the loop is about to sleep: what waits before it is not forgotten") {
  for (int refuses = 1; refuses < 9; ++refuses) {
    for (const bool queued : {true, false}) {
      CAPTURE(refuses);
      CAPTURE(queued);
      counted_pool memory{pool_config{.packets = 400, .bytes = 128, .headroom = 16, .bare = 64}};
      test_device wire{memory};  // has neither a descriptor nor a time to tell
      wire.several(1, 300);
      slow_to_take out{refuses};
      real_clock time;
      const instant begin = time.now();
      wakes_later later{begin};
      queue<hold, 64> q;
      if (queued) loop{time, attach(wire, enqueue(q)), attach(q, transmit<hold>(out)), attach(later.timers)}.run();
      else loop{time, attach(wire, transmit<hold>(out)), attach(later.timers)}.run();
      CHECK(out.sent == 300);
      CHECK(time.now() - begin < seconds(1));
    }
  }
}

TEST_CASE("a timer fills a queue whose turn was before: the loop does not sleep over it") {
  counted_pool memory;
  queue<drop_tail, 4> q;
  struct filler {
    pool* memory;
    queue<drop_tail, 4>* to;
    timer once = timer::calling<&filler::fill>(*this);
    void fill(instant) { CHECK(to->push(memory->allocate()).code == verdict_code::pass); }
  } fills{&memory.get(), &q};
  real_clock time;
  const instant begin = time.now();
  wakes_later later{begin};
  later.timers.schedule(fills.once, begin + milliseconds(1));
  idle_source source{&memory.get()};
  stoppable* work = nullptr;
  loop l{time, attach(source, discard), attach(q, deliver([&](packet) { work->stop(); })), attach(later.timers)};
  work = &l;
  l.run();
  CHECK(time.now() - begin < seconds(1));
}

#endif
