// SPDX-License-Identifier: MIT
// A table that is replaced as a whole while other threads read it: routes, rules.
//
// There are two tables or more, and a pointer to the one that counts. A writer fills one that nobody reads, and sets
// the pointer; when all readers have come by since, nobody reads the former one any more, and it may be filled in turn.
// Readers come by at each burst: they note which replacement they have seen and take the pointer, which they keep until
// the burst after. So readers never wait, and pay a load and a store for a burst; the writer waits, if it wants the
// memory back. (Quiescent states, as in RCU: McKenney and Slingwine, 1998.)
//
//     writer:  fill b ── replace(b) ───── is_quiet()? no ── no ── yes: a is free
//     reader:  ... a a a | refresh() b b b b ... | refresh() b b ...
//
// A reader that sleeps has not come by: it calls `refresh` from a timer, or `rest` before it sleeps.
#ifndef RUNNEL_BASE_SNAPSHOT_HPP
#define RUNNEL_BASE_SNAPSHOT_HPP

#include <cstdint>  // uint32_t

#include <runnel/config.hpp>

namespace runnel {

/// One thread's view of a `snapshot`: what it refers to stays as it is until the next `refresh` or `rest`.
template <class T>
class snapshot_reader {
 public:
  snapshot_reader() noexcept = default;
  snapshot_reader(const snapshot_reader&) = delete;
  snapshot_reader& operator=(const snapshot_reader&) = delete;

  /// Takes the newest table, and gives up the one that it had. For each burst, and from a timer while there are none.
  void refresh() noexcept {
    const std::uint32_t newest = __atomic_load_n(source_count_, __ATOMIC_ACQUIRE);
    // Who comes from rest must be seen before it takes the pointer; who does not is waited for anyway.
    if (seen_ == 0) __atomic_store_n(&seen_, newest, __ATOMIC_SEQ_CST);
    else if (seen_ != newest) __atomic_store_n(&seen_, newest, __ATOMIC_RELEASE);
    current_ = __atomic_load_n(source_, __ATOMIC_SEQ_CST);
  }
  /// Gives up the table that it had and takes none: until the next `refresh` there is no `current`, and no writer waits
  /// for this thread.
  void rest() noexcept {
    current_ = nullptr;
    __atomic_store_n(&seen_, 0, __ATOMIC_RELEASE);
  }
  /// The table that it has taken; there is one (asserted).
  [[nodiscard]] RUNNEL_INLINE const T& current() const noexcept {
    RUNNEL_ASSERT(current_ != nullptr);
    return *current_;
  }

 private:
  template <class U, unsigned Readers>
  friend class snapshot;

  // On a line of its own, so that readers do not slow each other down.
  alignas(64) std::uint32_t seen_ = 0;  // the number of the newest replacement that it knows, 0 at rest
  const T* current_ = nullptr;
  const T* const* source_ = nullptr;
  const std::uint32_t* source_count_ = nullptr;
};

/// A table of type `T` that one thread replaces, and `Readers` threads read, each through its own `reader(i)`. The
/// tables belong to the caller; a reader is at rest until its first `refresh`.
///
///     snapshot<table, 2> routes{first};
///     auto& mine = routes.reader(worker.index());
///     parse() | [&](burst&) { mine.refresh(); } | route(mine)...
///     // elsewhere:
///     const table& old = routes.replace(second);
///     while (!routes.is_quiet()) sleep();  // now `old` may be changed
template <class T, unsigned Readers>
class snapshot {
 public:
  /// Begins with this table.
  explicit snapshot(const T& first) noexcept : current_(&first) {
    for (snapshot_reader<T>& r : readers_) {
      r.source_ = &current_;
      r.source_count_ = &count_;
    }
  }
  snapshot(const snapshot&) = delete;
  snapshot& operator=(const snapshot&) = delete;

  /// The view of thread `i < Readers` (asserted), for that thread alone.
  [[nodiscard]] snapshot_reader<T>& reader(unsigned i) noexcept {
    RUNNEL_ASSERT(i < Readers);
    return readers_[i];
  }
  /// From the next `refresh` of each reader on this is the table, which is not changed any more. Returns the former
  /// one, which readers may still look at until `is_quiet`.
  const T& replace(const T& fresh) noexcept {
    const T* const former = current_;
    __atomic_store_n(&current_, &fresh, __ATOMIC_SEQ_CST);
    const std::uint32_t next = count_ + 1 == 0 ? 1 : count_ + 1;
    __atomic_store_n(&count_, next, __ATOMIC_SEQ_CST);
    return *former;
  }
  /// Whether no reader has any but the newest table. For the thread that replaces.
  [[nodiscard]] bool is_quiet() const noexcept {
    for (const snapshot_reader<T>& r : readers_) {
      const std::uint32_t seen = __atomic_load_n(&r.seen_, __ATOMIC_SEQ_CST);
      if (seen != 0 && seen != count_) return false;
    }
    return true;
  }
  /// The newest table.
  [[nodiscard]] const T& newest() const noexcept { return *current_; }

 private:
  const T* current_;
  std::uint32_t count_ = 1;  // how many tables there were; never 0
  snapshot_reader<T> readers_[Readers];
};

}  // namespace runnel

#endif
