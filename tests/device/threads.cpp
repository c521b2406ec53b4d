// SPDX-License-Identifier: MIT
// Loops on threads of their own, with rings between them: no wake-up is lost, and every packet is accounted for. Run
// under ThreadSanitizer too: see tests/CMakeLists.txt.
#include <doctest/doctest.h>

#if defined(__linux__)

#include <thread>

#include <flow/test_device.hpp>

#include <runnel/base/random.hpp>
#include <runnel/device/clock.hpp>

using namespace runnel;
using namespace runnel::test;

namespace {

// Makes packets of every kind, numbered, in bursts with pauses, so that who waits for them falls asleep.
class packet_source {
 public:
  packet_source(pool& memory, unsigned total, std::uint64_t seed) : memory_(&memory), random_(seed), left_(total) {}
  bool done() const { return left_ == 0 && burst_ == 0; }
  instant next_due() const { return next_; }
  std::size_t pull(packet* packets, std::size_t room, instant now) {
    if (now < next_) return 0;
    if (burst_ == 0) {
      burst_ = 1 + random_.below(random_.chance(300'000) ? 200 : 3);
      if (burst_ > left_) burst_ = left_;
    }
    std::size_t n = 0;
    for (; n < room && burst_ != 0; ++n, --burst_, --left_) {
      packet p = make();
      if (!p) break;
      p.mark(++number_);
      ::new (static_cast<void*>(&packets[n])) packet{std::move(p)};
    }
    // Sometimes at once, sometimes after a sleep, and mostly about when the other one falls asleep.
    if (burst_ == 0 && !random_.chance(300'000))
      next_ = now + nanoseconds(static_cast<std::int64_t>(random_.below(random_.chance(20'000) ? 200'000 : 4'000)));
    return n;
  }

 private:
  packet make() {
    packet p = memory_->allocate();
    if (!p) return p;
    std::byte* const to = p.put(32);
    for (int i = 0; i < 32; ++i) to[i] = static_cast<std::byte>(number_);
    const std::uint64_t kind = random_.below(8);
    if (kind == 0) {  // a chain
      if (packet q = memory_->allocate(); q && q.append(bytes{p.data(), 8})) REQUIRE(p.append(std::move(q)));
    } else if (kind == 1) {  // shared with one that stays
      if (packet c = p.clone()) stays_ = std::move(c);
    } else if (kind == 2) {  // a clone that is alone
      if (packet c = p.clone()) p = std::move(c);
    }
    return p;
  }

  pool* memory_;
  random_generator random_;
  unsigned left_;
  std::uint64_t burst_ = 0;
  std::uint32_t number_ = 0;
  instant next_{};
  packet stays_;
};

}  // namespace

TEST_CASE("one thread sends packets of every kind to another that falls asleep again and again: none is lost") {
  counted_pool memory{pool_config{.packets = 1024, .bytes = 64, .headroom = 0, .bare = 64}};
  constexpr unsigned total = 40'000;
  real_clock here, there;
  packet_ring<256> ring{there};
  unsigned received = 0;
  std::uint32_t last = 0;
  bool in_order = true, whole = true;
  auto behind = [&](packet& p) {
    ++received;
    in_order = in_order && p.mark() > last;
    last = p.mark();
    for (const std::byte b : p.contents()) whole = whole && b == static_cast<std::byte>(p.mark() - 1);
    for (std::byte& b : p.writable()) b = std::byte{};
  } | discard;
  packet_source source{memory, total, 1};
  auto path = [](packet&) {} | enqueue(ring);
  std::thread other{[&] { loop{there, attach(ring, behind)}.run(); }};
  loop{here, attach(source, path)}.run();
  ring.close();
  other.join();
  const stage_counters& c = counters_of<1>(path);
  CHECK(c.packets == total);
  CHECK(received == c.passed());
  CHECK(received + c.dropped(drop_reason::queue_full) + c.dropped(drop_reason::no_packet) == total);
  CHECK(in_order);
  CHECK(whole);
}

TEST_CASE("a packet that goes to and fro between two threads wakes each of them every time") {
  counted_pool memory;
  constexpr std::uint32_t rounds = 20'000;
  real_clock here, there;
  packet_ring<4> forth{there}, back{here};
  auto at_home = [&](packet& p) -> verdict {
    p.mark(p.mark() + 1);
    if (p.mark() == rounds) {
      forth.close();
      return drop;
    }
    return pass;
  } | enqueue(forth);
  std::thread other{[&] {
    loop{there, attach(forth, [](packet&) {} | enqueue(back))}.run();
    back.close();
  }};
  packet p = memory->allocate();
  CHECK(forth.push(std::move(p)) == pass);
  loop{here, attach(back, at_home)}.run();
  other.join();
  CHECK(counters_of<0>(at_home).packets == rounds);
}

TEST_CASE("a packet that comes at the very moment when a loop falls asleep wakes it") {
  counted_pool memory;
  constexpr int rounds = 100'000;
  real_clock there;
  packet_ring<4> forth{there}, back;
  loop l{there, attach(forth, [](packet&) {} | enqueue(back))};
  std::thread other{[&] { l.run(); }};
  random_generator random{5};
  const real_clock here;
  packet p = memory->allocate();
  bool answered = true;
  instant deadline{};
  for (int i = 0; i < rounds && answered; ++i) {
    // This side never sleeps, so that it is fast enough: the other one has just sent its answer, and looks for the last
    // time before it sleeps.
    for (std::uint64_t wait = random.below(400); wait != 0; --wait) asm volatile("");
    REQUIRE(forth.push(std::move(p)) == pass);
    for (int looked = 1; back.pull(&p, 1, {}) == 0; ++looked) {
      if (looked % 1000 != 0) continue;
      std::this_thread::yield();
      if (looked == 1000) deadline = here.now() + seconds(5);
      if (here.now() < deadline) continue;
      answered = false;
      break;
    }
  }
  CHECK_MESSAGE(answered, "a wake-up was lost");
  l.stop();
  other.join();
}

TEST_CASE("three threads hand packets over to one another, while each has its own source") {
  constexpr unsigned n = 3, total = 10'000;
  constexpr pool_config config{.packets = 2048, .bytes = 128, .headroom = 0, .bare = 64};
  counted_pool pools[n] = {counted_pool{config}, counted_pool{config}, counted_pool{config}};
  real_clock clocks[n];
  sleeper* who[n] = {&clocks[0], &clocks[1], &clocks[2]};
  constexpr std::size_t size = handoff_mesh::bytes_needed(n, 128);
  alignas(128) static std::byte memory[size];
  handoff_mesh mesh{memory, who, n, 128};
  struct alignas(128) result {
    std::uint64_t received = 0, handed_over = 0, lost = 0;
    bool right = true;
  } results[n];
  std::thread threads[n];
  for (unsigned i = 0; i < n; ++i)
    threads[i] = std::thread{[&, i] {
      // Ethernet without IP goes to thread 0; so write a flow of its own into each.
      packet_source source{pools[i], total, i + 10};
      auto path = parse() | [&results, i](packet& p) {
        ++results[i].received;
        results[i].right = results[i].right && p.flow_hash() % n == i;
      } | discard;
      auto make_flow = [](packet& p) {
        const std::uint32_t number = p.mark();
        p = p.copy();
        if (!p) return drop(drop_reason::no_packet);
        (void)p.trim(0);
        std::byte* const to = p.put(64);
        const auto b = static_cast<std::uint8_t>(number), c = static_cast<std::uint8_t>(number >> 8);
        return write_headers({to, 64}, eth, ipv4_header{.source = {10, 0, c, b}, .destination = {10, 1, b, c}},
                             udp_header{.source_port = 1, .destination_port = 2})
                   ? pass
                   : drop;
      };
      auto in = make_flow | parse() | steer(mesh[i]) | shared(path);
      loop l{clocks[i], attach(source, in), attach(mesh[i], path)};
      l.run();
      mesh[i].finish();
      l.run();
      const stage_counters& c = counters_of<2>(in);
      results[i].handed_over = c.count(stolen.code);
      results[i].right = results[i].right && c.dropped(drop_reason::no_packet) == 0;
      results[i].lost = c.dropped(drop_reason::queue_full) + counters_of<0>(in).dropped(drop_reason::no_packet);
    }};
  for (std::thread& t : threads) t.join();
  std::uint64_t all = 0, handed_over = 0;
  for (const result& r : results) {
    CHECK(r.right);
    all += r.received + r.lost;
    handed_over += r.handed_over;
  }
  CHECK(all == n * total);
  CHECK(handed_over > total / 20);
}

#endif
