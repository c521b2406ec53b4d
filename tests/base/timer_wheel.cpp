// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <random>
#include <type_traits>
#include <vector>

#include <runnel/base/timer_wheel.hpp>

namespace {

using namespace runnel;

static_assert(!std::is_copy_constructible_v<timer> && !std::is_move_constructible_v<timer>);
static_assert(sizeof(timer) == (sizeof(void*) == 8 ? 40 : 24));
static_assert(sizeof(timer_wheel) < 6 * 1024 + 192);

// A timer that notes when it ran.
struct noting {
  noting(std::vector<int>* to, int i) : notes(to), id(i) {}
  std::vector<int>* notes;
  int id;
  instant ran_at{-1};
  void run(instant now) {
    notes->push_back(id);
    ran_at = now;
  }
  timer t = timer::calling<&noting::run>(*this);
};

TEST_CASE("a timer runs when its time has come, never before, and once") {
  std::vector<int> notes;
  noting n{&notes, 1};
  timer_wheel wheel{nanoseconds(1024), instant{1'000'000}};
  CHECK(wheel.resolution() == nanoseconds(1024));
  CHECK(wheel.next_due() == never);
  wheel.schedule(n.t, instant{1'005'000});
  CHECK(n.t.is_scheduled());
  CHECK(n.t.due() == instant{1'005'000});
  CHECK(wheel.next_due() >= instant{1'005'000});
  CHECK(wheel.next_due() < instant{1'006'024});
  CHECK(wheel.advance(instant{1'004'999}) == 0);
  CHECK(wheel.advance(wheel.next_due() - nanoseconds(1)) == 0);
  CHECK(wheel.advance(wheel.next_due()) == 1);
  CHECK_FALSE(n.t.is_scheduled());
  CHECK(n.ran_at >= instant{1'005'000});
  CHECK(wheel.advance(instant{9'000'000}) == 0);
  CHECK(notes == std::vector<int>{1});
}

TEST_CASE("the resolution is rounded down to a power of two, so that no timer is later than asked for") {
  CHECK(timer_wheel{milliseconds(1)}.resolution() == nanoseconds(524'288));
  CHECK(timer_wheel{nanoseconds(1)}.resolution() == nanoseconds(1));
  CHECK(timer_wheel{nanoseconds(0)}.resolution() == nanoseconds(1));
  CHECK(timer_wheel{nanoseconds(4096)}.resolution() == nanoseconds(4096));
  CHECK(basic_timer_wheel<2>{nanoseconds(1)}.span() == nanoseconds(64 * 63));
  CHECK(timer_wheel{milliseconds(1)}.span() > seconds(400 * 24 * 3600));
  CHECK(timer_wheel{seconds(1'000'000)}.span() == duration{INT64_MAX});
}

TEST_CASE("timers run in the order of their ticks, and as scheduled within one") {
  std::vector<int> notes;
  noting a{&notes, 1}, b{&notes, 2}, c{&notes, 3}, d{&notes, 4};
  timer_wheel wheel{nanoseconds(1)};
  wheel.schedule(a.t, instant{5000});
  wheel.schedule(b.t, instant{70});
  wheel.schedule(c.t, instant{5000});
  wheel.advance(instant{4999});
  wheel.schedule(d.t, instant{5000});
  CHECK(wheel.advance(instant{1'000'000}) == 3);
  CHECK(notes == std::vector<int>{2, 1, 3, 4});
}

TEST_CASE("scheduling again moves a timer, never and cancel take it out") {
  std::vector<int> notes;
  noting n{&notes, 1};
  timer_wheel wheel{nanoseconds(1)};
  wheel.schedule(n.t, instant{100});
  wheel.schedule(n.t, instant{200});
  CHECK(wheel.advance(instant{150}) == 0);
  wheel.schedule(n.t, instant{160});
  CHECK(wheel.advance(instant{180}) == 1);
  CHECK(wheel.advance(instant{300}) == 0);
  wheel.schedule(n.t, instant{400});
  n.t.cancel();
  n.t.cancel();
  CHECK(wheel.next_due() == never);
  CHECK(wheel.advance(instant{500}) == 0);
  wheel.schedule(n.t, instant{600});
  wheel.schedule(n.t, never);
  CHECK_FALSE(n.t.is_scheduled());
  CHECK(wheel.next_due() == never);
}

TEST_CASE("a timer that is due already runs in the next call, even of the same time") {
  std::vector<int> notes;
  noting n{&notes, 1}, before{&notes, 2};
  timer_wheel wheel{nanoseconds(16), instant{1000}};
  wheel.advance(instant{5000});
  wheel.schedule(n.t, instant{5});
  CHECK(wheel.next_due() <= instant{5000});
  CHECK(wheel.advance(instant{5000}) == 1);
  wheel.schedule(before.t, instant{4999});
  CHECK(wheel.advance(instant{4000}) == 0);  // time does not run backwards
  CHECK(wheel.advance(instant{5000}) == 1);
  CHECK(notes == std::vector<int>{1, 2});
}

TEST_CASE("nothing runs before the beginning of time") {
  std::vector<int> notes;
  noting n{&notes, 1};
  timer_wheel wheel{nanoseconds(1), instant{-500}};
  wheel.schedule(n.t, instant{-1000});
  CHECK(wheel.advance(instant{-501}) == 0);
  CHECK(wheel.advance(instant{-500}) == 1);
}

TEST_CASE("a function that schedules its own timer each time runs once per interval, also when called late") {
  struct heartbeat {
    timer_wheel& wheel;
    int beats = 0;
    void beat(instant) {
      ++beats;
      wheel.schedule(t, t.due() + nanoseconds(100));
    }
    timer t = timer::calling<&heartbeat::beat>(*this);
  };
  timer_wheel wheel{nanoseconds(1)};
  heartbeat h{wheel};
  wheel.schedule(h.t, instant{100});
  CHECK(wheel.advance(instant{1050}) == 10);
  CHECK(h.beats == 10);
  CHECK(wheel.advance(instant{1099}) == 0);
  CHECK(wheel.advance(instant{1100}) == 1);
}

TEST_CASE("a function that is always due does not run for ever") {
  struct hasty {
    timer_wheel& wheel;
    int runs = 0;
    void run(instant now) {
      ++runs;
      wheel.schedule(t, now);
    }
    timer t = timer::calling<&hasty::run>(*this);
  };
  timer_wheel wheel{nanoseconds(1)};
  hasty h{wheel};
  wheel.schedule(h.t, instant{10});
  for (int i = 1; i <= 5; ++i) wheel.advance(instant{100});
  CHECK(h.runs == 6);  // the first call found it due at 10, and again at 100
}

TEST_CASE("a function may cancel and destroy other timers of the same tick, and its own") {
  struct owner {
    std::vector<std::unique_ptr<owner>>* all;
    std::size_t me;
    std::size_t victim;
    bool* wrong;
    void run(instant) {
      auto& owners = *all;
      const std::size_t own = me;
      if (owners[victim] == nullptr) *wrong = true;
      owners[victim].reset();
      owners[own].reset();
    }
    timer t = timer::calling<&owner::run>(*this);
  };
  std::vector<std::unique_ptr<owner>> all;
  bool wrong = false;
  timer_wheel wheel{nanoseconds(1)};
  const std::size_t victims[] = {1, 0, 2, 5, 4, 3};
  for (std::size_t i = 0; i < 6; ++i) {
    all.emplace_back(new owner{&all, i, victims[i], &wrong});
    wheel.schedule(all[i]->t, instant{50});
  }
  CHECK(wheel.advance(instant{60}) == 4);
  CHECK_FALSE(wrong);
  for (std::size_t i = 0; i < 6; ++i) CHECK((all[i] == nullptr) == (i != 4 || true));
}

TEST_CASE("a limit leaves the rest due, in order") {
  std::vector<int> notes;
  std::deque<noting> timers;
  timer_wheel wheel{nanoseconds(1)};
  for (int i = 0; i < 10; ++i) wheel.schedule(timers.emplace_back(&notes, i).t, instant{i < 7 ? 100 : 200});
  CHECK(wheel.advance(instant{300}, 4) == 4);
  CHECK(wheel.next_due() <= instant{300});
  timers[5].t.cancel();
  CHECK(wheel.advance(instant{300}, 0) == 0);
  CHECK(wheel.advance(instant{300}, 3) == 3);
  CHECK(wheel.advance(instant{300}) == 2);
  CHECK(notes == std::vector<int>{0, 1, 2, 3, 4, 6, 7, 8, 9});
}

TEST_CASE("timers may be in any of several wheels, and outlive them") {
  std::vector<int> notes;
  noting n{&notes, 1};
  timer_wheel one{nanoseconds(1)};
  {
    timer_wheel other{nanoseconds(1)};
    one.schedule(n.t, instant{10});
    other.schedule(n.t, instant{10});
    CHECK(one.advance(instant{20}) == 0);
  }
  CHECK_FALSE(n.t.is_scheduled());
  one.schedule(n.t, instant{30});
  CHECK(one.advance(instant{30}) == 1);
}

TEST_CASE("times at the ends of what an instant can say") {
  std::vector<int> notes;
  noting n{&notes, 1};
  basic_timer_wheel<8> wheel{nanoseconds(1), instant{INT64_MIN}};
  wheel.schedule(n.t, instant{INT64_MAX - 1});
  CHECK(wheel.advance(instant{0}) == 0);
  CHECK(wheel.advance(instant{INT64_MAX - 2}) == 0);
  CHECK(wheel.next_due() == instant{INT64_MAX - 1});
  CHECK(wheel.advance(instant{INT64_MAX - 1}) == 1);

  timer_wheel coarse{seconds(1)};
  coarse.schedule(n.t, instant{INT64_MAX - 1});  // its tick ends after the last instant
  CHECK(coarse.advance(instant{INT64_MAX - 1}) == 0);
  n.t.cancel();
}

// ---- against a multimap, which keeps entries of one key in the order of their insertion

template <unsigned Levels>
class comparison {
 public:
  comparison(unsigned seed, std::int64_t resolution, std::int64_t furthest, bool ordered_within_a_tick)
      : random_(seed),
        resolution_(resolution),
        furthest_(furthest),
        ordered_(ordered_within_a_tick),
        start_{static_cast<std::int64_t>(seed) * 12'345 - 200'000},
        now_(start_),
        wheel_(nanoseconds(resolution), start_) {
    for (int i = 0; i < 60; ++i) timers_.emplace_back(this, i);
  }

  void run(int steps) {
    for (int i = 0; i < steps; ++i) {
      act();
      if (below(3) == 0) advance_to(now_ + nanoseconds(any_distance()), below(4) == 0 ? below(6) : SIZE_MAX);
      check_next_due();
    }
    // And now as a loop would: from one next_due to the next.
    int wakes = 0;
    while (!model_empty()) {
      const instant next = wheel_.next_due();
      REQUIRE(next != never);
      advance_to((std::max)(now_, next), SIZE_MAX);
      REQUIRE(++wakes < 100'000);
      quiet_ = true;
    }
    REQUIRE(wheel_.next_due() == never);
    REQUIRE(ran_ > steps / 10);
  }

 private:
  struct one {
    one(comparison* c, int i) : all(c), id(i) {}
    comparison* all;
    int id;
    void run(instant now) { all->ran(id, now); }
    timer t = timer::calling<&one::run>(*this);
  };

  std::size_t below(std::size_t n) { return std::uniform_int_distribution<std::size_t>{0, n - 1}(random_); }
  std::int64_t any_distance() {
    const auto limit =
        std::uniform_int_distribution<std::int64_t>{1, below(2) == 0 ? 200 * resolution_ : furthest_}(random_);
    return std::uniform_int_distribution<std::int64_t>{0, limit}(random_);
  }

  std::uint64_t tick_of(instant t) const {
    return t <= start_ ? 0 : static_cast<std::uint64_t>((t.ns - start_.ns + resolution_ - 1) / resolution_);
  }

  void forget(int id) {
    for (auto i = waiting_.begin(); i != waiting_.end(); ++i)
      if (i->second == id) {
        waiting_.erase(i);
        break;
      }
    std::erase(due_, id);
    std::erase(overdue_, id);
  }
  bool model_empty() const { return waiting_.empty() && due_.empty() && overdue_.empty(); }
  bool known(int id) const {
    return std::count(due_.begin(), due_.end(), id) + std::count(overdue_.begin(), overdue_.end(), id) != 0 ||
           std::any_of(waiting_.begin(), waiting_.end(), [id](const auto& w) { return w.second == id; });
  }

  void act() {
    const int id = static_cast<int>(below(timers_.size()));
    timer& t = timers_[static_cast<std::size_t>(id)].t;
    forget(id);
    if (below(4) == 0) {
      t.cancel();
      REQUIRE_FALSE(t.is_scheduled());
      return;
    }
    instant due = now_ + nanoseconds(any_distance() - (below(5) == 0 ? 100 * resolution_ : 0));
    const instant last_in_order = start_ + nanoseconds(static_cast<std::int64_t>(tick_) * resolution_) + wheel_.span();
    if (ordered_ && last_in_order < due) due = last_in_order;
    wheel_.schedule(t, due);
    REQUIRE(t.is_scheduled());
    const std::uint64_t tick = tick_of(due);
    if (tick <= tick_) overdue_.push_back(id);
    else waiting_.emplace(tick, id);
  }
  void fetch_due(std::uint64_t target) {
    while (due_.empty() && !waiting_.empty() && waiting_.begin()->first <= target) {
      tick_ = waiting_.begin()->first;
      while (!waiting_.empty() && waiting_.begin()->first == tick_) {
        due_.push_back(waiting_.begin()->second);
        waiting_.erase(waiting_.begin());
      }
    }
  }
  void advance_to(instant now, std::size_t limit) {
    now_ = now;
    target_ = static_cast<std::uint64_t>((now.ns - start_.ns) / resolution_);
    due_.insert(due_.end(), overdue_.begin(), overdue_.end());
    overdue_.clear();
    const int before = ran_;
    const std::size_t said = wheel_.advance(now, limit);
    REQUIRE(said == static_cast<std::size_t>(ran_ - before));
    REQUIRE(said <= limit);
    if (said == limit) {
      fetch_due(target_);
      if (!due_.empty()) return;
    } else {
      fetch_due(target_);
      REQUIRE(due_.empty());
    }
    tick_ = target_;
  }
  void ran(int id, instant now) {
    ++ran_;
    fetch_due(target_);
    REQUIRE_FALSE(due_.empty());
    if (ordered_) REQUIRE(due_.front() == id);
    const auto found = std::find(due_.begin(), due_.end(), id);
    REQUIRE(found != due_.end());
    due_.erase(found);
    const timer& t = timers_[static_cast<std::size_t>(id)].t;
    REQUIRE(now == now_);
    REQUIRE(t.due() <= now);
    REQUIRE_FALSE(t.is_scheduled());
    if (!quiet_)
      for (std::size_t k = below(3); k != 0; --k) act();
  }
  void check_next_due() {
    for (const one& o : timers_) REQUIRE(o.t.is_scheduled() == known(o.id));
    const instant next = wheel_.next_due();
    if (model_empty()) {
      REQUIRE(next == never);
    } else if (!due_.empty() || !overdue_.empty()) {
      REQUIRE(next <= now_);
    } else {
      REQUIRE((next > now_ || tick_ < target_));  // a limit may have stopped it half-way
      const instant first = start_ + nanoseconds(static_cast<std::int64_t>(waiting_.begin()->first) * resolution_);
      REQUIRE(next <= first);
    }
  }

  std::mt19937_64 random_;
  std::int64_t resolution_;
  std::int64_t furthest_;
  bool ordered_;
  bool quiet_ = false;
  instant start_;
  instant now_;
  basic_timer_wheel<Levels> wheel_;
  std::deque<one> timers_;
  std::multimap<std::uint64_t, int> waiting_;
  std::deque<int> due_;
  std::deque<int> overdue_;
  std::uint64_t tick_ = 0;
  std::uint64_t target_ = 0;
  int ran_ = 0;
};

TEST_CASE("a wheel runs what a sorted list would run, in the same order") {
  for (unsigned seed = 1; seed <= 8; ++seed) {
    CAPTURE(seed);
    comparison<2>{seed, 1, 63 * 64, true}.run(1000);
    comparison<3>{seed, 8, 8 * 63 * 64 * 64, true}.run(1000);
    comparison<6>{seed, 1024, 1'000'000'000'000, true}.run(1000);
  }
}

TEST_CASE("timers beyond the span of a wheel run in time as well") {
  for (unsigned seed = 1; seed <= 8; ++seed) {
    CAPTURE(seed);
    comparison<2>{seed, 1, 100'000, false}.run(1000);
    comparison<3>{seed, 8, 1'000'000'000, false}.run(1000);
  }
}

}  // namespace
