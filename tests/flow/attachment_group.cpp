// SPDX-License-Identifier: MIT
// Sources as many as are known at run time, in one loop.
#include <array>
#include <deque>
#include <vector>

#include <flow/test_device.hpp>

using namespace runnel;
using namespace runnel::test;

namespace {

// A source that has one frame at a time of the test's, and says when.
struct one_frame {
  pool* memory_;
  instant when;
  bool given = false;

  pool& memory() { return *memory_; }
  bool done() const { return given; }
  instant next_due() const { return given ? never : when; }
  template <class Take>
  std::size_t receive(std::size_t room, instant now, Take&& take) {
    if (room == 0 || given || now < when) return 0;
    take(memory_->allocate_frame());
    given = true;
    return 1;
  }
};

// Never has anything, but a descriptor to wait on.
struct silent {
  pool* memory_;
  int handle;

  pool& memory() { return *memory_; }
  bool done() const { return false; }
  int wait_handle() const { return handle; }
  template <class Take>
  std::size_t receive(std::size_t, instant, Take&&) {
    return 0;
  }
};

struct noting_clock : manual_clock {
  std::vector<std::int64_t> waits;
  void wait_until(instant t) {
    waits.push_back(t.ns);
    set(t);
  }
};

// Writes down on which descriptors it was to wait.
struct handle_clock : manual_clock {
  std::vector<int> handles;
  instant until{};
  void wait_until(instant t, const wait_entry* entries, std::size_t n) {
    until = t;
    for (std::size_t i = 0; i < n; ++i) handles.push_back(entries[i].handle);
  }
};

}  // namespace

TEST_CASE("each source of a group has its turn in every round, with its own budget, and the loop ends with the last") {
  counted_pool memory;
  std::deque<test_device> devices;
  numbers arrived;
  auto path = [&arrived] { return uncounted | note(arrived); };
  std::vector<decltype(attach(devices[0], path()))> inputs;
  for (unsigned i = 0; i < 3; ++i) {
    devices.emplace_back(memory.get()).several(100 * i, 2 + i);
    inputs.push_back(attach(devices[i], path(), {.budget = 2}));
  }
  manual_clock time;
  loop work{time, attach_all(inputs)};
  CHECK(work.poll() == 6);
  CHECK(arrived == "0 1 100 101 200 201");
  CHECK_FALSE(work.done());
  work.run();
  CHECK(arrived == "0 1 100 101 200 201 102 202 203");
  CHECK(work.done());
}

TEST_CASE("a loop sleeps until the first source of a group has something, beside others") {
  counted_pool memory;
  std::array<one_frame, 3> sources{
      {{&memory.get(), instant{30}}, {&memory.get(), instant{10}}, {&memory.get(), instant{40}}}};
  std::vector<decltype(attach(sources[0], discard))> inputs;
  for (one_frame& s : sources) inputs.push_back(attach(s, discard));
  one_frame alone{&memory.get(), instant{20}};
  noting_clock time;
  run(time, attach_all(inputs), attach(alone, discard));
  CHECK(time.waits == std::vector<std::int64_t>{10, 20, 30, 40});
}

TEST_CASE("a loop waits on the descriptors of all sources of a group; those without room are asked again") {
  counted_pool memory;
  std::deque<silent> sources;
  std::vector<decltype(attach(sources[0], discard))> inputs;
  const auto add_up_to = [&](int n) {
    while (static_cast<int>(sources.size()) < n)
      inputs.push_back(
          attach(sources.emplace_back(silent{&memory.get(), 100 + static_cast<int>(sources.size())}), discard));
  };
  const auto waited_on = [&] {
    handle_clock time;
    silent last{&memory.get(), 7};
    loop work{time, attach(last, discard), attach_all(inputs)};
    work.wait();
    CHECK(time.handles.front() == 7);
    CHECK((time.until == never) == (inputs.size() <= 64));
    return time.handles.size();
  };
  CHECK(waited_on() == 1);
  add_up_to(3);
  CHECK(waited_on() == 4);
  add_up_to(64);
  CHECK(waited_on() == 65);
  add_up_to(70);
  CHECK(waited_on() == 65);
}

TEST_CASE("a group of nothing is done") {
  std::vector<decltype(attach(std::declval<test_device&>(), discard))> none;
  manual_clock time;
  loop work{time, attach_all(none)};
  CHECK(work.done());
  work.run();
}
