// SPDX-License-Identifier: MIT
// What is said while packets flow. Nobody who reads it slowly, or not at all, may stop them: a terminal after Ctrl-S, a
// line to it that is dead, a pipe that is full. What is not taken at once is lost, if need be the end of a line.
//
// To ask whether there is room is not enough: a terminal says yes, takes the beginning of a line, and waits. So
// terminals and pipes are opened once more, not to wait: who shares a descriptor with us expects that it waits.
#ifndef GATEWAY_TELL_HPP
#define GATEWAY_TELL_HPP

#include <cstddef>
#include <string>
#include <string_view>

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

namespace gateway {

// Set where nobody waits for packets: then all that is said is.
inline bool telling_waits = false;

// A descriptor of whoever reads what we say.
class listener {
 public:
  explicit listener(int fd) : fd_(fd), again_(open_again(fd)) {}
  listener(const listener&) = delete;
  listener& operator=(const listener&) = delete;
  ~listener() {
    if (again_ >= 0) ::close(again_);
  }
  // Past what <cstdio> has buffered.
  void take(const char* said, std::size_t n) const {
    if (again_ >= 0 && !telling_waits) return (void)!::write(again_, said, n);
    ::pollfd ready{fd_, POLLOUT, 0};
    if (::poll(&ready, 1, telling_waits ? -1 : 0) == 1 && (ready.revents & POLLOUT) != 0) (void)!::write(fd_, said, n);
  }
  // Whether it is a terminal to draw on.
  [[nodiscard]] bool is_terminal() const { return again_ >= 0 && ::isatty(fd_) == 1; }

 private:
  // -1: a file, or a socket, whose room can be asked for; or another user's terminal.
  static int open_again(int fd) {
    struct stat is{};
    if (::fstat(fd, &is) != 0 || (!S_ISFIFO(is.st_mode) && ::isatty(fd) != 1)) return -1;
    return ::open(("/proc/self/fd/" + std::to_string(fd)).c_str(), O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
  }
  int fd_, again_;
};

inline const listener& standard(int fd) {
  static const listener output{1}, errors{2};
  return fd == 1 ? output : errors;
}

// A line to standard output or standard error; what is longer than a pipe takes in one piece is cut. No memory is asked
// for: rules log from the way of the packets, where there may be none.
inline void tell(int to, std::string_view line) {
  char whole[4096];
  const std::size_t n = line.copy(whole, sizeof whole - 1);
  whole[n] = '\n';
  standard(to).take(whole, n + 1);
}

}  // namespace gateway

#endif
