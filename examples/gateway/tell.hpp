// SPDX-License-Identifier: MIT
// What is said while packets flow. Nobody who reads it slowly, or not at all, may stop them: a terminal after Ctrl-S, a
// line to it that is dead, a pipe that is full. What is not taken at once is lost.
#ifndef GATEWAY_TELL_HPP
#define GATEWAY_TELL_HPP

#include <cstddef>
#include <string>

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

namespace gateway {

// Set where nobody waits for packets: then all that is said is.
inline bool telling_waits = false;

// A line to standard output or standard error, past what <cstdio> has buffered.
inline void tell(int to, std::string line) {
  line += '\n';
  ::pollfd ready{to, POLLOUT, 0};
  if (::poll(&ready, 1, telling_waits ? -1 : 0) == 1 && (ready.revents & POLLOUT) != 0)
    (void)!::write(to, line.data(), line.size());
}

// The terminal that standard output is. Opened once more: who shares standard output with us expects that it waits.
class terminal {
 public:
  terminal() : fd_(::isatty(1) == 1 ? ::open("/proc/self/fd/1", O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC) : -1) {}
  terminal(const terminal&) = delete;
  terminal& operator=(const terminal&) = delete;
  ~terminal() {
    if (fd_ >= 0) ::close(fd_);
  }
  [[nodiscard]] bool is_there() const { return fd_ >= 0; }
  void write(const char* said, std::size_t n) const { (void)!::write(fd_, said, n); }

 private:
  int fd_;
};

}  // namespace gateway

#endif
