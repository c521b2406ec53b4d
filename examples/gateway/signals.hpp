// SPDX-License-Identifier: MIT
// What signals ask of the loop, and what is done once a second.
#ifndef GATEWAY_SIGNALS_HPP
#define GATEWAY_SIGNALS_HPP

#include <runnel/runnel.hpp>

#include <csignal>
#include <cstddef>
#include <new>
#include <utility>

#include "tell.hpp"

namespace gateway {

// Set by SIGHUP: the loop looks at it.
inline volatile std::sig_atomic_t asked_to_reload = 0;

// For as long as it is there SIGINT and SIGTERM end the loop, and SIGHUP has it reload. Those that come later have
// nobody to tell it to: the loop is gone, and the program ends anyway.
class signals {
 public:
  explicit signals(runnel::stoppable& loop) {
    running_ = &loop;
    for (const int s : {SIGINT, SIGTERM}) std::signal(s, [](int) { running_->stop(); });
    std::signal(SIGHUP, [](int) {
      asked_to_reload = 1;
      running_->wake();
    });
  }
  signals(const signals&) = delete;
  signals& operator=(const signals&) = delete;
  ~signals() {
    for (const int s : {SIGINT, SIGTERM, SIGHUP}) std::signal(s, SIG_IGN);
  }

 private:
  inline static runnel::stoppable* running_ = nullptr;
};

// An attachment of the loop that calls `reload()` when SIGHUP has come, and `second(now)` once a second. What they have
// no memory for is not done, and packets go on.
template <class Reload, class Second>
class attendant {
 public:
  attendant(Reload r, Second s) : reload_(r), second_(s) {}
  template <class Clock>
  std::size_t poll(Clock& clock) {
    try {
      if (asked_to_reload != 0) {
        asked_to_reload = 0;
        reload_();
      }
      if (const runnel::instant now = clock.now(); now >= next_) {
        next_ = now + runnel::seconds(1);
        second_(now);
      }
    } catch (const std::bad_alloc&) { tell(2, "gateway: no memory for what is not packets"); }
    return 0;
  }
  [[nodiscard]] bool done() const { return true; }
  template <class Clock>
  void prepare_to_wait(runnel::wait_list& waits, Clock&, const runnel::sleeper*) {
    if (asked_to_reload != 0) waits.ready();
    waits.until(next_);
  }
  void wait_by_itself() const {}

 private:
  Reload reload_;
  Second second_;
  runnel::instant next_{};
};

}  // namespace gateway

#endif
