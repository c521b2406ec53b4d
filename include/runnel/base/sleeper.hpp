// SPDX-License-Identifier: MIT
// A thread that sleeps until somebody has something for it: the kernel's wait queue, for one who waits, and with a
// system call only when there is somebody to wake.
//
//     who sleeps                                  who wakes
//     prepare_to_wait()   asleep = true, fence    puts something where the other looks
//     looks once more     nothing there           wake_up()   fence, asleep? then a kick
//     sleeps
//     finish_wait()       asleep = false
//
// Of the two fences one comes first. If it is that of the sleeper, the other one sees `asleep` and kicks; if not, the
// sleeper sees what was put there, and does not sleep. So no wake-up is lost, and a thread that is awake is left alone.
#ifndef RUNNEL_BASE_SLEEPER_HPP
#define RUNNEL_BASE_SLEEPER_HPP

namespace runnel {

/// Who sleeps, for those who wake him. A clock that a loop sleeps by derives from it and says how to kick: `real_clock`
/// writes to a file descriptor; on a board it may be an instruction. Never copied: others hold its address.
class sleeper {
 public:
  sleeper(const sleeper&) = delete;
  sleeper& operator=(const sleeper&) = delete;

  /// The sleeper says that he is about to sleep. Behind this he looks once more whether there is something to do.
  void prepare_to_wait() noexcept {
    __atomic_store_n(&asleep_, true, __ATOMIC_RELEASE);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
  }
  /// The sleeper says that he is awake.
  void finish_wait() noexcept { __atomic_store_n(&asleep_, false, __ATOMIC_RELAXED); }
  /// Ends the sleep that was prepared, if one was. From any thread or signal handler, behind the store that the sleeper
  /// is to see. Costs a fence while he is awake; of several that come during one sleep, the first kicks.
  void wake_up() noexcept {
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (__atomic_load_n(&asleep_, __ATOMIC_RELAXED) && __atomic_exchange_n(&asleep_, false, __ATOMIC_ACQ_REL))
      kick_(*this);
  }

 protected:
  /// `kick` ends the sleep that is being prepared, or has begun. It is called from any thread or signal handler.
  explicit constexpr sleeper(void (*kick)(sleeper&) noexcept) noexcept : kick_(kick) {}
  ~sleeper() = default;

 private:
  void (*kick_)(sleeper&) noexcept;
  bool asleep_ = false;
};

}  // namespace runnel

#endif
