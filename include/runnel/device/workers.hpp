// SPDX-License-Identifier: MIT
// Workers: one loop a thread, each pinned to a processor of its own, with rings between them for packets whose flow
// belongs to another one.
//
// Theory of operation. `run` starts the threads and waits for their end. Each pins itself, makes its pool there, so
// that its memory is near that processor, and calls the user's function, which opens the worker's devices, builds its
// paths and calls `self.run(attachments...)`. Nothing is shared but the rings. Flows come to the right worker in one of
// three ways; each brings both directions of a flow to one worker, so that tables of connections need no lock, unless
// addresses are translated in between (see handoff.hpp):
//
//     the card's queues      each worker adopts one (af_xdp_handles::split); the card has symmetric_rss_key
//     the kernel's fanout    each worker opens the same interface in one fanout group by hash
//     software               any worker receives, and `steer(self.rings())` hands over what is not its own
//
// The kernel's fanout does so between two interfaces only if the workers opened both in the same order: let each open
// all of its own under one mutex, or `steer`.
//
// It ends when `stop` was called, when a worker failed, or when the sources of all workers are done and the rings are
// empty. What crossed and is still in a ring goes home then: pools, rings and clocks belong to the crew, and outlive
// what the workers' functions made.
#ifndef RUNNEL_DEVICE_WORKERS_HPP
#define RUNNEL_DEVICE_WORKERS_HPP

#include <cstddef>      // size_t
#include <cstdint>      // uint64_t
#include <new>          // placement new
#include <type_traits>  // remove_reference_t
#include <utility>      // forward, move

#include <runnel/base/byte_count.hpp>
#include <runnel/base/error.hpp>
#include <runnel/base/result.hpp>
#include <runnel/config.hpp>
#include <runnel/device/clock.hpp>
#include <runnel/device/mapped_pool.hpp>
#include <runnel/device/posix.hpp>
#include <runnel/flow/handoff.hpp>
#include <runnel/flow/loop.hpp>

#if defined(__linux__)

#include <pthread.h>      // pthread_create, pthread_join
#include <string.h>       // strerror
#include <sys/syscall.h>  // SYS_sched_setaffinity
#include <unistd.h>       // syscall

namespace runnel {

/// How many workers, where they run, and what each has.
struct workers_options {
  unsigned count = 0;  ///< threads, at most 256; 0 is one for each processor that this process may run on
  bool pin = true;     ///< each to a processor of its own; false: wherever the system puts them
  /// The processors, `count` of them, which is not 0 then; null: those that this process may run on, in order.
  const unsigned* processors = nullptr;
  std::size_t ring = 1024;  ///< packets between each worker and each other, a power of two
  pool_config memory{};     ///< of each worker's own pool, from which packets cross; `.packets = 0` for none
};

class workers;

namespace detail {

// The processors that a thread may run on, as the kernel has them: a bit each.
struct processor_set {
  static constexpr unsigned most = 8192;
  static constexpr unsigned word_bits = sizeof(unsigned long) * 8;
  unsigned long words[most / word_bits] = {};

  [[nodiscard]] bool has(unsigned i) const noexcept {
    return i < most && (words[i / word_bits] >> i % word_bits & 1u) != 0;
  }
  void add(unsigned i) noexcept {
    if (i < most) words[i / word_bits] |= 1ul << i % word_bits;
  }
  [[nodiscard]] unsigned count() const noexcept {
    unsigned n = 0;
    for (const unsigned long w : words) n += static_cast<unsigned>(__builtin_popcountl(w));
    return n;
  }
  /// Of this thread. Empty when the system does not say.
  [[nodiscard]] static processor_set allowed() noexcept {
    processor_set s;
    if (::syscall(SYS_sched_getaffinity, 0, sizeof s.words, s.words) < 0) return {};
    return s;
  }
  /// Pins this thread. 0, or the errno.
  [[nodiscard]] int apply() const noexcept {
    return ::syscall(SYS_sched_setaffinity, 0, sizeof words, words) == 0 ? 0 : errno;
  }
};

// Something that is made later than what holds it.
template <class T>
class late {
 public:
  late() noexcept {}
  late(const late&) = delete;
  late& operator=(const late&) = delete;
  ~late() { clear(); }
  template <class... Arguments>
  void make(Arguments&&... arguments) noexcept {
    ::new (static_cast<void*>(&value_)) T(std::forward<Arguments>(arguments)...);
    made_ = true;
  }
  void clear() noexcept {
    if (made_) value_.~T();
    made_ = false;
  }
  [[nodiscard]] explicit operator bool() const noexcept { return made_; }
  [[nodiscard]] T& operator*() noexcept { return value_; }

