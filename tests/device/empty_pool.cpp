// SPDX-License-Identifier: MIT
// Devices whose pool is empty because others keep what they received, in a loop that sleeps.
#include <doctest/doctest.h>

#include <runnel/runnel.hpp>

#if defined(__linux__)

#include <time.h>

#include <cstdint>
#include <thread>
#include <vector>

#include "device/fresh_namespace.hpp"

using namespace runnel;
using runnel::test::fresh_namespace;
using runnel::test::raw_socket;

namespace {

double monotonic() {
  ::timespec t{};
  REQUIRE(::clock_gettime(CLOCK_MONOTONIC, &t) == 0);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

// Among the attachments of a loop: how many rounds it has made.
struct round_counter {
  unsigned* rounds;
  template <class Clock>
  std::size_t poll(Clock&) noexcept {
    ++*rounds;
    return 0;
  }
  [[nodiscard]] bool done() const noexcept { return true; }
  template <class Clock>
  void prepare_to_wait(wait_list&, Clock&, const sleeper*) noexcept {}
  void wait_by_itself() const noexcept {}
};

}  // namespace

TEST_CASE("a loop whose device has no slots left does not burn a core, and goes on when they come home") {
  const fresh_namespace inside;
  if (!inside) return;
  auto tap = device::tap::open("tap0", {.packets = 16});
  REQUIRE(tap);
  raw_socket kernel("tap0");
  std::vector<std::byte> sent(60);
  sent[12] = std::byte{0x88}, sent[13] = std::byte{0xb5};
  for (int i = 0; i < 24; ++i) REQUIRE(kernel.send({sent.data(), sent.size()}));

  packet_ring<64> held;
  unsigned received = 0, rounds = 0;
  real_clock time;
  timer_wheel timers(milliseconds(1), time.now());
  stoppable* running = nullptr;
  loop work{time,
            attach(*tap,
                   [&](packet&) {
                     if (++received == 24) running->stop();
                   } | enqueue(held)),
            round_counter{&rounds}, attach(timers)};
  running = &work;
  struct alarm {
    stoppable& what;
    timer next = timer::calling<&alarm::ring>(*this);
    void ring(instant) { what.stop(); }
  } too_late{work};
  timers.schedule(too_late.next, time.now() + seconds(5));

  double came_home = 0;
  std::thread other([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    came_home = monotonic();
    packet all[16];
    while (held.pull(all, 16, {}) != 0)
      for (packet& p : all) p.reset();
  });
  const double begin = monotonic();
  work.run();
  const double end = monotonic();
  other.join();
  CHECK(received == 24);
  CHECK(end - begin > 0.25);
  CHECK(end - came_home < 1);
  // It looks again after 100 us each time, however fast the machine is.
  CHECK(rounds < 100 + 1.5 * 10'000 * (end - begin));
  too_late.next.cancel();
  packet all[16];
  (void)held.pull(all, 16, {});
}

#endif
