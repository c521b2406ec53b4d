// SPDX-License-Identifier: MIT
// What a stage costs by itself: pipelines with 2 and with 10 stages, a burst of 64 packets. And what it costs to hand a
// burst over to a way of a branch, all packets going one way: pipelines with one branch and with two, bursts of 8 and
// of 64 packets. What the second branch adds to both alike is the hand-over; what it adds per packet is its decision.
#include <benchmark/benchmark.h>

#include "support/clock.hpp"
#include "support/ports.hpp"

namespace {

using namespace bench;

struct here {};
struct there {};

// A stage of which the compiler knows nothing but that it is called: it cannot be removed, nor its verdict foreseen.
struct passing {
  verdict operator()(packet& p) noexcept {
    auto code = static_cast<unsigned>(verdict_code::pass);
    asm volatile("" : "+r"(code) : "r"(&p));
    return {static_cast<verdict_code>(code), drop_reason::none, 0};
  }
};
// A stage that the compiler sees through.
struct transparent {
  void operator()(packet&) noexcept {}
};

template <class Pipeline>
void measure(benchmark::State& state, packet_wheel& wheel, Pipeline&& path) {
  auto attached = attach(wheel, path, {.budget = default_burst});
  manual_clock time;
  std::size_t packets = 0;
  for (auto _ : state) packets += attached.poll(time);
  state.SetItemsProcessed(static_cast<std::int64_t>(packets));
}

struct fixture {
  paged_pool memory{{.packets = 256, .bare = 8}};
  packet_wheel wheel{memory, default_burst, traffic::udp64};
};

void two(benchmark::State& state) {
  fixture f;
  auto path = passing{} | named("2", passing{}) | transmit(f.wheel);
  measure(state, f.wheel, path);
}
void ten(benchmark::State& state) {
  fixture f;
  auto path = named("1", passing{}) | passing{} | passing{} | passing{} | passing{} | passing{} | passing{} |
              passing{} | passing{} | passing{} | transmit(f.wheel);
  measure(state, f.wheel, path);
}
void two_transparent(benchmark::State& state) {
  fixture f;
  auto path = named("1", transparent{}) | transparent{} | transmit(f.wheel);
  measure(state, f.wheel, path);
}
void ten_transparent(benchmark::State& state) {
  fixture f;
  auto path = named("1", transparent{}) | transparent{} | transparent{} | transparent{} | transparent{} |
              transparent{} | transparent{} | transparent{} | transparent{} | transparent{} | transmit(f.wheel);
  measure(state, f.wheel, path);
}

struct decide {
  using ways = ports<here, there>;
  ways operator()(const packet& p) noexcept {
    if (p.mark() == 0) return here{};
    return there{};
  }
};
template <std::size_t Packets>
struct small_fixture {
  paged_pool memory{{.packets = 256, .bare = 8}};
  packet_wheel wheel{memory, Packets, traffic::udp64};
};
template <std::size_t Packets>
void one_branch(benchmark::State& state) {
  small_fixture<Packets> f;
  auto path = branch(decide{}).on<here>(transmit(f.wheel)).template on<there>(discard);
  measure(state, f.wheel, named("first", passing{}) | std::move(path));
}
template <std::size_t Packets>
void two_branches(benchmark::State& state) {
  small_fixture<Packets> f;
  auto path = branch(decide{})
                  .on<here>(branch(decide{}).on<here>(transmit(f.wheel)).template on<there>(discard))
                  .template on<there>(discard);
  measure(state, f.wheel, named("first", passing{}) | std::move(path));
}

BENCHMARK(cycles)->Name("cycles");
BENCHMARK(two)->Name("empty_stage/2_stages");
BENCHMARK(ten)->Name("empty_stage/10_stages");
BENCHMARK(two_transparent)->Name("empty_stage/2_transparent_stages");
BENCHMARK(ten_transparent)->Name("empty_stage/10_transparent_stages");
BENCHMARK(one_branch<8>)->Name("branch/one/8");
BENCHMARK(two_branches<8>)->Name("branch/two/8");
BENCHMARK(one_branch<64>)->Name("branch/one/64");
BENCHMARK(two_branches<64>)->Name("branch/two/64");

}  // namespace