 private:
  union {
    T value_;
  };
  bool made_ = false;
};

template <class... Attachments>
class worker_loop : public loop<real_clock, Attachments...> {
 public:
  worker_loop(real_clock& time, const bool& stop_all, Attachments... attachments) noexcept
      : loop<real_clock, Attachments...>(time, std::move(attachments)...) {
    this->stops_with(stop_all);
  }
};

}  // namespace detail

/// One of several threads, as its own function sees it. Only that thread uses it.
class alignas(detail::ring_line) worker {
 public:
  worker(const worker&) = delete;
  worker& operator=(const worker&) = delete;

  /// Its number, from 0.
  [[nodiscard]] unsigned index() const noexcept { return index_; }
  /// How many workers there are.
  [[nodiscard]] unsigned count() const noexcept { return count_; }
  /// The processor that it is pinned to; -1 when it is not.
  [[nodiscard]] int processor() const noexcept { return processor_; }
  /// The clock that its loop sleeps by.
  [[nodiscard]] real_clock& clock() noexcept { return clock_; }
  /// Its own pool, made on its thread (RUNNEL_ASSERT: there is one). Outlives what the function makes. A device whose
  /// packets cross should receive into it: others' packets are copied to it first.
  [[nodiscard]] pool& memory() noexcept {
    RUNNEL_ASSERT(memory_ && "workers_options.memory.packets is 0");
    return (*memory_).get();
  }
  /// Its end of the rings between the workers, for `steer(self.rings())`, and for `attach(self.rings(), path)`.
  [[nodiscard]] handoff& rings() noexcept { return *rings_; }

  /// Runs a loop over these attachments by `clock()`, until it is stopped or all sources of all workers are done. Once;
  /// a function that does not call it only prevents the others from waiting for its packets.
  template <class... Attachments>
  void run(Attachments... attachments) noexcept;
  /// Stops all workers, and has `workers::run` return this error, if it is the first.
  void fail(const error& why) noexcept;
  /// Stops all workers.
  void stop() noexcept;

 private:
  friend class workers;
  worker(workers& crew, unsigned index, unsigned count) noexcept : crew_(&crew), index_(index), count_(count) {}
  bool prepare(const workers_options& options, const detail::processor_set& allowed) noexcept;

