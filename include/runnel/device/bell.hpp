// SPDX-License-Identifier: MIT
// A file descriptor that a thread sleeps on and others write to: an eventfd, or a pipe where there is none.
#ifndef RUNNEL_DEVICE_BELL_HPP
#define RUNNEL_DEVICE_BELL_HPP

#include <cstdint>  // uint64_t

#include <runnel/device/posix.hpp>

#if defined(__unix__) || defined(__APPLE__)

#include <errno.h>   // errno
#include <fcntl.h>   // O_CLOEXEC, O_NONBLOCK
#include <unistd.h>  // read, write
#if defined(__linux__)
#include <sys/eventfd.h>  // eventfd
#endif

namespace runnel::detail {

/// Opened by the thread that sleeps, before it says that it sleeps; rung by any thread or signal handler from then on.
class bell {
 public:
  /// False when the system has no file descriptor left: then nobody can ring, and the sleeper has to look by himself.
  bool open() noexcept {
    if (out_.get() >= 0) return true;
#if defined(__linux__)
    out_ = file_handle(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), true);
    return out_.get() >= 0;
#else
    int ends[2];
    if (::pipe(ends) != 0) return false;
    for (const int end : ends) (void)::fcntl(end, F_SETFD, FD_CLOEXEC), (void)::fcntl(end, F_SETFL, O_NONBLOCK);
    in_ = file_handle(ends[0], true);
    out_ = file_handle(ends[1], true);
    return true;
#endif
  }
  /// Readable once it was rung; -1 before `open`.
  [[nodiscard]] int handle() const noexcept {
#if defined(__linux__)
    return out_.get();
#else
    return in_.get();
#endif
  }
  /// Leaves errno as it is, for it may interrupt anything.
  void ring() const noexcept {
    const int before = errno;
    const std::uint64_t one = 1;
    const ::ssize_t written = ::write(out_.get(), &one, sizeof one);
    (void)written;  // what is full is readable, and was rung
    errno = before;
  }
  /// Makes it quiet again.
  void answer() const noexcept {
    std::uint64_t count[8];
    while (::read(handle(), count, sizeof count) == static_cast<::ssize_t>(sizeof count)) {}
  }

 private:
#if !defined(__linux__)
  file_handle in_;
#endif
  file_handle out_;
};

}  // namespace runnel::detail

#endif  // defined(__unix__) || defined(__APPLE__)

#endif