  real_clock clock_;
  workers* crew_;
  handoff* rings_ = nullptr;
  unsigned index_;
  unsigned count_;
  int processor_ = -1;
  ::pthread_t thread_{};
  detail::late<error> error_;
  detail::late<mapped_pool> memory_;
};

/// Threads with a loop each. Not movable: signal handlers hold its address.
///
///     workers crew{{.count = 2}};
///     auto ended = crew.run([](worker& self) {
///       auto nic = device::open("af_packet:eth0?fanout=hash");
///       if (!nic) return self.fail(nic.error());
///       self.run(attach(*nic, parse() | policy | transmit(*nic)));
///     });
///     if (!ended) std::fprintf(stderr, "%s\n", ended.error().message());
class workers {
 public:
  /// Takes memory for the workers and their rings; what goes wrong, `run` says.
  explicit workers(const workers_options& options = {}) noexcept
      : options_(options), allowed_(detail::processor_set::allowed()), count_(options.count) {
    if (count_ == 0) count_ = allowed_.count() != 0 ? allowed_.count() : 1;
    if (count_ > handoff_mesh::max_threads || !is_power_of_two(options_.ring)) return;
    const std::size_t of_workers = count_ * sizeof(worker);
    const std::size_t of_rings = handoff_mesh::bytes_needed(count_, options_.ring);
    storage_ = detail::mapping((byte_count{of_workers} + of_rings).value());
    if (storage_.data() == nullptr) return;
    sleeper* clocks[handoff_mesh::max_threads];
    for (unsigned i = 0; i < count_; ++i) {
      auto* const w = ::new (static_cast<void*>(storage_.data() + i * sizeof(worker))) worker(*this, i, count_);
      clocks[i] = &w->clock_;
    }
    mesh_.make(mutable_bytes{storage_.data() + of_workers, of_rings}, static_cast<sleeper* const*>(clocks), count_,
               options_.ring);
    for (unsigned i = 0; i < count_; ++i) (*this)[i].rings_ = &(*mesh_)[i];
  }
  workers(const workers&) = delete;
  workers& operator=(const workers&) = delete;
  ~workers() {
    if (storage_.data() == nullptr) return;
    mesh_.clear();  // what is in the rings goes home before its pool ends
    for (unsigned i = 0; i < count_; ++i) (*this)[i].~worker();
  }

  /// Calls `function(self)` on a thread for each worker, waits for the end of all, and says how many there were, or
  /// what went wrong first: a worker that called `fail`, a pool for which there is no memory, a processor that this
  /// process may not run on, a thread that could not be started; then all are stopped. Once.
  template <class Function>
  [[nodiscard]] result<unsigned, error> run(Function&& function) noexcept {
    static_assert(
        requires(worker& self) { function(self); },
        "runnel: workers.run() needs a function that takes its worker: [](worker& self) {...}");
    auto call = [](void* f, worker& self) noexcept { (*static_cast<std::remove_reference_t<Function>*>(f))(self); };
    return run_all(const_cast<void*>(static_cast<const void*>(&function)), call);
  }
  /// Ends the loops of all workers, at once where they sleep. From any thread or signal handler, also before `run`.
  void stop() noexcept {
    __atomic_store_n(&stop_, true, __ATOMIC_RELAXED);
    if (storage_.data() != nullptr)
      for (unsigned i = 0; i < count_; ++i) (*this)[i].clock_.wake_up();
  }
  /// How many workers there are.
  [[nodiscard]] unsigned count() const noexcept { return count_; }

 private:
  friend class worker;
  [[nodiscard]] worker& operator[](unsigned i) noexcept {
    return *__builtin_launder(reinterpret_cast<worker*>(storage_.data() + i * sizeof(worker)));
  }
  [[nodiscard]] result<unsigned, error> run_all(void* function, void (*call)(void*, worker&) noexcept) noexcept;
  [[nodiscard]] detail::late<error>& check() noexcept;
  [[nodiscard]] static void* thread_main(void* self) noexcept;

  workers_options options_;
  detail::processor_set allowed_;
  unsigned count_;
  bool stop_ = false;
  bool has_run_ = false;
  int failed_ = -1;  // which worker did first
  detail::mapping storage_;
  detail::late<handoff_mesh> mesh_;
  detail::late<error> error_;
  void* function_ = nullptr;
  void (*call_)(void*, worker&) noexcept = nullptr;
};

inline void worker::fail(const error& why) noexcept {
  if (!error_) error_.make(why);
  int nobody = -1;
  (void)__atomic_compare_exchange_n(&crew_->failed_, &nobody, static_cast<int>(index_), false, __ATOMIC_RELAXED,
                                    __ATOMIC_RELAXED);
  crew_->stop();
}
inline void worker::stop() noexcept { crew_->stop(); }

template <class... Attachments>
void worker::run(Attachments... attachments) noexcept {
  detail::worker_loop<Attachments...> work{clock_, crew_->stop_, std::move(attachments)...};
  work.run();
  // Its own sources are done: from here on it has only what others hand over.
  rings_->drain();
  work.run();
  rings_->finish();
}

// On the worker's own thread: pins it, and makes its pool there.
inline bool worker::prepare(const workers_options& options, const detail::processor_set& allowed) noexcept {
  if (options.pin) {
    unsigned processor = 0;
    if (options.processors != nullptr) {
      processor = options.processors[index_];
    } else {
      for (unsigned before = index_; !allowed.has(processor) || before-- != 0;) ++processor;
    }
    detail::processor_set one;
    one.add(processor);
    if (const int number = one.apply(); number != 0) {
      text<64> what;
      what << "worker " << std::uint64_t{index_} << " to processor " << std::uint64_t{processor};
      fail(error("workers", "pin", what.c_str(), ::strerror(number),
                 "choose among those that this process may run on, or .pin = false", number));
      return false;
    }
    processor_ = static_cast<int>(processor);
  }
  if (options.memory.packets != 0) {
    auto memory = mapped_pool::open(options.memory);
    if (!memory) {
      fail(memory.error());
      return false;
    }
    memory_.make(std::move(*memory));
    rings_->copies_to(*memory_);
  }
  return true;
}

inline void* workers::thread_main(void* self) noexcept {
  worker& w = *static_cast<worker*>(self);
  workers& crew = *w.crew_;
  if (w.prepare(crew.options_, crew.allowed_)) crew.call_(crew.function_, w);
  w.rings_->finish();
  return nullptr;
}

// What `run` cannot do anything about. Nothing when all is well.
inline detail::late<error>& workers::check() noexcept {
  text<64> number;
  if (has_run_) {
    error_.make("workers", "run", "", "they have run already", "make new ones");
  } else if (count_ > handoff_mesh::max_threads) {
    number << std::uint64_t{count_} << " workers";
    error_.make("workers", "start", number.c_str(), "more than 256", "ask for fewer");
  } else if (options_.pin && options_.processors != nullptr && options_.count == 0) {
    error_.make("workers", "pin", "to .processors", "it is not said how many these are", "give .count with them");
  } else if (!is_power_of_two(options_.ring)) {
    number << "rings of " << std::uint64_t{options_.ring};
    error_.make("workers", "make", number.c_str(), "not a power of two", "choose 256, 1024 or the like");
  } else if (storage_.data() == nullptr) {
    error_.make("workers", "make", "the rings", "no memory", "ask for fewer workers or shorter rings", ENOMEM);
  } else if (options_.pin && options_.processors == nullptr && count_ > allowed_.count()) {
    number << std::uint64_t{count_} << " workers";
    text<64> why;
    why << "this process may run on " << std::uint64_t{allowed_.count()} << " processors";
    error_.make("workers", "pin", number.c_str(), why.c_str(), "ask for fewer, or .pin = false");
  }
  has_run_ = true;
  return error_;
}

inline result<unsigned, error> workers::run_all(void* function, void (*call)(void*, worker&) noexcept) noexcept {
  if (auto& wrong = check()) return *wrong;
  function_ = function;
  call_ = call;
  unsigned started = 0;
  for (; started < count_; ++started) {
    worker& w = (*this)[started];
    const int number = ::pthread_create(&w.thread_, nullptr, &thread_main, &w);
    if (number == 0) continue;
    text<32> which;
    which << "worker " << std::uint64_t{started};
    error_.make("workers", "start", which.c_str(), ::strerror(number), "ask for fewer workers", number);
    for (unsigned i = started; i < count_; ++i) (*this)[i].rings_->finish();
    stop();
    break;
  }
  for (unsigned i = 0; i < started; ++i) (void)::pthread_join((*this)[i].thread_, nullptr);
  function_ = nullptr;
  if (error_) return *error_;
  if (failed_ >= 0) return *(*this)[static_cast<unsigned>(failed_)].error_;
  return count_;
}

}  // namespace runnel

#endif  // defined(__linux__)

#endif
